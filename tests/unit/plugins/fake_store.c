/*
 * fake_store.c - the fake's store: streams in lists, the writer's checks in the order of the protocol, subscriptions. Tests only.
 */
#include "tests/unit/plugins/fake_store.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *dup_slice(slice s)
{
	return s.data ? fake_dup(s.data, s.len) : NULL;
}

slice slice_of(const char *s)
{
	return (slice){.data = s, .len = s ? strlen(s) : 0};
}

struct fake_stream *fake_stream(fake *f, const char *name)
{
	struct fake_stream *s = f->streams;

	while (s && strcmp(s->name, name) != 0)
		s = s->next;
	return s;
}

static void req_clear(struct sluice_req *r)
{
	free(r->name);
	free(r->type);
	free(r->producer);
	free(r->seq);
	free(r->fork_of);
	free(r->prefix);
	free(r->after);
	free(r->data.data);
	free(r->lens);
	free(r);
}

void req_free(struct sluice_req *r)
{
	TAILQ_REMOVE(&r->f->reqs, r, link);
	r->f->n_reqs--;
	if (r->more)
		req_clear(r->more);
	req_clear(r);
}

struct sluice_req *req_new(fake *f, enum fake_req_kind kind, void *arg, struct sluice_req **out)
{
	struct sluice_req *r = fake_calloc(1, sizeof *r);

	r->kind = kind;
	r->f = f;
	r->arg = arg;
	TAILQ_INSERT_TAIL(&f->reqs, r, link);
	f->n_reqs++;
	if (out)
		*out = r;
	return r;
}

/* ---- operations ---- */

static int store_submit(fake *f, const struct sluice_op *op, size_t n, sluice_done_fn *done, void *arg,
                        struct sluice_req **out)
{
	struct sluice_req *r;

	if (fake_fails(f))
		return SLUICE_ENOMEM;
	if (f->full)
		return SLUICE_EAGAIN;
	assert((n == 1 || n == 2) && op->size == sizeof *op);
	r = req_new(f, REQ_SUBMIT, arg, out);
	r->fn.done = done;
	if (n == 2) {
		r->more = fake_calloc(1, sizeof *r);
		r->more->f = f;
		r->more->op = op[1];
		r->more->name = dup_slice(op[1].stream);
		r->more->type = dup_slice(op[1].content_type);
	}
	r->op = *op;
	r->name = dup_slice(op->stream);
	r->type = dup_slice(op->content_type);
	r->producer = dup_slice(op->producer);
	r->seq = dup_slice(op->stream_seq);
	r->fork_of = dup_slice(op->fork_of);
	if (op->payload) {
		fake_bytes_add(&r->data, fake_payload_bytes(op->payload)->data, fake_payload_bytes(op->payload)->len);
		fake_payload_free(op->payload);
	} else {
		fake_bytes_add(&r->data, op->data.data, op->data.len);
	}
	if (op->message_len) {
		uint64_t sum = 0;

		r->lens = fake_malloc(op->n_messages * sizeof *r->lens);
		memcpy(r->lens, op->message_len, op->n_messages * sizeof *r->lens);
		for (uint32_t i = 0; i < op->n_messages; i++)
			sum += r->lens[i];
		assert(sum == r->data.len);
	}
	return 0;
}

static void stream_put(struct fake_stream *s, const struct sluice_req *r)
{
	struct fake_record *rec;

	s->record = fake_realloc(s->record, (s->n_record + 1) * sizeof *s->record);
	assert(s->record && r->data.len > 0);
	rec = &s->record[s->n_record++];
	memset(rec, 0, sizeof *rec);
	fake_bytes_add(&rec->data, r->data.data, r->data.len);
	rec->n_message = r->lens ? r->op.n_messages : 1;
	rec->message = fake_malloc(rec->n_message * sizeof *rec->message);
	for (size_t i = 0; i < rec->n_message; i++)
		rec->message[i] = r->lens ? r->lens[i] : (uint32_t)r->data.len;
	s->tail += r->data.len + SLUICE_RECORD_OVERHEAD;
	rec->end = s->tail;
}

static void stream_tell(fake *f, const struct fake_stream *s, uint32_t events)
{
	struct sluice_sub *sub;

	for (sub = TAILQ_FIRST(&f->subs); sub; sub = TAILQ_NEXT(sub, link))
		if (!sub->over && sub->told && strcmp(sub->name, s->name) == 0) {
			sub->pending |= events;
			sub->tail = s->tail;
		}
}

static void stream_free(struct fake_stream *s)
{
	for (size_t i = 0; i < s->n_record; i++) {
		free(s->record[i].data.data);
		free(s->record[i].message);
	}
	while (s->producers) {
		struct fake_producer *p = s->producers;

		s->producers = p->next;
		free(p->id);
		free(p);
	}
	free(s->record);
	free(s->snapshot.type);
	free(s->snapshot.data.data);
	free(s->name);
	free(s->type);
	free(s->seq);
	free(s->fork_of);
	free(s->closer);
	free(s);
}

void fake_remove(fake *f, const char *name, bool soft)
{
	struct fake_stream **at = &f->streams, *s;

	while (*at && strcmp((*at)->name, name) != 0)
		at = &(*at)->next;
	s = *at;
	assert(s);
	stream_tell(f, s, SLUICE_EV_REMOVED | (soft ? SLUICE_EV_SOFT : 0));
	s->soft = soft;
	if (soft)
		return;
	*at = s->next;
	stream_free(s);
}

void fake_trim(fake *f, const char *name, uint64_t to)
{
	fake_stream(f, name)->earliest = to;
}

static size_t type_len(const char *type)
{
	return strcspn(type, "; ");
}

static bool type_equal(const char *a, const char *b)
{
	size_t n = type_len(a);

	return n == type_len(b) && strncasecmp(a, b, n) == 0;
}

static int refuse(struct sluice_result *res, int status, uint32_t reason)
{
	res->reason = reason;
	return status;
}

static bool has_forks(const fake *f, const struct fake_stream *s)
{
	for (const struct fake_stream *o = f->streams; o; o = o->next)
		if (o->fork_of && strcmp(o->fork_of, s->name) == 0)
			return true;
	return false;
}

static bool create_equal(const struct fake_stream *s, const struct sluice_req *r)
{
	const uint32_t expiry = SLUICE_R_TTL | SLUICE_R_EXPIRES;
	uint32_t flags = (r->op.flags & SLUICE_A_TTL ? SLUICE_R_TTL : 0) |
	                 (r->op.flags & SLUICE_A_EXPIRES ? SLUICE_R_EXPIRES : 0);

	if (!(r->op.flags & SLUICE_A_INHERIT) && !type_equal(s->type, r->type))
		return false;
	if (!(s->flags & SLUICE_R_CLOSED) != !(r->op.flags & SLUICE_A_CLOSE))
		return false;
	if (!s->fork_of != !r->fork_of || (s->fork_of && strcmp(s->fork_of, r->fork_of) != 0))
		return false;
	return (s->flags & expiry) == flags && s->ttl_s == r->op.ttl_s && s->expires_ms == r->op.expires_ms &&
	       s->fork_sub == r->op.fork_sub;
}

static int create_fork_checks(fake *f, const struct sluice_req *r, struct sluice_result *res)
{
	struct fake_stream *from = fake_stream(f, r->fork_of);

	if (!from)
		return refuse(res, SLUICE_ENOENT, SLUICE_WHY_FORK_SOURCE);
	if (from->soft)
		return refuse(res, SLUICE_EEXIST, SLUICE_WHY_SOFT_DELETED);
	if (!(r->op.flags & SLUICE_A_INHERIT) && !type_equal(from->type, r->type))
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_FORK_TYPE);
	res->earliest = from->earliest;
	if ((r->op.flags & SLUICE_A_FORK_AT) && r->op.fork_at > from->tail)
		return refuse(res, SLUICE_EINVAL, SLUICE_WHY_FORK_OFFSET);
	if ((r->op.flags & SLUICE_A_FORK_AT) && r->op.fork_at < from->earliest)
		return refuse(res, SLUICE_EGONE, SLUICE_WHY_TRIMMED);
	if (r->op.fork_sub > 100)
		return refuse(res, SLUICE_EINVAL, SLUICE_WHY_FORK_SUB);
	return 0;
}

static void create_inherit(fake *f, struct fake_stream *s, const struct sluice_req *r)
{
	struct fake_stream *from = fake_stream(f, r->fork_of);
	uint64_t at = r->op.flags & SLUICE_A_FORK_AT ? r->op.fork_at : from->tail;

	for (size_t i = 0; i < from->n_record && from->record[i].end <= at; i++) {
		struct sluice_req copy = {.data = from->record[i].data, .lens = from->record[i].message};

		copy.op.n_messages = (uint32_t)from->record[i].n_message;
		stream_put(s, &copy);
	}
	s->fork_of = fake_dup(r->fork_of, strlen(r->fork_of));
	s->fork_sub = r->op.fork_sub;
	if (!s->type)
		s->type = fake_dup(from->type, strlen(from->type));
}

static int op_create(fake *f, struct sluice_req *r, struct sluice_result *res)
{
	struct fake_stream *s = fake_stream(f, r->name);
	int err;

	if (s && s->soft)
		return refuse(res, SLUICE_EEXIST, SLUICE_WHY_SOFT_DELETED);
	if (s && !create_equal(s, r))
		return refuse(res, SLUICE_EEXIST, SLUICE_WHY_CONFIG);
	if (!s) {
		err = r->op.flags & SLUICE_A_FORK ? create_fork_checks(f, r, res) : 0;
		if (err)
			return err;
		if (r->op.flags & SLUICE_A_REFUSE)
			return refuse(res, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD);
		s = fake_calloc(1, sizeof *s);
		s->name = fake_dup(r->name, strlen(r->name));
		s->type = r->type ? fake_dup(r->type, strlen(r->type)) : NULL;
		s->incarnation = f->next_incarnation++;
		s->created_ms = f->wall;
		s->ttl_s = r->op.ttl_s;
		s->expires_ms = r->op.expires_ms;
		s->flags = (r->op.flags & SLUICE_A_TTL ? SLUICE_R_TTL : 0) |
		           (r->op.flags & SLUICE_A_EXPIRES ? SLUICE_R_EXPIRES : 0) |
		           (r->op.flags & SLUICE_A_CLOSE ? SLUICE_R_CLOSED : 0);
		if (r->op.flags & SLUICE_A_FORK)
			create_inherit(f, s, r);
		if (r->data.len)
			stream_put(s, r);
		s->next = f->streams;
		f->streams = s;
		res->flags |= SLUICE_R_CREATED;
	}
	res->tail = s->tail;
	res->flags |= s->flags & SLUICE_R_CLOSED;
	return 0;
}

static struct fake_producer *producer_of(struct fake_stream *s, const char *id)
{
	struct fake_producer *p = s->producers;

	while (p && strcmp(p->id, id) != 0)
		p = p->next;
	return p;
}

static int producer_check(struct fake_stream *s, const struct sluice_req *r, struct sluice_result *res, bool *duplicate)
{
	struct fake_producer *p = producer_of(s, r->producer);

	if (!p)
		return r->op.producer_seq ? refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP) : 0;
	res->flags |= SLUICE_R_PRODUCER;
	res->producer_epoch = p->epoch;
	res->producer_seq = p->seq;
	if (r->op.producer_epoch < p->epoch)
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_FENCED);
	if (r->op.producer_epoch > p->epoch)
		return r->op.producer_seq ? refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_RESTART) : 0;
	if (r->op.producer_seq > p->seq + 1)
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_PRODUCER_GAP);
	*duplicate = r->op.producer_seq <= p->seq;
	return 0;
}

static void producer_accept(struct fake_stream *s, const struct sluice_req *r)
{
	struct fake_producer *p = producer_of(s, r->producer);

	if (!p) {
		p = fake_calloc(1, sizeof *p);
		p->id = fake_dup(r->producer, strlen(r->producer));
		p->next = s->producers;
		s->producers = p;
	}
	p->epoch = r->op.producer_epoch;
	p->seq = r->op.producer_seq;
}

static void closer_text(const struct sluice_req *r, char *out, size_t size)
{
	snprintf(out, size, "%s %llu %llu", r->producer ? r->producer : "", (unsigned long long)r->op.producer_epoch,
	         (unsigned long long)r->op.producer_seq);
}

static int op_append(fake *f, struct sluice_req *r, struct sluice_result *res)
{
	struct fake_stream *s = fake_stream(f, r->name);
	bool duplicate = false, produced = r->op.flags & SLUICE_A_PRODUCER, close_only = r->op.kind == SLUICE_OP_CLOSE;
	char closer[128];
	int err;

	closer_text(r, closer, sizeof closer);
	if (!s)
		return SLUICE_ENOENT;
	if (s->soft)
		return refuse(res, SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED);
	res->tail = s->tail;
	if (s->flags & SLUICE_R_CLOSED) {
		res->flags |= SLUICE_R_CLOSED;
		if (close_only && !produced)
			return 0;
		if (!produced || !s->closer || strcmp(s->closer, closer) != 0)
			return SLUICE_ECLOSED;
		res->flags |= SLUICE_R_DUPLICATE | SLUICE_R_PRODUCER;
		res->producer_epoch = r->op.producer_epoch;
		res->producer_seq = r->op.producer_seq;
		return 0;
	}
	if (!close_only && !type_equal(s->type, r->type))
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_TYPE);
	if ((r->op.flags & SLUICE_A_EXPECT_TAIL) &&
	    r->op.expect_tail != (r->op.flags & SLUICE_A_EXPECT_POS ? stream_position(s, s->tail) : s->tail))
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_TAIL);
	err = produced ? producer_check(s, r, res, &duplicate) : 0;
	if (err)
		return err;
	if (duplicate) {
		res->flags |= SLUICE_R_DUPLICATE;
		return 0;
	}
	if ((r->op.flags & SLUICE_A_STREAM_SEQ) && s->seq && strcmp(r->seq, s->seq) <= 0)
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_STREAM_SEQ);
	if (r->op.flags & SLUICE_A_REFUSE)
		return refuse(res, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD);
	if (produced)
		producer_accept(s, r);
	if (r->op.flags & SLUICE_A_STREAM_SEQ) {
		free(s->seq);
		s->seq = fake_dup(r->seq, strlen(r->seq));
	}
	if (!close_only)
		stream_put(s, r);
	if (close_only || (r->op.flags & SLUICE_A_CLOSE)) {
		s->flags |= SLUICE_R_CLOSED;
		s->closer = fake_dup(closer, strlen(closer));
	}
	res->tail = s->tail;
	res->flags |= s->flags & SLUICE_R_CLOSED;
	stream_tell(f, s, SLUICE_EV_TAIL | (s->flags & SLUICE_R_CLOSED ? SLUICE_EV_CLOSED : 0));
	return 0;
}

static int op_remove(fake *f, struct sluice_req *r, struct sluice_result *res)
{
	struct fake_stream *s = fake_stream(f, r->name);

	if (!s)
		return SLUICE_ENOENT;
	if (s->soft)
		return refuse(res, SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED);
	fake_remove(f, r->name, has_forks(f, s));
	return 0;
}

static void snapshot_result(const struct fake_stream *s, struct sluice_result *res)
{
	if (!s->snapshot.id)
		return;
	res->flags |= SLUICE_R_SNAPSHOT;
	res->snapshot = s->snapshot.at;
	res->snapshot_pos = s->snapshot.pos;
	res->snapshot_digest = (slice){.data = s->snapshot.digest, .len = sizeof s->snapshot.digest};
}

/* The offset of the record that a position is in; false: it is inside a message. */
static bool snapshot_place(const struct fake_stream *s, uint64_t pos, uint64_t *offset)
{
	*offset = s->tail;
	for (size_t i = 0; i < s->n_record; i++) {
		const struct fake_record *rec = &s->record[i];
		uint64_t at = 0;

		if (pos >= rec->data.len) {
			pos -= rec->data.len;
			continue;
		}
		*offset = rec->end - rec->data.len - SLUICE_RECORD_OVERHEAD;
		for (size_t k = 0; k < rec->n_message && at < pos; k++)
			at += rec->message[k];
		return at == pos;
	}
	return true;
}

static int op_snapshot(fake *f, struct sluice_req *r, struct sluice_result *res)
{
	struct fake_stream *s = fake_stream(f, r->name);
	uint64_t pos = r->op.trim_to, at;
	uint8_t digest[32] = {0};

	if (!s || s->soft)
		return s ? refuse(res, SLUICE_EGONE, SLUICE_WHY_SOFT_DELETED) : SLUICE_ENOENT;
	assert(r->op.flags & SLUICE_A_AT_POS);
	snapshot_result(s, res);
	if (pos > res->tail_pos)
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_BEYOND);
	if (pos < res->earliest_pos)
		return refuse(res, SLUICE_EGONE, SLUICE_WHY_TRIMMED);
	if (!snapshot_place(s, pos, &at))
		return refuse(res, SLUICE_EINVAL, SLUICE_WHY_BOUNDARY);
	/* Good enough to tell one from another. */
	for (size_t i = 0; i < r->data.len; i++)
		digest[i % 31] = (uint8_t)(digest[i % 31] * 31 + r->data.data[i]);
	digest[31] = (uint8_t)(strlen(r->type) + r->data.len);
	if ((r->op.flags & SLUICE_A_EXPECT_SNAPSHOT) &&
	    (r->op.expect_snapshot.len != 32 || memcmp(r->op.expect_snapshot.data, s->snapshot.digest, 32) != 0))
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT);
	if (s->snapshot.id && s->snapshot.pos == pos && memcmp(digest, s->snapshot.digest, 32) != 0)
		return refuse(res, SLUICE_ECONFLICT, SLUICE_WHY_SNAPSHOT);
	free(s->snapshot.type);
	s->snapshot.type = fake_dup(r->type, strlen(r->type));
	s->snapshot.id = ++f->next_snapshot;
	s->snapshot.at = s->earliest = at;
	s->snapshot.pos = pos;
	s->snapshot.data.len = 0;
	fake_bytes_add(&s->snapshot.data, r->data.data, r->data.len);
	memcpy(s->snapshot.digest, digest, sizeof digest);
	res->earliest = at;
	res->earliest_pos = pos;
	snapshot_result(s, res);
	return SLUICE_OK;
}

static void result_positions(const fake *f, const char *name, struct sluice_result *res)
{
	struct fake_stream *s = fake_stream((fake *)(uintptr_t)f, name);

	if (!s)
		return;
	res->earliest = s->earliest;
	res->tail_pos = stream_position(s, s->tail);
	res->earliest_pos = s->snapshot.id ? s->snapshot.pos : stream_position(s, s->earliest);
}

static void submit_run(struct sluice_req *r)
{
	struct sluice_result all[2] = {{.size = sizeof *all, .message = ""}, {.size = sizeof *all, .message = ""}};
	struct sluice_result *res = all;
	size_t n = r->more ? 2 : 1;
	sluice_done_fn *done = r->fn.done;
	void *arg = r->arg;
	fake *f = r->f;

	if (f->submit_status || f->submit_reason) {
		res->status = f->submit_status;
		res->reason = f->submit_reason;
	} else if (r->op.kind == SLUICE_OP_CREATE) {
		res->status = op_create(f, r, res);
	} else if (r->op.kind == SLUICE_OP_REMOVE) {
		res->status = op_remove(f, r, res);
	} else if (r->op.kind == SLUICE_OP_SNAPSHOT) {
		result_positions(f, r->name, res);
		res->status = op_snapshot(f, r, res);
	} else {
		res->status = op_append(f, r, res);
	}
	if (r->op.kind != SLUICE_OP_SNAPSHOT)
		result_positions(f, r->name, res);
	/* The companion of a create is one that cannot be refused. */
	if (r->more && res->status == SLUICE_OK)
		all[1].status = op_create(f, r->more, &all[1]);
	req_free(r);
	done(arg, all, n);
}

/* ---- subscriptions ---- */

static int store_subscribe(fake *f, slice stream, int live, sluice_event_fn *fn, void *arg, struct sluice_sub **out)
{
	struct sluice_sub *sub;

	(void)live;
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	sub = fake_calloc(1, sizeof *sub);
	sub->f = f;
	sub->name = dup_slice(stream);
	sub->fn = fn;
	sub->arg = arg;
	TAILQ_INSERT_TAIL(&f->subs, sub, link);
	f->n_subs++;
	*out = sub;
	return 0;
}

static void store_unsubscribe(struct sluice_sub *sub)
{
	if (!sub)
		return;
	TAILQ_REMOVE(&sub->f->subs, sub, link);
	sub->f->n_subs--;
	free(sub->name);
	free(sub);
}

static bool sub_run(fake *f, struct sluice_sub *sub)
{
	struct sluice_event ev = {
		.size = sizeof ev, .kind = sub->pending, .stream = slice_of(sub->name), .tail = sub->tail};
	struct fake_stream *s = fake_stream(f, sub->name);

	if (sub->over || (sub->told && !sub->pending) || (!sub->told && f->hold_watches))
		return false;
	if (!sub->told) {
		sub->told = true;
		ev.kind = !s || s->soft ? SLUICE_EV_REMOVED
		                        : SLUICE_EV_TAIL | (s->flags & SLUICE_R_CLOSED ? SLUICE_EV_CLOSED : 0);
		ev.tail = s ? s->tail : 0;
	}
	ev.incarnation = s ? s->incarnation : 0;
	sub->pending = 0;
	sub->over = ev.kind & SLUICE_EV_REMOVED;
	sub->fn(sub->arg, &ev);
	return true;
}

static void store_cancel(struct sluice_req *r)
{
	if (r)
		req_free(r);
}

static int store_on_room(fake *f, void (*fn)(void *), void *arg)
{
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	assert(!f->room);
	f->room = fn;
	f->room_arg = arg;
	return 0;
}

void fake_room(fake *f)
{
	void (*fn)(void *) = f->room;

	f->room = NULL;
	if (fn)
		fn(f->room_arg);
}

static int store_retention(fake *f, const struct sluice_retention_rule *rule, size_t n)
{
	if (fake_fails(f))
		return SLUICE_ENOMEM;
	assert(n <= 8);
	memcpy(f->rule, rule, n * sizeof *rule);
	f->n_rule = n;
	return 0;
}

/* Completions before events, as the host does it; one at a time, because callbacks change the lists. */
void fake_store_turn(fake *f, bool *busy)
{
	struct sluice_req *r;
	struct sluice_sub *sub;

	for (r = TAILQ_FIRST(&f->reqs); r; r = TAILQ_NEXT(r, link)) {
		if (((r->kind == REQ_SUBMIT || r->kind == REQ_PING) && f->hold) || (r->kind == REQ_READ && f->hold_reads))
			continue;
		*busy = true;
		if (r->kind == REQ_SUBMIT)
			submit_run(r);
		else if (r->kind == REQ_READ)
			read_run(r);
		else if (r->kind == REQ_PING || r->kind == REQ_CHANNELS || r->kind == REQ_APPLY)
			server_run(r);
		else
			list_run(r);
		return;
	}
	for (sub = TAILQ_FIRST(&f->subs); sub; sub = TAILQ_NEXT(sub, link))
		if (sub_run(f, sub)) {
			*busy = true;
			return;
		}
	*busy |= channels_run(f);
}

void fake_store_fini(fake *f)
{
	while (f->streams) {
		struct fake_stream *s = f->streams;

		f->streams = s->next;
		stream_free(s);
	}
}

const struct sluice_store fake_store_table = {
	.size = sizeof fake_store_table,
	.submit = store_submit,
	.read = store_read,
	.subscribe = store_subscribe,
	.unsubscribe = store_unsubscribe,
	.cancel = store_cancel,
	.on_room = store_on_room,
	.list = store_list,
	.list_items = store_list_items,
	.retention = store_retention,
};
