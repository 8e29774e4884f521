/*
 * hash.c - under which name a value that came by socket is kept (C.1, G.2). Plugin sds, worker process.
 *
 * The documented name is the SHA-256 of the content. Clients of today name a blob by its FNV-1a and length instead, as text, and push
 * that text through a decoder of hexadecimal digits: what arrives is the mangled form, which is recognised here and turned back, so that
 * the value can be loaded by the name that is in their documents. Content that fits neither is kept under no name.
 */
#include <openssl/evp.h>
#include <stdio.h>

#include "sds.h"

uint32_t fnv1a(slice data)
{
	const uint8_t *p = data.data;
	uint32_t h = 0x811c9dc5u;

	for (size_t i = 0; i < data.len; i++)
		h = (h ^ p[i]) * 0x01000193u;
	return h;
}

bool sha256(slice data, uint8_t out[HASH_LEN])
{
	unsigned n = 0;

	return EVP_Digest(data.data ? data.data : "", data.len, out, &n, EVP_sha256(), NULL) == 1;
}

void hex_put(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++) {
		out[2 * i] = "0123456789abcdef"[p[i] >> 4];
		out[2 * i + 1] = "0123456789abcdef"[p[i] & 15];
	}
}

static int digit_value(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* parseInt(two characters, 16) as a byte: leading digits count, a sign too; nothing at all is 0. */
static uint8_t pair_value(char a, char b)
{
	int x = digit_value(a), y = digit_value(b);

	if (a == '-')
		return y < 0 ? 0 : (uint8_t)(0x100 - y);
	if (x < 0)
		return 0;
	return (uint8_t)(y < 0 ? x : x << 4 | y);
}

size_t fnv_name(uint32_t hash, uint64_t len, char name[FNV_NAME])
{
	int n = snprintf(name, FNV_NAME, "fnv1a-%08x-%llu", (unsigned)hash, (unsigned long long)len);

	return n > 0 ? (size_t)n : 0;
}

size_t fnv_mangle(const char *name, size_t n, uint8_t out[FNV_NAME / 2])
{
	for (size_t i = 0; i + 1 < n; i += 2)
		out[i / 2] = pair_value(name[i], name[i + 1]);
	return n / 2;
}

/* The content's name in the mangled form, at the beginning of head; its length, or 0: it is another. */
static size_t fnv_matches(slice head, slice content, char name[FNV_NAME])
{
	uint8_t mangled[FNV_NAME / 2];
	size_t n = fnv_name(fnv1a(content), content.len, name), m = fnv_mangle(name, n, mangled);

	return m <= head.len && memcmp(mangled, head.data, m) == 0 ? n : 0;
}

static bool fnv_looks(slice head)
{
	static const uint8_t first[] = {0x0f, 0x00, 0x0a};

	return head.len >= sizeof first && memcmp(head.data, first, sizeof first) == 0;
}

/* In a VALUE the mangled form is as long as it is, and the content follows at once: how long depends on the digits of the length. */
static size_t name_short(slice payload, slice *content, char name[FNV_NAME])
{
	for (size_t digits = 1; digits <= 9; digits++) {
		size_t head = (15 + digits) / 2, n;
		char text[24];

		if (payload.len < head)
			break;
		*content = SLICE((const uint8_t *)payload.data + head, payload.len - head);
		if ((size_t)snprintf(text, sizeof text, "%zu", content->len) != digits)
			continue;
		n = fnv_matches(SLICE(payload.data, head), *content, name);
		if (n)
			return n;
	}
	return 0;
}

static bool zero(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (p[i])
			return false;
	return true;
}

enum value_name name_value(slice payload, slice *content, char name[VALUE_NAME], size_t *n)
{
	*n = 0;
	if (payload.len >= HASH_LEN) {
		*content = SLICE((const uint8_t *)payload.data + HASH_LEN, payload.len - HASH_LEN);
		if (name_set(payload.data, *content, name, n) == NAME_SHA)
			return NAME_SHA;
	}
	*n = fnv_looks(payload) ? name_short(payload, content, name) : 0;
	return *n ? NAME_FNV : NAME_NONE;
}

enum value_name name_set(const uint8_t hash[HASH_LEN], slice content, char name[VALUE_NAME], size_t *n)
{
	uint8_t digest[HASH_LEN];
	size_t m;

	*n = 0;
	if (sha256(content, digest) && memcmp(digest, hash, HASH_LEN) == 0) {
		hex_put(digest, HASH_LEN, name);
		*n = (size_t)2 * HASH_LEN;
		return NAME_SHA;
	}
	if (!fnv_looks(SLICE(hash, HASH_LEN)))
		return NAME_NONE;
	*n = fnv_matches(SLICE(hash, HASH_LEN), content, name);
	m = *n / 2;
	if (*n && zero(hash + m, HASH_LEN - m))
		return NAME_FNV;
	*n = 0;
	return NAME_NONE;
}
