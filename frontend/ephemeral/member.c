/*
 * member.c - a worker's connection to the registry of ephemeral channels, and the requests on it. Process:
 * sluice-frontend.
 *
 * Every worker has one, the presence worker to itself. Nothing waits for a registry that is away: what is asked then is
 * refused at once, and what was under way when it ended is reported as lost. Answers come in the order of the requests.
 */
#include <assert.h>
#include <stdlib.h>
#include <unistd.h>

#include "frontend/worker.h"
#include "lib/build.h"
#include "lib/hash.h"
#include "lib/log.h"

enum { MEMBER_BYTES_MAX = 8 << 20, MEMBER_REQS_MAX = 1 << 16, KEPT_MAX = 1 << 16 };

/* -- requests -- */

struct sluice_chan_req *member_req(struct worker *w, struct sluice_ctx *ctx, enum chan_kind kind, size_t bytes,
                                   void *arg, int *rc)
{
	struct member *m = &w->member;
	struct sluice_chan_req *r;

	*rc = !m->wanted ? SLUICE_ENOTSUP : !m->linked ? SLUICE_EBUSY : 0;
	if (*rc == 0 && (m->bytes + bytes > MEMBER_BYTES_MAX || (ctx && ctx->n_handles >= HANDLES_MAX)))
		*rc = SLUICE_EAGAIN;
	if (*rc)
		return NULL;
	r = calloc(1, sizeof *r);
	if (!r) {
		*rc = SLUICE_ENOMEM;
		return NULL;
	}
	r->magic = CHAN_REQ_MAGIC;
	r->kind = kind;
	r->ctx = ctx;
	r->number = ++m->seq;
	r->bytes = bytes + 128; /* the queue holds headers, too */
	r->arg = arg;
	sl_link_init(&r->in_ctx);
	sl_link_add(&m->reqs, &r->order);
	if (ctx) {
		sl_link_add(&ctx->chan_reqs, &r->in_ctx);
		ctx->n_handles++;
	}
	m->bytes += r->bytes;
	return r;
}

void member_req_free(struct worker *w, struct sluice_chan_req *r)
{
	assert(r->magic == CHAN_REQ_MAGIC);
	w->member.bytes -= r->bytes;
	sl_link_del(&r->order);
	sl_link_del(&r->in_ctx);
	if (r->ctx)
		r->ctx->n_handles--;
	r->magic = 0;
	free(r);
}

int member_sent(struct worker *w, struct sluice_chan_req *r, int rc)
{
	if (rc)
		member_req_free(w, r);
	return rc;
}

/* What the registry knows of: the stream's number in this worker's volume, without the mark for plugins. */
int member_channel(struct worker *w, const struct sluice_channel *c, struct eph_channel_id *id)
{
	if (c->name.len == 0 || c->name.len > EPH_NAME_MAX || memchr(c->name.data, 0, c->name.len))
		return SLUICE_EINVAL;
	id->name = c->name;
	id->incarnation = 0;
	return c->incarnation && !store_id_in(&w->store, c->incarnation, &id->incarnation) ? SLUICE_ENOENT : 0;
}

static void member_cancel(struct sluice_chan_req *r)
{
	host_thread_check();
	if (!r)
		return;
	assert(r->magic == CHAN_REQ_MAGIC && !r->cancelled);
	r->cancelled = true;
	sl_link_del(&r->in_ctx);
}

static void req_tell(struct sluice_chan_req *r, int status)
{
	static const struct sluice_channel_state nothing = {.size = sizeof nothing};
	struct sluice_channel_state state = nothing;

	if (r->cancelled)
		return;
	sl_link_del(&r->in_ctx);
	state.status = status;
	switch (r->kind) {
	case CHAN_WRITE:
		if (r->fn.done)
			r->fn.done(r->arg, status);
		break;
	case CHAN_LOOK:
		r->fn.state(r->arg, &state);
		break;
	case CHAN_LIST:
		r->fn.list(r->arg, status, NULL, 0, 0);
		break;
	case CHAN_SUBSCRIBE: /* its view tells the subscribers */
		break;
	}
}

/* -- the table -- */

static int member_write(struct sluice_ctx *ctx, size_t bytes, sluice_channel_done_fn *done, void *arg,
                        struct sluice_chan_req **out)
{
	struct sluice_chan_req *r;
	int rc;

	host_ctx_check(ctx);
	r = member_req(ctx->worker, ctx, CHAN_WRITE, bytes, arg, &rc);
	if (r)
		r->fn.done = done;
	*out = r;
	return rc;
}

static int table_apply(struct sluice_ctx *ctx, const struct sluice_channel *c, uint64_t tag, sl_slice update,
                       sluice_channel_done_fn *done, void *arg, struct sluice_chan_req **out)
{
	struct sl_ipc *ipc = &ctx->worker->member.ipc;
	struct sl_presence_apply m = {.tag = tag, .data = update};
	struct eph_channel_id id;
	struct sluice_chan_req *r;
	int rc = member_channel(ctx->worker, c, &id);

	if (rc == 0 && (update.len > EPH_UPDATE_MAX || eph_check(update)))
		rc = update.len > EPH_UPDATE_MAX ? SLUICE_ETOOBIG : SLUICE_EINVAL;
	if (rc == 0)
		rc = member_write(ctx, update.len, done, arg, &r);
	if (rc)
		return rc;
	if (out)
		*out = r;
	m.req = r->number;
	m.channel = id.name;
	m.incarnation = id.incarnation;
	rc = eph_put_pieces(ipc, true, &m.data);
	return member_sent(ctx->worker, r, rc ? rc : sl_put_presence_apply(ipc, &m));
}

static int table_put(struct sluice_ctx *ctx, const struct sluice_channel *c, uint64_t tag, uint64_t owner, sl_slice key,
                     sl_slice value, sluice_channel_done_fn *done, void *arg, struct sluice_chan_req **out)
{
	struct sl_presence_put m = {.tag = tag, .owner = owner, .key = key, .value = value};
	struct eph_channel_id id;
	struct sluice_chan_req *r;
	int rc = member_channel(ctx->worker, c, &id);

	if (rc == 0 && (key.len > EPH_NAME_MAX || value.len > EPH_KEPT_MAX))
		rc = SLUICE_ETOOBIG;
	if (rc == 0)
		rc = member_write(ctx, key.len + value.len, done, arg, &r);
	if (rc)
		return rc;
	if (out)
		*out = r;
	m.req = r->number;
	m.channel = id.name;
	m.incarnation = id.incarnation;
	return member_sent(ctx->worker, r, sl_put_presence_put(&ctx->worker->member.ipc, &m));
}

static int table_cast(struct sluice_ctx *ctx, const struct sluice_channel *c, uint64_t tag, sl_slice data,
                      sluice_channel_done_fn *done, void *arg, struct sluice_chan_req **out)
{
	struct sl_ipc *ipc = &ctx->worker->member.ipc;
	struct sl_presence_cast m = {.tag = tag, .data = data};
	struct eph_channel_id id;
	struct sluice_chan_req *r;
	int rc = member_channel(ctx->worker, c, &id);

	if (rc == 0 && data.len > EPH_UPDATE_MAX)
		rc = SLUICE_ETOOBIG;
	if (rc == 0)
		rc = member_write(ctx, data.len, done, arg, &r);
	if (rc)
		return rc;
	if (out)
		*out = r;
	m.req = r->number;
	m.channel = id.name;
	m.incarnation = id.incarnation;
	rc = eph_put_pieces(ipc, true, &m.data);
	return member_sent(ctx->worker, r, rc ? rc : sl_put_presence_cast(ipc, &m));
}

static uint64_t table_owner(struct sluice_ctx *ctx)
{
	host_ctx_check(ctx);
	return ++ctx->worker->member.owner;
}

static void table_disown(struct sluice_ctx *ctx, uint64_t owner)
{
	struct member *m = &ctx->worker->member;

	host_ctx_check(ctx);
	/* A value that outlives its owner for want of memory would be a ghost: then the connection ends, and all values go. */
	if (m->linked && sl_put_presence_disown(&m->ipc, &(struct sl_presence_disown){.owner = owner}))
		worker_fail(ctx->worker, "out of memory");
}

static int table_bootstrap(struct sluice_ctx *ctx, const struct sluice_channel *c, uint32_t flags,
                           sluice_channel_state_fn *fn, void *arg, struct sluice_chan_req **out)
{
	struct sl_presence_look m = {0};
	struct eph_channel_id id;
	struct sluice_chan_req *r;
	int rc;

	host_ctx_check(ctx);
	rc = member_channel(ctx->worker, c, &id);
	r = rc ? NULL : member_req(ctx->worker, ctx, CHAN_LOOK, id.name.len, arg, &rc);
	if (rc)
		return rc;
	r->fn.state = fn;
	r->flags = flags;
	if (out)
		*out = r;
	m.req = r->number;
	m.channel = id.name;
	m.incarnation = id.incarnation;
	return member_sent(ctx->worker, r, sl_put_presence_look(&ctx->worker->member.ipc, &m));
}

static int table_clear(struct sluice_ctx *ctx, sl_slice prefix, int terminate, sluice_channel_done_fn *done, void *arg,
                       struct sluice_chan_req **out)
{
	struct sl_presence_clear m = {.prefix = prefix, .terminate = terminate != 0};
	struct sluice_chan_req *r;
	int rc = prefix.len > EPH_NAME_MAX ? SLUICE_EINVAL : member_write(ctx, prefix.len, done, arg, &r);

	if (rc)
		return rc;
	if (out)
		*out = r;
	m.req = r->number;
	return member_sent(ctx->worker, r, sl_put_presence_clear(&ctx->worker->member.ipc, &m));
}

static int table_list(struct sluice_ctx *ctx, sl_slice prefix, sl_slice after, uint32_t limit,
                      sluice_channel_list_fn *fn, void *arg, struct sluice_chan_req **out)
{
	struct sl_presence_list m = {.prefix = prefix, .after = after, .limit = limit};
	struct sluice_chan_req *r;
	int rc = prefix.len > EPH_NAME_MAX || after.len > EPH_NAME_MAX ? SLUICE_EINVAL : 0;

	host_ctx_check(ctx);
	r = rc ? NULL : member_req(ctx->worker, ctx, CHAN_LIST, prefix.len + after.len, arg, &rc);
	if (rc)
		return rc;
	r->fn.list = fn;
	if (out)
		*out = r;
	m.req = r->number;
	return member_sent(ctx->worker, r, sl_put_presence_list(&ctx->worker->member.ipc, &m));
}

const struct sluice_ephemeral ephemeral_table = {
	.size = sizeof ephemeral_table,
	.apply = table_apply,
	.put = table_put,
	.cast = table_cast,
	.owner = table_owner,
	.disown = table_disown,
	.bootstrap = table_bootstrap,
	.subscribe = view_subscribe,
	.unsubscribe = view_unsubscribe,
	.cancel = member_cancel,
	.clear = table_clear,
	.list = table_list,
};

/* -- what the registry says -- */

/* The oldest request, if it bears this number: answers come in order. */
static struct sluice_chan_req *req_of(struct worker *w, uint64_t number)
{
	struct sl_link *l = w->member.reqs.next;
	struct sluice_chan_req *r = SL_OF(l, struct sluice_chan_req, order);

	return l != &w->member.reqs && r->number == number ? r : NULL;
}

static int on_welcome(void *arg, const struct sl_presence_welcome *m)
{
	(void)arg;
	if (m->protocol != SL_PRESENCE_PROTOCOL || !sl_slice_is(m->build, SL_BUILD))
		return SLUICE_EDENIED;
	sl_log(SLUICE_LOG_DEBUG, "presence_up");
	return 0;
}

static int on_piece(void *arg, const struct sl_presence_piece *m)
{
	struct worker *w = arg;

	return sl_buf_add(&w->member.pieces, m->data.data, m->data.len);
}

/* The bytes of a message with those that came before it. Valid until the pieces are drained. */
static int member_joined(struct worker *w, sl_slice last, sl_slice *out)
{
	struct sl_buf *b = &w->member.pieces;

	*out = last;
	if (b->len == 0)
		return 0;
	if (sl_buf_add(b, last.data, last.len))
		return SLUICE_ENOMEM;
	*out = sl_buf_slice(b);
	return 0;
}

static void member_pieces_done(struct worker *w)
{
	sl_buf_drain(&w->member.pieces, SIZE_MAX);
	if (w->member.pieces.cap > (4u << 20))
		sl_buf_fini(&w->member.pieces);
}

static int on_done(void *arg, const struct sl_presence_done *m)
{
	struct worker *w = arg;
	struct sluice_chan_req *r = req_of(w, m->req);

	if (!r || r->kind != CHAN_WRITE)
		return SLUICE_EINVAL;
	req_tell(r, m->status);
	member_req_free(w, r);
	return 0;
}

static int on_kept(void *arg, const struct sl_presence_kept *m)
{
	struct worker *w = arg;
	struct member *me = &w->member;
	struct sluice_channel_kept *k;

	if (!req_of(w, m->req) || me->n_kept == KEPT_MAX)
		return SLUICE_EINVAL;
	if (me->n_kept == me->cap_kept) {
		size_t cap = me->cap_kept ? 2 * me->cap_kept : 16;

		k = realloc(me->kept, cap * sizeof *k);
		if (!k)
			return SLUICE_ENOMEM;
		me->kept = k;
		me->cap_kept = cap;
	}
	k = &me->kept[me->n_kept++];
	/* Places for now: the text may move while it grows. */
	*k = (struct sluice_channel_kept){
		.key = SL_SLICE(NULL, m->key.len), .value = SL_SLICE(NULL, m->value.len), .tag = m->tag};
	return sl_buf_add(&me->kept_text, m->key.data, m->key.len) ||
	                       sl_buf_add(&me->kept_text, m->value.data, m->value.len)
	               ? SLUICE_ENOMEM
	               : 0;
}

static void member_place_kept(struct member *m)
{
	const uint8_t *at = sl_buf_slice(&m->kept_text).data;

	for (size_t i = 0; i < m->n_kept; i++) {
		m->kept[i].key.data = at ? at : (const uint8_t *)"";
		at += m->kept[i].key.len;
		m->kept[i].value.data = at ? at : (const uint8_t *)"";
		at += m->kept[i].value.len;
	}
}

static void look_tell(struct worker *w, struct sluice_chan_req *r, struct sluice_channel_state *state)
{
	struct sl_buf json;

	if (r->cancelled)
		return;
	sl_link_del(&r->in_ctx);
	sl_buf_init(&json);
	if (state->status == 0 && (r->flags & SLUICE_CHANNEL_JSON)) {
		state->status = eph_put_json(&json, state->state);
		state->state = sl_buf_slice(&json);
	}
	(void)w;
	r->fn.state(r->arg, state);
	sl_buf_fini(&json);
}

static int on_looked(void *arg, const struct sl_presence_looked *m)
{
	struct worker *w = arg;
	struct member *me = &w->member;
	struct sluice_chan_req *r = req_of(w, m->req);
	struct sluice_channel_state state = {.size = sizeof state,
	                                     .status = m->status,
	                                     .flags = m->written ? SLUICE_CHANNEL_WRITTEN : 0,
	                                     .n_kept = me->n_kept};

	if (!r || (r->kind != CHAN_LOOK && r->kind != CHAN_SUBSCRIBE))
		return SLUICE_EINVAL;
	if (member_joined(w, m->state, &state.state))
		return SLUICE_ENOMEM;
	member_place_kept(me);
	state.kept = me->kept;
	if (r->kind == CHAN_LOOK)
		look_tell(w, r, &state);
	else
		view_looked(w, r, &state);
	member_req_free(w, r);
	me->n_kept = 0;
	sl_buf_drain(&me->kept_text, SIZE_MAX);
	sl_buf_shrink(&me->kept_text);
	member_pieces_done(w);
	return 0;
}

static int on_event(void *arg, const struct sl_presence_event *m)
{
	struct worker *w = arg;
	sl_slice data;
	int rc = member_joined(w, m->data, &data);

	if (rc)
		return rc;
	view_event(w, m, data);
	member_pieces_done(w);
	return 0;
}

static int on_listed(void *arg, const struct sl_presence_listed *m)
{
	struct worker *w = arg;
	struct sluice_chan_req *r = req_of(w, m->req);
	struct sluice_channel_entry *v;
	struct sl_cur c = m->entries.cur;

	if (!r || r->kind != CHAN_LIST || m->entries.n > EPH_LIST_MAX)
		return SLUICE_EINVAL;
	v = calloc(m->entries.n + 1, sizeof *v);
	for (uint32_t i = 0; v && i < m->entries.n; i++) {
		struct sl_presence_entry e;

		sl_next_presence_entry(&c, &e);
		v[i] = (struct sluice_channel_entry){.name = e.channel,
		                                     .incarnation = store_id_out(&w->store, e.incarnation),
		                                     .entries = e.entries,
		                                     .subscribers = e.subscribers,
		                                     .bytes = e.bytes};
	}
	if (!r->cancelled) {
		sl_link_del(&r->in_ctx);
		r->fn.list(r->arg, v ? SLUICE_OK : SLUICE_ENOMEM, v, v ? m->entries.n : 0, m->more);
	}
	free(v);
	member_req_free(w, r);
	return 0;
}

static const struct sl_presence_handlers member_handlers = {
	.welcome = on_welcome,
	.piece = on_piece,
	.done = on_done,
	.kept = on_kept,
	.looked = on_looked,
	.event = on_event,
	.listed = on_listed,
};

/* -- the connection -- */

static void member_close(struct worker *w)
{
	struct member *m = &w->member;

	if (m->ev_read)
		event_free(m->ev_read);
	if (m->ev_write)
		event_free(m->ev_write);
	m->ev_read = m->ev_write = NULL;
	sl_ipc_fini(&m->ipc);
	sl_ipc_init(&m->ipc, -1);
	m->linked = false;
	sl_buf_fini(&m->pieces);
	m->n_kept = 0;
	sl_buf_drain(&m->kept_text, SIZE_MAX);
}

/* What was under way has an unknown outcome; whoever listens is told to begin anew. */
static void member_lost(struct worker *w, enum sluice_level level, const char *why)
{
	struct member *m = &w->member;

	if (w->state == WORKER_RUNNING)
		sl_log(level, "presence_down why=\"%s\"", why);
	member_close(w);
	view_lost(w);
	while (!sl_link_alone(&m->reqs)) {
		struct sluice_chan_req *r = SL_OF(m->reqs.next, struct sluice_chan_req, order);

		sl_link_del(&r->order);
		req_tell(r, SLUICE_ELOST);
		member_req_free(w, r);
	}
}

static void member_readable(evutil_socket_t fd, short what, void *arg)
{
	struct worker *w = arg;
	struct member *m = &w->member;
	int lost = sl_ipc_fill(&m->ipc), rc;
	uint16_t id;
	sl_slice body;

	(void)fd;
	(void)what;
	while ((rc = sl_ipc_next(&m->ipc, &id, &body)) > 0) {
		rc = sl_presence_dispatch(&member_handlers, SL_TO_MEMBER, w, &m->ipc, id, body);
		if (rc) {
			sl_log(SLUICE_LOG_ERR, "presence_message_refused message=%s why=\"%s\"", sl_presence_name(id),
			       rc == SLUICE_ENOMEM ? "out of memory" : "it is not what was expected");
			break;
		}
	}
	if (rc == 0 && !lost)
		return;
	member_lost(w, SLUICE_LOG_WARN, rc ? "a message was refused" : "the presence worker ended the connection");
	/* It may live, and only this connection have failed. */
	if (!w->ephemeral)
		control_presence_lost(w);
}

static void member_writable(evutil_socket_t fd, short what, void *arg)
{
	(void)fd;
	(void)what;
	(void)arg; /* worker_turn() flushes */
}

/* Requests go behind the hello at once: who is ready can be asked, and an owner that does not welcome us ends them. */
int member_link(struct worker *w, int fd)
{
	struct member *m = &w->member;
	struct sl_presence_hello hello = {.protocol = SL_PRESENCE_PROTOCOL,
	                                  .build = SL_STR(SL_BUILD),
	                                  .name = sl_slice_str(w->name ? w->name : "worker")};

	if (m->linked)
		member_lost(w, SLUICE_LOG_INFO, "another connection replaced it"); /* a reload, or a new owner */
	sl_ipc_init(&m->ipc, fd);
	m->linked = true;
	m->ev_read = event_new(w->base, fd, EV_READ | EV_PERSIST, member_readable, w);
	m->ev_write = event_new(w->base, fd, EV_WRITE, member_writable, w);
	if (!m->ev_read || !m->ev_write || event_add(m->ev_read, NULL) || sl_put_presence_hello(&m->ipc, &hello)) {
		member_close(w);
		return SLUICE_ENOMEM;
	}
	return 0;
}

void member_flush(struct worker *w)
{
	struct member *m = &w->member;

	view_bury(w);
	if (!m->linked)
		return;
	view_loud(w);
	/* Its end is noticed by reading. */
	if (sl_ipc_queued(&m->ipc) > 0 && sl_ipc_flush(&m->ipc) == 0 && sl_ipc_queued(&m->ipc) > 0)
		event_add(m->ev_write, NULL);
}

bool member_idle(const struct worker *w)
{
	return sl_link_alone(&w->member.reqs);
}

int member_init(struct worker *w)
{
	struct member *m = &w->member;

	sl_ipc_init(&m->ipc, -1);
	sl_link_init(&m->reqs);
	sl_link_init(&m->views);
	sl_link_init(&m->loud);
	sl_link_init(&m->graves);
	for (size_t i = 0; i < sl_conf_len(w->conf, "frontends"); i++) {
		const struct sluice_conf *f = sl_conf_at(w->conf, "frontends", i);

		for (size_t k = 0; k < sl_conf_len(f, "plugins"); k++)
			m->wanted |= strcmp(sl_conf_str(sl_conf_at(f, "plugins", k), "plugin"), "presence") == 0;
	}
	return 0;
}

size_t member_reclaim(struct sluice_ctx *ctx)
{
	size_t n = 0;

	for (; !sl_link_alone(&ctx->chan_subs); n++)
		view_unsubscribe(SL_OF(ctx->chan_subs.next, struct sluice_chan_sub, in_ctx));
	for (; !sl_link_alone(&ctx->chan_reqs); n++)
		member_cancel(SL_OF(ctx->chan_reqs.next, struct sluice_chan_req, in_ctx));
	return n;
}

void member_fini(struct worker *w)
{
	struct member *m = &w->member;

	if (!m->reqs.next) /* never made */
		return;
	member_lost(w, SLUICE_LOG_WARN, "the worker ends");
	view_bury(w);
	sl_map_fini(&m->by_name);
	free(m->slot);
	free(m->kept);
	sl_buf_fini(&m->kept_text);
	memset(m, 0, sizeof *m);
}
