/*
 * backup.c - a copy of the data directory while it is written, into a directory that somebody else made. Store-writer.
 *
 * The volume is copied with SQLite's backup interface on the writing connection, a slice a turn, between batches: what a commit changes of
 * the part that was copied goes into the copy with it, so the copy ends as the volume is at that moment, with everything that was acknowledged
 * before it. From then on until the end no segment is unlinked, and the helper thread links or copies those that the copy refers to; of the one
 * that is being written, what was there at that moment. The helper also syncs, in pieces, so that payloads do not wait for it for long; success
 * is told when files and directories are synced.
 *
 * The directory is known by its descriptor alone: it may be outside of what this process can name. Given up, or failed, everything that
 * was made in it is removed again.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/segment.h"
#include "store-worker/store.h"

enum {
	STEP_PAGES = 64,       /* of 4 KiB: some of these are a slice */
	SLICE_US = 2000,       /* which takes about that long */
	SYNC_BYTES = 64 << 20, /* that are synced at once */
	RESTARTS_MAX = 8,      /* a batch that had to be taken back begins the copy anew */
	PROGRESS_MS = 200,
	STEP_BYTES = 8 << 20, /* of a segment, in one job of the helper */
};

enum phase { BACKUP_VOLUME, BACKUP_SEGMENTS, BACKUP_SYNC, BACKUP_CLEAN, BACKUP_OVER };
enum { IDLE, WORKING, WORKED };

struct backup {
	struct store *store;
	const struct backup_hooks *hooks;
	void *arg;
	uint32_t number;
	enum phase phase;
	int dir, segments, from; /* the target, its directory of segments, ours */
	int status;              /* SLUICE_*: how it ends */
	char why[256];
	/* the volume */
	sqlite3 *to;
	sqlite3_backup *copy;
	int volume;        /* the file that `to` writes, for the helper */
	int pages, copied; /* of the volume, at the last look */
	uint64_t unsynced; /* bytes written since the last sync, of the volume or of a segment */
	unsigned restarts;
	/* segments */
	struct backup_segment {
		uint64_t id, size;
	} * segment;
	size_t n_segment;
	_Atomic uint64_t done; /* the helper counts, the loop tells */
	uint64_t total;
	/* what the helper is at; the loop looks while it does not work */
	atomic_int state;
	bool waits;       /* the helper had something else to do */
	const char *what; /* its job, for an error */
	size_t at;        /* segment */
	uint64_t off;     /* in it */
	int in, out;      /* its files */
	int error;        /* errno */
	uint64_t told_ms; /* the last progress */
};

/* ---- how it ends ---- */

static void backup_fail(struct backup *b, int status, const char *what, const char *why)
{
	if (b->status)
		return;
	b->status = status;
	snprintf(b->why, sizeof b->why, "%s%s%s", what, *what ? ": " : "", why);
}

static void backup_errno(struct backup *b, const char *what, int error)
{
	bool full = error == ENOSPC || error == EDQUOT;

	backup_fail(b,
	            full              ? SLUICE_EFULL
	            : error == ENOMEM ? SLUICE_ENOMEM
	                              : SLUICE_EINTERNAL,
	            what, full ? "no space left where the copy goes" : strerror(error));
}

static void backup_free(struct backup *b)
{
	const int fds[] = {b->dir, b->segments, b->from, b->volume, b->in, b->out};

	for (size_t i = 0; i < sizeof fds / sizeof *fds; i++) {
		if (fds[i] >= 0)
			close(fds[i]);
	}
	free(b->segment);
	free(b);
}

/* ---- opening the copy ---- */

/* SQLite wants a name, and would make an absolute one of it. This one leads through our own descriptor, and is left as it is. */
static int backup_full_name(sqlite3_vfs *vfs, const char *name, int n, char *out)
{
	(void)vfs;
	sqlite3_snprintf(n, out, "%s", name);
	return SQLITE_OK;
}

/* Nobody else opens the file, so it needs no locks. */
static const char *backup_vfs(void)
{
	static sqlite3_vfs vfs;
	const sqlite3_vfs *plain = sqlite3_vfs_find("unix-none");

	if (vfs.zName)
		return vfs.zName;
	if (!plain)
		return NULL;
	vfs = *plain;
	vfs.zName = "sluice-backup";
	vfs.pNext = NULL;
	vfs.xFullPathname = backup_full_name;
	return sqlite3_vfs_register(&vfs, 0) == SQLITE_OK ? vfs.zName : NULL;
}

static int backup_open_volume(struct backup *b)
{
	char path[64];
	int rc;

	b->volume = openat(b->dir, SL_VOLUME_FILE, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (b->volume < 0)
		return -1;
	snprintf(path, sizeof path, "/proc/self/fd/%d/%s", b->dir, SL_VOLUME_FILE);
	rc = sqlite3_open_v2(path, &b->to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
	                     backup_vfs());
	/* The helper syncs. A small cache, so that pages go to the file as they come and not all at the end. */
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(b->to,
		                  "PRAGMA synchronous = OFF; PRAGMA journal_mode = OFF; PRAGMA cache_size = -1024",
		                  NULL, NULL, NULL);
	if (rc == SQLITE_OK)
		b->copy = sqlite3_backup_init(b->to, "main", se_handle(b->store->se), "main");
	if (b->copy)
		return 0;
	errno = rc == SQLITE_NOMEM ? ENOMEM : EIO;
	return -1;
}

static int backup_open(struct backup *b)
{
	struct sl_buf path;
	int rc = -1;

	sl_buf_init(&path);
	errno = ENOMEM;
	if (sl_buf_addf(&path, "%s/%s", b->store->data_dir, SL_SEGMENT_DIR) == 0)
		b->from = open((const char *)path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sl_buf_fini(&path);
	if (b->from >= 0 && mkdirat(b->dir, SL_SEGMENT_DIR, 0700) == 0)
		b->segments = openat(b->dir, SL_SEGMENT_DIR, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (b->segments >= 0)
		rc = backup_open_volume(b);
	return rc;
}

int backup_start(struct store *st, uint32_t number, int dir, const struct backup_hooks *hooks, void *arg)
{
	struct backup *b = st->backup ? NULL : calloc(1, sizeof *b);

	if (!b) {
		close(dir);
		return st->backup ? SLUICE_EBUSY : SLUICE_ENOMEM;
	}
	*b = (struct backup){.store = st,
	                     .hooks = hooks,
	                     .arg = arg,
	                     .number = number,
	                     .dir = dir,
	                     .segments = -1,
	                     .from = -1,
	                     .volume = -1,
	                     .in = -1,
	                     .out = -1};
	st->backup = b;
	if (backup_open(b))
		backup_errno(b, "the copy cannot be begun", errno);
	return SLUICE_OK;
}

/* ---- the volume ---- */

static void backup_close_volume(struct backup *b)
{
	sqlite3_backup_finish(b->copy);
	sqlite3_close(b->to);
	b->copy = NULL;
	b->to = NULL;
}

static void backup_volume_failed(struct backup *b, int rc)
{
	int code = se_of_sqlite(rc);

	if (code == SE_FULL)
		backup_errno(b, SL_VOLUME_FILE, ENOSPC);
	else
		backup_fail(b, code == SE_NOMEM ? SLUICE_ENOMEM : SLUICE_EINTERNAL, SL_VOLUME_FILE, sqlite3_errstr(rc));
}

/* What the copy refers to, as of now. Of the segment that is being written, what is there: the payloads of the copy all are. */
static int backup_list(struct backup *b)
{
	sqlite3_stmt *q;
	size_t cap = 0;
	int rc = sqlite3_prepare_v2(se_handle(b->store->se), "SELECT id FROM segment WHERE live > 0 ORDER BY id", -1,
	                            &q, NULL);

	if (rc != SQLITE_OK)
		return rc;
	while ((rc = sqlite3_step(q)) == SQLITE_ROW) {
		struct backup_segment *more = b->segment, *g;
		char name[SL_SEGMENT_NAME_MAX];
		struct stat st;

		if (b->n_segment == cap) {
			cap = cap ? 2 * cap : 64;
			more = realloc(b->segment, cap * sizeof *more);
		}
		if (!more)
			break;
		b->segment = more;
		g = &more[b->n_segment++];
		g->id = (uint64_t)sqlite3_column_int64(q, 0);
		sl_segment_name(g->id, name);
		if (fstatat(b->from, name, &st, 0)) {
			backup_errno(b, name, errno);
			break;
		}
		g->size = (uint64_t)st.st_size;
		b->total += g->size;
	}
	sqlite3_finalize(q);
	return rc == SQLITE_DONE || b->status ? SQLITE_OK : rc == SQLITE_ROW ? SQLITE_NOMEM : rc;
}

static uint64_t backup_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000 + (uint64_t)t.tv_nsec / 1000;
}

/* For a while, but always further than the volume has grown since the last slice: it comes to an end however much is written. */
static void backup_slice(struct backup *b)
{
	uint64_t began = backup_us();
	int rc, pages = b->pages, copied = b->copied, want = STEP_PAGES;

	do {
		rc = sqlite3_backup_step(b->copy, STEP_PAGES);
		b->pages = sqlite3_backup_pagecount(b->copy);
		b->copied = b->pages - sqlite3_backup_remaining(b->copy);
		if (pages && b->pages > pages)
			want = STEP_PAGES + 2 * (b->pages - pages);
	} while (rc == SQLITE_OK && (b->copied - copied < want || backup_us() - began < SLICE_US) &&
	         b->copied >= copied);
	if (b->copied < copied && ++b->restarts > RESTARTS_MAX)
		backup_fail(b, SLUICE_EBUSY, "",
		            "the copy had to be begun anew too often; the log of sluiced says what fails");
	b->total = (uint64_t)b->pages * 4096;
	b->done = (uint64_t)b->copied * 4096;
	b->unsynced += b->copied > copied ? (uint64_t)(b->copied - copied) * 4096 : 0;
	if (rc == SQLITE_OK || rc == SQLITE_BUSY || rc == SQLITE_LOCKED)
		return;
	backup_close_volume(b);
	if (rc == SQLITE_DONE) {
		b->phase = BACKUP_SEGMENTS;
		b->done = b->total = b->unsynced = 0;
		rc = backup_list(b);
	}
	if (rc != SQLITE_OK)
		backup_volume_failed(b, rc);
}

/* ---- the helper's jobs: each does a bounded piece ---- */

static void segment_done(struct backup *b)
{
	if (b->in >= 0)
		close(b->in);
	if (b->out >= 0)
		close(b->out);
	b->in = b->out = -1;
	b->off = b->unsynced = 0;
	b->at++;
}

/* A link, or two open files. A link needs both on one file system, and nobody may write to what it shares. */
static int segment_begin(struct backup *b, const struct backup_segment *g, bool sealed)
{
	char name[SL_SEGMENT_NAME_MAX];

	sl_segment_name(g->id, name);
	if (sealed && linkat(b->from, name, b->segments, name, 0) == 0) {
		b->done += g->size;
		segment_done(b);
		return 0;
	}
	b->in = openat(b->from, name, O_RDONLY | O_CLOEXEC);
	if (b->in >= 0)
		b->out = openat(b->segments, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	return b->out < 0 ? errno : 0;
}

/* The bytes of a step; file systems that share blocks do so. */
static int segment_copy(struct backup *b, uint64_t n)
{
	static const size_t piece = 256 * 1024;
	uint8_t *buf;
	ssize_t got;

	for (uint64_t left = n; left > 0; left -= (uint64_t)got) {
		got = copy_file_range(b->in, NULL, b->out, NULL, left, 0);
		if (got <= 0) {
			n = left;
			break;
		}
		b->off += (uint64_t)got;
		if ((uint64_t)got == left)
			return 0;
	}
	if (n == 0)
		return 0;
	buf = malloc(piece);
	for (uint64_t left = n; buf && left > 0; left -= (uint64_t)got) {
		got = pread(b->in, buf, left < piece ? (size_t)left : piece, (off_t)b->off);
		if (got < 0 && errno == EINTR) {
			got = 0;
			continue;
		}
		if (got == 0)
			errno = EIO; /* shorter than it was */
		if (got > 0)
			got = pwrite(b->out, buf, (size_t)got, (off_t)b->off);
		if (got <= 0) {
			int error = errno;

			free(buf);
			return error;
		}
		b->off += (uint64_t)got;
	}
	free(buf);
	return buf ? 0 : ENOMEM;
}

static int segment_step(struct backup *b)
{
	const struct backup_segment *g = &b->segment[b->at];
	uint64_t n, before = b->off;
	int error;

	if (b->out < 0)
		return segment_begin(b, g, g->id != payloads_segment(b->store));
	n = g->size - b->off < STEP_BYTES ? g->size - b->off : STEP_BYTES;
	error = segment_copy(b, n);
	b->done += b->off - before;
	b->unsynced += b->off - before;
	if (error)
		return error;
	if (b->off < g->size && b->unsynced < SYNC_BYTES)
		return 0;
	if (fdatasync(b->out))
		return errno;
	b->unsynced = 0;
	if (b->off == g->size)
		segment_done(b);
	return 0;
}

static void job_segments(void *arg)
{
	struct backup *b = arg;

	b->error = segment_step(b);
	atomic_store(&b->state, WORKED);
}

static void job_volume(void *arg)
{
	struct backup *b = arg;

	b->error = fdatasync(b->volume) ? errno : 0;
	atomic_store(&b->state, WORKED);
}

static void job_sync(void *arg)
{
	struct backup *b = arg;

	b->error = fsync(b->volume) || fsync(b->segments) || fsync(b->dir) ? errno : 0;
	atomic_store(&b->state, WORKED);
}

/* A handful of names a time would not be worth it: unlinking a segment frees its blocks, or only a link. */
static void job_clean(void *arg)
{
	struct backup *b = arg;
	char name[SL_SEGMENT_NAME_MAX];

	for (size_t i = 0; i <= b->at && i < b->n_segment; i++) {
		sl_segment_name(b->segment[i].id, name);
		unlinkat(b->segments, name, 0);
	}
	if (b->volume >= 0)
		unlinkat(b->dir, SL_VOLUME_FILE, 0);
	if (b->segments >= 0)
		unlinkat(b->dir, SL_SEGMENT_DIR, AT_REMOVEDIR);
	b->error = 0;
	atomic_store(&b->state, WORKED);
}

static void backup_work(struct backup *b, void (*job)(void *), const char *what)
{
	b->what = what;
	atomic_store(&b->state, WORKING);
	b->waits = !payloads_do(b->store, job, b); /* the end of what it does otherwise wakes the loop, too */
	if (b->waits)
		atomic_store(&b->state, IDLE);
}

/* ---- a turn ---- */

static void backup_tell(struct backup *b)
{
	uint64_t now = b->store->mono_ms(b->store->clock_arg);

	if (b->phase > BACKUP_SYNC || (b->told_ms && now - b->told_ms < PROGRESS_MS))
		return;
	b->told_ms = now;
	b->hooks->progress(b->arg, b->number, b->phase == BACKUP_VOLUME ? "volume" : "segments", b->done, b->total);
}

static void backup_end(struct backup *b)
{
	struct store *st = b->store;

	if (b->status)
		sl_log(b->status == SLUICE_ECANCELED ? SLUICE_LOG_INFO : SLUICE_LOG_WARN,
		       "backup failed number=%u error=\"%s\"", b->number, b->why);
	else
		sl_log(SLUICE_LOG_INFO, "backup made number=%u segments=%zu", b->number, b->n_segment);
	st->backup = NULL;
	b->hooks->done(b->arg, b->number, b->status, b->why);
	backup_free(b);
}

/* What comes next, while the helper is idle. */
static void backup_step(struct backup *b)
{
	switch (b->phase) {
	case BACKUP_VOLUME:
		backup_slice(b);
		if (!b->status && b->phase == BACKUP_VOLUME && b->unsynced >= SYNC_BYTES) {
			b->unsynced = 0;
			backup_work(b, job_volume, SL_VOLUME_FILE);
		}
		break;
	case BACKUP_SEGMENTS:
		if (b->at < b->n_segment)
			backup_work(b, job_segments, SL_SEGMENT_DIR);
		else
			b->phase = BACKUP_SYNC;
		break;
	case BACKUP_SYNC:
		backup_work(b, job_sync, "the copy cannot be synced");
		break;
	case BACKUP_CLEAN:
		backup_work(b, job_clean, "");
		break;
	case BACKUP_OVER:
		break;
	}
}

/* The helper has done what it was given. */
static void backup_worked(struct backup *b)
{
	atomic_store(&b->state, IDLE);
	if (b->phase == BACKUP_CLEAN)
		b->phase = BACKUP_OVER;
	else if (b->error)
		backup_errno(b, b->what, b->error);
	else if (b->phase == BACKUP_SYNC)
		b->phase = BACKUP_OVER;
}

void backup_tick(struct store *st)
{
	struct backup *b = st->backup;
	int state;

	if (!b)
		return;
	state = atomic_load(&b->state);
	if (state == WORKED)
		backup_worked(b);
	/* The volume goes on meanwhile: what is synced is never all of it. */
	if (state == WORKING && b->phase == BACKUP_VOLUME && !b->status)
		backup_slice(b);
	if (state == WORKING)
		return;
	if (b->status && b->phase < BACKUP_CLEAN) {
		backup_close_volume(b);
		b->phase = BACKUP_CLEAN;
	}
	backup_step(b);
	backup_tell(b);
	if (b->phase == BACKUP_OVER)
		backup_end(b);
}

bool backup_left(const struct store *st)
{
	const struct backup *b = st->backup;

	return b && ((b->phase == BACKUP_VOLUME && !b->status) || (atomic_load(&b->state) != WORKING && !b->waits));
}

bool backup_holds(const struct store *st)
{
	return st->backup && st->backup->phase >= BACKUP_SEGMENTS;
}

void backup_cancel(struct store *st, uint32_t number, const char *why)
{
	struct backup *b = st->backup;

	if (b && (number == 0 || number == b->number))
		backup_fail(b, SLUICE_ECANCELED, "", why);
}

void backup_close(struct store *st)
{
	struct backup *b = st->backup;

	if (!b)
		return;
	/* The helper has gone. */
	backup_cancel(st, 0, "the store-writer ends");
	backup_close_volume(b);
	job_clean(b);
	backup_end(b);
}
