/*
 * test_read.c - catch-up reads, HEAD, conditional requests, long answers, the listing. Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

static void append(const char *target, const char *type, const char *text)
{
	struct sluice_http_req *r = begin("POST", target, H(type), text);

	if (r->status != 204)
		abort();
	fake_http_free(r);
}

static const char *const ends[] = {ZERO, "0000000000000000_0000000000000006", "0000000000000000_0000000000000013"};

static void test_catch_up(void)
{
	char target[128];

	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), "a");
	append("/t", TYPE_TEXT, "bc");
	is_int(do_("GET", "/t", NULL, NULL), 200, "all");
	is_str(body(last), "abc", "of it");
	is_str(head("stream-next-offset"), ends[2], "the tail");
	is_str(head("stream-up-to-date"), "true", "up to date");
	is_str(head("stream-closed"), "(absent)", "open");
	is_str(head("content-type"), "text/plain", "type");
	is_str(head("cache-control"), "public, max-age=60, stale-while-revalidate=300", "may be kept");
	is_str(head("vary"), "accept-encoding", "depends on it");
	is_str(head("stream-cursor"), "(absent)", "no cursor");
	is_int(do_("GET", "/t?offset=-1&unknown=1", NULL, NULL), 200, "-1 is the beginning");
	is_str(body(last), "abc", "of it");
	snprintf(target, sizeof target, "/t?offset=%s", ends[1]);
	is_int(do_("GET", target, NULL, NULL), 200, "from a boundary");
	is_str(body(last), "bc", "the rest");
	is_int(do_("GET", "/t?offset=0000000000000000_0000000000000007", NULL, NULL), 200, "from a boundary + 1");
	is_str(body(last), "bc", "the whole append");
	snprintf(target, sizeof target, "/t?offset=%s", ends[2]);
	is_int(do_("GET", target, NULL, NULL), 200, "from the tail");
	is_str(body(last), "", "nothing");
	is_str(head("stream-up-to-date"), "true", "up to date");
	is_int(do_("GET", "/t?offset=" BEYOND, NULL, NULL), 200, "from beyond");
	is_str(body(last), "", "nothing");
	is_str(head("stream-next-offset"), ends[2], "the tail");
	is_int(do_("GET", "/t?offset=now", NULL, NULL), 200, "from now");
	is_str(body(last), "", "nothing");
	is_str(head("cache-control"), "no-store", "not to be kept");
	is_str(head("etag"), "(absent)", "no tag");
	do_("POST", "/t", H("stream-closed: true"), NULL);
	is_int(do_("GET", "/t", NULL, NULL), 200, "closed");
	is_str(head("stream-closed"), "true", "says so");
	is_int(do_("HEAD", "/t", NULL, NULL), 200, "HEAD");
	is_str(head("stream-closed"), "true", "closed");
	is_str(head("stream-next-offset"), ends[2], "tail");
	is_str(head("cache-control"), "no-store", "not to be kept");
	is_str(body(last), "", "no body");
	undo();
	door_close("nothing leaks");
}

static void test_chunks(void)
{
	door_open(H("read_chunk=4"));
	do_("PUT", "/t", H(TYPE_TEXT), "abc");
	append("/t", TYPE_TEXT, "de");
	append("/t", TYPE_TEXT, "fghijk");
	is_int(do_("GET", "/t", NULL, NULL), 200, "the first chunk");
	is_str(body(last), "abc", "a whole append");
	is_str(head("stream-up-to-date"), "(absent)", "not up to date");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000008", "goes on here");
	is_int(do_("GET", "/t?offset=0000000000000000_0000000000000015", NULL, NULL), 200, "one larger than a chunk");
	is_str(body(last), "fghijk", "is whole");
	is_str(head("stream-up-to-date"), "true", "and the last");
	undo();
	door_close("nothing leaks");
}

static void test_json(void)
{
	door_open(NULL);
	do_("PUT", "/j", H(TYPE_JSON), NULL);
	is_int(do_("GET", "/j", NULL, NULL), 200, "empty");
	is_str(body(last), "[]", "array");
	is_int(do_("GET", "/j?offset=now", NULL, NULL), 200, "now");
	is_str(body(last), "[]", "array");
	append("/j", TYPE_JSON, "[1, {\"a\":2}]");
	append("/j", TYPE_JSON, "\"x\"");
	is_int(do_("GET", "/j", NULL, NULL), 200, "all");
	is_str(body(last), "[1,{\"a\":2},\"x\"]", "one array");
	undo();
	door_close("nothing leaks");
}

/* Every step size gives the same bytes. */
static void test_steps(void)
{
	char want[256] = "[";

	for (size_t step = 1; step <= 24; step++) {
		door_open(NULL);
		do_("PUT", "/j", H(TYPE_JSON), "[11,22,\"three\"]");
		append("/j", TYPE_JSON, "{\"n\":[4,4]}");
		append("/j", TYPE_JSON, "[5,66]");
		door->step = step;
		snprintf(want, sizeof want, "[11,22,\"three\",{\"n\":[4,4]},5,66]");
		is_int(do_("GET", "/j", NULL, NULL), 200, "in steps");
		is_str(body(last), want, "the same array");
		is_int(last->length, (long long)strlen(want), "of the announced length");
		undo();
		door_close("nothing leaks");
	}
}

static void test_cut(void)
{
	struct sluice_http_req *r;

	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), "abcdefgh");
	door->step = 3;
	r = fake_http(door, "GET", "/t", NULL, NULL, 0);
	r->slow = true;
	fake_store_turn(door, &(bool){false});
	ok(r->responded && !r->ended, "a long answer has begun");
	fake_remove(door, "t", false);
	fake_turn(door);
	ok(r->reset && !r->ended, "its stream goes: cut off");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_refusals(void)
{
	static const char *const bad[] = {"offset=",
	                                  "offset=x",
	                                  "offset=-1&offset=-1",
	                                  "offset=0_0",
	                                  "offset=-2",
	                                  "offset=%00",
	                                  "live=sse",
	                                  "live=long-poll",
	                                  "offset=-1&live=",
	                                  "offset=-1&live=yes",
	                                  "offset=-1&live=sse&live=sse",
	                                  "offset=0000000000000000%2C0000000000000000"};
	char target[128];

	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), "x");
	do_("PUT", "/soft", H(TYPE_TEXT), "x");
	do_("PUT", "/fork", H("stream-forked-from: /v1/stream/soft"), NULL);
	do_("DELETE", "/soft", NULL, NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(target, sizeof target, "/t?%s", bad[i]);
		is_int(do_("GET", target, NULL, NULL), 400, target);
		is_str(head("cache-control"), "no-store", "not stored");
		snprintf(target, sizeof target, "/none?%s", bad[i]);
		is_int(do_("GET", target, NULL, NULL), 404, target);
		snprintf(target, sizeof target, "/soft?%s", bad[i]);
		is_int(do_("GET", target, NULL, NULL), 410, target);
	}
	is_int(do_("HEAD", "/none", NULL, NULL), 404, "HEAD of nothing");
	is_int(do_("HEAD", "/soft", NULL, NULL), 410, "HEAD of a soft-deleted one");
	is_int(do_("HEAD", "/t?offset=x", NULL, NULL), 200, "HEAD has no offset");
	door->read_status = SLUICE_EBUSY;
	is_int(do_("GET", "/t", NULL, NULL), 503, "overload");
	is_str(head("retry-after"), "1", "says when");
	undo();
	door_close("nothing leaks");
}

static void test_trimmed(void)
{
	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), "a");
	append("/t", TYPE_TEXT, "bc");
	fake_trim(door, "t", 6);
	is_int(do_("GET", "/t?offset=" ZERO, NULL, NULL), 410, "before what is kept");
	is_str(head("stream-earliest-offset"), ends[1], "says from where");
	is_int(do_("GET", "/t?offset=-1", NULL, NULL), 200, "-1 is what is left");
	is_str(body(last), "bc", "of it");
	is_int(do_("GET", "/t", NULL, NULL), 200, "none too");
	is_int(do_("GET", "/t?offset=now", NULL, NULL), 200, "now");
	is_int(do_("HEAD", "/t", NULL, NULL), 200, "HEAD");
	is_int(do_("GET", "/t?live=sse&offset=" ZERO, NULL, NULL), 410, "live");
	is_int(do_("GET", "/t?live=long-poll&offset=" ZERO, NULL, NULL), 410, "live");
	fake_trim(door, "t", 13);
	is_int(do_("GET", "/t?offset=-1", NULL, NULL), 200, "all is trimmed");
	is_str(body(last), "", "nothing left");
	undo();
	door_close("nothing leaks");
}

static void test_conditional(void)
{
	char tag[128], header[256];

	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), "a");
	do_("GET", "/t", NULL, NULL);
	snprintf(tag, sizeof tag, "%s", head("etag"));
	ok(tag[0] == '"', "a strong tag");
	snprintf(header, sizeof header, "if-none-match: \"x\", W/%s", tag);
	is_int(do_("GET", "/t", H(header), NULL), 304, "known");
	is_str(head("etag"), tag, "tag");
	is_str(head("stream-next-offset"), ends[1], "offset");
	is_str(head("stream-up-to-date"), "true", "up to date");
	is_str(head("cache-control"), "public, max-age=60, stale-while-revalidate=300", "may be kept on");
	is_str(head("vary"), "accept-encoding", "vary");
	is_str(body(last), "", "no body");
	is_int(do_("GET", "/t", H("if-none-match: *"), NULL), 304, "any");
	is_int(do_("GET", "/t", H("if-none-match: \"a\"", "if-none-match: *"), NULL), 304, "in a second line");
	is_int(do_("GET", "/t?offset=now", H("if-none-match: *"), NULL), 200, "now is never known");
	append("/t", TYPE_TEXT, "bc");
	is_int(do_("GET", "/t", H(header), NULL), 200, "more data");
	do_("GET", "/t", NULL, NULL);
	snprintf(header, sizeof header, "if-none-match: %s", head("etag"));
	do_("POST", "/t", H("stream-closed: true"), NULL);
	is_int(do_("GET", "/t", H(header), NULL), 200, "closed meanwhile");
	do_("GET", "/t", NULL, NULL);
	snprintf(header, sizeof header, "if-none-match: %s", head("etag"));
	is_int(do_("GET", "/t", H(header), NULL), 304, "known closed");
	is_str(head("stream-closed"), "true", "says so");
	do_("DELETE", "/t", NULL, NULL);
	do_("PUT", "/t", H(TYPE_TEXT, "stream-closed: true"), "a");
	snprintf(header, sizeof header, "if-none-match: %s", tag);
	is_int(do_("GET", "/t", H(header), NULL), 200, "another stream of that name");
	undo();
	door_close("nothing leaks");
}

static void test_compression(void)
{
	static char text[2000];
	char header[256];

	memset(text, 'x', sizeof text - 1);
	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), text);
	do_("PUT", "/small", H(TYPE_TEXT), "x");
	do_("PUT", "/png", H("content-type: image/png"), text);
	is_int(do_("GET", "/t", H("accept-encoding: gzip"), NULL), 200, "compressed");
	ok(last->gzip && strstr(head("etag"), ";gzip\""), "with a tag of its own");
	snprintf(header, sizeof header, "if-none-match: %s", head("etag"));
	is_int(do_("GET", "/t", H(header), NULL), 304, "known in that coding");
	do_("GET", "/t", NULL, NULL);
	ok(!last->gzip && !strstr(head("etag"), "gzip"), "not asked for");
	do_("GET", "/small", H("accept-encoding: gzip"), NULL);
	ok(!last->gzip, "too small");
	is_str(head("vary"), "accept-encoding", "varies all the same");
	do_("GET", "/png", H("accept-encoding: gzip"), NULL);
	ok(!last->gzip, "compressed already");
	is_str(head("vary"), "(absent)", "never varies");
	undo();
	door_close("nothing leaks");
	door_open(H("compression=false"));
	do_("PUT", "/t", H(TYPE_TEXT), text);
	do_("GET", "/t", H("accept-encoding: gzip"), NULL);
	ok(!last->gzip && strcmp(head("vary"), "(absent)") == 0, "switched off");
	undo();
	door_close("nothing leaks");
}

static void test_expiry(void)
{
	door_open(NULL);
	do_("PUT", "/ttl", H(TYPE_TEXT, "stream-ttl: 20"), "x");
	is_int(do_("GET", "/ttl", NULL, NULL), 200, "with a TTL");
	is_str(head("cache-control"), "public, max-age=20, stale-while-revalidate=0", "not kept longer than it lives");
	is_int(do_("HEAD", "/ttl", NULL, NULL), 200, "HEAD");
	is_str(head("stream-ttl"), "20", "the configured one");
	do_("PUT", "/at", H(TYPE_TEXT, "stream-expires-at: 2027-01-15T08:00:30+00:00"), "x");
	is_int(do_("GET", "/at", NULL, NULL), 200, "with an instant");
	is_str(head("cache-control"), "public, max-age=30, stale-while-revalidate=0", "not kept beyond it");
	is_int(do_("HEAD", "/at", NULL, NULL), 200, "HEAD");
	is_str(head("stream-expires-at"), "2027-01-15T08:00:30.000Z", "the instant");
	undo();
	door_close("nothing leaks");
}

static void test_list(void)
{
	door_open(NULL);
	do_("PUT", "/a/1", H(TYPE_TEXT), "x");
	do_("PUT", "/a/%22", H(TYPE_JSON, "stream-closed: true"), NULL);
	do_("PUT", "/a/secret", H(TYPE_TEXT), NULL);
	do_("PUT", "/b", H(TYPE_TEXT), NULL);
	is_int(do_("GET", "/__ds/streams?prefix=a/&limit=2", NULL, NULL), 200, "a page");
	is_str(head("content-type"), "application/json", "JSON");
	is_str(body(last),
	       "{\"streams\":[{\"name\":\"a/\\\"\",\"contentType\":\"application/json\",\"tailOffset\":\"" ZERO
	       "\",\"earliestOffset\":\"" ZERO
	       "\",\"createdAt\":\"2027-01-15T08:00:00.000Z\",\"closed\":true},{\"name\":\"a/1\",\"contentType\":\"text/plain\",\"tailOffset\":\""
	       "0000000000000000_0000000000000006\",\"earliestOffset\":\"" ZERO
	       "\",\"createdAt\":\"2027-01-15T08:00:00.000Z\",\"closed\":false}],\"next\":\"a/1\"}",
	       "its entries");
	is_int(do_("GET", "/__ds/streams?prefix=a/&after=a/1", NULL, NULL), 200, "the next");
	ok(strstr(body(last), "a/secret") && !strstr(body(last), "next"), "is the last");
	door->deny = "a/secret";
	do_("GET", "/__ds/streams?prefix=a/&after=a/1", NULL, NULL);
	is_str(body(last), "{\"streams\":[]}", "what may not be read is not listed");
	for (fake_who = SLUICE_WHO_ANYBODY; fake_who <= SLUICE_WHO_EXPIRED; fake_who++)
		is_int(do_("GET", "/__ds/streams", NULL, NULL), fake_who == SLUICE_WHO_ANYBODY ? 200 : 401,
		       "whoever needs a token and has none, or a bad one, is told so");
	fake_who = SLUICE_WHO_ANYBODY;
	is_int(do_("GET", "/__ds/streams?limit=0", NULL, NULL), 400, "limit");
	is_int(do_("GET", "/__ds/streams?limit=1001", NULL, NULL), 400, "limit");
	is_int(do_("GET", "/__ds/streams?limit=x", NULL, NULL), 400, "limit");
	is_int(do_("GET", "/__ds/streams?prefix=%ff", NULL, NULL), 400, "prefix");
	is_str(body(last),
	       "{\"error\":{\"code\":\"INVALID_REQUEST\",\"message\":\"prefix and after are the beginnings of names\"}}",
	       "JSON error");
	for (size_t i = 0; i < 5; i++) {
		static const char *const methods[] = {"GET", "PUT", "POST", "DELETE", "HEAD"};

		is_int(do_(methods[i], "/__ds/other", H(TYPE_TEXT), NULL), 404, "nothing else is there");
		is_int(do_(methods[i], "/__ds", H(TYPE_TEXT), NULL), 404, "nor is the prefix itself");
	}
	is_int(do_("PUT", "/foo/__ds/bar", H(TYPE_TEXT), NULL), 201, "further down it is an ordinary name");
	is_int(do_("PUT", "/__dsx", H(TYPE_TEXT), NULL), 201, "and so is a longer one");
	door->read_status = SLUICE_EINTERNAL;
	is_int(do_("GET", "/__ds/streams", NULL, NULL), 503, "trouble");
	undo();
	door_close("nothing leaks");
}

static void test_configure(void)
{
	door_open(H("retention[+].prefix=log/", "retention[].max_bytes=4K",
	            "retention[+].prefix=", "retention[].max_age=2h"));
	is_int(door->n_rule, 2, "two rules");
	ok(door->rule[0].prefix.len == 4 && door->rule[0].max_bytes == 4096 && door->rule[0].max_age_ms == 0,
	   "the first");
	ok(door->rule[1].prefix.len == 0 && door->rule[1].max_age_ms == 7200000, "the second");
	door_close("nothing leaks");
	ok(!fake_new(&sluice_plugin_v1, H("retention[+].prefix=a")), "a rule without a bound is refused");
	ok(!fake_new(&sluice_plugin_v1, H("cache_control=a\nb")), "so is a header that is none");
}

int main(void)
{
	test_catch_up();
	test_chunks();
	test_json();
	test_steps();
	test_cut();
	test_refusals();
	test_trimmed();
	test_conditional();
	test_compression();
	test_expiry();
	test_list();
	test_configure();
	return tap_done();
}
