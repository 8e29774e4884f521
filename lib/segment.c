/*
 * segment.c - names and record heads of segment files. Writer and readers.
 */
#include "lib/segment.h"

#include <stdio.h>

#include "lib/crc.h"

void sl_segment_name(uint64_t id, char name[SL_SEGMENT_NAME_MAX])
{
	snprintf(name, SL_SEGMENT_NAME_MAX, "%016llx.seg", (unsigned long long)id);
}

int sl_segment_id(const char *name, uint64_t *id)
{
	uint64_t v = 0;

	for (int i = 0; i < 16; i++) {
		const char *digits = "0123456789abcdef", *at = name[i] ? strchr(digits, name[i]) : NULL;

		if (!at)
			return SLUICE_EINVAL;
		v = v << 4 | (uint64_t)(at - digits);
	}
	*id = v;
	return strcmp(name + 16, ".seg") == 0 ? 0 : SLUICE_EINVAL;
}

static void segment_put(uint8_t *p, uint64_t v, int n)
{
	for (int i = 0; i < n; i++, v >>= 8)
		p[i] = (uint8_t)v;
}

void sl_segment_put_head(uint8_t out[SL_SEGMENT_HEAD], const struct sl_segment_head *h)
{
	segment_put(out, SL_SEGMENT_MAGIC, 4);
	segment_put(out + 4, 1, 4);
	segment_put(out + 8, h->data_len, 8);
	segment_put(out + 16, h->marks_len, 8);
	segment_put(out + 24, h->crc, 4);
	segment_put(out + 28, sl_crc32(0, SL_SLICE(out, 28)), 4);
}

int sl_segment_get_head(const uint8_t in[SL_SEGMENT_HEAD], struct sl_segment_head *h)
{
	struct sl_cur c = sl_cur_of(SL_SLICE(in, SL_SEGMENT_HEAD));
	uint32_t magic = sl_cur_u32(&c), format = sl_cur_u32(&c), crc;

	h->data_len = sl_cur_u64(&c);
	h->marks_len = sl_cur_u64(&c);
	h->crc = sl_cur_u32(&c);
	crc = sl_cur_u32(&c);
	return magic == SL_SEGMENT_MAGIC && format == 1 && crc == sl_crc32(0, SL_SLICE(in, 28)) ? 0 : SLUICE_EINVAL;
}
