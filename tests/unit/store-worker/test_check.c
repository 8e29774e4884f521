/*
 * test_check.c - the check of a data directory: what is sound is called sound, each kind of damage is found and named, and nothing is
 * written.
 */
#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include "lib/segment.h"
#include "lib/store_check.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;
static char copy[64], why[SL_CHECK_WHY], big[300000];
static uint64_t segment; /* the one in use */

static struct { /* what a check said */
	struct sl_check result;
	char text[8192]; /* "kind stream@offset file text\n" for each finding */
	int rc;
} said;

static void on_found(void *arg, const struct sl_finding *x)
{
	size_t at = strlen(said.text);

	(void)arg;
	snprintf(said.text + at, sizeof said.text - at, "%s%s %.*s@%lld %s %s\n", x->damage ? "" : "note ",
	         sl_finding_name(x->kind), (int)x->stream.len, x->stream.len ? (const char *)x->stream.data : "",
	         x->has_offset ? (long long)x->offset : -1LL, x->file ? x->file : "-", x->text);
}

static int on_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	(void)what;
	(void)done;
	(void)total;
	return *(int *)arg;
}

static void check(const char *dir, int give_up)
{
	static const struct sl_check_hooks hooks = {.found = on_found, .progress = on_progress};

	said.text[0] = why[0] = '\0';
	said.rc = sl_check_run(dir, &hooks, &give_up, &said.result, why);
}

/* ---- a directory to damage ---- */

static void copy_file(const char *dir, const char *name)
{
	char from[160], to[160], bytes[65536];
	FILE *in, *out;
	size_t n;

	snprintf(from, sizeof from, "%s/%s", dir, name);
	snprintf(to, sizeof to, "%s/%s", copy, name);
	in = fopen(from, "r");
	if (!in)
		return;
	out = fopen(to, "w");
	while (out && (n = fread(bytes, 1, sizeof bytes, in)) > 0)
		fwrite(bytes, 1, n, out);
	fclose(in);
	ok(out && fclose(out) == 0, "copied");
}

static void copy_all(void)
{
	char path[160], name[160];
	struct dirent *e;
	DIR *d;

	if (*copy)
		fixture_remove(copy);
	snprintf(copy, sizeof copy, "/tmp/store-check-XXXXXX");
	snprintf(path, sizeof path, "%s/%s", mkdtemp(copy), SL_SEGMENT_DIR);
	mkdir(path, 0700);
	copy_file(f.dir, SL_VOLUME_FILE);
	copy_file(f.dir, SL_VOLUME_FILE "-wal");
	snprintf(path, sizeof path, "%s/%s", f.dir, SL_SEGMENT_DIR);
	d = opendir(path);
	while (d && (e = readdir(d))) {
		snprintf(name, sizeof name, "%s/%.60s", SL_SEGMENT_DIR, e->d_name);
		if (e->d_name[0] != '.')
			copy_file(f.dir, name);
	}
	if (d)
		closedir(d);
}

static void sql(const char *text)
{
	char path[160];
	sqlite3 *db;

	snprintf(path, sizeof path, "%s/%s", copy, SL_VOLUME_FILE);
	ok(sqlite3_open(path, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "damaged");
	sqlite3_close(db);
}

static void poke(const char *name, uint64_t at, const char *bytes, size_t n)
{
	char path[160];
	int fd;

	snprintf(path, sizeof path, "%s/%s", copy, name);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	ok(fd >= 0 && pwrite(fd, bytes, n, (off_t)at) == (ssize_t)n, "damaged");
	close(fd);
}

static uint64_t send_as(struct sl_store_op op, size_t n)
{
	int fd = memfd(big, n + op.marks_len);
	uint64_t req;

	op.n_fd = 1;
	op.data_len = n;
	req = send_ops(c, &op, 1, &fd, 1);
	close(fd);
	wait_result(&f, c, req);
	return c->out[0].tail;
}

static uint64_t send_big(const char *stream, size_t n)
{
	return send_as(op_of(SLUICE_OP_APPEND, stream), n);
}

static void trim(const char *stream, uint64_t to)
{
	struct sl_store_op op = op_of(SLUICE_OP_TRIM, stream);

	op.trim_to = to;
	is_int(run(&f, c, op).status, SLUICE_OK, "trimmed");
}

/* Everything that a volume can have. Offsets: a record of n bytes takes n + 5. */
static void fill(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "json");
	char name[16];

	create(&f, c, "plain", "text/plain", "first"); /* 0, 10, 21, 31 */
	append(&f, c, "plain", "second");
	append(&f, c, "plain", "third");
	op.content_type = SL_STR("application/json");
	op.data = SL_STR("11223");
	op.marks = SL_SLICE("\x03\x02\x02\x01", 4);
	run(&f, c, op);
	append(&f, c, "json", "4");
	create(&f, c, "empty", "text/plain", "");
	create(&f, c, "large", "text/plain", "small");
	send_big("large", sizeof big);
	send_big("large", 200000);
	fork_at(&f, c, "prefix", "large", 10, 1000);
	/* Snapshots: between two elements of an append, shared with a fork; and one in a segment, which replaced another. */
	create(&f, c, "doc", "application/json", "");
	op.kind = SLUICE_OP_APPEND;
	op.stream = SL_STR("doc");
	run(&f, c, op);
	op = op_of(SLUICE_OP_SNAPSHOT, "doc");
	op.flags = SLUICE_A_AT_POS;
	op.trim_to = 2;
	op.data = SL_STR("state");
	is_int(run(&f, c, op).status, SLUICE_OK, "a snapshot");
	fork_at(&f, c, "copy", "doc", -1, 0);
	create(&f, c, "state", "text/plain", "x");
	op.stream = SL_STR("state");
	op.trim_to = 0;
	run(&f, c, op);
	op.trim_to = 1;
	op.data = SL_STR("");
	send_as(op, 150000);
	create(&f, c, "marked", "application/json", "");
	op = op_of(SLUICE_OP_APPEND, "marked");
	op.marks_len = 7;
	memcpy(big + 200000, "\x02\xa0\x8d\x06\xa0\x8d\x06", 7); /* two messages of 100000 bytes */
	is_int(send_as(op, 200000), 200005, "a payload with marks");
	for (uint64_t i = 0; i < 5; i++)
		produce(&f, c, "plain", "p", 0, i, "sixteen letters!"); /* 31 + 21 * 5 = 136 */
	op = op_of(SLUICE_OP_CREATE, "ttl");
	op.content_type = SL_STR("text/plain");
	op.flags = SLUICE_A_TTL;
	op.ttl_s = 1000000;
	run(&f, c, op);
	/* Trimmed, and freed as far as the fork lets it. */
	create(&f, c, "trimmed", "text/plain", "0123456789"); /* 15 a record, to 150 */
	for (int i = 1; i < 10; i++)
		append(&f, c, "trimmed", "0123456789");
	fork_at(&f, c, "child", "trimmed", 60, 3);
	append(&f, c, "child", "own");
	fork_at(&f, c, "grandchild", "child", 30, 0);
	trim("trimmed", 90);
	trim("child", 15);
	/* Deleted, held by a fork of it. */
	create(&f, c, "soft", "text/plain", "kept by its fork");
	append(&f, c, "soft", "not needed by it");
	fork_at(&f, c, "holds", "soft", 21, 0);
	removal(&f, c, "soft");
	for (int i = 0; i < 20; i++) {
		snprintf(name, sizeof name, "gone%d", i);
		create(&f, c, name, "text/plain", "x");
		removal(&f, c, name);
	}
	op = op_of(SLUICE_OP_CLOSE, "json");
	is_int(run(&f, c, op).status, SLUICE_OK, "closed");
}

/* ---- sound ---- */

static void test_sound(void)
{
	struct stat before, after;
	char path[160];

	/* The log has all of it. */
	copy_all();
	snprintf(path, sizeof path, "%s/%s-wal", copy, SL_VOLUME_FILE);
	ok(stat(path, &before) == 0 && before.st_size > 0, "there is a log");
	check(copy, 0);
	is_int(said.rc, 0, why);
	is_str(said.text, "", "a volume with a log is sound");
	is_int(said.result.streams, sql_int(&f, "SELECT count(*) FROM stream"), "all streams");
	is_int(said.result.records, sql_int(&f, "SELECT sum(records) FROM chunk"), "all records");
	is_int(said.result.bytes, sql_int(&f, "SELECT sum(bytes) FROM chunk"), "all bytes");
	is_int(said.result.payloads, 4, "all payloads, one of which a fork has a part of");
	is_int(said.result.position, sql_int(&f, "SELECT position FROM meta"), "the position is that of the log");
	ok(stat(path, &after) == 0 && after.st_size == before.st_size &&
	           after.st_mtim.tv_nsec == before.st_mtim.tv_nsec,
	   "the log is as it was");
	snprintf(path, sizeof path, "%s/%s-shm", copy, SL_VOLUME_FILE);
	ok(access(path, F_OK) != 0, "nothing is left behind");
	check(f.dir, 0);
	is_int(said.rc, SLUICE_EBUSY, "a volume in use is not looked at");
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	ok(sql_int(&f, "SELECT min(start) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'trimmed')") ==
	           0,
	   "a fork holds the beginning");
	copy_all();
	check(copy, 0);
	is_str(said.text, "", "sound after the sweep has been there");
	trim("grandchild", 30);
	trim("child", 60);
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	ok(sql_int(&f, "SELECT min(start) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'trimmed')") ==
	           90,
	   "now it is freed");
	copy_all();
	check(copy, 0);
	is_str(said.text, "", "sound when what forks no longer need is freed");
	check(copy, 1);
	is_int(said.rc, SLUICE_ECANCELED, "it can be given up");
}

static void test_closed(void)
{
	char path[160];

	copy_all();
	check(copy, 0);
	is_int(said.rc, 0, why);
	is_str(said.text, "", "a volume that was closed is sound");
	sql("UPDATE chunk SET crc = NULL");
	check(copy, 0);
	is_str(said.text, "", "so is one of a version without checksums");
	snprintf(path, sizeof path, "%s/%s", copy, SL_VOLUME_FILE);
	chmod(path, 0400);
	chmod(copy, 0500);
	check(copy, 0);
	is_int(said.rc, 0, "one that cannot be written is looked at");
	chmod(copy, 0700);
	chmod(path, 0600);
}

/* ---- not ours, not there ---- */

static void test_cannot(void)
{
	static const struct {
		const char *sql;
		int rc;
		const char *says;
	} other[] = {
		{"PRAGMA user_version = 99", SLUICE_ENOTSUP, "newer version"},
		{"PRAGMA user_version = 1", SLUICE_ENOTSUP, "older version"},
		{"PRAGMA application_id = 7", SLUICE_ENOTSUP, "another program"},
	};
	char path[160];
	FILE *out;

	for (size_t i = 0; i < sizeof other / sizeof *other; i++) {
		copy_all();
		sql(other[i].sql);
		check(copy, 0);
		is_int(said.rc, other[i].rc, other[i].sql);
		ok(strstr(why, other[i].says) != NULL, "with a sentence");
	}
	snprintf(path, sizeof path, "%s/%s-journal", copy, SL_VOLUME_FILE);
	out = fopen(path, "w");
	ok(out && fclose(out) == 0, "a journal");
	check(copy, 0);
	is_int(said.rc, SLUICE_EINTERNAL, "a start that was cut short");
	ok(strstr(why, "start it once") != NULL, "with a sentence");
	unlink(path);
	snprintf(path, sizeof path, "%s/%s", copy, SL_VOLUME_FILE);
	ok(truncate(path, 0) == 0, "empty");
	check(copy, 0);
	is_int(said.rc, SLUICE_ENOENT, "an empty volume");
	unlink(path);
	check(copy, 0);
	is_int(said.rc, SLUICE_ENOENT, "no volume");
	check("/tmp/no/such/directory", 0);
	is_int(said.rc, SLUICE_ENOENT, "no directory");
}

/* ---- damage ---- */

#define ID_OF(name) "(SELECT id FROM stream WHERE name = '" name "')"
#define ROW(name, start) " WHERE stream = " ID_OF(name) " AND start = " #start

static const struct damage {
	const char *sql, *says; /* what a line of findings begins with */
} damages[] = {
	{"DELETE FROM meta", "volume @-1 volume0.db it has no generation"},
	{"UPDATE meta SET generation = x'0102'", "volume @-1 volume0.db its generation has 2 bytes"},
	{"UPDATE meta SET time_ms = -1", "volume @-1 volume0.db its position or its clock is negative"},
	{"UPDATE sqlite_sequence SET seq = 1 WHERE name = 'stream'", "volume @-1 volume0.db the last number given"},
	{"DROP INDEX stream_name", "database @-1 volume0.db the index stream_name is missing"},
	{"DROP TABLE producer", "database @-1 volume0.db the table producer is missing"},
	{"ALTER TABLE chunk DROP COLUMN pos", "database @-1 volume0.db the table of records cannot be read"},
	/* rows */
	{"DELETE FROM chunk" ROW("plain", 10), "gap plain@10 - records are missing from here to 21"},
	{"DELETE FROM chunk" ROW("plain", 0), "gap plain@0 - records are missing from here to 10"},
	{"UPDATE chunk SET start = 5, bytes = 11, records = 1, stop = 21" ROW("plain", 10),
         "gap plain@5 - records are there twice"},
	{"UPDATE chunk SET pos = pos + 1" ROW("plain", 21),
         "position plain@21 - the record is at position 12, and should be at 11"},
	{"UPDATE chunk SET pos = 1" ROW("plain", 0), "records plain@0 - a row that ends at 10 cannot have"},
	{"UPDATE chunk SET stop = stop + 1" ROW("plain", 0), "records plain@0 - a row that ends at 11 cannot have"},
	{"UPDATE chunk SET bytes = -5" ROW("plain", 0), "records plain@0 - a row that ends at 10 cannot have"},
	{"UPDATE chunk SET marks = x'0601'" ROW("plain", 0),
         "records plain@0 - the marks of the row tell of 0 records"},
	{"UPDATE chunk SET marks = x'0102'" ROW("plain", 0),
         "records plain@0 - the marks of the row tell of 0 records"},
	{"UPDATE chunk SET marks = x''" ROW("plain", 0), "records plain@0 - the marks of the row tell of 0 records"},
	{"UPDATE chunk SET messages = 2" ROW("json", 0),
         "records json@0 - the marks of the row tell of 1 records, 3 messages"},
	{"UPDATE chunk SET data = x'00'" ROW("plain", 0), "records plain@0 - the row has 1 bytes of payload, not 5"},
	{"UPDATE chunk SET data = x'6669727375'" ROW("plain", 0),
         "payload plain@0 - the 5 bytes of the row are not those"},
	{"UPDATE chunk SET crc = crc + 1" ROW("json", 0), "payload json@0 - the 5 bytes of the row are not those"},
	{"UPDATE chunk SET data = NULL" ROW("plain", 0), "records plain@0 - the row has 0 bytes of payload, not 5"},
	{"UPDATE chunk SET stream = 7000" ROW("plain", 0),
         "gap @0 - there are records of a stream with the number 7000"},
	{"UPDATE chunk SET stream = -1" ROW("plain", 0), "gap @0 - there are records of a stream with the number"},
	/* streams */
	{"UPDATE stream SET state = 9 WHERE name = 'plain'", "stream plain@-1 - its state is 9"},
	{"UPDATE stream SET name = '' WHERE name = 'plain'", "stream @-1 - its name has 0 bytes"},
	{"UPDATE stream SET closed = 2 WHERE name = 'plain'", "stream plain@-1 - it is neither open nor closed"},
	{"UPDATE stream SET close_producer = x'70' WHERE name = 'plain'",
         "stream plain@-1 - it is neither open nor closed"},
	{"UPDATE stream SET earliest = -7 WHERE name = 'plain'", "stream plain@-1 - it begins at 0"},
	{"UPDATE stream SET earliest = 12, earliest_pos = 5 WHERE name = 'plain'",
         "stream plain@12 - the earliest offset is inside"},
	{"UPDATE stream SET earliest = 10, earliest_pos = 6 WHERE name = 'plain'",
         "position plain@10 - the earliest offset is at"},
	{"UPDATE stream SET earliest = 136, earliest_pos = 0 WHERE name = 'plain'",
         "position plain@136 - the earliest offset is at"},
	{"UPDATE stream SET earliest = 1000, earliest_pos = 0 WHERE name = 'plain'",
         "stream plain@136 - the stream ends here"},
	{"UPDATE stream SET state = 2 WHERE name = 'empty'",
         "stream empty@-1 - it was deleted and would never be freed"},
	{"UPDATE stream SET deadline_ms = 5 WHERE name = 'ttl'", "stream ttl@-1 - the time at which it expires"},
	{"UPDATE stream SET deadline_ms = 5 WHERE name = 'plain'", "stream plain@-1 - the time at which it expires"},
	/* forks */
	{"UPDATE stream SET forks = 0 WHERE name = 'child'", "fork child@-1 - it counts 0 forks, and there are 1"},
	{"UPDATE stream SET forks = 2 WHERE name = 'empty'", "fork empty@-1 - it counts 2 forks, and there are 0"},
	{"UPDATE stream SET fork_at = 1 WHERE name = 'child'", "fork child@-1 - where it begins, 60,"},
	{"UPDATE stream SET base = 10, base_pos = 5 WHERE name = 'plain'", "fork plain@-1 - where it begins, 10,"},
	{"UPDATE stream SET base = 61, fork_at = 61 WHERE name = 'child'",
         "fork child@61 - its beginning is inside a record"},
	{"UPDATE stream SET base_pos = 39 WHERE name = 'child'", "position child@60 - its beginning is at position 39"},
	{"UPDATE stream SET fork_of = 7000 WHERE name = 'grandchild'",
         "fork grandchild@-1 - the stream with the number 7000"},
	{"UPDATE stream SET state = 2, reap_ms = 1 WHERE name = 'soft'", "fork holds@-1 - the stream with the number"},
	{"DELETE FROM chunk" ROW("soft", 0), "gap soft@0 - records are missing from here to 21"},
	{"DELETE FROM chunk WHERE stream = " ID_OF("soft"), "fork holds@21 - the records before its beginning"},
	{"DELETE FROM chunk" ROW("trimmed", 0), "gap trimmed@0 - records are missing from here to 15"},
	{"UPDATE stream SET earliest_pos = 9 WHERE name = 'child'",
         "position child@15 - its earliest offset is at position 9"},
	/* producers */
	{"UPDATE producer SET epoch = -1", "producer plain@-1 - a producer has epoch -1"},
	{"UPDATE producer SET stream = 7000", "producer @-1 - there are producers of a stream with the number 7000"},
	/* segments */
	{"UPDATE chunk SET marks = x'c09a0c029f8d06a18d06'" ROW("marked", 0),
         "records marked@0 segments/%s the marks of the row are not those of its payload"},
	{"UPDATE segment SET live = live - 1",
         "segment @-1 segments/%s 850999 bytes of it are said to be in use, but rows name 851000"},
	{"UPDATE segment SET dead_ms = 1", "segment @-1 segments/%s it is in use, and would be removed"},
	{"UPDATE segment SET size = size + 1000", "segment @-1 segments/%s the file has"},
	{"UPDATE segment SET size = 1000", "segment large@10 segments/%s a record is said to be at bytes 32 to 300032"},
	{"DELETE FROM segment", "segment large@10 segments/%s a record is said to be in it"},
	{"UPDATE chunk SET seg_off = seg_off + 1" ROW("large", 10),
         "payload large@10 segments/%s the head of the payload (at byte 1"},
	{"UPDATE chunk SET seg_off = 1" ROW("large", 10),
         "segment large@10 segments/%s a record is said to be at bytes 1"},
	{"UPDATE chunk SET data = x'00'" ROW("large", 10), "records large@10 - the row has 1 bytes of payload beside"},
	/* snapshots */
	{"UPDATE stream SET snapshot = 99 WHERE name = 'state'", "snapshot state@-1 - its snapshot is not there"},
	{"UPDATE stream SET snapshot = NULL WHERE name = 'copy'",
         "snapshot doc@0 - it counts 2 streams that have it, and there are 1"},
	{"UPDATE snapshot SET dead_ms = 1 WHERE pos = 2",
         "snapshot copy@0 - it counts 2 streams that have it and would be freed"},
	{"UPDATE snapshot SET dead_ms = NULL WHERE dead_ms IS NOT NULL",
         "snapshot @0 - it counts 0 streams that have it"},
	{"UPDATE snapshot SET pos = 3 WHERE pos = 2", "snapshot copy@0 - it is not at the earliest offset"},
	{"UPDATE snapshot SET digest = x'00' WHERE pos = 2", "snapshot copy@0 - it is at position 2, of 5 bytes"},
	{"UPDATE snapshot SET data = x'00' WHERE pos = 2", "snapshot copy@0 - it has 1 bytes, not 5"},
	{"UPDATE snapshot SET data = x'00' WHERE segment IS NOT NULL",
         "snapshot state@6 - it has 1 bytes beside those"},
	{"UPDATE snapshot SET seg_off = seg_off - 1 WHERE segment IS NOT NULL",
         "payload state@6 segments/%s the head of the payload (at byte 500063"},
	{"UPDATE sqlite_sequence SET seq = 1 WHERE name = 'snapshot'",
         "volume @-1 volume0.db the last number given to a snapshot is 1, but"},
	{"DROP INDEX snapshot_dead", "database @-1 volume0.db the index snapshot_dead is missing"},
	{"UPDATE stream SET earliest_pos = 5 WHERE name = 'doc'",
         "position doc@0 - the earliest offset is at position 5"},
};

static bool names(const char *says)
{
	char name[SL_SEGMENT_NAME_MAX], text[256];
	const char *at;

	sl_segment_name(segment, name);
	snprintf(text, sizeof text, says, name);
	at = strstr(said.text, text);
	return said.rc == 0 && at && (at == said.text || at[-1] == '\n');
}

static void test_damage(void)
{
	for (size_t i = 0; i < sizeof damages / sizeof *damages; i++) {
		copy_all();
		sql(damages[i].sql);
		check(copy, 0);
		ok(names(damages[i].says) && said.result.damaged > 0, "named");
		if (!names(damages[i].says))
			printf("# %s\n# want %s\n# got %d %s %s\n", damages[i].sql, damages[i].says, said.rc, why,
			       said.text);
	}
}

static void test_files(void)
{
	char path[96], name[SL_SEGMENT_NAME_MAX], full[192];

	sl_segment_name(segment, name);
	snprintf(path, sizeof path, "%s/%s", SL_SEGMENT_DIR, name);
	copy_all();
	poke(path, 32 + 299999, "?", 1);
	check(copy, 0);
	ok(names("payload large@10 segments/%s the payload (300000 bytes from 32 on) is not what was written"),
	   "a payload");
	is_int(said.result.damaged, 2, "and that of a fork which has a part of it");
	copy_all();
	poke(path, 300033, "?", 1);
	check(copy, 0);
	ok(names("payload large@300015 segments/%s the head of the payload (at byte 300032"), "a head");
	copy_all();
	snprintf(full, sizeof full, "%s/%s", copy, path);
	ok(truncate(full, 400000) == 0, "shorter");
	check(copy, 0);
	ok(names("payload large@300015 segments/%s the payload (200000 bytes from 300064 on) is not") &&
	           names("segment @-1 segments/%s the file has 400000 bytes, and should have 850128"),
	   "a file that is too short");
	unlink(full);
	check(copy, 0);
	ok(names("segment @-1 segments/%s the file cannot be found"), "a file that is missing");
	ok(symlink("/etc/passwd", full) == 0, "a link");
	check(copy, 0);
	ok(names("segment @-1 segments/%s it is not a file"), "somebody else's file");
	copy_all();
	snprintf(full, sizeof full, "%s/%s/00000000000fffff.seg", copy, SL_SEGMENT_DIR);
	close(open(full, O_CREAT | O_WRONLY | O_CLOEXEC, 0600));
	check(copy, 0);
	is_int(said.result.damaged, 0, "a file that nothing refers to is no damage");
	is_str(said.text,
	       "note orphan @-1 segments/00000000000fffff.seg nothing refers to it; the next start of the server removes it\n",
	       "but worth a line");
}

/* Pages of the database itself. */
static void test_pages(void)
{
	char zero[4096] = {0};

	copy_all();
	poke(SL_VOLUME_FILE, 4096 * 3, zero, sizeof zero);
	check(copy, 0);
	is_int(said.rc, 0, why);
	ok(names("database @-1 volume0.db "), "a page of zeros");
	copy_all();
	poke(SL_VOLUME_FILE, 0, zero, 100);
	check(copy, 0);
	ok(said.rc == 0 && names("database @-1 volume0.db the header cannot be read"), "no header");
}

/* ---- bytes that change by themselves ---- */

static uint32_t dice_state;

static uint64_t dice(uint64_t below)
{
	dice_state = dice_state * 1664525u + 1013904223u;
	return (uint64_t)(dice_state >> 8) % below;
}

/* What readers go by, of all rows; 0: they cannot be read. */
static uint32_t rows_sum(void)
{
	char path[160];
	sqlite3 *db = NULL;
	sqlite3_stmt *q = NULL;
	uint32_t sum = 1;
	int rc;

	snprintf(path, sizeof path, "file:%s/%s?immutable=1", copy, SL_VOLUME_FILE);
	rc = sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(
			db,
			"SELECT stream, start, stop, bytes, records, messages, segment, seg_off, pos, marks, data"
			" FROM chunk INDEXED BY chunk_place ORDER BY stream, start",
			-1, &q, NULL);
	while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
		for (int i = 0; i < sqlite3_column_count(q); i++) {
			const void *bytes = sqlite3_column_blob(q, i);

			sum = (uint32_t)crc32_z(sum, bytes, (size_t)sqlite3_column_bytes(q, i));
			sum = (uint32_t)crc32_z(sum, (const uint8_t *)"|", 1);
		}
		rc = SQLITE_OK;
	}
	sqlite3_finalize(q);
	sqlite3_close(db);
	return rc == SQLITE_DONE ? sum : 0;
}

static uint64_t size_of(const char *name)
{
	char path[160];
	struct stat st;

	snprintf(path, sizeof path, "%s/%s", copy, name);
	return stat(path, &st) == 0 ? (uint64_t)st.st_size : 1;
}

/* Wherever a byte of the volume changes: what readers would take for good is found, and nothing crashes. In a segment all bytes but the
 * head's are somebody's. SLUICE_CHECK_SEED repeats it. */
static void test_noise(void)
{
	const char *seed = getenv("SLUICE_CHECK_SEED");
	char name[SL_SEGMENT_NAME_MAX], path[96], byte;
	unsigned unseen = 0, changed = 0, found = 0;
	uint32_t sum;

	dice_state = seed ? (uint32_t)strtoul(seed, NULL, 10) : (uint32_t)getpid();
	printf("# SLUICE_CHECK_SEED=%u\n", dice_state);
	copy_all();
	sum = rows_sum();
	ok(sum != 0, "rows to compare with");
	for (int i = 0; i < 150; i++) {
		uint32_t now;

		copy_file(f.dir, SL_VOLUME_FILE);
		byte = (char)dice(256);
		poke(SL_VOLUME_FILE, dice(size_of(SL_VOLUME_FILE)), &byte, 1);
		now = rows_sum();
		check(copy, 0);
		found += said.rc != 0 || said.result.damaged;
		changed += now != sum;
		unseen += now != sum && said.rc == 0 && said.result.damaged == 0;
	}
	printf("# %u changed what readers see, %u were found\n", changed, found);
	is_int(unseen, 0, "no change of what readers see is called sound");
	copy_file(f.dir, SL_VOLUME_FILE);
	sl_segment_name(segment, name);
	snprintf(path, sizeof path, "%s/%s", SL_SEGMENT_DIR, name);
	found = 0;
	for (int i = 0; i < 30; i++) {
		uint64_t at = dice(size_of(path));
		char full[192], was = 0;
		int fd;

		snprintf(full, sizeof full, "%s/%s", copy, path);
		fd = open(full, O_RDONLY | O_CLOEXEC);
		ok(pread(fd, &was, 1, (off_t)at) == 1, "a byte");
		close(fd);
		byte = (char)(was ^ (1 << dice(8)));
		poke(path, at, &byte, 1);
		check(copy, 0);
		found += said.result.damaged > 0;
		poke(path, at, &was, 1);
	}
	is_int(found, 30, "each change of a segment is found");
	check(copy, 0);
	is_str(said.text, "", "and none when it is as it was");
}

int main(void)
{
	for (size_t i = 0; i < sizeof big; i++)
		big[i] = (char)(i * 7 + i / 251);
	fixture_open_bare(&f);
	f.kept = true;
	f.apart_ms = 1000;
	c = fixture_client(&f);
	fill();
	test_sound();
	segment = (uint64_t)sql_int(&f, "SELECT id FROM segment");
	/* As it was before everything was freed, for the damages. */
	fixture_close(&f);
	fixture_remove(f.dir);
	f = (struct fixture){0};
	fixture_open_bare(&f);
	f.kept = true;
	f.apart_ms = 1000;
	c = fixture_client(&f);
	fill();
	fixture_close(&f);
	test_closed();
	test_cannot();
	test_damage();
	test_files();
	test_pages();
	test_noise();
	fixture_remove(copy);
	fixture_remove(f.dir);
	return tap_done();
}
