/*
 * test_oom.c - every call of the host that can fail fails once: nothing leaks, nothing is left unanswered. Tests only.
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

int main(void)
{
	unsigned calls = 0, refused = 0;

	for (unsigned n = 0; n <= calls || n == 0; n++) {
		lost = 0;
		door = fake_new(&sluice_plugin_v1, NULL);
		if (!door)
			abort();
		door->fail_at = n ? door->calls + n : 0;
		if (n == 0) {
			unsigned before = door->calls;

			scenario();
			calls = door->calls - before;
			ok(calls > 50, "there are calls to fail");
		} else {
			scenario();
		}
		refused += fake_cell(door, "refused") > 0;
		is_int(lost, 0, "everybody was answered or cut off");
		door_close("nothing leaks");
	}
	ok(refused > 20, "failures are told to clients");
	return tap_done();
}
