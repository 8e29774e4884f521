/*
 * file.c - reading a file of tokens, keys or certificates that the configuration names. Process: sluice-frontend.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "frontend/auth/internal.h"

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
