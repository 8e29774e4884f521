/*
 * compact.c - replacing the beginning of a log by one patch that stands for it (H.4). Plugin sds, worker process.
 *
 * The patch becomes the snapshot of the log's stream at the end of the last record it stands for, which takes those before out of reach
 * in the same step. What it replaces stays in a fork that expires, made in the same list: a wrong patch would destroy the document.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

static void compact_trouble(struct call *c, int status, const char *text)
{
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;

	call_free(c);
	if (text)
		answer_error(s, http, status, text);
	else
		answer_trouble(s, http, status);
}

static void compact_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct sds *s = c->s;
	struct sluice_http_req *http = c->http;
	const struct sluice_result *bad = r;

	c->req = NULL;
	for (size_t i = 0; i < n; i++)
		if (r[i].status && r[i].status != SLUICE_ECANCELED)
			bad = &r[i];
	if (bad->status == SLUICE_EGONE || bad->status == SLUICE_ECONFLICT || bad->status == SLUICE_EEXIST) {
		compact_trouble(c, 409, "the log was compacted by somebody else");
	} else if (bad->status) {
		compact_trouble(c, bad->status, NULL);
	} else {
		++*s->count.compactions;
		call_free(c);
		http_reply(s, http, 204, NULL, 0, SLICE(NULL, 0));
	}
}

/* What is replaced, for a while: `__sds/` + store + `/h/` + when. */
static struct sluice_op compact_keep(struct call *c, char name[BELOW_MAX])
{
	char when[24];
	int n = snprintf(when, sizeof when, "%013llx", (unsigned long long)sds_wall(c->s));
	size_t len = below_store(SLICE(c->id, c->n_id), "/h/", SLICE(when, n > 0 ? (size_t)n : 0), name);

	return (struct sluice_op){.size = sizeof(struct sluice_op),
	                          .kind = SLUICE_OP_CREATE,
	                          .flags = SLUICE_A_FORK | SLUICE_A_INHERIT | SLUICE_A_EXPIRES,
	                          .stream = SLICE(name, len),
	                          .fork_of = SLICE(c->stream, c->n_stream),
	                          .expires_ms = sds_wall(c->s) + c->s->keep_ms};
}

static void compact_submit(struct call *c)
{
	struct sds *s = c->s;
	char name[BELOW_MAX];
	struct sluice_op op[2] = {0};
	size_t n = 0;
	int rc;

	if (s->keep_ms > 0)
		op[n++] = compact_keep(c, name);
	op[n++] = (struct sluice_op){.size = sizeof *op,
	                             .kind = SLUICE_OP_SNAPSHOT,
	                             .flags = SLUICE_A_REPLACE,
	                             .stream = SLICE(c->stream, c->n_stream),
	                             .content_type = STR("application/octet-stream"),
	                             .trim_to = c->cursor.at,
	                             .payload = c->payload};
	rc = s->store->submit(s->ctx, op, n, compact_done, c, &c->req);
	if (rc == 0) {
		c->payload = NULL;
		return;
	}
	c->req = NULL;
	compact_trouble(c, rc, NULL);
}

/* The records that are to be replaced are counted, nothing more. */
static int compact_record(void *arg, uint64_t start, uint64_t end, slice payload)
{
	struct call *c = arg;

	(void)start;
	(void)end;
	(void)payload;
	return c->cursor.seq == c->since ? SLUICE_EAGAIN : 0;
}

static void compact_rest(void *arg, int status)
{
	struct call *c = arg;

	if (status)
		compact_trouble(c, status, NULL);
	else if (c->cursor.seq >= c->since)
		compact_submit(c);
	else
		cursor_run(&c->cursor, SLICE(c->stream, c->n_stream));
}

static void compact_facts(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	uint64_t head = seq_of(r->tail, r->tail_pos), first = seq_of(r->earliest, r->earliest_pos);

	c->req = NULL;
	if (r->status && r->status != SLUICE_ENOENT) {
		compact_trouble(c, r->status, NULL);
		return;
	}
	if (r->status || c->since > head || c->since < first || (c->since == first && !(r->flags & SLUICE_R_SNAPSHOT))) {
		compact_trouble(c, 409, "upto is above the head of the log or below its oldest row");
		return;
	}
	c->cursor.at = r->earliest;
	c->cursor.seq = first;
	c->cursor.until = r->tail;
	compact_rest(c, 0);
}

static bool compact_upto(const struct sds *s, struct sluice_http_req *http, uint64_t *upto)
{
	slice text = s->http->query(http, "upto", 0);
	const char *p = text.data;

	*upto = 0;
	for (size_t i = 0; i < text.len; i++) {
		if (p[i] < '0' || p[i] > '9' || i > 15)
			return false;
		*upto = *upto * 10 + (uint64_t)(p[i] - '0');
	}
	return *upto > 0;
}

static void compact_begin(struct call *c)
{
	struct sds *s = c->s;
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_SNAPSHOT};
	int rc;

	c->payload = s->http->payload(c->http);
	if (!c->payload || s->host->payload_len(c->payload) == 0) {
		compact_trouble(c, 400, "the body is empty");
		return;
	}
	cursor_init(&c->cursor, s, NULL, c);
	c->cursor.record = compact_record;
	c->cursor.rest = compact_rest;
	c->n_stream = id_stream(SLICE(c->id, c->n_id), c->stream);
	q.stream = SLICE(c->stream, c->n_stream);
	rc = s->store->read(s->ctx, &q, compact_facts, c, &c->req);
	if (rc) {
		c->req = NULL;
		compact_trouble(c, rc, NULL);
	}
}

void compact_request(void *self, struct sluice_http_req *http)
{
	struct sds *s = self;
	slice part[2];
	char id[ID_MAX];
	size_t n, n_id;
	uint64_t upto;
	struct call *c;

	if (!s->storage || !path_split(s->http->target(http), "/api/log/", part, 2, &n) || n != 2 ||
	    !slice_is(part[1], "compact") || !id_decode(part[0], id, &n_id)) {
		answer_error(s, http, 404, "not found");
		return;
	}
	if (!http_admit(s, http, SLICE(id, n_id), SCOPE_ADMIN))
		return;
	if (!compact_upto(s, http, &upto)) {
		answer_error(s, http, 400, "upto is the number of a row");
		return;
	}
	c = call_new(s, http, CALL_COMPACT);
	if (!c)
		return;
	c->since = upto;
	memcpy(c->id, id, n_id);
	c->n_id = n_id;
	compact_begin(c);
}
