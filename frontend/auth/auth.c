/*
 * auth.c - the access service of a worker: from a token to a principal, from a principal to a verdict. Process: sluice-frontend.
 *
 * The usual request costs one SHA-256 and one look into a table: static tokens are known by their hash, and so are JWTs that
 * were verified before.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <strings.h>
#include <time.h>

#include "frontend/auth/cache.h"
#include "frontend/auth/keys.h"
#include "frontend/auth/service.h"

static uint64_t wall_ms(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_REALTIME, &ts);
	return (uint64_t)ts.tv_sec * 1000 + (uint64_t)ts.tv_nsec / 1000000;
}

static uint64_t now_us(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

/* ---- life ---- */

static int rules_load(struct auth *a, const struct sluice_conf *root)
{
	size_t n = sl_conf_len(root, "auth.jwt.audience");
	const char *policy_claim = sl_conf_str(root, "auth.jwt.policy_claim");

	a->rules.leeway_s = sl_conf_int(root, "auth.jwt.leeway") / 1000;
	a->rules.require_exp = sl_conf_int(root, "auth.jwt.require_exp") != 0;
	a->issuer = strdup(sl_conf_str(root, "auth.jwt.issuer"));
	a->name_claim = strdup(sl_conf_str(root, "auth.jwt.name_claim"));
	a->policy_claim = *policy_claim ? strdup(policy_claim) : NULL;
	a->audience = (char **)calloc(n + 1, sizeof *a->audience);
	if (!a->issuer || !a->name_claim || (*policy_claim && !a->policy_claim) || !a->audience)
		return SLUICE_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		a->audience[i] = strdup(sl_conf_str(sl_conf_at(root, "auth.jwt.audience", i), ""));
		if (!a->audience[i])
			return SLUICE_ENOMEM;
	}
	a->rules.issuer = *a->issuer ? a->issuer : NULL;
	a->rules.audience = (const char *const *)a->audience;
	a->rules.n_audience = n;
	return 0;
}

static int auth_load(struct auth *a, const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	size_t before = errors->n;
	int64_t mode = sl_conf_int(root, "auth.mode");

	a->mode = mode < 0 || mode > AUTH_JWT ? AUTH_NONE : (enum auth_mode)mode;
	/* Without memory for its own beginnings OpenSSL 3.0 leaves a context whose locks are missing, and every call falls over. */
	if (!OSSL_LIB_CTX_get0_global_default())
		return SLUICE_ENOMEM;
	a->digest = EVP_MD_fetch(NULL, "SHA256", NULL);
	a->digest_ctx = EVP_MD_CTX_new();
	if (!a->digest || !a->digest_ctx || rules_load(a, root))
		return SLUICE_ENOMEM;
	if (a->mode == AUTH_NONE)
		return 0;
	(void)tokens_load(&a->tokens, root, errors);
	if (a->mode == AUTH_JWT)
		(void)keys_load(&a->keys, root, errors);
	a->policy = policy_load(root, errors);
	if (errors->n > before)
		return SLUICE_EINVAL;
	return a->policy ? 0 : SLUICE_ENOMEM;
}

struct auth *auth_new(const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	struct auth *a = calloc(1, sizeof *a);

	if (!a)
		return NULL;
	a->magic = AUTH_MAGIC;
	a->wall_ms = wall_ms;
	a->now_us = now_us;
	cache_init(&a->cache);
	clients_init(&a->clients, root);
	if (auth_load(a, root, errors) == 0)
		return a;
	auth_free(a);
	return NULL;
}

void auth_free(struct auth *a)
{
	if (!a)
		return;
	assert(a->magic == AUTH_MAGIC);
	cache_fini(&a->cache);
	clients_fini(&a->clients);
	tokens_fini(&a->tokens);
	keys_fini(&a->keys);
	policy_free(a->policy);
	for (size_t i = 0; a->audience && a->audience[i]; i++)
		free(a->audience[i]);
	free((void *)a->audience);
	free(a->issuer);
	free(a->name_claim);
	free(a->policy_claim);
	EVP_MD_CTX_free(a->digest_ctx);
	EVP_MD_free(a->digest);
	a->magic = 0;
	free(a);
}

/* ---- from a token to a principal ---- */

/* RFC 6750 2.1. data NULL: another scheme, or nothing behind it; such a header is somebody else's business. */
static sl_slice bearer(sl_slice header)
{
	static const char scheme[] = "bearer";
	const char *p = header.data;
	size_t n = sizeof scheme - 1, len = header.len;

	if (len <= n || strncasecmp(p, scheme, n) != 0 || p[n] != ' ')
		return SL_SLICE(NULL, 0);
	while (n < len && p[n] == ' ')
		n++;
	while (len > n && (p[len - 1] == ' ' || p[len - 1] == '\t'))
		len--;
	return len > n ? SL_SLICE(p + n, len - n) : SL_SLICE(NULL, 0);
}

/* The principal of verified claims; takes them over. */
static const struct sluice_principal *principal_of_claims(json_t *claims, const char *name_claim,
                                                          const char *policy_claim, int64_t expires_s)
{
	const json_t *name = json_object_get(claims, name_claim);
	const json_t *policy = policy_claim ? json_object_get(claims, policy_claim) : NULL;
	struct sluice_principal *p;

	if ((name && !json_is_string(name)) || json_string_length(name) > AUTH_NAME_MAX ||
	    (name && memchr(json_string_value(name), 0, json_string_length(name)))) {
		json_decref(claims);
		return principal_of_reason(AUTH_CLAIMS);
	}
	p = principal_new(PRINCIPAL_CLAIMS, SL_SLICE(json_string_value(name), json_string_length(name)));
	if (!p) {
		json_decref(claims);
		return principal_of_reason(AUTH_TROUBLE);
	}
	p->claims = claims;
	p->expires_ms = expires_s == INT64_MAX ? 0 : expires_s <= 0 ? 1 : (uint64_t)expires_s * 1000;
	p->policy = policy ? policy_claim_load(policy) : NULL;
	if (!policy || p->policy)
		return p;
	principal_unref(p);
	return principal_of_reason(AUTH_CLAIMS);
}

static const struct sluice_principal *auth_jwt(struct auth *a, sl_slice token, const uint8_t digest[DIGEST_LEN],
                                               sl_slice client)
{
	uint64_t now = a->wall_ms();
	const struct sluice_principal *p = cache_find(&a->cache, digest, now);
	enum auth_reason reason;
	json_t *claims;
	int64_t expires;

	if (p) {
		auth_count(a->n_cached);
		return principal_ref(p);
	}
	/* Verifying costs more than everything else here: not for whoever sends one bad token after the other. */
	if (clients_wait(&a->clients, client, a->now_us()))
		return principal_of_reason(AUTH_LIMITED);
	auth_count(a->n_verified);
	reason = jwt_verify(&a->keys, &a->rules, token, (int64_t)(now / 1000), &claims, &expires);
	if (reason)
		return principal_of_reason(reason);
	p = principal_of_claims(claims, a->name_claim, a->policy_claim, expires);
	if (p->reason == AUTH_GOOD)
		cache_put(&a->cache, digest, p, token.len);
	return p;
}

/* With a reference. */
static const struct sluice_principal *auth_token(struct auth *a, sl_slice token, sl_slice client)
{
	const struct sluice_principal *p;
	uint8_t digest[DIGEST_LEN];

	if (token.len > AUTH_TOKEN_MAX)
		return principal_of_reason(AUTH_TOO_LONG);
	if (EVP_DigestInit_ex2(a->digest_ctx, a->digest, NULL) != 1 ||
	    EVP_DigestUpdate(a->digest_ctx, token.data, token.len) != 1 ||
	    EVP_DigestFinal_ex(a->digest_ctx, digest, NULL) != 1)
		return principal_of_reason(AUTH_TROUBLE);
	p = tokens_find(&a->tokens, digest);
	if (p)
		return principal_ref(p);
	return a->mode == AUTH_JWT ? auth_jwt(a, token, digest, client) : principal_of_reason(AUTH_UNKNOWN);
}

static const struct sluice_principal *auth_principal(struct auth *a, const struct auth_ask *ask)
{
	sl_slice token;

	if (a->mode == AUTH_NONE)
		return principal_of_reason(AUTH_OPEN);
	token = bearer(ask->authorization);
	if (!token.data)
		token = ask->token;
	if (token.data)
		return auth_token(a, token, ask->client);
	return principal_of_reason(policy_knows_anonymous(a->policy) ? AUTH_OPEN : AUTH_ABSENT);
}

int auth_verify(struct auth *a, sl_slice token, const struct sluice_verify *how, const struct sluice_principal **out)
{
	struct jwt_rules rules = {0};
	struct auth_keys keys = {0};
	enum auth_reason reason = AUTH_GOOD;
	struct sluice_principal *p;
	json_t *claims;
	int64_t expires;

	if (!how || how->n_secret == 0) {
		struct auth_ask ask = {.token = token};

		*out = auth_principal(a, &ask);
		return (*out)->reason == AUTH_GOOD || a->mode == AUTH_NONE ? 0 : SLUICE_EDENIED;
	}
	rules.issuer = how->issuer;
	rules.audience = &how->audience;
	rules.n_audience = how->audience ? 1 : 0;
	rules.leeway_s = how->leeway_s;
	rules.require_exp = how->flags & SLUICE_VERIFY_EXP;
	for (size_t i = 0; i < how->n_secret && reason == AUTH_GOOD; i++) {
		reason = AUTH_TROUBLE;
		if (how->secret[i].len >= SECRET_MIN && how->secret[i].len <= SECRET_MAX &&
		    !keys_add_secret(&keys, NULL, how->secret[i]))
			reason = AUTH_GOOD;
	}
	if (reason == AUTH_GOOD)
		reason = token.data
		                 ? jwt_verify(&keys, &rules, token, (int64_t)(a->wall_ms() / 1000), &claims, &expires)
		                 : AUTH_ABSENT;
	keys_fini(&keys);
	*out = reason ? principal_of_reason(reason) : principal_of_claims(claims, "sub", NULL, expires);
	if ((*out)->reason)
		return (*out)->reason == AUTH_TROUBLE ? SLUICE_EINVAL : SLUICE_EDENIED;
	p = (struct sluice_principal *)(uintptr_t)*out;
	p->foreign = true;
	return 0;
}

/* ---- from a principal to a verdict ---- */

int auth_may(const struct auth *a, const struct sluice_principal *p, const char *action, sl_slice stream)
{
	if (!principal_valid(p) || !action || p->foreign)
		return SLUICE_EDENIED;
	if (a->mode == AUTH_NONE)
		return 0;
	if (p->reason != AUTH_GOOD && p->reason != AUTH_OPEN)
		return SLUICE_EDENIED;
	if (p->expires_ms && a->wall_ms() >= p->expires_ms)
		return SLUICE_EDENIED; /* a connection may outlive its token */
	return policy_allows(p->policy ? p->policy : a->policy, p, action, stream) ? 0 : SLUICE_EDENIED;
}

/* True: he asks too often. Whoever is known is a client by his name, wherever he comes from; others by their address. */
static bool auth_limited(struct auth *a, const struct auth_ask *ask, struct auth_verdict *v)
{
	const struct sluice_principal *p = v->principal;
	uint8_t name[1 + AUTH_NAME_MAX] = {'n'};
	sl_slice key = ask->client;
	uint64_t wait;

	if (!a->clients.rate)
		return false;
	if (p->reason == AUTH_GOOD && p->name) {
		key = SL_SLICE(name, 1 + strlen(p->name));
		memcpy(name + 1, p->name, key.len - 1);
	}
	wait = clients_request(&a->clients, key, a->now_us());
	if (!wait && p->reason != AUTH_LIMITED)
		return false;
	auth_refusal(principal_of_reason(AUTH_LIMITED), v);
	snprintf(v->retry_after, sizeof v->retry_after, "%u", (unsigned)(wait / CLIENT_SECOND + 1));
	auth_count(a->n_limited);
	return true;
}

void auth_admit(void *arg, const struct auth_ask *ask, struct auth_verdict *v)
{
	struct auth *a = arg;

	assert(a->magic == AUTH_MAGIC);
	*v = (struct auth_verdict){.principal = auth_principal(a, ask)};
	v->expires_ms = v->principal->expires_ms;
	if (auth_limited(a, ask, v))
		return;
	if (!ask->action || auth_may(a, v->principal, ask->action, ask->stream) == 0)
		return;
	auth_refusal(v->principal, v);
	auth_count(a->n_refused);
}

/* ---- connections ---- */

static int auth_enter(void *arg, sl_slice client)
{
	struct auth *a = arg;
	int rc = clients_enter(&a->clients, client);

	if (rc)
		auth_count(a->n_limited);
	return rc;
}

static void auth_leave(void *arg, sl_slice client)
{
	clients_leave(&((struct auth *)arg)->clients, client);
}

static void auth_busy(struct auth_verdict *v)
{
	*v = (struct auth_verdict){
		.status = 429, .why = "There are too many connections of yours.", .retry_after = "1"};
}

struct auth_hooks auth_hooks(struct auth *a)
{
	return (struct auth_hooks){
		.arg = a,
		.admit = auth_admit,
		.refusal = auth_refusal,
		.release = principal_unref,
		.enter = a->clients.conns ? auth_enter : NULL,
		.leave = auth_leave,
		.busy = auth_busy,
	};
}

void auth_metrics(struct auth *a, struct sl_metrics *m)
{
	a->n_refused = sl_metrics_get(m, "auth.refused", SL_METRICS_COUNTER,
				"Requests that access control refused.");
	a->n_verified = sl_metrics_get(m, "auth.verified", SL_METRICS_COUNTER,
				"Signatures of tokens that were verified.");
	a->n_cached = sl_metrics_get(m, "auth.cached", SL_METRICS_COUNTER,
				"Tokens that had been verified before.");
	a->n_limited = sl_metrics_get(m, "auth.limited", SL_METRICS_COUNTER,
				"Requests beyond the limits of a client.");
}
