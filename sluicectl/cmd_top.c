/*
 * cmd_top.c - sluicectl top: what each process does at the moment, refreshed on a terminal. sluicectl.
 *
 * Rates are differences of two answers to "status", told apart by name and process id; processor and memory come from /proc. Each look
 * is a connection of its own, so it goes on over a reload and an upgrade.
 */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { TOP_INTERVAL_S = 1, TOP_INTERVAL_MAX_S = 3600, LINE_MAX_BYTES = 512 };

static volatile sig_atomic_t top_signal;

static void top_on_signal(int sig)
{
	top_signal = sig;
}

struct top {
	struct ctl *ctl;
	json_t *before, *now;
	uint64_t before_ms, now_ms;
	struct termios saved;
	bool terminal;
};

/* ---- a look ---- */

/* Processor time in milliseconds and resident bytes, as fields of the process. */
static void top_proc(json_t *process)
{
	char path[64], text[1024], *p;
	unsigned long utime = 0, stime = 0;
	long rss = 0;
	size_t n;
	FILE *f;

	snprintf(path, sizeof path, "/proc/%llu/stat", (unsigned long long)json_number(process, "pid"));
	f = fopen(path, "re");
	n = f ? fread(text, 1, sizeof text - 1, f) : 0;
	if (f)
		fclose(f);
	text[n] = '\0';
	p = strrchr(text, ')'); /* the name before it may have anything inside */
	if (!p ||
	    sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
	           &utime, &stime, &rss) != 3)
		return;
	json_object_set_new(process, "cpu_ms",
	                    json_integer((json_int_t)((utime + stime) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK))));
	json_object_set_new(process, "resident_bytes", json_integer((json_int_t)rss * sysconf(_SC_PAGESIZE)));
}

static int top_look(struct top *t)
{
	json_t *root, *p;
	size_t i;
	int rc = status_ask(t->ctl, &root);

	if (rc)
		return rc;
	json_array_foreach(json_object_get(root, "processes"), i, p) top_proc(p);
	json_decref(t->before);
	t->before = t->now;
	t->before_ms = t->now_ms;
	t->now = root;
	t->now_ms = session_now();
	return CTL_OK;
}

/* ---- rates ---- */

/* Of a value that only grows, a second; the member is the process's own or one of its metrics. */
static double top_rate(const struct top *t, const json_t *process, const char *key, bool metric)
{
	const json_t *before = status_same(t->before, process);
	double ms = (double)(t->now_ms - t->before_ms);
	uint64_t a, b;

	if (!before || ms <= 0)
		return 0;
	a = json_number(metric ? json_object_get(before, "metrics") : before, key);
	b = json_number(metric ? json_object_get(process, "metrics") : process, key);
	return b > a ? (double)(b - a) * 1000 / ms : 0;
}

static const struct {
	const char *head, *json, *metric; /* metric: a counter of which the rate is shown */
	const char *store_metric;         /* the same for the store-writer; NULL: it has none */
} top_rates[] = {
	{"REQ/S", "requests_per_second", "http.requests", NULL},
	{"READS/S", "reads_per_second", "store.reads", NULL},
	{"WRITES/S", "writes_per_second", "store.submits", "writer.operations"},
	{NULL, "commits_per_second", NULL, "writer.commits"}, /* above the table, whose lines have to fit */
};
enum { TOP_RATES = sizeof top_rates / sizeof *top_rates, TOP_COLUMNS = TOP_RATES - 1 };

static const char *top_metric(const json_t *process, size_t i)
{
	return *json_text(process, "frontend") ? top_rates[i].metric : top_rates[i].store_metric;
}

/* ---- output ---- */

static void top_table(const struct top *t, FILE *f)
{
	const char *const head[] = {
		"PROCESS",         "PID",   "STATE",  "UP", "CPU%", "MEM", top_rates[0].head, top_rates[1].head,
		top_rates[2].head, "CONNS", "QUEUED", NULL};
	struct table table;
	char text[32];
	size_t i;
	const json_t *p;

	table_init(&table, ~(1u << 0 | 1u << 2), head);
	json_array_foreach(json_object_get(t->now, "processes"), i, p)
	{
		const json_t *m = json_object_get(p, "metrics");

		table_add(&table, "%s", json_text(p, "name"));
		table_add(&table, "%ju", (uintmax_t)json_number(p, "pid"));
		table_add(&table, "%s", json_text(p, "state"));
		table_add(&table, "%s", out_duration(json_number(p, "uptime_ms"), text));
		table_add(&table, "%.1f", top_rate(t, p, "cpu_ms", false) / 10);
		table_add(&table, "%s", out_bytes(json_number(p, "resident_bytes"), text));
		for (size_t k = 0; k < TOP_COLUMNS; k++) {
			const char *metric = top_metric(p, k);

			table_add(&table, metric ? "%.0f" : "-", metric ? top_rate(t, p, metric, true) : 0.0);
		}
		table_add(&table, "%ju",
		          (uintmax_t)(json_number(m, "http.connections") + json_number(m, "ws.connections")));
		table_add(&table, "%ju", (uintmax_t)json_number(m, "store.queued"));
	}
	table_print(&table, f);
	table_fini(&table);
}

static double top_commits(const struct top *t)
{
	double sum = 0;
	size_t i;
	const json_t *p;

	json_array_foreach(json_object_get(t->now, "processes"), i, p)
	{
		if (!*json_text(p, "frontend"))
			sum += top_rate(t, p, top_rates[TOP_COLUMNS].store_metric, true);
	}
	return sum;
}

static void top_text(const struct top *t, FILE *f)
{
	const json_t *store = json_object_get(t->now, "store");
	char up[32], volume[32], log[32], latency[LATENCY_LINE];

	fprintf(f, "sluiced %s  %s, pid %ju, up %s, generation %ju  volume %s, log %s\n%s, %.0f commits/s\n%s\n",
	        json_text(t->now, "version"), json_text(t->now, "phase"), (uintmax_t)json_number(t->now, "pid"),
	        out_duration(json_number(t->now, "uptime_ms"), up), (uintmax_t)json_number(t->now, "generation"),
	        out_size(json_number(store, "volume_bytes"), volume), out_size(json_number(store, "wal_bytes"), log),
	        latency_line(t->before, t->now, latency), top_commits(t), t->terminal ? "q quits" : "");
	top_table(t, f);
}

static void top_latencies(const struct top *t, const json_t *process, json_t *one)
{
	const json_t *before = json_object_get(status_same(t->before, process), "histograms");
	const json_t *now = json_object_get(process, "histograms");

	for (const struct latency_kind *k = latency_kinds; k->text; k++) {
		struct latency l = {0};

		if (!json_object_get(now, k->name))
			continue;
		latency_add(&l, json_object_get(before, k->name), json_object_get(now, k->name));
		json_object_set_new(one, k->p50, latency_number(&l, 0.5));
		json_object_set_new(one, k->p99, latency_number(&l, 0.99));
	}
}

static int top_json(const struct top *t)
{
	json_t *all = json_array(), *one;
	const json_t *p;
	size_t i;

	json_array_foreach(json_object_get(t->now, "processes"), i, p)
	{
		one = json_pack("{s:s, s:I, s:s, s:f, s:I}", "name", json_text(p, "name"), "pid",
		                (json_int_t)json_number(p, "pid"), "state", json_text(p, "state"), "cpu_percent",
		                top_rate(t, p, "cpu_ms", false) / 10, "resident_bytes",
		                (json_int_t)json_number(p, "resident_bytes"));
		for (size_t k = 0; k < TOP_RATES; k++) {
			const char *metric = top_metric(p, k);

			if (metric)
				json_object_set_new(one, top_rates[k].json, json_real(top_rate(t, p, metric, true)));
		}
		top_latencies(t, p, one);
		json_array_append_new(all, one);
	}
	return out_json(all);
}

/* The lines that fit, each cut at the edge. */
static void top_draw(const struct top *t)
{
	struct winsize w = {0};
	char *text = NULL, *line, *rest;
	size_t size;
	unsigned row = 0;
	FILE *f = open_memstream(&text, &size);

	if (!f)
		return;
	top_text(t, f);
	fclose(f);
	if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) || w.ws_row < 2 || w.ws_col == 0)
		w = (struct winsize){.ws_row = 24, .ws_col = 80};
	fputs("\033[H", stdout);
	for (rest = text; rest && (line = strsep(&rest, "\n")) && row + 1u < w.ws_row; row++)
		printf("%.*s\033[K\n", (int)w.ws_col, line);
	fputs("\033[J", stdout);
	fflush(stdout);
	free(text);
}

/* ---- the terminal ---- */

static void top_enter(struct top *t)
{
	struct termios raw;
	struct sigaction act = {.sa_handler = top_on_signal};

	if (tcgetattr(STDIN_FILENO, &t->saved))
		return;
	t->terminal = true;
	raw = t->saved;
	raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
	raw.c_cc[VMIN] = 0;
	raw.c_cc[VTIME] = 0;
	tcsetattr(STDIN_FILENO, TCSANOW, &raw);
	sigaction(SIGINT, &act, NULL);
	sigaction(SIGTERM, &act, NULL);
	sigaction(SIGHUP, &act, NULL);
	fputs("\033[?25l\033[2J", stdout);
}

static void top_leave(struct top *t)
{
	if (!t->terminal)
		return;
	fputs("\033[?25h", stdout);
	fflush(stdout);
	tcsetattr(STDIN_FILENO, TCSANOW, &t->saved);
	t->terminal = false;
}

/* Until the next look is due; true: it is to end. */
static bool top_wait(const struct top *t, uint64_t interval_ms)
{
	uint64_t due = session_now() + interval_ms;
	char keys[16];

	for (uint64_t now; !top_signal && (now = session_now()) < due;) {
		struct pollfd p = {.fd = t->terminal ? STDIN_FILENO : -1, .events = POLLIN};
		ssize_t n = 0;

		if (poll(&p, 1, (int)(due - now)) > 0 && (n = read(STDIN_FILENO, keys, sizeof keys)) == 0)
			return true; /* the terminal has gone */
		for (ssize_t i = 0; i < n; i++) {
			if (keys[i] == 'q' || keys[i] == 'Q')
				return true;
		}
		if (n > 0)
			return false; /* any other key looks at once */
	}
	return top_signal != 0;
}

static int top_run(struct ctl *ctl)
{
	struct top t = {.ctl = ctl};
	uint64_t seconds = TOP_INTERVAL_S;
	bool live = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && !ctl->json;
	int rc;

	if (ctl->option['d'] &&
	    (!ctl_number(ctl->option['d'], &seconds) || seconds == 0 || seconds > TOP_INTERVAL_MAX_S))
		return ctl_misuse(ctl, "-d takes seconds from 1 to %d, not \"%s\"", TOP_INTERVAL_MAX_S,
		                  ctl->option['d']);
	rc = top_look(&t);
	if (rc == CTL_OK && live)
		top_enter(&t);
	while (rc == CTL_OK) {
		if (live)
			top_draw(&t);
		if (top_wait(&t, seconds * 1000))
			break;
		rc = top_look(&t);
		if (rc == CTL_OK && !live) {
			rc = ctl->json ? top_json(&t) : (top_text(&t, stdout), CTL_OK);
			break;
		}
	}
	top_leave(&t);
	json_decref(t.before);
	json_decref(t.now);
	return rc;
}

static const struct ctl_option top_options[] = {
	{'d', "delay", "SECONDS", "time between two looks (1)"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_top = {
	.name = "top",
	.args = "",
	.summary = "Show what each process does at the moment",
	.help = "Refreshed on a terminal until q is pressed; elsewhere, and with --json, printed once after the first interval. WRITES/S are\n"
		"requests of a worker, operations of the store-writer. Latencies are those of the interval, - when nothing was appended.",
	.options = top_options,
	.run = top_run,
};
