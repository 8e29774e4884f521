/*
 * access.c - last access of streams with a sliding TTL, in memory, and when a stream has expired (durable-streams 16).
 * Store-writer.
 *
 * A row's accessed_ms is rewritten only when the access moved by more than min(TTL/4, 30 s), and at shutdown; so after
 * a start that much, and the sweep's delay, is granted to streams that have not been seen since. A live watch holds
 * its stream: the sweep uses it for its readers, so that its row is behind by no more than that either.
 */
#include <stdlib.h>

#include "store-worker/store.h"

#define ACCESS_LAG_MAX 30000u

static uint64_t access_lag(uint64_t ttl_s)
{
	return ttl_s >= 4 * (ACCESS_LAG_MAX / 1000) ? ACCESS_LAG_MAX : ttl_s * 1000 / 4;
}

uint64_t access_deadline(uint64_t accessed_ms, uint64_t ttl_s)
{
	return ttl_s > (STORE_NUMBER_MAX - accessed_ms) / 1000 ? STORE_NUMBER_MAX : accessed_ms + ttl_s * 1000;
}

static struct access *access_find(const struct store *st, uint64_t id)
{
	for (struct sl_map_node *n = sl_map_first(&st->accesses, sl_hash_u64(id)); n; n = sl_map_next(n)) {
		struct access *a = SL_OF(n, struct access, node);

		if (a->id == id)
			return a;
	}
	return NULL;
}

uint64_t access_last(struct store *st, const struct stream *s, uint64_t now_ms)
{
	const struct access *a = access_find(st, s->id);

	if (watch_live(st, s->id))
		return now_ms;
	if (a)
		return a->touched_ms > s->accessed_ms ? a->touched_ms : s->accessed_ms;
	if (s->accessed_ms < st->started_ms && s->ttl_s)
		return s->accessed_ms + access_lag(s->ttl_s) + st->settings.sweep_ms;
	return s->accessed_ms;
}

bool access_expired(struct store *st, const struct stream *s, uint64_t now_ms)
{
	if (s->has_expires)
		return now_ms >= s->expires_ms;
	return s->has_ttl && !watch_live(st, s->id) && now_ms >= access_deadline(access_last(st, s, now_ms), s->ttl_s);
}

static void access_free(struct store *st, struct access *a)
{
	sl_link_del(&a->lru);
	sl_link_del(&a->unsaved);
	sl_link_del(&a->held);
	sl_link_del(&a->saving);
	sl_map_del(&st->accesses, &a->node);
	free(a);
}

/* The table stays bounded: the oldest goes, or, when its row is behind, is written with the next sweep. Held ones stay;
 * watches are bounded by themselves. */
static void access_bound(struct store *st)
{
	struct access *a;

	if (st->accesses.n <= STORE_ACCESS_MAX)
		return;
	a = SL_OF(st->access_lru.next, struct access, lru);
	if (a->touched_ms <= a->saved_ms && sl_link_alone(&a->held)) {
		access_free(st, a);
		return;
	}
	if (a->touched_ms > a->saved_ms && sl_link_alone(&a->unsaved))
		sl_link_add(&st->access_unsaved, &a->unsaved);
	sl_link_del(&a->lru);
	sl_link_add(&st->access_lru, &a->lru);
}

void access_renew(struct store *st, const struct stream *s, uint64_t now_ms)
{
	struct access *a;

	if (!s->has_ttl || s->state != SL_LIVE)
		return;
	a = access_find(st, s->id);
	if (!a) {
		a = calloc(1, sizeof *a);
		/* Without memory the row's time stands: the stream may go too early, which is all that is lost. */
		if (!a || sl_map_reserve(&st->accesses)) {
			free(a);
			return;
		}
		a->id = s->id;
		a->saved_ms = s->accessed_ms;
		sl_link_init(&a->unsaved);
		sl_link_init(&a->lru);
		sl_link_init(&a->held);
		sl_link_init(&a->saving);
		sl_map_add(&st->accesses, &a->node, sl_hash_u64(s->id));
	}
	if (now_ms > a->touched_ms)
		a->touched_ms = now_ms;
	sl_link_del(&a->lru);
	sl_link_add(&st->access_lru, &a->lru);
	if (!sl_link_alone(&a->held)) {
		sl_link_del(&a->held);
		sl_link_add(&st->access_held, &a->held);
	}
	if (a->touched_ms > a->saved_ms + access_lag(s->ttl_s) && sl_link_alone(&a->unsaved))
		sl_link_add(&st->access_unsaved, &a->unsaved);
	access_bound(st);
}

void access_hold(struct store *st, uint64_t id, bool live)
{
	struct access *a = access_find(st, id);

	if (!a)
		return;
	sl_link_del(&a->held);
	if (live)
		sl_link_add(&st->access_held, &a->held);
}

bool access_held(struct txn *t, uint64_t since_ms, unsigned max)
{
	struct store *st = t->store;

	for (unsigned i = 0; i < max && !sl_link_alone(&st->access_held); i++) {
		const struct access *a = SL_OF(st->access_held.next, struct access, held);
		struct stream *s;

		if (a->touched_ms >= since_ms)
			return false;
		/* One that cannot be read now is taken up again with the next sweep. */
		if (volume_by_id(t->volume, a->id, &s) != SE_OK || !s || s->state != SL_LIVE)
			return false;
		access_renew(st, s, t->now_ms);
	}
	return !sl_link_alone(&st->access_held);
}

void access_forget(struct store *st, uint64_t id)
{
	struct access *a = access_find(st, id);

	if (a)
		access_free(st, a);
}

static int access_emit(struct txn *t, const struct stream *s, uint64_t accessed_ms)
{
	struct effect_pair e = {.a = s->id, .b = accessed_ms};

	return txn_emit(t, EFFECT_ACCESS, effect_put_pair(&t->effect, &e), SL_SLICE(NULL, 0));
}

static void access_saves(struct store *st, struct access *a, uint64_t ms)
{
	a->saving_ms = ms;
	sl_link_del(&a->saving);
	sl_link_add(&st->access_saving, &a->saving);
}

void access_settle(struct store *st, bool committed)
{
	struct sl_link *l;

	while ((l = sl_link_pop(&st->access_saving))) {
		struct access *a = SL_OF(l, struct access, saving);

		if (committed)
			a->saved_ms = a->saving_ms;
		else if (sl_link_alone(&a->unsaved))
			sl_link_add(&st->access_unsaved, &a->unsaved);
	}
}

int access_keep(struct txn *t, const struct stream *s)
{
	struct access *a = access_find(t->store, s->id);
	uint64_t last = access_last(t->store, s, t->now_ms);

	/* What is granted after a start is not an access. */
	if ((!a && !watch_live(t->store, s->id)) || last <= s->accessed_ms)
		return SE_OK;
	if (a && a->saved_ms < last)
		access_saves(t->store, a, last);
	return access_emit(t, s, last);
}

static int access_save_one(struct txn *t, struct access *a)
{
	struct stream *s;
	int rc;

	access_saves(t->store, a, a->saved_ms); /* its turn comes again if this fails */
	rc = volume_by_id(t->volume, a->id, &s);
	if (rc || !s || s->state != SL_LIVE || a->touched_ms <= s->accessed_ms)
		return rc;
	access_saves(t->store, a, a->touched_ms);
	return access_emit(t, s, a->touched_ms);
}

int access_save(struct txn *t, unsigned max, bool all)
{
	struct store *st = t->store;
	int rc = SE_OK;

	if (all)
		for (struct sl_link *l = st->access_lru.next; l != &st->access_lru; l = l->next) {
			struct access *a = SL_OF(l, struct access, lru);

			if (a->touched_ms > a->saved_ms && sl_link_alone(&a->unsaved))
				sl_link_add(&st->access_unsaved, &a->unsaved);
		}
	for (unsigned i = 0; rc == SE_OK && i < max; i++) {
		struct sl_link *l = sl_link_pop(&st->access_unsaved);

		if (!l)
			break;
		rc = access_save_one(t, SL_OF(l, struct access, unsaved));
	}
	return rc;
}

void access_fini(struct store *st)
{
	while (!sl_link_alone(&st->access_lru))
		access_free(st, SL_OF(st->access_lru.next, struct access, lru));
	sl_map_fini(&st->accesses);
}

int redo_access(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_ACCESS);
	struct effect_pair e;
	struct stream *s = NULL;
	int rc = effect_get_pair(effect, &e);

	(void)db;
	(void)hdr;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_target(v, e.a, &s);
	if (rc)
		return rc;
	s->accessed_ms = e.b;
	volume_bind_u64(q, 1, s->id);
	volume_bind_u64(q, 2, e.b);
	volume_bind_u64(q, 3, access_deadline(e.b, s->ttl_s));
	return volume_run(v, V_STREAM_ACCESS);
}
