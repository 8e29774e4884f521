/*
 * frontend.h - what the files of sluice-frontend share: the worker, its plugin instances, shared buffers, payloads.
 */
#ifndef FRONTEND_H
#define FRONTEND_H

#include <event2/event.h>

#include "lib/buf.h"
#include "lib/link.h"

struct worker;
struct http_engine;
struct http_mount;
struct ws_engine;
struct ws_mount;
struct store_glue;

/* A plugin instance: one entry of a frontend's plugins: list. */
struct sluice_ctx {
	uint32_t magic; /* CTX_MAGIC */
	struct worker *worker;
	const struct sluice_plugin *plugin;
	void *self;        /* the plugin's own, from configure() */
	char *name;        /* "streams", or "streams:/mount" when mounted twice */
	char *mount;       /* "/v1/stream"; "/" for the root */
	char *prefix;      /* put before every stream name, with a "/" at its end; "" = the common catalogue */
	struct http_mount *http; /* owned by the HTTP engine */
	struct ws_mount *ws;     /* owned by the WebSocket engine */
	const struct sluice_conf *conf;
	struct sluice_ctx *next;
	/* Handles the plugin holds, reclaimed after stop(); the host's own. */
	struct sl_link reqs, subs, watches, timers, defers, rooms, chan_reqs, chan_subs;
	size_t n_handles;
	bool configured, drained;
};
#define CTX_MAGIC 0x43747831u

/* ---- frontend/shared.c: immutable reference-counted bytes ----
 * Room for an HTTP/1.1 chunk header before and CRLF behind the bytes, so that a chunk goes out of one buffer without copying. */
enum { SHARED_HEAD = 20, SHARED_TAIL = 2 };
struct sluice_buf {
	uint32_t refs;
	uint32_t head; /* length of the chunk header, which ends at `data`; formatted once */
	size_t len;
	uint8_t *data; /* inside this allocation */
};
struct sluice_buf *shared_new(sl_slice);            /* reference count 1; NULL: no memory */
struct sluice_buf *shared_alloc(size_t len, uint8_t **data); /* to be filled in by the caller */
struct sluice_buf *shared_ref(struct sluice_buf *);
void shared_unref(struct sluice_buf *);             /* NULL is fine */

/* ---- frontend/payload.c: a collected body, in memory up to SL_PAYLOAD_INLINE, then in a memfd ---- */
struct payload_budget { /* limits.body_memory of this worker */
	uint64_t used, max;
};
struct sluice_payload;
struct sluice_payload *payload_new(struct payload_budget *);
int payload_add(struct sluice_payload *, sl_slice); /* SLUICE_EBUSY: the budget is used up; SLUICE_ENOMEM, SLUICE_EFULL */
uint64_t payload_len(const struct sluice_payload *);
int payload_fd(const struct sluice_payload *);                             /* -1: in memory */
int payload_map(struct sluice_payload *, void **data, size_t *len);       /* writable, until truncate/free */
void payload_truncate(struct sluice_payload *, size_t len);
void payload_free(struct sluice_payload *);                                /* gives the budget back; NULL is fine */

#endif
