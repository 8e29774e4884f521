/*
 * peer.c - the life of a WebSocket: admission, joining a store, frames in one after the other, the end. Plugin sds, worker process.
 *
 * A frame that has to wait for those before it (a patch is being stored, a frame is on its way to other workers) goes to the inbox, and
 * then the client is not read any more: what waits is bounded by what the host had read already.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

void peer_ref(struct peer *p)
{
	p->refs++;
}

static void inbox_pop(struct peer *p)
{
	struct frame_in *f = STAILQ_FIRST(&p->inbox);

	STAILQ_REMOVE_HEAD(&p->inbox, link);
	p->inbox_bytes -= f->len;
	free(f);
}

void peer_unref(struct peer *p)
{
	if (--p->refs > 0)
		return;
	cursor_fini(&p->cursor);
	cursor_fini(&p->looking);
	room_unref(p->room);
	free(p->own);
	p->magic = 0;
	free(p);
}

void peer_close(struct peer *p, int code, const char *reason)
{
	if (!p->ws || p->closing)
		return;
	p->closing = true;
	if (code == 1011 || code == 1013)
		++*p->s->count.failures;
	p->s->ws->close(p->ws, code, reason);
}

/* ---- admission ---- */

static void uuid_make(char out[37])
{
	uint64_t a = sds_random(), b = sds_random();

	snprintf(out, 37, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32), (unsigned)(a >> 16 & 0xffff),
	         (unsigned)(a & 0xfff), (unsigned)(b >> 48 & 0x3fff) | 0x8000,
	         (unsigned long long)(b & UINT64_C(0xffffffffffff)));
}

/* The id is the last segment of the path as it was sent; the one before it is "ws" or "signal". */
static bool open_id(const struct sds *s, struct sluice_ws *ws, const char *marker, char id[ID_MAX], size_t *n)
{
	slice target = s->ws->target(ws), part;
	const char *last = memrchr(target.data, '/', target.len);
	size_t before, len = strlen(marker);

	if (!last)
		return false;
	before = (size_t)(last - (const char *)target.data) + 1;
	part = SLICE(last + 1, target.len - before);
	return before >= len && memcmp((const char *)target.data + before - len, marker, len) == 0 &&
	       id_decode(part, id, n);
}

static struct peer *peer_new(struct sds *s, struct sluice_ws *ws, enum room_kind kind, slice id, enum scope scope)
{
	struct peer *p = calloc(1, sizeof *p);
	struct room *room = p ? room_get(s, kind, id) : NULL;

	if (!room) {
		free(p);
		return NULL;
	}
	p->magic = PEER_MAGIC;
	p->refs = 1;
	p->s = s;
	p->room = room;
	p->ws = ws;
	p->id = sds_random();
	p->scope = scope;
	uuid_make(p->uuid);
	STAILQ_INIT(&p->inbox);
	sets_init(&p->sets, &s->reassembling);
	cursor_init(&p->cursor, s, room, p);
	p->cursor.record = replay_record;
	p->cursor.rest = replay_rest;
	p->cursor.large = replay_large;
	acks_init(p);
	*s->ws->slot(ws) = p;
	return p;
}

/* The handshake succeeds whatever the token says; then the socket is closed without a frame before (B.2). */
static void peer_admit(struct sds *s, struct sluice_ws *ws, enum room_kind kind, slice id)
{
	slice ack = s->ws->query(ws, "ack", 0);
	struct token t;
	enum verdict verdict = token_check(s, s->ws->query(ws, "token", 0), id, &t);
	struct peer *p;

	if (verdict != TOKEN_GOOD) {
		++*(verdict == TOKEN_BAD ? s->count.refused_4001 : s->count.refused_4003);
		s->ws->close(ws, verdict == TOKEN_BAD ? 4001 : 4003, verdict == TOKEN_BAD ? "Unauthorized" : "Forbidden");
		return;
	}
	token_fini(&t);
	p = peer_new(s, ws, kind, id, t.scope);
	if (!p) {
		s->ws->close(ws, 1013, "out of memory");
		return;
	}
	p->ack = slice_is(ack, "1");
	++*(kind == ROOM_SIGNAL ? s->count.signals : s->count.connections[p->scope]);
	if (p->room->n_peers >= s->store_connections)
		peer_close(p, 1013, "too many connections to this store");
	room_joins(p->room, p);
}

static int peer_open(struct sds *s, struct sluice_ws *ws, enum room_kind kind, const char *marker)
{
	char id[ID_MAX];
	size_t n;

	if (!open_id(s, ws, marker, id, &n))
		return SLUICE_ENOENT;
	peer_admit(s, ws, kind, SLICE(id, n));
	return 0;
}

int sync_open(void *self, struct sluice_ws *ws)
{
	return peer_open(self, ws, ROOM_SYNC, "/ws/");
}

int signal_open(void *self, struct sluice_ws *ws)
{
	return peer_open(self, ws, ROOM_SIGNAL, "/signal/");
}

/* ---- joining (H.2) ---- */

void peer_joins(struct peer *p)
{
	struct sds *s = p->s;

	if (!p->ws || p->closing || p->join != JOIN_WAITS)
		return;
	if (p->scope == SCOPE_READ) {
		peer_answered(p);
		return;
	}
	p->join = JOIN_ASKED;
	p->asked_ms = sds_now(s);
	TAILQ_INSERT_TAIL(&s->asking, p, asking);
	sds_tick_soon(s);
	peer_send(p, FRAME_SYNC_REQ, STR(""));
}

void peer_answered(struct peer *p)
{
	if (p->join == JOIN_ASKED)
		TAILQ_REMOVE(&p->s->asking, p, asking);
	p->join = JOIN_DONE;
	peer_replay(p, 0);
}

static void peer_undue(struct peer *p)
{
	if (p->replay_due)
		TAILQ_REMOVE(&p->s->due, p, asking);
	p->replay_due = false;
}

/* At most one complete replay in 5 s; who asks more often is served once for all of it. */
void peer_asks(struct peer *p)
{
	if (p->replay_due || p->join != JOIN_DONE || !p->ws)
		return; /* the replay of a newcomer is to come */
	p->replay_due = true;
	TAILQ_INSERT_TAIL(&p->s->due, p, asking);
	sds_tick_soon(p->s);
}

void peers_tick(struct sds *s)
{
	uint64_t now = sds_now(s);
	struct peer *p, *next;

	for (p = TAILQ_FIRST(&s->due); p; p = next) {
		next = TAILQ_NEXT(p, asking);
		if (now - p->replayed_ms < REPLAY_EVERY_MS)
			continue;
		peer_undue(p);
		peer_replay(p, 0);
	}

	while ((p = TAILQ_FIRST(&s->asking)) && now - p->asked_ms >= ASK_MS) {
		++*s->count.timed_out;
		peer_answered(p);
	}
}

/* ---- frames in ---- */

static bool inbox_add(struct peer *p, slice frame, bool binary)
{
	struct frame_in *f = malloc(sizeof *f + frame.len);

	if (!f) {
		peer_close(p, 1013, "out of memory");
		return false;
	}
	f->len = frame.len;
	f->binary = binary;
	if (frame.len)
		memcpy(f->data, frame.data, frame.len);
	STAILQ_INSERT_TAIL(&p->inbox, f, link);
	p->inbox_bytes += f->len;
	if (!p->paused)
		p->s->ws->pause(p->ws, 1);
	p->paused = true;
	return true;
}

/* What a frame waits for may come while it is being taken: the next one has its turn when this one is over. */
static int peer_take(struct peer *p, slice frame, bool binary)
{
	int rc;

	p->taking = true;
	rc = frame_take(p, frame, binary);
	p->taking = false;
	return rc;
}

void peer_message(void *self, struct sluice_ws *ws, slice frame, int binary)
{
	struct sds *s = self;
	struct peer *p = *s->ws->slot(ws);

	if (!p || p->closing)
		return;
	if (!STAILQ_EMPTY(&p->inbox) || peer_take(p, frame, binary) == SLUICE_EAGAIN)
		inbox_add(p, frame, binary);
}

void peer_kick(struct peer *p)
{
	struct frame_in *f;

	if (p->taking)
		return;
	while (p->ws && !p->closing && (f = STAILQ_FIRST(&p->inbox))) {
		if (peer_take(p, SLICE(f->data, f->len), f->binary) == SLUICE_EAGAIN)
			return;
		inbox_pop(p);
	}
	if (p->ws && !p->closing && p->paused) {
		p->paused = false;
		p->s->ws->pause(p->ws, 0);
	}
}

void peer_pull(void *self, struct sluice_ws *ws)
{
	struct sds *s = self;
	struct peer *p = *s->ws->slot(ws);

	if (!p)
		return;
	p->full = false;
	peer_pump(p);
}

void peer_closed(void *self, struct sluice_ws *ws, int code)
{
	struct sds *s = self;
	struct peer *p = *s->ws->slot(ws);

	(void)code;
	if (!p)
		return; /* refused */
	*s->ws->slot(ws) = NULL;
	--*(p->room->kind == ROOM_SIGNAL ? s->count.signals : s->count.connections[p->scope]);
	p->ws = NULL;
	if (p->join == JOIN_ASKED)
		TAILQ_REMOVE(&s->asking, p, asking);
	peer_undue(p);
	p->join = JOIN_DONE;
	cursor_stop(&p->cursor);
	large_leave(p);
	out_clear(p);
	while (!STAILQ_EMPTY(&p->inbox))
		inbox_pop(p);
	if (p->cast)
		p->cast->peer = NULL;
	acks_clear(p);
	sets_clear(&p->sets);
	presence_leave(p);
	room_leaves(p->room, p);
	peer_unref(p);
}
