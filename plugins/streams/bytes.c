/*
 * bytes.c - growing bytes, numbers, comparisons. Plugin streams, worker process.
 */
#include "streams.h"

#include <stdlib.h>

uint8_t *bytes_room(struct bytes *b, size_t n)
{
	uint8_t *data;
	size_t cap;

	if (b->failed)
		return NULL;
	if (b->cap - b->len >= n)
		return b->data + b->len;
	if (n > SIZE_MAX / 4 || b->len > SIZE_MAX / 4) {
		b->failed = true;
		return NULL;
	}
	cap = b->cap ? b->cap : 1024;
	while (cap - b->len < n)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data) {
		b->failed = true;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return data + b->len;
}

void bytes_add(struct bytes *b, const void *data, size_t n)
{
	uint8_t *room = n > 0 ? bytes_room(b, n) : NULL;

	if (!room)
		return;
	memcpy(room, data, n);
	b->len += n;
}

void bytes_add_u64(struct bytes *b, uint64_t v)
{
	char text[20];

	bytes_add(b, text, u64_format(v, text));
}

void bytes_add_json(struct bytes *b, slice text)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = text.data;

	BYTES_LIT(b, "\"");
	for (size_t i = 0; i < text.len; i++) {
		if (p[i] == '"' || p[i] == '\\') {
			char pair[2] = {'\\', (char)p[i]};

			bytes_add(b, pair, 2);
		} else if (p[i] < 0x20) {
			char escape[6] = {'\\', 'u', '0', '0', hex[p[i] >> 4], hex[p[i] & 15]};

			bytes_add(b, escape, 6);
		} else {
			bytes_add(b, &p[i], 1);
		}
	}
	BYTES_LIT(b, "\"");
}

void bytes_reset(struct bytes *b)
{
	if (b->cap > SCRATCH_KEEP || b->failed)
		bytes_fini(b);
	b->len = 0;
}

void bytes_fini(struct bytes *b)
{
	free(b->data);
	memset(b, 0, sizeof *b);
}

size_t u64_format(uint64_t v, char out[20])
{
	char digits[20];
	size_t n = 0;

	do
		digits[n++] = (char)('0' + v % 10);
	while ((v /= 10) != 0);
	for (size_t i = 0; i < n; i++)
		out[i] = digits[n - 1 - i];
	return n;
}

bool slice_is(slice s, const char *text)
{
	size_t n = strlen(text);

	return s.len == n && (n == 0 || memcmp(s.data, text, n) == 0);
}

bool slice_is_nocase(slice s, const char *lower)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++) {
		uint8_t c = p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i];

		if (lower[i] == '\0' || c != (uint8_t)lower[i])
			return false;
	}
	return lower[s.len] == '\0';
}

bool u64_parse(slice s, uint64_t max, uint64_t *value)
{
	const uint8_t *p = s.data;
	uint64_t v = 0;

	if (s.len == 0)
		return false;
	for (size_t i = 0; i < s.len; i++) {
		uint64_t digit = (uint64_t)p[i] - '0';

		if (digit > 9 || digit > max || v > (max - digit) / 10)
			return false;
		v = v * 10 + digit;
	}
	*value = v;
	return true;
}
