/*
 * test_engine.c - the engine around the protocols: upgrade, access, limits, body memory, timeouts, compression,
 * draining. Unit test.
 */
#include <netinet/in.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/board.h"
#include "tests/unit/frontend/http/harness.h"

static const struct sluice_http *H = &http_table;

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define WS(path) "GET " path " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n\r\n"

static void test_upgrade(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a = fx_ask(f, fd, WS("/t/hello"));

	is_str(body_of(a), "hello", "without an endpoint it is a request like any other");
	f->upgrade_result = 0;
	a = fx_ask(f, fd, GET("/t/wait/1") WS("/t/w%73/1?a=b") "early");
	is_int(f->upgrade_fd, -1, "the request before it is answered first");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("first"));
	f->n_held = 0;
	a = fx_recv(f, fd, NULL, NULL);
	is_str(body_of(a), "first", "then");
	ok(f->upgrade_fd >= 0, "handed over");
	is_str(f->upgrade_path, "/t/ws/1?a=b", "path decoded, query as sent");
	f->upgrade_raw[f->upgrade_len] = '\0';
	is_str(f->upgrade_raw, WS("/t/w%73/1?a=b") "early", "with every byte that was read");
	is_int(f->engine->n_conns, 0, "the engine has forgotten it");
	is_int(send(f->upgrade_fd, "x", 1, 0), 1, "but not closed it");
	close(f->upgrade_fd);
	close(fd);
	f->upgrade_result = SLUICE_EBUSY;
	is_int(status_of(fx_once(f, WS("/t/x"))), 503, "a failure is a 503");
	f->upgrade_result = SLUICE_EDENIED;
	is_int(status_of(fx_once(f, WS("/t/x"))), 403, "a refusal a 403");
	f->upgrade_result = SLUICE_EINVAL;
	is_int(status_of(fx_once(f, WS("/t/x"))), 400, "a bad handshake a 400");
	f->upgrade_result = SLUICE_ENOTSUP;
	a = fx_once(f, WS("/t/x"));
	ok(status_of(a) == 426 && has(a, "sec-websocket-version: 13\r\n") && has(a, "x-default"),
	   "another version a 426");
	f->upgrade_fd = -1;
	f->upgrade_result = 0;
	is_int(status_of(fx_once(f, WS("/t/%zz"))), 400, "a bad path is a 400");
	is_int(f->upgrade_fd, -1, "and not handed over");
	fx_free(f);
}

static void with_prefix(struct fx *f)
{
	f->ctx.prefix = (char *)(uintptr_t) "team/";
}

static void test_access(void)
{
	struct fx *f = fx_new_with(with_prefix);
	const char *a;

	fx_once(f, GET("/t/show/a%20b"));
	is_str(f->asked, "read team/show/a b", "action and stream name with the prefix");
	f->deny = 401;
	a = fx_once(f, GET("/t/hello"));
	ok(status_of(a) == 401 && has(a, "www-authenticate: Bearer realm=\"test\"") && has(a, "x-default: yes"),
	   "a refusal has the challenge, and the headers of the mount");
	f->deny = 403;
	a = fx_once(f, "GET /t/hello?token=q HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\n\r\n");
	is_int(status_of(a), 403, "its status is that of the verdict");
	is_str(f->token, "Bearer x|", "a query parameter that the route does not name is not looked at");
	fx_once(f, "GET /t/hello HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer x\r\nAuthorization: Bearer y\r\n\r\n");
	is_str(f->token, "|", "of two Authorization headers neither is believed");
	f->deny = 401;
	a = fx_once(f, "POST /t/echo HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\n");
	is_int(status_of(a), 401, "before the body");
	is_int(f->requests, 1, "the plugin was not asked");
	fx_free(f);
}

/* Whose token ends is told so once, and by the way of the route; who decides himself is not. */
static void test_expiry(void)
{
	struct fx *f = fx_new();
	int a = fx_connect(f), b = fx_connect(f), c = fx_connect(f), d = fx_connect(f);
	struct sluice_http_req *r;
	const char *answer;

	f->expires_ms = UINT64_MAX;
	fx_send(f, a, GET("/t/expire/late?token=a%20b"));
	is_str(f->token, "|a b", "the parameter that the route names, decoded");
	f->expires_ms = 1;
	fx_send(f, b, GET("/t/expire/soon"));
	fx_send(f, c, GET("/t/own/1"));
	fx_send(f, d, GET("/t/wait/1"));
	is_int(f->n_held, 4, "four wait");
	fx_sweep(f, 1);
	answer = fx_recv(f, b, NULL, NULL);
	ok(status_of(answer) == 401 && has(answer, "www-authenticate: Bearer realm=\"test\"") &&
	           has(answer, "x-default: yes"),
	   "refuse() answers as the engine does");
	is_str(body_of(answer), "Authorization is required.\n", "with its sentence");
	fx_sweep(f, 1);
	ok(f->n_held == 3 && strstr(f->log, "expire:") && !strstr(strstr(f->log, "expire:") + 1, "expire:"),
	   "it was told once, and the others wait on");
	close(a);
	fx_run(f);
	fx_sweep(f, EOF_MS + 1);
	ok(f->gone == 1 && TAILQ_EMPTY(&f->engine->expiring), "one that leaves is not waited for");
	while (f->n_held > 0) {
		r = f->held[--f->n_held];
		H->reply(r, 200, NULL, 0, SL_STR("x"));
	}
	ok(status_of(fx_recv(f, c, NULL, NULL)) == 200 && status_of(fx_recv(f, d, NULL, NULL)) == 200,
	   "and are answered");
	close(b);
	close(c);
	close(d);
	fx_run(f);
	fx_free(f);
}

static void few_connections(struct fx *f)
{
	f->limits.connections = 2;
}

static void test_connections(void)
{
	struct fx *f = fx_new_with(few_connections);
	int a = fx_connect(f), b = fx_connect(f), c = fx_connect(f);
	const char *answer;
	bool eof;

	is_int(status_of(fx_ask(f, a, GET("/t/hello"))), 200, "within the limit");
	fx_send(f, c, GET("/t/hello"));
	answer = fx_recv(f, c, NULL, &eof);
	ok(status_of(answer) == 503 && has(answer, "retry-after: 1") && eof, "above it: 503");
	close(a);
	close(c);
	fx_run(f);
	c = fx_connect(f);
	is_int(status_of(fx_ask(f, c, GET("/t/hello"))), 200, "room again");
	close(b);
	close(c);
	fx_free(f);
}

static void test_listen(void)
{
	struct fx *f = fx_new();
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), c[40];
	unsigned good = 0;

	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 64) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len))
		abort();
	is_int(http_engine_listen(f->engine, fd, NULL, false), 0, "listening");
	for (int i = 0; i < 40; i++) {
		c[i] = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (connect(c[i], (struct sockaddr *)&addr, sizeof addr))
			abort();
	}
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	is_int(f->engine->n_conns, ACCEPT_MAX, "a few a turn");
	fx_run(f);
	is_int(f->engine->n_conns, 40, "then the rest");
	is_int(f->cell_connections, 40, "counted");
	for (int i = 0; i < 40; i++) {
		evutil_make_socket_nonblocking(c[i]);
		good += status_of(fx_ask(f, c[i], GET("/t/hello"))) == 200;
		close(c[i]);
	}
	is_int(good, 40, "all served");
	fx_free(f);
	close(fd);
}

/* Out of descriptors: the client is told, the engine pauses, and goes on when there are some again. */
static void test_exhausted(void)
{
	struct fx *f = fx_new();
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), a, b, hoard[64], n = 0;
	struct rlimit old, low;
	char byte;

	if (bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len))
		abort();
	http_engine_listen(f->engine, fd, NULL, false);
	a = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	b = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	getrlimit(RLIMIT_NOFILE, &old);
	low = old;
	low.rlim_cur = 32;
	setrlimit(RLIMIT_NOFILE, &low);
	while (n < 64 && (hoard[n] = dup(fd)) >= 0)
		n++;
	if (connect(a, (struct sockaddr *)&addr, sizeof addr))
		abort();
	event_base_loop(f->base, EVLOOP_ONCE);
	is_int(recv(a, &byte, 1, 0), 0, "the client is closed, not left hanging");
	while (n > 0)
		close(hoard[--n]);
	setrlimit(RLIMIT_NOFILE, &old);
	if (connect(b, (struct sockaddr *)&addr, sizeof addr))
		abort();
	while (f->engine->n_conns == 0)
		event_base_loop(f->base, EVLOOP_ONCE); /* the pause ends by its own timer */
	ok(f->engine->spare_fd >= 0, "the next one is accepted");
	close(a);
	close(b);
	fx_free(f);
	close(fd);
}

static void small_budget(struct fx *f)
{
	f->budget.max = 100000;
	f->limits.body = 90000;
}

static void test_budget(void)
{
	static char body[80000];
	static const char head[] = "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 80000\r\n\r\n";
	struct fx *f = fx_new_with(small_budget);
	int a = fx_connect(f), b = fx_connect(f);
	const char *answer;
	size_t n;

	memset(body, 'b', sizeof body);
	fx_send(f, a, head);
	fx_send_bytes(f, a, body, 70000);
	is_int(f->budget.used, 70000, "charged as it comes");
	fx_send(f, b, head);
	fx_send_bytes(f, b, body, sizeof body);
	ok(f->budget.used <= 100000 && f->requests == 0, "the second has to wait");
	ok(!TAILQ_EMPTY(&f->engine->waiting), "for memory");
	fx_send_bytes(f, a, body, 10000);
	answer = fx_recv(f, a, &n, NULL);
	ok(status_of(answer) == 200 && n > 80000, "the first goes on");
	while (!TAILQ_EMPTY(&f->engine->waiting) || f->requests < 2)
		event_base_loop(f->base, EVLOOP_ONCE); /* the engine's own tick looks again */
	answer = fx_recv(f, b, &n, NULL);
	ok(status_of(answer) == 200 && n > 80000, "then the second");
	is_int(f->budget.used, 0, "given back");
	fx_send(f, a, head);
	fx_send_bytes(f, a, body, 70000);
	fx_send(f, b, head);
	fx_send_bytes(f, b, body, sizeof body);
	fx_sweep(f, f->limits.body_timeout + 1);
	is_int(status_of(fx_recv(f, b, NULL, NULL)), 503, "waiting in vain ends with 503");
	is_int(status_of(fx_recv(f, a, NULL, NULL)), 408, "sending nothing with 408");
	close(a);
	close(b);
	fx_free(f);
}

static void test_timeouts(void)
{
	struct fx *f = fx_new();
	int a = fx_connect(f), b = fx_connect(f), c = fx_connect(f);
	const char *answer;
	bool eof;

	fx_send(f, a, "GET /t/hel");
	fx_sweep(f, f->limits.header_timeout - 1);
	fx_send(f, a, "lo HT");
	fx_sweep(f, f->limits.header_timeout + 1);
	answer = fx_recv(f, a, NULL, &eof);
	ok(status_of(answer) == 408 && eof, "a head that trickles: 408");
	answer = fx_recv(f, b, NULL, &eof);
	ok(!*answer && eof, "a connection that says nothing is closed without a word");
	close(a);
	close(b);
	close(c);
	fx_run(f);
	a = fx_connect(f);
	fx_ask(f, a, GET("/t/hello"));
	fx_sweep(f, f->limits.header_timeout + 1);
	is_int(f->engine->n_conns, 1, "an idle one has longer");
	fx_sweep(f, f->limits.idle_timeout + 1);
	answer = fx_recv(f, a, NULL, &eof);
	ok(!*answer && eof, "but not for ever");
	close(a);
	a = fx_connect(f);
	fx_send(f, a, GET("/t/wait/1"));
	fx_sweep(f, 10 * f->limits.idle_timeout);
	is_int(f->gone, 0, "a request that is being worked on has no timeout");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("x"));
	f->n_held = 0;
	fx_send(f, a, GET("/t/big?n=5000000"));
	fx_sweep(f, f->limits.send_timeout + 1);
	ok(f->gone == 1 && f->engine->n_conns == 0, "a client that does not read is cut");
	close(a);
	fx_free(f);
}

static size_t gunzip(const char *p, size_t n, char *out, size_t max)
{
	z_stream z = {.next_in = (Bytef *)(uintptr_t)p,
	              .avail_in = (uInt)n,
	              .next_out = (Bytef *)out,
	              .avail_out = (uInt)max};
	int e;

	inflateInit2(&z, 15 + 16);
	e = inflate(&z, Z_FINISH);
	inflateEnd(&z);
	return e == Z_STREAM_END ? max - z.avail_out : 0;
}

/* Takes chunk framing off in place. */
static size_t dechunk(char *p, size_t n)
{
	struct chunk_dec d = {0};
	sl_slice piece;
	size_t used = 0, len = 0;

	while (chunk_feed(&d, (uint8_t *)p, n, &used, &piece) == CHUNK_DATA) {
		memmove(p + len, piece.data, piece.len);
		len += piece.len;
	}
	return len;
}

#define GZIP(path) "GET " path " HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n"

static void test_gzip(void)
{
	static char out[300000];
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	const char *a;
	char *body;
	size_t n, len;

	a = fx_ask(f, fd, GET("/t/gzip?n=5000"));
	ok(!has(a, "content-encoding") && has(a, "x-coding: \r\n") && strlen(body_of(a)) == 5000,
	   "not without being asked");
	a = fx_ask(f, fd, GZIP("/t/gzip?n=1000"));
	ok(!has(a, "content-encoding") && strlen(body_of(a)) == 1000, "not when it is short");
	fx_send(f, fd, GZIP("/t/gzip?n=5000"));
	a = fx_recv(f, fd, &n, NULL);
	body = (char *)(uintptr_t)body_of(a);
	len = gunzip(body, n - (size_t)(body - a), out, sizeof out);
	ok(has(a, "content-encoding: gzip\r\n") && has(a, "x-coding: gzip\r\n") && has(a, "content-length: "), "gzip");
	ok(len == 5000 && out[0] == 'a' && out[4999] == (char)('a' + 4999 / 7 % 20), "round trip, known length");
	fx_send(f, fd, GZIP("/t/gzip?n=200000"));
	a = fx_recv(f, fd, &n, NULL);
	body = (char *)(uintptr_t)body_of(a);
	ok(has(a, "transfer-encoding: chunked\r\n") && !has(a, "content-length"), "large ones are streamed");
	len = dechunk(body, n - (size_t)(body - a));
	len = gunzip(body, len, out, sizeof out);
	ok(len == 200000 && out[199999] == (char)('a' + 199999 / 7 % 20), "round trip in steps");
	fx_send(f, fd, GZIP("/t/big?n=250000&gzip"));
	a = fx_recv(f, fd, &n, NULL);
	body = (char *)(uintptr_t)body_of(a);
	len = dechunk(body, n - (size_t)(body - a));
	is_int(gunzip(body, len, out, sizeof out), 250000, "a pulled answer");
	a = fx_ask(f, fd, "HEAD /t/gzip?n=5000 HTTP/1.1\r\nHost: h\r\nAccept-Encoding: gzip\r\n\r\n");
	ok(has(a, "content-encoding: gzip\r\n") && !*body_of(a), "HEAD says the same");
	is_int(f->engine->n_gzip, 0, "all given back");
	close(fd);
	fx_free(f);
}

static void on_idle(void *arg)
{
	((struct fx *)arg)->idle = true;
}

static void test_drain(void)
{
	struct fx *f = fx_new();
	int idle = fx_connect(f), busy = fx_connect(f);
	const char *a;
	bool eof;

	fx_ask(f, idle, GET("/t/hello"));
	fx_send(f, busy, GET("/t/wait/1"));
	http_engine_drain(f->engine, 0, on_idle, f);
	fx_run(f);
	is_int(f->engine->n_conns, 2, "nobody is cut");
	fx_send(f, idle, GET("/t/hello"));
	a = fx_recv(f, idle, NULL, &eof);
	ok(status_of(a) == 200 && has(a, "connection: close\r\n") && eof, "an idle connection has one more request");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("done"));
	f->n_held = 0;
	ok(!f->idle, "not idle yet");
	a = fx_recv(f, busy, NULL, &eof);
	ok(has(a, "done") && has(a, "connection: close\r\n") && eof, "a busy one is finished");
	ok(f->idle, "idle when none is left");
	close(idle);
	close(busy);
	fx_free(f);
}

static void test_drain_idle(void)
{
	struct fx *f = fx_new();
	int idle = fx_connect(f), busy = fx_connect(f);
	const char *a;
	bool eof;

	fx_ask(f, idle, GET("/t/hello"));
	fx_send(f, busy, GET("/t/wait/1"));
	http_engine_drain(f->engine, 40000, on_idle, f);
	fx_sweep(f, 20000);
	is_int(f->engine->n_conns, 2, "nobody is cut before it was idle for so long");
	fx_sweep(f, 45000);
	is_int(f->engine->n_conns, 1, "then the idle one ends");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("done"));
	f->n_held = 0;
	a = fx_recv(f, busy, NULL, &eof);
	ok(has(a, "done") && eof, "a request that is being answered is no idleness");
	ok(f->idle, "idle when none is left");
	close(idle);
	close(busy);
	fx_free(f);
}

static void test_free(void)
{
	struct fx *f = fx_new();
	int a = fx_connect(f), b = fx_connect(f);

	fx_send(f, a, GET("/t/live/1"));
	fx_send(f, b, GET("/t/wait/2") GET("/t/wait/3"));
	is_int(f->n_held, 3, "three open requests");
	fx_free(f); /* bails out unless each was gone() */
	ok(true, "freeing the engine says gone() to all");
	close(a);
	close(b);
}

static void test_origin(void)
{
	struct fx *f = fx_new();
	const char *a = fx_once(f, GET("/t/show/x"));

	is_str(body_of(a), "show/x|/t/show/x|http://h|none|one", "Host");
	a = fx_once(
		f,
		"GET /t/show/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: https, http\r\nX-Forwarded-Host: a.b:84\r\n\r\n");
	is_str(body_of(a), "show/x|/t/show/x|https://a.b:84|none|one", "as forwarded");
	a = fx_once(
		f,
		"GET /t/show/x HTTP/1.1\r\nHost: h\r\nX-Forwarded-Proto: javascript\r\nX-Forwarded-Host: a/b\r\n\r\n");
	is_str(body_of(a), "show/x|/t/show/x|http://h|none|one", "nonsense is not forwarded");
	fx_free(f);
}

static int client_of(const struct sockaddr_in *addr)
{
	int c = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (connect(c, (const struct sockaddr *)addr, sizeof *addr))
		abort();
	return c;
}

static void run_until_conns(struct fx *f, unsigned n)
{
	while (f->engine->n_conns < n)
		event_base_loop(f->base, EVLOOP_ONCE);
}

/* Whoever has more connections than another worker leaves the next one to it, for a moment. */
static void test_board(void)
{
	struct fx *f = fx_new();
	struct sockaddr_in addr = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof addr;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), memory = sl_board_new(), c[6];
	struct sl_board *board = sl_board_map(memory);

	if (!board || bind(fd, (struct sockaddr *)&addr, sizeof addr) || listen(fd, 8) ||
	    getsockname(fd, (struct sockaddr *)&addr, &len))
		abort();
	http_engine_board(f->engine, board, 0);
	ok(!sl_board_fuller(board, 1, 1), "who does not listen takes nothing");
	http_engine_listen(f->engine, fd, NULL, false);
	ok(sl_board_fuller(board, 1, 1), "who listens is seen");
	sl_board_set(board, 1, 1);
	for (int i = 0; i < 4; i++)
		c[i] = client_of(&addr);
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	is_int(f->engine->n_conns, 2, "up to one more than the other");
	run_until_conns(f, 3);
	is_int(f->engine->n_conns, 3, "the other does not come: one is accepted all the same");
	run_until_conns(f, 4);
	is_int(f->engine->n_conns, 4, "and after another moment the next");
	c[4] = client_of(&addr);
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	is_int(f->engine->n_conns, 4, "it is left to the other");
	close(accept(fd, NULL, NULL)); /* which takes it */
	while (!event_pending(&f->engine->listeners->event, EV_READ, NULL))
		event_base_loop(f->base, EVLOOP_ONCE);
	c[5] = client_of(&addr);
	event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	is_int(f->engine->n_conns, 4, "the next is left to the other again");
	run_until_conns(f, 5);
	for (int i = 0; i < 6; i++)
		if (i != 2)
			close(c[i]);
	fx_run(f);
	ok(!sl_board_fuller(board, 1, 1) && sl_board_fuller(board, 1, 2), "closed ones are not shown any more");
	http_engine_drain(f->engine, 0, on_idle, f);
	ok(!sl_board_fuller(board, 1, 2), "who drains takes nothing");
	close(c[2]);
	fx_free(f);
	sl_board_unmap(board);
	close(memory);
	close(fd);
}

/* A WebSocket over TLS is counted by its engine; the connection that carries its bytes is not another one. */
static void test_relay(void)
{
	struct fx *f = fx_new();
	int memory = sl_board_new(), a = fx_connect(f), b = fx_connect(f), pair[2];
	struct sl_board *board = sl_board_map(memory);
	uint64_t upgraded = 0, connections = 0;

	if (!board || socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		abort();
	f->engine->hooks.upgraded = &upgraded;
	f->engine->hooks.connections = &connections;
	http_engine_board(f->engine, board, 0);
	fx_run(f);
	upgraded = 1;
	relay_begin(TAILQ_FIRST(&f->engine->conns), pair[0]);
	ok(connections == 1 && f->engine->load == 2, "one of HTTP and one WebSocket are two");
	ok(!sl_board_fuller(board, 1, 2) && sl_board_fuller(board, 1, 3), "for other workers, too");
	upgraded = 0;
	close(pair[1]);
	fx_run(f);
	close(a);
	close(b);
	fx_run(f);
	ok(connections == 0 && f->engine->load == 0 && f->engine->n_relays == 0, "and none when they have ended");
	fx_free(f);
	sl_board_unmap(board);
	close(memory);
}

int main(void)
{
	test_upgrade();
	test_access();
	test_expiry();
	test_connections();
	test_listen();
	test_board();
	test_relay();
	test_exhausted();
	test_budget();
	test_timeouts();
	test_gzip();
	test_drain();
	test_drain_idle();
	test_free();
	test_origin();
	return tap_done();
}
