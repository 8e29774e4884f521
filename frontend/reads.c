/*
 * reads.c - reads and listings: queued by plugins, executed at the end of the turn in one read transaction. Process:
 * sluice-frontend.
 *
 * Facts come from a transaction that begins after the call; bytes may come from the tail cache. A stream with a
 * sliding TTL is asked for at the writer first; without a writer it is served. No transaction outlives the turn.
 */
#include "frontend/worker.h"
#include "lib/log.h"

#include <stdlib.h>

enum { LIST_MAX = 1000, QUEUE_MAX = 65536, NOTE_MS = 60000 };

static void read_queue(struct sluice_req *r)
{
	struct store *s = &r->ctx->worker->store;

	sl_link_add(&s->reads, &r->queued);
	s->n_reads++;
}

static void read_unqueue(struct sluice_req *r)
{
	if (sl_link_alone(&r->queued))
		return;
	sl_link_del(&r->queued);
	r->ctx->worker->store.n_reads--;
}

/* Copies prefix + name behind the request. */
static sl_slice read_name(struct sluice_req *r, size_t at, sl_slice name)
{
	size_t n = strlen(r->ctx->prefix);
	char *to = (char *)(r + 1) + at;

	memcpy(to, r->ctx->prefix, n);
	if (name.len)
		memcpy(to + n, name.data, name.len);
	return SL_SLICE(to, n + name.len);
}

int reads_read(struct sluice_ctx *ctx, const struct sluice_read *rd, sluice_read_fn *fn, void *arg,
               struct sluice_req **out)
{
	struct sluice_read copy = {0};
	struct sluice_req *r;

	host_ctx_check(ctx);
	if (!fn || rd->size < offsetof(struct sluice_read, incarnation))
		return SLUICE_EINVAL;
	memcpy(&copy, rd, rd->size < sizeof copy ? rd->size : sizeof copy);
	if (!(copy.flags & SLUICE_RD_CONTINUE) && (!copy.stream.data || copy.stream.len == 0))
		return SLUICE_EINVAL;
	if (ctx->worker->store.n_reads >= QUEUE_MAX)
		return SLUICE_EAGAIN;
	r = store_req_new(ctx, REQ_READ, strlen(ctx->prefix) + copy.stream.len, arg);
	if (!r)
		return SLUICE_ENOMEM;
	r->fn.read = fn;
	r->rd = copy;
	r->rd.stream = read_name(r, 0, copy.stream);
	read_queue(r);
	if (out)
		*out = r;
	return 0;
}

static int reads_list_as(struct sluice_ctx *ctx, enum req_kind kind, sl_slice prefix, sl_slice after, uint32_t limit,
                         void *arg, struct sluice_req **out)
{
	struct sluice_req *r;

	host_ctx_check(ctx);
	*out = NULL;
	if (ctx->worker->store.n_reads >= QUEUE_MAX)
		return SLUICE_EAGAIN;
	r = store_req_new(ctx, kind, 2 * strlen(ctx->prefix) + prefix.len + after.len, arg);
	if (!r)
		return SLUICE_ENOMEM;
	r->rd.stream = read_name(r, 0, prefix);
	if (after.len)
		r->after = read_name(r, r->rd.stream.len, after);
	r->limit = limit == 0 || limit > LIST_MAX ? LIST_MAX : limit;
	read_queue(r);
	*out = r;
	return 0;
}

int reads_list(struct sluice_ctx *ctx, sl_slice prefix, sl_slice after, uint32_t limit, sluice_list_fn *fn, void *arg,
               struct sluice_req **out)
{
	struct sluice_req *r;
	int rc = fn ? reads_list_as(ctx, REQ_LIST, prefix, after, limit, arg, &r) : SLUICE_EINVAL;

	if (rc)
		return rc;
	r->fn.list = fn;
	if (out)
		*out = r;
	return 0;
}

int reads_list_items(struct sluice_ctx *ctx, sl_slice prefix, sl_slice after, uint32_t limit, sluice_list_items_fn *fn,
                     void *arg, struct sluice_req **out)
{
	struct sluice_req *r;
	int rc = fn ? reads_list_as(ctx, REQ_ITEMS, prefix, after, limit, arg, &r) : SLUICE_EINVAL;

	if (rc)
		return rc;
	r->fn.items = fn;
	if (out)
		*out = r;
	return 0;
}

void reads_cancel(struct sluice_req *r)
{
	if (r->touch)
		sl_client_forget(r->ctx->worker->store.client, r->touch);
	read_unqueue(r);
	store_req_free(r);
}

/* -- answering -- */

static const char *read_message(int status)
{
	switch (status) {
	case SLUICE_OK:
		return "";
	case SLUICE_ENOENT:
		return "there is no such stream";
	case SLUICE_EGONE:
		return "the stream or this part of it is gone";
	case SLUICE_EBUSY:
		return "the store is not there or overloaded";
	default:
		return "the store cannot be read";
	}
}

/* The request is gone before its callback runs: the callback may do whatever it likes. */
static void read_answer(struct sluice_req *r, struct sluice_read_result *res)
{
	sluice_read_fn *fn = r->fn.read;
	void *arg = r->arg;
	struct store *s = &r->ctx->worker->store;

	res->size = sizeof *res;
	res->message = read_message(res->status);
	++*s->n_reads_done;
	read_unqueue(r);
	store_req_free(r);
	fn(arg, res);
}

struct listing {
	struct sluice_list_item item[LIST_MAX];
	struct sluice_list_entry entry[LIST_MAX]; /* for who asked for them */
	size_t n;
	struct sl_buf *text; /* name, content type, name, ... */
	const struct store *store;
	int rc;
};

/* l NULL: it failed. */
static void list_answer(struct sluice_req *r, int status, struct listing *l, int more)
{
	bool items = r->kind == REQ_ITEMS;
	sluice_list_items_fn *items_fn = items ? r->fn.items : NULL;
	sluice_list_fn *list_fn = items ? NULL : r->fn.list;
	void *arg = r->arg;

	read_unqueue(r);
	store_req_free(r);
	if (items) {
		items_fn(arg, status, l ? l->item : NULL, l ? l->n : 0, more);
		return;
	}
	for (size_t i = 0; l && i < l->n; i++)
		l->entry[i] = l->item[i].entry;
	list_fn(arg, status, l ? l->entry : NULL, l ? l->n : 0, more);
}

static void read_fail(struct sluice_req *r, int status, uint32_t reason)
{
	struct sluice_read_result res = {.status = status, .reason = reason};

	if (r->kind == REQ_READ) {
		read_answer(r, &res);
	} else {
		list_answer(r, status, NULL, 0);
	}
}

/* -- one read -- */

/* Facts by name, remembered within the transaction: many readers of one stream wake up together. */
static int read_facts(struct worker *w, sl_slice name, struct sl_facts *facts)
{
	struct store *s = &w->store;
	int rc;

	if (s->memo_valid && sl_slice_eq(sl_buf_slice(&s->memo_name), name)) {
		*facts = s->memo;
		return 0;
	}
	s->memo_valid = false;
	rc = sl_reader_facts(s->reader, name, worker_wall(w), facts);
	if (rc)
		return rc;
	/* The reader's next call takes its own copy away. */
	s->types.len = s->types.off = 0;
	s->memo_name.len = s->memo_name.off = 0;
	if (sl_buf_add(&s->types, facts->content_type.data, facts->content_type.len) ||
	    sl_buf_add(&s->memo_name, name.data, name.len))
		return SLUICE_ENOMEM;
	facts->content_type = sl_buf_slice(&s->types);
	s->memo = *facts;
	s->memo_valid = true;
	return 0;
}

static void read_touched(void *arg, int status)
{
	struct sluice_req *r = arg;

	r->touch = NULL;
	if (status == SLUICE_ENOENT || status == SLUICE_EGONE)
		read_fail(r, status, status == SLUICE_EGONE ? SLUICE_WHY_SOFT_DELETED : SLUICE_WHY_NONE);
	else
		read_queue(r);
}

/* Asks the writer whether a stream with a sliding TTL lives. True: the read waits, or is over. */
static bool read_asks(struct sluice_req *r, const struct sl_facts *facts)
{
	struct store *s = &r->ctx->worker->store;
	int rc;

	if (!(facts->flags & SLUICE_R_TTL) || r->touched == facts->incarnation || !sl_client_up(s->client))
		return false;
	r->touched = facts->incarnation;
	read_unqueue(r);
	rc = sl_client_touch(s->client, facts->incarnation, r->rd.flags & SLUICE_RD_RENEW, read_touched, r, &r->touch);
	if (rc)
		read_fail(r, SLUICE_EBUSY, SLUICE_WHY_NONE);
	return true;
}

static int read_bytes(struct worker *w, const struct sluice_read *rd, const struct sl_facts *facts,
                      struct sl_plan *plan, struct sl_step *step)
{
	struct store *s = &w->store;
	uint64_t from = rd->from > facts->tail ? facts->tail : rd->from;

	*plan = (struct sl_plan){.from = from, .end = from};
	*step = (struct sl_step){.next = from};
	if (rd->budget == 0 || from == facts->tail)
		return 0;
	if (from >= facts->earliest) {
		struct host_watch *hw = subs_find(w, rd->stream);

		if (hw && cache_read(w, hw, facts, from, rd->budget, plan, step)) {
			++*s->n_cache_hits;
			return 0;
		}
	}
	return sl_reader_plan(s->reader, facts, from, rd->budget, plan, step);
}

/* By position: the first step begins inside a record, which the plan counts from its beginning. */
static int read_position(struct worker *w, const struct sluice_read *rd, const struct sl_facts *facts,
                         struct sl_plan *plan, struct sl_step *step, struct sl_place *at)
{
	struct sl_reader *reader = w->store.reader;
	int rc = sl_reader_place(reader, facts, rd->from, at);

	*plan = (struct sl_plan){.from = at->offset, .end = at->offset};
	*step = (struct sl_step){.next = at->offset};
	if (rc || rd->budget == 0 || at->offset == facts->tail)
		return rc;
	step->skip = at->skip;
	rc = sl_reader_plan(reader, facts, at->offset,
	                    rd->budget > UINT64_MAX - at->skip ? UINT64_MAX : rd->budget + at->skip, plan, step);
	if (rc)
		return rc;
	plan->payload_bytes -= at->skip;
	plan->messages -= at->messages;
	return 0;
}

static void result_step(struct sluice_read_result *res, const struct sl_step *step)
{
	res->data = step->data;
	res->next = step->next;
	res->skip = step->skip;
	res->message_end = step->message_end;
	res->n_message_end = step->n_message_end;
	res->record = step->record;
	res->n_record = step->n_record;
}

/* What is told of a snapshot; no harm is done when it has none. */
static int read_snapshot_facts(struct worker *w, const struct sl_facts *facts, struct sluice_read_result *res)
{
	struct sl_snapshot s;
	int rc;

	if (!facts->snapshot)
		return 0;
	rc = sl_reader_snapshot(w->store.reader, facts->snapshot, &s);
	if (rc)
		return rc;
	res->flags |= SLUICE_R_SNAPSHOT;
	res->snapshot = s.at;
	res->snapshot_pos = s.pos;
	res->snapshot_len = s.bytes;
	res->snapshot_id = store_id_out(&w->store, facts->snapshot);
	res->snapshot_type = s.content_type;
	res->snapshot_digest = s.digest;
	return 0;
}

/* Bounds only: the bytes of the snapshot, and of what lies behind it, are asked for step by step. */
static int read_snapshot(struct worker *w, const struct sluice_read *rd, const struct sl_facts *facts,
                         struct sl_plan *plan, struct sl_step *step, struct sl_place *at)
{
	int rc;

	*plan = (struct sl_plan){.from = facts->earliest, .end = facts->earliest};
	*step = (struct sl_step){.next = facts->earliest};
	if (rd->budget == 0)
		return 0;
	rc = sl_reader_rest(w->store.reader, facts, rd->budget, plan, at);
	*step = (struct sl_step){.next = plan->from, .skip = at->skip};
	return rc;
}

static void read_snapshot_continue(struct worker *w, const struct sluice_req *r, struct sluice_read_result *res)
{
	uint64_t id;

	res->snapshot_id = r->rd.incarnation;
	res->from = r->rd.from;
	res->end = r->rd.until;
	res->status = store_id_in(&w->store, r->rd.incarnation, &id)
	                      ? sl_reader_snapshot_step(w->store.reader, id, r->rd.from, r->rd.until, &res->data)
	                      : SLUICE_EGONE;
	res->next = r->rd.from + res->data.len;
}

/* A later step of a long answer: its bounds were settled by the first. */
static void read_continue(struct worker *w, struct sluice_req *r, struct sluice_read_result *res)
{
	struct sl_step step = {0};
	uint64_t id;

	res->incarnation = r->rd.incarnation;
	res->from = r->rd.from;
	res->end = r->rd.until;
	if (store_id_in(&w->store, r->rd.incarnation, &id))
		res->status = sl_reader_step(w->store.reader, id, r->rd.from, r->rd.skip, r->rd.until, &step);
	else
		res->status = SLUICE_EGONE;
	if (res->status == SLUICE_OK)
		result_step(res, &step);
	else if (res->status == SLUICE_ENOENT)
		res->status = SLUICE_EGONE;
}

static void result_facts(const struct store *s, struct sluice_read_result *res, const struct sl_facts *facts)
{
	res->flags = facts->flags;
	res->content_type = facts->content_type;
	res->incarnation = store_id_out(s, facts->incarnation);
	res->created_ms = facts->created_ms;
	res->tail = facts->tail;
	res->earliest = facts->earliest;
	res->tail_pos = facts->tail_pos;
	res->earliest_pos = facts->earliest_pos;
	res->ttl_s = facts->ttl_s;
	res->expires_ms = facts->expires_ms;
}

static int read_how(struct worker *w, const struct sluice_read *rd, const struct sl_facts *facts,
                    struct sl_plan *plan, struct sl_step *step, struct sl_place *at)
{
	if (rd->flags & SLUICE_RD_SNAPSHOT)
		return read_snapshot(w, rd, facts, plan, step, at);
	if ((rd->flags & SLUICE_RD_POS) && rd->from != SLUICE_OFFSET_NOW)
		return read_position(w, rd, facts, plan, step, at);
	return read_bytes(w, rd, facts, plan, step);
}

/* At most once a minute: whoever cannot read asks again. Of a later step the name is not known any more. */
static void read_note(struct worker *w, const struct sluice_req *r)
{
	struct store *s = &w->store;
	uint64_t now = worker_now(w);

	if (s->failed_ms && now - s->failed_ms < NOTE_MS)
		return;
	s->failed_ms = now;
	sl_log(SLUICE_LOG_ERR,
	       "read_failed stream=\"%.*s\" offset=%llu action=\"sluicectl check names what is damaged; restore a backup\"",
	       (int)r->rd.stream.len, r->rd.stream.len ? (const char *)r->rd.stream.data : "", (unsigned long long)r->rd.from);
}

static void read_one(struct worker *w, struct sluice_req *r, unsigned *big)
{
	struct sluice_read_result res = {0};
	struct sl_facts facts;
	struct sl_plan plan;
	struct sl_step step;
	struct sl_place at = {0};
	int rc;

	if (r->rd.flags & SLUICE_RD_CONTINUE) {
		if (r->rd.flags & SLUICE_RD_SNAPSHOT)
			read_snapshot_continue(w, r, &res);
		else
			read_continue(w, r, &res);
		if (res.status == SLUICE_EINTERNAL)
			read_note(w, r);
		*big += res.data.len >= READ_BIG;
		read_answer(r, &res);
		return;
	}
	res.status = read_facts(w, r->rd.stream, &facts);
	if (res.status == SLUICE_OK) {
		res.status = facts.status;
		result_facts(&w->store, &res, &facts);
		res.reason = facts.status == SLUICE_EGONE ? SLUICE_WHY_SOFT_DELETED : SLUICE_WHY_NONE;
	}
	if (res.status == SLUICE_OK) {
		if (read_asks(r, &facts))
			return;
		res.status = read_how(w, &r->rd, &facts, &plan, &step, &at);
		res.reason = res.status == SLUICE_EGONE ? SLUICE_WHY_TRIMMED : SLUICE_WHY_NONE;
		if ((r->rd.flags & SLUICE_RD_SNAPSHOT) || res.reason == SLUICE_WHY_TRIMMED) {
			rc = read_snapshot_facts(w, &facts, &res);
			res.status = rc ? SLUICE_EINTERNAL : res.status;
		}
	}
	if (res.status == SLUICE_EINTERNAL)
		read_note(w, r);
	if (res.status == SLUICE_OK) {
		res.from = plan.from;
		res.end = plan.end;
		res.payload_bytes = plan.payload_bytes;
		res.messages = plan.messages;
		res.skip_from = at.skip;
		res.flags |= at.inside ? SLUICE_R_INSIDE : 0;
		res.flags |= plan.end == facts.tail ? SLUICE_R_UP_TO_DATE : 0;
		result_step(&res, &step);
		*big += step.data.len >= READ_BIG;
	}
	read_answer(r, &res);
}

/* -- one listing -- */

static int listing_add(void *arg, const struct sluice_list_item *item)
{
	const struct sluice_list_entry *e = &item->entry;
	struct listing *l = arg;

	if (l->n == LIST_MAX)
		return 1;
	if (sl_buf_add(l->text, e->stream.data, e->stream.len) ||
	    sl_buf_add(l->text, e->content_type.data, e->content_type.len)) {
		l->rc = SLUICE_ENOMEM;
		return 1;
	}
	l->item[l->n] = *item;
	l->item[l->n++].entry.incarnation = store_id_out(l->store, e->incarnation);
	return 0;
}

/* The texts have stopped moving: point at them, without the instance's prefix. */
static void listing_point(struct listing *l, size_t prefix)
{
	const char *at = (const char *)sl_buf_slice(l->text).data;

	for (size_t i = 0; i < l->n; i++) {
		struct sluice_list_entry *e = &l->item[i].entry;

		e->stream.data = at + prefix;
		at += e->stream.len;
		e->stream.len -= prefix;
		e->content_type.data = at;
		at += e->content_type.len;
	}
}

static void list_one(struct worker *w, struct sluice_req *r)
{
	struct listing *l = malloc(sizeof *l);
	bool more = false;
	int rc;

	if (!l) {
		read_fail(r, SLUICE_ENOMEM, SLUICE_WHY_NONE);
		return;
	}
	l->n = 0;
	l->rc = 0;
	l->text = &w->store.listing;
	l->store = &w->store;
	l->text->len = l->text->off = 0;
	rc = sl_reader_list(w->store.reader, r->rd.stream, r->after, r->limit, worker_wall(w), listing_add, l, &more);
	rc = l->rc ? l->rc : rc;
	listing_point(l, strlen(r->ctx->prefix));
	list_answer(r, rc, rc ? NULL : l, more);
	free(l);
}

void reads_run(struct worker *w)
{
	struct store *s = &w->store;
	struct sl_link now;
	unsigned big = 0, n = 0;
	int rc;

	if (!s->reader || sl_link_alone(&s->reads))
		return;
	sl_link_init(&now);
	sl_link_splice(&now, &s->reads);
	s->memo_valid = false;
	rc = sl_reader_begin(s->reader);
	if (rc)
		sl_log(SLUICE_LOG_ERR, "read_failed status=%d", rc);
	while (!sl_link_alone(&now) && big < READS_BIG && n++ < READS_TURN) {
		struct sluice_req *r = SL_OF(now.next, struct sluice_req, queued);

		if (rc)
			read_fail(r, SLUICE_EINTERNAL, SLUICE_WHY_NONE);
		else if (r->kind != REQ_READ)
			list_one(w, r);
		else
			read_one(w, r, &big);
	}
	if (rc == 0)
		sl_reader_end(s->reader);
	s->memo_valid = false;
	sl_link_splice(&s->reads, &now);
}

void reads_expire(struct worker *w)
{
	struct store *s = &w->store;
	uint64_t now = worker_now(w);

	while (!s->reader && !sl_link_alone(&s->reads)) {
		struct sluice_req *r = SL_OF(s->reads.next, struct sluice_req, queued);

		if (now - r->queued_us / 1000 < SL_CLIENT_WAIT_MS)
			break;
		read_fail(r, SLUICE_EBUSY, SLUICE_WHY_NONE);
	}
}
