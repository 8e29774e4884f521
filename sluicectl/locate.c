/*
 * locate.c - where the control socket is, and the data: said on the command line or in the environment, or by the server's
 * configuration. sluicectl.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <unistd.h>

#include "lib/options.h"
#include "sluicectl/ctl.h"

enum { CONFIG_MAX = 512 * 1024 }; /* as sluiced has it */

/* In a build tree, in whose sluicectl/ we are: the configuration of ./dev run, and the directory from which its relative paths count. */
static int locate_tree(char file[PATH_MAX], char base[PATH_MAX])
{
	char exe[PATH_MAX - 64], probe[PATH_MAX], *slash;
	ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);

	if (n <= 0)
		return -1;
	exe[n] = '\0';
	slash = strrchr(exe, '/');
	if (!slash)
		return -1;
	*slash = '\0';
	snprintf(probe, sizeof probe, "%s/../config.status", exe);
	if (access(probe, F_OK))
		return -1;
	/* Shown in messages, so without the way back. */
	snprintf(probe, sizeof probe, "%s/../..", exe);
	return realpath(probe, base) && snprintf(file, PATH_MAX, "%s/etc/dev.yaml", base) < PATH_MAX
	               ? access(file, R_OK)
	               : -1;
}

static int locate_read(const char *file, struct sl_buf *text)
{
	int fd = open(file, O_RDONLY | O_CLOEXEC), saved;
	ssize_t n = fd < 0 ? -1 : 1;

	while (n > 0 && text->len <= CONFIG_MAX) {
		void *room = sl_buf_room(text, 16384);

		n = room ? read(fd, room, 16384) : -1;
		if (n > 0)
			sl_buf_added(text, (size_t)n);
	}
	saved = errno;
	if (fd >= 0)
		close(fd);
	errno = n > 0 ? EFBIG : saved;
	return n == 0 ? 0 : -1;
}

static char *locate_join(const char *dir, const char *name)
{
	char *path;

	if (*name == '/')
		return strdup(name);
	return asprintf(&path, "%s/%s", dir, name) < 0 ? NULL : path;
}

enum what { SOCKET, DATA };

/* What the checked file says; relative paths count from base. */
static char *locate_in(const char *file, const struct sluice_conf *root, const char *base, enum what what)
{
	const char *data_dir = sl_conf_str(root, "data_dir"), *name = sl_conf_str(root, "control_socket");
	bool temporary = strcmp(data_dir, "temporary") == 0;
	char *dir, *path;

	if (temporary && what == DATA) {
		ctl_error("%s has data_dir: temporary, so there is no data without a server; name a directory", file);
		return NULL;
	}
	if (temporary && *name != '/') {
		ctl_error(
			"%s has data_dir: temporary, so where the control socket is stands in the log of sluiced only (control=...); give "
			"it with --socket",
			file);
		return NULL;
	}
	dir = locate_join(base, data_dir);
	if (what == DATA)
		return dir;
	path = dir ? locate_join(dir, name) : NULL;
	free(dir);
	return path;
}

void locate_tell(const struct sl_buf *mistakes)
{
	if (mistakes->len)
		fwrite(sl_buf_slice(mistakes).data, 1, mistakes->len, stderr);
}

/* mistakes: lines about what else is wrong in the file. They are told here when nothing is found. */
static char *locate_config(const char *file, const char *base, enum what what, struct sl_buf *mistakes)
{
	struct sl_conf_errors errors = {0};
	struct sluice_conf *root = NULL;
	struct sl_buf text;
	char *path = NULL;

	sl_buf_init(&text);
	if (locate_read(file, &text)) {
		ctl_error("%s: %s; say where the %s", file, strerror(errno),
		          what == DATA ? "data is, or the configuration with --config FILE"
		                       : "server is with --config FILE or --socket PATH");
	} else {
		root = sl_options_load(sl_buf_slice(&text), &errors);
		for (size_t i = 0; i < errors.n; i++)
			(void)sl_buf_addf(mistakes, "%s:%u:%u: %s\n", file, errors.v[i].line, errors.v[i].column,
			                  errors.v[i].text);
		/* A mistake elsewhere does not hide the server, which may run on what the file was before. */
		if (root && *sl_conf_str(root, "control_socket") && *sl_conf_str(root, "data_dir"))
			path = locate_in(file, root, base, what);
		else if (what == DATA)
			ctl_error("%s does not say where the data is; name the directory", file);
		else
			ctl_error("%s does not say where the control socket is; give it with --socket PATH", file);
	}
	if (!path)
		locate_tell(mistakes);
	sl_conf_free(root);
	sl_conf_errors_fini(&errors);
	sl_buf_fini(&text);
	return path;
}

/* Where neither the command line nor the environment says it. */
static char *locate_default(enum what what, struct sl_buf *mistakes)
{
	char file[PATH_MAX], base[PATH_MAX] = ".";

	if (locate_tree(file, base) == 0)
		return locate_config(file, base, what, mistakes);
	return locate_config(SL_SYSCONFDIR "/sluice/sluice.yaml", base, what, mistakes);
}

char *locate_socket(const struct ctl *ctl, struct sl_buf *mistakes)
{
	const char *env = getenv("SLUICE_SOCKET");

	if (ctl->socket)
		return strdup(ctl->socket);
	if (ctl->config)
		return locate_config(ctl->config, ".", SOCKET, mistakes);
	return env && *env ? strdup(env) : locate_default(SOCKET, mistakes);
}

char *locate_data(const struct ctl *ctl)
{
	const char *env = getenv("SLUICE_SOCKET");
	struct sl_buf mistakes;
	json_t *root;
	char *dir;

	if (!ctl->socket && (ctl->config || !(env && *env))) {
		sl_buf_init(&mistakes);
		dir = ctl->config ? locate_config(ctl->config, ".", DATA, &mistakes) : locate_default(DATA, &mistakes);
		sl_buf_fini(&mistakes);
		return dir;
	}
	if (status_ask(ctl, &root))
		return NULL;
	dir = strdup(json_text(root, "data_dir"));
	json_decref(root);
	return dir;
}
