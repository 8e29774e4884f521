/*
 * batch.c - group commit: operations of all peers in one transaction, answers only once it is durable. Store-writer.
 *
 * No timer: what has arrived is committed at once, what arrives meanwhile is the next batch. Everything a peer is told
 * goes through the list of replies, in the order of its frames, and is written after the commit; notices follow.
 */
#include <assert.h>
#include <stdlib.h>

#include "lib/log.h"
#include "lib/marks.h"
#include "store-worker/store.h"

int batch_open(struct store *st)
{
	struct txn *t = &st->txn;
	int rc;

	if (t->batch)
		return SE_OK;
	rc = se_begin(st->se, &t->batch);
	if (rc) {
		t->batch = NULL;
		return rc;
	}
	t->now_ms = se_now(t->batch);
	st->batch_ops = 0;
	return SE_OK;
}

bool batch_full(const struct store *st)
{
	return st->txn.batch &&
	       (st->batch_ops >= st->settings.max_batch_ops ||
	        se_batch_bytes(st->txn.batch) >= st->settings.max_batch_bytes || se_batch_error(st->txn.batch));
}

/* Makes room in a growing array; NULL: no memory. */
static void *batch_grow(void *v, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap ? *cap : 64;
	void *p;

	if (need <= *cap)
		return v;
	while (more < need)
		more *= 2;
	p = realloc(v, more * size);
	if (p)
		*cap = more;
	return p;
}

int batch_later(struct store *st, const struct reply *r, sl_slice text)
{
	struct reply *all = batch_grow(st->replies, &st->cap_replies, st->n_replies + 1, sizeof *all);

	if (!all)
		return SLUICE_ENOMEM;
	st->replies = all;
	all[st->n_replies] = *r;
	if (text.data) {
		all[st->n_replies].at = st->text.len;
		all[st->n_replies].n = text.len;
		if (sl_buf_add(&st->text, text.data, text.len))
			return SLUICE_ENOMEM;
	}
	st->n_replies++;
	return 0;
}

/* Room for the outcomes of one request, all zero, and its place in the list of replies. */
static struct sl_store_outcome *batch_outcomes(struct store *st, struct peer *p, uint64_t req, uint32_t n)
{
	struct sl_store_outcome *all = batch_grow(st->outcomes, &st->cap_outcomes, st->n_outcomes + n, sizeof *all);
	struct reply r = {.kind = REPLY_RESULT, .peer = p, .number = req, .at = st->n_outcomes, .n = n};

	if (!all)
		return NULL;
	st->outcomes = all;
	if (batch_later(st, &r, SL_SLICE(NULL, 0)))
		return NULL;
	st->n_outcomes += n;
	all += r.at;
	memset(all, 0, n * sizeof *all);
	for (uint32_t i = 0; i < n; i++)
		all[i].message = SL_STR("");
	return all;
}

/* Puts together what the frame says and what the helper thread made of a payload. */
static int batch_op(struct op *op, const struct sl_store_op *m, const struct held *h, size_t *part)
{
	memset(op, 0, sizeof *op);
	op->m = m;
	op->marks = m->marks;
	op->bytes = m->data.len;
	if (m->n_fd) {
		const struct held_part *hp;

		if (!h || *part >= h->n_parts)
			return SLUICE_EINVAL;
		hp = &h->parts[(*part)++];
		if (hp->status)
			return hp->status;
		op->in_segment = true;
		op->ref = hp->ref;
		op->digest = hp->digest;
		op->bytes = hp->data_len;
		op->marks = SL_SLICE(hp->marks, (size_t)hp->marks_len);
	}
	return sl_marks_check(op->marks, op->bytes, &op->messages);
}

static const char *batch_payload_text(int status)
{
	switch (status) {
	case SLUICE_EFULL:
		return "no space left on the disk";
	case SLUICE_EINVAL:
		return "the payload is not what was announced";
	case SLUICE_ETOOBIG:
		return "the payload is larger than store.max_payload";
	default:
		return "the payload could not be stored";
	}
}

static int batch_one(struct store *st, const struct sl_store_op *m, const struct held *h, size_t *part,
                     struct sl_store_outcome *r)
{
	struct op op;
	int status = batch_op(&op, m, h, part), rc;

	st->batch_ops++;
	if (status)
		return op_refuse(r, status, SLUICE_WHY_NONE, batch_payload_text(status));
	rc = op_run(&st->txn, &op, r);
	if (rc != SE_DAMAGED)
		return rc;
	store_damaged(st, m->flags & SLUICE_A_FORK ? m->fork_of : m->stream);
	return op_refuse(r, SLUICE_EINTERNAL, SLUICE_WHY_NONE, "a record of the stream is damaged");
}

/* All or nothing: after a refusal everything before it is undone, and only the refused one says why. */
static int batch_list(struct store *st, const struct sl_list *ops, const struct held *h, struct sl_store_outcome *out)
{
	struct sl_cur c = ops->cur;
	size_t part = 0;
	uint32_t i, bad = ops->n;
	int rc = se_op(st->txn.batch);

	for (i = 0; rc == SE_OK && i < ops->n; i++) {
		struct sl_store_op m;

		sl_next_store_op(&c, &m);
		rc = batch_one(st, &m, h, &part, &out[i]);
		if (rc == SE_OK && out[i].status != SLUICE_OK) {
			bad = i;
			break;
		}
	}
	if (rc) /* the batch is lost as a whole */
		return rc;
	se_op_end(st->txn.batch, bad == ops->n);
	for (i = 0; bad < ops->n && i < ops->n; i++)
		if (i != bad) {
			out[i] = (struct sl_store_outcome){.message = SL_STR("")};
			op_refuse(&out[i], SLUICE_ECANCELED, SLUICE_WHY_NONE,
			          "another operation of the list was refused");
		}
	return se_batch_error(st->txn.batch);
}

static void batch_status(int rc, int *status, const char **text)
{
	static const struct {
		int rc, status;
	} map[] = {{SE_FULL, SLUICE_EFULL}, {SE_NOMEM, SLUICE_ENOMEM}, {SE_BUSY, SLUICE_EBUSY}};

	*status = SLUICE_EINTERNAL;
	*text = se_text(rc);
	for (size_t i = 0; i < sizeof map / sizeof *map; i++)
		if (map[i].rc == rc)
			*status = map[i].status;
}

void batch_submit(struct store *st, struct peer *p, uint64_t req, const struct sl_list *ops, const struct held *h)
{
	struct sl_store_outcome *out = batch_outcomes(st, p, req, ops->n);
	int rc;

	if (!out) {
		peer_end(p, "out of memory");
		return;
	}
	rc = batch_open(st);
	if (rc == SE_OK) /* a batch that is lost already runs nothing any more */
		rc = st->batch_rc ? st->batch_rc : se_batch_error(st->txn.batch);
	if (rc == SE_OK && ops->n == 1) {
		struct sl_cur c = ops->cur;
		struct sl_store_op m;
		size_t part = 0;

		sl_next_store_op(&c, &m);
		rc = batch_one(st, &m, h, &part, out);
	} else if (rc == SE_OK) {
		rc = batch_list(st, ops, h, out);
	}
	/* Decide found the volume unreadable, or memory is out: nothing of this batch may be kept. */
	if (rc && st->batch_rc == SE_OK)
		st->batch_rc = rc;
}

static void batch_done(void *arg, int rc, se_pos position)
{
	struct store *st = arg;

	(void)position;
	if (st->batch_rc == SE_OK)
		st->batch_rc = rc;
}

/* Every outcome of a batch that did not commit, refusals included: they were decided on a state that never was. */
static void batch_fail(struct store *st, int rc)
{
	struct se_status s;
	const char *text;
	int status;

	se_status(st->se, &s);
	batch_status(rc, &status, &text);
	for (size_t i = 0; i < st->n_outcomes; i++) {
		st->outcomes[i] = (struct sl_store_outcome){.status = status, .message = sl_slice_str(text)};
	}
	if (rc == SE_FULL && st->no_full_warning)
		return;
	st->no_full_warning = rc == SE_FULL;
	sl_log(rc == SE_FULL || rc == SE_BUSY ? SLUICE_LOG_WARN : SLUICE_LOG_ERR,
	       "commit failed ops=%zu error=\"%s\" detail=\"%s\" action=\"%s\"", st->n_outcomes, se_text(rc), s.error,
	       rc == SE_FULL ? "free space on the disk; reads go on, writes are refused" : "see the error");
	if (rc != SE_FULL && rc != SE_BUSY && rc != SE_NOMEM) {
		se_fail(st->se, rc, s.error);
		st->fatal = true;
	}
}

static uint64_t batch_position(const struct store *st)
{
	struct se_status s;

	se_status(st->se, &s);
	return s.position;
}

static void batch_commit(struct store *st)
{
	struct txn *t = &st->txn;
	bool any = t->batch != NULL;
	uint64_t began_us = any ? stats_clock(st) : 0, before = any ? batch_position(st) : 0;

	if (t->batch && st->batch_rc)
		se_abort(t->batch);
	else if (t->batch)
		se_commit(t->batch, SE_LOCAL, batch_done, st);
	t->batch = NULL;
	st->batch_failed = st->batch_rc != SE_OK;
	if (st->batch_rc)
		batch_fail(st, st->batch_rc);
	else if (st->n_outcomes)
		st->no_full_warning = false;
	if (st->batch_rc || !any)
		return;
	st->n_operations += st->n_outcomes;
	/* One without effects, as most rounds of the sweep are, was not committed. */
	if (batch_position(st) > before) {
		st->n_commits++;
		stats_commit(st, began_us);
	}
}

static void batch_result(struct store *st, const struct reply *r)
{
	struct sl_store_result m = {.req = r->number, .outcomes = {.n = (uint32_t)r->n, .v = st->outcomes + r->at}};
	int rc = sl_put_store_result(&r->peer->ipc, &m);

	if (rc)
		peer_end(r->peer, rc == SLUICE_ENOMEM ? "out of memory" : "its answer is too large");
	else
		peer_want_flush(r->peer);
}

static void batch_touched(struct store *st, const struct reply *r)
{
	struct sl_store_touched m = {.req = r->number, .status = SLUICE_ENOENT};
	uint64_t now = store_now(st);
	struct stream *s;

	if (volume_by_id(&st->volume, r->incarnation, &s) != SE_OK)
		m.status = SLUICE_EINTERNAL;
	else if (s && s->state != SL_DEAD) {
		bool expired = s->state == SL_LIVE && access_expired(st, s, now);

		m.status = s->state == SL_SOFT || (expired && s->forks) ? SLUICE_EGONE
		           : expired                                    ? SLUICE_ENOENT
		                                                        : SLUICE_OK;
		if (m.status == SLUICE_OK && r->flag)
			access_renew(st, s, now);
	}
	if (sl_put_store_touched(&r->peer->ipc, &m))
		peer_end(r->peer, "out of memory");
	else
		peer_want_flush(r->peer);
}

static void batch_replies(struct store *st)
{
	for (size_t i = 0; i < st->n_replies; i++) {
		const struct reply *r = &st->replies[i];

		if (r->peer->ended)
			continue;
		if (r->kind == REPLY_RESULT)
			batch_result(st, r);
		else if (r->kind == REPLY_TOUCHED)
			batch_touched(st, r);
		else
			watch_reply(st, r, SL_SLICE(st->text.data + st->text.off + r->at, r->n));
	}
}

void batch_end(struct store *st)
{
	batch_commit(st);
	access_settle(st, !st->batch_failed);
	batch_replies(st);
	watch_notify(st);
	volume_rest(&st->volume);
	txn_drop_kept(&st->txn);
	st->n_replies = st->n_outcomes = 0;
	st->batch_ops = 0;
	st->batch_rc = SE_OK;
	sl_buf_drain(&st->text, SIZE_MAX);
}
