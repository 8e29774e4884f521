/*
 * body.c - bodies of creates and appends. Plugin streams, worker process.
 *
 * A JSON body is edited in place: its messages move together, and the payload goes on to the writer without another copy.
 */
#include "streams.h"

void body_take(struct call *c)
{
	const struct sluice_host *host = c->p->host;

	c->w.payload = c->p->http->payload(c->http);
	if (c->w.payload && host->payload_len(c->w.payload) == 0) {
		host->payload_free(c->w.payload);
		c->w.payload = NULL;
	}
}

static void body_refuse(struct call *c, const char *why)
{
	c->w.bad = why;
	c->w.op.flags |= SLUICE_A_REFUSE;
	c->p->host->payload_free(c->w.payload);
	c->w.payload = NULL;
	/* Stands for the body, so that the operation has the shape of one with data. */
	c->w.op.data = STR("0");
	c->w.op.n_messages = 1;
}

static bool body_json(struct call *c)
{
	struct streams *p = c->p;
	struct sluice_op *op = &c->w.op;
	const char *why = "";
	void *text = NULL;
	size_t n = 0, used = 0;

	if (p->host->payload_map(c->w.payload, &text, &n) < 0) {
		answer_error(c, NULL, 503, "the body cannot be read");
		return false;
	}
	switch (json_scan(text, n, &p->lens, &used, &why)) {
	case JSON_TOO_MANY:
		answer_error(c, NULL, 413, "more than 1048576 messages in one request");
		return false;
	case JSON_NO_MEMORY:
		answer_error(c, NULL, 503, "out of memory");
		return false;
	case JSON_BAD:
		body_refuse(c, why);
		return true;
	case JSON_OK:
		break;
	}
	if (p->lens.n == 0 && op->kind == SLUICE_OP_APPEND) {
		body_refuse(c, "an empty array has nothing to append");
		return true;
	}
	if (p->lens.n == 0) {
		p->host->payload_free(c->w.payload);
		c->w.payload = NULL;
		return true;
	}
	p->host->payload_truncate(c->w.payload, used);
	op->payload = c->w.payload;
	op->n_messages = (uint32_t)p->lens.n;
	op->message_len = p->lens.n > 1 ? p->lens.len : NULL;
	return true;
}

bool body_split(struct call *c, bool json)
{
	if (!c->w.payload)
		return true;
	if (json)
		return body_json(c);
	c->w.op.payload = c->w.payload;
	c->w.op.n_messages = 1;
	return true;
}
