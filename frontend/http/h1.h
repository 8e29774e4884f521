/*
 * h1.h - what h1.c and h1_out.c share. Worker process.
 */
#ifndef H1_H
#define H1_H

#include "frontend/http/engine.h"

int h1_respond(struct sluice_http_req *, int status, const struct sluice_header *, size_t n, int64_t length,
               bool bodyless);
int h1_frame(struct sluice_http_req *, sl_slice);
int h1_frame_shared(struct sluice_http_req *, struct sluice_buf *);
void h1_flush(struct http_conn *);
void h1_continue(struct sluice_http_req *);

#endif
