/*
 * unix.c - Unix sockets at a path of any length. Supervisor, sluicectl.
 */
#include "lib/unix.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

/* The address of path. *dir: to be closed after its use; -1: none was needed. */
static int unix_address(const char *path, struct sockaddr_un *to, int *dir)
{
	const char *base = strrchr(path, '/');
	char up[4096];
	int n;

	*to = (struct sockaddr_un){.sun_family = AF_UNIX};
	*dir = -1;
	if (strlen(path) < sizeof to->sun_path) {
		memcpy(to->sun_path, path, strlen(path) + 1);
		return 0;
	}
	if (!base || snprintf(up, sizeof up, "%.*s/", (int)(base - path), path) >= (int)sizeof up) {
		errno = ENAMETOOLONG;
		return -1;
	}
	*dir = open(up, O_PATH | O_DIRECTORY | O_CLOEXEC);
	if (*dir < 0)
		return -1;
	n = snprintf(to->sun_path, sizeof to->sun_path, "/proc/self/fd/%d/%s", *dir, base + 1);
	if (n < (int)sizeof to->sun_path)
		return 0;
	close(*dir);
	*dir = -1;
	errno = ENAMETOOLONG;
	return -1;
}

static void unix_close(int fd)
{
	int saved = errno;

	if (fd >= 0)
		close(fd);
	errno = saved;
}

/* connect() or bind() to path. */
static int unix_at(int fd, const char *path, int (*call)(int, const struct sockaddr *, socklen_t))
{
	struct sockaddr_un to;
	int dir, rc;

	if (unix_address(path, &to, &dir))
		return -1;
	rc = call(fd, (const struct sockaddr *)&to, sizeof to);
	unix_close(dir);
	return rc;
}

int sl_unix_connect(const char *path)
{
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	if (fd < 0 || unix_at(fd, path, connect) == 0)
		return fd;
	unix_close(fd);
	return -1;
}

/* Makes room for a socket of ours; false: somebody has the name. replace: whatever socket is there may be replaced. */
static bool unix_clear(const char *path, bool replace, const char **why)
{
	struct stat st;
	int fd;

	if (lstat(path, &st))
		return true;
	if (!S_ISSOCK(st.st_mode)) {
		*why = "there is something else than a socket";
		errno = EEXIST;
		return false;
	}
	if (replace)
		return true;
	fd = sl_unix_connect(path);
	if (fd >= 0) {
		*why = "another sluiced answers there";
		close(fd);
		errno = EADDRINUSE;
		return false;
	}
	if (errno != ECONNREFUSED)
		return false;
	unlink(path);
	return true;
}

int sl_unix_bind(int fd, const char *path, mode_t mode)
{
	mode_t before = umask(~mode & 0777);
	int rc = unix_at(fd, path, bind);

	umask(before);
	return rc;
}

int sl_unix_listen(const char *path, mode_t mode, int backlog, bool replace, const char **why)
{
	char own[4096];
	const char *at = replace ? own : path;
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	*why = NULL;
	if (snprintf(own, sizeof own, "%s.%ld", path, (long)getpid()) >= (int)sizeof own) {
		errno = ENAMETOOLONG;
	} else if (fd >= 0 && unix_clear(path, replace, why)) {
		if (replace)
			unlink(own);
		if (sl_unix_bind(fd, at, mode) == 0) {
			if (listen(fd, backlog) == 0 && (!replace || rename(own, path) == 0))
				return fd;
			*why = strerror(errno);
			unlink(at);
		}
	}
	if (!*why)
		*why = strerror(errno);
	unix_close(fd);
	return -1;
}

bool sl_unix_is_socket(int fd)
{
	struct stat st;

	return fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
}
