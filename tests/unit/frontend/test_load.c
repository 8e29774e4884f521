/* The loader: every way to refuse a plugin has its own sentence, in the order the plugin ABI promises. */
#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/worker.h"
#include "tests/unit/tap.h"

static char dir[PATH_MAX];

static const struct sluice_plugin *load(const char *name, char *why, size_t size)
{
	char path[PATH_MAX + 64];

	snprintf(path, sizeof path, "%s/%s.so", dir, name);
	why[0] = '\0';
	return load_plugin(path, host_table.caps, why, size);
}

static void refused(const char *name, const char *needle)
{
	char why[1024], label[128];
	const struct sluice_plugin *p = load(name, why, sizeof why);

	snprintf(label, sizeof label, "%s is refused: %s", name, needle);
	ok(!p && strstr(why, needle), "");
	if (p || !strstr(why, needle))
		printf("#   %s: got \"%s\"\n", label, why);
	free((void *)(uintptr_t)p);
}

static void test_good(void)
{
	char why[1024];
	const struct sluice_plugin *p = load("good", why, sizeof why);

	ok(p && strcmp(p->name, "good") == 0 && p->configure, "a good plugin loads");
	free((void *)(uintptr_t)p);
	p = load("newer", why, sizeof why);
	ok(p && p->abi_minor == 99, "a newer minor with a longer descriptor loads");
	free((void *)(uintptr_t)p);
}

static void copy_as(const char *from, const char *to, int mode)
{
	char command[2][PATH_MAX + 64], bytes[65536];
	size_t n;
	FILE *in, *out;

	snprintf(command[0], sizeof command[0], "%s/%s.so", dir, from);
	snprintf(command[1], sizeof command[1], "%s", to);
	in = fopen(command[0], "rbe");
	out = fopen(to, "wbe");
	while (in && out && (n = fread(bytes, 1, sizeof bytes, in)) > 0)
		fwrite(bytes, 1, n, out);
	if (in)
		fclose(in);
	if (out)
		fclose(out);
	chmod(to, (mode_t)mode);
}

static void test_files(void)
{
	char tmp[] = "/tmp/test_load.XXXXXX", path[PATH_MAX], why[1024];

	if (!mkdtemp(tmp))
		abort();
	snprintf(path, sizeof path, "%s/good.so", tmp);
	copy_as("good", path, 0757);
	ok(!load_plugin(path, host_table.caps, why, sizeof why) && strstr(why, "may be written by everybody"),
	   "world-writable");
	if (geteuid() == 0) {
		chmod(path, 0755);
		ok(chown(path, 12345, 0) == 0, "given away");
		ok(!load_plugin(path, host_table.caps, why, sizeof why) && strstr(why, "belongs to user 12345"),
		   "another owner");
	}
	unlink(path);
	snprintf(path, sizeof path, "%s/text.so", tmp);
	fclose(fopen(path, "we"));
	ok(!load_plugin(path, host_table.caps, why, sizeof why) && strstr(why, "does not load"), "not a shared object");
	unlink(path);
	mkdir(path, 0755);
	ok(!load_plugin(path, host_table.caps, why, sizeof why) && strstr(why, "not a regular file"), "a directory");
	rmdir(path);
	rmdir(tmp);
	ok(!load_plugin("/nowhere/x.so", host_table.caps, why, sizeof why) &&
	           strstr(why, "there is no plugin /nowhere/x.so"),
	   "absent");
	ok(!load_plugin("a/b", host_table.caps, why, sizeof why) && strstr(why, "neither the name"), "a relative path");
	ok(!load_plugin("no-such-plugin", host_table.caps, why, sizeof why) && strstr(why, "/no-such-plugin.so"),
	   "a name is looked for in the plugin directory");
}

static bool loads(const char *path, const char *needle)
{
	char why[3 * PATH_MAX] = "";
	const struct sluice_plugin *p = load_plugin(path, host_table.caps, why, sizeof why);
	bool good = needle ? !p && strstr(why, needle) : p != NULL;

	if (!good)
		printf("#   %s: got \"%s\"\n", path, why);
	free((void *)(uintptr_t)p);
	return good;
}

/* Each place is below the one before it; the innermost has the plugin. */
static void test_places(void)
{
	char top[] = "/tmp/test_load.XXXXXX", in[PATH_MAX], path[PATH_MAX + 16], link[PATH_MAX + 16], far[PATH_MAX + 16], name[PATH_MAX + 16];

	if (!mkdtemp(top))
		abort();
	snprintf(in, sizeof in, "%s/in", top);
	snprintf(path, sizeof path, "%s/good.so", in);
	snprintf(link, sizeof link, "%s/link", top);
	snprintf(far, sizeof far, "%s/link/good.so", top);
	mkdir(in, 0755);
	copy_as("good", path, 0755);
	ok(loads(path, NULL), "in a directory of its owner, below /tmp");
	chmod(in, 0775);
	ok(loads(path, NULL), "in one that the group may write, as umask 002 makes them");
	chmod(in, 0757);
	ok(loads(path, "/in may be written by everybody; chmod o-w it"), "not in one that everybody may write");
	chmod(in, 01777);
	ok(loads(path, NULL), "but in a sticky one, where nobody can put another one in its place");
	snprintf(name, sizeof name, "%s/name.so", in);
	ok(symlink("good.so", name) == 0 && loads(name, "/in may be written by everybody"), "not by a link there");
	unlink(name);
	chmod(in, 0755);
	chmod(top, 0777);
	ok(loads(path, " may be written by everybody"), "nor below one");
	chmod(top, 01777);
	ok(loads(path, NULL), "but below a sticky one");
	chmod(top, 0700);
	if (geteuid() == 0) {
		ok(chown(in, 12345, 0) == 0, "given away");
		ok(loads(path, "/in belongs to user 12345: it must belong to root"), "nor in one of another owner");
		ok(chown(in, 0, 0) == 0, "taken back");
		ok(chown(top, 12345, 0) == 0 && loads(path, NULL), "whose are those further up is not asked");
	}
	mkdir(link, 0777);
	chmod(link, 0777);
	ok(symlink(path, far) == 0 && loads(far, "/link may be written by everybody"), "nor through a link that everybody can change");
	chmod(link, 0755);
	ok(loads(far, NULL), "through one that nobody else can, it is loaded");
	chmod(in, 0777);
	ok(loads(far, "/in may be written by everybody"), "unless its own directory is open");
	unlink(far);
	rmdir(link);
	unlink(path);
	rmdir(in);
	rmdir(top);
}

int main(void)
{
	const char *top = getenv("top_builddir");

	snprintf(dir, sizeof dir, "%s/tests/unit/frontend/.libs", top ? top : ".");
	test_good();
	refused("none", "exports no sluice_plugin_v1");
	refused("v2", "later major version");
	refused("magic", "not with the magic word");
	refused("major", "built for plugin ABI 2.x, this host has 1.");
	refused("short", "the first version had");
	refused("alias", "calls itself \"other\", not \"alias\"");
	refused("needy", "needs capabilities 0x8000000000000000");
	refused("ownloop", "reserved flags 0x1");
	refused("idle", "has no configure()");
	test_files();
	test_places();
	return tap_done();
}
