/*
 * payload.c - the helper thread: copies large payloads into segment files and syncs them, and runs checkpoint jobs.
 * Store-writer.
 *
 * The thread touches files and, in jobs, a connection of its own; never the writing one. Parts go in through a queue
 * under a mutex and come back through another, announced by an eventfd. One sync serves all parts that were waiting. A
 * segment whose write or sync failed is not used again: what is on the disk is not known then.
 */
#include <assert.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/crc.h"
#include "lib/log.h"
#include "lib/segment.h"
#include "store-worker/store.h"

#define COPY_STEP (1u << 20)

struct payloads {
	struct source wake; /* the loop's side of the eventfd */
	pthread_t thread;
	bool running;
	pthread_mutex_t mutex;
	pthread_cond_t cond;
	/* under the mutex */
	struct sl_link todo, done;
	bool stop;
	size_t busy; /* parts not yet given back */
	void (*job)(void *);
	void *job_arg;
	uint64_t open_id; /* of the segment being written; 0: none */
	uint64_t segment_bytes;
	/* the thread's own */
	int dir, fd;
	bool sync, new_file, spoilt; /* spoilt: to be left after the round's sync */
	uint64_t id, next_id, off;
	uint8_t *buf;
};

static int payload_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT ? SLUICE_EFULL : errno == ENOMEM ? SLUICE_ENOMEM : SLUICE_EINTERNAL;
}

static void segment_leave(struct payloads *ps)
{
	if (ps->fd >= 0)
		close(ps->fd);
	ps->fd = -1;
	pthread_mutex_lock(&ps->mutex);
	ps->open_id = 0;
	pthread_mutex_unlock(&ps->mutex);
}

static int segment_enter(struct payloads *ps)
{
	char name[SL_SEGMENT_NAME_MAX];

	if (ps->fd >= 0)
		return 0;
	sl_segment_name(ps->next_id, name);
	ps->fd = openat(ps->dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (ps->fd < 0)
		return payload_errno();
	ps->id = ps->next_id++;
	ps->off = 0;
	ps->new_file = true;
	pthread_mutex_lock(&ps->mutex);
	ps->open_id = ps->id;
	pthread_mutex_unlock(&ps->mutex);
	return 0;
}

static int segment_write(struct payloads *ps, const uint8_t *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t w = pwrite(ps->fd, p, n, (off_t)at);

		if (w < 0 && errno == EINTR)
			continue;
		if (w < 0)
			return payload_errno();
		p += w;
		n -= (size_t)w;
		at += (uint64_t)w;
	}
	return 0;
}

/* Reads exactly n bytes of the sender's file. Shorter than announced: the sender's fault. */
static int payload_read(int fd, uint8_t *p, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t r = pread(fd, p, n, (off_t)at);

		if (r < 0 && errno == EINTR)
			continue;
		if (r <= 0)
			return SLUICE_EINVAL;
		p += r;
		n -= (size_t)r;
		at += (uint64_t)r;
	}
	return 0;
}

static int payload_copy(struct payloads *ps, struct held_part *part)
{
	uint64_t total = part->data_len + part->marks_len;
	struct sl_segment_head h = {.data_len = part->data_len, .marks_len = part->marks_len};
	uint8_t head[SL_SEGMENT_HEAD];
	struct digest d = {.failed = true};
	uint32_t crc = 0;
	int rc = part->snapshot ? digest_begin(&d, part->type) : 0;

	for (uint64_t at = 0; rc == 0 && at < total;) {
		size_t n = total - at < COPY_STEP ? (size_t)(total - at) : COPY_STEP;

		rc = payload_read(part->fd, ps->buf, n, at);
		if (rc == 0)
			rc = segment_write(ps, ps->buf, n, ps->off + SL_SEGMENT_HEAD + at);
		crc = sl_crc32(crc, SL_SLICE(ps->buf, n));
		digest_add(&d, ps->buf, n); /* a snapshot has no marks behind it */
		at += n;
	}
	if (part->snapshot && digest_end(&d, part->digest))
		rc = rc ? rc : SLUICE_ENOMEM;
	h.crc = crc;
	sl_segment_put_head(head, &h);
	if (rc == 0)
		rc = segment_write(ps, head, sizeof head, ps->off);
	return rc;
}

static int payload_store(struct payloads *ps, struct held_part *part)
{
	struct stat sb;
	int rc;

	if (fstat(part->fd, &sb) || !S_ISREG(sb.st_mode) || (uint64_t)sb.st_size != part->data_len + part->marks_len)
		return SLUICE_EINVAL;
	part->marks = malloc(part->marks_len + 1);
	if (!part->marks)
		return SLUICE_ENOMEM;
	rc = payload_read(part->fd, part->marks, part->marks_len, part->data_len);
	if (rc == 0)
		rc = segment_enter(ps);
	if (rc)
		return rc;
	rc = payload_copy(ps, part);
	if (rc == SLUICE_EINVAL || rc == SLUICE_EFULL) {
		/* The space behind the last good record is used again. */
		ps->spoilt = ftruncate(ps->fd, (off_t)ps->off) != 0;
		return rc;
	}
	if (rc) { /* nothing follows what failed, but the records before it are still to be synced */
		ps->spoilt = true;
		return rc;
	}
	part->ref = (struct segment_ref){.segment = ps->id, .off = ps->off + SL_SEGMENT_HEAD};
	ps->off += SL_SEGMENT_HEAD + part->data_len + part->marks_len;
	return 0;
}

/* Makes what was written durable; on failure none of it may be referred to. */
static int payload_sync(struct payloads *ps)
{
	int rc = 0;

	if (ps->fd < 0 || !ps->sync)
		return 0;
	if (fdatasync(ps->fd) || (ps->new_file && fsync(ps->dir)))
		rc = payload_errno();
	ps->new_file = false;
	if (rc)
		segment_leave(ps);
	return rc;
}

/* Stores some parts of one segment, so that one sync tells the fate of all of them. */
static void payload_round(struct payloads *ps, struct sl_link *todo, uint64_t limit)
{
	struct sl_link finished, *l;
	int rc;

	sl_link_init(&finished);
	while ((l = sl_link_pop(todo))) {
		struct held_part *part = SL_OF(l, struct held_part, job);

		part->status = payload_store(ps, part);
		sl_link_add(&finished, l);
		if (ps->fd < 0 || ps->spoilt || ps->off >= limit)
			break;
	}
	rc = payload_sync(ps);
	if (ps->spoilt || ps->off >= limit)
		segment_leave(ps);
	ps->spoilt = false;
	for (l = finished.next; rc && l != &finished; l = l->next)
		if (SL_OF(l, struct held_part, job)->status == 0)
			SL_OF(l, struct held_part, job)->status = rc;
	pthread_mutex_lock(&ps->mutex);
	while ((l = sl_link_pop(&finished)))
		sl_link_add(&ps->done, l);
	pthread_mutex_unlock(&ps->mutex);
}

static void payload_wake(struct payloads *ps)
{
	uint64_t one = 1;
	ssize_t n = write(ps->wake.fd, &one, sizeof one);

	(void)n; /* a counter that is full has been announced */
}

static void *payload_main(void *arg)
{
	struct payloads *ps = arg;
	struct sl_link todo;

	sl_link_init(&todo);
	pthread_mutex_lock(&ps->mutex);
	for (;;) {
		void (*job)(void *) = ps->job;
		void *job_arg = ps->job_arg;
		uint64_t limit = ps->segment_bytes;

		if (sl_link_alone(&todo))
			sl_link_splice(&todo, &ps->todo);
		if (sl_link_alone(&todo) && !job) {
			if (ps->stop)
				break;
			pthread_cond_wait(&ps->cond, &ps->mutex);
			continue;
		}
		pthread_mutex_unlock(&ps->mutex);
		/* Payloads first: somebody waits for them. */
		if (!sl_link_alone(&todo)) {
			payload_round(ps, &todo, limit);
			payload_wake(ps);
			pthread_mutex_lock(&ps->mutex);
			continue;
		}
		job(job_arg);
		pthread_mutex_lock(&ps->mutex);
		ps->job = NULL;
		payload_wake(ps); /* whoever was refused meanwhile comes again */
	}
	pthread_mutex_unlock(&ps->mutex);
	segment_leave(ps);
	return NULL;
}

static void payloads_ready(struct store *st, struct source *src, uint32_t events)
{
	struct payloads *ps = SL_OF(src, struct payloads, wake);
	struct sl_link done, *l;
	uint64_t count;
	ssize_t n = read(src->fd, &count, sizeof count);

	(void)n;
	(void)events;
	sl_link_init(&done);
	pthread_mutex_lock(&ps->mutex);
	sl_link_splice(&done, &ps->done);
	pthread_mutex_unlock(&ps->mutex);
	while ((l = sl_link_pop(&done))) {
		ps->busy--;
		hold_done(st, SL_OF(l, struct held_part, job));
	}
}

/* The highest segment id that a file bears, or a row. */
static int payloads_last(struct payloads *ps, sqlite3 *db, uint64_t *last)
{
	int copy = fcntl(ps->dir, F_DUPFD_CLOEXEC, 0);
	DIR *d = copy < 0 ? NULL : fdopendir(copy);
	sqlite3_stmt *q;
	struct dirent *e;

	*last = 0;
	if (!d) {
		if (copy >= 0)
			close(copy);
		return SLUICE_EINTERNAL;
	}
	rewinddir(d);
	while ((e = readdir(d))) {
		uint64_t id;

		if (sl_segment_id(e->d_name, &id) == 0 && id > *last)
			*last = id;
	}
	closedir(d);
	if (sqlite3_prepare_v2(db, "SELECT coalesce(max(id), 0) FROM segment", -1, &q, NULL) != SQLITE_OK)
		return SLUICE_EINTERNAL;
	if (sqlite3_step(q) == SQLITE_ROW && (uint64_t)sqlite3_column_int64(q, 0) > *last)
		*last = (uint64_t)sqlite3_column_int64(q, 0);
	sqlite3_finalize(q);
	return 0;
}

static int payloads_start(struct payloads *ps)
{
	sigset_t all, old;
	int rc;

	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &old);
	rc = pthread_create(&ps->thread, NULL, payload_main, ps);
	pthread_sigmask(SIG_SETMASK, &old, NULL);
	ps->running = rc == 0;
	return rc ? SLUICE_ENOMEM : 0;
}

/* The directory of segments may be new: its own entry must outlive a power failure, too. */
static int payload_sync_parent(int dir)
{
	int up = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc = up < 0 ? -1 : fsync(up);

	if (up >= 0)
		close(up);
	return rc;
}

int payloads_open(struct store *st, const char **why)
{
	struct payloads *ps = calloc(1, sizeof *ps);
	struct sl_buf path;
	uint64_t last = 0;
	int rc;

	*why = "out of memory";
	if (!ps)
		return SLUICE_ENOMEM;
	st->payloads = ps;
	ps->fd = ps->dir = ps->wake.fd = -1;
	sl_link_init(&ps->todo);
	sl_link_init(&ps->done);
	pthread_mutex_init(&ps->mutex, NULL);
	pthread_cond_init(&ps->cond, NULL);
	ps->segment_bytes = st->settings.segment_bytes;
	ps->sync = st->settings.sync != SE_SYNC_OFF;
	ps->buf = malloc(COPY_STEP);
	sl_buf_init(&path);
	if (!ps->buf || sl_buf_addf(&path, "%s/%s", st->data_dir, SL_SEGMENT_DIR)) {
		sl_buf_fini(&path);
		return SLUICE_ENOMEM;
	}
	*why = "the directory of segments cannot be made or read; check the permissions";
	if (mkdir((const char *)path.data, 0700) == 0 || errno == EEXIST)
		ps->dir = open((const char *)path.data, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ps->dir >= 0 && ps->sync && payload_sync_parent(ps->dir)) {
		close(ps->dir);
		ps->dir = -1;
	}
	sl_buf_fini(&path);
	rc = ps->dir < 0 ? SLUICE_EINTERNAL : payloads_last(ps, se_handle(st->se), &last);
	if (rc)
		return rc;
	ps->next_id = last + 1;
	*why = "the helper thread cannot be started";
	ps->wake.fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	ps->wake.ready = payloads_ready;
	rc = ps->wake.fd < 0 ? SLUICE_ENOMEM : source_add(st, &ps->wake, EPOLLIN);
	return rc ? rc : payloads_start(ps);
}

void payloads_close(struct store *st)
{
	struct payloads *ps = st->payloads;

	if (!ps)
		return;
	if (ps->running) {
		pthread_mutex_lock(&ps->mutex);
		ps->stop = true;
		pthread_cond_signal(&ps->cond);
		pthread_mutex_unlock(&ps->mutex);
		pthread_join(ps->thread, NULL);
		payloads_ready(st, &ps->wake, 0);
	}
	if (ps->wake.fd >= 0) {
		source_del(st, &ps->wake);
		close(ps->wake.fd);
	}
	if (ps->dir >= 0)
		close(ps->dir);
	pthread_cond_destroy(&ps->cond);
	pthread_mutex_destroy(&ps->mutex);
	free(ps->buf);
	free(ps);
	st->payloads = NULL;
}

void payloads_put(struct store *st, struct held_part *part)
{
	struct payloads *ps = st->payloads;

	ps->busy++;
	pthread_mutex_lock(&ps->mutex);
	ps->segment_bytes = st->settings.segment_bytes;
	sl_link_add(&ps->todo, &part->job);
	pthread_cond_signal(&ps->cond);
	pthread_mutex_unlock(&ps->mutex);
}

uint64_t payloads_segment(struct store *st)
{
	struct payloads *ps = st->payloads;
	uint64_t id;

	pthread_mutex_lock(&ps->mutex);
	id = ps->open_id;
	pthread_mutex_unlock(&ps->mutex);
	return id;
}

bool payloads_busy(const struct store *st)
{
	return st->payloads && st->payloads->busy > 0;
}

bool payloads_do(struct store *st, void (*fn)(void *), void *arg)
{
	struct payloads *ps = st->payloads;
	bool idle;

	pthread_mutex_lock(&ps->mutex);
	idle = !ps->job;
	if (idle) {
		ps->job = fn;
		ps->job_arg = arg;
		pthread_cond_signal(&ps->cond);
	}
	pthread_mutex_unlock(&ps->mutex);
	return idle;
}
