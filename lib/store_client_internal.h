/*
 * store_client_internal.h - what the files of the store client share. Nobody else includes it.
 */
#ifndef SL_STORE_CLIENT_INTERNAL_H
#define SL_STORE_CLIENT_INTERNAL_H

#include "lib/link.h"
#include "lib/store_client.h"

enum client_state {
	CLIENT_AWAY,  /* no connection */
	CLIENT_HELLO, /* hello sent, no welcome yet */
	CLIENT_UP,
	CLIENT_REFUSED /* for good */
};

#define CLIENT_MAGIC 0x43536331u
#define CLIENT_REQ_MAGIC 0x43527131u
#define CLIENT_WATCH_MAGIC 0x43577431u

struct sl_client_req {
	uint32_t magic, slot;
	struct sl_link order; /* client.reqs, oldest first */
	uint64_t number;      /* what the writer sees; its low bits are the slot */
	uint64_t pos,
		len; /* the frame in the queue it was written to: [pos, pos + len) of everything ever sent there */
	uint64_t queued_ms;
	uint16_t id; /* of the message */
	bool repeat; /* may be sent twice */
	bool unsure; /* was sent once to a writer that then ended: it may have happened */
	uint32_t n_ops;
	uint8_t *copy; /* frame body, when it may be sent twice */
	size_t copy_len;
	struct sluice_result *results; /* room for the answer, so that it cannot fail for want of memory */
	const int *fd;                 /* behind this struct */
	size_t n_fd;
	sl_client_done_fn *done;
	sl_client_touched_fn *touched;
	void *arg;
};

struct sl_client_watch {
	uint32_t magic, slot;
	uint64_t number;
	void *user;
	bool prefix, live;
	size_t len;
	char name[];
};

struct client_slots { /* numbers to objects: the low bits of a number are its place here */
	void **v;
	uint32_t *free; /* stack of unused places */
	uint32_t n_free, cap, max, used;
};

struct sl_client {
	uint32_t magic;
	enum client_state state;
	char *name, *build;
	struct sl_client_hooks hooks;
	void *arg;
	struct sl_ipc ipc;  /* the connection */
	struct sl_ipc hold; /* queue of frames while there is no writer; never has a descriptor of its own */
	struct sl_link reqs;
	struct client_slots req_slots, watch_slots;
	size_t bytes;     /* of unanswered frames */
	uint64_t seq;     /* high part of the next number */
	uint64_t away_ms; /* since when there is no writer */
	bool want_room;
	struct sl_buf text; /* messages of the results being told */
};

int slots_take(struct client_slots *, void *object, uint32_t *slot); /* SLUICE_EAGAIN: at its maximum; SLUICE_ENOMEM */
void slots_give(struct client_slots *, uint32_t slot);
void slots_fini(struct client_slots *);

/* store_client_req.c */
void client_reqs_hold(struct sl_client *);                     /* the connection ended: sort what was under way */
void client_reqs_resume(struct sl_client *);                   /* a writer is there: move what was held to it */
void client_reqs_expire(struct sl_client *, uint64_t wait_ms); /* held too long */
void client_reqs_free(struct sl_client *);
int client_on_result(void *arg, const struct sl_store_result *);
int client_on_touched(void *arg, const struct sl_store_touched *);
void client_check_room(struct sl_client *);

/* store_client_watch.c */
int client_watches_renew(struct sl_client *);
void client_watches_free(struct sl_client *);
int client_on_watched(void *arg, const struct sl_store_watched *);
int client_on_notice(void *arg, const struct sl_store_notice *);
int client_on_life(void *arg, const struct sl_store_life *);

#endif
