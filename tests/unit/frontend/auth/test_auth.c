/* The access service: what it reads, what it refuses to read, and what it says about tokens and names. */
#include <fcntl.h>
#include <openssl/sha.h>
#include <unistd.h>

#include "lib/options.h"
#include "tests/unit/frontend/auth/sign.h"

#define TAIL "frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: streams}]}]\n"

static uint64_t now_ms = UINT64_C(1800000000000);
static struct auth *a;
static struct auth_verdict v;

static uint64_t clock_of_test(void)
{
	return now_ms;
}

/* "sha256:..." of a token. */
static const char *hash(const char *token)
{
	static char text[4][80];
	static unsigned turn;
	char *out = text[turn++ % 4];
	uint8_t digest[SHA256_DIGEST_LENGTH];
	size_t n;

	SHA256((const uint8_t *)token, strlen(token), digest);
	n = (size_t)sprintf(out, "sha256:");
	for (size_t i = 0; i < sizeof digest; i++)
		n += (size_t)sprintf(out + n, "%02x", digest[i]);
	return out;
}

/* The service of this auth section; otherwise the errors, one a line. */
static const char *load(const char *yaml)
{
	static char text[8192];
	struct sl_conf_errors e = {0};
	struct sluice_conf *root;
	struct sl_buf all;
	size_t at = 0;

	sl_buf_init(&all);
	sl_buf_addf(&all, "%s%s", yaml, TAIL);
	root = sl_options_load(sl_buf_slice(&all), &e);
	auth_free(a);
	a = root && !e.n ? auth_new(root, &e) : NULL;
	if (a)
		a->wall_ms = clock_of_test;
	text[0] = '\0';
	for (size_t i = 0; i < e.n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%u:%u: %s", i ? "\n" : "", e.v[i].line,
		                       e.v[i].column, e.v[i].text);
	ok((a == NULL) == (e.n > 0), "a service, or a reason");
	sl_conf_errors_fini(&e);
	sl_conf_free(root);
	sl_buf_fini(&all);
	return text;
}

static int ask(const char *header, const char *token, const char *action, const char *stream)
{
	struct auth_ask q = {.authorization = sl_slice_str(header),
	                     .token = sl_slice_str(token),
	                     .action = action,
	                     .stream = sl_slice_str(stream ? stream : "")};

	principal_unref(v.principal);
	auth_admit(a, &q, &v);
	return v.status;
}

static int jwt(const char *token, const char *action, const char *stream)
{
	return ask(NULL, token, action, stream);
}

static void test_none(void)
{
	is_str(load(""), "", "nothing is required");
	is_int(ask(NULL, NULL, "admin", "x"), 0, "mode none: everybody may do everything");
	is_int(ask("Bearer x", NULL, "admin", "x"), 0, "whatever he sends");
	is_int(principal_who(v.principal), SLUICE_WHO_ANYBODY, "and is anybody");
}

static void test_tokens(void)
{
	char yaml[1024];

	snprintf(yaml, sizeof yaml,
	         "auth: {mode: tokens, tokens: [{name: ann, hash: '%s'}, {name: bob, hash: '%s'}]}\n",
	         hash("token-of-ann"), hash("token-of-bob"));
	is_str(load(yaml), "", "tokens");
	is_int(ask("Bearer token-of-ann", NULL, "admin", "x"), 0, "without rules a token is enough");
	ok(sl_slice_is(principal_name(v.principal), "ann") && principal_who(v.principal) == SLUICE_WHO_KNOWN,
	   "it has a name");
	is_int(ask("bearer   token-of-bob  ", NULL, "read", "x"), 0, "the scheme in any case, blanks around the token");
	is_int(ask(NULL, "token-of-bob", "read", "x"), 0, "by the query");
	is_int(ask("Basic YTpi", "token-of-bob", "read", "x"), 0, "another scheme is not ours");
	is_int(ask("Bearer nobody", "token-of-bob", "read", "x"), 401, "the header comes first");
	is_str(v.challenge, "Bearer error=\"invalid_token\", error_description=\"it is not known\"", "and is told why");
	is_int(principal_who(v.principal), SLUICE_WHO_INVALID, "to the plugin too");
	is_int(ask(NULL, NULL, "read", "x"), 401, "no token");
	is_str(v.challenge, "Bearer realm=\"sluice\"", "is no error");
	is_int(principal_who(v.principal), SLUICE_WHO_NOBODY, "but nobody");
	is_int(ask("Bearer", NULL, "read", "x"), 401, "an empty one");
	is_int(ask("Bearer ", NULL, "read", "x"), 401, "nor is that");
	is_int(ask(NULL, "", "read", "x"), 401, "nor an empty parameter");
	is_int(ask(NULL, NULL, NULL, NULL), 0, "a route that decides itself");
	is_int(ask("Bearer token-of-ann", NULL, "unknown", "x"), 403, "an action that nobody has heard of");
	is_str(v.challenge, "Bearer error=\"insufficient_scope\"", "403");
	{
		char *longest = calloc(1, AUTH_TOKEN_MAX + 2);

		memset(longest, 'a', AUTH_TOKEN_MAX + 1);
		is_int(ask(NULL, longest, "read", "x"), 401, "a huge one");
		is_str(v.why, "The token was refused: it is too long.", "is not looked at");
		free(longest);
	}
}

static void test_policy(void)
{
	char yaml[2048];

	snprintf(yaml, sizeof yaml,
	         "auth:\n  mode: tokens\n  tokens: [{name: ann, hash: '%s'}, {name: bob, hash: '%s'}]\n"
	         "  policy:\n"
	         "    - {who: ['*'], paths: ['secret/**'], actions: []}\n"
	         "    - {who: [ann, carl], paths: ['a/**', b], actions: [all]}\n"
	         "    - {who: [anonymous], paths: ['public/*'], actions: [read]}\n"
	         "    - {who: ['*'], paths: ['**'], actions: [read, append]}\n",
	         hash("ann"), hash("bob"));
	is_str(load(yaml), "", "rules");
	is_int(ask("Bearer ann", NULL, "delete", "a/x/y"), 0, "all");
	is_int(ask("Bearer ann", NULL, "delete", "b"), 0, "the second path");
	is_int(ask("Bearer ann", NULL, "delete", "c"), 403, "elsewhere the last rule");
	is_int(ask("Bearer bob", NULL, "read", "a/x"), 0, "who is not named");
	is_int(ask("Bearer bob", NULL, "append", "a/x"), 0, "falls to the last rule");
	is_int(ask("Bearer bob", NULL, "create", "a/x"), 403, "which does not list everything");
	is_int(ask("Bearer ann", NULL, "read", "secret/x"), 403,
	       "the first rule that fits decides, also when it refuses");
	is_int(ask("Bearer ann", NULL, "read", "secret"), 0, "below means below");
	is_int(ask(NULL, NULL, "read", "public/x"), 0, "whoever has no token");
	is_int(principal_who(v.principal), SLUICE_WHO_ANYBODY, "is anybody then");
	is_int(ask(NULL, NULL, "append", "public/x"), 401, "may do that only");
	is_int(ask(NULL, NULL, "read", "public/x/y"), 401, "and there only");
	is_int(ask("Bearer wrong", NULL, "read", "public/x"), 401, "a bad token is refused where none would do");
	snprintf(yaml, sizeof yaml, "auth: {mode: tokens, tokens: [{name: ann, hash: '%s'}], policy: []}\n",
	         hash("ann"));
	is_str(load(yaml), "", "an empty list of rules");
	is_int(ask("Bearer ann", NULL, "read", "x"), 403, "lets nobody do anything");
}

static void test_jwt(void)
{
	char payload[512];
	const char *token;

	is_str(load("auth:\n  mode: jwt\n  jwt:\n    keys: [{secret: " SECRET
	            "}]\n    leeway: 0s\n    policy_claim: may\n"
	            "  policy: [{who: [ann], paths: ['**'], actions: [read]}]\n"),
	       "", "a secret");
	snprintf(payload, sizeof payload, "{\"sub\":\"ann\",\"exp\":%llu,\"x\":{\"y\":[1]}}",
	         (unsigned long long)now_ms / 1000 + 60);
	token = sign(HS256, payload);
	is_int(jwt(token, "read", "x"), 0, "a token");
	is_int(principal_expires(v.principal), (long long)now_ms + 60000, "that expires");
	ok(sl_slice_is(principal_claim(v.principal, "x"), "{\"y\":[1]}") &&
	           sl_slice_is(principal_claim(v.principal, "sub"), "\"ann\""),
	   "has claims");
	ok(principal_claim(v.principal, "x").data == principal_claim(v.principal, "x").data, "whose texts stay");
	ok(!principal_claim(v.principal, "z").data, "but not others");
	is_int(jwt(token, "append", "x"), 403, "rules know the name");
	is_int(a->cache.n, 1, "it is remembered");
	now_ms += 59999;
	is_int(jwt(token, "read", "x"), 0, "until it expires");
	now_ms++;
	is_int(auth_may(a, v.principal, "read", SL_STR("x")), SLUICE_EDENIED,
	       "then who has it may do nothing any more");
	is_int(jwt(token, "read", "x"), 401, "and it is refused");
	is_int(principal_who(v.principal), SLUICE_WHO_EXPIRED, "because it has expired");
	is_int(a->cache.n, 0, "and forgotten");
	is_int(jwt("x.y.z", "read", "x"), 401, "no JWT");
	is_int(a->cache.n, 0, "what is refused is not remembered");
	snprintf(payload, sizeof payload,
	         "{\"sub\":\"ann\",\"exp\":%llu,\"may\":[{\"paths\":[\"mine/*\"],\"actions\":[\"append\"]}]}",
	         (unsigned long long)now_ms / 1000 + 60);
	token = sign(HS256, payload);
	is_int(jwt(token, "append", "mine/x"), 0, "rules of its own");
	is_int(jwt(token, "read", "mine/x"), 403, "decide alone");
}

static void test_claims(void)
{
	static const struct {
		const char *name, *claims;
		int want;
	} cases[] = {
		{"no name", "", 403}, /* the rule names somebody */
		{"a name that is no text", ",\"sub\":1", 401},
		{"a name with a NUL", ",\"sub\":\"ann\\u0000\"", 401},
		{"anonymous", ",\"sub\":\"anonymous\"", 403},
		{"a star", ",\"sub\":\"*\"", 403},
		{"rules that are no list", ",\"may\":{}", 401},
		{"null", ",\"may\":null", 401},
		{"a rule without paths", ",\"may\":[{\"actions\":[\"all\"]}]", 401},
		{"with something that is not known", ",\"may\":[{\"paths\":[\"**\"],\"actions\":[\"all\"],\"not\":[]}]",
	         401},
		{"an unknown action", ",\"may\":[{\"paths\":[\"**\"],\"actions\":[\"fly\"]}]", 401},
		{"a bad pattern", ",\"may\":[{\"paths\":[\"a**\"],\"actions\":[\"all\"]}]", 401},
		{"no paths", ",\"may\":[{\"paths\":[],\"actions\":[\"all\"]}]", 401},
		{"no rules", ",\"may\":[]", 403},
		{"all", ",\"may\":[{\"paths\":[\"**\"],\"actions\":[\"all\"]}]", 0},
	};
	char payload[512];

	is_str(load("auth:\n  mode: jwt\n  jwt: {keys: [{secret: " SECRET "}], require_exp: false, policy_claim: may}\n"
	            "  policy: [{who: [anonymous, ann], paths: ['**'], actions: [read]}]\n"),
	       "", "a secret");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		snprintf(payload, sizeof payload, "{\"iat\":1%s}", cases[i].claims);
		is_int(jwt(sign(HS256, payload), "read", "x"), cases[i].want, cases[i].name);
	}
}

static void test_cache(void)
{
	char payload[128];

	is_str(load("auth: {mode: jwt, jwt: {keys: [{secret: " SECRET "}], require_exp: false}}\n"), "", "a secret");
	for (int i = 0; i < CACHE_MAX + 100; i++) {
		snprintf(payload, sizeof payload, "{\"sub\":\"u%d\"}", i);
		if (jwt(sign(HS256, payload), "read", "x"))
			break;
	}
	is_int(a->cache.n, CACHE_MAX, "the cache is bounded");
	ok(a->cache.bytes <= CACHE_BYTES && a->cache.bytes > 0, "in bytes too");
	ok(sl_slice_is(principal_name(v.principal), "u4195"), "the last one is there");
}

static void test_verify(void)
{
	struct sluice_slice secret[2] = {SL_STR("another-secret-of-thirty-two-bytes"), SL_STR(SECRET)};
	struct sluice_verify how = {.size = sizeof how, .secret = secret, .n_secret = 2};
	const struct sluice_principal *p;
	const char *token = sign(HS256, "{\"sub\":\"u1\",\"aud\":\"demo\",\"scope\":\"read\",\"iat\":1700000000}");

	is_str(load(""), "", "mode none");
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), 0, "a plugin's own secret");
	ok(sl_slice_is(principal_name(p), "u1") && sl_slice_is(principal_claim(p, "scope"), "\"read\""),
	   "name and claims");
	is_int(auth_may(a, p, "read", SL_STR("x")), SLUICE_EDENIED, "the policy does not know it");
	principal_unref(p);
	how.issuer = "me";
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), SLUICE_EDENIED, "another issuer");
	is_int(principal_who(p), SLUICE_WHO_INVALID, "invalid");
	how.issuer = NULL;
	how.audience = "demo";
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), 0, "its audience");
	principal_unref(p);
	how.flags = SLUICE_VERIFY_EXP;
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), SLUICE_EDENIED, "exp is required");
	how.flags = 0;
	how.n_secret = 1;
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), SLUICE_EDENIED, "signed with something else");
	is_int(auth_verify(a, SL_SLICE(NULL, 0), &how, &p), SLUICE_EDENIED, "no token");
	is_int(principal_who(p), SLUICE_WHO_NOBODY, "is nobody");
	secret[0] = SL_STR("short");
	is_int(auth_verify(a, sl_slice_str(token), &how, &p), SLUICE_EINVAL, "a secret that is too short");
	/* The example of the SDS clients. */
	secret[0] = SL_STR(SECRET);
	is_int(auth_verify(
		       a,
		       SL_STR("eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJ1MSIsImF1ZCI6ImRlbW8iLCJzY29wZSI6InJlYWQiLCJpYXQi"
	                      "OjE3MDAwMDAwMDB9.98GrY2qmypNpU2y3WcvE8c93gz07NI9P-72J6-PHAJM"),
		       &how, &p),
	       0, "a known token");
	principal_unref(p);
}

static uint64_t now_us = 1000000;

static uint64_t us_of_test(void)
{
	return now_us;
}

/* A known client is limited by its name, whoever is not known by where it comes from. */
static void test_limits(void)
{
	struct auth_ask bad = {.authorization = SL_STR("Bearer a.b.c"), .action = "read", .client = SL_STR("\2there")};
	struct auth_ask good = bad;
	const char *token = sign(HS256, "{\"sub\":\"ann\"}"), *other = sign(HS256, "{\"sub\":\"bob\"}");
	char header[512];
	uint64_t verified = 0;

	principal_unref(v.principal);
	v.principal = NULL;
	is_str(load("limits: {client_requests: 2, client_burst: 3}\n"
	            "auth: {mode: jwt, jwt: {keys: [{secret: " SECRET "}], require_exp: false}}\n"),
	       "", "limits");
	a->now_us = us_of_test;
	a->n_verified = &verified;
	for (int i = 0; i < 3; i++) {
		auth_admit(a, &bad, &v);
		is_int(v.status, 401, "bad tokens");
	}
	is_int(verified, 3, "are looked at");
	auth_admit(a, &bad, &v);
	is_int(v.status, 429, "until there are too many");
	is_str(v.retry_after, "1", "it is said when to come back");
	is_int(verified, 3, "and not even looked at then");
	good.authorization = SL_SLICE(header, (size_t)snprintf(header, sizeof header, "Bearer %s", token));
	auth_admit(a, &good, &v);
	is_int(v.status, 429, "nor is a token that was never seen, from the same address");
	principal_unref(v.principal);
	good.client = SL_STR("\2elsewhere");
	for (int i = 0; i < 3; i++) {
		auth_admit(a, &good, &v);
		is_int(v.status, 0, "from elsewhere it is");
		principal_unref(v.principal);
	}
	good.client = SL_STR("\2nowhere");
	auth_admit(a, &good, &v);
	is_int(v.status, 429, "and counts for its name, wherever it comes from");
	principal_unref(v.principal);
	good.authorization = SL_SLICE(header, (size_t)snprintf(header, sizeof header, "Bearer %s", other));
	auth_admit(a, &good, &v);
	is_int(v.status, 0, "another name has a limit of its own");
	principal_unref(v.principal);
	good.action = NULL;
	for (int i = 0; i < 2; i++) {
		auth_admit(a, &good, &v);
		principal_unref(v.principal);
	}
	auth_admit(a, &good, &v);
	is_int(v.status, 429, "also where the route decides itself");
	principal_unref(v.principal);
	now_us += 500000;
	auth_admit(a, &good, &v);
	is_int(v.status, 0, "later there is room again");
	principal_unref(v.principal);
	v.principal = NULL;
}

static char *file_with(const char *text)
{
	static char path[64];
	int fd;

	strcpy(path, "/tmp/sluice-test-XXXXXX");
	fd = mkstemp(path);
	ok(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text), "a file");
	close(fd);
	return path;
}

static void test_files(void)
{
	char text[512], yaml[512];
	char *path;

	snprintf(text, sizeof text, "# who\n\nann %s\r\n  bob\t%s  \ncarl %s", hash("a"), hash("b"), hash("c"));
	path = file_with(text);
	snprintf(yaml, sizeof yaml, "auth: {mode: tokens, tokens_file: %s}\n", path);
	is_str(load(yaml), "", "a file of tokens");
	is_int(ask("Bearer a", NULL, "read", "x") + ask("Bearer b", NULL, "read", "x") +
	               ask("Bearer c", NULL, "read", "x"),
	       0, "comments, blanks, no line end at the end");
	unlink(path);
	path = file_with("ann x\nbob\ncarl a b\n");
	snprintf(yaml, sizeof yaml, "auth: {mode: tokens, tokens_file: %s}\n", path);
	snprintf(
		text, sizeof text,
		"1:35: auth.tokens_file: %s:1: expected \"sha256:\" and 64 hexadecimal digits, as `sluiced --new-token` prints them\n"
		"1:35: auth.tokens_file: %s:2: expected \"sha256:\" and 64 hexadecimal digits, as `sluiced --new-token` prints them\n"
		"1:35: auth.tokens_file: %s:3: expected a name and a hash",
		path, path, path);
	is_str(load(yaml), text, "every line that is wrong is named");
	unlink(path);
	path = file_with(SECRET "\n");
	snprintf(yaml, sizeof yaml, "auth: {mode: jwt, jwt: {require_exp: false, keys: [{alg: HS256, file: %s}]}}\n",
	         path);
	is_str(load(yaml), "", "a secret in a file");
	is_int(jwt(sign(HS256, "{}"), "read", "x"), 0, "without its line end");
	snprintf(yaml, sizeof yaml, "auth: {mode: jwt, jwt: {jwks: %s}}\n", path);
	snprintf(text, sizeof text, "1:31: auth.jwt.jwks: %s: line 1, column 1: this is not JSON", path);
	is_str(load(yaml), text, "no JWKS");
	unlink(path);
}

static void test_broken(void)
{
	char yaml[512], text[512];
	static const struct {
		const char *yaml, *want;
	} cases[] = {
		{"auth: {mode: tokens}\n", "1:14: auth.mode: mode tokens needs auth.tokens or auth.tokens_file"},
		{"auth: {mode: jwt}\n", "1:14: auth.mode: mode jwt needs auth.jwt.keys or auth.jwt.jwks"},
		{"auth: {policy: []}\n",
	         "1:16: auth.policy: has no effect with auth.mode: none; set another mode, or leave it out"},
		{"auth: {mode: tokens, tokens: [{name: a, hash: x}]}\n",
	         "1:31: auth.tokens[0]: expected \"sha256:\" and 64 hexadecimal digits, as `sluiced --new-token` prints them"},
		{"auth: {mode: tokens, tokens_file: /nowhere/at/all}\n",
	         "1:35: auth.tokens_file: /nowhere/at/all cannot be read: No such file or directory"},
		{"auth: {mode: tokens, tokens_file: tokens}\n",
	         "1:35: auth.tokens_file: expected an absolute path, got \"tokens\""},
		{"auth: {mode: tokens, tokens_file: /dev}\n", "1:35: auth.tokens_file: /dev is not a file"},
		{"auth: {mode: tokens, tokens_file: /dev/zero}\n", "1:35: auth.tokens_file: /dev/zero is not a file"},
		{"auth: {mode: jwt, jwt: {keys: [{secret: short}]}}\n",
	         "1:41: auth.jwt.keys[0].secret: a secret for HS256 has 32 to 1024 bytes"},
		{"auth: {mode: jwt, jwt: {keys: [{kid: a}]}}\n",
	         "1:32: auth.jwt.keys[0]: a key has either a file or a secret"},
		{"auth: {mode: jwt, jwt: {keys: [{alg: RS256, secret: " SECRET "}]}}\n",
	         "1:38: auth.jwt.keys[0].alg: a secret is for HS256"},
		{"auth: {mode: jwt, jwt: {keys: [{file: /etc/hostname}]}}\n",
	         "1:39: auth.jwt.keys[0].file: this is not a public key in PEM"},
		{"auth: {mode: jwt, jwt: {keys: [{secret: " SECRET
	         "}]}, policy: [{who: [a], paths: [/x, 'a**'], actions: [raed]}]}\n",
	         "1:128: auth.policy[0].actions[0]: expected one of read, append, create, delete, admin, all, got \"raed\" (did you mean "
	         "\"read\"?)"},
		{"auth: {mode: jwt, jwt: {keys: [{secret: " SECRET
	         "}]}, policy: [{who: [a], paths: [/x, 'a**'], actions: []}]}\n",
	         "1:106: auth.policy[0].paths[0]: names of streams do not begin with \"/\"\n"
	         "1:110: auth.policy[0].paths[1]: \"**\" stands for whole segments: \"a/**\", not \"a**\""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		is_str(load(cases[i].yaml), cases[i].want, "what is wrong is said");
	snprintf(yaml, sizeof yaml, "auth: {mode: tokens, tokens: [{name: a, hash: '%s'}, {name: b, hash: '%s'}]}\n",
	         hash("x"), hash("x"));
	snprintf(text, sizeof text, "1:7: auth: \"%s\" and \"%s\" have the same token", "a", "b");
	ok(strstr(load(yaml), "have the same token"), "two names of one token");
	snprintf(yaml, sizeof yaml, "auth: {mode: tokens, tokens: [{name: anonymous, hash: '%s'}]}\n", hash("x"));
	ok(strstr(load(yaml), "a meaning of its own"), "a name that rules use");
}

int main(void)
{
	test_none();
	test_tokens();
	test_policy();
	test_jwt();
	test_claims();
	test_cache();
	test_verify();
	test_limits();
	test_files();
	test_broken();
	principal_unref(v.principal);
	auth_free(a);
	return tap_done();
}
