/*
 * test_values.c - offsets, cursors, entity tags, media types, timestamps, base64, the wheel. Tests only.
 */
#include "plugins/streams/streams.h"
#include "tests/unit/tap.h"

#define TEXT(s) SLICE(s, strlen(s))

static void test_offsets(void)
{
	static const char *const bad[] = {
		"",
		"-1",
		"now",
		"0",
		"0_0",
		"0000000000000000",
		"0000000000000000_",
		"_0000000000000000",
		"0000000000000000_000000000000000",
		"00000000000000000_0000000000000000",
		"0000000000000000_00000000000000000",
		"0000000000000000-0000000000000000",
		"000000000000000x_0000000000000000",
		"0000000000000000_000000000000000 ",
		" 000000000000000_0000000000000000",
		"0000000000000000,0000000000000000",
		"+000000000000000_0000000000000000",
		"0000000000000000_-000000000000001",
	};
	char out[OFFSET_LEN + 1] = "";
	uint64_t v = 1;

	offset_format(0, out);
	is_str(out, "0000000000000000_0000000000000000", "zero");
	offset_format(1234567, out);
	is_str(out, "0000000000000000_0000000001234567", "a position");
	offset_format(UINT64_C(9999999999999999), out);
	is_str(out, "0000000000000000_9999999999999999", "the largest that fits");
	ok(offset_parse(STR("0000000000000000_0000000000000000"), &v) && v == 0, "zero is read");
	ok(offset_parse(STR("0000000000000000_0000000001234567"), &v) && v == 1234567, "a position is read");
	ok(offset_parse(STR("9999999999999999_9999999999999999"), &v) && v == OFFSET_BEYOND, "far beyond");
	ok(offset_parse(STR("0000000000000001_0000000000000000"), &v) && v == OFFSET_BEYOND,
	   "another first part sorts behind all");
	ok(!offset_parse((slice){0}, &v), "absent");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ok(!offset_parse(TEXT(bad[i]), &v), "malformed");
	ok(!offset_parse(SLICE("0000000000000000_00000000000000\0000", OFFSET_LEN), &v), "a NUL inside");
}

static void test_cursors(void)
{
	const uint64_t epoch = UINT64_C(1728432000000), wall = epoch + 1000 * CURSOR_INTERVAL_MS + 5;
	static const char *const junk[] = {"",
	                                   "x",
	                                   "-1",
	                                   "1.5",
	                                   "1e40",
	                                   "9999999999999999999999",
	                                   "18446744073709551615",
	                                   "18446744073709551616",
	                                   "0x10",
	                                   " 1",
	                                   "1 ",
	                                   "1000000000000000000"};
	struct cursor c;
	bool min = false, max = false;

	is_int(cursor_interval(epoch - 1), 0, "before the epoch");
	is_int(cursor_interval(epoch + CURSOR_INTERVAL_MS - 1), 0, "the first interval");
	is_int(cursor_interval(epoch + CURSOR_INTERVAL_MS), 1, "the second");
	cursor_init(&c, (slice){0}, 7);
	is_int(cursor_next(&c, wall), 1000, "none given: the interval");
	ok(!cursor_own(&c, wall), "which all share");
	cursor_init(&c, STR("999"), 7);
	is_int(cursor_next(&c, wall), 1000, "one behind: the interval");
	ok(!cursor_own(&c, wall), "shared too");
	for (uint64_t random = 0; random < 3600; random++) {
		uint64_t next;

		cursor_init(&c, STR("1000"), random);
		next = cursor_next(&c, wall);
		if (next <= 1000 || next > 1180 || !cursor_own(&c, wall))
			ok(0, "a current one moves by 1 to 180 intervals");
		min = min || next == 1001;
		max = max || next == 1180;
	}
	ok(min && max, "both ends of the jitter are reached");
	cursor_init(&c, STR("999999999999999999"), 3599);
	is_int(cursor_next(&c, wall), UINT64_C(999999999999999999) + 180, "the largest does not overflow");
	for (size_t i = 0; i < sizeof junk / sizeof *junk; i++) {
		cursor_init(&c, TEXT(junk[i]), 1);
		is_int(cursor_next(&c, wall), 1000, "junk is as good as none");
	}
}

static void test_etags(void)
{
	struct sluice_read_result r = {.incarnation = 0x2a, .created_ms = 0xff00, .from = 10, .end = 250};
	static const struct {
		const char *value;
		bool match;
	} cases[] = {
		{"\"t\"", true},
		{"W/\"t\"", true},
		{"*", true},
		{" * ", true},
		{"\"a\", \"t\"", true},
		{"\"a\",\"t\",\"b\"", true},
		{"\"a\" , W/\"t\"", true},
		{",\"t\"", true},
		{"\"a\",,\"t\"", true},
		{"\t\"t\" ", true},
		{"\"a,b\", \"t\"", true},
		{"", false},
		{"\"\"", false},
		{"t", false},
		{"\"t", false},
		{"t\"", false},
		{"\"T\"", false},
		{"w/\"t\"", false},
		{"\"t\"x", false},
		{"\"\"t\"\"", false},
		{"\"a\" \"t\"", false},
		{"*, \"a\"", false},
		{"W/ \"t\"", false},
		{"W/t", false},
		{"\"a b\", \"t\"", false},
		{"\"", false},
		{"W/", false},
		{",", false},
		{"\"tt\"", false},
	};
	char tag[ETAG_MAX + 1] = "";

	tag[etag_format(tag, &r, false, "")] = '\0';
	is_str(tag, "\"2a-ff00:10:250\"", "plain");
	tag[etag_format(tag, &r, true, "")] = '\0';
	is_str(tag, "\"2a-ff00:10:250:c\"", "closed");
	tag[etag_format(tag, &r, true, "gzip")] = '\0';
	is_str(tag, "\"2a-ff00:10:250:c;gzip\"", "coded");
	r = (struct sluice_read_result){
		.incarnation = UINT64_MAX, .created_ms = UINT64_MAX, .from = UINT64_MAX, .end = UINT64_MAX};
	ok(etag_format(tag, &r, true, "gzip") < ETAG_MAX, "the longest fits");
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool match = etag_matches(TEXT(cases[i].value), STR("\"t\""));

		ok(match == cases[i].match, "If-None-Match");
		if (match != cases[i].match)
			printf("#   %s\n", cases[i].value);
	}
}

static const char *bound(const char *value, uint64_t life)
{
	static char out[257];
	size_t n = cache_control_bound(value, life, out, 256);

	out[n] = '\0';
	return out;
}

static void test_private(void)
{
	static const char *const pair[][2] = {
		{"public, max-age=60", "private, max-age=60"},
		{"max-age=60, Public", "max-age=60, private"},
		{"max-age=60,public,x", "max-age=60,private,x"},
		{"no-public=1, publicity, public", "no-public=1, publicity, private"},
		{"no-store", "no-store"},
		{"", ""},
	};
	char out[64];

	for (size_t i = 0; i < sizeof pair / sizeof *pair; i++) {
		cache_control_private(pair[i][0], out, sizeof out);
		is_str(out, pair[i][1], "public is private");
	}
}

static void test_cache_control(void)
{
	static const char usual[] = "public, max-age=60, stale-while-revalidate=300";

	is_str(bound(usual, 3600), usual, "enough life");
	is_str(bound(usual, 20), "public, max-age=20, stale-while-revalidate=0", "less than max-age");
	is_str(bound(usual, 100), "public, max-age=60, stale-while-revalidate=40", "stale gets what is left");
	is_str(bound(usual, 0), "public, max-age=0, stale-while-revalidate=0", "none left");
	is_str(bound("no-store", 5), "no-store", "nothing to bound");
	is_str(bound("s-maxage=99999999999999999999999999, x", 7), "s-maxage=7, x", "a number beyond 64 bits");
	is_str(bound("max-age=", 5), "max-age=", "no number");
}

static void test_media(void)
{
	is_int(media_kind(STR("application/json")), MEDIA_JSON, "JSON");
	is_int(media_kind(STR("Application/JSON; charset=utf-8")), MEDIA_JSON, "any case, parameters");
	is_int(media_kind(STR("application/json-seq")), MEDIA_BINARY, "json-seq is not");
	is_int(media_kind(STR("application/ld+json")), MEDIA_BINARY, "+json is not");
	is_int(media_kind(STR("application/x-ndjson")), MEDIA_BINARY, "ndjson is not");
	is_int(media_kind(STR("text/json")), MEDIA_TEXT, "text/json is text");
	is_int(media_kind(STR("TEXT/plain")), MEDIA_TEXT, "text, any case");
	is_int(media_kind(STR("textual/x")), MEDIA_BINARY, "not text");
	is_int(media_kind(STR("image/png")), MEDIA_BINARY, "binary");
	ok(media_valid(STR("text/plain; charset=utf-8")) && media_valid(STR("a/b")) && media_valid(STR("x-a.b+c/d_e")),
	   "types");
	ok(!media_valid(STR("")) && !media_valid(STR("nonsense")) && !media_valid(STR("/")) &&
	           !media_valid(STR("text/")) && !media_valid(STR("/plain")) && !media_valid(STR("te xt/plain")) &&
	           !media_valid(STR("text/ plain")),
	   "no types");
	ok(media_compressible(STR("text/plain")) && media_compressible(STR("application/octet-stream")) &&
	           media_compressible(STR("image/svg+xml")),
	   "worth compressing");
	ok(!media_compressible(STR("image/png")) && !media_compressible(STR("video/mp4")) &&
	           !media_compressible(STR("Application/ZIP; a=b")),
	   "compressed already");
}

static void test_times(void)
{
	static const struct {
		const char *text;
		uint64_t ms;
	} good[] = {
		{"1970-01-01T00:00:00Z", 0},
		{"2026-02-28T23:59:59.999Z", UINT64_C(1772323199999)},
		{"2099-01-01T00:00:00.123456789Z", UINT64_C(4070908800123)},
		{"2099-01-01t00:00:00z", UINT64_C(4070908800000)},
		{"2099-01-01T01:00:00.5+01:00", UINT64_C(4070908800500)},
		{"2098-12-31T16:00:00-08:00", UINT64_C(4070908800000)},
		{"2000-02-29T00:00:00Z", UINT64_C(951782400000)},
		{"2016-12-31T23:59:60Z", UINT64_C(1483228800000)},
		{"1969-12-31T23:59:59Z", 0},
		{"0000-01-01T00:00:00Z", 0},
		{"9999-12-31T23:59:59.999Z", UINT64_C(253402300799999)},
	};
	static const char *const bad[] = {
		"",
		"tomorrow",
		"2099-01-01",
		"2099-01-01 00:00:00Z",
		"2099-13-01T00:00:00Z",
		"2099-00-01T00:00:00Z",
		"2099-02-30T00:00:00Z",
		"2099-02-29T00:00:00Z",
		"2100-02-29T00:00:00Z",
		"2099-01-01T24:00:00Z",
		"2099-01-01T00:60:00Z",
		"2099-01-01T00:00:61Z",
		"2099-01-01T00:00:00",
		"2099-01-01T00:00:00+25:00",
		"2099-01-01T00:00:00+01:60",
		"2099-01-01T00:00:00+0100",
		"2099-01-01T00:00:00.Z",
		"2099-01-01T00:00:00,5Z",
		"2099-1-01T00:00:00Z",
		"+2099-01-01T00:00:00Z",
		"2099-01-01T00:00:00Zx",
		"2099-01-01T00:00Z",
		"Thu, 01 Jan 2099 00:00:00 GMT",
		"4070908800",
		"2099-01-00T00:00:00Z",
		"2099-01-32T00:00:00Z",
	};
	char text[TIME_LEN + 1] = "";
	uint64_t ms;

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		ms = 1;
		ok(time_parse(TEXT(good[i].text), &ms), "a timestamp");
		is_int(ms, good[i].ms, good[i].text);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		ok(!time_parse(TEXT(bad[i]), &ms), "no timestamp");
	time_format(UINT64_C(4070908800123), text);
	is_str(text, "2099-01-01T00:00:00.123Z", "formatted");
	time_format(UINT64_C(951782400000), text);
	is_str(text, "2000-02-29T00:00:00.000Z", "a leap day");
	for (uint64_t day = 0; day < 60000; day += 13) {
		uint64_t back = 0;

		time_format(day * 86400000 + 12345678, text);
		if (!time_parse(TEXT(text), &back) || back != day * 86400000 + 12345678)
			ok(0, "there and back");
	}
}

static void test_base64(void)
{
	static const char *const pairs[][2] = {{"", ""},
	                                       {"f", "Zg=="},
	                                       {"fo", "Zm8="},
	                                       {"foo", "Zm9v"},
	                                       {"foob", "Zm9vYg=="},
	                                       {"fooba", "Zm9vYmE="},
	                                       {"foobar", "Zm9vYmFy"},
	                                       {"\xff\xfe\xfb", "//77"}};
	uint8_t out[32];

	for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++) {
		out[base64_encode(out, (const uint8_t *)pairs[i][0], strlen(pairs[i][0]))] = '\0';
		is_str((char *)out, pairs[i][1], "RFC 4648 10");
	}
}

static void test_numbers(void)
{
	char text[21] = "";
	uint64_t v;

	text[u64_format(0, text)] = '\0';
	is_str(text, "0", "zero");
	text[u64_format(UINT64_MAX, text)] = '\0';
	is_str(text, "18446744073709551615", "the largest");
	ok(u64_parse(STR("18446744073709551615"), UINT64_MAX, &v) && v == UINT64_MAX, "read back");
	ok(!u64_parse(STR("18446744073709551616"), UINT64_MAX, &v), "one more");
	ok(!u64_parse(STR("9"), 5, &v) && u64_parse(STR("5"), 5, &v), "a bound of one digit");
	ok(!u64_parse(STR("11"), 10, &v) && u64_parse(STR("10"), 10, &v), "a bound");
	ok(!u64_parse(STR(""), 10, &v) && !u64_parse(STR("1 "), 10, &v) && !u64_parse(STR("+1"), 10, &v),
	   "digits only");
	ok(slice_is_nocase(STR("TrUe"), "true") && !slice_is_nocase(STR("tru"), "true") &&
	           !slice_is_nocase(STR("truee"), "true"),
	   "case");
}

static void test_json_text(void)
{
	struct bytes b = {0};

	bytes_add_json(&b, STR("a\"\\\n\x01/\xc3\xa9"));
	bytes_add(&b, "", 1);
	is_str((char *)b.data, "\"a\\\"\\\\\\u000a\\u0001/\xc3\xa9\"", "a JSON string");
	bytes_fini(&b);
}

static struct wheel wheel;
static struct wheel_node node[4];
static unsigned fired[4];
static bool again;

static void fire(void *arg, struct wheel_node *n)
{
	(void)arg;
	fired[n - node]++;
	if (again && n == &node[0])
		wheel_set(&wheel, &node[0], 10000 + 250);
	if (again && n == &node[1])
		wheel_unset(&wheel, &node[2]);
}

static void test_wheel(void)
{
	wheel_init(&wheel, 10000);
	is_int(wheel_next(&wheel, 10000), -1, "empty");
	wheel_set(&wheel, &node[0], 10150);
	wheel_set(&wheel, &node[1], 10000 + 100 * (WHEEL_SLOTS + 1) + 150); /* shares a slot with the first */
	wheel_set(&wheel, &node[2], 9000);
	is_int(wheel_next(&wheel, 10000), 100, "what is due already runs with the next tick");
	wheel_run(&wheel, 10199, fire, NULL);
	is_int(fired[2], 1, "due in the past");
	is_int(fired[0], 0, "never early");
	wheel_run(&wheel, 10200, fire, NULL);
	is_int(fired[0], 1, "on time");
	is_int(fired[1], 0, "another turn of the wheel");
	wheel_set(&wheel, &node[3], 10300);
	wheel_unset(&wheel, &node[3]);
	wheel_unset(&wheel, &node[3]);
	wheel_run(&wheel, 10000 + 100 * (WHEEL_SLOTS + 1) + 100, fire, NULL);
	is_int(fired[1], 0, "not yet");
	wheel_run(&wheel, 10000 + 100 * (WHEEL_SLOTS + 1) + 200, fire, NULL);
	is_int(fired[1], 1, "there");
	is_int(fired[3], 0, "unset");
	is_int(wheel.n, 0, "nothing left");
	memset(fired, 0, sizeof fired);
	wheel_init(&wheel, 10000);
	again = true;
	wheel_set(&wheel, &node[0], 10100);
	wheel_set(&wheel, &node[1], 10100);
	wheel_set(&wheel, &node[2], 10100);
	wheel_run(&wheel, 10100, fire, NULL);
	ok(fired[0] == 1 && fired[1] == 1 && fired[2] == 0, "a callback may set and unset others that are due");
	wheel_run(&wheel, 500000, fire, NULL);
	is_int(fired[0], 2, "a long pause loses nothing");
}

int main(void)
{
	test_private();
	test_offsets();
	test_cursors();
	test_etags();
	test_cache_control();
	test_media();
	test_times();
	test_base64();
	test_numbers();
	test_json_text();
	test_wheel();
	return tap_done();
}
