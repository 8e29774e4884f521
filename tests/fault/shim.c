/*
 * shim.c - makes calls of the daemon's programs fail, or its clock go wrong, while a test wants it: preloaded by the fault
 * tests. Tests only.
 *
 * SLUICE_FAULT_CONTROL names a file of eight-byte numbers that the test writes and this maps; SLUICE_FAULT_ROOT the directory
 * whose files count. A fault hits calls of the named kind, in the named programs, on the named kinds of files: the first `skip` of
 * them pass, the next `count` fail. What a process still writes to or syncs in a file after a sync of it failed is counted: that
 * would be a retry in place.
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
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

enum { NOTHING, WRITE_FULL, WRITE_IO, WRITE_SHORT, SYNC_IO, ALLOC, WRITE_QUOTA };
enum { WAL = 1, VOLUME = 2, SEGMENT = 4, OTHER = 8 };
enum { SLUICED = 1, STORE = 2, FRONTEND = 4 };

struct control {
	_Atomic int64_t kind, programs, files, skip, count, hits, retried, clock_ms, allocations;
};

#define FDS 4096
#define REAL(name) ((__typeof__(&name))shim_real(#name))

static struct {
	struct control *c;
	int64_t program;
	char root[PATH_MAX];
	atomic_uchar fd[FDS];
	atomic_ullong failed; /* inode whose sync failed */
} shim;

static void *shim_real(const char *name)
{
	void *p = dlsym(RTLD_NEXT, name);

	if (!p)
		abort();
	return p;
}

static int64_t shim_program(void)
{
	static const char *const names[] = {"/sluiced", "/sluice-store", "/sluice-frontend"};
	char self[PATH_MAX] = "";
	const char *name = readlink("/proc/self/exe", self, sizeof self - 1) > 0 ? strrchr(self, '/') : NULL;

	for (int i = 0; name && i < 3; i++)
		if (strcmp(name, names[i]) == 0)
			return 1 << i;
	return 0;
}

__attribute__((constructor)) static void shim_begin(void)
{
	const char *control = getenv("SLUICE_FAULT_CONTROL"), *root = getenv("SLUICE_FAULT_ROOT");
	int fd = control && root ? REAL(open)(control, O_RDWR | O_CLOEXEC) : -1;
	void *map = fd < 0 ? MAP_FAILED : mmap(NULL, sizeof *shim.c, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (fd >= 0)
		REAL(close)(fd);
	if (map == MAP_FAILED)
		return;
	snprintf(shim.root, sizeof shim.root, "%s/", root);
	shim.program = shim_program();
	shim.c = map;
}

/* Whether this call is one to fail. */
static bool shim_hit(int64_t kind, int64_t file)
{
	struct control *c = shim.c;

	if (!c || c->kind != kind || !(c->programs & shim.program) || (file && !(c->files & file)))
		return false;
	if (atomic_fetch_sub(&c->skip, 1) > 0)
		return false;
	if (atomic_fetch_sub(&c->count, 1) <= 0)
		return false;
	c->hits++;
	return true;
}

/* ---- files ---- */

static int64_t shim_class(const char *path)
{
	const char *dot = strrchr(path, '.');

	if (strncmp(path, shim.root, strlen(shim.root)) != 0 || strstr(path, ".db-shm"))
		return 0;
	if (strstr(path, "/segments/"))
		return SEGMENT;
	return dot && strcmp(dot, ".db-wal") == 0 ? WAL : dot && strcmp(dot, ".db") == 0 ? VOLUME : OTHER;
}

static int shim_open(int dir, const char *name, int flags, mode_t mode)
{
	char path[PATH_MAX], link[64];
	struct stat st;
	ssize_t n;
	int fd;

	/* A new file needs room, too. */
	if ((flags & O_CREAT) && strstr(name, "segment") && faccessat(dir, name, F_OK, 0)) {
		errno = shim_hit(WRITE_FULL, SEGMENT) ? ENOSPC : shim_hit(WRITE_QUOTA, SEGMENT) ? EDQUOT : 0;
		if (errno)
			return -1;
	}
	fd = REAL(openat)(dir, name, flags, mode);
	if (fd < 0 || fd >= FDS || !shim.c)
		return fd;
	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	n = readlink(link, path, sizeof path - 1);
	path[n > 0 ? n : 0] = '\0';
	shim.fd[fd] = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? (unsigned char)shim_class(path) : 0;
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
		shim.fd[fd] = 0;
	return REAL(close)(fd);
}

static int64_t shim_file(int fd)
{
	return shim.c && fd >= 0 && fd < FDS ? shim.fd[fd] : 0;
}

static uint64_t shim_inode(int fd)
{
	struct stat st;

	return fstat(fd, &st) ? 0 : st.st_ino;
}

static void shim_touched(int fd)
{
	if (shim.failed && shim_file(fd) && shim_inode(fd) == shim.failed)
		shim.c->retried++;
}

/* 0: let it pass; otherwise the error, or for a short write minus one. */
static int shim_write(int fd)
{
	int64_t file = shim_file(fd);

	if (!file)
		return 0;
	shim_touched(fd);
	return shim_hit(WRITE_FULL, file)    ? ENOSPC
	       : shim_hit(WRITE_QUOTA, file) ? EDQUOT
	       : shim_hit(WRITE_IO, file)    ? EIO
	       : shim_hit(WRITE_SHORT, file) ? -1
	                                     : 0;
}

ssize_t pwrite(int fd, const void *data, size_t n, off_t at)
{
	int e = shim_write(fd);

	if (e > 0) {
		errno = e;
		return -1;
	}
	return REAL(pwrite)(fd, data, e < 0 && n > 1 ? n / 2 : n, at);
}

ssize_t pwrite64(int fd, const void *data, size_t n, off64_t at)
{
	return pwrite(fd, data, n, at);
}

ssize_t write(int fd, const void *data, size_t n)
{
	int e = shim_write(fd);

	if (e > 0) {
		errno = e;
		return -1;
	}
	return REAL(write)(fd, data, e < 0 && n > 1 ? n / 2 : n);
}

static int shim_sync(int fd, int (*real)(int))
{
	int64_t file = shim_file(fd);

	if (file) {
		shim_touched(fd);
		if (shim_hit(SYNC_IO, file)) {
			shim.failed = shim_inode(fd);
			errno = EIO;
			return -1;
		}
	}
	return real(fd);
}

int fsync(int fd)
{
	return shim_sync(fd, REAL(fsync));
}

int fdatasync(int fd)
{
	return shim_sync(fd, REAL(fdatasync));
}

/* ---- memory: the names that glibc keeps for its own, because dlsym() allocates ---- */

void *__libc_malloc(size_t);
void *__libc_calloc(size_t, size_t);
void *__libc_realloc(void *, size_t);

static bool shim_no_memory(void)
{
	if (!shim.c)
		return false;
	if (shim.c->programs & shim.program)
		shim.c->allocations++;
	if (!shim_hit(ALLOC, 0))
		return false;
	errno = ENOMEM;
	return true;
}

void *malloc(size_t n)
{
	return shim_no_memory() ? NULL : __libc_malloc(n);
}

void *calloc(size_t n, size_t size)
{
	return shim_no_memory() ? NULL : __libc_calloc(n, size);
}

void *realloc(void *p, size_t n)
{
	return shim_no_memory() ? NULL : __libc_realloc(p, n);
}

/* ---- time ---- */

static void shim_shift(int64_t *s, int64_t *ns)
{
	int64_t ms = shim.c ? shim.c->clock_ms : 0, sum = *ns + ms % 1000 * 1000000;

	*s += ms / 1000 + (sum < 0 ? -1 : sum / 1000000000);
	*ns = sum < 0 ? sum + 1000000000 : sum % 1000000000;
}

int clock_gettime(clockid_t id, struct timespec *t)
{
	int rc = REAL(clock_gettime)(id, t);
	int64_t s, ns;

	if (rc || (id != CLOCK_REALTIME && id != CLOCK_REALTIME_COARSE))
		return rc;
	s = t->tv_sec;
	ns = t->tv_nsec;
	shim_shift(&s, &ns);
	t->tv_sec = (time_t)s;
	t->tv_nsec = (long)ns;
	return 0;
}

int gettimeofday(struct timeval *restrict t, void *restrict zone)
{
	struct timespec now;

	(void)zone;
	clock_gettime(CLOCK_REALTIME, &now);
	*t = (struct timeval){.tv_sec = now.tv_sec, .tv_usec = now.tv_nsec / 1000};
	return 0;
}

time_t time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out)
		*out = now.tv_sec;
	return now.tv_sec;
}
