/*
 * op_append.c - append: decide and redo. Store-writer.
 *
 * Checks stand in the order of durable-streams 18 (POST): gone, closed, type, producer, Stream-Seq; then what the
 * worker found wrong with the payload.
 */
#include <stdlib.h>

#include "lib/marks.h"
#include "store-worker/store.h"

int op_closed_again(struct txn *t, struct stream *s, const struct sl_store_op *m, struct sl_store_outcome *r)
{
	if (!producer_is_closer(s, m))
		return op_refuse(r, SLUICE_ECLOSED, SLUICE_WHY_NONE, "the stream is closed");
	r->flags |= SLUICE_R_DUPLICATE | SLUICE_R_PRODUCER;
	r->producer_epoch = s->closer.epoch;
	r->producer_seq = s->closer.seq;
	access_renew(t->store, s, t->now_ms);
	return SE_OK;
}

static bool append_seq_late(const struct stream *s, const struct sl_store_op *m)
{
	return (m->flags & SLUICE_A_STREAM_SEQ) && s->has_seq &&
	       sl_slice_cmp(m->stream_seq, sl_buf_slice(&s->seq)) <= 0;
}

/* The checks after the producer's; true: refused. */
static bool append_refused(const struct stream *s, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;

	if (append_seq_late(s, m))
		op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ,
		          "the stream sequence is not greater than the last one");
	else if (op_tail_other(s, m))
		op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "the tail is not the expected one");
	else if (m->flags & SLUICE_A_REFUSE)
		op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "the payload is not valid");
	else if (op->bytes == 0)
		op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_NONE, "there is nothing to append");
	else if (s->tail + op->bytes + SLUICE_RECORD_OVERHEAD > STORE_OFFSET_MAX)
		op_refuse(r, SLUICE_ETOOBIG, SLUICE_WHY_NONE, "the stream cannot grow any more");
	return r->status != SLUICE_OK;
}

int append_emit(struct txn *t, const struct stream *s, const struct op *op, uint32_t flags)
{
	const struct sl_store_op *m = op->m;
	struct effect_append e = {.stream = s->id,
	                          .start = s->tail,
	                          .bytes = op->bytes,
	                          .messages = op->messages,
	                          .flags = flags,
	                          .marks = op->marks};

	if (flags & EFFECT_PRODUCER) {
		e.producer = m->producer;
		e.epoch = m->producer_epoch;
		e.seq = m->producer_seq;
	}
	if (flags & EFFECT_SEQ)
		e.stream_seq = m->stream_seq;
	if (op->in_segment) {
		e.flags |= EFFECT_SEGMENT;
		e.segment = op->ref.segment;
		e.seg_off = op->ref.off;
	}
	return txn_emit(t, EFFECT_APPEND, effect_put_append(&t->effect, &e),
	                op->in_segment ? SL_SLICE(NULL, 0) : m->data);
}

int op_append(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	enum producer_verdict verdict;
	struct stream *s;
	uint32_t flags = 0;
	int rc = op_find(t, m->stream, &s, r);

	if (rc || !s)
		return rc;
	op_facts(r, s);
	r->start = s->tail;
	if (s->closed)
		return op_closed_again(t, s, m, r);
	if (m->content_type.len && !type_equal(m->content_type, stream_type(s)))
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TYPE, "the content type is not that of the stream");
	rc = producer_check(t, s, m, &verdict, r);
	if (rc || verdict == PRODUCER_REFUSED)
		return rc;
	if (verdict == PRODUCER_DUPLICATE) {
		access_renew(t->store, s, t->now_ms);
		return SE_OK;
	}
	if (append_refused(s, op, r))
		return SE_OK;
	flags |= m->flags & SLUICE_A_CLOSE ? EFFECT_CLOSES : 0;
	flags |= m->flags & SLUICE_A_PRODUCER ? EFFECT_PRODUCER : 0;
	flags |= m->flags & SLUICE_A_STREAM_SEQ ? EFFECT_SEQ : 0;
	rc = append_emit(t, s, op, flags);
	if (rc)
		return rc;
	producer_accepted(m, r);
	op_facts(r, s);
	access_renew(t->store, s, t->now_ms);
	return SE_OK;
}

/* A record in a segment is a chunk row of its own. */
static int append_segment(struct volume *v, struct stream *s, const struct se_record *hdr,
                          const struct effect_append *e)
{
	struct chunk_row c = {.stream = s->id,
	                      .start = e->start,
	                      .stop = e->start + e->bytes + SLUICE_RECORD_OVERHEAD,
	                      .bytes = e->bytes,
	                      .pos = s->tail_pos,
	                      .records = 1,
	                      .messages = e->messages,
	                      .time_ms = hdr->time_ms,
	                      .segment = e->segment,
	                      .seg_off = e->seg_off};
	struct sl_buf run;
	int rc = gather_file(v, s, hdr);

	if (rc)
		return rc;
	sl_buf_init(&run);
	rc = sl_marks_add(&run, e->bytes, e->marks) ? SE_NOMEM : SE_OK;
	c.marks = sl_buf_slice(&run);
	if (rc == SE_OK)
		rc = volume_put_chunk(v, &c);
	sl_buf_fini(&run);
	return rc ? rc : volume_add_segment(v, e->segment, e->seg_off, e->bytes);
}

int stream_close(struct volume *v, struct stream *s, bool by_producer, sl_slice producer, uint64_t epoch, uint64_t seq)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_CLOSE);

	s->closed = true;
	volume_bind_u64(q, 1, s->id);
	for (int i = 2; i <= 4; i++)
		sqlite3_bind_null(q, i);
	if (by_producer) {
		free(s->closer.id);
		s->closer.id = sl_slice_dup(producer);
		if (!s->closer.id)
			return SE_NOMEM;
		s->closer.len = producer.len;
		s->closer.epoch = epoch;
		s->closer.seq = seq;
		volume_bind_blob(q, 2, producer);
		volume_bind_u64(q, 3, epoch);
		volume_bind_u64(q, 4, seq);
	}
	return volume_run(v, V_STREAM_CLOSE);
}

static int append_seq(struct volume *v, struct stream *s, sl_slice seq)
{
	sl_buf_drain(&s->seq, SIZE_MAX);
	if (sl_buf_add(&s->seq, seq.data, seq.len))
		return SE_NOMEM;
	s->has_seq = s->seq_moved = true;
	if (sl_link_alone(&s->pending))
		sl_link_add(&v->pending, &s->pending);
	return SE_OK;
}

int redo_append(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_append e;
	struct stream *s = NULL;
	sl_slice rest;
	int rc = effect_get_append(effect, &e, &rest);

	(void)db;
	if (rc == SE_OK)
		rc = volume_by_id(v, e.stream, &s);
	if (rc)
		return rc;
	if (!payload.data)
		payload = rest;
	if (!s || s->tail != e.start || (!(e.flags & EFFECT_SEGMENT) && payload.len != e.bytes))
		return SE_CORRUPT;
	volume_touch(v, s);
	rc = e.flags & EFFECT_SEGMENT ? append_segment(v, s, hdr, &e)
	                              : gather_add(v, s, hdr, payload, e.marks, e.messages);
	if (rc)
		return rc;
	s->tail += e.bytes + SLUICE_RECORD_OVERHEAD;
	s->tail_pos += e.bytes;
	if (e.flags & EFFECT_PRODUCER)
		rc = producer_redo(v, hdr, s->id, e.producer, e.epoch, e.seq);
	if (rc == SE_OK && (e.flags & EFFECT_SEQ))
		rc = append_seq(v, s, e.stream_seq);
	if (rc == SE_OK && (e.flags & EFFECT_CLOSES))
		rc = stream_close(v, s, e.flags & EFFECT_PRODUCER, e.producer, e.epoch, e.seq);
	se_touch(redo, s->id, SLUICE_EV_TAIL | (e.flags & EFFECT_CLOSES ? SLUICE_EV_CLOSED : 0));
	return rc;
}
