/*
 * segment.h - append-only files that hold the payloads too large for the database. Writer and readers.
 *
 * A segment is data_dir/segments/ID.seg with ID as 16 hex digits: a sequence of {head, data, marks}. Never rewritten;
 * a chunk row names a segment and the position of its first data byte. Bytes that no row names are dead.
 */
#ifndef SL_SEGMENT_H
#define SL_SEGMENT_H

#include "lib/buf.h"

#define SL_SEGMENT_HEAD 32
#define SL_SEGMENT_MAGIC 0x534c5347u /* "SLSG" */
#define SL_SEGMENT_NAME_MAX 32

struct sl_segment_head {
	uint64_t data_len, marks_len;
	uint32_t crc; /* CRC-32 of data, then marks */
};

void sl_segment_name(uint64_t id, char name[SL_SEGMENT_NAME_MAX]); /* "00000000000000a1.seg" */
int sl_segment_id(const char *name, uint64_t *id);                 /* 0, or SLUICE_EINVAL: not such a name */
void sl_segment_put_head(uint8_t out[SL_SEGMENT_HEAD], const struct sl_segment_head *);
int sl_segment_get_head(const uint8_t in[SL_SEGMENT_HEAD], struct sl_segment_head *); /* SLUICE_EINVAL: damaged */

#endif
