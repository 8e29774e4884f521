/*
 * frame.c - what a client sent, by its type (C). Plugin sds, worker process.
 *
 * Frames of one client have their effect in its order: what is only relayed waits until its patches are durable and told.
 */
#include "sds.h"

int frame_relay(struct peer *p, slice frame, bool binary)
{
	struct sds *s = p->s;
	struct sluice_buf *buf;
	int rc;

	if (p->cast || !appends_settled(p))
		return SLUICE_EAGAIN;
	buf = s->host->buf_new(s->ctx, frame);
	rc = buf ? cast_begin(p, frame, binary) : SLUICE_ENOMEM;
	if (rc == 0)
		room_relay(p->room, p, buf, frame.len, binary);
	else
		peer_close(p, 1013, "out of memory");
	s->host->buf_unref(buf);
	return 0;
}

static int take_relay(struct peer *p, slice frame)
{
	return frame_relay(p, frame, true);
}

static int take_patch(struct peer *p, slice frame)
{
	uint64_t now = sds_now(p->s);
	int rc;

	if (p->s->storage && frame.len > 1)
		rc = append_patch(p, SLICE((const uint8_t *)frame.data + 1, frame.len - 1));
	else
		rc = frame_relay(p, frame, true);
	if (rc == 0 && p->join == JOIN_ASKED && now - p->asked_ms >= ASK_MIN_MS) {
		++*p->s->count.answered;
		peer_answered(p);
	}
	return rc;
}

static int take_presence(struct peer *p, slice frame)
{
	if (!p->s->storage)
		return frame_relay(p, frame, true);
	return p->cast || !appends_settled(p) ? SLUICE_EAGAIN : presence_take(p, frame);
}

/* The first one is answered by the replay that every newcomer gets; others by a complete one, at most one in 5 s (H.2). */
static int take_sync_req(struct peer *p, slice frame)
{
	if (!p->s->storage)
		return frame_relay(p, frame, true);
	if (p->synced)
		peer_asks(p);
	p->synced = true;
	return 0;
}

static const struct {
	int (*take)(struct peer *, slice frame);
	bool writes; /* a read scope's is dropped without a word */
} takers[] = {
	[FRAME_PATCH] = {take_patch, true},
	[FRAME_VALUE] = {wire_value, true},
	[FRAME_REQ_VALUE] = {wire_request, false},
	[FRAME_PRESENCE] = {take_presence, false},
	[FRAME_CHUNK] = {wire_chunk, true},
	[FRAME_SYNC_REQ] = {take_sync_req, false},
};

int frame_take(struct peer *p, slice frame, bool binary)
{
	struct sds *s = p->s;
	unsigned type;
	int rc;

	if (p->busy)
		return SLUICE_EAGAIN;
	if (p->room->kind == ROOM_SIGNAL)
		return frame_relay(p, frame, binary);
	if (!binary || frame.len == 0)
		return 0;
	type = *(const uint8_t *)frame.data;
	if (type >= sizeof takers / sizeof *takers || !takers[type].take)
		type = 7;
	if (type < 7 && takers[type].writes && p->scope == SCOPE_READ) {
		++*s->count.read_scope;
		return 0;
	}
	rc = type < 7 ? takers[type].take(p, frame) : take_relay(p, frame);
	if (rc == 0) {
		++*s->count.in[type];
		*s->count.in_bytes += frame.len;
	}
	return rc;
}
