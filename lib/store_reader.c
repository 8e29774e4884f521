/*
 * store_reader.c - read-only access to a data directory: the connection, facts of streams, listings. Workers,
 * sluicectl.
 *
 * Tables: store-worker/schema.c. Statements are prepared once. What the writer's cache knows and the volume does not
 * (sliding TTLs that moved, what is committed a moment later) is never guessed at here: an answer is one snapshot.
 */
#include "lib/store_reader.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/schema.h"
#include "lib/store_reader_internal.h"

#define FACT_COLUMNS \
	"id, state, content_type, closed, base, earliest, created_ms, ttl_s, expires_ms, forks, fork_of, base_pos, earliest_pos," \
	" snapshot"

static const char *const reader_sql[R_STMTS] = {
	[R_BEGIN] = "BEGIN",
	[R_COMMIT] = "COMMIT",
	[R_BY_NAME] = "SELECT " FACT_COLUMNS " FROM stream WHERE name = ?1 AND state < 2",
	[R_BY_ID] = "SELECT " FACT_COLUMNS " FROM stream WHERE id = ?1",
	[R_TAIL] = "SELECT stop, pos + bytes, time_ms FROM chunk WHERE stream = ?1 ORDER BY start DESC LIMIT 1",
	[R_LIST] = "SELECT " FACT_COLUMNS ", name FROM stream WHERE name >= ?1 AND state < 2 ORDER BY name",
	/* From the row that contains the offset on. */
	[R_CHUNKS] =
		"SELECT start, stop, bytes, records, messages, segment, seg_off, marks, data, crc FROM chunk WHERE stream = ?1 AND"
		" start >= coalesce((SELECT max(start) FROM chunk WHERE stream = ?1 AND start <= ?2), 0) AND stop > ?2"
		" ORDER BY start",
	[R_ROW] =
		"SELECT start, stop, pos, bytes, marks FROM chunk WHERE stream = ?1 AND start <= ?2 ORDER BY start DESC LIMIT 1",
	[R_SNAPSHOT] = "SELECT at, pos, bytes, time_ms, digest, content_type FROM snapshot WHERE id = ?1",
	[R_SNAPSHOT_BYTES] = "SELECT bytes, segment, seg_off, data FROM snapshot WHERE id = ?1",
	[R_GENERATION] = "SELECT generation FROM meta",
};

static int reader_pragma(sqlite3 *db, const char *name, int64_t *value)
{
	sqlite3_stmt *q = NULL;
	char sql[64];
	int rc;

	snprintf(sql, sizeof sql, "PRAGMA %s", name);
	if (sqlite3_prepare_v2(db, sql, -1, &q, NULL) != SQLITE_OK)
		return SLUICE_EINTERNAL;
	rc = sqlite3_step(q);
	*value = rc == SQLITE_ROW ? sqlite3_column_int64(q, 0) : 0;
	sqlite3_finalize(q);
	return rc == SQLITE_ROW ? 0 : SLUICE_EINTERNAL;
}

static int reader_prepare(struct sl_reader *r, uint32_t schema, uint64_t mmap_bytes, const char **why)
{
	char sql[64];
	int64_t app = 0, version = 0;

	sqlite3_busy_timeout(r->db, 100);
	snprintf(sql, sizeof sql, "PRAGMA mmap_size = %llu", (unsigned long long)mmap_bytes);
	*why = "the volume cannot be read";
	if (sqlite3_exec(r->db, sql, NULL, NULL, NULL) != SQLITE_OK || reader_pragma(r->db, "application_id", &app) ||
	    reader_pragma(r->db, "user_version", &version))
		return SLUICE_EINTERNAL;
	if (app != SL_APP_ID || version != schema || schema != SL_SCHEMA) {
		*why = "the volume has another schema than this program knows";
		return SLUICE_ENOTSUP;
	}
	for (int i = 0; i < R_STMTS; i++) {
		if (sqlite3_prepare_v3(r->db, reader_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &r->stmt[i], NULL) !=
		    SQLITE_OK)
			return SLUICE_EINTERNAL;
	}
	return 0;
}

int sl_reader_open(const char *data_dir, uint32_t schema, uint64_t mmap_bytes, struct sl_reader **out, const char **why)
{
	struct sl_reader *r = calloc(1, sizeof *r);
	char path[4096];
	int rc = 0;

	*out = NULL;
	*why = "out of memory";
	if (!r)
		return SLUICE_ENOMEM;
	r->magic = READER_MAGIC;
	for (int i = 0; i < READER_SEGMENTS; i++)
		r->segment[i].fd = -1;
	snprintf(path, sizeof path, "%s/%s", data_dir, SL_SEGMENT_DIR);
	r->segment_dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	*why = "the directory of segments cannot be opened";
	if (r->segment_dir < 0)
		rc = SLUICE_EINTERNAL;
	if ((size_t)snprintf(path, sizeof path, "%s/%s", data_dir, SL_VOLUME_FILE) >= sizeof path)
		rc = SLUICE_ETOOBIG;
	if (rc == 0) {
		*why = "the volume cannot be opened";
		if (sqlite3_open_v2(path, &r->db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX, NULL) != SQLITE_OK)
			rc = SLUICE_EINTERNAL;
		else
			rc = reader_prepare(r, schema, mmap_bytes, why);
	}
	if (rc) {
		sl_reader_close(r);
		return rc;
	}
	*why = NULL;
	*out = r;
	return 0;
}

void sl_reader_close(struct sl_reader *r)
{
	if (!r)
		return;
	for (int i = 0; i < R_STMTS; i++)
		sqlite3_finalize(r->stmt[i]);
	sqlite3_close(r->db);
	reader_segments_close(r);
	if (r->segment_dir >= 0)
		close(r->segment_dir);
	sl_buf_fini(&r->type);
	sl_buf_fini(&r->data);
	sl_buf_fini(&r->snapshot);
	free(r->message_end);
	free(r->record);
	free(r->chain);
	r->magic = 0;
	free(r);
}

static int reader_run(struct sl_reader *r, enum reader_stmt which)
{
	int rc = sqlite3_step(r->stmt[which]);

	sqlite3_reset(r->stmt[which]);
	return rc == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
}

int sl_reader_begin(struct sl_reader *r)
{
	return reader_run(r, R_BEGIN);
}

void sl_reader_end(struct sl_reader *r)
{
	/* A failed COMMIT of a reader leaves nothing open but what the next BEGIN would trip over. */
	if (reader_run(r, R_COMMIT) && !sqlite3_get_autocommit(r->db))
		sqlite3_exec(r->db, "ROLLBACK", NULL, NULL, NULL);
}

/* Takes a row of FACT_COLUMNS. The content type stays in the statement until it is reset. */
static void reader_row(sqlite3_stmt *q, struct reader_stream *s)
{
	s->id = (uint64_t)sqlite3_column_int64(q, 0);
	s->state = sqlite3_column_int(q, 1);
	s->closed = sqlite3_column_int(q, 3) != 0;
	s->base = (uint64_t)sqlite3_column_int64(q, 4);
	s->earliest = (uint64_t)sqlite3_column_int64(q, 5);
	s->created_ms = (uint64_t)sqlite3_column_int64(q, 6);
	s->has_ttl = sqlite3_column_type(q, 7) != SQLITE_NULL;
	s->ttl_s = (uint64_t)sqlite3_column_int64(q, 7);
	s->has_expires = sqlite3_column_type(q, 8) != SQLITE_NULL;
	s->expires_ms = (uint64_t)sqlite3_column_int64(q, 8);
	s->forks = (uint64_t)sqlite3_column_int64(q, 9);
	s->fork_of = (uint64_t)sqlite3_column_int64(q, 10);
	s->base_pos = (uint64_t)sqlite3_column_int64(q, 11);
	s->earliest_pos = (uint64_t)sqlite3_column_int64(q, 12);
	s->snapshot = (uint64_t)sqlite3_column_int64(q, 13);
}

int reader_by_id(struct sl_reader *r, uint64_t id, struct reader_stream *s, bool *found)
{
	sqlite3_stmt *q = r->stmt[R_BY_ID];
	int rc;

	sqlite3_bind_int64(q, 1, (sqlite3_int64)id);
	rc = sqlite3_step(q);
	*found = rc == SQLITE_ROW;
	if (*found)
		reader_row(q, s);
	sqlite3_reset(q);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
}

struct reader_end {
	uint64_t tail, pos, written_ms;
};

static int reader_tail(struct sl_reader *r, const struct reader_stream *s, struct reader_end *end)
{
	sqlite3_stmt *q = r->stmt[R_TAIL];
	int rc;

	sqlite3_bind_int64(q, 1, (sqlite3_int64)s->id);
	rc = sqlite3_step(q);
	/* Without records of its own a stream ends where its own would begin; all trimmed: where the next one begins. */
	end->tail = s->base > s->earliest ? s->base : s->earliest;
	end->pos = s->base > s->earliest ? s->base_pos : s->earliest_pos;
	end->written_ms = s->created_ms;
	if (rc == SQLITE_ROW) {
		end->tail = (uint64_t)sqlite3_column_int64(q, 0);
		end->pos = (uint64_t)sqlite3_column_int64(q, 1);
		end->written_ms = (uint64_t)sqlite3_column_int64(q, 2);
	}
	sqlite3_reset(q);
	return rc == SQLITE_ROW || rc == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
}

static int reader_type(struct sl_reader *r, sqlite3_stmt *q, sl_slice *type)
{
	sl_buf_drain(&r->type, SIZE_MAX);
	if (sl_buf_add(&r->type, sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2)))
		return SLUICE_ENOMEM;
	*type = sl_buf_slice(&r->type);
	return 0;
}

/* durable-streams 16: what expired is gone at once, whether or not the sweep has come by; forks still hold its bytes. */
static int reader_status(const struct reader_stream *s, uint64_t now_ms)
{
	if (s->state == SL_SOFT)
		return SLUICE_EGONE;
	if (s->state == SL_DEAD)
		return SLUICE_ENOENT;
	if (s->has_expires && s->expires_ms <= now_ms)
		return s->forks ? SLUICE_EGONE : SLUICE_ENOENT;
	return SLUICE_OK;
}

static int reader_facts(struct sl_reader *r, sqlite3_stmt *q, uint64_t now_ms, struct sl_facts *f)
{
	struct reader_stream s;
	struct reader_end end;
	int rc = sqlite3_step(q);

	memset(f, 0, sizeof *f);
	if (rc != SQLITE_ROW) {
		sqlite3_reset(q);
		f->status = SLUICE_ENOENT;
		return rc == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
	}
	reader_row(q, &s);
	rc = reader_type(r, q, &f->content_type);
	sqlite3_reset(q);
	if (rc)
		return rc;
	f->status = reader_status(&s, now_ms);
	f->flags = (s.closed ? SLUICE_R_CLOSED : 0) | (s.has_ttl ? SLUICE_R_TTL : 0) |
	           (s.has_expires ? SLUICE_R_EXPIRES : 0);
	f->incarnation = s.id;
	f->created_ms = s.created_ms;
	f->earliest = s.earliest;
	f->ttl_s = s.ttl_s;
	f->expires_ms = s.expires_ms;
	f->earliest_pos = s.earliest_pos;
	f->snapshot = s.snapshot;
	rc = reader_tail(r, &s, &end);
	f->tail = end.tail;
	f->tail_pos = end.pos;
	return rc;
}

int sl_reader_facts(struct sl_reader *r, sl_slice name, uint64_t now_ms, struct sl_facts *f)
{
	sqlite3_stmt *q = r->stmt[R_BY_NAME];

	sqlite3_bind_text64(q, 1, name.data ? name.data : "", name.len, SQLITE_STATIC, SQLITE_UTF8);
	return reader_facts(r, q, now_ms, f);
}

int sl_reader_facts_id(struct sl_reader *r, uint64_t incarnation, struct sl_facts *f)
{
	sqlite3_stmt *q = r->stmt[R_BY_ID];

	sqlite3_bind_int64(q, 1, (sqlite3_int64)incarnation);
	return reader_facts(r, q, 0, f);
}

/* One row of a listing; 1: not listed. */
static int list_entry(struct sl_reader *r, sqlite3_stmt *q, uint64_t now_ms, struct sluice_list_item *item)
{
	struct reader_stream s;
	struct reader_end end;
	struct sluice_list_entry *e = &item->entry;
	int rc;

	reader_row(q, &s);
	if (reader_status(&s, now_ms))
		return 1;
	memset(item, 0, sizeof *item);
	rc = reader_tail(r, &s, &end);
	item->size = sizeof *item;
	item->tail_pos = end.pos;
	item->earliest_pos = s.earliest_pos;
	item->written_ms = end.written_ms;
	e->tail = end.tail;
	e->stream = SL_SLICE(sqlite3_column_blob(q, 14), (size_t)sqlite3_column_bytes(q, 14));
	e->content_type = SL_SLICE(sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2));
	e->earliest = s.earliest;
	e->created_ms = s.created_ms;
	e->incarnation = s.id;
	e->flags = s.closed ? SLUICE_R_CLOSED : 0;
	return rc;
}

int sl_reader_list(struct sl_reader *r, sl_slice prefix, sl_slice after, uint32_t limit, uint64_t now_ms,
                   int (*fn)(void *, const struct sluice_list_item *), void *arg, bool *more)
{
	sqlite3_stmt *q = r->stmt[R_LIST];
	sl_slice from = sl_slice_cmp(after, prefix) > 0 ? after : prefix;
	uint32_t n = 0;
	int step, rc = 0;

	*more = false;
	/* One lower bound, or the index would be walked from the lower of two. */
	sqlite3_bind_text64(q, 1, from.len ? from.data : "", from.len, SQLITE_STATIC, SQLITE_UTF8);
	while ((step = sqlite3_step(q)) == SQLITE_ROW) {
		struct sluice_list_item item;

		rc = list_entry(r, q, now_ms, &item);
		if (rc == 1 || (rc == 0 && sl_slice_eq(item.entry.stream, after))) {
			rc = 0;
			continue;
		}
		if (rc || !sl_slice_prefix(item.entry.stream, prefix))
			break;
		*more = n == limit;
		if (*more || fn(arg, &item))
			break;
		n++;
	}
	sqlite3_reset(q);
	return rc ? rc : step == SQLITE_ROW || step == SQLITE_DONE ? 0 : SLUICE_EINTERNAL;
}

int sl_reader_generation(struct sl_reader *r, uint8_t out[16])
{
	sqlite3_stmt *q = r->stmt[R_GENERATION];
	int rc = SLUICE_EINTERNAL;

	if (sqlite3_step(q) == SQLITE_ROW && sqlite3_column_bytes(q, 0) == 16) {
		memcpy(out, sqlite3_column_blob(q, 0), 16);
		rc = 0;
	}
	sqlite3_reset(q);
	return rc;
}
