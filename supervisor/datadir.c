/*
 * datadir.c - the data directory: found, made, or temporary. Supervisor.
 *
 * What is inside belongs to the store-writer alone.
 */
#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/perm.h"
#include "supervisor/supervisor.h"

static int datadir_temporary(struct datadir *d)
{
	const char *tmp = getenv("TMPDIR");

	if (!tmp || *tmp != '/')
		tmp = "/tmp";
	if (asprintf(&d->path, "%s/sluice-XXXXXX", tmp) < 0)
		d->path = NULL;
	if (!d->path || !mkdtemp(d->path)) {
		sl_log_errno(SLUICE_LOG_ERR, "data_dir dir=%s", tmp);
		return SLUICE_EINVAL;
	}
	d->temporary = true;
	sl_log(SLUICE_LOG_WARN,
	       "temporary_data dir=%s action=\"everything is removed at the end; set data_dir to keep it\"", d->path);
	return 0;
}

/* A directory's own entry outlives a power failure once the directory above it is synced. A file system that knows no such sync has none
 * to lose. */
static int sync_parent(const char *path)
{
	int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int up = dir < 0 ? -1 : openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int rc = up < 0 ? -1 : fsync(up), saved = errno;

	if (rc && up >= 0 && errno == EINVAL)
		rc = 0;
	if (up >= 0)
		close(up);
	if (dir >= 0)
		close(dir);
	errno = saved;
	return rc;
}

/* One that is there already may have been made by a start that was cut short, so the innermost is synced always; there it may be that
 * the directory above belongs to somebody else and cannot be opened. */
static int make_one(const char *path, mode_t mode, bool innermost)
{
	bool made = mkdir(path, mode) == 0;

	if (!made && errno != EEXIST)
		return -1;
	if (!made && !innermost)
		return 0;
	return sync_parent(path) && (made || errno == EIO) ? -1 : 0;
}

/* Makes the directory and the missing ones above it, durably. path is absolute and is put back as it was. */
static int make_path(char *path)
{
	for (char *p = path + 1; *p; p++) {
		int rc;

		if (*p != '/')
			continue;
		*p = '\0';
		rc = make_one(path, 0755, false);
		*p = '/';
		if (rc)
			return -1;
	}
	return make_one(path, 0700, true);
}

char *datadir_path(const char *configured)
{
	char cwd[4096], *path;

	if (*configured == '/')
		return strdup(configured);
	return getcwd(cwd, sizeof cwd) && asprintf(&path, "%s/%s", cwd, configured) >= 0 ? path : NULL;
}

/* As PostgreSQL does. Who may write the directory can put another database there, and links that the writer follows. */
static void datadir_check_mode(const struct config *config, const char *path, const struct stat *st, bool owner, struct sl_conf_errors *errors)
{
	const char *writers = sl_perm_writers(st->st_mode, SL_PERM_DATA);
	unsigned mode = st->st_mode & 07777;

	if (writers)
		sl_conf_error_at(config->root, "data_dir", errors,
		                 "%s may write %s (mode %04o): chmod go-w %s, or name a new directory below it, and see that nobody has changed the data",
		                 writers, path, mode, path);
	if (owner && sl_perm_foreign(st))
		sl_conf_error_at(config->root, "data_dir", errors,
		                 "%s belongs to user %ld, who may write it: chown %ld %s, or run sluiced as that user", path, (long)st->st_uid,
		                 (long)geteuid(), path);
	if (!writers && (mode & (S_IROTH | S_IXOTH)))
		sl_log(SLUICE_LOG_WARN, "data_dir_readable dir=%s mode=%04o action=\"every user can read the data: chmod o-rwx %s\"", path, mode, path);
}

void datadir_check(const struct config *config, bool owner, struct sl_conf_errors *errors)
{
	const char *configured = sl_conf_str(config->root, "data_dir");
	struct stat st;
	char *path;

	if (!*configured || strcmp(configured, "temporary") == 0)
		return;
	path = datadir_path(configured);
	if (!path)
		sl_conf_error_at(config->root, "data_dir", errors, "its path cannot be found out: %s", strerror(errno));
	/* Whatever else is wrong with it, the start says when it takes the directory. */
	else if (stat(path, &st) == 0 && S_ISDIR(st.st_mode))
		datadir_check_mode(config, path, &st, owner, errors);
	free(path);
}

int datadir_open(const char *configured, struct datadir *d)
{
	struct stat st;

	*d = (struct datadir){0};
	if (strcmp(configured, "temporary") == 0)
		return datadir_temporary(d);
	d->path = datadir_path(configured);
	if (!d->path) {
		sl_log_errno(SLUICE_LOG_ERR, "data_dir dir=%s", configured);
		return SLUICE_EINVAL;
	}
	if (make_path(d->path)) {
		sl_log_errno(SLUICE_LOG_ERR, "data_dir dir=%s action=\"make it, or set data_dir\"", d->path);
		return SLUICE_EINVAL;
	}
	if (stat(d->path, &st) || !S_ISDIR(st.st_mode)) {
		sl_log(SLUICE_LOG_ERR, "data_dir dir=%s error=\"not a directory\"", d->path);
		return SLUICE_EINVAL;
	}
	if (access(d->path, R_OK | W_OK | X_OK)) {
		sl_log_errno(SLUICE_LOG_ERR,
		             "data_dir dir=%s action=\"the user of sluiced must be able to write there\"", d->path);
		return SLUICE_EINVAL;
	}
	return 0;
}

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
	(void)st;
	(void)type;
	(void)ftw;
	if (remove(path) && errno != ENOENT)
		sl_log_errno(SLUICE_LOG_WARN, "temporary_data path=%s", path);
	return 0;
}

void datadir_close(struct datadir *d)
{
	if (d->path && d->temporary)
		nftw(d->path, remove_one, 16, FTW_DEPTH | FTW_PHYS);
	free(d->path);
	*d = (struct datadir){0};
}
