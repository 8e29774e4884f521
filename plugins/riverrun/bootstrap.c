/*
 * bootstrap.c - a snapshot and every message behind it in one answer, multipart/mixed (riverrun 8). Plugin riverrun, worker process.
 *
 * Snapshot, earliest offset and tail are of one moment; the bytes follow as the client takes them. A stream that goes away meanwhile
 * cuts the answer off, it is never silently shortened.
 */
#include "riverrun.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

enum {
	BOOTSTRAP_MAX = 64 << 20, /* payload of the messages of one answer */
	PIECE_MAX = 512 * 1024    /* of formatted messages that are written at once; small ones are mostly heads */
};

/* Nothing that a client sends may be able to contain it. */
static void boundary_draw(struct call *c)
{
	uint64_t random[2] = {streams_random(c->p), streams_random(c->p)};
	char text[40];

	if (getrandom(random, sizeof random, GRND_NONBLOCK) != sizeof random)
		random[0] ^= streams_wall(c->p);
	snprintf(text, sizeof text, "rr-%016llx%08x", (unsigned long long)random[0], (unsigned)(random[1] & 0xffffffffu));
	memcpy(c->s.boundary, text, BOUNDARY_LEN);
}

static void part_begin(const struct call *c, struct bytes *out, slice type)
{
	BYTES_LIT(out, "--");
	bytes_add(out, c->s.boundary, BOUNDARY_LEN);
	BYTES_LIT(out, "\r\nContent-Type: ");
	bytes_add(out, type.data, type.len);
	BYTES_LIT(out, "\r\n\r\n");
}

static bool bootstrap_more(const struct call *c)
{
	return c->s.next < c->s.end || c->s.skip > 0;
}

/* Behind a part that is complete; when it was the last one, the end of all. */
static void bootstrap_close(const struct call *c, struct bytes *out)
{
	if (bootstrap_more(c))
		return;
	BYTES_LIT(out, "--");
	bytes_add(out, c->s.boundary, BOUNDARY_LEN);
	BYTES_LIT(out, "--\r\n");
}

static void bootstrap_write(struct call *c, struct bytes *out)
{
	bool good = !out->failed && c->p->http->write(c->http, bytes_slice(out)) >= 0;

	bytes_reset(out);
	if (good)
		snapshot_go_on(c);
	else
		call_cut(c);
}

/* ---- the messages ---- */

/* Puts messages of a step into parts; how many of its bytes. */
static size_t bootstrap_messages(struct call *c, const struct sluice_read_result *r, struct bytes *out)
{
	const uint8_t *p = r->data.data;
	size_t begin = 0;

	for (size_t i = 0; begin < r->data.len && out->len < PIECE_MAX; i++) {
		bool last = i >= r->n_message_end;
		size_t end = last ? r->data.len : r->message_end[i];

		if (!c->s.open)
			part_begin(c, out, SLICE(c->s.type, c->s.type_len));
		bytes_add(out, p + begin, end - begin);
		c->s.open = last;
		if (!last)
			BYTES_LIT(out, "\r\n");
		begin = end;
	}
	return begin;
}

/* Where the next step begins when only so many bytes of this one were used. */
static void bootstrap_seek(struct call *c, const struct sluice_read_result *r, size_t used)
{
	size_t before = 0;

	if (used == r->data.len) {
		c->s.next = r->next;
		c->s.skip = r->skip;
		return;
	}
	for (size_t i = 0; i < r->n_record && r->record[i].data_end <= used; i++) {
		c->s.next = r->record[i].end;
		c->s.skip = 0;
		before = r->record[i].data_end;
	}
	c->s.skip += used - before;
}

static void bootstrap_step(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct bytes *out = &c->p->scratch;

	c->store = NULL;
	if (r->status != SLUICE_OK || r->data.len == 0) {
		call_cut(c);
		return;
	}
	bytes_reset(out);
	bootstrap_seek(c, r, bootstrap_messages(c, r, out));
	bootstrap_close(c, out);
	bootstrap_write(c, out);
}

void bootstrap_pull(struct call *c)
{
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_CONTINUE};

	q.incarnation = c->s.incarnation;
	q.from = c->s.next;
	q.skip = c->s.skip;
	q.until = c->s.end;
	if (bootstrap_more(c))
		snapshot_step(c, &q, bootstrap_step);
}

/* The bytes of the snapshot are out. */
void bootstrap_rest(struct call *c)
{
	struct bytes *out = &c->p->scratch;

	bytes_reset(out);
	BYTES_LIT(out, "\r\n");
	bootstrap_close(c, out);
	bootstrap_write(c, out);
}

/* ---- the beginning ---- */

static void bootstrap_headers(struct call *c, const struct sluice_read_result *r)
{
	struct bytes *out = &c->p->scratch;
	bool there = r->flags & SLUICE_R_SNAPSHOT, whole = r->flags & SLUICE_R_UP_TO_DATE;
	char type[32 + BOUNDARY_LEN];
	struct answer a;
	int n = snprintf(type, sizeof type, "multipart/mixed; boundary=%.*s", BOUNDARY_LEN, c->s.boundary);

	answer_init(&a);
	PUT(&a, "content-type", SLICE(type, (size_t)n));
	if (there)
		snapshot_put_offset(c, &a, r->snapshot_pos);
	else
		PUT(&a, "stream-snapshot-offset", STR("-1"));
	answer_tail(c, &a, (struct spot){.pos = r->earliest_pos + r->payload_bytes});
	PUT(&a, "stream-up-to-date", whole ? STR("true") : STR("false"));
	if (whole && (r->flags & SLUICE_R_CLOSED))
		answer_closed(&a);
	answer_no_store(&a);
	c->started = true;
	if (c->p->http->respond(c->http, 200, a.header, a.n, -1) < 0) {
		call_cut(c);
		return;
	}
	bytes_reset(out);
	part_begin(c, out, there ? r->snapshot_type : STR("application/octet-stream"));
	if (c->s.len == 0) {
		BYTES_LIT(out, "\r\n");
		bootstrap_close(c, out);
	}
	bootstrap_write(c, out);
}

static void bootstrap_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		answer_unreadable(c, r);
		return;
	}
	c->s.type = malloc(r->content_type.len + 1);
	if (!c->s.type) {
		answer_trouble(c, SLUICE_ENOMEM, NULL);
		return;
	}
	if (r->content_type.len)
		memcpy(c->s.type, r->content_type.data, r->content_type.len);
	c->s.type_len = r->content_type.len;
	c->s.bootstrap = true;
	c->s.id = r->snapshot_id;
	c->s.len = r->flags & SLUICE_R_SNAPSHOT ? r->snapshot_len : 0;
	c->s.incarnation = r->incarnation;
	c->s.next = r->next;
	c->s.skip = r->skip;
	c->s.end = r->end;
	boundary_draw(c);
	++*c->p->count.reads;
	*c->p->count.read_bytes += c->s.len + r->payload_bytes;
	bootstrap_headers(c, r);
}

void bootstrap_begin(struct call *c)
{
	if (c->p->http->query(c->http, "live", 0).data) {
		c->code = "live_not_allowed";
		answer_error(c, NULL, 400, "a bootstrap is not live; go on from its Stream-Next-Offset");
		return;
	}
	read_start(c, SLUICE_OFFSET_NOW, BOOTSTRAP_MAX, SLUICE_RD_SNAPSHOT | SLUICE_RD_RENEW, bootstrap_found);
}
