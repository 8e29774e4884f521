/*
 * requests.h - what the fuzz targets of plugins share: requests out of a text, as the engine would let them through. Tests only.
 *
 * A request is a line with method and target (below the mount), lines "name: value", a blank line, the body.
 */
#ifndef FUZZ_REQUESTS_H
#define FUZZ_REQUESTS_H

#include "tests/unit/plugins/fake_host.h"

enum { REQUEST_HEADERS_MAX = 16 };

struct request { /* points into the text, which it is cut out of */
	char *method, *target;
	const char *header[REQUEST_HEADERS_MAX + 1];
	char *body;
	size_t body_len;
};

/* text[len] is a NUL. false: the engine would refuse it. */
bool request_parse(char *text, size_t len, struct request *);
/* Cuts the line at *p off; NULL at the end. */
char *line_next(char **p);
/* A copy of an input with a NUL behind it; NULL: it is too long. The piece at *at up to the next NUL; NULL at the end. */
char *input_copy(const uint8_t *, size_t n);
char *input_piece(char *text, size_t n, size_t *at, size_t *len);

#endif
