/*
 * h1_parser_http_parser.c - splits an HTTP/1.1 head with libhttp-parser 2.9. Worker process. Chosen by configure.
 *
 * The head is complete and in one place when it comes here, so every callback is called once per token and its slice
 * points into it. What the library accepts is not trusted to be safe (h1_head.c checks again): Debian's is built
 * non-strict.
 */
#include "frontend/http/engine.h"

#include <http_parser.h>

struct split {
	struct h1_head *head;
	bool too_many;
};

static int split_url(http_parser *p, const char *at, size_t n)
{
	struct split *s = p->data;

	s->head->target = SL_SLICE(at, n);
	return 0;
}

static int split_name(http_parser *p, const char *at, size_t n)
{
	struct split *s = p->data;

	if (s->head->n_header >= HEADERS_MAX) {
		s->too_many = true;
		return 1;
	}
	s->head->header[s->head->n_header++] = (struct sluice_header){.name = SL_SLICE(at, n), .value = SL_STR("")};
	return 0;
}

static int split_value(http_parser *p, const char *at, size_t n)
{
	struct split *s = p->data;

	s->head->header[s->head->n_header - 1].value = SL_SLICE(at, n);
	return 0;
}

/* Stops behind the head: a body is not this file's business. */
static int split_done(http_parser *p)
{
	http_parser_pause(p, 1);
	return 0;
}

static int split_error(enum http_errno e, const uint8_t *data, const char **why)
{
	switch (e) {
	case HPE_INVALID_METHOD:
		*why = "The request method is not implemented here.";
		return *data >= 'A' && *data <= 'Z' ? 501 : 400;
	case HPE_INVALID_VERSION:
		*why = "The HTTP version is not understood.";
		return 400;
	case HPE_HEADER_OVERFLOW:
		*why = "The request head is too large.";
		return 431;
	case HPE_INVALID_TRANSFER_ENCODING:
		*why = "The transfer coding is not implemented; only chunked is.";
		return 501;
	case HPE_UNEXPECTED_CONTENT_LENGTH:
	case HPE_INVALID_CONTENT_LENGTH:
		*why = "Content-Length is malformed, repeated, or given together with Transfer-Encoding.";
		return 400;
	default:
		*why = "The request is malformed.";
		return 400;
	}
}

int h1_parse_head(uint8_t *data, size_t len, struct h1_head *head, const char **why)
{
	static const http_parser_settings settings = {
		.on_url = split_url,
		.on_header_field = split_name,
		.on_header_value = split_value,
		.on_headers_complete = split_done,
	};
	struct split s = {.head = head};
	const char *name;
	http_parser p;

	http_parser_init(&p, HTTP_REQUEST);
	p.data = &s;
	p.allow_chunked_length = 1; /* h1_head.c refuses it, with the better sentence */
	http_parser_execute(&p, &settings, (const char *)data, len);
	if (s.too_many) {
		*why = "The request has too many header lines.";
		return 431;
	}
	if (HTTP_PARSER_ERRNO(&p) != HPE_PAUSED)
		return split_error(HTTP_PARSER_ERRNO(&p), data, why);
	name = http_method_str((enum http_method)p.method);
	head->method = sl_slice_str(name);
	head->major = p.http_major;
	head->minor = p.http_minor;
	return 0;
}
