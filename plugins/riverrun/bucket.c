/*
 * bucket.c - buckets and the listing of their streams (riverrun 3). Plugin riverrun, worker process.
 *
 * A bucket is there when a stream's name begins with it, or when it was created, by itself or along with its first stream: that leaves an
 * empty stream of its name below "__riverrun/", so that it outlives its streams.
 */
#include "riverrun.h"

static void bucket_error(struct call *c, int status, const char *code, const char *why)
{
	c->code = code;
	answer_error(c, NULL, status, why);
}

static void bucket_absent(struct call *c)
{
	bucket_error(c, 404, "bucket_not_found", "there is no such bucket");
}

static slice bucket_marker(const struct call *c, slice bucket, char *text)
{
	(void)c;
	memcpy(text, MARKERS, sizeof MARKERS - 1);
	memcpy(text + sizeof MARKERS - 1, bucket.data, bucket.len);
	return SLICE(text, sizeof MARKERS - 1 + bucket.len);
}

/* What is committed together with the creation of a stream. */
size_t bucket_companion(struct call *c, struct sluice_op *op, char *text, size_t size)
{
	const char *slash = c->name.data ? memchr(c->name.data, '/', c->name.len) : NULL;
	size_t n = slash ? (size_t)(slash - (const char *)c->name.data) : 0;

	if (c->w.op.kind != SLUICE_OP_CREATE || n == 0 || size < sizeof MARKERS + n)
		return 0;
	*op = (struct sluice_op){.size = sizeof *op, .kind = SLUICE_OP_CREATE};
	op->stream = bucket_marker(c, SLICE(c->name.data, n), text);
	op->content_type = STR("application/octet-stream");
	return 1;
}

/* ---- asking the store ---- */

/* Names of the bucket's streams behind `after`, which is absent, or a whole name. */
static void bucket_page(struct call *c, slice prefix, slice after, uint32_t limit, sluice_list_items_fn *fn)
{
	struct streams *p = c->p;
	int err = p->store->list_items(p->ctx, prefix, after, limit, fn, c, &c->store);

	if (err < 0)
		answer_trouble(c, err, NULL);
}

/* "bucket/" and what is given; in text. */
static slice bucket_below(const struct call *c, slice rest, char *text, size_t size)
{
	size_t n = c->name.len;

	if (n + 1 + rest.len > size)
		rest.len = size - n - 1;
	memcpy(text, c->name.data, n);
	text[n] = '/';
	if (rest.len)
		memcpy(text + n + 1, rest.data, rest.len);
	return SLICE(text, n + 1 + rest.len);
}

static void bucket_first(struct call *c, sluice_list_items_fn *fn)
{
	char text[BUCKET_MAX + 1];

	bucket_page(c, bucket_below(c, STR(""), text, sizeof text), SLICE(NULL, 0), 1, fn);
}

static void bucket_mark(struct call *c, uint32_t kind, sluice_done_fn *fn)
{
	char text[sizeof MARKERS + BUCKET_MAX];
	struct sluice_op op = {.size = sizeof op, .kind = kind};
	struct streams *p = c->p;
	int err;

	op.stream = bucket_marker(c, c->name, text);
	if (kind == SLUICE_OP_CREATE)
		op.content_type = STR("application/octet-stream");
	err = p->store->submit(p->ctx, &op, 1, fn, c, &c->store);
	if (err < 0)
		answer_trouble(c, err, NULL);
}

static void bucket_done(struct call *c, int status)
{
	struct answer a;

	answer_init(&a);
	answer_send(c, &a, status, STR(""));
}

/* ---- PUT ---- */

static void create_marked(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;

	(void)n;
	c->store = NULL;
	if (r->status != SLUICE_OK)
		answer_trouble(c, r->status, r->message);
	else if (r->flags & SLUICE_R_CREATED)
		bucket_done(c, 201);
	else
		bucket_error(c, 409, "bucket_exists", "the bucket exists");
}

static void create_looked(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;

	(void)item;
	(void)more;
	c->store = NULL;
	if (status != SLUICE_OK)
		answer_trouble(c, status, NULL);
	else if (n > 0)
		bucket_error(c, 409, "bucket_exists", "the bucket exists");
	else
		bucket_mark(c, SLUICE_OP_CREATE, create_marked);
}

void bucket_create(struct call *c)
{
	bucket_first(c, create_looked);
}

/* ---- DELETE ---- */

static void remove_looked(void *arg, int status, const struct sluice_list_item *item, size_t n, int more);

static void remove_unmarked(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;

	(void)n;
	c->store = NULL;
	if (r->status == SLUICE_OK || (r->status == SLUICE_ENOENT && c->b.any))
		bucket_done(c, 204);
	else if (r->status == SLUICE_ENOENT)
		bucket_absent(c);
	else
		answer_trouble(c, r->status, r->message);
}

static void remove_one(void *arg, const struct sluice_result *r, size_t n)
{
	struct call *c = arg;

	(void)n;
	c->store = NULL;
	/* Whoever else removes them may have been faster. */
	if (r->status == SLUICE_OK || r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE)
		bucket_first(c, remove_looked);
	else
		answer_trouble(c, r->status, r->message);
}

static void remove_stream(struct call *c, slice name)
{
	struct streams *p = c->p;
	struct sluice_op op = {.size = sizeof op, .kind = SLUICE_OP_REMOVE, .stream = name};
	int err;

	if (p->host->authorize(p->ctx, p->http->principal(c->http), "delete", name) < 0) {
		bucket_error(c, 403, NULL, "a stream of the bucket may not be deleted");
		return;
	}
	c->b.any = true;
	err = p->store->submit(p->ctx, &op, 1, remove_one, c, &c->store);
	if (err < 0)
		answer_trouble(c, err, NULL);
}

static void remove_looked(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;

	(void)more;
	c->store = NULL;
	if (status != SLUICE_OK)
		answer_trouble(c, status, NULL);
	else if (n == 0)
		bucket_mark(c, SLUICE_OP_REMOVE, remove_unmarked);
	else if (!c->b.force)
		bucket_error(c, 409, "bucket_not_empty", "the bucket has streams; force=true removes them too");
	else
		remove_stream(c, item->entry.stream);
}

void bucket_remove(struct call *c)
{
	c->b.force = slice_is(c->p->http->query(c->http, "force", 0), "true");
	bucket_first(c, remove_looked);
}

/* ---- 404 ---- */

static void absent_marked(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE)
		bucket_absent(c);
	else
		answer_absent(c);
}

static void absent_looked(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;
	struct streams *p = c->p;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW};
	char text[sizeof MARKERS + BUCKET_MAX];
	slice name = call_name(c);
	size_t bucket = (size_t)((const char *)memchr(name.data, '/', name.len) - (const char *)name.data);

	(void)item;
	(void)more;
	c->store = NULL;
	facts.stream = bucket_marker(c, SLICE(name.data, bucket), text);
	if (status != SLUICE_OK || n > 0 || p->store->read(p->ctx, &facts, absent_marked, c, &c->store) < 0)
		answer_absent(c);
}

void bucket_absent_stream(struct call *c)
{
	struct streams *p = c->p;
	slice name = call_name(c);
	const char *slash = memchr(name.data, '/', name.len);
	slice prefix = SLICE(name.data, slash ? (size_t)(slash - (const char *)name.data) + 1 : 0);

	/* The answer of HEAD has no body to say it in. */
	if (!slash || c->kind == CALL_HEAD ||
	    p->store->list_items(p->ctx, prefix, SLICE(NULL, 0), 1, absent_looked, c, &c->store) < 0)
		answer_absent(c);
}

/* ---- GET: how many streams there are, and which ---- */

static void bucket_json(struct call *c, struct bytes *out)
{
	struct answer a;

	if (out->failed) {
		answer_trouble(c, SLUICE_ENOMEM, NULL);
		return;
	}
	answer_init(&a);
	PUT(&a, "content-type", STR("application/json"));
	answer_no_store(&a);
	answer_send(c, &a, 200, bytes_slice(out));
}

static void bucket_counted(struct call *c);

static void count_page(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;
	char prefix[BUCKET_MAX + 1];

	c->store = NULL;
	c->b.count += n;
	if (status != SLUICE_OK)
		answer_trouble(c, status, NULL);
	else if (more && n > 0)
		bucket_page(c, bucket_below(c, STR(""), prefix, sizeof prefix), item[n - 1].entry.stream, PAGE_MAX,
		            count_page);
	else
		bucket_counted(c);
}

static void bucket_count(struct call *c)
{
	char prefix[BUCKET_MAX + 1];

	bucket_page(c, bucket_below(c, STR(""), prefix, sizeof prefix), SLICE(NULL, 0), PAGE_MAX, count_page);
}

static void list_item(struct bytes *out, const struct sluice_list_item *item, size_t skip)
{
	const struct sluice_list_entry *e = &item->entry;
	char text[POSITION_LEN];

	BYTES_LIT(out, "{\"stream_id\":");
	bytes_add_json(out, SLICE((const char *)e->stream.data + skip, e->stream.len - skip));
	if (e->flags & SLUICE_R_CLOSED)
		BYTES_LIT(out, ",\"status\":\"closed\",\"content_type\":");
	else
		BYTES_LIT(out, ",\"status\":\"open\",\"content_type\":");
	bytes_add_json(out, e->content_type);
	BYTES_LIT(out, ",\"tail_offset\":\"");
	position_format(item->tail_pos, text);
	bytes_add(out, text, POSITION_LEN);
	BYTES_LIT(out, "\",\"created_at_ms\":");
	bytes_add_u64(out, e->created_ms);
	BYTES_LIT(out, ",\"last_write_at_ms\":");
	bytes_add_u64(out, item->written_ms);
	BYTES_LIT(out, "}");
}

/* Streams that this client may not read are left out; the cursor still names the last one looked at, so that paging goes on. */
static void list_items(struct call *c, struct bytes *out, const struct sluice_list_item *item, size_t n)
{
	struct streams *p = c->p;
	const struct sluice_principal *who = p->http->principal(c->http);
	bool any = false;

	for (size_t i = 0; i < n; i++) {
		if (p->host->authorize(p->ctx, who, "read", item[i].entry.stream) < 0)
			continue;
		if (any)
			BYTES_LIT(out, ",");
		any = true;
		list_item(out, &item[i], c->name.len + 1);
	}
}

static void list_page(void *arg, int status, const struct sluice_list_item *item, size_t n, int more)
{
	struct call *c = arg;
	struct bytes *out = &c->p->scratch;
	slice prefix = c->p->http->query(c->http, "prefix", 0), last = {0};

	c->store = NULL;
	if (status != SLUICE_OK) {
		answer_trouble(c, status, NULL);
		return;
	}
	bytes_reset(out);
	BYTES_LIT(out, "{\"bucket_id\":");
	bytes_add_json(out, c->name);
	BYTES_LIT(out, ",\"prefix\":");
	bytes_add_json(out, prefix.data ? prefix : STR(""));
	BYTES_LIT(out, ",\"stream_count\":");
	bytes_add_u64(out, c->b.count);
	BYTES_LIT(out, ",\"streams\":[");
	list_items(c, out, item, n);
	BYTES_LIT(out, "],\"next_cursor\":");
	if (more && n > 0) {
		last = item[n - 1].entry.stream;
		bytes_add_json(out, SLICE((const char *)last.data + c->name.len + 1, last.len - c->name.len - 1));
		BYTES_LIT(out, ",\"has_more\":true}");
	} else {
		BYTES_LIT(out, "null,\"has_more\":false}");
	}
	bucket_json(c, out);
}

static void list_begin(struct call *c)
{
	const struct sluice_http *http = c->p->http;
	char prefix[BUCKET_MAX + 1 + ID_MAX], after[BUCKET_MAX + 1 + ID_MAX];
	slice last = http->query(c->http, "after", 0);

	bucket_page(c, bucket_below(c, http->query(c->http, "prefix", 0), prefix, sizeof prefix),
	            last.len ? bucket_below(c, last, after, sizeof after) : SLICE(NULL, 0), c->b.limit, list_page);
}

static void bucket_answer(struct call *c)
{
	struct bytes *out = &c->p->scratch;

	if (c->b.limit) {
		list_begin(c);
		return;
	}
	bytes_reset(out);
	BYTES_LIT(out, "{\"bucket_id\":");
	bytes_add_json(out, c->name);
	BYTES_LIT(out, ",\"streams\":");
	bytes_add_u64(out, c->b.count);
	BYTES_LIT(out, "}");
	bucket_json(c, out);
}

static void bucket_marked(void *arg, const struct sluice_read_result *r)
{
	struct call *c = arg;

	c->store = NULL;
	if (r->status == SLUICE_OK)
		bucket_answer(c);
	else if (r->status == SLUICE_ENOENT || r->status == SLUICE_EGONE)
		bucket_absent(c);
	else
		answer_trouble(c, r->status, r->message);
}

static void bucket_counted(struct call *c)
{
	char text[sizeof MARKERS + BUCKET_MAX];
	struct streams *p = c->p;
	struct sluice_read facts = {.size = sizeof facts, .from = SLUICE_OFFSET_NOW};
	int err;

	if (c->b.count > 0) {
		bucket_answer(c);
		return;
	}
	facts.stream = bucket_marker(c, c->name, text);
	err = p->store->read(p->ctx, &facts, bucket_marked, c, &c->store);
	if (err < 0)
		answer_trouble(c, err, NULL);
}

void bucket_show(struct call *c)
{
	bucket_count(c);
}

void bucket_list(struct call *c)
{
	const struct sluice_http *http = c->p->http;
	slice limit = http->query(c->http, "limit", 0), prefix = http->query(c->http, "prefix", 0);
	slice after = http->query(c->http, "after", 0);
	uint64_t n = PAGE_MAX;

	if ((limit.data && (!u64_parse(limit, PAGE_MAX, &n) || n == 0)) || prefix.len > ID_MAX || after.len > ID_MAX) {
		answer_error(c, NULL, 400,
		             "limit is a number from 1 to 1000, prefix and after are beginnings of stream ids");
		return;
	}
	c->b.limit = (uint32_t)n;
	bucket_count(c);
}
