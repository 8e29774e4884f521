/*
 * fuzz_values.c - fuzz target: small values of requests: offsets, cursors, entity tags, media types, times, numbers. Tests
 * only.
 *
 * The first byte says which. What is read and written again is the same, what is bounded keeps its bound.
 */
#include <stdlib.h>

#include "plugins/streams/streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

#define OFFSET_MAX UINT64_C(9999999999999999)

static void must(bool good)
{
	if (!good)
		abort();
}

static uint64_t take_u64(slice *s)
{
	uint64_t v = 0;
	size_t n = s->len < sizeof v ? s->len : sizeof v;

	memcpy(&v, s->data, n);
	*s = SLICE((const uint8_t *)s->data + n, s->len - n);
	return v;
}

static void fuzz_offset(slice s)
{
	char text[OFFSET_LEN];
	uint64_t v;

	if (!offset_parse(s, &v))
		return;
	must(s.len == OFFSET_LEN && (v == OFFSET_BEYOND || v <= OFFSET_MAX));
	if (v == OFFSET_BEYOND)
		return;
	offset_format(v, text);
	must(memcmp(text, s.data, OFFSET_LEN) == 0);
}

static void fuzz_offset_order(slice s)
{
	uint64_t a = take_u64(&s) % (OFFSET_MAX + 1), b = take_u64(&s) % (OFFSET_MAX + 1), back;
	char x[OFFSET_LEN], y[OFFSET_LEN];

	offset_format(a, x);
	offset_format(b, y);
	must(offset_parse(SLICE(x, OFFSET_LEN), &back) && back == a);
	/* Clients compare tokens as text. */
	must((a < b) == (memcmp(x, y, OFFSET_LEN) < 0));
}

static void fuzz_cursor(slice s)
{
	uint64_t random = take_u64(&s), wall = take_u64(&s) >> 20, next;
	struct cursor c;

	cursor_init(&c, s, random);
	next = cursor_next(&c, wall);
	must(next >= cursor_interval(wall));
	must(!c.given || next > c.value || !cursor_own(&c, wall));
	must(next <= (c.given && cursor_own(&c, wall) ? c.value + 180 : cursor_interval(wall)));
}

static void fuzz_etag(slice s)
{
	struct sluice_read_result r = {.incarnation = take_u64(&s), .created_ms = take_u64(&s), .from = take_u64(&s)};
	char tag[ETAG_MAX];
	size_t n;

	r.end = r.from + s.len;
	n = etag_format(tag, &r, s.len & 1, s.len & 2 ? "gzip" : "");
	must(n <= ETAG_MAX);
	must(etag_matches(SLICE(tag, n), SLICE(tag, n)));
	etag_matches(s, SLICE(tag, n));
	if (s.len > 0)
		etag_matches(s, s);
}

/* What a cache may keep is never longer than the stream's life. */
static void fuzz_cache_control(slice s)
{
	uint64_t life = take_u64(&s) >> 32;
	char *value = malloc(s.len + 1), out[256];
	size_t n;

	must(value != NULL);
	memcpy(value, s.data, s.len);
	value[s.len] = '\0';
	n = cache_control_bound(value, life, out, sizeof out);
	must(n <= sizeof out);
	for (size_t i = 0; i + 1 < n; i++)
		if (out[i] == '=' && out[i + 1] >= '0' && out[i + 1] <= '9')
			must(strtoull(out + i + 1, NULL, 10) <= life || i + 21 > n);
	free(value);
}

static void fuzz_media(slice s)
{
	enum media_kind kind = media_kind(s);

	media_compressible(s);
	must(kind == MEDIA_BINARY || s.len >= 5);
	if (media_valid(s))
		must(memchr(s.data, '/', s.len) != NULL);
}

static void fuzz_time(slice s)
{
	char text[TIME_LEN];
	uint64_t ms, back;

	if (!time_parse(s, &ms))
		return;
	must(ms <= UINT64_C(253402387199999)); /* the end of 9999, a day west of Greenwich */
	time_format(ms, text);
	if (ms <= UINT64_C(253402300799999))
		must(time_parse(SLICE(text, TIME_LEN), &back) && back == ms);
}

static void fuzz_number(slice s)
{
	uint64_t max = take_u64(&s), v;
	char text[20];
	size_t n;

	if (!u64_parse(s, max, &v))
		return;
	must(v <= max);
	n = u64_format(v, text);
	/* But for zeros in front it is what was there. */
	must(n <= s.len && memcmp(text, (const char *)s.data + s.len - n, n) == 0);
}

static void fuzz_utf8(slice s)
{
	const uint8_t *p = s.data;
	size_t rest = utf8_unfinished(p, s.len);

	must(rest <= 3 && rest <= s.len);
	if (utf8_valid(s))
		must(rest == 0);
	if (rest && utf8_valid(SLICE(p, s.len - rest)))
		must(!utf8_valid(s));
}

static void fuzz_json_text(slice s)
{
	struct bytes b = {0};
	struct json_lens lens = {0};
	const char *why;
	size_t used;

	bytes_add_json(&b, s);
	must(b.len >= 2 && b.data[0] == '"' && b.data[b.len - 1] == '"');
	if (utf8_valid(s))
		must(json_scan(b.data, b.len, &lens, &used, &why) == JSON_OK && lens.n == 1);
	free(lens.len);
	bytes_fini(&b);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static void (*const fuzz[])(slice) = {fuzz_offset,        fuzz_offset_order, fuzz_cursor, fuzz_etag,
	                                      fuzz_cache_control, fuzz_media,        fuzz_time,   fuzz_number,
	                                      fuzz_utf8,          fuzz_json_text};

	if (n > 0)
		fuzz[data[0] % (sizeof fuzz / sizeof *fuzz)](SLICE(data + 1, n - 1));
	return 0;
}
