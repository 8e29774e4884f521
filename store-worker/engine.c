/*
 * engine.c - the engine on SQLite: transactions, savepoints, positions, records. Store-writer.
 *
 * Only this file executes BEGIN, COMMIT and ROLLBACK, and every change of a volume goes through se_emit() or
 * se_apply(). Position and clock are a row of the volume, written in the transaction they describe.
 */
#include "store-worker/engine_internal.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

enum { ENGINE_TOUCHES_KEPT = 4096 };

static const char *const engine_sql[STMTS] = {
	[BEGIN] = "BEGIN IMMEDIATE",
	[COMMIT] = "COMMIT",
	[ROLLBACK] = "ROLLBACK",
	[SAVEPOINT] = "SAVEPOINT op",
	[RELEASE] = "RELEASE op",
	[ROLLBACK_TO] = "ROLLBACK TO op",
	[META] = "UPDATE meta SET position = ?1, time_ms = ?2 WHERE id = 0",
};

int se_of_sqlite(int rc)
{
	if (rc == SQLITE_IOERR_NOMEM)
		return SE_NOMEM;
	switch (rc & 0xff) {
	case SQLITE_OK:
	case SQLITE_ROW:
	case SQLITE_DONE:
		return SE_OK;
	case SQLITE_FULL:
		return SE_FULL;
	case SQLITE_NOMEM:
		return SE_NOMEM;
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return SE_BUSY;
	case SQLITE_CORRUPT:
	case SQLITE_NOTADB:
		return SE_CORRUPT;
	case SQLITE_IOERR:
	case SQLITE_CANTOPEN:
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return SE_IO;
	default:
		return SE_INVALID;
	}
}

const char *se_text(int rc)
{
	static const char *const text[] = {
		[SE_OK] = "ok",
		[SE_BUSY] = "the database is locked by another process",
		[SE_FULL] = "no space left on the disk, or in a quota of it",
		[SE_IO] = "the disk reported an error",
		[SE_CORRUPT] = "the database is damaged",
		[SE_FORMAT] = "the data was written by a newer version",
		[SE_INVALID] = "an operation was not understood",
		[SE_NOMEM] = "out of memory",
		[SE_DAMAGED] = "a record is damaged",
	};

	return rc >= 0 && rc < (int)(sizeof text / sizeof *text) && text[rc] ? text[rc] : "not available here";
}

/* Steps a statement without result to its end. */
int engine_run(struct se *se, enum engine_stmt which)
{
	int rc = sqlite3_step(se->stmt[which]);

	/* The text is lost by the next call on the handle. */
	if (rc != SQLITE_DONE)
		snprintf(se->error, sizeof se->error, "%s: %s (%d)", engine_sql[which], sqlite3_errmsg(se->db),
		         sqlite3_extended_errcode(se->db));
	sqlite3_reset(se->stmt[which]);
	return rc == SQLITE_DONE ? SE_OK : se_of_sqlite(rc);
}

int engine_prepare(struct se *se)
{
	for (int i = 0; i < STMTS; i++) {
		int rc = sqlite3_prepare_v3(se->db, engine_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &se->stmt[i], NULL);

		if (rc != SQLITE_OK)
			return se_of_sqlite(rc);
	}
	return SE_OK;
}

/* A wall clock that was ahead and is set back is waited for at half its pace. Standing still until it has caught up, perhaps for
 * years, nothing would expire and no space be given back. */
uint64_t se_clock(const struct se *se)
{
	uint64_t now = se->wall_ms(se->wall_arg), slow;

	if (now >= se->time_ms)
		return now;
	slow = (se->mono_ms(se->wall_arg) - se->true_mono_ms) / 2;
	slow = slow < INT64_MAX - se->true_ms ? se->true_ms + slow : INT64_MAX;
	return slow > se->time_ms ? slow : se->time_ms;
}

void engine_committed(struct se *se, const struct se_record *head)
{
	bool behind = se->wall_ms(se->wall_arg) < head->time_ms;

	se->position = head->position;
	se->time_ms = head->time_ms;
	if (behind)
		return;
	se->true_ms = head->time_ms;
	se->true_mono_ms = se->mono_ms(se->wall_arg);
}

int se_begin(struct se *se, struct se_batch **out)
{
	struct se_batch *b = &se->batch;
	int rc;

	assert(se->magic == ENGINE_MAGIC && !b->open);
	if (se->failed)
		return se->failed;
	rc = engine_run(se, BEGIN);
	if (rc)
		return rc;
	b->open = true;
	b->list = false;
	b->head = (struct se_record){.position = se->position + 1, .time_ms = se_clock(se)};
	b->effects = b->bytes = b->n_touches = 0;
	b->error = SE_OK;
	sl_buf_drain(&b->record, SIZE_MAX);
	*out = b;
	return SE_OK;
}

uint64_t se_now(const struct se_batch *b)
{
	return b->head.time_ms;
}

sqlite3 *se_db(struct se_batch *b)
{
	return b->se->db;
}

sqlite3 *se_handle(struct se *se)
{
	return se->db;
}

size_t se_batch_effects(const struct se_batch *b)
{
	return b->effects;
}

size_t se_batch_bytes(const struct se_batch *b)
{
	return b->bytes;
}

int se_batch_error(const struct se_batch *b)
{
	return b->error;
}

void *se_volume(struct se_redo *r)
{
	return r->batch->se->volume;
}

void se_touch(struct se_redo *r, uint64_t topic, uint64_t hint)
{
	struct se_batch *b = r->batch;

	if (b->n_touches == b->cap_touches) {
		size_t cap = b->cap_touches ? 2 * b->cap_touches : 256;
		struct se_touch *more = realloc(b->touches, cap * sizeof *more);

		if (!more) { /* a change that nobody hears of must not be committed */
			b->error = SE_NOMEM;
			return;
		}
		b->touches = more;
		b->cap_touches = cap;
	}
	b->touches[b->n_touches++] = (struct se_touch){.topic = topic, .hint = hint};
}

static const struct se_redo_kind *engine_kind(const struct se *se, uint16_t kind)
{
	for (size_t i = 0; i < se->table->n_kinds; i++)
		if (se->table->kinds[i].kind == kind)
			return &se->table->kinds[i];
	return NULL;
}

int engine_redo(struct se_batch *b, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload)
{
	struct se *se = b->se;
	const struct se_redo_kind *k;
	struct se_redo r = {.batch = b};
	int rc;

	if (kind == SE_KIND_SETTLE)
		return se->table->settle(se->volume, &b->head);
	k = engine_kind(se, kind);
	if (!k || version > k->version)
		return SE_FORMAT;
	rc = k->redo(&r, se->db, &b->head, effect, payload);
	return rc ? rc : b->error;
}

static void engine_note(struct se_batch *b, int rc)
{
	struct se *se = b->se;

	b->error = rc;
	if (sqlite3_errcode(se->db) != SQLITE_OK)
		snprintf(se->error, sizeof se->error, "%s (%d)", sqlite3_errmsg(se->db),
		         sqlite3_extended_errcode(se->db));
	else
		snprintf(se->error, sizeof se->error, "%s", se_text(rc));
}

int se_emit(struct se_batch *b, uint16_t kind, sl_slice effect, sl_slice payload)
{
	uint16_t version = 1;
	const struct se_redo_kind *k = engine_kind(b->se, kind);
	int rc;

	assert(b->open);
	if (b->error)
		return b->error;
	if (k)
		version = k->version;
	rc = b->se->records ? engine_keep(b, kind, version, effect, payload) : SE_OK;
	if (rc == SE_OK)
		rc = engine_redo(b, kind, version, effect, payload);
	if (rc) {
		engine_note(b, rc);
		return rc;
	}
	b->effects++;
	b->bytes += effect.len + payload.len;
	return SE_OK;
}

int se_settle(struct se_batch *b)
{
	if (b->error || !b->se->table->pending(b->se->volume))
		return b->error;
	return se_emit(b, SE_KIND_SETTLE, SL_STR(""), SL_SLICE(NULL, 0));
}

int se_op(struct se_batch *b)
{
	int rc;

	assert(b->open && !b->list);
	rc = se_settle(b);
	if (rc == SE_OK)
		rc = engine_run(b->se, SAVEPOINT);
	if (rc) {
		b->error = rc;
		return rc;
	}
	b->list = true;
	b->list_effects = b->effects;
	b->list_bytes = b->bytes;
	b->list_touches = b->n_touches;
	b->list_record = b->record.len;
	return SE_OK;
}

void se_op_end(struct se_batch *b, bool keep)
{
	struct se *se = b->se;
	int rc = SE_OK;

	assert(b->open && b->list);
	b->list = false;
	if (keep && !b->error)
		rc = se_settle(b);
	if (keep && !b->error && rc == SE_OK)
		rc = engine_run(se, RELEASE);
	if (!keep && !b->error) {
		rc = engine_run(se, ROLLBACK_TO);
		if (rc == SE_OK)
			rc = engine_run(se, RELEASE);
		se->table->forget(se->volume);
		b->effects = b->list_effects;
		b->bytes = b->list_bytes;
		b->n_touches = b->list_touches;
		b->record.len = b->list_record;
	}
	if (rc && !b->error)
		b->error = rc;
}

void engine_end(struct se_batch *b)
{
	b->open = false;
	b->list = false;
	if (b->record.cap > (4u << 20))
		sl_buf_fini(&b->record);
	if (b->cap_touches > ENGINE_TOUCHES_KEPT) {
		free(b->touches);
		b->touches = NULL;
		b->n_touches = b->cap_touches = 0;
	}
}

void se_abort(struct se_batch *b)
{
	struct se *se = b->se;

	assert(b->open);
	/* After some errors SQLite has rolled back by itself; then there is nothing to end. */
	if (!sqlite3_get_autocommit(se->db) && engine_run(se, ROLLBACK) != SE_OK && !se->failed)
		se->failed = SE_IO;
	se->table->forget(se->volume);
	engine_end(b);
}

int engine_meta(struct se_batch *b)
{
	struct se *se = b->se;

	sqlite3_bind_int64(se->stmt[META], 1, (sqlite3_int64)b->head.position);
	sqlite3_bind_int64(se->stmt[META], 2, (sqlite3_int64)b->head.time_ms);
	return engine_run(se, META);
}

static void engine_tell(struct se_batch *b)
{
	struct se *se = b->se;
	struct sl_buf record;
	struct se_event e = {.position = b->head.position,
	                     .time_ms = b->head.time_ms,
	                     .touches = b->touches,
	                     .n_touches = b->n_touches};

	if (!se->watch)
		return;
	sl_buf_init(&record);
	if (se->records && engine_record(b, &record) == SE_OK)
		e.record = sl_buf_slice(&record);
	se->watch(se->watch_arg, &e);
	sl_buf_fini(&record);
}

/* SQLite may have had the whole of a commit in the log, and synced, before memory was out. It has been refused and must not be found
 * there after a crash: another one takes its place. */
static int engine_displace(struct se_batch *b)
{
	struct se *se = b->se;
	int rc = engine_run(se, BEGIN);

	/* What does not change anything would not be written. */
	b->head = (struct se_record){.position = se->position, .time_ms = se->time_ms + 1};
	if (rc == SE_OK)
		rc = engine_meta(b);
	if (rc == SE_OK)
		rc = engine_run(se, COMMIT);
	if (rc == SE_OK)
		se->time_ms = b->head.time_ms;
	else if (!sqlite3_get_autocommit(se->db))
		engine_run(se, ROLLBACK);
	return rc;
}

int se_commit(struct se_batch *b, enum se_level level, void (*done)(void *, int rc, se_pos), void *arg)
{
	struct se *se = b->se;
	bool committing = false;
	int rc;

	(void)level;
	assert(b->open && !b->list);
	if (b->effects == 0 && !b->error) {
		se_abort(b);
		done(arg, se->failed, se->position);
		return SE_OK;
	}
	rc = se_settle(b);
	if (rc == SE_OK)
		rc = engine_meta(b);
	committing = rc == SE_OK;
	if (committing)
		rc = engine_run(se, COMMIT);
	if (rc) {
		se_abort(b);
		if (rc == SE_NOMEM && committing && engine_displace(b))
			rc = SE_IO;
		/* What a failed flush left on the disk is known after recovery only; no space is known now. */
		if (rc != SE_FULL && rc != SE_NOMEM && rc != SE_BUSY)
			se->failed = rc;
		done(arg, rc, 0);
		return SE_OK;
	}
	engine_committed(se, &b->head);
	engine_tell(b);
	engine_end(b);
	done(arg, SE_OK, se->position);
	return SE_OK;
}

void se_watch(struct se *se, bool records, void (*fn)(void *, const struct se_event *), void *arg)
{
	assert(!se->batch.open);
	se->records = records;
	se->watch = fn;
	se->watch_arg = arg;
}

void se_status(struct se *se, struct se_status *st)
{
	*st = (struct se_status){
		.role = SE_SOLO, .position = se->position, .failed = se->failed, .wal_bytes = se->wal_pages * 4120};
	memcpy(st->error, se->error, sizeof st->error);
}

void se_fail(struct se *se, int rc, const char *detail)
{
	if (!se->failed)
		se->failed = rc;
	snprintf(se->error, sizeof se->error, "%s", detail);
}

const uint8_t *se_generation(const struct se *se)
{
	return se->generation;
}
