/*
 * test_refuse.c - everything HTTP/1.1 that must be refused, with which status, and that the connection is then over.
 * Unit test.
 */
#include <unistd.h>

#include "tests/unit/frontend/http/harness.h"

#define HOST "Host: h\r\n"
#define POST(headers, body) "POST /t/echo HTTP/1.1\r\nHost: h\r\n" headers "\r\n" body

struct bad {
	const char *name, *text;
	int status;
	bool closes;
};

static const struct bad cases[] = {
	{"no Host", "GET /t/hello HTTP/1.1\r\n\r\n", 400, true},
	{"two Hosts", "GET /t/hello HTTP/1.1\r\n" HOST HOST "\r\n", 400, true},
	{"Host with a path", "GET /t/hello HTTP/1.1\r\nHost: a/b\r\n\r\n", 400, true},
	{"Host with user information", "GET /t/hello HTTP/1.1\r\nHost: a@b\r\n\r\n", 400, true},
	{"length and chunked", POST("Content-Length: 3\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 400, true},
	{"chunked and length", POST("Transfer-Encoding: chunked\r\nContent-Length: 3\r\n", "0\r\n\r\n"), 400, true},
	{"two lengths", POST("Content-Length: 3\r\nContent-Length: 4\r\n", "abcd"), 400, true},
	{"two equal lengths", POST("Content-Length: 3\r\nContent-Length: 3\r\n", "abc"), 400, true},
	{"list of lengths", POST("Content-Length: 3, 3\r\n", "abc"), 400, true},
	{"signed length", POST("Content-Length: +3\r\n", "abc"), 400, true},
	{"negative length", POST("Content-Length: -3\r\n", "abc"), 400, true},
	{"hex length", POST("Content-Length: 0x3\r\n", "abc"), 400, true},
	{"empty length", POST("Content-Length:\r\n", "abc"), 400, true},
	{"huge length", POST("Content-Length: 99999999999999999999999\r\n", ""), 400, true},
	{"gzip coding", POST("Transfer-Encoding: gzip, chunked\r\n", "0\r\n\r\n"), 501, true},
	{"identity coding", POST("Transfer-Encoding: identity\r\n", ""), 501, true},
	{"chunked twice", POST("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", "0\r\n\r\n"), 501, true},
	{"chunked with vertical tab",
         POST("Transfer-Encoding: \x0b"
              "chunked\r\n",
              "0\r\n\r\n"),
         400, true},
	{"chunked in HTTP/1.0", "POST /t/echo HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400, true},
	{"folded line", "GET /t/hello HTTP/1.1\r\n" HOST "X: a\r\n b\r\n\r\n", 400, true},
	{"folded first line", "GET /t/hello HTTP/1.1\r\n Host: h\r\n\r\n", 400, true},
	{"bare LF", "GET /t/hello HTTP/1.1\n" HOST "\r\n", 400, true},
	{"bare LF in the middle", "GET /t/hello HTTP/1.1\r\n" HOST "X: y\n\r\n", 400, true},
	{"bare CR", "GET /t/hello HTTP/1.1\r\n" HOST "X: a\rb\r\n\r\n", 400, true},
	{"space before colon", "GET /t/hello HTTP/1.1\r\n" HOST "X : y\r\n\r\n", 400, true},
	{"space in a name", "GET /t/hello HTTP/1.1\r\n" HOST "X y: z\r\n\r\n", 400, true},
	{"no colon", "GET /t/hello HTTP/1.1\r\n" HOST "nonsense\r\n\r\n", 400, true},
	{"empty name", "GET /t/hello HTTP/1.1\r\n" HOST ": x\r\n\r\n", 400, true},
	{"control in a value",
         "GET /t/hello HTTP/1.1\r\n" HOST "X: a\x01"
         "b\r\n\r\n",
         400, true},
	{"unknown method", "FOO /t/hello HTTP/1.1\r\n" HOST "\r\n", 501, true},
	{"lower-case method", "get /t/hello HTTP/1.1\r\n" HOST "\r\n", 400, true},
	{"CONNECT", "CONNECT h:1 HTTP/1.1\r\n" HOST "\r\n", 400, true},
	{"HTTP/2.0 by name", "GET /t/hello HTTP/2.0\r\n" HOST "\r\n", 505, true},
	{"no version", "GET /t/hello\r\n" HOST "\r\n", 400, true},
	{"garbage", "\x16\x03\x01\x02\r\n\r\n", 400, true},
	{"raw UTF-8 in the target", "GET /t/show/\xc3\xa4 HTTP/1.1\r\n" HOST "\r\n", 400, true},
	{"fragment", "GET /t/hello#x HTTP/1.1\r\n" HOST "\r\n", 400, true},
	{"relative target", "GET t/hello HTTP/1.1\r\n" HOST "\r\n", 400, true},
	{"other expectation", POST("Expect: tea\r\nContent-Length: 3\r\n", "abc"), 417, true},
	{"bad escape", "GET /t/show/%4 HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"NUL", "GET /t/show/a%00 HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"not UTF-8", "GET /t/show/%ff HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"dot segment", "GET /t/show/a/../b HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"dot segment in disguise", "GET /t/show/a/%2e%2E HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"single dot", "GET /t/show/%2e/x HTTP/1.1\r\n" HOST "\r\n", 400, false},
	{"unknown path", "GET /t/nothing HTTP/1.1\r\n" HOST "\r\n", 404, false},
	{"outside of every mount", "GET /u HTTP/1.1\r\n" HOST "\r\n", 404, false},
	{"prefix of a mount's name", "GET /tt/hello HTTP/1.1\r\n" HOST "\r\n", 404, false},
	{"method not allowed", "DELETE /t/hello HTTP/1.1\r\n" HOST "\r\n", 405, false},
	{"method not allowed, with a short body", "POST /t/hello HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", 405,
         false},
	{"body too large", "POST /t/tiny HTTP/1.1\r\n" HOST "Content-Length: 11\r\n\r\n12345678901", 413, false},
	{"body much too large", POST("Content-Length: 100000000\r\n", ""), 413, true},
	{"body too large, expecting", POST("Content-Length: 100000000\r\nExpect: 100-continue\r\n", ""), 413, true},
	{"chunked body too large",
         "POST /t/tiny HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\nb\r\n12345678901\r\n0\r\n\r\n", 413, true},
	{"bad chunk size", POST("Transfer-Encoding: chunked\r\n", "x\r\n\r\n"), 400, true},
	{"chunk size with 0x", POST("Transfer-Encoding: chunked\r\n", "0x3\r\nabc\r\n0\r\n\r\n"), 400, true},
	{"space behind a chunk size", POST("Transfer-Encoding: chunked\r\n", "3 \r\nabc\r\n0\r\n\r\n"), 400, true},
	{"chunk size line with LF", POST("Transfer-Encoding: chunked\r\n", "3\nabc\r\n0\r\n\r\n"), 400, true},
	{"chunk size line with CR alone", POST("Transfer-Encoding: chunked\r\n", "3\rXabc\r\n0\r\n\r\n"), 400, true},
	{"chunk not ended", POST("Transfer-Encoding: chunked\r\n", "3\r\nabcXX0\r\n\r\n"), 400, true},
	{"LF in an extension", POST("Transfer-Encoding: chunked\r\n", "3;a=\"\n\"\r\nabc\r\n0\r\n\r\n"), 400, true},
	{"endless chunk size", POST("Transfer-Encoding: chunked\r\n", "00000000000000003\r\nabc\r\n0\r\n\r\n"), 400,
         true},
	{"folded trailer", POST("Transfer-Encoding: chunked\r\n", "0\r\nA: b\r\n c\r\n\r\n"), 400, true},
	{"trailer with LF", POST("Transfer-Encoding: chunked\r\n", "0\r\nA: b\n\r\n"), 400, true},
	{"asterisk for GET", "GET * HTTP/1.1\r\n" HOST "\r\n", 400, false},
};

static void test_cases(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct bad *b = &cases[i];
		struct fx *f = fx_new();
		int fd = fx_connect(f);
		const char *a;
		bool eof;
		char name[160];

		fx_send(f, fd, b->text);
		a = fx_recv(f, fd, NULL, &eof);
		snprintf(name, sizeof name, "%s: %d", b->name, b->status);
		is_int(status_of(a), b->status, name);
		ok(eof == b->closes && has(a, "connection: close\r\n") == b->closes, "closed or kept as it should");
		ok(has(a, "cache-control: no-store\r\n") && has(a, "content-type: text/plain"),
		   "a sentence, not cacheable");
		if (f->requests || has(body_of(a), "HTTP/1.1"))
			ok(false, "reached a plugin or was answered twice");
		if (!eof) {
			a = fx_ask(f, fd, "GET /t/hello HTTP/1.1\r\n" HOST "\r\n");
			is_str(body_of(a), "hello", "the connection goes on");
		}
		close(fd);
		fx_run(f);
		fx_free(f);
	}
}

static void test_sizes(void)
{
	struct fx *f = fx_new();
	struct sl_buf b = {0};
	const char *a;

	sl_buf_addf(&b, "GET /t/%01100d HTTP/1.1\r\nHost: h\r\n\r\n", 0);
	sl_buf_add(&b, "", 1);
	a = fx_once(f, (char *)b.data);
	ok(status_of(a) == 414 && has(a, "x-default: yes"), "a path beyond path_bytes");
	b.len = 0;
	sl_buf_addf(&b, "GET /t/%09000d HTTP/1.1\r\nHost: h\r\n\r\n", 0);
	sl_buf_add(&b, "", 1);
	is_int(status_of(fx_once(f, (char *)b.data)), 414, "a request line beyond header_bytes");
	b.len = 0;
	sl_buf_addf(&b, "GET /t/hello HTTP/1.1\r\nHost: h\r\nX: %09000d\r\n\r\n", 0);
	sl_buf_add(&b, "", 1);
	is_int(status_of(fx_once(f, (char *)b.data)), 431, "a head beyond header_bytes");
	b.len = 0;
	sl_buf_addf(&b, "GET /t/hello HTTP/1.1\r\nHost: h\r\n");
	for (int i = 0; i < HEADERS_MAX; i++)
		sl_buf_addf(&b, "x%d: y\r\n", i);
	sl_buf_add(&b, "\r\n", 3);
	is_int(status_of(fx_once(f, (char *)b.data)), 431, "too many lines");
	b.len = 0;
	sl_buf_addf(&b, "GET /t/hello?%06000d HTTP/1.1\r\nHost: h\r\n\r\n", 0);
	sl_buf_add(&b, "", 1);
	is_int(status_of(fx_once(f, (char *)b.data)), 200, "a long query is not a long path");
	sl_buf_fini(&b);
	a = fx_once(f, "GET /t/show/%zz HTTP/1.1\r\nHost: h\r\n\r\n");
	ok(status_of(a) == 400 && has(a, "x-default: yes"), "refusals below a mount have its headers");
	a = fx_once(f, "DELETE /t/hello HTTP/1.1\r\nHost: h\r\n\r\n");
	ok(has(a, "allow: GET, HEAD\r\n") && has(a, "x-default: yes"), "405 names what is allowed");
	a = fx_once(f, "OPTIONS * HTTP/1.1\r\nHost: h\r\n\r\n");
	ok(status_of(a) == 204 && has(a, "allow: "), "OPTIONS *");
	a = fx_once(f, "GET http://other:99/t/show/x?q=1 HTTP/1.1\r\nHost: h\r\n\r\n");
	is_str(body_of(a), "show/x|/t/show/x|http://other:99|1|one", "absolute form; its authority wins over Host");
	a = fx_once(f, "GET http:///t HTTP/1.1\r\nHost: h\r\n\r\n");
	is_int(status_of(a), 400, "absolute form without authority");
	fx_free(f);
}

/* The answer must be readable although the client is still sending. */
static void test_linger(void)
{
	static char junk[300000];
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;
	bool eof;

	fx_send(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 50000000\r\n\r\n");
	for (int i = 0; i < 20; i++)
		fx_send_bytes(f, fd, junk, sizeof junk);
	is_int(f->engine->n_conns, 1, "the rest is swallowed");
	a = fx_recv(f, fd, NULL, &eof);
	ok(status_of(a) == 413 && eof, "and the answer arrives");
	fx_sweep(f, LINGER_MS + 1);
	is_int(f->engine->n_conns, 0, "not for ever");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 90000000\r\n\r\n");
	for (int i = 0; i < 200; i++)
		fx_send_bytes(f, fd, junk, sizeof junk);
	is_int(f->engine->n_conns, 0, "nor without bound");
	close(fd);
	fx_free(f);
}

static void test_behind(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;
	bool eof;

	fx_send(f, fd,
	        "GET /t/hello HTTP/1.1\r\nHost: h\r\n\r\nnonsense\r\n\r\nGET /t/hello HTTP/1.1\r\nHost: h\r\n\r\n");
	a = fx_recv(f, fd, NULL, &eof);
	ok(status_of(a) == 200 && has(a, "helloHTTP/1.1 400") && eof,
	   "a bad request behind a good one: both answers, in order");
	is_int(f->requests, 1, "what follows a bad request is never looked at");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd,
	        "GET /t/hello HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"
	        "GET /t/hello HTTP/1.1\r\nHost: h\r\n\r\n");
	a = fx_recv(f, fd, NULL, &eof);
	ok(eof && f->requests == 2, "nor what follows Connection: close");
	close(fd);
	fx_free(f);
}

static void test_expect(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a =
		fx_ask(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");

	is_str(a, "HTTP/1.1 100 Continue\r\n\r\n", "100 Continue");
	a = fx_ask(f, fd, "abc");
	ok(status_of(a) == 200 && has(a, "abc"), "then the answer");
	a = fx_ask(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
	is_int(status_of(a), 200, "no 100 when the body is there already");
	a = fx_ask(f, fd,
	           "POST /t/wait/1 HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1"
	           "POST /t/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	is_str(a, "", "a 100 does not overtake an answer");
	http_table.reply(f->held[0], 200, NULL, 0, SL_STR("first"));
	f->n_held = 0;
	a = fx_recv(f, fd, NULL, NULL);
	ok(has(a, "firstHTTP/1.1 100 Continue"), "it follows it");
	a = fx_ask(f, fd, "xyz");
	ok(has(a, "xyz"), "and the answer follows the body");
	close(fd);
	fx_free(f);
}

/* A plugin words the errors below its mount, the engine those elsewhere. */
static size_t worded(int status, const char *sentence, char *body, size_t size)
{
	return (size_t)snprintf(body, size, "<%d %s>", status, sentence);
}

static void test_worded(void)
{
	struct fx *f = fx_new();
	const char *a;

	is_int(http_table.errors(&f->ctx, "bad\ntype", worded), SLUICE_EINVAL, "a type that is none");
	is_int(http_table.errors(&f->ctx, "text/x-worded", worded), 0, "a plugin words errors");
	a = fx_once(f, "GET /t/nowhere HTTP/1.1\r\n" HOST "\r\n");
	ok(status_of(a) == 404 && has(a, "content-type: text/x-worded\r\n"), "below its mount, with its type");
	ok(has(body_of(a), "<404 "), "and its body");
	a = fx_once(f, "DELETE /t/hello HTTP/1.1\r\n" HOST "\r\n");
	ok(status_of(a) == 405 && has(a, "allow: GET, HEAD\r\n") && has(a, "<405 "), "with the headers of the error");
	a = fx_once(f, "GET /elsewhere HTTP/1.1\r\n" HOST "\r\n");
	ok(status_of(a) == 404 && has(a, "content-type: text/plain"), "elsewhere they are text");
	fx_free(f);
}

int main(void)
{
	test_worded();
	test_cases();
	test_sizes();
	test_linger();
	test_behind();
	test_expect();
	return tap_done();
}
