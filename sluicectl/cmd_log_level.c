/*
 * cmd_log_level.c - sluicectl log-level: of every process, until the next reload. sluicectl.
 */
#include "sluicectl/ctl.h"

static int log_level_run(struct ctl *ctl)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	struct sl_admin_log_level m = {.level = 0};
	struct link l;
	int rc;

	while (m.level < 4 && strcmp(levels[m.level], ctl->arg[0]) != 0)
		m.level++;
	if (m.level == 4)
		return ctl_misuse(ctl, "a level is error, warn, info or debug, not \"%s\"", ctl->arg[0]);
	rc = link_open(ctl, &l);
	if (rc)
		return rc;
	rc = sl_put_admin_log_level(&l.ipc, &m) ? CTL_FAILED : link_ask(&l, NULL, NULL, LINK_SOON_MS);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	else if (rc == CTL_OK && ctl->json)
		rc = out_json(json_pack("{s:s}", "log_level", levels[m.level]));
	link_close(&l);
	return rc;
}

const struct ctl_command cmd_log_level = {
	.name = "log-level",
	.args = "LEVEL",
	.summary = "Change what is logged, until the next reload",
	.help = "LEVEL is error, warn, info or debug.",
	.min = 1,
	.max = 1,
	.words = CTL_WORD_LEVEL,
	.run = log_level_run,
};
