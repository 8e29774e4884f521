/*
 * accept.c - listening sockets of the HTTP engine, and who gets in. Worker process.
 *
 * The workers of a frontend wait at the same sockets. One that has more connections than another leaves the next ones to it for a
 * moment, and takes them all the same when that one does not come.
 */
#include "frontend/http/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/board.h"
#include "lib/log.h"

static void listeners_enable(struct http_engine *e, bool on)
{
	for (struct listener *l = e->listeners; l; l = l->next) {
		if (on && !e->draining)
			event_add(&l->event, NULL);
		else
			event_del(&l->event);
	}
}

void accept_show(struct http_engine *e)
{
	uint64_t n = e->n_conns - e->n_relays;

	if (e->hooks.connections)
		*e->hooks.connections = n;
	if (!e->board)
		return;
	n += e->hooks.upgraded ? *e->hooks.upgraded : 0;
	e->load = n < UINT32_MAX ? (uint32_t)n : UINT32_MAX;
	if (e->draining)
		sl_board_leave(e->board, e->slot);
	else
		sl_board_set(e->board, e->slot, e->load);
}

/* True: another worker has fewer connections and is given a moment to take the next. */
static bool accept_leave(struct http_engine *e)
{
	static const struct timeval moment = {0, 1000};

	if (!e->board)
		return false;
	accept_show(e);
	if (!sl_board_fuller(e->board, e->slot, e->load))
		return false;
	/* Without the timer nobody would listen again. */
	if (event_add(&e->accept_event, &moment))
		return false;
	listeners_enable(e, false);
	return true;
}

/* No descriptor left: the spare one takes a connection and closes it, so that its client hears of it; then a pause. */
static void accept_exhausted(struct http_engine *e, int fd)
{
	static const struct timeval pause = {0, 100000};
	int error = errno;

	if (e->spare_fd >= 0) {
		int victim;

		close(e->spare_fd);
		victim = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
		if (victim >= 0)
			close(victim);
		e->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	}
	if (e->emfile_logged == 0 || e->now - e->emfile_logged >= 60000) {
		e->emfile_logged = e->now;
		errno = error;
		sl_log_errno(SLUICE_LOG_WARN, "accept connections=%u action=\"raise the limit of open files\"",
		             e->n_conns);
	}
	/* The others must not wait for one that cannot. */
	if (e->board)
		sl_board_leave(e->board, e->slot);
	if (event_add(&e->accept_event, &pause) == 0)
		listeners_enable(e, false);
}

static struct http_conn *accept_transport(const struct listener *l, int fd)
{
	void *tls = l->tls ? tls_open(l->tls, fd) : NULL;
	struct http_conn *c =
		l->tls && !tls ? NULL : conn_new(l->engine, fd, tls ? &transport_tls : &transport_plain, tls);

	if (!c && tls)
		tls_free(tls);
	return c;
}

/* A connection of this client; NULL: there are far too many, or no memory is left. */
static struct http_conn *accept_conn(struct listener *l, int fd, const struct sockaddr *from)
{
	struct http_engine *e = l->engine;
	const struct auth_hooks *auth = &e->hooks.auth;
	uint8_t key[CLIENT_KEY];
	size_t n = client_key(from, key);
	int rc = auth->enter ? auth->enter(auth->arg, SL_SLICE(key, n)) : 0;
	struct http_conn *c = rc && rc != SLUICE_EBUSY ? NULL : accept_transport(l, fd);

	if (!c && auth->enter && (!rc || rc == SLUICE_EBUSY))
		auth->leave(auth->arg, SL_SLICE(key, n));
	if (!c)
		return NULL;
	memcpy(c->client, key, n);
	c->n_client = (uint8_t)n;
	c->entered = auth->enter != NULL;
	c->http1 = l->http1;
	c->busy = rc == SLUICE_EBUSY;
	return c;
}

static void accept_one(struct listener *l, int fd, const struct sockaddr *from)
{
	static const struct timeval second = {1, 0};
	struct http_engine *e = l->engine;
	int one = 1;

	if (e->n_conns >= e->limits.connections + REFUSED_MAX) {
		close(fd);
		return;
	}
	setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); /* fails on Unix sockets, which need none */
	if (!accept_conn(l, fd, from)) {
		close(fd);
		return;
	}
	accept_show(e);
	if (!e->sweep_set && event_add(&e->sweep_event, &second) == 0)
		e->sweep_set = true;
}

static void accept_some(struct listener *l, uint32_t n, bool patient)
{
	struct http_engine *e = l->engine;

	for (uint32_t i = 0; i < n && !(patient && accept_leave(e)); i++) {
		struct sockaddr_storage from = {0};
		socklen_t len = sizeof from;
		int s = accept4(l->fd, (struct sockaddr *)&from, &len, SOCK_CLOEXEC | SOCK_NONBLOCK);

		if (s >= 0) {
			accept_one(l, s, (struct sockaddr *)&from);
			continue;
		}
		if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS)
			accept_exhausted(e, l->fd);
		if (errno != EINTR && errno != ECONNABORTED)
			break;
	}
}

static void engine_on_accept(evutil_socket_t fd, short what, void *arg)
{
	struct listener *l = arg;

	(void)fd;
	(void)what;
	l->engine->now = clock_ms();
	accept_some(l, ACCEPT_MAX, true);
}

/* The moment is over, or the pause. What still waits was left to the others in vain. Few are shared out one by one; of many it is not worth
 * a moment each. */
void accept_on_timer(evutil_socket_t fd, short what, void *arg)
{
	struct http_engine *e = arg;
	uint32_t n = 1 + e->n_conns / ACCEPT_SHARE;

	(void)fd;
	(void)what;
	if (e->spare_fd < 0)
		e->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	e->now = clock_ms();
	listeners_enable(e, true);
	for (struct listener *l = e->listeners; l; l = l->next)
		accept_some(l, n < ACCEPT_MAX ? n : ACCEPT_MAX, false);
}

void http_engine_board(struct http_engine *e, struct sl_board *board, uint32_t slot)
{
	e->board = board;
	e->slot = slot;
}

int http_engine_listen(struct http_engine *e, int fd, struct ssl_ctx_st *tls, bool http1)
{
	struct listener *l = calloc(1, sizeof *l);

	if (!l)
		return SLUICE_ENOMEM;
	evutil_make_socket_nonblocking(fd);
	l->engine = e;
	l->fd = fd;
	l->tls = tls;
	l->http1 = http1;
	if (event_assign(&l->event, e->base, fd, EV_READ | EV_PERSIST, engine_on_accept, l) != 0 ||
	    event_add(&l->event, NULL) != 0) {
		free(l);
		return SLUICE_ENOMEM;
	}
	l->next = e->listeners;
	e->listeners = l;
	accept_show(e);
	return 0;
}

void listeners_free(struct http_engine *e)
{
	struct listener *l;

	while ((l = e->listeners)) {
		e->listeners = l->next;
		event_del(&l->event);
		free(l);
	}
}
