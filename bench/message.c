/*
 * message.c - messages that tell who sent them, which one it is, and when. Program bench/load.
 */
#include <stdio.h>
#include <string.h>

#include "bench/load.h"

enum { HEAD = 44 }; /* "@cccccc:ssssssssssssssss:uuuuuuuuuuuuuuuu " */

static void put_hex(char *to, unsigned digits, uint64_t v)
{
	while (digits-- > 0) {
		to[digits] = "0123456789abcdef"[v & 15];
		v >>= 4;
	}
}

static uint64_t get_hex(const char *from, unsigned digits)
{
	uint64_t v = 0;

	while (digits-- > 0) {
		char c = *from++;

		v = v << 4 | (uint64_t)(c <= '9' ? c - '0' : c - 'a' + 10);
	}
	return v;
}

void message_put(char *to, size_t len, unsigned conn, uint64_t seq, uint64_t us)
{
	memset(to + HEAD, 'x', len - HEAD - 1);
	to[0] = '@';
	put_hex(to + 1, 6, conn);
	to[7] = ':';
	put_hex(to + 8, 16, seq);
	to[24] = ':';
	put_hex(to + 25, 16, us);
	memset(to + 41, ' ', HEAD - 41);
	to[len - 1] = '\n';
}

const char *message_get(const char *from, const char *end, unsigned *conn, uint64_t *seq, uint64_t *us)
{
	const char *at = from < end ? memchr(from, '@', (size_t)(end - from)) : NULL;

	if (!at || end - at < HEAD)
		return NULL;
	*conn = (unsigned)get_hex(at + 1, 6);
	*seq = get_hex(at + 8, 16);
	*us = get_hex(at + 25, 16);
	return at + HEAD;
}
