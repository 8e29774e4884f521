/*
 * stats.c - what the writer tells of itself in the cells that the supervisor reads. Store-writer.
 *
 * Counted in the store, copied into the cells once a round; a writer without a supervisor has no cells and counts all the same.
 */
#include "lib/metrics.h"
#include "store-worker/store.h"

/* name, kind, value in terms of st and of the engine's status s */
#define STATS(X) \
	X("writer.commits", SL_METRICS_COUNTER, st->n_commits) \
	X("writer.operations", SL_METRICS_COUNTER, st->n_operations) \
	X("writer.position", SL_METRICS_GAUGE, s.position) \
	X("writer.wal_bytes", SL_METRICS_GAUGE, s.wal_bytes) \
	X("writer.peers", SL_METRICS_GAUGE, st->n_peers)

int stats_open(struct store *st, int fd)
{
	struct sl_metrics *m = sl_metrics_map(fd);
	size_t n = 0;

	if (!m)
		return SLUICE_EINVAL;
	stats_close(st);
	st->metrics = m;
#define X(name, kind, value) st->stat[n++] = sl_metrics_get(m, name, kind);
	STATS(X)
#undef X
	return 0;
}

void stats_round(struct store *st)
{
	struct se_status s = {0};
	size_t n = 0;

	if (!st->metrics || !st->se)
		return;
	se_status(st->se, &s);
#define X(name, kind, value) __atomic_store_n(st->stat[n++], (uint64_t)(value), __ATOMIC_RELAXED);
	STATS(X)
#undef X
}

void stats_close(struct store *st)
{
	sl_metrics_unmap(st->metrics);
	st->metrics = NULL;
}

#define X(name, kind, value) +1
_Static_assert(0 STATS(X) <= STATS_MAX, "as many cells as struct store has room for");
#undef X
