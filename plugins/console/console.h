/*
 * console.h - what the files of the plugin share. Plugin console: /health, /metrics and the web console. Process: sluice-frontend.
 *
 * Nothing here is the server's state: processes and counters are the host's (host->server), streams the store's. Whatever is shown
 * passes console_may() first; what the page gets is JSON or events, never markup.
 */
#ifndef CONSOLE_H
#define CONSOLE_H

#include <sluice/plugin.h>
#include <stdbool.h>
#include <string.h>
#include <sys/queue.h>

typedef struct sluice_slice slice;
#define SLICE(p, n) ((slice){.data = (p), .len = (n)})
#define STR(s) ((slice){.data = "" s, .len = sizeof(s) - 1})

enum {
	LIST_DEFAULT = 50,
	LIST_MAX = 500,
	VIEW_BYTES = 64 * 1024, /* of a stream's end that are looked at */
	VIEW_MESSAGES = 100,    /* of them that are shown */
	SHOWN_MAX = 8 * 1024,   /* bytes of one message that are shown */
	APPEND_MAX = 64 * 1024,
	TAILS_MAX = 64,         /* live views of a worker at once */
	WAITING_MAX = 1024,     /* requests for /health that wait for the writer */
	TAIL_STEP = 64 * 1024,  /* payload that is read for a live view at once */
	TAIL_UNSENT = 64 * 1024, /* beyond this a live view reads nothing more until its client has taken some */
	KEEPALIVE_MS = 15 * 1000,
	METRICS_MAX = 16 * 1024 * 1024 /* bytes of one answer */
};

/* ---- text.c: growing text; a failure (memory, limit) is remembered and looked at once, at the end ---- */
struct text {
	char *data;
	size_t len, cap, max; /* max 0: as long as memory lasts */
	bool failed;
};
void text_add(struct text *, const void *, size_t);
void text_puts(struct text *, const char *);
void text_again(struct text *, size_t at, size_t n); /* what it has there once more */
void text_addf(struct text *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void text_json(struct text *, slice); /* as a JSON string; what is not UTF-8 becomes U+FFFD */
slice text_slice(const struct text *);
void text_fini(struct text *);
size_t utf8_length(const void *, size_t); /* of the sequence that begins there; 0: none does */
bool utf8_valid(slice);

/* ---- requests ---- */
enum call_kind { CALL_HEALTH, CALL_LIST, CALL_VIEW, CALL_APPEND, CALL_CHANNELS, CALL_TAIL };

#define CALL_MAGIC 0x43436131u
struct call { /* a request that is not answered to its end */
	uint32_t magic;
	enum call_kind kind;
	struct console *p;
	struct sluice_http_req *http;
	struct sluice_req *req;          /* LIST, VIEW, APPEND, TAIL: what is under way */
	struct sluice_chan_req *channel; /* CHANNELS */
	struct sluice_payload *payload;  /* APPEND */
	struct sluice_sub *sub;          /* TAIL */
	uint64_t offset, said_ms;        /* TAIL: goes on from there; said something last */
	uint64_t expires_ms;             /* TAIL: the token, since 1970; 0: never */
	bool more;                       /* TAIL: there is something behind offset */
	TAILQ_ENTRY(call) link;
};

#define CONSOLE_MAGIC 0x436f6e73u
struct console {
	uint32_t magic;
	struct sluice_ctx *ctx;
	const struct sluice_host *host;
	const struct sluice_http *http;
	const struct sluice_store *store;
	const struct sluice_server *server;
	bool page; /* the console, not just /health and /metrics */
	uint64_t health_ms;
	TAILQ_HEAD(calls, call) calls, tails, waiting; /* waiting: for a sign of life, oldest first */
	unsigned n_tails, n_waiting;
	struct sluice_req *ping;
	uint64_t pinged_ms;
	struct sluice_timer *tick, *late; /* keep-alives; the writer does not answer */
	char etag[3][24];                 /* of the files of the page */
	bool draining, drained;
	uint64_t *n_scrapes, *n_unhealthy, *n_tailing;
};

/* console.c */
struct call *call_new(struct console *, struct sluice_http_req *, enum call_kind); /* NULL: it was answered 503 */
struct sluice_http_req *call_free(struct call *); /* the request is the caller's to answer */
void call_gone(void *self, struct sluice_http_req *);
/* Whether who asks may; otherwise the request has been refused. */
bool console_may(struct console *, struct sluice_http_req *, const char *action, slice name);
/* The one value of a parameter; absent: data NULL. false: it is given twice, and the request was answered. */
bool console_query(struct console *, struct sluice_http_req *, const char *name, slice *value);
bool number_parse(slice, uint64_t max, uint64_t *value);

/* answer.c */
void answer_json(struct console *, struct sluice_http_req *, int status, const struct text *); /* failed text: 503 */
void answer_error(struct console *, struct sluice_http_req *, int status, const char *why);
void answer_trouble(struct console *, struct sluice_http_req *, int status); /* SLUICE_E* of the host */

/* page.c */
void page_init(struct console *);
void page_request(void *self, struct sluice_http_req *);
void page_redirect(void *self, struct sluice_http_req *);

/* health.c */
void health_request(void *self, struct sluice_http_req *);
void health_fini(struct console *);
int health_init(struct console *);

/* metrics.c, status.c */
void metrics_request(void *self, struct sluice_http_req *);
void status_request(void *self, struct sluice_http_req *);
void channels_request(void *self, struct sluice_http_req *);

/* streams.c: the list; view.c: one of them; append.c; tail.c: live */
void streams_request(void *self, struct sluice_http_req *);
void view_request(void *self, struct sluice_http_req *);
void append_request(void *self, struct sluice_http_req *);
void tail_request(void *self, struct sluice_http_req *);
void tail_pull(void *self, struct sluice_http_req *, size_t room);
void tail_tick(struct console *);
void tail_end(struct call *);

/* message.c: what was read, as messages */
struct message {
	const char *data;
	size_t len;
	bool begun_before, goes_on; /* its beginning, its end is missing */
};
/* Calls fn for each message of the step; returns how many there are. fn NULL: only counts. */
size_t messages_each(const struct sluice_read_result *, void (*fn)(void *arg, const struct message *), void *arg);
void message_json(struct text *, const struct message *);

#endif
