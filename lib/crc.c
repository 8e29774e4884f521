/*
 * crc.c - CRC-32, by libdeflate: a row is summed up each time that it is read, so it matters how fast that is. Writer, workers,
 * sluicectl.
 */
#include "lib/crc.h"

#include <libdeflate.h>

uint32_t sl_crc32(uint32_t crc, sl_slice bytes)
{
	/* To the library no pointer means the beginning. */
	return bytes.len > 0 ? libdeflate_crc32(crc, bytes.data, bytes.len) : crc;
}

uint32_t sl_row_crc(sl_slice marks, sl_slice data)
{
	return sl_crc32(sl_crc32(0, marks), data);
}
