/*
 * cursor.c - reads the log of a store record by record. Plugin sds, worker process.
 *
 * The host hands out at most a step at a time, and a record may be longer than that; then its beginning is kept until its end is
 * there. What the receiver has no room for is read again later: nothing is held for it. Records that a compaction or retention has
 * taken away are passed over.
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

static void cursor_ask(struct cursor *c, const struct sluice_read *q)
{
	int rc = c->s->store->read(c->s->ctx, q, cursor_read, c, &c->req);

	if (rc)
		cursor_rest(c, rc);
}

/* What was to be read is gone, but not the stream: it goes on behind that. A later step only says that something is gone; asking anew
 * tells what. */
static bool cursor_passes(struct cursor *c, const struct sluice_read_result *r)
{
	if (c->next.flags & SLUICE_RD_CONTINUE)
		return true;
	if (r->reason != SLUICE_WHY_TRIMMED || r->earliest <= c->at)
		return false;
	c->at = r->earliest;
	return true;
}

static void cursor_read(void *arg, const struct sluice_read_result *r)
{
	struct cursor *c = arg;
	struct sluice_read q = c->next;
	uint64_t at = c->at;
	int rc;

	assert(c->magic == CURSOR_MAGIC);
	c->req = NULL;
	if (r->status == SLUICE_EGONE && cursor_passes(c, r)) {
		part_drop(c);
		q = (struct sluice_read){
			.size = sizeof q, .stream = q.stream, .from = c->at, .budget = READ_BUDGET};
		c->next = q;
		cursor_ask(c, &q);
		return;
	}
	rc = r->status ? r->status : cursor_step(c, r);
	if (rc || (r->next >= r->end && r->skip == 0)) {
		/* A tail that is not there would be asked for again and again. */
		if (rc == 0 && c->at < c->until && c->at == at)
			rc = SLUICE_EINTERNAL;
		cursor_rest(c, rc == 1 || rc == SLUICE_EAGAIN ? 0 : rc);
		return;
	}
	q.flags = SLUICE_RD_CONTINUE;
	q.from = r->next;
	q.skip = r->skip;
	q.until = r->end;
	q.incarnation = r->incarnation;
	q.budget = r->end - r->next;
	c->next = q;
	cursor_ask(c, &q);
}

void cursor_run(struct cursor *c, slice stream)
{
	struct sluice_read q = {.size = sizeof q, .stream = stream, .from = c->at, .budget = READ_BUDGET};

	if (c->req || c->at >= c->until)
		return;
	c->next = q;
	cursor_ask(c, &q);
}
