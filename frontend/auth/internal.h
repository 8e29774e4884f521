/*
 * internal.h - what the files of the access service share. Process: sluice-frontend.
 */
#ifndef AUTH_INTERNAL_H
#define AUTH_INTERNAL_H

#include <jansson.h>
#include <openssl/evp.h>

#include "frontend/auth/auth.h"
#include "frontend/auth/file.h"
#include "lib/link.h"

#define AUTH_MAGIC 0x41757468u
#define PRINCIPAL_MAGIC 0x5072696eu

enum {
	DIGEST_LEN = 32,      /* SHA-256 */
	TOKENS_MAX = 1 << 16, /* static ones */
	KEYS_MAX = 64,        /* each may have to be tried */
	SECRET_MIN = 32,      /* RFC 7518 3.2: as long as the hash */
	SECRET_MAX = 1024,
	RSA_MIN = 2048, /* RFC 7518 3.3 */
	RSA_MAX = 8192,
	GLOB_MAX = 1024,
	CLAIM_RULES_MAX = 256, /* in a claim; configured ones are bounded by the file */
	CACHE_MAX = 4096,      /* verified tokens that are remembered */
	CACHE_BYTES = 4 << 20  /* ... and the length of them all; what is kept of each is a small multiple */
};

/* ---- principal.c ---- */

/* Why a token makes no principal. Everything behind SIGNATURE is only told to who has a token that was signed with our key. */
enum auth_reason {
	AUTH_GOOD,
	AUTH_OPEN,   /* no token, none needed */
	AUTH_ABSENT, /* no token, but one is needed */
	AUTH_TOO_LONG,
	AUTH_UNKNOWN,   /* is none of the tokens we know */
	AUTH_MALFORMED, /* not a JWT, or one of a kind that is not taken */
	AUTH_ALGORITHM,
	AUTH_SIGNATURE,
	AUTH_EXPIRED,
	AUTH_EARLY,
	AUTH_ISSUER,
	AUTH_AUDIENCE,
	AUTH_CLAIMS,  /* a claim is missing or of the wrong kind */
	AUTH_TROUBLE, /* no memory */
	AUTH_LIMITED, /* not looked at: its client asks too often */
	AUTH_REASONS
};

enum principal_kind { PRINCIPAL_NOBODY, PRINCIPAL_TOKEN, PRINCIPAL_CLAIMS };

struct policy;
struct claim_text;

struct sluice_principal {
	uint32_t magic;
	uint32_t refs; /* 0: static, not counted */
	enum principal_kind kind;
	enum auth_reason reason;
	bool foreign;          /* verified with a plugin's own secret: the policy does not know it */
	char *name;            /* owned; NULL: "" */
	uint64_t expires_ms;   /* since 1970; 0: never */
	json_t *claims;        /* owned */
	struct policy *policy; /* owned: what its claim says; NULL: the configured one decides */
	struct claim_text *texts;
};

const struct sluice_principal *principal_of_reason(enum auth_reason);       /* static; not AUTH_GOOD */
struct sluice_principal *principal_new(enum principal_kind, sl_slice name); /* reason AUTH_GOOD; NULL: no memory */

/* ---- tokens.c: static tokens ---- */

struct auth_token {
	uint8_t digest[DIGEST_LEN];
	struct sluice_principal *principal; /* one reference */
};
struct auth_tokens {
	struct auth_token *v; /* sorted by digest */
	size_t n;
};
int tokens_load(struct auth_tokens *, const struct sluice_conf *root, struct sl_conf_errors *);
void tokens_fini(struct auth_tokens *);
const struct sluice_principal *tokens_find(const struct auth_tokens *, const uint8_t digest[DIGEST_LEN]);

/* ---- glob.c ---- */

/* NULL, or what is wrong with a pattern. */
const char *glob_check(sl_slice pattern);
bool glob_match(sl_slice pattern, sl_slice name);

/* ---- policy.c ---- */

enum policy_action { ACT_READ, ACT_APPEND, ACT_CREATE, ACT_DELETE, ACT_ADMIN, ACT_ALL, ACTIONS };
struct policy *policy_load(const struct sluice_conf *root, struct sl_conf_errors *); /* NULL: no memory, or errors */
struct policy *policy_claim_load(const json_t *claim); /* NULL: it is no policy, or no memory */
void policy_free(struct policy *);
bool policy_knows_anonymous(const struct policy *); /* a rule speaks of those without a token */
bool policy_allows(const struct policy *, const struct sluice_principal *, const char *action, sl_slice stream);

#endif
