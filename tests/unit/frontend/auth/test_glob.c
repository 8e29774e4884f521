/* Patterns of stream names: what they match, what they are not, and that no name makes them slow. */
#include "frontend/auth/internal.h"
#include "tests/unit/tap.h"

static const struct {
	const char *pattern, *name;
	bool match;
} cases[] = {
	{"a", "a", true},
	{"a", "b", false},
	{"a", "a/b", false},
	{"a/b", "a/b", true},
	{"a/b", "a", false},
	{"*", "a", true},
	{"*", "", true},
	{"*", "a/b", false},
	{"a*", "a", true},
	{"a*", "abc", true},
	{"*c", "abc", true},
	{"a*c", "ac", true},
	{"a*b*c", "a-b-b-c", true},
	{"a*b*c", "a-c-b", false},
	{"*a*a*b", "aaaab", true},
	{"a*/c", "ab/c", true},
	{"a*/c", "a/b/c", false},
	{"**", "", true},
	{"**", "a", true},
	{"**", "a/b/c", true},
	{"a/**", "a/b", true},
	{"a/**", "a/b/c", true},
	{"a/**", "a/", true}, /* an empty segment is one */
	{"a/**", "a", false},
	{"a/**", "ab/c", false},
	{"**/z", "z", true},
	{"**/z", "a/b/z", true},
	{"**/z", "a/b/zz", false},
	{"**/z", "z/a", false},
	{"a/**/z", "a/z", true},
	{"a/**/z", "a/b/c/z", true},
	{"a/**/z", "a/b", false},
	{"**/b*/**/d", "a/bb/c/d", true},
	{"**/b/*/d", "b/x/b/c/d", true},
	{"**/b/*/d", "b/c/d/e", false},
	{"**/a/b/**/c/**", "a/a/b/c/d", true},
	{"**/a/b/**/c/**", "a/a/b/c", false},
	{"\\*", "*", true},
	{"\\*", "a", false},
	{"\\**", "*a", true},
	{"\\**", "a", false},
	{"a\\b", "ab", true},
	{"\\\\*", "\\x", true},
	{"gr\xc3\xbc*", "gr\xc3\xbc\xc3\x9f", true},
};

static void test_match(void)
{
	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		char text[64];

		snprintf(text, sizeof text, "%s %s %s", cases[i].pattern, cases[i].match ? "matches" : "does not match",
		         cases[i].name);
		ok(!glob_check(sl_slice_str(cases[i].pattern)), "a pattern");
		tap_ok(glob_match(sl_slice_str(cases[i].pattern), sl_slice_str(cases[i].name)) == cases[i].match, text,
		       __FILE__, __LINE__, text);
	}
	ok(glob_match(SL_STR("a/*"), SL_SLICE("a/\0x", 4)), "any byte");
}

static void test_check(void)
{
	static const char *const bad[] = {"", "/a", "a**", "**a", "a/b**/c", "***", "\\", "a\\", "a\\/b"};
	char *longest = malloc(GLOB_MAX + 1);

	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
		tap_ok(glob_check(sl_slice_str(bad[i])) != NULL, bad[i], __FILE__, __LINE__, "no pattern");
	ok(glob_check(SL_SLICE("a\0b", 3)), "NUL is in no name");
	memset(longest, 'a', GLOB_MAX + 1);
	ok(!glob_check(SL_SLICE(longest, GLOB_MAX)) && glob_check(SL_SLICE(longest, GLOB_MAX + 1)), "a bound");
	free(longest);
}

/* With one step back for each star this would end; with one for each combination it never would. */
static void test_work(void)
{
	char name[4096], pattern[257];

	memset(name, 'a', sizeof name);
	for (size_t i = 0; i < 128; i++)
		memcpy(pattern + 2 * i, "*a", 2);
	pattern[256] = 'b';
	ok(!glob_match(SL_SLICE(pattern, 257), SL_SLICE(name, sizeof name)), "many stars, a long name");
	for (size_t i = 1; i < sizeof name; i += 2)
		name[i] = '/';
	for (size_t i = 0; i + 5 <= 255; i += 5)
		memcpy(pattern + i, "**/a/", 5);
	pattern[255] = 'b';
	ok(!glob_match(SL_SLICE(pattern, 256), SL_SLICE(name, sizeof name)), "many double stars, many segments");
}

int main(void)
{
	test_match();
	test_check();
	test_work();
	return tap_done();
}
