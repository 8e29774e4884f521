/*
 * ws.h - the WebSocket engine as the worker sees it: endpoints, whole messages in and out, close. Process:
 * sluice-frontend.
 *
 * Connections come from the HTTP engine, which hands over the descriptor with the bytes read so far. Plugins see
 * ws_table only; ctx->ws is the mount that ws_mount_new() made for them.
 */
#ifndef WS_H
#define WS_H

#include "frontend/frontend.h"
#include "frontend/http/http.h"

struct ws_limits {            /* 0 takes the default; times in milliseconds */
	uint64_t max_message; /* when an endpoint names none: 64 MiB */
	/* Bytes waiting for one client: 1 MiB. An empty queue takes one message of any size. */
	uint64_t send_queue;
	uint32_t header_bytes; /* of the request head; limits.header_bytes, 64 KiB */
	uint32_t connections;  /* of this worker: 50000 */
	/* Silence after which a client is asked for a sign of life: 30 s; silent as long again, it is cut. */
	uint32_t ping_interval;
	/* For what is queued before a close: 5 s. The client's answer to it has 5 s, always. */
	uint32_t close_timeout;
};

struct ws_hooks {
	struct auth_hooks auth;
	uint64_t *connections, *messages_in, *messages_out; /* metric cells (the first a gauge); may be NULL */
};

struct ws_engine;

struct ws_engine *ws_engine_new(struct event_base *, const struct ws_limits *,
                                const struct ws_hooks *);  /* NULL: logged why */
int ws_mount_new(struct ws_engine *, struct sluice_ctx *); /* sets ctx->ws */
/* After every plugin's start(): SLUICE_EEXIST names two equal endpoints in *why (static buffer). */
int ws_engine_ready(struct ws_engine *, const char **why);
/* struct http_hooks' upgrade; arg is the engine. The statuses are listed there. */
int ws_engine_upgrade(void *arg, const struct http_upgrade *);
size_t ws_engine_connections(const struct ws_engine *);
/* New upgrades are refused with 503; what is queued is flushed, then every connection is closed with 1001 (going
 * away). idle() runs once from the loop when none is left. */
void ws_engine_drain(struct ws_engine *, void (*idle)(void *), void *arg);
/* Cuts what is left: closed() runs for every open connection, then the mounts die. So before plugins are stopped and
 * instances freed, and not from inside a plugin's callback. NULL is fine. */
void ws_engine_free(struct ws_engine *);

extern const struct sluice_ws_host ws_table;

#endif
