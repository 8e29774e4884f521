/*
 * h1_parser_llhttp.c - splits an HTTP/1.1 head with llhttp. Worker process. Chosen by configure where the system has
 * it.
 *
 * Same duty and same result as h1_parser_http_parser.c.
 */
#include "frontend/http/engine.h"

#include <llhttp.h>

struct split {
	struct h1_head *head;
	bool too_many;
};

static int split_url(llhttp_t *p, const char *at, size_t n)
{
	struct split *s = p->data;

	s->head->target = SL_SLICE(at, n);
	return 0;
}

static int split_name(llhttp_t *p, const char *at, size_t n)
{
	struct split *s = p->data;

	if (s->head->n_header >= HEADERS_MAX) {
		s->too_many = true;
		return -1;
	}
	s->head->header[s->head->n_header++] = (struct sluice_header){.name = SL_SLICE(at, n), .value = SL_STR("")};
	return 0;
}

static int split_value(llhttp_t *p, const char *at, size_t n)
{
	struct split *s = p->data;

	s->head->header[s->head->n_header - 1].value = SL_SLICE(at, n);
	return 0;
}

static int split_done(llhttp_t *p)
{
	(void)p;
	return HPE_PAUSED;
}

static int split_error(llhttp_errno_t e, const uint8_t *data, const char **why)
{
	switch (e) {
	case HPE_INVALID_METHOD:
		*why = "The request method is not implemented here.";
		return *data >= 'A' && *data <= 'Z' ? 501 : 400;
	case HPE_INVALID_VERSION:
		*why = "The HTTP version is not understood.";
		return 400;
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
	struct split s = {.head = head};
	llhttp_settings_t settings;
	llhttp_errno_t e;
	llhttp_t p;

	llhttp_settings_init(&settings);
	settings.on_url = split_url;
	settings.on_header_field = split_name;
	settings.on_header_value = split_value;
	settings.on_headers_complete = split_done;
	llhttp_init(&p, HTTP_REQUEST, &settings);
	p.data = &s;
	e = llhttp_execute(&p, (const char *)data, len);
	if (s.too_many) {
		*why = "The request has too many header lines.";
		return 431;
	}
	if (e != HPE_PAUSED && e != HPE_PAUSED_UPGRADE)
		return split_error(e, data, why);
	head->method = sl_slice_str(llhttp_method_name((llhttp_method_t)p.method));
	head->major = p.http_major;
	head->minor = p.http_minor;
	return 0;
}
