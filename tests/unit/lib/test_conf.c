/* Every problem of a configuration text is found, with its exact position and words; good texts become typed values. */
#include "lib/conf.h"

#include "lib/conf_tree.h"
#include "tests/unit/tap.h"

static const struct sluice_option inner[] = {
        {"max_age", SLUICE_T_DURATION, "0", NULL, NULL, "", NULL, 0},
        {"max_bytes", SLUICE_T_SIZE, "", "1K", "1G", "", NULL, 0},
        {"prefix", SLUICE_T_STRING, NULL, "1", "8", "", NULL, 0},
        {.name = NULL},
};
static const struct sluice_option words[] = {{"", SLUICE_T_STRING, NULL, NULL, NULL, "", NULL, 0}, {.name = NULL}};
static const struct sluice_option ports[] = {{"port", SLUICE_T_INT, NULL, "1", "9", "", NULL, 0}, {.name = NULL}};
static const struct sluice_option table[] = {
        {"flag", SLUICE_T_BOOL, "false", NULL, NULL, "", NULL, 0},
        {"count", SLUICE_T_INT, "3", "-5", "64", "", NULL, 0},
        {"size", SLUICE_T_SIZE, "64M", "1K", "4G", "", NULL, 0},
        {"time", SLUICE_T_DURATION, "30s", "10ms", "1d", "", NULL, 0},
        {"name", SLUICE_T_STRING, "x y", NULL, NULL, "", NULL, 0},
        {"mode", SLUICE_T_ENUM, "full", "full|normal|off", NULL, "", NULL, 0},
        {"at", SLUICE_T_LISTENER, "127.0.0.1:1", NULL, NULL, "", NULL, 0},
        {"rules", SLUICE_T_LIST, "[]", NULL, "3", "", inner, 0},
        {"words", SLUICE_T_LIST, "[a, b]", NULL, NULL, "", words, 0},
        {"ports", SLUICE_T_LIST, "", NULL, NULL, "", ports, 0},
        {"sub", SLUICE_T_MAP, "{}", NULL, NULL, "", inner + 1, 0},
        {"secret", SLUICE_T_INT, "", NULL, NULL, "", NULL, SLUICE_OPT_SECRET},
        {"any", SLUICE_T_MAP, "", NULL, NULL, "", NULL, 0},
        {.name = NULL},
};
/* "sub" has one required member: written here so that other cases need not care. */
#define SUB "sub: {prefix: p}\n"

static char *errors_text(struct sl_conf_errors *e)
{
	static char text[8192];
	size_t at = 0;

	sl_conf_errors_sort(e);
	text[0] = '\0';
	for (size_t i = 0; i < e->n && at < sizeof text; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%u:%u: %s", i ? "\n" : "", e->v[i].line, e->v[i].column,
		                       e->v[i].text);
	return text;
}

static const char *complain(const char *yaml)
{
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_conf_parse(sl_slice_str(yaml), &e);
	const char *text;

	if (c)
		sl_conf_check(c, table, "", NULL, &e);
	text = errors_text(&e);
	sl_conf_free(c);
	sl_conf_errors_fini(&e);
	return text;
}

static void test_defaults(void)
{
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_conf_parse(SL_STR(SUB), &e);

	is_int(sl_conf_check(c, table, "", NULL, &e), 0, "all defaults are good");
	is_int(sl_conf_int(c, "flag"), 0, "bool");
	is_int(sl_conf_int(c, "count"), 3, "int");
	is_int(sl_conf_int(c, "size"), 64 << 20, "size");
	is_int(sl_conf_int(c, "time"), 30000, "duration in milliseconds");
	is_str(sl_conf_str(c, "name"), "x y", "string");
	is_int(sl_conf_int(c, "mode"), 0, "enum as index");
	is_str(sl_conf_str(c, "mode"), "full", "and as text");
	is_int(sl_conf_len(c, "rules"), 0, "empty list");
	is_int(sl_conf_len(c, "words"), 2, "list with elements");
	is_str(sl_conf_str(sl_conf_at(c, "words", 1), ""), "b", "its second one");
	ok(!sl_conf_get(c, "ports") && sl_conf_len(c, "ports") == 0, "what may be absent stays absent");
	ok(!sl_conf_has(c, "size") && sl_conf_has(c, "sub.prefix"), "written is told from default");
	ok(sl_conf_at(c, "words", 2) == NULL && sl_conf_at(c, "nothing", 0) == NULL, "getters know their bounds");
	sl_conf_free(c);
}

static void test_values(void)
{
	static const char yaml[] = SUB "flag: true\ncount: -5\nsize: 2G\ntime: 5m\nname: 'it''s'\nmode: off\nat: '[::1]:0'\n"
	                               "rules: [{prefix: a, max_age: 7d}, {prefix: b, max_bytes: 1024}]\nports: [1, 9]\nsecret: 7\n"
	                               "any: {x: [1, {y: z}]}\n";
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_conf_parse(sl_slice_str(yaml), &e);
	const struct sluice_conf *rule;

	is_int(sl_conf_check(c, table, "", NULL, &e), 0, "good values are accepted");
	is_int(sl_conf_int(c, "flag"), 1, "true");
	is_int(sl_conf_int(c, "count"), -5, "the minimum itself");
	ok(sl_conf_int(c, "size") == INT64_C(2) << 30, "G");
	is_int(sl_conf_int(c, "time"), 300000, "m");
	is_str(sl_conf_str(c, "name"), "it's", "quotes");
	is_int(sl_conf_int(c, "mode"), 2, "the word off is no bool");
	rule = sl_conf_at(c, "rules", 1);
	is_int(sl_conf_int(rule, "max_bytes"), 1024, "a number alone is bytes");
	is_int(sl_conf_int(sl_conf_at(c, "rules", 0), "max_age"), 7 * 86400000LL, "d");
	is_int(sl_conf_line(rule), 9, "line of an element");
	is_int(sl_conf_column(rule), 35, "and its column");
	is_int(sl_conf_int(sl_conf_at(c, "ports", 1), ""), 9, "a list of numbers");
	is_str(sl_conf_str(sl_conf_at(sl_conf_get(c, "any"), "x", 0), ""), "1", "a map without a table is not looked into");
	sl_conf_free(c);
}

static void test_errors(void)
{
	static const struct {
		const char *yaml, *want;
	} cases[] = {
	        {"flag: yes", "1:7: flag: expected true or false, got \"yes\""},
	        {"flag: 'true'", "1:7: flag: expected true or false, got \"true\""},
	        {"count: 3.5", "1:8: count: expected a whole number, got \"3.5\""},
	        {"count: 65", "1:8: count: must be at most 64, got \"65\""},
	        {"count: -6", "1:8: count: must be at least -5, got \"-6\""},
	        {"count: 99999999999999999999999", "1:8: count: expected a whole number, got \"99999999999999999999999\""},
	        {"size: lots", "1:7: size: expected size such as \"64M\", got \"lots\""},
	        {"size: 12", "1:7: size: must be at least 1K, got \"12\""},
	        {"size: 5G", "1:7: size: must be at most 4G, got \"5G\""},
	        {"size: 9999999999T", "1:7: size: expected size such as \"64M\", got \"9999999999T\""},
	        {"size: -1K", "1:7: size: expected size such as \"64M\", got \"-1K\""},
	        {"size: 1 K", "1:7: size: expected size such as \"64M\", got \"1 K\""},
	        {"time: five", "1:7: time: expected duration such as \"5s\", got \"five\""},
	        {"time: 5", "1:7: time: expected duration such as \"5s\", got \"5\""},
	        {"time: 0", "1:7: time: must be at least 10ms, got \"0\""},
	        {"name: [a]", "1:7: name: expected a text, got a list"},
	        {"mode: ful", "1:7: mode: expected one of full, normal, off, got \"ful\" (did you mean \"full\"?)"},
	        {"mode: xyz", "1:7: mode: expected one of full, normal, off, got \"xyz\""},
	        {"at: nowhere", "1:5: at: expected host:port, [v6 address]:port, unix:/path or systemd:name, got \"nowhere\""},
	        {"rules: {prefix: a}", "1:8: rules: expected a list, got a map"},
	        {"rules: [a]", "1:9: rules[0]: expected a map, got \"a\""},
	        {"rules: [{}, {prefix: ''}]", "1:9: rules[0].prefix: required, but missing\n"
	                                      "1:22: rules[1].prefix: needs at least 1 byte"},
	        {"rules: [{prefix: 123456789}]", "1:18: rules[0].prefix: takes at most 8 bytes"},
	        {"rules: [{prefix: a}, {prefix: a}, {prefix: a}, {prefix: a}]", "1:8: rules: takes at most 3 elements"},
	        {"rules: [{prefix: a, max_agee: 1s}]", "1:21: rules[0]: unknown key \"max_agee\" (did you mean \"max_age\"?)"},
	        {"words: [a, [b]]", "1:12: words[1]: expected a text, got a list"},
	        {"words: [a, ~]", "1:12: words[1]: expected a text, got nothing"},
	        {"ports: [1, x]", "1:12: ports[1]: expected a whole number, got \"x\""},
	        {"sub: 3", "1:6: sub: expected a map, got \"3\""},
	        {"secret: hunter2", "1:9: secret: expected a whole number, got another text"},
	        {"siez: 3M", "1:1: unknown key \"siez\" (did you mean \"size\"?)"},
	        {"zzz: 3M", "1:1: unknown key \"zzz\""},
	        {"count: 3\n\ncount: 4", "3:1: duplicate key \"count\" (first in line 1)"},
	        {"count: *x", "1:8: unknown alias \"x\""},
	        {"name: \"a\\0b\"", "1:7: a text must not contain NUL"},
	};
	char yaml[256], name[256];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		bool has_sub = strncmp(cases[i].yaml, "sub:", 4) == 0;

		snprintf(yaml, sizeof yaml, "%s\n%s", cases[i].yaml, has_sub ? "" : SUB);
		snprintf(name, sizeof name, "%.60s", cases[i].yaml);
		for (char *p = name; *p; p++) {
			if (*p == '\n' || *p == '#')
				*p = ' ';
		}
		is_str(complain(yaml), cases[i].want, name);
	}
}

static void test_structure(void)
{
	char deep[400], *big;
	size_t at = 0;

	is_str(complain(""), "1:1: the file is empty", "an empty file");
	is_str(complain("# nothing\n"), "1:1: the file is empty", "a comment only");
	is_str(complain("just text"), "1:1: the file: expected a map, got \"just text\"", "no map");
	is_str(complain(SUB "---\n" SUB), "2:1: more than one document in the file", "two documents");
	ok(strncmp(complain("a: [1,\nb: }"), "2:4: syntax error: ", 19) == 0, "a syntax error has a position");
	ok(strncmp(complain("a:\n\t- x"), "2:1: syntax error: ", 19) == 0, "a tab as well");
	ok(strstr(complain("name: \xff\xfe"), "not text") != NULL, "bytes that are no UTF-8");
	is_str(complain("{[a]: b}"), "1:2: a key must be a plain word, not a list or a map", "a list as key");
	is_str(complain("name: &a [*a]"), "1:11: an alias inside of what it stands for", "a cycle");
	memset(deep, '[', 40);
	memset(deep + 40, ']', 40);
	deep[80] = '\0';
	is_str(complain(deep), "1:33: nested too deeply", "33 levels");
	/* Each level names the one before nine times: 9^9 nodes. */
	at += (size_t)snprintf(deep + at, sizeof deep - at, "a0: &a0 [x,x,x,x,x,x,x,x,x]\n");
	for (int i = 1; i < 9; i++)
		at += (size_t)snprintf(deep + at, sizeof deep - at, "a%d: &a%d [*a%d,*a%d,*a%d,*a%d]\n", i, i, i - 1, i - 1, i - 1,
		                       i - 1);
	ok(strstr(complain(deep), "the file is too large") != NULL, "aliases cannot blow it up");
	big = malloc(70000 * 8 + 16);
	at = 0;
	for (int i = 0; i < 70000; i++)
		at += (size_t)sprintf(big + at, "- a\n");
	ok(strstr(complain(big), "the file is too large") != NULL, "nor can a long list");
	at = 0;
	for (int i = 0; i < 5000; i++)
		at += (size_t)sprintf(big + at, "k%d: a\n", i);
	ok(strstr(complain(big), "too many keys in one map") != NULL, "nor can a large map");
	free(big);
}

static void test_all_at_once(void)
{
	is_str(complain("flag: maybe\nsize: 1\nsub: {max_bytes: 2G}\nbogus: 1\nrules: [{prefix: a, max_age: x}]\n"),
	       "1:7: flag: expected true or false, got \"maybe\"\n"
	       "2:7: size: must be at least 1K, got \"1\"\n"
	       "3:6: sub.prefix: required, but missing\n"
	       "3:18: sub.max_bytes: must be at most 1G, got \"2G\"\n"
	       "4:1: unknown key \"bogus\"\n"
	       "5:30: rules[0].max_age: expected duration such as \"5s\", got \"x\"",
	       "six problems, six lines, in the order of the file");
	is_str(complain("zzzz: &d {prefix: p, max_age: x}\nrules: [*d, *d]\n" SUB),
	       "1:1: unknown key \"zzzz\"\n"
	       "1:31: rules[0].max_age: expected duration such as \"5s\", got \"x\"\n"
	       "1:31: rules[1].max_age: expected duration such as \"5s\", got \"x\"",
	       "an alias is a copy that keeps its position");
	is_str(complain("size:\nrules: ~\n" SUB), "", "a key without a value is as good as none");
}

static void test_ignore_and_own_errors(void)
{
	static const char *const some[] = {"mine", NULL}, *const all[] = {"*", NULL};
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_conf_parse(SL_STR("mine: 1\nother: 2\n" SUB "rules:\n  - prefix: a\n"), &e);

	is_int(sl_conf_check(c, table, "top", some, &e), 1, "one key is somebody else's");
	is_str(errors_text(&e), "2:1: top: unknown key \"other\"", "the other is unknown");
	is_int(sl_conf_check(c, table, "top", all, &e), 0, "a star means all");
	sl_conf_errors_fini(&e);
	sl_conf_error_at(sl_conf_at(c, "rules", 0), "prefix", &e, "no %s", "good");
	sl_conf_error_at(c, "size", &e, "a default");
	sl_conf_error_at(c, "not.there", &e, "absent");
	is_str(errors_text(&e), "1:1: not.there: absent\n1:1: size: a default\n5:13: rules[0].prefix: no good",
	       "errors of later checks have full names and positions");
	sl_conf_errors_fini(&e);
	sl_conf_free(c);
}

static void test_print(void)
{
	static const char yaml[] = "secret: 7\nname: 'true'\ntime: 90s\nsize: 1536K\nrules: [{prefix: \"a b\\n\"}]\nat: '[::1]:5'\n"
	                           "any: {k: [x, {y: z}]}\n" SUB;
	static const char want[] = "flag: false\ncount: 3\nsize: 1536K\ntime: 90s\nname: \"true\"\nmode: full\nat: \"[::1]:5\"\n"
	                           "rules:\n  - max_age: 0\n    prefix: \"a b\\x0a\"\nwords:\n  - a\n  - b\nsub:\n  prefix: p\n"
	                           "secret: \"********\"\nany:\n  k:\n    - x\n    - y: z\n";
	static const char *const skip[] = {"secret", NULL};
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_conf_parse(sl_slice_str(yaml), &e), *again;
	struct sl_buf out;
	char *text;

	sl_buf_init(&out);
	sl_conf_check(c, table, "", NULL, &e);
	is_int(sl_conf_print(c, table, NULL, 0, &out), 0, "printing");
	text = sl_slice_dup(sl_buf_slice(&out));
	is_str(text, want, "defaults are filled in, units kept, secrets masked");
	free(text);
	sl_buf_fini(&out);
	sl_conf_print(c, table, skip, 2, &out);
	text = sl_slice_dup(sl_buf_slice(&out));
	ok(!strstr(text, "secret") && strncmp(text, "  flag: false\n", 14) == 0, "without what is left out, indented");
	again = sl_conf_parse(sl_buf_slice(&out), &e);
	is_int(again ? sl_conf_check(again, table, "", NULL, &e) : 99, 0, "what was printed can be read");
	is_str(sl_conf_str(sl_conf_at(again, "rules", 0), "prefix"), "a b\n", "and says the same");
	is_str(sl_conf_str(again, "name"), "true", "also where it looks like something else");
	free(text);
	sl_conf_free(again);
	sl_conf_free(c);
	sl_buf_fini(&out);
	sl_conf_errors_fini(&e);
}

static void test_bounds(void)
{
	struct sl_conf_errors e = {0};
	int64_t v = 0;

	for (int i = 0; i < 5000; i++)
		sl_conf_errors_add(&e, 1, 1, "x");
	is_int(e.n, 1000, "errors are bounded");
	sl_conf_errors_fini(&e);
	ok(sl_conf_size("9223372036854775807", &v) == 0 && v == INT64_MAX, "the largest size");
	is_int(sl_conf_size("9223372036854775808", &v), SLUICE_EINVAL, "one more");
	is_int(sl_conf_size("8388608T", &v), SLUICE_EINVAL, "too large with its unit");
	is_int(sl_conf_size("", &v), SLUICE_EINVAL, "nothing");
	is_int(sl_conf_duration("1h30m", &v), SLUICE_EINVAL, "one unit only");
	ok(sl_conf_duration("0", &v) == 0 && v == 0, "nought needs no unit");
}

/* ---- no memory ---- */

void *__real_realloc(void *, size_t);
void *__wrap_realloc(void *, size_t);
static bool starving;

void *__wrap_realloc(void *p, size_t n)
{
	return starving ? NULL : __real_realloc(p, n);
}

/* Whoever asks whether there was an error looks at their number. */
static void test_no_memory(void)
{
	struct sl_conf_errors e = {0};

	starving = true;
	is_int(sl_conf_errors_add(&e, 7, 7, "wrong"), SLUICE_ENOMEM, "an error for which there is no memory");
	is_str(errors_text(&e), "1:1: out of memory", "is one all the same");
	is_int(sl_conf_errors_add(&e, 8, 8, "wrong"), SLUICE_ENOMEM, "so is a second one");
	is_int((long)e.n, 1, "once for all");
	starving = false;
	is_int(sl_conf_errors_add(&e, 9, 9, "wrong"), 0, "with memory");
	is_str(errors_text(&e), "9:9: wrong", "there is more to say");
	starving = true;
	is_int(sl_conf_errors_add(&e, 7, 7, "worse"), SLUICE_ENOMEM, "one that is lost behind it");
	is_str(errors_text(&e), "9:9: wrong", "takes nothing away");
	starving = false;
	sl_conf_errors_fini(&e);
	starving = true;
	is_int(sl_conf_errors_add(&e, 1, 1, "wrong"), SLUICE_ENOMEM, "an empty list again");
	starving = false;
	sl_conf_errors_fini(&e);
	is_int((long)e.n, 0, "can be emptied");
}

/* Secrets are found wherever a table may have one, when the file says them. */
static void test_secret(void)
{
	static const struct sluice_option element[] = {
	        {"", SLUICE_T_STRING, NULL, NULL, NULL, "", NULL, SLUICE_OPT_SECRET}, {.name = NULL}};
	static const struct sluice_option key[] = {{"file", SLUICE_T_STRING, "", NULL, NULL, "", NULL, 0},
	                                           {"secret", SLUICE_T_STRING, "", NULL, NULL, "", NULL, SLUICE_OPT_SECRET},
	                                           {.name = NULL}};
	static const struct sluice_option deep[] = {{"plain", SLUICE_T_STRING, "x", NULL, NULL, "", NULL, 0},
	                                            {"preset", SLUICE_T_STRING, "x", NULL, NULL, "", NULL, SLUICE_OPT_SECRET},
	                                            {"list", SLUICE_T_LIST, "[]", NULL, NULL, "", element, 0},
	                                            {"keys", SLUICE_T_LIST, "", NULL, NULL, "", key, 0},
	                                            {"map", SLUICE_T_MAP, "{}", NULL, NULL, "", key, 0},
	                                            {.name = NULL}};
	static const struct {
		const char *yaml;
		bool found;
	} cases[] = {{"plain: s", false},        {"preset: s", true},        {"list: []", false},          {"list: [s]", true},
	             {"keys: [{file: f}]", false}, {"keys: [{file: f}, {secret: s}]", true}, {"map: {file: f}", false}, {"map: {secret: s}", true},
	             {"map: {secret: ''}", false}, {"{}", false}};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		struct sl_conf_errors e = {0};
		struct sluice_conf *c = sl_conf_parse(sl_slice_str(cases[i].yaml), &e);

		sl_conf_check(c, deep, "", NULL, &e);
		is_int(e.n, 0, "a map");
		is_int(sl_conf_secret(c, deep), cases[i].found, "has a secret");
		sl_conf_free(c);
		sl_conf_errors_fini(&e);
	}
}

int main(void)
{
	test_defaults();
	test_values();
	test_errors();
	test_structure();
	test_all_at_once();
	test_ignore_and_own_errors();
	test_print();
	test_bounds();
	test_no_memory();
	test_secret();
	return tap_done();
}
