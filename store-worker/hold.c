/*
 * hold.c - requests whose payload comes as a descriptor wait here for the helper thread. Store-writer.
 *
 * The order of one peer's requests for the same stream is kept: a request behind a waiting one that names one of its
 * streams waits too. Other streams, and other peers, go on.
 */
#include <stdlib.h>
#include <unistd.h>

#include "store-worker/store.h"

#define HOLD_MARKS_MAX (8u << 20)

static void hold_free(struct held *h)
{
	for (size_t i = 0; i < h->n_parts; i++) {
		if (h->parts[i].fd >= 0)
			close(h->parts[i].fd);
		free(h->parts[i].marks);
	}
	free(h->parts);
	free(h->names);
	free(h->frame);
	free(h);
}

static bool hold_meets(const struct held *a, const struct held *b)
{
	for (size_t i = 0; i < a->n_names; i++)
		for (size_t k = 0; k < b->n_names; k++)
			if (a->names[i] == b->names[k])
				return true;
	return false;
}

/* True when a request before `end` in the peer's queue shares a stream with h. */
static bool hold_blocked(const struct peer *p, const struct held *h, const struct sl_link *end)
{
	for (const struct sl_link *l = p->held.next; l != end; l = l->next)
		if (hold_meets(SL_OF(l, struct held, list), h))
			return true;
	return false;
}

static int hold_fill(struct held *h, struct peer *p, const struct sl_store_submit *m)
{
	struct sl_cur c = m->ops.cur;
	size_t n_fd = 0;

	h->names = calloc(2 * (size_t)m->ops.n, sizeof *h->names);
	h->parts = calloc(m->ops.n, sizeof *h->parts);
	if (!h->names || !h->parts)
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < m->ops.n; i++) {
		struct held_part *part = &h->parts[n_fd];
		struct sl_store_op op;

		sl_next_store_op(&c, &op);
		h->names[h->n_names++] = sl_hash(op.stream);
		if (op.flags & SLUICE_A_FORK)
			h->names[h->n_names++] = sl_hash(op.fork_of);
		if (op.n_fd == 0)
			continue;
		if (op.n_fd != 1 || op.data.len || op.marks.len)
			return SLUICE_EINVAL;
		*part = (struct held_part){
			.held = h, .fd = sl_ipc_take_fd(&p->ipc), .data_len = op.data_len, .marks_len = op.marks_len};
		sl_link_init(&part->job);
		h->n_parts = ++n_fd;
		if (part->fd < 0)
			return SLUICE_EINVAL;
		if (op.data_len > p->store->settings.max_payload)
			part->status = SLUICE_ETOOBIG;
		else if (op.data_len == 0 || op.marks_len > HOLD_MARKS_MAX)
			part->status = SLUICE_EINVAL;
	}
	return 0;
}

/* The types of snapshots, which belong to their digests, in the frame's copy. */
static void hold_point(struct held *h)
{
	struct sl_cur c = h->ops.cur;
	size_t part = 0;

	for (uint32_t i = 0; i < h->ops.n; i++) {
		struct sl_store_op op;

		sl_next_store_op(&c, &op);
		if (op.n_fd == 0)
			continue;
		h->parts[part].snapshot = op.kind == SLUICE_OP_SNAPSHOT;
		h->parts[part++].type = snapshot_type(&op);
	}
}

static int hold_keep(struct held *h, struct peer *p, const struct sl_store_submit *m)
{
	size_t len = (size_t)(m->ops.cur.end - m->ops.cur.p);

	h->frame = malloc(len ? len : 1);
	if (!h->frame)
		return SLUICE_ENOMEM;
	memcpy(h->frame, m->ops.cur.p, len);
	h->ops = (struct sl_list){.n = m->ops.n, .cur = sl_cur_of(SL_SLICE(h->frame, len))};
	h->peer = p;
	h->req = m->req;
	h->bytes = len + sizeof *h;
	hold_point(h);
	sl_link_add(&p->held, &h->list);
	p->n_held++;
	p->held_bytes += h->bytes;
	p->held_parts += h->n_parts;
	for (size_t i = 0; i < h->n_parts; i++) {
		if (h->parts[i].status)
			continue;
		h->waiting++;
		payloads_put(p->store, &h->parts[i]);
	}
	if (h->waiting == 0 && sl_link_alone(&p->runnable))
		sl_link_add(&p->store->runnable, &p->runnable);
	return 0;
}

int hold_submit(struct peer *p, const struct sl_store_submit *m, bool *held)
{
	struct held *h;
	int rc;

	/* Most requests bring no descriptor while none waits; they cost nothing here. */
	if (p->ipc.n_in_fd == 0 && sl_link_alone(&p->held))
		return 0;
	h = calloc(1, sizeof *h);
	if (!h)
		return SLUICE_ENOMEM;
	sl_link_init(&h->list);
	rc = hold_fill(h, p, m);
	if (rc == 0 && (h->n_parts || hold_blocked(p, h, &p->held))) {
		rc = hold_keep(h, p, m);
		*held = rc == 0;
	}
	if (!*held)
		hold_free(h);
	return rc;
}

static void hold_take(struct held *h)
{
	h->peer->n_held--;
	h->peer->held_bytes -= h->bytes;
	h->peer->held_parts -= h->n_parts;
	sl_link_del(&h->list);
}

/* Runs what can run of one peer; false: the batch is full. */
static bool hold_run_peer(struct store *st, struct peer *p)
{
	struct sl_link *next;

	for (struct sl_link *l = p->held.next; l != &p->held && !p->ended; l = next) {
		struct held *h = SL_OF(l, struct held, list);

		next = l->next;
		if (h->waiting || hold_blocked(p, h, l))
			continue;
		if (batch_full(st))
			return false;
		hold_take(h);
		batch_submit(st, p, h->req, &h->ops, h);
		hold_free(h);
	}
	return true;
}

void hold_run(struct store *st)
{
	while (!sl_link_alone(&st->runnable)) {
		struct peer *p = SL_OF(st->runnable.next, struct peer, runnable);
		bool enough = peer_holds_enough(p);

		if (!hold_run_peer(st, p))
			return;
		sl_link_del(&p->runnable);
		if (!enough || p->ended || peer_holds_enough(p))
			continue;
		p->again = true;
		peer_interest(p);
		if (!p->paused && sl_link_alone(&p->ready))
			sl_link_add(&st->ready, &p->ready);
	}
}

void hold_done(struct store *st, struct held_part *part)
{
	struct held *h = part->held;
	struct peer *p = h->peer;

	close(part->fd);
	part->fd = -1;
	h->waiting--;
	if (!p) {
		if (h->waiting == 0)
			hold_free(h);
		return;
	}
	/* One that has ended is freed at the end of the turn, and is in no list any more. */
	if (h->waiting == 0 && !p->ended && sl_link_alone(&p->runnable))
		sl_link_add(&st->runnable, &p->runnable);
}

void hold_drop(struct peer *p)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&p->held))) {
		struct held *h = SL_OF(l, struct held, list);

		h->peer = NULL;
		/* Parts that the helper thread works on keep it until they are done. */
		if (h->waiting == 0)
			hold_free(h);
	}
}
