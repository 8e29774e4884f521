/*
 * view.c - one stream: what is known of it, and its last messages. Plugin console, worker process.
 *
 * Two reads: the first says where the stream ends, the second takes what lies before that. It begins at a position, perhaps inside a
 * message, whose rest is left out when whole ones follow.
 */
#include <inttypes.h>

#include "console.h"

struct showing {
	struct text *text;
	size_t skip; /* messages that are left out */
	bool any;
};

static void view_message(void *arg, const struct message *m)
{
	struct showing *s = arg;

	if (s->skip > 0) {
		s->skip--;
		return;
	}
	text_puts(s->text, s->any ? "," : "");
	message_json(s->text, m);
	s->any = true;
}

static void view_facts(struct text *t, slice name, const struct sluice_read_result *r)
{
	text_puts(t, "{\"name\":");
	text_json(t, name);
	text_puts(t, ",\"content_type\":");
	text_json(t, r->content_type);
	text_addf(t, ",\"created_ms\":%" PRIu64 ",\"tail\":%" PRIu64 ",\"earliest\":%" PRIu64 ",\"bytes\":%" PRIu64 ",\"closed\":%s",
	          r->created_ms, r->tail, r->earliest, r->tail_pos - r->earliest_pos, r->flags & SLUICE_R_CLOSED ? "true" : "false");
	if (r->flags & SLUICE_R_TTL)
		text_addf(t, ",\"ttl_s\":%" PRIu64, r->ttl_s);
	if (r->flags & SLUICE_R_EXPIRES)
		text_addf(t, ",\"expires_ms\":%" PRIu64, r->expires_ms);
}

/* Below the mount: "console/stream/NAME". */
static slice view_name(struct console *p, struct sluice_http_req *http)
{
	static const char before[] = "console/stream/";
	slice path = p->http->path(http);
	size_t n = sizeof before - 1;

	return path.len > n ? SLICE((const char *)path.data + n, path.len - n) : SLICE("", 0);
}

static void view_read(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct console *p = c->p;
	struct sluice_http_req *http = c->http;
	struct text t = {0};
	struct showing s = {.text = &t};
	size_t n;
	bool rest;

	c->req = NULL;
	(void)call_free(c);
	if (r->status) {
		answer_trouble(p, http, r->status);
		return;
	}
	n = messages_each(r, NULL, NULL);
	rest = r->flags & SLUICE_R_INSIDE && n > 1;
	s.skip = n > VIEW_MESSAGES ? n - VIEW_MESSAGES : rest;
	view_facts(&t, view_name(p, http), r);
	/* What lies before the first one shown: there is more than that. */
	text_addf(&t, ",\"next\":%" PRIu64 ",\"earlier\":%s,\"messages\":[", r->end,
	          s.skip > 0 || r->from > r->earliest || r->skip_from > 0 ? "true" : "false");
	(void)messages_each(r, view_message, &s);
	text_puts(&t, "]}\n");
	answer_json(p, http, 200, &t);
	text_fini(&t);
}

static void view_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct console *p = c->p;
	struct sluice_read rd = {.size = sizeof rd, .flags = SLUICE_RD_POS, .stream = view_name(p, c->http), .budget = VIEW_BYTES};
	int rc = r->status;

	c->req = NULL;
	rd.from = r->tail_pos > VIEW_BYTES ? r->tail_pos - VIEW_BYTES : 0;
	if (rd.from < r->earliest_pos)
		rd.from = r->earliest_pos;
	if (rc == SLUICE_OK)
		rc = p->store->read(p->ctx, &rd, view_read, c, &c->req);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}

void view_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	struct sluice_read rd = {.size = sizeof rd, .stream = view_name(p, http)};
	struct call *c;
	int rc;

	if (!console_may(p, http, "read", rd.stream))
		return;
	c = call_new(p, http, CALL_VIEW);
	if (!c)
		return;
	rc = p->store->read(p->ctx, &rd, view_found, c, &c->req);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}
