/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nobody is left waiting. Tests only.
 */
#include "plugins/console/console.h"
#include "tests/unit/plugins/streams/door.h"

static unsigned lost; /* requests that were neither answered nor cut off */

static void nothing(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	(void)r;
	(void)n;
}

static void change(uint32_t kind, const char *data)
{
	struct sluice_op op = {.size = sizeof op, .kind = kind, .stream = STR("s"), .content_type = STR("application/json"),
	                       .data = SLICE(data, data ? strlen(data) : 0)};
	unsigned at = door->fail_at;

	door->fail_at = 0; /* what the test does succeeds */
	door->calls--;
	if (fake_store_table.submit(door, &op, 1, nothing, NULL, NULL))
		abort();
	door->fail_at = at;
	fake_turn(door);
}

static void some(const char *method, const char *target, const char *text)
{
	struct sluice_http_req *r = begin(method, target, H("x-sluice-console: 1"), text);

	lost += fake_open(r);
	fake_http_free(r);
}

static void scenario(void)
{
	struct sluice_http_req *tail;

	door->n_process = 1;
	door->process[0] = (struct fake_process){.kind = SLUICE_PROCESS_STORE, .name = "store", .frontend = "", .state = "ready", .pid = 1,
	                                         .n_metric = 1,
	                                         .metric = {{SLUICE_METRIC_COUNTER, "a.b", "", "C.", 1, {{0}}, 0, 1}}};
	door->channels = 1;
	change(SLUICE_OP_CREATE, NULL);
	some("GET", "/health", NULL);
	some("GET", "/metrics", NULL);
	some("GET", "/console/status", NULL);
	some("GET", "/console/channels", NULL);
	some("GET", "/console/streams", NULL);
	tail = begin("GET", "/console/tail/s", NULL, NULL);
	some("POST", "/console/stream/s", "{\"a\":1}");
	change(SLUICE_OP_APPEND, "2");
	some("GET", "/console/stream/s", NULL);
	fake_advance(door, 16000);
	change(SLUICE_OP_CLOSE, NULL);
	lost += fake_open(tail);
	fake_http_free(tail);
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
static unsigned run(unsigned host_call, unsigned allocation)
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
	allocation_fails = 0;
	is_int(lost, 0, "everybody was answered or cut off");
	door_close("nothing leaks");
	return before;
}

int main(void)
{
	unsigned calls = run(0, 0);

	ok(calls > 12, "there are calls to fail");
	for (unsigned n = 1; n <= calls; n++)
		run(n, 0);
	run(0, 1000000);
	calls = allocations;
	ok(calls > 15, "there are allocations to fail");
	for (unsigned n = 1; n <= calls; n++)
		run(0, n);
	return tap_done();
}
