/*
 * view.c - ephemeral channels that this worker follows: one watch at the registry for all local subscribers. Process:
 * sluice-frontend.
 *
 * A newcomer waits for a look at the channel, which goes the same way as the events: what was accepted before is in its
 * answer, what comes behind it is told. Newcomers that come while a look is under way share its answer.
 */
#include <assert.h>
#include <stdlib.h>

#include "frontend/worker.h"
#include "lib/hash.h"

struct member_view {
	struct sl_map_node node;
	struct sl_link all, loud;
	struct sl_link joined, waiting; /* subscribers: those that have had the state; the others */
	struct sluice_chan_req *look;   /* under way */
	uint32_t slot, told;            /* its number at the registry; how many subscribers were told */
	uint64_t incarnation;
	bool named; /* in the table; not after it was terminated */
	bool busy;  /* its subscribers are being told: it stays */
	size_t len;
	char name[];
};

static uint64_t view_hash(const struct eph_channel_id *id)
{
	return sl_hash(id->name) ^ sl_hash_u64(id->incarnation);
}

static struct member_view *view_find(const struct member *m, const struct eph_channel_id *id)
{
	for (struct sl_map_node *n = sl_map_first(&m->by_name, view_hash(id)); n; n = sl_map_next(n)) {
		struct member_view *v = SL_OF(n, struct member_view, node);

		if (v->incarnation == id->incarnation && sl_slice_eq(SL_SLICE(v->name, v->len), id->name))
			return v;
	}
	return NULL;
}

/* A number for the registry; 0 means no watch there. */
static int slot_take(struct member *m, struct member_view *v)
{
	uint32_t n = m->n_slot ? m->n_slot : 64;

	if (m->free_slot == 0) {
		struct member_view **more;

		if (m->n_slot)
			n *= 2;
		if (n > EPH_WATCHES_MAX)
			return SLUICE_EAGAIN;
		more = realloc(m->slot, n * sizeof *more);
		if (!more)
			return SLUICE_ENOMEM;
		memset(more + m->n_slot, 0, (n - m->n_slot) * sizeof *more);
		m->slot = more;
		m->free_slot = n - (m->n_slot ? m->n_slot : 1);
		m->n_slot = n;
	}
	for (uint32_t i = 1; i < m->n_slot; i++) {
		uint32_t at = 1 + (uint32_t)((m->seq + i) % (m->n_slot - 1));

		if (!m->slot[at]) {
			m->slot[at] = v;
			v->slot = at;
			m->free_slot--;
			return 0;
		}
	}
	return SLUICE_EAGAIN;
}

static void view_unname(struct member *m, struct member_view *v)
{
	if (!v->named)
		return;
	v->named = false;
	sl_map_del(&m->by_name, &v->node);
	m->slot[v->slot] = NULL;
	m->free_slot++;
}

static void view_free(struct member *m, struct member_view *v)
{
	view_unname(m, v);
	sl_link_del(&v->all);
	sl_link_del(&v->loud);
	free(v);
}

static int view_make(struct member *m, const struct eph_channel_id *id, struct member_view **out)
{
	struct member_view *v;
	int rc;

	if (sl_map_reserve(&m->by_name))
		return SLUICE_ENOMEM;
	v = calloc(1, sizeof *v + id->name.len);
	if (!v)
		return SLUICE_ENOMEM;
	rc = slot_take(m, v);
	if (rc) {
		free(v);
		return rc;
	}
	v->incarnation = id->incarnation;
	v->len = id->name.len;
	memcpy(v->name, id->name.data, v->len);
	sl_link_init(&v->loud);
	sl_link_init(&v->joined);
	sl_link_init(&v->waiting);
	sl_link_add(&m->views, &v->all);
	sl_map_add(&m->by_name, &v->node, view_hash(id));
	v->named = true;
	*out = v;
	return 0;
}

static void view_changed(struct member *m, struct member_view *v)
{
	sl_link_del(&v->loud);
	sl_link_add(&m->loud, &v->loud);
}

/* Nobody is interested any more, and no answer is under way that would find it gone. */
static void view_release(struct worker *w, struct member_view *v)
{
	struct member *m = &w->member;

	if (v->busy || v->look || !sl_link_alone(&v->joined) || !sl_link_alone(&v->waiting))
		return;
	/* Without memory the registry keeps the watch, and what it tells finds no view here. */
	if (m->linked && v->named)
		(void)sl_put_presence_unwatch(&m->ipc, &(struct sl_presence_unwatch){.watch = v->slot});
	view_free(m, v);
}

static int view_look(struct worker *w, struct member_view *v)
{
	struct sl_presence_look m = {
		.watch = v->slot, .channel = SL_SLICE(v->name, v->len), .incarnation = v->incarnation};
	struct sluice_chan_req *r;
	int rc;

	if (v->look)
		return 0;
	r = member_req(w, NULL, CHAN_SUBSCRIBE, v->len, NULL, &rc);
	if (!r)
		return rc;
	r->view = v;
	m.req = r->number;
	rc = member_sent(w, r, sl_put_presence_look(&w->member.ipc, &m));
	if (rc == 0)
		v->look = r;
	return rc;
}

int view_subscribe(struct sluice_ctx *ctx, const struct sluice_channel *c, sluice_channel_state_fn *state,
                   sluice_channel_event_fn *event, void *arg, struct sluice_chan_sub **out)
{
	struct worker *w = ctx->worker;
	struct member *m = &w->member;
	struct eph_channel_id id;
	struct sluice_chan_sub *s;
	struct member_view *v;
	int rc;

	host_ctx_check(ctx);
	rc = !m->wanted ? SLUICE_ENOTSUP : !m->linked ? SLUICE_EBUSY : member_channel(w, c, &id);
	if (rc == 0 && ctx->n_handles >= HANDLES_MAX)
		rc = SLUICE_EAGAIN;
	if (rc)
		return rc;
	s = calloc(1, sizeof *s);
	v = view_find(m, &id);
	if (!s || (!v && (rc = view_make(m, &id, &v)))) {
		free(s);
		return rc ? rc : SLUICE_ENOMEM;
	}
	*s = (struct sluice_chan_sub){
		.magic = CHAN_SUB_MAGIC, .ctx = ctx, .view = v, .state = state, .event = event, .arg = arg};
	sl_link_init(&s->grave);
	rc = view_look(w, v);
	if (rc) {
		free(s);
		view_release(w, v);
		return rc;
	}
	sl_link_add(&v->waiting, &s->in_view);
	sl_link_add(&ctx->chan_subs, &s->in_ctx);
	ctx->n_handles++;
	*out = s;
	return 0;
}

void view_unsubscribe(struct sluice_chan_sub *s)
{
	struct worker *w;
	struct member_view *v;

	if (!s)
		return;
	host_thread_check();
	assert(s->magic == CHAN_SUB_MAGIC);
	w = s->ctx->worker;
	v = s->view;
	if (w->member.iterating == &s->in_view)
		w->member.iterating = s->in_view.next;
	s->magic = 0;
	s->view = NULL;
	sl_link_del(&s->in_ctx);
	sl_link_del(&s->in_view);
	s->ctx->n_handles--;
	sl_link_add(&w->member.graves, &s->grave);
	if (!v)
		return;
	view_changed(&w->member, v);
	view_release(w, v);
}

void view_bury(struct worker *w)
{
	struct sl_link *l;

	if (!w->member.graves.next)
		return;
	while ((l = sl_link_pop(&w->member.graves)))
		free(SL_OF(l, struct sluice_chan_sub, grave));
}

/* -- telling; callbacks may subscribe and unsubscribe anything -- */

void view_looked(struct worker *w, struct sluice_chan_req *r, const struct sluice_channel_state *state)
{
	struct member *m = &w->member;
	struct member_view *v = r->view;
	struct sl_link now, *l;

	assert(v && v->look == r);
	v->look = NULL; /* who comes from now on waits for another one */
	v->busy = true;
	view_changed(m, v);
	sl_link_init(&now);
	sl_link_splice(&now, &v->waiting);
	while ((l = sl_link_pop(&now))) {
		struct sluice_chan_sub *s = SL_OF(l, struct sluice_chan_sub, in_view);

		if (state->status == 0) {
			sl_link_add(&v->joined, &s->in_view);
		} else {
			s->view = NULL;
		}
		s->state(s->arg, state);
	}
	v->busy = false;
	view_release(w, v);
}

void view_event(struct worker *w, const struct sl_presence_event *e, sl_slice data)
{
	struct member *m = &w->member;
	struct member_view *v = e->watch < m->n_slot ? m->slot[e->watch] : NULL;
	bool over = e->kind == SLUICE_CHANNEL_TERMINATE;
	struct sluice_channel_event event = {.size = sizeof event,
	                                     .kind = e->kind,
	                                     .flags = e->mine ? SLUICE_CHANNEL_MINE : 0,
	                                     .tag = e->tag,
	                                     .serial = ++m->serial,
	                                     .key = e->key,
	                                     .data = data};

	if (!v) /* nobody follows it any more */
		return;
	v->busy = true;
	m->iterating = v->joined.next;
	while (m->iterating != &v->joined) {
		struct sluice_chan_sub *s = SL_OF(m->iterating, struct sluice_chan_sub, in_view);

		m->iterating = m->iterating->next;
		if (over) {
			sl_link_del(&s->in_view);
			s->view = NULL;
		}
		s->event(s->arg, &event);
	}
	m->iterating = NULL;
	v->busy = false;
	if (over)
		view_unname(m, v);
	view_release(w, v);
}

void view_lost(struct worker *w)
{
	struct member *m = &w->member;
	const struct sluice_channel_state state = {.size = sizeof state, .status = SLUICE_ELOST};
	const struct sluice_channel_event event = {.size = sizeof event,
	                                           .kind = SLUICE_CHANNEL_TERMINATE,
	                                           .flags = SLUICE_CHANNEL_LOST,
	                                           .serial = ++m->serial};
	struct sl_link joined, waiting, *l;

	sl_link_init(&joined);
	sl_link_init(&waiting);
	while (!sl_link_alone(&m->views)) {
		struct member_view *v = SL_OF(m->views.next, struct member_view, all);

		sl_link_splice(&joined, &v->joined);
		sl_link_splice(&waiting, &v->waiting);
		if (v->look) { /* member.c frees it */
			v->look->view = NULL;
			v->look = NULL;
		}
		view_free(m, v);
	}
	for (l = joined.next; l != &joined; l = l->next)
		SL_OF(l, struct sluice_chan_sub, in_view)->view = NULL;
	for (l = waiting.next; l != &waiting; l = l->next)
		SL_OF(l, struct sluice_chan_sub, in_view)->view = NULL;
	while ((l = sl_link_pop(&joined))) {
		struct sluice_chan_sub *s = SL_OF(l, struct sluice_chan_sub, in_view);

		s->event(s->arg, &event);
	}
	while ((l = sl_link_pop(&waiting))) {
		struct sluice_chan_sub *s = SL_OF(l, struct sluice_chan_sub, in_view);

		s->state(s->arg, &state);
	}
}

void view_loud(struct worker *w)
{
	struct member *m = &w->member;
	struct sl_link *l;

	while ((l = sl_link_pop(&m->loud))) {
		struct member_view *v = SL_OF(l, struct member_view, loud);
		uint32_t n = 0;

		for (struct sl_link *at = v->joined.next; at != &v->joined; at = at->next)
			n++;
		if (!v->named || v->look || n == v->told)
			continue;
		v->told = n;
		/* For listings only: without memory they are a little old. */
		(void)sl_put_presence_audience(&m->ipc,
		                               &(struct sl_presence_audience){.watch = v->slot, .subscribers = n});
	}
}
