/*
 * cmd_backup.c - sluicectl backup: a verified copy of the data while the server runs. sluicectl.
 *
 * We make the directory, under a name that says that it is not complete, and the store-writer fills it; it knows it by its descriptor, so it
 * can be where the writer may not look. Then the copy is checked, and only a sound one gets its name. A tar archive is made of such a
 * directory by tar.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "lib/schema.h"
#include "sluicectl/ctl.h"

#define BACKUP_NAME "sluice-backup" /* of the directory in an archive */

struct backup {
	struct ctl *ctl;
	const char *target; /* as named; "-": standard output */
	bool tar;
	char *partial, *data; /* our directory, and the one that is filled: the same, or in it */
	struct progress progress;
	bool canceled; /* has been told to the server */
	struct sl_check check;
};

/* ---- the copy ---- */

static int backup_on_progress(void *arg, const struct sl_admin_backup_progress *m)
{
	struct backup *b = ((struct link *)arg)->user;
	char what[64];

	snprintf(what, sizeof what, "copying %.*s", (int)m->what.len, m->what.len ? (const char *)m->what.data : "");
	progress_show(&b->progress, what, m->done, m->total);
	return 0;
}

static void backup_idle(struct link *l)
{
	struct backup *b = l->user;

	if (!stop_asked() || b->canceled)
		return;
	b->canceled = true;
	if (sl_put_admin_cancel(&l->ipc, &(struct sl_admin_cancel){}) == 0)
		(void)sl_ipc_flush(&l->ipc);
}

/* The user of the server is to write in it; root may make it so. */
static int backup_give(const struct link *l, int dir)
{
	struct ucred who;
	socklen_t len = sizeof who;

	if (getsockopt(l->ipc.fd, SOL_SOCKET, SO_PEERCRED, &who, &len) || who.uid == geteuid())
		return 0;
	return fchown(dir, who.uid, who.gid);
}

static int backup_ask(struct backup *b, struct link *l, int dir)
{
	static const struct sl_admin_handlers handlers = {.backup_progress = backup_on_progress};
	struct sl_admin_backup m = {.directory = dir};
	int rc;

	if (sl_put_admin_backup(&l->ipc, &m)) {
		ctl_error("out of memory");
		return CTL_FAILED;
	}
	l->idle = backup_idle;
	l->user = b;
	rc = link_ask(l, &handlers, b, -1);
	progress_clear(&b->progress);
	if (rc == CTL_FAILED && l->status == SLUICE_EFULL)
		ctl_error("%s: %s", b->target, link_text(l));
	else if (rc == CTL_FAILED)
		link_refused(l);
	return rc;
}

static int backup_copy(struct backup *b)
{
	int dir = open(b->data, O_RDONLY | O_DIRECTORY | O_CLOEXEC), rc;
	struct link l;

	if (dir < 0) {
		ctl_error("%s: %s", b->data, strerror(errno));
		return CTL_FAILED;
	}
	rc = link_open(b->ctl, &l);
	if (rc == CTL_OK) {
		if (backup_give(&l, dir)) {
			ctl_error("%s: %s", b->data, strerror(errno));
			rc = CTL_FAILED;
		} else {
			rc = backup_ask(b, &l, dir);
		}
		link_close(&l);
	}
	close(dir);
	return rc;
}

/* ---- what becomes of it ---- */

static int backup_verify(struct backup *b)
{
	char why[SL_CHECK_WHY];
	int rc = verify_run(b->ctl, b->data, stop_asked, &b->check, why);

	if (rc == 0 && b->check.damaged == 0)
		return CTL_OK;
	if (rc == SLUICE_ECANCELED)
		ctl_error("given up");
	else if (rc)
		ctl_error("the copy cannot be checked: %s", why);
	else
		ctl_error("the copy is damaged, so the data are, too; stop the server and see \"sluicectl check\"");
	return CTL_FAILED;
}

static int backup_archive(struct backup *b)
{
	bool out = strcmp(b->target, "-") == 0;
	char *file = out ? strdup("-") : files_join(b->partial, "archive.tar");
	const char *const argv[] = {"tar", "--create",    "--format=posix", "--sort=name", "--file",
	                            file,  "--directory", b->partial,       BACKUP_NAME,   NULL};
	int rc = CTL_FAILED;

	if (file && files_tar(argv) == 0)
		rc = out || (files_sync(file) == 0 && files_place(file, b->target) == 0) ? CTL_OK : CTL_FAILED;
	free(file);
	return rc;
}

static int backup_finish(struct backup *b)
{
	int rc;

	if (stop_asked()) {
		ctl_error("given up");
		return CTL_FAILED;
	}
	if (b->tar)
		return backup_archive(b);
	rc = files_place(b->partial, b->target) == 0 ? CTL_OK : CTL_FAILED;
	if (rc == CTL_OK) {
		free(b->partial);
		b->partial = NULL;
	}
	return rc;
}

static int backup_tell(const struct backup *b)
{
	bool out = strcmp(b->target, "-") == 0;
	char sum[VERIFY_SUM];
	json_t *j;

	if (b->ctl->json) {
		j = verify_counts(&b->check);
		if (j)
			json_object_set_new(j, "backup", out_text(sl_slice_str(b->target)));
		return out_json(j);
	}
	fprintf(out ? stderr : stdout, "%s: %s; checked\n", out ? "standard output" : b->target,
	        verify_sum(&b->check, sum));
	return CTL_OK;
}

/* ---- the command ---- */

static int backup_prepare(struct backup *b)
{
	const char *tmp = getenv("TMPDIR");
	bool out = strcmp(b->target, "-") == 0;
	char *beside = NULL;

	if (!out && access(b->target, F_OK) == 0) {
		ctl_error("%s is there already", b->target);
		return CTL_FAILED;
	}
	if (out)
		beside = files_join(tmp && *tmp ? tmp : "/tmp", BACKUP_NAME);
	b->partial = out && !beside ? NULL : files_partial(out ? beside : b->target);
	free(beside);
	if (!b->partial)
		return CTL_FAILED;
	b->data = b->tar ? files_join(b->partial, BACKUP_NAME) : strdup(b->partial);
	if (!b->data)
		return CTL_FAILED;
	if (b->tar && mkdir(b->data, 0700)) {
		ctl_error("%s: %s", b->data, strerror(errno));
		return CTL_FAILED;
	}
	return CTL_OK;
}

static int backup_run(struct ctl *ctl)
{
	struct backup b = {.ctl = ctl, .tar = ctl->option['t'] != NULL};
	int rc;

	if (b.tar == (ctl->n_arg == 1))
		return ctl_misuse(ctl, "\"backup\" needs a directory or --tar FILE, and one of them");
	b.target = b.tar ? ctl->option['t'] : ctl->arg[0];
	if (b.tar && strcmp(b.target, "-") == 0 && (ctl->json || isatty(STDOUT_FILENO)))
		return ctl_misuse(ctl, "an archive on standard output goes neither to a terminal nor with --json");
	progress_init(&b.progress, ctl);
	stop_catch();
	rc = backup_prepare(&b);
	if (rc == CTL_OK)
		rc = backup_copy(&b);
	if (rc == CTL_OK)
		rc = backup_verify(&b);
	if (rc == CTL_OK)
		rc = backup_finish(&b);
	if (b.partial && files_remove(b.partial) && rc == CTL_OK)
		rc = CTL_FAILED;
	if (rc == CTL_OK)
		rc = backup_tell(&b);
	free(b.partial);
	free(b.data);
	return rc;
}

static const struct ctl_option backup_options[] = {
	{'t', "tar", "FILE", "make a tar archive instead of a directory; - is standard output"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_backup = {
	.name = "backup",
	.args = "DIR | --tar FILE",
	.summary = "Make a checked copy of the data while the server runs",
	.help = "Everything that was acknowledged before the beginning is in it; writing goes on meanwhile. DIR is made, and has its name only\n"
		"once the copy is complete, on the disk and checked; what is given up or fails leaves nothing behind. Segments are linked\n"
		"where that is possible. \"sluicectl restore\" makes a data directory of it.",
	.options = backup_options,
	.max = 1,
	.words = CTL_WORD_FILE,
	.run = backup_run,
};
