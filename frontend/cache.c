/*
 * cache.c - the newest bytes of watched streams, from the writer's notices: most live reads need no SQLite. Process:
 * sluice-frontend.
 *
 * Bytes only: a read uses them for exactly the range that facts of its own transaction allow, or not at all. One run
 * of whole records per watch; a fill that does not begin where the run ends starts it anew. Bounded per stream and in
 * all.
 */
#include "frontend/worker.h"
#include "lib/marks.h"

#include <stdlib.h>

enum { STREAM_MAX = 256 * 1024, MESSAGES_MAX = 64 * 1024, ALL_MAX = 64 * 1024 * 1024 };

struct cache_record {
	uint64_t end;      /* offset behind it */
	uint64_t data_end; /* in bytes put in since the cache was made, like tail_cache.data_from */
	uint64_t message;  /* number of messages put in up to its end */
};

struct tail_cache {
	struct sl_link lru;
	struct host_watch *watch;
	uint64_t from, end;               /* offsets of the run */
	uint64_t data_from, message_from; /* what was dropped from the front */
	struct sl_buf data;
	struct cache_record *record;
	uint64_t *message_end; /* like data_end */
	size_t n_record, cap_record, n_message, cap_message;
	size_t charged; /* bytes counted in store.cache_bytes */
};

static void cache_charge(struct store *s, struct tail_cache *c)
{
	size_t now =
		sizeof *c + c->data.cap + c->cap_record * sizeof *c->record + c->cap_message * sizeof *c->message_end;

	s->cache_bytes += now;
	s->cache_bytes -= c->charged;
	c->charged = now;
}

void cache_drop(struct worker *w, struct host_watch *hw)
{
	struct tail_cache *c = hw->cache;

	if (!c)
		return;
	hw->cache = NULL;
	w->store.cache_bytes -= c->charged;
	sl_link_del(&c->lru);
	sl_buf_fini(&c->data);
	free(c->record);
	free(c->message_end);
	free(c);
}

void cache_drop_all(struct worker *w)
{
	while (!sl_link_alone(&w->store.caches))
		cache_drop(w, SL_OF(w->store.caches.next, struct tail_cache, lru)->watch);
}

static void cache_restart(struct tail_cache *c, uint64_t from)
{
	c->from = c->end = from;
	c->data.len = c->data.off = 0;
	c->n_record = c->n_message = 0;
	c->data_from = c->message_from = 0;
}

static struct tail_cache *cache_of(struct worker *w, struct host_watch *hw, uint64_t from)
{
	struct tail_cache *c = hw->cache;

	if (!c) {
		c = calloc(1, sizeof *c);
		if (!c)
			return NULL;
		hw->cache = c;
		c->watch = hw;
		sl_link_init(&c->lru);
		cache_restart(c, from);
	} else if (c->end != from) {
		cache_restart(c, from);
	}
	sl_link_del(&c->lru);
	sl_link_add(&w->store.caches, &c->lru);
	return c;
}

static void *grow(void *v, size_t *cap, size_t need, size_t size)
{
	size_t more = *cap ? *cap : 64;

	if (need <= *cap)
		return v;
	while (more < need)
		more *= 2;
	v = realloc(v, more * size);
	if (v)
		*cap = more;
	return v;
}

static int cache_room(struct tail_cache *c, size_t messages)
{
	void *v = grow(c->record, &c->cap_record, c->n_record + 1, sizeof *c->record);

	if (!v)
		return SLUICE_ENOMEM;
	c->record = v;
	v = grow(c->message_end, &c->cap_message, c->n_message + messages, sizeof *c->message_end);
	if (!v)
		return SLUICE_ENOMEM;
	c->message_end = v;
	return 0;
}

static int cache_add(struct tail_cache *c, const struct sl_mark *m, const uint8_t *data)
{
	struct sl_cur lengths = m->lengths;
	uint64_t at = c->data_from + c->data.len;

	if (cache_room(c, m->messages) || sl_buf_add(&c->data, data, (size_t)m->bytes))
		return SLUICE_ENOMEM;
	for (uint32_t i = 0; i < m->messages; i++) {
		at += m->messages == 1 ? m->bytes : sl_cur_varint(&lengths);
		c->message_end[c->n_message++] = at;
	}
	c->end += m->bytes + SLUICE_RECORD_OVERHEAD;
	c->record[c->n_record++] = (struct cache_record){
		.end = c->end, .data_end = c->data_from + c->data.len, .message = c->message_from + c->n_message};
	return 0;
}

/* Over its bound it is cut to half, so that the moving costs little for each byte. */
static void cache_cut(struct tail_cache *c)
{
	size_t i = 0;
	const struct cache_record *r = c->record;

	if (c->data.len <= STREAM_MAX && c->n_message <= MESSAGES_MAX)
		return;
	while (i < c->n_record && (c->data_from + c->data.len - r[i].data_end > STREAM_MAX / 2 ||
	                           c->message_from + c->n_message - r[i].message > MESSAGES_MAX / 2))
		i++;
	if (i == c->n_record) {
		cache_restart(c, c->end);
		return;
	}
	c->from = r[i].end;
	sl_buf_drain(&c->data, (size_t)(r[i].data_end - c->data_from));
	c->n_message -= (size_t)(r[i].message - c->message_from);
	memmove(c->message_end, c->message_end + (r[i].message - c->message_from),
	        c->n_message * sizeof *c->message_end);
	c->data_from = r[i].data_end;
	c->message_from = r[i].message;
	c->n_record -= i + 1;
	memmove(c->record, c->record + i + 1, c->n_record * sizeof *c->record);
}

void cache_fill(struct worker *w, struct host_watch *hw, uint64_t from, sl_slice fill, sl_slice marks)
{
	struct tail_cache *c = cache_of(w, hw, from);
	struct sl_cur run = sl_cur_of(marks);
	const uint8_t *at = fill.data, *end = at + fill.len;
	struct sl_mark m;
	int rc;

	if (!c)
		return;
	while ((rc = sl_marks_next(&run, &m)) > 0) {
		if (m.bytes > (uint64_t)(end - at) || cache_add(c, &m, at)) {
			rc = SLUICE_EINVAL;
			break;
		}
		at += m.bytes;
	}
	if (rc || at != end) { /* not worth a word: it is a hint */
		cache_drop(w, hw);
		return;
	}
	cache_cut(c);
	cache_charge(&w->store, c);
	while (w->store.cache_bytes > ALL_MAX && w->store.caches.next->next != &w->store.caches)
		cache_drop(w, SL_OF(w->store.caches.next, struct tail_cache, lru)->watch);
}

/* Index of the record that contains the offset (its end belongs to the next one). */
static size_t cache_find(const struct tail_cache *c, uint64_t from)
{
	size_t low = 0, high = c->n_record;

	while (low < high) {
		size_t mid = (low + high) / 2;

		if (c->record[mid].end <= from)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

/* The arrays of an answer count from its own beginning. */
static int cache_step(struct store *s, const struct tail_cache *c, size_t first, size_t last, struct sl_step *step)
{
	uint64_t data = first ? c->record[first - 1].data_end : c->data_from;
	uint64_t message = (first ? c->record[first - 1].message : c->message_from) - c->message_from;
	size_t n_message = (size_t)(c->record[last].message - c->message_from - message), n_record = last - first + 1;
	uint32_t *ends;
	struct sluice_record *records;

	s->cache_ends.len = s->cache_ends.off = s->cache_records.len = s->cache_records.off = 0;
	ends = sl_buf_room(&s->cache_ends, n_message * sizeof *ends);
	records = sl_buf_room(&s->cache_records, n_record * sizeof *records);
	if (!ends || !records)
		return SLUICE_ENOMEM;
	for (size_t i = 0; i < n_message; i++)
		ends[i] = (uint32_t)(c->message_end[message + i] - data);
	for (size_t i = 0; i < n_record; i++)
		records[i] = (struct sluice_record){.end = c->record[first + i].end,
		                                    .data_end = (uint32_t)(c->record[first + i].data_end - data)};
	*step = (struct sl_step){
		.data = SL_SLICE(c->data.data + c->data.off + (data - c->data_from),
	                         (size_t)(c->record[last].data_end - data)),
		.message_end = ends,
		.n_message_end = n_message,
		.record = records,
		.n_record = n_record,
		.next = c->record[last].end,
	};
	return 0;
}

bool cache_read(struct worker *w, struct host_watch *hw, const struct sl_facts *facts, uint64_t from, uint64_t budget,
                struct sl_plan *plan, struct sl_step *step)
{
	struct tail_cache *c = hw->cache;
	size_t first, last;
	uint64_t base;

	if (!c || hw->incarnation != facts->incarnation || from < c->from || from >= c->end || c->end > facts->tail)
		return false;
	first = last = cache_find(c, from);
	base = first ? c->record[first - 1].data_end : c->data_from;
	while (last + 1 < c->n_record && c->record[last + 1].data_end - base <= budget)
		last++;
	/* What follows may belong to the answer too, and is not here. */
	if (last + 1 == c->n_record && c->end != facts->tail)
		return false;
	if (cache_step(&w->store, c, first, last, step))
		return false;
	*plan = (struct sl_plan){.from = first ? c->record[first - 1].end : c->from,
	                         .end = step->next,
	                         .payload_bytes = step->data.len,
	                         .messages = step->n_message_end};
	sl_link_del(&c->lru);
	sl_link_add(&w->store.caches, &c->lru);
	return true;
}
