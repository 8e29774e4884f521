/*
 * live.c - live readers: fan-out over SSE, long-poll pairs, parked readers. Program bench/load.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "bench/load.h"

enum { PATIENCE_US = 30 * 1000 * 1000, SILENCE_US = 2 * 1000 * 1000 };

static struct conn *readers, *writers;
static struct stats stats;
static uint64_t end_us, last_us, failed, acked, delivered, *per_stream;
static unsigned ready;
static char *body;

static void put_append(struct conn *c, unsigned stream)
{
	char path[128];

	stream_path(path, sizeof path, stream);
	message_put(body, opt.bytes, c->n, c->sent, now_us());
	conn_put(c, "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
	         opt.root, path, opt.host, opt.bytes);
	conn_put_bytes(c, body, opt.bytes);
	c->sent++;
	conn_flush(c);
}

static void prepare(unsigned n_readers, unsigned n_writers)
{
	body = malloc(opt.bytes);
	readers = calloc(n_readers, sizeof *readers);
	writers = calloc(n_writers, sizeof *writers);
	per_stream = calloc(opt.streams, sizeof *per_stream);
	if (!body || !readers || !writers || !per_stream)
		die("out of memory");
	streams_create("text/plain");
}

/* ---- fan-out ---- */

/* A message may come in two pieces of the socket: what is left of the first is kept before the second. */
struct rest {
	char text[64];
	size_t n;
};

static void take_messages(struct conn *c, const char *p, size_t n)
{
	struct rest *rest = c->user;
	char joined[128];
	const char *end = p + n, *at;
	unsigned conn;
	uint64_t seq, us, now = now_us();
	size_t more = n < sizeof joined - rest->n ? n : sizeof joined - rest->n;

	if (rest->n) {
		memcpy(joined, rest->text, rest->n);
		memcpy(joined + rest->n, p, more);
		if (message_get(joined, joined + rest->n + more, &conn, &seq, &us)) {
			stats_add(&stats, now - us);
			delivered++;
			last_us = now;
			c->acked++;
			rest->n = 0;
		} else if (n < sizeof joined - rest->n) {
			memcpy(rest->text + rest->n, p, n);
			rest->n += n;
			return;
		}
	}
	while ((at = message_get(p, end, &conn, &seq, &us))) {
		stats_add(&stats, now - us);
		delivered++;
		last_us = now;
		c->acked++;
		p = at;
	}
	at = memchr(p, '@', (size_t)(end - p));
	rest->n = at ? (size_t)(end - at) : 0;
	if (at)
		memcpy(rest->text, at, rest->n);
}

/* The first bytes of an event stream say that it is there. */
static void stream_body(struct conn *c, const char *p, size_t n)
{
	if (!c->in_flight) {
		c->in_flight = 1;
		ready++;
	}
	take_messages(c, p, n);
}

static void stream_done(struct conn *c)
{
	die("the event stream of connection %u ended with status %d", c->n, c->status);
}

static void stream_ask(struct conn *c)
{
	char path[128];

	*(struct rest *)c->user = (struct rest){.n = 0};
	stream_path(path, sizeof path, c->n % opt.streams);
	conn_put(c, "GET %s%s?offset=now&live=sse HTTP/1.1\r\nHost: %s\r\n\r\n", opt.root, path, opt.host);
	conn_flush(c);
}

static void subscribe(struct conn *c, unsigned n)
{
	c->on_body = stream_body;
	c->on_done = stream_done;
	c->on_lost = stream_ask;
	c->user = calloc(1, sizeof(struct rest));
	if (!c->user)
		die("out of memory");
	conn_open(c, n);
	stream_ask(c);
}

static void fanout_next(struct conn *c)
{
	if (!opt.rate && now_us() < end_us)
		put_append(c, (unsigned)((c->n + c->sent * opt.connections) % opt.streams));
}

static void fanout_acked(struct conn *c)
{
	failed += c->status != 204 && c->status != 200;
	acked++;
	per_stream[(c->n + c->acked * opt.connections) % opt.streams]++;
	c->acked++;
	fanout_next(c);
}

/* Whether it was appended is not known. */
static void fanout_lost(struct conn *c)
{
	c->sent = c->acked;
	fanout_next(c);
}

static bool fanout_ready(void *arg)
{
	(void)arg;
	return ready == opt.subscribers;
}

/* Everything acknowledged has come to everybody. */
static bool fanout_over(void *arg)
{
	uint64_t *began = arg, now = now_us();

	for (unsigned i = 0; opt.rate && i < opt.connections && now < end_us; i++)
		while ((double)writers[i].sent * opt.connections * 1e6 / opt.rate < (double)(now - *began))
			put_append(&writers[i], (unsigned)((i + writers[i].sent * opt.connections) % opt.streams));
	if (now < end_us)
		return false;
	if (opt.lenient && now > last_us + SILENCE_US)
		return true;
	if (now > end_us + PATIENCE_US)
		die("deliveries are missing: %llu have come", (unsigned long long)delivered);
	for (unsigned i = 0; i < opt.connections; i++)
		if (writers[i].sent != writers[i].acked)
			return false;
	for (unsigned i = 0; i < opt.subscribers; i++)
		if (readers[i].acked < per_stream[i % opt.streams])
			return false;
	return true;
}

int case_fanout(void)
{
	uint64_t began;
	double seconds;

	prepare(opt.subscribers, opt.connections);
	for (unsigned i = 0; i < opt.subscribers; i++)
		subscribe(&readers[i], i);
	loop_run(fanout_ready, NULL);
	for (unsigned i = 0; i < opt.connections; i++) {
		writers[i].on_done = fanout_acked;
		writers[i].on_lost = fanout_lost;
		conn_open(&writers[i], i);
	}
	began = now_us();
	end_us = began + (uint64_t)(opt.seconds * 1e6);
	for (unsigned i = 0; i < opt.connections; i++)
		fanout_next(&writers[i]);
	loop_run(fanout_over, &began);
	seconds = (double)((last_us > end_us ? last_us : end_us) - began) / 1e6;
	for (unsigned i = 0; !opt.lenient && i < opt.subscribers; i++)
		if (readers[i].acked != per_stream[i % opt.streams])
			die("subscriber %u got %llu messages, %llu were acknowledged", i,
			    (unsigned long long)readers[i].acked, (unsigned long long)per_stream[i % opt.streams]);
	stats_print(&stats, seconds, ",\"failed\":%llu,\"lost\":%llu,\"appends_per_second\":%.0f",
	            (unsigned long long)failed, (unsigned long long)conns_lost, (double)acked / seconds);
	return failed && !opt.lenient ? 1 : 0;
}

/* ---- long-poll pairs ---- */

static void poll_ask(struct conn *c)
{
	char path[128];

	strcpy(c->user, c->next);
	stream_path(path, sizeof path, c->n);
	conn_put(c, "GET %s%s?offset=%s&live=long-poll HTTP/1.1\r\nHost: %s\r\n\r\n", opt.root, path, c->next,
	         opt.host);
	conn_flush(c);
}

/* The reader has it: it asks for the next, and the writer writes it. */
static void poll_got(struct conn *c)
{
	if (c->status == 200) {
		stats_add(&stats, now_us() - c->began[0]);
		c->acked++;
	} else if (c->status != 204) {
		die("a long-poll was answered %d", c->status);
	}
	poll_ask(c);
	if (c->status == 200 && now_us() < end_us) {
		c->began[0] = now_us();
		put_append(&writers[c->n], c->n);
	}
}

/* It asks again from where it was; an answer that came in part is not counted. */
static void poll_lost(struct conn *c)
{
	strcpy(c->next, c->user);
	poll_ask(c);
}

static void poll_written(struct conn *c)
{
	failed += c->status != 204 && c->status != 200;
	c->acked++;
}

/* Whether it was appended is not known; if not, its reader waits for it. */
static void poll_unwritten(struct conn *c)
{
	put_append(c, c->n);
}

static bool poll_over(void *arg)
{
	(void)arg;
	if (now_us() < end_us)
		return false;
	if (opt.lenient)
		return true;
	for (unsigned i = 0; i < opt.connections; i++)
		if (readers[i].acked != writers[i].sent || writers[i].acked != writers[i].sent)
			return false;
	return true;
}

int case_poll(void)
{
	uint64_t began;

	opt.streams = opt.connections;
	prepare(opt.connections, opt.connections);
	began = now_us();
	end_us = began + (uint64_t)(opt.seconds * 1e6);
	for (unsigned i = 0; i < opt.connections; i++) {
		readers[i].on_done = poll_got;
		readers[i].on_lost = poll_lost;
		readers[i].user = calloc(1, sizeof readers[i].next);
		writers[i].on_done = poll_written;
		writers[i].on_lost = poll_unwritten;
		if (!readers[i].user)
			die("out of memory");
		conn_open(&readers[i], i);
		conn_open(&writers[i], i);
		strcpy(readers[i].next, "-1");
		poll_ask(&readers[i]);
		readers[i].began[0] = now_us();
		put_append(&writers[i], i);
	}
	loop_run(poll_over, NULL);
	stats_print(&stats, (double)(now_us() - began) / 1e6, ",\"failed\":%llu,\"lost\":%llu",
	            (unsigned long long)failed, (unsigned long long)conns_lost);
	return failed && !opt.lenient ? 1 : 0;
}

/* ---- parked readers ---- */

static bool settled;
static uint64_t parked_us;

static void parked_body(struct conn *c, const char *p, size_t n)
{
	if (opt.sse)
		stream_body(c, p, n);
}

static void parked_done(struct conn *c)
{
	if (opt.sse)
		die("the event stream of connection %u ended with status %d", c->n, c->status);
	if (c->status != 200 && c->status != 204)
		die("a long-poll was answered %d", c->status);
	if (c->status == 200) {
		stats_add(&stats, now_us() - parked_us);
		delivered++;
	} else if (!settled) {
		die("a long-poll ended before everybody was there");
	}
}

static bool parked_ready(void *arg)
{
	uint64_t *deadline = arg;

	/* A long-poll says nothing while it waits: it has had its time to arrive. */
	return opt.sse ? ready == opt.connections : now_us() > *deadline;
}

static bool parked_over(void *arg)
{
	(void)arg;
	return delivered >= opt.connections;
}

static void wait_for_line(const char *say)
{
	char line[64];

	puts(say);
	fflush(stdout);
	if (!fgets(line, sizeof line, stdin))
		exit(1);
}

/* Says "ready" before the readers come and "idle" when they are parked, and each time waits for a line: whoever measures memory
 * does it then. */
int case_idle(void)
{
	uint64_t deadline;
	char path[128];
	struct reply r;

	opt.streams = 1;
	prepare(opt.connections, 1);
	wait_for_line("ready");
	for (unsigned i = 0; i < opt.connections; i++) {
		struct conn *c = &readers[i];

		c->on_body = parked_body;
		c->on_done = parked_done;
		c->user = calloc(1, sizeof(struct rest));
		conn_open(c, i);
		stream_path(path, sizeof path, 0);
		conn_put(c, "GET %s%s?offset=now&live=%s HTTP/1.1\r\nHost: %s\r\n\r\n", opt.root, path,
		         opt.sse ? "sse" : "long-poll", opt.host);
		conn_flush(c);
	}
	deadline = now_us() + 2000000;
	loop_run(parked_ready, &deadline);
	wait_for_line("idle");
	settled = true;
	stats = (struct stats){0};
	delivered = 0;
	stream_path(path, sizeof path, 0);
	parked_us = now_us();
	message_put(body, opt.bytes, 0, 0, parked_us);
	r = exchange("POST", path, "Content-Type: text/plain\r\n", body, opt.bytes);
	expect(&r, 204, 200, "the append");
	loop_run(parked_over, NULL);
	stats_print(&stats, (double)(now_us() - parked_us) / 1e6, ",\"wake_all_us\":%llu",
	            (unsigned long long)(now_us() - parked_us));
	reply_free(&r);
	return 0;
}
