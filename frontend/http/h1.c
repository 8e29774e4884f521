/*
 * h1.c - HTTP/1.1 on its way in: heads, bodies, pipelining, handing over upgrades. Worker process.
 *
 * A connection is a sequence of heads and bodies. Input is taken only while it may be acted upon: not while a body
 * waits for memory or for the plugin, not behind a live answer, a large body or too many unanswered requests. What
 * was read too far stays in c->in, and reading stops when that grows.
 */
#include "frontend/http/h1.h"

#include <unistd.h>

static void h1_changed(struct sluice_http_req *r)
{
	if (r->conn)
		conn_dirty(r->conn);
}

static void h1_reset(struct sluice_http_req *r)
{
	r->was_reset = true;
	if (r->conn)
		conn_dirty(r->conn);
}

static void h1_consumed(struct sluice_http_req *r, size_t n)
{
	(void)n;
	if (r->conn && r->conn->blocked)
		conn_resume(r->conn);
}

/* The request whose body is on its way. */
static struct sluice_http_req *h1_current(struct http_conn *c)
{
	return TAILQ_LAST(&c->reqs, req_list);
}

/* A head that cannot be served: its answer waits for its turn, nothing behind it is read. */
static void h1_bad(struct http_conn *c, int status, const char *why)
{
	struct sluice_http_req *r = req_new(c);

	c->h1_state = H1_STOP;
	if (!r) {
		conn_kill(c);
		return;
	}
	r->bad_head = true;
	r->close = true;
	req_error(r, status, why);
}

/* ---- pipelining ---- */

/* May the next request be looked at, or does it wait for the last one's answer? Answers that were given at once leave
 * no request behind, only bytes: a client that asks and does not read is held back by those. */
static bool h1_may_begin(struct http_conn *c)
{
	struct sluice_http_req *r, *last = h1_current(c);
	size_t queued = c->out.bytes;

	if (queued >= OUT_HIGH) {
		c->resume_below = OUT_LOW;
		return false;
	}
	if (!last)
		return true;
	if (c->n_reqs >= PIPELINE_MAX || c->closing || (last->http10 && !last->ended))
		return false;
	if (!last->ended && (last->large || last->responded || !(last->route->pub.flags & SLUICE_RT_COLLECT)))
		return false;
	TAILQ_FOREACH(r, &c->reqs, link)
	queued += r->out.bytes;
	return queued < OUT_HIGH;
}

/* Nothing that follows will be answered, so nothing that follows may be acted upon. */
static bool h1_is_last(struct http_conn *c)
{
	struct sluice_http_req *last = h1_current(c);

	return last && (last->close || !last->keep_alive);
}

/* ---- heads ---- */

static int h1_copy_headers(struct sluice_http_req *r, const struct h1_head *head)
{
	r->header = req_alloc(r, (head->n_header + 1) * sizeof *r->header);
	if (!r->header)
		return SLUICE_ENOMEM;
	memcpy(r->header, head->header, head->n_header * sizeof *r->header);
	r->n_header = head->n_header;
	return 0;
}

/* Nothing that follows on the connection is looked at. */
static void h1_stop(struct http_conn *c, struct sluice_http_req *r)
{
	c->h1_state = H1_STOP;
	r->bad_head = true;
	r->close = true;
}

static void h1_refuse(struct http_conn *c, struct sluice_http_req *r, int status, const char *why)
{
	h1_stop(c, r);
	req_error(r, status, why);
}

/* What a refused upgrade is answered with; see struct http_hooks. */
static int h1_upgrade_status(int e, const char **why)
{
	switch (e) {
	case SLUICE_EDENIED:
		*why = "You are not allowed to open this WebSocket.";
		return 403;
	case SLUICE_EINVAL:
		*why = "The WebSocket handshake is malformed.";
		return 400;
	case SLUICE_ENOTSUP:
		*why = "Only version 13 of the WebSocket protocol is spoken.";
		return 426;
	default:
		*why = "The connection could not be handed over.";
		return 503;
	}
}

/* To the engine of WebSockets: the connection's socket, or one end of the pair whose other end is given here. */
static void h1_handed_over(struct http_conn *c, int relay)
{
	c->h1_state = H1_STOP; /* what else was read went with it */
	if (relay >= 0)
		relay_begin(c, relay);
	else
		conn_forget(c);
}

/* 1: handed over. 0: no such endpoint. -1: refused, the answer is queued. Otherwise an HTTP status. */
static int h1_upgrade(struct http_conn *c, struct sluice_http_req *r, sl_slice raw, const char **why)
{
	const struct http_hooks *h = &c->engine->hooks;
	struct auth_verdict refusal = {0};
	struct http_upgrade u = {.peer = c->fd,
	                         .raw = raw,
	                         .target = r->target.raw,
	                         .query = r->target.query,
	                         .header = r->header,
	                         .n_header = r->n_header,
	                         .client = conn_client(c),
	                         .refusal = &refusal};
	uint8_t *path = req_alloc(r, r->target.raw.len + 1);
	int pair[2];
	size_t n;
	int e;

	if (!path || r->target.raw.len > c->engine->limits.path_bytes)
		return 0;
	e = target_decode(r->target.raw, path, &n, why);
	if (e)
		return e;
	u.path = SL_SLICE(path, n);
	r->mount = mount_find(c->engine, u.path); /* for the headers of a refusal */
	e = req_place(r, why);
	if (e)
		return e;
	if (relay_pair(c, pair))
		return h1_upgrade_status(SLUICE_EBUSY, why);
	u.fd = pair[0];
	e = h->upgrade(h->arg, &u);
	if (e == 0) {
		h1_handed_over(c, pair[1]);
		return 1;
	}
	if (pair[1] >= 0) {
		close(pair[0]);
		close(pair[1]);
	}
	if (e == SLUICE_ENOENT)
		return 0;
	if (refusal.status) {
		h1_stop(c, r);
		req_refuse(r, &refusal);
		return -1;
	}
	return h1_upgrade_status(e, why);
}

static void h1_frame_body(struct http_conn *c, const struct h1_head *head)
{
	c->body_left = head->length;
	c->chunk = (struct chunk_dec){0};
	if (head->chunked)
		c->h1_state = H1_CHUNKED;
	else if (head->length > 0)
		c->h1_state = H1_LENGTH;
}

/* Fills a request in from a complete head; 0 or an HTTP status. */
static int h1_fill(struct sluice_http_req *r, const uint8_t *p, size_t n, struct h1_head *head, const char **why)
{
	uint8_t *copy = req_alloc(r, n);
	int e;

	*why = "There is no memory for the request.";
	if (!copy)
		return 503;
	memcpy(copy, p, n);
	e = h1_parse_head(copy, n, head, why);
	if (!e)
		e = h1_head_check(head, why);
	if (!e)
		e = target_split(head->target, &r->target, why);
	r->http10 = head->major == 1 && head->minor == 0;
	r->method = head->method;
	r->is_head = sl_slice_is(head->method, "HEAD");
	if (e)
		return e;
	r->keep_alive = head->keep_alive;
	r->expect = head->expect_continue;
	r->authority = r->target.authority.data ? r->target.authority : head->host;
	if (h1_copy_headers(r, head)) {
		*why = "There is no memory for the request.";
		return 503;
	}
	return 0;
}

/* One complete head at p[0..n), with everything read so far ending at p + total. */
static void h1_begin(struct http_conn *c, const uint8_t *p, size_t n, size_t total)
{
	struct sluice_header headers[HEADERS_MAX];
	struct h1_head head = {.header = headers};
	struct sluice_http_req *r = req_new(c);
	const char *why = "";
	int e;

	if (!r) {
		conn_kill(c);
		return;
	}
	e = h1_fill(r, p, n, &head, &why);
	if (!e && head.upgrade_websocket && c->engine->hooks.upgrade && !c->refuse && !c->busy &&
	    !c->engine->draining) {
		e = h1_upgrade(c, r, SL_SLICE(p, total), &why);
		if (e == 1 || e == -1)
			return;
	}
	if (e) {
		h1_refuse(c, r, e, why);
		return;
	}
	h1_frame_body(c, &head);
	if (req_begin(r, head.length, head.has_length, c->h1_state != H1_HEAD) && total == n)
		h1_continue(r);
	if (c->dead)
		return;
	if (c->h1_state == H1_HEAD)
		body_last(r);
	else if (r->ended && r->close)
		c->h1_state = H1_STOP;
}

/* An upgrade needs the connection for itself: requests before it are answered first, to the last byte. */
static bool h1_upgrade_waits(struct http_conn *c, const uint8_t *p, size_t n)
{
	if ((TAILQ_EMPTY(&c->reqs) && c->out.bytes == 0) || !h1_head_mentions(p, n, "upgrade:"))
		return false;
	if (c->out.bytes > 0)
		c->resume_below = 1;
	return true;
}

/* ---- input ---- */

/* Each returns how many bytes it used; 0 with bytes left means that input has to wait. */
static size_t h1_take_head(struct http_conn *c, const uint8_t *p, size_t n)
{
	size_t skip = 0;
	const char *why = "";
	ssize_t len;

	while (c->scan == 0 && skip < n && (p[skip] == '\r' || p[skip] == '\n') && skip < 4)
		skip++; /* RFC 9112 2.2: empty lines before a request are ignored */
	if (skip)
		return skip;
	if (h1_is_last(c)) {
		c->h1_state = H1_STOP;
		return n;
	}
	if (!h1_may_begin(c)) {
		c->blocked = true;
		return 0;
	}
	len = h1_head_scan(p, n, &c->scan, c->engine->limits.header_bytes, &why);
	if (len == 0)
		return 0;
	if (len > 0 && h1_upgrade_waits(c, p, (size_t)len)) {
		c->blocked = true;
		return 0;
	}
	c->scan = 0;
	if (len < 0) {
		h1_bad(c, (int)-len, why);
		return n;
	}
	h1_begin(c, p, (size_t)len, n);
	return (size_t)len;
}

static void h1_body_end(struct http_conn *c, struct sluice_http_req *r)
{
	c->h1_state = H1_HEAD;
	r->expect = false;
	body_last(r);
}

static void h1_body_refused(struct http_conn *c, struct sluice_http_req *r)
{
	if (r->close || r->was_reset)
		c->h1_state = H1_STOP;
}

static size_t h1_take_length(struct http_conn *c, const uint8_t *p, size_t n)
{
	struct sluice_http_req *r = h1_current(c);
	size_t k = n < c->body_left ? n : (size_t)c->body_left;

	if (body_blocked(r) || r->paused) {
		c->blocked = true;
		return 0;
	}
	r->expect = false;
	c->body_left -= k;
	if (!body_take(r, SL_SLICE(p, k)))
		h1_body_refused(c, r);
	if (c->body_left == 0 && c->h1_state == H1_LENGTH)
		h1_body_end(c, r);
	return k;
}

static size_t h1_take_chunked(struct http_conn *c, const uint8_t *p, size_t n)
{
	struct sluice_http_req *r = h1_current(c);
	sl_slice piece;
	size_t used = 0;

	if (body_blocked(r) || r->paused) {
		c->blocked = true;
		return 0;
	}
	r->expect = false;
	switch (chunk_feed(&c->chunk, p, n, &used, &piece)) {
	case CHUNK_DATA:
		if (!body_take(r, piece))
			h1_body_refused(c, r);
		break;
	case CHUNK_END:
		h1_body_end(c, r);
		break;
	case CHUNK_MORE:
		break;
	default:
		c->h1_state = H1_STOP;
		r->close = true;
		if (r->ended)
			body_last(r);
		else
			req_error(r, 400, "The chunked body is malformed.");
		break;
	}
	return used;
}

static size_t h1_consume(struct http_conn *c, const uint8_t *p, size_t n)
{
	size_t used = 0;

	c->blocked = false;
	while (used < n && !c->dead) {
		size_t k = 0;

		switch (c->h1_state) {
		case H1_HEAD:
			k = h1_take_head(c, p + used, n - used);
			break;
		case H1_LENGTH:
			k = h1_take_length(c, p + used, n - used);
			break;
		case H1_CHUNKED:
			k = h1_take_chunked(c, p + used, n - used);
			break;
		case H1_STOP:
			return n;
		}
		if (k == 0)
			break;
		used += k;
	}
	return used;
}

static void h1_input(struct http_conn *c, const uint8_t *p, size_t n)
{
	bool direct = c->in.len == 0;
	size_t used;

	if (!direct) {
		if (conn_keep(c, p, n)) {
			conn_kill(c);
			return;
		}
		p = c->in.data + c->in.off;
		n = c->in.len;
	}
	used = h1_consume(c, p, n);
	if (c->dead)
		return;
	if (!direct) {
		sl_buf_drain(&c->in, used);
		sl_buf_shrink(&c->in);
	} else if (used < n && conn_keep(c, p + used, n - used)) {
		conn_kill(c);
		return;
	}
	if (c->blocked && c->in.len >= IN_MAX)
		conn_want_read(c, false);
}

static void h1_on_resume(struct http_conn *c)
{
	size_t used;

	if (!c->blocked || c->closing)
		return;
	c->blocked = false;
	if (c->in.len > 0) {
		used = h1_consume(c, c->in.data + c->in.off, c->in.len);
		if (c->dead)
			return;
		sl_buf_drain(&c->in, used);
		sl_buf_shrink(&c->in);
	}
	if (!c->blocked || c->in.len < IN_MAX)
		conn_want_read(c, true);
	c->proto->retime(c, true);
}

/* ---- the client leaves, or takes too long ---- */

static bool h1_body_missing(struct http_conn *c)
{
	return (c->h1_state == H1_LENGTH || c->h1_state == H1_CHUNKED) && !h1_current(c)->body_end;
}

/* A half-closed client may still want its answers (RFC 9112 9.6); a live one would never end: that client has left. */
static void h1_eof(struct http_conn *c)
{
	struct sluice_http_req *r;

	if (h1_body_missing(c)) {
		req_lose(h1_current(c));
		c->h1_state = H1_STOP;
	}
	TAILQ_FOREACH(r, &c->reqs, link)
	if (r->responded && !r->ended && r->length < 0) {
		conn_kill(c);
		return;
	}
	if (TAILQ_EMPTY(&c->reqs) && c->out.bytes == 0 && !c->blocked) {
		conn_kill(c);
		return;
	}
	timer_enter(c->engine, &c->timer, T_EOF, true);
	conn_dirty(c);
}

static void h1_retime(struct http_conn *c, bool progress)
{
	enum timer_class cls = T_NONE;
	bool refresh = progress;

	if (c->lingering)
		return;
	if (c->eof) {
		timer_enter(c->engine, &c->timer, T_EOF, false);
		return;
	}
	if (h1_body_missing(c)) {
		struct sluice_http_req *r = h1_current(c);

		/* A body that trickles is not progress; but whatever a plugin got that takes pieces is. */
		cls = r->paused ? T_NONE : T_BODY;
		refresh |= r->body_bytes - c->body_mark >= body_least(c->engine) ||
		           (r->held && r->body_bytes != c->body_mark);
		if (refresh || c->timer.cls != T_BODY)
			c->body_mark = r->body_bytes;
	} else if (TAILQ_EMPTY(&c->reqs)) {
		/* Empty lines are swallowed and are no progress: only an answer that went out is. */
		cls = c->in.len > 0 ? T_HEADER : T_IDLE;
	}
	timer_enter(c->engine, &c->timer, cls, refresh);
}

static void h1_timeout(struct http_conn *c, enum timer_class cls)
{
	struct sluice_http_req *r = h1_current(c);

	if (cls == T_BODY && r && !r->body_end) {
		bool ours = r->body_wait;

		r->close = true;
		c->h1_state = H1_STOP;
		if (r->ended)
			conn_kill(c); /* answered early, but the rest never came */
		else
			req_error(r, ours ? 503 : 408,
			          ours ? "There is no memory for the body at the moment."
			               : "The body did not arrive in time.");
	} else if (cls == T_HEADER && c->in.len > 0) {
		h1_bad(c, 408, "The request did not arrive in time.");
	} else {
		conn_kill(c);
	}
}

const struct http_proto h1_proto = {
	.h2 = false,
	.input = h1_input,
	.eof = h1_eof,
	.flush = h1_flush,
	.resume = h1_on_resume,
	.retime = h1_retime,
	.timeout = h1_timeout,
	.respond = h1_respond,
	.frame = h1_frame,
	.frame_shared = h1_frame_shared,
	.changed = h1_changed,
	.reset = h1_reset,
	.consumed = h1_consumed,
};
