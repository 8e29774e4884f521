/*
 * test_write.c - creates, appends, closes, deletes: statuses, headers, precedence. Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

static void test_create(void)
{
	door_open(NULL);
	is_int(do_("PUT", "/a", H("content-type: text/plain; charset=utf-8"), NULL), 201, "new");
	is_str(head("content-type"), "text/plain; charset=utf-8", "its type");
	is_str(head("stream-next-offset"), ZERO, "its offset");
	is_str(head("location"), "http://host:1/v1/stream/a", "its place");
	is_str(head("stream-closed"), "(absent)", "open");
	is_int(do_("PUT", "/a", H(TYPE_TEXT), "x"), 200, "again");
	is_str(head("location"), "(absent)", "no place");
	is_str(head("stream-next-offset"), ZERO, "nothing appended");
	is_str(head("content-type"), "text/plain; charset=utf-8", "the type as given at creation");
	is_int(do_("PUT", "/a", H("content-type: text/html"), NULL), 409, "another type");
	is_int(do_("PUT", "/b%20c/%C3%A9", H(TYPE_TEXT, "stream-closed: TRUE"), "abc"), 201, "with data, closed");
	is_str(head("location"), "http://host:1/v1/stream/b%20c/%C3%A9", "the path as sent");
	is_str(head("stream-closed"), "true", "closed");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000008", "behind the data");
	ok(fake_stream(door, "b c/\xc3\xa9") != NULL, "under the decoded name");
	is_int(do_("PUT", "/c", NULL, NULL), 201, "without a type");
	is_str(head("content-type"), "application/octet-stream", "octets");
	is_int(do_("PUT", "/d", H("content-type: nonsense"), NULL), 201, "with a hopeless type");
	is_str(head("content-type"), "application/octet-stream", "octets");
	is_int(do_("PUT", "/e", H(TYPE_TEXT, "stream-closed: yes"), NULL), 201, "not true");
	is_str(head("stream-closed"), "(absent)", "is as good as absent");
	is_int(do_("PUT", "/f", H(TYPE_TEXT, "stream-ttl: 60"), NULL), 201, "with a TTL");
	is_int(fake_stream(door, "f")->ttl_s, 60, "which is passed on");
	is_int(do_("PUT", "/g", H(TYPE_TEXT, "stream-expires-at: 2099-01-01T00:00:00Z"), NULL), 201, "with an instant");
	is_int(fake_stream(door, "g")->expires_ms, 4070908800000, "which is passed on");
	undo();
	door_close("nothing leaks");
}

static void test_create_bad(void)
{
	static const char *const bad[] = {
		"stream-ttl: ",
		"stream-ttl: 01",
		"stream-ttl: -1",
		"stream-ttl: 1.0",
		"stream-ttl: x",
		"stream-ttl: 1 2",
		"stream-ttl: 99999999999999999999",
		"stream-expires-at: tomorrow",
		"stream-expires-at: ",
		"stream-fork-offset: 0000000000000000_0000000000000000",
		"stream-fork-sub-offset: 0",
		"stream-fork-sub-offset: ",
		"stream-fork-sub-offset: 01",
	};
	static const char *const bad_fork[] = {
		"stream-fork-offset: ",       "stream-fork-offset: -1",      "stream-fork-offset: now",
		"stream-fork-offset: 0_0",    "stream-fork-sub-offset: 01",  "stream-fork-sub-offset: ",
		"stream-fork-sub-offset: -1", "stream-fork-sub-offset: 1.5",
	};
	static const char *const bad_from[] = {
		"/v1/stream/%zz",    "/v1/stream/%", "/v1/stream/a%00", "/v1/stream/%ff", "/v1/stream/.",
		"/v1/stream/a/../b", "/v1/stream/",  "/v1/stream/a?x",  "elsewhere",      "",
	};
	char from[64];

	door_open(NULL);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		is_int(do_("PUT", "/a", H(TYPE_TEXT, bad[i]), NULL), 400, bad[i]);
	for (size_t i = 0; i < sizeof bad_fork / sizeof *bad_fork; i++)
		is_int(do_("PUT", "/a", H("stream-forked-from: /v1/stream/s", bad_fork[i]), NULL), 400, bad_fork[i]);
	for (size_t i = 0; i < sizeof bad_from / sizeof *bad_from; i++) {
		snprintf(from, sizeof from, "stream-forked-from: %s", bad_from[i]);
		is_int(do_("PUT", "/a", H(from), NULL), 400, from);
	}
	is_int(do_("PUT", "/a", H("stream-ttl: 1", "stream-expires-at: 2099-01-01T00:00:00Z"), NULL), 400, "both");
	is_int(do_("PUT", "/a", H("stream-ttl: 1", "stream-ttl: 2"), NULL), 400, "twice, different");
	is_int(do_("PUT", "/ok", H("stream-ttl: 1", "stream-ttl: 1"), NULL), 201, "twice, equal");
	is_int(do_("PUT", "/a", H(TYPE_TEXT, "content-encoding: gzip"), "x"), 415, "a content coding");
	is_int(do_("PUT", "/a", H(TYPE_JSON), "{"), 400, "not JSON");
	is_int(do_("PUT", "/a", H(TYPE_JSON), "  "), 400, "blank");
	ok(strstr(body(last), "blank") != NULL, "the body says why");
	is_str(head("cache-control"), "no-store", "errors are not stored");
	is_str(head("content-type"), "text/plain; charset=utf-8", "errors are text");
	ok(!fake_stream(door, "a"), "none of them left a stream");
	is_int(do_("PUT", "/a", H(TYPE_JSON), "[]"), 201, "an empty array is an empty stream");
	is_int(fake_stream(door, "a")->n_record, 0, "without a record");
	undo();
	door_close("nothing leaks");
}

static void test_fork(void)
{
	door_open(NULL);
	do_("PUT", "/s", H("content-type: application/json; v=1"), "[1,2]");
	is_int(do_("PUT", "/f", H("stream-forked-from: /v1/stream/s"), NULL), 201, "a fork");
	is_str(head("content-type"), "application/json; v=1", "inherits the type");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000007", "begins at the tail");
	is_int(do_("PUT", "/f", H("stream-forked-from: /v1/stream/s"), NULL), 200, "word for word again");
	is_int(do_("PUT", "/g", H("stream-forked-from: /v1/stream/%73"), "[3]"), 201,
	       "with data, which is JSON as the source is");
	is_int(fake_stream(door, "g")->n_record, 2, "behind the inherited");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s"), "{"), 400, "with bad data");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/none"), NULL), 404, "of nothing");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/none"), "x"), 404, "of nothing, with data");
	is_int(do_("PUT", "/h", H("stream-forked-from: /elsewhere/s"), NULL), 404, "of what is not below the mount");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s", TYPE_TEXT), NULL), 409, "of another type");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s", "stream-fork-offset: " BEYOND), NULL), 400,
	       "beyond the tail");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s", "stream-fork-sub-offset: 101"), NULL), 400,
	       "sub-offset too far");
	fake_trim(door, "s", 7);
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s", "stream-fork-offset: " ZERO), NULL), 410,
	       "of what was trimmed");
	is_str(head("stream-earliest-offset"), "0000000000000000_0000000000000007", "says from where");
	door->deny = "s";
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s"), NULL), 403, "of what may not be read");
	door->deny = NULL;
	is_int(do_("DELETE", "/s", NULL, NULL), 204, "the source goes");
	is_int(do_("DELETE", "/s", NULL, NULL), 410, "softly");
	is_int(do_("PUT", "/s", H(TYPE_JSON), NULL), 409, "its name is held");
	is_int(do_("PUT", "/h", H("stream-forked-from: /v1/stream/s"), NULL), 409, "it cannot be forked any more");
	is_int(do_("PUT", "/f", H("stream-forked-from: /v1/stream/s"), "x"), 200,
	       "an existing fork is still equal, whatever the body");
	is_str(head("content-type"), "application/json; v=1", "and its type is known");
	undo();
	door_close("nothing leaks");
}

static void test_append(void)
{
	door_open(NULL);
	do_("PUT", "/t", H(TYPE_TEXT), NULL);
	do_("PUT", "/j", H(TYPE_JSON), NULL);
	is_int(do_("POST", "/t", H("content-type: TEXT/plain; x=y"), "abc"), 204, "appended");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000008", "tail");
	is_str(body(last), "", "empty");
	is_int(do_("POST", "/t", H("content-type: text/html"), "abc"), 409, "another type");
	is_int(do_("POST", "/t", NULL, "abc"), 400, "no type");
	is_int(do_("POST", "/t", H("content-type: "), "abc"), 400, "blank type");
	is_int(do_("POST", "/t", H(TYPE_TEXT), NULL), 400, "nothing");
	is_int(do_("POST", "/none", H(TYPE_TEXT), "x"), 404, "nowhere");
	is_int(do_("POST", "/t", H(TYPE_TEXT, "content-encoding: gzip"), "x"), 415, "coded");
	is_int(do_("POST", "/t", H(TYPE_TEXT, "content-encoding: identity"), "x"), 204, "identity is none");
	is_int(do_("POST", "/t", H(TYPE_TEXT, "stream-seq: b"), "x"), 204, "first Stream-Seq");
	is_int(do_("POST", "/t", H(TYPE_TEXT, "stream-seq: b"), "x"), 409, "equal Stream-Seq");
	is_int(do_("POST", "/j", H(TYPE_JSON), " [ 1 , {\"a\": [2]} ,\"x\"] "), 204, "JSON");
	ok(fake_stream(door, "j")->record[0].n_message == 3, "in three messages");
	is_str((char *)fake_stream(door, "j")->record[0].data.data, "1{\"a\": [2]}\"x\"", "stored as they were sent");
	is_int(do_("POST", "/j", H(TYPE_JSON), " 7 "), 204, "one value");
	is_str((char *)fake_stream(door, "j")->record[1].data.data, "7", "without the blanks");
	is_int(do_("POST", "/j", H(TYPE_JSON), "[]"), 400, "nothing in it");
	is_int(do_("POST", "/j", H(TYPE_JSON), "nope"), 400, "not JSON");
	is_int(do_("POST", "/t", H(TYPE_JSON), "nope"), 409, "the type is worse than the content");
	is_int(do_("POST", "/none", H(TYPE_JSON), "nope"), 404, "so is absence");
	is_int(do_("POST", "/t", H(TYPE_TEXT, "stream-closed: false"), NULL), 400, "not closing");
	is_int(do_("POST", "/t", H("content-type: x/y", "stream-closed: True"), NULL), 204,
	       "closing, the type does not matter");
	is_str(head("stream-closed"), "true", "closed");
	is_int(do_("POST", "/t", H("stream-closed: true"), NULL), 204, "closing again");
	is_int(do_("POST", "/t", H(TYPE_JSON, "stream-seq: a"), "{"), 409, "closed is worse than all the rest");
	is_str(head("stream-closed"), "true", "says so");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000020", "and where it ends");
	is_int(do_("POST", "/j", H(TYPE_JSON, "stream-closed: true"), "8"), 204, "data and close");
	is_str(head("stream-closed"), "true", "in one");
	is_int(fake_cell(door, "appends"), 8, "counted");
	undo();
	door_close("nothing leaks");
}

#define PRODUCER(id, epoch, seq) "producer-id: " id, "producer-epoch: " epoch, "producer-seq: " seq

static void test_producer(void)
{
	door_open(NULL);
	do_("PUT", "/p", H(TYPE_TEXT), NULL);
	is_int(do_("POST", "/p", H(TYPE_TEXT, "producer-id: p"), "x"), 400, "incomplete");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("", "0", "0")), "x"), 400, "empty id");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "x", "0")), "x"), 400, "epoch");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "0", "-1")), "x"), 400, "seq");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "0", "9007199254740992")), "x"), 400, "beyond 2^53 - 1");
	is_int(do_("POST", "/p", H(PRODUCER("p", "0", "x"), "stream-closed: true"), NULL), 400, "also for a close");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "3", "1")), "x"), 409, "the first must be 0");
	is_str(head("producer-expected-seq"), "0", "expected");
	is_str(head("producer-received-seq"), "1", "received");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "3", "0")), "x"), 200, "accepted");
	is_str(head("producer-epoch"), "3", "epoch");
	is_str(head("producer-seq"), "0", "seq");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "3", "1")), "x"), 200, "the next");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "3", "0")), "y"), 204, "a duplicate");
	is_str(head("producer-seq"), "1", "is told the highest");
	is_str(head("stream-next-offset"), "0000000000000000_0000000000000012", "and the tail");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "3", "9")), "x"), 409, "a gap");
	is_str(head("producer-expected-seq"), "2", "expected");
	is_str(head("producer-received-seq"), "9", "received");
	is_str(head("stream-closed"), "(absent)", "and open");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "2", "0")), "x"), 403, "stale");
	is_str(head("producer-epoch"), "3", "the current one");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "4", "1")), "x"), 400, "a new epoch begins at 0");
	is_int(do_("POST", "/p", H(PRODUCER("p", "4", "0"), "stream-closed: true"), NULL), 204, "closed by a producer");
	is_str(head("stream-closed"), "true", "closed");
	is_str(head("producer-seq"), "0", "seq");
	is_int(do_("POST", "/p", H(PRODUCER("p", "4", "0"), "stream-closed: true"), NULL), 204, "the same tuple again");
	is_str(head("stream-closed"), "true", "closed");
	is_int(do_("POST", "/p", H(PRODUCER("p", "4", "1"), "stream-closed: true"), NULL), 409, "another tuple");
	is_int(do_("POST", "/p", H(TYPE_TEXT, PRODUCER("p", "0", "0")), "x"), 409, "closed before stale");
	undo();
	door_close("nothing leaks");
}

static void test_remove(void)
{
	door_open(NULL);
	do_("PUT", "/a", H(TYPE_TEXT), "x");
	is_int(do_("DELETE", "/a", NULL, NULL), 204, "deleted");
	is_int(do_("DELETE", "/a", NULL, NULL), 404, "gone");
	is_int(do_("POST", "/a", H("stream-closed: true"), NULL), 404, "to a close too");
	is_int(do_("OPTIONS", "/a", NULL, NULL), 204, "a preflight needs no stream");
	is_str(head("access-control-max-age"), "86400", "and may be kept");
	is_int(door->n_defaults, 6, "every answer has the default headers");
	undo();
	door_close("nothing leaks");
}

/* What the writer may say, and what the client hears. */
static void test_statuses(void)
{
	static const struct {
		int status, reason, http;
	} table[] = {
		{SLUICE_ENOMEM, 0, 503},
		{SLUICE_EINVAL, 0, 400},
		{SLUICE_ENOTSUP, 0, 501},
		{SLUICE_EDENIED, 0, 403},
		{SLUICE_ENOENT, 0, 404},
		{SLUICE_EEXIST, 0, 409},
		{SLUICE_ECLOSED, 0, 409},
		{SLUICE_ETOOBIG, 0, 413},
		{SLUICE_ECONFLICT, 0, 409},
		{SLUICE_ELOST, 0, 504},
		{SLUICE_EINTERNAL, 0, 500},
		{SLUICE_EGONE, 0, 410},
		{SLUICE_EFULL, 0, 507},
		{SLUICE_EBUSY, 0, 503},
		{SLUICE_ECANCELED, 0, 500},
		{SLUICE_ECONFLICT, SLUICE_WHY_TYPE, 409},
		{SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP, 409},
		{SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_FENCED, 403},
		{SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_RESTART, 400},
		{SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ, 409},
		{SLUICE_ECONFLICT, SLUICE_WHY_TAIL, 412},
		{SLUICE_EEXIST, SLUICE_WHY_CONFIG, 409},
		{SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, 410},
		{SLUICE_ENOENT, SLUICE_WHY_FORK_SOURCE, 404},
		{SLUICE_ECONFLICT, SLUICE_WHY_FORK_TYPE, 409},
		{SLUICE_ECONFLICT, SLUICE_WHY_FORK_OFFSET, 400},
		{SLUICE_ECONFLICT, SLUICE_WHY_FORK_SUB, 400},
		{SLUICE_EGONE, SLUICE_WHY_TRIMMED, 410},
		{SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, 400},
		{SLUICE_EDENIED, SLUICE_WHY_RESERVED, 403},
	};

	door_open(NULL);
	do_("PUT", "/a", H(TYPE_TEXT), NULL);
	for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
		door->submit_status = table[i].status;
		door->submit_reason = (uint32_t)table[i].reason;
		is_int(do_("POST", "/a", H(TYPE_TEXT), "x"), table[i].http, "status");
		is_str(head("cache-control"), "no-store", "not stored");
		ok((table[i].http == 503) == (strcmp(head("retry-after"), "1") == 0), "Retry-After with 503 only");
	}
	door->submit_status = SLUICE_EGONE;
	door->submit_reason = SLUICE_WHY_SOFT_DELETED;
	is_int(do_("PUT", "/a", H(TYPE_TEXT), NULL), 409, "a create meets a soft-deleted one with 409");
	undo();
	door_close("nothing leaks");
}

static void test_room(void)
{
	struct sluice_http_req *r[3];

	door_open(NULL);
	do_("PUT", "/j", H(TYPE_JSON), NULL);
	door->full = true;
	r[0] = begin("POST", "/j", H(TYPE_JSON), "[1,2]");
	r[1] = begin("POST", "/j", H(TYPE_JSON), "[3]");
	r[2] = begin("POST", "/j", H(TYPE_JSON), "[4,5,6]");
	ok(fake_open(r[0]) && fake_open(r[2]), "they wait for room");
	ok(door->room != NULL, "which was asked for");
	fake_room(door);
	fake_turn(door);
	ok(fake_open(r[0]) && door->room, "still full: asked again");
	fake_leave(r[1]);
	door->full = false;
	fake_room(door);
	fake_turn(door);
	is_int(r[0]->status, 204, "went through");
	is_int(r[2]->status, 204, "went through");
	is_int(fake_stream(door, "j")->n_record, 2, "the one that left did not");
	is_str((char *)fake_stream(door, "j")->record[0].data.data, "12", "in order");
	is_int(fake_stream(door, "j")->record[1].n_message, 3, "with its own messages");
	for (int i = 0; i < 3; i++)
		fake_http_free(r[i]);
	door->full = true;
	r[0] = begin("POST", "/j", H(TYPE_JSON), "[7]");
	door->full = false;
	r[1] = begin("POST", "/j", H(TYPE_JSON), "[8]");
	ok(fake_open(r[1]), "nobody overtakes those who wait");
	fake_room(door);
	fake_turn(door);
	ok(r[0]->status == 204 && r[1]->status == 204, "both went through");
	is_str((char *)fake_stream(door, "j")->record[2].data.data, "7", "first come");
	is_str((char *)fake_stream(door, "j")->record[3].data.data, "8", "first served");
	for (int i = 0; i < 2; i++)
		fake_http_free(r[i]);
	door->full = true;
	r[0] = begin("POST", "/j", H(TYPE_JSON), "[1,2]");
	fake_http_free(r[0]);
	r[0] = begin("DELETE", "/j", NULL, NULL);
	undo();
	door_close("a request that waits leaks nothing, whoever goes first");
}

static void test_gone_while_waiting(void)
{
	struct sluice_http_req *r;

	door_open(NULL);
	do_("PUT", "/a", H(TYPE_TEXT), NULL);
	door->hold = true;
	r = begin("POST", "/a", H(TYPE_TEXT), "x");
	ok(fake_open(r), "the writer takes its time");
	fake_leave(r);
	door->hold = false;
	fake_turn(door);
	is_int(r->status, 0, "nobody is answered");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

int main(void)
{
	test_create();
	test_create_bad();
	test_fork();
	test_append();
	test_producer();
	test_remove();
	test_statuses();
	test_room();
	test_gone_while_waiting();
	return tap_done();
}
