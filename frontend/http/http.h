/*
 * http.h - the HTTP engine as the worker sees it. HTTP/1.1 and HTTP/2 on one listener, routes, bodies, answers.
 *
 * Plugins see http_table only; ctx->http is the mount that http_mount_new() made for them.
 */
#ifndef HTTP_H
#define HTTP_H

#include "frontend/auth/auth.h"
#include "frontend/frontend.h"

struct ssl_ctx_st;
struct sl_board;

struct http_limits {           /* limits: of the configuration; times in milliseconds */
	uint64_t body;         /* of one request */
	uint32_t header_bytes; /* request line and headers */
	uint32_t path_bytes;   /* 414 beyond */
	uint32_t connections;  /* of this worker */
	uint32_t h2_streams;   /* concurrent requests of one HTTP/2 connection */
	uint32_t header_timeout, body_timeout, idle_timeout, send_timeout;
	/* Whose pages may send requests, and the names that it is asked for by; both end with NULL and stay the caller's. NULL: any. */
	const char *const *origins, *const *hosts;
};

/* A request that asks for a WebSocket. The engine forgets the connection when upgrade() returns 0. */
struct http_upgrade {
	int fd;         /* what is handed over */
	int peer;       /* the client's socket: fd, or what is behind it */
	sl_slice raw;   /* every byte read from the connection, beginning with the request line */
	sl_slice path;  /* decoded, with the mount, beginning with '/' */
	sl_slice target; /* the same as it was sent */
	sl_slice query; /* as sent, without '?' */
	const struct sluice_header *header;
	size_t n_header;
	sl_slice client;              /* whose connection it is, as struct auth_hooks wants it */
	struct auth_verdict *refusal; /* filled in (status) when access is what upgrade() refuses */
};

struct http_hooks {
	void *arg;
	/* 0: taken over, descriptor included. Otherwise the descriptor stays the engine's. SLUICE_ENOENT: no such endpoint
	 * (the engine goes on with its routes). SLUICE_EDENIED: what refusal says, otherwise 403. SLUICE_EINVAL: 400. SLUICE_ENOTSUP: 426 with
	 * Sec-WebSocket-Version: 13. Others: 503. */
	int (*upgrade)(void *arg, const struct http_upgrade *);
	struct auth_hooks auth;
	uint64_t *requests, *connections, *answers_5xx; /* metric cells; may be NULL */
	const uint64_t *upgraded; /* connections that upgrade() holds; may be NULL */
};

struct http_engine *http_engine_new(struct event_base *, const struct http_limits *, const struct http_hooks *,
                                    struct payload_budget *);
/* Both stay the caller's. A few are accepted a turn; tls (an SSL_CTX) NULL: without TLS. http1: nothing else is spoken there. */
int http_engine_listen(struct http_engine *, int fd, struct ssl_ctx_st *tls, bool http1);
/* Shares new connections out with the other workers at the board, which stays the caller's. */
void http_engine_board(struct http_engine *, struct sl_board *, uint32_t slot);
/* Sets ctx->http. Mounts of one engine must differ in plugin or path; http_engine_ready() finds equal routes. */
int http_mount_new(struct http_engine *, struct sluice_ctx *);
/* After every plugin's start(): sorts routes; SLUICE_EEXIST names two equal ones in *why (static buffer). */
int http_engine_ready(struct http_engine *, const char **why);
/* Stops accepting; HTTP/1.1 answers say Connection: close, HTTP/2 gets GOAWAY; idle connections stay until their next
 * request, or, unless idle_ms is 0, until they were idle for so long. idle() is called when no connection is left. */
void http_engine_drain(struct http_engine *, uint32_t idle_ms, void (*idle)(void *), void *arg);
void http_engine_free(struct http_engine *);

extern const struct sluice_http http_table;

#endif
