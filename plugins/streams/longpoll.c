/*
 * longpoll.c - GET with live=long-poll (protocol section 13). Plugin streams, worker process.
 *
 * Data behind the offset is answered like a catch-up read. At the tail the call joins the stream's hub and parks: whatever was
 * committed since is seen either by the look the hub takes when the watch is registered, or by an event after it.
 */
#include "streams.h"

static void poll_empty(struct call *c, bool closed)
{
	struct answer a;

	answer_init(&a);
	answer_tail(c, &a, (struct spot){.offset = c->r.offset, .pos = c->r.pos});
	answer_earliest(c, &a, c->r.earliest_pos);
	PUT(&a, "stream-up-to-date", STR("true"));
	if (closed)
		answer_closed(&a);
	if (!closed || c->p->dialect->closed_cursor)
		answer_u64(&a, STR("stream-cursor"), cursor_next(&c->r.cursor, streams_wall(c->p)));
	answer_no_store(&a);
	answer_send(c, &a, 204, STR(""));
}

void poll_finish(struct call *c)
{
	poll_empty(c, false);
}

void poll_closed(struct call *c)
{
	poll_empty(c, true);
}

static void poll_wait(struct call *c)
{
	struct streams *p = c->p;
	uint64_t now = streams_now(p);
	int err;

	if (!c->r.hub) {
		err = hub_join(c);
		if (err < 0) {
			answer_trouble(c, err, NULL);
			return;
		}
		c->r.end_at = now + p->long_poll_ms;
		streams_timer_set(p, &c->timer, c->r.end_at);
	}
	if (p->draining || c->r.expiring || now >= c->r.end_at)
		poll_finish(c);
	else
		hub_park(c);
}

static void poll_take(struct call *c, const struct sluice_read_result *r)
{
	c->r.incarnation = r->incarnation;
	c->r.offset = c->r.seen = r->end;
	if (r->end > r->from)
		read_answer(c, r, NULL);
	else if (r->flags & SLUICE_R_CLOSED)
		poll_closed(c);
	else
		poll_wait(c);
}

void poll_first(struct call *c, const struct sluice_read_result *r)
{
	/* An offset beyond the tail is of an earlier stream of that name: nothing will ever come behind it in order. */
	if (c->r.from != SLUICE_OFFSET_NOW && c->r.from > r->tail)
		read_answer(c, r, NULL);
	else
		poll_take(c, r);
}

static void poll_own(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK)
		answer_unreadable(c, r);
	else if (r->incarnation != c->r.incarnation)
		answer_gone(c, false);
	else
		poll_take(c, r);
}

void poll_look(struct call *c)
{
	read_start(c, c->r.offset, c->p->read_chunk, 0, poll_own);
}

void poll_serve(struct call *c, struct shared *shared)
{
	const struct sluice_read_result *r = shared->r;

	if (r->end == r->from) {
		if (r->flags & SLUICE_R_CLOSED)
			poll_closed(c);
		return;
	}
	hub_unpark(c);
	if (shared->whole)
		read_answer(c, r, shared);
	else
		poll_look(c);
}

void poll_timer(struct call *c, uint64_t now)
{
	/* While it reads it is not parked; it looks at the clock itself when it is back. */
	if (c->r.parked && now >= c->r.end_at)
		poll_finish(c);
	else if (now < c->r.end_at)
		streams_timer_set(c->p, &c->timer, c->r.end_at);
}
