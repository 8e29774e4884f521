/*
 * peer.c - a connection to a worker or to sluicectl: frames in, frames out, bounds. Store-writer.
 *
 * A malformed frame ends the peer that sent it and nobody else. A peer that does not take its answers is not read any
 * more.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/log.h"
#include "store-worker/store.h"

static void peer_ready(struct store *st, struct source *src, uint32_t events)
{
	struct peer *p = SL_OF(src, struct peer, source);

	if (p->ended)
		return;
	if (events & EPOLLOUT)
		peer_want_flush(p);
	if (events & (EPOLLIN | EPOLLHUP | EPOLLERR)) {
		p->again = true;
		if (!p->paused && sl_link_alone(&p->ready))
			sl_link_add(&st->ready, &p->ready);
		/* A peer that is not read can still be seen to have left. */
		if (p->paused && (events & (EPOLLHUP | EPOLLERR)))
			peer_end(p, NULL);
	}
}

int peer_add(struct store *st, int fd, sl_slice name)
{
	struct peer *p = st->n_peers < STORE_PEERS_MAX ? calloc(1, sizeof *p) : NULL;

	if (!p) {
		close(fd);
		return SLUICE_ENOMEM;
	}
	p->magic = PEER_MAGIC;
	p->store = st;
	p->name = sl_slice_dup(name);
	sl_link_init(&p->ready);
	sl_link_init(&p->flush);
	sl_link_init(&p->runnable);
	sl_link_init(&p->late);
	sl_link_init(&p->held);
	sl_ipc_init(&p->ipc, fd);
	p->source = (struct source){.fd = fd, .ready = peer_ready};
	if (!p->name || source_add(st, &p->source, EPOLLIN)) {
		sl_ipc_fini(&p->ipc);
		free(p->name);
		free(p);
		return SLUICE_ENOMEM;
	}
	sl_link_add(&st->peers, &p->all);
	st->n_peers++;
	sl_log(SLUICE_LOG_DEBUG, "peer joined name=%s", p->name);
	return 0;
}

void peer_end(struct peer *p, const char *why)
{
	if (p->ended)
		return;
	p->ended = true;
	if (why)
		sl_log(SLUICE_LOG_WARN, "peer ended name=%s reason=\"%s\"", p->name, why);
	else
		sl_log(SLUICE_LOG_DEBUG, "peer left name=%s", p->name);
	sl_link_del(&p->all);
	sl_link_del(&p->ready);
	sl_link_del(&p->flush);
	sl_link_del(&p->runnable);
	sl_link_add(&p->store->ended, &p->all);
	p->store->n_peers--;
	source_del(p->store, &p->source);
}

static void peer_drop_rules(struct peer *p)
{
	for (size_t i = 0; i < p->n_rules; i++)
		free(p->rules[i].prefix);
	free(p->rules);
	p->rules = NULL;
	p->n_rules = 0;
}

void peers_bury(struct store *st)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&st->ended))) {
		struct peer *p = SL_OF(l, struct peer, all);

		watch_drop(p);
		hold_drop(p);
		peer_drop_rules(p);
		sl_ipc_fini(&p->ipc);
		free(p->name);
		p->magic = 0;
		free(p);
	}
}

/* ---- messages ---- */

static int on_hello(void *arg, const struct sl_store_hello *m)
{
	struct peer *p = arg;
	struct store *st = p->store;
	struct sl_store_welcome w = {.protocol = SL_STORE_PROTOCOL,
	                             .build = SL_STR(SL_BUILD),
	                             .schema = SL_SCHEMA,
	                             .generation = SL_SLICE(se_generation(st->se), 16),
	                             .data_dir = sl_slice_str(st->data_dir)};

	if (p->hello)
		return SLUICE_EINVAL;
	p->hello = true;
	peer_want_flush(p);
	if (sl_put_store_welcome(&p->ipc, &w))
		return SLUICE_ENOMEM;
	if (m->protocol == SL_STORE_PROTOCOL && sl_slice_is(m->build, SL_BUILD))
		return 0;
	/* It reads the welcome and sees for itself; nothing else it says would be understood. */
	sl_log(SLUICE_LOG_WARN, "peer of another build name=%s protocol=%u build=%.*s", p->name, m->protocol,
	       (int)(m->build.len < 64 ? m->build.len : 64), m->build.len ? (const char *)m->build.data : "");
	sl_ipc_flush(&p->ipc);
	return SLUICE_ENOTSUP;
}

static int on_submit(void *arg, const struct sl_store_submit *m)
{
	struct peer *p = arg;
	bool held = false;
	int rc;

	if (!p->hello || m->ops.n == 0 || m->ops.n > STORE_OPS_MAX)
		return SLUICE_EINVAL;
	rc = hold_submit(p, m, &held);
	if (rc == 0 && !held)
		batch_submit(p->store, p, m->req, &m->ops, NULL);
	return rc;
}

static int peer_later(struct peer *p, struct reply r, sl_slice text)
{
	r.peer = p;
	return p->hello ? batch_later(p->store, &r, text) : SLUICE_EINVAL;
}

static int on_touch(void *arg, const struct sl_store_touch *m)
{
	return peer_later(
		arg,
		(struct reply){
			.kind = REPLY_TOUCHED, .number = m->req, .incarnation = m->incarnation, .flag = m->renew},
		SL_SLICE(NULL, 0));
}

static int on_watch(void *arg, const struct sl_store_watch *m)
{
	return peer_later(arg, (struct reply){.kind = REPLY_WATCH, .number = m->watch, .flag = m->live},
	                  m->stream.len <= SL_NAME_MAX ? m->stream : SL_STR(""));
}

static int on_watch_live(void *arg, const struct sl_store_watch_live *m)
{
	return peer_later(arg, (struct reply){.kind = REPLY_LIVE, .number = m->watch, .flag = m->live},
	                  SL_SLICE(NULL, 0));
}

static int on_unwatch(void *arg, const struct sl_store_unwatch *m)
{
	return peer_later(arg, (struct reply){.kind = REPLY_UNWATCH, .number = m->watch}, SL_SLICE(NULL, 0));
}

static int on_watch_prefix(void *arg, const struct sl_store_watch_prefix *m)
{
	return m->prefix.len > SL_NAME_MAX
	               ? SLUICE_EINVAL
	               : peer_later(arg, (struct reply){.kind = REPLY_PREFIX, .number = m->watch}, m->prefix);
}

static int on_retention(void *arg, const struct sl_store_retention *m)
{
	struct peer *p = arg;
	struct sl_cur c = m->rules.cur;

	if (!p->hello || m->rules.n > PEER_RULES_MAX)
		return SLUICE_EINVAL;
	peer_drop_rules(p);
	p->rules = calloc(m->rules.n + 1u, sizeof *p->rules);
	if (!p->rules)
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < m->rules.n; i++) {
		struct sl_store_rule r;

		sl_next_store_rule(&c, &r);
		p->rules[i] = (struct rule){.prefix = sl_slice_dup(r.prefix),
		                            .len = r.prefix.len,
		                            .max_age_ms = r.max_age_ms,
		                            .max_bytes = r.max_bytes};
		if (!p->rules[i].prefix)
			return SLUICE_ENOMEM;
		p->n_rules++;
	}
	return 0;
}

static const struct sl_store_handlers peer_handlers = {
	.hello = on_hello,
	.submit = on_submit,
	.touch = on_touch,
	.watch = on_watch,
	.watch_live = on_watch_live,
	.unwatch = on_unwatch,
	.watch_prefix = on_watch_prefix,
	.retention = on_retention,
};

/* ---- in and out ---- */

/* Handles buffered frames. true: the batch is full or the peer must wait, and frames may be left. */
static bool peer_frames(struct peer *p)
{
	struct store *st = p->store;
	uint16_t id;
	sl_slice body;

	for (;;) {
		int rc;

		if (batch_full(st) || peer_holds_enough(p))
			return true;
		rc = sl_ipc_next(&p->ipc, &id, &body);
		if (rc == 0)
			return false;
		if (rc == 1)
			rc = sl_store_dispatch(&peer_handlers, SL_TO_WRITER, p, &p->ipc, id, body);
		if (rc) {
			char why[96];

			snprintf(why, sizeof why, "%s (message %s)",
			         rc == SLUICE_ENOMEM    ? "out of memory"
			         : rc == SLUICE_ENOTSUP ? "another build"
			                                : "a malformed or unexpected message",
			         sl_store_name(id));
			peer_end(p, why);
		}
		if (p->ended)
			return false;
	}
}

void peer_read(struct peer *p)
{
	struct store *st = p->store;
	bool more = peer_frames(p);
	int rc = 0;

	if (!more && !p->ended && p->again) {
		p->again = false;
		rc = sl_ipc_fill(&p->ipc);
		/* What arrived before the end of the connection is still carried out. */
		more = peer_frames(p);
		if (rc && !p->ended && !more)
			peer_end(p, rc == SLUICE_ELOST    ? NULL
			            : rc == SLUICE_ENOMEM ? "out of memory"
			                                  : "too many descriptors");
		else if (rc)
			p->again = true;
	}
	if (p->ended || !more)
		return;
	if (peer_holds_enough(p))
		peer_interest(p);
	else if (sl_link_alone(&p->ready))
		sl_link_add(&st->ready, &p->ready);
}

bool peer_holds_enough(const struct peer *p)
{
	return p->n_held >= PEER_HELD_MAX || p->held_bytes >= PEER_HELD_BYTES || p->held_parts >= PEER_HELD_PARTS;
}

void peer_interest(struct peer *p)
{
	source_set(p->store, &p->source,
	           (p->paused || peer_holds_enough(p) ? 0 : EPOLLIN) | (sl_ipc_queued(&p->ipc) ? EPOLLOUT : 0));
}

void peer_want_flush(struct peer *p)
{
	if (!p->ended && sl_link_alone(&p->flush))
		sl_link_add(&p->store->flush, &p->flush);
}

void peer_flush(struct peer *p)
{
	struct store *st = p->store;
	size_t left;

	if (sl_ipc_flush(&p->ipc)) {
		peer_end(p, NULL);
		return;
	}
	watch_late(p);
	if (p->ended)
		return;
	left = sl_ipc_queued(&p->ipc);
	if (!p->paused && left > PEER_READ_STOP)
		p->paused = true;
	else if (p->paused && left < PEER_READ_AGAIN) {
		p->paused = false;
		p->again = true;
		if (sl_link_alone(&p->ready))
			sl_link_add(&st->ready, &p->ready);
	}
	peer_interest(p);
}
