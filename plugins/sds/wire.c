/*
 * wire.c - values by socket: taken, kept, and sent to who asks (C.1, G.2). Plugin sds, worker process.
 *
 * What has a name that its content confirms is kept, and then relayed, so that whoever hears of it could load it; the frames of its
 * sender wait for that. What has none is relayed as it is. A value that somebody asks for goes to him alone, in frames that are read from
 * the store as his socket takes them: a client costs one chunk, however large the value.
 */
#include <stdlib.h>

#include "sds.h"

struct wire { /* a frame that waits for its value to be kept, or looked up */
	TAILQ_ENTRY(wire) link;
	struct peer *peer; /* one reference */
	struct sluice_req *req;
	struct change *change;
	size_t n_stream;
	char stream[BELOW_MAX];
	uint8_t hash[HASH_LEN]; /* that the acknowledgement names */
	bool acks;
	size_t len;
	uint8_t frame[];
};

static void wire_free(struct wire *w)
{
	TAILQ_REMOVE(&w->peer->s->wires, w, link);
	peer_unref(w->peer);
	free(w);
}

void wires_drop(struct sds *s)
{
	struct wire *w;

	while ((w = TAILQ_FIRST(&s->wires))) {
		if (w->req)
			s->store->cancel(w->req);
		if (w->change)
			change_forget(w->change);
		wire_free(w);
	}
}

static struct wire *wire_new(struct peer *p, slice frame)
{
	struct wire *w = calloc(1, sizeof *w + frame.len);

	if (!w) {
		peer_close(p, 1013, "out of memory");
		return NULL;
	}
	w->peer = p;
	w->len = frame.len;
	memcpy(w->frame, frame.data, frame.len);
	peer_ref(p);
	p->busy = true;
	TAILQ_INSERT_TAIL(&p->s->wires, w, link);
	return w;
}

/* The frame goes on its way, and the next one may come. */
static void wire_ends(struct wire *w, bool relays)
{
	struct peer *p = w->peer;

	p->busy = false;
	if (relays && p->ws && !p->closing)
		frame_relay(p, SLICE(w->frame, w->len), true);
	peer_ref(p);
	wire_free(w);
	peer_kick(p);
	peer_unref(p);
}

/* ---- taken ---- */

static void wire_kept(void *arg, int status, const struct value_facts *facts)
{
	struct wire *w = arg;
	struct peer *p = w->peer;

	(void)facts;
	w->change = NULL;
	if (status == 0) {
		++*p->s->count.values;
		if (p->ack && w->acks)
			peer_send(p, FRAME_VALUE_ACK, SLICE(w->hash, HASH_LEN));
	} else {
		peer_close(p, status == SLUICE_EFULL || status == SLUICE_EINTERNAL ? 1011 : 1013, "the value cannot be stored");
	}
	wire_ends(w, status == 0);
}

/* hash: what the client calls it, with what is missing to 32 bytes. content NULL: it stands in the frame from content.len behind. */
static void wire_keep(struct peer *p, slice frame, const uint8_t *hash, uint8_t *content, size_t len, slice name, bool good)
{
	struct room *r = p->room;
	struct wire *w = wire_new(p, frame);
	struct change *c = w ? change_new(p->s, CHANGE_WIRE, SLICE(r->id, r->n_id), name) : NULL;

	if (!c) {
		free(content);
		if (w) {
			peer_close(p, 1013, "out of memory");
			wire_ends(w, false);
		}
		return;
	}
	memcpy(w->hash, hash, HASH_LEN);
	w->acks = true;
	w->change = c;
	c->data = content;
	c->len = len;
	c->good = good;
	c->done = wire_kept;
	c->arg = w;
	change_run(c);
}

static bool wire_waits(const struct peer *p)
{
	return p->cast || !appends_settled(p) || p->room->log != LOG_READY;
}

int wire_value(struct peer *p, slice frame)
{
	slice payload = SLICE((const uint8_t *)frame.data + 1, frame.len - 1), content;
	char name[VALUE_NAME];
	uint8_t hash[HASH_LEN] = {0}, *copy;
	enum value_name kind;
	size_t n, head;

	if (!p->s->storage)
		return frame_relay(p, frame, true);
	if (wire_waits(p))
		return SLUICE_EAGAIN;
	kind = name_value(payload, &content, name, &n);
	if (kind == NAME_NONE || content.len > p->s->set_limits.value) {
		++*p->s->count.values_rejected;
		return payload.len < HASH_LEN ? 0 : frame_relay(p, frame, true);
	}
	head = payload.len - content.len;
	memcpy(hash, payload.data, head < HASH_LEN ? head : HASH_LEN);
	copy = malloc(content.len + 1);
	if (!copy) {
		peer_close(p, 1013, "out of memory");
		return 0;
	}
	memcpy(copy, content.data, content.len);
	wire_keep(p, frame, hash, copy, content.len, SLICE(name, n), kind == NAME_SHA);
	return 0;
}

int wire_chunk(struct peer *p, slice frame)
{
	struct sds *s = p->s;
	char name[VALUE_NAME];
	enum value_name kind;
	enum added added;
	struct chunk c;
	uint8_t *whole;
	size_t n, len;

	if (!s->storage)
		return frame_relay(p, frame, true);
	if (wire_waits(p))
		return SLUICE_EAGAIN;
	if (!chunk_parse(SLICE((const uint8_t *)frame.data + 1, frame.len - 1), &c)) {
		++*s->count.values_rejected;
		return 0;
	}
	added = sets_add(&p->sets, &c, &s->set_limits, sds_now(s), &whole, &len);
	if (added == SET_REFUSED)
		++*s->count.values_dropped;
	if (added != SET_WHOLE)
		return frame_relay(p, frame, true);
	kind = name_set(c.hash, SLICE(whole, len), name, &n);
	if (kind == NAME_NONE) {
		free(whole);
		++*s->count.values_rejected;
		return frame_relay(p, frame, true);
	}
	wire_keep(p, frame, c.hash, whole, len, SLICE(name, n), kind == NAME_SHA);
	return 0;
}

/* ---- asked for ---- */

void value_out_free(struct value_out *v)
{
	if (!v)
		return;
	if (v->req)
		v->peer->s->store->cancel(v->req);
	v->peer->n_values_out--;
	free(v->frame);
	free(v);
}

static struct value_out *value_out_new(struct wire *w, const struct sluice_read_result *r)
{
	struct value_out *v = calloc(1, sizeof *v);

	if (!v)
		return NULL;
	v->peer = w->peer;
	v->peer->n_values_out++;
	memcpy(v->hash, w->hash, HASH_LEN);
	v->len = r->tail_pos;
	v->total = v->len > CHUNK_UNIT ? (uint32_t)((v->len + CHUNK_UNIT - 1) / CHUNK_UNIT) : 0;
	memcpy(v->stream, w->stream, w->n_stream);
	v->n_stream = w->n_stream;
	v->next = (struct sluice_read){.size = sizeof v->next,
	                               .flags = SLUICE_RD_CONTINUE,
	                               .from = r->earliest,
	                               .until = r->tail,
	                               .incarnation = r->incarnation,
	                               .budget = r->tail_pos};
	return v;
}

static int value_out_send(struct value_out *v)
{
	struct peer *p = v->peer;
	size_t head = v->total ? CHUNK_HEAD : HASH_LEN;
	uint8_t *at = v->frame + CHUNK_HEAD - head; /* the content is behind the longer head, whichever it has */
	struct sluice_buf *buf;
	int rc;

	at[0] = v->total ? FRAME_CHUNK : FRAME_VALUE;
	memcpy(at + 1, v->hash, HASH_LEN);
	if (v->total) {
		put_u32(at + 1 + HASH_LEN, v->index);
		put_u32(at + 1 + HASH_LEN + 4, v->total);
	}
	buf = p->s->host->buf_new(p->s->ctx, SLICE(at, 1 + head + v->n));
	rc = buf ? p->s->ws->send_buf(p->ws, buf, 1) : SLUICE_ENOMEM;
	p->s->host->buf_unref(buf);
	if (rc == 0) {
		++*p->s->count.out[at[0]];
		*p->s->count.out_bytes += 1 + head + v->n;
	}
	return rc;
}

/* A chunk is full, or the value is at its end. */
static bool value_out_full(const struct value_out *v)
{
	return v->n == CHUNK_UNIT || (uint64_t)v->index * CHUNK_UNIT + v->n == v->len;
}

static void value_out_read(void *arg, const struct sluice_read_result *r)
{
	struct value_out *v = arg;
	struct peer *p = v->peer;
	uint64_t left = v->len - (uint64_t)v->index * CHUNK_UNIT - v->n;
	size_t n = r->data.len < CHUNK_UNIT - v->n ? r->data.len : CHUNK_UNIT - v->n;

	v->req = NULL;
	n = n < left ? n : (size_t)left;
	if (r->status || n == 0) { /* somebody has removed it */
		peer_close(p, 1011, "the value cannot be read");
		return;
	}
	memcpy(v->frame + 1 + CHUNK_HEAD + v->n, r->data.data, n);
	v->n += n;
	peer_pump(p);
}

int value_out_pump(struct value_out *v)
{
	struct peer *p = v->peer;
	int rc = 0;

	if (v->req)
		return SLUICE_EAGAIN;
	if (!v->frame)
		v->frame = malloc(1 + CHUNK_HEAD + CHUNK_UNIT);
	if (!v->frame)
		rc = SLUICE_ENOMEM;
	while (rc == 0 && value_out_full(v)) {
		rc = value_out_send(v);
		if (rc)
			break;
		if (v->total == 0 || ++v->index == v->total) {
			++*p->s->count.values_sent;
			return 0;
		}
		v->n = 0;
	}
	if (rc == 0) {
		/* The content is the stream's first record. */
		v->next.skip = (uint64_t)v->index * CHUNK_UNIT + v->n;
		rc = p->s->store->read(p->s->ctx, &v->next, value_out_read, v, &v->req);
	}
	if (rc && rc != SLUICE_EAGAIN)
		peer_close(p, 1013, "out of memory");
	return SLUICE_EAGAIN;
}

static void wire_found(void *arg, const struct sluice_read_result *r)
{
	struct wire *w = arg;
	struct peer *p = w->peer;
	struct value_facts facts;
	struct value_out *v;

	w->req = NULL;
	value_read_facts(r, &facts);
	if (r->status || !facts.good) { /* somebody else may have it */
		wire_ends(w, true);
		return;
	}
	v = value_out_new(w, r);
	if (v)
		peer_push_value(p, v);
	else
		peer_close(p, 1013, "out of memory");
	wire_ends(w, false);
}

int wire_request(struct peer *p, slice frame)
{
	struct sds *s = p->s;
	struct sluice_read q = {.size = sizeof q, .flags = SLUICE_RD_SNAPSHOT};
	char name[VALUE_NAME];
	struct wire *w;

	if (!s->storage || frame.len != 1 + HASH_LEN)
		return frame_relay(p, frame, true);
	if (wire_waits(p))
		return SLUICE_EAGAIN;
	if (p->n_values_out >= VALUES_OUT)
		return 0;
	w = wire_new(p, frame);
	if (!w)
		return 0;
	memcpy(w->hash, (const uint8_t *)frame.data + 1, HASH_LEN);
	hex_put(w->hash, HASH_LEN, name);
	w->n_stream = below_store(SLICE(p->room->id, p->room->n_id), "/v/", SLICE(name, sizeof name), w->stream);
	q.stream = SLICE(w->stream, w->n_stream);
	if (s->store->read(s->ctx, &q, wire_found, w, &w->req)) {
		w->req = NULL;
		peer_close(p, 1013, "overloaded");
		wire_ends(w, false);
	}
	return 0;
}
