/*
 * registry.c - every ephemeral channel: who writes, who hears of it, what is kept, when it ends. Process:
 * sluice-frontend, only the worker that mounts `presence`.
 *
 * One order per channel: an update is merged and put into the queue of every member that watches before the next one
 * is looked at. A look is answered in that order, too, so an update is in the answer or comes behind it. A channel of a
 * stream is bound to the incarnation: whether it lives is asked when the channel is made, after removals are watched.
 */
#include <assert.h>
#include <stdlib.h>

#include "frontend/ephemeral/ephemeral.h"
#include "lib/hash.h"
#include "lib/map.h"
#include "lib/msg.h"

enum { OWNER_KEPT_MAX = 64 };

struct eph_registry {
	struct eph_registry_limits limits;
	struct eph_registry_hooks hooks;
	struct sl_map by_name, streams, owners;
	struct sl_link channels;
	size_t bytes;
};

struct stream { /* channels of one incarnation */
	struct sl_map_node node;
	struct sl_link channels;
	uint64_t incarnation;
	size_t n;
};

struct channel {
	struct sl_map_node by_name;
	struct sl_link all, of_stream;
	struct stream *stream; /* NULL: none behind it */
	struct eph_map *map;   /* NULL: never written */
	int64_t written_ms;
	struct sl_link watches, kept;
	size_t len;
	char name[];
};

struct eph_watch {
	struct sl_link in_channel;
	struct channel *channel;
	struct eph_peer *peer;
	uint32_t number, subscribers;
};

struct owner { /* somebody behind a member whose values die with him */
	struct sl_map_node node;
	struct sl_link kept, in_peer;
	struct eph_peer *peer;
	uint64_t number;
	size_t n;
};

struct kept {
	struct sl_link in_channel, in_owner;
	struct channel *channel;
	struct owner *owner;
	uint64_t tag;
	size_t key_len, value_len;
	uint8_t bytes[]; /* key, value */
};

struct look { /* waits for room in the member's queue */
	struct sl_link link;
	uint64_t req, incarnation;
	uint32_t watch;
	size_t len;
	char name[];
};

struct eph_registry *eph_registry_new(const struct eph_registry_limits *limits, const struct eph_registry_hooks *hooks)
{
	struct eph_registry *r = calloc(1, sizeof *r);

	if (!r)
		return NULL;
	r->limits = *limits;
	r->hooks = *hooks;
	sl_link_init(&r->channels);
	return r;
}

void eph_registry_limit(struct eph_registry *r, const struct eph_registry_limits *limits)
{
	r->limits = *limits;
}

size_t eph_registry_channels(const struct eph_registry *r)
{
	return r->by_name.n;
}

size_t eph_registry_bytes(const struct eph_registry *r)
{
	return r->bytes;
}

/* -- what members hear -- */

int eph_put_pieces(struct sl_ipc *ipc, bool to_registry, sl_slice *bytes)
{
	int rc = 0;

	while (rc == 0 && bytes->len > EPH_PIECE) {
		sl_slice piece = SL_SLICE(bytes->data, EPH_PIECE);

		rc = to_registry ? sl_put_presence_more(ipc, &(struct sl_presence_more){.data = piece})
		                 : sl_put_presence_piece(ipc, &(struct sl_presence_piece){.data = piece});
		*bytes = SL_SLICE((const uint8_t *)bytes->data + EPH_PIECE, bytes->len - EPH_PIECE);
	}
	return rc;
}

/* A member that does not take what it is sent, or for which there is no memory, is given up. */
static void peer_queued(struct eph_peer *p, int rc)
{
	if (rc || sl_ipc_queued(&p->ipc) > EPH_QUEUE_MAX)
		p->ended = true;
}

static void watch_tell(const struct eph_watch *w, const struct eph_peer *from, struct sl_presence_event m)
{
	int rc;

	if (w->peer->ended)
		return;
	m.watch = w->number;
	m.mine = w->peer == from;
	rc = eph_put_pieces(&w->peer->ipc, false, &m.data);
	if (rc == 0)
		rc = sl_put_presence_event(&w->peer->ipc, &m);
	peer_queued(w->peer, rc);
}

static void channel_tell(const struct channel *c, const struct eph_peer *from, unsigned kind, uint64_t tag,
                         sl_slice key, sl_slice data)
{
	const struct sl_presence_event m = {.kind = (uint8_t)kind, .tag = tag, .key = key, .data = data};

	for (struct sl_link *l = c->watches.next; l != &c->watches; l = l->next)
		watch_tell(SL_OF(l, struct eph_watch, in_channel), from, m);
}

/* -- channels -- */

static uint64_t channel_hash(const struct eph_channel_id *id)
{
	return sl_hash(id->name) ^ sl_hash_u64(id->incarnation);
}

static struct channel *channel_find(const struct eph_registry *r, const struct eph_channel_id *id)
{
	for (struct sl_map_node *n = sl_map_first(&r->by_name, channel_hash(id)); n; n = sl_map_next(n)) {
		struct channel *c = SL_OF(n, struct channel, by_name);

		if ((c->stream ? c->stream->incarnation : 0) == id->incarnation &&
		    sl_slice_eq(SL_SLICE(c->name, c->len), id->name))
			return c;
	}
	return NULL;
}

static struct stream *stream_find(const struct eph_registry *r, uint64_t incarnation)
{
	for (struct sl_map_node *n = sl_map_first(&r->streams, sl_hash_u64(incarnation)); n; n = sl_map_next(n)) {
		struct stream *s = SL_OF(n, struct stream, node);

		if (s->incarnation == incarnation)
			return s;
	}
	return NULL;
}

/* The stream of a new channel; made when it has none yet. */
static int stream_take(struct eph_registry *r, uint64_t incarnation, struct stream **out)
{
	struct stream *s = stream_find(r, incarnation);
	int alive;

	*out = s;
	if (s)
		return s->n < r->limits.channels_of_stream ? 0 : SLUICE_ETOOBIG;
	alive = r->hooks.alive(r->hooks.arg, incarnation);
	if (alive != 1)
		return alive ? alive : SLUICE_ENOENT;
	if (sl_map_reserve(&r->streams))
		return SLUICE_ENOMEM;
	s = *out = calloc(1, sizeof *s);
	if (!s)
		return SLUICE_ENOMEM;
	s->incarnation = incarnation;
	sl_link_init(&s->channels);
	sl_map_add(&r->streams, &s->node, sl_hash_u64(incarnation));
	return 0;
}

static void stream_release(struct eph_registry *r, struct stream *s)
{
	if (!s || s->n)
		return;
	sl_map_del(&r->streams, &s->node);
	free(s);
}

static int channel_make(struct eph_registry *r, const struct eph_channel_id *id, struct channel **out)
{
	struct stream *s = NULL;
	struct channel *c;
	int rc;

	if (id->name.len == 0 || id->name.len > EPH_NAME_MAX || !eph_text_valid(id->name))
		return SLUICE_EINVAL;
	if (r->by_name.n >= r->limits.channels)
		return SLUICE_ETOOBIG;
	rc = id->incarnation ? stream_take(r, id->incarnation, &s) : 0;
	if (rc)
		return rc;
	c = calloc(1, sizeof *c + id->name.len);
	if (!c || sl_map_reserve(&r->by_name)) {
		free(c);
		stream_release(r, s);
		return SLUICE_ENOMEM;
	}
	c->stream = s;
	c->len = id->name.len;
	memcpy(c->name, id->name.data, c->len);
	sl_link_init(&c->watches);
	sl_link_init(&c->kept);
	sl_link_init(&c->of_stream);
	if (s) {
		sl_link_add(&s->channels, &c->of_stream);
		s->n++;
	}
	sl_link_add(&r->channels, &c->all);
	sl_map_add(&r->by_name, &c->by_name, channel_hash(id));
	*out = c;
	return 0;
}

static int channel_get(struct eph_registry *r, const struct eph_channel_id *id, struct channel **out)
{
	*out = channel_find(r, id);
	return *out ? 0 : channel_make(r, id, out);
}

static void channel_forget(struct eph_registry *r, struct channel *c)
{
	if (c->map)
		r->bytes -= eph_map_bytes(c->map);
	eph_map_free(c->map);
	c->map = NULL;
}

static void channel_free(struct eph_registry *r, struct channel *c)
{
	assert(sl_link_alone(&c->watches) && sl_link_alone(&c->kept));
	channel_forget(r, c);
	sl_map_del(&r->by_name, &c->by_name);
	sl_link_del(&c->all);
	sl_link_del(&c->of_stream);
	if (c->stream)
		c->stream->n--;
	stream_release(r, c->stream);
	free(c);
}

/* riverrun 9.4: without entries, subscribers and recent writes it counts as never written. */
static void channel_release(struct eph_registry *r, struct channel *c)
{
	bool stale = !c->map || (eph_map_count(c->map) == 0 &&
	                         r->hooks.wall_ms(r->hooks.arg) - c->written_ms > r->limits.channel.timeout_ms);

	if (stale && sl_link_alone(&c->watches) && sl_link_alone(&c->kept))
		channel_free(r, c);
}

static void watch_free(struct eph_watch *w)
{
	w->peer->watch[w->number] = NULL;
	sl_link_del(&w->in_channel);
	free(w);
}

/* -- kept values -- */

static struct owner *owner_find(const struct eph_registry *r, const struct eph_peer *p, uint64_t number)
{
	uint64_t hash = sl_hash_u64(number ^ (uint64_t)(uintptr_t)p);

	for (struct sl_map_node *n = sl_map_first(&r->owners, hash); n; n = sl_map_next(n)) {
		struct owner *o = SL_OF(n, struct owner, node);

		if (o->peer == p && o->number == number)
			return o;
	}
	return NULL;
}

static struct owner *owner_get(struct eph_registry *r, struct eph_peer *p, uint64_t number)
{
	struct owner *o = owner_find(r, p, number);

	if (o || sl_map_reserve(&r->owners))
		return o;
	o = calloc(1, sizeof *o);
	if (!o)
		return NULL;
	o->peer = p;
	o->number = number;
	sl_link_init(&o->kept);
	sl_link_add(&p->kept, &o->in_peer);
	sl_map_add(&r->owners, &o->node, sl_hash_u64(number ^ (uint64_t)(uintptr_t)p));
	return o;
}

static void owner_release(struct eph_registry *r, struct owner *o)
{
	if (o->n)
		return;
	sl_map_del(&r->owners, &o->node);
	sl_link_del(&o->in_peer);
	free(o);
}

static sl_slice kept_key(const struct kept *k)
{
	return SL_SLICE(k->bytes, k->key_len);
}

static struct kept *kept_find(const struct owner *o, const struct channel *c, sl_slice key)
{
	for (struct sl_link *l = o->kept.next; l != &o->kept; l = l->next) {
		struct kept *k = SL_OF(l, struct kept, in_owner);

		if (k->channel == c && sl_slice_eq(kept_key(k), key))
			return k;
	}
	return NULL;
}

static void kept_free(struct eph_registry *r, struct kept *k)
{
	sl_link_del(&k->in_channel);
	sl_link_del(&k->in_owner);
	k->owner->n--;
	r->bytes -= k->key_len + k->value_len;
	free(k);
}

/* Takes a value back and says so; the owner may be gone afterwards, and the channel. */
static void kept_drop(struct eph_registry *r, struct kept *k)
{
	struct channel *c = k->channel;
	struct owner *o = k->owner;

	channel_tell(c, o->peer, SLUICE_CHANNEL_GONE, k->tag, kept_key(k), SL_SLICE(NULL, 0));
	kept_free(r, k);
	owner_release(r, o);
	channel_release(r, c);
}

static int kept_add(struct eph_registry *r, struct channel *c, struct owner *o, uint64_t tag, sl_slice key,
                    sl_slice value)
{
	struct kept *old = kept_find(o, c, key), *k;
	size_t freed = old ? old->key_len + old->value_len : 0;

	if ((!old && o->n >= OWNER_KEPT_MAX) || r->bytes - freed + key.len + value.len > r->limits.bytes)
		return SLUICE_ETOOBIG;
	k = calloc(1, sizeof *k + key.len + value.len);
	if (!k)
		return SLUICE_ENOMEM;
	*k = (struct kept){.channel = c, .owner = o, .tag = tag, .key_len = key.len, .value_len = value.len};
	if (key.len)
		memcpy(k->bytes, key.data, key.len);
	if (value.len)
		memcpy(k->bytes + key.len, value.data, value.len);
	sl_link_add(&c->kept, &k->in_channel);
	sl_link_add(&o->kept, &k->in_owner);
	o->n++;
	r->bytes += key.len + value.len;
	if (old)
		kept_free(r, old);
	return 0;
}

/* -- writing -- */

static int channel_apply(struct eph_registry *r, struct channel *c, sl_slice update, int64_t now_ms)
{
	bool first = !c->map;
	size_t before;
	int rc;

	if (first)
		c->map = eph_map_new(&r->limits.channel);
	if (!c->map)
		return SLUICE_ENOMEM;
	before = eph_map_bytes(c->map);
	rc = eph_map_apply(c->map, update, now_ms);
	if (rc == SLUICE_ETOOBIG && eph_map_purge(c->map, now_ms))
		rc = eph_map_apply(c->map, update, now_ms);
	r->bytes = r->bytes - before + eph_map_bytes(c->map);
	if (rc && first)
		channel_forget(r, c);
	if (rc == 0)
		c->written_ms = now_ms;
	return rc;
}

int eph_registry_apply(struct eph_registry *r, struct eph_peer *p, const struct eph_channel_id *id, uint64_t tag,
                       sl_slice update)
{
	struct channel *c;
	int rc;

	if (update.len > EPH_UPDATE_MAX || r->bytes + update.len > r->limits.bytes)
		return SLUICE_ETOOBIG;
	if (eph_check(update))
		return SLUICE_EINVAL;
	rc = channel_get(r, id, &c);
	if (rc)
		return rc;
	rc = channel_apply(r, c, update, r->hooks.wall_ms(r->hooks.arg));
	if (rc)
		channel_release(r, c);
	else
		channel_tell(c, p, SLUICE_CHANNEL_DATA, tag, SL_SLICE(NULL, 0), update);
	return rc;
}

int eph_registry_put(struct eph_registry *r, struct eph_peer *p, const struct eph_channel_id *id, uint64_t tag,
                     uint64_t owner, sl_slice key, sl_slice value)
{
	struct owner *o;
	struct channel *c;
	int rc;

	if (key.len > EPH_NAME_MAX || value.len > EPH_KEPT_MAX)
		return SLUICE_ETOOBIG;
	if (!value.data) {
		struct kept *k;

		c = channel_find(r, id);
		o = owner_find(r, p, owner);
		k = c && o ? kept_find(o, c, key) : NULL;
		if (k)
			kept_drop(r, k);
		return 0;
	}
	rc = channel_get(r, id, &c);
	if (rc)
		return rc;
	o = owner_get(r, p, owner);
	rc = o ? kept_add(r, c, o, tag, key, value) : SLUICE_ENOMEM;
	if (rc == 0) {
		channel_tell(c, p, SLUICE_CHANNEL_PUT, tag, key, value);
		return 0;
	}
	if (o)
		owner_release(r, o);
	channel_release(r, c);
	return rc;
}

int eph_registry_cast(struct eph_registry *r, struct eph_peer *p, const struct eph_channel_id *id, uint64_t tag,
                      sl_slice data)
{
	struct channel *c = channel_find(r, id);

	if (data.len > EPH_UPDATE_MAX)
		return SLUICE_ETOOBIG;
	if (c)
		channel_tell(c, p, SLUICE_CHANNEL_CAST, tag, SL_SLICE(NULL, 0), data);
	return 0;
}

static void owner_drop(struct eph_registry *r, struct owner *o)
{
	/* The last value takes the owner with it. */
	for (size_t n = o->n; n > 0; n--)
		kept_drop(r, SL_OF(o->kept.next, struct kept, in_owner));
}

void eph_registry_disown(struct eph_registry *r, struct eph_peer *p, uint64_t owner)
{
	struct owner *o = owner_find(r, p, owner);

	if (o)
		owner_drop(r, o);
}

/* -- looking -- */

static int watch_make(struct eph_peer *p, struct channel *c, uint32_t number)
{
	struct eph_watch *w;

	if (number >= p->n_watch) {
		uint32_t n = p->n_watch ? p->n_watch : 64;
		struct eph_watch **more;

		while (n <= number)
			n *= 2;
		more = realloc(p->watch, n * sizeof *more);
		if (!more)
			return SLUICE_ENOMEM;
		memset(more + p->n_watch, 0, (n - p->n_watch) * sizeof *more);
		p->watch = more;
		p->n_watch = n;
	}
	if (p->watch[number])
		return p->watch[number]->channel == c ? 0 : SLUICE_EINVAL;
	w = calloc(1, sizeof *w);
	if (!w)
		return SLUICE_ENOMEM;
	*w = (struct eph_watch){.channel = c, .peer = p, .number = number, .subscribers = 1};
	sl_link_add(&c->watches, &w->in_channel);
	p->watch[number] = w;
	return 0;
}

static int look_state(struct eph_registry *r, struct eph_peer *p, uint64_t req, const struct channel *c)
{
	struct sl_presence_looked m = {.req = req, .written = c && c->map};
	struct sl_buf state;
	int rc = 0;

	sl_buf_init(&state);
	for (struct sl_link *l = c ? c->kept.next : NULL; rc == 0 && l && l != &c->kept; l = l->next) {
		const struct kept *k = SL_OF(l, struct kept, in_channel);
		struct sl_presence_kept kept = {.req = req,
		                                .tag = k->tag,
		                                .key = kept_key(k),
		                                .value = SL_SLICE(k->bytes + k->key_len, k->value_len)};

		rc = sl_put_presence_kept(&p->ipc, &kept);
	}
	if (rc == 0 && m.written)
		rc = eph_map_encode_all(c->map, r->hooks.wall_ms(r->hooks.arg), &state);
	m.state = sl_buf_slice(&state);
	if (rc == 0)
		rc = eph_put_pieces(&p->ipc, false, &m.state);
	if (rc == 0)
		rc = sl_put_presence_looked(&p->ipc, &m);
	sl_buf_fini(&state);
	return rc;
}

static void look_now(struct eph_registry *r, struct eph_peer *p, uint64_t req, uint32_t watch,
                     const struct eph_channel_id *id)
{
	struct channel *c = channel_find(r, id);
	int status = watch && !c ? channel_make(r, id, &c) : 0, rc;

	if (status == 0 && watch) {
		status = watch_make(p, c, watch);
		if (status)
			channel_release(r, c);
	}
	if (status)
		rc = sl_put_presence_looked(&p->ipc, &(struct sl_presence_looked){.req = req, .status = status});
	else
		rc = look_state(r, p, req, c);
	peer_queued(p, rc);
}

int eph_registry_look(struct eph_registry *r, struct eph_peer *p, uint64_t req, uint32_t watch,
                      const struct eph_channel_id *id)
{
	struct look *l;

	if (watch >= EPH_WATCHES_MAX || id->name.len > EPH_NAME_MAX)
		return SLUICE_EINVAL;
	if (sl_link_alone(&p->looks) && sl_ipc_queued(&p->ipc) <= EPH_LOOK_MARK) {
		look_now(r, p, req, watch, id);
		return 0;
	}
	l = calloc(1, sizeof *l + id->name.len);
	if (!l)
		return SLUICE_ENOMEM;
	*l = (struct look){.req = req, .incarnation = id->incarnation, .watch = watch, .len = id->name.len};
	if (l->len)
		memcpy(l->name, id->name.data, l->len);
	sl_link_add(&p->looks, &l->link);
	return 0;
}

void eph_registry_room(struct eph_registry *r, struct eph_peer *p)
{
	while (!p->ended && !sl_link_alone(&p->looks) && sl_ipc_queued(&p->ipc) <= EPH_LOOK_MARK) {
		struct look *l = SL_OF(sl_link_pop(&p->looks), struct look, link);
		struct eph_channel_id id = {SL_SLICE(l->name, l->len), l->incarnation};

		look_now(r, p, l->req, l->watch, &id);
		free(l);
	}
}

void eph_registry_unwatch(struct eph_registry *r, struct eph_peer *p, uint32_t number)
{
	struct eph_watch *w = number < p->n_watch ? p->watch[number] : NULL;
	struct channel *c;

	if (!w)
		return; /* terminated meanwhile */
	c = w->channel;
	watch_free(w);
	channel_release(r, c);
}

void eph_registry_audience(struct eph_registry *r, struct eph_peer *p, uint32_t number, uint32_t subscribers)
{
	(void)r;
	if (number < p->n_watch && p->watch[number])
		p->watch[number]->subscribers = subscribers;
}

/* -- ends -- */

static void channel_terminate(struct eph_registry *r, struct channel *c)
{
	channel_tell(c, NULL, SLUICE_CHANNEL_TERMINATE, 0, SL_SLICE(NULL, 0), SL_SLICE(NULL, 0));
	while (!sl_link_alone(&c->watches))
		watch_free(SL_OF(c->watches.next, struct eph_watch, in_channel));
	while (!sl_link_alone(&c->kept)) {
		struct kept *k = SL_OF(c->kept.next, struct kept, in_channel);
		struct owner *o = k->owner;

		kept_free(r, k);
		owner_release(r, o);
	}
	channel_free(r, c);
}

void eph_registry_clear(struct eph_registry *r, sl_slice prefix, bool terminate)
{
	for (struct sl_link *l = r->channels.next, *next; l != &r->channels; l = next) {
		struct channel *c = SL_OF(l, struct channel, all);

		next = l->next;
		if (!sl_slice_prefix(SL_SLICE(c->name, c->len), prefix))
			continue;
		if (terminate) {
			channel_terminate(r, c);
		} else {
			channel_forget(r, c);
			channel_release(r, c);
		}
	}
}

static void stream_terminate(struct eph_registry *r, struct stream *s)
{
	/* The last channel takes the stream with it. */
	for (size_t n = s->n; n > 0; n--)
		channel_terminate(r, SL_OF(s->channels.next, struct channel, of_stream));
}

void eph_registry_stream_gone(struct eph_registry *r, uint64_t incarnation)
{
	struct stream *s = stream_find(r, incarnation);

	if (s)
		stream_terminate(r, s);
}

/* Streams are found by way of the channels; after one ended, the list is walked anew, since several channels went. */
void eph_registry_recheck(struct eph_registry *r, bool all)
{
	struct sl_link *l = r->channels.next;

	while (l != &r->channels) {
		struct stream *s = SL_OF(l, struct channel, all)->stream;

		if (s && (all || r->hooks.alive(r->hooks.arg, s->incarnation) == 0)) {
			stream_terminate(r, s);
			l = r->channels.next;
		} else {
			l = l->next;
		}
	}
}

void eph_registry_purge(struct eph_registry *r)
{
	int64_t now = r->hooks.wall_ms(r->hooks.arg);

	for (struct sl_link *l = r->channels.next, *next; l != &r->channels; l = next) {
		struct channel *c = SL_OF(l, struct channel, all);

		next = l->next;
		if (c->map) {
			r->bytes -= eph_map_bytes(c->map);
			eph_map_purge(c->map, now);
			r->bytes += eph_map_bytes(c->map);
		}
		channel_release(r, c);
	}
}

void eph_registry_peer_gone(struct eph_registry *r, struct eph_peer *p)
{
	struct sl_link *l;

	p->ended = true;
	for (uint32_t i = 0; i < p->n_watch; i++)
		eph_registry_unwatch(r, p, i);
	while (!sl_link_alone(&p->kept))
		owner_drop(r, SL_OF(p->kept.next, struct owner, in_peer));
	while ((l = sl_link_pop(&p->looks)))
		free(SL_OF(l, struct look, link));
	free(p->watch);
	p->watch = NULL;
	p->n_watch = 0;
}

void eph_registry_free(struct eph_registry *r)
{
	if (!r)
		return;
	while (!sl_link_alone(&r->channels))
		channel_terminate(r, SL_OF(r->channels.next, struct channel, all));
	sl_map_fini(&r->by_name);
	sl_map_fini(&r->streams);
	sl_map_fini(&r->owners);
	free(r);
}

/* -- listing -- */

static int channel_order(const void *a, const void *b)
{
	const struct channel *x = *(const struct channel *const *)a, *y = *(const struct channel *const *)b;
	int c = sl_slice_cmp(SL_SLICE(x->name, x->len), SL_SLICE(y->name, y->len));

	/* A name may be there for two incarnations for a moment. */
	return c ? c : (x->stream ? x->stream->incarnation : 0) < (y->stream ? y->stream->incarnation : 0) ? -1 : 1;
}

static struct sl_presence_entry channel_entry(const struct channel *c)
{
	struct sl_presence_entry e = {.channel = SL_SLICE(c->name, c->len),
	                              .incarnation = c->stream ? c->stream->incarnation : 0,
	                              .entries = c->map ? eph_map_count(c->map) : 0,
	                              .bytes = c->map ? eph_map_bytes(c->map) : 0};

	for (struct sl_link *l = c->watches.next; l != &c->watches; l = l->next)
		e.subscribers += SL_OF(l, struct eph_watch, in_channel)->subscribers;
	for (struct sl_link *l = c->kept.next; l != &c->kept; l = l->next) {
		const struct kept *k = SL_OF(l, struct kept, in_channel);

		e.entries++;
		e.bytes += k->key_len + k->value_len;
	}
	return e;
}

int eph_registry_list(struct eph_registry *r, struct eph_peer *p, uint64_t req, sl_slice prefix, sl_slice after,
                      uint32_t limit)
{
	struct channel **found = malloc((r->by_name.n + 1) * sizeof *found);
	struct sl_presence_entry *entries = calloc(EPH_LIST_MAX, sizeof *entries);
	struct sl_presence_listed m = {.req = req};
	size_t n = 0;
	int rc = SLUICE_ENOMEM;

	if (limit > EPH_LIST_MAX)
		limit = EPH_LIST_MAX;
	if (found && entries) {
		for (struct sl_link *l = r->channels.next; l != &r->channels; l = l->next) {
			struct channel *c = SL_OF(l, struct channel, all);
			sl_slice name = SL_SLICE(c->name, c->len);

			if (sl_slice_prefix(name, prefix) && (!after.data || sl_slice_cmp(name, after) > 0))
				found[n++] = c;
		}
		qsort(found, n, sizeof *found, channel_order);
		m.more = n > limit;
		m.entries.n = (uint32_t)(n < limit ? n : limit);
		for (uint32_t i = 0; i < m.entries.n; i++)
			entries[i] = channel_entry(found[i]);
		m.entries.v = entries;
		rc = sl_put_presence_listed(&p->ipc, &m);
	}
	free(found);
	free(entries);
	if (rc == 0)
		peer_queued(p, 0);
	return rc;
}
