/*
 * shared.c - immutable reference-counted bytes that many answers send. Worker process, one thread.
 *
 * One allocation: the struct, SHARED_HEAD bytes that end with an HTTP/1.1 chunk header, the bytes, CRLF. The header
 * is formatted when the buffer is made: one formatting for however many readers, chunked or not.
 */
#include "frontend/frontend.h"

#include <assert.h>
#include <stdlib.h>

/* Writes "<hex length>\r\n" so that it ends at buf->data. 16 digits and CRLF fit in SHARED_HEAD. */
static void shared_format_head(struct sluice_buf *buf)
{
	static const char hex[] = "0123456789abcdef";
	uint8_t *p = buf->data;
	size_t len = buf->len;

	*--p = '\n';
	*--p = '\r';
	do {
		*--p = (uint8_t)hex[len & 15];
		len >>= 4;
	} while (len);
	buf->head = (uint32_t)(buf->data - p);
}

struct sluice_buf *shared_alloc(size_t len, uint8_t **data)
{
	struct sluice_buf *buf;

	if (len > SIZE_MAX / 2)
		return NULL;
	buf = malloc(sizeof *buf + SHARED_HEAD + len + SHARED_TAIL);
	if (!buf)
		return NULL;
	buf->refs = 1;
	buf->len = len;
	buf->data = (uint8_t *)(buf + 1) + SHARED_HEAD;
	shared_format_head(buf);
	memcpy(buf->data + len, "\r\n", SHARED_TAIL);
	if (data)
		*data = buf->data;
	return buf;
}

struct sluice_buf *shared_new(sl_slice s)
{
	uint8_t *data;
	struct sluice_buf *buf = shared_alloc(s.len, &data);

	if (buf && s.len)
		memcpy(data, s.data, s.len);
	return buf;
}

struct sluice_buf *shared_ref(struct sluice_buf *buf)
{
	assert(buf->refs > 0 && buf->refs < UINT32_MAX);
	buf->refs++;
	return buf;
}

void shared_unref(struct sluice_buf *buf)
{
	if (!buf)
		return;
	assert(buf->refs > 0);
	if (--buf->refs == 0)
		free(buf);
}
