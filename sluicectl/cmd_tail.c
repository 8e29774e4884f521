/*
 * cmd_tail.c - sluicectl tail: the last records of a stream, and those that follow. sluicectl.
 *
 * Following is "watch, then look": the store-writer says when there is more, which is then read from where we are. A restart of the writer
 * renews the watch and costs another look.
 */
#include <stdlib.h>
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { TAIL_RECORDS = 10, TAIL_RECORDS_MAX = 100000, TAIL_FIRST_BYTES = 16 * 1024 };

struct follow {
	struct print print;
	struct session session;
	bool look, removed;
};

/* Notes where the last n records of [from, tail) begin: begin[i % n] for the i-th. Their number, or a negative status. */
static int64_t tail_walk(struct session *s, uint64_t incarnation, uint64_t from, uint64_t tail, uint64_t *begin,
                         uint64_t n)
{
	uint64_t skip = 0, start = from;
	int64_t count = 0;
	int rc = 0;

	while (rc == 0 && (from < tail || skip)) {
		struct sl_step st = {0};

		if (session_begin(s))
			return SLUICE_EINTERNAL;
		rc = sl_reader_step(s->reader, incarnation, from, skip, tail, &st);
		for (size_t i = 0; rc == 0 && i < st.n_record; i++) {
			begin[(uint64_t)count++ % n] = start;
			start = st.record[i].end;
		}
		sl_reader_end(s->reader);
		if (rc == 0 && st.next == from && st.skip == skip)
			break;
		from = st.next;
		skip = st.skip;
	}
	return rc ? rc : count;
}

/* Where the last n records begin. Offsets do not count records, so it looks ever further back until there are enough. */
static int tail_start(struct session *s, const char *stream, const struct sl_facts *f, uint64_t n, uint64_t *at)
{
	uint64_t *begin = calloc(n ? n : 1, sizeof *begin), back = TAIL_FIRST_BYTES;
	int64_t count = 0;
	int rc = begin ? 0 : SLUICE_ENOMEM;

	*at = f->tail;
	while (rc == 0 && n > 0) {
		uint64_t from = f->tail - f->earliest > back ? f->tail - back : f->earliest;
		struct sl_plan plan = {0};

		if (session_begin(s))
			break;
		rc = sl_reader_plan(s->reader, f, from, 1, &plan, NULL); /* the beginning of the record there */
		sl_reader_end(s->reader);
		if (rc == 0)
			count = tail_walk(s, f->incarnation, plan.from, f->tail, begin, n);
		if (count < 0)
			rc = (int)count;
		else if ((uint64_t)count >= n)
			*at = begin[(uint64_t)count % n];
		else
			*at = plan.from;
		if ((uint64_t)count >= n || plan.from <= f->earliest)
			break;
		back *= 8;
	}
	free(begin);
	if (rc == 0)
		return CTL_OK;
	ctl_error("%s: cannot be read (status %d)", stream, rc);
	return CTL_FAILED;
}

static void follow_event(struct session *s, void *user, const struct sl_client_event *e)
{
	struct follow *t = user;

	(void)s;
	t->look = true;
	if (e->events & SLUICE_EV_REMOVED || (e->answer && e->incarnation != t->print.incarnation))
		t->removed = true;
}

/* Prints up to the tail. over: the stream is closed, or gone. */
static int follow_look(struct follow *t, bool *over)
{
	struct session *s = &t->session;
	struct sl_facts f;
	int rc = session_begin(s), status;

	if (rc)
		return rc;
	t->look = false;
	status = s->replaced ? SLUICE_ENOENT : sl_reader_facts_id(s->reader, t->print.incarnation, &f);
	sl_reader_end(s->reader);
	if (status == 0 && f.status == SLUICE_OK)
		rc = print_until(&t->print, f.tail);
	if (rc == CTL_OK)
		rc = out_flush();
	if (rc)
		return rc;
	if (t->removed || status || f.status != SLUICE_OK) {
		ctl_error("%s: %s", t->print.stream,
		          s->replaced ? "the store was replaced by another one" : "the stream was removed");
		return CTL_ABSENT;
	}
	*over = f.flags & SLUICE_R_CLOSED && t->print.next >= f.tail;
	return CTL_OK;
}

static int follow_run(struct follow *t)
{
	struct pollfd out = {.fd = STDOUT_FILENO}; /* errors only: whoever read has gone */
	struct sl_client_watch *watch;
	bool over = false;
	int rc = CTL_OK;

	t->session.event = follow_event;
	if (sl_client_watch(t->session.client, sl_slice_str(t->print.stream), false, t, &watch)) {
		ctl_error("out of memory");
		return CTL_FAILED;
	}
	while (rc == CTL_OK && !over) {
		rc = session_turn(&t->session, 1000, &out);
		if (rc == CTL_OK && out.revents & (POLLERR | POLLHUP))
			return CTL_FAILED;
		if (rc == CTL_OK && t->look)
			rc = follow_look(t, &over);
	}
	return rc;
}

/* Where to begin, and what kind of stream it is. */
static int tail_begin(struct follow *t, uint64_t n)
{
	struct sl_facts f;
	int rc = session_begin(&t->session);

	if (rc)
		return rc;
	rc = session_facts(&t->session, t->print.stream, &f);
	if (rc == CTL_OK) {
		t->print.lines = print_is_json(f.content_type);
		t->print.incarnation = f.incarnation;
	}
	sl_reader_end(t->session.reader);
	if (rc == CTL_OK)
		rc = tail_start(&t->session, t->print.stream, &f, n, &t->print.next);
	if (rc == CTL_OK)
		rc = print_until(&t->print, f.tail);
	return rc ? rc : out_flush();
}

static int tail_run(struct ctl *ctl)
{
	struct follow t = {.print = {.stream = ctl->arg[0]}};
	uint64_t n = TAIL_RECORDS;
	int rc;

	if (ctl->option['n'] && (!ctl_number(ctl->option['n'], &n) || n > TAIL_RECORDS_MAX))
		return ctl_misuse(ctl, "-n takes a number up to %d, not \"%s\"", TAIL_RECORDS_MAX, ctl->option['n']);
	rc = session_open(ctl, &t.session);
	if (rc)
		return rc;
	t.print.session = &t.session;
	rc = tail_begin(&t, n);
	if (rc == CTL_OK && ctl->option['f'])
		rc = follow_run(&t);
	print_fini(&t.print);
	session_close(&t.session);
	return rc;
}

static const struct ctl_option tail_options[] = {
	{'n', "records", "N", "the last N records (10)"},
	{'f', "follow", NULL, "go on with what is appended"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_tail = {
	.name = "tail",
	.args = "STREAM",
	.summary = "Print the end of a stream, and follow it",
	.help = "Output is as of cat. With -f it ends when the stream is closed (status 0) or removed (4). It goes on over reloads and\n"
		"restarts of the store-writer, and does not keep a stream from expiring.",
	.options = tail_options,
	.min = 1,
	.max = 1,
	.words = CTL_WORD_STREAM,
	.run = tail_run,
};
