/*
 * snapshot.c - snapshots of a stream: publish, locate, read (riverrun 7). Plugin riverrun, worker process.
 *
 * What may be published where is the writer's to say; the bytes of one are sent step by step, by the number of that very snapshot, so that
 * a newer one does not mix with it.
 */
#include "riverrun.h"

#include <stdlib.h>

enum { DIGEST_BYTES = 32, DIGEST_LEN = 7 + 2 * DIGEST_BYTES };

static void snapshot_error(struct call *c, int status, const char *code, const char *why)
{
	c->code = code;
	answer_error(c, NULL, status, why);
}

static void snapshot_absent(struct call *c)
{
	snapshot_error(c, 404, "snapshot_not_found", "there is no such snapshot");
}

void snapshot_put_offset(const struct call *c, struct answer *a, uint64_t pos)
{
	answer_offset(c, a, STR("stream-snapshot-offset"), (struct spot){.pos = pos});
}

static void snapshot_put_digest(struct answer *a, slice digest)
{
	static const char hex[] = "0123456789abcdef";
	const uint8_t *p = digest.data;
	char text[DIGEST_LEN] = "sha256:";

	for (size_t i = 0; i < digest.len && i < DIGEST_BYTES; i++) {
		text[7 + 2 * i] = hex[p[i] >> 4];
		text[8 + 2 * i] = hex[p[i] & 0xf];
	}
	answer_copy(a, STR("stream-snapshot-digest"), SLICE(text, DIGEST_LEN));
}

/* ---- publishing ---- */

static void publish_refused(struct call *c, const struct sluice_result *r)
{
	static const struct {
		uint32_t reason;
		int status;
		const char *code, *why;
	} refusals[] = {
		{SLUICE_WHY_BEYOND, 409, "snapshot_beyond_tail", "the offset is beyond the end of the stream"},
		{SLUICE_WHY_TRIMMED, 410, NULL, NULL},
		{SLUICE_WHY_BOUNDARY, 400, "invalid_offset", "the offset is inside a message"},
		{SLUICE_WHY_SNAPSHOT, 409, "snapshot_conflict", "the snapshot that is there is another one"},
	};
	struct answer a;

	for (size_t i = 0; i < sizeof refusals / sizeof *refusals; i++) {
		if (refusals[i].reason != r->reason)
			continue;
		answer_init(&a);
		answer_tail(c, &a, (struct spot){.pos = r->tail_pos});
		answer_earliest(c, &a, r->earliest_pos);
		if (r->flags & SLUICE_R_SNAPSHOT)
			snapshot_put_offset(c, &a, r->snapshot_pos);
		c->code = refusals[i].code;
		answer_error(c, &a, refusals[i].status, refusals[i].why ? refusals[i].why : c->p->dialect->trimmed);
		return;
	}
	write_refused(c, r);
}

static void publish_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;
	struct answer a;

	(void)n;
	c->store = NULL;
	if (r->status != SLUICE_OK) {
		publish_refused(c, r);
		return;
	}
	answer_init(&a);
	answer_tail(c, &a, (struct spot){.pos = r->tail_pos});
	snapshot_put_offset(c, &a, r->snapshot_pos);
	snapshot_put_digest(&a, r->snapshot_digest);
	answer_send(c, &a, 204, STR(""));
}

static int publish_nibble(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* The digest that a header names; what is no digest is that of no snapshot. */
static slice publish_match(struct call *c, slice text)
{
	const char *p = text.data;
	uint8_t *digest = c->w.digest;

	if (text.len != DIGEST_LEN || memcmp(p, "sha256:", 7) != 0)
		return STR("?");
	for (size_t i = 0; i < DIGEST_BYTES; i++) {
		int high = publish_nibble(p[7 + 2 * i]), low = publish_nibble(p[8 + 2 * i]);

		if (high < 0 || low < 0)
			return STR("?");
		digest[i] = (uint8_t)(high << 4 | low);
	}
	return SLICE(digest, DIGEST_BYTES);
}

void snapshot_publish(struct call *c)
{
	struct sluice_op *op = &c->w.op;
	slice type = {0}, match = {0};
	const char *why;

	op->kind = SLUICE_OP_SNAPSHOT;
	op->stream = call_name(c);
	op->trim_to = c->at;
	op->flags = SLUICE_A_AT_POS;
	c->w.done = publish_done;
	body_take(c);
	why = headers_type(c, &type);
	if (!why && !header_one(c, "stream-snapshot-match", &match))
		why = "Stream-Snapshot-Match is given more than once";
	if (c->at_kind != AT_OFFSET) {
		snapshot_error(c, 400, "invalid_offset", "a snapshot's offset has 1 to 20 digits");
	} else if (why) {
		answer_error(c, NULL, 400, why);
	} else if (!headers_identity(c)) {
		answer_error(c, NULL, 415, "bodies with a content coding are not taken");
	} else {
		op->content_type = type.data ? type : STR("application/octet-stream");
		op->data = c->w.payload ? SLICE(NULL, 0) : STR("");
		op->payload = c->w.payload;
		if (match.data) {
			op->flags |= SLUICE_A_EXPECT_SNAPSHOT;
			op->expect_snapshot = publish_match(c, match);
		}
		write_submit(c);
	}
}

/* ---- locating ---- */

/* An id as one segment of a path. */
static void locate_escape(struct bytes *out, slice id)
{
	static const char hex[] = "0123456789ABCDEF", plain[] = "-._~";
	const uint8_t *p = id.data;

	for (size_t i = 0; i < id.len; i++) {
		const char escaped[3] = {'%', hex[p[i] >> 4], hex[p[i] & 0xf]};
		uint8_t letter = p[i] | 0x20;
		bool kept = (letter >= 'a' && letter <= 'z') || (p[i] >= '0' && p[i] <= '9') ||
		            memchr(plain, p[i], sizeof plain - 1);

		bytes_add(out, kept ? (const void *)&p[i] : escaped, kept ? 1 : 3);
	}
}

static void locate_done(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct bytes *out = &c->p->scratch;
	slice target = c->p->http->target(c->http), name = call_name(c);
	const char *slash = memchr(name.data, '/', name.len);
	size_t bucket = (size_t)(slash - (const char *)name.data);
	char offset[POSITION_LEN];
	struct answer a;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		answer_unreadable(c, r);
		return;
	}
	if (!(r->flags & SLUICE_R_SNAPSHOT)) {
		snapshot_absent(c);
		return;
	}
	bytes_reset(out);
	bytes_add(out, target.data, target_mount(target, c->p->http->path(c->http).len));
	bytes_add(out, name.data, bucket + 1);
	locate_escape(out, SLICE(slash + 1, name.len - bucket - 1));
	BYTES_LIT(out, "/snapshot/");
	position_format(r->snapshot_pos, offset);
	bytes_add(out, offset, POSITION_LEN);
	if (out->failed) {
		answer_trouble(c, SLUICE_ENOMEM, NULL);
		return;
	}
	answer_init(&a);
	PUT(&a, "location", bytes_slice(out));
	snapshot_put_offset(c, &a, r->snapshot_pos);
	answer_tail(c, &a, (struct spot){.pos = r->tail_pos});
	answer_no_store(&a);
	answer_send(c, &a, 307, STR(""));
}

void snapshot_locate(struct call *c)
{
	read_start(c, SLUICE_OFFSET_NOW, 0, SLUICE_RD_SNAPSHOT | SLUICE_RD_RENEW, locate_done);
}

/* ---- reading ---- */

/* True: the one that the address names is there. Otherwise the call has been answered. */
static bool snapshot_there(struct call *c, const struct sluice_read_result *r)
{
	c->store = NULL;
	if (r->status != SLUICE_OK)
		answer_unreadable(c, r);
	else if (!(r->flags & SLUICE_R_SNAPSHOT) || c->at_kind != AT_OFFSET || c->at != r->snapshot_pos)
		snapshot_absent(c);
	else
		return true;
	return false;
}

static void read_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct streams *p = c->p;
	struct answer a;

	if (!snapshot_there(c, r))
		return;
	answer_init(&a);
	PUT(&a, "content-type", r->snapshot_type);
	snapshot_put_offset(c, &a, r->snapshot_pos);
	snapshot_put_digest(&a, r->snapshot_digest);
	answer_tail(c, &a, (struct spot){.pos = r->snapshot_pos});
	PUT(&a, "stream-up-to-date", r->snapshot_pos == r->tail_pos ? STR("true") : STR("false"));
	answer_no_store(&a);
	++*p->count.reads;
	*p->count.read_bytes += r->snapshot_len;
	c->started = true;
	c->s.id = r->snapshot_id;
	c->s.len = r->snapshot_len;
	if (p->http->respond(c->http, 200, a.header, a.n, (int64_t)r->snapshot_len) < 0)
		call_cut(c);
	else
		snapshot_go_on(c);
}

void snapshot_read(struct call *c)
{
	if (c->at_kind == AT_BAD)
		snapshot_error(c, 400, "invalid_offset", "the offset is malformed");
	else
		read_start(c, SLUICE_OFFSET_NOW, 0, SLUICE_RD_SNAPSHOT | SLUICE_RD_RENEW, read_found);
}

static void remove_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	if (snapshot_there(c, r))
		snapshot_error(c, 409, "snapshot_in_use", "the snapshot stands for what is no longer there");
}

/* riverrun 7.3: a snapshot goes when a newer one comes, and not otherwise. */
void snapshot_remove(struct call *c)
{
	if (c->at_kind == AT_BAD)
		snapshot_error(c, 400, "invalid_offset", "the offset is malformed");
	else
		read_start(c, SLUICE_OFFSET_NOW, 0, SLUICE_RD_SNAPSHOT, remove_found);
}

/* ---- the bytes of one, also for a bootstrap ---- */

static void snapshot_bytes(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK || r->data.len == 0) {
		call_cut(c);
		return;
	}
	c->s.at += r->data.len;
	if (c->p->http->write(c->http, r->data) < 0)
		call_cut(c);
	else if (c->s.at == c->s.len && c->s.bootstrap)
		bootstrap_rest(c);
	else
		snapshot_go_on(c);
}

/* The next piece when there is room for it, or the end. */
void snapshot_go_on(struct call *c)
{
	if (c->s.at < c->s.len || c->s.next < c->s.end || c->s.skip > 0)
		c->p->http->wake(c->http);
	else
		call_end(c);
}

void snapshot_step(struct call *c, const struct sluice_read *q, sluice_read_fn *fn)
{
	struct sluice_read copy = *q;

	copy.stream = call_name(c);
	if (c->p->store->read(c->p->ctx, &copy, fn, c, &c->store) < 0)
		call_cut(c);
}

void snapshot_pull(struct call *c, size_t room)
{
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_CONTINUE | SLUICE_RD_SNAPSHOT};

	(void)room;
	if (c->s.at < c->s.len) {
		q.incarnation = c->s.id;
		q.from = c->s.at;
		q.until = c->s.len;
		snapshot_step(c, &q, snapshot_bytes);
	} else {
		bootstrap_pull(c);
	}
}

void snapshot_release(struct call *c)
{
	free(c->s.type);
}
