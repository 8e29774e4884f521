/*
 * base64.c - RFC 4648 with padding, for binary streams over SSE. Plugin streams, worker process.
 */
#include "streams.h"

size_t base64_encode(uint8_t *out, const uint8_t *in, size_t n)
{
	static const char set[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	uint8_t *begin = out;

	for (; n >= 3; n -= 3, in += 3, out += 4) {
		out[0] = (uint8_t)set[in[0] >> 2];
		out[1] = (uint8_t)set[(in[0] & 3) << 4 | in[1] >> 4];
		out[2] = (uint8_t)set[(in[1] & 15) << 2 | in[2] >> 6];
		out[3] = (uint8_t)set[in[2] & 63];
	}
	if (n > 0) {
		out[0] = (uint8_t)set[in[0] >> 2];
		out[1] = (uint8_t)set[(in[0] & 3) << 4 | (n > 1 ? in[1] >> 4 : 0)];
		out[2] = n > 1 ? (uint8_t)set[(in[1] & 15) << 2] : '=';
		out[3] = '=';
		out += 4;
	}
	return (size_t)(out - begin);
}
