/*
 * hello.c - the smallest plugin that does something: GET /hello/NAME, and a WebSocket at /echo. See sluice-plugin(7).
 *
 * It includes nothing but the ABI and the C library and links nothing: every service of the host comes through its
 * tables.
 */
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct sluice_option options[] = {
	{.name = "greeting", .type = SLUICE_T_STRING, .def = "Hello", .doc = "How people are greeted."},
	{.name = NULL},
};

struct hello { /* one for each entry of the YAML file that names this plugin */
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const char *greeting; /* the host's; lives as long as the instance */
	uint64_t *echoes;
};

static struct sluice_slice text_of(const char *s)
{
	return (struct sluice_slice){s, strlen(s)};
}

static void hello_request(void *self, struct sluice_http_req *req)
{
	const struct sluice_header plain[] = {{text_of("content-type"), text_of("text/plain; charset=utf-8")}};
	const size_t skip = sizeof "hello/" - 1;
	struct hello *h = self;
	struct sluice_slice path = h->host->http->path(req); /* below the mount, decoded, not NUL-terminated */
	char text[512];
	int n;

	n = snprintf(text, sizeof text, "%s, %.*s!\n", h->greeting, (int)(path.len - skip),
	             (const char *)path.data + skip);
	if (n < 0 || (size_t)n >= sizeof text) /* a stranger chose the length */
		h->host->http->reply(req, 414, plain, 1, text_of("A shorter name, please.\n"));
	else
		h->host->http->reply(req, 200, plain, 1, (struct sluice_slice){text, (size_t)n});
}

static int echo_open(void *self, struct sluice_ws *ws)
{
	(void)self, (void)ws;
	return 0; /* anything else refuses the client with 403 */
}

static void echo_message(void *self, struct sluice_ws *ws, struct sluice_slice message, int binary)
{
	struct hello *h = self;

	if (h->host->ws->send(ws, message, binary) == SLUICE_OK) /* copies; the message is ours during this call only */
		++*h->echoes;
	else /* its queue is full: whoever talks has to listen */
		h->host->ws->close(ws, 1008, "read what you are sent");
}

static void echo_closed(void *self, struct sluice_ws *ws, int code)
{
	struct hello *h = self;

	(void)ws; /* from here on ws means nothing; whatever its slot() pointed to would be freed here */
	h->host->log(h->ctx, SLUICE_LOG_DEBUG, "echo_closed code=%d", code);
}

/* Runs in `sluiced -t` as well: reads the configuration and does nothing else. */
static int hello_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                           void **self)
{
	struct hello *h = calloc(1, sizeof *h);

	if (!h)
		return SLUICE_ENOMEM;
	h->ctx = ctx;
	h->host = host;
	h->greeting = host->conf_str(conf, "greeting");
	if (!*h->greeting) {
		free(h);
		/* The host adds file:line:column. */
		return host->conf_error(conf, "greeting", "must not be empty");
	}
	h->echoes = host->counter(ctx, "hello_echoes", "Messages sent back.");
	*self = h;
	return SLUICE_OK;
}

static int hello_start(void *self)
{
	static const struct sluice_route route = {
		.size = sizeof route,
		.flags = SLUICE_RT_COLLECT,
		.methods = "GET",
		.pattern = "/hello/:name",
		.action = "read",
		.request = hello_request,
	};
	static const struct sluice_endpoint endpoint = {
		.size = sizeof endpoint,
		.pattern = "/echo",
		.action = "read",
		.max_message = 1 << 20,
		.open = echo_open,
		.message = echo_message,
		.closed = echo_closed,
	};
	struct hello *h = self;
	int e = h->host->http->route(h->ctx, &route);

	return e ? e : h->host->ws->endpoint(h->ctx, &endpoint);
}

static void hello_drain(void *self, uint64_t deadline_ms)
{
	struct hello *h = self;

	(void)deadline_ms; /* the host finishes requests and closes WebSockets by itself */
	h->host->drained(h->ctx);
}

static void hello_stop(void *self)
{
	free(self);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_HTTP | SLUICE_CAP_WS,
	.name = "hello",
	.version = "1.0",
	.default_mount = "/",
	.options = options,
	.configure = hello_configure,
	.start = hello_start,
	.drain = hello_drain,
	.stop = hello_stop,
};
