/*
 * marks.h - where records and messages end inside payload bytes. Writer, workers.
 *
 * The marks of a record: empty when it is one message; otherwise varint n (>= 2), then n varint message lengths.
 * The marks of a run of records (a chunk row, a cache fill), for each record:
 *   varint length of the record's payload, varint n, and if n >= 2: n varint message lengths.
 */
#ifndef SL_MARKS_H
#define SL_MARKS_H

#include "lib/buf.h"

#define SL_MESSAGES_MAX (1u << 20) /* messages of one record */

struct sl_mark { /* one record of a run */
	uint64_t bytes;
	uint32_t messages;
	struct sl_cur lengths; /* messages >= 2: walk with sl_cur_varint() */
};

/* Encodes the marks of one record; 0, SLUICE_EINVAL when the lengths do not add up to total, SLUICE_ETOOBIG, SLUICE_ENOMEM. */
int sl_marks_encode(struct sl_buf *, const uint32_t *len, size_t n, uint64_t total);
/* Checks the marks of one record and counts its messages. */
int sl_marks_check(sl_slice marks, uint64_t total, uint32_t *messages);
/* Appends one record to a run. `marks` has been checked. */
int sl_marks_add(struct sl_buf *run, uint64_t bytes, sl_slice marks);
/* Next record of a run: 1, 0 at the end, SLUICE_EINVAL when malformed. */
int sl_marks_next(struct sl_cur *run, struct sl_mark *);

#endif
