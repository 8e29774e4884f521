/*
 * fake_server.c - the fake's server as a whole: processes and metrics that the test has put there, the writer's sign of life, presence
 * channels. Tests only.
 */
#include "tests/unit/plugins/fake_store.h"

#include <assert.h>
#include <stdlib.h>

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

void server_run(struct sluice_req *r)
{
	struct sluice_channel_entry entry = {.name = slice_of("presence:<b>"), .entries = 1, .subscribers = 2, .bytes = 3};
	enum fake_req_kind kind = r->kind;
	sluice_ping_fn *ping = kind == REQ_PING ? r->fn.ping : NULL;
	sluice_channel_list_fn *channels = kind == REQ_CHANNELS ? r->fn.channels : NULL;
	void *arg = r->arg;
	fake *f = r->f;

	req_free(r);
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
	.list = ephemeral_list,
	.cancel = ephemeral_cancel,
};
