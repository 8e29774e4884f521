/*
 * watch.c - who wants to hear of which stream, and telling them after each commit. Store-writer.
 *
 * A notice is a level, so while a peer's queue is above its mark only the newest one of each watch is remembered.
 * Watches are registered, answered and ended between batches only: what a peer hears is always committed.
 */
#include <stdlib.h>

#include "store-worker/store.h"

static struct topic *topic_find(const struct store *st, uint64_t id)
{
	for (struct sl_map_node *n = sl_map_first(&st->topics, sl_hash_u64(id)); n; n = sl_map_next(n)) {
		struct topic *t = SL_OF(n, struct topic, node);

		if (t->id == id)
			return t;
	}
	return NULL;
}

bool watch_live(const struct store *st, uint64_t id)
{
	const struct topic *t = topic_find(st, id);

	return t && t->live;
}

static struct topic *topic_get(struct store *st, uint64_t id)
{
	struct topic *t = topic_find(st, id);

	if (t)
		return t;
	t = calloc(1, sizeof *t);
	if (!t || sl_map_reserve(&st->topics)) {
		free(t);
		return NULL;
	}
	t->id = id;
	sl_link_init(&t->watches);
	sl_link_init(&t->touched);
	sl_map_add(&st->topics, &t->node, sl_hash_u64(id));
	return t;
}

static void topic_drop(struct store *st, struct topic *t)
{
	if (!sl_link_alone(&t->watches))
		return;
	sl_link_del(&t->touched);
	sl_map_del(&st->topics, &t->node);
	free(t);
}

static struct watch *watch_find(const struct peer *p, uint64_t number)
{
	for (struct sl_map_node *n = sl_map_first(&p->watches, sl_hash_u64(number)); n; n = sl_map_next(n)) {
		struct watch *w = SL_OF(n, struct watch, node);

		if (w->number == number)
			return w;
	}
	return NULL;
}

/* A live reader came or left: that is an access. */
static void watch_set_live(struct store *st, struct watch *w, bool live)
{
	struct stream *s;

	if (!w->topic || w->live == live)
		return;
	w->live = live;
	w->topic->live += live ? 1 : (uint32_t)-1;
	if (volume_by_id(&st->volume, w->topic->id, &s) == SE_OK && s)
		access_renew(st, s, store_now(st));
	access_hold(st, w->topic->id, w->topic->live > 0);
}

static void watch_detach(struct store *st, struct watch *w)
{
	struct topic *t = w->topic;

	watch_set_live(st, w, false);
	sl_link_del(&w->list);
	w->topic = NULL;
	if (t)
		topic_drop(st, t);
}

static void watch_free(struct store *st, struct watch *w)
{
	struct peer *p = w->peer;

	watch_detach(st, w);
	sl_link_del(&w->late);
	sl_map_del(&p->watches, &w->node);
	if (w->prefix)
		p->n_prefixes--;
	w->magic = 0;
	free(w);
}

static struct watch *watch_new(struct peer *p, uint64_t number, sl_slice name)
{
	struct watch *w = calloc(1, sizeof *w + name.len);

	if (!w || sl_map_reserve(&p->watches)) {
		free(w);
		return NULL;
	}
	w->magic = WATCH_MAGIC;
	w->peer = p;
	w->number = number;
	w->len = name.len;
	if (name.len)
		memcpy(w->name, name.data, name.len);
	sl_link_init(&w->list);
	sl_link_init(&w->late);
	sl_map_add(&p->watches, &w->node, sl_hash_u64(number));
	return w;
}

static void watch_answer(struct peer *p, const struct sl_store_watched *m)
{
	if (sl_put_store_watched(&p->ipc, m))
		peer_end(p, "out of memory");
	else
		peer_want_flush(p);
}

static void watch_begin(struct store *st, const struct reply *r, sl_slice name)
{
	struct sl_store_watched m = {.watch = r->number, .events = SLUICE_EV_REMOVED};
	struct peer *p = r->peer;
	struct stream *s = NULL;
	struct watch *w;

	if (watch_find(p, r->number) || p->watches.n >= PEER_WATCHES_MAX) {
		peer_end(p, "a watch number was used twice, or there are too many watches");
		return;
	}
	if (name_valid(name) && volume_by_name(&st->volume, name, &s) != SE_OK) {
		peer_end(p, "the store cannot be read");
		return;
	}
	if (s && s->state == SL_LIVE && access_expired(st, s, store_now(st))) {
		m.events |= s->forks ? SLUICE_EV_SOFT : 0;
		s = NULL;
	}
	if (!s || s->state != SL_LIVE) {
		m.events |= s ? SLUICE_EV_SOFT : 0;
		watch_answer(p, &m);
		return;
	}
	w = watch_new(p, r->number, SL_SLICE(NULL, 0));
	if (w)
		w->topic = topic_get(st, s->id);
	if (!w || !w->topic) {
		peer_end(p, "out of memory");
		return;
	}
	sl_link_add(&w->topic->watches, &w->list);
	watch_set_live(st, w, r->flag);
	m.events = SLUICE_EV_TAIL | (s->closed ? SLUICE_EV_CLOSED : 0);
	m.incarnation = s->id;
	m.tail = s->tail;
	watch_answer(p, &m);
}

static void watch_begin_prefix(struct store *st, const struct reply *r, sl_slice prefix)
{
	struct sl_store_watched m = {.watch = r->number, .events = SLUICE_EV_RESYNC};
	struct peer *p = r->peer;
	struct watch *w;

	if (watch_find(p, r->number) || p->n_prefixes >= PEER_PREFIXES_MAX || prefix.len > SL_NAME_MAX) {
		peer_end(p, "a watch number was used twice, or there are too many prefix watches");
		return;
	}
	w = watch_new(p, r->number, prefix);
	if (!w) {
		peer_end(p, "out of memory");
		return;
	}
	w->prefix = true;
	p->n_prefixes++;
	sl_link_add(&st->prefixes, &w->list);
	watch_answer(p, &m);
}

void watch_reply(struct store *st, const struct reply *r, sl_slice name)
{
	struct watch *w = watch_find(r->peer, r->number);

	if (r->kind == REPLY_WATCH)
		watch_begin(st, r, name);
	else if (r->kind == REPLY_PREFIX)
		watch_begin_prefix(st, r, name);
	else if (r->kind == REPLY_LIVE && w)
		watch_set_live(st, w, r->flag);
	else if (r->kind == REPLY_UNWATCH && w)
		watch_free(st, w);
	/* A number that is not known (any more): its stream was removed while the message was on its way. */
}

void watch_drop(struct peer *p)
{
	for (size_t i = 0; i < p->watches.cap; i++)
		while (p->watches.slot[i])
			watch_free(p->store, SL_OF(p->watches.slot[i], struct watch, node));
	sl_map_fini(&p->watches);
}

/* ---- after a commit ---- */

void watch_event(void *arg, const struct se_event *e)
{
	struct store *st = arg;

	if (st->shadow)
		shadow_event(st, e);
	for (size_t i = 0; i < e->n_touches; i++) {
		const struct se_touch *t = &e->touches[i];
		struct topic *topic = topic_find(st, t->topic);

		if (topic) {
			topic->events |= (uint32_t)t->hint;
			if (sl_link_alone(&topic->touched))
				sl_link_add(&st->touched, &topic->touched);
		}
		if (t->hint & SLUICE_EV_REMOVED)
			access_forget(st, t->topic);
		if (!(t->hint & (SLUICE_EV_CREATED | SLUICE_EV_REMOVED)) || sl_link_alone(&st->prefixes))
			continue;
		if (st->n_lives == st->cap_lives) {
			size_t cap = st->cap_lives ? 2 * st->cap_lives : 64;
			struct life *more = realloc(st->lives, cap * sizeof *more);

			if (!more) {
				st->lives_lost = true;
				continue;
			}
			st->lives = more;
			st->cap_lives = cap;
		}
		st->lives[st->n_lives++] = (struct life){.id = t->topic, .events = (uint32_t)t->hint};
	}
}

/* The records that this commit gathered last, when they reach up to the tail and are not too many. */
static void notice_fill(const struct stream *s, const struct peer *p, struct sl_store_notice *m)
{
	const struct gather *g = s ? s->gather : NULL;

	if (!g || g->records == 0 || g->stop != s->tail || g->data.len > PEER_FILL_MAX ||
	    g->marks.len > PEER_FILL_MAX || sl_ipc_queued(&p->ipc) > PEER_FILL_MARK)
		return;
	m->fill_from = g->start;
	m->fill = sl_buf_slice(&g->data);
	m->fill_marks = sl_buf_slice(&g->marks);
}

static void notice_send(struct store *st, struct watch *w, uint32_t events, uint64_t tail, const struct stream *s)
{
	struct sl_store_notice m = {.watch = w->number, .events = events, .tail = tail};
	struct peer *p = w->peer;

	if (p->ended)
		return;
	if (sl_ipc_queued(&p->ipc) > PEER_NOTICE_MARK) {
		w->events |= events;
		w->tail = tail;
		if (sl_link_alone(&w->late))
			sl_link_add(&p->late, &w->late);
		return;
	}
	notice_fill(s, p, &m);
	if (sl_put_store_notice(&p->ipc, &m)) {
		peer_end(p, "out of memory");
		return;
	}
	peer_want_flush(p);
	w->events = 0;
	sl_link_del(&w->late);
	if (events & SLUICE_EV_REMOVED)
		watch_free(st, w);
}

static void topic_notify(struct store *st, struct topic *t)
{
	struct stream *s = NULL;
	uint32_t events = t->events & (SLUICE_EV_TAIL | SLUICE_EV_CLOSED | SLUICE_EV_REMOVED | SLUICE_EV_SOFT);
	uint64_t tail = 0;
	struct sl_link *next;

	t->events = 0;
	if (volume_by_id(&st->volume, t->id, &s) == SE_OK && s) {
		tail = s->tail;
		events |= s->closed ? SLUICE_EV_CLOSED : 0;
	}
	if (events == 0)
		return;
	if (events & SLUICE_EV_REMOVED) {
		/* Watches leave the topic one by one and take it with the last one. */
		while (t && !sl_link_alone(&t->watches)) {
			struct watch *w = SL_OF(t->watches.next, struct watch, list);
			bool last = t->watches.next->next == &t->watches;

			watch_detach(st, w);
			notice_send(st, w, events, tail, NULL);
			if (last)
				t = NULL;
		}
		return;
	}
	for (struct sl_link *l = t->watches.next; l != &t->watches; l = next) {
		next = l->next;
		notice_send(st, SL_OF(l, struct watch, list), events | SLUICE_EV_TAIL, tail, s);
	}
}

static void life_send(struct watch *w, const struct sl_store_life *m)
{
	struct peer *p = w->peer;

	if (p->ended)
		return;
	if (sl_ipc_queued(&p->ipc) > PEER_NOTICE_MARK) {
		w->events = SLUICE_EV_RESYNC;
		if (sl_link_alone(&w->late))
			sl_link_add(&p->late, &w->late);
		return;
	}
	if (sl_put_store_life(&p->ipc, m))
		peer_end(p, "out of memory");
	else
		peer_want_flush(p);
}

static void life_notify(struct store *st, const struct life *l)
{
	struct stream *s = NULL;
	struct sl_store_life m = {.events = l->events, .incarnation = l->id, .time_ms = store_now(st)};

	/* Streams touched by this commit are cached still, dead ones included. */
	if (volume_by_id(&st->volume, l->id, &s) != SE_OK || !s)
		return;
	m.events &= SLUICE_EV_CREATED | SLUICE_EV_REMOVED | SLUICE_EV_SOFT;
	m.stream = stream_name(s);
	m.content_type = stream_type(s);
	for (struct sl_link *at = st->prefixes.next; at != &st->prefixes; at = at->next) {
		struct watch *w = SL_OF(at, struct watch, list);

		if (!sl_slice_prefix(m.stream, SL_SLICE(w->name, w->len)))
			continue;
		m.watch = w->number;
		life_send(w, &m);
	}
}

static void life_resync(struct store *st)
{
	for (struct sl_link *at = st->prefixes.next; at != &st->prefixes; at = at->next) {
		struct watch *w = SL_OF(at, struct watch, list);

		life_send(w, &(struct sl_store_life){
				     .watch = w->number, .events = SLUICE_EV_RESYNC, .stream = SL_STR("")});
	}
	st->lives_lost = false;
}

void watch_notify(struct store *st)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&st->touched)))
		topic_notify(st, SL_OF(l, struct topic, touched));
	for (size_t i = 0; i < st->n_lives; i++)
		life_notify(st, &st->lives[i]);
	st->n_lives = 0;
	if (st->lives_lost)
		life_resync(st);
}

void watch_late(struct peer *p)
{
	while (!p->ended && !sl_link_alone(&p->late) && sl_ipc_queued(&p->ipc) <= PEER_NOTICE_MARK) {
		struct watch *w = SL_OF(sl_link_pop(&p->late), struct watch, late);

		if (w->prefix) {
			w->events = 0;
			life_send(w, &(struct sl_store_life){
					     .watch = w->number, .events = SLUICE_EV_RESYNC, .stream = SL_STR("")});
		} else {
			notice_send(p->store, w, w->events, w->tail, NULL);
		}
	}
}
