/*
 * presence.c - who is there (C.3, G.4). Plugin sds, worker process.
 *
 * A state is kept by the worker of its connection and, for the others, in the store's channel under connection and PeerId, owned by
 * the connection: it goes when that does, whatever becomes of the worker. A newcomer is sent every state that is there. States are
 * relayed as they were sent; one without a PeerId that is a string gets the connection's, as the last member, which is the one that
 * counts when there are two.
 */
#include <stdio.h>
#include <stdlib.h>

#include "sds.h"

/* In a channel: when it was heard of, the end of its sender's last record, the text. */
static bool value_split(slice value, uint64_t *seen_ms, uint64_t *after, slice *text)
{
	const uint8_t *p = value.data;

	if (value.len < STATE_HEAD)
		return false;
	*seen_ms = get_u64(p);
	*after = get_u64(p + 8);
	*text = SLICE(p + STATE_HEAD, value.len - STATE_HEAD);
	return true;
}

/* ---- the table ---- */

static struct state *state_find(const struct room *r, slice key)
{
	struct state *st;

	TAILQ_FOREACH(st, &r->states, link)
		if (slice_eq(SLICE(st->key, st->n_key), key))
			return st;
	return NULL;
}

static void state_free(struct room *r, struct state *st)
{
	TAILQ_REMOVE(&r->states, st, link);
	if (st->peer)
		st->peer->n_states--;
	--*r->s->count.states;
	r->s->host->buf_unref(st->frame);
	free(st->text);
	free(st);
}

/* Takes text and a reference of its own to frame; NULL: there is no memory for it, and it is not kept. */
static struct state *state_set(struct room *r, struct peer *p, slice key, slice text, uint64_t seen_ms,
                               struct sluice_buf *frame)
{
	struct state *st = state_find(r, key);
	char *copy = malloc(text.len + 1);

	if (!copy)
		return NULL;
	memcpy(copy, text.data, text.len);
	if (!st) {
		st = calloc(1, sizeof *st + key.len);
		if (!st) {
			free(copy);
			return NULL;
		}
		memcpy(st->key, key.data, key.len);
		st->n_key = key.len;
		st->peer = p;
		if (p)
			p->n_states++;
		++*r->s->count.states;
		TAILQ_INSERT_TAIL(&r->states, st, link);
	}
	free(st->text);
	st->text = copy;
	st->len = text.len;
	st->seen_ms = seen_ms;
	r->s->host->buf_unref(st->frame);
	st->frame = r->s->host->buf_ref(frame);
	return st;
}

static struct sluice_buf *state_frame(struct sds *s, slice text)
{
	uint8_t *frame = malloc(text.len + 1);
	struct sluice_buf *buf;

	if (!frame)
		return NULL;
	frame[0] = FRAME_PRESENCE;
	memcpy(frame + 1, text.data, text.len);
	buf = s->host->buf_new(s->ctx, SLICE(frame, text.len + 1));
	free(frame);
	return buf;
}

/* ---- the channel ---- */

static void state_put(struct peer *p, slice key, slice text, uint64_t seen_ms)
{
	struct sds *s = p->s;
	char name[ID_MAX + 16];
	struct sluice_channel c;
	uint8_t *value;

	/* One that is not there gets everything when it is (presence_renew). */
	if (p->room->channel == CHANNEL_LOCAL || p->room->channel == CHANNEL_NONE || !channel_name(p->room, name, &c))
		return;
	value = malloc(STATE_HEAD + text.len);
	if (!p->owner)
		p->owner = s->eph->owner(s->ctx);
	if (value) {
		put_u64(value, seen_ms);
		put_u64(value + 8, p->last_end);
		memcpy(value + STATE_HEAD, text.data, text.len);
	}
	/* One that is lost comes again with the next heartbeat. */
	if (!value || s->eph->put(s->ctx, &c, p->id, p->owner, key, SLICE(value, STATE_HEAD + text.len), NULL, NULL, NULL))
		++*s->count.casts_lost;
	free(value);
}

static void state_take_back(struct state *st)
{
	struct peer *p = st->peer;
	char name[ID_MAX + 16];
	struct sluice_channel c;

	if (p->room->channel != CHANNEL_LOCAL && channel_name(p->room, name, &c))
		p->s->eph->put(p->s->ctx, &c, p->id, p->owner, SLICE(st->key, st->n_key), SLICE(NULL, 0), NULL, NULL, NULL);
}

void presence_put(struct room *r, slice key, slice value, bool fresh)
{
	struct state *st = state_find(r, key);
	uint64_t seen_ms, after;
	struct sluice_buf *frame;
	struct peer *p, *next;
	slice text;

	if ((st && st->peer) || !value_split(value, &seen_ms, &after, &text))
		return;
	frame = state_frame(r->s, text);
	if (!frame || !state_set(r, NULL, key, text, seen_ms, frame))
		++*r->s->count.casts_lost;
	if (frame && fresh) {
		channel_tell(r, after, frame, text.len + 1, true);
		return;
	}
	for (p = frame ? TAILQ_FIRST(&r->peers) : NULL; p; p = next) {
		next = TAILQ_NEXT(p, link);
		if (p->greeted)
			peer_push(p, frame, text.len + 1, true);
	}
	r->s->host->buf_unref(frame);
}

void presence_gone(struct room *r, slice key)
{
	struct state *st = state_find(r, key);

	if (st && !st->peer)
		state_free(r, st);
}

void presence_lost(struct room *r)
{
	struct state *st, *next;
	struct peer *p;

	for (st = TAILQ_FIRST(&r->states); st; st = next) {
		next = TAILQ_NEXT(st, link);
		if (!st->peer)
			state_free(r, st);
	}
	TAILQ_FOREACH(p, &r->peers, link) {
		if (p->owner)
			r->s->eph->disown(r->s->ctx, p->owner);
		p->owner = 0;
	}
}

void presence_renew(struct room *r)
{
	struct state *st;

	TAILQ_FOREACH(st, &r->states, link)
		if (st->peer && !st->peer->owner)
			state_put(st->peer, SLICE(st->key, st->n_key), SLICE(st->text, st->len), st->seen_ms);
}

/* ---- from a client ---- */

/* Its own PeerId, or the connection's, which is put into text; false: no memory. */
static bool state_name(struct peer *p, const json_t *object, slice text, char **named, slice *out, slice *peer_id)
{
	const json_t *id = json_object_get(object, "PeerId");
	const char *from = text.data;
	size_t n = text.len;
	int more;

	*out = text;
	*named = NULL;
	if (json_is_string(id)) {
		*peer_id = SLICE(json_string_value(id), json_string_length(id));
		return true;
	}
	*peer_id = SLICE(p->uuid, strlen(p->uuid));
	while (from[n - 1] != '}')
		n--;
	*named = malloc(n + 64);
	if (!*named)
		return false;
	memcpy(*named, from, n - 1);
	more = snprintf(*named + n - 1, 64, "%s\"PeerId\":\"%s\"}", json_object_size(object) ? "," : "", p->uuid);
	*out = SLICE(*named, n - 1 + (size_t)(more > 0 ? more : 0));
	return true;
}

static size_t state_key(const struct peer *p, slice peer_id, char key[20 + PEER_ID_MAX])
{
	int n = snprintf(key, 20, "%016llx:", (unsigned long long)p->id);

	memcpy(key + n, peer_id.data, peer_id.len);
	return (size_t)n + peer_id.len;
}

/* One that is not kept reaches the other workers as any frame does. */
static int state_cast(struct peer *p, slice text)
{
	uint8_t *bytes = malloc(text.len + 1);
	int rc = SLUICE_ENOMEM;

	if (bytes) {
		bytes[0] = FRAME_PRESENCE;
		memcpy(bytes + 1, text.data, text.len);
		rc = cast_begin(p, SLICE(bytes, text.len + 1), true);
	}
	free(bytes);
	return rc;
}

/* Kept when it may be, relayed in any case. */
static int state_take(struct peer *p, slice text, slice peer_id)
{
	struct sds *s = p->s;
	struct room *r = p->room;
	struct sluice_buf *frame = state_frame(s, text);
	char key[20 + PEER_ID_MAX];
	bool keep = text.len <= STATE_MAX && peer_id.len <= PEER_ID_MAX;
	size_t n = keep ? state_key(p, peer_id, key) : 0;
	uint64_t now = sds_wall(s);
	int rc = 0;

	if (!frame)
		return SLUICE_ENOMEM;
	keep = keep && (p->n_states < STATES_MAX || state_find(r, SLICE(key, n)));
	if (keep && state_set(r, p, SLICE(key, n), text, now, frame))
		state_put(p, SLICE(key, n), text, now);
	else
		rc = state_cast(p, text);
	room_relay(r, p, frame, text.len + 1, true);
	s->host->buf_unref(frame);
	return rc;
}

int presence_take(struct peer *p, slice frame)
{
	slice text = SLICE((const char *)frame.data + 1, frame.len - 1), whole, peer_id;
	json_t *object = NULL;
	char *named = NULL;

	if (text.len <= STATE_PARSE_MAX)
		object = json_loadb(text.data, text.len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	if (json_is_object(object) &&
	    (!state_name(p, object, text, &named, &whole, &peer_id) || state_take(p, whole, peer_id)))
		peer_close(p, 1013, "out of memory");
	free(named);
	json_decref(object);
	return 0;
}

void presence_greet(struct peer *p)
{
	struct state *st;

	if (p->greeted || !p->ws || p->room->channel == CHANNEL_ASKED || p->room->kind == ROOM_SIGNAL || !p->s->storage)
		return;
	p->greeted = true;
	TAILQ_FOREACH(st, &p->room->states, link)
		if (st->peer != p)
			peer_push(p, st->frame, st->len + 1, true);
}

void presence_leave(struct peer *p)
{
	struct state *st, *next;

	for (st = TAILQ_FIRST(&p->room->states); st; st = next) {
		next = TAILQ_NEXT(st, link);
		if (st->peer == p)
			state_free(p->room, st);
	}
	if (p->owner)
		p->s->eph->disown(p->s->ctx, p->owner);
	p->owner = 0;
}

void presence_clear(struct room *r)
{
	while (!TAILQ_EMPTY(&r->states))
		state_free(r, TAILQ_FIRST(&r->states));
}

void presence_expire(struct room *r)
{
	uint64_t now = sds_wall(r->s);
	struct state *st, *next;

	for (st = TAILQ_FIRST(&r->states); st; st = next) {
		next = TAILQ_NEXT(st, link);
		if (!st->peer || now < st->seen_ms + r->s->presence_ms)
			continue;
		state_take_back(st);
		state_free(r, st);
	}
}

/* ---- for people ---- */

/* The key tells the PeerId; the state may have none that is a string, or several. */
static bool list_add(json_t *list, slice key, slice text, uint64_t seen_ms)
{
	json_t *o = json_loadb(text.data, text.len, JSON_ALLOW_NUL, NULL);
	const char *id = memchr(key.data, ':', key.len);

	if (!json_is_object(o)) { /* integers beyond 64 bits */
		json_decref(o);
		o = json_loadb(text.data, text.len, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, NULL);
	}
	if (!o || !id)
		return false;
	id++;
	json_object_set_new(o, "PeerId", json_stringn(id, key.len - (size_t)(id - (const char *)key.data)));
	json_object_set_new(o, "lastSeen", json_integer((json_int_t)seen_ms));
	return json_array_append_new(list, o) == 0;
}

json_t *presence_list(const struct sluice_channel_kept *kept, size_t n)
{
	json_t *list = json_array();
	uint64_t seen_ms, after;
	slice text;

	for (size_t i = 0; list && i < n; i++)
		if (value_split(kept[i].value, &seen_ms, &after, &text) &&
		    !list_add(list, kept[i].key, text, seen_ms)) {
			json_decref(list);
			list = NULL;
		}
	return list;
}

json_t *presence_list_room(const struct room *r)
{
	json_t *list = json_array();
	const struct state *st;
	bool good = list != NULL;

	if (!r || !good)
		return list;
	TAILQ_FOREACH(st, &r->states, link)
		good = good && list_add(list, SLICE(st->key, st->n_key), SLICE(st->text, st->len), st->seen_ms);
	if (good)
		return list;
	json_decref(list);
	return NULL;
}
