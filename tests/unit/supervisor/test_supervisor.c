/* The supervisor keeps a family of fake children in the states it should, whatever they do. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"
#include "tests/unit/tap.h"

enum { PATIENCE_MS = 60000 }; /* for a state to come; only a failing test waits so long */

static char dir[128], file[192];
static struct {
	pid_t pid;
	int fd; /* its stderr */
	char log[1 << 18];
	size_t len, seen; /* seen: up to where wait_for() has looked */
} d;

static void write_file(const char *name, const char *text)
{
	char path[256];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", dir, name);
	f = fopen(path, "we");
	if (!f || fputs(text, f) < 0 || fclose(f))
		abort();
}

static const char *read_log(void) /* of the fake children */
{
	static char text[1 << 16];
	char path[256];
	int fd;
	ssize_t n;

	snprintf(path, sizeof path, "%s/log", dir);
	fd = open(path, O_RDONLY | O_CLOEXEC);
	n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
	if (fd >= 0)
		close(fd);
	text[n < 0 ? 0 : n] = '\0';
	return text;
}

static int count(const char *text, const char *what)
{
	int n = 0;

	for (; (text = strstr(text, what)); text++)
		n++;
	return n;
}

/* Until the fake children have logged it n times; what comes later than that in ten seconds is taken not to come. */
static bool wait_count(const char *what, int n)
{
	const struct timespec step = {.tv_nsec = 10 * 1000000L};

	for (int i = 0; i < 1000 && count(read_log(), what) < n; i++)
		nanosleep(&step, NULL);
	return count(read_log(), what) >= n;
}

static void forget(const char *name)
{
	char path[256];

	snprintf(path, sizeof path, "%s/%s", dir, name);
	unlink(path);
}

static void config(const char *listen, const char *rest)
{
	char text[2048];

	snprintf(
		text, sizeof text,
		"data_dir: temporary\n%sfrontends:\n  - name: web\n    listen: [%s]\n    workers: 2\n    plugins: [{plugin: fake}]\n",
		rest, listen);
	write_file("sluice.yaml", text);
}

static int run(int (*mode)(struct supervisor *), int ping_ms)
{
	struct timeval tv = {.tv_usec = ping_ms * 1000};
	struct supervisor s;
	int rc;

	sl_log_init("sluiced", SLUICE_LOG_INFO);
	if (super_init(&s, file, dir, false))
		abort();
	if (ping_ms)
		event_add(s.pings, &tv);
	rc = mode(&s);
	super_fini(&s);
	return rc;
}

static int mode_check(struct supervisor *s)
{
	return super_check(s, false);
}

static int mode_print(struct supervisor *s)
{
	return super_check(s, true);
}

static void start_mode(int (*mode)(struct supervisor *), int ping_ms)
{
	int pipes[2];

	forget("log");
	memset(&d, 0, sizeof d);
	if (pipe2(pipes, O_CLOEXEC))
		abort();
	fflush(NULL);
	d.pid = fork();
	if (d.pid < 0)
		abort();
	if (d.pid == 0) {
		dup2(pipes[1], STDERR_FILENO);
		dup2(pipes[1], STDOUT_FILENO);
		close(pipes[0]);
		close(pipes[1]);
		exit(run(mode, ping_ms));
	}
	close(pipes[1]);
	d.fd = pipes[0];
}

static void start(void)
{
	start_mode(super_run, 0);
}

static bool read_more(void) /* of the daemon's log; false at its end */
{
	struct pollfd p = {.fd = d.fd, .events = POLLIN};
	ssize_t n;

	if (poll(&p, 1, PATIENCE_MS) <= 0)
		return false;
	n = read(d.fd, d.log + d.len, sizeof d.log - 1 - d.len);
	if (n <= 0)
		return false;
	d.len += (size_t)n;
	return true;
}

/* Until the text appears behind what was found before; false at the log's end. */
static bool wait_for(const char *what)
{
	do {
		char *found = strstr(d.log + d.seen, what);

		if (found) {
			d.seen = (size_t)(found - d.log) + strlen(what);
			return true;
		}
	} while (read_more());
	return false;
}

/* 0, 1 and negative numbers name more than one process, or one that is not ours: a failed look-up must never get as far as kill(). */
static void signal_one(long pid, int signal)
{
	if (pid <= 1) {
		printf("Bail out! no process to send signal %d to\n# log of sluiced:\n%s\n", signal, d.log);
		exit(1);
	}
	kill((pid_t)pid, signal);
}

static int finish(void) /* its exit code */
{
	int status;

	while (wait_for("\x01 never printed"))
		;
	close(d.fd);
	waitpid(d.pid, &status, 0);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int stop(void)
{
	signal_one(d.pid, SIGTERM);
	return finish();
}

static long pid_of(const char *name) /* from its last "ready" transition */
{
	char what[64];
	long pid = -1;

	snprintf(what, sizeof what, "child name=%s pid=", name);
	for (const char *p = d.log; (p = strstr(p, what)); p++) {
		if (strstr(p, "to=ready") && strstr(p, "to=ready") < strchr(p, '\n'))
			pid = strtol(p + strlen(what), NULL, 10);
	}
	return pid;
}

/* Until another process than this one is ready; does not move on in the log. */
static bool wait_successor(const char *name, long old)
{
	do {
		if (pid_of(name) != old)
			return true;
	} while (read_more());
	return false;
}

static int port_of(void)
{
	const char *p = d.log, *last = NULL;

	while ((p = strstr(p, "listen=http://127.0.0.1:")))
		last = p++;
	return last ? atoi(last + strlen("listen=http://127.0.0.1:")) : -1;
}

static bool reachable(int port)
{
	struct sockaddr_in to = {
		.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	bool yes = connect(fd, (struct sockaddr *)&to, sizeof to) == 0;

	close(fd);
	return yes;
}

static void test_start_stop(void)
{
	const char *log, *p;

	config("127.0.0.1:0", "");
	start();
	ok(wait_for("sluiced ready"), "it gets ready");
	ok(wait_for("frontend=web listen=http://127.0.0.1:") && port_of() > 0, "and tells the port that it got");
	ok(reachable(port_of()), "where it listens");
	log = read_log();
	p = strstr(log, "store ");
	ok(p && strstr(log, "ready fds=") > p && strstr(log, "web#1") > strstr(p, "ready"),
	   "workers start when the store is ready");
	is_int(count(log, "ready fds=4 "), 3, "a child is born with four descriptors");
	is_int(count(log, "listeners=1"), 2, "each worker has the listener");
	is_int(stop(), 0, "SIGTERM stops it with 0");
	log = read_log();
	is_int(count(log, " peer web#"), 2, "the writer knew both workers");
	is_int(count(log, " drain\n"), 3, "everybody was told to finish");
	ok(strstr(log, "store ") && strstr(strrchr(log, 's') ? log : "", "drain") != NULL, "in the log");
	for (p = log; strstr(p, " drain\n"); p = strstr(p, " drain\n") + 1)
		;
	while (p > log && p[-1] != '\n')
		p--;
	ok(strncmp(p, "store ", 6) == 0, "the store last");
	ok(strstr(d.log, "a line on stdout") && strstr(d.log, "web#1["),
	   "what children print is logged with their name");
	ok(strstr(d.log, "temporary_data dir="), "temporary data is announced");
	ok(strstr(d.log, "status=0"), "an orderly end has its line");
}

static void test_deaths(void)
{
	long worker, store;

	config("127.0.0.1:0", "");
	start();
	wait_for("sluiced ready");
	worker = pid_of("web#1");
	store = pid_of("store");
	/* Not SIGSEGV: a sanitizer would take that for its own business. */
	signal_one(worker, SIGKILL);
	ok(wait_for("child_exit name=web#1") && wait_for("signal=9"), "a death has an obituary");
	ok(wait_successor("web#1", worker), "the worker comes back");
	ok(wait_count(" peer web#", 3), "the writer was given it");
	is_int(pid_of("store"), store, "the store was left alone");
	signal_one(store, SIGKILL);
	ok(wait_successor("store", store), "the store comes back");
	ok(wait_count(" peer web#", 5) && wait_count(" store_link 2", 2), "and is connected with the workers");
	ok(pid_of("store") != store && pid_of("web#1") != worker, "as a new process");
	is_int(stop(), 0, "and everything can be stopped");
	is_int(count(read_log(), " peer web#"), 5, "the new writer was given every worker, the new worker once");
	is_int(count(read_log(), " store_link 2"), 2, "workers that stayed got a second connection");
	is_int(count(read_log(), "web#2") > 0 ? count(d.log, "child_exit name=web#2") : -1, 1,
	       "a worker outlives the writer");
}

/* A writer that cannot start again, on a broken disk say, does not end a service that can still be read. */
static void test_final_while_running(void)
{
	long store;

	config("127.0.0.1:0", "");
	start();
	wait_for("sluiced ready");
	store = pid_of("store");
	wait_count(" peer web#", 2); /* or it would be killed before it has said so */
	write_file("store", "final");
	signal_one(store, SIGKILL);
	ok(wait_for("child_failed name=store") && wait_for("child_throttled name=store"), "a writer that cannot start is tried again");
	forget("store");
	ok(wait_successor("store", store), "until it can");
	ok(wait_count(" peer web#", 4), "and it is given the workers, which stayed");
	is_int(stop(), 0, "nothing had ended");
	ok(!strstr(d.log, "fatal"), "nor was anything given up");
}

/* Lines of the fake children's log that begin and go on like this. */
static int lines_of(const char *begins, const char *has)
{
	int n = 0;

	for (const char *p = read_log(), *end; (end = strchr(p, '\n')); p = end + 1)
		n += strncmp(p, begins, strlen(begins)) == 0 && memmem(p, (size_t)(end - p), has, strlen(has));
	return n;
}

/* A worker that wants to know of all processes is told of every change, and given counters that it can only read. */
static void test_roster(void)
{
	long store;

	config("127.0.0.1:0", "");
	write_file("web#1", "roster");
	start();
	wait_for("sluiced ready");
	ok(wait_count("addresses=1 sluiced=running/0 store=ready/0+ web#1=ready/0+ web#2=ready/0+", 1), "who wants the roster gets it");
	is_int(count(read_log(), "memory writable=0"), 3, "with the counters of each process, for reading only");
	store = pid_of("store");
	signal_one(store, SIGKILL);
	ok(wait_count(" store=down/1 ", 1), "a death is told, without counters of the dead");
	ok(wait_successor("store", store) && wait_count(" store=ready/1+ ", 1), "and who takes its place");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("reloaded generation=2") && wait_count("roster generation=2 ", 1), "a reload too, to the workers of both generations");
	ok(wait_for("generation number=1 state=gone") && wait_count("generation=2 addresses=1 sluiced=running/0 store=ready/1+ web#1=ready/0+ web#2=ready/0+", 1),
	   "until the old ones are gone");
	is_int(stop(), 0, "stop");
	is_int(lines_of("web#2 ", " roster "), 0, "nobody else is told");
	ok(lines_of("web#1 ", " roster ") > 4, "of all this");
	forget("web#1");
}

/* Whoever lost a connection while its other end lives gets another, unless a newer one is on its way already. */
static void test_lost(void)
{
	write_file("sluice.yaml", "data_dir: temporary\nfrontends:\n  - name: web\n    listen: [127.0.0.1:0]\n    workers: 3\n    plugins: [{plugin: fake}]\n"
	                          "  - name: owner\n    listen: [127.0.0.1:0]\n    plugins: [{plugin: presence}]\n");
	write_file("web#1", "lossy");
	write_file("web#2", "late");
	write_file("web#3", "liar");
	start_mode(super_run, 20);
	wait_for("sluiced ready");
	ok(wait_count("store_link 3", 1) && wait_count("presence_link 3", 1), "a lost connection is made anew");
	ok(wait_count("late over", 1), "pings go on");
	is_int(lines_of("web#1 ", "store_link"), 3, "to the writer");
	is_int(lines_of("web#1 ", "presence_link"), 3, "and to the presence worker");
	is_int(lines_of("owner#1 ", "presence_peer web#1"), 3, "which gets the other ends");
	is_int(lines_of("web#2 ", "_link 2"), 0, "of an older one nobody needs another");
	ok(wait_for("child_exit name=web#3"), "who speaks of connections that were never made is not served");
	is_int(lines_of("owner#1 ", "_link"), 1, "the presence worker has one to the writer, and none to itself");
	stop();
	for (int i = 1; i <= 3; i++) {
		char name[] = {'w', 'e', 'b', '#', (char)('0' + i), '\0'};

		forget(name);
	}
}

static void test_final(void)
{
	config("127.0.0.1:0", "");
	write_file("store", "final");
	start();
	is_int(finish(), 1, "a store that cannot work ends the supervisor");
	ok(strstr(d.log, "fatal name=store why=\"the data is unreadable\""), "with its reason");
	write_file("store", "other-build");
	start();
	is_int(finish(), 1, "so does a store of another build");
	ok(strstr(d.log, "another build"), "with that reason");
	forget("store");
	write_file("web#2", "final");
	start();
	is_int(finish(), 1, "a worker that can never start ends the start-up");
	ok(strstr(d.log, "fatal name=web#2"), "and is named");
	write_file("web#2", "exit78");
	start();
	is_int(finish(), 1, "exit code 78 says the same");
	write_file("web#2", "crash");
	start();
	ok(wait_for("child_throttled name=web#2 restart_in_ms=100") && wait_for("restart_in_ms=200"),
	   "other deaths are throttled");
	forget("web#2");
	ok(wait_for("sluiced ready"), "and forgiven");
	is_int(stop(), 0, "stop");
	write_file("web#1", "nonsense");
	start();
	ok(wait_for("name=web#1") && wait_for("to=down"), "a child that talks nonsense is not kept");
	forget("web#1");
	ok(wait_for("sluiced ready"), "but replaced");
	is_int(stop(), 0, "stop");
}

static void test_hang(void)
{
	long worker;

	config("127.0.0.1:0", "limits: {drain_timeout: 100ms}\n");
	write_file("web#1", "hang");
	start_mode(super_run, 20);
	wait_for("sluiced ready");
	worker = pid_of("web#1");
	ok(wait_for("to=killed why=\"it does not answer\""), "a worker that does not answer is killed");
	ok(wait_for("signal=6"), "with a signal that leaves a core");
	forget("web#1");
	ok(wait_successor("web#1", worker), "and replaced");
	is_int(stop(), 0, "stop");
	write_file("web#2", "stubborn");
	start();
	wait_for("sluiced ready");
	is_int(stop(), 0, "a worker that does not finish does not keep it from stopping");
	ok(strstr(d.log, "to=killed why=\"it did not finish in time\""), "it is killed at the deadline");
	forget("web#2");
}

static void test_reload(void)
{
	int port, second;
	long old, store;

	config("127.0.0.1:0", "");
	start();
	wait_for("sluiced ready");
	wait_for("\n");
	store = pid_of("store");
	port = port_of();
	old = pid_of("web#1");

	write_file("sluice.yaml", "frontends: []\nlimits: {bdy: 3}\n");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("sluice.yaml:1:12: frontends: needs at least 1 element"), "a bad file is described");
	ok(wait_for("sluice.yaml:2:10: limits: unknown key \"bdy\""), "in full");
	ok(wait_for("reload_failed"), "and refused");
	is_int(pid_of("web#1"), old, "the old workers go on");

	config("127.0.0.1:0", "");
	write_file("check:web", "bad");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("sluice.yaml:2:5: fake: expected better") && wait_for("reload_failed"), "a plugin can refuse it");
	forget("check:web");

	write_file("web#2", "fail");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("reload_worker name=web#2 why=\"not today\"") && wait_for("reload_failed"),
	   "a worker that does not start ends it");
	forget("web#2");
	ok(reachable(port), "the old ones still listen");

	config("127.0.0.1:0, \"127.0.0.1:00\"", "store: {synchronous: off}\nlog: {level: debug}\n");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("reloaded generation="), "a good one is taken up");
	ok(wait_for("generation number=1 state=gone"), "the old generation drains");
	ok(pid_of("web#1") != old, "new workers serve");
	ok(wait_successor("store", store), "the writer was restarted for an option that needs it");
	second = port_of();
	ok(second != port && reachable(port) && reachable(second), "the old address was kept, a new one was bound");

	config("127.0.0.1:0", "store: {synchronous: off}\n");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("reloaded generation=") && wait_for("listener_closed"), "an address that left is closed");
	ok(reachable(port) && !reachable(second), "only that one");

	write_file(
		"sluice.yaml",
		"data_dir: /elsewhere\nfrontends: [{name: web, listen: ['127.0.0.1:0'], plugins: [{plugin: fake}]}]\n");
	signal_one(d.pid, SIGHUP);
	ok(wait_for("sluice.yaml:1:11: data_dir: a reload cannot move the data"), "the data directory stays");
	is_int(stop(), 0, "stop");
	is_int(count(read_log(), " settings\n"), 2, "the writer heard of both");
}

static void test_orphans(void)
{
	config("127.0.0.1:0", "");
	start();
	wait_for("sluiced ready");
	signal_one(d.pid, SIGKILL);
	/* Children hold no end of the log's pipe: it ends with the supervisor. */
	is_int(finish(), 1000 + SIGKILL, "the supervisor is killed");
	for (int i = 0; i < PATIENCE_MS / 10 && count(read_log(), " end\n") < 4; i++)
		poll(NULL, 0, 10);
	is_int(count(read_log(), " orphan\n"), 3, "every child notices");
}

static int bound_socket(struct sockaddr_in *at)
{
	socklen_t len = sizeof *at;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	*at = (struct sockaddr_in){.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	if (bind(fd, (struct sockaddr *)at, sizeof *at) || listen(fd, 1) ||
	    getsockname(fd, (struct sockaddr *)at, &len))
		abort();
	return fd;
}

static void test_listeners(void)
{
	struct sockaddr_in at;
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	struct stat st;
	char text[512];
	int fd = bound_socket(&at), used;

	snprintf(text, sizeof text, "127.0.0.1:%u", ntohs(at.sin_port));
	config(text, "");
	start();
	is_int(finish(), 1, "a port in use ends the start-up");
	snprintf(text, sizeof text,
	         "sluice.yaml:4:14: frontends[0].listen[0]: cannot listen on 127.0.0.1:%u: Address already in use",
	         ntohs(at.sin_port));
	ok(strstr(d.log, text), "with one clear line");
	is_int(count(read_log(), "store "), 0, "and no child was started");
	close(fd);

	snprintf(un.sun_path, sizeof un.sun_path, "%.90s/sock", dir);
	used = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	if (bind(used, (struct sockaddr *)&un, sizeof un) || listen(used, 1))
		abort();
	snprintf(text, sizeof text, "\"unix:%s\"", un.sun_path);
	config(text, "");
	start();
	is_int(finish(), 1, "a Unix socket in use ends it as well");
	close(used);
	start();
	ok(wait_for("listen=unix:"), "one that nobody listens on is replaced");
	ok(lstat(un.sun_path, &st) == 0, "it exists");
	is_int(st.st_mode & 07777, 0600, "and is its owner's alone");
	is_int(stop(), 0, "stop");
	ok(lstat(un.sun_path, &st) < 0, "and is removed at the end");
	write_file("sock", "a file");
	start();
	is_int(finish(), 1, "a file is not taken for a socket");
	ok(lstat(un.sun_path, &st) == 0, "and not removed");
	forget("sock");
	config("\"systemd:web\"", "");
	start();
	is_int(finish(), 1, "a socket that systemd did not pass ends it");
	ok(strstr(d.log, "systemd passed no socket of this name"), "with that reason");
}

static int mode_activated(struct supervisor *s)
{
	struct sockaddr_in at;
	char text[32];
	int fd;

	/* As systemd does it: descriptor 3 is taken before the program begins. */
	super_fini(s);
	close(3);
	fd = bound_socket(&at);
	if (fd != 3) {
		dup2(fd, 3);
		close(fd);
	}
	snprintf(text, sizeof text, "%ld", (long)getpid());
	setenv("LISTEN_PID", text, 1);
	setenv("LISTEN_FDS", "1", 1);
	setenv("LISTEN_FDNAMES", "web", 1);
	if (super_init(s, file, dir, false))
		abort();
	return super_run(s);
}

static void test_activation(void)
{
	config("\"systemd:web\"", "");
	start_mode(mode_activated, 0);
	ok(wait_for("sluiced ready") && wait_for("\n") && reachable(port_of()),
	   "a socket of systemd is used by its name");
	is_int(count(read_log(), "ready fds=4 "), 3, "and reaches only those who are told");
	is_int(stop(), 0, "stop");
}

static bool heard(int fd, const char *what)
{
	char text[1024];
	struct pollfd p = {.fd = fd, .events = POLLIN};

	while (poll(&p, 1, PATIENCE_MS) > 0) {
		ssize_t n = recv(fd, text, sizeof text - 1, 0);

		text[n < 0 ? 0 : n] = '\0';
		if (strstr(text, what))
			return true;
	}
	return false;
}

static void test_notify(const char *path)
{
	struct sockaddr_un un = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	memcpy(un.sun_path, path, strlen(path));
	if (*path == '@')
		un.sun_path[0] = '\0';
	if (bind(fd, (struct sockaddr *)&un, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path))))
		abort();
	setenv("NOTIFY_SOCKET", path, 1);
	setenv("WATCHDOG_USEC", "40000", 1);
	config("127.0.0.1:0", "");
	start();
	ok(heard(fd, "READY=1"), "systemd hears when it is ready");
	ok(heard(fd, "WATCHDOG=1"), "and that it lives");
	signal_one(d.pid, SIGHUP);
	ok(heard(fd, "RELOADING=1\nMONOTONIC_USEC="), "that it reloads");
	ok(heard(fd, "READY=1"), "that it is ready again");
	signal_one(d.pid, SIGTERM);
	ok(heard(fd, "STOPPING=1"), "and that it stops");
	is_int(finish(), 0, "stop");
	unsetenv("NOTIFY_SOCKET");
	unsetenv("WATCHDOG_USEC");
	close(fd);
}

static void test_check(void)
{
	config("127.0.0.1:0", "");
	start_mode(mode_check, 0);
	is_int(finish(), 0, "a good file passes the test");
	ok(strstr(d.log, "sluice.yaml: ok\n"), "and is said to");
	start_mode(mode_print, 0);
	is_int(finish(), 0, "the effective configuration is printed");
	ok(strstr(d.log, "  synchronous: full\n"), "with defaults");
	ok(strstr(d.log,
	          "  - name: web\n    listen:\n      - 127.0.0.1:0\n    workers: 2\n    plugins:\n      - plugin: fake\n        speed: 3\n"),
	   "with the plugins' part");
	write_file("check:web", "warn");
	chmod(file, 0644);
	start_mode(mode_check, 0);
	is_int(finish(), 0, "a warning fails nothing");
	ok(count(d.log, "fake_warning file=/x") == 1, "and is said once");
	ok(strstr(d.log, "config_readable file=") && strstr(d.log, "sluice.yaml mode=0644 action="), "secrets that everybody can read are warned of");
	chmod(file, 0642);
	start_mode(mode_check, 0);
	is_int(finish(), 0, "as does a file that everybody may write");
	ok(strstr(d.log, "config_writable file=") && !strstr(d.log, "config_readable"), "which is warned of");
	chmod(file, 0600);
	start_mode(mode_check, 0);
	is_int(finish(), 0, "of a private one");
	ok(!strstr(d.log, "config_"), "nothing is said");
	write_file("check:web", "bad");
	config("127.0.0.1:0", "store: {max_payload: lots}\n");
	start_mode(mode_check, 0);
	is_int(finish(), 1, "a bad one does not");
	ok(wait_for("") && strstr(d.log, "sluice.yaml:2:5: fake: expected better\n") &&
	           strstr(d.log, "sluice.yaml:2:22: store.max_payload: expected size such as \"64M\", got \"lots\"\n"),
	   "findings of core and plugins come together");
	ok(strstr(d.log, ":2:5:") < strstr(d.log, ":2:22:"), "in the order of the file");
	write_file("check:web", "crash");
	config("127.0.0.1:0", "");
	start_mode(mode_check, 0);
	is_int(finish(), 1, "a plugin that brings the check down fails it");
	ok(strstr(d.log, "frontends[0].plugins: a plugin brought its check down: signal 9"), "and is blamed");
	forget("check:web");
	snprintf(file + strlen(file), 4, "x");
	start_mode(mode_check, 0);
	is_int(finish(), 1, "a missing file");
	ok(strstr(d.log, "sluice.yamlx: No such file or directory"), "is named");
	file[strlen(file) - 1] = '\0';
}

static void setup(void)
{
	static const char *const names[] = {"sluice-store", "sluice-frontend"};
	const char *build = getenv("top_builddir");
	char path[256], fake[512];

	snprintf(dir, sizeof dir, "/tmp/sl-sup-XXXXXX");
	if (!mkdtemp(dir))
		abort();
	snprintf(file, sizeof file, "%s/sluice.yaml", dir);
	snprintf(fake, sizeof fake, "%s/tests/unit/supervisor/fake_child", build ? build : ".");
	for (size_t i = 0; i < 2; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, names[i]);
		if (symlink(fake, path))
			abort();
	}
	setenv("FAKE_DIR", dir, 1);
	setenv("TMPDIR", dir, 1);
}

int main(void)
{
	char path[256];
	struct datadir left = {.path = dir, .temporary = true};

	alarm(10 * PATIENCE_MS / 1000); /* a wait that news of other things keep alive must end too */
	setup();
	test_start_stop();
	test_deaths();
	test_final();
	test_final_while_running();
	test_roster();
	test_lost();
	test_hang();
	test_reload();
	test_orphans();
	test_listeners();
	test_activation();
	snprintf(path, sizeof path, "%s/notify", dir);
	test_notify(path);
	snprintf(path, sizeof path, "@%s/notify", dir);
	test_notify(path);
	test_check();
	left.path = strdup(dir);
	datadir_close(&left);
	return tap_done();
}
