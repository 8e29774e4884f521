/*
 * sse_format.c - server-sent events, piece by piece (protocol section 14). Plugin streams, worker process.
 *
 * A data event may be fed in pieces of any size: a record too large for one step of a read is one event all the same. A payload can
 * never end its event: every CR, LF and CRLF begins a new data line, also when the two bytes come in different pieces.
 */
#include "streams.h"

/* Without a space behind the colon, unless the line begins with one: parsers strip exactly one. */
static void sse_line_begin(struct sse_format *f, struct bytes *out, bool space)
{
	if (f->line)
		return;
	bytes_add(out, "data: ", space || f->spaced ? 6 : 5);
	f->line = true;
}

void sse_begin(struct sse_format *f, struct bytes *out)
{
	f->open = true;
	f->line = f->cr = f->any = f->inside = false;
	f->n_carry = f->n_last = 0;
	BYTES_LIT(out, "event: data\n");
	if (f->kind == MEDIA_JSON) {
		sse_line_begin(f, out, false);
		BYTES_LIT(out, "[");
	}
}

static void sse_text(struct sse_format *f, struct bytes *out, const uint8_t *p, size_t n)
{
	size_t begin = 0;

	for (size_t i = 0; i < n; i++) {
		if (p[i] != '\n' && p[i] != '\r') {
			f->cr = false;
			continue;
		}
		if (p[i] == '\n' && f->cr) {
			/* The second half of a CRLF; its line ended with the CR. */
			f->cr = false;
			begin = i + 1;
			continue;
		}
		sse_line_begin(f, out, i > begin && p[begin] == ' ');
		bytes_add(out, p + begin, i - begin);
		BYTES_LIT(out, "\n");
		f->line = false;
		f->cr = p[i] == '\r';
		begin = i + 1;
	}
	if (begin < n) {
		sse_line_begin(f, out, p[begin] == ' ');
		bytes_add(out, p + begin, n - begin);
	}
}

static void sse_remember(struct sse_format *f, const uint8_t *p, size_t n)
{
	uint8_t all[6];
	size_t have = f->n_last, take = n < 3 ? n : 3;

	memcpy(all, f->last, have);
	memcpy(all + have, p + n - take, take);
	have += take;
	f->n_last = (uint8_t)(have < 3 ? have : 3);
	memcpy(f->last, all + have - f->n_last, f->n_last);
}

size_t sse_unfinished(const struct sse_format *f)
{
	return f->kind == MEDIA_TEXT ? utf8_unfinished(f->last, f->n_last) : 0;
}

/* A line of its own for each piece unless they are joined, whole groups only, so that the lines together are one base64 text. */
static void sse_base64(struct sse_format *f, struct bytes *out, const uint8_t *p, size_t n)
{
	uint8_t group[3], *room;
	size_t whole;

	memcpy(group, f->carry, f->n_carry);
	if (f->n_carry + n < 3) {
		memcpy(f->carry + f->n_carry, p, n);
		f->n_carry = (uint8_t)(f->n_carry + n);
		return;
	}
	room = bytes_room(out, 6 + 4 + n / 3 * 4 + 5);
	if (!room)
		return;
	sse_line_begin(f, out, false);
	f->line = f->joined;
	if (f->n_carry > 0) {
		size_t fill = 3u - f->n_carry;

		memcpy(group + f->n_carry, p, fill);
		out->len += base64_encode(out->data + out->len, group, 3);
		p += fill;
		n -= fill;
	}
	whole = n - n % 3;
	out->len += base64_encode(out->data + out->len, p, whole);
	if (!f->line)
		BYTES_LIT(out, "\n");
	f->n_carry = (uint8_t)(n - whole);
	memcpy(f->carry, p + whole, f->n_carry);
}

static void sse_json(struct sse_format *f, struct bytes *out, const struct sse_piece *piece)
{
	const uint8_t *p = piece->data.data;
	size_t begin = 0;

	for (size_t i = 0; i <= piece->n_message_end; i++) {
		bool last = i == piece->n_message_end;
		size_t end = last ? piece->data.len : piece->message_end[i];

		if (last && begin >= end)
			break;
		if (!f->inside && f->any)
			sse_text(f, out, (const uint8_t *)",", 1);
		sse_text(f, out, p + begin, end - begin);
		f->any = true;
		f->inside = last;
		begin = end;
	}
}

void sse_feed(struct sse_format *f, struct bytes *out, const struct sse_piece *piece)
{
	if (piece->data.len == 0)
		return;
	switch (f->kind) {
	case MEDIA_TEXT:
		sse_text(f, out, piece->data.data, piece->data.len);
		sse_remember(f, piece->data.data, piece->data.len);
		break;
	case MEDIA_JSON:
		sse_json(f, out, piece);
		break;
	case MEDIA_BINARY:
		sse_base64(f, out, piece->data.data, piece->data.len);
		break;
	}
}

void sse_end(struct sse_format *f, struct bytes *out)
{
	uint8_t rest[4];

	switch (f->kind) {
	case MEDIA_JSON:
		sse_text(f, out, (const uint8_t *)"]", 1);
		BYTES_LIT(out, "\n");
		break;
	case MEDIA_TEXT:
		/* A payload that ended with a line break has an empty last line. */
		sse_line_begin(f, out, false);
		BYTES_LIT(out, "\n");
		break;
	case MEDIA_BINARY:
		if (f->n_carry > 0) {
			sse_line_begin(f, out, false);
			bytes_add(out, rest, base64_encode(rest, f->carry, f->n_carry));
		}
		if (f->line)
			BYTES_LIT(out, "\n");
		break;
	}
	BYTES_LIT(out, "\n");
	f->open = f->line = false;
}

void sse_control(struct bytes *out, const struct sse_control *c)
{
	char offset[OFFSET_LEN];

	if (c->position)
		position_format(c->offset, offset);
	else
		offset_format(c->offset, offset);
	bytes_add(out, "event: control\ndata: ", c->spaced ? 21 : 20);
	BYTES_LIT(out, "{\"streamNextOffset\":\"");
	bytes_add(out, offset, c->position ? POSITION_LEN : OFFSET_LEN);
	BYTES_LIT(out, "\"");
	if (!c->closed) {
		BYTES_LIT(out, ",\"streamCursor\":\"");
		bytes_add_u64(out, c->cursor);
		BYTES_LIT(out, "\"");
	}
	if (c->up_to_date)
		BYTES_LIT(out, ",\"upToDate\":true");
	if (c->closed)
		BYTES_LIT(out, ",\"streamClosed\":true");
	BYTES_LIT(out, "}\n\n");
}

void json_frame(struct bytes *out, const struct sse_piece *piece, bool *any, bool *inside)
{
	const uint8_t *p = piece->data.data;
	size_t begin = 0;

	for (size_t i = 0; i <= piece->n_message_end; i++) {
		bool last = i == piece->n_message_end;
		size_t end = last ? piece->data.len : piece->message_end[i];

		if (last && begin >= end)
			break;
		if (!*inside && *any)
			BYTES_LIT(out, ",");
		bytes_add(out, p + begin, end - begin);
		*any = true;
		*inside = last;
		begin = end;
	}
}
