/*
 * setup.c - what a child is told before it starts to work, and the connections between workers and writer. Supervisor.
 *
 * Everything up to setup_done is queued at once; the child answers hello_back, later ready. Each worker has one socketpair to the
 * writer. While there is no writer to take its end, the end waits in child->peer_fd, so a worker can start and queue meanwhile.
 */
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "supervisor/supervisor.h"

/* The same memory through another descriptor, which other processes can map for reading only. */
static int metrics_readable(int fd)
{
	char path[64];
	int readable;

	snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	readable = open(path, O_RDONLY | O_CLOEXEC);
	return readable >= 0 ? readable : fcntl(fd, F_DUPFD_CLOEXEC, 0); /* where /proc is not mounted */
}

/* Fresh for each process; the one before stays readable until now. */
static int setup_metrics(struct child *c)
{
	struct sl_control_metrics m = {.memory = memfd_create("sluice-metrics", MFD_CLOEXEC | MFD_ALLOW_SEALING)};
	struct sl_metrics *map = NULL;
	int readable = -1, rc = SLUICE_ENOMEM;

	if (m.memory >= 0 && ftruncate(m.memory, SL_METRICS_BYTES) == 0 &&
	    fcntl(m.memory, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		map = sl_metrics_map(m.memory);
	if (map)
		readable = metrics_readable(m.memory);
	if (readable >= 0)
		rc = sl_put_control_metrics(&c->channel.ipc, &m);
	if (m.memory >= 0)
		close(m.memory); /* the queue holds a copy */
	if (rc) {
		sl_metrics_unmap(map);
		if (readable >= 0)
			close(readable);
		return rc;
	}
	sl_metrics_unmap(c->metrics);
	if (c->metrics_fd >= 0)
		close(c->metrics_fd);
	c->metrics = map;
	c->metrics_fd = readable;
	c->memory = ++c->super->memories;
	return 0;
}

static int setup_board(struct child *c)
{
	struct sl_control_board m = {.slot = c->slot, .memory = c->board_fd};

	return c->board_fd < 0 ? 0 : sl_put_control_board(&c->channel.ipc, &m);
}

static int setup_listeners(struct child *c)
{
	const struct sluice_conf *f = sl_options_frontend(c->gen->config->root, c->section);

	for (size_t i = 0; i < sl_conf_len(f, "listen"); i++) {
		struct listener *l = listener_find(c->super, f, i);
		struct sl_control_listener m = {.index = (uint32_t)i,
		                                .address = sl_slice_str(sl_options_address(sl_conf_at(f, "listen", i))),
		                                .socket = l ? l->fd : -1};

		if (!l || sl_put_control_listener(&c->channel.ipc, &m))
			return SLUICE_ENOMEM;
	}
	return 0;
}

static const struct config *setup_config(const struct child *c)
{
	switch (c->kind) {
	case CHILD_WORKER:
		return c->gen->config;
	case CHILD_CHECK:
		return check_config(c->check);
	default:
		return c->super->config;
	}
}

/* Hands the waiting end of a worker's connection to the writer. */
static void setup_peer(struct child *worker)
{
	struct child *store = worker->super->store;
	struct sl_control_peer m = {.name = sl_slice_str(worker->name), .socket = worker->peer_fd};

	if (worker->peer_fd < 0 || !store || store->state != CHILD_READY)
		return;
	if (sl_put_control_peer(&store->channel.ipc, &m))
		sl_log(SLUICE_LOG_ERR, "link name=%s error=\"out of memory or descriptors\"", worker->name);
	channel_flush(&store->channel);
	close(worker->peer_fd); /* when it did not get through, the worker sees the end of its connection */
	worker->peer_fd = -1;
}

void setup_link(struct child *worker)
{
	int pair[2];
	struct sl_control_store_link m;
	int rc;

	if (worker->peer_fd >= 0)
		close(worker->peer_fd);
	worker->peer_fd = -1;
	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		sl_log_errno(SLUICE_LOG_ERR, "link name=%s", worker->name);
		return;
	}
	m.socket = pair[0];
	rc = sl_put_control_store_link(&worker->channel.ipc, &m);
	close(pair[0]); /* the queue holds a copy */
	if (rc) {
		close(pair[1]);
		sl_log(SLUICE_LOG_ERR, "link name=%s error=\"out of memory or descriptors\"", worker->name);
		return;
	}
	worker->links++;
	worker->unlinked = false;
	worker->peer_fd = pair[1];
	setup_peer(worker);
}

void setup_peers(struct supervisor *s)
{
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		if (c->kind != CHILD_WORKER || c->state == CHILD_DOWN || c->state == CHILD_KILLED || !c->channel.open)
			continue;
		if (c->peer_fd >= 0) {
			setup_peer(c); /* started without a writer: its connection is still unused */
		} else {
			setup_link(c);
			channel_flush(&c->channel);
		}
	}
}

int setup_send(struct child *c)
{
	const struct config *config = setup_config(c);
	struct sl_control_hello hello = {.protocol = SL_CONTROL_PROTOCOL, .build = sl_slice_str(SL_BUILD)};
	struct sl_control_setup setup = {
	        .name = sl_slice_str(c->name),
	        .section = sl_slice_str(c->section ? c->section : ""),
	        .generation = c->gen ? c->gen->number : 0,
	        .config_file = sl_slice_str(config->file),
	        .config = sl_buf_slice(&config->text),
	        .data_dir = sl_slice_str(c->super->data.path ? c->super->data.path : ""),
	        .log_level = (uint8_t)sl_log_level_get(),
	        .check = c->kind == CHILD_CHECK,
	        .begun = c->super->begun,
	};
	struct sl_control_setup_done done = {};
	int rc = sl_put_control_hello(&c->channel.ipc, &hello);

	if (rc == 0)
		rc = sl_put_control_setup(&c->channel.ipc, &setup);
	if (rc == 0 && c->kind != CHILD_CHECK)
		rc = setup_metrics(c);
	if (rc == 0 && c->kind == CHILD_WORKER)
		rc = setup_board(c);
	if (rc == 0 && c->kind == CHILD_WORKER)
		rc = setup_listeners(c);
	if (rc == 0 && c->kind == CHILD_WORKER) {
		setup_link(c);
		rc = c->peer_fd >= 0 || (c->super->store && c->super->store->state == CHILD_READY) ? 0 : SLUICE_ENOMEM;
		presence_link(c);
	}
	return rc ? rc : sl_put_control_setup_done(&c->channel.ipc, &done);
}
