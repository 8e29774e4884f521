/*
 * control.c - the control socket: sluicectl's requests, and who may make them. Supervisor.
 *
 * Our own user and root may, whatever the mode of the file has become. A client that sends nonsense, says nothing for long or does not
 * read loses its connection and harms nobody else. Data never passes here: who wants it is given a connection to the store-writer.
 * Clients are freed at the end of the turn (control_progress).
 */
#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "lib/unix.h"
#include "supervisor/supervisor.h"

enum { CLIENTS_MAX = 32, CLIENT_IDLE_S = 60, CONTROL_BACKLOG = 64 };

struct control {
	struct supervisor *super;
	char *path;
	dev_t dev;
	ino_t ino;
	int fd;
	struct event *acceptable;
	struct sl_link clients;
	unsigned n_clients;
};

#define CLIENT_MAGIC 0x43746c43u
struct client {
	uint32_t magic;
	struct sl_link link; /* control->clients */
	struct control *control;
	struct channel channel;
	struct event *idle;
	pid_t pid;
	bool greeted, over;
	unsigned reload; /* the reload whose end it waits for; 0: none */
	bool upgrade;    /* waits for the end of an upgrade */
	uint32_t backup; /* that it waits for; 0: none */
};

/* ---- answers ---- */

static void client_done(struct client *c, int status, const char *text)
{
	struct sl_admin_done m = {.status = status, .text = sl_slice_str(text)};
	struct timeval tv = {.tv_sec = CLIENT_IDLE_S};

	c->reload = c->backup = 0;
	c->upgrade = false;
	if (sl_put_admin_done(&c->channel.ipc, &m))
		c->over = true;
	event_add(c->idle, &tv);
}

/* ---- requests ---- */

static struct client *client_of(void *arg)
{
	struct client *c = arg;

	assert(c->magic == CLIENT_MAGIC);
	return c;
}

static int client_on_hello(void *arg, const struct sl_admin_hello *m)
{
	struct client *c = client_of(arg);
	struct sl_admin_welcome w = {
		.protocol = SL_ADMIN_PROTOCOL, .build = SL_STR(SL_BUILD), .pid = (uint32_t)getpid()};

	if (c->greeted)
		return SLUICE_EINVAL;
	c->greeted = m->protocol == SL_ADMIN_PROTOCOL; /* of another one nothing more is understood; it sees why */
	return sl_put_admin_welcome(&c->channel.ipc, &w);
}

static int client_on_status(void *arg, const struct sl_admin_status *m)
{
	struct client *c = client_of(arg);

	(void)m;
	if (report_status(c->control->super, &c->channel.ipc))
		return SLUICE_ENOMEM;
	client_done(c, SLUICE_OK, "");
	return 0;
}

static int client_on_plugins(void *arg, const struct sl_admin_plugins *m)
{
	struct client *c = client_of(arg);

	(void)m;
	if (report_plugins(c->control->super, &c->channel.ipc))
		return SLUICE_ENOMEM;
	client_done(c, SLUICE_OK, "");
	return 0;
}

static int client_on_reload(void *arg, const struct sl_admin_reload *m)
{
	struct client *c = client_of(arg);
	struct supervisor *s = c->control->super;

	(void)m;
	if (s->phase > SUPER_RUNNING) {
		client_done(c, SLUICE_EBUSY, "sluiced is being stopped or upgraded");
		return 0;
	}
	sl_log(SLUICE_LOG_INFO, "control pid=%ld request=reload", (long)c->pid);
	/* One that runs already may have read the file before it was changed: the next one counts. */
	c->reload = s->reloads + 1;
	event_del(c->idle);
	reload_request(s);
	return 0;
}

static int client_on_drain(void *arg, const struct sl_admin_drain *m)
{
	struct client *c = client_of(arg);
	struct supervisor *s = c->control->super;

	(void)m;
	client_done(c, SLUICE_OK, "stopping");
	if (s->phase < SUPER_DRAINING)
		super_stop(s, "sluicectl drain");
	return 0;
}

static int client_on_log_level(void *arg, const struct sl_admin_log_level *m)
{
	struct client *c = client_of(arg);
	struct supervisor *s = c->control->super;
	struct sl_control_log_level level = {.level = m->level};

	if (m->level > SLUICE_LOG_DEBUG)
		return SLUICE_EINVAL;
	sl_log(SLUICE_LOG_INFO, "control pid=%ld request=log_level level=%u", (long)c->pid, m->level);
	sl_log_level((enum sluice_level)m->level);
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		struct child *child = SL_OF(l, struct child, link);

		/* The setup of one that starts later has the new level. */
		if (child->channel.open && sl_put_control_log_level(&child->channel.ipc, &level) == 0)
			channel_flush(&child->channel);
	}
	client_done(c, SLUICE_OK, "until the next reload or start");
	return 0;
}

static int client_on_upgrade(void *arg, const struct sl_admin_upgrade *m)
{
	struct client *c = client_of(arg);
	char why[256];

	(void)m;
	sl_log(SLUICE_LOG_INFO, "control pid=%ld request=upgrade", (long)c->pid);
	c->upgrade = true;
	event_del(c->idle);
	if (super_upgrade(c->control->super, why, sizeof why))
		client_done(c, SLUICE_EBUSY, why);
	return 0;
}

/* The writer's end goes to the writer, the other to the client; we keep neither. */
static int client_link(struct client *c, struct child *store, const int pair[2])
{
	struct supervisor *s = c->control->super;
	char name[48];
	struct sl_control_peer peer = {.socket = pair[0]};
	struct sl_admin_store_link link = {.data_dir = sl_slice_str(s->data.path), .socket = pair[1]};
	int rc;

	snprintf(name, sizeof name, "sluicectl[%ld]", (long)c->pid);
	peer.name = sl_slice_str(name);
	rc = sl_put_admin_store_link(&c->channel.ipc, &link);
	if (rc == 0)
		rc = sl_put_control_peer(&store->channel.ipc, &peer);
	channel_flush(&store->channel);
	return rc;
}

static int client_on_store(void *arg, const struct sl_admin_store *m)
{
	struct client *c = client_of(arg);
	struct child *store = c->control->super->store;
	int pair[2], rc;

	(void)m;
	if (!store || store->state != CHILD_READY) {
		client_done(c, SLUICE_EAGAIN, "the store-writer is not running at the moment");
		return 0;
	}
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		client_done(c, SLUICE_EBUSY, strerror(errno));
		return 0;
	}
	rc = client_link(c, store, pair);
	close(pair[0]); /* the queues hold copies */
	close(pair[1]);
	if (rc == 0)
		client_done(c, SLUICE_OK, "");
	return rc;
}

static bool control_backing_up(const struct control *k)
{
	for (const struct sl_link *l = k->clients.next; l != &k->clients; l = l->next)
		if (SL_OF(l, struct client, link)->backup)
			return true;
	return false;
}

/* The writer copies into the directory, whose descriptor we only pass on. */
static int client_on_backup(void *arg, const struct sl_admin_backup *m)
{
	struct client *c = client_of(arg);
	struct supervisor *s = c->control->super;
	struct sl_control_backup copy = {.number = ++s->backups, .directory = m->directory};
	int rc;

	if (control_backing_up(c->control)) {
		client_done(c, SLUICE_EBUSY, "a backup is being made already");
	} else if (!s->store || s->store->state != CHILD_READY) {
		client_done(c, SLUICE_EAGAIN, "the store-writer is not running at the moment; try again");
	} else {
		rc = sl_put_control_backup(&s->store->channel.ipc, &copy);
		close(m->directory); /* the queue holds a copy */
		if (rc)
			return rc;
		sl_log(SLUICE_LOG_INFO, "control pid=%ld request=backup number=%u", (long)c->pid, copy.number);
		channel_flush(&s->store->channel);
		c->backup = copy.number;
		event_del(c->idle);
		return 0;
	}
	close(m->directory);
	return 0;
}

/* Also when the client has gone. The writer answers, once it has left the directory alone. */
static void client_give_up(struct client *c)
{
	struct child *store = c->control->super->store;
	struct sl_control_backup_cancel m = {.number = c->backup};

	if (!c->backup || !store || !store->channel.open)
		return;
	(void)sl_put_control_backup_cancel(&store->channel.ipc, &m);
	channel_flush(&store->channel);
}

static int client_on_cancel(void *arg, const struct sl_admin_cancel *m)
{
	struct client *c = client_of(arg);

	(void)m;
	client_give_up(c);
	if (c->backup)
		sl_log(SLUICE_LOG_INFO, "control pid=%ld request=cancel number=%u", (long)c->pid, c->backup);
	return 0;
}

static const struct sl_admin_handlers client_handlers = {
	.hello = client_on_hello,
	.status = client_on_status,
	.reload = client_on_reload,
	.drain = client_on_drain,
	.log_level = client_on_log_level,
	.upgrade = client_on_upgrade,
	.plugins = client_on_plugins,
	.store = client_on_store,
	.backup = client_on_backup,
	.cancel = client_on_cancel,
};

static int client_receive(void *arg, struct sl_ipc *ipc, uint16_t id, sl_slice body)
{
	struct client *c = client_of(arg);
	bool asks = id != SL_ADMIN_hello, waits = c->reload || c->upgrade || c->backup;

	/* One request at a time, so nothing can be piled up. */
	if (c->over || (asks && (!c->greeted || (waits && id != SL_ADMIN_cancel))))
		return SLUICE_EINVAL;
	if (strcmp(sl_admin_name(id), "?") == 0) {
		client_done(c, SLUICE_ENOTSUP, "the server is older than this sluicectl and does not know the request");
		return 0;
	}
	return sl_admin_dispatch(&client_handlers, SL_TO_SERVER, c, ipc, id, body);
}

/* ---- clients ---- */

static void client_end(struct client *c)
{
	c->over = true;
	super_poke(c->control->super);
}

static void client_on_lost(void *arg, const char *why)
{
	struct client *c = client_of(arg);

	sl_log(SLUICE_LOG_DEBUG, "control_client pid=%ld why=\"%s\"", (long)c->pid, why);
	client_end(c);
}

static void client_on_idle(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	client_end(client_of(arg));
}

static void client_free(struct client *c)
{
	client_give_up(c);
	sl_link_del(&c->link);
	c->control->n_clients--;
	channel_close(&c->channel);
	if (c->idle)
		event_free(c->idle);
	c->magic = 0;
	free(c);
}

static void client_new(struct control *k, int fd, pid_t pid)
{
	struct client *c = calloc(1, sizeof *c);
	struct timeval tv = {.tv_sec = CLIENT_IDLE_S};

	if (!c) {
		close(fd);
		return;
	}
	*c = (struct client){.magic = CLIENT_MAGIC, .control = k, .pid = pid};
	sl_link_init(&c->link);
	sl_link_add(&k->clients, &c->link);
	k->n_clients++;
	c->idle = evtimer_new(k->super->base, client_on_idle, c);
	if (channel_open(&c->channel, k->super->base, fd, client_receive, client_on_lost, c) || !c->idle) {
		client_free(c);
		return;
	}
	event_add(c->idle, &tv);
}

/* Told why, as far as the socket takes it at once. */
static void client_refuse(int fd, const char *why)
{
	struct sl_admin_done m = {.status = SLUICE_EBUSY, .text = sl_slice_str(why)};
	struct sl_ipc ipc;

	sl_ipc_init(&ipc, fd);
	if (sl_put_admin_done(&ipc, &m) == 0)
		(void)sl_ipc_flush(&ipc);
	sl_ipc_fini(&ipc);
}

bool control_may(uid_t uid)
{
	return uid == 0 || uid == geteuid();
}

static void control_on_accept(evutil_socket_t listening, short what, void *arg)
{
	struct control *k = arg;
	struct ucred who;
	socklen_t len = sizeof who;
	int fd = accept4(listening, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);

	(void)what;
	if (fd < 0)
		return;
	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &who, &len) || !control_may(who.uid)) {
		sl_log(SLUICE_LOG_WARN, "control_refused uid=%ld pid=%ld why=\"only root and the user of sluiced may\"",
		       (long)who.uid, (long)who.pid);
		client_refuse(fd, "only root and the user that sluiced runs as may use the control socket");
	} else if (k->n_clients >= CLIENTS_MAX) {
		client_refuse(fd, "too many sluicectl at once; try again");
	} else {
		client_new(k, fd, who.pid);
	}
}

/* ---- what others tell ---- */

#define EACH_CLIENT(s, c) \
	for (struct sl_link *l_ = (s)->control ? (s)->control->clients.next : NULL; \
	     l_ && l_ != &(s)->control->clients; l_ = l_->next) \
		for (struct client *c = SL_OF(l_, struct client, link); c; c = NULL)

void control_note(struct supervisor *s, const char *fmt, ...)
{
	char text[1024];
	struct sl_admin_note m;
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof text, fmt, ap);
	va_end(ap);
	m.text = sl_slice_str(text);
	EACH_CLIENT(s, c)
	{
		if (c->reload && c->reload <= s->reloads && !c->over)
			(void)sl_put_admin_note(&c->channel.ipc, &m);
	}
}

void control_reloaded(struct supervisor *s, bool good)
{
	EACH_CLIENT(s, c)
	{
		if (!c->reload || c->reload > s->reloads || c->over)
			continue;
		client_done(c, good ? SLUICE_OK : SLUICE_EINVAL,
		            good ? "the new configuration is in force" : "the old configuration stays in force");
		channel_flush(&c->channel);
	}
}

void control_upgraded(struct supervisor *s, const char *failed)
{
	EACH_CLIENT(s, c)
	{
		if (!c->upgrade || c->over)
			continue;
		client_done(c, failed ? SLUICE_EINTERNAL : SLUICE_OK, failed ? failed : "the installed build serves");
		channel_flush(&c->channel);
	}
}

/* One that has not left yet says enough, so a client that reads nothing piles up nothing. */
void control_backup_progress(struct supervisor *s, const struct sl_control_backup_progress *m)
{
	struct sl_admin_backup_progress p = {.what = m->what, .done = m->done, .total = m->total};

	EACH_CLIENT(s, c)
	{
		if (c->backup != m->number || c->over || sl_ipc_queued(&c->channel.ipc))
			continue;
		(void)sl_put_admin_backup_progress(&c->channel.ipc, &p);
		channel_flush(&c->channel);
	}
}

void control_backup_done(struct supervisor *s, uint32_t number, int status, sl_slice text)
{
	char why[512];

	snprintf(why, sizeof why, "%.*s", (int)text.len, text.len ? (const char *)text.data : "");
	EACH_CLIENT(s, c)
	{
		if (!c->backup || (number && c->backup != number) || c->over)
			continue;
		client_done(c, status, why);
		channel_flush(&c->channel);
	}
}

void control_stopping(struct supervisor *s)
{
	EACH_CLIENT(s, c)
	{
		if ((!c->reload && !c->upgrade) || c->over)
			continue;
		client_done(c, SLUICE_ECANCELED, "sluiced is being stopped");
		channel_flush(&c->channel);
	}
}

void control_progress(struct supervisor *s)
{
	struct sl_link *next;

	if (!s->control)
		return;
	for (struct sl_link *l = s->control->clients.next; l != &s->control->clients; l = next) {
		struct client *c = SL_OF(l, struct client, link);

		next = l->next;
		if (c->over)
			client_free(c);
	}
}

/* ---- the socket ---- */

static char *control_path(const struct supervisor *s)
{
	const char *configured = sl_conf_str(s->config->root, "control_socket");
	char *path;

	if (*configured == '/')
		return strdup(configured);
	return asprintf(&path, "%s/%s", s->data.path, configured) < 0 ? NULL : path;
}

static int control_listen(struct control *k, bool replace, const char **why)
{
	struct stat st;

	k->fd = sl_unix_listen(k->path, 0600, CONTROL_BACKLOG, replace, why);
	if (k->fd < 0)
		return SLUICE_EINVAL;
	if (lstat(k->path, &st) == 0) {
		k->dev = st.st_dev;
		k->ino = st.st_ino;
	}
	k->acceptable = event_new(k->super->base, k->fd, EV_READ | EV_PERSIST, control_on_accept, k);
	if (k->acceptable && event_add(k->acceptable, NULL) == 0)
		return 0;
	*why = "out of memory";
	return SLUICE_ENOMEM;
}

/* Below the data directory, whose lock is ours: whoever listens there is on his way out. */
static bool control_is_ours(const struct supervisor *s)
{
	return *sl_conf_str(s->config->root, "control_socket") != '/';
}

int control_open(struct supervisor *s, bool replace, char *why, size_t size)
{
	struct control *k = calloc(1, sizeof *k);
	const char *reason = "out of memory";
	int rc = SLUICE_ENOMEM, saved;

	if (!k)
		return rc;
	s->control = k;
	*k = (struct control){.super = s, .fd = -1, .path = control_path(s)};
	sl_link_init(&k->clients);
	if (k->path)
		rc = control_listen(k, replace || control_is_ours(s), &reason);
	if (rc == 0)
		return 0;
	saved = errno;
	snprintf(why, size, "%s: %s; set control_socket, or stop who has it", k->path ? k->path : "", reason);
	control_close(s);
	return saved == EADDRINUSE ? SLUICE_EBUSY : rc;
}

const char *control_shown(const struct supervisor *s)
{
	return s->control ? s->control->path : "";
}

void control_close(struct supervisor *s)
{
	struct control *k = s->control;
	struct stat st;

	if (!k)
		return;
	while (!sl_link_alone(&k->clients))
		client_free(SL_OF(k->clients.next, struct client, link));
	if (k->acceptable)
		event_free(k->acceptable);
	/* After an upgrade another one listens there. */
	if (k->fd >= 0 && lstat(k->path, &st) == 0 && st.st_dev == k->dev && st.st_ino == k->ino)
		unlink(k->path);
	if (k->fd >= 0)
		close(k->fd);
	free(k->path);
	free(k);
	s->control = NULL;
}
