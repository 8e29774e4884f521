/*
 * hash.c - a hash of bytes for tables whose keys strangers choose. Every process.
 *
 * Multiply and fold, eight bytes at a time. The key goes into both factors of every multiplication, so equal halves
 * cannot be arranged from outside.
 */
#include "lib/hash.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

static uint64_t hash_key[2];

static uint64_t hash_mix(uint64_t a, uint64_t b)
{
	unsigned __int128 m = (unsigned __int128)a * b;

	return (uint64_t)m ^ (uint64_t)(m >> 64);
}

static void hash_seed(void)
{
	if (hash_key[1])
		return;
	if (getrandom(hash_key, sizeof hash_key, GRND_NONBLOCK) != (ssize_t)sizeof hash_key) {
		hash_key[0] =
			(uint64_t)getpid() * UINT64_C(0x9e3779b97f4a7c15); /* early at boot: better than a constant */
		hash_key[1] = (uint64_t)time(NULL) * UINT64_C(0xd1b54a32d192ed03);
	}
	hash_key[1] |= 1;
}

uint64_t sl_hash(sl_slice s)
{
	const uint8_t *p = s.data;
	size_t n = s.len;
	uint64_t h, w = 0;

	hash_seed();
	h = hash_key[0] ^ n;
	for (; n >= sizeof w; n -= sizeof w, p += sizeof w) {
		memcpy(&w, p, sizeof w);
		h = hash_mix(h ^ w, hash_key[1]);
	}
	w = 0;
	if (n)
		memcpy(&w, p, n);
	return hash_mix(hash_mix(h ^ w, hash_key[1]), hash_key[0] | 1);
}

uint64_t sl_hash_u64(uint64_t v)
{
	hash_seed();
	return hash_mix(v ^ hash_key[0], hash_key[1]);
}
