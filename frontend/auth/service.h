/*
 * service.h - the inside of struct auth, for auth.c and its tests. Process: sluice-frontend.
 */
#ifndef AUTH_SERVICE_H
#define AUTH_SERVICE_H

#include "frontend/auth/cache.h"
#include "frontend/auth/clients.h"
#include "frontend/auth/keys.h"

enum auth_mode { AUTH_NONE, AUTH_TOKENS, AUTH_JWT }; /* as the option lists them */

struct auth {
	uint32_t magic;
	enum auth_mode mode;
	struct auth_tokens tokens;
	struct auth_keys keys;
	struct jwt_rules rules; /* its texts are those below */
	char *issuer, **audience, *name_claim, *policy_claim;
	struct policy *policy; /* NULL with mode none */
	struct auth_cache cache;
	struct clients clients;
	EVP_MD *digest;
	EVP_MD_CTX *digest_ctx;
	uint64_t (*wall_ms)(void), (*now_us)(void);
	uint64_t *n_refused, *n_verified, *n_cached, *n_limited; /* metric cells; may be NULL */
};

static inline void auth_count(uint64_t *cell)
{
	if (cell)
		++*cell;
}

#endif
