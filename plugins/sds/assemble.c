/*
 * assemble.c - values in chunks, until they are whole (C.1, G.2). Plugin sds, worker process.
 *
 * Sets are a connection's own, so nobody completes another's with something else. Memory is counted by what is held and never taken for
 * what is announced; it has a bound for a connection and one for the worker. A set that gets nothing new for a while, or is one too many,
 * is dropped, and so is everything when the connection ends.
 */
#include <stdlib.h>

#include "sds.h"

static void piece_free(struct set *set, struct piece *piece)
{
	TAILQ_REMOVE(&set->pieces, piece, link);
	set->bytes -= piece->len;
	free(piece);
}

static void set_free(struct sets *all, struct set *set)
{
	TAILQ_REMOVE(&all->list, set, link);
	all->n--;
	all->bytes -= set->bytes;
	*all->total -= set->bytes;
	while (!TAILQ_EMPTY(&set->pieces))
		piece_free(set, TAILQ_FIRST(&set->pieces));
	free(set);
}

void sets_init(struct sets *all, uint64_t *total)
{
	TAILQ_INIT(&all->list);
	all->n = 0;
	all->bytes = 0;
	all->total = total;
}

void sets_clear(struct sets *all)
{
	while (!TAILQ_EMPTY(&all->list))
		set_free(all, TAILQ_FIRST(&all->list));
}

/* The one that has waited longest is the first. */
void sets_expire(struct sets *all, uint64_t now_ms)
{
	struct set *set;

	while ((set = TAILQ_FIRST(&all->list)) && now_ms - set->heard_ms >= SET_MS)
		set_free(all, set);
}

static struct set *set_find(const struct sets *all, const uint8_t hash[HASH_LEN])
{
	struct set *set;

	TAILQ_FOREACH(set, &all->list, link)
		if (memcmp(set->hash, hash, HASH_LEN) == 0)
			return set;
	return NULL;
}

static struct set *set_new(struct sets *all, const struct chunk *c)
{
	struct set *set = calloc(1, sizeof *set);

	if (!set)
		return NULL;
	if (all->n == SETS_MAX)
		set_free(all, TAILQ_FIRST(&all->list));
	memcpy(set->hash, c->hash, HASH_LEN);
	set->total = c->total;
	TAILQ_INIT(&set->pieces);
	TAILQ_INSERT_TAIL(&all->list, set, link);
	all->n++;
	return set;
}

/* In the order of indexes; one that comes again takes the place of the first. */
static bool set_add(struct sets *all, struct set *set, const struct chunk *c)
{
	struct piece *piece = malloc(sizeof *piece + c->data.len), *at = TAILQ_FIRST(&set->pieces);
	size_t before = set->bytes;

	if (!piece)
		return false;
	piece->index = c->index;
	piece->len = c->data.len;
	if (c->data.len)
		memcpy(piece->data, c->data.data, c->data.len);
	while (at && at->index < c->index)
		at = TAILQ_NEXT(at, link);
	if (at)
		TAILQ_INSERT_BEFORE(at, piece, link);
	else
		TAILQ_INSERT_TAIL(&set->pieces, piece, link);
	set->bytes += piece->len;
	if (at && at->index == c->index)
		piece_free(set, at);
	else
		set->n++;
	all->bytes += set->bytes - before;
	*all->total += set->bytes - before;
	return true;
}

/* The whole content; the set is gone. */
static uint8_t *set_take(struct sets *all, struct set *set, size_t *len)
{
	uint8_t *whole = malloc(set->bytes + 1);
	struct piece *piece;

	*len = 0;
	for (piece = TAILQ_FIRST(&set->pieces); whole && piece; piece = TAILQ_NEXT(piece, link)) {
		memcpy(whole + *len, piece->data, piece->len);
		*len += piece->len;
	}
	set_free(all, set);
	return whole;
}

bool chunk_parse(slice payload, struct chunk *c)
{
	const uint8_t *p = payload.data;

	if (payload.len < CHUNK_HEAD || payload.len - CHUNK_HEAD > CHUNK_MAX)
		return false;
	memcpy(c->hash, p, HASH_LEN);
	c->index = get_u32(p + HASH_LEN);
	c->total = get_u32(p + HASH_LEN + 4);
	c->data = SLICE(p + CHUNK_HEAD, payload.len - CHUNK_HEAD);
	return c->total > 0 && c->index < c->total;
}

enum added sets_add(struct sets *all, const struct chunk *c, const struct set_limits *limits, uint64_t now_ms, uint8_t **whole,
                    size_t *len)
{
	struct set *set = set_find(all, c->hash);

	*whole = NULL;
	if ((uint64_t)c->total * CHUNK_UNIT > limits->value)
		return SET_REFUSED;
	if (set && set->total != c->total) { /* it begins anew */
		set_free(all, set);
		set = NULL;
	}
	if (!set)
		set = set_new(all, c);
	if (!set)
		return SET_REFUSED;
	if (all->bytes + c->data.len > limits->bytes || *all->total + c->data.len > limits->total || !set_add(all, set, c)) {
		set_free(all, set);
		return SET_REFUSED;
	}
	set->heard_ms = now_ms;
	TAILQ_REMOVE(&all->list, set, link);
	TAILQ_INSERT_TAIL(&all->list, set, link);
	if (set->n < set->total)
		return SET_GROWS;
	*whole = set_take(all, set, len);
	return *whole ? SET_WHOLE : SET_REFUSED;
}
