/*
 * keys.h - keys that tokens are signed with, and the tokens: JWTs (RFC 7515, 7518, 7519, 8037). Process: sluice-frontend.
 */
#ifndef AUTH_KEYS_H
#define AUTH_KEYS_H

#include "frontend/auth/internal.h"

/* The whole list of algorithms. A key is for one of them, so a token cannot choose how a key is used. */
enum jwt_alg { JWT_HS256, JWT_RS256, JWT_ES256, JWT_EDDSA, JWT_ALGS };
extern const char *const jwt_alg_names[JWT_ALGS];

struct auth_key {
	enum jwt_alg alg;
	char *kid;       /* owned; NULL: none, tried for every token of its algorithm */
	EVP_PKEY *pkey;  /* owned; public */
	uint8_t *secret; /* owned; HS256 */
	size_t n_secret;
};
struct auth_keys {
	struct auth_key *v;
	size_t n;
};

/* Adds the keys of auth.jwt; 0, or SLUICE_EINVAL with errors. */
int keys_load(struct auth_keys *, const struct sluice_conf *root, struct sl_conf_errors *);
/* NULL, or what is wrong; alg JWT_ALGS: what fits the key. */
const char *keys_add_pem(struct auth_keys *, enum jwt_alg, const char *kid, sl_slice pem);
const char *keys_add_secret(struct auth_keys *, const char *kid, sl_slice secret);
const char *keys_add_jwks(struct auth_keys *, sl_slice text);
void keys_fini(struct auth_keys *); /* secrets are overwritten */

struct jwt_rules {
	const char *issuer;          /* NULL: not compared */
	const char *const *audience; /* one of them has to be in aud */
	size_t n_audience;           /* 0: not compared */
	int64_t leeway_s;            /* for exp and nbf */
	bool require_exp;
};

/* AUTH_GOOD with the claims, which are the caller's then; *expires_s: when it stops to be good, INT64_MAX: never. */
enum auth_reason jwt_verify(const struct auth_keys *, const struct jwt_rules *, sl_slice token, int64_t now_s,
                            json_t **claims, int64_t *expires_s);
/* Strict base64url without padding (RFC 7515 2) into out, which has room for in.len * 3 / 4 bytes. False: it is none. */
bool base64url_decode(sl_slice in, uint8_t *out, size_t *len);

#endif
