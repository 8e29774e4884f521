/*
 * effect.c - effects as bytes, version 1 of every kind. Store-writer.
 *
 * Varints for numbers, counted bytes for text. Decoders are strict; an effect that does not decode is a damaged
 * record.
 */
#include "store-worker/store.h"

static int put_counted(struct sl_buf *b, sl_slice s)
{
	return sl_put_varint(b, s.len) || sl_buf_add(b, s.data, s.len) ? SE_NOMEM : SE_OK;
}

static sl_slice get_counted(struct sl_cur *c)
{
	uint64_t n = sl_cur_varint(c);

	if (n > (uint64_t)(c->end - c->p)) {
		c->bad = true;
		return SL_SLICE(NULL, 0);
	}
	return sl_cur_take(c, (size_t)n);
}

static int put_numbers(struct sl_buf *b, const uint64_t *v, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (sl_put_varint(b, v[i]))
			return SE_NOMEM;
	return SE_OK;
}

#define PUT(b, ...) \
	put_numbers(b, (const uint64_t[]){__VA_ARGS__}, sizeof((const uint64_t[]){__VA_ARGS__}) / sizeof(uint64_t))

int effect_put_create(struct sl_buf *b, const struct effect_create *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->flags, e->id, e->base, e->earliest, e->ttl_s, e->expires_ms, e->fork_of, e->fork_at,
	           e->fork_sub, e->base_pos, e->earliest_pos, e->snapshot) ||
	                       put_counted(b, e->name) || put_counted(b, e->type) || put_counted(b, e->fork_name)
	               ? SE_NOMEM
	               : SE_OK;
}

int effect_get_create(sl_slice s, struct effect_create *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->flags = (uint32_t)sl_cur_varint(&c);
	e->id = sl_cur_varint(&c);
	e->base = sl_cur_varint(&c);
	e->earliest = sl_cur_varint(&c);
	e->ttl_s = sl_cur_varint(&c);
	e->expires_ms = sl_cur_varint(&c);
	e->fork_of = sl_cur_varint(&c);
	e->fork_at = sl_cur_varint(&c);
	e->fork_sub = sl_cur_varint(&c);
	e->base_pos = sl_cur_varint(&c);
	e->earliest_pos = sl_cur_varint(&c);
	e->snapshot = sl_cur_varint(&c);
	e->name = get_counted(&c);
	e->type = get_counted(&c);
	e->fork_name = get_counted(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_append(struct sl_buf *b, const struct effect_append *e)
{
	int rc;

	sl_buf_drain(b, SIZE_MAX);
	rc = PUT(b, e->flags, e->stream, e->start, e->bytes, e->messages) || put_counted(b, e->marks) ? SE_NOMEM
	                                                                                              : SE_OK;
	if (rc == SE_OK && (e->flags & EFFECT_PRODUCER))
		rc = put_counted(b, e->producer) || PUT(b, e->epoch, e->seq) ? SE_NOMEM : SE_OK;
	if (rc == SE_OK && (e->flags & EFFECT_SEQ))
		rc = put_counted(b, e->stream_seq);
	if (rc == SE_OK && (e->flags & EFFECT_SEGMENT))
		rc = PUT(b, e->segment, e->seg_off);
	return rc;
}

int effect_get_append(sl_slice s, struct effect_append *e, sl_slice *rest)
{
	struct sl_cur c = sl_cur_of(s);

	memset(e, 0, sizeof *e);
	e->flags = (uint32_t)sl_cur_varint(&c);
	e->stream = sl_cur_varint(&c);
	e->start = sl_cur_varint(&c);
	e->bytes = sl_cur_varint(&c);
	e->messages = (uint32_t)sl_cur_varint(&c);
	e->marks = get_counted(&c);
	if (e->flags & EFFECT_PRODUCER) {
		e->producer = get_counted(&c);
		e->epoch = sl_cur_varint(&c);
		e->seq = sl_cur_varint(&c);
	}
	if (e->flags & EFFECT_SEQ)
		e->stream_seq = get_counted(&c);
	if (e->flags & EFFECT_SEGMENT) {
		e->segment = sl_cur_varint(&c);
		e->seg_off = sl_cur_varint(&c);
	}
	*rest = SL_SLICE(c.p, (size_t)(c.end - c.p));
	return c.bad ? SE_CORRUPT : SE_OK;
}

int effect_put_close(struct sl_buf *b, const struct effect_close *e)
{
	sl_buf_drain(b, SIZE_MAX);
	if (PUT(b, e->flags, e->stream))
		return SE_NOMEM;
	if (!(e->flags & EFFECT_PRODUCER))
		return SE_OK;
	return put_counted(b, e->producer) || PUT(b, e->epoch, e->seq) ? SE_NOMEM : SE_OK;
}

int effect_get_close(sl_slice s, struct effect_close *e)
{
	struct sl_cur c = sl_cur_of(s);

	memset(e, 0, sizeof *e);
	e->flags = (uint32_t)sl_cur_varint(&c);
	e->stream = sl_cur_varint(&c);
	if (e->flags & EFFECT_PRODUCER) {
		e->producer = get_counted(&c);
		e->epoch = sl_cur_varint(&c);
		e->seq = sl_cur_varint(&c);
	}
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_remove(struct sl_buf *b, const struct effect_remove *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->stream, e->parent, e->state);
}

int effect_get_remove(sl_slice s, struct effect_remove *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->stream = sl_cur_varint(&c);
	e->parent = sl_cur_varint(&c);
	e->state = (uint8_t)sl_cur_varint(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_trim(struct sl_buf *b, const struct effect_trim *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->stream, e->earliest, e->pos);
}

int effect_get_trim(sl_slice s, struct effect_trim *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->stream = sl_cur_varint(&c);
	e->earliest = sl_cur_varint(&c);
	e->pos = sl_cur_varint(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_snapshot(struct sl_buf *b, const struct effect_snapshot *e)
{
	int rc;

	sl_buf_drain(b, SIZE_MAX);
	rc = PUT(b, e->flags, e->stream, e->at, e->pos, e->bytes) || put_counted(b, e->type) ||
	                     put_counted(b, e->digest)
	             ? SE_NOMEM
	             : SE_OK;
	if (rc == SE_OK && (e->flags & EFFECT_SEGMENT))
		rc = PUT(b, e->segment, e->seg_off);
	return rc;
}

int effect_get_snapshot(sl_slice s, struct effect_snapshot *e, sl_slice *rest)
{
	struct sl_cur c = sl_cur_of(s);

	memset(e, 0, sizeof *e);
	e->flags = (uint32_t)sl_cur_varint(&c);
	e->stream = sl_cur_varint(&c);
	e->at = sl_cur_varint(&c);
	e->pos = sl_cur_varint(&c);
	e->bytes = sl_cur_varint(&c);
	e->type = get_counted(&c);
	e->digest = get_counted(&c);
	if (e->flags & EFFECT_SEGMENT) {
		e->segment = sl_cur_varint(&c);
		e->seg_off = sl_cur_varint(&c);
	}
	*rest = SL_SLICE(c.p, (size_t)(c.end - c.p));
	return c.bad ? SE_CORRUPT : SE_OK;
}

int effect_put_pair(struct sl_buf *b, const struct effect_pair *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->a, e->b);
}

int effect_get_pair(sl_slice s, struct effect_pair *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->a = sl_cur_varint(&c);
	e->b = sl_cur_varint(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_rest(struct sl_buf *b, const struct effect_rest *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->stream, e->below, e->parent);
}

int effect_get_rest(sl_slice s, struct effect_rest *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->stream = sl_cur_varint(&c);
	e->below = sl_cur_varint(&c);
	e->parent = sl_cur_varint(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}

int effect_put_reap(struct sl_buf *b, const struct effect_reap *e)
{
	sl_buf_drain(b, SIZE_MAX);
	return PUT(b, e->stream, e->below, e->chunks, e->producers);
}

int effect_get_reap(sl_slice s, struct effect_reap *e)
{
	struct sl_cur c = sl_cur_of(s);

	e->stream = sl_cur_varint(&c);
	e->below = sl_cur_varint(&c);
	e->chunks = (uint32_t)sl_cur_varint(&c);
	e->producers = (uint32_t)sl_cur_varint(&c);
	return sl_cur_done(&c) ? SE_OK : SE_CORRUPT;
}
