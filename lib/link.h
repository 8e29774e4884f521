/*
 * link.h - intrusive circular doubly linked lists. Every process.
 *
 * A link is a member of the object it holds in a list; the head is a link of its own. An initialised link that is in no
 * list may be removed again, so "is it in a list" needs no flag.
 */
#ifndef SL_LINK_H
#define SL_LINK_H

#include <stdbool.h>
#include <stddef.h>

struct sl_link {
	struct sl_link *prev, *next;
};

#define SL_OF(link, type, member) ((type *)(void *)((char *)(link)-offsetof(type, member)))

static inline void sl_link_init(struct sl_link *l)
{
	l->prev = l->next = l;
}

static inline bool sl_link_alone(const struct sl_link *l) /* an empty list, or a link that is in none */
{
	return l->next == l;
}

static inline void sl_link_add(struct sl_link *head, struct sl_link *l) /* becomes the last */
{
	l->prev = head->prev;
	l->next = head;
	head->prev->next = l;
	head->prev = l;
}

static inline void sl_link_del(struct sl_link *l)
{
	l->prev->next = l->next;
	l->next->prev = l->prev;
	sl_link_init(l);
}

static inline struct sl_link *sl_link_pop(struct sl_link *head) /* the first, taken out; NULL: none */
{
	struct sl_link *l = head->next;

	if (l == head)
		return NULL;
	sl_link_del(l);
	return l;
}

/* Moves all of `from` in front of what is in head. */
static inline void sl_link_splice(struct sl_link *head, struct sl_link *from)
{
	if (sl_link_alone(from))
		return;
	from->prev->next = head->next;
	head->next->prev = from->prev;
	head->next = from->next;
	from->next->prev = head;
	sl_link_init(from);
}

#endif
