/*
 * engine.c - the HTTP engine itself: the end of a turn, timeouts, draining. Worker process.
 *
 * Turn: callbacks of sockets and of the store mark requests and connections; engine_turn() is an event activated
 * once, which libevent runs behind everything that was ready (same priority, end of the queue, no extra system call).
 * What has to go on after it (an answer that is pulled piece by piece) goes through a zero timeout, so that other
 * sockets are looked at in between.
 */
#include "frontend/http/engine.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/log.h"

/* ---- the end of a turn ---- */

static void turn_work(struct http_engine *e)
{
	struct req_list batch = TAILQ_HEAD_INITIALIZER(batch);
	struct sluice_http_req *r;

	/* What is queued meanwhile waits for the next iteration: nobody can keep the loop busy by waking himself. */
	TAILQ_CONCAT(&batch, &e->work, work_link);
	while ((r = TAILQ_FIRST(&batch))) {
		TAILQ_REMOVE(&batch, r, work_link);
		req_do_work(r);
	}
}

static void turn_flush(struct http_engine *e)
{
	struct http_conn *c;

	/* What is marked meanwhile stands behind what was there, and waits for the next iteration too. */
	e->flush_no++;
	while ((c = TAILQ_FIRST(&e->dirty)) && c->dirty_no != e->flush_no) {
		TAILQ_REMOVE(&e->dirty, c, dirty_link);
		c->dirty = false;
		if (!c->dead && c->want_resume) {
			c->want_resume = false;
			c->proto->resume(c);
		}
		if (c->dead)
			continue;
		if (c->proto)
			c->proto->flush(c);
		if (!c->dead)
			conn_write(c);
	}
}

static void turn_bury(struct http_engine *e)
{
	struct http_conn *c;

	while ((c = TAILQ_FIRST(&e->dead_conns))) {
		TAILQ_REMOVE(&e->dead_conns, c, link);
		assert(!c->dirty && TAILQ_EMPTY(&c->reqs));
		c->magic = 0;
		free(c);
	}
}

static void engine_turn(evutil_socket_t fd, short what, void *arg)
{
	struct http_engine *e = arg;

	(void)fd;
	(void)what;
	assert(e->magic == ENGINE_MAGIC);
	if (e->again_set)
		event_del(&e->again_event);
	e->again_set = false;
	e->turn_set = true; /* work that this turn makes must not queue another one before the sockets are looked at */
	e->now = clock_ms();
	e->turn++;
	turn_work(e);
	turn_flush(e);
	turn_bury(e);
	e->turn_set = false;
	if (!TAILQ_EMPTY(&e->work) || !TAILQ_EMPTY(&e->dirty))
		engine_schedule_again(e);
	if (e->draining && e->n_conns == 0 && !e->idle_told && TAILQ_EMPTY(&e->work)) {
		e->idle_told = true;
		if (e->idle)
			e->idle(e->idle_arg);
	}
}

void engine_schedule(struct http_engine *e)
{
	if (e->turn_set || e->freeing)
		return;
	e->turn_set = true;
	event_active(&e->turn_event, EV_TIMEOUT, 1);
}

void engine_schedule_again(struct http_engine *e)
{
	static const struct timeval zero = {0, 0};

	if (e->turn_set || e->again_set || e->freeing)
		return;
	e->again_set = true;
	event_add(&e->again_event, &zero);
}

/* ---- timeouts ---- */

static uint32_t class_limit(const struct http_engine *e, enum timer_class cls)
{
	switch (cls) {
	case T_HEADER:
		return e->limits.header_timeout;
	case T_BODY:
	case T_STREAM_BODY:
		return e->limits.body_timeout;
	case T_IDLE:
		return e->drain_idle && (!e->limits.idle_timeout || e->drain_idle < e->limits.idle_timeout)
		               ? e->drain_idle
		               : e->limits.idle_timeout;
	case T_SEND:
	case T_STREAM_SEND:
		return e->limits.send_timeout;
	case T_LINGER:
		return LINGER_MS;
	default:
		return EOF_MS;
	}
}

void timer_enter(struct http_engine *e, struct timer_node *t, enum timer_class cls, bool refresh)
{
	if (t->cls == cls && !refresh)
		return;
	if (t->cls != T_NONE)
		TAILQ_REMOVE(&e->timers[t->cls], t, link);
	t->cls = cls;
	t->since = e->now;
	if (cls != T_NONE)
		TAILQ_INSERT_TAIL(&e->timers[cls], t, link);
}

static void stream_timeout(struct sluice_http_req *r)
{
	if (!r->begun && !r->ended)
		conn_kill(r->conn); /* its head never ended: nothing else can be said on this connection */
	else if (r->ended)
		req_reset(r);
	else if (r->body_wait)
		req_error(r, 503, "There is no memory for the body at the moment.");
	else if (!r->paused)
		req_error(r, 408, "The body did not arrive in time.");
}

static void timer_fire(struct http_engine *e, struct timer_node *t)
{
	enum timer_class cls = t->cls;

	timer_enter(e, t, T_NONE, true);
	if (cls >= T_STREAM_BODY) {
		struct sluice_http_req *r = (void *)((char *)t - offsetof(struct sluice_http_req, timer));

		assert(r->magic == REQ_MAGIC && r->conn);
		if (cls == T_STREAM_BODY)
			stream_timeout(r);
		else
			req_reset(r);
	} else {
		struct http_conn *c = (void *)((char *)t - offsetof(struct http_conn, timer));

		assert(c->magic == CONN_MAGIC);
		if (c->proto && cls != T_SEND && cls != T_LINGER)
			c->proto->timeout(c, cls);
		else
			conn_kill(c);
	}
}

static void conns_drain(struct http_engine *e)
{
	struct http_conn *c;

	TAILQ_FOREACH(c, &e->conns, link)
	if (c->proto && c->proto->drain)
		c->proto->drain(c);
}

void engine_sweep(struct http_engine *e, uint64_t now)
{
	e->now = now;
	for (int cls = T_NONE + 1; cls < T_CLASSES; cls++) {
		uint32_t limit = class_limit(e, (enum timer_class)cls);
		struct timer_node *t;

		while (limit && (t = TAILQ_FIRST(&e->timers[cls])) && now - t->since >= limit)
			timer_fire(e, t);
	}
	expiring_sweep(e);
	if (e->draining)
		conns_drain(e);
}

static void engine_on_sweep(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval second = {1, 0};
	struct http_engine *e = arg;

	(void)fd;
	(void)what;
	e->sweep_set = false;
	engine_sweep(e, clock_ms());
	if (e->n_conns > 0 && event_add(&e->sweep_event, &second) == 0)
		e->sweep_set = true;
	engine_schedule(e);
}

/* ---- waiting for body memory ---- */

/* Bodies that are not complete may hold all the memory while each waits for the others. The one that has waited longest
 * is let through: one at a time, so the budget is exceeded by one body at most. */
static void wait_unstick(struct http_engine *e)
{
	struct sluice_http_req *first = TAILQ_FIRST(&e->waiting);

	if (first != e->wait_first) {
		e->wait_first = first;
		e->wait_looks = 0;
	}
	if (!first || e->overdraft || ++e->wait_looks < WAIT_STUCK)
		return;
	e->overdraft = first;
	req_work(first, WORK_BODY);
}

void engine_wait_over(struct sluice_http_req *r)
{
	if (r->engine->overdraft == r)
		r->engine->overdraft = NULL;
}

static void engine_on_wait(evutil_socket_t fd, short what, void *arg)
{
	static const struct timeval tick = {0, 20000};
	struct http_engine *e = arg;
	struct sluice_http_req *r;

	(void)fd;
	(void)what;
	e->wait_set = false;
	for (r = TAILQ_FIRST(&e->waiting); r && e->budget->used < e->budget->max; r = TAILQ_NEXT(r, wait_link))
		req_work(r, WORK_BODY);
	wait_unstick(e);
	if (!TAILQ_EMPTY(&e->waiting) && event_add(&e->wait_event, &tick) == 0)
		e->wait_set = true;
}

void engine_wait(struct sluice_http_req *r, bool on)
{
	static const struct timeval tick = {0, 20000};
	struct http_engine *e = r->engine;

	if (on == r->body_wait)
		return;
	r->body_wait = on;
	if (!on) {
		TAILQ_REMOVE(&e->waiting, r, wait_link);
		return;
	}
	TAILQ_INSERT_TAIL(&e->waiting, r, wait_link);
	if (!e->wait_set && event_add(&e->wait_event, &tick) == 0)
		e->wait_set = true;
}

/* ---- life ---- */

struct http_engine *http_engine_new(struct event_base *base, const struct http_limits *limits,
                                    const struct http_hooks *hooks, struct payload_budget *budget)
{
	struct http_engine *e = calloc(1, sizeof *e);

	if (!e)
		return NULL;
	e->scratch = malloc(READ_SIZE);
	if (!e->scratch) {
		free(e);
		return NULL;
	}
	e->magic = ENGINE_MAGIC;
	e->base = base;
	e->limits = *limits;
	e->hooks = *hooks;
	e->budget = budget;
	TAILQ_INIT(&e->conns);
	TAILQ_INIT(&e->dirty);
	TAILQ_INIT(&e->dead_conns);
	TAILQ_INIT(&e->work);
	TAILQ_INIT(&e->waiting);
	TAILQ_INIT(&e->expiring);
	for (int i = 0; i < T_CLASSES; i++)
		TAILQ_INIT(&e->timers[i]);
	event_assign(&e->turn_event, base, -1, 0, engine_turn, e);
	event_assign(&e->again_event, base, -1, 0, engine_turn, e);
	event_assign(&e->sweep_event, base, -1, 0, engine_on_sweep, e);
	event_assign(&e->wait_event, base, -1, 0, engine_on_wait, e);
	event_assign(&e->accept_event, base, -1, 0, accept_on_timer, e);
	e->spare_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
	e->now = clock_ms();
	return e;
}

void engine_conn_gone(struct http_engine *e)
{
	assert(e->n_conns > 0);
	e->n_conns--;
	accept_show(e);
	engine_schedule(e);
}

void http_engine_drain(struct http_engine *e, uint32_t idle_ms, void (*idle)(void *), void *arg)
{
	assert(e->magic == ENGINE_MAGIC);
	e->draining = true;
	e->drain_idle = idle_ms;
	e->idle = idle;
	e->idle_arg = arg;
	listeners_free(e);
	accept_show(e);
	conns_drain(e);
	engine_schedule(e);
}

void http_engine_free(struct http_engine *e)
{
	struct http_conn *c;
	void *p;

	if (!e)
		return;
	assert(e->magic == ENGINE_MAGIC);
	listeners_free(e);
	while ((c = TAILQ_FIRST(&e->conns)))
		conn_kill(c);
	e->freeing = true;
	while (!TAILQ_EMPTY(&e->work))
		turn_work(e);
	turn_bury(e);
	event_del(&e->turn_event);
	event_del(&e->again_event);
	event_del(&e->sweep_event);
	event_del(&e->wait_event);
	event_del(&e->accept_event);
	routes_free(e);
	out_free_lists(e);
	gzip_free_list(e);
	while ((p = e->free_reqs)) {
		e->free_reqs = *(void **)p;
		free(p);
	}
	if (e->spare_fd >= 0)
		close(e->spare_fd);
	free(e->scratch);
	e->magic = 0;
	free(e);
}
