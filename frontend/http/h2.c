/*
 * h2.c - HTTP/2 on its way in: the nghttp2 session, streams to requests, limits against floods. Worker process.
 *
 * Requests are made and answered inside nghttp2's callbacks; that is sound because the calls of the ABI only submit
 * and mark, and session_send() runs at the end of the turn alone. A window opens only as a body is taken, so a
 * payload that may not grow and a plugin that says EAGAIN reach the client.
 */
#include "frontend/http/h2.h"

#include <assert.h>
#include <stdlib.h>

static struct sluice_http_req *h2_req(nghttp2_session *s, int32_t id)
{
	struct sluice_http_req *r = nghttp2_session_get_stream_user_data(s, id);

	assert(!r || r->magic == REQ_MAGIC);
	return r;
}

static void h2_consumed(struct sluice_http_req *r, size_t n)
{
	if (!r->conn || n == 0)
		return;
	nghttp2_session_consume(r->conn->h2->session, r->stream_id, n);
	if (r->timer.cls == T_NONE && !r->body_end && !r->ended && !r->lost)
		timer_enter(r->engine, &r->timer, T_STREAM_BODY, true); /* a pause is over */
	conn_dirty(r->conn);
}

/* ---- heads ---- */

static int h2_on_begin_headers(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	struct sluice_http_req *r;

	if (f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	r = req_new(h->conn);
	if (!r)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	r->stream_id = f->hd.stream_id;
	r->keep_alive = true;
	nghttp2_session_set_stream_user_data(s, r->stream_id, r);
	timer_enter(r->engine, &r->timer, T_STREAM_BODY, true);
	return 0;
}

static void h2_add_header(struct sluice_http_req *r, sl_slice name, sl_slice value)
{
	if (r->n_header == r->cap_header) {
		size_t cap = r->cap_header ? r->cap_header * 2 : 8;
		struct sluice_header *more = cap > HEADERS_MAX ? NULL : req_alloc(r, cap * sizeof *more);

		if (!more) {
			r->bad_head = true;
			return;
		}
		if (r->n_header)
			memcpy(more, r->header, r->n_header * sizeof *more);
		r->header = more;
		r->cap_header = cap;
	}
	r->header[r->n_header++] = (struct sluice_header){name, value};
}

static void h2_pseudo(struct sluice_http_req *r, sl_slice name, sl_slice value)
{
	if (sl_slice_is(name, ":method"))
		r->method = value;
	else if (sl_slice_is(name, ":path"))
		r->target.raw = value;
	else if (sl_slice_is(name, ":authority"))
		r->authority = value;
}

static int h2_on_header(nghttp2_session *s, const nghttp2_frame *f, const uint8_t *name, size_t name_len,
                        const uint8_t *value, size_t value_len, uint8_t flags, void *arg)
{
	struct sluice_http_req *r = h2_req(s, f->hd.stream_id);
	uint8_t *copy;

	(void)flags;
	(void)arg;
	/* Trailers are accepted and dropped, as in HTTP/1.1. */
	if (!r || f->hd.type != NGHTTP2_HEADERS || f->headers.cat != NGHTTP2_HCAT_REQUEST)
		return 0;
	r->head_bytes += (uint32_t)(name_len + value_len + 4);
	copy = r->bad_head || r->head_bytes > r->engine->limits.header_bytes ? NULL : req_alloc(r, name_len + value_len + 1);
	if (!copy) {
		r->bad_head = true;
		return 0;
	}
	memcpy(copy, name, name_len);
	memcpy(copy + name_len, value, value_len);
	if (name_len > 0 && name[0] == ':')
		h2_pseudo(r, SL_SLICE(copy, name_len), SL_SLICE(copy + name_len, value_len));
	else
		h2_add_header(r, SL_SLICE(copy, name_len), SL_SLICE(copy + name_len, value_len));
	return 0;
}

/* nghttp2 has checked that it is a number and will check that the body has this length (RFC 9113 8.1.1). */
static uint64_t h2_length(const struct sluice_http_req *r, bool *given)
{
	sl_slice s = req_header(r, "content-length", 0);
	const uint8_t *p = s.data;
	uint64_t v = 0;

	*given = p != NULL;
	for (size_t i = 0; p && i < s.len && i < 18; i++)
		v = v * 10 + (p[i] & 15u);
	return v;
}

static int h2_check(struct sluice_http_req *r, const char **why)
{
	sl_slice expect = req_header(r, "expect", 0);
	int e;

	if (r->bad_head) {
		*why = "The request head is too large.";
		return 431;
	}
	e = target_split(r->target.raw, &r->target, why);
	if (e)
		return e;
	r->expect = expect.data != NULL;
	if (!r->expect || slice_is_nocase(expect, "100-continue"))
		return 0;
	*why = "The expectation is not understood; only 100-continue is.";
	return 417;
}

/* Above the limit of connections every request of this one is refused: its client has to open another. */
static void h2_send_away(struct sluice_http_req *r)
{
	struct h2 *h = r->conn->h2;

	if (h->last_goaway)
		return;
	h->last_goaway = true;
	nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_NO_ERROR, NULL, 0);
}

static void h2_begin(struct sluice_http_req *r, bool end)
{
	const char *why = "";
	bool given;
	uint64_t length;
	int e = h2_check(r, &why);

	r->is_head = sl_slice_is(r->method, "HEAD");
	if (!r->authority.data)
		r->authority = req_header(r, "host", 0);
	if (e) {
		r->body_end = end;
		req_error(r, e, why);
		return;
	}
	if (r->conn->refuse || r->conn->busy)
		h2_send_away(r);
	length = h2_length(r, &given);
	if (req_begin(r, length, given, !end) && !end && r->expect)
		h2_continue(r);
}

static void h2_body_end(struct sluice_http_req *r)
{
	if (r->timer.cls == T_STREAM_BODY)
		timer_enter(r->engine, &r->timer, T_NONE, true);
	body_last(r);
}

/* Frames that carry nothing for us cost something all the same; a client that sends them for their own sake is cut. */
static void h2_noise(struct h2 *h)
{
	uint64_t second = h->conn->engine->now / 1000;

	if (second != h->noise_second) {
		h->noise_second = second;
		h->noise = 0;
	}
	if (++h->noise == H2_NOISE_MAX)
		nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int h2_on_frame_recv(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct h2 *h = arg;
	bool end = f->hd.flags & NGHTTP2_FLAG_END_STREAM;
	struct sluice_http_req *r;

	switch (f->hd.type) {
	case NGHTTP2_HEADERS:
		r = h2_req(s, f->hd.stream_id);
		if (r && f->headers.cat == NGHTTP2_HCAT_REQUEST)
			h2_begin(r, end);
		if (r && end)
			h2_body_end(r);
		return 0;
	case NGHTTP2_DATA:
		r = h2_req(s, f->hd.stream_id);
		if (r && end)
			h2_body_end(r);
		else if (f->hd.length == 0)
			h2_noise(h);
		return 0;
	case NGHTTP2_WINDOW_UPDATE:
		return 0;
	default:
		h2_noise(h);
		return 0;
	}
}

static int h2_on_data(nghttp2_session *s, uint8_t flags, int32_t id, const uint8_t *p, size_t n, void *arg)
{
	struct sluice_http_req *r = h2_req(s, id);

	(void)flags;
	(void)arg;
	if (!r) {
		nghttp2_session_consume(s, id, n);
		return 0;
	}
	r->expect = false;
	r->body_mark += (uint32_t)n;
	if (r->timer.cls == T_NONE ||
	    (r->timer.cls == T_STREAM_BODY && (r->body_mark >= body_least(r->engine) || r->held))) {
		r->body_mark = 0;
		timer_enter(r->engine, &r->timer, T_STREAM_BODY, true);
	}
	body_take(r, SL_SLICE(p, n));
	return 0;
}

/* A request that is cut before its answer has cost us one for nothing and frees its place at once, whether the client
 * resets it or makes us do it by a frame that is a stream error: only so many, whoever sent the reset. */
static void h2_cut(struct h2 *h)
{
	uint64_t second = h->conn->engine->now / 1000, forgiven = (second - h->cut_second) * H2_CUT_RATE;

	h->cut -= forgiven < h->cut ? (uint32_t)forgiven : h->cut;
	h->cut_second = second;
	if (++h->cut == H2_CUT_BURST + h->conn->engine->limits.h2_streams)
		nghttp2_session_terminate_session(h->session, NGHTTP2_ENHANCE_YOUR_CALM);
}

static int h2_on_stream_close(nghttp2_session *s, int32_t id, uint32_t code, void *arg)
{
	struct sluice_http_req *r = h2_req(s, id);

	(void)code;
	if (!r)
		return 0;
	if (!r->ended && !r->was_reset)
		h2_cut(arg);
	nghttp2_session_set_stream_user_data(s, id, NULL);
	h2_consumed(r, r->pend.len); /* the connection's window would never come back otherwise */
	r->h2_closed = true;
	if (r->ended && r->out.bytes == 0)
		req_unlist(r);
	else
		req_lose(r);
	return 0;
}

/* ---- the session ---- */

static int h2_session(struct h2 *h)
{
	nghttp2_session_callbacks *cb = NULL;
	nghttp2_option *opt = NULL;
	int e = -1;

	if (nghttp2_session_callbacks_new(&cb) || nghttp2_option_new(&opt))
		goto out;
	nghttp2_session_callbacks_set_on_begin_headers_callback(cb, h2_on_begin_headers);
	nghttp2_session_callbacks_set_on_header_callback(cb, h2_on_header);
	nghttp2_session_callbacks_set_on_frame_recv_callback(cb, h2_on_frame_recv);
	nghttp2_session_callbacks_set_on_data_chunk_recv_callback(cb, h2_on_data);
	nghttp2_session_callbacks_set_on_stream_close_callback(cb, h2_on_stream_close);
	h2_out_callbacks(cb);
	nghttp2_option_set_no_auto_window_update(opt, 1);
	nghttp2_option_set_no_closed_streams(opt, 1);
	nghttp2_option_set_max_outbound_ack(opt, 500);
	nghttp2_option_set_max_settings(opt, 32);
	nghttp2_option_set_max_continuations(opt, 8);
	nghttp2_option_set_stream_reset_rate_limit(opt, H2_CUT_BURST + h->conn->engine->limits.h2_streams, H2_CUT_RATE);
	e = nghttp2_session_server_new2(&h->session, cb, h, opt);
out:
	nghttp2_session_callbacks_del(cb);
	nghttp2_option_del(opt);
	return e;
}

static int h2_open(struct http_conn *c)
{
	const nghttp2_settings_entry settings[] = {
		{NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS, c->engine->limits.h2_streams},
		{NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, H2_STREAM_WINDOW},
		{NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE, c->engine->limits.header_bytes},
		{NGHTTP2_SETTINGS_NO_RFC7540_PRIORITIES, 1},
	};
	struct h2 *h = calloc(1, sizeof *h);

	if (!h)
		return SLUICE_ENOMEM;
	h->conn = c;
	c->h2 = h;
	if (h2_session(h))
		return SLUICE_ENOMEM;
	if (nghttp2_submit_settings(h->session, NGHTTP2_FLAG_NONE, settings, sizeof settings / sizeof *settings))
		return SLUICE_ENOMEM;
	if (nghttp2_session_set_local_window_size(h->session, NGHTTP2_FLAG_NONE, 0, H2_CONN_WINDOW))
		return SLUICE_ENOMEM;
	return c->engine->draining ? nghttp2_submit_shutdown_notice(h->session) : 0;
}

static void h2_input(struct http_conn *c, const uint8_t *p, size_t n)
{
	ssize_t k;

	if (!c->h2 && h2_open(c)) {
		conn_kill(c);
		return;
	}
	k = nghttp2_session_mem_recv(c->h2->session, p, n);
	if (k < 0 || nghttp2_session_get_outbound_queue_size(c->h2->session) > H2_QUEUE_MAX) {
		conn_kill(c);
		return;
	}
	conn_dirty(c);
}

static void h2_eof(struct http_conn *c)
{
	conn_kill(c);
}

static void h2_resume(struct http_conn *c)
{
	(void)c;
}

static void h2_retime(struct http_conn *c, bool progress)
{
	(void)progress;
	if (TAILQ_EMPTY(&c->reqs))
		timer_enter(c->engine, &c->timer, T_IDLE, true);
	else
		timer_enter(c->engine, &c->timer, T_NONE, false);
}

static void h2_timeout(struct http_conn *c, enum timer_class cls)
{
	if (cls != T_IDLE || c->closing) {
		conn_kill(c);
		return;
	}
	nghttp2_session_terminate_session(c->h2->session, NGHTTP2_NO_ERROR);
	conn_dirty(c);
}

/* First a notice that allows what is already on its way, a sweep later the last word (RFC 9113 6.8). */
static void h2_drain(struct http_conn *c)
{
	struct h2 *h = c->h2;

	if (!h || c->dead)
		return;
	if (!c->drain_noticed) {
		nghttp2_submit_shutdown_notice(h->session);
		c->drain_noticed = true;
	} else if (!h->last_goaway) {
		h->last_goaway = true;
		nghttp2_submit_goaway(h->session, NGHTTP2_FLAG_NONE,
		                      nghttp2_session_get_last_proc_stream_id(h->session), NGHTTP2_NO_ERROR, NULL, 0);
	}
	conn_dirty(c);
}

static void h2_fini(struct http_conn *c)
{
	if (!c->h2)
		return;
	/* nghttp2 1.52 frees an item twice when memory ran out while it was sending: rather lose a session than the worker. */
	if (!c->h2->broken)
		nghttp2_session_del(c->h2->session);
	free(c->h2);
	c->h2 = NULL;
}

const struct http_proto h2_proto = {
	.h2 = true,
	.input = h2_input,
	.eof = h2_eof,
	.flush = h2_flush,
	.resume = h2_resume,
	.retime = h2_retime,
	.timeout = h2_timeout,
	.drain = h2_drain,
	.fini = h2_fini,
	.respond = h2_respond,
	.frame = h2_frame,
	.frame_shared = h2_frame_shared,
	.changed = h2_changed,
	.reset = h2_reset,
	.consumed = h2_consumed,
};
