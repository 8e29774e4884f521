/*
 * presence.h - what the files of the plugin share. Plugin presence: the door of the ephemeral channels that belong to no
 * stream (loro-ephemeral-store 11), by HTTP and WebSocket. Process: sluice-frontend.
 *
 * The channels themselves are the host's (host->ephemeral). A channel "a/b" here is "presence:a/b" there.
 */
#ifndef PRESENCE_H
#define PRESENCE_H

#include <sluice/plugin.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

typedef struct sluice_slice slice;
#define SLICE(p, n) ((slice){.data = (p), .len = (n)})
#define STR(s) ((slice){.data = "" s, .len = sizeof(s) - 1})

#define DOOR "presence:"
enum {
	CHANNEL_MAX = 256, /* bytes of a channel's name as clients see it */
	UPDATE_MAX = 1 << 20,
	QUEUE_MAX = 1 << 20,      /* unsent bytes of a subscriber that is too slow */
	KEEPALIVE_MS = 15 * 1000, /* clients give up a silent stream after 45 s */
	LIST_MAX = 1000
};

enum call_kind { CALL_WRITE, CALL_SHOW, CALL_LIST, CALL_STREAM };

#define CALL_MAGIC 0x50436131u
struct call { /* an HTTP request that is not answered to its end */
	uint32_t magic;
	enum call_kind kind;
	struct presence *p;
	struct sluice_http_req *http;
	struct sluice_chan_req *req;
	struct sluice_chan_sub *sub;
	bool begun; /* STREAM: the state was sent */
	uint64_t said_ms;
	TAILQ_ENTRY(call) link;
};

#define PEER_MAGIC 0x50506531u
struct peer { /* a WebSocket */
	uint32_t magic;
	struct presence *p;
	struct sluice_ws *ws;
	struct sluice_chan_sub *sub;
	unsigned waiting; /* updates that are not answered yet */
	bool gone;        /* closed; freed with the last answer */
};

#define PRESENCE_MAGIC 0x50726573u
struct presence {
	uint32_t magic;
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const struct sluice_http *http;
	const struct sluice_ephemeral *eph;
	TAILQ_HEAD(calls, call) calls, streams; /* streams: CALL_STREAM, the longest silent one first */
	struct sluice_timer *timer;
	/* The event that is being told, formatted once for every subscriber. */
	uint64_t serial;
	struct sluice_buf *as_sse, *as_message;
	bool draining, drained;
	uint64_t *n_updates, *n_refused, *n_streams, *n_sockets, *n_delivered;
};

/* presence.c */
struct call *call_new(struct presence *, struct sluice_http_req *, enum call_kind);
void call_free(struct call *);
void call_gone(void *self, struct sluice_http_req *);
/* "presence:" and the path of the request; false: it is no name of a channel. */
bool channel_of(slice path, char buf[sizeof DOOR + CHANNEL_MAX], struct sluice_channel *);
struct sluice_buf *event_sse(struct presence *,
                             const struct sluice_channel_event *); /* not the caller's; NULL: no memory */
struct sluice_buf *event_message(struct presence *, const struct sluice_channel_event *); /* likewise */

/* answer.c */
void answer_error(struct presence *, struct sluice_http_req *, int status, const char *code, const char *text);
void answer_trouble(struct presence *, struct sluice_http_req *, int status); /* of the host */
void answer_empty(struct presence *, struct sluice_http_req *);               /* 204 */

/* http.c */
void write_request(void *self, struct sluice_http_req *);
void show_request(void *self, struct sluice_http_req *);
void list_request(void *self, struct sluice_http_req *);
void clear_request(void *self, struct sluice_http_req *);
void options_request(void *self, struct sluice_http_req *);

/* stream.c: server-sent events */
void stream_begin(struct presence *, struct sluice_http_req *, const struct sluice_channel *);
void stream_pull(void *self, struct sluice_http_req *, size_t room);
void stream_tick(struct presence *); /* keep-alive comments */
void stream_end(struct call *);
void stream_expire(void *self, struct sluice_http_req *); /* its token has expired */
int sse_data(struct presence *, const char *event, slice bytes, struct sluice_buf **);

/* socket.c */
int socket_open(void *self, struct sluice_ws *);
void socket_message(void *self, struct sluice_ws *, slice, int binary);
void socket_closed(void *self, struct sluice_ws *, int code);

#endif
