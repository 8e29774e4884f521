/*
 * sluice/plugin.h - the plugin ABI, version 1.
 *
 * A plugin is a shared object that exports exactly one symbol, the descriptor sluice_plugin_v1, and imports nothing
 * from the host: every service comes through the tables in struct sluice_host. See sluice-plugin(7).
 *
 * Rules that hold for every call in both directions:
 *   threads    all calls happen on the thread that called configure().
 *   callbacks  never run inside the call that armed them, never nest, and must not block.
 *   memory     arguments are borrowed until the call returns, callback data until the callback returns;
 *              handles are freed by their own function; nobody frees the other side's memory.
 *   errors     0 or a negative SLUICE_E*. A call that returned an error never completes.
 *   growth     every struct that crosses begins with its size; members are only ever appended.
 *
 * History
 *   1.0  first version
 *   1.1  ephemeral channels: host->ephemeral, SLUICE_CAP_EPHEMERAL
 *        who asks: principal_who, principal_name, principal_expires, verify, principal_free; token_query of routes and
 *        endpoints, expire of routes, http->refuse
 *   1.2  positions: SLUICE_A_EXPECT_POS, SLUICE_RD_POS, SLUICE_R_INSIDE; tail_pos and earliest_pos of results, skip_from of reads;
 *        store->list_items
 *        listener_fd claims: a listener that a plugin takes is not served by the HTTP engine
 *   1.3  ws->target; what open() of an endpoint refuses with
 *        snapshots: SLUICE_OP_SNAPSHOT, SLUICE_A_AT_POS, SLUICE_A_EXPECT_SNAPSHOT, SLUICE_A_REPLACE, SLUICE_R_SNAPSHOT, SLUICE_RD_SNAPSHOT;
 *        expect_snapshot of operations; snapshot, snapshot_pos, snapshot_digest of results and reads
 *   1.4  the server as a whole, for consoles and exporters: host->server, SLUICE_CAP_SERVER
 *        SLUICE_RT_YIELD
 *        http->errors: the form of errors that the engine answers itself
 */
#ifndef SLUICE_PLUGIN_H
#define SLUICE_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define SLUICE_ABI_MAJOR 1
#define SLUICE_ABI_MINOR 4
#define SLUICE_MAGIC 0x534c5543u /* first word of the descriptor: "SLUC" */

struct sluice_ctx;       /* this plugin instance, as the host sees it */
struct sluice_conf;      /* a node of this plugin's validated configuration */
struct sluice_watch;     /* a descriptor watched on the loop */
struct sluice_timer;     /* a one-shot timer */
struct sluice_req;       /* an accepted store request that has not completed */
struct sluice_sub;       /* a subscription to a stream or to a prefix of names */
struct sluice_http_req;  /* one HTTP request and its answer */
struct sluice_ws;        /* one WebSocket connection */
struct sluice_principal; /* who is asking */
struct sluice_payload;   /* collected bytes, in memory or behind a descriptor */
struct sluice_chan_req;  /* an accepted call about an ephemeral channel that has not completed */
struct sluice_chan_sub;  /* a subscription to an ephemeral channel */
struct sluice_buf;       /* immutable reference-counted bytes shared by many answers */

/* Borrowed bytes, never NUL-terminated. data == NULL means absent, len == 0 with data set means empty. */
struct sluice_slice {
	const void *data;
	size_t len;
};

/* Values are frozen, new ones are only appended. */
enum sluice_status {
	SLUICE_OK = 0,
	SLUICE_ENOMEM = -1,
	SLUICE_EINVAL = -2,
	SLUICE_ENOTSUP = -3,
	SLUICE_EDENIED = -4,
	SLUICE_EAGAIN = -5,  /* queue full: stop reading your client, wait for on_room */
	SLUICE_ENOENT = -6,  /* no such stream, or expired */
	SLUICE_EEXIST = -7,  /* the name is taken by something else; see reason */
	SLUICE_ECLOSED = -8, /* the stream is closed */
	SLUICE_ETOOBIG = -9,
	SLUICE_ECONFLICT = -10, /* a precondition failed; reason says which, the result says what is true */
	SLUICE_ELOST = -11,     /* the writer vanished after the request was sent: outcome UNKNOWN, may be durable */
	SLUICE_ECANCELED = -12,
	SLUICE_EINTERNAL = -13,
	SLUICE_EGONE = -14, /* soft-deleted, or below the earliest offset (reason says which) */
	SLUICE_EFULL = -15, /* no space on disk */
	SLUICE_EBUSY = -16  /* overloaded or writer away; retry later */
};

/* Why an operation was refused. Frozen like the statuses. */
enum sluice_reason {
	SLUICE_WHY_NONE = 0,
	SLUICE_WHY_TYPE,             /* content type differs from the stream's */
	SLUICE_WHY_PRODUCER_GAP,     /* producer_seq in the result + 1 was expected; none yet: 0 was expected */
	SLUICE_WHY_PRODUCER_FENCED,  /* a newer epoch is known: producer_epoch */
	SLUICE_WHY_PRODUCER_RESTART, /* a new epoch must begin at sequence 0 */
	SLUICE_WHY_STREAM_SEQ,       /* Stream-Seq is not greater than the last accepted one */
	SLUICE_WHY_TAIL,             /* the expected tail is not the tail */
	SLUICE_WHY_CONFIG,           /* create: exists with another configuration */
	SLUICE_WHY_SOFT_DELETED,     /* name or fork source is held by a soft-deleted stream */
	SLUICE_WHY_FORK_SOURCE,      /* fork source does not exist or has expired */
	SLUICE_WHY_FORK_TYPE,        /* fork: content type differs from the source's */
	SLUICE_WHY_FORK_OFFSET,      /* fork offset is beyond the tail or not on a record boundary */
	SLUICE_WHY_FORK_SUB,         /* sub-offset reaches past the record that begins at the fork offset */
	SLUICE_WHY_TRIMMED,          /* offset is below the earliest one (see earliest) */
	SLUICE_WHY_PAYLOAD,          /* SLUICE_A_REFUSE was set and everything else was in order */
	SLUICE_WHY_RESERVED,         /* the name belongs to another owner */
	SLUICE_WHY_BEYOND,           /* 1.3: offset is beyond the tail */
	SLUICE_WHY_BOUNDARY,         /* 1.3: offset is not where a message begins */
	SLUICE_WHY_SNAPSHOT          /* 1.3: the snapshot that is there is another one (see snapshot, snapshot_digest) */
};

enum { SLUICE_READ = 1, SLUICE_WRITE = 2 }; /* watch events */

#define SLUICE_CAP_STORE (UINT64_C(1) << 0)
#define SLUICE_CAP_HTTP (UINT64_C(1) << 1)
#define SLUICE_CAP_WS (UINT64_C(1) << 2)
#define SLUICE_CAP_AUTH (UINT64_C(1) << 3)
#define SLUICE_CAP_EPHEMERAL (UINT64_C(1) << 4)
#define SLUICE_CAP_SERVER (UINT64_C(1) << 5)

enum sluice_level { SLUICE_LOG_ERR, SLUICE_LOG_WARN, SLUICE_LOG_INFO, SLUICE_LOG_DEBUG };

/* ---- configuration schema: the host parses, range-checks, fills in defaults and documents ---- */

enum sluice_type {
	SLUICE_T_BOOL,
	SLUICE_T_INT,
	SLUICE_T_SIZE,     /* bytes; 64K, 16M, 1G */
	SLUICE_T_DURATION, /* milliseconds; 500ms, 30s, 5m, 2h, 7d */
	SLUICE_T_STRING,
	SLUICE_T_ENUM, /* min = "a|b|c"; read as the index */
	SLUICE_T_LISTENER,
	SLUICE_T_LIST, /* sub: several options = members of MAP elements; one option = the element itself, its name is ignored */
	SLUICE_T_MAP /* sub: the members */
};

#define SLUICE_OPT_SECRET 0x1u  /* masked whenever the configuration is printed */
#define SLUICE_OPT_RESTART 0x2u /* a change needs a restart of the process that owns it */

struct sluice_option {
	const char *name; /* NULL ends the table */
	enum sluice_type type;
	const char *def; /* default as it would be written in YAML; NULL = required, "" = may be absent */
	const char *min, *max;
	const char *doc; /* one paragraph for the manual and the sample file */
	const struct sluice_option *sub;
	uint32_t flags; /* SLUICE_OPT_* */
};

/* ---- what the plugin gives the host: the only exported symbol ---- */

#define SLUICE_F_OWN_LOOP 0x1u /* reserved: refused by v1 hosts */

struct sluice_host;
struct sluice_plugin {
	uint32_t magic, size; /* SLUICE_MAGIC, sizeof as the plugin was built */
	uint16_t abi_major, abi_minor;
	uint32_t flags;
	uint64_t needs; /* SLUICE_CAP_*: loading is refused when the host lacks one */
	const char *name, *version;
	const char *default_mount; /* where an HTTP or WebSocket plugin lives unless the YAML says otherwise */
	const struct sluice_option *options;
	/* Parse only: no I/O; runs in `sluiced -t` too. conf_error() reports what is wrong. */
	int (*configure)(struct sluice_ctx *, const struct sluice_host *, const struct sluice_conf *, void **self);
	int (*start)(void *self);                        /* register routes and endpoints, open timers, subscribe */
	void (*drain)(void *self, uint64_t deadline_ms); /* end live answers; call host->drained when idle */
	void (*stop)(void *self);                        /* release everything; once, iff configure succeeded */
							 /* append below this line only; bump SLUICE_ABI_MINOR */
};

#if defined(__GNUC__)
#define SLUICE_EXPORT __attribute__((visibility("default")))
#else
#define SLUICE_EXPORT
#endif
#ifdef __cplusplus
#define SLUICE_PLUGIN extern "C" SLUICE_EXPORT const struct sluice_plugin sluice_plugin_v1
#else
#define SLUICE_PLUGIN \
	SLUICE_EXPORT extern const struct sluice_plugin sluice_plugin_v1; \
	const struct sluice_plugin sluice_plugin_v1
#endif
#define SLUICE_HEAD SLUICE_MAGIC, sizeof(struct sluice_plugin), SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR
/* True when the table the other side handed us is long enough to hold this member, and it is set. */
#define SLUICE_HAS(tbl, m) ((tbl)->size >= offsetof(__typeof__(*(tbl)), m) + sizeof((tbl)->m) && (tbl)->m)

/* ---- the store ----
 *
 * A stream is a sequence of records (one per append). A record holds one or more messages (a JSON batch). An offset
 * counts payload bytes + SLUICE_RECORD_OVERHEAD per record, so offsets of successive records are at least 6 apart and
 * an offset inside a record can be told from its end. 0 is the beginning of every stream; forks share their source's
 * offsets up to the fork point.
 *
 * A position counts payload bytes alone. Every offset has one, and every position names a byte of a record: it is the other way to
 * say where to read (SLUICE_RD_POS).
 *
 * A snapshot is a blob that stands for everything of a stream before its place. Publishing one makes what lies before it
 * unreadable in the same step (earliest is its place), and the one before it goes; forks keep what they inherited, the snapshot
 * too. A stream has one at most. Trimming further takes it away; retention leaves a stream that has one alone.
 */
#define SLUICE_RECORD_OVERHEAD 5
#define SLUICE_OFFSET_NOW UINT64_MAX

enum sluice_op_kind {
	SLUICE_OP_CREATE = 1, /* stream, content_type, optionally data, TTL/expiry, fork; SLUICE_A_CLOSE */
	SLUICE_OP_APPEND,     /* stream, content_type, data, optionally producer, stream_seq; SLUICE_A_CLOSE */
	SLUICE_OP_CLOSE,      /* stream, optionally producer */
	SLUICE_OP_REMOVE,     /* stream */
	SLUICE_OP_TRIM,       /* stream, trim_to: offsets below become unreadable */
	/* 1.3: stream, data or payload, content_type (of the snapshot), trim_to: its place, where a message begins or the tail. One that
	 * is there already changes nothing (DUPLICATE); another one at the same place: ECONFLICT, WHY_SNAPSHOT. */
	SLUICE_OP_SNAPSHOT
};
/* operation flags */
#define SLUICE_A_CLOSE 0x1u        /* close in the same step */
#define SLUICE_A_EXPECT_TAIL 0x2u  /* refuse unless expect_tail is the tail */
#define SLUICE_A_TTL 0x4u          /* ttl_s is given */
#define SLUICE_A_EXPIRES 0x8u      /* expires_ms is given */
#define SLUICE_A_FORK 0x10u        /* fork_of is given */
#define SLUICE_A_FORK_AT 0x20u     /* fork_at is given; otherwise the source's tail */
#define SLUICE_A_PRODUCER 0x40u    /* producer, producer_epoch and producer_seq are given */
#define SLUICE_A_STREAM_SEQ 0x80u  /* stream_seq is given */
#define SLUICE_A_REFUSE 0x100u     /* the payload is known to be bad: run every check, then refuse (WHY_PAYLOAD) */
#define SLUICE_A_INHERIT 0x200u    /* fork: content_type was not named by the client (matches whatever is there) */
#define SLUICE_A_EXPECT_POS 0x400u /* 1.2: with EXPECT_TAIL: expect_tail is a position */
#define SLUICE_A_AT_POS 0x800u     /* 1.3: trim_to is a position */
#define SLUICE_A_EXPECT_SNAPSHOT \
	0x1000u                   /* 1.3: refuse unless the snapshot has the digest expect_snapshot; empty: there is none */
#define SLUICE_A_REPLACE 0x2000u /* 1.3: snapshot: also another one at the same place */

/* result flags */
#define SLUICE_R_CLOSED 0x1u     /* the stream is closed */
#define SLUICE_R_DUPLICATE 0x2u  /* producer duplicate, nothing was appended */
#define SLUICE_R_CREATED 0x4u    /* create: the stream is new (absent: it existed with equal configuration) */
#define SLUICE_R_UP_TO_DATE 0x8u /* read: end is the tail */
#define SLUICE_R_TTL 0x10u       /* ttl_s is set */
#define SLUICE_R_EXPIRES 0x20u   /* expires_ms is set */
#define SLUICE_R_PRODUCER 0x40u  /* producer_epoch and producer_seq are set */
#define SLUICE_R_INSIDE 0x80u    /* 1.2: read by position: it is inside a message */
#define SLUICE_R_SNAPSHOT 0x100u /* 1.3: there is a snapshot; what is told about it is set */

/* event kinds */
#define SLUICE_EV_TAIL 0x1u    /* tail is at least `tail`; also sent once when the subscription is established */
#define SLUICE_EV_CLOSED 0x2u  /* the stream is closed (its tail is final) */
#define SLUICE_EV_REMOVED 0x4u /* removed, soft-deleted or expired; or it was not there when subscribed */
#define SLUICE_EV_CREATED 0x8u /* prefix subscriptions only */
#define SLUICE_EV_SOFT 0x10u   /* together with REMOVED: soft-deleted */
#define SLUICE_EV_RESYNC 0x20u /* prefix subscriptions: events may have been missed, list again */

struct sluice_op { /* zero it, set size and kind, fill in what the kind needs */
	uint32_t size, kind, flags, n_messages;
	struct sluice_slice stream, content_type, data, producer, stream_seq, fork_of;
	const uint32_t *message_len;    /* lengths of the n_messages messages in data; NULL = one message */
	struct sluice_payload *payload; /* instead of data: a body of any size; taken over when submit succeeds */
	uint64_t expect_tail, producer_epoch, producer_seq, ttl_s, expires_ms, fork_at, fork_sub, trim_to;
	/* append below this line only */
	struct sluice_slice expect_snapshot; /* 1.3 */
};

struct sluice_result { /* outcome of one operation; borrowed for the duration of the callback */
	uint32_t size;
	int32_t status; /* SLUICE_OK or SLUICE_E* */
	uint32_t reason, flags;
	const char *message;            /* one English sentence, or "" */
	uint64_t incarnation;           /* differs for every stream that ever bore the name */
	uint64_t start, tail, earliest; /* first offset of what was appended; end after the commit; first readable */
	uint64_t producer_epoch, producer_seq; /* what the store holds now */
	/* append below this line only */
	uint64_t tail_pos, earliest_pos; /* 1.2: their positions */
	/* 1.3: of operations of the kind SNAPSHOT: the one that is there now; offset and position of its place; SHA-256 of its type, a
	 * zero byte and its bytes */
	uint64_t snapshot, snapshot_pos;
	struct sluice_slice snapshot_digest;
};
typedef void sluice_done_fn(void *arg, const struct sluice_result *, size_t n); /* one result per operation */

struct sluice_record {     /* a record end inside a read result */
	uint64_t end;      /* offset after this record */
	uint32_t data_end; /* where its bytes end in data */
};

/* read flags */
#define SLUICE_RD_RENEW 0x1u    /* counts as an access of a stream with a sliding TTL */
#define SLUICE_RD_CONTINUE 0x2u /* a later step of a long answer: incarnation, from, skip and until are set */
#define SLUICE_RD_POS \
	0x4u /* 1.2: from is a position; the answer begins there. Beyond the tail: ETOOBIG, with the facts */
/* 1.3: facts of the snapshot too, and as [from, end) what lies behind it (or behind the earliest offset), without its bytes; messages
 * is not counted. All of one moment; the bytes of both follow by CONTINUE. Together with CONTINUE: the bytes [from, until) of the snapshot
 * itself; incarnation: its snapshot_id. */
#define SLUICE_RD_SNAPSHOT 0x8u

struct sluice_read { /* zero it, set size */
	uint32_t size, flags;
	struct sluice_slice stream;
	uint64_t from;   /* an offset, or SLUICE_OFFSET_NOW; inside a record means its beginning */
	uint64_t budget; /* the answer's payload bytes: whole records up to this many, at least one; 0 = facts only */
	uint64_t incarnation, until, skip; /* SLUICE_RD_CONTINUE: from the result before */
					   /* append below this line only */
};

/* Facts are those of a transaction begun after the call. The whole answer is [from, end): payload_bytes and messages
 * describe all of it; data holds its first step. When next < end, or skip > 0, read on with SLUICE_RD_CONTINUE. A stream removed
 * meanwhile makes that step fail: the answer must then be cut off visibly. */
struct sluice_read_result {
	uint32_t size;
	int32_t status;
	uint32_t reason, flags; /* SLUICE_R_CLOSED: the stream is closed; UP_TO_DATE: end == tail; TTL, EXPIRES */
	const char *message;
	struct sluice_slice content_type;
	uint64_t incarnation, created_ms, tail, earliest, ttl_s, expires_ms;
	uint64_t from, end;               /* where the answer begins (a record boundary) and ends */
	uint64_t payload_bytes, messages; /* of the whole answer */
	struct sluice_slice data;         /* this step */
	uint64_t next, skip;              /* where the next step begins: record offset, bytes into that record */
	const uint32_t *message_end;      /* ends of messages in data; a message that goes on has none */
	size_t n_message_end;
	const struct sluice_record *record; /* ends of records in data */
	size_t n_record;
	/* append below this line only */
	uint64_t tail_pos, earliest_pos; /* 1.2: their positions */
	uint64_t skip_from; /* 1.2: RD_POS: so many bytes of the record at `from` are left out before data */
	/* 1.3: RD_SNAPSHOT, or refused with WHY_TRIMMED, and flags has SLUICE_R_SNAPSHOT */
	uint64_t snapshot, snapshot_pos, snapshot_len, snapshot_id;
	struct sluice_slice snapshot_type, snapshot_digest;
};
typedef void sluice_read_fn(void *arg, const struct sluice_read_result *);

struct sluice_event {
	uint32_t size, kind; /* SLUICE_EV_* bits */
	struct sluice_slice stream, content_type;
	uint64_t tail, incarnation, time_ms;
	/* append below this line only */
};
typedef void sluice_event_fn(void *arg, const struct sluice_event *);

struct sluice_list_entry {
	struct sluice_slice stream, content_type;
	uint64_t tail, earliest, created_ms, incarnation;
	uint32_t flags; /* SLUICE_R_CLOSED */
};
/* more: further names follow after the last entry. */
struct sluice_list_item { /* 1.2: an entry that can grow; the next one is `size` bytes behind it */
	uint32_t size;
	struct sluice_list_entry entry;
	uint64_t tail_pos, earliest_pos;
	uint64_t written_ms; /* when something was appended last, or when the stream was created */
			     /* append below this line only */
};
typedef void sluice_list_items_fn(void *arg, int status, const struct sluice_list_item *, size_t n, int more);
typedef void sluice_list_fn(void *arg, int status, const struct sluice_list_entry *, size_t n, int more);

struct sluice_retention_rule {
	struct sluice_slice prefix;
	uint64_t max_age_ms, max_bytes; /* 0 = no bound */
};

struct sluice_store {
	uint32_t size;
	/* n > 1: in order, all or nothing. done gets n results. EAGAIN when the queue is full (wait for on_room). */
	int (*submit)(struct sluice_ctx *, const struct sluice_op *, size_t n, sluice_done_fn *, void *arg,
	              struct sluice_req **);
	int (*read)(struct sluice_ctx *, const struct sluice_read *, sluice_read_fn *, void *arg, struct sluice_req **);
	/* live != 0: a live reader stands behind it, a sliding TTL does not run out meanwhile. The first event comes when
	 * the writer has registered the watch: read after it and nothing is missed. After REMOVED no event follows. */
	int (*subscribe)(struct sluice_ctx *, struct sluice_slice stream, int live, sluice_event_fn *, void *arg,
	                 struct sluice_sub **);
	/* Life-cycle events of all streams whose name begins with prefix: CREATED, REMOVED (| SOFT), RESYNC. The first one is
	 * RESYNC, when the writer has registered the watch: list then, and nothing is missed. */
	int (*subscribe_prefix)(struct sluice_ctx *, struct sluice_slice prefix, sluice_event_fn *, void *arg,
	                        struct sluice_sub **);
	void (*unsubscribe)(struct sluice_sub *); /* no callback after it returns */
	void (*cancel)(struct sluice_req *);      /* forget the answer, not the act; no callback after it returns */
	/* fn runs once, when the queue has room again. */
	int (*on_room)(struct sluice_ctx *, void (*fn)(void *), void *arg);
	/* Names beginning with prefix, bytewise greater than after, in order; limit <= 1000. */
	int (*list)(struct sluice_ctx *, struct sluice_slice prefix, struct sluice_slice after, uint32_t limit,
	            sluice_list_fn *, void *arg, struct sluice_req **);
	/* In start() only. The longest matching prefix decides; the writer trims in its sweep. */
	int (*retention)(struct sluice_ctx *, const struct sluice_retention_rule *, size_t n);
	/* append below this line only */
	/* 1.2: as list, with more about each. */
	int (*list_items)(struct sluice_ctx *, struct sluice_slice prefix, struct sluice_slice after, uint32_t limit,
	                  sluice_list_items_fn *, void *arg, struct sluice_req **);
};

/* ---- who asks ---- */

enum sluice_who {                         /* what became of the token; frozen, new ones are only appended */
	          SLUICE_WHO_KNOWN = 0,   /* it is good: the principal has a name, and claims if it was a JWT */
	          SLUICE_WHO_ANYBODY = 1, /* there was none, and there are things that need none */
	          SLUICE_WHO_NOBODY = 2,  /* there was none, and everything needs one */
	          SLUICE_WHO_INVALID = 3,
	          SLUICE_WHO_EXPIRED = 4
};

#define SLUICE_VERIFY_EXP 0x1u /* a token without exp is refused */

struct sluice_verify { /* zero it, set size */
	uint32_t size, flags;
	const struct sluice_slice *secret; /* HS256, 32 to 1024 bytes each; all of them are tried */
	size_t n_secret;                   /* at most 64; 0: the tokens and keys of the configuration's auth section */
	const char *issuer;                /* iss has to be this; NULL: not compared */
	const char *audience;              /* aud has to be this or a list that has it; NULL: not compared */
	int64_t leeway_s;                  /* for exp and nbf */
					   /* append below this line only */
};

/* ---- HTTP engine: one view of HTTP/1.1 and HTTP/2 ---- */

#define SLUICE_RT_COLLECT 0x1u  /* request() runs once the whole body is there */
#define SLUICE_RT_OWN_AUTH 0x2u /* the principal is made, the verdict is left to the plugin */
#define SLUICE_RT_YIELD 0x4u    /* 1.4: where another plugin has the same route, that one is served; otherwise it is an error */

struct sluice_header {
	struct sluice_slice name, value; /* names in lower case */
};

struct sluice_route {
	uint32_t size, flags;
	const char *methods; /* "GET|HEAD"; HEAD is never implied */
	const char *
		pattern; /* below the mount: "/a/:id" (one segment), "/a/" + "*" (the rest, not empty); longest literal wins */
	const char *action; /* read, append, create, delete, admin: what the policy is asked for */
	uint64_t max_body;  /* 0 = limits.body */
	void (*request)(void *self, struct sluice_http_req *);
	/* Not COLLECT: pieces of the body; last != 0 with the final (perhaps empty) one. SLUICE_EAGAIN: not taken, the same
	 * piece comes again after wake. */
	int (*body)(void *self, struct sluice_http_req *, struct sluice_slice, int last);
	/* The answer has room: write at most about `room` bytes, or return without writing (park until the next write or
	 * wake). Before respond only wake leads here. */
	void (*pull)(void *self, struct sluice_http_req *, size_t room);
	/* The client left or the answer was reset; last call for this request, also the place to free what slot holds.
	 * Not called for a request that was answered to its end. */
	void (*gone)(void *self, struct sluice_http_req *);
	/* 1.1: a query parameter that may carry the bearer token, for clients that cannot set headers; NULL: none */
	const char *token_query;
	/* 1.1: the token of this request has expired, and it is not answered yet: end it as soon as that can be done cleanly.
	 * Without it answers go on. Not called with OWN_AUTH. */
	void (*expire)(void *self, struct sluice_http_req *);
	/* append below this line only */
};

struct sluice_http {
	uint32_t size;
	int (*route)(struct sluice_ctx *, const struct sluice_route *); /* in start() only */
	/* Headers of every answer below this plugin's mount, those the engine makes itself (404, 405, 413 ...) included. */
	int (*defaults)(struct sluice_ctx *, const struct sluice_header *, size_t n); /* in start() only */
	/* Slices live as long as the request. */
	struct sluice_slice (*method)(struct sluice_http_req *);
	struct sluice_slice (*path)(
		struct sluice_http_req *); /* below the mount without leading '/', percent-decoded */
	struct sluice_slice (*target)(struct sluice_http_req *); /* path as sent, with the mount, without the query */
	struct sluice_slice (*origin)(struct sluice_http_req *); /* "http://host:port" as the client sees it */
	struct sluice_slice (*header)(struct sluice_http_req *, const char *name, size_t i); /* data NULL: no i-th */
	struct sluice_slice (*query)(struct sluice_http_req *, const char *name,
	                             size_t i);                      /* decoded; data NULL: no i-th */
	struct sluice_payload *(*payload)(struct sluice_http_req *); /* COLLECT: yours from now on; NULL = empty body */
	const struct sluice_principal *(*principal)(struct sluice_http_req *);
	void **(*slot)(struct sluice_http_req *); /* your pointer */
	/* Before respond: asks for compression of a finite answer. Returns "" or the coding it will use ("gzip"). */
	const char *(*compress)(struct sluice_http_req *, int64_t length);
	/* length -1: not known in advance. HEAD, 204 and 304 never carry a body, whatever is written. */
	int (*respond)(struct sluice_http_req *, int status, const struct sluice_header *, size_t n, int64_t length);
	int (*write)(struct sluice_http_req *, struct sluice_slice);     /* copied */
	int (*write_buf)(struct sluice_http_req *, struct sluice_buf *); /* shared; takes a reference of its own */
	void (*wake)(struct sluice_http_req *);                          /* parked: pull me again */
	/* The request ends here: neither gone() nor pull() follow, the handle is dead. */
	void (*end)(struct sluice_http_req *);
	void (*reset)(struct sluice_http_req *); /* cut the answer off so that the client notices; gone() follows */
	/* respond + write + end in one step. */
	void (*reply)(struct sluice_http_req *, int status, const struct sluice_header *, size_t n,
	              struct sluice_slice body);
	size_t (*pending)(struct sluice_http_req *); /* bytes written and not yet taken by the client */
	/* 1.1: answers as the host does where it decides itself: 401 or 403, with WWW-Authenticate. The request ends here. */
	void (*refuse)(struct sluice_http_req *);
	/* 1.4: how the engine words the errors that it answers itself below this plugin's mount (401, 404, 405, 413 ...); without it they are
	 * text. fn writes at most `size` bytes (512) and says how many; it depends on nothing but its arguments. In start() only. */
	int (*errors)(struct sluice_ctx *, const char *content_type,
	              size_t (*fn)(int status, const char *sentence, char *body, size_t size));
	/* append below this line only */
};

/* ---- WebSocket engine ---- */

struct sluice_endpoint {
	uint32_t size, flags;     /* SLUICE_RT_OWN_AUTH */
	const char *pattern;      /* as for routes */
	const char *subprotocols; /* "a, b" or NULL */
	const char *action;
	uint64_t max_message;
	/* Nonzero: refuse with 403; 1.3: SLUICE_ENOENT with 404, SLUICE_EBUSY with 503. */
	int (*open)(void *self, struct sluice_ws *);
	void (*message)(void *self, struct sluice_ws *, struct sluice_slice, int binary); /* whole messages */
	void (*pull)(void *self, struct sluice_ws *);                                     /* room again after EAGAIN */
	void (*closed)(void *self, struct sluice_ws *, int code);                         /* last call */
	const char *
		token_query; /* 1.1: as for routes; when the token expires, the host closes with 1008 unless OWN_AUTH */
			     /* append below this line only */
};

struct sluice_ws_host {
	uint32_t size;
	int (*endpoint)(struct sluice_ctx *, const struct sluice_endpoint *); /* in start() only */
	struct sluice_slice (*path)(struct sluice_ws *);
	struct sluice_slice (*query)(struct sluice_ws *, const char *name, size_t i);
	struct sluice_slice (*header)(struct sluice_ws *, const char *name, size_t i);
	const struct sluice_principal *(*principal)(struct sluice_ws *);
	void **(*slot)(struct sluice_ws *);
	int (*send)(struct sluice_ws *, struct sluice_slice, int binary); /* copied; EAGAIN: full, wait for pull */
	int (*send_buf)(struct sluice_ws *, struct sluice_buf *, int binary);
	void (*pause)(struct sluice_ws *, int on);                       /* stop or go on reading from the client */
	void (*close)(struct sluice_ws *, int code, const char *reason); /* closed() follows */
	struct sluice_slice (*subprotocol)(struct sluice_ws *);          /* the one agreed on; data NULL: none */
									 /* append below this line only */
	struct sluice_slice (*target)(struct sluice_ws *); /* 1.3: path as sent, with the mount, without the query */
};

/* ---- ephemeral channels ----
 *
 * State in memory that all workers share: a last-writer-wins map with expiry (updates as in the Loro EphemeralStore), values that die
 * with their owner, and plain broadcasts. One worker, the one that mounts `presence`, owns every channel and puts what is accepted
 * into one order. Calls answer SLUICE_ENOTSUP when no frontend mounts it and SLUICE_EBUSY while it is away; nothing survives it.
 */
struct sluice_channel { /* zero it, set size */
	uint32_t size;
	struct sluice_slice
		name; /* any UTF-8 without NUL, at most 640 bytes; by convention it begins with the door: "presence:..." */
	uint64_t incarnation; /* of the stream it belongs to and ends with; 0: none */
			      /* append below this line only */
};

enum sluice_channel_kind {
	SLUICE_CHANNEL_DATA = 1, /* an update was accepted; data: its bytes as they were sent */
	SLUICE_CHANNEL_PUT,      /* key, data: a value was put */
	SLUICE_CHANNEL_GONE,     /* key: a value was taken back, or its owner is gone */
	SLUICE_CHANNEL_CAST,     /* data: a broadcast */
	SLUICE_CHANNEL_TERMINATE /* the channel was ended, or its worker is gone (LOST): end your client's answer; nothing follows */
};
#define SLUICE_CHANNEL_MINE 0x1u    /* event: sent by this worker; compare tag */
#define SLUICE_CHANNEL_LOST 0x2u    /* TERMINATE: by a crash; the client may come back at once */
#define SLUICE_CHANNEL_WRITTEN 0x4u /* state: somebody has written since the channel began */
#define SLUICE_CHANNEL_JSON 0x8u    /* bootstrap: state as a JSON object of the live entries */

struct sluice_channel_event {
	uint32_t size, kind, flags;
	uint64_t tag;    /* the sender's */
	uint64_t serial; /* the same for every subscription of this worker: what was formatted for one serves all */
	struct sluice_slice key, data;
	/* append below this line only */
};
struct sluice_channel_kept {
	struct sluice_slice key, value;
	uint64_t tag;
};
struct sluice_channel_state {
	uint32_t size;
	int32_t status; /* SLUICE_OK, ENOENT (its stream is gone), ETOOBIG (too many channels), ELOST, ENOMEM */
	uint32_t flags;
	struct sluice_slice state; /* all live entries as one update; empty when nobody has written */
	const struct sluice_channel_kept *kept;
	size_t n_kept;
	/* append below this line only */
};
struct sluice_channel_entry {
	struct sluice_slice name;
	uint64_t incarnation, entries, subscribers, bytes;
};
typedef void sluice_channel_done_fn(void *arg, int status);
typedef void sluice_channel_state_fn(void *arg, const struct sluice_channel_state *);
typedef void sluice_channel_event_fn(void *arg, const struct sluice_channel_event *);
typedef void sluice_channel_list_fn(void *arg, int status, const struct sluice_channel_entry *, size_t n, int more);

/* A request handle may be NULL when the answer need not be cancelled. SLUICE_EAGAIN: too much is under way, try later. */
struct sluice_ephemeral {
	uint32_t size;
	/* Merges an update and forwards it. EINVAL: malformed, nothing changed (at once, or as status); ETOOBIG: over a limit. */
	int (*apply)(struct sluice_ctx *, const struct sluice_channel *, uint64_t tag, struct sluice_slice update,
	             sluice_channel_done_fn *, void *arg, struct sluice_chan_req **);
	/* Keeps a value (at most 64 KiB) under a key until it is replaced, taken back (value absent) or its owner is gone. */
	int (*put)(struct sluice_ctx *, const struct sluice_channel *, uint64_t tag, uint64_t owner,
	           struct sluice_slice key, struct sluice_slice value, sluice_channel_done_fn *, void *arg,
	           struct sluice_chan_req **);
	int (*cast)(struct sluice_ctx *, const struct sluice_channel *, uint64_t tag, struct sluice_slice data,
	            sluice_channel_done_fn *, void *arg, struct sluice_chan_req **);
	uint64_t (*owner)(struct sluice_ctx *);              /* a new one, say for a connection */
	void (*disown)(struct sluice_ctx *, uint64_t owner); /* it is gone, and all it had put */
	/* flags: SLUICE_CHANNEL_JSON or 0 */
	int (*bootstrap)(struct sluice_ctx *, const struct sluice_channel *, uint32_t flags, sluice_channel_state_fn *,
	                 void *arg, struct sluice_chan_req **);
	/* The state once, then events: for every update it is in the state or comes as an event. A state with a status
	 * other than OK, or TERMINATE, is the last call. unsubscribe in every case. */
	int (*subscribe)(struct sluice_ctx *, const struct sluice_channel *, sluice_channel_state_fn *,
	                 sluice_channel_event_fn *, void *arg, struct sluice_chan_sub **);
	void (*unsubscribe)(struct sluice_chan_sub *); /* no callback after it returns; NULL is fine */
	void (*cancel)(struct sluice_chan_req *);      /* forget the answer, not the act */
	/* Every channel whose name begins with prefix. Its state goes, subscribers stay; terminate: they are ended, too. */
	int (*clear)(struct sluice_ctx *, struct sluice_slice prefix, int terminate, sluice_channel_done_fn *,
	             void *arg, struct sluice_chan_req **);
	/* In order of names, after the one given; limit <= 1000. */
	int (*list)(struct sluice_ctx *, struct sluice_slice prefix, struct sluice_slice after, uint32_t limit,
	            sluice_channel_list_fn *, void *arg, struct sluice_chan_req **);
	/* append below this line only */
};

/* ---- the server as a whole ----
 *
 * 1.4: for consoles and exporters: the processes, what each of them counts, and whether the store-writer answers. A plugin that has
 * SLUICE_CAP_SERVER in `needs` gets it. Everything but ping() answers at once, from what the supervisor told last and from memory that
 * the processes share. Slices and pointers live until the callback returns in which they were got.
 */
enum sluice_process_kind { SLUICE_PROCESS_SUPERVISOR = 1, SLUICE_PROCESS_STORE, SLUICE_PROCESS_WORKER };

struct sluice_process {
	uint32_t size, kind;
	struct sluice_slice name, state; /* "streams#1"; "ready", "starting", "draining" ...; of the supervisor what it does */
	struct sluice_slice frontend;    /* of a worker */
	uint32_t pid;                    /* 0: it does not run */
	uint32_t restarts, generation;
	uint64_t uptime_ms;              /* since it was ready; 0: it is not */
	uint64_t resident_bytes, cpu_ms; /* 0: not known */
					 /* append below this line only */
};

enum sluice_metric_kind { SLUICE_METRIC_COUNTER = 1, SLUICE_METRIC_GAUGE, SLUICE_METRIC_HISTOGRAM };

struct sluice_bucket { /* count: observations up to bound and above the bucket before; the last bound is UINT64_MAX */
	uint64_t bound, count;
};

struct sluice_metric {
	uint32_t size, kind;
	struct sluice_slice name;  /* "http.requests", "streams.appends": part of the host or plugin, and what it counts */
	struct sluice_slice mount; /* of a plugin that its frontend has twice; otherwise empty */
	struct sluice_slice help;
	uint64_t value;            /* HISTOGRAM: the sum of what was observed */
	const struct sluice_bucket *bucket;
	uint32_t n_bucket;
	uint32_t scale; /* HISTOGRAM: value and bounds divided by this are in the unit that the name says */
			/* append below this line only */
};

struct sluice_listener {
	uint32_t size;
	struct sluice_slice frontend, url;
	/* append below this line only */
};

struct sluice_about {
	uint32_t size;
	uint32_t generation, reloading;
	struct sluice_slice version, config, data_dir;
	/* append below this line only */
};
typedef void sluice_ping_fn(void *arg, int status);

struct sluice_server { /* the structs to be filled in: set size */
	uint32_t size;
	int (*about)(struct sluice_ctx *, struct sluice_about *);
	/* The i-th, the supervisor first; SLUICE_ENOENT behind the last. Of a reload two generations may be there at once. */
	int (*process)(struct sluice_ctx *, size_t i, struct sluice_process *);
	/* Of the i-th process the metric at *at, which begins with 0 and is moved on; SLUICE_ENOENT behind the last. */
	int (*metric)(struct sluice_ctx *, size_t i, size_t *at, struct sluice_metric *);
	int (*listener)(struct sluice_ctx *, size_t i, struct sluice_listener *);
	/* Asks the store-writer for a sign of life; it answers when it has come to the end of what it is doing. SLUICE_EBUSY: there is none
	 * now. fn gets SLUICE_OK or what is wrong; SLUICE_ELOST: it ended meanwhile. store->cancel() forgets it. */
	int (*ping)(struct sluice_ctx *, sluice_ping_fn *fn, void *arg, struct sluice_req **);
	/* append below this line only */
};

/* ---- what the host gives the plugin ---- */

struct sluice_host {
	uint32_t size;
	uint16_t abi_major, abi_minor;
	uint64_t caps;
	const struct sluice_store *store;
	const struct sluice_http *http;
	const struct sluice_ws_host *ws;
	void (*log)(struct sluice_ctx *, enum sluice_level, const char *fmt, ...)
#if defined(__GNUC__)
		__attribute__((format(printf, 3, 4)))
#endif
		;
	/* Configuration: the schema guaranteed presence and type, so getters cannot fail. path: "a.b". */
	int64_t (*conf_int)(const struct sluice_conf *,
	                    const char *path); /* bool, int, size, duration (ms), enum index */
	const char *(*conf_str)(const struct sluice_conf *,
	                        const char *path); /* "" when absent; lives as long as the instance */
	size_t (*conf_len)(const struct sluice_conf *, const char *path); /* elements of a list */
	const struct sluice_conf *(*conf_at)(const struct sluice_conf *, const char *path, size_t i);
	/* In configure() only; adds file:line:column; returns SLUICE_EINVAL. */
	int (*conf_error)(const struct sluice_conf *, const char *path, const char *fmt, ...);
	/* Listeners: bound by the supervisor or by systemd, non-blocking; name: as in the frontend's listen list. In start() the call
	 * claims it: the HTTP engine leaves it alone. Later it finds what this instance has claimed. The host keeps ownership and closes
	 * it when drain() has returned. SLUICE_ENOENT: not in the list; EBUSY: another instance's; ENOTSUP: it has TLS. */
	int (*listener_fd)(struct sluice_ctx *, const char *name);
	/* Loop. */
	int (*watch_new)(struct sluice_ctx *, int fd, int events, void (*fn)(void *, int), void *arg,
	                 struct sluice_watch **);
	int (*watch_set)(struct sluice_watch *, int events);
	void (*watch_free)(struct sluice_watch *);
	int (*timer_new)(struct sluice_ctx *, void (*fn)(void *), void *arg, struct sluice_timer **);
	void (*timer_set)(struct sluice_timer *, int64_t ms); /* -1 disarms */
	void (*timer_free)(struct sluice_timer *);
	int (*defer)(struct sluice_ctx *, void (*fn)(void *), void *arg); /* at the end of this turn */
	uint64_t (*now_ms)(struct sluice_ctx *);                          /* monotonic, cached per turn */
	uint64_t (*wall_ms)(struct sluice_ctx *);                         /* since 1970, cached per turn */
	struct sluice_buf *(*buf_new)(struct sluice_ctx *, struct sluice_slice);
	struct sluice_buf *(*buf_ref)(struct sluice_buf *);
	void (*buf_unref)(struct sluice_buf *);
	uint64_t (*payload_len)(const struct sluice_payload *);
	int (*payload_map)(struct sluice_payload *, void **data,
	                   size_t *len);                               /* writable; until payload_free or submit */
	void (*payload_truncate)(struct sluice_payload *, size_t len); /* after editing in place */
	void (*payload_free)(struct sluice_payload *);
	void (*drained)(struct sluice_ctx *);
	void (*fail)(struct sluice_ctx *, const char *why); /* leave in order, be restarted */
	/* Counters live in memory the supervisor maps: increment with plain ++. In configure() and start() only. */
	uint64_t *(*counter)(struct sluice_ctx *, const char *name, const char *help);
	uint64_t *(*gauge)(struct sluice_ctx *, const char *name, const char *help);
	/* Who may: local and at once; 0 or SLUICE_EDENIED. */
	int (*authorize)(struct sluice_ctx *, const struct sluice_principal *, const char *action,
	                 struct sluice_slice stream);
	struct sluice_slice (*claim)(const struct sluice_principal *,
	                             const char *name); /* JSON text; data NULL if absent */
	/* 1.1 */
	const struct sluice_ephemeral *ephemeral;
	int (*principal_who)(const struct sluice_principal *);                  /* SLUICE_WHO_* */
	struct sluice_slice (*principal_name)(const struct sluice_principal *); /* of the token, or its claim (sub) */
	uint64_t (*principal_expires)(const struct sluice_principal *);         /* ms since 1970; 0: never */
	/* Verifies a token that came by another way, or with secrets of the plugin's own. 0 or SLUICE_EDENIED: *out is a principal
	 * either way and says why; free it. authorize() refuses one made with the plugin's own secrets: the policy does not
	 * know it. Not in configure(). */
	int (*verify)(struct sluice_ctx *, struct sluice_slice token, const struct sluice_verify *,
	              const struct sluice_principal **out);
	void (*principal_free)(const struct sluice_principal *); /* those from verify(); NULL is fine */
	/* 1.4 */
	const struct sluice_server *server;
	/* append below this line only; bump SLUICE_ABI_MINOR */
};

#ifdef __cplusplus
}
#endif
#endif
