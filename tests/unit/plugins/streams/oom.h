/*
 * oom.h - the loop of the test_oom of a plugin: a scenario again and again, each time with another call of the host failing, then with another
 * allocation. Nothing leaks, nobody is left waiting. Linked with --wrap for malloc, calloc and realloc. Tests only.
 */
#ifndef OOM_H
#define OOM_H

#include "tests/unit/plugins/streams/door.h"
#include "tests/unit/wrap_memory.h"

struct oom {
	const char *const *settings;
	void (*scenario)(void);      /* a bit of everything, at `door` */
	unsigned calls, allocations; /* so many there are to fail, at least */
	/* So many runs, at least, in which the plugin counts a refusal; 0: it counts none. */
	unsigned refused_calls, refused_allocations;
};

static unsigned oom_lost; /* requests that were neither answered nor cut off, and do not wait for anything */

/* The end of a request; one that is live may stay open. */
static inline void oom_check(struct sluice_http_req *r, bool live)
{
	oom_lost += !live && fake_open(r);
	fake_http_free(r);
}

static inline void some(const char *method, const char *target, const char *const *headers, const char *text)
{
	oom_check(begin(method, target, headers, text), false);
}

/* ---- malloc() and its like fail once, wherever the plugin calls them ---- */

static unsigned oom_allocations, oom_fails;

static bool allocation_fails(void)
{
	return fake_allocating == 0 && ++oom_allocations == oom_fails;
}

/* ---- the loop ---- */

/* One of the calls, or of the allocations, fails: the n-th, 0 for none. Returns how many calls there were. */
static inline unsigned oom_run(const struct oom *o, unsigned call, unsigned allocation, unsigned *refused)
{
	unsigned before, calls;

	oom_lost = oom_allocations = 0;
	oom_fails = allocation;
	door = fake_new(&sluice_plugin_v1, o->settings);
	if (!door) /* it was in configure() or start(), and told */
		return 0;
	before = door->calls;
	door->fail_at = call ? before + call : 0;
	o->scenario();
	calls = door->calls - before;
	*refused += o->refused_calls && fake_cell(door, "refused") > 0;
	oom_fails = 0;
	is_int(oom_lost, 0, "everybody was answered or cut off");
	door_close("nothing leaks");
	return calls;
}

static inline void oom_refused(unsigned refused, unsigned least)
{
	if (least)
		ok(refused >= least, "failures are told to clients");
}

static inline void oom_test(const struct oom *o)
{
	unsigned refused = 0, n = oom_run(o, 0, 0, &refused);

	ok(n >= o->calls, "there are calls to fail");
	for (unsigned i = 1; i <= n; i++)
		oom_run(o, i, 0, &refused);
	oom_refused(refused, o->refused_calls);
	refused = 0;
	oom_run(o, 0, UINT32_MAX, &refused);
	n = oom_allocations;
	ok(n >= o->allocations, "there are allocations to fail");
	for (unsigned i = 1; i <= n; i++)
		oom_run(o, 0, i, &refused);
	oom_refused(refused, o->refused_allocations);
}

#endif
