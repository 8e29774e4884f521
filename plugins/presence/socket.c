/*
 * socket.c - channels by WebSocket: the state first, then every accepted update; each message of the client is one.
 * Plugin presence, worker process.
 *
 * Closed with 1007 for a malformed update, 1009 for one too large, 1013 for a client that is too slow or a server that is
 * overloaded, 1012 when the presence worker is lost, 4410 when the channel is terminated.
 */
#include <stdlib.h>

#include "presence.h"

static void peer_free(struct peer *s)
{
	s->magic = 0;
	free(s);
}

static void socket_close(struct peer *s, int code, const char *reason)
{
	s->p->eph->unsubscribe(s->sub);
	s->sub = NULL;
	s->p->host->ws->close(s->ws, code, reason);
}

static void socket_state(void *arg, const struct sluice_channel_state *state)
{
	struct peer *s = arg;

	if (state->status)
		socket_close(s, 1013, "not available, try again");
	else if (s->p->host->ws->send(s->ws, SLICE(state->state.data ? state->state.data : "", state->state.len), 1))
		socket_close(s, 1013, "too slow");
}

static void socket_event(void *arg, const struct sluice_channel_event *e)
{
	struct peer *s = arg;
	struct presence *p = s->p;
	struct sluice_buf *buf;

	if (e->kind == SLUICE_CHANNEL_TERMINATE) {
		bool lost = e->flags & SLUICE_CHANNEL_LOST;

		socket_close(s, lost ? 1012 : 4410, lost ? "presence is starting again" : "terminated");
	} else if (e->kind == SLUICE_CHANNEL_DATA) {
		buf = event_message(p, e);
		if (!buf || p->host->ws->send_buf(s->ws, buf, 1))
			socket_close(s, 1013, "too slow");
		else
			++*p->n_delivered;
	}
}

int socket_open(void *self, struct sluice_ws *ws)
{
	struct presence *p = self;
	char name[sizeof DOOR + CHANNEL_MAX];
	struct sluice_channel channel;
	struct peer *s;

	if (!channel_of(p->host->ws->path(ws), name, &channel))
		return SLUICE_EINVAL;
	s = calloc(1, sizeof *s);
	if (!s)
		return SLUICE_ENOMEM;
	s->magic = PEER_MAGIC;
	s->p = p;
	s->ws = ws;
	*p->host->ws->slot(ws) = s;
	++*p->n_sockets;
	if (p->eph->subscribe(p->ctx, &channel, socket_state, socket_event, s, &s->sub))
		p->host->ws->close(ws, 1013, "not available, try again");
	return 0;
}

static void socket_applied(void *arg, int status)
{
	struct peer *s = arg;

	s->waiting--;
	if (s->gone) {
		if (s->waiting == 0)
			peer_free(s);
	} else if (status == SLUICE_ETOOBIG) {
		socket_close(s, 1009, "the channel would grow beyond its limit");
	} else if (status == SLUICE_EINVAL) {
		socket_close(s, 1007, "malformed update");
	} else if (status && status != SLUICE_ELOST) { /* lost: the subscription says so */
		socket_close(s, 1013, "not available, try again");
	}
}

void socket_message(void *self, struct sluice_ws *ws, slice message, int binary)
{
	struct presence *p = self;
	struct peer *s = *p->host->ws->slot(ws);
	char name[sizeof DOOR + CHANNEL_MAX];
	struct sluice_channel channel;
	int rc;

	if (!s || !s->sub || !channel_of(p->host->ws->path(ws), name, &channel))
		return;
	++*p->n_updates;
	rc = binary ? p->eph->apply(p->ctx, &channel, 0, message, socket_applied, s, NULL) : SLUICE_EINVAL;
	if (rc == 0) {
		s->waiting++;
		return;
	}
	++*p->n_refused;
	if (rc == SLUICE_EINVAL)
		socket_close(s, 1007, "malformed update");
	else if (rc == SLUICE_ETOOBIG)
		socket_close(s, 1009, "the update is too large");
	else
		socket_close(s, 1013, "not available, try again");
}

void socket_closed(void *self, struct sluice_ws *ws, int code)
{
	struct presence *p = self;
	struct peer *s = *p->host->ws->slot(ws);

	(void)code;
	if (!s)
		return;
	*p->host->ws->slot(ws) = NULL;
	--*p->n_sockets;
	p->eph->unsubscribe(s->sub);
	s->sub = NULL;
	s->gone = true;
	if (s->waiting == 0)
		peer_free(s);
}
