/*
 * media_type.c - what a content type means to a stream (protocol section 5). Plugin streams, worker process.
 */
#include "streams.h"

static bool media_token_char(uint8_t c)
{
	if ((c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'))
		return true;
	return c > 0x20 && c < 0x7f && strchr("!#$%&'*+-.^_`|~", c) != NULL;
}

static size_t media_token(const uint8_t *p, size_t n, size_t i)
{
	while (i < n && media_token_char(p[i]))
		i++;
	return i;
}

bool media_valid(slice type)
{
	const uint8_t *p = type.data;
	size_t slash = media_token(p, type.len, 0), end;

	if (slash == 0 || slash >= type.len || p[slash] != '/')
		return false;
	end = media_token(p, type.len, slash + 1);
	return end > slash + 1;
}

/* Lower-cased media type without parameters; cut at the size of out, which no type of interest reaches. */
static void media_essence(slice type, char out[64])
{
	const uint8_t *p = type.data;
	size_t n = 0;

	for (size_t i = 0; i < type.len && n < 63 && (media_token_char(p[i]) || p[i] == '/'); i++)
		out[n++] = (char)(p[i] >= 'A' && p[i] <= 'Z' ? p[i] | 0x20 : p[i]);
	out[n] = '\0';
}

enum media_kind media_kind(slice type)
{
	char essence[64];

	media_essence(type, essence);
	if (strcmp(essence, "application/json") == 0)
		return MEDIA_JSON;
	return strncmp(essence, "text/", 5) == 0 ? MEDIA_TEXT : MEDIA_BINARY;
}

bool media_compressible(slice type)
{
	static const char *const packed[] = {
		"application/gzip",
		"application/x-gzip",
		"application/zip",
		"application/zstd",
		"application/x-bzip2",
		"application/x-xz",
		"application/x-7z-compressed",
		"application/vnd.rar",
		"application/x-rar-compressed",
		"application/x-compress",
		"application/x-brotli",
		"application/java-archive",
		"application/pdf",
		"application/epub+zip",
		"font/woff",
		"font/woff2",
		NULL,
	};
	char essence[64];

	media_essence(type, essence);
	if (strncmp(essence, "image/", 6) == 0)
		return strcmp(essence, "image/svg+xml") == 0 || strcmp(essence, "image/bmp") == 0;
	if (strncmp(essence, "video/", 6) == 0 || strncmp(essence, "audio/", 6) == 0)
		return false;
	for (size_t i = 0; packed[i]; i++)
		if (strcmp(essence, packed[i]) == 0)
			return false;
	return true;
}
