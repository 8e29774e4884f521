/*
 * conn.c - the life of one WebSocket connection: messages in, the queue out, closing, and being found dead. Worker
 * process.
 *
 * Input is assembled into whole messages, at most max_message bytes; while the plugin has paused it, libwebsockets
 * does not read, and the client's window closes. Output is bounded by limits.send_queue. Closed() is owed exactly
 * once to everyone whose open() said yes, and is paid by ws_engine_turn().
 */
#include <stdlib.h>

#include "frontend/http/engine.h" /* utf8_valid(): one judge of it in the worker */
#include "frontend/ws/engine.h"

void ws_conn_link(struct sluice_ws *ws)
{
	struct ws_engine *engine = ws->engine;

	sl_link_add(&engine->conns, &ws->all);
	engine->n_conns++;
	if (engine->hooks.connections)
		++*engine->hooks.connections;
}

void ws_conn_free(struct sluice_ws *ws)
{
	struct ws_engine *engine = ws->engine;

	sl_link_del(&ws->all);
	sl_link_del(&ws->work);
	engine->n_conns--;
	if (engine->hooks.connections)
		--*engine->hooks.connections;
	ws_queue_clear(&ws->out);
	sl_buf_fini(&ws->in);
	free(ws->reason);
	free(ws->decoded);
	sl_link_del(&ws->expire);
	if (ws->n_client > 0)
		engine->hooks.auth.leave(engine->hooks.auth.arg, SL_SLICE(ws->client, ws->n_client));
	if (ws->principal)
		engine->hooks.auth.release(ws->principal);
	ws->magic = 0;
	free(ws);
}

/* ---- input ---- */

void ws_conn_opened(struct sluice_ws *ws)
{
	if (ws->state == WS_OPENING)
		ws->state = WS_OPEN;
	if (ws->out.n > 0 || ws->state == WS_CLOSING)
		ws_lws_want_write(ws);
	if (ws->paused && ws->state == WS_OPEN)
		ws_lws_pause(ws, true);
}

void ws_conn_heard(struct sluice_ws *ws)
{
	ws->heard = true;
}

static void conn_deliver(struct sluice_ws *ws, sl_slice message, bool binary)
{
	const struct ws_endpoint *e = ws->endpoint;

	/* RFC 6455 8.1. Checked when the message is whole: a fragment may end inside a character. */
	if (!binary && !utf8_valid(message.data, message.len)) {
		ws_conn_close(ws, 1007, "text is not UTF-8");
		return;
	}
	if (ws->engine->hooks.messages_in)
		++*ws->engine->hooks.messages_in;
	e->pub.message(e->mount->ctx->self, ws, message, binary);
}

void ws_conn_receive(struct sluice_ws *ws, sl_slice piece, uint64_t remaining, bool final, bool binary)
{
	uint64_t max = ws->endpoint->pub.max_message ? ws->endpoint->pub.max_message : ws->engine->limits.max_message;
	uint64_t known = (uint64_t)ws->in.len + piece.len;

	ws->heard = true;
	if (ws->state != WS_OPEN)
		return;
	/* remaining is what the frame's header promises: refused before it is sent. */
	if (known > max || remaining > max - known) {
		sl_buf_fini(&ws->in);
		ws_conn_close(ws, 1009, "message too big");
		return;
	}
	if (!piece.data)
		piece = SL_STR("");
	if (final && ws->in.len == 0) {
		conn_deliver(ws, piece, binary);
		return;
	}
	if (sl_buf_add(&ws->in, piece.data, piece.len)) {
		sl_buf_fini(&ws->in);
		ws_conn_close(ws, 1011, "out of memory");
		return;
	}
	if (!final)
		return;
	conn_deliver(ws, sl_buf_slice(&ws->in), binary);
	/* A parked connection keeps nothing. */
	sl_buf_fini(&ws->in);
	sl_buf_init(&ws->in);
}

/* A valid close payload is empty, or a code and UTF-8 (RFC 6455 5.5.1). libwebsockets checks the code itself. */
int ws_conn_peer_closes(struct sluice_ws *ws, sl_slice payload)
{
	const uint8_t *p = payload.data;
	bool ours = ws->state >= WS_CLOSING;
	int answer = 0;

	if (payload.len == 1)
		answer = 1002;
	else if (payload.len > 2 && !utf8_valid(p + 2, payload.len - 2))
		answer = 1007;
	if (!ours)
		ws->code = answer ? answer : payload.len ? p[0] << 8 | p[1] : 1005;
	if (ws->state < WS_ENDING) {
		ws->state = WS_ENDING;
		/* libwebsockets would wait for an answer to ours, which the client has given beforehand. */
		ws->deadline = ws_now() + (answer ? WS_LAST_WORD_MS : 2 * WS_LWS_ACK_MS);
		sl_link_del(&ws->work);
		sl_link_add(&ws->engine->closing, &ws->work);
	}
	return answer;
}

/* ---- output ---- */

/* One piece of the first message. 0, or -1: the socket is broken. */
static int conn_write_piece(struct sluice_ws *ws, size_t *room)
{
	struct ws_item *item = &ws->out.item[ws->out.head];
	size_t left = item->buf->len - ws->out.off;
	size_t n = left < WS_FRAGMENT ? left : WS_FRAGMENT;

	if (ws_lws_write(ws, SL_SLICE(item->buf->data + ws->out.off, n), ws->out.off == 0, n == left, item->binary))
		return -1;
	ws->progress = true;
	ws->out.off += n;
	*room -= n < *room ? n : *room;
	if (n == left) {
		ws_queue_pop(&ws->out);
		if (ws->engine->hooks.messages_out)
			++*ws->engine->hooks.messages_out;
	}
	return 0;
}

static void conn_pull(struct sluice_ws *ws)
{
	const struct ws_endpoint *e = ws->endpoint;

	if (!ws->want_pull || ws->state != WS_OPEN || ws->out.bytes > ws->engine->limits.send_queue / 2)
		return;
	ws->want_pull = false;
	if (e->pub.pull)
		e->pub.pull(e->mount->ctx->self, ws);
}

int ws_conn_writable(struct sluice_ws *ws)
{
	size_t room = WS_BURST;

	if (ws->state >= WS_ENDING)
		return 0;
	if (ws->want_ping) {
		ws->want_ping = false;
		if (ws_lws_ping(ws))
			return -1;
	}
	for (int i = 0; i < WS_BURST_MESSAGES && room > 0 && !ws_lws_choked(ws); i++) {
		conn_pull(ws);
		if (ws->out.n == 0)
			break;
		if (conn_write_piece(ws, &room))
			return -1;
	}
	conn_pull(ws);
	if (ws_lws_choked(ws))
		return 0; /* libwebsockets comes back by itself */
	if (ws->out.n > 0) {
		ws_lws_want_write(ws);
	} else if (ws->state == WS_CLOSING) {
		sl_link_del(&ws->work);
		sl_link_add(&ws->engine->flushed, &ws->work);
		ws_engine_kick(ws->engine);
	}
	return 0;
}

static int conn_send(struct sluice_ws *ws, struct sluice_buf *buf, int binary)
{
	int e;

	/* One message may exceed the bound, or it could never be sent. */
	if (ws->out.n > 0 && ws->out.bytes + buf->len + WS_MESSAGE_COST > ws->engine->limits.send_queue) {
		ws->want_pull = true;
		return SLUICE_EAGAIN;
	}
	e = ws_queue_add(&ws->out, shared_ref(buf), binary != 0);
	if (e) {
		shared_unref(buf);
		return e;
	}
	if (ws->out.n == 1) /* nothing left for the sweep to compare with */
		ws->progress = true;
	if (ws->state == WS_OPEN)
		ws_lws_want_write(ws);
	return 0;
}

/* ---- closing ---- */

/* What fits into a close frame, not ending inside a character. No memory: closed without a reason. */
static char *reason_copy(const char *reason)
{
	size_t n;

	if (!reason || !*reason)
		return NULL;
	n = strnlen(reason, WS_REASON_MAX + 1);
	if (n > WS_REASON_MAX)
		for (n = WS_REASON_MAX; n > 0 && ((uint8_t)reason[n] & 0xc0) == 0x80; n--)
			;
	return strndup(reason, n);
}

void ws_conn_close(struct sluice_ws *ws, int code, const char *reason)
{
	if (ws->state >= WS_CLOSING)
		return;
	/* Reading goes on, or the client's answer to the close would never be seen. */
	if (ws->state == WS_OPEN) {
		if (ws->paused)
			ws_lws_pause(ws, false);
		ws_lws_want_write(ws);
	}
	ws->state = WS_CLOSING;
	ws->code = code;
	ws->paused = false;
	ws->want_pull = false;
	ws->reason = reason_copy(reason);
	ws->deadline = ws_now() + ws->engine->limits.close_timeout;
	sl_link_add(&ws->engine->closing, &ws->work);
}

void ws_conn_lost(struct sluice_ws *ws)
{
	if (ws->state == WS_LOST)
		return;
	ws->state = WS_LOST;
	ws_mask_unwatch(ws);
	ws->wsi = NULL;
	ws_queue_clear(&ws->out);
	sl_link_del(&ws->work);
	sl_link_add(&ws->engine->lost, &ws->work);
	ws_engine_kick(ws->engine);
}

/* ---- the sweep ---- */

/*
 * Silence for a whole round: ask. Silence for another: gone. Output that does not move for two rounds: gone as well.
 * Output that moves counts as a sign of life, for the answer to a ping may stand behind it; what moves into a void
 * TCP_USER_TIMEOUT finds out.
 */
static void conn_visit(struct sluice_ws *ws)
{
	bool stuck = !ws->progress && (ws->out.n > 0 || ws->want_ping);
	bool silent = !ws->heard && !ws->paused && !ws->progress;

	if ((stuck && ws->stalled) || (silent && ws->asked)) {
		ws_lws_cut(ws);
		return;
	}
	if (silent && !ws->want_ping) {
		ws->want_ping = true;
		ws_lws_want_write(ws);
	}
	ws->asked = silent;
	ws->stalled = stuck;
	ws->heard = false;
	ws->progress = false;
}

void ws_conn_sweep(struct ws_engine *engine, uint64_t now, size_t visits)
{
	struct sl_link *l, *next;

	for (; visits > 0 && !sl_link_alone(&engine->conns); visits--) {
		struct sluice_ws *ws = SL_OF(engine->conns.next, struct sluice_ws, all);

		sl_link_del(&ws->all);
		sl_link_add(&engine->conns, &ws->all);
		if (ws->state == WS_OPEN)
			conn_visit(ws);
	}
	for (l = engine->closing.next; l != &engine->closing; l = next) {
		struct sluice_ws *ws = SL_OF(l, struct sluice_ws, work);

		next = l->next;
		if (now >= ws->deadline)
			ws_lws_cut(ws);
	}
}

void ws_conn_expire(struct ws_engine *engine, uint64_t wall_ms)
{
	struct sl_link *l, *next;

	for (l = engine->expiring.next; l != &engine->expiring; l = next) {
		struct sluice_ws *ws = SL_OF(l, struct sluice_ws, expire);

		next = l->next;
		if (wall_ms < ws->expires_ms)
			continue;
		sl_link_del(&ws->expire);
		ws_conn_close(ws, 1008, "the token has expired"); /* RFC 6455 7.4.1: policy */
	}
}

/* ---- the table for plugins ---- */

static struct sluice_ws *conn_of(struct sluice_ws *ws)
{
	if (ws->magic != WS_MAGIC)
		abort(); /* a handle used after closed(): the process is no longer to be trusted */
	return ws;
}

static sl_slice conn_path(struct sluice_ws *ws)
{
	return conn_of(ws)->path;
}

static sl_slice conn_target(struct sluice_ws *ws)
{
	return conn_of(ws)->target;
}

static sl_slice conn_header(struct sluice_ws *ws, const char *name, size_t i)
{
	conn_of(ws);
	for (size_t k = 0; k < ws->n_header; k++)
		if (sl_slice_is(ws->header[k].name, name) && i-- == 0)
			return ws->header[k].value;
	return (sl_slice){0};
}

static const struct sluice_principal *conn_principal(struct sluice_ws *ws)
{
	return conn_of(ws)->principal;
}

static void **conn_slot(struct sluice_ws *ws)
{
	return &conn_of(ws)->slot;
}

static sl_slice conn_subprotocol(struct sluice_ws *ws)
{
	return conn_of(ws)->subprotocol;
}

static int conn_send_bytes(struct sluice_ws *ws, sl_slice message, int binary)
{
	struct sluice_buf *buf;
	int e;

	if (conn_of(ws)->state >= WS_CLOSING)
		return SLUICE_ECLOSED;
	buf = shared_new(message);
	if (!buf)
		return SLUICE_ENOMEM;
	e = conn_send(ws, buf, binary);
	shared_unref(buf);
	return e;
}

static int conn_send_buf(struct sluice_ws *ws, struct sluice_buf *buf, int binary)
{
	return conn_of(ws)->state >= WS_CLOSING ? SLUICE_ECLOSED : conn_send(ws, buf, binary);
}

static void conn_pause(struct sluice_ws *ws, int on)
{
	if (conn_of(ws)->state >= WS_CLOSING || ws->paused == (on != 0))
		return;
	ws->paused = on != 0;
	if (ws->state == WS_OPEN)
		ws_lws_pause(ws, ws->paused);
}

static void conn_close(struct sluice_ws *ws, int code, const char *reason)
{
	/* RFC 6455 7.4: what may be sent. Anything else would be a protocol error of ours. */
	bool good = (code >= 1000 && code <= 1014 && code != 1004 && code != 1005 && code != 1006) ||
	            (code >= 3000 && code <= 4999);

	ws_conn_close(conn_of(ws), good ? code : 1011, reason);
}

const struct sluice_ws_host ws_table = {
	.size = sizeof ws_table,
	.endpoint = ws_engine_endpoint,
	.path = conn_path,
	.query = ws_request_query,
	.header = conn_header,
	.principal = conn_principal,
	.slot = conn_slot,
	.send = conn_send_bytes,
	.send_buf = conn_send_buf,
	.pause = conn_pause,
	.close = conn_close,
	.subprotocol = conn_subprotocol,
	.target = conn_target,
};
