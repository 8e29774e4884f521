/*
 * append.c - patches to the log of their store (H.1). Plugin sds, worker process.
 *
 * The SHA-256 of a patch is the producer of its record, with number 0: the store takes the first one and says of every later one, also
 * after its record was compacted, that it is a repetition, in the transaction that would have appended it. It also makes a patch
 * harmless to send again when the writer went away, which the host does by itself.
 *
 * Nobody is told of a patch here: the worker reads it from the log when the writer says that it is durable. Answers come before that, so
 * by then it is known whose it is.
 */
#include <openssl/evp.h>
#include <stdlib.h>

#include "sds.h"

struct append {
	TAILQ_ENTRY(append) link;
	struct sluice_req *req;
	struct peer *peer; /* one reference */
	size_t len;
	uint8_t hash[HASH_LEN];
};

bool appends_settled(const struct peer *p)
{
	return p->appending == 0 && (p->room->log != LOG_READY || p->room->cursor.at >= p->last_end);
}

/* What the client is told when its patch was not stored. It returns, and is asked for everything it has (H.1). */
static void append_fails(struct peer *p, int status)
{
	switch (status) {
	case SLUICE_EBUSY:
	case SLUICE_ELOST:
	case SLUICE_EAGAIN:
	case SLUICE_ENOMEM:
		peer_close(p, 1013, "the store is not available");
		break;
	case SLUICE_ETOOBIG:
		peer_close(p, 1009, "the patch is too large");
		break;
	default:
		peer_close(p, 1011, "the patch cannot be stored");
	}
}

static void append_free(struct append *a)
{
	TAILQ_REMOVE(&a->peer->s->appends, a, link);
	free(a);
}

void appends_drop(struct sds *s)
{
	struct append *a;

	while ((a = TAILQ_FIRST(&s->appends))) {
		struct peer *p = a->peer;

		s->store->cancel(a->req);
		append_free(a);
		peer_unref(p);
	}
}

static void append_done(void *arg, const struct sluice_result *r, size_t n)
{
	struct append *a = arg;
	struct peer *p = a->peer;
	struct sds *s = p->s;

	(void)n;
	p->appending--;
	p->appending_bytes -= a->len;
	if (r->status) {
		append_fails(p, r->status);
	} else if (r->flags & SLUICE_R_DUPLICATE) {
		++*s->count.repeated;
		ack_repeated(p, a->hash, r->tail);
	} else {
		p->last_end = r->start + a->len + SLUICE_RECORD_OVERHEAD;
		peer_owns(p, p->last_end);
		++*s->count.appended;
		*s->count.appended_bytes += a->len;
		ack_seq(p, seq_of(r->tail, r->tail_pos));
	}
	append_free(a);
	peer_kick(p);
	peer_unref(p);
}

static void appends_room(void *arg)
{
	struct sds *s = arg;

	s->room_asked = false;
	for (size_t i = 0; i < ROOM_BUCKETS; i++)
		for (struct room *r = s->bucket[i]; r; r = r->next_in_bucket) {
			struct peer *p, *next;

			for (p = TAILQ_FIRST(&r->peers); p; p = next) {
				next = TAILQ_NEXT(p, link);
				peer_kick(p);
			}
		}
}

static int append_later(struct sds *s)
{
	if (!s->room_asked)
		s->room_asked = s->store->on_room(s->ctx, appends_room, s) == 0;
	return SLUICE_EAGAIN;
}

int append_patch(struct peer *p, slice patch)
{
	struct sds *s = p->s;
	struct append *a;
	struct sluice_op op = {.size = sizeof op,
	                       .kind = SLUICE_OP_APPEND,
	                       .flags = SLUICE_A_PRODUCER,
	                       .stream = SLICE(p->room->stream, p->room->n_stream),
	                       .content_type = STR("application/octet-stream"),
	                       .data = patch};
	unsigned n = 0;
	int rc;

	if (p->cast || p->room->log != LOG_READY || p->appending >= APPENDS_MAX || p->n_acks >= APPENDS_MAX ||
	    (p->appending > 0 && p->appending_bytes + patch.len > APPENDS_BYTES))
		return SLUICE_EAGAIN;
	a = malloc(sizeof *a);
	if (!a || !EVP_Digest(patch.data, patch.len, a->hash, &n, EVP_sha256(), NULL)) {
		free(a);
		append_fails(p, SLUICE_ENOMEM);
		return 0;
	}
	a->peer = p;
	a->len = patch.len;
	op.producer = SLICE(a->hash, sizeof a->hash);
	rc = s->store->submit(s->ctx, &op, 1, append_done, a, &a->req);
	if (rc) {
		free(a);
		if (rc == SLUICE_EAGAIN)
			return append_later(s);
		append_fails(p, rc);
		return 0;
	}
	TAILQ_INSERT_TAIL(&s->appends, a, link);
	p->appending++;
	p->appending_bytes += patch.len;
	peer_ref(p);
	return 0;
}
