/*
 * head.c - HEAD: facts of a stream; renews nothing (protocol section 10). Plugin streams, worker process.
 */
#include "streams.h"

/* The tag that GET would send; it depends on where that one stops, which is known when all fits one answer. */
static void head_etag(struct call *c, struct answer *a, const struct sluice_read_result *r)
{
	struct sluice_read_result all = *r;
	char tag[ETAG_MAX];

	if (r->tail - r->earliest > c->p->read_chunk)
		return;
	all.from = r->earliest;
	all.end = r->tail;
	answer_copy(a, STR("etag"), SLICE(tag, etag_format(tag, &all, r->flags & SLUICE_R_CLOSED, "")));
}

static void head_done(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	char expires[TIME_LEN];
	struct answer a;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		answer_unreadable(c, r);
		return;
	}
	answer_init(&a);
	PUT(&a, "content-type", r->content_type);
	answer_tail(c, &a, (struct spot){.offset = r->tail, .pos = r->tail_pos});
	answer_earliest(c, &a, r->earliest_pos);
	if (c->p->dialect->snapshots && (r->flags & SLUICE_R_SNAPSHOT))
		answer_offset(c, &a, STR("stream-snapshot-offset"), (struct spot){.pos = r->snapshot_pos});
	answer_extensions(c, &a);
	if (r->flags & SLUICE_R_TTL)
		answer_u64(&a, STR("stream-ttl"), r->ttl_s);
	if (r->flags & SLUICE_R_EXPIRES) {
		time_format(r->expires_ms, expires);
		answer_copy(&a, STR("stream-expires-at"), SLICE(expires, TIME_LEN));
	}
	if (r->flags & SLUICE_R_CLOSED)
		answer_closed(&a);
	head_etag(c, &a, r);
	answer_no_store(&a);
	if (c->p->http->respond(c->http, 200, a.header, a.n, -1) < 0)
		call_cut(c);
	else
		call_end(c);
}

void head_begin(struct call *c)
{
	/* NOW lies within what is kept, whatever retention has dropped. */
	read_start(c, SLUICE_OFFSET_NOW, 0, c->p->dialect->snapshots ? SLUICE_RD_SNAPSHOT : 0, head_done);
}

void head_request(void *self, struct sluice_http_req *http)
{
	struct call *c = call_new(self, http, CALL_HEAD);

	if (c)
		head_begin(c);
}
