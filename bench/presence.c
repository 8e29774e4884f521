/*
 * presence.c - subscribers of one ephemeral channel while others write to it. Program bench/load.
 *
 * An update has one entry, whose value is a message (message.c); it comes back to every subscriber as an event, base64.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "bench/load.h"

enum { PATIENCE_US = 30 * 1000 * 1000, LINE_MAX_BYTES = 1 << 16 };

struct follower { /* what is known of an event stream */
	char line[LINE_MAX_BYTES];
	size_t n;
	bool data; /* the event that is coming is one of data */
};

static struct conn *readers, *writers;
static struct stats stats;
static uint64_t end_us, began_us, failed, acked;
static unsigned ready;
static uint8_t *update;

static size_t put_number(uint8_t *to, uint64_t v)
{
	size_t n = 0;

	for (; v >= 0x80; v >>= 7)
		to[n++] = (uint8_t)(v | 0x80);
	to[n++] = (uint8_t)v;
	return n;
}

static void presence_write(struct conn *c)
{
	struct timespec now;
	size_t n = 0;

	clock_gettime(CLOCK_REALTIME, &now);
	n += put_number(update + n, 1);
	n += put_number(update + n, 4);
	memcpy(update + n, "w000", 4);
	update[n + 3] = (uint8_t)('0' + c->n % 10);
	n += 4;
	update[n++] = 1; /* present */
	update[n++] = 4; /* a text */
	n += put_number(update + n, opt.bytes);
	message_put((char *)update + n, opt.bytes, c->n, c->sent, now_us());
	n += opt.bytes;
	n += put_number(update + n, ((uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000) << 1);
	conn_put(c, "POST %s/bench HTTP/1.1\r\nHost: %s\r\nContent-Length: %zu\r\n\r\n", opt.root, opt.host, n);
	conn_put_bytes(c, update, n);
	c->sent++;
	conn_flush(c);
}

static int base64_value(char c)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *at = c ? strchr(digits, c) : NULL;

	return at ? (int)(at - digits) : -1;
}

/* In place; how many bytes. */
static size_t base64_decode(char *p, size_t n)
{
	static int8_t value[256];
	unsigned bits = 0, held = 0;
	size_t out = 0;

	if (!value['B'])
		for (int i = 0; i < 256; i++)
			value[i] = (int8_t)base64_value((char)i);
	for (size_t i = 0; i < n && value[(uint8_t)p[i]] >= 0; i++) {
		bits = bits << 6 | (unsigned)value[(uint8_t)p[i]];
		held += 6;
		if (held >= 8) {
			held -= 8;
			p[out++] = (char)(bits >> held);
		}
	}
	return out;
}

static void take_line(struct conn *c, struct follower *f)
{
	unsigned conn;
	uint64_t seq, us;
	size_t n;

	if (f->n > 7 && memcmp(f->line, "event: ", 7) == 0) {
		f->data = f->n == 11 && memcmp(f->line + 7, "data", 4) == 0;
		ready += !f->data;
		return;
	}
	if (!f->data || f->n < 6 || memcmp(f->line, "data: ", 6) != 0)
		return;
	n = base64_decode(f->line + 6, f->n - 6);
	if (!message_get(f->line + 6, f->line + 6 + n, &conn, &seq, &us))
		die("subscriber %u got an update that nobody sent", c->n);
	stats_add(&stats, now_us() - us);
	c->acked++;
}

static void follow(struct conn *c, const char *p, size_t n)
{
	struct follower *f = c->user;

	while (n > 0) {
		const char *end = memchr(p, '\n', n);
		size_t part = end ? (size_t)(end - p) : n;

		if (part > sizeof f->line - f->n)
			die("subscriber %u got a line that is too long", c->n);
		memcpy(f->line + f->n, p, part);
		f->n += part;
		if (!end)
			return;
		take_line(c, f);
		f->n = 0;
		p = end + 1;
		n -= part + 1;
	}
}

static void follow_done(struct conn *c)
{
	die("the event stream of connection %u ended with status %d", c->n, c->status);
}

static void write_done(struct conn *c)
{
	failed += c->status != 204;
	acked++;
	c->acked++;
}

static bool presence_ready(void *arg)
{
	(void)arg;
	return ready == opt.subscribers;
}

/* Everything acknowledged has come to everybody. */
static bool presence_over(void *arg)
{
	uint64_t now = now_us();

	(void)arg;
	for (unsigned i = 0; i < opt.connections && now < end_us; i++)
		while ((double)writers[i].sent * opt.connections * 1e6 / opt.rate < (double)(now - began_us))
			presence_write(&writers[i]);
	if (now < end_us)
		return false;
	if (now > end_us + PATIENCE_US)
		die("deliveries are missing: %llu have come", (unsigned long long)stats.count);
	for (unsigned i = 0; i < opt.connections; i++)
		if (writers[i].sent != writers[i].acked)
			return false;
	for (unsigned i = 0; i < opt.subscribers; i++)
		if (readers[i].acked < acked)
			return false;
	return true;
}

int case_presence(void)
{
	double seconds;

	if (!opt.rate)
		die("presence needs rate=");
	update = malloc(opt.bytes + 64);
	readers = calloc(opt.subscribers, sizeof *readers);
	writers = calloc(opt.connections, sizeof *writers);
	if (!update || !readers || !writers)
		die("out of memory");
	for (unsigned i = 0; i < opt.subscribers; i++) {
		readers[i].on_body = follow;
		readers[i].on_done = follow_done;
		readers[i].user = calloc(1, sizeof(struct follower));
		if (!readers[i].user)
			die("out of memory");
		conn_open(&readers[i], i);
		conn_put(&readers[i], "GET %s/bench?live=sse HTTP/1.1\r\nHost: %s\r\n\r\n", opt.root, opt.host);
		conn_flush(&readers[i]);
	}
	loop_run(presence_ready, NULL);
	for (unsigned i = 0; i < opt.connections; i++) {
		writers[i].on_done = write_done;
		conn_open(&writers[i], i);
	}
	began_us = now_us();
	end_us = began_us + (uint64_t)(opt.seconds * 1e6);
	loop_run(presence_over, NULL);
	seconds = (double)(now_us() - began_us) / 1e6;
	for (unsigned i = 0; i < opt.subscribers; i++)
		if (readers[i].acked != acked)
			die("subscriber %u got %llu updates, %llu were acknowledged", i,
			    (unsigned long long)readers[i].acked, (unsigned long long)acked);
	stats_print(&stats, seconds, ",\"failed\":%llu,\"updates_per_second\":%.0f", (unsigned long long)failed,
	            (double)acked / seconds);
	return failed ? 1 : 0;
}
