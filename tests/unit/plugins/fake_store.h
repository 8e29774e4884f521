/*
 * fake_store.h - what the two halves of the fake's store share. Tests only.
 */
#ifndef FAKE_STORE_H
#define FAKE_STORE_H

#include "tests/unit/plugins/fake_host.h"

typedef struct sluice_slice slice;

enum fake_req_kind { REQ_SUBMIT, REQ_READ, REQ_LIST, REQ_ITEMS, REQ_PING, REQ_CHANNELS, REQ_APPLY };
struct sluice_req {
	TAILQ_ENTRY(sluice_req) link;
	enum fake_req_kind kind;
	fake *f;
	void *arg;
	union {
		sluice_done_fn *done;
		sluice_read_fn *read;
		sluice_list_fn *list;
		sluice_list_items_fn *items;
		sluice_ping_fn *ping;
		sluice_channel_list_fn *channels;
		sluice_channel_done_fn *applied;
	} fn;
	struct sluice_op op;
	struct sluice_req *more; /* the next operation of the same list; in no list itself */
	struct sluice_read rd;
	char *name, *type, *producer, *seq, *fork_of, *prefix, *after;
	struct fake_bytes data;
	uint32_t *lens;
	uint32_t limit;
};
struct sluice_sub {
	TAILQ_ENTRY(sluice_sub) link;
	fake *f;
	char *name;
	sluice_event_fn *fn;
	void *arg;
	uint32_t pending; /* SLUICE_EV_* */
	uint64_t tail;
	bool told, over;
};

struct sluice_chan_sub {
	TAILQ_ENTRY(sluice_chan_sub) link;
	fake *f;
	char *name;
	sluice_channel_state_fn *state;
	sluice_channel_event_fn *event;
	void *arg;
	bool told, over;
};

char *dup_slice(slice);
slice slice_of(const char *);
struct sluice_req *req_new(fake *, enum fake_req_kind, void *arg, struct sluice_req **out);
void req_free(struct sluice_req *);
int store_read(fake *, const struct sluice_read *, sluice_read_fn *, void *arg, struct sluice_req **out);
int store_list_items(fake *, slice prefix, slice after, uint32_t limit, sluice_list_items_fn *, void *arg,
                     struct sluice_req **out);
void server_run(struct sluice_req *); /* PING, CHANNELS, APPLY */
bool channels_run(fake *);            /* a subscription is told the state; false: all have been */
uint64_t stream_position(const struct fake_stream *, uint64_t offset); /* payload bytes before it */
int store_list(fake *, slice prefix, slice after, uint32_t limit, sluice_list_fn *, void *arg, struct sluice_req **out);
void read_run(struct sluice_req *);
void list_run(struct sluice_req *);

#endif
