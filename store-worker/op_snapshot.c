/*
 * op_snapshot.c - publishing a snapshot, a blob that stands for everything before its place: decide and redo. Store-writer.
 *
 * The blob, the stream's earliest offset and the end of the snapshot before it are one change. A stream that has a snapshot has it at its
 * earliest offset: whatever trims further takes it away. Forks of such a stream have the same row, which counts them; one that
 * nobody has is kept for those who are reading it, and goes with the sweep.
 */
#include "store-worker/store.h"

struct snapshot_place {
	uint64_t offset, pos; /* of the record it is in, or the tail; the position itself */
};

static int snapshot_digest(const struct op *op, sl_slice type, uint8_t digest[SL_DIGEST])
{
	struct digest d;
	int rc;

	if (op->in_segment) { /* by the helper thread, while it copied */
		memcpy(digest, op->digest, SL_DIGEST);
		return SE_OK;
	}
	rc = digest_begin(&d, type);
	digest_add(&d, op->m->data.data, op->m->data.len);
	return digest_end(&d, digest) || rc ? SE_NOMEM : SE_OK;
}

sl_slice snapshot_type(const struct sl_store_op *m)
{
	return m->content_type.len ? m->content_type : SL_STR("application/octet-stream");
}

/* ---- decide ---- */

/* What the result tells of the snapshot that is there. The digest outlives the batch's rows. */
static int snapshot_facts(struct txn *t, const struct stream *s, struct sl_store_outcome *r)
{
	sqlite3_stmt *q = volume_stmt(t->volume, V_SNAPSHOT);
	int rc;

	r->flags &= ~SLUICE_R_SNAPSHOT;
	r->snapshot_digest = SL_STR("");
	if (!s->snapshot)
		return SE_OK;
	volume_bind_u64(q, 1, s->snapshot);
	rc = sqlite3_step(q);
	if (rc == SQLITE_ROW) {
		r->flags |= SLUICE_R_SNAPSHOT;
		r->snapshot = (uint64_t)sqlite3_column_int64(q, 0);
		r->snapshot_pos = (uint64_t)sqlite3_column_int64(q, 1);
		r->snapshot_digest = txn_keep(
			t, SL_SLICE(sqlite3_column_blob(q, 2), (size_t)sqlite3_column_bytes(q, 2)));
	}
	sqlite3_reset(q);
	if (rc != SQLITE_ROW)
		return rc == SQLITE_DONE ? SE_CORRUPT : se_of_sqlite(rc);
	return r->snapshot_digest.data ? SE_OK : SE_NOMEM;
}

/* True: a message of the record begins so many bytes into it. */
static bool snapshot_boundary(const struct walk_record *rec, uint64_t skip)
{
	struct sl_cur c = sl_cur_of(rec->marks);
	uint64_t at = 0;

	if (rec->messages >= 2)
		sl_cur_varint(&c);
	for (uint32_t i = 0; rec->messages >= 2 && i < rec->messages && at < skip && !c.bad; i++)
		at += sl_cur_varint(&c);
	return at == skip;
}

static int snapshot_inside(struct txn *t, const struct stream *s, const struct sl_store_op *m,
                           struct snapshot_place *at, struct sl_store_outcome *r)
{
	bool by_pos = m->flags & SLUICE_A_AT_POS, found = false;
	struct walk w = {0};
	struct walk_record rec = {0};
	int rc = txn_settle(t);

	if (rc == SE_OK)
		rc = by_pos ? walk_position(t->volume, s, m->trim_to, &w, &rec, &found)
		            : walk_record(t->volume, s, m->trim_to, &w, &rec, &found);
	if (rc || !found)
		return rc ? rc : SE_DAMAGED;
	*at = (struct snapshot_place){.offset = rec.start, .pos = by_pos ? m->trim_to : w.row.pos + rec.at};
	if (by_pos ? snapshot_boundary(&rec, at->pos - w.row.pos - rec.at) : rec.start == m->trim_to)
		return SE_OK;
	return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_BOUNDARY, "the offset is not where a message begins");
}

/* Where the snapshot belongs. Refused when that is out of reach or inside a message. */
static int snapshot_place(struct txn *t, const struct stream *s, const struct sl_store_op *m, struct snapshot_place *at,
                          struct sl_store_outcome *r)
{
	bool by_pos = m->flags & SLUICE_A_AT_POS;
	uint64_t to = m->trim_to, tail = by_pos ? s->tail_pos : s->tail;
	uint64_t earliest = by_pos ? s->earliest_pos : s->earliest;

	if (to > tail)
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_BEYOND, "the offset is beyond the tail");
	if (to < earliest)
		return op_refuse(r, SLUICE_EGONE, SLUICE_WHY_TRIMMED, "the offset is below the earliest one");
	*at = (struct snapshot_place){.offset = s->tail, .pos = s->tail_pos};
	if (to == tail)
		return SE_OK;
	*at = (struct snapshot_place){.offset = s->earliest, .pos = s->earliest_pos};
	return to == earliest ? SE_OK : snapshot_inside(t, s, m, at, r);
}

static int snapshot_emit(struct txn *t, const struct op *op, const struct stream *s, const struct snapshot_place *at,
                         sl_slice digest)
{
	struct effect_snapshot e = {.stream = s->id,
	                            .at = at->offset,
	                            .pos = at->pos,
	                            .bytes = op->bytes,
	                            .type = snapshot_type(op->m),
	                            .digest = digest};

	if (op->in_segment) {
		e.flags |= EFFECT_SEGMENT;
		e.segment = op->ref.segment;
		e.seg_off = op->ref.off;
	}
	return txn_emit(t, EFFECT_SNAPSHOT, effect_put_snapshot(&t->effect, &e),
	                op->in_segment ? SL_SLICE(NULL, 0) : op->m->data);
}

/* The checks behind those of the place; true: the result says what became of it. */
static bool snapshot_settled(const struct stream *s, const struct sl_store_op *m, const struct snapshot_place *at,
                             sl_slice digest, struct sl_store_outcome *r)
{
	bool same = s->snapshot && sl_slice_eq(r->snapshot_digest, digest);

	if ((m->flags & SLUICE_A_EXPECT_SNAPSHOT) && !sl_slice_eq(r->snapshot_digest, m->expect_snapshot))
		op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT, "the snapshot is not the expected one");
	else if (s->snapshot && r->snapshot_pos == at->pos && same)
		r->flags |= SLUICE_R_DUPLICATE;
	else if (s->snapshot && r->snapshot_pos == at->pos && !(m->flags & SLUICE_A_REPLACE))
		op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT, "another snapshot is at this offset");
	else
		return false;
	return true;
}

int op_snapshot(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	uint8_t digest[SL_DIGEST];
	struct snapshot_place at = {0};
	struct stream *s;
	int rc = op_find(t, m->stream, &s, r);

	if (rc || !s)
		return rc;
	op_facts(r, s);
	r->start = s->tail;
	rc = snapshot_facts(t, s, r);
	if (rc)
		return rc;
	if (op_tail_other(s, m))
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "the tail is not the expected one");
	rc = snapshot_place(t, s, m, &at, r);
	if (rc || r->status != SLUICE_OK)
		return rc;
	rc = snapshot_digest(op, snapshot_type(m), digest);
	if (rc || snapshot_settled(s, m, &at, SL_SLICE(digest, SL_DIGEST), r))
		return rc;
	rc = snapshot_emit(t, op, s, &at, SL_SLICE(digest, SL_DIGEST));
	if (rc)
		return rc;
	op_facts(r, s);
	access_renew(t->store, s, t->now_ms);
	return snapshot_facts(t, s, r);
}

/* ---- redo ---- */

/* One stream less has the row; of nobody's it is noted since when. */
int snapshot_release(struct volume *v, struct stream *s, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_SNAPSHOT_REFS);

	if (!s->snapshot)
		return SE_OK;
	volume_bind_u64(q, 1, s->snapshot);
	sqlite3_bind_int64(q, 2, -1);
	volume_bind_u64(q, 3, now_ms);
	s->snapshot = 0;
	return volume_run(v, V_SNAPSHOT_REFS);
}

int snapshot_share(struct volume *v, uint64_t id)
{
	sqlite3_stmt *q = volume_stmt(v, V_SNAPSHOT_REFS);

	volume_bind_u64(q, 1, id);
	sqlite3_bind_int64(q, 2, 1);
	sqlite3_bind_null(q, 3);
	return volume_run(v, V_SNAPSHOT_REFS);
}

static int snapshot_row(struct volume *v, const struct effect_snapshot *e, sl_slice data, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_SNAPSHOT_ADD);
	bool in_segment = e->flags & EFFECT_SEGMENT;

	volume_bind_u64(q, 1, e->at);
	volume_bind_u64(q, 2, e->pos);
	volume_bind_text(q, 3, e->type);
	volume_bind_blob(q, 4, e->digest);
	volume_bind_u64(q, 5, e->bytes);
	volume_bind_u64(q, 6, now_ms);
	volume_bind_if(q, 7, in_segment, e->segment);
	volume_bind_if(q, 8, in_segment, e->seg_off);
	if (in_segment)
		sqlite3_bind_null(q, 9);
	else
		volume_bind_blob(q, 9, data);
	return volume_run(v, V_SNAPSHOT_ADD);
}

static int snapshot_segment(struct volume *v, const struct effect_snapshot *e)
{
	return e->flags & EFFECT_SEGMENT ? volume_add_segment(v, e->segment, e->seg_off, e->bytes) : SE_OK;
}

int redo_snapshot(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_snapshot e;
	struct stream *s = NULL;
	sl_slice rest;
	int rc = effect_get_snapshot(effect, &e, &rest);

	if (rc == SE_OK)
		rc = volume_by_id(v, e.stream, &s);
	if (rc)
		return rc;
	if (!payload.data)
		payload = rest;
	if (!s || (!(e.flags & EFFECT_SEGMENT) && payload.len != e.bytes))
		return SE_CORRUPT;
	volume_touch(v, s);
	rc = snapshot_release(v, s, hdr->time_ms);
	if (rc == SE_OK)
		rc = snapshot_row(v, &e, payload, hdr->time_ms);
	s->snapshot = (uint64_t)sqlite3_last_insert_rowid(db);
	if (rc == SE_OK)
		rc = snapshot_segment(v, &e);
	return rc ? rc : stream_trim(v, s, e.at, e.pos, hdr->time_ms);
}

int redo_snapshot_drop(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect,
                       sl_slice payload)
{
	struct volume *v = se_volume(redo);
	sqlite3_stmt *q = volume_stmt(v, V_SNAPSHOT_SEGMENT), *sub = volume_stmt(v, V_SEGMENT_SUB);
	struct effect_pair e;
	int rc = effect_get_pair(effect, &e), step;

	(void)db;
	(void)payload;
	if (rc)
		return rc;
	volume_bind_u64(q, 1, e.a);
	step = sqlite3_step(q);
	if (step == SQLITE_ROW) {
		sqlite3_bind_int64(sub, 1, sqlite3_column_int64(q, 0));
		sqlite3_bind_int64(sub, 2, sqlite3_column_int64(q, 1));
		volume_bind_u64(sub, 3, hdr->time_ms);
		rc = volume_run(v, V_SEGMENT_SUB);
	}
	sqlite3_reset(q);
	if (rc || se_of_sqlite(step))
		return rc ? rc : se_of_sqlite(step);
	volume_bind_u64(volume_stmt(v, V_SNAPSHOT_DROP), 1, e.a);
	return volume_run(v, V_SNAPSHOT_DROP);
}
