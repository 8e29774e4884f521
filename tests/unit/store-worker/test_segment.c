/*
 * test_segment.c - payloads that come as descriptors: order, refusals, rotation, accounting, files that go.
 */
#include <dirent.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/segment.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;
static char big[3 << 20];

static struct sl_store_op big_op(uint8_t kind, const char *stream, uint64_t data_len, uint64_t marks_len)
{
	struct sl_store_op op = op_of(kind, stream);

	op.n_fd = 1;
	op.data_len = data_len;
	op.marks_len = marks_len;
	return op;
}

static uint64_t send_big_of(struct client *from, const char *stream, size_t n)
{
	int fd = memfd(big, n);
	struct sl_store_op op = big_op(SLUICE_OP_APPEND, stream, n, 0);
	uint64_t req = send_ops(from, &op, 1, &fd, 1);

	close(fd);
	return req;
}

static uint64_t send_big(const char *stream, size_t n)
{
	return send_big_of(c, stream, n);
}

static int files(void)
{
	char path[96];
	DIR *d;
	struct dirent *e;
	uint64_t id;
	int n = 0;

	snprintf(path, sizeof path, "%s/%s", f.dir, SL_SEGMENT_DIR);
	d = opendir(path);
	while (d && (e = readdir(d)))
		n += sl_segment_id(e->d_name, &id) == 0;
	if (d)
		closedir(d);
	return n;
}

/* Files that were removed and are still open, by a reader or by the writer. */
static int files_lingering(void)
{
	DIR *d = opendir("/proc/self/fd");
	char to[300];
	int n = 0;

	for (struct dirent *e; d && (e = readdir(d));) {
		ssize_t len = readlinkat(dirfd(d), e->d_name, to, sizeof to - 1);

		to[len > 0 ? len : 0] = '\0';
		n += strstr(to, ".seg (deleted)") != NULL;
	}
	if (d)
		closedir(d);
	return n;
}

/* Reads a stream in steps and compares it with the pattern. */
static bool reads_same(struct sl_reader *r, const char *stream, size_t n)
{
	struct sl_facts facts;
	struct sl_plan plan;
	size_t at = 0;
	bool good;

	sl_reader_begin(r);
	sl_reader_facts(r, sl_slice_str(stream), f.wall_ms, &facts);
	good = facts.status == 0 && sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, NULL) == 0 &&
	       plan.payload_bytes == n;
	for (uint64_t from = plan.from, skip = 0; good && from < plan.end;) {
		struct sl_step s;

		good = sl_reader_step(r, facts.incarnation, from, skip, plan.end, &s) == 0 &&
		       s.data.len <= SL_READ_STEP && at + s.data.len <= n &&
		       memcmp(s.data.data, big + at, s.data.len) == 0;
		at += good ? s.data.len : 0;
		from = s.next;
		skip = s.skip;
	}
	sl_reader_end(r);
	return good && at == n;
}

static bool same_bytes(const char *stream, size_t n)
{
	struct sl_reader *r;
	const char *why;
	bool good = sl_reader_open(f.dir, SL_SCHEMA, 0, &r, &why) == 0 && reads_same(r, stream, n);

	if (good)
		sl_reader_close(r);
	return good;
}

static void test_store(void)
{
	struct sl_store_op op = big_op(SLUICE_OP_CREATE, "b", sizeof big, 0);
	int fd = memfd(big, sizeof big);

	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	close(fd);
	is_out(c->out[0], SLUICE_OK, 0, "3 MiB as a descriptor");
	is_int(c->out[0].tail, sizeof big + 5, "tail");
	ok(same_bytes("b", sizeof big), "the same bytes, in steps");
	is_int(files(), 1, "in one file");
	is_int(sql_int(&f, "SELECT live FROM segment"), sizeof big, "counted");
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE data IS NOT NULL"), 0, "not in the database");
	fork_at(&f, c, "prefix", "b", 0, 1000000);
	ok(same_bytes("prefix", 1000000), "a sub-offset refers to the same bytes");
	is_int(sql_int(&f, "SELECT live FROM segment"), sizeof big + 1000000, "and counts them");
}

/* Requests behind a waiting one on the same stream wait too, others do not. */
static void test_order(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "o");
	uint64_t last;

	create(&f, c, "o", "text/plain", "");
	create(&f, c, "other", "text/plain", "");
	for (int i = 0; i < 4; i++) {
		send_big("o", 200000);
		op.data = SL_STR("small");
		send_ops(c, &op, 1, NULL, 0);
	}
	op.flags = SLUICE_A_EXPECT_TAIL;
	op.expect_tail = 4 * (200005 + 10);
	op.stream = SL_STR("o");
	last = send_ops(c, &op, 1, NULL, 0);
	wait_result(&f, c, last);
	is_out(c->out[0], SLUICE_OK, 0, "order within a stream is kept");
	is_int(sql_int(&f,
	               "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'o') AND segment IS NOT NULL"),
	       4, "rows");
	is_int(f.store->n_peers, 1, "the peer is well");
}

static void test_refused(void)
{
	struct sl_store_op op = big_op(SLUICE_OP_APPEND, "o", 200001, 0);
	int fd = memfd(big, 200000), pipes[2];
	uint64_t tail = append(&f, c, "o", "x").tail;

	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	is_out(c->out[0], SLUICE_EINVAL, 0, "shorter than announced");
	op.data_len = 199999;
	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	is_out(c->out[0], SLUICE_EINVAL, 0, "longer than announced");
	op.data_len = 199990;
	op.marks_len = 10;
	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	is_out(c->out[0], SLUICE_EINVAL, 0, "marks that make no sense");
	f.store->settings.max_payload = 1 << 20;
	op.data_len = 1 << 21;
	op.marks_len = 0;
	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	is_out(c->out[0], SLUICE_ETOOBIG, 0, "larger than max_payload");
	f.store->settings.max_payload = 512 << 20;
	op.data_len = 200000;
	op.stream = SL_STR("missing");
	wait_result(&f, c, send_ops(c, &op, 1, &fd, 1));
	is_out(c->out[0], SLUICE_ENOENT, 0, "the operation itself is refused");
	close(fd);
	ok(pipe(pipes) == 0, "a pipe");
	op.stream = SL_STR("o");
	wait_result(&f, c, send_ops(c, &op, 1, &pipes[0], 1));
	is_out(c->out[0], SLUICE_EINVAL, 0, "a descriptor that is not a file");
	close(pipes[0]);
	close(pipes[1]);
	is_int(append(&f, c, "o", "y").start, (int64_t)tail, "the stream has not moved");
}

static void test_list(void)
{
	struct sl_store_op ops[3] = {op_of(SLUICE_OP_CREATE, "ls"), big_op(SLUICE_OP_APPEND, "ls", 300000, 0),
	                             big_op(SLUICE_OP_APPEND, "ls", 400000, 2 + 2 * 3)};
	int fd[2] = {memfd(big, 300000), -1};
	uint64_t req;
	static char with_marks[400000 + 8];

	memcpy(with_marks, big, 400000);
	memcpy(with_marks + 400000, "\x02\xc0\x9a\x0c\xc0\x9a\x0c", 7);
	ops[2].marks_len = 7;
	fd[1] = memfd(with_marks, 400007);
	req = send_ops(c, ops, 3, fd, 2);
	close(fd[0]);
	close(fd[1]);
	wait_result(&f, c, req);
	is_int(c->out[2].status, SLUICE_OK, "a list with two payloads");
	is_int(c->out[2].tail, 700010, "in order");
	is_int(sql_int(&f, "SELECT sum(messages) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'ls')"),
	       3, "marks from the descriptor");
}

static void test_many(void)
{
	uint64_t req = 0;

	create(&f, c, "many", "text/plain", "");
	f.store->settings.segment_bytes = 1 << 20;
	for (int i = 0; i < 100; i++)
		req = send_big("many", 150000);
	wait_result(&f, c, req);
	is_out(c->out[0], SLUICE_OK, 0, "a hundred payloads at once");
	is_int(c->out[0].tail, 100 * 150005, "all of them");
	ok(files() > 10, "several files");
	is_int(sql_int(&f, "SELECT sum(live) = (SELECT sum(bytes) FROM chunk WHERE segment IS NOT NULL) FROM segment"),
	       1, "accounts agree");
}

static void test_death(void)
{
	send_big("many", 2000000);
	send_big("many", 150000);
	sl_ipc_flush(&c->ipc);
	fixture_turns(&f, 1);
	client_end(c);
	for (int i = 0; i < 200 && payloads_busy(f.store); i++)
		store_turn(f.store, 100);
	is_int(payloads_busy(f.store), 0, "a peer that dies while its payloads are copied");
	is_int(f.store->n_peers, 0, "is forgotten");
	f.n = 0;
	c = fixture_client(&f);
}

static void gate_wait(void *gate)
{
	while (!atomic_load((atomic_bool *)gate))
		usleep(1000);
}

static void gate_open(void *gate)
{
	atomic_store((atomic_bool *)gate, true);
}

/* A peer ends in the turn in which its payload comes back, and a full batch keeps its turn from coming. */
static void test_ended(void)
{
	uint32_t ops = f.store->settings.max_batch_ops;
	struct client *other = fixture_client(&f);
	atomic_bool gate = false, over = false;
	uint64_t req = 0;

	create(&f, c, "goes on", "x/y", "");
	create(&f, c, "ends", "x/y", "");
	ok(payloads_do(f.store, gate_wait, &gate), "the helper thread stands still");
	for (int i = 0; i < 3; i++)
		req = send_big("goes on", 1 << 18);
	send_big_of(other, "ends", 1 << 18);
	sl_ipc_flush(&c->ipc);
	sl_ipc_flush(&other->ipc);
	fixture_turns(&f, 3);
	/* As one that reads no answers: it is not read either, so that its end is seen at once. */
	SL_OF(f.store->peers.prev, struct peer, all)->paused = true;
	client_end(other);
	gate_open(&gate);
	/* Payloads come first, so this runs when all of them are written; the store has not looked yet. */
	while (!payloads_do(f.store, gate_open, &over))
		usleep(1000);
	gate_wait(&over);
	f.store->settings.max_batch_ops = 1;
	store_turn(f.store, 0);
	ok(!sl_link_alone(&f.store->runnable) && f.store->runnable.next->next == &f.store->runnable, "one peer has more to run");
	wait_result(&f, c, req);
	is_out(c->out[0], SLUICE_OK, 0, "it goes on");
	f.store->settings.max_batch_ops = ops;
}

static void test_reaping(void)
{
	struct sl_reader *holder;
	const char *why;
	int before;

	create(&f, c, "held", "text/plain", "");
	wait_result(&f, c, send_big("held", 2000000));
	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &holder, &why) == 0 && reads_same(holder, "held", 2000000),
	   "somebody reads a large one");
	before = files();
	removal(&f, c, "held");
	removal(&f, c, "many");
	removal(&f, c, "b");
	fixture_pass(&f, 61000);
	is_int(files(), before, "files stay for those who read them");
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	ok(files() < before - 10, "then whole segments go");
	ok(files_lingering() > 0, "which are kept open by the reader");
	is_int(sql_int(&f, "SELECT sum(live) = (SELECT sum(bytes) FROM chunk WHERE segment IS NOT NULL) FROM segment"),
	       1, "accounts agree");
	ok(same_bytes("prefix", 1000000), "what is referred to stays");
	sl_reader_tidy(holder);
	is_int(files_lingering(), 0, "nobody keeps what went");
	ok(reads_same(holder, "prefix", 1000000), "and who read it reads on");
	sl_reader_tidy(holder);
	ok(reads_same(holder, "prefix", 1000000), "in files that are there");
	sl_reader_close(holder);
}

static void test_restart(void)
{
	char path[160];
	FILE *orphan;
	uint64_t highest = (uint64_t)sql_int(&f, "SELECT max(id) FROM segment");
	int before;

	snprintf(path, sizeof path, "%s/%s/00000000000fffff.seg", f.dir, SL_SEGMENT_DIR);
	orphan = fopen(path, "w");
	ok(orphan && fclose(orphan) == 0, "a file that nobody refers to");
	before = files();
	fixture_reopen(&f);
	c = fixture_client(&f);
	ok(files() < before, "is removed at the start");
	ok(access(path, F_OK) != 0, "that one");
	wait_result(&f, c, send_big("o", 200000));
	is_out(c->out[0], SLUICE_OK, 0, "and writing goes on");
	ok((uint64_t)sql_int(&f, "SELECT max(id) FROM segment") > highest, "in a new segment");
	ok(same_bytes("prefix", 1000000), "old ones are read");
}

static void test_head(void)
{
	uint8_t head[SL_SEGMENT_HEAD];
	struct sl_segment_head in = {.data_len = 5, .marks_len = 3, .crc = 77}, out;

	sl_segment_put_head(head, &in);
	ok(sl_segment_get_head(head, &out) == 0 && out.data_len == 5 && out.marks_len == 3 && out.crc == 77,
	   "a record's head");
	head[9] ^= 1;
	is_int(sl_segment_get_head(head, &out), SLUICE_EINVAL, "damaged");
}

int main(void)
{
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 7 + i / 251);
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_head();
	test_store();
	test_order();
	test_refused();
	test_list();
	test_many();
	test_death();
	test_ended();
	test_reaping();
	test_restart();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
