/*
 * test_backup.c - a backup is the state at one position with everything acknowledged before it, while writing goes on; what is given up
 * or fails leaves the directory empty, and the writer well.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/segment.h"
#include "lib/store_check.h"
#include "tests/unit/store-worker/fixture.h"

static struct fixture f;
static struct client *c;
static char target[64], big[400000];

/* ---- calls of the helper and of SQLite that fail ---- */

ssize_t __wrap_copy_file_range(int, off_t *, int, off_t *, size_t, unsigned);
ssize_t __real_copy_file_range(int, off_t *, int, off_t *, size_t, unsigned);
int __wrap_linkat(int, const char *, int, const char *, int);
int __real_linkat(int, const char *, int, const char *, int);
ssize_t __wrap_pwrite(int, const void *, size_t, off_t);
ssize_t __real_pwrite(int, const void *, size_t, off_t);
int __wrap_fdatasync(int);
int __real_fdatasync(int);
int __wrap_fsync(int);
int __real_fsync(int);

static struct {
	atomic_int link, range, write, sync; /* errno; 0: it works */
	atomic_int volume;                   /* SQLite's writes below the target */
	atomic_uint links;
} fail;

static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER; /* held: the helper waits where it would write */

/* When each file and directory was last written and last synced. */
static struct {
	pthread_mutex_t mutex;
	unsigned now, n;
	struct {
		ino_t ino;
		unsigned wrote, synced;
	} file[256];
} order = {.mutex = PTHREAD_MUTEX_INITIALIZER};

static void order_note(int fd, bool sync)
{
	struct stat st;
	unsigned i = 0;

	if (fstat(fd, &st))
		return;
	pthread_mutex_lock(&order.mutex);
	while (i < order.n && order.file[i].ino != st.st_ino)
		i++;
	if (i == order.n && i < 256) {
		order.file[i].ino = st.st_ino;
		order.file[i].wrote = order.file[i].synced = 0;
		order.n++;
	}
	if (i < 256 && sync)
		order.file[i].synced = ++order.now;
	else if (i < 256)
		order.file[i].wrote = ++order.now;
	pthread_mutex_unlock(&order.mutex);
}

/* A name in a directory is noted as a write to that. */
static bool order_synced(const char *path)
{
	struct stat st;
	bool good = false;

	if (stat(path, &st))
		return false;
	pthread_mutex_lock(&order.mutex);
	for (unsigned i = 0; i < order.n; i++)
		good = good || (order.file[i].ino == st.st_ino && order.file[i].synced > order.file[i].wrote);
	pthread_mutex_unlock(&order.mutex);
	return good;
}

static int fails(const atomic_int *with)
{
	int error = atomic_load(with);

	errno = error ? error : errno;
	return error;
}

ssize_t __wrap_copy_file_range(int in, off_t *in_at, int out, off_t *out_at, size_t n, unsigned flags)
{
	order_note(out, false);
	return fails(&fail.range) ? -1 : __real_copy_file_range(in, in_at, out, out_at, n, flags);
}

int __wrap_linkat(int from, const char *a, int to, const char *b, int flags)
{
	fail.links++;
	order_note(to, false);
	return fails(&fail.link) ? -1 : __real_linkat(from, a, to, b, flags);
}

ssize_t __wrap_pwrite(int fd, const void *p, size_t n, off_t at)
{
	pthread_mutex_lock(&gate);
	pthread_mutex_unlock(&gate);
	order_note(fd, false);
	return fails(&fail.write) ? -1 : __real_pwrite(fd, p, n, at);
}

int __wrap_fdatasync(int fd)
{
	order_note(fd, true);
	return fails(&fail.sync) ? -1 : __real_fdatasync(fd);
}

int __wrap_fsync(int fd)
{
	order_note(fd, true);
	return fails(&fail.sync) ? -1 : __real_fsync(fd);
}

static bool below_target(int fd)
{
	char link[64], path[256];
	ssize_t n;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	return n > 0 && strncmp(path, target, strlen(target)) == 0;
}

static ssize_t sqlite_pwrite(int fd, const void *p, size_t n, off_t at)
{
	if (below_target(fd)) {
		order_note(fd, false);
		if (fails(&fail.volume))
			return -1;
	}
	return __real_pwrite(fd, p, n, at);
}

/* ---- a backup ---- */

static struct {
	unsigned done, progress;
	int status;
	char text[256], what[32];
	uint64_t at, of;
} said;

static void on_progress(void *arg, uint32_t number, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)number;
	said.progress++;
	snprintf(said.what, sizeof said.what, "%s", what);
	said.at = done;
	said.of = total;
}

static void on_done(void *arg, uint32_t number, int status, const char *text)
{
	(void)arg;
	(void)number;
	said.done++;
	said.status = status;
	snprintf(said.text, sizeof said.text, "%s", text);
}

static const struct backup_hooks hooks = {.progress = on_progress, .done = on_done};

/* Everything in the target that was written has been synced since, and so have its directories. */
static void synced(void)
{
	char path[128], segments[128];
	struct dirent *e;
	bool good;
	DIR *d;

	snprintf(segments, sizeof segments, "%s/%s", target, SL_SEGMENT_DIR);
	snprintf(path, sizeof path, "%s/%s", target, SL_VOLUME_FILE);
	good = order_synced(target) && order_synced(segments) && order_synced(path);
	d = opendir(segments);
	while (d && (e = readdir(d))) {
		snprintf(path, sizeof path, "%.70s/%.40s", segments, e->d_name);
		good = good && (e->d_name[0] == '.' || order_synced(path));
	}
	if (d)
		closedir(d);
	ok(good, "it is all on the disk");
}

static int begin(void)
{
	pthread_mutex_lock(&order.mutex);
	order.n = 0;
	pthread_mutex_unlock(&order.mutex);
	if (*target)
		fixture_remove(target);
	snprintf(target, sizeof target, "/tmp/store-backup-XXXXXX");
	memset(&said, 0, sizeof said);
	return backup_start(f.store, 7, open(mkdtemp(target), O_RDONLY | O_DIRECTORY | O_CLOEXEC), &hooks, NULL);
}

static void finish(void)
{
	for (int i = 0; i < 100000 && !said.done; i++)
		store_turn(f.store, 10);
	is_int(said.done, 1, "it ends, once");
}

static bool is_empty(void)
{
	DIR *d = opendir(target);
	int n = 0;

	while (d && readdir(d))
		n++;
	if (d)
		closedir(d);
	return n == 2;
}

static void check_found(void *arg, const struct sl_finding *x)
{
	(void)arg;
	printf("# %s %s: %s\n", sl_finding_name(x->kind), x->file ? x->file : "", x->text);
}

static int check_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	(void)arg;
	(void)what;
	(void)done;
	(void)total;
	return 0;
}

static struct sl_check sound(void)
{
	static const struct sl_check_hooks check = {.found = check_found, .progress = check_progress};
	struct sl_check result;
	char why[SL_CHECK_WHY];
	int rc = sl_check_run(target, &check, NULL, &result, why);

	ok(rc == 0 && result.damaged == 0, "the copy is sound");
	if (rc)
		printf("# %s\n", why);
	return result;
}

static int64_t target_int(const char *sql)
{
	char path[128];
	sqlite3 *db;
	sqlite3_stmt *q;
	int64_t n = -1;

	snprintf(path, sizeof path, "file:%s/%s?immutable=1", target, SL_VOLUME_FILE);
	if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, NULL) == SQLITE_OK &&
	    sqlite3_prepare_v2(db, sql, -1, &q, NULL) == SQLITE_OK) {
		if (sqlite3_step(q) == SQLITE_ROW)
			n = sqlite3_column_int64(q, 0);
		sqlite3_finalize(q);
	}
	sqlite3_close(db);
	return n;
}

static uint64_t send_big(const char *stream)
{
	int fd = memfd(big, sizeof big);
	struct sl_store_op op = op_of(SLUICE_OP_APPEND, stream);
	uint64_t req;

	op.n_fd = 1;
	op.data_len = sizeof big;
	req = send_ops(c, &op, 1, &fd, 1);
	close(fd);
	return req;
}

/* ---- what is copied ---- */

#define RECORDS_OF(name) \
	"SELECT coalesce(sum(records), 0) FROM chunk WHERE stream = (SELECT id FROM stream WHERE name = '" name "')"

/* One append a batch: so the position says how many there are. */
static void test_under_load(void)
{
	int64_t before = sql_int(&f, RECORDS_OF("log")), position = sql_int(&f, "SELECT position FROM meta"), copied;
	unsigned appended = 0, held = 0;
	struct sl_check result;

	is_int(begin(), 0, "begun");
	is_int(backup_start(f.store, 8, open("/tmp", O_RDONLY | O_CLOEXEC), &hooks, NULL), SLUICE_EBUSY,
	       "one at a time");
	for (; !said.done && appended < 100000; appended++) {
		append(&f, c, "log", "while it is copied");
		held += backup_holds(f.store);
	}
	is_int(said.status, SLUICE_OK, said.text);
	ok(appended > 3 && said.progress > 0, "appends went on");
	ok(held > 0, "files of segments were held");
	ok(!backup_holds(f.store), "and are no more");
	result = sound();
	copied = target_int(RECORDS_OF("log"));
	printf("# %lld records before, %lld in the copy, %u appended meanwhile\n", (long long)before, (long long)copied,
	       appended);
	ok(copied >= before && copied <= before + (int64_t)appended, "what was acknowledged before is there");
	is_int(copied - before, (int64_t)result.position - position, "the state at its position");
	is_int(target_int(RECORDS_OF("large")), sql_int(&f, RECORDS_OF("large")), "large payloads, too");
	is_int(target_int("SELECT count(*) FROM sqlite_schema"), sql_int(&f, "SELECT count(*) FROM sqlite_schema"),
	       "all tables");
	ok(fail.links > 0, "sealed segments are linked");
}

/* Every row of both is the same when nothing is written meanwhile; a writer opens it and goes on. */
static void test_restored(void)
{
	static struct fixture other;
	const char *tables[] = {"stream", "chunk", "producer", "segment", "meta"};
	char sql[200];

	is_int(begin(), 0, "begun");
	finish();
	for (size_t i = 0; i < sizeof tables / sizeof *tables; i++) {
		snprintf(sql, sizeof sql, "SELECT count(*) FROM %s", tables[i]);
		is_int(target_int(sql), sql_int(&f, sql), tables[i]);
	}
	fixture_open(&other, target);
	is_str(contents(&other, "small"), "one|two|", "a writer opens the copy");
	is_out(append(&other, fixture_client(&other), "small", "three"), SLUICE_OK, 0, "and goes on");
	fixture_close(&other);
	is_str(contents(&f, "small"), "one|two|", "the original knows nothing of it");
}

/* The segment that is being written, and file systems that cannot link. */
static void test_copied(void)
{
	static const int errors[][2] = {{EXDEV, 0}, {EPERM, EXDEV}, {EXDEV, ENOSYS}};

	for (size_t i = 0; i < sizeof errors / sizeof *errors; i++) {
		fail.link = errors[i][0];
		fail.range = errors[i][1];
		is_int(begin(), 0, "begun");
		wait_result(&f, c, send_big("large"));
		finish();
		is_int(said.status, SLUICE_OK, said.text);
		synced();
		ok(sound().payloads > 0, "payloads are copied");
	}
	fail.link = fail.range = 0;
}

/* No segment goes while it may be copied, and those that were dead go afterwards. */
static void test_held(void)
{
	int64_t dead;

	create(&f, c, "dying", "text/plain", "");
	for (int i = 0; i < 8; i++)
		wait_result(&f, c, send_big("dying"));
	fail.link = fail.range = EXDEV;
	pthread_mutex_lock(&gate);
	is_int(begin(), 0, "begun");
	for (int i = 0; i < 100000 && !backup_holds(f.store); i++)
		store_turn(f.store, 0);
	removal(&f, c, "dying");
	for (int i = 0; i < 4; i++) {
		f.wall_ms += 61000;
		f.mono_ms += 61000;
		for (int k = 0; k < 500; k++)
			store_turn(f.store, 0);
	}
	dead = sql_int(&f, "SELECT count(*) FROM segment WHERE live = 0");
	ok(dead > 1, "segments are dead");
	pthread_mutex_unlock(&gate);
	finish();
	is_int(said.status, SLUICE_OK, said.text);
	sound();
	fail.link = fail.range = 0;
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	fixture_pass(&f, 61000);
	is_int(sql_int(&f, "SELECT count(*) FROM segment WHERE live = 0 AND id < (SELECT max(id) FROM segment)"), 0,
	       "dead segments go afterwards");
}

/* ---- given up, failed ---- */

static void test_canceled(void)
{
	for (int turns = 0; turns < 12; turns++) {
		is_int(begin(), 0, "begun");
		for (int i = 0; i < turns && !said.done; i++)
			store_turn(f.store, 0);
		if (said.done)
			break;
		backup_cancel(f.store, 6, "another one");
		backup_cancel(f.store, 7, "given up");
		finish();
		is_int(said.status, SLUICE_ECANCELED, said.text);
		ok(is_empty(), "nothing is left of it");
		is_out(append(&f, c, "log", "x"), SLUICE_OK, 0, "the writer goes on");
	}
}

static void test_full(void)
{
	static const struct {
		atomic_int *call;
		int error, status;
		const char *text;
	} cases[] = {
		{&fail.volume, ENOSPC, SLUICE_EFULL, "volume0.db: no space left where the copy goes"},
		{&fail.volume, EIO, SLUICE_EINTERNAL, "volume0.db: disk I/O error"},
		{&fail.write, ENOSPC, SLUICE_EFULL, "segments: no space left where the copy goes"},
		{&fail.write, EIO, SLUICE_EINTERNAL, "segments: Input/output error"},
		{&fail.sync, EIO, SLUICE_EINTERNAL, "segments: Input/output error"},
	};

	fail.link = EXDEV;
	fail.range = EXDEV;
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		*cases[i].call = cases[i].error;
		is_int(begin(), 0, "begun");
		finish();
		*cases[i].call = 0;
		is_int(said.status, cases[i].status, cases[i].text);
		is_str(said.text, cases[i].text, "says what failed");
		ok(is_empty(), "nothing is left of it");
		is_out(append(&f, c, "log", "x"), SLUICE_OK, 0, "the writer goes on");
	}
	fail.link = fail.range = 0;
	fail.sync = EIO;
	is_int(begin(), 0, "begun");
	finish();
	fail.sync = 0;
	is_int(said.status, SLUICE_EINTERNAL, "a directory that cannot be synced");
	ok(is_empty(), "is no backup");
}

/* A directory that has something in it, or is none. */
static void test_refused(void)
{
	char path[128];

	is_int(begin(), 0, "begun");
	finish();
	memset(&said, 0, sizeof said);
	is_int(backup_start(f.store, 7, open(target, O_RDONLY | O_CLOEXEC), &hooks, NULL), 0, "into a backup");
	finish();
	is_str(said.text, "the copy cannot be begun: File exists", "it is refused");
	sound();
	snprintf(path, sizeof path, "%s/%s", target, SL_VOLUME_FILE);
	memset(&said, 0, sizeof said);
	is_int(backup_start(f.store, 7, open(path, O_RDONLY | O_CLOEXEC), &hooks, NULL), 0, "into a file");
	finish();
	is_str(said.text, "the copy cannot be begun: Not a directory", "it is refused");
}

/* The writer ends in the middle. */
static void test_ended(void)
{
	is_int(begin(), 0, "begun");
	store_turn(f.store, 0);
	fixture_kill(&f);
	is_int(said.done, 1, "the end of the writer is the end of a backup");
	is_int(said.status, SLUICE_ECANCELED, said.text);
	ok(is_empty(), "nothing is left of it");
	c = fixture_client(&f);
}

int main(void)
{
	sqlite3_vfs *vfs = sqlite3_vfs_find(NULL);

	vfs->xSetSystemCall(vfs, "pwrite", (sqlite3_syscall_ptr)sqlite_pwrite);
	vfs->xSetSystemCall(vfs, "pwrite64", (sqlite3_syscall_ptr)sqlite_pwrite);
	memset(big, 'b', sizeof big);
	fixture_open_bare(&f);
	f.store->settings.segment_bytes = 1 << 20;
	c = fixture_client(&f);
	create(&f, c, "log", "text/plain", "");
	create(&f, c, "small", "text/plain", "one");
	append(&f, c, "small", "two");
	create(&f, c, "large", "text/plain", "");
	create(&f, c, "filler", "text/plain", "");
	for (int i = 0; i < 12; i++)
		wait_result(&f, c, send_big("large"));
	/* Some thousand pages of rows. */
	for (int i = 0; i < 200; i++) {
		struct sl_store_op op = op_of(SLUICE_OP_APPEND, "filler");

		op.data = SL_SLICE(big, 100000);
		run(&f, c, op);
	}
	test_under_load();
	test_restored();
	test_copied();
	test_held();
	test_canceled();
	test_full();
	test_refused();
	test_ended();
	fixture_close(&f);
	fixture_remove(target);
	return tap_done();
}
