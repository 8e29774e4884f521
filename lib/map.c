/*
 * map.c - chained hash tables with intrusive nodes. Every process.
 */
#include "lib/map.h"

#include <stdlib.h>
#include <string.h>

#include "sluice/plugin.h"

int sl_map_reserve(struct sl_map *m)
{
	size_t cap = m->cap ? 2 * m->cap : 64;
	struct sl_map_node **slot;

	if (m->n < m->cap)
		return 0;
	slot = calloc(cap, sizeof *slot);
	if (!slot)
		return m->cap ? 0 : SLUICE_ENOMEM; /* longer chains are better than none */
	for (size_t i = 0; i < m->cap; i++) {
		while (m->slot[i]) {
			struct sl_map_node *n = m->slot[i];

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

void sl_map_add(struct sl_map *m, struct sl_map_node *n, uint64_t hash)
{
	n->hash = hash;
	n->next = m->slot[hash & (m->cap - 1)];
	m->slot[hash & (m->cap - 1)] = n;
	m->n++;
}

void sl_map_del(struct sl_map *m, struct sl_map_node *n)
{
	struct sl_map_node **at = &m->slot[n->hash & (m->cap - 1)];

	while (*at != n)
		at = &(*at)->next;
	*at = n->next;
	n->next = NULL;
	m->n--;
}

struct sl_map_node *sl_map_first(const struct sl_map *m, uint64_t hash)
{
	struct sl_map_node *n = m->cap ? m->slot[hash & (m->cap - 1)] : NULL;

	while (n && n->hash != hash)
		n = n->next;
	return n;
}

struct sl_map_node *sl_map_next(const struct sl_map_node *at)
{
	struct sl_map_node *n = at->next;

	while (n && n->hash != at->hash)
		n = n->next;
	return n;
}

void sl_map_fini(struct sl_map *m)
{
	free(m->slot);
	memset(m, 0, sizeof *m);
}
