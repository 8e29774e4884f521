/*
 * buf.h - growing byte buffers, borrowed slices and strict read cursors. Every process. No I/O, no logging.
 *
 * Ownership: a sl_buf owns its bytes. Slices and cursors borrow; they are valid until the owner is changed.
 */
#ifndef SL_BUF_H
#define SL_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "sluice/plugin.h"

typedef struct sluice_slice sl_slice;

#define SL_SLICE(ptr, n) ((sl_slice){.data = (ptr), .len = (n)})
#define SL_STR(literal) ((sl_slice){.data = "" literal, .len = sizeof(literal) - 1})

/* Inline, because they are called for each header of each request: the length of a literal is a constant then. */
static inline bool sl_slice_eq(sl_slice a, sl_slice b)
{
	return a.len == b.len && (a.len == 0 || memcmp(a.data, b.data, a.len) == 0);
}

static inline bool sl_slice_is(sl_slice a, const char *s)
{
	return sl_slice_eq(a, SL_SLICE(s, strlen(s)));
}

sl_slice sl_slice_str(const char *s);               /* NULL gives the absent slice */
int sl_slice_cmp(sl_slice a, sl_slice b);           /* bytewise, then by length */
bool sl_slice_prefix(sl_slice a, sl_slice prefix);
char *sl_slice_dup(sl_slice a);                     /* NUL-terminated copy, owned by the caller; NULL: no memory */

struct sl_buf {
	uint8_t *data;
	size_t off, len, cap; /* live bytes are data[off .. off+len) */
};

void sl_buf_init(struct sl_buf *);
void sl_buf_fini(struct sl_buf *);
/* Returns room for n more bytes behind the live ones, or NULL when memory is out; sl_buf_added() makes them live. */
void *sl_buf_room(struct sl_buf *, size_t n);
void sl_buf_added(struct sl_buf *, size_t n);
int sl_buf_add(struct sl_buf *, const void *, size_t n);  /* 0 or SLUICE_ENOMEM */
int sl_buf_addf(struct sl_buf *, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void sl_buf_drain(struct sl_buf *, size_t n);             /* drop n live bytes from the front */
void sl_buf_shrink(struct sl_buf *);                      /* give memory back when empty */
sl_slice sl_buf_slice(const struct sl_buf *);

/* A strict little-endian reader: after any short read `bad` is set and everything reads as zero. */
struct sl_cur {
	const uint8_t *p, *end;
	bool bad;
};
struct sl_cur sl_cur_of(sl_slice);
uint8_t sl_cur_u8(struct sl_cur *);
uint16_t sl_cur_u16(struct sl_cur *);
uint32_t sl_cur_u32(struct sl_cur *);
uint64_t sl_cur_u64(struct sl_cur *);
sl_slice sl_cur_take(struct sl_cur *, size_t n);
sl_slice sl_cur_bytes(struct sl_cur *);   /* u32 length, then that many bytes; UINT32_MAX: absent */
uint64_t sl_cur_varint(struct sl_cur *);  /* LEB128, at most 10 bytes */
bool sl_cur_done(const struct sl_cur *);  /* read to the exact end without error */

int sl_put_u8(struct sl_buf *, uint8_t);
int sl_put_u16(struct sl_buf *, uint16_t);
int sl_put_u32(struct sl_buf *, uint32_t);
int sl_put_u64(struct sl_buf *, uint64_t);
int sl_put_bytes(struct sl_buf *, sl_slice);
int sl_put_varint(struct sl_buf *, uint64_t);

#endif
