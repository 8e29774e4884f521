/*
 * worker.c - the worker: its turn, and its life from setup to exit. Process: sluice-frontend.
 *
 * libevent runs one pass over everything that is ready (EVLOOP_ONCE), then worker_turn() does what is done once a
 * turn. Low-priority events would do the same at the price of one more epoll_wait a turn, and would starve while
 * sockets keep coming.
 */
#include "frontend/worker.h"
#include "frontend/auth/file.h"
#include "frontend/tls.h"
#include "lib/log.h"
#include "lib/options.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

enum { EXIT_CONFIG = 78 };

struct worker *worker_the;

static uint64_t clock_us(clockid_t id)
{
	struct timespec ts;

	clock_gettime(id, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

uint64_t worker_now_us(struct worker *w)
{
	if (!w->now_us)
		w->now_us = clock_us(CLOCK_MONOTONIC);
	return w->now_us;
}

uint64_t worker_now(struct worker *w)
{
	return worker_now_us(w) / 1000;
}

uint64_t worker_wall(struct worker *w)
{
	if (!w->wall_ms)
		w->wall_ms = clock_us(CLOCK_REALTIME) / 1000;
	return w->wall_ms;
}

static struct event_base *worker_base(void)
{
	struct event_config *config = event_config_new();
	struct event_base *base = NULL;

	if (config && event_config_set_flag(config, EVENT_BASE_FLAG_NOLOCK) == 0)
		base = event_base_new_with_config(config);
	if (config)
		event_config_free(config);
	return base;
}

static void worker_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;

	(void)fd;
	(void)what;
	sl_log(SLUICE_LOG_WARN, "drain_deadline requests=%zu", sl_client_pending(w->store.client));
	w->quit = true;
}

struct worker *worker_new(int control_fd)
{
	struct worker *w = calloc(1, sizeof *w);

	if (!w)
		return NULL;
	w->magic = WORKER_MAGIC;
	w->thread = pthread_self();
	w->link = w->presence_link = -1;
	sl_ipc_init(&w->control, -1);
	sl_link_init(&w->defers);
	sl_link_init(&w->graves_watch);
	sl_link_init(&w->graves_timer);
	sl_link_init(&w->graves_sub);
	worker_the = w;
	w->base = worker_base();
	w->metrics = sl_metrics_map(-1);
	if (w->base)
		w->ev_deadline = evtimer_new(w->base, worker_deadline, w);
	if (!w->base || !w->metrics || !w->ev_deadline || (control_fd >= 0 && control_open(w, control_fd))) {
		worker_free(w);
		return NULL;
	}
	return w;
}

void worker_free(struct worker *w)
{
	if (!w)
		return;
	control_close(w);
	eph_server_free(w);
	member_fini(w);
	store_fini(w);
	loop_bury(w);
	instances_free(w);
	if (w->ev_deadline)
		event_free(w->ev_deadline);
	if (w->base)
		event_base_free(w->base);
	for (size_t i = 0; i < w->n_listener; i++) {
		free(w->listener[i].address);
		if (w->listener[i].fd >= 0)
			close(w->listener[i].fd);
	}
	for (size_t i = 0; i < LISTENERS_MAX; i++)
		tls_unload(w->tls[i]);
	if (w->link >= 0)
		close(w->link);
	roster_free(w);
	sl_metrics_unmap(w->metrics);
	sl_board_unmap(w->board);
	auth_free(w->auth);
	sl_buf_fini(&w->auth_name);
	free((void *)w->origins);
	free((void *)w->hosts);
	sl_conf_free(w->conf);
	sl_conf_errors_fini(&w->errors);
	sl_buf_fini(&w->config_text);
	free(w->name);
	free(w->section);
	free(w->config_file);
	free(w->data_dir);
	free(w->fail_why);
	worker_the = NULL;
	w->magic = 0;
	free(w);
}

/* -- beginning -- */

static uint32_t worker_limit(const struct worker *w, const char *path)
{
	int64_t v = sl_conf_int(w->conf, path);

	return v < 0 ? 0 : v > UINT32_MAX ? UINT32_MAX : (uint32_t)v;
}

/* A list of texts of the frontend; *out stays NULL when it has none. */
static int worker_texts(const struct worker *w, const char *key, const char ***out)
{
	const struct sluice_conf *list = sl_conf_get(w->frontend, key);
	size_t n = sl_conf_len(w->frontend, key);

	if (!list)
		return 0;
	*out = (const char **)calloc(n + 1, sizeof **out);
	for (size_t i = 0; *out && i < n; i++)
		(*out)[i] = sl_conf_str(sl_conf_at(w->frontend, key, i), "");
	return *out ? 0 : SLUICE_ENOMEM;
}

static int worker_engines(struct worker *w)
{
	const struct http_limits limits = {
		.body = (uint64_t)sl_conf_int(w->conf, "limits.body"),
		.header_bytes = worker_limit(w, "limits.header_bytes"),
		.path_bytes = worker_limit(w, "limits.path_bytes"),
		.connections = worker_limit(w, "limits.connections"),
		.h2_streams = worker_limit(w, "limits.h2_streams"),
		.header_timeout = worker_limit(w, "limits.header_timeout"),
		.body_timeout = worker_limit(w, "limits.body_timeout"),
		.idle_timeout = worker_limit(w, "limits.idle_timeout"),
		.send_timeout = worker_limit(w, "limits.send_timeout"),
		.origins = w->origins,
		.hosts = w->hosts,
	};
	const struct ws_limits ws_limits = {.header_bytes = limits.header_bytes, .connections = limits.connections};
	const struct ws_hooks ws_hooks = {
		.auth = auth_hooks(w->auth),
		.connections = sl_metrics_get(w->metrics, "ws.connections", SL_METRICS_GAUGE,
				"Open WebSockets."),
		.messages_in = sl_metrics_get(w->metrics, "ws.messages_in", SL_METRICS_COUNTER,
				"Messages received on WebSockets."),
		.messages_out = sl_metrics_get(w->metrics, "ws.messages_out", SL_METRICS_COUNTER,
				"Messages sent on WebSockets."),
	};
	struct http_hooks hooks = {
		.upgraded = ws_hooks.connections,
		.upgrade = ws_engine_upgrade,
		.auth = auth_hooks(w->auth),
		.requests = sl_metrics_get(w->metrics, "http.requests", SL_METRICS_COUNTER,
				"HTTP requests received."),
		.connections = sl_metrics_get(w->metrics, "http.connections", SL_METRICS_GAUGE,
				"Open HTTP connections."),
		.answers_5xx = sl_metrics_get(w->metrics, "http.answers_5xx", SL_METRICS_COUNTER,
				"HTTP answers with a status from 500 on."),
	};

	auth_metrics(w->auth, w->metrics);
	w->budget.max = (uint64_t)sl_conf_int(w->conf, "limits.body_memory");
	w->ws = ws_engine_new(w->base, &ws_limits, &ws_hooks);
	hooks.arg = w->ws; /* upgrade's */
	w->http = w->ws ? http_engine_new(w->base, &limits, &hooks, &w->budget) : NULL;
	if (w->http && w->board)
		http_engine_board(w->http, w->board, w->slot);
	return w->http ? 0 : SLUICE_ENOMEM;
}

/* True: the listener speaks HTTP/1.1 only. */
static bool worker_http1(const struct worker *w, size_t listener)
{
	const struct sluice_conf *protocol = sl_conf_get(sl_conf_at(w->frontend, "listen", listener), "protocol");

	return protocol && strcmp(sl_conf_str(protocol, ""), "http1") == 0;
}

static void worker_tls(struct worker *w)
{
	for (size_t i = 0; i < sl_conf_len(w->frontend, "listen") && i < LISTENERS_MAX; i++) {
		const struct sluice_conf *tls = sl_conf_get(sl_conf_at(w->frontend, "listen", i), "tls");

		if (tls)
			w->tls[i] = tls_load(tls, worker_http1(w, i), &w->errors);
	}
}

/* Reads the file's text and brings the plugins up to configure(). */
static int worker_configure(struct worker *w, const char **why)
{
	w->conf = sl_options_load(sl_buf_slice(&w->config_text), &w->errors);
	if (w->check && w->conf)
		sl_conf_errors_fini(
			&w->errors); /* the supervisor has found the same; the plugins' part is still to be looked at */
	if (!w->conf || w->errors.n > 0)
		return SLUICE_EINVAL;
	w->frontend = sl_options_frontend(w->conf, w->section);
	if (!w->frontend) {
		*why = "the configuration has no such frontend";
		return SLUICE_EINVAL;
	}
	w->auth = auth_new(w->conf, &w->errors);
	if (!w->auth && w->errors.n == 0)
		return SLUICE_ENOMEM;
	worker_tls(w);
	if (worker_texts(w, "origins", &w->origins) || worker_texts(w, "hosts", &w->hosts) || instances_configure(w))
		return SLUICE_ENOMEM;
	return w->errors.n ? SLUICE_EINVAL : 0;
}

static void worker_check(struct worker *w)
{
	struct sl_buf effective;
	const char *why = NULL;
	int rc;

	auth_file_warnings(control_check_warning, w);
	rc = worker_configure(w, &why);
	auth_file_warnings(NULL, NULL);
	sl_buf_init(&effective);
	if (rc && w->errors.n == 0)
		sl_conf_errors_add(&w->errors, 1, 1, "%s", why ? why : "out of memory");
	sl_conf_errors_sort(&w->errors);
	for (size_t i = 0; i < w->errors.n; i++)
		control_check_error(w, w->errors.v[i].line, w->errors.v[i].column, w->errors.v[i].text);
	if (w->errors.n == 0)
		(void)instances_print(w, &effective);
	control_checked(w, (uint32_t)w->errors.n, sl_buf_slice(&effective), instances_secrets(w));
	sl_buf_fini(&effective);
	instances_stop(w);
	w->quit = true;
}

static void worker_cannot(struct worker *w, int rc, const char *why)
{
	char text[1024];
	const struct sl_conf_error *first;

	sl_conf_errors_sort(&w->errors);
	for (size_t i = 0; i < w->errors.n; i++)
		sl_log(SLUICE_LOG_ERR, "config_error at=%s:%u:%u text=\"%s\"", w->config_file, w->errors.v[i].line,
		       w->errors.v[i].column, w->errors.v[i].text);
	first = w->errors.n ? w->errors.v : NULL;
	if (first)
		snprintf(text, sizeof text, "%s:%u:%u: %s", w->config_file, first->line, first->column, first->text);
	else
		snprintf(text, sizeof text, "%s", why ? why : "out of memory");
	/* What memory or another process caused may be better next time; configuration is not. */
	control_failed(w, text, rc != SLUICE_ENOMEM && rc != SLUICE_EBUSY);
	w->exit_code = rc == SLUICE_ENOMEM || rc == SLUICE_EBUSY ? EXIT_FAILURE : EXIT_CONFIG;
	w->quit = true;
}

/* The connection to the registry of ephemeral channels; in the worker that mounts `presence`, the registry. */
static int worker_ephemeral(struct worker *w)
{
	int link = w->presence_link, rc = member_init(w);

	w->presence_link = -1;
	for (struct sluice_ctx *ctx = w->instances; rc == 0 && ctx; ctx = ctx->next) {
		if (strcmp(ctx->plugin->name, "presence") == 0) {
			const struct eph_registry_limits limits = eph_server_limits(ctx->conf);

			return eph_server_new(w, &limits);
		}
	}
	return rc || link < 0 ? rc : member_link(w, link);
}

/* What no plugin has claimed is the HTTP engine's. */
static int worker_listen(struct worker *w)
{
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < w->n_listener; i++) {
		if (w->listener[i].index >= LISTENERS_MAX)
			rc = SLUICE_EINTERNAL;
		else if (!w->listener[i].owner)
			rc = http_engine_listen(w->http, w->listener[i].fd, w->tls[w->listener[i].index],
			                        worker_http1(w, w->listener[i].index));
	}
	return rc;
}

void worker_begin(struct worker *w)
{
	const char *why = NULL;
	int rc;

	w->state = WORKER_STARTING;
	if (w->check) {
		worker_check(w);
		return;
	}
	rc = worker_configure(w, &why);
	/* The same text passed the supervisor's check. What is wrong now may be good at the next start: there is too little memory, or a file
	 * of keys or certificates, which change without a reload, is being written. */
	if (rc == SLUICE_EINVAL && w->errors.n > 0)
		rc = SLUICE_EBUSY;
	if (rc == 0)
		rc = worker_engines(w);
	if (rc == 0)
		rc = store_init(w);
	if (rc == 0)
		rc = worker_ephemeral(w);
	if (rc == 0)
		rc = instances_start(w, &why);
	if (rc == 0 && w->link >= 0) {
		int link = w->link;

		w->link = -1;
		rc = store_link(w, link);
	}
	if (rc == 0)
		rc = worker_listen(w);
	if (rc == 0 && w->fail_why) {
		rc = SLUICE_EBUSY;
		why = w->fail_why;
	}
	if (rc) {
		worker_cannot(w, rc, why);
		return;
	}
	if (w->state == WORKER_STARTING)
		w->state = WORKER_RUNNING;
	if (roster_is_wanted(w))
		control_roster_wanted(w);
	sl_log(SLUICE_LOG_INFO, "ready plugins=%zu listeners=%zu generation=%u", w->n_instances, w->n_listener,
	       w->generation);
	control_ready(w);
}

/* -- end -- */

static void worker_http_idle(void *arg)
{
	((struct worker *)arg)->http_idle = true;
}

static void worker_ws_idle(void *arg)
{
	((struct worker *)arg)->ws_idle = true;
}

static void worker_close_listeners(struct worker *w)
{
	for (size_t i = 0; i < w->n_listener; i++) {
		if (w->listener[i].fd < 0)
			continue;
		if (w->listener[i].owner)
			loop_forget_fd(w->listener[i].owner, w->listener[i].fd);
		close(w->listener[i].fd);
		w->listener[i].fd = -1;
	}
}

void worker_drain(struct worker *w, uint64_t ms, uint32_t idle_ms)
{
	struct timeval tv = {.tv_sec = (time_t)(ms / 1000), .tv_usec = (suseconds_t)(ms % 1000 * 1000)};

	if (w->state == WORKER_DRAINING || w->state == WORKER_STOPPED)
		return;
	if (w->state != WORKER_RUNNING) {
		w->quit = true;
		return;
	}
	w->state = WORKER_DRAINING;
	w->deadline_ms = worker_now(w) + ms;
	sl_log(SLUICE_LOG_INFO, "drain deadline_ms=%llu", (unsigned long long)ms);
	if (evtimer_add(w->ev_deadline, &tv))
		w->quit = true;
	/* The engine first: answers that the plugins end now already say that the connection will not be kept. */
	http_engine_drain(w->http, idle_ms, worker_http_idle, w);
	/* Then the plugins, which still find the listeners that they watch; closed in any case before anything else happens. */
	instances_drain(w);
	worker_close_listeners(w);
	ws_engine_drain(w->ws, worker_ws_idle, w);
}

void worker_fail(struct worker *w, const char *why)
{
	sl_log(SLUICE_LOG_ERR, "leaving why=\"%s\"", why);
	w->exit_code = EXIT_FAILURE;
	if (!w->fail_why)
		w->fail_why = strdup(why);
	if (!w->fail_why)
		w->quit = true;
}

/* Leaves in order: what was begun is finished. */
static void worker_leave(struct worker *w)
{
	free(w->fail_why);
	w->fail_why = NULL;
	worker_drain(w, w->conf ? (uint64_t)sl_conf_int(w->conf, "limits.drain_timeout") : 0, 0);
}

void worker_check_idle(struct worker *w)
{
	if (w->state != WORKER_DRAINING || !w->http_idle || !w->ws_idle || !store_idle(w) || !member_idle(w))
		return;
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
		if (!ctx->drained)
			return;
	w->quit = true;
}

/* -- the turn -- */

bool worker_pending(const struct worker *w)
{
	return w->quit || w->fail_why || !sl_link_alone(&w->defers) || store_pending(w);
}

void worker_turn(struct worker *w)
{
	if (w->store.client)
		store_turn(w);
	loop_run_defers(w);
	if (w->store.client)
		store_flush(w);
	if (w->member.linked)
		member_flush(w);
	if (w->ephemeral)
		eph_server_turn(w);
	control_flush(w, false);
	loop_bury(w);
	if (w->fail_why && w->state != WORKER_SETUP)
		worker_leave(w);
	worker_check_idle(w);
	w->now_us = w->wall_ms = 0;
}

int worker_run(struct worker *w)
{
	while (!w->quit) {
		worker_turn(w);
		if (!w->quit && event_base_loop(w->base, EVLOOP_ONCE | (worker_pending(w) ? EVLOOP_NONBLOCK : 0)) < 0) {
			sl_log(SLUICE_LOG_ERR, "loop_failed");
			w->exit_code = EXIT_FAILURE;
			break;
		}
	}
	w->state = WORKER_STOPPED;
	/* Engines first: gone() and closed() still find their plugin. */
	http_engine_free(w->http);
	ws_engine_free(w->ws);
	instances_stop(w);
	if (w->store.client)
		sl_client_flush(w->store.client);
	control_flush(w, true);
	sl_log(w->check ? SLUICE_LOG_DEBUG : SLUICE_LOG_INFO, "end code=%d", w->exit_code);
	return w->exit_code;
}
