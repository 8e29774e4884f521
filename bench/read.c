/*
 * read.c - whole streams read over and over, alone or while others write. Program bench/load.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"

static struct conn *readers, *writers;
static struct stats stats;
static uint64_t end_us, failed, written, *stream_bytes;
static char *body;

static void prepare_stream(unsigned i)
{
	char path[128];

	stream_path(path, sizeof path, i);
	for (size_t n = 0; n < opt.total; n += opt.bytes) {
		struct reply r;

		message_put(body, opt.bytes, 0, n / opt.bytes, 0);
		if (opt.batch) { /* a JSON stream: one string per append */
			char *json = malloc(opt.bytes + 3);

			if (!json)
				die("out of memory");
			json[0] = '"';
			memcpy(json + 1, body, opt.bytes);
			json[opt.bytes] = '"';
			r = exchange("POST", path, "Content-Type: application/json\r\n", json, opt.bytes + 1);
			free(json);
		} else {
			r = exchange("POST", path, "Content-Type: text/plain\r\n", body, opt.bytes);
		}
		expect(&r, 204, 200, "filling a stream");
		reply_free(&r);
		stream_bytes[i] += opt.bytes;
	}
}

/* One stream from its beginning: the next piece, or the whole again. */
static void read_ask(struct conn *c)
{
	char path[128];

	if (c->sent == c->acked) {
		if (now_us() >= end_us)
			return;
		c->began[0] = now_us();
		strcpy(c->next, "-1");
		c->sent++;
		c->began[1] = 0; /* bytes of this round */
	}
	stream_path(path, sizeof path, c->n % opt.streams);
	conn_put(c, "GET %s%s?offset=%s HTTP/1.1\r\nHost: %s\r\nAccept-Encoding: identity\r\n\r\n", opt.root, path,
	         c->next, opt.host);
	conn_flush(c);
}

static void read_body(struct conn *c, const char *p, size_t n)
{
	(void)p;
	c->began[1] += n;
	stats.bytes += n;
}

static void read_done(struct conn *c)
{
	if (c->status != 200)
		failed++;
	if (c->up_to_date || c->status != 200) {
		/* JSON answers are a little longer than what was written. */
		if (!opt.batch && c->status == 200 && c->began[1] != stream_bytes[c->n % opt.streams])
			die("a read of %llu bytes, %llu were written", (unsigned long long)c->began[1],
			    (unsigned long long)stream_bytes[c->n % opt.streams]);
		c->acked++;
		stats_add(&stats, now_us() - c->began[0]);
	}
	read_ask(c);
}

static void write_ask(struct conn *c)
{
	if (now_us() >= end_us)
		return;
	message_put(body, opt.bytes, c->n, c->sent++, 0);
	conn_put(c,
	         "POST %s/bench/%s/w%u HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
	         opt.root, opt.run, c->n, opt.host, opt.bytes);
	conn_put_bytes(c, body, opt.bytes);
	conn_flush(c);
}

static void write_done(struct conn *c)
{
	failed += c->status != 204 && c->status != 200;
	written++;
	c->acked++;
	write_ask(c);
}

static bool read_over(void *arg)
{
	(void)arg;
	if (now_us() < end_us)
		return false;
	for (unsigned i = 0; i < opt.subscribers; i++)
		if (readers[i].sent != readers[i].acked)
			return false;
	for (unsigned i = 0; writers && i < opt.connections; i++)
		if (writers[i].sent != writers[i].acked)
			return false;
	return true;
}

static void prepare(void)
{
	body = malloc(opt.bytes);
	readers = calloc(opt.subscribers, sizeof *readers);
	stream_bytes = calloc(opt.streams, sizeof *stream_bytes);
	if (!body || !readers || !stream_bytes)
		die("out of memory");
	streams_create(opt.batch ? "application/json" : "text/plain");
	for (unsigned i = 0; i < opt.streams; i++)
		prepare_stream(i);
	for (unsigned i = 0; i < opt.subscribers; i++) {
		readers[i].on_body = read_body;
		readers[i].on_done = read_done;
		conn_open(&readers[i], i);
	}
}

static int run(void)
{
	uint64_t began = now_us();
	double seconds;

	end_us = began + (uint64_t)(opt.seconds * 1e6);
	for (unsigned i = 0; i < opt.subscribers; i++)
		read_ask(&readers[i]);
	for (unsigned i = 0; writers && i < opt.connections; i++)
		write_ask(&writers[i]);
	loop_run(read_over, NULL);
	seconds = (double)(now_us() - began) / 1e6;
	stats_print(&stats, seconds, ",\"failed\":%llu,\"writes_per_second\":%.0f", (unsigned long long)failed,
	            (double)written / seconds);
	return failed ? 1 : 0;
}

int case_read(void)
{
	opt.subscribers = opt.connections;
	prepare();
	return run();
}

int case_mixed(void)
{
	prepare();
	writers = calloc(opt.connections, sizeof *writers);
	if (!writers)
		die("out of memory");
	for (unsigned i = 0; i < opt.connections; i++) {
		char path[128];
		struct reply r;

		snprintf(path, sizeof path, "/bench/%s/w%u", opt.run, i);
		r = exchange("PUT", path, "Content-Type: text/plain\r\n", "", 0);
		expect(&r, 201, 200, "creating a stream");
		reply_free(&r);
		writers[i].on_done = write_done;
		conn_open(&writers[i], i);
	}
	return run();
}
