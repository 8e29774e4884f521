/*
 * cmd_rm.c - sluicectl rm: deletes streams, one after the other. sluicectl.
 */
#include "sluicectl/ctl.h"

static int rm_one(struct session *s, const char *stream)
{
	struct sl_store_op op = {.kind = SLUICE_OP_REMOVE, .stream = sl_slice_str(stream)};
	struct sluice_result r = {0};
	int rc = session_submit(s, &op, 1, -1, &r);

	if (rc == CTL_OK)
		rc = result_tell(&r, "", stream);
	if (rc == CTL_OK && s->ctl->json)
		rc = out_json(json_pack("{s:o}", "removed", out_text(sl_slice_str(stream))));
	return rc;
}

static int rm_run(struct ctl *ctl)
{
	struct session s;
	int worst = session_open(ctl, &s);

	if (worst)
		return worst;
	for (unsigned i = 0; i < ctl->n_arg && worst != CTL_AWAY; i++) {
		int rc = rm_one(&s, ctl->arg[i]);

		/* The rest is tried; that one is missing says less than that one failed. */
		if (rc && (worst == CTL_OK || worst == CTL_ABSENT))
			worst = rc;
	}
	session_close(&s);
	return worst;
}

const struct ctl_command cmd_rm = {
	.name = "rm",
	.args = "STREAM...",
	.summary = "Delete streams",
	.help = "For good and without a question. A stream that has forks can no longer be read by its name; its forks can.",
	.min = 1,
	.max = 100000,
	.words = CTL_WORD_STREAM,
	.run = rm_run,
};
