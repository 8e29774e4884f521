/* The store table, what is read: ranges, turns, streams with a TTL, lists, snapshots. */
#include "tests/unit/frontend/seen.h"

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

static void test_snapshots(void)
{
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
	end();
}

int main(void)
{
	test_read();
	test_read_turns();
	test_ttl();
	test_list();
	test_snapshots();
	return tap_done();
}
