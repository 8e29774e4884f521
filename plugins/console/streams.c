/*
 * streams.c - the list of streams, in pages. Plugin console, worker process.
 */
#include <inttypes.h>

#include "console.h"

static void entry_put(struct text *t, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;

	text_puts(t, "{\"name\":");
	text_json(t, e->stream);
	text_puts(t, ",\"content_type\":");
	text_json(t, e->content_type);
	text_addf(t,
	          ",\"tail\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"created_ms\":%" PRIu64 ",\"written_ms\":%" PRIu64 ",\"closed\":%s}",
	          e->tail, item->tail_pos - item->earliest_pos, e->created_ms, item->written_ms,
	          e->flags & SLUICE_R_CLOSED ? "true" : "false");
}

/* Streams that this client may not read are left out; `next` names the last one looked at all the same, so that paging goes on. */
static void streams_listed(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;
	struct console *p = c->p;
	const struct sluice_principal *who = p->http->principal(c->http);
	struct text t = {0};
	bool any = false;

	c->req = NULL;
	text_puts(&t, "{\"streams\":[");
	for (size_t i = 0; i < n; i++, item = (const void *)((const char *)item + item->size)) {
		if (p->host->authorize(p->ctx, who, "read", item->entry.stream) == SLUICE_OK) {
			text_puts(&t, any ? "," : "");
			entry_put(&t, item);
			any = true;
		}
		if (i + 1 < n || !more)
			continue;
		text_puts(&t, "],\"next\":");
		text_json(&t, item->entry.stream);
	}
	text_puts(&t, more && n ? "}\n" : "],\"next\":null}\n");
	if (status)
		answer_trouble(p, call_free(c), status);
	else
		answer_json(p, call_free(c), 200, &t);
	text_fini(&t);
}

static bool name_valid(slice s)
{
	return !s.data || (utf8_valid(s) && !memchr(s.data, 0, s.len));
}

void streams_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	int who = p->host->principal_who(p->http->principal(http)), rc;
	uint64_t n = LIST_DEFAULT;
	slice prefix, after, limit;
	struct call *c;

	/* The list is for whoever may read something; who sends a token that is no good wants to know it. */
	if (who != SLUICE_WHO_KNOWN && who != SLUICE_WHO_ANYBODY) {
		p->http->refuse(http);
		return;
	}
	if (!console_query(p, http, "prefix", &prefix) || !console_query(p, http, "after", &after) ||
	    !console_query(p, http, "limit", &limit))
		return;
	if (!name_valid(prefix) || !name_valid(after) || (limit.data && (!number_parse(limit, LIST_MAX, &n) || n == 0))) {
		answer_error(p, http, 400, "prefix and after are beginnings of names, limit is 1 to 500");
		return;
	}
	c = call_new(p, http, CALL_LIST);
	if (!c)
		return;
	rc = p->store->list_items(p->ctx, prefix.data ? prefix : STR(""), after.data ? after : STR(""), (uint32_t)n, streams_listed, c,
	                          &c->req);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}
