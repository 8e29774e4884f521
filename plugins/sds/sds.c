/*
 * sds.c - the sds plugin: options, routes, the clock, life of the instance, the descriptor. Process: sluice-frontend.
 */
#include "sds.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum { SECRET_MIN = 32, SECRET_MAX = 1024, SECRETS_MAX = 64 };

static const struct sluice_option secret_option[] = {
	{.name = "",
         .type = SLUICE_T_STRING,
         .doc = "At least 32 characters, taken as they are.",
         .flags = SLUICE_OPT_SECRET},
	{.name = NULL},
};

static const struct sluice_option origin_option[] = {
	{.name = "", .type = SLUICE_T_STRING, .doc = "As a browser sends it: https://example.org; or * for any."},
	{.name = NULL},
};

static const struct sluice_option sds_options[] = {
	{.name = "secrets",
         .type = SLUICE_T_LIST,
         .sub = secret_option,
         .flags = SLUICE_OPT_SECRET,
         .doc = "What tokens are signed with (HS256), 32 to 1024 characters each; any of them is accepted, new tokens get the first one's "
                "signature. At least one is needed."},
	{.name = "issuer",
         .type = SLUICE_T_STRING,
         .def = "",
         .doc = "What has to be in a token's iss, and is put into new ones; empty: it does not matter."},
	{.name = "origins",
         .type = SLUICE_T_LIST,
         .def = "",
         .sub = origin_option,
         .doc = "Origins of pages in browsers that may use the requests; sockets are not bound to them."},
	{.name = "storage",
         .type = SLUICE_T_BOOL,
         .def = "true",
         .doc = "Keep what clients send and serve it to those who come later; false: a mere relay, which remembers nothing."},
	{.name = "max_message",
         .type = SLUICE_T_SIZE,
         .def = "100M",
         .min = "1K",
         .max = "512M",
         .doc = "Largest frame; a larger one closes its connection with 1009."},
	{.name = "max_value",
         .type = SLUICE_T_SIZE,
         .def = "512M",
         .min = "1K",
         .max = "4G",
         .doc = "Largest value."},
	{.name = "reassembly",
         .type = SLUICE_T_SIZE,
         .def = "256M",
         .min = "1M",
         .max = "4G",
         .doc = "Bytes of values in chunks that one connection may have under way; what does not fit is relayed, but not kept."},
	{.name = "reassembly_memory",
         .type = SLUICE_T_SIZE,
         .def = "1G",
         .min = "1M",
         .max = "64G",
         .doc = "The same of all connections of a worker."},
	{.name = "keep_compacted",
         .type = SLUICE_T_DURATION,
         .def = "7d",
         .min = "0s",
         .max = "3650d",
         .doc = "How long what a compaction has replaced can still be read; 0s: it is gone at once."},
	{.name = "send_queue",
         .type = SLUICE_T_SIZE,
         .def = "64M",
         .min = "64K",
         .max = "1G",
         .doc = "Bytes of frames other than patches that may wait for one slow client; beyond, it is closed with 1013."},
	{.name = "presence_timeout",
         .type = SLUICE_T_DURATION,
         .def = "120s",
         .min = "1s",
         .max = "1d",
         .doc = "A presence state that is not sent again within this time is forgotten."},
	{.name = "store_connections",
         .type = SLUICE_T_INT,
         .def = "1000",
         .min = "1",
         .max = "1000000",
         .doc = "Most connections to one store at a worker; beyond, they are closed with 1013."},
	{.name = NULL},
};

/* ---- the clock ---- */

uint64_t sds_now(const struct sds *s)
{
	return s->host->now_ms(s->ctx);
}

uint64_t sds_wall(const struct sds *s)
{
	return s->host->wall_ms(s->ctx);
}

uint64_t sds_random(void)
{
	uint64_t v = 0;

	/* So few bytes are never short and never interrupted (getrandom(2)); without them nobody could be told from anybody else. */
	if (getrandom(&v, sizeof v, 0) != sizeof v)
		abort();
	return v;
}

static bool sds_waits(const struct sds *s)
{
	return !TAILQ_EMPTY(&s->asking) || !TAILQ_EMPTY(&s->parked) || !TAILQ_EMPTY(&s->due) || !TAILQ_EMPTY(&s->retry) || !TAILQ_EMPTY(&s->casts);
}

/* Not put off by whoever asks for it in between. */
void sds_tick_soon(struct sds *s)
{
	if (!s->soon)
		s->host->timer_set(s->timer, TICK_MS);
	s->soon = true;
}

static void room_sweep(struct room *r, uint64_t now)
{
	struct peer *p;

	presence_expire(r);
	large_expire(r);
	TAILQ_FOREACH(p, &r->peers, link)
		sets_expire(&p->sets, now);
}

static void sds_sweep(struct sds *s)
{
	uint64_t now = sds_now(s);

	for (size_t i = 0; i < ROOM_BUCKETS; i++)
		for (struct room *r = s->bucket[i]; r; r = r->next_in_bucket)
			room_sweep(r, now);
}

static void sds_tick(void *arg)
{
	struct sds *s = arg;
	uint64_t now = sds_now(s);

	peers_tick(s);
	parked_tick(s);
	rooms_tick(s);
	casts_tick(s);
	calls_tick(s);
	if (now - s->swept_ms >= 1000) {
		s->swept_ms = now;
		sds_sweep(s);
	}
	s->soon = sds_waits(s);
	s->host->timer_set(s->timer, s->soon ? TICK_MS : 1000);
}

/* ---- configuration ---- */

static int configure_secrets(struct sds *s, const struct sluice_conf *conf)
{
	size_t n = s->host->conf_len(conf, "secrets");
	int rc = 0;

	if (n == 0 || n > SECRETS_MAX)
		return s->host->conf_error(conf, "secrets", "one to %d secrets are needed", SECRETS_MAX);
	s->secrets = calloc(n, sizeof *s->secrets);
	if (!s->secrets)
		return SLUICE_ENOMEM;
	s->n_secrets = n;
	for (size_t i = 0; i < n; i++) {
		const char *text = s->host->conf_str(s->host->conf_at(conf, "secrets", i), "");
		size_t len = strlen(text);

		if (len < SECRET_MIN || len > SECRET_MAX)
			rc = s->host->conf_error(conf, "secrets", "a secret has %d to %d characters, number %zu has %zu",
			                         SECRET_MIN, SECRET_MAX, i + 1, len);
		s->secrets[i] = SLICE(text, len);
	}
	return rc;
}

static int configure_origins(struct sds *s, const struct sluice_conf *conf)
{
	size_t n = s->host->conf_len(conf, "origins");

	s->origins = calloc(n + 1, sizeof *s->origins);
	if (!s->origins)
		return SLUICE_ENOMEM;
	for (s->n_origins = 0; s->n_origins < n; s->n_origins++) {
		const char *text = s->host->conf_str(s->host->conf_at(conf, "origins", s->n_origins), "");

		s->origins[s->n_origins] = SLICE(text, strlen(text));
	}
	return 0;
}

static void configure_counters(struct sds *s)
{
	static const char *const scopes[] = {"connections_read", "connections_write", "connections_admin"};
	static const char *const types[] = {NULL, "patch", "value", "req_value", "presence", "value_chunk", "sync_req", "other"};
	static char in_names[8][24], out_names[8][24];
	const struct sluice_host *h = s->host;
	struct sluice_ctx *ctx = s->ctx;

	for (int i = 0; i < 3; i++)
		s->count.connections[i] = h->gauge(ctx, scopes[i], "Open sync sockets by scope.");
	for (int i = 1; i < 8; i++) {
		snprintf(in_names[i], sizeof in_names[i], "in_%s", types[i]);
		snprintf(out_names[i], sizeof out_names[i], "out_%s", types[i]);
		s->count.in[i] = h->counter(ctx, in_names[i], "Frames taken from clients, by type.");
		s->count.out[i] = h->counter(ctx, out_names[i], "Frames made for clients, by type.");
	}
	s->count.signals = h->gauge(ctx, "connections_signal", "Open signalling sockets.");
	s->count.states = h->gauge(ctx, "presence_states", "Presence states known to this worker.");
	s->count.in_bytes = h->counter(ctx, "in_bytes", "Bytes of frames taken from clients.");
	s->count.out_bytes = h->counter(ctx, "out_bytes", "Bytes of frames made for clients.");
	s->count.refused_4001 = h->counter(ctx, "refused_unauthorized", "Sockets and requests with a token that is no good.");
	s->count.refused_4003 = h->counter(ctx, "refused_forbidden", "Sockets and requests with the token of another store.");
	s->count.read_scope = h->counter(ctx, "dropped_read_scope", "Frames dropped because their sender may only read.");
	s->count.appended = h->counter(ctx, "log_rows", "Patches added to logs.");
	s->count.appended_bytes = h->counter(ctx, "log_bytes", "Bytes of patches added to logs.");
	s->count.repeated = h->counter(ctx, "log_repeated", "Patches that their log had already.");
	s->count.replays = h->counter(ctx, "replays", "Logs sent from some point on.");
	s->count.replayed_bytes = h->counter(ctx, "replayed_bytes", "Bytes of patches sent that way.");
	s->count.answered = h->counter(ctx, "join_answered", "Newcomers that answered the question for what they have.");
	s->count.timed_out = h->counter(ctx, "join_timed_out", "Newcomers that did not.");
	s->count.overflows = h->counter(ctx, "overflows", "Clients closed because they were too slow.");
	s->count.failures = h->counter(ctx, "closed_failures", "Clients closed with 1011 or 1013.");
	s->count.values = h->counter(ctx, "values", "Values kept that came by socket.");
	s->count.values_rejected = h->counter(ctx, "values_rejected", "Values whose name their content does not confirm, malformed chunks.");
	s->count.values_dropped = h->counter(ctx, "values_dropped", "Chunks that no room was left for.");
	s->count.values_sent = h->counter(ctx, "values_sent", "Values sent to clients that asked for them.");
	s->count.provider = h->counter(ctx, "provider_requests", "Requests to the persistence provider.");
	s->count.conflicts = h->counter(ctx, "provider_conflicts", "Patches put under a clock that has another one.");
	s->count.compactions = h->counter(ctx, "compactions", "Logs whose beginning was replaced by one patch.");
	s->count.casts_lost = h->counter(ctx, "relay_lost", "Frames that did not reach the other workers.");
}

static bool counters_there(const struct sds *s)
{
	for (int i = 1; i < 8; i++)
		if (!s->count.in[i] || !s->count.out[i])
			return false;
	return s->count.connections[0] && s->count.connections[1] && s->count.connections[2] && s->count.casts_lost;
}

static void sds_free(struct sds *s)
{
	free(s->secrets);
	free(s->origins);
	s->magic = 0;
	free(s);
}

static int sds_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf, void **self)
{
	struct sds *s = calloc(1, sizeof *s);
	int rc;

	if (!s)
		return SLUICE_ENOMEM;
	s->magic = SDS_MAGIC;
	s->ctx = ctx;
	s->host = host;
	s->http = host->http;
	s->ws = host->ws;
	s->store = host->store;
	s->eph = host->ephemeral;
	TAILQ_INIT(&s->asking);
	TAILQ_INIT(&s->due);
	TAILQ_INIT(&s->parked);
	TAILQ_INIT(&s->retry);
	TAILQ_INIT(&s->news);
	TAILQ_INIT(&s->casts);
	TAILQ_INIT(&s->calls);
	TAILQ_INIT(&s->appends);
	TAILQ_INIT(&s->changes);
	TAILQ_INIT(&s->wires);
	s->issuer = host->conf_str(conf, "issuer");
	s->storage = host->conf_int(conf, "storage");
	s->max_message = (uint64_t)host->conf_int(conf, "max_message");
	s->set_limits = (struct set_limits){.value = (uint64_t)host->conf_int(conf, "max_value"),
	                                    .bytes = (uint64_t)host->conf_int(conf, "reassembly"),
	                                    .total = (uint64_t)host->conf_int(conf, "reassembly_memory")};
	s->send_queue = (uint64_t)host->conf_int(conf, "send_queue");
	s->keep_ms = (uint64_t)host->conf_int(conf, "keep_compacted");
	s->presence_ms = (uint64_t)host->conf_int(conf, "presence_timeout");
	s->store_connections = (uint64_t)host->conf_int(conf, "store_connections");
	s->seed = sds_random();
	rc = configure_secrets(s, conf);
	if (rc == 0)
		rc = configure_origins(s, conf);
	if (rc == 0)
		configure_counters(s);
	if (rc == 0 && !counters_there(s))
		rc = SLUICE_ENOMEM;
	if (rc) {
		sds_free(s);
		return rc;
	}
	*self = s;
	return 0;
}

/* ---- life ---- */

static int sds_start(void *self)
{
	static const struct sluice_route routes[] = {
		{.methods = "POST",
	         .pattern = "/api/token",
	         .action = "admin",
	         .flags = SLUICE_RT_COLLECT | SLUICE_RT_OWN_AUTH,
	         .max_body = 64 * 1024,
	         .request = token_request},
		{.methods = "GET",
	         .pattern = "/api/presence/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = presence_request,
	         .gone = call_gone},
		{.methods = "GET",
	         .pattern = "/api/log/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = log_request,
	         .pull = log_pull,
	         .gone = call_gone},
		{.methods = "POST",
	         .pattern = "/api/log/*",
	         .action = "admin",
	         .flags = SLUICE_RT_COLLECT | SLUICE_RT_OWN_AUTH,
	         .request = compact_request,
	         .gone = call_gone},
		{.methods = "GET|PUT|DELETE",
	         .pattern = "/api/persistence/*",
	         .action = "append",
	         .flags = SLUICE_RT_COLLECT | SLUICE_RT_OWN_AUTH,
	         .request = provider_request,
	         .pull = provider_pull,
	         .gone = call_gone},
		{.methods = "OPTIONS",
	         .pattern = "/api/token",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "/api/presence/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "/api/log/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "OPTIONS",
	         .pattern = "/api/persistence/*",
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH,
	         .request = options_request},
		{.methods = "GET",
	         .pattern = "/healthz", /* the console's is the same question */
	         .action = "read",
	         .flags = SLUICE_RT_OWN_AUTH | SLUICE_RT_YIELD,
	         .request = health_request,
	         .gone = call_gone},
	};
	struct sds *s = self;
	struct sluice_endpoint endpoint = {.size = sizeof endpoint,
	                                   .flags = SLUICE_RT_OWN_AUTH,
	                                   .pattern = "/ws/*",
	                                   .action = "append",
	                                   .max_message = s->max_message,
	                                   .open = sync_open,
	                                   .message = peer_message,
	                                   .pull = peer_pull,
	                                   .closed = peer_closed};
	int rc = s->host->timer_new(s->ctx, sds_tick, s, &s->timer);

	for (size_t i = 0; rc == 0 && i < sizeof routes / sizeof *routes; i++) {
		struct sluice_route route = routes[i];

		route.size = sizeof route;
		if (route.request == provider_request)
			route.max_body = s->set_limits.value;
		if (route.request == compact_request) /* it goes out as a frame */
			route.max_body = s->max_message - 1;
		rc = s->http->route(s->ctx, &route);
	}
	if (rc == 0)
		rc = s->ws->endpoint(s->ctx, &endpoint);
	endpoint.pattern = "/signal/*";
	endpoint.open = signal_open;
	if (rc == 0)
		rc = s->ws->endpoint(s->ctx, &endpoint);
	if (rc == 0)
		s->host->timer_set(s->timer, 1000);
	return rc;
}

void sds_check_drained(struct sds *s)
{
	if (!s->draining || s->drained || !TAILQ_EMPTY(&s->calls))
		return;
	s->drained = true;
	s->host->drained(s->ctx);
}

/* Sockets are closed by the engine (1001). */
static void sds_drain(void *self, uint64_t deadline_ms)
{
	struct sds *s = self;

	(void)deadline_ms;
	s->draining = true;
	sds_check_drained(s);
}

static void sds_stop(void *self)
{
	struct sds *s = self;

	s->drained = true;
	while (!TAILQ_EMPTY(&s->calls))
		call_free(TAILQ_FIRST(&s->calls));
	appends_drop(s);
	wires_drop(s);
	changes_drop(s);
	while (!TAILQ_EMPTY(&s->casts))
		cast_free(TAILQ_FIRST(&s->casts));
	if (s->timer)
		s->host->timer_free(s->timer);
	sds_free(s);
}

SLUICE_PLUGIN = {
	SLUICE_HEAD,
	.needs = SLUICE_CAP_STORE | SLUICE_CAP_HTTP | SLUICE_CAP_WS | SLUICE_CAP_AUTH | SLUICE_CAP_EPHEMERAL,
	.name = "sds",
	.version = "1.0",
	.default_mount = "/",
	.options = sds_options,
	.configure = sds_configure,
	.start = sds_start,
	.drain = sds_drain,
	.stop = sds_stop,
};
