/*
 * json_scan.c - strict RFC 8259 without recursion. Plugin streams, worker process.
 *
 * Validates a whole body, invalid UTF-8 included, and finds the bytes of each message: JSON streams store the raw text of their
 * messages, so nothing is parsed into values and no number loses a digit. One pass, one bit of memory per level of nesting.
 */
#include "streams.h"

#include <stdlib.h>

size_t utf8_sequence(const uint8_t *p, size_t n)
{
	uint8_t low = 0x80, high = 0xbf;
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	if (p[0] < 0xc2 || p[0] > 0xf4)
		return 0;
	len = p[0] < 0xe0 ? 2 : p[0] < 0xf0 ? 3 : 4;
	if (n < len)
		return 0;
	/* The second byte rules out overlong forms, surrogates and what is beyond U+10FFFF. */
	if (p[0] == 0xe0)
		low = 0xa0;
	else if (p[0] == 0xed)
		high = 0x9f;
	else if (p[0] == 0xf0)
		low = 0x90;
	else if (p[0] == 0xf4)
		high = 0x8f;
	if (p[1] < low || p[1] > high)
		return 0;
	for (size_t i = 2; i < len; i++)
		if (p[i] < 0x80 || p[i] > 0xbf)
			return 0;
	return len;
}

bool utf8_valid(slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0, len; i < s.len; i += len) {
		len = utf8_sequence(p + i, s.len - i);
		if (len == 0)
			return false;
	}
	return true;
}

size_t utf8_unfinished(const uint8_t *p, size_t n)
{
	for (size_t back = 1; back <= 3 && back <= n; back++) {
		uint8_t whole[4], lead = p[n - back];

		if (lead >= 0x80 && lead < 0xc0)
			continue;
		if (lead < 0xc2 || lead > 0xf4 || back >= (lead < 0xe0 ? 2u : lead < 0xf0 ? 3u : 4u))
			return 0;
		/* Can it be finished? The second byte decides; the rest are plain continuation bytes. */
		memset(whole, 0x80, sizeof whole);
		if (lead == 0xe0 || lead == 0xf0)
			whole[1] = lead == 0xe0 ? 0xa0 : 0x90;
		memcpy(whole, p + n - back, back);
		return utf8_sequence(whole, sizeof whole) > 0 ? back : 0;
	}
	return 0;
}

/* One text being scanned; functions return the position behind what they ate, 0 on an error. */
struct json_text {
	uint8_t *p;
	size_t n;
	const char *why;
};

static size_t json_fail(struct json_text *t, const char *why)
{
	t->why = why;
	return 0;
}

static size_t json_space(const struct json_text *t, size_t i)
{
	while (i < t->n && (t->p[i] == ' ' || t->p[i] == '\n' || t->p[i] == '\r' || t->p[i] == '\t'))
		i++;
	return i;
}

static bool json_hex(uint8_t c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F');
}

static size_t json_escape(struct json_text *t, size_t i)
{
	if (i >= t->n)
		return json_fail(t, "a string does not end");
	if (t->p[i] != 'u')
		return strchr("\"\\/bfnrt", t->p[i]) && t->p[i] ? i + 1
		                                                : json_fail(t, "a string has an unknown escape");
	if (t->n - i < 5)
		return json_fail(t, "a string does not end");
	for (size_t k = 1; k <= 4; k++)
		if (!json_hex(t->p[i + k]))
			return json_fail(t, "a string has a malformed \\u escape");
	return i + 5;
}

/* i: behind the opening quote. */
static size_t json_string(struct json_text *t, size_t i)
{
	while (i < t->n) {
		uint8_t c = t->p[i];

		if (c == '"')
			return i + 1;
		if (c == '\\') {
			i = json_escape(t, i + 1);
			if (i == 0)
				return 0;
		} else if (c < 0x20) {
			return json_fail(t, "a string has an unescaped control character");
		} else if (c < 0x80) {
			i++;
		} else {
			size_t len = utf8_sequence(t->p + i, t->n - i);

			if (len == 0)
				return json_fail(t, "a string is not valid UTF-8");
			i += len;
		}
	}
	return json_fail(t, "a string does not end");
}

static size_t json_digits(const struct json_text *t, size_t i)
{
	while (i < t->n && t->p[i] >= '0' && t->p[i] <= '9')
		i++;
	return i;
}

static size_t json_number(struct json_text *t, size_t i)
{
	size_t end;

	if (t->p[i] == '-')
		i++;
	end = json_digits(t, i);
	if (end == i || (t->p[i] == '0' && end > i + 1))
		return json_fail(t, "a number is malformed");
	i = end;
	if (i < t->n && t->p[i] == '.') {
		end = json_digits(t, i + 1);
		if (end == i + 1)
			return json_fail(t, "a number is malformed");
		i = end;
	}
	if (i < t->n && (t->p[i] | 0x20) == 'e') {
		i++;
		if (i < t->n && (t->p[i] == '+' || t->p[i] == '-'))
			i++;
		end = json_digits(t, i);
		if (end == i)
			return json_fail(t, "a number is malformed");
		i = end;
	}
	return i;
}

static size_t json_word(struct json_text *t, size_t i, const char *word, size_t len)
{
	if (t->n - i < len || memcmp(t->p + i, word, len) != 0)
		return json_fail(t, "a value was expected");
	return i + len;
}

static size_t json_scalar(struct json_text *t, size_t i)
{
	switch (t->p[i]) {
	case '"':
		return json_string(t, i + 1);
	case 't':
		return json_word(t, i, "true", 4);
	case 'f':
		return json_word(t, i, "false", 5);
	case 'n':
		return json_word(t, i, "null", 4);
	default:
		if (t->p[i] == '-' || (t->p[i] >= '0' && t->p[i] <= '9'))
			return json_number(t, i);
		return json_fail(t, "a value was expected");
	}
}

/* A member's name and its colon, behind '{' or ','. */
static size_t json_key(struct json_text *t, size_t i)
{
	i = json_space(t, i);
	if (i >= t->n || t->p[i] != '"')
		return json_fail(t, "a member name was expected");
	i = json_string(t, i + 1);
	if (i == 0)
		return 0;
	i = json_space(t, i);
	if (i >= t->n || t->p[i] != ':')
		return json_fail(t, "a colon was expected");
	return i + 1;
}

struct json_stack {
	uint8_t array[JSON_DEPTH / 8 + 1]; /* a bit for each open bracket */
	size_t depth;
};

static bool json_in_array(const struct json_stack *s)
{
	return s->array[(s->depth - 1) / 8] >> ((s->depth - 1) % 8) & 1;
}

static bool json_push(struct json_text *t, struct json_stack *s, bool array)
{
	uint8_t bit = (uint8_t)(1u << (s->depth % 8));

	if (s->depth >= JSON_DEPTH) {
		t->why = "nested deeper than 1024 levels";
		return false;
	}
	s->array[s->depth / 8] = (uint8_t)((s->array[s->depth / 8] & ~bit) | (array ? bit : 0));
	s->depth++;
	return true;
}

/* What follows a complete value inside brackets: closes as many as there are, returns the position where the next value begins,
 * or behind the last bracket when depth fell to `floor`. */
static size_t json_after(struct json_text *t, struct json_stack *s, size_t i, size_t floor)
{
	while (s->depth > floor) {
		i = json_space(t, i);
		if (i >= t->n)
			return json_fail(t, "it ends too early");
		if (t->p[i] == ',')
			return json_in_array(s) ? i + 1 : json_key(t, i + 1);
		if (t->p[i] != (json_in_array(s) ? ']' : '}'))
			return json_fail(t, "a comma or the closing bracket was expected");
		i++;
		s->depth--;
	}
	return i;
}

/* One complete value of any depth, which begins at i. */
static size_t json_value(struct json_text *t, struct json_stack *s, size_t i)
{
	size_t floor = s->depth;

	do {
		bool array;

		i = json_space(t, i);
		if (i >= t->n)
			return json_fail(t, "it ends too early");
		array = t->p[i] == '[';
		if (!array && t->p[i] != '{') {
			i = json_scalar(t, i);
		} else {
			size_t inner = json_space(t, i + 1);

			if (!json_push(t, s, array))
				return 0;
			if (inner < t->n && t->p[inner] == (array ? ']' : '}')) {
				s->depth--;
				i = inner + 1;
			} else {
				i = array ? i + 1 : json_key(t, i + 1);
				if (i == 0)
					return 0;
				continue;
			}
		}
		if (i == 0)
			return 0;
		i = json_after(t, s, i, floor);
	} while (i != 0 && s->depth > floor);
	return i;
}

static enum json_status json_message(struct json_lens *lens, size_t len)
{
	if (lens->n >= MESSAGES_MAX)
		return JSON_TOO_MANY;
	if (lens->n == lens->cap) {
		size_t cap = lens->cap ? lens->cap * 2 : 64;
		uint32_t *grown = realloc(lens->len, cap * sizeof *grown);

		if (!grown)
			return JSON_NO_MEMORY;
		lens->len = grown;
		lens->cap = cap;
	}
	lens->len[lens->n++] = (uint32_t)len;
	return JSON_OK;
}

/* The elements of the top-level array that begins at i. */
static enum json_status json_elements(struct json_text *t, size_t i, struct json_lens *lens, size_t *used,
                                      size_t *behind)
{
	struct json_stack stack = {.depth = 1, .array = {1}};
	size_t out = 0;

	i = json_space(t, i + 1);
	if (i < t->n && t->p[i] == ']') {
		*behind = i + 1;
		return JSON_OK;
	}
	for (;;) {
		size_t begin = json_space(t, i), end = json_value(t, &stack, begin);
		enum json_status status;

		if (end == 0)
			return JSON_BAD;
		status = json_message(lens, end - begin);
		if (status != JSON_OK)
			return status;
		memmove(t->p + out, t->p + begin, end - begin);
		out += end - begin;
		i = json_space(t, end);
		if (i < t->n && t->p[i] == ',') {
			i++;
			continue;
		}
		if (i >= t->n || t->p[i] != ']') {
			t->why = i >= t->n ? "it ends too early" : "a comma or the closing bracket was expected";
			return JSON_BAD;
		}
		*behind = i + 1;
		*used = out;
		return JSON_OK;
	}
}

enum json_status json_scan(uint8_t *text, size_t n, struct json_lens *lens, size_t *used, const char **why)
{
	struct json_text t = {.p = text, .n = n, .why = ""};
	struct json_stack stack = {.depth = 0};
	size_t begin = json_space(&t, 0), end = 0;
	enum json_status status = JSON_OK;

	lens->n = 0;
	*used = 0;
	if (n > UINT32_MAX || begin >= n) {
		*why = begin >= n ? "it is blank" : "it is too long";
		return JSON_BAD;
	}
	if (text[begin] == '[') {
		status = json_elements(&t, begin, lens, used, &end);
	} else {
		end = json_value(&t, &stack, begin);
		if (end == 0)
			status = JSON_BAD;
		else
			status = json_message(lens, end - begin);
		if (status == JSON_OK) {
			memmove(text, text + begin, end - begin);
			*used = end - begin;
		}
	}
	*why = t.why;
	/* Elements were moved to the front, never beyond `end`: what follows is still as it came. */
	if (status == JSON_OK && json_space(&t, end) < n) {
		*why = "something follows the value";
		return JSON_BAD;
	}
	return status;
}
