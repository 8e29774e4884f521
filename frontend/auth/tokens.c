/*
 * tokens.c - static bearer tokens: names and SHA-256 hashes, in the YAML or in a file. Process: sluice-frontend.
 *
 * A plain hash is enough because tokens are random and long (`sluiced --new-token`): there is no dictionary to try. They are
 * found by the hash of what was sent, so nothing that takes time depends on a byte of a token.
 */
#include <openssl/crypto.h>
#include <stdio.h>
#include <stdlib.h>

#include "frontend/auth/internal.h"

#define HASH_PREFIX "sha256:"

/* "sha256:" and 64 hexadecimal digits. */
static bool hash_parse(sl_slice s, uint8_t digest[DIGEST_LEN])
{
	const char *p = s.data;

	if (s.len != sizeof HASH_PREFIX - 1 + 2 * DIGEST_LEN || memcmp(p, HASH_PREFIX, sizeof HASH_PREFIX - 1) != 0)
		return false;
	p += sizeof HASH_PREFIX - 1;
	for (size_t i = 0; i < DIGEST_LEN; i++) {
		int high = OPENSSL_hexchar2int((unsigned char)p[2 * i]),
		    low = OPENSSL_hexchar2int((unsigned char)p[2 * i + 1]);

		if (high < 0 || low < 0)
			return false;
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return true;
}

/* NULL, or what is wrong. */
static const char *tokens_add(struct auth_tokens *t, sl_slice name, sl_slice hash)
{
	struct auth_token *more;

	if (name.len == 0 || name.len > AUTH_NAME_MAX)
		return "a token needs a name of at most 256 bytes";
	if (sl_slice_is(name, "anonymous") || sl_slice_is(name, "*"))
		return "this name has a meaning of its own in rules";
	if (t->n == TOKENS_MAX)
		return "there are too many tokens";
	more = realloc(t->v, (t->n + 1) * sizeof *more);
	if (!more)
		return "out of memory";
	t->v = more;
	if (!hash_parse(hash, more[t->n].digest))
		return "expected \"sha256:\" and 64 hexadecimal digits, as `sluiced --new-token` prints them";
	more[t->n].principal = principal_new(PRINCIPAL_TOKEN, name);
	if (!more[t->n].principal)
		return "out of memory";
	t->n++;
	return NULL;
}

static sl_slice word_next(const char **at, const char *end)
{
	const char *p = *at, *from;

	while (p < end && (*p == ' ' || *p == '\t' || *p == '\r'))
		p++;
	from = p;
	while (p < end && *p != ' ' && *p != '\t' && *p != '\r')
		p++;
	*at = p;
	return SL_SLICE(from, (size_t)(p - from));
}

/* Lines of a name and a hash; "#" begins a comment. */
static void tokens_file(struct auth_tokens *t, const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	size_t len;
	char *text = auth_file(root, "auth.tokens_file", &len, errors);
	const char *line = text, *end = text ? text + len : NULL;

	for (unsigned number = 1; line && line < end; number++) {
		const char *eol = memchr(line, '\n', (size_t)(end - line)), *at = line, *why;
		sl_slice name, hash;

		if (!eol)
			eol = end;
		name = word_next(&at, eol);
		hash = word_next(&at, eol);
		line = eol + 1;
		if (name.len == 0 || *(const char *)name.data == '#')
			continue;
		why = word_next(&at, eol).len ? "expected a name and a hash" : tokens_add(t, name, hash);
		if (why)
			sl_conf_error_at(root, "auth.tokens_file", errors, "%.200s:%u: %s",
			                 sl_conf_str(root, "auth.tokens_file"), number, why);
	}
	free(text);
}

static int token_cmp(const void *x, const void *y)
{
	const struct auth_token *a = x, *b = y;

	return memcmp(a->digest, b->digest, DIGEST_LEN);
}

int tokens_load(struct auth_tokens *t, const struct sluice_conf *root, struct sl_conf_errors *errors)
{
	size_t before = errors->n;

	for (size_t i = 0; i < sl_conf_len(root, "auth.tokens"); i++) {
		const struct sluice_conf *conf = sl_conf_at(root, "auth.tokens", i);
		const char *why =
			tokens_add(t, sl_slice_str(sl_conf_str(conf, "name")), sl_slice_str(sl_conf_str(conf, "hash")));

		if (why)
			sl_conf_error_at(conf, "", errors, "%s", why);
	}
	if (*sl_conf_str(root, "auth.tokens_file"))
		tokens_file(t, root, errors);
	if (t->n > 1)
		qsort(t->v, t->n, sizeof *t->v, token_cmp);
	for (size_t i = 1; i < t->n; i++)
		if (token_cmp(&t->v[i - 1], &t->v[i]) == 0)
			sl_conf_error_at(root, "auth", errors, "\"%.100s\" and \"%.100s\" have the same token",
			                 t->v[i - 1].principal->name, t->v[i].principal->name);
	return errors->n > before ? SLUICE_EINVAL : 0;
}

void tokens_fini(struct auth_tokens *t)
{
	for (size_t i = 0; i < t->n; i++)
		principal_unref(t->v[i].principal);
	free(t->v);
	*t = (struct auth_tokens){0};
}

const struct sluice_principal *tokens_find(const struct auth_tokens *t, const uint8_t digest[DIGEST_LEN])
{
	size_t low = 0, high = t->n;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (memcmp(t->v[mid].digest, digest, DIGEST_LEN) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low < t->n && CRYPTO_memcmp(t->v[low].digest, digest, DIGEST_LEN) == 0 ? t->v[low].principal : NULL;
}
