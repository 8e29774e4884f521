/*
 * host.c - the table that plugins get: log, configuration, buffers, payloads, counters, life, who may. Process:
 * sluice-frontend.
 *
 * Misuse (another thread, a freed handle, a foreign context) aborts with a message: the process boundary makes that
 * the safe choice.
 */
#include "frontend/worker.h"
#include "lib/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

static struct sl_conf_errors *host_conf_errors; /* not NULL: configure() is running */
static bool host_metrics_open;

void host_conf_phase(struct sl_conf_errors *errors)
{
	host_conf_errors = errors;
}

void host_metrics_phase(bool open)
{
	host_metrics_open = open;
}

void host_thread_check(void)
{
	if (!worker_the || !pthread_equal(worker_the->thread, pthread_self())) {
		sl_log(SLUICE_LOG_ERR, "misuse what=\"a host call from another thread\"");
		abort();
	}
}

void host_ctx_check(const struct sluice_ctx *ctx)
{
	host_thread_check();
	if (!ctx || ctx->magic != CTX_MAGIC) {
		sl_log(SLUICE_LOG_ERR, "misuse what=\"a host call with a context that is none\"");
		abort();
	}
}

static void host_log(struct sluice_ctx *ctx, enum sluice_level level, const char *fmt, ...)
{
	char prefix[128];
	va_list ap;

	host_ctx_check(ctx);
	snprintf(prefix, sizeof prefix, "%s: ", ctx->name);
	va_start(ap, fmt);
	sl_log_v(level, prefix, fmt, ap);
	va_end(ap);
}

static int host_conf_error(const struct sluice_conf *conf, const char *path, const char *fmt, ...)
{
	char *text = NULL;
	va_list ap;
	int n;

	host_thread_check();
	va_start(ap, fmt);
	n = vasprintf(&text, fmt, ap);
	va_end(ap);
	if (n < 0)
		return SLUICE_EINVAL;
	if (host_conf_errors)
		sl_conf_error_at(conf, path, host_conf_errors, "%s", text);
	else
		sl_log(SLUICE_LOG_ERR, "misuse what=\"conf_error outside of configure\" text=\"%s\"", text);
	free(text);
	return SLUICE_EINVAL;
}

/*
 * In start() the call claims the listener, so that the HTTP engine leaves it alone. Of several that are written alike ("127.0.0.1:0")
 * an instance always gets the same one, and the next instance another. What its plugin reads is not decrypted, so one with TLS is
 * refused rather than served in the clear.
 */
static int host_listener_fd(struct sluice_ctx *ctx, const char *name)
{
	int found = SLUICE_ENOENT;
	struct worker *w;

	host_ctx_check(ctx);
	w = ctx->worker;
	for (size_t i = 0; i < w->n_listener; i++)
		if (w->listener[i].owner == ctx && strcmp(w->listener[i].address, name) == 0)
			return w->listener[i].fd >= 0 ? w->listener[i].fd : SLUICE_ECLOSED;
	for (size_t i = 0; w->state == WORKER_STARTING && i < w->n_listener; i++) {
		if (strcmp(w->listener[i].address, name) != 0)
			continue;
		if (w->listener[i].owner) {
			found = SLUICE_EBUSY;
		} else if (w->listener[i].index < LISTENERS_MAX && w->tls[w->listener[i].index]) {
			found = SLUICE_ENOTSUP;
		} else {
			w->listener[i].owner = ctx;
			return w->listener[i].fd;
		}
	}
	return found;
}

static uint64_t host_now_ms(struct sluice_ctx *ctx)
{
	host_ctx_check(ctx);
	return worker_now(ctx->worker);
}

static uint64_t host_wall_ms(struct sluice_ctx *ctx)
{
	host_ctx_check(ctx);
	return worker_wall(ctx->worker);
}

static struct sluice_buf *host_buf_new(struct sluice_ctx *ctx, struct sluice_slice bytes)
{
	host_ctx_check(ctx);
	return shared_new(bytes);
}

static void host_drained(struct sluice_ctx *ctx)
{
	host_ctx_check(ctx);
	ctx->drained = true;
	/* Looked at by worker_turn(): stop() must not run inside this call. */
}

static void host_fail(struct sluice_ctx *ctx, const char *why)
{
	host_ctx_check(ctx);
	sl_log(SLUICE_LOG_ERR, "plugin_failed plugin=%s why=\"%s\"", ctx->name, why);
	worker_fail(ctx->worker, why);
}

/* Of a plugin that its frontend has twice the mount tells whose it is. */
static uint64_t *host_cell(struct sluice_ctx *ctx, const char *name, enum sl_metrics_kind kind, const char *help)
{
	bool twice = strcmp(ctx->name, ctx->plugin->name) != 0;
	char full[SL_METRICS_NAME];

	host_ctx_check(ctx);
	if (!host_metrics_open)
		sl_log(SLUICE_LOG_WARN,
		       "late_counter plugin=%s name=%s hint=\"register counters in configure or start\"", ctx->name,
		       name);
	snprintf(full, sizeof full, "%s.%s", ctx->plugin->name, name);
	return sl_metrics_get_at(ctx->worker->metrics, full, twice ? ctx->mount : "", kind, help);
}

static uint64_t *host_counter(struct sluice_ctx *ctx, const char *name, const char *help)
{
	return host_cell(ctx, name, SL_METRICS_COUNTER, help);
}

static uint64_t *host_gauge(struct sluice_ctx *ctx, const char *name, const char *help)
{
	return host_cell(ctx, name, SL_METRICS_GAUGE, help);
}

/* ---- who may ---- */

static void host_principal_check(const struct sluice_principal *principal)
{
	host_thread_check();
	if (principal_valid(principal))
		return;
	sl_log(SLUICE_LOG_ERR, "misuse what=\"a host call with a principal that is none\"");
	abort();
}

/* The catalogue's name of the stream: policies do not know the prefixes of instances. */
static int host_authorize(struct sluice_ctx *ctx, const struct sluice_principal *principal, const char *action,
                          struct sluice_slice stream)
{
	struct sl_buf *name = &ctx->worker->auth_name;
	size_t n = strlen(ctx->prefix);

	host_ctx_check(ctx);
	if (!principal)
		return SLUICE_EDENIED;
	host_principal_check(principal);
	if (n == 0)
		return auth_may(ctx->worker->auth, principal, action, stream);
	sl_buf_drain(name, name->len);
	if (sl_buf_add(name, ctx->prefix, n) || sl_buf_add(name, stream.data, stream.len))
		return SLUICE_EDENIED;
	return auth_may(ctx->worker->auth, principal, action, sl_buf_slice(name));
}

static struct sluice_slice host_claim(const struct sluice_principal *principal, const char *name)
{
	host_principal_check(principal);
	return principal_claim(principal, name);
}

static int host_principal_who(const struct sluice_principal *principal)
{
	host_principal_check(principal);
	return principal_who(principal);
}

static struct sluice_slice host_principal_name(const struct sluice_principal *principal)
{
	host_principal_check(principal);
	return principal_name(principal);
}

static uint64_t host_principal_expires(const struct sluice_principal *principal)
{
	host_principal_check(principal);
	return principal_expires(principal);
}

static int host_verify(struct sluice_ctx *ctx, struct sluice_slice token, const struct sluice_verify *how,
                       const struct sluice_principal **out)
{
	struct sluice_verify own = {0};

	host_ctx_check(ctx);
	/* A plugin built against a newer header may bring a longer struct, whose further members it cannot rely on here. */
	if (how)
		memcpy(&own, how, how->size < sizeof own ? how->size : sizeof own);
	return auth_verify(ctx->worker->auth, token, &own, out);
}

static void host_principal_free(const struct sluice_principal *principal)
{
	if (!principal)
		return;
	host_principal_check(principal);
	principal_unref(principal);
}

const struct sluice_host host_table = {
	.size = sizeof host_table,
	.abi_major = SLUICE_ABI_MAJOR,
	.abi_minor = SLUICE_ABI_MINOR,
	.caps = SLUICE_CAP_STORE | SLUICE_CAP_HTTP | SLUICE_CAP_WS | SLUICE_CAP_AUTH | SLUICE_CAP_EPHEMERAL |
	        SLUICE_CAP_SERVER,
	.store = &store_table,
	.http = &http_table,
	.ws = &ws_table,
	.log = host_log,
	.conf_int = sl_conf_int,
	.conf_str = sl_conf_str,
	.conf_len = sl_conf_len,
	.conf_at = sl_conf_at,
	.conf_error = host_conf_error,
	.listener_fd = host_listener_fd,
	.watch_new = loop_watch_new,
	.watch_set = loop_watch_set,
	.watch_free = loop_watch_free,
	.timer_new = loop_timer_new,
	.timer_set = loop_timer_set,
	.timer_free = loop_timer_free,
	.defer = loop_defer,
	.now_ms = host_now_ms,
	.wall_ms = host_wall_ms,
	.buf_new = host_buf_new,
	.buf_ref = shared_ref,
	.buf_unref = shared_unref,
	.payload_len = payload_len,
	.payload_map = payload_map,
	.payload_truncate = payload_truncate,
	.payload_free = payload_free,
	.drained = host_drained,
	.fail = host_fail,
	.counter = host_counter,
	.gauge = host_gauge,
	.authorize = host_authorize,
	.claim = host_claim,
	.ephemeral = &ephemeral_table,
	.principal_who = host_principal_who,
	.principal_name = host_principal_name,
	.principal_expires = host_principal_expires,
	.verify = host_verify,
	.principal_free = host_principal_free,
	.server = &server_table,
};
