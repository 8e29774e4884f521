/*
 * access-plugin.c - shows what a plugin is told about who asks: routes that decide themselves, tokens in queries, secrets of its own,
 * WebSockets whose token ends. Tests only.
 */
#include <sluice/plugin.h>
#include <stdio.h>
#include <string.h>

static const struct sluice_host *host;
static struct sluice_ctx *ctx;

#define TEXT(s) ((struct sluice_slice){s, strlen(s)})

static void show(struct sluice_http_req *r, const struct sluice_principal *p, int status)
{
	struct sluice_header type = {TEXT("content-type"), TEXT("application/json")};
	struct sluice_slice name = host->principal_name(p), sub = host->claim(p, "sub");
	char text[1024];

	snprintf(text, sizeof text, "{\"who\":%d,\"name\":\"%.*s\",\"sub\":%.*s,\"expires\":%llu,\"status\":%d,\"may\":%d}",
	         host->principal_who(p), (int)name.len, (const char *)name.data, sub.data ? (int)sub.len : 4,
	         sub.data ? (const char *)sub.data : "null", (unsigned long long)host->principal_expires(p), status,
	         host->authorize(ctx, p, "read", TEXT("mine/x")) == 0);
	host->http->reply(r, 200, &type, 1, TEXT(text));
}

static void who(void *self, struct sluice_http_req *r)
{
	(void)self;
	show(r, host->http->principal(r), 0);
}

static void mine(void *self, struct sluice_http_req *r)
{
	(void)self;
	host->http->reply(r, 200, NULL, 0, host->http->path(r));
}

static void refuse(void *self, struct sluice_http_req *r)
{
	(void)self;
	host->http->refuse(r);
}

static void verify(void *self, struct sluice_http_req *r)
{
	struct sluice_slice secret[] = {TEXT("a-secret-that-only-this-plugin-has"), TEXT("and-one-of-before-the-last-rotation")};
	struct sluice_verify how = {.size = sizeof how, .secret = secret, .n_secret = 2};
	const struct sluice_principal *p;
	int own = host->http->query(r, "own", 0).data != NULL;
	int status = host->verify(ctx, host->http->query(r, "jwt", 0), own ? &how : NULL, &p);

	(void)self;
	show(r, p, status);
	host->principal_free(p);
}

/* ---- WebSockets ---- */

static int echo_open(void *self, struct sluice_ws *ws)
{
	(void)self;
	host->ws->send(ws, host->principal_name(host->ws->principal(ws)), 0);
	return 0;
}

/* Accepts everybody, and tells those whose token is no good in a way that browsers can see. */
static int own_open(void *self, struct sluice_ws *ws)
{
	(void)self;
	if (host->principal_who(host->ws->principal(ws)) != SLUICE_WHO_KNOWN)
		host->ws->close(ws, 4001, "Unauthorized");
	return 0;
}

static void echo(void *self, struct sluice_ws *ws, struct sluice_slice message, int binary)
{
	(void)self;
	host->ws->send(ws, message, binary);
}

static void closed(void *self, struct sluice_ws *ws, int code)
{
	(void)self, (void)ws, (void)code;
}

static int configure(struct sluice_ctx *c, const struct sluice_host *h, const struct sluice_conf *conf, void **self)
{
	(void)conf;
	ctx = c;
	host = h;
	*self = &host;
	return 0;
}

static int start(void *self)
{
	static const struct sluice_route routes[] = {
		{sizeof *routes, SLUICE_RT_OWN_AUTH, "GET", "/who", "read", .request = who, .token_query = "token"},
		{sizeof *routes, SLUICE_RT_OWN_AUTH, "GET", "/refuse", "read", .request = refuse},
		{sizeof *routes, SLUICE_RT_OWN_AUTH, "GET", "/verify", "read", .request = verify},
		{sizeof *routes, 0, "GET", "/mine/*", "read", .request = mine, .token_query = "token"},
		{sizeof *routes, 0, "GET", "/header/*", "read", .request = mine},
	};
	static const struct sluice_endpoint endpoints[] = {
		{sizeof *endpoints, 0, "/echo/:id", NULL, "append", .open = echo_open, .message = echo, .closed = closed,
	         .token_query = "token"},
		{sizeof *endpoints, SLUICE_RT_OWN_AUTH, "/own/:id", NULL, "append", .open = own_open, .message = echo, .closed = closed,
	         .token_query = "token"},
	};
	int e = 0;

	(void)self;
	for (size_t i = 0; !e && i < sizeof routes / sizeof *routes; i++)
		e = host->http->route(ctx, &routes[i]);
	for (size_t i = 0; !e && i < sizeof endpoints / sizeof *endpoints; i++)
		e = host->ws->endpoint(ctx, &endpoints[i]);
	return e;
}

static void drain(void *self, uint64_t deadline)
{
	(void)self, (void)deadline;
	host->drained(ctx);
}

static void stop(void *self)
{
	(void)self;
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_HTTP | SLUICE_CAP_WS | SLUICE_CAP_AUTH,
	.name = "access",
	.version = "1",
	.default_mount = "/access",
	.configure = configure,
	.start = start,
	.drain = drain,
	.stop = stop,
};
