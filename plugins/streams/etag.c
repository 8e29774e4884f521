/*
 * etag.c - entity tags, If-None-Match and Cache-Control (protocol section 12). Plugin streams, worker process.
 *
 * A tag names the incarnation, so a stream made anew under the same name never validates the tags of its predecessor, the range,
 * whether the answer reports closure, and the content coding.
 */
#include "streams.h"

#include <stdio.h>

static size_t etag_hex(char *out, uint64_t v)
{
	static const char digits[] = "0123456789abcdef";
	char text[16];
	size_t n = 0;

	do
		text[n++] = digits[v & 15];
	while ((v >>= 4) != 0);
	for (size_t i = 0; i < n; i++)
		out[i] = text[n - 1 - i];
	return n;
}

size_t etag_format(char out[ETAG_MAX], const struct sluice_read_result *r, bool closed, const char *coding)
{
	size_t n = 0, coding_len = strlen(coding);

	out[n++] = '"';
	n += etag_hex(out + n, r->incarnation);
	out[n++] = '-';
	n += etag_hex(out + n, r->created_ms);
	out[n++] = ':';
	n += u64_format(r->from, out + n);
	out[n++] = ':';
	n += u64_format(r->end, out + n);
	if (closed) {
		out[n++] = ':';
		out[n++] = 'c';
	}
	if (coding_len > 0 && coding_len < 16) {
		out[n++] = ';';
		memcpy(out + n, coding, coding_len);
		n += coding_len;
	}
	out[n++] = '"';
	return n;
}

static size_t etag_skip_space(const char *p, size_t n, size_t i)
{
	while (i < n && (p[i] == ' ' || p[i] == '\t'))
		i++;
	return i;
}

/* One entity-tag at i: its quoted part is [*begin, *end). Returns the position behind it, 0 when there is none. */
static size_t etag_scan(const char *p, size_t n, size_t i, size_t *begin, size_t *end)
{
	if (i + 1 < n && p[i] == 'W' && p[i + 1] == '/')
		i += 2;
	if (i >= n || p[i] != '"')
		return 0;
	*begin = i++;
	while (i < n && p[i] != '"') {
		unsigned char c = (unsigned char)p[i];

		if (c < 0x21 || c == 0x7f)
			return 0;
		i++;
	}
	if (i >= n)
		return 0;
	*end = ++i;
	return i;
}

bool etag_matches(slice value, slice tag)
{
	const char *p = value.data;
	size_t n = value.len, i = etag_skip_space(p, n, 0), begin, end;

	if (i < n && p[i] == '*')
		return etag_skip_space(p, n, i + 1) == n;
	while (i < n) {
		size_t next;

		if (p[i] == ',') { /* empty list elements are legal */
			i = etag_skip_space(p, n, i + 1);
			continue;
		}
		next = etag_scan(p, n, i, &begin, &end);
		if (next == 0)
			return false;
		i = etag_skip_space(p, n, next);
		if (i < n && p[i] != ',')
			return false;
		if (end - begin == tag.len && memcmp(p + begin, tag.data, tag.len) == 0)
			return true;
	}
	return false;
}

static bool cache_control_stale(const char *value, size_t equals)
{
	size_t begin = equals;

	while (begin > 0 && value[begin - 1] != ',' && value[begin - 1] != ' ')
		begin--;
	return strncmp(value + begin, "stale-", 6) == 0;
}

/* Stale times count from the end of the fresh one, so they get what that leaves. */
void cache_control_private(const char *value, char *out, size_t size)
{
	static const char public[] = "public";
	size_t n = sizeof public - 1;
	const char *at = value;

	/* A directive of its own, not a part of one. */
	while ((at = strcasestr(at, public)) &&
	       ((at > value && !strchr(", ", at[-1])) || (at[n] && !strchr(", ", at[n]))))
		at++;
	if (at)
		snprintf(out, size, "%.*sprivate%s", (int)(at - value), value, at + n);
	else
		snprintf(out, size, "%s", value);
}

size_t cache_control_bound(const char *value, uint64_t life_s, char *out, size_t size)
{
	uint64_t fresh = 0;
	size_t n = 0;

	for (size_t i = 0; value[i];) {
		char digits[20];
		uint64_t seconds = 0, bound = life_s;
		bool stale;
		size_t len;

		if (n + 1 + sizeof digits > size)
			return 0;
		out[n++] = value[i];
		if (value[i++] != '=' || value[i] < '0' || value[i] > '9')
			continue;
		stale = cache_control_stale(value, i - 1);
		if (stale)
			bound -= fresh;
		for (; value[i] >= '0' && value[i] <= '9'; i++)
			seconds = seconds < bound ? seconds * 10 + (uint64_t)(value[i] - '0') : seconds;
		if (seconds > bound)
			seconds = bound;
		if (!stale && seconds > fresh)
			fresh = seconds;
		len = u64_format(seconds, digits);
		memcpy(out + n, digits, len);
		n += len;
	}
	return n;
}
