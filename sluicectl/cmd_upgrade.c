/*
 * cmd_upgrade.c - sluicectl upgrade: the installed build takes the place of the running one. sluicectl.
 */
#include "sluicectl/ctl.h"

static int upgrade_run(struct ctl *ctl)
{
	struct link l;
	int rc = link_open(ctl, &l);

	if (rc)
		return rc;
	rc = sl_put_admin_upgrade(&l.ipc, &(struct sl_admin_upgrade){}) ? CTL_FAILED : link_ask(&l, NULL, NULL, -1);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	else if (rc == CTL_OK && ctl->json)
		rc = out_json(json_pack("{s:s, s:s}", "upgrade", link_text(&l), "from", l.build));
	else if (rc == CTL_OK)
		printf("upgraded: %s\n", link_text(&l));
	link_close(&l);
	return rc;
}

const struct ctl_command cmd_upgrade = {
	.name = "upgrade",
	.args = "",
	.summary = "Put the installed build in place of the running one",
	.help = "No request fails meanwhile, and addresses stay. Waits for the outcome; when the new build cannot serve, the running one\n"
		"goes on and the exit status is 1.",
	.run = upgrade_run,
};
