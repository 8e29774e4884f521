/*
 * target.c - request targets: splitting, percent-decoding exactly once, and what a path may not contain. Worker
 * process.
 *
 * All doors agree on a name because it is decoded here, once, before anything looks at it; no spelling of a name
 * slips past an access rule. A path that is not UTF-8, has NUL, a malformed escape or a segment "." or ".." (however
 * spelled) is refused.
 */
#include "frontend/http/engine.h"

#include <strings.h>

/* Visible ASCII only: everything else has to be escaped in a request target (RFC 9112 3.2). */
static bool target_visible(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f || p[i] == '#')
			return false;
	return true;
}

static int target_absolute(sl_slice *s, struct http_target *t, const char **why)
{
	const char *p = s->data;
	size_t skip = 0, n;

	if (s->len > 7 && strncasecmp(p, "http://", 7) == 0)
		skip = 7;
	else if (s->len > 8 && strncasecmp(p, "https://", 8) == 0)
		skip = 8;
	if (!skip) {
		*why = "The request target must begin with '/' or be an absolute http URL.";
		return 400;
	}
	for (n = skip; n < s->len && p[n] != '/' && p[n] != '?'; n++)
		;
	t->authority = SL_SLICE(p + skip, n - skip);
	if (n == skip || memchr(p + skip, '@', n - skip)) {
		*why = "The authority in the request target is empty or has user information.";
		return 400;
	}
	*s = SL_SLICE(p + n, s->len - n);
	return 0;
}

int target_split(sl_slice s, struct http_target *t, const char **why)
{
	const char *q;
	int e = 0;

	*t = (struct http_target){0};
	if (s.len == 0 || !target_visible(s)) {
		*why = "The request target has bytes that must be percent-encoded.";
		return 400;
	}
	if (sl_slice_is(s, "*")) {
		t->asterisk = true;
		t->raw = s;
		return 0;
	}
	if (*(const char *)s.data != '/')
		e = target_absolute(&s, t, why);
	if (e)
		return e;
	q = s.len ? memchr(s.data, '?', s.len) : NULL;
	t->raw = s;
	if (q) {
		t->raw.len = (size_t)(q - (const char *)s.data);
		t->query = SL_SLICE(q + 1, s.len - t->raw.len - 1);
	}
	if (t->raw.len == 0)
		t->raw = SL_STR("/"); /* http://host?query */
	return 0;
}

static int hex_digit(uint8_t c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Sequences of RFC 3629: no surrogates, nothing overlong, nothing above U+10FFFF. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
	uint8_t lo = 0x80, hi = 0xbf;
	size_t len;

	if (p[0] < 0x80)
		return 1;
	if (p[0] >= 0xc2 && p[0] <= 0xdf)
		len = 2;
	else if ((p[0] & 0xf0) == 0xe0)
		len = 3;
	else if (p[0] >= 0xf0 && p[0] <= 0xf4)
		len = 4;
	else
		return 0;
	if (p[0] == 0xe0)
		lo = 0xa0;
	else if (p[0] == 0xed)
		hi = 0x9f;
	else if (p[0] == 0xf0)
		lo = 0x90;
	else if (p[0] == 0xf4)
		hi = 0x8f;
	if (n < len || p[1] < lo || p[1] > hi)
		return 0;
	for (size_t i = 2; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	return len;
}

bool utf8_valid(const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n;) {
		size_t len = utf8_length(p + i, n - i);

		if (!len)
			return false;
		i += len;
	}
	return true;
}

static bool path_has_dots(const uint8_t *p, size_t n)
{
	size_t start = 0;

	for (size_t i = 0; i <= n; i++) {
		if (i < n && p[i] != '/')
			continue;
		if ((i - start == 1 && p[start] == '.') || (i - start == 2 && p[start] == '.' && p[start + 1] == '.'))
			return true;
		start = i + 1;
	}
	return false;
}

int target_decode(sl_slice raw, uint8_t *out, size_t *len, const char **why)
{
	const uint8_t *p = raw.data;
	size_t n = 0;

	for (size_t i = 0; i < raw.len; i++) {
		int c = p[i];

		if (c == '%') {
			int hi = i + 2 < raw.len ? hex_digit(p[i + 1]) : -1;
			int lo = i + 2 < raw.len ? hex_digit(p[i + 2]) : -1;

			if (hi < 0 || lo < 0) {
				*why = "The path has a malformed percent escape.";
				return 400;
			}
			c = hi << 4 | lo;
			i += 2;
		}
		if (c == 0) {
			*why = "The path contains a NUL byte.";
			return 400;
		}
		out[n++] = (uint8_t)c;
	}
	*len = n;
	if (!utf8_valid(out, n)) {
		*why = "The path is not valid UTF-8.";
		return 400;
	}
	if (path_has_dots(out, n)) {
		*why = "The path contains a '.' or '..' segment.";
		return 400;
	}
	return 0;
}

/* Decodes one character; how many bytes it took. */
static size_t query_char(const uint8_t *p, size_t n, uint8_t *out)
{
	*out = *p == '+' ? ' ' : *p;
	if (*p != '%' || n < 3 || hex_digit(p[1]) < 0 || hex_digit(p[2]) < 0)
		return 1;
	*out = (uint8_t)(hex_digit(p[1]) << 4 | hex_digit(p[2]));
	return 3;
}

size_t query_decode(sl_slice raw, uint8_t *out)
{
	const uint8_t *p = raw.data;
	size_t n = 0;

	for (size_t i = 0; i < raw.len;)
		i += query_char(p + i, raw.len - i, &out[n++]);
	return n;
}

bool query_is(sl_slice raw, const char *name)
{
	const uint8_t *p = raw.data;
	size_t n = strlen(name), k = 0;

	for (size_t i = 0; i < raw.len; k++) {
		uint8_t c;

		if (k == n)
			return false;
		i += query_char(p + i, raw.len - i, &c);
		if (c != (uint8_t)name[k])
			return false;
	}
	return k == n;
}

bool query_next(sl_slice *rest, sl_slice *name, sl_slice *value)
{
	while (rest->data && rest->len > 0) {
		const char *p = rest->data;
		const char *amp = memchr(p, '&', rest->len);
		size_t n = amp ? (size_t)(amp - p) : rest->len;
		const char *eq = n ? memchr(p, '=', n) : NULL;

		*rest = SL_SLICE(p + n + (amp != NULL), rest->len - n - (amp != NULL));
		if (n == 0)
			continue;
		*name = SL_SLICE(p, eq ? (size_t)(eq - p) : n);
		*value = eq ? SL_SLICE(eq + 1, n - name->len - 1) : SL_STR("");
		return true;
	}
	return false;
}
