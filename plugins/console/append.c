/*
 * append.c - the box below a stream: one message is appended. Plugin console, worker process.
 *
 * The stream's type is read first: a JSON stream takes one JSON value. The browser has to send a header of ours, which a page of
 * somebody else cannot make it do.
 */
#include <jansson.h>

#include "console.h"

static slice append_name(struct console *p, struct sluice_http_req *http)
{
	static const char before[] = "console/stream/";
	slice path = p->http->path(http);
	size_t n = sizeof before - 1;

	return path.len > n ? SLICE((const char *)path.data + n, path.len - n) : SLICE("", 0);
}

static bool type_is_json(slice type)
{
	static const char json[] = "application/json";
	const char *p = type.data;

	if (type.len < sizeof json - 1)
		return false;
	for (size_t i = 0; i < sizeof json - 1; i++)
		if ((p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i]) != json[i])
			return false;
	return type.len == sizeof json - 1 || p[sizeof json - 1] == ';' || p[sizeof json - 1] == ' ';
}

static bool json_valid(slice s)
{
	json_error_t error;
	json_t *value = json_loadb(s.data, s.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, &error);

	json_decref(value);
	return value != NULL;
}

static slice blanks_cut(slice s)
{
	const char *p = s.data;
	size_t from = 0, end = s.len;

	while (from < end && memchr(" \t\r\n", p[from], 4))
		from++;
	while (end > from && memchr(" \t\r\n", p[end - 1], 4))
		end--;
	return end > from ? SLICE(p + from, end - from) : SLICE("", 0);
}

static void append_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct console *p = c->p;
	struct sluice_http_req *http;
	static const struct sluice_header header[] = {{STR("cache-control"), STR("no-store")}};

	(void)n;
	c->req = NULL;
	http = call_free(c);
	if (r->status)
		answer_trouble(p, http, r->status);
	else
		p->http->reply(http, 204, header, 1, SLICE(NULL, 0));
}

static void append_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct console *p = c->p;
	struct sluice_op op = {.size = sizeof op, .kind = SLUICE_OP_APPEND, .stream = append_name(p, c->http), .content_type = r->content_type};
	void *data = NULL;
	size_t len = 0;
	int rc = r->status;

	c->req = NULL;
	if (rc == SLUICE_OK && r->flags & SLUICE_R_CLOSED)
		rc = SLUICE_ECLOSED;
	if (rc == SLUICE_OK && c->payload)
		rc = p->host->payload_map(c->payload, &data, &len);
	op.data = type_is_json(r->content_type) ? blanks_cut(SLICE(data, len)) : SLICE(data, len);
	if (rc == SLUICE_OK && op.data.len == 0) {
		answer_error(p, call_free(c), 400, "there is nothing to append");
		return;
	}
	if (rc == SLUICE_OK && type_is_json(r->content_type) && !json_valid(op.data)) {
		answer_error(p, call_free(c), 400, "the stream holds JSON, and this is not a JSON value");
		return;
	}
	if (rc == SLUICE_OK)
		rc = p->store->submit(p->ctx, &op, 1, append_done, c, &c->req);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}

void append_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	struct sluice_read rd = {.size = sizeof rd, .stream = append_name(p, http)};
	struct call *c;
	int rc;

	if (!console_may(p, http, "append", rd.stream))
		return;
	if (!p->http->header(http, "x-sluice-console", 0).data) {
		answer_error(p, http, 403, "the header x-sluice-console is missing: only the console appends here");
		return;
	}
	c = call_new(p, http, CALL_APPEND);
	if (!c)
		return;
	c->payload = p->http->payload(http);
	rc = p->store->read(p->ctx, &rd, append_found, c, &c->req);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}
