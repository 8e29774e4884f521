/*
 * load.h - what the files of the load generator share. Program bench/load, a single thread around epoll.
 *
 * It is written so that one core of it outruns what it measures, and it checks what it measures: what was acknowledged is
 * read back, or counted at every subscriber, and a difference ends it with 1.
 */
#ifndef LOAD_H
#define LOAD_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum { CONNECTIONS_MAX = 20000, PIPELINE_MAX = 64 };

/* ---- main.c: key=value arguments, the same for every case ---- */
struct options {
	struct sockaddr_in addr;
	const char *host, *root, *run; /* run: makes stream names of their own */
	unsigned connections, streams, pipeline, batch, rate, subscribers;
	size_t bytes, total;
	double seconds;
	bool sse, lenient; /* lenient: deliveries that do not come, and connections that go, are counted and not fatal */
};
extern struct options opt;
__attribute__((noreturn, format(printf, 1, 2))) void die(const char *fmt, ...);
uint64_t now_us(void);
void stream_path(char *out, size_t size, unsigned i); /* below the root */

/* ---- stats.c: latencies of which all quantiles are asked for at the end ---- */
struct stats {
	uint32_t *us;
	size_t n, cap;
	uint64_t count, bytes;
};
void stats_add(struct stats *, uint64_t us);
void stats_print(struct stats *, double seconds, const char *more_fmt, ...)
	__attribute__((format(printf, 3, 4))); /* one line of JSON */

/* ---- client.c: connections that are driven by the loop, and blocking exchanges ---- */
struct conn {
	int fd;
	unsigned n; /* its number */
	char *out, *in;
	size_t out_off, out_len, out_cap, in_len, in_cap;
	/* the answer being read */
	int status;
	bool head, chunked;
	uint64_t left; /* of the body, or of the chunk */
	char next[40]; /* Stream-Next-Offset */
	bool up_to_date;
	/* what the case does with it */
	void (*on_body)(struct conn *, const char *, size_t); /* NULL: skipped */
	void (*on_done)(struct conn *);                       /* an answer is complete */
	void (*on_lost)(struct conn *);                       /* with lenient: there is a new connection; NULL: fatal */
	void *user;
	unsigned in_flight;
	uint64_t sent, acked, began[PIPELINE_MAX];
};
void conn_open(struct conn *, unsigned n); /* connects, joins the loop */
void conn_close(struct conn *);
void conn_reserve(struct conn *, size_t room);
void conn_put(struct conn *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void conn_put_bytes(struct conn *, const void *, size_t);
void conn_flush(struct conn *);
extern uint64_t conns_lost;
/* Runs until done() says so. */
void loop_run(bool (*done)(void *), void *arg);

struct reply {
	int status;
	char *body, next[40];
	size_t len;
	bool up_to_date;
	char *memory;
};
/* On a connection of its own, HTTP/1.0, so that no answer is chunked. */
struct reply exchange(const char *method, const char *path, const char *headers, const char *body, size_t len);
void reply_free(struct reply *);
void streams_create(const char *type);
void expect(const struct reply *, int a, int b, const char *what);

/* ---- message.c: bodies that can be recognised ---- */
/* "@conn:seq:us " padded to len, ended by a line feed; len >= 64 */
void message_put(char *to, size_t len, unsigned conn, uint64_t seq, uint64_t us);
const char *message_get(const char *from, const char *end, unsigned *conn, uint64_t *seq,
                        uint64_t *us); /* NULL: none is complete */

/* ---- the cases ---- */
int case_append(void), case_read(void), case_fanout(void), case_poll(void), case_idle(void), case_many(void),
	case_mixed(void), case_presence(void);

#endif
