/*
 * test_msg.c - one sample of every message: its exact bytes (messages.golden), back again, cut off anywhere, in the wrong direction.
 *
 * Everything is generated from the .def files, so a new message is tested by being there. After a change on purpose:
 * SLUICE_GOLDEN=write, and read the difference.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "lib/msg.h"
#include "tests/unit/tap.h"

enum { RECORDS = 2, TEXT_MAX = 1 << 16 };

static unsigned sample; /* makes every field's value another one */
static int sample_fd = -1;
static char texts[64][16];
static char golden[TEXT_MAX], written[TEXT_MAX];

static sl_slice sample_text(void)
{
	char *t = texts[sample % 64];

	snprintf(t, sizeof texts[0], "text%u", sample++);
	return sl_slice_str(t);
}

#define SAMPLE_u8 (uint8_t)(0x10 + sample++)
#define SAMPLE_u16 (uint16_t)(0x1100 + sample++)
#define SAMPLE_u32 (uint32_t)(0x33220000 + sample++)
#define SAMPLE_u64 (UINT64_C(0x8877665500000000) + sample++)
#define SAMPLE_i32 (int32_t)(-1000 - (int32_t)sample++)
#define SAMPLE_i64 (int64_t)(-1000 - (int64_t)sample++)
#define SAMPLE_str sample_text()
#define SAMPLE_bytes sample_text()
#define SAMPLE_fd sample_fd

/* A handler owns the descriptors it is given. */
#define DROP_u8(v)
#define DROP_u16(v)
#define DROP_u32(v)
#define DROP_u64(v)
#define DROP_i32(v)
#define DROP_i64(v)
#define DROP_str(v)
#define DROP_bytes(v)
#define DROP_fd(v) fd = v;

/* -- samples -- */
#define SL_RECORD(name) static void SL_CAT4(sample_, SL_PROTO, _, name)(struct SL_CAT4(sl_, SL_PROTO, _, name) *m) {
#define SL_END_RECORD(name) }
#define SL_MSG(id, name, dir) static void SL_CAT4(sample_, SL_PROTO, _, name)(struct SL_CAT4(sl_, SL_PROTO, _, name) *m) { (void)m;
#define SL_FIELD(type, name) m->name = SAMPLE_##type;
#define SL_LIST(record, name) \
		static struct SL_CAT4(sl_, SL_PROTO, _, record) name[RECORDS]; \
		for (int i = 0; i < RECORDS; i++) \
			SL_CAT4(sample_, SL_PROTO, _, record)(&name[i]); \
		m->name = (struct sl_list){.n = RECORDS, .v = name};
#define SL_END(name) }
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

/* -- handlers: encode again what was decoded -- */
#define SL_RECORD(name)
#define SL_END_RECORD(name)
#define SL_MSG(id, name, dir) \
	static int SL_CAT4(got_, SL_PROTO, _, name)(void *arg, const struct SL_CAT4(sl_, SL_PROTO, _, name) *got) \
	{ \
		struct SL_CAT4(sl_, SL_PROTO, _, name) again = *got, *m = &again; \
		int rc = 0, fd = -1;
#define SL_FIELD(type, name) DROP_##type(m->name)
#define SL_LIST(record, name) \
		struct SL_CAT4(sl_, SL_PROTO, _, record) name[RECORDS]; \
		if (m->name.n != RECORDS) \
			return 77; \
		for (int i = 0; i < RECORDS; i++) \
			rc |= SL_CAT4(sl_next_, SL_PROTO, _, record)(&m->name.cur, &name[i]); \
		m->name.v = name;
#define SL_END(name) \
		rc = rc ? 77 : SL_AGAIN(name)(arg, m); \
		if (fd >= 0) \
			close(fd); \
		return rc; \
	}
#define SL_AGAIN(name) SL_CAT4(sl_put_, SL_PROTO, _, name)
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

#define SL_FIELD(type, name)
#define SL_LIST(record, name)
#define SL_END(name)
#define SL_MSG(id, name, dir) .name = SL_CAT4(got_, SL_PROTO, _, name),
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
#undef SL_PROTO
#undef SL_MSG

static const struct sl_store_handlers no_store_handlers;
static const struct sl_control_handlers no_control_handlers;
static const struct sl_presence_handlers no_presence_handlers;
static const struct sl_handover_handlers no_handover_handlers;
static const struct sl_admin_handlers no_admin_handlers;

/* Which protocol a frame belongs to, so that one test serves all. */
struct proto {
	const char *name;
	const char *(*message)(uint16_t id);
	int (*dispatch)(bool handled, enum sl_direction, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body);
};

static int dispatch_store(bool handled, enum sl_direction dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return sl_store_dispatch(handled ? &store_handlers : &no_store_handlers, dir, again, from, id, body);
}

static int dispatch_control(bool handled, enum sl_direction dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return sl_control_dispatch(handled ? &control_handlers : &no_control_handlers, dir, again, from, id, body);
}

static int dispatch_presence(bool handled, enum sl_direction dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return sl_presence_dispatch(handled ? &presence_handlers : &no_presence_handlers, dir, again, from, id, body);
}

static int dispatch_handover(bool handled, enum sl_direction dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return sl_handover_dispatch(handled ? &handover_handlers : &no_handover_handlers, dir, again, from, id, body);
}

static int dispatch_admin(bool handled, enum sl_direction dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return sl_admin_dispatch(handled ? &admin_handlers : &no_admin_handlers, dir, again, from, id, body);
}

static int dispatch(const struct proto *p, bool handled, int dir, struct sl_ipc *again, struct sl_ipc *from, uint16_t id, sl_slice body)
{
	return p->dispatch(handled, (enum sl_direction)dir, again, from, id, body);
}

/* Compares with the line of the golden file that begins with the same words. */
static void check_golden(const char *proto, const char *name, sl_slice frame)
{
	char line[8192];
	size_t at = (size_t)snprintf(line, sizeof line, "%s %s ", proto, name), head = at;
	const char *found;
	char first;

	for (size_t i = 0; i < frame.len && at < sizeof line - 3; i++)
		at += (size_t)snprintf(line + at, sizeof line - at, "%02x", ((const uint8_t *)frame.data)[i]);
	line[at++] = '\n';
	line[at] = '\0';
	snprintf(written + strlen(written), sizeof written - strlen(written), "%s", line);
	/* With the space behind the name, which may be the beginning of another one. */
	first = line[head];
	line[head] = '\0';
	for (found = golden; (found = strstr(found, line)) && found != golden && found[-1] != '\n'; found++)
		;
	line[head] = first;
	ok(found && strncmp(found, line, at) == 0, "the exact bytes");
}

static void check_refusals(const struct proto *p, const char *name, int dir, uint16_t id, sl_slice body, bool has_fd)
{
	struct sl_ipc none;
	char longer[8192];
	int bad = 0;

	sl_ipc_init(&none, -1);
	for (size_t n = 0; n < body.len; n++) {
		/* On the heap, so that a read behind the end is seen by the sanitizer. */
		uint8_t *cut = malloc(n ? n : 1);

		if (n)
			memcpy(cut, body.data, n);
		bad += dispatch(p, true, dir, &none, &none, id, SL_SLICE(cut, n)) != SLUICE_EINVAL;
		free(cut);
	}
	is_int(bad, 0, "every cut is refused");
	memcpy(longer, body.data, body.len);
	longer[body.len] = 0;
	is_int(dispatch(p, true, dir, &none, &none, id, SL_SLICE(longer, body.len + 1)), SLUICE_EINVAL, "a byte too many is refused");
	for (int d = SL_TO_WRITER; d <= SL_TO_CTL; d++)
		bad += d != dir && dispatch(p, true, d, &none, &none, id, body) != SLUICE_EINVAL;
	is_int(bad, 0, "the wrong direction is refused");
	is_int(dispatch(p, false, dir, &none, &none, id, body), SLUICE_EINVAL, "no handler: refused");
	if (has_fd)
		is_int(dispatch(p, true, dir, &none, &none, id, body), SLUICE_EINVAL, "no descriptor: refused");
	printf("# %s %s\n", p->name, name);
	sl_ipc_fini(&none);
}

/* Through a socket and back. */
static void check_travel(const struct proto *p, int dir, uint16_t id, struct sl_ipc *out, sl_slice frame)
{
	struct sl_ipc in, again;
	int fd[2];
	uint16_t got = 0;
	sl_slice body = {0};
	char copy[8192];
	size_t n = frame.len;

	memcpy(copy, frame.data, n);
	ok(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fd) == 0, "a pair");
	out->fd = fd[0];
	sl_ipc_init(&in, fd[1]);
	sl_ipc_init(&again, -1);
	ok(sl_ipc_flush(out) == 0 && sl_ipc_fill(&in) == 0 && sl_ipc_next(&in, &got, &body) == 1 && got == id, "it arrives");
	is_int(dispatch(p, true, dir, &again, &in, got, body), 0, "is understood");
	frame = sl_buf_slice(&again.out);
	ok(frame.len == n && memcmp(frame.data, copy, n) == 0, "and says the same");
	sl_ipc_fini(&in);
	sl_ipc_fini(&again);
}

static void check(const struct proto *p, const char *name, int dir, uint16_t id, struct sl_ipc *out, int rc)
{
	sl_slice frame = sl_buf_slice(&out->out);
	bool has_fd = out->n_out_fd > 0;

	is_int(rc, 0, "encoded");
	is_str(p->message(id), name, "its name");
	check_golden(p->name, name, frame);
	check_refusals(p, name, dir, id, SL_SLICE((const uint8_t *)frame.data + 6, frame.len - 6), has_fd);
	check_travel(p, dir, id, out, frame);
	sl_ipc_fini(out);
}

#define SL_MSG(id, name, dir) \
	{ \
		struct SL_CAT4(sl_, SL_PROTO, _, name) m; \
		struct sl_ipc out; \
		int rc; \
		sample = 0; \
		sl_ipc_init(&out, -1); \
		SL_CAT4(sample_, SL_PROTO, _, name)(&m); \
		rc = SL_AGAIN(name)(&out, &m); \
		check(&proto, #name, SL_##dir, id, &out, rc); \
	}
static void test_store(void)
{
	static const struct proto proto = {"store", sl_store_name, dispatch_store};
#define SL_PROTO store
#include "lib/ipc/store.def"
#undef SL_PROTO
}

static void test_control(void)
{
	static const struct proto proto = {"control", sl_control_name, dispatch_control};
#define SL_PROTO control
#include "lib/ipc/control.def"
#undef SL_PROTO
}

static void test_presence(void)
{
	static const struct proto proto = {"presence", sl_presence_name, dispatch_presence};
#define SL_PROTO presence
#include "lib/ipc/presence.def"
#undef SL_PROTO
}

static void test_handover(void)
{
	static const struct proto proto = {"handover", sl_handover_name, dispatch_handover};
#define SL_PROTO handover
#include "lib/ipc/handover.def"
#undef SL_PROTO
}

static void test_admin(void)
{
	static const struct proto proto = {"admin", sl_admin_name, dispatch_admin};
#define SL_PROTO admin
#include "lib/ipc/admin.def"
#undef SL_PROTO
}

static void test_counts(void)
{
	struct sl_ipc none;
	const uint8_t many[] = {1, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff};
	const uint8_t nul[] = {1, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 'x'};

	sl_ipc_init(&none, -1);
	is_int(sl_store_dispatch(&store_handlers, SL_TO_WRITER, &none, &none, SL_STORE_submit, SL_SLICE(many, sizeof many)), SLUICE_EINVAL,
	       "a count beyond what is there");
	is_int(sl_store_dispatch(&store_handlers, SL_TO_WRITER, &none, &none, SL_STORE_hello, SL_SLICE(nul, sizeof nul)), SLUICE_EINVAL,
	       "NUL inside a string");
	is_int(sl_store_dispatch(&store_handlers, SL_TO_WRITER, &none, &none, 0x7777, SL_SLICE(many, 0)), SLUICE_EINVAL, "an unknown id");
	is_str(sl_store_name(0x7777), "?", "has no name");
	sl_ipc_fini(&none);
}

/* A buffer of the usual size is kept for the next turn, a larger one is given back. */
static void test_kept(void)
{
	static const uint8_t bytes[300 * 1024];
	struct sl_store_touch small = {.req = 1};
	struct sl_store_notice large = {.fill = SL_SLICE(bytes, sizeof bytes), .fill_marks = SL_STR("")};
	struct sl_ipc from, to;
	int pair[2];
	uint16_t id;
	sl_slice body;

	if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, pair)) {
		ok(false, "a socket pair");
		return;
	}
	sl_ipc_init(&from, pair[0]);
	sl_ipc_init(&to, pair[1]);
	for (int i = 0; i < 2; i++) {
		int got = 0;

		is_int(i ? sl_put_store_notice(&from, &large) : sl_put_store_touch(&from, &small), 0, "a frame is queued");
		while (got == 0 && sl_ipc_flush(&from) == 0 && sl_ipc_fill(&to) == 0)
			got = sl_ipc_next(&to, &id, &body);
		ok(got == 1 && sl_ipc_queued(&from) == 0, "and arrives");
		is_int(sl_ipc_next(&to, &id, &body), 0, "it is the only one");
		ok((from.out.data == NULL) == (i == 1), "the usual size is kept, more is given back");
		ok((to.in.data == NULL) == (i == 1), "on both sides");
	}
	sl_ipc_fini(&from);
	sl_ipc_fini(&to);
}

int main(void)
{
	const char *dir = getenv("top_srcdir"), *mode = getenv("SLUICE_GOLDEN");
	char path[4096];
	FILE *file;

	snprintf(path, sizeof path, "%s/tests/unit/lib/messages.golden", dir ? dir : ".");
	file = fopen(path, "r");
	if (file) {
		golden[fread(golden, 1, sizeof golden - 1, file)] = '\0';
		fclose(file);
	}
	sample_fd = memfd_create("sample", MFD_CLOEXEC);
	test_store();
	test_control();
	test_presence();
	test_handover();
	test_admin();
	test_counts();
	test_kept();
	ok(strcmp(golden, written) == 0, "the golden file has these messages and no others");
	if (mode && strcmp(mode, "write") == 0 && (file = fopen(path, "w"))) {
		fputs(written, file);
		fclose(file);
	}
	close(sample_fd);
	return tap_done();
}
