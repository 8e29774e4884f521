/*
 * riverrun.h - what the files of the riverrun plugin share. Process: sluice-frontend; one thread, one loop.
 *
 * Streams are created, appended to, read and followed by the library that it shares with the plugin streams, in this door's dialect. Here
 * are its addresses, buckets, snapshots and ephemeral channels. `self` is the library's object; its door is ours.
 */
#ifndef RIVERRUN_H
#define RIVERRUN_H

#include "plugins/streams/streams.h"

enum {
	BUCKET_MIN = 4,
	BUCKET_MAX = 64,
	ID_MAX = 122,      /* of a stream, and of bucket and stream together */
	CHANNEL_MAX = 128, /* name of an ephemeral channel */
	UPDATE_MAX = 1 << 20,
	QUEUE_MAX = 1 << 20, /* bytes that a subscriber has not taken */
	PAGE_MAX = 1000
};

#define MARKERS "__riverrun/" /* a stream below it for each bucket: it exists, also without streams */

enum address_kind {
	ADDRESS_BUCKET,
	ADDRESS_LIST,
	ADDRESS_STREAM,
	ADDRESS_CAS,
	ADDRESS_SNAPSHOT,
	ADDRESS_SNAPSHOT_AT,
	ADDRESS_BOOTSTRAP,
	ADDRESS_NONE
};
enum { AT_OFFSET, AT_SENTINEL, AT_BAD }; /* the offset of an address: digits; -1 or now; anything else */
struct address {
	enum address_kind kind;
	slice bucket, name; /* name: "bucket/stream"; both in key */
	char key[KEY_MAX];
	uint64_t at;
	uint8_t at_kind;
};
/* raw: what was sent below the mount, without the slash. NULL, or what is wrong with it, *code set. */
const char *address_parse(slice raw, struct address *, const char **code);

struct riverrun {
	const struct sluice_ephemeral *ephemeral;
	struct sluice_buf *event; /* of the newest event, for all subscribers */
	uint64_t event_serial;
	uint64_t *subscribers;
	uint64_t max_snapshot;
};
struct riverrun *riverrun_of(const struct call *);

void bucket_create(struct call *);
void bucket_show(struct call *);
void bucket_remove(struct call *);
void bucket_list(struct call *);
void bucket_absent_stream(struct call *); /* 404: of the stream, or of its bucket */
size_t bucket_companion(struct call *, struct sluice_op *, char *text, size_t size);

void snapshot_publish(struct call *);
void snapshot_locate(struct call *);
void snapshot_read(struct call *);
void snapshot_remove(struct call *);
void snapshot_put_offset(const struct call *, struct answer *, uint64_t pos);
void snapshot_pull(struct call *, size_t room);
void snapshot_go_on(struct call *);
void snapshot_step(struct call *, const struct sluice_read *, sluice_read_fn *);
void snapshot_release(struct call *);

void bootstrap_begin(struct call *);
void bootstrap_pull(struct call *);
void bootstrap_rest(struct call *);

/* True: the query names a channel, and the request is one of ephemeral.c. */
bool channel_asked(struct streams *, struct sluice_http_req *);
void channel_request(struct call *, bool plain_stream);
void channel_release(struct call *);
void channel_finish(struct call *);
void channel_due(struct call *, uint64_t now);

#endif
