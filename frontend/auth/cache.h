/*
 * cache.h - tokens that were verified a moment ago. Process: sluice-frontend.
 */
#ifndef AUTH_CACHE_H
#define AUTH_CACHE_H

#include "frontend/auth/internal.h"

enum { CACHE_BUCKETS = 4096 };

struct cache_entry;
struct auth_cache {
	struct cache_entry *bucket[CACHE_BUCKETS];
	struct sl_link lru; /* least recently used first */
	size_t n, bytes;
};

void cache_init(struct auth_cache *);
void cache_fini(struct auth_cache *);
const struct sluice_principal *cache_find(struct auth_cache *, const uint8_t digest[DIGEST_LEN],
                                          uint64_t now_ms); /* no reference */
void cache_put(struct auth_cache *, const uint8_t digest[DIGEST_LEN], const struct sluice_principal *, size_t cost);

#endif
