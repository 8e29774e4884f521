/*
 * console.c - the console plugin: options, routes, life of requests, the descriptor. Process: sluice-frontend.
 */
#include <stdlib.h>

#include "console.h"

static const struct sluice_option console_options[] = {
	{.name = "page",
         .type = SLUICE_T_BOOL,
         .def = "true",
         .doc = "Serve the web console and what it shows. false: /health and /metrics only."},
	{.name = "health_timeout",
         .type = SLUICE_T_DURATION,
         .def = "1s",
         .min = "10ms",
         .max = "1m",
         .doc = "How long /health waits for a sign of life of the store-writer before it answers 503."},
	{.name = NULL},
};

/* ---- requests ---- */

static struct calls *call_list(struct console *p, enum call_kind kind)
{
	return kind == CALL_TAIL ? &p->tails : kind == CALL_HEALTH ? &p->waiting : &p->calls;
}

struct call *call_new(struct console *p, struct sluice_http_req *http, enum call_kind kind)
{
	struct call *c = calloc(1, sizeof *c);

	if (!c) {
		answer_error(p, http, 503, "out of memory");
		return NULL;
	}
	*c = (struct call){.magic = CALL_MAGIC, .kind = kind, .p = p, .http = http, .said_ms = p->host->now_ms(p->ctx)};
	*p->http->slot(http) = c;
	TAILQ_INSERT_TAIL(call_list(p, kind), c, link);
	p->n_waiting += kind == CALL_HEALTH;
	p->n_tails += kind == CALL_TAIL;
	*p->n_tailing = p->n_tails;
	return c;
}

static void console_check_drained(struct console *p)
{
	if (!p->draining || p->drained || !TAILQ_EMPTY(&p->calls) || !TAILQ_EMPTY(&p->tails) || !TAILQ_EMPTY(&p->waiting))
		return;
	p->drained = true;
	p->host->drained(p->ctx);
}

struct sluice_http_req *call_free(struct call *c)
{
	struct console *p = c->p;
	struct sluice_http_req *http = c->http;

	*p->http->slot(http) = NULL;
	if (c->req)
		p->store->cancel(c->req);
	if (c->channel)
		p->host->ephemeral->cancel(c->channel);
	if (c->sub)
		p->store->unsubscribe(c->sub);
	if (c->payload)
		p->host->payload_free(c->payload);
	TAILQ_REMOVE(call_list(p, c->kind), c, link);
	p->n_waiting -= c->kind == CALL_HEALTH;
	p->n_tails -= c->kind == CALL_TAIL;
	*p->n_tailing = p->n_tails;
	c->magic = 0;
	free(c);
	console_check_drained(p);
	return http;
}

void call_gone(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	struct call *c = *p->http->slot(http);

	if (c && c->magic == CALL_MAGIC)
		(void)call_free(c);
}

bool console_may(struct console *p, struct sluice_http_req *http, const char *action, slice name)
{
	if (p->host->authorize(p->ctx, p->http->principal(http), action, name) == SLUICE_OK)
		return true;
	p->http->refuse(http);
	return false;
}

bool console_query(struct console *p, struct sluice_http_req *http, const char *name, slice *value)
{
	*value = p->http->query(http, name, 0);
	if (!value->data || !p->http->query(http, name, 1).data)
		return true;
	answer_error(p, http, 400, "a parameter is given twice");
	return false;
}

bool number_parse(slice s, uint64_t max, uint64_t *value)
{
	const char *p = s.data;

	*value = 0;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit = (uint64_t)(p[i] - '0');

		if (p[i] < '0' || p[i] > '9' || digit > max || *value > (max - digit) / 10)
			return false;
		*value = *value * 10 + digit;
	}
	return s.len > 0;
}

/* ---- life ---- */

static void console_tick(void *arg)
{
	struct console *p = arg;

	tail_tick(p);
	p->host->timer_set(p->tick, 1000);
}

static int console_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf, void **self)
{
	struct console *p = calloc(1, sizeof *p);

	if (!p)
		return SLUICE_ENOMEM;
	p->magic = CONSOLE_MAGIC;
	p->ctx = ctx;
	p->host = host;
	p->http = host->http;
	p->store = host->store;
	p->server = host->server;
	p->page = host->conf_int(conf, "page") != 0;
	p->health_ms = (uint64_t)host->conf_int(conf, "health_timeout");
	TAILQ_INIT(&p->calls);
	TAILQ_INIT(&p->tails);
	TAILQ_INIT(&p->waiting);
	p->n_scrapes = host->counter(ctx, "scrapes", "Requests for the metrics.");
	p->n_unhealthy = host->counter(ctx, "unhealthy", "Requests for the health that were answered 503.");
	p->n_tailing = host->gauge(ctx, "live_views", "Streams that consoles follow at the moment.");
	page_init(p);
	*self = p;
	return 0;
}

#define HEADER(n, v) \
	{ \
		.name = STR(n), .value = STR(v) \
	}
#define ROUTE(m, path, fn) \
	{ \
		.methods = m, .pattern = path, .flags = SLUICE_RT_OWN_AUTH, .request = fn, .gone = call_gone \
	}

/* Below the console's mount nothing is loaded from elsewhere, framed, or taken for what it does not say it is. */
static const struct sluice_header console_headers[] = {
	HEADER("content-security-policy",
               "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; base-uri 'none'; "
               "form-action 'none'; frame-ancestors 'none'"),
	HEADER("x-content-type-options", "nosniff"),
	HEADER("x-frame-options", "DENY"),
	HEADER("referrer-policy", "no-referrer"),
	HEADER("cross-origin-resource-policy", "same-origin"),
	HEADER("cross-origin-opener-policy", "same-origin"),
};

static const struct sluice_route console_routes[] = {
	ROUTE("GET|HEAD", "/health", health_request),
	ROUTE("GET|HEAD", "/healthz", health_request),
	ROUTE("GET|HEAD", "/metrics", metrics_request),
};

static const struct sluice_route page_routes[] = {
	ROUTE("GET|HEAD", "", page_redirect),
	ROUTE("GET|HEAD", "/", page_request),
	ROUTE("GET|HEAD", "/console/app.js", page_request),
	ROUTE("GET|HEAD", "/console/style.css", page_request),
	ROUTE("GET|HEAD", "/console/status", status_request),
	ROUTE("GET|HEAD", "/console/channels", channels_request),
	ROUTE("GET|HEAD", "/console/streams", streams_request),
	ROUTE("GET|HEAD", "/console/stream/*", view_request),
	{.methods = "POST",
         .pattern = "/console/stream/*",
         .flags = SLUICE_RT_OWN_AUTH | SLUICE_RT_COLLECT,
         .max_body = APPEND_MAX,
         .request = append_request,
         .gone = call_gone},
	{.methods = "GET",
         .pattern = "/console/tail/*",
         .flags = SLUICE_RT_OWN_AUTH,
         .request = tail_request,
         .pull = tail_pull,
         .gone = call_gone},
};

static int routes_add(struct console *p, const struct sluice_route *routes, size_t n)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < n; i++) {
		struct sluice_route route = routes[i];

		route.size = sizeof route;
		rc = p->http->route(p->ctx, &route);
	}
	return rc;
}

static int console_start(void *self)
{
	struct console *p = self;
	int rc = p->http->defaults(p->ctx, console_headers, sizeof console_headers / sizeof *console_headers);

	if (rc == 0)
		rc = routes_add(p, console_routes, sizeof console_routes / sizeof *console_routes);
	if (rc == 0 && p->page)
		rc = routes_add(p, page_routes, sizeof page_routes / sizeof *page_routes);
	if (rc == 0)
		rc = health_init(p);
	if (rc == 0)
		rc = p->host->timer_new(p->ctx, console_tick, p, &p->tick);
	if (rc == 0)
		p->host->timer_set(p->tick, 1000);
	return rc;
}

/* Live views come back to another worker; everything else is about to be answered. */
static void console_drain(void *self, uint64_t deadline_ms)
{
	struct console *p = self;
	struct call *c;

	(void)deadline_ms;
	p->draining = true;
	while ((c = TAILQ_FIRST(&p->tails)))
		tail_end(c);
	console_check_drained(p);
}

static void console_stop(void *self)
{
	struct console *p = self;

	health_fini(p);
	if (p->tick)
		p->host->timer_free(p->tick);
	p->magic = 0;
	free(p);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_STORE | SLUICE_CAP_HTTP | SLUICE_CAP_AUTH | SLUICE_CAP_EPHEMERAL | SLUICE_CAP_SERVER,
	.name = "console",
	.version = PACKAGE_VERSION,
	.default_mount = "/",
	.options = console_options,
	.configure = console_configure,
	.start = console_start,
	.drain = console_drain,
	.stop = console_stop,
};
