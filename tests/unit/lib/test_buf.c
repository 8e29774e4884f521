/* Buffers keep their bytes through growth and draining; cursors never read past the end. */
#include "lib/buf.h"
#include "tests/unit/tap.h"

static void test_growth(void)
{
	struct sl_buf b;
	unsigned char want = 0, good = 1;

	sl_buf_init(&b);
	for (int i = 0; i < 10000; i++) {
		unsigned char c = (unsigned char)i;

		sl_buf_add(&b, &c, 1);
		if (i % 3 == 2) {
			good &= ((const unsigned char *)sl_buf_slice(&b).data)[0] == want++;
			sl_buf_drain(&b, 1);
		}
	}
	ok(good, "bytes leave in the order they came");
	is_int(b.len, 10000 - 3333, "what was not drained is live");
	sl_buf_drain(&b, 100000);
	is_int(b.len, 0, "draining more than there is empties");
	sl_buf_shrink(&b);
	ok(b.data == NULL, "an empty buffer gives its memory back");
	ok(sl_buf_room(&b, SIZE_MAX) == NULL, "an impossible size is refused");
	sl_buf_fini(&b);
}

static void test_cursor(void)
{
	struct sl_buf b;
	struct sl_cur c;

	sl_buf_init(&b);
	sl_put_u16(&b, 0x1234);
	sl_put_u64(&b, UINT64_C(0x0102030405060708));
	sl_put_bytes(&b, SL_STR("abc"));
	sl_put_bytes(&b, SL_SLICE(NULL, 0));
	sl_put_varint(&b, UINT64_MAX);
	c = sl_cur_of(sl_buf_slice(&b));
	is_int(sl_cur_u16(&c), 0x1234, "u16");
	ok(sl_cur_u64(&c) == UINT64_C(0x0102030405060708), "u64");
	ok(sl_slice_is(sl_cur_bytes(&c), "abc"), "bytes");
	ok(sl_cur_bytes(&c).data == NULL, "absent stays absent");
	ok(sl_cur_varint(&c) == UINT64_MAX, "the largest varint");
	ok(sl_cur_done(&c), "read to the end");
	is_int(sl_cur_u8(&c), 0, "past the end everything is zero");
	ok(c.bad && !sl_cur_done(&c), "and the cursor says so");
	c = sl_cur_of(SL_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02"));
	sl_cur_varint(&c);
	ok(c.bad, "a varint over 64 bits is refused");
	sl_buf_fini(&b);
}

int main(void)
{
	test_growth();
	test_cursor();
	ok(sl_slice_cmp(SL_STR("2"), SL_STR("10")) > 0, "slices compare bytewise");
	ok(sl_slice_cmp(SL_STR("ab"), SL_STR("abc")) < 0, "then by length");
	return tap_done();
}
