/*
 * store_client.c - a connection to the store-writer: handshake, reading, writing, loss. Workers, sluicectl.
 *
 * The states and what leads from one to the next are all in this file.
 */
#include "lib/store_client_internal.h"

#include <stdlib.h>

enum { SLOTS_FIRST = 64 };

int slots_take(struct client_slots *s, void *object, uint32_t *slot)
{
	if (s->n_free == 0) {
		uint32_t cap = s->cap ? 2 * s->cap : SLOTS_FIRST;
		void **v;
		uint32_t *more;

		if (s->cap >= s->max)
			return SLUICE_EAGAIN;
		v = realloc(s->v, cap * sizeof *v);
		if (!v)
			return SLUICE_ENOMEM;
		s->v = v;
		more = realloc(s->free, cap * sizeof *more);
		if (!more)
			return SLUICE_ENOMEM;
		s->free = more;
		for (uint32_t i = cap; i-- > s->cap;) {
			s->v[i] = NULL;
			s->free[s->n_free++] = i;
		}
		s->cap = cap;
	}
	*slot = s->free[--s->n_free];
	s->v[*slot] = object;
	s->used++;
	return 0;
}

void slots_give(struct client_slots *s, uint32_t slot)
{
	s->v[slot] = NULL;
	s->free[s->n_free++] = slot;
	s->used--;
}

void slots_fini(struct client_slots *s)
{
	free(s->v);
	free(s->free);
	memset(s, 0, sizeof *s);
}

int sl_client_new(const char *name, const char *build, const struct sl_client_hooks *hooks, void *arg,
                  struct sl_client **out)
{
	struct sl_client *c = calloc(1, sizeof *c);

	if (!c)
		return SLUICE_ENOMEM;
	c->magic = CLIENT_MAGIC;
	c->hooks = *hooks;
	c->arg = arg;
	c->name = sl_slice_dup(sl_slice_str(name));
	c->build = sl_slice_dup(sl_slice_str(build));
	sl_ipc_init(&c->ipc, -1);
	sl_ipc_init(&c->hold, -1);
	sl_link_init(&c->reqs);
	c->req_slots.max = SL_CLIENT_REQUESTS;
	c->watch_slots.max = SL_CLIENT_WATCHES;
	c->away_ms = hooks->now_ms(arg);
	if (!c->name || !c->build) {
		sl_client_free(c);
		return SLUICE_ENOMEM;
	}
	*out = c;
	return 0;
}

void sl_client_free(struct sl_client *c)
{
	if (!c)
		return;
	client_reqs_free(c);
	client_watches_free(c);
	slots_fini(&c->req_slots);
	slots_fini(&c->watch_slots);
	sl_ipc_fini(&c->ipc);
	sl_ipc_fini(&c->hold);
	sl_buf_fini(&c->text);
	free(c->name);
	free(c->build);
	c->magic = 0;
	free(c);
}

int sl_client_fd(const struct sl_client *c)
{
	return c->ipc.fd;
}

bool sl_client_up(const struct sl_client *c)
{
	return c->state == CLIENT_UP;
}

bool sl_client_want_write(const struct sl_client *c)
{
	return c->ipc.fd >= 0 && sl_ipc_queued(&c->ipc) > 0;
}

/* Ends the connection. Completions come last: they may submit again, which then is queued. */
static void client_lose(struct sl_client *c)
{
	bool was_up = c->state == CLIENT_UP;

	if (c->ipc.fd < 0)
		return;
	if (c->state != CLIENT_REFUSED)
		c->state = CLIENT_AWAY;
	c->away_ms = c->hooks.now_ms(c->arg);
	if (was_up) {
		/* Told before the completions, so that nobody asks a writer that is gone. */
		struct sl_ipc gone = c->ipc;

		sl_ipc_init(&c->ipc, -1);
		c->hooks.down(c->arg);
		sl_ipc_fini(&c->hold);
		c->hold = gone;
		client_reqs_hold(c);
	} else {
		sl_ipc_fini(&c->ipc);
		c->hooks.down(c->arg);
	}
}

static void client_refuse(struct sl_client *c, const char *why)
{
	c->state = c->state == CLIENT_UP ? CLIENT_UP : CLIENT_HELLO; /* what was sent still has to be sorted */
	client_lose(c);
	c->state = CLIENT_REFUSED;
	client_reqs_expire(c, 0);
	c->hooks.refused(c->arg, why);
}

static int client_on_welcome(void *arg, const struct sl_store_welcome *m)
{
	struct sl_client *c = arg;
	const char *why = "the writer cannot be used";

	if (c->state != CLIENT_HELLO)
		return SLUICE_EINVAL;
	if (m->protocol != SL_STORE_PROTOCOL || !sl_slice_is(m->build, c->build)) {
		client_refuse(c, "the writer is of another build");
		return SLUICE_ECANCELED;
	}
	if (c->hooks.up(c->arg, m, &why)) {
		client_refuse(c, why);
		return SLUICE_ECANCELED;
	}
	c->state = CLIENT_UP;
	if (client_watches_renew(c))
		return SLUICE_ENOMEM;
	client_reqs_resume(c);
	return 0;
}

static const struct sl_store_handlers client_handlers = {
	.welcome = client_on_welcome,
	.result = client_on_result,
	.touched = client_on_touched,
	.watched = client_on_watched,
	.notice = client_on_notice,
	.life = client_on_life,
};

/* Handles the frames that have arrived. Nonzero: the connection is no longer to be used. */
static int client_dispatch(struct sl_client *c)
{
	uint16_t id;
	sl_slice body;
	int rc = 0, got;

	while (c->ipc.fd >= 0 && (got = sl_ipc_next(&c->ipc, &id, &body)) != 0) {
		if (got < 0)
			return got;
		if (c->state != CLIENT_UP && id != SL_STORE_welcome)
			return SLUICE_EINVAL;
		rc = sl_store_dispatch(&client_handlers, SL_TO_FRONT, c, &c->ipc, id, body);
		if (rc)
			return rc;
	}
	client_check_room(c);
	return 0;
}

/* Reads what is there and handles it; to_the_end: until there is no more, since answers before the end count. */
static void client_read(struct sl_client *c, bool to_the_end)
{
	size_t rest, got;
	int rc, bad;

	do {
		rest = c->ipc.in.len - c->ipc.frame;
		rc = sl_ipc_fill(&c->ipc);
		got = c->ipc.in.len - rest;
		bad = client_dispatch(c);
		if (bad == SLUICE_ECANCELED || c->ipc.fd < 0)
			return;
		if (bad || (rc && rc != SLUICE_ELOST)) {
			/* Nobody would give us another connection to this writer: leave, and be restarted. */
			client_refuse(c, bad == SLUICE_ENOMEM || rc == SLUICE_ENOMEM
			                         ? "out of memory"
			                         : "the writer sent a malformed message");
			return;
		}
	} while (to_the_end && rc == 0 && got > 0);
	if (rc)
		client_lose(c);
}

void sl_client_readable(struct sl_client *c)
{
	if (c->ipc.fd >= 0)
		client_read(c, false);
}

void sl_client_flush(struct sl_client *c)
{
	if (c->ipc.fd < 0 || sl_ipc_queued(&c->ipc) == 0)
		return;
	if (sl_ipc_flush(&c->ipc) == SLUICE_ELOST) {
		client_read(c, true);
		client_lose(c);
	}
}

int sl_client_link(struct sl_client *c, int fd)
{
	struct sl_store_hello hello = {
		.protocol = SL_STORE_PROTOCOL, .build = sl_slice_str(c->build), .name = sl_slice_str(c->name)};
	int rc;

	if (c->ipc.fd >= 0) {
		client_read(c, true);
		client_lose(c);
	}
	sl_ipc_init(&c->ipc, fd);
	if (c->state == CLIENT_REFUSED) {
		sl_ipc_fini(&c->ipc);
		return SLUICE_EDENIED;
	}
	rc = sl_put_store_hello(&c->ipc, &hello);
	if (rc) {
		sl_ipc_fini(&c->ipc);
		return rc;
	}
	c->state = CLIENT_HELLO;
	sl_client_flush(c);
	return 0;
}

void sl_client_tick(struct sl_client *c)
{
	if (c->state == CLIENT_UP)
		return;
	client_reqs_expire(c, SL_CLIENT_WAIT_MS);
	client_check_room(c);
}

int sl_client_retention(struct sl_client *c, const struct sl_store_rule *rules, uint32_t n)
{
	struct sl_store_retention m = {.rules = {.n = n, .v = rules}};

	/* Also from up(), which runs just before the state changes. */
	if (c->ipc.fd < 0)
		return 0;
	return sl_put_store_retention(&c->ipc, &m);
}
