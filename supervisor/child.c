/*
 * child.c - the states of a child process and every transition between them. Supervisor.
 *
 * A child object outlives its processes. One timer (`deadline`) serves whatever the state waits for: the handshake, the end of a
 * drain, the death after a signal. Freed by super_progress() only, when DOWN and not wanted.
 */
#include <assert.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "lib/board.h"
#include "lib/build.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { START_WORKER_MS = 60 * 1000, START_STORE_MS = 600 * 1000, DEATH_MS = 5000, DRAIN_GRACE_MS = 1000 };

#define X(id, name) [CHILD_##id] = name,
static const char *const child_names[] = {CHILD_STATES(X)};
#undef X

/* from -> set of allowed next states */
#define TO(id) (1u << CHILD_##id)
static const unsigned child_next[] = {
        [CHILD_DOWN] = TO(STARTING),
        [CHILD_STARTING] = TO(READY) | TO(DRAINING) | TO(KILLED) | TO(DOWN),
        [CHILD_READY] = TO(DRAINING) | TO(KILLED) | TO(DOWN),
        [CHILD_DRAINING] = TO(KILLED) | TO(DOWN),
        [CHILD_KILLED] = TO(DOWN),
};

const char *child_state_name(enum child_state s)
{
	return child_names[s];
}

static void child_move(struct child *c, enum child_state to, const char *why)
{
	/* Checks come and go with every reload: they are worth a line only to whoever looks for trouble. */
	enum sluice_level level = c->kind == CHILD_CHECK ? SLUICE_LOG_DEBUG : SLUICE_LOG_INFO;

	assert(c->magic == CHILD_MAGIC && child_next[c->state] & 1u << to);
	sl_log(level, "child name=%s pid=%ld from=%s to=%s why=\"%s\"", c->name, (long)c->pid, child_names[c->state],
	       child_names[to], why);
	c->state = to;
	super_poke(c->super);
}

static void child_arm(struct child *c, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	if (ms < 0)
		event_del(c->deadline);
	else
		event_add(c->deadline, &tv);
}

/* ---- what a child says ---- */

static struct child *child_of(void *arg)
{
	struct child *c = arg;

	assert(c->magic == CHILD_MAGIC);
	return c;
}

static void child_note(struct child *c, sl_slice why, bool final)
{
	free(c->why);
	c->why = sl_slice_dup(why);
	c->final = c->final || final;
}

static int child_on_hello_back(void *arg, const struct sl_control_hello_back *m)
{
	struct child *c = child_of(arg);

	if (m->protocol != SL_CONTROL_PROTOCOL || !sl_slice_is(m->build, SL_BUILD)) {
		child_note(c, SL_STR("the program is of another build than sluiced"), true);
		return SLUICE_EINVAL;
	}
	c->greeted = true;
	return 0;
}

static int child_on_ready(void *arg, const struct sl_control_ready *m)
{
	struct child *c = child_of(arg);

	(void)m;
	if (!c->greeted || c->kind == CHILD_CHECK)
		return SLUICE_EINVAL;
	if (c->state != CHILD_STARTING)
		return 0; /* told to leave meanwhile */
	c->ready_at = super_now();
	c->missed = 0;
	child_arm(c, -1);
	child_move(c, CHILD_READY, "started");
	if (c->kind == CHILD_STORE) {
		c->super->begun = true;
		setup_peers(c->super);
	}
	if (c == presence_owner(c->super))
		presence_links(c->super);
	return 0;
}

/* Not started again. Whoever waits for it says why: super_fail(), or the reload. While a generation serves, giving up one of its
 * workers would leave clients waiting for ever, and without the writer they can still read: something may get mended, a disk first of all. */
static bool child_gives_up(const struct child *c)
{
	bool serves = c->super->phase == SUPER_RUNNING &&
	              (c->kind == CHILD_STORE || (c->kind == CHILD_WORKER && c->gen == c->super->gen));

	return c->final && !serves;
}

static int child_on_failed(void *arg, const struct sl_control_failed *m)
{
	struct child *c = child_of(arg);

	child_note(c, m->why, m->final);
	sl_log(child_gives_up(c) ? SLUICE_LOG_DEBUG : SLUICE_LOG_ERR, "child_failed name=%s pid=%ld final=%d why=\"%.*s\"", c->name, (long)c->pid, m->final != 0,
	       (int)m->why.len, m->why.data ? (const char *)m->why.data : "");
	return 0;
}

static int child_on_pong(void *arg, const struct sl_control_pong *m)
{
	struct child *c = child_of(arg);

	if (m->n > c->ping)
		return SLUICE_EINVAL;
	c->missed = (unsigned)(c->ping - m->n);
	return 0;
}

/* After the writer's death all workers get another connection, from the next writer. This one lives, and had no room for the old one. */
static int child_on_store_lost(void *arg, const struct sl_control_store_lost *m)
{
	struct child *c = child_of(arg);

	if (c->kind != CHILD_WORKER || m->links > c->links)
		return SLUICE_EINVAL;
	c->unlinked = m->links == c->links && c->peer_fd < 0;
	return 0;
}

/* Likewise: the next owner gives everybody another connection, while this one lives it is given with the next ping. */
static int child_on_presence_lost(void *arg, const struct sl_control_presence_lost *m)
{
	struct child *c = child_of(arg);

	if (c->kind != CHILD_WORKER || m->links > c->presence_links)
		return SLUICE_EINVAL;
	c->presence_unlinked = m->links == c->presence_links;
	return 0;
}

static int child_on_roster_wanted(void *arg, const struct sl_control_roster_wanted *m)
{
	struct child *c = child_of(arg);

	(void)m;
	if (c->kind != CHILD_WORKER)
		return SLUICE_EINVAL;
	roster_wanted(c);
	return 0;
}

static int child_on_check_error(void *arg, const struct sl_control_check_error *m)
{
	check_found(child_of(arg), m);
	return 0;
}

static int child_on_check_warning(void *arg, const struct sl_control_check_warning *m)
{
	check_warned(child_of(arg), m);
	return 0;
}

static int child_on_checked(void *arg, const struct sl_control_checked *m)
{
	check_verdict(child_of(arg), m);
	return 0;
}

static void child_forget_plugins(struct child *c)
{
	for (size_t i = 0; i < c->n_plugins; i++) {
		free(c->plugins[i].name);
		free(c->plugins[i].version);
		free(c->plugins[i].mount);
		free(c->plugins[i].file);
	}
	c->n_plugins = 0;
}

static int child_on_plugin(void *arg, const struct sl_control_plugin *m)
{
	struct child *c = child_of(arg);
	struct child_plugin *p = &c->plugins[c->n_plugins];

	if (!c->greeted || c->n_plugins == CHILD_PLUGINS_MAX)
		return SLUICE_EINVAL;
	*p = (struct child_plugin){.name = sl_slice_dup(m->name), .version = sl_slice_dup(m->version), .mount = sl_slice_dup(m->mount),
	                           .file = sl_slice_dup(m->file), .abi_major = m->abi_major, .abi_minor = m->abi_minor};
	c->n_plugins++;
	return p->name && p->version && p->mount && p->file ? 0 : SLUICE_ENOMEM;
}

static int child_on_backup_progress(void *arg, const struct sl_control_backup_progress *m)
{
	const struct child *c = child_of(arg);

	if (c->kind != CHILD_STORE)
		return SLUICE_EINVAL;
	control_backup_progress(c->super, m);
	return 0;
}

static int child_on_backup_done(void *arg, const struct sl_control_backup_done *m)
{
	const struct child *c = child_of(arg);

	if (c->kind != CHILD_STORE)
		return SLUICE_EINVAL;
	control_backup_done(c->super, m->number, m->status, m->text);
	return 0;
}

static const struct sl_control_handlers child_handlers = {
        .hello_back = child_on_hello_back,
        .ready = child_on_ready,
        .failed = child_on_failed,
        .pong = child_on_pong,
        .store_lost = child_on_store_lost,
        .presence_lost = child_on_presence_lost,
        .roster_wanted = child_on_roster_wanted,
        .check_error = child_on_check_error,
        .check_warning = child_on_check_warning,
        .checked = child_on_checked,
        .plugin = child_on_plugin,
        .backup_progress = child_on_backup_progress,
        .backup_done = child_on_backup_done,
};

static int child_receive(void *arg, struct sl_ipc *ipc, uint16_t id, sl_slice body)
{
	return sl_control_dispatch(&child_handlers, SL_TO_SUPERVISOR, arg, ipc, id, body);
}

/* Normal when the process ends; it has a moment to do so. */
static void child_on_lost(void *arg, const char *why)
{
	struct child *c = child_of(arg);

	sl_log(SLUICE_LOG_DEBUG, "child_channel name=%s pid=%ld why=\"%s\"", c->name, (long)c->pid, why);
	c->lost = why;
	if (c->state != CHILD_KILLED)
		child_arm(c, DEATH_MS);
}

/* ---- life ---- */

static void child_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct child *c = child_of(arg);

	(void)fd;
	(void)what;
	if (c->state == CHILD_STARTING && c->channel.open)
		child_kill(c, SIGABRT, "it did not get ready in time");
	else
		child_kill(c, SIGKILL, c->state == CHILD_DRAINING ? "it did not finish in time" : "it did not end");
}

static void child_on_restart(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	child_start(child_of(arg));
}

struct child *child_new(struct supervisor *s, enum child_kind kind, const char *name, const char *section)
{
	struct child *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	*c = (struct child){.magic = CHILD_MAGIC, .kind = kind, .super = s, .section = section, .pid = -1, .ready_at = -1,
	                    .peer_fd = -1, .board_fd = -1, .metrics_fd = -1};
	c->out.fd = c->err.fd = c->channel.ipc.fd = -1;
	c->channel.receive = child_receive;
	c->channel.lost = child_on_lost;
	sl_link_init(&c->link);
	c->name = strdup(name);
	c->restart = evtimer_new(s->base, child_on_restart, c);
	c->deadline = evtimer_new(s->base, child_on_deadline, c);
	if (!c->name || !c->restart || !c->deadline) {
		child_free(c);
		return NULL;
	}
	sl_link_add(&s->children, &c->link);
	return c;
}

void child_free(struct child *c)
{
	if (!c)
		return;
	assert(c->magic == CHILD_MAGIC && c->state == CHILD_DOWN);
	c->magic = 0;
	sl_link_del(&c->link);
	if (c->restart)
		event_free(c->restart);
	if (c->deadline)
		event_free(c->deadline);
	if (c->peer_fd >= 0)
		close(c->peer_fd);
	if (c->board_fd >= 0)
		close(c->board_fd);
	if (c->metrics_fd >= 0)
		close(c->metrics_fd);
	sl_metrics_unmap(c->metrics);
	child_forget_plugins(c);
	free(c->why);
	free(c->name);
	free(c);
}

/* The others must not leave connections to a worker that is gone. */
static void child_leaves_board(const struct child *c)
{
	struct sl_board *board = c->board_fd >= 0 ? sl_board_map(c->board_fd) : NULL;

	if (board)
		sl_board_leave(board, c->slot);
	sl_board_unmap(board);
}

/* A process that is gone, or could not be made: when is the next one due? */
static void child_died(struct child *c, bool expected)
{
	int64_t lived = c->ready_at < 0 ? -1 : super_now() - c->ready_at;
	struct timeval tv = {0};
	uint32_t wait;

	c->ready_at = -1;
	child_leaves_board(c);
	if (!c->wanted)
		return;
	if (!expected)
		c->deaths++;
	if (child_gives_up(c)) {
		c->wanted = false;
		sl_log(SLUICE_LOG_DEBUG, "child_given_up name=%s why=\"%s\"", c->name, c->why ? c->why : "a restart would not help");
		return;
	}
	wait = expected ? 0 : backoff_next(&c->backoff, lived);
	if (c->final && c->kind == CHILD_WORKER)
		wait = BACKOFF_MAX;
	tv.tv_sec = wait / 1000;
	tv.tv_usec = (suseconds_t)(wait % 1000) * 1000;
	if (wait)
		sl_log(SLUICE_LOG_WARN, "child_throttled name=%s restart_in_ms=%u", c->name, wait);
	event_add(c->restart, &tv);
}

void child_start(struct child *c)
{
	event_del(c->restart);
	c->wanted = c->kind != CHILD_CHECK;
	c->final = c->greeted = c->replaced = false;
	c->missed = 0;
	c->ping = 0;
	c->links = 0;
	c->unlinked = false;
	c->presence_links = 0;
	c->presence_unlinked = false;
	c->roster = false;
	c->memory_told = 0;
	c->ready_at = -1;
	child_forget_plugins(c);
	free(c->why);
	c->why = NULL;
	c->lost = NULL;
	if (spawn_process(c)) {
		sl_log_errno(SLUICE_LOG_ERR, "child_spawn name=%s", c->name);
		super_poke(c->super);
		if (c->kind == CHILD_CHECK)
			check_gone(c, -1);
		else
			child_died(c, false);
		return;
	}
	child_move(c, CHILD_STARTING, c->deaths ? "restart" : "start");
	child_arm(c, c->kind == CHILD_STORE ? START_STORE_MS : START_WORKER_MS);
	if (setup_send(c)) {
		free(c->why);
		c->why = strdup("no memory for its setup"); /* or its end would look like its own doing */
		child_kill(c, SIGKILL, "no memory for its setup");
		return;
	}
	channel_flush(&c->channel);
}

static void child_drain(struct child *c, uint32_t deadline_ms, const char *why)
{
	struct sl_control_drain m = {.deadline_ms = deadline_ms, .idle_ms = c->gen ? c->gen->idle_ms : 0};

	child_move(c, CHILD_DRAINING, why);
	if (c->channel.open)
		(void)sl_put_control_drain(&c->channel.ipc, &m); /* without memory the deadline does it */
	channel_flush(&c->channel);
	child_arm(c, (int64_t)deadline_ms + DRAIN_GRACE_MS);
}

void child_stop(struct child *c, uint32_t deadline_ms, const char *why)
{
	c->wanted = false;
	c->replaced = false;
	event_del(c->restart);
	super_poke(c->super);
	if (c->state == CHILD_READY || (c->state == CHILD_STARTING && c->kind == CHILD_STORE))
		child_drain(c, deadline_ms, why);
	else if (c->state == CHILD_STARTING)
		child_kill(c, SIGKILL, why); /* it has no connections yet */
	else if (c->state == CHILD_DRAINING)
		child_arm(c, (int64_t)deadline_ms + DRAIN_GRACE_MS);
}

void child_replace(struct child *c, uint32_t deadline_ms, const char *why)
{
	if (c->state != CHILD_READY)
		return; /* the next one starts with the new settings anyway */
	child_drain(c, deadline_ms, why);
	c->replaced = true;
}

void child_kill(struct child *c, int signal, const char *why)
{
	if (c->pid <= 0)
		return;
	if (c->state != CHILD_KILLED)
		child_move(c, CHILD_KILLED, why);
	if (kill(c->pid, signal))
		sl_log_errno(SLUICE_LOG_ERR, "child_kill name=%s pid=%ld", c->name, (long)c->pid);
	child_arm(c, DEATH_MS);
}

/* What an operator wants to know of a death that nobody asked for. */
static const char *child_effect(const struct child *c, bool orderly)
{
	if (orderly || !c->wanted || c->ready_at < 0)
		return "";
	return c->kind == CHILD_STORE ? " effect=\"writes wait for the next one, reads go on\""
	                              : " effect=\"its clients have lost their connections\"";
}

static void child_obituary(const struct child *c, int status)
{
	bool orderly = WIFEXITED(status) && (WEXITSTATUS(status) == 0 || c->kind == CHILD_CHECK);
	enum sluice_level level = orderly ? SLUICE_LOG_INFO : c->state == CHILD_KILLED ? SLUICE_LOG_WARN : SLUICE_LOG_ERR;

	if (c->kind == CHILD_CHECK && orderly)
		level = SLUICE_LOG_DEBUG;
	if (WIFSIGNALED(status))
		sl_log(level, "child_exit name=%s pid=%ld signal=%d signal_name=\"%s\" core=%s%s", c->name, (long)c->pid,
		       WTERMSIG(status), strsignal(WTERMSIG(status)), WCOREDUMP(status) ? "yes" : "no", child_effect(c, orderly));
	else
		sl_log(level, "child_exit name=%s pid=%ld status=%d%s", c->name, (long)c->pid, WEXITSTATUS(status),
		       child_effect(c, orderly));
}

void child_reaped(struct child *c, int status)
{
	bool expected = c->state == CHILD_DRAINING && c->replaced;

	assert(c->magic == CHILD_MAGIC);
	/* What it said last is still in the pipes. */
	channel_drain(&c->channel);
	output_close(&c->out);
	output_close(&c->err);
	child_obituary(c, status);
	if (WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FINAL)
		c->final = true;
	channel_close(&c->channel);
	if (c->kind == CHILD_STORE)
		control_backup_done(c->super, 0, SLUICE_ELOST, SL_STR("the store-writer has ended"));
	child_arm(c, -1);
	child_move(c, CHILD_DOWN, "its process ended");
	c->pid = -1;
	if (c->kind == CHILD_CHECK)
		check_gone(c, status);
	else
		child_died(c, expected);
}

void child_ping(struct child *c)
{
	unsigned limit = c->kind == CHILD_STORE ? PINGS_STORE : PINGS_WORKER;
	struct sl_control_ping m = {.n = c->ping + 1};

	if ((c->state != CHILD_READY && c->state != CHILD_DRAINING) || !c->channel.open)
		return;
	if (c->missed >= limit) {
		child_kill(c, SIGABRT, "it does not answer");
		return;
	}
	if (c->unlinked && c->super->store && c->super->store->state == CHILD_READY)
		setup_link(c);
	if (c->presence_unlinked)
		presence_link(c);
	if (sl_put_control_ping(&c->channel.ipc, &m))
		return;
	c->ping++;
	c->missed++;
	channel_flush(&c->channel);
}
