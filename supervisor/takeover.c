/*
 * takeover.c - an upgrade, the side of the one that comes: sockets and data of the supervisor before us. Supervisor.
 *
 * We were started by our predecessor with a channel at descriptor 3 (upgrade.c has the order of events). Until we serve, files of sockets and a
 * temporary directory are its own, and the service manager hears from it alone; afterwards it ends, and its end makes us speak.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { TAKEOVER_FD = 3 };

struct takeover {
	struct supervisor *super;
	struct channel channel;
	struct notify notify; /* ours when the predecessor is gone */
	char *data_dir;
	bool temporary;
	bool given, released, serving, failed;
};

static int takeover_on_begin(void *arg, const struct sl_handover_begin *m)
{
	struct takeover *t = arg;

	t->super->generations = m->generation;
	sl_log(SLUICE_LOG_INFO, "takeover build=%.*s", (int)m->build.len, m->build.data ? (const char *)m->build.data : "");
	return 0;
}

static int takeover_on_listener(void *arg, const struct sl_handover_listener *m)
{
	return listener_adopt(((struct takeover *)arg)->super, m->key, m->shown, m->path, m->socket);
}

static int takeover_on_activation(void *arg, const struct sl_handover_activation *m)
{
	return activation_adopt(((struct takeover *)arg)->super, m->name, m->socket);
}

static int takeover_on_data(void *arg, const struct sl_handover_data *m)
{
	struct takeover *t = arg;

	free(t->data_dir);
	t->data_dir = sl_slice_dup(m->path);
	t->temporary = m->temporary != 0;
	return t->data_dir ? 0 : SLUICE_ENOMEM;
}

static int takeover_on_notify(void *arg, const struct sl_handover_notify *m)
{
	return notify_adopt(&((struct takeover *)arg)->notify, m->path, m->watchdog_ms);
}

static int takeover_on_given(void *arg, const struct sl_handover_given *m)
{
	struct takeover *t = arg;

	(void)m;
	if (!t->data_dir)
		return SLUICE_EINVAL;
	t->given = true;
	super_poke(t->super);
	return 0;
}

static int takeover_on_released(void *arg, const struct sl_handover_released *m)
{
	struct takeover *t = arg;

	(void)m;
	t->released = true;
	super_poke(t->super);
	return 0;
}

static const struct sl_handover_handlers takeover_handlers = {
        .begin = takeover_on_begin,
        .listener = takeover_on_listener,
        .activation = takeover_on_activation,
        .data = takeover_on_data,
        .notify = takeover_on_notify,
        .given = takeover_on_given,
        .released = takeover_on_released,
};

static int takeover_receive(void *arg, struct sl_ipc *ipc, uint16_t id, sl_slice body)
{
	if (strcmp(sl_handover_name(id), "?") == 0)
		return 0; /* of a later build */
	return sl_handover_dispatch(&takeover_handlers, SL_TO_SUCCESSOR, arg, ipc, id, body);
}

/* The predecessor ended: as it should, or it died, and then its children finish by themselves and the data is free soon. */
static void takeover_on_lost(void *arg, const char *why)
{
	struct takeover *t = arg;
	struct supervisor *s = t->super;

	super_poke(s);
	if (t->serving)
		return;
	sl_log(SLUICE_LOG_WARN, "takeover predecessor=lost why=\"%s\"", why);
	t->released = true;
	if (!t->given)
		super_stop(s, "the predecessor ended before it had given anything");
}

/* The variable alone may have come down from anywhere: the socket says who made it. */
static bool takeover_meant(void)
{
	const char *mark = getenv(SPAWN_HANDOVER);
	struct ucred peer = {.pid = -1};
	socklen_t len = sizeof peer;

	return mark && getsockopt(TAKEOVER_FD, SOL_SOCKET, SO_PEERCRED, &peer, &len) == 0 &&
	       strtol(mark, NULL, 10) == (long)peer.pid;
}

int takeover_open(struct supervisor *s)
{
	bool meant = takeover_meant();
	struct takeover *t;

	unsetenv(SPAWN_HANDOVER);
	if (!meant)
		return 0;
	fcntl(TAKEOVER_FD, F_SETFD, FD_CLOEXEC);
	t = calloc(1, sizeof *t);
	if (!t || channel_open(&t->channel, s->base, TAKEOVER_FD, takeover_receive, takeover_on_lost, t)) {
		free(t);
		sl_log(SLUICE_LOG_ERR, "takeover error=\"out of memory\"");
		return SLUICE_ENOMEM;
	}
	t->super = s;
	s->takeover = t;
	return 0;
}

bool takeover_given(const struct supervisor *s)
{
	return !s->takeover || s->takeover->given;
}

int takeover_data(struct supervisor *s, const char **why)
{
	const struct takeover *t = s->takeover;
	const char *configured = sl_conf_str(s->config->root, "data_dir");
	char *path = t->temporary ? NULL : datadir_path(configured);
	bool same = t->temporary ? strcmp(configured, "temporary") == 0 : path && strcmp(path, t->data_dir) == 0;
	int rc;

	free(path);
	if (!same) {
		*why = "data_dir: an upgrade cannot move the data; restart sluiced";
		sl_log(SLUICE_LOG_ERR, "takeover data_dir=%s configured=%s error=\"%s\"", t->data_dir, configured, *why);
		return SLUICE_EINVAL;
	}
	/* By its path also when it is temporary: whose it is in the end is settled when we serve. */
	rc = datadir_open(t->data_dir, &s->data);
	return rc;
}

void takeover_able(struct supervisor *s)
{
	super_enter(s, SUPER_TAKING);
	if (sl_put_handover_able(&s->takeover->channel.ipc, &(struct sl_handover_able){}))
		super_stop(s, "out of memory");
	channel_flush(&s->takeover->channel);
}

bool takeover_released(const struct supervisor *s)
{
	return !s->takeover || s->takeover->released;
}

void takeover_serving(struct supervisor *s)
{
	struct takeover *t = s->takeover;

	if (!t || t->serving)
		return;
	t->serving = true;
	listeners_lend(s, false);
	listeners_modes(s);
	s->data.temporary = t->temporary;
	if (t->channel.open && sl_put_handover_serving(&t->channel.ipc, &(struct sl_handover_serving){}))
		super_stop(s, "out of memory");
	channel_flush(&t->channel);
	listeners_sweep(s);
}

void takeover_progress(struct supervisor *s)
{
	struct takeover *t = s->takeover;

	if (!t || !t->serving || t->channel.open)
		return;
	s->notify = t->notify;
	t->notify = (struct notify){0};
	takeover_free(s);
	notify_send(&s->notify, "READY=1\nSTATUS=Running");
	super_watchdog(s);
}

void takeover_fail(struct supervisor *s, const char *why)
{
	struct takeover *t = s->takeover;
	struct sl_handover_unable m = {.why = sl_slice_str(why)};

	if (!t || t->failed || t->serving || !t->channel.open)
		return;
	t->failed = true;
	(void)sl_put_handover_unable(&t->channel.ipc, &m); /* without memory our end says it */
	channel_flush(&t->channel);
}

void takeover_free(struct supervisor *s)
{
	struct takeover *t = s->takeover;

	if (!t)
		return;
	s->takeover = NULL;
	channel_close(&t->channel);
	notify_close(&t->notify);
	free(t->data_dir);
	free(t);
}
