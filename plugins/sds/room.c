/*
 * room.c - a store (or its signalling) as this worker sees it: who is there, its log, what everybody is told. Plugin sds, worker
 * process.
 *
 * The log is told once for all peers that are up to date, from the cursor of the room; who is behind reads for itself (out.c). The
 * cursor never passes `known`, the tail that the writer has announced: everything below that has been answered, so it is known which
 * records belong to whom.
 */
#include <assert.h>
#include <stdlib.h>

#include "sds.h"

/* ---- finding them ---- */

static struct room **room_bucket(struct sds *s, enum room_kind kind, slice id)
{
	const uint8_t *p = id.data;
	uint64_t h = s->seed ^ (uint64_t)kind;

	for (size_t i = 0; i < id.len; i++)
		h = (h ^ p[i]) * UINT64_C(0x100000001b3);
	return &s->bucket[(h ^ h >> 32) % ROOM_BUCKETS];
}

struct room *room_find(struct sds *s, enum room_kind kind, slice id)
{
	for (struct room *r = *room_bucket(s, kind, id); r; r = r->next_in_bucket)
		if (r->kind == kind && slice_eq(SLICE(r->id, r->n_id), id))
			return r;
	return NULL;
}

void room_ref(struct room *r)
{
	assert(r->magic == ROOM_MAGIC);
	r->refs++;
}

struct room *room_get(struct sds *s, enum room_kind kind, slice id)
{
	struct room *r = room_find(s, kind, id), **bucket = room_bucket(s, kind, id);

	if (r) {
		room_ref(r);
		return r;
	}
	r = calloc(1, sizeof *r);
	if (!r)
		return NULL;
	r->magic = ROOM_MAGIC;
	r->refs = 1;
	r->kind = kind;
	r->s = s;
	memcpy(r->id, id.data, id.len);
	r->n_id = id.len;
	r->n_stream = id_stream(id, r->stream);
	TAILQ_INIT(&r->peers);
	TAILQ_INIT(&r->states);
	STAILQ_INIT(&r->later);
	TAILQ_INIT(&r->partials);
	cursor_init(&r->cursor, s, r, r);
	r->cursor.record = room_record;
	r->cursor.rest = room_rest;
	r->next_in_bucket = *bucket;
	*bucket = r;
	return r;
}

static void room_log_close(struct room *r)
{
	struct sds *s = r->s;

	cursor_stop(&r->cursor);
	if (r->create)
		s->store->cancel(r->create);
	if (r->sub)
		s->store->unsubscribe(r->sub);
	r->create = NULL;
	r->sub = NULL;
	r->log = LOG_NONE;
}

void room_unref(struct room *r)
{
	struct room **at = room_bucket(r->s, r->kind, SLICE(r->id, r->n_id));

	if (--r->refs > 0)
		return;
	while (*at != r)
		at = &(*at)->next_in_bucket;
	*at = r->next_in_bucket;
	if (r->retrying)
		TAILQ_REMOVE(&r->s->retry, r, retry);
	if (r->fresh)
		TAILQ_REMOVE(&r->s->news, r, news);
	room_log_close(r);
	channel_close(r);
	presence_clear(r);
	large_drop(r);
	cursor_fini(&r->cursor);
	r->magic = 0;
	free(r);
}

/* ---- opening ---- */

void room_retry(struct room *r)
{
	if (r->retrying)
		return;
	r->retrying = true;
	r->retry_ms = sds_now(r->s) + RETRY_MS;
	TAILQ_INSERT_TAIL(&r->s->retry, r, retry);
	sds_tick_soon(r->s);
}

/* A newcomer is asked when what others send would reach it as well. */
static bool room_settled(const struct room *r)
{
	return r->log == LOG_READY && r->channel != CHANNEL_ASKED;
}

void room_settle(struct room *r)
{
	struct peer *p, *next;

	if (!room_settled(r))
		return;
	for (p = TAILQ_FIRST(&r->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		peer_joins(p);
		peer_kick(p);
	}
}

/* Nobody can go on from where he was: they come back, to a log that is made anew. */
static void room_removed(struct room *r)
{
	struct peer *p;

	room_log_close(r);
	TAILQ_FOREACH(p, &r->peers, link)
		peer_close(p, 1013, "the log was removed");
	room_retry(r);
}

static void rooms_grown(void *arg)
{
	struct sds *s = arg;
	struct room *r;

	s->deferred = false;
	while ((r = TAILQ_FIRST(&s->news))) {
		TAILQ_REMOVE(&s->news, r, news);
		r->fresh = false;
		room_advance(r);
	}
}

/* At the end of the turn: frames of other workers that were sent before have arrived by then. */
static void room_grows(struct room *r)
{
	struct sds *s = r->s;

	if (!s->deferred && s->host->defer(s->ctx, rooms_grown, s)) {
		room_advance(r);
		return;
	}
	s->deferred = true;
	if (!r->fresh)
		TAILQ_INSERT_TAIL(&s->news, r, news);
	r->fresh = true;
}

static void room_event(void *arg, const struct sluice_event *e)
{
	struct room *r = arg;
	bool first = r->log == LOG_WATCHING;

	if (e->kind & SLUICE_EV_REMOVED) {
		room_removed(r);
		return;
	}
	r->known = e->tail > r->known ? e->tail : r->known;
	if (first) {
		r->cursor.at = r->known;
		r->log = LOG_READY;
		room_settle(r);
	}
	room_grows(r);
}

static void room_created(void *arg, const struct sluice_result *res, size_t n)
{
	struct room *r = arg;
	struct sds *s = r->s;

	(void)n;
	r->create = NULL;
	r->log = LOG_NONE;
	if (res->status == 0 && s->store->subscribe(s->ctx, SLICE(r->stream, r->n_stream), 1, room_event, r, &r->sub) == 0) {
		r->known = 0;
		r->log = LOG_WATCHING;
		return;
	}
	r->sub = NULL;
	room_retry(r);
}

/* Making a log that is there changes nothing. */
static void room_log_open(struct room *r)
{
	struct sds *s = r->s;
	const struct sluice_op op = {.size = sizeof op,
	                             .kind = SLUICE_OP_CREATE,
	                             .stream = SLICE(r->stream, r->n_stream),
	                             .content_type = STR("application/octet-stream")};

	if (r->log != LOG_NONE || r->kind != ROOM_SYNC || !s->storage)
		return;
	if (s->store->submit(s->ctx, &op, 1, room_created, r, &r->create) == 0)
		r->log = LOG_CREATING;
	else
		room_retry(r);
}

void rooms_tick(struct sds *s)
{
	uint64_t now = sds_now(s);
	struct room *r;

	while ((r = TAILQ_FIRST(&s->retry)) && now >= r->retry_ms) {
		TAILQ_REMOVE(&s->retry, r, retry);
		r->retrying = false;
		room_log_open(r);
		channel_open(r);
		room_advance(r);
	}
}

/* ---- coming and going ---- */

void room_joins(struct room *r, struct peer *p)
{
	TAILQ_INSERT_TAIL(&r->peers, p, link);
	r->n_peers++;
	room_log_open(r);
	channel_open(r);
	presence_greet(p);
	if (room_settled(r))
		peer_joins(p);
	else if (r->kind == ROOM_SIGNAL || !r->s->storage)
		p->join = JOIN_DONE;
}

void room_leaves(struct room *r, struct peer *p)
{
	TAILQ_REMOVE(&r->peers, p, link);
	r->n_peers--;
}

/* ---- telling ---- */

void room_relay(struct room *r, const struct peer *but, struct sluice_buf *buf, size_t len, bool binary)
{
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&r->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p != but)
			peer_push(p, buf, len, binary);
	}
}

static bool room_listens(const struct room *r)
{
	const struct peer *p;

	TAILQ_FOREACH(p, &r->peers, link)
		if (p->join == JOIN_DONE && !p->closing)
			return true;
	return false;
}

static void room_passed(struct room *r)
{
	struct peer *p, *next;

	channel_flush(r);
	for (p = TAILQ_FIRST(&r->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (!STAILQ_EMPTY(&p->inbox))
			peer_kick(p);
	}
}

int room_record(void *arg, uint64_t start, uint64_t end, slice payload)
{
	struct room *r = arg;
	struct sds *s = r->s;
	uint8_t *frame = malloc(payload.len + 1);
	struct sluice_buf *buf = NULL;
	struct peer *p, *next;

	channel_flush(r); /* what stands before this record */
	if (frame) {
		frame[0] = FRAME_PATCH;
		memcpy(frame + 1, payload.data, payload.len);
		buf = s->host->buf_new(s->ctx, SLICE(frame, payload.len + 1));
		free(frame);
	}
	if (!buf)
		return SLUICE_ENOMEM;
	for (p = TAILQ_FIRST(&r->peers); p; p = next) {
		next = TAILQ_NEXT(p, link);
		peer_forward(p, buf, payload.len + 1, start, end);
	}
	s->host->buf_unref(buf);
	return 0;
}

void room_rest(void *arg, int status)
{
	struct room *r = arg;
	struct peer *p;

	if (status) {
		/* Who has to be told what cannot be read reads for himself, later; or is told that it cannot be read. */
		r->s->host->log(r->s->ctx, SLUICE_LOG_WARN, "log_unreadable status=%d", status);
		TAILQ_FOREACH(p, &r->peers, link)
			peer_close(p, status == SLUICE_ENOENT || status == SLUICE_EGONE ? 1011 : 1013, "the log cannot be read");
		r->cursor.at = r->known;
	}
	room_passed(r);
	room_advance(r);
}

void room_advance(struct room *r)
{
	if (r->log != LOG_READY || r->cursor.req || r->cursor.at >= r->known)
		return;
	if (!room_listens(r)) {
		r->cursor.at = r->known;
		room_passed(r);
		return;
	}
	if (channel_busy(r)) {
		room_retry(r);
		return;
	}
	r->cursor.until = r->known;
	cursor_run(&r->cursor, SLICE(r->stream, r->n_stream));
}
