/*
 * op.c - what all operations share: checks of what a peer sent, finding the stream, emitting effects. Store-writer.
 *
 * Workers carry other people's code, so nothing they send is trusted; but the rules of names beyond length and UTF-8
 * are theirs.
 */
#include <ctype.h>
#include <stdlib.h>
#include <strings.h>

#include "lib/marks.h"
#include "store-worker/store.h"

int op_refuse(struct sl_store_outcome *r, int status, uint32_t reason, const char *message)
{
	r->status = status;
	r->reason = reason;
	r->message = sl_slice_str(message);
	return SE_OK;
}

void op_facts(struct sl_store_outcome *r, const struct stream *s)
{
	r->incarnation = s->id;
	r->tail = s->tail;
	r->earliest = s->earliest;
	r->tail_pos = s->tail_pos;
	r->earliest_pos = s->earliest_pos;
	r->flags &= ~SLUICE_R_CLOSED;
	if (s->closed)
		r->flags |= SLUICE_R_CLOSED;
}

bool op_tail_other(const struct stream *s, const struct sl_store_op *m)
{
	return (m->flags & SLUICE_A_EXPECT_TAIL) &&
	       m->expect_tail != (m->flags & SLUICE_A_EXPECT_POS ? s->tail_pos : s->tail);
}

bool utf8_valid(sl_slice s)
{
	const uint8_t *p = s.data, *end = p + s.len;

	while (p < end) {
		uint32_t c = *p++, min;
		int more;

		if (c < 0x80)
			continue;
		more = c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;
		if (more == 0 || end - p < more)
			return false;
		min = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
		c &= 0x3fu >> more;
		for (; more > 0; more--, p++) {
			if ((*p & 0xc0) != 0x80)
				return false;
			c = c << 6 | (*p & 0x3fu);
		}
		if (c < min || c > 0x10ffff || (c >= 0xd800 && c < 0xe000))
			return false;
	}
	return true;
}

bool name_valid(sl_slice s)
{
	return s.len > 0 && s.len <= SL_NAME_MAX && utf8_valid(s);
}

static sl_slice type_media(sl_slice s)
{
	const char *p = s.data;
	size_t n = 0;

	while (n < s.len && p[n] != ';')
		n++;
	while (n > 0 && isspace((unsigned char)p[n - 1]))
		n--;
	while (n > 0 && isspace((unsigned char)*p)) {
		p++;
		n--;
	}
	return SL_SLICE(p, n);
}

bool type_equal(sl_slice a, sl_slice b)
{
	if (sl_slice_eq(a, b)) /* nearly always */
		return true;
	a = type_media(a);
	b = type_media(b);
	return a.len == b.len && (a.len == 0 || strncasecmp(a.data, b.data, a.len) == 0);
}

bool type_is_json(sl_slice s)
{
	return type_equal(s, SL_STR("application/json"));
}

int txn_emit(struct txn *t, uint16_t kind, int encoded, sl_slice payload)
{
	return encoded ? encoded : se_emit(t->batch, kind, sl_buf_slice(&t->effect), payload);
}

int txn_settle(struct txn *t)
{
	return se_settle(t->batch);
}

struct kept {
	struct kept *next;
	uint8_t bytes[];
};

sl_slice txn_keep(struct txn *t, sl_slice s)
{
	struct kept *k = malloc(sizeof *k + s.len);

	if (!k)
		return SL_SLICE(NULL, 0);
	k->next = t->kept;
	t->kept = k;
	if (s.len)
		memcpy(k->bytes, s.data, s.len);
	return SL_SLICE(k->bytes, s.len);
}

void txn_drop_kept(struct txn *t)
{
	while (t->kept) {
		struct kept *k = t->kept;

		t->kept = k->next;
		free(k);
	}
}

int txn_find(struct txn *t, sl_slice name, struct stream **s)
{
	int rc = volume_by_name(t->volume, name, s);

	if (rc || !*s)
		return rc;
	/* Soft-deleted without forks: the rest of a long cascade, which the sweep has not come to. */
	if ((*s)->state == SL_LIVE ? !access_expired(t->store, *s, t->now_ms) : (*s)->forks > 0)
		return SE_OK;
	rc = txn_remove(t, *s);
	return rc ? rc : volume_by_name(t->volume, name, s);
}

int op_find(struct txn *t, sl_slice name, struct stream **s, struct sl_store_outcome *r)
{
	int rc = txn_find(t, name, s);

	if (rc)
		return rc;
	if (!*s)
		return op_refuse(r, SLUICE_ENOENT, SLUICE_WHY_NONE, "there is no such stream");
	if ((*s)->state == SL_LIVE)
		return SE_OK;
	r->incarnation = (*s)->id;
	*s = NULL;
	return op_refuse(r, SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, "the stream was deleted; forks of it still exist");
}

static bool numbers_valid(const struct sl_store_op *m)
{
	const uint64_t n[] = {m->producer_epoch, m->producer_seq, m->ttl_s, m->expires_ms, m->fork_sub};

	for (size_t i = 0; i < sizeof n / sizeof *n; i++)
		if (n[i] > STORE_NUMBER_MAX)
			return false;
	return true;
}

/* What is wrong with the form of an operation, whatever the state of the store; NULL: nothing. */
static const char *op_form(const struct op *op)
{
	const struct sl_store_op *m = op->m;

	if (!name_valid(m->stream))
		return "the name of the stream is empty, too long or not UTF-8";
	if ((m->flags & SLUICE_A_FORK) && !name_valid(m->fork_of))
		return "the name of the fork's source is empty, too long or not UTF-8";
	if (m->content_type.len > STORE_TYPE_MAX || !utf8_valid(m->content_type))
		return "the content type is too long or not UTF-8";
	if ((m->flags & SLUICE_A_PRODUCER) && (m->producer.len == 0 || m->producer.len > STORE_PRODUCER_MAX))
		return "the producer id is empty or too long";
	if ((m->flags & SLUICE_A_STREAM_SEQ) && m->stream_seq.len > STORE_SEQ_MAX)
		return "the stream sequence is too long";
	if (!numbers_valid(m))
		return "a number is too large";
	if ((m->flags & SLUICE_A_TTL) && (m->flags & SLUICE_A_EXPIRES))
		return "a stream has either a TTL or an expiry time";
	if (m->kind == SLUICE_OP_CREATE &&
	    (m->flags & (SLUICE_A_PRODUCER | SLUICE_A_STREAM_SEQ | SLUICE_A_EXPECT_TAIL)))
		return "a create takes no producer, stream sequence or expected tail";
	if (m->kind != SLUICE_OP_CREATE && (m->flags & (SLUICE_A_TTL | SLUICE_A_EXPIRES | SLUICE_A_FORK)))
		return "only a create takes expiry and fork source";
	if (m->kind == SLUICE_OP_SNAPSHOT &&
	    ((m->flags & (SLUICE_A_PRODUCER | SLUICE_A_STREAM_SEQ | SLUICE_A_CLOSE)) || op->marks.len))
		return "a snapshot takes no producer, stream sequence, close or messages";
	if (!(m->flags & SLUICE_A_FORK) && ((m->flags & SLUICE_A_FORK_AT) || m->fork_sub))
		return "a fork offset needs a fork source";
	return NULL;
}

int op_run(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const char *wrong = op_form(op);

	if (wrong)
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_NONE, wrong);
	if (op->bytes > store_settings(t->store)->max_payload)
		return op_refuse(r, SLUICE_ETOOBIG, SLUICE_WHY_NONE, "the payload is larger than store.max_payload");
	switch (op->m->kind) {
	case SLUICE_OP_CREATE:
		return op_create(t, op, r);
	case SLUICE_OP_APPEND:
		/* Nothing to append, but to close: the same as a close, also in its order of checks. */
		if (op->bytes == 0 && (op->m->flags & SLUICE_A_CLOSE) && !(op->m->flags & SLUICE_A_REFUSE))
			return op_close(t, op, r);
		return op_append(t, op, r);
	case SLUICE_OP_CLOSE:
		return op_close(t, op, r);
	case SLUICE_OP_REMOVE:
		return op_remove(t, op, r);
	case SLUICE_OP_TRIM:
		return op_trim(t, op, r);
	case SLUICE_OP_SNAPSHOT:
		return op_snapshot(t, op, r);
	default:
		return op_refuse(r, SLUICE_ENOTSUP, SLUICE_WHY_NONE, "this kind of operation is not known");
	}
}
