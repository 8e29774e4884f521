/*
 * hub.c - streams that live readers follow. Plugin streams, worker process.
 *
 * A hub holds one subscription for all readers of a stream. An event says only that there is more: the hub reads once, from where
 * most of its readers stand, and hands the result to each of them; event text and bodies are made once and shared. A reader that
 * stands elsewhere, or lags, reads for itself. Nothing is queued for a reader beyond what its connection takes.
 */
#include "streams.h"

#include <stdlib.h>

struct hub {
	uint32_t magic;
	struct streams *p;
	struct hub *next; /* in its bucket */
	uint64_t hash;
	struct sluice_sub *sub;
	struct sluice_req *read;
	struct call_list parked;
	size_t n_parked, refs;
	uint64_t tail, incarnation;
	bool ready; /* the watch is registered */
	bool closed;
	bool gone; /* removed, and no longer in the table */
	size_t name_len;
	char name[];
};

static void hub_look(struct hub *);
static void hub_event(void *arg, const struct sluice_event *);

/* ---- the table ---- */

/* Seeded, so that clients cannot choose names that collide. */
static uint64_t hub_hash(const struct streams *p, slice name)
{
	const uint8_t *s = name.data;
	uint64_t h = p->seed ^ (name.len * UINT64_C(0x9e3779b97f4a7c15));

	for (size_t i = 0; i < name.len; i++) {
		h = (h ^ s[i]) * UINT64_C(0xff51afd7ed558ccd);
		h ^= h >> 29;
	}
	return h ^ h >> 32;
}

static int hub_table_grow(struct streams *p)
{
	size_t n = p->n_buckets ? p->n_buckets * 2 : 64;
	struct hub **table = calloc(n, sizeof *table);

	if (!table)
		return SLUICE_ENOMEM;
	for (size_t i = 0; i < p->n_buckets; i++)
		for (struct hub *h = p->hubs[i], *next; h; h = next) {
			next = h->next;
			h->next = table[h->hash & (n - 1)];
			table[h->hash & (n - 1)] = h;
		}
	free(p->hubs);
	p->hubs = table;
	p->n_buckets = n;
	return 0;
}

static void hub_unlink(struct hub *h)
{
	struct hub **at = &h->p->hubs[h->hash & (h->p->n_buckets - 1)];

	while (*at != h)
		at = &(*at)->next;
	*at = h->next;
	h->p->n_hubs--;
	h->gone = true;
}

static void hub_unref(struct hub *h)
{
	if (--h->refs > 0)
		return;
	if (!h->gone)
		hub_unlink(h);
	if (h->read)
		h->p->store->cancel(h->read);
	if (h->sub)
		h->p->store->unsubscribe(h->sub);
	h->magic = 0;
	free(h);
}

static int hub_new(struct streams *p, slice name, uint64_t hash, struct hub **out)
{
	struct hub *h;
	int err = p->n_hubs >= p->n_buckets ? hub_table_grow(p) : 0;

	if (err < 0)
		return err;
	h = calloc(1, sizeof *h + name.len);
	if (!h)
		return SLUICE_ENOMEM;
	h->magic = HUB_MAGIC;
	h->p = p;
	h->hash = hash;
	TAILQ_INIT(&h->parked);
	h->name_len = name.len;
	memcpy(h->name, name.data, name.len);
	/* live: whoever stands here keeps a stream with a sliding TTL alive. */
	err = p->store->subscribe(p->ctx, name, 1, hub_event, h, &h->sub);
	if (err < 0) {
		free(h);
		return err;
	}
	h->next = p->hubs[hash & (p->n_buckets - 1)];
	p->hubs[hash & (p->n_buckets - 1)] = h;
	p->n_hubs++;
	*out = h;
	return 0;
}

int hub_join(struct call *c)
{
	struct streams *p = c->p;
	slice name = call_name(c);
	uint64_t hash = hub_hash(p, name);
	struct hub *h = p->n_buckets ? p->hubs[hash & (p->n_buckets - 1)] : NULL;
	int err;

	while (h && (h->hash != hash || h->name_len != name.len || memcmp(h->name, name.data, name.len) != 0))
		h = h->next;
	if (!h) {
		err = hub_new(p, name, hash, &h);
		if (err < 0)
			return err;
	}
	h->refs++;
	c->r.hub = h;
	++*(c->kind == CALL_SSE ? p->count.sse : p->count.polls);
	return 0;
}

void hub_leave(struct call *c)
{
	struct hub *h = c->r.hub;

	--*(c->kind == CALL_SSE ? c->p->count.sse : c->p->count.polls);
	hub_unpark(c);
	c->r.hub = NULL;
	hub_unref(h);
}

void hubs_fini(struct streams *p)
{
	/* Every call has left, and with the last one each hub went. */
	free(p->hubs);
	p->hubs = NULL;
	p->n_buckets = 0;
}

/* ---- parking ---- */

void hub_unpark(struct call *c)
{
	if (!c->r.parked)
		return;
	TAILQ_REMOVE(&c->r.hub->parked, c, r.parked_link);
	c->r.hub->n_parked--;
	c->r.parked = false;
}

static void hub_own(struct call *c)
{
	hub_unpark(c);
	if (c->kind == CALL_SSE)
		sse_look(c);
	else
		poll_look(c);
}

static void hub_release(struct call *c, bool soft)
{
	hub_unpark(c);
	if (c->kind == CALL_SSE)
		sse_lost(c);
	else
		answer_gone(c, soft);
}

void hub_park(struct call *c)
{
	struct hub *h = c->r.hub;

	if (h->gone) {
		/* Removed while the call was reading; if it read the successor of that name, it follows that one. */
		int err;

		hub_leave(c);
		err = hub_join(c);
		if (err < 0) {
			read_fail(c, err, NULL);
			return;
		}
		h = c->r.hub;
	}
	TAILQ_INSERT_TAIL(&h->parked, c, r.parked_link);
	h->n_parked++;
	c->r.parked = true;
	if (h->ready && (h->tail > c->r.seen || h->closed))
		hub_look(h);
}

bool hub_behind(const struct call *c)
{
	return c->r.hub->ready && c->r.hub->tail > c->r.seen;
}

/* ---- looking ---- */

/* Where the hub reads from: the furthest reader is at the tail, and so are most. False: nobody has to look. */
static bool hub_place(const struct hub *h, uint64_t *from)
{
	const struct call *c;
	bool behind = false;

	*from = 0;
	for (c = TAILQ_FIRST(&h->parked); c; c = TAILQ_NEXT(c, r.parked_link)) {
		if (c->r.offset > *from)
			*from = c->r.offset;
		behind = behind || c->r.seen < h->tail;
	}
	return h->n_parked > 0 && (behind || h->closed);
}

static void hub_each_own(struct hub *h)
{
	struct call *c, *next;

	h->refs++;
	for (c = TAILQ_FIRST(&h->parked); c; c = next) {
		next = TAILQ_NEXT(c, r.parked_link);
		hub_own(c);
	}
	hub_unref(h);
}

static bool hub_whole(const struct sluice_read_result *r)
{
	return r->next >= r->end && r->skip == 0;
}

static void hub_serve(struct hub *h, const struct sluice_read_result *r)
{
	struct shared shared = {.r = r, .whole = hub_whole(r)};
	struct call *c, *next;

	for (c = TAILQ_FIRST(&h->parked); c; c = next) {
		next = TAILQ_NEXT(c, r.parked_link);
		if (c->r.incarnation != r->incarnation || c->r.offset < r->from)
			hub_own(c);
		else if (c->r.offset > r->from)
			continue;
		else if (c->kind == CALL_SSE)
			sse_serve(c, &shared);
		else
			poll_serve(c, &shared);
	}
	shared_fini(h->p, &shared);
}

static void hub_taken(void *arg, const struct sluice_read_result *r)
{
	struct hub *h = arg;

	h->read = NULL;
	h->refs++;
	/* Whatever is wrong, each reader finds out for itself and answers in its own way. */
	if (r->status != SLUICE_OK)
		hub_each_own(h);
	else
		hub_serve(h, r);
	/* More was committed than one read takes, or since it was begun. */
	if (!h->read && h->n_parked > 0)
		hub_look(h);
	hub_unref(h);
}

static void hub_look(struct hub *h)
{
	struct streams *p = h->p;
	struct sluice_read q = {.size = sizeof q, .stream = SLICE(h->name, h->name_len), .budget = SSE_BUDGET};

	if (h->read)
		return;
	if (!hub_place(h, &q.from))
		return;
	if (p->store->read(p->ctx, &q, hub_taken, h, &h->read) < 0) {
		h->read = NULL;
		hub_each_own(h);
	}
}

/* ---- events ---- */

static void hub_removed(struct hub *h, bool soft)
{
	struct call *c, *next;

	if (!h->gone)
		hub_unlink(h);
	for (c = TAILQ_FIRST(&h->parked); c; c = next) {
		next = TAILQ_NEXT(c, r.parked_link);
		/* A reader of another incarnation, or one that came before the watch knew which it was, looks again. */
		if (h->ready && c->r.incarnation == h->incarnation)
			hub_release(c, soft);
		else
			hub_own(c);
	}
}

static void hub_event(void *arg, const struct sluice_event *ev)
{
	struct hub *h = arg;
	bool first = !h->ready;

	h->refs++;
	if (ev->kind & SLUICE_EV_REMOVED) {
		hub_removed(h, ev->kind & SLUICE_EV_SOFT);
	} else {
		h->ready = true;
		if (ev->incarnation)
			h->incarnation = ev->incarnation;
		if (ev->tail > h->tail)
			h->tail = ev->tail;
		if (ev->kind & SLUICE_EV_CLOSED)
			h->closed = true;
		/* Who parked before the watch stood may have missed something that the first event does not tell. */
		if (first)
			hub_each_own(h);
		else
			hub_look(h);
	}
	hub_unref(h);
}
