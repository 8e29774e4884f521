/*
 * test_cache.c - what the writer remembers of streams and producers has bounds in bytes, and what it has forgotten it finds again. Tests
 * only.
 */
#include <stdio.h>

#include "tests/unit/store-worker/fixture.h"

enum { LIST = 16, SHORT = 64, LONG = 4000 };

static struct fixture f;
static struct client *c;

/* A text that is as long as they may be, and another one for every n. */
static const char *long_text(unsigned n, char text[LONG + 1])
{
	memset(text, 'x', LONG);
	snprintf(text, 16, "%08u", n);
	text[8] = 'x';
	text[LONG] = '\0';
	return text;
}

/* n operations, in lists; returns how many succeeded. */
static unsigned many(unsigned n, void (*fill)(struct sl_store_op *, const char *text))
{
	static char text[LIST][LONG + 1];
	struct sl_store_op op[LIST];
	unsigned good = 0;

	for (unsigned done = 0; done < n; done += LIST) {
		for (unsigned i = 0; i < LIST; i++)
			fill(&op[i], long_text(done + i, text[i]));
		good += run_list(&f, c, op, LIST).status == SLUICE_OK ? LIST : 0;
	}
	return good;
}

static void stream_make(struct sl_store_op *op, const char *text)
{
	*op = op_of(SLUICE_OP_CREATE, text);
	op->content_type = SL_STR("text/plain");
}

static void producer_append(struct sl_store_op *op, const char *text)
{
	*op = op_of(SLUICE_OP_APPEND, "s");
	op->flags = SLUICE_A_PRODUCER;
	op->producer = sl_slice_str(text);
	op->data = SL_STR("x");
}

static void test_streams(void)
{
	const struct volume *v = &f.store->volume;
	unsigned n = STORE_STREAMS_BYTES / LONG / LIST * LIST, gone = 0;
	char text[LONG + 1];

	is_int(many(n, stream_make), n, "streams with long names are made");
	ok(v->stream_bytes > STORE_STREAMS_BYTES / 2 && v->stream_bytes <= STORE_STREAMS_BYTES,
	   "what is remembered keeps its bound");
	ok(v->by_id.n < n, "so not all are");
	is_int(append(&f, c, long_text(0, text), "data").status, SLUICE_OK, "one that was forgotten is found again");
	for (unsigned i = 0; i < 100; i++)
		gone += removal(&f, c, long_text(n - 1 - i, text)).status == SLUICE_OK;
	is_int(gone, 100, "some are removed");
	fixture_pass(&f, 3600 * 1000);
	ok(v->stream_bytes <= STORE_STREAMS_BYTES, "which is no less true");
}

static void test_producers(void)
{
	const struct volume *v = &f.store->volume;
	unsigned n = STORE_PRODUCERS_BYTES / LONG / LIST * LIST + LIST;
	char text[LONG + 1];

	is_int(create(&f, c, "s", "text/plain", "").status, SLUICE_OK, "a stream");
	is_int(many(n, producer_append), n, "producers with long ids append");
	ok(v->producer_bytes > STORE_PRODUCERS_BYTES / 2 && v->producer_bytes <= STORE_PRODUCERS_BYTES,
	   "what is remembered keeps its bound");
	ok(v->producers.n < n, "so not all are");
	ok(produce(&f, c, "s", long_text(0, text), 0, 0, "x").flags & SLUICE_R_DUPLICATE,
	   "a repetition of one that was forgotten is known for one");
}

/* Whose stream has gone is not remembered until others need the room. */
static void test_gone(void)
{
	const struct volume *v = &f.store->volume;
	size_t streams = v->by_id.n, producers = v->producers.n;
	char name[24];

	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "short-%d", i);
		create(&f, c, name, "text/plain", "");
		produce(&f, c, name, "p", 0, 0, "x");
		produce(&f, c, name, "q", 0, 0, "x");
	}
	is_int(v->producers.n, producers + 100, "producers of short lives are remembered");
	for (int i = 0; i < 50; i++) {
		snprintf(name, sizeof name, "short-%d", i);
		removal(&f, c, name);
	}
	fixture_pass(&f, 3600 * 1000);
	is_int(v->by_id.n, streams, "until their streams");
	is_int(v->producers.n, producers, "have been removed");
}

/* A list of operations of one kind, on as many streams as an answer to a test has room for. */
static uint64_t on_each(uint8_t kind, int first, const char *data)
{
	static char name[SHORT][24];
	struct sl_store_op op[SHORT];

	for (int i = 0; i < SHORT; i++) {
		snprintf(name[i], sizeof name[i], "gather-%d", first + i);
		op[i] = op_of(kind, name[i]);
		op[i].content_type = SL_STR("text/plain");
		op[i].data = sl_slice_str(data);
	}
	return send_ops(c, op, SHORT, NULL, 0);
}

/* Each stream of a batch gathers its records in a buffer that is used again: first by many, then by one after the other for much. */
static void test_gathers(void)
{
	static char much[STORE_CHUNK_BYTES - 1024];
	const struct volume *v = &f.store->volume;
	uint64_t req = 0;
	int good = 0;

	memset(much, 'x', sizeof much - 1);
	for (uint8_t kind = SLUICE_OP_CREATE; kind <= SLUICE_OP_APPEND; kind++) {
		for (unsigned i = 0; i < STORE_GATHERS_POOLED; i += SHORT)
			req = on_each(kind, (int)i, kind == SLUICE_OP_CREATE ? "" : "little");
		wait_result(&f, c, req);
	}
	is_int(v->pooled, STORE_GATHERS_POOLED, "a buffer for each stream of a batch");
	for (unsigned i = 0; i < 2 * STORE_GATHERS_POOLED; i++)
		good += append(&f, c, "gather-0", much).status == SLUICE_OK;
	is_int(good, 2 * STORE_GATHERS_POOLED, "large records are appended");
	ok(v->pool_bytes > STORE_GATHERS_BYTES / 2 && v->pool_bytes <= STORE_GATHERS_BYTES,
	   "what is at rest keeps its bound");
}

int main(void)
{
	fixture_open_bare(&f);
	c = fixture_client(&f);
	test_gone();
	test_gathers();
	test_streams();
	test_producers();
	fixture_close(&f);
	return tap_done();
}
