/*
 * codec.c - updates of ephemeral channels: a strict decoder that copies nothing, and the encoder of entries. Process:
 * sluice-frontend.
 *
 * loro-ephemeral-store 2 and 3. The bytes come from strangers: values are walked with a stack of counts, never by
 * recursion, and nothing is allocated by a count that was announced.
 */
#include "frontend/ephemeral/ephemeral.h"

enum { VARINT_32 = 5, VARINT_64 = 10 };

/* LEB128 of at most `bytes` bytes; the last one may only carry what is left of the width. Longer than minimal is fine. */
static uint64_t take_varint(struct sl_cur *c, unsigned bytes, uint8_t last)
{
	uint64_t v = 0;

	for (unsigned i = 0; i < bytes; i++) {
		uint8_t b = sl_cur_u8(c);

		if (c->bad || (i == bytes - 1 && b > last))
			break;
		v |= (uint64_t)(b & 0x7f) << (7 * i);
		if (!(b & 0x80))
			return v;
	}
	c->bad = true;
	return 0;
}

static uint32_t take_u32(struct sl_cur *c)
{
	return (uint32_t)take_varint(c, VARINT_32, 0x0f);
}

static uint64_t take_u64(struct sl_cur *c)
{
	return take_varint(c, VARINT_64, 0x01);
}

static int64_t take_i64(struct sl_cur *c)
{
	uint64_t z = take_u64(c);

	return (int64_t)(z >> 1 ^ (~(z & 1) + 1));
}

/* Length of the UTF-8 sequence at p, 0 when there is none: no surrogates, no overlong forms, at most U+10FFFF. */
static size_t utf8_length(const uint8_t *p, size_t n)
{
	static const struct {
		uint8_t lead_min, lead_max, second_min, second_max, length;
	} form[] = {{0xc2, 0xdf, 0x80, 0xbf, 2}, {0xe0, 0xe0, 0xa0, 0xbf, 3}, {0xe1, 0xec, 0x80, 0xbf, 3},
	            {0xed, 0xed, 0x80, 0x9f, 3}, {0xee, 0xef, 0x80, 0xbf, 3}, {0xf0, 0xf0, 0x90, 0xbf, 4},
	            {0xf1, 0xf3, 0x80, 0xbf, 4}, {0xf4, 0xf4, 0x80, 0x8f, 4}};

	for (size_t i = 0; i < sizeof form / sizeof *form; i++) {
		if (p[0] < form[i].lead_min || p[0] > form[i].lead_max)
			continue;
		if (n < form[i].length || p[1] < form[i].second_min || p[1] > form[i].second_max)
			return 0;
		for (size_t k = 2; k < form[i].length; k++)
			if ((p[k] & 0xc0) != 0x80)
				return 0;
		return form[i].length;
	}
	return 0;
}

bool eph_text_valid(sl_slice s)
{
	const uint8_t *p = s.data;

	for (size_t i = 0, n; i < s.len; i += n) {
		n = p[i] < 0x80 ? 1 : utf8_length(p + i, s.len - i);
		if (n == 0)
			return false;
	}
	return true;
}

sl_slice eph_take_text(struct sl_cur *c)
{
	sl_slice s = sl_cur_take(c, take_u32(c));

	c->bad |= !c->bad && !eph_text_valid(s);
	return s;
}

static double take_double(struct sl_cur *c)
{
	uint64_t bits = sl_cur_u64(c);
	double v;

	memcpy(&v, &bits, sizeof v);
	return v;
}

static void take_container(struct sl_cur *c, struct eph_piece *p)
{
	uint32_t kind = take_u32(c);

	c->bad |= kind > 1;
	if (kind == 0) {
		p->bytes = eph_take_text(c);
	} else {
		uint32_t z;

		p->peer = take_u64(c);
		z = take_u32(c);
		p->integer = (int32_t)(z >> 1 ^ (~(z & 1) + 1));
	}
	p->type = sl_cur_u8(c); /* any */
}

void eph_take_piece(struct sl_cur *c, struct eph_piece *p)
{
	uint32_t tag = take_u32(c);

	*p = (struct eph_piece){.tag = (enum eph_tag)tag};
	switch (tag) {
	case EPH_NULL:
		break;
	case EPH_BOOL:
		p->integer = sl_cur_u8(c);
		c->bad |= p->integer > 1;
		break;
	case EPH_DOUBLE:
		p->number = take_double(c);
		break;
	case EPH_INTEGER:
		p->integer = take_i64(c);
		break;
	case EPH_STRING:
		p->bytes = eph_take_text(c);
		break;
	case EPH_LIST:
	case EPH_MAP:
		p->elements = take_u32(c);
		break;
	case EPH_CONTAINER:
		take_container(c, p);
		break;
	case EPH_BINARY:
		p->bytes = sl_cur_take(c, take_u32(c));
		break;
	default:
		c->bad = true;
	}
}

/* One value with all that it contains. */
static sl_slice take_value(struct sl_cur *c)
{
	struct {
		uint32_t left;
		bool map; /* a key stands before each element */
	} open[EPH_DEPTH_MAX];
	const uint8_t *from = c->p;
	size_t depth = 0;

	do {
		struct eph_piece p;

		if (depth > 0) {
			open[depth - 1].left--;
			if (open[depth - 1].map)
				eph_take_text(c);
		}
		eph_take_piece(c, &p);
		/* An element takes a byte at least: a count beyond what is left cannot be met. */
		if (((p.tag == EPH_LIST || p.tag == EPH_MAP) && depth == EPH_DEPTH_MAX) ||
		    p.elements > (size_t)(c->end - c->p))
			c->bad = true;
		if (c->bad)
			return SL_SLICE(NULL, 0);
		if (p.elements > 0) {
			open[depth].left = p.elements;
			open[depth++].map = p.tag == EPH_MAP;
		}
		while (depth > 0 && open[depth - 1].left == 0)
			depth--;
	} while (depth > 0);
	return SL_SLICE(from, (size_t)(c->p - from));
}

int eph_walk_begin(struct eph_walk *w, sl_slice update)
{
	w->cur = sl_cur_of(update);
	w->left = take_u32(&w->cur);
	return w->cur.bad ? SLUICE_EINVAL : 0;
}

int eph_walk_next(struct eph_walk *w, struct eph_entry *e)
{
	struct sl_cur *c = &w->cur;
	uint8_t present;

	if (w->left == 0)
		return 0;
	w->left--;
	e->key = eph_take_text(c);
	present = sl_cur_u8(c);
	c->bad |= present > 1;
	e->value = SL_SLICE(NULL, 0);
	if (present && !c->bad)
		e->value = take_value(c);
	e->timestamp = take_i64(c);
	return c->bad ? SLUICE_EINVAL : 1;
}

int eph_check(sl_slice update)
{
	struct eph_walk w;
	struct eph_entry e;
	int rc = eph_walk_begin(&w, update);

	if (rc)
		return rc;
	while ((rc = eph_walk_next(&w, &e)) == 1)
		;
	return rc;
}

int eph_put_count(struct sl_buf *b, size_t n)
{
	return sl_put_varint(b, n);
}

int eph_put_entry(struct sl_buf *b, const struct eph_entry *e)
{
	uint64_t t = (uint64_t)e->timestamp;

	if (sl_put_varint(b, e->key.len) || sl_buf_add(b, e->key.data, e->key.len) ||
	    sl_put_u8(b, e->value.data != NULL) || sl_buf_add(b, e->value.data, e->value.len))
		return SLUICE_ENOMEM;
	return sl_put_varint(b, t << 1 ^ (e->timestamp < 0 ? UINT64_MAX : 0));
}
