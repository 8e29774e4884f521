/*
 * cmd_ls.c - sluicectl ls: names of streams, in pages, each on a snapshot of its own. sluicectl.
 */
#include <stdlib.h>
#include <time.h>

#include "sluicectl/ctl.h"

enum { LS_PAGE = 500 };

struct ls {
	struct ctl *ctl;
	struct sl_buf out, last; /* last: name of the last entry */
	bool failed;
};

static void ls_time(uint64_t ms, char buf[32])
{
	time_t t = (time_t)(ms / 1000);
	struct tm tm;

	if (!localtime_r(&t, &tm) || strftime(buf, 32, "%Y-%m-%d %H:%M:%S", &tm) == 0)
		snprintf(buf, 32, "%llu", (unsigned long long)ms);
}

static int ls_json(struct ls *l, const struct sluice_list_entry *e)
{
	json_t *j =
		json_pack("{s:o, s:o, s:I, s:I, s:I, s:b}", "stream", out_text(e->stream), "content_type",
	                  out_text(e->content_type), "tail", (json_int_t)e->tail, "earliest", (json_int_t)e->earliest,
	                  "created_ms", (json_int_t)e->created_ms, "closed", (e->flags & SLUICE_R_CLOSED) != 0);
	char *text = j ? json_dumps(j, JSON_COMPACT) : NULL;
	int rc = text ? sl_buf_addf(&l->out, "%s\n", text) : SLUICE_ENOMEM;

	free(text);
	json_decref(j);
	return rc;
}

static int ls_text(struct ls *l, const struct sluice_list_entry *e)
{
	char *name = out_name(e->stream), *type = out_name(e->content_type), created[32];
	int rc = SLUICE_ENOMEM;

	ls_time(e->created_ms, created);
	if (name && type && l->ctl->option['l'])
		rc = sl_buf_addf(&l->out, "%s  %12llu  %12llu  %s  %-24s  %s\n", created,
		                 (unsigned long long)e->earliest, (unsigned long long)e->tail,
		                 e->flags & SLUICE_R_CLOSED ? "closed" : "open  ", type, name);
	else if (name)
		rc = sl_buf_addf(&l->out, "%s\n", name);
	free(name);
	free(type);
	return rc;
}

static int ls_entry(void *arg, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;
	struct ls *l = arg;

	sl_buf_drain(&l->last, l->last.len);
	l->failed =
		sl_buf_add(&l->last, e->stream.data, e->stream.len) || (l->ctl->json ? ls_json(l, e) : ls_text(l, e));
	return l->failed;
}

/* One page; it is written when its transaction is over. */
static int ls_page(struct ls *l, struct session *s, sl_slice prefix, bool *more)
{
	int rc = session_begin(s), status;

	if (rc)
		return rc;
	status = sl_reader_list(s->reader, prefix, sl_buf_slice(&l->last), LS_PAGE, session_wall(), ls_entry, l, more);
	sl_reader_end(s->reader);
	if (status || l->failed) {
		ctl_error(l->failed ? "out of memory"
		                    : "the list of streams cannot be read; the log of sluiced may say why");
		return CTL_FAILED;
	}
	if (l->out.len)
		fwrite(sl_buf_slice(&l->out).data, 1, l->out.len, stdout);
	sl_buf_drain(&l->out, l->out.len);
	return out_flush();
}

static int ls_run(struct ctl *ctl)
{
	struct ls l = {.ctl = ctl};
	struct session s;
	bool more = true;
	int rc = session_open(ctl, &s);

	if (rc)
		return rc;
	sl_buf_init(&l.out);
	sl_buf_init(&l.last);
	if (ctl->option['l'] && !ctl->json)
		printf("%-19s  %12s  %12s  %-6s  %-24s  %s\n", "CREATED", "EARLIEST", "TAIL", "STATE", "CONTENT TYPE",
		       "STREAM");
	while (rc == CTL_OK && more)
		rc = ls_page(&l, &s, sl_slice_str(ctl->n_arg ? ctl->arg[0] : ""), &more);
	sl_buf_fini(&l.out);
	sl_buf_fini(&l.last);
	session_close(&s);
	return rc;
}

static const struct ctl_option ls_options[] = {
	{'l', "long", NULL, "with times, offsets, state and content type"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_ls = {
	.name = "ls",
	.args = "[PREFIX]",
	.summary = "List streams",
	.help = "Names in bytewise order, those that begin with PREFIX. Control characters and backslashes in a name are shown as \\xNN;\n"
		"--json has the exact names.",
	.options = ls_options,
	.max = 1,
	.words = CTL_WORD_STREAM,
	.run = ls_run,
};
