/*
 * store_client_watch.c - the watch table of the store client: registration, events, renewal after a writer restart.
 */
#include "lib/store_client_internal.h"

#include <stdlib.h>

enum { NUMBER_SHIFT = 20 };

static struct sl_client_watch *watch_find(struct sl_client *c, uint64_t number)
{
	uint64_t slot = number & ((1u << NUMBER_SHIFT) - 1);
	struct sl_client_watch *w = slot < c->watch_slots.cap ? c->watch_slots.v[slot] : NULL;

	return w && w->number == number ? w : NULL;
}

static void watch_free(struct sl_client *c, struct sl_client_watch *w)
{
	slots_give(&c->watch_slots, w->slot);
	w->magic = 0;
	free(w);
}

static int watch_send(struct sl_client *c, const struct sl_client_watch *w)
{
	sl_slice name = SL_SLICE(w->name, w->len);

	if (w->prefix)
		return sl_put_store_watch_prefix(&c->ipc,
		                                 &(struct sl_store_watch_prefix){.watch = w->number, .prefix = name});
	return sl_put_store_watch(&c->ipc,
	                          &(struct sl_store_watch){.watch = w->number, .stream = name, .live = w->live});
}

static int watch_new(struct sl_client *c, sl_slice name, bool prefix, bool live, void *user,
                     struct sl_client_watch **out)
{
	struct sl_client_watch *w;
	int rc;

	if (c->state == CLIENT_REFUSED)
		return SLUICE_EBUSY;
	if (sl_ipc_queued(&c->ipc) > SL_CLIENT_OUT_MAX)
		return SLUICE_EAGAIN;
	w = malloc(sizeof *w + name.len + 1);
	if (!w)
		return SLUICE_ENOMEM;
	*w = (struct sl_client_watch){
		.magic = CLIENT_WATCH_MAGIC, .user = user, .prefix = prefix, .live = live, .len = name.len};
	if (name.len)
		memcpy(w->name, name.data, name.len);
	rc = slots_take(&c->watch_slots, w, &w->slot);
	if (rc) {
		free(w);
		return rc;
	}
	w->number = c->seq++ << NUMBER_SHIFT | w->slot;
	rc = c->state == CLIENT_UP ? watch_send(c, w) : 0;
	if (rc) {
		watch_free(c, w);
		return rc;
	}
	*out = w;
	return 0;
}

int sl_client_watch(struct sl_client *c, sl_slice stream, bool live, void *user, struct sl_client_watch **out)
{
	return watch_new(c, stream, false, live, user, out);
}

int sl_client_watch_prefix(struct sl_client *c, sl_slice prefix, void *user, struct sl_client_watch **out)
{
	return watch_new(c, prefix, true, false, user, out);
}

void sl_client_watch_live(struct sl_client *c, struct sl_client_watch *w, bool live)
{
	if (w->live == live)
		return;
	w->live = live;
	/* Not sent for want of memory: at worst a TTL stream lives too long or short; the next renewal repeats it. */
	if (c->state == CLIENT_UP)
		(void)sl_put_store_watch_live(&c->ipc, &(struct sl_store_watch_live){.watch = w->number, .live = live});
}

void sl_client_unwatch(struct sl_client *c, struct sl_client_watch *w)
{
	if (!w)
		return;
	/* Not sent for want of memory: notices of a number that nobody knows are ignored. */
	if (c->state == CLIENT_UP)
		(void)sl_put_store_unwatch(&c->ipc, &(struct sl_store_unwatch){.watch = w->number});
	watch_free(c, w);
}

int client_watches_renew(struct sl_client *c)
{
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < c->watch_slots.cap; i++)
		if (c->watch_slots.v[i])
			rc = watch_send(c, c->watch_slots.v[i]);
	return rc;
}

void client_watches_free(struct sl_client *c)
{
	for (uint32_t i = 0; i < c->watch_slots.cap; i++)
		if (c->watch_slots.v[i])
			watch_free(c, c->watch_slots.v[i]);
}

/* After REMOVED the number is dead at the writer too, so the table forgets it before the owner is told. */
static void watch_tell(struct sl_client *c, struct sl_client_watch *w, const struct sl_client_event *e)
{
	void *user = w->user;

	if (e->events & SLUICE_EV_REMOVED)
		watch_free(c, w);
	c->hooks.event(c->arg, user, e);
}

int client_on_watched(void *arg, const struct sl_store_watched *m)
{
	struct sl_client *c = arg;
	struct sl_client_watch *w = watch_find(c, m->watch);
	struct sl_client_event e = {
		.events = m->events, .answer = true, .incarnation = m->incarnation, .tail = m->tail};

	if (!w) /* given up meanwhile */
		return 0;
	if (w->prefix)
		c->hooks.life(c->arg, w->user, &(struct sl_store_life){.watch = m->watch, .events = SLUICE_EV_RESYNC});
	else
		watch_tell(c, w, &e);
	return 0;
}

int client_on_notice(void *arg, const struct sl_store_notice *m)
{
	struct sl_client *c = arg;
	struct sl_client_watch *w = watch_find(c, m->watch);
	struct sl_client_event e = {.events = m->events,
	                            .tail = m->tail,
	                            .fill_from = m->fill_from,
	                            .fill = m->fill,
	                            .fill_marks = m->fill_marks};

	if (!w)
		return 0;
	if (w->prefix)
		return SLUICE_EINVAL;
	watch_tell(c, w, &e);
	return 0;
}

int client_on_life(void *arg, const struct sl_store_life *m)
{
	struct sl_client *c = arg;
	struct sl_client_watch *w = watch_find(c, m->watch);

	if (!w)
		return 0;
	if (!w->prefix)
		return SLUICE_EINVAL;
	c->hooks.life(c->arg, w->user, m);
	return 0;
}
