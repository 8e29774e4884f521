/*
 * append.c - appends as fast as they are answered, then everything is read back. Program bench/load.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bench/load.h"

static struct conn *conns;
static struct stats stats;
static uint64_t end_us, failed;
static char *body;
static size_t body_len;

static void append_body(unsigned conn, uint64_t seq, uint64_t us)
{
	char *p = body;

	if (!opt.batch) {
		message_put(p, opt.bytes, conn, seq, us);
		return;
	}
	*p++ = '[';
	for (unsigned i = 0; i < opt.batch; i++) {
		*p++ = '"';
		message_put(p, opt.bytes, conn, seq * opt.batch + i, us);
		p += opt.bytes;
		p[-1] = '"'; /* a line feed would have to be escaped */
		*p++ = i + 1 < opt.batch ? ',' : ']';
	}
}

static void append_fill(struct conn *c)
{
	char path[128];

	stream_path(path, sizeof path, c->n % opt.streams);
	while (c->in_flight < opt.pipeline && now_us() < end_us) {
		uint64_t us = now_us();

		append_body(c->n, c->sent, us);
		conn_put(c, "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: %s\r\nContent-Length: %zu\r\n\r\n",
		         opt.root, path, opt.host, opt.batch ? "application/json" : "text/plain", body_len);
		conn_put_bytes(c, body, body_len);
		c->began[c->sent++ % PIPELINE_MAX] = us;
		c->in_flight++;
	}
	conn_flush(c);
}

static void append_answered(struct conn *c)
{
	failed += c->status != 200 && c->status != 204;
	stats_add(&stats, now_us() - c->began[c->acked++ % PIPELINE_MAX]);
	stats.bytes += body_len;
	c->in_flight--;
	append_fill(c);
}

static bool append_over(void *arg)
{
	(void)arg;
	if (now_us() < end_us)
		return false;
	for (unsigned i = 0; i < opt.connections; i++)
		if (conns[i].in_flight > 0)
			return false;
	return true;
}

static uint64_t check_stream(unsigned stream, uint64_t *next)
{
	char offset[40] = "-1", path[256];
	uint64_t found = 0;

	for (bool more = true; more;) {
		int at = 0;
		struct reply r;
		const char *p, *end;
		unsigned conn;
		uint64_t seq, us;

		stream_path(path, sizeof path, stream);
		at = (int)strlen(path);
		snprintf(path + at, sizeof path - (size_t)at, "?offset=%s", offset);
		r = exchange("GET", path, "Accept-Encoding: identity\r\n", "", 0);
		expect(&r, 200, 200, "reading back");
		end = r.body + r.len;
		for (p = r.body; (p = message_get(p, end, &conn, &seq, &us)); found++)
			if (conn >= opt.connections || seq != next[conn]++)
				die("stream %u: message %llu of connection %u is out of order", stream,
				    (unsigned long long)seq, conn);
		more = !r.up_to_date;
		memcpy(offset, r.next, sizeof offset);
		reply_free(&r);
	}
	return found;
}

/* What was acknowledged is there exactly once and in order. */
static uint64_t append_check(void)
{
	uint64_t *next = calloc(opt.connections, sizeof *next), found = 0;
	unsigned batch = opt.batch ? opt.batch : 1;

	if (!next)
		die("out of memory");
	for (unsigned i = 0; i < opt.streams; i++)
		found += check_stream(i, next);
	for (unsigned i = 0; i < opt.connections; i++)
		if (next[i] != conns[i].acked * batch)
			die("connection %u: %llu acknowledged, %llu found", i,
			    (unsigned long long)conns[i].acked * batch, (unsigned long long)next[i]);
	free(next);
	return found;
}

int case_append(void)
{
	uint64_t began;
	double seconds;

	body_len = opt.batch ? opt.batch * (opt.bytes + 2) + 1 : opt.bytes;
	body = malloc(body_len + 1);
	conns = calloc(opt.connections, sizeof *conns);
	if (!body || !conns)
		die("out of memory");
	streams_create(opt.batch ? "application/json" : "text/plain");
	for (unsigned i = 0; i < opt.connections; i++) {
		conns[i].on_done = append_answered;
		conn_open(&conns[i], i);
	}
	began = now_us();
	end_us = began + (uint64_t)(opt.seconds * 1e6);
	for (unsigned i = 0; i < opt.connections; i++)
		append_fill(&conns[i]);
	loop_run(append_over, NULL);
	seconds = (double)(now_us() - began) / 1e6;
	stats_print(&stats, seconds, ",\"failed\":%llu,\"checked\":%llu", (unsigned long long)failed,
	            (unsigned long long)append_check());
	return failed ? 1 : 0;
}
