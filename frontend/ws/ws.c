/*
 * ws.c - the WebSocket engine: made, mounted, run once a turn, drained, freed. Worker process.
 *
 * A turn begins what has to be begun outside of libwebsockets' callbacks (closes), lets it run, and pays closed() to
 * whoever was lost.
 */
#include <assert.h>
#include <stdlib.h>
#include <time.h>

#include "frontend/ws/engine.h"
#include "lib/log.h"

enum { SWEEP_MAX_MS = 1000, SWEEP_PARTS = 16 };

uint64_t ws_now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC_COARSE, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static struct ws_engine *engine_of(void *arg)
{
	struct ws_engine *engine = arg;

	assert(engine->magic == WS_ENGINE_MAGIC);
	return engine;
}

/* ---- the sweep: a slice of the connections at each tick, everyone once a ping_interval ---- */

static uint32_t sweep_ms(const struct ws_engine *engine)
{
	uint32_t ms = engine->limits.ping_interval / SWEEP_PARTS;

	return ms > SWEEP_MAX_MS ? SWEEP_MAX_MS : ms < 10 ? 10 : ms;
}

static void sweep_arm(struct ws_engine *engine)
{
	uint32_t ms = sweep_ms(engine);
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};

	engine->sweeping = engine->n_conns > 0 && event_add(engine->ev_sweep, &tv) == 0;
}

static void sweep_run(evutil_socket_t fd, short what, void *arg)
{
	struct ws_engine *engine = engine_of(arg);
	uint64_t n = engine->n_conns;
	struct timespec wall;

	(void)fd, (void)what;
	clock_gettime(CLOCK_REALTIME, &wall);
	ws_conn_expire(engine, (uint64_t)wall.tv_sec * 1000 + (uint64_t)wall.tv_nsec / 1000000);
	ws_conn_sweep(
		engine, ws_now(),
		(size_t)((n * sweep_ms(engine) + engine->limits.ping_interval - 1) / engine->limits.ping_interval));
	sweep_arm(engine);
	ws_engine_turn(engine);
}

/* ---- turns ---- */

static void turn_run(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	ws_engine_turn(engine_of(arg));
}

void ws_engine_kick(struct ws_engine *engine)
{
	if (engine->turn_due)
		return;
	engine->turn_due = true;
	event_active(engine->ev_turn, EV_TIMEOUT, 0);
}

static void turn_close(struct ws_engine *engine)
{
	bool any = false;

	for (;;) {
		struct sl_link *l = sl_link_pop(&engine->flushed);
		struct sluice_ws *ws;

		if (!l)
			break;
		ws = SL_OF(l, struct sluice_ws, work);
		ws->state = WS_ENDING;
		/* Who does not mask is not heard any more, so no answer will come. */
		ws->deadline = ws_now() + (ws->mask.broken ? WS_LAST_WORD_MS : 2 * WS_LWS_ACK_MS);
		sl_link_add(&engine->closing, &ws->work);
		ws_lws_close(ws, ws->code, ws->reason);
		any = true;
	}
	if (any)
		ws_lws_settle(engine->lws);
}

static void turn_bury(struct ws_engine *engine)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&engine->lost))) {
		struct sluice_ws *ws = SL_OF(l, struct sluice_ws, work);
		const struct ws_endpoint *e = ws->endpoint;

		e->pub.closed(e->mount->ctx->self, ws, ws->code);
		ws_conn_free(ws);
	}
}

void ws_engine_turn(struct ws_engine *engine)
{
	engine->turn_due = false;
	turn_close(engine);
	ws_lws_run(engine->lws);
	turn_bury(engine);
	if (engine->n_conns > 0 && !engine->sweeping)
		sweep_arm(engine);
	if (engine->draining && engine->n_conns == 0 && !engine->idle_told) {
		engine->idle_told = true;
		if (engine->idle)
			engine->idle(engine->idle_arg);
	}
}

/* ---- life ---- */

static void limits_default(struct ws_limits *l)
{
	if (!l->max_message)
		l->max_message = 64 << 20;
	if (!l->send_queue)
		l->send_queue = 1 << 20;
	if (!l->header_bytes)
		l->header_bytes = 64 * 1024;
	if (!l->connections)
		l->connections = 50000;
	if (!l->ping_interval)
		l->ping_interval = 30000;
	if (!l->close_timeout)
		l->close_timeout = 5000;
}

struct ws_engine *ws_engine_new(struct event_base *base, const struct ws_limits *limits, const struct ws_hooks *hooks)
{
	struct ws_engine *engine = calloc(1, sizeof *engine);

	if (!engine)
		return NULL;
	engine->magic = WS_ENGINE_MAGIC;
	engine->base = base;
	if (limits)
		engine->limits = *limits;
	limits_default(&engine->limits);
	if (hooks)
		engine->hooks = *hooks;
	sl_link_init(&engine->conns);
	sl_link_init(&engine->closing);
	sl_link_init(&engine->flushed);
	sl_link_init(&engine->lost);
	sl_link_init(&engine->expiring);
	engine->ev_turn = event_new(base, -1, 0, turn_run, engine);
	engine->ev_sweep = event_new(base, -1, 0, sweep_run, engine);
	if (engine->ev_turn && engine->ev_sweep)
		engine->lws = ws_lws_new(engine);
	if (!engine->lws) {
		sl_log(SLUICE_LOG_ERR, "ws-engine-failed");
		ws_engine_free(engine);
		return NULL;
	}
	return engine;
}

int ws_mount_new(struct ws_engine *engine, struct sluice_ctx *ctx)
{
	struct ws_mount *mount = calloc(1, sizeof *mount);

	if (!mount)
		return SLUICE_ENOMEM;
	mount->magic = WS_MOUNT_MAGIC;
	mount->engine = engine;
	mount->ctx = ctx;
	mount->path_len = strlen(ctx->mount);
	if (mount->path_len > 0 && ctx->mount[mount->path_len - 1] == '/')
		mount->path_len--;
	mount->next = engine->mounts;
	engine->mounts = mount;
	ctx->ws = mount;
	return 0;
}

int ws_engine_endpoint(struct sluice_ctx *ctx, const struct sluice_endpoint *endpoint)
{
	if (!ctx->ws || ctx->ws->magic != WS_MOUNT_MAGIC || ctx->ws->engine->ready)
		return SLUICE_EINVAL;
	return ws_endpoint_add(ctx->ws, endpoint);
}

int ws_engine_ready(struct ws_engine *engine, const char **why)
{
	engine->ready = true;
	return ws_endpoint_clash(engine, why);
}

size_t ws_engine_connections(const struct ws_engine *engine)
{
	return engine->n_conns;
}

void ws_engine_drain(struct ws_engine *engine, void (*idle)(void *), void *arg)
{
	engine->draining = true;
	engine->idle = idle;
	engine->idle_arg = arg;
	for (struct sl_link *l = engine->conns.next; l != &engine->conns; l = l->next)
		ws_conn_close(SL_OF(l, struct sluice_ws, all), 1001, "going away");
	ws_engine_kick(engine);
}

void ws_engine_free(struct ws_engine *engine)
{
	if (!engine)
		return;
	engine->draining = true;
	engine->idle_told = true;
	if (engine->lws)
		ws_lws_free(engine->lws);
	/* Whoever libwebsockets did not report. */
	for (struct sl_link *l = engine->conns.next; l != &engine->conns; l = l->next)
		ws_conn_lost(SL_OF(l, struct sluice_ws, all));
	turn_bury(engine);
	ws_endpoints_free(engine);
	while (engine->mounts) {
		struct ws_mount *mount = engine->mounts;

		engine->mounts = mount->next;
		mount->ctx->ws = NULL;
		mount->magic = 0;
		free(mount);
	}
	if (engine->ev_turn)
		event_free(engine->ev_turn);
	if (engine->ev_sweep)
		event_free(engine->ev_sweep);
	engine->magic = 0;
	free(engine);
}
