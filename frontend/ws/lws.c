/*
 * lws.c - all of libwebsockets: framing, masking, handshake and closing handshake, on the worker's loop. Worker
 * process.
 *
 * libwebsockets 4.1.6 runs on a libuv loop that it is given; libuv is made to be embedded: libevent watches its
 * backend descriptor, a timer follows uv_backend_timeout(), and ws_lws_run() is called on either and after every call
 * from outside that may have changed what it watches. No listener, no thread. One protocol serves all endpoints.
 *
 * What is particular about 4.1.6 as Debian builds it:
 *   - its table of descriptors is as long as RLIMIT_NOFILE; a smaller one of its own choice is searched linearly for
 *     each event. So the limit is lowered while the context is made, and descriptors beyond the table are refused by
 *     ws_lws_takes();
 *   - a callback that returns -1 to have its connection closed gets it closed twice ("uv repeat test"), which kills
 *     the connection before its close frame is sent. So a close is begun from outside of all callbacks, by way of
 *     lws_set_timeout();
 *   - timers made from outside are not noticed until something happens: lws_cancel_service() makes it happen;
 *   - its keep-alive puts each connection into one sorted list, a linear search per message: it is off, conn.c has
 *     its own;
 *   - it logs each adoption as an error;
 *   - it takes frames that are not masked: mask.c.
 */
#include <assert.h>
#include <libwebsockets.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <unistd.h>
#include <uv.h>

#include "frontend/ws/engine.h"
#include "lib/log.h"

#define WS_LWS_MAGIC 0x576c7773u

enum {
	LWS_READ = 2048,      /* one read and one piece of a message; each connection owns a buffer of this size */
	LWS_RUNS = 8,         /* rounds of libuv a turn, as long as it says that there is more to do at once */
	LWS_SPARE_FDS = 4096, /* beside two descriptors for each connection: HTTP has as many */
	LWS_HEAD_MAX = 512,
	LWS_LAST_RUNS = 10000 /* of libuv, for what is still open at the end */
};

struct ws_lws {
	uint32_t magic;
	struct ws_engine *engine;
	uv_loop_t loop;
	bool loop_open, running;
	struct lws_context *context; /* set to NULL by libwebsockets when it is gone */
	struct lws_vhost *vhost;
	struct event *ev_poll, *ev_timer;
	struct sluice_ws *adopting; /* until its wsi knows it */
	int fds;                    /* length of libwebsockets' table */
	uint8_t *scratch;           /* LWS_PRE bytes and a fragment: it writes the frame's header before the payload */
};

/* ---- log: client faults at debug level, its own trouble as a warning ---- */

static void lws_log_line(int level, const char *line)
{
	int n = (int)strcspn(line, "\n");

	if (strstr(line, "calling service") || strstr(line, "deferring handling ah"))
		return; /* a leftover of its author's */
	sl_log(level == LLL_ERR ? SLUICE_LOG_WARN : SLUICE_LOG_DEBUG, "libwebsockets message=\"%.*s\"", n, line);
}

/* ---- events of libwebsockets ---- */

static struct sluice_ws *lws_conn(struct lws *wsi)
{
	struct sluice_ws *ws = lws_get_opaque_user_data(wsi);

	assert(!ws || ws->magic == WS_MAGIC);
	return ws;
}

static int lws_on_instantiated(struct lws *wsi)
{
	struct ws_lws *l = lws_context_user(lws_get_context(wsi));
	struct sluice_ws *ws = l->adopting;

	assert(l->magic == WS_LWS_MAGIC);
	if (!ws)
		return -1;
	l->adopting = NULL;
	ws->wsi = wsi;
	lws_set_opaque_user_data(wsi, ws);
	return 0;
}

static int lws_on_add_headers(struct lws *wsi, struct sluice_ws *ws, struct lws_process_html_args *args)
{
	unsigned char *p = (unsigned char *)args->p;
	int e;

	if (!ws->subprotocol.data)
		return 0;
	e = lws_add_http_header_by_name(wsi, (const unsigned char *)"Sec-WebSocket-Protocol:", ws->subprotocol.data,
	                                (int)ws->subprotocol.len, &p, p + args->max_len);
	args->p = (char *)p;
	return e;
}

static int lws_on_peer_close(struct lws *wsi, struct sluice_ws *ws, sl_slice payload)
{
	int code = ws_conn_peer_closes(ws, payload);

	if (!code)
		return 0;
	lws_close_reason(wsi, (enum lws_close_status)code, NULL, 0);
	return -1;
}

static int lws_on_end(struct lws *wsi, struct sluice_ws *ws)
{
	lws_set_opaque_user_data(wsi, NULL);
	ws_conn_lost(ws);
	return 0;
}

static int lws_on_event(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len)
{
	struct sluice_ws *ws;

	(void)user;
	switch (reason) {
	case LWS_CALLBACK_SERVER_NEW_CLIENT_INSTANTIATED:
		return lws_on_instantiated(wsi);
	case LWS_CALLBACK_ADD_HEADERS:
	case LWS_CALLBACK_ESTABLISHED:
	case LWS_CALLBACK_RECEIVE:
	case LWS_CALLBACK_RECEIVE_PONG:
	case LWS_CALLBACK_SERVER_WRITEABLE:
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
	case LWS_CALLBACK_CLOSED:
	case LWS_CALLBACK_WSI_DESTROY:
		break;
	case LWS_CALLBACK_HTTP: /* not reached: the head asks for an upgrade */
		return -1;
	default:
		return 0;
	}
	ws = lws_conn(wsi);
	if (!ws)
		return 0;
	switch (reason) {
	case LWS_CALLBACK_ADD_HEADERS:
		return lws_on_add_headers(wsi, ws, in);
	case LWS_CALLBACK_ESTABLISHED:
		ws_conn_opened(ws);
		return 0;
	case LWS_CALLBACK_RECEIVE:
		ws_conn_receive(ws, SL_SLICE(in, len), lws_remaining_packet_payload(wsi),
		                lws_is_final_fragment(wsi) != 0, lws_frame_is_binary(wsi) != 0);
		return 0;
	case LWS_CALLBACK_RECEIVE_PONG:
		ws_conn_heard(ws);
		return 0;
	case LWS_CALLBACK_SERVER_WRITEABLE:
		return ws_conn_writable(ws);
	case LWS_CALLBACK_WS_PEER_INITIATED_CLOSE:
		return lws_on_peer_close(wsi, ws, SL_SLICE(in, len));
	default:
		return lws_on_end(wsi, ws);
	}
}

static const struct lws_protocols lws_protocol[] = {
	{.name = "sluice", .callback = lws_on_event, .rx_buffer_size = LWS_READ, .tx_packet_size = WS_FRAGMENT},
	{.name = NULL},
};

/* ---- the loop ---- */

void ws_lws_run(struct ws_lws *l)
{
	struct timeval tv;
	int ms;

	assert(!l->running);
	l->running = true;
	for (int i = 0; i < LWS_RUNS; i++) {
		uv_run(&l->loop, UV_RUN_NOWAIT);
		ms = uv_backend_timeout(&l->loop);
		if (ms != 0)
			break;
	}
	l->running = false;
	if (ms < 0) {
		event_del(l->ev_timer);
		return;
	}
	tv = (struct timeval){.tv_sec = ms / 1000, .tv_usec = (ms % 1000) * 1000};
	event_add(l->ev_timer, &tv);
}

static void lws_on_loop(evutil_socket_t fd, short what, void *arg)
{
	struct ws_lws *l = arg;

	(void)fd, (void)what;
	assert(l->magic == WS_LWS_MAGIC);
	ws_engine_turn(l->engine);
}

void ws_lws_settle(struct ws_lws *l)
{
	lws_cancel_service(l->context);
}

/* ---- one connection ---- */

bool ws_lws_takes(const struct ws_lws *l, int fd)
{
	return fd < l->fds;
}

void ws_lws_adopt(struct ws_lws *l, struct sluice_ws *ws, int fd, sl_slice rest)
{
	char head[LWS_HEAD_MAX];
	struct sl_buf bytes;
	int n, e;

	n = snprintf(head, sizeof head,
	             "GET / HTTP/1.1\r\nHost: sluice\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	             "Sec-WebSocket-Key: %s\r\nSec-WebSocket-Version: 13\r\n\r\n",
	             ws->key);
	sl_buf_init(&bytes);
	rest.len = ws_mask_pass(ws, rest.data, rest.len);
	e = ws_mask_watch(ws, fd);
	if (e == 0)
		e = sl_buf_add(&bytes, head, (size_t)n);
	if (e == 0 && rest.len)
		e = sl_buf_add(&bytes, rest.data, rest.len);
	if (e) {
		close(fd);
		sl_buf_fini(&bytes);
		ws_conn_lost(ws);
		return;
	}
	l->adopting = ws;
	/* Runs the handshake and closes the descriptor when that fails. */
	lws_adopt_socket_vhost_readbuf(l->vhost, fd, (const char *)bytes.data + bytes.off, bytes.len);
	l->adopting = NULL;
	sl_buf_fini(&bytes);
	if (!ws->wsi) /* it never got as far as knowing ws, or is gone already */
		ws_conn_lost(ws);
}

void ws_lws_want_write(struct sluice_ws *ws)
{
	if (!ws->wsi)
		return;
	lws_callback_on_writable(ws->wsi);
	ws_engine_kick(ws->engine);
}

void ws_lws_pause(struct sluice_ws *ws, bool on)
{
	if (!ws->wsi)
		return;
	lws_rx_flow_control(ws->wsi, !on);
	ws_engine_kick(ws->engine);
}

void ws_lws_close(struct sluice_ws *ws, int code, const char *reason)
{
	if (!ws->wsi)
		return;
	lws_close_reason(ws->wsi, (enum lws_close_status)code, (unsigned char *)(uintptr_t)reason,
	                 reason ? strlen(reason) : 0);
	lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_SYNC);
}

void ws_lws_cut(struct sluice_ws *ws)
{
	if (!ws->wsi || ws->cutting)
		return;
	ws->cutting = true;
	lws_set_timeout(ws->wsi, PENDING_TIMEOUT_USER_OK, LWS_TO_KILL_ASYNC);
	ws_lws_settle(ws->engine->lws);
}

bool ws_lws_choked(const struct sluice_ws *ws)
{
	return lws_partial_buffered(ws->wsi) != 0;
}

int ws_lws_write(struct sluice_ws *ws, sl_slice piece, bool first, bool last, bool binary)
{
	uint8_t *at = ws->engine->lws->scratch + LWS_PRE;
	int how = first ? (binary ? LWS_WRITE_BINARY : LWS_WRITE_TEXT) : LWS_WRITE_CONTINUATION;

	assert(piece.len <= WS_FRAGMENT);
	memcpy(at, piece.data, piece.len);
	if (!last)
		how |= LWS_WRITE_NO_FIN;
	return lws_write(ws->wsi, at, piece.len, (enum lws_write_protocol)how) < 0 ? -1 : 0;
}

int ws_lws_ping(struct sluice_ws *ws)
{
	uint8_t *at = ws->engine->lws->scratch + LWS_PRE;

	/* With a payload: the answer to an empty ping is not reported. */
	memcpy(at, "sluice", 6);
	return lws_write(ws->wsi, at, 6, LWS_WRITE_PING) < 0 ? -1 : 0;
}

/* ---- life ---- */

static const lws_retry_bo_t lws_no_keepalive = {.secs_since_valid_hangup = 0};

/*
 * libwebsockets 4.1.6 falls over on its own ways out of a context that it could not finish for want of memory. A worker that has no
 * memory for its beginning ends with a sentence instead, and is tried again.
 */
static bool lws_beginning;

static void *lws_memory(void *old, size_t size, const char *reason)
{
	void *p;

	if (size == 0) {
		free(old);
		return NULL;
	}
	p = realloc(old, size);
	if (!p && lws_beginning)
		sl_fatal("why=\"out of memory for WebSockets\" what=\"%s\"", reason ? reason : "");
	return p;
}

static int lws_create(struct ws_lws *l)
{
	void *loops[1] = {&l->loop};
	struct lws_context_creation_info info;
	uint64_t want = 2 * (uint64_t)l->engine->limits.connections + LWS_SPARE_FDS;
	struct rlimit limit, lower;

	memset(&info, 0, sizeof info);
	info.port = CONTEXT_PORT_NO_LISTEN_SERVER;
	info.protocols = lws_protocol;
	info.foreign_loops = loops;
	info.pcontext = &l->context;
	info.user = l;
	info.gid = (gid_t)-1;
	info.uid = (uid_t)-1;
	info.timeout_secs = WS_LWS_ACK_MS / 1000;
	info.pt_serv_buf_size = 8192; /* head and answer of a handshake; reads are shorter */
	info.retry_and_idle_policy = &lws_no_keepalive;
	info.vhost_name = "sluice";
	info.options =
		LWS_SERVER_OPTION_LIBUV | LWS_SERVER_OPTION_EXPLICIT_VHOSTS | LWS_SERVER_OPTION_DISABLE_OS_CA_CERTS;
	if (getrlimit(RLIMIT_NOFILE, &limit))
		return SLUICE_EINTERNAL;
	lower = limit;
	if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur > want)
		lower.rlim_cur = want;
	l->fds = (int)lower.rlim_cur;
	if (setrlimit(RLIMIT_NOFILE, &lower))
		return SLUICE_EINTERNAL;
	lws_set_allocator(lws_memory);
	lws_beginning = true;
	l->context = lws_create_context(&info);
	lws_beginning = false;
	if (setrlimit(RLIMIT_NOFILE, &limit) || !l->context)
		return SLUICE_EINTERNAL;
	l->vhost = lws_create_vhost(l->context, &info);
	return l->vhost ? 0 : SLUICE_EINTERNAL;
}

/* libuv aborts when there is no memory for its table of descriptors, in the beginning and whenever that grows. The worker ends in order
 * instead, and says why; the supervisor starts another. */
static void *uv_table_realloc(void *old, size_t n)
{
	void *p = realloc(old, n);

	if (!p && n > 0) {
		sl_log(SLUICE_LOG_ERR, "leaving why=\"no memory for the descriptors of WebSockets\"");
		_exit(EXIT_FAILURE);
	}
	return p;
}

struct ws_lws *ws_lws_new(struct ws_engine *engine)
{
	struct ws_lws *l = calloc(1, sizeof *l);

	if (!l)
		return NULL;
	l->magic = WS_LWS_MAGIC;
	l->engine = engine;
	lws_set_log_level(LLL_ERR | LLL_WARN, lws_log_line);
	l->scratch = malloc(LWS_PRE + WS_FRAGMENT);
	(void)uv_replace_allocator(malloc, uv_table_realloc, calloc, free);
	l->loop_open = uv_loop_init(&l->loop) == 0;
	if (!l->scratch || !l->loop_open || lws_create(l)) {
		ws_lws_free(l);
		return NULL;
	}
	l->ev_poll = event_new(engine->base, uv_backend_fd(&l->loop), EV_READ | EV_PERSIST, lws_on_loop, l);
	l->ev_timer = event_new(engine->base, -1, 0, lws_on_loop, l);
	if (!l->ev_poll || !l->ev_timer || event_add(l->ev_poll, NULL)) {
		ws_lws_free(l);
		return NULL;
	}
	ws_lws_run(l);
	return l;
}

/* Runs libuv until no handle is left; false: after so many turns there still is one. */
static bool lws_run_out(struct ws_lws *l)
{
	for (int turn = 0; turn < LWS_LAST_RUNS; turn++)
		if (uv_run(&l->loop, UV_RUN_NOWAIT) == 0)
			return true;
	return false;
}

/* Handles are closed asynchronously, and libwebsockets is to be asked a second time. Where memory was short it may have forgotten one,
 * which stays open for ever; then the rest is left to the end of the process. */
void ws_lws_free(struct ws_lws *l)
{
	bool settled = true;

	if (l->ev_poll)
		event_free(l->ev_poll);
	if (l->ev_timer)
		event_free(l->ev_timer);
	if (l->context) {
		lws_context_destroy(l->context);
		settled = !l->context || lws_run_out(l);
		if (l->context && settled)
			lws_context_destroy(l->context);
	}
	if (l->loop_open && settled && lws_run_out(l))
		uv_loop_close(&l->loop);
	if (!settled)
		return;
	free(l->scratch);
	l->magic = 0;
	free(l);
}
