/*
 * roster.c - the server as a whole, as plugins see it (host->server): processes, what they count, listeners; and whether the writer
 * answers. Process: sluice-frontend.
 *
 * The supervisor tells the whole list after every change; counters are read in place, from memory of other processes, of which nothing is
 * believed but its size. What /proc knows of a process is read when somebody asks.
 */
#include "frontend/worker.h"
#include "lib/log.h"

#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

struct roster_entry {
	struct sl_control_process p; /* texts in roster->text */
	const struct sl_metrics *metrics;
};

struct roster_memory {
	uint64_t number;
	const struct sl_metrics *map;
};

struct roster {
	struct roster_entry *entry;
	struct sl_control_address *address;
	struct roster_memory *memory;
	size_t n_entry, n_address, n_memory;
	uint32_t generation, reloading;
	char *text;
	struct sluice_bucket bucket[SL_METRICS_BUCKETS + 1]; /* of the histogram that was asked for last */
};
enum { ROSTER_MEMORY_MAX = 2048 };

bool roster_is_wanted(const struct worker *w)
{
	for (const struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
		if (ctx->plugin->needs & SLUICE_CAP_SERVER)
			return true;
	return false;
}

static struct roster *roster_of(struct worker *w)
{
	if (!w->roster)
		w->roster = calloc(1, sizeof *w->roster);
	return w->roster;
}

static void roster_forget(struct roster *r)
{
	free(r->entry);
	free(r->address);
	free(r->text);
	r->entry = NULL;
	r->address = NULL;
	r->text = NULL;
	r->n_entry = r->n_address = 0;
}

void roster_free(struct worker *w)
{
	if (!w->roster)
		return;
	for (size_t i = 0; i < w->roster->n_memory; i++)
		sl_metrics_unmap(w->roster->memory[i].map);
	roster_forget(w->roster);
	free(w->roster->memory);
	free(w->roster);
	w->roster = NULL;
}

/* ---- what the supervisor tells ---- */

static const struct sl_metrics *memory_find(const struct roster *r, uint64_t number)
{
	for (size_t i = 0; number && i < r->n_memory; i++)
		if (r->memory[i].number == number)
			return r->memory[i].map;
	return NULL;
}

int roster_memory(struct worker *w, uint64_t number, int fd)
{
	struct roster *r = roster_of(w);
	struct roster_memory *more = NULL;
	const struct sl_metrics *map = NULL;

	if (r && !memory_find(r, number) && r->n_memory < ROSTER_MEMORY_MAX)
		more = realloc(r->memory, (r->n_memory + 1) * sizeof *more);
	if (more) {
		r->memory = more;
		map = sl_metrics_look(fd);
	}
	close(fd);
	if (map)
		r->memory[r->n_memory++] = (struct roster_memory){.number = number, .map = map};
	return r ? 0 : SLUICE_ENOMEM;
}

/* Those of processes that are gone. */
static void memory_sweep(struct roster *r)
{
	size_t kept = 0;

	for (size_t i = 0; i < r->n_memory; i++) {
		bool used = false;

		for (size_t k = 0; !used && k < r->n_entry; k++)
			used = r->entry[k].p.memory == r->memory[i].number;
		if (used)
			r->memory[kept++] = r->memory[i];
		else
			sl_metrics_unmap(r->memory[i].map);
	}
	r->n_memory = kept;
}

static sl_slice text_keep(char **at, sl_slice s)
{
	char *to = *at;

	if (s.len)
		memcpy(to, s.data, s.len);
	*at += s.len;
	return SL_SLICE(to, s.len);
}

/* The texts of both lists lie inside them, so their bytes bound what is to be kept. */
static int roster_take(struct roster *r, const struct sl_control_roster *m)
{
	struct sl_cur processes = m->processes.cur, addresses = m->addresses.cur;
	char *at = malloc((size_t)(processes.end - processes.p) + 1);

	r->text = at;
	r->entry = calloc((size_t)m->processes.n + 1, sizeof *r->entry);
	r->address = calloc((size_t)m->addresses.n + 1, sizeof *r->address);
	if (!r->text || !r->entry || !r->address)
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < m->processes.n; i++) {
		struct roster_entry *e = &r->entry[r->n_entry++];

		if (sl_next_control_process(&processes, &e->p))
			return SLUICE_EINVAL;
		e->p.name = text_keep(&at, e->p.name);
		e->p.frontend = text_keep(&at, e->p.frontend);
		e->p.state = text_keep(&at, e->p.state);
	}
	for (uint32_t i = 0; i < m->addresses.n; i++) {
		struct sl_control_address *a = &r->address[r->n_address++];

		if (sl_next_control_address(&addresses, a))
			return SLUICE_EINVAL;
		a->frontend = text_keep(&at, a->frontend);
		a->url = text_keep(&at, a->url);
	}
	return 0;
}

int roster_replace(struct worker *w, const struct sl_control_roster *m)
{
	struct roster *r = roster_of(w);
	int rc;

	if (!r)
		return SLUICE_ENOMEM;
	roster_forget(r);
	r->generation = m->generation;
	r->reloading = m->reloading;
	rc = roster_take(r, m);
	if (rc)
		roster_forget(r);
	else
		memory_sweep(r);
	for (size_t i = 0; i < r->n_entry; i++)
		r->entry[i].metrics = memory_find(r, r->entry[i].p.memory);
	return rc == SLUICE_EINVAL ? rc : 0; /* without memory nothing is known until the next change */
}

/* ---- the table ---- */

/* What the host has filled in goes into the plugin's struct, which may be of an older, shorter layout. */
static void out_copy(void *out, uint32_t size, const void *from, size_t len)
{
	memcpy((char *)out + sizeof size, (const char *)from + sizeof size, (size < len ? size : len) - sizeof size);
}

static int server_about(struct sluice_ctx *ctx, struct sluice_about *out)
{
	struct worker *w;
	struct sluice_about a = {0};

	host_ctx_check(ctx);
	w = ctx->worker;
	if (out->size < sizeof out->size)
		return SLUICE_EINVAL;
	a.generation = w->roster ? w->roster->generation : w->generation;
	a.reloading = w->roster ? w->roster->reloading : 0;
	a.version = SL_STR(PACKAGE_VERSION);
	a.config = sl_slice_str(w->config_file ? w->config_file : "");
	a.data_dir = sl_slice_str(w->data_dir ? w->data_dir : "");
	out_copy(out, out->size, &a, sizeof a);
	return 0;
}

/* proc_pid_stat(5): processor time and resident pages. The name in parentheses may have anything inside. */
static void process_proc(uint32_t pid, struct sluice_process *p)
{
	unsigned long utime = 0, stime = 0;
	char text[1024], *rest;
	long pages = 0;
	size_t n;
	FILE *f;

	snprintf(text, sizeof text, "/proc/%u/stat", pid);
	f = pid ? fopen(text, "re") : NULL;
	if (!f)
		return;
	n = fread(text, 1, sizeof text - 1, f);
	fclose(f);
	text[n] = '\0';
	rest = strrchr(text, ')');
	if (!rest ||
	    sscanf(rest + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %*d %*d %*d %*d %*d %*d %*u %*u %ld",
	           &utime, &stime, &pages) != 3 ||
	    pages < 0)
		return;
	p->cpu_ms = (utime + stime) * 1000 / (unsigned long)sysconf(_SC_CLK_TCK);
	p->resident_bytes = (uint64_t)pages * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const struct roster_entry *entry_at(struct sluice_ctx *ctx, size_t i)
{
	const struct roster *r;

	host_ctx_check(ctx);
	r = ctx->worker->roster;
	return r && i < r->n_entry ? &r->entry[i] : NULL;
}

static int server_process(struct sluice_ctx *ctx, size_t i, struct sluice_process *out)
{
	const struct roster_entry *e = entry_at(ctx, i);
	struct sluice_process p = {0};
	uint64_t now;

	if (out->size < sizeof out->size)
		return SLUICE_EINVAL;
	if (!e)
		return SLUICE_ENOENT;
	now = worker_now(ctx->worker);
	p.kind = e->p.kind;
	p.name = e->p.name;
	p.state = e->p.state;
	p.frontend = e->p.frontend;
	p.pid = e->p.pid;
	p.restarts = e->p.restarts;
	p.generation = e->p.generation;
	p.uptime_ms = e->p.ready_ms && now > e->p.ready_ms ? now - e->p.ready_ms : 0;
	process_proc(e->p.pid, &p);
	out_copy(out, out->size, &p, sizeof p);
	return 0;
}

static sl_slice cell_text(const char *text, size_t size)
{
	return SL_SLICE(text, strnlen(text, size));
}

/* The buckets behind the histogram at `at`; returns how many cells they are. */
static size_t metric_buckets(struct roster *r, const struct sl_metrics *m, size_t at, struct sluice_metric *out)
{
	const struct sl_metrics_cell *c;

	out->bucket = r->bucket;
	while (out->n_bucket <= SL_METRICS_BUCKETS && (c = sl_metrics_at(m, at + 1 + out->n_bucket)) &&
	       c->kind == SL_METRICS_BUCKET)
		r->bucket[out->n_bucket++] = (struct sluice_bucket){
			.bound = c->bound, .count = __atomic_load_n(&c->value, __ATOMIC_RELAXED)};
	return out->n_bucket;
}

static int server_metric(struct sluice_ctx *ctx, size_t i, size_t *at, struct sluice_metric *out)
{
	const struct roster_entry *e = entry_at(ctx, i);
	const struct sl_metrics_cell *c = NULL;
	struct sluice_metric m = {0};

	if (out->size < sizeof out->size)
		return SLUICE_EINVAL;
	/* A bucket without its histogram is nothing. */
	while (e && e->metrics && (c = sl_metrics_at(e->metrics, *at)) && c->kind == SL_METRICS_BUCKET)
		++*at;
	if (!c)
		return SLUICE_ENOENT;
	m.kind = c->kind == SL_METRICS_HISTOGRAM ? SLUICE_METRIC_HISTOGRAM
	         : c->kind == SL_METRICS_COUNTER ? SLUICE_METRIC_COUNTER
	                                         : SLUICE_METRIC_GAUGE;
	m.name = cell_text(c->name, sizeof c->name);
	m.mount = cell_text(c->mount, sizeof c->mount);
	m.help = cell_text(c->help, sizeof c->help);
	m.scale = c->scale ? c->scale : 1;
	m.value = __atomic_load_n(&c->value, __ATOMIC_RELAXED);
	if (m.kind == SLUICE_METRIC_HISTOGRAM)
		*at += metric_buckets(ctx->worker->roster, e->metrics, *at, &m);
	++*at;
	out_copy(out, out->size, &m, sizeof m);
	return 0;
}

static int server_listener(struct sluice_ctx *ctx, size_t i, struct sluice_listener *out)
{
	const struct roster *r;
	struct sluice_listener l = {0};

	host_ctx_check(ctx);
	r = ctx->worker->roster;
	if (out->size < sizeof out->size)
		return SLUICE_EINVAL;
	if (!r || i >= r->n_address)
		return SLUICE_ENOENT;
	l.frontend = r->address[i].frontend;
	l.url = r->address[i].url;
	out_copy(out, out->size, &l, sizeof l);
	return 0;
}

/* ---- a sign of life of the writer ---- */

static void ping_answered(void *arg, int status)
{
	struct sluice_req *r = arg;
	sluice_ping_fn *fn = r->fn.ping;
	void *fn_arg = r->arg;

	r->touch = NULL;
	store_req_free(r);
	/* No stream has the incarnation that was asked for: that it says so is the answer. */
	fn(fn_arg, status == SLUICE_ENOENT ? SLUICE_OK : status);
}

static int server_ping(struct sluice_ctx *ctx, sluice_ping_fn *fn, void *arg, struct sluice_req **out)
{
	struct sl_client *client;
	struct sluice_req *r;
	int rc;

	host_ctx_check(ctx);
	client = ctx->worker->store.client;
	if (!fn)
		return SLUICE_EINVAL;
	if (!client || !sl_client_up(client))
		return SLUICE_EBUSY;
	r = store_req_new(ctx, REQ_PING, 0, arg);
	if (!r)
		return SLUICE_ENOMEM;
	r->fn.ping = fn;
	rc = sl_client_touch(client, 0, false, ping_answered, r, &r->touch);
	if (rc) {
		store_req_free(r);
		return rc;
	}
	if (out)
		*out = r;
	return 0;
}

void roster_cancel(struct sluice_req *r)
{
	if (r->touch)
		sl_client_forget(r->ctx->worker->store.client, r->touch);
	store_req_free(r);
}

const struct sluice_server server_table = {
	.size = sizeof server_table,
	.about = server_about,
	.process = server_process,
	.metric = server_metric,
	.listener = server_listener,
	.ping = server_ping,
};
