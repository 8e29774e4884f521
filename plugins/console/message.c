/*
 * message.c - the messages of a step that was read, and how they are shown. Plugin console, worker process.
 */
#include <stdio.h>

#include "console.h"

enum { HEX_MAX = 256 }; /* bytes of a message that is no text */

size_t messages_each(const struct sluice_read_result *r, void (*fn)(void *arg, const struct message *), void *arg)
{
	const char *data = r->data.data;
	bool begun_before = r->flags & SLUICE_R_INSIDE;
	size_t at = 0, n = 0;

	for (size_t i = 0; i < r->n_message_end; i++, n++) {
		struct message m = {.data = data + at, .len = r->message_end[i] - at, .begun_before = begun_before};

		if (fn)
			fn(arg, &m);
		begun_before = false;
		at = r->message_end[i];
	}
	if (at < r->data.len) {
		struct message m = {.data = data + at, .len = r->data.len - at, .begun_before = begun_before, .goes_on = true};

		if (fn)
			fn(arg, &m);
		n++;
	}
	return n;
}

/* What of it can be shown as text, cut at a character; SIZE_MAX: it is none. */
static size_t message_text(const struct message *m)
{
	size_t i = 0, n;

	while (i < m->len && i < SHOWN_MAX && (n = utf8_length(m->data + i, m->len - i)) > 0) {
		if (m->data[i] == '\0')
			return SIZE_MAX;
		i += n;
	}
	/* The end of what was read may have cut a character. */
	return i == m->len || i >= SHOWN_MAX || (m->goes_on && m->len - i < 4) ? i : SIZE_MAX;
}

/* The beginning of a piece that was begun before may be inside a character. */
static struct message message_aligned(const struct message *m)
{
	struct message piece = *m;

	for (int i = 0; piece.begun_before && i < 3 && piece.len > 0 && (*piece.data & 0xc0) == 0x80; i++) {
		piece.data++;
		piece.len--;
	}
	return piece;
}

void message_json(struct text *t, const struct message *m)
{
	struct message piece = message_aligned(m);
	size_t shown = message_text(&piece);
	bool cut = m->begun_before || m->goes_on;

	text_addf(t, "{\"bytes\":%zu,", m->len);
	if (shown != SIZE_MAX) {
		cut |= shown < piece.len;
		text_puts(t, "\"text\":");
		text_json(t, SLICE(piece.data, shown));
	} else {
		cut |= m->len > HEX_MAX;
		text_puts(t, "\"hex\":\"");
		for (size_t i = 0; i < m->len && i < HEX_MAX; i++)
			text_addf(t, "%02x", (unsigned)(unsigned char)m->data[i]);
		text_puts(t, "\"");
	}
	text_addf(t, ",\"cut\":%s}", cut ? "true" : "false");
}
