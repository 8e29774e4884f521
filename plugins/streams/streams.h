/*
 * streams.h - what the doors to streams share: the plugin streams, and riverrun (plugins/riverrun/), which speaks a dialect of the same. Process: sluice-frontend; one thread, one loop.
 *
 * Objects and who owns them:
 *   streams   the plugin instance: options, free lists, the wheel, the hubs, the list of calls
 *   call      one HTTP request and what it waits for; lives in the request's slot, dies with the answer or with gone()
 *   hub       one stream that live readers follow: a subscription and the calls parked at its tail
 *
 * A call that is parked or reading belongs to nobody's stack: every callback finds it by its pointer, checks the magic, and
 * after answer_*(), call_end() or call_cut() the pointer is dead.
 */
#ifndef STREAMS_H
#define STREAMS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/queue.h>

#include "sluice/plugin.h"

typedef struct sluice_slice slice;

#define SLICE(ptr, n) ((slice){.data = (ptr), .len = (n)})
#define STR(literal) ((slice){.data = "" literal, .len = sizeof(literal) - 1})

#define STREAMS_MAGIC 0x53747231u
#define CALL_MAGIC 0x43616c31u
#define HUB_MAGIC 0x48756231u

enum {
	CALLS_SPARE = 512,      /* freed calls kept */
	ROOM_MAX = 4096,        /* calls that wait for room in the store's queue; the next ones get 503 */
	MESSAGES_MAX = 1 << 20, /* of one JSON body */
	JSON_DEPTH = 1024,
	SCRATCH_KEEP = 1 << 20,  /* a larger scratch buffer is given back at once */
	SSE_BUDGET = 128 * 1024, /* payload bytes of one event, unless a single record is larger */
	SSE_LAG = 256 * 1024,    /* a reader with more than this unsent pulls for itself */
	CURSOR_INTERVAL_MS = 20 * 1000,
	COMPRESS_MIN = 1024,
	LIST_DEFAULT = 100,
	LIST_MAX = 1000,
	KEY_MAX = 128 /* name of a stream that is not simply the path */
};

/* ---- bytes.c: growing bytes. After a failed allocation `failed` stays set and nothing is added any more. ---- */

struct bytes {
	uint8_t *data;
	size_t len, cap;
	bool failed;
};
uint8_t *bytes_room(struct bytes *, size_t n); /* NULL: no memory */
void bytes_add(struct bytes *, const void *, size_t n);
void bytes_add_u64(struct bytes *, uint64_t);
void bytes_add_json(struct bytes *, slice text); /* as a JSON string, quotes included */
void bytes_reset(struct bytes *);                /* empty again; gives back what is larger than SCRATCH_KEEP */
void bytes_fini(struct bytes *);
#define BYTES_LIT(b, literal) bytes_add(b, literal, sizeof(literal) - 1)
static inline slice bytes_slice(const struct bytes *b)
{
	return SLICE(b->data ? (const void *)b->data : "", b->len);
}
size_t u64_format(uint64_t, char out[20]);
bool slice_is(slice, const char *);
bool slice_is_nocase(slice, const char *lower);
/* Digits only, at most max; false: anything else, or overflow. */
bool u64_parse(slice, uint64_t max, uint64_t *);

/* ---- wheel.c: coarse deadlines ---- */

enum { WHEEL_TICK_MS = 100, WHEEL_SLOTS = 512 };
TAILQ_HEAD(wheel_list, wheel_node);
struct wheel_node {
	TAILQ_ENTRY(wheel_node) link;
	struct wheel_list *in; /* NULL: not armed */
	uint64_t at;           /* monotonic ms */
};
struct wheel {
	struct wheel_list slot[WHEEL_SLOTS];
	size_t n;
	uint64_t tick; /* the last one that was run */
};
void wheel_init(struct wheel *, uint64_t now);
void wheel_set(struct wheel *, struct wheel_node *, uint64_t at);
void wheel_unset(struct wheel *, struct wheel_node *);
/* Runs fn for every node that is due, each unset before; fn may set and unset any node. */
void wheel_run(struct wheel *, uint64_t now, void (*fn)(void *, struct wheel_node *), void *arg);
int64_t wheel_next(const struct wheel *, uint64_t now); /* ms until there may be something to run; -1: nothing */

/* ---- offset.c, cursor.c, etag.c, media_type.c, time_rfc3339.c, base64.c ---- */

#define OFFSET_LEN 33                     /* 16 digits, '_', 16 digits */
#define OFFSET_BEYOND (UINT64_C(1) << 62) /* stands for every token behind what a stream can reach */
void offset_format(uint64_t, char out[OFFSET_LEN]);
bool offset_parse(slice, uint64_t *); /* tokens only; the sentinels are the caller's */
#define POSITION_LEN 20               /* digits */
void position_format(uint64_t, char out[POSITION_LEN]);
bool position_parse(slice, uint64_t *); /* 1 to 20 digits */

struct cursor {
	bool given;
	uint64_t value;  /* what the client sent */
	uint32_t jitter; /* intervals; drawn once per request */
};
void cursor_init(struct cursor *, slice sent, uint64_t random);
uint64_t cursor_interval(uint64_t wall_ms);
uint64_t cursor_next(const struct cursor *, uint64_t wall_ms);
/* True: the answer depends on what the client sent, so it cannot be shared. */
bool cursor_own(const struct cursor *, uint64_t wall_ms);

#define ETAG_MAX 112
/* coding: "" or "gzip". Returns the length. */
size_t etag_format(char out[ETAG_MAX], const struct sluice_read_result *, bool closed, const char *coding);
/* RFC 9110 13.1.2, weak comparison; value is one header line, tag with its quotes. */
bool etag_matches(slice value, slice tag);
/* Copies a Cache-Control value with every lifetime in it reduced to life_s; 0: does not fit. */
/* A copy with "private" for "public". */
void cache_control_private(const char *value, char *out, size_t size);
size_t cache_control_bound(const char *value, uint64_t life_s, char *out, size_t size);

enum media_kind { MEDIA_BINARY, MEDIA_TEXT, MEDIA_JSON };
bool media_valid(slice); /* begins with token/token */
enum media_kind media_kind(slice);
bool media_compressible(slice);

bool time_parse(slice, uint64_t *ms); /* RFC 3339; instants before 1970 give 0 */
#define TIME_LEN 24
void time_format(uint64_t ms, char out[TIME_LEN]);

size_t base64_encode(uint8_t *out, const uint8_t *in, size_t n); /* 4 bytes out per begun 3 bytes in */

/* ---- json_scan.c: strict RFC 8259 without recursion ---- */

struct json_lens {
	uint32_t *len;
	size_t n, cap;
};
enum json_status { JSON_OK, JSON_BAD, JSON_TOO_MANY, JSON_NO_MEMORY };
/* Validates text and moves its messages (the elements of a top-level array, else the one value) together at its front, outer
 * whitespace and commas dropped. *used: their bytes. After anything but JSON_OK the text is spoilt. */
enum json_status json_scan(uint8_t *text, size_t n, struct json_lens *, size_t *used, const char **why);
/* Length of the well-formed UTF-8 sequence at p (1..4), 0: none. */
size_t utf8_sequence(const uint8_t *p, size_t n);
bool utf8_valid(slice);
/* Bytes of an unfinished but so far well-formed sequence at the end. */
size_t utf8_unfinished(const uint8_t *p, size_t n);

/* ---- sse_format.c: events, piece by piece ---- */

struct sse_format {
	enum media_kind kind;
	bool open;                 /* an event was begun and not ended */
	bool joined;               /* base64: one line, however many pieces */
	bool spaced;               /* a space behind every colon */
	bool line;                 /* inside a data line */
	bool cr;                   /* the piece before ended with CR: an LF belongs to it */
	bool any, inside;          /* JSON: a message was begun in this event; it goes on in the next piece */
	uint8_t carry[2], n_carry; /* base64: bytes that did not fill a group */
	uint8_t last[3], n_last;   /* text: the last bytes, to see an unfinished character */
};
struct sse_piece {
	slice data;
	const uint32_t *message_end; /* JSON: ends of messages in data */
	size_t n_message_end;
};
void sse_begin(struct sse_format *, struct bytes *);
void sse_feed(struct sse_format *, struct bytes *, const struct sse_piece *);
void sse_end(struct sse_format *, struct bytes *);
size_t sse_unfinished(const struct sse_format *);
struct sse_control {
	uint64_t offset, cursor;
	bool up_to_date, closed;
	bool position; /* offset is a position */
	bool spaced;   /* a space behind the colon of data */
};
void sse_control(struct bytes *, const struct sse_control *);
/* JSON framing of a catch-up body: commas between messages, brackets are the caller's. */
void json_frame(struct bytes *, const struct sse_piece *, bool *any, bool *inside);

/* ---- dialects ---- */

struct call;
struct dialect {            /* what distinguishes one door from the other */
	bool positions;     /* offsets are positions, of 20 digits; one behind the tail is an error */
	bool json_errors;   /* with a code; otherwise text */
	bool soft_absent;   /* deleted, but forked: not there, instead of gone */
	bool base64_joined; /* one line an event */
	bool spaced;        /* a space behind every colon of an event */
	bool snapshots;     /* HEAD and 410 tell of the snapshot */
	bool encoding;      /* event streams take encoding=base64, which is what they do */
	bool comments;      /* what breaks the silence of an event stream; otherwise a control event */
	bool forks;         /* the fork headers mean something */
	bool typeless;      /* an append without a type has the stream's */
	bool origin;        /* in Location */
	bool closed_cursor; /* a cursor also when the stream is closed */
	/* Further operations that are committed along with the call's; how many. Their names are put into text. NULL: never. */
	size_t (*companion)(struct call *, struct sluice_op *, char *text, size_t size);
	/* The answer for a stream that is not there; NULL: the usual 404. */
	void (*absent)(struct call *);
	/* Of calls of the kinds CHANNEL and SNAPSHOT: drop what they hold. */
	void (*release)(struct call *);
	/* SNAPSHOT: there is room for more. CHANNEL: end; the timer has come. */
	void (*pull)(struct call *, size_t room);
	void (*finish)(struct call *);
	void (*due)(struct call *, uint64_t now);
	const char *trimmed;    /* the text of a 410 */
	const char *sse_cache;  /* Cache-Control of event streams */
};
struct spot { /* a place in a stream, counted both ways */
	uint64_t offset, pos;
};

/* ---- calls ---- */

enum call_kind { CALL_WRITE, CALL_READ, CALL_POLL, CALL_SSE, CALL_HEAD, CALL_LIST, CALL_BUCKET, CALL_CHANNEL, CALL_SNAPSHOT };

struct write_state {
	struct sluice_op op;
	struct sluice_payload *payload; /* owned until the store took it over */
	uint32_t *lens;                 /* owned; op.message_len, once it had to outlive a call */
	char *fork_name, *own_type;     /* owned; own_type: a type that was looked up */
	const char *bad;                /* what is wrong with the body */
	sluice_done_fn *done;           /* NULL: that of its kind */
	uint8_t digest[32];             /* of the snapshot that is expected */
	uint64_t bytes;                 /* of the body, for the counters */
	struct spot tail;               /* of the result, while the type of the stream is looked up */
	uint32_t result;                /* SLUICE_R_* of it */
};

struct hub;
struct read_state {
	uint64_t from;   /* as asked for; SLUICE_OFFSET_NOW */
	const char *bad; /* 400 once the stream is known to exist */
	struct cursor cursor;
	uint8_t tries;
	bool begin; /* offset=-1 or none: whatever is the earliest */
	enum media_kind media;
	/* the rest of a long answer */
	uint64_t incarnation, end, next, skip;
	bool more;        /* steps are outstanding */
	bool any, inside; /* JSON framing */
	bool up_to_date, closed;
	/* following the tail */
	struct hub *hub;
	TAILQ_ENTRY(call) parked_link;
	bool parked;
	uint64_t offset; /* what the client has: nothing before it is sent again */
	uint64_t pos;    /* the position of it */
	uint64_t end_pos, earliest_pos;
	uint64_t seen; /* how far was looked; beyond offset while half a character is held back */
	uint64_t end_at, idle_at, idle_ms;
	struct sse_format format;
	bool want_read; /* SSE: read when there is room */
	bool expiring;  /* SSE: end behind the next control event; long-poll: do not wait */
	bool flush;     /* SSE: hold nothing back */
	bool greeted;   /* SSE: something was sent */
};

struct bucket_state {    /* riverrun */
	uint64_t count;  /* of its streams */
	uint32_t limit;  /* of a listing; 0: none is asked for */
	bool force, any; /* remove: its streams, too; there were some */
};

struct channel_state { /* riverrun */
	struct sluice_chan_req *req;
	struct sluice_chan_sub *sub;
	struct sluice_payload *payload; /* owned */
	uint64_t said_ms;
	bool ending; /* as soon as it has begun */
};

enum { BOUNDARY_LEN = 27 };
struct snapshot_state {     /* riverrun: what is sent of a snapshot and of what lies behind it */
	uint64_t id, at, len;                 /* its bytes [at, len) are left */
	uint64_t incarnation, next, skip, end; /* and of the stream those up to end */
	bool bootstrap, open;                 /* open: a part was begun and not ended */
	char *type;                           /* of the stream; owned */
	size_t type_len;
	char boundary[BOUNDARY_LEN];
};

struct call {
	uint32_t magic;
	enum call_kind kind;
	struct streams *p;
	struct sluice_http_req *http;
	struct sluice_req *store; /* in flight */
	TAILQ_ENTRY(call) link;   /* p->calls */
	TAILQ_ENTRY(call) room_link;
	void (*again)(struct call *); /* not NULL: in p->room */
	bool started;                 /* respond() was called */
	struct wheel_node timer;
	const char *code;  /* of the error that is being answered; NULL: that of its status */
	slice name;        /* of the stream; data NULL: the path is the name */
	char key[KEY_MAX]; /* where it is */
	uint64_t at;       /* riverrun: the offset that the address names */
	uint8_t at_kind;
	union {
		struct write_state w;
		struct read_state r;
		struct bucket_state b;
		struct channel_state e;
		struct snapshot_state s;
	};
};
TAILQ_HEAD(call_list, call);

struct streams_counters {
	uint64_t *appends, *append_bytes, *creates, *reads, *read_bytes, *refused;
	uint64_t *polls, *sse, *events; /* polls and sse are gauges */
};

struct streams {
	uint32_t magic;
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const struct sluice_http *http;
	const struct sluice_store *store;
	const struct dialect *dialect;
	void *own; /* the door's */
	const char *extensions; /* Stream-Extensions of creates and HEAD; NULL: none */
	/* options */
	uint64_t long_poll_ms, sse_ms, max_body, read_chunk;
	bool compression;
	const char *cache_control;
	char cache_private[256];             /* the same for those who had to show a token */
	struct sluice_retention_rule *rules; /* owned */
	size_t n_rules;
	/* state */
	struct call_list calls, room;
	size_t n_room;
	struct call *spare; /* freed ones, linked by link.tqe_next */
	size_t n_spare;
	bool room_armed, retrying, draining, drained;
	struct sluice_timer *timer;
	uint64_t timer_at; /* 0: not armed */
	struct wheel wheel;
	struct hub **hubs; /* hash table */
	size_t n_hubs, n_buckets;
	uint64_t seed, random;
	struct bytes scratch; /* of the running callback */
	struct json_lens lens;
	struct streams_counters count;
};

struct call *call_new(struct streams *, struct sluice_http_req *, enum call_kind); /* NULL: 503 was answered */
void call_free(struct call *); /* the answer is complete, or the client gone: drops everything the call holds */
void call_end(struct call *);  /* http->end + call_free */
void call_cut(struct call *);  /* http->reset + call_free */
/* The store's queue is full: fn runs when it has room. False: too many wait already. */
bool call_retry(struct call *, void (*fn)(struct call *));
slice call_name(const struct call *);
uint64_t streams_random(struct streams *);
uint64_t streams_now(struct streams *);
uint64_t streams_wall(struct streams *);
void streams_timer_set(struct streams *, struct wheel_node *, uint64_t at);
struct call *call_of_timer(struct wheel_node *);

/* ---- answer.c: every response is built here ---- */

struct answer {
	size_t n, used;
	struct sluice_header header[20];
	char text[640];
};
void answer_init(struct answer *);
void answer_put(struct answer *, slice name, slice value); /* value must live until the answer is sent */
void answer_copy(struct answer *, slice name, slice value);
void answer_u64(struct answer *, slice name, uint64_t);
void answer_offset(const struct call *, struct answer *, slice name, struct spot);
void answer_tail(const struct call *, struct answer *, struct spot);      /* Stream-Next-Offset */
void answer_earliest(const struct call *, struct answer *, uint64_t pos); /* where it is told with every answer */
void answer_extensions(const struct call *, struct answer *);
void answer_closed(struct answer *);
void answer_no_store(struct answer *);
#define PUT(a, name, value) answer_put(a, STR(name), value)
void answer_send(struct call *, const struct answer *, int status, slice body);
/* Text: why, half a sentence ("the stream is closed"), made whole. `a` may hold headers already, or be NULL. */
void answer_error(struct call *, struct answer *, int status, const char *why);
/* The same for a request that has no call yet. */
void answer_refuse(struct streams *, struct sluice_http_req *, int status, const char *why);
/* The code of an error that has none of its own. */
const char *answer_code(int status);
/* With a code of its own, where errors have one; NULL: that of the status. */
void answer_refuse_code(struct streams *, struct sluice_http_req *, int status, const char *code, const char *why);
/* JSON error of the reserved APIs. */
void answer_json_error(struct streams *, struct sluice_http_req *, int status, const char *code, const char *why);
/* Maps a status that says nothing about the stream itself (overload, lost, full ...) */
void answer_trouble(struct call *, int status, const char *message);
/* A read that was refused: 404, 410 ... */
void answer_unreadable(struct call *, const struct sluice_read_result *);
void answer_gone(struct call *, bool soft); /* 404 or 410 */
void answer_absent(struct call *);          /* 404 */

/* ---- headers.c: request headers. Each returns NULL or what is wrong (400). ---- */

/* The value, trimmed; data NULL: absent. False: repeated with different values. */
bool header_one(const struct call *, const char *name, slice *value);
const char *headers_producer(struct call *, struct sluice_op *);
const char *headers_closed(const struct call *, bool *closed);
const char *headers_create(struct call *); /* TTL, Expires-At, fork; headers_no_memory is nobody's mistake */
extern const char headers_no_memory[];
const char *headers_type(const struct call *, slice *type);
bool headers_identity(const struct call *); /* no Content-Encoding */
/* How long the mount is in a target, as sent, with the slash behind it; path_len: of the decoded path below it. */
size_t target_mount(slice target, size_t path_len);

/* ---- body.c ---- */

void body_take(struct call *); /* c->w.payload; NULL: no body, or an empty one */
/* Puts the payload into c->w.op, for JSON split into its messages. What is wrong with it is left to the writer to refuse in its turn
 * (SLUICE_A_REFUSE, c->w.bad). False: answered already, the call is dead. */
bool body_split(struct call *, bool json);

/* ---- what is done with a call whose name is known ---- */

void create_begin(struct call *);
void append_begin(struct call *);
void remove_begin(struct call *);
void head_begin(struct call *);
void read_begin(struct call *);

/* ---- routes ---- */

void create_request(void *self, struct sluice_http_req *);
void append_request(void *self, struct sluice_http_req *);
void remove_request(void *self, struct sluice_http_req *);
void head_request(void *self, struct sluice_http_req *);
void read_request(void *self, struct sluice_http_req *);
void read_pull(void *self, struct sluice_http_req *, size_t room);
void options_request(void *self, struct sluice_http_req *);
void list_request(void *self, struct sluice_http_req *);
void reserved_request(void *self, struct sluice_http_req *);
void call_gone(void *self, struct sluice_http_req *);
void read_expire(void *self, struct sluice_http_req *); /* the client's token has ended */

/* Submits c->w.op, now or when the queue has room; its *_done answers. */
void write_submit(struct call *);
void create_done(void *arg, const struct sluice_result *, size_t n);
void append_done(void *arg, const struct sluice_result *, size_t n);
void remove_done(void *arg, const struct sluice_result *, size_t n);
/* What is common to all refusals of the writer. */
void write_refused(struct call *, const struct sluice_result *);

/* ---- reading ---- */

struct shared { /* one read of a hub, served to many */
	const struct sluice_read_result *r;
	struct sluice_buf *body;         /* catch-up form */
	struct sluice_buf *event, *data; /* SSE: data and the common control event; data alone */
	uint64_t cut;                    /* SSE: where the data ends, r->end or less */
	size_t bytes;                    /* SSE: how long it is */
	bool formatted, failed, whole;   /* whole: r holds everything in one step */
};
void shared_fini(struct streams *, struct shared *);

/* Starts a read for the call; fn gets it. Errors are answered (or cut off, when the answer has begun). */
void read_start(struct call *, uint64_t from, uint64_t budget, uint32_t flags, sluice_read_fn *fn);
void read_step(struct call *, sluice_read_fn *fn);
struct spot read_end(const struct call *, const struct sluice_read_result *); /* of a read that began at c->r.pos */
/* What later steps need; true: there are some. */
bool read_remember(struct call *, const struct sluice_read_result *);
/* Neither an answer nor a way on: says so, or cuts off what has begun. */
void read_fail(struct call *, int status, const char *message);
/* Sends a 200 or 304 with this range; shared may be NULL. */
void read_answer(struct call *, const struct sluice_read_result *, struct shared *);

void poll_first(struct call *, const struct sluice_read_result *);
void poll_serve(struct call *, struct shared *);
void poll_timer(struct call *, uint64_t now);
void poll_finish(struct call *); /* 204 */
void poll_closed(struct call *); /* 204, the stream is closed */
void poll_look(struct call *);   /* read for itself */
void sse_first(struct call *, const struct sluice_read_result *);
void sse_serve(struct call *, struct shared *);
void sse_timer(struct call *, uint64_t now);
void sse_finish(struct call *); /* parked: what is held back, control event, end */
void sse_lost(struct call *);   /* the stream is gone: end */
void sse_look(struct call *);
void sse_pull(struct call *, size_t room);

/* ---- hub.c ---- */

int hub_join(struct call *); /* c->r.hub is set; the stream is held from now on */
void hub_leave(struct call *);
void hub_park(struct call *); /* wait for something behind c->r.seen; may answer at once */
void hub_unpark(struct call *);
bool hub_behind(const struct call *); /* more is known to be there than the call has seen */
void hubs_fini(struct streams *);

/* ---- streams.c: the life of an instance, for the descriptors ---- */

/* Reads the options that both doors have. *out is set when it succeeds. */
int streams_new(struct sluice_ctx *, const struct sluice_host *, const struct sluice_conf *, const struct dialect *,
                struct streams **out);
void streams_free(struct streams *);
int streams_run(struct streams *); /* timers; before routes */
int streams_route(struct streams *, const struct sluice_route *, size_t n);
void streams_drain(void *self, uint64_t deadline_ms);
void streams_stop(void *self);

#endif
