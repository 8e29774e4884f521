/*
 * answer.c - every response of the plugin is built here. Plugin streams, worker process.
 *
 * What is the same for all (CORS, nosniff) are the default headers that start() gave to the engine.
 */
#include "streams.h"

#include <stdio.h>
#include <stdlib.h>

void answer_init(struct answer *a)
{
	a->n = a->used = 0;
}

void answer_put(struct answer *a, slice name, slice value)
{
	if (a->n < sizeof a->header / sizeof *a->header)
		a->header[a->n++] = (struct sluice_header){.name = name, .value = value};
}

void answer_copy(struct answer *a, slice name, slice value)
{
	char *to = a->text + a->used;

	/* The callers' values are bounded (numbers, tokens, tags); what does not fit is left out rather than cut. */
	if (value.len > sizeof a->text - a->used)
		return;
	memcpy(to, value.data, value.len);
	a->used += value.len;
	answer_put(a, name, SLICE(to, value.len));
}

void answer_u64(struct answer *a, slice name, uint64_t v)
{
	char text[20];

	answer_copy(a, name, SLICE(text, u64_format(v, text)));
}

void answer_offset(const struct call *c, struct answer *a, slice name, struct spot at)
{
	char text[OFFSET_LEN];

	if (c->p->dialect->positions) {
		position_format(at.pos, text);
		answer_copy(a, name, SLICE(text, POSITION_LEN));
	} else {
		offset_format(at.offset, text);
		answer_copy(a, name, SLICE(text, OFFSET_LEN));
	}
}

void answer_tail(const struct call *c, struct answer *a, struct spot at)
{
	answer_offset(c, a, STR("stream-next-offset"), at);
}

void answer_earliest(const struct call *c, struct answer *a, uint64_t pos)
{
	if (c->p->dialect->positions)
		answer_offset(c, a, STR("stream-earliest-offset"), (struct spot){.pos = pos});
}

void answer_extensions(const struct call *c, struct answer *a)
{
	const char *list = c->p->extensions;

	if (list)
		PUT(a, "stream-extensions", SLICE(list, strlen(list)));
}

void answer_closed(struct answer *a)
{
	PUT(a, "stream-closed", STR("true"));
}

void answer_no_store(struct answer *a)
{
	PUT(a, "cache-control", STR("no-store"));
}

void answer_send(struct call *c, const struct answer *a, int status, slice body)
{
	*c->p->http->slot(c->http) = NULL;
	c->p->http->reply(c->http, status, a->header, a->n, body);
	call_free(c);
}

static void answer_error_headers(const struct streams *p, struct answer *a, int status)
{
	answer_no_store(a);
	PUT(a, "content-type", p->dialect->json_errors ? STR("application/json") : STR("text/plain; charset=utf-8"));
	if (status == 503)
		PUT(a, "retry-after", STR("1"));
}

enum { SENTENCE_MAX = 512 };

/* What is wrong is put in half a sentence everywhere, also by the writer, so that it can stand in a log line. A client gets a whole
 * one, as from the engine. */
static slice answer_sentence(const char *why, char out[SENTENCE_MAX])
{
	int n = snprintf(out, SENTENCE_MAX, "%.*s.\n", SENTENCE_MAX - 3, why);

	if (out[0] >= 'a' && out[0] <= 'z')
		out[0] = (char)(out[0] - 'a' + 'A');
	return SLICE(out, n > 0 ? (size_t)n : 0);
}

static const struct {
	int status;
	const char *code;
} answer_codes[] = {
	{400, "bad_request"},   {401, "unauthorized"}, {403, "forbidden"},   {404, "stream_not_found"}, {405, "method_not_allowed"},
	{408, "request_timeout"}, {429, "too_many_requests"}, {409, "stream_exists"}, {410, "offset_gone"}, {413, "too_large"},        {415, "bad_request"},
	{501, "not_supported"}, {503, "unavailable"}, {504, "outcome_unknown"},  {507, "disk_full"},
};

const char *answer_code(int status)
{
	for (size_t i = 0; i < sizeof answer_codes / sizeof *answer_codes; i++)
		if (answer_codes[i].status == status)
			return answer_codes[i].code;
	return "internal";
}

/* The body of an error in the door's own form; in the scratch buffer or in text. */
static slice answer_body(struct streams *p, int status, const char *code, const char *why, char text[SENTENCE_MAX])
{
	struct bytes *out = &p->scratch;
	char *own;

	if (!p->dialect->json_errors)
		return answer_sentence(why, text);
	/* why may be in the scratch buffer itself. */
	own = strndup(why, SENTENCE_MAX);
	bytes_reset(out);
	BYTES_LIT(out, "{\"error\":");
	bytes_add_json(out, own ? SLICE(own, strlen(own)) : STR("out of memory"));
	BYTES_LIT(out, ",\"code\":");
	code = code ? code : answer_code(status);
	bytes_add_json(out, SLICE(code, strlen(code)));
	BYTES_LIT(out, "}");
	free(own);
	return out->failed ? STR("{}") : bytes_slice(out);
}

void answer_error(struct call *c, struct answer *a, int status, const char *why)
{
	char text[SENTENCE_MAX];
	struct answer own;

	if (!a) {
		answer_init(&own);
		a = &own;
	}
	answer_error_headers(c->p, a, status);
	++*c->p->count.refused;
	answer_send(c, a, status, answer_body(c->p, status, c->code, why, text));
}

void answer_refuse(struct streams *p, struct sluice_http_req *http, int status, const char *why)
{
	answer_refuse_code(p, http, status, NULL, why);
}

void answer_refuse_code(struct streams *p, struct sluice_http_req *http, int status, const char *code, const char *why)
{
	char text[SENTENCE_MAX];
	struct answer a;

	answer_init(&a);
	answer_error_headers(p, &a, status);
	++*p->count.refused;
	p->http->reply(http, status, a.header, a.n, answer_body(p, status, code, why, text));
}

void answer_json_error(struct streams *p, struct sluice_http_req *http, int status, const char *code, const char *why)
{
	struct bytes *out = &p->scratch;
	struct answer a;

	bytes_reset(out);
	BYTES_LIT(out, "{\"error\":{\"code\":");
	bytes_add_json(out, SLICE(code, strlen(code)));
	BYTES_LIT(out, ",\"message\":");
	bytes_add_json(out, SLICE(why, strlen(why)));
	BYTES_LIT(out, "}}");
	answer_init(&a);
	answer_no_store(&a);
	PUT(&a, "content-type", STR("application/json"));
	if (status == 503)
		PUT(&a, "retry-after", STR("1"));
	++*p->count.refused;
	p->http->reply(http, status, a.header, a.n, out->failed ? STR("{\"error\":{}}") : bytes_slice(out));
	bytes_reset(out);
}

static const struct trouble {
	int status, http;
	const char *why;
} trouble_table[] = {
	{SLUICE_ENOMEM, 503, "out of memory"},
	{SLUICE_EINVAL, 400, "the request is malformed"},
	{SLUICE_ENOTSUP, 501, "this is not supported"},
	{SLUICE_EDENIED, 403, "this is not allowed"},
	{SLUICE_EAGAIN, 503, "the server is overloaded, try again"},
	{SLUICE_ENOENT, 404, "there is no such stream"},
	{SLUICE_EEXIST, 409, "the name is taken"},
	{SLUICE_ECLOSED, 409, "the stream is closed"},
	{SLUICE_ETOOBIG, 413, "the request is too large"},
	{SLUICE_ECONFLICT, 409, "the request conflicts with what is there"},
	{SLUICE_ELOST, 504, "the outcome is unknown: the store went away after it was asked"},
	{SLUICE_EGONE, 410, "the stream is gone"},
	{SLUICE_EFULL, 507, "no space is left on the disk"},
	{SLUICE_EBUSY, 503, "the store is not available, try again"},
};

void answer_trouble(struct call *c, int status, const char *message)
{
	for (size_t i = 0; i < sizeof trouble_table / sizeof *trouble_table; i++)
		if (trouble_table[i].status == status) {
			answer_error(c, NULL, trouble_table[i].http,
			             message && *message ? message : trouble_table[i].why);
			return;
		}
	answer_error(c, NULL, 500, "internal error");
}

void answer_gone(struct call *c, bool soft)
{
	if (soft && !c->p->dialect->soft_absent)
		answer_error(c, NULL, 410, "the stream was deleted");
	else if (c->p->dialect->absent)
		c->p->dialect->absent(c);
	else
		answer_absent(c);
}

void answer_absent(struct call *c)
{
	answer_error(c, NULL, 404, "there is no such stream");
}

void answer_unreadable(struct call *c, const struct sluice_read_result *r)
{
	const struct spot earliest = {.offset = r->earliest, .pos = r->earliest_pos};
	struct answer a;

	if (r->status == SLUICE_EGONE && r->reason == SLUICE_WHY_TRIMMED) {
		answer_init(&a);
		answer_offset(c, &a, STR("stream-earliest-offset"), earliest);
		if (c->p->dialect->positions)
			answer_tail(c, &a, earliest);
		if (c->p->dialect->snapshots && (r->flags & SLUICE_R_SNAPSHOT))
			answer_offset(c, &a, STR("stream-snapshot-offset"), (struct spot){.pos = r->snapshot_pos});
		answer_error(c, &a, 410, c->p->dialect->trimmed);
	} else if (r->status == SLUICE_EGONE || r->status == SLUICE_ENOENT) {
		answer_gone(c, r->status == SLUICE_EGONE);
	} else {
		answer_trouble(c, r->status, r->message);
	}
}
