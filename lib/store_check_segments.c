/*
 * store_check_segments.c - checking segments: every payload that a row names against its checksum, the accounts, the files. sluicectl,
 * tests.
 *
 * A payload is read when its row is: rows name payloads of 128 KiB and more, so it does not matter where they lie. One that several
 * rows name (forks) is read once, as long as few others come between. Files are read in steps; nothing of them is kept.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/marks.h"
#include "lib/crc.h"
#include "lib/schema.h"
#include "lib/segment.h"
#include "lib/store_check_internal.h"

enum { SEGMENTS_STEP = CHECK_BUFFER, SEGMENTS_PATH = 64 };

static void segment_path(uint64_t id, char path[SEGMENTS_PATH])
{
	char name[SL_SEGMENT_NAME_MAX];

	sl_segment_name(id, name);
	snprintf(path, SEGMENTS_PATH, "%s/%s", SL_SEGMENT_DIR, name);
}

static struct check_segment *segment_of(struct check *c, uint64_t id)
{
	size_t low = 0, high = c->n_segment;

	while (low < high) {
		size_t middle = low + (high - low) / 2;

		if (c->segment[middle].id == id)
			return &c->segment[middle];
		if (c->segment[middle].id < id)
			low = middle + 1;
		else
			high = middle;
	}
	return NULL;
}

static int segment_add(struct check *c, sqlite3_stmt *q)
{
	if (c->n_segment == c->cap_segment) {
		size_t cap = c->cap_segment ? 2 * c->cap_segment : 64;
		struct check_segment *more = realloc(c->segment, cap * sizeof *more);

		if (!more)
			return check_stop(c, SLUICE_ENOMEM, "out of memory");
		c->segment = more;
		c->cap_segment = cap;
	}
	c->segment[c->n_segment++] = (struct check_segment){.id = (uint64_t)sqlite3_column_int64(q, 0),
	                                                    .size = (uint64_t)sqlite3_column_int64(q, 1),
	                                                    .live = (uint64_t)sqlite3_column_int64(q, 2),
	                                                    .dead = sqlite3_column_type(q, 3) != SQLITE_NULL};
	return 0;
}

int check_segments_load(struct check *c)
{
	sqlite3_stmt *q =
		check_prepare(c, "SELECT id, size, live, dead_ms FROM segment ORDER BY id", "the table of segments");
	int rc = SQLITE_DONE;

	while (q && !c->stopped && (rc = sqlite3_step(q)) == SQLITE_ROW)
		segment_add(c, q);
	if (rc != SQLITE_DONE)
		check_sqlite(c, "the table of segments");
	sqlite3_finalize(q);
	c->segment_dir = openat(c->dir, SL_SEGMENT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (c->segment_dir < 0 && (c->n_segment || errno != ENOENT))
		check_found(c, SL_FINDING_SEGMENT, (struct check_at){.file = SL_SEGMENT_DIR}, "%s", strerror(errno));
	return c->stopped;
}

/* ---- files ---- */

void check_files_close(struct check *c)
{
	for (int i = 0; i < CHECK_FILES; i++) {
		if (c->file[i].fd >= 0)
			close(c->file[i].fd);
		c->file[i].fd = -1;
	}
}

static int segment_open(struct check *c, uint64_t id)
{
	struct check_file *f = &c->file[c->next_file];
	char name[SL_SEGMENT_NAME_MAX];

	for (int i = 0; i < CHECK_FILES; i++) {
		if (c->file[i].fd >= 0 && c->file[i].id == id)
			return c->file[i].fd;
	}
	if (f->fd >= 0)
		close(f->fd);
	c->next_file = (c->next_file + 1) % CHECK_FILES;
	sl_segment_name(id, name);
	f->id = id;
	f->fd = c->segment_dir < 0 ? -1 : openat(c->segment_dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	return f->fd;
}

/* 0; 1: the file is too short; -1: errno. */
static int segment_read(int fd, void *to, size_t n, uint64_t at)
{
	uint8_t *p = to;

	while (n > 0) {
		ssize_t got = pread(fd, p, n, (off_t)at);

		if (got < 0 && errno == EINTR)
			continue;
		if (got <= 0)
			return got < 0 ? -1 : 1;
		p += got;
		at += (uint64_t)got;
		n -= (size_t)got;
	}
	return 0;
}

/* ---- one payload ---- */

/* The marks of a record as they lie in the file, compared with the row's: varint length of the record, then those of the file, or 1. */
static bool payload_marks(struct check *c, const struct check_row *r, const uint8_t *marks, size_t n)
{
	struct sl_buf run;
	bool same = true;

	sl_buf_init(&run);
	if (sl_marks_add(&run, r->bytes, SL_SLICE(marks, n)))
		check_stop(c, SLUICE_ENOMEM, "out of memory");
	else
		same = sl_slice_eq(sl_buf_slice(&run), r->marks);
	sl_buf_fini(&run);
	return same;
}

/* Reads all of the payload, its marks into room of their own. 0: as written; 1: not; -1: errno. */
static int payload_read(struct check *c, int fd, const struct check_row *r, const struct sl_segment_head *h,
                        uint8_t *marks)
{
	uint64_t total = h->data_len + h->marks_len;
	uint32_t crc = 0;
	int rc = 0;

	for (uint64_t at = 0; rc == 0 && at < total && !check_progress(c);) {
		/* A step does not reach over the end of the data. */
		uint64_t end = at < h->data_len ? h->data_len : total;
		size_t n = end - at < SEGMENTS_STEP ? (size_t)(end - at) : SEGMENTS_STEP;

		rc = segment_read(fd, c->buf, n, r->seg_off + at);
		crc = sl_crc32(crc, SL_SLICE(c->buf, n));
		if (rc == 0 && at >= h->data_len)
			memcpy(marks + (at - h->data_len), c->buf, n);
		c->payload_bytes += at < h->data_len ? n : 0;
		at += n;
	}
	return rc == 0 && !c->stopped && crc != h->crc ? 1 : rc;
}

/* false: there is no payload of that length, which is told. */
static bool payload_head(struct check *c, int fd, const struct check_row *r, struct check_at at,
                         struct sl_segment_head *h)
{
	uint64_t head_at = r->seg_off - SL_SEGMENT_HEAD;
	uint8_t head[SL_SEGMENT_HEAD];
	int rc = segment_read(fd, head, sizeof head, head_at);

	if (rc < 0)
		check_found(c, SL_FINDING_PAYLOAD, at,
		            "the head of the payload (at byte %llu of the file) cannot be read: %s",
		            (unsigned long long)head_at, strerror(errno));
	else if (rc > 0 || sl_segment_get_head(head, h) || h->data_len < r->bytes || h->data_len > CHECK_OFFSET_MAX ||
	         h->marks_len > CHECK_MARKS_MAX)
		check_found(c, SL_FINDING_PAYLOAD, at, "the head of the payload (at byte %llu of the file) is damaged",
		            (unsigned long long)head_at);
	else
		return true;
	return false;
}

static void payload_bytes(struct check *c, int fd, const struct check_row *r, struct check_at at)
{
	struct check_verified *v = &c->verified[(r->seg_off / SL_SEGMENT_HEAD + r->segment) % CHECK_VERIFIED];
	struct sl_segment_head h = {0};
	uint8_t *marks;
	int rc;

	if (!payload_head(c, fd, r, at, &h) || (v->segment == r->segment && v->off == r->seg_off))
		return;
	marks = malloc(h.marks_len + 1);
	if (!marks) {
		check_stop(c, SLUICE_ENOMEM, "out of memory");
		return;
	}
	rc = payload_read(c, fd, r, &h, marks);
	if (rc < 0)
		check_found(c, SL_FINDING_PAYLOAD, at, "the payload (%llu bytes from %llu on) cannot be read: %s",
		            (unsigned long long)r->bytes, (unsigned long long)r->seg_off, strerror(errno));
	else if (rc > 0)
		check_found(c, SL_FINDING_PAYLOAD, at, "the payload (%llu bytes from %llu on) is not what was written",
		            (unsigned long long)r->bytes, (unsigned long long)r->seg_off);
	else if (!c->stopped && r->bytes == h.data_len && !payload_marks(c, r, marks, (size_t)h.marks_len))
		check_found(c, SL_FINDING_RECORDS, at, "the marks of the row are not those of its payload");
	else if (!c->stopped)
		*v = (struct check_verified){.segment = r->segment, .off = r->seg_off};
	c->result->payloads++;
	free(marks);
}

int check_payload(struct check *c, const struct check_stream *s, const struct check_row *r)
{
	struct check_segment *g = segment_of(c, r->segment);
	char path[SEGMENTS_PATH];
	struct check_at at = {.stream = s, .offset = &r->start, .file = path};
	unsigned long long end = r->seg_off + r->bytes;
	int fd;

	segment_path(r->segment, path);
	if (!g) {
		check_found(c, SL_FINDING_SEGMENT, at,
		            "a record is said to be in it, but it is not among the segments");
		return c->stopped;
	}
	if (r->seg_off < SL_SEGMENT_HEAD || r->seg_off > CHECK_OFFSET_MAX || end > g->size) {
		check_found(c, SL_FINDING_SEGMENT, at,
		            "a record is said to be at bytes %llu to %llu, but the segment has %llu",
		            (unsigned long long)r->seg_off, end, (unsigned long long)g->size);
		return c->stopped;
	}
	g->used += r->bytes;
	fd = segment_open(c, r->segment);
	if (fd < 0 && errno != ENOENT && errno != ELOOP)
		return check_stop(c, SLUICE_EINTERNAL, "%s: %s", path, strerror(errno));
	if (fd >= 0)
		payload_bytes(c, fd, r, at);
	return c->stopped;
}

/* ---- accounts and files, when all rows have been seen ---- */

static void segment_check(struct check *c, const struct check_segment *g)
{
	char path[SEGMENTS_PATH], name[SL_SEGMENT_NAME_MAX];
	struct check_at at = {.file = path};
	struct stat st;

	segment_path(g->id, path);
	sl_segment_name(g->id, name);
	if (g->used != g->live)
		check_found(c, SL_FINDING_SEGMENT, at, "%llu bytes of it are said to be in use, but rows name %llu",
		            (unsigned long long)g->live, (unsigned long long)g->used);
	if (g->live && g->dead)
		check_found(c, SL_FINDING_SEGMENT, at, "it is in use, and would be removed");
	/* One that nothing uses any more is removed, and the row of the highest stays. */
	if (c->segment_dir < 0 || (g->live == 0 && g->used == 0))
		return;
	if (fstatat(c->segment_dir, name, &st, AT_SYMLINK_NOFOLLOW))
		check_found(c, SL_FINDING_SEGMENT, at, "the file cannot be found: %s", strerror(errno));
	else if (!S_ISREG(st.st_mode))
		check_found(c, SL_FINDING_SEGMENT, at, "it is not a file");
	else if ((uint64_t)st.st_size < g->size)
		check_found(c, SL_FINDING_SEGMENT, at, "the file has %lld bytes, and should have %llu at least",
		            (long long)st.st_size, (unsigned long long)g->size);
}

static void segments_files(struct check *c)
{
	int copy = fcntl(c->segment_dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	struct dirent *e;
	uint64_t id;

	if (!d) {
		if (copy >= 0)
			close(copy);
		check_stop(c, SLUICE_EINTERNAL, "%s: %s", SL_SEGMENT_DIR, strerror(errno));
		return;
	}
	while ((e = readdir(d))) {
		char path[sizeof SL_SEGMENT_DIR + sizeof e->d_name];

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
			continue;
		snprintf(path, sizeof path, "%s/%s", SL_SEGMENT_DIR, e->d_name);
		if (sl_segment_id(e->d_name, &id))
			check_note(c, SL_FINDING_ORPHAN, (struct check_at){.file = path},
			           "this is no file of a server");
		else if (!segment_of(c, id))
			check_note(c, SL_FINDING_ORPHAN, (struct check_at){.file = path},
			           "nothing refers to it; the next start of the server removes it");
	}
	closedir(d);
}

int check_segments(struct check *c)
{
	for (size_t i = 0; i < c->n_segment && !c->stopped; i++) {
		segment_check(c, &c->segment[i]);
		c->result->segments++;
	}
	if (!c->stopped && c->segment_dir >= 0)
		segments_files(c);
	return c->stopped;
}
