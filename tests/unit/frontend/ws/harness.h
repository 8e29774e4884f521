/*
 * harness.h - a WebSocket engine with a recording plugin, and raw clients on the same loop. Tests only; all in a
 * header, as tap.h is, for its counters belong to one program file.
 *
 * Nothing sleeps: run_until() turns the loop until a condition holds; a guard of many seconds makes it give up, which
 * fails the test.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <errno.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/ws/engine.h"
#include "tests/unit/tap.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="        /* of RFC 6455 1.3 */
#define ACCEPT "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" /* and what it is answered with */

struct plugin { /* the plugin's self; the members above the line steer it */
	int refuse;
	int echo;
	int close_in_open, close_on_message;
	int pause_on_message;
	int pull_sends; /* how many 1 KiB messages pull() sends, at most */
	/* ---- */
	struct sluice_ws *last; /* of open() */
	unsigned opened, closed, pulled, messages;
	int code;           /* of the last closed() */
	int binary;         /* of the last message */
	size_t bytes;       /* of all messages */
	struct sl_buf text; /* the last message */
	int depth, nested;  /* a callback inside another one, or inside a call the plugin made */
};

struct client {
	int fd;
	struct event *event;
	struct sl_buf in; /* bytes not yet taken apart */
	char head[1024];  /* the answer to the request */
	struct world *world;
	bool reading;
	int eof, mute; /* mute: does not answer pings and closes */
	unsigned messages, pings, frames;
	size_t bytes;
	int close_code; /* 0: no close frame yet */
	char reason[128];
	struct sl_buf message;
	int message_opcode;
};

struct world {
	struct event_base *base;
	struct ws_engine *engine;
	struct sluice_ctx ctx;
	struct plugin plugin;
	int deny;         /* not 0: the status of a refusal */
	char token[256];  /* Authorization|query parameter of the last request */
	int n_principals; /* references given out */
	uint64_t expires_ms;
	char asked[128]; /* what it was asked */
	int gave_up, idle;
};

/* One turn; false: the guard's time is over. */
static inline bool world_wait(struct world *);
#define run_until(world, cond) \
	do { \
		while (!(cond) && world_wait(world)) \
			; \
		ok(cond); \
	} while (0)

static inline void client_frame(struct client *, int fin, int opcode, const void *, size_t);

/* ---- the plugin ---- */

static inline struct plugin *enter(void *self)
{
	struct plugin *p = self;

	if (p->depth++)
		p->nested++;
	return p;
}

static inline int plugin_open(void *self, struct sluice_ws *ws)
{
	struct plugin *p = enter(self);

	p->last = ws;
	p->opened += !p->refuse;
	if (p->close_in_open)
		ws_table.close(ws, p->close_in_open, "not you");
	p->depth--;
	return p->refuse;
}

static inline void plugin_message(void *self, struct sluice_ws *ws, sl_slice m, int binary)
{
	struct plugin *p = enter(self);

	p->messages++;
	p->bytes += m.len;
	p->binary = binary;
	p->text.len = p->text.off = 0;
	sl_buf_add(&p->text, m.data, m.len);
	if (p->echo)
		ws_table.send(ws, m, binary);
	if (p->pause_on_message)
		ws_table.pause(ws, 1);
	if (p->close_on_message)
		ws_table.close(ws, p->close_on_message, "enough");
	p->depth--;
}

static inline void plugin_pull(void *self, struct sluice_ws *ws)
{
	struct plugin *p = enter(self);
	char data[1024];

	memset(data, 'p', sizeof data);
	p->pulled++;
	while (p->pull_sends > 0 && ws_table.send(ws, SL_SLICE(data, sizeof data), 1) == 0)
		p->pull_sends--;
	p->depth--;
}

static inline void plugin_closed(void *self, struct sluice_ws *ws, int code)
{
	struct plugin *p = enter(self);

	p->closed++;
	p->code = code;
	if (p->last == ws)
		p->last = NULL;
	p->depth--;
}

/* ---- the world ---- */

static inline void hook_admit(void *arg, const struct auth_ask *ask, struct auth_verdict *v)
{
	struct world *w = arg;

	*v = (struct auth_verdict){.principal = arg, .expires_ms = w->expires_ms};
	w->n_principals++;
	snprintf(w->token, sizeof w->token, "%.*s|%.*s", (int)ask->authorization.len,
	         ask->authorization.data ? (const char *)ask->authorization.data : "", (int)ask->token.len,
	         ask->token.data ? (const char *)ask->token.data : "");
	if (!ask->action)
		return;
	snprintf(w->asked, sizeof w->asked, "%s %.*s", ask->action, (int)ask->stream.len,
	         (const char *)ask->stream.data);
	v->status = w->deny;
}

static inline void hook_release(const struct sluice_principal *p)
{
	struct world *w = (void *)(uintptr_t)p;

	w->n_principals--;
}

static inline void world_open(struct world *w, const char *mount, const struct ws_limits *limits)
{
	static char name[] = "test", prefix[] = "p/";
	struct ws_hooks hooks = {.auth = {.arg = w, .admit = hook_admit, .release = hook_release}};

	memset(w, 0, sizeof *w);
	w->base = event_base_new();
	w->engine = ws_engine_new(w->base, limits, &hooks);
	if (!w->base || !w->engine) {
		printf("Bail out! no engine\n");
		exit(1);
	}
	w->ctx = (struct sluice_ctx){
		.magic = CTX_MAGIC, .self = &w->plugin, .name = name, .mount = strdup(mount), .prefix = prefix};
	if (ws_mount_new(w->engine, &w->ctx))
		exit(1);
}

static inline void world_endpoint(struct world *w, const char *pattern, const char *subprotocols, uint64_t max_message)
{
	struct sluice_endpoint e = {.size = sizeof e,
	                            .pattern = pattern,
	                            .subprotocols = subprotocols,
	                            .action = "read",
	                            .max_message = max_message,
	                            .open = plugin_open,
	                            .message = plugin_message,
	                            .pull = plugin_pull,
	                            .closed = plugin_closed};

	if (ws_table.endpoint(&w->ctx, &e)) {
		printf("Bail out! no endpoint %s\n", pattern);
		exit(1);
	}
}

static inline void world_close(struct world *w)
{
	ws_engine_free(w->engine);
	event_base_free(w->base);
	is_int(w->plugin.closed, w->plugin.opened, "closed() ran once for each open() that said yes");
	is_int(w->plugin.nested, 0, "no callback ran inside another");
	is_int(w->n_principals, 0, "every principal was given back");
	free(w->ctx.mount);
	sl_buf_fini(&w->plugin.text);
}

static inline void give_up(evutil_socket_t fd, short what, void *arg)
{
	(void)fd, (void)what;
	*(int *)arg = 1;
}

static inline bool world_wait(struct world *w)
{
	struct timeval guard = {.tv_sec = 20};
	int late = 0;
	struct event *ev = evtimer_new(w->base, give_up, &late);

	evtimer_add(ev, &guard);
	event_base_loop(w->base, EVLOOP_ONCE);
	event_free(ev);
	w->gave_up |= late;
	return !late;
}

/* ---- clients ---- */

static inline void client_control(struct client *c, int opcode, const uint8_t *data, size_t n)
{
	if (opcode == 9) {
		c->pings++;
		if (!c->mute)
			client_frame(c, 1, 10, data, n);
	} else if (opcode == 8) {
		c->close_code = n >= 2 ? data[0] << 8 | data[1] : 1005;
		snprintf(c->reason, sizeof c->reason, "%.*s", n > 2 ? (int)n - 2 : 0, (const char *)data + 2);
		if (!c->mute)
			client_frame(c, 1, 8, data, n < 2 ? 0 : 2);
	}
}

/* Takes one frame of the server's, which are not masked. */
static inline bool client_take(struct client *c)
{
	sl_slice s = sl_buf_slice(&c->in);
	const uint8_t *p = s.data;
	size_t head = 2, n;

	if (s.len < 2)
		return false;
	n = p[1] & 0x7f;
	if (n >= 126) {
		size_t end = n == 126 ? 4 : 10;

		if (s.len < end)
			return false;
		for (n = 0; head < end; head++)
			n = n << 8 | p[head];
	}
	if (s.len < head + n)
		return false;
	c->frames++;
	if (p[0] & 8) {
		client_control(c, p[0] & 15, p + head, n);
	} else {
		if (p[0] & 15) {
			c->message_opcode = p[0] & 15;
			sl_buf_fini(&c->message);
		}
		sl_buf_add(&c->message, p + head, n);
		if (p[0] & 0x80) {
			c->messages++;
			c->bytes += c->message.len;
		}
	}
	sl_buf_drain(&c->in, head + n);
	return true;
}

static inline void client_read(evutil_socket_t fd, short what, void *arg)
{
	struct client *c = arg;
	char data[65536];
	ssize_t n = read(fd, data, sizeof data);
	char *end;

	(void)what;
	if (n <= 0) {
		if (n < 0 && errno == EAGAIN)
			return;
		c->eof = 1;
		event_del(c->event);
		return;
	}
	sl_buf_add(&c->in, data, (size_t)n);
	if (!c->head[0]) {
		sl_slice s = sl_buf_slice(&c->in);

		end = memmem(s.data, s.len, "\r\n\r\n", 4);
		if (!end)
			return;
		n = end + 4 - (const char *)s.data;
		snprintf(c->head, sizeof c->head, "%.*s", (int)n, (const char *)s.data);
		sl_buf_drain(&c->in, (size_t)n);
	}
	c->reading = true;
	while (client_take(c))
		;
	c->reading = false;
}

/* Asks for an upgrade; rest: bytes sent behind the head. Returns what ws_engine_upgrade() did. */
static inline int client_upgrade(struct world *w, struct client *c, const char *path, const char *query,
                                 const char *headers, sl_slice rest)
{
	struct sluice_header header[32];
	struct sl_buf raw;
	struct http_upgrade up = {.path = sl_slice_str(path), .query = sl_slice_str(query), .header = header};
	char *copy = strdup(headers), *line, *save = NULL;
	int sv[2], e;

	memset(c, 0, sizeof *c);
	c->world = w;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
		exit(1);
	sl_buf_init(&raw);
	sl_buf_addf(&raw, "GET %s HTTP/1.1\r\n%s\r\n", path, headers);
	sl_buf_add(&raw, rest.data, rest.len);
	for (line = strtok_r(copy, "\r\n", &save); line; line = strtok_r(NULL, "\r\n", &save)) {
		char *colon = strchr(line, ':');

		*colon = 0;
		header[up.n_header].name = sl_slice_str(line);
		header[up.n_header++].value = sl_slice_str(colon + 2);
	}
	up.raw = sl_buf_slice(&raw);
	up.fd = sv[1];
	c->fd = sv[0];
	c->event = event_new(w->base, c->fd, EV_READ | EV_PERSIST, client_read, c);
	event_add(c->event, NULL);
	e = ws_engine_upgrade(w->engine, &up);
	if (e)
		close(sv[1]);
	sl_buf_fini(&raw);
	free(copy);
	return e;
}

static inline void client_open(struct world *w, struct client *c, const char *path)
{
	is_int(client_upgrade(w, c, path, NULL, "sec-websocket-key: " KEY "\r\nsec-websocket-version: 13\r\n",
	                      SL_STR("")),
	       0, "upgraded");
	run_until(w, c->head[0]);
}

static inline void client_listen(struct client *c, int on)
{
	if (on)
		event_add(c->event, NULL);
	else
		event_del(c->event);
}

static inline void client_close(struct client *c)
{
	event_free(c->event);
	close(c->fd);
	sl_buf_fini(&c->in);
	sl_buf_fini(&c->message);
}

/* What does not fit is sent while the loop turns; not in a callback of the loop, where little is sent. */
static inline void client_bytes(struct client *c, const void *data, size_t n)
{
	const char *p = data;

	while (n > 0) {
		ssize_t k = send(c->fd, p, n, MSG_NOSIGNAL);

		if (k < 0 && (errno != EAGAIN || c->reading))
			return;
		if (k < 0) {
			event_base_loop(c->world->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
			continue;
		}
		p += k;
		n -= (size_t)k;
	}
}

static inline size_t frame_make(uint8_t *out, int fin, int opcode, const void *data, size_t n)
{
	static const uint8_t mask[4] = {0x37, 0xfa, 0x21, 0x3d};
	const uint8_t *p = data;
	size_t k = 0;

	out[k++] = (uint8_t)((fin ? 0x80 : 0) | opcode);
	if (n < 126) {
		out[k++] = (uint8_t)(0x80 | n);
	} else if (n < 65536) {
		out[k++] = 0x80 | 126;
		out[k++] = (uint8_t)(n >> 8);
		out[k++] = (uint8_t)n;
	} else {
		out[k++] = 0x80 | 127;
		for (int i = 7; i >= 0; i--)
			out[k++] = (uint8_t)(n >> (8 * i));
	}
	memcpy(out + k, mask, 4);
	k += 4;
	for (size_t i = 0; i < n; i++)
		out[k + i] = p[i] ^ mask[i & 3];
	return k + n;
}

/* Masked, as a client's frames are. */
static inline void client_frame(struct client *c, int fin, int opcode, const void *data, size_t n)
{
	uint8_t *out = malloc(n + 14);

	client_bytes(c, out, frame_make(out, fin, opcode, data, n));
	free(out);
}

#endif
