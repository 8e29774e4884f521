/*
 * cmd_check.c - sluicectl check: is a data directory, or a backup, sound? sluicectl.
 */
#include <stdlib.h>

#include "sluicectl/ctl.h"

/* Said once, in words that tell what to do. */
static int check_told(const char *dir, int status, const char *why)
{
	if (status == SLUICE_EBUSY)
		ctl_error(
			"%s: %s; stop it first, \"sluicectl drain\" does, or check a copy, which \"sluicectl backup\" makes while it "
			"runs",
			dir, why);
	else
		ctl_error("%s cannot be checked: %s", dir, why);
	return CTL_UNCHECKED;
}

static int check_verdict(const struct ctl *ctl, const char *dir, const struct sl_check *r)
{
	json_t *j;

	if (ctl->json) {
		j = verify_counts(r);
		if (j)
			json_object_set_new(j, "data_dir", out_text(sl_slice_str(dir)));
		if (out_json(j))
			return CTL_FAILED;
	} else {
		verify_table(r);
		if (r->damaged)
			ctl_error(
				"%s is damaged; restore a backup, \"sluicectl restore\" does. Keep this one: what is not named above can still be read",
				dir);
	}
	return r->damaged ? CTL_FAILED : CTL_OK;
}

static int check_run(struct ctl *ctl)
{
	char *dir = ctl->n_arg ? sl_slice_dup(sl_slice_str(ctl->arg[0])) : locate_data(ctl), why[SL_CHECK_WHY];
	struct sl_check result;
	int rc;

	if (!dir)
		return CTL_UNCHECKED;
	rc = verify_run(ctl, dir, NULL, &result, why);
	rc = rc ? check_told(dir, rc, why) : check_verdict(ctl, dir, &result);
	free(dir);
	return rc;
}

const struct ctl_command cmd_check = {
	.name = "check",
	.args = "[DIR]",
	.summary = "Check a data directory or a backup for damage",
	.help = "Without DIR the data directory that the configuration names. No server may have it open; nothing in it is changed. What is\n"
		"damaged is named: file, stream, offset. Exit status 0: sound, 1: damaged, 2: it could not be checked.",
	.max = 1,
	.words = CTL_WORD_FILE,
	.run = check_run,
};
