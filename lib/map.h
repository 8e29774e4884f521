/*
 * map.h - chained hash tables with intrusive nodes. Every process.
 *
 * The nodes are members of the owner's objects; a map only links them. Hashes of what strangers choose come from
 * lib/hash.h.
 */
#ifndef SL_MAP_H
#define SL_MAP_H

#include <stddef.h>
#include <stdint.h>

struct sl_map_node {
	struct sl_map_node *next;
	uint64_t hash;
};

struct sl_map { /* zero is an empty one */
	struct sl_map_node **slot;
	size_t n, cap;
};

int sl_map_reserve(struct sl_map *);                                   /* room for one more: 0 or SLUICE_ENOMEM */
void sl_map_add(struct sl_map *, struct sl_map_node *, uint64_t hash); /* after sl_map_reserve() */
void sl_map_del(struct sl_map *, struct sl_map_node *);
struct sl_map_node *sl_map_first(const struct sl_map *, uint64_t hash); /* of that hash; go on with sl_map_next() */
struct sl_map_node *sl_map_next(const struct sl_map_node *);
void sl_map_fini(struct sl_map *); /* the nodes are the owner's */

#endif
