/*
 * store_snapshot.c - snapshots of streams: what is told about one, its bytes step by step, and what lies behind it. Workers, sluicectl.
 *
 * A row has an id that is never given again, and outlives its replacement by a while: whoever has begun to read one goes on by its id.
 */
#include "lib/schema.h"
#include "lib/store_reader_internal.h"

static int snapshot_find(struct sl_reader *r, enum reader_stmt which, uint64_t id)
{
	int rc;

	sqlite3_reset(r->stmt[which]);
	sqlite3_bind_int64(r->stmt[which], 1, (sqlite3_int64)id);
	rc = sqlite3_step(r->stmt[which]);
	return rc == SQLITE_ROW ? 0 : rc == SQLITE_DONE ? SLUICE_EGONE : SLUICE_EINTERNAL;
}

static sl_slice snapshot_column(sqlite3_stmt *q, int i)
{
	const void *p = sqlite3_column_blob(q, i);

	return SL_SLICE(p ? p : "", (size_t)sqlite3_column_bytes(q, i));
}

int sl_reader_snapshot(struct sl_reader *r, uint64_t id, struct sl_snapshot *s)
{
	sqlite3_stmt *q = r->stmt[R_SNAPSHOT];
	int rc = snapshot_find(r, R_SNAPSHOT, id);

	*s = (struct sl_snapshot){0};
	if (rc == 0) {
		sl_slice digest = snapshot_column(q, 4), type = snapshot_column(q, 5);

		s->at = (uint64_t)sqlite3_column_int64(q, 0);
		s->pos = (uint64_t)sqlite3_column_int64(q, 1);
		s->bytes = (uint64_t)sqlite3_column_int64(q, 2);
		s->time_ms = (uint64_t)sqlite3_column_int64(q, 3);
		sl_buf_drain(&r->snapshot, SIZE_MAX);
		if (digest.len != SL_DIGEST)
			rc = SLUICE_EINTERNAL;
		else if (sl_buf_add(&r->snapshot, digest.data, digest.len) || sl_buf_add(&r->snapshot, type.data, type.len))
			rc = SLUICE_ENOMEM;
		else
			s->digest = sl_buf_slice(&r->snapshot);
		if (rc == 0) {
			s->content_type = SL_SLICE((const char *)s->digest.data + SL_DIGEST, type.len);
			s->digest.len = SL_DIGEST;
		}
	}
	sqlite3_reset(q);
	return rc;
}

/* So many bytes of the row that the statement stands on. */
static int snapshot_bytes(struct sl_reader *r, sqlite3_stmt *q, uint64_t from, size_t n)
{
	void *room = sl_buf_room(&r->data, n);
	sl_slice data;
	int rc = 0;

	if (!room)
		return SLUICE_ENOMEM;
	if (sqlite3_column_type(q, 1) != SQLITE_NULL) {
		rc = reader_segment_read(r, (uint64_t)sqlite3_column_int64(q, 1),
		                         (uint64_t)sqlite3_column_int64(q, 2) + from, room, n);
	} else {
		data = snapshot_column(q, 3);
		if (from > data.len || n > data.len - from)
			return SLUICE_EINTERNAL;
		memcpy(room, (const uint8_t *)data.data + from, n);
	}
	if (rc == 0)
		sl_buf_added(&r->data, n);
	return rc;
}

int sl_reader_snapshot_step(struct sl_reader *r, uint64_t id, uint64_t from, uint64_t until, sl_slice *data)
{
	sqlite3_stmt *q = r->stmt[R_SNAPSHOT_BYTES];
	int rc = snapshot_find(r, R_SNAPSHOT_BYTES, id);
	uint64_t n = until > from ? until - from : 0;

	sl_buf_drain(&r->data, SIZE_MAX);
	*data = SL_STR("");
	if (n > SL_READ_STEP)
		n = SL_READ_STEP;
	if (rc == 0 && until > (uint64_t)sqlite3_column_int64(q, 0))
		rc = SLUICE_EINVAL;
	if (rc == 0 && n > 0)
		rc = snapshot_bytes(r, q, from, (size_t)n);
	sqlite3_reset(q);
	if (rc == 0 && n > 0)
		*data = sl_buf_slice(&r->data);
	return rc;
}

int sl_reader_rest(struct sl_reader *r, const struct sl_facts *f, uint64_t budget, struct sl_plan *plan, struct sl_place *at)
{
	struct sl_place cut;
	int rc = sl_reader_place(r, f, f->earliest_pos, at);

	*plan = (struct sl_plan){
		.from = at->offset, .end = f->tail, .payload_bytes = f->tail_pos - f->earliest_pos};
	if (rc || plan->payload_bytes <= budget)
		return rc;
	rc = sl_reader_place(r, f, f->earliest_pos + budget, &cut);
	if (rc)
		return rc;
	if (cut.offset > at->offset) {
		plan->end = cut.offset;
		plan->payload_bytes = budget - cut.skip;
		return 0;
	}
	rc = sl_reader_plan(r, f, at->offset, 1, plan, NULL);
	plan->payload_bytes -= rc ? 0 : at->skip;
	plan->messages = 0;
	return rc;
}
