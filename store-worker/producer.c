/*
 * producer.c - idempotent producers: who may append what next (durable-streams 8). Store-writer.
 */
#include <stdlib.h>

#include "store-worker/store.h"

static void producer_tell(struct sl_store_outcome *r, uint64_t epoch, uint64_t seq)
{
	r->flags |= SLUICE_R_PRODUCER;
	r->producer_epoch = epoch;
	r->producer_seq = seq;
}

bool producer_is_closer(const struct stream *s, const struct sl_store_op *m)
{
	return (m->flags & SLUICE_A_PRODUCER) && s->closer.id && m->producer_epoch == s->closer.epoch &&
	       m->producer_seq == s->closer.seq && sl_slice_eq(SL_SLICE(s->closer.id, s->closer.len), m->producer);
}

static int producer_refuse(struct sl_store_outcome *r, uint32_t reason, const char *message,
                           enum producer_verdict *verdict)
{
	*verdict = PRODUCER_REFUSED;
	return op_refuse(r, SLUICE_ECONFLICT, reason, message);
}

int producer_check(struct txn *t, const struct stream *s, const struct sl_store_op *m, enum producer_verdict *verdict,
                   struct sl_store_outcome *r)
{
	struct producer *p;
	int rc;

	*verdict = PRODUCER_ACCEPT;
	if (!(m->flags & SLUICE_A_PRODUCER))
		return SE_OK;
	rc = volume_producer(t->volume, s->id, m->producer, &p);
	if (rc)
		return rc;
	if (!p->known) {
		if (m->producer_seq != 0)
			return producer_refuse(r, SLUICE_WHY_PRODUCER_GAP,
			                       "the first sequence number of a producer is 0", verdict);
		return SE_OK;
	}
	producer_tell(r, p->epoch, p->seq);
	if (m->producer_epoch < p->epoch)
		return producer_refuse(r, SLUICE_WHY_PRODUCER_FENCED, "a newer epoch of this producer is known",
		                       verdict);
	if (m->producer_epoch > p->epoch) {
		if (m->producer_seq != 0)
			return producer_refuse(r, SLUICE_WHY_PRODUCER_RESTART,
			                       "a new epoch begins at sequence number 0", verdict);
	} else if (m->producer_seq <= p->seq) {
		*verdict = PRODUCER_DUPLICATE;
		r->flags |= SLUICE_R_DUPLICATE;
		return SE_OK;
	} else if (m->producer_seq != p->seq + 1) {
		return producer_refuse(r, SLUICE_WHY_PRODUCER_GAP,
		                       "earlier sequence numbers of this producer are missing", verdict);
	}
	return SE_OK;
}

void producer_accepted(const struct sl_store_op *m, struct sl_store_outcome *r)
{
	if (m->flags & SLUICE_A_PRODUCER)
		producer_tell(r, m->producer_epoch, m->producer_seq);
}

int producer_redo(struct volume *v, const struct se_record *hdr, uint64_t stream, sl_slice id, uint64_t epoch,
                  uint64_t seq)
{
	struct producer *p;
	int rc = volume_producer(v, stream, id, &p);

	if (rc)
		return rc;
	p->known = true;
	p->epoch = epoch;
	p->seq = seq;
	p->updated_ms = hdr->time_ms;
	if (sl_link_alone(&p->dirty))
		sl_link_add(&v->producer_dirty, &p->dirty);
	if (sl_link_alone(&p->unsaved))
		sl_link_add(&v->producer_unsaved, &p->unsaved);
	return SE_OK;
}
