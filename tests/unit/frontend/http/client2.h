/*
 * client2.h - an HTTP/2 client for the tests: nghttp2's client session on the other end of a socketpair. Tests only.
 */
#ifndef CLIENT2_H
#define CLIENT2_H

#include <nghttp2/nghttp2.h>

#include "tests/unit/frontend/http/harness.h"

enum { STREAMS = 2048 };

struct stream {
	int status, informational;
	bool closed;
	uint32_t code;
	unsigned data_frames;
	struct sl_buf headers, body;
	const char *send; /* request body not yet sent; at most `release` bytes of it may go */
	size_t send_len, release;
};

struct client {
	struct fx *f;
	int fd;
	nghttp2_session *s;
	struct stream stream[STREAMS];
	bool eof;
	int goaways;
	int32_t goaway_last;
	uint32_t goaway_code, max_streams, initial_window;
	bool no_window; /* the client never opens its windows */
};

struct client *client_new(struct fx *);
void client_free(struct client *);
bool client_send(struct client *);
void client_run(struct client *); /* until neither side has anything to say */
struct stream *stream_of(struct client *, int32_t id);
const char *text_of(struct sl_buf *);
int32_t ask(struct client *, const char *method, const char *path);
int32_t ask_body(struct client *, const char *method, const char *path, const char *body, size_t len);
int32_t ask_more(struct client *, const char *method, const char *path, const char *name, const char *value,
                 const char *body, size_t len, size_t release);

#endif
