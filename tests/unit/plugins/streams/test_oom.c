/*
 * test_oom.c - every call of the host that can fail, and every allocation, fails once: nothing leaks, nothing is left unanswered. Tests only.
 */
#include "tests/unit/plugins/streams/oom.h"

typedef struct sluice_http_req hreq;

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
	oom_check(waits, false);
	fake_advance(door, 40000);
	oom_check(poll, false);
	some("POST", "/t", H("stream-closed: true"), NULL);
	/* When it was the close that failed, they rightly stay. */
	open = fake_stream(door, "t") && !(fake_stream(door, "t")->flags & SLUICE_R_CLOSED);
	oom_check(sse, open);
	oom_check(own, open);
	some("DELETE", "/t", NULL, NULL);
}

int main(void)
{
	static const char *const settings[] = {"retention[+].prefix=a", "retention[].max_bytes=1M", NULL};
	static const struct oom oom = {.settings = settings,
	                               .scenario = scenario,
	                               .calls = 51,
	                               .allocations = 9,
	                               .refused_calls = 21,
	                               .refused_allocations = 3};

	oom_test(&oom);
	return tap_done();
}
