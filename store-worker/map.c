/*
 * map.c - chained hash tables with intrusive nodes. Store-writer.
 */
#include <stdlib.h>
#include <sys/random.h>

#include "store-worker/store.h"

static uint64_t map_key[2];

static uint64_t map_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static void map_seed(void)
{
	while (map_key[0] == 0) {
		if (getrandom(map_key, sizeof map_key, 0) != sizeof map_key)
			map_key[0] = 0;
		map_key[1] |= 1;
	}
}

uint64_t map_hash(sl_slice s)
{
	const uint8_t *p = s.data;
	size_t n = s.len;
	uint64_t h, w;

	map_seed();
	h = map_key[0] ^ n;
	for (; n >= 8; n -= 8, p += 8) {
		memcpy(&w, p, 8);
		h = map_mix(h ^ w, map_key[1] ^ UINT64_C(0x9e3779b97f4a7c15));
	}
	w = 0;
	if (n)
		memcpy(&w, p, n);
	h = map_mix(h ^ w, map_key[1] ^ UINT64_C(0xd1b54a32d192ed03));
	return map_mix(h, map_key[0] | 1);
}

uint64_t map_hash_u64(uint64_t v)
{
	map_seed();
	return map_mix(v ^ map_key[0], map_key[1] ^ UINT64_C(0x9e3779b97f4a7c15));
}

int map_reserve(struct map *m)
{
	size_t cap = m->cap ? 2 * m->cap : 64;
	struct map_node **slot;

	if (m->n < m->cap)
		return 0;
	slot = calloc(cap, sizeof *slot);
	if (!slot)
		return m->cap ? 0 : SLUICE_ENOMEM; /* longer chains are better than none */
	for (size_t i = 0; i < m->cap; i++) {
		while (m->slot[i]) {
			struct map_node *n = m->slot[i];

			m->slot[i] = n->next;
			n->next = slot[n->hash & (cap - 1)];
			slot[n->hash & (cap - 1)] = n;
		}
	}
	free(m->slot);
	m->slot = slot;
	m->cap = cap;
	return 0;
}

void map_add(struct map *m, struct map_node *n, uint64_t hash)
{
	n->hash = hash;
	n->next = m->slot[hash & (m->cap - 1)];
	m->slot[hash & (m->cap - 1)] = n;
	m->n++;
}

void map_del(struct map *m, struct map_node *n)
{
	struct map_node **at = &m->slot[n->hash & (m->cap - 1)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	m->n--;
}

struct map_node *map_first(const struct map *m, uint64_t hash)
{
	struct map_node *n = m->cap ? m->slot[hash & (m->cap - 1)] : NULL;

	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct map_node *map_next(const struct map_node *at)
{
	struct map_node *n = at->next;

	while (n && n->hash != at->hash)
		n = n->next;
	return n;
}

void map_fini(struct map *m)
{
	free(m->slot);
	memset(m, 0, sizeof *m);
}
