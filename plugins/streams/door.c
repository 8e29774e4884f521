/*
 * door.c - the Durable Streams protocol as a plugin: options, routes, the descriptor. Process: sluice-frontend.
 */
#include "streams.h"

#include <stdlib.h>

static const struct dialect door_dialect = {
	.forks = true,
	.origin = true,
	.closed_cursor = true,
	.trimmed = "the offset is before what is kept of the stream",
	.sse_cache = "no-cache",
};

static const struct sluice_option retention_options[] = {
	{.name = "prefix",
         .type = SLUICE_T_STRING,
         .doc = "Stream names that begin with it; the longest match decides."},
	{.name = "max_age", .type = SLUICE_T_DURATION, .def = "0s", .doc = "Records older than this go; 0 keeps them."},
	{.name = "max_bytes",
         .type = SLUICE_T_SIZE,
         .def = "0",
         .doc = "The oldest records beyond this size go; 0 keeps them."},
	{.name = NULL},
};

static const struct sluice_option door_options[] = {
	{.name = "long_poll_timeout",
         .type = SLUICE_T_DURATION,
         .def = "30s",
         .min = "100ms",
         .max = "1h",
         .doc = "How long a long-poll at the tail waits before it is answered with 204."},
	{.name = "sse_lifetime",
         .type = SLUICE_T_DURATION,
         .def = "60s",
         .min = "1s",
         .max = "1d",
         .doc = "After about this time, give or take a fifth, an event stream ends behind a control event."},
	{.name = "max_body",
         .type = SLUICE_T_SIZE,
         .def = "64M",
         .min = "1M",
         .max = "512M",
         .doc = "Largest body of a create or append; beyond it the answer is 413."},
	{.name = "read_chunk",
         .type = SLUICE_T_SIZE,
         .def = "1M",
         .min = "4K",
         .max = "64M",
         .doc = "Payload of one read at most, unless a single record is larger."},
	{.name = "compression",
         .type = SLUICE_T_BOOL,
         .def = "true",
         .doc = "Offer gzip for finite answers of 1 KiB or more."},
	{.name = "cache_control",
         .type = SLUICE_T_STRING,
         .def = "public, max-age=60, stale-while-revalidate=300",
         .doc = "Cache-Control of answers with data; lifetimes in it are shortened for streams that expire sooner, and public is private for clients with a token."},
	{.name = "retention",
         .type = SLUICE_T_LIST,
         .def = "",
         .sub = retention_options,
         .doc = "What is kept of streams; without an entry everything is."},
	{.name = NULL},
};

static int door_retention(struct streams *p, const struct sluice_conf *conf)
{
	const struct sluice_host *host = p->host;
	size_t n = host->conf_len(conf, "retention");

	if (n == 0)
		return 0;
	p->rules = calloc(n, sizeof *p->rules);
	if (!p->rules)
		return SLUICE_ENOMEM;
	p->n_rules = n;
	for (size_t i = 0; i < n; i++) {
		const struct sluice_conf *rule = host->conf_at(conf, "retention", i);
		const char *prefix = host->conf_str(rule, "prefix");

		p->rules[i] = (struct sluice_retention_rule){
			.prefix = SLICE(prefix, strlen(prefix)),
			.max_age_ms = (uint64_t)host->conf_int(rule, "max_age"),
			.max_bytes = (uint64_t)host->conf_int(rule, "max_bytes"),
		};
		if (p->rules[i].max_age_ms == 0 && p->rules[i].max_bytes == 0)
			return host->conf_error(
				rule, "", "retention without max_age or max_bytes keeps everything: leave it out");
	}
	return 0;
}

static int door_caching(struct streams *p, const struct sluice_conf *conf)
{
	const struct sluice_host *host = p->host;

	p->compression = host->conf_int(conf, "compression") != 0;
	p->cache_control = host->conf_str(conf, "cache_control");
	cache_control_private(p->cache_control, p->cache_private, sizeof p->cache_private);
	for (const char *s = p->cache_control; *s; s++)
		if (*s < 0x20 || *s > 0x7e || s - p->cache_control > 200)
			return host->conf_error(conf, "cache_control", "not a header value of at most 200 characters");
	return 0;
}

static int door_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                          void **self)
{
	struct streams *p = NULL;
	int err = streams_new(ctx, host, conf, &door_dialect, &p);

	if (err < 0)
		return err;
	err = door_retention(p, conf);
	if (err == 0)
		err = door_caching(p, conf);
	if (err < 0)
		streams_free(p);
	else
		*self = p;
	return err;
}

#define DEFAULT(n, v) \
	{ \
		.name = {n, sizeof n - 1}, .value = { v, sizeof v - 1 } \
	}
static const struct sluice_header door_defaults[] = {
	DEFAULT("access-control-allow-origin", "*"),
	DEFAULT("access-control-allow-methods", "GET, POST, PUT, DELETE, HEAD, OPTIONS"),
	DEFAULT("access-control-allow-headers",
                "content-type, authorization, If-None-Match, Stream-Seq, Stream-TTL, Stream-Expires-At, Stream-Closed, "
                "Producer-Id, Producer-Epoch, Producer-Seq, Stream-Forked-From, Stream-Fork-Offset, Stream-Fork-Sub-Offset"),
	DEFAULT("access-control-expose-headers",
                "Stream-Next-Offset, Stream-Cursor, Stream-Up-To-Date, Stream-Closed, Stream-SSE-Data-Encoding, Stream-TTL, "
                "Stream-Expires-At, Producer-Epoch, Producer-Seq, Producer-Expected-Seq, Producer-Received-Seq, ETag, "
                "Location, Content-Type, Content-Encoding, Vary, Retry-After, Stream-Earliest-Offset"),
	DEFAULT("x-content-type-options", "nosniff"),
	DEFAULT("cross-origin-resource-policy", "cross-origin"),
};

static int door_routes(struct streams *p)
{
	const struct sluice_route routes[] = {
		{.methods = "PUT",
	         .pattern = "/*",
	         .action = "create",
	         .flags = SLUICE_RT_COLLECT,
	         .max_body = p->max_body,
	         .request = create_request,
	         .gone = call_gone},
		{.methods = "POST",
	         .pattern = "/*",
	         .action = "append",
	         .flags = SLUICE_RT_COLLECT,
	         .max_body = p->max_body,
	         .request = append_request,
	         .gone = call_gone},
		{.methods = "GET",
	         .pattern = "/*",
	         .action = "read",
	         .request = read_request,
	         .pull = read_pull,
	         .gone = call_gone,
	         .expire = read_expire},
		{.methods = "HEAD", .pattern = "/*", .action = "read", .request = head_request, .gone = call_gone},
		{.methods = "DELETE",
	         .pattern = "/*",
	         .action = "delete",
	         .request = remove_request,
	         .gone = call_gone},
		/* A preflight never carries credentials. */
		{.methods = "OPTIONS",
	         .pattern = "/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "GET|HEAD",
	         .pattern = "/__ds/streams",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = list_request,
	         .gone = call_gone},
		{.methods = "OPTIONS",
	         .pattern = "/__ds/streams",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "/__ds/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "/__ds",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "GET|HEAD|PUT|POST|DELETE",
	         .pattern = "/__ds/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = reserved_request},
		{.methods = "GET|HEAD|PUT|POST|DELETE",
	         .pattern = "/__ds",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = reserved_request},
	};

	int err = streams_route(p, routes, sizeof routes / sizeof *routes);

	return err < 0 ? err : p->http->defaults(p->ctx, door_defaults, sizeof door_defaults / sizeof *door_defaults);
}

static int door_start(void *self)
{
	struct streams *p = self;
	int err = streams_run(p);

	if (err == 0)
		err = door_routes(p);
	if (err == 0 && p->n_rules > 0)
		err = p->store->retention(p->ctx, p->rules, p->n_rules);
	return err;
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_STORE | SLUICE_CAP_HTTP,
	.name = "streams",
	.version = PACKAGE_VERSION,
	.default_mount = "/v1/stream",
	.options = door_options,
	.configure = door_configure,
	.start = door_start,
	.drain = streams_drain,
	.stop = streams_stop,
};
