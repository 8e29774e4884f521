/*
 * append.c - POST: appending and closing, idempotent producers (protocol sections 7, 8, 9). Plugin streams, worker process.
 */
#include "streams.h"

#include <stdlib.h>

void append_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	const struct sluice_op *op = &c->w.op;
	bool produced = op->flags & SLUICE_A_PRODUCER, duplicate = r->flags & SLUICE_R_DUPLICATE;
	struct answer a;

	(void)n;
	c->store = NULL;
	if (r->status != SLUICE_OK) {
		write_refused(c, r);
		return;
	}
	answer_init(&a);
	answer_tail(c, &a, (struct spot){.offset = r->tail, .pos = r->tail_pos});
	if (r->flags & SLUICE_R_CLOSED)
		answer_closed(&a);
	if (produced) {
		answer_u64(&a, STR("producer-epoch"), duplicate ? r->producer_epoch : op->producer_epoch);
		/* A duplicate is told the highest number that was accepted, not its own. */
		answer_u64(&a, STR("producer-seq"), duplicate ? r->producer_seq : op->producer_seq);
	}
	++*c->p->count.appends;
	if (!duplicate)
		*c->p->count.append_bytes += c->w.bytes;
	answer_send(c, &a, produced && !duplicate && op->kind == SLUICE_OP_APPEND ? 200 : 204, STR(""));
}

static void append_body(struct call *c, slice type)
{
	struct sluice_op *op = &c->w.op;

	op->content_type = type;
	c->w.bytes = c->p->host->payload_len(c->w.payload);
	if (body_split(c, media_kind(type) == MEDIA_JSON))
		write_submit(c);
}

/* The type was not named: it is the stream's, which decides how the body is taken. */
static void append_typed(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		answer_unreadable(c, r);
		return;
	}
	c->w.own_type = malloc(r->content_type.len + 1);
	if (!c->w.own_type) {
		answer_trouble(c, SLUICE_ENOMEM, NULL);
		return;
	}
	memcpy(c->w.own_type, r->content_type.data, r->content_type.len);
	append_body(c, SLICE(c->w.own_type, r->content_type.len));
}

static void append_look(struct call *c)
{
	struct streams *p = c->p;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW, .stream = call_name(c)};
	int err = p->store->read(p->ctx, &facts, append_typed, c, &c->store);

	if (err < 0)
		answer_trouble(c, err, NULL);
}

void append_request(void *self, struct sluice_http_req *http)
{
	struct call *c = call_new(self, http, CALL_WRITE);

	if (c)
		append_begin(c);
}

void append_begin(struct call *c)
{
	struct streams *p = c->p;
	slice type = {0}, stream_seq = {0};
	const char *why;
	bool closed = false;

	c->w.op.kind = SLUICE_OP_APPEND;
	c->w.op.stream = call_name(c);
	body_take(c);
	why = headers_producer(c, &c->w.op);
	if (!why)
		why = headers_closed(c, &closed);
	if (closed)
		c->w.op.flags |= SLUICE_A_CLOSE;
	if (!why && !c->w.payload && closed) {
		/* Content-Type and Stream-Seq do not matter to a close. */
		c->w.op.kind = SLUICE_OP_CLOSE;
		write_submit(c);
		return;
	}
	if (!why && !c->w.payload) {
		c->code = "empty_append";
		why = "the body is empty, and Stream-Closed is not true";
	}
	if (!why)
		why = headers_type(c, &type);
	if (!why && !type.data && !p->dialect->typeless)
		why = "Content-Type is missing";
	if (!why && !header_one(c, "stream-seq", &stream_seq))
		why = "Stream-Seq is given more than once";
	if (stream_seq.data) {
		c->w.op.stream_seq = stream_seq;
		c->w.op.flags |= SLUICE_A_STREAM_SEQ;
	}
	if (why)
		answer_error(c, NULL, 400, why);
	else if (!headers_identity(c))
		answer_error(c, NULL, 415, "bodies with a content coding are not taken");
	else if (type.data)
		append_body(c, type);
	else
		append_look(c);
}
