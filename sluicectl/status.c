/*
 * status.c - the answer to "status" as a JSON value: for cmd_status.c and cmd_top.c. sluicectl.
 */
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/schema.h"
#include "sluicectl/ctl.h"

struct status {
	json_t *root, *processes, *listeners;
};

static int status_on_server(void *arg, const struct sl_admin_server *m)
{
	static const char *const levels[] = {"error", "warn", "info", "debug"};
	struct link *l = arg;
	struct status *s = l->user;

	s->root =
		json_pack("{s:s, s:i, s:o, s:I, s:I, s:o, s:o, s:b, s:s, s:o, s:o}", "version", l->build, "pid",
	                  (int)m->pid, "phase", out_text(m->phase), "uptime_ms", (json_int_t)m->uptime_ms, "generation",
	                  (json_int_t)m->generation, "config", out_text(m->config), "data_dir", out_text(m->data_dir),
	                  "reloading", m->reloading != 0, "log_level", m->log_level < 4 ? levels[m->log_level] : "?",
	                  "processes", json_array(), "listeners", json_array());
	s->processes = json_object_get(s->root, "processes");
	s->listeners = json_object_get(s->root, "listeners");
	return s->root ? 0 : SLUICE_ENOMEM;
}

static int status_on_process(void *arg, const struct sl_admin_process *m)
{
	struct status *s = ((struct link *)arg)->user;
	struct sl_cur cur = m->cells.cur;
	json_t *cells = json_object(), *p;

	for (uint32_t i = 0; i < m->cells.n; i++) {
		struct sl_admin_cell c;
		char *name;

		if (sl_next_admin_cell(&cur, &c))
			break;
		name = sl_slice_dup(c.name);
		if (name)
			json_object_set_new(cells, name, json_integer((json_int_t)c.value));
		free(name);
	}
	p = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o, s:o}", "name", out_text(m->name), "frontend",
	              out_text(m->frontend), "state", out_text(m->state), "pid", (json_int_t)m->pid, "uptime_ms",
	              (json_int_t)m->uptime_ms, "restarts", (json_int_t)m->restarts, "generation",
	              (json_int_t)m->generation, "metrics", cells, "histograms", json_object());
	return s->processes && p && json_array_append_new(s->processes, p) == 0 ? 0 : SLUICE_ENOMEM;
}

static int status_on_histogram(void *arg, const struct sl_admin_histogram *m)
{
	struct status *s = ((struct link *)arg)->user;
	size_t n = json_array_size(s->processes);
	json_t *last = n ? json_array_get(s->processes, n - 1) : NULL;
	char *name = sl_slice_dup(m->name);
	int rc = SLUICE_ENOMEM;

	if (name && last)
		rc = json_object_set_new(json_object_get(last, "histograms"), name, latency_json(m)) ? SLUICE_ENOMEM
		                                                                                     : 0;
	free(name);
	return rc;
}

static int status_on_listener(void *arg, const struct sl_admin_listener *m)
{
	struct status *s = ((struct link *)arg)->user;
	json_t *p = json_pack("{s:o, s:o}", "frontend", out_text(m->frontend), "address", out_text(m->address));

	return s->listeners && p && json_array_append_new(s->listeners, p) == 0 ? 0 : SLUICE_ENOMEM;
}

/* What files of the store say; they are the writer's, so a look at their size is all. */
static void status_store(json_t *root)
{
	static const struct {
		const char *key, *file;
	} files[] = {{"volume_bytes", SL_VOLUME_FILE}, {"wal_bytes", SL_VOLUME_FILE "-wal"}};
	json_t *store = json_object();
	char path[4096];
	struct stat st;

	for (size_t i = 0; i < sizeof files / sizeof *files; i++) {
		snprintf(path, sizeof path, "%s/%s", json_string_value(json_object_get(root, "data_dir")),
		         files[i].file);
		if (stat(path, &st) == 0)
			json_object_set_new(store, files[i].key, json_integer((json_int_t)st.st_size));
	}
	json_object_set_new(root, "store", store);
}

const char *json_text(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

uint64_t json_number(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

const json_t *status_same(const json_t *root, const json_t *process)
{
	size_t i;
	const json_t *p;

	json_array_foreach(json_object_get(root, "processes"), i, p)
	{
		if (json_number(p, "pid") == json_number(process, "pid") &&
		    strcmp(json_text(p, "name"), json_text(process, "name")) == 0)
			return p;
	}
	return NULL;
}

int status_ask(const struct ctl *ctl, json_t **root)
{
	static const struct sl_admin_handlers handlers = {.server = status_on_server,
	                                                  .process = status_on_process,
	                                                  .histogram = status_on_histogram,
	                                                  .listener = status_on_listener};
	struct status s = {0};
	struct link l;
	int rc = link_open(ctl, &l);

	*root = NULL;
	if (rc)
		return rc;
	rc = sl_put_admin_status(&l.ipc, &(struct sl_admin_status){}) ? CTL_FAILED
	                                                              : link_ask(&l, &handlers, &s, LINK_SOON_MS);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	if (rc == CTL_OK && !s.root) {
		ctl_error("the server at %s says nothing of itself", l.path);
		rc = CTL_FAILED;
	}
	link_close(&l);
	if (rc) {
		json_decref(s.root);
		return rc;
	}
	status_store(s.root);
	*root = s.root;
	return CTL_OK;
}
