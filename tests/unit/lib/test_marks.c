/*
 * test_marks.c - message boundaries of records and runs: encoding, checking, walking, refusing.
 */
#include "lib/marks.h"
#include "tests/unit/tap.h"

static void test_one(void)
{
	struct sl_buf b = {0};
	uint32_t n = 0;

	is_int(sl_marks_encode(&b, (const uint32_t[]){5}, 1, 5), 0, "a single message");
	is_int(b.len, 0, "has no marks");
	is_int(sl_marks_encode(&b, (const uint32_t[]){5}, 1, 6), SLUICE_EINVAL, "of another length");
	is_int(sl_marks_encode(&b, (const uint32_t[]){1, 300, 2}, 3, 303), 0, "three messages");
	is_int(sl_marks_check(sl_buf_slice(&b), 303, &n), 0, "are accepted");
	is_int(n, 3, "and counted");
	is_int(sl_marks_check(sl_buf_slice(&b), 304, &n), SLUICE_EINVAL, "not for another total");
	for (size_t i = 1; i < b.len; i++)
		if (sl_marks_check(SL_SLICE(b.data, i), 303, &n) == 0)
			ok(0, "cut off");
	sl_put_u8(&b, 0);
	is_int(sl_marks_check(sl_buf_slice(&b), 303, &n), SLUICE_EINVAL, "nor with something behind");
	is_int(sl_marks_encode(&b, (const uint32_t[]){1, 0, 2}, 3, 3), SLUICE_EINVAL, "an empty message");
	is_int(sl_marks_check(SL_STR("\x01\x05"), 5, &n), SLUICE_EINVAL, "a count of one");
	is_int(sl_marks_check(SL_STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), 5, &n), SLUICE_EINVAL,
	       "a count beyond all bounds");
	sl_buf_fini(&b);
}

static void test_run(void)
{
	struct sl_buf run = {0}, marks = {0};
	struct sl_mark m;
	struct sl_cur c;

	sl_marks_encode(&marks, (const uint32_t[]){2, 3}, 2, 5);
	sl_marks_add(&run, 7, SL_SLICE(NULL, 0));
	sl_marks_add(&run, 5, sl_buf_slice(&marks));
	c = sl_cur_of(sl_buf_slice(&run));
	ok(sl_marks_next(&c, &m) == 1 && m.bytes == 7 && m.messages == 1, "first record");
	ok(sl_marks_next(&c, &m) == 1 && m.bytes == 5 && m.messages == 2, "second record");
	ok(sl_cur_varint(&m.lengths) == 2 && sl_cur_varint(&m.lengths) == 3 && m.lengths.p == m.lengths.end,
	   "its messages");
	is_int(sl_marks_next(&c, &m), 0, "the end");
	c = sl_cur_of(SL_SLICE(run.data, run.len - 1));
	sl_marks_next(&c, &m);
	is_int(sl_marks_next(&c, &m), SLUICE_EINVAL, "cut off");
	sl_buf_fini(&run);
	sl_buf_fini(&marks);
}

int main(void)
{
	test_one();
	test_run();
	return tap_done();
}
