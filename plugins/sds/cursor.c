/*
 * cursor.c - reads the log of a store record by record. Plugin sds, worker process.
 *
 * The host hands out at most a step at a time, and a record may be longer than that; then its beginning is kept until its end is
 * there. What the receiver has no room for is read again later: nothing is held for it. In the place of records that a compaction has
 * replaced comes what replaced them; what retention has taken away is passed over.
 */
#include <assert.h>
#include <stdlib.h>

#include "sds.h"

void cursor_init(struct cursor *c, struct sds *s, struct room *room, void *arg)
{
	*c = (struct cursor){.magic = CURSOR_MAGIC, .s = s, .room = room, .arg = arg};
}

static void part_drop(struct cursor *c)
{
	free(c->part);
	c->part = NULL;
	c->n_part = c->cap_part = 0;
}

void cursor_stop(struct cursor *c)
{
	if (c->req)
		c->s->store->cancel(c->req);
	c->req = NULL;
	part_drop(c);
}

void cursor_fini(struct cursor *c)
{
	if (c->magic == CURSOR_MAGIC)
		cursor_stop(c);
	c->magic = 0;
}

static void cursor_rest(struct cursor *c, int status)
{
	part_drop(c);
	c->rest(c->arg, status);
}

/* Room is made in doublings, from what has arrived, never from what was announced. */
static int part_add(struct cursor *c, const uint8_t *p, size_t n)
{
	size_t cap = c->cap_part ? c->cap_part : 4096;
	uint8_t *grown;

	if (n == 0)
		return 0;
	while (cap - c->n_part < n)
		cap *= 2;
	grown = cap == c->cap_part ? c->part : realloc(c->part, cap);
	if (!grown)
		return SLUICE_ENOMEM;
	c->part = grown;
	c->cap_part = cap;
	memcpy(c->part + c->n_part, p, n);
	c->n_part += n;
	return 0;
}

/* One record: its beginning may be kept already. */
static int cursor_record(struct cursor *c, const uint8_t *p, size_t n, uint64_t end)
{
	slice payload = SLICE(p, n);
	int rc = 0;

	if (c->n_part > 0) {
		rc = part_add(c, p, n);
		payload = SLICE(c->part, c->n_part);
	}
	if (rc == 0)
		rc = c->record(c->arg, c->at, end, payload);
	if (rc == 0) {
		c->at = end;
		c->seq++;
		part_drop(c);
	}
	return rc;
}

/* 0: go on with what is left; 1: until is reached; otherwise a status. */
static int cursor_step(struct cursor *c, const struct sluice_read_result *r)
{
	const uint8_t *p = r->data.data;
	uint32_t at = 0;
	int rc;

	for (size_t i = 0; i < r->n_record; i++) {
		if (r->record[i].end > c->until)
			return 1;
		rc = cursor_record(c, p + at, r->record[i].data_end - at, r->record[i].end);
		if (rc)
			return rc;
		at = r->record[i].data_end;
	}
	if (c->at >= c->until)
		return 1;
	return part_add(c, p + at, r->data.len - at);
}

static void cursor_read(void *arg, const struct sluice_read_result *r);

static void cursor_ask(struct cursor *c)
{
	int rc = c->s->store->read(c->s->ctx, &c->next, cursor_read, c, &c->req);

	if (rc) {
		c->req = NULL;
		cursor_rest(c, rc);
	}
}

static void cursor_anew(struct cursor *c)
{
	part_drop(c);
	c->jump = 0;
	c->next = (struct sluice_read){
		.size = sizeof c->next, .stream = c->next.stream, .from = c->at, .budget = READ_BUDGET};
}

/* What was to be read is gone, but not the stream: what stands for it is read, or it goes on behind. A later step only says that something
 * is gone; asking anew tells what. */
static bool cursor_passes(struct cursor *c, const struct sluice_read_result *r, bool *wait)
{
	if (c->next.flags & SLUICE_RD_CONTINUE) {
		cursor_anew(c);
		return true;
	}
	if (r->reason != SLUICE_WHY_TRIMMED || r->earliest <= c->at)
		return false;
	c->jump_seq = seq_of(r->earliest, r->earliest_pos);
	*wait = false;
	if ((r->flags & SLUICE_R_SNAPSHOT) && r->snapshot == r->earliest && r->snapshot_len > 0) {
		*wait = r->snapshot_len > READ_BUDGET && c->large && !c->large(c->arg);
		part_drop(c);
		c->jump = r->earliest;
		c->next = (struct sluice_read){.size = sizeof c->next,
		                               .flags = SLUICE_RD_SNAPSHOT | SLUICE_RD_CONTINUE,
		                               .stream = c->next.stream,
		                               .until = r->snapshot_len,
		                               .incarnation = r->snapshot_id};
		return true;
	}
	c->at = r->earliest;
	c->seq = c->jump_seq;
	cursor_anew(c);
	return true;
}

/* A step of a snapshot. True: it was the last one, and *rc is what became of the record. */
static bool cursor_jumps(struct cursor *c, const struct sluice_read_result *r, int *rc)
{
	*rc = r->data.len ? part_add(c, r->data.data, r->data.len) : SLUICE_EINTERNAL;
	if (*rc == 0 && r->next < c->next.until) {
		c->next.from = r->next;
		return false;
	}
	if (*rc == 0) {
		c->seq = c->jump_seq - 1;
		*rc = cursor_record(c, NULL, 0, c->jump);
	}
	return true;
}

/* The answer has more steps. */
static void cursor_continue(struct cursor *c, const struct sluice_read_result *r)
{
	c->next.flags = SLUICE_RD_CONTINUE;
	c->next.from = r->next;
	c->next.skip = r->skip;
	c->next.until = r->end;
	c->next.incarnation = r->incarnation;
	c->next.budget = r->end - r->next;
}

static void cursor_read(void *arg, const struct sluice_read_result *r)
{
	struct cursor *c = arg;
	uint64_t at = c->at;
	bool wait = false;
	int rc = r->status;

	assert(c->magic == CURSOR_MAGIC);
	c->req = NULL;
	if (rc == SLUICE_EGONE && cursor_passes(c, r, &wait)) {
		if (!wait)
			cursor_ask(c);
		else
			cursor_rest(c, 0);
		return;
	}
	/* One that is longer than the budget comes alone. */
	if (rc == 0 && !(c->next.flags & SLUICE_RD_CONTINUE) && r->payload_bytes > READ_BUDGET && c->large && !c->large(c->arg)) {
		cursor_rest(c, 0);
		return;
	}
	if (rc == 0 && c->jump) {
		if (!cursor_jumps(c, r, &rc)) {
			cursor_ask(c);
			return;
		}
		c->jump = 0;
		cursor_rest(c, rc == SLUICE_EAGAIN ? 0 : rc);
		return;
	}
	rc = rc ? rc : cursor_step(c, r);
	if (rc == 0 && (r->next < r->end || r->skip > 0)) {
		cursor_continue(c, r);
		cursor_ask(c);
		return;
	}
	/* A tail that is not there would be asked for again and again. */
	if (rc == 0 && c->at < c->until && c->at == at)
		rc = SLUICE_EINTERNAL;
	cursor_rest(c, rc == 1 || rc == SLUICE_EAGAIN ? 0 : rc);
}

void cursor_run(struct cursor *c, slice stream)
{
	if (c->req || c->at >= c->until)
		return;
	c->next.stream = stream;
	cursor_anew(c);
	cursor_ask(c);
}
