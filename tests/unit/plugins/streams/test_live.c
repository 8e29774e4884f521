/*
 * test_live.c - long-polls and event streams: parking, waking, sharing, holding back, ending. Tests only.
 */
#include "tests/unit/plugins/streams/door.h"

typedef struct sluice_http_req hreq;

enum { LOTS = 8 };

static void append(const char *target, const char *type, const char *text)
{
	hreq *r = begin("POST", target, H(type), text);

	if (r->status != 204)
		abort();
	fake_http_free(r);
}

static void close_stream(const char *target)
{
	hreq *r = begin("POST", target, H("stream-closed: true"), NULL);

	if (r->status != 204)
		abort();
	fake_http_free(r);
}

static void make(const char *target, const char *type, const char *text)
{
	is_int(do_("PUT", target, H(type), text), 201, "made");
}

static hreq *poll(const char *target)
{
	return begin("GET", target, NULL, NULL);
}

static const char *of(const hreq *r, const char *name)
{
	const char *value = fake_header(r, name);

	return value ? value : "(absent)";
}

/* ---- long-poll ---- */

static void test_poll_at_once(void)
{
	hreq *r;

	door_open(NULL);
	make("/t", TYPE_TEXT, "abc");
	r = poll("/t?live=long-poll&offset=-1");
	is_int(r->status, 200, "data is there");
	is_str(body(r), "abc", "and comes");
	ok(strlen(of(r, "stream-cursor")) > 5, "with a cursor");
	is_str(of(r, "stream-up-to-date"), "true", "up to date");
	ok(of(r, "etag")[0] == '"', "with a tag");
	fake_http_free(r);
	r = poll("/t?live=long-poll&offset=" BEYOND);
	is_int(r->status, 200, "beyond the tail: at once");
	is_str(body(r), "", "nothing");
	fake_http_free(r);
	close_stream("/t");
	r = poll("/t?live=long-poll&offset=now");
	is_int(r->status, 204, "closed: at once");
	is_str(of(r, "stream-closed"), "true", "says so");
	is_str(of(r, "stream-up-to-date"), "true", "up to date");
	is_str(of(r, "stream-next-offset"), "0000000000000000_0000000000000008", "the tail");
	is_str(of(r, "cache-control"), "no-store", "not kept");
	fake_http_free(r);
	is_int(fake_cell(door, "long_polls"), 0, "none waits");
	undo();
	door_close("nothing leaks");
}

static void test_poll_wait(void)
{
	hreq *r[LOTS];

	door_open(H("long_poll_timeout=30s"));
	make("/t", TYPE_TEXT, "abc");
	for (int i = 0; i < LOTS; i++)
		r[i] = poll(i % 2 ? "/t?live=long-poll&offset=now"
		                  : "/t?live=long-poll&offset=0000000000000000_0000000000000008&cursor=1");
	is_int(fake_cell(door, "long_polls"), LOTS, "all wait");
	is_int(door->n_subs, 1, "behind one subscription");
	fake_leave(r[3]);
	append("/t", TYPE_TEXT, "de");
	for (int i = 0; i < LOTS; i++) {
		if (i == 3)
			continue;
		is_int(r[i]->status, 200, "one append serves all");
		is_str(body(r[i]), "de", "with the data");
		is_int(r[i]->shared_writes, 1, "which they share");
		is_str(of(r[i], "stream-next-offset"), "0000000000000000_0000000000000015", "the tail");
	}
	is_int(r[3]->status, 0, "who left is not answered");
	is_int(door->n_subs, 0, "nobody waits any more");
	for (int i = 0; i < LOTS; i++)
		fake_http_free(r[i]);
	undo();
	door_close("nothing leaks");
}

static void test_poll_timeout(void)
{
	hreq *r;

	door_open(H("long_poll_timeout=30s"));
	make("/t", TYPE_TEXT, "abc");
	r = poll("/t?live=long-poll&offset=now&cursor=junk");
	fake_advance(door, 29900);
	ok(fake_open(r), "not yet");
	fake_advance(door, 200);
	is_int(r->status, 204, "time is up");
	is_str(of(r, "stream-next-offset"), "0000000000000000_0000000000000008", "the tail");
	is_str(of(r, "stream-up-to-date"), "true", "up to date");
	is_str(of(r, "stream-closed"), "(absent)", "open");
	ok(strlen(of(r, "stream-cursor")) > 5, "a cursor");
	is_str(of(r, "cache-control"), "no-store", "not kept");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_poll_closing(void)
{
	hreq *r, *s;

	door_open(NULL);
	make("/t", TYPE_TEXT, "abc");
	r = poll("/t?live=long-poll&offset=now");
	close_stream("/t");
	is_int(r->status, 204, "closed while it waits");
	is_str(of(r, "stream-closed"), "true", "says so");
	fake_http_free(r);
	make("/u", TYPE_JSON, "1");
	r = poll("/u?live=long-poll&offset=now");
	s = begin("POST", "/u", H(TYPE_JSON, "stream-closed: true"), "[2,3]");
	fake_http_free(s);
	is_int(r->status, 200, "data and close");
	is_str(body(r), "[2,3]", "the data is not lost");
	is_str(of(r, "stream-closed"), "true", "nor the end");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_poll_removed(void)
{
	hreq *r, *s;

	door_open(NULL);
	make("/t", TYPE_TEXT, "abc");
	r = poll("/t?live=long-poll&offset=now");
	fake_remove(door, "t", false);
	fake_turn(door);
	is_int(r->status, 404, "deleted while it waits");
	fake_http_free(r);
	make("/t", TYPE_TEXT, "abc");
	r = poll("/t?live=long-poll&offset=now");
	fake_remove(door, "t", true);
	fake_turn(door);
	is_int(r->status, 410, "soft-deleted while it waits");
	fake_http_free(r);
	make("/v", TYPE_TEXT, "abc");
	r = poll("/v?live=long-poll&offset=now");
	fake_remove(door, "v", false);
	s = fake_http(door, "PUT", "/v", H(TYPE_TEXT), "wxyz", 4);
	fake_turn(door);
	is_int(r->status, 404, "made anew at once: still gone for this one");
	fake_http_free(s);
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

/* The watch takes long; what happens meanwhile must not be missed. */
static void test_poll_before_watch(void)
{
	hreq *r, *s, *t;

	door_open(NULL);
	make("/t", TYPE_TEXT, "abc");
	door->hold_watches = true;
	r = poll("/t?live=long-poll&offset=now");
	append("/t", TYPE_TEXT, "de");
	ok(fake_open(r), "the append was before the watch");
	door->hold_watches = false;
	fake_turn(door);
	is_int(r->status, 200, "it is seen all the same");
	is_str(body(r), "de", "whole");
	fake_http_free(r);
	door->hold_watches = true;
	r = poll("/t?live=long-poll&offset=now");
	close_stream("/t");
	door->hold_watches = false;
	fake_turn(door);
	is_int(r->status, 204, "so is a close");
	fake_http_free(r);
	make("/v", TYPE_TEXT, "abc");
	door->hold_watches = true;
	r = poll("/v?live=long-poll&offset=now");
	fake_remove(door, "v", false);
	s = fake_http(door, "PUT", "/v", H(TYPE_TEXT), "new", 3);
	fake_turn(door);
	t = poll("/v?live=long-poll&offset=now");
	door->hold_watches = false;
	fake_turn(door);
	is_int(r->status, 404, "and a delete, although there is a successor");
	ok(fake_open(t), "whose readers wait on");
	append("/v", TYPE_TEXT, "!");
	is_str(body(t), "!", "and are served");
	fake_http_free(r);
	fake_http_free(s);
	fake_http_free(t);
	undo();
	door_close("nothing leaks");
}

static void test_poll_large(void)
{
	hreq *r[2];

	door_open(NULL);
	make("/j", TYPE_JSON, "0");
	door->step = 3;
	r[0] = poll("/j?live=long-poll&offset=now");
	r[1] = poll("/j?live=long-poll&offset=now");
	append("/j", TYPE_JSON, "[1111,2222,3333]");
	is_str(body(r[0]), "[1111,2222,3333]", "more than one step: each reads for itself");
	is_str(body(r[1]), "[1111,2222,3333]", "all of it");
	fake_http_free(r[0]);
	fake_http_free(r[1]);
	undo();
	door_close("nothing leaks");
}

/* ---- events ---- */

/* The text of an event stream without what changes from run to run: cursors. */
static const char *events(hreq *r)
{
	static char out[8192];
	const char *p = body(r);
	size_t n = 0;

	while (*p && n < sizeof out - 40) {
		if (strncmp(p, "\"streamCursor\":\"", 16) == 0) {
			p += 16;
			n += (size_t)sprintf(out + n, "\"streamCursor\":\"C");
			p += strspn(p, "0123456789");
		} else if (strncmp(p, "0000000000000000_", 17) == 0) {
			p += 17;
			n += (size_t)sprintf(out + n, "%d", atoi(p));
			p += 16;
		} else {
			out[n++] = *p++;
		}
	}
	out[n] = '\0';
	return out;
}

static void forget(hreq *r)
{
	r->body.len = r->taken = 0;
	if (r->body.data)
		r->body.data[0] = '\0';
}

#define CONTROL(offset) \
	"event: control\ndata:{\"streamNextOffset\":\"" #offset "\",\"streamCursor\":\"C\",\"upToDate\":true}\n\n"
#define CONTROL_BEHIND(offset) "event: control\ndata:{\"streamNextOffset\":\"" #offset "\",\"streamCursor\":\"C\"}\n\n"
#define CONTROL_CLOSED(offset) \
	"event: control\ndata:{\"streamNextOffset\":\"" #offset "\",\"upToDate\":true,\"streamClosed\":true}\n\n"
#define DATA(text) "event: data\ndata:" text "\n\n"

static hreq *sse(const char *target)
{
	return begin("GET", target, H("accept-encoding: gzip"), NULL);
}

static void test_sse_basics(void)
{
	hreq *r;

	door_open(NULL);
	make("/t", TYPE_TEXT, NULL);
	r = sse("/t?live=sse&offset=-1");
	is_int(r->status, 200, "open");
	is_str(of(r, "content-type"), "text/event-stream", "type");
	is_str(of(r, "cache-control"), "no-cache", "no-cache");
	is_str(of(r, "stream-sse-data-encoding"), "(absent)", "text as it is");
	is_int(r->length, -1, "no length");
	ok(!r->gzip, "not compressed");
	is_str(events(r), CONTROL(0), "nothing there: one control");
	append("/t", TYPE_TEXT, "line1\nline2");
	is_str(events(r), CONTROL(0) "event: data\ndata:line1\ndata:line2\n\n" CONTROL(16), "live");
	forget(r);
	append("/t", TYPE_TEXT, "x");
	is_str(events(r), DATA("x") CONTROL(22), "live again");
	forget(r);
	close_stream("/t");
	is_str(events(r), CONTROL_CLOSED(22), "closed");
	ok(r->ended, "ended");
	fake_http_free(r);
	r = sse("/t?live=sse&offset=-1");
	is_str(events(r), "event: data\ndata:line1\ndata:line2x\n\n" CONTROL_CLOSED(22), "all of a closed one");
	ok(r->ended, "ended");
	fake_http_free(r);
	r = sse("/t?live=sse&offset=now");
	is_str(events(r), CONTROL_CLOSED(22), "the tail of a closed one");
	ok(r->ended, "ended");
	fake_http_free(r);
	is_int(fake_cell(door, "sse_readers"), 0, "nobody reads");
	undo();
	door_close("nothing leaks");
}

static void test_sse_kinds(void)
{
	hreq *r;

	door_open(NULL);
	make("/j", TYPE_JSON, "[1,2]");
	r = sse("/j?live=sse&offset=-1");
	is_str(events(r), DATA("[1,2]") CONTROL(7), "JSON: an array");
	append("/j", TYPE_JSON, "[[3],\"4\"]");
	is_str(events(r), DATA("[1,2]") CONTROL(7) DATA("[[3],\"4\"]") CONTROL(18), "and another");
	fake_http_free(r);
	make("/b", "content-type: image/png", "foob");
	r = sse("/b?live=sse&offset=-1");
	is_str(of(r, "stream-sse-data-encoding"), "base64", "binary says how it is coded");
	append("/b", "content-type: image/png", "\xff\xfe");
	is_str(events(r), "event: data\ndata:Zm9v\ndata:Yg==\n\n" CONTROL(9) "event: data\ndata://4=\n\n" CONTROL(16),
	       "base64");
	fake_http_free(r);
	r = sse("/j?live=sse&offset=now");
	is_str(events(r), CONTROL(18), "now: no history");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_sse_shared(void)
{
	hreq *r[LOTS], *own;
	char target[96];

	door_open(NULL);
	make("/t", TYPE_TEXT, "a");
	for (int i = 0; i < LOTS; i++)
		r[i] = sse(i % 2 ? "/t?live=sse&offset=now" : "/t?live=sse&offset=-1&cursor=5");
	snprintf(target, sizeof target, "/t?live=sse&offset=now&cursor=%d", 900000000);
	own = sse(target);
	ok(strstr(body(own), "\"streamCursor\":\"9000000") || strstr(body(own), "\"streamCursor\":\"9000001"),
	   "a cursor ahead moves on");
	for (int i = 0; i < LOTS; i++)
		forget(r[i]);
	forget(own);
	append("/t", TYPE_TEXT, "bc");
	for (int i = 0; i < LOTS; i++) {
		is_str(events(r[i]), DATA("bc") CONTROL(13), "all get it");
		is_int(r[i]->shared_writes, 1, "from one buffer");
	}
	is_str(events(own), DATA("bc") CONTROL(13), "so does the one with a cursor");
	ok(strstr(body(own), "\"streamCursor\":\"90000"), "with a control of its own");
	is_int(own->shared_writes, 1, "but the same data");
	is_int(door->n_bufs, 0, "which is gone when written");
	for (int i = 0; i < LOTS; i++)
		fake_http_free(r[i]);
	fake_http_free(own);
	undo();
	door_close("nothing leaks");
}

static void test_sse_split_characters(void)
{
	hreq *r;

	door_open(H("sse_lifetime=60s"));
	make("/t", TYPE_TEXT, "a");
	r = sse("/t?live=sse&offset=-1");
	append("/t", TYPE_TEXT, "b\xe2");
	append("/t", TYPE_TEXT, "\x82");
	is_str(events(r), DATA("a") CONTROL(6), "half a character is held back");
	append("/t", TYPE_TEXT, "\xac!");
	is_str(events(r), DATA("a") CONTROL(6) DATA("b\xe2\x82\xac!") CONTROL(26), "until its rest is there");
	forget(r);
	append("/t", TYPE_TEXT, "c");
	append("/t", TYPE_TEXT, "d\xc3");
	is_str(events(r), DATA("c") CONTROL(32), "what is whole goes on");
	fake_advance(door, 30000);
	ok(!strstr(events(r), CONTROL(39)) && strstr(events(r), CONTROL_BEHIND(32)),
	   "the offset told stays before what is held");
	forget(r);
	fake_advance(door, 50000);
	ok(strstr(events(r), DATA("d\xc3") CONTROL(39)) != NULL && r->ended, "it is not lost when the connection ends");
	fake_http_free(r);
	r = sse("/t?live=sse&offset=0000000000000000_0000000000000032");
	is_str(events(r), CONTROL_BEHIND(32), "held from the beginning; the client hears where it is all the same");
	close_stream("/t");
	is_str(events(r), CONTROL_BEHIND(32) DATA("d\xc3") CONTROL_CLOSED(39), "nothing can complete it any more");
	ok(r->ended, "ended");
	fake_http_free(r);
	r = sse("/t?live=sse&offset=-1");
	is_str(events(r), DATA("ab\xe2\x82\xac!cd\xc3") CONTROL_CLOSED(39), "caught up in one event");
	fake_http_free(r);
	make("/u", TYPE_TEXT, "x\xc3");
	r = sse("/u?live=sse&offset=-1");
	append("/u", TYPE_TEXT, "y");
	is_str(events(r), CONTROL_BEHIND(0) DATA("x\xc3y") CONTROL(13), "what is no character at all is passed on");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_sse_large(void)
{
	static const char text[] = "one\r\n two\xe2\x82\xac three\r\r\nfour \xf0\x9f\x98\x80";
	static const char want[] =
		DATA("one\ndata:  two\xe2\x82\xac three\ndata:\ndata:four \xf0\x9f\x98\x80") CONTROL(35);
	hreq *r;

	for (size_t step = 1; step <= sizeof text; step++) {
		door_open(NULL);
		make("/t", TYPE_TEXT, NULL);
		door->step = step;
		r = sse("/t?live=sse&offset=-1");
		forget(r);
		append("/t", TYPE_TEXT, text);
		is_str(events(r), want, "a record larger than a step is one event, live");
		fake_http_free(r);
		r = sse("/t?live=sse&offset=-1");
		is_str(events(r), want, "and caught up");
		fake_http_free(r);
		undo();
		door_close("nothing leaks");
	}
}

static void test_sse_large_unfinished(void)
{
	hreq *r;

	door_open(NULL);
	make("/t", TYPE_TEXT, "abcdef\xe2\x82");
	door->step = 3;
	r = sse("/t?live=sse&offset=-1");
	is_str(events(r), "event: data\ndata:abcdef\xe2\x82", "its event stays open");
	fake_advance(door, 30000);
	is_str(events(r), "event: data\ndata:abcdef\xe2\x82", "nothing gets into it");
	append("/t", TYPE_TEXT, "\xac.");
	is_str(events(r), DATA("abcdef\xe2\x82\xac.") CONTROL(20), "until the character is complete");
	fake_http_free(r);
	make("/u", TYPE_TEXT, "abcdef\xe2\x82");
	r = sse("/u?live=sse&offset=-1");
	fake_advance(door, 80000);
	is_str(events(r), DATA("abcdef\xe2\x82") CONTROL(13), "or the connection ends");
	ok(r->ended, "ended");
	fake_http_free(r);
	r = sse("/u?live=sse&offset=-1");
	close_stream("/u");
	is_str(events(r), DATA("abcdef\xe2\x82") CONTROL_CLOSED(13), "or the stream does");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_sse_lifetime(void)
{
	hreq *r[LOTS];
	int early = 0, late = 0;

	door_open(H("sse_lifetime=60s"));
	make("/t", TYPE_TEXT, "a");
	for (int i = 0; i < LOTS; i++)
		r[i] = sse("/t?live=sse&offset=-1");
	fake_advance(door, 15000);
	is_str(events(r[0]), DATA("a") CONTROL(6), "quiet");
	fake_advance(door, 15000);
	ok(strcmp(events(r[0]), DATA("a") CONTROL(6) CONTROL(6)) == 0, "a sign of life after 15 to 30 seconds");
	fake_advance(door, 17900);
	for (int i = 0; i < LOTS; i++)
		early += r[i]->ended;
	is_int(early, 0, "nobody ends before four fifths");
	fake_advance(door, 24300);
	for (int i = 0; i < LOTS; i++) {
		size_t n = strlen(events(r[i])), k = strlen(CONTROL(6));

		late += !r[i]->ended;
		is_str(events(r[i]) + n - k, CONTROL(6), "ended behind a control event");
	}
	is_int(late, 0, "everybody does by six fifths");
	for (int i = 0; i < LOTS; i++)
		fake_http_free(r[i]);
	undo();
	door_close("nothing leaks");
}

static void test_sse_removed(void)
{
	hreq *r;

	door_open(NULL);
	make("/t", TYPE_TEXT, "a");
	r = sse("/t?live=sse&offset=-1");
	fake_remove(door, "t", false);
	fake_turn(door);
	ok(r->ended && !r->reset, "deleted: the answer ends");
	is_str(events(r), DATA("a") CONTROL(6), "without a word");
	fake_http_free(r);
	make("/v", TYPE_TEXT, "a");
	r = sse("/v?live=sse&offset=-1");
	door->hold_watches = true;
	fake_remove(door, "v", false);
	fake_http_free(fake_http(door, "PUT", "/v", H(TYPE_TEXT), "successor", 9));
	fake_turn(door);
	ok(r->ended, "made anew: ended too");
	ok(!strstr(body(r), "successor"), "nothing of the successor");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

static void test_sse_trimmed(void)
{
	hreq *r;

	door_open(NULL);
	make("/t", TYPE_TEXT, "a");
	r = sse("/t?live=sse&offset=-1");
	r->slow = true;
	fake_bytes_add(&r->body, "", 0);
	r->taken = 0;
	/* A client that takes nothing while its history is trimmed away. */
	for (int i = 0; i < 40; i++) {
		static char text[16384];

		memset(text, 'x', sizeof text - 1);
		append("/t", TYPE_TEXT, text);
	}
	fake_trim(door, "t", fake_stream(door, "t")->tail);
	fake_take(r, SIZE_MAX / 2);
	fake_turn(door);
	ok(r->ended && !r->reset, "its place is gone: the answer ends behind a control event");
	fake_http_free(r);
	undo();
	door_close("nothing leaks");
}

/* A slow client is never given more than its connection takes, and catches up from its own offset. */
static void test_sse_slow(void)
{
	static char text[20001];
	hreq *slow, *fast;
	size_t most = 0, total = 0;

	memset(text, 'q', 20000);
	door_open(NULL);
	make("/t", TYPE_TEXT, "a");
	slow = sse("/t?live=sse&offset=now");
	fast = sse("/t?live=sse&offset=now");
	slow->slow = true;
	for (int i = 0; i < 100; i++) {
		append("/t", TYPE_TEXT, text);
		if (slow->body.len - slow->taken > most)
			most = slow->body.len - slow->taken;
	}
	ok(most < 600 * 1024, "what waits for the slow one is bounded");
	ok(fast->body.len > 2000000, "the fast one has everything");
	while (slow->taken < slow->body.len) {
		fake_take(slow, 50000);
		fake_turn(door);
	}
	for (const char *p = body(slow); (p = strchr(p, 'q')); p++)
		total++;
	is_int(total, 2000000, "the slow one gets everything in the end");
	append("/t", TYPE_TEXT, "end");
	ok(strstr(body(slow), DATA("end")) != NULL, "and is live again");
	fake_http_free(slow);
	fake_http_free(fast);
	undo();
	door_close("nothing leaks");
}

static void test_mixed(void)
{
	hreq *r, *p;

	door_open(NULL);
	make("/t", TYPE_TEXT, "a\xc3");
	r = sse("/t?live=sse&offset=-1");
	p = poll("/t?live=long-poll&offset=now");
	append("/t", TYPE_TEXT, "\xa9");
	is_str(body(p), "\xa9", "a poll stands behind what events hold back");
	is_str(events(r), CONTROL_BEHIND(0) DATA("a\xc3\xa9") CONTROL(13), "both are served");
	fake_http_free(r);
	fake_http_free(p);
	undo();
	door_close("nothing leaks");
}

static void test_drain(void)
{
	hreq *p, *r, *h, *s;

	door_open(NULL);
	make("/t", TYPE_TEXT, "a");
	make("/h", TYPE_TEXT, "b\xc3");
	undo();
	p = poll("/t?live=long-poll&offset=now");
	r = sse("/t?live=sse&offset=now");
	h = sse("/h?live=sse&offset=-1");
	door->plugin->drain(door->self, 1000);
	fake_turn(door);
	is_int(p->status, 204, "long-polls end as if their time were up");
	ok(r->ended, "event streams end");
	is_str(events(r), CONTROL(6) CONTROL(6), "behind a control event");
	is_str(events(h), CONTROL_BEHIND(0) DATA("b\xc3") CONTROL(7), "what was held back is sent");
	ok(h->ended, "ended");
	ok(door->drained, "then it is idle");
	s = poll("/t?live=long-poll&offset=now");
	is_int(s->status, 204, "who comes now does not wait");
	fake_http_free(s);
	s = sse("/t?live=sse&offset=-1");
	is_str(events(s), DATA("a") CONTROL(6), "gets what there is");
	ok(s->ended, "and no more");
	fake_http_free(s);
	fake_http_free(p);
	fake_http_free(r);
	fake_http_free(h);
	door_close("nothing leaks");
}

/* The hub knows of more, but its read is under way: nobody is told that he is up to date. */
static void test_sse_truthful(void)
{
	hreq *r;

	door_open(H("sse_lifetime=60s"));
	make("/t", TYPE_TEXT, "a");
	undo();
	r = sse("/t?live=sse&offset=-1");
	door->hold_reads = true;
	append("/t", TYPE_TEXT, "b");
	fake_advance(door, 30000);
	is_str(events(r), DATA("a") CONTROL(6) CONTROL_BEHIND(6), "a sign of life meanwhile says so");
	door->plugin->drain(door->self, 1000);
	fake_turn(door);
	ok(r->ended, "the end comes at once");
	is_str(events(r), DATA("a") CONTROL(6) CONTROL_BEHIND(6) CONTROL_BEHIND(6),
	       "and so does the last control event");
	door->hold_reads = false;
	fake_turn(door);
	fake_http_free(r);
	door_close("nothing leaks");
}

static void test_many_streams(void)
{
	hreq *r[200];
	char target[64];

	door_open(NULL);
	for (int i = 0; i < 200; i++) {
		snprintf(target, sizeof target, "/s%d", i);
		if (do_("PUT", target, H(TYPE_TEXT), "x") != 201)
			abort();
		snprintf(target, sizeof target, "/s%d?live=long-poll&offset=now", i);
		r[i] = poll(target);
	}
	is_int(door->n_subs, 200, "a subscription each");
	append("/s77", TYPE_TEXT, "y");
	for (int i = 0; i < 200; i++)
		if (fake_open(r[i]) == (i == 77))
			ok(0, "only its own readers are woken");
	is_str(body(r[77]), "y", "they are");
	undo();
	door_close("nothing leaks, readers parked");
}

int main(void)
{
	test_poll_at_once();
	test_poll_wait();
	test_poll_timeout();
	test_poll_closing();
	test_poll_removed();
	test_poll_before_watch();
	test_poll_large();
	test_sse_basics();
	test_sse_kinds();
	test_sse_shared();
	test_sse_split_characters();
	test_sse_large();
	test_sse_large_unfinished();
	test_sse_lifetime();
	test_sse_removed();
	test_sse_trimmed();
	test_sse_slow();
	test_mixed();
	test_drain();
	test_sse_truthful();
	test_many_streams();
	return tap_done();
}
