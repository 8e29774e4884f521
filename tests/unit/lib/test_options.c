/* The core's option tables: their defaults are good, what contradicts itself is refused, and the sample file shows all of it. */
#include "lib/options.h"

#include <dlfcn.h>
#include <glob.h>

#include "tests/unit/tap.h"

#define ONE "frontends: [{name: a, listen: ['127.0.0.1:1'], plugins: [{plugin: streams}]}]\n"

static const char *load(const char *yaml)
{
	static char text[4096];
	struct sl_conf_errors e = {0};
	size_t at = 0;

	text[0] = '\0';
	sl_conf_free(sl_options_load(sl_slice_str(yaml), &e));
	for (size_t i = 0; i < e.n; i++)
		at += (size_t)snprintf(text + at, sizeof text - at, "%s%u:%u: %s", i ? "\n" : "", e.v[i].line, e.v[i].column,
		                       e.v[i].text);
	sl_conf_errors_fini(&e);
	return text;
}

static void test_minimal(void)
{
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_options_load(SL_STR(ONE), &e);

	is_int(e.n, 0, "frontends are all that is required");
	is_str(sl_conf_str(c, "data_dir"), "/var/lib/sluice", "data_dir");
	is_int(sl_conf_int(c, "limits.body"), 64 << 20, "limits.body");
	is_int(sl_conf_int(c, "store.reap_delay"), 60000, "store.reap_delay");
	ok(sl_options_frontend(c, "a") != NULL && sl_options_frontend(c, "b") == NULL, "a frontend is found by its name");
	is_int(sl_conf_int(sl_options_frontend(c, "a"), "workers"), 2, "workers");
	sl_conf_free(c);
	is_str(load("data_dir: x\n"), "1:1: frontends: required, but missing", "without frontends");
}

/* One element of a list of a frontend: what load() says of it. */
static const char *load_element(const char *key, const char *element)
{
	static char yaml[512];

	snprintf(yaml, sizeof yaml, "frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s}],\n%s: ['%s']}]", key, element);
	return load(yaml);
}

static void test_pages(void)
{
	static const char *const origins[] = {"a",      "http://",    "://a",       "http:/a",    "http://a/",    "http://a:", "http://a:x",
	                                      "http://a:1*", "http://*", "http://a b", "http://[::1", "http://[]", "http://[::1]x", "http://x@a",
	                                      "http://a:80", "HTTPS://a:443", "https://[::1]:443"};
	static const char *const hosts[] = {"a:1", "::1", "http://a", "*.a", "[::1]:80", "[]", "a b"};
	char want[256];

	for (size_t i = 0; i < sizeof origins / sizeof *origins; i++) {
		snprintf(want, sizeof want,
		         "2:11: frontends[0].origins[0]: expected an origin such as \"https://app.example\" or \"http://localhost:*\", got \"%s\"",
		         origins[i]);
		is_str(load_element("origins", origins[i]), want, "no origin");
	}
	for (size_t i = 0; i < sizeof hosts / sizeof *hosts; i++) {
		snprintf(want, sizeof want,
		         "2:9: frontends[0].hosts[0]: expected a host name without a port, such as \"localhost\" or \"[::1]\", got \"%s\"", hosts[i]);
		is_str(load_element("hosts", hosts[i]), want, "no host name");
	}
}

/* One listener with a mode: what load() says of it. */
static const char *load_mode(const char *address, const char *mode)
{
	static char yaml[512];

	snprintf(yaml, sizeof yaml, "frontends: [{name: a, plugins: [{plugin: s}],\nlisten: [{address: '%s', mode: %s}]}]", address, mode);
	return load(yaml);
}

static void test_mode(void)
{
	static const struct {
		const char *text;
		unsigned mode;
	} good[] = {{"0660", 0660}, {"660", 0660}, {"0o660", 0660}, {"'0600'", 0600}, {"0777", 0777}, {"00644", 0644}};
	/* 432 is 0660 in decimal, 438 0666, 511 0777. */
	static const char *const bad[] = {"rw",   "u+rw", "0", "0o", "0x1b0", "432",  "438", "511", "0460", "0260",
	                                  "-660", "1660", "01777", "0680", "660.0", "6 60", "0000000660"};
	char want[256], yaml[256];

	for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
		struct sl_conf_errors e = {0};
		struct sluice_conf *c;

		snprintf(yaml, sizeof yaml, "frontends: [{name: a, plugins: [{plugin: s}], listen: [{address: 'unix:/x', mode: %s}]}]", good[i].text);
		c = sl_options_load(sl_slice_str(yaml), &e);
		is_int(e.n, 0, "a mode");
		is_int(sl_options_mode(sl_conf_at(sl_options_frontend(c, "a"), "listen", 0)), good[i].mode, "is read as octal");
		sl_conf_errors_fini(&e);
		sl_conf_free(c);
	}
	for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
		snprintf(want, sizeof want,
		         "2:37: frontends[0].listen[0].mode: expected a mode in octal with which its owner may read and write, such as 0660, got \"%s\"",
		         bad[i]);
		is_str(load_mode("unix:/x", bad[i]), want, "no mode");
	}
	is_str(load_mode("unix:/x", "''"), "2:37: frontends[0].listen[0].mode: needs at least 1 byte", "an empty one");
	is_str(load_mode("unix:/x", "[]"), "2:37: frontends[0].listen[0].mode: expected a text, got a list", "a list");
	is_str(load_mode("unix:/x", ""), "", "none is as if it were not there");
	is_str(load_mode("[::1]:0", "0600"),
	       "2:37: frontends[0].listen[0].mode: only sockets with a path have a mode: set address to unix:/path, or leave it out", "of a port");
	is_str(load_mode("systemd:web", "0600"),
	       "2:41: frontends[0].listen[0].mode: has no effect on a socket that systemd made: set SocketMode= in its unit", "of a unit");
}

static void test_default_mode(void)
{
	struct sl_conf_errors e = {0};
	struct sluice_conf *c = sl_options_load(
	        SL_STR("frontends: [{name: a, plugins: [{plugin: s}], listen: ['unix:/x', {address: 'unix:/y'}]}]"), &e);

	for (size_t i = 0; i < 2; i++)
		is_int(sl_options_mode(sl_conf_at(sl_options_frontend(c, "a"), "listen", i)), 0600, "without one: the owner's alone");
	sl_conf_errors_fini(&e);
	sl_conf_free(c);
}

static void test_across(void)
{
	static const struct {
		const char *yaml, *want;
	} cases[] = {
	        {"auth: {mode: jwt}\n" ONE, "1:14: auth.mode: mode jwt needs auth.jwt.keys or auth.jwt.jwks"},
	        {"auth: {mode: tokens, jwt: {jwks: x}}\n" ONE,
	         "1:14: auth.mode: mode tokens needs auth.tokens or auth.tokens_file\n"
	         "1:34: auth.jwt.jwks: has no effect with auth.mode: tokens; set another mode, or leave it out"},
	        {"auth: {tokens_file: /x, policy: []}\n" ONE,
	         "1:21: auth.tokens_file: has no effect with auth.mode: none; set another mode, or leave it out\n"
	         "1:33: auth.policy: has no effect with auth.mode: none; set another mode, or leave it out"},
	        {"frontends: [{name: a, listen: ['*:1', 'unix:/x'], plugins: [{plugin: s}]}]",
	         "1:32: frontends[0].listen[0]: other machines can reach *:1 and auth.mode is none; listen on 127.0.0.1, or set "
	         "auth.insecure: true if everybody may read and write"},
	        {"auth: {insecure: true}\nfrontends: [{name: a, listen: ['*:1'], plugins: [{plugin: s}]}]", ""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:1'], plugins: [{plugin: s}]}, {name: a, listen: ['127.0.0.1:1'], "
	         "plugins: [{plugin: s}]}]",
	         "1:80: frontends[1].name: another frontend in line 1 has the name \"a\"\n"
	         "1:92: frontends[1].listen[0]: 127.0.0.1:1 is listened on in line 1 already"},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0', '127.0.0.1:0'], plugins: [{plugin: s}]}]", ""},
	        {"frontends: [{name: 'a b', listen: ['127.0.0.1:0'], plugins: [{plugin: s}]}]",
	         "1:20: frontends[0].name: only letters, digits, \"_\" and \"-\" may be in a name, got \"a b\""},
	        {"frontends: [{name: store, listen: ['127.0.0.1:0'], plugins: [{plugin: s}]}]",
	         "1:20: frontends[0].name: \"store\" is the name of the store-writer"},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s, mount: x, mine: 3}, {mine: 1}, {plugin: a/b}]}]",
	         "1:77: frontends[0].plugins[0].mount: expected a path such as \"/v1/stream\", got \"x\"\n"
	         "1:90: frontends[0].plugins[1].plugin: required, but missing\n"
	         "1:110: frontends[0].plugins[2].plugin: expected a name or an absolute path, got \"a/b\""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s, mount: /a/../b}, {plugin: s, prefix: /x}]}]",
	         "1:77: frontends[0].plugins[0].mount: expected a path such as \"/v1/stream\", got \"/a/../b\"\n"
	         "1:107: frontends[0].plugins[1].prefix: expected a name such as \"team/a\", got \"/x\""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s}], origins: []}]", ""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s}], origins: ['*', 'null', 'http://a', 'http://a:1', 'http://a:443', "
	         "'http://a:*', 'app+x://a-b.c', 'http://[::1]', 'http://[::1]:*'], hosts: [localhost, 127.0.0.1, '[::1]']}]",
	         ""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:0'], plugins: [{plugin: s}], hosts: []}]",
	         "1:79: frontends[0].hosts: needs at least 1 element"},
	        {"frontends: [{name: a, listen: [], workers: 65, plugins: [x]}]",
	         "1:31: frontends[0].listen: needs at least 1 element\n"
	         "1:44: frontends[0].workers: must be at most 64, got \"65\"\n"
	         "1:58: frontends[0].plugins[0]: expected a map, got \"x\""},
	        {"frontends: [{name: a, listen: [{address: '127.0.0.1:1', tls: {cert: /c, key: /k}}], plugins: [{plugin: s}]}]", ""},
	        {"frontends: [{name: a, listen: ['127.0.0.1:1', {address: '127.0.0.1:1'}, {address: '*:2'}], plugins: [{plugin: s}]}]",
	         "1:47: frontends[0].listen[1]: 127.0.0.1:1 is listened on in line 1 already\n"
	         "1:73: frontends[0].listen[2]: other machines can reach *:2 and auth.mode is none; listen on 127.0.0.1, or set "
	         "auth.insecure: true if everybody may read and write"},
	        {"frontends: [{name: a, listen: [{tls: {cert: /c, min_version: 1.1}}, [x]], plugins: [{plugin: s}]}]",
	         "1:32: frontends[0].listen[0].address: required, but missing\n"
	         "1:38: frontends[0].listen[0].tls.key: required, but missing\n"
	         "1:62: frontends[0].listen[0].tls.min_version: expected one of 1.2, 1.3, got \"1.1\" (did you mean \"1.2\"?)\n"
	         "1:69: frontends[0].listen[1]: expected an address such as \"127.0.0.1:4437\", got a list"},
	        {"store: {max_batch_ops: 0}\n" ONE,
	         "1:24: store.max_batch_ops: must be at least 1, got \"0\""},
	};

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
		is_str(load(cases[i].yaml), cases[i].want, "what contradicts itself");
}

static char *read_text(const char *name)
{
	const char *top = getenv("top_srcdir");
	char path[512], *text = calloc(1, 1 << 18);
	FILE *f;

	snprintf(path, sizeof path, "%s/%s", top ? top : ".", name);
	f = fopen(path, "re");
	if (!f || !text || fread(text, 1, (1 << 18) - 1, f) == 0)
		abort();
	fclose(f);
	return text;
}

/* Whether a line is "key: value", perhaps commented out, perhaps the first of a list element, indented as its depth wants. */
static bool shows(const char *text, const char *key, const char *value)
{
	for (const char *line = text; line; line = strchr(line, '\n')) {
		size_t n = strlen(key);

		line += strspn(line, "\n #-");
		if (strncmp(line, key, n) != 0 || line[n] != ':')
			continue;
		if (!value)
			return true;
		line += n + 1;
		line += strspn(line, " ");
		n = strlen(value);
		if (strncmp(line, value, n) == 0 && (line[n] == '\0' || line[n] == '\n' || line[n] == ' '))
			return true;
	}
	return false;
}

static void test_sample_table(const char *text, const struct sluice_option *o)
{
	char name[128];

	for (; o->name; o++) {
		bool scalar = o->type != SLUICE_T_MAP && o->type != SLUICE_T_LIST;

		if (!*o->name)
			continue;
		snprintf(name, sizeof name, "%s%s%s", o->name, scalar && o->def && *o->def ? ": " : "",
		         scalar && o->def ? o->def : "");
		ok(shows(text, o->name, scalar && o->def && *o->def ? o->def : NULL), "the sample shows an option");
		printf("#   %s\n", name);
		ok(o->doc && *o->doc, "which is documented");
		if (o->sub)
			test_sample_table(text, o->sub);
	}
}

/* The options of the stock plugins come out of what was built, so that a new plugin cannot be forgotten. */
static int test_sample_plugins(const char *text)
{
	const char *build = getenv("top_builddir");
	char pattern[512];
	int n = 0;
	glob_t found;

	snprintf(pattern, sizeof pattern, "%s/.libs/*.so", build ? build : ".");
	if (glob(pattern, 0, NULL, &found))
		return 0;
	for (size_t i = 0; i < found.gl_pathc; i++) {
		void *so = dlopen(found.gl_pathv[i], RTLD_NOW | RTLD_LOCAL);
		const struct sluice_plugin *p = so ? dlsym(so, "sluice_plugin_v1") : NULL;

		/* Deliberately broken plugins of other tests have no place in the sample. */
		if (!p || p->magic != SLUICE_MAGIC || !shows(text, "plugin", p->name))
			continue;
		printf("# plugin %s\n", p->name);
		test_sample_table(text, p->options);
		n++;
	}
	globfree(&found);
	return n;
}

int main(void)
{
	char *sample = read_text("etc/sluice.yaml"), *dev = read_text("etc/dev.yaml");

	test_minimal();
	test_pages();
	test_mode();
	test_default_mode();
	test_across();
	is_str(load(sample), "", "the sample file is good");
	is_str(load(dev), "", "so is the one of ./dev run");
	test_sample_table(sample, sl_options);
	test_sample_table(sample, sl_plugin_options);
	ok(test_sample_plugins(sample) > 0, "the sample uses a stock plugin");
	free(sample);
	free(dev);
	return tap_done();
}
