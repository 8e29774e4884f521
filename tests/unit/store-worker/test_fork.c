/*
 * test_fork.c - forks: points, sub-offsets, chains, deletion and what it frees (durable-streams 15).
 */
#include "lib/marks.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;

static void test_points(void)
{
	struct sl_store_outcome o;

	create(&f, c, "src", "text/plain", "one");
	append(&f, c, "src", "two");
	append(&f, c, "src", "three");
	o = fork_at(&f, c, "f0", "src", 0, 0);
	is_out(o, SLUICE_OK, 0, "fork at the beginning");
	is_int(o.tail, 0, "empty");
	o = fork_at(&f, c, "f1", "src", 8, 0);
	is_int(o.tail, 8, "fork behind the first record");
	o = fork_at(&f, c, "ftail", "src", -1, 0);
	is_int(o.tail, 26, "fork at the tail");
	is_out(fork_at(&f, c, "x", "src", 27, 0), SLUICE_EINVAL, SLUICE_WHY_FORK_OFFSET, "beyond the tail");
	is_out(fork_at(&f, c, "x", "src", 9, 0), SLUICE_EINVAL, SLUICE_WHY_FORK_OFFSET, "not a boundary");
	is_out(fork_at(&f, c, "x", "none", 0, 0), SLUICE_ENOENT, SLUICE_WHY_FORK_SOURCE, "no source");
	is_out(fork_at(&f, c, "x", "x", 0, 0), SLUICE_ENOENT, SLUICE_WHY_FORK_SOURCE, "of itself");
	append(&f, c, "f1", "mine");
	append(&f, c, "src", "four");
	is_str(contents(&f, "f1"), "one|mine|", "seamless");
	is_str(contents(&f, "ftail"), "one|two|three|", "what came later is not seen");
	is_str(contents(&f, "src"), "one|two|three|four|", "the source goes on");
	is_out(fork_at(&f, c, "f1", "src", 8, 0), SLUICE_OK, 0, "the same again");
	is_out(fork_at(&f, c, "f1", "src", -1, 0), SLUICE_OK, 0, "an omitted offset is not compared");
	is_out(fork_at(&f, c, "f1", "src", 0, 0), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "another offset");
	is_out(create(&f, c, "f1", "text/plain", ""), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "a plain create on a fork");
	is_out(fork_at(&f, c, "src", "f1", 0, 0), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "a fork onto an existing stream");
	is_int(sql_int(&f, "SELECT forks FROM stream WHERE name = 'src'"), 3, "failures hold no reference");
}

static void test_type_and_body(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "typed");
	struct sl_store_outcome o;

	op.flags = SLUICE_A_FORK;
	op.fork_of = SL_STR("src");
	op.content_type = SL_STR("text/html");
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_FORK_TYPE, "another type");
	op.content_type = SL_STR("Text/Plain; x=y");
	op.data = SL_STR("body");
	op.flags |= SLUICE_A_CLOSE;
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "same type, with a body, closed");
	is_int(o.flags, SLUICE_R_CREATED | SLUICE_R_CLOSED, "flags");
	is_str(contents(&f, "typed"), "one|two|three|four|body|", "the body follows");
	o = fork_at(&f, c, "of-closed", "typed", -1, 0);
	is_out(o, SLUICE_OK, 0, "a closed source");
	is_out(append(&f, c, "of-closed", "!"), SLUICE_OK, 0, "its fork is open");
}

static void test_sub(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "json");
	struct sl_store_outcome o;

	create(&f, c, "abc", "text/plain", "abcdef");
	append(&f, c, "abc", "ghi");
	o = fork_at(&f, c, "s4", "abc", 0, 4);
	is_out(o, SLUICE_OK, 0, "sub-offset");
	is_int(o.tail, 9, "the prefix is a record");
	is_str(contents(&f, "s4"), "abcd|", "of the first bytes");
	o = fork_at(&f, c, "s4.2", "s4", 0, 2);
	is_str(contents(&f, "s4.2"), "ab|", "of a fork's own record");
	append(&f, c, "s4.2", "XY");
	is_str(contents(&f, "s4.2"), "ab|XY|", "appends go on");
	is_out(fork_at(&f, c, "s6", "abc", 0, 6), SLUICE_OK, 0, "the whole record");
	is_out(fork_at(&f, c, "s7", "abc", 0, 7), SLUICE_EINVAL, SLUICE_WHY_FORK_SUB, "past the record");
	is_out(fork_at(&f, c, "s1", "abc", -1, 1), SLUICE_EINVAL, SLUICE_WHY_FORK_SUB, "at the tail");
	o = fork_at(&f, c, "s11", "abc", 11, 1);
	is_str(contents(&f, "s11"), "abcdef|g|", "of a later record");
	is_out(fork_at(&f, c, "s11", "abc", 11, 1), SLUICE_OK, 0, "the same again");
	is_out(fork_at(&f, c, "s11", "abc", 11, 2), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "another sub-offset");
	op.content_type = SL_STR("application/json");
	op.data = SL_STR("1\"two\"333");
	op.marks = SL_STR("\x03\x01\x05\x03");
	is_out(run(&f, c, op), SLUICE_OK, 0, "messages");
	o = fork_at(&f, c, "j2", "json", 0, 2);
	is_str(contents(&f, "j2"), "1\"two\"|", "two messages");
	is_int(sql_int(&f, "SELECT messages FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'j2')"), 2,
	       "counted");
	o = fork_at(&f, c, "j1", "j2", 0, 1);
	is_str(contents(&f, "j1"), "1|", "one message of a prefix");
	is_out(fork_at(&f, c, "j4", "json", 0, 4), SLUICE_EINVAL, SLUICE_WHY_FORK_SUB, "more messages than there are");
}

static void test_deep(void)
{
	char name[32], source[32], want[1024] = "";

	create(&f, c, "d0", "text/plain", "0");
	for (int i = 1; i <= 50; i++) {
		snprintf(source, sizeof source, "d%d", i - 1);
		snprintf(name, sizeof name, "d%d", i);
		fork_at(&f, c, name, source, -1, 0);
		snprintf(source, sizeof source, "%d", i);
		append(&f, c, name, source);
		append(&f, c, name, "later");
		if (i < 50) { /* the next one is cut off before it */
			snprintf(source, sizeof source, "e%d", i);
			fork_at(&f, c, source, name, 6, 0);
		}
	}
	is_str(contents(&f, "e49"), "0|", "the lowest of all fork points counts");
	for (int i = 0; i <= 50; i++)
		snprintf(want + strlen(want), sizeof want - strlen(want), i ? "%d|later|" : "%d|", i);
	is_str(contents(&f, "d50"), want, "a chain of 50");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "d%d", i);
		removal(&f, c, name);
	}
	fixture_pass(&f, 200000);
	is_str(contents(&f, "d50"), want, "still there with every ancestor deleted");
	fixture_reopen(&f);
	c = fixture_client(&f);
	is_str(contents(&f, "d50"), want, "and after a restart");
}

static void test_soft(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CLOSE, "p");

	create(&f, c, "p", "text/plain", "base");
	fork_at(&f, c, "q", "p", -1, 0);
	fork_at(&f, c, "q2", "q", -1, 0);
	append(&f, c, "q2", "top");
	is_out(removal(&f, c, "p"), SLUICE_OK, 0, "delete a source");
	is_out(removal(&f, c, "p"), SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, "again");
	is_out(append(&f, c, "p", "x"), SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, "append");
	is_out(run(&f, c, op), SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, "close");
	is_out(create(&f, c, "p", "text/plain", ""), SLUICE_EEXIST, SLUICE_WHY_SOFT_DELETED, "create");
	is_out(fork_at(&f, c, "z", "p", 0, 0), SLUICE_ECONFLICT, SLUICE_WHY_SOFT_DELETED, "fork");
	is_str(contents(&f, "p"), "(-14)", "read");
	is_str(contents(&f, "q2"), "base|top|", "forks go on");
	removal(&f, c, "q");
	is_str(contents(&f, "q2"), "base|top|", "with the middle deleted too");
	removal(&f, c, "q2");
	is_str(contents(&f, "p"), "(-6)", "the last one takes all along");
	is_str(contents(&f, "q"), "(-6)", "all of them");
	is_out(create(&f, c, "p", "text/plain", ""), SLUICE_OK, 0, "the name is free");
	fixture_pass(&f, 200000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name = 'q2'"), 0, "reaped");
}

/* Longer than a batch frees at once: the sweep goes on with the rest. */
static void test_long_cascade(void)
{
	char name[32], source[32];

	create(&f, c, "k0", "text/plain", "x");
	for (int i = 1; i <= 200; i++) {
		snprintf(source, sizeof source, "k%d", i - 1);
		snprintf(name, sizeof name, "k%d", i);
		fork_at(&f, c, name, source, -1, 0);
		removal(&f, c, source);
	}
	removal(&f, c, "k200");
	fixture_pass(&f, 70000);
	for (int i = 0; i < 6; i++)
		fixture_pass(&f, 70000);
	is_int(sql_int(&f, "SELECT count(*) FROM stream WHERE name LIKE 'k%'"), 0, "a chain of 200 is gone");
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream NOT IN (SELECT id FROM stream)"), 0,
	       "and no row without a stream");
}

static void test_trimmed(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "tr");

	create(&f, c, "tr", "text/plain", "a");
	append(&f, c, "tr", "b");
	append(&f, c, "tr", "c");
	fork_at(&f, c, "trf", "tr", 12, 0);
	op.trim_to = 18;
	run(&f, c, op);
	fixture_pass(&f, 100000);
	fixture_pass(&f, 100000);
	is_str(contents(&f, "tr"), "", "trimmed");
	is_str(contents(&f, "trf"), "a|b|", "a fork keeps what it reaches");
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'tr')"),
	       2 + 1, "rows");
	is_out(fork_at(&f, c, "trg", "tr", 6, 0), SLUICE_EGONE, SLUICE_WHY_TRIMMED, "below the earliest offset");
	op.stream = SL_STR("trf");
	op.trim_to = 6;
	run(&f, c, op);
	is_str(contents(&f, "trf"), "b|", "a fork can be trimmed inside its ancestor");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 100000);
	is_str(contents(&f, "trf"), "b|", "and keeps the rest");
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'tr')"), 2,
	       "rows below what it reaches are gone");
	removal(&f, c, "trf");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 100000);
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'tr')"), 0,
	       "nobody needs it now");
}

static int64_t rows_of(const char *id)
{
	char sql[96];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM chunk WHERE stream = %s", id);
	return sql_int(&f, sql);
}

/* Forks that die all the time do not keep their source from giving back what it was trimmed of. */
static void test_churn(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "ch");
	const char *id = "(SELECT id FROM stream WHERE name = 'ch')";
	char name[32];

	create(&f, c, "ch", "text/plain", "a");
	append(&f, c, "ch", "b");
	append(&f, c, "ch", "c");
	op.trim_to = 12;
	run(&f, c, op);
	for (int i = 0; i < 30; i++) {
		snprintf(name, sizeof name, "ch%d", i);
		fork_at(&f, c, name, "ch", -1, 0);
		removal(&f, c, name);
		fixture_pass(&f, 10000);
	}
	is_int(rows_of(id), 1, "rows go while forks come and go");
}

/* Who began to read before a commit that puts rows out of reach has reap_delay to finish, whatever waits already. */
static void test_delay(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "dl1");
	char id[32];

	snprintf(id, sizeof id, "%llu", (unsigned long long)create(&f, c, "dl", "text/plain", "a").incarnation);
	append(&f, c, "dl", "b");
	append(&f, c, "dl", "c");
	fork_at(&f, c, "dl1", "dl", -1, 0);
	op.trim_to = 12;
	run(&f, c, op);
	for (int i = 0; i < 4; i++)
		fixture_pass(&f, 61000);
	is_int(rows_of(id), 3, "a live source shows them all");
	fork_at(&f, c, "dl2", "dl", -1, 0);
	removal(&f, c, "dl");
	fixture_pass(&f, 50000);
	removal(&f, c, "dl2");
	fixture_pass(&f, 11000);
	is_int(rows_of(id), 3, "the turn of the deletion comes; the fork that died meanwhile may be read still");
	fixture_pass(&f, 48000);
	is_int(rows_of(id), 3, "for reap_delay");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 61000);
	is_int(rows_of(id), 1, "then only what the other fork reaches is left");
	is_str(contents(&f, "dl1"), "c|", "and can be read");
	snprintf(id, sizeof id, "%llu", (unsigned long long)create(&f, c, "sd", "text/plain", "a").incarnation);
	fork_at(&f, c, "sd1", "sd", -1, 0);
	op.stream = SL_STR("sd1");
	op.trim_to = 6;
	run(&f, c, op);
	for (int i = 0; i < 4; i++)
		fixture_pass(&f, 61000);
	removal(&f, c, "sd");
	fixture_pass(&f, 59000);
	is_int(rows_of(id), 1, "a soft-deleted source keeps its rows for reap_delay");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 61000);
	is_int(rows_of(id), 0, "then they go");
}

static void test_expiry(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "ttl");

	op.flags = SLUICE_A_TTL;
	op.ttl_s = 1000;
	op.data = SL_STR("x");
	run(&f, c, op);
	fork_at(&f, c, "ttl-fork", "ttl", -1, 0);
	is_int(sql_int(&f, "SELECT ttl_s FROM stream WHERE name = 'ttl-fork'"), 1000, "the window is inherited");
	is_out(fork_at(&f, c, "ttl-fork", "ttl", -1, 0), SLUICE_OK, 0, "and the request can be repeated");
	op = op_of(SLUICE_OP_CREATE, "own");
	op.flags = SLUICE_A_FORK | SLUICE_A_TTL;
	op.fork_of = SL_STR("ttl");
	op.ttl_s = 5000;
	is_out(run(&f, c, op), SLUICE_OK, 0, "or its own");
	is_out(run(&f, c, op), SLUICE_OK, 0, "repeated");
	op.flags &= ~SLUICE_A_TTL;
	is_out(run(&f, c, op), SLUICE_EEXIST, SLUICE_WHY_CONFIG, "without it: another configuration");
	f.wall_ms += 2000000;
	is_out(append(&f, c, "ttl", "y"), SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED, "expired with forks alive: gone");
	is_out(append(&f, c, "ttl-fork", "y"), SLUICE_ENOENT, 0, "expired without: not there");
	is_str(contents(&f, "own"), "x|", "its fork lives on");
}

int main(void)
{
	fixture_open(&f, NULL);
	f.apart_ms = 1000;
	c = fixture_client(&f);
	test_points();
	test_type_and_body();
	test_sub();
	test_deep();
	test_soft();
	test_long_cascade();
	test_trimmed();
	test_churn();
	test_delay();
	test_expiry();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	return tap_done();
}
