/*
 * out.c - queues of outgoing bytes: own bytes in small blocks, references to shared buffers. Worker process.
 *
 * Own bytes are copied behind each other, so that many small pieces leave as one; shared ones are never copied.
 * Blocks and reference segments come from free lists of the engine, bounded by FREE_MAX.
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <stdlib.h>

#define BLOCK_ROOM (OUT_BLOCK - sizeof(struct out_seg))

static struct out_seg *seg_take(struct out_seg **list, size_t *n, size_t size)
{
	struct out_seg *seg = *list;

	if (!seg)
		return malloc(size);
	*list = seg->next;
	--*n;
	return seg;
}

static bool seg_give(struct out_seg **list, size_t *n, struct out_seg *seg)
{
	if (*n >= FREE_MAX)
		return false;
	seg->next = *list;
	*list = seg;
	++*n;
	return true;
}

static struct out_seg *seg_new_block(struct http_engine *e, size_t need)
{
	bool block = need <= BLOCK_ROOM;
	struct out_seg *seg;

	if (block)
		seg = seg_take(&e->free_blocks, &e->n_free_blocks, OUT_BLOCK);
	else
		seg = need > SIZE_MAX / 2 ? NULL : malloc(sizeof *seg + need);
	if (!seg)
		return NULL;
	*seg = (struct out_seg){.data = (uint8_t *)(seg + 1), .room = block ? BLOCK_ROOM : need, .block = block};
	return seg;
}

static struct out_seg *seg_new_ref(struct http_engine *e)
{
	struct out_seg *seg = seg_take(&e->free_segs, &e->n_free_segs, sizeof *seg);

	if (seg)
		*seg = (struct out_seg){0};
	return seg;
}

static void seg_free(struct http_engine *e, struct out_seg *seg)
{
	bool kept = false;

	if (seg->shared) {
		shared_unref(seg->shared);
		kept = seg_give(&e->free_segs, &e->n_free_segs, seg);
	} else if (seg->block) {
		kept = seg_give(&e->free_blocks, &e->n_free_blocks, seg);
	}
	if (!kept)
		free(seg);
}

static void queue_push(struct out_queue *q, struct out_seg *seg)
{
	seg->next = NULL;
	if (q->tail)
		q->tail->next = seg;
	else
		q->head = seg;
	q->tail = seg;
}

static struct out_seg *queue_shift(struct out_queue *q)
{
	struct out_seg *seg = q->head;

	q->head = seg->next;
	if (!q->head)
		q->tail = NULL;
	return seg;
}

uint8_t *out_room(struct http_engine *e, struct out_queue *q, size_t n)
{
	struct out_seg *seg = q->tail;

	if (!seg || seg->shared || seg->room < n) {
		seg = seg_new_block(e, n);
		if (!seg)
			return NULL;
		queue_push(q, seg);
	}
	return seg->data + seg->len;
}

void out_added(struct out_queue *q, size_t k)
{
	assert(q->tail && k <= q->tail->room);
	q->tail->len += k;
	q->tail->room -= k;
	q->bytes += k;
}

int out_add(struct http_engine *e, struct out_queue *q, const void *p, size_t n)
{
	uint8_t *room;

	if (n == 0)
		return 0;
	room = out_room(e, q, n);
	if (!room)
		return SLUICE_ENOMEM;
	memcpy(room, p, n);
	out_added(q, n);
	return 0;
}

int out_add_shared(struct http_engine *e, struct out_queue *q, struct sluice_buf *buf, uint8_t *data, size_t n)
{
	struct out_seg *seg = seg_new_ref(e);

	if (!seg)
		return SLUICE_ENOMEM;
	seg->shared = shared_ref(buf);
	seg->data = data;
	seg->len = n;
	queue_push(q, seg);
	q->bytes += n;
	return 0;
}

static void queue_account(struct out_queue *dst, struct out_queue *src, size_t n, struct sluice_http_req *req)
{
	src->bytes -= n;
	dst->bytes += n;
	if (req)
		req->inflight += n;
}

/* The head of src is longer than wanted: its first n bytes go. Shared ones are split by reference, own ones copied. */
static int out_split(struct http_engine *e, struct out_queue *dst, struct out_queue *src, size_t n,
                     struct sluice_http_req *req)
{
	struct out_seg *seg = src->head;
	struct out_seg *part = seg->shared ? seg_new_ref(e) : seg_new_block(e, n);

	if (!part)
		return SLUICE_ENOMEM;
	if (seg->shared) {
		part->shared = shared_ref(seg->shared);
		part->data = seg->data;
	} else {
		memcpy(part->data, seg->data, n);
		part->room = 0;
	}
	part->len = n;
	part->req = req;
	queue_push(dst, part);
	seg->data += n;
	seg->len -= n;
	queue_account(dst, src, n, req);
	return 0;
}

int out_move(struct http_engine *e, struct out_queue *dst, struct out_queue *src, size_t n, struct sluice_http_req *req)
{
	while (n > 0 && src->head) {
		struct out_seg *seg = src->head;

		if (seg->len > n)
			return out_split(e, dst, src, n, req);
		queue_shift(src);
		if (seg->len == 0) {
			seg_free(e, seg);
			continue;
		}
		n -= seg->len;
		seg->req = req;
		seg->room = 0; /* bytes of different requests do not mix in one segment */
		queue_push(dst, seg);
		queue_account(dst, src, seg->len, req);
	}
	return 0;
}

size_t out_iov(const struct out_queue *q, struct iovec *iov, size_t max)
{
	size_t n = 0;

	for (struct out_seg *seg = q->head; seg && n < max; seg = seg->next)
		if (seg->len)
			iov[n++] = (struct iovec){.iov_base = seg->data, .iov_len = seg->len};
	return n;
}

static void seg_account(struct out_seg *seg, size_t n)
{
	struct sluice_http_req *r = seg->req;

	if (!r)
		return;
	assert(r->inflight >= n);
	r->inflight -= n;
}

void out_drain(struct http_engine *e, struct out_queue *q, size_t n)
{
	while (q->head && (n > 0 || q->head->len == 0)) {
		struct out_seg *seg = q->head;
		struct sluice_http_req *r = seg->req;
		size_t k = seg->len < n ? seg->len : n;

		seg_account(seg, k);
		seg->data += k;
		seg->len -= k;
		q->bytes -= k;
		n -= k;
		if (r)
			req_want_pull(r);
		if (seg->len > 0)
			break;
		queue_shift(q);
		seg_free(e, seg);
		if (r)
			req_free_if_done(r);
	}
}

void out_clear(struct http_engine *e, struct out_queue *q)
{
	out_drain(e, q, q->bytes);
	while (q->head)
		seg_free(e, queue_shift(q));
}

void out_free_lists(struct http_engine *e)
{
	struct out_seg *seg;

	while ((seg = e->free_segs)) {
		e->free_segs = seg->next;
		free(seg);
	}
	while ((seg = e->free_blocks)) {
		e->free_blocks = seg->next;
		free(seg);
	}
}
