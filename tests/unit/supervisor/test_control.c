/* The control socket: whoever sends nonsense, too much or nothing loses only his own connection. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "lib/unix.h"
#include "supervisor/supervisor.h"
#include "tests/unit/tap.h"

enum { CLIENTS = 32, TURNS = 2000 };

static char dir[128], file[192], path[192];

/* control: "" for the default, below the data directory. */
static void write_config(const char *control)
{
	FILE *f = fopen(file, "we");

	if (!f || fprintf(f, "data_dir: %s\n", dir) < 0 ||
	    (*control && fprintf(f, "control_socket: %s\n", control) < 0) ||
	    fputs("frontends: [{name: web, listen: [127.0.0.1:0], plugins: [{plugin: fake}]}]\n", f) < 0 || fclose(f))
		abort();
}

static void start(struct supervisor *s)
{
	struct sl_conf_errors errors = {0};

	sl_log_init("test", SLUICE_LOG_ERR);
	if (super_init(s, file, dir, false))
		abort();
	s->config = config_load(file, &errors);
	if (!s->config || errors.n)
		abort();
	s->data.path = strdup(dir);
	s->phase = SUPER_RUNNING;
}

static int open_at(struct supervisor *s, bool replace)
{
	char why[512];

	return control_open(s, replace, why, sizeof why);
}

/* ---- a client ---- */

struct peer {
	struct sl_ipc ipc;
	unsigned done, servers, welcomes, notes;
	int status;
	char text[128];
};

static int peer_on_welcome(void *arg, const struct sl_admin_welcome *m)
{
	(void)m;
	((struct peer *)arg)->welcomes++;
	return 0;
}

static int peer_on_server(void *arg, const struct sl_admin_server *m)
{
	(void)m;
	((struct peer *)arg)->servers++;
	return 0;
}

static int peer_on_note(void *arg, const struct sl_admin_note *m)
{
	(void)m;
	((struct peer *)arg)->notes++;
	return 0;
}

static int peer_on_done(void *arg, const struct sl_admin_done *m)
{
	struct peer *p = arg;

	p->done++;
	p->status = m->status;
	snprintf(p->text, sizeof p->text, "%.*s", (int)m->text.len, m->text.len ? (const char *)m->text.data : "");
	return 0;
}

static const struct sl_admin_handlers peer_handlers = {
	.welcome = peer_on_welcome, .server = peer_on_server, .note = peer_on_note, .done = peer_on_done};

static struct peer peer_new(bool hello)
{
	struct peer p = {0};
	int fd = sl_unix_connect(path);

	sl_ipc_init(&p.ipc, fd);
	if (fd < 0)
		return p;
	fcntl(fd, F_SETFL, O_NONBLOCK);
	if (hello && sl_put_admin_hello(&p.ipc, &(struct sl_admin_hello){.protocol = SL_ADMIN_PROTOCOL,
	                                                                 .build = SL_STR(SL_BUILD)}))
		abort();
	return p;
}

/* Both sides turn until the client is answered (1), its connection has ended (0), or nothing happens any more (-1). */
static int run(struct supervisor *s, struct peer *p)
{
	unsigned before = p->done;
	int quiet = 0;

	for (int i = 0; i < TURNS && quiet < 20; i++) {
		struct pollfd wait = {.fd = p->ipc.fd, .events = POLLIN};
		uint16_t id;
		sl_slice body;
		int rc;

		if (sl_ipc_flush(&p->ipc) && sl_ipc_queued(&p->ipc) == 0)
			return 0;
		event_base_loop(s->base, EVLOOP_NONBLOCK);
		quiet = poll(&wait, 1, 1) > 0 ? 0 : quiet + 1;
		rc = quiet ? 0 : sl_ipc_fill(&p->ipc);
		while (sl_ipc_next(&p->ipc, &id, &body) > 0)
			if (sl_admin_dispatch(&peer_handlers, SL_TO_CTL, p, &p->ipc, id, body))
				abort();
		if (p->done > before)
			return 1;
		if (rc)
			return 0;
	}
	return -1;
}

static int ask_status(struct supervisor *s, struct peer *p)
{
	if (sl_put_admin_status(&p->ipc, &(struct sl_admin_status){}))
		abort();
	return run(s, p);
}

/* Whoever comes next is served. */
static void check_alive(struct supervisor *s, const char *after)
{
	struct peer p = peer_new(true);

	ok(ask_status(s, &p) == 1 && p.status == SLUICE_OK && p.servers == 1, "others are served");
	printf("#   after %s\n", after);
	sl_ipc_fini(&p.ipc);
}

/* ---- tests ---- */

static void test_answers(struct supervisor *s)
{
	struct peer p = peer_new(true);
	struct stat st;

	ok(stat(path, &st) == 0 && S_ISSOCK(st.st_mode) && (st.st_mode & 0777) == 0600, "the socket is private");
	is_int(ask_status(s, &p), 1, "a question is answered");
	is_int(p.welcomes, 1, "after a welcome");
	is_int(ask_status(s, &p), 1, "another one on the same connection, too");
	if (sl_put_admin_store(&p.ipc, &(struct sl_admin_store){}))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_EAGAIN, "without a writer there is no connection to it");
	if (sl_put_admin_backup(&p.ipc, &(struct sl_admin_backup){.directory = p.ipc.fd}))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_EAGAIN, "nor a backup");
	if (sl_put_admin_cancel(&p.ipc, &(struct sl_admin_cancel){}))
		abort();
	is_int(run(s, &p), -1, "giving up what was not begun has no answer");
	if (sl_put_admin_log_level(&p.ipc, &(struct sl_admin_log_level){.level = SLUICE_LOG_WARN}))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_OK && sl_log_level_get() == SLUICE_LOG_WARN, "a level");
	if (sl_put_admin_upgrade(&p.ipc, &(struct sl_admin_upgrade){}))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_EBUSY && *p.text,
	   "an upgrade that cannot be is refused with a reason");
	if (!sl_ipc_begin(&p.ipc, 0x3ff) || sl_ipc_end(&p.ipc, 0))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_ENOTSUP,
	   "a request of a later version is refused and the connection stays");
	is_int(ask_status(s, &p), 1, "it does");
	sl_ipc_fini(&p.ipc);
}

static void test_reload(struct supervisor *s)
{
	struct peer p = peer_new(true);
	char aside[256];

	snprintf(aside, sizeof aside, "%s.aside", file);
	is_int(rename(file, aside), 0, "no configuration");
	if (sl_put_admin_reload(&p.ipc, &(struct sl_admin_reload){}))
		abort();
	ok(run(s, &p) == 1 && p.status == SLUICE_EINVAL && p.notes == 1,
	   "a reload that fails says why, then that it failed");
	is_int(rename(aside, file), 0, "it is back");
	s->reload_again = true;
	s->reloading = true; /* another one runs: ours comes after it */
	if (sl_put_admin_reload(&p.ipc, &(struct sl_admin_reload){}))
		abort();
	is_int(run(s, &p), -1, "an outcome is waited for");
	control_reloaded(s, true);
	is_int(run(s, &p), -1, "the end of the one before is not it");
	control_stopping(s);
	ok(run(s, &p) == 1 && p.status == SLUICE_ECANCELED, "whoever waits hears of the end");
	s->reload_again = s->reloading = false;
	sl_ipc_fini(&p.ipc);
}

static void send_bytes(struct peer *p, const void *bytes, size_t n)
{
	if (send(p->ipc.fd, bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
		abort();
}

static void test_hostile(struct supervisor *s)
{
	static const struct {
		const char *what, *bytes;
		size_t n;
		bool hello;
	} cases[] = {
		{"a question without a hello", "\x02\0\0\0\x10\0", 6, false},
		{"a text", "GET / HTTP/1.1\r\n\r\n", 18, false},
		{"a frame of four gigabytes", "\xff\xff\xff\xff\x10\0", 6, true},
		{"a frame without room for an id", "\x01\0\0\0\x10\0", 6, true},
		{"a byte too many", "\x03\0\0\0\x10\0\0", 7, true},
		{"a backup without a directory", "\x02\0\0\0\x17\0", 6, true},
		{"a level that is none", "\x03\0\0\0\x13\0\x09", 7, true},
		{"an answer instead of a question", "\x0a\0\0\0\x4f\0\0\0\0\0\0\0\0\0", 14, true},
		{"a second hello", "\x0b\0\0\0\x01\0\x01\0\0\0\x01\0\0\0x", 15, true},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct peer p = peer_new(cases[i].hello);

		if (cases[i].hello)
			ok(ask_status(s, &p) == 1, "served so far");
		send_bytes(&p, cases[i].bytes, cases[i].n);
		is_int(run(s, &p), 0, "ends the connection");
		sl_ipc_fini(&p.ipc);
		check_alive(s, cases[i].what);
	}
}

static void test_protocol(struct supervisor *s)
{
	struct peer p = peer_new(false);

	if (sl_put_admin_hello(&p.ipc,
	                       &(struct sl_admin_hello){.protocol = SL_ADMIN_PROTOCOL + 1, .build = SL_STR("later")}))
		abort();
	is_int(run(s, &p), -1, "another protocol is not hung up on");
	is_int(p.welcomes, 1, "it is told ours");
	is_int(ask_status(s, &p), 0, "and nothing else");
	sl_ipc_fini(&p.ipc);
}

static void test_half(struct supervisor *s)
{
	struct peer p = peer_new(true);

	is_int(ask_status(s, &p), 1, "served");
	send_bytes(&p, "\x02\0\0", 3);
	is_int(run(s, &p), -1, "half a frame is waited for");
	check_alive(s, "half a frame");
	send_bytes(&p, "\0\x10\0", 3);
	is_int(run(s, &p), 1, "and answered when it is whole");
	sl_ipc_fini(&p.ipc);
}

static void test_many(struct supervisor *s)
{
	struct peer many[CLIENTS], more;

	for (int i = 0; i < CLIENTS; i++) {
		many[i] = peer_new(true);
		if (ask_status(s, &many[i]) != 1)
			abort();
	}
	more = peer_new(true);
	ok(run(s, &more) == 1 && more.status == SLUICE_EBUSY && more.welcomes == 0, "one too many is told so");
	is_int(run(s, &more), 0, "and let go");
	sl_ipc_fini(&more.ipc);
	is_int(ask_status(s, &many[0]), 1, "those who are there are served");
	for (int i = 0; i < CLIENTS; i++)
		sl_ipc_fini(&many[i].ipc);
	for (int i = 0; i < 20; i++)
		event_base_loop(s->base, EVLOOP_NONBLOCK);
	check_alive(s, "the crowd");
}

/* In a process of its own: what it was told. */
static int as_nobody(void)
{
	struct peer p;
	struct pollfd wait;
	uint16_t id;
	sl_slice body;

	if (setgid(65534) || setuid(65534))
		return 10;
	p = peer_new(true);
	if (p.ipc.fd < 0)
		return errno == EACCES ? 1 : 11;
	wait = (struct pollfd){.fd = p.ipc.fd, .events = POLLIN};
	(void)sl_ipc_flush(&p.ipc);
	while (poll(&wait, 1, 30000) > 0) {
		int rc = sl_ipc_fill(&p.ipc);

		while (sl_ipc_next(&p.ipc, &id, &body) > 0)
			if (sl_admin_dispatch(&peer_handlers, SL_TO_CTL, &p, &p.ipc, id, body))
				return 12;
		if (p.done)
			return p.status == SLUICE_EBUSY && strstr(p.text, "root") && !p.welcomes ? 2 : 13;
		if (rc)
			return 14;
	}
	return 15;
}

/* By a pipe and not by its exit status, which the supervisor may collect as that of any child. */
static int nobody_sees(struct supervisor *s)
{
	uint8_t seen = 0;
	int ends[2];
	pid_t pid;

	fflush(NULL);
	if (pipe(ends) || (pid = fork()) < 0)
		abort();
	if (pid == 0) {
		seen = (uint8_t)as_nobody();
		_exit(write(ends[1], &seen, 1) != 1);
	}
	close(ends[1]);
	for (struct pollfd told = {.fd = ends[0], .events = POLLIN}; poll(&told, 1, 2) <= 0;)
		event_base_loop(s->base, EVLOOP_NONBLOCK);
	if (read(ends[0], &seen, 1) != 1)
		seen = 99;
	close(ends[0]);
	waitpid(pid, NULL, 0);
	return seen;
}

static void test_users(struct supervisor *s)
{
	ok(control_may(0) && control_may(geteuid()) && !control_may(geteuid() + 1), "root and our own user may");
	if (geteuid() != 0) {
		printf("# not root: no other user to try with\n");
		return;
	}
	chmod(dir, 0711);
	is_int(nobody_sees(s), 1, "another user does not get through the mode");
	chmod(path, 0666);
	is_int(nobody_sees(s), 2, "nor past the credentials when the mode was changed");
	check_alive(s, "another user");
}

static void test_places(void)
{
	struct supervisor a, b, c;
	struct stat st;

	write_config(path);
	start(&a);
	start(&b);
	write_config("");
	start(&c);
	is_int(open_at(&a, false), 0, "opened");
	sl_log_level(SLUICE_LOG_ERR);
	ok(open_at(&b, false) != 0 && !b.control, "not where another one answers");
	check_alive(&a, "another one");
	is_int(open_at(&b, true), 0, "unless it takes over");
	check_alive(&b, "taking over");
	control_close(&a);
	ok(stat(path, &st) == 0, "the one before leaves the successor's file alone");
	check_alive(&b, "the end of the one before");
	is_int(open_at(&c, false), 0, "below the data directory, whose lock is ours, others are on their way out");
	check_alive(&c, "their way out");
	control_close(&b);
	control_close(&c);
	ok(stat(path, &st) != 0, "the last one removes it");
	is_int(mkdir(path, 0700), 0, "something else there");
	ok(open_at(&a, false) != 0, "is not touched");
	ok(open_at(&c, false) != 0, "by nobody");
	is_int(rmdir(path), 0, "it is still there");
	super_fini(&a);
	super_fini(&b);
	super_fini(&c);
}

/* A socket file whose process was killed; and a path that no address has room for. */
static void test_paths(void)
{
	const char *why;
	char deep[512];
	int fd = sl_unix_listen(path, 0600, 1, false, &why), again, client;

	ok(fd >= 0, "a socket");
	close(fd);
	again = sl_unix_listen(path, 0600, 1, false, &why);
	ok(again >= 0, "what a dead process left is replaced");
	close(again);
	unlink(path);
	snprintf(deep, sizeof deep, "%s/%0150d", dir, 0);
	is_int(mkdir(deep, 0700), 0, "a deep directory");
	strcat(deep, "/s");
	fd = sl_unix_listen(deep, 0600, 1, false, &why);
	ok(fd >= 0, "a long path");
	client = sl_unix_connect(deep);
	ok(client >= 0, "is connected to");
	close(client);
	close(fd);
	unlink(deep);
	*strrchr(deep, '/') = '\0';
	rmdir(deep);
}

/* Nothing sets the mode later: there is no moment in which the file has another one. */
static void test_bind_mode(void)
{
	static const mode_t masks[] = {0, 0022, 0077, 0777}, modes[] = {0600, 0660, 0666, 0777};

	for (size_t i = 0; i < sizeof masks / sizeof *masks; i++) {
		for (size_t k = 0; k < sizeof modes / sizeof *modes; k++) {
			mode_t before = umask(masks[i]);
			int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
			struct stat st;

			ok(sl_unix_bind(fd, path, modes[k]) == 0 && lstat(path, &st) == 0, "bound");
			is_int(st.st_mode & 07777, modes[k], "with its mode");
			is_int(umask(before), masks[i], "the umask is what it was");
			close(fd);
			unlink(path);
		}
	}
}

int main(void)
{
	struct supervisor s;

	snprintf(dir, sizeof dir, "%s/sluice-control-XXXXXX", getenv("TMPDIR") ? getenv("TMPDIR") : "/tmp");
	if (!mkdtemp(dir))
		abort();
	snprintf(file, sizeof file, "%s/sluice.yaml", dir);
	snprintf(path, sizeof path, "%s/control.sock", dir);
	write_config("");
	start(&s);
	is_int(open_at(&s, false), 0, "opened");
	is_str(control_shown(&s), path, "where it is");
	test_answers(&s);
	test_reload(&s);
	test_hostile(&s);
	test_protocol(&s);
	test_half(&s);
	test_many(&s);
	test_users(&s);
	super_fini(&s);
	test_places();
	test_paths();
	test_bind_mode();
	unlink(file);
	rmdir(dir);
	return tap_done();
}
