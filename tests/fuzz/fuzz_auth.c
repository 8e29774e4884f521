/*
 * fuzz_auth.c - fuzz target: bearer tokens, claims and patterns. A token that nobody signed is never good; whatever is signed is
 * either refused or has claims; a pattern matches what a slow and simple reading of the rules says. Tests only.
 */
#include <stdlib.h>

#include "tests/unit/frontend/auth/sign.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { SLOW_MAX = 48 }; /* the reference takes exponential time */

static struct auth_keys keys;

static void keys_once(void)
{
	static const char jwks[] =
		"{\"keys\":[{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
		"\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"},{\"kty\":\"OKP\",\"crv\":\"Ed25519\","
		"\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}]}";

	if (keys.n == 0 && (keys_add_secret(&keys, NULL, SL_STR(SECRET)) || keys_add_jwks(&keys, sl_slice_str(jwks))))
		abort();
}

static void fuzz_token(const uint8_t *data, size_t n)
{
	struct jwt_rules rules = {0};
	json_t *claims;
	int64_t expires;

	/* Seeds are signed by nobody who has our secret. */
	if (jwt_verify(&keys, &rules, SL_SLICE(data, n), 1000, &claims, &expires) == AUTH_GOOD || claims)
		abort();
}

static void fuzz_claims(const uint8_t *data, size_t n)
{
	static const char *const audience[] = {"a"};
	struct jwt_rules rules = {.issuer = "i", .audience = audience, .n_audience = 1, .leeway_s = 5};
	char payload[4096];
	json_t *claims;
	int64_t expires;
	enum auth_reason reason;

	if (n >= sizeof payload || memchr(data, 0, n))
		return;
	memcpy(payload, data, n);
	payload[n] = '\0';
	for (int strict = 0; strict < 2; strict++) {
		reason = jwt_verify(&keys, strict ? &rules : &(struct jwt_rules){0}, sl_slice_str(sign(HS256, payload)),
		                    1000, &claims, &expires);
		if ((reason == AUTH_GOOD) != (claims != NULL) || reason == AUTH_SIGNATURE || reason == AUTH_ALGORITHM)
			abort();
		if (reason == AUTH_GOOD && expires <= 1000)
			abort();
		if (reason == AUTH_GOOD)
			policy_free(policy_claim_load(json_object_get(claims, "p")));
		json_decref(claims);
	}
}

/* ---- patterns ---- */

static bool slow_segment(const char *p, const char *p_end, const char *t, const char *t_end)
{
	if (p == p_end)
		return t == t_end;
	if (*p == '*')
		return slow_segment(p + 1, p_end, t, t_end) || (t < t_end && slow_segment(p, p_end, t + 1, t_end));
	if (*p == '\\' && p + 1 < p_end)
		p++;
	return t < t_end && *p == *t && slow_segment(p + 1, p_end, t + 1, t_end);
}

static const char *segment_end(const char *p, const char *end)
{
	const char *slash = p < end ? memchr(p, '/', (size_t)(end - p)) : NULL;

	return slash ? slash : end;
}

/* p, t: where a segment begins, or NULL behind the last. */
static bool slow_match(const char *p, const char *p_end, const char *t, const char *t_end)
{
	const char *p_seg, *t_seg, *p_next, *t_next;

	if (!p)
		return !t;
	p_seg = segment_end(p, p_end);
	p_next = p_seg < p_end ? p_seg + 1 : NULL;
	if (!t)
		return false;
	t_seg = segment_end(t, t_end);
	t_next = t_seg < t_end ? t_seg + 1 : NULL;
	if (p_seg - p == 2 && memcmp(p, "**", 2) == 0)
		return !p_next || slow_match(p_next, p_end, t, t_end) || slow_match(p, p_end, t_next, t_end);
	return slow_segment(p, p_seg, t, t_seg) && slow_match(p_next, p_end, t_next, t_end);
}

static void fuzz_glob(const uint8_t *data, size_t n)
{
	const uint8_t *nul = memchr(data, 0, n);
	const char *pattern = (const char *)data, *name, *end = (const char *)data + n;
	size_t n_pattern;
	bool match;

	if (!nul)
		return;
	n_pattern = (size_t)(nul - data);
	name = (const char *)nul + 1;
	if (glob_check(SL_SLICE(pattern, n_pattern)))
		return;
	match = glob_match(SL_SLICE(pattern, n_pattern), SL_SLICE(name, (size_t)(end - name)));
	if (n <= SLOW_MAX && match != slow_match(pattern, pattern + n_pattern, name, end))
		abort();
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	keys_once();
	if (n == 0)
		return 0;
	switch (data[0]) {
	case 't':
		fuzz_token(data + 1, n - 1);
		break;
	case 'c':
		fuzz_claims(data + 1, n - 1);
		break;
	default:
		fuzz_glob(data, n);
		break;
	}
	return 0;
}
