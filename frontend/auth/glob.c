/*
 * glob.c - patterns of stream names. Process: sluice-frontend. No allocation, no recursion.
 *
 * A pattern is compared segment by segment. "**", which is always a whole segment, stands for any number of segments, for at
 * least one at the end; "*" for any bytes within a segment; "\" takes the next byte as it is. What stands between two "**"
 * has a fixed number of segments, so the leftmost place where it fits is the best one, and there is never more than one step
 * back: the time is at most the product of both lengths, for any name.
 */
#include "frontend/auth/internal.h"

struct segments {
	const char *p, *end; /* what has not been taken yet */
	bool more;           /* "" has one segment, which is empty */
};

static struct segments segments_of(sl_slice s)
{
	const char *p = s.len ? s.data : "";

	return (struct segments){p, p + s.len, true};
}

static sl_slice segments_next(struct segments *s)
{
	const char *from = s->p, *slash = s->end > from ? memchr(from, '/', (size_t)(s->end - from)) : NULL;

	s->more = slash != NULL;
	s->p = slash ? slash + 1 : s->end;
	return SL_SLICE(from, (size_t)((slash ? slash : s->end) - from));
}

static bool segment_match(sl_slice pattern, sl_slice text)
{
	const char *p = pattern.data, *t = text.data;
	size_t i = 0, k = 0, star = SIZE_MAX, from = 0;

	while (k < text.len) {
		size_t literal = i + (i + 1 < pattern.len && p[i] == '\\');

		if (i < pattern.len && p[i] == '*') {
			star = ++i;
			from = k;
		} else if (i < pattern.len && p[literal] == t[k]) {
			i = literal + 1;
			k++;
		} else if (star != SIZE_MAX) {
			i = star;
			k = ++from; /* the last "*" takes one byte more; earlier ones need not */
		} else {
			return false;
		}
	}
	while (i < pattern.len && p[i] == '*')
		i++;
	return i == pattern.len;
}

bool glob_match(sl_slice pattern, sl_slice name)
{
	struct segments p = segments_of(pattern), n = segments_of(name), back_p = {0}, back_n = {0};
	bool back = false;

	while (n.more) {
		struct segments p_next = p, n_next = n;
		sl_slice want = p.more ? segments_next(&p_next) : SL_SLICE(NULL, 0);

		if (p.more && sl_slice_is(want, "**")) {
			if (!p_next.more)
				return true;
			p = back_p = p_next;
			back_n = n;
			back = true;
		} else if (p.more && segment_match(want, segments_next(&n_next))) {
			p = p_next;
			n = n_next;
		} else if (back) {
			segments_next(&back_n); /* the last "**" takes one segment more */
			n = back_n;
			p = back_p;
		} else {
			return false;
		}
	}
	return !p.more;
}

const char *glob_check(sl_slice pattern)
{
	struct segments s = segments_of(pattern);
	const char *all = pattern.data;

	if (pattern.len == 0)
		return "a pattern cannot be empty";
	if (pattern.len > GLOB_MAX)
		return "a pattern has at most 1024 bytes";
	if (*all == '/')
		return "names of streams do not begin with \"/\"";
	while (s.more) {
		sl_slice seg = segments_next(&s);
		const char *p = seg.data;

		for (size_t i = 0; i < seg.len; i++) {
			if (p[i] == '\0')
				return "a pattern cannot contain NUL";
			if (p[i] == '\\') {
				if (++i == seg.len)
					return "\"\\\" needs a byte of the same segment behind it";
				continue;
			}
			if (p[i] == '*' && i + 1 < seg.len && p[i + 1] == '*' && seg.len != 2)
				return "\"**\" stands for whole segments: \"a/**\", not \"a**\"";
		}
	}
	return NULL;
}
