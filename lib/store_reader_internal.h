/*
 * store_reader_internal.h - what store_reader.c (facts), store_range.c (records) and store_snapshot.c share.
 */
#ifndef SL_STORE_READER_INTERNAL_H
#define SL_STORE_READER_INTERNAL_H

#include <sqlite3.h>

#include "lib/store_reader.h"

#define READER_MAGIC 0x52656164u

enum reader_stmt { R_BEGIN, R_COMMIT, R_BY_NAME, R_BY_ID, R_TAIL, R_LIST, R_CHUNKS, R_ROW, R_SNAPSHOT, R_SNAPSHOT_BYTES, R_GENERATION, R_STMTS };

enum {
	READER_SEGMENTS = 16, /* segment files kept open */
	READER_SUSPECTS = 16, /* damaged rows remembered */
};

struct reader_segment {
	uint64_t id, used;
	int fd;
};

struct reader_level { /* a stream of a chain of forks, and below which offset it counts */
	uint64_t id, cap;
};

struct reader_suspect { /* a row whose bytes could not be had */
	uint64_t stream, start;
};

struct sl_reader {
	uint32_t magic;
	sqlite3 *db;
	sqlite3_stmt *stmt[R_STMTS];
	int segment_dir;
	struct reader_segment segment[READER_SEGMENTS];
	uint64_t segment_clock;
	struct sl_buf type, data; /* what facts and steps hand out */
	struct sl_buf snapshot;   /* digest and type of one */
	uint32_t *message_end;
	size_t n_message_end, cap_message_end;
	struct reader_level *chain; /* of the walk under way, from the stream itself down */
	size_t n_chain, cap_chain;
	struct sluice_record *record;
	size_t n_record, cap_record;
	struct reader_suspect suspect[READER_SUSPECTS]; /* the latest; stream 0: none */
	unsigned next_suspect;
};

struct reader_stream {
	uint64_t base_pos, earliest_pos;
	uint64_t id, base, earliest, created_ms, ttl_s, expires_ms, forks, fork_of;
	uint64_t snapshot;
	int state;
	bool closed, has_ttl, has_expires;
};

int reader_by_id(struct sl_reader *, uint64_t id, struct reader_stream *, bool *found);
int reader_segment_read(struct sl_reader *, uint64_t id, uint64_t off, void *to, size_t n);
void reader_segments_close(struct sl_reader *);

#endif
