/* The store table: writes with prefix and payloads, reads, TTL, subscriptions, life-cycle, listing, writer loss. */
#include <unistd.h>

#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static struct worker *w;
static struct sluice_ctx *ctx;
static const struct sluice_store *store = &store_table;

static struct {
	int done, status, room;
	uint32_t reason;
	uint64_t tail;
	int reads, list_n, list_more, lists;
	struct sluice_read_result read;
	char data[256], type[64], names[256];
	char order[64];
} seen;

static void note(char c)
{
	size_t n = strlen(seen.order);

	if (n + 1 < sizeof seen.order)
		seen.order[n] = c;
}

static void on_done(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	note('d');
	seen.done += (int)n;
	seen.status = r->status;
	seen.reason = r->reason;
	seen.tail = r->tail;
}

static void on_read(void *arg, const struct sluice_read_result *r)
{
	(void)arg;
	note('r');
	seen.reads++;
	seen.read = *r;
	snprintf(seen.data, sizeof seen.data, "%.*s", (int)r->data.len, r->data.data ? (const char *)r->data.data : "");
	snprintf(seen.type, sizeof seen.type, "%.*s", (int)r->content_type.len,
	         r->content_type.data ? (const char *)r->content_type.data : "");
}

static void on_list(void *arg, int status, const struct sluice_list_entry *e, size_t n, int more)
{
	(void)arg;
	seen.lists++;
	seen.status = status;
	seen.list_n = (int)n;
	seen.list_more = more;
	for (size_t i = 0; i < n; i++) {
		size_t at = strlen(seen.names);

		snprintf(seen.names + at, sizeof seen.names - at, "%.*s=%.*s ", (int)e[i].stream.len,
		         (const char *)e[i].stream.data, (int)e[i].content_type.len,
		         (const char *)e[i].content_type.data);
	}
}

static void on_room(void *arg)
{
	(void)arg;
	seen.room++;
}

static void begin(void)
{
	memset(&seen, 0, sizeof seen);
	fake_begin_status = 0;
	fake_step_max = SL_READ_STEP;
	fake_forget();
	w = fake_worker();
	ctx = fake_instance(w, "test", "");
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	fake_forget();
}

static void end(void)
{
	fake_worker_free(w);
	is_int(fake_open, 0, "the reader is closed");
	is_int(fake_begins, fake_ends, "every transaction ended");
}

static struct sluice_op op_of(uint32_t kind, const char *stream, const char *data)
{
	return (struct sluice_op){.size = sizeof(struct sluice_op),
	                          .kind = kind,
	                          .stream = sl_slice_str(stream),
	                          .data = sl_slice_str(data)};
}

static int read_from(const char *stream, uint64_t from, uint64_t budget, uint32_t flags)
{
	struct sluice_read rd = {
		.size = sizeof rd, .flags = flags, .stream = sl_slice_str(stream), .from = from, .budget = budget};

	return store->read(ctx, &rd, on_read, NULL, NULL);
}

/* -- writes -- */

static void test_submit(void)
{
	struct sluice_op op, list[6];
	struct sluice_ctx *sds, *pre;
	struct sluice_req *r;
	struct fake_heard *h;

	begin();
	op = op_of(SLUICE_OP_APPEND, "s", "abc");
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0 && fake_count(SL_STORE_submit) == 0,
	   "nothing leaves within the call");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h && strcmp(h->op[0].stream, "s") == 0 && strcmp(h->op[0].data, "abc") == 0,
	   "at the end of the turn it has left");
	fake_result(h->number, 0, 8);
	fake_send();
	fake_turn(w);
	ok(seen.done == 1 && seen.tail == 8, "and is answered");

	pre = fake_instance(w, "test", "in/");
	op = op_of(SLUICE_OP_CREATE, "s", NULL);
	op.flags = SLUICE_A_FORK;
	op.fork_of = SL_STR("src");
	ok(store->submit(pre, &op, 1, on_done, NULL, &r) == 0 && r, "with a prefix");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	is_str(h->op[0].stream, "in/s", "the stream has it");
	is_str(h->op[0].fork_of, "in/src", "the fork's source too");
	store->cancel(r);
	fake_result(h->number, 0, 8);
	fake_send();
	fake_turn(w);
	is_int(seen.done, 1, "a cancelled request is not answered");

	op = op_of(SLUICE_OP_APPEND, "__sds/x", "1");
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0, "a reserved name is taken");
	is_int(seen.done, 1, "not answered within the call");
	fake_turn(w);
	ok(seen.done == 2 && seen.status == SLUICE_EDENIED && seen.reason == SLUICE_WHY_RESERVED, "and refused");
	sds = fake_instance(w, "sds", "");
	ok(store->submit(sds, &op, 1, on_done, NULL, NULL) == 0, "its owner");
	fake_turn(w);
	is_str(fake_last(SL_STORE_submit)->op[0].stream, "__sds/x", "writes there");
	op = op_of(SLUICE_OP_APPEND, "__sdsx", "1");
	store->submit(ctx, &op, 1, on_done, NULL, NULL);
	fake_turn(w);
	is_str(fake_last(SL_STORE_submit)->op[0].stream, "__sdsx", "a longer first segment is anybody's");

	for (int i = 0; i < 6; i++)
		list[i] = op_of(SLUICE_OP_APPEND, i ? "b" : "a", "x");
	ok(store->submit(ctx, list, 6, on_done, NULL, NULL) == 0, "a transaction");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h->n_ops == 6 && strcmp(h->op[1].stream, "b") == 0, "is one message");
	op.kind = 99;
	is_int(store->submit(ctx, &op, 1, on_done, NULL, NULL), SLUICE_ENOTSUP, "an unknown kind");
	op = op_of(SLUICE_OP_APPEND, "", "x");
	is_int(store->submit(ctx, &op, 1, on_done, NULL, NULL), SLUICE_EINVAL, "an empty name");
	op = op_of(SLUICE_OP_APPEND, "s", "x");
	is_int(store->submit(ctx, &op, 0, on_done, NULL, NULL), SLUICE_EINVAL, "no operation");
	end();
}

static void test_bodies(void)
{
	const uint32_t len[3] = {1, 2, 3};
	struct sluice_op op, two[2];
	struct sluice_payload *p;
	struct fake_heard *h;
	char *big = calloc(1, 300 * 1024), got[8] = "";
	uint64_t used;

	begin();
	op = op_of(SLUICE_OP_APPEND, "s", "abbccc");
	op.message_len = len;
	op.n_messages = 3;
	two[0] = two[1] = op;
	ok(store->submit(ctx, two, 2, on_done, NULL, NULL) == 0, "two batches");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h->op[0].n_marks == 4 && h->op[1].n_marks == 4, "each with its marks");
	op.n_messages = 2;
	is_int(store->submit(ctx, &op, 1, on_done, NULL, NULL), SLUICE_EINVAL, "lengths that do not add up");

	p = payload_new(&w->budget);
	payload_add(p, SL_STR("abbccc"));
	op = op_of(SLUICE_OP_APPEND, "s", NULL);
	op.payload = p;
	op.message_len = len;
	op.n_messages = 3;
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0, "a small payload");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(strcmp(h->op[0].data, "abbccc") == 0 && h->op[0].n_marks == 4 && h->op[0].fd < 0,
	   "travels inside the frame");

	p = payload_new(&w->budget);
	memset(big, 'x', 300 * 1024);
	payload_add(p, SL_SLICE(big, 300 * 1024));
	used = w->budget.used;
	op = op_of(SLUICE_OP_APPEND, "s", NULL);
	op.payload = p;
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0 && used >= 300 * 1024, "a large payload");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h->op[0].fd >= 0 && h->op[0].data_len == 300 * 1024 && h->op[0].n_data == 0, "travels behind a descriptor");
	ok(pread(h->op[0].fd, got, 2, 300 * 1024 - 2) == 2 && strcmp(got, "xx") == 0, "all of it");
	close(h->op[0].fd);
	h->op[0].fd = -1;
	is_int(w->budget.used, used, "and counts until it is answered");
	fake_result(h->number, 0, 1);
	fake_send();
	fake_turn(w);
	is_int(w->budget.used, 0, "then no more");

	op = op_of(SLUICE_OP_APPEND, "s", NULL);
	op.data = SL_SLICE(big, SL_PAYLOAD_INLINE);
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0, "the largest slice that goes into the database");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h->op[0].fd < 0 && h->op[0].n_data == SL_PAYLOAD_INLINE, "travels inside the frame");
	op.data.len++;
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0, "a larger one");
	fake_turn(w);
	h = fake_last(SL_STORE_submit);
	ok(h->op[0].fd >= 0 && h->op[0].data_len == SL_PAYLOAD_INLINE + 1, "gets a descriptor of its own");
	close(h->op[0].fd);
	h->op[0].fd = -1;
	free(big);
	end();
}

static void test_loss_and_room(void)
{
	struct sluice_op op;
	char *big = calloc(1, 100 * 1024);
	int n = 0, rc;

	begin();
	op = op_of(SLUICE_OP_APPEND, "s", "plain");
	store->submit(ctx, &op, 1, on_done, NULL, NULL);
	op.flags = SLUICE_A_PRODUCER;
	op.producer = SL_STR("p");
	op.data = SL_STR("idem");
	store->submit(ctx, &op, 1, on_done, NULL, NULL);
	fake_turn(w);
	fake_writer_stop(w);
	ok(seen.done == 1 && seen.status == SLUICE_ELOST, "the plain one is lost");
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(fake_count(SL_STORE_submit), 1, "the producer's is repeated");
	fake_result(fake_last(SL_STORE_submit)->number, 0, 9);
	fake_send();
	fake_turn(w);
	ok(seen.done == 2 && seen.status == 0, "and answered");

	fake_writer_stop(w);
	op = op_of(SLUICE_OP_APPEND, "s", NULL);
	op.data = SL_SLICE(big, 100 * 1024);
	while ((rc = store->submit(ctx, &op, 1, on_done, NULL, NULL)) == 0)
		n++;
	is_int(rc, SLUICE_EAGAIN, "the queue is bounded");
	store->on_room(ctx, on_room, NULL);
	fake_turn(w);
	is_int(seen.room, 0, "no room yet");
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	for (int i = 0; i < 200 && seen.done < 2 + n; i++) {
		for (size_t k = 0; k < fake_n_heard; k++)
			if (fake_heard[k].id == SL_STORE_submit)
				fake_result(fake_heard[k].number, 0, 1);
		fake_forget();
		fake_send();
		fake_turn(w);
	}
	ok(seen.done == 2 + n && seen.room == 1, "room is told once when there is some");
	free(big);
	end();
}

/* -- reads -- */

static void test_read(void)
{
	const uint32_t len[2] = {1, 2};
	struct fake_stream *s = NULL;
	struct sluice_read rd;

	begin();
	s = fake_stream("s", 7);
	fake_append(s, "aaaa", NULL, 1);
	fake_append(s, "bcc", len, 2);
	ok(read_from("s", 0, 1000, 0) == 0 && seen.reads == 0, "a read is not answered within the call");
	fake_turn(w);
	is_str(seen.data, "aaaabcc", "then with everything");
	ok(seen.read.from == 0 && seen.read.end == 17 && seen.read.next == 17, "its bounds");
	ok(seen.read.payload_bytes == 7 && seen.read.messages == 3 && seen.read.n_message_end == 3, "its sums");
	ok(seen.read.flags & SLUICE_R_UP_TO_DATE, "up to date");
	is_str(seen.type, "text/plain", "its type");
	read_from("s", 3, 1, 0);
	fake_turn(w);
	is_str(seen.data, "aaaa", "inside a record means its beginning; at least one record whatever the budget");
	ok(!(seen.read.flags & SLUICE_R_UP_TO_DATE) && seen.read.end == 9, "not up to date");
	read_from("s", SLUICE_OFFSET_NOW, 100, 0);
	fake_turn(w);
	ok(seen.read.from == 17 && seen.read.end == 17 && (seen.read.flags & SLUICE_R_UP_TO_DATE) &&
	           !seen.read.data.len,
	   "now");
	read_from("s", 0, 0, 0);
	fake_turn(w);
	ok(seen.read.tail == 17 && seen.read.data.len == 0 && seen.read.status == 0, "facts only");
	read_from("none", 0, 10, 0);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_ENOENT, "no such stream");
	s->facts.earliest = 9;
	read_from("s", 0, 10, 0);
	fake_turn(w);
	ok(seen.read.status == SLUICE_EGONE && seen.read.reason == SLUICE_WHY_TRIMMED && seen.read.earliest == 9,
	   "trimmed");
	s->facts.earliest = 0;
	s->facts.status = SLUICE_EGONE;
	read_from("s", 0, 10, 0);
	fake_turn(w);
	ok(seen.read.status == SLUICE_EGONE && seen.read.reason == SLUICE_WHY_SOFT_DELETED, "soft-deleted");
	s->facts.status = 0;

	fake_step_max = 4;
	read_from("s", 0, 1000, 0);
	fake_turn(w);
	ok(seen.read.end == 17 && seen.read.next == 9 && seen.read.payload_bytes == 7,
	   "a long answer says where it goes on");
	rd = (struct sluice_read){.size = sizeof rd,
	                          .flags = SLUICE_RD_CONTINUE,
	                          .from = seen.read.next,
	                          .until = seen.read.end,
	                          .incarnation = seen.read.incarnation,
	                          .budget = 1000};
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	is_str(seen.data, "bcc", "and does");
	rd.incarnation = 12345;
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_EGONE, "unless the stream is gone");

	fake_facts = fake_begins = fake_ends = 0;
	for (int i = 0; i < 10; i++)
		read_from("s", 17, 10, 0);
	fake_turn(w);
	ok(fake_facts == 1 && fake_begins == 1, "ten reads of one stream in a turn: one transaction, one look");
	fake_begin_status = SLUICE_EINTERNAL;
	read_from("s", 0, 10, 0);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_EINTERNAL, "an unreadable volume is said");
	fake_begin_status = 0;
	end();
}

static void read_again(void *arg, const struct sluice_read_result *r)
{
	on_read(arg, r);
	read_from("s", 0, 10, 0);
}

static void test_read_turns(void)
{
	struct sluice_read rd = {.size = sizeof rd, .stream = SL_STR("s"), .budget = 10};
	struct sluice_req *r[3];

	begin();
	fake_stream("s", 7);
	store->read(ctx, &rd, read_again, NULL, NULL);
	fake_turn(w);
	ok(seen.reads == 1 && worker_pending(w), "a read made in a read's callback waits for the next transaction");
	fake_turn(w);
	ok(seen.reads == 2 && !worker_pending(w), "which is that of the next turn");
	for (int i = 0; i < 3; i++)
		store->read(ctx, &rd, on_read, NULL, &r[i]);
	store->cancel(r[1]);
	fake_turn(w);
	is_int(seen.reads, 4, "a cancelled one is not answered");

	fake_writer_stop(w);
	read_from("s", 0, 10, 0);
	fake_turn(w);
	is_int(seen.reads, 5, "reads go on without a writer");
	fake_writer_start(w);
	fake_writer_welcome(w, 'b');
	is_int(fake_open, 1, "another volume: opened anew, the old one closed");
	read_from("s", 0, 10, 0);
	fake_turn(w);
	ok(seen.read.incarnation != 7 && seen.read.status == 0, "the same number there is not the same stream");
	rd = (struct sluice_read){
		.size = sizeof rd, .flags = SLUICE_RD_CONTINUE, .incarnation = 7, .until = 100, .budget = 10};
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_EGONE, "an answer begun in the other volume is cut off");
	end();
}

static void test_ttl(void)
{
	struct fake_stream *s;
	struct sluice_read rd = {.size = sizeof rd, .stream = SL_STR("t"), .budget = 10, .flags = SLUICE_RD_RENEW};
	struct sluice_req *r;

	begin();
	s = fake_stream("t", 9);
	s->facts.flags = SLUICE_R_TTL;
	s->facts.ttl_s = 5;
	fake_append(s, "x", NULL, 1);
	read_from("t", 0, 10, SLUICE_RD_RENEW);
	fake_turn(w);
	fake_turn(w);
	ok(seen.reads == 0 && fake_last(SL_STORE_touch)->incarnation == 9 && fake_last(SL_STORE_touch)->live,
	   "the writer is asked first");
	fake_touched(fake_last(SL_STORE_touch)->number, 0);
	fake_send();
	fake_turn(w);
	ok(seen.reads == 1 && strcmp(seen.data, "x") == 0 && fake_count(SL_STORE_touch) == 1,
	   "alive: read, asked once");
	read_from("t", 0, 10, 0);
	fake_turn(w);
	fake_turn(w);
	ok(!fake_last(SL_STORE_touch)->live, "without renewal when not asked for");
	fake_touched(fake_last(SL_STORE_touch)->number, SLUICE_ENOENT);
	fake_send();
	fake_turn(w);
	ok(seen.reads == 2 && seen.read.status == SLUICE_ENOENT, "expired: said so");
	store->read(ctx, &rd, on_read, NULL, &r);
	fake_turn(w);
	fake_turn(w);
	store->cancel(r);
	fake_touched(fake_last(SL_STORE_touch)->number, 0);
	fake_send();
	fake_turn(w);
	is_int(seen.reads, 2, "cancelled while asking");
	read_from("t", 0, 10, SLUICE_RD_RENEW);
	fake_turn(w);
	fake_writer_stop(w);
	ok(seen.reads == 3 && seen.read.status == 0, "the writer ends meanwhile: served");
	read_from("t", 0, 10, SLUICE_RD_RENEW);
	fake_turn(w);
	ok(seen.reads == 4 && seen.read.status == 0, "no writer: served");
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(fake_count(SL_STORE_touch), 1, "the renewal that was under way is repeated");
	end();
}

static void test_list(void)
{
	begin();
	fake_stream("in/a", 1);
	fake_stream("in/b", 2);
	fake_stream("other", 3);
	ok(store->list(ctx, SL_STR(""), SL_SLICE(NULL, 0), 2, on_list, NULL, NULL) == 0, "a listing");
	fake_turn(w);
	ok(seen.list_n == 2 && seen.list_more, "is bounded and says so");
	is_str(seen.names, "in/a=text/plain in/b=text/plain ", "names and types");
	seen.names[0] = '\0';
	store->list(fake_instance(w, "test", "in/"), SL_STR(""), SL_STR("a"), 10, on_list, NULL, NULL);
	fake_turn(w);
	is_str(seen.names, "b=text/plain ", "with a prefix: only what is below, without it");
	ok(!seen.list_more && seen.lists == 2, "complete");
	end();
}

/* -- subscriptions -- */

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

static void test_retention(void)
{
	const struct sluice_retention_rule rule = {.prefix = SL_STR("log/"), .max_bytes = 100};

	begin();
	ok(store->retention(fake_instance(w, "test", "in/"), &rule, 1) == 0, "a rule");
	fake_turn(w);
	is_str(fake_last(SL_STORE_retention)->name, "in/log/", "is sent with the prefix");
	ok(store->retention(ctx, &rule, 1) == 0, "one of another instance");
	fake_writer_stop(w);
	fake_forget();
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	is_int(fake_last(SL_STORE_retention)->number, 2, "all are sent to each new writer");
	end();
}

static void test_older_build(void)
{
	begin();
	fake_writer_stop(w);
	w->state = WORKER_STOPPED; /* no engines to drain here */
	fake_writer_start(w);
	fake_writer_welcome(w, '!');
	ok(w->exit_code == EXIT_FAILURE, "a newer schema: this worker leaves");
	end();
}

/* -- snapshots -- */

static void test_snapshots(void)
{
	struct sluice_op op;
	struct fake_stream *s;
	struct sluice_read rd = {.size = sizeof rd, .flags = SLUICE_RD_CONTINUE | SLUICE_RD_SNAPSHOT, .stream = SL_STR("s")};

	begin();
	s = fake_stream("s", 5);
	fake_append(s, "abc", NULL, 1);
	fake_append(s, "defg", NULL, 1);
	s->facts.tail_pos = 7;
	read_from("s", SLUICE_OFFSET_NOW, 100, SLUICE_RD_SNAPSHOT);
	fake_turn(w);
	ok(seen.read.status == 0 && !(seen.read.flags & SLUICE_R_SNAPSHOT) && seen.read.snapshot_len == 0, "there is none");
	ok(seen.read.from == 0 && seen.read.end == 17 && seen.read.data.len == 0, "what is behind the beginning, without bytes");
	s->facts.snapshot = FAKE_SNAPSHOT;
	s->facts.earliest = 8;
	s->facts.earliest_pos = 3;
	read_from("s", SLUICE_OFFSET_NOW, 0, SLUICE_RD_SNAPSHOT);
	fake_turn(w);
	ok((seen.read.flags & SLUICE_R_SNAPSHOT) && seen.read.snapshot == 8 && seen.read.snapshot_pos == 3 &&
	           seen.read.snapshot_len == 15 && seen.read.snapshot_digest.len == 6,
	   "one is told of");
	ok(seen.read.from == 8 && seen.read.end == 8, "and nothing is behind it, when nothing was asked for");
	read_from("s", 0, 100, 0);
	fake_turn(w);
	ok(seen.read.status == SLUICE_EGONE && seen.read.reason == SLUICE_WHY_TRIMMED && seen.read.snapshot_pos == 3,
	   "who is too late hears of it as well");
	read_from("s", 8, 100, 0);
	fake_turn(w);
	ok(seen.read.status == 0 && !(seen.read.flags & SLUICE_R_SNAPSHOT), "others do not");
	fake_step_max = 9;
	rd.incarnation = store_id_out(&w->store, FAKE_SNAPSHOT);
	rd.until = 15;
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	ok(seen.read.status == 0 && seen.read.next == 9 && strcmp(seen.data, "what was ") == 0, "its bytes come in steps");
	rd.from = 9;
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	ok(seen.read.next == 15 && strcmp(seen.data, "before") == 0, "to its end");
	rd.incarnation = store_id_out(&w->store, FAKE_SNAPSHOT + 1);
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_EGONE, "one that was reaped");
	rd.incarnation = FAKE_SNAPSHOT | UINT64_C(9) << 56;
	store->read(ctx, &rd, on_read, NULL, NULL);
	fake_turn(w);
	is_int(seen.read.status, SLUICE_EGONE, "or of another volume");
	op = op_of(SLUICE_OP_SNAPSHOT, "s", "blob");
	op.flags = SLUICE_A_EXPECT_SNAPSHOT;
	op.expect_snapshot = SL_STR("x");
	ok(store->submit(ctx, &op, 1, on_done, NULL, NULL) == 0, "publishing");
	fake_turn(w);
	is_int(fake_last(SL_STORE_submit)->op[0].kind, SLUICE_OP_SNAPSHOT, "is an operation like others");
	op.kind = SLUICE_OP_SNAPSHOT + 1;
	is_int(store->submit(ctx, &op, 1, on_done, NULL, NULL), SLUICE_ENOTSUP, "a kind that this host does not know");
	end();
}

int main(void)
{
	test_snapshots();
	test_submit();
	test_bodies();
	test_loss_and_room();
	test_read();
	test_read_turns();
	test_ttl();
	test_list();
	test_subscribe();
	test_iteration();
	test_order();
	test_renewal();
	test_restored();
	test_prefix();
	test_retention();
	test_older_build();
	return tap_done();
}
