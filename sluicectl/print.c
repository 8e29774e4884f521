/*
 * print.c - records of a stream on standard output: as they are, a JSON message a line, or a JSON object for each record. sluicectl.
 *
 * A step is copied inside its read transaction and written outside of it: a slow terminal does not hold up the log of the store.
 */
#include <stdlib.h>

#include "sluicectl/ctl.h"

bool print_offset(const char *text, uint64_t *offset)
{
	static const char zeros[] = "0000000000000000_";

	if (strlen(text) == 33 && strncmp(text, zeros, 17) == 0)
		text += 17;
	return ctl_number(text, offset);
}

bool print_is_json(sl_slice type)
{
	static const char json[] = "application/json";
	size_t n = sizeof json - 1;

	return type.len >= n && strncasecmp(type.data, json, n) == 0 &&
	       (type.len == n || ((const char *)type.data)[n] == ';' || ((const char *)type.data)[n] == ' ');
}

/* The messages of a step, each with its line end when it is complete. */
static int print_lines(struct print *p, const struct sl_step *st)
{
	const char *data = st->data.data;
	size_t at = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < st->n_message_end; i++) {
		rc = sl_buf_add(&p->out, data + at, st->message_end[i] - at) || sl_buf_add(&p->out, "\n", 1);
		at = st->message_end[i];
	}
	return rc ? rc : st->data.len > at ? sl_buf_add(&p->out, data + at, st->data.len - at) : 0;
}

/* A record, or the part of one that the step has: then "next" is absent. */
static int print_object(struct print *p, sl_slice data, uint64_t from, bool ends, uint64_t next)
{
	json_t *j = json_pack("{s:I}", "offset", (json_int_t)from);
	char *text = NULL;
	int rc = SLUICE_ENOMEM;

	if (j && ends)
		json_object_set_new(j, "next", json_integer((json_int_t)next));
	if (j && json_object_set_new(j, "data", out_text(data)) == 0)
		text = json_dumps(j, JSON_COMPACT);
	if (text)
		rc = sl_buf_add(&p->out, text, strlen(text)) || sl_buf_add(&p->out, "\n", 1) ? SLUICE_ENOMEM : 0;
	free(text);
	json_decref(j);
	return rc;
}

static int print_objects(struct print *p, const struct sl_step *st)
{
	const char *data = st->data.data;
	uint64_t from = p->next;
	size_t at = 0;
	int rc = 0;

	for (size_t i = 0; rc == 0 && i < st->n_record; i++) {
		rc = print_object(p, SL_SLICE(data + at, st->record[i].data_end - at), from, true, st->record[i].end);
		at = st->record[i].data_end;
		from = st->record[i].end;
	}
	if (rc == 0 && st->data.len > at)
		rc = print_object(p, SL_SLICE(data + at, st->data.len - at), from, false, 0);
	return rc;
}

static int print_step(struct print *p, uint64_t until, bool *over)
{
	struct session *s = p->session;
	struct sl_step st = {0};
	int rc = session_begin(s);

	if (rc)
		return rc;
	rc = sl_reader_step(s->reader, p->incarnation, p->next, p->skip, until, &st);
	if (rc == 0) {
		if (s->ctl->json)
			rc = print_objects(p, &st);
		else if (p->lines)
			rc = print_lines(p, &st);
		else if (st.data.len)
			rc = sl_buf_add(&p->out, st.data.data, st.data.len);
		/* No progress means no more data, which bounds of a plan rule out. */
		*over = st.next == p->next && st.skip == p->skip;
		p->next = st.next;
		p->skip = st.skip;
	}
	sl_reader_end(s->reader);
	if (rc == 0)
		return CTL_OK;
	if (rc == SLUICE_EGONE)
		ctl_error("%s: removed, or its old records freed, while it was read", p->stream);
	else
		ctl_error("%s: cannot be read (status %d); the log of sluiced may say why", p->stream, rc);
	return CTL_FAILED;
}

int print_until(struct print *p, uint64_t until)
{
	bool over = false;
	int rc = CTL_OK;

	while (rc == CTL_OK && !over && (p->next < until || p->skip)) {
		rc = print_step(p, until, &over);
		if (p->out.len && fwrite(sl_buf_slice(&p->out).data, 1, p->out.len, stdout) != p->out.len)
			rc = out_flush();
		sl_buf_drain(&p->out, p->out.len);
	}
	return rc;
}

void print_fini(struct print *p)
{
	sl_buf_fini(&p->out);
}
