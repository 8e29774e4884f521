/*
 * latency.c - how long appends and commits take: quantiles out of the histograms of processes. sluicectl.
 *
 * Between two bounds of a histogram everything is taken for evenly spread, as the web console does.
 */
#include <math.h>

#include "lib/metrics.h"
#include "sluicectl/ctl.h"

const struct latency_kind latency_kinds[] = {
	{"append", "store.append_seconds", "append_p50_seconds", "append_p99_seconds"},
	{"commit", "writer.commit_seconds", "commit_p50_seconds", "commit_p99_seconds"},
	{NULL, NULL, NULL, NULL},
};

json_t *latency_json(const struct sl_admin_histogram *m)
{
	double scale = m->scale ? (double)m->scale : 1;
	struct sl_cur cur = m->buckets.cur;
	json_t *buckets = json_array(), *j;
	struct latency l = {0};
	uint64_t count = 0;

	for (uint32_t i = 0; i < m->buckets.n; i++) {
		struct sl_admin_bucket b;

		if (sl_next_admin_bucket(&cur, &b))
			break;
		count += b.count;
		json_array_append_new(
			buckets, json_pack("{s:o, s:I}", "up_to",
		                           b.bound == UINT64_MAX ? json_null() : json_real((double)b.bound / scale),
		                           "count", (json_int_t)b.count));
	}
	j = json_pack("{s:I, s:f, s:o}", "count", (json_int_t)count, "sum", (double)m->sum / scale, "buckets", buckets);
	latency_add(&l, NULL, j);
	if (j) {
		json_object_set_new(j, "p50", latency_number(&l, 0.5));
		json_object_set_new(j, "p99", latency_number(&l, 0.99));
	}
	return j;
}

void latency_add(struct latency *l, const json_t *before, const json_t *now)
{
	const json_t *old = json_object_get(before, "buckets"), *b;
	size_t i;

	json_array_foreach(json_object_get(now, "buckets"), i, b)
	{
		const json_t *bound = json_object_get(b, "up_to");
		uint64_t count = json_number(b, "count"), was = json_number(json_array_get(old, i), "count");

		if (i >= LATENCY_BUCKETS)
			break;
		l->bound[i] = json_is_number(bound) ? json_number_value(bound) : INFINITY;
		l->count[i] += count > was ? count - was : 0;
		l->n = l->n > i ? l->n : (unsigned)i + 1;
	}
}

double latency_quantile(const struct latency *l, double q)
{
	double total = 0, below = 0, from = 0;

	for (unsigned i = 0; i < l->n; i++)
		total += (double)l->count[i];
	if (total <= 0)
		return -1;
	for (unsigned i = 0; i < l->n; i++) {
		double up_to = below + (double)l->count[i];

		if (up_to >= q * total && l->count[i])
			return isinf(l->bound[i])
			               ? from
			               : from + (l->bound[i] - from) * (q * total - below) / (double)l->count[i];
		below = up_to;
		from = l->bound[i];
	}
	return from;
}

json_t *latency_number(const struct latency *l, double q)
{
	double seconds = latency_quantile(l, q);

	return seconds < 0 ? json_null() : json_real(seconds);
}

static const char *latency_text(double seconds, char buf[32])
{
	if (seconds < 0)
		snprintf(buf, 32, "-");
	else if (seconds < 0.001)
		snprintf(buf, 32, "%.0fus", seconds * 1e6);
	else if (seconds < 1)
		snprintf(buf, 32, seconds < 0.00995 ? "%.1fms" : "%.0fms", seconds * 1e3);
	else
		snprintf(buf, 32, "%.1fs", seconds);
	return buf;
}

const char *latency_line(const json_t *before, const json_t *now, char buf[LATENCY_LINE])
{
	size_t at = 0, i;
	const json_t *p;
	char a[32], b[32];

	*buf = '\0';
	for (const struct latency_kind *k = latency_kinds; k->text; k++) {
		struct latency l = {0};

		json_array_foreach(json_object_get(now, "processes"), i, p)
		{
			const json_t *old = before ? status_same(before, p) : NULL;

			if (old || !before)
				latency_add(&l, json_object_get(json_object_get(old, "histograms"), k->name),
				            json_object_get(json_object_get(p, "histograms"), k->name));
		}
		at += (size_t)snprintf(buf + at, LATENCY_LINE - at, "%s%s p50 %s p99 %s", at ? ", " : "", k->text,
		                       latency_text(latency_quantile(&l, 0.5), a),
		                       latency_text(latency_quantile(&l, 0.99), b));
	}
	return buf;
}
