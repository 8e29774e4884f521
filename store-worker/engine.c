/*
 * engine.c - the engine on SQLite: transactions, savepoints, positions, records. Store-writer.
 *
 * Only this file executes BEGIN, COMMIT and ROLLBACK, and every change of a volume goes through se_emit() or se_apply().
 * Position and clock are a row of the volume, written in the transaction they describe.
 */
#include "store-worker/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <zlib.h>

#define ENGINE_MAGIC 0x53655e31u

enum { ENGINE_TOUCHES_KEPT = 4096 };

enum engine_stmt { BEGIN, COMMIT, ROLLBACK, SAVEPOINT, RELEASE, ROLLBACK_TO, META, STMTS };

static const char *const engine_sql[STMTS] = {
        [BEGIN] = "BEGIN IMMEDIATE",
        [COMMIT] = "COMMIT",
        [ROLLBACK] = "ROLLBACK",
        [SAVEPOINT] = "SAVEPOINT op",
        [RELEASE] = "RELEASE op",
        [ROLLBACK_TO] = "ROLLBACK TO op",
        [META] = "UPDATE meta SET position = ?1, time_ms = ?2 WHERE id = 0",
};

struct se_redo {
	struct se_batch *batch;
};

struct se_batch {
	struct se *se;
	bool open, list;
	struct se_record head;
	size_t effects, bytes;
	struct se_touch *touches;
	size_t n_touches, cap_touches;
	struct sl_buf record; /* effects as bytes, when a watcher wants them; behind room for the head */
	int error;
	/* as they were when the list began */
	size_t list_effects, list_bytes, list_touches, list_record;
};

struct se {
	uint32_t magic;
	sqlite3 *db;
	sqlite3_stmt *stmt[STMTS];
	const struct se_redo_table *table;
	void *volume;
	uint64_t (*wall_ms)(void *);
	void *wall_arg;
	se_pos position;
	uint64_t time_ms;
	uint8_t generation[16];
	int failed;
	char error[256];
	bool records;
	void (*watch)(void *, const struct se_event *);
	void *watch_arg;
	uint64_t wal_pages;
	struct se_batch batch;
};

int se_of_sqlite(int rc)
{
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
	        [SE_FULL] = "no space left on the disk",
	        [SE_IO] = "the disk reported an error",
	        [SE_CORRUPT] = "the database is damaged",
	        [SE_FORMAT] = "the data was written by a newer version",
	        [SE_INVALID] = "an operation was not understood",
	        [SE_NOMEM] = "out of memory",
	};

	return rc >= 0 && rc < (int)(sizeof text / sizeof *text) && text[rc] ? text[rc] : "not available here";
}

/* Steps a statement without result to its end. */
static int engine_run(struct se *se, enum engine_stmt which)
{
	int rc = sqlite3_step(se->stmt[which]);

	/* The text is lost by the next call on the handle. */
	if (rc != SQLITE_DONE)
		snprintf(se->error, sizeof se->error, "%s: %s (%d)", engine_sql[which], sqlite3_errmsg(se->db),
		         sqlite3_extended_errcode(se->db));
	sqlite3_reset(se->stmt[which]);
	return rc == SQLITE_DONE ? SE_OK : se_of_sqlite(rc);
}

static int engine_pragma(struct se *se, const char *sql)
{
	int rc = sqlite3_exec(se->db, sql, NULL, NULL, NULL);

	if (rc != SQLITE_OK)
		snprintf(se->error, sizeof se->error, "%s: %s", sql, sqlite3_errmsg(se->db));
	return rc;
}

static int64_t engine_number(struct se *se, const char *sql, int *rc)
{
	sqlite3_stmt *s;
	int64_t n = 0;

	*rc = sqlite3_prepare_v2(se->db, sql, -1, &s, NULL);
	if (*rc != SQLITE_OK)
		return 0;
	*rc = sqlite3_step(s);
	if (*rc == SQLITE_ROW) {
		n = sqlite3_column_int64(s, 0);
		*rc = SQLITE_OK;
	}
	sqlite3_finalize(s);
	return n;
}

static int engine_wal(void *arg, sqlite3 *db, const char *name, int pages)
{
	struct se *se = arg;

	(void)db;
	(void)name;
	se->wal_pages = (uint64_t)pages;
	return SQLITE_OK;
}

/* Looks without touching: a file of somebody else, or of a newer version, is left as it is. */
static int engine_inspect(struct se *se, const struct se_config *c, uint32_t *have, const char **why)
{
	int rc;
	int64_t app, tables;

	app = engine_number(se, "PRAGMA application_id", &rc);
	if (rc == SQLITE_OK)
		*have = (uint32_t)engine_number(se, "PRAGMA user_version", &rc);
	if (rc != SQLITE_OK) {
		*why = rc == SQLITE_NOTADB ? "it is not a database of ours (damaged, or another kind of file); restore a backup or use "
		                             "another data directory"
		                           : "its header cannot be read; check the disk and the permissions, or restore a backup";
		return (rc & 0xff) == SQLITE_NOTADB ? SE_CORRUPT : se_of_sqlite(rc);
	}
	tables = engine_number(se, "SELECT count(*) FROM sqlite_schema", &rc);
	if (rc != SQLITE_OK) {
		*why = "its schema is damaged; restore a backup";
		return SE_CORRUPT;
	}
	if (app == 0 && *have == 0 && tables == 0)
		return SE_OK;
	if ((uint32_t)app != c->app_id) {
		*why = "it belongs to another program; use another data directory";
		return SE_INVALID;
	}
	if (*have > c->schema) {
		*why = "it was written by a newer version; start that version, or restore a backup made before the upgrade";
		return SE_FORMAT;
	}
	if (engine_number(se, "SELECT count(*) FROM meta WHERE id = 0", &rc) != 1 || rc != SQLITE_OK) {
		*why = "its tables are not what they should be (damaged); restore a backup";
		return SE_CORRUPT;
	}
	return SE_OK;
}

static int engine_prepare(struct se *se)
{
	for (int i = 0; i < STMTS; i++) {
		int rc = sqlite3_prepare_v3(se->db, engine_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &se->stmt[i], NULL);

		if (rc != SQLITE_OK)
			return se_of_sqlite(rc);
	}
	return SE_OK;
}

static int engine_read_meta(struct se *se)
{
	sqlite3_stmt *s;
	int rc = sqlite3_prepare_v2(se->db, "SELECT generation, position, time_ms FROM meta WHERE id = 0", -1, &s, NULL);

	if (rc != SQLITE_OK)
		return se_of_sqlite(rc);
	rc = sqlite3_step(s);
	if (rc == SQLITE_ROW && sqlite3_column_bytes(s, 0) == 16) {
		memcpy(se->generation, sqlite3_column_blob(s, 0), 16);
		se->position = (uint64_t)sqlite3_column_int64(s, 1);
		se->time_ms = (uint64_t)sqlite3_column_int64(s, 2);
		rc = SE_OK;
	} else {
		rc = rc == SQLITE_ROW || rc == SQLITE_DONE ? SE_CORRUPT : se_of_sqlite(rc);
	}
	sqlite3_finalize(s);
	return rc;
}

/* A volume that has no generation yet gets it; a crash may have come between the tables and this. */
static int engine_name(struct se *se, const struct se_config *c)
{
	sqlite3_stmt *s = NULL;
	int rc = sqlite3_prepare_v2(se->db, "UPDATE meta SET generation = ?1 WHERE id = 0 AND length(generation) = 0", -1, &s, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_bind_blob(s, 1, c->generation, 16, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = sqlite3_step(s);
	sqlite3_finalize(s);
	return se_of_sqlite(rc);
}

static int engine_setup(struct se *se, const struct se_config *c, const char **why)
{
	static const char *const sync[] = {"PRAGMA synchronous = FULL", "PRAGMA synchronous = NORMAL", "PRAGMA synchronous = OFF"};
	uint32_t have = 0;
	int rc = engine_inspect(se, c, &have, why);

	if (rc)
		return rc;
	*why = "it cannot be written; check the permissions and the space on the disk";
	/* The page size must be set before the first page exists; temp tables are not used, but sorters would be. */
	if (engine_pragma(se, "PRAGMA page_size = 4096") || engine_pragma(se, "PRAGMA journal_mode = WAL") ||
	    engine_pragma(se, sync[c->sync]) || engine_pragma(se, "PRAGMA wal_autocheckpoint = 0") ||
	    engine_pragma(se, "PRAGMA cache_size = -65536") || engine_pragma(se, "PRAGMA temp_store = MEMORY") ||
	    engine_pragma(se, "PRAGMA foreign_keys = OFF"))
		return se_of_sqlite(sqlite3_errcode(se->db));
	if (engine_number(se, "SELECT count(*) FROM pragma_journal_mode WHERE journal_mode = 'wal'", &rc) != 1 || rc != SQLITE_OK)
		return SE_IO;
	if (have < c->schema) {
		*why = "its tables cannot be made or brought up to date; check the space on the disk";
		rc = c->migrate(se->db, have, why);
		if (rc)
			return rc;
	}
	rc = engine_name(se, c);
	if (rc)
		return rc;
	*why = "its tables are not what they should be (damaged); restore a backup";
	rc = engine_read_meta(se);
	if (rc == SE_OK)
		rc = engine_prepare(se);
	if (rc == SE_OK)
		rc = se->table->open(se->volume, se->db);
	return rc;
}

int se_open(const struct se_config *c, const struct se_redo_table *table, struct se **out, const char **why)
{
	struct se *se = calloc(1, sizeof *se);
	int rc, flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE | (c->create ? SQLITE_OPEN_CREATE : 0);

	*why = "out of memory";
	if (!se)
		return SE_NOMEM;
	se->magic = ENGINE_MAGIC;
	se->table = table;
	se->volume = c->volume;
	se->wall_ms = c->wall_ms;
	se->wall_arg = c->wall_arg;
	se->batch.se = se;
	rc = sqlite3_open_v2(c->path, &se->db, flags, NULL);
	if (rc != SQLITE_OK) {
		*why = "it cannot be opened; check that the directory exists and that this user may write there";
		rc = se_of_sqlite(rc);
		se_close(se);
		return rc ? rc : SE_IO;
	}
	sqlite3_busy_timeout(se->db, 2000);
	rc = engine_setup(se, c, why);
	if (rc) {
		se_close(se);
		return rc;
	}
	/* Not before PRAGMA wal_autocheckpoint, which is a hook of its own. */
	sqlite3_wal_hook(se->db, engine_wal, se);
	*out = se;
	return SE_OK;
}

void se_close(struct se *se)
{
	if (!se)
		return;
	assert(se->magic == ENGINE_MAGIC);
	if (se->batch.open)
		se_abort(&se->batch);
	if (se->table)
		se->table->close(se->volume);
	for (int i = 0; i < STMTS; i++)
		sqlite3_finalize(se->stmt[i]);
	sqlite3_close(se->db);
	free(se->batch.touches);
	sl_buf_fini(&se->batch.record);
	se->magic = 0;
	free(se);
}

uint64_t se_clock(const struct se *se)
{
	uint64_t now = se->wall_ms(se->wall_arg);

	return now > se->time_ms ? now : se->time_ms;
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

static int engine_redo(struct se_batch *b, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload)
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

static int engine_keep(struct se_batch *b, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload)
{
	struct sl_buf *r = &b->record;

	if (sl_put_u16(r, kind) || sl_put_u16(r, version) || sl_put_u32(r, (uint32_t)(effect.len + payload.len)) ||
	    sl_buf_add(r, effect.data, effect.len) || sl_buf_add(r, payload.data, payload.len))
		return SE_NOMEM;
	return SE_OK;
}

static void engine_note(struct se_batch *b, int rc)
{
	struct se *se = b->se;

	b->error = rc;
	if (sqlite3_errcode(se->db) != SQLITE_OK)
		snprintf(se->error, sizeof se->error, "%s (%d)", sqlite3_errmsg(se->db), sqlite3_extended_errcode(se->db));
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

static void engine_end(struct se_batch *b)
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

static int engine_meta(struct se_batch *b)
{
	struct se *se = b->se;

	sqlite3_bind_int64(se->stmt[META], 1, (sqlite3_int64)b->head.position);
	sqlite3_bind_int64(se->stmt[META], 2, (sqlite3_int64)b->head.time_ms);
	return engine_run(se, META);
}

/* The header of storage-engine 8 before the effects collected in b->record. */
static int engine_record(struct se_batch *b, struct sl_buf *out)
{
	sl_slice body = sl_buf_slice(&b->record);
	uint32_t crc = (uint32_t)crc32_z(0, body.data, body.len);

	if (sl_put_u32(out, SE_RECORD_MAGIC) || sl_put_u16(out, 1) || sl_put_u16(out, 0) || sl_put_u64(out, b->head.position) ||
	    sl_put_u64(out, b->head.time_ms) || sl_put_u32(out, 0) || sl_put_u32(out, (uint32_t)b->effects) ||
	    sl_put_u32(out, (uint32_t)body.len) || sl_put_u32(out, crc) || sl_buf_add(out, body.data, body.len))
		return SE_NOMEM;
	return SE_OK;
}

static void engine_tell(struct se_batch *b)
{
	struct se *se = b->se;
	struct sl_buf record;
	struct se_event e = {.position = b->head.position, .time_ms = b->head.time_ms, .touches = b->touches, .n_touches = b->n_touches};

	if (!se->watch)
		return;
	sl_buf_init(&record);
	if (se->records && engine_record(b, &record) == SE_OK)
		e.record = sl_buf_slice(&record);
	se->watch(se->watch_arg, &e);
	sl_buf_fini(&record);
}

int se_commit(struct se_batch *b, enum se_level level, void (*done)(void *, int rc, se_pos), void *arg)
{
	struct se *se = b->se;
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
	if (rc == SE_OK)
		rc = engine_run(se, COMMIT);
	if (rc) {
		se_abort(b);
		/* What a failed flush left on the disk is known after recovery only; no space is known now. */
		if (rc != SE_FULL && rc != SE_NOMEM && rc != SE_BUSY)
			se->failed = rc;
		done(arg, rc, 0);
		return SE_OK;
	}
	se->position = b->head.position;
	se->time_ms = b->head.time_ms;
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
	*st = (struct se_status){.role = SE_SOLO, .position = se->position, .failed = se->failed, .wal_bytes = se->wal_pages * 4120};
	memcpy(st->error, se->error, sizeof st->error);
}

const uint8_t *se_generation(const struct se *se)
{
	return se->generation;
}

static int engine_apply_effects(struct se_batch *b, struct sl_cur *c, uint32_t n)
{
	int rc = SE_OK;

	for (uint32_t i = 0; rc == SE_OK && i < n; i++) {
		uint16_t kind = sl_cur_u16(c), version = sl_cur_u16(c);
		sl_slice bytes = sl_cur_take(c, sl_cur_u32(c));

		if (c->bad)
			return SE_CORRUPT;
		rc = engine_redo(b, kind, version, bytes, SL_SLICE(NULL, 0));
		b->effects++;
	}
	return rc ? rc : sl_cur_done(c) ? SE_OK : SE_CORRUPT;
}

int se_apply(struct se *se, sl_slice record)
{
	struct sl_cur c = sl_cur_of(record);
	struct se_batch *b;
	uint32_t magic = sl_cur_u32(&c), n, len, crc;
	uint16_t format = sl_cur_u16(&c);
	se_pos position;
	uint64_t time_ms;
	int rc;

	sl_cur_u16(&c);
	position = sl_cur_u64(&c);
	time_ms = sl_cur_u64(&c);
	sl_cur_u32(&c);
	n = sl_cur_u32(&c);
	len = sl_cur_u32(&c);
	crc = sl_cur_u32(&c);
	if (c.bad || magic != SE_RECORD_MAGIC || len != (size_t)(c.end - c.p) || crc != (uint32_t)crc32_z(0, c.p, len))
		return SE_CORRUPT;
	if (format != 1)
		return SE_FORMAT;
	if (position <= se->position)
		return SE_OK;
	if (position != se->position + 1)
		return SE_INVALID;
	rc = se_begin(se, &b);
	if (rc)
		return rc;
	b->head = (struct se_record){.position = position, .time_ms = time_ms};
	rc = engine_apply_effects(b, &c, n);
	if (rc == SE_OK)
		rc = se->table->settle(se->volume, &b->head);
	if (rc == SE_OK)
		rc = engine_meta(b);
	if (rc == SE_OK)
		rc = engine_run(se, COMMIT);
	if (rc) {
		se_abort(b);
		return rc;
	}
	se->position = position;
	se->time_ms = time_ms;
	engine_end(b);
	return SE_OK;
}
