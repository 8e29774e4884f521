/*
 * read.c - GET: catch-up reads, conditional requests, long answers (protocol sections 11 and 12). Plugin streams, worker process.
 *
 * The first read settles the bounds of an answer and brings its first bytes; what is longer follows step by step as the client
 * takes it. A stream that goes away meanwhile cuts the answer off, it is never silently shortened.
 */
#include "streams.h"

static void read_more(void *arg, const struct sluice_read_result *r);

void read_fail(struct call *c, int status, const char *message)
{
	if (!c->started)
		answer_trouble(c, status, message);
	else if (c->kind == CALL_SSE && !c->r.format.open)
		call_end(c);
	else
		call_cut(c);
}

void read_start(struct call *c, uint64_t from, uint64_t budget, uint32_t flags, sluice_read_fn *fn)
{
	struct streams *p = c->p;
	struct sluice_read q = {.size = sizeof q, .flags = flags, .from = from, .budget = budget};
	int err;

	q.stream = call_name(c);
	err = p->store->read(p->ctx, &q, fn, c, &c->store);
	if (err < 0)
		read_fail(c, err, NULL);
}

void read_step(struct call *c, sluice_read_fn *fn)
{
	struct streams *p = c->p;
	struct sluice_read q = {
		.size = sizeof q,
		.flags = SLUICE_RD_CONTINUE,
		.from = c->r.next,
		.skip = c->r.skip,
		.until = c->r.end,
		.incarnation = c->r.incarnation,
		.budget = c->r.end - c->r.next,
	};
	int err;

	q.stream = call_name(c);
	err = p->store->read(p->ctx, &q, fn, c, &c->store);
	if (err < 0)
		read_fail(c, err, NULL);
}

bool read_remember(struct call *c, const struct sluice_read_result *r)
{
	c->r.next = r->next;
	c->r.skip = r->skip;
	c->r.more = r->next < c->r.end || r->skip > 0;
	return c->r.more;
}

/* ---- headers of a 200 or 304 ---- */

struct spot read_end(const struct call *c, const struct sluice_read_result *r)
{
	return (struct spot){.offset = r->end, .pos = c->r.pos + r->payload_bytes};
}

static bool read_reports_closed(const struct sluice_read_result *r)
{
	return (r->flags & SLUICE_R_UP_TO_DATE) && (r->flags & SLUICE_R_CLOSED);
}

static bool read_is_now(const struct call *c)
{
	return c->kind == CALL_READ && c->r.from == SLUICE_OFFSET_NOW;
}

/* Nothing is there and the stream may yet grow past it: the answer tells of this moment only. */
static bool read_is_beyond(const struct call *c, const struct sluice_read_result *r)
{
	return c->r.from != SLUICE_OFFSET_NOW && c->r.from > r->tail;
}

/* Caches must not keep an answer longer than the stream may live. */
static void read_cache_control(struct call *c, struct answer *a, const struct sluice_read_result *r)
{
	struct streams *p = c->p;
	uint64_t life = UINT64_MAX, wall = streams_wall(p);
	/* What somebody had to show a token for is not kept for others. */
	bool known = p->host->principal_who(p->http->principal(c->http)) == SLUICE_WHO_KNOWN;
	const char *value = known ? p->cache_private : p->cache_control;
	char text[256];
	size_t n;

	if (read_is_now(c) || read_is_beyond(c, r)) {
		answer_no_store(a);
		return;
	}
	if (r->flags & SLUICE_R_TTL)
		life = r->ttl_s;
	if (r->flags & SLUICE_R_EXPIRES)
		life = r->expires_ms > wall ? (r->expires_ms - wall) / 1000 : 0;
	if (life == UINT64_MAX) {
		PUT(a, "cache-control", SLICE(value, strlen(value)));
		return;
	}
	n = cache_control_bound(value, life, text, sizeof text);
	if (n > 0)
		answer_copy(a, STR("cache-control"), SLICE(text, n));
	else
		answer_no_store(a);
}

static void read_common(struct call *c, struct answer *a, const struct sluice_read_result *r)
{
	struct streams *p = c->p;

	answer_tail(c, a, read_end(c, r));
	answer_earliest(c, a, r->earliest_pos);
	if (r->flags & SLUICE_R_UP_TO_DATE) {
		PUT(a, "stream-up-to-date", STR("true"));
		if (r->flags & SLUICE_R_CLOSED)
			answer_closed(a);
	}
	if (c->kind == CALL_POLL && (p->dialect->closed_cursor || !read_reports_closed(r)))
		answer_u64(a, STR("stream-cursor"), cursor_next(&c->r.cursor, streams_wall(p)));
	read_cache_control(c, a, r);
	if (p->compression && media_compressible(r->content_type))
		PUT(a, "vary", STR("accept-encoding"));
}

/* True: 304 was sent. The client may hold either coding of the same bytes. */
static bool read_not_modified(struct call *c, const struct sluice_read_result *r)
{
	static const char *const codings[] = {"", "gzip"};
	slice value;

	for (size_t i = 0; (value = c->p->http->header(c->http, "if-none-match", i)).data; i++)
		for (size_t k = 0; k < 2; k++) {
			char tag[ETAG_MAX];
			size_t n = etag_format(tag, r, read_reports_closed(r), codings[k]);
			struct answer a;

			if (!etag_matches(value, SLICE(tag, n)))
				continue;
			answer_init(&a);
			read_common(c, &a, r);
			answer_copy(&a, STR("etag"), SLICE(tag, n));
			answer_send(c, &a, 304, STR(""));
			return true;
		}
	return false;
}

/* ---- bodies ---- */

static uint64_t read_length(const struct call *c, const struct sluice_read_result *r)
{
	if (c->r.media != MEDIA_JSON)
		return r->payload_bytes;
	return r->payload_bytes + (r->messages > 1 ? r->messages - 1 : 0) + 2;
}

/* One step of the body; JSON is framed into scratch, other bytes go out as they are. */
static slice read_format(struct call *c, const struct sluice_read_result *r, bool first, bool last)
{
	struct sse_piece piece = {.data = r->data, .message_end = r->message_end, .n_message_end = r->n_message_end};
	struct bytes *out = &c->p->scratch;

	if (c->r.media != MEDIA_JSON)
		return r->data.data ? r->data : STR("");
	bytes_reset(out);
	if (first)
		BYTES_LIT(out, "[");
	json_frame(out, &piece, &c->r.any, &c->r.inside);
	if (last)
		BYTES_LIT(out, "]");
	return out->failed ? SLICE(NULL, 0) : bytes_slice(out);
}

/* The body of a read that many wait for, made once. */
static struct sluice_buf *read_shared_body(struct call *c, struct shared *shared)
{
	struct streams *p = c->p;
	slice body;

	if (shared->body)
		return shared->body;
	c->r.any = c->r.inside = false;
	body = read_format(c, shared->r, true, true);
	if (body.data)
		shared->body = p->host->buf_new(p->ctx, body);
	return shared->body;
}

static void read_send(struct call *c, const struct answer *a, const struct sluice_read_result *r, struct shared *shared)
{
	const struct sluice_http *http = c->p->http;
	bool whole = r->next >= r->end && r->skip == 0;
	int64_t length = (int64_t)read_length(c, r);
	struct sluice_buf *buf = NULL;
	slice body = {0};

	if (shared && whole)
		buf = read_shared_body(c, shared);
	else
		body = read_format(c, r, true, whole);
	if (!buf && !body.data) {
		answer_trouble(c, SLUICE_ENOMEM, NULL);
		return;
	}
	if (whole && !buf) {
		answer_send(c, a, 200, body);
		return;
	}
	c->started = true;
	c->r.incarnation = r->incarnation;
	c->r.end = r->end;
	if (http->respond(c->http, 200, a->header, a->n, length) < 0 ||
	    (buf ? http->write_buf(c->http, buf) : http->write(c->http, body)) < 0)
		call_cut(c);
	else if (buf || !read_remember(c, r))
		call_end(c);
	else
		http->wake(c->http);
}

void read_answer(struct call *c, const struct sluice_read_result *r, struct shared *shared)
{
	struct streams *p = c->p;
	uint64_t length;
	const char *coding = "";
	char tag[ETAG_MAX];
	struct answer a;

	c->r.media = media_kind(r->content_type);
	c->r.any = c->r.inside = false;
	++*p->count.reads;
	if (!read_is_now(c) && read_not_modified(c, r))
		return;
	*p->count.read_bytes += r->payload_bytes;
	answer_init(&a);
	PUT(&a, "content-type", r->content_type);
	read_common(c, &a, r);
	length = read_length(c, r);
	if (p->compression && length >= COMPRESS_MIN && media_compressible(r->content_type))
		coding = p->http->compress(c->http, (int64_t)length);
	if (!read_is_now(c))
		answer_copy(&a, STR("etag"), SLICE(tag, etag_format(tag, r, read_reports_closed(r), coding)));
	read_send(c, &a, r, shared);
}

static void read_more(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	bool more;
	slice body;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		call_cut(c);
		return;
	}
	more = read_remember(c, r);
	body = read_format(c, r, false, !more);
	if (!body.data || c->p->http->write(c->http, body) < 0)
		call_cut(c);
	else if (more)
		c->p->http->wake(c->http);
	else
		call_end(c);
}

void read_pull(void *self, struct sluice_http_req *http, size_t room)
{
	struct streams *p = self;
	struct call *c = *p->http->slot(http);

	if (!c || c->store || !c->started)
		return;
	if (c->kind == CALL_SNAPSHOT)
		p->dialect->pull(c, room);
	else if (c->kind == CALL_SSE)
		sse_pull(c, room);
	else if (c->r.more)
		read_step(c, read_more);
}

/* ---- the question ---- */

static const char *read_parse_live(struct call *c, slice offset)
{
	const struct sluice_http *http = c->p->http;
	slice live = http->query(c->http, "live", 0), encoding;

	if (!live.data)
		return NULL;
	c->code = "invalid_live";
	if (http->query(c->http, "live", 1).data)
		return "the parameter live is given more than once";
	if (!offset.data)
		c->code = "offset_required";
	if (!offset.data)
		return "a live read needs an offset";
	if (slice_is(live, "long-poll"))
		c->kind = CALL_POLL;
	else if (slice_is(live, "sse"))
		c->kind = CALL_SSE;
	else
		return "the parameter live is neither long-poll nor sse";
	c->code = NULL;
	encoding = http->query(c->http, "encoding", 0);
	if (c->p->dialect->encoding && c->kind == CALL_SSE && encoding.data && !slice_is(encoding, "base64"))
		return "the parameter encoding is not base64";
	cursor_init(&c->r.cursor, http->query(c->http, "cursor", 0), streams_random(c->p));
	return NULL;
}

static bool read_offset(struct call *c, slice text)
{
	return c->p->dialect->positions ? position_parse(text, &c->r.from) : offset_parse(text, &c->r.from);
}

static const char *read_parse(struct call *c)
{
	const struct sluice_http *http = c->p->http;
	slice offset = http->query(c->http, "offset", 0);

	c->code = "invalid_offset";
	if (!offset.data || slice_is(offset, "-1"))
		c->r.begin = !c->p->dialect->positions;
	else if (slice_is(offset, "now"))
		c->r.from = SLUICE_OFFSET_NOW;
	else if (offset.len == 0)
		return "the offset is empty";
	else if (!http->query(c->http, "offset", 1).data && !read_offset(c, offset))
		return "the offset is malformed";
	if (http->query(c->http, "offset", 1).data)
		return "the parameter offset is given more than once";
	c->code = NULL;
	return read_parse_live(c, offset);
}

/* What a position asks of a stream, besides that it is there; NULL: nothing is wrong. */
static const char *read_position(struct call *c, const struct sluice_read_result *r)
{
	c->code = "invalid_offset";
	if (r->status == SLUICE_ETOOBIG)
		return "the offset is beyond the end of the stream";
	if ((r->flags & SLUICE_R_INSIDE) && media_kind(r->content_type) == MEDIA_JSON)
		return "the offset is inside a message";
	c->code = NULL;
	c->r.pos = c->r.from == SLUICE_OFFSET_NOW ? r->tail_pos : c->r.from;
	c->r.earliest_pos = r->earliest_pos;
	/* The record it begins in cannot be read again from its beginning. */
	c->r.flush = r->skip_from > 0;
	return NULL;
}

static uint32_t read_flags(const struct call *c)
{
	bool by_position = c->p->dialect->positions && c->r.from != SLUICE_OFFSET_NOW;

	return SLUICE_RD_RENEW | (by_position ? SLUICE_RD_POS : 0);
}

static void read_first(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (c->p->dialect->positions && !c->r.bad && (r->status == SLUICE_OK || r->status == SLUICE_ETOOBIG)) {
		const char *bad = read_position(c, r);

		if (bad) {
			answer_error(c, NULL, 400, bad);
			return;
		}
	}
	/* The beginning is wherever retention has left it, also when it moves on between two reads. */
	if (r->status == SLUICE_EGONE && r->reason == SLUICE_WHY_TRIMMED && c->r.begin && c->r.tries++ < 3)
		read_start(c, r->earliest, c->kind == CALL_SSE ? SSE_BUDGET : c->p->read_chunk, SLUICE_RD_RENEW,
		           read_first);
	else if (r->status != SLUICE_OK)
		answer_unreadable(c, r);
	else if (c->r.bad)
		answer_error(c, NULL, 400, c->r.bad);
	else if (c->kind == CALL_SSE)
		sse_first(c, r);
	else if (c->kind == CALL_POLL)
		poll_first(c, r);
	else
		read_answer(c, r, NULL);
}

void read_request(void *self, struct sluice_http_req *http)
{
	struct call *c = call_new(self, http, CALL_READ);

	if (c)
		read_begin(c);
}

void read_begin(struct call *c)
{
	c->r.bad = read_parse(c);
	/* What is wrong with the question is said only of a stream that exists (section 18). */
	if (c->r.bad) {
		c->kind = CALL_READ;
		read_start(c, SLUICE_OFFSET_NOW, 0, 0, read_first);
	} else {
		read_start(c, c->r.from, c->kind == CALL_SSE ? SSE_BUDGET : c->p->read_chunk, read_flags(c),
		           read_first);
	}
}
