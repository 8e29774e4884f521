/*
 * test_values.c - ids of stores in paths and as names of logs, lifetimes of tokens. Tests only.
 */
#include "plugins/sds/sds.h"
#include "tests/unit/tap.h"

#define TEXT(s) SLICE(s, strlen(s))

static void test_decode(void)
{
	static const struct {
		const char *raw, *id; /* NULL: none */
	} cases[] = {
		{"demo", "demo"},     {"a%2Fb", "a/b"},       {"a%2fb", "a/b"},     {"%25", "%"},    {"a%252Fb", "a%2Fb"},
		{"%C3%A4", "\u00e4"}, {"%E2%82%AC", "\u20ac"}, {"a+b", "a+b"},       {"", NULL},      {"%", NULL},
		{"%4", NULL},         {"%4g", NULL},          {"%00", NULL},        {"a%0Ab", NULL}, {"%7f", NULL},
		{"%C2%85", NULL},     {"%C2%A0", "\u00a0"},   {"%ff", NULL},        {"%C3", NULL},   {"%C0%AF", NULL},
		{"%ED%A0%80", NULL},  {"%F4%90%80%80", NULL}, {"%F0%9F%8E%89", "\U0001f389"},
	};
	char id[ID_MAX + 1], longest[ID_MAX + 2];
	size_t n;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool good = id_decode(TEXT(cases[i].raw), id, &n);

		ok(good == (cases[i].id != NULL), "an id is taken or refused");
		ok(!good || slice_is(SLICE(id, n), cases[i].id), "it is the right one");
	}
	memset(longest, 'x', sizeof longest);
	ok(id_decode(SLICE(longest, ID_MAX), id, &n) && n == ID_MAX, "the longest one");
	ok(!id_decode(SLICE(longest, ID_MAX + 1), id, &n), "one byte more");
}

static void test_stream(void)
{
	static const struct {
		const char *id, *name;
	} cases[] = {
		{"demo", "__sds/demo"},       {"a/b", "__sds/a%2Fb"}, {"a%2Fb", "__sds/a%252Fb"}, {".", "__sds/%2E"},
		{"..", "__sds/%2E%2E"},       {"...", "__sds/..."},   {"%2E", "__sds/%252E"},     {"./", "__sds/.%2F"},
		{"\u00e4 ?#", "__sds/\u00e4 ?#"},
	};
	char name[STREAM_MAX + 1], id[ID_MAX];
	size_t n;

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		n = id_stream(TEXT(cases[i].id), name);
		ok(slice_is(SLICE(name, n), cases[i].name), "the name of a log");
	}
	memset(id, '/', sizeof id);
	ok(id_stream(SLICE(id, sizeof id), name) == STREAM_MAX, "the longest one has its place");
}

static void test_path(void)
{
	slice part[3];
	size_t n;

	ok(path_split(STR("/x/api/log/demo"), "/api/log/", part, 1, &n) && n == 1 && slice_is(part[0], "demo"), "one part");
	ok(path_split(STR("/api/log/a%2Fb/c/"), "/api/log/", part, 3, &n) && n == 3 && slice_is(part[0], "a%2Fb") &&
	           slice_is(part[1], "c") && part[2].len == 0,
	   "three, the last one empty");
	ok(!path_split(STR("/api/log/a/b"), "/api/log/", part, 1, &n), "too many");
	ok(!path_split(STR("/api/logs/a"), "/api/log/", part, 1, &n), "another path");
}

static void test_lifetime(void)
{
	static const struct {
		const char *text;
		int64_t s;
	} cases[] = {{"90s", 90},    {"5m", 300},    {"2h", 7200},    {"3d", 259200}, {"1w", 86400}, {"", 86400},
	             {"h", 86400},   {"1hh", 86400}, {" 1h", 86400}, {"-1h", 86400}, {"0s", 0},      {"1", 86400},
	             {"99999999999999999999999d", INT64_C(1000) * 365 * 86400}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		json_t *v = json_string(cases[i].text);

		is_int(token_lifetime(v), cases[i].s, cases[i].text);
		json_decref(v);
	}
	is_int(token_lifetime(NULL), 86400, "none");
}

int main(void)
{
	test_decode();
	test_stream();
	test_path();
	test_lifetime();
	return tap_done();
}
