/*
 * ack.c - acknowledgements, for clients that asked for them (H.6). Plugin sds, worker process.
 *
 * One for each patch, in the order of the patches. That of a repetition has the number of the original, which is looked for in the log;
 * one that is not there any more is in what a compaction made of it.
 */
#include <stdlib.h>

#include "sds.h"

static void acks_flush(struct peer *p)
{
	struct ack *a;
	uint8_t seq[8];

	while ((a = STAILQ_FIRST(&p->acks)) && a->seq) {
		put_u64(seq, a->seq);
		STAILQ_REMOVE_HEAD(&p->acks, link);
		p->n_acks--;
		free(a);
		peer_send(p, FRAME_PATCH_ACK, SLICE(seq, sizeof seq));
	}
	if (!a || p->looking.req || !p->ws)
		return;
	p->looking.at = 0;
	p->looking.seq = 0;
	p->looking.until = a->tail;
	cursor_run(&p->looking, SLICE(p->room->stream, p->room->n_stream));
}

static int looking_record(void *arg, uint64_t start, uint64_t end, slice payload)
{
	struct peer *p = arg;
	struct ack *a = STAILQ_FIRST(&p->acks);
	uint8_t hash[HASH_LEN];

	(void)start;
	(void)end;
	if (!sha256(payload, hash))
		return SLUICE_ENOMEM;
	if (p->first_seq == 0)
		p->first_seq = p->looking.seq + 1;
	if (memcmp(hash, a->hash, HASH_LEN) != 0)
		return 0;
	a->seq = p->looking.seq + 1;
	return SLUICE_EAGAIN;
}

static void looking_rest(void *arg, int status)
{
	struct peer *p = arg;
	struct ack *a = STAILQ_FIRST(&p->acks);

	if (status) {
		peer_close(p, 1011, "the log cannot be read");
		return;
	}
	if (a->seq == 0 && p->looking.at < p->looking.until) {
		cursor_run(&p->looking, SLICE(p->room->stream, p->room->n_stream));
		return;
	}
	if (a->seq == 0)
		a->seq = p->first_seq ? p->first_seq : 1;
	p->first_seq = 0;
	acks_flush(p);
	peer_kick(p);
}

void acks_init(struct peer *p)
{
	STAILQ_INIT(&p->acks);
	cursor_init(&p->looking, p->s, p->room, p);
	p->looking.record = looking_record;
	p->looking.rest = looking_rest;
}

void acks_clear(struct peer *p)
{
	struct ack *a;

	cursor_stop(&p->looking);
	while ((a = STAILQ_FIRST(&p->acks))) {
		STAILQ_REMOVE_HEAD(&p->acks, link);
		free(a);
	}
	p->n_acks = 0;
}

static void ack_add(struct peer *p, uint64_t seq, const uint8_t *hash, uint64_t tail)
{
	struct ack *a = p->ack && p->ws && !p->closing ? calloc(1, sizeof *a) : NULL;

	if (!a) {
		if (p->ack)
			peer_close(p, 1013, "out of memory");
		return;
	}
	a->seq = seq;
	a->tail = tail;
	if (hash)
		memcpy(a->hash, hash, HASH_LEN);
	STAILQ_INSERT_TAIL(&p->acks, a, link);
	p->n_acks++;
	acks_flush(p);
}

void ack_seq(struct peer *p, uint64_t seq)
{
	ack_add(p, seq, NULL, 0);
}

void ack_repeated(struct peer *p, const uint8_t hash[HASH_LEN], uint64_t tail)
{
	ack_add(p, 0, hash, tail);
}
