/*
 * file.c - reading a file of tokens, keys or certificates that the configuration names. Process: sluice-frontend.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/auth/internal.h"
#include "lib/perm.h"

static void (*file_hear)(void *arg, const char *text);
static void *file_hear_arg;

/* The bytes, or NULL with a reason. */
static char *file_read(int fd, size_t *len, const char **why)
{
	struct stat st;
	char *data;
	ssize_t n;

	*why = NULL;
	if (fstat(fd, &st))
		return NULL;
	if (!S_ISREG(st.st_mode)) {
		*why = "is not a file";
		return NULL;
	}
	if (sl_perm_writers(st.st_mode, S_IWOTH)) {
		*why = "may be written by everybody: chmod o-w it, and see that nobody has changed it";
		return NULL;
	}
	data = malloc(FILE_MAX + 1);
	*len = 0;
	do {
		n = data ? read(fd, data + *len, FILE_MAX + 1 - *len) : -1;
		if (n > 0)
			*len += (size_t)n;
	} while ((n > 0 && *len <= FILE_MAX) || (n < 0 && data && errno == EINTR));
	if (n == 0 && *len <= FILE_MAX) {
		data[*len] = '\0';
		return data;
	}
	if (*len > FILE_MAX)
		*why = "is larger than 1 MiB";
	free(data);
	return NULL;
}

char *auth_file(const struct sluice_conf *conf, const char *path, size_t *len, struct sl_conf_errors *errors)
{
	const char *name = sl_conf_str(conf, path), *why = NULL;
	char *data = NULL;
	int fd;

	if (*name != '/') {
		sl_conf_error_at(conf, path, errors, "expected an absolute path, got \"%.200s\"", name);
		return NULL;
	}
	fd = open(name, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
	if (fd >= 0)
		data = file_read(fd, len, &why);
	if (!data && why)
		sl_conf_error_at(conf, path, errors, "%.200s %s", name, why);
	else if (!data)
		sl_conf_error_at(conf, path, errors, "%.200s cannot be read: %s", name, strerror(errno));
	if (fd >= 0)
		close(fd);
	return data;
}

void auth_file_warnings(void (*hear)(void *arg, const char *text), void *arg)
{
	file_hear = hear;
	file_hear_arg = arg;
}

void auth_file_secret(const struct sluice_conf *conf, const char *path)
{
	const char *name = sl_conf_str(conf, path);
	char text[2 * PATH_MAX], hide[PATH_MAX + 128];
	struct stat st;

	if (!file_hear || stat(name, &st))
		return;
	sl_perm_hide(&st, name, hide, sizeof hide);
	snprintf(text, sizeof text, "key_readable file=%s mode=%04o action=\"every user can read it: %s\"", name, (unsigned)st.st_mode & 07777,
	         hide);
	if (st.st_mode & S_IROTH)
		file_hear(file_hear_arg, text);
	/* No error, as it is for a plugin: a program that renews certificates may have a user of its own. Root cannot tell which user the
	 * service has whose configuration it checks. */
	snprintf(text, sizeof text, "key_owner file=%s owner=%ld action=\"that user can change it; if that is not meant: chown root %s\"", name,
	         (long)st.st_uid, name);
	if (geteuid() != 0 && sl_perm_foreign(&st))
		file_hear(file_hear_arg, text);
}
