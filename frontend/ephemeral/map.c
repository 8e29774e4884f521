/*
 * map.c - the state of one ephemeral channel: a last-writer-wins map. Process: sluice-frontend (the presence worker).
 *
 * loro-ephemeral-store 4 to 7. An update is merged in two steps: versions are made beside the held ones, then, when
 * limits and memory have allowed all of it, they take their places. So a refused update leaves no trace.
 */
#include <stdlib.h>

#include "frontend/ephemeral/ephemeral.h"
#include "lib/hash.h"
#include "lib/map.h"

#define EPH_MAP_MAGIC 0x45704d31u

struct version {
	int64_t timestamp;
	bool deleted;
	size_t len;
	uint8_t value[];
};

struct node {
	struct sl_map_node by_key;
	struct sl_link all, touched;
	struct version *held, *next; /* held NULL: only made by the update being merged */
	size_t len;
	uint8_t key[];
};

struct eph_map {
	uint32_t magic;
	struct eph_limits limits;
	struct sl_map by_key;
	size_t bytes;
	struct sl_link all, touched; /* nodes in the order of their first writes; those with a next version */
};

struct eph_map *eph_map_new(const struct eph_limits *limits)
{
	struct eph_map *m = calloc(1, sizeof *m);

	if (!m)
		return NULL;
	m->magic = EPH_MAP_MAGIC;
	m->limits = *limits;
	sl_link_init(&m->all);
	sl_link_init(&m->touched);
	return m;
}

static void node_drop(struct eph_map *m, struct node *n)
{
	sl_map_del(&m->by_key, &n->by_key);
	sl_link_del(&n->all);
	sl_link_del(&n->touched);
	m->bytes -= n->len + (n->held ? n->held->len : 0);
	free(n->held);
	free(n->next);
	free(n);
}

void eph_map_free(struct eph_map *m)
{
	if (!m)
		return;
	while (!sl_link_alone(&m->all))
		node_drop(m, SL_OF(m->all.next, struct node, all));
	sl_map_fini(&m->by_key);
	m->magic = 0;
	free(m);
}

static struct node *node_find(const struct eph_map *m, sl_slice key, uint64_t hash)
{
	for (struct sl_map_node *at = sl_map_first(&m->by_key, hash); at; at = sl_map_next(at)) {
		struct node *n = SL_OF(at, struct node, by_key);

		if (sl_slice_eq(SL_SLICE(n->key, n->len), key))
			return n;
	}
	return NULL;
}

static struct node *node_add(struct eph_map *m, sl_slice key, uint64_t hash)
{
	struct node *n;

	if (sl_map_reserve(&m->by_key))
		return NULL;
	n = calloc(1, sizeof *n + key.len);
	if (!n)
		return NULL;
	n->len = key.len;
	if (key.len)
		memcpy(n->key, key.data, key.len);
	sl_map_add(&m->by_key, &n->by_key, hash);
	sl_link_add(&m->all, &n->all);
	sl_link_init(&n->touched);
	m->bytes += key.len;
	return n;
}

/* The difference wraps, as in the library: a timestamp near the smallest number counts as fresh. */
static bool expired(const struct eph_map *m, int64_t timestamp, int64_t now_ms)
{
	return (int64_t)((uint64_t)now_ms - (uint64_t)timestamp) > m->limits.timeout_ms;
}

/* Makes the version that an entry will be, unless it is too old or loses. */
static int map_prepare(struct eph_map *m, const struct eph_entry *e, int64_t now_ms)
{
	uint64_t hash = sl_hash(e->key);
	struct node *n = node_find(m, e->key, hash);
	const struct version *current = n ? n->next ? n->next : n->held : NULL;
	struct version *v;

	if (expired(m, e->timestamp, now_ms) || (current && current->timestamp >= e->timestamp))
		return 0;
	v = malloc(sizeof *v + e->value.len);
	if (v && !n)
		n = node_add(m, e->key, hash);
	if (!v || !n) {
		free(v);
		return SLUICE_ENOMEM;
	}
	*v = (struct version){.timestamp = e->timestamp, .deleted = e->value.data == NULL, .len = e->value.len};
	if (e->value.data)
		memcpy(v->value, e->value.data, e->value.len);
	free(n->next);
	n->next = v;
	if (sl_link_alone(&n->touched))
		sl_link_add(&m->touched, &n->touched);
	return 0;
}

/* What the values would grow by. Keys of new nodes are counted already. */
static bool map_fits(const struct eph_map *m)
{
	size_t bytes = m->bytes;

	for (struct sl_link *l = m->touched.next; l != &m->touched; l = l->next) {
		const struct node *n = SL_OF(l, struct node, touched);

		bytes += n->next ? n->next->len : 0;
		bytes -= n->held ? n->held->len : 0;
	}
	return bytes <= m->limits.max_bytes && m->by_key.n <= m->limits.max_keys;
}

static void map_settle(struct eph_map *m, bool keep)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&m->touched))) {
		struct node *n = SL_OF(l, struct node, touched);

		if (keep && n->next) {
			m->bytes += n->next->len;
			m->bytes -= n->held ? n->held->len : 0;
			free(n->held);
			n->held = n->next;
		} else {
			free(n->next);
		}
		n->next = NULL;
		if (!n->held)
			node_drop(m, n);
	}
}

int eph_map_apply(struct eph_map *m, sl_slice update, int64_t now_ms)
{
	struct eph_walk w;
	struct eph_entry e;
	int rc = eph_check(update);

	if (rc)
		return rc;
	rc = eph_walk_begin(&w, update);
	while (rc == 0 && eph_walk_next(&w, &e) == 1)
		rc = map_prepare(m, &e, now_ms);
	if (rc == 0 && !map_fits(m))
		rc = SLUICE_ETOOBIG;
	map_settle(m, rc == 0);
	return rc;
}

static struct eph_entry node_entry(const struct node *n)
{
	return (struct eph_entry){.key = SL_SLICE(n->key, n->len),
	                          .value = SL_SLICE(n->held->deleted ? NULL : n->held->value, n->held->len),
	                          .timestamp = n->held->timestamp};
}

int eph_map_encode_all(const struct eph_map *m, int64_t now_ms, struct sl_buf *out)
{
	size_t live = 0;
	int rc;

	for (struct sl_link *l = m->all.next; l != &m->all; l = l->next)
		live += !expired(m, SL_OF(l, struct node, all)->held->timestamp, now_ms);
	rc = eph_put_count(out, live);
	for (struct sl_link *l = m->all.next; rc == 0 && l != &m->all; l = l->next) {
		struct eph_entry e = node_entry(SL_OF(l, struct node, all));

		if (!expired(m, e.timestamp, now_ms))
			rc = eph_put_entry(out, &e);
	}
	return rc;
}

int eph_map_encode(const struct eph_map *m, sl_slice key, int64_t now_ms, struct sl_buf *out)
{
	const struct node *n = node_find(m, key, sl_hash(key));
	struct eph_entry e;

	if (!n)
		return eph_put_count(out, 0);
	e = node_entry(n);
	if (expired(m, e.timestamp, now_ms))
		return 0;
	return eph_put_count(out, 1) || eph_put_entry(out, &e) ? SLUICE_ENOMEM : 0;
}

size_t eph_map_purge(struct eph_map *m, int64_t now_ms)
{
	struct sl_link *l = m->all.next;
	size_t gone = 0;

	while (l != &m->all) {
		struct node *n = SL_OF(l, struct node, all);

		l = l->next;
		if (!expired(m, n->held->timestamp, now_ms))
			continue;
		node_drop(m, n);
		gone++;
	}
	return gone;
}

size_t eph_map_count(const struct eph_map *m)
{
	return m->by_key.n;
}

size_t eph_map_bytes(const struct eph_map *m)
{
	return m->bytes;
}

void eph_map_each(const struct eph_map *m, void (*fn)(void *, const struct eph_entry *), void *arg)
{
	for (struct sl_link *l = m->all.next; l != &m->all; l = l->next) {
		struct eph_entry e = node_entry(SL_OF(l, struct node, all));

		fn(arg, &e);
	}
}
