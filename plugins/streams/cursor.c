/*
 * cursor.c - the cursor that keeps caches from serving one live answer for ever (protocol section 12). Plugin streams, worker process.
 */
#include "streams.h"

#define CURSOR_EPOCH_MS UINT64_C(1728432000000) /* 2024-10-09T00:00:00Z */
#define CURSOR_MAX UINT64_C(999999999999999999) /* more than 18 digits are junk, so that adding to it cannot overflow */

void cursor_init(struct cursor *c, slice sent, uint64_t random)
{
	/* 1..3600 seconds, in intervals of 20 s, rounded up. */
	c->jitter = (uint32_t)((random % 3600 + 1 + 19) / 20);
	c->value = 0;
	c->given = sent.data && u64_parse(sent, CURSOR_MAX, &c->value);
}

uint64_t cursor_interval(uint64_t wall_ms)
{
	return wall_ms > CURSOR_EPOCH_MS ? (wall_ms - CURSOR_EPOCH_MS) / CURSOR_INTERVAL_MS : 0;
}

bool cursor_own(const struct cursor *c, uint64_t wall_ms)
{
	return c->given && c->value >= cursor_interval(wall_ms);
}

uint64_t cursor_next(const struct cursor *c, uint64_t wall_ms)
{
	return cursor_own(c, wall_ms) ? c->value + c->jitter : cursor_interval(wall_ms);
}
