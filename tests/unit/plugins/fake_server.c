/*
 * fake_server.c - the fake's server as a whole: processes and metrics that the test has put there, the writer's sign of life, presence
 * channels. Tests only.
 */
#include "tests/unit/plugins/fake_store.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static int server_about(fake *f, struct sluice_about *out)
{
	(void)f;
	assert(out->size == sizeof *out);
	*out = (struct sluice_about){.size = sizeof *out, .generation = 3, .version = slice_of("9.8 \"beta\""), .config = slice_of("/etc/x.yaml"),
	                             .data_dir = slice_of("/data")};
	return 0;
}

static int server_process(fake *f, size_t i, struct sluice_process *out)
{
	const struct fake_process *p = &f->process[i];

	assert(out->size == sizeof *out);
	if (i >= f->n_process)
		return SLUICE_ENOENT;
	*out = (struct sluice_process){.size = sizeof *out,
	                               .kind = p->kind,
	                               .name = slice_of(p->name),
	                               .frontend = slice_of(p->frontend),
	                               .state = slice_of(p->state),
	                               .pid = p->pid,
	                               .generation = p->generation,
	                               .uptime_ms = p->pid ? 5000 : 0,
	                               .resident_bytes = p->pid ? 4096 : 0,
	                               .cpu_ms = p->pid ? 1500 : 0};
	return 0;
}

static int server_metric(fake *f, size_t i, size_t *at, struct sluice_metric *out)
{
	const struct fake_metric *m;

	assert(out->size == sizeof *out && i < f->n_process);
	if (*at >= f->process[i].n_metric)
		return SLUICE_ENOENT;
	m = &f->process[i].metric[(*at)++];
	*out = (struct sluice_metric){.size = sizeof *out,
	                              .kind = m->kind,
	                              .name = slice_of(m->name),
	                              .mount = slice_of(m->mount),
	                              .help = slice_of(m->help),
	                              .value = m->value,
	                              .bucket = m->bucket,
	                              .n_bucket = m->n_bucket,
	                              .scale = m->scale};
	return 0;
}

static int server_listener(fake *f, size_t i, struct sluice_listener *out)
{
	(void)f;
	assert(out->size == sizeof *out);
	if (i > 0)
		return SLUICE_ENOENT;
	*out = (struct sluice_listener){.size = sizeof *out, .frontend = slice_of("web"), .url = slice_of("http://127.0.0.1:1")};
	return 0;
}

static int server_ping(fake *f, sluice_ping_fn *fn, void *arg, struct sluice_req **out)
{
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	if (f->ping_status == SLUICE_EBUSY)
		return SLUICE_EBUSY;
	req_new(f, REQ_PING, arg, out)->fn.ping = fn;
	return 0;
}

static int ephemeral_list(fake *f, slice prefix, slice after, uint32_t limit, sluice_channel_list_fn *fn, void *arg, struct sluice_chan_req **out)
{
	(void)prefix;
	(void)after;
	(void)limit;
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	if (f->channels < 0)
		return SLUICE_ENOTSUP;
	req_new(f, REQ_CHANNELS, arg, (struct sluice_req **)(void *)out)->fn.channels = fn;
	return 0;
}

static void ephemeral_cancel(struct sluice_chan_req *r)
{
	req_free((struct sluice_req *)(void *)r);
}

/* ---- channels: what is written goes to those who have subscribed ---- */

static uint64_t serial;

static int ephemeral_apply(fake *f, const struct sluice_channel *c, uint64_t tag, slice update, sluice_channel_done_fn *fn, void *arg,
                           struct sluice_chan_req **out)
{
	struct sluice_req *r;

	(void)tag;
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	if (f->channels < 0)
		return SLUICE_ENOTSUP;
	if (update.len == 0 || *(const char *)update.data == 'x')
		return SLUICE_EINVAL;
	r = req_new(f, REQ_APPLY, arg, (struct sluice_req **)(void *)out);
	r->fn.applied = fn;
	r->name = dup_slice(c->name);
	fake_bytes_add(&r->data, update.data, update.len);
	return 0;
}

static int ephemeral_subscribe(fake *f, const struct sluice_channel *c, sluice_channel_state_fn *state, sluice_channel_event_fn *event,
                               void *arg, struct sluice_chan_sub **out)
{
	struct sluice_chan_sub *sub;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	if (f->channels < 0)
		return SLUICE_ENOTSUP;
	sub = fake_calloc(1, sizeof *sub);
	*sub = (struct sluice_chan_sub){.f = f, .name = dup_slice(c->name), .state = state, .event = event, .arg = arg};
	TAILQ_INSERT_TAIL(&f->chan_subs, sub, link);
	f->n_subs++;
	*out = sub;
	return 0;
}

static void ephemeral_unsubscribe(struct sluice_chan_sub *sub)
{
	if (!sub)
		return;
	TAILQ_REMOVE(&sub->f->chan_subs, sub, link);
	sub->f->n_subs--;
	free(sub->name);
	free(sub);
}

static void channels_tell(fake *f, const char *name, const struct sluice_channel_event *event)
{
	struct sluice_chan_sub *sub, *next;

	for (sub = TAILQ_FIRST(&f->chan_subs); sub; sub = next) {
		next = TAILQ_NEXT(sub, link);
		if (!sub->told || sub->over || (name && strcmp(sub->name, name) != 0))
			continue;
		sub->over = event->kind == SLUICE_CHANNEL_TERMINATE;
		sub->event(sub->arg, event);
	}
}

bool channels_run(fake *f)
{
	const struct sluice_channel_state state = {.size = sizeof state};
	struct sluice_chan_sub *sub;

	for (sub = TAILQ_FIRST(&f->chan_subs); sub; sub = TAILQ_NEXT(sub, link)) {
		if (sub->told)
			continue;
		sub->told = true;
		sub->state(sub->arg, &state);
		return true;
	}
	return false;
}

void fake_channels_end(fake *f, bool lost)
{
	const struct sluice_channel_event event = {
		.size = sizeof event, .kind = SLUICE_CHANNEL_TERMINATE, .flags = lost ? SLUICE_CHANNEL_LOST : 0};

	channels_tell(f, NULL, &event);
}

void server_run(struct sluice_req *r)
{
	struct sluice_channel_entry entry = {.name = slice_of("presence:<b>"), .entries = 1, .subscribers = 2, .bytes = 3};
	enum fake_req_kind kind = r->kind;
	sluice_ping_fn *ping = kind == REQ_PING ? r->fn.ping : NULL;
	sluice_channel_list_fn *channels = kind == REQ_CHANNELS ? r->fn.channels : NULL;
	sluice_channel_done_fn *applied = kind == REQ_APPLY ? r->fn.applied : NULL;
	struct sluice_channel_event event = {.size = sizeof event, .kind = SLUICE_CHANNEL_DATA, .serial = ++serial};
	void *arg = r->arg;
	fake *f = r->f;

	event.data = (slice){.data = r->data.data, .len = r->data.len};
	if (applied)
		channels_tell(f, r->name, &event);
	req_free(r);
	if (applied)
		applied(arg, SLUICE_OK);
	if (ping)
		ping(arg, f->ping_status);
	if (channels)
		channels(arg, SLUICE_OK, &entry, f->channels > 0, 0);
}

const struct sluice_server fake_server_table = {
	.size = sizeof fake_server_table,
	.about = server_about,
	.process = server_process,
	.metric = server_metric,
	.listener = server_listener,
	.ping = server_ping,
};
const struct sluice_ephemeral fake_ephemeral_table = {
	.size = sizeof fake_ephemeral_table,
	.apply = ephemeral_apply,
	.subscribe = ephemeral_subscribe,
	.unsubscribe = ephemeral_unsubscribe,
	.list = ephemeral_list,
	.cancel = ephemeral_cancel,
};
