/*
 * harness.h - an HTTP engine in the test's own process, with a plugin of test routes below /t and socketpairs as
 * clients. Tests only.
 *
 * Nothing sleeps: fx_run() turns the loop until nothing is ready, timeouts are swept with a clock of the test's own.
 */
#ifndef HARNESS_H
#define HARNESS_H

#include <event2/event.h>

#include "frontend/http/engine.h"
#include "tests/unit/tap.h"

enum { HELD_MAX = 512 };

struct fx {
	struct event_base *base;
	struct http_engine *engine;
	struct http_limits limits;
	struct http_hooks hooks;
	struct payload_budget budget;
	struct sluice_ctx ctx;
	/* what the routes saw */
	unsigned requests, gone, pulls, ended_pieces;
	struct sluice_http_req *held[HELD_MAX]; /* /wait, /live and /pieces, oldest first */
	size_t n_held;
	int too_much;       /* what write() said to more than was announced */
	bool refuse_pieces; /* /pieces says EAGAIN */
	struct sl_buf pieces;
	char log[4096]; /* "request:/x gone:/x" in order */
	/* hooks */
	int deny;        /* not 0: the status of a refusal */
	char token[256]; /* Authorization|query parameter of the last request */
	int n_principals; /* references given out */
	uint64_t expires_ms;
	char asked[256]; /* action and stream it was asked for */
	int upgrade_result;
	int upgrade_fd;
	char upgrade_raw[8192];
	size_t upgrade_len;
	char upgrade_path[256];
	bool idle;
	uint64_t cell_requests, cell_connections, cell_5xx;
};

/* Not 0: the engine's clock stands still there. */
extern uint64_t fx_clock;

struct fx *fx_new(void);
struct fx *fx_new_with(void (*change)(struct fx *));
void fx_free(struct fx *);
int fx_connect(struct fx *); /* the client's end, not blocking */
void fx_run(struct fx *);    /* until nothing is ready */
void fx_sweep(struct fx *, uint64_t ms_from_now);
void fx_send(struct fx *, int fd, const char *); /* and run */
void fx_send_bytes(struct fx *, int fd, const void *, size_t);
/* Everything that comes until nothing more does; NUL-terminated, static. *eof: the server closed. */
const char *fx_recv(struct fx *, int fd, size_t *len, bool *eof);
const char *fx_ask(struct fx *, int fd, const char *); /* send, then receive */
/* One request on a fresh connection; the connection is closed. */
const char *fx_once(struct fx *, const char *);
int status_of(const char *answer);
const char *body_of(const char *answer);
bool has(const char *text, const char *part);

#endif
