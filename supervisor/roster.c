/*
 * roster.c - what workers are told of all processes, for plugins that show them. Supervisor.
 *
 * Told are those that asked, whenever a state may have changed: the whole list, so nothing can be missed, and each process's counters
 * as memory that they can map for reading. Between two changes nothing is sent; the counters go on by themselves.
 */
#include <string.h>
#include <unistd.h>

#include "lib/log.h"
#include "supervisor/supervisor.h"

static struct sl_control_process roster_self(const struct supervisor *s)
{
	return (struct sl_control_process){
		.name = SL_STR("sluiced"),
		.state = sl_slice_str(s->reloading ? "reloading" : super_phase_name(s->phase)),
		.kind = SLUICE_PROCESS_SUPERVISOR,
		.pid = (uint32_t)getpid(),
		.ready_ms = (uint64_t)s->started,
		.generation = s->gen ? s->gen->number : 0,
	};
}

static struct sl_control_process roster_child(const struct child *c)
{
	return (struct sl_control_process){
		.name = sl_slice_str(c->name),
		.frontend = sl_slice_str(c->section ? c->section : ""),
		.state = sl_slice_str(child_state_name(c->state)),
		.kind = c->kind == CHILD_STORE ? SLUICE_PROCESS_STORE : SLUICE_PROCESS_WORKER,
		.pid = c->pid > 0 ? (uint32_t)c->pid : 0,
		.ready_ms = c->ready_at < 0 ? 0 : (uint64_t)c->ready_at,
		.restarts = c->deaths,
		.generation = c->gen ? c->gen->number : 0,
		.memory = c->pid > 0 ? c->memory : 0,
	};
}

static uint32_t roster_addresses(struct supervisor *s, struct sl_buf *text, struct sl_control_address *address, uint32_t max)
{
	uint32_t n = 0;

	for (size_t f = 0; f < sl_conf_len(s->config->root, "frontends"); f++) {
		const struct sluice_conf *frontend = sl_conf_at(s->config->root, "frontends", f);

		for (size_t i = 0; n < max && i < sl_conf_len(frontend, "listen"); i++) {
			size_t at = text->len;

			if (!listener_find(s, frontend, i) || listener_url(s, frontend, i, text))
				continue;
			address[n].frontend = sl_slice_str(sl_conf_str(frontend, "name"));
			address[n++].url = SL_SLICE(NULL, text->len - at); /* the text may still move */
		}
	}
	for (size_t i = 0, at = 0; i < n; at += address[i++].url.len)
		address[i].url.data = (const char *)sl_buf_slice(text).data + at;
	return n;
}

/* Memories that this worker does not know, then what they belong to. */
static int roster_send(struct child *to, const struct sl_control_roster *m)
{
	struct supervisor *s = to->super;
	int rc = 0;

	for (struct sl_link *l = s->children.next; rc == 0 && l != &s->children; l = l->next) {
		const struct child *c = SL_OF(l, struct child, link);
		struct sl_control_roster_memory memory = {.number = c->memory, .memory = c->metrics_fd};

		if (c->memory > to->memory_told && c->metrics_fd >= 0)
			rc = sl_put_control_roster_memory(&to->channel.ipc, &memory);
	}
	if (rc == 0)
		rc = sl_put_control_roster(&to->channel.ipc, m);
	if (rc == 0)
		to->memory_told = s->memories;
	channel_flush(&to->channel);
	return rc;
}

static bool roster_listens(const struct child *c)
{
	return c->roster && c->channel.open && c->state != CHILD_DOWN && c->state != CHILD_KILLED;
}

static void roster_tell(struct supervisor *s)
{
	static struct sl_control_process process[ROSTER_MAX];
	static struct sl_control_address address[ROSTER_MAX];
	struct sl_control_roster m = {.generation = s->gen ? s->gen->number : 0,
	                              .reloading = s->reloading,
	                              .processes = {.v = process},
	                              .addresses = {.v = address}};
	struct sl_buf text;

	sl_buf_init(&text);
	process[m.processes.n++] = roster_self(s);
	for (struct sl_link *l = s->children.next; m.processes.n < ROSTER_MAX && l != &s->children; l = l->next) {
		const struct child *c = SL_OF(l, struct child, link);

		if (c->kind != CHILD_CHECK)
			process[m.processes.n++] = roster_child(c);
	}
	m.addresses.n = roster_addresses(s, &text, address, ROSTER_MAX);
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		struct child *c = SL_OF(l, struct child, link);

		/* With the next change it is tried again. */
		if (roster_listens(c) && roster_send(c, &m))
			sl_log(SLUICE_LOG_ERR, "roster name=%s error=\"out of memory or descriptors\"", c->name);
	}
	sl_buf_fini(&text);
}

void roster_progress(struct supervisor *s)
{
	for (struct sl_link *l = s->children.next; l != &s->children; l = l->next) {
		if (!roster_listens(SL_OF(l, struct child, link)))
			continue;
		roster_tell(s);
		return;
	}
}

void roster_wanted(struct child *c)
{
	c->roster = true;
	super_poke(c->super);
}
