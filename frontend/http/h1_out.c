/*
 * h1_out.c - answers in HTTP/1.1: status line, headers, body framing, the order of pipelined answers. Worker process.
 *
 * Each request has its own queue; only the oldest one's bytes move to the connection, so answers leave in order. A
 * head is formatted into one block, and a small body lands behind it: one segment, one write for all answers of a
 * turn.
 */
#include "frontend/http/engine.h"

#include <stdio.h>

#include "frontend/http/h1.h"

static const char *const phrases_2xx[] = {
	"OK", "Created", "Accepted", "Non-Authoritative Information", "No Content", "Reset Content", "Partial Content"};
static const char *const phrases_4xx[] = {"Bad Request",
                                          "Unauthorized",
                                          "Payment Required",
                                          "Forbidden",
                                          "Not Found",
                                          "Method Not Allowed",
                                          "Not Acceptable",
                                          "Proxy Authentication Required",
                                          "Request Timeout",
                                          "Conflict",
                                          "Gone",
                                          "Length Required",
                                          "Precondition Failed",
                                          "Content Too Large",
                                          "URI Too Long",
                                          "Unsupported Media Type",
                                          "Range Not Satisfiable",
                                          "Expectation Failed"};
static const char *const phrases_5xx[] = {"Internal Server Error", "Not Implemented", "Bad Gateway",
                                          "Service Unavailable",   "Gateway Timeout", "HTTP Version Not Supported"};

#define PHRASE_OF(table, base) \
	if (status >= (base) && (size_t)(status - (base)) < sizeof(table) / sizeof *(table)) \
	return (table)[status - (base)]

const char *status_phrase(int status)
{
	PHRASE_OF(phrases_2xx, 200);
	PHRASE_OF(phrases_4xx, 400);
	PHRASE_OF(phrases_5xx, 500);
	switch (status) {
	case 301:
		return "Moved Permanently";
	case 302:
		return "Found";
	case 303:
		return "See Other";
	case 304:
		return "Not Modified";
	case 307:
		return "Temporary Redirect";
	case 308:
		return "Permanent Redirect";
	case 421:
		return "Misdirected Request";
	case 422:
		return "Unprocessable Content";
	case 425:
		return "Too Early";
	case 426:
		return "Upgrade Required";
	case 428:
		return "Precondition Required";
	case 429:
		return "Too Many Requests";
	case 431:
		return "Request Header Fields Too Large";
	case 507:
		return "Insufficient Storage";
	default:
		return "Unknown";
	}
}

/* ---- the head ---- */

static uint8_t *put(uint8_t *p, const void *s, size_t n)
{
	memcpy(p, s, n);
	return p + n;
}

#define PUT(p, literal) put(p, "" literal, sizeof(literal) - 1)

uint8_t *put_number(uint8_t *p, uint64_t v)
{
	char digits[20];
	size_t n = 0;

	do {
		digits[n++] = (char)('0' + v % 10);
		v /= 10;
	} while (v);
	while (n > 0)
		*p++ = (uint8_t)digits[--n];
	return p;
}

static uint8_t *put_header(uint8_t *p, const struct sluice_header *h)
{
	p = put(p, h->name.data, h->name.len);
	p = PUT(p, ": ");
	if (h->value.len)
		p = put(p, h->value.data, h->value.len);
	return PUT(p, "\r\n");
}

bool header_is_framing(sl_slice name)
{
	static const char *const names[] = {"connection", "keep-alive",     "transfer-encoding",
	                                    "upgrade",    "content-length", "proxy-connection"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++)
		if (sl_slice_is(name, names[i]))
			return true;
	return false;
}

bool header_given(const struct sluice_header *h, size_t n, sl_slice name)
{
	for (size_t i = 0; i < n; i++)
		if (sl_slice_eq(h[i].name, name))
			return true;
	return false;
}

static size_t head_size(const struct sluice_http_req *r, const struct sluice_header *h, size_t n)
{
	size_t size = 256; /* status line, date, framing */

	for (size_t i = 0; i < n; i++)
		size += h[i].name.len + h[i].value.len + 4;
	for (size_t i = 0; r->mount && i < r->mount->n_defaults; i++)
		size += r->mount->defaults[i].name.len + r->mount->defaults[i].value.len + 4;
	return size;
}

static uint8_t *put_status(uint8_t *p, int status)
{
	const char *phrase = status_phrase(status);

	if (status == 200)
		return PUT(p, "HTTP/1.1 200 OK\r\n");
	p = PUT(p, "HTTP/1.1 ");
	p = put_number(p, (uint64_t)status);
	*p++ = ' ';
	p = put(p, phrase, strlen(phrase));
	return PUT(p, "\r\n");
}

static uint8_t *put_headers(uint8_t *p, struct sluice_http_req *r, const struct sluice_header *h, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!header_is_framing(h[i].name))
			p = put_header(p, &h[i]);
	for (size_t i = 0; r->mount && i < r->mount->n_defaults; i++)
		if (!header_given(h, n, r->mount->defaults[i].name))
			p = put_header(p, &r->mount->defaults[i]);
	if (!header_given(h, n, SL_STR("date"))) {
		sl_slice date = date_now(r->engine);

		p = PUT(p, "date: ");
		p = put(p, date.data, date.len);
		p = PUT(p, "\r\n");
	}
	if (r->gzip)
		p = PUT(p, "content-encoding: gzip\r\n");
	return p;
}

/* How the client learns where the body ends (RFC 9112 6.3). */
static uint8_t *put_framing(uint8_t *p, struct sluice_http_req *r, int status, int64_t length, bool bodyless)
{
	/* What HEAD tells of a body is what GET would have: nothing when it is not known (RFC 9110 9.3.2). */
	bool none = status == 204 || status == 304 || (r->is_head && length < 0);

	if (bodyless && length < 0)
		length = 0;
	if (!none && length >= 0) {
		p = PUT(p, "content-length: ");
		p = put_number(p, (uint64_t)length);
		p = PUT(p, "\r\n");
	} else if (!none && !r->http10) {
		p = PUT(p, "transfer-encoding: chunked\r\n");
		r->chunked = !bodyless;
	} else if (!none && !bodyless) {
		r->close = true;
	}
	if (r->close)
		p = PUT(p, "connection: close\r\n");
	else if (r->http10)
		p = PUT(p, "connection: keep-alive\r\n");
	return PUT(p, "\r\n");
}

/* Does the connection end behind this answer? A short rest of the body is swallowed instead; a client that still waits
 * for "100 Continue" may or may not send the body after a final answer, so nobody could tell what comes next. */
static bool answer_closes(const struct sluice_http_req *r)
{
	const struct http_conn *c = r->conn;

	if (!r->keep_alive)
		return true;
	/* Requests behind it that have been dispatched must get their answers. */
	if ((c->refuse || r->engine->draining) && !TAILQ_NEXT(r, link))
		return true;
	if (r->body_end)
		return false;
	return r->expect || c->h1_state != H1_LENGTH || c->body_left > DISCARD_MAX;
}

int h1_respond(struct sluice_http_req *r, int status, const struct sluice_header *h, size_t n, int64_t length,
               bool bodyless)
{
	uint8_t *start = out_room(r->engine, &r->out, head_size(r, h, n));
	uint8_t *p = start;

	if (!p)
		return SLUICE_ENOMEM;
	r->close |= answer_closes(r);
	p = put_status(p, status);
	p = put_headers(p, r, h, n);
	p = put_framing(p, r, status, length, bodyless);
	out_added(&r->out, (size_t)(p - start));
	return 0;
}

/* ---- the body ---- */

int h1_frame(struct sluice_http_req *r, sl_slice s)
{
	struct http_engine *e = r->engine;
	uint8_t *start, *p;

	if (!r->chunked)
		return out_add(e, &r->out, s.data, s.len);
	if (s.len > SIZE_MAX / 2)
		return SLUICE_ENOMEM;
	start = p = out_room(e, &r->out, s.len + SHARED_HEAD + SHARED_TAIL);
	if (!p)
		return SLUICE_ENOMEM;
	p += snprintf((char *)p, SHARED_HEAD, "%zx\r\n", s.len);
	p = put(p, s.data, s.len);
	p = PUT(p, "\r\n");
	out_added(&r->out, (size_t)(p - start));
	return 0;
}

int h1_frame_shared(struct sluice_http_req *r, struct sluice_buf *b)
{
	if (!r->chunked)
		return out_add_shared(r->engine, &r->out, b, b->data, b->len);
	return out_add_shared(r->engine, &r->out, b, b->data - b->head, b->head + b->len + SHARED_TAIL);
}

void h1_continue(struct sluice_http_req *r)
{
	if (!r->expect || r->responded || r->body_end || r->lost)
		return;
	r->expect = false;
	if (out_add(r->engine, &r->out, "HTTP/1.1 100 Continue\r\n\r\n", 25))
		req_reset(r);
	else
		conn_dirty(r->conn);
}

/* ---- order ---- */

/* The oldest request: true when its answer and its body are through and the next one may follow. */
static bool h1_flush_first(struct http_conn *c, struct sluice_http_req *r)
{
	struct http_engine *e = c->engine;
	bool whole = r->ended && !gzip_busy(r);

	if (whole && r->chunked) {
		if (out_add(e, &r->out, "0\r\n\r\n", 5)) {
			conn_kill(c);
			return false;
		}
		r->chunked = false;
	}
	if (out_move(e, &c->out, &r->out, r->out.bytes, r)) {
		conn_kill(c);
		return false;
	}
	if (r->was_reset) {
		c->closing = c->cut = true;
		return false;
	}
	if (!whole || (!r->body_end && !r->close)) {
		req_want_pull(r);
		return false;
	}
	if (r->close) {
		c->closing = true;
		c->linger = !r->body_end || c->in.len > 0 || r->bad_head;
		c->h1_state = H1_STOP;
	}
	req_unlist(r);
	return !c->closing;
}

void h1_flush(struct http_conn *c)
{
	struct sluice_http_req *r;
	bool moved = false;

	while (!c->dead && !c->closing && (r = TAILQ_FIRST(&c->reqs)) && h1_flush_first(c, r))
		moved = true;
	if (c->dead || c->closing)
		return;
	if (moved && c->blocked)
		conn_resume(c);
	if (c->eof && TAILQ_EMPTY(&c->reqs) && !c->blocked)
		c->closing = true;
}
