/*
 * loop.c - the loop as plugins see it: watches, timers, deferred calls. Process: sluice-frontend.
 *
 * Freed handles are buried at the end of the turn, so that a second free or a late use meets a cleared magic word and
 * aborts instead of corrupting the heap.
 */
#include "frontend/worker.h"

#include <assert.h>
#include <stdlib.h>

static int ctx_take(struct sluice_ctx *ctx)
{
	host_ctx_check(ctx);
	if (ctx->n_handles >= HANDLES_MAX)
		return SLUICE_EBUSY;
	ctx->n_handles++;
	return 0;
}

static void watch_ready(evutil_socket_t fd, short what, void *arg)
{
	struct sluice_watch *w = arg;
	int events = (what & EV_READ ? SLUICE_READ : 0) | (what & EV_WRITE ? SLUICE_WRITE : 0);

	(void)fd;
	if (w->magic == WATCH_MAGIC)
		w->fn(w->arg, events);
}

static short watch_what(int events)
{
	return (short)(EV_PERSIST | (events & SLUICE_READ ? EV_READ : 0) | (events & SLUICE_WRITE ? EV_WRITE : 0));
}

int loop_watch_new(struct sluice_ctx *ctx, int fd, int events, void (*fn)(void *, int), void *arg,
                   struct sluice_watch **out)
{
	struct sluice_watch *w;
	int rc = ctx_take(ctx);

	if (rc)
		return rc;
	w = calloc(1, sizeof *w);
	if (w)
		w->event = event_new(ctx->worker->base, fd, watch_what(events), watch_ready, w);
	if (!w || !w->event || (events && event_add(w->event, NULL))) {
		if (w && w->event)
			event_free(w->event);
		free(w);
		ctx->n_handles--;
		return SLUICE_ENOMEM;
	}
	w->magic = WATCH_MAGIC;
	w->ctx = ctx;
	w->fn = fn;
	w->arg = arg;
	w->events = events;
	sl_link_init(&w->grave);
	sl_link_add(&ctx->watches, &w->in_ctx);
	*out = w;
	return 0;
}

int loop_watch_set(struct sluice_watch *w, int events)
{
	host_thread_check();
	assert(w->magic == WATCH_MAGIC);
	if (events == w->events)
		return 0;
	event_del(w->event);
	w->events = events;
	if (event_assign(w->event, w->ctx->worker->base, event_get_fd(w->event), watch_what(events), watch_ready, w))
		return SLUICE_EINTERNAL;
	return events && event_add(w->event, NULL) ? SLUICE_ENOMEM : 0;
}

void loop_watch_free(struct sluice_watch *w)
{
	if (!w)
		return;
	host_thread_check();
	assert(w->magic == WATCH_MAGIC);
	w->magic = 0;
	event_del(w->event);
	sl_link_del(&w->in_ctx);
	w->ctx->n_handles--;
	sl_link_add(&w->ctx->worker->graves_watch, &w->grave);
}

/* A descriptor that another process has open too would go on being reported by epoll after it was closed here. */
void loop_forget_fd(struct sluice_ctx *ctx, int fd)
{
	for (struct sl_link *l = ctx->watches.next; l != &ctx->watches; l = l->next) {
		struct sluice_watch *w = SL_OF(l, struct sluice_watch, in_ctx);

		if (event_get_fd(w->event) == fd)
			(void)loop_watch_set(w, 0);
	}
}

static void timer_due(evutil_socket_t fd, short what, void *arg)
{
	struct sluice_timer *t = arg;

	(void)fd;
	(void)what;
	if (t->magic == TIMER_MAGIC)
		t->fn(t->arg);
}

int loop_timer_new(struct sluice_ctx *ctx, void (*fn)(void *), void *arg, struct sluice_timer **out)
{
	struct sluice_timer *t;
	int rc = ctx_take(ctx);

	if (rc)
		return rc;
	t = calloc(1, sizeof *t);
	if (t)
		t->event = evtimer_new(ctx->worker->base, timer_due, t);
	if (!t || !t->event) {
		free(t);
		ctx->n_handles--;
		return SLUICE_ENOMEM;
	}
	t->magic = TIMER_MAGIC;
	t->ctx = ctx;
	t->fn = fn;
	t->arg = arg;
	sl_link_init(&t->grave);
	sl_link_add(&ctx->timers, &t->in_ctx);
	*out = t;
	return 0;
}

void loop_timer_set(struct sluice_timer *t, int64_t ms)
{
	struct timeval tv = {.tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000};

	host_thread_check();
	assert(t->magic == TIMER_MAGIC);
	evtimer_del(t->event);
	/* Fails only when memory is out entirely; a timer that silently never fires would be worse than leaving. */
	if (ms >= 0 && evtimer_add(t->event, &tv))
		worker_fail(t->ctx->worker, "no memory for a timer");
}

void loop_timer_free(struct sluice_timer *t)
{
	if (!t)
		return;
	host_thread_check();
	assert(t->magic == TIMER_MAGIC);
	t->magic = 0;
	evtimer_del(t->event);
	sl_link_del(&t->in_ctx);
	t->ctx->n_handles--;
	sl_link_add(&t->ctx->worker->graves_timer, &t->grave);
}

int loop_defer(struct sluice_ctx *ctx, void (*fn)(void *), void *arg)
{
	struct host_call *c;
	int rc = ctx_take(ctx);

	if (rc)
		return rc;
	c = malloc(sizeof *c);
	if (!c) {
		ctx->n_handles--;
		return SLUICE_ENOMEM;
	}
	*c = (struct host_call){.ctx = ctx, .fn = fn, .arg = arg};
	sl_link_add(&ctx->defers, &c->in_ctx);
	sl_link_init(&c->queued);
	sl_link_add(&ctx->worker->defers, &c->queued);
	return 0;
}

static void call_free(struct host_call *c)
{
	sl_link_del(&c->queued);
	sl_link_del(&c->in_ctx);
	c->ctx->n_handles--;
	free(c);
}

void loop_run_defers(struct worker *w)
{
	struct sl_link now, *l;

	sl_link_init(&now);
	sl_link_splice(&now, &w->defers);
	while ((l = sl_link_pop(&now))) {
		struct host_call *c = SL_OF(l, struct host_call, queued);
		void (*fn)(void *) = c->fn;
		void *arg = c->arg;

		call_free(c);
		fn(arg);
	}
}

void loop_bury(struct worker *w)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&w->graves_watch))) {
		struct sluice_watch *watch = SL_OF(l, struct sluice_watch, grave);

		event_free(watch->event);
		free(watch);
	}
	while ((l = sl_link_pop(&w->graves_timer))) {
		struct sluice_timer *timer = SL_OF(l, struct sluice_timer, grave);

		event_free(timer->event);
		free(timer);
	}
}

size_t loop_reclaim(struct sluice_ctx *ctx)
{
	size_t n = 0;

	for (; !sl_link_alone(&ctx->watches); n++)
		loop_watch_free(SL_OF(ctx->watches.next, struct sluice_watch, in_ctx));
	for (; !sl_link_alone(&ctx->timers); n++)
		loop_timer_free(SL_OF(ctx->timers.next, struct sluice_timer, in_ctx));
	for (; !sl_link_alone(&ctx->defers); n++)
		call_free(SL_OF(ctx->defers.next, struct host_call, in_ctx));
	return n;
}
