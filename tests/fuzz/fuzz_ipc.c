/*
 * fuzz_ipc.c - fuzz target: frames as any process of the family may send them, through framing, decoding and
 * dispatch. Tests only.
 *
 * The first byte chooses table and direction, the rest is what arrives on the socket. Every field that a handler
 * could look at is read to its end, every list is walked: a decoder that lets through what is out of bounds is found
 * out here.
 */
#include <stdlib.h>
#include <unistd.h>

#include "lib/msg.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static volatile uint64_t seen;

static inline void touch_number(uint64_t v)
{
	seen += v;
}

static inline void touch_bytes(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0; i < s.len; i++)
		seen += p[i];
}

static inline void touch_descriptor(int fd)
{
	if (fd >= 0)
		close(fd);
}

#define touch_u8(v) touch_number(v)
#define touch_u16(v) touch_number(v)
#define touch_u32(v) touch_number(v)
#define touch_u64(v) touch_number(v)
#define touch_i32(v) touch_number((uint64_t)(v))
#define touch_i64(v) touch_number((uint64_t)(v))
#define touch_str(v) touch_bytes(v)
#define touch_fd(v) touch_descriptor(v)

/* clang-format off */
/* -- a function for each record and message, which touches each field -- */
#define SL_RECORD(name) \
	static inline void SL_CAT4(record_, SL_PROTO, _, name)(const struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{
#define SL_END_RECORD(name) }
#define SL_MSG(id, name, dir) \
	static int SL_CAT4(on_, SL_PROTO, _, name)(void *arg, const struct SL_CAT4(sl_, SL_PROTO, _, name) *m) \
	{ \
		(void)arg, (void)m;
#define SL_FIELD(type, name) touch_##type(m->name);
#define SL_LIST(record, name) \
	{ \
		struct sl_cur cur = m->name.cur; \
		struct SL_CAT4(sl_, SL_PROTO, _, record) r; \
		for (uint32_t i = 0; i < m->name.n; i++) { \
			if (SL_CAT4(sl_next_, SL_PROTO, _, record)(&cur, &r)) \
				abort(); /* the decoder has said that the list is good */ \
			SL_CAT4(record_, SL_PROTO, _, record)(&r); \
		} \
	}
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
#undef SL_RECORD
#undef SL_END_RECORD
#undef SL_MSG
#undef SL_FIELD
#undef SL_LIST
#undef SL_END

#define SL_RECORD(name)
#define SL_END_RECORD(name)
#define SL_MSG(id, name, dir) .name = SL_CAT4(on_, SL_PROTO, _, name),
#define SL_FIELD(type, name)
#define SL_LIST(record, name)
#define SL_END(name)
#define SL_PROTO store
static const struct sl_store_handlers store_handlers = {
#include "lib/ipc/store.def"
};
#undef SL_PROTO
#define SL_PROTO control
static const struct sl_control_handlers control_handlers = {
#include "lib/ipc/control.def"
};
#undef SL_PROTO
#define SL_PROTO presence
static const struct sl_presence_handlers presence_handlers = {
#include "lib/ipc/presence.def"
};
#undef SL_PROTO
#define SL_PROTO handover
static const struct sl_handover_handlers handover_handlers = {
#include "lib/ipc/handover.def"
};
#undef SL_PROTO
#define SL_PROTO admin
static const struct sl_admin_handlers admin_handlers = {
#include "lib/ipc/admin.def"
};
/* clang-format on */

static int dispatch(uint8_t to, struct sl_ipc *ipc, uint16_t id, sl_slice body)
{
	switch (to % 10) {
	case 0:
		return sl_store_dispatch(&store_handlers, SL_TO_FRONT, NULL, ipc, id, body);
	case 1:
		return sl_store_dispatch(&store_handlers, SL_TO_WRITER, NULL, ipc, id, body);
	case 2:
		return sl_control_dispatch(&control_handlers, SL_TO_SUPERVISOR, NULL, ipc, id, body);
	case 3:
		return sl_control_dispatch(&control_handlers, SL_TO_CHILD, NULL, ipc, id, body);
	case 4:
		return sl_presence_dispatch(&presence_handlers, SL_TO_MEMBER, NULL, ipc, id, body);
	case 5:
		return sl_presence_dispatch(&presence_handlers, SL_TO_REGISTRY, NULL, ipc, id, body);
	case 6:
		return sl_handover_dispatch(&handover_handlers, SL_TO_SUCCESSOR, NULL, ipc, id, body);
	case 7:
		return sl_handover_dispatch(&handover_handlers, SL_TO_PREDECESSOR, NULL, ipc, id, body);
	case 8:
		return sl_admin_dispatch(&admin_handlers, SL_TO_SERVER, NULL, ipc, id, body);
	default:
		return sl_admin_dispatch(&admin_handlers, SL_TO_CTL, NULL, ipc, id, body);
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sl_ipc ipc;
	uint16_t id;
	sl_slice body;

	if (n == 0)
		return 0;
	sl_ipc_init(&ipc, -1);
	if (sl_buf_add(&ipc.in, data + 1, n - 1) == 0)
		while (sl_ipc_next(&ipc, &id, &body) == 1)
			if (dispatch(data[0], &ipc, id, body))
				break; /* the peer is ended */
	sl_ipc_fini(&ipc);
	return 0;
}
