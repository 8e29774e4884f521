/*
 * cmd_restore.c - sluicectl restore: a data directory out of a backup, with the server stopped. sluicectl.
 *
 * The new directory is made beside its place, checked, synced, and put there in one step: at no moment is there half a data directory, and what was
 * there before is kept. A place that cannot be exchanged (a mount point, or a directory above it that is not ours) must be empty; it is
 * filled from a directory inside of it, the volume last.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "lib/schema.h"
#include "lib/segment.h"
#include "lib/store_renew.h"
#include "sluicectl/ctl.h"

enum { BEFORE_MAX = 99 };

struct restore {
	struct ctl *ctl;
	const char *from;
	char *target, *partial, *source,
		*old;    /* source: the directory with the files; old: where the former data are */
	struct stat was; /* of the target, if it is there */
	bool exists, occupied, inside, archive;
	int lock, from_lock; /* -1: none */
	struct progress progress;
	uint64_t done, total;
	struct sl_check check;
	bool older; /* of an older version */
};

static int restore_errno(const char *path)
{
	if (errno == ECANCELED)
		ctl_error("given up");
	else
		ctl_error("%s: %s", path, strerror(errno));
	return CTL_FAILED;
}

/* ---- the place ---- */

/* What a server or a file system leaves in a directory without data. */
static bool restore_ignores(const char *name)
{
	static const char *const names[] = {".", "..", SL_LOCK_FILE, "control.sock", "lost+found"};

	for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
		if (strcmp(name, names[i]) == 0)
			return true;
	}
	return false;
}

static int restore_look(struct restore *r)
{
	DIR *d = opendir(r->target);
	struct dirent *e;

	if (!d)
		return restore_errno(r->target);
	while ((e = readdir(d)))
		r->occupied = r->occupied || !restore_ignores(e->d_name);
	closedir(d);
	return CTL_OK;
}

/* *lock -1 and CTL_OK: there is no lock file, so no server has it open. make: O_CREAT, so that none opens it from now on either. */
static int restore_lock(const char *dir, int how, int make, int *lock)
{
	char *path = files_join(dir, SL_LOCK_FILE);
	int rc = CTL_OK;

	if (!path)
		return CTL_FAILED;
	*lock = open(path, O_RDONLY | make | O_CLOEXEC, 0600);
	if (*lock < 0 && errno != ENOENT && errno != ENOTDIR) {
		rc = restore_errno(path);
	} else if (*lock >= 0 && flock(*lock, how | LOCK_NB)) {
		ctl_error("%s: a server has the data open; %s", dir,
		          how == LOCK_EX ? "stop it first, \"sluicectl drain\" does"
		                         : "\"sluicectl backup\" makes a copy that can be restored");
		rc = CTL_FAILED;
	}
	free(path);
	return rc;
}

/* Whether it can be exchanged with a directory beside it. */
static bool restore_movable(const struct restore *r)
{
	char *up = files_join(r->target, "..");
	struct stat st;
	bool good = up && stat(up, &st) == 0 && st.st_dev == r->was.st_dev && access(up, W_OK | X_OK) == 0;

	free(up);
	return good;
}

static int restore_place(struct restore *r)
{
	int rc;

	if (stat(r->target, &r->was))
		return errno == ENOENT ? CTL_OK : restore_errno(r->target);
	r->exists = true;
	if (!S_ISDIR(r->was.st_mode)) {
		ctl_error("%s is not a directory", r->target);
		return CTL_FAILED;
	}
	rc = restore_lock(r->target, LOCK_EX, 0, &r->lock);
	if (rc == CTL_OK)
		rc = restore_look(r);
	if (rc)
		return rc;
	if (r->occupied && !r->ctl->option['f']) {
		ctl_error("%s is not empty; with --force what is in it is kept beside it", r->target);
		return CTL_FAILED;
	}
	r->inside = !restore_movable(r);
	if (r->occupied && r->inside) {
		ctl_error(
			"%s is not empty, and cannot be moved (a mount point, or the directory above it is not yours): move what is in "
			"it away yourself",
			r->target);
		return CTL_FAILED;
	}
	return CTL_OK;
}

static int restore_begin(struct restore *r)
{
	char *place = r->inside ? files_join(r->target, "restore") : strdup(r->target);

	r->partial = place ? files_partial(place) : NULL;
	free(place);
	return r->partial ? CTL_OK : CTL_FAILED;
}

/* ---- the files ---- */

static void restore_copied(void *arg, uint64_t n)
{
	struct restore *r = arg;

	r->done += n;
	progress_show(&r->progress, "copying", r->done, r->total);
}

/* A regular file of the source. -1: told, or with errno ENOENT and `may` not. */
static int restore_open(const char *path, bool may)
{
	int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
	struct stat st;

	if (fd < 0 && (!may || errno != ENOENT))
		restore_errno(path);
	if (fd >= 0 && (fstat(fd, &st) || !S_ISREG(st.st_mode))) {
		ctl_error("%s is not a file", path);
		close(fd);
		errno = EINVAL;
		fd = -1;
	}
	return fd;
}

static int restore_copy(struct restore *r, const char *name, bool may)
{
	char *from = files_join(r->source, name), *to = files_join(r->partial, name);
	int in = from && to ? restore_open(from, may) : -1, out = -1, rc = CTL_FAILED;

	if (in < 0) {
		rc = from && to && may && errno == ENOENT ? CTL_OK : CTL_FAILED;
	} else if (r->archive) { /* what was extracted is ours */
		rc = fchmod(in, 0600) || rename(from, to) || fsync(in) ? restore_errno(to) : CTL_OK;
	} else {
		out = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
		rc = out < 0 || files_copy(in, out, restore_copied, r) || fsync(out) ? restore_errno(to) : CTL_OK;
		progress_clear(&r->progress);
	}
	if (in >= 0)
		close(in);
	if (out >= 0)
		close(out);
	free(from);
	free(to);
	return rc;
}

/* Calls for each segment of the source, by its name below the directory. A backup of a server without any has no such directory. */
static int restore_each(struct restore *r, int (*fn)(struct restore *, const char *name))
{
	char *path = files_join(r->source, SL_SEGMENT_DIR), name[sizeof SL_SEGMENT_DIR + SL_SEGMENT_NAME_MAX];
	DIR *d = path ? opendir(path) : NULL;
	struct dirent *e;
	uint64_t id;
	int rc = CTL_OK;

	if (!d)
		rc = path && errno == ENOENT ? CTL_OK : path ? restore_errno(path) : CTL_FAILED;
	while (d && rc == CTL_OK && (e = readdir(d))) {
		if (sl_segment_id(e->d_name, &id))
			continue;
		snprintf(name, sizeof name, "%s/%.*s", SL_SEGMENT_DIR, SL_SEGMENT_NAME_MAX - 1, e->d_name);
		rc = fn(r, name);
	}
	if (d)
		closedir(d);
	free(path);
	return rc;
}

static int restore_count(struct restore *r, const char *name)
{
	char *path = files_join(r->source, name);
	struct stat st;

	if (!path)
		return CTL_FAILED;
	r->total += stat(path, &st) == 0 ? (uint64_t)st.st_size : 0;
	free(path);
	return CTL_OK;
}

static int restore_segment(struct restore *r, const char *name)
{
	return restore_copy(r, name, false);
}

static int restore_files(struct restore *r)
{
	char *segments = files_join(r->partial, SL_SEGMENT_DIR);
	int rc = CTL_FAILED;

	if (segments)
		rc = mkdir(segments, 0700) ? restore_errno(segments) : restore_count(r, SL_VOLUME_FILE);
	if (rc == CTL_OK)
		rc = restore_each(r, restore_count);
	if (rc == CTL_OK)
		rc = restore_copy(r, SL_VOLUME_FILE, false);
	/* A directory that was copied with its server stopped, or after a crash, may have a log. */
	if (rc == CTL_OK)
		rc = restore_copy(r, SL_VOLUME_FILE "-wal", true);
	if (rc == CTL_OK)
		rc = restore_each(r, restore_segment);
	free(segments);
	return rc;
}

/* ---- archives ---- */

static bool restore_has_volume(const char *dir)
{
	char *path = files_join(dir, SL_VOLUME_FILE);
	bool has = path && access(path, F_OK) == 0;

	free(path);
	return has;
}

/* The directory with the volume: what was extracted, or the one inside of it. */
static int restore_find(struct restore *r, const char *top)
{
	DIR *d = opendir(top);
	struct dirent *e;

	if (restore_has_volume(top))
		r->source = strdup(top);
	while (d && !r->source && (e = readdir(d))) {
		char *sub =
			strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0 ? files_join(top, e->d_name) : NULL;
		struct stat st;

		if (sub && lstat(sub, &st) == 0 && S_ISDIR(st.st_mode) && restore_has_volume(sub))
			r->source = sub;
		else
			free(sub);
	}
	if (d)
		closedir(d);
	if (r->source)
		return CTL_OK;
	ctl_error("%s is no backup: there is no %s in it", r->from, SL_VOLUME_FILE);
	return CTL_FAILED;
}

/* What is in an archive is taken as strangers' files: only plain ones with the names we know are copied out of it. */
static int restore_extract(struct restore *r)
{
	char *top = files_join(r->partial, "archive");
	const char *const argv[] = {"tar",         "--extract", "--file",          r->from,
	                            "--directory", top,         "--no-same-owner", "--no-same-permissions",
	                            NULL};
	int rc = CTL_FAILED;

	r->archive = true;
	if (top && mkdir(top, 0700))
		rc = restore_errno(top);
	else if (top && files_tar(argv) == 0)
		rc = restore_find(r, top);
	if (rc == CTL_OK)
		rc = restore_files(r);
	if (top && files_remove(top))
		rc = CTL_FAILED;
	free(top);
	return rc;
}

static int restore_fill(struct restore *r)
{
	struct stat st;
	int rc;

	if (strcmp(r->from, "-") == 0)
		return restore_extract(r);
	if (stat(r->from, &st))
		return restore_errno(r->from);
	if (!S_ISDIR(st.st_mode))
		return restore_extract(r);
	r->source = strdup(r->from);
	if (!r->source || !restore_has_volume(r->from)) {
		ctl_error("%s is no backup: there is no %s in it", r->from, SL_VOLUME_FILE);
		return CTL_FAILED;
	}
	/* Root makes files of the server's user: of the place, or else of the backup. */
	if (!r->exists) {
		r->was.st_uid = st.st_uid;
		r->was.st_gid = st.st_gid;
	}
	rc = restore_lock(r->from, LOCK_SH, 0, &r->from_lock);
	return rc ? rc : restore_files(r);
}

/* ---- the new directory is complete ---- */

static int restore_verify(struct restore *r)
{
	char why[SL_CHECK_WHY];
	int rc = verify_run(r->ctl, r->partial, stop_asked, &r->check, why);

	r->older = rc == SLUICE_ENOTSUP && r->check.schema > 0 && r->check.schema < SL_SCHEMA && r->check.damaged == 0;
	if (r->older)
		ctl_error("note: the backup is of an older version; the next start brings it up to date");
	else if (rc == SLUICE_ECANCELED)
		ctl_error("given up");
	else if (rc)
		ctl_error("%s cannot be restored: %s", r->from, why);
	else if (r->check.damaged)
		ctl_error("%s is damaged; nothing was changed", r->from);
	return rc == 0 && r->check.damaged == 0 ? CTL_OK : r->older ? CTL_OK : CTL_FAILED;
}

static int restore_own(struct restore *r, const char *name)
{
	char *path = files_join(r->partial, name);
	int rc = path ? CTL_OK : CTL_FAILED;

	if (path && lchown(path, r->was.st_uid, r->was.st_gid))
		rc = restore_errno(path);
	free(path);
	return rc;
}

static int restore_renew(struct restore *r)
{
	char *segments = files_join(r->partial, SL_SEGMENT_DIR), why[256];
	int rc = segments ? CTL_OK : CTL_FAILED;

	if (rc == CTL_OK && sl_volume_renew(r->partial, why, sizeof why)) {
		ctl_error("%s", why);
		rc = CTL_FAILED;
	}
	if (rc == CTL_OK && geteuid() == 0) {
		free(r->source);
		r->source = strdup(r->partial);
		rc = r->source ? restore_own(r, SL_VOLUME_FILE) : CTL_FAILED;
		if (rc == CTL_OK)
			rc = restore_own(r, SL_SEGMENT_DIR);
		if (rc == CTL_OK)
			rc = restore_each(r, restore_own);
		if (rc == CTL_OK)
			rc = restore_own(r, ".");
	}
	if (rc == CTL_OK && r->exists && chmod(r->partial, r->was.st_mode & 07777))
		rc = restore_errno(r->partial);
	if (rc == CTL_OK && (files_sync(segments) || files_sync(r->partial)))
		rc = CTL_FAILED;
	free(segments);
	return rc;
}

/* ---- into its place ---- */

static int restore_move(struct restore *r, const char *name)
{
	char *from = files_join(r->partial, name), *to = files_join(r->target, name);
	int rc = CTL_FAILED;

	if (from && to)
		rc = rename(from, to) ? restore_errno(to) : CTL_OK;
	free(from);
	free(to);
	return rc;
}

/* Without the volume it is no data directory yet. */
static int restore_move_in(struct restore *r)
{
	int rc = restore_move(r, SL_SEGMENT_DIR);

	if (rc == CTL_OK && files_sync(r->target))
		rc = CTL_FAILED;
	if (rc == CTL_OK)
		rc = restore_move(r, SL_VOLUME_FILE);
	return rc == CTL_OK && files_sync(r->target) ? CTL_FAILED : rc;
}

/* A name beside the place for what was there, which nothing has yet; NULL: there is none. */
static char *restore_before(const struct restore *r)
{
	char stamp[32], *name = NULL;
	time_t now = time(NULL);
	struct tm tm;

	if (!gmtime_r(&now, &tm) || strftime(stamp, sizeof stamp, "%Y%m%dT%H%M%SZ", &tm) == 0)
		snprintf(stamp, sizeof stamp, "%lld", (long long)now);
	for (unsigned n = 1; n <= BEFORE_MAX; n++) {
		int len = n == 1 ? asprintf(&name, "%s.before-%s", r->target, stamp)
		                 : asprintf(&name, "%s.before-%s-%u", r->target, stamp, n);

		if (len < 0)
			return NULL;
		if (access(name, F_OK))
			return name;
		free(name);
	}
	return NULL;
}

/* Afterwards what was there has the name of the partial one, and from then on nothing may remove that. */
static int restore_exchange(struct restore *r)
{
	char *before;
	int rc;

	if (files_exchange(r->partial, r->target))
		return CTL_FAILED;
	rc = files_sync_parent(r->target) ? CTL_FAILED : CTL_OK;
	if (!r->occupied)
		return rc;
	r->old = r->partial;
	r->partial = NULL;
	before = restore_before(r);
	if (before && files_place(r->old, before))
		rc = CTL_FAILED;
	/* If that was not renamed the old data keep the name they have. */
	if (before && access(r->old, F_OK)) {
		free(r->old);
		r->old = before;
		before = NULL;
	}
	free(before);
	if (rc)
		ctl_error("%s is restored, but a power failure may take that back; what was there before is in %s", r->target, r->old);
	return rc;
}

/* No server has opened the place while the new directory was made, and none does before it is there. */
static int restore_close_place(struct restore *r)
{
	int rc = r->lock < 0 ? restore_lock(r->target, LOCK_EX, O_CREAT, &r->lock) : CTL_OK;

	if (rc == CTL_OK && geteuid() == 0 && fchown(r->lock, r->was.st_uid, r->was.st_gid))
		rc = restore_errno(r->target);
	return rc;
}

static int restore_put(struct restore *r)
{
	int rc = r->exists ? restore_close_place(r) : CTL_OK;

	if (rc)
		return rc;
	if (stop_asked()) {
		ctl_error("given up");
		return CTL_FAILED;
	}
	if (r->inside)
		return restore_move_in(r);
	if (r->exists)
		return restore_exchange(r);
	rc = files_place(r->partial, r->target) ? CTL_FAILED : CTL_OK;
	if (rc == CTL_OK) {
		free(r->partial);
		r->partial = NULL;
	}
	return rc;
}

/* ---- the command ---- */

static int restore_tell(const struct restore *r)
{
	char sum[VERIFY_SUM];
	json_t *j;

	if (r->ctl->json) {
		j = verify_counts(&r->check);
		if (j) {
			json_object_set_new(j, "data_dir", out_text(sl_slice_str(r->target)));
			json_object_set_new(j, "kept", r->old ? out_text(sl_slice_str(r->old)) : json_null());
		}
		return out_json(j);
	}
	if (r->older)
		printf("%s: restored\n", r->target);
	else
		printf("%s: restored, %s\n", r->target, verify_sum(&r->check, sum));
	if (r->old)
		printf("What was there before is in %s\n", r->old);
	return CTL_OK;
}

static char *restore_target(const struct ctl *ctl)
{
	char *dir = ctl->n_arg > 1 ? strdup(ctl->arg[1]) : locate_data(ctl);
	size_t n = dir ? strlen(dir) : 0;

	while (n > 1 && dir[n - 1] == '/')
		dir[--n] = '\0';
	return dir;
}

static int restore_run(struct ctl *ctl)
{
	struct restore r = {.ctl = ctl,
	                    .from = ctl->arg[0],
	                    .lock = -1,
	                    .from_lock = -1,
	                    .was = {.st_uid = geteuid(), .st_gid = getegid()}};
	int rc;

	r.target = restore_target(ctl);
	if (!r.target)
		return CTL_FAILED;
	progress_init(&r.progress, ctl);
	stop_catch();
	rc = restore_place(&r);
	if (rc == CTL_OK)
		rc = restore_begin(&r);
	if (rc == CTL_OK)
		rc = restore_fill(&r);
	if (rc == CTL_OK)
		rc = restore_verify(&r);
	if (rc == CTL_OK)
		rc = restore_renew(&r);
	if (rc == CTL_OK)
		rc = restore_put(&r);
	if (r.partial && files_remove(r.partial) && rc == CTL_OK)
		rc = CTL_FAILED;
	if (rc == CTL_OK)
		rc = restore_tell(&r);
	if (r.lock >= 0)
		close(r.lock);
	if (r.from_lock >= 0)
		close(r.from_lock);
	free(r.target);
	free(r.partial);
	free(r.source);
	free(r.old);
	return rc;
}

static const struct ctl_option restore_options[] = {
	{'f', "force", NULL, "also where there are data; they are kept beside the new ones"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_restore = {
	.name = "restore",
	.args = "FROM [DATA-DIR]",
	.summary = "Make a data directory of a backup, with the server stopped",
	.help = "FROM is a directory or an archive that \"sluicectl backup\" has made, or - for an archive on standard input; DATA-DIR otherwise the\n"
		"one that the configuration names. The backup is checked first, and stays as it is.",
	.options = restore_options,
	.min = 1,
	.max = 2,
	.words = CTL_WORD_FILE,
	.run = restore_run,
};
