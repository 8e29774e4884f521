/*
 * line.c - a protocol on raw TCP: "NAME TEXT\n" appends TEXT to the stream NAME and is answered "ok OFFSET\n" when it is on disk,
 * or "error WHY\n". The third example of docs/plugin-guide.md.
 *
 * The listener is one of the frontend's; the plugin claims it. What the HTTP engine does for its clients is done here: numbers and
 * sizes have bounds, whoever is silent is cut, one line is under way at a time and nothing is read meanwhile.
 */
#define _GNU_SOURCE /* accept4() */
#include <errno.h>
#include <sluice/plugin.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CONNS_MAX = 256, LINE_MAX_BYTES = 4096, IDLE_MS = 60000, PAUSE_MS = 100 };

struct line {
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const char *listen;
	int fd; /* the host's */
	struct sluice_watch *watch;
	struct sluice_timer *pause;
	struct conn *conns;
	unsigned n_conns;
	int draining;
};

struct conn {
	struct line *line;
	struct conn *next, **link; /* whatever points to this one */
	int fd;
	struct sluice_watch *watch;
	struct sluice_timer *idle;
	struct sluice_req *req; /* the append under way */
	int ended;              /* the client sends nothing more */
	size_t used, line_len;  /* of in; of its first line while that is under way */
	size_t out_len, out_sent;
	char in[LINE_MAX_BYTES], out[256];
};

static void conn_free(struct conn *c)
{
	struct line *l = c->line;

	if (c->req)
		l->host->store->cancel(c->req);
	l->host->watch_free(c->watch);
	l->host->timer_free(c->idle);
	close(c->fd);
	if (c->link) {
		*c->link = c->next;
		if (c->next)
			c->next->link = c->link;
		l->n_conns--;
		if (l->draining && !l->conns)
			l->host->drained(l->ctx);
		else if (l->watch)
			l->host->watch_set(l->watch, SLUICE_READ); /* there is room for another */
	}
	free(c);
}

static void conn_silent(void *arg)
{
	conn_free(arg);
}

/* ---- one line ---- */

/* Sends what is left of the answer. -1: the connection is of no more use. */
static int conn_send(struct conn *c)
{
	while (c->out_sent < c->out_len) {
		ssize_t n = send(c->fd, c->out + c->out_sent, c->out_len - c->out_sent, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN ? 0 : -1;
		c->out_sent += (size_t)n;
	}
	c->out_len = c->out_sent = 0;
	return 0;
}

static void conn_answer(struct conn *c, const char *word, const char *text)
{
	int n = snprintf(c->out, sizeof c->out, "%s %s\n", word, text);

	if ((size_t)n >= sizeof c->out) {
		c->out[sizeof c->out - 2] = '\n';
		n = sizeof c->out - 1;
	}
	c->out_len = (size_t)n;
	c->used -= c->line_len; /* this line is done with */
	memmove(c->in, c->in + c->line_len, c->used);
	c->line_len = 0;
}

static void conn_go_on(struct conn *c);

static void conn_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct conn *c = arg;
	const struct sluice_result *bad = NULL;
	char tail[32];

	c->req = NULL;
	for (size_t i = 0; i < n && !bad; i++)
		if (r[i].status != SLUICE_OK && r[i].status != SLUICE_ECANCELED)
			bad = &r[i];
	snprintf(tail, sizeof tail, "%llu", (unsigned long long)r[n - 1].tail);
	conn_answer(c, bad ? "error" : "ok", bad ? bad->message : tail);
	conn_go_on(c);
}

static void conn_line(struct conn *c)
{
	const char *space = memchr(c->in, ' ', c->line_len - 1);
	const struct sluice_slice type = {"text/plain", 10}, stream = {c->in, space ? (size_t)(space - c->in) : 0};
	const struct sluice_slice data = {space ? space + 1 : NULL, space ? c->line_len - stream.len - 2 : 0};
	const struct sluice_op ops[] = {
		{.size = sizeof ops[0], .kind = SLUICE_OP_CREATE, .stream = stream, .content_type = type},
		{.size = sizeof ops[0], .kind = SLUICE_OP_APPEND, .stream = stream, .content_type = type, .data = data},
	};

	if (stream.len == 0 || data.len == 0)
		conn_answer(c, "error", "say: NAME TEXT");
	else if (c->line->host->store->submit(c->line->ctx, ops, 2, conn_done, c, &c->req) != SLUICE_OK)
		conn_answer(c, "error", "busy, come back later");
}

/* The next step: send, begin the next line, or wait for what is missing. Frees the connection when it is over. */
static void conn_go_on(struct conn *c)
{
	const struct sluice_host *host = c->line->host;
	int over = 0;

	while (!over && !c->req) {
		const char *end;

		over = conn_send(c) != 0;
		if (over || c->out_len > 0)
			break;
		end = memchr(c->in, '\n', c->used);
		if (!end) {
			over = c->ended || c->used == sizeof c->in || (c->line->draining && c->used == 0);
			break;
		}
		c->line_len = (size_t)(end - c->in) + 1;
		conn_line(c);
	}
	if (over || host->watch_set(c->watch, c->req ? 0 : c->out_len > 0 ? SLUICE_WRITE : SLUICE_READ) != SLUICE_OK) {
		conn_free(c);
		return;
	}
	host->timer_set(c->idle, c->req ? -1 : IDLE_MS); /* the writer may take its time */
}

static void conn_ready(void *arg, int events)
{
	struct conn *c = arg;

	if (events & SLUICE_READ && c->used < sizeof c->in) {
		ssize_t n = recv(c->fd, c->in + c->used, sizeof c->in - c->used, 0);

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		c->ended = n <= 0;
		c->used += n > 0 ? (size_t)n : 0;
	}
	conn_go_on(c);
}

/* ---- accepting ---- */

static void conn_new(struct line *l, int fd)
{
	struct conn *c = calloc(1, sizeof *c);

	if (!c) {
		close(fd);
		return;
	}
	c->line = l;
	c->fd = fd;
	if (l->host->watch_new(l->ctx, fd, SLUICE_READ, conn_ready, c, &c->watch) != SLUICE_OK ||
	    l->host->timer_new(l->ctx, conn_silent, c, &c->idle) != SLUICE_OK) {
		conn_free(c);
		return;
	}
	l->host->timer_set(c->idle, IDLE_MS);
	c->next = l->conns;
	c->link = &l->conns;
	if (c->next)
		c->next->link = &c->next;
	l->conns = c;
	l->n_conns++;
}

static void line_accept(void *arg, int events)
{
	struct line *l = arg;
	int fd;

	(void)events;
	if (l->n_conns == CONNS_MAX) {
		l->host->watch_set(l->watch, 0); /* until one has gone */
		return;
	}
	fd = accept4(l->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
	if (fd >= 0) {
		conn_new(l, fd);
	} else if (errno != EAGAIN && errno != EINTR && errno != ECONNABORTED) {
		/* Out of descriptors: asking again at once would spin. */
		l->host->watch_set(l->watch, 0);
		l->host->timer_set(l->pause, PAUSE_MS);
	}
}

static void line_resume(void *arg)
{
	struct line *l = arg;

	if (l->watch)
		l->host->watch_set(l->watch, SLUICE_READ);
}

/* ---- life ---- */

static int line_configure(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                          void **self)
{
	struct line *l = calloc(1, sizeof *l);

	if (!l)
		return SLUICE_ENOMEM;
	l->ctx = ctx;
	l->host = host;
	l->listen = host->conf_str(conf, "listen");
	*self = l;
	return SLUICE_OK;
}

static int line_start(void *self)
{
	struct line *l = self;
	int e;

	l->fd = l->host->listener_fd(l->ctx, l->listen);
	if (l->fd < 0) {
		l->host->log(l->ctx, SLUICE_LOG_ERR,
		             "no_listener address=%s hint=\"it has to be in the frontend's listen list\"", l->listen);
		return l->fd;
	}
	e = l->host->timer_new(l->ctx, line_resume, l, &l->pause);
	return e ? e : l->host->watch_new(l->ctx, l->fd, SLUICE_READ, line_accept, l, &l->watch);
}

/* Nobody new; who is idle goes; who has begun a line gets an answer, and the deadline is the host's business. */
static void line_drain(void *self, uint64_t deadline_ms)
{
	struct line *l = self;
	struct conn *next;

	(void)deadline_ms;
	l->host->watch_free(l->watch); /* the host closes the socket when we return */
	l->watch = NULL;
	for (struct conn *c = l->conns; c; c = next) {
		next = c->next;
		if (!c->req && c->out_len == 0 && c->used == 0)
			conn_free(c);
	}
	l->draining = 1;
	if (!l->conns)
		l->host->drained(l->ctx);
}

static void line_stop(void *self)
{
	struct line *l = self;

	l->draining = 0;
	while (l->conns)
		conn_free(l->conns);
	l->host->watch_free(l->watch);
	l->host->timer_free(l->pause);
	free(l);
}

static const struct sluice_option options[] = {
	{.name = "listen", .type = SLUICE_T_LISTENER, .doc = "Which of the frontend's listeners speaks this protocol."},
	{.name = NULL},
};

SLUICE_PLUGIN = {
	SLUICE_HEAD,         .needs = SLUICE_CAP_STORE, .name = "line",
	.version = "1.0",    .options = options,        .configure = line_configure,
	.start = line_start, .drain = line_drain,       .stop = line_stop,
};
