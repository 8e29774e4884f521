/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nothing is left unanswered. Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

typedef struct sluice_http_req hreq;

static unsigned lost; /* requests that were neither answered nor cut off, and still do not wait for anything */

static void some(const char *method, const char *target, const char *const *headers, const char *text)
{
	hreq *r = begin(method, target, headers, text);

	lost += fake_open(r);
	fake_http_free(r);
}

/* A bit of everything that is riverrun's own. */
static void scenario(void)
{
	hreq *channel, *waits;

	some("PUT", "/team", NULL, NULL);
	some("PUT", "/team/t", H(TYPE_TEXT), "abc");
	some("PUT", "/team/j", H(TYPE_JSON), "[1,2]");
	some("POST", "/team/t", NULL, "de");
	some("GET", "/team/t?offset=1", NULL, NULL);
	some("GET", "/team/none", NULL, NULL);
	some("GET", "/none/none", NULL, NULL);
	some("PUT", "/team/t/snapshot/3", H("content-type: a/b"), "state");
	some("PUT", "/team/t/snapshot/3", NULL, "other");
	some("GET", "/team/t/snapshot", NULL, NULL);
	door->step = 2;
	some("GET", "/team/t/snapshot/3", NULL, NULL);
	some("GET", "/team/t/bootstrap", NULL, NULL);
	some("GET", "/team/j/bootstrap", NULL, NULL);
	door->step = 100000;
	some("DELETE", "/team/t/snapshot/3", NULL, NULL);
	some("GET", "/team/t?offset=0", NULL, NULL);
	some("POST", "/team/t/append-cas", H("stream-expected-offset: 9"), "x");
	channel = begin("GET", "/team/t?ephemeral=c&live=sse", NULL, NULL);
	some("POST", "/team/t?ephemeral=c", NULL, "update");
	fake_advance(door, 16000);
	fake_channels_end(door, true);
	fake_turn(door);
	lost += fake_open(channel);
	fake_http_free(channel);
	door->full = true;
	waits = begin("PUT", "/team/t/snapshot/5", NULL, "later");
	door->full = false;
	fake_room(door);
	fake_turn(door);
	lost += fake_open(waits);
	fake_http_free(waits);
	some("GET", "/team", NULL, NULL);
	some("GET", "/team/streams", NULL, NULL);
	some("DELETE", "/team?force=true", NULL, NULL);
}

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__real_realloc(void *, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);
void *__wrap_realloc(void *, size_t);

static unsigned allocations, allocation_fails;

static bool allocation_fails_now(void)
{
	return fake_allocating == 0 && ++allocations == allocation_fails;
}

void *__wrap_malloc(size_t n)
{
	return allocation_fails_now() ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return allocation_fails_now() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *p, size_t n)
{
	return allocation_fails_now() ? NULL : __real_realloc(p, n);
}

/* Returns what was counted: calls of the host, or allocations. One of them fails: the n-th, 0 for none. */
static unsigned run(unsigned host_call, unsigned allocation, unsigned *refused)
{
	unsigned before;

	lost = 0;
	allocations = 0;
	allocation_fails = allocation;
	door = fake_new(&sluice_plugin_v1, NULL);
	if (!door) /* it was in configure() or start(), and told */
		return allocations;
	before = door->calls;
	door->fail_at = host_call ? before + host_call : 0;
	scenario();
	before = allocation ? allocations : door->calls - before;
	*refused += fake_cell(door, "refused") > 0;
	allocation_fails = 0;
	is_int(lost, 0, "everybody was answered or cut off");
	door_close("nothing leaks");
	return before;
}

int main(void)
{
	unsigned refused = 0, calls = run(0, 0, &refused);

	ok(calls > 50, "there are calls to fail");
	for (unsigned n = 1; n <= calls; n++)
		run(n, 0, &refused);
	ok(refused > 20, "failures are told to clients");
	refused = 0;
	run(0, 1000000, &refused);
	ok(allocations > 8, "there are allocations to fail");
	calls = allocations;
	for (unsigned n = 1; n <= calls; n++)
		run(0, n, &refused);
	ok(refused > 2, "failures are told to clients");
	return tap_done();
}
