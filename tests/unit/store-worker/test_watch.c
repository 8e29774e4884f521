/*
 * test_watch.c - watches: answers, notices, fills, life-cycle events, what a slow or broken peer does to others:
 * nothing.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "lib/marks.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *a, *b;

static void watch(struct client *c, uint64_t number, const char *stream)
{
	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = number, .stream = sl_slice_str(stream)});
	client_pump(&f, c);
}

static void test_notices(void)
{
	struct sl_store_outcome o = create(&f, a, "s", "text/plain", "x");
	struct sl_cur marks;
	struct sl_mark m;

	watch(b, 1, "s");
	is_int(b->watched.watch, 1, "answered");
	is_int(b->watched.events, SLUICE_EV_TAIL, "it is there");
	is_int(b->watched.tail, 6, "with its tail");
	is_int(b->watched.incarnation, (int64_t)o.incarnation, "and incarnation");
	append(&f, a, "s", "hello");
	client_pump(&f, b);
	is_int(b->n_notices, 1, "a notice");
	is_int(b->notice[0].events, SLUICE_EV_TAIL, "of the tail");
	is_int(b->notice[0].tail, 16, "its place");
	is_str(b->notice[0].bytes, "hello", "a fill with what was appended");
	is_int(b->notice[0].fill_from, 6, "where it begins");
	marks = sl_cur_of(SL_SLICE(b->notice[0].marks, b->notice[0].n_marks));
	is_int(sl_marks_next(&marks, &m), 1, "marks of the fill");
	is_int(m.bytes, 5, "one record");
	watch(b, 2, "none");
	is_int(b->watched.events, SLUICE_EV_REMOVED, "no such stream: over at once");
	watch(b, 3, "");
	is_int(b->watched.events, SLUICE_EV_REMOVED, "no such name");
	append(&f, a, "s", "more");
	client_pump(&f, b);
	is_int(b->n_notices, 2, "one watch, one notice");
	sl_put_store_unwatch(&b->ipc, &(struct sl_store_unwatch){.watch = 1});
	client_pump(&f, b);
	append(&f, a, "s", "unheard");
	client_pump(&f, b);
	is_int(b->n_notices, 2, "none after unwatch");
}

/* Several appends of one commit: one notice, all of them in its fill. */
static void test_coalesced(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "co");
	uint64_t req = 0, n;

	create(&f, a, "co", "text/plain", "");
	watch(a, 9, "co");
	n = a->n_notices;
	a->n_order = 0;
	for (int i = 0; i < 5; i++) {
		op.data = SL_STR("ab");
		req = send_ops(a, &op, 1, NULL, 0);
	}
	wait_result(&f, a, req);
	client_pump(&f, a);
	is_int(a->n_notices, (int64_t)n + 1, "one notice for five appends");
	is_str(a->notice[n].bytes, "ababababab", "its fill has all");
	is_int(a->notice[n].tail, 35, "the last tail");
	a->order[a->n_order] = '\0';
	is_str(a->order, "rrrrrn", "answers before notices");
}

static void test_events(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CLOSE, "ev");
	uint64_t n;

	create(&f, a, "ev", "text/plain", "");
	watch(b, 20, "ev");
	n = b->n_notices;
	run(&f, a, op);
	client_pump(&f, b);
	is_int(b->notice[n].events & SLUICE_EV_CLOSED, SLUICE_EV_CLOSED, "closed");
	watch(b, 21, "ev");
	is_int(b->watched.events, SLUICE_EV_TAIL | SLUICE_EV_CLOSED, "a later watch sees it closed");
	n = b->n_notices;
	removal(&f, a, "ev");
	client_pump(&f, b);
	is_int(b->n_notices, (int64_t)n + 2, "both watches hear of the removal");
	is_int(b->notice[n].events & (SLUICE_EV_REMOVED | SLUICE_EV_SOFT), SLUICE_EV_REMOVED, "removed");
	create(&f, a, "ev", "text/plain", "again");
	client_pump(&f, b);
	is_int(b->n_notices, (int64_t)n + 2, "and then nothing: they are over");
	watch(b, 20, "ev");
	is_int(b->watched.tail, 10, "their numbers are free");
	fork_at(&f, a, "ev-fork", "ev", -1, 0);
	n = b->n_notices;
	removal(&f, a, "ev");
	client_pump(&f, b);
	is_int(b->notice[n].events & (SLUICE_EV_REMOVED | SLUICE_EV_SOFT), SLUICE_EV_REMOVED | SLUICE_EV_SOFT,
	       "soft-deleted");
	watch(b, 22, "ev");
	is_int(b->watched.events, SLUICE_EV_REMOVED | SLUICE_EV_SOFT, "a watch on a soft-deleted stream");
}

static void test_prefix(void)
{
	struct sl_store_outcome o;
	uint64_t n;

	sl_put_store_watch_prefix(&b->ipc, &(struct sl_store_watch_prefix){.watch = 40, .prefix = SL_STR("room/")});
	client_pump(&f, b);
	is_int(b->watched.watch, 40, "a prefix watch is answered");
	is_int(b->watched.events, SLUICE_EV_RESYNC, "list now");
	n = b->n_lives;
	o = create(&f, a, "room/1", "text/plain", "");
	create(&f, a, "elsewhere", "text/plain", "");
	create(&f, a, "room/1", "text/plain", "");
	client_pump(&f, b);
	is_int(b->n_lives, (int64_t)n + 1, "one event; none for a create that found it, none for other names");
	is_int(b->life[n].events, SLUICE_EV_CREATED, "created");
	is_str(b->life[n].bytes, "room/1", "its name");
	is_int(b->life[n].incarnation, (int64_t)o.incarnation, "its incarnation");
	fork_at(&f, a, "room/2", "room/1", -1, 0);
	removal(&f, a, "room/1");
	removal(&f, a, "room/2");
	client_pump(&f, b);
	is_int(b->n_lives, (int64_t)n + 5, "created, soft-deleted, removed, and the cascade");
	is_int(b->life[n + 2].events, SLUICE_EV_REMOVED | SLUICE_EV_SOFT, "soft");
	is_int(b->life[n + 3].events, SLUICE_EV_REMOVED, "the fork");
	is_str(b->life[n + 4].bytes, "room/1", "its source");
	sl_put_store_unwatch(&b->ipc, &(struct sl_store_unwatch){.watch = 40});
	client_pump(&f, b);
	create(&f, a, "room/3", "text/plain", "");
	client_pump(&f, b);
	is_int(b->n_lives, (int64_t)n + 5, "nothing after unwatch");
}

/* A list that is rolled back is not heard of. */
static void test_rollback(void)
{
	struct sl_store_op ops[2] = {op_of(SLUICE_OP_APPEND, "rb"), op_of(SLUICE_OP_APPEND, "nowhere")};
	uint64_t n;

	create(&f, a, "rb", "text/plain", "");
	watch(b, 50, "rb");
	n = b->n_notices;
	ops[0].data = ops[1].data = SL_STR("x");
	run_list(&f, a, ops, 2);
	client_pump(&f, b);
	is_int(b->n_notices, (int64_t)n, "silence");
	append(&f, a, "rb", "y");
	client_pump(&f, b);
	is_int(b->notice[n].tail, 6, "and then the truth");
}

/* A peer that reads nothing: notices coalesce, one for each watch, and others do not notice. */
static void test_slow(void)
{
	enum { WATCHES = 2000, APPENDS = 60 };
	static char big[60000];
	struct client *slow = fixture_client(&f);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "slow");
	struct peer *p = SL_OF(f.store->peers.prev, struct peer, all);
	uint64_t last = 0, idle = 0;
	int newest = 0;

	memset(big, 'q', sizeof big);
	create(&f, a, "slow", "text/plain", "");
	for (uint64_t i = 0; i < WATCHES; i++)
		sl_put_store_watch(&slow->ipc, &(struct sl_store_watch){.watch = i, .stream = SL_STR("slow")});
	while (slow->n_watched < WATCHES)
		client_pump(&f, slow);
	op.data = SL_SLICE(big, sizeof big);
	for (int i = 0; i < APPENDS; i++)
		last = run(&f, a, op).tail;
	ok(sl_ipc_queued(&p->ipc) < 2u << 20, "the queue of a peer that does not read stays small");
	is_int(p->ended, 0, "it is not thrown out");
	while (idle < 10) {
		uint64_t before = slow->n_notices;

		client_pump(&f, slow);
		idle = slow->n_notices == before ? idle + 1 : 0;
	}
	ok(slow->n_notices < WATCHES * APPENDS, "notices were merged");
	for (int i = 0; i < 256; i++)
		newest += slow->notice[i].tail == last;
	is_int(newest, 256, "the last ones are the truth");
	client_end(slow);
	fixture_turns(&f, 2);
}

static void test_stopped(void)
{
	struct client *slow = fixture_client(&f);
	struct peer *p = SL_OF(f.store->peers.prev, struct peer, all);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "none");
	int sent = 0;

	/* Refusals, each of more than a hundred bytes. */
	for (; sent < 400000 && !p->paused; sent++) {
		send_ops(slow, &op, 1, NULL, 0);
		if (sent % 500 == 0) {
			sl_ipc_flush(&slow->ipc);
			store_turn(f.store, 0);
		}
	}
	is_int(p->paused, 1, "a peer that does not take its answers is not read any more");
	ok(sl_ipc_queued(&p->ipc) < 2 * PEER_READ_STOP, "its queue has a bound");
	is_out(append(&f, a, "rb", "z"), SLUICE_OK, 0, "others go on");
	for (int i = 0; i < 20000 && slow->n_results < (uint64_t)sent; i++)
		client_pump(&f, slow);
	is_int(slow->n_results, sent, "when it reads again, every answer comes");
	client_end(slow);
	fixture_turns(&f, 2);
}

static void send_raw(struct client *c, const void *bytes, size_t n)
{
	ok(write(c->ipc.fd, bytes, n) == (ssize_t)n, "sent");
	for (int i = 0; i < 5; i++)
		client_pump(&f, c);
}

static void test_malformed(void)
{
	static const struct {
		const char *bytes;
		size_t n;
		const char *what;
	} cases[] = {
		{"\x02\0\0\0\x77\x77", 6, "an unknown message"},
		{"\x00\0\0\0\0\0", 6, "a frame too short for its id"},
		{"\xff\xff\xff\x7f\x10\0", 6, "a frame too long"},
		{"\x03\0\0\0\x20\0\x01", 7, "a message that is cut off"},
		{"\x0e\0\0\0\x02\0\x01\0\0\0\x01\0\0\0x\0\0\0\0", 18, "a message of the other direction"},
		{"\x0e\0\0\0\x10\0\x01\0\0\0\0\0\0\0\0\0\0\0", 18, "a submit without operations"},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct client *c = fixture_client(&f);

		send_raw(c, cases[i].bytes, cases[i].n);
		printf("# %s\n", cases[i].what);
		ok(c->lost, "ends the peer");
		client_end(c);
		f.n--;
	}
	is_out(append(&f, a, "rb", "alive"), SLUICE_OK, 0, "and nobody else");
}

static void test_hello(void)
{
	int fd[2];
	struct client *c = &f.c[f.n++];

	memset(c, 0, sizeof *c);
	ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0, "a pair");
	sl_ipc_init(&c->ipc, fd[0]);
	peer_add(f.store, fd[1], SL_STR("mute"));
	send_ops(c, &(struct sl_store_op){.kind = SLUICE_OP_REMOVE, .stream = SL_STR("rb")}, 1, NULL, 0);
	for (int i = 0; i < 5; i++)
		client_pump(&f, c);
	ok(c->lost && c->n_results == 0, "nothing is done for who has not said hello");
	client_end(c);
	memset(c, 0, sizeof *c);
	ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, fd) == 0, "a pair");
	sl_ipc_init(&c->ipc, fd[0]);
	peer_add(f.store, fd[1], SL_STR("old"));
	sl_put_store_hello(&c->ipc, &(struct sl_store_hello){.protocol = SL_STORE_PROTOCOL,
	                                                     .build = SL_STR("other"),
	                                                     .name = SL_STR("old")});
	for (int i = 0; i < 5; i++)
		client_pump(&f, c);
	ok(c->lost, "another build is refused");
	ok(memcmp(c->generation, se_generation(f.store->se), 16) == 0, "after it was told with whom it speaks");
	client_end(c);
	f.n--;
	is_str(contents(&f, "rb"), "y|z|alive|", "the stream is there");
}

static void test_death(void)
{
	struct client *c = fixture_client(&f);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "rb");

	watch(c, 1, "rb");
	op.data = SL_STR("posthumous");
	send_ops(c, &op, 1, NULL, 0);
	sl_ipc_flush(&c->ipc);
	client_end(c);
	f.n--;
	fixture_turns(&f, 5);
	is_str(contents(&f, "rb"), "y|z|alive|posthumous|", "what a peer sent before it died is done");
	is_int(f.store->n_peers, 2, "it is forgotten");
	append(&f, a, "rb", "!");
	watch(b, 60, "rb");
	sl_put_store_watch(&b->ipc, &(struct sl_store_watch){.watch = 60, .stream = SL_STR("rb")});
	for (int i = 0; i < 5; i++)
		client_pump(&f, b);
	ok(b->lost, "a watch number used twice ends the peer");
}

int main(void)
{
	fixture_open(&f, NULL);
	a = fixture_client(&f);
	b = fixture_client(&f);
	sl_log_level(SLUICE_LOG_ERR);
	test_notices();
	test_coalesced();
	test_events();
	test_prefix();
	test_rollback();
	test_slow();
	f.n = 2;
	test_stopped();
	f.n = 2;
	test_malformed();
	test_hello();
	test_death();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
