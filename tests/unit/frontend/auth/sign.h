/*
 * sign.h - makes tokens for tests: a header and a payload in JSON, signed with HS256. Tests only.
 */
#ifndef SIGN_H
#define SIGN_H

#include <openssl/hmac.h>

#include "frontend/auth/service.h"
#include "tests/unit/tap.h"

#define SECRET "0123456789abcdef0123456789abcdef"
#define HS256 "{\"alg\":\"HS256\",\"typ\":\"JWT\"}"

static inline size_t sign_base64url(char *out, const void *data, size_t len)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
	const uint8_t *p = data;
	size_t n = 0;

	for (size_t bit = 0; bit < 8 * len; bit += 6) {
		unsigned two = (unsigned)p[bit / 8] << 8 | (bit / 8 + 1 < len ? p[bit / 8 + 1] : 0);

		out[n++] = digits[two >> (10 - bit % 8) & 63];
	}
	out[n] = '\0';
	return n;
}

/* In a buffer of its own until the next call but seven. */
static inline const char *sign_with(sl_slice secret, const char *header, const char *payload)
{
	static char text[8][65536];
	static unsigned turn;
	char *out = text[turn++ % 8];
	size_t n = sign_base64url(out, header, strlen(header));
	uint8_t mac[32];
	unsigned len = sizeof mac;

	out[n++] = '.';
	n += sign_base64url(out + n, payload, strlen(payload));
	HMAC(EVP_sha256(), secret.data, (int)secret.len, (const uint8_t *)out, n, mac, &len);
	out[n++] = '.';
	sign_base64url(out + n, mac, len);
	return out;
}

static inline const char *sign(const char *header, const char *payload)
{
	return sign_with(SL_STR(SECRET), header, payload);
}

#endif
