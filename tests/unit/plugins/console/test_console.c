/*
 * test_console.c - the console plugin in the fake host: health, metrics, what the page is given, live views, bounds. Tests only.
 */
#include "plugins/console/console.h"
#include "tests/unit/plugins/streams/door.h"

static void nothing(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	(void)r;
	(void)n;
}

static void change(uint32_t kind, const char *name, const char *type, const char *data, size_t len, const uint32_t *lens, uint32_t n)
{
	struct sluice_op op = {.size = sizeof op,
	                       .kind = kind,
	                       .stream = SLICE(name, strlen(name)),
	                       .content_type = SLICE(type, strlen(type)),
	                       .data = SLICE(data, len),
	                       .message_len = lens,
	                       .n_messages = n};

	if (fake_store_table.submit(door, &op, 1, nothing, NULL, NULL))
		abort();
	fake_turn(door);
}
#define CREATE(name, type) change(SLUICE_OP_CREATE, name, type, NULL, 0, NULL, 0)
#define APPEND(name, type, data) change(SLUICE_OP_APPEND, name, type, data, sizeof(data) - 1, NULL, 0)

/* ---- /health ---- */

static void test_health(void)
{
	struct sluice_http_req *a, *b;

	door_open(NULL);
	is_int(do_("GET", "/health", NULL, NULL), 200, "the writer answers");
	is_str(body(last), "{\"status\":\"ok\"}\n", "in so many words");
	is_str(head("content-type"), "application/json", "as JSON");
	is_str(head("cache-control"), "no-store", "not to be kept");
	is_int(do_("HEAD", "/healthz", NULL, NULL), 200, "by the other name, without a body");
	door->deny = "";
	is_int(do_("GET", "/health", NULL, NULL), 200, "whoever asks");
	door->deny = NULL;
	door->ping_status = SLUICE_EBUSY;
	is_int(do_("GET", "/health", NULL, NULL), 503, "there is no writer");
	is_str(body(last), "{\"status\":\"unavailable\",\"reason\":\"the store-writer is not running\"}\n", "which is said");
	is_str(head("retry-after"), "1", "with when to ask again");
	door->ping_status = SLUICE_ELOST;
	is_int(do_("GET", "/health", NULL, NULL), 503, "it went away meanwhile");
	door->ping_status = SLUICE_EINTERNAL;
	is_int(do_("GET", "/health", NULL, NULL), 503, "it cannot read its data");
	ok(strstr(body(last), "cannot read"), "which is said");
	door->ping_status = 0;
	door->hold = true;
	a = begin("GET", "/health", NULL, NULL);
	b = begin("GET", "/health", NULL, NULL);
	ok(fake_open(a) && fake_open(b) && door->n_reqs == 1, "two who ask wait for one sign of life");
	fake_leave(b);
	fake_advance(door, 900);
	ok(fake_open(a), "for as long as is configured");
	fake_advance(door, 200);
	is_int(a->status, 503, "and not longer");
	ok(strstr(body(a), "does not answer"), "which is said");
	is_int(do_("GET", "/health", NULL, NULL), 503, "who comes later is told so at once");
	is_int(door->n_reqs, 1, "and asks nothing more");
	door->hold = false;
	fake_turn(door);
	is_int(do_("GET", "/health", NULL, NULL), 200, "until the writer has answered");
	is_int(fake_cell(door, "unhealthy"), 5, "each 503 is counted");
	fake_http_free(a);
	fake_http_free(b);
	door->hold = true;
	a = begin("GET", "/health", NULL, NULL);
	door->plugin->drain(door->self, 0);
	ok(!door->drained, "a drain waits for it");
	door->hold = false;
	fake_turn(door);
	ok(a->status == 200 && door->drained, "and is over when it was answered");
	fake_http_free(a);
	undo();
	door_close("nothing leaks");
}

/* ---- /metrics ---- */

static const struct fake_process processes[] = {
	{.kind = SLUICE_PROCESS_SUPERVISOR, .name = "sluiced", .frontend = "", .state = "running", .pid = 0},
	{.kind = SLUICE_PROCESS_WORKER,
         .name = "web#1",
         .frontend = "w\"e\\b\n",
         .state = "ready",
         .generation = 2,
         .pid = 77,
         .n_metric = 7,
         .metric = {{SLUICE_METRIC_COUNTER, "z.n", "", "First\nline \\ \"x\".", 3, {{0}}, 0, 1},
                    {SLUICE_METRIC_COUNTER, "z.n", "", "again", 4, {{0}}, 0, 1},
                    {SLUICE_METRIC_COUNTER, "z.n", "/m", "at a mount", 5, {{0}}, 0, 1},
                    {SLUICE_METRIC_GAUGE, "z-open", "", "", (uint64_t)-2, {{0}}, 0, 1},
                    {SLUICE_METRIC_COUNTER, "z.all_total", "", "T.", 6, {{0}}, 0, 1},
                    {SLUICE_METRIC_GAUGE, "z.n_total", "", "of another kind", 9, {{0}}, 0, 1},
                    {SLUICE_METRIC_HISTOGRAM,
                     "z.t_seconds",
                     "",
                     "H.",
                     1500000,
                     {{500, 2}, {1000000, 1}, {UINT64_MAX, 4}},
                     3,
                     1000000}}},
};

static void metrics_fill(void)
{
	memcpy(door->process, processes, sizeof processes);
	door->n_process = sizeof processes / sizeof *processes;
}

static const char metrics_want[] =
	"# HELP sluice_build_info What runs: always 1.\n"
	"# TYPE sluice_build_info gauge\n"
	"sluice_build_info{version=\"9.8 \\\"beta\\\"\"} 1\n"
	"# HELP sluice_configuration_generation Configurations taken up since the start, the first one included.\n"
	"# TYPE sluice_configuration_generation gauge\n"
	"sluice_configuration_generation 3\n"
	"# HELP sluice_process_cpu_seconds_total Processor time, user and system.\n"
	"# TYPE sluice_process_cpu_seconds_total counter\n"
	"sluice_process_cpu_seconds_total{WEB} 1.5\n"
	"# HELP sluice_process_resident_memory_bytes Resident memory, shared pages included.\n"
	"# TYPE sluice_process_resident_memory_bytes gauge\n"
	"sluice_process_resident_memory_bytes{WEB} 4096\n"
	"# HELP sluice_process_restarts_total How often it ended unexpectedly and was started again.\n"
	"# TYPE sluice_process_restarts_total counter\n"
	"sluice_process_restarts_total{process=\"sluiced\"} 0\n"
	"sluice_process_restarts_total{WEB} 0\n"
	"# HELP sluice_process_start_time_seconds When it got ready, in seconds since 1970.\n"
	"# TYPE sluice_process_start_time_seconds gauge\n"
	"sluice_process_start_time_seconds{WEB} 1799999995\n"
	"# HELP sluice_process_up 1: the process runs and is ready.\n"
	"# TYPE sluice_process_up gauge\n"
	"sluice_process_up{process=\"sluiced\"} 0\n"
	"sluice_process_up{WEB} 1\n"
	"# HELP sluice_z_all_total T.\n"
	"# TYPE sluice_z_all_total counter\n"
	"sluice_z_all_total{WEB} 6\n"
	"# HELP sluice_z_n_total First\\nline \\\\ \"x\".\n"
	"# TYPE sluice_z_n_total counter\n"
	"sluice_z_n_total{WEB} 3\n"
	"sluice_z_n_total{WEB,mount=\"/m\"} 5\n"
	"# HELP sluice_z_open \n"
	"# TYPE sluice_z_open gauge\n"
	"sluice_z_open{WEB} -2\n"
	"# HELP sluice_z_t_seconds H.\n"
	"# TYPE sluice_z_t_seconds histogram\n"
	"sluice_z_t_seconds_bucket{WEB,le=\"0.0005\"} 2\n"
	"sluice_z_t_seconds_bucket{WEB,le=\"1\"} 3\n"
	"sluice_z_t_seconds_bucket{WEB,le=\"+Inf\"} 7\n"
	"sluice_z_t_seconds_sum{WEB} 1.5\n"
	"sluice_z_t_seconds_count{WEB} 7\n";

/* WEB stands for the labels of the worker. */
static const char *expanded(void)
{
	static const char web[] = "process=\"web#1\",frontend=\"w\\\"e\\\\b\\n\",generation=\"2\"";
	static struct text t;
	const char *p = metrics_want, *at;

	text_fini(&t);
	for (; (at = strstr(p, "WEB")); p = at + 3) {
		text_add(&t, p, (size_t)(at - p));
		text_puts(&t, web);
	}
	text_puts(&t, p);
	return t.data;
}

static void test_metrics(void)
{
	door_open(NULL);
	metrics_fill();
	is_int(do_("GET", "/metrics", NULL, NULL), 200, "there are metrics");
	is_str(head("content-type"), "text/plain; version=0.0.4; charset=utf-8", "in the format of Prometheus");
	is_str(body(last), expanded(), "each family once, escaped, without doubles");
	is_int(fake_cell(door, "scrapes"), 1, "a scrape is counted");
	door->deny = "__console/m";
	is_int(do_("GET", "/metrics", NULL, NULL), 401, "not for everybody");
	is_int(do_("GET", "/console/status", NULL, NULL), 200, "by a rule of its own");
	undo();
	door_close("nothing leaks");
}

/* ---- what the page is given ---- */

static void test_page(void)
{
	char tag[64];

	door_open(NULL);
	is_int(do_("GET", "/", NULL, NULL), 200, "the page");
	is_str(head("content-type"), "text/html; charset=utf-8", "is HTML");
	ok(strstr(body(last), "<title>sluice</title>"), "with its title");
	ok(!strstr(body(last), "http://") || strstr(body(last), "xmlns='http://www.w3.org"), "and nothing from elsewhere");
	snprintf(tag, sizeof tag, "if-none-match: %s", head("etag"));
	is_int(do_("GET", "/", H(tag), NULL), 304, "known already");
	is_int(do_("GET", "/console/app.js", H(tag), NULL), 200, "another file is not that one");
	is_str(head("content-type"), "text/javascript; charset=utf-8", "and a script");
	is_int(do_("GET", "/console/style.css", NULL, NULL), 200, "a sheet");
	ok(door->n_defaults > 3 && strstr(door->defaults[0].value.data, "default-src 'none'"), "a strict policy goes with every answer");
	undo();
	door_close("nothing leaks");
	door_open(H("page=false"));
	is_int(do_("GET", "/", NULL, NULL), 405, "without the page there is no page");
	is_int(do_("GET", "/console/status", NULL, NULL), 405, "nor what it shows");
	is_int(do_("GET", "/health", NULL, NULL), 200, "but health");
	is_int(do_("GET", "/metrics", NULL, NULL), 200, "and metrics");
	undo();
	door_close("nothing leaks");
}

static void test_status(void)
{
	door_open(NULL);
	metrics_fill();
	is_int(do_("GET", "/console/status", NULL, NULL), 200, "the status");
	ok(strstr(body(last), "\"data_dir\":\"/data\",\"generation\":3,\"reloading\":false,\"processes\":[{\"name\":\"sluiced\",\"kind\":\"supervisor\""),
	   "has the server");
	ok(strstr(body(last), "\"frontend\":\"w\\\"e\\\\b\\u000a\",\"state\":\"ready\",\"pid\":77"), "and its processes");
	ok(strstr(body(last), "\"listeners\":[{\"frontend\":\"web\",\"url\":\"http://127.0.0.1:1\"}]"), "and listeners");
	door->deny = "__console/s";
	is_int(do_("GET", "/console/status", NULL, NULL), 401, "not for everybody");
	door->deny = "__console/c";
	is_int(do_("GET", "/console/channels", NULL, NULL), 401, "nor are the channels");
	door->deny = NULL;
	is_int(do_("GET", "/console/channels", NULL, NULL), 200, "channels: none");
	is_str(body(last), "{\"channels\":[],\"more\":false}\n", "at the moment");
	door->channels = 1;
	do_("GET", "/console/channels", NULL, NULL);
	is_str(body(last), "{\"channels\":[{\"name\":\"presence:\\u003cb>\",\"entries\":1,\"subscribers\":2,\"bytes\":3}],\"more\":false}\n", "one");
	door->channels = -1;
	is_int(do_("GET", "/console/channels", NULL, NULL), 501, "no presence, no channels");
	undo();
	door_close("nothing leaks");
}

static void test_list(void)
{
	door_open(NULL);
	is_int(do_("GET", "/console/streams", NULL, NULL), 200, "no streams");
	is_str(body(last), "{\"streams\":[],\"next\":null}\n", "an empty list");
	CREATE("a<b>", "text/plain");
	CREATE("b", "application/json");
	CREATE("c", "text/plain");
	APPEND("b", "application/json", "1234");
	do_("GET", "/console/streams?limit=2", NULL, NULL);
	ok(strstr(body(last), "{\"name\":\"a\\u003cb>\",\"content_type\":\"text/plain\",\"tail\":0,\"bytes\":0,"), "the first");
	ok(strstr(body(last), "{\"name\":\"b\",\"content_type\":\"application/json\",\"tail\":9,\"bytes\":4,"), "the second");
	ok(strstr(body(last), "\"next\":\"b\"}"), "there is more");
	do_("GET", "/console/streams?limit=2&after=b", NULL, NULL);
	ok(strstr(body(last), "\"name\":\"c\"") && strstr(body(last), "\"next\":null"), "which is the rest");
	do_("GET", "/console/streams?prefix=b", NULL, NULL);
	ok(strstr(body(last), "\"name\":\"b\"") && !strstr(body(last), "\"name\":\"c\""), "by prefix");
	door->deny = "b";
	do_("GET", "/console/streams?limit=2", NULL, NULL);
	ok(!strstr(body(last), "\"name\":\"b\"") && strstr(body(last), "\"next\":\"b\""), "what may not be read is left out, and paging goes on");
	door->deny = NULL;
	is_int(do_("GET", "/console/streams?limit=0", NULL, NULL), 400, "no page");
	is_int(do_("GET", "/console/streams?limit=501", NULL, NULL), 400, "too large a page");
	is_int(do_("GET", "/console/streams?limit=x", NULL, NULL), 400, "no number");
	is_int(do_("GET", "/console/streams?prefix=a&prefix=b", NULL, NULL), 400, "twice");
	is_int(do_("GET", "/console/streams?prefix=%ff", NULL, NULL), 400, "no UTF-8");
	fake_who = SLUICE_WHO_NOBODY;
	is_int(do_("GET", "/console/streams", NULL, NULL), 401, "for somebody");
	fake_who = SLUICE_WHO_ANYBODY;
	door->read_status = SLUICE_EBUSY;
	is_int(do_("GET", "/console/streams", NULL, NULL), 503, "not without a store");
	undo();
	door_close("nothing leaks");
}

static void test_view(void)
{
	static const uint32_t two[] = {3, 5};
	static char big[VIEW_BYTES + 100];

	door_open(NULL);
	is_int(do_("GET", "/console/stream/none", NULL, NULL), 404, "no stream");
	CREATE("s/1", "application/json");
	change(SLUICE_OP_APPEND, "s/1", "application/json", "\"a\"\"<b>\"", 8, two, 2);
	APPEND("s/1", "application/json", "\x00\xff");
	is_int(do_("GET", "/console/stream/s%2f1", NULL, NULL), 200, "a stream");
	ok(strstr(body(last), "{\"name\":\"s/1\",\"content_type\":\"application/json\",") && strstr(body(last), "\"bytes\":10,\"closed\":false,\"next\":20,"),
	   "what is known of it");
	ok(strstr(body(last),
	          "\"earlier\":false,\"messages\":[{\"bytes\":3,\"text\":\"\\\"a\\\"\",\"cut\":false},{\"bytes\":5,\"text\":\"\\\"\\u003cb>\\\"\",\"cut\":false},"
	          "{\"bytes\":2,\"hex\":\"00ff\",\"cut\":false}]"),
	   "and its messages");
	fake_trim(door, "s/1", 13);
	do_("GET", "/console/stream/s/1", NULL, NULL);
	ok(strstr(body(last), "\"earliest\":13,\"bytes\":2,") && strstr(body(last), "\"earlier\":false,\"messages\":[{\"bytes\":2,"), "after a trim what is left");
	CREATE("many", "text/plain");
	for (int i = 0; i < VIEW_MESSAGES + 20; i++) {
		char one[8];

		change(SLUICE_OP_APPEND, "many", "text/plain", one, (size_t)snprintf(one, sizeof one, "m%d", i), NULL, 0);
	}
	do_("GET", "/console/stream/many", NULL, NULL);
	ok(strstr(body(last), "\"earlier\":true,\"messages\":[{\"bytes\":3,\"text\":\"m20\""), "of many the last");
	memset(big, 'x', sizeof big);
	CREATE("big", "text/plain");
	APPEND("big", "text/plain", "before");
	change(SLUICE_OP_APPEND, "big", "text/plain", big, sizeof big, NULL, 0);
	do_("GET", "/console/stream/big", NULL, NULL);
	ok(strstr(body(last), "\"earlier\":true,\"messages\":[{\"bytes\":65536,\"text\":\"xxxx") && strstr(body(last), "x\",\"cut\":true}]"),
	   "of a large one a piece");
	APPEND("big", "text/plain", "after");
	do_("GET", "/console/stream/big", NULL, NULL);
	ok(strstr(body(last), "\"messages\":[{\"bytes\":5,\"text\":\"after\""), "which is left out before a whole one");
	door->deny = "s/";
	is_int(do_("GET", "/console/stream/s/1", NULL, NULL), 401, "not for everybody");
	door->deny = NULL;
	door->read_status = SLUICE_EINTERNAL;
	is_int(do_("GET", "/console/stream/s/1", NULL, NULL), 500, "a broken store is told");
	undo();
	door_close("nothing leaks");
}

static void test_append(void)
{
	const char *const *from = H("x-sluice-console: 1");

	door_open(NULL);
	CREATE("t", "text/plain");
	CREATE("j", "Application/JSON; charset=utf-8");
	is_int(do_("POST", "/console/stream/t", from, " hello "), 204, "appended");
	is_int(fake_stream(door, "t")->tail, 7 + SLUICE_RECORD_OVERHEAD, "as it is");
	is_int(do_("POST", "/console/stream/t", NULL, "x"), 403, "only by the page");
	is_int(do_("POST", "/console/stream/t", from, NULL), 400, "not nothing");
	is_int(do_("POST", "/console/stream/j", from, " {\"a\": [1, 2]}\n"), 204, "a JSON value");
	is_int(fake_stream(door, "j")->tail, 13 + SLUICE_RECORD_OVERHEAD, "without the blanks around it");
	is_int(do_("POST", "/console/stream/j", from, "{\"a\":"), 400, "half of one is none");
	is_int(do_("POST", "/console/stream/j", from, "1 2"), 400, "nor are two");
	is_int(do_("POST", "/console/stream/j", from, "  "), 400, "nor blanks");
	is_int(do_("POST", "/console/stream/none", from, "x"), 404, "nowhere");
	change(SLUICE_OP_CLOSE, "t", "", NULL, 0, NULL, 0);
	is_int(do_("POST", "/console/stream/t", from, "x"), 409, "not to a closed one");
	door->deny = "j";
	is_int(do_("POST", "/console/stream/j", from, "1"), 401, "not by everybody");
	door->deny = NULL;
	door->submit_status = SLUICE_EFULL;
	is_int(do_("POST", "/console/stream/j", from, "1"), 507, "not to a full disk");
	door->submit_status = SLUICE_ELOST;
	is_int(do_("POST", "/console/stream/j", from, "1"), 504, "an unknown outcome is told");
	undo();
	door_close("nothing leaks");
}

/* ---- live views ---- */

static void test_tail(void)
{
	struct sluice_http_req *r, *late;

	door_open(NULL);
	CREATE("s", "text/plain");
	APPEND("s", "text/plain", "one");
	r = begin("GET", "/console/tail/s", NULL, NULL);
	late = begin("GET", "/console/tail/s?offset=8", NULL, NULL);
	is_int(r->status, 200, "a live view");
	is_str(fake_header(r, "content-type"), "text/event-stream", "is an event stream");
	is_str(body(r), ": tail\n\nevent: message\ndata: {\"bytes\":3,\"text\":\"one\",\"cut\":false}\n\nevent: offset\ndata: 8\n\n", "with what is there");
	is_str(body(late), ": tail\n\n", "from an offset on");
	is_int(fake_cell(door, "live_views"), 2, "they are counted");
	APPEND("s", "text/plain", "t\nwo");
	ok(strstr(body(late), "data: {\"bytes\":4,\"text\":\"t\\u000awo\",\"cut\":false}\n\nevent: offset\ndata: 17\n\n"), "then what is appended");
	fake_advance(door, 16000);
	ok(strstr(body(late), ": keepalive\n\n"), "and a sign of life when there is nothing");
	fake_leave(late);
	is_int(fake_cell(door, "live_views"), 1, "who leaves is not counted any more");
	change(SLUICE_OP_CLOSE, "s", "", NULL, 0, NULL, 0);
	ok(r->ended && strstr(body(r), "event: end\ndata: {\"why\":\"closed\"}\n\n"), "it ends with the stream");
	fake_http_free(r);
	fake_http_free(late);
	CREATE("gone", "text/plain");
	APPEND("gone", "text/plain", "abc");
	APPEND("gone", "text/plain", "def");
	fake_trim(door, "gone", 8);
	r = begin("GET", "/console/tail/gone?offset=0", NULL, NULL);
	ok(strstr(body(r), "event: gap\ndata: {}\n\nevent: message\ndata: {\"bytes\":3,\"text\":\"def\""), "what was trimmed is a gap");
	fake_remove(door, "gone", false);
	fake_turn(door);
	ok(r->ended && strstr(body(r), "{\"why\":\"removed\"}"), "a removal ends it");
	fake_http_free(r);
	r = begin("GET", "/console/tail/none", NULL, NULL);
	ok(r->ended && strstr(body(r), "{\"why\":\"removed\"}"), "as if there had been none");
	fake_http_free(r);
	is_int(do_("GET", "/console/tail/s?offset=x", NULL, NULL), 400, "an offset is a number");
	is_int(do_("GET", "/console/tail/s?offset=18446744073709551615", NULL, NULL), 400, "of 64 bits, and not now");
	door->deny = "s";
	is_int(do_("GET", "/console/tail/s", NULL, NULL), 401, "not for everybody");
	undo();
	door_close("nothing leaks");
}

static void test_tail_bounds(void)
{
	struct sluice_http_req *all[TAILS_MAX], *slow;
	static char piece[10000];
	size_t open = 0, unsent;

	door_open(NULL);
	CREATE("s", "text/plain");
	for (size_t i = 0; i < TAILS_MAX; i++) {
		all[i] = begin("GET", "/console/tail/s", NULL, NULL);
		open += fake_open(all[i]);
	}
	is_int(open, TAILS_MAX, "so many at once");
	is_int(do_("GET", "/console/tail/s", NULL, NULL), 503, "and no more");
	for (size_t i = 1; i < TAILS_MAX; i++)
		fake_http_free(all[i]);
	fake_expires = door->wall + 1500;
	slow = begin("GET", "/console/tail/s", NULL, NULL);
	fake_expires = 0;
	slow->slow = true;
	memset(piece, 'y', sizeof piece);
	for (int i = 0; i < 60; i++)
		change(SLUICE_OP_APPEND, "s", "text/plain", piece, sizeof piece, NULL, 0);
	unsent = slow->body.len;
	ok(unsent < TAIL_UNSENT + 2 * TAIL_STEP, "a slow client is not buffered for");
	fake_take(slow, slow->body.len);
	slow->want_pull = true;
	fake_turn(door);
	ok(slow->body.len > unsent, "it goes on when it takes");
	ok(fake_open(slow), "for as long as its token is good");
	fake_advance(door, 3000);
	ok(slow->ended && strstr(body(slow), "the token has expired"), "and not longer");
	ok(fake_open(all[0]), "others go on");
	door->plugin->drain(door->self, 0);
	fake_turn(door);
	ok(all[0]->ended && door->drained, "a drain ends live views");
	is_int(do_("GET", "/console/tail/s", NULL, NULL), 503, "and lets none begin");
	fake_http_free(slow);
	fake_http_free(all[0]);
	undo();
	door_close("nothing leaks");
}

int main(void)
{
	test_health();
	test_metrics();
	test_page();
	test_status();
	test_list();
	test_view();
	test_append();
	test_tail();
	test_tail_bounds();
	return tap_done();
}
