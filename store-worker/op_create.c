/*
 * op_create.c - create, forks included: decide and redo. Store-writer.
 *
 * durable-streams 6 and 15. A fork begins where it was cut from its source; with a sub-offset, the first part of the
 * record there becomes the fork's first own record (fork.c). Omitted type and expiry of a fork mean those of its
 * source, so the same request again finds the stream it made.
 */
#include "store-worker/store.h"

static bool create_expiry_equal(const struct stream *s, const struct sl_store_op *m)
{
	bool ttl = m->flags & SLUICE_A_TTL, expires = m->flags & SLUICE_A_EXPIRES;

	if (!ttl && !expires && s->fork_of)
		return !s->own_expiry;
	return ttl == s->has_ttl && expires == s->has_expires && (!ttl || m->ttl_s == s->ttl_s) &&
	       (!expires || m->expires_ms == s->expires_ms);
}

static bool create_fork_equal(const struct stream *s, const struct sl_store_op *m)
{
	if (!(m->flags & SLUICE_A_FORK))
		return s->fork_of == 0;
	return s->fork_of && sl_slice_eq(SL_SLICE(s->fork_name, s->fork_name_len), m->fork_of) &&
	       s->fork_sub == m->fork_sub && (!(m->flags & SLUICE_A_FORK_AT) || s->fork_at == m->fork_at);
}

static sl_slice create_type(const struct sl_store_op *m)
{
	return m->content_type.len ? m->content_type : SL_STR("application/octet-stream");
}

static bool create_inherits(const struct sl_store_op *m)
{
	return (m->flags & SLUICE_A_FORK) && ((m->flags & SLUICE_A_INHERIT) || m->content_type.len == 0);
}

static int create_again(const struct stream *s, const struct sl_store_op *m, struct sl_store_outcome *r)
{
	op_facts(r, s);
	r->start = s->tail;
	if (s->state != SL_LIVE)
		return op_refuse(r, SLUICE_EEXIST, SLUICE_WHY_SOFT_DELETED,
		                 "the name is held by a deleted stream that has forks");
	if ((create_inherits(m) || type_equal(create_type(m), stream_type(s))) && create_expiry_equal(s, m) &&
	    create_fork_equal(s, m) && !!(m->flags & SLUICE_A_CLOSE) == s->closed)
		return SE_OK;
	return op_refuse(r, SLUICE_EEXIST, SLUICE_WHY_CONFIG, "the stream exists with another configuration");
}

static void create_expiry(struct effect_create *e, const struct sl_store_op *m, const struct stream *source)
{
	if (m->flags & SLUICE_A_TTL) {
		e->flags |= EFFECT_TTL | EFFECT_OWN_EXPIRY;
		e->ttl_s = m->ttl_s;
	} else if (m->flags & SLUICE_A_EXPIRES) {
		e->flags |= EFFECT_EXPIRES | EFFECT_OWN_EXPIRY;
		e->expires_ms = m->expires_ms;
	} else if (source) {
		e->flags |= source->has_ttl ? EFFECT_TTL : 0;
		e->flags |= source->has_expires ? EFFECT_EXPIRES : 0;
		e->ttl_s = source->ttl_s;
		e->expires_ms = source->expires_ms;
	}
}

static int create_effect(struct txn *t, const struct sl_store_op *m, const struct fork_point *f, bool closes,
                         uint64_t *id)
{
	struct effect_create e = {.name = m->stream,
	                          .type = create_inherits(m) ? stream_type(f->source) : create_type(m),
	                          .flags = closes ? EFFECT_CLOSES : 0};
	int rc = volume_next_stream(t->volume, &e.id);

	if (rc)
		return rc;
	*id = e.id;
	if (f->source) {
		e.flags |= EFFECT_FORK;
		e.fork_of = f->source->id;
		e.fork_name = m->fork_of;
		e.fork_sub = m->fork_sub;
		e.fork_at = e.base = f->at;
		e.earliest = f->source->earliest;
		e.base_pos = f->pos;
		/* A snapshot inside the record that the fork is cut at stands for more than the fork has. */
		e.earliest_pos = f->source->earliest_pos < f->pos ? f->source->earliest_pos : f->pos;
		e.snapshot = e.earliest_pos == f->source->earliest_pos ? f->source->snapshot : 0;
	}
	create_expiry(&e, m, f->source);
	return txn_emit(t, EFFECT_CREATE, effect_put_create(&t->effect, &e), SL_SLICE(NULL, 0));
}

static int create_emit(struct txn *t, const struct op *op, struct fork_point *f, struct sl_store_outcome *r)
{
	bool closes = op->m->flags & SLUICE_A_CLOSE;
	struct stream *s = NULL;
	uint64_t id = 0;
	int rc = create_effect(t, op->m, f, closes && op->bytes == 0 && f->prefix.bytes == 0, &id);

	if (rc == SE_OK)
		rc = volume_by_id(t->volume, id, &s);
	if (rc || !s)
		return rc ? rc : SE_CORRUPT;
	r->start = s->tail;
	if (f->prefix.bytes)
		rc = append_emit(t, s, &f->prefix, closes && op->bytes == 0 ? EFFECT_CLOSES : 0);
	if (rc == SE_OK && op->bytes) {
		r->start = s->tail;
		rc = append_emit(t, s, op, closes ? EFFECT_CLOSES : 0);
	}
	r->flags |= SLUICE_R_CREATED;
	op_facts(r, s);
	return rc;
}

int op_create(struct txn *t, const struct op *op, struct sl_store_outcome *r)
{
	const struct sl_store_op *m = op->m;
	struct fork_point f = {0};
	struct stream *s;
	int rc = txn_find(t, m->stream, &s);

	if (rc)
		return rc;
	if (s)
		return create_again(s, m, r);
	if (m->flags & SLUICE_A_FORK)
		rc = fork_find(t, &f, m, r);
	if (rc == SE_OK && r->status == SLUICE_OK && (m->flags & SLUICE_A_REFUSE))
		op_refuse(r, SLUICE_EINVAL, SLUICE_WHY_PAYLOAD, "the payload is not valid");
	if (rc == SE_OK && r->status == SLUICE_OK)
		rc = create_emit(t, op, &f, r);
	sl_buf_fini(&f.marks);
	return rc;
}

static void create_bind_expiry(sqlite3_stmt *q, const struct effect_create *e, uint64_t now_ms)
{
	for (int i = 8; i <= 10; i++)
		sqlite3_bind_null(q, i);
	if (e->flags & EFFECT_TTL) {
		volume_bind_u64(q, 8, e->ttl_s);
		volume_bind_u64(q, 10, access_deadline(now_ms, e->ttl_s));
	}
	if (e->flags & EFFECT_EXPIRES) {
		volume_bind_u64(q, 9, e->expires_ms);
		volume_bind_u64(q, 10, e->expires_ms);
	}
}

static int create_row(struct volume *v, const struct effect_create *e, uint64_t now_ms)
{
	sqlite3_stmt *q = volume_stmt(v, V_STREAM_ADD);

	volume_bind_u64(q, 1, e->id);
	volume_bind_text(q, 2, e->name);
	volume_bind_text(q, 3, e->type);
	volume_bind_u64(q, 4, e->flags & EFFECT_CLOSES ? 1 : 0);
	volume_bind_u64(q, 5, e->base);
	volume_bind_u64(q, 6, e->earliest);
	volume_bind_u64(q, 7, now_ms);
	create_bind_expiry(q, e, now_ms);
	volume_bind_u64(q, 11, e->flags & EFFECT_OWN_EXPIRY ? 1 : 0);
	sqlite3_bind_null(q, 12);
	sqlite3_bind_null(q, 13);
	if (e->flags & EFFECT_FORK) {
		volume_bind_u64(q, 12, e->fork_of);
		volume_bind_text(q, 13, e->fork_name);
	}
	volume_bind_u64(q, 14, e->fork_at);
	volume_bind_u64(q, 15, e->fork_sub);
	volume_bind_u64(q, 16, e->base_pos);
	volume_bind_u64(q, 17, e->earliest_pos);
	volume_bind_if(q, 18, e->snapshot != 0, e->snapshot);
	return volume_run(v, V_STREAM_ADD);
}

static int create_hold(struct volume *v, uint64_t source)
{
	struct stream *s;
	int rc = volume_target(v, source, &s);

	if (rc)
		return rc;
	s->forks++;
	return volume_put_forks(v, s);
}

int redo_create(struct se_redo *redo, sqlite3 *db, const struct se_record *hdr, sl_slice effect, sl_slice payload)
{
	struct volume *v = se_volume(redo);
	struct effect_create e;
	struct stream *s = NULL;
	int rc = effect_get_create(effect, &e);

	(void)db;
	(void)payload;
	if (rc == SE_OK)
		rc = create_row(v, &e, hdr->time_ms);
	if (rc == SE_OK && (e.flags & EFFECT_FORK))
		rc = create_hold(v, e.fork_of);
	if (rc == SE_OK && e.snapshot)
		rc = snapshot_share(v, e.snapshot);
	if (rc == SE_OK)
		rc = volume_by_id(v, e.id, &s);
	if (rc || !s)
		return rc ? rc : SE_CORRUPT;
	v->next_stream = e.id + 1;
	volume_touch(v, s);
	se_touch(redo, s->id, SLUICE_EV_CREATED);
	return SE_OK;
}
