/*
 * request.c - the life of a request: admission, dispatch, work at the end of the turn, its end. Worker process.
 *
 * A request is freed when it stands in no list, none of its bytes is queued and the plugin holds no handle:
 * req_free_if_done() is called wherever one of these ends.
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- memory ---- */

struct sluice_http_req *req_new(struct http_conn *c)
{
	struct http_engine *e = c->engine;
	struct sluice_http_req *r = e->free_reqs;

	if (r) {
		e->free_reqs = *(void **)e->free_reqs;
		e->n_free_reqs--;
	} else {
		r = malloc(REQ_SIZE);
	}
	if (!r)
		return NULL;
	memset(r, 0, sizeof *r);
	r->magic = REQ_MAGIC;
	r->engine = e;
	r->conn = c;
	r->proto = c->proto;
	r->arena = (uint8_t *)(r + 1);
	r->arena_end = (uint8_t *)r + REQ_SIZE;
	r->length = -1;
	TAILQ_INSERT_TAIL(&c->reqs, r, link);
	c->n_reqs++;
	r->listed = true;
	return r;
}

void *req_alloc(struct sluice_http_req *r, size_t n)
{
	struct arena_more *more;
	size_t size;
	uint8_t *p = r->arena;

	if (n > SIZE_MAX / 4)
		return NULL;
	n = (n + 7) & ~(size_t)7;
	if ((size_t)(r->arena_end - p) >= n) {
		r->arena += n;
		return p;
	}
	size = n > 1024 ? n : 1024;
	more = malloc(sizeof *more + size);
	if (!more)
		return NULL;
	more->next = r->more;
	r->more = more;
	p = (uint8_t *)(more + 1);
	if (size - n > (size_t)(r->arena_end - r->arena)) {
		r->arena = p + n;
		r->arena_end = p + size;
	}
	return p;
}

void req_free_if_done(struct sluice_http_req *r)
{
	struct http_engine *e = r->engine;
	struct arena_more *more;

	if (r->listed || r->queued || r->busy || r->held || r->inflight)
		return;
	assert(r->magic == REQ_MAGIC);
	body_fini(r);
	req_release(r);
	gzip_free(e, r->gzip);
	timer_enter(e, &r->timer, T_NONE, true);
	out_clear(e, &r->out);
	while ((more = r->more)) {
		r->more = more->next;
		free(more);
	}
	r->magic = 0;
	if (e->n_free_reqs >= FREE_MAX || e->freeing) {
		free(r);
		return;
	}
	*(void **)r = e->free_reqs;
	e->free_reqs = r;
	e->n_free_reqs++;
}

void req_unlist(struct sluice_http_req *r)
{
	if (!r->listed)
		return;
	req_feed(r, false);
	TAILQ_REMOVE(&r->conn->reqs, r, link);
	r->conn->n_reqs--;
	r->listed = false;
	r->conn = NULL;
	req_expire_not(r);
	timer_enter(r->engine, &r->timer, T_NONE, true);
	req_free_if_done(r);
}

void req_lose(struct sluice_http_req *r)
{
	r->lost = true;
	engine_wait(r, false);
	engine_wait_over(r);
	out_clear(r->engine, &r->out);
	if (r->held)
		req_work(r, WORK_GONE);
	req_unlist(r);
}

/* ---- work at the end of the turn ---- */

void req_work(struct sluice_http_req *r, unsigned work)
{
	r->work |= (uint8_t)work;
	if (r->queued)
		return;
	r->queued = true;
	TAILQ_INSERT_TAIL(&r->engine->work, r, work_link);
	engine_schedule_again(r->engine);
}

static bool req_has_turn(const struct sluice_http_req *r)
{
	return r->conn && (r->proto->h2 || TAILQ_FIRST(&r->conn->reqs) == r);
}

static size_t req_pending(const struct sluice_http_req *r)
{
	return r->out.bytes + r->inflight + gzip_pending(r);
}

void req_feed(struct sluice_http_req *r, bool on)
{
	if (on == r->fed || !r->conn)
		return;
	r->fed = on;
	r->conn->n_fed += on ? 1 : -1u;
}

/* How far its queue is filled. The answers of one connection share what they may hold: a client with a thousand streams
 * and closed windows must not cost a thousand full queues. Parked ones do not count. */
static size_t req_high(const struct sluice_http_req *r)
{
	size_t share;

	if (!r->conn || !r->proto->h2 || r->conn->n_fed <= OUT_CONN / OUT_HIGH)
		return OUT_HIGH;
	share = OUT_CONN / r->conn->n_fed;
	return share > OUT_SHARE ? share : OUT_SHARE;
}

static size_t req_low(const struct sluice_http_req *r)
{
	return req_high(r) / 3; /* OUT_LOW of OUT_HIGH */
}

static void req_pull(struct sluice_http_req *r)
{
	size_t pending = req_pending(r);

	if (!r->pullable || !r->held || r->lost || !req_has_turn(r) || pending >= req_low(r))
		return;
	r->pullable = false;
	if (pending == 0)
		req_feed(r, false);
	if (r->route->pub.pull)
		r->route->pub.pull(r->mount->ctx->self, r, r->gzip ? GZIP_TURN : req_high(r) - pending);
}

void req_want_pull(struct sluice_http_req *r)
{
	if (r->pullable && r->held && !r->lost && req_pending(r) < req_low(r))
		req_work(r, WORK_PULL);
}

static void req_gone(struct sluice_http_req *r)
{
	if (!r->held)
		return;
	if (r->route->pub.gone)
		r->route->pub.gone(r->mount->ctx->self, r);
	r->held = false;
}

void req_do_work(struct sluice_http_req *r)
{
	unsigned work = r->work;

	assert(r->magic == REQ_MAGIC);
	r->work = 0;
	r->queued = false;
	r->busy = true;
	if (work & WORK_GONE)
		req_gone(r);
	if ((work & WORK_GZIP) && r->conn)
		gzip_step(r);
	if ((work & WORK_BODY) && r->conn)
		body_resume(r);
	if ((work & WORK_EXPIRE) && r->conn)
		req_expire(r);
	if ((work & WORK_PULL) && r->conn)
		req_pull(r);
	r->busy = false;
	req_free_if_done(r);
}

/* ---- admission ---- */

static int req_decode_path(struct sluice_http_req *r, const char **why)
{
	uint8_t *out;
	size_t n;
	int e;

	/* Until the path is decoded, the part of it that is plain tells whose default headers a refusal gets. */
	r->mount = mount_find(r->engine, r->target.raw);
	if (r->target.raw.len > r->engine->limits.path_bytes) {
		*why = "The path is too long.";
		return 414;
	}
	out = req_alloc(r, r->target.raw.len + 1);
	if (!out) {
		*why = "There is no memory for the request.";
		return 503;
	}
	e = target_decode(r->target.raw, out, &n, why);
	if (e)
		return e;
	r->full_path = SL_SLICE(out, n);
	return 0;
}

static int req_route(struct sluice_http_req *r, uint32_t *allow, const char **why)
{
	struct route_match m;
	const char *p;
	int e = route_find(r->engine, r->full_path, r->method, &m);

	r->mount = m.mount;
	*allow = m.allow;
	if (e) {
		*why = e == 405 ? "The method is not allowed here." : "There is nothing at this path.";
		return e;
	}
	r->route = m.route;
	p = (const char *)r->full_path.data + m.mount->path.len;
	r->path = SL_SLICE(p, r->full_path.len - m.mount->path.len);
	if (r->path.len > 0)
		r->path = SL_SLICE(p + 1, r->path.len - 1);
	r->max_body = r->route->pub.max_body ? r->route->pub.max_body : r->engine->limits.body;
	return 0;
}

static void req_options_asterisk(struct sluice_http_req *r)
{
	static const struct sluice_header allow = {{"allow", 5}, {"GET, HEAD, POST, PUT, DELETE, OPTIONS", 37}};

	r->keep_alive = r->keep_alive && !r->close;
	if (r->proto->respond(r, 204, &allow, 1, 0, true) == 0)
		r->responded = true;
	req_end(r);
}

bool req_begin(struct sluice_http_req *r, uint64_t content_length, bool has_length, bool body)
{
	struct http_engine *e = r->engine;
	const char *why = "";
	uint32_t allow = 0;
	int status;

	if (e->hooks.requests)
		++*e->hooks.requests;
	r->body_end = !body;
	r->max_body = e->limits.body;
	if (r->target.asterisk) {
		if (sl_slice_is(r->method, "OPTIONS"))
			req_options_asterisk(r);
		else
			req_error(r, 400, "Only OPTIONS may ask for '*'.");
		return false;
	}
	status = req_decode_path(r, &why);
	if (!status)
		status = req_place(r, &why);
	if (!status)
		status = req_route(r, &allow, &why);
	if (status == 405) {
		req_error_allow(r, allow);
		return false;
	}
	if (!status && r->conn->refuse) {
		status = 503;
		why = "There are too many connections.";
	}
	if (!status && r->conn->busy) {
		r->close = true;
		req_busy(r);
		return false;
	}
	if (!status && !req_admit(r))
		return false;
	if (!status && has_length && content_length > r->max_body) {
		status = 413;
		why = "The body is larger than allowed.";
	}
	if (status) {
		req_error(r, status, why);
		return false;
	}
	r->begun = true;
	if (!(r->route->pub.flags & SLUICE_RT_COLLECT))
		req_dispatch(r);
	return true;
}

void req_dispatch(struct sluice_http_req *r)
{
	r->held = true;
	r->route->pub.request(r->mount->ctx->self, r);
}

/* ---- the end ---- */

void req_end(struct sluice_http_req *r)
{
	if (r->ended)
		return;
	r->ended = true;
	engine_wait(r, false);
	engine_wait_over(r);
	r->paused = false;
	if (r->pend.len > 0)
		req_work(r, WORK_BODY); /* what waits is dropped there, and the window opened */
	r->proto->changed(r);
}

/* The plugin's part is over although it did not say so. */
static void req_abandon(struct sluice_http_req *r)
{
	r->lost = true;
	if (r->held)
		req_work(r, WORK_GONE);
}

void req_reset(struct sluice_http_req *r)
{
	req_abandon(r);
	r->proto->reset(r);
}

void req_error_with(struct sluice_http_req *r, int status, const char *why, const struct sluice_header *extra, size_t n)
{
	char text[ERROR_BODY];
	struct sluice_header h[4] = {
		{SL_STR("content-type"), SL_STR("")},
		{SL_STR("cache-control"), SL_STR("no-store")},
	};
	size_t count = 2;
	sl_slice body = mount_error(r->mount, status, why, text, &h[0].value);

	if (r->ended)
		return;
	req_abandon(r);
	if (r->responded) {
		r->proto->reset(r);
		return;
	}
	for (size_t i = 0; i < n && count < 4; i++)
		h[count++] = extra[i];
	r->no_body = r->is_head;
	r->responded = true;
	r->status = (uint16_t)status;
	gzip_free(r->engine, r->gzip);
	r->gzip = NULL;
	if (r->engine->hooks.answers_5xx && status >= 500)
		++*r->engine->hooks.answers_5xx;
	if (r->proto->respond(r, status, h, count, (int64_t)body.len, r->no_body) ||
	    (!r->no_body && r->proto->frame(r, body))) {
		r->proto->reset(r);
		return;
	}
	req_end(r);
}

void req_error(struct sluice_http_req *r, int status, const char *why)
{
	static const struct sluice_header retry = {{"retry-after", 11}, {"1", 1}};
	static const struct sluice_header version = {{"sec-websocket-version", 21}, {"13", 2}}; /* RFC 6455 4.4 */

	if (status == 503)
		req_error_with(r, status, why, &retry, 1);
	else if (status == 426)
		req_error_with(r, status, why, &version, 1);
	else
		req_error_with(r, status, why, NULL, 0);
}

void req_error_allow(struct sluice_http_req *r, uint32_t methods)
{
	char text[128];
	int n = route_allow(methods, text, sizeof text);
	struct sluice_header allow = {SL_STR("allow"), SL_SLICE(text, (size_t)n)};

	req_error_with(r, 405, "The method is not allowed here.", &allow, 1);
}
