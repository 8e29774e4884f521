/*
 * list.c - the reserved paths under __ds: the listing of streams; everything else is not there. Plugin streams, worker process.
 */
#include "streams.h"

static void list_entry(struct bytes *out, const struct sluice_list_entry *e)
{
	char text[OFFSET_LEN > TIME_LEN ? OFFSET_LEN : TIME_LEN];

	BYTES_LIT(out, "{\"name\":");
	bytes_add_json(out, e->stream);
	BYTES_LIT(out, ",\"contentType\":");
	bytes_add_json(out, e->content_type);
	BYTES_LIT(out, ",\"tailOffset\":\"");
	offset_format(e->tail, text);
	bytes_add(out, text, OFFSET_LEN);
	BYTES_LIT(out, "\",\"earliestOffset\":\"");
	offset_format(e->earliest, text);
	bytes_add(out, text, OFFSET_LEN);
	BYTES_LIT(out, "\",\"createdAt\":\"");
	time_format(e->created_ms, text);
	bytes_add(out, text, TIME_LEN);
	if (e->flags & SLUICE_R_CLOSED)
		BYTES_LIT(out, "\",\"closed\":true}");
	else
		BYTES_LIT(out, "\",\"closed\":false}");
}

/* Streams that this client may not read are left out; `next` still names the last one looked at, so that paging goes on. */
static void list_format(struct call *c, const struct sluice_list_entry *entry, size_t n, int more)
{
	struct streams *p = c->p;
	const struct sluice_principal *who = p->http->principal(c->http);
	struct bytes *out = &p->scratch;
	bool any = false;

	bytes_reset(out);
	BYTES_LIT(out, "{\"streams\":[");
	for (size_t i = 0; i < n; i++) {
		if (p->host->authorize(p->ctx, who, "read", entry[i].stream) < 0)
			continue;
		if (any)
			BYTES_LIT(out, ",");
		any = true;
		list_entry(out, &entry[i]);
	}
	BYTES_LIT(out, "]");
	if (more && n > 0) {
		BYTES_LIT(out, ",\"next\":");
		bytes_add_json(out, entry[n - 1].stream);
	}
	BYTES_LIT(out, "}");
}

/* The error answers of list are JSON, so the call goes first. */
static void list_error(struct call *c, int status, const char *code, const char *why)
{
	struct streams *p = c->p;
	struct sluice_http_req *http = c->http;

	*p->http->slot(http) = NULL;
	call_free(c);
	answer_json_error(p, http, status, code, why);
}

static void list_done(void *arg, int status, const struct sluice_list_entry *entry, size_t n, int more)
{
	struct call *c = arg;
	struct answer a;

	c->store = NULL;
	if (status != SLUICE_OK) {
		list_error(c, 503, "UNAVAILABLE", "the streams cannot be listed now");
		return;
	}
	list_format(c, entry, n, more);
	if (c->p->scratch.failed) {
		list_error(c, 503, "UNAVAILABLE", "out of memory");
		return;
	}
	answer_init(&a);
	PUT(&a, "content-type", STR("application/json"));
	answer_no_store(&a);
	answer_send(c, &a, 200, bytes_slice(&c->p->scratch));
}

static const char *list_parse(struct call *c, slice *prefix, slice *after, uint64_t *limit)
{
	const struct sluice_http *http = c->p->http;
	slice text;

	*prefix = http->query(c->http, "prefix", 0);
	*after = http->query(c->http, "after", 0);
	if (!prefix->data)
		*prefix = STR("");
	if (!after->data)
		*after = STR("");
	if (!utf8_valid(*prefix) || !utf8_valid(*after) || memchr(prefix->data, 0, prefix->len) ||
	    memchr(after->data, 0, after->len))
		return "prefix and after are the beginnings of names";
	text = http->query(c->http, "limit", 0);
	*limit = LIST_DEFAULT;
	if (text.data && (!u64_parse(text, LIST_MAX, limit) || *limit == 0))
		return "limit is a number from 1 to 1000";
	return NULL;
}

void list_request(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	struct call *c = call_new(p, http, CALL_LIST);
	slice prefix, after;
	const char *why;
	uint64_t limit;
	int who;

	if (!c)
		return;
	/* The list is for whoever may read something; who sends a token that is no good wants to know it. */
	who = p->host->principal_who(p->http->principal(http));
	if (who != SLUICE_WHO_KNOWN && who != SLUICE_WHO_ANYBODY) {
		*p->http->slot(http) = NULL;
		call_free(c);
		++*p->count.refused;
		p->http->refuse(http);
		return;
	}
	why = list_parse(c, &prefix, &after, &limit);
	if (why)
		list_error(c, 400, "INVALID_REQUEST", why);
	else if (p->store->list(p->ctx, prefix, after, (uint32_t)limit, list_done, c, &c->store) < 0)
		list_error(c, 503, "UNAVAILABLE", "overloaded");
}

void reserved_request(void *self, struct sluice_http_req *http)
{
	answer_json_error(self, http, 404, "NOT_FOUND", "there is no such resource");
}
