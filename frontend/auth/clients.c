/*
 * clients.c - how much each client asks for: connections at once, requests a second. Process: sluice-frontend.
 *
 * A client is a principal where one is known, otherwise an address; an IPv6 network of 64 bits is one, because whoever has one address
 * of it has them all. The rate is a bucket that fills evenly, kept as the one moment at which it will be full again (GCRA). The table is
 * bounded: who has connections is bounded by their number, of the others the one that was quiet for longest is forgotten, and is
 * let in like a new one, which it can hardly be told from.
 */
#include "frontend/auth/clients.h"

#include <stdlib.h>

#include "lib/hash.h"

struct client {
	struct sl_map_node node;
	struct sl_link idle; /* clients->idle while it has no connections */
	uint64_t full_us;    /* when its bucket will be full */
	uint32_t n_conns;
	size_t len;
	uint8_t key[];
};

void clients_init(struct clients *c, const struct sluice_conf *root)
{
	memset(c, 0, sizeof *c);
	sl_link_init(&c->idle);
	c->rate = (uint64_t)sl_conf_int(root, "limits.client_requests");
	c->burst = (uint64_t)sl_conf_int(root, "limits.client_burst");
	c->conns = (uint64_t)sl_conf_int(root, "limits.client_connections");
}

static void client_drop(struct clients *c, struct client *k)
{
	sl_map_del(&c->map, &k->node);
	sl_link_del(&k->idle);
	free(k);
}

void clients_fini(struct clients *c)
{
	for (size_t i = 0; i < c->map.cap; i++)
		while (c->map.slot[i])
			client_drop(c, SL_OF(c->map.slot[i], struct client, node));
	sl_map_fini(&c->map);
}

static struct client *client_find(const struct clients *c, sl_slice key, uint64_t hash)
{
	for (struct sl_map_node *n = sl_map_first(&c->map, hash); n; n = sl_map_next(n)) {
		struct client *k = SL_OF(n, struct client, node);

		if (sl_slice_eq(SL_SLICE(k->key, k->len), key))
			return k;
	}
	return NULL;
}

/* The client, made when there is none; NULL: no memory. */
static struct client *client_of(struct clients *c, sl_slice key)
{
	uint64_t hash = sl_hash(key);
	struct client *k = client_find(c, key, hash);

	if (k)
		return k;
	if (c->n_idle >= CLIENTS_IDLE) {
		client_drop(c, SL_OF(c->idle.next, struct client, idle));
		c->n_idle--;
	}
	k = sl_map_reserve(&c->map) ? NULL : malloc(sizeof *k + key.len);
	if (!k)
		return NULL;
	*k = (struct client){.len = key.len};
	memcpy(k->key, key.data, key.len);
	sl_link_init(&k->idle);
	sl_map_add(&c->map, &k->node, hash);
	sl_link_add(&c->idle, &k->idle);
	c->n_idle++;
	return k;
}

static uint64_t max_u64(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

/* What may be ahead of the clock: a whole burst less the request that is asked about. */
static uint64_t slack_us(const struct clients *c)
{
	return (c->burst - 1) * (CLIENT_SECOND / c->rate);
}

uint64_t clients_wait(const struct clients *c, sl_slice key, uint64_t now_us)
{
	const struct client *k = c->rate && key.len ? client_find(c, key, sl_hash(key)) : NULL;

	return k && k->full_us > now_us + slack_us(c) ? k->full_us - now_us - slack_us(c) : 0;
}

uint64_t clients_request(struct clients *c, sl_slice key, uint64_t now_us)
{
	struct client *k = c->rate && key.len ? client_of(c, key) : NULL;

	if (!k)
		return 0; /* no limit, or no memory to keep one */
	if (k->n_conns == 0) {
		sl_link_del(&k->idle);
		sl_link_add(&c->idle, &k->idle);
	}
	if (k->full_us > now_us + slack_us(c))
		return k->full_us - now_us - slack_us(c);
	k->full_us = max_u64(k->full_us, now_us) + CLIENT_SECOND / c->rate;
	return 0;
}

int clients_enter(struct clients *c, sl_slice key)
{
	struct client *k = c->conns && key.len ? client_of(c, key) : NULL;

	if (!c->conns || !key.len)
		return 0;
	if (!k)
		return SLUICE_ENOMEM;
	if (k->n_conns >= c->conns + CLIENT_TOLD)
		return SLUICE_EFULL;
	if (k->n_conns++ == 0) {
		sl_link_del(&k->idle);
		c->n_idle--;
	}
	return k->n_conns > c->conns ? SLUICE_EBUSY : 0;
}

void clients_leave(struct clients *c, sl_slice key)
{
	struct client *k = c->conns && key.len ? client_find(c, key, sl_hash(key)) : NULL;

	if (!k || k->n_conns == 0 || --k->n_conns > 0)
		return;
	sl_link_add(&c->idle, &k->idle);
	if (++c->n_idle > CLIENTS_IDLE) {
		client_drop(c, SL_OF(c->idle.next, struct client, idle));
		c->n_idle--;
	}
}
