/*
 * queue.c - messages waiting for one WebSocket client. Worker process.
 *
 * A ring of references to shared buffers: a message for a thousand clients exists once. Its bound is kept by the
 * sender (conn.c), which is why bytes counts a fixed cost for each message as well.
 */
#include "frontend/ws/engine.h"

#include <stdlib.h>

enum { QUEUE_FIRST = 8 };

static int queue_grow(struct ws_queue *q)
{
	uint32_t cap = q->cap ? q->cap * 2 : QUEUE_FIRST;
	struct ws_item *item = malloc(cap * sizeof *item);

	if (!item)
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < q->n; i++)
		item[i] = q->item[(q->head + i) % q->cap];
	free(q->item);
	q->item = item;
	q->head = 0;
	q->cap = cap;
	return 0;
}

int ws_queue_add(struct ws_queue *q, struct sluice_buf *buf, bool binary)
{
	if (q->n == q->cap) {
		int e = queue_grow(q);

		if (e)
			return e;
	}
	q->item[(q->head + q->n) % q->cap] = (struct ws_item){.buf = buf, .binary = binary};
	q->n++;
	q->bytes += buf->len + WS_MESSAGE_COST;
	return 0;
}

void ws_queue_pop(struct ws_queue *q)
{
	struct ws_item *item = &q->item[q->head];

	q->bytes -= item->buf->len + WS_MESSAGE_COST;
	shared_unref(item->buf);
	q->off = 0;
	q->head = (q->head + 1) % q->cap;
	if (--q->n == 0)
		ws_queue_clear(q);
}

void ws_queue_clear(struct ws_queue *q)
{
	for (uint32_t i = 0; i < q->n; i++)
		shared_unref(q->item[(q->head + i) % q->cap].buf);
	free(q->item);
	*q = (struct ws_queue){0};
}
