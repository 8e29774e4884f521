/*
 * metrics.c - /metrics: what every process counts, in the text format of Prometheus (version 0.0.4). Plugin console, worker process.
 *
 * Metrics of one name have to stand together, whichever process counts them: all are formatted into one text, sorted, and put out
 * behind their HELP and TYPE. What plugins call their counters is not ours, so names are made fit, and what would be a second
 * series of the same name and labels, or one of another type, is left out. Streams are never labels.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>

#include "console.h"

struct part { /* of the text */
	size_t at, len;
};

struct series {
	struct part family, labels, help, lines;
	uint32_t kind;
	const char *text; /* once it does not move any more */
};

struct scrape {
	struct text text;
	struct series *series;
	size_t n, cap;
	bool failed;
};

static struct part part_begin(const struct scrape *s)
{
	return (struct part){.at = s->text.len};
}

static void part_end(const struct scrape *s, struct part *part)
{
	part->len = s->text.len - part->at;
}

static struct series *series_new(struct scrape *s, uint32_t kind)
{
	size_t cap = s->cap ? 2 * s->cap : 256;
	struct series *more = s->n < s->cap ? s->series : realloc(s->series, cap * sizeof *more);

	if (!more) {
		s->failed = true;
		return NULL;
	}
	if (s->n == s->cap)
		s->cap = cap;
	s->series = more;
	more[s->n] = (struct series){.kind = kind};
	return &more[s->n++];
}

/* ---- names and texts ---- */

/* "http.requests" becomes sluice_http_requests_total. */
static void family_put(struct text *t, slice name, uint32_t kind)
{
	static const char total[] = "_total";
	const char *p = name.data;
	bool has = name.len >= sizeof total - 1 && memcmp(p + name.len - (sizeof total - 1), total, sizeof total - 1) == 0;

	text_puts(t, "sluice_");
	for (size_t i = 0; i < name.len; i++) {
		bool fit = (p[i] >= 'a' && p[i] <= 'z') || (p[i] >= 'A' && p[i] <= 'Z') || (p[i] >= '0' && p[i] <= '9');

		text_add(t, fit ? &p[i] : "_", 1);
	}
	if (kind == SLUICE_METRIC_COUNTER && !has)
		text_puts(t, total);
}

/* What has a meaning of its own in help texts and, quote true, in label values; and nothing that is not UTF-8. */
static void escape_put(struct text *t, slice s, bool quote)
{
	const char *p = s.data;

	for (size_t i = 0, n; i < s.len; i += n ? n : 1) {
		n = utf8_length(p + i, s.len - i);
		if (n == 0)
			text_puts(t, "\xef\xbf\xbd");
		else if (p[i] == '\n')
			text_puts(t, "\\n");
		else if (p[i] == '\\' || (quote && p[i] == '"'))
			text_addf(t, "\\%c", p[i]);
		else
			text_add(t, p + i, n);
	}
}

static void label_put(struct text *t, const char *name, slice value)
{
	if (value.len == 0)
		return;
	text_addf(t, ",%s=\"", name);
	escape_put(t, value, true);
	text_puts(t, "\"");
}

/* {process="streams#1",frontend="streams",generation="2"}, without the braces */
static void labels_put(struct text *t, const struct sluice_process *process, slice mount)
{
	text_puts(t, "process=\"");
	escape_put(t, process->name, true);
	text_puts(t, "\"");
	label_put(t, "frontend", process->frontend);
	if (process->kind == SLUICE_PROCESS_WORKER)
		text_addf(t, ",generation=\"%" PRIu32 "\"", process->generation);
	label_put(t, "mount", mount);
}

/* ---- one series ---- */

static void line_put(struct scrape *s, const struct series *series, const char *suffix, const char *le)
{
	struct text *t = &s->text;

	text_again(t, series->family.at, series->family.len);
	text_puts(t, suffix);
	text_puts(t, "{");
	text_again(t, series->labels.at, series->labels.len);
	if (le)
		text_addf(t, ",le=\"%s\"", le);
	text_puts(t, "} ");
}

static void histogram_put(struct scrape *s, const struct series *series, const struct sluice_metric *m)
{
	uint64_t count = 0;
	char le[32];

	for (uint32_t i = 0; i < m->n_bucket; i++) {
		count += m->bucket[i].count;
		if (m->bucket[i].bound == UINT64_MAX)
			snprintf(le, sizeof le, "+Inf");
		else
			snprintf(le, sizeof le, "%.9g", (double)m->bucket[i].bound / m->scale);
		line_put(s, series, "_bucket", le);
		text_addf(&s->text, "%" PRIu64 "\n", count);
	}
	line_put(s, series, "_sum", NULL);
	text_addf(&s->text, "%.9g\n", (double)m->value / m->scale);
	line_put(s, series, "_count", NULL);
	text_addf(&s->text, "%" PRIu64 "\n", count);
}

/* Begins one: its name, labels and help are there, its lines follow. */
static struct series *series_begin(struct scrape *s, slice name, uint32_t kind, slice help, const struct sluice_process *process,
                                   slice mount)
{
	struct series *series = series_new(s, kind);

	if (!series)
		return NULL;
	series->family = part_begin(s);
	family_put(&s->text, name, kind);
	part_end(s, &series->family);
	series->labels = part_begin(s);
	labels_put(&s->text, process, mount);
	part_end(s, &series->labels);
	series->help = part_begin(s);
	escape_put(&s->text, help, false);
	part_end(s, &series->help);
	series->lines = part_begin(s);
	return series;
}

static void metric_put(struct scrape *s, const struct sluice_process *process, const struct sluice_metric *m)
{
	struct series *series = series_begin(s, m->name, m->kind, m->help, process, m->mount);

	if (!series)
		return;
	if (m->kind == SLUICE_METRIC_HISTOGRAM) {
		histogram_put(s, series, m);
	} else {
		line_put(s, series, "", NULL);
		/* A gauge that plugins count down may have come below zero. */
		if (m->kind == SLUICE_METRIC_GAUGE)
			text_addf(&s->text, "%" PRId64 "\n", (int64_t)m->value);
		else
			text_addf(&s->text, "%" PRIu64 "\n", m->value);
	}
	part_end(s, &series->lines);
}

static void value_put(struct scrape *s, const struct sluice_process *process, slice name, uint32_t kind, slice help, double value)
{
	struct series *series = series_begin(s, name, kind, help, process, SLICE(NULL, 0));

	if (!series)
		return;
	line_put(s, series, "", NULL);
	text_addf(&s->text, "%.15g\n", value);
	part_end(s, &series->lines);
}

/* What is known of the process without its help. */
static void process_put(struct console *p, struct scrape *s, const struct sluice_process *process)
{
	bool up = process->uptime_ms > 0 && process->pid > 0;

	value_put(s, process, STR("process.up"), SLUICE_METRIC_GAUGE, STR("1: the process runs and is ready."), up);
	value_put(s, process, STR("process.restarts"), SLUICE_METRIC_COUNTER, STR("How often it ended unexpectedly and was started again."),
	          process->restarts);
	if (up)
		value_put(s, process, STR("process.start_time_seconds"), SLUICE_METRIC_GAUGE,
		          STR("When it got ready, in seconds since 1970."),
		          (double)(p->host->wall_ms(p->ctx) - process->uptime_ms) / 1000);
	if (process->resident_bytes == 0)
		return;
	value_put(s, process, STR("process.resident_memory_bytes"), SLUICE_METRIC_GAUGE, STR("Resident memory, shared pages included."),
	          (double)process->resident_bytes);
	value_put(s, process, STR("process.cpu_seconds"), SLUICE_METRIC_COUNTER, STR("Processor time, user and system."),
	          (double)process->cpu_ms / 1000);
}

static void scrape_run(struct console *p, struct scrape *s)
{
	struct sluice_process process = {.size = sizeof process};

	for (size_t i = 0; !s->failed && !s->text.failed && p->server->process(p->ctx, i, &process) == SLUICE_OK; i++) {
		struct sluice_metric m = {.size = sizeof m};

		process_put(p, s, &process);
		for (size_t at = 0; !s->failed && p->server->metric(p->ctx, i, &at, &m) == SLUICE_OK;)
			metric_put(s, &process, &m);
	}
}

/* ---- all of them ---- */

static int part_cmp(const struct series *a, struct part x, const struct series *b, struct part y)
{
	int c = memcmp(a->text + x.at, b->text + y.at, x.len < y.len ? x.len : y.len);

	return c ? c : (x.len > y.len) - (x.len < y.len);
}

static int series_cmp(const void *x, const void *y)
{
	const struct series *a = x, *b = y;
	int c = part_cmp(a, a->family, b, b->family);

	if (c == 0)
		c = (a->kind > b->kind) - (a->kind < b->kind);
	return c ? c : part_cmp(a, a->labels, b, b->labels);
}

static void scrape_put(const struct scrape *s, struct text *out)
{
	static const char *const types[] = {[SLUICE_METRIC_COUNTER] = "counter", [SLUICE_METRIC_GAUGE] = "gauge",
	                                    [SLUICE_METRIC_HISTOGRAM] = "histogram"};
	const struct series *family = NULL, *last = NULL;

	for (size_t i = 0; i < s->n; i++) {
		const struct series *one = &s->series[i];

		if (!family || part_cmp(family, family->family, one, one->family) != 0) {
			family = one;
			last = NULL;
			text_puts(out, "# HELP ");
			text_add(out, one->text + one->family.at, one->family.len);
			text_puts(out, " ");
			text_add(out, one->text + one->help.at, one->help.len);
			text_puts(out, "\n# TYPE ");
			text_add(out, one->text + one->family.at, one->family.len);
			text_addf(out, " %s\n", types[one->kind]);
		}
		if (one->kind != family->kind || (last && part_cmp(last, last->labels, one, one->labels) == 0))
			continue;
		last = one;
		text_add(out, one->text + one->lines.at, one->lines.len);
	}
}

static void build_put(struct console *p, struct text *out)
{
	struct sluice_about about = {.size = sizeof about};

	if (p->server->about(p->ctx, &about))
		return;
	text_puts(out, "# HELP sluice_build_info What runs: always 1.\n# TYPE sluice_build_info gauge\nsluice_build_info{version=\"");
	escape_put(out, about.version, true);
	text_addf(out,
	          "\"} 1\n# HELP sluice_configuration_generation Configurations taken up since the start, the first one included.\n"
	          "# TYPE sluice_configuration_generation gauge\nsluice_configuration_generation %" PRIu32 "\n",
	          about.generation);
}

void metrics_request(void *self, struct sluice_http_req *http)
{
	static const struct sluice_header header[] = {
		{STR("content-type"), STR("text/plain; version=0.0.4; charset=utf-8")}, {STR("cache-control"), STR("no-store")}};
	struct console *p = self;
	struct scrape s = {.text = {.max = METRICS_MAX}};
	struct text out = {.max = METRICS_MAX};

	if (!console_may(p, http, "read", STR("__console/metrics")))
		return;
	++*p->n_scrapes;
	scrape_run(p, &s);
	s.failed |= s.text.failed;
	for (size_t i = 0; i < s.n; i++)
		s.series[i].text = s.text.data;
	if (s.n > 1 && !s.failed)
		qsort(s.series, s.n, sizeof *s.series, series_cmp);
	build_put(p, &out);
	if (!s.failed)
		scrape_put(&s, &out);
	if (s.failed || out.failed)
		answer_error(p, http, 503, "out of memory, or too many metrics");
	else
		p->http->reply(http, 200, header, 2, text_slice(&out));
	text_fini(&s.text);
	text_fini(&out);
	free(s.series);
}
