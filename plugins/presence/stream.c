/*
 * stream.c - channels followed by server-sent events (riverrun 9.3): one `bootstrap`, then each accepted update as
 * `data`, base64. Plugin presence, worker process.
 *
 * Nothing waits for a slow subscriber: what it has not taken is bounded, and beyond that it is cut off. It comes back to
 * the whole state.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "presence.h"

/* One line of base64; zero bytes give "data:" alone, which readers expect. */
int sse_data(struct presence *p, const char *event, slice bytes, struct sluice_buf **out)
{
	char head[64];
	int n = snprintf(head, sizeof head, "event: %s\ndata:%s", event, bytes.len ? " " : "");
	size_t len = (bytes.len + 2) / 3 * 4;
	char *text = NULL;

	*out = NULL;
	if (n > 0 && (size_t)n < sizeof head)
		text = malloc((size_t)n + len + 3);
	if (!text)
		return SLUICE_ENOMEM;
	memcpy(text, head, (size_t)n);
	if (bytes.len > 0)
		EVP_EncodeBlock((unsigned char *)text + n, bytes.data, (int)bytes.len);
	memcpy(text + n + len, "\n\n", 2);
	*out = p->host->buf_new(p->ctx, SLICE(text, (size_t)n + len + 2));
	free(text);
	return *out ? 0 : SLUICE_ENOMEM;
}

/* Cut off so that the client notices: it was too slow, or there is no memory. */
static void stream_cut(struct call *c)
{
	struct sluice_http_req *http = c->http;
	struct presence *p = c->p;

	call_free(c);
	p->http->reset(http);
}

void stream_end(struct call *c)
{
	struct sluice_http_req *http = c->http;
	struct presence *p = c->p;
	bool begun = c->begun;

	call_free(c);
	if (begun)
		p->http->end(http);
	else
		answer_trouble(p, http, SLUICE_EBUSY);
}

static void stream_said(struct call *c)
{
	c->said_ms = c->p->host->now_ms(c->p->ctx);
	TAILQ_REMOVE(&c->p->streams, c, link);
	TAILQ_INSERT_TAIL(&c->p->streams, c, link);
}

static bool stream_send(struct call *c, struct sluice_buf *buf)
{
	struct presence *p = c->p;

	if (!buf || p->http->pending(c->http) > QUEUE_MAX || p->http->write_buf(c->http, buf)) {
		stream_cut(c);
		return false;
	}
	stream_said(c);
	return true;
}

static void stream_state(void *arg, const struct sluice_channel_state *s)
{
	static const struct sluice_header header[] = {{STR("content-type"), STR("text/event-stream")},
	                                              {STR("cache-control"), STR("no-store")},
	                                              {STR("stream-sse-data-encoding"), STR("base64")}};
	struct call *c = arg;
	struct presence *p = c->p;
	struct sluice_buf *buf;

	if (s->status) {
		struct sluice_http_req *http = c->http;

		call_free(c);
		answer_trouble(p, http, s->status);
		return;
	}
	if (p->http->respond(c->http, 200, header, 3, -1)) {
		stream_cut(c);
		return;
	}
	c->begun = true;
	if (sse_data(p, "bootstrap", s->state, &buf) || !stream_send(c, buf)) {
		p->host->buf_unref(buf);
		return;
	}
	p->host->buf_unref(buf);
	if (p->draining)
		stream_end(c);
}

static void stream_event(void *arg, const struct sluice_channel_event *e)
{
	struct call *c = arg;

	if (e->kind == SLUICE_CHANNEL_TERMINATE)
		stream_end(c);
	else if (e->kind == SLUICE_CHANNEL_DATA && stream_send(c, event_sse(c->p, e)))
		++*c->p->n_delivered;
}

void stream_begin(struct presence *p, struct sluice_http_req *http, const struct sluice_channel *channel)
{
	struct call *c = call_new(p, http, CALL_STREAM);
	int rc;

	if (!c)
		return;
	rc = p->eph->subscribe(p->ctx, channel, stream_state, stream_event, c, &c->sub);
	if (rc) {
		call_free(c);
		answer_trouble(p, http, rc);
	}
}

/* What there is to say is written when it happens. */
void stream_pull(void *self, struct sluice_http_req *http, size_t room)
{
	(void)self;
	(void)http;
	(void)room;
}

void stream_tick(struct presence *p)
{
	uint64_t now = p->host->now_ms(p->ctx);
	struct call *c;

	while ((c = TAILQ_FIRST(&p->streams)) && now - c->said_ms >= KEEPALIVE_MS) {
		if (!c->begun)
			stream_said(c);
		else if (p->http->write(c->http, STR(": keepalive\n\n")))
			stream_cut(c);
		else
			stream_said(c);
	}
}

void stream_expire(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	struct call *c = *p->http->slot(http);

	if (c && c->magic == CALL_MAGIC && c->kind == CALL_STREAM && c->begun)
		stream_end(c);
}
