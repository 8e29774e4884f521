/*
 * create.c - PUT: creating a stream or a fork (protocol sections 6 and 15). Plugin streams, worker process.
 *
 * A fork that names no content type inherits its source's. When it also has a body, the source is looked at first, because only then is
 * it known whether the body is JSON.
 */
#include "streams.h"

#include <stdlib.h>

static void create_answer(struct call *c, slice type)
{
	struct streams *p = c->p;
	bool created = c->w.result & SLUICE_R_CREATED;
	struct bytes *location = &p->scratch;
	slice part;
	struct answer a;

	answer_init(&a);
	if (type.data)
		PUT(&a, "content-type", type);
	answer_tail(c, &a, c->w.tail);
	answer_extensions(c, &a);
	if (c->w.result & SLUICE_R_CLOSED)
		answer_closed(&a);
	if (created)
		++*p->count.creates;
	if (created || !p->dialect->origin) {
		bytes_reset(location);
		part = p->dialect->origin ? p->http->origin(c->http) : STR("");
		bytes_add(location, part.data, part.len);
		part = p->http->target(c->http);
		bytes_add(location, part.data, part.len);
		if (!location->failed)
			PUT(&a, "location", bytes_slice(location));
	}
	answer_send(c, &a, created ? 201 : 200, STR(""));
}

/* The type of the stream that a request met, or that a fork inherited: as it was given at creation, parameters and all. */
static void create_typed(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	create_answer(c, r->status == SLUICE_OK ? r->content_type : c->w.op.content_type);
}

void create_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW};

	(void)n;
	c->store = NULL;
	if (r->status != SLUICE_OK) {
		write_refused(c, r);
		return;
	}
	c->w.tail = (struct spot){.offset = r->tail, .pos = r->tail_pos};
	c->w.result = r->flags;
	facts.stream = call_name(c);
	if (((r->flags & SLUICE_R_CREATED) && c->w.op.content_type.data) ||
	    c->p->store->read(c->p->ctx, &facts, create_typed, c, &c->store) < 0)
		create_answer(c, c->w.op.content_type);
}

static void create_submit(struct call *c)
{
	if (body_split(c, c->w.op.content_type.data && media_kind(c->w.op.content_type) == MEDIA_JSON))
		write_submit(c);
}

static void create_source(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct sluice_op *op = &c->w.op;

	c->store = NULL;
	if (r->status == SLUICE_OK) {
		c->w.own_type = malloc(r->content_type.len + 1);
		if (!c->w.own_type) {
			answer_trouble(c, SLUICE_ENOMEM, NULL);
			return;
		}
		memcpy(c->w.own_type, r->content_type.data, r->content_type.len);
		op->content_type = SLICE(c->w.own_type, r->content_type.len);
		create_submit(c);
	} else if (r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE) {
		/* Either the fork exists already, and its body does not matter, or the writer refuses it for its source. */
		c->w.bad = "the fork's source is not there";
		op->flags |= SLUICE_A_INHERIT | SLUICE_A_REFUSE;
		c->p->host->payload_free(c->w.payload);
		c->w.payload = NULL;
		write_submit(c);
	} else {
		answer_trouble(c, r->status, r->message);
	}
}

static void create_inherit(struct call *c)
{
	struct streams *p = c->p;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW, .stream = c->w.op.fork_of};
	int err;

	if (!c->w.payload) {
		c->w.op.flags |= SLUICE_A_INHERIT;
		write_submit(c);
		return;
	}
	err = p->store->read(p->ctx, &facts, create_source, c, &c->store);
	if (err < 0)
		answer_trouble(c, err, NULL);
}

/* Whoever may not read the source may not read it through a fork either. */
static bool create_may_fork(struct call *c)
{
	struct streams *p = c->p;

	return !(c->w.op.flags & SLUICE_A_FORK) ||
	       p->host->authorize(p->ctx, p->http->principal(c->http), "read", c->w.op.fork_of) == 0;
}

static void create_refuse(struct call *c, const char *why)
{
	if (why == headers_no_memory)
		answer_trouble(c, SLUICE_ENOMEM, NULL);
	else
		answer_error(c, NULL, 400, why);
}

void create_request(void *self, struct sluice_http_req *http)
{
	struct call *c = call_new(self, http, CALL_WRITE);

	if (c)
		create_begin(c);
}

void create_begin(struct call *c)
{
	const char *why;
	bool closed = false;
	slice type = {0};

	c->w.op.kind = SLUICE_OP_CREATE;
	c->w.op.stream = call_name(c);
	body_take(c);
	why = headers_create(c);
	if (!why)
		why = headers_closed(c, &closed);
	if (!why)
		why = headers_type(c, &type);
	if (why) {
		create_refuse(c, why);
		return;
	}
	if (!headers_identity(c)) {
		answer_error(c, NULL, 415, "bodies with a content coding are not taken");
		return;
	}
	if (!create_may_fork(c)) {
		answer_error(c, NULL, 403, "the fork's source may not be read");
		return;
	}
	if (closed)
		c->w.op.flags |= SLUICE_A_CLOSE;
	if (type.data && media_valid(type))
		c->w.op.content_type = type;
	else if (!(c->w.op.flags & SLUICE_A_FORK))
		c->w.op.content_type = STR("application/octet-stream");
	if (c->w.op.content_type.data)
		create_submit(c);
	else
		create_inherit(c);
}
