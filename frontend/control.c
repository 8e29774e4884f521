/*
 * control.c - the channel to the supervisor on descriptor 3: handshake, listeners, links, pings, drain. Process:
 * sluice-frontend.
 *
 * Its end means that the supervisor died: listeners are closed at once so that a successor can bind, then the worker
 * drains.
 */
#include "frontend/worker.h"
#include "lib/build.h"
#include "lib/log.h"

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

static int on_hello(void *arg, const struct sl_control_hello *m)
{
	struct worker *w = arg;
	struct sl_control_hello_back back = {.protocol = SL_CONTROL_PROTOCOL, .build = SL_STR(SL_BUILD)};

	if (sl_put_control_hello_back(&w->control, &back))
		return SLUICE_ENOMEM;
	if (m->protocol == SL_CONTROL_PROTOCOL && sl_slice_is(m->build, SL_BUILD))
		return 0;
	control_failed(w, "the supervisor is of another build", true);
	return SLUICE_EDENIED;
}

static int on_setup(void *arg, const struct sl_control_setup *m)
{
	struct worker *w = arg;

	if (w->state != WORKER_SETUP || w->name)
		return SLUICE_EINVAL;
	w->name = sl_slice_dup(m->name);
	w->section = sl_slice_dup(m->section);
	w->config_file = sl_slice_dup(m->config_file);
	w->data_dir = sl_slice_dup(m->data_dir);
	w->generation = m->generation;
	w->check = m->check != 0;
	if (!w->name || !w->section || !w->config_file || !w->data_dir ||
	    sl_buf_add(&w->config_text, m->config.data, m->config.len))
		return SLUICE_ENOMEM;
	sl_log_init(w->name, m->log_level <= SLUICE_LOG_DEBUG ? (enum sluice_level)m->log_level : SLUICE_LOG_INFO);
	return 0;
}

static int on_listener(void *arg, const struct sl_control_listener *m)
{
	struct worker *w = arg;
	char *address;

	if (w->state != WORKER_SETUP || w->n_listener == LISTENERS_MAX) {
		close(m->socket);
		return SLUICE_EINVAL;
	}
	address = sl_slice_dup(m->address);
	if (!address) {
		close(m->socket);
		return SLUICE_ENOMEM;
	}
	w->listener[w->n_listener].index = m->index;
	w->listener[w->n_listener].address = address;
	w->listener[w->n_listener].fd = m->socket;
	w->n_listener++;
	return 0;
}

static int on_store_link(void *arg, const struct sl_control_store_link *m)
{
	struct worker *w = arg;

	w->links++;
	if (w->state == WORKER_SETUP) {
		if (w->link >= 0)
			close(w->link);
		w->link = m->socket;
		return 0;
	}
	return store_link(w, m->socket);
}

static int on_presence_link(void *arg, const struct sl_control_presence_link *m)
{
	struct worker *w = arg;

	w->presence_links++;
	if (w->state == WORKER_SETUP) {
		if (w->presence_link >= 0)
			close(w->presence_link);
		w->presence_link = m->socket;
		return 0;
	}
	return member_link(w, m->socket);
}

static int on_presence_peer(void *arg, const struct sl_control_presence_peer *m)
{
	return eph_server_peer(arg, m->socket);
}

static int on_metrics(void *arg, const struct sl_control_metrics *m)
{
	struct worker *w = arg;
	struct sl_metrics *map = w->state == WORKER_SETUP ? sl_metrics_map(m->memory) : NULL;

	close(m->memory);
	if (!map)
		return SLUICE_EINVAL;
	sl_metrics_unmap(w->metrics);
	w->metrics = map;
	return 0;
}

static int on_board(void *arg, const struct sl_control_board *m)
{
	struct worker *w = arg;
	struct sl_board *board =
		w->state == WORKER_SETUP && !w->board && m->slot < SL_BOARD_SLOTS ? sl_board_map(m->memory) : NULL;

	close(m->memory);
	if (!board)
		return SLUICE_EINVAL;
	w->board = board;
	w->slot = m->slot;
	return 0;
}

static int on_roster_memory(void *arg, const struct sl_control_roster_memory *m)
{
	return roster_memory(arg, m->number, m->memory);
}

static int on_roster(void *arg, const struct sl_control_roster *m)
{
	return roster_replace(arg, m);
}

static int on_setup_done(void *arg, const struct sl_control_setup_done *m)
{
	struct worker *w = arg;

	(void)m;
	if (w->state != WORKER_SETUP || !w->name)
		return SLUICE_EINVAL;
	worker_begin(w);
	return 0;
}

static int on_ping(void *arg, const struct sl_control_ping *m)
{
	struct worker *w = arg;

	eph_server_relink(w);
	return sl_put_control_pong(&w->control, &(struct sl_control_pong){.n = m->n});
}

static int on_drain(void *arg, const struct sl_control_drain *m)
{
	worker_drain(arg, m->deadline_ms, m->idle_ms);
	return 0;
}

static int on_log_level(void *arg, const struct sl_control_log_level *m)
{
	(void)arg;
	if (m->level <= SLUICE_LOG_DEBUG)
		sl_log_level((enum sluice_level)m->level);
	return 0;
}

static const struct sl_control_handlers control_handlers = {
	.hello = on_hello,
	.setup = on_setup,
	.listener = on_listener,
	.store_link = on_store_link,
	.presence_link = on_presence_link,
	.presence_peer = on_presence_peer,
	.metrics = on_metrics,
	.board = on_board,
	.roster_memory = on_roster_memory,
	.roster = on_roster,
	.setup_done = on_setup_done,
	.ping = on_ping,
	.drain = on_drain,
	.log_level = on_log_level,
};

/* The supervisor is gone, or not to be understood. */
static void control_lost(struct worker *w, const char *why)
{
	control_close(w);
	sl_log(SLUICE_LOG_WARN, "control_lost why=\"%s\"", why);
	if (w->state == WORKER_SETUP || w->check) {
		w->exit_code = EXIT_FAILURE;
		w->quit = true;
		return;
	}
	worker_drain(w, w->conf ? (uint64_t)sl_conf_int(w->conf, "limits.drain_timeout") : 10000, 0);
}

static void control_readable(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	uint16_t id;
	sl_slice body;
	int lost = sl_ipc_fill(&w->control), rc;

	(void)fd;
	(void)what;
	while ((rc = sl_ipc_next(&w->control, &id, &body)) > 0) {
		rc = sl_control_dispatch(&control_handlers, SL_TO_CHILD, w, &w->control, id, body);
		if (rc) {
			sl_log(SLUICE_LOG_ERR, "control_message_refused message=%s why=\"%s\"", sl_control_name(id),
			       rc == SLUICE_ENOMEM ? "out of memory" : "it is not what was expected");
			break;
		}
	}
	control_flush(w, false);
	if (rc)
		control_lost(w, rc == SLUICE_ENOMEM ? "there is no memory for a message of the supervisor"
		                                    : "a message of the supervisor was refused");
	else if (lost)
		control_lost(w, lost == SLUICE_ELOST ? "the supervisor ended" : "the channel failed");
}

static void control_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	control_flush(arg, false);
}

int control_open(struct worker *w, int fd)
{
	if (fcntl(fd, F_SETFD, FD_CLOEXEC) || fcntl(fd, F_SETFL, O_NONBLOCK))
		return SLUICE_EINVAL;
	sl_ipc_init(&w->control, fd);
	w->ev_control = event_new(w->base, fd, EV_READ | EV_PERSIST, control_readable, w);
	w->ev_control_write = event_new(w->base, fd, EV_WRITE, control_writable, w);
	if (!w->ev_control || !w->ev_control_write || event_add(w->ev_control, NULL))
		return SLUICE_ENOMEM;
	return 0;
}

void control_close(struct worker *w)
{
	if (w->ev_control)
		event_free(w->ev_control);
	if (w->ev_control_write)
		event_free(w->ev_control_write);
	w->ev_control = w->ev_control_write = NULL;
	sl_ipc_fini(&w->control);
}

void control_flush(struct worker *w, bool wait)
{
	struct pollfd p = {.fd = w->control.fd, .events = POLLOUT};

	if (w->control.fd < 0)
		return;
	for (int i = 0; sl_ipc_queued(&w->control) > 0 && i < 100; i++) {
		if (sl_ipc_flush(&w->control))
			return; /* its end is noticed by reading */
		if (sl_ipc_queued(&w->control) == 0 || !wait)
			break;
		poll(&p, 1, 10);
	}
	if (sl_ipc_queued(&w->control) > 0 && w->ev_control_write)
		event_add(w->ev_control_write, NULL);
}

static void control_plugin(struct worker *w, const struct sluice_ctx *ctx)
{
	char file[PATH_MAX];
	struct sl_control_plugin m = {.name = sl_slice_str(ctx->plugin->name),
	                              .version = sl_slice_str(ctx->plugin->version ? ctx->plugin->version : ""),
	                              .abi_major = ctx->plugin->abi_major,
	                              .abi_minor = ctx->plugin->abi_minor,
	                              .mount = sl_slice_str(ctx->mount)};

	if (load_path(sl_conf_str(ctx->conf, "plugin"), file, sizeof file))
		return;
	m.file = sl_slice_str(file);
	(void)sl_put_control_plugin(&w->control, &m);
}

/* Messages that cannot be queued for want of memory are not sent: the supervisor's time limits cover it. */
void control_ready(struct worker *w)
{
	for (const struct sluice_ctx *ctx = w->control.fd < 0 ? NULL : w->instances; ctx; ctx = ctx->next)
		control_plugin(w, ctx);
	if (w->control.fd >= 0)
		(void)sl_put_control_ready(&w->control, &(struct sl_control_ready){});
	control_flush(w, false);
}

void control_roster_wanted(struct worker *w)
{
	if (w->control.fd >= 0)
		(void)sl_put_control_roster_wanted(&w->control, &(struct sl_control_roster_wanted){});
}

/* The supervisor sees the death of the writer by itself, but not when the writer lives and gave up this connection only. */
void control_store_lost(struct worker *w)
{
	if (w->control.fd >= 0)
		(void)sl_put_control_store_lost(&w->control, &(struct sl_control_store_lost){.links = w->links});
	control_flush(w, false);
}

/* Likewise of the presence worker. */
void control_presence_lost(struct worker *w)
{
	if (w->control.fd >= 0)
		(void)sl_put_control_presence_lost(&w->control, &(struct sl_control_presence_lost){.links = w->presence_links});
	control_flush(w, false);
}

void control_failed(struct worker *w, const char *why, bool final)
{
	sl_log(SLUICE_LOG_ERR, "failed final=%d why=\"%s\"", final, why);
	if (w->control.fd >= 0)
		(void)sl_put_control_failed(&w->control,
		                            &(struct sl_control_failed){.why = sl_slice_str(why), .final = final});
	control_flush(w, true);
}

void control_check_error(struct worker *w, unsigned line, unsigned column, const char *text)
{
	if (w->control.fd >= 0)
		(void)sl_put_control_check_error(
			&w->control,
			&(struct sl_control_check_error){.line = line, .column = column, .text = sl_slice_str(text)});
}

void control_check_warning(void *worker, const char *text)
{
	struct worker *w = worker;

	if (w->control.fd >= 0)
		(void)sl_put_control_check_warning(&w->control, &(struct sl_control_check_warning){.text = sl_slice_str(text)});
}

void control_checked(struct worker *w, uint32_t errors, sl_slice effective, bool secrets)
{
	if (w->control.fd >= 0)
		(void)sl_put_control_checked(&w->control,
		                             &(struct sl_control_checked){.errors = errors, .effective = effective, .secrets = secrets});
	control_flush(w, true);
}
