/*
 * streams.c - the life of an instance and of its calls. Process: sluice-frontend.
 *
 * One file per kind of request (create, append, remove, head, read, list); live readers are longpoll.c, sse.c and hub.c.
 */
#include "streams.h"

#include <stdlib.h>
#include <sys/random.h>

/* ---- calls ---- */

uint64_t streams_random(struct streams *p)
{
	/* splitmix64: spreads reconnects and cursors, nothing secret */
	uint64_t z = p->random += UINT64_C(0x9e3779b97f4a7c15);

	z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
	z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
	return z ^ z >> 31;
}

uint64_t streams_now(struct streams *p)
{
	return p->host->now_ms(p->ctx);
}

uint64_t streams_wall(struct streams *p)
{
	return p->host->wall_ms(p->ctx);
}

struct call *call_new(struct streams *p, struct sluice_http_req *http, enum call_kind kind)
{
	struct call *c = p->spare;

	if (c) {
		p->spare = c->link.tqe_next;
		p->n_spare--;
	} else {
		c = malloc(sizeof *c);
		if (!c) {
			answer_refuse(p, http, 503, "out of memory");
			return NULL;
		}
	}
	memset(c, 0, sizeof *c);
	c->magic = CALL_MAGIC;
	c->kind = kind;
	c->p = p;
	c->http = http;
	TAILQ_INSERT_TAIL(&p->calls, c, link);
	*p->http->slot(http) = c;
	return c;
}

static void call_release_write(struct call *c)
{
	if (c->w.payload)
		c->p->host->payload_free(c->w.payload);
	free(c->w.lens);
	free(c->w.fork_name);
	free(c->w.own_type);
}

static void call_release_read(struct call *c)
{
	if (c->r.hub)
		hub_leave(c);
}

static void streams_drained(struct streams *p)
{
	if (!p->draining || p->drained || !TAILQ_EMPTY(&p->calls))
		return;
	p->drained = true;
	p->host->drained(p->ctx);
}

void call_free(struct call *c)
{
	struct streams *p = c->p;

	if (c->store)
		p->store->cancel(c->store);
	if (c->again) {
		TAILQ_REMOVE(&p->room, c, room_link);
		p->n_room--;
	}
	if (c->kind == CALL_WRITE)
		call_release_write(c);
	else if (c->kind == CALL_CHANNEL || c->kind == CALL_SNAPSHOT)
		p->dialect->release(c);
	else if (c->kind != CALL_LIST && c->kind != CALL_BUCKET)
		call_release_read(c);
	wheel_unset(&p->wheel, &c->timer);
	TAILQ_REMOVE(&p->calls, c, link);
	c->magic = 0;
	if (p->n_spare < CALLS_SPARE) {
		c->link.tqe_next = p->spare;
		p->spare = c;
		p->n_spare++;
	} else {
		free(c);
	}
	streams_drained(p);
}

void call_end(struct call *c)
{
	*c->p->http->slot(c->http) = NULL;
	c->p->http->end(c->http);
	call_free(c);
}

void call_cut(struct call *c)
{
	/* gone() may follow: the empty slot tells it that nothing is left to do. */
	*c->p->http->slot(c->http) = NULL;
	c->p->http->reset(c->http);
	call_free(c);
}

void call_gone(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	struct call *c = *p->http->slot(http);

	if (!c || c->magic != CALL_MAGIC)
		return;
	*p->http->slot(http) = NULL;
	call_free(c);
}

slice call_name(const struct call *c)
{
	return c->name.data ? c->name : c->p->http->path(c->http);
}

/* ---- waiting for room in the store's queue ---- */

static void streams_room(void *arg)
{
	struct streams *p = arg;
	struct call *c;

	p->room_armed = false;
	p->retrying = true;
	/* A call that is refused again goes back to the front and arms the next round. */
	while (!p->room_armed && (c = TAILQ_FIRST(&p->room))) {
		void (*again)(struct call *) = c->again;

		TAILQ_REMOVE(&p->room, c, room_link);
		p->n_room--;
		c->again = NULL;
		again(c);
	}
	p->retrying = false;
}

bool call_retry(struct call *c, void (*fn)(struct call *))
{
	struct streams *p = c->p;

	if (p->n_room >= ROOM_MAX)
		return false;
	if (!p->room_armed) {
		if (p->store->on_room(p->ctx, streams_room, p) < 0)
			return false;
		p->room_armed = true;
	}
	c->again = fn;
	p->n_room++;
	if (p->retrying)
		TAILQ_INSERT_HEAD(&p->room, c, room_link);
	else
		TAILQ_INSERT_TAIL(&p->room, c, room_link);
	return true;
}

/* ---- time ---- */

struct call *call_of_timer(struct wheel_node *node)
{
	return (struct call *)(void *)((char *)node - offsetof(struct call, timer));
}

static void streams_due(void *arg, struct wheel_node *node)
{
	struct streams *p = arg;
	struct call *c = call_of_timer(node);

	if (c->kind == CALL_SSE)
		sse_timer(c, streams_now(p));
	else if (c->kind == CALL_CHANNEL)
		p->dialect->due(c, streams_now(p));
	else
		poll_timer(c, streams_now(p));
}

static void streams_timer_arm(struct streams *p, uint64_t now)
{
	int64_t ms = wheel_next(&p->wheel, now);

	p->timer_at = ms < 0 ? 0 : now + (uint64_t)ms;
	p->host->timer_set(p->timer, ms);
}

static void streams_timer(void *arg)
{
	struct streams *p = arg;
	uint64_t now = streams_now(p);

	p->timer_at = 0;
	wheel_run(&p->wheel, now, streams_due, p);
	streams_timer_arm(p, now);
}

void streams_timer_set(struct streams *p, struct wheel_node *node, uint64_t at)
{
	uint64_t now = streams_now(p);

	/* An empty wheel stands still: its first entry must not be sorted by an old position. */
	if (p->wheel.n == 0)
		p->wheel.tick = now / WHEEL_TICK_MS;
	wheel_set(&p->wheel, node, at);
	if (p->timer_at == 0 || at < p->timer_at)
		streams_timer_arm(p, now);
}

/* ---- life ---- */

static uint64_t *streams_cell(struct streams *p, const char *name, const char *help, bool gauge)
{
	static uint64_t nowhere;
	uint64_t *cell = (gauge ? p->host->gauge : p->host->counter)(p->ctx, name, help);

	return cell ? cell : &nowhere;
}

static void streams_metrics(struct streams *p)
{
	struct streams_counters *n = &p->count;

	n->appends = streams_cell(p, "appends", "Appends and closes that were acknowledged.", false);
	n->append_bytes = streams_cell(p, "append_bytes", "Payload bytes of acknowledged appends and creates.", false);
	n->creates = streams_cell(p, "creates", "Streams created.", false);
	n->reads = streams_cell(p, "reads", "Reads answered with 200 or 304.", false);
	n->read_bytes = streams_cell(p, "read_bytes", "Payload bytes of reads, before coding.", false);
	n->refused = streams_cell(p, "refused", "Requests answered with an error.", false);
	n->polls = streams_cell(p, "long_polls", "Long-polls that wait.", true);
	n->sse = streams_cell(p, "sse_readers", "Open event streams.", true);
	n->events = streams_cell(p, "sse_events", "Data events written to event streams.", false);
}

void streams_free(struct streams *p)
{
	while (p->spare) {
		struct call *c = p->spare;

		p->spare = c->link.tqe_next;
		free(c);
	}
	bytes_fini(&p->scratch);
	free(p->lens.len);
	free(p->rules);
	p->magic = 0;
	free(p);
}

int streams_new(struct sluice_ctx *ctx, const struct sluice_host *host, const struct sluice_conf *conf,
                const struct dialect *dialect, struct streams **out)
{
	struct streams *p = calloc(1, sizeof *p);

	if (!p)
		return SLUICE_ENOMEM;
	p->magic = STREAMS_MAGIC;
	p->ctx = ctx;
	p->host = host;
	p->http = host->http;
	p->store = host->store;
	p->dialect = dialect;
	TAILQ_INIT(&p->calls);
	TAILQ_INIT(&p->room);
	p->long_poll_ms = (uint64_t)host->conf_int(conf, "long_poll_timeout");
	p->sse_ms = (uint64_t)host->conf_int(conf, "sse_lifetime");
	p->max_body = (uint64_t)host->conf_int(conf, "max_body");
	p->read_chunk = (uint64_t)host->conf_int(conf, "read_chunk");
	streams_metrics(p);
	*out = p;
	return 0;
}

int streams_run(struct streams *p)
{
	if (getrandom(&p->random, sizeof p->random, GRND_NONBLOCK) != sizeof p->random)
		p->random = streams_wall(p) ^ (uint64_t)(uintptr_t)p;
	p->seed = streams_random(p);
	wheel_init(&p->wheel, streams_now(p));
	return p->host->timer_new(p->ctx, streams_timer, p, &p->timer);
}

int streams_route(struct streams *p, const struct sluice_route *routes, size_t n)
{
	int err = 0;

	for (size_t i = 0; i < n && err == 0; i++) {
		struct sluice_route route = routes[i];

		route.size = sizeof route;
		err = p->http->route(p->ctx, &route);
	}
	return err;
}

/* Ends what would wait for ever, in the way of its protocol; what is under way finishes by itself. */
static void call_finish(struct call *c)
{
	if (c->kind == CALL_POLL && c->r.parked)
		poll_finish(c);
	else if (c->kind == CALL_SSE && c->r.parked)
		sse_finish(c);
	else if (c->kind == CALL_POLL || c->kind == CALL_SSE)
		c->r.expiring = true;
	else if (c->kind == CALL_CHANNEL)
		c->p->dialect->finish(c);
}

/* The client comes back, is refused, and knows why. */
void read_expire(void *self, struct sluice_http_req *http)
{
	struct streams *p = self;
	struct call *c = *p->http->slot(http);

	if (c && c->magic == CALL_MAGIC)
		call_finish(c);
}

void streams_drain(void *self, uint64_t deadline_ms)
{
	struct streams *p = self;
	struct call *c, *next;

	(void)deadline_ms;
	p->draining = true;
	for (c = TAILQ_FIRST(&p->calls); c; c = next) {
		next = TAILQ_NEXT(c, link);
		call_finish(c);
	}
	streams_drained(p);
}

void streams_stop(void *self)
{
	struct streams *p = self;

	p->drained = true;
	while (!TAILQ_EMPTY(&p->calls))
		call_free(TAILQ_FIRST(&p->calls));
	hubs_fini(p);
	if (p->timer)
		p->host->timer_free(p->timer);
	streams_free(p);
}
