/*
 * test_h1.c - HTTP/1.1: plain exchanges, pipelining, bodies, live answers, leaving clients. Unit test.
 */
#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/http/harness.h"

static const struct sluice_http *H = &http_table;

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

static void test_plain(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a = fx_ask(f, fd, GET("/t/hello"));

	is_int(status_of(a), 200, "GET");
	is_str(body_of(a), "hello", "body");
	ok(has(a, "\r\ncontent-length: 5\r\n"), "Content-Length");
	ok(has(a, "\r\nx-default: yes\r\n"), "default header");
	ok(has(a, "\r\ndate: ") && has(a, " GMT\r\n"), "Date");
	ok(!has(a, "server:") && !has(a, "connection:"), "no banner, no Connection");
	a = fx_ask(f, fd, "HEAD /t/hello HTTP/1.1\r\nHost: h\r\n\r\n");
	ok(status_of(a) == 200 && has(a, "content-length: 5\r\n"), "HEAD on the same connection");
	is_str(body_of(a), "", "HEAD has no body");
	a = fx_ask(f, fd, GET("/t/nobody/204"));
	ok(status_of(a) == 204 && !has(a, "content-length") && !*body_of(a), "204 without body or length");
	a = fx_ask(f, fd, GET("/t/nobody/304"));
	ok(status_of(a) == 304 && !has(a, "transfer-encoding") && !*body_of(a), "304 without body");
	a = fx_ask(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nbody");
	is_str(body_of(a), "body", "POST");
	a = fx_ask(f, fd,
	           "POST /t/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
	           "3;x=y\r\nabc\r\n5\r\ndefgh\r\n0\r\nTrailer: x\r\n\r\n" GET("/t/hello"));
	ok(has(a, "abcdefgh") && has(a, "hello"), "chunked with trailers, then the next request");
	is_int(f->cell_requests, 7, "requests are counted");
	close(fd);
	fx_run(f);
	is_int(f->engine->n_conns, 0, "closed");
	fx_free(f);
}

static void test_bytewise(void)
{
	static const char text[] =
		"\r\nPOST /t/echo HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
		"3\r\nabc\r\n0\r\n\r\nPUT /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nxyz";
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;

	for (size_t i = 0; i < sizeof text - 1; i++)
		fx_send_bytes(f, fd, text + i, 1);
	a = fx_recv(f, fd, NULL, NULL);
	ok(has(a, "\r\n\r\nabcHTTP/1.1 200"), "chunked byte by byte");
	ok(has(a, "\r\n\r\nxyz"), "with length byte by byte");
	close(fd);
	fx_free(f);
}

static void test_http10(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	bool eof;
	const char *a = fx_ask(f, fd, "GET /t/hello HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");

	ok(status_of(a) == 200 && has(a, "connection: keep-alive\r\n"), "HTTP/1.0 with keep-alive, without Host");
	fx_send(f, fd, "GET /t/big?n=100&unknown HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
	a = fx_recv(f, fd, NULL, &eof);
	ok(!has(a, "chunked") && has(a, "connection: close") && strlen(body_of(a)) == 100, "no chunks for HTTP/1.0");
	ok(eof, "the end of the connection ends the body");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd, "GET /t/hello HTTP/1.1\r\nHost: h\r\nConnection: foo, Close\r\n\r\n");
	a = fx_recv(f, fd, NULL, &eof);
	ok(has(a, "connection: close") && eof, "Connection: close is kept");
	close(fd);
	fx_free(f);
}

static void test_pipeline(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;

	fx_send(f, fd,
	        GET("/t/wait/1") GET("/t/wait/2")
	                GET("/t/hello") "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nfourth");
	is_int(f->n_held, 2, "dispatched together");
	is_int(f->requests, 4, "all four ran");
	a = fx_recv(f, fd, NULL, NULL);
	is_str(a, "", "no answer overtakes the first");
	H->reply(f->held[1], 200, NULL, 0, SL_STR("second"));
	f->n_held = 1;
	a = fx_recv(f, fd, NULL, NULL);
	is_str(a, "", "still none");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("first"));
	f->n_held = 0;
	a = fx_recv(f, fd, NULL, NULL);
	ok(strstr(a, "first") < strstr(a, "second") && strstr(a, "second") < strstr(a, "hello") &&
	           strstr(a, "hello") < strstr(a, "fourth"),
	   "answers leave in order");
	close(fd);
	fx_free(f);
}

static void test_pipeline_deep(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	struct sl_buf b = {0};
	const char *a;
	unsigned n = 0;

	for (int i = 0; i < 500; i++)
		sl_buf_addf(&b, GET("/t/show/%d"), i);
	fx_send_bytes(f, fd, b.data, b.len);
	a = fx_recv(f, fd, NULL, NULL);
	for (int i = 0; i < 500; i++) {
		char want[32];

		snprintf(want, sizeof want, "\r\n\r\nshow/%d|", i);
		a = strstr(a, want);
		if (!a)
			break;
		n++;
	}
	is_int(n, 500, "500 pipelined requests are answered in order");
	/* More than PIPELINE_MAX unanswered ones wait unparsed. */
	b.len = 0;
	for (int i = 0; i < PIPELINE_MAX + 20; i++)
		sl_buf_addf(&b, GET("/t/wait/%d"), i);
	fx_send_bytes(f, fd, b.data, b.len);
	is_int(f->n_held, PIPELINE_MAX, "the pipeline is bounded");
	while (f->n_held) {
		struct sluice_http_req *r = f->held[0];

		memmove(f->held, f->held + 1, --f->n_held * sizeof *f->held);
		H->reply(r, 200, NULL, 0, SL_STR("ok"));
		fx_run(f);
	}
	is_int(f->requests, 500 + PIPELINE_MAX + 20, "and goes on");
	sl_buf_fini(&b);
	close(fd);
	fx_free(f);
}

static void test_live(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f), other = fx_connect(f);
	struct sluice_buf *b = shared_new(SL_STR("event"));
	const char *a;

	fx_send(f, fd, GET("/t/live/1") GET("/t/hello"));
	fx_send(f, other, GET("/t/live/2"));
	a = fx_recv(f, fd, NULL, NULL);
	ok(status_of(a) == 200 && has(a, "transfer-encoding: chunked"), "a live answer begins at once");
	is_int(f->requests, 2, "the request behind it waits");
	fx_recv(f, other, NULL, NULL);
	is_int(H->write_buf(f->held[0], b), 0, "shared");
	is_int(H->write_buf(f->held[1], b), 0, "shared");
	is_int(b->refs, 3, "not copied");
	is_int(H->pending(f->held[0]), 10, "pending counts the framing");
	a = fx_recv(f, fd, NULL, NULL);
	is_str(a, "5\r\nevent\r\n", "one chunk");
	a = fx_recv(f, other, NULL, NULL);
	is_str(a, "5\r\nevent\r\n", "the same for both");
	is_int(b->refs, 1, "given back");
	is_int(H->pending(f->held[0]), 0, "nothing pending");
	H->write(f->held[0], SL_STR("own"));
	H->end(f->held[0]);
	a = fx_recv(f, fd, NULL, NULL);
	ok(strncmp(a, "3\r\nown\r\n0\r\n\r\nHTTP/1.1 200", 24) == 0, "its end lets the next request go on");
	is_int(f->gone, 0, "no gone() for an answer that ended");
	f->held[0] = f->held[1];
	f->n_held = 1;
	close(other);
	fx_run(f);
	is_int(f->gone, 1, "a live reader that leaves is noticed at once");
	is_str(f->log, "request:live/1 request:live/2 gone:live/2 ", "in order");
	shared_unref(b);
	close(fd);
	fx_free(f);
}

static void test_wake(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	unsigned before;

	fx_send(f, fd, GET("/t/wait/1"));
	is_int(f->pulls, 0, "an answer that has not begun is not pulled");
	H->wake(f->held[0]);
	is_int(f->pulls, 0, "wake() only marks");
	fx_run(f);
	is_int(f->pulls, 1, "woken once");
	H->respond(f->held[0], 200, NULL, 0, -1);
	fx_run(f);
	is_int(f->pulls, 2, "pulled after its head");
	before = f->pulls;
	fx_run(f);
	is_int(f->pulls, before, "parked when it writes nothing");
	close(fd);
	fx_run(f);
	is_int(f->gone, 1, "gone");
	fx_free(f);
}

static void test_big(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;
	size_t n;

	fx_send(f, fd, GET("/t/big?n=3000000") GET("/t/hello"));
	ok(f->pulls < 20, "a reader that does not read is not pulled further");
	is_int(f->requests, 1, "what follows waits");
	a = fx_recv(f, fd, &n, NULL);
	ok(n > 3000000 && has(a, "content-length: 3000000\r\n"), "all of it");
	ok(has(a + 2990000, "hello"), "then the next");
	fx_send(f, fd, GET("/t/big?n=200000&unknown"));
	a = fx_recv(f, fd, &n, NULL);
	ok(n > 200000 && strcmp(a + n - 5, "0\r\n\r\n") == 0, "chunked when the length is not known");
	a = fx_ask(f, fd, "HEAD /t/big?n=3000000 HTTP/1.1\r\nHost: h\r\n\r\n" GET("/t/hello"));
	ok(has(a, "content-length: 3000000\r\n") && has(a, "\r\n\r\nHTTP/1.1 200") && has(a, "hello"),
	   "HEAD of a pulled answer ends too");
	a = fx_ask(f, fd, "HEAD /t/big?n=200000&unknown HTTP/1.1\r\nHost: h\r\n\r\n" GET("/t/hello"));
	ok(!has(a, "transfer-encoding") && has(a, "\r\n\r\nHTTP/1.1 200") && has(a, "hello"),
	   "HEAD says nothing of a length that is not known");
	close(fd);
	fx_free(f);
}

static void test_pieces(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	static char big[300000];
	const char *a;
	size_t before;

	fx_send(f, fd, "POST /t/pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 6\r\n\r\nabc");
	is_int(f->requests, 1, "a route that takes pieces runs before the body is there");
	is_int(f->pieces.len, 3, "and gets them as they come");
	a = fx_ask(f, fd, "def" GET("/t/hello"));
	ok(has(a, "\r\n\r\nabcdef") && has(a, "hello"), "answered after the last piece");
	sl_buf_drain(&f->pieces, f->pieces.len);
	f->refuse_pieces = true;
	memset(big, 'z', sizeof big);
	fx_send(f, fd, "POST /t/pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 300000\r\n\r\n");
	fx_send_bytes(f, fd, big, sizeof big);
	before = f->pieces.len;
	ok(before == 0 && f->engine->conns.tqh_first->in.len <= IN_MAX + READ_SIZE, "EAGAIN stops reading");
	f->refuse_pieces = false;
	H->wake(f->held[0]);
	fx_run(f);
	ok(f->pieces.len > 0, "wake() goes on");
	before = 0;
	while (f->pieces.len < sizeof big && before < 100) {
		fx_send_bytes(f, fd, big, 0);
		before++;
	}
	close(fd);
	fx_free(f);
}

static void test_cut(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	bool eof;
	const char *a;

	fx_send(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\nabc");
	close(fd);
	fx_run(f);
	is_int(f->requests, 0, "a body cut short never reaches the plugin");
	fd = fx_connect(f);
	fx_send(f, fd, "POST /t/wait/x HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1");
	shutdown(fd, SHUT_WR);
	fx_run(f);
	is_int(f->gone, 0, "a half-closed client may want its answer");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("late"));
	f->n_held = 0;
	a = fx_recv(f, fd, NULL, &eof);
	ok(has(a, "late") && eof, "and gets it");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd, GET("/t/wait/y"));
	shutdown(fd, SHUT_WR);
	fx_run(f);
	fx_sweep(f, EOF_MS + 1);
	is_int(f->gone, 1, "but not for ever");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd, GET("/t/reset"));
	a = fx_recv(f, fd, NULL, &eof);
	ok(eof && f->gone == 2, "reset() cuts, gone() follows");
	close(fd);
	fd = fx_connect(f);
	fx_send(f, fd, GET("/t/short"));
	fx_recv(f, fd, NULL, &eof);
	ok(eof && f->gone == 2, "an answer shorter than announced is cut");
	is_int(f->too_much, SLUICE_EINVAL, "more than announced is refused");
	close(fd);
	fx_free(f);
}

int main(void)
{
	test_plain();
	test_bytewise();
	test_http10();
	test_pipeline();
	test_pipeline_deep();
	test_live();
	test_wake();
	test_big();
	test_pieces();
	test_cut();
	return tap_done();
}
