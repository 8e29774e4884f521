/*
 * store_client_req.c - the request table of the store client: numbers, answers, and what becomes of requests whose
 * writer died.
 *
 * A frame lives in the queue it was written to until it has left; a request that may be sent twice keeps a copy of
 * its own. Positions count from the beginning of that queue, so "has it left" is a comparison.
 */
#include "lib/store_client_internal.h"

#include <stdlib.h>

enum { NUMBER_SHIFT = 20, RESULTS_INLINE = 8, FRAME_HEAD = 6 /* u32 length, u16 id */ };

static struct sl_ipc *client_queue(struct sl_client *c)
{
	return c->state == CLIENT_UP ? &c->ipc : &c->hold;
}

static void req_free(struct sl_client *c, struct sl_client_req *r)
{
	sl_link_del(&r->order);
	slots_give(&c->req_slots, r->slot);
	c->bytes -= r->len;
	free(r->copy);
	free(r->results);
	r->magic = 0;
	free(r);
}

static struct sl_client_req *req_find(struct sl_client *c, uint64_t number)
{
	uint64_t slot = number & ((1u << NUMBER_SHIFT) - 1);
	struct sl_client_req *r = slot < c->req_slots.cap ? c->req_slots.v[slot] : NULL;

	return r && r->number == number ? r : NULL;
}

/* Ends a request without an answer of the writer. The request is gone when the callback runs. */
static void req_fail(struct sl_client *c, struct sl_client_req *r, int status, const char *message)
{
	struct sluice_result few[RESULTS_INLINE], *kept = r->results, *all = kept ? kept : few;
	sl_client_done_fn *done = r->done;
	sl_client_touched_fn *touched = r->touched;
	void *arg = r->arg;
	uint32_t n = r->n_ops;

	r->results = NULL;
	req_free(c, r);
	for (uint32_t i = 0; i < n; i++)
		all[i] = (struct sluice_result){.size = sizeof *all, .status = status, .message = message};
	if (touched)
		touched(arg, status);
	if (done)
		done(arg, all, n);
	free(kept);
}

static int req_new(struct sl_client *c, size_t n_fds, struct sl_client_req **out)
{
	struct sl_client_req *r;
	int rc;

	if (c->state == CLIENT_REFUSED)
		return SLUICE_EBUSY;
	if (c->bytes >= SL_CLIENT_BYTES || c->req_slots.used >= SL_CLIENT_REQUESTS) {
		c->want_room = true;
		return SLUICE_EAGAIN;
	}
	r = calloc(1, sizeof *r + n_fds * sizeof(int));
	if (!r)
		return SLUICE_ENOMEM;
	rc = slots_take(&c->req_slots, r, &r->slot);
	if (rc) {
		free(r);
		return rc;
	}
	r->magic = CLIENT_REQ_MAGIC;
	r->number = c->seq++ << NUMBER_SHIFT | r->slot;
	r->queued_ms = c->hooks.now_ms(c->arg);
	r->n_fd = n_fds;
	r->fd = (const int *)(r + 1);
	sl_link_add(&c->reqs, &r->order);
	*out = r;
	return 0;
}

/* Adds descriptors to the frame written last, or takes it back. */
static int frame_attach(struct sl_ipc *q, const int *fd, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		int rc = sl_ipc_attach(q, fd[i]);

		if (rc)
			return sl_ipc_end(q, rc);
	}
	return 0;
}

/* Notes where the frame written last is, and keeps a copy when it may be needed again. */
static int req_written(struct sl_client *c, struct sl_client_req *r, struct sl_ipc *q)
{
	const uint8_t *frame = q->out.data + q->out.off + q->begun;

	r->pos = q->sent + q->begun;
	r->len = q->out.len - q->begun;
	if (r->repeat) {
		r->copy_len = (size_t)r->len - FRAME_HEAD;
		r->copy = malloc(r->copy_len ? r->copy_len : 1);
		if (!r->copy) {
			r->len = 0;
			return sl_ipc_end(q, SLUICE_ENOMEM);
		}
		memcpy(r->copy, frame + FRAME_HEAD, r->copy_len);
	}
	c->bytes += (size_t)r->len;
	return 0;
}

int sl_client_submit(struct sl_client *c, const struct sl_store_op *ops, uint32_t n, const int *fds, size_t n_fds,
                     sl_client_done_fn *done, void *arg, struct sl_client_req **out)
{
	struct sl_ipc *q = client_queue(c);
	struct sl_store_submit m = {.ops = {.n = n, .v = ops}};
	struct sl_client_req *r;
	int rc;

	if (n == 0 || n > SL_CLIENT_OPS || n_fds > SL_IPC_FD_MAX)
		return n == 0 ? SLUICE_EINVAL : SLUICE_ETOOBIG;
	rc = req_new(c, n_fds, &r);
	if (rc)
		return rc;
	if (n_fds)
		memcpy(r + 1, fds, n_fds * sizeof *fds);
	r->id = SL_STORE_submit;
	r->n_ops = n;
	if (n > RESULTS_INLINE && !(r->results = calloc(n, sizeof *r->results))) {
		req_free(c, r);
		return SLUICE_ENOMEM;
	}
	r->repeat = true;
	for (uint32_t i = 0; i < n; i++)
		r->repeat = r->repeat && (ops[i].flags & SLUICE_A_PRODUCER);
	m.req = r->number;
	rc = sl_put_store_submit(q, &m);
	if (rc == 0)
		rc = frame_attach(q, r->fd, r->n_fd);
	if (rc == 0)
		rc = req_written(c, r, q);
	if (rc) {
		req_free(c, r);
		return rc;
	}
	r->done = done;
	r->arg = arg;
	if (out)
		*out = r;
	return 0;
}

int sl_client_touch(struct sl_client *c, uint64_t incarnation, bool renew, sl_client_touched_fn *touched, void *arg,
                    struct sl_client_req **out)
{
	struct sl_ipc *q = client_queue(c);
	struct sl_store_touch m = {.incarnation = incarnation, .renew = renew};
	struct sl_client_req *r;
	int rc = req_new(c, 0, &r);

	if (rc)
		return rc;
	r->id = SL_STORE_touch;
	r->repeat = true;
	m.req = r->number;
	rc = sl_put_store_touch(q, &m);
	if (rc == 0)
		rc = req_written(c, r, q);
	if (rc) {
		req_free(c, r);
		return rc;
	}
	r->touched = touched;
	r->arg = arg;
	if (out)
		*out = r;
	return 0;
}

void sl_client_forget(struct sl_client *c, struct sl_client_req *r)
{
	(void)c;
	r->done = NULL;
	r->touched = NULL;
}

size_t sl_client_pending(const struct sl_client *c)
{
	return c->req_slots.used;
}

/* Puts a frame body into another queue. */
static int req_requeue(struct sl_client *c, struct sl_client_req *r, struct sl_ipc *to, sl_slice body)
{
	struct sl_buf *b = sl_ipc_begin(to, r->id);
	int rc = SLUICE_ENOMEM;

	if (b)
		rc = sl_ipc_end(to, sl_buf_add(b, body.data, body.len));
	if (rc == 0)
		rc = frame_attach(to, r->fd, r->n_fd);
	if (rc == 0) {
		c->bytes -= (size_t)r->len;
		r->pos = to->sent + to->begun;
		r->len = to->out.len - to->begun;
		c->bytes += (size_t)r->len;
	}
	return rc;
}

/* The body of a frame that may be sent (again): its own copy, or what the queue still holds. Of a frame that has begun to
 * leave the first bytes are gone; the writer cannot have read it either. */
static sl_slice req_body(const struct sl_client_req *r, const struct sl_ipc *from)
{
	if (r->copy)
		return SL_SLICE(r->copy, r->copy_len);
	if (r->pos < from->sent)
		return SL_SLICE(NULL, 0);
	return SL_SLICE(from->out.data + from->out.off + (r->pos - from->sent) + FRAME_HEAD,
	                (size_t)r->len - FRAME_HEAD);
}

/* Moves what has not left `from` to `to`, and what may be sent twice; the rest fails. Order is kept. */
static void reqs_move(struct sl_client *c, struct sl_ipc *from, struct sl_ipc *to)
{
	struct sl_link lost, busy, kept;
	struct sl_link *l;

	sl_link_init(&lost);
	sl_link_init(&busy);
	sl_link_init(&kept);
	while ((l = sl_link_pop(&c->reqs))) {
		struct sl_client_req *r = SL_OF(l, struct sl_client_req, order);
		bool left = r->pos + r->len <= from->sent;
		sl_slice body = req_body(r, from);

		r->unsure |= left;
		if (left && !r->repeat) {
			sl_link_add(&lost, l);
			continue;
		}
		if (body.data && req_requeue(c, r, to, body) == 0)
			sl_link_add(&kept, l);
		else
			sl_link_add(r->unsure ? &lost : &busy, l);
	}
	sl_link_splice(&c->reqs, &kept);
	/* The failed ones are kept out of c->reqs, which the callbacks may add to. */
	while ((l = sl_link_pop(&lost)))
		req_fail(c, SL_OF(l, struct sl_client_req, order), SLUICE_ELOST,
		         "the store's writer ended before it answered");
	while ((l = sl_link_pop(&busy)))
		req_fail(c, SL_OF(l, struct sl_client_req, order), SLUICE_EBUSY, "the store's writer is not there");
}

/* Those who wait for a touch are told now; the touch itself, orphaned, is repeated for the sake of the renewal. */
static void reqs_tell_touches(struct sl_client *c)
{
	struct sl_link *l;

	for (l = c->reqs.next; l != &c->reqs;) {
		struct sl_client_req *r = SL_OF(l, struct sl_client_req, order);

		l = l->next;
		if (r->touched) {
			sl_client_touched_fn *touched = r->touched;

			r->touched = NULL;
			touched(r->arg, SLUICE_ELOST);
		}
	}
}

void client_reqs_hold(struct sl_client *c)
{
	struct sl_ipc gone = c->hold;

	sl_ipc_init(&c->hold, -1);
	reqs_move(c, &gone, &c->hold);
	sl_ipc_fini(&gone);
	reqs_tell_touches(c);
}

void client_reqs_resume(struct sl_client *c)
{
	struct sl_ipc held = c->hold;

	sl_ipc_init(&c->hold, -1);
	reqs_move(c, &held, &c->ipc);
	sl_ipc_fini(&held);
}

void client_reqs_expire(struct sl_client *c, uint64_t wait_ms)
{
	uint64_t now = c->hooks.now_ms(c->arg);
	struct sl_link late, *l;

	sl_link_init(&late);
	while (!sl_link_alone(&c->reqs)) {
		struct sl_client_req *r = SL_OF(c->reqs.next, struct sl_client_req, order);
		uint64_t since = r->queued_ms > c->away_ms ? r->queued_ms : c->away_ms;

		if (now - since < wait_ms)
			break; /* the oldest come first */
		sl_link_del(&r->order);
		sl_link_add(&late, &r->order);
	}
	if (sl_link_alone(&late))
		return;
	/* Their frames leave the queue with them, or it would grow without bound while nobody takes it. */
	client_reqs_hold(c);
	while ((l = sl_link_pop(&late))) {
		struct sl_client_req *r = SL_OF(l, struct sl_client_req, order);

		req_fail(c, r, r->unsure ? SLUICE_ELOST : SLUICE_EBUSY, "the store's writer is not there");
	}
}

void client_reqs_free(struct sl_client *c)
{
	while (!sl_link_alone(&c->reqs))
		req_free(c, SL_OF(c->reqs.next, struct sl_client_req, order));
}

bool sl_client_has_room(const struct sl_client *c)
{
	return c->bytes <= SL_CLIENT_BYTES / 2 && c->req_slots.used <= SL_CLIENT_REQUESTS / 2;
}

void client_check_room(struct sl_client *c)
{
	if (!c->want_room || !sl_client_has_room(c))
		return;
	c->want_room = false;
	c->hooks.room(c->arg);
}

/* Decodes the outcomes; texts go behind each other into c->text, which is grown before so that it does not move. */
static int results_decode(struct sl_client *c, const struct sl_store_result *m, struct sluice_result *all)
{
	struct sl_cur cur = m->outcomes.cur;

	c->text.len = 0;
	c->text.off = 0;
	if (!sl_buf_room(&c->text, (size_t)(cur.end - cur.p) + m->outcomes.n))
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < m->outcomes.n; i++) {
		struct sl_store_outcome o;
		const char *message = "";

		if (sl_next_store_outcome(&cur, &o))
			return SLUICE_EINVAL;
		if (o.message.len) {
			message = (const char *)c->text.data + c->text.len;
			if (sl_buf_add(&c->text, o.message.data, o.message.len) || sl_put_u8(&c->text, 0))
				return SLUICE_ENOMEM;
		}
		all[i] = (struct sluice_result){.size = sizeof *all,
		                                .status = o.status,
		                                .reason = o.reason,
		                                .flags = o.flags,
		                                .message = message,
		                                .incarnation = o.incarnation,
		                                .start = o.start,
		                                .tail = o.tail,
		                                .earliest = o.earliest,
		                                .producer_epoch = o.producer_epoch,
		                                .producer_seq = o.producer_seq,
		                                .tail_pos = o.tail_pos,
		                                .earliest_pos = o.earliest_pos,
		                                .snapshot = o.snapshot,
		                                .snapshot_pos = o.snapshot_pos,
		                                .snapshot_digest = SL_STR("")};
		if (o.snapshot_digest.len) {
			all[i].snapshot_digest = SL_SLICE(c->text.data + c->text.len, o.snapshot_digest.len);
			if (sl_buf_add(&c->text, o.snapshot_digest.data, o.snapshot_digest.len))
				return SLUICE_ENOMEM;
		}
	}
	return 0;
}

int client_on_result(void *arg, const struct sl_store_result *m)
{
	struct sl_client *c = arg;
	struct sl_client_req *r = req_find(c, m->req);
	struct sluice_result few[RESULTS_INLINE], *kept, *all;
	sl_client_done_fn *done;
	void *done_arg;
	int rc;

	if (!r || r->id != SL_STORE_submit || r->n_ops != m->outcomes.n)
		return SLUICE_EINVAL;
	kept = r->results;
	all = kept ? kept : few;
	rc = results_decode(c, m, all);
	if (rc == SLUICE_ENOMEM) { /* committed or not, we cannot tell what */
		req_fail(c, r, SLUICE_ELOST, "no memory for the answer");
		return 0;
	}
	if (rc)
		return rc;
	done = r->done;
	done_arg = r->arg;
	r->results = NULL;
	req_free(c, r);
	if (done)
		done(done_arg, all, m->outcomes.n);
	free(kept);
	return 0;
}

int client_on_touched(void *arg, const struct sl_store_touched *m)
{
	struct sl_client *c = arg;
	struct sl_client_req *r = req_find(c, m->req);
	sl_client_touched_fn *touched;
	void *touched_arg;

	if (!r || r->id != SL_STORE_touch)
		return SLUICE_EINVAL;
	touched = r->touched;
	touched_arg = r->arg;
	req_free(c, r);
	if (touched)
		touched(touched_arg, m->status);
	return 0;
}
