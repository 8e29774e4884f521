/*
 * h2_out.c - answers in HTTP/2: header lists, DATA frames out of the requests' queues, the end of a turn. Worker
 * process.
 *
 * nghttp2 decides what may be sent; the bytes of DATA frames move from the request's queue to the connection's
 * without a copy (shared ones by reference). What nghttp2 makes ahead of the socket is bounded by H2_OUT_MAX.
 */
#include "frontend/http/h2.h"

static nghttp2_nv nv_of(sl_slice name, sl_slice value, uint8_t flags)
{
	return (nghttp2_nv){.name = (uint8_t *)(uintptr_t)name.data,
	                    .value = (uint8_t *)(uintptr_t)(value.data ? value.data : ""),
	                    .namelen = name.len,
	                    .valuelen = value.len,
	                    .flags = flags};
}

/* What remains of an answer when its time is over for good. */
static bool answer_whole(const struct sluice_http_req *r)
{
	return r->ended && !gzip_busy(r);
}

/* ---- bodies ---- */

static ssize_t h2_read(nghttp2_session *s, int32_t id, uint8_t *buf, size_t max, uint32_t *flags,
                       nghttp2_data_source *source, void *arg)
{
	struct sluice_http_req *r = source->ptr;
	size_t n = r->out.bytes < max ? r->out.bytes : max;

	(void)s;
	(void)id;
	(void)buf;
	(void)arg;
	if (n == 0 && !answer_whole(r)) {
		r->h2_deferred = true;
		return NGHTTP2_ERR_DEFERRED;
	}
	if (n > 0)
		*flags |= NGHTTP2_DATA_FLAG_NO_COPY;
	if (n == r->out.bytes && answer_whole(r))
		*flags |= NGHTTP2_DATA_FLAG_EOF;
	return (ssize_t)n;
}

static int h2_send_data(nghttp2_session *s, nghttp2_frame *f, const uint8_t *head, size_t n,
                        nghttp2_data_source *source, void *arg)
{
	struct sluice_http_req *r = source->ptr;
	struct http_conn *c = ((struct h2 *)arg)->conn;

	(void)s;
	(void)f;
	if (c->out.bytes >= H2_OUT_MAX)
		return NGHTTP2_ERR_WOULDBLOCK;
	/* The frame waited for the socket and its bytes were dropped meanwhile: an announced length that does not come
	 * would break the framing of the connection. nghttp2 drops the frame and resets the stream. */
	if (r->was_reset || r->out.bytes < n)
		return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE;
	if (out_add(c->engine, &c->out, head, 9) || out_move(c->engine, &c->out, &r->out, n, r))
		return NGHTTP2_ERR_CALLBACK_FAILURE;
	if (r->timer.cls == T_STREAM_SEND)
		timer_enter(c->engine, &r->timer, r->out.bytes ? T_STREAM_SEND : T_NONE, true);
	return 0;
}

static ssize_t h2_send(nghttp2_session *s, const uint8_t *p, size_t n, int flags, void *arg)
{
	struct http_conn *c = ((struct h2 *)arg)->conn;

	(void)s;
	(void)flags;
	if (c->out.bytes >= H2_OUT_MAX)
		return NGHTTP2_ERR_WOULDBLOCK;
	return out_add(c->engine, &c->out, p, n) ? NGHTTP2_ERR_CALLBACK_FAILURE : (ssize_t)n;
}

/* The whole answer has gone but the client is still sending: it may stop (RFC 9113 8.1). */
static int h2_on_frame_send(nghttp2_session *s, const nghttp2_frame *f, void *arg)
{
	struct sluice_http_req *r;

	(void)arg;
	if ((f->hd.type != NGHTTP2_HEADERS && f->hd.type != NGHTTP2_DATA) || !(f->hd.flags & NGHTTP2_FLAG_END_STREAM))
		return 0;
	r = nghttp2_session_get_stream_user_data(s, f->hd.stream_id);
	if (r && !r->body_end)
		nghttp2_submit_rst_stream(s, NGHTTP2_FLAG_NONE, f->hd.stream_id, NGHTTP2_NO_ERROR);
	return 0;
}

void h2_out_callbacks(nghttp2_session_callbacks *cb)
{
	nghttp2_session_callbacks_set_send_callback(cb, h2_send);
	nghttp2_session_callbacks_set_send_data_callback(cb, h2_send_data);
	nghttp2_session_callbacks_set_on_frame_send_callback(cb, h2_on_frame_send);
}

int h2_frame(struct sluice_http_req *r, sl_slice s)
{
	return out_add(r->engine, &r->out, s.data, s.len);
}

int h2_frame_shared(struct sluice_http_req *r, struct sluice_buf *b)
{
	return out_add_shared(r->engine, &r->out, b, b->data, b->len);
}

/* ---- heads ---- */

/* What lives as long as the engine is not copied. */
enum {
	NV_NAME = NGHTTP2_NV_FLAG_NO_COPY_NAME,
	NV_OURS = NV_NAME | NGHTTP2_NV_FLAG_NO_COPY_VALUE,
	NV_FEW = 24 /* headers of an answer for which no memory is asked */
};

/* Is a plugin's header worth a place in the client's table (RFC 7541 2.3.2)? Offsets, tags and numbers are others in every answer:
 * they would push out what the mount says in each, and nghttp2 looks through all values of a name that are there. */
static bool header_repeats(sl_slice name)
{
	static const char *const names[] = {"content-type", "cache-control", "vary", "retry-after", "allow"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (sl_slice_is(name, names[i]))
			return true;
	return false;
}

static size_t h2_headers(struct sluice_http_req *r, const struct sluice_header *h, size_t n, nghttp2_nv *nv)
{
	size_t k = 0;

	for (size_t i = 0; i < n; i++)
		if (!header_is_framing(h[i].name))
			nv[k++] = nv_of(h[i].name, h[i].value,
			                header_repeats(h[i].name) ? NGHTTP2_NV_FLAG_NONE : NGHTTP2_NV_FLAG_NO_INDEX);
	for (size_t i = 0; r->mount && i < r->mount->n_defaults; i++)
		if (!header_given(h, n, r->mount->defaults[i].name))
			nv[k++] = nv_of(r->mount->defaults[i].name, r->mount->defaults[i].value, NV_OURS);
	if (!header_given(h, n, SL_STR("date")))
		nv[k++] = nv_of(SL_STR("date"), date_now(r->engine), NV_NAME);
	if (r->gzip)
		nv[k++] = nv_of(SL_STR("content-encoding"), SL_STR("gzip"), NV_OURS);
	return k;
}

int h2_respond(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, int64_t length,
               bool bodyless)
{
	size_t max = n + (r->mount ? r->mount->n_defaults : 0) + 4;
	nghttp2_nv few[NV_FEW], *nv = max <= NV_FEW ? few : req_alloc(r, max * sizeof *nv);
	nghttp2_data_provider body = {.source = {.ptr = r}, .read_callback = h2_read};
	uint8_t code[20], digits[20];
	size_t k = 1;

	if (!nv || !r->conn || r->h2_closed)
		return SLUICE_ENOMEM;
	nv[0] = nv_of(SL_STR(":status"), SL_SLICE(code, (size_t)(put_number(code, (uint64_t)status) - code)), NV_NAME);
	k += h2_headers(r, h, n, nv + 1);
	if (bodyless && length < 0 && !r->is_head)
		length = 0;
	if (status != 204 && status != 304 && length >= 0)
		nv[k++] = nv_of(SL_STR("content-length"),
		                SL_SLICE(digits, (size_t)(put_number(digits, (uint64_t)length) - digits)), NV_NAME);
	if (nghttp2_submit_response(r->conn->h2->session, r->stream_id, nv, k, bodyless ? NULL : &body))
		return SLUICE_ENOMEM;
	conn_dirty(r->conn);
	return 0;
}

void h2_continue(struct sluice_http_req *r)
{
	nghttp2_nv nv = nv_of(SL_STR(":status"), SL_STR("100"), NV_OURS);

	if (r->responded || r->lost)
		return;
	r->expect = false;
	nghttp2_submit_headers(r->conn->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NULL, &nv, 1, NULL);
	conn_dirty(r->conn);
}

/* ---- the end of a turn ---- */

void h2_changed(struct sluice_http_req *r)
{
	if (!r->conn || r->h2_closed)
		return;
	if (r->h2_deferred && (r->out.bytes > 0 || answer_whole(r))) {
		r->h2_deferred = false;
		nghttp2_session_resume_data(r->conn->h2->session, r->stream_id);
	}
	if (r->out.bytes > 0 && r->timer.cls == T_NONE)
		timer_enter(r->engine, &r->timer, T_STREAM_SEND, true);
	conn_dirty(r->conn);
}

void h2_reset(struct sluice_http_req *r)
{
	r->was_reset = true;
	out_clear(r->engine, &r->out);
	if (!r->conn || r->h2_closed)
		return;
	nghttp2_submit_rst_stream(r->conn->h2->session, NGHTTP2_FLAG_NONE, r->stream_id, NGHTTP2_INTERNAL_ERROR);
	conn_dirty(r->conn);
}

void h2_flush(struct http_conn *c)
{
	struct h2 *h = c->h2;
	int e;

	if (!h || c->closing)
		return;
	e = nghttp2_session_send(h->session);
	if (e) {
		h->broken = e == NGHTTP2_ERR_NOMEM;
		conn_kill(c);
		return;
	}
	c->more = c->out.bytes >= H2_OUT_MAX;
	if (!nghttp2_session_want_read(h->session) && !nghttp2_session_want_write(h->session))
		c->closing = c->linger = true;
}
