/*
 * shim.c - writes down what sluiced and sluice-store do to the disk: preloaded into them by the power-loss test. Tests only.
 *
 * SLUICE_POWER_TRACE names the file that everything is appended to, SLUICE_POWER_ROOT the directory below which it counts.
 * Each event is one write to the trace, so events of several threads and processes have one order, and the test's own marks
 * stand among them. A change is noted when its call has returned, a sync at its beginning and at its end: a sync covers what
 * was noted before it began, and counts once its end is noted.
 *
 * SLUICE_POWER_LIE=wal|volume|segment|directory swallows the syncs of such files: the checker must find that out.
 * What is mapped is not seen: SQLite maps its -shm file only, and makes it anew.
 */
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

enum { CREATE = 1, WRITE, TRUNCATE, SYNC_BEGIN, SYNC_END, MKDIR, UNLINK, RENAME, STRANGE };

struct head {
	uint32_t type, length; /* of what follows: a path, or the bytes written */
	uint64_t inode, offset, process;
};

#define FDS 4096
enum { FD_OTHER, FD_FILE, FD_DIRECTORY };

static struct {
	bool on;
	int trace;
	char root[PATH_MAX];
	size_t root_length;
	const char *lie;
	atomic_uchar fd[FDS];
	atomic_bool lies[FDS];
	atomic_ullong syncs;
} shim = {.trace = -1};

#define REAL(name) ((__typeof__(&name))shim_real(#name))

static void *shim_real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

__attribute__((constructor)) static void shim_begin(void)
{
	const char *trace = getenv("SLUICE_POWER_TRACE"), *root = getenv("SLUICE_POWER_ROOT");
	char self[PATH_MAX] = "";
	const char *name;

	if (!trace || !root || readlink("/proc/self/exe", self, sizeof self - 1) <= 0)
		return;
	name = strrchr(self, '/');
	if (!name || (strcmp(name, "/sluiced") != 0 && strcmp(name, "/sluice-store") != 0))
		return;
	shim.lie = getenv("SLUICE_POWER_LIE");
	shim.root_length = (size_t)snprintf(shim.root, sizeof shim.root, "%s", root);
	shim.trace = REAL(open)(trace, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
	/* Out of the way of descriptors that the programs expect at fixed numbers. */
	if (shim.trace >= 0) {
		int high = fcntl(shim.trace, F_DUPFD_CLOEXEC, FDS);

		REAL(close)(shim.trace);
		shim.trace = high;
	}
	shim.on = shim.trace >= 0;
}

static void shim_note(uint32_t type, uint64_t inode, uint64_t offset, const void *data, size_t n)
{
	struct head h = {
		.type = type, .length = (uint32_t)n, .inode = inode, .offset = offset, .process = (uint64_t)getpid()};
	struct iovec v[2] = {{&h, sizeof h}, {(void *)(uintptr_t)data, n}};
	int saved = errno;

	if (REAL(writev)(shim.trace, v, 2) != (ssize_t)(sizeof h + n))
		abort(); /* a trace with holes proves nothing */
	errno = saved;
}

static bool shim_counts(const char *path)
{
	size_t n = strlen(path);

	return strncmp(path, shim.root, shim.root_length) == 0 &&
	       (path[shim.root_length] == '/' || path[shim.root_length] == '\0') &&
	       !(n > 4 && strcmp(path + n - 4, "-shm") == 0);
}

static bool shim_lies(const char *path, bool directory)
{
	const char *end = strrchr(path, '.');

	if (!shim.lie)
		return false;
	if (strcmp(shim.lie, "directory") == 0 || directory)
		return directory && strcmp(shim.lie, "directory") == 0;
	if (strcmp(shim.lie, "segment") == 0)
		return strstr(path, "/segments/") != NULL;
	return end && strcmp(end, strcmp(shim.lie, "wal") == 0 ? ".db-wal" : ".db") == 0;
}

/* The whole path of a name at a directory, for one that need not exist. */
static bool shim_path(int dir, const char *name, char out[PATH_MAX])
{
	char link[64];
	ssize_t n = 0;

	if (*name != '/') {
		if (dir == AT_FDCWD)
			snprintf(link, sizeof link, "/proc/self/cwd");
		else
			snprintf(link, sizeof link, "/proc/self/fd/%d", dir);
		n = readlink(link, out, PATH_MAX - 1);
		if (n <= 0)
			return false;
		out[n++] = '/';
	}
	return snprintf(out + n, (size_t)(PATH_MAX - n), "%s", name) < PATH_MAX - n;
}

static void shim_opened(int fd, bool created)
{
	char path[PATH_MAX], link[64];
	struct stat st;
	ssize_t n;

	if (fd < 0 || fd >= FDS)
		return;
	shim.fd[fd] = FD_OTHER;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	if (n <= 0 || fstat(fd, &st))
		return;
	path[n] = '\0';
	if (!shim_counts(path) || (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode)))
		return;
	shim.lies[fd] = shim_lies(path, S_ISDIR(st.st_mode));
	shim.fd[fd] = S_ISDIR(st.st_mode) ? FD_DIRECTORY : FD_FILE;
	if (created)
		shim_note(CREATE, st.st_ino, 0, path, (size_t)n);
}

static int shim_open(int dir, const char *name, int flags, mode_t mode)
{
	bool news = shim.on && (flags & O_CREAT) && faccessat(dir, name, F_OK, 0) != 0;
	int fd = REAL(openat)(dir, name, flags, mode), saved = errno;

	if (shim.on)
		shim_opened(fd, news);
	if (shim.on && fd >= 0 && fd < FDS && shim.fd[fd] == FD_FILE && (flags & O_TRUNC))
		shim_note(STRANGE, 0, 0, "O_TRUNC", 7);
	errno = saved;
	return fd;
}

#define MODE(flags, mode) \
	do { \
		va_list ap; \
		va_start(ap, flags); \
		(mode) = (flags)&O_CREAT ? va_arg(ap, mode_t) : 0; \
		va_end(ap); \
	} while (0)

int open(const char *name, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return shim_open(AT_FDCWD, name, flags, mode);
}

int open64(const char *name, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return shim_open(AT_FDCWD, name, flags, mode);
}

int openat(int dir, const char *name, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return shim_open(dir, name, flags, mode);
}

int openat64(int dir, const char *name, int flags, ...)
{
	mode_t mode;

	MODE(flags, mode);
	return shim_open(dir, name, flags, mode);
}

int close(int fd)
{
	if (fd >= 0 && fd < FDS)
		shim.fd[fd] = FD_OTHER;
	return REAL(close)(fd);
}

static bool shim_is(int fd, int kind)
{
	return shim.on && fd >= 0 && fd < FDS && shim.fd[fd] == kind;
}

static uint64_t shim_inode(int fd)
{
	struct stat st;

	if (fstat(fd, &st))
		abort();
	return st.st_ino;
}

/* ---- changes ---- */

static void shim_wrote(int fd, const void *data, ssize_t n, off_t at)
{
	if (n > 0 && shim_is(fd, FD_FILE))
		shim_note(WRITE, shim_inode(fd), (uint64_t)at, data, (size_t)n);
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	ssize_t w = REAL(pwrite)(fd, data, n, at);

	shim_wrote(fd, data, w, at);
	return w;
}

ssize_t pwrite64(int fd, const void *data, size_t n, off_t at)
{
	return pwrite(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	off_t at = shim_is(fd, FD_FILE) ? lseek(fd, 0, SEEK_CUR) : 0;
	ssize_t w = REAL(write)(fd, data, n);

	shim_wrote(fd, data, w, at);
	return w;
}

/* Nothing of ours uses these; who begins to must teach the shim. */
static void shim_strange(int fd, const char *what)
{
	if (shim_is(fd, FD_FILE))
		shim_note(STRANGE, 0, 0, what, strlen(what));
}

ssize_t writev(int fd, const struct iovec *v, int n)
{
	shim_strange(fd, "writev");
	return REAL(writev)(fd, v, n);
}

ssize_t pwritev(int fd, const struct iovec *v, int n, off_t at)
{
	shim_strange(fd, "pwritev");
	return REAL(pwritev)(fd, v, n, at);
}

int fallocate(int fd, int mode, off_t at, off_t n)
{
	shim_strange(fd, "fallocate");
	return REAL(fallocate)(fd, mode, at, n);
}

int posix_fallocate(int fd, off_t at, off_t n)
{
	shim_strange(fd, "posix_fallocate");
	return REAL(posix_fallocate)(fd, at, n);
}

int sync_file_range(int fd, off64_t at, off64_t n, unsigned flags)
{
	return REAL(sync_file_range)(fd, at, n, flags); /* promises nothing */
}

int ftruncate(int fd, off_t n)
{
	int rc = REAL(ftruncate)(fd, n);

	if (rc == 0 && shim_is(fd, FD_FILE))
		shim_note(TRUNCATE, shim_inode(fd), (uint64_t)n, "", 0);
	return rc;
}

int ftruncate64(int fd, off64_t n)
{
	return ftruncate(fd, n);
}

/* ---- names ---- */

int mkdirat(int dir, const char *name, mode_t mode)
{
	int rc = REAL(mkdirat)(dir, name, mode), saved = errno;
	char path[PATH_MAX];
	struct stat st;

	if (rc == 0 && shim.on && shim_path(dir, name, path) && shim_counts(path) && stat(path, &st) == 0)
		shim_note(MKDIR, st.st_ino, 0, path, strlen(path));
	errno = saved;
	return rc;
}

int mkdir(const char *name, mode_t mode)
{
	return mkdirat(AT_FDCWD, name, mode);
}

int unlinkat(int dir, const char *name, int flags)
{
	int rc = REAL(unlinkat)(dir, name, flags), saved = errno;
	char path[PATH_MAX];

	if (rc == 0 && shim.on && shim_path(dir, name, path) && shim_counts(path))
		shim_note(UNLINK, 0, 0, path, strlen(path));
	errno = saved;
	return rc;
}

int unlink(const char *name)
{
	return unlinkat(AT_FDCWD, name, 0);
}

int renameat(int from_dir, const char *from, int to_dir, const char *to)
{
	int rc = REAL(renameat)(from_dir, from, to_dir, to), saved = errno;
	char paths[2 * PATH_MAX];
	size_t n;

	if (rc == 0 && shim.on && shim_path(from_dir, from, paths)) {
		n = strlen(paths) + 1;
		if (shim_path(to_dir, to, paths + n) && shim_counts(paths + n))
			shim_note(RENAME, 0, 0, paths, n + strlen(paths + n));
	}
	errno = saved;
	return rc;
}

int rename(const char *from, const char *to)
{
	return renameat(AT_FDCWD, from, AT_FDCWD, to);
}

int linkat(int from_dir, const char *from, int to_dir, const char *to, int flags)
{
	char path[PATH_MAX];

	if (shim.on && shim_path(to_dir, to, path) && shim_counts(path))
		shim_note(STRANGE, 0, 0, "link", 4);
	return REAL(linkat)(from_dir, from, to_dir, to, flags);
}

int link(const char *from, const char *to)
{
	return linkat(AT_FDCWD, from, AT_FDCWD, to, 0);
}

/* ---- syncs ---- */

static int shim_sync(int fd, int (*real)(int))
{
	uint64_t inode, number;
	int rc;

	if (!shim_is(fd, FD_FILE) && !shim_is(fd, FD_DIRECTORY))
		return real(fd);
	if (shim.lies[fd])
		return 0;
	inode = shim_inode(fd);
	number = atomic_fetch_add(&shim.syncs, 1);
	shim_note(SYNC_BEGIN, inode, number, "", 0);
	rc = real(fd);
	if (rc == 0)
		shim_note(SYNC_END, inode, number, "", 0);
	return rc;
}

int fsync(int fd)
{
	return shim_sync(fd, REAL(fsync));
}

int fdatasync(int fd)
{
	return shim_sync(fd, REAL(fdatasync));
}
