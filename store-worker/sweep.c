/*
 * sweep.c - when housekeeping happens: expiry, access times, reaping, dead segments, retention. Store-writer.
 *
 * A timer marks everything as due; each turn of the loop then does one slice in a batch of its own, so that nobody's
 * append waits for more than that.
 */
#include <stdlib.h>

#include "lib/log.h"
#include "store-worker/store.h"

enum { EXPIRY_SLICE = 64, ACCESS_SLICE = 256, HELD_SLICE = 256, ORPHANS_MS = 60000 };

struct sweep {
	sqlite3_stmt *stmt[SWEEP_STMTS];
	uint64_t next_ms, next_orphans_ms;                 /* monotonic */
	bool held, expiry, access, reaping, snapshots, segments, retention; /* due */
	uint64_t held_ms;         /* wall clock: streams with live readers are used up to here */
	uint64_t deadline_ms, id; /* where the search for expired streams goes on */
	struct retention pass;
};

static const char *const sweep_sql[SWEEP_STMTS] = {
	[SWEEP_EXPIRED] =
		("SELECT deadline_ms, id FROM stream WHERE deadline_ms IS NOT NULL AND state = 0 AND deadline_ms <= ?1"
                 " AND (deadline_ms, id) > (?2, ?3) ORDER BY deadline_ms, id LIMIT ?4"),
	[SWEEP_REAP] = "SELECT id FROM stream WHERE reap_ms IS NOT NULL AND reap_ms <= ?1 ORDER BY reap_ms, id LIMIT 1",
	[SWEEP_CHUNKS] = "SELECT stop, bytes FROM chunk WHERE stream = ?1 ORDER BY start LIMIT 64",
	[SWEEP_PRODUCERS] = "SELECT count(*) FROM (SELECT 1 FROM producer WHERE stream = ?1 LIMIT 256)",
	[SWEEP_SNAPSHOTS] =
		"SELECT id FROM snapshot WHERE dead_ms IS NOT NULL AND dead_ms <= ?1 ORDER BY dead_ms, id LIMIT ?2",
	[SWEEP_SEGMENTS] =
		("SELECT id FROM segment WHERE dead_ms IS NOT NULL AND dead_ms <= ?1 AND live = 0 AND id <> ?2"
                 " ORDER BY id LIMIT 16"),
	[SWEEP_NAMES] = "SELECT id, name FROM stream WHERE state < 2 AND name > ?1 ORDER BY name LIMIT 64",
};

sqlite3_stmt *sweep_stmt(struct store *st, enum sweep_stmt which)
{
	return st->sweep->stmt[which];
}

int sweep_open(struct store *st)
{
	struct sweep *sw = st->sweep = calloc(1, sizeof *sw);

	if (!sw)
		return SLUICE_ENOMEM;
	for (int i = 0; i < SWEEP_STMTS; i++)
		if (sqlite3_prepare_v3(se_handle(st->se), sweep_sql[i], -1, SQLITE_PREPARE_PERSISTENT, &sw->stmt[i],
		                       NULL) != SQLITE_OK)
			return SLUICE_EINTERNAL;
	sw->next_ms = st->mono_ms(st->clock_arg) + st->settings.sweep_ms;
	sw->next_orphans_ms = st->mono_ms(st->clock_arg) + ORPHANS_MS;
	return 0;
}

void sweep_close(struct store *st)
{
	struct sweep *sw = st->sweep;

	if (!sw)
		return;
	for (int i = 0; i < SWEEP_STMTS; i++)
		sqlite3_finalize(sw->stmt[i]);
	free(sw->pass.name);
	free(sw);
	st->sweep = NULL;
}

bool sweep_left(const struct store *st)
{
	const struct sweep *sw = st->sweep;

	return sw && (sw->held || sw->expiry || sw->access || sw->reaping || sw->snapshots || sw->segments || sw->retention);
}

int sweep_timeout(const struct store *st)
{
	uint64_t now = st->mono_ms(st->clock_arg), left = st->sweep->next_ms > now ? st->sweep->next_ms - now : 0;

	return left > 60000 ? 60000 : (int)left;
}

/* Streams whose row says that they have expired: most have, some were used meanwhile. */
static int expiry_slice(struct txn *t, struct sweep *sw, bool *left)
{
	sqlite3_stmt *q = sw->stmt[SWEEP_EXPIRED];
	uint64_t id[EXPIRY_SLICE];
	int n = 0, rc;

	volume_bind_u64(q, 1, t->now_ms);
	volume_bind_u64(q, 2, sw->deadline_ms);
	volume_bind_u64(q, 3, sw->id);
	volume_bind_u64(q, 4, EXPIRY_SLICE);
	while ((rc = sqlite3_step(q)) == SQLITE_ROW && n < EXPIRY_SLICE) {
		sw->deadline_ms = (uint64_t)sqlite3_column_int64(q, 0);
		id[n++] = sw->id = (uint64_t)sqlite3_column_int64(q, 1);
	}
	sqlite3_reset(q);
	rc = se_of_sqlite(rc);
	for (int i = 0; rc == SE_OK && i < n; i++) {
		struct stream *s;

		rc = volume_by_id(t->volume, id[i], &s);
		if (rc || !s || s->state != SL_LIVE)
			continue;
		rc = access_expired(t->store, s, t->now_ms) ? txn_remove(t, s) : access_keep(t, s);
	}
	*left = n == EXPIRY_SLICE;
	return rc;
}

static int sweep_slice(struct txn *t, struct sweep *sw, struct segment_drops *drops)
{
	int rc = SE_OK;

	if (sw->held) {
		sw->held = access_held(t, sw->held_ms, HELD_SLICE);
		return rc;
	}
	if (sw->expiry)
		return expiry_slice(t, sw, &sw->expiry);
	if (sw->access) {
		rc = access_save(t, ACCESS_SLICE, false);
		sw->access = !sl_link_alone(&t->store->access_unsaved);
		return rc;
	}
	if (sw->reaping)
		return reap_slice(t, &sw->reaping);
	if (sw->snapshots)
		return snapshots_slice(t, &sw->snapshots);
	if (sw->segments) {
		sw->segments = false;
		return segments_slice(t, drops);
	}
	return retention_slice(t, &sw->pass, &sw->retention);
}

static void sweep_due(struct store *st, struct sweep *sw, uint64_t now)
{
	sw->next_ms = now + st->settings.sweep_ms;
	sw->deadline_ms = sw->id = 0;
	sw->held_ms = store_now(st);
	sw->held = sw->expiry = sw->access = sw->reaping = sw->snapshots = sw->segments = sw->retention = true;
	if (now < sw->next_orphans_ms)
		return;
	sw->next_orphans_ms = now + ORPHANS_MS;
	segments_orphans(st, false);
}

void sweep_tick(struct store *st)
{
	struct sweep *sw = st->sweep;
	struct segment_drops drops = {.n = 0};
	uint64_t now = st->mono_ms(st->clock_arg);
	int rc;

	if (now >= sw->next_ms)
		sweep_due(st, sw, now);
	if (!sweep_left(st))
		return;
	rc = batch_open(st);
	if (rc == SE_OK)
		rc = sweep_slice(&st->txn, sw, &drops);
	if (rc == SE_OK)
		rc = se_batch_error(st->txn.batch);
	if (rc) { /* not again before the next tick: the disk may be full for long */
		sw->held = sw->expiry = sw->access = sw->reaping = sw->snapshots = sw->segments = sw->retention = false;
		st->batch_rc = rc;
	}
	batch_end(st);
	if (rc == SE_OK && !st->batch_failed)
		segments_unlink(st, &drops);
}
