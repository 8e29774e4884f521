/*
 * body.c - the body of a request on its way in: collected into a payload, or handed to the plugin piece by piece.
 * Worker process.
 *
 * What cannot go on (no body memory, the plugin said EAGAIN) waits in r->pend, and its connection is not read
 * (HTTP/1.1) or its window not opened (HTTP/2) until it has gone: pend never holds more than one read or one window.
 */
#include "frontend/http/engine.h"

static bool body_refuse(struct sluice_http_req *r, int e)
{
	if (e == SLUICE_EFULL)
		req_error(r, 507, "There is no space to keep the body.");
	else
		req_error(r, 503, "There is no memory to keep the body.");
	return false;
}

/* The budget is counted all the same; only its limit does not hold for the one body that is let through. */
static int body_add(struct sluice_http_req *r, sl_slice s)
{
	struct payload_budget *budget = r->engine->budget;
	uint64_t max = budget->max;
	int e;

	if (r->engine->overdraft == r)
		budget->max = UINT64_MAX;
	e = payload_add(r->payload, s);
	budget->max = max;
	return e;
}

/* 0: taken; EAGAIN: must wait; other errors are final. */
static int body_collect(struct sluice_http_req *r, sl_slice s)
{
	int e;

	if (s.len == 0)
		return 0;
	if (!r->payload)
		r->payload = payload_new(r->engine->budget);
	if (!r->payload)
		return SLUICE_ENOMEM;
	e = body_add(r, s);
	if (e == SLUICE_EBUSY) {
		engine_wait(r, true);
		return SLUICE_EAGAIN;
	}
	engine_wait(r, false);
	if (!e)
		r->large = payload_fd(r->payload) >= 0;
	return e;
}

static int body_hand(struct sluice_http_req *r, sl_slice s, bool last)
{
	int e;

	if (!r->route->pub.body)
		return 0;
	e = r->route->pub.body(r->mount->ctx->self, r, s, last);
	if (e == SLUICE_EAGAIN) {
		r->paused = true;
		return e;
	}
	return 0; /* other results mean nothing: a plugin that wants to refuse answers */
}

static bool body_collects(const struct sluice_http_req *r)
{
	return r->route && (r->route->pub.flags & SLUICE_RT_COLLECT);
}

static int body_pass(struct sluice_http_req *r, sl_slice s)
{
	return body_collects(r) ? body_collect(r, s) : body_hand(r, s, false);
}

bool body_take(struct sluice_http_req *r, sl_slice s)
{
	int e;

	r->body_bytes += s.len;
	if (r->ended || r->lost) {
		r->proto->consumed(r, s.len);
		return true;
	}
	if (r->body_bytes > r->max_body) {
		req_error(r, 413, "The body is larger than allowed.");
		r->proto->consumed(r, s.len);
		return false;
	}
	if (r->pend.len > 0 || r->paused)
		e = SLUICE_EAGAIN;
	else
		e = body_pass(r, s);
	if (e == SLUICE_EAGAIN) {
		if (sl_buf_add(&r->pend, s.data, s.len) == 0)
			return true;
		e = SLUICE_ENOMEM;
	}
	r->proto->consumed(r, s.len);
	return e ? body_refuse(r, e) : true;
}

/* Everything has arrived and nothing waits. */
static void body_finish(struct sluice_http_req *r)
{
	if (!r->body_end || r->body_done || r->pend.len > 0 || r->paused || r->lost)
		return;
	if (!body_collects(r) && !r->ended && body_hand(r, SL_STR(""), true) == SLUICE_EAGAIN)
		return;
	r->body_done = true;
	engine_wait_over(r);
	if (body_collects(r) && !r->ended)
		req_dispatch(r);
}

void body_last(struct sluice_http_req *r)
{
	r->body_end = true;
	body_finish(r);
	if (r->ended)
		r->proto->changed(r); /* an early answer was waiting for the rest of the body */
}

void body_resume(struct sluice_http_req *r)
{
	sl_slice s = sl_buf_slice(&r->pend);
	int e = 0;

	r->paused = false;
	if (s.len > 0) {
		if (!r->ended && !r->lost)
			e = body_pass(r, s);
		if (e == SLUICE_EAGAIN)
			return;
		sl_buf_fini(&r->pend);
		engine_wait(r, false);
		r->proto->consumed(r, s.len);
		if (e) {
			body_refuse(r, e);
			return;
		}
		r->proto->changed(r); /* it is the client's turn again: timed as before */
	}
	body_finish(r);
}

void body_fini(struct sluice_http_req *r)
{
	engine_wait(r, false);
	engine_wait_over(r);
	sl_buf_fini(&r->pend);
	payload_free(r->payload);
	r->payload = NULL;
}
