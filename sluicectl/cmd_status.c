/*
 * cmd_status.c - sluicectl status: the server, its processes and listeners. sluicectl.
 */
#include "sluicectl/ctl.h"

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
		bool worker = *json_text(p, "frontend") != '\0';

		table_add(&t, "%s", json_text(p, "name"));
		table_add(&t, "%ju", (uintmax_t)json_number(p, "pid"));
		table_add(&t, "%s", json_text(p, "state"));
		table_add(&t, "%s", json_number(p, "uptime_ms") ? out_duration(json_number(p, "uptime_ms"), up) : "-");
		table_add(&t, "%ju", (uintmax_t)json_number(p, "restarts"));
		table_add(&t, worker ? "%ju" : "-", (uintmax_t)json_number(p, "generation"));
		table_add(&t, worker ? "%ju" : "-",
		          (uintmax_t)(json_number(m, "http.connections") + json_number(m, "ws.connections")));
		table_add(&t, worker ? "%ju" : "-", (uintmax_t)json_number(m, "http.requests"));
		table_add(&t, worker ? "%ju" : "-", (uintmax_t)json_number(m, "http.answers_5xx"));
		table_add(&t, "%ju", (uintmax_t)json_number(m, "store.queued"));
	}
	table_print(&t, stdout);
	table_fini(&t);
}

static void status_print(const json_t *root)
{
	const json_t *store = json_object_get(root, "store"), *l;
	char a[32], b[32], latency[LATENCY_LINE];
	size_t i;

	printf("sluiced %s  %s, pid %ju, up %s, generation %ju%s\n", json_text(root, "version"),
	       json_text(root, "phase"), (uintmax_t)json_number(root, "pid"),
	       out_duration(json_number(root, "uptime_ms"), a), (uintmax_t)json_number(root, "generation"),
	       json_is_true(json_object_get(root, "reloading")) ? ", reloading" : "");
	printf("configuration  %s, log level %s\n", json_text(root, "config"), json_text(root, "log_level"));
	printf("data           %s, volume %s, log %s\n", json_text(root, "data_dir"),
	       out_size(json_number(store, "volume_bytes"), a), out_size(json_number(store, "wal_bytes"), b));
	printf("latency        %s\n", latency_line(NULL, root, latency));
	json_array_foreach(json_object_get(root, "listeners"), i, l)
		printf("%-13s  %s (%s)\n", i ? "" : "listening", json_text(l, "address"), json_text(l, "frontend"));
	putchar('\n');
	status_print_processes(json_object_get(root, "processes"));
}

static int status_run(struct ctl *ctl)
{
	json_t *root;
	int rc = status_ask(ctl, &root);

	if (rc)
		return rc;
	if (ctl->json)
		return out_json(root);
	status_print(root);
	json_decref(root);
	return CTL_OK;
}

const struct ctl_command cmd_status = {
	.name = "status",
	.args = "",
	.summary = "Show the server, its processes and addresses",
	.help = "Latency is that of appends, as workers see it, and of commits, since each process started: p50 is the median, and one in a\n"
		"hundred takes longer than p99. CONNS are open connections, REQUESTS and 5XX count since the process started, QUEUED are\n"
		"requests that wait for the store-writer. --json has every counter and histogram.",
	.run = status_run,
};
