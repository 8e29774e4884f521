/*
 * out.c - frames to one client. Plugin sds, worker process.
 *
 * What the socket has no room for waits in a queue of shared buffers. Patches never wait there: the queue holds the place of a piece of
 * the log, and when it is at its head the log is read as the socket takes it. So a slow client costs what others sent it beside patches,
 * which is bounded, and beyond that it is cut off (H.5).
 */
#include <stdlib.h>

#include "sds.h"

enum { ITEM_COST = 64, QUEUE_FIRST = 8 };

static struct out_item *queue_at(const struct out_queue *q, size_t i)
{
	return &q->item[(q->head + i) % q->cap];
}

static bool queue_grow(struct out_queue *q)
{
	size_t cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
	struct out_item *item = malloc(cap * sizeof *item);

	if (!item)
		return false;
	for (size_t i = 0; i < q->n; i++)
		item[i] = *queue_at(q, i);
	free(q->item);
	q->item = item;
	q->head = 0;
	q->cap = cap;
	return true;
}

static bool queue_add(struct out_queue *q, struct out_item item)
{
	if (q->n == q->cap && !queue_grow(q))
		return false;
	*queue_at(q, q->n) = item;
	q->n++;
	q->bytes += item.len + ITEM_COST;
	return true;
}

static void queue_pop(struct sds *s, struct out_queue *q)
{
	struct out_item *item = queue_at(q, 0);

	q->bytes -= item->len + ITEM_COST;
	s->host->buf_unref(item->buf);
	value_out_free(item->value);
	q->head = (q->head + 1) % q->cap;
	if (--q->n == 0) {
		free(q->item);
		*q = (struct out_queue){0};
	}
}

void out_clear(struct peer *p)
{
	while (p->out.n > 0)
		queue_pop(p->s, &p->out);
}

static void peer_told(struct peer *p, uint8_t type, size_t len)
{
	++*p->s->count.out[type < 7 ? type : 7];
	*p->s->count.out_bytes += len;
}

static void peer_overflow(struct peer *p)
{
	++*p->s->count.overflows;
	peer_close(p, 1013, "too slow");
}

void peer_push(struct peer *p, struct sluice_buf *buf, size_t len, bool binary)
{
	struct sds *s = p->s;
	int rc = SLUICE_EAGAIN;

	if (!p->ws || p->closing)
		return;
	if (p->out.n == 0)
		rc = s->ws->send_buf(p->ws, buf, binary);
	if (rc == SLUICE_EAGAIN) {
		struct out_item item = {.buf = buf, .len = len, .binary = binary};

		if (p->out.bytes + len + ITEM_COST > s->send_queue || !queue_add(&p->out, item))
			peer_overflow(p);
		else
			s->host->buf_ref(buf);
	} else if (rc) {
		peer_close(p, 1013, "out of memory");
	}
}

void peer_send(struct peer *p, uint8_t type, slice payload)
{
	struct sds *s = p->s;
	uint8_t small[64], *frame = payload.len < sizeof small ? small : malloc(payload.len + 1);
	struct sluice_buf *buf = NULL;

	if (frame) {
		frame[0] = type;
		if (payload.len)
			memcpy(frame + 1, payload.data, payload.len);
		buf = s->host->buf_new(s->ctx, SLICE(frame, payload.len + 1));
	}
	if (frame != small)
		free(frame);
	if (!buf) {
		peer_close(p, 1013, "out of memory");
		return;
	}
	peer_told(p, type, payload.len + 1);
	peer_push(p, buf, payload.len + 1, true);
	s->host->buf_unref(buf);
}

void peer_push_value(struct peer *p, struct value_out *v)
{
	if (!p->ws || p->closing) {
		value_out_free(v);
	} else if (!queue_add(&p->out, (struct out_item){.value = v})) {
		value_out_free(v);
		peer_close(p, 1013, "out of memory");
	} else {
		peer_pump(p);
	}
}

/* ---- its own records ---- */

void peer_owns(struct peer *p, uint64_t end)
{
	uint64_t *grown;
	size_t cap;

	if (p->own_head > 0 && p->own_head == p->n_own)
		p->own_head = p->n_own = 0;
	if (p->n_own == p->cap_own && p->own_head > 0) {
		memmove(p->own, p->own + p->own_head, (p->n_own - p->own_head) * sizeof *p->own);
		p->n_own -= p->own_head;
		p->own_head = 0;
	}
	if (p->n_own == p->cap_own) {
		cap = p->cap_own ? p->cap_own * 2 : 16;
		grown = cap <= OWN_MAX ? realloc(p->own, cap * sizeof *p->own) : NULL;
		if (!grown)
			return; /* it will see that one again, which does no harm */
		p->own = grown;
		p->cap_own = cap;
	}
	p->own[p->n_own++] = end;
}

/* The record that ends there is its own; those before it are passed. */
static bool own_passes(struct peer *p, uint64_t end)
{
	while (p->own_head < p->n_own && p->own[p->own_head] < end)
		p->own_head++;
	if (p->own_head == p->n_own || p->own[p->own_head] != end)
		return false;
	p->own_head++;
	return true;
}

/* ---- the log ---- */

static void peer_place(struct peer *p, uint64_t upto)
{
	struct out_item *last = p->out.n > 0 ? queue_at(&p->out, p->out.n - 1) : NULL;

	if (last && !last->buf && !last->value)
		last->upto = upto > last->upto ? upto : last->upto;
	else if (!queue_add(&p->out, (struct out_item){.upto = upto}))
		peer_close(p, 1013, "out of memory");
}

void peer_replay(struct peer *p, uint64_t from)
{
	if (!p->ws || p->closing)
		return;
	++*p->s->count.replays;
	p->replayed_ms = sds_now(p->s);
	cursor_stop(&p->cursor);
	large_leave(p);
	p->cursor.at = from;
	peer_place(p, p->room->known);
	peer_pump(p);
}

void peer_forward(struct peer *p, struct sluice_buf *buf, size_t len, uint64_t start, uint64_t end)
{
	int rc;

	if (!p->ws || p->closing || p->join != JOIN_DONE || p->cursor.at >= end)
		return;
	if (p->out.n > 0 || p->cursor.at != start) {
		peer_place(p, end);
		return;
	}
	if (own_passes(p, end)) {
		p->cursor.at = end;
		return;
	}
	rc = p->s->ws->send_buf(p->ws, buf, 1);
	if (rc == 0) {
		p->cursor.at = end;
		peer_told(p, FRAME_PATCH, len);
	} else if (rc == SLUICE_EAGAIN) {
		peer_place(p, end);
	} else {
		peer_close(p, 1013, "out of memory");
	}
}

/* ---- large records: read once, however many newcomers there are ---- */

bool replay_large(void *arg)
{
	struct peer *p = arg;
	struct room *r = p->room;

	if (r->large.by == NULL || r->large.by == p) {
		r->large.by = p;
		return true;
	}
	if (!p->parked)
		TAILQ_INSERT_TAIL(&p->s->parked, p, park);
	p->parked = true;
	sds_tick_soon(p->s);
	return false;
}

void large_leave(struct peer *p)
{
	if (p->room->large.by == p)
		p->room->large.by = NULL;
	if (p->parked)
		TAILQ_REMOVE(&p->s->parked, p, park);
	p->parked = false;
}

void large_drop(struct room *r)
{
	r->s->host->buf_unref(r->large.buf);
	r->large.buf = NULL;
}

void large_expire(struct room *r)
{
	if (r->large.buf && sds_now(r->s) - r->large.used_ms >= LARGE_MS)
		large_drop(r);
}

static void large_keep(struct peer *p, struct sluice_buf *buf, size_t len, uint64_t start, uint64_t end)
{
	struct room *r = p->room;

	large_drop(r);
	r->large.buf = p->s->host->buf_ref(buf);
	r->large.len = len;
	r->large.used_ms = sds_now(p->s);
	r->large.jump = p->cursor.jump != 0;
	r->large.start = r->large.jump ? 0 : start;
	r->large.end = end;
	large_leave(p);
}

void parked_tick(struct sds *s)
{
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&s->parked); p; p = next) {
		next = TAILQ_NEXT(p, park);
		if (p->room->large.by)
			continue;
		TAILQ_REMOVE(&s->parked, p, park);
		p->parked = false;
		peer_pump(p);
	}
}

/* The next record, if somebody has just read it. 1: there is none; otherwise as send_buf. */
static int large_send(struct peer *p)
{
	struct room *r = p->room;
	int rc;

	if (!r->large.buf || p->cursor.at < r->large.start || p->cursor.at >= r->large.end)
		return 1;
	rc = !r->large.jump && own_passes(p, r->large.end) ? 0 : p->s->ws->send_buf(p->ws, r->large.buf, 1);
	if (rc)
		return rc;
	p->cursor.at = r->large.end;
	r->large.used_ms = sds_now(p->s);
	peer_told(p, FRAME_PATCH, r->large.len);
	*p->s->count.replayed_bytes += r->large.len;
	return 0;
}

int replay_record(void *arg, uint64_t start, uint64_t end, slice payload)
{
	struct peer *p = arg;
	struct sds *s = p->s;
	struct sluice_buf *buf;
	size_t head = p->own_head;
	uint8_t *frame;
	int rc;

	/* What stands for many records is nobody's own. */
	if (!p->cursor.jump && own_passes(p, end))
		return 0;
	frame = malloc(payload.len + 1);
	if (!frame)
		return SLUICE_ENOMEM;
	frame[0] = FRAME_PATCH;
	memcpy(frame + 1, payload.data, payload.len);
	buf = s->host->buf_new(s->ctx, SLICE(frame, payload.len + 1));
	free(frame);
	rc = buf ? s->ws->send_buf(p->ws, buf, 1) : SLUICE_ENOMEM;
	if (buf && payload.len > READ_BUDGET)
		large_keep(p, buf, payload.len + 1, start, end);
	s->host->buf_unref(buf);
	if (rc == 0) {
		peer_told(p, FRAME_PATCH, payload.len + 1);
		*s->count.replayed_bytes += payload.len;
	} else {
		p->own_head = head;
		p->full = rc == SLUICE_EAGAIN;
	}
	return rc;
}

void replay_rest(void *arg, int status)
{
	struct peer *p = arg;

	if (p->room->large.by == p) /* it was not delivered */
		p->room->large.by = NULL;
	if (status)
		peer_close(p, status == SLUICE_EAGAIN || status == SLUICE_EBUSY || status == SLUICE_ENOMEM ? 1013 : 1011,
		           "the log cannot be read");
	else if (!p->full && !p->parked) /* otherwise the host says when there is room, or the clock */
		peer_pump(p);
}

void peer_pump(struct peer *p)
{
	struct sds *s = p->s;

	while (p->ws && !p->closing && !p->parked && p->out.n > 0 && !p->cursor.req) {
		struct out_item *item = queue_at(&p->out, 0);
		int rc;

		if (item->value) {
			if (value_out_pump(item->value))
				return;
			queue_pop(s, &p->out);
			continue;
		}
		if (!item->buf) {
			rc = p->cursor.at < item->upto ? large_send(p) : 1;
			if (rc == SLUICE_EAGAIN)
				return;
			if (rc < 0) {
				peer_close(p, 1013, "out of memory");
				return;
			}
			if (rc == 0)
				continue;
			if (p->cursor.at < item->upto) {
				p->cursor.until = item->upto;
				cursor_run(&p->cursor, SLICE(p->room->stream, p->room->n_stream));
				return;
			}
			queue_pop(s, &p->out);
			continue;
		}
		rc = s->ws->send_buf(p->ws, item->buf, item->binary);
		if (rc == SLUICE_EAGAIN)
			return;
		if (rc) {
			peer_close(p, 1013, "out of memory");
			return;
		}
		queue_pop(s, &p->out);
	}
}
