/*
 * test_flow.c - back-pressure both ways: bounded queues and pull(), pause(), shared buffers.
 */
#include "tests/unit/frontend/ws/harness.h"

static void test_queue_bound(void)
{
	enum { SIZE = 1000 };
	struct ws_limits limits = {.send_queue = 64 * 1024};
	struct world w;
	struct client c;
	uint8_t data[SIZE] = {0};
	unsigned sent = 0;
	int e;

	world_open(&w, "/", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	client_listen(&c, 0);
	for (int turns = 0; turns < 2000; turns++) {
		while ((e = ws_table.send(w.plugin.last, SL_SLICE(data, SIZE), 1)) == 0)
			sent++;
		if (w.plugin.last->out.bytes > limits.send_queue)
			break;
		if (event_base_loop(w.base, EVLOOP_ONCE | EVLOOP_NONBLOCK))
			break;
	}
	is_int(e, SLUICE_EAGAIN, "the queue is full");
	ok(w.plugin.last->out.bytes <= limits.send_queue, "and within its bound");
	is_int(w.plugin.pulled > 0 && w.plugin.pulled < 2000, 1, "pull() ran when there was room, not for ever");
	w.plugin.pulled = 0;
	w.plugin.pull_sends = 500;
	client_listen(&c, 1);
	run_until(&w, c.bytes == (size_t)sent * SIZE + 500 * 1024);
	ok(w.plugin.pulled > 1, "pull() ran as the client read on");
	is_int(c.messages, sent + 500, "every message arrived once");
	client_close(&c);
	world_close(&w);
}

static void test_one_large(void)
{
	enum { SIZE = 300000 };
	struct ws_limits limits = {.send_queue = 64 * 1024};
	struct world w;
	struct client c;
	char *data = calloc(1, SIZE);

	world_open(&w, "/", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	is_int(ws_table.send(w.plugin.last, SL_SLICE(data, SIZE), 1), 0,
	       "an empty queue takes one message of any size");
	is_int(ws_table.send(w.plugin.last, SL_STR("x"), 1), SLUICE_EAGAIN, "and nothing behind it");
	run_until(&w, c.messages == 1);
	is_int(c.bytes, SIZE, "it arrived whole");
	run_until(&w, w.plugin.pulled == 1);
	client_close(&c);
	world_close(&w);
	free(data);
}

static void test_shared(void)
{
	struct world w;
	struct client c[3];
	struct sluice_ws *ws[3];
	struct sluice_buf *buf = shared_new(SL_STR("for everybody"));

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	for (int i = 0; i < 3; i++) {
		client_open(&w, &c[i], "/x");
		ws[i] = w.plugin.last;
	}
	for (int i = 0; i < 3; i++)
		ok(ws_table.send_buf(ws[i], buf, 0) == 0);
	is_int(buf->refs, 4, "one copy, a reference for each");
	for (int i = 0; i < 3; i++)
		run_until(&w, c[i].messages == 1);
	is_int(buf->refs, 1, "given back when sent");
	ok(ws_table.send_buf(ws[0], buf, 0) == 0);
	client_close(&c[0]);
	run_until(&w, w.plugin.closed == 1);
	is_int(buf->refs, 1, "given back when the connection ended");
	client_close(&c[1]);
	client_close(&c[2]);
	world_close(&w);
	shared_unref(buf);
}

static void test_pause(void)
{
	enum { COUNT = 300 };
	struct world w;
	struct client c, other;
	struct sluice_ws *ws;
	uint8_t *bytes = calloc(COUNT, 600), payload[500];
	size_t n = 0;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	client_open(&w, &c, "/x");
	ws = w.plugin.last;
	client_open(&w, &other, "/x");

	/* Many messages in one write: pause() in the first message() holds back the others. */
	w.plugin.pause_on_message = 1;
	for (int i = 0; i < COUNT; i++) {
		memset(payload, i, sizeof payload);
		n += frame_make(bytes + n, 1, 2, payload, (size_t)(i * 7 % 500));
	}
	client_bytes(&c, bytes, n);
	run_until(&w, w.plugin.messages == 1);
	w.plugin.pause_on_message = 0;
	for (int i = 0; i < 10; i++) { /* turns that somebody else causes */
		ok(ws_table.send(w.plugin.last, SL_STR("tick"), 0) == 0);
		run_until(&w, other.messages == (unsigned)i + 1);
	}
	is_int(w.plugin.messages, 1, "nothing while paused");

	w.plugin.pause_on_message = 1;
	for (unsigned i = 2; i <= COUNT; i++) {
		ws_table.pause(ws, 0);
		run_until(&w, w.plugin.messages >= i);
		if (w.plugin.messages != i || w.plugin.text.len != (i - 1) * 7 % 500 ||
		    (w.plugin.text.len && w.plugin.text.data[w.plugin.text.off] != (uint8_t)(i - 1)))
			break;
	}
	is_int(w.plugin.messages, COUNT, "one at a time, in order, none lost");

	/* A message that arrives in pieces across a pause. */
	w.plugin.pause_on_message = 0;
	ws_table.pause(ws, 0);
	n = frame_make(bytes, 1, 2, bytes + 100000, 20000);
	client_bytes(&c, bytes, 10000);
	for (int i = 0; i < 20; i++)
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	ws_table.pause(ws, 1);
	client_bytes(&c, bytes + 10000, n - 10000);
	for (int i = 0; i < 20; i++)
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	is_int(w.plugin.messages, COUNT, "paused in the middle of a message");
	ws_table.pause(ws, 0);
	run_until(&w, w.plugin.messages == COUNT + 1);
	is_int(w.plugin.text.len, 20000, "and whole afterwards");

	/* Closing a paused connection: the client's answer has to be read. */
	ws_table.pause(ws, 1);
	ws_table.close(ws, 1000, NULL);
	run_until(&w, c.close_code && c.eof && w.plugin.closed == 1);
	is_int(w.plugin.code, 1000, "closed while paused");
	client_close(&c);
	client_close(&other);
	world_close(&w);
	free(bytes);
}

int main(void)
{
	test_queue_bound();
	test_one_large();
	test_shared();
	test_pause();
	return tap_done();
}
