/* Dying children wait longer and longer, healthy ones are forgiven, and proven ones are never throttled for dying while they serve. */
#include "supervisor/supervisor.h"
#include "tests/unit/tap.h"

int main(void)
{
	static const uint32_t want[] = {0, 100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000};
	struct backoff b = {0};
	char name[64];

	for (size_t i = 0; i < sizeof want / sizeof *want; i++) {
		snprintf(name, sizeof name, "death %zu before ready", i + 1);
		is_int(backoff_next(&b, -1), want[i], name);
	}
	b = (struct backoff){0};
	is_int(backoff_next(&b, 500), 0, "the first death soon after ready is answered at once");
	is_int(backoff_next(&b, BACKOFF_HEALTHY - 1), 100, "the second one is not");
	ok(!b.proven, "nothing is proven yet");
	is_int(backoff_next(&b, BACKOFF_HEALTHY), 0, "a healthy period resets");
	ok(b.proven, "and proves");
	for (int i = 0; i < 5; i++)
		is_int(backoff_next(&b, 1), 0, "a proven one is not throttled while it gets ready");
	is_int(backoff_next(&b, -1), 0, "not getting ready is");
	is_int(backoff_next(&b, -1), 100, "throttled");
	is_int(backoff_next(&b, -1), 200, "always");
	is_int(backoff_next(&b, 0), 0, "until it is ready again");
	is_int(backoff_next(&b, -1), 0, "which starts the count anew");
	return tap_done();
}
