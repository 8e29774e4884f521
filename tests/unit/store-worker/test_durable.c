/*
 * test_durable.c - what reads well need not be on the disk: a writer that takes over from one that was killed, or whose sync failed,
 * answers nothing out of it before it is.
 *
 * A VFS in front of the real one keeps the images that the disk would have after a power failure: what a sync has covered. A sync that
 * fails may leave what it should have written in the kernel's memory only, for good: the kernel takes it for written then.
 */
#include <sys/stat.h>

#include "tests/unit/store-worker/fixture.h"

enum { LOG, VOLUME, KINDS };
enum { UNIT = 512, UNITS = (24 << 20) / UNIT };
enum sync_way {
	SYNC_WORKS,
	SYNC_KILLED, /* never comes back: what is not on the disk may yet get there */
	SYNC_FAILS   /* what is not on the disk never will */
};

static struct disk { /* a file of the store's */
	uint8_t image[UNITS * UNIT];
	size_t units; /* of the image */
	bool dirty[UNITS];
	enum sync_way way;
} disk[KINDS];

static bool no_index; /* no memory for another part of the log's index */
static bool watching; /* whether what is opened is that file */
static sqlite3_vfs disk_vfs, *real_vfs;
static sqlite3_io_methods real_methods[KINDS], disk_methods[KINDS]; /* the log's have no locks */

static void must_be(const char *what, bool good)
{
	if (!good) {
		printf("Bail out! %s\n", what);
		exit(99);
	}
}

/* What the file has of a unit now. */
static void unit_read(sqlite3_file *f, size_t unit, uint8_t to[UNIT])
{
	int rc = real_methods[VOLUME].xRead(f, to, UNIT, (sqlite3_int64)unit * UNIT);

	must_be("reading back", rc == SQLITE_OK || rc == SQLITE_IOERR_SHORT_READ);
}

static int disk_write(sqlite3_file *f, struct disk *d, const void *p, int n, sqlite3_int64 at)
{
	size_t first = (size_t)at / UNIT, last = (size_t)(at + n - 1) / UNIT;

	must_be("a file larger than this test's disk", last < UNITS);
	for (size_t i = first; i <= last; i++)
		d->dirty[i] = true;
	return real_methods[VOLUME].xWrite(f, p, n, at);
}

/* After a failed sync what was not written may be read from the disk again, as it was before. */
static void disk_lose(sqlite3_file *f, struct disk *d)
{
	for (size_t i = 0; i < UNITS; i++) {
		if (d->dirty[i] && d == &disk[VOLUME] && i < d->units)
			real_methods[VOLUME].xWrite(f, d->image + i * UNIT, UNIT, (sqlite3_int64)i * UNIT);
		d->dirty[i] = false;
	}
}

static int disk_sync(sqlite3_file *f, struct disk *d)
{
	if (d->way == SYNC_FAILS)
		disk_lose(f, d);
	if (d->way != SYNC_WORKS)
		return SQLITE_IOERR_FSYNC;
	for (size_t i = 0; i < UNITS; i++) {
		if (!d->dirty[i])
			continue;
		d->dirty[i] = false;
		unit_read(f, i, d->image + i * UNIT);
		d->units = i < d->units ? d->units : i + 1;
	}
	return SQLITE_OK;
}

static int log_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	return disk_write(f, &disk[LOG], p, n, at);
}
static int volume_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	return disk_write(f, &disk[VOLUME], p, n, at);
}
static int log_sync(sqlite3_file *f, int flags)
{
	(void)flags;
	return disk_sync(f, &disk[LOG]);
}
static int volume_sync(sqlite3_file *f, int flags)
{
	(void)flags;
	return disk_sync(f, &disk[VOLUME]);
}

static int volume_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
	return no_index && page > 0 ? SQLITE_NOMEM : real_methods[VOLUME].xShmMap(f, page, size, extend, p);
}

static int disk_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	int rc = real_vfs->xOpen(real_vfs, name, f, flags, out), kind;

	(void)vfs;
	if (rc != SQLITE_OK || !watching || !(flags & (SQLITE_OPEN_MAIN_DB | SQLITE_OPEN_WAL)))
		return rc;
	kind = flags & SQLITE_OPEN_WAL ? LOG : VOLUME;
	if (!real_methods[kind].xWrite) {
		real_methods[kind] = disk_methods[kind] = *f->pMethods;
		disk_methods[kind].xWrite = kind == LOG ? log_write : volume_write;
		disk_methods[kind].xSync = kind == LOG ? log_sync : volume_sync;
		disk_methods[kind].xShmMap = kind == LOG ? NULL : volume_shm_map;
	}
	f->pMethods = &disk_methods[kind];
	return rc;
}

/* The power fails: another directory gets what the disk has. */
static void cut(char dir[64])
{
	static const char *const suffix[KINDS] = {[LOG] = "-wal", [VOLUME] = ""};

	snprintf(dir, 64, "/tmp/store-test-XXXXXX");
	must_be("mkdtemp", mkdtemp(dir) != NULL);
	for (int i = 0; i < KINDS; i++) {
		char path[128];
		FILE *file;

		snprintf(path, sizeof path, "%s/%s%s", dir, SL_VOLUME_FILE, suffix[i]);
		file = fopen(path, "w");
		must_be("the image", file && fwrite(disk[i].image, UNIT, disk[i].units, file) == disk[i].units &&
		                             fclose(file) == 0);
	}
}

static int checkpoint(struct fixture *f)
{
	return sqlite3_wal_checkpoint_v2(se_handle(f->store->se), "main", SQLITE_CHECKPOINT_PASSIVE, NULL, NULL);
}

/* A volume that is on the disk. */
static struct client *begin(struct fixture *f)
{
	struct client *c;

	memset(disk, 0, sizeof disk);
	watching = true;
	fixture_open_bare(f);
	f->synced = true;
	f->store->settings.checkpoint_bytes = 8 << 20;
	fixture_kill(f);
	c = fixture_client(f);
	create(f, c, "begin", "text/plain", "");
	must_be("a checkpoint", checkpoint(f) == SQLITE_OK);
	return c;
}

static int64_t on_disk_bytes; /* the largest row's */

/* The text of s as the disk has it. */
static void is_on_disk(const char *want, const char *name)
{
	struct fixture g;
	char dir[64];

	cut(dir);
	watching = false;
	fixture_open(&g, dir);
	is_str(contents(&g, "s"), want, name);
	on_disk_bytes = sql_int(&g, "SELECT coalesce(max(bytes), 0) FROM chunk");
	fixture_close(&g);
	fixture_remove(dir);
	watching = true;
}

/* The log was written, its sync did not come to its end, and nobody else had the volume open: the next writer finds the commit. */
static void test_log(enum sync_way way)
{
	struct fixture f;
	struct client *c = begin(&f);
	struct sl_store_outcome o;

	create(&f, c, "s", "text/plain", "");
	is_out(produce(&f, c, "s", "w", 0, 0, "first"), SLUICE_OK, 0, "acknowledged");
	is_on_disk("first|", "and on the disk");
	disk[LOG].way = way;
	is_out(produce(&f, c, "s", "w", 0, 1, "second"), SLUICE_EINTERNAL, 0, "a sync that does not come back");
	is_on_disk("first|", "leaves nothing on the disk");
	disk[LOG].way = SYNC_WORKS;
	fixture_kill(&f);
	c = fixture_client(&f);
	o = produce(&f, c, "s", "w", 0, 1, "second");
	is_int(o.status, SLUICE_OK, "repeated at the next writer");
	is_int(o.flags & SLUICE_R_DUPLICATE, SLUICE_R_DUPLICATE, "which has found it in the log");
	is_on_disk("first|second|", "it is on the disk when that is said");
	is_out(produce(&f, c, "s", "w", 0, 2, "third"), SLUICE_OK, 0, "more");
	is_on_disk("first|second|third|", "behind what has no hole");
	fixture_close(&f);
}

static void fill(struct fixture *f, struct client *c, int n)
{
	static char data[3001];
	int failed = 0;

	memset(data, 'd', sizeof data - 1);
	for (int i = 0; i < n; i++)
		failed += append(f, c, "big", data).status != SLUICE_OK;
	if (failed)
		ok(false, "appends");
}

/* Copied by a checkpoint that a reader kept from the end of the log, and lost by the sync of the next one, while readers go on. */
static void test_volume(void)
{
	struct fixture f, g;
	struct client *c = begin(&f);
	struct sl_reader *worker, *slow;
	struct sl_facts facts;
	const char *why;
	char dir[64];

	create(&f, c, "big", "text/plain", "");
	fill(&f, c, 20);
	is_int(checkpoint(&f), SQLITE_OK, "all of it is in the volume");
	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &worker, &why) == 0 && sl_reader_begin(worker) == 0, "a worker reads");
	sl_reader_facts(worker, SL_STR("big"), f.wall_ms, &facts);
	sl_reader_end(worker);
	fill(&f, c, 20);
	ok(sl_reader_open(f.dir, SL_SCHEMA, 0, &slow, &why) == 0 && sl_reader_begin(slow) == 0, "another one for long");
	sl_reader_facts(slow, SL_STR("big"), f.wall_ms, &facts);
	fill(&f, c, 20);
	is_int(checkpoint(&f), SQLITE_OK, "a checkpoint goes as far as that lets it");
	sl_reader_end(slow);
	sl_reader_close(slow);
	disk[VOLUME].way = SYNC_FAILS;
	is_int(checkpoint(&f), SQLITE_IOERR_FSYNC, "the sync of the next one fails");
	disk[VOLUME].way = SYNC_WORKS;
	se_fail(f.store->se, SE_IO, "as checkpoint.c does");
	fixture_kill(&f);
	c = fixture_client(&f);
	fill(&f, c, 20);
	is_int(checkpoint(&f), SQLITE_OK, "a new writer's works");
	fill(&f, c, 20);
	cut(dir);
	watching = false;
	fixture_open(&g, dir);
	is_int(sql_int(&g, "SELECT sum(records) FROM chunk"), 100, "nothing was lost");
	is_int(sql_int(&g, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check = 'ok'"), 1, "nor damaged");
	fixture_close(&g);
	fixture_remove(dir);
	sl_reader_close(worker);
	fixture_close(&f);
}

/* The last thing of a commit is its place in the log's index: when there is no memory for that, the log has all of it. */
static void test_refused(void)
{
	static char large[120001];
	struct se_status status;
	struct fixture f;
	struct client *c = begin(&f);

	f.store->settings.checkpoint_bytes = 64 << 20;
	memset(large, 'l', sizeof large - 1);
	create(&f, c, "s", "text/plain", "first");
	create(&f, c, "big", "text/plain", "");
	do {
		fill(&f, c, 1);
		se_status(f.store->se, &status);
	} while (status.wal_bytes / 4120 < 4050);
	no_index = true;
	is_out(append(&f, c, "big", large), SLUICE_ENOMEM, 0, "without memory a commit is refused");
	no_index = false;
	is_int(f.store->fatal, 0, "the writer goes on");
	is_on_disk("first|", "whoever comes after a crash can read it all");
	ok(on_disk_bytes < (int64_t)sizeof large - 1, "and does not find it either");
	fixture_close(&f);
}

int main(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	disk_vfs = *real_vfs;
	disk_vfs.zName = "disk";
	disk_vfs.xOpen = disk_open;
	sqlite3_vfs_register(&disk_vfs, 1);
	test_log(SYNC_KILLED);
	test_log(SYNC_FAILS);
	test_volume();
	test_refused();
	return tap_done();
}
