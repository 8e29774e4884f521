/*
 * upgrade.c - SIGUSR2: another build takes our place without a failed request. The side of the one that leaves. Supervisor.
 *
 * The successor is started by us and gets copies of the listening sockets. It checks the configuration and starts its workers, which accept
 * and queue; only then do our workers drain, then our writer; then the data is the successor's, and when its writer is up we leave. Nothing
 * is touched before it is able; if it fails later, we start our children again. A worker talks to a writer of its own build only.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/pidfd.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum {
	UPGRADE_ABLE_MS = 120 * 1000,
	UPGRADE_SERVE_MS = 660 * 1000, /* its writer may have to replay or to migrate */
	UPGRADE_DEATH_MS = 30 * 1000,
	/* The clients of the new workers wait meanwhile, which they do for half a minute. */
	UPGRADE_DRAIN_MS = 15 * 1000,
	UPGRADE_IDLE_MS = 1000
};

enum upgrade_state {
	UPGRADE_STARTING, /* it is not able yet */
	UPGRADE_DRAINING, /* it is; our workers, then our writer leave */
	UPGRADE_RELEASED, /* its writer starts */
	UPGRADE_FAILED    /* given up; its process is about to be gone */
};

struct upgrade {
	enum upgrade_state state;
	struct supervisor *super;
	struct successor next; /* pid -1: it is gone, or serves */
	struct channel channel;
	struct event *deadline, *end;
};

static void upgrade_arm(struct upgrade *u, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	event_add(u->deadline, &tv);
}

static void upgrade_signal(const struct upgrade *u, int sig)
{
	if (u->next.pid > 0)
		pidfd_send_signal(u->next.pidfd, sig, NULL, 0);
}

/* We go on. With nothing of ours touched yet that means to do nothing. */
static void upgrade_fail(struct upgrade *u, const char *why)
{
	struct supervisor *s = u->super;

	if (u->state == UPGRADE_FAILED)
		return;
	u->state = UPGRADE_FAILED;
	upgrade_arm(u, UPGRADE_DEATH_MS);
	if (s->phase > SUPER_HANDING)
		return;
	control_upgraded(s, why);
	sl_log(SLUICE_LOG_ERR, "upgrade_failed pid=%ld why=\"%s\" action=\"this build goes on\"", (long)u->next.pid, why);
	if (s->phase == SUPER_HANDING)
		super_enter(s, SUPER_STORE); /* the writer is started again if it has left, then new workers */
	else
		notify_send(&s->notify, "READY=1\nSTATUS=Running; the last upgrade failed: %s", why);
	super_poke(s);
}

/* ---- what the successor says ---- */

static int upgrade_on_able(void *arg, const struct sl_handover_able *m)
{
	struct upgrade *u = arg;
	struct supervisor *s = u->super;
	uint32_t ms = super_drain_ms(s);

	(void)m;
	if (u->state == UPGRADE_FAILED)
		return 0;
	if (u->state != UPGRADE_STARTING)
		return SLUICE_EINVAL;
	sl_log(SLUICE_LOG_INFO, "upgrade_able pid=%ld", (long)u->next.pid);
	u->state = UPGRADE_DRAINING;
	upgrade_arm(u, UPGRADE_SERVE_MS);
	super_enter(s, SUPER_HANDING);
	sl_link_add(&s->old, &s->gen->link);
	s->n_old++;
	s->gen = NULL;
	for (struct sl_link *l = s->old.next; l != &s->old; l = l->next) {
		SL_OF(l, struct generation, link)->idle_ms = UPGRADE_IDLE_MS;
		generation_stop(SL_OF(l, struct generation, link), ms < UPGRADE_DRAIN_MS ? ms : UPGRADE_DRAIN_MS,
		                "another build takes over");
	}
	return 0;
}

static int upgrade_on_unable(void *arg, const struct sl_handover_unable *m)
{
	char why[512];

	snprintf(why, sizeof why, "%.*s", (int)m->why.len, m->why.data ? (const char *)m->why.data : "");
	upgrade_fail(arg, why);
	return 0;
}

/* Everything is the successor's now. The service manager hears of its new main process while that is still us. */
static int upgrade_on_serving(void *arg, const struct sl_handover_serving *m)
{
	struct upgrade *u = arg;
	struct supervisor *s = u->super;

	(void)m;
	if (u->state != UPGRADE_RELEASED)
		return u->state == UPGRADE_FAILED ? 0 : SLUICE_EINVAL;
	listeners_lend(s, true);
	s->data.temporary = false;
	sl_log(SLUICE_LOG_INFO, "upgraded successor=%ld", (long)u->next.pid);
	notify_send(&s->notify, "MAINPID=%ld\nREADY=1\nSTATUS=Running", (long)u->next.pid);
	if (s->reload_again)
		upgrade_signal(u, SIGHUP); /* it was meant for whoever serves */
	/* From here on it is the one that is listened to. */
	notify_close(&s->notify);
	u->next.pid = -1;
	control_upgraded(s, NULL);
	super_over(s, 0);
	return 0;
}

static const struct sl_handover_handlers upgrade_handlers = {
        .able = upgrade_on_able,
        .unable = upgrade_on_unable,
        .serving = upgrade_on_serving,
};

static int upgrade_receive(void *arg, struct sl_ipc *ipc, uint16_t id, sl_slice body)
{
	if (strcmp(sl_handover_name(id), "?") == 0)
		return 0; /* of a later build */
	return sl_handover_dispatch(&upgrade_handlers, SL_TO_PREDECESSOR, arg, ipc, id, body);
}

/* Its death says more, and follows. */
static void upgrade_on_lost(void *arg, const char *why)
{
	struct upgrade *u = arg;

	sl_log(SLUICE_LOG_DEBUG, "upgrade_channel pid=%ld why=\"%s\"", (long)u->next.pid, why);
	if (u->state != UPGRADE_FAILED)
		upgrade_arm(u, UPGRADE_DEATH_MS);
}

static void upgrade_on_deadline(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;

	(void)fd;
	(void)what;
	upgrade_fail(u, u->channel.open ? "it did not get ready in time" : "it gave up its channel and does not end");
	upgrade_signal(u, SIGKILL);
}

/* How it ended only its parent knows. */
static void upgrade_on_end(evutil_socket_t fd, short what, void *arg)
{
	struct upgrade *u = arg;
	struct supervisor *s = u->super;

	(void)fd;
	(void)what;
	channel_drain(&u->channel); /* what it said last */
	upgrade_fail(u, "it ended before it served");
	u->next.pid = -1;
	upgrade_free(s);
	super_poke(s);
}

/* ---- what it is given ---- */

static int upgrade_give_sockets(struct upgrade *u)
{
	struct supervisor *s = u->super;
	int rc = 0;

	for (struct sl_link *k = s->listeners.next; rc == 0 && k != &s->listeners; k = k->next) {
		const struct listener *l = SL_OF(k, struct listener, link);
		struct sl_handover_listener m = {.key = sl_slice_str(l->key), .shown = sl_slice_str(l->shown),
		                                 .path = sl_slice_str(l->path ? l->path : ""), .socket = l->fd};

		rc = sl_put_handover_listener(&u->channel.ipc, &m);
	}
	for (size_t i = 0; rc == 0 && i < s->n_activation; i++) {
		const struct activation *a = &s->activation[i];
		struct sl_handover_activation m = {.name = sl_slice_str(a->name ? a->name : ""), .socket = a->fd};

		rc = sl_put_handover_activation(&u->channel.ipc, &m);
	}
	return rc;
}

static int upgrade_give(struct upgrade *u)
{
	struct supervisor *s = u->super;
	struct sl_handover_begin begin = {.build = SL_STR(SL_BUILD), .generation = s->generations};
	struct sl_handover_data data = {.path = sl_slice_str(s->data.path), .temporary = s->data.temporary};
	struct sl_handover_notify notify = {.path = sl_slice_str(s->notify.path ? s->notify.path : ""),
	                                    .watchdog_ms = s->notify.watchdog_ms};
	int rc = sl_put_handover_begin(&u->channel.ipc, &begin);

	if (rc == 0)
		rc = upgrade_give_sockets(u);
	if (rc == 0)
		rc = sl_put_handover_data(&u->channel.ipc, &data);
	if (rc == 0 && s->notify.path)
		rc = sl_put_handover_notify(&u->channel.ipc, &notify);
	if (rc == 0)
		rc = sl_put_handover_given(&u->channel.ipc, &(struct sl_handover_given){});
	channel_flush(&u->channel);
	return rc;
}

/* ---- life ---- */

static bool upgrade_possible(const struct supervisor *s, char *why, size_t size)
{
	if (s->phase != SUPER_RUNNING)
		snprintf(why, size, "sluiced is starting or stopping");
	else if (s->upgrade)
		snprintf(why, size, "an upgrade is under way");
	else if (s->reloading)
		snprintf(why, size, "a reload is under way; ask again when it is done");
	else if (getpid() == 1)
		snprintf(why, size, "process 1 cannot give its place away; restart the container with the new build");
	else if (!s->program || access(s->program, X_OK))
		snprintf(why, size, "%s: %s", s->program ? s->program : "the program", strerror(s->program ? errno : ENOENT));
	else
		return true;
	return false;
}

static int upgrade_watch(struct upgrade *u)
{
	u->end = event_new(u->super->base, u->next.pidfd, EV_READ, upgrade_on_end, u);
	return u->end && event_add(u->end, NULL) == 0 ? 0 : SLUICE_ENOMEM;
}

int super_upgrade(struct supervisor *s, char *why, size_t size)
{
	struct upgrade *u;

	if (!upgrade_possible(s, why, size))
		return SLUICE_EBUSY;
	u = calloc(1, sizeof *u);
	if (u)
		*u = (struct upgrade){.super = s, .next = {.pid = -1, .pidfd = -1}, .channel.ipc.fd = -1};
	if (u)
		u->deadline = evtimer_new(s->base, upgrade_on_deadline, u);
	s->upgrade = u;
	if (!u || !u->deadline || spawn_successor(s, &u->next)) {
		snprintf(why, size, "%s", u && u->deadline ? strerror(errno) : "out of memory");
		upgrade_free(s);
		return SLUICE_ENOMEM;
	}
	sl_log(SLUICE_LOG_INFO, "upgrade program=%s pid=%ld", s->program, (long)u->next.pid);
	notify_reloading(&s->notify, "Upgrading");
	upgrade_arm(u, UPGRADE_ABLE_MS);
	if (channel_open(&u->channel, s->base, u->next.channel, upgrade_receive, upgrade_on_lost, u) || upgrade_watch(u) ||
	    upgrade_give(u)) {
		upgrade_fail(u, "out of memory");
		upgrade_signal(u, SIGKILL);
	}
	return 0;
}

void upgrade_progress(struct supervisor *s)
{
	struct upgrade *u = s->upgrade;

	if (!u || u->state != UPGRADE_DRAINING || s->phase != SUPER_HANDING)
		return;
	if (s->store && s->children.next == s->children.prev) {
		if (s->store->wanted)
			child_stop(s->store, STORE_DRAIN_MS, "another build takes over");
	} else if (sl_link_alone(&s->children)) {
		u->state = UPGRADE_RELEASED;
		if (sl_put_handover_released(&u->channel.ipc, &(struct sl_handover_released){})) {
			upgrade_fail(u, "out of memory");
			upgrade_signal(u, SIGKILL);
		}
		channel_flush(&u->channel);
	}
}

void upgrade_cancel(struct supervisor *s)
{
	struct upgrade *u = s->upgrade;

	if (!u || u->next.pid <= 0)
		return;
	if (u->state != UPGRADE_FAILED)
		sl_log(SLUICE_LOG_WARN, "upgrade_cancelled pid=%ld", (long)u->next.pid);
	u->state = UPGRADE_FAILED;
	upgrade_arm(u, UPGRADE_DEATH_MS);
	upgrade_signal(u, SIGTERM);
}

void upgrade_free(struct supervisor *s)
{
	struct upgrade *u = s->upgrade;

	if (!u)
		return;
	s->upgrade = NULL;
	if (u->next.pid > 0) {
		struct pollfd end = {.fd = u->next.pidfd, .events = POLLIN};

		upgrade_signal(u, SIGKILL);
		while (poll(&end, 1, UPGRADE_DEATH_MS) < 0 && errno == EINTR)
			;
	}
	if (u->end)
		event_free(u->end);
	if (u->next.pidfd >= 0)
		close(u->next.pidfd);
	channel_close(&u->channel);
	if (u->deadline)
		event_free(u->deadline);
	free(u);
}
