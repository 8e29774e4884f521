/*
 * test_text.c - JSON strings and UTF-8 of the console. Tests only.
 */
#include "plugins/console/console.h"
#include "tests/unit/tap.h"

static const char *json(const char *data, size_t n)
{
	static struct text t;

	text_fini(&t);
	text_json(&t, SLICE(data, n));
	return t.failed ? "failed" : t.data;
}
#define JSON(s) json(s, sizeof(s) - 1)

static void test_json(void)
{
	is_str(JSON(""), "\"\"", "nothing");
	is_str(JSON("plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a"), "\"plain \xc3\xa9 \xe2\x82\xac \xf0\x9f\x8c\x8a\"", "UTF-8 stays");
	is_str(JSON("\"\\/"), "\"\\\"\\\\/\"", "quotes");
	is_str(JSON("a\nb\x01\x7f"), "\"a\\u000ab\\u0001\\u007f\"", "control characters");
	is_str(JSON("</script><!--"), "\"\\u003c/script>\\u003c!--\"", "no markup");
	is_str(JSON("\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa"), "\"\\u2028\\u2029\xe2\x80\xaa\"", "line separators");
	is_str(JSON("a\0b"), "\"a\\u0000b\"", "NUL");
	is_str(JSON("\xff" "a\xc3"), "\"\\ufffda\\ufffd\"", "what is no UTF-8");
}

static void test_utf8(void)
{
	static const struct {
		const char *bytes;
		size_t want;
	} cases[] = {
		{"a", 1},        {"\xc2\x80", 2},         {"\xdf\xbf", 2},     {"\xe0\xa0\x80", 3},     {"\xed\x9f\xbf", 3},
		{"\xee\x80\x80", 3}, {"\xf0\x90\x80\x80", 4}, {"\xf4\x8f\xbf\xbf", 4}, {"\x80", 0},             {"\xc0\x80", 0},
		{"\xc1\xbf", 0}, {"\xe0\x9f\xbf", 0},     {"\xed\xa0\x80", 0}, {"\xf0\x8f\xbf\xbf", 0}, {"\xf4\x90\x80\x80", 0},
		{"\xf5\x80\x80\x80", 0}, {"\xe2\x82", 0}, {"\xc3" "a", 0},     {"\xff", 0},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		is_int(utf8_length(cases[i].bytes, strlen(cases[i].bytes)), cases[i].want, "length of a sequence");
	is_int(utf8_length("", 0), 0, "of nothing");
	ok(utf8_valid(STR("\xc3\xa9t\xc3\xa9")) && !utf8_valid(STR("\xc3\xa9t\xc3")), "of a whole text");
}

static void test_bounds(void)
{
	struct text t = {.max = 10};

	text_puts(&t, "12345");
	text_again(&t, 1, 3);
	is_str(t.data, "12345234", "a part once more");
	text_puts(&t, "678");
	ok(t.failed, "more than the bound is a failure");
	text_puts(&t, "x");
	is_int(t.len, 8, "after which nothing is added");
	text_fini(&t);
}

int main(void)
{
	test_json();
	(void)JSON(""); /* the last one's memory */
	test_utf8();
	test_bounds();
	return tap_done();
}
