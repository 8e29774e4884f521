/* The store table, what is heard: subscriptions of streams and prefixes, their order, a writer that comes back, another volume. */
#include "tests/unit/frontend/seen.h"

struct listener {
	struct sluice_sub *sub;
	int n;
	uint32_t kind;
	uint64_t tail;
	char name[64];
	struct listener *drops, *adds; /* done in the callback */
	bool leaves;
};

static void on_event(void *arg, const struct sluice_event *e)
{
	struct listener *l = arg;

	note('e');
	l->n++;
	l->kind = e->kind;
	l->tail = e->tail;
	snprintf(l->name, sizeof l->name, "%.*s", (int)e->stream.len,
	         e->stream.data ? (const char *)e->stream.data : "");
	if (l->drops) {
		store->unsubscribe(l->drops->sub);
		l->drops->sub = NULL;
		l->drops = NULL;
	}
	if (l->adds) {
		store->subscribe(ctx, SL_STR("s"), 0, on_event, l->adds, &l->adds->sub);
		l->adds = NULL;
	}
	if (l->leaves) {
		store->unsubscribe(l->sub);
		l->sub = NULL;
	}
}

static void listen_to(struct listener *l, const char *name, int live)
{
	ok(store->subscribe(ctx, sl_slice_str(name), live, on_event, l, &l->sub) == 0, "subscribed");
}

static void test_subscribe(void)
{
	struct listener a = {0}, b = {0}, c = {0};
	uint64_t watch;

	begin();
	listen_to(&a, "s", 0);
	listen_to(&b, "s", 1);
	fake_turn(w);
	is_int(fake_count(SL_STORE_watch), 1, "two subscribers, one watch");
	is_int(fake_last(SL_STORE_watch_live)->live, 1, "live because of the second");
	ok(a.n == 0 && b.n == 0, "no event before the writer's answer");
	watch = fake_last(SL_STORE_watch)->number;
	fake_watched(watch, SLUICE_EV_TAIL, 7, 40);
	fake_send();
	fake_turn(w);
	ok(a.n == 1 && b.n == 1 && a.kind == SLUICE_EV_TAIL && a.tail == 40, "then one each");
	is_str(a.name, "s", "with the name");
	listen_to(&c, "s", 0);
	is_int(c.n, 0, "nothing within the call");
	ok(worker_pending(w), "work is left");
	fake_turn(w);
	ok(c.n == 1 && c.tail == 40 && a.n == 1 && fake_count(SL_STORE_watch) == 1,
	   "a later one hears the level as known here");
	fake_notice(watch, SLUICE_EV_TAIL, 50, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	fake_notice(watch, SLUICE_EV_TAIL | SLUICE_EV_CLOSED, 60, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	fake_send();
	fake_turn(w);
	ok(a.n == 2 && a.tail == 60 && (a.kind & SLUICE_EV_CLOSED), "two notices of a turn are one event");
	store->unsubscribe(b.sub);
	fake_turn(w);
	is_int(fake_last(SL_STORE_watch_live)->live, 0, "the live reader left");
	store->unsubscribe(a.sub);
	store->unsubscribe(c.sub);
	fake_turn(w);
	is_int(fake_count(SL_STORE_unwatch), 0, "the watch lingers");
	listen_to(&a, "s", 0);
	fake_turn(w);
	ok(fake_count(SL_STORE_watch) == 1 && (a.kind & SLUICE_EV_CLOSED),
	   "and serves the next, who hears that it is closed");
	fake_notice(watch, SLUICE_EV_REMOVED | SLUICE_EV_SOFT, 60, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	fake_send();
	fake_turn(w);
	is_int(a.kind, SLUICE_EV_REMOVED | SLUICE_EV_SOFT, "removed");
	store->unsubscribe(a.sub);
	listen_to(&a, "s", 0);
	fake_turn(w);
	is_int(fake_count(SL_STORE_watch), 2, "a later subscription makes a new watch");
	fake_watched(fake_last(SL_STORE_watch)->number, SLUICE_EV_REMOVED, 0, 0);
	fake_send();
	fake_turn(w);
	ok(a.kind == SLUICE_EV_REMOVED, "of a stream that is not there: removed at once");
	end();
}

static void test_iteration(void)
{
	struct listener l[4] = {{0}}, fresh = {0};
	uint64_t watch;

	begin();
	for (int i = 0; i < 4; i++)
		listen_to(&l[i], "s", 0);
	fake_turn(w);
	watch = fake_last(SL_STORE_watch)->number;
	/* Told in the order 3, 2, 1, 0: 3 drops the next one, 1 leaves and adds a newcomer. */
	l[3].drops = &l[2];
	l[1].leaves = true;
	l[1].adds = &fresh;
	fake_watched(watch, SLUICE_EV_TAIL, 7, 40);
	fake_send();
	fake_turn(w);
	ok(l[3].n == 1 && l[2].n == 0 && l[1].n == 1 && l[0].n == 1,
	   "those dropped on the way are not told, the others once");
	is_int(fresh.n, 0, "the newcomer waits");
	fake_turn(w);
	is_int(fresh.n, 1, "for the next turn");
	l[0].drops = &l[3];
	l[0].leaves = true;
	fresh.leaves = true;
	fake_notice(watch, SLUICE_EV_REMOVED, 40, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	fake_send();
	fake_turn(w);
	ok(fresh.n == 2 && l[3].n == 2 && l[0].n == 2, "a removal with everybody leaving");
	is_int(ctx->n_handles, 0, "no handle is left");
	end();
}

static void test_order(void)
{
	struct sluice_op op = op_of(SLUICE_OP_APPEND, "s", "x");
	struct listener a = {0};
	uint64_t watch;

	begin();
	fake_stream("s", 7);
	listen_to(&a, "s", 0);
	store->submit(ctx, &op, 1, on_done, NULL, NULL);
	fake_turn(w);
	watch = fake_last(SL_STORE_watch)->number;
	memset(seen.order, 0, sizeof seen.order);
	/* Even when the notice was first on the wire: results, then events, then reads. */
	fake_watched(watch, SLUICE_EV_TAIL, 7, 0);
	fake_result(fake_last(SL_STORE_submit)->number, 0, 6);
	fake_notice(watch, SLUICE_EV_TAIL, 6, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	fake_send();
	read_from("s", 0, 10, 0);
	fake_turn(w);
	is_str(seen.order, "der", "results, events, reads");
	end();
}

static void test_renewal(void)
{
	struct listener a = {0}, b = {0};

	begin();
	listen_to(&a, "s", 1);
	listen_to(&b, "t", 0);
	fake_turn(w);
	for (size_t i = 0; i < fake_n_heard; i++)
		if (fake_heard[i].id == SL_STORE_watch)
			fake_watched(fake_heard[i].number, SLUICE_EV_TAIL, strcmp(fake_heard[i].name, "s") ? 8 : 7, 10);
	fake_send();
	fake_turn(w);
	ok(a.n == 1 && b.n == 1, "both told");
	fake_writer_stop(w);
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(fake_count(SL_STORE_watch), 2, "watches are renewed");
	for (size_t i = 0; i < fake_n_heard; i++)
		if (fake_heard[i].id == SL_STORE_watch)
			fake_watched(fake_heard[i].number, SLUICE_EV_TAIL, strcmp(fake_heard[i].name, "s") ? 99 : 7,
			             30);
	fake_send();
	fake_turn(w);
	ok(a.n == 2 && a.kind == SLUICE_EV_TAIL && a.tail == 30, "each renewal means: look again");
	ok(b.n == 2 && b.kind == SLUICE_EV_REMOVED, "another stream of that name: for its readers theirs is gone");
	fake_turn(w);
	is_int(fake_count(SL_STORE_unwatch), 1, "and no longer watched");
	end();
}

/* A restored volume may know the same incarnation with an earlier tail, and open again: levels heard before do not hold. */
static void test_restored(void)
{
	struct listener a = {0}, b = {0};
	uint64_t old;

	begin();
	listen_to(&a, "s", 1);
	fake_turn(w);
	old = fake_last(SL_STORE_watch)->number;
	fake_watched(old, SLUICE_EV_TAIL | SLUICE_EV_CLOSED, 7, 40);
	fake_send();
	fake_turn(w);
	ok(a.n == 1 && a.tail == 40 && (a.kind & SLUICE_EV_CLOSED), "closed at 40");
	fake_writer_stop(w);
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'b');
	fake_turn(w);
	ok(a.n == 2 && a.kind == SLUICE_EV_REMOVED, "another volume: for its readers the stream is gone");
	store->unsubscribe(a.sub);
	fake_forget();
	listen_to(&b, "s", 0);
	fake_turn(w);
	is_int(b.n, 0, "a new one is told nothing of the old volume");
	ok(fake_count(SL_STORE_watch) == 1 && fake_last(SL_STORE_watch)->number != old, "it has a watch of its own");
	if (fake_count(SL_STORE_watch)) {
		fake_watched(fake_last(SL_STORE_watch)->number, SLUICE_EV_TAIL, 7, 10);
		fake_send();
		fake_turn(w);
	}
	ok(b.n == 1 && b.kind == SLUICE_EV_TAIL && b.tail == 10, "and hears what is true now");
	end();
}

static void test_prefix(void)
{
	struct listener a = {0};
	struct sluice_ctx *pre;
	uint64_t watch;

	begin();
	pre = fake_instance(w, "test", "in/");
	ok(store->subscribe_prefix(pre, SL_STR("x"), on_event, &a, &a.sub) == 0, "a prefix");
	fake_turn(w);
	is_str(fake_last(SL_STORE_watch_prefix)->name, "in/x", "with the instance's");
	watch = fake_last(SL_STORE_watch_prefix)->number;
	fake_watched(watch, SLUICE_EV_RESYNC, 0, 0);
	fake_send();
	fake_turn(w);
	is_int(a.kind, SLUICE_EV_RESYNC, "registered: list now");
	fake_life(watch, SLUICE_EV_CREATED, "in/x1");
	fake_life(watch, SLUICE_EV_REMOVED | SLUICE_EV_SOFT, "in/x2");
	fake_send();
	fake_turn(w);
	ok(a.n == 3 && a.kind == (SLUICE_EV_REMOVED | SLUICE_EV_SOFT), "every change is told");
	is_str(a.name, "x2", "without the prefix");
	for (int i = 0; i < 2000; i++)
		fake_life(watch, SLUICE_EV_CREATED, "in/x3");
	fake_send();
	fake_turn(w);
	fake_turn(w);
	ok(a.n < 2003, "too many at once");
	fake_writer_stop(w);
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(fake_count(SL_STORE_watch_prefix), 1, "renewed");
	a.leaves = true;
	fake_watched(fake_last(SL_STORE_watch_prefix)->number, SLUICE_EV_RESYNC, 0, 0);
	fake_send();
	fake_turn(w);
	ok(a.kind == SLUICE_EV_RESYNC && !a.sub, "list again; leaving in the callback");
	fake_turn(w);
	is_int(fake_count(SL_STORE_unwatch), 1, "ends the watch");
	end();
}

int main(void)
{
	test_subscribe();
	test_iteration();
	test_order();
	test_renewal();
	test_restored();
	test_prefix();
	return tap_done();
}
