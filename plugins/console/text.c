/*
 * text.c - growing text, JSON strings, UTF-8. Plugin console, worker process.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

#include "console.h"

/* Room for n bytes and a NUL; NULL: too much, or no memory. */
static char *text_room(struct text *t, size_t n)
{
	size_t cap = t->cap ? t->cap : 1024;
	char *data;

	if (t->failed || n > SIZE_MAX / 4 || (t->max && t->len + n > t->max)) {
		t->failed = true;
		return NULL;
	}
	if (t->cap - t->len > n)
		return t->data + t->len;
	while (cap - t->len <= n)
		cap *= 2;
	data = realloc(t->data, cap);
	if (!data) {
		t->failed = true;
		return NULL;
	}
	t->data = data;
	t->cap = cap;
	return data + t->len;
}

void text_add(struct text *t, const void *data, size_t n)
{
	char *to = text_room(t, n);

	if (!to)
		return;
	if (n)
		memcpy(to, data, n);
	t->len += n;
	t->data[t->len] = '\0';
}

void text_again(struct text *t, size_t at, size_t n)
{
	char *to = text_room(t, n);

	if (!to)
		return;
	memcpy(to, t->data + at, n);
	t->len += n;
	t->data[t->len] = '\0';
}

void text_puts(struct text *t, const char *s)
{
	text_add(t, s, strlen(s));
}

void text_addf(struct text *t, const char *fmt, ...)
{
	char few[512];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(few, sizeof few, fmt, ap);
	va_end(ap);
	if (n < 0 || (size_t)n >= sizeof few)
		t->failed = true; /* numbers and words of ours only: texts of others go through text_json() */
	else
		text_add(t, few, (size_t)n);
}

slice text_slice(const struct text *t)
{
	return SLICE(t->data ? t->data : "", t->len);
}

void text_fini(struct text *t)
{
	free(t->data);
	t->data = NULL;
	t->len = t->cap = 0;
}

/* RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
size_t utf8_length(const void *data, size_t n)
{
	const unsigned char *p = data;
	size_t len;

	if (n == 0)
		return 0;
	if (p[0] < 0x80)
		return 1;
	len = p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : p[0] >= 0xe0 && p[0] < 0xf0 ? 3 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
	if (len == 0 || n < len)
		return 0;
	for (size_t i = 1; i < len; i++)
		if ((p[i] & 0xc0) != 0x80)
			return 0;
	if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] >= 0xa0) || (p[0] == 0xf0 && p[1] < 0x90) ||
	    (p[0] == 0xf4 && p[1] >= 0x90))
		return 0;
	return len;
}

bool utf8_valid(slice s)
{
	const char *p = s.data;

	for (size_t i = 0, n; i < s.len; i += n)
		if ((n = utf8_length(p + i, s.len - i)) == 0)
			return false;
	return true;
}

/* "<" and the line separators are escaped too, so that it does no harm where somebody puts it into markup or a script. */
static bool json_plain(const char *p, size_t n)
{
	return n > 1 ? !(n == 3 && memcmp(p, "\xe2\x80", 2) == 0 && (p[2] == '\xa8' || p[2] == '\xa9'))
	             : (unsigned char)*p >= 0x20 && *p != '"' && *p != '\\' && *p != '<' && *p != 0x7f;
}

void text_json(struct text *t, slice s)
{
	const char *p = s.data;
	size_t plain = 0, n;

	text_add(t, "\"", 1);
	for (size_t i = 0; i < s.len; i += n ? n : 1) {
		n = utf8_length(p + i, s.len - i);
		if (n && json_plain(p + i, n))
			continue;
		text_add(t, p + plain, i - plain);
		if (n == 1 && (p[i] == '"' || p[i] == '\\'))
			text_addf(t, "\\%c", p[i]);
		else if (n == 3)
			text_addf(t, "\\u202%c", p[i + 2] == '\xa8' ? '8' : '9');
		else
			text_addf(t, "\\u%04x", n ? (unsigned)(unsigned char)p[i] : 0xfffdu);
		plain = i + (n ? n : 1);
	}
	if (s.len > plain)
		text_add(t, p + plain, s.len - plain);
	text_add(t, "\"", 1);
}
