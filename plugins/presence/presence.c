/*
 * presence.c - the presence plugin: options, routes, life of calls, the descriptor. Process: sluice-frontend.
 *
 * The worker that mounts this plugin owns every ephemeral channel; the options that bound them are read by the host
 * (frontend/ephemeral/server.c).
 */
#include "presence.h"

#include <stdlib.h>

static const struct sluice_option presence_options[] = {
	{.name = "timeout",
         .type = SLUICE_T_DURATION,
         .def = "30s",
         .min = "100ms",
         .max = "1d",
         .doc = "An entry that was written longer ago than this, by its writer's clock, is expired."},
	{.name = "channel_bytes",
         .type = SLUICE_T_SIZE,
         .def = "16M",
         .min = "1K",
         .max = "64M",
         .doc = "Keys and values of one channel at most; beyond it an update is answered with 413."},
	{.name = "channel_keys",
         .type = SLUICE_T_INT,
         .def = "65536",
         .min = "1",
         .max = "1000000",
         .doc = "Keys of one channel at most."},
	{.name = "channels",
         .type = SLUICE_T_INT,
         .def = "65536",
         .min = "1",
         .max = "1000000",
         .doc = "Channels at most, of all doors."},
	{.name = "stream_channels",
         .type = SLUICE_T_INT,
         .def = "1024",
         .min = "1",
         .max = "65536",
         .doc = "Channels of one stream at most."},
	{.name = "memory",
         .type = SLUICE_T_SIZE,
         .def = "256M",
         .min = "1M",
         .max = "64G",
         .doc = "Keys and values of all channels at most."},
	{.name = NULL},
};

/* ---- calls ---- */

struct call *call_new(struct presence *p, struct sluice_http_req *http, enum call_kind kind)
{
	struct call *c = calloc(1, sizeof *c);

	if (!c) {
		answer_trouble(p, http, SLUICE_ENOMEM);
		return NULL;
	}
	c->magic = CALL_MAGIC;
	c->kind = kind;
	c->p = p;
	c->http = http;
	c->said_ms = p->host->now_ms(p->ctx);
	*p->http->slot(http) = c;
	if (kind == CALL_STREAM) {
		TAILQ_INSERT_TAIL(&p->streams, c, link);
		++*p->n_streams;
	} else {
		TAILQ_INSERT_TAIL(&p->calls, c, link);
	}
	return c;
}

static void presence_check_drained(struct presence *p)
{
	if (!p->draining || p->drained || !TAILQ_EMPTY(&p->calls) || !TAILQ_EMPTY(&p->streams))
		return;
	p->drained = true;
	p->host->drained(p->ctx);
}

void call_free(struct call *c)
{
	struct presence *p = c->p;

	*p->http->slot(c->http) = NULL;
	if (c->req)
		p->eph->cancel(c->req);
	p->eph->unsubscribe(c->sub);
	if (c->kind == CALL_STREAM) {
		TAILQ_REMOVE(&p->streams, c, link);
		--*p->n_streams;
	} else {
		TAILQ_REMOVE(&p->calls, c, link);
	}
	c->magic = 0;
	free(c);
	presence_check_drained(p);
}

void call_gone(void *self, struct sluice_http_req *http)
{
	struct presence *p = self;
	struct call *c = *p->http->slot(http);

	if (c && c->magic == CALL_MAGIC)
		call_free(c);
}

bool channel_of(slice path, char buf[sizeof DOOR + CHANNEL_MAX], struct sluice_channel *channel)
{
	if (path.len == 0 || path.len > CHANNEL_MAX)
		return false;
	memcpy(buf, DOOR, sizeof DOOR - 1);
	memcpy(buf + sizeof DOOR - 1, path.data, path.len);
	*channel = (struct sluice_channel){.size = sizeof *channel, .name = SLICE(buf, sizeof DOOR - 1 + path.len)};
	return true;
}

/* ---- one event, many subscribers ---- */

static void event_forget(struct presence *p)
{
	p->host->buf_unref(p->as_sse);
	p->host->buf_unref(p->as_message);
	p->as_sse = p->as_message = NULL;
}

static void event_remember(struct presence *p, const struct sluice_channel_event *e)
{
	if (p->serial == e->serial)
		return;
	event_forget(p);
	p->serial = e->serial;
}

struct sluice_buf *event_sse(struct presence *p, const struct sluice_channel_event *e)
{
	event_remember(p, e);
	if (!p->as_sse)
		sse_data(p, "data", e->data, &p->as_sse);
	return p->as_sse;
}

struct sluice_buf *event_message(struct presence *p, const struct sluice_channel_event *e)
{
	event_remember(p, e);
	if (!p->as_message)
		p->as_message = p->host->buf_new(p->ctx, e->data);
	return p->as_message;
}

/* ---- life ---- */

static void presence_tick(void *arg)
{
	struct presence *p = arg;

	stream_tick(p);
	p->host->timer_set(p->timer, 1000);
}

static int presence_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                              void **self)
{
	struct presence *p = calloc(1, sizeof *p);

	(void)conf;
	if (!p)
		return SLUICE_ENOMEM;
	p->magic = PRESENCE_MAGIC;
	p->ctx = ctx;
	p->host = host;
	p->http = host->http;
	p->eph = host->ephemeral;
	TAILQ_INIT(&p->calls);
	TAILQ_INIT(&p->streams);
	p->n_updates = host->counter(ctx, "updates", "Updates received.");
	p->n_refused = host->counter(ctx, "refused", "Requests and updates that were refused.");
	p->n_delivered = host->counter(ctx, "delivered", "Updates sent to subscribers.");
	p->n_streams = host->gauge(ctx, "event_streams", "Open event streams.");
	p->n_sockets = host->gauge(ctx, "sockets", "Open WebSockets.");
	*self = p;
	return 0;
}

#define DEFAULT(n, v) \
	{ \
		.name = STR(n), .value = STR(v) \
	}

static int presence_start(void *self)
{
	static const struct sluice_header defaults[] = {
		DEFAULT("access-control-allow-origin", "*"),
		DEFAULT("access-control-allow-methods", "GET, POST, DELETE, OPTIONS"),
		DEFAULT("access-control-allow-headers", "content-type, authorization"),
		DEFAULT("access-control-expose-headers", "*"),
		DEFAULT("x-content-type-options", "nosniff"),
	};
	static const struct sluice_route routes[] = {
		{.methods = "POST",
	         .pattern = "/*",
	         .action = "append",
	         .flags = SLUICE_RT_COLLECT,
	         .max_body = UPDATE_MAX,
	         .request = write_request,
	         .gone = call_gone},
		{.methods = "GET",
	         .pattern = "/*",
	         .action = "read",
	         .request = show_request,
	         .pull = stream_pull,
	         .gone = call_gone,
	         .token_query = "token",
	         .expire = stream_expire},
		{.methods = "GET", .pattern = "", .action = "read", .request = list_request, .gone = call_gone},
		{.methods = "DELETE", .pattern = "", .action = "delete", .request = clear_request, .gone = call_gone},
		{.methods = "OPTIONS",
	         .pattern = "/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
	};
	static const struct sluice_endpoint endpoint = {.size = sizeof endpoint,
	                                                .pattern = "/*",
	                                                .action = "append",
	                                                .token_query = "token",
	                                                .max_message = UPDATE_MAX,
	                                                .open = socket_open,
	                                                .message = socket_message,
	                                                .closed = socket_closed};
	struct presence *p = self;
	int rc = p->host->timer_new(p->ctx, presence_tick, p, &p->timer);

	for (size_t i = 0; rc == 0 && i < sizeof routes / sizeof *routes; i++) {
		struct sluice_route route = routes[i];

		route.size = sizeof route;
		rc = p->http->route(p->ctx, &route);
	}
	if (rc == 0)
		rc = p->host->ws->endpoint(p->ctx, &endpoint);
	if (rc == 0)
		rc = p->http->defaults(p->ctx, defaults, sizeof defaults / sizeof *defaults);
	if (rc == 0)
		p->host->timer_set(p->timer, 1000);
	return rc;
}

static void presence_drain(void *self, uint64_t deadline_ms)
{
	struct presence *p = self;
	struct call *c, *next;

	(void)deadline_ms;
	p->draining = true;
	for (c = TAILQ_FIRST(&p->streams); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->begun) /* the others are about to hear from the registry */
			stream_end(c);
	}
	presence_check_drained(p);
}

static void presence_stop(void *self)
{
	struct presence *p = self;

	p->drained = true;
	while (!TAILQ_EMPTY(&p->calls))
		call_free(TAILQ_FIRST(&p->calls));
	while (!TAILQ_EMPTY(&p->streams))
		call_free(TAILQ_FIRST(&p->streams));
	event_forget(p);
	if (p->timer)
		p->host->timer_free(p->timer);
	p->magic = 0;
	free(p);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_HTTP | SLUICE_CAP_WS | SLUICE_CAP_EPHEMERAL,
	.name = "presence",
	.version = "1.0",
	.default_mount = "/presence",
	.options = presence_options,
	.configure = presence_configure,
	.start = presence_start,
	.drain = presence_drain,
	.stop = presence_stop,
};
