/*
 * test_snapshot.c - snapshots: where they may be, what they make unreadable, who has them, when their bytes go; as readers see them; after
 * a crash, after a list that was rolled back, in a volume that knew none.
 */
#include <openssl/sha.h>
#include <unistd.h>

#include "lib/schema.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;
static char big[3 << 20];

static struct sl_store_op snapshot_op(const char *stream, uint64_t pos, const char *data)
{
	struct sl_store_op op = op_of(SLUICE_OP_SNAPSHOT, stream);

	op.flags = SLUICE_A_AT_POS;
	op.trim_to = pos;
	op.content_type = SL_STR("application/x-state");
	op.data = sl_slice_str(data);
	return op;
}

static struct sl_store_outcome snapshot(const char *stream, uint64_t pos, const char *data)
{
	return run(&f, c, snapshot_op(stream, pos, data));
}

static struct sl_store_outcome snapshot_at(const char *stream, uint64_t offset, const char *data)
{
	struct sl_store_op op = snapshot_op(stream, offset, data);

	op.flags = 0;
	return run(&f, c, op);
}

static struct sl_store_outcome snapshot_big(const char *stream, uint64_t pos, size_t n)
{
	struct sl_store_op op = snapshot_op(stream, pos, "");
	int fd = memfd(big, n);
	uint64_t req;

	op.n_fd = 1;
	op.data_len = n;
	req = send_ops(c, &op, 1, &fd, 1);
	close(fd);
	wait_result(&f, c, req);
	return c->out[0];
}

/* ---- as a reader sees it ---- */

static struct sl_reader *reader_open(void)
{
	struct sl_reader *r = NULL;
	const char *why = "";

	if (sl_reader_open(f.dir, SL_SCHEMA, 0, &r, &why) || sl_reader_begin(r)) {
		printf("Bail out! %s\n", why);
		exit(99);
	}
	return r;
}

static void reader_close(struct sl_reader *r)
{
	sl_reader_end(r);
	sl_reader_close(r);
}

static char seen[sizeof big + 1];

/* All bytes of a snapshot, in steps, into `seen`; their number, or a status. */
static int64_t bytes_of(struct sl_reader *r, uint64_t id, uint64_t bytes)
{
	uint64_t at = 0;

	do {
		sl_slice data;
		int rc = sl_reader_snapshot_step(r, id, at, bytes, &data);

		if (rc || data.len > SL_READ_STEP || at + data.len > sizeof big || (data.len == 0 && at < bytes))
			return rc ? rc : SLUICE_EINTERNAL;
		if (data.len)
			memcpy(seen + at, data.data, data.len);
		at += data.len;
	} while (at < bytes);
	seen[at] = '\0';
	return (int64_t)at;
}

/* "position: text" of a stream's snapshot, or "none". */
static const char *shown(const char *stream)
{
	static char text[160];
	struct sl_reader *r = reader_open();
	struct sl_facts facts = {.status = 0};
	struct sl_snapshot s = {0};
	int rc = sl_reader_facts(r, sl_slice_str(stream), f.wall_ms, &facts);

	snprintf(text, sizeof text, "none");
	if (rc == 0 && facts.snapshot) {
		rc = sl_reader_snapshot(r, facts.snapshot, &s);
		if (rc == 0 && bytes_of(r, facts.snapshot, s.bytes) < 0)
			rc = SLUICE_EINTERNAL;
		snprintf(text, sizeof text, "%llu: %.80s%s", (unsigned long long)s.pos, seen,
		         s.at == facts.earliest && s.pos == facts.earliest_pos ? "" : " (not at the earliest)");
	}
	if (rc || facts.status)
		snprintf(text, sizeof text, "(%d %d)", rc, facts.status);
	reader_close(r);
	return text;
}

/* The payload behind the earliest position, up to a budget. */
static const char *rest(const char *stream, uint64_t budget)
{
	static char text[256];
	struct sl_reader *r = reader_open();
	struct sl_facts facts;
	struct sl_plan plan;
	struct sl_place at;
	struct sl_step s = {0};
	size_t n = 0;
	int rc = sl_reader_facts(r, sl_slice_str(stream), f.wall_ms, &facts);

	text[0] = '\0';
	rc = rc ? rc : sl_reader_rest(r, &facts, budget, &plan, &at);
	for (s.next = plan.from, s.skip = at.skip; rc == 0 && (s.next < plan.end || s.skip);) {
		rc = sl_reader_step(r, facts.incarnation, s.next, s.skip, plan.end, &s);
		n += (size_t)snprintf(text + n, sizeof text - n, "%.*s", (int)s.data.len,
		                      s.data.len ? (const char *)s.data.data : "");
	}
	if (rc || n != plan.payload_bytes)
		snprintf(text, sizeof text, "(%d %zu)", rc, n);
	reader_close(r);
	return text;
}

static int64_t rows_of(const char *stream)
{
	char sql[160];

	snprintf(sql, sizeof sql, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = '%s')",
	         stream);
	return sql_int(&f, sql);
}

static void is_balanced(void)
{
	is_int(sql_int(&f, "SELECT coalesce((SELECT sum(live) FROM segment), 0)"
	                   " - coalesce((SELECT sum(bytes) FROM chunk WHERE segment IS NOT NULL), 0)"
	                   " - coalesce((SELECT sum(bytes) FROM snapshot WHERE segment IS NOT NULL), 0)"),
	       0, "segments count what is in them");
	is_int(sql_int(&f, "SELECT sum(refs <> (SELECT count(*) FROM stream WHERE snapshot = snapshot.id)) FROM snapshot"), 0,
	       "snapshots count who has them");
}

/* ---- publishing ---- */

static void test_publish(void)
{
	struct sl_store_outcome o;
	uint8_t digest[SL_DIGEST];
	static const char hashed[] = "application/x-state\0state 3";

	create(&f, c, "doc", "text/plain", "abc");
	append(&f, c, "doc", "de");
	append(&f, c, "doc", "f");
	is_str(shown("doc"), "none", "at first there is none");
	o = snapshot("doc", 3, "state 3");
	is_out(o, SLUICE_OK, 0, "one at the end of the first append");
	ok(o.snapshot == 8 && o.snapshot_pos == 3 && (o.flags & SLUICE_R_SNAPSHOT), "its place, as offset and position");
	ok(o.earliest == 8 && o.earliest_pos == 3 && o.tail == 21, "is what is readable now");
	SHA256((const void *)hashed, sizeof hashed - 1, digest);
	ok(o.snapshot_digest.len == SL_DIGEST && memcmp(o.snapshot_digest.data, digest, SL_DIGEST) == 0,
	   "its digest is SHA-256 of type, zero, bytes");
	is_str(shown("doc"), "3: state 3", "it is shown");
	is_str(contents(&f, "doc"), "de|f|", "and what is behind it");
	is_str(rest("doc", 100), "def", "all of that");
	is_str(rest("doc", 2), "de", "whole appends of it");
	is_str(rest("doc", 1), "de", "one at least");
	o = snapshot("doc", 3, "state 3");
	ok(o.status == SLUICE_OK && (o.flags & SLUICE_R_DUPLICATE), "the same again changes nothing");
	is_int(sql_int(&f, "SELECT count(*) FROM snapshot"), 1, "and leaves nothing");
	o = snapshot("doc", 3, "other");
	is_out(o, SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT, "another one at the same place is refused");
	ok(o.snapshot_pos == 3 && o.tail_pos == 6, "with what is there");
	is_out(snapshot("doc", 7, "x"), SLUICE_ECONFLICT, SLUICE_WHY_BEYOND, "beyond the tail");
	is_out(snapshot("doc", 2, "x"), SLUICE_EGONE, SLUICE_WHY_TRIMMED, "below the earliest");
	is_out(snapshot("doc", 4, "x"), SLUICE_EINVAL, SLUICE_WHY_BOUNDARY, "inside a message");
	is_out(snapshot("nowhere", 0, "x"), SLUICE_ENOENT, 0, "of no stream");
	is_str(shown("doc"), "3: state 3", "nothing of that changed it");
	is_out(snapshot_at("doc", 9, "x"), SLUICE_EINVAL, SLUICE_WHY_BOUNDARY, "an offset inside an append");
	is_out(snapshot_at("doc", 15, "state 5"), SLUICE_OK, 0, "an offset where one begins");
	is_str(shown("doc"), "5: state 5", "replaces it");
	is_out(snapshot("doc", 6, ""), SLUICE_OK, 0, "an empty one at the tail");
	is_str(shown("doc"), "6: ", "is one too");
	is_str(rest("doc", 100), "", "with nothing behind it");
	is_int(append(&f, c, "doc", "gh").start, 21, "appends go on");
	is_str(rest("doc", 100), "gh", "behind it");
	create(&f, c, "empty", "text/plain", "");
	is_out(snapshot("empty", 0, "nothing yet"), SLUICE_OK, 0, "of an empty stream");
	is_str(shown("empty"), "0: nothing yet", "at its beginning");
}

static void test_conditions(void)
{
	struct sl_store_op op;
	struct sl_store_outcome o;
	char digest[SL_DIGEST];

	create(&f, c, "if", "text/plain", "abc");
	op = snapshot_op("if", 0, "zero");
	op.flags |= SLUICE_A_EXPECT_SNAPSHOT;
	op.expect_snapshot = SL_STR("");
	o = run(&f, c, op);
	is_out(o, SLUICE_OK, 0, "none was there, as expected");
	memcpy(digest, o.snapshot_digest.data, SL_DIGEST);
	op.trim_to = 3;
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT, "one is there");
	op.expect_snapshot = SL_SLICE(digest, SL_DIGEST);
	is_out(run(&f, c, op), SLUICE_OK, 0, "that one");
	op = snapshot_op("if", 3, "replaced");
	op.flags |= SLUICE_A_REPLACE;
	is_out(run(&f, c, op), SLUICE_OK, 0, "another one at the same place, on purpose");
	is_str(shown("if"), "3: replaced", "is there");
	op.flags |= SLUICE_A_EXPECT_TAIL | SLUICE_A_EXPECT_POS;
	op.expect_tail = 2;
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "another tail");
	op = snapshot_op("if", 3, "x");
	op.flags |= SLUICE_A_PRODUCER;
	op.producer = SL_STR("p");
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "by a producer");
	op.flags = SLUICE_A_AT_POS;
	op.marks = SL_STR("\x02\x00\x01");
	is_out(run(&f, c, op), SLUICE_EINVAL, 0, "with messages");
}

/* Messages of JSON begin inside an append; the other door, which knows only appends, shows that one whole. */
static void test_messages(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "json");

	op.content_type = SL_STR("application/json");
	op.data = SL_STR("1223334444");
	op.marks = SL_STR("\x04\x01\x02\x03\x04");
	run(&f, c, op);
	append(&f, c, "json", "55555");
	is_out(snapshot("json", 2, "x"), SLUICE_EINVAL, SLUICE_WHY_BOUNDARY, "inside an element");
	is_out(snapshot("json", 3, "three"), SLUICE_OK, 0, "between two elements of one append");
	is_str(shown("json"), "3: three", "is there");
	is_str(rest("json", 100), "333444455555", "with the rest of that append behind it");
	is_str(rest("json", 3), "3334444", "which is not cut");
	is_str(contents(&f, "json"), "1223334444|55555|", "appends are read whole");
	is_out(snapshot("json", 1, "x"), SLUICE_EGONE, SLUICE_WHY_TRIMMED, "an element before it");
	is_out(fork_at(&f, c, "jfork", "json", 0, 0), SLUICE_OK, 0, "a fork from before that append");
	is_str(shown("jfork"), "none", "has not what stands for more");
	is_int(append(&f, c, "jfork", "9").tail_pos, 1, "and counts from its own beginning");
	is_out(snapshot("json", 6, "six"), SLUICE_OK, 0, "a later element");
	is_out(snapshot("json", 15, "all"), SLUICE_OK, 0, "the tail");
	is_str(contents(&f, "json"), "", "nothing behind it");
	is_balanced();
}

static void test_trim(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "trim");

	create(&f, c, "trim", "text/plain", "abc");
	append(&f, c, "trim", "de");
	snapshot("trim", 3, "state");
	op.flags = SLUICE_A_AT_POS;
	op.trim_to = 2;
	is_out(run(&f, c, op), SLUICE_OK, 0, "trimming what is trimmed");
	is_str(shown("trim"), "3: state", "leaves it");
	op.trim_to = 4;
	run(&f, c, op);
	is_str(shown("trim"), "3: state", "so does a position in the first append behind it");
	op.trim_to = 5;
	is_int(run(&f, c, op).earliest, 15, "trimming by position");
	is_str(shown("trim"), "none", "further takes it away, since it is not whole any more");
	is_balanced();
}

static void test_retention(void)
{
	const char *const names[] = {"old/doc", "old/log"};
	struct client *w = fixture_client(&f);

	for (int i = 0; i < 2; i++) {
		create(&f, c, names[i], "text/plain", "abc");
		append(&f, c, names[i], "de");
	}
	snapshot("old/doc", 3, "state");
	sl_put_store_retention(&w->ipc, &(struct sl_store_retention){
						.rules = {.n = 1, .v = (struct sl_store_rule[]){{.prefix = SL_STR("old/"), .max_age_ms = 1000}}}});
	client_pump(&f, w);
	fixture_pass(&f, 100000);
	fixture_pass(&f, 100000);
	is_str(contents(&f, "old/log"), "", "retention trims by age");
	is_str(contents(&f, "old/doc"), "de|", "but not what a snapshot needs to be whole");
	client_end(w);
	f.n--;
	fixture_turns(&f, 2);
}

/* ---- who has them, and how long ---- */

static void test_forks(void)
{
	create(&f, c, "src", "text/plain", "abc");
	append(&f, c, "src", "de");
	append(&f, c, "src", "f");
	fork_at(&f, c, "early", "src", 8, 0);
	append(&f, c, "early", "!");
	snapshot("src", 3, "state 3");
	is_out(fork_at(&f, c, "late", "src", 15, 0), SLUICE_OK, 0, "a fork of a stream with a snapshot");
	append(&f, c, "late", "?");
	is_str(shown("late"), "3: state 3", "has it too");
	is_str(contents(&f, "late"), "de|?|", "and what was behind it");
	is_str(shown("early"), "none", "an older fork has not");
	is_balanced();
	snapshot("src", 6, "state 6");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 100000);
	is_str(shown("src"), "6: state 6", "the source goes on");
	is_str(shown("late"), "3: state 3", "its fork keeps the old one");
	is_str(contents(&f, "early"), "abc|!|", "and what they inherited");
	is_str(contents(&f, "late"), "de|?|", "stays");
	snapshot("early", 3, "early 3");
	removal(&f, c, "src");
	is_str(contents(&f, "late"), "de|?|", "also when the source is deleted");
	for (int i = 0; i < 3; i++)
		fixture_pass(&f, 100000);
	is_str(shown("late"), "3: state 3", "and the snapshot");
	is_balanced();
	removal(&f, c, "late");
	removal(&f, c, "early");
	for (int i = 0; i < 4; i++)
		fixture_pass(&f, 100000);
	is_int(sql_int(&f, "SELECT count(*) FROM snapshot WHERE pos IN (3, 6) AND data IN (CAST('state 3' AS BLOB), CAST('state 6' AS BLOB))"),
	       0, "with the last of them it goes");
}

static void test_delay(void)
{
	struct sl_reader *r;
	struct sl_facts facts;
	uint64_t id;

	create(&f, c, "slow", "text/plain", "abc");
	snapshot("slow", 0, "first");
	r = reader_open();
	sl_reader_facts(r, SL_STR("slow"), f.wall_ms, &facts);
	id = facts.snapshot;
	reader_close(r);
	snapshot("slow", 3, "second");
	fixture_pass(&f, 59000);
	r = reader_open();
	is_int(bytes_of(r, id, 5), 5, "who had begun to read the old one goes on");
	is_str(seen, "first", "with its bytes");
	reader_close(r);
	fixture_pass(&f, 2000);
	fixture_pass(&f, 2000);
	r = reader_open();
	is_int(bytes_of(r, id, 5), SLUICE_EGONE, "until a minute later");
	reader_close(r);
	is_int(rows_of("slow"), 0, "rows below it go likewise");
	for (int i = 0; i < 40; i++)
		snapshot("slow", 3, i % 2 ? "a" : "b");
	removal(&f, c, "slow");
	create(&f, c, "slow", "text/plain", "new");
	is_str(shown("slow"), "none", "a new stream of the name has none");
}

static void test_large(void)
{
	uint64_t many = 0;

	create(&f, c, "large", "text/plain", "abc");
	is_out(snapshot_big("large", 0, sizeof big), SLUICE_OK, 0, "3 MiB as a descriptor");
	shown("large");
	ok(memcmp(seen, big, sizeof big) == 0, "the same bytes, in steps");
	ok(snapshot_big("large", 0, sizeof big).flags & SLUICE_R_DUPLICATE, "the same again");
	is_out(snapshot_big("large", 0, sizeof big - 1), SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT, "another one");
	is_balanced();
	for (int i = 0; i < 20; i++) {
		append(&f, c, "large", "x");
		many += snapshot_big("large", 4 + (uint64_t)i, 300000 + (size_t)i).status == SLUICE_OK;
	}
	is_int(many, 20, "one after the other");
	is_balanced();
	for (int i = 0; i < 4; i++)
		fixture_pass(&f, 61000);
	is_int(sql_int(&f, "SELECT sum(bytes) FROM snapshot WHERE segment IS NOT NULL"), 300019, "the last one is left");
	is_balanced();
	shown("large");
	ok(memcmp(seen, big, 300019) == 0, "and can be read");
}

/* ---- nothing by halves ---- */

static void test_list(void)
{
	struct sl_store_op ops[3] = {op_of(SLUICE_OP_APPEND, "list"), snapshot_op("list", 6, "six"),
	                             op_of(SLUICE_OP_APPEND, "missing")};

	create(&f, c, "list", "text/plain", "abc");
	snapshot("list", 3, "three");
	ops[0].data = SL_STR("def");
	ops[2].data = SL_STR("x");
	run_list(&f, c, ops, 3);
	is_out(c->out[2], SLUICE_ENOENT, 0, "a list whose last operation is refused");
	is_str(shown("list"), "3: three", "leaves the snapshot");
	is_str(contents(&f, "list"), "", "and the stream");
	is_int(sql_int(&f, "SELECT count(*) FROM snapshot WHERE dead_ms IS NOT NULL AND data = CAST('three' AS BLOB)"), 0,
	       "which is not dead");
	run_list(&f, c, ops, 2);
	is_out(c->out[1], SLUICE_OK, 0, "an append and its snapshot in one step");
	ok(c->out[1].snapshot_pos == 6 && c->out[1].snapshot_digest.len == SL_DIGEST, "with its result");
	is_str(shown("list"), "6: six", "both");
}

static void test_crash(void)
{
	snapshot("list", 6, "six");
	append(&f, c, "large", "x");
	is_out(snapshot_big("large", 24, 400000), SLUICE_OK, 0, "the last thing before a crash");
	fixture_kill(&f);
	c = fixture_client(&f);
	is_str(shown("list"), "6: six", "after a crash they are there");
	shown("large");
	ok(memcmp(seen, big, 400000) == 0, "large ones too");
	append(&f, c, "list", "ghi");
	is_str(rest("list", 100), "ghi", "and the streams go on");
	is_balanced();
}

static void test_migration(void)
{
	char dir[sizeof f.dir], path[sizeof f.dir + 16];
	sqlite3 *db;

	snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
	ok(mkdtemp(dir) != NULL, "a directory");
	fixture_open(&f, dir);
	c = fixture_client(&f);
	create(&f, c, "doc", "text/plain", "abc");
	fork_at(&f, c, "fork", "doc", -1, 0);
	fixture_close(&f);
	snprintf(path, sizeof path, "%s/%s", dir, SL_VOLUME_FILE);
	ok(sqlite3_open(path, &db) == SQLITE_OK &&
	           sqlite3_exec(db,
	                        "DROP TABLE snapshot; ALTER TABLE stream DROP COLUMN snapshot; ALTER TABLE chunk DROP COLUMN crc;"
	                        "PRAGMA user_version = 2",
	                        NULL, NULL, NULL) == SQLITE_OK,
	   "a volume of the second schema");
	sqlite3_close(db);
	fixture_open(&f, dir);
	c = fixture_client(&f);
	is_str(contents(&f, "doc"), "abc|", "is read after the step");
	is_out(snapshot("fork", 3, "state"), SLUICE_OK, 0, "and takes snapshots");
	is_str(shown("fork"), "3: state", "which are there");
	fixture_close(&f);
	fixture_shadow_ok(&f);
	fixture_remove(dir);
}

int main(void)
{
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 7 + i / 251);
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_publish();
	test_conditions();
	test_messages();
	test_trim();
	test_retention();
	test_forks();
	test_delay();
	test_large();
	test_list();
	test_crash();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	test_migration();
	return tap_done();
}
