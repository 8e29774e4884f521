/*
 * test_h2.c - HTTP/2: exchanges, windows, live answers, limits, draining. Unit test.
 */
#include "tests/unit/frontend/http/client2.h"

static const struct sluice_http *H = &http_table;

static void test_plain(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a = ask(c, "GET", "/t/hello"), b = ask(c, "HEAD", "/t/hello"),
		d = ask_body(c, "POST", "/t/echo", "body", 4);
	int32_t e, g, h, i, j;

	client_run(c);
	e = ask(c, "GET", "/t/nobody/204");
	g = ask(c, "GET", "/t/nobody/304");
	h = ask(c, "GET", "/t/nothing");
	i = ask(c, "PUT", "/t/hello");
	j = ask(c, "GET", "/t/show/a%2Fb?q=1&q=2");
	client_run(c);
	ok(stream_of(c, a)->status == 200 && stream_of(c, a)->closed, "GET");
	is_str(text_of(&stream_of(c, a)->body), "hello", "body");
	ok(has(text_of(&stream_of(c, a)->headers), "content-length: 5\n"), "Content-Length");
	ok(has(text_of(&stream_of(c, a)->headers), "x-default: yes\n"), "default header");
	ok(stream_of(c, b)->status == 200 && stream_of(c, b)->data_frames == 0 && stream_of(c, b)->closed,
	   "HEAD without DATA");
	is_str(text_of(&stream_of(c, d)->body), "body", "POST");
	ok(stream_of(c, e)->status == 204 && stream_of(c, e)->data_frames == 0, "204 without DATA");
	ok(stream_of(c, g)->status == 304 && stream_of(c, g)->data_frames == 0, "304 without DATA");
	is_int(stream_of(c, h)->status, 404, "404");
	ok(stream_of(c, i)->status == 405 && has(text_of(&stream_of(c, i)->headers), "allow: GET, HEAD\n"),
	   "405 with Allow");
	is_str(text_of(&stream_of(c, j)->body), "show/a/b|/t/show/a%2Fb|http://h:1|1|two",
	       "the same view of the target");
	is_int(c->max_streams, 200, "SETTINGS announce the limit");
	is_int(c->initial_window, 256 * 1024, "and the window");
	client_free(c);
	is_int(f->engine->n_conns, 0, "closed");
	fx_free(f);
}

static void test_bodies(void)
{
	static char big[900000];
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a, b;

	memset(big, 'x', sizeof big);
	a = ask_body(c, "POST", "/t/echo", big, sizeof big);
	b = ask(c, "GET", "/t/big?n=2000000");
	client_run(c);
	ok(stream_of(c, a)->status == 200 && stream_of(c, a)->body.len == sizeof big, "a large body both ways");
	is_int(stream_of(c, b)->body.len, 2000000, "a pulled answer");
	a = ask(c, "HEAD", "/t/big?n=2000000");
	b = ask_more(c, "GET", "/t/big?n=2000000&gzip", "accept-encoding", "gzip", NULL, 0, 0);
	client_run(c);
	ok(stream_of(c, a)->closed && stream_of(c, a)->data_frames == 0, "HEAD of a pulled answer ends too");
	ok(stream_of(c, b)->closed && stream_of(c, b)->code == 0 && stream_of(c, b)->body.len > 100,
	   "a pulled answer, compressed");
	a = ask_body(c, "POST", "/t/tiny", big, 11);
	client_run(c);
	is_int(stream_of(c, a)->status, 413, "413");
	a = ask_more(c, "POST", "/t/tiny", "content-length", "11", big, 11, SIZE_MAX);
	client_run(c);
	is_int(stream_of(c, a)->status, 413, "413 by Content-Length");
	a = ask_more(c, "POST", "/t/echo", "content-length", "5", big, 4, SIZE_MAX);
	client_run(c);
	ok(stream_of(c, a)->closed && stream_of(c, a)->code == NGHTTP2_PROTOCOL_ERROR,
	   "a wrong Content-Length is a stream error");
	f->requests = 0;
	a = ask_more(c, "POST", "/t/echo", NULL, NULL, big, 10, 5);
	client_run(c);
	nghttp2_submit_rst_stream(c->s, 0, a, NGHTTP2_CANCEL);
	client_run(c);
	is_int(f->requests, 0, "a request cut in its body never reaches the plugin");
	a = ask_more(c, "POST", "/t/echo", "expect", "100-continue", big, 10, 0);
	client_run(c);
	is_int(stream_of(c, a)->informational, 100, "100-continue");
	stream_of(c, a)->release = SIZE_MAX;
	nghttp2_session_resume_data(c->s, a);
	client_run(c);
	is_int(stream_of(c, a)->body.len, 10, "then the body");
	a = ask_more(c, "POST", "/t/echo", "expect", "tea", big, 10, 0);
	client_run(c);
	is_int(stream_of(c, a)->status, 417, "417");
	b = ask(c, "GET", "/t/hello");
	client_run(c);
	is_int(stream_of(c, b)->status, 200, "the connection goes on");
	client_free(c);
	fx_free(f);
}

static void more_body(struct fx *f)
{
	f->limits.body = 4 << 20;
}

static void test_backpressure(void)
{
	static char big[2000000];
	struct fx *f = fx_new_with(more_body);
	struct client *c = client_new(f);
	int32_t a, b;

	memset(big, 'y', sizeof big);
	client_run(c); /* the settings of the server first: its window is larger than the default */
	f->refuse_pieces = true;
	a = ask_body(c, "POST", "/t/pieces", big, sizeof big);
	client_run(c);
	is_int(stream_of(c, a)->send_len, sizeof big - 256 * 1024, "a plugin that says EAGAIN closes the window");
	b = ask(c, "GET", "/t/hello");
	client_run(c);
	is_int(stream_of(c, b)->status, 200, "others go on");
	f->refuse_pieces = false;
	H->wake(f->held[0]);
	client_run(c);
	is_int(stream_of(c, a)->send_len, 0, "wake() opens it");
	is_int(stream_of(c, a)->body.len, sizeof big, "all arrived");
	for (int i = 0; i < 5; i++) {
		f->refuse_pieces = true;
		a = ask_body(c, "POST", "/t/pieces", big, sizeof big);
		client_run(c);
		nghttp2_submit_rst_stream(c->s, 0, a, NGHTTP2_CANCEL);
		client_run(c);
	}
	is_int(f->gone, 5, "a paused upload that is cut is gone()");
	ok(nghttp2_session_get_remote_window_size(c->s) > 256 * 1024, "and gives the connection's window back");
	client_free(c);
	fx_free(f);
}

static void test_send_window(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a;

	c->no_window = true;
	a = ask(c, "GET", "/t/big?n=3000000");
	client_run(c);
	is_int(stream_of(c, a)->body.len, 65535, "the client's window holds the answer back");
	ok(f->pulls <= 4, "and the pulls");
	fx_sweep(f, f->limits.send_timeout + 1);
	client_run(c);
	ok(stream_of(c, a)->closed && stream_of(c, a)->code == NGHTTP2_INTERNAL_ERROR,
	   "a client that never opens it is cut");
	is_int(f->gone, 1, "gone");
	client_free(c);
	fx_free(f);
}

static int32_t ask_live(struct client *c, int n)
{
	int32_t first = 0;

	for (int i = 0; i < n; i++) {
		char path[32];
		int32_t id;

		snprintf(path, sizeof path, "/t/live/%d", i);
		id = ask(c, "GET", path);
		first = first ? first : id;
	}
	client_run(c);
	return first;
}

static void test_live(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	struct sluice_buf *b = shared_new(SL_STR("event"));
	int32_t first = ask_live(c, 150);
	unsigned got = 0;

	is_int(f->n_held, 150, "150 live answers on one connection");
	for (size_t i = 0; i < f->n_held; i++)
		H->write_buf(f->held[i], b);
	is_int(b->refs, 151, "shared by all");
	is_int(H->pending(f->held[3]), 5, "pending");
	client_run(c);
	for (int i = 0; i < 150; i++)
		got += strcmp(text_of(&stream_of(c, first + 2 * i)->body), "event") == 0;
	is_int(got, 150, "each got it");
	is_int(b->refs, 1, "given back");
	nghttp2_submit_rst_stream(c->s, 0, first, NGHTTP2_CANCEL);
	client_run(c);
	is_int(f->gone, 1, "RST_STREAM is gone()");
	is_str(f->log + strlen(f->log) - 12, "gone:live/0 ", "for that one");
	H->end(f->held[0]);
	memmove(f->held, f->held + 1, --f->n_held * sizeof *f->held);
	client_run(c);
	ok(stream_of(c, first + 2)->closed && stream_of(c, first + 2)->code == 0, "end() ends a stream");
	is_int(f->gone, 1, "without gone()");
	H->reset(f->held[0]);
	client_run(c);
	ok(stream_of(c, first + 4)->closed && stream_of(c, first + 4)->code == NGHTTP2_INTERNAL_ERROR, "reset()");
	is_int(f->gone, 2, "with gone()");
	shared_unref(b);
	client_free(c);
	is_int(f->gone, 149, "a closed connection is gone() for all");
	fx_free(f);
}

static void test_limits(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	static char value[9000], path[1200];
	int32_t a;

	memset(value, 'v', sizeof value - 1);
	memset(path, 'p', sizeof path - 1);
	path[0] = '/';
	a = ask_more(c, "GET", "/t/hello", "x-long", value, NULL, 0, 0);
	client_run(c);
	is_int(stream_of(c, a)->status, 431, "431");
	a = ask(c, "GET", path);
	client_run(c);
	is_int(stream_of(c, a)->status, 414, "414");
	a = ask(c, "GET", "/t/show/%zz");
	client_run(c);
	is_int(stream_of(c, a)->status, 400, "400");
	fx_clock = clock_ms(); /* floods within one second, however slow this machine is */
	for (int i = 0; i < 3000 && !c->eof; i++) {
		nghttp2_submit_ping(c->s, 0, NULL);
		client_send(c);
	}
	client_run(c);
	ok(c->eof || c->goaway_code == NGHTTP2_ENHANCE_YOUR_CALM, "a ping flood ends the connection");
	client_free(c);
	c = client_new(f);
	client_run(c);
	for (int i = 0; i < 3000 && !c->eof; i++) {
		a = ask(c, "GET", "/t/wait/1");
		client_send(c);
		nghttp2_submit_rst_stream(c->s, 0, a, NGHTTP2_CANCEL);
		client_send(c);
	}
	client_run(c);
	ok(c->eof || c->goaways > 0, "so does a rapid reset");
	fx_clock = 0;
	client_free(c);
	fx_free(f);
}

static void test_timeouts(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a = ask_more(c, "POST", "/t/echo", NULL, NULL, "abcdef", 6, 3);

	client_run(c);
	fx_sweep(f, f->limits.body_timeout + 1);
	client_run(c);
	is_int(stream_of(c, a)->status, 408, "a body that does not come");
	fx_sweep(f, f->limits.idle_timeout + 1);
	client_run(c);
	ok(c->goaways == 1 && c->goaway_code == 0, "an idle connection ends with GOAWAY");
	client_free(c);
	fx_free(f);
}

static void on_idle(void *arg)
{
	((struct fx *)arg)->idle = true;
}

static void test_drain(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	int32_t a = ask(c, "GET", "/t/wait/1");

	client_run(c);
	http_engine_drain(f->engine, 0, on_idle, f);
	client_run(c);
	ok(c->goaways == 1 && c->goaway_last == INT32_MAX, "first a notice");
	fx_sweep(f, 1000);
	client_run(c);
	ok(c->goaways == 2 && c->goaway_last == a, "then the last stream");
	ok(!f->idle && !c->eof, "open answers are finished");
	H->reply(f->held[0], 200, NULL, 0, SL_STR("done"));
	f->n_held = 0;
	client_run(c);
	ok(stream_of(c, a)->status == 200 && c->eof, "the last answer, then the end");
	client_free(c);
	ok(f->idle, "idle is told");
	fx_free(f);
}

/* A header that is another one in every answer must not push out of the client's table those that are the same in all. */
static void test_header_table(void)
{
	struct fx *f = fx_new();
	struct client *c = client_new(f);
	char number[40] = "";
	const struct sluice_header h[] = {
		{SL_STR("date"), SL_STR("Sun, 06 Nov 1994 08:49:37 GMT")}, /* the engine's would change while this runs */
		{SL_STR("content-type"), SL_STR("text/plain")},
		{SL_STR("x-number"), SL_SLICE(number, sizeof number - 1)},
	};
	size_t first = 0;
	int32_t a = 0;

	for (int i = 0; i < 150; i++) {
		a = ask(c, "GET", "/t/wait/1");
		client_run(c);
		snprintf(number, sizeof number, "%039d", i);
		H->reply(f->held[0], 200, h, 3, SL_STR(""));
		f->n_held = 0;
		client_run(c);
		if (i == 0)
			first = nghttp2_session_get_hd_inflate_dynamic_table_size(c->s);
	}
	ok(has(text_of(&stream_of(c, a)->headers), number) && has(text_of(&stream_of(c, a)->headers), "x-default: yes\n"),
	   "the last answer has all its headers");
	is_int(first, strlen("content-type" "text/plain" "x-default" "yes") + 2 * 32, "the table has what repeats");
	is_int(nghttp2_session_get_hd_inflate_dynamic_table_size(c->s), first, "and nothing else after many answers");
	is_int(H->defaults(&f->ctx, h, 1), SLUICE_EINVAL, "what a mount says in every answer is settled by then");
	client_free(c);
	fx_free(f);
}

int main(void)
{
	test_plain();
	test_header_table();
	test_bodies();
	test_backpressure();
	test_send_window();
	test_live();
	test_limits();
	test_timeouts();
	test_drain();
	return tap_done();
}
