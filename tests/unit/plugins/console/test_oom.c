/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nobody is left waiting. Tests only.
 */
#include "plugins/console/console.h"
#include "tests/unit/plugins/streams/oom.h"

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

static void scenario(void)
{
	struct sluice_http_req *tail;

	door->n_process = 1;
	door->process[0] = (struct fake_process){.kind = SLUICE_PROCESS_STORE, .name = "store", .frontend = "", .state = "ready", .pid = 1,
	                                         .n_metric = 1,
	                                         .metric = {{SLUICE_METRIC_COUNTER, "a.b", "", "C.", 1, {{0}}, 0, 1}}};
	door->channels = 1;
	change(SLUICE_OP_CREATE, NULL);
	some("GET", "/health", NULL, NULL);
	some("GET", "/metrics", NULL, NULL);
	some("GET", "/console/status", NULL, NULL);
	some("GET", "/console/channels", NULL, NULL);
	some("GET", "/console/streams", NULL, NULL);
	tail = begin("GET", "/console/tail/s", NULL, NULL);
	some("POST", "/console/stream/s", H("x-sluice-console: 1"), "{\"a\":1}");
	change(SLUICE_OP_APPEND, "2");
	some("GET", "/console/stream/s", NULL, NULL);
	fake_advance(door, 16000);
	change(SLUICE_OP_CLOSE, NULL);
	oom_check(tail, false);
}

int main(void)
{
	static const struct oom oom = {.scenario = scenario, .calls = 13, .allocations = 16};

	oom_test(&oom);
	return tap_done();
}
