/*
 * conn.c - one connection: its socket, reading, writing, closing. Knows no protocol beyond telling the two apart.
 * Worker process.
 *
 * Reading goes into the engine's one scratch buffer; only what could not be used at once is kept with the connection,
 * so an idle connection holds no buffer at all. Read interest stays on (no system call a request) until input has to
 * wait.
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	CONN_IOV = 64,
	CONN_ROUNDS = 4 /* writev calls a turn and connection */
};

static ssize_t plain_read(struct http_conn *c, void *p, size_t n)
{
	return read(c->fd, p, n);
}

static ssize_t plain_writev(struct http_conn *c, const struct iovec *iov, int n)
{
	struct msghdr msg = {.msg_iov = (struct iovec *)(uintptr_t)iov, .msg_iovlen = (size_t)n};

	return sendmsg(c->fd, &msg, MSG_NOSIGNAL);
}

static void plain_close(struct http_conn *c)
{
	(void)c;
}

const struct http_transport transport_plain = {.read = plain_read, .writev = plain_writev, .close = plain_close};

/* The next read has something to say although the socket may stay silent. */
static void conn_read_pending(struct http_conn *c)
{
	if (c->reading && !c->dead && c->transport->pending && c->transport->pending(c))
		event_active(&c->read_event, EV_READ, 0);
}

void conn_want_read(struct http_conn *c, bool on)
{
	if (on == c->reading || c->dead || (on && c->eof))
		return;
	if (on ? event_add(&c->read_event, NULL) : event_del(&c->read_event))
		return;
	c->reading = on;
	conn_read_pending(c);
}

static void conn_want_write(struct http_conn *c, bool on)
{
	if (on == c->writing || c->dead)
		return;
	if (on ? event_add(&c->write_event, NULL) : event_del(&c->write_event))
		return;
	c->writing = on;
}

void conn_write_before_read(struct http_conn *c)
{
	c->read_waits = true;
	conn_want_write(c, true);
}

void conn_dirty(struct http_conn *c)
{
	if (c->dirty || c->dead)
		return;
	c->dirty = true;
	c->dirty_no = c->engine->flush_no;
	TAILQ_INSERT_TAIL(&c->engine->dirty, c, dirty_link);
	engine_schedule(c->engine);
}

void conn_resume(struct http_conn *c)
{
	c->want_resume = true;
	conn_dirty(c);
}

int conn_keep(struct http_conn *c, const uint8_t *p, size_t n)
{
	return sl_buf_add(&c->in, p, n);
}

/* ---- the end of a connection ---- */

static void conn_release(struct http_conn *c)
{
	struct http_engine *e = c->engine;
	struct sluice_http_req *r;

	c->dead = true;
	event_del(&c->read_event);
	event_del(&c->write_event);
	timer_enter(e, &c->timer, T_NONE, true);
	if (c->dirty)
		TAILQ_REMOVE(&e->dirty, c, dirty_link);
	c->dirty = false;
	while ((r = TAILQ_FIRST(&c->reqs)))
		req_lose(r);
	if (c->proto && c->proto->fini)
		c->proto->fini(c);
	out_clear(e, &c->out);
	sl_buf_fini(&c->in);
	c->transport->close(c);
	conn_leave(c);
	TAILQ_REMOVE(&e->conns, c, link);
	TAILQ_INSERT_TAIL(&e->dead_conns, c, link);
	engine_conn_gone(e);
}

void conn_kill(struct http_conn *c)
{
	static const struct linger hard = {.l_onoff = 1, .l_linger = 0};

	if (c->dead)
		return;
	/* With nothing under way an end is no cut. */
	if (!c->cut && c->timer.cls == T_IDLE && c->transport->bye)
		c->transport->bye(c);
	conn_release(c);
	if (c->cut)
		setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
	close(c->fd);
	c->fd = -1;
}

void conn_forget(struct http_conn *c)
{
	if (c->dead)
		return;
	conn_release(c);
	c->fd = -1;
}

/* Everything is sent. A client that may still be sending would lose the answer to a reset if we just closed: our side
 * is shut down and its bytes are swallowed, within LINGER_MAX and LINGER_MS (RFC 9112 9.6). */
static void conn_close(struct http_conn *c)
{
	if (!c->cut && !c->lingering && c->transport->bye)
		c->transport->bye(c);
	if (!c->linger || c->eof || c->cut) {
		conn_kill(c);
		return;
	}
	if (c->lingering)
		return;
	c->lingering = true;
	sl_buf_fini(&c->in);
	shutdown(c->fd, SHUT_WR);
	timer_enter(c->engine, &c->timer, T_LINGER, true);
	conn_want_read(c, true);
}

void conn_finish(struct http_conn *c)
{
	if (c->dead)
		return;
	if (c->closing && c->out.bytes == 0) {
		conn_close(c);
		return;
	}
	if (c->writing)
		timer_enter(c->engine, &c->timer, T_SEND, c->progress);
	else if (c->proto)
		c->proto->retime(c, c->progress);
	c->progress = false;
}

/* ---- writing ---- */

void conn_write(struct http_conn *c)
{
	struct http_engine *e = c->engine;
	struct iovec iov[CONN_IOV];
	bool full = false;

	for (int round = 0; round < CONN_ROUNDS && c->out.bytes > 0 && !full; round++) {
		size_t n = out_iov(&c->out, iov, CONN_IOV), want = 0;
		ssize_t k = c->transport->writev(c, iov, (int)n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0 && errno != EAGAIN) {
			conn_kill(c);
			return;
		}
		for (size_t i = 0; i < n; i++)
			want += iov[i].iov_len;
		full = k < (ssize_t)want;
		if (k > 0) {
			out_drain(e, &c->out, (size_t)k);
			c->progress = true;
		}
	}
	conn_want_write(c, c->out.bytes > 0 || c->read_waits);
	if (c->more && c->out.bytes < OUT_LOW)
		conn_dirty(c);
	if (c->out.bytes < c->resume_below) {
		c->resume_below = 0;
		conn_resume(c);
	}
	conn_finish(c);
}

static void conn_on_write(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;

	(void)fd;
	(void)what;
	assert(c->magic == CONN_MAGIC);
	if (c->dead)
		return;
	c->engine->now = clock_ms();
	if (c->read_waits)
		event_active(&c->read_event, EV_READ, 0);
	c->read_waits = false;
	conn_write(c);
	if (!c->dead && c->out.bytes < OUT_LOW)
		conn_dirty(c); /* room for more of the answers */
	engine_schedule(c->engine);
}

/* ---- reading ---- */

static const char h2_preface[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/* The first bytes tell: no HTTP/1.1 request can begin with the preface of HTTP/2 (RFC 9113 3.4). */
static void conn_detect(struct http_conn *c, const uint8_t *p, size_t n)
{
	size_t k = n < sizeof h2_preface - 1 ? n : sizeof h2_preface - 1;

	if (c->http1 || memcmp(p, h2_preface, k) != 0)
		c->proto = &h1_proto;
	else if (k == sizeof h2_preface - 1)
		c->proto = &h2_proto;
}

static void conn_first_input(struct http_conn *c, const uint8_t *p, size_t n)
{
	struct sl_buf kept = c->in;

	if (kept.len == 0) {
		if (c->transport->proto)
			c->proto = c->transport->proto(c);
		else
			conn_detect(c, p, n);
		if (c->proto)
			c->proto->input(c, p, n);
		else if (conn_keep(c, p, n))
			conn_kill(c);
		return;
	}
	if (conn_keep(c, p, n)) {
		conn_kill(c);
		return;
	}
	kept = c->in;
	conn_detect(c, kept.data + kept.off, kept.len);
	if (!c->proto)
		return;
	sl_buf_init(&c->in);
	c->proto->input(c, kept.data + kept.off, kept.len);
	sl_buf_fini(&kept);
}

static void conn_swallow(struct http_conn *c, size_t n)
{
	c->lingered += n;
	if (c->lingered > LINGER_MAX)
		conn_kill(c);
}

static void conn_read_eof(struct http_conn *c)
{
	c->eof = true;
	conn_want_read(c, false);
	if (!c->proto || c->lingering)
		conn_kill(c);
	else
		c->proto->eof(c);
}

static void conn_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct http_conn *c = arg;
	struct http_engine *e = c->engine;
	ssize_t n;

	(void)fd;
	(void)what;
	assert(c->magic == CONN_MAGIC);
	if (c->dead)
		return;
	e->now = clock_ms();
	n = c->transport->read(c, e->scratch, READ_SIZE);
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	if (n < 0)
		conn_kill(c);
	else if (n == 0)
		conn_read_eof(c);
	else if (c->lingering)
		conn_swallow(c, (size_t)n);
	else if (!c->proto)
		conn_first_input(c, e->scratch, (size_t)n);
	else
		c->proto->input(c, e->scratch, (size_t)n);
	if (!c->dead && c->proto && !c->lingering && !c->writing)
		c->proto->retime(c, false);
	conn_read_pending(c);
	engine_schedule(e);
}

struct http_conn *conn_new(struct http_engine *e, int fd, const struct http_transport *transport, void *data)
{
	struct http_conn *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->magic = CONN_MAGIC;
	c->fd = fd;
	c->engine = e;
	c->transport = transport;
	c->transport_data = data;
	TAILQ_INIT(&c->reqs);
	event_assign(&c->read_event, e->base, fd, EV_READ | EV_PERSIST, conn_on_read, c);
	event_assign(&c->write_event, e->base, fd, EV_WRITE | EV_PERSIST, conn_on_write, c);
	conn_want_read(c, true);
	if (!c->reading) {
		free(c);
		return NULL;
	}
	c->refuse = e->n_conns >= e->limits.connections;
	TAILQ_INSERT_TAIL(&e->conns, c, link);
	e->n_conns++;
	timer_enter(e, &c->timer, T_HEADER, true);
	return c;
}
