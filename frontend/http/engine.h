/*
 * engine.h - what the files of the HTTP engine share. Worker process, one loop, one thread.
 *
 * Objects and who owns them:
 *   engine      listeners, mounts, connections, free lists, lists of what has to be done at the end of the turn
 *   connection  a socket, its unparsed input, its outgoing bytes, its requests (HTTP/1.1: in order; HTTP/2: any order)
 *   request     one request and its answer; the plugin's handle. It outlives end() until its bytes are gone, and its
 *               connection until gone() was called
 *
 * Plugin calls only mark (work list, dirty list); reading, pulling, writing, gone() and freeing happen in callbacks
 * of the loop or in engine_turn(), which runs once behind all sockets that were ready. So nothing nests, and nothing
 * named by a pending event is freed under it.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <sys/queue.h>
#include <sys/types.h>
#include <sys/uio.h>
#include <time.h>

#include <event2/event_struct.h>

#include "frontend/http/http.h"

#define ENGINE_MAGIC 0x48656e67u
#define CONN_MAGIC 0x48636f6eu
#define REQ_MAGIC 0x48726571u
#define MOUNT_MAGIC 0x486d6e74u

enum {
	READ_SIZE = 64 * 1024,   /* one read, into the engine's scratch buffer */
	IN_MAX = 64 * 1024,      /* bytes kept of a connection that may not be parsed on, beyond an unfinished head */
	OUT_LOW = 64 * 1024,     /* below it an answer is pulled */
	OUT_HIGH = 192 * 1024,   /* an answer's queue is filled up to about this */
	OUT_CONN = 1 << 20,      /* ... and those of one HTTP/2 connection to about this together */
	OUT_SHARE = 8 * 1024,    /* ... but each may have this much */
	OUT_BLOCK = 2048,        /* own bytes come in blocks of this size */
	PIPELINE_MAX = 64,       /* requests of one HTTP/1.1 connection in flight */
	HEADERS_MAX = 128,       /* header lines of one request */
	BODY_RATE = 500,         /* bytes a second that a body has to bring, on average over body_timeout */
	DISCARD_MAX = 64 * 1024, /* body bytes swallowed after an early answer to keep the connection */
	LINGER_MAX = 32 << 20,   /* bytes swallowed before a close */
	LINGER_MS = 5000,
	EOF_MS = 2000,         /* a half-closed client waits this long for its answers */
	ACCEPT_MAX = 16,       /* accepted a turn */
	ACCEPT_SHARE = 16,     /* ... and one in so many that it has of those that another worker should have taken */
	REFUSED_MAX = 64,      /* connections above the limit that are told so */
	REQ_SIZE = 1536,       /* a request with its inline arena */
	WAIT_STUCK = 25,       /* looks (20 ms each) at the same first waiter before it is let through */
	GZIP_TURN = 64 * 1024, /* bytes compressed a turn and answer */
	GZIP_MAX = 64,         /* answers being compressed at once; each costs 256 KiB */
	FREE_MAX = 512         /* spare objects kept of each kind */
};

struct http_conn;
struct sluice_http_req;

/* ---- out.c: queues of outgoing bytes ---- */

struct out_seg {
	struct out_seg *next;
	struct sluice_http_req *req; /* whose pending() it counts for while in a connection's queue */
	struct sluice_buf *shared;   /* one reference; NULL: own bytes behind this struct */
	uint8_t *data;
	size_t len, room; /* room behind the bytes; 0 for shared ones */
	bool block;       /* came from the free list of blocks */
};
struct out_queue {
	struct out_seg *head, *tail;
	size_t bytes;
};
int out_add(struct http_engine *, struct out_queue *, const void *, size_t n);
/* Contiguous room for n bytes at the end of the queue; out_added() makes k <= n of them count. NULL: no memory. */
uint8_t *out_room(struct http_engine *, struct out_queue *, size_t n);
void out_added(struct out_queue *, size_t k);
/* [data, data + n) lies inside the shared buffer; the queue takes its own reference. */
int out_add_shared(struct http_engine *, struct out_queue *, struct sluice_buf *, uint8_t *data, size_t n);
/* Moves the first n bytes (or all) to another queue, marking them as req's. */
int out_move(struct http_engine *, struct out_queue *dst, struct out_queue *src, size_t n, struct sluice_http_req *req);
size_t out_iov(const struct out_queue *, struct iovec *, size_t max);
void out_drain(struct http_engine *, struct out_queue *, size_t n);
void out_clear(struct http_engine *, struct out_queue *);
void out_free_lists(struct http_engine *);

/* ---- timers: every timed thing is in exactly one list, oldest first; a sweep looks at the heads only ---- */

enum timer_class {
	T_NONE,   /* busy, parked or live: nothing to wait for */
	T_HEADER, /* a head is being received, or nothing came yet on a fresh connection */
	T_BODY,
	T_IDLE,
	T_SEND,
	T_LINGER,
	T_EOF,         /* half-closed by the client, answers outstanding */
	T_STREAM_BODY, /* from here on: requests of HTTP/2 */
	T_STREAM_SEND,
	T_CLASSES
};
struct timer_node {
	TAILQ_ENTRY(timer_node) link;
	uint64_t since;
	enum timer_class cls;
};
TAILQ_HEAD(timer_list, timer_node);
/* Enters a class (a no-op when it is there already, unless refresh). */
void timer_enter(struct http_engine *, struct timer_node *, enum timer_class, bool refresh);

/* ---- routes and mounts ---- */

struct http_mount {
	uint32_t magic;
	struct http_engine *engine;
	struct sluice_ctx *ctx;
	sl_slice path; /* without a trailing '/'; empty for the root */
	struct sluice_header *defaults;
	size_t n_defaults;
	char *default_text; /* owns the bytes of defaults */
	char *error_type;   /* of errors that the engine answers itself; owned; NULL: they are text */
	size_t (*error_fn)(int status, const char *sentence, char *body, size_t size);
	struct http_mount *next;
};

enum { SEG_LITERAL, SEG_PARAM, SEG_REST };
struct route_seg {
	int kind;
	sl_slice text;
};
struct http_route {
	struct sluice_route pub; /* strings are our copies */
	struct http_mount *mount;
	uint32_t methods; /* bits of method_bit() */
	char *full;       /* mount + pattern */
	size_t n_fixed;   /* bytes of it before the first segment that is not literal */
	struct route_seg *seg;
	size_t n_seg;
};
struct route_match {
	const struct http_route *route;
	const struct http_mount *mount; /* whose default headers apply; set for errors too */
	uint32_t allow;                 /* 405 */
};
/* 0, 404 or 405. path is decoded and begins with '/'. */
int route_find(const struct http_engine *, sl_slice path, sl_slice method, struct route_match *);
const struct http_mount *mount_find(const struct http_engine *, sl_slice path);
int route_allow(uint32_t methods, char *out, size_t size); /* "GET, HEAD"; length */
int route_add(struct http_mount *, const struct sluice_route *);
int mount_defaults(struct http_mount *, const struct sluice_header *, size_t n);
int mount_errors(struct http_mount *, const char *content_type, size_t (*fn)(int, const char *, char *, size_t));
enum { ERROR_BODY = 512 };
/* The body of an error of the engine's own, worded as its mount wants it. */
sl_slice mount_error(const struct http_mount *, int status, const char *sentence, char body[ERROR_BODY], sl_slice *type);
void routes_free(struct http_engine *);

/* ---- target.c ---- */

struct http_target {
	sl_slice raw;       /* path as sent, without query and without authority */
	sl_slice query;     /* as sent, data NULL: none */
	sl_slice authority; /* absolute form only */
	bool asterisk;
};
/* 0 or an HTTP status with a sentence in *why. */
int target_split(sl_slice s, struct http_target *, const char **why);
/* Decodes raw into out (raw.len bytes suffice). 0 or 400. */
int target_decode(sl_slice raw, uint8_t *out, size_t *len, const char **why);
/* Decodes one query component into out; malformed escapes stay as they are, '+' is a space. */
size_t query_decode(sl_slice raw, uint8_t *out);
bool query_is(sl_slice raw, const char *name); /* decoded it is this name */
/* Next name=value of a query, undecoded; false at the end. */
bool query_next(sl_slice *rest, sl_slice *name, sl_slice *value);
bool utf8_valid(const uint8_t *, size_t);

/* ---- h1_parser_*.c, h1_head.c, h1_chunk.c ---- */

struct h1_head {
	sl_slice method, target;
	unsigned major, minor;
	struct sluice_header *header; /* HEADERS_MAX entries of the caller's */
	size_t n_header;
	/* filled in by h1_head_check() */
	bool keep_alive, chunked, expect_continue, upgrade_websocket;
	bool has_length;
	uint64_t length;
	sl_slice host;
};
/* Splits one complete head, which it may change in place. 0 or an HTTP status with *why. */
int h1_parse_head(uint8_t *data, size_t len, struct h1_head *, const char **why);
/* Lower-cases and checks names and values, reads framing and connection headers. 0 or an HTTP status. */
int h1_head_check(struct h1_head *, const char **why);
/* Looks for the end of the head in data[0..n). *scan remembers how far it came. 0: more needed, > 0: length of the
 * head, < 0: minus an HTTP status. */
ssize_t h1_head_scan(const uint8_t *data, size_t n, size_t *scan, size_t max, const char **why);
/* Does a line of an unparsed head begin with this? */
bool h1_head_mentions(const uint8_t *data, size_t n, const char *lower);
bool header_name_valid(sl_slice);                /* lower-case token */
bool header_value_valid(sl_slice);               /* no CR, LF, NUL */
bool list_has(sl_slice list, const char *token); /* comma-separated, case-insensitive */
bool slice_is_nocase(sl_slice, const char *lower);

struct chunk_dec {
	uint8_t state;
	uint8_t digits;
	uint32_t line; /* bytes of the current chunk line or of all trailers */
	uint64_t left;
};
enum { CHUNK_MORE = 0, CHUNK_DATA = 1, CHUNK_END = 2, CHUNK_BAD = -1, CHUNK_TOO_LONG = -2 };
/* Eats framing and at most one piece of data. *used always advances over what was eaten. */
int chunk_feed(struct chunk_dec *, const uint8_t *data, size_t n, size_t *used, sl_slice *piece);

/* ---- connections ---- */

/* The socket itself, or TLS on top of it; like read(2) and writev(2), EAGAIN included. One read is made for each event; what
 * there is to be read without the socket announcing it, pending() says. */
struct http_transport {
	ssize_t (*read)(struct http_conn *, void *, size_t);
	ssize_t (*writev)(struct http_conn *, const struct iovec *, int);
	bool (*pending)(const struct http_conn *);
	void (*bye)(struct http_conn
	                    *); /* tells the client that nothing was cut off; NULL: the transport has no word for it */
	void (*close)(
		struct http_conn *); /* releases what transport_data holds; the descriptor is closed by the caller */
	const struct http_proto *(*proto)(const struct http_conn *); /* NULL: the first bytes tell */
};

struct http_proto {
	bool h2;
	void (*input)(struct http_conn *, const uint8_t *,
	              size_t); /* takes everything: keeps in conn->in what it cannot use yet */
	void (*eof)(struct http_conn *);
	void (*flush)(struct http_conn *);  /* moves bytes of requests to conn->out */
	void (*resume)(struct http_conn *); /* something that blocked input may have gone */
	void (*retime)(struct http_conn *, bool progress);
	void (*timeout)(struct http_conn *, enum timer_class);
	void (*drain)(struct http_conn *);
	void (*fini)(struct http_conn *);
	/* requests */
	int (*respond)(struct sluice_http_req *, int status, const struct sluice_header *, size_t n, int64_t length,
	               bool bodyless);
	int (*frame)(struct sluice_http_req *, sl_slice); /* own bytes of the body, framed */
	int (*frame_shared)(struct sluice_http_req *, struct sluice_buf *);
	void (*changed)(struct sluice_http_req *); /* bytes were queued, or the request ended */
	void (*reset)(struct sluice_http_req *);
	void (*consumed)(struct sluice_http_req *, size_t n); /* body bytes left our hands: window may open */
};
extern const struct http_proto h1_proto, h2_proto;

TAILQ_HEAD(req_list, sluice_http_req);

enum h1_state { H1_HEAD, H1_LENGTH, H1_CHUNKED, H1_STOP };

struct http_conn {
	uint32_t magic;
	int fd; /* -1 when handed over or closed */
	struct http_engine *engine;
	const struct http_transport *transport;
	void *transport_data;
	const struct http_proto *proto; /* NULL until the first bytes told */
	struct timer_node timer;
	TAILQ_ENTRY(http_conn) link; /* engine->conns or engine->dead_conns */
	TAILQ_ENTRY(http_conn) dirty_link;
	struct event read_event, write_event;
	struct sl_buf in;
	struct out_queue out;
	struct req_list reqs;
	uint32_t n_reqs;
	uint32_t n_fed; /* requests whose answers have bytes, or had some when last pulled */
	struct h2 *h2;  /* HTTP/2: owned */
	struct relay *relay; /* a WebSocket's bytes: owned */
	/* HTTP/1.1 */
	size_t scan;
	uint64_t body_left;
	uint64_t body_mark; /* body bytes when the timer was last set */
	uint64_t lingered;
	uint32_t dirty_no;     /* engine->flush_no when it was marked dirty */
	uint32_t resume_below; /* input waits until conn->out holds fewer bytes; 0: it does not */
	struct chunk_dec chunk;
	uint8_t h1_state;
	uint8_t client[CLIENT_KEY]; /* where it comes from */
	uint8_t n_client;
	bool reading : 1; /* read interest is on */
	bool writing : 1; /* write interest is on: the socket was full */
	bool read_waits : 1; /* reading goes on once the socket takes bytes (transports) */
	bool dirty : 1;
	bool dead : 1;      /* closed; to be freed at the end of the turn */
	bool http1 : 1;     /* nothing else is spoken there */
	bool refuse : 1;    /* above the limit: gets a 503 */
	bool entered : 1;   /* counts for its client */
	bool busy : 1;      /* one too many of its client: gets a 429 */
	bool eof : 1;       /* the client sent FIN */
	bool closing : 1;   /* close when conn->out is empty */
	bool linger : 1;    /* ... by way of a lingering close */
	bool cut : 1;       /* ... with a reset, so that the client notices */
	bool lingering : 1; /* our side is shut down, the rest of the input is swallowed */
	bool blocked : 1;   /* input waits for requests in flight */
	bool want_resume : 1;
	bool drain_noticed : 1;
	bool more : 1;     /* HTTP/2: frames wait for room in conn->out */
	bool progress : 1; /* the socket took bytes since the last retime */
};

struct http_conn *conn_new(struct http_engine *, int fd, const struct http_transport *, void *transport_data);
void conn_kill(struct http_conn *);   /* close now; requests get gone() at the end of the turn */
void conn_forget(struct http_conn *); /* the descriptor belongs to somebody else now */
void conn_dirty(struct http_conn *);  /* flush at the end of the turn */
void conn_write(struct http_conn *);
void conn_finish(struct http_conn *); /* after a write: closing, lingering, read interest */
void conn_want_read(struct http_conn *, bool);
void conn_write_before_read(struct http_conn *); /* for transports: read() again when the socket takes bytes */
void conn_resume(struct http_conn *);                       /* call proto->resume in this turn */
int conn_keep(struct http_conn *, const uint8_t *, size_t); /* appends to conn->in */
extern const struct http_transport transport_plain, transport_tls;

/* ---- tls.c ---- */

void *tls_open(struct ssl_ctx_st *, int fd); /* transport_data of transport_tls; NULL: no memory */
void tls_free(void *);

/* ---- relay.c ---- */

/* Descriptors for a WebSocket on this connection: [0] for the engine of WebSockets, [1] for relay_begin(), or -1 when [0] is the
 * connection's own. */
int relay_pair(const struct http_conn *, int pair[2]);
void relay_begin(struct http_conn *, int fd); /* takes fd over; the requests of the connection are lost */

/* ---- requests ---- */

enum { WORK_PULL = 1, WORK_BODY = 2, WORK_GONE = 4, WORK_GZIP = 8, WORK_EXPIRE = 16 };

struct gzip;
struct arena_more {
	struct arena_more *next;
};

struct sluice_http_req {
	uint32_t magic;
	uint8_t work; /* WORK_* */
	struct http_engine *engine;
	struct http_conn *conn; /* NULL once the connection is gone */
	const struct http_proto *proto;
	TAILQ_ENTRY(sluice_http_req) link; /* conn->reqs */
	TAILQ_ENTRY(sluice_http_req) work_link;
	TAILQ_ENTRY(sluice_http_req) wait_link; /* engine->waiting, for body memory */
	TAILQ_ENTRY(sluice_http_req) expire_link;
	uint64_t expires_ms; /* not 0: in engine->expiring, until its token ends (ms since 1970) */
	const struct http_route *route;
	const struct http_mount *mount;
	const struct sluice_principal *principal; /* one reference; NULL: refused before anybody asked who it is */
	void *slot;
	/* the question */
	sl_slice method, path, full_path, authority;
	struct http_target target;
	struct sluice_header *header;
	size_t n_header, cap_header;
	uint64_t max_body, body_bytes;
	struct sluice_payload *payload;
	struct sl_buf pend; /* body bytes nobody has taken yet */
	/* the answer */
	struct out_queue out;
	size_t inflight; /* bytes in conn->out */
	int64_t length;  /* -1: unknown */
	uint64_t written;
	struct gzip *gzip;
	struct timer_node timer; /* HTTP/2 */
	int32_t stream_id;
	uint32_t head_bytes; /* HTTP/2: size of the header list so far */
	uint32_t body_mark;  /* HTTP/2: body bytes since the timer was set */
	uint16_t status;
	bool is_head : 1, http10 : 1, keep_alive : 1, listed : 1;
	bool begun : 1;     /* route found, admitted */
	bool held : 1;      /* the plugin has the handle: from request() until end() or gone() */
	bool queued : 1;    /* in engine->work */
	bool busy : 1;      /* its work is being done: not to be freed */
	bool body_end : 1;  /* the last byte of the body has arrived */
	bool body_done : 1; /* ... and was taken */
	bool body_wait : 1; /* waits for body memory: in engine->waiting */
	bool paused : 1;    /* the plugin said EAGAIN */
	bool expect : 1;    /* 100-continue not yet sent */
	bool large : 1;     /* the body did not stay in memory */
	bool responded : 1;
	bool ended : 1;
	bool no_body : 1;   /* HEAD, 204, 304 */
	bool chunked : 1;   /* the answer is */
	bool close : 1;     /* the connection ends behind this answer */
	bool was_reset : 1; /* by the plugin */
	bool lost : 1;      /* the plugin's part is over, gone() is on its way */
	bool pullable : 1;  /* not parked */
	bool fed : 1;       /* counts in conn->n_fed */
	bool h2_deferred : 1, h2_closed : 1;
	bool bad_head : 1; /* HTTP/2: the header list broke a limit */
	/* arena: memory as long as the request */
	uint8_t *arena, *arena_end;
	struct arena_more *more;
};

struct sluice_http_req *req_new(struct http_conn *);
void *req_alloc(struct sluice_http_req *, size_t n); /* NULL: no memory */
void req_unlist(struct sluice_http_req *);           /* leaves its connection's list; freed when nothing refers to it */
void req_lose(struct sluice_http_req *);             /* the client is gone: gone() if owed */
void req_free_if_done(struct sluice_http_req *);
void req_work(struct sluice_http_req *, unsigned work);
void req_do_work(struct sluice_http_req *);
void req_dispatch(struct sluice_http_req *);
void req_end(struct sluice_http_req *); /* the answer is complete */
/* Finds the route, checks limits and access. body: one follows. False: an error was answered. */
bool req_begin(struct sluice_http_req *, uint64_t content_length, bool has_length, bool body);
/* An answer of the engine itself: one sentence of text. */
void req_error(struct sluice_http_req *, int status, const char *why);
void req_error_allow(struct sluice_http_req *, uint32_t methods);
void req_error_with(struct sluice_http_req *, int status, const char *why, const struct sluice_header *extra, size_t n);
void req_feed(struct sluice_http_req *, bool on); /* its answer has bytes, or has none left */
void req_want_pull(struct sluice_http_req *);     /* after a flush: there may be room */
void req_reset(struct sluice_http_req *);         /* cut the answer off; gone() follows */
const char *status_phrase(int status);
uint8_t *put_number(uint8_t *p, uint64_t v); /* its decimal digits, 20 at most; where they end */
bool header_is_framing(sl_slice name); /* the engine's own business, whatever a plugin says */
bool header_given(const struct sluice_header *, size_t n, sl_slice name);
sl_slice req_header(const struct sluice_http_req *, const char *name, size_t i);
sl_slice req_origin(struct sluice_http_req *);
sl_slice req_query(struct sluice_http_req *, const char *name, size_t i);

/* ---- admit.c ---- */

enum { REFUSAL_HEADERS = 2 };
struct sockaddr;
size_t client_key(const struct sockaddr *address, uint8_t *key); /* CLIENT_KEY bytes at most; its length */
sl_slice conn_client(const struct http_conn *);
void conn_leave(struct http_conn *);     /* it does not count for its client any more */
void req_busy(struct sluice_http_req *); /* 429: one connection too many of its client */
/* Whether the page and the host name that it comes by are of the configuration's; 0, or an HTTP status with a sentence. */
int req_place(const struct sluice_http_req *, const char **why);
bool req_admit(struct sluice_http_req *); /* false: refused, the answer is queued */
void req_refuse(struct sluice_http_req *, const struct auth_verdict *);
size_t req_refusal_headers(const struct auth_verdict *, struct sluice_header *h); /* REFUSAL_HEADERS of them */
void req_release(struct sluice_http_req *);    /* gives the principal back */
void req_expire_not(struct sluice_http_req *); /* its token does not matter any more */
void req_expire(struct sluice_http_req *);     /* WORK_EXPIRE */
void expiring_sweep(struct http_engine *);

/* ---- body.c ---- */

/* Bytes of the body arrived. False: the request was refused meanwhile (the answer is queued). */
bool body_take(struct sluice_http_req *, sl_slice);
void body_last(struct sluice_http_req *);   /* no more bytes will come */
void body_resume(struct sluice_http_req *); /* memory or the plugin has room again */
void body_fini(struct sluice_http_req *);
static inline bool body_blocked(const struct sluice_http_req *r)
{
	return r->pend.len > 0;
}

/* ---- gzip.c ---- */

bool gzip_accepted(sl_slice accept_encoding);
struct gzip *gzip_new(struct http_engine *); /* NULL: too many at once, or no memory */
void gzip_free(struct http_engine *, struct gzip *);
void gzip_free_list(struct http_engine *);
int gzip_write(struct sluice_http_req *, sl_slice); /* compresses what this turn allows, keeps the rest */
size_t gzip_pending(const struct sluice_http_req *);
bool gzip_busy(const struct sluice_http_req *); /* its last byte has not been framed yet */
void gzip_step(struct sluice_http_req *);       /* goes on; a failure resets the request */
/* A whole body at once, into memory of the request. */
int gzip_whole(struct sluice_http_req *, sl_slice in, sl_slice *out);

/* ---- date.c ---- */

uint64_t clock_ms(void);                 /* monotonic, coarse */
sl_slice date_now(struct http_engine *); /* "Sun, 06 Nov 1994 08:49:37 GMT" */

/* ---- the engine ---- */

struct listener {
	struct listener *next;
	struct http_engine *engine;
	struct ssl_ctx_st *tls; /* borrowed; NULL: none */
	struct event event;
	int fd;
	bool http1; /* nothing else is spoken there */
};

struct http_engine {
	uint32_t magic;
	struct event_base *base;
	struct http_limits limits;
	struct http_hooks hooks;
	struct payload_budget *budget;
	struct listener *listeners;
	struct http_mount *mounts;
	struct http_route **routes; /* sorted by http_engine_ready() */
	size_t n_routes;
	TAILQ_HEAD(conn_list, http_conn) conns, dirty, dead_conns;
	uint32_t n_conns, n_relays; /* n_relays: of n_conns, those that only carry a WebSocket, which is counted as one */
	struct req_list work, waiting, expiring;
	const struct sluice_http_req *wait_first; /* to be compared only */
	const struct sluice_http_req *overdraft;  /* its body may exceed the budget; to be compared only */
	unsigned wait_looks;
	struct timer_list timers[T_CLASSES];
	struct event turn_event, again_event, sweep_event, wait_event, accept_event;
	bool turn_set, again_set, sweep_set, wait_set;
	bool ready; /* start() of the plugins is over */
	bool draining, freeing, idle_told;
	uint32_t drain_idle; /* of a drain; 0: as ever */
	void (*idle)(void *);
	void *idle_arg;
	struct sl_board *board; /* NULL: no other worker has these listeners */
	uint32_t slot, load;    /* this worker's place at the board, and what it shows there */
	int spare_fd; /* given up to accept and close when descriptors run out */
	uint64_t emfile_logged;
	uint64_t now; /* ms, of this turn */
	uint64_t turn;
	uint32_t flush_no;
	time_t date_s;
	char date[32];
	uint8_t *scratch; /* READ_SIZE */
	struct out_seg *free_segs, *free_blocks;
	size_t n_free_segs, n_free_blocks;
	void *free_reqs;
	size_t n_free_reqs;
	struct gzip *free_gzip;
	size_t n_gzip;
};

/* What arrives of a body in less than body_timeout has to be this much for it to be given another. */
static inline uint64_t body_least(const struct http_engine *e)
{
	return (uint64_t)e->limits.body_timeout * BODY_RATE / 1000;
}

/* ---- accept.c ---- */
void listeners_free(struct http_engine *);
void accept_on_timer(evutil_socket_t, short, void *);
void accept_show(struct http_engine *); /* the number of connections has changed */

/* ---- engine.c ---- */
void engine_schedule(struct http_engine *);            /* run the turn behind the sockets that are ready now */
void engine_schedule_again(struct http_engine *);      /* ... or in the next iteration of the loop */
void engine_sweep(struct http_engine *, uint64_t now); /* tests call it with a clock of their own */
void engine_conn_gone(struct http_engine *);
void engine_wait(struct sluice_http_req *, bool on); /* for body memory */
void engine_wait_over(struct sluice_http_req *);     /* its body is complete, or nobody wants it any more */

#endif
