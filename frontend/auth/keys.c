/*
 * keys.c - keys out of the configuration: PEM files, secrets, JWKS files (RFC 7517). Process: sluice-frontend.
 *
 * Everything that a key has to fulfil is looked at here, once: its algorithm, its size, its curve.
 */
#include "frontend/auth/keys.h"

#include <openssl/bio.h>
#include <openssl/bn.h>
#include <openssl/core_names.h>
#include <openssl/err.h>
#include <openssl/param_build.h>
#include <openssl/pem.h>
#include <stdio.h>
#include <stdlib.h>

const char *const jwt_alg_names[JWT_ALGS] = {"HS256", "RS256", "ES256", "EdDSA"};

static const char too_many[] = "there are more than 64 keys", no_memory[] = "out of memory";

void keys_fini(struct auth_keys *keys)
{
	for (size_t i = 0; i < keys->n; i++) {
		free(keys->v[i].kid);
		EVP_PKEY_free(keys->v[i].pkey);
		if (keys->v[i].secret)
			OPENSSL_cleanse(keys->v[i].secret, keys->v[i].n_secret);
		free(keys->v[i].secret);
	}
	free(keys->v);
	*keys = (struct auth_keys){0};
}

/* An entry that is not yet counted; NULL with a reason. */
static struct auth_key *keys_place(struct auth_keys *keys, const char *kid, const char **why)
{
	struct auth_key *more;
	char *copy = kid && *kid ? strdup(kid) : NULL;

	*why = keys->n == KEYS_MAX ? too_many : NULL;
	more = *why || (kid && *kid && !copy) ? NULL : realloc(keys->v, (keys->n + 1) * sizeof *more);
	if (!more) {
		free(copy);
		*why = *why ? *why : no_memory;
		return NULL;
	}
	keys->v = more;
	more[keys->n] = (struct auth_key){.kid = copy};
	return &more[keys->n];
}

const char *keys_add_secret(struct auth_keys *keys, const char *kid, sl_slice secret)
{
	struct auth_key *key;
	const char *why;

	if (secret.len < SECRET_MIN || secret.len > SECRET_MAX)
		return "a secret for HS256 has 32 to 1024 bytes";
	key = keys_place(keys, kid, &why);
	if (!key)
		return why;
	key->alg = JWT_HS256;
	key->n_secret = secret.len;
	key->secret = malloc(secret.len);
	if (!key->secret) {
		free(key->kid);
		return no_memory;
	}
	memcpy(key->secret, secret.data, secret.len);
	keys->n++;
	return NULL;
}

/* What a public key can be used for; JWT_ALGS and a reason: nothing. */
static enum jwt_alg pkey_alg(const EVP_PKEY *pkey, const char **why)
{
	char curve[32] = "";
	int bits = EVP_PKEY_get_bits(pkey);

	switch (EVP_PKEY_get_base_id(pkey)) {
	case EVP_PKEY_RSA:
		*why = bits < RSA_MIN || bits > RSA_MAX ? "an RSA key has 2048 to 8192 bits" : NULL;
		return *why ? JWT_ALGS : JWT_RS256;
	case EVP_PKEY_EC:
		if (EVP_PKEY_get_group_name(pkey, curve, sizeof curve, NULL) == 1 && strcmp(curve, "prime256v1") == 0)
			return JWT_ES256;
		*why = "an EC key has to be on the curve P-256";
		return JWT_ALGS;
	case EVP_PKEY_ED25519:
		return JWT_EDDSA;
	default:
		*why = "a key is of type RSA, EC or Ed25519";
		return JWT_ALGS;
	}
}

/* Takes the key over. */
static const char *keys_add_pkey(struct auth_keys *keys, enum jwt_alg alg, const char *kid, EVP_PKEY *pkey)
{
	const char *why = NULL;
	enum jwt_alg fits = pkey_alg(pkey, &why);
	struct auth_key *key = NULL;

	if (!why && alg != JWT_ALGS && alg != fits)
		why = "the key is of another type than its algorithm needs";
	if (!why)
		key = keys_place(keys, kid, &why);
	if (!key) {
		EVP_PKEY_free(pkey);
		return why;
	}
	key->alg = fits;
	key->pkey = pkey;
	keys->n++;
	return NULL;
}

static int no_password(char *buf, int size, int rw, void *arg)
{
	(void)buf, (void)size, (void)rw, (void)arg;
	return -1; /* public keys have none, and nobody is there to be asked */
}

const char *keys_add_pem(struct auth_keys *keys, enum jwt_alg alg, const char *kid, sl_slice pem)
{
	BIO *bio = BIO_new_mem_buf(pem.data, (int)pem.len);
	EVP_PKEY *pkey = bio ? PEM_read_bio_PUBKEY(bio, NULL, no_password, NULL) : NULL;

	BIO_free(bio);
	ERR_clear_error();
	if (pkey)
		return keys_add_pkey(keys, alg, kid, pkey);
	if (memmem(pem.data, pem.len, "PRIVATE KEY-----", 16))
		return "this is a private key: give the public one (openssl pkey -in FILE -pubout)";
	return "this is not a public key in PEM";
}

/* ---- JWKS ---- */

/* A member in base64url; NULL: absent, malformed or out of range. */
static uint8_t *jwk_bytes(const json_t *jwk, const char *name, size_t min, size_t max, size_t *len)
{
	const json_t *member = json_object_get(jwk, name);
	sl_slice text = SL_SLICE(json_string_value(member), json_string_length(member));
	uint8_t *out = text.data ? malloc(text.len + 1) : NULL;

	if (out && base64url_decode(text, out, len) && *len >= min && *len <= max)
		return out;
	free(out);
	return NULL;
}

static EVP_PKEY *pkey_from(const char *type, OSSL_PARAM_BLD *build)
{
	OSSL_PARAM *params = OSSL_PARAM_BLD_to_param(build);
	EVP_PKEY_CTX *ctx = EVP_PKEY_CTX_new_from_name(NULL, type, NULL);
	EVP_PKEY *pkey = NULL;

	if (!params || !ctx || EVP_PKEY_fromdata_init(ctx) != 1 ||
	    EVP_PKEY_fromdata(ctx, &pkey, EVP_PKEY_PUBLIC_KEY, params) != 1)
		pkey = NULL;
	EVP_PKEY_CTX_free(ctx);
	OSSL_PARAM_free(params);
	ERR_clear_error();
	return pkey;
}

static EVP_PKEY *jwk_rsa(const json_t *jwk)
{
	size_t n_len = 0, e_len = 0;
	uint8_t *n = jwk_bytes(jwk, "n", 1, RSA_MAX / 8 + 1, &n_len), *e = jwk_bytes(jwk, "e", 1, 8, &e_len);
	BIGNUM *bn_n = n ? BN_bin2bn(n, (int)n_len, NULL) : NULL, *bn_e = e ? BN_bin2bn(e, (int)e_len, NULL) : NULL;
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (build && bn_n && bn_e && OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_N, bn_n) &&
	    OSSL_PARAM_BLD_push_BN(build, OSSL_PKEY_PARAM_RSA_E, bn_e))
		pkey = pkey_from("RSA", build);
	OSSL_PARAM_BLD_free(build);
	BN_free(bn_n);
	BN_free(bn_e);
	free(n);
	free(e);
	return pkey;
}

static EVP_PKEY *jwk_ec(const json_t *jwk)
{
	size_t x_len = 0, y_len = 0;
	uint8_t *x = jwk_bytes(jwk, "x", 32, 32, &x_len), *y = jwk_bytes(jwk, "y", 32, 32, &y_len);
	uint8_t point[65] = {4}; /* uncompressed */
	OSSL_PARAM_BLD *build = OSSL_PARAM_BLD_new();
	EVP_PKEY *pkey = NULL;

	if (build && x && y) {
		memcpy(point + 1, x, 32);
		memcpy(point + 33, y, 32);
		/* A point that is not on the curve is refused by the import. */
		if (OSSL_PARAM_BLD_push_utf8_string(build, OSSL_PKEY_PARAM_GROUP_NAME, "prime256v1", 0) &&
		    OSSL_PARAM_BLD_push_octet_string(build, OSSL_PKEY_PARAM_PUB_KEY, point, sizeof point))
			pkey = pkey_from("EC", build);
	}
	OSSL_PARAM_BLD_free(build);
	free(x);
	free(y);
	return pkey;
}

static EVP_PKEY *jwk_okp(const json_t *jwk)
{
	size_t len = 0;
	uint8_t *x = jwk_bytes(jwk, "x", 32, 32, &len);
	EVP_PKEY *pkey = x ? EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, NULL, x, len) : NULL;

	free(x);
	ERR_clear_error();
	return pkey;
}

static const char *jwk_oct(struct auth_keys *keys, const json_t *jwk, const char *kid)
{
	size_t len = 0;
	uint8_t *k = jwk_bytes(jwk, "k", 1, FILE_MAX, &len);
	const char *why = k ? keys_add_secret(keys, kid, SL_SLICE(k, len)) : "\"k\" is missing or malformed";

	if (k)
		OPENSSL_cleanse(k, len);
	free(k);
	return why;
}

/* "" when it says what we have, or nothing. */
static bool jwk_says(const json_t *jwk, const char *name, const char *want)
{
	const json_t *member = json_object_get(jwk, name);

	return json_is_string(member) && strcmp(json_string_value(member), want) == 0;
}

/* NULL, or what is wrong. A key that is not meant for us is passed over (RFC 7517 5): of another type or curve, for another
 * algorithm, for encryption. */
static const char *keys_add_jwk(struct auth_keys *keys, const json_t *jwk)
{
	const char *kid = json_string_value(json_object_get(jwk, "kid")), *why = NULL;
	EVP_PKEY *pkey = NULL;
	enum jwt_alg alg;

	if (json_object_get(jwk, "use") && !jwk_says(jwk, "use", "sig"))
		return NULL;
	if (jwk_says(jwk, "kty", "RSA"))
		alg = JWT_RS256;
	else if (jwk_says(jwk, "kty", "EC") && jwk_says(jwk, "crv", "P-256"))
		alg = JWT_ES256;
	else if (jwk_says(jwk, "kty", "OKP") && jwk_says(jwk, "crv", "Ed25519"))
		alg = JWT_EDDSA;
	else if (jwk_says(jwk, "kty", "oct"))
		alg = JWT_HS256;
	else
		return NULL;
	if (json_object_get(jwk, "alg") && !jwk_says(jwk, "alg", jwt_alg_names[alg]))
		return NULL;
	if (alg == JWT_HS256)
		return jwk_oct(keys, jwk, kid);
	pkey = alg == JWT_RS256 ? jwk_rsa(jwk) : alg == JWT_ES256 ? jwk_ec(jwk) : jwk_okp(jwk);
	why = pkey ? keys_add_pkey(keys, alg, kid, pkey) : "its public part is missing or malformed";
	return why;
}

const char *keys_add_jwks(struct auth_keys *keys, sl_slice text)
{
	static char wrong[160];
	json_error_t error;
	json_t *root = json_loadb(text.data, text.len, JSON_REJECT_DUPLICATES, &error);
	const json_t *list = json_object_get(root, "keys");
	size_t before = keys->n;
	const char *why = NULL;

	if (!root) {
		snprintf(wrong, sizeof wrong, "line %d, column %d: this is not JSON", error.line, error.column);
		why = wrong;
	} else if (!json_is_array(list)) {
		why = "expected {\"keys\": [...]}";
	}
	for (size_t i = 0; !why && i < json_array_size(list); i++) {
		const char *bad = keys_add_jwk(keys, json_array_get(list, i));

		if (bad) {
			snprintf(wrong, sizeof wrong, "keys[%zu]: %s", i, bad);
			why = wrong;
		}
	}
	if (!why && keys->n == before)
		why = "there is no key for HS256, RS256, ES256 or EdDSA in it";
	json_decref(root);
	return why;
}

/* ---- the configuration ---- */

static const char *key_load_file(struct auth_keys *keys, const struct sluice_conf *conf, enum jwt_alg alg,
                                 struct sl_conf_errors *errors)
{
	size_t len = 0;
	char *data = auth_file(conf, "file", &len, errors);
	const char *why = NULL;

	if (!data)
		return NULL; /* told already */
	if (alg == JWT_HS256) {
		sl_slice secret =
			SL_SLICE(data, len > 0 && data[len - 1] == '\n' ? len - 1 : len); /* what an editor adds */

		why = keys_add_secret(keys, sl_conf_str(conf, "kid"), secret);
		auth_file_secret(conf, "file");
	} else {
		why = keys_add_pem(keys, alg, sl_conf_str(conf, "kid"), SL_SLICE(data, len));
	}
	OPENSSL_cleanse(data, len);
	free(data);
	return why;
}

static void key_load(struct auth_keys *keys, const struct sluice_conf *conf, struct sl_conf_errors *errors)
{
	bool file = *sl_conf_str(conf, "file"), secret = *sl_conf_str(conf, "secret");
	int64_t index = sl_conf_int(conf, "alg"); /* auto, then those of jwt_alg_names */
	enum jwt_alg alg = index > 0 ? (enum jwt_alg)(index - 1) : JWT_ALGS;
	const char *why;

	if (file == secret) {
		sl_conf_error_at(conf, "", errors, "a key has either a file or a secret");
		return;
	}
	if (secret && alg != JWT_ALGS && alg != JWT_HS256) {
		sl_conf_error_at(conf, "alg", errors, "a secret is for HS256");
		return;
	}
	if (file)
		why = key_load_file(keys, conf, alg, errors);
	else
		why = keys_add_secret(keys, sl_conf_str(conf, "kid"), sl_slice_str(sl_conf_str(conf, "secret")));
	if (why)
		sl_conf_error_at(conf, file ? "file" : "secret", errors, "%s", why);
}

static bool keys_secret_since(const struct auth_keys *keys, size_t before)
{
	while (before < keys->n && !keys->v[before].secret)
		before++;
	return before < keys->n;
}

int keys_load(struct auth_keys *keys, const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	size_t before = errors->n, len = 0;

	for (size_t i = 0; i < sl_conf_len(root, "auth.jwt.keys"); i++)
		key_load(keys, sl_conf_at(root, "auth.jwt.keys", i), errors);
	if (*sl_conf_str(root, "auth.jwt.jwks")) {
		char *data = auth_file(root, "auth.jwt.jwks", &len, errors);
		size_t have = keys->n;
		const char *why = data ? keys_add_jwks(keys, SL_SLICE(data, len)) : NULL;

		if (why)
			sl_conf_error_at(root, "auth.jwt.jwks", errors, "%.200s: %s",
			                 sl_conf_str(root, "auth.jwt.jwks"), why);
		if (keys_secret_since(keys, have))
			auth_file_secret(root, "auth.jwt.jwks");
		if (data)
			OPENSSL_cleanse(data, len);
		free(data);
	}
	return errors->n > before ? SLUICE_EINVAL : 0;
}
