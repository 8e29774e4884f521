/*
 * test_position.c - positions, which count payload bytes alone: of results and facts, from a position to its record through rows, forks
 * and trims, and the step of the schema that brought them to volumes that had none.
 */
#include <stdlib.h>

#include "lib/schema.h"
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

static void reader_open(void)
{
	const char *why = "";

	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &r, &why) == 0 && sl_reader_begin(r) == 0, "a reader");
}

static void reader_close(void)
{
	sl_reader_end(r);
	sl_reader_close(r);
}

struct expect {
	const char *stream;
	uint64_t pos, offset, skip;
	uint32_t messages;
	bool inside;
	int status;
};

static void check_places(const struct expect *e, size_t n)
{
	for (size_t i = 0; i < n; i++, e++) {
		struct sl_facts facts = facts_of(e->stream);
		struct sl_place at;
		int rc = sl_reader_place(r, &facts, e->pos, &at);
		bool good = rc == e->status && (rc || (at.offset == e->offset && at.skip == e->skip &&
		                                       at.messages == e->messages && at.inside == e->inside));

		ok(good, "a place");
		if (!good)
			printf("# %s %llu: rc %d offset %llu skip %llu messages %u inside %d\n", e->stream,
			       (unsigned long long)e->pos, rc, (unsigned long long)at.offset,
			       (unsigned long long)at.skip, at.messages, at.inside);
	}
}

static void fill(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "json");
	struct sl_store_outcome o;

	create(&f, c, "text", "text/plain", "abc");
	o = append(&f, c, "text", "de");
	is_int(o.tail_pos, 5, "an append tells the position of the tail");
	append(&f, c, "text", "f");
	o = fork_at(&f, c, "fork", "text", 8, 0);
	is_int(o.tail_pos, 3, "a fork begins where its source was cut");
	append(&f, c, "fork", "XYZ");
	fork_at(&f, c, "young", "fork", -1, 0);
	append(&f, c, "young", "last");
	op.content_type = SL_STR("application/json");
	op.data = SL_STR("1223334444");
	op.marks = SL_STR("\x04\x01\x02\x03\x04");
	run(&f, c, op);
	append(&f, c, "json", "55555");
}

static void test_place(void)
{
	static const struct expect e[] = {
		{"text", 0, 0, 0, 0, false, 0},
		{"text", 1, 0, 1, 0, true, 0},
		{"text", 3, 8, 0, 0, false, 0},
		{"text", 4, 8, 1, 0, true, 0},
		{"text", 5, 15, 0, 0, false, 0},
		{"text", 6, 21, 0, 0, false, 0},
		{"text", 7, 0, 0, 0, false, SLUICE_ETOOBIG},
		{"fork", 2, 0, 2, 0, true, 0},
		{"fork", 3, 8, 0, 0, false, 0},
		{"fork", 5, 8, 2, 0, true, 0},
		{"fork", 6, 16, 0, 0, false, 0},
		{"young", 0, 0, 0, 0, false, 0},
		{"young", 4, 8, 1, 0, true, 0},
		{"young", 7, 16, 1, 0, true, 0},
		{"young", 10, 25, 0, 0, false, 0},
		{"json", 1, 0, 1, 1, false, 0},
		{"json", 2, 0, 2, 1, true, 0},
		{"json", 3, 0, 3, 2, false, 0},
		{"json", 6, 0, 6, 3, false, 0},
		{"json", 9, 0, 9, 3, true, 0},
		{"json", 10, 15, 0, 0, false, 0},
		{"json", 11, 15, 1, 0, true, 0},
		{"json", 15, 25, 0, 0, false, 0},
	};

	fill();
	reader_open();
	check_places(e, sizeof e / sizeof *e);
	reader_close();
}

/* A row for each of many commits: the search finds the right one of them. */
static void test_many(void)
{
	struct sl_place at;
	struct sl_facts facts;
	bool good = true;

	create(&f, c, "many", "text/plain", "");
	for (int i = 0; i < 300; i++)
		append(&f, c, "many", i % 3 ? "x" : "longer");
	reader_open();
	facts = facts_of("many");
	is_int(facts.tail_pos, 100 * 6 + 200, "the position of the tail");
	for (uint64_t pos = 0, offset = 0, i = 0; i < 300; i++) {
		uint64_t n = i % 3 ? 1 : 6;

		good = good && sl_reader_place(r, &facts, pos, &at) == 0 && at.offset == offset && at.skip == 0;
		good = good && sl_reader_place(r, &facts, pos + n - 1, &at) == 0 && at.offset == offset &&
		       at.skip == n - 1;
		pos += n;
		offset += n + SLUICE_RECORD_OVERHEAD;
	}
	ok(good, "first and last byte of every record");
	reader_close();
}

static void test_trim(void)
{
	static const struct expect e[] = {
		{"trim", 2, 0, 0, 0, false, SLUICE_EGONE},
		{"trim", 3, 8, 0, 0, false, 0},
		{"trim", 5, 15, 0, 0, false, 0},
	};
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, "trim");
	struct sl_store_outcome o;

	create(&f, c, "trim", "text/plain", "abc");
	append(&f, c, "trim", "de");
	op.trim_to = 8;
	o = run(&f, c, op);
	is_int(o.earliest_pos, 3, "the position of the earliest offset");
	reader_open();
	check_places(e, sizeof e / sizeof *e);
	reader_close();
	op.trim_to = 15;
	run(&f, c, op);
	fixture_pass(&f, 600 * 1000);
	fixture_pass(&f, 600 * 1000);
	is_int(sql_int(&f, "SELECT count(*) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'trim')"), 0,
	       "all of it was reaped");
	fixture_reopen(&f);
	c = fixture_client(&f);
	o = append(&f, c, "trim", "f");
	ok(o.tail == 21 && o.tail_pos == 6, "and the count goes on behind it, also after a restart");
}

static void test_expect(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "expect");

	create(&f, c, "expect", "text/plain", "abc");
	op.data = SL_STR("d");
	op.flags = SLUICE_A_EXPECT_TAIL | SLUICE_A_EXPECT_POS;
	op.expect_tail = 8;
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "an offset is no position");
	op.expect_tail = 3;
	is_out(run(&f, c, op), SLUICE_OK, SLUICE_WHY_NONE, "the position of the tail");
	is_out(run(&f, c, op), SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "once");
}

/* Every position of the volume in one number that depends on where each of them stands. */
static int64_t positions(void)
{
	return sql_int(&f, "SELECT (SELECT sum(pos * (id * 131 + stream)) FROM chunk) +"
	                   " (SELECT sum((base_pos * 17 + earliest_pos) * id) FROM stream)");
}

static void test_migration(void)
{
	char dir[sizeof f.dir], path[sizeof f.dir + 16];
	int64_t before;
	sqlite3 *db;

	snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
	ok(mkdtemp(dir) != NULL, "a directory");
	fixture_open(&f, dir);
	c = fixture_client(&f);
	fill();
	{
		struct sl_store_op op = op_of(SLUICE_OP_TRIM, "fork");

		op.trim_to = 8;
		run(&f, c, op);
	}
	before = positions();
	fixture_close(&f);
	snprintf(path, sizeof path, "%s/%s", dir, SL_VOLUME_FILE);
	ok(sqlite3_open(path, &db) == SQLITE_OK &&
	           sqlite3_exec(db,
	                        "ALTER TABLE chunk DROP COLUMN pos; ALTER TABLE stream DROP COLUMN base_pos;"
	                        "ALTER TABLE stream DROP COLUMN earliest_pos; DROP TABLE snapshot;"
	                        "ALTER TABLE stream DROP COLUMN snapshot; ALTER TABLE chunk DROP COLUMN crc; PRAGMA user_version = 1",
	                        NULL, NULL, NULL) == SQLITE_OK,
	   "a volume of the first schema");
	sqlite3_close(db);
	fixture_open(&f, dir);
	ok(before != 0 && positions() == before, "has the same positions after the step");
	c = fixture_client(&f);
	is_int(append(&f, c, "young", "!").tail_pos, 11, "and goes on from them");
	fixture_close(&f);
	fixture_remove(dir);
}

int main(void)
{
	fixture_open(&f, NULL);
	c = fixture_client(&f);
	test_place();
	test_many();
	test_trim();
	test_expect();
	fixture_close(&f);
	fixture_shadow_ok(&f);
	test_migration();
	return tap_done();
}
