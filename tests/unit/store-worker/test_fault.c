/*
 * test_fault.c - the disk is full, writes fail, memory runs out: nothing is acknowledged that is not there, and a full
 * disk is no end.
 *
 * A VFS in front of the real one fails the n-th write or sync, or every sync of the volume's own file: those are the ones of
 * checkpoints.
 */
#include <stdatomic.h>

#include "lib/log.h"
#include "tests/unit/store-worker/fixture.h"

/* ---- the VFS ---- */

/* The helper thread's checkpoints come here as well. */
static struct {
	atomic_bool full, io, volume_sync;
	atomic_ulong log_syncs;                /* of the write-ahead log */
	atomic_long countdown;                 /* calls until it fails; negative: never */
	atomic_ulong calls, failures, retried; /* retried: through a handle that was open when something failed */
	atomic_ulong volume_failures;          /* of the volume's own sync: commits to the log under way then are sound */
} fault = {.countdown = -1};

struct fault_file {
	sqlite3_file base;
	sqlite3_file *real;
	bool volume;
	unsigned long failures, volume_failures; /* when it was opened */
};

static sqlite3_vfs fault_vfs, *real_vfs;
static sqlite3_io_methods fault_methods;

static sqlite3_file *real_of(sqlite3_file *f)
{
	return ((struct fault_file *)(void *)f)->real;
}

static int fault_next(sqlite3_file *f)
{
	const struct fault_file *ff = (struct fault_file *)(void *)f;
	long left = fault.countdown;

	fault.calls++;
	fault.retried += ff->failures != fault.failures || (ff->volume && ff->volume_failures != fault.volume_failures);
	while (left > 0 && !atomic_compare_exchange_weak(&fault.countdown, &left, left - 1))
		;
	if (left != 0 && left != 1)
		return SQLITE_OK;
	fault.failures += !fault.full && fault.io;
	return fault.full ? SQLITE_FULL : fault.io ? SQLITE_IOERR_WRITE : SQLITE_OK;
}

static int fault_close(sqlite3_file *f)
{
	int rc = real_of(f)->pMethods->xClose(real_of(f));

	free(real_of(f));
	return rc;
}

static int fault_write(sqlite3_file *f, const void *p, int n, sqlite3_int64 at)
{
	int rc = fault_next(f);

	return rc ? rc : real_of(f)->pMethods->xWrite(real_of(f), p, n, at);
}

static int fault_sync(sqlite3_file *f, int flags)
{
	int rc = fault.full ? SQLITE_OK : fault_next(f);

	fault.log_syncs += !((struct fault_file *)(void *)f)->volume;
	if (fault.volume_sync && ((struct fault_file *)(void *)f)->volume) {
		fault.volume_failures++;
		rc = SQLITE_IOERR;
	}
	return rc ? SQLITE_IOERR_FSYNC : real_of(f)->pMethods->xSync(real_of(f), flags);
}

static int fault_read(sqlite3_file *f, void *p, int n, sqlite3_int64 at)
{
	return real_of(f)->pMethods->xRead(real_of(f), p, n, at);
}
static int fault_truncate(sqlite3_file *f, sqlite3_int64 n)
{
	return real_of(f)->pMethods->xTruncate(real_of(f), n);
}
static int fault_size(sqlite3_file *f, sqlite3_int64 *n)
{
	return real_of(f)->pMethods->xFileSize(real_of(f), n);
}
static int fault_lock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xLock(real_of(f), level);
}
static int fault_unlock(sqlite3_file *f, int level)
{
	return real_of(f)->pMethods->xUnlock(real_of(f), level);
}
static int fault_reserved(sqlite3_file *f, int *out)
{
	return real_of(f)->pMethods->xCheckReservedLock(real_of(f), out);
}
static int fault_control(sqlite3_file *f, int op, void *arg)
{
	return real_of(f)->pMethods->xFileControl(real_of(f), op, arg);
}
static int fault_sector(sqlite3_file *f)
{
	return real_of(f)->pMethods->xSectorSize(real_of(f));
}
static int fault_device(sqlite3_file *f)
{
	return real_of(f)->pMethods->xDeviceCharacteristics(real_of(f));
}
static int fault_shm_map(sqlite3_file *f, int page, int size, int extend, void volatile **p)
{
	return real_of(f)->pMethods->xShmMap(real_of(f), page, size, extend, p);
}
static int fault_shm_lock(sqlite3_file *f, int offset, int n, int flags)
{
	return real_of(f)->pMethods->xShmLock(real_of(f), offset, n, flags);
}
static void fault_shm_barrier(sqlite3_file *f)
{
	real_of(f)->pMethods->xShmBarrier(real_of(f));
}
static int fault_shm_unmap(sqlite3_file *f, int remove)
{
	return real_of(f)->pMethods->xShmUnmap(real_of(f), remove);
}

static int fault_open(sqlite3_vfs *vfs, const char *name, sqlite3_file *f, int flags, int *out)
{
	struct fault_file *ff = (struct fault_file *)(void *)f;
	int rc;

	(void)vfs;
	ff->base.pMethods = NULL;
	ff->failures = fault.failures;
	ff->volume_failures = fault.volume_failures;
	ff->volume = flags & SQLITE_OPEN_MAIN_DB;
	ff->real = calloc(1, (size_t)real_vfs->szOsFile);
	if (!ff->real)
		return SQLITE_NOMEM;
	rc = real_vfs->xOpen(real_vfs, name, ff->real, flags, out);
	if (rc == SQLITE_OK)
		ff->base.pMethods = &fault_methods;
	else
		free(ff->real);
	return rc;
}

static void fault_register(void)
{
	real_vfs = sqlite3_vfs_find(NULL);
	fault_methods = (sqlite3_io_methods){.iVersion = 2,
	                                     .xClose = fault_close,
	                                     .xRead = fault_read,
	                                     .xWrite = fault_write,
	                                     .xTruncate = fault_truncate,
	                                     .xSync = fault_sync,
	                                     .xFileSize = fault_size,
	                                     .xLock = fault_lock,
	                                     .xUnlock = fault_unlock,
	                                     .xCheckReservedLock = fault_reserved,
	                                     .xFileControl = fault_control,
	                                     .xSectorSize = fault_sector,
	                                     .xDeviceCharacteristics = fault_device,
	                                     .xShmMap = fault_shm_map,
	                                     .xShmLock = fault_shm_lock,
	                                     .xShmBarrier = fault_shm_barrier,
	                                     .xShmUnmap = fault_shm_unmap};
	fault_vfs = *real_vfs;
	fault_vfs.zName = "fault";
	fault_vfs.szOsFile = sizeof(struct fault_file);
	fault_vfs.xOpen = fault_open;
	sqlite3_vfs_register(&fault_vfs, 1);
}

/* ---- tests ---- */

static struct fixture f;
static struct client *c;

static void test_full(void)
{
	struct sl_store_outcome o;
	uint64_t tail, notices;

	create(&f, c, "s", "text/plain", "before");
	sl_put_store_watch(&c->ipc, &(struct sl_store_watch){.watch = 1, .stream = SL_STR("s")});
	client_pump(&f, c);
	notices = c->n_notices;
	tail = produce(&f, c, "s", "w", 0, 0, "x").tail;
	notices++;
	fault.full = true;
	fault.countdown = 0;
	o = produce(&f, c, "s", "w", 0, 1, "lost");
	is_out(o, SLUICE_EFULL, 0, "no space");
	is_out(create(&f, c, "t", "text/plain", ""), SLUICE_EFULL, 0, "for a create either");
	is_int(f.store->fatal, 0, "the writer goes on");
	is_int(c->n_notices, (int64_t)notices, "nobody hears of it");
	is_str(contents(&f, "s"), "before|x|", "reads go on");
	fault.countdown = -1;
	fault.full = false;
	o = produce(&f, c, "s", "w", 0, 1, "y");
	is_out(o, SLUICE_OK, 0, "space again");
	is_int(o.start, (int64_t)tail, "offsets go on where they were");
	is_str(contents(&f, "s"), "before|x|y|", "nothing of the lost one");
	is_str(contents(&f, "t"), "(-6)", "nor of the create");
	is_out(create(&f, c, "t", "text/plain", ""), SLUICE_OK, 0, "which can be done again");
}

/* The n-th write of a batch fails, for every n: all of it is lost, refusals included, and nothing of it is remembered. */
static void test_full_anywhere(void)
{
	struct sl_store_op ops[4] = {op_of(SLUICE_OP_APPEND, "s"), op_of(SLUICE_OP_CREATE, "new"),
	                             op_of(SLUICE_OP_APPEND, "new"), op_of(SLUICE_OP_APPEND, "missing")};
	char before[256];
	int failed = 0;

	ops[0].data = ops[2].data = ops[3].data = SL_STR("data");
	snprintf(before, sizeof before, "%s", contents(&f, "s"));
	for (long n = 0; n < 60; n++) {
		uint64_t req = 0;
		bool all_lost = true;

		fault.full = true;
		fault.countdown = n;
		for (int i = 0; i < 4; i++)
			req = send_ops(c, &ops[i], 1, NULL, 0);
		wait_result(&f, c, req);
		fault.countdown = -1;
		fault.full = false;
		if (c->out[0].status != SLUICE_EFULL)
			break;
		failed++;
		all_lost = strcmp(contents(&f, "s"), before) == 0 && strcmp(contents(&f, "new"), "(-6)") == 0;
		if (!all_lost)
			ok(false, "something of a failed batch is left");
	}
	ok(failed > 3, "the disk was full at every write of a batch in turn");
	is_str(contents(&f, "new"), "data|", "the first batch that found room is there");
	is_int(c->out[0].status, SLUICE_ENOENT, "and its refusals are what they should be");
}

static void test_io(void)
{
	fault.io = true;
	fault.countdown = 0;
	is_out(append(&f, c, "s", "lost"), SLUICE_EINTERNAL, 0, "an I/O error");
	is_int(f.store->fatal, 1, "ends the writer");
	is_int(store_turn(f.store, 0), SLUICE_EINTERNAL, "the loop says so");
	fault.io = false;
	fault.countdown = -1;
	fixture_kill(&f);
	c = fixture_client(&f);
	is_out(append(&f, c, "new", "again"), SLUICE_OK, 0, "a new writer opens it");
	is_str(contents(&f, "new"), "data|again|", "what was acknowledged is there");
}

/* A sync that fails: whether the batch is on the disk is not known, so nobody is told that it is. */
static void test_sync(void)
{
	f.store->settings.sync = SE_SYNC_FULL;
	sqlite3_exec(se_handle(f.store->se), "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	for (long n = 1; n < 20; n++) {
		struct sl_store_outcome o;

		fault.io = true;
		fault.countdown = n;
		o = append(&f, c, "new", "?");
		fault.io = false;
		fault.countdown = -1;
		if (o.status == SLUICE_OK)
			break;
		if (!f.store->fatal)
			ok(false, "a failed sync must end the writer");
		fixture_kill(&f);
		c = fixture_client(&f);
		sqlite3_exec(se_handle(f.store->se), "PRAGMA synchronous = FULL", NULL, NULL, NULL);
	}
	is_int(f.store->fatal, 0, "in the end it works");
	is_int(sql_int(&f,
	               "SELECT count(*) FROM (SELECT start, lag(stop) OVER (PARTITION BY stream ORDER BY start) AS s FROM chunk)"
	               " WHERE s IS NOT NULL AND s <> start"),
	       0, "no gap, no overlap");
}

/* With synchronous: full, which is the default, no append is answered before the log was synced behind it; many appends share one. */
static void test_full_sync(void)
{
	struct client *d;
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, "new");
	struct settings defaults;
	unsigned long before;
	int64_t position;
	int unsynced = 0;
	uint64_t last;

	settings_default(&defaults);
	is_int(defaults.sync, SE_SYNC_FULL, "the default");
	f.synced = true;
	fixture_kill(&f);
	c = fixture_client(&f);
	d = fixture_client(&f);
	for (int i = 0; i < 20; i++) {
		before = fault.log_syncs;
		unsynced += append(&f, c, "new", "x").status != SLUICE_OK || fault.log_syncs == before;
	}
	is_int(unsynced, 0, "each answer stands behind a sync");
	op.data = SL_STR("y");
	position = sql_int(&f, "SELECT position FROM meta");
	for (int i = 0; i < 50; i++) {
		send_ops(d, &op, 1, NULL, 0);
		last = send_ops(c, &op, 1, NULL, 0);
	}
	sl_ipc_flush(&d->ipc);
	before = fault.log_syncs;
	wait_result(&f, c, last);
	is_out(c->out[0], SLUICE_OK, 0, "a hundred appends of two peers");
	is_int(sql_int(&f, "SELECT position FROM meta"), position + 1, "are one commit");
	ok(fault.log_syncs - before <= 2, "and share its sync");
	client_end(d);
	fixture_turns(&f, 2);
	f.n--;
}

/* A checkpoint whose sync fails: what the volume's file holds is not known any more; the log has it all. */
static void test_checkpoint(void)
{
	char data[2001];
	int i, sent = 0;

	memset(data, 'c', sizeof data - 1);
	data[sizeof data - 1] = 0;
	f.synced = true;
	fixture_kill(&f);
	c = fixture_client(&f);
	f.store->settings.checkpoint_bytes = 64 << 10;
	create(&f, c, "cp", "text/plain", "");
	fault.volume_sync = true;
	for (i = 0; i < 2000 && !f.store->fatal; i++) {
		f.mono_ms += 5;
		sent += append(&f, c, "cp", data).status == SLUICE_OK;
	}
	fault.volume_sync = false;
	is_int(f.store->fatal, 1, "ends the writer");
	is_int(se_begin(f.store->se, &(struct se_batch *){NULL}), SE_IO, "no batch begins after it");
	fixture_kill(&f);
	c = fixture_client(&f);
	is_int(sql_int(&f, "SELECT sum(records) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = 'cp')"),
	       sent, "what was acknowledged is there");
	is_out(append(&f, c, "cp", "more"), SLUICE_OK, 0, "and a new writer goes on");
}

/* An access whose row could not be written has its turn again: without that its stream would expire early after a crash. */
static void test_access(void)
{
	struct sl_store_op op = op_of(SLUICE_OP_CREATE, "ttl");
	int64_t touched;

	op.flags = SLUICE_A_TTL;
	op.ttl_s = 1000;
	is_out(run(&f, c, op), SLUICE_OK, 0, "a stream with a TTL");
	f.wall_ms += 31000;
	is_out(append(&f, c, "ttl", "x"), SLUICE_OK, 0, "is used a while later");
	touched = (int64_t)f.wall_ms;
	fault.full = true;
	fault.countdown = 0;
	fixture_pass(&f, 2000);
	fault.countdown = -1;
	fault.full = false;
	ok(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'ttl'") < touched, "which a full disk does not take");
	fixture_pass(&f, 2000);
	is_int(sql_int(&f, "SELECT accessed_ms FROM stream WHERE name = 'ttl'"), touched, "the next sweep writes it");
}

/* The log's file is made longer ahead of the commits: without room for that they go on without it. */
static void test_ahead(bool full)
{
	fixture_reopen(&f);
	fault.full = full;
	fault.io = !full;
	fault.countdown = 0;
	c = fixture_client(&f);
	fault.full = fault.io = false;
	fault.countdown = -1;
	is_int(f.store->fatal, !full, full ? "a full disk does not end the writer" : "an error of the disk does");
	if (!full) {
		fixture_kill(&f);
		c = fixture_client(&f);
	}
	is_out(append(&f, c, "s", "behind it"), SLUICE_OK, 0, "and commits go on");
}

int main(void)
{
	fault_register();
	fixture_open_bare(&f); /* a shadow would write to the same disk */
	c = fixture_client(&f);
	test_full();
	test_full_anywhere();
	test_io();
	test_sync();
	test_full_sync();
	test_checkpoint();
	test_access();
	test_ahead(true);
	test_ahead(false);
	is_int((int64_t)fault.retried, 0,
	       "nothing was written or synced through what had failed, not even by closing it");
	fixture_close(&f);
	return tap_done();
}
