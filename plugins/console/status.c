/*
 * status.c - what the page shows of processes, listeners and presence channels. Plugin console, worker process.
 */
#include <inttypes.h>

#include "console.h"

static void process_put(struct text *t, const struct sluice_process *process)
{
	static const char *const kinds[] = {[SLUICE_PROCESS_SUPERVISOR] = "supervisor", [SLUICE_PROCESS_STORE] = "store",
	                                    [SLUICE_PROCESS_WORKER] = "worker"};

	text_puts(t, "{\"name\":");
	text_json(t, process->name);
	text_addf(t, ",\"kind\":\"%s\",\"frontend\":", process->kind < sizeof kinds / sizeof *kinds ? kinds[process->kind] : "");
	text_json(t, process->frontend);
	text_puts(t, ",\"state\":");
	text_json(t, process->state);
	text_addf(t,
	          ",\"pid\":%" PRIu32 ",\"restarts\":%" PRIu32 ",\"generation\":%" PRIu32 ",\"uptime_ms\":%" PRIu64
	          ",\"resident_bytes\":%" PRIu64 ",\"cpu_ms\":%" PRIu64 "}",
	          process->pid, process->restarts, process->generation, process->uptime_ms, process->resident_bytes, process->cpu_ms);
}

static void about_put(struct console *p, struct text *t)
{
	struct sluice_about about = {.size = sizeof about};

	(void)p->server->about(p->ctx, &about); /* what is not known stays empty */
	text_puts(t, "{\"version\":");
	text_json(t, about.version);
	text_puts(t, ",\"config\":");
	text_json(t, about.config);
	text_puts(t, ",\"data_dir\":");
	text_json(t, about.data_dir);
	text_addf(t, ",\"generation\":%" PRIu32 ",\"reloading\":%s,\"processes\":[", about.generation, about.reloading ? "true" : "false");
}

void status_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	struct sluice_process process = {.size = sizeof process};
	struct sluice_listener listener = {.size = sizeof listener};
	struct text t = {0};

	if (!console_may(p, http, "admin", STR("__console/status")))
		return;
	about_put(p, &t);
	for (size_t i = 0; p->server->process(p->ctx, i, &process) == SLUICE_OK; i++) {
		text_puts(&t, i ? "," : "");
		process_put(&t, &process);
	}
	text_puts(&t, "],\"listeners\":[");
	for (size_t i = 0; p->server->listener(p->ctx, i, &listener) == SLUICE_OK; i++) {
		text_puts(&t, i ? ",{\"frontend\":" : "{\"frontend\":");
		text_json(&t, listener.frontend);
		text_puts(&t, ",\"url\":");
		text_json(&t, listener.url);
		text_puts(&t, "}");
	}
	text_puts(&t, "]}\n");
	answer_json(p, http, 200, &t);
	text_fini(&t);
}

/* ---- presence channels ---- */

static void channels_listed(void *arg, int status, const struct sluice_channel_entry *e, size_t n, int more)
{
	struct call *c = arg;
	struct console *p = c->p;
	struct sluice_http_req *http;
	struct text t = {0};

	c->channel = NULL;
	http = call_free(c);
	if (status) {
		answer_trouble(p, http, status);
		return;
	}
	text_puts(&t, "{\"channels\":[");
	for (size_t i = 0; i < n; i++) {
		text_puts(&t, i ? ",{\"name\":" : "{\"name\":");
		text_json(&t, e[i].name);
		text_addf(&t, ",\"entries\":%" PRIu64 ",\"subscribers\":%" PRIu64 ",\"bytes\":%" PRIu64 "}", e[i].entries,
		          e[i].subscribers, e[i].bytes);
	}
	text_addf(&t, "],\"more\":%s}\n", more ? "true" : "false");
	answer_json(p, http, 200, &t);
	text_fini(&t);
}

void channels_request(void *self, struct sluice_http_req *http)
{
	struct console *p = self;
	struct call *c;
	int rc;

	if (!console_may(p, http, "admin", STR("__console/channels")))
		return;
	c = call_new(p, http, CALL_CHANNELS);
	if (!c)
		return;
	rc = p->host->ephemeral->list(p->ctx, STR(""), SLICE(NULL, 0), LIST_DEFAULT, channels_listed, c, &c->channel);
	if (rc)
		answer_trouble(p, call_free(c), rc);
}
