/*
 * engine_record.c - records (storage-engine 8): effects of a batch as bytes for a watcher, and redoing them on a copy.
 * Store-writer.
 */

#include "lib/crc.h"
#include "store-worker/engine_internal.h"

int engine_keep(struct se_batch *b, uint16_t kind, uint16_t version, sl_slice effect, sl_slice payload)
{
	struct sl_buf *r = &b->record;

	if (sl_put_u16(r, kind) || sl_put_u16(r, version) || sl_put_u32(r, (uint32_t)(effect.len + payload.len)) ||
	    sl_buf_add(r, effect.data, effect.len) || sl_buf_add(r, payload.data, payload.len))
		return SE_NOMEM;
	return SE_OK;
}

/* The header of storage-engine 8 before the effects collected in b->record. */
int engine_record(struct se_batch *b, struct sl_buf *out)
{
	sl_slice body = sl_buf_slice(&b->record);
	uint32_t crc = sl_crc32(0, body);

	if (sl_put_u32(out, SE_RECORD_MAGIC) || sl_put_u16(out, 1) || sl_put_u16(out, 0) ||
	    sl_put_u64(out, b->head.position) || sl_put_u64(out, b->head.time_ms) || sl_put_u32(out, 0) ||
	    sl_put_u32(out, (uint32_t)b->effects) || sl_put_u32(out, (uint32_t)body.len) || sl_put_u32(out, crc) ||
	    sl_buf_add(out, body.data, body.len))
		return SE_NOMEM;
	return SE_OK;
}

static int engine_apply_effects(struct se_batch *b, struct sl_cur *c, uint32_t n)
{
	int rc = SE_OK;

	for (uint32_t i = 0; rc == SE_OK && i < n; i++) {
		uint16_t kind = sl_cur_u16(c), version = sl_cur_u16(c);
		sl_slice bytes = sl_cur_take(c, sl_cur_u32(c));

		if (c->bad)
			return SE_CORRUPT;
		rc = engine_redo(b, kind, version, bytes, SL_SLICE(NULL, 0));
		b->effects++;
	}
	return rc ? rc : sl_cur_done(c) ? SE_OK : SE_CORRUPT;
}

int se_apply(struct se *se, sl_slice record)
{
	struct sl_cur c = sl_cur_of(record);
	struct se_batch *b;
	uint32_t magic = sl_cur_u32(&c), n, len, crc;
	uint16_t format = sl_cur_u16(&c);
	se_pos position;
	uint64_t time_ms;
	int rc;

	sl_cur_u16(&c);
	position = sl_cur_u64(&c);
	time_ms = sl_cur_u64(&c);
	sl_cur_u32(&c);
	n = sl_cur_u32(&c);
	len = sl_cur_u32(&c);
	crc = sl_cur_u32(&c);
	if (c.bad || magic != SE_RECORD_MAGIC || len != (size_t)(c.end - c.p) || crc != sl_crc32(0, SL_SLICE(c.p, len)))
		return SE_CORRUPT;
	if (format != 1)
		return SE_FORMAT;
	if (position <= se->position)
		return SE_OK;
	if (position != se->position + 1)
		return SE_INVALID;
	rc = se_begin(se, &b);
	if (rc)
		return rc;
	b->head = (struct se_record){.position = position, .time_ms = time_ms};
	rc = engine_apply_effects(b, &c, n);
	if (rc == SE_OK)
		rc = se->table->settle(se->volume, &b->head);
	if (rc == SE_OK)
		rc = engine_meta(b);
	if (rc == SE_OK)
		rc = engine_run(se, COMMIT);
	if (rc) {
		se_abort(b);
		return rc;
	}
	engine_committed(se, &b->head);
	engine_end(b);
	return SE_OK;
}
