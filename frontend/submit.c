/*
 * submit.c - writes: a plugin's operations become one message for the writer. Process: sluice-frontend.
 *
 * Everything is copied before the call returns, except what lies behind a descriptor: that lives until the writer has
 * answered.
 */
#include "frontend/worker.h"
#include "lib/marks.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

enum {
	OPS_MAX = SL_CLIENT_OPS,
	OPS_FEW = 4, /* without an allocation */
	NAME_BYTES_MAX = 4096,
	INLINE_MAX = SL_PAYLOAD_INLINE + 64 * 1024 /* payload and marks of one operation inside the frame; more goes into a memfd */
};

/* First segments that belong to one plugin; any other may read there, but not write. */
static const struct {
	const char *segment, *owner;
} store_reserved[] = {{"__riverrun", "riverrun"}, {"__sds", "sds"}, {"__exchange", "exchange"},
                      {"__console", "console"}};

static bool store_may_write(const struct sluice_ctx *ctx, sl_slice name)
{
	for (size_t i = 0; i < sizeof store_reserved / sizeof *store_reserved; i++) {
		sl_slice segment = sl_slice_str(store_reserved[i].segment);

		if (sl_slice_prefix(name, segment) &&
		    (name.len == segment.len || ((const char *)name.data)[segment.len] == '/'))
			return strcmp(ctx->plugin->name, store_reserved[i].owner) == 0;
	}
	return true;
}

static int store_name_ok(const struct sluice_ctx *ctx, sl_slice name)
{
	if (!name.data || name.len == 0 || memchr(name.data, 0, name.len))
		return SLUICE_EINVAL;
	return name.len + strlen(ctx->prefix) > NAME_BYTES_MAX ? SLUICE_ETOOBIG : 0;
}

/* The name with the instance's prefix, in s->names, whose room was reserved before: it does not move. */
static sl_slice store_full_name(struct store *s, const struct sluice_ctx *ctx, sl_slice name)
{
	size_t at = s->names.len, n = strlen(ctx->prefix);

	if (n == 0)
		return name;
	sl_buf_add(&s->names, ctx->prefix, n);
	sl_buf_add(&s->names, name.data, name.len);
	return SL_SLICE(s->names.data + s->names.off + at, n + name.len);
}

static int memfd_with(sl_slice data, sl_slice marks)
{
	int fd = memfd_create("sluice-op", MFD_CLOEXEC);

	if (fd < 0)
		return SLUICE_EBUSY;
	if (pwrite(fd, data.data, data.len, 0) == (ssize_t)data.len &&
	    pwrite(fd, marks.data, marks.len, (off_t)data.len) == (ssize_t)marks.len)
		return fd;
	close(fd);
	return SLUICE_EFULL;
}

struct submission { /* one call of submit */
	struct store *store;
	struct sluice_ctx *ctx;
	size_t n;
	struct sluice_op *op;
	struct sl_store_op *wire;
	int fd[SL_IPC_FD_MAX];  /* in order of the operations that have one */
	int own[SL_IPC_FD_MAX]; /* those of them that were made here */
	size_t n_fd, n_own;
};

/* Where the bytes of an operation are: in its slice, in its payload's memory, or behind a descriptor. */
static int submit_data(struct submission *sub, const struct sluice_op *op, struct sl_store_op *wire)
{
	uint64_t len = op->payload ? payload_len(op->payload) : op->data.len;
	size_t at = sub->store->marks.len;
	sl_slice marks;
	int rc, fd = op->payload ? payload_fd(op->payload) : -1;

	wire->data = op->data;
	if (op->payload && fd < 0) {
		void *data;
		size_t n;

		rc = payload_map(op->payload, &data, &n);
		if (rc)
			return rc;
		wire->data = n ? SL_SLICE(data, n) : SL_STR("");
	}
	if (op->message_len || op->n_messages > 1) {
		if (!op->message_len)
			return SLUICE_EINVAL;
		rc = sl_marks_encode(&sub->store->marks, op->message_len, op->n_messages, len);
		if (rc)
			return rc;
	}
	/* The offset in place of the address: the buffer may still move. submit_marks() puts it right. */
	wire->marks = SL_SLICE(at < sub->store->marks.len ? sub->store->marks.data : NULL, sub->store->marks.len - at);
	marks = SL_SLICE(sub->store->marks.data + sub->store->marks.off + at, wire->marks.len);
	if (fd < 0 && len <= SL_PAYLOAD_INLINE && len + marks.len <= INLINE_MAX)
		return 0;
	if (sub->n_fd == SL_IPC_FD_MAX)
		return SLUICE_ETOOBIG;
	if (fd < 0) {
		fd = memfd_with(wire->data, marks);
		if (fd < 0)
			return fd;
		sub->own[sub->n_own++] = fd;
	} else if (marks.len && pwrite(fd, marks.data, marks.len, (off_t)len) != (ssize_t)marks.len) {
		return SLUICE_EFULL;
	}
	sub->fd[sub->n_fd++] = fd;
	wire->n_fd = 1;
	wire->data_len = len;
	wire->marks_len = marks.len;
	wire->data = wire->marks = SL_SLICE(NULL, 0);
	sub->store->marks.len = at;
	return 0;
}

static int submit_op(struct submission *sub, const struct sluice_op *op, struct sl_store_op *wire)
{
	int rc = store_name_ok(sub->ctx, op->stream);

	if (rc)
		return rc;
	if (op->kind < SLUICE_OP_CREATE || op->kind > SLUICE_OP_SNAPSHOT)
		return SLUICE_ENOTSUP;
	if ((op->flags & SLUICE_A_FORK) && (rc = store_name_ok(sub->ctx, op->fork_of)))
		return rc;
	*wire = (struct sl_store_op){
		.kind = (uint8_t)op->kind,
		.flags = op->flags,
		.stream = store_full_name(sub->store, sub->ctx, op->stream),
		.content_type = op->content_type,
		.producer = op->producer,
		.producer_epoch = op->producer_epoch,
		.producer_seq = op->producer_seq,
		.stream_seq = op->stream_seq,
		.expect_tail = op->expect_tail,
		.ttl_s = op->ttl_s,
		.expires_ms = op->expires_ms,
		.fork_of = op->flags & SLUICE_A_FORK ? store_full_name(sub->store, sub->ctx, op->fork_of)
	                                             : SL_SLICE(NULL, 0),
		.fork_at = op->fork_at,
		.fork_sub = op->fork_sub,
		.trim_to = op->trim_to,
		.expect_snapshot = op->expect_snapshot,
	};
	return submit_data(sub, op, wire);
}

/* The marks of all operations lie behind each other; now that the buffer is complete they get their addresses. */
static void submit_marks(struct submission *sub)
{
	const uint8_t *at = sub->store->marks.data + sub->store->marks.off;

	for (size_t i = 0; i < sub->n; i++) {
		if (!sub->wire[i].marks.data)
			continue;
		sub->wire[i].marks.data = at;
		at += sub->wire[i].marks.len;
	}
}

/* Results are an array: a plugin that was built when they were shorter steps through it by the size that it knew. */
static void submit_shorten(const struct sluice_ctx *ctx, struct sluice_result *results, size_t n)
{
	static const size_t sizes[] = {/* of each minor of the ABI that has not the whole */
	                               [0] = offsetof(struct sluice_result, tail_pos),
	                               [1] = offsetof(struct sluice_result, tail_pos),
	                               [2] = offsetof(struct sluice_result, snapshot)};
	unsigned minor = ctx->plugin->abi_minor;
	size_t size = minor < sizeof sizes / sizeof *sizes ? sizes[minor] : sizeof *results;

	for (size_t i = 0; size < sizeof *results && i < n; i++) {
		results[i].size = (uint32_t)size;
		memmove((char *)results + i * size, (char *)results + i * sizeof *results, size);
	}
}

static void submit_done(void *arg, const struct sluice_result *results, size_t n)
{
	struct sluice_req *r = arg;
	sluice_done_fn *done = r->fn.done;
	void *done_arg = r->arg;
	struct store *s = &r->ctx->worker->store;

	for (size_t i = 0; i < n; i++) {
		*s->n_lost += results[i].status == SLUICE_ELOST;
		/* The array is the client's scratch memory or ours; it is const for the plugin only. */
		((struct sluice_result *)(uintptr_t)results)[i].incarnation = store_id_out(s, results[i].incarnation);
	}
	if (r->cancelled)
		done = NULL;
	if (r->appends)
		sl_metrics_observe(s->append_time, worker_now_us(r->ctx->worker) - r->queued_us);
	submit_shorten(r->ctx, (struct sluice_result *)(uintptr_t)results, n);
	store_req_free(r);
	if (done)
		done(done_arg, results, n);
}

/* Answered by the host itself at the end of the turn: a name that belongs to somebody else. */
static void submit_refuse(struct sluice_req *r, int status, uint32_t reason)
{
	r->status = status;
	r->reason = reason;
	r->appends = false; /* nobody is waited for */
	sl_link_add(&r->ctx->worker->store.local, &r->queued);
}

static void local_answer(struct sluice_req *r)
{
	struct sluice_result one = {.size = sizeof one,
	                            .status = r->status,
	                            .reason = r->reason,
	                            .message = "this name belongs to another protocol"};
	struct sluice_result *all = r->n_ops > 1 ? calloc(r->n_ops, sizeof *all) : &one;

	if (!all) { /* nothing happened yet: it may be asked again */
		sl_link_add(&r->ctx->worker->store.local, &r->queued);
		return;
	}
	for (size_t i = 0; i < r->n_ops; i++)
		all[i] = one;
	submit_done(r, all, r->n_ops);
	if (all != &one)
		free(all);
}

/* Copies the caller's operations, which may be of an older, shorter layout. */
static int submit_copy(const struct sluice_op *ops, size_t n, struct sluice_op *copy)
{
	size_t stride = ops[0].size;

	if (stride < sizeof(uint32_t) * 4)
		return SLUICE_EINVAL;
	for (size_t i = 0; i < n; i++) {
		const struct sluice_op *op = (const void *)((const char *)ops + i * stride);

		if (op->size != stride)
			return SLUICE_EINVAL;
		memset(&copy[i], 0, sizeof copy[i]);
		memcpy(&copy[i], op, stride < sizeof copy[i] ? stride : sizeof copy[i]);
	}
	return 0;
}

/* What has to outlive the call: payloads behind a descriptor, and the descriptors made here. */
static void submit_keep(struct submission *sub, struct sluice_req *r)
{
	r->payload = (struct sluice_payload **)(void *)(r + 1);
	for (size_t i = 0; i < sub->n; i++) {
		struct sluice_payload *p = sub->op[i].payload;

		if (p && payload_fd(p) >= 0)
			r->payload[r->n_payload++] = p;
		else
			payload_free(p);
	}
	r->own_fd = (int *)(void *)(r->payload + sub->n);
	r->n_own_fd = sub->n_own;
	memcpy(r->own_fd, sub->own, sub->n_own * sizeof *sub->own);
	sub->n_own = 0;
}

/* Makes the request and hands it to the client, or to the local answers when a name is reserved. */
static int submit_send(struct submission *sub, sluice_done_fn *done, void *arg, struct sluice_req **out)
{
	size_t extra = sub->n * sizeof(struct sluice_payload *) + sub->n_own * sizeof(int);
	struct sluice_req *r = store_req_new(sub->ctx, REQ_SUBMIT, extra, arg);
	bool allowed = true;
	int rc = 0;

	if (!r)
		return SLUICE_ENOMEM;
	r->fn.done = done;
	r->n_ops = (uint32_t)sub->n;
	r->appends = sub->op[0].kind == SLUICE_OP_APPEND;
	for (size_t i = 0; i < sub->n; i++)
		allowed = allowed && store_may_write(sub->ctx, sub->wire[i].stream);
	if (allowed)
		rc = sl_client_submit(sub->store->client, sub->wire, (uint32_t)sub->n, sub->fd, sub->n_fd, submit_done,
		                      r, NULL);
	else
		submit_refuse(r, SLUICE_EDENIED, SLUICE_WHY_RESERVED);
	if (rc) {
		store_req_free(r);
		return rc;
	}
	submit_keep(sub, r);
	++*sub->store->n_submits;
	if (out)
		*out = r;
	return 0;
}

static int submit_all(struct submission *sub, const struct sluice_op *ops)
{
	size_t names = 0;
	int rc = submit_copy(ops, sub->n, sub->op);

	for (size_t i = 0; rc == 0 && i < sub->n; i++)
		names += 2 * strlen(sub->ctx->prefix) + sub->op[i].stream.len + sub->op[i].fork_of.len;
	sub->store->names.len = sub->store->names.off = 0;
	sub->store->marks.len = sub->store->marks.off = 0;
	if (rc == 0 && names && !sl_buf_room(&sub->store->names, names))
		rc = SLUICE_ENOMEM;
	for (size_t i = 0; rc == 0 && i < sub->n; i++)
		rc = submit_op(sub, &sub->op[i], &sub->wire[i]);
	if (rc == 0)
		submit_marks(sub);
	return rc;
}

int submit_submit(struct sluice_ctx *ctx, const struct sluice_op *ops, size_t n, sluice_done_fn *done, void *arg,
                  struct sluice_req **out)
{
	struct submission sub = {.store = &ctx->worker->store, .ctx = ctx, .n = n};
	struct sluice_op few[OPS_FEW];
	struct sl_store_op few_wire[OPS_FEW];
	int rc;

	host_ctx_check(ctx);
	if (n == 0 || n > OPS_MAX || !done)
		return SLUICE_EINVAL;
	sub.op = n <= OPS_FEW ? few : malloc(n * sizeof *sub.op);
	sub.wire = n <= OPS_FEW ? few_wire : malloc(n * sizeof *sub.wire);
	rc = sub.op && sub.wire ? submit_all(&sub, ops) : SLUICE_ENOMEM;
	if (rc == 0)
		rc = submit_send(&sub, done, arg, out);
	for (size_t i = 0; i < sub.n_own; i++)
		close(sub.own[i]);
	if (sub.op != few)
		free(sub.op);
	if (sub.wire != few_wire)
		free(sub.wire);
	if (sub.store->marks.cap > INLINE_MAX)
		sl_buf_fini(&sub.store->marks);
	return rc;
}

void submit_cancel(struct sluice_req *r)
{
	r->cancelled = true;
}

void submit_run_local(struct worker *w)
{
	struct sl_link now, *l;

	sl_link_init(&now);
	sl_link_splice(&now, &w->store.local);
	while ((l = sl_link_pop(&now)))
		local_answer(SL_OF(l, struct sluice_req, queued));
}
