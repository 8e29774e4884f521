/*
 * fake_host.h - an in-memory host for unit tests of plugins: loop with a manual clock, store, HTTP engine. Tests only.
 *
 * Nothing happens by itself: fake_turn() runs what the plugin has caused until nothing is left, fake_advance() moves the clock. Every
 * call of the host that can fail may be made to (fail_at). One fake hosts one plugin instance.
 */
#ifndef FAKE_HOST_H
#define FAKE_HOST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/queue.h>

#include "sluice/plugin.h"

enum {
	FAKE_LOW = 64 * 1024, /* an answer with less than this unsent is pulled */
	FAKE_HIGH = 192 * 1024
};

struct fake_bytes {
	uint8_t *data; /* NUL-terminated behind len, for printing */
	size_t len, cap;
};

struct sluice_conf {
	const struct sluice_option *table;
	struct {
		const char *key, *value;
	} set[32];
	size_t n_set;
	struct sluice_conf *list; /* elements of the one list option that is in use */
	const char *list_key;
	size_t n_list;
};

struct fake_record {
	uint64_t end;
	struct fake_bytes data;
	uint32_t *message; /* lengths */
	size_t n_message;
};
struct fake_producer {
	struct fake_producer *next;
	char *id;
	uint64_t epoch, seq;
};
struct fake_stream {
	struct fake_stream *next;
	char *name, *type, *seq, *fork_of;
	uint64_t incarnation, tail, earliest, created_ms, ttl_s, expires_ms, fork_at, fork_sub;
	uint32_t flags; /* SLUICE_R_CLOSED, _TTL, _EXPIRES */
	bool soft, has_fork_at;
	struct fake_record *record;
	size_t n_record;
	struct fake_producer *producers;
	char *closer; /* "id epoch seq" of the tuple that closed it */
	struct { /* id 0: none */
		uint64_t id, at, pos;
		char *type;
		struct fake_bytes data;
		uint8_t digest[32];
	} snapshot;
};

struct fake_metric {
	uint32_t kind;
	const char *name, *mount, *help;
	uint64_t value;
	struct sluice_bucket bucket[4];
	uint32_t n_bucket, scale;
};
struct fake_process {
	uint32_t kind;
	const char *name, *frontend, *state;
	uint32_t pid, generation;
	struct fake_metric metric[8];
	size_t n_metric;
};

struct sluice_http_req {
	TAILQ_ENTRY(sluice_http_req) link;
	struct sluice_ctx *f;
	struct sluice_route route;
	char *method, *path, *target, *text; /* text: owns names and values */
	struct sluice_header header[32], query[16];
	size_t n_header, n_query;
	struct sluice_payload *payload;
	void *slot;
	/* the answer */
	int status;
	struct sluice_header answer[40]; /* owned copies */
	size_t n_answer;
	int64_t length;
	struct fake_bytes body;
	size_t taken; /* by the client */
	bool slow;    /* takes nothing by itself: fake_take() */
	bool gzip, responded, ended, reset, gone, dead, want_pull;
	unsigned pulls, shared_writes;
	int wrong; /* broken rules, as seen by the engine */
};

struct sluice_ctx {
	const struct sluice_plugin *plugin;
	void *self;
	struct sluice_conf conf;
	uint64_t now, wall;
	/* HTTP */
	struct sluice_route route[32];
	size_t n_route;
	struct sluice_header defaults[16];
	size_t n_defaults;
	TAILQ_HEAD(, sluice_http_req) https;
	const char *mount, *deny; /* deny: names with this prefix may not be read */
	/* store */
	struct fake_stream *streams;
	uint64_t next_incarnation, next_snapshot;
	TAILQ_HEAD(, sluice_req) reqs;
	TAILQ_HEAD(, sluice_sub) subs;
	size_t step;       /* bytes of one read step */
	bool full;         /* submit answers EAGAIN */
	bool hold;         /* the writer does not answer: submits stay queued */
	bool hold_reads;   /* reads stay queued: a stream with a TTL is asked for at the writer first */
	bool hold_watches; /* neither does it register watches */
	int submit_status; /* not 0: what every operation is answered with */
	uint32_t submit_reason;
	int read_status;
	struct sluice_retention_rule rule[8];
	size_t n_rule;
	int ping_status;   /* what the writer's sign of life is; SLUICE_EBUSY: there is no writer */
	int channels;      /* presence channels that there are; -1: no presence */
	struct fake_process process[8];
	size_t n_process;
	void (*room)(void *);
	void *room_arg;
	/* loop */
	TAILQ_HEAD(, sluice_timer) timers;
	TAILQ_HEAD(, fake_defer) defers;
	bool drained, failed;
	int conf_errors;
	/* accounting: all must be 0 at the end */
	size_t n_bufs, n_payloads, n_reqs, n_subs, n_timers;
	TAILQ_HEAD(, sluice_chan_sub) chan_subs;
	/* failure */
	unsigned calls, fail_at;
	uint64_t cells[64];
	char cell_name[64][40];
	size_t n_cells;
};
typedef struct sluice_ctx fake;

/* configure() and start(); NULL when one of them failed. settings: "key=value" ..., NULL. */
fake *fake_new(const struct sluice_plugin *, const char *const *settings);
/* stop(), and the accounting: returns the number of leaked objects. */
size_t fake_free(fake *);
void fake_turn(fake *);
void fake_advance(fake *, uint64_t ms); /* in steps of 100 ms, with turns between */
uint64_t fake_cell(const fake *, const char *name);

/* target: below the mount, with a query. headers: "name: value" ..., NULL. body NULL: none. The request is not run yet. */
struct sluice_http_req *fake_http(fake *, const char *method, const char *target, const char *const *headers,
                                  const char *body, size_t body_len);
const char *fake_header(const struct sluice_http_req *, const char *name); /* of the answer; NULL: absent */
void fake_take(struct sluice_http_req *, size_t n);                        /* a slow client takes n bytes */
void fake_leave(struct sluice_http_req *);                                 /* the client goes */
void fake_http_free(struct sluice_http_req *);
bool fake_open(const struct sluice_http_req *); /* the answer has not ended */

struct fake_stream *fake_stream(fake *, const char *name);
void fake_trim(fake *, const char *name, uint64_t to);
void fake_remove(fake *, const char *name, bool soft); /* and tells the watchers */
void fake_room(fake *);                                /* the queue has room again */

extern unsigned fake_allocating; /* not 0: malloc() is called by the fake itself */
void *fake_malloc(size_t);
void *fake_calloc(size_t, size_t);
void *fake_realloc(void *, size_t);
bool fake_fails(fake *);
void fake_bytes_add(struct fake_bytes *, const void *, size_t);

extern int fake_who; /* SLUICE_WHO_*: what became of the token of every request */
extern const struct sluice_host fake_host_table;
extern const struct sluice_store fake_store_table;
extern const struct sluice_http fake_http_table;
extern const struct sluice_server fake_server_table;
extern const struct sluice_ephemeral fake_ephemeral_table; /* what the stock plugins use of it */
void fake_channels_end(fake *, bool lost); /* TERMINATE to every subscription */
extern uint64_t fake_expires; /* of every request's token; 0: never */
void fake_store_turn(fake *, bool *busy);
void fake_http_turn(fake *, bool *busy);
void fake_store_fini(fake *);
struct sluice_payload *fake_payload(fake *, const void *, size_t);
struct fake_bytes *fake_payload_bytes(struct sluice_payload *);
void fake_payload_free(struct sluice_payload *);
char *fake_dup(const void *, size_t);

struct sluice_buf {
	fake *f;
	unsigned refs;
	struct fake_bytes bytes;
};

#endif
