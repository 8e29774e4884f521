/*
 * test_sse_format.c - golden bytes of events, whole and in pieces of every size. Tests only.
 */
#include "plugins/streams/streams.h"
#include "tests/unit/tap.h"

static struct bytes out;

static const char *text_of(struct bytes *b)
{
	bytes_add(b, "", 1);
	return (const char *)b->data;
}

/* One event whose payload comes in pieces of at most `step` bytes; ends are those of JSON messages. */
static const char *event(enum media_kind kind, const char *data, size_t n, size_t step, const uint32_t *ends,
                         size_t n_ends)
{
	struct sse_format f = {.kind = kind};

	bytes_reset(&out);
	sse_begin(&f, &out);
	for (size_t at = 0; at < n; at += step) {
		uint32_t local[16];
		struct sse_piece piece = {.data = SLICE(data + at, n - at < step ? n - at : step),
		                          .message_end = local};

		for (size_t i = 0; i < n_ends; i++)
			if (ends[i] > at && ends[i] <= at + piece.data.len)
				local[piece.n_message_end++] = ends[i] - (uint32_t)at;
		sse_feed(&f, &out, &piece);
	}
	sse_end(&f, &out);
	return text_of(&out);
}

static const struct {
	const char *payload, *wire;
} texts[] = {
	{"line1\nline2", "data:line1\ndata:line2\n"},
	{"a", "data:a\n"},
	{" a", "data:  a\n"},
	{"  a", "data:   a\n"},
	{"\ta", "data:\ta\n"},
	{"a\n", "data:a\ndata:\n"},
	{"\n", "data:\ndata:\n"},
	{"\r", "data:\ndata:\n"},
	{"\r\n", "data:\ndata:\n"},
	{"\n\n", "data:\ndata:\ndata:\n"},
	{"\r\r\n\n", "data:\ndata:\ndata:\ndata:\n"},
	{"\n\r", "data:\ndata:\ndata:\n"},
	{"a\rb\r\nc\nd", "data:a\ndata:b\ndata:c\ndata:d\n"},
	{"a\n b\n  c", "data:a\ndata:  b\ndata:   c\n"},
	{"a\n\nevent: control\ndata:{}\n\n", "data:a\ndata:\ndata:event: control\ndata:data:{}\ndata:\ndata:\n"},
	{":c", "data::c\n"},
	{"\xc3\xa9", "data:\xc3\xa9\n"},
	{"a\r", "data:a\ndata:\n"},
	{" ", "data:  \n"},
	{"x\r\n y", "data:x\ndata:  y\n"},
};

static void test_text(void)
{
	char want[256];

	for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
		size_t n = strlen(texts[i].payload);

		snprintf(want, sizeof want, "event: data\n%s\n", texts[i].wire);
		for (size_t step = 1; step <= n; step++)
			is_str(event(MEDIA_TEXT, texts[i].payload, n, step, NULL, 0), want, "text");
	}
}

static void test_json(void)
{
	static const char payload[] = "{\"a\": 1}[1,\n2]\"x\"";
	static const uint32_t ends[] = {8, 14, 17};

	for (size_t step = 1; step < sizeof payload; step++)
		is_str(event(MEDIA_JSON, payload, sizeof payload - 1, step, ends, 3),
		       "event: data\ndata:[{\"a\": 1},[1,\ndata:2],\"x\"]\n\n", "JSON in pieces");
	is_str(event(MEDIA_JSON, "1", 1, 1, (const uint32_t[]){1}, 1), "event: data\ndata:[1]\n\n", "one message");
	is_str(event(MEDIA_JSON, "{\n \"a\":1}", 9, 9, (const uint32_t[]){9}, 1),
	       "event: data\ndata:[{\ndata:  \"a\":1}]\n\n", "white space inside a message stays");
}

/* The data lines, joined. */
static const char *joined(const char *wire)
{
	static char text[256];
	size_t n = 0;

	for (const char *line = strstr(wire, "data:"); line;
	     line = strstr(line, "\ndata:") ? strstr(line, "\ndata:") + 1 : NULL) {
		size_t len = strcspn(line + 5, "\n");

		memcpy(text + n, line + 5, len);
		n += len;
		if (len % 4)
			n = 0;
	}
	text[n] = '\0';
	return text;
}

static void test_binary(void)
{
	static const char payload[] = "foobarbaz\n\r\x01!";
	char want[64];
	size_t n = sizeof payload - 1;

	want[base64_encode((uint8_t *)want, (const uint8_t *)payload, n)] = '\0';
	is_str(event(MEDIA_BINARY, "foobar", 6, 6, NULL, 0), "event: data\ndata:Zm9vYmFy\n\n", "one line");
	is_str(event(MEDIA_BINARY, "foob", 4, 4, NULL, 0), "event: data\ndata:Zm9v\ndata:Yg==\n\n",
	       "the rest on a line of its own");
	for (size_t step = 1; step <= n; step++)
		is_str(joined(event(MEDIA_BINARY, payload, n, step, NULL, 0)), want,
		       "base64 in pieces is one base64 text");
}

static void test_control(void)
{
	struct sse_control c = {.offset = 42, .cursor = 7};

	bytes_reset(&out);
	sse_control(&out, &c);
	is_str(text_of(&out),
	       "event: control\ndata:{\"streamNextOffset\":\"0000000000000000_0000000000000042\",\"streamCursor\":\"7\"}\n\n",
	       "behind");
	bytes_reset(&out);
	c.up_to_date = true;
	sse_control(&out, &c);
	is_str(text_of(&out),
	       "event: control\ndata:{\"streamNextOffset\":\"0000000000000000_0000000000000042\",\"streamCursor\":\"7\",\"upToDate\":true}\n\n",
	       "at the tail");
	bytes_reset(&out);
	c.closed = true;
	sse_control(&out, &c);
	is_str(text_of(&out),
	       "event: control\ndata:{\"streamNextOffset\":\"0000000000000000_0000000000000042\",\"upToDate\":true,\"streamClosed\":true}\n\n",
	       "closed: no cursor");
}

static void test_unfinished(void)
{
	struct sse_format f = {.kind = MEDIA_TEXT};
	static const char *const pieces[] = {"a", "\xf0", "\x9f", "\x98", "\x80"};
	static const size_t want[] = {0, 1, 2, 3, 0};

	bytes_reset(&out);
	sse_begin(&f, &out);
	for (size_t i = 0; i < 5; i++) {
		sse_feed(&f, &out, &(struct sse_piece){.data = SLICE(pieces[i], strlen(pieces[i]))});
		is_int(sse_unfinished(&f), want[i], "bytes of an unfinished character, over pieces");
	}
}

static void test_frame(void)
{
	bool any = false, inside = false;

	bytes_reset(&out);
	json_frame(&out,
	           &(struct sse_piece){.data = STR("1"), .message_end = (const uint32_t[]){1}, .n_message_end = 1},
	           &any, &inside);
	json_frame(&out, &(struct sse_piece){.data = STR("22")}, &any, &inside);
	json_frame(
		&out,
		&(struct sse_piece){.data = STR("2333"), .message_end = (const uint32_t[]){1, 4}, .n_message_end = 2},
		&any, &inside);
	json_frame(&out, &(struct sse_piece){.data = STR("")}, &any, &inside);
	is_str(text_of(&out), "1,222,333", "commas between messages, none inside");
}

int main(void)
{
	test_text();
	test_json();
	test_binary();
	test_control();
	test_unfinished();
	test_frame();
	bytes_fini(&out);
	return tap_done();
}
