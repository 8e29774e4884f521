/*
 * subs.c - subscriptions: one watch at the writer for all local subscribers of a stream. Process: sluice-frontend.
 *
 * Events are levels. Notices only mark their watch; one pass at the end of the turn tells every subscriber once.
 * Callbacks may subscribe and unsubscribe anything: newcomers stand before the one being told and are not met by the
 * pass, and the place of the next one (store.iterating) moves on when that one leaves.
 */
#include "frontend/worker.h"
#include "lib/hash.h"

#include <assert.h>
#include <stdlib.h>

#define HOST_WATCH_MAGIC 0x48577463u
enum { BUCKETS_FIRST = 1024, LIFE_MAX = 1024 };

struct host_watch *subs_find(struct worker *w, sl_slice name)
{
	uint64_t hash = sl_hash(name);
	struct host_watch *hw = w->store.n_bucket ? w->store.bucket[hash & (w->store.n_bucket - 1)] : NULL;

	while (hw && (hw->hash != hash || !sl_slice_eq(SL_SLICE(hw->name, hw->len), name)))
		hw = hw->hash_next;
	return hw;
}

/* Twice the buckets; when memory is short the chains grow longer instead. */
static void table_grow(struct store *s)
{
	size_t n = s->n_bucket ? 2 * s->n_bucket : BUCKETS_FIRST;
	struct host_watch **bucket = calloc(n, sizeof *bucket);

	if (!bucket)
		return;
	for (size_t i = 0; i < s->n_bucket; i++) {
		while (s->bucket[i]) {
			struct host_watch *hw = s->bucket[i];

			s->bucket[i] = hw->hash_next;
			hw->hash_next = bucket[hw->hash & (n - 1)];
			bucket[hw->hash & (n - 1)] = hw;
		}
	}
	free(s->bucket);
	s->bucket = bucket;
	s->n_bucket = n;
}

static void table_add(struct store *s, struct host_watch *hw)
{
	struct host_watch **at;

	if (s->n_watch >= s->n_bucket)
		table_grow(s);
	at = &s->bucket[hw->hash & (s->n_bucket - 1)];
	hw->hash_next = *at;
	*at = hw;
	s->n_watch++;
}

static void table_remove(struct store *s, struct host_watch *hw)
{
	struct host_watch **at = &s->bucket[hw->hash & (s->n_bucket - 1)];

	while (*at && *at != hw)
		at = &(*at)->hash_next;
	if (!*at)
		return;
	*at = hw->hash_next;
	s->n_watch--;
}

/* -- watches -- */

static void watch_free(struct worker *w, struct host_watch *hw)
{
	table_remove(&w->store, hw);
	cache_drop(w, hw);
	sl_client_unwatch(w->store.client, hw->at_writer);
	sl_link_del(&hw->dirty);
	sl_link_del(&hw->idle);
	hw->magic = 0;
	free(hw);
}

static bool watch_evict(struct worker *w)
{
	if (sl_link_alone(&w->store.idle))
		return false;
	watch_free(w, SL_OF(w->store.idle.next, struct host_watch, idle));
	return true;
}

static int watch_new(struct worker *w, sl_slice name, bool live, struct host_watch **out)
{
	struct store *s = &w->store;
	struct host_watch *hw = calloc(1, sizeof *hw + name.len + 1);
	int rc;

	if (!hw)
		return SLUICE_ENOMEM;
	hw->magic = HOST_WATCH_MAGIC;
	hw->hash = sl_hash(name);
	hw->len = name.len;
	memcpy(hw->name, name.data, name.len);
	sl_link_init(&hw->subs);
	sl_link_init(&hw->dirty);
	sl_link_init(&hw->idle);
	rc = sl_client_watch(s->client, name, live, hw, &hw->at_writer);
	if (rc == SLUICE_EAGAIN && watch_evict(w)) /* the table may be full of watches that merely linger */
		rc = sl_client_watch(s->client, name, live, hw, &hw->at_writer);
	if (rc) {
		free(hw);
		return rc;
	}
	table_add(s, hw);
	*out = hw;
	return 0;
}

static void watch_live(struct worker *w, struct host_watch *hw, int by)
{
	hw->n_live += (uint32_t)by;
	if (hw->at_writer)
		sl_client_watch_live(w->store.client, hw->at_writer, hw->n_live > 0);
}

static void watch_mark(struct worker *w, struct host_watch *hw, uint32_t events)
{
	hw->pending |= events;
	sl_link_del(&hw->dirty);
	sl_link_add(&w->store.dirty, &hw->dirty);
}

/* Its stream is gone as far as this worker can tell: told to its subscribers, met by nobody from now on. */
static void watch_over(struct worker *w, struct host_watch *hw, uint32_t events)
{
	sl_client_unwatch(w->store.client, hw->at_writer);
	hw->at_writer = NULL;
	table_remove(&w->store, hw); /* who subscribes from now on gets a new watch */
	cache_drop(w, hw);
	sl_link_del(&hw->idle);
	watch_mark(w, hw, events);
}

/* Another volume may know the same incarnation with an earlier tail, or open again: no level heard before holds. */
void subs_new_volume(struct worker *w)
{
	for (size_t i = 0; i < w->store.n_bucket; i++)
		for (struct host_watch *hw = w->store.bucket[i], *next; hw; hw = next) {
			next = hw->hash_next;
			if (hw->answered)
				watch_over(w, hw, SLUICE_EV_REMOVED);
		}
}

void subs_event(void *worker, void *user, const struct sl_client_event *e)
{
	struct worker *w = worker;
	struct host_watch *hw = user;
	uint32_t events = e->events & (SLUICE_EV_TAIL | SLUICE_EV_CLOSED | SLUICE_EV_REMOVED | SLUICE_EV_SOFT);

	assert(hw->magic == HOST_WATCH_MAGIC);
	if (events & SLUICE_EV_REMOVED)
		hw->at_writer = NULL; /* the client has forgotten it */
	else if (e->answer && hw->answered && hw->incarnation != e->incarnation) {
		/* Another stream bears the name since the writer's restart: for these subscribers theirs is gone. */
		events = SLUICE_EV_REMOVED;
	} else if (e->answer) {
		hw->answered = true;
		hw->incarnation = e->incarnation;
		events |= SLUICE_EV_TAIL;
	}
	if (e->tail > hw->tail)
		hw->tail = e->tail;
	hw->closed |= events & SLUICE_EV_CLOSED;
	if (events & SLUICE_EV_REMOVED) {
		watch_over(w, hw, events);
		return;
	}
	if (e->fill.data)
		cache_fill(w, hw, e->fill_from, e->fill, e->fill_marks);
	watch_mark(w, hw, events);
}

/* -- subscribers -- */

static struct sluice_sub *sub_new(struct sluice_ctx *ctx, sluice_event_fn *fn, void *arg)
{
	struct sluice_sub *sub;

	if (ctx->n_handles >= HANDLES_MAX)
		return NULL;
	sub = calloc(1, sizeof *sub);
	if (!sub)
		return NULL;
	sub->magic = SUB_MAGIC;
	sub->ctx = ctx;
	sub->fn = fn;
	sub->arg = arg;
	sl_link_init(&sub->in_watch);
	sl_link_init(&sub->fresh);
	sl_link_init(&sub->grave);
	sl_link_add(&ctx->subs, &sub->in_ctx);
	ctx->n_handles++;
	return sub;
}

static void sub_bury(struct sluice_sub *sub)
{
	sub->magic = 0;
	sl_link_del(&sub->in_ctx);
	sl_link_del(&sub->fresh);
	sub->ctx->n_handles--;
	sl_link_add(&sub->ctx->worker->graves_sub, &sub->grave);
}

void subs_bury(struct worker *w)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&w->graves_sub)))
		free(SL_OF(l, struct sluice_sub, grave));
}

/* The name with the instance's prefix; valid until the next call. */
static int sub_name(struct sluice_ctx *ctx, sl_slice name, sl_slice *full)
{
	struct sl_buf *b = &ctx->worker->store.names;

	if (!*ctx->prefix) {
		*full = name;
		return 0;
	}
	b->len = b->off = 0;
	if (sl_buf_add(b, ctx->prefix, strlen(ctx->prefix)) || sl_buf_add(b, name.data, name.len))
		return SLUICE_ENOMEM;
	*full = sl_buf_slice(b);
	return 0;
}

int subs_subscribe(struct sluice_ctx *ctx, sl_slice stream, int live, sluice_event_fn *fn, void *arg,
                   struct sluice_sub **out)
{
	struct worker *w = ctx->worker;
	struct host_watch *hw;
	struct sluice_sub *sub;
	sl_slice name;
	int rc;

	host_ctx_check(ctx);
	if (!fn || !out || !stream.data || stream.len == 0 || memchr(stream.data, 0, stream.len))
		return SLUICE_EINVAL;
	rc = sub_name(ctx, stream, &name);
	if (rc)
		return rc;
	sub = sub_new(ctx, fn, arg);
	if (!sub)
		return SLUICE_ENOMEM;
	hw = subs_find(w, name);
	rc = hw ? 0 : watch_new(w, name, live != 0, &hw);
	if (rc) {
		sub_bury(sub);
		return rc;
	}
	sub->watch = hw;
	sub->live = live != 0;
	sl_link_add(hw->subs.next, &sub->in_watch);
	sl_link_del(&hw->idle);
	if (sub->live)
		watch_live(w, hw, 1);
	/* Not answered yet: the answer is the first event. Otherwise it is the level as known here. */
	if (hw->answered)
		sl_link_add(&w->store.fresh, &sub->fresh);
	*out = sub;
	return 0;
}

void subs_unsubscribe(struct sluice_sub *sub)
{
	struct worker *w;
	struct host_watch *hw;

	if (!sub)
		return;
	host_thread_check();
	assert(sub->magic == SUB_MAGIC);
	w = sub->ctx->worker;
	hw = sub->watch;
	if (w->store.iterating == &sub->in_watch)
		w->store.iterating = sub->in_watch.next;
	sl_link_del(&sub->in_watch);
	if (hw && sub->live)
		watch_live(w, hw, -1);
	if (hw && hw->at_writer && sl_link_alone(&hw->subs)) {
		hw->idle_since = worker_now(w);
		sl_link_del(&hw->idle);
		sl_link_add(&w->store.idle, &hw->idle);
	}
	if (sub->prefix) {
		struct prefix_watch *p = sub->prefix;
		struct sl_link *l;

		while ((l = sl_link_pop(&p->events)))
			free(SL_OF(l, struct life_event, next));
		sl_link_del(&p->dirty);
		sl_client_unwatch(w->store.client, p->at_writer);
		sub->prefix = NULL;
		free(p);
	}
	sub_bury(sub);
}

/* -- life-cycle events -- */

int subs_subscribe_prefix(struct sluice_ctx *ctx, sl_slice prefix, sluice_event_fn *fn, void *arg,
                          struct sluice_sub **out)
{
	struct prefix_watch *p;
	struct sluice_sub *sub;
	sl_slice name;
	int rc;

	host_ctx_check(ctx);
	if (!fn || !out)
		return SLUICE_EINVAL;
	rc = sub_name(ctx, prefix.data ? prefix : SL_STR(""), &name);
	if (rc)
		return rc;
	p = calloc(1, sizeof *p);
	sub = p ? sub_new(ctx, fn, arg) : NULL;
	if (!sub) {
		free(p);
		return SLUICE_ENOMEM;
	}
	sl_link_init(&p->events);
	sl_link_init(&p->dirty);
	p->sub = sub;
	rc = sl_client_watch_prefix(ctx->worker->store.client, name, p, &p->at_writer);
	if (rc) {
		free(p);
		sub_bury(sub);
		return rc;
	}
	sub->prefix = p;
	*out = sub;
	return 0;
}

/* Too many, or no memory for one: the list is dropped and the watcher lists again. */
static void prefix_resync(struct prefix_watch *p, struct life_event *spare)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&p->events)))
		free(SL_OF(l, struct life_event, next));
	free(spare);
	p->n_events = 0;
	p->resync = true;
}

void subs_life(void *worker, void *user, const struct sl_store_life *m)
{
	struct worker *w = worker;
	struct prefix_watch *p = user;
	struct life_event *e;

	sl_link_del(&p->dirty);
	sl_link_add(&w->store.prefix_dirty, &p->dirty);
	if (m->events & SLUICE_EV_RESYNC) {
		prefix_resync(p, NULL);
		return;
	}
	if (p->resync) /* not told yet: the listing will show it */
		return;
	e = p->n_events < LIFE_MAX ? malloc(sizeof *e + m->stream.len + m->content_type.len) : NULL;
	if (!e) {
		prefix_resync(p, NULL);
		return;
	}
	*e = (struct life_event){.events = m->events,
	                         .incarnation = m->incarnation,
	                         .time_ms = m->time_ms,
	                         .n_stream = m->stream.len,
	                         .n_type = m->content_type.len};
	if (m->stream.len)
		memcpy(e->text, m->stream.data, m->stream.len);
	if (m->content_type.len)
		memcpy(e->text + m->stream.len, m->content_type.data, m->content_type.len);
	sl_link_init(&e->next);
	sl_link_add(&p->events, &e->next);
	p->n_events++;
}

static void prefix_tell(struct prefix_watch *p)
{
	struct sluice_sub *sub = p->sub; /* stays readable until the end of the turn, the watch need not */
	size_t prefix = strlen(sub->ctx->prefix);
	struct sl_link now, *l;

	sl_link_init(&now);
	if (p->resync) {
		struct sluice_event resync = {.size = sizeof resync, .kind = SLUICE_EV_RESYNC};

		p->resync = false;
		sub->fn(sub->arg, &resync);
		return;
	}
	sl_link_splice(&now, &p->events);
	p->n_events = 0;
	while ((l = sl_link_pop(&now))) {
		struct life_event *e = SL_OF(l, struct life_event, next);
		struct sluice_event event = {.size = sizeof event,
		                             .kind = e->events,
		                             .stream = SL_SLICE(e->text + prefix, e->n_stream - prefix),
		                             .content_type = SL_SLICE(e->text + e->n_stream, e->n_type),
		                             .incarnation = store_id_out(&sub->ctx->worker->store, e->incarnation),
		                             .time_ms = e->time_ms};

		if (sub->magic == SUB_MAGIC && e->n_stream >= prefix)
			sub->fn(sub->arg, &event);
		free(e);
	}
}

/* -- telling -- */

static void sub_tell(struct worker *w, struct sluice_sub *sub, const struct host_watch *hw, uint32_t events)
{
	size_t prefix = strlen(sub->ctx->prefix);
	struct sluice_event e = {.size = sizeof e,
	                         .kind = events,
	                         .stream = SL_SLICE(hw->name + prefix, hw->len - prefix),
	                         .tail = hw->tail,
	                         .incarnation = store_id_out(&w->store, hw->incarnation)};

	++*w->store.n_events;
	sl_link_del(&sub->fresh);
	sub->fn(sub->arg, &e);
}

static void watch_tell(struct worker *w, struct host_watch *hw)
{
	struct store *s = &w->store;
	uint32_t events = hw->pending;
	bool over = events & SLUICE_EV_REMOVED;

	hw->pending = 0;
	s->iterating = hw->subs.next;
	while (s->iterating != &hw->subs) {
		struct sluice_sub *sub = SL_OF(s->iterating, struct sluice_sub, in_watch);

		s->iterating = s->iterating->next;
		if (over) {
			sl_link_del(&sub->in_watch);
			sub->watch = NULL;
		}
		sub_tell(w, sub, hw, events);
	}
	s->iterating = NULL;
	if (over)
		watch_free(w, hw);
}

void subs_run(struct worker *w)
{
	struct store *s = &w->store;
	struct sl_link dirty, fresh, prefixes, *l;

	sl_link_init(&dirty);
	sl_link_init(&fresh);
	sl_link_init(&prefixes);
	sl_link_splice(&dirty, &s->dirty);
	sl_link_splice(&fresh, &s->fresh);
	sl_link_splice(&prefixes, &s->prefix_dirty);
	while ((l = sl_link_pop(&dirty)))
		watch_tell(w, SL_OF(l, struct host_watch, dirty));
	while ((l = sl_link_pop(&fresh))) {
		struct sluice_sub *sub = SL_OF(l, struct sluice_sub, fresh);

		sub_tell(w, sub, sub->watch, SLUICE_EV_TAIL | sub->watch->closed);
	}
	while ((l = sl_link_pop(&prefixes)))
		prefix_tell(SL_OF(l, struct prefix_watch, dirty));
}

void subs_sweep(struct worker *w)
{
	struct sl_link *idle = &w->store.idle;

	while (!sl_link_alone(idle) &&
	       worker_now(w) - SL_OF(idle->next, struct host_watch, idle)->idle_since >= LINGER_MS)
		watch_evict(w);
}

int subs_init(struct worker *w)
{
	struct store *s = &w->store;

	sl_link_init(&s->dirty);
	sl_link_init(&s->idle);
	sl_link_init(&s->fresh);
	sl_link_init(&s->prefix_dirty);
	sl_link_init(&s->caches);
	s->bucket = calloc(BUCKETS_FIRST, sizeof *s->bucket);
	s->n_bucket = s->bucket ? BUCKETS_FIRST : 0;
	return s->bucket ? 0 : SLUICE_ENOMEM;
}

void subs_fini(struct worker *w)
{
	struct store *s = &w->store;
	struct sl_link *l;

	while ((l = sl_link_pop(&s->dirty))) { /* those that are over are in no other list */
		struct host_watch *hw = SL_OF(l, struct host_watch, dirty);

		if (!hw->at_writer)
			watch_free(w, hw);
	}
	for (size_t i = 0; i < s->n_bucket; i++)
		while (s->bucket[i])
			watch_free(w, s->bucket[i]);
	free(s->bucket);
	s->bucket = NULL;
	s->n_bucket = 0;
	subs_bury(w);
}
