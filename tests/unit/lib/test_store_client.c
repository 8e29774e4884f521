/* The store client against a writer made of a socketpair: answers, loss in every state, renewal, bounds. */
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/store_client.h"
#include "tests/unit/tap.h"

static uint64_t clock_ms = 1000;

/* -- the writer -- */

enum { HEARD_MAX = 70000 };
static struct {
	struct sl_ipc ipc;
	int client_end;
	struct {
		uint16_t id;
		uint64_t number; /* req or watch */
		uint32_t n_ops, flags;
		char name[32], data[32];
		int live, fd;
	} heard[HEARD_MAX];
	size_t n;
} wr;

static int heard_hello(void *arg, const struct sl_store_hello *m)
{
	(void)arg;
	wr.heard[wr.n++].id = m->protocol == SL_STORE_PROTOCOL ? SL_STORE_hello : 0;
	return 0;
}

static void keep(char *to, sl_slice s)
{
	snprintf(to, 32, "%.*s", (int)(s.len > 31 ? 31 : s.len), s.data ? (const char *)s.data : "");
}

static int heard_submit(void *arg, const struct sl_store_submit *m)
{
	struct sl_cur c = m->ops.cur;
	struct sl_store_op op;

	(void)arg;
	if (wr.n == HEARD_MAX)
		return SLUICE_EINVAL;
	wr.heard[wr.n].id = SL_STORE_submit;
	wr.heard[wr.n].number = m->req;
	wr.heard[wr.n].n_ops = m->ops.n;
	wr.heard[wr.n].fd = -1;
	for (uint32_t i = 0; i < m->ops.n; i++) {
		sl_next_store_op(&c, &op);
		keep(wr.heard[wr.n].name, op.stream);
		keep(wr.heard[wr.n].data, op.data);
		wr.heard[wr.n].flags = op.flags;
		if (op.n_fd)
			wr.heard[wr.n].fd = sl_ipc_take_fd(&wr.ipc);
	}
	wr.n++;
	return 0;
}

static int heard_touch(void *arg, const struct sl_store_touch *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_touch;
	wr.heard[wr.n++].number = m->req;
	return 0;
}

static int heard_watch(void *arg, const struct sl_store_watch *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_watch;
	keep(wr.heard[wr.n].name, m->stream);
	wr.heard[wr.n].live = m->live;
	wr.heard[wr.n++].number = m->watch;
	return 0;
}

static int heard_live(void *arg, const struct sl_store_watch_live *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_watch_live;
	wr.heard[wr.n].live = m->live;
	wr.heard[wr.n++].number = m->watch;
	return 0;
}

static int heard_unwatch(void *arg, const struct sl_store_unwatch *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_unwatch;
	wr.heard[wr.n++].number = m->watch;
	return 0;
}

static int heard_prefix(void *arg, const struct sl_store_watch_prefix *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_watch_prefix;
	keep(wr.heard[wr.n].name, m->prefix);
	wr.heard[wr.n++].number = m->watch;
	return 0;
}

static int heard_retention(void *arg, const struct sl_store_retention *m)
{
	(void)arg;
	wr.heard[wr.n].id = SL_STORE_retention;
	wr.heard[wr.n++].n_ops = m->rules.n;
	return 0;
}

static const struct sl_store_handlers heard = {
	.hello = heard_hello,
	.submit = heard_submit,
	.touch = heard_touch,
	.watch = heard_watch,
	.watch_live = heard_live,
	.unwatch = heard_unwatch,
	.watch_prefix = heard_prefix,
	.retention = heard_retention,
};

static void writer_listen(void)
{
	uint16_t id;
	sl_slice body;
	size_t before;

	do {
		before = wr.n;
		sl_ipc_fill(&wr.ipc);
		while (sl_ipc_next(&wr.ipc, &id, &body) > 0)
			if (sl_store_dispatch(&heard, SL_TO_WRITER, NULL, &wr.ipc, id, body))
				ok(0, "the writer understands every message");
	} while (wr.n != before);
}

/* -- the owner -- */

static struct {
	int up, down, refused, room, results, status, n_results, touched, touch_status, events, life, lost, busy;
	uint32_t event_kinds, life_kinds;
	uint64_t tail;
	const char *up_refuses;
	char why[64], message[64], fill[16];
	struct sl_client_watch *gone;
} seen;

static uint64_t on_now(void *arg)
{
	(void)arg;
	return clock_ms;
}

static struct sl_store_rule one_rule = {.max_bytes = 7};
static struct sl_client *client;

static int on_up(void *arg, const struct sl_store_welcome *m, const char **why)
{
	(void)arg;
	(void)m;
	seen.up++;
	if (seen.up_refuses) {
		*why = seen.up_refuses;
		return SLUICE_EINVAL;
	}
	one_rule.prefix = SL_STR("p");
	return sl_client_retention(client, &one_rule, 1);
}

static void on_down(void *arg)
{
	(void)arg;
	seen.down++;
}

static void on_refused(void *arg, const char *why)
{
	(void)arg;
	seen.refused++;
	snprintf(seen.why, sizeof seen.why, "%s", why);
}

static void on_event(void *arg, void *user, const struct sl_client_event *e)
{
	(void)arg;
	(void)user;
	seen.events++;
	seen.event_kinds = e->events;
	seen.tail = e->tail;
	keep(seen.fill, SL_SLICE(e->fill.data, e->fill.len > 15 ? 15 : e->fill.len));
}

static void on_life(void *arg, void *user, const struct sl_store_life *m)
{
	(void)arg;
	(void)user;
	seen.life++;
	seen.life_kinds = m->events;
}

static void on_room(void *arg)
{
	(void)arg;
	seen.room++;
}

static void on_done(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	seen.results++;
	seen.n_results = (int)n;
	seen.status = r[n - 1].status;
	seen.tail = r[n - 1].tail;
	seen.lost += r[0].status == SLUICE_ELOST;
	seen.busy += r[0].status == SLUICE_EBUSY;
	snprintf(seen.message, sizeof seen.message, "%s", r[0].message);
}

static void on_touched(void *arg, int status)
{
	(void)arg;
	seen.touched++;
	seen.touch_status = status;
}

static const struct sl_client_hooks hooks = {
	.now_ms = on_now,
	.up = on_up,
	.down = on_down,
	.refused = on_refused,
	.event = on_event,
	.life = on_life,
	.room = on_room,
};

static void writer_start(void)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
		abort();
	sl_ipc_init(&wr.ipc, sv[0]);
	wr.n = 0;
	ok(sl_client_link(client, sv[1]) == 0, "a link is taken");
}

static void writer_welcome(const char *build)
{
	struct sl_store_welcome m = {.protocol = SL_STORE_PROTOCOL,
	                             .build = sl_slice_str(build),
	                             .generation = SL_STR("0123456789abcdef"),
	                             .data_dir = SL_STR("/x")};

	sl_put_store_welcome(&wr.ipc, &m);
	sl_ipc_flush(&wr.ipc);
	sl_client_readable(client);
	sl_client_flush(client);
	writer_listen();
}

static void writer_die(void)
{
	for (size_t i = 0; i < wr.n; i++)
		if (wr.heard[i].id == SL_STORE_submit && wr.heard[i].fd >= 0)
			close(wr.heard[i].fd);
	sl_ipc_fini(&wr.ipc);
}

static void notice_end(void) /* as the loop does: readable until it is over */
{
	for (int i = 0; i < 4 && sl_client_fd(client) >= 0; i++)
		sl_client_readable(client);
}

static void turn(void)
{
	sl_client_flush(client);
	writer_listen();
}

static void answer(uint64_t number, int32_t status, uint32_t n)
{
	static struct sl_store_outcome o[64];
	struct sl_store_result m = {.req = number, .outcomes = {.n = n, .v = o}};

	for (uint32_t i = 0; i < n; i++)
		o[i] = (struct sl_store_outcome){.status = status, .tail = 100 + i, .message = SL_STR("because")};
	sl_put_store_result(&wr.ipc, &m);
	sl_ipc_flush(&wr.ipc);
}

static void begin(void)
{
	memset(&seen, 0, sizeof seen);
	if (sl_client_new("test", "b1", &hooks, NULL, &client))
		abort();
}

static int append(const char *data, uint32_t flags)
{
	struct sl_store_op op = {.kind = SLUICE_OP_APPEND,
	                         .flags = flags,
	                         .stream = SL_STR("s"),
	                         .data = sl_slice_str(data),
	                         .producer = SL_STR("p")};

	return sl_client_submit(client, &op, 1, NULL, 0, on_done, NULL, NULL);
}

static size_t count_of(uint16_t id)
{
	size_t n = 0;

	for (size_t i = 0; i < wr.n; i++)
		n += wr.heard[i].id == id;
	return n;
}

/* -- cases -- */

static void test_answers(void)
{
	struct sl_store_op ops[20];

	begin();
	ok(append("early", 0) == 0, "a submit without a writer is queued");
	writer_start();
	writer_listen();
	is_int(wr.n, 1, "hello comes alone");
	writer_welcome("b1");
	ok(seen.up == 1 && sl_client_up(client), "up");
	is_int(wr.n, 3, "then retention and what was queued");
	ok(wr.heard[1].id == SL_STORE_retention && wr.heard[1].n_ops == 1, "retention is sent from up()");
	is_str(wr.heard[2].data, "early", "the queued append arrives");
	answer(wr.heard[2].number, 0, 1);
	sl_client_readable(client);
	ok(seen.results == 1 && seen.status == 0 && seen.tail == 100, "its answer is told");
	is_str(seen.message, "because", "with the text, terminated");
	for (size_t i = 0; i < 20; i++)
		ops[i] = (struct sl_store_op){.kind = SLUICE_OP_APPEND, .stream = SL_STR("s"), .data = SL_STR("x")};
	ok(sl_client_submit(client, ops, 20, NULL, 0, on_done, NULL, NULL) == 0, "a long transaction");
	is_int(seen.results, 1, "nothing completes within the call");
	turn();
	is_int(wr.heard[3].n_ops, 20, "has all its operations");
	answer(wr.heard[3].number, SLUICE_ECONFLICT, 20);
	sl_client_readable(client);
	ok(seen.n_results == 20 && seen.tail == 119 && seen.status == SLUICE_ECONFLICT, "one result each");
	is_int(sl_client_pending(client), 0, "nothing is left");
	is_int(sl_client_submit(client, ops, 0, NULL, 0, on_done, NULL, NULL), SLUICE_EINVAL, "no operations");
	ops[0].data = SL_SLICE(calloc(1, SL_IPC_FRAME_MAX), SL_IPC_FRAME_MAX);
	is_int(sl_client_submit(client, ops, 1, NULL, 0, on_done, NULL, NULL), SLUICE_ETOOBIG, "larger than a frame");
	free((void *)(uintptr_t)ops[0].data.data);
	is_int(sl_client_pending(client), 0, "a refused submit leaves nothing");
	sl_client_free(client);
	writer_die();
}

static void test_loss(void)
{
	struct sl_client_req *touch;

	begin();
	writer_start();
	writer_welcome("b1");
	append("plain", 0);
	append("idem", SLUICE_A_PRODUCER);
	sl_client_touch(client, 5, true, on_touched, NULL, &touch);
	append("answered", 0);
	turn();
	is_int(count_of(SL_STORE_submit), 3, "three were sent");
	answer(wr.heard[wr.n - 1].number, 0, 1);
	append("unsent", 0);
	writer_die();
	notice_end();
	ok(seen.down == 1 && sl_client_fd(client) == -1, "the loss is told");
	is_int(seen.results, 2, "two are settled");
	ok(seen.lost == 1,
	   "of the sent ones only the plain one is lost; the answer that arrived before the end counts");
	ok(seen.touched == 1 && seen.touch_status == SLUICE_ELOST, "who waits for a touch is told at once");
	is_int(sl_client_pending(client), 3, "the producer's, the touch and the unsent one are kept");
	append("while away", 0);
	writer_start();
	writer_welcome("b1");
	is_int(count_of(SL_STORE_submit), 3, "three submits on the new connection");
	is_int(count_of(SL_STORE_touch), 1, "the touch is repeated");
	is_str(wr.heard[2].data, "idem", "in order: the repeated one");
	is_int(wr.heard[2].flags, SLUICE_A_PRODUCER, "with its flags");
	is_str(wr.heard[4].data, "unsent", "then the unsent one");
	is_str(wr.heard[5].data, "while away", "then the one submitted meanwhile");
	for (size_t i = 0; i < wr.n; i++)
		if (wr.heard[i].id == SL_STORE_submit)
			answer(wr.heard[i].number, 0, 1);
	sl_put_store_touched(&wr.ipc, &(struct sl_store_touched){.req = wr.heard[3].number});
	sl_ipc_flush(&wr.ipc);
	sl_client_readable(client);
	is_int(seen.results, 5, "all are answered once");
	is_int(seen.touched, 1, "the touch is not told twice");
	is_int(sl_client_pending(client), 0, "nothing is left");
	sl_client_free(client);
	writer_die();
}

/* The writer goes away without reading: what is partly in the socket's buffer was not handled by anybody. */
static void test_partial(void)
{
	enum { SIZE = 200 * 1024, N = 12 };
	char *big = malloc(SIZE + 1);
	size_t settled;

	memset(big, 'x', SIZE);
	big[SIZE] = '\0';
	begin();
	writer_start();
	writer_welcome("b1");
	for (int i = 0; i < N; i++)
		append(big, 0);
	append(big, SLUICE_A_PRODUCER);
	sl_client_flush(client);
	ok(sl_client_want_write(client), "the socket is full");
	writer_die();
	sl_client_flush(client);
	settled = (size_t)seen.results;
	ok(seen.lost + seen.busy == (int)settled && seen.busy <= 1,
	   "what had left is lost, at most one was cut and is known not to count");
	ok(seen.lost >= 1 && sl_client_pending(client) == N + 1 - settled, "the rest is kept");
	writer_start();
	writer_welcome("b1");
	for (int i = 0; i < 100 && sl_client_want_write(client); i++)
		turn();
	is_int(count_of(SL_STORE_submit), N + 1 - settled, "and sent to the next writer");
	sl_client_free(client);
	writer_die();
	free(big);
}

static void test_waiting(void)
{
	begin();
	append("a", 0);
	clock_ms += SL_CLIENT_WAIT_MS / 2;
	append("b", 0);
	clock_ms += SL_CLIENT_WAIT_MS / 2;
	sl_client_tick(client);
	ok(seen.results == 1 && seen.busy == 1, "after the wait the first is told to come back");
	writer_start();
	writer_welcome("b1");
	is_int(count_of(SL_STORE_submit), 1, "the second is sent");
	is_str(wr.heard[2].data, "b", "alone");
	append("idem", SLUICE_A_PRODUCER);
	turn();
	writer_die();
	notice_end();
	is_int(seen.lost, 1, "b is lost");
	clock_ms += SL_CLIENT_WAIT_MS;
	sl_client_tick(client);
	is_int(seen.lost, 2, "one that may have happened is never called refused");
	is_int(sl_client_pending(client), 0, "nothing is left");
	sl_client_free(client);
}

static void test_bounds(void)
{
	char *big = malloc(100 * 1024 + 1);
	int n = 0, rc;

	memset(big, 'x', 100 * 1024);
	big[100 * 1024] = '\0';
	begin();
	while ((rc = append(big, 0)) == 0)
		n++;
	is_int(rc, SLUICE_EAGAIN, "bytes are bounded");
	ok(n >= 80 && n <= 83, "at about 8 MiB");
	clock_ms += SL_CLIENT_WAIT_MS;
	sl_client_tick(client);
	is_int(seen.busy, n, "all are given up in the end");
	is_int(seen.room, 1, "then there is room, once");
	for (n = 0; (rc = sl_client_touch(client, 1, false, on_touched, NULL, &(struct sl_client_req *){NULL})) == 0;)
		n++;
	ok(rc == SLUICE_EAGAIN && n == SL_CLIENT_REQUESTS, "requests are bounded");
	sl_client_free(client);
	free(big);
}

static void test_watches(void)
{
	struct sl_client_watch *a, *b, *p;

	begin();
	ok(sl_client_watch(client, SL_STR("a"), true, NULL, &a) == 0, "a watch without a writer");
	ok(sl_client_watch_prefix(client, SL_STR("pre"), NULL, &p) == 0, "and one of a prefix");
	writer_start();
	writer_welcome("b1");
	ok(count_of(SL_STORE_watch) == 1 && count_of(SL_STORE_watch_prefix) == 1, "are sent when one comes");
	sl_put_store_watched(
		&wr.ipc, &(struct sl_store_watched){
				 .watch = wr.heard[2].number, .events = SLUICE_EV_TAIL, .incarnation = 3, .tail = 9});
	sl_put_store_watched(&wr.ipc,
	                     &(struct sl_store_watched){.watch = wr.heard[3].number, .events = SLUICE_EV_RESYNC});
	sl_ipc_flush(&wr.ipc);
	sl_client_readable(client);
	ok(seen.events == 1 && seen.tail == 9, "the answer is an event");
	ok(seen.life == 1 && seen.life_kinds == SLUICE_EV_RESYNC, "that to a prefix means: list");
	sl_client_watch(client, SL_STR("b"), false, NULL, &b);
	sl_client_watch_live(client, a, false);
	sl_client_watch_live(client, a, false);
	turn();
	is_int(count_of(SL_STORE_watch_live), 1, "a change of liveness is sent once");
	sl_put_store_notice(&wr.ipc, &(struct sl_store_notice){.watch = wr.heard[2].number,
	                                                       .events = SLUICE_EV_TAIL,
	                                                       .tail = 20,
	                                                       .fill_from = 9,
	                                                       .fill = SL_STR("abcdef")});
	sl_put_store_notice(&wr.ipc, &(struct sl_store_notice){.watch = 12345, .events = SLUICE_EV_TAIL});
	sl_ipc_flush(&wr.ipc);
	sl_client_readable(client);
	ok(seen.events == 2 && seen.tail == 20, "a notice is an event, one of an unknown number is not");
	is_str(seen.fill, "abcdef", "with its fill");
	writer_die();
	notice_end();
	writer_start();
	writer_welcome("b1");
	is_int(count_of(SL_STORE_watch), 2, "watches are renewed");
	is_int(count_of(SL_STORE_watch_prefix), 1, "prefixes too");
	ok(!wr.heard[2].live && !wr.heard[4].live, "with their present liveness");
	for (size_t i = 0; i < wr.n; i++)
		if (wr.heard[i].id == SL_STORE_watch && strcmp(wr.heard[i].name, "a") == 0)
			sl_put_store_notice(&wr.ipc, &(struct sl_store_notice){.watch = wr.heard[i].number,
			                                                       .events = SLUICE_EV_REMOVED});
	sl_ipc_flush(&wr.ipc);
	sl_client_readable(client);
	is_int(seen.event_kinds, SLUICE_EV_REMOVED, "removed");
	sl_client_unwatch(client, b);
	turn();
	is_int(count_of(SL_STORE_unwatch), 1, "only the one that lives is taken back");
	writer_die();
	notice_end();
	writer_start();
	writer_welcome("b1");
	is_int(count_of(SL_STORE_watch), 0, "neither is renewed");
	sl_client_free(client);
	writer_die();
}

static void test_refusals(void)
{
	begin();
	append("x", 0);
	writer_start();
	writer_welcome("other");
	ok(seen.refused == 1 && seen.up == 0, "a writer of another build is refused");
	is_str(seen.why, "the writer is of another build", "and why");
	is_int(seen.busy, 1, "what waited is told");
	is_int(append("y", 0), SLUICE_EBUSY, "nothing more is taken");
	sl_client_free(client);
	writer_die();

	begin();
	seen.up_refuses = "newer";
	writer_start();
	writer_welcome("b1");
	is_str(seen.why, "newer", "the owner may refuse");
	sl_client_free(client);
	writer_die();

	begin();
	writer_start();
	writer_welcome("b1");
	append("x", 0);
	turn();
	answer(wr.heard[wr.n - 1].number, 0, 3);
	sl_client_readable(client);
	ok(seen.refused == 1 && seen.lost == 1, "an answer with a wrong number of results ends the connection");
	sl_client_free(client);
	writer_die();

	begin();
	writer_start();
	answer(1, 0, 1);
	sl_client_readable(client);
	is_int(seen.refused, 1, "so does a message before welcome");
	sl_client_free(client);
	writer_die();
}

static void test_descriptors(void)
{
	struct sl_store_op op = {.kind = SLUICE_OP_APPEND,
	                         .flags = SLUICE_A_PRODUCER,
	                         .stream = SL_STR("s"),
	                         .producer = SL_STR("p"),
	                         .n_fd = 1,
	                         .data_len = 3};
	int fd = memfd_create("t", MFD_CLOEXEC);
	char got[4] = "";

	ok(write(fd, "abc", 3) == 3, "a payload");
	begin();
	writer_start();
	writer_welcome("b1");
	sl_client_submit(client, &op, 1, &fd, 1, on_done, NULL, NULL);
	turn();
	ok(wr.heard[2].fd >= 0 && pread(wr.heard[2].fd, got, 3, 0) == 3 && strcmp(got, "abc") == 0,
	   "arrives behind its descriptor");
	writer_die();
	notice_end();
	writer_start();
	memset(got, 0, sizeof got);
	writer_welcome("b1");
	ok(wr.heard[2].fd >= 0 && pread(wr.heard[2].fd, got, 3, 0) == 3 && strcmp(got, "abc") == 0,
	   "again after a loss");
	answer(wr.heard[2].number, 0, 1);
	sl_client_readable(client);
	is_int(seen.results, 1, "answered");
	sl_client_free(client);
	writer_die();
	close(fd);
}

int main(void)
{
	test_answers();
	test_loss();
	test_partial();
	test_waiting();
	test_bounds();
	test_watches();
	test_refusals();
	test_descriptors();
	return tap_done();
}
