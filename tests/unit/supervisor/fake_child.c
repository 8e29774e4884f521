/*
 * fake_child.c - a child of sluiced that does nothing but speak control.def. Stands in for sluice-store and sluice-frontend in
 * test_supervisor.c.
 *
 * FAKE_DIR/NAME holds one word that says how the child NAME behaves ("ready" when there is no such file); FAKE_DIR/log gets a line
 * per thing that happened to any child.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/msg.h"

static struct {
	struct sl_ipc ipc;
	char name[64], mode[32];
	bool check, over;
	int fds, listeners, links, presence_links;
} fake;

static __attribute__((format(printf, 1, 2))) void fake_log(const char *fmt, ...)
{
	char path[512], line[512];
	va_list ap;
	int fd, n;

	snprintf(path, sizeof path, "%s/log", getenv("FAKE_DIR"));
	n = snprintf(line, sizeof line, "%s %ld ", fake.name, (long)getpid());
	va_start(ap, fmt);
	n += vsnprintf(line + n, sizeof line - (size_t)n, fmt, ap);
	va_end(ap);
	line[n++] = '\n';
	fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0 || write(fd, line, (size_t)n) != n)
		abort();
	close(fd);
}

static bool mode_is(const char *word)
{
	return strcmp(fake.mode, word) == 0;
}

static void fake_mode(void)
{
	char path[512];
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", getenv("FAKE_DIR"), fake.name);
	f = fopen(path, "re");
	if (!f || fscanf(f, "%31s", fake.mode) != 1)
		snprintf(fake.mode, sizeof fake.mode, "ready");
	if (f)
		fclose(f);
}

/* Descriptors this process was born with, apart from the one that is looking. */
static int count_fds(void)
{
	int n = 0;

	for (int fd = 0; fd < 1024; fd++)
		n += fcntl(fd, F_GETFD) >= 0;
	return n;
}

static int on_hello(void *arg, const struct sl_control_hello *m)
{
	struct sl_control_hello_back back = {.protocol = m->protocol, .build = m->build};

	(void)arg;
	if (mode_is("other-build"))
		back.build = SL_STR("another");
	return sl_put_control_hello_back(&fake.ipc, &back);
}

static int on_setup(void *arg, const struct sl_control_setup *m)
{
	(void)arg;
	fake.check = m->check;
	fake_log("setup generation=%u section=%.*s", m->generation, (int)m->section.len, (const char *)m->section.data);
	return 0;
}

static int on_listener(void *arg, const struct sl_control_listener *m)
{
	(void)arg;
	fake.listeners++;
	fake_log("listener %.*s", (int)m->address.len, (const char *)m->address.data);
	return 0; /* stays open: whoever connects gets into the queue */
}

static int on_store_link(void *arg, const struct sl_control_store_link *m)
{
	(void)arg;
	close(m->socket);
	fake_log("store_link %d", ++fake.links);
	return 0;
}

static int on_presence_link(void *arg, const struct sl_control_presence_link *m)
{
	(void)arg;
	close(m->socket);
	fake_log("presence_link %d", ++fake.presence_links);
	return 0;
}

static int on_presence_peer(void *arg, const struct sl_control_presence_peer *m)
{
	(void)arg;
	close(m->socket);
	fake_log("presence_peer %.*s", (int)m->name.len, (const char *)m->name.data);
	return 0;
}

static int on_peer(void *arg, const struct sl_control_peer *m)
{
	(void)arg;
	close(m->socket);
	fake_log("peer %.*s", (int)m->name.len, (const char *)m->name.data);
	return 0;
}

static int on_metrics(void *arg, const struct sl_control_metrics *m)
{
	(void)arg;
	close(m->memory);
	return 0;
}

static int on_board(void *arg, const struct sl_control_board *m)
{
	(void)arg;
	close(m->memory);
	return 0;
}

static int on_roster_memory(void *arg, const struct sl_control_roster_memory *m)
{
	void *map = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, m->memory, 0);

	(void)arg;
	close(m->memory);
	fake_log("memory writable=%d", map != MAP_FAILED);
	return 0;
}

static int on_roster(void *arg, const struct sl_control_roster *m)
{
	struct sl_cur c = m->processes.cur;
	char text[512] = "";

	(void)arg;
	for (uint32_t i = 0; i < m->processes.n; i++) {
		struct sl_control_process p;
		size_t at = strlen(text);

		sl_next_control_process(&c, &p);
		snprintf(text + at, sizeof text - at, " %.*s=%.*s/%u%s", (int)p.name.len, (const char *)p.name.data, (int)p.state.len,
		         (const char *)p.state.data, p.restarts, p.memory ? "+" : "");
	}
	fake_log("roster generation=%u addresses=%u%s", m->generation, m->addresses.n, text);
	return 0;
}

static int say_failed(const char *why, uint8_t final)
{
	struct sl_control_failed m = {.why = sl_slice_str(why), .final = final};

	fake.over = true;
	return sl_put_control_failed(&fake.ipc, &m);
}

static int say_checked(void)
{
	struct sl_control_check_error e = {.line = 2, .column = 5, .text = SL_STR("fake: expected better")};
	struct sl_control_checked m = {.effective = SL_STR("- plugin: fake\n  speed: 3\n")};

	fake.over = true;
	if (mode_is("warn")) {
		struct sl_control_check_warning w = {.text = SL_STR("fake_warning file=/x")};

		m.secrets = 1;
		sl_put_control_check_warning(&fake.ipc, &w);
		sl_put_control_check_warning(&fake.ipc, &w);
	}
	if (mode_is("bad")) {
		m.errors = 1;
		sl_put_control_check_error(&fake.ipc, &e);
	}
	return sl_put_control_checked(&fake.ipc, &m);
}

static int on_setup_done(void *arg, const struct sl_control_setup_done *m)
{
	struct sl_control_ready ready;

	(void)arg;
	(void)m;
	if (mode_is("crash"))
		raise(SIGKILL);
	if (mode_is("nonsense"))
		return write(3, "\xff\xff\xff\xff\xff\xff", 6) == 6 ? 0 : SLUICE_EINVAL;
	if (mode_is("final"))
		return say_failed("the data is unreadable", 1);
	if (mode_is("fail"))
		return say_failed("not today", 0);
	if (mode_is("exit78"))
		_exit(78);
	if (fake.check)
		return say_checked();
	if (mode_is("roster"))
		sl_put_control_roster_wanted(&fake.ipc, &(struct sl_control_roster_wanted){});
	fake_log("ready fds=%d listeners=%d", fake.fds, fake.listeners);
	printf("a line on stdout\n");
	fflush(stdout);
	return sl_put_control_ready(&fake.ipc, &ready);
}

/* off: how far it is wrong about how many connections it was given. */
static void say_lost(int off)
{
	if (fake.links < 3)
		sl_put_control_store_lost(&fake.ipc, &(struct sl_control_store_lost){.links = (uint32_t)(fake.links + off)});
	if (fake.presence_links < 3)
		sl_put_control_presence_lost(&fake.ipc, &(struct sl_control_presence_lost){.links = (uint32_t)(fake.presence_links + off)});
}

static int on_ping(void *arg, const struct sl_control_ping *m)
{
	struct sl_control_pong pong = {.n = m->n};

	(void)arg;
	if (mode_is("hang"))
		return 0;
	if (mode_is("lossy"))
		say_lost(0);
	if (mode_is("late") && m->n == 2)
		say_lost(-1);
	if (mode_is("late") && m->n == 4)
		fake_log("late over");
	if (mode_is("liar") && m->n == 2)
		say_lost(1);
	return sl_put_control_pong(&fake.ipc, &pong);
}

static int on_drain(void *arg, const struct sl_control_drain *m)
{
	(void)arg;
	(void)m;
	fake_log("drain");
	fake.over = !mode_is("stubborn");
	return 0;
}

static int on_log_level(void *arg, const struct sl_control_log_level *m)
{
	(void)arg;
	fake_log("log_level %u", m->level);
	return 0;
}

static int on_settings(void *arg, const struct sl_control_settings *m)
{
	(void)arg;
	(void)m;
	fake_log("settings");
	return 0;
}

static const struct sl_control_handlers handlers = {
        .hello = on_hello, .setup = on_setup, .listener = on_listener, .store_link = on_store_link, .peer = on_peer,
        .metrics = on_metrics, .board = on_board, .setup_done = on_setup_done, .ping = on_ping, .drain = on_drain, .log_level = on_log_level,
        .presence_link = on_presence_link, .presence_peer = on_presence_peer, .settings = on_settings, .roster = on_roster, .roster_memory = on_roster_memory,
};

int main(int argc, char **argv)
{
	uint16_t id;
	sl_slice body;

	snprintf(fake.name, sizeof fake.name, "%s", argc > 1 ? argv[1] : "?");
	fake.fds = count_fds();
	fake_mode();
	fake_log("start");
	sl_ipc_init(&fake.ipc, 3);
	while (!fake.over) {
		struct pollfd p = {.fd = 3, .events = POLLIN};
		int rc;

		poll(&p, 1, -1);
		rc = sl_ipc_fill(&fake.ipc);
		while (sl_ipc_next(&fake.ipc, &id, &body) > 0) {
			if (sl_control_dispatch(&handlers, SL_TO_CHILD, NULL, &fake.ipc, id, body))
				abort();
		}
		if (rc) {
			fake_log("orphan");
			break;
		}
		sl_ipc_flush(&fake.ipc);
	}
	fake_log("end");
	sl_ipc_fini(&fake.ipc);
	return 0;
}
