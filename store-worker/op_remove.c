/*
 * op_remove.c - removal by request or expiry, with the cascade to ancestors that only forks kept: decide and redo.
 * Store-writer.
 */
#include "store-worker/store.h"

static int remove_emit(struct txn *t, const struct effect_remove *e)
{
	return txn_emit(t, EFFECT_REMOVE, effect_put_remove(&t->effect, e), SL_SLICE(NULL, 0));
}

int txn_remove(struct txn *t, struct stream *s)
{
	struct effect_remove e = {
		.stream = s->id, .state = s->forks ? SL_SOFT : SL_DEAD, .parent = s->forks ? 0 : s->fork_of};
	int rc = remove_emit(t, &e);

	/* What is left of a longer chain has reap_ms set, so the sweep goes on with it. */
	for (unsigned i = 0; rc == SE_OK && e.parent && i < STORE_CASCADE_MAX; i++) {
		struct stream *up;

		rc = volume_by_id(t->volume, e.parent, &up);
		if (rc || !up || up->state != SL_SOFT || up->forks)
			return rc;
		e = (struct effect_remove){.stream = up->id, .state = SL_DEAD, .parent = up->fork_of};
		rc = remove_emit(t, &e);
	}
	return rc;
}

int op_remove(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	struct stream *s;
	int rc = op_find(t, m->stream, &s, r);

	if (rc || !s)
		return rc;
	op_facts(r, s);
	r->start = s->tail;
	if ((m->flags & SLUICE_A_EXPECT_TAIL) && m->expect_tail != s->tail)
		return op_refuse(r, SLUICE_ECONFLICT, SLUICE_WHY_TAIL, "the tail is not the expected one");
	if (m->flags & SLUICE_A_REFUSE)
		return op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "the payload is not valid");
	return txn_remove(t, s);
}

static int remove_state(struct volume *v, struct stream *s, uint8_t state, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_STATE);

	s->state = state;
	/* The rows of a dead stream may be read still by who began before this. */
	s->reap = true;
	s->reap_ms = now_ms;
	if (state == SL_DEAD) {
		if (s->named)
			sl_map_del(&v->by_name, &s->by_name);
		s->named = false;
	}
	volume_bind_u64(q, 1, s->id);
	volume_bind_u64(q, 2, state);
	volume_bind_u64(q, 3, s->reap_ms);
	return volume_run(v, V_STREAM_STATE);
}

/* One fork less; the ancestor may have something to reap now. A turn that waits already is not put off, or one whose forks
 * die all the time would never give anything back. */
static int remove_release(struct volume *v, uint64_t id, uint64_t now_ms)
{
	struct stream *s;
	int rc = volume_target(v, id, &s);

	if (rc || s->forks == 0)
		return rc ? rc : SE_CORRUPT;
	s->forks--;
	s->reap_ms = s->reap ? s->reap_ms : now_ms;
	s->reap = true;
	return volume_put_forks(v, s);
}

int redo_remove(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_remove e;
	struct stream *s = NULL;
	int rc = effect_get_remove(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK)
		rc = volume_target(v, e.stream, &s);
	if (rc)
		return rc;
	rc = snapshot_release(v, s, hdr->time_ms);
	if (rc == SE_OK)
		rc = remove_state(v, s, e.state, hdr->time_ms);
	if (rc == SE_OK && e.parent)
		rc = remove_release(v, e.parent, hdr->time_ms);
	se_touch(redo, s->id, SLUICE_EV_REMOVED | (e.state == SL_SOFT ? SLUICE_EV_SOFT : 0));
	return rc;
}
