/* The store table, what goes to the writer: operations with prefix and payloads, its loss, a full queue, retention, another build. */
#include <unistd.h>

#include "tests/unit/frontend/seen.h"

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

static void test_publish(void)
{
	struct sluice_op op;

	begin();
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

int main(void)
{
	test_submit();
	test_bodies();
	test_loss_and_room();
	test_publish();
	test_retention();
	test_older_build();
	return tap_done();
}
