/*
 * checkpoint.c - keeping the WAL bounded without stalls. Store-writer, the copying in its helper thread.
 *
 * performance.md 3: its file is made longer ahead of the commits that fill it.
 * performance.md 6: past checkpoint_bytes the helper copies most pages on a connection of its own; a short PASSIVE
 * checkpoint of the writer between two batches then finds little left and lets the WAL restart. A reader can prevent
 * that; at four times the size one RESTART with a short busy limit is tried, and said.
 *
 * A failed write or sync ends the writer as one in a commit does: what the volume's file holds is known only after recovery,
 * and the kernel may report the error once only. A full disk does not: the log has it all.
 */
#include <stdatomic.h>
#include <stdlib.h>
#include <time.h>

#include "lib/log.h"
#include "store-worker/store.h"

enum {
	IDLE,
	COPYING,
	COPIED,
	RESTART_BUSY_MS = 50,
	RESTART_EVERY_MS = 1000,
	WRITER_BUSY_MS = 2000,
	AHEAD_STEP = 1 << 20, /* a hundred small commits: the one that has it synced is a rare one */
	AHEAD_LEFT = 64 << 10,
	AHEAD_PIECE = 64 << 10 /* SQLite's files take less than 128 KiB at once */
};

struct checkpoints {
	sqlite3 *copy; /* the helper's */
	atomic_int state;
	int copy_rc; /* the helper's; read once it has COPIED */
	uint64_t last_bytes, next_restart_ms;
	uint64_t log_size; /* of the file, as last seen; what is in use of it is less */
	bool no_room;      /* to make it longer ahead of time */
};

int checkpoints_open(struct store *st)
{
	struct checkpoints *c = st->checkpoints = calloc(1, sizeof *c);
	int rc;

	if (!c)
		return SLUICE_ENOMEM;
	rc = sqlite3_open_v2(sqlite3_db_filename(se_handle(st->se), "main"), &c->copy,
	                     SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_exec(c->copy,
		                  st->settings.sync == SE_SYNC_OFF ? "PRAGMA synchronous = OFF"
		                                                   : "PRAGMA synchronous = FULL",
		                  NULL, NULL, NULL);
	/* It never is what writes last: the writing connection does that, or nobody after a failure. */
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(c->copy, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
	return rc == SQLITE_OK ? 0 : SLUICE_EINTERNAL;
}

void checkpoints_close(struct store *st)
{
	if (!st->checkpoints)
		return;
	sqlite3_close(st->checkpoints->copy);
	free(st->checkpoints);
	st->checkpoints = NULL;
}

static void checkpoint_copy(void *arg)
{
	struct checkpoints *c = arg;

	/* Whatever it achieved: the writer's own checkpoint does the rest. */
	c->copy_rc = sqlite3_wal_checkpoint_v2(c->copy, "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
	atomic_store(&c->state, COPIED);
}

/* Says what went wrong; true: the engine has failed by it. */
static bool checkpoint_failed(struct store *st, int rc)
{
	int code = se_of_sqlite(rc);

	if (code != SE_IO && code != SE_CORRUPT && code != SE_FULL)
		return false;
	sl_log(code == SE_FULL ? SLUICE_LOG_WARN : SLUICE_LOG_ERR, "checkpoint failed error=\"%s\" action=\"%s\"",
	       sqlite3_errstr(rc),
	       code == SE_FULL ? "free space on the disk; until then the log grows" : "check the disk");
	if (code == SE_FULL)
		return false;
	se_fail(st->se, code, sqlite3_errstr(rc));
	st->fatal = true;
	return true;
}

static void checkpoint_finish(struct store *st, struct checkpoints *c, uint64_t wal_bytes)
{
	int log = 0, done = 0, rc;

	if (checkpoint_failed(st, c->copy_rc))
		return;
	c->copy_rc = SQLITE_OK;
	rc = sqlite3_wal_checkpoint_v2(se_handle(st->se), "main", SQLITE_CHECKPOINT_PASSIVE, &log, &done);
	/* All copied: the next commit begins the WAL anew. Otherwise a while passes before the next try. */
	c->last_bytes = rc == SQLITE_OK && log == done ? 0 : wal_bytes;
	checkpoint_failed(st, rc);
	atomic_store(&c->state, IDLE);
}

static void checkpoint_restart(struct store *st, struct checkpoints *c, uint64_t wal_bytes)
{
	uint64_t now = st->mono_ms(st->clock_arg);
	int rc;

	if (now < c->next_restart_ms)
		return;
	c->next_restart_ms = now + RESTART_EVERY_MS;
	sqlite3_busy_timeout(se_handle(st->se), RESTART_BUSY_MS);
	rc = sqlite3_wal_checkpoint_v2(se_handle(st->se), "main", SQLITE_CHECKPOINT_RESTART, NULL, NULL);
	sqlite3_busy_timeout(se_handle(st->se), WRITER_BUSY_MS);
	if (checkpoint_failed(st, rc))
		return;
	sl_log(SLUICE_LOG_WARN,
	       "wal restarted bytes=%llu result=\"%s\" reason=\"it had grown to four times checkpoint_bytes\"",
	       (unsigned long long)wal_bytes, sqlite3_errstr(rc));
	if (rc == SQLITE_OK)
		c->last_bytes = 0;
}

/* The log has outrun the copying: the writer yields to it for a moment before each batch, or nothing would bound the log on
 * a machine whose other processes keep the helper from its processor. */
static void checkpoint_yield(const struct checkpoints *c)
{
	const struct timespec step = {.tv_nsec = 1000000};

	for (int ms = 0; ms < RESTART_BUSY_MS && atomic_load(&c->state) == COPYING; ms++)
		nanosleep(&step, NULL);
}

/* A commit that makes the log's file longer waits for more than its own bytes: blocks and size have to be written too, one after the
 * other. So the file is made longer ahead of time, a piece at once, as far as checkpoints let it come. What lies behind the last
 * frame means nothing to SQLite, and only this thread writes there. */
static void checkpoint_ahead(struct store *st, struct checkpoints *c, uint64_t wal_bytes)
{
	static uint8_t zeros[AHEAD_PIECE];
	uint64_t limit = st->settings.checkpoint_bytes, end;
	sqlite3_file *log = NULL;
	sqlite3_int64 size = 0;
	int rc;

	if (c->no_room || c->log_size >= limit || c->log_size > wal_bytes + AHEAD_LEFT)
		return;
	rc = sqlite3_file_control(se_handle(st->se), "main", SQLITE_FCNTL_JOURNAL_POINTER, &log);
	if (rc != SQLITE_OK || !log || !log->pMethods)
		return;
	rc = log->pMethods->xFileSize(log, &size);
	if (rc == SQLITE_OK && (uint64_t)size <= wal_bytes + AHEAD_LEFT)
		for (end = (uint64_t)size + AHEAD_STEP; rc == SQLITE_OK && (uint64_t)size < end && (uint64_t)size < limit;
		     size += AHEAD_PIECE)
			rc = log->pMethods->xWrite(log, zeros, AHEAD_PIECE, size);
	c->log_size = (uint64_t)size;
	/* Without room for it commits do what they did without it. */
	c->no_room = rc != SQLITE_OK;
	if (se_of_sqlite(rc) != SE_FULL)
		checkpoint_failed(st, rc);
}

void checkpoints_tick(struct store *st)
{
	struct checkpoints *c = st->checkpoints;
	uint64_t limit = st->settings.checkpoint_bytes;
	struct se_status s;

	se_status(st->se, &s);
	if (s.wal_bytes < c->last_bytes) /* it has begun anew */
		c->last_bytes = 0;
	if (s.wal_bytes > 4 * limit)
		checkpoint_yield(c);
	checkpoint_ahead(st, c, s.wal_bytes);
	if (st->fatal)
		return;
	switch (atomic_load(&c->state)) {
	case COPIED:
		checkpoint_finish(st, c, s.wal_bytes);
		break;
	case IDLE:
		if (s.wal_bytes <= limit || s.wal_bytes < c->last_bytes + limit / 4)
			break;
		atomic_store(&c->state, COPYING);
		if (!payloads_do(st, checkpoint_copy, c))
			atomic_store(&c->state, COPIED); /* the helper has other things to do */
		break;
	default:
		break;
	}
	if (!st->fatal && s.wal_bytes > 4 * limit && s.wal_bytes >= c->last_bytes + limit / 4)
		checkpoint_restart(st, c, s.wal_bytes);
}
