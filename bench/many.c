/*
 * many.c - very many streams: created, appended to once each, read at random. Program bench/load.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"

enum { LANES = 64 };

static struct conn conns[LANES];
static unsigned given, answered, phase;
static uint64_t failed;
static char *body;
static struct stats stats[3];

/* create, append, read: each stream once; reads in an order of their own. */
static unsigned pick(void)
{
	unsigned i = given++;

	return phase == 2 ? (unsigned)(((uint64_t)i * 2654435761u) % opt.streams) : i;
}

static void many_ask(struct conn *c)
{
	static const char *const type = "Content-Type: text/plain\r\n";
	char path[128];
	unsigned i;

	if (given == opt.streams)
		return;
	i = pick();
	stream_path(path, sizeof path, i);
	c->began[0] = now_us();
	if (phase == 0) {
		conn_put(c, "PUT %s%s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: 0\r\n\r\n", opt.root, path, opt.host,
		         type);
	} else if (phase == 1) {
		message_put(body, opt.bytes, c->n, i, 0);
		conn_put(c, "POST %s%s HTTP/1.1\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n", opt.root, path, opt.host,
		         type, opt.bytes);
		conn_put_bytes(c, body, opt.bytes);
	} else {
		conn_put(c, "GET %s%s?offset=-1 HTTP/1.1\r\nHost: %s\r\n\r\n", opt.root, path, opt.host);
	}
	conn_flush(c);
}

static void many_body(struct conn *c, const char *p, size_t n)
{
	(void)p;
	c->acked += n;
}

static void many_done(struct conn *c)
{
	if (c->status / 100 != 2 || (phase == 2 && c->acked != opt.bytes))
		failed++;
	c->acked = 0;
	answered++;
	stats_add(&stats[phase], now_us() - c->began[0]);
	many_ask(c);
}

static bool many_over(void *arg)
{
	(void)arg;
	return answered == opt.streams;
}

int case_many(void)
{
	static const char *const names[] = {"create", "append", "read"};

	body = malloc(opt.bytes);
	if (!body)
		die("out of memory");
	for (unsigned i = 0; i < LANES; i++) {
		conns[i].on_body = many_body;
		conns[i].on_done = many_done;
		conn_open(&conns[i], i);
	}
	for (phase = 0; phase < 3; phase++) {
		uint64_t began = now_us();

		given = answered = 0;
		for (unsigned i = 0; i < LANES; i++)
			many_ask(&conns[i]);
		loop_run(many_over, NULL);
		stats_print(&stats[phase], (double)(now_us() - began) / 1e6, ",\"phase\":\"%s\",\"failed\":%llu",
		            names[phase], (unsigned long long)failed);
	}
	return failed ? 1 : 0;
}
