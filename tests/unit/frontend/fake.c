/*
 * fake.c - a worker without supervisor, a store reader over streams in memory, a writer at the other end of a
 * socketpair.
 */
#include "tests/unit/frontend/fake.h"

#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/build.h"
#include "lib/marks.h"
#include "lib/options.h"
#include "lib/schema.h"

static struct sl_ipc writer = {.fd = -1};

/* -- the reader -- */

struct fake_stream fake_streams[8];
size_t fake_step_max = SL_READ_STEP;
int fake_begins, fake_ends, fake_facts, fake_steps, fake_open, fake_begin_status;

static struct {
	uint32_t ends[65536];
	struct sluice_record records[4096];
} out;

struct fake_stream *fake_stream(const char *name, uint64_t incarnation)
{
	struct fake_stream *s = fake_streams;

	while (s->name[0] && strcmp(s->name, name) != 0)
		s++;
	sl_buf_fini(&s->data);
	memset(s, 0, sizeof *s);
	snprintf(s->name, sizeof s->name, "%s", name);
	s->facts.incarnation = incarnation;
	s->facts.content_type = SL_STR("text/plain");
	return s;
}

uint64_t fake_append(struct fake_stream *s, const char *data, const uint32_t *len, uint32_t messages)
{
	size_t n = strlen(data), i = s->n_record++;

	sl_buf_add(&s->data, data, n);
	s->record[i].bytes = (uint32_t)n;
	s->record[i].messages = messages;
	for (uint32_t m = 0; m < messages; m++)
		s->record[i].len[m] = len ? len[m] : (uint32_t)n;
	s->facts.tail += n + SLUICE_RECORD_OVERHEAD;
	return s->facts.tail;
}

int sl_reader_open(const char *dir, uint32_t schema, uint64_t mmap_bytes, struct sl_reader **r, const char **why)
{
	(void)dir;
	(void)mmap_bytes;
	*why = "this worker is of an older build";
	if (schema > SL_SCHEMA)
		return SLUICE_ENOTSUP;
	fake_open++;
	*r = (struct sl_reader *)(void *)fake_streams;
	return 0;
}

void sl_reader_close(struct sl_reader *r)
{
	fake_open -= r != NULL;
}

int sl_reader_begin(struct sl_reader *r)
{
	(void)r;
	fake_begins += fake_begin_status == 0;
	return fake_begin_status;
}

void sl_reader_tidy(struct sl_reader *r)
{
	(void)r;
}

void sl_reader_end(struct sl_reader *r)
{
	(void)r;
	fake_ends++;
}

int sl_reader_facts(struct sl_reader *r, sl_slice name, uint64_t now_ms, struct sl_facts *facts)
{
	(void)r;
	(void)now_ms;
	fake_facts++;
	*facts = (struct sl_facts){.status = SLUICE_ENOENT};
	for (struct fake_stream *s = fake_streams; s->name[0]; s++)
		if (sl_slice_is(name, s->name))
			*facts = s->facts;
	return 0;
}

static struct fake_stream *by_incarnation(uint64_t incarnation)
{
	struct fake_stream *s = fake_streams;

	while (s->name[0] && s->facts.incarnation != incarnation)
		s++;
	return s->name[0] ? s : NULL;
}

int sl_reader_facts_id(struct sl_reader *r, uint64_t incarnation, struct sl_facts *facts)
{
	struct fake_stream *s = by_incarnation(incarnation);

	(void)r;
	*facts = (struct sl_facts){.status = SLUICE_ENOENT};
	if (s)
		*facts = s->facts;
	return 0;
}

int sl_reader_place(struct sl_reader *r, const struct sl_facts *facts, uint64_t pos, struct sl_place *place)
{
	struct fake_stream *s = by_incarnation(facts->incarnation);
	uint64_t at = 0;

	(void)r;
	*place = (struct sl_place){.offset = facts->tail};
	for (size_t i = 0; i < s->n_record; i++) {
		if (pos < s->record[i].bytes) {
			*place = (struct sl_place){.offset = at, .skip = pos, .inside = pos > 0};
			return 0;
		}
		pos -= s->record[i].bytes;
		at += s->record[i].bytes + SLUICE_RECORD_OVERHEAD;
	}
	return pos ? SLUICE_ETOOBIG : 0;
}

/* Whole records only, at least one: enough for what the host does with a step. */
int sl_reader_step(struct sl_reader *r, uint64_t incarnation, uint64_t from, uint64_t skip, uint64_t until,
                   struct sl_step *step)
{
	struct fake_stream *s = by_incarnation(incarnation);
	uint64_t at = 0, data = 0;
	uint32_t given = 0;

	(void)r;
	(void)skip;
	fake_steps++;
	if (!s)
		return SLUICE_EGONE;
	*step = (struct sl_step){.message_end = out.ends, .record = out.records, .next = from};
	for (size_t i = 0; i < s->n_record; i++) {
		uint64_t end = at + s->record[i].bytes + SLUICE_RECORD_OVERHEAD;

		if (at >= from && end <= until && (given == 0 || given + s->record[i].bytes <= fake_step_max)) {
			uint32_t message = given;

			if (step->n_record == 0)
				step->data.data = s->data.data + s->data.off + data;
			for (uint32_t m = 0; m < s->record[i].messages; m++)
				out.ends[step->n_message_end++] = message += s->record[i].len[m];
			given += s->record[i].bytes;
			out.records[step->n_record++] = (struct sluice_record){.end = end, .data_end = given};
			step->next = end;
		} else if (at >= from) {
			break;
		}
		data += s->record[i].bytes;
		at = end;
	}
	step->data.len = given;
	return 0;
}

int sl_reader_plan(struct sl_reader *r, const struct sl_facts *facts, uint64_t from, uint64_t budget,
                   struct sl_plan *plan, struct sl_step *first)
{
	struct fake_stream *s = by_incarnation(facts->incarnation);
	uint64_t at = 0;
	bool any = false;

	if (from < facts->earliest)
		return SLUICE_EGONE;
	*plan = (struct sl_plan){.from = facts->tail, .end = facts->tail};
	for (size_t i = 0; i < s->n_record; i++) {
		uint64_t end = at + s->record[i].bytes + SLUICE_RECORD_OVERHEAD;

		if (end > from) {
			if (any && plan->payload_bytes + s->record[i].bytes > budget)
				break;
			if (!any)
				plan->from = at;
			any = true;
			plan->end = end;
			plan->payload_bytes += s->record[i].bytes;
			plan->messages += s->record[i].messages;
		}
		at = end;
	}
	return first && plan->from != plan->end
	               ? sl_reader_step(r, facts->incarnation, plan->from, first->skip, plan->end, first)
	               : 0;
}

int sl_reader_rest(struct sl_reader *r, const struct sl_facts *facts, uint64_t budget, struct sl_plan *plan,
                   struct sl_place *at)
{
	int rc = sl_reader_place(r, facts, facts->earliest_pos, at);

	return rc ? rc : sl_reader_plan(r, facts, at->offset, budget, plan, NULL);
}

int sl_reader_snapshot(struct sl_reader *r, uint64_t id, struct sl_snapshot *s)
{
	(void)r;
	if (id != FAKE_SNAPSHOT)
		return SLUICE_EGONE;
	*s = (struct sl_snapshot){.at = 8,
	                          .pos = 3,
	                          .bytes = sizeof FAKE_SNAPSHOT_BYTES - 1,
	                          .digest = SL_STR("digest"),
	                          .content_type = SL_STR("application/x-state")};
	return 0;
}

int sl_reader_snapshot_step(struct sl_reader *r, uint64_t id, uint64_t from, uint64_t until, sl_slice *data)
{
	(void)r;
	*data = SL_STR("");
	if (id != FAKE_SNAPSHOT)
		return SLUICE_EGONE;
	*data = SL_SLICE(&FAKE_SNAPSHOT_BYTES[from], until - from < fake_step_max ? until - from : fake_step_max);
	return 0;
}

int sl_reader_list(struct sl_reader *r, sl_slice prefix, sl_slice after, uint32_t limit, uint64_t now_ms,
                   int (*fn)(void *, const struct sluice_list_item *), void *arg, bool *more)
{
	uint32_t n = 0;

	(void)r;
	(void)now_ms;
	*more = false;
	for (struct fake_stream *s = fake_streams; s->name[0]; s++) {
		struct sluice_list_entry e = {
			.stream = sl_slice_str(s->name), .content_type = s->facts.content_type, .tail = s->facts.tail};

		if (!sl_slice_prefix(e.stream, prefix) || (after.len && sl_slice_cmp(e.stream, after) <= 0))
			continue;
		if (n++ == limit) {
			*more = true;
			break;
		}
		if (fn(arg, &(struct sluice_list_item){.size = sizeof(struct sluice_list_item), .entry = e}))
			break;
	}
	return 0;
}

/* -- the worker -- */

struct worker *fake_worker(void)
{
	static const char yaml[] =
		"data_dir: /nowhere\nfrontends: [ { name: f, listen: [127.0.0.1:0], plugins: [ { plugin: x } ] } ]\n";
	struct worker *w = worker_new(-1);

	if (!w)
		abort();
	w->conf = sl_options_load(sl_slice_str(yaml), &w->errors);
	w->data_dir = strdup("/nowhere");
	w->budget.max = 1 << 24;
	w->state = WORKER_RUNNING;
	w->auth = w->conf ? auth_new(w->conf, &w->errors) : NULL;
	if (!w->auth || w->errors.n || store_init(w))
		abort();
	return w;
}

struct sluice_ctx *fake_instance(struct worker *w, const char *name, const char *prefix)
{
	struct sluice_ctx *ctx = calloc(1, sizeof *ctx);
	struct sluice_plugin *plugin = calloc(1, sizeof *plugin);

	if (!ctx || !plugin)
		abort();
	plugin->name = name;
	plugin->abi_minor = SLUICE_ABI_MINOR;
	ctx->magic = CTX_MAGIC;
	ctx->worker = w;
	ctx->plugin = plugin;
	ctx->name = strdup(name);
	ctx->prefix = strdup(prefix);
	sl_link_init(&ctx->reqs);
	sl_link_init(&ctx->subs);
	sl_link_init(&ctx->watches);
	sl_link_init(&ctx->timers);
	sl_link_init(&ctx->defers);
	sl_link_init(&ctx->rooms);
	sl_link_init(&ctx->chan_reqs);
	sl_link_init(&ctx->chan_subs);
	ctx->next = w->instances;
	w->instances = ctx;
	return ctx;
}

void fake_worker_free(struct worker *w)
{
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
		loop_reclaim(ctx);
	for (struct sluice_ctx *ctx = w->instances; ctx; ctx = ctx->next)
		if (w->member.reqs.next)
			member_reclaim(ctx);
	worker_free(w);
	sl_ipc_fini(&writer);
	for (struct fake_stream *s = fake_streams; s->name[0]; s++) {
		sl_buf_fini(&s->data);
		s->name[0] = '\0';
	}
}

void fake_turn(struct worker *w)
{
	event_base_loop(w->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
	worker_turn(w);
	fake_writer_listen();
}

/* -- the writer -- */

struct fake_heard fake_heard[FAKE_HEARD];
size_t fake_n_heard;

static struct fake_heard *hear(uint16_t id, uint64_t number, sl_slice name)
{
	struct fake_heard *h = &fake_heard[fake_n_heard];

	if (fake_n_heard + 1 < FAKE_HEARD)
		fake_n_heard++;
	memset(h, 0, sizeof *h);
	h->id = id;
	h->number = number;
	snprintf(h->name, sizeof h->name, "%.*s", (int)name.len, name.data ? (const char *)name.data : "");
	return h;
}

static int on_hello(void *arg, const struct sl_store_hello *m)
{
	(void)arg;
	hear(SL_STORE_hello, m->protocol, m->name);
	return 0;
}

static int on_submit(void *arg, const struct sl_store_submit *m)
{
	struct fake_heard *h = hear(SL_STORE_submit, m->req, SL_SLICE(NULL, 0));
	struct sl_cur c = m->ops.cur;

	(void)arg;
	h->n_ops = m->ops.n;
	for (uint32_t i = 0; i < m->ops.n; i++) {
		struct sl_store_op op;
		int fd = -1;

		sl_next_store_op(&c, &op);
		if (op.n_fd)
			fd = sl_ipc_take_fd(&writer);
		if (i > 1) {
			if (fd >= 0)
				close(fd);
			continue;
		}
		h->op[i].kind = op.kind;
		h->op[i].flags = op.flags;
		h->op[i].fd = fd;
		h->op[i].data_len = op.data_len;
		h->op[i].marks_len = op.marks_len;
		h->op[i].n_data = op.data.len;
		h->op[i].n_marks = op.marks.len;
		snprintf(h->op[i].stream, 64, "%.*s", (int)op.stream.len, (const char *)op.stream.data);
		snprintf(h->op[i].fork_of, 64, "%.*s", (int)op.fork_of.len,
		         op.fork_of.data ? (const char *)op.fork_of.data : "");
		snprintf(h->op[i].data, 32, "%.*s", (int)(op.data.len > 31 ? 31 : op.data.len),
		         op.data.data ? (const char *)op.data.data : "");
	}
	return 0;
}

static int on_touch(void *arg, const struct sl_store_touch *m)
{
	struct fake_heard *h = hear(SL_STORE_touch, m->req, SL_SLICE(NULL, 0));

	(void)arg;
	h->incarnation = m->incarnation;
	h->live = m->renew;
	return 0;
}

static int on_watch(void *arg, const struct sl_store_watch *m)
{
	(void)arg;
	hear(SL_STORE_watch, m->watch, m->stream)->live = m->live;
	return 0;
}

static int on_watch_live(void *arg, const struct sl_store_watch_live *m)
{
	(void)arg;
	hear(SL_STORE_watch_live, m->watch, SL_SLICE(NULL, 0))->live = m->live;
	return 0;
}

static int on_unwatch(void *arg, const struct sl_store_unwatch *m)
{
	(void)arg;
	hear(SL_STORE_unwatch, m->watch, SL_SLICE(NULL, 0));
	return 0;
}

static int on_watch_prefix(void *arg, const struct sl_store_watch_prefix *m)
{
	(void)arg;
	hear(SL_STORE_watch_prefix, m->watch, m->prefix);
	return 0;
}

static int on_retention(void *arg, const struct sl_store_retention *m)
{
	struct sl_cur c = m->rules.cur;
	struct sl_store_rule rule = {0};

	(void)arg;
	if (m->rules.n)
		sl_next_store_rule(&c, &rule);
	hear(SL_STORE_retention, m->rules.n, rule.prefix);
	return 0;
}

static const struct sl_store_handlers handlers = {
	.hello = on_hello,
	.submit = on_submit,
	.touch = on_touch,
	.watch = on_watch,
	.watch_live = on_watch_live,
	.unwatch = on_unwatch,
	.watch_prefix = on_watch_prefix,
	.retention = on_retention,
};

void fake_writer_listen(void)
{
	uint16_t id;
	sl_slice body;

	if (writer.fd < 0)
		return;
	sl_ipc_fill(&writer);
	while (sl_ipc_next(&writer, &id, &body) > 0)
		if (sl_store_dispatch(&handlers, SL_TO_WRITER, NULL, &writer, id, body))
			abort();
}

void fake_writer_again(struct worker *w)
{
	int sv[2];

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, sv))
		abort();
	sl_ipc_init(&writer, sv[0]);
	(void)store_link(w, sv[1]);
}

void fake_writer_start(struct worker *w)
{
	fake_writer_again(w);
	fake_turn(w);
}

void fake_writer_welcome(struct worker *w, char volume)
{
	char generation[16];
	struct sl_store_welcome m = {.protocol = SL_STORE_PROTOCOL,
	                             .build = SL_STR(SL_BUILD),
	                             .schema = volume == '!' ? SL_SCHEMA + 1 : SL_SCHEMA,
	                             .generation = SL_SLICE(generation, sizeof generation),
	                             .data_dir = SL_STR("/nowhere")};

	memset(generation, volume, sizeof generation);
	sl_put_store_welcome(&writer, &m);
	fake_send();
	fake_turn(w);
}

void fake_writer_hang_up(void)
{
	for (size_t i = 0; i < fake_n_heard; i++)
		for (size_t k = 0; fake_heard[i].id == SL_STORE_submit && k < 2 && k < fake_heard[i].n_ops; k++)
			if (fake_heard[i].op[k].fd >= 0) {
				close(fake_heard[i].op[k].fd);
				fake_heard[i].op[k].fd = -1;
			}
	sl_ipc_fini(&writer);
}

void fake_writer_stop(struct worker *w)
{
	fake_writer_hang_up();
	fake_turn(w);
	fake_turn(w);
}

struct fake_heard *fake_last(uint16_t id)
{
	for (size_t i = fake_n_heard; i-- > 0;)
		if (fake_heard[i].id == id)
			return &fake_heard[i];
	return NULL;
}

size_t fake_count(uint16_t id)
{
	size_t n = 0;

	for (size_t i = 0; i < fake_n_heard; i++)
		n += fake_heard[i].id == id;
	return n;
}

void fake_forget(void)
{
	fake_n_heard = 0;
}

void fake_send(void)
{
	sl_ipc_flush(&writer);
}

void fake_result(uint64_t req, int32_t status, uint64_t tail)
{
	struct sl_store_outcome one = {.status = status, .tail = tail, .message = SL_STR("m")};

	sl_put_store_result(&writer, &(struct sl_store_result){.req = req, .outcomes = {.n = 1, .v = &one}});
}

void fake_results(uint64_t req, uint32_t n)
{
	static const struct sl_store_outcome many[64];

	sl_put_store_result(&writer, &(struct sl_store_result){.req = req, .outcomes = {.n = n, .v = many}});
}

void fake_touched(uint64_t req, int32_t status)
{
	sl_put_store_touched(&writer, &(struct sl_store_touched){.req = req, .status = status});
}

void fake_watched(uint64_t watch, uint32_t events, uint64_t incarnation, uint64_t tail)
{
	sl_put_store_watched(
		&writer,
		&(struct sl_store_watched){.watch = watch, .events = events, .incarnation = incarnation, .tail = tail});
}

void fake_notice(uint64_t watch, uint32_t events, uint64_t tail, uint64_t from, sl_slice fill, sl_slice marks)
{
	sl_put_store_notice(&writer, &(struct sl_store_notice){.watch = watch,
	                                                       .events = events,
	                                                       .tail = tail,
	                                                       .fill_from = from,
	                                                       .fill = fill,
	                                                       .fill_marks = marks});
}

void fake_life(uint64_t watch, uint32_t events, const char *stream)
{
	sl_put_store_life(&writer, &(struct sl_store_life){.watch = watch,
	                                                   .events = events,
	                                                   .stream = sl_slice_str(stream),
	                                                   .content_type = SL_STR("text/plain"),
	                                                   .time_ms = 5});
}
