/* The tail cache: what it answers is byte for byte what the reader answers, and it answers nothing it does not have. */
#include "lib/marks.h"
#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static struct worker *w;
static struct host_watch *hw;

static uint32_t seed = 1;
static uint32_t rnd(uint32_t n)
{
	seed = seed * 1664525u + 1013904223u;
	return (seed >> 8) % n;
}

static void nothing(void *arg, const struct sluice_event *e)
{
	(void)arg;
	(void)e;
}

static void begin(void)
{
	struct sluice_sub *sub;

	fake_step_max = SL_READ_STEP;
	w = fake_worker();
	store_table.subscribe(fake_instance(w, "test", ""), SL_STR("s"), 0, nothing, NULL, &sub);
	hw = subs_find(w, SL_STR("s"));
	hw->incarnation = 7;
	hw->answered = true;
}

/* Appends a random record to the stream, and to the fill of the commit being made. */
static void add(struct fake_stream *s, struct sl_buf *fill, struct sl_buf *marks, uint32_t size)
{
	static const char text[] =
		"the quick brown fox jumps over the lazy dog and runs away from it as fast as it can";
	uint32_t messages = 1 + (rnd(3) == 0 ? rnd(4) : 0), len[16], n = 0;
	char data[4096];
	struct sl_buf one;

	for (uint32_t i = 0; i < messages; i++) {
		len[i] = 1 + rnd(size);
		for (uint32_t k = 0; k < len[i]; k++)
			data[n++] = text[(k + seed) % (sizeof text - 1)];
	}
	data[n] = '\0';
	fake_append(s, data, len, messages);
	sl_buf_init(&one);
	sl_marks_encode(&one, len, messages, n);
	sl_buf_add(fill, data, n);
	sl_marks_add(marks, n, sl_buf_slice(&one));
	sl_buf_fini(&one);
}

static bool same_step(const struct sl_step *a, const struct sl_step *b)
{
	bool same = sl_slice_eq(a->data, b->data) && a->n_message_end == b->n_message_end &&
	            a->n_record == b->n_record && a->next == b->next && a->skip == b->skip;

	for (size_t i = 0; same && i < a->n_message_end; i++)
		same = a->message_end[i] == b->message_end[i];
	for (size_t i = 0; same && i < a->n_record; i++)
		same = a->record[i].end == b->record[i].end && a->record[i].data_end == b->record[i].data_end;
	return same;
}

/* The reader's answer to the same question; step_max is large enough for one step. */
static bool agrees(const struct sl_facts *facts, uint64_t from, uint64_t budget, bool *hit)
{
	struct sl_plan cached = {0}, read = {0};
	struct sl_step c = {0}, r = {0};

	*hit = cache_read(w, hw, facts, from, budget, &cached, &c);
	if (!*hit)
		return true;
	if (sl_reader_plan(NULL, facts, from, budget, &read, &r))
		return false;
	return memcmp(&cached, &read, sizeof read) == 0 && same_step(&c, &r);
}

static void test_equal(void)
{
	struct fake_stream *s;
	struct sl_buf fill = {0}, marks = {0};
	int hits = 0, wrong = 0, asked = 0;
	bool hit;

	begin();
	s = fake_stream("s", 7);
	for (int commit = 0; commit < 300; commit++) {
		uint64_t from = s->facts.tail;

		fill.len = fill.off = marks.len = marks.off = 0;
		for (uint32_t i = 0, n = 1 + rnd(6); i < n; i++)
			add(s, &fill, &marks, commit % 3 == 0 ? 400 : 40);
		if (commit % 50 != 49) /* now and then a fill is dropped on the way */
			cache_fill(w, hw, from, sl_buf_slice(&fill), sl_buf_slice(&marks));
		for (int i = 0; i < 20; i++, asked++) {
			uint64_t tail = s->facts.tail,
				 at = rnd(4) ? tail - rnd((uint32_t)(tail < 3000 ? tail : 3000)) : rnd((uint32_t)tail);

			wrong += !agrees(&s->facts, at, rnd(5) ? 1 + rnd(20000) : 1 << 20, &hit);
			hits += hit;
		}
	}
	is_int(wrong, 0, "every answer equals the reader's");
	ok(hits > asked / 4 && hits < asked, "a good part of the questions is answered, not all");
	sl_buf_fini(&fill);
	sl_buf_fini(&marks);
	fake_worker_free(w);
}

static void test_refuses(void)
{
	struct fake_stream *s;
	struct sl_plan plan;
	struct sl_step step;
	struct sl_facts facts;

	begin();
	s = fake_stream("s", 7);
	fake_append(s, "abc", NULL, 1);
	ok(!cache_read(w, hw, &s->facts, 0, 100, &plan, &step), "an empty cache has nothing");
	cache_fill(w, hw, 0, SL_STR("abc"), SL_STR("\3\1"));
	ok(cache_read(w, hw, &s->facts, 0, 100, &plan, &step) && plan.end == 8 && step.data.len == 3, "one record");
	facts = s->facts;
	facts.incarnation = 8;
	ok(!cache_read(w, hw, &facts, 0, 100, &plan, &step), "not of another stream of that name");
	facts = s->facts;
	facts.tail = 20;
	ok(!cache_read(w, hw, &facts, 0, 100, &plan, &step), "not when more is known to be there");
	facts.tail = 0;
	ok(!cache_read(w, hw, &facts, 0, 100, &plan, &step), "not beyond what the facts allow");
	ok(!cache_read(w, hw, &s->facts, 8, 100, &plan, &step), "nothing at the end");
	cache_fill(w, hw, 8, SL_STR("defg"), SL_STR("\4\2\1\3"));
	facts.tail = 17;
	ok(cache_read(w, hw, &facts, 8, 100, &plan, &step) && plan.messages == 2 && step.message_end[0] == 1 &&
	           step.message_end[1] == 4,
	   "messages of a batch");
	cache_fill(w, hw, 30, SL_STR("zz"), SL_STR("\2\1"));
	facts.tail = 37;
	ok(!cache_read(w, hw, &facts, 8, 100, &plan, &step) && cache_read(w, hw, &facts, 30, 100, &plan, &step),
	   "a fill with a gap before it starts anew");
	cache_fill(w, hw, 37, SL_STR("zzz"), SL_STR("\2\1"));
	ok(!hw->cache, "marks that do not fit the bytes: dropped");
	cache_fill(w, hw, 37, SL_STR("zz"), SL_STR("\5\1"));
	ok(!hw->cache, "a record longer than the bytes: dropped");
	cache_fill(w, hw, 37, SL_STR("zz"), SL_STR("\2\0"));
	ok(!hw->cache && w->store.cache_bytes == 0, "malformed marks: dropped, nothing stays counted");
	fake_worker_free(w);
}

static void test_bounds(void)
{
	struct sl_buf fill = {0}, marks = {0};
	uint64_t at = 0;
	char block[1000];
	size_t most = 0;
	struct host_watch *first = NULL;
	struct sluice_ctx *ctx;
	int dropped = 0;

	begin();
	memset(block, 'b', sizeof block);
	for (int i = 0; i < 60; i++) {
		sl_buf_add(&fill, block, sizeof block);
		sl_marks_add(&marks, sizeof block, SL_SLICE(NULL, 0));
	}
	for (int i = 0; i < 100; i++) {
		cache_fill(w, hw, at, sl_buf_slice(&fill), sl_buf_slice(&marks));
		at += 60 * (sizeof block + SLUICE_RECORD_OVERHEAD);
		most = w->store.cache_bytes > most ? w->store.cache_bytes : most;
	}
	ok(most < 700 * 1024, "one stream is bounded");
	ctx = w->instances;
	for (int i = 0; i < 1500; i++) {
		char name[32];
		struct sluice_sub *sub;
		struct host_watch *other;

		snprintf(name, sizeof name, "stream%d", i);
		store_table.subscribe(ctx, sl_slice_str(name), 0, nothing, NULL, &sub);
		other = subs_find(w, sl_slice_str(name));
		first = first ? first : other;
		cache_fill(w, other, 0, sl_buf_slice(&fill), sl_buf_slice(&marks));
		most = w->store.cache_bytes > most ? w->store.cache_bytes : most;
	}
	ok(most <= 65 * 1024 * 1024, "all together too");
	for (int i = 0; i < 1500; i++) {
		char name[32];

		snprintf(name, sizeof name, "stream%d", i);
		dropped += !subs_find(w, sl_slice_str(name))->cache;
	}
	ok(dropped > 0 && !first->cache && subs_find(w, SL_STR("stream1499"))->cache,
	   "those used least recently go first");
	sl_buf_fini(&fill);
	sl_buf_fini(&marks);
	cache_drop_all(w);
	is_int(w->store.cache_bytes, 0, "and all when the volume is another one");
	fake_worker_free(w);
}

int main(void)
{
	test_equal();
	test_refuses();
	test_bounds();
	return tap_done();
}
