/*
 * backoff.c - when a child that died is started again. Supervisor.
 *
 * The first early death is answered at once, the next ones after 100 ms, 200 ms ... 30 s. A child that was healthy once is never
 * throttled for dying while it serves, or a client that can crash its own worker could take the service down for everybody; not getting
 * ready is throttled always.
 */
#include "supervisor/supervisor.h"

uint32_t backoff_next(struct backoff *b, int64_t lived_ms)
{
	uint32_t now = b->delay;

	if (lived_ms >= BACKOFF_HEALTHY)
		b->proven = true;
	if (lived_ms >= 0 && b->proven) {
		b->delay = 0;
		return 0;
	}
	b->delay = now == 0 ? BACKOFF_FIRST : now >= BACKOFF_MAX / 2 ? BACKOFF_MAX : 2 * now;
	return now;
}
