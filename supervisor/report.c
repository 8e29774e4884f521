/*
 * report.c - what the supervisor knows of itself and its children, as messages for sluicectl. Supervisor.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "lib/metrics.h"
#include "supervisor/supervisor.h"

/* "streams.appends", or "streams:/mount.appends" of a plugin that its frontend has twice. */
static sl_slice report_name(const struct sl_metrics_cell *m, char text[2 * SL_METRICS_NAME])
{
	int name = (int)strnlen(m->name, sizeof m->name), mount = (int)strnlen(m->mount, sizeof m->mount);
	const char *dot = memchr(m->name, '.', (size_t)name);
	int plugin = dot ? (int)(dot - m->name) : name;

	if (mount == 0)
		return SL_SLICE(m->name, (size_t)name);
	snprintf(text, (size_t)2 * SL_METRICS_NAME, "%.*s:%.*s%.*s", plugin, m->name, mount, m->mount, name - plugin,
	         m->name + plugin);
	return sl_slice_str(text);
}

/* A child writes its cells as it likes; nothing is believed but that the memory is there. */
static size_t report_cells(const struct child *c, struct sl_admin_cell cell[SL_METRICS_CELLS])
{
	static char text[SL_METRICS_CELLS][2 * SL_METRICS_NAME];
	const struct sl_metrics_cell *m;
	size_t n = 0;

	for (size_t i = 0; c->metrics && (m = sl_metrics_at(c->metrics, i)); i++) {
		if (m->kind != SL_METRICS_COUNTER && m->kind != SL_METRICS_GAUGE)
			continue;
		cell[n] = (struct sl_admin_cell){.name = report_name(m, text[n]),
		                                 .kind = (uint8_t)m->kind,
		                                 .value = __atomic_load_n(&m->value, __ATOMIC_RELAXED)};
		n++;
	}
	return n;
}

static int report_process(const struct child *c, struct sl_ipc *out)
{
	static struct sl_admin_cell cell[SL_METRICS_CELLS];
	struct sl_admin_process m = {
		.name = sl_slice_str(c->name),
		.frontend = sl_slice_str(c->section ? c->section : ""),
		.state = sl_slice_str(child_state_name(c->state)),
		.pid = c->pid > 0 ? (uint32_t)c->pid : 0,
		.uptime_ms = c->ready_at < 0 ? 0 : (uint64_t)(super_now() - c->ready_at),
		.restarts = c->deaths,
		.generation = c->gen ? c->gen->number : 0,
		.cells = {.v = cell},
	};

	/* Those of a process that is gone would be taken for the present ones. */
	m.cells.n = c->pid > 0 ? (uint32_t)report_cells(c, cell) : 0;
	return sl_put_admin_process(out, &m);
}

static int report_histogram(const struct child *c, size_t at, struct sl_ipc *out)
{
	const struct sl_metrics_cell *m = sl_metrics_at(c->metrics, at), *b;
	struct sl_admin_bucket bucket[SL_METRICS_BUCKETS + 1];
	char text[2 * SL_METRICS_NAME];
	struct sl_admin_histogram h = {.name = report_name(m, text),
	                               .scale = m->scale,
	                               .sum = __atomic_load_n(&m->value, __ATOMIC_RELAXED),
	                               .buckets = {.v = bucket}};

	while (h.buckets.n <= SL_METRICS_BUCKETS && (b = sl_metrics_at(c->metrics, ++at)) &&
	       b->kind == SL_METRICS_BUCKET)
		bucket[h.buckets.n++] = (struct sl_admin_bucket){.bound = b->bound,
		                                                 .count = __atomic_load_n(&b->value, __ATOMIC_RELAXED)};
	return sl_put_admin_histogram(out, &h);
}

static int report_histograms(const struct child *c, struct sl_ipc *out)
{
	const struct sl_metrics_cell *m;
	int rc = 0;

	for (size_t i = 0; rc == 0 && c->pid > 0 && c->metrics && (m = sl_metrics_at(c->metrics, i)); i++) {
		if (m->kind == SL_METRICS_HISTOGRAM)
			rc = report_histogram(c, i, out);
	}
	return rc;
}

static int report_listeners(struct supervisor *s, struct sl_ipc *out)
{
	struct sl_buf url;
	int rc = 0;

	sl_buf_init(&url);
	for (size_t f = 0; rc == 0 && f < sl_conf_len(s->config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(s->config->root, "frontends", f);

		for (size_t i = 0; rc == 0 && i < sl_conf_len(frontend, "listen"); i++) {
			struct sl_admin_listener m = {.frontend = sl_slice_str(sl_conf_str(frontend, "name"))};

			sl_buf_drain(&url, SIZE_MAX);
			if (!listener_find(s, frontend, i))
				continue;
			rc = listener_url(s, frontend, i, &url);
			m.address = sl_buf_slice(&url);
			if (rc == 0)
				rc = sl_put_admin_listener(out, &m);
		}
	}
	sl_buf_fini(&url);
	return rc;
}

int report_status(struct supervisor *s, struct sl_ipc *out)
{
	struct sl_admin_server m = {
		.pid = (uint32_t)getpid(),
		.phase = sl_slice_str(super_phase_name(s->phase)),
		.uptime_ms = (uint64_t)(super_now() - s->started),
		.config = sl_slice_str(s->file),
		.data_dir = sl_slice_str(s->data.path),
		.generation = s->gen ? s->gen->number : 0,
		.reloading = s->reloading,
		.log_level = (uint8_t)sl_log_level_get(),
	};
	int rc = sl_put_admin_server(out, &m);

	for (struct sl_link *l = s->children.next; rc == 0 && l != &s->children; l = l->next) {
		const struct child *c = SL_OF(l, struct child, link);

		if (c->kind != CHILD_CHECK)
			rc = report_process(c, out);
		if (rc == 0 && c->kind != CHILD_CHECK)
			rc = report_histograms(c, out);
	}
	return rc ? rc : report_listeners(s, out);
}

/* The workers of a frontend load the same: one of each speaks for all. */
int report_plugins(struct supervisor *s, struct sl_ipc *out)
{
	const char *last = "";
	int rc = 0;

	for (struct sl_link *l = s->children.next; rc == 0 && l != &s->children; l = l->next) {
		const struct child *c = SL_OF(l, struct child, link);

		if (c->kind != CHILD_WORKER || c->gen != s->gen || c->state != CHILD_READY ||
		    strcmp(c->section, last) == 0)
			continue;
		last = c->section;
		for (size_t i = 0; rc == 0 && i < c->n_plugins; i++) {
			const struct child_plugin *p = &c->plugins[i];
			struct sl_admin_plugin m = {.frontend = sl_slice_str(c->section),
			                            .name = sl_slice_str(p->name),
			                            .version = sl_slice_str(p->version),
			                            .abi_major = p->abi_major,
			                            .abi_minor = p->abi_minor,
			                            .mount = sl_slice_str(p->mount),
			                            .file = sl_slice_str(p->file)};

			rc = sl_put_admin_plugin(out, &m);
		}
	}
	return rc;
}
