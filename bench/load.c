/*
 * load.c - load generator for `./dev bench`: appends over HTTP/1.1 keep-alive connections, then reads back and checks.
 *
 * usage: load HOST:PORT ROOT CASE CONNECTIONS STREAMS SECONDS BYTES [PIPELINE]
 *   CASE append: every connection appends BYTES-sized messages to its stream (connection number modulo STREAMS)
 *   CASE read:   every connection reads the stream that one append run of BYTES left behind, over and over
 *
 * Each message begins with "<connection>:<sequence> " so that the check can tell that what was acknowledged is there exactly
 * once and in order. Prints one line of JSON. Written so that one core of it outruns what it measures: one thread, epoll,
 * requests prepared in place.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CONNECTIONS_MAX = 4096, PIPELINE_MAX = 64, IN_MAX = 64 * 1024, LATENCY_MAX = 1 << 21 };

struct conn {
	int fd;
	unsigned n, in_flight;
	uint64_t sent, acked; /* sequence numbers given out, acknowledged */
	uint64_t began[PIPELINE_MAX];
	char *out;
	size_t out_off, out_len, in_len;
	uint64_t body_left;
	char in[IN_MAX];
};

static struct {
	struct sockaddr_in addr;
	const char *host, *root, *what, *run;
	unsigned connections, streams, pipeline;
	size_t bytes;
	double seconds;
	struct conn *conn;
	int epoll;
	bool stopping;
	uint64_t done, failed, read_bytes;
	uint32_t *latency; /* microseconds */
	size_t n_latency;
} load;

static void die(const char *what)
{
	fprintf(stderr, "load: %s: %s\n", what, strerror(errno));
	exit(1);
}

static uint64_t now_us(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000u + (uint64_t)t.tv_nsec / 1000u;
}

static void address_parse(const char *text)
{
	char host[64];
	const char *colon = strrchr(text, ':');

	if (!colon || (size_t)(colon - text) >= sizeof host) {
		fprintf(stderr, "load: expected HOST:PORT, got %s\n", text);
		exit(2);
	}
	snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
	load.addr.sin_family = AF_INET;
	load.addr.sin_port = htons((uint16_t)atoi(colon + 1));
	if (inet_pton(AF_INET, host, &load.addr.sin_addr) != 1) {
		fprintf(stderr, "load: not an IPv4 address: %s\n", host);
		exit(2);
	}
	load.host = text;
}

static int socket_open(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || connect(fd, (struct sockaddr *)&load.addr, sizeof load.addr))
		die("connect");
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

/* One blocking exchange on a connection of its own; HTTP/1.0, so that no answer is chunked. Returns the status; the body (if wanted) is the caller's to free. */
static int exchange(const char *method, const char *path, const char *headers, const char *body, char **got, size_t *got_len)
{
	size_t cap = 1 << 16, len = 0;
	char *in = malloc(cap + 1), head[2048];
	int fd = socket_open(), status = 0;
	ssize_t n;

	if (!in)
		die("memory");
	n = snprintf(head, sizeof head, "%s %s%s HTTP/1.0\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n%s", method,
	             load.root, path, load.host, headers, strlen(body), body);
	if (write(fd, head, (size_t)n) != n)
		die("write");
	while ((n = read(fd, in + len, cap - len)) > 0) {
		len += (size_t)n;
		if (len == cap) {
			cap *= 2;
			in = realloc(in, cap + 1);
			if (!in)
				die("memory");
		}
	}
	close(fd);
	in[len] = '\0';
	if (len > 12)
		status = atoi(in + 9);
	if (got) {
		char *end = strstr(in, "\r\n\r\n");

		*got = in;
		*got_len = len;
		if (!end)
			status = 0;
	} else {
		free(in);
	}
	return status;
}

static void stream_path(char *out, size_t size, unsigned i)
{
	snprintf(out, size, "/bench/%s/%u", load.run, i);
}

static void streams_create(void)
{
	for (unsigned i = 0; i < load.streams; i++) {
		char path[128];
		int status;

		stream_path(path, sizeof path, i);
		status = exchange("PUT", path, "Content-Type: text/plain\r\n", "", NULL, NULL);
		if (status != 201 && status != 200) {
			fprintf(stderr, "load: creating %s gave %d\n", path, status);
			exit(1);
		}
	}
}

static void conn_write(struct conn *c)
{
	while (c->out_off < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0)
			die("send");
		c->out_off += (size_t)n;
	}
	c->out_off = c->out_len = 0;
}

/* Fills the pipeline: requests are appended behind what is still being written. */
static void conn_fill(struct conn *c)
{
	while (!load.stopping && c->in_flight < load.pipeline) {
		char path[128], *p = c->out + c->out_len;
		size_t head;

		stream_path(path, sizeof path, c->n % load.streams);
		if (strcmp(load.what, "read") == 0) {
			c->out_len += (size_t)sprintf(p, "GET %s%s HTTP/1.1\r\nHost: %s\r\n\r\n", load.root, path, load.host);
		} else {
			head = (size_t)sprintf(p, "POST %s%s HTTP/1.1\r\nHost: %s\r\nContent-Type: text/plain\r\nContent-Length: %zu\r\n\r\n",
			                       load.root, path, load.host, load.bytes);
			memset(p + head, 'x', load.bytes);
			p[head + (size_t)sprintf(p + head, "%u:%llu", c->n, (unsigned long long)c->sent)] = ' ';
			p[head + load.bytes - 1] = '\n';
			c->out_len += head + load.bytes;
		}
		c->began[c->sent % PIPELINE_MAX] = now_us();
		c->sent++;
		c->in_flight++;
	}
	conn_write(c);
}

static void conn_answer(struct conn *c, int status)
{
	uint64_t us = now_us() - c->began[c->acked % PIPELINE_MAX];

	if (status == 200 || status == 204)
		load.done++;
	else
		load.failed++;
	if (load.n_latency < LATENCY_MAX)
		load.latency[load.n_latency++] = us > UINT32_MAX ? UINT32_MAX : (uint32_t)us;
	c->acked++;
	c->in_flight--;
}

/* Parses answers out of c->in; bodies are counted and skipped. */
static void conn_parse(struct conn *c)
{
	size_t at = 0;

	for (;;) {
		char *end, *len;
		size_t left = c->in_len - at;

		if (c->body_left > 0) {
			uint64_t n = c->body_left < left ? c->body_left : left;

			c->body_left -= n;
			at += n;
			load.read_bytes += n;
			if (c->body_left > 0)
				break;
			conn_answer(c, 200);
			continue;
		}
		c->in[c->in_len] = '\0';
		end = strstr(c->in + at, "\r\n\r\n");
		if (!end)
			break;
		*end = '\0';
		len = strcasestr(c->in + at, "\r\ncontent-length:");
		c->body_left = len ? strtoull(len + 17, NULL, 10) : 0;
		if (c->body_left == 0)
			conn_answer(c, atoi(c->in + at + 9));
		at = (size_t)(end - c->in) + 4;
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void conn_read(struct conn *c)
{
	ssize_t n = recv(c->fd, c->in + c->in_len, sizeof c->in - 1 - c->in_len, MSG_DONTWAIT);

	if (n == 0 || (n < 0 && errno != EAGAIN))
		die("connection lost");
	if (n > 0) {
		c->in_len += (size_t)n;
		conn_parse(c);
		conn_fill(c);
	}
}

static double load_run(void)
{
	uint64_t begin = now_us(), end = begin + (uint64_t)(load.seconds * 1e6);
	unsigned busy = load.connections;

	for (unsigned i = 0; i < load.connections; i++) {
		struct conn *c = &load.conn[i];
		struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

		c->n = i;
		c->fd = socket_open();
		c->out = malloc(load.pipeline * (load.bytes + 512));
		if (!c->out || epoll_ctl(load.epoll, EPOLL_CTL_ADD, c->fd, &e))
			die("connection");
		conn_fill(c);
	}
	while (busy > 0) {
		struct epoll_event e[256];
		int n = epoll_wait(load.epoll, e, 256, 1000);

		if (now_us() >= end)
			load.stopping = true;
		for (int i = 0; i < n; i++) {
			struct conn *c = e[i].data.ptr;

			if (e[i].events & EPOLLOUT)
				conn_write(c);
			if (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR))
				conn_read(c);
		}
		busy = 0;
		for (unsigned i = 0; load.stopping && i < load.connections; i++)
			busy += load.conn[i].in_flight > 0;
		busy += !load.stopping;
	}
	return (double)(now_us() - begin) / 1e6;
}

/* Every acknowledged message of every connection is there once and in order. Follows Stream-Next-Offset to the end. */
static uint64_t load_check(void)
{
	uint64_t *next = calloc(load.connections, sizeof *next), found = 0;

	if (!next)
		die("memory");
	for (unsigned s = 0; s < load.streams; s++) {
		char offset[64] = "-1", path[256], *got;
		size_t len;

		for (bool more = true; more;) {
			char *body, *header;
			int at = 0;

			stream_path(path, sizeof path, s);
			at = (int)strlen(path);
			snprintf(path + at, sizeof path - (size_t)at, "?offset=%s", offset);
			if (exchange("GET", path, "Accept-Encoding: identity\r\n", "", &got, &len) != 200) {
				fprintf(stderr, "load: reading %s failed\n", path);
				exit(1);
			}
			body = strstr(got, "\r\n\r\n") + 4;
			body[-2] = '\0';
			more = !strcasestr(got, "\r\nstream-up-to-date:");
			header = strcasestr(got, "\r\nstream-next-offset:");
			if (!header || sscanf(header + 21, " %63[0-9_]", offset) != 1)
				die("no Stream-Next-Offset");
			for (char *p = body; p + load.bytes <= got + len; p += load.bytes) {
				unsigned conn;
				unsigned long long seq;

				if (sscanf(p, "%u:%llu", &conn, &seq) != 2 || conn >= load.connections || seq != next[conn]) {
					fprintf(stderr, "load: %s: message %llu of connection %u was expected, got %.20s\n", path,
					        (unsigned long long)(conn < load.connections ? next[conn] : 0), conn, p);
					exit(1);
				}
				next[conn]++;
				found++;
			}
			free(got);
		}
	}
	for (unsigned i = 0; i < load.connections; i++)
		if (next[i] != load.conn[i].acked) {
			fprintf(stderr, "load: connection %u: %llu acknowledged, %llu found\n", i,
			        (unsigned long long)load.conn[i].acked, (unsigned long long)next[i]);
			exit(1);
		}
	free(next);
	return found;
}

static int latency_compare(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
	static char run[32];
	double seconds;
	bool reading;

	if (argc < 8) {
		fprintf(stderr, "usage: load HOST:PORT ROOT append|read CONNECTIONS STREAMS SECONDS BYTES [PIPELINE]\n");
		return 2;
	}
	address_parse(argv[1]);
	load.root = argv[2];
	load.what = argv[3];
	load.connections = (unsigned)atoi(argv[4]);
	load.streams = (unsigned)atoi(argv[5]);
	load.seconds = atof(argv[6]);
	load.bytes = (size_t)atol(argv[7]);
	load.pipeline = argc > 8 ? (unsigned)atoi(argv[8]) : 1;
	reading = strcmp(load.what, "read") == 0;
	if (load.connections < 1 || load.connections > CONNECTIONS_MAX || load.streams < 1 || load.bytes < 40 || load.pipeline < 1 ||
	    load.pipeline > PIPELINE_MAX) {
		fprintf(stderr, "load: an argument is out of range\n");
		return 2;
	}
	snprintf(run, sizeof run, "%llx", (unsigned long long)now_us());
	load.run = run;
	load.conn = calloc(load.connections, sizeof *load.conn);
	load.latency = malloc(LATENCY_MAX * sizeof *load.latency);
	load.epoll = epoll_create1(EPOLL_CLOEXEC);
	if (!load.conn || !load.latency || load.epoll < 0)
		die("memory");
	streams_create();
	if (reading)
		for (unsigned i = 0; i < load.streams; i++) {
			char path[128], *body = malloc(load.bytes + 1);

			stream_path(path, sizeof path, i);
			memset(body, 'x', load.bytes);
			body[load.bytes < 1500 ? load.bytes : 1500] = '\0';
			for (size_t n = 0; n < load.bytes; n += 1500)
				exchange("POST", path, "Content-Type: text/plain\r\n", body, NULL, NULL);
			free(body);
		}
	seconds = load_run();
	qsort(load.latency, load.n_latency, sizeof *load.latency, latency_compare);
	printf("{\"per_second\":%.0f,\"done\":%llu,\"failed\":%llu,\"p50_us\":%u,\"p99_us\":%u,\"max_us\":%u,\"read_bytes\":%llu",
	       (double)load.done / seconds, (unsigned long long)load.done, (unsigned long long)load.failed,
	       load.n_latency ? load.latency[load.n_latency / 2] : 0, load.n_latency ? load.latency[load.n_latency * 99 / 100] : 0,
	       load.n_latency ? load.latency[load.n_latency - 1] : 0, (unsigned long long)load.read_bytes);
	if (!reading)
		printf(",\"checked\":%llu", (unsigned long long)load_check());
	printf("}\n");
	return load.failed ? 1 : 0;
}
