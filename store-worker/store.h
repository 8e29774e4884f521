/*
 * store.h - the store layer's objects and who may call whom. Store-writer only; the engine's contract is engine.h.
 *
 *   volume   what redo needs: statements, a cache of stream and producer rows, appends gathered into chunk rows.
 *   txn      one open batch as decide sees it.
 *   store    the process: engine, volume, peers, watches, helper thread, settings.
 * Decide functions read the volume's cache and emit effects; only redo functions (redo_*) change the volume.
 */
#ifndef STORE_H
#define STORE_H

#include "lib/hash.h"
#include "lib/ipc.h"
#include "lib/link.h"
#include "lib/map.h"
#include "lib/msg.h"
#include "lib/schema.h"
#include "store-worker/engine.h"

#define STORE_NUMBER_MAX ((uint64_t)INT64_MAX) /* what a column can hold */
#define STORE_OFFSET_MAX (UINT64_C(1) << 60)
#define STORE_TYPE_MAX 1024u     /* bytes of a content type */
#define STORE_PRODUCER_MAX 4096u /* bytes of a producer id */
#define STORE_SEQ_MAX 4096u      /* bytes of a Stream-Seq */
#define STORE_OPS_MAX 4096u      /* of one list */
#define STORE_CHUNK_BYTES \
	(64u * 1024u) /* a gathered chunk row is not added to beyond this; part of redo: never configurable */
/* Rows that the writer remembers, and bytes of them: names and producer ids may be long. */
#define STORE_STREAMS_CACHED 65536u
#define STORE_STREAMS_BYTES (48u << 20)
#define STORE_PRODUCERS_CACHED 65536u
#define STORE_PRODUCERS_BYTES (16u << 20)
/* Buffers for gathered rows that wait for the next batch. */
#define STORE_GATHERS_POOLED 256u
#define STORE_GATHERS_BYTES (16u << 20)
#define STORE_CASCADE_MAX 64u /* ancestors freed in the batch of a removal; the rest by the sweep */

/* ---- volume ---- */

enum volume_stmt {
	V_STREAM_BY_NAME,
	V_STREAM_BY_ID,
	V_TAIL,
	V_LAST_ROW,
	V_PRODUCER,
	V_CHUNK_AT,
	V_NEXT_STREAM,
	V_FORKS_OF,
	V_CHUNK_ADD,
	V_CHUNK_EXTEND,
	V_PRODUCER_PUT,
	V_STREAM_SEQ,
	V_STREAM_ADD,
	V_STREAM_CLOSE,
	V_STREAM_STATE,
	V_STREAM_FORKS,
	V_STREAM_EARLIEST,
	V_STREAM_ACCESS,
	V_STREAM_REAP,
	V_STREAM_DROP,
	V_SEGMENT_ADD,
	V_SEGMENT_SUB,
	V_SEGMENT_DROP,
	V_SEGMENT_REST,
	V_CHUNK_SEGMENTS,
	V_CHUNK_DROP,
	V_PRODUCER_DROP,
	V_SNAPSHOT,
	V_SNAPSHOT_ADD,
	V_SNAPSHOT_REFS,
	V_SNAPSHOT_SEGMENT,
	V_SNAPSHOT_DROP,
	V_STMTS
};

struct gather { /* appends of one stream that will be one chunk row */
	struct sl_link pool;
	struct sl_buf data, marks; /* marks: a run, lib/marks.h */
	uint64_t start, stop, pos; /* pos: payload bytes of the stream before start */
	uint32_t records, messages;
	bool filed; /* in the table; the bytes stay for the notices */
};

struct closer {   /* the producer tuple that closed a stream */
	char *id; /* NULL: none; owned */
	size_t len;
	uint64_t epoch, seq;
};

#define STREAM_MAGIC 0x53747231u
struct last_row { /* the last chunk of a stream, to which the next records may be added; id 0: none, or none that could take any */
	uint64_t id, stop, time_ms;
	size_t size, data_len; /* bytes of data and marks, of data */
	uint32_t marks_crc, data_crc;
};

struct stream { /* a row of stream, cached */
	uint32_t magic;
	struct sl_map_node by_id, by_name;
	struct sl_link lru, dirty, pending;
	bool named; /* in by_name: state below SL_DEAD */
	bool closed, has_ttl, has_expires, own_expiry, seq_moved, has_seq, reap;
	uint8_t state;                             /* enum sl_stream_state */
	uint64_t base_pos, earliest_pos, tail_pos; /* payload bytes before those offsets */
	uint64_t id, base, earliest, tail, created_ms, ttl_s, expires_ms, accessed_ms;
	uint64_t snapshot;                          /* id of its row; 0: none */
	uint64_t fork_of, fork_at, fork_sub, forks; /* fork_of 0: none; fork_at: where inherited records end */
	uint64_t reap_ms,
		reap_to; /* rows below reap_to were out of everybody's reach at reap_ms; others wait for their turn */
	char *name, *type, *fork_name; /* owned */
	size_t name_len, type_len, fork_name_len;
	struct sl_buf seq;
	struct closer closer;
	struct gather *gather; /* from the volume's pool, until volume_rest() */
	size_t counted;        /* bytes of it in stream_bytes */
	struct last_row row;
};

#define PRODUCER_MAGIC 0x50726f31u
struct producer { /* a row of producer, cached */
	uint32_t magic;
	struct sl_map_node node;
	struct sl_link lru, dirty, unsaved;
	uint64_t stream, epoch, seq, updated_ms;
	bool known; /* false: remembered as absent */
	size_t len;
	uint8_t id[];
};

struct volume {
	uint32_t magic;
	sqlite3 *db;
	sqlite3_stmt *stmt[V_STMTS];
	struct sl_map by_id, by_name, producers;
	size_t stream_bytes, producer_bytes;
	struct sl_link lru, dirty, pending; /* streams: all; touched by this batch; with rows to file */
	struct sl_link producer_lru, producer_dirty, producer_unsaved;
	struct sl_link pool; /* gathers at rest */
	size_t pooled, pool_bytes;
	uint64_t next_stream;              /* 0: to be read */
	struct sl_buf row_marks, row_data; /* of walk_at() */
	bool unsettled; /* something was rolled back; what is loaded until the batch is over may be, too */
};
#define VOLUME_MAGIC 0x566f6c31u

void volume_init(struct volume *);
void volume_fini(struct volume *);
extern const struct se_redo_table volume_redo; /* every redo function of this directory */
int volume_migrate(sqlite3 *, uint32_t have, const char **why);
int positions_fill(sqlite3 *); /* a part of it; SQLITE_* */

sl_slice stream_name(const struct stream *);
sl_slice stream_type(const struct stream *);
/* *out NULL: there is none. Valid until the batch ends. SE_*. */
int volume_by_name(struct volume *, sl_slice name, struct stream **out); /* live or soft */
int volume_by_id(struct volume *, uint64_t id, struct stream **out);
int volume_target(struct volume *, uint64_t id, struct stream **out); /* that redo changes: SE_CORRUPT when there is none */
int volume_producer(struct volume *, uint64_t stream, sl_slice id,
                    struct producer **out); /* known: false when absent */
void volume_producer_gone(struct volume *, uint64_t stream, sl_slice id); /* its row went: it is remembered no more */
int volume_next_stream(struct volume *, uint64_t *id);
void volume_touch(struct volume *, struct stream *); /* this batch changed it */
int volume_rest(struct volume *);                  /* after a batch: gathered bytes go, caches shrink to their bounds */
int volume_run(struct volume *, enum volume_stmt); /* steps a statement without result; SE_* */
sqlite3_stmt *volume_stmt(struct volume *, enum volume_stmt);
void volume_bind_text(sqlite3_stmt *, int i, sl_slice);
void volume_bind_blob(sqlite3_stmt *, int i, sl_slice);
void volume_bind_u64(sqlite3_stmt *, int i, uint64_t);
void volume_bind_if(sqlite3_stmt *, int i, bool has, uint64_t); /* NULL unless it has one */
int volume_put_forks(struct volume *, const struct stream *);
int volume_add_segment(struct volume *, uint64_t segment, uint64_t off, uint64_t bytes); /* bytes of it that are in use */

/* gather.c */
size_t gather_size(const struct gather *);
int gather_add(struct volume *, struct stream *, const struct se_record *, sl_slice data, sl_slice marks,
               uint32_t messages);
int gather_file(struct volume *, struct stream *, const struct se_record *); /* now, if anything is gathered */
bool volume_pending(const void *);
int volume_settle(void *, const struct se_record *);
struct chunk_row {
	uint64_t id, stream, start, stop, bytes, records, messages, time_ms, segment, seg_off, pos;
	uint32_t crc; /* of marks, then data; unless the payload is in a segment */
	sl_slice marks, data; /* data absent: in the segment */
};
int volume_put_chunk(struct volume *, const struct chunk_row *);
int volume_last_row(struct volume *, struct stream *); /* reads s->row again; gather.c */

/* walk.c: chunks of a stream and of its fork ancestors. Settle first; the row is borrowed until the next call. */
struct walk {
	struct chunk_row row;
	bool want_data; /* and compared with its checksum; so is what walk_record() and walk_position() find */
	uint64_t cap; /* records of this row count up to here: the lowest fork point below */
	bool found;
};
/* The chunk that contains offset or, if none does, the next one above it. */
int walk_at(struct volume *, const struct stream *, uint64_t offset, struct walk *);
struct walk_record {
	uint64_t start, bytes, at; /* first offset, payload bytes, where they begin in the row's payload */
	sl_slice marks;            /* of one record */
	uint32_t messages;
};
/* The record that contains offset. *found false: offset is at or beyond the end. */
int walk_record(struct volume *, const struct stream *, uint64_t offset, struct walk *, struct walk_record *,
                bool *found);
/* The record that contains a position between the earliest and the tail; *found false: of a damaged volume. */
int walk_position(struct volume *, const struct stream *, uint64_t pos, struct walk *, struct walk_record *, bool *found);
/* The lowest offset of this stream's own records that anybody may read; STORE_OFFSET_MAX: nobody reads any. */
int walk_reach(struct volume *, uint64_t id, unsigned budget, uint64_t *lowest);

/* ---- effect.c: effects as bytes ---- */

enum effect_kind {
	EFFECT_CREATE = 16,
	EFFECT_APPEND,
	EFFECT_CLOSE,
	EFFECT_REMOVE,
	EFFECT_TRIM,
	EFFECT_ACCESS,
	EFFECT_REAP,
	EFFECT_FORGET,
	EFFECT_REST,
	EFFECT_SEGMENT_DROP,
	EFFECT_SNAPSHOT,
	EFFECT_SNAPSHOT_DROP
};

#define EFFECT_CLOSES 0x1u
#define EFFECT_PRODUCER 0x2u
#define EFFECT_SEQ 0x4u
#define EFFECT_SEGMENT 0x8u
#define EFFECT_TTL 0x10u
#define EFFECT_EXPIRES 0x20u
#define EFFECT_FORK 0x40u
#define EFFECT_OWN_EXPIRY 0x80u

struct effect_create {
	uint64_t id, base, earliest, ttl_s, expires_ms, fork_of, fork_at, fork_sub, base_pos, earliest_pos;
	uint64_t snapshot; /* of the source: the fork has it too; 0: none */
	uint32_t flags;
	sl_slice name, type, fork_name;
};
struct effect_append {
	uint64_t stream, start, bytes, epoch, seq, segment, seg_off;
	uint32_t flags, messages;
	sl_slice marks, producer, stream_seq; /* marks of one record; the payload follows unless EFFECT_SEGMENT */
};
struct effect_close {
	uint64_t stream, epoch, seq;
	uint32_t flags;
	sl_slice producer;
};
struct effect_remove {
	uint64_t stream, parent; /* parent: its count of forks falls; 0: none */
	uint8_t state;           /* SL_SOFT or SL_DEAD */
};
struct effect_trim {
	uint64_t stream, earliest, pos; /* pos: payload bytes before earliest */
};
struct effect_snapshot {
	uint64_t stream, at, pos, bytes, segment, seg_off; /* at: offset of the record it is in, or the tail */
	uint32_t flags;
	sl_slice type, digest; /* the payload follows unless EFFECT_SEGMENT */
};
/* ACCESS: stream, time. SEGMENT_DROP: segment, 0. FORGET: stream, 0. SNAPSHOT_DROP: row, 0. */
struct effect_pair {
	uint64_t a, b;
};
struct effect_rest {
	uint64_t stream, below, parent; /* nobody reaches rows below; parent: may have something to reap now, 0: none */
};
struct effect_reap {
	uint64_t stream, below;     /* chunk rows that end at or below this offset ... */
	uint32_t chunks, producers; /* ... the first so many of them, and so many producers */
};

int effect_put_create(struct sl_buf *, const struct effect_create *);
int effect_get_create(sl_slice, struct effect_create *);
int effect_put_append(struct sl_buf *, const struct effect_append *);
int effect_get_append(sl_slice, struct effect_append *, sl_slice *rest);
int effect_put_close(struct sl_buf *, const struct effect_close *);
int effect_get_close(sl_slice, struct effect_close *);
int effect_put_remove(struct sl_buf *, const struct effect_remove *);
int effect_get_remove(sl_slice, struct effect_remove *);
int effect_put_trim(struct sl_buf *, const struct effect_trim *);
int effect_get_trim(sl_slice, struct effect_trim *);
int effect_put_snapshot(struct sl_buf *, const struct effect_snapshot *);
int effect_get_snapshot(sl_slice, struct effect_snapshot *, sl_slice *rest);
int effect_put_pair(struct sl_buf *, const struct effect_pair *);
int effect_get_pair(sl_slice, struct effect_pair *);
int effect_put_rest(struct sl_buf *, const struct effect_rest *);
int effect_get_rest(sl_slice, struct effect_rest *);
int effect_put_reap(struct sl_buf *, const struct effect_reap *);
int effect_get_reap(sl_slice, struct effect_reap *);

/* ---- ops ---- */

struct store;

struct segment_ref { /* where the helper thread has put a payload */
	uint64_t segment, off;
};

struct op { /* a decoded operation; slices are borrowed from the frame or from a held request */
	const struct sl_store_op *m;
	bool in_segment;
	struct segment_ref ref;
	const uint8_t *digest; /* of a snapshot in a segment */
	sl_slice marks;
	uint64_t bytes; /* payload */
	uint32_t messages;
};

struct txn {
	struct store *store;
	struct volume *volume;
	struct se_batch *batch;
	uint64_t now_ms;
	struct sl_buf effect; /* of the effect being encoded */
	struct kept *kept;    /* what outcomes borrow until the batch is over */
};

/* Each fills in the result; SLUICE_* statuses are results, the return value is SE_*. */
int op_create(struct txn *, const struct op *, struct sl_store_outcome *);
int op_append(struct txn *, const struct op *, struct sl_store_outcome *);
int op_close(struct txn *, const struct op *, struct sl_store_outcome *);
int op_remove(struct txn *, const struct op *, struct sl_store_outcome *);
int op_trim(struct txn *, const struct op *, struct sl_store_outcome *);
int op_snapshot(struct txn *, const struct op *, struct sl_store_outcome *);
int op_run(struct txn *, const struct op *,
           struct sl_store_outcome *); /* checks what every kind shares, then one of the above */
int op_refuse(struct sl_store_outcome *, int status, uint32_t reason, const char *message); /* SE_OK */
bool op_tail_other(const struct stream *, const struct sl_store_op *); /* another one than the operation expects */
void op_facts(struct sl_store_outcome *, const struct stream *);
/* The stream for a change: live, or NULL with the refusal filled in. An expired one is removed first. */
int op_find(struct txn *, sl_slice name, struct stream **, struct sl_store_outcome *);
/* Like volume_by_name(), but an expired stream is removed first, and seen as that leaves it. */
int txn_find(struct txn *, sl_slice name, struct stream **);
int txn_remove(struct txn *, struct stream *); /* with the cascade to its ancestors */
int txn_emit(struct txn *, uint16_t kind, int encoded,
             sl_slice payload); /* encoded: result of the effect_put_*() on t->effect */
int txn_settle(struct txn *);
sl_slice txn_keep(struct txn *, sl_slice); /* a copy until the batch is over; data NULL: no memory */
void txn_drop_kept(struct txn *);
/* Emits a record at the tail of s: a payload of the op, or a part of a record of an ancestor. */
int append_emit(struct txn *, const struct stream *s, const struct op *, uint32_t flags);
int txn_trim(struct txn *, const struct stream *, uint64_t earliest); /* a boundary; settle first */
int txn_boundary(struct txn *, const struct stream *,
                 uint64_t *offset); /* down to the beginning of the record it is in */
/* Redo: what is below the place is unreadable from now on. */
int stream_trim(struct volume *, struct stream *, uint64_t earliest, uint64_t pos, uint64_t now_ms);
sl_slice snapshot_type(const struct sl_store_op *);
int snapshot_release(struct volume *, struct stream *, uint64_t now_ms); /* redo: the stream has none any more */
int snapshot_share(struct volume *, uint64_t id);                        /* redo: one stream more has it */
struct digest { /* digest.c; after digest_begin(), whatever that returned, comes digest_end() */
	struct evp_md_ctx_st *md;
	bool failed;
};
int digest_begin(struct digest *, sl_slice type);
void digest_add(struct digest *, const void *, size_t n);
int digest_end(struct digest *, uint8_t out[SL_DIGEST]); /* 0, or SLUICE_ENOMEM */
/* A closed stream meets an append or a close with a producer: a duplicate of the closing one, or refused. */
int op_closed_again(struct txn *, struct stream *, const struct sl_store_op *, struct sl_store_outcome *);
int stream_close(struct volume *, struct stream *, bool by_producer, sl_slice producer, uint64_t epoch, uint64_t seq);
struct fork_point {
	struct stream *source;
	uint64_t at, pos;        /* offset, payload bytes before it */
	struct op prefix;        /* part of the record there, by the sub-offset; bytes 0: none */
	struct sl_store_op data; /* what prefix.m points to */
	struct sl_buf marks;
};
int fork_find(struct txn *, struct fork_point *, const struct sl_store_op *, struct sl_store_outcome *);
bool name_valid(sl_slice);
bool utf8_valid(sl_slice);
bool type_equal(sl_slice a, sl_slice b); /* media types, without parameters */
bool type_is_json(sl_slice);

enum producer_verdict { PRODUCER_ACCEPT, PRODUCER_DUPLICATE, PRODUCER_REFUSED };
int producer_check(struct txn *, const struct stream *, const struct sl_store_op *, enum producer_verdict *,
                   struct sl_store_outcome *);
/* The result tells what the store holds: the old state until everything is in order, then the new one. */
void producer_accepted(const struct sl_store_op *, struct sl_store_outcome *);
bool producer_is_closer(const struct stream *, const struct sl_store_op *);
int producer_redo(struct volume *, const struct se_record *, uint64_t stream, sl_slice id, uint64_t epoch,
                  uint64_t seq);

se_redo_fn redo_create, redo_append, redo_close, redo_remove, redo_trim, redo_access, redo_reap, redo_forget, redo_rest,
	redo_segment_drop, redo_snapshot, redo_snapshot_drop;

/* ---- the process ---- */

#define PEER_READ_STOP (8u << 20)   /* queued bytes beyond which a peer is not read any more ... */
#define PEER_READ_AGAIN (4u << 20)  /* ... until fewer than this are left */
#define PEER_NOTICE_MARK (1u << 20) /* beyond: notices wait, one per watch */
#define PEER_FILL_MARK (256u << 10) /* beyond: notices go without fills */
#define PEER_FILL_MAX (64u << 10)
#define PEER_WATCHES_MAX (1u << 18) /* as many as lib/store_client.h has */
#define PEER_PREFIXES_MAX 1024u
#define PEER_RULES_MAX 4096u
#define PEER_HELD_MAX 1024u
#define PEER_HELD_PARTS 256u /* descriptors that wait for the helper thread */
#define PEER_HELD_BYTES (8u << 20)
#define STORE_PEERS_MAX 1024u
#define STORE_ACCESS_MAX (1u << 18)

struct settings { /* the store: section of the file */
	enum se_sync sync;
	uint64_t checkpoint_bytes, max_payload, segment_bytes, max_batch_bytes;
	uint32_t max_batch_ops;
	uint64_t sweep_ms, reap_ms;
};

struct source { /* a descriptor in the loop */
	int fd;
	uint32_t events;
	void (*ready)(struct store *, struct source *, uint32_t events);
};

struct rule {
	char *prefix; /* owned */
	size_t len;
	uint64_t max_age_ms, max_bytes;
};

#define PEER_MAGIC 0x50656531u
struct peer { /* a worker or sluicectl */
	uint32_t magic;
	struct source source;
	struct sl_link all, ready, flush, runnable;
	struct sl_ipc ipc;
	char *name; /* owned */
	struct store *store;
	bool hello, ended, paused, again;
	struct sl_map watches;  /* by number, prefix watches too */
	struct sl_link late; /* watches whose notice waits for room */
	struct sl_link held; /* requests that wait for the helper thread or for one before them */
	size_t n_prefixes, n_held, held_bytes, held_parts;
	struct rule *rules;
	size_t n_rules;
};

struct topic { /* a stream that is watched */
	struct sl_map_node node;
	struct sl_link watches, touched;
	uint64_t id;
	uint32_t live, events; /* live watches; what this commit did */
};

#define WATCH_MAGIC 0x57617431u
struct watch {
	uint32_t magic;
	struct sl_map_node node;
	struct sl_link list, late; /* of the topic, or of all prefix watches */
	struct peer *peer;
	struct topic *topic; /* NULL: a prefix watch, or one whose stream is gone and whose notice waits */
	uint64_t number, tail;
	uint32_t events; /* of the waiting notice */
	bool live, prefix;
	size_t len;
	char name[]; /* the prefix */
};

enum reply_kind { REPLY_RESULT, REPLY_TOUCHED, REPLY_WATCH, REPLY_LIVE, REPLY_UNWATCH, REPLY_PREFIX };

struct reply { /* what is done for a peer once the batch is over, in the order of its frames */
	enum reply_kind kind;
	struct peer *peer;
	uint64_t number; /* request or watch */
	size_t at, n;    /* outcomes, or bytes of text */
	uint64_t incarnation;
	bool flag; /* renew, live */
};

struct held { /* a submit that cannot run yet; frame and descriptors are its own */
	struct sl_link list;
	struct peer *peer;
	uint64_t req;
	size_t n_parts, waiting, n_names, bytes; /* payloads; those the helper has not finished; names; bytes kept */
	struct held_part *parts;
	uint64_t *names; /* hashes of the streams it touches */
	uint8_t *frame;
	struct sl_list ops;
};

struct held_part { /* one payload of a held request, filled in by the helper thread */
	struct sl_link job;
	struct held *held; /* outlives the part; held->peer NULL: nobody waits any more */
	int fd;
	uint64_t data_len, marks_len;
	int status; /* SLUICE_* */
	struct segment_ref ref;
	uint8_t *marks; /* owned */
	bool snapshot;  /* its digest is wanted; type: in held->frame */
	sl_slice type;
	uint8_t digest[SL_DIGEST];
};

struct access { /* last access to a stream with a sliding TTL, newer than what its row says */
	struct sl_map_node node;
	struct sl_link lru, unsaved, held; /* held: a live reader stands behind the stream; by touched_ms */
	struct sl_link saving;             /* written by the open batch: saved_ms is saving_ms once that has committed */
	uint64_t id, touched_ms, saved_ms, saving_ms;
};

struct life { /* creation or removal in this commit, for prefix watches */
	uint64_t id;
	uint32_t events;
};

struct payloads;    /* payload.c */
struct checkpoints; /* checkpoint.c */
struct shadow;      /* shadow.c */
struct backup;      /* backup.c */
struct sweep;       /* sweep.c */

enum { STATS_MAX = 8 };
#define STORE_MAGIC 0x53746f31u
struct store {
	uint32_t magic;
	char *data_dir, *why; /* owned; why: of a failed opening */
	int epoll, lock;
	unsigned lock_wait_ms;
	bool begun; /* by an earlier process: the volume has to be there */
	struct settings settings;
	struct volume volume;
	struct se *se;
	struct payloads *payloads;
	struct checkpoints *checkpoints;
	struct shadow *shadow;
	struct backup *backup; /* NULL: none is being made */
	/* the open batch */
	struct txn txn; /* batch NULL: none is open */
	uint32_t batch_ops;
	int batch_rc; /* how it ended */
	struct reply *replies;
	size_t n_replies, cap_replies;
	struct sl_store_outcome *outcomes;
	size_t n_outcomes, cap_outcomes;
	struct sl_buf text; /* names in replies */
	/* peers and watches */
	struct sl_link peers, ready, flush, ended, runnable;
	size_t n_peers;
	struct sl_map topics;
	struct sl_link touched, prefixes;
	struct life *lives;
	size_t n_lives, cap_lives;
	bool lives_lost; /* no memory for one: every prefix watch is told to list again */
	/* access times */
	struct sl_map accesses;
	struct sl_link access_lru, access_unsaved, access_held, access_saving;
	uint64_t started_ms;
	/* sweep */
	struct sweep *sweep;
	bool batch_failed;    /* the last one did not commit */
	bool fatal;           /* the engine has failed: answer, then exit */
	bool no_full_warning; /* the full disk has been logged */
	uint64_t damage_told_ms; /* monotonic: when a damaged record was logged last; 0: never */
	/* stats */
	struct sl_metrics *metrics; /* NULL: nobody reads them */
	uint64_t *stat[STATS_MAX];
	struct sl_metrics_cell *commit_time, *commit_ops; /* set when metrics is */
	uint64_t n_commits, n_operations;
	/* hooks for tests */
	uint64_t (*wall_ms)(void *);
	uint64_t (*mono_ms)(void *);
	void *clock_arg;
};

/* store_begin.c; 0, SLUICE_ENOMEM, or SLUICE_EINTERNAL: a volume is missing where none may be made, and st->why says so */
int store_may_begin(struct store *);

/* store.c: the object and the loop */
struct store *store_new(void);
int store_open(struct store *, const char *data_dir, const char **why, bool *final); /* 0 or SLUICE_E* */
void store_free(struct store *);                /* saves access times; ends peers; closes the volume */
int store_turn(struct store *, int timeout_ms); /* one round; 0, or SLUICE_EINTERNAL: the process must end */
bool store_busy(const struct store *);          /* something is left to do without new input */
int store_wait(struct store *, int timeout_ms); /* the first part of a round: events only */
const struct settings *store_settings(const struct store *);
int source_add(struct store *, struct source *, uint32_t events);
void source_set(struct store *, struct source *, uint32_t events);
void source_del(struct store *, struct source *);
/* Logs that a record of the stream is damaged, at most once a minute: whoever asks for it may ask again and again. */
void store_damaged(struct store *, sl_slice stream);
uint64_t store_now(const struct store *); /* wall clock, never below the last commit's */

/* stats.c */
int stats_open(struct store *, int fd); /* cells in that memory; fd stays the caller's */
void stats_round(struct store *);
uint64_t stats_clock(const struct store *);                 /* microseconds; 0: nobody reads the cells */
void stats_commit(struct store *, uint64_t began_us);       /* one has succeeded */
void stats_close(struct store *);                           /* none are fine */

/* setting.c */
int settings_read(struct settings *, sl_slice yaml, char *why, size_t why_len); /* empty yaml: defaults */
void settings_default(struct settings *);

/* peer.c */
int peer_add(struct store *, int fd, sl_slice name); /* takes the descriptor over */
void peer_end(struct peer *, const char *why);       /* NULL why: it left; freed at the end of the round */
void peer_read(struct peer *);
void peer_flush(struct peer *);
void peer_want_flush(struct peer *);
void peer_interest(struct peer *); /* what it waits for in the loop, after a bound was passed or left */
bool peer_holds_enough(const struct peer *);
void peers_bury(struct store *);

/* batch.c */
int batch_open(struct store *); /* SE_*; idempotent */
bool batch_full(const struct store *);
void batch_submit(struct store *, struct peer *, uint64_t req, const struct sl_list *ops, const struct held *);
void batch_end(struct store *); /* commit, replies, notices */
int batch_later(struct store *, const struct reply *, sl_slice text);

/* hold.c */
int hold_submit(struct peer *, const struct sl_store_submit *, bool *held); /* 0, or SLUICE_E*: end the peer */
void hold_run(struct store *); /* runs the requests that have become ready */
void hold_drop(struct peer *);
void hold_done(struct store *, struct held_part *); /* from payload.c, on the loop */

/* watch.c */
void watch_reply(struct store *, const struct reply *, sl_slice name);
void watch_event(void *arg, const struct se_event *);
void watch_notify(struct store *);
void watch_late(struct peer *); /* there is room again */
void watch_drop(struct peer *);
bool watch_live(const struct store *, uint64_t id);

/* access.c */
bool access_expired(struct store *, const struct stream *, uint64_t now_ms);
uint64_t access_last(struct store *, const struct stream *, uint64_t now_ms);
void access_renew(struct store *, const struct stream *, uint64_t now_ms);
void access_hold(struct store *, uint64_t id, bool live); /* the first live reader came, the last one left */
bool access_held(struct txn *, uint64_t since_ms,
                 unsigned max); /* held is used; true: some are older than since_ms still */
void access_forget(struct store *, uint64_t id);
int access_save(struct txn *, unsigned max, bool all);
uint64_t access_deadline(uint64_t accessed_ms, uint64_t ttl_s);
int access_keep(struct txn *, const struct stream *); /* its row says that it has expired, but memory knows better */
void access_settle(struct store *, bool committed);   /* the batch is over */
void access_fini(struct store *);

/* sweep.c: when; expire, retention.c, reap.c: what. A slice says in *left whether another one should follow at once. */
int sweep_open(struct store *);
void sweep_close(struct store *);
void sweep_tick(struct store *);         /* a slice of what is due; in a batch of its own */
int sweep_timeout(const struct store *); /* ms until the next */
bool sweep_left(const struct store *);
enum sweep_stmt { SWEEP_EXPIRED, SWEEP_REAP, SWEEP_CHUNKS, SWEEP_PRODUCERS, SWEEP_SNAPSHOTS, SWEEP_SEGMENTS, SWEEP_NAMES, SWEEP_STMTS };
sqlite3_stmt *sweep_stmt(struct store *, enum sweep_stmt);
struct retention {
	char *name; /* where the pass goes on; owned; NULL: a pass begins */
	size_t len;
	uint64_t slices, next_ms; /* of this pass; not before (monotonic) */
};
int retention_slice(struct txn *, struct retention *, bool *left);
const struct rule *retention_rule(const struct store *, sl_slice name); /* NULL: none */
int reap_slice(struct txn *, bool *left);
int snapshots_slice(struct txn *, bool *left);
struct segment_drops { /* files to unlink once the batch is durable */
	uint64_t id[16];
	size_t n;
};
int segments_slice(struct txn *, struct segment_drops *);
void segments_unlink(struct store *, const struct segment_drops *);
void segments_orphans(struct store *, bool starting);

/* payload.c: the helper thread */
int payloads_open(struct store *, const char **why);
void payloads_close(struct store *);
void payloads_put(struct store *, struct held_part *);
uint64_t payloads_segment(struct store *); /* the one being written; 0: none */
bool payloads_busy(const struct store *);
bool payloads_do(struct store *, void (*fn)(void *), void *arg); /* a job of another kind; false: one is under way */

/* checkpoint.c */
int checkpoints_open(struct store *);
void checkpoints_close(struct store *);
void checkpoints_tick(struct store *); /* after the answers have gone out */

/* backup.c: one at a time. Hooks run on the loop, between batches. */
struct backup_hooks {
	void (*progress)(void *, uint32_t number, const char *what, uint64_t done, uint64_t total);
	void (*done)(void *, uint32_t number, int status, const char *text); /* once */
};
/* dir: an empty directory, taken over. SLUICE_EBUSY, SLUICE_ENOMEM: done() will not run. */
int backup_start(struct store *, uint32_t number, int dir, const struct backup_hooks *, void *arg);
void backup_cancel(struct store *, uint32_t number, const char *why); /* number 0: whichever there is */
void backup_tick(struct store *);                                     /* a slice */
bool backup_left(const struct store *);                               /* of which another one should follow at once */
bool backup_holds(const struct store *);                              /* files of segments that must stay */
void backup_close(struct store *);                                    /* the helper thread has gone */

/* shadow.c */
int shadow_open(struct store *, const char *dir, const char **why);
void shadow_close(struct store *);
int shadow_compare(struct store *, char *why, size_t len); /* 0: equal */
const char *shadow_path(const struct store *);             /* of its volume */
void shadow_event(struct store *, const struct se_event *);

/* control.c */
int control_run(int fd);

#endif
