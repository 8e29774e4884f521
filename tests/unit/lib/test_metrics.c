/* Metric cells: names, kinds, sharing between two mappings, histograms, a full table. */
#include <sys/mman.h>
#include <unistd.h>

#include "lib/metrics.h"
#include "tests/unit/tap.h"

static void test_mounts(struct sl_metrics *m)
{
	uint64_t *a = sl_metrics_get_at(m, "twice.n", "/a", SL_METRICS_COUNTER, "N."), *b = sl_metrics_get_at(m, "twice.n", "/b", SL_METRICS_COUNTER, "N.");

	ok(a != b && a == sl_metrics_get_at(m, "twice.n", "/a", SL_METRICS_COUNTER, "N."), "each mount of a plugin has cells of its own");
}

static void test_histogram(struct sl_metrics *m, const struct sl_metrics *reader)
{
	struct sl_metrics_cell *h = sl_metrics_histogram(m, "h.seconds", "How long.", &sl_metrics_latency);
	size_t at = (size_t)(h - m->cell);
	const struct sl_metrics_cell *c;

	ok(h == sl_metrics_histogram(m, "h.seconds", "How long.", &sl_metrics_latency), "a histogram is made once");
	sl_metrics_observe(h, 50);
	sl_metrics_observe(h, 51);
	sl_metrics_observe(h, 100);
	sl_metrics_observe(h, UINT64_C(3600) * 1000000);
	c = sl_metrics_at(reader, at);
	ok(c && c->kind == SL_METRICS_HISTOGRAM && c->scale == 1000000, "seen through the other mapping");
	is_int(c->value, UINT64_C(3600) * 1000000 + 201, "its sum");
	is_str(c->help, "How long.", "its help");
	is_int(sl_metrics_at(reader, at + 1)->value, 1, "a bound belongs to its bucket");
	is_int(sl_metrics_at(reader, at + 2)->value, 2, "what is above it to the next");
	is_int(sl_metrics_at(reader, at + 1 + sl_metrics_latency.n)->bound, UINT64_MAX, "the last takes the rest");
	is_int(sl_metrics_at(reader, at + 1 + sl_metrics_latency.n)->value, 1, "and has counted it");
	ok(!sl_metrics_at(reader, at + 2 + sl_metrics_latency.n), "nothing is behind it");
	ok(sl_metrics_histogram(m, "p.open", NULL, &sl_metrics_size) != sl_metrics_histogram(m, "h.size", NULL, &sl_metrics_size),
	   "what has another kind already is no histogram");
}

int main(void)
{
	const struct sl_metrics *reader;
	int fd = memfd_create("m", MFD_CLOEXEC);
	struct sl_metrics *a, *b;
	uint64_t *x, *y;
	char name[100];
	size_t n = 0;

	ok(fd >= 0 && !sl_metrics_map(fd), "too small a memory is refused");
	ok(ftruncate(fd, SL_METRICS_BYTES) == 0, "sized");
	a = sl_metrics_map(fd);
	b = sl_metrics_map(fd);
	ok(a && b && a != b, "two mappings");
	x = sl_metrics_get(a, "p.appends", SL_METRICS_COUNTER, "Appends.");
	y = sl_metrics_get(a, "p.open", SL_METRICS_GAUGE, NULL);
	ok(x && y && x != y, "two cells");
	*x += 3;
	ok(sl_metrics_get(a, "p.appends", SL_METRICS_COUNTER, "Appends.") == x, "the same name is the same cell");
	ok(sl_metrics_at(b, 0) && sl_metrics_at(b, 0)->value == 3, "seen through the other mapping");
	is_str(sl_metrics_at(b, 1)->name, "p.open", "with its name");
	is_int(sl_metrics_at(b, 1)->kind, 'g', "and kind");
	ok(!sl_metrics_at(b, 2), "no third");
	memset(name, 'n', sizeof name);
	name[sizeof name - 1] = '\0';
	sl_metrics_get(a, name, SL_METRICS_COUNTER, "");
	is_int(strlen(sl_metrics_at(b, 2)->name), SL_METRICS_NAME - 1, "a long name is cut");
	sl_metrics_unmap(b);
	b = sl_metrics_map(fd);
	is_int(sl_metrics_at(b, 0)->value, 3, "values survive a new mapping");
	test_mounts(a);
	reader = sl_metrics_look(fd);
	ok(reader && !sl_metrics_look(-1), "a reader maps what is there");
	test_histogram(a, reader);
	sl_metrics_unmap(reader);
	for (size_t i = 0; i < (size_t)2 * SL_METRICS_CELLS; i++) {
		snprintf(name, sizeof name, "c%zu", i);
		*sl_metrics_get(a, name, SL_METRICS_COUNTER, "") = 1;
	}
	sl_metrics_observe(sl_metrics_histogram(a, "late", NULL, &sl_metrics_size), 5);
	while (sl_metrics_at(a, n))
		n++;
	is_int(n, SL_METRICS_CELLS, "a full table stays full");
	is_int(sl_metrics_at(a, 0)->value, 3, "and its first cell what it was");
	sl_metrics_unmap(a);
	sl_metrics_unmap(b);
	a = sl_metrics_map(-1);
	ok(a && !sl_metrics_at(a, 0), "private memory works too");
	sl_metrics_unmap(a);
	close(fd);
	return tap_done();
}
