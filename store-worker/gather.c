/*
 * gather.c - appends of one stream and batch become one chunk row. Store-writer.
 *
 * Redo of an append only adds to the stream's gather; rows are written when the batch settles, when the gather is
 * full, or before a record in a segment; few records are added to the row before, if that is small. All of that depends on the effects alone, so a copy files the same rows with
 * the same ids.
 */
#include <stdlib.h>
#include <zlib.h>

#include "lib/crc.h"
#include "lib/marks.h"
#include "store-worker/store.h"

enum { ROW_FULL = 2048, ROW_SPAN_MS = 1000 };

size_t gather_size(const struct gather *g)
{
	return sizeof *g + g->data.cap + g->marks.cap;
}

static struct gather *gather_take(struct volume *v)
{
	struct sl_link *l = sl_link_pop(&v->pool);
	struct gather *g = l ? SL_OF(l, struct gather, pool) : NULL;

	if (g) {
		v->pooled--;
		v->pool_bytes -= gather_size(g);
		return g;
	}
	g = calloc(1, sizeof *g);
	if (g)
		sl_link_init(&g->pool);
	return g;
}

static void gather_begin(struct gather *g, const struct stream *s)
{
	sl_buf_drain(&g->data, SIZE_MAX);
	sl_buf_drain(&g->marks, SIZE_MAX);
	g->start = g->stop = s->tail;
	g->pos = s->tail_pos;
	g->records = g->messages = 0;
	g->filed = false;
}

int volume_put_chunk(struct volume *v, const struct chunk_row *c)
{
	sqlite3_stmt *q = volume_stmt(v, V_CHUNK_ADD);

	volume_bind_u64(q, 1, c->stream);
	volume_bind_u64(q, 2, c->start);
	volume_bind_u64(q, 3, c->stop);
	volume_bind_u64(q, 4, c->bytes);
	volume_bind_u64(q, 5, c->records);
	volume_bind_u64(q, 6, c->messages);
	volume_bind_u64(q, 7, c->time_ms);
	if (c->segment) {
		volume_bind_u64(q, 8, c->segment);
		volume_bind_u64(q, 9, c->seg_off);
		sqlite3_bind_null(q, 11);
		sqlite3_bind_null(q, 13);
	} else {
		sqlite3_bind_null(q, 8);
		sqlite3_bind_null(q, 9);
		volume_bind_blob(q, 11, c->data);
		volume_bind_u64(q, 13, c->crc);
	}
	volume_bind_blob(q, 10, c->marks);
	volume_bind_u64(q, 12, c->pos);
	return volume_run(v, V_CHUNK_ADD);
}

/* ---- the last row of a stream ----
 *
 * It takes the next records too while it is small: rows that one client fills a record at a time would cost readers and the disk many
 * times what they hold. It stays within a page, and within a second of time, because records are removed by the age of their row. */

static bool row_takes(const struct last_row *row, const struct chunk_row *c)
{
	return row->id && row->stop == c->start && row->size + c->data.len + c->marks.len <= ROW_FULL &&
	       row->time_ms / ROW_SPAN_MS == c->time_ms / ROW_SPAN_MS;
}

static int row_extend(struct volume *v, const struct last_row *row, const struct chunk_row *c)
{
	sqlite3_stmt *q = volume_stmt(v, V_CHUNK_EXTEND);
	int rc;

	volume_bind_u64(q, 1, row->id);
	volume_bind_u64(q, 2, c->stop);
	volume_bind_u64(q, 3, c->bytes);
	volume_bind_u64(q, 4, c->records);
	volume_bind_u64(q, 5, c->messages);
	volume_bind_u64(q, 6, c->time_ms);
	volume_bind_blob(q, 7, c->marks);
	volume_bind_blob(q, 8, c->data);
	volume_bind_u64(q, 9, c->crc);
	rc = volume_run(v, V_CHUNK_EXTEND);
	return rc == SE_OK && sqlite3_changes(v->db) != 1 ? SE_CORRUPT : rc;
}

static void row_sum(struct last_row *row, sl_slice marks, sl_slice data)
{
	row->marks_crc = sl_crc32(row->marks_crc, marks);
	row->data_crc = sl_crc32(row->data_crc, data);
	row->data_len += data.len;
	row->size += marks.len + data.len;
}

static uint32_t row_crc(const struct last_row *row)
{
	return (uint32_t)crc32_combine(row->marks_crc, row->data_crc, (z_off_t)row->data_len);
}

static int row_put(struct volume *v, struct stream *s, struct chunk_row *c)
{
	struct last_row *row = &s->row;
	bool extend = row_takes(row, c);
	int rc;

	if (!extend)
		*row = (struct last_row){.id = 0};
	row_sum(row, c->marks, c->data);
	c->crc = row_crc(row);
	rc = extend ? row_extend(v, row, c) : volume_put_chunk(v, c);
	if (!extend)
		row->id = (uint64_t)sqlite3_last_insert_rowid(v->db);
	row->stop = c->stop;
	row->time_ms = c->time_ms;
	return rc;
}

int volume_last_row(struct volume *v, struct stream *s)
{
	sqlite3_stmt *q = volume_stmt(v, V_LAST_ROW);
	struct last_row row = {.id = 0};
	bool good = false;
	int rc;

	volume_bind_u64(q, 1, s->id);
	volume_bind_u64(q, 2, ROW_FULL);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		row.id = (uint64_t)sqlite3_column_int64(q, 0);
		row.stop = (uint64_t)sqlite3_column_int64(q, 1);
		row.time_ms = (uint64_t)sqlite3_column_int64(q, 2);
		row_sum(&row, SL_SLICE(sqlite3_column_blob(q, 4), (size_t)sqlite3_column_bytes(q, 4)),
		        SL_SLICE(sqlite3_column_blob(q, 5), (size_t)sqlite3_column_bytes(q, 5)));
		/* One that is damaged, or from before there were checksums, is left as it is. */
		good = sqlite3_column_type(q, 3) != SQLITE_NULL && sqlite3_column_int64(q, 3) == row_crc(&row);
	}
	s->row = good ? row : (struct last_row){.id = 0};
	rc = se_of_sqlite(rc);
	sqlite3_reset(q);
	return rc;
}

int gather_file(struct volume *v, struct stream *s, const struct se_record *hdr)
{
	struct gather *g = s->gather;
	struct chunk_row c;
	int rc;

	if (!g || g->filed || g->records == 0)
		return SE_OK;
	c = (struct chunk_row){.stream = s->id,
	                       .start = g->start,
	                       .stop = g->stop,
	                       .bytes = g->data.len,
	                       .pos = g->pos,
	                       .records = g->records,
	                       .messages = g->messages,
	                       .time_ms = hdr->time_ms,
	                       .marks = sl_buf_slice(&g->marks),
	                       .data = sl_buf_slice(&g->data)};
	rc = row_put(v, s, &c);
	if (rc == SE_OK)
		g->filed = true;
	return rc;
}

int gather_add(struct volume *v, struct stream *s, const struct se_record *hdr, sl_slice data, sl_slice marks,
               uint32_t messages)
{
	struct gather *g = s->gather;
	int rc = SE_OK;

	if (!g) {
		g = s->gather = gather_take(v);
		if (!g)
			return SE_NOMEM;
		gather_begin(g, s);
	}
	if (!g->filed && g->records && g->data.len + data.len > STORE_CHUNK_BYTES)
		rc = gather_file(v, s, hdr);
	if (rc)
		return rc;
	if (g->filed)
		gather_begin(g, s);
	if (sl_buf_add(&g->data, data.data, data.len) || sl_marks_add(&g->marks, data.len, marks))
		return SE_NOMEM;
	g->records++;
	g->messages += messages;
	g->stop += data.len + SLUICE_RECORD_OVERHEAD;
	if (sl_link_alone(&s->pending))
		sl_link_add(&v->pending, &s->pending);
	return SE_OK;
}

bool volume_pending(const void *arg)
{
	const struct volume *v = arg;

	return !sl_link_alone(&v->pending) || !sl_link_alone(&v->producer_unsaved);
}

static int settle_stream(struct volume *v, struct stream *s, const struct se_record *hdr)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_SEQ);
	int rc = gather_file(v, s, hdr);

	if (rc || !s->seq_moved)
		return rc;
	s->seq_moved = false;
	volume_bind_u64(q, 1, s->id);
	volume_bind_blob(q, 2, sl_buf_slice(&s->seq));
	return volume_run(v, V_STREAM_SEQ);
}

static int settle_producer(struct volume *v, struct producer *p)
{
	sqlite3_stmt *q = volume_stmt(v, V_PRODUCER_PUT);

	volume_bind_u64(q, 1, p->stream);
	volume_bind_blob(q, 2, SL_SLICE(p->id, p->len));
	volume_bind_u64(q, 3, p->epoch);
	volume_bind_u64(q, 4, p->seq);
	volume_bind_u64(q, 5, p->updated_ms);
	return volume_run(v, V_PRODUCER_PUT);
}

int volume_settle(void *arg, const struct se_record *hdr)
{
	struct volume *v = arg;
	int rc = SE_OK;

	/* The order of the first append of each stream decides the ids of the rows. */
	while (rc == SE_OK && !sl_link_alone(&v->pending)) {
		struct stream *s = SL_OF(sl_link_pop(&v->pending), struct stream, pending);

		rc = settle_stream(v, s, hdr);
	}
	while (rc == SE_OK && !sl_link_alone(&v->producer_unsaved))
		rc = settle_producer(v, SL_OF(sl_link_pop(&v->producer_unsaved), struct producer, unsaved));
	return rc;
}
