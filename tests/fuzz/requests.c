/*
 * requests.c - requests out of a text: see requests.h. Tests only.
 */
#include "tests/fuzz/requests.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum { INPUT_MAX = 8192 };

static bool method_valid(const char *s)
{
	static const char *const known[] = {"GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", NULL};

	for (size_t i = 0; known[i]; i++)
		if (strcmp(s, known[i]) == 0)
			return true;
	return false;
}

/* What the engine lets through: printable, escapes well-formed and not of control characters, no dot segments. */
static bool target_valid(const char *s)
{
	unsigned params = 1;

	if (s[0] != '/' || strstr(s, "/.") || strstr(s, "%2e") || strstr(s, "%2E"))
		return false;
	for (; *s; s++) {
		params += *s == '&';
		if (*s < 0x21 || *s > 0x7e)
			return false;
		if (*s == '%' &&
		    (s[1] < '2' || s[1] > '7' || !isxdigit((unsigned char)s[2]) || strncasecmp(s, "%7f", 3) == 0))
			return false;
	}
	return params <= 16;
}

char *line_next(char **p)
{
	char *line = *p, *end = strchr(line, '\n');

	if (*line == '\0')
		return NULL;
	*p = end ? end + 1 : line + strlen(line);
	if (end)
		*end = '\0';
	return line;
}

static bool header_valid(char *line)
{
	char *colon = strchr(line, ':');

	if (!colon || colon == line)
		return false;
	for (char *s = line; s < colon; s++)
		if (!isalnum((unsigned char)*s) && *s != '-')
			return false;
		else
			*s = (char)tolower((unsigned char)*s);
	for (char *s = colon; *s; s++)
		if (*s == '\r' || *s == '\v')
			return false;
	for (char *s = colon + strlen(colon); s > colon + 1 && s[-1] == ' ';)
		*--s = '\0'; /* values come trimmed */
	return true;
}

bool request_parse(char *text, size_t len, struct request *r)
{
	char *at = text, *line = line_next(&at), *space = line ? strchr(line, ' ') : NULL;
	size_t n = 0;

	if (!space)
		return false;
	*space = '\0';
	r->method = line;
	r->target = space + 1;
	while ((line = line_next(&at)) && *line)
		if (n < REQUEST_HEADERS_MAX && header_valid(line))
			r->header[n++] = line;
	r->header[n] = NULL;
	r->body = at;
	r->body_len = (size_t)(text + len - at);
	return method_valid(r->method) && target_valid(r->target);
}

char *input_copy(const uint8_t *data, size_t n)
{
	char *text = n > INPUT_MAX ? NULL : malloc(n + 1);

	if (!text)
		return NULL;
	memcpy(text, data, n);
	text[n] = '\0';
	return text;
}

char *input_piece(char *text, size_t n, size_t *at, size_t *len)
{
	char *piece = text + *at;

	if (*at >= n)
		return NULL;
	*len = strlen(piece);
	*at += *len + 1;
	return piece;
}
