/*
 * h2.h - what h2.c and h2_out.c share. Worker process.
 */
#ifndef H2_H
#define H2_H

#include <nghttp2/nghttp2.h>

#include "frontend/http/engine.h"

enum {
	H2_STREAM_WINDOW = 256 * 1024, /* body bytes a client may send ahead of us, for one request */
	H2_CONN_WINDOW = 512 * 1024,   /* ... and for all of a connection */
	H2_OUT_MAX = 256 * 1024,       /* frames made ahead of the socket */
	H2_NOISE_MAX = 2000,           /* frames a second that carry no request and no body */
	H2_CUT_BURST = 1000,           /* requests cut before their answer, beyond one full set of streams */
	H2_CUT_RATE = 200,             /* ... and a second from then on */
	H2_QUEUE_MAX = 10000           /* frames nghttp2 holds for a client that does not read */
};

struct h2 {
	nghttp2_session *session;
	struct http_conn *conn;
	uint64_t noise_second;
	uint32_t noise;
	uint64_t cut_second;
	uint32_t cut; /* requests cut, less what time has forgiven */
	bool last_goaway;
	bool broken; /* the session ran out of memory while sending */
};

int h2_respond(struct sluice_http_req *, int status, const struct sluice_header *, size_t n, int64_t length,
               bool bodyless);
int h2_frame(struct sluice_http_req *, sl_slice);
int h2_frame_shared(struct sluice_http_req *, struct sluice_buf *);
void h2_changed(struct sluice_http_req *);
void h2_reset(struct sluice_http_req *);
void h2_continue(struct sluice_http_req *);
void h2_flush(struct http_conn *);
void h2_out_callbacks(nghttp2_session_callbacks *);

#endif
