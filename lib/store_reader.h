/*
 * store_reader.h - read-only access to a data directory: facts, ranges, segments, listings. Workers, sluicectl.
 *
 * The only SQL outside store-worker/. Everything happens between sl_reader_begin() and sl_reader_end(), on one
 * snapshot; no transaction may outlive a loop turn or a wait for a client, or the WAL cannot restart. One connection,
 * statements kept.
 */
#ifndef SL_STORE_READER_H
#define SL_STORE_READER_H

#include "lib/buf.h"

struct sl_reader;

#define SL_READ_STEP (256u * 1024u) /* bytes a step hands out at most */

struct sl_facts {
	int status;     /* SLUICE_OK, SLUICE_ENOENT, SLUICE_EGONE (soft-deleted, or expired while forks hold it) */
	uint32_t flags; /* SLUICE_R_CLOSED, _TTL, _EXPIRES */
	uint64_t incarnation; /* stream id */
	uint64_t created_ms, tail, earliest, ttl_s, expires_ms;
	uint64_t tail_pos, earliest_pos; /* payload bytes before tail and earliest */
	uint64_t snapshot;               /* of sl_reader_snapshot(); 0: none */
	sl_slice content_type;           /* until the next call with this reader */
};

struct sl_place {              /* a position: a number of payload bytes from the beginning of the stream */
	uint64_t offset, skip; /* the record it is in, and how many bytes into that */
	uint32_t messages;     /* of that record that end at or before it */
	bool inside;           /* it is inside a message */
};

struct sl_plan {            /* the bounds of an answer */
	uint64_t from, end; /* record boundaries */
	uint64_t payload_bytes, messages;
};

struct sl_snapshot { /* slices: until the next call about a snapshot with this reader */
	uint64_t at, pos; /* its place: offset of the record it is in, or the tail; position */
	uint64_t bytes, time_ms;
	sl_slice digest, content_type;
};

struct sl_step { /* borrowed from the reader until the next call with it */
	sl_slice data;
	const uint32_t *message_end;
	size_t n_message_end;
	const struct sluice_record *record;
	size_t n_record;
	uint64_t next, skip; /* where the next step begins */
};

/* Opens the volume of a data directory whose writer said welcome. On failure *why points to a static or reader-less text. */
int sl_reader_open(const char *data_dir, uint32_t schema, uint64_t mmap_bytes, struct sl_reader **, const char **why);
void sl_reader_close(struct sl_reader *);

int sl_reader_begin(struct sl_reader *);
void sl_reader_end(struct sl_reader *);

/* Facts of the stream that bears the name; now_ms (wall clock) decides about expires_ms. 0 or SLUICE_EINTERNAL; "not there" is facts->status. */
int sl_reader_facts(struct sl_reader *, sl_slice name, uint64_t now_ms, struct sl_facts *);
/* The same by incarnation, whatever has become of its name; ENOENT once it is being reaped. */
int sl_reader_facts_id(struct sl_reader *, uint64_t incarnation, struct sl_facts *);
/* Where a position is; of the tail: the tail. It looks at a few rows however long the stream is. SLUICE_EGONE: below the earliest;
 * SLUICE_ETOOBIG: beyond the tail. */
int sl_reader_place(struct sl_reader *, const struct sl_facts *, uint64_t pos, struct sl_place *);
/* Whole records of [from, tail) up to budget payload bytes, at least one when there is one. A from inside a record means
 * its beginning; beyond the tail: the tail; below the earliest: SLUICE_EGONE. The first step comes along unless it is NULL; its skip on entry
 * are bytes of the first record to leave out. */
int sl_reader_plan(struct sl_reader *, const struct sl_facts *, uint64_t from, uint64_t budget, struct sl_plan *,
                   struct sl_step *first);
/* At most about SL_READ_STEP bytes of [from + skip bytes, until), fork ancestors and segments included. SLUICE_EGONE: reaped meanwhile. */
int sl_reader_step(struct sl_reader *, uint64_t incarnation, uint64_t from, uint64_t skip, uint64_t until,
                   struct sl_step *);
/* What lies behind the earliest position, up to budget payload bytes unless the first record alone is larger; it begins at->skip bytes
 * into the record at plan->from. Messages are not counted: it looks at a few rows only. */
int sl_reader_rest(struct sl_reader *, const struct sl_facts *, uint64_t budget, struct sl_plan *, struct sl_place *at);
/* SLUICE_EGONE: it was replaced a while ago. */
int sl_reader_snapshot(struct sl_reader *, uint64_t id, struct sl_snapshot *);
/* At most SL_READ_STEP bytes of [from, until), with that borrowed until the next call with this reader. SLUICE_EGONE as above. */
int sl_reader_snapshot_step(struct sl_reader *, uint64_t id, uint64_t from, uint64_t until, sl_slice *data);
/* Names in bytewise order; expired and soft-deleted ones are left out. fn returns nonzero to stop. */
int sl_reader_list(struct sl_reader *, sl_slice prefix, sl_slice after, uint32_t limit, uint64_t now_ms,
                   int (*fn)(void *, const struct sluice_list_item *), void *arg, bool *more);
/* Now and then, outside of begin and end: files that were removed are closed, or their space would stay taken. */
void sl_reader_tidy(struct sl_reader *);
/* The volume's random generation, 16 bytes. */
int sl_reader_generation(struct sl_reader *, uint8_t out[16]);

#endif
