/*
 * test_oom.c - the same session again and again, each time with another allocation failing: nothing crashes or leaks, what was
 * accepted is answered exactly once, and a call that was refused is never answered.
 *
 * Linked with --wrap for malloc, calloc, realloc and strdup: only code of this tree is made to fail, and only inside the window.
 */
#include "lib/log.h"
#include "lib/marks.h"
#include "lib/options.h"
#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"
#include "tests/unit/wrap_memory.h"

char *__real_strdup(const char *);
char *__wrap_strdup(const char *);

static bool window;
static long until, failed;

static bool allocation_fails(void)
{
	if (!window || until < 0)
		return false;
	if (until-- > 0)
		return false;
	failed++;
	return true;
}

char *__wrap_strdup(const char *s)
{
	return allocation_fails() ? NULL : __real_strdup(s);
}

static struct worker *w;
static struct sluice_ctx *ctx;
static const struct sluice_store *store = &store_table;
static int accepted, answered, reads, read_answers, events;

static void on_done(void *arg, const struct sluice_result *r, size_t n)
{
	(void)r;
	answered++;
	if (n != (size_t)(uintptr_t)arg)
		ok(0, "one result for each operation");
}

static void on_read(void *arg, const struct sluice_read_result *r)
{
	(void)arg;
	(void)r;
	read_answers++;
}

static void on_list(void *arg, int status, const struct sluice_list_entry *e, size_t n, int more)
{
	(void)arg;
	(void)status;
	(void)e;
	(void)n;
	(void)more;
	read_answers++;
}

static void on_event(void *arg, const struct sluice_event *e)
{
	(void)arg;
	(void)e;
	events++;
}

static void nothing(void *arg)
{
	(void)arg;
}

static void submit(size_t n, const char *data, size_t len, uint32_t flags, const uint32_t *lens)
{
	struct sluice_op op[12] = {{0}};

	for (size_t i = 0; i < n; i++)
		op[i] = (struct sluice_op){.size = sizeof *op,
		                           .kind = SLUICE_OP_APPEND,
		                           .flags = flags,
		                           .stream = SL_STR("s"),
		                           .data = SL_SLICE(data, len),
		                           .producer = SL_STR("p"),
		                           .message_len = lens,
		                           .n_messages = lens ? 2 : 0};
	accepted += store->submit(ctx, op, n, on_done, (void *)(uintptr_t)n, NULL) == 0;
}

static void calls(void)
{
	static char big[250 * 1024];
	static const uint32_t lens[2] = {1, 2};
	struct sluice_read rd = {.size = sizeof rd, .stream = SL_STR("s"), .budget = 100};
	struct sluice_timer *timer;
	struct sluice_sub *sub;

	window = true;
	submit(1, "abc", 3, 0, lens);
	submit(12, "abc", 3, SLUICE_A_PRODUCER, NULL);
	submit(1, big, sizeof big, SLUICE_A_PRODUCER, NULL);
	reads += store->read(ctx, &rd, on_read, NULL, NULL) == 0;
	reads += store->list(ctx, SL_STR(""), SL_SLICE(NULL, 0), 10, on_list, NULL, NULL) == 0;
	if (store->subscribe(ctx, SL_STR("s"), 1, on_event, NULL, &sub) == 0 &&
	    store->subscribe(ctx, SL_STR("s"), 0, on_event, NULL, &sub))
		sub = NULL;
	if (store->subscribe_prefix(ctx, SL_STR(""), on_event, NULL, &sub))
		sub = NULL;
	if (host_table.timer_new(ctx, nothing, NULL, &timer) == 0)
		host_table.timer_set(timer, 0);
	host_table.defer(ctx, nothing, NULL);
	store->on_room(ctx, nothing, NULL);
	window = false;
}

static void turn(void)
{
	window = true;
	event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	worker_turn(w);
	window = false;
	fake_writer_listen();
}

/* The writer answers everything it heard since the last time. */
static void answers(void)
{
	for (size_t i = 0; i < fake_n_heard; i++) {
		struct fake_heard *h = &fake_heard[i];

		if (h->id == SL_STORE_submit)
			fake_results(h->number, h->n_ops);
		if (h->id == SL_STORE_watch) {
			fake_watched(h->number, SLUICE_EV_TAIL, 7, 8);
			fake_notice(h->number, SLUICE_EV_TAIL, 16, 8, SL_STR("abc"), SL_STR("\3\1"));
		}
		if (h->id == SL_STORE_watch_prefix) {
			fake_watched(h->number, SLUICE_EV_RESYNC, 0, 0);
			fake_life(h->number, SLUICE_EV_CREATED, "in/s");
		}
	}
	fake_forget();
	fake_send();
}

static bool session(long n)
{
	accepted = answered = reads = read_answers = events = 0;
	failed = 0;
	until = n;
	fake_forget();
	fake_append(fake_stream("in/s", 7), "abc", NULL, 1);
	w = fake_worker();
	w->state = WORKER_STOPPED; /* no engines to drain, when memory for the connection is out */
	ctx = fake_instance(w, "test", "in/");
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	fake_forget();
	calls();
	turn();
	answers();
	turn();
	submit(1, "x", 1, 0, NULL);
	submit(1, "y", 1, SLUICE_A_PRODUCER, NULL);
	turn();
	fake_writer_hang_up();
	turn();
	turn();
	submit(1, "z", 1, 0, NULL);
	window = true;
	fake_writer_again(w);
	window = false;
	turn();
	fake_writer_welcome(w, 'a');
	answers();
	turn();
	for (int i = 0; i < 4; i++)
		turn();
	if (!w->fail_why && !w->exit_code && sl_client_fd(w->store.client) >= 0 &&
	    (accepted != answered || reads != read_answers)) {
		printf("# allocation %ld: accepted %d answered %d reads %d answered %d\n", n, accepted, answered, reads,
		       read_answers);
		ok(0, "what was accepted is answered once");
	}
	if (answered > accepted || read_answers > reads)
		ok(0, "nothing is answered twice, or although it was refused");
	fake_worker_free(w);
	return failed > 0;
}

/* Making an instance of a plugin: what fails half-way is freed once. */
static bool configures(long n)
{
	const char *top = getenv("top_builddir");
	struct sl_buf yaml;
	int rc;

	sl_buf_init(&yaml);
	w = fake_worker();
	sl_conf_free(w->conf);
	if (sl_buf_addf(&yaml,
	                "data_dir: /nowhere\nfrontends:\n  - name: f\n    listen: [127.0.0.1:0]\n"
	                "    plugins: [{ plugin: %s/tests/unit/frontend/.libs/good.so }]\n",
	                top ? top : "."))
		abort();
	w->conf = sl_options_load(sl_buf_slice(&yaml), &w->errors);
	w->frontend = sl_options_frontend(w->conf, "f");
	sl_buf_fini(&yaml);
	until = n;
	failed = 0;
	window = true;
	rc = instances_configure(w);
	window = false;
	if (failed == 0 && (rc || w->errors.n || w->n_instances != 1))
		ok(0, "an instance is made when there is memory");
	instances_stop(w);
	fake_worker_free(w);
	return failed > 0;
}

int main(void)
{
	long n = 0;

	sl_log_init("test_oom", SLUICE_LOG_ERR);
	ok(!session(-1) && accepted == 6 && reads == 2 && events > 0, "the session as it is meant to be");
	if (!freopen("/dev/null", "we", stderr)) /* it says a lot about memory now */
		abort();
	while (session(n))
		n++;
	ok(n > 30, "every allocation has failed once");
	printf("# %ld allocations\n", n);
	for (n = 0; configures(n);)
		n++;
	ok(n >= 3, "and every one of making an instance");
	return tap_done();
}
