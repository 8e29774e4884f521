/*
 * test_upgrade.c - which endpoint a request belongs to, what is refused before the 101, what a plugin sees of the
 * request.
 */
#include "tests/unit/frontend/ws/harness.h"

#define GOOD "sec-websocket-key: " KEY "\r\nsec-websocket-version: 13\r\n"

static void test_refusals(void)
{
	static const struct {
		const char *name, *path, *headers;
		int want;
	} bad[] = {
		{"no such endpoint", "/y", GOOD, SLUICE_ENOENT},
		{"not below the mount", "/mount", GOOD, SLUICE_ENOENT},
		{"a longer name than the mount's", "/mountx/x", GOOD, SLUICE_ENOENT},
		{"no version", "/mount/x", "sec-websocket-key: " KEY "\r\n", SLUICE_ENOTSUP},
		{"another version", "/mount/x", "sec-websocket-key: " KEY "\r\nsec-websocket-version: 8\r\n",
	         SLUICE_ENOTSUP},
		{"no key", "/mount/x", "sec-websocket-version: 13\r\n", SLUICE_EINVAL},
		{"a short key", "/mount/x", "sec-websocket-key: dGhl\r\nsec-websocket-version: 13\r\n", SLUICE_EINVAL},
		{"a key that is not base64", "/mount/x",
	         "sec-websocket-key: dGhlIHNhbXBsZSBub25j!Q==\r\nsec-websocket-version: 13\r\n", SLUICE_EINVAL},
	};
	struct ws_limits limits = {.connections = 1};
	struct world w;
	struct client c;

	world_open(&w, "/mount", &limits);
	world_endpoint(&w, "/x", NULL, 0);
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		is_int(client_upgrade(&w, &c, bad[i].path, NULL, bad[i].headers, SL_STR("")), bad[i].want, bad[i].name);
		client_close(&c);
	}
	w.deny = 401;
	is_int(client_upgrade(&w, &c, "/mount/x", NULL, GOOD, SL_STR("")), SLUICE_EDENIED, "the policy says no");
	is_str(w.asked, "read p/x", "it was asked about the stream with its prefix");
	client_close(&c);
	w.deny = 0;
	w.plugin.refuse = 1;
	is_int(client_upgrade(&w, &c, "/mount/x", NULL, GOOD, SL_STR("")), SLUICE_EDENIED, "open() says no");
	client_close(&c);
	w.plugin.refuse = 0;
	is_int(ws_engine_connections(w.engine), 0, "nobody is there");
	client_open(&w, &c, "/mount/x");
	is_int(ws_engine_connections(w.engine), 1, "one is");
	{
		struct client d;

		is_int(client_upgrade(&w, &d, "/mount/x", NULL, GOOD, SL_STR("")), SLUICE_EBUSY,
		       "no more than limits.connections");
		client_close(&d);
	}
	client_close(&c);
	world_close(&w);
}

static void test_facts(void)
{
	struct world w;
	struct client c;
	struct sluice_ws *ws;
	sl_slice s;

	world_open(&w, "/m", NULL);
	world_endpoint(&w, "/room/:id", NULL, 0);
	is_int(client_upgrade(&w, &c, "/m/room/gr\xc3\xbcn", "a=1&b=%2Fx%20y&a=2+3&c",
	                      GOOD "x-more: one\r\nx-more: two\r\n", SL_STR("")),
	       0, "upgraded");
	run_until(&w, c.head[0]);
	ws = w.plugin.last;
	ok(sl_slice_is(ws_table.path(ws), "room/gr\xc3\xbcn"), "the path below the mount");
	ok(sl_slice_is(ws_table.query(ws, "a", 0), "1"));
	ok(sl_slice_is(ws_table.query(ws, "a", 1), "2 3"), "decoded, in order");
	ok(sl_slice_is(ws_table.query(ws, "b", 0), "/x y"));
	s = ws_table.query(ws, "c", 0);
	ok(s.data && s.len == 0, "present and empty");
	ok(!ws_table.query(ws, "a", 2).data && !ws_table.query(ws, "d", 0).data, "absent");
	ok(sl_slice_is(ws_table.header(ws, "x-more", 1), "two"));
	ok(!ws_table.header(ws, "x-more", 2).data);
	ok(ws_table.principal(ws) == (void *)&w, "who asks");
	*ws_table.slot(ws) = &c;
	ok(*ws_table.slot(ws) == &c, "the plugin's pointer");
	ok(!ws_table.subprotocol(ws).data, "no subprotocol");
	client_close(&c);
	world_close(&w);
}

/* A token that ends takes its connection with it; elsewhere the plugin decides. */
static void test_token(void)
{
	struct sluice_endpoint own = {.size = sizeof own,
	                              .flags = SLUICE_RT_OWN_AUTH,
	                              .pattern = "/own",
	                              .token_query = "t",
	                              .open = plugin_open,
	                              .message = plugin_message,
	                              .closed = plugin_closed};
	struct sluice_endpoint ours = own;
	struct client a, b;
	struct world w;

	world_open(&w, "/", NULL);
	ours.flags = 0;
	ours.pattern = "/ours";
	ok(ws_table.endpoint(&w.ctx, &own) == 0 && ws_table.endpoint(&w.ctx, &ours) == 0, "two endpoints");
	w.expires_ms = 1000;
	is_int(client_upgrade(&w, &a, "/ours", "t=a%20b", GOOD, SL_STR("")), 0, "upgraded");
	is_str(w.token, "|a b", "the parameter that the endpoint names, decoded");
	is_int(client_upgrade(&w, &b, "/own", "t=x&t=y", GOOD "authorization: Bearer z\r\n", SL_STR("")), 0,
	       "upgraded");
	is_str(w.token, "Bearer z|", "the header comes first");
	run_until(&w, a.head[0] && b.head[0]);
	ws_conn_expire(w.engine, 999);
	is_int(ws_engine_connections(w.engine), 2, "not yet");
	ws_conn_expire(w.engine, 1000);
	ws_engine_kick(w.engine);
	run_until(&w, a.close_code && a.eof);
	is_int(a.close_code, 1008, "the end of the token");
	client_close(&a);
	run_until(&w, w.plugin.closed == 1);
	is_int(ws_engine_connections(w.engine), 1, "the other is there");
	client_close(&b);
	world_close(&w);
}

static void test_subprotocols(void)
{
	static const struct {
		const char *offer, *want;
	} cases[] = {
		{"sec-websocket-protocol: v1, v2\r\n", "v2"}, /* the endpoint's order decides */
		{"sec-websocket-protocol: v1\r\n", "v1"},
		{"sec-websocket-protocol: other\r\nsec-websocket-protocol: more ,\t v1\r\n", "v1"},
		{"sec-websocket-protocol: V2\r\n", NULL}, /* names are case-sensitive */
		{"sec-websocket-protocol: v\r\n", NULL},
		{"", NULL},
	};
	struct world w;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", "v2, v1", 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char headers[256], line[64];
		struct client c;
		sl_slice chosen;

		snprintf(headers, sizeof headers, "%s%s", GOOD, cases[i].offer);
		is_int(client_upgrade(&w, &c, "/x", NULL, headers, SL_STR("")), 0, "upgraded");
		run_until(&w, c.head[0]);
		chosen = ws_table.subprotocol(w.plugin.last);
		if (cases[i].want) {
			snprintf(line, sizeof line, "\r\nSec-WebSocket-Protocol: %s\r\n", cases[i].want);
			ok(strstr(c.head, line), "the answer names it");
			ok(sl_slice_is(chosen, cases[i].want), "the plugin can see it");
		} else {
			ok(!strstr(c.head, "Sec-WebSocket-Protocol"), "the answer names none");
			ok(!chosen.data);
		}
		client_close(&c);
	}
	world_close(&w);
}

static void test_early_bytes(void)
{
	uint8_t bytes[5000], payload[1000];
	struct world w;
	struct client c;
	size_t n = 0;

	world_open(&w, "/", NULL);
	world_endpoint(&w, "/x", NULL, 0);
	w.plugin.echo = 1;
	memset(payload, 'e', sizeof payload);
	for (int i = 0; i < 4; i++)
		n += frame_make(bytes + n, 1, 2, payload, sizeof payload);
	/* Cut in the middle of a frame. */
	is_int(client_upgrade(&w, &c, "/x", NULL, GOOD, SL_SLICE(bytes, n - 500)), 0, "frames behind the head");
	run_until(&w, c.messages == 3);
	client_bytes(&c, bytes + n - 500, 500);
	run_until(&w, c.messages == 4);
	is_int(c.bytes, 4000, "none was lost");
	client_close(&c);
	world_close(&w);
}

static void test_patterns(void)
{
	static const char *const pattern[] = {"/", "/a/:id", "/a/b", "/a/*", "/:x/b/c", "/a/:id/tail"};
	static const struct {
		const char *path, *want;
	} cases[] = {
		{"/m", "/m"},
		{"/m/", "/m"},
		{"/m/a", NULL},
		{"/m/a/", NULL},
		{"/m/a/b", "/m/a/b"},
		{"/m/a/c", "/m/a/:id"},
		{"/m/a/c/d", "/m/a/*"},
		{"/m/a/b/c", "/m/a/*"},
		{"/m/z/b/c", "/m/:x/b/c"},
		{"/m/a/q/tail", "/m/a/:id/tail"},
		{"/m//b/c", NULL},
		{"/", NULL},
		{"/x/a/b", NULL},
	};
	struct world w;
	const char *why = "";

	world_open(&w, "/m", NULL);
	for (size_t i = 0; i < sizeof pattern / sizeof *pattern; i++)
		world_endpoint(&w, pattern[i], NULL, 0);
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		const struct ws_endpoint *e = ws_endpoint_find(w.engine, sl_slice_str(cases[i].path));

		is_str(e ? e->text : "none", cases[i].want ? cases[i].want : "none", cases[i].path);
	}
	is_int(ws_engine_ready(w.engine, &why), 0, "all differ");
	world_close(&w);

	world_open(&w, "/m", NULL);
	world_endpoint(&w, "/a/:id", NULL, 0);
	world_endpoint(&w, "/a/:name", NULL, 0);
	is_int(ws_engine_ready(w.engine, &why), SLUICE_EEXIST, "equal but for a name");
	ok(strstr(why, "/m/a/:id of test") && strstr(why, "/m/a/:name of test"), "both are named");
	world_close(&w);
}

static void test_registration(void)
{
	struct sluice_endpoint e = {.size = sizeof e, .pattern = "/x"};
	struct world w;
	const char *why;

	world_open(&w, "/", NULL);
	is_int(ws_table.endpoint(&w.ctx, &e), SLUICE_EINVAL, "callbacks are required");
	is_int(ws_engine_ready(w.engine, &why), 0, "nothing clashes");
	is_int(ws_table.endpoint(&w.ctx, &e), SLUICE_EINVAL, "in start() only");
	world_close(&w);
}

int main(void)
{
	test_refusals();
	test_facts();
	test_token();
	test_subprotocols();
	test_early_bytes();
	test_patterns();
	test_registration();
	return tap_done();
}
