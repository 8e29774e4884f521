/*
 * op_trim.c - moving the earliest offset, by request or retention: decide and redo. Store-writer.
 *
 * The rows below it are reaped later, and only when no fork reaches them any more.
 */
#include "store-worker/store.h"

int txn_trim(struct txn *t, const struct stream *s, uint64_t earliest)
{
	struct effect_trim e = {.stream = s->id, .earliest = earliest, .pos = s->tail_pos};
	struct walk w = {0};
	struct walk_record rec = {0};
	bool found = true;
	int rc = earliest < s->tail ? walk_record(t->volume, s, earliest, &w, &rec, &found) : SE_OK;

	if (rc)
		return rc;
	if (!found)
		return SE_DAMAGED;
	if (earliest < s->tail)
		e.pos = w.row.pos + rec.at;
	return txn_emit(t, EFFECT_TRIM, effect_put_trim(&t->effect, &e), SL_SLICE(NULL, 0));
}

/* An offset inside a record means its beginning, as it does for readers. */
int txn_boundary(struct txn *t, const struct stream *s, uint64_t *offset)
{
	struct walk w = {0};
	struct walk_record rec = {0};
	bool found;
	int rc = txn_settle(t);

	if (rc == SE_OK)
		rc = walk_record(t->volume, s, *offset, &w, &rec, &found);
	if (rc == SE_OK && found && rec.start <= *offset)
		*offset = rec.start;
	return rc;
}

/* From a position to the record it is in. */
static int trim_offset(struct txn *t, const struct stream *s, uint64_t *to)
{
	struct walk w = {0};
	struct walk_record rec = {.start = s->tail};
	bool found = true;
	int rc = SE_OK;

	if (*to <= s->earliest_pos)
		rec.start = s->earliest;
	else if (*to < s->tail_pos)
		rc = txn_settle(t);
	if (rc == SE_OK && *to > s->earliest_pos && *to < s->tail_pos)
		rc = walk_position(t->volume, s, *to, &w, &rec, &found);
	*to = rec.start;
	return rc == SE_OK && !found ? SE_DAMAGED : rc;
}

int op_trim(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	uint64_t to = m->trim_to;
	struct stream *s;
	int rc = op_find(t, m->stream, &s, r);

	if (rc || !s)
		return rc;
	op_facts(r, s);
	r->start = s->tail;
	if (op_tail_other(s, m))
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "the tail is not the expected one");
	if (to > (m->flags & SLUICE_A_AT_POS ? s->tail_pos : s->tail))
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_NONE, "the offset is beyond the tail");
	if (m->flags & SLUICE_A_AT_POS)
		rc = trim_offset(t, s, &to);
	if (rc || to <= s->earliest)
		return rc;
	if (to < s->tail)
		rc = txn_boundary(t, s, &to);
	if (rc || to <= s->earliest)
		return rc;
	rc = txn_trim(t, s, to);
	op_facts(r, s);
	return rc;
}

int stream_trim(struct volume *v, struct stream *s, uint64_t earliest, uint64_t pos, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_EARLIEST);
	bool moved = earliest > s->earliest;

	s->earliest = earliest;
	s->earliest_pos = pos;
	/* One that waits already is not put off, or a stream that is trimmed all the time would never give anything back. With
	 * forks it has to be looked up what they reach (reap.c). */
	if (moved && !s->reap) {
		s->reap = true;
		s->reap_ms = now_ms;
		s->reap_to = s->forks ? s->reap_to : s->earliest;
	}
	volume_bind_u64(q, 1, s->id);
	volume_bind_u64(q, 2, s->earliest);
	volume_bind_if(q, 3, s->reap, s->reap_ms);
	volume_bind_u64(q, 4, s->reap_to);
	volume_bind_u64(q, 5, s->earliest_pos);
	volume_bind_if(q, 6, s->snapshot != 0, s->snapshot);
	return volume_run(v, V_STREAM_EARLIEST);
}

int redo_trim(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_trim e;
	struct stream *s = NULL;
	int rc = effect_get_trim(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_target(v, e.stream, &s);
	if (rc)
		return rc;
	/* It stood for what was before the old place, and what followed is gone. */
	rc = snapshot_release(v, s, hdr->time_ms);
	return rc ? rc : stream_trim(v, s, e.earliest, e.pos, hdr->time_ms);
}
