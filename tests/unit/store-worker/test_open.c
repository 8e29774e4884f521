/*
 * test_open.c - what a writer refuses to open, and leaves as it is; recovery after kill -9 at any moment; the
 * handshake with a supervisor.
 */
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "tests/unit/store-worker/fixture.h"

static char dir[64], volume[96];
static bool begun; /* what refused() tells the store */

static void new_dir(void)
{
	snprintf(dir, sizeof dir, "/tmp/store-test-XXXXXX");
	ok(mkdtemp(dir) != NULL, "a directory");
	snprintf(volume, sizeof volume, "%s/%s", dir, SL_VOLUME_FILE);
}

static void sql(const char *text)
{
	sqlite3 *db;

	ok(sqlite3_open(volume, &db) == SQLITE_OK && sqlite3_exec(db, text, NULL, NULL, NULL) == SQLITE_OK, "prepared");
	sqlite3_close(db);
}

static void file(const char *path, const void *bytes, size_t n)
{
	FILE *out = fopen(path, "w");

	ok(out && fwrite(bytes, 1, n, out) == n && fclose(out) == 0, "written");
}

static size_t slurp(char *to, size_t max)
{
	FILE *in = fopen(volume, "r");
	size_t n = in ? fread(to, 1, max, in) : 0;

	if (in)
		fclose(in);
	return n;
}

/* Opening fails with a text that contains `says`, for good, and the file is what it was. */
static void refused(const char *says, const char *what)
{
	static char before[1 << 18], after[1 << 18];
	size_t n = slurp(before, sizeof before);
	struct store *st = store_new();
	const char *why = "";
	bool final = false;
	int rc;

	st->lock_wait_ms = 100;
	st->begun = begun;
	rc = store_open(st, dir, &why, &final);
	ok(rc != 0 && final, "refused, and a restart would not help");
	ok(strstr(why, says) != NULL, "with a sentence that says why");
	printf("# %s: %s\n", what, why);
	store_free(st);
	ok(slurp(after, sizeof after) == n && memcmp(before, after, n) == 0, "and left as it was");
}

/* What others may write, or what is another user's, in a directory that lets them in. */
static void test_modes(void)
{
	static const char *const names[] = {SL_VOLUME_FILE, SL_SEGMENT_DIR, SL_LOCK_FILE, SL_VOLUME_FILE "-wal"};
	struct fixture f;
	char path[128];

	unsetenv("SLUICE_SHADOW");
	new_dir();
	fixture_open(&f, dir);
	fixture_close(&f);
	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		struct stat st;

		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		if (i == 3) {
			file(path, "", 0); /* a clean end leaves none */
			chmod(path, 0600);
		}
		ok(stat(path, &st) == 0, "it is there");
		chmod(dir, 0755);
		chmod(path, st.st_mode | S_IWOTH);
		refused("everybody may write", "a file that everybody may write");
		chmod(path, st.st_mode | S_IWGRP);
		refused("its group may write", "a file that its group may write");
		if (geteuid() == 0) {
			chmod(path, st.st_mode);
			ok(chown(path, 12345, (gid_t)-1) == 0, "given away");
			refused("belongs to user 12345", "a file of another user");
			ok(chown(path, 0, (gid_t)-1) == 0, "taken back");
			chmod(path, st.st_mode | S_IWGRP);
		}
		chmod(dir, 0700);
		fixture_open(&f, dir); /* nobody else reaches it there */
		fixture_close(&f);
		chmod(dir, 0755);
		chmod(path, st.st_mode);
		fixture_open(&f, dir);
		fixture_close(&f);
	}
	fixture_remove(dir);
}

static void test_refused(void)
{
	static char text[8192];
	struct fixture f;

	unsetenv("SLUICE_SHADOW");
	new_dir();
	memset(text, 'x', sizeof text);
	file(volume, text, sizeof text);
	refused("not a database", "no database");
	unlink(volume);
	sql("CREATE TABLE mine (x)");
	refused("another program", "somebody's database");
	unlink(volume);
	sql("CREATE TABLE mine (x); PRAGMA application_id = 1936487779; PRAGMA user_version = 99");
	refused("newer version", "newer schema");
	unlink(volume);
	sql("CREATE TABLE mine (x); PRAGMA application_id = 1936487779; PRAGMA user_version = 1");
	refused("damaged", "not our tables");
	fixture_remove(dir);
	new_dir();
	fixture_open(&f, dir);
	create(&f, fixture_client(&f), "s", "text/plain", "x");
	refused("in use", "a second writer");
	fixture_close(&f);
	unsetenv("SLUICE_SHADOW");
	{
		int fd = open(volume, O_WRONLY | O_CLOEXEC);

		memset(text, 0xa5, sizeof text);
		ok(pwrite(fd, text, 300, 100) == 300, "a damaged beginning");
		close(fd);
	}
	refused("damaged", "a damaged beginning");
	fixture_remove(dir);
	if (geteuid() != 0) {
		new_dir();
		chmod(dir, 0500);
		refused("permissions", "a directory that cannot be written");
		fixture_remove(dir);
	}
	snprintf(dir, sizeof dir, "/proc/nonexistent/store");
	snprintf(volume, sizeof volume, "%s/x", dir);
	refused("is not there", "a directory that is not there");
	new_dir();
	fixture_remove(dir);
	refused("is not there", "a directory that was removed");
	is_int(access(dir, F_OK), -1, "is not made again");
}

/* No new volume beside what is left of an old one, or where one was open before. */
static void test_missing(void)
{
	static const char *const left[] = {SL_VOLUME_FILE "-wal", SL_SEGMENT_DIR "/00000000000000a1.seg"};
	struct fixture f;
	char path[128], away[112];

	unsetenv("SLUICE_SHADOW");
	new_dir();
	fixture_open(&f, dir);
	fixture_close(&f);
	snprintf(away, sizeof away, "%s.away", volume);
	for (size_t i = 0; i < 4; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, left[i / 2]);
		ok(rename(volume, away) == 0, "moved");
		if (i % 2)
			file(volume, "", 0);
		file(path, "x", 1);
		chmod(path, 0600);
		refused(left[i / 2], "a volume that is missing");
		is_int(access(path, F_OK), 0, "what is left is left");
		is_int(access(volume, F_OK), i % 2 ? 0 : -1, "none was made");
		ok(rename(away, volume) == 0 && unlink(path) == 0, "moved back");
	}
	file(path, "x", 1);
	snprintf(path, sizeof path, "%s/%s", dir, SL_SEGMENT_DIR);
	chmod(path, 0);
	ok(rename(volume, away) == 0, "moved");
	if (geteuid() != 0)
		refused("cannot be read", "segments that cannot be read");
	chmod(path, 0700);
	refused("00000000000000a1.seg", "segments that can");
	snprintf(path, sizeof path, "%s/%s/00000000000000a1.seg", dir, SL_SEGMENT_DIR);
	unlink(path);
	begun = true;
	refused("any more", "a volume that was there before");
	is_int(access(volume, F_OK), -1, "none was made");
	begun = false;
	fixture_open(&f, dir);
	fixture_close(&f);
	{
		struct store *st = store_new();
		const char *why = "";
		bool final;

		st->begun = true;
		is_int(store_open(st, dir, &why, &final), 0, "one that is there still is opened");
		store_free(st);
	}
	fixture_remove(dir);
}

/* A writer waits for one that is finishing. */
static void test_successor(void)
{
	int ready[2];
	pid_t pid;
	struct fixture f;

	new_dir();
	ok(pipe(ready) == 0, "pipe");
	pid = fork();
	if (pid == 0) {
		struct timespec t = {.tv_nsec = 300 * 1000000L};

		fixture_open(&f, dir);
		/* Only the parent may count tests. */
		if (write(ready[1], "x", 1) != 1)
			_exit(1);
		nanosleep(&t, NULL);
		_exit(0);
	}
	ok(read(ready[0], volume, 1) == 1, "an old writer is there");
	fixture_open(&f, dir);
	ok(f.store->se != NULL, "the new one has waited for its end");
	fixture_close(&f);
	waitpid(pid, NULL, 0);
	fixture_remove(dir);
	close(ready[0]);
	close(ready[1]);
}

/* Whether a process has a file open, by its name. */
static bool has_open(pid_t pid, const char *path)
{
	char name[64], to[128];
	bool has = false;

	for (int fd = 0; fd < 64 && !has; fd++) {
		ssize_t n;

		snprintf(name, sizeof name, "/proc/%d/fd/%d", (int)pid, fd);
		n = readlink(name, to, sizeof to - 1);
		to[n > 0 ? n : 0] = '\0';
		has = strcmp(to, path) == 0;
	}
	return has;
}

/* A restore has the lock, waits until a writer waits for it, and puts another directory into the place. */
static void exchange(pid_t writer, const char *lock)
{
	const struct timespec step = {.tv_nsec = 1000000};
	char aside[96];

	snprintf(aside, sizeof aside, "%s.old", dir);
	while (!has_open(writer, lock))
		nanosleep(&step, NULL);
	_exit(rename(dir, aside) || mkdir(dir, 0700));
}

/* Whoever waited while the directory was exchanged has the lock of the new one, not of the old. */
static void test_exchanged(void)
{
	char lock[96], aside[96];
	struct fixture f;
	pid_t pid;
	int low, fd, status;

	new_dir();
	snprintf(lock, sizeof lock, "%s/%s", dir, SL_LOCK_FILE);
	snprintf(aside, sizeof aside, "%s.old", dir);
	low = open(lock, O_RDWR | O_CREAT, 0600);
	fd = fcntl(low, F_DUPFD, 100); /* where has_open() does not look */
	close(low);
	ok(fd >= 0 && flock(fd, LOCK_EX) == 0, "the lock is taken");
	pid = fork();
	if (pid == 0)
		exchange(getppid(), lock);
	close(fd);
	fixture_open(&f, dir);
	ok(waitpid(pid, &status, 0) == pid && status == 0, "and the directory was exchanged");
	unsetenv("SLUICE_SHADOW");
	refused("in use", "a second writer");
	fixture_close(&f);
	fixture_remove(dir);
	fixture_remove(aside);
}

/* ---- kill -9 under load ---- */

/* Appends numbers to four streams and says through the pipe which were acknowledged. Never returns. */
static void load(int out)
{
	struct fixture f;
	struct client *c;
	char name[16], data[16];

	fixture_open(&f, dir);
	shadow_close(f.store);
	c = fixture_client(&f);
	for (int i = 0; i < 4; i++) {
		snprintf(name, sizeof name, "s%d", i);
		create(&f, c, name, "text/plain", "");
	}
	for (uint32_t n = 0;; n++) {
		uint64_t req = 0;

		for (int i = 0; i < 4; i++) {
			struct sl_store_op op = op_of(SLUICE_OP_APPEND, "");

			snprintf(name, sizeof name, "s%d", i);
			snprintf(data, sizeof data, "%u", n);
			op.stream = sl_slice_str(name);
			op.data = sl_slice_str(data);
			op.flags = SLUICE_A_PRODUCER;
			op.producer = SL_STR("p");
			op.producer_seq = n;
			req = send_ops(c, &op, 1, NULL, 0);
		}
		wait_result(&f, c, req);
		if (c->out[0].status != SLUICE_OK || write(out, &n, sizeof n) != sizeof n)
			_exit(1);
	}
}

static uint32_t kill_round(uint32_t target)
{
	int p[2];
	pid_t pid;
	uint32_t n = 0, acknowledged = 0;

	if (pipe(p))
		return 0;
	pid = fork();
	if (pid == 0) {
		close(p[0]);
		load(p[1]);
	}
	close(p[1]);
	while (acknowledged < target && read(p[0], &n, sizeof n) == sizeof n)
		acknowledged = n;
	kill(pid, SIGKILL);
	waitpid(pid, NULL, 0);
	while (read(p[0], &n, sizeof n) == sizeof n)
		acknowledged = n;
	close(p[0]);
	return acknowledged;
}

static void test_kill(void)
{
	static const uint32_t targets[] = {1, 17, 400, 1500};

	for (size_t i = 0; i < sizeof targets / sizeof *targets; i++) {
		struct fixture f;
		struct client *c;
		uint32_t acknowledged;
		int good = 0;

		new_dir();
		acknowledged = kill_round(targets[i]);
		fixture_open(&f, dir);
		c = fixture_client(&f);
		for (int s = 0; s < 4; s++) {
			char name[16];
			struct sl_store_outcome o;
			uint32_t expected = 0;
			const char *text;

			snprintf(name, sizeof name, "s%d", s);
			for (text = contents(&f, name); *text; expected++) {
				char *end;

				if (strtoul(text, &end, 10) != expected || *end != '|')
					break;
				text = end + 1;
			}
			/* A retry of the last acknowledged one is a duplicate; the one after the last there is accepted. */
			o = produce(&f, c, name, "p", 0, acknowledged, "again");
			good += *text == '\0' && expected > acknowledged && expected <= acknowledged + 3 &&
			        (o.flags & SLUICE_R_DUPLICATE) &&
			        produce(&f, c, name, "p", 0, expected, "next").status == SLUICE_OK;
		}
		is_int(good, 4, "every acknowledged append is there once and in order");
		is_int(sql_int(&f, "SELECT count(*) FROM pragma_integrity_check WHERE integrity_check <> 'ok'"), 0,
		       "the volume is sound");
		fixture_close(&f);
		fixture_shadow_ok(&f);
		fixture_remove(dir);
	}
}

/* ---- the channel to the supervisor ---- */

struct boss {
	struct sl_ipc ipc;
	bool hello_back, ready, failed, final, pong;
	char why[256];
};

static int on_hello_back(void *arg, const struct sl_control_hello_back *m)
{
	((struct boss *)arg)->hello_back = m->protocol == SL_CONTROL_PROTOCOL;
	return 0;
}

static int on_ready(void *arg, const struct sl_control_ready *m)
{
	(void)m;
	((struct boss *)arg)->ready = true;
	return 0;
}

static int on_failed(void *arg, const struct sl_control_failed *m)
{
	struct boss *b = arg;

	b->failed = true;
	b->final = m->final;
	snprintf(b->why, sizeof b->why, "%.*s", (int)m->why.len, m->why.len ? (const char *)m->why.data : "");
	return 0;
}

static int on_pong(void *arg, const struct sl_control_pong *m)
{
	((struct boss *)arg)->pong = m->n == 42;
	return 0;
}

static const struct sl_control_handlers boss_handlers = {
	.hello_back = on_hello_back, .ready = on_ready, .failed = on_failed, .pong = on_pong};

static pid_t boss_start(struct boss *b)
{
	int fd[2];
	pid_t pid;

	memset(b, 0, sizeof *b);
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fd))
		return -1;
	pid = fork();
	if (pid == 0) {
		close(fd[0]);
		sl_log_init("store", SLUICE_LOG_ERR);
		_exit(control_run(fd[1]));
	}
	close(fd[1]);
	sl_ipc_init(&b->ipc, fd[0]);
	return pid;
}

static void boss_send_setup(struct boss *b, const char *config)
{
	sl_put_control_hello(&b->ipc,
	                     &(struct sl_control_hello){.protocol = SL_CONTROL_PROTOCOL, .build = SL_STR(SL_BUILD)});
	sl_put_control_setup(&b->ipc, &(struct sl_control_setup){.name = SL_STR("store"),
	                                                         .section = SL_STR(""),
	                                                         .config_file = SL_STR("x"),
	                                                         .config = sl_slice_str(config),
	                                                         .data_dir = sl_slice_str(dir),
	                                                         .log_level = SLUICE_LOG_ERR});
}

/* Blocks until a frame came; false: the other side is gone. */
static bool boss_take(struct boss *b)
{
	uint16_t id;
	sl_slice body;
	struct pollfd p = {.fd = b->ipc.fd, .events = POLLIN};
	int rc;

	sl_ipc_flush(&b->ipc);
	poll(&p, 1, 30000);
	rc = sl_ipc_fill(&b->ipc);
	while (sl_ipc_next(&b->ipc, &id, &body) == 1)
		if (sl_control_dispatch(&boss_handlers, SL_TO_SUPERVISOR, b, &b->ipc, id, body))
			return false;
	return rc == 0;
}

static int boss_wait(pid_t pid)
{
	int status = 0;

	waitpid(pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static void test_control(void)
{
	struct boss b;
	struct fixture f;
	pid_t pid;
	int pair[2];
	struct client c = {0};

	unsetenv("SLUICE_SHADOW");
	new_dir();
	pid = boss_start(&b);
	ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0, "a link");
	boss_send_setup(&b, "");
	sl_put_control_peer(&b.ipc, &(struct sl_control_peer){.name = SL_STR("early"), .socket = pair[1]});
	close(pair[1]);
	sl_put_control_setup_done(&b.ipc, &(struct sl_control_setup_done){});
	while (!b.ready && boss_take(&b))
		;
	ok(b.hello_back && b.ready, "ready");
	sl_put_control_ping(&b.ipc, &(struct sl_control_ping){.n = 42});
	while (!b.pong && boss_take(&b))
		;
	ok(b.pong, "answers pings");
	sl_ipc_init(&c.ipc, pair[0]);
	sl_put_store_hello(&c.ipc, &(struct sl_store_hello){.protocol = SL_STORE_PROTOCOL,
	                                                    .build = SL_STR(SL_BUILD),
	                                                    .name = SL_STR("x")});
	{
		struct sl_store_op op = op_of(SLUICE_OP_CREATE, "last");

		op.data = SL_STR("words");
		send_ops(&c, &op, 1, NULL, 0);
	}
	sl_ipc_flush(&c.ipc);
	sl_put_control_drain(&b.ipc, &(struct sl_control_drain){.deadline_ms = 10000});
	while (boss_take(&b))
		;
	is_int(boss_wait(pid), 0, "a drain ends with 0");
	sl_ipc_fini(&b.ipc);
	sl_ipc_fini(&c.ipc);
	fixture_open(&f, dir);
	is_str(contents(&f, "last"), "words|", "what was sent before it is done");
	fixture_client(&f);
	pid = boss_start(&b);
	boss_send_setup(&b, "store: {max_batch_ops: 0}");
	while (!b.failed && boss_take(&b))
		;
	ok(b.failed && b.final, "a bad configuration is final");
	is_int(boss_wait(pid), 78, "with an exit code of its own");
	sl_ipc_fini(&b.ipc);
	fixture_close(&f);
	unsetenv("SLUICE_SHADOW");
	pid = boss_start(&b);
	boss_send_setup(&b, "");
	sl_put_control_setup_done(&b.ipc, &(struct sl_control_setup_done){});
	while (!b.ready && boss_take(&b))
		;
	sl_ipc_fini(&b.ipc);
	is_int(boss_wait(pid), 0, "the supervisor dies: the writer ends in order");
	fixture_remove(dir);
}

static void test_other_build(void)
{
	struct boss b;
	pid_t pid;

	new_dir();
	pid = boss_start(&b);
	sl_put_control_hello(&b.ipc,
	                     &(struct sl_control_hello){.protocol = SL_CONTROL_PROTOCOL, .build = SL_STR("other")});
	while (!b.failed && boss_take(&b))
		;
	ok(b.failed && strstr(b.why, "another build"), "a supervisor of another build");
	is_int(boss_wait(pid), 78, "is not served");
	sl_ipc_fini(&b.ipc);
	fixture_remove(dir);
}

int main(void)
{
	sl_log_init("test", SLUICE_LOG_ERR);
	test_refused();
	test_missing();
	test_modes();
	test_successor();
	test_exchanged();
	test_kill();
	test_control();
	test_other_build();
	return tap_done();
}
