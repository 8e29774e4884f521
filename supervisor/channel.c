/*
 * channel.c - a connection to another process of ours: a child, a successor, a predecessor. Supervisor.
 *
 * Who sends nonsense or does not read what it is sent loses its connection; what becomes of the process is decided by the owner.
 */
#include "lib/log.h"
#include "supervisor/supervisor.h"

enum { QUEUE_MAX = 8 * 1024 * 1024 };

static void channel_lose(struct channel *c, const char *why)
{
	if (!c->open)
		return;
	c->open = false;
	event_del(c->readable);
	event_del(c->writable);
	c->lost(c->arg, why);
}

/* One reading of the socket; false when there is nothing more to be had. */
static bool channel_turn(struct channel *c)
{
	int rc = sl_ipc_fill(&c->ipc), got;
	uint16_t id;
	sl_slice body;

	while (c->open && (got = sl_ipc_next(&c->ipc, &id, &body)) != 0) {
		if (got < 0 || c->receive(c->arg, &c->ipc, id, body)) {
			channel_lose(c, "it sent something that is not understood");
			return false;
		}
	}
	if (rc)
		channel_lose(c, rc == SLUICE_ELOST    ? "it closed its control channel"
		                : rc == SLUICE_ENOMEM ? "no memory for what it says"
		                                      : "its control channel is broken");
	return rc == 0;
}

static void channel_on_read(evutil_socket_t fd, short what, void *arg)
{
	struct channel *c = arg;

	(void)fd;
	(void)what;
	channel_turn(c);
	channel_flush(c);
}

static void channel_on_write(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	channel_flush(arg);
}

int channel_open(struct channel *c, struct event_base *base, int fd, channel_receive_fn *receive,
                 void (*lost)(void *, const char *), void *arg)
{
	memset(c, 0, sizeof *c);
	sl_ipc_init(&c->ipc, fd);
	c->receive = receive;
	c->lost = lost;
	c->arg = arg;
	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, channel_on_read, c);
	c->writable = event_new(base, fd, EV_WRITE | EV_PERSIST, channel_on_write, c);
	if (!c->readable || !c->writable || event_add(c->readable, NULL)) {
		channel_close(c);
		return SLUICE_ENOMEM;
	}
	c->open = true;
	return 0;
}

void channel_flush(struct channel *c)
{
	if (!c->open)
		return;
	/* The end of the connection is found by reading, after everything that the child had to say. */
	if (sl_ipc_flush(&c->ipc) || sl_ipc_queued(&c->ipc) == 0)
		event_del(c->writable);
	else if (sl_ipc_queued(&c->ipc) > QUEUE_MAX)
		channel_lose(c, "it does not read its control channel");
	else
		event_add(c->writable, NULL);
}

void channel_drain(struct channel *c)
{
	/* The process is dead: what it wrote is bounded by the socket's buffer, and the end follows. */
	for (int i = 0; i < 64 && c->open && channel_turn(c); i++)
		;
}

void channel_close(struct channel *c)
{
	c->open = false;
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	c->readable = c->writable = NULL;
	sl_ipc_fini(&c->ipc);
}
