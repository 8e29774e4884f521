/*
 * server.c - the registry of ephemeral channels as a part of the presence worker: its members' connections, the clock,
 * and what the writer says about streams that end. Process: sluice-frontend, only the worker that mounts `presence`.
 *
 * Members are other workers and this one itself. They carry other people's code, so everything they send is checked
 * here again; one that sends nonsense, or does not take what it is sent, loses its connection.
 */
#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "frontend/worker.h"
#include "lib/build.h"
#include "lib/log.h"

enum {
	READ_STOP = 8 << 20,  /* queued for a member: it is not read any more ... */
	READ_AGAIN = 4 << 20, /* ... until fewer than this are left */
	PIECES_MAX = EPH_UPDATE_MAX + EPH_PIECE
};

struct eph_server {
	struct worker *worker;
	struct eph_registry *registry;
	struct sl_link peers;
	struct sluice_ctx watcher; /* whose subscription hears of every stream, whatever the prefix of the mount is */
	struct sluice_sub *streams;
	struct event *purge;
	uint8_t volume; /* of the store: another one knows none of the streams */
	uint64_t *n_channels, *n_bytes;
};

/* -- hooks of the registry -- */

static int64_t hook_wall(void *arg)
{
	return (int64_t)worker_wall(((struct eph_server *)arg)->worker);
}

static int hook_alive(void *arg, uint64_t incarnation)
{
	struct worker *w = ((struct eph_server *)arg)->worker;
	struct sl_reader *reader = w->store.reader;
	struct sl_facts f;
	int rc;

	if (!reader || sl_reader_begin(reader))
		return SLUICE_EBUSY;
	rc = sl_reader_facts_id(reader, incarnation, &f);
	sl_reader_end(reader);
	return rc ? SLUICE_EBUSY : f.status == SLUICE_OK;
}

/* -- what members say -- */

static struct eph_peer *peer_of(void *arg)
{
	struct eph_peer *p = arg;

	assert(p->magic == EPH_PEER_MAGIC);
	return p;
}

static int peer_done(struct eph_peer *p, uint64_t req, int status)
{
	return sl_put_presence_done(&p->ipc, &(struct sl_presence_done){.req = req, .status = status});
}

/* The bytes of a message with those that came before it. */
static int peer_joined(struct eph_peer *p, sl_slice last, sl_slice *out)
{
	*out = last;
	if (p->pieces.len == 0)
		return 0;
	if (sl_buf_add(&p->pieces, last.data, last.len))
		return SLUICE_ENOMEM;
	*out = sl_buf_slice(&p->pieces);
	return 0;
}

static int on_hello(void *arg, const struct sl_presence_hello *m)
{
	struct sl_presence_welcome welcome = {.protocol = SL_PRESENCE_PROTOCOL, .build = SL_STR(SL_BUILD)};

	if (m->protocol != SL_PRESENCE_PROTOCOL || !sl_slice_is(m->build, SL_BUILD))
		return SLUICE_EDENIED;
	return sl_put_presence_welcome(&peer_of(arg)->ipc, &welcome);
}

static int on_more(void *arg, const struct sl_presence_more *m)
{
	struct eph_peer *p = peer_of(arg);

	if (p->pieces.len + m->data.len > PIECES_MAX)
		return SLUICE_ETOOBIG;
	return sl_buf_add(&p->pieces, m->data.data, m->data.len);
}

/* The last piece of what an update, or a frame that is only relayed, consists of. */
static int peer_whole(struct eph_peer *p, uint64_t req, const struct eph_channel_id *id, uint64_t tag, sl_slice last,
                      int (*take)(struct eph_registry *, struct eph_peer *, const struct eph_channel_id *, uint64_t, sl_slice))
{
	sl_slice data;
	int status;

	if (peer_joined(p, last, &data))
		return SLUICE_ENOMEM;
	status = take(p->server->registry, p, id, tag, data);
	sl_buf_drain(&p->pieces, SIZE_MAX);
	sl_buf_shrink(&p->pieces);
	return peer_done(p, req, status);
}

static int on_apply(void *arg, const struct sl_presence_apply *m)
{
	struct eph_channel_id id = {m->channel, m->incarnation};

	return peer_whole(peer_of(arg), m->req, &id, m->tag, m->data, eph_registry_apply);
}

static int on_put(void *arg, const struct sl_presence_put *m)
{
	struct eph_peer *p = peer_of(arg);
	struct eph_channel_id id = {m->channel, m->incarnation};

	return peer_done(p, m->req, eph_registry_put(p->server->registry, p, &id, m->tag, m->owner, m->key, m->value));
}

static int on_cast(void *arg, const struct sl_presence_cast *m)
{
	struct eph_channel_id id = {m->channel, m->incarnation};

	return peer_whole(peer_of(arg), m->req, &id, m->tag, m->data, eph_registry_cast);
}

static int on_disown(void *arg, const struct sl_presence_disown *m)
{
	struct eph_peer *p = peer_of(arg);

	eph_registry_disown(p->server->registry, p, m->owner);
	return 0;
}

static int on_look(void *arg, const struct sl_presence_look *m)
{
	struct eph_peer *p = peer_of(arg);
	struct eph_channel_id id = {m->channel, m->incarnation};

	return eph_registry_look(p->server->registry, p, m->req, m->watch, &id);
}

static int on_unwatch(void *arg, const struct sl_presence_unwatch *m)
{
	struct eph_peer *p = peer_of(arg);

	eph_registry_unwatch(p->server->registry, p, m->watch);
	return 0;
}

static int on_audience(void *arg, const struct sl_presence_audience *m)
{
	struct eph_peer *p = peer_of(arg);

	eph_registry_audience(p->server->registry, p, m->watch, m->subscribers);
	return 0;
}

static int on_clear(void *arg, const struct sl_presence_clear *m)
{
	struct eph_peer *p = peer_of(arg);

	eph_registry_clear(p->server->registry, m->prefix, m->terminate);
	return peer_done(p, m->req, 0);
}

static int on_list(void *arg, const struct sl_presence_list *m)
{
	struct eph_peer *p = peer_of(arg);

	return eph_registry_list(p->server->registry, p, m->req, m->prefix, m->after, m->limit);
}

static const struct sl_presence_handlers server_handlers = {
	.hello = on_hello,
	.more = on_more,
	.apply = on_apply,
	.put = on_put,
	.cast = on_cast,
	.disown = on_disown,
	.look = on_look,
	.unwatch = on_unwatch,
	.audience = on_audience,
	.clear = on_clear,
	.list = on_list,
};

/* -- connections -- */

static void peer_readable(evutil_socket_t fd, short what, void *arg)
{
	struct eph_peer *p = peer_of(arg);
	int lost = sl_ipc_fill(&p->ipc), rc;
	uint16_t id;
	sl_slice body;

	(void)fd;
	(void)what;
	while (!p->ended && (rc = sl_ipc_next(&p->ipc, &id, &body)) != 0) {
		if (rc > 0)
			rc = sl_presence_dispatch(&server_handlers, SL_TO_REGISTRY, p, &p->ipc, id, body);
		if (rc == 0)
			continue;
		sl_log(SLUICE_LOG_ERR, "presence_member_refused message=%s why=\"%s\"", sl_presence_name(id),
		       rc == SLUICE_ENOMEM ? "out of memory" : "it is not what was expected");
		p->ended = true;
	}
	if (lost)
		p->ended = true;
}

static void peer_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg; /* eph_server_turn() flushes */
}

static void peer_free(struct eph_peer *p)
{
	eph_registry_peer_gone(p->server->registry, p);
	if (p->readable)
		event_free(p->readable);
	if (p->writable)
		event_free(p->writable);
	sl_link_del(&p->all);
	sl_ipc_fini(&p->ipc);
	sl_buf_fini(&p->pieces);
	p->magic = 0;
	free(p);
}

int eph_server_peer(struct worker *w, int fd)
{
	struct eph_server *s = w->ephemeral;
	struct eph_peer *p = s ? calloc(1, sizeof *p) : NULL;

	if (!p) {
		close(fd);
		return s ? SLUICE_ENOMEM : SLUICE_EINVAL;
	}
	p->magic = EPH_PEER_MAGIC;
	p->server = s;
	sl_ipc_init(&p->ipc, fd);
	sl_link_init(&p->kept);
	sl_link_init(&p->looks);
	sl_link_add(&s->peers, &p->all);
	p->readable = event_new(w->base, fd, EV_READ | EV_PERSIST, peer_readable, p);
	p->writable = event_new(w->base, fd, EV_WRITE, peer_writable, p);
	if (p->readable && p->writable && event_add(p->readable, NULL) == 0)
		return 0;
	peer_free(p);
	return SLUICE_ENOMEM;
}

static void peer_turn(struct eph_server *s, struct eph_peer *p)
{
	eph_registry_room(s->registry, p);
	if (sl_ipc_queued(&p->ipc) == 0)
		return;
	if (sl_ipc_flush(&p->ipc)) {
		p->ended = true;
		return;
	}
	if (sl_ipc_queued(&p->ipc) > 0)
		event_add(p->writable, NULL);
	if (sl_ipc_queued(&p->ipc) > READ_STOP)
		event_del(p->readable);
	else if (sl_ipc_queued(&p->ipc) < READ_AGAIN && !event_pending(p->readable, EV_READ, NULL))
		event_add(p->readable, NULL);
}

void eph_server_turn(struct worker *w)
{
	struct eph_server *s = w->ephemeral;

	for (struct sl_link *l = s->peers.next; l != &s->peers; l = l->next)
		peer_turn(s, SL_OF(l, struct eph_peer, all));
	/* The end of one is told to the others, whose queues are looked at in the next turn. */
	for (struct sl_link *l = s->peers.next, *next; l != &s->peers; l = next) {
		struct eph_peer *p = SL_OF(l, struct eph_peer, all);

		next = l->next;
		if (p->ended) {
			peer_free(p);
			event_active(s->purge, 0, 0);
		}
	}
	*s->n_channels = eph_registry_channels(s->registry);
	*s->n_bytes = eph_registry_bytes(s->registry);
}

/* -- streams that end -- */

static void server_stream(void *arg, const struct sluice_event *e)
{
	struct eph_server *s = arg;
	uint64_t id;

	if (e->kind & SLUICE_EV_RESYNC) {
		eph_registry_recheck(s->registry, s->volume != s->worker->store.volume);
		s->volume = s->worker->store.volume;
	} else if ((e->kind & SLUICE_EV_REMOVED) && store_id_in(&s->worker->store, e->incarnation, &id)) {
		eph_registry_stream_gone(s->registry, id);
	}
}

static void server_purge(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	if (what & EV_TIMEOUT)
		eph_registry_purge(((struct eph_server *)arg)->registry);
}

static void watcher_init(struct eph_server *s)
{
	static char nothing[] = "", name[] = "ephemeral";
	struct sluice_ctx *c = &s->watcher;

	*c = (struct sluice_ctx){
		.magic = CTX_MAGIC, .worker = s->worker, .name = name, .mount = nothing, .prefix = nothing};
	sl_link_init(&c->reqs);
	sl_link_init(&c->subs);
}

/* The worker's own connection: it is a member like every other. */
static int server_link_self(struct worker *w)
{
	int pair[2], rc;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair))
		return SLUICE_EBUSY; /* out of descriptors, or of memory */
	rc = eph_server_peer(w, pair[0]);
	if (rc) {
		close(pair[1]);
		return rc;
	}
	return member_link(w, pair[1]);
}

void eph_server_relink(struct worker *w)
{
	if (w->ephemeral && w->state == WORKER_RUNNING && !w->member.linked)
		(void)server_link_self(w); /* or with the next ping */
}

struct eph_registry_limits eph_server_limits(const struct sluice_conf *presence)
{
	return (struct eph_registry_limits){.channel = {.timeout_ms = sl_conf_int(presence, "timeout"),
	                                                .max_bytes = (size_t)sl_conf_int(presence, "channel_bytes"),
	                                                .max_keys = (size_t)sl_conf_int(presence, "channel_keys")},
	                                    .channels = (size_t)sl_conf_int(presence, "channels"),
	                                    .channels_of_stream = (size_t)sl_conf_int(presence, "stream_channels"),
	                                    .bytes = (size_t)sl_conf_int(presence, "memory")};
}

int eph_server_new(struct worker *w, const struct eph_registry_limits *limits)
{
	struct eph_server *s = w->ephemeral = calloc(1, sizeof *s);
	const struct eph_registry_hooks hooks = {.wall_ms = hook_wall, .alive = hook_alive, .arg = s};
	const int64_t half_ms = limits->channel.timeout_ms / 2;
	const struct timeval half = {.tv_sec = (time_t)(half_ms / 1000),
	                             .tv_usec = (suseconds_t)(half_ms % 1000 * 1000)};

	if (!s)
		return SLUICE_ENOMEM;
	s->worker = w;
	sl_link_init(&s->peers);
	watcher_init(s);
	s->registry = eph_registry_new(limits, &hooks);
	s->purge = event_new(w->base, -1, EV_PERSIST, server_purge, s);
	s->n_channels = sl_metrics_get(w->metrics, "ephemeral.channels", SL_METRICS_GAUGE,
				"Ephemeral channels.");
	s->n_bytes = sl_metrics_get(w->metrics, "ephemeral.bytes", SL_METRICS_GAUGE,
				"Keys and values of all ephemeral channels, in bytes.");
	if (!s->registry || !s->purge || event_add(s->purge, &half) ||
	    subs_subscribe_prefix(&s->watcher, SL_STR(""), server_stream, s, &s->streams))
		return SLUICE_ENOMEM;
	return server_link_self(w);
}

void eph_server_free(struct worker *w)
{
	struct eph_server *s = w->ephemeral;

	if (!s)
		return;
	while (!sl_link_alone(&s->peers))
		peer_free(SL_OF(s->peers.next, struct eph_peer, all));
	if (s->streams)
		subs_unsubscribe(s->streams);
	if (s->purge)
		event_free(s->purge);
	eph_registry_free(s->registry);
	free(s);
	w->ephemeral = NULL;
}
