/*
 * token.c - tokens of SDS clients: what has to be in them, and making new ones (B.1, B.3). Plugin sds, worker process.
 *
 * The host verifies signature, times and issuer with the plugin's own secrets and no tolerance; what the claims mean is decided here.
 */
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

bool scope_parse(slice s, enum scope *scope)
{
	static const char *const names[] = {[SCOPE_READ] = "read", [SCOPE_WRITE] = "write", [SCOPE_ADMIN] = "admin"};

	for (*scope = SCOPE_READ; *scope <= SCOPE_ADMIN; ++*scope)
		if (slice_is(s, names[*scope]))
			return true;
	return false;
}

/* A claim that has to be a string; NULL: it is none. */
static json_t *claim_string(const struct sds *s, const struct sluice_principal *p, const char *name)
{
	slice text = s->host->claim(p, name);
	json_t *v = text.data ? json_loadb(text.data, text.len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL) : NULL;

	if (json_is_string(v))
		return v;
	json_decref(v);
	return NULL;
}

static slice string_slice(const json_t *v)
{
	return v ? SLICE(json_string_value(v), json_string_length(v)) : SLICE(NULL, 0);
}

static enum verdict claims_check(const struct sds *s, const struct sluice_principal *p, slice id, struct token *t)
{
	json_t *sub = claim_string(s, p, "sub"), *scope = claim_string(s, p, "scope");
	bool good;

	t->aud = claim_string(s, p, "aud"); /* a list is refused */
	good = sub && t->aud && scope && scope_parse(string_slice(scope), &t->scope);
	json_decref(sub);
	json_decref(scope);
	if (!good)
		return TOKEN_BAD;
	return !id.data || slice_eq(string_slice(t->aud), id) ? TOKEN_GOOD : TOKEN_FOREIGN;
}

enum verdict token_check(const struct sds *s, slice token, slice id, struct token *t)
{
	const struct sluice_verify v = {.size = sizeof v,
	                                .secret = s->secrets,
	                                .n_secret = s->n_secrets,
	                                .issuer = *s->issuer ? s->issuer : NULL};
	const struct sluice_principal *p = NULL;
	enum verdict verdict = TOKEN_BAD;

	t->aud = NULL;
	if (!token.data || token.len == 0)
		return TOKEN_BAD;
	if (s->host->verify(s->ctx, token, &v, &p) == 0)
		verdict = claims_check(s, p, id, t);
	s->host->principal_free(p);
	if (verdict != TOKEN_GOOD)
		token_fini(t);
	return verdict;
}

void token_fini(struct token *t)
{
	json_decref(t->aud);
	t->aud = NULL;
}

/* ---- making one ---- */

int64_t token_lifetime(const json_t *duration)
{
	static const struct {
		char unit;
		int64_t s;
	} units[] = {{'s', 1}, {'m', 60}, {'h', 3600}, {'d', 86400}};
	const int64_t day = 86400, max = INT64_C(1000) * 365 * 86400;
	const char *p = json_string_value(duration);
	int64_t n = 0;
	size_t i = 0;

	for (; p && p[i] >= '0' && p[i] <= '9'; i++)
		n = n > max ? max : n * 10 + (p[i] - '0');
	if (i == 0 || !p[i] || p[i + 1])
		return day;
	for (size_t k = 0; k < sizeof units / sizeof *units; k++)
		if (units[k].unit == p[i])
			return n > max / units[k].s ? max : n * units[k].s;
	return day;
}

/* Behind *at; there is room. */
static void base64url(const void *data, size_t n, char *out, size_t *at)
{
	size_t len = (size_t)EVP_EncodeBlock((unsigned char *)out + *at, data, (int)n);

	while (len > 0 && out[*at + len - 1] == '=')
		len--;
	for (size_t i = *at; i < *at + len; i++)
		out[i] = (char)(out[i] == '+' ? '-' : out[i] == '/' ? '_' : out[i]);
	*at += len;
}

static char *token_text(const struct sds *s, const char *claims)
{
	static const char header[] = "{\"alg\":\"HS256\",\"typ\":\"JWT\"}";
	size_t n = strlen(claims), at = 0;
	char *out = malloc((n + sizeof header) / 3 * 4 + 128);
	uint8_t mac[HASH_LEN];
	unsigned n_mac = 0;

	if (!out)
		return NULL;
	base64url(header, sizeof header - 1, out, &at);
	out[at++] = '.';
	base64url(claims, n, out, &at);
	if (!HMAC(EVP_sha256(), s->secrets[0].data, (int)s->secrets[0].len, (const uint8_t *)out, at, mac, &n_mac)) {
		free(out);
		return NULL;
	}
	out[at++] = '.';
	base64url(mac, n_mac, out, &at);
	out[at] = '\0';
	return out;
}

char *token_sign(const struct sds *s, const json_t *sub, const json_t *scope, const json_t *aud, int64_t iat, int64_t exp)
{
	json_t *claims = json_pack("{s:O, s:O, s:O, s:I, s:I}", "sub", sub, "scope", scope, "aud", aud, "iat",
	                           (json_int_t)iat, "exp", (json_int_t)exp);
	char *text = NULL, *token = NULL;

	if (claims && (!*s->issuer || json_object_set_new(claims, "iss", json_string(s->issuer)) == 0))
		text = json_dumps(claims, JSON_COMPACT);
	if (text)
		token = token_text(s, text);
	free(text);
	json_decref(claims);
	return token;
}
