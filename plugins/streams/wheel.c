/*
 * wheel.c - deadlines of live readers in 100 ms steps. Plugin streams, worker process.
 *
 * One host timer serves all of them. A deadline further away than one turn of the wheel is looked at once a turn and left alone.
 */
#include "streams.h"

void wheel_init(struct wheel *w, uint64_t now)
{
	for (size_t i = 0; i < WHEEL_SLOTS; i++)
		TAILQ_INIT(&w->slot[i]);
	w->n = 0;
	w->tick = now / WHEEL_TICK_MS;
}

void wheel_set(struct wheel *w, struct wheel_node *node, uint64_t at)
{
	/* Rounded up: never early. What is already due goes into the next slot to be run. */
	uint64_t tick = (at + WHEEL_TICK_MS - 1) / WHEEL_TICK_MS;

	wheel_unset(w, node);
	if (tick <= w->tick)
		tick = w->tick + 1;
	node->at = at;
	node->in = &w->slot[tick % WHEEL_SLOTS];
	TAILQ_INSERT_TAIL(node->in, node, link);
	w->n++;
}

void wheel_unset(struct wheel *w, struct wheel_node *node)
{
	if (!node->in)
		return;
	TAILQ_REMOVE(node->in, node, link);
	node->in = NULL;
	w->n--;
}

static void wheel_take_due(struct wheel *w, struct wheel_list *slot, struct wheel_list *due, uint64_t now)
{
	struct wheel_node *node, *next;

	(void)w;
	for (node = TAILQ_FIRST(slot); node; node = next) {
		next = TAILQ_NEXT(node, link);
		if (node->at > now)
			continue;
		TAILQ_REMOVE(slot, node, link);
		TAILQ_INSERT_TAIL(due, node, link);
		node->in = due;
	}
}

void wheel_run(struct wheel *w, uint64_t now, void (*fn)(void *, struct wheel_node *), void *arg)
{
	struct wheel_list due = TAILQ_HEAD_INITIALIZER(due);
	uint64_t tick = now / WHEEL_TICK_MS;
	struct wheel_node *node;

	if (tick > w->tick + WHEEL_SLOTS)
		w->tick = tick - WHEEL_SLOTS;
	while (w->tick < tick) {
		w->tick++;
		wheel_take_due(w, &w->slot[w->tick % WHEEL_SLOTS], &due, now);
	}
	while ((node = TAILQ_FIRST(&due))) {
		wheel_unset(w, node);
		fn(arg, node);
	}
}

int64_t wheel_next(const struct wheel *w, uint64_t now)
{
	uint64_t tick;

	if (w->n == 0)
		return -1;
	for (tick = w->tick + 1; tick < w->tick + WHEEL_SLOTS; tick++)
		if (!TAILQ_EMPTY(&w->slot[tick % WHEEL_SLOTS]))
			break;
	return tick * WHEEL_TICK_MS > now ? (int64_t)(tick * WHEEL_TICK_MS - now) : 0;
}
