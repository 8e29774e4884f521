/*
 * msg.c - encoders, decoders and dispatchers for the messages of lib/ipc/. Every process.
 *
 * Decoders are total: a short, long or otherwise wrong body is SLUICE_EINVAL, never an access out of bounds.
 */
#include "lib/msg.h"

#include <stdlib.h>

#define PUT_u8(b, v) sl_put_u8(b, v)
#define PUT_u16(b, v) sl_put_u16(b, v)
#define PUT_u32(b, v) sl_put_u32(b, v)
#define PUT_u64(b, v) sl_put_u64(b, v)
#define PUT_i32(b, v) sl_put_u32(b, (uint32_t)(v))
#define PUT_i64(b, v) sl_put_u64(b, (uint64_t)(v))
#define PUT_str(b, v) sl_put_bytes(b, v)
#define PUT_bytes(b, v) sl_put_bytes(b, v)
#define PUT_fd(b, v) ((void)(b), sl_ipc_attach(ipc, v))

static sl_slice get_str(struct sl_cur *c)
{
	sl_slice s = sl_cur_bytes(c);

	if (s.len && memchr(s.data, 0, s.len))
		c->bad = true;
	return s;
}

#define GET_u8(c) sl_cur_u8(c)
#define GET_u16(c) sl_cur_u16(c)
#define GET_u32(c) sl_cur_u32(c)
#define GET_u64(c) sl_cur_u64(c)
#define GET_i32(c) (int32_t)sl_cur_u32(c)
#define GET_i64(c) (int64_t)sl_cur_u64(c)
#define GET_str(c) get_str(c)
#define GET_bytes(c) sl_cur_bytes(c)
/* Taken from the connection's queue by a pass of its own (CLAIM), once the whole body was found good. */
#define GET_fd(c) ((void)(c), -1)

#define CLAIM_u8(f)
#define CLAIM_u16(f)
#define CLAIM_u32(f)
#define CLAIM_u64(f)
#define CLAIM_i32(f)
#define CLAIM_i64(f)
#define CLAIM_str(f)
#define CLAIM_bytes(f)
#define CLAIM_fd(f) \
	m->f = sl_ipc_take_fd(ipc); \
	if (m->f < 0) \
		return SLUICE_EINVAL;


/* -- encoders -- */
#define SL_RECORD(name) \
	static int SL_CAT4(put_, SL_PROTO, _, name)(struct sl_buf *b, const struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{ \
		int rc = 0;
#define SL_END_RECORD(name) \
		return rc; \
	}
#define SL_MSG(id, name, dir) \
	int SL_CAT4(sl_put_, SL_PROTO, _, name)(struct sl_ipc *ipc, const struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{ \
		struct sl_buf *b = sl_ipc_begin(ipc, id); \
		int rc = 0; \
		(void)m; \
		if (!b) \
			return SLUICE_ENOMEM;
#define SL_FIELD(type, name) \
		if (rc == 0) \
			rc = PUT_##type(b, m->name);
#define SL_LIST(record, name) \
		if (rc == 0) \
			rc = sl_put_u32(b, m->name.n); \
		for (uint32_t i = 0; rc == 0 && i < m->name.n; i++) \
			rc = SL_CAT4(put_, SL_PROTO, _, record)(b, \
			        (const struct SL_CAT4(sl_, SL_PROTO, _, record) *)m->name.v + i);
#define SL_END(name) \
		return sl_ipc_end(ipc, rc); \
	}
#define SL_PROTO store
#include "lib/ipc/store.def"
#undef SL_PROTO
#define SL_PROTO control
#include "lib/ipc/control.def"
#undef SL_PROTO
#define SL_PROTO presence
#include "lib/ipc/presence.def"
#undef SL_PROTO
#define SL_PROTO handover
#include "lib/ipc/handover.def"
#undef SL_PROTO
#define SL_PROTO admin
#include "lib/ipc/admin.def"
#undef SL_PROTO
#undef SL_RECORD
#undef SL_END_RECORD
#undef SL_MSG
#undef SL_FIELD
#undef SL_LIST
#undef SL_END

/* -- decoders -- */
#define SL_RECORD(name) \
	int SL_CAT4(sl_next_, SL_PROTO, _, name)(struct sl_cur *c, struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{
#define SL_END_RECORD(name) \
		return c->bad ? SLUICE_EINVAL : 0; \
	}
#define SL_MSG(id, name, dir) \
	static int SL_CAT4(body_, SL_PROTO, _, name)(struct sl_cur *c, struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{ \
		(void)m;
#define SL_FIELD(type, name) m->name = GET_##type(c);
#define SL_LIST(record, name) \
		m->name.n = sl_cur_u32(c); \
		m->name.v = NULL; \
		m->name.cur = *c; \
		for (uint32_t i = 0; !c->bad && i < m->name.n; i++) { \
			struct SL_CAT4(sl_, SL_PROTO, _, record) one; \
			SL_CAT4(sl_next_, SL_PROTO, _, record)(c, &one); \
		}
#define SL_END(name) \
		return sl_cur_done(c) ? 0 : SLUICE_EINVAL; \
	}
#define SL_PROTO store
#include "lib/ipc/store.def"
#undef SL_PROTO
#define SL_PROTO control
#include "lib/ipc/control.def"
#undef SL_PROTO
#define SL_PROTO presence
#include "lib/ipc/presence.def"
#undef SL_PROTO
#define SL_PROTO handover
#include "lib/ipc/handover.def"
#undef SL_PROTO
#define SL_PROTO admin
#include "lib/ipc/admin.def"
#undef SL_PROTO
#undef SL_RECORD
#undef SL_END_RECORD
#undef SL_MSG
#undef SL_FIELD
#undef SL_LIST
#undef SL_END

#define SL_RECORD(name)
#define SL_END_RECORD(name)
#define SL_MSG(id, name, dir) \
	int SL_CAT4(sl_get_, SL_PROTO, _, name)(struct sl_ipc *ipc, sl_slice body, struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{ \
		struct sl_cur c = sl_cur_of(body); \
		(void)ipc; \
		if (SL_CAT4(body_, SL_PROTO, _, name)(&c, m)) \
			return SLUICE_EINVAL;
/* A record with a descriptor would not compile here: its fields expand outside of any function. */
#define SL_FIELD(type, name) CLAIM_##type(name)
#define SL_LIST(record, name)
#define SL_END(name) \
		return 0; \
	}
#define SL_PROTO store
#include "lib/ipc/store.def"
#undef SL_PROTO
#define SL_PROTO control
#include "lib/ipc/control.def"
#undef SL_PROTO
#define SL_PROTO presence
#include "lib/ipc/presence.def"
#undef SL_PROTO
#define SL_PROTO handover
#include "lib/ipc/handover.def"
#undef SL_PROTO
#define SL_PROTO admin
#include "lib/ipc/admin.def"
#undef SL_PROTO
#undef SL_MSG
#undef SL_FIELD
#undef SL_LIST
#undef SL_END

/* -- names and dispatchers -- */
#define SL_FIELD(type, name)
#define SL_LIST(record, name)
#define SL_END(name)

#define SL_MSG(id, name, dir) \
	case (id): \
		return #name;
const char *sl_store_name(uint16_t id)
{
	switch (id) {
#include "lib/ipc/store.def"
	default:
		return "?";
	}
}

const char *sl_control_name(uint16_t id)
{
	switch (id) {
#include "lib/ipc/control.def"
	default:
		return "?";
	}
}

const char *sl_presence_name(uint16_t id)
{
	switch (id) {
#include "lib/ipc/presence.def"
	default:
		return "?";
	}
}

const char *sl_handover_name(uint16_t id)
{
	switch (id) {
#include "lib/ipc/handover.def"
	default:
		return "?";
	}
}

const char *sl_admin_name(uint16_t id)
{
	switch (id) {
#include "lib/ipc/admin.def"
	default:
		return "?";
	}
}
#undef SL_MSG

#define SL_MSG(id, name, dir) \
	case (id): { \
		struct SL_CAT4(sl_, SL_PROTO, _, name) m; \
		if (SL_##dir != to || !h->name || SL_CAT4(sl_get_, SL_PROTO, _, name)(ipc, body, &m)) \
			return SLUICE_EINVAL; \
		return h->name(arg, &m); \
	}
#define SL_PROTO store
int sl_store_dispatch(const struct sl_store_handlers *h, enum sl_direction to, void *arg, struct sl_ipc *ipc, uint16_t id,
                      sl_slice body)
{
	switch (id) {
#include "lib/ipc/store.def"
	default:
		return SLUICE_EINVAL;
	}
}
#undef SL_PROTO
#define SL_PROTO control
int sl_control_dispatch(const struct sl_control_handlers *h, enum sl_direction to, void *arg, struct sl_ipc *ipc, uint16_t id,
                        sl_slice body)
{
	switch (id) {
#include "lib/ipc/control.def"
	default:
		return SLUICE_EINVAL;
	}
}
#undef SL_PROTO
#define SL_PROTO presence
int sl_presence_dispatch(const struct sl_presence_handlers *h, enum sl_direction to, void *arg, struct sl_ipc *ipc, uint16_t id,
                         sl_slice body)
{
	switch (id) {
#include "lib/ipc/presence.def"
	default:
		return SLUICE_EINVAL;
	}
}
#undef SL_PROTO
#define SL_PROTO handover
int sl_handover_dispatch(const struct sl_handover_handlers *h, enum sl_direction to, void *arg, struct sl_ipc *ipc, uint16_t id,
                         sl_slice body)
{
	switch (id) {
#include "lib/ipc/handover.def"
	default:
		return SLUICE_EINVAL;
	}
}
#undef SL_PROTO
#define SL_PROTO admin
int sl_admin_dispatch(const struct sl_admin_handlers *h, enum sl_direction to, void *arg, struct sl_ipc *ipc, uint16_t id,
                         sl_slice body)
{
	switch (id) {
#include "lib/ipc/admin.def"
	default:
		return SLUICE_EINVAL;
	}
}
