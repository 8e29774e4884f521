/* host->server: what the supervisor tells of all processes, counters in memory of others, a sign of life of the writer. */
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static struct worker *w;
static struct sluice_ctx *ctx;
static const struct sluice_server *server = &server_table;
static int pinged, ping_status;

/* ---- messages, by way of a socket, as they come ---- */

static int on_roster(void *arg, const struct sl_control_roster *m)
{
	return roster_replace(arg, m);
}

static int on_memory(void *arg, const struct sl_control_roster_memory *m)
{
	return roster_memory(arg, m->number, m->memory);
}

static int deliver(const struct sl_control_roster *roster, const struct sl_control_roster_memory *memory)
{
	static const struct sl_control_handlers handlers = {.roster = on_roster, .roster_memory = on_memory};
	struct sl_ipc from, to;
	int pair[2], rc;
	uint16_t id;
	sl_slice body;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		abort();
	sl_ipc_init(&from, pair[0]);
	sl_ipc_init(&to, pair[1]);
	rc = roster ? sl_put_control_roster(&from, roster) : sl_put_control_roster_memory(&from, memory);
	if (rc || sl_ipc_flush(&from) || sl_ipc_fill(&to) || sl_ipc_next(&to, &id, &body) != 1)
		abort();
	rc = sl_control_dispatch(&handlers, SL_TO_CHILD, w, &to, id, body);
	sl_ipc_fini(&from);
	sl_ipc_fini(&to);
	return rc;
}

static int new_memory(struct sl_metrics **map)
{
	int fd = memfd_create("m", MFD_CLOEXEC);

	if (fd < 0 || ftruncate(fd, SL_METRICS_BYTES) || !(*map = sl_metrics_map(fd)))
		abort();
	return fd;
}

static int tell(uint64_t memory, const char *state)
{
	const struct sl_control_process process[] = {
		{.name = SL_STR("sluiced"), .state = SL_STR("running"), .kind = SLUICE_PROCESS_SUPERVISOR, .pid = (uint32_t)getpid(), .ready_ms = 1},
		{.name = SL_STR("web#1"), .frontend = SL_STR("web"), .state = sl_slice_str(state), .kind = SLUICE_PROCESS_WORKER,
	         .restarts = 3, .generation = 2, .memory = memory},
	};
	const struct sl_control_address address = {.frontend = SL_STR("web"), .url = SL_STR("https://127.0.0.1:1")};
	const struct sl_control_roster m = {.generation = 2, .reloading = 1, .processes = {.n = 2, .v = process}, .addresses = {.n = 1, .v = &address}};

	return deliver(&m, NULL);
}

static void begin(void)
{
	fake_forget();
	w = fake_worker();
	ctx = fake_instance(w, "test", "");
}

/* ---- tests ---- */

static void test_processes(void)
{
	struct sluice_process p = {.size = sizeof p};
	struct sluice_listener l = {.size = sizeof l};
	struct sluice_about a = {.size = sizeof a};
	struct {
		struct sluice_process p;
		char behind;
	} shorter = {.p = {.size = offsetof(struct sluice_process, frontend), .frontend = SL_STR("mine")}, .behind = 'x'};

	begin();
	is_int(server->process(ctx, 0, &p), SLUICE_ENOENT, "nothing was told yet");
	is_int(server->listener(ctx, 0, &l), SLUICE_ENOENT, "of anything");
	ok(server->about(ctx, &a) == 0 && sl_slice_is(a.version, PACKAGE_VERSION), "but the version is known");
	is_int(tell(0, "ready"), 0, "a roster is taken");
	ok(server->process(ctx, 0, &p) == 0 && p.kind == SLUICE_PROCESS_SUPERVISOR && sl_slice_is(p.name, "sluiced"), "the first process");
	ok(p.uptime_ms > 0 && p.resident_bytes > 100000, "with what /proc knows of it");
	ok(server->process(ctx, 1, &p) == 0 && sl_slice_is(p.name, "web#1") && sl_slice_is(p.frontend, "web") && sl_slice_is(p.state, "ready"),
	   "the second");
	ok(p.restarts == 3 && p.generation == 2 && p.uptime_ms == 0 && p.resident_bytes == 0, "which does not run");
	is_int(server->process(ctx, 2, &p), SLUICE_ENOENT, "and no third");
	ok(server->listener(ctx, 0, &l) == 0 && sl_slice_is(l.url, "https://127.0.0.1:1") && server->listener(ctx, 1, &l) == SLUICE_ENOENT,
	   "a listener");
	ok(server->about(ctx, &a) == 0 && a.generation == 2 && a.reloading == 1, "a reload is under way");
	ok(server->process(ctx, 1, &shorter.p) == 0 && sl_slice_is(shorter.p.state, "ready") && sl_slice_is(shorter.p.frontend, "mine"),
	   "an older plugin gets what it knows of, and nothing behind it");
	shorter.p.size = 2;
	is_int(server->process(ctx, 1, &shorter.p), SLUICE_EINVAL, "a struct without a size is refused");
	is_int(tell(0, "draining"), 0, "the next roster");
	ok(server->process(ctx, 1, &p) == 0 && sl_slice_is(p.state, "draining"), "takes the place of the one before");
	fake_worker_free(w);
}

static void test_metrics(void)
{
	struct sluice_metric m = {.size = sizeof m};
	struct sl_metrics *map;
	int fd = new_memory(&map);
	size_t at = 0, n = 0, inside = 0;

	begin();
	*sl_metrics_get_at(map, "streams.n", "/m", SL_METRICS_COUNTER, "N.") = 7;
	sl_metrics_observe(sl_metrics_histogram(map, "h.seconds", "H.", &sl_metrics_latency), 75);
	*sl_metrics_get(map, "g.n", SL_METRICS_GAUGE, NULL) = 1;
	is_int(tell(5, "ready"), 0, "a process whose memory has not come");
	is_int(server->metric(ctx, 1, &at, &m), SLUICE_ENOENT, "counts nothing");
	is_int(deliver(NULL, &(struct sl_control_roster_memory){.number = 5, .memory = fd}), 0, "it comes");
	is_int(deliver(NULL, &(struct sl_control_roster_memory){.number = 5, .memory = fd}), 0, "and once more");
	is_int(w->roster ? tell(5, "ready") : -1, 0, "then the roster");
	ok(server->metric(ctx, 1, &at, &m) == 0 && m.kind == SLUICE_METRIC_COUNTER && sl_slice_is(m.name, "streams.n") &&
	           sl_slice_is(m.mount, "/m") && sl_slice_is(m.help, "N.") && m.value == 7,
	   "a counter");
	ok(server->metric(ctx, 1, &at, &m) == 0 && m.kind == SLUICE_METRIC_HISTOGRAM && m.value == 75 && m.scale == 1000000 &&
	           m.n_bucket == sl_metrics_latency.n + 1 && m.bucket[0].count == 0 && m.bucket[1].bound == 100 && m.bucket[1].count == 1,
	   "a histogram with its buckets");
	ok(server->metric(ctx, 1, &at, &m) == 0 && m.kind == SLUICE_METRIC_GAUGE && sl_slice_is(m.name, "g.n"), "a gauge");
	is_int(server->metric(ctx, 1, &at, &m), SLUICE_ENOENT, "and no more");
	*sl_metrics_get(map, "g.n", SL_METRICS_GAUGE, NULL) = 2;
	at = sl_metrics_latency.n + 3;
	ok(server->metric(ctx, 1, &at, &m) == 0 && m.value == 2, "values go on by themselves");
	at = 0;
	is_int(server->metric(ctx, 0, &at, &m), SLUICE_ENOENT, "sluiced counts nothing");
	/* A process may write whatever it likes there. */
	memset(map->cell, 'b', sizeof map->cell);
	map->used = UINT32_MAX;
	for (at = 0; server->metric(ctx, 1, &at, &m) == 0; n++)
		;
	is_int(n, 0, "buckets of nothing are nothing");
	memset(map->cell, 'h', sizeof map->cell);
	for (at = 0; server->metric(ctx, 1, &at, &m) == 0; n++)
		inside += m.name.len == SL_METRICS_NAME && m.kind == SLUICE_METRIC_HISTOGRAM && m.n_bucket == 0;
	is_int(n, SL_METRICS_CELLS, "rubbish ends");
	is_int(inside, SL_METRICS_CELLS, "and stays inside its texts");
	map->magic = 0;
	at = 0;
	is_int(server->metric(ctx, 1, &at, &m), SLUICE_ENOENT, "what is no table has nothing");
	is_int(tell(0, "ready"), 0, "a process that is gone");
	is_int(server->metric(ctx, 1, &at, &m), SLUICE_ENOENT, "takes its memory along");
	sl_metrics_unmap(map);
	close(fd);
	fake_worker_free(w);
}

static void on_ping(void *arg, int status)
{
	(void)arg;
	pinged++;
	ping_status = status;
}

static void test_ping(void)
{
	struct sluice_req *req;

	begin();
	is_int(server->ping(ctx, on_ping, NULL, NULL), SLUICE_EBUSY, "no writer, no sign of life");
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(server->ping(ctx, NULL, NULL, NULL), SLUICE_EINVAL, "nobody to tell");
	is_int(server->ping(ctx, on_ping, NULL, NULL), 0, "the writer is asked");
	fake_turn(w);
	ok(pinged == 0 && fake_last(SL_STORE_touch) && fake_last(SL_STORE_touch)->incarnation == 0, "for a stream that cannot be");
	fake_touched(fake_last(SL_STORE_touch)->number, SLUICE_ENOENT);
	fake_send();
	fake_turn(w);
	ok(pinged == 1 && ping_status == SLUICE_OK, "its answer is the sign");
	is_int(server->ping(ctx, on_ping, NULL, NULL), 0, "again");
	fake_turn(w);
	fake_touched(fake_last(SL_STORE_touch)->number, SLUICE_EINTERNAL);
	fake_send();
	fake_turn(w);
	ok(pinged == 2 && ping_status == SLUICE_EINTERNAL, "a writer that cannot read its volume says so");
	is_int(server->ping(ctx, on_ping, NULL, &req), 0, "one that is not waited for");
	fake_turn(w);
	store_table.cancel(req);
	fake_touched(fake_last(SL_STORE_touch)->number, SLUICE_ENOENT);
	fake_send();
	fake_turn(w);
	is_int(pinged, 2, "is forgotten");
	is_int(server->ping(ctx, on_ping, NULL, NULL), 0, "one more");
	fake_turn(w);
	fake_writer_stop(w);
	ok(pinged == 3 && ping_status == SLUICE_ELOST, "a writer that ends is lost");
	fake_worker_free(w);
}

int main(void)
{
	test_processes();
	test_metrics();
	test_ping();
	return tap_done();
}
