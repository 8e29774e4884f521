/*
 * witness.c - a plugin that writes down the life-cycle events of a prefix and shows them. For events.test.mjs.
 *
 * GET below its mount answers everything it has heard, one line an event: "created NAME TYPE", "removed NAME",
 * "soft NAME", "resync".
 */
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct witness {
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const char *prefix;
	struct sluice_sub *sub;
	char text[64 * 1024];
	size_t len;
};

static const struct sluice_option options[] = {
	{.name = "watch", .type = SLUICE_T_STRING, .def = "x", .doc = "Which names."},
	{.name = NULL},
};

static void witness_event(void *arg, const struct sluice_event *e)
{
	struct witness *w = arg;
	const char *what = e->kind & SLUICE_EV_RESYNC    ? "resync"
	                   : e->kind & SLUICE_EV_CREATED ? "created"
	                   : e->kind & SLUICE_EV_SOFT    ? "soft"
	                                                 : "removed";
	size_t room = sizeof w->text - w->len;
	int n = snprintf(w->text + w->len, room, "%s %.*s %.*s%s\n", what, (int)e->stream.len,
	                 (const char *)e->stream.data, e->kind & SLUICE_EV_CREATED ? (int)e->content_type.len : 0,
	                 (const char *)e->content_type.data, e->time_ms == 0 && *what != 'r' ? " no time" : "");

	if (n > 0 && (size_t)n < room)
		w->len += (size_t)n;
}

static void witness_request(void *self, struct sluice_http_req *req)
{
	struct witness *w = self;

	w->host->http->reply(req, 200, NULL, 0, (struct sluice_slice){w->text, w->len});
}

static int witness_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                             void **self)
{
	struct witness *w = calloc(1, sizeof *w);

	if (!w)
		return SLUICE_ENOMEM;
	w->ctx = ctx;
	w->host = host;
	w->prefix = host->conf_str(conf, "watch");
	*self = w;
	return SLUICE_OK;
}

static int witness_start(void *self)
{
	static const struct sluice_route route = {.size = sizeof route,
	                                          .methods = "GET",
	                                          .pattern = "/heard",
	                                          .action = "read",
	                                          .request = witness_request};
	struct witness *w = self;
	int e = w->host->http->route(w->ctx, &route);

	return e ? e
	         : w->host->store->subscribe_prefix(w->ctx, (struct sluice_slice){w->prefix, strlen(w->prefix)},
	                                            witness_event, w, &w->sub);
}

static void witness_drain(void *self, uint64_t deadline_ms)
{
	struct witness *w = self;

	(void)deadline_ms;
	w->host->drained(w->ctx);
}

static void witness_stop(void *self)
{
	struct witness *w = self;

	if (w->sub)
		w->host->store->unsubscribe(w->sub);
	free(w);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_HTTP | SLUICE_CAP_STORE,
	.name = "witness",
	.version = "1",
	.default_mount = "/",
	.options = options,
	.configure = witness_configure,
	.start = witness_start,
	.drain = witness_drain,
	.stop = witness_stop,
};
