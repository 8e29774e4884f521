/*
 * fuzz_sse.c - fuzz target: server-sent events of arbitrary payloads in pieces of arbitrary sizes. Tests only.
 *
 * The first byte says which kind of stream, the second how the payload is cut, the third where messages end. A parser written
 * after the HTML standard (9.2.6) reads what comes out: it is one event "data", and its data are the payload with every line
 * end made a line feed; for JSON an array of the messages, for binary streams one base64 text.
 */
#include <stdlib.h>

#include "plugins/streams/streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

struct event {
	unsigned dispatched; /* events */
	bool other;          /* a field that is neither event nor data, or another event */
	struct bytes data;   /* lines, each with a line feed behind it */
};

static void must(bool good)
{
	if (!good)
		abort();
}

static void parse_line(struct event *e, slice line)
{
	static const char type[] = "event: data", data[] = "data:";
	const char *p = line.data;

	if (line.len == 0) {
		e->dispatched++;
	} else if (line.len >= 5 && memcmp(p, data, 5) == 0) {
		size_t skip = line.len > 5 && p[5] == ' ' ? 6 : 5;

		bytes_add(&e->data, p + skip, line.len - skip);
		BYTES_LIT(&e->data, "\n");
	} else if (line.len != sizeof type - 1 || memcmp(p, type, line.len) != 0 || e->data.len > 0) {
		e->other = true;
	}
}

static void parse(struct event *e, slice wire)
{
	const char *p = wire.data;
	size_t begin = 0;

	for (size_t i = 0; i < wire.len; i++) {
		if (p[i] != '\n' && p[i] != '\r')
			continue;
		parse_line(e, SLICE(p + begin, i - begin));
		if (p[i] == '\r' && i + 1 < wire.len && p[i + 1] == '\n')
			i++;
		begin = i + 1;
	}
	must(begin == wire.len);
}

/* Where the next message or piece ends: a small generator, so that the input stays small. */
static size_t step(uint32_t *state, uint8_t size, size_t left)
{
	size_t n;

	*state = *state * 1664525 + 1013904223;
	n = size ? 1 + (*state >> 16) % size : left;
	return n < left ? n : left;
}

/* The payload with line ends made line feeds. */
static void expect_text(struct bytes *out, slice s)
{
	const char *p = s.data;

	for (size_t i = 0; i < s.len; i++) {
		if (p[i] == '\r' && i + 1 < s.len && p[i + 1] == '\n')
			continue;
		bytes_add(out, p[i] == '\r' ? "\n" : p + i, 1);
	}
}

static size_t cut_messages(uint32_t *end, size_t n, uint8_t size)
{
	uint32_t state = 7;
	size_t count = 0;

	for (size_t at = 0; at < n;)
		end[count++] = (uint32_t)(at += step(&state, size, n - at));
	return count;
}

static void expect(struct bytes *out, enum media_kind kind, slice s, const uint32_t *end, size_t n_end)
{
	struct bytes raw = {0};
	uint8_t *room;

	switch (kind) {
	case MEDIA_TEXT:
		expect_text(out, s);
		break;
	case MEDIA_JSON:
		BYTES_LIT(&raw, "[");
		for (size_t i = 0, at = 0; i < n_end; at = end[i++]) {
			if (i > 0)
				BYTES_LIT(&raw, ",");
			bytes_add(&raw, (const char *)s.data + at, end[i] - at);
		}
		BYTES_LIT(&raw, "]");
		expect_text(out, bytes_slice(&raw));
		bytes_fini(&raw);
		break;
	case MEDIA_BINARY:
		room = bytes_room(out, s.len / 3 * 4 + 4);
		must(room != NULL);
		out->len += base64_encode(room, s.data, s.len);
		break;
	}
}

static void format(struct bytes *wire, enum media_kind kind, slice s, uint8_t cut, const uint32_t *end, size_t n_end)
{
	struct sse_format f = {.kind = kind};
	uint32_t local[4096], state = 1;
	size_t at = 0, next = 0;

	sse_begin(&f, wire);
	while (at < s.len) {
		struct sse_piece piece = {.message_end = local};

		piece.data = SLICE((const char *)s.data + at, step(&state, cut, s.len - at));
		while (next < n_end && end[next] <= at + piece.data.len)
			local[piece.n_message_end++] = end[next++] - (uint32_t)at;
		sse_feed(&f, wire, &piece);
		at += piece.data.len;
		must(sse_unfinished(&f) == (kind == MEDIA_TEXT ? utf8_unfinished(s.data, at) : 0));
	}
	sse_end(&f, wire);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	static uint32_t end[4096];
	struct bytes wire = {0}, want = {0};
	struct event e = {0};
	enum media_kind kind;
	size_t n_end, len = 0;
	slice s;

	if (n < 3 || n > 4096)
		return 0;
	kind = data[0] % 3 == 0 ? MEDIA_TEXT : data[0] % 3 == 1 ? MEDIA_JSON : MEDIA_BINARY;
	s = SLICE(data + 3, n - 3);
	n_end = kind == MEDIA_JSON ? cut_messages(end, s.len, data[2]) : 0;
	format(&wire, kind, s, data[1], end, n_end);
	expect(&want, kind, s, end, n_end);
	parse(&e, bytes_slice(&wire));
	must(e.dispatched == 1 && !e.other && !wire.failed && !want.failed);
	if (kind == MEDIA_BINARY) {
		/* Lines of whole groups, joined. */
		for (size_t i = 0; i < e.data.len; i++)
			if (e.data.data[i] != '\n')
				e.data.data[len++] = e.data.data[i];
	} else if (e.data.len > 0) {
		len = e.data.len - 1; /* the last line feed is not part of the data */
	}
	must(len == want.len && (len == 0 || memcmp(e.data.data, want.data, len) == 0));
	bytes_fini(&wire);
	bytes_fini(&want);
	bytes_fini(&e.data);
	return 0;
}
