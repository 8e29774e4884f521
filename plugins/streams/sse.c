/*
 * sse.c - GET with live=sse (protocol section 14). Plugin streams, worker process.
 *
 * A reader is either pulling (history, or a slow client: it reads when its connection has room, from its own offset) or parked at
 * the hub. Nothing is kept for it beyond what the connection took, so a client of any speed costs the same.
 *
 * Text: an append that ends inside a character is not sent before its rest is there; the offset told stays before it. A record too
 * large for one step is sent as it is read; if it ends inside a character its event stays open instead.
 */
#include "streams.h"

static void sse_own(void *arg, const struct sluice_read_result *r);
static void sse_more(void *arg, const struct sluice_read_result *r);

static size_t sse_max(size_t a, size_t b)
{
	return a > b ? a : b;
}

/* False: the call is dead. */
static bool sse_write(struct call *c, struct bytes *out)
{
	bool good = !out->failed && c->p->http->write(c->http, bytes_slice(out)) >= 0;

	bytes_reset(out);
	if (!good)
		call_cut(c);
	return good;
}

static void sse_add_control(struct call *c, struct bytes *out, bool up_to_date, bool closed)
{
	bool position = c->p->dialect->positions;
	struct sse_control control = {
		.offset = position ? c->r.pos : c->r.offset,
		.position = position,
		.spaced = c->p->dialect->spaced,
		.cursor = cursor_next(&c->r.cursor, streams_wall(c->p)),
		.up_to_date = up_to_date,
		.closed = closed && up_to_date,
	};

	sse_control(out, &control);
	c->r.greeted = true;
	c->r.idle_at = streams_now(c->p) + c->r.idle_ms;
}

/* Behind a control event: the end, the hub, or more reading. */
static void sse_next(struct call *c, bool up_to_date, bool closed)
{
	if ((up_to_date && closed) || c->r.expiring || c->p->draining) {
		call_end(c);
	} else if (up_to_date) {
		hub_park(c);
	} else {
		c->r.want_read = true;
		c->p->http->wake(c->http);
	}
}

static void sse_say(struct call *c, bool up_to_date, bool closed)
{
	struct bytes *out = &c->p->scratch;

	bytes_reset(out);
	if (c->r.format.open)
		sse_end(&c->r.format, out);
	sse_add_control(c, out, up_to_date, closed);
	if (sse_write(c, out))
		sse_next(c, up_to_date, closed);
}

/* How much of a text read may be sent: whole records up to the last one that ends between two characters. */
static uint64_t sse_cut(const struct sluice_read_result *r, enum media_kind kind, size_t *bytes)
{
	*bytes = r->data.len;
	if (kind != MEDIA_TEXT || utf8_unfinished(r->data.data, r->data.len) == 0)
		return r->end;
	for (size_t i = r->n_record; i-- > 0;) {
		*bytes = r->record[i].data_end;
		if (*bytes <= r->data.len && utf8_unfinished(r->data.data, *bytes) == 0)
			return r->record[i].end;
	}
	*bytes = 0;
	return r->from;
}

static bool sse_reports_closed(const struct sluice_read_result *r)
{
	return (r->flags & SLUICE_R_CLOSED) && (r->flags & SLUICE_R_UP_TO_DATE);
}

/* Nothing is held back when nothing can complete it, or when it would not fit one read together with its rest. */
static bool sse_must_flush(const struct sluice_read_result *r, uint64_t cut)
{
	return sse_reports_closed(r) || (cut == r->from && !(r->flags & SLUICE_R_UP_TO_DATE));
}

static struct sse_piece sse_piece(const struct sluice_read_result *r, size_t bytes)
{
	struct sse_piece piece = {.data = SLICE(r->data.data, bytes), .message_end = r->message_end};

	piece.n_message_end = r->n_message_end;
	return piece;
}

/* The event is complete unless it ends inside a character that can still be completed. */
static void sse_close_event(struct call *c, struct bytes *out)
{
	bool closed = c->r.closed && c->r.up_to_date;

	c->r.offset = c->r.seen = c->r.end;
	c->r.pos = c->r.end_pos;
	if (sse_unfinished(&c->r.format) > 0 && !closed && !c->r.flush && !c->p->draining) {
		if (sse_write(c, out))
			sse_next(c, c->r.up_to_date, false);
		return;
	}
	sse_end(&c->r.format, out);
	sse_add_control(c, out, c->r.up_to_date, closed);
	++*c->p->count.events;
	if (sse_write(c, out))
		sse_next(c, c->r.up_to_date, closed);
}

/* A read that goes on in further steps, or continues an open event: piece by piece. */
static void sse_take_piece(struct call *c, const struct sluice_read_result *r, bool first)
{
	struct bytes *out = &c->p->scratch;
	struct sse_piece piece = sse_piece(r, r->data.len);

	bytes_reset(out);
	if (first) {
		c->r.end = r->end;
		c->r.end_pos = c->r.pos + r->payload_bytes;
		c->r.up_to_date = r->flags & SLUICE_R_UP_TO_DATE;
		c->r.closed = r->flags & SLUICE_R_CLOSED;
		if (!c->r.format.open)
			sse_begin(&c->r.format, out);
	}
	sse_feed(&c->r.format, out, &piece);
	if (!read_remember(c, r)) {
		sse_close_event(c, out);
		return;
	}
	if (sse_write(c, out))
		c->p->http->wake(c->http);
}

static void sse_take_whole(struct call *c, const struct sluice_read_result *r)
{
	struct bytes *out = &c->p->scratch;
	bool up_to_date = r->flags & SLUICE_R_UP_TO_DATE;
	struct sse_piece piece;
	size_t bytes;
	uint64_t cut = sse_cut(r, c->r.format.kind, &bytes);

	if (cut < r->end && (c->r.flush || c->p->draining || sse_must_flush(r, cut))) {
		cut = r->end;
		bytes = r->data.len;
	}
	c->r.seen = r->end;
	if (cut == r->from) {
		/* All there is is the beginning of a character. The client hears that it is connected, from where, and not that this is all. */
		bytes_reset(out);
		if (!c->r.greeted)
			sse_add_control(c, out, false, false);
		if (out->len == 0 || sse_write(c, out))
			hub_park(c);
		return;
	}
	piece = sse_piece(r, bytes);
	bytes_reset(out);
	sse_begin(&c->r.format, out);
	sse_feed(&c->r.format, out, &piece);
	sse_end(&c->r.format, out);
	++*c->p->count.events;
	c->r.offset = cut;
	c->r.pos += bytes;
	sse_add_control(c, out, up_to_date && cut == r->end, r->flags & SLUICE_R_CLOSED);
	if (sse_write(c, out))
		sse_next(c, up_to_date, r->flags & SLUICE_R_CLOSED);
}

/* A read of this reader's own. */
static void sse_take(struct call *c, const struct sluice_read_result *r)
{
	bool whole = r->next >= r->end && r->skip == 0;

	if (r->end > r->from && whole && !c->r.format.open) {
		sse_take_whole(c, r);
	} else if (r->end > r->from) {
		sse_take_piece(c, r, true);
	} else if ((!c->r.greeted && !c->r.format.open) || c->r.expiring || c->p->draining ||
	           (r->flags & SLUICE_R_CLOSED)) {
		if (r->tail > c->r.seen)
			c->r.seen = r->tail;
		sse_say(c, true, r->flags & SLUICE_R_CLOSED);
	} else {
		hub_park(c);
	}
}

static void sse_own(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK || r->incarnation != c->r.incarnation)
		sse_lost(c);
	else
		sse_take(c, r);
}

static void sse_more(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK)
		call_cut(c);
	else
		sse_take_piece(c, r, false);
}

void sse_look(struct call *c)
{
	c->r.want_read = true;
	c->p->http->wake(c->http);
}

void sse_pull(struct call *c, size_t room)
{
	uint64_t budget = sse_max(room, 16 * 1024);

	if (c->r.parked)
		return;
	if (c->r.more) {
		read_step(c, sse_more);
	} else if (c->r.want_read) {
		c->r.want_read = false;
		/* What is held back must fit together with its rest, so a flush is the only way a budget shrinks. */
		if (c->r.format.kind == MEDIA_TEXT || budget > SSE_BUDGET)
			budget = SSE_BUDGET;
		read_start(c, c->r.offset, budget, 0, sse_own);
	}
}

void sse_lost(struct call *c)
{
	if (c->r.format.open)
		call_cut(c);
	else
		call_end(c);
}

/* ---- served by the hub ---- */

static void shared_format(struct call *c, struct shared *s)
{
	const struct sluice_read_result *r = s->r;
	struct sse_format format = {
		.kind = c->r.format.kind, .joined = c->r.format.joined, .spaced = c->r.format.spaced};
	struct sse_control control;
	struct bytes *out = &c->p->scratch;
	struct sse_piece piece;
	size_t bytes, data_len;

	s->formatted = true;
	s->cut = sse_cut(r, format.kind, &bytes);
	if (s->cut < r->end && sse_must_flush(r, s->cut)) {
		s->cut = r->end;
		bytes = r->data.len;
	}
	if (s->cut == r->from)
		return;
	piece = sse_piece(r, bytes);
	bytes_reset(out);
	sse_begin(&format, out);
	sse_feed(&format, out, &piece);
	sse_end(&format, out);
	data_len = out->len;
	control.position = c->p->dialect->positions;
	control.spaced = c->p->dialect->spaced;
	control.offset = control.position ? c->r.pos + bytes : s->cut;
	s->bytes = bytes;
	control.cursor = cursor_interval(streams_wall(c->p));
	control.up_to_date = (r->flags & SLUICE_R_UP_TO_DATE) && s->cut == r->end;
	control.closed = sse_reports_closed(r);
	sse_control(out, &control);
	if (!out->failed) {
		s->event = c->p->host->buf_new(c->p->ctx, bytes_slice(out));
		s->data = c->p->host->buf_new(c->p->ctx, SLICE(out->data, data_len));
	}
	s->failed = !s->event || !s->data;
	bytes_reset(out);
}

void shared_fini(struct streams *p, struct shared *s)
{
	if (s->body)
		p->host->buf_unref(s->body);
	if (s->event)
		p->host->buf_unref(s->event);
	if (s->data)
		p->host->buf_unref(s->data);
}

static void sse_serve_event(struct call *c, struct shared *s)
{
	const struct sluice_http *http = c->p->http;
	bool own = cursor_own(&c->r.cursor, streams_wall(c->p)), closed = sse_reports_closed(s->r);
	struct bytes *out = &c->p->scratch;

	c->r.offset = s->cut;
	c->r.pos += s->bytes;
	c->r.seen = s->r->end;
	c->r.greeted = true;
	c->r.idle_at = streams_now(c->p) + c->r.idle_ms;
	++*c->p->count.events;
	if (http->write_buf(c->http, own ? s->data : s->event) < 0) {
		call_cut(c);
		return;
	}
	if (own) {
		bytes_reset(out);
		sse_add_control(c, out, (s->r->flags & SLUICE_R_UP_TO_DATE) && s->cut == s->r->end, closed);
		if (!sse_write(c, out))
			return;
	}
	if (closed)
		call_end(c);
}

void sse_serve(struct call *c, struct shared *s)
{
	if (s->r->end == s->r->from) {
		if (s->r->flags & SLUICE_R_CLOSED) {
			hub_unpark(c);
			sse_say(c, true, true);
		}
		return;
	}
	/* The slow pull for themselves, and so does who has an event open or needs more than one step. */
	if (c->r.format.open || !s->whole || c->p->http->pending(c->http) > SSE_LAG) {
		hub_unpark(c);
		sse_look(c);
		return;
	}
	if (!s->formatted)
		shared_format(c, s);
	if (s->failed) {
		hub_unpark(c);
		sse_look(c);
	} else if (s->cut == s->r->from) {
		c->r.seen = s->r->end;
	} else {
		sse_serve_event(c, s);
	}
}

/* ---- the connection ---- */

void sse_finish(struct call *c)
{
	c->r.expiring = c->r.flush = true;
	hub_unpark(c);
	if (c->r.seen > c->r.offset && !c->r.format.open)
		sse_look(c);
	else
		sse_say(c, !hub_behind(c), false);
}

static void sse_idle(struct call *c, uint64_t now)
{
	struct bytes *out = &c->p->scratch;

	c->r.idle_at = now + c->r.idle_ms;
	/* Not into an open event, and not to a client that takes nothing. */
	if (!c->r.parked || c->r.format.open || c->p->http->pending(c->http) > 0)
		return;
	bytes_reset(out);
	if (c->p->dialect->comments)
		BYTES_LIT(out, ": keepalive\n\n");
	else
		sse_add_control(c, out, c->r.seen == c->r.offset && !hub_behind(c), false);
	sse_write(c, out);
}

static void sse_arm(struct call *c)
{
	streams_timer_set(c->p, &c->timer, c->r.idle_at < c->r.end_at ? c->r.idle_at : c->r.end_at);
}

void sse_timer(struct call *c, uint64_t now)
{
	if (now >= c->r.end_at) {
		if (c->r.parked)
			sse_finish(c);
		else
			c->r.expiring = c->r.flush = true;
		return;
	}
	sse_arm(c);
	if (now >= c->r.idle_at)
		sse_idle(c, now);
}

static int sse_respond(struct call *c, const struct sluice_read_result *r)
{
	const char *cache = c->p->dialect->sse_cache;
	struct answer a;

	answer_init(&a);
	PUT(&a, "content-type", STR("text/event-stream"));
	PUT(&a, "cache-control", SLICE(cache, strlen(cache)));
	answer_earliest(c, &a, r->earliest_pos);
	PUT(&a, "x-accel-buffering", STR("no"));
	c->r.format.kind = media_kind(r->content_type);
	c->r.format.joined = c->p->dialect->base64_joined;
	c->r.format.spaced = c->p->dialect->spaced;
	if (c->r.format.kind == MEDIA_BINARY)
		PUT(&a, "stream-sse-data-encoding", STR("base64"));
	c->started = true;
	return c->p->http->respond(c->http, 200, a.header, a.n, -1);
}

void sse_first(struct call *c, const struct sluice_read_result *r)
{
	struct streams *p = c->p;
	uint64_t now = streams_now(p);
	int err = hub_join(c);

	if (err < 0) {
		answer_trouble(c, err, NULL);
		return;
	}
	if (sse_respond(c, r) < 0) {
		call_cut(c);
		return;
	}
	++*p->count.reads;
	c->r.incarnation = r->incarnation;
	c->r.offset = c->r.seen = r->from;
	/* Spread by a fifth, so that a fleet of readers does not come back in step. */
	c->r.end_at = p->sse_ms ? now + p->sse_ms * 4 / 5 + streams_random(p) % (p->sse_ms * 2 / 5 + 1) : UINT64_MAX;
	c->r.idle_ms = 15000 + (p->dialect->comments ? 0 : streams_random(p) % 10000);
	c->r.idle_at = now + c->r.idle_ms;
	sse_arm(c);
	sse_take(c, r);
}
