/*
 * client.c - HTTP/1.1 connections on an epoll loop, and blocking exchanges for what is not measured. Program bench/load.
 */
#include <errno.h>
#include <netinet/tcp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "bench/load.h"

enum { IN_ROOM = 16384 };

static int loop_fd = -1;
uint64_t conns_lost;

static int socket_open(void)
{
	int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	/* A server that is not ours may have a short queue; the tries are not measured. */
	for (int tries = 0; fd >= 0 && connect(fd, (struct sockaddr *)&opt.addr, sizeof opt.addr); tries++) {
		if (tries == 200)
			die("connect: %s", strerror(errno));
		usleep(10000);
	}
	if (fd < 0)
		die("socket: %s", strerror(errno));
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
	return fd;
}

static void conn_join(struct conn *c)
{
	struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = c};

	if (loop_fd < 0)
		loop_fd = epoll_create1(EPOLL_CLOEXEC);
	c->fd = socket_open();
	if (epoll_ctl(loop_fd, EPOLL_CTL_ADD, c->fd, &e))
		die("epoll: %s", strerror(errno));
}

void conn_open(struct conn *c, unsigned n)
{
	c->n = n;
	conn_join(c);
}

/* What was under way on it is not known; whoever owns it begins again. */
static void conn_lost(struct conn *c, const char *why)
{
	if (!opt.lenient || !c->on_lost)
		die("connection %u lost: %s", c->n, why);
	conns_lost++;
	close(c->fd);
	c->out_off = c->out_len = c->in_len = 0;
	c->left = 0;
	c->head = false;
	conn_join(c);
	c->on_lost(c);
}

void conn_close(struct conn *c)
{
	close(c->fd);
	free(c->out);
	free(c->in);
	memset(c, 0, sizeof *c);
	c->fd = -1;
}

void conn_reserve(struct conn *c, size_t room)
{
	if (c->out_cap - c->out_len >= room)
		return;
	c->out_cap = c->out_len + room;
	c->out = realloc(c->out, c->out_cap);
	if (!c->out)
		die("out of memory");
}

void conn_put(struct conn *c, const char *fmt, ...)
{
	va_list ap;

	conn_reserve(c, 1024);
	va_start(ap, fmt);
	c->out_len += (size_t)vsnprintf(c->out + c->out_len, 1024, fmt, ap);
	va_end(ap);
}

void conn_put_bytes(struct conn *c, const void *data, size_t n)
{
	conn_reserve(c, n);
	memcpy(c->out + c->out_len, data, n);
	c->out_len += n;
}

void conn_flush(struct conn *c)
{
	while (c->out_off < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_off, c->out_len - c->out_off, MSG_NOSIGNAL | MSG_DONTWAIT);

		if (n < 0 && errno == EAGAIN)
			return;
		if (n < 0 && opt.lenient && c->on_lost)
			return; /* the next read tells */
		if (n < 0)
			die("connection %u: send: %s", c->n, strerror(errno));
		c->out_off += (size_t)n;
	}
	c->out_off = c->out_len = 0;
}

static void conn_done(struct conn *c)
{
	c->head = false;
	c->on_done(c);
}

/* A head at `at`; returns its length, 0 when it is not complete. */
static size_t parse_head(struct conn *c, char *at)
{
	char *end = strstr(at, "\r\n\r\n"), *h;

	if (!end)
		return 0;
	*end = '\0';
	c->status = atoi(at + 9);
	c->chunked = strcasestr(at, "\r\ntransfer-encoding: chunked") != NULL;
	c->up_to_date = strcasestr(at, "\r\nstream-up-to-date:") != NULL;
	h = strcasestr(at, "\r\nstream-next-offset:");
	if (h)
		sscanf(h + 21, " %39[0-9_]", c->next);
	h = strcasestr(at, "\r\ncontent-length:");
	c->left = c->chunked || !h ? 0 : strtoull(h + 17, NULL, 10);
	c->head = true;
	return (size_t)(end - at) + 4;
}

static size_t parse_body(struct conn *c, const char *at, size_t have)
{
	size_t n = c->left < have ? (size_t)c->left : have;

	if (n && c->on_body)
		c->on_body(c, at, n);
	c->left -= n;
	return n;
}

/* Between chunks: the CRLF of the one before and the next length. Returns what was taken, 0: not complete. */
static size_t parse_chunk(struct conn *c, const char *at, bool *last)
{
	const char *from = at[0] == '\r' && at[1] == '\n' ? at + 2 : at;
	const char *end = strstr(from, "\r\n");

	if (!end || (end == from && from == at))
		return 0;
	c->left = strtoull(from, NULL, 16);
	*last = c->left == 0;
	if (*last)
		return strncmp(end + 2, "\r\n", 2) == 0 ? (size_t)(end - at) + 4 : 0;
	return (size_t)(end - at) + 2;
}

static void conn_parse(struct conn *c)
{
	size_t at = 0, n;

	for (;;) {
		bool last = false;

		if (c->head && c->left > 0) {
			n = parse_body(c, c->in + at, c->in_len - at);
			at += n;
			if (c->left > 0)
				break;
			if (!c->chunked)
				conn_done(c);
			continue;
		}
		if (at == c->in_len)
			break;
		n = c->head ? parse_chunk(c, c->in + at, &last) : parse_head(c, c->in + at);
		if (n == 0)
			break;
		at += n;
		if (last || (c->left == 0 && !c->chunked))
			conn_done(c);
	}
	memmove(c->in, c->in + at, c->in_len - at);
	c->in_len -= at;
}

static void conn_read(struct conn *c)
{
	for (;;) {
		ssize_t n;

		if (c->in_cap - c->in_len < IN_ROOM) {
			c->in_cap = c->in_cap ? 2 * c->in_cap : 2 * IN_ROOM;
			c->in = realloc(c->in, c->in_cap + 1);
			if (!c->in)
				die("out of memory");
		}
		n = recv(c->fd, c->in + c->in_len, c->in_cap - c->in_len, MSG_DONTWAIT);
		if (n < 0 && errno == EAGAIN)
			return;
		if (n <= 0) {
			conn_lost(c, n ? strerror(errno) : "closed by the server");
			return;
		}
		c->in_len += (size_t)n;
		c->in[c->in_len] = '\0';
		conn_parse(c);
	}
}

void loop_run(bool (*done)(void *), void *arg)
{
	struct epoll_event e[256];

	while (!done(arg)) {
		int n = epoll_wait(loop_fd, e, 256, opt.rate ? 1 : 20);

		for (int i = 0; i < n; i++) {
			struct conn *c = e[i].data.ptr;

			if (c->fd >= 0 && (e[i].events & EPOLLOUT))
				conn_flush(c);
			if (c->fd >= 0 && (e[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)))
				conn_read(c);
		}
	}
}

struct reply exchange(const char *method, const char *path, const char *headers, const char *body, size_t len)
{
	size_t cap = 1 << 16, have = 0;
	struct reply r = {.memory = malloc(cap + 1)};
	struct conn head = {0};
	char *at = r.memory, line[2048];
	int fd = socket_open(), n;
	ssize_t got;

	n = snprintf(line, sizeof line, "%s %s%s HTTP/1.0\r\nHost: %s\r\n%sContent-Length: %zu\r\n\r\n", method,
	             opt.root, path, opt.host, headers, len);
	if (!at || write(fd, line, (size_t)n) != n)
		die("%s %s: %s", method, path, strerror(errno));
	for (size_t sent = 0; sent < len; sent += (size_t)got)
		if ((got = send(fd, body + sent, len - sent, MSG_NOSIGNAL)) < 0)
			die("%s %s: %s", method, path, strerror(errno));
	while ((got = read(fd, r.memory + have, cap - have)) > 0) {
		have += (size_t)got;
		if (have == cap && !(r.memory = realloc(r.memory, (cap *= 2) + 1)))
			die("out of memory");
	}
	close(fd);
	r.memory[have] = '\0';
	r.len = parse_head(&head, r.memory);
	if (r.len == 0)
		die("%s %s: the server closed the connection without an answer", method, path);
	r.status = head.status;
	r.up_to_date = head.up_to_date;
	memcpy(r.next, head.next, sizeof r.next);
	r.body = r.memory + r.len;
	r.len = have - r.len;
	return r;
}

void reply_free(struct reply *r)
{
	free(r->memory);
}

void expect(const struct reply *r, int a, int b, const char *what)
{
	if (r->status != a && r->status != b)
		die("%s was answered %d: %.200s", what, r->status, r->body);
}

void streams_create(const char *type)
{
	char headers[128], path[128];

	snprintf(headers, sizeof headers, "Content-Type: %s\r\n", type);
	for (unsigned i = 0; i < opt.streams; i++) {
		struct reply r;

		stream_path(path, sizeof path, i);
		r = exchange("PUT", path, headers, "", 0);
		expect(&r, 201, 200, "creating a stream");
		reply_free(&r);
	}
}
