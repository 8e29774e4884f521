/*
 * test_op.c - create, append, close, remove, trim, lists and producers: outcomes in the order that durable-streams 18
 * demands.
 */
#include "lib/marks.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;

static void test_create(void)
{
	struct sl_store_outcome o = create(&f, c, "a", "text/plain; charset=utf-8", "");
	struct sl_store_op op;

	is_out(o, SLUICE_OK, 0, "create");
	is_int(o.flags, SLUICE_R_CREATED, "it says that it was new");
	is_int(o.tail, 0, "empty");
	ok(o.incarnation > 0, "an incarnation");
	o = create(&f, c, "a", "TEXT/Plain", "");
	is_out(o, SLUICE_OK, 0, "the same again, type compared without case and parameters");
	is_int(o.flags, 0, "not created");
	is_out(create(&f, c, "a", "text/html", ""), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "another type");
	op = op_of(SLUICE_OP_CREATE, "a");
	op.content_type = SL_STR("text/plain");
	op.flags = SLUICE_A_CLOSE;
	is_out(run(&f, c, op), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "closed differs");
	op.flags = SLUICE_A_TTL;
	op.ttl_s = 5;
	is_out(run(&f, c, op), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "expiry differs");
	op.flags = SLUICE_A_TTL | SLUICE_A_EXPIRES;
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "both kinds of expiry");
	o = create(&f, c, "b", "", "hello");
	is_out(o, SLUICE_OK, 0, "create with data, without type");
	is_int(o.start, 0, "data begin at 0");
	is_int(o.tail, 10, "payload and 5");
	is_str(contents(&f, "b"), "hello|", "it can be read");
	is_out(create(&f, c, "b", "application/octet-stream", "other"), SLUICE_OK, 0, "default type");
	is_str(contents(&f, "b"), "hello|", "an existing stream does not take the data");
	op = op_of(SLUICE_OP_CREATE, "refused");
	op.flags = SLUICE_A_REFUSE;
	is_out(run(&f, c, op), SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "a bad payload is refused last");
	is_str(contents(&f, "refused"), "(-6)", "and leaves nothing");
	op.stream = SL_STR("b");
	is_out(run(&f, c, op), SLUICE_OK, 0, "but what exists is told first");
	op = op_of(SLUICE_OP_CREATE, "closed");
	op.flags = SLUICE_A_CLOSE;
	op.data = SL_STR("x");
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "created closed");
	is_int(o.flags, SLUICE_R_CREATED | SLUICE_R_CLOSED, "flags");
	op.stream = SL_STR("closed-empty");
	op.data = SL_STR("");
	o = run(&f, c, op);
	is_int(o.flags, SLUICE_R_CREATED | SLUICE_R_CLOSED, "created closed and empty");
}

static void test_form(void)
{
	char name[SL_NAME_MAX + 2];
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "");

	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "empty name");
	memset(name, 'n', sizeof name);
	op.stream = SL_SLICE(name, SL_NAME_MAX + 1);
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "name too long");
	op.stream = SL_SLICE(name, SL_NAME_MAX);
	is_out(run(&f, c, op), SLUICE_OK, 0, "longest name");
	for (const char *const *bad =
	             (const char *const[]){"\xff", "a\xc0\x80", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xe2\x82", NULL};
	     *bad; bad++) {
		op.stream = sl_slice_str(*bad);
		is_out(run(&f, c, op), SLUICE_EINVAL, 0, "name that is not UTF-8");
	}
	op.stream = SL_STR("\xf0\x9f\x8c\x8a\xe2\x82\xac\xc3\xa4");
	is_out(run(&f, c, op), SLUICE_OK, 0, "name in UTF-8");
	op = op_of(99, "a");
	is_out(run(&f, c, op), SLUICE_ENOTSUP, 0, "unknown kind");
	op = op_of(SLUICE_OP_APPEND, "a");
	op.data = SL_STR("abc");
	op.marks = SL_STR("\x02\x01\x01");
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "marks that do not add up");
	op.marks = SL_STR("\x01\x03");
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "marks of a single message");
	op.marks = SL_STR("");
	op.flags = SLUICE_A_PRODUCER;
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "empty producer id");
	op.producer = SL_STR("p");
	op.producer_epoch = UINT64_MAX;
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "a number that no column holds");
	op = op_of(SLUICE_OP_APPEND, "a");
	op.n_fd = 1;
	op.data_len = 3;
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "a payload announced without a descriptor");
}

static void test_append(void)
{
	struct sl_store_outcome o;
	struct sl_store_op op;

	create(&f, c, "s", "text/plain", "");
	is_out(append(&f, c, "missing", "x"), SLUICE_ENOENT, 0, "no such stream");
	o = append(&f, c, "s", "one");
	is_out(o, SLUICE_OK, 0, "append");
	is_int(o.start, 0, "start");
	is_int(o.tail, 8, "tail");
	o = append(&f, c, "s", "two");
	is_int(o.start, 8, "next start");
	is_int(o.tail, 16, "next tail");
	is_str(contents(&f, "s"), "one|two|", "records");
	is_out(append(&f, c, "s", ""), SLUICE_EINVAL, 0, "nothing to append");
	op = op_of(SLUICE_OP_APPEND, "s");
	op.data = SL_STR("x");
	op.content_type = SL_STR("text/html");
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_TYPE, "other type");
	op.content_type = SL_STR("text/plain;charset=x");
	op.flags = SLUICE_A_EXPECT_TAIL;
	op.expect_tail = 8;
	o = run(&f, c, op);
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "unexpected tail");
	is_int(o.tail, 16, "the true one is told");
	op.expect_tail = 16;
	is_out(run(&f, c, op), SLUICE_OK, 0, "expected tail");
	op.flags = SLUICE_A_STREAM_SEQ;
	op.stream_seq = SL_STR("09");
	is_out(run(&f, c, op), SLUICE_OK, 0, "first Stream-Seq");
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ, "equal Stream-Seq");
	op.stream_seq = SL_STR("10");
	is_out(run(&f, c, op), SLUICE_OK, 0, "greater Stream-Seq");
	op.stream_seq = SL_STR("2");
	op.flags |= SLUICE_A_REFUSE;
	is_out(run(&f, c, op), SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "refused after all checks");
	op.flags &= ~SLUICE_A_REFUSE;
	is_out(run(&f, c, op), SLUICE_OK, 0, "bytewise greater; the refused one did not count");
	op.flags |= SLUICE_A_REFUSE;
	op.stream_seq = SL_STR("1");
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ, "Stream-Seq before the payload");
}

static void test_close(void)
{
	struct sl_store_outcome o;
	struct sl_store_op op = op_of(SLUICE_OP_CLOSE, "cl");

	is_out(run(&f, c, op), SLUICE_ENOENT, 0, "close: no such stream");
	create(&f, c, "cl", "text/plain", "x");
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "close");
	is_int(o.flags, SLUICE_R_CLOSED, "closed");
	is_out(run(&f, c, op), SLUICE_OK, 0, "again");
	o = append(&f, c, "cl", "y");
	is_out(o, SLUICE_ECLOSED, 0, "append to a closed stream");
	is_int(o.tail, 6, "with the final offset");
	is_int(o.flags, SLUICE_R_CLOSED, "and the flag");
	op = op_of(SLUICE_OP_APPEND, "cl");
	op.data = SL_STR("z");
	op.content_type = SL_STR("text/html");
	is_out(run(&f, c, op), SLUICE_ECLOSED, 0, "closed comes before the type");
	create(&f, c, "cl2", "text/plain", "");
	op = op_of(SLUICE_OP_APPEND, "cl2");
	op.flags = SLUICE_A_CLOSE;
	op.data = SL_STR("last");
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "append and close");
	is_int(o.flags, SLUICE_R_CLOSED, "in one step");
	is_str(contents(&f, "cl2"), "last|", "the data are there");
	create(&f, c, "cl3", "text/plain", "");
	op.stream = SL_STR("cl3");
	op.data = SL_STR("");
	is_out(run(&f, c, op), SLUICE_OK, 0, "append of nothing with close is a close");
}

static void test_producer(void)
{
	struct sl_store_outcome o;
	struct sl_store_op op;

	create(&f, c, "p", "text/plain", "");
	o = produce(&f, c, "p", "w", 3, 1, "x");
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP, "an unknown producer begins at 0");
	is_int(o.flags & SLUICE_R_PRODUCER, 0, "nothing is known of it");
	o = produce(&f, c, "p", "w", 3, 0, "x");
	is_out(o, SLUICE_OK, 0, "at any epoch");
	is_int(o.producer_epoch, 3, "epoch");
	o = produce(&f, c, "p", "w", 3, 0, "other");
	is_out(o, SLUICE_OK, 0, "duplicate");
	is_int(o.flags & SLUICE_R_DUPLICATE, SLUICE_R_DUPLICATE, "is marked");
	o = produce(&f, c, "p", "w", 3, 2, "y");
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP, "gap");
	is_int(o.producer_seq, 0, "what the store holds");
	is_out(produce(&f, c, "p", "w", 3, 1, "y"), SLUICE_OK, 0, "next");
	o = produce(&f, c, "p", "w", 2, 9, "z");
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_FENCED, "older epoch");
	is_int(o.producer_epoch, 3, "the newer one is told");
	is_out(produce(&f, c, "p", "w", 4, 1, "z"), SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_RESTART,
	       "a new epoch begins at 0");
	is_out(produce(&f, c, "p", "w", 4, 0, "z"), SLUICE_OK, 0, "new epoch");
	is_out(produce(&f, c, "p", "__proto__", 0, 0, "q"), SLUICE_OK, 0, "ids are bytes");
	is_str(contents(&f, "p"), "x|y|z|q|", "every accepted one once");
	op = op_of(SLUICE_OP_APPEND, "p");
	op.flags = SLUICE_A_PRODUCER | SLUICE_A_STREAM_SEQ;
	op.producer = SL_STR("w");
	op.producer_epoch = 4;
	op.producer_seq = 1;
	op.stream_seq = SL_STR("5");
	op.data = SL_STR("r");
	is_out(run(&f, c, op), SLUICE_OK, 0, "with Stream-Seq");
	o = run(&f, c, op);
	is_int(o.flags & SLUICE_R_DUPLICATE, SLUICE_R_DUPLICATE, "a duplicate is one before Stream-Seq is looked at");
	op.producer_seq = 2;
	o = run(&f, c, op);
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ, "Stream-Seq conflict");
	is_int(o.producer_seq, 1, "and the producer has not moved");
	op.flags = SLUICE_A_PRODUCER | SLUICE_A_CLOSE;
	is_out(run(&f, c, op), SLUICE_OK, 0, "append and close by a producer");
	o = run(&f, c, op);
	is_int(o.flags, SLUICE_R_DUPLICATE | SLUICE_R_CLOSED | SLUICE_R_PRODUCER,
	       "the closing one again is a duplicate");
	op.producer_seq = 1;
	is_out(run(&f, c, op), SLUICE_ECLOSED, 0, "another tuple is not");
	op = op_of(SLUICE_OP_CLOSE, "p");
	is_out(run(&f, c, op), SLUICE_OK, 0, "close without a producer is");
	op.flags = SLUICE_A_PRODUCER;
	op.producer = SL_STR("v");
	is_out(run(&f, c, op), SLUICE_ECLOSED, 0, "close by another producer is not");
}

static void test_remove(void)
{
	struct sl_store_outcome o, again;

	o = create(&f, c, "r", "text/plain", "old");
	produce(&f, c, "r", "w", 0, 0, "x");
	is_out(removal(&f, c, "r"), SLUICE_OK, 0, "remove");
	is_out(removal(&f, c, "r"), SLUICE_ENOENT, 0, "again");
	is_out(append(&f, c, "r", "x"), SLUICE_ENOENT, 0, "append");
	is_str(contents(&f, "r"), "(-6)", "nothing to read");
	again = create(&f, c, "r", "text/html", "new");
	is_out(again, SLUICE_OK, 0, "the name is free");
	ok(again.incarnation != o.incarnation, "another incarnation");
	is_str(contents(&f, "r"), "new|", "shares nothing");
	is_out(produce(&f, c, "r", "w", 0, 0, "y"), SLUICE_OK, 0, "producers neither");
}

static void test_trim(void)
{
	struct sl_store_outcome o;
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "t");

	create(&f, c, "t", "text/plain", "a");
	append(&f, c, "t", "b");
	append(&f, c, "t", "c");
	op.trim_to = 6;
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "trim");
	is_int(o.earliest, 6, "earliest");
	is_str(contents(&f, "t"), "b|c|", "what is left");
	op.trim_to = 17;
	o = run(&f, c, op);
	is_int(o.earliest, 12, "inside a record: its beginning");
	op.trim_to = 6;
	o = run(&f, c, op);
	is_int(o.earliest, 12, "never backwards");
	op.trim_to = 19;
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "beyond the tail");
	op.trim_to = 18;
	is_out(run(&f, c, op), SLUICE_OK, 0, "everything");
	is_str(contents(&f, "t"), "", "empty");
	fixture_pass(&f, 100000);
	fixture_pass(&f, 61000); /* the second trim waits for its own turn */
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 't')"), 0,
	       "rows are reaped");
	fixture_reopen(&f);
	c = fixture_client(&f);
	o = append(&f, c, "t", "d");
	is_int(o.start, 18, "offsets go on behind a trim of everything, also after a restart");
}

static void test_list(void)
{
	struct sl_store_op ops[3] = {op_of(SLUICE_OP_CREATE, "l1"), op_of(SLUICE_OP_APPEND, "l1"),
	                             op_of(SLUICE_OP_APPEND, "nowhere")};

	append(&f, c, "l0", "x");
	ops[1].data = SL_STR("first");
	ops[2].data = SL_STR("second");
	run_list(&f, c, ops, 3);
	is_int(c->n_out, 3, "one outcome each");
	is_int(c->out[0].status, SLUICE_ECANCELED, "all or nothing");
	is_int(c->out[1].status, SLUICE_ECANCELED, "all or nothing");
	is_int(c->out[2].status, SLUICE_ENOENT, "the one at fault");
	is_str(contents(&f, "l1"), "(-6)", "nothing happened");
	ops[2].stream = SL_STR("l1");
	run_list(&f, c, ops, 3);
	is_int(c->out[2].status, SLUICE_OK, "all");
	is_int(c->out[2].tail, 21, "offsets within the list");
	is_str(contents(&f, "l1"), "first|second|", "both");
	append(&f, c, "l1", "third");
	is_str(contents(&f, "l1"), "first|second|third|", "and on");
}

/* Lists and single operations share batches, and some lists are rolled back: the cache must not remember those. */
static void test_mixed_batch(void)
{
	struct sl_store_op one = op_of(SLUICE_OP_APPEND, "m"),
			   bad[2] = {op_of(SLUICE_OP_APPEND, "m"), op_of(SLUICE_OP_REMOVE, "nowhere")};
	uint64_t req = 0;

	create(&f, c, "m", "text/plain", "");
	one.flags = bad[0].flags = SLUICE_A_PRODUCER | SLUICE_A_STREAM_SEQ;
	one.producer = bad[0].producer = SL_STR("w");
	bad[0].data = SL_STR("BAD");
	bad[0].producer_seq = 1;
	bad[0].stream_seq = SL_STR("zzz");
	for (int i = 0; i < 20; i++) {
		char seq[16], data[16];

		snprintf(seq, sizeof seq, "%03d", i);
		snprintf(data, sizeof data, "%d", i);
		one.stream_seq = sl_slice_str(seq);
		one.data = sl_slice_str(data);
		one.producer_seq = (uint64_t)i;
		bad[0].producer_seq = (uint64_t)i + 1;
		send_ops(c, &one, 1, NULL, 0);
		req = send_ops(c, bad, 2, NULL, 0);
	}
	wait_result(&f, c, req);
	is_str(contents(&f, "m"), "0|1|2|3|4|5|6|7|8|9|10|11|12|13|14|15|16|17|18|19|", "only what was accepted");
	is_out(produce(&f, c, "m", "w", 0, 20, "20"), SLUICE_OK, 0, "the producer stands where it should");
}

static void test_many_in_one_batch(void)
{
	static char big[100 * 1024];
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "g");
	uint64_t req = 0;
	struct sl_store_outcome o;

	create(&f, c, "g", "application/octet-stream", "");
	memset(big, 'b', sizeof big);
	for (int i = 0; i < 600; i++) {
		op.data = i % 100 == 50 ? SL_SLICE(big, sizeof big) : SL_SLICE(big, 1000);
		req = send_ops(c, &op, 1, NULL, 0);
	}
	wait_result(&f, c, req);
	is_int(c->out[0].status, SLUICE_OK, "600 appends");
	is_int(c->out[0].tail, 594 * 1005 + 6 * (sizeof big + 5), "tail");
	is_int(sql_int(&f, "SELECT max(bytes) > 150000 FROM chunk"), 0, "rows stay small");
	is_int(sql_int(&f,
	               "SELECT count(*) FROM (SELECT start, lag(stop) OVER (ORDER BY start) AS s FROM chunk WHERE stream ="
	               " (SELECT id FROM stream WHERE name = 'g')) WHERE s <> start"),
	       0, "without a gap");
	fixture_reopen(&f);
	c = fixture_client(&f);
	o = append(&f, c, "g", "x");
	is_int(o.start, 594 * 1005 + 6 * (sizeof big + 5), "the same after a restart");
}

static int64_t rows_of(const char *stream)
{
	char sql[256];

	snprintf(sql, sizeof sql,
	         "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = '%s' AND state < 2)", stream);
	return sql_int(&f, sql);
}

/* Small records of one second share a row, however many commits they come in; what they are stays as it was. */
static void test_shared_row(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "row");
	static char big[1500];
	static char want[4096];
	char word[16];

	create(&f, c, "row", "text/plain", "");
	for (int i = 0; i < 100; i++) {
		snprintf(word, sizeof word, "%d", i);
		append(&f, c, "row", word);
		snprintf(want + strlen(want), sizeof want - strlen(want), "%d|", i);
	}
	is_int(rows_of("row"), 1, "one row");
	is_str(contents(&f, "row"), want, "with all of them");
	is_int(sql_int(&f, "SELECT bytes = length(data) AND records = 100 AND messages = 100 AND typeof(data) = 'blob' AND"
	                   " typeof(marks) = 'blob' FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'row')"),
	       1, "that says what it has");
	fixture_reopen(&f);
	c = fixture_client(&f);
	append(&f, c, "row", "after a restart");
	is_int(rows_of("row"), 1, "still one");
	f.wall_ms += 1000;
	append(&f, c, "row", "later");
	is_int(rows_of("row"), 2, "another second, another row");
	memset(big, 'b', sizeof big);
	op.data = SL_SLICE(big, sizeof big);
	run(&f, c, op);
	is_int(rows_of("row"), 2, "as long as it stays within a page");
	run(&f, c, op);
	is_int(rows_of("row"), 3, "not beyond");
	snprintf(want + strlen(want), sizeof want - strlen(want), "after a restart|later|");
	ok(strncmp(contents(&f, "row"), want, strlen(want)) == 0 && strlen(contents(&f, "row")) == strlen(want) + 3002,
	   "nothing else is different");
}

/* A row whose records are out of reach may be reaped while the next record of the stream is on its way to it. */
static void test_reaped_row(void)
{
	struct sl_store_op ops[] = {op_of(SLUICE_OP_TRIM, "gone"), op_of(SLUICE_OP_APPEND, "gone")};

	create(&f, c, "gone", "text/plain", "1");
	ops[0].trim_to = append(&f, c, "gone", "2").tail;
	run(&f, c, ops[0]);
	append(&f, c, "gone", "3");
	is_int(rows_of("gone"), 1, "shares the row of what is trimmed");
	fixture_pass(&f, 120000);
	is_str(contents(&f, "gone"), "3|", "which stays as long as it is needed");
	ops[0].trim_to += 6;
	run(&f, c, ops[0]);
	fixture_pass(&f, 120000);
	is_int(rows_of("gone"), 0, "and goes then");
	append(&f, c, "gone", "4");
	is_str(contents(&f, "gone"), "4|", "the next has a row of its own");
	is_int(rows_of("gone"), 1, "one");
}

int main(void)
{
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_create();
	test_form();
	test_append();
	test_close();
	test_producer();
	test_remove();
	test_trim();
	test_list();
	test_mixed_batch();
	test_many_in_one_batch();
	test_shared_row();
	test_reaped_row();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
