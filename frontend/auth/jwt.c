/*
 * jwt.c - verifying a JWT (RFC 7519, JWS in compact form). Process: sluice-frontend.
 *
 * Order: form, header, key, signature; only then is the payload looked at. The algorithm is that of a key of ours which the
 * token may name; a header that asks for another one finds no key. OpenSSL verifies, jansson parses; see docs/architecture.md
 * for why no JWT library does both.
 */
#include "frontend/auth/keys.h"

#include <openssl/crypto.h>
#include <openssl/ecdsa.h>
#include <openssl/err.h>
#include <openssl/hmac.h>
#include <stdlib.h>

enum { ES256_LEN = 64, DER_MAX = 80 };

static int base64url_digit(uint8_t c)
{
	if (c >= 'A' && c <= 'Z')
		return c - 'A';
	if (c >= 'a' && c <= 'z')
		return c - 'a' + 26;
	if (c >= '0' && c <= '9')
		return c - '0' + 52;
	return c == '-' ? 62 : c == '_' ? 63 : -1;
}

/* Only one text for each value: bits that stand for nothing have to be zero. */
bool base64url_decode(sl_slice in, uint8_t *out, size_t *len)
{
	const uint8_t *p = in.data;
	uint32_t bits = 0;
	unsigned n = 0;

	*len = 0;
	if (in.len % 4 == 1)
		return false;
	for (size_t i = 0; i < in.len; i++) {
		int digit = base64url_digit(p[i]);

		if (digit < 0)
			return false;
		bits = bits << 6 | (uint32_t)digit;
		n += 6;
		if (n >= 8) {
			n -= 8;
			out[(*len)++] = (uint8_t)(bits >> n);
		}
	}
	return (bits & ((1u << n) - 1)) == 0;
}

/* ---- signatures ---- */

static bool verify_hs256(const struct auth_key *key, sl_slice text, sl_slice signature)
{
	uint8_t mac[DIGEST_LEN];
	unsigned n = 0;

	return HMAC(EVP_sha256(), key->secret, (int)key->n_secret, text.data, text.len, mac, &n) && n == sizeof mac &&
	       signature.len == sizeof mac && CRYPTO_memcmp(mac, signature.data, sizeof mac) == 0;
}

static bool verify_pkey(const struct auth_key *key, const EVP_MD *md, sl_slice text, sl_slice signature)
{
	EVP_MD_CTX *ctx = EVP_MD_CTX_new();
	bool good = ctx && EVP_DigestVerifyInit(ctx, NULL, md, NULL, key->pkey) == 1 &&
	            EVP_DigestVerify(ctx, signature.data, signature.len, text.data, text.len) == 1;

	EVP_MD_CTX_free(ctx);
	ERR_clear_error();
	return good;
}

/* RFC 7518 3.4: r and s as 32 bytes each; OpenSSL wants them in DER. */
static bool verify_es256(const struct auth_key *key, sl_slice text, sl_slice signature)
{
	ECDSA_SIG *sig = signature.len == ES256_LEN ? ECDSA_SIG_new() : NULL;
	BIGNUM *r = sig ? BN_bin2bn(signature.data, ES256_LEN / 2, NULL) : NULL;
	BIGNUM *s = sig ? BN_bin2bn((const uint8_t *)signature.data + ES256_LEN / 2, ES256_LEN / 2, NULL) : NULL;
	uint8_t der[DER_MAX], *end = der;
	int n = 0;

	if (r && s && ECDSA_SIG_set0(sig, r, s) == 1) {
		r = s = NULL; /* the signature's now */
		n = i2d_ECDSA_SIG(sig, &end);
	}
	BN_free(r);
	BN_free(s);
	ECDSA_SIG_free(sig);
	return n > 0 && verify_pkey(key, EVP_sha256(), text, SL_SLICE(der, (size_t)n));
}

static bool verify_key(const struct auth_key *key, sl_slice text, sl_slice signature)
{
	switch (key->alg) {
	case JWT_HS256:
		return verify_hs256(key, text, signature);
	case JWT_RS256:
		return verify_pkey(key, EVP_sha256(), text, signature);
	case JWT_ES256:
		return verify_es256(key, text, signature);
	case JWT_EDDSA:
		return verify_pkey(key, NULL, text, signature);
	default:
		return false;
	}
}

/* ---- header ---- */

static enum auth_reason header_alg(const json_t *header, enum jwt_alg *alg)
{
	const char *name = json_string_value(json_object_get(header, "alg"));

	/* RFC 7515 4.1.11: an extension that has to be understood, and none is. b64 (RFC 7797) has to be listed there. */
	if (!name || json_object_get(header, "crit"))
		return AUTH_MALFORMED;
	for (*alg = 0; *alg < JWT_ALGS; ++*alg)
		if (strcmp(name, jwt_alg_names[*alg]) == 0)
			return AUTH_GOOD;
	return AUTH_ALGORITHM; /* "none" among them */
}

static enum auth_reason header_verify(const struct auth_keys *keys, const json_t *header, sl_slice text,
                                      sl_slice signature)
{
	const json_t *kid = json_object_get(header, "kid");
	enum jwt_alg alg;
	enum auth_reason reason = header_alg(header, &alg);

	if (reason)
		return reason;
	if (kid && !json_is_string(kid))
		return AUTH_MALFORMED;
	reason = AUTH_ALGORITHM;
	for (size_t i = 0; i < keys->n; i++) {
		const struct auth_key *key = &keys->v[i];

		if (key->alg != alg || (kid && key->kid && strcmp(json_string_value(kid), key->kid) != 0))
			continue;
		if (verify_key(key, text, signature))
			return AUTH_GOOD;
		reason = AUTH_SIGNATURE;
	}
	return reason;
}

/* ---- claims ---- */

/* A NumericDate (RFC 7519 2), whole seconds of it. 1: there, 0: absent, -1: of another kind. */
static int claim_time(const json_t *claims, const char *name, int64_t *s)
{
	const json_t *v = json_object_get(claims, name);
	double d;

	if (!v)
		return 0;
	if (json_is_integer(v)) {
		*s = json_integer_value(v);
	} else if (json_is_real(v)) {
		d = json_real_value(v);
		*s = d >= 9e15 ? INT64_C(9000000000000000) : d <= -9e15 ? -INT64_C(9000000000000000) : (int64_t)d;
	} else {
		return -1;
	}
	if (*s > INT64_C(9000000000000000))
		*s = INT64_C(9000000000000000); /* so that adding to it cannot overflow */
	if (*s < -INT64_C(9000000000000000))
		*s = -INT64_C(9000000000000000);
	return 1;
}

static bool claim_is(const json_t *v, const char *want)
{
	return json_is_string(v) && json_string_length(v) == strlen(want) && strcmp(json_string_value(v), want) == 0;
}

static bool audience_has(const json_t *aud, const struct jwt_rules *rules)
{
	for (size_t i = 0; i < rules->n_audience; i++) {
		if (claim_is(aud, rules->audience[i]))
			return true;
		for (size_t k = 0; k < json_array_size(aud); k++)
			if (claim_is(json_array_get(aud, k), rules->audience[i]))
				return true;
	}
	return false;
}

static enum auth_reason claims_check(const json_t *claims, const struct jwt_rules *rules, int64_t now, int64_t *expires)
{
	int64_t exp = 0, nbf = 0, iat = 0;
	int has_exp = claim_time(claims, "exp", &exp), has_nbf = claim_time(claims, "nbf", &nbf);

	if (has_exp < 0 || has_nbf < 0 || claim_time(claims, "iat", &iat) < 0 || (rules->require_exp && !has_exp))
		return AUTH_CLAIMS;
	if (has_exp && exp + rules->leeway_s <= now)
		return AUTH_EXPIRED;
	if (has_nbf && nbf - rules->leeway_s > now)
		return AUTH_EARLY;
	if (rules->issuer && !claim_is(json_object_get(claims, "iss"), rules->issuer))
		return AUTH_ISSUER;
	if (rules->n_audience && !audience_has(json_object_get(claims, "aud"), rules))
		return AUTH_AUDIENCE;
	*expires = has_exp ? exp + rules->leeway_s : INT64_MAX;
	return AUTH_GOOD;
}

/* ---- the token ---- */

/* An object in base64url; NULL: it is none. */
static json_t *part_object(sl_slice part, uint8_t *scratch)
{
	size_t n;
	json_t *v = base64url_decode(part, scratch, &n) ? json_loadb((char *)scratch, n, JSON_REJECT_DUPLICATES, NULL)
	                                                : NULL;

	if (json_is_object(v))
		return v;
	json_decref(v);
	return NULL;
}

enum auth_reason jwt_verify(const struct auth_keys *keys, const struct jwt_rules *rules, sl_slice token, int64_t now_s,
                            json_t **claims, int64_t *expires_s)
{
	uint8_t scratch[AUTH_TOKEN_MAX];
	const char *p = token.data, *end = p + token.len, *dot1, *dot2;
	enum auth_reason reason;
	size_t n;
	json_t *header;

	*claims = NULL;
	if (token.len > sizeof scratch)
		return AUTH_TOO_LONG;
	dot1 = memchr(p, '.', token.len);
	dot2 = dot1 ? memchr(dot1 + 1, '.', (size_t)(end - dot1 - 1)) : NULL;
	if (!dot2) /* a third dot (JWE has four) is no digit of the signature */
		return AUTH_MALFORMED;
	header = part_object(SL_SLICE(p, (size_t)(dot1 - p)), scratch);
	if (!header)
		return AUTH_MALFORMED;
	reason = base64url_decode(SL_SLICE(dot2 + 1, (size_t)(end - dot2 - 1)), scratch, &n)
	                 ? header_verify(keys, header, SL_SLICE(p, (size_t)(dot2 - p)), SL_SLICE(scratch, n))
	                 : AUTH_MALFORMED;
	json_decref(header);
	if (reason)
		return reason;
	*claims = part_object(SL_SLICE(dot1 + 1, (size_t)(dot2 - dot1 - 1)), scratch);
	if (!*claims)
		return AUTH_MALFORMED;
	reason = claims_check(*claims, rules, now_s, expires_s);
	if (reason) {
		json_decref(*claims);
		*claims = NULL;
	}
	return reason;
}
