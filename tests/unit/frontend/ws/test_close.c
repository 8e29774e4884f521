/*
 * test_close.c - every way a connection ends, and that the plugin hears of it exactly once.
 */
#include "tests/unit/frontend/ws/harness.h"

static void test_by_plugin(void)
{
	struct world w;
	struct client c, d, e;
	char reason[300];

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);

	w.plugin.close_in_open = 4001;
	client_open(&w, &c, "/x");
	run_until(&w, c.close_code && c.eof);
	is_int(c.close_code, 4001, "accepted, then closed with a code of its own");
	is_str(c.reason, "not you", "and a reason");
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 4001, "closed() has the code");
	w.plugin.close_in_open = 0;

	client_open(&w, &d, "/x");
	for (int i = 0; i < 100; i++)
		ok(ws_table.send(w.plugin.last, SL_STR("before"), 0) == 0);
	ws_table.close(w.plugin.last, 1000, "bye");
	ws_table.close(w.plugin.last, 4999, "the second one does nothing");
	is_int(ws_table.send(w.plugin.last, SL_STR("after"), 0), SLUICE_ECLOSED, "nothing goes out behind a close");
	client_frame(&d, 1, 1, "too late", 8);
	run_until(&w, d.close_code && d.eof);
	is_int(d.messages, 100, "what was queued went out first");
	is_int(d.close_code, 1000, "then the close");
	is_int(w.plugin.messages, 0, "no message after close()");
	run_until(&w, w.plugin.closed == 2);
	is_int(w.plugin.code, 1000, "closed() has its code");

	client_open(&w, &e, "/x");
	memset(reason, 'r', sizeof reason);
	memcpy(reason + 122, "ü", 2); /* bytes 122 and 123: the second one does not fit */
	reason[299] = 0;
	ws_table.close(w.plugin.last, 1005, reason);
	run_until(&w, e.close_code && e.eof);
	is_int(e.close_code, 1011, "a code that may not be sent");
	is_int(strlen(e.reason), 122, "a reason is cut at a character");
	client_close(&c);
	client_close(&d);
	client_close(&e);
	world_close(&w);
}

static void test_by_client(void)
{
	static const struct {
		const char *name, *payload;
		size_t n;
		int answer, code;
	} how[] = {
		{"1000", "\x03\xe8", 2, 1000, 1000},
		{"4321 with a reason", "\x10\xe1why", 5, 4321, 4321},
		{"no code", "", 0, 1005, 1005},
		{"half a code", "\x03", 1, 1002, 1002},
		{"a reason that is not UTF-8", "\x03\xe8\xff", 3, 1007, 1007},
	};
	struct world w;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	for (unsigned i = 0; i < sizeof how / sizeof *how; i++) {
		struct client c;

		client_open(&w, &c, "/x");
		c.mute = 1;
		client_frame(&c, 1, 8, how[i].payload, how[i].n);
		run_until(&w, c.close_code);
		is_int(c.close_code, how[i].answer, how[i].name);
		client_frame(&c, 1, 8, how[i].payload, how[i].n);
		run_until(&w, c.eof && w.plugin.closed == i + 1);
		is_int(w.plugin.code, how[i].code, "what closed() is told");
		client_close(&c);
	}
	world_close(&w);
}

/* A frame as a server sends it, whole or in two pieces: a client must not. */
static void test_unmasked(void)
{
	static const struct {
		const char *name, *bytes;
		size_t n;
	} how[] = {
		{"a short one", "\x81\x02hi", 4},
		{"a longer one", "\x82\x7e\x00\x80", 4},
		{"a very long one", "\x82\x7f\0\0\0\0\0\0\xff\xff", 10},
		{"an empty one", "\x81\x00", 2},
		{"a ping", "\x89\x00", 2},
		{"a close", "\x88\x02\x03\xe8", 4},
	};
	static char big[70000];
	struct world w;
	unsigned n = 0;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	for (unsigned i = 0; i < 3 * sizeof how / sizeof *how; i++) {
		struct client c;

		client_open(&w, &c, "/x");
		c.mute = 1;
		client_frame(&c, 1, 2, big, i % 3 == 0 ? 5 : i % 3 == 1 ? 300 : sizeof big);
		n++;
		run_until(&w, w.plugin.messages == n);
		client_bytes(&c, how[i / 3].bytes, i % 3 == 1 ? 1 : how[i / 3].n);
		for (int k = 0; i % 3 == 1 && k < 5; k++)
			event_base_loop(w.base, EVLOOP_NONBLOCK);
		if (i % 3 == 1)
			client_bytes(&c, how[i / 3].bytes + 1, how[i / 3].n - 1);
		client_frame(&c, 1, 1, "masked again", 12);
		run_until(&w, c.close_code);
		is_int(c.close_code, 1002, how[i / 3].name);
		run_until(&w, c.eof && w.plugin.closed == n);
		is_int(w.plugin.code, 1002, "closed() hears it");
		client_close(&c);
	}
	is_int(w.plugin.messages, n, "nothing unmasked, or behind it, is a message");
	world_close(&w);
}

/* Right behind the head, not waiting for the 101. */
static void test_unmasked_early(void)
{
	struct world w;
	struct client c;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	is_int(client_upgrade(&w, &c, "/x", NULL, "sec-websocket-key: " KEY "\r\nsec-websocket-version: 13\r\n",
	                      SL_STR("\x81\x02hi")),
	       0, "upgraded");
	run_until(&w, c.close_code);
	is_int(c.close_code, 1002, "an unmasked frame behind the head");
	run_until(&w, c.eof && w.plugin.closed == 1);
	is_int(w.plugin.messages, 0, "no message");
	client_close(&c);
	world_close(&w);
}

static void test_vanished(void)
{
	struct world w;
	struct client c, d;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	client_frame(&c, 0, 1, "half a message", 14);
	client_close(&c);
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 1006, "no close frame");
	is_int(w.plugin.messages, 0, "half a message is none");

	/* While it is closing; a message() that closes. */
	w.plugin.close_on_message = 4002;
	client_open(&w, &d, "/x");
	client_frame(&d, 1, 1, "x", 1);
	client_frame(&d, 1, 1, "y", 1);
	client_close(&d);
	run_until(&w, w.plugin.closed == 2);
	is_int(w.plugin.messages, 1, "one message, then it was closed");
	is_int(w.plugin.code, 4002, "the code is what the plugin asked for");
	world_close(&w);
}

static void test_deaf(void)
{
	enum { SIZE = 1 << 20 };
	struct ws_limits limits = {.close_timeout = 50, .ping_interval = 400};
	struct world w;
	struct client c;
	char *data = calloc(1, SIZE);

	world_open(&w, "/", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	client_listen(&c, 0);
	ok(ws_table.send(w.plugin.last, SL_SLICE(data, SIZE), 1) == 0);
	ws_table.close(w.plugin.last, 1000, NULL);
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 1000, "a client that does not read cannot hold up its close");
	client_close(&c);
	world_close(&w);
	free(data);
}

static void test_dead(void)
{
	struct ws_limits limits = {.ping_interval = 160};
	struct world w;
	struct client live, dead, paused;
	struct sluice_ws *ws;

	world_open(&w, "/", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &paused, "/x");
	ws = w.plugin.last;
	ws_table.pause(ws, 1);
	client_open(&w, &live, "/x");
	client_open(&w, &dead, "/x");
	dead.mute = 1;
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 1006, "cut");
	run_until(&w, dead.eof);
	ok(dead.pings >= 1, "it was asked first");
	run_until(&w, live.pings >= 4);
	ok(!live.eof, "a client that answers stays");
	ok(!paused.eof, "a client whose answers are not read stays");
	is_int(w.plugin.closed, 1, "only one was cut");
	client_close(&live);
	client_close(&dead);
	client_close(&paused);
	world_close(&w);
}

static void test_stuck(void)
{
	enum { SIZE = 1 << 20 };
	struct ws_limits limits = {.ping_interval = 160};
	struct world w;
	struct client c;
	char *data = calloc(1, SIZE);

	world_open(&w, "/", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	client_listen(&c, 0);
	ok(ws_table.send(w.plugin.last, SL_SLICE(data, SIZE), 1) == 0);
	while (w.plugin.closed == 0 && world_wait(&w))
		client_frame(&c, 1, 2, "talks, but does not listen", 26);
	is_int(w.plugin.code, 1006, "a client that never reads is cut");
	is_int(w.plugin.closed, 1, "and closed() told");
	client_close(&c);
	world_close(&w);
	free(data);
}

static void on_idle(void *arg)
{
	struct world *w = arg;

	w->idle++;
}

static void test_drain(void)
{
	struct world w;
	struct client c[5], late;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	for (int i = 0; i < 5; i++) {
		client_open(&w, &c[i], "/x");
		ok(ws_table.send(w.plugin.last, SL_STR("last words"), 0) == 0);
	}
	is_int(ws_engine_connections(w.engine), 5, "five connections");
	ws_engine_drain(w.engine, on_idle, &w);
	is_int(client_upgrade(&w, &late, "/x", NULL, "sec-websocket-key: " KEY "\r\nsec-websocket-version: 13\r\n",
	                      SL_STR("")),
	       SLUICE_EBUSY, "no new ones");
	run_until(&w, w.idle);
	for (int i = 0; i < 5; i++) {
		run_until(&w, c[i].eof);
		is_int(c[i].close_code, 1001, "going away");
		is_int(c[i].messages, 1, "what was queued came first");
		client_close(&c[i]);
	}
	is_int(w.idle, 1, "idle() ran once");
	is_int(w.plugin.closed, 5, "and after the last closed()");
	client_close(&late);
	world_close(&w);

	world_open(&w, "/", NULL);
	ws_engine_drain(w.engine, on_idle, &w);
	is_int(w.idle, 0, "not inside the call");
	run_until(&w, w.idle);
	world_close(&w);
}

static void test_free(void)
{
	struct world w;
	struct client c[3];

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	for (int i = 0; i < 3; i++)
		client_open(&w, &c[i], "/x");
	ok(ws_table.send(w.plugin.last, SL_STR("never sent"), 0) == 0);
	for (int i = 0; i < 3; i++)
		event_free(c[i].event);
	world_close(&w); /* checks that closed() ran for all */
	for (int i = 0; i < 3; i++) {
		char byte;

		ok(read(c[i].fd, &byte, 1) == 0, "the socket is closed");
		close(c[i].fd);
		sl_buf_fini(&c[i].in);
	}
}

int main(void)
{
	test_by_plugin();
	test_by_client();
	test_unmasked();
	test_unmasked_early();
	test_vanished();
	test_deaf();
	test_dead();
	test_stuck();
	test_drain();
	test_free();
	return tap_done();
}
