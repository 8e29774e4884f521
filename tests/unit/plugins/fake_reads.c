/*
 * fake_reads.c - the fake's store: reads in steps of any size, and listings. Tests only.
 */
#include "tests/unit/plugins/fake_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- reads ---- */

int store_read(fake *f, const struct sluice_read *rd, sluice_read_fn *fn, void *arg, struct sluice_req **out)
{
	struct sluice_req *r;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	assert(rd->size == sizeof *rd && rd->stream.len > 0);
	r = req_new(f, REQ_READ, arg, out);
	r->fn.read = fn;
	r->rd = *rd;
	r->name = dup_slice(rd->stream);
	return 0;
}

struct fake_step {
	struct fake_bytes data;
	uint32_t *message_end;
	struct sluice_record *record;
	size_t n_message_end, n_record;
	uint64_t next, skip;
};

static void step_add(struct fake_step *step, const struct fake_record *rec, uint64_t skip, size_t take)
{
	size_t begin = step->data.len, at = 0;

	fake_bytes_add(&step->data, rec->data.data + skip, take);
	for (size_t i = 0; i < rec->n_message; i++) {
		at += rec->message[i];
		if (at <= skip || at > skip + take)
			continue;
		step->message_end = fake_realloc(step->message_end, (step->n_message_end + 1) * sizeof(uint32_t));
		step->message_end[step->n_message_end++] = (uint32_t)(begin + at - skip);
	}
	if (skip + take < rec->data.len)
		return;
	step->record = fake_realloc(step->record, (step->n_record + 1) * sizeof *step->record);
	step->record[step->n_record++] = (struct sluice_record){.end = rec->end, .data_end = (uint32_t)step->data.len};
}

static void step_run(const fake *f, const struct fake_stream *s, uint64_t from, uint64_t skip, uint64_t until,
                     struct fake_step *step)
{
	step->next = from;
	step->skip = 0;
	for (size_t i = 0; i < s->n_record && step->data.len < f->step; i++) {
		const struct fake_record *rec = &s->record[i];
		size_t take;

		if (rec->end <= from || rec->end > until)
			continue;
		take = rec->data.len - skip;
		if (take > f->step - step->data.len) {
			take = f->step - step->data.len;
			step_add(step, rec, skip, take);
			step->next = rec->end - rec->data.len - SLUICE_RECORD_OVERHEAD;
			step->skip = skip + take;
			return;
		}
		step_add(step, rec, skip, take);
		step->next = rec->end;
		skip = 0;
	}
	if (step->next < until && step->data.len < f->step)
		step->next = until;
}

/* The payload bytes before an offset. */
uint64_t stream_position(const struct fake_stream *s, uint64_t offset)
{
	uint64_t pos = 0;

	for (size_t i = 0; i < s->n_record && s->record[i].end <= offset; i++)
		pos += s->record[i].data.len;
	return pos;
}

/* Where a position is: the offset of its record, what lies before it there, and whether it is inside a message. */
static void read_place(const struct fake_stream *s, struct sluice_read *rd, struct sluice_read_result *res)
{
	uint64_t left = rd->from, at = 0;

	rd->from = s->tail;
	for (size_t i = 0; i < s->n_record; i++) {
		const struct fake_record *rec = &s->record[i];

		if (left >= rec->data.len) {
			left -= rec->data.len;
			continue;
		}
		rd->from = rec->end - rec->data.len - SLUICE_RECORD_OVERHEAD;
		rd->skip = res->skip_from = left;
		rd->budget += left; /* the budget is for what is handed out */
		for (size_t k = 0; k < rec->n_message && at < left; k++)
			at += rec->message[k];
		res->flags |= at != left ? SLUICE_R_INSIDE : 0;
		return;
	}
}

static void read_plan(const struct fake_stream *s, const struct sluice_read *rd, struct sluice_read_result *res)
{
	uint64_t from = rd->from > s->tail ? s->tail : rd->from;

	res->from = res->end = from;
	if (rd->budget == 0 || from == s->tail)
		return;
	if (from < s->earliest) {
		res->status = SLUICE_EGONE;
		res->reason = SLUICE_WHY_TRIMMED;
		return;
	}
	for (size_t i = 0; i < s->n_record; i++) {
		const struct fake_record *rec = &s->record[i];

		if (rec->end <= from)
			continue;
		if (res->payload_bytes == 0)
			res->from = rec->end - rec->data.len - SLUICE_RECORD_OVERHEAD;
		else if (res->payload_bytes + rec->data.len > rd->budget)
			break;
		res->payload_bytes += rec->data.len;
		res->messages += rec->n_message;
		res->end = rec->end;
	}
}

static void read_facts(const fake *f, const struct fake_stream *s, struct sluice_read_result *res)
{
	(void)f;
	res->status = !s ? SLUICE_ENOENT : s->soft ? SLUICE_EGONE : SLUICE_OK;
	res->reason = s && s->soft ? SLUICE_WHY_SOFT_DELETED : SLUICE_WHY_NONE;
	if (!s)
		return;
	res->flags = s->flags;
	res->content_type = slice_of(s->type);
	res->incarnation = s->incarnation;
	res->created_ms = s->created_ms;
	res->tail = s->tail;
	res->earliest = s->earliest;
	res->tail_pos = stream_position(s, s->tail);
	res->earliest_pos = s->snapshot.id ? s->snapshot.pos : stream_position(s, s->earliest);
	res->ttl_s = s->ttl_s;
	res->expires_ms = s->expires_ms;
}

static void read_snapshot_facts(const struct fake_stream *s, struct sluice_read_result *res)
{
	if (!s || !s->snapshot.id)
		return;
	res->flags |= SLUICE_R_SNAPSHOT;
	res->snapshot = s->snapshot.at;
	res->snapshot_pos = s->snapshot.pos;
	res->snapshot_len = s->snapshot.data.len;
	res->snapshot_id = s->snapshot.id;
	res->snapshot_type = slice_of(s->snapshot.type);
	res->snapshot_digest = (slice){.data = s->snapshot.digest, .len = sizeof s->snapshot.digest};
}

/* What lies behind the earliest position: where it begins, how far a budget goes. */
static void read_rest(const struct fake_stream *s, const struct sluice_read *rd, struct sluice_read_result *res)
{
	struct sluice_read from = *rd;

	from.from = res->earliest_pos;
	read_place(s, &from, res);
	read_plan(s, &from, res);
	res->payload_bytes -= res->payload_bytes ? res->skip_from : 0;
	res->messages = 0;
	res->flags |= res->end == s->tail ? SLUICE_R_UP_TO_DATE : 0;
}

/* A step of the snapshot that bears the number, wherever it is. */
static void read_snapshot_step(const fake *f, const struct sluice_read *rd, struct sluice_read_result *res)
{
	const struct fake_stream *s = f->streams;
	size_t n = (size_t)(rd->until - rd->from) < f->step ? (size_t)(rd->until - rd->from) : f->step;

	while (s && s->snapshot.id != rd->incarnation)
		s = s->next;
	res->status = s ? SLUICE_OK : SLUICE_EGONE;
	if (s)
		res->data = (slice){.data = s->snapshot.data.data + rd->from, .len = n};
	res->next = rd->from + n;
	res->end = rd->until;
}

static void read_snapshot(const fake *f, const struct fake_stream *s, struct sluice_req *r, struct sluice_read_result *res)
{
	if (r->rd.flags & SLUICE_RD_CONTINUE) {
		read_snapshot_step(f, &r->rd, res);
		return;
	}
	if (res->status != SLUICE_OK)
		return;
	read_snapshot_facts(s, res);
	res->from = res->end = res->next = s->earliest;
	if (r->rd.budget)
		read_rest(s, &r->rd, res);
	else if (s->earliest == s->tail)
		res->flags |= SLUICE_R_UP_TO_DATE;
	res->next = res->from;
	res->skip = res->skip_from;
}

void read_run(struct sluice_req *r)
{
	struct sluice_read_result res = {.size = sizeof res, .message = ""};
	struct fake_step step = {{0}, NULL, NULL, 0, 0, 0, 0};
	struct fake_stream *s = fake_stream(r->f, r->name);
	sluice_read_fn *fn = r->fn.read;
	void *arg = r->arg;
	fake *f = r->f;

	read_facts(f, s, &res);
	if (f->read_status) {
		res.status = f->read_status;
	} else if (r->rd.flags & SLUICE_RD_SNAPSHOT) {
		read_snapshot(f, s, r, &res);
		req_free(r);
		fn(arg, &res);
		return;
	} else if (r->rd.flags & SLUICE_RD_CONTINUE) {
		if (!s || s->incarnation != r->rd.incarnation)
			res.status = SLUICE_EGONE;
		res.from = r->rd.from;
		res.end = r->rd.until;
		if (res.status == SLUICE_OK)
			step_run(f, s, r->rd.from, r->rd.skip, r->rd.until, &step);
	} else if (res.status == SLUICE_OK) {
		if ((r->rd.flags & SLUICE_RD_POS) && r->rd.from > res.tail_pos)
			res.status = SLUICE_ETOOBIG;
		else if ((r->rd.flags & SLUICE_RD_POS) && r->rd.from < res.earliest_pos)
			res.reason = (res.status = SLUICE_EGONE) ? SLUICE_WHY_TRIMMED : 0;
		if (res.status == SLUICE_OK && (r->rd.flags & SLUICE_RD_POS))
			read_place(s, &r->rd, &res);
		if (res.status == SLUICE_OK)
			read_plan(s, &r->rd, &res);
		if (res.reason == SLUICE_WHY_TRIMMED)
			read_snapshot_facts(s, &res);
		if (res.status == SLUICE_OK) {
			step_run(f, s, res.from, r->rd.flags & SLUICE_RD_POS ? r->rd.skip : 0, res.end, &step);
			res.flags |= res.end == s->tail ? SLUICE_R_UP_TO_DATE : 0;
		}
	}
	res.data = (slice){.data = step.data.data, .len = step.data.len};
	res.next = step.next;
	res.skip = step.skip;
	res.message_end = step.message_end;
	res.n_message_end = step.n_message_end;
	res.record = step.record;
	res.n_record = step.n_record;
	req_free(r);
	fn(arg, &res);
	free(step.data.data);
	free(step.message_end);
	free(step.record);
}

/* ---- listing ---- */

int store_list(fake *f, slice prefix, slice after, uint32_t limit, sluice_list_fn *fn, void *arg,
               struct sluice_req **out)
{
	struct sluice_req *r;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	r = req_new(f, REQ_LIST, arg, out);
	r->fn.list = fn;
	r->prefix = fake_dup(prefix.data, prefix.len);
	r->after = fake_dup(after.data, after.len);
	r->limit = limit;
	return 0;
}

int store_list_items(fake *f, slice prefix, slice after, uint32_t limit, sluice_list_items_fn *fn, void *arg,
                     struct sluice_req **out)
{
	struct sluice_req *r;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	r = req_new(f, REQ_ITEMS, arg, out);
	r->fn.items = fn;
	r->prefix = fake_dup(prefix.data, prefix.len);
	r->after = fake_dup(after.data, after.len);
	r->limit = limit;
	return 0;
}

static const struct fake_stream *list_next(const fake *f, const char *prefix, const char *after)
{
	const struct fake_stream *best = NULL;

	for (const struct fake_stream *s = f->streams; s; s = s->next)
		if (!s->soft && strncmp(s->name, prefix, strlen(prefix)) == 0 && strcmp(s->name, after) > 0 &&
		    (!best || strcmp(s->name, best->name) < 0))
			best = s;
	return best;
}

void list_run(struct sluice_req *r)
{
	struct sluice_list_entry *entry = fake_calloc(r->limit, sizeof *entry);
	struct sluice_list_item *item = fake_calloc(r->limit, sizeof *item);
	bool items = r->kind == REQ_ITEMS;
	sluice_list_items_fn *items_fn = items ? r->fn.items : NULL;
	sluice_list_fn *fn = items ? NULL : r->fn.list;
	const struct fake_stream *s = list_next(r->f, r->prefix, r->after);
	void *arg = r->arg;
	int status = r->f->read_status;
	size_t n = 0;

	assert(entry);
	for (; s && n < r->limit; s = list_next(r->f, r->prefix, s->name)) {
		item[n] = (struct sluice_list_item){.size = sizeof *item,
		                                    .tail_pos = stream_position(s, s->tail),
		                                    .earliest_pos = stream_position(s, s->earliest),
		                                    .written_ms = s->created_ms};
		entry[n] = (struct sluice_list_entry){.stream = slice_of(s->name),
		                                        .content_type = slice_of(s->type),
		                                        .tail = s->tail,
		                                        .earliest = s->earliest,
		                                        .created_ms = s->created_ms,
		                                        .incarnation = s->incarnation,
		                                        .flags = s->flags};
		item[n].entry = entry[n];
		n++;
	}
	req_free(r);
	if (items)
		items_fn(arg, status, item, status ? 0 : n, s != NULL);
	else
		fn(arg, status, entry, status ? 0 : n, s != NULL);
	free(entry);
	free(item);
}
