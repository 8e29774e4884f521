/* Handles of the host table: timers, watches, deferred calls, counters, reclaiming, and that misuse aborts. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/log.h"
#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static struct worker *w;
static struct sluice_ctx *ctx;
static const struct sluice_host *host = &host_table;

static int fired, ready, ready_events, deferred;
static struct sluice_timer *timer;
static struct sluice_watch *watch;

static void on_timer(void *arg)
{
	fired++;
	if (arg) {
		host->timer_free(timer);
		timer = NULL;
	}
}

static void on_ready(void *arg, int events)
{
	ready++;
	ready_events = events;
	if (arg) {
		host->watch_free(watch);
		watch = NULL;
	}
}

static void on_defer(void *arg)
{
	deferred++;
	if (arg)
		host->defer(ctx, on_defer, NULL);
}

static void wait_for(const int *what, int value)
{
	while (*what < value) { /* the loop blocks until something is due */
		event_base_loop(w->base, EVLOOP_ONCE);
		worker_turn(w);
	}
}

static void begin(void)
{
	w = fake_worker();
	ctx = fake_instance(w, "test", "");
}

static void test_timers(void)
{
	begin();
	ok(host->timer_new(ctx, on_timer, NULL, &timer) == 0, "a timer");
	fake_turn(w);
	is_int(fired, 0, "is not armed by being made");
	host->timer_set(timer, 0);
	is_int(fired, 0, "nothing fires within the call");
	wait_for(&fired, 1);
	host->timer_set(timer, 1);
	wait_for(&fired, 2);
	host->timer_set(timer, 0);
	host->timer_set(timer, -1);
	fake_turn(w);
	is_int(fired, 2, "disarmed");
	host->timer_free(timer);
	ok(host->timer_new(ctx, on_timer, ctx, &timer) == 0, "another");
	host->timer_set(timer, 0);
	wait_for(&fired, 3);
	ok(!timer && ctx->n_handles == 0, "may free itself");
	fake_worker_free(w);
}

static void test_watches(void)
{
	int p[2];

	begin();
	ok(pipe2(p, O_NONBLOCK | O_CLOEXEC) == 0, "a pipe");
	ok(host->watch_new(ctx, p[0], SLUICE_READ, on_ready, NULL, &watch) == 0, "a watch");
	fake_turn(w);
	is_int(ready, 0, "nothing to read");
	ok(write(p[1], "x", 1) == 1, "something");
	fake_turn(w);
	ok(ready == 1 && ready_events == SLUICE_READ, "readable");
	fake_turn(w);
	is_int(ready, 2, "as long as it is");
	ok(host->watch_set(watch, 0) == 0, "not interested");
	fake_turn(w);
	is_int(ready, 2, "then not told");
	ok(host->watch_set(watch, SLUICE_READ) == 0, "interested again");
	fake_turn(w);
	is_int(ready, 3, "told");
	host->watch_free(watch);
	host->watch_new(ctx, p[1], SLUICE_WRITE, on_ready, ctx, &watch);
	fake_turn(w);
	ok(ready == 4 && ready_events == SLUICE_WRITE && !watch, "writable; frees itself");
	fake_turn(w);
	ok(ready == 4 && ctx->n_handles == 0, "and is gone");
	close(p[0]);
	close(p[1]);
	fake_worker_free(w);
}

static void test_defer(void)
{
	begin();
	ok(host->defer(ctx, on_defer, ctx) == 0 && deferred == 0, "a deferred call does not run within the call");
	ok(worker_pending(w), "the loop will not sleep over it");
	worker_turn(w);
	is_int(deferred, 1, "it runs at the end of the turn");
	worker_turn(w);
	ok(deferred == 2 && !worker_pending(w), "one made there at the end of the next");
	fake_worker_free(w);
}

static void test_table(void)
{
	struct sluice_buf *b;
	struct auth_verdict verdict;
	const struct sluice_principal *who;
	uint64_t now, *a;

	begin();
	ok(host->size == sizeof *host && SLUICE_HAS(host, claim), "the table says how long it is");
	now = host->now_ms(ctx);
	ok(now > 0 && host->now_ms(ctx) == now && host->wall_ms(ctx) > now, "clocks");
	host_metrics_phase(true);
	a = host->counter(ctx, "n", "help");
	*a += 2;
	ok(host->counter(ctx, "n", "help") == a && host->gauge(ctx, "m", "help") != a, "counters");
	is_str(sl_metrics_at(w->metrics, w->metrics->used - 2)->name, "test.n", "bear the instance's name");
	host_metrics_phase(false);
	b = host->buf_new(ctx, SL_STR("abc"));
	host->buf_unref(host->buf_ref(b));
	host->buf_unref(b);
	auth_admit(w->auth, &(struct auth_ask){.authorization = SL_STR("Bearer x"), .action = "append"}, &verdict);
	who = verdict.principal;
	ok(verdict.status == 0 && host->authorize(ctx, who, "append", SL_STR("s")) == 0, "mode none allows");
	is_int(host->authorize(ctx, NULL, "append", SL_STR("s")), SLUICE_EDENIED, "somebody, that is");
	ok(!host->claim(who, "sub").data, "who claims nothing");
	ok(host->principal_who(who) == SLUICE_WHO_ANYBODY && host->principal_expires(who) == 0 &&
	           sl_slice_is(host->principal_name(who), "anonymous"),
	   "and is anybody, for ever");
	is_int(host->verify(ctx, SL_STR("x"), NULL, &who), 0, "whoever comes by another way too");
	host->principal_free(who);
	host->drained(ctx);
	ok(ctx->drained, "drained is noted");
	w->state = WORKER_SETUP;
	host->fail(ctx, "because");
	ok(w->fail_why && w->exit_code == EXIT_FAILURE && worker_pending(w),
	   "failing is noted, and done at the end of the turn");
	fake_worker_free(w);
}

static void listener_add(const char *address)
{
	w->listener[w->n_listener].index = (uint32_t)w->n_listener;
	w->listener[w->n_listener].address = strdup(address);
	w->listener[w->n_listener].fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	w->n_listener++;
}

static void test_listeners(void)
{
	struct sluice_ctx *other;
	struct ssl_ctx_st *tls;
	int state, a, b;

	begin();
	other = fake_instance(w, "other", "");
	state = w->state;
	listener_add("127.0.0.1:0");
	listener_add("127.0.0.1:0");
	listener_add("127.0.0.1:443");
	is_int(host->listener_fd(ctx, "127.0.0.1:0"), SLUICE_ENOENT, "outside of start nothing can be claimed");
	ok(!w->listener[0].owner && !w->listener[1].owner, "and nothing is");
	w->state = WORKER_STARTING;
	is_int(host->listener_fd(ctx, "nowhere"), SLUICE_ENOENT, "an unknown listener");
	a = host->listener_fd(ctx, "127.0.0.1:0");
	ok(a >= 0 && a == w->listener[0].fd && w->listener[0].owner == ctx, "the first that is written so is claimed");
	is_int(host->listener_fd(ctx, "127.0.0.1:0"), a, "asking again gives the same one");
	b = host->listener_fd(other, "127.0.0.1:0");
	ok(b == w->listener[1].fd && w->listener[1].owner == other, "another instance gets the next");
	listener_add("127.0.0.1:7000");
	ok(host->listener_fd(ctx, "127.0.0.1:7000") >= 0, "a third");
	is_int(host->listener_fd(other, "127.0.0.1:7000"), SLUICE_EBUSY, "belongs to who came first");
	tls = w->tls[2];
	w->tls[2] = (struct ssl_ctx_st *)w; /* looked at, never used */
	is_int(host->listener_fd(ctx, "127.0.0.1:443"), SLUICE_ENOTSUP, "one with TLS is not served in the clear");
	w->tls[2] = tls;
	ok(!w->listener[2].owner, "and stays the engine's");
	w->state = WORKER_RUNNING;
	is_int(host->listener_fd(ctx, "127.0.0.1:0"), a, "later one's own is found");
	is_int(host->listener_fd(ctx, "127.0.0.1:443"), SLUICE_ENOENT, "and no other");
	ok(host->watch_new(ctx, a, 0, on_ready, NULL, &watch) == 0, "it is watched");
	watch->events = SLUICE_READ; /* as if: epoll does not take /dev/null */
	loop_forget_fd(other, a);
	is_int(watch->events, SLUICE_READ, "by its owner");
	loop_forget_fd(ctx, a);
	is_int(watch->events, 0, "until the host closes it");
	host->watch_free(watch);
	w->state = state;
	fake_worker_free(w);
}

static void test_conf_error(void)
{
	static const char yaml[] = "a: 1\nb:\n  c: 2\n";
	struct sl_conf_errors errors = {0};
	struct sluice_conf *conf = sl_conf_parse(sl_slice_str(yaml), &errors);

	begin();
	host_conf_phase(&errors);
	is_int(host->conf_error(conf, "b.c", "no %s", "good"), SLUICE_EINVAL, "conf_error returns its status");
	host_conf_phase(NULL);
	ok(errors.n == 1 && errors.v[0].line == 3 && strstr(errors.v[0].text, "no good"),
	   "and notes position and text");
	host->conf_error(conf, "b.c", "late");
	is_int(errors.n, 1, "outside of configure it notes nothing");
	sl_conf_errors_fini(&errors);
	sl_conf_free(conf);
	fake_worker_free(w);
}

static void test_reclaim(void)
{
	struct sluice_sub *sub;
	struct sluice_op op = {.size = sizeof op, .kind = SLUICE_OP_REMOVE, .stream = SL_STR("s")};
	struct sluice_read rd = {.size = sizeof rd, .stream = SL_STR("s")};

	begin();
	host->timer_new(ctx, on_timer, NULL, &timer);
	host->watch_new(ctx, STDERR_FILENO, 0, on_ready, NULL, &watch);
	host->defer(ctx, on_defer, NULL);
	host->store->subscribe(ctx, SL_STR("s"), 0, (sluice_event_fn *)(void (*)(void))on_defer, NULL, &sub);
	host->store->subscribe_prefix(ctx, SL_STR("s"), (sluice_event_fn *)(void (*)(void))on_defer, NULL, &sub);
	host->store->submit(ctx, &op, 1, (sluice_done_fn *)(void (*)(void))on_defer, NULL, NULL);
	host->store->read(ctx, &rd, (sluice_read_fn *)(void (*)(void))on_defer, NULL, NULL);
	host->store->on_room(ctx, on_defer, NULL);
	is_int(ctx->n_handles, 8, "eight handles");
	is_int(store_reclaim(ctx) + loop_reclaim(ctx), 8, "are reclaimed");
	deferred = 0;
	fake_turn(w);
	is_int(deferred, 0, "and never call");
	is_int(ctx->n_handles, 1, "only what the writer may still answer is kept");
	fake_worker_free(w);
}

/* -- misuse -- */

static void *from_thread(void *arg)
{
	(void)arg;
	host->now_ms(ctx);
	return NULL;
}

static void misuse_thread(void)
{
	pthread_t t;

	pthread_create(&t, NULL, from_thread, NULL);
	pthread_join(t, NULL);
}

static void misuse_double_free(void)
{
	host->timer_new(ctx, on_timer, NULL, &timer);
	host->timer_free(timer);
	host->timer_free(timer);
}

static void misuse_sub(void)
{
	struct sluice_sub *sub;

	host->store->subscribe(ctx, SL_STR("s"), 0, (sluice_event_fn *)(void (*)(void))on_defer, NULL, &sub);
	host->store->unsubscribe(sub);
	host->store->unsubscribe(sub);
}

static void misuse_context(void)
{
	struct sluice_ctx not_one = {.magic = 1};

	host->now_ms(&not_one);
}

static void aborts(void (*fn)(void), const char *name)
{
	int status = 0;
	pid_t pid;

	fflush(stdout);
	pid = fork();
	if (pid == 0) {
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, STDERR_FILENO);
		signal(SIGABRT, SIG_DFL);
		fn();
		_exit(0);
	}
	waitpid(pid, &status, 0);
	ok(WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT, "");
	if (!WIFSIGNALED(status))
		printf("#   %s did not abort\n", name);
}

static void test_misuse(void)
{
	begin();
	aborts(misuse_thread, "a call from another thread");
	aborts(misuse_double_free, "a timer freed twice");
	aborts(misuse_sub, "a subscription ended twice");
	aborts(misuse_context, "a context that is none");
	fake_worker_free(w);
}

int main(void)
{
	sl_log_init("test_host", SLUICE_LOG_ERR);
	test_timers();
	test_watches();
	test_defer();
	test_table();
	test_listeners();
	test_conf_error();
	test_reclaim();
	test_misuse();
	return tap_done();
}
