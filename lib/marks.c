/*
 * marks.c - where records and messages end inside payload bytes. Writer, workers.
 */
#include "lib/marks.h"

int sl_marks_encode(struct sl_buf *b, const uint32_t *len, size_t n, uint64_t total)
{
	uint64_t sum = 0;

	if (n <= 1)
		return n == 1 && len && len[0] != total ? SLUICE_EINVAL : 0;
	if (n > SL_MESSAGES_MAX)
		return SLUICE_ETOOBIG;
	if (sl_put_varint(b, n))
		return SLUICE_ENOMEM;
	for (size_t i = 0; i < n; i++) {
		sum += len[i];
		if (len[i] == 0)
			return SLUICE_EINVAL;
		if (sl_put_varint(b, len[i]))
			return SLUICE_ENOMEM;
	}
	return sum == total ? 0 : SLUICE_EINVAL;
}

/* Reads n lengths that must add up to total. */
static int marks_sum(struct sl_cur *c, uint64_t n, uint64_t total)
{
	uint64_t sum = 0;

	for (uint64_t i = 0; i < n; i++) {
		uint64_t len = sl_cur_varint(c);

		if (c->bad || len == 0 || len > total - sum)
			return SLUICE_EINVAL;
		sum += len;
	}
	return sum == total ? 0 : SLUICE_EINVAL;
}

int sl_marks_check(sl_slice marks, uint64_t total, uint32_t *messages)
{
	struct sl_cur c = sl_cur_of(marks);
	uint64_t n;

	*messages = 1;
	if (marks.len == 0)
		return 0;
	n = sl_cur_varint(&c);
	if (c.bad || n < 2 || n > SL_MESSAGES_MAX || marks_sum(&c, n, total) || !sl_cur_done(&c))
		return SLUICE_EINVAL;
	*messages = (uint32_t)n;
	return 0;
}

int sl_marks_add(struct sl_buf *run, uint64_t bytes, sl_slice marks)
{
	if (sl_put_varint(run, bytes))
		return SLUICE_ENOMEM;
	return marks.len ? sl_buf_add(run, marks.data, marks.len) : sl_put_varint(run, 1);
}

int sl_marks_next(struct sl_cur *run, struct sl_mark *m)
{
	uint64_t n;

	if (run->p == run->end)
		return run->bad ? SLUICE_EINVAL : 0;
	m->bytes = sl_cur_varint(run);
	n = sl_cur_varint(run);
	if (run->bad || n == 0 || n > SL_MESSAGES_MAX)
		return SLUICE_EINVAL;
	m->messages = (uint32_t)n;
	m->lengths = *run;
	if (n >= 2 && marks_sum(run, n, m->bytes))
		return SLUICE_EINVAL;
	m->lengths.end = run->p;
	return 1;
}
