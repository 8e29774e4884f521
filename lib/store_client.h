/*
 * store_client.h - a connection to the store-writer that survives the writer. Workers, sluicectl.
 *
 * No loop inside: the owner watches sl_client_fd() for reading, and for writing while sl_client_want_write(), calls
 * sl_client_flush() once per loop turn and sl_client_tick() about once a second. Callbacks come from within readable,
 * flush, tick and link only, never from within submit, touch, watch or cancel.
 *
 * When a connection ends, requests that had not left stay queued, touches and requests in which every operation has a
 * producer are repeated on the next one, all others complete with SLUICE_ELOST. Watches are renewed.
 */
#ifndef SL_STORE_CLIENT_H
#define SL_STORE_CLIENT_H

#include "lib/msg.h"

#define SL_CLIENT_REQUESTS 65536u     /* unanswered */
#define SL_CLIENT_BYTES (8u << 20)    /* of unanswered frames */
#define SL_CLIENT_WATCHES (1u << 17)  /* the writer takes more, with room for both ends to differ for a moment */
#define SL_CLIENT_OPS 4096u           /* of one request */
#define SL_CLIENT_WAIT_MS 30000u      /* without a writer, then SLUICE_EBUSY */
#define SL_CLIENT_OUT_MAX (16u << 20) /* queued bytes beyond which new watches are refused */
/* Payload of one operation that goes inside the frame. More goes beside it as a descriptor, and the writer puts what comes as a descriptor
 * into a segment file: this is the size from which on payloads are not in the database. */
#define SL_PAYLOAD_INLINE (128u << 10)

struct sl_client;
struct sl_client_req;
struct sl_client_watch;

struct sl_client_event {
	uint32_t events;                       /* SLUICE_EV_*; after REMOVED the watch is gone, its handle dead */
	bool answer;                           /* the writer has registered the watch (again): look now */
	uint64_t incarnation, tail, fill_from; /* incarnation: only with answer */
	sl_slice fill, fill_marks;             /* data NULL: none */
};

struct sl_client_hooks {
	uint64_t (*now_ms)(void *arg); /* monotonic */
	/* A writer said welcome; watches and requests follow when this returns. Nonzero: refuse it, with *why set. */
	int (*up)(void *arg, const struct sl_store_welcome *, const char **why);
	void (*down)(void *arg); /* no writer for now; sl_client_fd() is -1 */
	void (*refused)(
		void *arg,
		const char *why); /* this process must not talk to that writer: no further connection is tried */
	void (*event)(void *arg, void *user, const struct sl_client_event *);
	void (*life)(void *arg, void *user, const struct sl_store_life *); /* RESYNC after each (re)registration */
	void (*room)(void *arg); /* once, after a refusal with SLUICE_EAGAIN */
};

typedef void sl_client_done_fn(void *arg, const struct sluice_result *, size_t n);
/* SLUICE_OK, SLUICE_ENOENT, SLUICE_EGONE; SLUICE_ELOST: not known, the writer is away (the touch is repeated later). */
typedef void sl_client_touched_fn(void *arg, int status);

int sl_client_new(const char *name, const char *build, const struct sl_client_hooks *, void *arg, struct sl_client **);
void sl_client_free(struct sl_client *); /* no callback runs; NULL is fine */

int sl_client_link(struct sl_client *, int fd); /* takes the descriptor over; replaces the one before */
int sl_client_fd(const struct sl_client *);     /* -1: none */
bool sl_client_up(const struct sl_client *);
bool sl_client_want_write(const struct sl_client *);
void sl_client_readable(struct sl_client *);
void sl_client_flush(struct sl_client *);
void sl_client_tick(struct sl_client *);

/* fds: descriptors of the operations with n_fd = 1, in order; they stay the caller's and must live until done. done may
 * be NULL. SLUICE_EAGAIN: queue full, room() follows; SLUICE_ETOOBIG: larger than a frame; SLUICE_EBUSY: this client has
 * been refused, or descriptors are out. */
int sl_client_submit(struct sl_client *, const struct sl_store_op *, uint32_t n, const int *fds, size_t n_fds,
                     sl_client_done_fn *done, void *arg, struct sl_client_req **);
int sl_client_touch(struct sl_client *, uint64_t incarnation, bool renew, sl_client_touched_fn *, void *arg,
                    struct sl_client_req **);
/* The touched callback of this request will not run. */
void sl_client_forget(struct sl_client *, struct sl_client_req *);
bool sl_client_has_room(const struct sl_client *);  /* nobody was refused, or there is room again */
size_t sl_client_pending(const struct sl_client *); /* unanswered requests */

int sl_client_watch(struct sl_client *, sl_slice stream, bool live, void *user, struct sl_client_watch **);
int sl_client_watch_prefix(struct sl_client *, sl_slice prefix, void *user, struct sl_client_watch **);
void sl_client_watch_live(struct sl_client *, struct sl_client_watch *, bool live);
void sl_client_unwatch(struct sl_client *, struct sl_client_watch *); /* NULL is fine; no event after it returns */

/* Sends the rules of this process when a writer is there; to be repeated from up(). */
int sl_client_retention(struct sl_client *, const struct sl_store_rule *, uint32_t n);

#endif
