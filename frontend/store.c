/*
 * store.c - the store as plugins see it: its table, requests in general, and the connection's place in the loop.
 * Process: sluice-frontend. Writes are in submit.c, reads in reads.c, watches in subs.c.
 */
#include "frontend/worker.h"
#include "lib/build.h"
#include "lib/log.h"

#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

enum { RULES_MAX = 4096 };

/* -- requests -- */

struct sluice_req *store_req_new(struct sluice_ctx *ctx, enum req_kind kind, size_t extra, void *arg)
{
	struct sluice_req *r;

	host_ctx_check(ctx);
	if (ctx->n_handles >= HANDLES_MAX)
		return NULL;
	r = calloc(1, sizeof *r + extra);
	if (!r)
		return NULL;
	r->magic = REQ_MAGIC;
	r->kind = kind;
	r->ctx = ctx;
	r->arg = arg;
	r->queued_us = worker_now_us(ctx->worker);
	sl_link_init(&r->queued);
	sl_link_add(&ctx->reqs, &r->in_ctx);
	ctx->n_handles++;
	return r;
}

void store_req_free(struct sluice_req *r)
{
	for (size_t i = 0; i < r->n_payload; i++)
		payload_free(r->payload[i]);
	for (size_t i = 0; i < r->n_own_fd; i++)
		close(r->own_fd[i]);
	sl_link_del(&r->queued);
	sl_link_del(&r->in_ctx);
	r->ctx->n_handles--;
	r->magic = 0;
	free(r);
}

void store_req_check(const struct sluice_req *r)
{
	host_thread_check();
	assert(r && r->magic == REQ_MAGIC);
}

/* Forgets the answer. What the writer already has goes on; descriptors it may still need stay open until it answers. */
static void store_cancel(struct sluice_req *r)
{
	if (!r)
		return;
	store_req_check(r);
	if (r->kind == REQ_SUBMIT)
		submit_cancel(r);
	else if (r->kind == REQ_PING)
		roster_cancel(r);
	else
		reads_cancel(r);
}

static int store_on_room(struct sluice_ctx *ctx, void (*fn)(void *), void *arg)
{
	struct host_call *c;

	host_ctx_check(ctx);
	if (ctx->n_handles >= HANDLES_MAX)
		return SLUICE_EBUSY;
	c = malloc(sizeof *c);
	if (!c)
		return SLUICE_ENOMEM;
	*c = (struct host_call){.ctx = ctx, .fn = fn, .arg = arg};
	sl_link_init(&c->queued);
	sl_link_add(&ctx->rooms, &c->in_ctx);
	sl_link_add(&ctx->worker->store.rooms, &c->queued);
	ctx->n_handles++;
	return 0;
}

static void room_free(struct host_call *c)
{
	sl_link_del(&c->queued);
	sl_link_del(&c->in_ctx);
	c->ctx->n_handles--;
	free(c);
}

static void store_run_rooms(struct worker *w)
{
	struct sl_link now, *l;

	/* Somebody may wait although the client refused nobody: then there is room. */
	if (!w->store.room && !sl_client_has_room(w->store.client))
		return;
	w->store.room = false;
	sl_link_init(&now);
	sl_link_splice(&now, &w->store.rooms);
	while ((l = sl_link_pop(&now))) {
		struct host_call *c = SL_OF(l, struct host_call, queued);
		void (*fn)(void *) = c->fn;
		void *arg = c->arg;

		room_free(c);
		fn(arg);
	}
}

/* -- retention -- */

static int store_retention(struct sluice_ctx *ctx, const struct sluice_retention_rule *rules, size_t n)
{
	struct store *s = &ctx->worker->store;
	size_t own = strlen(ctx->prefix);
	struct sl_store_rule *more;

	host_ctx_check(ctx);
	if (n == 0 || n > RULES_MAX - s->n_rules)
		return n ? SLUICE_ETOOBIG : 0;
	more = realloc(s->rules, (s->n_rules + n) * sizeof *more);
	if (!more)
		return SLUICE_ENOMEM;
	s->rules = more;
	for (size_t i = 0; i < n; i++) {
		char *prefix = malloc(own + rules[i].prefix.len + 1);

		if (!prefix)
			return SLUICE_ENOMEM;
		memcpy(prefix, ctx->prefix, own);
		if (rules[i].prefix.len)
			memcpy(prefix + own, rules[i].prefix.data, rules[i].prefix.len);
		s->rules[s->n_rules++] = (struct sl_store_rule){.prefix = SL_SLICE(prefix, own + rules[i].prefix.len),
		                                                .max_age_ms = rules[i].max_age_ms,
		                                                .max_bytes = rules[i].max_bytes};
	}
	return sl_client_up(s->client) ? sl_client_retention(s->client, s->rules, s->n_rules) : 0;
}

const struct sluice_store store_table = {
	.size = sizeof store_table,
	.submit = submit_submit,
	.read = reads_read,
	.subscribe = subs_subscribe,
	.subscribe_prefix = subs_subscribe_prefix,
	.unsubscribe = subs_unsubscribe,
	.cancel = store_cancel,
	.on_room = store_on_room,
	.list = reads_list,
	.retention = store_retention,
	.list_items = reads_list_items,
};

/* -- the connection -- */

static uint64_t hook_now(void *arg)
{
	return worker_now(arg);
}

/* Opens the volume, or opens it anew when it is another one (restore): nothing read before says anything about it. */
static int hook_up(void *arg, const struct sl_store_welcome *m, const char **why)
{
	struct worker *w = arg;
	struct store *s = &w->store;
	bool known = s->have_generation;
	bool same = s->reader && s->schema == m->schema && s->have_generation &&
	            m->generation.len == sizeof s->generation &&
	            memcmp(m->generation.data, s->generation, sizeof s->generation) == 0;

	if (m->generation.len != sizeof s->generation) {
		*why = "the writer did not name its volume";
		return SLUICE_EINVAL;
	}
	if (!same) {
		s->volume = (uint8_t)(s->volume + s->have_generation);
		sl_reader_close(s->reader);
		s->reader = NULL;
		cache_drop_all(w);
		if (s->have_generation)
			subs_new_volume(w);
		if (sl_reader_open(w->data_dir, m->schema, (uint64_t)sl_conf_int(w->conf, "store.reader_mmap"),
		                   &s->reader, why))
			return SLUICE_EINTERNAL;
		memcpy(s->generation, m->generation.data, sizeof s->generation);
		s->have_generation = true;
		s->schema = m->schema;
	}
	s->down_since = 0;
	sl_log(SLUICE_LOG_INFO, "writer_up schema=%u volume=%s", m->schema, same ? "as_before" : known ? "replaced" : "opened");
	return s->n_rules ? sl_client_retention(s->client, s->rules, s->n_rules) : 0;
}

static void store_unwatch_fd(struct store *s)
{
	if (s->ev_read)
		event_free(s->ev_read);
	if (s->ev_write)
		event_free(s->ev_write);
	s->ev_read = s->ev_write = NULL;
}

static void hook_down(void *arg)
{
	struct worker *w = arg;

	store_unwatch_fd(&w->store);
	w->store.down_since = worker_now(w);
	sl_log(SLUICE_LOG_WARN, "writer_down unanswered=%zu", sl_client_pending(w->store.client));
	control_store_lost(w);
}

static void hook_refused(void *arg, const char *why)
{
	worker_fail(arg, why);
}

static void hook_room(void *arg)
{
	((struct worker *)arg)->store.room = true;
}

static const struct sl_client_hooks store_hooks = {
	.now_ms = hook_now,
	.up = hook_up,
	.down = hook_down,
	.refused = hook_refused,
	.event = subs_event,
	.life = subs_life,
	.room = hook_room,
};

static void store_readable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	sl_client_readable(((struct worker *)arg)->store.client);
}

static void store_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg; /* worker_turn() flushes */
}

static void store_tick(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct store *s = &w->store;

	(void)fd;
	(void)what;
	sl_client_tick(s->client);
	*s->n_queued = sl_client_pending(s->client);
	reads_expire(w);
	subs_sweep(w);
	if (s->reader)
		sl_reader_tidy(s->reader);
	if (s->down_since && w->state == WORKER_RUNNING && worker_now(w) - s->down_since > DOWN_MAX_MS)
		worker_fail(w, "no connection to the store's writer for too long");
}

int store_link(struct worker *w, int fd)
{
	struct store *s = &w->store;
	int rc;

	if (!s->client) {
		close(fd);
		return SLUICE_EINVAL;
	}
	rc = sl_client_link(s->client, fd);
	if (rc == SLUICE_EDENIED) /* on our way out already */
		return 0;
	store_unwatch_fd(s);
	fd = sl_client_fd(s->client);
	if (rc || fd < 0)
		return rc;
	s->ev_read = event_new(w->base, fd, EV_READ | EV_PERSIST, store_readable, w);
	s->ev_write = event_new(w->base, fd, EV_WRITE, store_writable, w);
	return s->ev_read && s->ev_write && event_add(s->ev_read, NULL) == 0 ? 0 : SLUICE_ENOMEM;
}

int store_init(struct worker *w)
{
	struct store *s = &w->store;
	const struct timeval second = {.tv_sec = 1};

	sl_link_init(&s->reads);
	sl_link_init(&s->local);
	sl_link_init(&s->rooms);
	s->down_since = worker_now(w);
	s->n_submits = sl_metrics_get(w->metrics, "store.submits", SL_METRICS_COUNTER,
				"Requests to change streams, sent to the store-writer.");
	s->n_reads_done = sl_metrics_get(w->metrics, "store.reads", SL_METRICS_COUNTER,
				"Reads of streams.");
	s->n_cache_hits = sl_metrics_get(w->metrics, "store.cache_hits", SL_METRICS_COUNTER,
				"Reads that the tail cache answered.");
	s->n_events = sl_metrics_get(w->metrics, "store.events", SL_METRICS_COUNTER,
				"News of streams told to plugins.");
	s->n_queued = sl_metrics_get(w->metrics, "store.queued", SL_METRICS_GAUGE,
				"Requests that the store-writer has not answered yet.");
	s->n_lost = sl_metrics_get(w->metrics, "store.lost", SL_METRICS_COUNTER,
				"Changes whose outcome is unknown, because the store-writer ended.");
	s->append_time = sl_metrics_histogram(
		w->metrics, "store.append_seconds",
		"Time from a plugin's append to the answer of the store-writer, which follows the commit.",
		&sl_metrics_latency);
	if (subs_init(w) || sl_client_new(w->name ? w->name : "worker", SL_BUILD, &store_hooks, w, &s->client))
		return SLUICE_ENOMEM;
	s->ev_tick = event_new(w->base, -1, EV_PERSIST, store_tick, w);
	return s->ev_tick && event_add(s->ev_tick, &second) == 0 ? 0 : SLUICE_ENOMEM;
}

void store_fini(struct worker *w)
{
	struct store *s = &w->store;

	store_unwatch_fd(s);
	if (s->ev_tick)
		event_free(s->ev_tick);
	if (s->client) { /* nothing else of it was made */
		for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
			(void)store_reclaim(ctx);
		subs_fini(w);
	}
	sl_client_free(s->client);
	/* Writes that were never answered; nobody waits for them any more. */
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
		while (!sl_link_alone(&ctx->reqs))
			store_req_free(SL_OF(ctx->reqs.next, struct sluice_req, in_ctx));
	sl_reader_close(s->reader);
	for (uint32_t i = 0; i < s->n_rules; i++)
		free((void *)(uintptr_t)s->rules[i].prefix.data);
	free(s->rules);
	sl_buf_fini(&s->names);
	sl_buf_fini(&s->marks);
	sl_buf_fini(&s->types);
	sl_buf_fini(&s->memo_name);
	sl_buf_fini(&s->listing);
	sl_buf_fini(&s->cache_ends);
	sl_buf_fini(&s->cache_records);
	memset(s, 0, sizeof *s);
}

/* Results came while sockets were read; now what they let hear of: events, then reads, then those who wait for room. */
void store_turn(struct worker *w)
{
	submit_run_local(w);
	subs_run(w);
	reads_run(w);
	store_run_rooms(w);
	subs_bury(w);
}

/* What could not leave at once leaves when the socket has room. */
void store_flush(struct worker *w)
{
	struct store *s = &w->store;

	sl_client_flush(s->client);
	if (sl_client_want_write(s->client) && s->ev_write)
		event_add(s->ev_write, NULL);
}

bool store_pending(const struct worker *w)
{
	const struct store *s = &w->store;

	if (!s->client)
		return false;
	return !sl_link_alone(&s->local) || !sl_link_alone(&s->dirty) || !sl_link_alone(&s->fresh) ||
	       !sl_link_alone(&s->prefix_dirty) || s->room || (s->reader && !sl_link_alone(&s->reads));
}

bool store_idle(const struct worker *w)
{
	return !w->store.client || (sl_client_pending(w->store.client) == 0 && !sl_client_want_write(w->store.client));
}

size_t store_reclaim(struct sluice_ctx *ctx)
{
	size_t n = 0;

	for (; !sl_link_alone(&ctx->subs); n++)
		subs_unsubscribe(SL_OF(ctx->subs.next, struct sluice_sub, in_ctx));
	for (; !sl_link_alone(&ctx->rooms); n++)
		room_free(SL_OF(ctx->rooms.next, struct host_call, in_ctx));
	for (struct sl_link *l = ctx->reqs.next; l != &ctx->reqs;) {
		struct sluice_req *r = SL_OF(l, struct sluice_req, in_ctx);

		l = l->next;
		n += !r->cancelled;
		store_cancel(r);
	}
	return n;
}
