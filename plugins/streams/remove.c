/*
 * remove.c - DELETE, and OPTIONS (protocol sections 2 and 10). Plugin streams, worker process.
 */
#include "streams.h"

void remove_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct answer a;

	(void)n;
	c->store = NULL;
	if (r->status != SLUICE_OK) {
		write_refused(c, r);
		return;
	}
	answer_init(&a);
	answer_send(c, &a, 204, STR(""));
}

void remove_request(void *self, struct sluice_http_req *http)
{
	struct call *c = call_new(self, http, CALL_WRITE);

	if (c)
		remove_begin(c);
}

void remove_begin(struct call *c)
{
	c->w.op.kind = SLUICE_OP_REMOVE;
	c->w.op.stream = call_name(c);
	write_submit(c);
}

/* A preflight needs no stream: what it asks about are the default headers. */
void options_request(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	struct answer a;

	answer_init(&a);
	PUT(&a, "access-control-max-age", STR("86400"));
	p->http->reply(http, 204, a.header, a.n, STR(""));
}
