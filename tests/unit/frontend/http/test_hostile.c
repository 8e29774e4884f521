/*
 * test_hostile.c - clients that mean harm, and moments that are easily got wrong: answers nobody reads, resets in the
 * middle of a frame, wakes from inside, connections that change hands. Unit test.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/http/client2.h"

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"
#define WS(path) "GET " path " HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n"

static struct http_conn *the_conn(struct fx *f)
{
	return TAILQ_FIRST(&f->engine->conns);
}

/* Everything that is queued for the only client. */
static size_t queued(struct fx *f)
{
	struct http_conn *c = the_conn(f);
	struct sluice_http_req *r;
	size_t n = c->out.bytes;

	TAILQ_FOREACH(r, &c->reqs, link)
	n += r->out.bytes;
	return n;
}

/* Requests that are answered at once leave nothing in flight: only the bytes they left behind hold the next ones back. */
static void test_pipeline_unread(void)
{
	enum { N = 4000 };
	static const char one[] = GET("/t/gzip?n=20000");
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	char *all = malloc(sizeof one * N);
	size_t n = 0, total = 0, len, most = 0;
	unsigned answers = 0;

	for (int i = 0; i < N; i++)
		memcpy(all + i * (sizeof one - 1), one, sizeof one - 1);
	n = N * (sizeof one - 1);
	for (size_t at = 0; at < n;) {
		ssize_t k = send(fd, all + at, n - at, MSG_NOSIGNAL);

		fx_run(f);
		most = queued(f) > most ? queued(f) : most;
		if (k < 0)
			break;
		at += (size_t)k;
		total = at;
	}
	ok(most < OUT_HIGH + 64 * 1024, "what a client does not read is not made");
	for (const char *a; (a = fx_recv(f, fd, &len, NULL)), len > 0;) {
		for (const char *p = a; p < a + len && (p = memmem(p, (size_t)(a + len - p), "HTTP/1.1 200", 12)); p++)
			answers++;
		if (total < n) {
			ssize_t k = send(fd, all + total, n - total, MSG_NOSIGNAL);

			total += k > 0 ? (size_t)k : 0;
			fx_run(f);
		}
	}
	is_int(answers, N, "but it is, once he reads");
	free(all);
	close(fd);
	fx_free(f);
}

/* The answers before an upgrade leave before the connection changes hands. */
static void test_upgrade_unread(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	size_t n = 0, len;

	f->upgrade_result = 0;
	fx_send(f, fd, GET("/t/big?n=2000000") WS("/t/ws"));
	is_int(f->upgrade_fd, -1, "not while an answer is on its way");
	do {
		fx_recv(f, fd, &len, NULL);
		n += len;
	} while (len > 0);
	ok(n > 2000000, "the answer is whole");
	ok(f->upgrade_fd >= 0, "then it is handed over");
	if (f->upgrade_fd >= 0)
		close(f->upgrade_fd);
	close(fd);
	fx_free(f);
}

/* One pass of the loop pulls an answer once, however fast its client reads: others are looked at in between. */
static void test_fair_turns(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f), big = 8 << 20;
	unsigned before, most = 0;

	setsockopt(the_conn(f)->fd, SOL_SOCKET, SO_SNDBUFFORCE, &big, sizeof big);
	send(fd, GET("/t/big?n=3000000"), strlen(GET("/t/big?n=3000000")), 0);
	for (int i = 0; i < 50; i++) {
		before = f->pulls;
		event_base_loop(f->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		most = f->pulls - before > most ? f->pulls - before : most;
	}
	ok(f->pulls > 3 && most <= 1, "at most one pull a pass");
	fx_recv(f, fd, NULL, NULL);
	close(fd);
	fx_free(f);
}

/* ---- HTTP/2 ---- */

/* Sends what the client has to say but reads nothing. */
static void client_push(struct client *c)
{
	const uint8_t *p;
	ssize_t n;

	while ((n = nghttp2_session_mem_send(c->s, &p)) > 0)
		fx_send_bytes(c->f, c->fd, p, (size_t)n);
	fx_run(c->f);
}

static void client_windows(struct client *c, int32_t size)
{
	const nghttp2_settings_entry s = {NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE, (uint32_t)size};

	nghttp2_submit_settings(c->s, 0, &s, 1);
	nghttp2_session_set_local_window_size(c->s, 0, 0, size);
	client_run(c);
}

/* A frame that nghttp2 has announced but could not hand over yet loses its bytes: the connection must not lose its
 * framing. */
static void test_reset_in_frame(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a, b, d;

	client_windows(c, 16 << 20);
	a = ask(c, "GET", "/t/live/1");
	b = ask(c, "GET", "/t/live/2");
	client_push(c);
	for (int i = 0; i < 40; i++) {
		static char big[64 * 1024];

		http_table.write(f->held[0], SL_SLICE(big, sizeof big));
		http_table.write(f->held[1], SL_SLICE(big, sizeof big));
		fx_run(f);
	}
	ok(the_conn(f)->out.bytes >= 256 * 1024, "frames wait for the socket");
	http_table.reset(f->held[0]);
	http_table.reset(f->held[1]);
	fx_run(f);
	is_int(f->gone, 2, "both are reset");
	client_run(c);
	ok(!c->eof && stream_of(c, a)->closed && stream_of(c, b)->closed, "the client hears of it");
	ok(stream_of(c, a)->code == NGHTTP2_INTERNAL_ERROR && stream_of(c, b)->code == NGHTTP2_INTERNAL_ERROR,
	   "as a reset");
	d = ask(c, "GET", "/t/hello");
	client_run(c);
	is_int(stream_of(c, d)->status, 200, "and the connection goes on");
	client_free(c);
	fx_free(f);
}

/* Many slow streams of one connection do not each get a whole queue. */
static void test_many_unread(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);

	client_run(c);
	c->no_window = true;
	for (int i = 0; i < 200; i++)
		ask(c, "GET", "/t/big?n=1000000");
	client_run(c);
	ok(queued(f) < 8 << 20, "what many streams have queued is bounded together");
	printf("# %zu bytes\n", queued(f));
	client_free(c);
	fx_free(f);
}

/* A frame that is a stream error of ours to answer. */
static void overflow_window(struct client *c, int32_t id)
{
	const uint8_t frame[13] = {0,
	                           0,
	                           4,
	                           NGHTTP2_WINDOW_UPDATE,
	                           0,
	                           (uint8_t)(id >> 24),
	                           (uint8_t)(id >> 16),
	                           (uint8_t)(id >> 8),
	                           (uint8_t)id,
	                           0x7f,
	                           0xff,
	                           0xff,
	                           0xff};

	fx_send_bytes(c->f, c->fd, frame, sizeof frame);
}

/* A client that makes us reset its streams (or resets them itself) gets no more than it could have at once. */
static void test_made_reset(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	unsigned n = 0;

	client_run(c);
	fx_clock = clock_ms();
	while (n < 3000 && !c->eof && !c->goaways) {
		int32_t id[100];

		for (int i = 0; i < 100; i++, n++)
			id[i] = ask(c, "GET", "/t/wait/1");
		client_push(c);
		for (int i = 0; i < 100; i++)
			overflow_window(c, id[i]);
		client_run(c);
	}
	ok(f->gone <= 1500, "streams made to be reset are limited");
	fx_clock = 0;
	printf("# %u requests, %u gone\n", f->requests, f->gone);
	client_free(c);
	fx_free(f);
}

static void few_connections(struct fx *f)
{
	f->limits.connections = 1;
}

/* Above the limit of connections a client gets its 503 and has to come again: this connection would refuse for ever. */
static void test_refused_h2(void)
{
	struct fx *f = fx_new_with(few_connections);
	int fd = fx_connect(f);
	struct client *c = client_new(f);
	int32_t a = ask(c, "GET", "/t/hello");

	client_run(c);
	is_int(stream_of(c, a)->status, 503, "HTTP/2 above the limit");
	ok(c->goaways > 0, "and the connection ends");
	client_free(c);
	close(fd);
	fx_free(f);
}

/* ---- bodies that are handed over in pieces ---- */

static struct {
	unsigned calls, after_end;
	bool ended;
} sink;

static void on_sink(void *self, struct sluice_http_req *r)
{
	(void)self;
	(void)r;
	memset(&sink, 0, sizeof sink);
}

/* Says EAGAIN once to every piece and wakes itself from inside: "later" in the shortest form. */
static int on_sink_later(void *self, struct sluice_http_req *r, sl_slice s, int last)
{
	(void)self;
	(void)s;
	if (sink.calls++ % 2 == 0) {
		http_table.wake(r);
		return SLUICE_EAGAIN;
	}
	if (last)
		http_table.reply(r, 200, NULL, 0, SL_STR("all"));
	return 0;
}

/* Ends an answer before the length it announced. */
static int on_sink_short(void *self, struct sluice_http_req *r, sl_slice s, int last)
{
	(void)self;
	(void)s;
	(void)last;
	if (sink.ended) {
		sink.after_end++;
		return 0;
	}
	sink.ended = true;
	http_table.respond(r, 200, NULL, 0, 10);
	http_table.end(r);
	return 0;
}

static void with_sinks(struct fx *f)
{
	struct sluice_route later = {.size = sizeof later,
	                             .methods = "POST",
	                             .pattern = "/later",
	                             .action = "read",
	                             .request = on_sink,
	                             .body = on_sink_later};
	struct sluice_route early = later;
	const char *why;

	early.pattern = "/short";
	early.body = on_sink_short;
	if (http_table.route(&f->ctx, &later) || http_table.route(&f->ctx, &early) ||
	    http_engine_ready(f->engine, &why))
		abort();
}

static void test_wake_inside(void)
{
	struct fx *f = fx_new();
	struct client *c;
	int32_t a;
	const char *answer;

	with_sinks(f);
	answer = fx_once(f, "POST /t/later HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello");
	is_str(body_of(answer), "all", "a wake before EAGAIN is not lost");
	c = client_new(f);
	a = ask_body(c, "POST", "/t/later", "hello", 5);
	client_run(c);
	is_str(text_of(&stream_of(c, a)->body), "all", "nor in HTTP/2");
	client_free(c);
	fx_free(f);
}

static void test_dead_handle(void)
{
	struct fx *f = fx_new();
	struct client *c;

	with_sinks(f);
	fx_once(f,
	        "POST /t/short HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n1\r\nb\r\n0\r\n\r\n");
	ok(sink.ended && sink.after_end == 0, "no piece after an end that became a reset");
	c = client_new(f);
	ask_body(c, "POST", "/t/short", "hello", 5);
	client_run(c);
	ok(sink.ended && sink.after_end == 0, "nor in HTTP/2");
	client_free(c);
	fx_free(f);
}

/* A body that was paused by the plugin and then does not go on is timed again. */
static void test_stall_after_pause(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	struct client *c;
	int32_t a;

	f->refuse_pieces = true;
	fx_send(f, fd, "POST /t/pieces HTTP/1.1\r\nHost: h\r\nContent-Length: 100\r\n\r\npart");
	fx_sweep(f, f->limits.body_timeout + 1);
	is_int(f->gone, 0, "no timeout while the plugin keeps it waiting");
	f->refuse_pieces = false;
	http_table.wake(f->held[0]);
	fx_run(f);
	fx_sweep(f, f->limits.body_timeout + 1);
	is_int(status_of(fx_recv(f, fd, NULL, NULL)), 408, "then the client is timed");
	close(fd);
	fx_run(f);
	f->gone = 0;
	f->refuse_pieces = true;
	c = client_new(f);
	a = ask_more(c, "POST", "/t/pieces", NULL, NULL, "0123456789", 10, 5);
	client_run(c);
	fx_sweep(f, f->limits.body_timeout + 1);
	is_int(f->gone, 0, "the same in HTTP/2");
	f->refuse_pieces = false;
	http_table.wake(f->held[0]);
	client_run(c);
	fx_sweep(f, f->limits.body_timeout + 1);
	client_run(c);
	is_int(stream_of(c, a)->status, 408, "then timed");
	client_free(c);
	fx_free(f);
}

/* A body that brings less than BODY_RATE is cut, however regularly it brings it. */
static void test_trickle(void)
{
	static char part[30000];
	struct fx *f = fx_new();
	size_t least = (size_t)f->limits.body_timeout * BODY_RATE / 1000;
	int fd = fx_connect(f);
	struct timer_node *t;
	struct client *c;
	uint64_t since;

	ok(least > 1024 && 2 * least < sizeof part, "the bound");
	fx_send(f, fd, "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 100000\r\n\r\n");
	t = &f->engine->conns.tqh_first->timer;
	since = t->since -= 1000;
	fx_send_bytes(f, fd, part, least - 1);
	ok(t->cls == T_BODY && t->since == since, "too little gives no more time");
	fx_send_bytes(f, fd, part, 1);
	ok(t->cls == T_BODY && t->since > since, "enough does");
	since = t->since -= 1000;
	fx_send_bytes(f, fd, part, least - 1);
	ok(t->since == since, "from then on it counts anew");
	close(fd);
	fx_run(f);
	c = client_new(f);
	ask_more(c, "POST", "/t/echo", NULL, NULL, part, sizeof part, 1);
	client_run(c);
	t = &f->engine->conns.tqh_first->reqs.tqh_first->timer;
	since = t->since -= 1000;
	stream_of(c, 1)->release = least - 2;
	nghttp2_session_resume_data(c->s, 1);
	client_run(c);
	ok(t->cls == T_STREAM_BODY && t->since == since, "the same in HTTP/2");
	stream_of(c, 1)->release = 2 * least;
	nghttp2_session_resume_data(c->s, 1);
	client_run(c);
	ok(t->cls == T_STREAM_BODY && t->since > since, "enough is enough");
	client_free(c);
	fx_free(f);
}

/* Empty lines between requests are allowed and are no sign of life. */
static void test_empty_lines(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	struct timer_node *t;
	uint64_t since;

	fx_ask(f, fd, GET("/t/hello"));
	t = &f->engine->conns.tqh_first->timer;
	since = t->since -= 1000;
	for (int i = 0; i < 5; i++)
		fx_send(f, fd, "\r\n\r\n");
	ok(t->cls == T_IDLE && t->since == since, "an idle connection does not live on them");
	is_int(status_of(fx_ask(f, fd, "\r\n" GET("/t/hello"))), 200, "a request behind one is served");
	ok(t->cls == T_IDLE && t->since > since, "and begins the idle time anew");
	close(fd);
	fx_free(f);
}

/* ---- memory that a request may pin ---- */

static void test_query_memory(void)
{
	struct fx *f = fx_new();
	int fd = fx_connect(f);
	struct sl_buf ask = {0};
	struct sluice_http_req *r;
	const char *p;
	size_t n = 0;

	sl_buf_addf(&ask, "GET /t/wait/1?");
	for (int i = 0; i < 3500; i++)
		sl_buf_addf(&ask, "&a");
	sl_buf_addf(&ask, "&q%%41=x+%%79&q=1&qA=2 HTTP/1.1\r\nHost: h\r\n\r\n");
	fx_send_bytes(f, fd, ask.data + ask.off, ask.len);
	is_int(f->n_held, 1, "a long query");
	r = f->held[0];
	p = http_table.query(r, "qA", 0).data;
	ok(p && memcmp(p, "x y", 3) == 0, "decoded");
	ok(http_table.query(r, "qA", 0).len == 3 && http_table.query(r, "qA", 1).len == 1 &&
	           !http_table.query(r, "qA", 2).data && !http_table.query(r, "q%41", 0).data,
	   "the i-th");
	ok(http_table.query(r, "a", 3499).data && !http_table.query(r, "a", 3500).data, "without a value: empty");
	for (struct arena_more *m = r->more; m; m = m->next)
		n++;
	ok(n <= 3, "costs what was asked for, not what was sent");
	printf("# %zu blocks\n", n);
	sl_buf_fini(&ask);
	close(fd);
	fx_free(f);
}

/* ---- body memory ---- */

static void small_budget(struct fx *f)
{
	f->budget.max = 100000;
	f->limits.body = 90000;
}

/* Unfinished bodies hold all the memory and each waits for the others: one of them is let through. */
static void test_budget_stuck(void)
{
	static const char head[] = "POST /t/echo HTTP/1.1\r\nHost: h\r\nContent-Length: 80000\r\n\r\n";
	static char body[80000];
	struct fx *f = fx_new_with(small_budget);
	int fd[3];
	unsigned good = 0;
	size_t n, most = 0;

	for (int i = 0; i < 3; i++) {
		fd[i] = fx_connect(f);
		fx_send(f, fd[i], head);
	}
	for (size_t at = 0; at < sizeof body; at += 10000)
		for (int i = 0; i < 3; i++)
			fx_send_bytes(f, fd[i], body + at, 10000);
	ok(f->requests == 0 && f->budget.used > 80000, "nobody is complete");
	for (int i = 0; i < 400 && f->requests < 3; i++) {
		event_base_loop(f->base, EVLOOP_ONCE);
		most = f->budget.used > most ? f->budget.used : most;
	}
	is_int(f->requests, 3, "but all get through");
	ok(most <= f->budget.max + f->limits.body, "one at a time");
	for (int i = 0; i < 3; i++) {
		good += status_of(fx_recv(f, fd[i], &n, NULL)) == 200;
		close(fd[i]);
	}
	is_int(good, 3, "and are answered");
	is_int(f->budget.used, 0, "all given back");
	fx_free(f);
}

int main(void)
{
	test_pipeline_unread();
	test_upgrade_unread();
	test_fair_turns();
	test_reset_in_frame();
	test_many_unread();
	test_made_reset();
	test_refused_h2();
	test_wake_inside();
	test_dead_handle();
	test_stall_after_pause();
	test_trickle();
	test_empty_lines();
	test_query_memory();
	test_budget_stuck();
	return tap_done();
}
