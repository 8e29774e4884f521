/*
 * channel.c - a store across workers: frames that are relayed and never stored go through its ephemeral channel. Plugin sds, worker
 * process.
 *
 * A frame travels in pieces with a head: who sent it, and the end of its sender's last record. It is told here when the log has been
 * told up to that, so that frames of one client keep their order also where patches come another way. A patch that follows a frame is
 * appended when the channel's owner has passed the frame on.
 *
 * Without a presence worker (nobody mounts it) a store is what one worker sees of it.
 */
#include <assert.h>
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

enum { CAST_HEAD = 8 + 8 + 4 + 4 + 1, CAST_PIECES_MAX = 4096 };

bool channel_name(const struct room *r, char buf[ID_MAX + 16], struct sluice_channel *c)
{
	int n = snprintf(buf, ID_MAX + 16, "%s%.*s", r->kind == ROOM_SIGNAL ? "sds-signal:" : "sds:", (int)r->n_id, r->id);

	*c = (struct sluice_channel){.size = sizeof *c, .name = SLICE(buf, n > 0 ? (size_t)n : 0)};
	return n > 0;
}

/* ---- in ---- */

static void later_pop(struct room *r)
{
	struct later *l = STAILQ_FIRST(&r->later);

	STAILQ_REMOVE_HEAD(&r->later, link);
	r->n_later--;
	r->later_bytes -= l->len;
	r->s->host->buf_unref(l->buf);
	free(l);
}

void channel_flush(struct room *r)
{
	struct later *l;

	while ((l = STAILQ_FIRST(&r->later)) && (r->log != LOG_READY || r->cursor.at >= l->after)) {
		room_relay(r, NULL, l->buf, l->len, l->binary);
		later_pop(r);
	}
}

/* When too much waits already, order gives way. */
void channel_tell(struct room *r, uint64_t after, struct sluice_buf *buf, size_t len, bool binary)
{
	bool waits = !STAILQ_EMPTY(&r->later) || (r->log == LOG_READY && r->cursor.at < after);
	struct later *l = waits && r->n_later < LATER_MAX && r->later_bytes + len <= LATER_BYTES ? malloc(sizeof *l) : NULL;

	if (!l) {
		room_relay(r, NULL, buf, len, binary);
		r->s->host->buf_unref(buf);
		return;
	}
	*l = (struct later){.after = after, .buf = buf, .len = len, .binary = binary};
	STAILQ_INSERT_TAIL(&r->later, l, link);
	r->n_later++;
	r->later_bytes += len;
}

static void partial_free(struct room *r, struct partial *t)
{
	if (!t)
		return;
	TAILQ_REMOVE(&r->partials, t, link);
	r->partial_bytes -= t->cap;
	free(t->data);
	free(t);
}

static struct partial *partial_find(struct room *r, uint64_t from)
{
	struct partial *t;

	TAILQ_FOREACH(t, &r->partials, link)
		if (t->from == from)
			return t;
	return NULL;
}

/* A sender has one frame on its way at a time, and its pieces come in order. False: it is of no use. */
static bool partial_add(struct room *r, struct partial *t, slice piece)
{
	size_t cap = t->cap ? t->cap : piece.len;
	uint8_t *grown;

	while (cap < t->len + piece.len)
		cap *= 2;
	if (r->partial_bytes - t->cap + cap > PARTIAL_BYTES)
		return false;
	grown = realloc(t->data, cap ? cap : 1);
	if (!grown)
		return false;
	r->partial_bytes += cap - t->cap;
	t->data = grown;
	t->cap = cap;
	if (piece.len)
		memcpy(t->data + t->len, piece.data, piece.len);
	t->len += piece.len;
	t->next++;
	t->heard_ms = sds_now(r->s);
	return true;
}

bool channel_busy(struct room *r)
{
	uint64_t now = sds_now(r->s);
	struct partial *t, *next;

	for (t = TAILQ_FIRST(&r->partials); t; t = next) {
		next = TAILQ_NEXT(t, link);
		if (now - t->heard_ms < PIECES_MS)
			continue;
		++*r->s->count.casts_lost;
		partial_free(r, t);
	}
	return !TAILQ_EMPTY(&r->partials);
}

static void channel_piece(struct room *r, const uint8_t *head, slice piece)
{
	uint64_t from = get_u64(head), after = get_u64(head + 8);
	uint32_t index = get_u32(head + 16), pieces = get_u32(head + 20);
	struct partial *t = partial_find(r, from);
	struct sluice_buf *buf;
	slice whole = piece;

	if (t && (index != t->next || pieces != t->pieces)) {
		partial_free(r, t); /* the rest of it was lost */
		t = NULL;
	}
	if (pieces > 1) {
		if (!t && index == 0 && (t = calloc(1, sizeof *t))) {
			t->from = from;
			t->pieces = pieces;
			TAILQ_INSERT_TAIL(&r->partials, t, link);
		}
		if (!t || !partial_add(r, t, piece)) {
			partial_free(r, t);
			++*r->s->count.casts_lost;
			return;
		}
		if (t->next < pieces)
			return;
		whole = SLICE(t->data, t->len);
	}
	buf = r->s->host->buf_new(r->s->ctx, whole);
	if (buf)
		channel_tell(r, after, buf, whole.len, head[24]);
	else
		++*r->s->count.casts_lost;
	partial_free(r, t);
	room_advance(r);
}

static void channel_cast(struct room *r, slice data)
{
	const uint8_t *p = data.data;

	if (data.len >= CAST_HEAD)
		channel_piece(r, p, SLICE(p + CAST_HEAD, data.len - CAST_HEAD));
}

/* ---- the subscription ---- */

static void channel_lost(struct room *r)
{
	presence_lost(r);
	r->s->eph->unsubscribe(r->chan);
	r->chan = NULL;
	r->channel = CHANNEL_NONE;
	while (!TAILQ_EMPTY(&r->partials))
		partial_free(r, TAILQ_FIRST(&r->partials));
	room_retry(r);
}

static void channel_state(void *arg, const struct sluice_channel_state *st)
{
	struct room *r = arg;
	struct peer *p, *next;

	if (st->status) {
		channel_lost(r);
	} else {
		r->channel = CHANNEL_READY;
		presence_renew(r);
		for (size_t i = 0; i < st->n_kept; i++)
			presence_put(r, st->kept[i].key, st->kept[i].value, false);
	}
	for (p = TAILQ_FIRST(&r->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		presence_greet(p);
	}
	room_settle(r);
}

static void channel_event(void *arg, const struct sluice_channel_event *e)
{
	struct room *r = arg;

	if (e->kind == SLUICE_CHANNEL_TERMINATE)
		channel_lost(r);
	else if (e->flags & SLUICE_CHANNEL_MINE)
		return; /* this worker's own were told at once */
	else if (e->kind == SLUICE_CHANNEL_CAST)
		channel_cast(r, e->data);
	else if (e->kind == SLUICE_CHANNEL_PUT)
		presence_put(r, e->key, e->data, true);
	else if (e->kind == SLUICE_CHANNEL_GONE)
		presence_gone(r, e->key);
}

void channel_open(struct room *r)
{
	struct sds *s = r->s;
	char buf[ID_MAX + 16];
	struct sluice_channel c;
	int rc;

	if (r->channel != CHANNEL_NONE || !channel_name(r, buf, &c))
		return;
	rc = s->eph->subscribe(s->ctx, &c, channel_state, channel_event, r, &r->chan);
	r->channel = rc == 0 ? CHANNEL_ASKED : rc == SLUICE_ENOTSUP ? CHANNEL_LOCAL : CHANNEL_NONE;
	if (rc && rc != SLUICE_ENOTSUP) {
		r->chan = NULL;
		room_retry(r);
	}
}

void channel_close(struct room *r)
{
	r->s->eph->unsubscribe(r->chan);
	r->chan = NULL;
	while (!TAILQ_EMPTY(&r->partials))
		partial_free(r, TAILQ_FIRST(&r->partials));
	while (!STAILQ_EMPTY(&r->later))
		later_pop(r);
}

/* ---- out ---- */

void cast_free(struct cast *c)
{
	struct sds *s = c->s;
	struct peer *p = c->peer;

	TAILQ_REMOVE(&s->casts, c, link);
	if (p)
		p->cast = NULL;
	room_unref(c->room);
	free(c->data);
	free(c);
}

static bool cast_run(struct cast *c);

/* Some of it was sent, or there is room to send more. */
static void cast_goes_on(struct cast *c)
{
	struct peer *p = c->peer;

	if (!cast_run(c))
		return;
	cast_free(c);
	if (p)
		peer_kick(p);
}

static void cast_done(void *arg, int status)
{
	struct cast *c = arg;

	if (status)
		++*c->s->count.casts_lost;
	c->waiting--;
	cast_goes_on(c);
}

/* What is sent: the head, then the piece. */
static int cast_piece(struct cast *c, const struct sluice_channel *channel)
{
	size_t at = (size_t)c->piece * PIECE, n = c->len - at < PIECE ? c->len - at : PIECE;
	uint8_t *data = malloc(CAST_HEAD + n);
	int rc;

	if (!data)
		return SLUICE_ENOMEM;
	put_u64(data, c->from);
	put_u64(data + 8, c->after);
	put_u32(data + 16, c->piece);
	put_u32(data + 20, c->pieces);
	data[24] = c->binary;
	if (n)
		memcpy(data + CAST_HEAD, c->data + at, n);
	rc = c->s->eph->cast(c->s->ctx, channel, c->from, SLICE(data, CAST_HEAD + n), cast_done, c, NULL);
	free(data);
	return rc;
}

/* As much as there is room for. True: nothing is left, and everything was answered. */
static bool cast_run(struct cast *c)
{
	char buf[ID_MAX + 16];
	struct sluice_channel channel;

	channel_name(c->room, buf, &channel);
	while (c->piece < c->pieces) {
		int rc = cast_piece(c, &channel);

		if (rc == SLUICE_EAGAIN)
			return false; /* after an answer, or at the next tick */
		if (rc) {
			++*c->s->count.casts_lost;
			c->piece = c->pieces;
			break;
		}
		c->piece++;
		c->waiting++;
	}
	return c->waiting == 0;
}

int cast_begin(struct peer *p, slice bytes, bool binary)
{
	struct sds *s = p->s;
	struct cast *c;

	if (p->room->channel == CHANNEL_LOCAL)
		return 0;
	c = calloc(1, sizeof *c);
	if (c)
		c->data = malloc(bytes.len + 1);
	if (!c || !c->data) {
		free(c);
		return SLUICE_ENOMEM;
	}
	if (bytes.len)
		memcpy(c->data, bytes.data, bytes.len);
	c->len = bytes.len;
	c->s = s;
	c->room = p->room;
	room_ref(c->room);
	c->peer = p;
	c->from = p->id;
	c->after = p->last_end;
	c->binary = binary;
	c->pieces = bytes.len ? (uint32_t)((bytes.len + PIECE - 1) / PIECE) : 1;
	TAILQ_INSERT_TAIL(&s->casts, c, link);
	p->cast = c;
	if (cast_run(c))
		cast_free(c);
	return 0;
}

void casts_tick(struct sds *s)
{
	struct cast *c, *next;

	for (c = TAILQ_FIRST(&s->casts); c; c = next) {
		next = TAILQ_NEXT(c, link);
		if (c->piece < c->pieces)
			cast_goes_on(c);
	}
}
