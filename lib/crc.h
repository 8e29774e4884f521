/*
 * crc.h - checksums of what is stored. Writer, workers, sluicectl.
 */
#ifndef SL_CRC_H
#define SL_CRC_H

#include "lib/buf.h"

/* The CRC-32 (that of zlib, gzip and PNG) of the bytes behind those that crc is of; 0: there are none before. */
uint32_t sl_crc32(uint32_t crc, sl_slice bytes);
/* chunk.crc: of a row's marks, then of its payload. NULL in rows from before there was one, and where a segment has the payload. */
uint32_t sl_row_crc(sl_slice marks, sl_slice data);

#endif
