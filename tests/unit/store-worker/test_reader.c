/*
 * test_reader.c - lib/store_reader over what a writer in the same process writes: plans, steps, listings, and one
 * snapshot at a time.
 */
#include <unistd.h>

#include "lib/marks.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;
static struct sl_reader *r;

static struct sl_facts facts_of(const char *name)
{
	struct sl_facts facts;

	if (sl_reader_facts(r, sl_slice_str(name), f.wall_ms, &facts))
		facts.status = SLUICE_EINTERNAL;
	return facts;
}

static void test_open(void)
{
	struct sl_reader *none = NULL;
	uint8_t generation[16];
	const char *why = NULL;

	ok(sl_reader_open("/tmp/there/is/nothing", SL_SCHEMA, 0, &none, &why) != 0 && !none && why, "no directory");
	ok(sl_reader_open(f.dir, SL_SCHEMA + 1, 0, &none, &why) == SLUICE_ENOTSUP && !none,
	   "a schema that this program does not know");
	ok(sl_reader_open(f.dir, SL_SCHEMA, 1 << 20, &r, &why) == 0, "opened");
	sl_reader_begin(r);
	ok(sl_reader_generation(r, generation) == 0 && memcmp(generation, c->generation, 16) == 0,
	   "the generation of the welcome");
	sl_reader_end(r);
}

static void test_facts(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "facts");
	struct sl_store_outcome o;
	struct sl_facts facts, again;

	op.content_type = SL_STR("text/Plain; charset=x");
	op.flags = SLUICE_A_TTL | SLUICE_A_CLOSE;
	op.ttl_s = 60;
	op.data = SL_STR("12345");
	o = run(&f, c, op);
	sl_reader_begin(r);
	facts = facts_of("facts");
	is_int(facts.status, 0, "there");
	is_int(facts.flags, SLUICE_R_CLOSED | SLUICE_R_TTL, "flags");
	is_int(facts.incarnation, (int64_t)o.incarnation, "incarnation");
	is_int(facts.tail, 10, "tail");
	is_int(facts.ttl_s, 60, "ttl");
	is_int(facts.created_ms, (int64_t)f.wall_ms, "created");
	ok(sl_slice_is(facts.content_type, "text/Plain; charset=x"), "the type as it was given");
	ok(sl_reader_facts_id(r, facts.incarnation, &again) == 0 && again.tail == 10 && again.status == 0,
	   "by incarnation");
	is_int(facts_of("nowhere").status, SLUICE_ENOENT, "not there");
	sl_reader_end(r);
}

static void test_plan(void)
{
	static const struct {
		uint64_t from, budget, begin, end, bytes;
		int status;
	} cases[] = {
		{0, 100, 0, 24, 9, 0},   {0, 5, 0, 8, 3, 0},       {0, 6, 0, 16, 6, 0},  {0, 1, 0, 8, 3, 0},
		{8, 100, 8, 24, 6, 0},   {9, 100, 8, 24, 6, 0},    {15, 1, 8, 16, 3, 0}, {16, 100, 16, 24, 3, 0},
		{24, 100, 24, 24, 0, 0}, {999, 100, 24, 24, 0, 0}, {0, 0, 0, 0, 0, 0},
	};
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "plan");
	struct sl_facts facts;
	struct sl_plan plan;

	create(&f, c, "plan", "text/plain", "one");
	append(&f, c, "plan", "two");
	append(&f, c, "plan", "333");
	sl_reader_begin(r);
	facts = facts_of("plan");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		int rc = sl_reader_plan(r, &facts, cases[i].from, cases[i].budget, &plan, NULL);
		bool good = rc == cases[i].status && plan.from == cases[i].begin && plan.end == cases[i].end &&
		            plan.payload_bytes == cases[i].bytes;

		ok(good, "a plan");
		if (!good)
			printf("# case %zu: rc %d from %llu end %llu bytes %llu\n", i, rc,
			       (unsigned long long)plan.from, (unsigned long long)plan.end,
			       (unsigned long long)plan.payload_bytes);
	}
	sl_reader_end(r);
	op.trim_to = 8;
	run(&f, c, op);
	sl_reader_begin(r);
	facts = facts_of("plan");
	is_int(facts.earliest, 8, "trimmed");
	is_int(sl_reader_plan(r, &facts, 7, 100, &plan, NULL), SLUICE_EGONE, "below the earliest offset");
	is_int(sl_reader_plan(r, &facts, 8, 100, &plan, NULL), 0, "from it on");
	sl_reader_end(r);
}

static void test_messages(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "msg");
	struct sl_facts facts;
	struct sl_plan plan;
	struct sl_step s;

	op.content_type = SL_STR("application/json");
	op.data = SL_STR("1223334444");
	op.marks = SL_STR("\x04\x01\x02\x03\x04");
	run(&f, c, op);
	append(&f, c, "msg", "55555");
	sl_reader_begin(r);
	facts = facts_of("msg");
	ok(sl_reader_plan(r, &facts, 0, 100, &plan, NULL) == 0 && plan.messages == 5 && plan.payload_bytes == 15,
	   "five messages in two records");
	ok(sl_reader_step(r, facts.incarnation, 0, 0, plan.end, &s) == 0, "a step");
	ok(s.n_message_end == 5 && s.message_end[0] == 1 && s.message_end[1] == 3 && s.message_end[2] == 6 &&
	           s.message_end[3] == 10 && s.message_end[4] == 15,
	   "their ends");
	ok(s.n_record == 2 && s.record[0].end == 15 && s.record[0].data_end == 10 && s.record[1].end == 25 &&
	           s.record[1].data_end == 15,
	   "the ends of the records");
	is_int(s.next, 25, "where it goes on");
	ok(sl_reader_step(r, facts.incarnation, 15, 0, plan.end, &s) == 0 && sl_slice_is(s.data, "55555") &&
	           s.n_message_end == 1,
	   "from the second");
	is_int(sl_reader_step(r, 999999, 0, 0, 10, &s), SLUICE_EGONE, "an incarnation that is not there");
	sl_reader_end(r);
}

/* Records around the size of a step: what fits is not cut, what does not fit comes in pieces. */
static void test_steps(void)
{
	static const size_t sizes[] = {100000, 100000, 100000, SL_READ_STEP, 1, SL_READ_STEP + 1, 700000, 3};
	static char big[700000];
	struct sl_facts facts;
	struct sl_plan plan;
	uint64_t from, skip = 0, record = 0, req = 0, got = 0;
	bool good = true;

	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 31 + i / 7);
	create(&f, c, "steps", "application/octet-stream", "");
	for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
		struct sl_store_op op = op_of(SLUICE_OP_APPEND, "steps");
		int fd = memfd(big, sizes[i]);

		if (sizes[i] > 128 * 1024) {
			op.n_fd = 1;
			op.data_len = sizes[i];
			req = send_ops(c, &op, 1, &fd, 1);
		} else {
			op.data = SL_SLICE(big, sizes[i]);
			req = send_ops(c, &op, 1, NULL, 0);
		}
		close(fd);
	}
	wait_result(&f, c, req);
	sl_reader_begin(r);
	facts = facts_of("steps");
	ok(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, NULL) == 0 && plan.end == facts.tail && plan.messages == 8,
	   "all of it");
	for (from = plan.from; good && from < plan.end;) {
		struct sl_step s;
		size_t at = 0;

		good = sl_reader_step(r, facts.incarnation, from, skip, plan.end, &s) == 0 && s.data.len > 0 &&
		       s.data.len <= SL_READ_STEP;
		/* Walks what came against what was written. */
		while (good && at < s.data.len) {
			size_t n =
				sizes[record] - got < s.data.len - at ? (size_t)(sizes[record] - got) : s.data.len - at;

			good = memcmp((const char *)s.data.data + at, big + got, n) == 0;
			at += n;
			got += n;
			if (got == sizes[record]) {
				record++;
				got = 0;
			}
		}
		good = good && s.skip == got;
		from = s.next;
		skip = s.skip;
	}
	ok(good && record == 8 && got == 0, "in steps, byte by byte");
	sl_reader_end(r);
}

static bool same_step(const struct sl_step *a, const struct sl_step *b, const char *a_data, const struct sluice_record *a_record,
                      const uint32_t *a_end)
{
	bool same = a->next == b->next && a->skip == b->skip && a->data.len == b->data.len && a->n_record == b->n_record &&
	            a->n_message_end == b->n_message_end && memcmp(a_data, b->data.data, a->data.len) == 0 &&
	            memcmp(a_end, b->message_end, a->n_message_end * sizeof *a_end) == 0;

	for (size_t i = 0; same && i < a->n_record; i++)
		same = a_record[i].end == b->record[i].end && a_record[i].data_end == b->record[i].data_end;
	return same;
}

/* Whether the step that comes with a plan is the step that would be read next. */
static bool first_agrees(const struct sl_facts *facts, uint64_t from, uint64_t budget, uint64_t skip)
{
	static char data[SL_READ_STEP + 1];
	static struct sluice_record record[64];
	static uint32_t end[64];
	struct sl_step first = {.next = from, .skip = skip}, step;
	struct sl_plan plan;

	int rc = sl_reader_plan(r, facts, from, budget, &plan, &first);

	if (rc == SLUICE_EINVAL) /* more to leave out than there is */
		return sl_reader_step(r, facts->incarnation, plan.from, skip, plan.end, &step) == rc;
	if (rc || plan.from == plan.end || first.n_record > 64 || first.n_message_end > 64)
		return false;
	memcpy(data, first.data.data, first.data.len);
	memcpy(record, first.record, first.n_record * sizeof *record);
	memcpy(end, first.message_end, first.n_message_end * sizeof *end);
	return sl_reader_step(r, facts->incarnation, plan.from, skip, plan.end, &step) == 0 &&
	       same_step(&first, &step, data, record, end);
}

static void test_first(void)
{
	static const char *const names[] = {"msg", "steps", "steps2", "steps3"};
	static const uint64_t budgets[] = {1, 100001, 200000, 300000, 1000000, UINT64_MAX};
	static const uint64_t skips[] = {0, 1, 3};
	int bad = 0, asked = 0;

	fork_at(&f, c, "steps2", "steps", 200010, 0);
	append(&f, c, "steps2", "of the fork");
	append(&f, c, "steps2", "again");
	fork_at(&f, c, "steps3", "steps2", 200026, 0);
	append(&f, c, "steps3", "of its fork");
	sl_reader_begin(r);
	for (size_t n = 0; n < sizeof names / sizeof *names; n++) {
		struct sl_facts facts = facts_of(names[n]);

		for (uint64_t from = 0; from < facts.tail; from += from < 50 || (from > 200000 && from < 200060) ? 7 : 29989)
			for (size_t b = 0; b < sizeof budgets / sizeof *budgets; b++)
				for (size_t k = 0; k < sizeof skips / sizeof *skips; k++, asked++)
					bad += !first_agrees(&facts, from, budgets[b], skips[k]);
	}
	sl_reader_end(r);
	ok(bad == 0 && asked > 1000, "the step that comes with a plan");
	if (bad)
		printf("# %d of %d\n", bad, asked);
}

struct names {
	char text[512];
	int n, stop;
};

static int list_name(void *arg, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;
	struct names *n = arg;

	snprintf(n->text + strlen(n->text), sizeof n->text - strlen(n->text), "%.*s ", (int)e->stream.len,
	         (const char *)e->stream.data);
	return ++n->n == n->stop;
}

static const char *list(const char *prefix, const char *after, uint32_t limit, bool *more)
{
	static struct names n;

	n = (struct names){.n = 0};
	sl_reader_begin(r);
	if (sl_reader_list(r, sl_slice_str(prefix), sl_slice_str(after), limit, f.wall_ms, list_name, &n, more))
		snprintf(n.text, sizeof n.text, "failed");
	sl_reader_end(r);
	return n.text;
}

static void test_list(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "l/expired");
	bool more;

	op.flags = SLUICE_A_EXPIRES;
	op.expires_ms = f.wall_ms - 1;
	run(&f, c, op);
	for (const char *const *n =
	             (const char *const[]){"l/b", "l/a", "l/c", "l/c/d", "l", "m", "l/\xc3\xa4", "l/soft", NULL};
	     *n; n++)
		create(&f, c, *n, "text/plain", "");
	fork_at(&f, c, "m2", "l/soft", -1, 0);
	removal(&f, c, "l/soft");
	is_str(list("l/", "", 100, &more), "l/a l/b l/c l/c/d l/\xc3\xa4 ",
	       "in bytewise order; without expired and deleted ones");
	is_int(more, 0, "all");
	is_str(list("l/", "", 2, &more), "l/a l/b ", "two");
	is_int(more, 1, "there are more");
	is_str(list("l/", "l/b", 3, &more), "l/c l/c/d l/\xc3\xa4 ", "after a name");
	is_int(more, 0, "no more");
	is_str(list("l/", "l/bb", 1, &more), "l/c ", "after a name that is not there");
	is_str(list("l/", "a", 1, &more), "l/a ", "after a name before the prefix");
	is_str(list("l/", "z", 10, &more), "", "after a name behind it");
	is_str(list("nothing/", "", 10, &more), "", "no such prefix");
}

/* While a writer appends, each read transaction shows one state: numbers without a gap up to its tail. */
static void test_snapshots(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "snap");
	uint64_t sent = 0;
	int bad = 0;

	create(&f, c, "snap", "text/plain", "");
	for (int round = 0; round < 100; round++) {
		struct sl_facts facts, later;
		struct sl_plan plan;
		struct sl_step s;
		char data[32];
		uint64_t req = 0;

		sl_reader_begin(r);
		facts = facts_of("snap");
		for (int i = 0; i < 1 + round % 7; i++) {
			snprintf(data, sizeof data, "%05llu", (unsigned long long)sent++);
			op.data = sl_slice_str(data);
			req = send_ops(c, &op, 1, NULL, 0);
		}
		wait_result(&f, c, req);
		later = facts_of("snap");
		bad += later.tail != facts.tail;
		bad += sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, NULL) || plan.end != facts.tail;
		bad += facts.tail &&
		       (sl_reader_step(r, facts.incarnation, 0, 0, plan.end, &s) || s.data.len != facts.tail / 10 * 5);
		for (size_t i = 0; facts.tail && i < s.n_record; i++) {
			snprintf(data, sizeof data, "%05zu", i);
			bad += memcmp((const char *)s.data.data + 5 * i, data, 5) != 0;
		}
		sl_reader_end(r);
	}
	is_int(bad, 0, "one transaction, one state");
}

int main(void)
{
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_open();
	test_facts();
	test_plan();
	test_messages();
	test_steps();
	test_first();
	test_list();
	test_snapshots();
	sl_reader_close(r);
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
