/*
 * instance.c - the plugin instances of a worker: made from the YAML, started, drained, stopped, reclaimed. Process:
 * sluice-frontend.
 */
#include "frontend/worker.h"
#include "lib/log.h"
#include "lib/options.h"

#include <stdio.h>
#include <stdlib.h>

static void instance_free(struct sluice_ctx *ctx)
{
	if (!ctx)
		return;
	free(ctx->name);
	free(ctx->mount);
	free(ctx->prefix);
	free((void *)(uintptr_t)ctx->plugin);
	ctx->magic = 0;
	free(ctx);
}

/* "streams", or "streams:/mount" when the frontend has it more than once. */
static char *instance_name(const struct worker *w, const struct sluice_ctx *ctx)
{
	size_t same = 0;
	char *name;

	for (size_t i = 0; i < sl_conf_len(w->frontend, "plugins"); i++)
		same += strcmp(sl_conf_str(sl_conf_at(w->frontend, "plugins", i), "plugin"),
		               sl_conf_str(ctx->conf, "plugin")) == 0;
	if (asprintf(&name, same > 1 ? "%s:%s" : "%s", ctx->plugin->name, ctx->mount) < 0)
		return NULL;
	return name;
}

static struct sluice_ctx *instance_new(struct worker *w, const struct sluice_plugin *plugin,
                                       const struct sluice_conf *conf)
{
	struct sluice_ctx *ctx = calloc(1, sizeof *ctx);
	const char *mount = sl_conf_str(conf, "mount"), *prefix = sl_conf_str(conf, "prefix");

	if (!ctx)
		return NULL;
	ctx->magic = CTX_MAGIC;
	ctx->worker = w;
	ctx->plugin = plugin;
	ctx->conf = conf;
	sl_link_init(&ctx->reqs);
	sl_link_init(&ctx->subs);
	sl_link_init(&ctx->watches);
	sl_link_init(&ctx->timers);
	sl_link_init(&ctx->defers);
	sl_link_init(&ctx->rooms);
	sl_link_init(&ctx->chan_reqs);
	sl_link_init(&ctx->chan_subs);
	if (!*mount)
		mount = plugin->default_mount && *plugin->default_mount ? plugin->default_mount : "/";
	ctx->mount = strdup(mount);
	if (asprintf(&ctx->prefix, "%s%s", prefix, *prefix ? "/" : "") < 0)
		ctx->prefix = NULL;
	ctx->name = ctx->mount ? instance_name(w, ctx) : NULL;
	if (!ctx->mount || !ctx->prefix || !ctx->name) {
		ctx->plugin = NULL; /* still the caller's */
		instance_free(ctx);
		return NULL;
	}
	return ctx;
}

static void instance_append(struct worker *w, struct sluice_ctx *ctx)
{
	struct sluice_ctx **at = &w->instances;

	while (*at)
		at = &(*at)->next;
	*at = ctx;
	w->n_instances++;
}

/* The same plugin twice at one mount has the same routes. Those of different plugins are known once they have started. */
static void instance_check_mount(struct worker *w, const struct sluice_ctx *ctx)
{
	for (const struct sluice_ctx *other = w->instances; other; other = other->next)
		if (strcmp(other->plugin->name, ctx->plugin->name) == 0 && strcmp(other->mount, ctx->mount) == 0)
			sl_conf_error_at(ctx->conf, sl_conf_has(ctx->conf, "mount") ? "mount" : "plugin", &w->errors,
			                 "%s is at %s in line %u already; give one of them another mount",
			                 ctx->plugin->name, ctx->mount, sl_conf_line(other->conf));
}

/* What a plugin returned instead of a sentence of its own; until the next call. */
static const char *status_text(int rc)
{
	static char text[32];

	snprintf(text, sizeof text, "status %d", rc);
	return rc == SLUICE_ENOMEM ? "out of memory" : text;
}

/* One entry of plugins:. Findings go to worker->errors; nonzero only when memory is out. */
static int instance_configure(struct worker *w, struct sluice_conf *conf)
{
	const char *name = sl_conf_str(conf, "plugin");
	const struct sluice_plugin *plugin;
	struct sluice_ctx *ctx;
	char why[1024];
	size_t before = w->errors.n;
	int rc;

	if (!*name)
		return 0; /* the core has said that it is missing */
	plugin = load_plugin(name, host_table.caps, why, sizeof why);
	if (!plugin) {
		sl_conf_error_at(conf, "plugin", &w->errors, "%s", why);
		return 0;
	}
	ctx = instance_new(w, plugin, conf);
	if (!ctx) {
		free((void *)(uintptr_t)plugin);
		return SLUICE_ENOMEM;
	}
	instance_check_mount(w, ctx);
	instance_append(w, ctx);
	if (plugin->options && sl_conf_check(conf, plugin->options, NULL, sl_plugin_core_keys, &w->errors))
		return 0;
	host_conf_phase(&w->errors);
	host_metrics_phase(true);
	rc = plugin->configure(ctx, &host_table, conf, &ctx->self);
	host_metrics_phase(false);
	host_conf_phase(NULL);
	ctx->configured = rc == 0;
	if (rc && w->errors.n == before)
		sl_conf_error_at(conf, "plugin", &w->errors, "plugin %s refused its configuration (%s)", ctx->name,
		                 status_text(rc));
	return 0;
}

int instances_configure(struct worker *w)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < sl_conf_len(w->frontend, "plugins"); i++)
		/* The tree is the worker's own; checking a plugin's part fills in its defaults. */
		rc = instance_configure(w, (struct sluice_conf *)(uintptr_t)sl_conf_at(w->frontend, "plugins", i));
	return rc;
}

int instances_start(struct worker *w, const char **why)
{
	static char text[256];
	int rc;

	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next) {
		rc = http_mount_new(w->http, ctx);
		if (rc == 0)
			rc = ws_mount_new(w->ws, ctx);
		host_metrics_phase(true);
		if (rc == 0 && ctx->plugin->start)
			rc = ctx->plugin->start(ctx->self);
		host_metrics_phase(false);
		if (rc) {
			snprintf(text, sizeof text, "plugin %s did not start (%s)", ctx->name, status_text(rc));
			*why = text;
			return rc;
		}
	}
	rc = http_engine_ready(w->http, why);
	return rc ? rc : ws_engine_ready(w->ws, why);
}

void instances_drain(struct worker *w)
{
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next) {
		if (!ctx->configured || !ctx->plugin->drain)
			ctx->drained = true;
		else
			ctx->plugin->drain(ctx->self, w->deadline_ms);
	}
}

static void instance_stop(struct sluice_ctx *ctx)
{
	size_t forgotten;

	if (ctx->next)
		instance_stop(ctx->next); /* the last one first; the list is as long as the YAML's */
	if (!ctx->configured)
		return;
	ctx->configured = false;
	if (ctx->plugin->stop)
		ctx->plugin->stop(ctx->self);
	forgotten = store_reclaim(ctx) + loop_reclaim(ctx) + member_reclaim(ctx);
	if (forgotten)
		sl_log(SLUICE_LOG_WARN, "handles_forgotten plugin=%s n=%zu", ctx->name, forgotten);
}

void instances_stop(struct worker *w)
{
	if (w->instances)
		instance_stop(w->instances);
}

void instances_free(struct worker *w)
{
	while (w->instances) {
		struct sluice_ctx *ctx = w->instances;

		w->instances = ctx->next;
		instance_free(ctx);
	}
	w->n_instances = 0;
}

/* Whether one of them has an option that is a secret. */
bool instances_secrets(const struct worker *w)
{
	bool found = false;

	for (const struct sluice_ctx *ctx = w->instances; !found && ctx; ctx = ctx->next)
		found = ctx->plugin->options && sl_conf_secret(ctx->conf, ctx->plugin->options);
	return found;
}

/* The plugins' part of the effective configuration: a YAML list at column 0. */
int instances_print(struct worker *w, struct sl_buf *out)
{
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next) {
		size_t at = out->len;
		int rc = sl_conf_print(ctx->conf, sl_plugin_options, NULL, 2, out);

		/* The plugin's own default, which the core's table cannot know. */
		if (rc == 0 && !*sl_conf_str(ctx->conf, "mount"))
			rc = sl_buf_addf(out, "  mount: %s\n", ctx->mount);
		if (rc == 0 && ctx->plugin->options)
			rc = sl_conf_print(ctx->conf, ctx->plugin->options, sl_plugin_core_keys, 2, out);
		if (rc)
			return rc;
		if (out->len > at + 2)
			memcpy(out->data + out->off + at, "- ", 2);
	}
	return 0;
}
