/*
 * test_channels.c - ephemeral channels from the plugin's side: two workers, one of which owns the registry. Order, who
 * hears what, pieces, kept values, ends. Tests only.
 */
#include <sys/socket.h>
#include <unistd.h>

#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static const struct sluice_ephemeral *eph = &ephemeral_table;
static struct worker *a, *b; /* a: presence */
static struct sluice_ctx *pa, *pb;

/* "k" := 42 at 1700000000000 and later */
#define FRESH(n) "\x01\x01k\x01\x03" n

struct ear { /* what one subscriber heard */
	struct sluice_chan_sub *sub;
	struct sluice_ctx *ctx;
	int states, events[8], mine, lost;
	int status;
	uint32_t flags;
	size_t state_len, kept, last_len;
	char last_key[32], kept_key[32];
	uint64_t tag;
	bool leave; /* unsubscribes in its first event */
};

static void on_state(void *arg, const struct sluice_channel_state *s)
{
	struct ear *e = arg;

	e->states++;
	e->status = s->status;
	e->flags = s->flags;
	e->state_len = s->state.len;
	e->kept = s->n_kept;
	if (s->n_kept)
		snprintf(e->kept_key, sizeof e->kept_key, "%.*s", (int)s->kept[0].key.len,
		         (const char *)s->kept[0].key.data);
}

static void on_event(void *arg, const struct sluice_channel_event *m)
{
	struct ear *e = arg;

	e->events[m->kind]++;
	e->mine += (m->flags & SLUICE_CHANNEL_MINE) != 0;
	e->lost += (m->flags & SLUICE_CHANNEL_LOST) != 0;
	e->tag = m->tag;
	e->last_len = m->data.len;
	snprintf(e->last_key, sizeof e->last_key, "%.*s", (int)m->key.len,
	         m->key.data ? (const char *)m->key.data : "");
	if (e->leave) {
		eph->unsubscribe(e->sub);
		e->sub = NULL;
	}
}

static int done_status, dones;

static void on_done(void *arg, int status)
{
	(void)arg;
	done_status = status;
	dones++;
}

static struct sluice_channel channel(const char *name, uint64_t incarnation)
{
	return (struct sluice_channel){
		.size = sizeof(struct sluice_channel), .name = sl_slice_str(name), .incarnation = incarnation};
}

static void turns(void)
{
	for (int i = 0; i < 12; i++) {
		fake_turn(a);
		event_base_loop(b->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
		worker_turn(b);
	}
}

static void link_b(void)
{
	int pair[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, pair) || eph_server_peer(a, pair[0]) ||
	    member_link(b, pair[1]))
		abort();
}

static void begin(void)
{
	const struct eph_registry_limits limits = {
		.channel = {.timeout_ms = INT64_MAX, .max_bytes = 4 << 20, .max_keys = 100},
		.channels = 4,
		.channels_of_stream = 2,
		.bytes = 8 << 20};

	a = fake_worker();
	pa = fake_instance(a, "presence", "");
	b = fake_worker();
	pb = fake_instance(b, "other", "");
	fake_writer_start(a);
	fake_writer_welcome(a, '1');
	member_init(a);
	member_init(b);
	a->member.wanted = b->member.wanted = true;
	if (eph_server_new(a, &limits))
		abort();
	link_b();
	turns();
}

static void free_b(void)
{
	fake_worker_free(b);
	worker_the = a; /* a process has one worker, otherwise */
}

static void end(void)
{
	free_b();
	fake_worker_free(a);
}

static void subscribe(struct ear *e, struct sluice_ctx *ctx, const char *name, uint64_t incarnation)
{
	struct sluice_channel c = channel(name, incarnation);

	memset(e, 0, sizeof *e);
	e->ctx = ctx;
	is_int(eph->subscribe(ctx, &c, on_state, on_event, e, &e->sub), 0, "subscribed");
}

static int apply(struct sluice_ctx *ctx, const char *name, uint64_t incarnation, sl_slice update)
{
	struct sluice_channel c = channel(name, incarnation);

	return eph->apply(ctx, &c, 7, update, on_done, NULL, NULL);
}

static void test_updates(void)
{
	struct ear x, y, late;

	begin();
	subscribe(&x, pa, "c", 0);
	subscribe(&y, pb, "c", 0);
	turns();
	is_int(x.states + y.states, 2, "each has had the state");
	is_int(x.flags & SLUICE_CHANNEL_WRITTEN, 0, "nobody has written");
	is_int(apply(pb, "c", 0, SL_STR(FRESH("\x54\x80\xa0\xab\xfe\xf9\x62"))), 0, "an update");
	turns();
	is_int(done_status, 0, "accepted");
	is_int(x.events[SLUICE_CHANNEL_DATA] + y.events[SLUICE_CHANNEL_DATA], 2,
	       "everybody hears of it, the sender too");
	is_int(x.mine * 10 + y.mine, 1, "and knows whose it was");
	is_int(x.tag, 7, "with the tag");
	is_int(apply(pa, "c", 0, SL_STR("\x01\x01")), SLUICE_EINVAL, "a malformed one is refused at once");
	subscribe(&late, pa, "c", 0);
	is_int(apply(pb, "c", 0, SL_STR(FRESH("\x56\x82\xa0\xab\xfe\xf9\x62"))), 0, "another one at the same time");
	turns();
	is_int(late.states, 1, "a newcomer");
	ok(late.state_len > 1 && (late.flags & SLUICE_CHANNEL_WRITTEN), "gets what was written");
	is_int(x.events[SLUICE_CHANNEL_DATA], 2, "the old ones get the event only");
	x.leave = true;
	apply(pa, "c", 0, SL_STR(FRESH("\x58\x84\xa0\xab\xfe\xf9\x62")));
	turns();
	ok(!x.sub && y.events[SLUICE_CHANNEL_DATA] == 3 && late.events[SLUICE_CHANNEL_DATA] >= 1,
	   "one may leave while it is told");
	eph->unsubscribe(y.sub);
	eph->unsubscribe(late.sub);
	apply(pa, "c", 0, SL_STR(FRESH("\x5a\x86\xa0\xab\xfe\xf9\x62")));
	turns();
	is_int(y.events[SLUICE_CHANNEL_DATA], 3, "nothing after unsubscribe");
	end();
}

static void test_large(void)
{
	enum { BYTES = 900000 };
	struct sl_buf u;
	struct ear x, late;
	uint8_t *bytes = calloc(1, BYTES + 4);
	struct eph_entry e = {.key = SL_STR("big"), .timestamp = INT64_C(1700000000000)};

	begin();
	sl_buf_init(&u);
	memcpy(bytes, "\x08\xa0\xf7\x36", 4);
	e.value = SL_SLICE(bytes, BYTES + 4);
	eph_put_count(&u, 1);
	eph_put_entry(&u, &e);
	subscribe(&x, pa, "large", 0);
	turns();
	is_int(apply(pb, "large", 0, sl_buf_slice(&u)), 0, "an update larger than a frame's share");
	turns();
	is_int(done_status, 0, "is accepted");
	is_int(x.last_len, u.len, "arrives in one piece");
	subscribe(&late, pb, "large", 0);
	turns();
	ok(late.state_len >= BYTES, "and is in the state");
	is_int(apply(pb, "large", 0, SL_SLICE(bytes, (1 << 20) + 1)), SLUICE_ETOOBIG, "one byte too many is not");
	free(bytes);
	sl_buf_fini(&u);
	eph->unsubscribe(x.sub);
	eph->unsubscribe(late.sub);
	end();
}

static void test_kept(void)
{
	struct sluice_channel c = channel("room", 0);
	uint64_t owner;
	struct ear x, late;

	begin();
	owner = eph->owner(pb);
	subscribe(&x, pa, "room", 0);
	turns();
	is_int(eph->put(pb, &c, 3, owner, SL_STR("ann"), SL_STR("{}"), on_done, NULL, NULL), 0, "put");
	eph->cast(pb, &c, 4, SL_STR("hello"), on_done, NULL, NULL);
	turns();
	is_int(x.events[SLUICE_CHANNEL_PUT] * 10 + x.events[SLUICE_CHANNEL_CAST], 11, "heard, like a cast");
	subscribe(&late, pa, "room", 0);
	turns();
	is_int(late.kept, 1, "kept for newcomers");
	is_str(late.kept_key, "ann", "under its key");
	eph->disown(pb, owner);
	turns();
	is_int(x.events[SLUICE_CHANNEL_GONE], 1, "goes with its owner");
	is_str(x.last_key, "ann", "by its key");
	eph->put(pb, &c, 3, eph->owner(pb), SL_STR("bob"), SL_STR("{}"), NULL, NULL, NULL);
	turns();
	eph->unsubscribe(late.sub);
	free_b();
	b = fake_worker();
	pb = fake_instance(b, "other", "");
	member_init(b);
	turns();
	is_int(x.events[SLUICE_CHANNEL_GONE], 2, "goes with its worker");
	eph->unsubscribe(x.sub);
	end();
}

static void on_list(void *arg, int status, const struct sluice_channel_entry *e, size_t n, int more)
{
	char *text = arg;

	snprintf(text, 200, "%d more=%d", status, more);
	for (size_t i = 0; i < n; i++)
		snprintf(text + strlen(text), 200 - strlen(text), " %.*s:%d/%d", (int)e[i].name.len,
		         (const char *)e[i].name.data, (int)e[i].entries, (int)e[i].subscribers);
}

static void test_ends(void)
{
	struct ear x, y, z;
	char text[200] = "";

	begin();
	fake_stream("s", 5);
	subscribe(&x, pb, "s?1", 5);
	subscribe(&y, pb, "free", 0);
	subscribe(&z, pb, "gone", 9);
	turns();
	is_int(z.status, SLUICE_ENOENT, "no channel for a stream that is gone");
	apply(pa, "free", 0, SL_STR(FRESH("\x54\x80\xa0\xab\xfe\xf9\x62")));
	turns();
	eph->list(pb, SL_STR(""), SL_SLICE(NULL, 0), 10, on_list, text, NULL);
	turns();
	is_str(text, "0 more=0 free:1/1 s?1:0/1", "the list");
	eph->clear(pb, SL_STR("fr"), 0, on_done, NULL, NULL);
	turns();
	is_int(y.events[SLUICE_CHANNEL_TERMINATE], 0, "a soft clear leaves subscribers");
	apply(pa, "free", 0, SL_STR(FRESH("\x54\x80\xa0\xab\xfe\xf9\x62")));
	turns();
	is_int(y.events[SLUICE_CHANNEL_DATA], 2, "who hear what comes later, an old timestamp too");
	eph->clear(pa, SL_STR("fr"), 1, on_done, NULL, NULL);
	turns();
	is_int(y.events[SLUICE_CHANNEL_TERMINATE], 1, "a hard one ends them");
	fake_streams[0].name[0] = '\0';
	fake_life(fake_last(SL_STORE_watch_prefix)->number, SLUICE_EV_RESYNC, "");
	fake_send();
	turns();
	is_int(x.events[SLUICE_CHANNEL_TERMINATE], 1, "and so does the end of the stream");
	is_int(x.lost + y.lost, 0, "in order");
	eph->unsubscribe(x.sub);
	eph->unsubscribe(y.sub);
	eph->unsubscribe(z.sub);
	end();
}

static void test_bounds(void)
{
	struct ear e[6];

	begin();
	fake_stream("s", 5);
	for (int i = 0; i < 6; i++) {
		char name[8] = {(char)('a' + i), '\0'};

		subscribe(&e[i], pb, name, i < 3 ? 5 : 0);
	}
	turns();
	is_int(e[1].status, 0, "two channels of a stream");
	is_int(e[2].status, SLUICE_ETOOBIG, "not three");
	is_int(e[4].status, 0, "four channels in all");
	is_int(e[5].status, SLUICE_ETOOBIG, "not five");
	for (int i = 0; i < 6; i++)
		eph->unsubscribe(e[i].sub);
	turns();
	subscribe(&e[0], pb, "z", 0);
	turns();
	is_int(e[0].status, 0, "what nobody follows makes room");
	eph->unsubscribe(e[0].sub);
	end();
}

static void test_lost(void)
{
	struct sluice_channel c = channel("c", 0);
	struct ear x, y;

	begin();
	subscribe(&x, pb, "c", 0);
	turns();
	subscribe(&y, pb, "d", 0);
	dones = 0;
	apply(pb, "c", 0, SL_STR(FRESH("\x54\x80\xa0\xab\xfe\xf9\x62")));
	eph_server_free(a);
	turns();
	is_int(x.lost, 1, "who listened is told");
	is_int(y.status, SLUICE_ELOST, "and who was about to");
	ok(dones == 1 && done_status == SLUICE_ELOST, "an update under way has an unknown outcome");
	is_int(eph->subscribe(pb, &c, on_state, on_event, &x, &y.sub), SLUICE_EBUSY, "nothing works meanwhile");
	b->member.wanted = false;
	is_int(eph->subscribe(pb, &c, on_state, on_event, &x, &y.sub), SLUICE_ENOTSUP, "or ever, without presence");
	end();
}

int main(void)
{
	test_updates();
	test_large();
	test_kept();
	test_ends();
	test_bounds();
	test_lost();
	return tap_done();
}
