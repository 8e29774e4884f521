/*
 * fork.c - decide where a fork begins: source, offset, sub-offset (durable-streams 15). Store-writer.
 */
#include "store-worker/store.h"

/* How many bytes the first `sub` messages of a record take, and their marks. */
static bool fork_cut_messages(struct fork_point *f, const struct walk_record *rec, uint64_t sub, uint64_t *bytes,
                              uint32_t *messages)
{
	struct sl_cur c = sl_cur_of(rec->marks), lengths;

	if (sub > rec->messages)
		return false;
	*bytes = rec->bytes;
	*messages = (uint32_t)sub;
	if (rec->messages < 2)
		return true;
	sl_cur_varint(&c);
	lengths = c;
	*bytes = 0;
	for (uint64_t i = 0; i < sub; i++)
		*bytes += sl_cur_varint(&c);
	if (sub >= 2 && (sl_put_varint(&f->marks, sub) || sl_buf_add(&f->marks, lengths.p, (size_t)(c.p - lengths.p))))
		*messages = 0; /* no memory */
	return !c.bad;
}

/* Cuts the first fork_sub messages (JSON) or bytes off the record at the fork point. false: there are not so many. */
static bool fork_cut(struct fork_point *f, const struct walk *w, const struct walk_record *rec, uint64_t sub)
{
	uint64_t bytes = sub;
	uint32_t messages = 1;

	if (type_is_json(stream_type(f->source))) {
		if (!fork_cut_messages(f, rec, sub, &bytes, &messages))
			return false;
	} else if (sub > rec->bytes) {
		return false;
	}
	/* Marks of a damaged row may promise more than there is. */
	if (!w->row.segment && (rec->at > w->row.data.len || bytes > w->row.data.len - rec->at))
		return false;
	f->prefix = (struct op){.m = &f->data, .bytes = bytes, .messages = messages, .marks = sl_buf_slice(&f->marks)};
	if (w->row.segment) {
		f->prefix.in_segment = true;
		f->prefix.ref = (struct segment_ref){.segment = w->row.segment, .off = w->row.seg_off + rec->at};
	} else {
		f->data.data = SL_SLICE((const uint8_t *)w->row.data.data + rec->at, (size_t)bytes);
	}
	return true;
}

static int fork_place(struct txn *t, struct fork_point *f, const struct sl_store_op *m, struct sl_store_outcome *r)
{
	struct walk w = {0};
	struct walk_record rec = {0};
	const struct stream *s = f->source;
	bool found = false;
	int rc;

	f->at = m->flags & SLUICE_A_FORK_AT ? m->fork_at : s->tail;
	f->pos = s->tail_pos;
	if (f->at > s->tail)
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_FORK_OFFSET,
		                 "the fork offset is beyond the tail of the source");
	if (f->at < s->earliest) {
		r->earliest = s->earliest;
		return op_refuse(r, SLUICE_EGONE, SLUICE_WHY_TRIMMED,
		                 "the fork offset is below the earliest offset of the source");
	}
	if (f->at < s->tail) {
		rc = txn_settle(t);
		if (rc == SE_OK)
			rc = walk_record(t->volume, s, f->at, &w, &rec, &found);
		if (rc)
			return rc;
		if (!found || rec.start != f->at)
			return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_FORK_OFFSET,
			                 "the fork offset is not the beginning of a record");
		f->pos = w.row.pos + rec.at;
	}
	if (m->fork_sub == 0)
		return SE_OK;
	if (!found || !fork_cut(f, &w, &rec, m->fork_sub))
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_FORK_SUB,
		                 "the sub-offset reaches past the record at the fork offset");
	return f->prefix.messages ? SE_OK : SE_NOMEM;
}

int fork_find(struct txn *t, struct fork_point *f, const struct sl_store_op *m, struct sl_store_outcome *r)
{
	int rc = txn_find(t, m->fork_of, &f->source);

	if (rc)
		return rc;
	if (!f->source)
		return op_refuse(r, SLUICE_ENOENT, SLUICE_WHY_FORK_SOURCE, "there is no such stream to fork");
	if (f->source->state != SL_LIVE)
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_SOFT_DELETED, "the stream to fork was deleted");
	if (!(m->flags & SLUICE_A_INHERIT) && m->content_type.len &&
	    !type_equal(m->content_type, stream_type(f->source)))
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_FORK_TYPE,
		                 "the content type is not that of the source");
	return fork_place(t, f, m, r);
}
