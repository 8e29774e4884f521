/*
 * test_json_scan.c - what is JSON and what is not, and where its messages are. Tests only.
 */
#include "plugins/streams/streams.h"
#include "tests/unit/tap.h"

static struct json_lens lens;

/* "" when text is refused, else its messages joined by '|'. */
static const char *scan(const char *text, size_t n)
{
	static char out[4096];
	uint8_t *copy = malloc(n + 1);
	size_t used, at = 0, pos = 0;
	const char *why = NULL;
	enum json_status status;

	if (!copy)
		abort();
	memcpy(copy, text, n);
	status = json_scan(copy, n, &lens, &used, &why);
	out[0] = '\0';
	if (status == JSON_OK) {
		for (size_t i = 0; i < lens.n; i++) {
			memcpy(out + at, copy + pos, lens.len[i]);
			at += lens.len[i];
			pos += lens.len[i];
			out[at++] = '|';
		}
		out[at] = '\0';
		if (lens.n == 0)
			strcpy(out, "empty");
		if (pos != used)
			strcpy(out, "lengths do not add up");
	} else if (!why || !*why) {
		strcpy(out, "no reason given");
	}
	free(copy);
	return out;
}

static const struct {
	const char *text, *messages;
} good[] = {
	{"1", "1|"},
	{" \t\r\n1 \t\r\n", "1|"},
	{"-0", "-0|"},
	{"-0.0e-0", "-0.0e-0|"},
	{"123456789012345678901234567890", "123456789012345678901234567890|"},
	{"1E+2", "1E+2|"},
	{"0.10", "0.10|"},
	{"true", "true|"},
	{"false", "false|"},
	{"null", "null|"},
	{"\"\"", "\"\"|"},
	{"\"a\\\"b\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"", "\"a\\\"b\\\\\\/\\b\\f\\n\\r\\t\\u00e9\"|"},
	{"\"\\ud800\"", "\"\\ud800\"|"}, /* RFC 8259 8.2: grammatically fine */
	{"\"\\uD83D\\uDE00\"", "\"\\uD83D\\uDE00\"|"},
	{"\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"", "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\x7f\"|"},
	{"{}", "{}|"},
	{"{ }", "{ }|"},
	{"{\"a\":1,\"a\":2}", "{\"a\":1,\"a\":2}|"},
	{"{ \"a\" : [ 1 , { } , [ ] ] , \"b\" : null }", "{ \"a\" : [ 1 , { } , [ ] ] , \"b\" : null }|"},
	{"{\"\":{\"\":{}}}", "{\"\":{\"\":{}}}|"},
	{"[]", "empty"},
	{" [ \n ] ", "empty"},
	{"[1]", "1|"},
	{"[1,2,3]", "1|2|3|"},
	{" [ 1 , \"b\" ,\n{\"c\" : [ 1, 2 ]} ] ", "1|\"b\"|{\"c\" : [ 1, 2 ]}|"},
	{"[[1,2],[3,4]]", "[1,2]|[3,4]|"},
	{"[[[1,2,3]]]", "[[1,2,3]]|"},
	{"[[]]", "[]|"},
	{"[[],{},[ ]]", "[]|{}|[ ]|"},
	{"[\",\",\"]\",\"[\",\"}\"]", "\",\"|\"]\"|\"[\"|\"}\"|"},
	{"[1.5e10,-1,true,false,null]", "1.5e10|-1|true|false|null|"},
	{"[{\"a\":[]},{\"b\":{}}]", "{\"a\":[]}|{\"b\":{}}|"},
};

static const char *const bad[] = {
	"",
	" ",
	"\t\n",
	"\v",
	"\f1",
	"tru",
	"nul",
	"fals",
	"TRUE",
	"True",
	"truee",
	"nullx",
	"undefined",
	"NaN",
	"Infinity",
	"-Infinity",
	"-",
	"+1",
	"01",
	"-01",
	"1.",
	".5",
	"1.e1",
	"1e",
	"1e+",
	"1E-",
	"0x10",
	"1_000",
	"1a",
	"- 1",
	"1 2",
	"--1",
	"0.1.2",
	"1e1.5",
	"00",
	"\"",
	"\"a",
	"\"\\\"",
	"\"\\",
	"\"\\x\"",
	"\"\\u\"",
	"\"\\u12\"",
	"\"\\u12g4\"",
	"\"\\u123",
	"\"\n\"",
	"\"\t\"",
	"\"\x1f\"",
	"'a'",
	"\"a\" \"b\"",
	"\"\\U0041\"",
	"\"\\a\"",
	"\"\\'\"",
	"{",
	"}",
	"{]",
	"[}",
	"{,}",
	"{\"a\"}",
	"{\"a\":}",
	"{\"a\":1,}",
	"{\"a\":1 \"b\":2}",
	"{a:1}",
	"{1:1}",
	"{\"a\" 1}",
	"{\"a\":1",
	"{\"a\":1]",
	"{\"a\"",
	"{\"a\":",
	"{\"a\",1}",
	"{:1}",
	"{\"a\"::1}",
	"{null:1}",
	"{\"a\":1,,\"b\":2}",
	"{}}",
	"{\"a\":1}x",
	"{'a':1}",
	"[",
	"]",
	"[1",
	"[1,",
	"[1,]",
	"[,1]",
	"[,]",
	"[1,,2]",
	"[1 2]",
	"[1]]",
	"[[1]",
	"[1]2",
	"[1],",
	"[a]",
	"[1}",
	"[\"a",
	"[:]",
	"[\"a\":1]",
	"[1;2]",
	"[[1],[2]",
	"[{\"a\":1]",
	"[tru]",
	"[1,\"]",
	"[-]",
	"[1.]",
	"// c\n1",
	"/* c */ 1",
	"#1",
	"1 // c",
	"[1/*c*/]",
	"\xef\xbb\xbf"
	"1",
	"\xef\xbb\xbf[]",
	"\xa0"
	"1",
	"\xe2\x80\xa8"
	"1",
	"1\xc2\xa0",
	"\"\x80\"",
	"\"\xbf\"",
	"\"\xc0\x80\"",
	"\"\xc1\xbf\"",
	"\"\xc3\"",
	"\"\xc3\x28\"",
	"\"\xe2\x82\"",
	"\"\xe2\x28\xa1\"",
	"\"\xe0\x80\x80\"",
	"\"\xe0\x9f\xbf\"",
	"\"\xed\xa0\x80\"",
	"\"\xed\xbf\xbf\"",
	"\"\xf0\x80\x80\x80\"",
	"\"\xf0\x8f\xbf\xbf\"",
	"\"\xf4\x90\x80\x80\"",
	"\"\xf5\x80\x80\x80\"",
	"\"\xf8\x88\x80\x80\x80\"",
	"\"\xff\"",
	"\"\xfe\"",
	"\"\xf0\x9f\x98\"",
	"{\"\xff\":1}",
	"[\"\xc3\"]",
	"\"a\xc3\"",
};

static void test_tables(void)
{
	for (size_t i = 0; i < sizeof good / sizeof *good; i++)
		is_str(scan(good[i].text, strlen(good[i].text)), good[i].messages, "accepted");
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		bool refused = *scan(bad[i], strlen(bad[i])) == '\0';

		ok(refused, "refused");
		if (!refused)
			printf("#   bad[%zu] %s\n", i, bad[i]);
	}
	is_str(scan("1\0", 2), "", "a NUL behind the value");
	is_str(scan("\"\0\"", 3), "", "a NUL in a string");
	is_str(scan("\0", 1), "", "a NUL alone");
}

/* No prefix of a valid text is valid, except where a number or blank could end. */
static void test_truncation(void)
{
	static const char text[] =
		"{\"a\":[1,2,{\"b\":\"c\\u00e9\xc3\xa9\"},[],{}],\"d\":true,\"e\":null,\"f\":-1.5e+3}";
	bool all = true;

	for (size_t n = 0; n < sizeof text - 1; n++)
		all = all && *scan(text, n) == '\0';
	ok(all, "no prefix of an object is accepted");
	ok(*scan(text, sizeof text - 1) != '\0', "the object is");
}

static enum json_status nested(size_t depth, char open, char close, const char *inner)
{
	size_t n = depth * (open == '{' ? 5 : 1) + strlen(inner) + depth, at = 0, used;
	uint8_t *text = malloc(n);
	enum json_status status;
	const char *why;

	if (!text)
		abort();
	for (size_t i = 0; i < depth; i++) {
		text[at++] = (uint8_t)open;
		if (open == '{') {
			memcpy(text + at, "\"a\":", 4);
			at += 4;
		}
	}
	memcpy(text + at, inner, strlen(inner));
	at += strlen(inner);
	memset(text + at, close, depth);
	status = json_scan(text, at + depth, &lens, &used, &why);
	free(text);
	return status;
}

static void test_depth(void)
{
	is_int(nested(JSON_DEPTH, '[', ']', "1"), JSON_OK, "arrays as deep as allowed");
	is_int(nested(JSON_DEPTH + 1, '[', ']', "1"), JSON_BAD, "arrays one level deeper");
	is_int(nested(JSON_DEPTH, '{', '}', "1"), JSON_OK, "objects as deep as allowed");
	is_int(nested(JSON_DEPTH + 1, '{', '}', "1"), JSON_BAD, "objects one level deeper");
	is_int(nested(JSON_DEPTH - 1, '[', ']', "{}"), JSON_OK, "an empty object at the bottom");
	is_int(nested(JSON_DEPTH, '[', ']', "{}"), JSON_BAD, "an empty object below it");
	is_int(nested(1000000, '[', ']', ""), JSON_BAD, "a million brackets cost no stack");
}

static void test_many(void)
{
	size_t n = 2 * (MESSAGES_MAX + 1) + 1, used;
	uint8_t *text = malloc(n);
	const char *why;

	if (!text)
		abort();
	for (size_t i = 0; i < n; i++)
		text[i] = i % 2 ? '7' : ',';
	text[0] = '[';
	text[n - 1] = ']';
	is_int(json_scan(text, n, &lens, &used, &why), JSON_TOO_MANY, "one message more than allowed");
	for (size_t i = 0; i < n; i++)
		text[i] = i % 2 ? '7' : ',';
	text[0] = '[';
	text[n - 3] = ']';
	is_int(json_scan(text, n - 2, &lens, &used, &why), JSON_OK, "as many as allowed");
	is_int(lens.n, MESSAGES_MAX, "all of them");
	is_int(used, MESSAGES_MAX, "moved together");
	free(text);
}

static void test_utf8(void)
{
	static const struct {
		const char *text;
		size_t unfinished;
	} ends[] = {
		{"", 0},
		{"a", 0},
		{"\xc3", 1},
		{"a\xc3", 1},
		{"\xc3\xa9", 0},
		{"\xe2", 1},
		{"\xe2\x82", 2},
		{"\xe2\x82\xac", 0},
		{"\xf0", 1},
		{"\xf0\x9f", 2},
		{"\xf0\x9f\x98", 3},
		{"\xf0\x9f\x98\x80", 0},
		{"\xc0", 0},
		{"\xff", 0},
		{"\x80", 0},
		{"a\x80\x80", 0},
		{"\xe0\x80", 0},
		{"\xe0\xa0", 2},
		{"\xed\xa0", 0},
		{"\xed\x9f", 2},
		{"\xf4\x90", 0},
		{"\xf4\x8f", 2},
		{"\xf5", 0},
		{"\xe2\x28", 0},
		{"\xc3\xa9\xc3", 1},
		{"\x80\x80\x80\x80", 0},
		{"\xf0\x80", 0},
		{"\xf0\x90", 2},
	};

	for (size_t i = 0; i < sizeof ends / sizeof *ends; i++)
		is_int(utf8_unfinished((const uint8_t *)ends[i].text, strlen(ends[i].text)), ends[i].unfinished,
		       "unfinished bytes");
	ok(utf8_valid(STR("a\xc3\xa9")), "valid");
	ok(!utf8_valid(STR("a\xc3")), "not valid");
	ok(utf8_valid(STR("")), "nothing is valid");
}

int main(void)
{
	test_tables();
	test_truncation();
	test_depth();
	test_many();
	test_utf8();
	free(lens.len);
	return tap_done();
}
