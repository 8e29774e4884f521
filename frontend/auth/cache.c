/*
 * cache.c - tokens that were verified a moment ago, by their SHA-256. Process: sluice-frontend.
 *
 * Only good tokens come in, so nobody without a key can fill it. The one that was not used for longest leaves first; one that
 * has expired is verified again, which tells why it is refused.
 */
#include "frontend/auth/cache.h"

#include <openssl/crypto.h>
#include <stdlib.h>

struct cache_entry {
	uint8_t digest[DIGEST_LEN];
	const struct sluice_principal *principal; /* one reference */
	size_t cost;
	struct cache_entry *hash_next;
	struct sl_link lru;
};

static struct cache_entry **cache_bucket(struct auth_cache *c, const uint8_t digest[DIGEST_LEN])
{
	return &c->bucket[(digest[0] | digest[1] << 8) % CACHE_BUCKETS];
}

void cache_init(struct auth_cache *c)
{
	memset(c, 0, sizeof *c);
	sl_link_init(&c->lru);
}

static void cache_drop(struct auth_cache *c, struct cache_entry *e)
{
	struct cache_entry **at = cache_bucket(c, e->digest);

	while (*at != e)
		at = &(*at)->hash_next;
	*at = e->hash_next;
	sl_link_del(&e->lru);
	c->n--;
	c->bytes -= e->cost;
	principal_unref(e->principal);
	free(e);
}

void cache_fini(struct auth_cache *c)
{
	while (!sl_link_alone(&c->lru))
		cache_drop(c, SL_OF(c->lru.next, struct cache_entry, lru));
}

const struct sluice_principal *cache_find(struct auth_cache *c, const uint8_t digest[DIGEST_LEN], uint64_t now_ms)
{
	struct cache_entry *e = *cache_bucket(c, digest);

	while (e && CRYPTO_memcmp(e->digest, digest, DIGEST_LEN) != 0)
		e = e->hash_next;
	if (!e)
		return NULL;
	if (e->principal->expires_ms && now_ms >= e->principal->expires_ms) {
		cache_drop(c, e);
		return NULL;
	}
	sl_link_del(&e->lru);
	sl_link_add(&c->lru, &e->lru);
	return e->principal;
}

void cache_put(struct auth_cache *c, const uint8_t digest[DIGEST_LEN], const struct sluice_principal *principal,
               size_t cost)
{
	struct cache_entry *e = malloc(sizeof *e), **at = cache_bucket(c, digest);

	if (!e)
		return; /* then it is verified again */
	memcpy(e->digest, digest, DIGEST_LEN);
	e->principal = principal_ref(principal);
	e->cost = cost;
	e->hash_next = *at;
	*at = e;
	sl_link_add(&c->lru, &e->lru);
	c->n++;
	c->bytes += cost;
	while (c->n > CACHE_MAX || c->bytes > CACHE_BYTES)
		cache_drop(c, SL_OF(c->lru.next, struct cache_entry, lru));
}
