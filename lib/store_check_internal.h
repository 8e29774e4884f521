/*
 * store_check_internal.h - what the files of the check share: the volume (store_check.c), rows (store_check_rows.c), forks
 * (store_check_forks.c), snapshots (store_check_snapshots.c), segments (store_check_segments.c).
 */
#ifndef SL_STORE_CHECK_INTERNAL_H
#define SL_STORE_CHECK_INTERNAL_H

#include <sqlite3.h>

#include "lib/map.h"
#include "lib/store_check.h"

#define CHECK_MARKS_MAX (16u << 20) /* bytes of the marks of a record; the writer takes 8 MiB */
#define CHECK_OFFSET_MAX (UINT64_C(1) << 60) /* as STORE_OFFSET_MAX of the writer; beyond it: nobody needs any */

enum { CHECK_FILES = 16, CHECK_VERIFIED = 4096, CHECK_BUFFER = 1 << 20 };

struct check_stream {
	uint64_t id, base, earliest, base_pos, earliest_pos, fork_of, fork_at, forks, reap_to;
	int state;
	bool inside;   /* its earliest position may be inside the record at its earliest offset */
	sl_slice name; /* inside the statement */
};

struct check_row {
	uint64_t stream, start, stop, bytes, records, messages, segment, seg_off, pos;
	bool in_segment, has_data, has_crc; /* no checksum: it was written by a version that had none */
	uint32_t crc;
	sl_slice marks, data; /* inside the statement */
};

struct check_segment { /* a row of segment, and what refers to it */
	uint64_t id, size, live;
	bool dead;
	uint64_t used; /* payload bytes that rows name */
};

struct check_file {
	uint64_t id;
	int fd; /* -1: the place is free */
};

struct check_source { /* a stream that was forked from */
	struct sl_map_node node;
	uint64_t id, forks, need; /* living forks; the lowest offset that they or theirs read from it */
};

enum check_stmt { CHECK_SOURCE, CHECK_ROW, CHECK_STMTS };

struct check {
	const struct sl_check_hooks *hooks;
	void *arg;
	struct sl_check *result;
	sqlite3 *db;
	sqlite3_stmt *stmt[CHECK_STMTS];
	int dir, segment_dir, lock; /* -1: none */
	char *why;
	struct check_segment *segment; /* by id */
	size_t n_segment, cap_segment;
	struct check_file file[CHECK_FILES];
	unsigned next_file;
	struct check_verified {
		uint64_t segment, off;
	} verified[CHECK_VERIFIED];
	uint8_t *buf; /* CHECK_BUFFER bytes, for payloads */
	struct sl_map sources;
	const char *what;                            /* of progress */
	uint64_t inline_bytes, payload_bytes, total; /* looked at; of all */
	uint64_t volume_bytes;
	int stopped; /* SLUICE_E*: nothing more can be looked at */
};

/* ---- store_check.c ---- */
/* Where a finding is. All may be absent. */
struct check_at {
	const struct check_stream *stream;
	const uint64_t *offset;
	const char *file;
};
void check_found(struct check *, enum sl_finding_kind, struct check_at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
void check_note(struct check *, enum sl_finding_kind, struct check_at, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
int check_stop(struct check *, int status, const char *fmt, ...) __attribute__((format(printf, 3, 4))); /* status */
int check_progress(struct check *); /* 0, or stopped */
/* After a statement did not end with SQLITE_DONE: what reads as damage is a finding, anything else stops. 0, or stopped. */
int check_sqlite(struct check *, const char *table);
sqlite3_stmt *check_prepare(struct check *, const char *sql, const char *table); /* NULL: a finding, or stopped */

/* ---- the parts; 0, or stopped ---- */
int check_sources(struct check *);
struct check_source *check_source(const struct check *, uint64_t id); /* NULL: nobody has forked from it */
int check_fork(struct check *, const struct check_stream *);
int check_rows(struct check *);
int check_snapshots(struct check *);
int check_segments_load(struct check *);
int check_payload(struct check *, const struct check_stream *, const struct check_row *);
int check_segments(struct check *);
void check_files_close(struct check *);
/* Where the record that begins at or ends with the offset is, by the marks of a row that reaches it: payload bytes of the stream before it.
 * false: the offset is inside a record, or the marks are damaged. */
bool check_boundary(const struct check_row *, uint64_t offset, uint64_t *pos);

#endif
