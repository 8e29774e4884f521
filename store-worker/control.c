/*
 * control.c - the writer's side of the channel to the supervisor: start-up handshake, peers, drain. Store-writer.
 *
 * When the channel ends, the supervisor has died: workers notice the same and finish, and so does the writer, once
 * they have gone.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "store-worker/store.h"

enum {
	CONTROL_PEERS_EARLY = 256,
	CONTROL_ORPHAN_MS = 8000, /* less than a successor waits for the lock */
	CONTROL_EXIT_FAILED = 1,
	CONTROL_EXIT_SHADOW = 3,
	CONTROL_EXIT_CONFIG = 78
};

struct early { /* a peer that came before the store was open */
	int fd;
	char *name;
};

struct control {
	struct source source;
	struct sl_ipc ipc;
	struct store *store;
	char *data_dir;
	bool setup, open, lost, draining;
	int exit; /* -1: go on */
	uint64_t deadline_ms;
	struct early early[CONTROL_PEERS_EARLY];
	size_t n_early;
};

static int control_fail(struct control *c, const char *why, bool final)
{
	struct sl_control_failed m = {.why = sl_slice_str(why), .final = final};

	/* The supervisor says it, once. */
	if (sl_put_control_failed(&c->ipc, &m) || sl_ipc_flush(&c->ipc))
		sl_log(SLUICE_LOG_ERR, "cannot start reason=\"%s\"", why);
	c->exit = final ? CONTROL_EXIT_CONFIG : CONTROL_EXIT_FAILED;
	return 0;
}

static int on_hello(void *arg, const struct sl_control_hello *m)
{
	struct control *c = arg;
	struct sl_control_hello_back back = {.protocol = SL_CONTROL_PROTOCOL, .build = SL_STR(SL_BUILD)};
	int rc = sl_put_control_hello_back(&c->ipc, &back);

	if (rc == 0 && (m->protocol != SL_CONTROL_PROTOCOL || !sl_slice_is(m->build, SL_BUILD)))
		return control_fail(c, "the supervisor is of another build; install all programs of one version", true);
	return rc;
}

static int on_setup(void *arg, const struct sl_control_setup *m)
{
	struct control *c = arg;
	char why[512];
	int rc;

	if (c->setup)
		return SLUICE_EINVAL;
	c->setup = true;
	sl_log_level(m->log_level <= SLUICE_LOG_DEBUG ? (enum sluice_level)m->log_level : SLUICE_LOG_DEBUG);
	rc = settings_read(&c->store->settings, m->config, why, sizeof why);
	if (rc)
		return control_fail(c, why, rc != SLUICE_ENOMEM);
	c->store->begun = m->begun;
	c->data_dir = sl_slice_dup(m->data_dir);
	return c->data_dir ? 0 : SLUICE_ENOMEM;
}

static int on_peer(void *arg, const struct sl_control_peer *m)
{
	struct control *c = arg;
	char *name;

	fcntl(m->socket, F_SETFL, fcntl(m->socket, F_GETFL) | O_NONBLOCK);
	if (c->open) {
		if (peer_add(c->store, m->socket, m->name))
			sl_log(SLUICE_LOG_ERR, "peer refused reason=\"too many, or out of memory\"");
		return 0;
	}
	name = c->n_early < CONTROL_PEERS_EARLY ? sl_slice_dup(m->name) : NULL;
	if (!name) {
		close(m->socket);
		return SLUICE_ENOMEM;
	}
	c->early[c->n_early++] = (struct early){.fd = m->socket, .name = name};
	return 0;
}

static int on_metrics(void *arg, const struct sl_control_metrics *m)
{
	struct control *c = arg;
	int rc = stats_open(c->store, m->memory);

	close(m->memory);
	return rc;
}

static int on_setup_done(void *arg, const struct sl_control_setup_done *m)
{
	struct control *c = arg;
	const char *why = "";
	bool final = false;

	(void)m;
	if (!c->setup || c->open)
		return SLUICE_EINVAL;
	if (store_open(c->store, c->data_dir, &why, &final))
		return control_fail(c, why, final);
	c->open = true;
	for (size_t i = 0; i < c->n_early; i++) {
		if (peer_add(c->store, c->early[i].fd, sl_slice_str(c->early[i].name)))
			sl_log(SLUICE_LOG_ERR, "peer refused reason=\"too many, or out of memory\"");
		free(c->early[i].name);
	}
	c->n_early = 0;
	stats_round(c->store);
	sl_log(SLUICE_LOG_INFO, "open data_dir=%s", c->data_dir);
	return sl_put_control_ready(&c->ipc, &(struct sl_control_ready){});
}

static int on_ping(void *arg, const struct sl_control_ping *m)
{
	struct control *c = arg;

	return sl_put_control_pong(&c->ipc, &(struct sl_control_pong){.n = m->n});
}

static int on_drain(void *arg, const struct sl_control_drain *m)
{
	struct control *c = arg;

	if (!c->open) {
		c->exit = 0;
		return 0;
	}
	c->draining = true;
	c->deadline_ms = c->store->mono_ms(c->store->clock_arg) + m->deadline_ms;
	backup_cancel(c->store, 0, "the server is being stopped or upgraded");
	return 0;
}

static int on_log_level(void *arg, const struct sl_control_log_level *m)
{
	(void)arg;
	sl_log_level(m->level <= SLUICE_LOG_DEBUG ? (enum sluice_level)m->level : SLUICE_LOG_DEBUG);
	return 0;
}

static int on_settings(void *arg, const struct sl_control_settings *m)
{
	struct control *c = arg;
	struct settings s;
	char why[512];

	if (settings_read(&s, m->config, why, sizeof why)) {
		sl_log(SLUICE_LOG_ERR, "settings refused reason=\"%s\"", why);
		return 0;
	}
	s.sync = c->store->settings.sync; /* needs a restart, which the supervisor makes */
	c->store->settings = s;
	sl_log(SLUICE_LOG_INFO, "settings read");
	return 0;
}

/* ---- backups ---- */

static void control_lost(struct control *);

/* Said between two events of the channel. */
static void control_flush(struct control *c)
{
	if (c->lost)
		return;
	if (sl_ipc_flush(&c->ipc))
		control_lost(c);
	else
		source_set(c->store, &c->source, EPOLLIN | (sl_ipc_queued(&c->ipc) ? EPOLLOUT : 0));
}

static void control_backup_progress(void *arg, uint32_t number, const char *what, uint64_t done, uint64_t total)
{
	struct control *c = arg;
	struct sl_control_backup_progress m = {
		.number = number, .what = sl_slice_str(what), .done = done, .total = total};

	/* One that has not left yet says enough. */
	if (!c->lost && sl_ipc_queued(&c->ipc) == 0 && sl_put_control_backup_progress(&c->ipc, &m) == 0)
		control_flush(c);
}

static void control_backup_done(void *arg, uint32_t number, int status, const char *text)
{
	struct control *c = arg;
	struct sl_control_backup_done m = {.number = number, .status = status, .text = sl_slice_str(text)};

	if (!c->lost && sl_put_control_backup_done(&c->ipc, &m))
		c->exit = CONTROL_EXIT_FAILED; /* somebody would wait for ever */
	control_flush(c);
}

static const struct backup_hooks control_backup_hooks = {.progress = control_backup_progress,
                                                         .done = control_backup_done};

static int on_backup(void *arg, const struct sl_control_backup *m)
{
	struct control *c = arg;
	int rc = SLUICE_EAGAIN;

	if (c->open && !c->draining)
		rc = backup_start(c->store, m->number, m->directory, &control_backup_hooks, c);
	else
		close(m->directory);
	if (rc)
		control_backup_done(c, m->number, rc,
		                    rc == SLUICE_EBUSY    ? "a backup is being made already"
		                    : rc == SLUICE_EAGAIN ? "the store-writer is not running at the moment"
		                                          : "out of memory");
	return 0;
}

static int on_backup_cancel(void *arg, const struct sl_control_backup_cancel *m)
{
	struct control *c = arg;

	backup_cancel(c->store, m->number, "given up");
	return 0;
}

static const struct sl_control_handlers control_handlers = {
	.hello = on_hello,
	.setup = on_setup,
	.peer = on_peer,
	.metrics = on_metrics,
	.setup_done = on_setup_done,
	.ping = on_ping,
	.drain = on_drain,
	.log_level = on_log_level,
	.settings = on_settings,
	.backup = on_backup,
	.backup_cancel = on_backup_cancel,
};

static void control_lost(struct control *c)
{
	if (c->lost)
		return;
	c->lost = true;
	source_del(c->store, &c->source);
	if (!c->open) {
		c->exit = 0;
		return;
	}
	if (!c->draining)
		sl_log(SLUICE_LOG_WARN, "supervisor gone action=\"finishing\"");
	c->draining = true;
	backup_cancel(c->store, 0, "the server is being stopped or upgraded");
	if (!c->deadline_ms)
		c->deadline_ms = c->store->mono_ms(c->store->clock_arg) + CONTROL_ORPHAN_MS;
}

static void control_ready(struct store *st, struct source *src, uint32_t events)
{
	struct control *c = SL_OF(src, struct control, source);
	int fill = events & (EPOLLIN | EPOLLHUP | EPOLLERR) ? sl_ipc_fill(&c->ipc) : 0, rc = 0;
	uint16_t id;
	sl_slice body;

	while (c->exit < 0 && (rc = sl_ipc_next(&c->ipc, &id, &body)) == 1) {
		rc = sl_control_dispatch(&control_handlers, SL_TO_CHILD, c, &c->ipc, id, body);
		if (rc) {
			sl_log(SLUICE_LOG_ERR, "control message refused message=%s why=\"%s\"", sl_control_name(id),
			       rc == SLUICE_ENOMEM ? "out of memory" : "it is not what was expected");
			c->exit = CONTROL_EXIT_FAILED;
		}
	}
	if (rc < 0)
		c->exit = CONTROL_EXIT_FAILED;
	if (fill || sl_ipc_flush(&c->ipc))
		control_lost(c);
	else
		source_set(st, &c->source, EPOLLIN | (sl_ipc_queued(&c->ipc) ? EPOLLOUT : 0));
}

/* Everything taken in is done and told. After the supervisor's death also: the workers have said all they wanted. */
static bool control_drained(struct control *c)
{
	struct store *st = c->store;

	if (st->mono_ms(st->clock_arg) >= c->deadline_ms)
		return true;
	if (c->lost && !sl_link_alone(&st->peers))
		return false;
	if (!sl_link_alone(&st->ready) || !sl_link_alone(&st->runnable) || payloads_busy(st) || st->backup)
		return false;
	for (struct sl_link *l = st->peers.next; l != &st->peers; l = l->next) {
		struct peer *p = SL_OF(l, struct peer, all);

		if (p->n_held || sl_ipc_queued(&p->ipc))
			return false;
	}
	return true;
}

/* The last batch: access times that were not worth a write of their own. */
static int control_finish(struct control *c)
{
	struct store *st = c->store;
	char why[256];
	int rc = batch_open(st);

	if (rc == SE_OK)
		rc = access_save(&st->txn, UINT32_MAX, true);
	if (st->txn.batch) {
		st->batch_rc = rc;
		batch_end(st);
	}
	if (st->shadow && shadow_compare(st, why, sizeof why)) {
		sl_log(SLUICE_LOG_ERR, "shadow differs %s", why);
		return CONTROL_EXIT_SHADOW;
	}
	sl_log(SLUICE_LOG_INFO, "stopped");
	return rc ? CONTROL_EXIT_FAILED : 0;
}

static int control_loop(struct control *c)
{
	struct store *st = c->store;

	while (c->exit < 0) {
		if (c->open ? store_turn(st, c->draining ? 50 : -1) : store_wait(st, -1))
			return CONTROL_EXIT_FAILED;
		if (c->draining && c->exit < 0 && control_drained(c)) {
			/* One look more: what was sent before the drain may have been behind it. */
			if (store_turn(st, 0))
				return CONTROL_EXIT_FAILED;
			if (control_drained(c))
				return control_finish(c);
		}
	}
	return c->exit;
}

int control_run(int fd)
{
	struct control *c = calloc(1, sizeof *c);
	int rc = CONTROL_EXIT_FAILED;

	if (!c)
		return rc;
	c->exit = -1;
	c->store = store_new();
	sl_ipc_init(&c->ipc, fd);
	if (!c->store || fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK)) {
		sl_log(SLUICE_LOG_ERR, "descriptor %d is not the control channel of a supervisor", fd);
	} else {
		c->source = (struct source){.fd = fd, .ready = control_ready};
		if (source_add(c->store, &c->source, EPOLLIN) == 0)
			rc = control_loop(c);
	}
	for (size_t i = 0; i < c->n_early; i++) {
		close(c->early[i].fd);
		free(c->early[i].name);
	}
	store_free(c->store);
	sl_ipc_fini(&c->ipc);
	free(c->data_dir);
	free(c);
	return rc;
}
