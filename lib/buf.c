/*
 * buf.c - growing byte buffers, borrowed slices and strict read cursors. Every process. No I/O, no logging.
 */
#include "lib/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

sl_slice sl_slice_str(const char *s)
{
	return s ? SL_SLICE(s, strlen(s)) : SL_SLICE(NULL, 0);
}

int sl_slice_cmp(sl_slice a, sl_slice b)
{
	size_t n = a.len < b.len ? a.len : b.len;
	int c = n ? memcmp(a.data, b.data, n) : 0;

	return c ? c : (a.len > b.len) - (a.len < b.len);
}

bool sl_slice_prefix(sl_slice a, sl_slice prefix)
{
	return a.len >= prefix.len && (prefix.len == 0 || memcmp(a.data, prefix.data, prefix.len) == 0);
}

char *sl_slice_dup(sl_slice a)
{
	char *s = malloc(a.len + 1);

	if (!s)
		return NULL;
	if (a.len)
		memcpy(s, a.data, a.len);
	s[a.len] = '\0';
	return s;
}

void sl_buf_init(struct sl_buf *b)
{
	memset(b, 0, sizeof *b);
}

void sl_buf_fini(struct sl_buf *b)
{
	free(b->data);
	sl_buf_init(b);
}

void *sl_buf_room(struct sl_buf *b, size_t n)
{
	size_t cap;
	uint8_t *data;

	if (n > SIZE_MAX / 4 - b->len)
		return NULL;
	if (b->cap - b->off - b->len >= n)
		return b->data ? b->data + b->off + b->len : NULL;
	/* Moving the live bytes to the front is enough when at least half of the buffer has been read already. */
	if (b->off >= b->len && b->cap - b->len >= n) {
		memmove(b->data, b->data + b->off, b->len);
		b->off = 0;
		return b->data + b->len;
	}
	cap = b->cap ? b->cap : 256;
	while (cap < b->len + n)
		cap *= 2;
	data = malloc(cap);
	if (!data)
		return NULL;
	if (b->len)
		memcpy(data, b->data + b->off, b->len);
	free(b->data);
	b->data = data;
	b->off = 0;
	b->cap = cap;
	return data + b->len;
}

void sl_buf_added(struct sl_buf *b, size_t n)
{
	b->len += n;
}

int sl_buf_add(struct sl_buf *b, const void *p, size_t n)
{
	void *room;

	if (n == 0)
		return 0;
	room = sl_buf_room(b, n);
	if (!room)
		return SLUICE_ENOMEM;
	memcpy(room, p, n);
	b->len += n;
	return 0;
}

int sl_buf_addf(struct sl_buf *b, const char *fmt, ...)
{
	va_list ap;
	int n;
	char *room;

	va_start(ap, fmt);
	n = vsnprintf(NULL, 0, fmt, ap);
	va_end(ap);
	if (n < 0)
		return SLUICE_EINVAL;
	room = sl_buf_room(b, (size_t)n + 1);
	if (!room)
		return SLUICE_ENOMEM;
	va_start(ap, fmt);
	vsnprintf(room, (size_t)n + 1, fmt, ap);
	va_end(ap);
	b->len += (size_t)n;
	return 0;
}

void sl_buf_drain(struct sl_buf *b, size_t n)
{
	if (n >= b->len) {
		b->off = 0;
		b->len = 0;
		return;
	}
	b->off += n;
	b->len -= n;
}

void sl_buf_shrink(struct sl_buf *b)
{
	if (b->len == 0)
		sl_buf_fini(b);
}

sl_slice sl_buf_slice(const struct sl_buf *b)
{
	return SL_SLICE(b->data ? b->data + b->off : (const uint8_t *)"", b->len);
}

struct sl_cur sl_cur_of(sl_slice s)
{
	const uint8_t *p = s.data ? s.data : (const uint8_t *)"";

	return (struct sl_cur){.p = p, .end = p + s.len, .bad = false};
}

sl_slice sl_cur_take(struct sl_cur *c, size_t n)
{
	sl_slice s;

	if (c->bad || (size_t)(c->end - c->p) < n) {
		c->bad = true;
		return SL_SLICE(NULL, 0);
	}
	s = SL_SLICE(c->p, n);
	c->p += n;
	return s;
}

uint8_t sl_cur_u8(struct sl_cur *c)
{
	const uint8_t *p = sl_cur_take(c, 1).data;

	return p ? *p : 0;
}

uint16_t sl_cur_u16(struct sl_cur *c)
{
	const uint8_t *p = sl_cur_take(c, 2).data;

	return p ? (uint16_t)(p[0] | p[1] << 8) : 0;
}

/* Spelled out, compilers make one load of it. */
static uint32_t get_u32(const uint8_t *p)
{
	return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

uint32_t sl_cur_u32(struct sl_cur *c)
{
	const uint8_t *p = sl_cur_take(c, 4).data;

	return p ? get_u32(p) : 0;
}

uint64_t sl_cur_u64(struct sl_cur *c)
{
	const uint8_t *p = sl_cur_take(c, 8).data;

	return p ? get_u32(p) | (uint64_t)get_u32(p + 4) << 32 : 0;
}

sl_slice sl_cur_bytes(struct sl_cur *c)
{
	uint32_t n = sl_cur_u32(c);

	if (c->bad || n == UINT32_MAX)
		return SL_SLICE(NULL, 0);
	return sl_cur_take(c, n);
}

uint64_t sl_cur_varint(struct sl_cur *c)
{
	uint64_t v = 0;

	for (unsigned shift = 0; shift < 64; shift += 7) {
		uint8_t byte = sl_cur_u8(c);

		if (c->bad || (shift == 63 && byte > 1))
			break;
		v |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

bool sl_cur_done(const struct sl_cur *c)
{
	return !c->bad && c->p == c->end;
}

/* Room for a field, which is live at once. */
static uint8_t *put_room(struct sl_buf *b, size_t n)
{
	uint8_t *p;

	if (n < b->cap - b->off - b->len)
		p = b->data + b->off + b->len;
	else
		p = sl_buf_room(b, n);
	if (p)
		b->len += n;
	return p;
}

static void set_u16(uint8_t *p, uint16_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
}

static void set_u32(uint8_t *p, uint32_t v)
{
	p[0] = (uint8_t)v;
	p[1] = (uint8_t)(v >> 8);
	p[2] = (uint8_t)(v >> 16);
	p[3] = (uint8_t)(v >> 24);
}

int sl_put_u8(struct sl_buf *b, uint8_t v)
{
	uint8_t *p = put_room(b, 1);

	if (!p)
		return SLUICE_ENOMEM;
	*p = v;
	return 0;
}

int sl_put_u16(struct sl_buf *b, uint16_t v)
{
	uint8_t *p = put_room(b, 2);

	if (!p)
		return SLUICE_ENOMEM;
	set_u16(p, v);
	return 0;
}

int sl_put_u32(struct sl_buf *b, uint32_t v)
{
	uint8_t *p = put_room(b, 4);

	if (!p)
		return SLUICE_ENOMEM;
	set_u32(p, v);
	return 0;
}

int sl_put_u64(struct sl_buf *b, uint64_t v)
{
	uint8_t *p = put_room(b, 8);

	if (!p)
		return SLUICE_ENOMEM;
	set_u32(p, (uint32_t)v);
	set_u32(p + 4, (uint32_t)(v >> 32));
	return 0;
}

int sl_put_bytes(struct sl_buf *b, sl_slice s)
{
	if (!s.data)
		return sl_put_u32(b, UINT32_MAX);
	if (s.len >= UINT32_MAX)
		return SLUICE_ETOOBIG;
	if (sl_put_u32(b, (uint32_t)s.len))
		return SLUICE_ENOMEM;
	return sl_buf_add(b, s.data, s.len);
}

int sl_put_varint(struct sl_buf *b, uint64_t v)
{
	while (v >= 0x80) {
		if (sl_put_u8(b, (uint8_t)(v | 0x80)))
			return SLUICE_ENOMEM;
		v >>= 7;
	}
	return sl_put_u8(b, (uint8_t)v);
}
