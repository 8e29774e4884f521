/*
 * h1_head.c - what an HTTP/1.1 head may look like: where it ends, which names and values are sound, how the body is
 * framed. Worker.
 *
 * Everything about framing that two parsers could read differently is refused here (RFC 9112 6.3, 11.2): bare LF,
 * folded lines, space before a colon, more than one length, a length together with chunked, any coding but chunked.
 */
#include "frontend/http/engine.h"

#include <strings.h>

static const uint8_t token_lower[256] = {
	['!'] = '!', ['#'] = '#', ['$'] = '$', ['%'] = '%', ['&'] = '&', ['\''] = '\'', ['*'] = '*', ['+'] = '+',
	['-'] = '-', ['.'] = '.', ['^'] = '^', ['_'] = '_', ['`'] = '`', ['|'] = '|',   ['~'] = '~', ['0'] = '0',
	['1'] = '1', ['2'] = '2', ['3'] = '3', ['4'] = '4', ['5'] = '5', ['6'] = '6',   ['7'] = '7', ['8'] = '8',
	['9'] = '9', ['a'] = 'a', ['b'] = 'b', ['c'] = 'c', ['d'] = 'd', ['e'] = 'e',   ['f'] = 'f', ['g'] = 'g',
	['h'] = 'h', ['i'] = 'i', ['j'] = 'j', ['k'] = 'k', ['l'] = 'l', ['m'] = 'm',   ['n'] = 'n', ['o'] = 'o',
	['p'] = 'p', ['q'] = 'q', ['r'] = 'r', ['s'] = 's', ['t'] = 't', ['u'] = 'u',   ['v'] = 'v', ['w'] = 'w',
	['x'] = 'x', ['y'] = 'y', ['z'] = 'z', ['A'] = 'a', ['B'] = 'b', ['C'] = 'c',   ['D'] = 'd', ['E'] = 'e',
	['F'] = 'f', ['G'] = 'g', ['H'] = 'h', ['I'] = 'i', ['J'] = 'j', ['K'] = 'k',   ['L'] = 'l', ['M'] = 'm',
	['N'] = 'n', ['O'] = 'o', ['P'] = 'p', ['Q'] = 'q', ['R'] = 'r', ['S'] = 's',   ['T'] = 't', ['U'] = 'u',
	['V'] = 'v', ['W'] = 'w', ['X'] = 'x', ['Y'] = 'y', ['Z'] = 'z',
};

ssize_t h1_head_scan(const uint8_t *data, size_t n, size_t *scan, size_t max, const char **why)
{
	for (;;) {
		size_t at = *scan; /* the beginning of a line */
		const uint8_t *lf = at < n ? memchr(data + at, '\n', n - at) : NULL;
		size_t end = lf ? (size_t)(lf - data) + 1 : n;

		if (end > max) {
			*why = at == 0 ? "The request line is too long." : "The request head is too large.";
			return at == 0 ? -414 : -431;
		}
		if (!lf)
			return 0;
		if (end - at < 2 || lf[-1] != '\r') {
			*why = "A line of the request head does not end with CR LF.";
			return -400;
		}
		if (end - at == 2)
			return (ssize_t)end;
		if (at > 0 && (data[at] == ' ' || data[at] == '\t')) {
			*why = "Folded header lines are not accepted.";
			return -400;
		}
		*scan = end;
	}
}

bool h1_head_mentions(const uint8_t *data, size_t n, const char *lower)
{
	const uint8_t *end = data + n, *p = data;
	size_t len = strlen(lower);

	while ((p = memchr(p, '\n', (size_t)(end - p)))) {
		p++;
		if ((size_t)(end - p) >= len && strncasecmp((const char *)p, lower, len) == 0)
			return true;
	}
	return false;
}

bool header_name_valid(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		if (token_lower[p[i]] == 0 || token_lower[p[i]] != p[i])
			return false;
	return s.len > 0;
}

bool header_value_valid(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		if (p[i] == '\r' || p[i] == '\n' || p[i] == '\0')
			return false;
	return true;
}

/* In place: the head belongs to the request. */
static bool name_lower(sl_slice s)
{
	uint8_t *p = (uint8_t *)(uintptr_t)s.data;

	for (size_t i = 0; i < s.len; i++)
		if ((p[i] = token_lower[p[i]]) == 0)
			return false;
	return s.len > 0;
}

static bool value_trim(sl_slice *s)
{
	const uint8_t *p = s->data;

	while (s->len > 0 && (p[s->len - 1] == ' ' || p[s->len - 1] == '\t'))
		s->len--;
	while (s->len > 0 && (*p == ' ' || *p == '\t')) {
		p++;
		s->len--;
	}
	s->data = p;
	for (size_t i = 0; i < s->len; i++)
		if ((p[i] < 0x20 && p[i] != '\t') || p[i] == 0x7f)
			return false;
	return true;
}

bool slice_is_nocase(sl_slice s, const char *lower)
{
	return s.len == strlen(lower) && strncasecmp(s.data, lower, s.len) == 0;
}

bool list_has(sl_slice list, const char *token)
{
	const char *p = list.data;

	for (size_t i = 0; i < list.len;) {
		const char *comma = memchr(p + i, ',', list.len - i);
		size_t end = comma ? (size_t)(comma - p) : list.len;
		sl_slice item = SL_SLICE(p + i, end - i);

		if (value_trim(&item) && slice_is_nocase(item, token))
			return true;
		i = end + 1;
	}
	return false;
}

/* Digits only: a sign, a list or hexadecimal is somebody's attempt at being read in two ways. */
static int length_parse(sl_slice s, uint64_t *out, const char **why)
{
	const uint8_t *p = s.data;
	uint64_t v = 0;
	bool good = s.len > 0 && s.len <= 18;

	for (size_t i = 0; good && i < s.len; i++) {
		good = p[i] >= '0' && p[i] <= '9';
		v = v * 10 + (p[i] & 15u);
	}
	*out = v;
	if (good)
		return 0;
	*why = "Content-Length is not a number.";
	return 400;
}

struct framing {
	unsigned hosts, lengths, codings;
	bool close, keep, upgrade, websocket;
};

static int header_note(struct h1_head *h, const struct sluice_header *x, struct framing *f, const char **why)
{
	switch (x->name.len) {
	case 4:
		if (sl_slice_is(x->name, "host")) {
			f->hosts++;
			h->host = x->value;
		}
		return 0;
	case 6:
		if (sl_slice_is(x->name, "expect")) {
			if (!slice_is_nocase(x->value, "100-continue")) {
				*why = "The expectation is not understood; only 100-continue is.";
				return 417;
			}
			h->expect_continue = true;
		}
		return 0;
	case 7:
		if (sl_slice_is(x->name, "upgrade"))
			f->websocket |= list_has(x->value, "websocket");
		return 0;
	case 10:
		if (sl_slice_is(x->name, "connection")) {
			f->close |= list_has(x->value, "close");
			f->keep |= list_has(x->value, "keep-alive");
			f->upgrade |= list_has(x->value, "upgrade");
		}
		return 0;
	case 14:
		if (!sl_slice_is(x->name, "content-length"))
			return 0;
		f->lengths++;
		return length_parse(x->value, &h->length, why);
	case 17:
		if (!sl_slice_is(x->name, "transfer-encoding"))
			return 0;
		f->codings++;
		if (slice_is_nocase(x->value, "chunked"))
			return 0;
		*why = "The transfer coding is not implemented; only chunked is.";
		return 501;
	default:
		return 0;
	}
}

static int framing_check(struct h1_head *h, const struct framing *f, const char **why)
{
	bool v11 = h->minor >= 1;

	if (f->lengths > 1) {
		*why = "Content-Length is given more than once.";
		return 400;
	}
	if (f->codings > 1) {
		*why = "The body is chunked more than once.";
		return 501;
	}
	if (f->codings && !v11) {
		*why = "HTTP/1.0 has no Transfer-Encoding.";
		return 400;
	}
	if (f->codings && f->lengths) {
		*why = "Content-Length and Transfer-Encoding are given together.";
		return 400;
	}
	if (f->hosts > 1 || (v11 && f->hosts == 0)) {
		*why = f->hosts ? "Host is given more than once." : "Host is missing.";
		return 400;
	}
	h->chunked = f->codings == 1;
	h->has_length = f->lengths == 1;
	h->keep_alive = v11 ? !f->close : f->keep && !f->close;
	h->expect_continue &= v11;
	h->upgrade_websocket = v11 && f->upgrade && f->websocket && sl_slice_is(h->method, "GET");
	return 0;
}

static bool host_valid(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		if (p[i] <= 0x20 || p[i] >= 0x7f || strchr("/?#@\\\"<>,", p[i]))
			return false;
	return s.len <= 255;
}

int h1_head_check(struct h1_head *h, const char **why)
{
	struct framing f = {0};

	if (h->major != 1) {
		*why = "The HTTP version is not supported.";
		return h->major ? 505 : 400;
	}
	for (size_t i = 0; i < h->n_header; i++) {
		struct sluice_header *x = &h->header[i];
		int e;

		if (!name_lower(x->name) || !value_trim(&x->value)) {
			*why = "A header line has bytes that are not allowed there.";
			return 400;
		}
		e = header_note(h, x, &f, why);
		if (e)
			return e;
	}
	if (!host_valid(h->host)) {
		*why = "Host is malformed.";
		return 400;
	}
	return framing_check(h, &f, why);
}
