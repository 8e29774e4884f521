/*
 * cmd_cat.c - sluicectl cat: a stream from an offset to its tail of now. sluicectl.
 */
#include "sluicectl/ctl.h"

static int cat_run(struct ctl *ctl)
{
	struct print p = {.stream = ctl->arg[0]};
	struct session s;
	struct sl_facts f;
	struct sl_plan plan = {0};
	uint64_t from = 0;
	int rc, status = 0;

	if (ctl->option['F'] && !print_offset(ctl->option['F'], &from))
		return ctl_misuse(ctl, "an offset is a number, or as in Stream-Next-Offset, not \"%s\"",
		                  ctl->option['F']);
	rc = session_open(ctl, &s);
	if (rc)
		return rc;
	rc = session_begin(&s);
	if (rc == CTL_OK) {
		rc = session_facts(&s, p.stream, &f);
		if (rc == CTL_OK && !ctl->option['F'])
			from = f.earliest;
		if (rc == CTL_OK)
			status = sl_reader_plan(s.reader, &f, from, 1, &plan, NULL); /* for where the record begins */
		p.lines = rc == CTL_OK && print_is_json(f.content_type);
		sl_reader_end(s.reader);
	}
	if (rc == CTL_OK && status == SLUICE_EGONE) {
		ctl_error("%s: records before offset %llu are gone; leave --from away to begin there", p.stream,
		          (unsigned long long)f.earliest);
		rc = CTL_FAILED;
	} else if (rc == CTL_OK && status) {
		ctl_error("%s: cannot be read (status %d); the log of sluiced may say why", p.stream, status);
		rc = CTL_FAILED;
	}
	if (rc == CTL_OK) {
		p.session = &s;
		p.incarnation = f.incarnation;
		p.next = plan.from;
		rc = print_until(&p, f.tail);
	}
	print_fini(&p);
	session_close(&s);
	return rc;
}

static const struct ctl_option cat_options[] = {
	{'F', "from", "OFFSET", "begin there instead of at the earliest record"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_cat = {
	.name = "cat",
	.args = "STREAM",
	.summary = "Print a stream",
	.help = "From its earliest record, or OFFSET, up to the tail as it is now. Bytes are printed as they are, JSON streams one message a\n"
		"line. --json prints for each record its offset, the next one and its data, which is {\"base64\": ...} when it is not\n"
		"text; a record of more than 256 KiB comes in several objects, of which the last has \"next\".",
	.options = cat_options,
	.min = 1,
	.max = 1,
	.words = CTL_WORD_STREAM,
	.run = cat_run,
};
