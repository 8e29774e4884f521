/*
 * sds.h - what the files of the plugin share. Plugin sds: SDS sync by WebSocket, with the server remembering. Process:
 * sluice-frontend. The protocol and its sections are those of the SDS family's wire digest.
 *
 *   peer    a WebSocket: frames in (frame by frame, in order), frames out (a queue in which the log has its places)
 *   room    a store, or the signalling of a store, as this worker sees it: its peers, how far its log was told, who is present
 *   cursor  reads a log record by record, however large they are
 *   cast    a frame on its way to the other workers
 *
 * The log of store `id` is the stream `__sds/` + id (escaped); a record is a patch, and the number of a record is its seq.
 */
#ifndef SDS_H
#define SDS_H

#include <jansson.h>
#include <sluice/plugin.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

typedef struct sluice_slice slice;
#define SLICE(p, n) ((slice){.data = (p), .len = (n)})
#define STR(s) ((slice){.data = "" s, .len = sizeof(s) - 1})

enum {
	ID_MAX = 256,                /* bytes of a store's id */
	STREAM_MAX = 6 + 3 * ID_MAX, /* of its log's name */
	HASH_LEN = 32,
	CHUNK_HEAD = HASH_LEN + 8,
	CHUNK_UNIT = 1 << 20, /* clients cut values into chunks of this size */
	CHUNK_MAX = 4 << 20,  /* larger ones are not taken */
	SETS_MAX = 8,         /* values of a connection that are not whole yet */
	SET_MS = 60 * 1000,   /* one that gets no chunk for so long is dropped */
	VALUE_ID_MAX = 512,   /* bytes of a value's name */
	REPLICA_MAX = 512,    /* of a replica's: 128 characters */
	REQUEST_MAX = 256,    /* of a request's */
	BELOW_MAX = STREAM_MAX + 8 + 3 * VALUE_ID_MAX, /* of what lies below the name of a log */
	FNV_NAME = 48,
	VALUE_NAME = 2 * HASH_LEN,
	VALUES_OUT = 16, /* values that wait to be sent to a client; what it asks for beyond is not looked up */
	ONCE_MS = 10 * 60 * 1000,
	ROOM_BUCKETS = 4096,
	APPENDS_MAX = 256,        /* patches of a peer that are being stored ... */
	APPENDS_BYTES = 8 << 20,  /* ... and their bytes, when there is more than one */
	OWN_MAX = 65536,          /* records of a peer that it has still to pass; beyond, it may see one of its own */
	LATER_MAX = 4096,         /* frames of other workers that wait for the log ... */
	LATER_BYTES = 64 << 20,   /* ... and their bytes */
	PARTIAL_BYTES = 256 << 20, /* frames of other workers that are not complete, of one store */
	PIECE = 512 << 10,        /* a frame crosses workers in pieces of this size */
	STATE_HEAD = 16,          /* before a state in its channel */
	STATE_MAX = (64 << 10) - STATE_HEAD, /* bytes of a presence state that is kept */
	STATE_PARSE_MAX = 1 << 20, /* of one that is relayed */
	PEER_ID_MAX = 512,        /* bytes of the PeerId of one that is kept */
	STATES_MAX = 16,          /* of a connection */
	READ_BUDGET = 512 << 10, /* a record that is longer is large: one peer reads it, the others get what he made of it */
	TICK_MS = 50,
	ASK_MIN_MS = 50, /* an answer to the server's question comes so long after it at the earliest ... */
	ASK_MS = 600,    /* ... and this is when nobody waits for one any more */
	REPLAY_EVERY_MS = 5000,
	RETRY_MS = 250,
	LARGE_MS = 5000, /* so long a large record is kept for the next newcomer */
	PIECES_MS = 1000, /* a frame of another worker whose next piece takes longer than this is given up */
	HEALTH_MS = 2000
};

enum frame_type {
	FRAME_PATCH = 0x01,
	FRAME_VALUE,
	FRAME_REQ_VALUE,
	FRAME_PRESENCE,
	FRAME_CHUNK,
	FRAME_SYNC_REQ,
	FRAME_PATCH_ACK = 0x80, /* to clients that asked for it */
	FRAME_VALUE_ACK
};

enum scope { SCOPE_READ, SCOPE_WRITE, SCOPE_ADMIN };

/* ---- cursor ---- */

#define CURSOR_MAGIC 0x53437572u
struct cursor {
	uint32_t magic;
	struct sds *s;
	struct room *room;
	uint64_t at, until; /* record boundaries: delivered up to at, wanted up to until */
	uint64_t seq;       /* of the record that ends at `at`, when it was right in the beginning */
	uint64_t jump, jump_seq; /* while a snapshot is read: where it ends, and its number */
	struct sluice_req *req;
	struct sluice_read next; /* the step that follows the current one */
	uint8_t *part;           /* the beginning of a record that is longer than a step; owned */
	size_t n_part, cap_part;
	/* The record that ends at `end`. 0, or SLUICE_EAGAIN: no more for now; it comes again. */
	int (*record)(void *arg, uint64_t start, uint64_t end, slice payload);
	/* A large record is next; false: not now, and rest() follows. May be NULL. */
	bool (*large)(void *arg);
	/* Nothing is under way any more: 0 (until is reached, or EAGAIN stopped it), or what is wrong. */
	void (*rest)(void *arg, int status);
	void *arg;
};

/* ---- values ---- */

struct value_facts {
	int64_t refs;
	bool wire, good; /* it came by socket; its name is the SHA-256 of its content */
};

enum change_kind { CHANGE_SAVE, CHANGE_WIRE, CHANGE_RELEASE };

struct change { /* of a value */
	TAILQ_ENTRY(change) link;
	struct sds *s;
	enum change_kind kind;
	struct sluice_req *req;
	struct sluice_payload *payload; /* the content, until it is submitted */
	uint8_t *data;                  /* or this; owned */
	size_t len;
	bool good, there, spent, repeated;
	unsigned tries;
	struct value_facts facts; /* as they will be */
	uint8_t digest[64];       /* of the snapshot that was read */
	size_t n_digest;
	void (*done)(void *arg, int status, const struct value_facts *);
	void *arg;
	size_t n_stream, n_request; /* n_request 0: it may be repeated */
	char stream[BELOW_MAX], request[BELOW_MAX];
};

struct chunk {
	uint8_t hash[HASH_LEN];
	uint32_t index, total;
	slice data;
};
struct piece {
	TAILQ_ENTRY(piece) link;
	uint32_t index;
	size_t len;
	uint8_t data[];
};
struct set { /* a value of which chunks are missing */
	TAILQ_ENTRY(set) link;
	TAILQ_HEAD(pieces, piece) pieces;
	uint8_t hash[HASH_LEN];
	uint32_t n, total;
	size_t bytes;
	uint64_t heard_ms;
};
struct sets {
	TAILQ_HEAD(set_list, set) list; /* the one that was not added to for longest first */
	unsigned n;
	size_t bytes;
	uint64_t *total; /* of the worker */
};
struct set_limits {
	uint64_t value, bytes, total;
};
enum added { SET_REFUSED, SET_GROWS, SET_WHOLE };

struct value_out { /* a value on its way to a client that has asked for it */
	struct peer *peer;
	struct sluice_req *req;
	struct sluice_read next;
	uint8_t hash[HASH_LEN];
	uint64_t len;
	uint32_t index, total;
	uint8_t *frame; /* owned; room for a chunk; NULL: it is not its turn yet */
	size_t n;       /* bytes of the content in it */
	size_t n_stream;
	char stream[BELOW_MAX];
};

/* ---- frames out ---- */

struct out_item {
	struct sluice_buf *buf;  /* one reference; NULL: the log up to `upto` has its place here */
	struct value_out *value; /* or this one; owned */
	uint64_t upto;
	size_t len;
	bool binary;
};
struct out_queue { /* a ring */
	struct out_item *item;
	size_t head, n, cap, bytes;
};

/* ---- peers ---- */

struct ack { /* of a patch, in their order */
	STAILQ_ENTRY(ack) link;
	uint64_t seq;  /* 0: to be looked up by the hash ... */
	uint64_t tail; /* ... in the log up to here */
	uint8_t hash[HASH_LEN];
};

struct frame_in { /* a frame that waits for those before it */
	STAILQ_ENTRY(frame_in) link;
	size_t len;
	bool binary;
	uint8_t data[];
};

enum join { JOIN_WAITS, JOIN_ASKED, JOIN_DONE };

#define PEER_MAGIC 0x53506572u
struct peer {
	uint32_t magic;
	unsigned refs; /* the connection, and every answer that is to come */
	struct sds *s;
	struct room *room;
	struct sluice_ws *ws; /* NULL: closed */
	uint64_t id;          /* random: who it is in other workers */
	enum scope scope;
	bool ack, closing, paused, greeted, synced;
	bool full;   /* its replay waits for the socket */
	bool parked; /* its replay waits for a large record that another peer reads */
	TAILQ_ENTRY(peer) link;   /* room->peers */
	TAILQ_ENTRY(peer) park;   /* sds->parked, while parked */
	TAILQ_ENTRY(peer) asking; /* sds->asking while JOIN_ASKED; sds->due while replay_due */
	enum join join;
	uint64_t asked_ms, replayed_ms;
	bool replay_due;
	struct out_queue out;
	struct cursor cursor; /* at: what of the log it has */
	uint64_t *own;        /* ends of its own records beyond cursor.at, ascending; owned */
	size_t own_head, n_own, cap_own;
	STAILQ_HEAD(frames, frame_in) inbox;
	size_t inbox_bytes;
	unsigned appending;
	size_t appending_bytes;
	uint64_t last_end; /* of its last record */
	struct cast *cast;
	STAILQ_HEAD(acks, ack) acks;
	unsigned n_acks;
	uint64_t first_seq; /* of the log that is looked through */
	struct cursor looking; /* for the original of a repetition */
	bool taking; /* a frame, right now */
	bool busy; /* a value of its is being stored or looked up: frames wait */
	struct sets sets;
	unsigned n_values_out;
	uint64_t owner; /* of its presence states */
	unsigned n_states;
	char uuid[37]; /* PeerId of states that name none */
};

/* ---- rooms ---- */

enum room_kind { ROOM_SYNC, ROOM_SIGNAL };
enum log_state { LOG_NONE, LOG_CREATING, LOG_WATCHING, LOG_READY };
enum channel_state { CHANNEL_NONE, CHANNEL_ASKED, CHANNEL_READY, CHANNEL_LOCAL };

struct state { /* presence of somebody */
	TAILQ_ENTRY(state) link;
	struct peer *peer; /* NULL: at another worker */
	uint64_t seen_ms;  /* wall clock */
	struct sluice_buf *frame;
	char *text; /* what is in it; owned */
	size_t len, n_key; /* of the text; of the key */
	char key[];        /* connection and PeerId */
};

struct later { /* a frame of another worker that stands behind a record not told here yet */
	STAILQ_ENTRY(later) link;
	uint64_t after;
	struct sluice_buf *buf;
	size_t len;
	bool binary;
};

struct partial { /* a frame of another worker of which pieces are missing */
	TAILQ_ENTRY(partial) link;
	uint64_t from;
	uint32_t next, pieces;
	uint64_t heard_ms;
	uint8_t *data; /* owned */
	size_t len, cap;
};

#define ROOM_MAGIC 0x53526d31u
struct room {
	uint32_t magic;
	unsigned refs; /* peers, casts, calls, answers that are to come */
	enum room_kind kind;
	struct sds *s;
	struct room *next_in_bucket;
	TAILQ_ENTRY(room) retry; /* sds->retry, when there is something to try again */
	bool retrying, fresh;
	uint64_t retry_ms;
	TAILQ_ENTRY(room) news; /* sds->news, while fresh */
	TAILQ_HEAD(peers, peer) peers;
	unsigned n_peers;
	/* log */
	enum log_state log;
	struct sluice_req *create;
	struct sluice_sub *sub;
	uint64_t known; /* the tail as the writer told it: everything below is durable, and we know which of it is whose */
	struct cursor cursor; /* at: what those peers were told that are up to date */
	struct {                       /* the last large record, as a frame */
		struct peer *by;       /* who reads one right now */
		struct sluice_buf *buf; /* one reference; NULL: none */
		uint64_t start, end;   /* for who is at or behind start, but before end */
		size_t len;
		uint64_t used_ms;
		bool jump; /* it stands for many */
	} large;
	/* other workers */
	enum channel_state channel;
	struct sluice_chan_sub *chan;
	TAILQ_HEAD(states, state) states;
	STAILQ_HEAD(laters, later) later;
	size_t n_later, later_bytes;
	TAILQ_HEAD(partials, partial) partials;
	size_t partial_bytes;
	size_t n_id;
	char id[ID_MAX];
	size_t n_stream;
	char stream[STREAM_MAX];
};

/* ---- a frame to other workers ---- */

struct cast {
	struct sds *s;
	struct room *room;
	struct peer *peer; /* NULL: it has gone */
	TAILQ_ENTRY(cast) link;
	uint64_t from, after;
	uint8_t *data; /* owned */
	size_t len;
	bool binary;
	uint32_t piece, pieces;
	unsigned waiting;
};

/* ---- HTTP ---- */

enum call_kind {
	CALL_PRESENCE,
	CALL_LOG,
	CALL_HEALTH,
	CALL_SNAPSHOT_GET,
	CALL_SNAPSHOT_PUT,
	CALL_PATCHES_GET,
	CALL_PATCH_PUT,
	CALL_PATCHES_PRUNE,
	CALL_VALUE_GET,
	CALL_VALUE_PUT,
	CALL_VALUE_RELEASE,
	CALL_COMPACT
};

#define CALL_MAGIC 0x5343616cu
struct call {
	uint32_t magic;
	enum call_kind kind;
	struct sds *s;
	struct sluice_http_req *http;
	TAILQ_ENTRY(call) link;
	struct sluice_chan_req *chan;
	struct sluice_req *req;
	struct room *room; /* PRESENCE without channels: whose states are shown */
	uint64_t began_ms;
	/* LOG */
	struct cursor cursor;
	uint64_t since, left; /* records beyond are wanted, so many */
	bool started;
	size_t n_stream, n_prefix; /* PATCHES: what all names begin with */
	char stream[BELOW_MAX];
	/* the provider */
	const struct provided *what;
	struct sluice_read blob; /* the next step */
	struct change *change;
	int64_t clock;
	int64_t *clocks; /* PATCHES_GET: a page of them; owned */
	size_t n_clocks, at;
	bool more, inside;              /* pages; of a patch that is read in steps */
	struct sluice_payload *payload; /* PATCH_PUT: its body, and how much of it is what was there */
	void *body;
	size_t n_body, compared;
	size_t n_id, n_replica, n_name;
	char id[ID_MAX], replica[REPLICA_MAX], name[VALUE_ID_MAX];
};

#define SDS_MAGIC 0x53445331u
struct sds {
	uint32_t magic;
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const struct sluice_http *http;
	const struct sluice_ws_host *ws;
	const struct sluice_store *store;
	const struct sluice_ephemeral *eph;
	slice *secrets; /* owned; their bytes are the configuration's */
	size_t n_secrets;
	slice *origins; /* the same of pages in browsers */
	size_t n_origins;
	const char *issuer;
	bool storage;
	uint64_t keep_ms; /* what a compaction replaced; 0: not at all */
	uint64_t max_message, send_queue, presence_ms, store_connections, reassembling;
	struct set_limits set_limits;
	struct room *bucket[ROOM_BUCKETS];
	uint64_t seed;
	TAILQ_HEAD(parked, peer) parked;
	TAILQ_HEAD(askers, peer) asking, due; /* in the order in which they were asked, in which they asked */
	TAILQ_HEAD(rooms, room) retry;
	TAILQ_HEAD(news, room) news; /* whose logs have grown: looked at when the turn ends */
	bool deferred;
	TAILQ_HEAD(casts, cast) casts;
	TAILQ_HEAD(calls, call) calls;
	TAILQ_HEAD(appends, append) appends;
	TAILQ_HEAD(changes, change) changes;
	TAILQ_HEAD(wires, wire) wires;
	struct sluice_timer *timer;
	bool soon; /* it is set to the next tick already */
	uint64_t swept_ms;
	bool room_asked; /* on_room is to call */
	bool draining, drained;
	struct {
		uint64_t *connections[3], *signals, *refused_4001, *refused_4003, *in[8], *out[8], *in_bytes, *out_bytes;
		uint64_t *read_scope, *appended, *appended_bytes, *repeated, *replays, *replayed_bytes, *answered, *timed_out;
		uint64_t *overflows, *failures, *casts_lost, *states;
		uint64_t *values, *values_rejected, *values_dropped, *values_sent, *provider, *conflicts, *compactions;
	} count;
};

/* sds.c */
uint64_t sds_now(const struct sds *);
uint64_t sds_wall(const struct sds *);
uint64_t sds_random(void);
void sds_check_drained(struct sds *);
void sds_tick_soon(struct sds *);

/* names.c: the id of a store, how its log is called, where it stands in a path */
bool id_valid(slice);
bool utf8_valid(slice);
/* Decodes one segment of a path. False: malformed, or too long. */
bool percent_decode(slice raw, char *out, size_t max, size_t *n);
/* The same; also false when it is no id. */
bool id_decode(slice raw, char out[ID_MAX], size_t *n);
size_t id_stream(slice id, char out[STREAM_MAX]);
/* The segments of target behind the first `marker`; at most max. False: it is not there, or there are more. */
bool path_split(slice target, const char *marker, slice *part, size_t max, size_t *n);

/* hash.c */
uint32_t fnv1a(slice);
bool sha256(slice, uint8_t out[HASH_LEN]);
void hex_put(const uint8_t *, size_t n, char *out);
size_t fnv_name(uint32_t hash, uint64_t len, char name[FNV_NAME]);
size_t fnv_mangle(const char *name, size_t n, uint8_t out[FNV_NAME / 2]); /* as clients of today do */
enum value_name { NAME_NONE, NAME_SHA, NAME_FNV };
/* Of the payload of a VALUE: where its content begins, and the name that it is kept under. */
enum value_name name_value(slice payload, slice *content, char name[VALUE_NAME], size_t *n);
/* Of chunks that were put together. */
enum value_name name_set(const uint8_t hash[HASH_LEN], slice content, char name[VALUE_NAME], size_t *n);

/* values.c */
size_t below_store(slice id, const char *kind, slice part, char out[BELOW_MAX]);
void part_escape(slice part, char *out, size_t *at);
void value_read_facts(const struct sluice_read_result *, struct value_facts *);
struct change *change_new(struct sds *, enum change_kind, slice id, slice name); /* NULL: no memory */
void change_once(struct change *, slice id, slice request);
void change_run(struct change *);    /* done follows, perhaps before this returns; then it is freed */
void change_forget(struct change *); /* nobody is told */
void changes_drop(struct sds *);

/* assemble.c */
void sets_init(struct sets *, uint64_t *total);
void sets_clear(struct sets *);
void sets_expire(struct sets *, uint64_t now_ms);
bool chunk_parse(slice payload, struct chunk *);
/* SET_WHOLE: *whole is the content, to be freed. */
enum added sets_add(struct sets *, const struct chunk *, const struct set_limits *, uint64_t now_ms, uint8_t **whole, size_t *len);

/* wire.c: values by socket */
int wire_value(struct peer *, slice frame);
int wire_chunk(struct peer *, slice frame);
int wire_request(struct peer *, slice frame);
void wires_drop(struct sds *);
void value_out_free(struct value_out *);
/* 0: it is sent; EAGAIN: later, somebody will say. */
int value_out_pump(struct value_out *);

/* token.c */
enum verdict { TOKEN_GOOD, TOKEN_BAD, TOKEN_FOREIGN };
struct token {
	enum scope scope;
	json_t *aud; /* one reference */
};
enum verdict token_check(const struct sds *, slice token, slice id, struct token *); /* id.data NULL: not compared */
void token_fini(struct token *);
bool scope_parse(slice, enum scope *);
/* The text of a new one, to be freed; NULL: no memory. exp: whole seconds. */
char *token_sign(const struct sds *, const json_t *sub, const json_t *scope, const json_t *aud, int64_t iat, int64_t exp);
int64_t token_lifetime(const json_t *duration); /* seconds */

/* cursor.c */
void cursor_init(struct cursor *, struct sds *, struct room *, void *arg);
void cursor_run(struct cursor *, slice stream); /* until is set; nothing happens while it is running */
void cursor_stop(struct cursor *);              /* no callback follows */
void cursor_fini(struct cursor *);

/* How many records end at or before an offset: each adds the same to what its bytes add. */
static inline uint64_t seq_of(uint64_t offset, uint64_t pos)
{
	return (offset - pos) / SLUICE_RECORD_OVERHEAD;
}

/* out.c: to one client */
void peer_push(struct peer *, struct sluice_buf *, size_t len, bool binary); /* the buf stays the caller's */
void peer_send(struct peer *, uint8_t type, slice payload);                 /* a frame of its own */
/* A record of the log that is new to everybody who is up to date. */
void peer_forward(struct peer *, struct sluice_buf *, size_t len, uint64_t start, uint64_t end);
void peer_replay(struct peer *, uint64_t from); /* the log from there on, in its place behind what is queued */
void peer_pump(struct peer *);
void peer_owns(struct peer *, uint64_t end);
void out_clear(struct peer *);
void peer_push_value(struct peer *, struct value_out *); /* takes it over */
int replay_record(void *arg, uint64_t start, uint64_t end, slice payload); /* of a peer's cursor */
void replay_rest(void *arg, int status);
bool replay_large(void *arg);
void large_leave(struct peer *); /* it reads none any more */
void large_drop(struct room *);
void large_expire(struct room *);
void parked_tick(struct sds *);

/* peer.c */
int sync_open(void *self, struct sluice_ws *);
int signal_open(void *self, struct sluice_ws *);
void peer_message(void *self, struct sluice_ws *, slice, int binary);
void peer_pull(void *self, struct sluice_ws *);
void peer_closed(void *self, struct sluice_ws *, int code);
void peer_close(struct peer *, int code, const char *reason);
void peer_kick(struct peer *); /* what its inbox waits for may have come */
void peer_joins(struct peer *); /* its room is ready */
void peer_answered(struct peer *); /* somebody's patch came, or the time is over: the log is replayed */
void peer_ref(struct peer *);
void peer_unref(struct peer *);
void peer_asks(struct peer *); /* for everything, again */
void peers_tick(struct sds *);

/* frame.c: what a client sent, by type. 0, or SLUICE_EAGAIN: it has to wait for what came before. */
int frame_take(struct peer *, slice, bool binary);
int frame_relay(struct peer *, slice, bool binary);

/* append.c: a patch to the log */
int append_patch(struct peer *, slice patch);
void appends_drop(struct sds *); /* nobody waits for their answers any more */
bool appends_settled(const struct peer *); /* all its patches are durable and told */

/* ack.c: what a client that asked for it is told of its patches (H.6) */
void acks_init(struct peer *);
void acks_clear(struct peer *);
void ack_seq(struct peer *, uint64_t seq);
void ack_repeated(struct peer *, const uint8_t hash[HASH_LEN], uint64_t tail);

/* room.c */
struct room *room_get(struct sds *, enum room_kind, slice id); /* one reference; NULL: no memory */
struct room *room_find(struct sds *, enum room_kind, slice id); /* none is made */
void room_ref(struct room *);
void room_unref(struct room *);
void room_settle(struct room *); /* log or channel have become what they will be: newcomers join */
void room_joins(struct room *, struct peer *);
void room_leaves(struct room *, struct peer *);
void room_advance(struct room *); /* tells what is known and was not told */
void room_relay(struct room *, const struct peer *but, struct sluice_buf *, size_t len, bool binary);
void room_retry(struct room *);
void rooms_tick(struct sds *);
int room_record(void *arg, uint64_t start, uint64_t end, slice payload);
void room_rest(void *arg, int status);

/* channel.c: other workers */
void channel_open(struct room *);
void channel_close(struct room *);
bool channel_name(const struct room *, char buf[ID_MAX + 16], struct sluice_channel *);
void channel_flush(struct room *); /* what waited for the log */
bool channel_busy(struct room *); /* a frame of another worker is coming in, which the log may not overtake */
/* To everybody here, behind the record that ends at `after`; takes the reference. */
void channel_tell(struct room *, uint64_t after, struct sluice_buf *, size_t len, bool binary);
int cast_begin(struct peer *, slice bytes, bool binary);
void casts_tick(struct sds *);
void cast_free(struct cast *);

/* presence.c */
int presence_take(struct peer *, slice frame);
void presence_greet(struct peer *);
void presence_leave(struct peer *);
/* Of another worker. fresh: everybody is told; otherwise those who were told of what was there before. */
void presence_put(struct room *, slice key, slice value, bool fresh);
void presence_gone(struct room *, slice key);
void presence_lost(struct room *);  /* the channel is: those of others are forgotten */
void presence_renew(struct room *); /* it is there again: ours are put into it */
void presence_clear(struct room *);
void presence_expire(struct room *); /* once a second: who has been silent for too long */
/* The states of a channel as a list for people; NULL: no memory. */
json_t *presence_list(const struct sluice_channel_kept *, size_t n);
json_t *presence_list_room(const struct room *);

/* http.c */
struct call *call_new(struct sds *, struct sluice_http_req *, enum call_kind);
void call_free(struct call *);
void call_gone(void *self, struct sluice_http_req *);
void token_request(void *self, struct sluice_http_req *);
void presence_request(void *self, struct sluice_http_req *);
void health_request(void *self, struct sluice_http_req *);
void calls_tick(struct sds *);
void answer_error(struct sds *, struct sluice_http_req *, int status, const char *text);
void answer_trouble(struct sds *, struct sluice_http_req *, int status); /* of the host */
void answer_json(struct sds *, struct sluice_http_req *, json_t *);      /* takes the reference */
/* The token of the request, compared with the store. False: answered. */
bool http_admit(struct sds *, struct sluice_http_req *, slice id, enum scope least);

/* origin.c: as the host's, with what a page in a browser needs */
void http_reply(struct sds *, struct sluice_http_req *, int status, const struct sluice_header *, size_t n, slice body);
int http_respond(struct sds *, struct sluice_http_req *, int status, const struct sluice_header *, size_t n, int64_t length);
void options_request(void *self, struct sluice_http_req *);

/* log.c */
void log_request(void *self, struct sluice_http_req *);
void log_pull(void *self, struct sluice_http_req *, size_t room);

/* compact.c */
void compact_request(void *self, struct sluice_http_req *);

/* provider.c */
void provider_request(void *self, struct sluice_http_req *);
void provider_pull(void *self, struct sluice_http_req *, size_t room);

static inline bool slice_is(slice s, const char *text)
{
	return s.data && s.len == strlen(text) && memcmp(s.data, text, s.len) == 0;
}

static inline bool slice_eq(slice a, slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

/* Behind the data of the protocol everything is big-endian. */
static inline void put_u32(uint8_t *p, uint32_t v)
{
	for (int i = 3; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static inline void put_u64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

static inline uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

static inline uint64_t get_u64(const uint8_t *p)
{
	return (uint64_t)get_u32(p) << 32 | get_u32(p + 4);
}

#endif
