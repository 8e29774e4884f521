/*
 * store.c - the process object: opening a data directory, and the loop. Store-writer.
 *
 * A turn: wait, take in what every ready peer has sent, commit, answer, tell; then a slice of housekeeping. Nothing in
 * it blocks but the disk. Opening refuses, and leaves everything as it is, when the data is not ours, newer, damaged,
 * or in use.
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/perm.h"
#include "store-worker/store.h"

enum { EVENTS_MAX = 64, LOCK_WAIT_MS = 10000, LOCK_STEP_MS = 50, DAMAGE_MS = 60000 };

static uint64_t clock_of(clockid_t id)
{
	struct timespec t;

	clock_gettime(id, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static uint64_t clock_wall(void *arg)
{
	(void)arg;
	return clock_of(CLOCK_REALTIME);
}

static uint64_t clock_mono(void *arg)
{
	(void)arg;
	return clock_of(CLOCK_MONOTONIC);
}

struct store *store_new(void)
{
	struct store *st = calloc(1, sizeof *st);

	if (!st)
		return NULL;
	st->magic = STORE_MAGIC;
	st->lock = -1;
	st->wall_ms = clock_wall;
	st->mono_ms = clock_mono;
	st->lock_wait_ms = LOCK_WAIT_MS;
	settings_default(&st->settings);
	volume_init(&st->volume);
	sl_link_init(&st->peers);
	sl_link_init(&st->ready);
	sl_link_init(&st->flush);
	sl_link_init(&st->ended);
	sl_link_init(&st->runnable);
	sl_link_init(&st->touched);
	sl_link_init(&st->prefixes);
	sl_link_init(&st->access_lru);
	sl_link_init(&st->access_unsaved);
	sl_link_init(&st->access_held);
	sl_link_init(&st->access_saving);
	st->txn.store = st;
	st->txn.volume = &st->volume;
	st->epoll = epoll_create1(EPOLL_CLOEXEC);
	if (st->epoll < 0) {
		free(st);
		return NULL;
	}
	return st;
}

/* ---- opening ---- */

static int refuse(const char **why, bool *final, bool is_final, const char *text)
{
	*why = text;
	*final = is_final;
	return SLUICE_EINTERNAL;
}

/* Whether the lock file still has its name: a restore exchanges whole directories, and may have had the lock until now. */
static bool store_lock_named(const struct store *st, const char *path)
{
	struct stat ours, named;

	return fstat(st->lock, &ours) == 0 && stat(path, &named) == 0 && ours.st_dev == named.st_dev &&
	       ours.st_ino == named.st_ino;
}

static int store_open_lock(struct store *st, const char *path, const char **why, bool *final)
{
	if (st->lock >= 0)
		close(st->lock);
	st->lock = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (st->lock >= 0)
		return 0;
	return refuse(why, final, true,
	              "the data directory cannot be written; check that it exists, its owner and its permissions");
}

/* The lock dies with its holder. A writer that is finishing gets time for it. */
static int store_wait_lock(struct store *st, const char *path, const char **why, bool *final)
{
	struct timespec step = {.tv_nsec = LOCK_STEP_MS * 1000000L};
	int rc = store_open_lock(st, path, why, final);

	for (unsigned waited = 0; rc == 0; waited += LOCK_STEP_MS) {
		bool locked = flock(st->lock, LOCK_EX | LOCK_NB) == 0;

		if (locked && store_lock_named(st, path))
			return 0;
		if (!locked && errno != EWOULDBLOCK && errno != EINTR)
			return refuse(
				why, final, true,
				"the lock file of the data directory cannot be locked; the file system may not support it");
		if (waited >= st->lock_wait_ms)
			return refuse(
				why, final, true,
				"the data directory is in use by another server; stop that one, or use another directory");
		if (waited == 0)
			sl_log(SLUICE_LOG_WARN, "waiting_for_lock data_dir=%s action=\"another server has it open; it may be finishing\"",
			       st->data_dir);
		nanosleep(&step, NULL);
		if (!store_lock_named(st, path))
			rc = store_open_lock(st, path, why, final);
	}
	return rc;
}

static int store_take_lock(struct store *st, const char **why, bool *final)
{
	struct sl_buf path;
	int rc;

	sl_buf_init(&path);
	if (sl_buf_addf(&path, "%s/%s", st->data_dir, SL_LOCK_FILE))
		rc = refuse(why, final, false, "out of memory");
	else
		rc = store_wait_lock(st, (const char *)path.data, why, final);
	sl_buf_fini(&path);
	return rc;
}

static int store_open_volume(struct store *st, const char **why, bool *final)
{
	struct sl_buf path, text;
	uint8_t generation[16];
	const char *reason = "";
	struct se_config c = {.sync = st->settings.sync,
	                      .create = true,
	                      .app_id = SL_APP_ID,
	                      .schema = SL_SCHEMA,
	                      .migrate = volume_migrate,
	                      .generation = generation,
	                      .wall_ms = st->wall_ms,
	                      .mono_ms = st->mono_ms,
	                      .wall_arg = st->clock_arg,
	                      .volume = &st->volume};
	int rc;

	sl_buf_init(&path);
	sl_buf_init(&text);
	if (getrandom(generation, sizeof generation, 0) != sizeof generation ||
	    sl_buf_addf(&path, "%s/%s", st->data_dir, SL_VOLUME_FILE)) {
		sl_buf_fini(&path);
		return refuse(why, final, false, "out of memory");
	}
	c.path = (const char *)path.data;
	rc = se_open(&c, &volume_redo, &st->se, &reason);
	if (rc && sl_buf_addf(&text, "%s: %s", (const char *)path.data, reason) == 0) {
		free(st->why);
		st->why = sl_slice_dup(sl_buf_slice(&text));
	}
	sl_buf_fini(&path);
	sl_buf_fini(&text);
	if (rc)
		return refuse(why, final, rc != SE_NOMEM && rc != SE_BUSY && rc != SE_FULL,
		              st->why ? st->why : "out of memory");
	return 0;
}

/* What is wrong with one file's owner or mode, as a text; without one nothing is. */
static int store_check_file(const struct store *st, int dir, const char *name, struct sl_buf *text)
{
	const char *writers;
	struct stat sb;

	if (fstatat(dir, name, &sb, 0))
		return 0; /* it is made, or missed, by whoever opens it */
	writers = sl_perm_writers(sb.st_mode, SL_PERM_DATA);
	if (writers)
		return sl_buf_addf(text, "%s may write %s/%s (mode %04o): chmod go-w it, and see that nobody has changed the data", writers,
		                   st->data_dir, name, (unsigned)sb.st_mode & 07777);
	if (sl_perm_foreign(&sb))
		return sl_buf_addf(text, "%s/%s belongs to user %ld, who may write it: chown %ld it, and see that nobody has changed the data",
		                   st->data_dir, name, (long)sb.st_uid, (long)geteuid());
	return 0;
}

/* Others reach the files only through a directory that lets them in; the directory itself sluiced has looked at. */
static int store_check_files(struct store *st, const char **why, bool *final)
{
	static const char *const names[] = {SL_VOLUME_FILE, SL_VOLUME_FILE "-wal", SL_VOLUME_FILE "-shm", SL_SEGMENT_DIR, SL_LOCK_FILE};
	int dir = open(st->data_dir, O_PATH | O_DIRECTORY | O_CLOEXEC), rc = 0;
	struct sl_buf text;
	struct stat sb;

	sl_buf_init(&text);
	if (dir >= 0 && fstat(dir, &sb) == 0 && (sb.st_mode & (S_IXGRP | S_IXOTH)))
		for (size_t i = 0; rc == 0 && text.len == 0 && i < sizeof names / sizeof *names; i++)
			rc = store_check_file(st, dir, names[i], &text);
	if (dir >= 0)
		close(dir);
	if (text.len > 0) {
		free(st->why);
		st->why = sl_slice_dup(sl_buf_slice(&text));
	}
	if (rc || (text.len > 0 && !st->why))
		rc = refuse(why, final, false, "out of memory");
	else if (text.len > 0)
		rc = refuse(why, final, true, st->why);
	sl_buf_fini(&text);
	return rc;
}

int store_open(struct store *st, const char *data_dir, const char **why, bool *final)
{
	const char *dir = getenv("SLUICE_SHADOW");
	int rc;

	*final = false;
	st->data_dir = sl_slice_dup(sl_slice_str(data_dir));
	if (!st->data_dir)
		return refuse(why, final, false, "out of memory");
	/* The supervisor has made it. One that is gone was moved, or its disk is not mounted: beginning with an empty one would hide the data. */
	if (access(data_dir, F_OK))
		return refuse(why, final, true,
		              "the data directory is not there; see whether it was moved, or its disk is not mounted");
	rc = store_check_files(st, why, final);
	if (rc == 0)
		rc = store_take_lock(st, why, final);
	if (rc == 0 && (rc = store_may_begin(st)) != 0)
		rc = rc == SLUICE_ENOMEM ? refuse(why, final, false, "out of memory") : refuse(why, final, true, st->why);
	if (rc == 0)
		rc = store_open_volume(st, why, final);
	if (rc)
		return rc;
	se_watch(st->se, false, watch_event, st);
	st->started_ms = store_now(st);
	if (payloads_open(st, why) || sweep_open(st) || checkpoints_open(st))
		return refuse(why, final, false, *why && **why ? *why : "out of memory");
	if (dir && *dir && shadow_open(st, dir, why))
		return refuse(why, final, true, *why);
	segments_orphans(st, true);
	return 0;
}

void store_free(struct store *st)
{
	if (!st)
		return;
	assert(st->magic == STORE_MAGIC);
	while (!sl_link_alone(&st->peers))
		peer_end(SL_OF(st->peers.next, struct peer, all), NULL);
	peers_bury(st);
	payloads_close(st); /* before the volume: a job may be reading it */
	backup_close(st);
	checkpoints_close(st);
	shadow_close(st);
	sweep_close(st);
	se_close(st->se);
	stats_close(st);
	access_fini(st);
	volume_fini(&st->volume);
	sl_map_fini(&st->topics);
	sl_buf_fini(&st->text);
	sl_buf_fini(&st->txn.effect);
	free(st->replies);
	free(st->outcomes);
	free(st->lives);
	free(st->data_dir);
	free(st->why);
	if (st->lock >= 0)
		close(st->lock);
	close(st->epoll);
	st->magic = 0;
	free(st);
}

const struct settings *store_settings(const struct store *st)
{
	return &st->settings;
}

void store_damaged(struct store *st, sl_slice stream)
{
	uint64_t now = st->mono_ms(st->clock_arg);

	if (st->damage_told_ms && now - st->damage_told_ms < DAMAGE_MS)
		return;
	st->damage_told_ms = now;
	sl_log(SLUICE_LOG_ERR, "record_damaged stream=\"%.*s\" action=\"sluicectl check names what is damaged; restore a backup\"",
	       (int)stream.len, (const char *)stream.data);
}

uint64_t store_now(const struct store *st)
{
	return se_clock(st->se);
}

/* ---- the loop ---- */

int source_add(struct store *st, struct source *src, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = src};

	src->events = events;
	return epoll_ctl(st->epoll, EPOLL_CTL_ADD, src->fd, &e) ? SLUICE_ENOMEM : 0;
}

void source_set(struct store *st, struct source *src, uint32_t events)
{
	struct epoll_event e = {.events = events, .data.ptr = src};

	if (src->events == events)
		return;
	src->events = events;
	epoll_ctl(st->epoll, EPOLL_CTL_MOD, src->fd, &e);
}

void source_del(struct store *st, struct source *src)
{
	epoll_ctl(st->epoll, EPOLL_CTL_DEL, src->fd, NULL);
}

bool store_busy(const struct store *st)
{
	return !sl_link_alone(&st->ready) || !sl_link_alone(&st->runnable) || sweep_left(st) || backup_left(st);
}

int store_wait(struct store *st, int timeout_ms)
{
	struct epoll_event e[EVENTS_MAX];
	int n;

	if (st->se && store_busy(st))
		timeout_ms = 0;
	else if (st->se && (timeout_ms < 0 || sweep_timeout(st) < timeout_ms))
		timeout_ms = sweep_timeout(st);
	n = epoll_wait(st->epoll, e, EVENTS_MAX, timeout_ms);
	for (int i = 0; i < n; i++) {
		struct source *src = e[i].data.ptr;

		src->ready(st, src, e[i].events);
	}
	return n < 0 && errno != EINTR ? SLUICE_EINTERNAL : 0;
}

/* Takes in what ready peers have, each in its turn, until the batch is full. */
static void store_take(struct store *st)
{
	struct sl_link now, *l;

	hold_run(st);
	sl_link_init(&now);
	sl_link_splice(&now, &st->ready);
	while (!batch_full(st) && (l = sl_link_pop(&now)))
		peer_read(SL_OF(l, struct peer, ready));
	/* Those that had no turn come first the next time. */
	sl_link_splice(&st->ready, &now);
}

int store_turn(struct store *st, int timeout_ms)
{
	struct sl_link *l;
	int rc = store_wait(st, timeout_ms);

	if (rc)
		return rc;
	store_take(st);
	batch_end(st);
	while ((l = sl_link_pop(&st->flush)))
		peer_flush(SL_OF(l, struct peer, flush));
	peers_bury(st);
	if (st->fatal)
		return SLUICE_EINTERNAL;
	checkpoints_tick(st);
	if (st->fatal)
		return SLUICE_EINTERNAL;
	sweep_tick(st);
	backup_tick(st);
	while ((l = sl_link_pop(&st->flush)))
		peer_flush(SL_OF(l, struct peer, flush));
	peers_bury(st);
	stats_round(st);
	return st->fatal ? SLUICE_EINTERNAL : 0;
}
