/*
 * fuzz_ws.c - fuzz target: what a client sends after the handshake, through libwebsockets to an echoing plugin. Tests
 * only.
 *
 * One engine for all inputs. Text that reaches the plugin is UTF-8 and no message exceeds its limit; closed() follows
 * every open().
 */
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/http/engine.h"
#include "frontend/ws/ws.h"

#define KEY "dGhlIHNhbXBsZSBub25jZQ=="

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { MESSAGE_MAX = 4096 };

static struct event_base *base;
static struct ws_engine *engine;
static int open_now;

static int on_open(void *self, struct sluice_ws *ws)
{
	(void)self, (void)ws;
	open_now++;
	return 0;
}

static void on_message(void *self, struct sluice_ws *ws, sl_slice m, int binary)
{
	(void)self;
	if (m.len > MESSAGE_MAX || (!binary && !utf8_valid(m.data, m.len)))
		abort();
	ws_table.send(ws, m, binary);
	if (m.len && *(const uint8_t *)m.data == 'P')
		ws_table.pause(ws, 1);
	if (m.len && *(const uint8_t *)m.data == 'C')
		ws_table.close(ws, 4000, "as you wish");
}

static void on_closed(void *self, struct sluice_ws *ws, int code)
{
	(void)self, (void)ws;
	if (code < 1000 || code > 65535)
		abort();
	open_now--;
}

static void engine_start(void)
{
	static char mount[] = "/", name[] = "fuzz";
	static struct sluice_ctx ctx = {.magic = CTX_MAGIC, .mount = mount, .name = name};
	struct sluice_endpoint e = {.size = sizeof e,
	                            .pattern = "/x",
	                            .max_message = MESSAGE_MAX,
	                            .open = on_open,
	                            .message = on_message,
	                            .closed = on_closed};

	base = event_base_new();
	engine = base ? ws_engine_new(base, NULL, NULL) : NULL;
	if (!engine || ws_mount_new(engine, &ctx) || ws_table.endpoint(&ctx, &e))
		abort();
}

/* Half of the input comes with the head, the rest over the socket. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static const char head[] = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
	static const struct sluice_header header[] = {{SL_STR("sec-websocket-key"), SL_STR(KEY)},
	                                              {SL_STR("sec-websocket-version"), SL_STR("13")}};
	struct http_upgrade up = {.path = SL_STR("/x"), .header = header, .n_header = 2};
	uint8_t drop[4096];
	struct sl_buf raw;
	int sv[2];

	if (!engine)
		engine_start();
	if (n > 60000 || socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
		return 0;
	sl_buf_init(&raw);
	if (sl_buf_add(&raw, head, sizeof head - 1) || sl_buf_add(&raw, data, n / 2))
		abort();
	up.raw = sl_buf_slice(&raw);
	up.fd = sv[1];
	if (ws_engine_upgrade(engine, &up))
		abort();
	sl_buf_fini(&raw);
	if (write(sv[0], data + n / 2, n - n / 2) < 0)
		abort();
	for (int i = 0; i < 4; i++) {
		event_base_loop(base, EVLOOP_NONBLOCK);
		while (read(sv[0], drop, sizeof drop) > 0)
			;
	}
	close(sv[0]);
	for (int i = 0; i < 100 && open_now; i++)
		event_base_loop(base, EVLOOP_NONBLOCK);
	if (ws_engine_connections(engine) > 64) { /* paused ones do not notice that they are alone */
		ws_engine_free(engine);
		event_base_free(base);
		engine = NULL;
		if (open_now)
			abort();
	}
	return 0;
}
