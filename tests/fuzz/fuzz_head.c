/*
 * fuzz_head.c - fuzz target: HTTP/1.1 heads, and chunked bodies behind them. Tests only.
 *
 * What is accepted has lower-case names and values without line ends, and frames its body in one way at most.
 */
#include <stdlib.h>

#include "frontend/http/engine.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void check_headers(const struct h1_head *h)
{
	if (h->n_header > HEADERS_MAX || (h->chunked && h->has_length))
		abort();
	for (size_t i = 0; i < h->n_header; i++)
		if (!header_name_valid(h->header[i].name) || !header_value_valid(h->header[i].value))
			abort();
}

static void check_chunks(const uint8_t *p, size_t n)
{
	struct chunk_dec dec = {0};

	for (size_t at = 0; at < n;) {
		sl_slice piece = {0};
		size_t used = 0;
		int r = chunk_feed(&dec, p + at, n - at, &used, &piece);

		if (used > n - at || (r == CHUNK_DATA && ((const uint8_t *)piece.data < p || piece.len > n)))
			abort();
		if (r == CHUNK_END || r < 0 || used == 0)
			return;
		at += used;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sluice_header header[HEADERS_MAX];
	struct h1_head head = {.header = header};
	const char *why = NULL;
	size_t scan = 0;
	ssize_t len = h1_head_scan(data, n, &scan, 65536, &why);
	uint8_t *copy;

	if (len <= 0)
		return 0;
	if ((size_t)len > n)
		abort();
	copy = malloc((size_t)len);
	if (!copy)
		return 0;
	memcpy(copy, data, (size_t)len);
	if (h1_parse_head(copy, (size_t)len, &head, &why) == 0 && h1_head_check(&head, &why) == 0) {
		check_headers(&head);
		if (head.chunked)
			check_chunks(data + len, n - (size_t)len);
	} else if (!why) {
		abort();
	}
	free(copy);
	return 0;
}
