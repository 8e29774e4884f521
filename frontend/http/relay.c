/*
 * relay.c - a WebSocket whose transport is not a plain socket: bytes between the connection and one end of a socket pair,
 * whose other end the WebSocket engine owns. Worker process.
 *
 * To the connection this is one more protocol beside HTTP/1.1 and HTTP/2, so closing, limits and time limits are the
 * connection's. What waits is bounded in both directions: by OUT_LOW and one read towards the client, by one read towards the
 * WebSocket; beyond it the other side is not read from.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/http/engine.h"

struct relay {
	int fd;
	bool over; /* the WebSocket engine has closed its end */
	struct event read_event, write_event;
};

int relay_pair(const struct http_conn *c, int pair[2])
{
	pair[0] = c->fd;
	pair[1] = -1;
	return c->transport == &transport_plain
	               ? 0
	               : socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair);
}

static void relay_over(struct http_conn *c)
{
	c->relay->over = true;
	event_del(&c->relay->read_event);
	event_del(&c->relay->write_event);
	c->closing = c->linger = true;
	conn_dirty(c);
}

static void relay_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	struct http_engine *e = c->engine;
	ssize_t n;

	(void)what;
	if (c->dead)
		return;
	e->now = clock_ms();
	n = read(fd, e->scratch, READ_SIZE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n <= 0) {
		relay_over(c);
		return;
	}
	if (out_add(e, &c->out, e->scratch, (size_t)n)) {
		conn_kill(c);
		return;
	}
	if (c->out.bytes >= OUT_LOW) {
		event_del(&c->relay->read_event);
		c->resume_below = OUT_LOW;
	}
	conn_dirty(c);
}

/* What the client sent goes on as far as there is room. */
static void relay_push(struct http_conn *c)
{
	struct relay *r = c->relay;
	ssize_t n = 1;

	while (c->in.len > 0 && n > 0) {
		n = send(r->fd, c->in.data + c->in.off, c->in.len, MSG_NOSIGNAL);
		if (n > 0)
			sl_buf_drain(&c->in, (size_t)n);
	}
	if (n < 0 && errno != EAGAIN && errno != EINTR)
		sl_buf_fini(&c->in); /* it is closed: reading from it says so */
	if (c->in.len > 0) {
		conn_want_read(c, false);
		event_add(&r->write_event, NULL);
		return;
	}
	sl_buf_shrink(&c->in);
	event_del(&r->write_event);
	conn_want_read(c, true);
	if (c->eof)
		shutdown(r->fd, SHUT_WR);
}

static void relay_on_write(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)fd;
	(void)what;
	if (!c->dead)
		relay_push(c);
}

static void relay_input(struct http_conn *c, const uint8_t *p, size_t n)
{
	if (c->relay->over)
		return;
	if (conn_keep(c, p, n))
		conn_kill(c);
	else
		relay_push(c);
}

static void relay_eof(struct http_conn *c)
{
	if (!c->relay->over)
		relay_push(c);
}

static void relay_flush(struct http_conn *c)
{
	(void)c;
}

static void relay_resume(struct http_conn *c)
{
	if (!c->relay->over)
		event_add(&c->relay->read_event, NULL);
}

/* Who is silent is asked by the WebSocket engine; who takes nothing is found out while writing. */
static void relay_retime(struct http_conn *c, bool progress)
{
	(void)progress;
	timer_enter(c->engine, &c->timer, T_NONE, false);
}

static void relay_timeout(struct http_conn *c, enum timer_class cls)
{
	(void)cls;
	conn_kill(c);
}

static void relay_fini(struct http_conn *c)
{
	c->engine->n_relays--;
	event_del(&c->relay->read_event);
	event_del(&c->relay->write_event);
	close(c->relay->fd);
	free(c->relay);
	c->relay = NULL;
}

static const struct http_proto relay_proto = {
	.input = relay_input,
	.eof = relay_eof,
	.flush = relay_flush,
	.resume = relay_resume,
	.retime = relay_retime,
	.timeout = relay_timeout,
	.fini = relay_fini,
};

void relay_begin(struct http_conn *c, int fd)
{
	struct relay *r = calloc(1, sizeof *r);
	struct sluice_http_req *req;

	if (!r) {
		close(fd);
		conn_kill(c);
		return;
	}
	while ((req = TAILQ_FIRST(&c->reqs)))
		req_lose(req);
	conn_leave(c); /* the WebSocket counts for the client */
	r->fd = fd;
	c->relay = r;
	c->proto = &relay_proto;
	c->engine->n_relays++;
	accept_show(c->engine);
	event_assign(&r->read_event, c->engine->base, fd, EV_READ | EV_PERSIST, relay_on_read, c);
	event_assign(&r->write_event, c->engine->base, fd, EV_WRITE | EV_PERSIST, relay_on_write, c);
	if (event_add(&r->read_event, NULL))
		conn_kill(c);
}
