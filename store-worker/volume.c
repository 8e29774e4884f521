/*
 * volume.c - the statements of a volume and the caches of its stream and producer rows. Store-writer.
 *
 * The caches are filled from the volume and changed by redo only; what a batch that did not commit, or a list that was
 * rolled back, had touched is dropped (volume_forget). Everything touched stays cached until the batch is over, so
 * pointers hold.
 */
#include <assert.h>
#include <stdlib.h>

#include "store-worker/store.h"

#define STREAM_COLUMNS \
	"id, name, state, content_type, closed, base, earliest, created_ms, ttl_s, expires_ms, accessed_ms, own_expiry, stream_seq," \
	" fork_of, fork_name, fork_at, fork_sub, forks, close_producer, close_epoch, close_seq, reap_ms, reap_to, base_pos, earliest_pos," \
	" snapshot"

static const char *const volume_sql[V_STMTS] = {
	[V_STREAM_BY_NAME] = "SELECT " STREAM_COLUMNS " FROM stream WHERE name = ?1 AND state < 2",
	[V_STREAM_BY_ID] = "SELECT " STREAM_COLUMNS " FROM stream WHERE id = ?1",
	[V_TAIL] = "SELECT stop, pos + bytes FROM chunk WHERE stream = ?1 ORDER BY start DESC LIMIT 1",
	[V_LAST_ROW] = "SELECT id, stop, time_ms, crc, marks, data FROM chunk WHERE stream = ?1 AND start >="
		       " coalesce((SELECT max(start) FROM chunk WHERE stream = ?1), 0) AND segment IS NULL AND"
		       " length(data) + length(marks) <= ?2",
	[V_PRODUCER] = "SELECT epoch, seq, updated_ms FROM producer WHERE stream = ?1 AND id = ?2",
	/* The row that contains the offset, or the one behind it. */
	[V_CHUNK_AT] =
		"SELECT id, stream, start, stop, bytes, records, messages, time_ms, segment, seg_off, pos, marks, data, crc FROM chunk"
		" WHERE stream = ?1 AND stop > ?2 AND start >= coalesce((SELECT max(start) FROM chunk WHERE stream = ?1 AND"
		" start <= ?2), 0) ORDER BY start LIMIT 1",
	[V_NEXT_STREAM] = "SELECT coalesce(max(seq), 0) + 1 FROM sqlite_sequence WHERE name = 'stream'",
	[V_FORKS_OF] = "SELECT id FROM stream WHERE fork_of = ?1 AND state < 2 ORDER BY id",
	[V_CHUNK_ADD] =
		"INSERT INTO chunk (stream, start, stop, bytes, records, messages, time_ms, segment, seg_off, marks, data,"
		" pos, crc) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
	/* SQLite makes text of whatever is concatenated; the bytes stay what they were. */
	[V_CHUNK_EXTEND] = "UPDATE chunk SET stop = ?2, bytes = bytes + ?3, records = records + ?4, messages = messages + ?5,"
			   " time_ms = ?6, marks = CAST(marks || ?7 AS BLOB), data = CAST(data || ?8 AS BLOB),"
			   " crc = ?9 WHERE id = ?1",
	[V_PRODUCER_PUT] = "INSERT INTO producer (stream, id, epoch, seq, updated_ms) VALUES (?1, ?2, ?3, ?4, ?5)"
			   " ON CONFLICT DO UPDATE SET epoch = ?3, seq = ?4, updated_ms = ?5",
	[V_STREAM_SEQ] = "UPDATE stream SET stream_seq = ?2 WHERE id = ?1",
	[V_STREAM_ADD] =
		"INSERT INTO stream (id, name, state, content_type, closed, base, earliest, created_ms, ttl_s, expires_ms,"
		" accessed_ms, deadline_ms, own_expiry, fork_of, fork_name, fork_at, fork_sub, forks, base_pos, earliest_pos,"
		" snapshot)"
		" VALUES (?1, ?2, 0, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?7, ?10, ?11, ?12, ?13, ?14, ?15, 0, ?16, ?17, ?18)",
	[V_STREAM_CLOSE] =
		"UPDATE stream SET closed = 1, close_producer = ?2, close_epoch = ?3, close_seq = ?4 WHERE id = ?1",
	[V_STREAM_STATE] = "UPDATE stream SET state = ?2, reap_ms = ?3, snapshot = NULL WHERE id = ?1",
	[V_STREAM_FORKS] = "UPDATE stream SET forks = ?2, reap_ms = ?3, reap_to = ?4 WHERE id = ?1",
	[V_STREAM_EARLIEST] =
		"UPDATE stream SET earliest = ?2, reap_ms = ?3, reap_to = ?4, earliest_pos = ?5, snapshot = ?6 WHERE id = ?1",
	[V_STREAM_ACCESS] = "UPDATE stream SET accessed_ms = ?2, deadline_ms = ?3 WHERE id = ?1",
	[V_STREAM_REAP] = "UPDATE stream SET reap_ms = ?2, reap_to = ?3 WHERE id = ?1",
	[V_STREAM_DROP] = "DELETE FROM stream WHERE id = ?1",
	[V_SEGMENT_ADD] = "INSERT INTO segment (id, size, live, dead_ms) VALUES (?1, ?2, ?3, NULL)"
			  " ON CONFLICT DO UPDATE SET size = max(size, ?2), live = live + ?3, dead_ms = NULL",
	[V_SEGMENT_SUB] =
		"UPDATE segment SET live = live - ?2, dead_ms = CASE WHEN live = ?2 THEN ?3 END WHERE id = ?1",
	/* The highest row stays, or its number would be given again after a restart: readers keep files by number. */
	[V_SEGMENT_DROP] = "DELETE FROM segment WHERE id = ?1 AND live = 0 AND id < (SELECT max(id) FROM segment)",
	[V_SEGMENT_REST] = "UPDATE segment SET dead_ms = NULL WHERE id = ?1 AND live = 0",
	[V_CHUNK_SEGMENTS] =
		"SELECT segment, sum(bytes) FROM (SELECT segment, bytes FROM chunk WHERE stream = ?1 AND stop <= ?2"
		" ORDER BY start LIMIT ?3) WHERE segment IS NOT NULL GROUP BY segment ORDER BY segment",
	[V_CHUNK_DROP] =
		"DELETE FROM chunk WHERE id IN (SELECT id FROM chunk WHERE stream = ?1 AND stop <= ?2 ORDER BY start LIMIT ?3)",
	[V_PRODUCER_DROP] =
		"DELETE FROM producer WHERE stream = ?1 AND id IN (SELECT id FROM producer WHERE stream = ?1 ORDER BY id"
		" LIMIT ?2) RETURNING id",
	[V_SNAPSHOT] = "SELECT at, pos, digest FROM snapshot WHERE id = ?1",
	[V_SNAPSHOT_ADD] =
		"INSERT INTO snapshot (at, pos, content_type, digest, bytes, time_ms, refs, segment, seg_off, data)"
		" VALUES (?1, ?2, ?3, ?4, ?5, ?6, 1, ?7, ?8, ?9)",
	[V_SNAPSHOT_REFS] =
		"UPDATE snapshot SET refs = refs + ?2, dead_ms = CASE WHEN refs + ?2 = 0 THEN ?3 END WHERE id = ?1",
	[V_SNAPSHOT_SEGMENT] = "SELECT segment, bytes FROM snapshot WHERE id = ?1 AND segment IS NOT NULL",
	[V_SNAPSHOT_DROP] = "DELETE FROM snapshot WHERE id = ?1",
};

void volume_init(struct volume *v)
{
	memset(v, 0, sizeof *v);
	v->magic = VOLUME_MAGIC;
	sl_link_init(&v->lru);
	sl_link_init(&v->dirty);
	sl_link_init(&v->pending);
	sl_link_init(&v->producer_lru);
	sl_link_init(&v->producer_dirty);
	sl_link_init(&v->producer_unsaved);
	sl_link_init(&v->pool);
}

sl_slice stream_name(const struct stream *s)
{
	return SL_SLICE(s->name, s->name_len);
}

sl_slice stream_type(const struct stream *s)
{
	return SL_SLICE(s->type, s->type_len);
}

static void volume_give_gather(struct volume *v, struct stream *s)
{
	struct gather *g = s->gather;

	if (!g)
		return;
	s->gather = NULL;
	if (v->pooled >= STORE_GATHERS_POOLED || v->pool_bytes + gather_size(g) > STORE_GATHERS_BYTES) {
		sl_buf_fini(&g->data);
		sl_buf_fini(&g->marks);
		free(g);
		return;
	}
	sl_link_add(&v->pool, &g->pool);
	v->pooled++;
	v->pool_bytes += gather_size(g);
}

static void stream_count(struct volume *v, struct stream *s)
{
	size_t n = sizeof *s + s->name_len + s->type_len + s->fork_name_len + s->closer.len + s->seq.cap;

	v->stream_bytes += n - s->counted;
	s->counted = n;
}

static size_t producer_size(const struct producer *p)
{
	return sizeof *p + p->len;
}

static void stream_free(struct volume *v, struct stream *s)
{
	volume_give_gather(v, s);
	v->stream_bytes -= s->counted;
	sl_link_del(&s->lru);
	sl_link_del(&s->dirty);
	sl_link_del(&s->pending);
	sl_map_del(&v->by_id, &s->by_id);
	if (s->named)
		sl_map_del(&v->by_name, &s->by_name);
	free(s->name);
	free(s->type);
	free(s->fork_name);
	free(s->closer.id);
	sl_buf_fini(&s->seq);
	s->magic = 0;
	free(s);
}

static void producer_free(struct volume *v, struct producer *p)
{
	sl_link_del(&p->lru);
	sl_link_del(&p->dirty);
	sl_link_del(&p->unsaved);
	sl_map_del(&v->producers, &p->node);
	v->producer_bytes -= producer_size(p);
	p->magic = 0;
	free(p);
}

void volume_fini(struct volume *v)
{
	while (!sl_link_alone(&v->lru))
		stream_free(v, SL_OF(v->lru.next, struct stream, lru));
	while (!sl_link_alone(&v->producer_lru))
		producer_free(v, SL_OF(v->producer_lru.next, struct producer, lru));
	assert(v->stream_bytes == 0 && v->producer_bytes == 0);
	while (!sl_link_alone(&v->pool)) {
		struct gather *g = SL_OF(sl_link_pop(&v->pool), struct gather, pool);

		sl_buf_fini(&g->data);
		sl_buf_fini(&g->marks);
		free(g);
	}
	sl_buf_fini(&v->row_marks);
	sl_buf_fini(&v->row_data);
	sl_map_fini(&v->by_id);
	sl_map_fini(&v->by_name);
	sl_map_fini(&v->producers);
	v->magic = 0;
}

static int volume_open(void *arg, sqlite3 *db)
{
	struct volume *v = arg;

	assert(v->magic == VOLUME_MAGIC);
	v->db = db;
	for (int i = 0; i < V_STMTS; i++) {
		int rc = sqlite3_prepare_v3(db, volume_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &v->stmt[i], NULL);

		if (rc != SQLITE_OK)
			return (rc & 0xff) == SQLITE_ERROR ? SE_CORRUPT : se_of_sqlite(rc);
	}
	return SE_OK;
}

static void volume_close(void *arg)
{
	struct volume *v = arg;

	for (int i = 0; i < V_STMTS; i++) {
		sqlite3_finalize(v->stmt[i]);
		v->stmt[i] = NULL;
	}
	v->db = NULL;
}

sqlite3_stmt *volume_stmt(struct volume *v, enum volume_stmt which)
{
	return v->stmt[which];
}

int volume_run(struct volume *v, enum volume_stmt which)
{
	int rc = sqlite3_step(v->stmt[which]);
	int reset = sqlite3_reset(v->stmt[which]);

	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SE_OK : se_of_sqlite(reset != SQLITE_OK ? reset : rc);
}

void volume_bind_text(sqlite3_stmt *s, int i, sl_slice v)
{
	sqlite3_bind_text64(s, i, v.data ? v.data : "", v.len, SQLITE_STATIC, SQLITE_UTF8);
}

void volume_bind_blob(sqlite3_stmt *s, int i, sl_slice v)
{
	sqlite3_bind_blob64(s, i, v.data ? v.data : "", v.len, SQLITE_STATIC);
}

void volume_bind_u64(sqlite3_stmt *s, int i, uint64_t v)
{
	sqlite3_bind_int64(s, i, (sqlite3_int64)v);
}

void volume_bind_if(sqlite3_stmt *s, int i, bool has, uint64_t v)
{
	if (has)
		volume_bind_u64(s, i, v);
	else
		sqlite3_bind_null(s, i);
}

int volume_put_forks(struct volume *v, const struct stream *s)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_FORKS);

	volume_bind_u64(q, 1, s->id);
	volume_bind_u64(q, 2, s->forks);
	volume_bind_if(q, 3, s->reap, s->reap_ms);
	volume_bind_u64(q, 4, s->reap_to);
	return volume_run(v, V_STREAM_FORKS);
}

int volume_add_segment(struct volume *v, uint64_t segment, uint64_t off, uint64_t bytes)
{
	sqlite3_stmt *q = volume_stmt(v, V_SEGMENT_ADD);

	volume_bind_u64(q, 1, segment);
	volume_bind_u64(q, 2, off + bytes);
	volume_bind_u64(q, 3, bytes);
	return volume_run(v, V_SEGMENT_ADD);
}

static char *column_copy(sqlite3_stmt *s, int i, size_t *len)
{
	const void *p = sqlite3_column_blob(s, i);

	*len = (size_t)sqlite3_column_bytes(s, i);
	return sl_slice_dup(SL_SLICE(p ? p : "", *len));
}

static uint64_t column_u64(sqlite3_stmt *s, int i)
{
	return (uint64_t)sqlite3_column_int64(s, i);
}

static bool column_null(sqlite3_stmt *s, int i)
{
	return sqlite3_column_type(s, i) == SQLITE_NULL;
}

/* Fills a stream from a row; false: no memory. */
static bool stream_read(struct stream *s, sqlite3_stmt *q)
{
	s->id = column_u64(q, 0);
	s->name = column_copy(q, 1, &s->name_len);
	s->state = (uint8_t)sqlite3_column_int(q, 2);
	s->type = column_copy(q, 3, &s->type_len);
	s->closed = sqlite3_column_int(q, 4) != 0;
	s->base = column_u64(q, 5);
	s->earliest = column_u64(q, 6);
	s->created_ms = column_u64(q, 7);
	s->has_ttl = !column_null(q, 8);
	s->ttl_s = column_u64(q, 8);
	s->has_expires = !column_null(q, 9);
	s->expires_ms = column_u64(q, 9);
	s->accessed_ms = column_u64(q, 10);
	s->own_expiry = sqlite3_column_int(q, 11) != 0;
	s->has_seq = !column_null(q, 12);
	s->fork_of = column_u64(q, 13);
	s->fork_name = column_copy(q, 14, &s->fork_name_len);
	s->fork_at = column_u64(q, 15);
	s->fork_sub = column_u64(q, 16);
	s->forks = column_u64(q, 17);
	if (!column_null(q, 18))
		s->closer.id = column_copy(q, 18, &s->closer.len);
	s->closer.epoch = column_u64(q, 19);
	s->closer.seq = column_u64(q, 20);
	s->reap = !column_null(q, 21);
	s->reap_ms = column_u64(q, 21);
	s->reap_to = column_u64(q, 22);
	s->base_pos = column_u64(q, 23);
	s->earliest_pos = column_u64(q, 24);
	s->snapshot = column_u64(q, 25);
	return s->name && s->type && s->fork_name && (column_null(q, 18) || s->closer.id) &&
	       sl_buf_add(&s->seq, sqlite3_column_blob(q, 12), (size_t)sqlite3_column_bytes(q, 12)) == 0;
}

static int volume_tail(struct volume *v, struct stream *s)
{
	sqlite3_stmt *q = v->stmt[V_TAIL];
	int rc;

	s->tail = s->earliest > s->base ? s->earliest : s->base;
	s->tail_pos = s->earliest > s->base ? s->earliest_pos : s->base_pos;
	volume_bind_u64(q, 1, s->id);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		s->tail = column_u64(q, 0);
		s->tail_pos = column_u64(q, 1);
	}
	rc = se_of_sqlite(rc);
	sqlite3_reset(q);
	return rc;
}

static void stream_scrap(struct stream *s)
{
	free(s->name);
	free(s->type);
	free(s->fork_name);
	free(s->closer.id);
	sl_buf_fini(&s->seq);
	free(s);
}

/* Runs a prepared look-up and caches what it finds. */
static int volume_load(struct volume *v, sqlite3_stmt *q, struct stream **out)
{
	struct stream *s;
	int rc = sqlite3_step(q);

	*out = NULL;
	if (rc != SQLITE_ROW) {
		sqlite3_reset(q);
		return se_of_sqlite(rc);
	}
	s = calloc(1, sizeof *s);
	if (!s || !stream_read(s, q) || sl_map_reserve(&v->by_id) || sl_map_reserve(&v->by_name)) {
		if (s)
			stream_scrap(s);
		sqlite3_reset(q);
		return SE_NOMEM;
	}
	sqlite3_reset(q);
	/* A fork is younger than its source, so walks up a chain come to an end. */
	rc = s->fork_of < s->id ? volume_tail(v, s) : SE_CORRUPT;
	if (rc == SE_OK)
		rc = volume_last_row(v, s);
	if (rc) {
		stream_scrap(s);
		return rc;
	}
	s->magic = STREAM_MAGIC;
	sl_link_init(&s->dirty);
	sl_link_init(&s->pending);
	sl_link_add(&v->lru, &s->lru);
	sl_map_add(&v->by_id, &s->by_id, sl_hash_u64(s->id));
	s->named = s->state < SL_DEAD;
	if (s->named)
		sl_map_add(&v->by_name, &s->by_name, sl_hash(stream_name(s)));
	stream_count(v, s);
	if (v->unsettled)
		volume_touch(v, s);
	*out = s;
	return SE_OK;
}

static void stream_used(struct volume *v, struct stream *s)
{
	sl_link_del(&s->lru);
	sl_link_add(&v->lru, &s->lru);
}

int volume_by_name(struct volume *v, sl_slice name, struct stream **out)
{
	for (struct sl_map_node *n = sl_map_first(&v->by_name, sl_hash(name)); n; n = sl_map_next(n)) {
		struct stream *s = SL_OF(n, struct stream, by_name);

		if (sl_slice_eq(stream_name(s), name)) {
			stream_used(v, s);
			*out = s;
			return SE_OK;
		}
	}
	volume_bind_text(v->stmt[V_STREAM_BY_NAME], 1, name);
	return volume_load(v, v->stmt[V_STREAM_BY_NAME], out);
}

int volume_by_id(struct volume *v, uint64_t id, struct stream **out)
{
	for (struct sl_map_node *n = sl_map_first(&v->by_id, sl_hash_u64(id)); n; n = sl_map_next(n)) {
		struct stream *s = SL_OF(n, struct stream, by_id);

		if (s->id == id) {
			stream_used(v, s);
			*out = s;
			return SE_OK;
		}
	}
	volume_bind_u64(v->stmt[V_STREAM_BY_ID], 1, id);
	return volume_load(v, v->stmt[V_STREAM_BY_ID], out);
}

static uint64_t producer_hash(uint64_t stream, sl_slice id)
{
	return sl_hash(id) ^ sl_hash_u64(stream);
}

static struct producer *producer_cached(struct volume *v, uint64_t stream, sl_slice id)
{
	for (struct sl_map_node *n = sl_map_first(&v->producers, producer_hash(stream, id)); n; n = sl_map_next(n)) {
		struct producer *p = SL_OF(n, struct producer, node);

		if (p->stream == stream && sl_slice_eq(SL_SLICE(p->id, p->len), id))
			return p;
	}
	return NULL;
}

void volume_producer_gone(struct volume *v, uint64_t stream, sl_slice id)
{
	struct producer *p = producer_cached(v, stream, id);

	if (p)
		producer_free(v, p);
}

int volume_producer(struct volume *v, uint64_t stream, sl_slice id, struct producer **out)
{
	sqlite3_stmt *q = v->stmt[V_PRODUCER];
	struct producer *p = producer_cached(v, stream, id);
	int rc;

	if (p) {
		sl_link_del(&p->lru);
		sl_link_add(&v->producer_lru, &p->lru);
		*out = p;
		return SE_OK;
	}
	p = calloc(1, sizeof *p + id.len);
	if (!p || sl_map_reserve(&v->producers)) {
		free(p);
		return SE_NOMEM;
	}
	volume_bind_u64(q, 1, stream);
	volume_bind_blob(q, 2, id);
	rc = sqlite3_step(q);
	p->known = rc == SQLITE_ROW;
	if (p->known) {
		p->epoch = column_u64(q, 0);
		p->seq = column_u64(q, 1);
		p->updated_ms = column_u64(q, 2);
	}
	sqlite3_reset(q);
	if (se_of_sqlite(rc)) {
		free(p);
		return se_of_sqlite(rc);
	}
	p->magic = PRODUCER_MAGIC;
	p->stream = stream;
	p->len = id.len;
	if (id.len)
		memcpy(p->id, id.data, id.len);
	sl_link_init(&p->dirty);
	sl_link_init(&p->unsaved);
	sl_link_add(&v->producer_lru, &p->lru);
	sl_map_add(&v->producers, &p->node, producer_hash(stream, id));
	v->producer_bytes += producer_size(p);
	if (v->unsettled)
		sl_link_add(&v->producer_dirty, &p->dirty);
	*out = p;
	return SE_OK;
}

int volume_next_stream(struct volume *v, uint64_t *id)
{
	sqlite3_stmt *q = v->stmt[V_NEXT_STREAM];
	int rc;

	if (v->next_stream == 0) {
		rc = sqlite3_step(q);
		if (rc == SQLITE_ROW)
			v->next_stream = column_u64(q, 0);
		sqlite3_reset(q);
		if (rc != SQLITE_ROW)
			return rc == SQLITE_DONE ? SE_CORRUPT : se_of_sqlite(rc);
	}
	*id = v->next_stream;
	return SE_OK;
}

void volume_touch(struct volume *v, struct stream *s)
{
	if (sl_link_alone(&s->dirty))
		sl_link_add(&v->dirty, &s->dirty);
}

int volume_target(struct volume *v, uint64_t id, struct stream **out)
{
	int rc = volume_by_id(v, id, out);

	if (rc || !*out)
		return rc ? rc : SE_CORRUPT;
	volume_touch(v, *out);
	return SE_OK;
}

/* Removes what a batch touched without committing it; the volume says what was before. */
static void volume_forget(void *arg)
{
	struct volume *v = arg;

	while (!sl_link_alone(&v->dirty))
		stream_free(v, SL_OF(v->dirty.next, struct stream, dirty));
	while (!sl_link_alone(&v->producer_dirty))
		producer_free(v, SL_OF(v->producer_dirty.next, struct producer, dirty));
	v->next_stream = 0;
	/* After a list the batch goes on, and rows of it that are read again from now on are not committed yet. */
	v->unsettled = true;
}

int volume_rest(struct volume *v)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&v->dirty))) {
		struct stream *s = SL_OF(l, struct stream, dirty);

		volume_give_gather(v, s);
		stream_count(v, s);
		if (s->state == SL_DEAD)
			stream_free(v, s);
	}
	while (sl_link_pop(&v->producer_dirty))
		;
	v->unsettled = false;
	while (v->by_id.n > STORE_STREAMS_CACHED || v->stream_bytes > STORE_STREAMS_BYTES)
		stream_free(v, SL_OF(v->lru.next, struct stream, lru));
	while (v->producers.n > STORE_PRODUCERS_CACHED || v->producer_bytes > STORE_PRODUCERS_BYTES)
		producer_free(v, SL_OF(v->producer_lru.next, struct producer, lru));
	return SE_OK;
}

static const struct se_redo_kind volume_kinds[] = {
	{EFFECT_APPEND, 1, redo_append}, {EFFECT_CREATE, 1, redo_create},
	{EFFECT_CLOSE, 1, redo_close},   {EFFECT_REMOVE, 1, redo_remove},
	{EFFECT_TRIM, 1, redo_trim},     {EFFECT_ACCESS, 1, redo_access},
	{EFFECT_REAP, 1, redo_reap},     {EFFECT_FORGET, 1, redo_forget},
	{EFFECT_REST, 1, redo_rest},     {EFFECT_SEGMENT_DROP, 1, redo_segment_drop},
	{EFFECT_SNAPSHOT, 1, redo_snapshot}, {EFFECT_SNAPSHOT_DROP, 1, redo_snapshot_drop},
};

const struct se_redo_table volume_redo = {
	.kinds = volume_kinds,
	.n_kinds = sizeof volume_kinds / sizeof *volume_kinds,
	.open = volume_open,
	.close = volume_close,
	.pending = volume_pending,
	.settle = volume_settle,
	.forget = volume_forget,
};
