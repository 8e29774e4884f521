/*
 * ephemeral.c - ephemeral channels of a stream (riverrun 9): updates are posted, and followed as server-sent events. Plugin riverrun,
 * worker process.
 *
 * The state is with the one worker that owns all channels, which ends a channel together with its stream. Nothing waits for a slow
 * subscriber: what it has not taken is bounded, and beyond that it is cut off and comes back to the whole state.
 */
#include "riverrun.h"

enum { KEEPALIVE_MS = 15000, CHANNEL_NAME_MAX = 16 + ID_MAX + 16 + CHANNEL_MAX };

bool channel_asked(struct streams *p, struct sluice_http_req *http)
{
	return p->http->query(http, "ephemeral", 0).data || p->http->query(http, "awareness", 0).data;
}

/* NULL, or what is wrong with the question. */
static const char *channel_parse(const struct call *c, bool plain_stream, slice *channel)
{
	const struct sluice_http *http = c->p->http;
	slice one = http->query(c->http, "ephemeral", 0), other = http->query(c->http, "awareness", 0);
	slice method = http->method(c->http), live = http->query(c->http, "live", 0);

	*channel = one.data ? one : other;
	if ((one.data && other.data) || http->query(c->http, "ephemeral", 1).data ||
	    http->query(c->http, "awareness", 1).data)
		return "name one channel, once, by ephemeral or awareness";
	if (channel->len == 0 || channel->len > CHANNEL_MAX || !utf8_valid(*channel) ||
	    memchr(channel->data, '\0', channel->len))
		return "a channel's name has 1 to 128 bytes of UTF-8";
	if (!plain_stream || http->query(c->http, "offset", 0).data || http->query(c->http, "cursor", 0).data)
		return "a channel belongs to a stream, and has neither offset nor cursor";
	if (slice_is(method, "GET"))
		return slice_is(live, "sse") && !http->query(c->http, "live", 1).data
		               ? NULL
		               : "a channel is read with live=sse";
	if (slice_is(method, "POST"))
		return live.data ? "an update has no live" : NULL;
	return "a channel takes GET and POST";
}

static void channel_name(const struct call *c, slice channel, char *text, struct sluice_channel *out)
{
	struct bytes name = {.data = (uint8_t *)text, .cap = CHANNEL_NAME_MAX};

	BYTES_LIT(&name, "riverrun:");
	bytes_add(&name, c->name.data, c->name.len);
	BYTES_LIT(&name, "?ephemeral=");
	bytes_add(&name, channel.data, channel.len);
	*out = (struct sluice_channel){.size = sizeof *out, .name = SLICE(text, name.len)};
}

static void channel_trouble(struct call *c, int status)
{
	if (status == SLUICE_EINVAL) {
		c->code = "malformed_ephemeral_update";
		answer_error(c, NULL, 400, "the body is not an update of an EphemeralStore");
	} else if (status == SLUICE_ENOTSUP) {
		answer_error(c, NULL, 503, "ephemeral channels need a frontend that mounts presence");
	} else if (status == SLUICE_ELOST) {
		answer_error(c, NULL, 503, "the worker that owns the channels is restarting");
	} else if (status == SLUICE_ETOOBIG) {
		answer_error(c, NULL, 413, "the channel, or the number of channels, is over its limit");
	} else {
		answer_trouble(c, status, NULL);
	}
}

/* ---- following ---- */

void channel_finish(struct call *c)
{
	/* One that has not begun is answered when its state comes. */
	if (c->started)
		call_end(c);
	else
		c->e.ending = true;
}

static void channel_said(struct call *c)
{
	c->e.said_ms = streams_now(c->p);
	streams_timer_set(c->p, &c->timer, c->e.said_ms + KEEPALIVE_MS);
}

static void channel_send(struct call *c, struct sluice_buf *buf)
{
	const struct sluice_http *http = c->p->http;

	if (!buf || http->pending(c->http) > QUEUE_MAX || http->write_buf(c->http, buf) < 0)
		call_cut(c);
	else
		channel_said(c);
}

/* One line of base64; nothing gives "data:" alone, which readers expect. NULL: no memory. */
static struct sluice_buf *channel_text(struct streams *p, slice event, slice data)
{
	struct bytes *out = &p->scratch;
	struct sluice_buf *buf = NULL;
	uint8_t *room;

	bytes_reset(out);
	BYTES_LIT(out, "event: ");
	bytes_add(out, event.data, event.len);
	if (data.len)
		BYTES_LIT(out, "\ndata: ");
	else
		BYTES_LIT(out, "\ndata:");
	room = bytes_room(out, (data.len + 2) / 3 * 4 + 2);
	if (room) {
		out->len += base64_encode(room, data.data, data.len);
		BYTES_LIT(out, "\n\n");
	}
	if (!out->failed)
		buf = p->host->buf_new(p->ctx, bytes_slice(out));
	bytes_reset(out);
	return buf;
}

/* What was made for one subscriber serves all. */
static struct sluice_buf *channel_event_text(struct call *c, const struct sluice_channel_event *e)
{
	struct riverrun *own = riverrun_of(c);

	if (own->event && own->event_serial == e->serial)
		return own->event;
	if (own->event)
		c->p->host->buf_unref(own->event);
	own->event = channel_text(c->p, STR("data"), e->data);
	own->event_serial = e->serial;
	return own->event;
}

static void channel_state(void *arg, const struct sluice_channel_state *s)
{
	static const struct sluice_header header[] = {
		{STR("content-type"), STR("text/event-stream")},
		{STR("cache-control"), STR("no-store")},
		{STR("stream-sse-data-encoding"), STR("base64")},
	};
	struct call *c = arg;
	struct streams *p = c->p;
	struct sluice_buf *buf;

	if (s->status) {
		channel_trouble(c, s->status);
		return;
	}
	c->started = true;
	buf = channel_text(p, STR("bootstrap"), s->state);
	if (!buf || p->http->respond(c->http, 200, header, sizeof header / sizeof *header, -1) < 0) {
		if (buf)
			p->host->buf_unref(buf);
		call_cut(c);
		return;
	}
	if (p->http->write_buf(c->http, buf) < 0)
		call_cut(c);
	else if (c->e.ending || p->draining)
		call_end(c);
	else
		channel_said(c);
	p->host->buf_unref(buf);
}

static void channel_event(void *arg, const struct sluice_channel_event *e)
{
	struct call *c = arg;

	if (e->kind == SLUICE_CHANNEL_TERMINATE && c->started)
		call_end(c);
	else if (e->kind == SLUICE_CHANNEL_TERMINATE)
		channel_trouble(c, SLUICE_EBUSY);
	else if (e->kind == SLUICE_CHANNEL_DATA)
		channel_send(c, channel_event_text(c, e));
}

void channel_due(struct call *c, uint64_t now)
{
	if (now < c->e.said_ms + KEEPALIVE_MS)
		streams_timer_set(c->p, &c->timer, c->e.said_ms + KEEPALIVE_MS);
	else if (c->p->http->write(c->http, STR(": keepalive\n\n")) < 0)
		call_cut(c);
	else
		channel_said(c);
}

void channel_release(struct call *c)
{
	const struct sluice_ephemeral *eph = riverrun_of(c)->ephemeral;

	if (c->e.sub)
		--*riverrun_of(c)->subscribers;
	eph->unsubscribe(c->e.sub);
	if (c->e.req)
		eph->cancel(c->e.req);
	c->p->host->payload_free(c->e.payload);
}

/* ---- writing ---- */

static void channel_written(void *arg, int status)
{
	struct call *c = arg;
	struct answer a;

	c->e.req = NULL;
	if (status) {
		channel_trouble(c, status);
		return;
	}
	answer_init(&a);
	answer_send(c, &a, 204, STR(""));
}

static int channel_write(struct call *c, const struct sluice_channel *channel)
{
	struct streams *p = c->p;
	void *data = NULL;
	size_t n = 0;
	int err = c->e.payload ? p->host->payload_map(c->e.payload, &data, &n) : 0;

	if (err == 0 && n > UPDATE_MAX)
		err = SLUICE_ETOOBIG;
	if (err == 0)
		err = riverrun_of(c)->ephemeral->apply(p->ctx, channel, 0, SLICE(data ? data : "", n), channel_written,
		                                       c, &c->e.req);
	return err;
}

/* The stream exists: the channel is one of this incarnation. */
static void channel_found(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;
	struct streams *p = c->p;
	struct sluice_channel channel;
	char text[CHANNEL_NAME_MAX];
	slice name;
	int err;

	c->store = NULL;
	if (r->status != SLUICE_OK) {
		answer_unreadable(c, r);
		return;
	}
	channel_parse(c, true, &name);
	channel_name(c, name, text, &channel);
	channel.incarnation = r->incarnation;
	if (slice_is(p->http->method(c->http), "POST")) {
		err = channel_write(c, &channel);
	} else {
		err = riverrun_of(c)->ephemeral->subscribe(p->ctx, &channel, channel_state, channel_event, c,
		                                           &c->e.sub);
		*riverrun_of(c)->subscribers += err == 0;
	}
	if (err < 0)
		channel_trouble(c, err);
}

void channel_request(struct call *c, bool plain_stream)
{
	struct streams *p = c->p;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW, .stream = call_name(c)};
	slice channel;
	const char *why = channel_parse(c, plain_stream, &channel);
	int err;

	if (slice_is(p->http->method(c->http), "POST"))
		c->e.payload = p->http->payload(c->http);
	if (why) {
		answer_error(c, NULL, 400, why);
		return;
	}
	err = p->store->read(p->ctx, &facts, channel_found, c, &c->store);
	if (err < 0)
		answer_trouble(c, err, NULL);
}
