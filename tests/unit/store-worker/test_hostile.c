/*
 * test_hostile.c - what a hostile reading of the writer found: states that must not survive a lost batch, syncs that must have
 * happened, space that must come back, numbers that must not be given twice.
 */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/segment.h"
#include "lib/store_reader_internal.h"
#include "tests/unit/store-worker/fixture.h"

enum { POISON = 177777 }; /* a payload of this size cannot be written */

static struct fixture f, sick;
static struct client *c;
static char big[600000];

/* ---- files of the helper thread ---- */

ssize_t __real_pwrite(int, const void *, size_t, off_t);
int __real_fdatasync(int);
int __real_fsync(int);
ssize_t __wrap_pwrite(int, const void *, size_t, off_t);
int __wrap_fdatasync(int);
int __wrap_fsync(int);

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static atomic_bool unsynced;
static _Atomic ino_t synced_dir[4]; /* the latest directories that were synced */
static atomic_uint synced_dirs;

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	ssize_t w;

	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	if (n == POISON) {
		errno = EIO;
		return -1;
	}
	w = __real_pwrite(fd, p, n, at);
	atomic_store(&unsynced, true);
	return w;
}

int __wrap_fdatasync(int fd)
{
	int rc = __real_fdatasync(fd);

	if (rc == 0)
		atomic_store(&unsynced, false);
	return rc;
}

int __wrap_fsync(int fd)
{
	struct stat sb;
	int rc = __real_fsync(fd);

	if (rc == 0 && fstat(fd, &sb) == 0 && S_ISDIR(sb.st_mode))
		atomic_store(&synced_dir[atomic_fetch_add(&synced_dirs, 1) % 4], sb.st_ino);
	return rc;
}

static bool dir_synced(const char *below)
{
	char path[160];
	struct stat sb;

	snprintf(path, sizeof path, "%s/%s", f.dir, below);
	if (stat(path, &sb))
		return false;
	for (unsigned i = 0; i < 4; i++)
		if (atomic_load(&synced_dir[i]) == sb.st_ino)
			return true;
	return false;
}

static void forget_dirs(void)
{
	for (unsigned i = 0; i < 4; i++)
		atomic_store(&synced_dir[i], 0);
}

static uint64_t send_big(const char *stream, size_t n)
{
	int fd = memfd(big, n);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, stream);
	uint64_t req;

	op.n_fd = 1;
	op.data_len = n;
	req = send_ops(c, &op, 1, &fd, 1);
	close(fd);
	return req;
}

/* ---- tests ---- */

/* A refused list drops what the batch had cached; what is read again before the end of the batch is not committed either. */
static void test_lost_after_list(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "s");
	struct sl_store_op ops[2] = {op_of(SLUICE_OP_CREATE, "new"), op_of(SLUICE_OP_APPEND, "missing")};
	struct sl_store_op fat = op_of(SLUICE_OP_APPEND, "other");
	struct sl_store_outcome o;
	uint64_t tail, req;
	char sql[64];

	create(&f, c, "s", "text/plain", "a");
	create(&f, c, "other", "text/plain", "a");
	tail = produce(&f, c, "s", "w", 0, 0, "x").tail;
	snprintf(sql, sizeof sql, "PRAGMA max_page_count = %lld", (long long)sql_int(&f, "PRAGMA page_count") + 2);
	sqlite3_exec(se_handle(f.store->se), sql, NULL, NULL, NULL);
	op.flags = SLUICE_A_PRODUCER;
	op.producer = SL_STR("w");
	op.producer_seq = 1;
	op.data = SL_STR("y");
	fat.data = SL_SLICE(big, 60000);
	ops[1].data = SL_STR("z");
	send_ops(c, &op, 1, NULL, 0);
	send_ops(c, ops, 2, NULL, 0);
	send_ops(c, &op, 1, NULL, 0);
	req = send_ops(c, &fat, 1, NULL, 0);
	wait_result(&f, c, req);
	is_out(c->out[0], SLUICE_EFULL, 0, "no room for the batch");
	sqlite3_exec(se_handle(f.store->se), "PRAGMA max_page_count = 1000000", NULL, NULL, NULL);
	o = produce(&f, c, "s", "w", 0, 1, "y");
	is_out(o, SLUICE_OK, 0, "the same append again");
	is_int(o.flags & SLUICE_R_DUPLICATE, 0, "is no duplicate: the first one was lost");
	is_int(o.start, (int64_t)tail, "and begins where the stream ends");
	is_str(contents(&f, "s"), "a|x|y|", "no gap");
}

/* Payloads stored in one round with one whose write fails are not durable until they are synced. */
static void test_sync_after_error(void)
{
	uint64_t tail, bad;

	create(&f, c, "seg", "text/plain", "");
	f.synced = true;
	fixture_reopen(&f);
	c = fixture_client(&f);
	pthread_mutex_lock(&gate);
	send_big("seg", 150000);
	client_pump(&f, c);
	sl_ipc_flush(&c->ipc);
	send_big("seg", 160000);
	bad = send_big("seg", POISON);
	sl_ipc_flush(&c->ipc);
	for (int i = 0; i < 100 && f.store->peers.next != &f.store->peers &&
	                SL_OF(f.store->peers.next, struct peer, all)->n_held < 3;
	     i++)
		store_turn(f.store, 0);
	pthread_mutex_unlock(&gate);
	wait_result(&f, c, bad);
	is_out(c->out[0], SLUICE_EINTERNAL, 0, "the bad one");
	is_int(atomic_load(&unsynced), 0, "what was answered was synced before");
	tail = 150005 + 160005;
	wait_result(&f, c, send_big("seg", 150000));
	is_out(c->out[0], SLUICE_OK, 0, "the next one");
	is_int(c->out[0].start, (int64_t)tail, "those before the bad one were stored");
}

/* A new file is lost by a power failure unless its directory was synced, and that one's entry in turn. */
static void test_directories(void)
{
	forget_dirs();
	fixture_reopen(&f);
	c = fixture_client(&f);
	ok(dir_synced("."), "the data directory is synced for the entry of the directory of segments");
	forget_dirs();
	wait_result(&f, c, send_big("seg", 150000));
	is_out(c->out[0], SLUICE_OK, 0, "the first payload of a new segment");
	ok(dir_synced(SL_SEGMENT_DIR), "is answered after its directory was synced");
	forget_dirs();
	wait_result(&f, c, send_big("seg", 150000));
	ok(!dir_synced(SL_SEGMENT_DIR), "once a segment is enough");
}

/* Payloads that wait for the disk keep descriptors open: there is a bound, and the peer is read again below it. */
static void test_waiting_descriptors(void)
{
	const struct peer *p = SL_OF(f.store->peers.next, struct peer, all);
	size_t most = 0;
	uint64_t last = 0;

	create(&f, c, "wait", "text/plain", "");
	pthread_mutex_lock(&gate);
	for (int i = 0; i < 400; i++)
		last = send_big("wait", 100);
	for (int i = 0; i < 100; i++) {
		sl_ipc_flush(&c->ipc);
		store_turn(f.store, 0);
		most = p->held_parts > most ? p->held_parts : most;
	}
	ok(most >= PEER_HELD_PARTS, "more payloads than may wait");
	ok(most < PEER_HELD_PARTS + SL_IPC_FD_MAX, "the peer is not read beyond the bound");
	pthread_mutex_unlock(&gate);
	wait_result(&f, c, last);
	is_out(c->out[0], SLUICE_OK, 0, "later all are taken");
	is_int(c->out[0].tail, 400 * 105, "none is lost");
	removal(&f, c, "wait");
}

/* A stream that is trimmed all the time gives its rows back all the same, reap_delay after each trim. */
static void test_steady_trim(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "roll");
	const char *rows = "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'roll')";

	create(&f, c, "roll", "text/plain", "x");
	for (int i = 0; i < 200; i++) {
		op.trim_to = append(&f, c, "roll", "y").start;
		run(&f, c, op);
		fixture_pass(&f, 1000);
		if (i == 50)
			/* The first two share one. */
			is_int(sql_int(&f, rows), 51, "nothing goes before the delay");
	}
	ok(sql_int(&f, rows) < 130, "rows go while trimming goes on");
	ok(sql_int(&f, rows) >= 60, "those trimmed lately stay");
	fixture_pass(&f, 70000);
	fixture_pass(&f, 70000);
	is_int(sql_int(&f, rows), 1, "in the end all of them");
	is_str(contents(&f, "roll"), "y|", "but the last");
}

/* Readers keep segment files open by number: no number is used for two files. */
static void test_segment_numbers(void)
{
	int64_t before;

	create(&f, c, "once", "text/plain", "");
	wait_result(&f, c, send_big("once", 300000));
	before = sql_int(&f, "SELECT max(segment) FROM chunk");
	fixture_reopen(&f); /* the open one is left */
	c = fixture_client(&f);
	removal(&f, c, "once");
	removal(&f, c, "seg");
	for (int i = 0; i < 4; i++)
		fixture_pass(&f, 61000);
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE segment IS NOT NULL"), 0, "all segments are dead");
	fixture_reopen(&f);
	c = fixture_client(&f);
	create(&f, c, "twice", "text/plain", "");
	wait_result(&f, c, send_big("twice", 300000));
	ok(sql_int(&f, "SELECT max(segment) FROM chunk") > before, "a new number");
}

/* A chain of forks is looked up once for an answer, not again at every fork point. */
static void test_deep_reading(void)
{
	struct sl_reader *r = NULL;
	struct sl_facts facts;
	struct sl_plan plan;
	const char *why;
	char name[32], source[32];
	int runs;

	create(&f, c, "c0", "text/plain", "0");
	for (int i = 1; i <= 300; i++) {
		snprintf(source, sizeof source, "c%d", i - 1);
		snprintf(name, sizeof name, "c%d", i);
		fork_at(&f, c, name, source, -1, 0);
		append(&f, c, name, "x");
	}
	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &r, &why) == 0, "a reader");
	sl_reader_begin(r);
	sl_reader_facts(r, SL_STR("c300"), f.wall_ms, &facts);
	is_int(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, NULL), 0, "a plan over 300 ancestors");
	is_int(plan.payload_bytes, 301, "all of it");
	runs = sqlite3_stmt_status(r->stmt[R_BY_ID], SQLITE_STMTSTATUS_RUN, 0);
	ok(runs <= 310, "each is looked up once");
	printf("# look-ups: %d\n", runs);
	sl_reader_end(r);
	sl_reader_close(r);
}

/* A cascade longer than one batch frees at once leaves no name taken, wherever it has got to. */
static void test_cascade_names(void)
{
	char name[32], source[32];

	create(&f, c, "n0", "text/plain", "x");
	for (int i = 1; i <= 100; i++) {
		snprintf(source, sizeof source, "n%d", i - 1);
		snprintf(name, sizeof name, "n%d", i);
		fork_at(&f, c, name, source, -1, 0);
		removal(&f, c, source);
	}
	removal(&f, c, "n100");
	is_out(create(&f, c, "n35", "text/plain", ""), SLUICE_OK, 0, "the next one of the cascade is free at once");
}

/* A clock before its beginning is damage, not the end of time. */
static void test_poisoned_clock(void)
{
	struct store *st;
	const char *why = "";
	bool final = false;
	sqlite3 *db;
	char path[160];

	fixture_open_bare(&sick);
	snprintf(path, sizeof path, "%s/%s", sick.dir, SL_VOLUME_FILE);
	sick.kept = true;
	fixture_close(&sick);
	ok(sqlite3_open(path, &db) == SQLITE_OK, "the volume");
	sqlite3_exec(db, "UPDATE meta SET time_ms = -1", NULL, NULL, NULL);
	sqlite3_close(db);
	st = store_new();
	ok(st && store_open(st, sick.dir, &why, &final) != 0 && final, "is refused");
	store_free(st);
	fixture_remove(sick.dir);
}

static void damage(const char *sql)
{
	char path[160];
	sqlite3 *db;

	sick.damaged = true;
	snprintf(path, sizeof path, "%s/%s", sick.dir, SL_VOLUME_FILE);
	ok(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, sql, NULL, NULL, NULL) == SQLITE_OK,
	   "the volume is damaged");
	sqlite3_close(db);
}

/* Marks that promise more bytes than their row has: nothing is read beyond the row. */
static void test_damaged_marks(void)
{
	struct client *s;

	fixture_open_bare(&sick);
	s = fixture_client(&sick);
	create(&sick, s, "m", "text/plain", "abc");
	damage("UPDATE chunk SET marks = x'7f01', crc = NULL");
	is_out(fork_at(&sick, s, "cut", "m", 0, 50), SLUICE_EINVAL, SLUICE_WHY_FORK_SUB,
	       "the writer cuts no prefix off a damaged row");
	damage("UPDATE chunk SET marks = x'7f01', stop = 132, bytes = 127");
	is_str(contents(&sick, "m"), "(-13)", "a reader says that the store is damaged");
}

/* A fork that is its own ancestor: neither a reader nor the writer walks for ever. */
static void test_damaged_chain(void)
{
	struct client *s = &sick.c[0];
	struct stream *found;

	create(&sick, s, "source", "text/plain", "abc");
	fork_at(&sick, s, "ring", "source", -1, 0);
	damage("UPDATE stream SET fork_of = id WHERE name = 'ring'");
	is_str(contents(&sick, "ring"), "(-13)", "a reader says that the store is damaged");
	fixture_kill(&sick); /* it knew the row from before */
	is_int(volume_by_name(sick.store->txn.volume, SL_STR("ring"), &found), SE_CORRUPT, "and the writer");
	damage("UPDATE stream SET fork_of = NULL WHERE name = 'ring'");
	fixture_client(&sick);
}

/* Other bytes of the right length: their checksum tells, and neither a reader nor a fork gets them as if they were good. Whatever does not
 * need them goes on. */
static void test_damaged_row(void)
{
	struct client *s = &sick.c[0];

	create(&sick, s, "rot", "text/plain", "abcdef");
	create(&sick, s, "fine", "text/plain", "abcdef");
	damage("UPDATE chunk SET data = CAST('abXdef' AS BLOB) WHERE stream = (SELECT id FROM stream WHERE name = 'rot')");
	is_str(contents(&sick, "rot"), "(-13)", "a reader says that it is damaged");
	is_out(fork_at(&sick, s, "rot2", "rot", 0, 4), SLUICE_EINTERNAL, 0, "no fork copies it");
	is_str(contents(&sick, "fine"), "abcdef|", "another stream is read");
	is_out(fork_at(&sick, s, "fine2", "fine", 0, 4), SLUICE_OK, 0, "and copied");
	is_str(contents(&sick, "fine2"), "abcd|", "as it is");
	is_int(sick.store->fatal, 0, "the writer goes on");
	damage("UPDATE chunk SET data = CAST('abcdef' AS BLOB) WHERE stream = (SELECT id FROM stream WHERE name = 'rot')");
	is_str(contents(&sick, "rot"), "abcdef|", "what was written is what is read");
}

/* Far behind the first step of an answer: the steps come up to it, and the next plan ends there instead of being cut off again. */
static void test_damaged_far(void)
{
	static char text[100001];
	struct client *s = &sick.c[0];
	struct sl_reader *r;
	struct sl_facts facts;
	struct sl_plan plan;
	struct sl_step step = {0};
	const char *why;
	uint64_t at = 0;
	int rc = 0;

	memset(text, 'x', sizeof text - 1);
	create(&sick, s, "far", "text/plain", "");
	for (int i = 0; i < 6; i++)
		append(&sick, s, "far", text);
	fork_at(&sick, s, "far2", "far", 500025, 0);
	damage("UPDATE chunk SET data = CAST(replace(CAST(data AS TEXT), 'xx', 'xy') AS BLOB)"
	       " WHERE stream = (SELECT id FROM stream WHERE name = 'far') AND start = 400020");
	ok(sl_reader_open(sick.dir, SL_SCHEMA, 0, &r, &why) == 0 && sl_reader_begin(r) == 0 &&
	           sl_reader_facts(r, SL_STR("far"), sick.wall_ms, &facts) == 0,
	   "a reader");
	is_int(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, &step), 0, "a plan sums up rows without their bytes");
	is_int((int64_t)plan.end, (int64_t)facts.tail, "the damaged one too");
	for (at = step.next; rc == 0 && at < plan.end; at = step.next)
		rc = sl_reader_step(r, facts.incarnation, at, 0, plan.end, &step);
	is_int(rc, SLUICE_EINTERNAL, "its steps end");
	is_int((int64_t)step.next, 400020, "at the damage");
	is_int(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, &step), 0, "the next plan");
	is_int((int64_t)plan.end, 400020, "ends before it");
	is_int((int64_t)plan.payload_bytes, 400000, "with what it has");
	is_int(sl_reader_plan(r, &facts, 400020, UINT64_MAX, &plan, &step), SLUICE_EINTERNAL, "who begins there is told");
	is_int(sl_reader_plan(r, &facts, 500025, UINT64_MAX, &plan, &step), 0, "who begins behind it");
	is_int((int64_t)plan.end, (int64_t)facts.tail, "reads on");
	sl_reader_facts(r, SL_STR("far2"), sick.wall_ms, &facts);
	is_int(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, &step), 0, "a fork shares the row");
	is_int((int64_t)plan.end, 400020, "and what is known of it");
	sl_reader_end(r);
	sl_reader_close(r);
}

/* Marks of a row without a checksum that are good for its first record only: a plan's bounds are those of the step that comes with it. */
static void test_damaged_half(void)
{
	static char text[3001];
	struct client *s = &sick.c[0];
	struct sl_reader *r;
	struct sl_facts facts;
	struct sl_plan plan;
	struct sl_step step;
	const char *why;

	memset(text, 'x', sizeof text - 1);
	create(&sick, s, "half", "text/plain", "");
	for (int i = 0; i < 3; i++)
		append(&sick, s, "half", text);
	damage("UPDATE chunk SET marks = x'0a01ff', crc = NULL"
	       " WHERE stream = (SELECT id FROM stream WHERE name = 'half') AND start = 3005");
	ok(sl_reader_open(sick.dir, SL_SCHEMA, 0, &r, &why) == 0 && sl_reader_begin(r) == 0 &&
	           sl_reader_facts(r, SL_STR("half"), sick.wall_ms, &facts) == 0,
	   "a reader");
	for (int i = 0; i < 2; i++) { /* the second time it is known */
		step = (struct sl_step){0};
		is_int(sl_reader_plan(r, &facts, 0, UINT64_MAX, &plan, &step), 0, "a plan");
		is_int((int64_t)plan.end, 3005, "up to the damage");
		is_int((int64_t)step.next, 3005, "its step too");
		is_int((int64_t)step.data.len, 3000, "with as many bytes");
		is_int((int64_t)step.n_record, 1, "and records");
	}
	is_int(sl_reader_plan(r, &facts, 0, 4000, &plan, &step), 0, "a budget that ends inside of the row");
	is_int((int64_t)plan.end, 3005, "ends before it");
	sl_reader_end(r);
	sl_reader_close(r);
}

/* Marks that could be those of other records: a boundary that they tell is none. */
static void test_damaged_boundary(void)
{
	struct client *s = &sick.c[0];
	struct sl_store_op trim = op_of(SLUICE_OP_TRIM, "shape");

	create(&sick, s, "shape", "text/plain", "abcdef");
	append(&sick, s, "shape", "ghijkl");
	is_str(contents(&sick, "shape"), "abcdef|ghijkl|", "two records of a row");
	is_int(sql_int(&sick, "SELECT records FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'shape')"), 2, "in one");
	damage("UPDATE chunk SET marks = x'05010701' WHERE stream = (SELECT id FROM stream WHERE name = 'shape')");
	is_out(fork_at(&sick, s, "shape2", "shape", 10, 0), SLUICE_EINTERNAL, 0, "no fork begins there");
	trim.trim_to = 12;
	is_out(run(&sick, s, trim), SLUICE_EINTERNAL, 0, "nothing is trimmed up to there");
	trim.flags = SLUICE_A_AT_POS;
	trim.trim_to = 6;
	is_out(run(&sick, s, trim), SLUICE_EINTERNAL, 0, "nor by position");
	is_int(sql_int(&sick, "SELECT earliest FROM stream WHERE name = 'shape'"), 0, "it keeps what it has");
	is_int(sick.store->fatal, 0, "the writer goes on");
}

/* An operation of a list meets a damaged record: it is refused, with the list, and nobody else. */
static void test_damaged_list(void)
{
	struct client *s = &sick.c[0];
	struct sl_store_op ops[2] = {op_of(SLUICE_OP_APPEND, "well"), op_of(SLUICE_OP_CREATE, "cut")};

	create(&sick, s, "well", "text/plain", "before");
	damage("UPDATE chunk SET marks = x'ff' WHERE stream = (SELECT id FROM stream WHERE name = 'm')");
	ops[0].data = SL_STR("undone");
	ops[1].flags = SLUICE_A_FORK | SLUICE_A_FORK_AT;
	ops[1].fork_of = SL_STR("m");
	is_out(run_list(&sick, s, ops, 2), SLUICE_ECANCELED, 0, "a list that meets a damaged record");
	is_out(s->out[1], SLUICE_EINTERNAL, 0, "says where");
	is_int(sick.store->fatal, 0, "and the writer goes on");
	is_str(contents(&sick, "well"), "before|", "nothing of the list is left");
}

/* Retention meets one: that stream keeps what it has, the next one is trimmed. */
static void test_damaged_retention(void)
{
	struct client *s = &sick.c[0];
	struct sl_store_rule rule = {.prefix = SL_STR("keep/"), .max_bytes = 20};

	for (int i = 0; i < 2; i++) {
		const char *name = i ? "keep/b" : "keep/a";

		create(&sick, s, name, "text/plain", "0123456789");
		append(&sick, s, name, "0123456789");
		append(&sick, s, name, "last");
	}
	damage("UPDATE chunk SET marks = x'ff' WHERE stream = (SELECT id FROM stream WHERE name = 'keep/a')");
	sl_put_store_retention(&s->ipc, &(struct sl_store_retention){.rules = {.n = 1, .v = &rule}});
	client_pump(&sick, s);
	fixture_pass(&sick, 5000);
	fixture_pass(&sick, 5000);
	is_int(sick.store->fatal, 0, "the writer goes on");
	is_int(sql_int(&sick, "SELECT earliest FROM stream WHERE name = 'keep/a'"), 0, "what cannot be told apart is kept");
	is_str(contents(&sick, "keep/b"), "last|", "others are trimmed");
}

/* Decide finds the volume damaged in the middle of a list: all of the batch is lost, also what the list had done. */
static void test_broken_list(void)
{
	struct client *s = &sick.c[0];
	struct sl_store_op ops[2] = {op_of(SLUICE_OP_APPEND, "well"), op_of(SLUICE_OP_CREATE, "cut")};

	damage("UPDATE stream SET fork_of = id WHERE name = 'ring'");
	fixture_kill(&sick); /* it knew the row from before */
	s = fixture_client(&sick);
	ops[0].data = SL_STR("lost");
	ops[1].flags = SLUICE_A_FORK | SLUICE_A_FORK_AT;
	ops[1].fork_of = SL_STR("ring");
	is_out(run_list(&sick, s, ops, 2), SLUICE_EINTERNAL, 0, "a list that meets damage");
	is_int(s->out[1].status, SLUICE_EINTERNAL, "all of it");
	is_int(sick.store->fatal, 1, "ends the writer");
	fixture_kill(&sick);
	s = fixture_client(&sick);
	is_str(contents(&sick, "well"), "before|", "nothing of it is left");
	is_out(append(&sick, s, "well", "after"), SLUICE_OK, 0, "and the next writer goes on");
	fixture_close(&sick);
}

/* Huge ages mean for ever, not for no time. */
static void test_retention_forever(void)
{
	struct sl_store_rule rule = {.prefix = SL_STR("keep"), .max_age_ms = UINT64_MAX};

	create(&f, c, "keep", "text/plain", "a");
	append(&f, c, "keep", "b");
	sl_put_store_retention(&c->ipc, &(struct sl_store_retention){.rules = {.n = 1, .v = &rule}});
	client_pump(&f, c);
	fixture_pass(&f, 5000);
	fixture_pass(&f, 5000);
	is_str(contents(&f, "keep"), "a|b|", "kept");
}

/* Descriptors that no frame names fill the queue for them: the peer is ended, not asked for ever. */
static void test_stray_descriptors(void)
{
	struct client *bad = fixture_client(&f);
	size_t peers = f.store->n_peers;
	int fd = memfd("x", 1);

	for (int i = 0; i < 100; i++) {
		sl_put_store_touch(&bad->ipc, &(struct sl_store_touch){.req = (uint64_t)i});
		sl_ipc_attach(&bad->ipc, fd);
	}
	close(fd);
	for (int i = 0; i < 200 && !bad->lost; i++)
		client_pump(&f, bad);
	is_int(f.store->n_peers, (int64_t)peers - 1, "a peer that sends descriptors nobody asked for");
}

int main(void)
{
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 7 + i / 251);
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_lost_after_list();
	test_sync_after_error();
	test_directories();
	test_waiting_descriptors();
	test_steady_trim();
	test_segment_numbers();
	test_deep_reading();
	test_retention_forever();
	test_cascade_names();
	test_stray_descriptors();
	fixture_close(&f);
	test_damaged_marks();
	test_damaged_chain();
	test_damaged_row();
	test_damaged_far();
	test_damaged_half();
	test_damaged_boundary();
	test_damaged_list();
	test_damaged_retention();
	test_broken_list();
	test_poisoned_clock();
	fixture_shadow_ok(&f);
	return tap_done();
}
