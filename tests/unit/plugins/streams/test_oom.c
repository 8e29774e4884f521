/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nothing is left unanswered. Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

typedef struct sluice_http_req hreq;

static unsigned lost; /* requests that were neither answered nor cut off, and still do not wait for anything */

static void check(hreq *r, bool live)
{
	if (!live && fake_open(r))
		lost++;
	fake_http_free(r);
}

static void some(const char *method, const char *target, const char *const *headers, const char *text)
{
	check(begin(method, target, headers, text), false);
}

/* A bit of everything. */
static void scenario(void)
{
	hreq *poll, *sse, *own, *waits;
	bool open;

	some("PUT", "/j", H(TYPE_JSON), "[1,2,3]");
	some("PUT", "/t", H(TYPE_TEXT), "x\xc3");
	some("PUT", "/f", H("stream-forked-from: /v1/stream/j"), "[4]");
	some("PUT", "/g", H("stream-forked-from: /v1/stream/j"), NULL);
	some("GET", "/j", NULL, NULL);
	some("HEAD", "/j", NULL, NULL);
	some("GET", "/__ds/streams", NULL, NULL);
	door->step = 2;
	some("GET", "/j?offset=-1", H("accept-encoding: gzip"), NULL);
	sse = begin("GET", "/t?live=sse&offset=-1", NULL, NULL);
	fake_turn(door);
	door->step = 100000;
	poll = begin("GET", "/j?live=long-poll&offset=now", NULL, NULL);
	own = begin("GET", "/t?live=sse&offset=now&cursor=900000000", NULL, NULL);
	some("POST", "/j", H(TYPE_JSON), "[5,6]");
	some("POST", "/t", H(TYPE_TEXT), "\xa9");
	some("POST", "/t", H(TYPE_TEXT), "more");
	door->full = true;
	waits = begin("POST", "/j", H(TYPE_JSON), "[7,8]");
	door->full = false;
	fake_room(door);
	fake_turn(door);
	check(waits, false);
	fake_advance(door, 40000);
	check(poll, false);
	some("POST", "/t", H("stream-closed: true"), NULL);
	/* When it was the close that failed, they rightly stay. */
	open = fake_stream(door, "t") && !(fake_stream(door, "t")->flags & SLUICE_R_CLOSED);
	check(sse, open);
	check(own, open);
	some("DELETE", "/t", NULL, NULL);
}

/* ---- memory: malloc() and its like fail once, wherever the plugin calls them ---- */

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
	door = fake_new(&sluice_plugin_v1, H("retention[+].prefix=a", "retention[].max_bytes=1M"));
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
