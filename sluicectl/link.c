/*
 * link.c - the control connection: one request at a time, answered by items and one done. sluicectl.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/unix.h"
#include "sluicectl/ctl.h"

static int link_on_welcome(void *arg, const struct sl_admin_welcome *m)
{
	struct link *l = arg;

	l->build = sl_slice_dup(m->build);
	l->pid = m->pid;
	l->greeted = m->protocol == SL_ADMIN_PROTOCOL;
	l->done = true;
	return l->build ? 0 : SLUICE_ENOMEM;
}

static int link_on_done(void *arg, const struct sl_admin_done *m)
{
	struct link *l = arg;

	l->status = m->status;
	l->done = true;
	sl_buf_drain(&l->text, l->text.len);
	return sl_buf_add(&l->text, m->text.data ? m->text.data : "", m->text.len) || sl_buf_add(&l->text, "", 1)
	               ? SLUICE_ENOMEM
	               : 0;
}

static int link_on_note(void *arg, const struct sl_admin_note *m)
{
	(void)arg;
	fprintf(stderr, "%.*s\n", (int)m->text.len, m->text.len ? (const char *)m->text.data : "");
	return 0;
}

static int link_on_store(void *arg, const struct sl_admin_store_link *m)
{
	struct link *l = arg;

	if (l->store_fd >= 0)
		close(l->store_fd);
	free(l->data_dir);
	l->store_fd = m->socket;
	l->data_dir = sl_slice_dup(m->data_dir);
	return l->data_dir ? 0 : SLUICE_ENOMEM;
}

const char *link_text(const struct link *l)
{
	return l->text.len ? (const char *)sl_buf_slice(&l->text).data : "";
}

int link_refused(const struct link *l)
{
	ctl_error("%s", *link_text(l) ? link_text(l) : "the server refused");
	return CTL_FAILED;
}

/* Items of a later build are passed over. */
static int link_receive(struct link *l)
{
	uint16_t id;
	sl_slice body;
	int got;

	while (!l->done && (got = sl_ipc_next(&l->ipc, &id, &body)) != 0) {
		if (got > 0 && strcmp(sl_admin_name(id), "?") == 0)
			continue;
		if (got < 0 || sl_admin_dispatch(&l->handlers, SL_TO_CTL, l, &l->ipc, id, body)) {
			ctl_error("what the server at %s says is not understood; is it another program?", l->path);
			return CTL_FAILED;
		}
	}
	return CTL_OK;
}

static int link_wait(struct link *l, int wait_ms)
{
	int rc, lost = 0;

	l->done = false;
	for (;;) {
		struct pollfd p = {.fd = l->ipc.fd, .events = POLLIN};

		if (sl_ipc_flush(&l->ipc) == 0 && sl_ipc_queued(&l->ipc) > 0)
			p.events |= POLLOUT;
		rc = link_receive(l);
		if (rc || l->done)
			return rc;
		if (lost) {
			ctl_error("the server at %s ended the connection", l->path);
			return CTL_AWAY;
		}
		if (l->idle)
			l->idle(l);
		rc = poll(&p, 1, l->idle ? LINK_IDLE_MS : wait_ms);
		if (rc == 0 && !l->idle) {
			ctl_error("the server at %s does not answer", l->path);
			return CTL_AWAY;
		}
		if (rc > 0 && p.revents & ~POLLOUT)
			lost = sl_ipc_fill(&l->ipc);
	}
}

int link_ask(struct link *l, const struct sl_admin_handlers *h, void *user, int wait_ms)
{
	int rc;

	l->handlers = h ? *h : (struct sl_admin_handlers){0};
	l->handlers.done = link_on_done;
	l->handlers.note = link_on_note;
	l->handlers.store_link = link_on_store;
	l->user = user;
	rc = link_wait(l, wait_ms);
	return rc ? rc : l->status == SLUICE_OK ? CTL_OK : CTL_FAILED;
}

static int link_greet(struct link *l)
{
	struct sl_admin_hello m = {.protocol = SL_ADMIN_PROTOCOL, .build = SL_STR(SL_BUILD)};
	int rc;

	l->handlers = (struct sl_admin_handlers){.welcome = link_on_welcome, .done = link_on_done};
	if (sl_put_admin_hello(&l->ipc, &m)) {
		ctl_error("out of memory");
		return CTL_FAILED;
	}
	rc = link_wait(l, LINK_SOON_MS);
	if (rc || l->greeted)
		return rc;
	if (!l->build)
		return link_refused(l);
	ctl_error("the server is of build %s, this sluicectl of build %s; use the one of the server", l->build,
	          SL_BUILD);
	return CTL_FAILED;
}

static int link_connect(const char *path)
{
	int fd = sl_unix_connect(path);

	if (fd >= 0)
		fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
	else if (errno == ENOENT || errno == ECONNREFUSED)
		ctl_error("no server answers at %s: is sluiced running? (--socket or --config say where)", path);
	else
		ctl_error("%s: %s%s", path, strerror(errno),
		          errno == EACCES ? "; only root and the user that sluiced runs as may use it" : "");
	return fd;
}

int link_open(const struct ctl *ctl, struct link *l)
{
	struct sl_buf mistakes;
	int fd, rc;

	sl_buf_init(&mistakes);
	*l = (struct link){.store_fd = -1, .path = locate_socket(ctl, &mistakes)};
	sl_ipc_init(&l->ipc, -1);
	sl_buf_init(&l->text);
	fd = l->path ? link_connect(l->path) : -1;
	/* The server runs on what the file was before, and says itself what is wrong with it; without one, this may be why. */
	if (l->path && fd < 0)
		locate_tell(&mistakes);
	sl_buf_fini(&mistakes);
	if (fd < 0) {
		link_close(l);
		return CTL_AWAY;
	}
	sl_ipc_init(&l->ipc, fd);
	rc = link_greet(l);
	if (rc)
		link_close(l);
	return rc;
}

bool link_wait_end(struct link *l, int wait_ms)
{
	struct pollfd p = {.fd = l->ipc.fd, .events = POLLIN};
	uint16_t id;
	sl_slice body;

	while (poll(&p, 1, wait_ms) != 0) {
		if (sl_ipc_fill(&l->ipc))
			return true;
		while (sl_ipc_next(&l->ipc, &id, &body) > 0)
			;
	}
	return false;
}

void link_close(struct link *l)
{
	if (l->store_fd >= 0)
		close(l->store_fd);
	l->store_fd = -1;
	sl_ipc_fini(&l->ipc);
	sl_buf_fini(&l->text);
	free(l->path);
	free(l->build);
	free(l->data_dir);
	l->path = l->build = l->data_dir = NULL;
}
