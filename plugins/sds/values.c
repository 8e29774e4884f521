/*
 * values.c - values of a store, by name, with a count of references (E, G.1). Plugin sds, worker process.
 *
 * A value is a stream below its store's name: the content is its only record, and what is known about it (references, whether it came by
 * socket, whether its name is its SHA-256) is the type of a snapshot at its beginning. So a value is made, counted and removed by lists
 * of operations that expect the snapshot they have read: what another worker did meanwhile shows as a conflict, and is looked at anew.
 *
 * A request that is repeated under one id leaves a stream that lives ten minutes, in the same list; a second one of that name is refused,
 * and the list with it.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

enum { TRIES_MAX = 32, TYPE_MAX = 96, OPS = 3 };

/* Behind *at, escaped like the id of a store: no part of a name becomes a path. */
void part_escape(slice part, char *out, size_t *at)
{
	const char *p = part.data;
	bool dots = slice_is(part, ".") || slice_is(part, "..");

	for (size_t i = 0; i < part.len; i++) {
		if (p[i] != '%' && p[i] != '/' && !dots) {
			out[(*at)++] = p[i];
			continue;
		}
		out[(*at)++] = '%';
		out[(*at)++] = "0123456789ABCDEF"[(uint8_t)p[i] >> 4];
		out[(*at)++] = "0123456789ABCDEF"[(uint8_t)p[i] & 15];
	}
}

size_t below_store(slice id, const char *kind, slice part, char out[BELOW_MAX])
{
	size_t n = id_stream(id, out), len = strlen(kind);

	memcpy(out + n, kind, len);
	n += len;
	part_escape(part, out, &n);
	return n;
}

/* ---- what is known about one ---- */

static void facts_parse(slice type, struct value_facts *f)
{
	char text[TYPE_MAX];
	long long refs = 0;
	int wire = 0, good = 0;
	size_t n = type.len < sizeof text - 1 ? type.len : sizeof text - 1;

	if (n)
		memcpy(text, type.data, n);
	text[n] = '\0';
	if (sscanf(text, "application/x-sds-value; refs=%lld; wire=%d; good=%d", &refs, &wire, &good) < 3)
		refs = wire = good = 0;
	*f = (struct value_facts){.refs = refs, .wire = wire != 0, .good = good != 0};
}

static slice facts_type(const struct value_facts *f, char text[TYPE_MAX])
{
	int n = snprintf(text, TYPE_MAX, "application/x-sds-value; refs=%lld; wire=%d; good=%d", (long long)f->refs, f->wire,
	                 f->good);

	return SLICE(text, n > 0 ? (size_t)n : 0);
}

void value_read_facts(const struct sluice_read_result *r, struct value_facts *f)
{
	facts_parse(r->flags & SLUICE_R_SNAPSHOT ? r->snapshot_type : STR(""), f);
}

/* ---- one change ---- */

static void change_free(struct change *c)
{
	TAILQ_REMOVE(&c->s->changes, c, link);
	c->s->host->payload_free(c->payload);
	free(c->data);
	free(c);
}

static void change_done(struct change *c, int status)
{
	void (*done)(void *, int, const struct value_facts *) = c->done;
	struct value_facts facts = c->facts;
	void *arg = c->arg;

	change_free(c);
	if (done)
		done(arg, status, &facts);
}

void change_forget(struct change *c)
{
	c->done = NULL; /* the act goes on */
}

void changes_drop(struct sds *s)
{
	struct change *c;

	while ((c = TAILQ_FIRST(&s->changes))) {
		if (c->req)
			s->store->cancel(c->req);
		change_free(c);
	}
}

struct change *change_new(struct sds *s, enum change_kind kind, slice id, slice name)
{
	struct change *c = calloc(1, sizeof *c);

	if (!c)
		return NULL;
	c->s = s;
	c->kind = kind;
	c->n_stream = below_store(id, "/v/", name, c->stream);
	TAILQ_INSERT_TAIL(&s->changes, c, link);
	return c;
}

void change_once(struct change *c, slice id, slice request)
{
	c->n_request = below_store(id, "/q/", request, c->request);
}

/* What follows from what is there. False: nothing is to do. */
static bool change_decide(struct change *c, bool *removes)
{
	struct value_facts *f = &c->facts;

	*removes = false;
	switch (c->kind) {
	case CHANGE_SAVE:
		f->refs++;
		f->good = c->there ? f->good : c->good;
		return true;
	case CHANGE_WIRE:
		if (c->there && f->wire)
			return false;
		f->wire = true;
		f->good = c->there ? f->good : c->good;
		return true;
	default:
		if (!c->there || (f->refs <= 0 && f->wire))
			return false;
		f->refs = f->refs > 0 ? f->refs - 1 : 0;
		*removes = f->refs == 0 && !f->wire;
		return true;
	}
}

static void change_done_ops(void *arg, const struct sluice_result *r, size_t n);

static struct sluice_op op_of(uint32_t kind, const char *stream, size_t n)
{
	return (struct sluice_op){.size = sizeof(struct sluice_op), .kind = kind, .stream = SLICE(stream, n)};
}

/* The marker of a request: another type than any before, so that a second one is refused. */
static struct sluice_op op_once(const struct change *c, char type[TYPE_MAX])
{
	struct sluice_op op = op_of(SLUICE_OP_CREATE, c->request, c->n_request);
	int n = snprintf(type, TYPE_MAX, "application/x-sds-%016llx", (unsigned long long)sds_random());

	op.flags = SLUICE_A_EXPIRES;
	op.expires_ms = sds_wall(c->s) + ONCE_MS;
	op.content_type = SLICE(type, n > 0 ? (size_t)n : 0);
	return op;
}

static struct sluice_op op_content(struct change *c)
{
	struct sluice_op op = op_of(SLUICE_OP_CREATE, c->stream, c->n_stream);

	op.content_type = STR("application/octet-stream");
	op.n_messages = c->payload || c->len ? 1 : 0;
	op.payload = c->payload;
	if (c->len)
		op.data = SLICE(c->data, c->len);
	return op;
}

static struct sluice_op op_facts(struct change *c, char type[TYPE_MAX])
{
	struct sluice_op op = op_of(SLUICE_OP_SNAPSHOT, c->stream, c->n_stream);

	op.flags = SLUICE_A_EXPECT_SNAPSHOT | SLUICE_A_REPLACE;
	op.content_type = facts_type(&c->facts, type);
	op.data = STR("-");
	op.expect_snapshot = c->there ? SLICE(c->digest, c->n_digest) : STR("");
	return op;
}

static void change_submit(struct change *c)
{
	char once[TYPE_MAX], type[TYPE_MAX];
	struct sluice_op op[OPS + 1];
	bool removes;
	size_t n = 0;
	int rc;

	if (!change_decide(c, &removes)) {
		change_done(c, 0);
		return;
	}
	if (!c->there && c->spent) { /* somebody has removed what was there, and the content went with an earlier try */
		change_done(c, SLUICE_EBUSY);
		return;
	}
	if (c->n_request)
		op[n++] = op_once(c, once);
	if (!c->there)
		op[n++] = op_content(c);
	op[n++] = op_facts(c, type);
	if (removes)
		op[n++] = op_of(SLUICE_OP_REMOVE, c->stream, c->n_stream);
	rc = c->s->store->submit(c->s->ctx, op, n, change_done_ops, c, &c->req);
	if (rc) {
		c->req = NULL;
		change_done(c, rc);
	} else if (!c->there && c->payload) {
		c->payload = NULL;
		c->spent = true;
	}
}

static void change_read(void *arg, const struct sluice_read_result *r)
{
	struct change *c = arg;

	c->req = NULL;
	c->there = r->status == SLUICE_OK;
	if (r->status && r->status != SLUICE_ENOENT) {
		change_done(c, r->status);
		return;
	}
	value_read_facts(r, &c->facts);
	c->n_digest = 0;
	if (c->there && (r->flags & SLUICE_R_SNAPSHOT) && r->snapshot_digest.len <= sizeof c->digest) {
		memcpy(c->digest, r->snapshot_digest.data, r->snapshot_digest.len);
		c->n_digest = r->snapshot_digest.len;
	}
	if (c->repeated)
		change_done(c, 0);
	else
		change_submit(c);
}

void change_run(struct change *c)
{
	const struct sluice_read q = {
		.size = sizeof q, .flags = SLUICE_RD_SNAPSHOT, .stream = SLICE(c->stream, c->n_stream)};
	int rc = c->s->store->read(c->s->ctx, &q, change_read, c, &c->req);

	if (rc) {
		c->req = NULL;
		change_done(c, rc);
	}
}

/* The operation of a list that was refused; the others were not looked at. */
static const struct sluice_result *refused(const struct sluice_result *r, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (r[i].status && r[i].status != SLUICE_ECANCELED)
			return &r[i];
	return r;
}

static void change_done_ops(void *arg, const struct sluice_result *r, size_t n)
{
	struct change *c = arg;
	const struct sluice_result *bad = refused(r, n);

	c->req = NULL;
	if (bad->status == SLUICE_OK) {
		change_done(c, 0);
	} else if (c->n_request && bad == r && bad->status == SLUICE_EEXIST) {
		c->repeated = true;
		change_run(c);
	} else if ((bad->status == SLUICE_ECONFLICT || bad->status == SLUICE_ENOENT) && ++c->tries < TRIES_MAX) {
		change_run(c);
	} else {
		change_done(c, bad->status == SLUICE_ECONFLICT ? SLUICE_EBUSY : bad->status);
	}
}
