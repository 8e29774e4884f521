/*
 * test_wal.c - the write-ahead log stays bounded, a reader that pins it does not stop the writer; the shadow's
 * comparison can fail.
 */
#include <sys/stat.h>

#include "lib/log.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;

static int64_t wal_size(void)
{
	char path[128];
	struct stat sb;

	snprintf(path, sizeof path, "%s/%s-wal", f.dir, SL_VOLUME_FILE);
	return stat(path, &sb) ? -1 : (int64_t)sb.st_size;
}

/* The largest log seen during n commits. */
static int64_t load(int n)
{
	static char data[1000];
	int64_t largest = 0;

	memset(data, 'd', sizeof data - 1);
	for (int i = 0; i < n; i++) {
		f.mono_ms += 5;
		append(&f, c, "s", data);
		if (wal_size() > largest)
			largest = wal_size();
	}
	return largest;
}

static void test_bounded(void)
{
	int64_t largest;

	f.store->settings.checkpoint_bytes = 128 << 10;
	create(&f, c, "s", "text/plain", "");
	largest = load(3000);
	printf("# largest log %lld\n", (long long)largest);
	ok(largest > 128 << 10, "checkpoints wait for checkpoint_bytes");
	ok(largest < 8 * (128 << 10), "the log stays bounded");
}

static void test_pinned(void)
{
	struct sl_reader *r;
	struct sl_facts facts;
	const char *why;
	int64_t pinned;

	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &r, &why) == 0 && sl_reader_begin(r) == 0, "a reader");
	sl_reader_facts(r, SL_STR("s"), f.wall_ms, &facts);
	pinned = load(1000);
	ok(pinned > 8 * (128 << 10), "that keeps a transaction open lets the log grow");
	sl_reader_end(r);
	sl_reader_close(r);
	load(300);
	pinned = wal_size();
	load(1000);
	ok(wal_size() == pinned, "when it has gone, the log is used again from its beginning");
}

/* No commit makes the file longer: that is done ahead of it, a mebibyte at once, up to where checkpoints let it begin anew. */
static void test_ahead(void)
{
	static const int64_t step = 1 << 20;
	bool whole = true, enough = true;
	struct se_status s;

	fixture_reopen(&f);
	f.store->settings.checkpoint_bytes = (uint64_t)(3 * step);
	c = fixture_client(&f);
	is_int(wal_size(), step, "before the first commit");
	create(&f, c, "ahead", "text/plain", "");
	for (int i = 0; i < 120; i++) {
		load(1);
		se_status(f.store->se, &s);
		whole &= wal_size() % step == 0;
		enough &= (int64_t)s.wal_bytes < wal_size();
	}
	ok(whole && enough, "a commit finds the room it needs");
	ok(wal_size() > step, "again and again");
	load(1000);
	ok(wal_size() < 4 * step, "no further than checkpoints let it come");
}

static void test_comparison(void)
{
	char why[256] = "", path[192];
	sqlite3 *db;

	is_int(shadow_compare(f.store, why, sizeof why), 0, "equal");
	snprintf(path, sizeof path, "%s", shadow_path(f.store));
	ok(sqlite3_open(path, &db) == SQLITE_OK &&
	           sqlite3_exec(db, "UPDATE chunk SET data = x'00' WHERE id = 5", NULL, NULL, NULL) == SQLITE_OK,
	   "one byte is changed");
	sqlite3_close(db);
	ok(shadow_compare(f.store, why, sizeof why) != 0 && strstr(why, "table=chunk row=5 column=data"), "is found");
}

int main(void)
{
	fixture_open(&f, NULL);
	sl_log_level(SLUICE_LOG_ERR);
	c = fixture_client(&f);
	test_bounded();
	test_pinned();
	test_ahead();
	test_comparison();
	fixture_close(&f);
	is_int(f.shadow_equal, 0, "and told at the end");
	return tap_done();
}
