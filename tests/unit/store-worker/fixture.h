/*
 * fixture.h - a store-writer in the test's own process: temporary directory, clocks that stand still, clients over
 * socketpairs. Tests only.
 *
 * Every volume has a shadow copy (store-worker/shadow.c); closing compares the two.
 */
#ifndef FIXTURE_H
#define FIXTURE_H

#include "lib/store_reader.h"
#include "store-worker/store.h"
#include "tests/unit/tap.h"

struct client { /* the worker's side of a peer */
	struct sl_ipc ipc;
	uint64_t req;
	bool lost;
	/* of the newest messages */
	struct sl_store_outcome out[64];
	char text[64][160];
	uint8_t digest[64][SL_DIGEST];
	uint32_t n_out;
	uint64_t result_req, n_results;
	struct sl_store_touched touched;
	struct sl_store_watched watched;
	uint64_t n_touched, n_watched, n_notices, n_lives;
	struct { /* in order of arrival */
		uint64_t watch, tail, fill_from, incarnation;
		uint32_t events;
		char bytes[256], marks[64];
		size_t len, n_marks;
	} notice[256], life[256];
	char order[512]; /* r t w n l: kinds of messages as they came */
	size_t n_order;
	uint8_t generation[16];
};

struct fixture {
	struct store *store;
	char dir[64];
	uint64_t wall_ms, mono_ms;
	uint64_t apart_ms; /* between two calls of append() or create(), so that what they write does not share a row */
	struct client c[4];
	int n;
	bool bare;         /* no shadow */
	bool kept;         /* the directory is not removed with the store */
	bool synced;       /* from the next start on: as on a real disk */
	bool shadow_equal; /* whenever it was compared */
	bool damaged;      /* the test has damaged the volume, so it is not checked when it is closed */
};

void fixture_open(struct fixture *, const char *dir); /* dir NULL: a new one */
void fixture_open_bare(struct fixture *);             /* without a shadow */
void fixture_close(struct fixture *);  /* checks that the shadow is equal, and that the directory is sound */
void fixture_kill(struct fixture *);   /* as a crash would leave it: no last batch */
void fixture_reopen(struct fixture *); /* an orderly end and another start on the same directory */
void fixture_remove(const char *dir);
void fixture_turns(struct fixture *, int n);
void fixture_pass(struct fixture *, uint64_t ms); /* both clocks; then until the sweep has done its work */
struct client *fixture_client(struct fixture *);  /* says hello */
void client_end(struct client *);
void client_pump(struct fixture *, struct client *); /* one turn and what it brought */

struct sl_store_op op_of(uint8_t kind, const char *stream);
/* Sends, turns until the answer is there; the first outcome. */
struct sl_store_outcome run(struct fixture *, struct client *, struct sl_store_op);
struct sl_store_outcome run_list(struct fixture *, struct client *, const struct sl_store_op *, uint32_t n);
uint64_t send_ops(struct client *, const struct sl_store_op *, uint32_t n, const int *fds,
                  size_t n_fds); /* request number */
void wait_result(struct fixture *, struct client *, uint64_t req);
struct sl_store_outcome create(struct fixture *, struct client *, const char *stream, const char *type,
                               const char *data);
struct sl_store_outcome append(struct fixture *, struct client *, const char *stream, const char *data);
struct sl_store_outcome produce(struct fixture *, struct client *, const char *stream, const char *id, uint64_t epoch,
                                uint64_t seq, const char *data);
struct sl_store_outcome fork_at(struct fixture *, struct client *, const char *stream, const char *source, int64_t at,
                                uint64_t sub);
struct sl_store_outcome removal(struct fixture *, struct client *, const char *stream);
int memfd(const void *, size_t);
/* The whole stream as a reader sees it, in steps, records separated by '|'; "(status)" when there is none. */
const char *contents(struct fixture *, const char *stream);
int64_t sql_int(struct fixture *, const char *sql);

/* Checks status and reason of an outcome. */
static inline void check_out(struct sl_store_outcome o, int status, uint32_t reason, const char *name, const char *file,
                             int line)
{
	bool good = o.status == status && o.reason == reason;

	tap_ok(good, "outcome", file, line, name);
	if (!good)
		printf("#   got status %d reason %u \"%.*s\", want status %d reason %u\n", o.status, o.reason,
		       (int)o.message.len, o.message.len ? (const char *)o.message.data : "", status, reason);
}
#define is_out(outcome, want_status, want_reason, name) \
	check_out(outcome, want_status, want_reason, name, __FILE__, __LINE__)

/* The shadow was compared; counts in the test's own table of results. */
#define fixture_shadow_ok(f) ok((f)->shadow_equal, "the shadow copy is equal")

#endif
