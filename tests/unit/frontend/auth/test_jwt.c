/* JWTs: the examples of the RFCs, and every way in which a token can be no good. */
#include "tests/unit/frontend/auth/sign.h"

#define PAYLOAD "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ"
#define RSA_N \
	"ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yR" \
	"T-SFd2lZS-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXB" \
	"dQOS-UTo7WTBEMa2R2CapHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9ia" \
	"GNj8q2ethFkMLs91kzk2PAcDTW9gb54h4FRWyuXpoQ"

/* RFC 7515 A.1, A.2, A.3; RFC 8037 A.2. */
static const char jwk_hs[] =
	"{\"kty\":\"oct\",\"k\":\"AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwj"
	"AzZr1Z9CAow\"}";
static const char jwk_rs[] = "{\"kty\":\"RSA\",\"e\":\"AQAB\",\"n\":\"" RSA_N "\"}";
static const char jwk_es[] = "{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\","
			     "\"y\":\"x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0\"}";
static const char jwk_ed[] =
	"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo\"}";

static const char token_hs[] =
	"eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9." PAYLOAD ".dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
static const char token_rs[] =
	"eyJhbGciOiJSUzI1NiJ9." PAYLOAD
	".cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9"
	"uJdbF9CUAr7t1dnZcAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB"
	"_eSN9383LcOLn6_dO--xi12jzDwusC-eOkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rq"
	"Vt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw";
static const char token_es[] =
	"eyJhbGciOiJFUzI1NiJ9." PAYLOAD
	".DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q";
/* RFC 8037 A.4: its payload is a text, so what is verified is no JWT in the end. */
static const char token_ed[] = "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
			       "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg";

enum { BEFORE = 1300819379, AT = 1300819380 };

static struct auth_keys keys;
static struct jwt_rules rules;

static const char *add_jwk(const char *jwk)
{
	char text[2048];

	snprintf(text, sizeof text, "{\"keys\":[%s]}", jwk);
	return keys_add_jwks(&keys, sl_slice_str(text));
}

static enum auth_reason verify_at(sl_slice token, int64_t now)
{
	json_t *claims;
	int64_t expires;
	enum auth_reason reason = jwt_verify(&keys, &rules, token, now, &claims, &expires);

	if ((reason == AUTH_GOOD) != (claims != NULL))
		abort();
	json_decref(claims);
	return reason;
}

static enum auth_reason verify(const char *token)
{
	return verify_at(sl_slice_str(token), BEFORE);
}

static void test_vectors(void)
{
	static const struct {
		const char *name, *jwk, *token;
		enum auth_reason want;
	} vector[] = {
		{"HS256, RFC 7515 A.1", jwk_hs, token_hs, AUTH_GOOD},
		{"RS256, RFC 7515 A.2", jwk_rs, token_rs, AUTH_GOOD},
		{"ES256, RFC 7515 A.3", jwk_es, token_es, AUTH_GOOD},
		{"EdDSA, RFC 8037 A.4", jwk_ed, token_ed, AUTH_MALFORMED},
	};

	for (size_t i = 0; i < sizeof vector / sizeof *vector; i++) {
		char text[1024];
		size_t n = strlen(vector[i].token);
		int wrong = 0;

		is_int(add_jwk(vector[i].jwk) == NULL, 1, "a key");
		is_int(verify(vector[i].token), vector[i].want, vector[i].name);
		/* Every digit of payload and signature counts; what is no longer canonical base64url is refused as well. */
		for (size_t k = strcspn(vector[i].token, ".") + 1; k < n; k++) {
			memcpy(text, vector[i].token, n + 1);
			text[k] = text[k] == '.' ? 'A' : text[k] == 'A' ? 'B' : 'A';
			wrong += verify(text) != AUTH_SIGNATURE && verify(text) != AUTH_MALFORMED;
		}
		is_int(wrong, 0, "one digit changed: refused, wherever it is");
		for (size_t k = 0; k < n; k++)
			wrong += verify_at(SL_SLICE(vector[i].token, k), BEFORE) == AUTH_GOOD;
		is_int(wrong, 0, "cut short: refused, wherever it ends");
		memcpy(text, vector[i].token, n);
		text[n] = 'A';
		ok(verify_at(SL_SLICE(text, n + 1), BEFORE) != AUTH_GOOD, "longer: refused");
		keys_fini(&keys);
		is_int(verify(vector[i].token), AUTH_ALGORITHM, "without a key nothing is good");
	}
}

static void test_algorithms(void)
{
	static const struct {
		const char *name, *header;
		enum auth_reason want;
	} cases[] = {
		{"none", "{\"alg\":\"none\"}", AUTH_ALGORITHM},
		{"None", "{\"alg\":\"None\"}", AUTH_ALGORITHM},
		{"hs256", "{\"alg\":\"hs256\"}", AUTH_ALGORITHM},
		{"HS384", "{\"alg\":\"HS384\"}", AUTH_ALGORITHM},
		{"HS512", "{\"alg\":\"HS512\"}", AUTH_ALGORITHM},
		{"RS256 without such a key", "{\"alg\":\"RS256\"}", AUTH_ALGORITHM},
		{"no alg", "{\"typ\":\"JWT\"}", AUTH_MALFORMED},
		{"alg is a number", "{\"alg\":256}", AUTH_MALFORMED},
		{"alg twice", "{\"alg\":\"HS256\",\"alg\":\"none\"}", AUTH_MALFORMED},
		{"crit", "{\"alg\":\"HS256\",\"crit\":[\"b64\"],\"b64\":false}", AUTH_MALFORMED},
		{"an array", "[\"HS256\"]", AUTH_MALFORMED},
		{"kid is a number", "{\"alg\":\"HS256\",\"kid\":1}", AUTH_MALFORMED},
		{"a kid that nobody has", "{\"alg\":\"HS256\",\"kid\":\"x\"}", AUTH_GOOD}, /* the key has none */
		{"a key of its own", "{\"alg\":\"HS256\",\"jwk\":{\"kty\":\"oct\",\"k\":\"AA\"},\"jku\":\"http://x\"}",
	         AUTH_GOOD},
	};
	const char *token;
	char text[256];

	ok(!keys_add_secret(&keys, NULL, SL_STR(SECRET)), "a secret");
	is_int(verify(sign(HS256, "{}")), AUTH_GOOD, "the usual");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		is_int(verify(sign(cases[i].header, "{}")), cases[i].want, cases[i].name);
	token = sign("{\"alg\":\"none\"}", "{}");
	snprintf(text, sizeof text, "%.*s.", (int)(strrchr(token, '.') - token), token);
	is_int(verify(text), AUTH_ALGORITHM, "none without a signature");
	token = sign(HS256, "{}");
	snprintf(text, sizeof text, "%.*s.", (int)(strrchr(token, '.') - token), token);
	is_int(verify(text), AUTH_SIGNATURE, "HS256 without a signature");
	keys_fini(&keys);
}

/* A public key is not a secret: who knows it must not be able to sign with it. */
static void test_confusion(void)
{
	static const char pem[] = "-----BEGIN PUBLIC KEY-----\n"
				  "MCowBQYDK2VwAyEA11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=\n"
				  "-----END PUBLIC KEY-----\n";
	uint8_t n[256];
	size_t len;

	ok(!keys_add_pem(&keys, JWT_ALGS, NULL, sl_slice_str(pem)), "a public key in PEM");
	is_int(keys.v[0].alg, JWT_EDDSA, "knows what it is for");
	is_int(verify(token_ed), AUTH_MALFORMED, "and verifies (the payload is no JSON)");
	is_int(verify(sign_with(sl_slice_str(pem), HS256, "{}")), AUTH_ALGORITHM, "its text is no secret");
	ok(!add_jwk(jwk_rs), "an RSA key");
	ok(base64url_decode(SL_STR(RSA_N), n, &len) && len == 256, "its modulus");
	is_int(verify(sign_with(SL_SLICE(n, len), HS256, "{}")), AUTH_ALGORITHM, "is no secret");
	ok(!keys_add_secret(&keys, NULL, SL_STR(SECRET)), "beside a secret");
	is_int(verify(sign_with(sl_slice_str(pem), HS256, "{}")), AUTH_SIGNATURE, "neither");
	is_int(verify(sign("{\"alg\":\"RS256\"}", "{}")), AUTH_SIGNATURE, "and a secret makes no signature of RSA");
	keys_fini(&keys);
}

static void test_rotation(void)
{
	static const char other[] = "another-secret-of-thirty-two-bytes";

	ok(!keys_add_secret(&keys, "old", SL_STR(SECRET)) && !keys_add_secret(&keys, "new", sl_slice_str(other)),
	   "two keys");
	is_int(verify(sign(HS256, "{}")), AUTH_GOOD, "without kid the old one is found");
	is_int(verify(sign_with(sl_slice_str(other), HS256, "{}")), AUTH_GOOD, "and the new one");
	is_int(verify(sign("{\"alg\":\"HS256\",\"kid\":\"old\"}", "{}")), AUTH_GOOD, "by its name");
	is_int(verify(sign("{\"alg\":\"HS256\",\"kid\":\"new\"}", "{}")), AUTH_SIGNATURE, "and by that one only");
	is_int(verify(sign("{\"alg\":\"HS256\",\"kid\":\"gone\"}", "{}")), AUTH_ALGORITHM, "a name that nobody has");
	keys_fini(&keys);
}

static void test_claims(void)
{
	static const char *const sluice[] = {"sluice", "other"};
	static const struct {
		const char *name, *payload;
		enum auth_reason want;
	} cases[] = {
		{"good", "{\"exp\":1300819380,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_GOOD},
		{"one of several", "{\"exp\":1300819380,\"iss\":\"me\",\"aud\":[\"x\",\"other\"]}", AUTH_GOOD},
		{"leeway for exp", "{\"exp\":1300819370,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_GOOD},
		{"but no more", "{\"exp\":1300819369,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_EXPIRED},
		{"exp in parts of a second", "{\"exp\":1300819380.5,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_GOOD},
		{"exp long ago", "{\"exp\":-1,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_EXPIRED},
		{"exp at the end of all days", "{\"exp\":9223372036854775807,\"iss\":\"me\",\"aud\":\"sluice\"}",
	         AUTH_GOOD},
		{"exp beyond", "{\"exp\":1e300,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_GOOD},
		{"exp before all days", "{\"exp\":-9223372036854775808,\"iss\":\"me\",\"aud\":\"sluice\"}",
	         AUTH_EXPIRED},
		{"exp is a text", "{\"exp\":\"1300819380\",\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_CLAIMS},
		{"exp is null", "{\"exp\":null,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_CLAIMS},
		{"no exp", "{\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_CLAIMS},
		{"leeway for nbf", "{\"exp\":1300819390,\"nbf\":1300819389,\"iss\":\"me\",\"aud\":\"sluice\"}",
	         AUTH_GOOD},
		{"not yet", "{\"exp\":1300819399,\"nbf\":1300819390,\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_EARLY},
		{"nbf at the end of all days", "{\"exp\":1300819399,\"nbf\":9223372036854775807,\"iss\":\"me\"}",
	         AUTH_EARLY},
		{"nbf is an array", "{\"exp\":1300819390,\"nbf\":[],\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_CLAIMS},
		{"iat is a text", "{\"exp\":1300819390,\"iat\":\"x\",\"iss\":\"me\",\"aud\":\"sluice\"}", AUTH_CLAIMS},
		{"another issuer", "{\"exp\":1300819380,\"iss\":\"you\",\"aud\":\"sluice\"}", AUTH_ISSUER},
		{"no issuer", "{\"exp\":1300819380,\"aud\":\"sluice\"}", AUTH_ISSUER},
		{"a NUL behind the issuer", "{\"exp\":1300819380,\"iss\":\"me\\u0000\",\"aud\":\"sluice\"}",
	         AUTH_MALFORMED},
		{"another audience", "{\"exp\":1300819380,\"iss\":\"me\",\"aud\":\"x\"}", AUTH_AUDIENCE},
		{"none of several", "{\"exp\":1300819380,\"iss\":\"me\",\"aud\":[\"x\",1,null]}", AUTH_AUDIENCE},
		{"no audience", "{\"exp\":1300819380,\"iss\":\"me\"}", AUTH_AUDIENCE},
		{"the payload is an array", "[]", AUTH_MALFORMED},
		{"is no JSON", "{", AUTH_MALFORMED},
		{"is empty", "", AUTH_MALFORMED},
		{"has something behind it", "{} {}", AUTH_MALFORMED},
	};

	ok(!keys_add_secret(&keys, NULL, SL_STR(SECRET)), "a secret");
	rules = (struct jwt_rules){
		.issuer = "me", .audience = sluice, .n_audience = 2, .leeway_s = 10, .require_exp = true};
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		is_int(verify(sign(HS256, cases[i].payload)), cases[i].want, cases[i].name);
	rules = (struct jwt_rules){0};
	is_int(verify_at(sl_slice_str(sign(HS256, "{\"exp\":1300819380}")), AT), AUTH_EXPIRED,
	       "without leeway: at exp it is over");
	is_int(verify(sign(HS256, "{}")), AUTH_GOOD, "what is not configured is not compared");
	keys_fini(&keys);
}

static void test_size(void)
{
	char *text = malloc(1 << 20);

	ok(!keys_add_secret(&keys, NULL, SL_STR(SECRET)), "a secret");
	memset(text, 'a', 1 << 20);
	is_int(verify_at(SL_SLICE(text, 1 << 20), BEFORE), AUTH_TOO_LONG, "a huge one is not looked at");
	is_int(verify_at(SL_SLICE(text, AUTH_TOKEN_MAX), BEFORE), AUTH_MALFORMED, "the longest one is");
	memset(text, '.', 1 << 20);
	is_int(verify_at(SL_SLICE(text, AUTH_TOKEN_MAX), BEFORE), AUTH_MALFORMED, "nothing but dots");
	memset(text, '[', 6000);
	text[6000] = '\0';
	is_int(verify(sign(text, "{}")), AUTH_MALFORMED, "a deep header");
	memcpy(text, "{\"a\":", 5);
	is_int(verify(sign(HS256, text)), AUTH_MALFORMED, "a deep payload, signed");
	for (size_t n = 0; n < 4; n++)
		is_int(verify_at(SL_SLICE("...", n), BEFORE), AUTH_MALFORMED, "nothing at all");
	free(text);
	keys_fini(&keys);
}

static void test_base64url(void)
{
	static const char *const bad[] = {"A", "AB==", "AB+/", "A B", "AB\n", "AAAAA", "AB", "AAB"};
	uint8_t out[16];
	size_t n;

	ok(base64url_decode(SL_STR("-_8"), out, &n) && n == 2 && out[0] == 0xfb && out[1] == 0xff, "its own digits");
	ok(base64url_decode(SL_STR(""), out, &n) && n == 0, "nothing");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		tap_ok(!base64url_decode(sl_slice_str(bad[i]), out, &n), bad[i], __FILE__, __LINE__,
		       "no padding, no blanks, no spare bits");
}

/* x for y: a point that is not on the curve. */
#define OFF_CURVE \
	"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"," \
	"\"y\":\"f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU\"}"

static void test_keys(void)
{
	static const char *const skipped[] = {
		"{\"kty\":\"RSA\",\"use\":\"enc\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-384\"}",
		"{\"kty\":\"OKP\",\"crv\":\"X25519\"}",
		"{\"kty\":\"RSA\",\"alg\":\"RS512\"}",
		"{\"kty\":\"new\"}",
		"{}",
		"1",
	};
	static const char *const wrong[] = {
		"{\"kty\":\"RSA\"}",
		"{\"kty\":\"RSA\",\"n\":\"AQAB\",\"e\":\"AQAB\"}",
		"{\"kty\":\"RSA\",\"n\":1,\"e\":\"AQAB\"}",
		"{\"kty\":\"EC\",\"crv\":\"P-256\",\"x\":\"AA\",\"y\":\"AA\"}",
		OFF_CURVE,
		"{\"kty\":\"oct\",\"k\":\"c2hvcnQ\"}",
		"{\"kty\":\"oct\"}",
		"{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"x\":\"AAAA\"}",
	};
	static const char *const no_jwks[] = {"", "[]", "{}", "{\"keys\":{}}", "{\"keys\":[]}", "{\"keys\":[", "x"};

	for (size_t i = 0; i < sizeof skipped / sizeof *skipped; i++)
		is_str(add_jwk(skipped[i]), "there is no key for HS256, RS256, ES256 or EdDSA in it",
		       "somebody else's key");
	for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
		ok(strncmp(add_jwk(wrong[i]), "keys[0]: ", 9) == 0 && keys.n == 0, "a key that is none");
	for (size_t i = 0; i < sizeof no_jwks / sizeof *no_jwks; i++)
		ok(keys_add_jwks(&keys, sl_slice_str(no_jwks[i])), "no JWKS");
	ok(keys_add_secret(&keys, NULL, SL_STR("too short")), "a secret that is too short");
	ok(keys_add_pem(&keys, JWT_ALGS, NULL, SL_STR("x")), "no PEM");
	ok(strstr(keys_add_pem(&keys, JWT_ALGS, NULL,
	                       SL_STR("-----BEGIN PRIVATE KEY-----\nAA==\n-----END PRIVATE KEY-----\n")),
	          "private"),
	   "a private key is not wanted");
	while (keys.n < KEYS_MAX)
		if (keys_add_secret(&keys, "k", SL_STR(SECRET)))
			break;
	is_int(keys.n, KEYS_MAX, "many keys");
	ok(keys_add_secret(&keys, "k", SL_STR(SECRET)), "but no more");
	keys_fini(&keys);
}

int main(void)
{
	test_vectors();
	test_algorithms();
	test_confusion();
	test_rotation();
	test_claims();
	test_size();
	test_base64url();
	test_keys();
	return tap_done();
}
