/*
 * h1_chunk.c - the chunked transfer coding, decoding side, strict (RFC 9112 7.1). Worker process.
 *
 * Not left to the parser library, because the one in Debian is built non-strict: it takes "3\rX", skips whatever two
 * bytes follow a chunk, and lets line feeds hide in extensions. A proxy that reads those bytes differently would be a
 * smuggler's door.
 */
#include "frontend/http/engine.h"

enum {
	C_SIZE,
	C_EXT,
	C_QUOTED,
	C_ESCAPED,
	C_SIZE_LF,
	C_DATA,
	C_DATA_CR,
	C_DATA_LF,
	C_TRAILER,
	C_TRAILER_LINE,
	C_TRAILER_LF,
	C_END_LF
};

enum {
	CHUNK_LINE_MAX = 4096,    /* a size line with its extensions */
	CHUNK_TRAILER_MAX = 8192, /* all trailers; their content is dropped */
	CHUNK_DIGITS_MAX = 15
};

static int chunk_size_char(struct chunk_dec *d, uint8_t c)
{
	int v = -1;

	if (c >= '0' && c <= '9')
		v = c - '0';
	else if ((c | 0x20) >= 'a' && (c | 0x20) <= 'f')
		v = (c | 0x20) - 'a' + 10;
	if (v >= 0) {
		if (++d->digits > CHUNK_DIGITS_MAX)
			return CHUNK_TOO_LONG;
		d->left = d->left << 4 | (unsigned)v;
		return 0;
	}
	if (d->digits == 0)
		return CHUNK_BAD;
	if (c == '\r')
		d->state = C_SIZE_LF;
	else if (c == ';')
		d->state = C_EXT;
	else
		return CHUNK_BAD;
	return 0;
}

static int chunk_ext_char(struct chunk_dec *d, uint8_t c)
{
	if (d->state == C_ESCAPED) {
		d->state = C_QUOTED;
	} else if (d->state == C_QUOTED) {
		if (c == '"')
			d->state = C_EXT;
		else if (c == '\\')
			d->state = C_ESCAPED;
	} else if (c == '"') {
		d->state = C_QUOTED;
	} else if (c == '\r') {
		d->state = C_SIZE_LF;
		return 0;
	}
	return (c < 0x20 && c != '\t') || c == 0x7f ? CHUNK_BAD : 0;
}

static int chunk_trailer_char(struct chunk_dec *d, uint8_t c)
{
	switch (d->state) {
	case C_TRAILER: /* at the beginning of a line; a folded one is refused */
		if (c == '\r')
			d->state = C_END_LF;
		else if (c <= 0x20 || c == ':' || c >= 0x7f)
			return CHUNK_BAD;
		else
			d->state = C_TRAILER_LINE;
		return 0;
	case C_TRAILER_LINE:
		if (c == '\r')
			d->state = C_TRAILER_LF;
		else if ((c < 0x20 && c != '\t') || c == 0x7f)
			return CHUNK_BAD;
		return 0;
	default: /* C_TRAILER_LF */
		d->state = C_TRAILER;
		return c == '\n' ? 0 : CHUNK_BAD;
	}
}

/* The line that gives a size is complete. */
static int chunk_begin(struct chunk_dec *d, uint8_t c)
{
	if (c != '\n')
		return CHUNK_BAD;
	d->state = d->left ? C_DATA : C_TRAILER;
	d->line = 0;
	d->digits = 0;
	return 0;
}

static int chunk_char(struct chunk_dec *d, uint8_t c)
{
	switch (d->state) {
	case C_SIZE:
		return chunk_size_char(d, c);
	case C_EXT:
	case C_QUOTED:
	case C_ESCAPED:
		return chunk_ext_char(d, c);
	case C_SIZE_LF:
		return chunk_begin(d, c);
	case C_DATA_CR:
		d->state = C_DATA_LF;
		return c == '\r' ? 0 : CHUNK_BAD;
	case C_DATA_LF:
		d->state = C_SIZE;
		d->line = 0;
		return c == '\n' ? 0 : CHUNK_BAD;
	case C_END_LF:
		return c == '\n' ? CHUNK_END : CHUNK_BAD;
	default:
		return chunk_trailer_char(d, c);
	}
}

int chunk_feed(struct chunk_dec *d, const uint8_t *data, size_t n, size_t *used, sl_slice *piece)
{
	size_t i = *used;

	while (i < n) {
		int e;

		if (d->state == C_DATA) {
			size_t k = n - i < d->left ? n - i : (size_t)d->left;

			*piece = SL_SLICE(data + i, k);
			d->left -= k;
			if (d->left == 0)
				d->state = C_DATA_CR;
			*used = i + k;
			return CHUNK_DATA;
		}
		e = chunk_char(d, data[i++]);
		if (!e && ++d->line > (d->state >= C_TRAILER ? CHUNK_TRAILER_MAX : CHUNK_LINE_MAX))
			e = CHUNK_TOO_LONG;
		if (e) {
			*used = i;
			return e;
		}
	}
	*used = i;
	return CHUNK_MORE;
}
