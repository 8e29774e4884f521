/*
 * test_init.c - the supervisor's beginning without memory: every allocation of libevent fails once. Either the start is refused, or
 * everything that it is going to wait for is armed; a supervisor that does not hear of the ends of its children waits for ever.
 */
#include <signal.h>
#include <stdlib.h>

#include "supervisor/supervisor.h"
#include "tests/unit/tap.h"

static long until, failed;

static bool fails(void)
{
	if (until < 0 || until-- > 0)
		return false;
	failed++;
	return true;
}

static void *malloc_fn(size_t n)
{
	return fails() ? NULL : malloc(n);
}

static void *realloc_fn(void *p, size_t n)
{
	return fails() ? NULL : realloc(p, n);
}

/* Whether an allocation failed. */
static bool begin(long n)
{
	struct supervisor s;
	int rc;

	failed = 0;
	until = n;
	rc = super_init(&s, "/nowhere", "/nowhere", false);
	until = -1;
	if (rc == 0) {
		bool armed = s.pings && event_pending(s.pings, EV_TIMEOUT, NULL) != 0 && s.n_signals > 0;

		for (size_t i = 0; i < s.n_signals; i++)
			armed = armed && event_pending(s.signals[i], EV_SIGNAL, NULL) != 0;
		if (!armed || failed == 0)
			ok(armed, "a supervisor that begins waits for everything it has to");
	} else if (failed == 0) {
		ok(0, "with memory it begins");
	}
	super_fini(&s);
	return failed > 0;
}

int main(void)
{
	long n = 0;

	event_set_mem_functions(malloc_fn, realloc_fn, free);
	while (begin(n))
		n++;
	ok(n > 10, "every allocation has failed once");
	printf("# %ld allocations\n", n);
	return tap_done();
}
