/*
 * ephemeral.h - ephemeral channels: updates as bytes, and the last-writer-wins map that one channel holds. Process:
 * sluice-frontend.
 *
 * Encoding and rules are those of the Loro EphemeralStore (specs: loro-ephemeral-store, sections 2 to 7). Nothing here
 * does I/O, looks at a clock or knows of processes; the registry does.
 */
#ifndef EPHEMERAL_H
#define EPHEMERAL_H

#include "lib/buf.h"

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
sl_slice eph_take_text(struct sl_cur *);
int eph_put_entry(struct sl_buf *, const struct eph_entry *);

/* ---- json.c: a checked value for people. Binary is {"$b64": ".."}, a container id its text, a number that JSON has not
 * got is null. 0 or SLUICE_ENOMEM ---- */
int eph_put_json(struct sl_buf *, sl_slice value);
int eph_put_json_text(struct sl_buf *, sl_slice text);

/* ---- map.c: the state of one channel ---- */

struct eph_limits {
	int64_t timeout_ms; /* an entry older than this is expired */
	size_t max_bytes;   /* of keys and values */
	size_t max_keys;
};

struct eph_map;
struct eph_map *eph_map_new(const struct eph_limits *); /* NULL: no memory */
void eph_map_free(struct eph_map *);                    /* NULL is fine */
/* Merges an update. SLUICE_EINVAL: malformed; SLUICE_ETOOBIG: over a limit; SLUICE_ENOMEM. Then nothing has changed. */
int eph_map_apply(struct eph_map *, sl_slice update, int64_t now_ms);
int eph_map_encode_all(const struct eph_map *, int64_t now_ms, struct sl_buf *); /* what has not expired; 0, ENOMEM */
int eph_map_encode(const struct eph_map *, sl_slice key, int64_t now_ms, struct sl_buf *); /* expired: zero bytes */
int eph_map_json(const struct eph_map *, int64_t now_ms, struct sl_buf *); /* {"key": value} without deleted ones */
size_t eph_map_purge(struct eph_map *, int64_t now_ms);                    /* how many entries expired and went */
size_t eph_map_count(const struct eph_map *);
size_t eph_map_bytes(const struct eph_map *);

/* Calls fn with each entry, expired ones too, in the order of their first writes. */
void eph_map_each(const struct eph_map *, void (*fn)(void *, const struct eph_entry *), void *arg);

#endif
