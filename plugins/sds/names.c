/*
 * names.c - the id of a store: in a path, and as the name of its log. Plugin sds, worker process.
 *
 * The path as it was sent is split first and each part decoded once, so that an escaped slash never divides anything. In the name
 * of a log '%' and '/' are escaped, and so are ids of dots alone: no id becomes a path, and no two ids become one name.
 */
#include "sds.h"

static int hex_digit(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The length of the character at p, or 0 (RFC 3629: nothing overlong, no surrogates, nothing above U+10FFFF). */
static size_t utf8_char(const uint8_t *p, size_t n)
{
	uint32_t c = p[0], min;
	size_t more = c >= 0xf0 && c < 0xf5 ? 3 : c >= 0xe0 && c < 0xf0 ? 2 : c >= 0xc2 && c < 0xe0 ? 1 : 0;

	if (c < 0x80)
		return 1;
	if (more == 0 || n <= more)
		return 0;
	min = more == 3 ? 0x10000 : more == 2 ? 0x800 : 0x80;
	c &= 0x3fu >> more;
	for (size_t i = 1; i <= more; i++) {
		if ((p[i] & 0xc0) != 0x80)
			return 0;
		c = c << 6 | (p[i] & 0x3fu);
	}
	return c < min || c > 0x10ffff || (c >= 0xd800 && c < 0xe000) ? 0 : more + 1;
}

bool id_valid(slice id)
{
	const uint8_t *p = id.data;
	size_t n;

	if (id.len == 0 || id.len > ID_MAX)
		return false;
	for (size_t i = 0; i < id.len; i += n) {
		n = utf8_char(p + i, id.len - i);
		/* C0, DEL and C1 are control characters. */
		if (n == 0 || p[i] < 0x20 || p[i] == 0x7f || (n == 2 && p[i] == 0xc2 && p[i + 1] < 0xa0))
			return false;
	}
	return true;
}

bool utf8_valid(slice s)
{
	const uint8_t *p = s.data;
	size_t n;

	for (size_t i = 0; i < s.len; i += n) {
		n = utf8_char(p + i, s.len - i);
		if (n == 0)
			return false;
	}
	return true;
}

bool percent_decode(slice raw, char *out, size_t max, size_t *n)
{
	const char *p = raw.data;

	*n = 0;
	for (size_t i = 0; i < raw.len; i++) {
		int high, low;

		if (*n == max)
			return false;
		if (p[i] != '%') {
			out[(*n)++] = p[i];
			continue;
		}
		high = raw.len - i > 2 ? hex_digit(p[i + 1]) : -1;
		low = raw.len - i > 2 ? hex_digit(p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		out[(*n)++] = (char)(high << 4 | low);
		i += 2;
	}
	return true;
}

bool id_decode(slice raw, char out[ID_MAX], size_t *n)
{
	return percent_decode(raw, out, ID_MAX, n) && id_valid(SLICE(out, *n));
}

size_t id_stream(slice id, char out[STREAM_MAX])
{
	const char *p = id.data;
	bool dots = slice_is(id, ".") || slice_is(id, "..");
	size_t n = strlen("__sds/");

	memcpy(out, "__sds/", n);
	for (size_t i = 0; i < id.len; i++) {
		if (p[i] != '%' && p[i] != '/' && !dots) {
			out[n++] = p[i];
			continue;
		}
		out[n++] = '%';
		out[n++] = "0123456789ABCDEF"[(uint8_t)p[i] >> 4];
		out[n++] = "0123456789ABCDEF"[(uint8_t)p[i] & 15];
	}
	return n;
}

bool path_split(slice target, const char *marker, slice *part, size_t max, size_t *n)
{
	const char *at = memmem(target.data, target.len, marker, strlen(marker)), *end, *slash;

	*n = 0;
	if (!at)
		return false;
	end = (const char *)target.data + target.len;
	at += strlen(marker);
	for (;;) {
		if (*n == max)
			return false;
		slash = memchr(at, '/', (size_t)(end - at));
		part[(*n)++] = SLICE(at, (size_t)((slash ? slash : end) - at));
		if (!slash)
			return true;
		at = slash + 1;
	}
}
