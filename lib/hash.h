/*
 * hash.h - a hash of bytes for tables whose keys strangers choose. Every process.
 */
#ifndef SL_HASH_H
#define SL_HASH_H

#include "lib/buf.h"

/* Keyed with a random number of this process, so that nobody outside can prepare keys that collide. Not for storage. */
uint64_t sl_hash(sl_slice);
uint64_t sl_hash_u64(uint64_t);

#endif
