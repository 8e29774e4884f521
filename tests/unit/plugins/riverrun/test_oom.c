/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nothing is left unanswered. Tests only.
 */
#include "tests/unit/plugins/streams/oom.h"

typedef struct sluice_http_req hreq;

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
	oom_check(channel, false);
	door->full = true;
	waits = begin("PUT", "/team/t/snapshot/5", NULL, "later");
	door->full = false;
	fake_room(door);
	fake_turn(door);
	oom_check(waits, false);
	some("GET", "/team", NULL, NULL);
	some("GET", "/team/streams", NULL, NULL);
	some("DELETE", "/team?force=true", NULL, NULL);
}

int main(void)
{
	static const struct oom oom = {
		.scenario = scenario, .calls = 51, .allocations = 9, .refused_calls = 21, .refused_allocations = 3};

	oom_test(&oom);
	return tap_done();
}
