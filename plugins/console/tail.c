/*
 * tail.c - a stream followed by server-sent events, for the page. Plugin console, worker process.
 *
 * Events: `message` with the next offset and what message.c shows; `gap` when records were trimmed before they were read; `end` when
 * the stream is closed or gone. The tail is read in steps, and not while much is unsent. Of a message that is larger than a step the rest is
 * left out: it is for looking at.
 */
#include <inttypes.h>

#include "console.h"

static slice tail_name(struct console *p, struct sluice_http_req *http)
{
	static const char before[] = "console/tail/";
	slice path = p->http->path(http);
	size_t n = sizeof before - 1;

	return path.len > n ? SLICE((const char *)path.data + n, path.len - n) : SLICE("", 0);
}

/* Cut off so that the client notices: there is no memory. It comes back by itself. */
static void tail_cut(struct call *c)
{
	struct console *p = c->p;

	p->http->reset(call_free(c));
}

void tail_end(struct call *c)
{
	struct console *p = c->p;

	p->http->end(call_free(c));
}

static bool tail_write(struct call *c, const struct text *t)
{
	struct console *p = c->p;

	if (t->len == 0 && !t->failed)
		return true;
	if (t->failed || p->http->write(c->http, text_slice(t))) {
		tail_cut(c);
		return false;
	}
	c->said_ms = p->host->now_ms(p->ctx);
	TAILQ_REMOVE(&p->tails, c, link); /* the longest silent one stays first */
	TAILQ_INSERT_TAIL(&p->tails, c, link);
	return true;
}

static void tail_over(struct call *c, const char *why)
{
	struct text t = {0};
	bool written;

	text_addf(&t, "event: end\ndata: {\"why\":\"%s\"}\n\n", why);
	written = tail_write(c, &t);
	text_fini(&t);
	if (written)
		tail_end(c);
}

/* ---- reading on ---- */

static void tail_message(void *arg, const struct message *m)
{
	struct text *t = arg;

	text_puts(t, "event: message\ndata: ");
	message_json(t, m);
	text_puts(t, "\n\n");
}

static void tail_go(struct call *c);

static void tail_read(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct text t = {0};
	bool written;

	c->req = NULL;
	if (r->status == SLUICE_EGONE && r->reason == SLUICE_WHY_TRIMMED) {
		c->offset = r->earliest;
		text_puts(&t, "event: gap\ndata: {}\n\n");
	} else if (r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE) {
		tail_over(c, "removed");
		return;
	} else if (r->status) {
		tail_cut(c);
		return;
	} else {
		(void)messages_each(r, tail_message, &t);
		c->offset = r->end;
		c->more = !(r->flags & SLUICE_R_UP_TO_DATE);
		if (r->end > r->from)
			text_addf(&t, "event: offset\ndata: %" PRIu64 "\n\n", r->end);
	}
	written = tail_write(c, &t);
	text_fini(&t);
	if (!written)
		return;
	if (r->status == SLUICE_OK && !c->more && r->flags & SLUICE_R_CLOSED)
		tail_over(c, "closed");
	else
		tail_go(c);
}

static void tail_go(struct call *c)
{
	struct console *p = c->p;
	struct sluice_read rd = {.size = sizeof rd, .stream = tail_name(p, c->http), .from = c->offset, .budget = TAIL_STEP};

	if (!c->more || c->req || p->http->pending(c->http) > TAIL_UNSENT)
		return;
	if (p->store->read(p->ctx, &rd, tail_read, c, &c->req)) {
		c->req = NULL;
		tail_cut(c);
	}
}

static void tail_event(void *arg, const struct sluice_event *e)
{
	struct call *c = arg;

	if (e->kind & SLUICE_EV_REMOVED) {
		tail_over(c, "removed");
		return;
	}
	c->more = true;
	tail_go(c);
}

void tail_pull(void *self, struct sluice_http_req *http, size_t room)
{
	struct console *p = self;
	struct call *c = *p->http->slot(http);

	(void)room;
	if (c && c->magic == CALL_MAGIC && c->kind == CALL_TAIL)
		tail_go(c);
}

/* ---- begin and end ---- */

void tail_request(void *self, struct sluice_http_req *http)
{
	static const struct sluice_header header[] = {{STR("content-type"), STR("text/event-stream")},
	                                              {STR("cache-control"), STR("no-store")}};
	struct console *p = self;
	slice name = tail_name(p, http), from;
	uint64_t offset = 0;
	struct call *c;
	int rc;

	if (!console_may(p, http, "read", name) || !console_query(p, http, "offset", &from))
		return;
	if (from.data && !number_parse(from, UINT64_MAX - 1, &offset)) {
		answer_error(p, http, 400, "offset is a number");
		return;
	}
	if (p->draining || p->n_tails >= TAILS_MAX) {
		answer_error(p, http, 503, p->draining ? "this worker is being replaced; try again" : "too many live views at once");
		return;
	}
	c = call_new(p, http, CALL_TAIL);
	if (!c)
		return;
	c->offset = offset;
	c->expires_ms = p->host->principal_expires(p->http->principal(http));
	/* Looking at a stream does not keep it from expiring. */
	rc = p->store->subscribe(p->ctx, name, 0, tail_event, c, &c->sub);
	if (rc) {
		answer_trouble(p, call_free(c), rc);
		return;
	}
	if (p->http->respond(http, 200, header, 2, -1) || p->http->write(http, STR(": tail\n\n")))
		tail_cut(c);
}

/* Each second: tokens that have expired, clients that heard nothing for long. */
void tail_tick(struct console *p)
{
	uint64_t now = p->host->now_ms(p->ctx), wall = p->host->wall_ms(p->ctx);
	struct call *c, *next;

	for (c = TAILQ_FIRST(&p->tails); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->expires_ms && c->expires_ms <= wall)
			tail_over(c, "the token has expired");
	}
	while ((c = TAILQ_FIRST(&p->tails)) && now - c->said_ms >= KEEPALIVE_MS) {
		struct text t = {0};

		text_puts(&t, ": keepalive\n\n");
		(void)tail_write(c, &t);
		text_fini(&t);
	}
}
