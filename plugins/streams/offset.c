/*
 * offset.c - offset tokens (protocol section 4): 16 digits, '_', 16 digits; positions of riverrun: 20 digits. Plugin streams, worker process.
 *
 * The first part is always zero in tokens of ours; the second is the store's offset. A token with another first part sorts
 * behind everything a stream can hold, and is treated as that.
 */
#include "streams.h"

void offset_format(uint64_t offset, char out[OFFSET_LEN])
{
	memset(out, '0', OFFSET_LEN);
	out[16] = '_';
	for (size_t i = OFFSET_LEN; offset > 0 && i > 17; offset /= 10)
		out[--i] = (char)('0' + offset % 10);
}

void position_format(uint64_t pos, char out[POSITION_LEN])
{
	memset(out, '0', POSITION_LEN);
	for (size_t i = POSITION_LEN; pos > 0; pos /= 10)
		out[--i] = (char)('0' + pos % 10);
}

bool position_parse(slice s, uint64_t *pos)
{
	const char *p = s.data;

	if (s.len == 0 || s.len > POSITION_LEN)
		return false;
	*pos = 0;
	for (size_t i = 0; i < s.len; i++) {
		if (p[i] < '0' || p[i] > '9')
			return false;
		*pos = *pos < OFFSET_BEYOND / 10 ? *pos * 10 + (uint64_t)(p[i] - '0') : OFFSET_BEYOND;
	}
	return true;
}

bool offset_parse(slice s, uint64_t *offset)
{
	const char *p = s.data;
	uint64_t high = 0, low = 0;

	if (s.len != OFFSET_LEN || p[16] != '_')
		return false;
	for (size_t i = 0; i < OFFSET_LEN; i++) {
		if (i == 16)
			continue;
		if (p[i] < '0' || p[i] > '9')
			return false;
		if (i < 16)
			high = high * 10 + (uint64_t)(p[i] - '0');
		else
			low = low * 10 + (uint64_t)(p[i] - '0');
	}
	*offset = high ? OFFSET_BEYOND : low;
	return true;
}
