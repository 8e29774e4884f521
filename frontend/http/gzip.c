/*
 * gzip.c - gzip for finite answers, at a low level and in bounded steps. Worker process.
 *
 * At most GZIP_TURN bytes of an answer are compressed in one turn of the loop; the rest waits uncompressed. Live
 * answers never come here, so a shared buffer is never compressed once per reader.
 */
#include "frontend/http/engine.h"

#include <stdlib.h>
#include <zlib.h>

enum { GZIP_OUT = 16 * 1024, GZIP_SPARE = 4 };

struct gzip {
	struct gzip *next; /* free list */
	z_stream z;
	struct out_queue in; /* not yet compressed */
	uint64_t turn;       /* in which `done` bytes were compressed */
	size_t done;
	bool finished;
	uint8_t out[GZIP_OUT];
};

/* ---- Accept-Encoding (RFC 9110 12.5.3) ---- */

static sl_slice word_trim(const char *p, size_t n)
{
	while (n > 0 && (*p == ' ' || *p == '\t')) {
		p++;
		n--;
	}
	while (n > 0 && (p[n - 1] == ' ' || p[n - 1] == '\t'))
		n--;
	return SL_SLICE(p, n);
}

/* Is the weight of one list element above zero? Without q it is 1; a malformed one counts as zero. */
static bool weight_positive(sl_slice params)
{
	const char *p = params.data;
	sl_slice w;

	if (params.len == 0)
		return true;
	w = word_trim(p, params.len);
	p = w.data;
	if (w.len < 3 || (p[0] | 0x20) != 'q' || p[1] != '=')
		return false;
	if (p[2] == '1')
		return true;
	for (size_t i = 2; i < w.len; i++)
		if (p[i] >= '1' && p[i] <= '9')
			return p[2] == '0';
	return false;
}

bool gzip_accepted(sl_slice list)
{
	const char *p = list.data;
	int gzip = -1, any = -1;

	for (size_t i = 0; i < list.len;) {
		const char *comma = memchr(p + i, ',', list.len - i);
		size_t end = comma ? (size_t)(comma - p) : list.len;
		const char *semi = memchr(p + i, ';', end - i);
		sl_slice name = word_trim(p + i, semi ? (size_t)(semi - p) - i : end - i);
		bool positive =
			weight_positive(semi ? SL_SLICE(semi + 1, (size_t)(p + end - semi) - 1) : SL_SLICE("", 0));

		if (slice_is_nocase(name, "gzip") || slice_is_nocase(name, "x-gzip"))
			gzip = positive;
		else if (sl_slice_is(name, "*"))
			any = positive;
		i = end + 1;
	}
	return gzip >= 0 ? gzip : any == 1;
}

/* ---- life ---- */

struct gzip *gzip_new(struct http_engine *e)
{
	struct gzip *g = e->free_gzip;

	if (e->n_gzip >= GZIP_MAX)
		return NULL;
	if (g) {
		e->free_gzip = g->next;
		deflateReset(&g->z);
	} else {
		g = calloc(1, sizeof *g);
		if (!g)
			return NULL;
		/* 15 + 16: the largest window, with a gzip header */
		if (deflateInit2(&g->z, 1, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY) != Z_OK) {
			free(g);
			return NULL;
		}
	}
	g->in = (struct out_queue){0};
	g->turn = g->done = 0;
	g->finished = false;
	e->n_gzip++;
	return g;
}

void gzip_free(struct http_engine *e, struct gzip *g)
{
	size_t spare = 0;

	if (!g)
		return;
	out_clear(e, &g->in);
	e->n_gzip--;
	for (struct gzip *f = e->free_gzip; f; f = f->next)
		spare++;
	if (spare < GZIP_SPARE && !e->freeing) {
		g->next = e->free_gzip;
		e->free_gzip = g;
		return;
	}
	deflateEnd(&g->z);
	free(g);
}

void gzip_free_list(struct http_engine *e)
{
	struct gzip *g;

	while ((g = e->free_gzip)) {
		e->free_gzip = g->next;
		deflateEnd(&g->z);
		free(g);
	}
}

/* ---- compressing ---- */

static int gzip_deflate(struct sluice_http_req *r, sl_slice s, int flush)
{
	struct gzip *g = r->gzip;
	int z;

	g->z.next_in = (Bytef *)(uintptr_t)s.data;
	g->z.avail_in = (uInt)s.len;
	do {
		size_t n;
		int e;

		g->z.next_out = g->out;
		g->z.avail_out = GZIP_OUT;
		z = deflate(&g->z, flush);
		if (z != Z_OK && z != Z_STREAM_END && z != Z_BUF_ERROR)
			return SLUICE_EINTERNAL;
		n = GZIP_OUT - g->z.avail_out;
		e = n ? r->proto->frame(r, SL_SLICE(g->out, n)) : 0;
		if (e)
			return e;
	} while (g->z.avail_out == 0);
	g->done += s.len;
	return 0;
}

static size_t gzip_allowed(struct sluice_http_req *r)
{
	struct gzip *g = r->gzip;

	if (g->turn != r->engine->turn) {
		g->turn = r->engine->turn;
		g->done = 0;
	}
	return g->done < GZIP_TURN ? GZIP_TURN - g->done : 0;
}

int gzip_write(struct sluice_http_req *r, sl_slice s)
{
	size_t now = r->gzip->in.bytes ? 0 : gzip_allowed(r);
	int e = 0;

	if (now > s.len)
		now = s.len;
	if (now)
		e = gzip_deflate(r, SL_SLICE(s.data, now), Z_NO_FLUSH);
	if (!e && now < s.len) {
		e = out_add(r->engine, &r->gzip->in, (const uint8_t *)s.data + now, s.len - now);
		req_work(r, WORK_GZIP);
	}
	return e;
}

size_t gzip_pending(const struct sluice_http_req *r)
{
	return r->gzip ? r->gzip->in.bytes : 0;
}

bool gzip_busy(const struct sluice_http_req *r)
{
	return r->gzip && !r->no_body && !r->gzip->finished;
}

void gzip_step(struct sluice_http_req *r)
{
	struct gzip *g = r->gzip;
	size_t left;
	int e = 0;

	if (!gzip_busy(r) || (r->lost && !r->ended))
		return;
	left = gzip_allowed(r);
	while (!e && left > 0 && g->in.head) {
		struct out_seg *seg = g->in.head;
		size_t n = seg->len < left ? seg->len : left;

		e = n ? gzip_deflate(r, SL_SLICE(seg->data, n), Z_NO_FLUSH) : 0;
		out_drain(r->engine, &g->in, n);
		left -= n;
	}
	if (!e && !g->in.head && r->ended) {
		e = gzip_deflate(r, SL_SLICE("", 0), Z_FINISH);
		g->finished = true;
	}
	if (e) {
		r->ended = false;
		req_reset(r);
		return;
	}
	if (g->in.head)
		req_work(r, WORK_GZIP);
	r->proto->changed(r);
	req_want_pull(r);
}

int gzip_whole(struct sluice_http_req *r, sl_slice in, sl_slice *out)
{
	struct gzip *g = r->gzip;
	uLong bound = deflateBound(&g->z, (uLong)in.len);
	uint8_t *p = req_alloc(r, bound);

	if (!p)
		return SLUICE_ENOMEM;
	g->z.next_in = (Bytef *)(uintptr_t)in.data;
	g->z.avail_in = (uInt)in.len;
	g->z.next_out = p;
	g->z.avail_out = (uInt)bound;
	if (deflate(&g->z, Z_FINISH) != Z_STREAM_END)
		return SLUICE_EINTERNAL;
	*out = SL_SLICE(p, bound - g->z.avail_out);
	return 0;
}
