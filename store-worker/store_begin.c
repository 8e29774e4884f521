/*
 * store_begin.c - whether a volume that is not there may be made. Store-writer.
 *
 * Not where something is left of an old one, or one was open before: an empty volume would hide the data, SQLite removes the log
 * that has lost its volume, and the writer the segments that nothing refers to.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/schema.h"
#include "lib/segment.h"
#include "store-worker/store.h"

/* True: it exists and has bytes. A volume without any is what SQLite leaves when it ends before the first page. */
static bool begin_filled(int dir, const char *name)
{
	struct stat sb;

	return fstatat(dir, name, &sb, 0) == 0 && sb.st_size > 0;
}

/* Puts the name of a segment that is there into `left`, which is empty without one. 0, or the errno of looking. */
static int begin_segment(int dir, char *left, size_t size)
{
	int fd = openat(dir, SL_SEGMENT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	char name[SL_SEGMENT_NAME_MAX];
	struct dirent *e;
	uint64_t id;

	if (!d) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return error == ENOENT ? 0 : error;
	}
	while (!*left && (e = readdir(d)))
		if (sl_segment_id(e->d_name, &id) == 0) {
			sl_segment_name(id, name);
			snprintf(left, size, "%s/%s", SL_SEGMENT_DIR, name);
		}
	closedir(d);
	return 0;
}

static char *begin_text(const struct store *st, const char *left, int error)
{
	char *text;
	int n;

	if (error)
		n = asprintf(&text, "%s/%s is not there, and %s cannot be read: %s", st->data_dir, SL_VOLUME_FILE, SL_SEGMENT_DIR,
		             strerror(error));
	else if (*left)
		n = asprintf(&text,
		             "%s/%s is not there, but %s, which is part of it: put it back, or restore a backup (sluicectl restore); to begin "
		             "with nothing, move away what is left",
		             st->data_dir, SL_VOLUME_FILE, left);
	else
		n = asprintf(&text, "%s/%s is not there any more; see whether it was moved, or its disk is not mounted", st->data_dir,
		             SL_VOLUME_FILE);
	return n < 0 ? NULL : text;
}

int store_may_begin(struct store *st)
{
	int dir = open(st->data_dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC), error = 0;
	char left[64] = "";

	if (dir < 0)
		return SLUICE_OK; /* whoever opens the volume says why */
	if (begin_filled(dir, SL_VOLUME_FILE)) {
		close(dir);
		return SLUICE_OK;
	}
	if (begin_filled(dir, SL_VOLUME_FILE "-wal"))
		snprintf(left, sizeof left, "%s", SL_VOLUME_FILE "-wal");
	else
		error = begin_segment(dir, left, sizeof left);
	close(dir);
	if (!error && !*left && !st->begun)
		return SLUICE_OK;
	free(st->why);
	st->why = begin_text(st, left, error);
	return st->why ? SLUICE_EINTERNAL : SLUICE_ENOMEM;
}
