/*
 * write.c - what creates, appends and deletes share: submitting, waiting for room, refusals. Plugin streams, worker process.
 *
 * Authority lives in the writer. Its reasons decide which answer of the protocol's tables (sections 6, 7, 8, 18) is given.
 */
#include "streams.h"

static sluice_done_fn *write_done_of(const struct call *c)
{
	if (c->w.done)
		return c->w.done;
	switch (c->w.op.kind) {
	case SLUICE_OP_CREATE:
		return create_done;
	case SLUICE_OP_REMOVE:
		return remove_done;
	default:
		return append_done;
	}
}

/* The table of message lengths is the plugin's scratch until a request has to wait: then it becomes the call's own. */
static void write_keep_lens(struct call *c)
{
	if (!c->w.op.message_len || c->w.lens)
		return;
	c->w.lens = c->p->lens.len;
	memset(&c->p->lens, 0, sizeof c->p->lens);
}

void write_submit(struct call *c)
{
	struct streams *p = c->p;
	struct sluice_op list[2];
	char text[KEY_MAX];
	size_t n = 1;
	int err;

	c->w.op.size = sizeof c->w.op;
	list[0] = c->w.op;
	if (p->dialect->companion)
		n += p->dialect->companion(c, &list[1], text, sizeof text);
	/* Behind those who wait already, or what one client sent in order would not arrive in order. */
	if (!p->retrying && p->n_room > 0)
		err = SLUICE_EAGAIN;
	else
		err = p->store->submit(p->ctx, list, n, write_done_of(c), c, &c->store);
	if (err == 0) {
		c->w.payload = NULL;
		return;
	}
	if (err == SLUICE_EAGAIN) {
		write_keep_lens(c);
		if (call_retry(c, write_submit))
			return;
	}
	answer_trouble(c, err, NULL);
}

static void write_payload_refused(struct call *c)
{
	const char *why = c->w.bad ? c->w.bad : "";
	struct bytes *out = &c->p->scratch;

	bytes_reset(out);
	c->code = "invalid_json";
	BYTES_LIT(out, "the body is not what a JSON stream takes: ");
	bytes_add(out, why, strlen(why) + 1);
	answer_error(c, NULL, 400, out->failed ? "the body is not valid JSON" : (const char *)out->data);
}

static void write_gap(struct call *c, const struct sluice_result *r)
{
	struct answer a;

	answer_init(&a);
	answer_u64(&a, STR("producer-expected-seq"), r->flags & SLUICE_R_PRODUCER ? r->producer_seq + 1 : 0);
	answer_u64(&a, STR("producer-received-seq"), c->w.op.producer_seq);
	answer_error(c, &a, 409, "a producer sequence number is missing");
}

static void write_closed(struct call *c, const struct sluice_result *r)
{
	struct answer a;

	answer_init(&a);
	answer_tail(c, &a, (struct spot){.offset = r->tail, .pos = r->tail_pos});
	answer_closed(&a);
	c->code = "stream_closed";
	answer_error(c, &a, 409, "the stream is closed");
}

/* A compare-and-append (riverrun 5.2) that came too late: only the header tells it from other conflicts. */
static void write_mismatch(struct call *c, const struct sluice_result *r)
{
	struct answer a;

	answer_init(&a);
	PUT(&a, "stream-cas-mismatch", STR("true"));
	answer_offset(c, &a, STR("stream-expected-offset"), (struct spot){.pos = c->w.op.expect_tail});
	answer_tail(c, &a, (struct spot){.offset = r->tail, .pos = r->tail_pos});
	c->code = "cas_mismatch";
	answer_error(c, &a, 409, "the tail is not the expected offset");
}

static const struct refusal {
	uint32_t reason;
	int http;
	const char *why, *code;
} refusals[] = {
	{SLUICE_WHY_TYPE, 409, "the content type differs from the stream's", "content_type_mismatch"},
	{SLUICE_WHY_PRODUCER_RESTART, 400, "a new producer epoch begins at sequence number 0", NULL},
	{SLUICE_WHY_STREAM_SEQ, 409, "Stream-Seq is not greater than the last one", NULL},
	{SLUICE_WHY_TAIL, 412, "the stream has another tail", NULL},
	{SLUICE_WHY_CONFIG, 409, "the stream exists with another configuration", NULL},
	{SLUICE_WHY_FORK_SOURCE, 404, "the fork's source does not exist", NULL},
	{SLUICE_WHY_FORK_TYPE, 409, "the content type differs from the fork source's", NULL},
	{SLUICE_WHY_FORK_OFFSET, 400, "the fork offset is beyond the source's tail or not where a record begins", NULL},
	{SLUICE_WHY_FORK_SUB, 400, "the fork sub-offset goes beyond the record at the fork offset", NULL},
	{SLUICE_WHY_RESERVED, 403, "the name is reserved", NULL},
};

void write_refused(struct call *c, const struct sluice_result *r)
{
	struct answer a;

	answer_init(&a);
	if (r->status == SLUICE_ECLOSED) {
		write_closed(c, r);
		return;
	}
	if (r->status == SLUICE_ENOENT && r->reason == SLUICE_WHY_NONE) {
		answer_gone(c, false);
		return;
	}
	switch (r->reason) {
	case SLUICE_WHY_PAYLOAD:
		write_payload_refused(c);
		return;
	case SLUICE_WHY_PRODUCER_GAP:
		write_gap(c, r);
		return;
	case SLUICE_WHY_PRODUCER_FENCED:
		answer_u64(&a, STR("producer-epoch"), r->producer_epoch);
		answer_error(c, &a, 403, "the producer epoch is stale");
		return;
	case SLUICE_WHY_TAIL:
		if (c->w.op.flags & SLUICE_A_EXPECT_POS) {
			write_mismatch(c, r);
			return;
		}
		break;
	case SLUICE_WHY_TRIMMED:
		answer_offset(c, &a, STR("stream-earliest-offset"),
		              (struct spot){.offset = r->earliest, .pos = r->earliest_pos});
		answer_error(c, &a, 410, "the fork offset is before what is kept of the source");
		return;
	case SLUICE_WHY_SOFT_DELETED:
		if (c->w.op.kind == SLUICE_OP_CREATE)
			answer_error(c, NULL, 409, "the name or the fork's source is held by a deleted stream");
		else
			answer_gone(c, true);
		return;
	default:
		break;
	}
	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++)
		if (refusals[i].reason == r->reason) {
			c->code = refusals[i].code;
			answer_error(c, NULL, refusals[i].http, refusals[i].why);
			return;
		}
	answer_trouble(c, r->status, r->message);
}
