/*
 * engine.h - the engine below the store layer: makes decided changes durable, ordered and visible. Store-writer.
 *
 * The store layer decides; what it decided is emitted as an effect, and only redo functions change the volume. An
 * engine belongs to one thread; one batch is open per engine, ever. This engine is SQLite in WAL mode; a second one
 * will replicate the same effects, so nothing here may be answered by looking at the clock, at configuration or at
 * memory.
 */
#ifndef ENGINE_H
#define ENGINE_H

#include <sqlite3.h>

#include "lib/buf.h"

enum se_rc {
	SE_OK,
	SE_BUSY,
	SE_FULL,    /* no space: the batch is gone, the engine goes on */
	SE_IO,      /* the engine is failed until restart */
	SE_CORRUPT, /* likewise */
	SE_FORMAT,  /* written by a newer version */
	SE_INVALID, /* the caller's mistake */
	SE_NOMEM,
	SE_DAMAGED, /* one row: whatever needs it is refused, everything else goes on */
	/* Only a replicating engine returns these. */
	SE_NOT_LEADER,
	SE_NO_QUORUM,
	SE_UNKNOWN,
	SE_NOT_ALL,
	SE_BEHIND,
	SE_TOO_BIG
};

/* This engine gives SE_LOCAL to every level but SE_RELAXED. */
enum se_level { SE_RELAXED, SE_LOCAL, SE_MAJORITY, SE_ALL };
enum se_role { SE_SOLO, SE_LEADER, SE_FOLLOWER, SE_NO_LEADER };
enum se_sync { SE_SYNC_FULL, SE_SYNC_NORMAL, SE_SYNC_OFF };

typedef uint64_t se_pos;

struct se;
struct se_batch;
struct se_redo;

struct se_record { /* header of the record that is being redone */
	se_pos position;
	uint64_t time_ms;
};

/* Kinds 1-15 are the engine's, 16-255 those of streams. Numbered once, never reused. */
enum { SE_KIND_SETTLE = 5 };

/* payload absent: it is the rest of effect behind the head (a record that was joined). */
typedef int se_redo_fn(struct se_redo *, sqlite3 *, const struct se_record *, sl_slice effect, sl_slice payload);

struct se_redo_kind {
	uint16_t kind, version;
	se_redo_fn *redo;
};

/* How the engine reaches the state that the store layer keeps for a volume. */
struct se_redo_table {
	const struct se_redo_kind *kinds;
	size_t n_kinds;
	int (*open)(void *volume, sqlite3 *);                  /* prepare statements; SE_* */
	void (*close)(void *volume);                           /* finalize them */
	bool (*pending)(const void *volume);                   /* rows gathered by redo, not yet in the tables */
	int (*settle)(void *volume, const struct se_record *); /* put them there */
	void (*forget)(void *volume);                          /* rolled back: drop what this batch touched */
};

struct se_config {
	const char *path; /* of the volume's file */
	enum se_sync sync;
	bool create; /* make it when it is missing */
	uint32_t app_id, schema;
	/* Brings an open volume to `schema`, in a transaction of its own. have: user_version, 0 with an empty file. */
	int (*migrate)(sqlite3 *, uint32_t have, const char **why);
	const uint8_t *generation; /* 16 bytes for a new volume */
	uint64_t (*wall_ms)(void *arg), (*mono_ms)(void *arg);
	void *wall_arg; /* of both */
	void *volume;
};

struct se_touch {
	uint64_t topic, hint;
};

struct se_event { /* after a commit, in order, without omission */
	se_pos position;
	uint64_t time_ms;
	const struct se_touch *touches;
	size_t n_touches;
	sl_slice record; /* header and effects as bytes; only for watchers that asked for them */
};

struct se_status {
	enum se_role role;
	se_pos position;
	int failed; /* SE_OK, or why this engine answers nothing any more */
	uint64_t wal_bytes;
	char error[256];
};

int se_open(const struct se_config *, const struct se_redo_table *, struct se **, const char **why);
void se_close(struct se *); /* NULL is fine; rolls an open batch back */

int se_begin(struct se *, struct se_batch **);
uint64_t se_now(const struct se_batch *);     /* wall clock of the batch, never below that of the record before */
uint64_t se_clock(const struct se *);         /* the same outside of a batch */
int se_op(struct se_batch *);                 /* a list begins: gathered rows are settled, a savepoint set */
void se_op_end(struct se_batch *, bool keep); /* keep, or roll back rows, effects, touches */
int se_settle(struct se_batch *);             /* decide is about to read rows that may still be gathered */
int se_emit(struct se_batch *, uint16_t kind, sl_slice effect, sl_slice payload);
void se_touch(struct se_redo *, uint64_t topic, uint64_t hint);
void *se_volume(struct se_redo *);
sqlite3 *se_db(struct se_batch *);
size_t se_batch_effects(const struct se_batch *);
size_t se_batch_bytes(const struct se_batch *);
int se_batch_error(const struct se_batch *); /* a redo failed: the batch can only be given up */
/* done runs once, perhaps before this returns. Nothing may leave the store before it reported SE_OK. */
int se_commit(struct se_batch *, enum se_level, void (*done)(void *, int rc, se_pos), void *arg);
void se_abort(struct se_batch *);

/* At most one watcher. records: collect bytes of effects too. */
void se_watch(struct se *, bool records, void (*)(void *, const struct se_event *), void *arg);
void se_status(struct se *, struct se_status *);
const uint8_t *se_generation(const struct se *); /* 16 bytes */

void se_fail(struct se *, int rc, const char *detail); /* a flush outside of a batch failed: no further batch begins */

/* A copy: one record, redone in a transaction of its own. One at or below the position is skipped. */
int se_apply(struct se *, sl_slice record);
sqlite3 *se_handle(struct se *); /* for checkpoints and for reading between batches */
int se_of_sqlite(int rc);
void se_quota(void); /* engine_quota.c; for the whole process, before a volume is opened: a quota that is used up is SE_FULL */
const char *se_text(int rc);

#define SE_RECORD_MAGIC 0x534c5243u /* "SLRC" */
#define SE_RECORD_HEAD 40

#endif
