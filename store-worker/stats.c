/*
 * stats.c - what the writer tells of itself in the cells that the supervisor reads. Store-writer.
 *
 * Counted in the store, copied into the cells once a round; a writer without a supervisor has no cells and counts all the same. Commits are
 * measured where there are cells only.
 */
#include <time.h>

#include "lib/metrics.h"
#include "store-worker/store.h"

/* name, kind, value in terms of st and of the engine's status s, help */
#define STATS(X) \
	X("writer.commits", SL_METRICS_COUNTER, st->n_commits, "Transactions that were committed.") \
	X("writer.operations", SL_METRICS_COUNTER, st->n_operations, "Operations on streams, those that were refused included.") \
	X("writer.position", SL_METRICS_GAUGE, s.position, "Number of the last commit of the volume.") \
	X("writer.wal_bytes", SL_METRICS_GAUGE, s.wal_bytes, "Size of the write-ahead log.") \
	X("writer.peers", SL_METRICS_GAUGE, st->n_peers, "Connections of workers and of sluicectl.")

int stats_open(struct store *st, int fd)
{
	struct sl_metrics *m = sl_metrics_map(fd);
	size_t n = 0;

	if (!m)
		return SLUICE_EINVAL;
	stats_close(st);
	st->metrics = m;
#define X(name, kind, value, help) st->stat[n++] = sl_metrics_get(m, name, kind, help);
	STATS(X)
#undef X
	st->commit_time = sl_metrics_histogram(m, "writer.commit_seconds", "Time that a commit took, its sync included.",
	                                       &sl_metrics_latency);
	st->commit_ops = sl_metrics_histogram(m, "writer.batch_operations",
	                                      "Operations that one commit took together.", &sl_metrics_size);
	return 0;
}

void stats_round(struct store *st)
{
	struct se_status s = {0};
	size_t n = 0;

	if (!st->metrics || !st->se)
		return;
	se_status(st->se, &s);
#define X(name, kind, value, help) __atomic_store_n(st->stat[n++], (uint64_t)(value), __ATOMIC_RELAXED);
	STATS(X)
#undef X
}

uint64_t stats_clock(const struct store *st)
{
	struct timespec ts;

	if (!st->metrics)
		return 0;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (uint64_t)ts.tv_sec * 1000000 + (uint64_t)ts.tv_nsec / 1000;
}

void stats_commit(struct store *st, uint64_t began_us)
{
	if (!st->metrics)
		return;
	sl_metrics_observe(st->commit_time, stats_clock(st) - began_us);
	if (st->n_outcomes > 0) /* a slice of the sweep has none */
		sl_metrics_observe(st->commit_ops, st->n_outcomes);
}

void stats_close(struct store *st)
{
	sl_metrics_unmap(st->metrics);
	st->metrics = NULL;
}

#define X(name, kind, value, help) +1
_Static_assert(0 STATS(X) <= STATS_MAX, "as many cells as struct store has room for");
#undef X
