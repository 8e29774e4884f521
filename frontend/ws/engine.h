/*
 * engine.h - what the files of the WebSocket engine share. Worker process, one loop, one thread.
 *
 * A connection, from the request to its grave:
 *   OPENING  open() said yes, libwebsockets has the descriptor; what the plugin sends waits
 *   OPEN     messages flow
 *   CLOSING  somebody on our side wants it closed; what is queued goes out first, input is dropped
 *   ENDING   a close frame was sent or received; libwebsockets finishes
 *   LOST     libwebsockets has let go of it; closed() is owed, then it is freed
 * It only moves downwards. Plugin calls merely mark; open() runs in the upgrade, message() and pull() in
 * libwebsockets' callbacks, closed() and freeing in ws_engine_turn(), where no other callback can be on the stack.
 * All of libwebsockets is in lws.c.
 */
#ifndef WS_ENGINE_H
#define WS_ENGINE_H

#include "frontend/ws/ws.h"
#include "lib/link.h"

#define WS_ENGINE_MAGIC 0x5773656eu
#define WS_MOUNT_MAGIC 0x57736d74u
#define WS_MAGIC 0x5773636fu

enum {
	/* A longer message goes out as a fragmented one, so that a slow but live client shows progress. */
	WS_FRAGMENT = 64 * 1024,
	WS_BURST = 256 * 1024,  /* bytes written to one client before the others get their turn */
	WS_BURST_MESSAGES = 64, /* the same in messages */
	WS_MESSAGE_COST = 64,   /* what a queued message counts for beside its bytes: empty ones are bounded too */
	WS_ENDPOINTS_MAX = 1024,
	WS_SEGMENTS_MAX = 32,  /* of a pattern with its mount */
	WS_REASON_MAX = 123,   /* RFC 6455 5.5 */
	WS_KEY_LEN = 24,       /* 16 bytes in base64 */
	WS_LAST_WORD_MS = 250, /* for our close frame to get away when the client's was malformed */
	WS_LWS_ACK_MS = 5000   /* how long libwebsockets waits for the answer to a close */
};

struct ws_lws; /* lws.c */
struct lws;

/* ---- endpoints ---- */

enum ws_segment_kind { WS_LITERAL, WS_PARAM, WS_REST }; /* in order of precedence */
struct ws_segment {
	enum ws_segment_kind kind;
	sl_slice text;
};

struct ws_endpoint {
	struct sluice_endpoint pub; /* strings are our copies */
	struct ws_mount *mount;
	char *text, *subprotocols, *action, *token_query; /* owned; text = mount + pattern, pub.pattern points into it */
	struct ws_segment *segment;
	size_t n_segment;
	bool whole_mount;
	struct ws_endpoint *next;
};

struct ws_mount {
	uint32_t magic;
	struct ws_engine *engine;
	struct sluice_ctx *ctx;
	size_t path_len; /* of the mount without a trailing '/': what is cut off a request's path */
	struct ws_mount *next;
};

int ws_endpoint_add(struct ws_mount *, const struct sluice_endpoint *);
/* The most specific one: compared from the left, a literal segment beats ":name", which beats the rest. NULL: none. */
const struct ws_endpoint *ws_endpoint_find(const struct ws_engine *, sl_slice path);
int ws_endpoint_clash(const struct ws_engine *, const char **why);
void ws_endpoints_free(struct ws_engine *);

/* ---- queue of one client ---- */

struct ws_item {
	struct sluice_buf *buf; /* one reference */
	bool binary;
};
struct ws_queue { /* a ring; nothing is allocated while it is empty */
	struct ws_item *item;
	uint32_t head, n, cap;
	size_t bytes; /* of what is queued, WS_MESSAGE_COST for each included */
	size_t off;   /* bytes of the first message that are gone already */
};
int ws_queue_add(struct ws_queue *, struct sluice_buf *, bool binary); /* takes the reference over when it returns 0 */
void ws_queue_pop(struct ws_queue *);
void ws_queue_clear(struct ws_queue *);

/* ---- connections ---- */

struct ws_mask {             /* where in the client's frames we are */
	uint8_t state, need; /* need: bytes of a long length or of the key that are to come */
	bool broken;         /* there was an unmasked one */
	uint64_t left;       /* of the payload */
};

enum ws_state { WS_OPENING, WS_OPEN, WS_CLOSING, WS_ENDING, WS_LOST };

struct sluice_ws {
	uint32_t magic;
	uint8_t state;
	bool heard : 1;    /* since the sweep last came by */
	bool progress : 1; /* bytes of the queue left since then */
	bool asked : 1;    /* a ping was wanted at the last visit */
	bool stalled : 1;  /* nothing had left by the last visit */
	bool want_ping : 1;
	bool want_pull : 1; /* send() said EAGAIN */
	bool paused : 1;
	bool cutting : 1;
	int code; /* what closed() is told */
	int fd;   /* libwebsockets'; -1: not watched (mask.c) */
	struct ws_mask mask;
	struct ws_engine *engine;
	struct lws *wsi; /* libwebsockets'; NULL before and after */
	const struct ws_endpoint *endpoint;
	const struct sluice_principal *principal; /* one reference */
	void *slot;
	struct sl_link all;  /* engine->conns, in the order of the sweep */
	struct sl_link work; /* engine->closing, flushed or lost */
	struct sl_link expire; /* engine->expiring */
	uint64_t expires_ms; /* ms since 1970: the end of its token, which is the end of the connection */
	uint64_t deadline;   /* of CLOSING and ENDING */
	char *reason;        /* owned; of our close */
	struct ws_queue out;
	struct sl_buf in; /* a message that is not complete yet */
	/* the request; all slices point behind this struct */
	sl_slice path, target, query, subprotocol;
	char key[WS_KEY_LEN + 1];
	uint8_t client[CLIENT_KEY], n_client; /* whose it is; n_client 0: it does not count */
	const struct sluice_header *header;
	size_t n_header;
	struct sluice_header *decoded; /* the query as names and values; owned, made when first asked for */
	size_t n_decoded;
};

struct ws_engine {
	uint32_t magic;
	struct event_base *base;
	struct ws_limits limits;
	struct ws_hooks hooks;
	struct ws_lws *lws;
	struct event *ev_turn, *ev_sweep;
	bool turn_due, sweeping, ready, draining, idle_told;
	struct ws_mount *mounts;
	struct ws_endpoint *endpoints;
	size_t n_endpoints;
	struct sl_link conns;
	struct sl_link closing; /* CLOSING and ENDING ones, with a deadline */
	struct sl_link flushed; /* CLOSING and nothing left to send: the close frame is due */
	struct sl_link lost;    /* closed() is owed */
	struct sl_link expiring;
	size_t n_conns;
	void (*idle)(void *);
	void *idle_arg;
};

/* ws.c */
int ws_engine_endpoint(struct sluice_ctx *, const struct sluice_endpoint *);
void ws_engine_kick(struct ws_engine *); /* ws_engine_turn() will run, at the end of the events that are ready now */
void ws_engine_turn(struct ws_engine *);
uint64_t ws_now(void);

/* conn.c; the first group is called by lws.c out of libwebsockets */
void ws_conn_opened(struct sluice_ws *);
void ws_conn_receive(struct sluice_ws *, sl_slice piece, uint64_t remaining, bool final, bool binary);
void ws_conn_heard(struct sluice_ws *);
int ws_conn_writable(struct sluice_ws *); /* -1: the socket is broken */
/* 0, or the code that the client's close frame is answered with instead of its own. */
int ws_conn_peer_closes(struct sluice_ws *, sl_slice payload);
void ws_conn_lost(struct sluice_ws *);
void ws_conn_close(struct sluice_ws *, int code, const char *reason);
void ws_conn_sweep(struct ws_engine *, uint64_t now, size_t visits);
void ws_conn_expire(struct ws_engine *, uint64_t wall_ms); /* closes those whose token has ended */
void ws_conn_link(struct sluice_ws *); /* into the engine's lists */
void ws_conn_free(struct sluice_ws *);

/* upgrade.c */
sl_slice ws_request_query(struct sluice_ws *, const char *name, size_t i);

/* mask.c */
int ws_mask_watch(struct sluice_ws *, int fd);
void ws_mask_unwatch(struct sluice_ws *);
/* How many of these bytes of the client's may be acted upon; fewer than n: the connection is being closed for them. */
size_t ws_mask_pass(struct sluice_ws *, const void *, size_t n);

/* lws.c */
struct ws_lws *ws_lws_new(struct ws_engine *);
void ws_lws_free(struct ws_lws *);
bool ws_lws_takes(const struct ws_lws *, int fd); /* its table has a place for the descriptor */
/* Takes the descriptor. rest: bytes behind the head. When it fails, ws_conn_lost() was or will be called. */
void ws_lws_adopt(struct ws_lws *, struct sluice_ws *, int fd, sl_slice rest);
void ws_lws_run(struct ws_lws *); /* lets libuv look at its descriptors and timers */
void ws_lws_want_write(struct sluice_ws *);
void ws_lws_pause(struct sluice_ws *, bool on);
/* Begins the closing handshake; not from callbacks of libwebsockets. */
void ws_lws_close(struct sluice_ws *, int code, const char *reason);
void ws_lws_cut(struct sluice_ws *); /* the connection dies in the next turn, without a word */
void ws_lws_settle(struct ws_lws *); /* after ws_lws_close(): its timers are looked at */
/* In ws_conn_writable() only. */
bool ws_lws_choked(const struct sluice_ws *); /* the socket took less than was given: wait */
int ws_lws_write(struct sluice_ws *, sl_slice piece, bool first, bool last, bool binary); /* at most WS_FRAGMENT */
int ws_lws_ping(struct sluice_ws *);

#endif
