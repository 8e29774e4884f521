/*
 * seen.h - a worker whose plugin uses the store table, at a fake writer and reader, and what the plugin has seen. Tests only.
 */
#ifndef SEEN_H
#define SEEN_H

#include "tests/unit/frontend/fake.h"
#include "tests/unit/tap.h"

static struct worker *w;
static struct sluice_ctx *ctx;
static const struct sluice_store *store = &store_table;

static struct {
	int done, status, room;
	uint32_t reason;
	uint64_t tail;
	int reads, list_n, list_more, lists;
	struct sluice_read_result read;
	char data[256], type[64], names[256];
	char order[64];
} seen;

static inline void note(char c)
{
	size_t n = strlen(seen.order);

	if (n + 1 < sizeof seen.order)
		seen.order[n] = c;
}

static inline void on_done(void *arg, const struct sluice_result *r, size_t n)
{
	(void)arg;
	note('d');
	seen.done += (int)n;
	seen.status = r->status;
	seen.reason = r->reason;
	seen.tail = r->tail;
}

static inline void on_read(void *arg, const struct sluice_read_result *r)
{
	(void)arg;
	note('r');
	seen.reads++;
	seen.read = *r;
	snprintf(seen.data, sizeof seen.data, "%.*s", (int)r->data.len, r->data.data ? (const char *)r->data.data : "");
	snprintf(seen.type, sizeof seen.type, "%.*s", (int)r->content_type.len,
	         r->content_type.data ? (const char *)r->content_type.data : "");
}

static inline void on_list(void *arg, int status, const struct sluice_list_entry *e, size_t n, int more)
{
	(void)arg;
	seen.lists++;
	seen.status = status;
	seen.list_n = (int)n;
	seen.list_more = more;
	for (size_t i = 0; i < n; i++) {
		size_t at = strlen(seen.names);

		snprintf(seen.names + at, sizeof seen.names - at, "%.*s=%.*s ", (int)e[i].stream.len,
		         (const char *)e[i].stream.data, (int)e[i].content_type.len,
		         (const char *)e[i].content_type.data);
	}
}

static inline void on_room(void *arg)
{
	(void)arg;
	seen.room++;
}

static inline void begin(void)
{
	memset(&seen, 0, sizeof seen);
	fake_begin_status = 0;
	fake_step_max = SL_READ_STEP;
	fake_forget();
	w = fake_worker();
	ctx = fake_instance(w, "test", "");
	fake_writer_start(w);
	fake_writer_welcome(w, 'a');
	fake_forget();
}

static inline void end(void)
{
	fake_worker_free(w);
	is_int(fake_open, 0, "the reader is closed");
	is_int(fake_begins, fake_ends, "every transaction ended");
}

static inline struct sluice_op op_of(uint32_t kind, const char *stream, const char *data)
{
	return (struct sluice_op){.size = sizeof(struct sluice_op),
	                          .kind = kind,
	                          .stream = sl_slice_str(stream),
	                          .data = sl_slice_str(data)};
}

static inline int read_from(const char *stream, uint64_t from, uint64_t budget, uint32_t flags)
{
	struct sluice_read rd = {
		.size = sizeof rd, .flags = flags, .stream = sl_slice_str(stream), .from = from, .budget = budget};

	return store->read(ctx, &rd, on_read, NULL, NULL);
}

#endif
