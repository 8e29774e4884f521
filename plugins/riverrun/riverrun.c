/*
 * riverrun.c - the Loro Streams surface as a plugin: options, dispatch by address and method, the descriptor. Process: sluice-frontend.
 */
#include "riverrun.h"

#include <stdio.h>
#include <stdlib.h>

static const struct sluice_option riverrun_options[] = {
	{.name = "long_poll_timeout",
         .type = SLUICE_T_DURATION,
         .def = "20s",
         .min = "100ms",
         .max = "30s",
         .doc = "How long a long-poll at the tail waits before it is answered with 204; clients give up after 30 seconds."},
	{.name = "sse_lifetime",
         .type = SLUICE_T_DURATION,
         .def = "60s",
         .min = "0s",
         .max = "1d",
         .doc = "After about this time, give or take a fifth, an event stream ends behind a control event; 0: never."},
	{.name = "max_body",
         .type = SLUICE_T_SIZE,
         .def = "32M",
         .min = "1M",
         .max = "512M",
         .doc = "Largest body of a create or append; beyond it the answer is 413."},
	{.name = "read_chunk",
         .type = SLUICE_T_SIZE,
         .def = "8M",
         .min = "4K",
         .max = "64M",
         .doc = "Payload of one read at most, unless a single record is larger."},
	{.name = "max_snapshot",
         .type = SLUICE_T_SIZE,
         .def = "128M",
         .min = "1M",
         .max = "512M",
         .doc = "Largest snapshot; beyond it the answer is 413."},
	{.name = NULL},
};

struct riverrun *riverrun_of(const struct call *c)
{
	return c->p->own;
}

/* ---- what is done where ---- */

static void cas_begin(struct call *c)
{
	slice expected;
	struct sluice_op *op = &c->w.op;

	if (!header_one(c, "stream-expected-offset", &expected) || !expected.data ||
	    !(slice_is(expected, "-1") || position_parse(expected, &op->expect_tail))) {
		c->code = "invalid_offset";
		answer_error(c, NULL, 400, "Stream-Expected-Offset is missing or malformed");
		return;
	}
	op->flags |= SLUICE_A_EXPECT_TAIL | SLUICE_A_EXPECT_POS;
	append_begin(c);
}

static const struct verb {
	enum address_kind at;
	const char *method, *action;
	enum call_kind kind;
	void (*begin)(struct call *);
} verbs[] = {
	{ADDRESS_STREAM, "POST", "append", CALL_WRITE, append_begin},
	{ADDRESS_STREAM, "GET", "read", CALL_READ, read_begin},
	{ADDRESS_STREAM, "HEAD", "read", CALL_HEAD, head_begin},
	{ADDRESS_STREAM, "PUT", "create", CALL_WRITE, create_begin},
	{ADDRESS_STREAM, "DELETE", "delete", CALL_WRITE, remove_begin},
	{ADDRESS_CAS, "POST", "append", CALL_WRITE, cas_begin},
	{ADDRESS_SNAPSHOT, "GET", "read", CALL_SNAPSHOT, snapshot_locate},
	{ADDRESS_SNAPSHOT_AT, "PUT", "append", CALL_WRITE, snapshot_publish},
	{ADDRESS_SNAPSHOT_AT, "GET", "read", CALL_SNAPSHOT, snapshot_read},
	{ADDRESS_SNAPSHOT_AT, "DELETE", "delete", CALL_SNAPSHOT, snapshot_remove},
	{ADDRESS_BOOTSTRAP, "GET", "read", CALL_SNAPSHOT, bootstrap_begin},
	{ADDRESS_BUCKET, "PUT", "create", CALL_BUCKET, bucket_create},
	{ADDRESS_BUCKET, "GET", "read", CALL_BUCKET, bucket_show},
	{ADDRESS_BUCKET, "DELETE", "delete", CALL_BUCKET, bucket_remove},
	{ADDRESS_LIST, "GET", "read", CALL_BUCKET, bucket_list},
};

static const struct verb *verb_find(enum address_kind at, slice method)
{
	for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
		if (verbs[i].at == at && slice_is(method, verbs[i].method))
			return &verbs[i];
	return NULL;
}

/* True: the request was refused, or its token is no good. */
static bool riverrun_refused(struct streams *p, struct sluice_http_req *http, const char *action, slice name)
{
	const struct sluice_principal *who = p->http->principal(http);
	int known = p->host->principal_who(who);
	bool good = known == SLUICE_WHO_KNOWN || known == SLUICE_WHO_ANYBODY;

	if (good && (!action || p->host->authorize(p->ctx, who, action, name) == 0))
		return false;
	++*p->count.refused;
	p->http->refuse(http);
	return true;
}

static struct call *riverrun_call(struct streams *p, struct sluice_http_req *http, enum call_kind kind,
                                  const struct address *a)
{
	struct call *c = call_new(p, http, kind);
	slice name = kind == CALL_BUCKET ? a->bucket : a->name;

	if (!c)
		return NULL;
	memcpy(c->key, a->key, sizeof c->key);
	c->name = SLICE(c->key, name.len);
	c->at = a->at;
	c->at_kind = a->at_kind;
	return c;
}

static void riverrun_channel(struct streams *p, struct sluice_http_req *http, const struct address *a)
{
	bool write = slice_is(p->http->method(http), "POST");
	struct call *c;

	if (riverrun_refused(p, http, write ? "append" : "read", a->name.data ? a->name : a->bucket))
		return;
	c = riverrun_call(p, http, CALL_CHANNEL, a);
	if (c)
		channel_request(c, a->kind == ADDRESS_STREAM);
}

static void riverrun_request(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	slice target = p->http->target(http), path = p->http->path(http);
	size_t mount = target_mount(target, path.len);
	const struct verb *verb;
	const char *code = NULL, *why;
	struct address a;
	struct call *c;

	if (riverrun_refused(p, http, NULL, SLICE(NULL, 0)))
		return;
	why = address_parse(SLICE((const char *)target.data + mount, target.len - mount), &a, &code);
	if (why) {
		answer_refuse_code(p, http, 400, code, why);
		return;
	}
	if (channel_asked(p, http)) {
		riverrun_channel(p, http, &a);
		return;
	}
	verb = verb_find(a.kind, p->http->method(http));
	if (!verb) {
		answer_refuse_code(
			p, http, a.kind == ADDRESS_NONE ? 404 : 405, a.kind == ADDRESS_NONE ? "not_found" : NULL,
			a.kind == ADDRESS_NONE ? "there is no such resource" : "there is no such method here");
		return;
	}
	if (riverrun_refused(p, http, verb->action, a.name.data ? a.name : a.bucket))
		return;
	c = riverrun_call(p, http, verb->kind, &a);
	if (c)
		verb->begin(c);
}

/* A preflight asks about headers: all that it names are allowed. */
static void riverrun_options_request(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	slice wanted = p->http->header(http, "access-control-request-headers", 0);
	struct answer a;

	answer_init(&a);
	PUT(&a, "access-control-allow-headers", wanted.len ? wanted : STR("*"));
	PUT(&a, "access-control-max-age", STR("86400"));
	p->http->reply(http, 204, a.header, a.n, STR(""));
}

/* ---- life ---- */

static void riverrun_release(struct call *c)
{
	if (c->kind == CALL_CHANNEL)
		channel_release(c);
	else
		snapshot_release(c);
}

static const struct dialect riverrun_dialect = {
	.positions = true,
	.json_errors = true,
	.soft_absent = true,
	.base64_joined = true,
	.comments = true,
	.spaced = true,
	.snapshots = true,
	.encoding = true,
	.typeless = true,
	.trimmed = "offset is outside the readable retained range",
	.sse_cache = "no-store",
	.absent = bucket_absent_stream,
	.companion = bucket_companion,
	.release = riverrun_release,
	.pull = snapshot_pull,
	.finish = channel_finish,
	.due = channel_due,
};

static int riverrun_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                              void **self)
{
	struct riverrun *own = calloc(1, sizeof *own);
	struct streams *p = NULL;
	int err = own ? streams_new(ctx, host, conf, &riverrun_dialect, &p) : SLUICE_ENOMEM;

	if (err < 0) {
		free(own);
		return err;
	}
	p->cache_control = "no-store";
	cache_control_private(p->cache_control, p->cache_private, sizeof p->cache_private);
	p->own = own;
	own->ephemeral = host->ephemeral;
	own->max_snapshot = (uint64_t)host->conf_int(conf, "max_snapshot");
	own->subscribers = host->gauge(ctx, "channel_readers", "Open subscriptions to ephemeral channels.");
	*self = p;
	return 0;
}

#define DEFAULT(n, v) \
	{ \
		.name = {n, sizeof n - 1}, .value = { v, sizeof v - 1 } \
	}
static const struct sluice_header riverrun_defaults[] = {
	DEFAULT("access-control-allow-origin", "*"),
	DEFAULT("access-control-allow-methods", "GET, HEAD, POST, PUT, DELETE, OPTIONS"),
	DEFAULT("access-control-expose-headers", "*"),
	DEFAULT("x-content-type-options", "nosniff"),
};

/* Errors of the engine's own have the form of all others; its sentences have nothing to be escaped but quotes. */
static size_t riverrun_error(int status, const char *sentence, char *body, size_t size)
{
	const char *code = status == 404 ? "not_found" : answer_code(status);
	char text[256];
	size_t n = 0;
	int len;

	for (; n < sizeof text - 1 && sentence[n]; n++)
		text[n] = sentence[n] == '"' || sentence[n] == '\\' ? '\'' : sentence[n];
	text[n] = '\0';
	len = snprintf(body, size, "{\"error\":\"%s\",\"code\":\"%s\"}", text, code);
	return len > 0 && (size_t)len < size ? (size_t)len : 0;
}

static void riverrun_listed(void *arg, int status, const struct sluice_channel_entry *e, size_t n, int more)
{
	(void)arg, (void)status, (void)e, (void)n, (void)more; /* nobody waits for it */
}

/* Only what is on is named: whether channels are, any question about them tells. */
static void riverrun_extensions(struct streams *p)
{
	const struct sluice_ephemeral *eph = ((struct riverrun *)p->own)->ephemeral;
	struct sluice_chan_req *req = NULL;
	int err = eph->list(p->ctx, STR(""), STR(""), 1, riverrun_listed, p, &req);

	if (err == 0)
		eph->cancel(req);
	p->extensions = err == SLUICE_ENOTSUP ? "snapshot, bootstrap, append-cas" : "snapshot, bootstrap, ephemeral, append-cas";
}

#define SNAPSHOTS "/:bucket/:stream/snapshot/:offset"

/* Who may is asked with the decoded name of the stream, which the path is not for every address. */
static int riverrun_route(struct streams *p, const char *pattern, uint64_t max_body)
{
	const struct sluice_route routes[] = {
		{.methods = "PUT|POST",
	         .pattern = pattern,
	         .action = "append",
	         .flags = SLUICE_RT_OWN_AUTH | SLUICE_RT_COLLECT,
	         .max_body = max_body,
	         .request = riverrun_request,
	         .gone = call_gone},
		{.methods = "GET|HEAD|DELETE",
	         .pattern = pattern,
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = riverrun_request,
	         .pull = read_pull,
	         .gone = call_gone,
	         .expire = read_expire},
		{.methods = "OPTIONS",
	         .pattern = pattern,
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = riverrun_options_request},
	};

	return streams_route(p, routes, sizeof routes / sizeof *routes);
}

static int riverrun_start(void *self)
{
	struct streams *p = self;
	struct riverrun *own = p->own;
	/* Snapshots are larger than appends; whatever else looks like one goes the same way. */
	const struct {
		const char *pattern;
		uint64_t max_body;
	} places[] = {{"/*", p->max_body}, {SNAPSHOTS, own->max_snapshot}};
	int err = streams_run(p);

	riverrun_extensions(p);
	for (size_t i = 0; err == 0 && i < sizeof places / sizeof *places; i++)
		err = riverrun_route(p, places[i].pattern, places[i].max_body);
	if (err == 0)
		err = p->http->errors(p->ctx, "application/json", riverrun_error);
	return err < 0 ? err
	               : p->http->defaults(p->ctx, riverrun_defaults,
	                                   sizeof riverrun_defaults / sizeof *riverrun_defaults);
}

static void riverrun_stop(void *self)
{
	struct streams *p = self;
	struct riverrun *own = p->own;

	if (own->event)
		p->host->buf_unref(own->event);
	own->event = NULL;
	streams_stop(p);
	free(own);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_STORE | SLUICE_CAP_HTTP | SLUICE_CAP_EPHEMERAL,
	.name = "riverrun",
	.version = PACKAGE_VERSION,
	.default_mount = "/ds",
	.options = riverrun_options,
	.configure = riverrun_configure,
	.start = riverrun_start,
	.drain = streams_drain,
	.stop = riverrun_stop,
};
