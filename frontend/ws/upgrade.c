/*
 * upgrade.c - from an HTTP request to a WebSocket connection: which endpoint, whether it is allowed, what is kept of
 * it. Worker process.
 *
 * Everything that can be refused is refused before libwebsockets sees the descriptor, so that the HTTP engine can
 * still answer. The request was parsed by the HTTP engine already; libwebsockets is given a head of ours that has
 * what the handshake needs and nothing else (no extensions, no subprotocols of which it would have to know the names,
 * no size limits of its own).
 */
#include <assert.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "frontend/http/engine.h" /* the rules of heads and queries are the HTTP engine's */
#include "frontend/ws/engine.h"

static sl_slice request_header(const struct http_upgrade *up, const char *name)
{
	for (size_t i = 0; i < up->n_header; i++)
		if (sl_slice_is(up->header[i].name, name))
			return up->header[i].value;
	return (sl_slice){0};
}

/* RFC 6455 4.2.1: 16 bytes in base64. Its alphabet also keeps the head we write ours. */
static bool key_valid(sl_slice key)
{
	static const char base64[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *p = key.data;

	if (key.len != WS_KEY_LEN || p[WS_KEY_LEN - 1] != '=' || p[WS_KEY_LEN - 2] != '=')
		return false;
	for (size_t i = 0; i < WS_KEY_LEN - 2; i++)
		if (!p[i] || !strchr(base64, p[i]))
			return false;
	return true;
}

/* The next name of a comma-separated list, without blanks around it. */
static bool list_next(sl_slice *rest, sl_slice *name)
{
	while (rest->len > 0) {
		const char *p = rest->data, *comma = memchr(p, ',', rest->len);
		size_t n = comma ? (size_t)(comma - p) : rest->len;

		*rest = SL_SLICE(p + n + (comma != NULL), rest->len - n - (comma != NULL));
		while (n > 0 && (*p == ' ' || *p == '\t'))
			p++, n--;
		while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
			n--;
		*name = SL_SLICE(p, n);
		if (n > 0)
			return true;
	}
	return false;
}

static bool request_offers(const struct http_upgrade *up, sl_slice subprotocol)
{
	for (size_t i = 0; i < up->n_header; i++) {
		sl_slice rest = up->header[i].value, name;

		if (!sl_slice_is(up->header[i].name, "sec-websocket-protocol"))
			continue;
		while (list_next(&rest, &name))
			if (sl_slice_eq(name, subprotocol))
				return true;
	}
	return false;
}

/* The first of the endpoint's that the client offers. None in common: none is named, and the client decides (RFC 6455
 * 4.2.2). */
static sl_slice request_subprotocol(const struct http_upgrade *up, const struct ws_endpoint *e)
{
	sl_slice rest = sl_slice_str(e->pub.subprotocols), name;

	while (list_next(&rest, &name))
		if (request_offers(up, name))
			return name; /* a copy of the endpoint's, which outlives every connection */
	return (sl_slice){0};
}

static sl_slice keep(uint8_t **at, sl_slice s)
{
	uint8_t *to = *at;

	if (!s.data)
		return s;
	memcpy(to, s.data, s.len);
	*at += s.len;
	return SL_SLICE(to, s.len);
}

/* One allocation holds the connection and what its accessors show. */
static struct sluice_ws *request_keep(struct ws_engine *engine, const struct ws_endpoint *e,
                                      const struct http_upgrade *up, sl_slice path, sl_slice key)
{
	size_t n = up->n_header * sizeof *up->header + path.len + up->target.len + up->query.len;
	struct sluice_header *header;
	struct sluice_ws *ws;
	uint8_t *at;

	assert(key.data); /* looked at by the caller */
	for (size_t i = 0; i < up->n_header; i++)
		n += up->header[i].name.len + up->header[i].value.len;
	ws = malloc(sizeof *ws + n);
	if (!ws)
		return NULL;
	*ws = (struct sluice_ws){.magic = WS_MAGIC,
	                         .state = WS_OPENING,
	                         .heard = true,
	                         .code = 1006,
	                         .fd = -1,
	                         .engine = engine,
	                         .endpoint = e};
	sl_link_init(&ws->all);
	sl_link_init(&ws->work);
	sl_link_init(&ws->expire);
	sl_buf_init(&ws->in);
	header = (struct sluice_header *)(ws + 1);
	at = (uint8_t *)(header + up->n_header);
	for (size_t i = 0; i < up->n_header; i++) {
		header[i].name = keep(&at, up->header[i].name);
		header[i].value = keep(&at, up->header[i].value);
	}
	ws->header = header;
	ws->n_header = up->n_header;
	ws->path = keep(&at, path);
	ws->query = keep(&at, up->query);
	ws->target = keep(&at, up->target);
	ws->subprotocol = request_subprotocol(up, e);
	memcpy(ws->key, key.data, WS_KEY_LEN);
	return ws;
}

/* Two Authorization headers: neither is believed. */
static sl_slice request_authorization(const struct http_upgrade *up)
{
	sl_slice found = {0};

	for (size_t i = 0; i < up->n_header; i++)
		if (sl_slice_is(up->header[i].name, "authorization")) {
			if (found.data)
				return SL_STR("");
			found = up->header[i].value;
		}
	return found;
}

/* Who asks, and may they? The name the policy is asked about is the stream's: prefix + path. */
static int request_authorize(struct ws_engine *engine, struct sluice_ws *ws, const struct http_upgrade *up)
{
	const struct sluice_endpoint *e = &ws->endpoint->pub;
	const char *prefix = ws->endpoint->mount->ctx->prefix ? ws->endpoint->mount->ctx->prefix : "";
	struct auth_ask ask = {.authorization = request_authorization(up), .client = up->client};
	struct auth_verdict v = {0};
	struct sl_buf name;
	int rc;

	if (!engine->hooks.auth.admit)
		return 0;
	if (e->token_query && !ask.authorization.data)
		ask.token = ws_request_query(ws, e->token_query, 0);
	sl_buf_init(&name);
	rc = sl_buf_add(&name, prefix, strlen(prefix));
	if (rc == 0)
		rc = sl_buf_add(&name, ws->path.data, ws->path.len);
	if (rc == 0) {
		ask.action = e->flags & SLUICE_RT_OWN_AUTH ? NULL : e->action;
		ask.stream = sl_buf_slice(&name);
		engine->hooks.auth.admit(engine->hooks.auth.arg, &ask, &v);
		ws->principal = v.principal;
		rc = v.status ? SLUICE_EDENIED : 0;
	}
	sl_buf_fini(&name);
	if (rc == 0 && ask.action && v.expires_ms) {
		ws->expires_ms = v.expires_ms;
		sl_link_add(&engine->expiring, &ws->expire);
	}
	if (rc && up->refusal)
		*up->refusal = v;
	return rc;
}

/* What the client sent behind its head, not waiting for the 101. */
static sl_slice request_rest(const struct http_upgrade *up, size_t max)
{
	const char *why;
	size_t scan = 0;
	ssize_t n = h1_head_scan(up->raw.data, up->raw.len, &scan, max, &why);

	if (n <= 0)
		return (sl_slice){0};
	return SL_SLICE((const uint8_t *)up->raw.data + n, up->raw.len - (size_t)n);
}

/* A peer that vanished while output was on its way: the kernel sees that nothing is acknowledged (conn.c, the sweep).
 * */
static void request_watch_peer(const struct ws_engine *engine, int fd)
{
	unsigned int ms = 2 * engine->limits.ping_interval;

	setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms,
	           sizeof ms); /* fails on Unix sockets, where nobody vanishes */
}

/* Its connection counts on, for the same client; for a moment it does so twice, so the answer is not asked for. */
static void request_enter(struct ws_engine *engine, struct sluice_ws *ws, sl_slice client)
{
	const struct auth_hooks *auth = &engine->hooks.auth;
	int rc = auth->enter && client.len > 0 ? auth->enter(auth->arg, client) : SLUICE_ENOENT;

	if (rc && rc != SLUICE_EBUSY)
		return;
	memcpy(ws->client, client.data, client.len);
	ws->n_client = (uint8_t)client.len;
}

static int request_open(struct ws_engine *engine, struct sluice_ws *ws, const struct http_upgrade *up)
{
	const struct ws_endpoint *e = ws->endpoint;
	int rc = request_authorize(engine, ws, up);

	if (rc)
		return rc;
	rc = e->pub.open(e->mount->ctx->self, ws);
	/* Others may be anything: before 1.3 there was one answer to all. */
	return rc == 0 || rc == SLUICE_ENOENT || rc == SLUICE_EBUSY ? rc : SLUICE_EDENIED;
}

int ws_engine_upgrade(void *arg, const struct http_upgrade *up)
{
	struct ws_engine *engine = arg;
	const struct ws_endpoint *e = ws_endpoint_find(engine, up->path);
	sl_slice key = request_header(up, "sec-websocket-key"), path;
	struct sluice_ws *ws;
	int rc;

	if (!e)
		return SLUICE_ENOENT;
	if (!sl_slice_is(request_header(up, "sec-websocket-version"), "13"))
		return SLUICE_ENOTSUP;
	if (!key.data || !key_valid(key))
		return SLUICE_EINVAL;
	if (engine->draining || engine->n_conns >= engine->limits.connections || !ws_lws_takes(engine->lws, up->fd))
		return SLUICE_EBUSY;
	path = SL_SLICE((const char *)up->path.data + e->mount->path_len, up->path.len - e->mount->path_len);
	if (path.len > 0) /* "/" of the mount */
		path = SL_SLICE((const char *)path.data + 1, path.len - 1);
	ws = request_keep(engine, e, up, path, key);
	if (!ws)
		return SLUICE_EBUSY;
	ws_conn_link(ws);
	request_enter(engine, ws, up->client);
	rc = request_open(engine, ws, up);
	if (rc) {
		ws_conn_free(ws); /* open() said no: closed() is not owed */
		return rc;
	}
	request_watch_peer(engine, up->peer);
	ws_lws_adopt(engine->lws, ws, up->fd, request_rest(up, engine->limits.header_bytes + 4096));
	ws_engine_kick(engine);
	return 0;
}

/* Decoded once, on first use: most plugins never ask. */
static int query_parse(struct sluice_ws *ws)
{
	sl_slice rest = ws->query, name = {0}, value = {0};
	size_t n = 0;
	uint8_t *at;

	while (query_next(&rest, &name, &value))
		n++;
	ws->decoded = malloc(n * sizeof *ws->decoded + ws->query.len + 1); /* decoding never lengthens */
	if (!ws->decoded)
		return SLUICE_ENOMEM;
	at = (uint8_t *)(ws->decoded + n);
	ws->n_decoded = 0;
	rest = ws->query;
	while (query_next(&rest, &name, &value)) {
		struct sluice_header *d = &ws->decoded[ws->n_decoded++];

		d->name = SL_SLICE(at, query_decode(name, at));
		at += d->name.len;
		d->value = SL_SLICE(at, query_decode(value, at));
		at += d->value.len;
	}
	return 0;
}

sl_slice ws_request_query(struct sluice_ws *ws, const char *name, size_t i)
{
	if (ws->magic != WS_MAGIC)
		abort();
	if (!ws->query.len || (!ws->decoded && query_parse(ws)))
		return (sl_slice){0};
	for (size_t k = 0; k < ws->n_decoded; k++)
		if (sl_slice_is(ws->decoded[k].name, name) && i-- == 0)
			return ws->decoded[k].value;
	return (sl_slice){0};
}
