/*
 * ephemeral.h - ephemeral channels: updates as bytes, and the last-writer-wins map that one channel holds. Process:
 * sluice-frontend.
 *
 * Encoding and rules are those of the Loro EphemeralStore (specs: loro-ephemeral-store, sections 2 to 7). Nothing here
 * does I/O, looks at a clock or knows of processes; the registry does.
 */
#ifndef EPHEMERAL_H
#define EPHEMERAL_H

#include "lib/ipc.h"
#include "lib/link.h"

/* ---- codec.c: an update is a list of entries ---- */

enum { EPH_DEPTH_MAX = 512 }; /* lists and maps inside each other */

struct eph_entry {
	sl_slice key;
	sl_slice value;    /* tag and payload as they came; absent: the key is deleted */
	int64_t timestamp; /* ms since 1970, by the writer's clock */
};

struct eph_walk { /* zero is an empty one */
	struct sl_cur cur;
	uint32_t left;
};

/* The whole update, changing nothing: 0 or SLUICE_EINVAL. What lies behind the last entry is ignored. */
int eph_check(sl_slice update);
/* Entry by entry. Slices point into the update. 1, 0 at the end, or SLUICE_EINVAL. */
int eph_walk_begin(struct eph_walk *, sl_slice update);
int eph_walk_next(struct eph_walk *, struct eph_entry *);
/* 0 or SLUICE_ENOMEM. */
int eph_put_count(struct sl_buf *, size_t n);
/* Tag and payload of a checked value, one piece at a time; of a list or map only the count, its elements follow. */
enum eph_tag { EPH_NULL, EPH_BOOL, EPH_DOUBLE, EPH_INTEGER, EPH_STRING, EPH_LIST, EPH_MAP, EPH_CONTAINER, EPH_BINARY };
struct eph_piece {
	enum eph_tag tag;
	uint32_t elements; /* LIST, MAP; a map has a text before each */
	int64_t integer;   /* INTEGER, BOOL; CONTAINER: its counter */
	double number;     /* DOUBLE */
	sl_slice bytes;    /* STRING, BINARY; CONTAINER: the name of a root, else absent */
	uint64_t peer;     /* CONTAINER */
	uint8_t type;      /* CONTAINER */
};
void eph_take_piece(struct sl_cur *, struct eph_piece *); /* cur->bad: malformed */
bool eph_text_valid(sl_slice);                            /* strict UTF-8 */
sl_slice eph_take_text(struct sl_cur *);
int eph_put_entry(struct sl_buf *, const struct eph_entry *);

/* ---- json.c: a checked update for people. Binary is {"$b64": ".."}, a container id its text, a number that JSON has not
 * got is null. 0 or SLUICE_ENOMEM ---- */
int eph_put_json(struct sl_buf *, sl_slice update); /* {"key": value} of a checked update, without deleted entries */

/* ---- map.c: the state of one channel ---- */

struct eph_limits {
	int64_t timeout_ms; /* an entry older than this is expired */
	size_t max_bytes;   /* of keys and values */
	size_t max_keys;
};

struct event;
struct eph_map;
struct eph_server;
struct eph_map *eph_map_new(const struct eph_limits *); /* NULL: no memory */
void eph_map_free(struct eph_map *);                    /* NULL is fine */
/* Merges an update. SLUICE_EINVAL: malformed; SLUICE_ETOOBIG: over a limit; SLUICE_ENOMEM. Then nothing has changed. */
int eph_map_apply(struct eph_map *, sl_slice update, int64_t now_ms);
int eph_map_encode_all(const struct eph_map *, int64_t now_ms, struct sl_buf *); /* what has not expired; 0, ENOMEM */
int eph_map_encode(const struct eph_map *, sl_slice key, int64_t now_ms, struct sl_buf *); /* expired: zero bytes */
size_t eph_map_purge(struct eph_map *, int64_t now_ms); /* how many entries expired and went */
size_t eph_map_count(const struct eph_map *);
size_t eph_map_bytes(const struct eph_map *);

/* Calls fn with each entry, expired ones too, in the order of their first writes. */
void eph_map_each(const struct eph_map *, void (*fn)(void *, const struct eph_entry *), void *arg);

/* ---- registry.c: every channel, in the presence worker. No I/O: what members hear goes through their queue ---- */

#define EPH_PEER_MAGIC 0x45705031u
enum {
	EPH_NAME_MAX = 640,        /* bytes of a channel's name, door and all */
	EPH_UPDATE_MAX = 1 << 20,  /* of an update, a cast */
	EPH_KEPT_MAX = 64 << 10,   /* of a value that is put; of its key: EPH_NAME_MAX */
	EPH_PIECE = 256 << 10,     /* what is larger travels in pieces */
	EPH_WATCHES_MAX = 1 << 16, /* of one member */
	EPH_QUEUE_MAX = 64 << 20,  /* a member that lets so much pile up is cut off */
	EPH_LOOK_MARK = 1 << 20,   /* states wait while more than this is queued for the member */
	EPH_LIST_MAX = 1000
};

struct eph_watch;
struct eph_peer { /* a member, as the registry sees it */
	uint32_t magic;
	struct sl_link all;
	struct sl_ipc ipc;
	struct sl_buf pieces;     /* bytes that came before their message */
	struct eph_watch **watch; /* by number */
	uint32_t n_watch;
	struct sl_link kept;               /* what its owners have put */
	struct sl_link looks;              /* that wait for room */
	bool ended;                        /* does not take what it is sent, or sent nonsense: to be freed */
	struct event *readable, *writable; /* server.c */
	struct eph_server *server;
};

struct eph_registry_limits {
	struct eph_limits channel;
	size_t channels, channels_of_stream; /* how many */
	size_t bytes;                        /* of all state and kept values */
};

struct eph_registry;
struct eph_registry_hooks {
	int64_t (*wall_ms)(void *arg);
	/* Whether a stream's incarnation lives: 1, 0, or SLUICE_E* when it cannot be told now. */
	int (*alive)(void *arg, uint64_t incarnation);
	void *arg;
};
struct eph_channel_id {
	sl_slice name;
	uint64_t incarnation; /* 0: no stream behind it */
};

struct eph_registry *eph_registry_new(const struct eph_registry_limits *, const struct eph_registry_hooks *);
void eph_registry_free(struct eph_registry *);
void eph_registry_limit(struct eph_registry *,
                        const struct eph_registry_limits *); /* changed settings; for new channels */
/* 0, or SLUICE_EINVAL (malformed), ETOOBIG (over a bound), ENOENT (the stream is gone), EBUSY, ENOMEM: nothing changed. */
int eph_registry_apply(struct eph_registry *, struct eph_peer *, const struct eph_channel_id *, uint64_t tag,
                       sl_slice update);
int eph_registry_put(struct eph_registry *, struct eph_peer *, const struct eph_channel_id *, uint64_t tag,
                     uint64_t owner, sl_slice key, sl_slice value);
int eph_registry_cast(struct eph_registry *, struct eph_peer *, const struct eph_channel_id *, uint64_t tag, sl_slice);
void eph_registry_disown(struct eph_registry *, struct eph_peer *, uint64_t owner);
/* Queues the answer, kept values included. watch 0: only a look. */
int eph_registry_look(struct eph_registry *, struct eph_peer *, uint64_t req, uint32_t watch,
                      const struct eph_channel_id *);
void eph_registry_room(struct eph_registry *, struct eph_peer *); /* its queue got shorter: looks that waited */
void eph_registry_unwatch(struct eph_registry *, struct eph_peer *, uint32_t number);
void eph_registry_audience(struct eph_registry *, struct eph_peer *, uint32_t number, uint32_t subscribers);
void eph_registry_clear(struct eph_registry *, sl_slice prefix, bool terminate);
int eph_registry_list(struct eph_registry *, struct eph_peer *, uint64_t req, sl_slice prefix, sl_slice after,
                      uint32_t limit);
void eph_registry_peer_gone(struct eph_registry *, struct eph_peer *);
void eph_registry_stream_gone(struct eph_registry *, uint64_t incarnation);
void eph_registry_recheck(struct eph_registry *,
                          bool all);            /* removals may have been missed; all: every stream is another one */
void eph_registry_purge(struct eph_registry *); /* every timeout / 2 */
size_t eph_registry_channels(const struct eph_registry *);
size_t eph_registry_bytes(const struct eph_registry *);
/* Queues bytes in pieces as far as they do not fit with their message; the rest is what goes into it. */
int eph_put_pieces(struct sl_ipc *, bool to_registry, sl_slice *bytes);

#endif
