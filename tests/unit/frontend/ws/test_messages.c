/*
 * test_messages.c - what goes in comes out: kinds, sizes, fragments, UTF-8, limits. A client's bytes cost at most its
 * connection.
 */
#include "tests/unit/frontend/ws/harness.h"

static void test_echo(void)
{
	struct world w;
	struct client c;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	w.plugin.echo = 1;
	client_open(&w, &c, "/echo");
	ok(strncmp(c.head, "HTTP/1.1 101 ", 13) == 0);
	ok(strstr(c.head, "Sec-WebSocket-Accept: " ACCEPT "\r\n"), "the accept value of RFC 6455");
	ok(!strstr(c.head, "Sec-WebSocket-Extensions"), "no extension");

	client_frame(&c, 1, 1, "gr\xc3\xbc\xc3\x9f", 6);
	run_until(&w, c.messages == 1);
	is_int(c.message_opcode, 1, "text comes back as text");
	ok(c.message.len == 6 && memcmp(c.message.data + c.message.off, "gr\xc3\xbc\xc3\x9f", 6) == 0);

	client_frame(&c, 1, 2, "\0\xff\x80", 3);
	run_until(&w, c.messages == 2);
	is_int(c.message_opcode, 2, "binary as binary");
	is_int(c.message.len, 3, "with its zero byte");

	client_frame(&c, 1, 1, "", 0);
	run_until(&w, c.messages == 3);
	is_int(c.message.len, 0, "an empty message is a message");
	is_int(w.plugin.messages, 3, "three in");
	client_close(&c);
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 1006, "no close frame: abnormal");
	world_close(&w);
}

static void test_fragments(void)
{
	static const char text[] = "Straße";
	struct world w;
	struct client c;
	uint8_t bytes[64];
	size_t n;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	w.plugin.echo = 1;
	client_open(&w, &c, "/echo");
	client_frame(&c, 0, 1, text, 5); /* ends inside the sharp s */
	client_frame(&c, 1, 9, "hi", 2); /* a control frame may stand between */
	client_frame(&c, 0, 0, text + 5, 0);
	client_frame(&c, 0, 0, text + 5, 1);
	client_frame(&c, 1, 0, text + 6, 1);
	run_until(&w, c.messages == 1);
	ok(c.message.len == 7 && memcmp(c.message.data + c.message.off, text, 7) == 0);
	is_int(w.plugin.messages, 1, "fragments are one message to the plugin");

	n = frame_make(bytes, 1, 2, "byte by byte", 12);
	for (size_t i = 0; i < n; i++) {
		client_bytes(&c, bytes + i, 1);
		event_base_loop(w.base, EVLOOP_NONBLOCK);
	}
	run_until(&w, c.messages == 2);
	ok(c.message.len == 12 && memcmp(c.message.data + c.message.off, "byte by byte", 12) == 0);
	client_close(&c);
	world_close(&w);
}

static void test_large(void)
{
	enum { SIZE = 200000 };
	struct world w;
	struct client c;
	uint8_t *data = malloc(SIZE);

	for (size_t i = 0; i < SIZE; i++)
		data[i] = (uint8_t)(i * 7 + i / 251);
	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	w.plugin.echo = 1;
	client_open(&w, &c, "/echo");
	for (unsigned i = 1; i <= 5; i++) {
		client_frame(&c, 1, 2, data, SIZE);
		run_until(&w, c.messages == i);
		ok(c.message.len == SIZE && memcmp(c.message.data + c.message.off, data, SIZE) == 0);
	}
	is_int(c.frames, 5 * 4, "sent in fragments of 64 KiB");
	client_close(&c);
	world_close(&w);
	free(data);
}

static void test_too_big(void)
{
	struct world w;
	struct client c, d, e;
	uint8_t bytes[2048], data[1024];

	memset(data, 'x', sizeof data);
	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 1000);
	client_open(&w, &c, "/echo");
	client_frame(&c, 1, 2, data, 1000);
	run_until(&w, w.plugin.messages == 1);
	frame_make(bytes, 1, 2, data, 1001);
	client_bytes(&c, bytes, 100); /* the length is enough to know */
	run_until(&w, c.close_code);
	is_int(c.close_code, 1009, "message too big");
	client_close(&c); /* in the middle of the frame: no answer to the close can be told from its payload */
	run_until(&w, w.plugin.closed == 1);
	is_int(w.plugin.code, 1009, "the plugin is told");

	client_open(&w, &d, "/echo");
	for (int i = 0; i < 11; i++)
		client_frame(&d, 0, i ? 0 : 2, data, 100);
	run_until(&w, d.close_code);
	is_int(d.close_code, 1009, "too big in fragments");

	client_open(&w, &e, "/echo");
	memcpy(bytes, "\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff\1\2\3\4abcd", 18);
	client_bytes(&e, bytes, 18);
	run_until(&w, e.close_code);
	is_int(e.close_code, 1009, "a length of 2^63-1");
	is_int(w.plugin.messages, 1, "none of them reached the plugin");
	client_close(&d);
	client_close(&e);
	world_close(&w);
}

static void test_utf8(void)
{
	static const struct {
		const char *name;
		struct {
			int fin, opcode;
			const char *data;
		} frame[3];
	} bad[] = {
		{"a stray byte", {{1, 1, "abc\xff"}}},
		{"an overlong slash", {{1, 1, "\xc0\xaf"}}},
		{"a surrogate", {{1, 1, "\xed\xa0\x80"}}},
		{"beyond U+10FFFF", {{1, 1, "\xf4\x90\x80\x80"}}},
		{"cut off at the end", {{1, 1, "abc\xe2\x82"}}},
		{"cut off before an empty last fragment", {{0, 1, "abc\xe2\x82"}, {1, 0, ""}}},
		{"broken across fragments", {{0, 1, "\xe2\x82"}, {0, 0, "x"}, {1, 0, "y"}}},
	};
	struct world w;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct client c;

		client_open(&w, &c, "/echo");
		for (int k = 0; k < 3 && bad[i].frame[k].data; k++)
			client_frame(&c, bad[i].frame[k].fin, bad[i].frame[k].opcode, bad[i].frame[k].data,
			             strlen(bad[i].frame[k].data));
		run_until(&w, c.close_code);
		is_int(c.close_code, 1007, bad[i].name);
		client_close(&c);
	}
	is_int(w.plugin.messages, 0, "none reached the plugin");
	world_close(&w);
}

static void test_protocol(void)
{
	static const struct {
		const char *name, *bytes;
		size_t n;
	} bad[] = {
		{"a reserved opcode", "\x83\x80\1\2\3\4", 6},
		{"a reserved bit", "\xc1\x80\1\2\3\4", 6},
		{"a continuation of nothing", "\x80\x80\1\2\3\4", 6},
		{"a fragmented ping", "\x09\x80\1\2\3\4", 6},
		{"a new message inside a fragmented one", "\x01\x80\1\2\3\4\x81\x80\1\2\3\4", 12},
	};
	struct world w;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		struct client c;

		client_open(&w, &c, "/echo");
		client_bytes(&c, bad[i].bytes, bad[i].n);
		run_until(&w, c.close_code || c.eof);
		is_int(c.close_code, 1002, bad[i].name);
		client_close(&c);
	}
	is_int(w.plugin.messages, 0, "none reached the plugin");
	world_close(&w);
}

static void test_many(void)
{
	enum { CLIENTS = 20, ROUNDS = 1000 };
	static struct client c[CLIENTS];
	struct world w;
	unsigned done = 0;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/echo", NULL, 0);
	w.plugin.echo = 1;
	for (int i = 0; i < CLIENTS; i++)
		client_open(&w, &c[i], "/echo");
	for (unsigned round = 0; round < ROUNDS; round++) {
		for (int i = 0; i < CLIENTS; i++)
			client_frame(&c[i], 1, 2, &round, sizeof round);
		for (done = 0; done < CLIENTS; done += c[done].messages == round + 1)
			if (c[done].messages <= round && !world_wait(&w))
				break;
	}
	is_int(done, CLIENTS, "20 connections, 1000 echoes each");
	is_int(w.plugin.messages, CLIENTS * ROUNDS, "every message reached the plugin");
	for (int i = 0; i < CLIENTS; i++)
		client_close(&c[i]);
	run_until(&w, w.plugin.closed == CLIENTS);
	world_close(&w);
}

int main(void)
{
	test_echo();
	test_fragments();
	test_large();
	test_too_big();
	test_utf8();
	test_protocol();
	test_many();
	return tap_done();
}
