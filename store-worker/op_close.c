/*
 * op_close.c - close without data: decide and redo. Store-writer.
 */
#include "store-worker/store.h"

int op_close(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	struct effect_close e = {.producer = m->producer, .epoch = m->producer_epoch, .seq = m->producer_seq};
	enum producer_verdict verdict;
	struct stream *s;
	int rc = op_find(t, m->stream, &s, r);

	if (rc || !s)
		return rc;
	op_facts(r, s);
	r->start = s->tail;
	if (s->closed && !(m->flags & SLUICE_A_PRODUCER)) {
		access_renew(t->store, s, t->now_ms);
		return SE_OK;
	}
	if (s->closed)
		return op_closed_again(t, s, m, r);
	rc = producer_check(t, s, m, &verdict, r);
	if (rc || verdict == PRODUCER_REFUSED)
		return rc;
	if (verdict == PRODUCER_DUPLICATE) {
		access_renew(t->store, s, t->now_ms);
		return SE_OK;
	}
	if ((m->flags & SLUICE_A_EXPECT_TAIL) && m->expect_tail != s->tail)
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "the tail is not the expected one");
	if (m->flags & SLUICE_A_REFUSE)
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "the payload is not valid");
	e.stream = s->id;
	e.flags = m->flags & SLUICE_A_PRODUCER ? EFFECT_PRODUCER : 0;
	rc = txn_emit(t, EFFECT_CLOSE, effect_put_close(&t->effect, &e), SL_SLICE(NULL, 0));
	if (rc)
		return rc;
	producer_accepted(m, r);
	op_facts(r, s);
	access_renew(t->store, s, t->now_ms);
	return SE_OK;
}

int redo_close(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_close e;
	struct stream *s = NULL;
	int rc = effect_get_close(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_target(v, e.stream, &s);
	if (rc)
		return rc;
	if (e.flags & EFFECT_PRODUCER)
		rc = producer_redo(v, hdr, s->id, e.producer, e.epoch, e.seq);
	if (rc == SE_OK)
		rc = stream_close(v, s, e.flags & EFFECT_PRODUCER, e.producer, e.epoch, e.seq);
	se_touch(redo, s->id, SLUICE_EV_CLOSED);
	return rc;
}
