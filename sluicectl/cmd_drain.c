/*
 * cmd_drain.c - sluicectl drain: stop in order. sluicectl.
 */
#include "sluicectl/ctl.h"

static const struct ctl_option drain_options[] = {
	{'n', "no-wait", NULL, "do not wait for the end"},
	{0, NULL, NULL, NULL},
};

static int drain_run(struct ctl *ctl)
{
	struct link l;
	int rc = link_open(ctl, &l);

	if (rc)
		return rc;
	rc = sl_put_admin_drain(&l.ipc, &(struct sl_admin_drain){}) ? CTL_FAILED
	                                                            : link_ask(&l, NULL, NULL, LINK_SOON_MS);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	if (rc == CTL_OK && !ctl->option['n'])
		(void)link_wait_end(&l, -1);
	if (rc == CTL_OK && ctl->json)
		rc = out_json(json_pack("{s:s, s:I}", "drain", ctl->option['n'] ? "stopping" : "stopped", "pid",
		                        (json_int_t)l.pid));
	link_close(&l);
	return rc;
}

const struct ctl_command cmd_drain = {
	.name = "drain",
	.args = "",
	.summary = "Stop the server in order",
	.help = "It accepts nothing new, finishes what was begun (limits.drain_timeout) and ends. A service manager does not start it again.",
	.options = drain_options,
	.run = drain_run,
};
