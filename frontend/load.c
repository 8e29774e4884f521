/*
 * load.c - opening a plugin: the checks that come before any of its functions is called. Process: sluice-frontend.
 *
 * One distinct sentence for each way it can go wrong; the caller adds file:line:column. Nothing is ever closed again:
 * at-exit handlers and thread-local destructors of a plugin's libraries make unloading unsafe.
 */
#include "frontend/worker.h"
#include "lib/perm.h"

#include <dlfcn.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

/* The descriptor's size in version 1.0; every later one is at least that. */
#define PLUGIN_SIZE_1_0 (offsetof(struct sluice_plugin, stop) + sizeof(((struct sluice_plugin *)NULL)->stop))

const char *load_dir(void)
{
	static char dir[PATH_MAX];
	char exe[PATH_MAX - 32], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	if (dir[0])
		return dir;
	snprintf(dir, sizeof dir, "%s", SL_PLUGINDIR);
	if (n <= 0)
		return dir;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return dir;
	/* Uninstalled, from the build tree: libtool leaves the modules in .libs beside the programs. */
	*slash = '\0';
	snprintf(dir, sizeof dir, "%s/config.status", exe);
	if (access(dir, F_OK) == 0)
		snprintf(dir, sizeof dir, "%s/.libs", exe);
	else
		snprintf(dir, sizeof dir, "%s", SL_PLUGINDIR);
	return dir;
}

/* The name the descriptor has to bear: the file's, without directory and ".so". */
static void load_name(const char *configured, char *name, size_t size)
{
	const char *base = strrchr(configured, '/');
	size_t n;

	snprintf(name, size, "%s", base ? base + 1 : configured);
	n = strlen(name);
	if (base && n > 3 && strcmp(name + n - 3, ".so") == 0)
		name[n - 3] = '\0';
}

static int load_check_file(const char *path, char *why, size_t size)
{
	struct stat st;

	if (stat(path, &st)) {
		snprintf(why, size, errno == ENOENT ? "there is no plugin %s" : "cannot look at plugin %s: %s", path,
		         strerror(errno));
		return -1;
	}
	if (!S_ISREG(st.st_mode)) {
		snprintf(why, size, "plugin %s is not a regular file", path);
		return -1;
	}
	if (sl_perm_foreign(&st)) {
		snprintf(why, size,
		         "plugin %s belongs to user %ld: it must belong to root or to the user of this service", path,
		         (long)st.st_uid);
		return -1;
	}
	if (st.st_mode & S_IWOTH) {
		snprintf(why, size, "plugin %s may be written by everybody", path);
		return -1;
	}
	return 0;
}

/* Who may write a directory can put another file in the place of ours. As with files, the group is left out: it is somebody whom the owner
 * has let in, and a build tree under umask 002 is writable by it. The sticky bit (/tmp) keeps what is ours in its place; but a link there
 * may be anybody's, and lead elsewhere a moment later.
 * Owners further up are left out: who owns /home/x is trusted with what is below it, and in a user namespace / itself is nobody's. */
static int load_check_one_dir(const char *plugin, const char *dir, bool own, bool link, char *why, size_t size)
{
	struct stat st;

	if (stat(dir, &st)) {
		snprintf(why, size, "plugin %s: cannot look at the directory %s: %s", plugin, dir, strerror(errno));
		return -1;
	}
	if (own && sl_perm_foreign(&st)) {
		snprintf(why, size, "plugin %s: its directory %s belongs to user %ld: it must belong to root or to the user of this service",
		         plugin, dir, (long)st.st_uid);
		return -1;
	}
	if ((st.st_mode & S_IWOTH) && (link || !(st.st_mode & S_ISVTX))) {
		snprintf(why, size, "plugin %s: the directory %s may be written by everybody; chmod o-w it, or put the plugin elsewhere", plugin,
		         dir);
		return -1;
	}
	return 0;
}

/* Those of the path, from the plugin's own one up to the root. */
static int load_check_dirs(const char *plugin, const char *path, char *why, size_t size)
{
	char dir[PATH_MAX];
	struct stat st;
	bool own = true, link = lstat(path, &st) || !S_ISREG(st.st_mode);

	snprintf(dir, sizeof dir, "%s", path);
	for (char *slash = strrchr(dir, '/'); slash; slash = strrchr(dir, '/'), own = link = false) {
		*slash = '\0';
		if (load_check_one_dir(plugin, *dir ? dir : "/", own, link, why, size))
			return -1;
	}
	return 0;
}

/* Those of the name, and, behind links, those of the file. */
static int load_check_place(const char *path, char *why, size_t size)
{
	char *real = realpath(path, NULL);
	int rc = load_check_dirs(path, path, why, size);

	if (rc == 0 && !real)
		snprintf(why, size, "cannot look at plugin %s: %s", path, strerror(errno));
	if (rc == 0)
		rc = real ? load_check_dirs(path, real, why, size) : -1;
	free(real);
	return rc;
}

/* The first word is read before the rest: what others export under our name need not be as long as a descriptor. */
static const struct sluice_plugin *load_check(const struct sluice_plugin *p, const char *path, const char *name,
                                              uint64_t caps, char *why, size_t size)
{
	struct sluice_plugin *copy;

	if (p->magic != SLUICE_MAGIC)
		snprintf(why, size, "plugin %s: its descriptor begins with %08x, not with the magic word", path,
		         p->magic);
	else if (p->abi_major != SLUICE_ABI_MAJOR)
		snprintf(why, size, "plugin %s is built for plugin ABI %u.x, this host has %u.%u", path, p->abi_major,
		         SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR);
	else if (p->size < PLUGIN_SIZE_1_0)
		snprintf(why, size, "plugin %s: its descriptor has %u bytes, the first version had %zu", path, p->size,
		         PLUGIN_SIZE_1_0);
	else if (!p->name || strcmp(p->name, name) != 0)
		snprintf(why, size, "plugin %s calls itself \"%s\", not \"%s\"", path, p->name ? p->name : "", name);
	else if (p->needs & ~caps)
		snprintf(why, size, "plugin %s needs capabilities %#llx that this host does not have", path,
		         (unsigned long long)(p->needs & ~caps));
	else if (p->flags)
		snprintf(why, size, "plugin %s sets the reserved flags %#x", path, p->flags);
	else if (!p->configure)
		snprintf(why, size, "plugin %s has no configure()", path);
	else if (!(copy = calloc(1, sizeof *copy)))
		snprintf(why, size, "out of memory");
	else
		return memcpy(copy, p, p->size < sizeof *copy ? p->size : sizeof *copy);
	return NULL;
}

int load_path(const char *configured, char *path, size_t size)
{
	int n = configured[0] == '/' ? snprintf(path, size, "%s", configured) :
	                               snprintf(path, size, "%s/%s.so", load_dir(), configured);

	return n >= 0 && (size_t)n < size ? 0 : SLUICE_ETOOBIG;
}

const struct sluice_plugin *load_plugin(const char *configured, uint64_t caps, char *why, size_t size)
{
	char path[PATH_MAX], name[NAME_MAX + 1];
	const struct sluice_plugin *p;
	void *so;

	if (strchr(configured, '/') && configured[0] != '/') {
		snprintf(why, size, "\"%s\" is neither the name of a plugin nor an absolute path", configured);
		return NULL;
	}
	if (load_path(configured, path, sizeof path)) {
		snprintf(why, size, "the path of plugin \"%.64s\" is too long", configured);
		return NULL;
	}
	load_name(configured, name, sizeof name);
	if (load_check_file(path, why, size) || load_check_place(path, why, size))
		return NULL;
	so = dlopen(path, RTLD_NOW | RTLD_LOCAL);
	if (!so) {
		snprintf(why, size, "plugin %s does not load: %s", path, dlerror());
		return NULL;
	}
	p = dlsym(so, "sluice_plugin_v1");
	if (!p) {
		snprintf(why, size,
		         dlsym(so, "sluice_plugin_v2")
		                 ? "plugin %s is built for a later major version of the plugin ABI"
		                 : "%s is not a plugin: it exports no sluice_plugin_v1",
		         path);
		return NULL;
	}
	return load_check(p, path, name, caps, why, size);
}
