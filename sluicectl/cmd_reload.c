/*
 * cmd_reload.c - sluicectl reload: take up the changed configuration, and say how it went. sluicectl.
 */
#include "sluicectl/ctl.h"

static int reload_run(struct ctl *ctl)
{
	struct link l;
	int rc = link_open(ctl, &l);

	if (rc)
		return rc;
	rc = sl_put_admin_reload(&l.ipc, &(struct sl_admin_reload){}) ? CTL_FAILED : link_ask(&l, NULL, NULL, -1);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	else if (rc == CTL_OK && ctl->json)
		rc = out_json(json_pack("{s:s}", "reload", link_text(&l)));
	else if (rc == CTL_OK)
		printf("reloaded: %s\n", link_text(&l));
	link_close(&l);
	return rc;
}

const struct ctl_command cmd_reload = {
	.name = "reload",
	.args = "",
	.summary = "Take up the changed configuration without refusing a request",
	.help = "Waits until the new configuration is in force. Mistakes in the file are printed as file:line:column: message; then the\n"
		"old one stays in force and the exit status is 1.",
	.run = reload_run,
};
