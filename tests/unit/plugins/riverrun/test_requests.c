/*
 * test_requests.c - the Loro Streams surface over a store in memory: addresses, buckets, snapshots, bootstrap in steps of any size, channels.
 * Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

#define AT(n) "000000000000000000" n

static void test_addresses(void)
{
	static const struct {
		const char *method, *target;
		int status;
		const char *code;
	} cases[] = {
		{"GET", "/abc/x", 400, "invalid_bucket_id"},
		{"GET", "/Team/x", 400, "invalid_bucket_id"},
		{"GET", "/team/..x", 400, "invalid_stream_id"},
		{"PUT", "/team/a%2Fb", 400, "invalid_stream_id"},
		{"PUT", "/team/x/snapshot/%zz", 400, "invalid_offset"},
		{"PUT", "/team/x/snapshot/1x", 400, "invalid_offset"},
		{"GET", "/team/x/else", 404, "not_found"},
		{"GET", "/team/x/snapshot/1/2", 404, "not_found"},
		{"POST", "/team/x/bootstrap", 405, "method_not_allowed"},
		{"GET", "/team/x", 404, "bucket_not_found"},
		{"GET", "/team/x/snapshot", 404, "bucket_not_found"},
		{"GET", "/team/x/bootstrap", 404, "bucket_not_found"},
		{"GET", "/team/x/bootstrap?live=sse", 400, "live_not_allowed"},
		{"DELETE", "/team/x", 404, "bucket_not_found"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		is_int(do_(cases[i].method, cases[i].target, NULL, NULL), cases[i].status, cases[i].target);
		ok(strstr(body(last), cases[i].code) != NULL, "with its code");
	}
	is_int(do_("PUT", "/team", NULL, NULL), 201, "a bucket");
	is_int(do_("GET", "/team/x", NULL, NULL), 404, "and no stream in it");
	ok(strstr(body(last), "stream_not_found") != NULL, "is another reason");
}

static void test_snapshots(void)
{
	is_int(do_("PUT", "/team/doc", H(TYPE_TEXT), "abc"), 201, "a stream");
	is_int(do_("POST", "/team/doc", H(TYPE_TEXT), "de"), 204, "an append");
	is_int(do_("PUT", "/team/doc/snapshot/4", NULL, "x"), 400, "inside a message");
	is_int(do_("PUT", "/team/doc/snapshot/6", NULL, "x"), 409, "beyond the tail");
	is_str(head("stream-next-offset"), AT("05"), "which is told");
	is_int(do_("PUT", "/team/doc/snapshot/3", H("content-type: a/b"), "state"), 204, "published");
	is_str(head("stream-snapshot-offset"), AT("03"), "there");
	ok(strncmp(head("stream-snapshot-digest"), "sha256:", 7) == 0 && strlen(head("stream-snapshot-digest")) == 71,
	   "with its digest");
	is_int(do_("PUT", "/team/doc/snapshot/3", NULL, "other"), 409, "another one there");
	is_int(do_("PUT", "/team/doc/snapshot/5", H("stream-snapshot-match: sha256:00"), "x"), 409, "one that is not matched");
	is_int(do_("GET", "/team/doc/snapshot", NULL, NULL), 307, "located");
	is_str(head("location"), "/ds/team/doc/snapshot/" AT("03"), "by its path");
	door->step = 2;
	is_int(do_("GET", "/team/doc/snapshot/3", NULL, NULL), 200, "read in steps");
	is_str(body(last), "state", "all of it");
	is_str(head("content-type"), "a/b", "with its type");
	is_str(head("stream-up-to-date"), "false", "something is behind it");
	is_int(do_("GET", "/team/doc/snapshot/0", NULL, NULL), 404, "another offset");
	is_int(do_("DELETE", "/team/doc/snapshot/3", NULL, NULL), 409, "it stays");
	is_int(do_("HEAD", "/team/doc", NULL, NULL), 200, "HEAD");
	is_str(head("stream-snapshot-offset"), AT("03"), "tells of it");
	is_int(do_("GET", "/team/doc?offset=-1", NULL, NULL), 410, "what is before it is gone");
	is_str(head("stream-snapshot-offset"), AT("03"), "and who asks is told");
	is_int(do_("GET", "/team/doc?offset=-1&live=sse", NULL, NULL), 410, "before an event stream begins");
	is_int(do_("GET", "/team/doc?offset=3", NULL, NULL), 200, "the rest");
	is_str(body(last), "de", "can be read");
	door->step = 100000;
}

/* What a bootstrap has between its boundaries, whatever those are. */
static const char *parts(void)
{
	static char text[4096];
	const char *at = body(last), *boundary = strstr(head("content-type"), "rr-");
	size_t n = boundary ? strlen(boundary) : 0, out = 0;

	while (n && *at && out < sizeof text - 1) {
		if (strncmp(at, "--", 2) == 0 && strncmp(at + 2, boundary, n) == 0) {
			text[out++] = '|';
			at += 2 + n;
		} else {
			text[out++] = *at++;
		}
	}
	text[out] = '\0';
	return text;
}

static void test_bootstrap(void)
{
	static const char whole[] = "|\r\nContent-Type: application/octet-stream\r\n\r\nS\r\n"
				    "|\r\nContent-Type: application/json\r\n\r\n\"two\"\r\n"
				    "|\r\nContent-Type: application/json\r\n\r\n{\"three\":3}\r\n"
				    "|\r\nContent-Type: application/json\r\n\r\n4\r\n|--\r\n";

	do_("PUT", "/team/json", H(TYPE_JSON), "[1,\"two\",{\"three\":3}]");
	is_int(do_("GET", "/team/json/bootstrap", NULL, NULL), 200, "without a snapshot");
	is_str(head("stream-snapshot-offset"), "-1", "there is none");
	ok(strstr(parts(), "|\r\nContent-Type: application/octet-stream\r\n\r\n\r\n|") == parts(), "its part is empty");
	do_("POST", "/team/json", H(TYPE_JSON), "4");
	is_int(do_("PUT", "/team/json/snapshot/1", NULL, "S"), 204, "between two elements");
	for (size_t step = 1; step < 20; step++) {
		door->step = step;
		is_int(do_("GET", "/team/json/bootstrap", NULL, NULL), 200, "in steps");
		is_str(parts(), whole, "a part for each element");
	}
	is_str(head("stream-next-offset"), AT("18"), "where to go on");
	is_str(head("stream-up-to-date"), "true", "with nothing left");
	door->step = 100000;
	do_("POST", "/team/json", H("stream-closed: true"), NULL);
	do_("GET", "/team/json/bootstrap", NULL, NULL);
	is_str(head("stream-closed"), "true", "a closed one says so");
}

/* A stream that goes away, or a snapshot that is replaced and freed, while it is read: the answer is cut. */
static void test_cut(void)
{
	struct sluice_http_req *r;
	bool busy = false;

	do_("PUT", "/team/cut", H(TYPE_TEXT), "abcdef");
	do_("PUT", "/team/cut/snapshot/6", NULL, "0123456789");
	door->step = 3;
	r = fake_http(door, "GET", "/team/cut/snapshot/6", NULL, NULL, 0);
	fake_store_turn(door, &busy);
	ok(r->status == 200 && r->length == 10, "it has begun");
	fake_stream(door, "team/cut")->snapshot.id = 999;
	fake_turn(door);
	ok(r->reset && !r->ended, "a snapshot that is gone meanwhile is cut off");
	fake_http_free(r);
	r = fake_http(door, "GET", "/team/cut/bootstrap", NULL, NULL, 0);
	fake_store_turn(door, &busy);
	ok(r->status == 200, "so has a bootstrap");
	fake_remove(door, "team/cut", false);
	fake_turn(door);
	ok(r->reset && !r->ended, "which is cut off as well");
	fake_http_free(r);
	do_("PUT", "/team/cut", H(TYPE_TEXT), NULL);
	door->step = 100000;
}

static void test_channels(void)
{
	struct sluice_http_req *r, *late;

	is_int(do_("POST", "/team/none?ephemeral=c", NULL, "u"), 404, "of no stream");
	is_int(do_("GET", "/team/doc?ephemeral=c", NULL, NULL), 400, "read without live");
	is_int(do_("GET", "/team/doc?ephemeral=c&awareness=d&live=sse", NULL, NULL), 400, "two names");
	r = begin("GET", "/team/doc?ephemeral=c&live=sse", NULL, NULL);
	is_str(body(r), "event: bootstrap\ndata:\n\n", "the state, of nobody");
	is_int(do_("POST", "/team/doc?awareness=c", NULL, "update"), 204, "an update");
	is_str(body(r), "event: bootstrap\ndata:\n\nevent: data\ndata: dXBkYXRl\n\n", "comes to everybody");
	is_int(do_("POST", "/team/doc?ephemeral=c", NULL, "xx"), 400, "one that is malformed");
	fake_advance(door, 16000);
	ok(strstr(body(r), ": keepalive\n\n") != NULL, "silence is broken");
	fake_channels_end(door, false);
	fake_turn(door);
	ok(r->ended && !r->reset, "the end of the channel ends the answer");
	fake_http_free(r);
	door->channels = -1;
	is_int(do_("POST", "/team/doc?ephemeral=c", NULL, "update"), 503, "without presence");
	door->channels = 0;
	late = begin("GET", "/team/doc?ephemeral=c&live=sse", NULL, NULL);
	fake_leave(late);
	fake_http_free(late);
}

static void test_buckets(void)
{
	is_int(do_("GET", "/team", NULL, NULL), 200, "a bucket");
	is_str(body(last), "{\"bucket_id\":\"team\",\"streams\":3}", "counts its streams");
	is_int(do_("GET", "/team/streams?limit=1", NULL, NULL), 200, "a page");
	ok(strstr(body(last), "\"stream_id\":\"cut\"") && strstr(body(last), "\"has_more\":true"), "of its list");
	is_int(do_("DELETE", "/team", NULL, NULL), 409, "it is not empty");
	is_int(do_("DELETE", "/team?force=true", NULL, NULL), 204, "removed with its streams");
	is_int(do_("GET", "/team", NULL, NULL), 404, "it is gone");
	is_int(do_("PUT", "/made/by", H(TYPE_TEXT), NULL), 201, "a stream makes its bucket");
	is_int(do_("DELETE", "/made/by", NULL, NULL), 204, "which outlives it");
	is_int(do_("GET", "/made", NULL, NULL), 200, "and is there");
}

static void test_cas(void)
{
	do_("PUT", "/made/cas", H(TYPE_TEXT), NULL);
	is_int(do_("POST", "/made/cas/append-cas", H("stream-expected-offset: -1"), "ab"), 204, "expected");
	is_int(do_("POST", "/made/cas/append-cas", H("stream-expected-offset: 1"), "c"), 409, "missed");
	is_str(head("stream-cas-mismatch"), "true", "and says so");
	is_int(do_("POST", "/made/cas/append-cas", NULL, "c"), 400, "nothing expected");
}

int main(void)
{
	door_open(NULL);
	test_addresses();
	test_snapshots();
	test_bootstrap();
	test_cut();
	test_channels();
	test_buckets();
	test_cas();
	undo();
	door_close("nothing leaks");
	return tap_done();
}
