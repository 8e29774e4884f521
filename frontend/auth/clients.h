/*
 * clients.h - how much each client asks for. Process: sluice-frontend.
 */
#ifndef AUTH_CLIENTS_H
#define AUTH_CLIENTS_H

#include "frontend/auth/auth.h"
#include "lib/link.h"
#include "lib/map.h"

enum {
	CLIENTS_IDLE = 16384, /* remembered without a connection */
	CLIENT_TOLD = 8,      /* connections above the limit that are told so; further ones are just closed */
	CLIENT_SECOND = 1000000
};

struct clients {
	struct sl_map map;
	struct sl_link idle; /* quiet for longest first */
	size_t n_idle;
	uint64_t rate, burst, conns; /* rate, conns 0: no limit */
};

void clients_init(struct clients *, const struct sluice_conf *root);
void clients_fini(struct clients *);
/* 0: it may; otherwise in how many microseconds. The first one only looks. An empty key is nobody in particular. */
uint64_t clients_wait(const struct clients *, sl_slice key, uint64_t now_us);
uint64_t clients_request(struct clients *, sl_slice key, uint64_t now_us);
/* One more connection: 0; SLUICE_EBUSY: one too many, to be told so; otherwise to be closed, and not counted. */
int clients_enter(struct clients *, sl_slice key);
void clients_leave(struct clients *, sl_slice key); /* after enter() said 0 or EBUSY */

#endif
