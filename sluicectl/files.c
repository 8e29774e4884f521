/*
 * files.c - files and directories that are made beside their place and renamed into it when they are complete and on the disk. sluicectl.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { COPY_STEP = 16 << 20, TAR_LOOK_MS = 20 };

char *files_join(const char *dir, const char *name)
{
	char *path;

	if (asprintf(&path, "%s/%s", dir, name) >= 0)
		return path;
	ctl_error("out of memory");
	return NULL;
}

char *files_partial(const char *path)
{
	size_t n = strlen(path);
	char *made;

	while (n > 1 && path[n - 1] == '/')
		n--;
	if (asprintf(&made, "%.*s.partial-XXXXXX", (int)n, path) < 0) {
		ctl_error("out of memory");
		return NULL;
	}
	if (mkdtemp(made))
		return made;
	ctl_error("a directory beside %.*s: %s", (int)n, path, strerror(errno));
	free(made);
	return NULL;
}

/* Of what the directory has, everything but other directories' insides. */
static int remove_in(int dir)
{
	DIR *d = fdopendir(dir);
	struct dirent *e;
	int rc = 0;

	if (!d) {
		close(dir);
		return -1;
	}
	while ((e = readdir(d))) {
		int sub;

		if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0 || unlinkat(dir, e->d_name, 0) == 0)
			continue;
		if (errno == ENOENT)
			continue;
		sub = openat(dir, e->d_name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
		if (sub < 0 || remove_in(sub) || (unlinkat(dir, e->d_name, AT_REMOVEDIR) && errno != ENOENT))
			rc = -1;
	}
	closedir(d);
	return rc;
}

int files_remove(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), rc;

	if (dir < 0 && errno == ENOENT)
		return 0;
	rc = dir < 0 ? unlink(path) : remove_in(dir);
	if (dir >= 0 && rc == 0)
		rc = rmdir(path);
	if (rc && errno != ENOENT) {
		ctl_error("%s is left behind: %s", path, strerror(errno));
		return -1;
	}
	return 0;
}

int files_sync(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), rc = fd < 0 ? -1 : fsync(fd);

	/* A file system that knows no such sync of a directory has none to lose. */
	if (rc && fd >= 0 && errno == EINVAL)
		rc = 0;
	if (rc)
		ctl_error("%s: %s", path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

int files_sync_parent(const char *path)
{
	char *up = strdup(path), *slash;
	int rc;

	if (!up) {
		ctl_error("out of memory");
		return -1;
	}
	for (size_t n = strlen(up); n > 1 && up[n - 1] == '/'; n--)
		up[n - 1] = '\0';
	slash = strrchr(up, '/');
	if (slash)
		slash[slash == up] = '\0';
	rc = files_sync(slash ? up : ".");
	free(up);
	return rc;
}

/* A step; file systems that share blocks do so. 0: the end; -1: errno. */
static ssize_t copy_step(int from, int to)
{
	static char buf[256 * 1024];
	ssize_t n = copy_file_range(from, NULL, to, NULL, COPY_STEP, 0), at = 0;

	if (n >= 0 || (errno != EXDEV && errno != EINVAL && errno != ENOSYS && errno != EOPNOTSUPP && errno != EPERM))
		return n;
	n = read(from, buf, sizeof buf);
	while (at < n) {
		ssize_t w = write(to, buf + at, (size_t)(n - at));

		if (w < 0)
			return -1;
		at += w;
	}
	return n;
}

int files_copy(int from, int to, void (*copied)(void *, uint64_t), void *arg)
{
	ssize_t n;

	while ((n = copy_step(from, to)) != 0) {
		if (n < 0 && errno != EINTR)
			return -1;
		if (stop_asked()) {
			errno = ECANCELED;
			return -1;
		}
		if (n > 0)
			copied(arg, (uint64_t)n);
	}
	return 0;
}

int files_place(const char *from, const char *path)
{
	int rc = renameat2(AT_FDCWD, from, AT_FDCWD, path, RENAME_NOREPLACE);

	/* Some network file systems only know the plain one; then a look must do. */
	if (rc && errno == EINVAL) {
		rc = access(path, F_OK) == 0 ? -1 : rename(from, path);
		errno = rc && access(path, F_OK) == 0 ? EEXIST : errno;
	}
	if (rc) {
		ctl_error("%s: %s", path, strerror(errno));
		return -1;
	}
	return files_sync_parent(path);
}

/* On a file system that cannot do it in one step, in three; what fails half-way is put back. */
static int exchange_by_hand(const char *a, const char *b)
{
	char *aside;
	int rc = -1, error;

	if (asprintf(&aside, "%s.aside", a) < 0)
		return -1;
	if (rename(b, aside) == 0) {
		rc = rename(a, b);
		error = errno;
		if (rc)
			(void)rename(aside, b);
		else
			rc = rename(aside, a);
		errno = rc ? error : errno;
	}
	free(aside);
	return rc;
}

int files_exchange(const char *a, const char *b)
{
	int rc = renameat2(AT_FDCWD, a, AT_FDCWD, b, RENAME_EXCHANGE);

	if (rc && errno == EINVAL)
		rc = exchange_by_hand(a, b);
	if (rc)
		ctl_error("%s: %s", b, strerror(errno));
	return rc;
}

int files_tar(const char *const argv[])
{
	char **args = (char **)(uintptr_t)argv; /* posix_spawnp() does not change them */
	int rc, status = 0;
	pid_t pid;

	rc = posix_spawnp(&pid, argv[0], NULL, NULL, args, environ);
	if (rc) {
		ctl_error("%s: %s", argv[0], strerror(rc));
		return -1;
	}
	/* A signal that comes just before a wait would not end it. */
	while (waitpid(pid, &status, WNOHANG) == 0) {
		if (stop_asked())
			kill(pid, SIGTERM);
		poll(NULL, 0, TAR_LOOK_MS);
	}
	if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
		return 0;
	ctl_error(stop_asked() ? "given up" : "%s failed", argv[0]);
	return -1;
}
