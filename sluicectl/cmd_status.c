/*
 * cmd_status.c - sluicectl status: the server, its processes and listeners. sluicectl.
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>

#include "lib/metrics.h"
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
	p = json_pack("{s:o, s:o, s:o, s:I, s:I, s:I, s:I, s:o}", "name", out_text(m->name), "frontend",
	              out_text(m->frontend), "state", out_text(m->state), "pid", (json_int_t)m->pid, "uptime_ms",
	              (json_int_t)m->uptime_ms, "restarts", (json_int_t)m->restarts, "generation",
	              (json_int_t)m->generation, "metrics", cells);
	return s->processes && p && json_array_append_new(s->processes, p) == 0 ? 0 : SLUICE_ENOMEM;
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

static const char *text_of(const json_t *o, const char *key)
{
	const char *s = json_string_value(json_object_get(o, key));

	return s ? s : "";
}

static uint64_t number_of(const json_t *o, const char *key)
{
	return (uint64_t)json_integer_value(json_object_get(o, key));
}

static void status_print_processes(const json_t *processes)
{
	static const char *const head[] = {"PROCESS", "PID",      "STATE", "UP",     "RESTARTS", "GEN",
	                                   "CONNS",   "REQUESTS", "5XX",   "QUEUED", NULL};
	struct table t;
	char up[32];
	size_t i;
	json_t *p;

	table_init(&t, 1u << 1 | 1u << 3 | 1u << 4 | 1u << 5 | 1u << 6 | 1u << 7 | 1u << 8 | 1u << 9, head);
	json_array_foreach(processes, i, p)
	{
		const json_t *m = json_object_get(p, "metrics");
		bool worker = *text_of(p, "frontend") != '\0';

		table_add(&t, "%s", text_of(p, "name"));
		table_add(&t, "%llu", (unsigned long long)number_of(p, "pid"));
		table_add(&t, "%s", text_of(p, "state"));
		table_add(&t, "%s", number_of(p, "uptime_ms") ? out_duration(number_of(p, "uptime_ms"), up) : "-");
		table_add(&t, "%llu", (unsigned long long)number_of(p, "restarts"));
		table_add(&t, worker ? "%llu" : "-", (unsigned long long)number_of(p, "generation"));
		table_add(&t, worker ? "%llu" : "-",
		          (unsigned long long)(number_of(m, "http.connections") + number_of(m, "ws.connections")));
		table_add(&t, worker ? "%llu" : "-", (unsigned long long)number_of(m, "http.requests"));
		table_add(&t, worker ? "%llu" : "-", (unsigned long long)number_of(m, "http.answers_5xx"));
		table_add(&t, "%llu", (unsigned long long)number_of(m, "store.queued"));
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static void status_print(const json_t *root)
{
	const json_t *store = json_object_get(root, "store"), *l;
	char a[32], b[32];
	size_t i;

	printf("sluiced %s  %s, pid %llu, up %s, generation %llu%s\n", text_of(root, "version"), text_of(root, "phase"),
	       (unsigned long long)number_of(root, "pid"), out_duration(number_of(root, "uptime_ms"), a),
	       (unsigned long long)number_of(root, "generation"),
	       json_is_true(json_object_get(root, "reloading")) ? ", reloading" : "");
	printf("configuration  %s, log level %s\n", text_of(root, "config"), text_of(root, "log_level"));
	printf("data           %s, volume %s, log %s\n", text_of(root, "data_dir"),
	       out_bytes(number_of(store, "volume_bytes"), a), out_bytes(number_of(store, "wal_bytes"), b));
	json_array_foreach(json_object_get(root, "listeners"), i, l)
		printf("%-13s  %s (%s)\n", i ? "" : "listening", text_of(l, "address"), text_of(l, "frontend"));
	putchar('\n');
	status_print_processes(json_object_get(root, "processes"));
}

static int status_run(struct ctl *ctl)
{
	static const struct sl_admin_handlers handlers = {
		.server = status_on_server, .process = status_on_process, .listener = status_on_listener};
	struct status s = {0};
	struct link l;
	int rc = link_open(ctl, &l);

	if (rc)
		return rc;
	rc = sl_put_admin_status(&l.ipc, &(struct sl_admin_status){}) ? CTL_FAILED
	                                                              : link_ask(&l, &handlers, &s, LINK_SOON_MS);
	if (rc == CTL_FAILED)
		rc = link_refused(&l);
	if (rc == CTL_OK && s.root) {
		status_store(s.root);
		if (ctl->json)
			rc = out_json(json_incref(s.root));
		else
			status_print(s.root);
	}
	json_decref(s.root);
	link_close(&l);
	return rc;
}

const struct ctl_command cmd_status = {
	.name = "status",
	.args = "",
	.summary = "Show the server, its processes and addresses",
	.help = "CONNS are open connections, REQUESTS and 5XX count since the process started, QUEUED are requests that wait for\n"
		"the store-writer. --json has every counter.",
	.run = status_run,
};
