/*
 * table.c - struct sluice_http: what plugins call. Worker process.
 *
 * A handle is live from request() until end(), reset() or gone(); calls on one whose client has left meanwhile do
 * nothing and say ECANCELED, so a plugin need not look before each call. Using a dead handle is a plugin's bug and
 * aborts (magic).
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

static bool http_live(const struct sluice_http_req *r)
{
	assert(r && r->magic == REQ_MAGIC);
	return r->held && !r->lost && r->conn;
}

/* ---- start() ---- */

static int http_route(struct sluice_ctx *ctx, const struct sluice_route *route)
{
	assert(ctx->magic == CTX_MAGIC);
	return ctx->http ? route_add(ctx->http, route) : SLUICE_ENOTSUP;
}

static int http_defaults(struct sluice_ctx *ctx, const struct sluice_header *h, size_t n)
{
	assert(ctx->magic == CTX_MAGIC);
	return ctx->http ? mount_defaults(ctx->http, h, n) : SLUICE_ENOTSUP;
}

static int http_errors(struct sluice_ctx *ctx, const char *content_type,
                       size_t (*fn)(int status, const char *sentence, char *body, size_t size))
{
	assert(ctx->magic == CTX_MAGIC);
	return ctx->http ? mount_errors(ctx->http, content_type, fn) : SLUICE_ENOTSUP;
}

/* ---- the question ---- */

static struct sluice_slice http_method(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return r->method;
}

static struct sluice_slice http_path(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return r->path;
}

static struct sluice_slice http_target(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return r->target.raw;
}

/* The part of v before a comma, if it could be a scheme or a host: it ends in Location headers. */
static sl_slice origin_part(sl_slice v)
{
	const char *p = v.data;
	size_t n = 0;

	while (n < v.len && p[n] != ',' && p[n] != ' ')
		n++;
	for (size_t i = 0; i < n; i++) {
		bool alnum = (p[i] >= '0' && p[i] <= '9') || ((p[i] | 0x20) >= 'a' && (p[i] | 0x20) <= 'z');

		if (!alnum && (p[i] == '\0' || !strchr(".-_:[]", p[i])))
			return SL_SLICE(NULL, 0);
	}
	return n > 0 && n <= 255 ? SL_SLICE(p, n) : SL_SLICE(NULL, 0);
}

static const char *origin_scheme(struct sluice_http_req *r)
{
	sl_slice given = origin_part(req_header(r, "x-forwarded-proto", 0));

	if (slice_is_nocase(given, "https"))
		return "https";
	if (slice_is_nocase(given, "http"))
		return "http";
	return r->conn && r->conn->transport != &transport_plain ? "https" : "http";
}

static struct sluice_slice http_origin(struct sluice_http_req *r)
{
	const char *scheme = origin_scheme(r);
	sl_slice host = origin_part(req_header(r, "x-forwarded-host", 0));
	size_t size;
	char *p;

	assert(r->magic == REQ_MAGIC);
	if (!host.data)
		host = origin_part(r->authority);
	if (!host.data)
		host = SL_STR("localhost");
	size = strlen(scheme) + 3 + host.len + 1;
	p = req_alloc(r, size);
	if (!p)
		return SL_STR("");
	return SL_SLICE(p, (size_t)snprintf(p, size, "%s://%.*s", scheme, (int)host.len, (const char *)host.data));
}

sl_slice req_header(const struct sluice_http_req *r, const char *name, size_t i)
{
	sl_slice want = sl_slice_str(name);

	for (size_t k = 0; k < r->n_header; k++)
		if (sl_slice_eq(r->header[k].name, want) && i-- == 0)
			return r->header[k].value;
	return SL_SLICE(NULL, 0);
}

static struct sluice_slice http_header(struct sluice_http_req *r, const char *name, size_t i)
{
	assert(r->magic == REQ_MAGIC);
	return req_header(r, name, i);
}

/* Looked up in the text each time: a table of everything that was sent would let a short query cost many times its
 * size for as long as the request lives. */
sl_slice req_query(struct sluice_http_req *r, const char *name, size_t i)
{
	sl_slice rest = r->target.query, key, value;
	uint8_t *p;

	assert(r->magic == REQ_MAGIC);
	while (query_next(&rest, &key, &value)) {
		if (!query_is(key, name) || i-- > 0)
			continue;
		p = req_alloc(r, value.len + 1);
		return p ? SL_SLICE(p, query_decode(value, p)) : SL_SLICE(NULL, 0);
	}
	return SL_SLICE(NULL, 0);
}

static struct sluice_payload *http_payload(struct sluice_http_req *r)
{
	struct sluice_payload *p = r->payload;

	assert(r->magic == REQ_MAGIC);
	r->payload = NULL;
	return p;
}

static const struct sluice_principal *http_principal(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return r->principal;
}

static void **http_slot(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return &r->slot;
}

/* ---- the answer ---- */

/* Once promised it is kept: the plugin's entity tag says so. */
static const char *http_compress(struct sluice_http_req *r, int64_t length)
{
	if (!http_live(r) || r->responded || (length >= 0 && length < 1024))
		return "";
	if (!r->gzip && gzip_accepted(req_header(r, "accept-encoding", 0)))
		r->gzip = gzip_new(r->engine);
	return r->gzip ? "gzip" : "";
}

static bool http_headers_valid(const struct sluice_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!header_name_valid(h[i].name) || !header_value_valid(h[i].value))
			return false;
	return true;
}

/* wire: length of the body as sent, -1 unknown. fin: no body bytes will follow. */
static int http_begin(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, int64_t wire,
                      bool fin)
{
	int e;

	if (!http_live(r))
		return SLUICE_ECANCELED;
	if (r->responded || status < 200 || status > 599 || !http_headers_valid(h, n))
		return SLUICE_EINVAL;
	r->no_body = r->is_head || status == 204 || status == 304;
	e = r->proto->respond(r, status, h, n, wire, r->no_body || fin);
	if (e)
		return e;
	r->status = (uint16_t)status;
	r->responded = true;
	r->pullable = true;
	if (r->engine->hooks.answers_5xx && status >= 500)
		++*r->engine->hooks.answers_5xx;
	return 0;
}

static void http_drop_gzip(struct sluice_http_req *r)
{
	gzip_free(r->engine, r->gzip);
	r->gzip = NULL;
}

static int http_respond(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, int64_t length)
{
	int e;

	if (http_live(r) && !r->responded) {
		if (status == 204 || status == 304)
			http_drop_gzip(r);
		r->length = length;
	}
	e = http_begin(r, status, h, n, r->gzip ? -1 : length, false);
	if (!e) {
		r->proto->changed(r);
		req_want_pull(r);
	}
	return e;
}

/* Nothing beyond the announced length leaves: it would be read as the beginning of the next answer. */
static int http_account(struct sluice_http_req *r, size_t n)
{
	if (!http_live(r))
		return SLUICE_ECANCELED;
	if (!r->responded || (r->length >= 0 && !r->no_body && n > (uint64_t)r->length - r->written))
		return SLUICE_EINVAL;
	r->written += n;
	r->pullable = true;
	if (n > 0)
		req_feed(r, true);
	return 0;
}

static int http_write(struct sluice_http_req *r, struct sluice_slice s)
{
	int e = http_account(r, s.len);

	if (e || s.len == 0)
		return e;
	if (!r->no_body)
		e = r->gzip ? gzip_write(r, s) : r->proto->frame(r, s);
	if (e) {
		req_reset(r); /* a piece is missing: what follows must not look whole */
		return e;
	}
	r->proto->changed(r);
	if (r->no_body || r->gzip)
		req_want_pull(r); /* perhaps nothing reached the queue whose draining would ask for more */
	return 0;
}

static int http_write_buf(struct sluice_http_req *r, struct sluice_buf *b)
{
	int e;

	if (r->gzip || r->no_body)
		return http_write(r, SL_SLICE(b->data, b->len));
	e = http_account(r, b->len);
	if (e || b->len == 0)
		return e;
	e = r->proto->frame_shared(r, b);
	if (e)
		req_reset(r);
	else
		r->proto->changed(r);
	return e;
}

static void http_wake(struct sluice_http_req *r)
{
	if (!http_live(r))
		return;
	r->pullable = true;
	/* It may come from inside body(), which says EAGAIN only after it. */
	req_work(r, WORK_PULL | (r->body_done ? 0 : WORK_BODY));
}

static void http_end(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC && r->held);
	if (!http_live(r)) {
		r->held = false; /* gone() was on its way; it does not follow an end */
		req_free_if_done(r);
		return;
	}
	if (!r->responded) {
		req_error(r, 500, "The request was not answered.");
		r->held = false;
		return;
	}
	r->held = false;
	if (r->length >= 0 && !r->no_body && r->written != (uint64_t)r->length) {
		r->lost = true; /* pieces of the body may still be on their way to a handle that is dead */
		r->proto->reset(r);
		return;
	}
	req_end(r);
	if (gzip_busy(r))
		gzip_step(r);
}

static void http_reset(struct sluice_http_req *r)
{
	if (http_live(r))
		req_reset(r);
}

static int reply_zipped(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, sl_slice body)
{
	sl_slice zipped;
	int e;

	if (body.len > GZIP_TURN) {
		r->length = (int64_t)body.len;
		e = http_begin(r, status, h, n, -1, false);
		return e ? e : http_write(r, body);
	}
	e = gzip_whole(r, body, &zipped);
	if (e)
		return e;
	e = http_begin(r, status, h, n, (int64_t)zipped.len, false);
	http_drop_gzip(r);
	if (!e && !r->no_body)
		e = r->proto->frame(r, zipped);
	return e;
}

static int reply_plain(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, sl_slice body)
{
	int e = http_begin(r, status, h, n, (int64_t)body.len, body.len == 0);

	if (!e && body.len > 0 && !r->no_body)
		e = r->proto->frame(r, body);
	return e;
}

static void http_reply(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n,
                       struct sluice_slice body)
{
	int e = SLUICE_EINVAL;

	if (!http_live(r)) {
		http_end(r);
		return;
	}
	if (status == 204 || status == 304)
		http_drop_gzip(r);
	if (!r->responded)
		e = r->gzip ? reply_zipped(r, status, h, n, body) : reply_plain(r, status, h, n, body);
	if (e && !r->responded)
		req_error(r, 500, "The answer could not be made.");
	else if (e)
		req_reset(r);
	http_end(r);
}

static void http_refuse(struct sluice_http_req *r)
{
	struct sluice_header h[2 + REFUSAL_HEADERS] = {
		{SL_STR("content-type"), SL_STR("")},
		{SL_STR("cache-control"), SL_STR("no-store")},
	};
	struct auth_verdict v = {.status = 403, .why = "You are not allowed to do this."};
	char text[ERROR_BODY];
	sl_slice body;

	if (r->engine->hooks.auth.refusal && r->principal)
		r->engine->hooks.auth.refusal(r->principal, &v);
	body = mount_error(r->mount, v.status, v.why, text, &h[0].value);
	http_reply(r, v.status, h, 2 + req_refusal_headers(&v, h + 2), body);
}

static size_t http_pending(struct sluice_http_req *r)
{
	assert(r->magic == REQ_MAGIC);
	return r->out.bytes + r->inflight + gzip_pending(r);
}

const struct sluice_http http_table = {
	.size = sizeof http_table,
	.route = http_route,
	.defaults = http_defaults,
	.method = http_method,
	.path = http_path,
	.target = http_target,
	.origin = http_origin,
	.header = http_header,
	.query = req_query,
	.payload = http_payload,
	.principal = http_principal,
	.slot = http_slot,
	.compress = http_compress,
	.respond = http_respond,
	.write = http_write,
	.write_buf = http_write_buf,
	.wake = http_wake,
	.end = http_end,
	.reset = http_reset,
	.reply = http_reply,
	.pending = http_pending,
	.refuse = http_refuse,
	.errors = http_errors,
};
