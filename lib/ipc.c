/*
 * ipc.c - length-prefixed frames with descriptors on a non-blocking Unix stream socket. Every process.
 *
 * Descriptors keep their place in the byte stream: the kernel never merges data across an SCM_RIGHTS message, so the
 * queue of received descriptors has the order of the frames that name them.
 */
#include "lib/ipc.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
	HEAD = 6,
	FILL_STEP = 64 * 1024,
	FILL_MAX = 256 * 1024,
	KEPT_MAX = 128 * 1024 /* an empty buffer of this size is kept: given back, it would be got anew every turn */
};

void sl_ipc_init(struct sl_ipc *p, int fd)
{
	memset(p, 0, sizeof *p);
	p->fd = fd;
}

void sl_ipc_fini(struct sl_ipc *p)
{
	for (size_t i = 0; i < p->n_in_fd; i++)
		close(p->in_fd[i]);
	for (size_t i = 0; i < p->n_out_fd; i++)
		close(p->out_fd[i].fd);
	free(p->out_fd);
	sl_buf_fini(&p->in);
	sl_buf_fini(&p->out);
	if (p->fd >= 0)
		close(p->fd);
	sl_ipc_init(p, -1);
}

/* Takes the descriptors of one received message; too many are closed and refused. */
static int ipc_keep_fds(struct sl_ipc *p, struct msghdr *m)
{
	int rc = 0;

	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c)) {
		size_t n = c->cmsg_len > CMSG_LEN(0) ? (c->cmsg_len - CMSG_LEN(0)) / sizeof(int) : 0;

		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		for (size_t i = 0; i < n; i++) {
			int fd;

			memcpy(&fd, CMSG_DATA(c) + i * sizeof fd, sizeof fd);
			if (p->n_in_fd < sizeof p->in_fd / sizeof *p->in_fd) {
				p->in_fd[p->n_in_fd++] = fd;
			} else {
				close(fd);
				rc = SLUICE_EINVAL;
			}
		}
	}
	return m->msg_flags & MSG_CTRUNC ? SLUICE_EINVAL : rc;
}

static void ipc_rest(struct sl_buf *b)
{
	if (b->cap > KEPT_MAX)
		sl_buf_shrink(b);
}

static void ipc_drop_frame(struct sl_ipc *p)
{
	sl_buf_drain(&p->in, p->frame);
	p->frame = 0;
}

/* Is a whole frame waiting to be taken, or one that will be refused? */
static bool ipc_whole(const struct sl_ipc *p)
{
	struct sl_cur c = sl_cur_of(sl_buf_slice(&p->in));
	uint32_t len = sl_cur_u32(&c);

	return !c.bad && (len > SL_IPC_FRAME_MAX - 4 || p->in.len >= 4 + (size_t)len);
}

int sl_ipc_fill(struct sl_ipc *p)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * SL_IPC_FD_MAX)];
		struct cmsghdr align;
	} control;

	ipc_drop_frame(p);
	for (size_t total = 0; total < FILL_MAX;) {
		struct iovec io = {.iov_base = sl_buf_room(&p->in, FILL_STEP), .iov_len = FILL_STEP};
		struct msghdr m = {
			.msg_iov = &io, .msg_iovlen = 1, .msg_control = &control, .msg_controllen = sizeof control};
		ssize_t n;
		int rc;

		if (!io.iov_base)
			return SLUICE_ENOMEM;
		/* Frames that wait to be taken hold as many descriptors as there is room for: the rest stays in the socket. */
		if (p->n_in_fd + SL_IPC_FD_MAX > sizeof p->in_fd / sizeof *p->in_fd)
			return ipc_whole(p) ? 0 : SLUICE_EINVAL; /* no frame is there that could take one: for ever */
		n = recvmsg(p->fd, &m, MSG_CMSG_CLOEXEC | MSG_DONTWAIT);
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : SLUICE_ELOST;
		if (n == 0)
			return SLUICE_ELOST;
		sl_buf_added(&p->in, (size_t)n);
		rc = ipc_keep_fds(p, &m);
		if (rc)
			return rc;
		total += (size_t)n;
		/* A short read without descriptors means that the socket is empty: saves the call that would say so. */
		if (n < FILL_STEP && m.msg_controllen == 0)
			return 0;
	}
	return 0;
}

int sl_ipc_next(struct sl_ipc *p, uint16_t *id, sl_slice *body)
{
	struct sl_cur c;
	uint32_t len;

	*id = 0;
	ipc_drop_frame(p);
	if (p->in.len < HEAD) {
		ipc_rest(&p->in);
		return 0;
	}
	c = sl_cur_of(sl_buf_slice(&p->in));
	len = sl_cur_u32(&c);
	if (len < HEAD - 4 || len > SL_IPC_FRAME_MAX - 4)
		return SLUICE_EINVAL;
	if (p->in.len < 4 + (size_t)len)
		return 0;
	*id = sl_cur_u16(&c);
	*body = sl_cur_take(&c, len - 2);
	p->frame = 4 + (size_t)len;
	return 1;
}

int sl_ipc_take_fd(struct sl_ipc *p)
{
	int fd;

	if (p->n_in_fd == 0)
		return -1;
	fd = p->in_fd[0];
	p->n_in_fd--;
	memmove(p->in_fd, p->in_fd + 1, p->n_in_fd * sizeof *p->in_fd);
	return fd;
}

struct sl_buf *sl_ipc_begin(struct sl_ipc *p, uint16_t id)
{
	p->begun = p->out.len;
	if (sl_put_u32(&p->out, 0) || sl_put_u16(&p->out, id)) {
		p->out.len = p->begun;
		return NULL;
	}
	return &p->out;
}

int sl_ipc_end(struct sl_ipc *p, int rc)
{
	size_t len = p->out.len - p->begun;
	uint8_t *head = p->out.data + p->out.off + p->begun;
	uint32_t rest = (uint32_t)(len - 4);

	if (rc == 0 && len > SL_IPC_FRAME_MAX)
		rc = SLUICE_ETOOBIG;
	if (rc) {
		while (p->n_out_fd > 0 && p->out_fd[p->n_out_fd - 1].pos == p->sent + p->begun)
			close(p->out_fd[--p->n_out_fd].fd);
		p->out.len = p->begun;
		return rc;
	}
	for (size_t i = 0; i < 4; i++, rest >>= 8)
		head[i] = (uint8_t)rest;
	return 0;
}

int sl_ipc_attach(struct sl_ipc *p, int fd)
{
	int copy;

	if (p->n_out_fd == p->cap_out_fd) {
		size_t cap = p->cap_out_fd ? 2 * p->cap_out_fd : 4;
		struct sl_ipc_fd *more = realloc(p->out_fd, cap * sizeof *more);

		if (!more)
			return SLUICE_ENOMEM;
		p->out_fd = more;
		p->cap_out_fd = cap;
	}
	copy = fcntl(fd, F_DUPFD_CLOEXEC, 0);
	if (copy < 0)
		return SLUICE_EBUSY;
	p->out_fd[p->n_out_fd++] = (struct sl_ipc_fd){.pos = p->sent + p->begun, .fd = copy};
	return 0;
}

size_t sl_ipc_queued(const struct sl_ipc *p)
{
	return p->out.len;
}

/* Sends from the front of the queue up to the next frame that has descriptors, or that frame's beginning with them. */
static ssize_t ipc_send_some(struct sl_ipc *p)
{
	union {
		char space[CMSG_SPACE(sizeof(int) * SL_IPC_FD_MAX)];
		struct cmsghdr align;
	} control = {{0}};
	struct iovec io = {.iov_base = p->out.data + p->out.off, .iov_len = p->out.len};
	struct msghdr m = {.msg_iov = &io, .msg_iovlen = 1};
	size_t n_fd = 0;
	ssize_t n;

	while (n_fd < p->n_out_fd && n_fd < SL_IPC_FD_MAX && p->out_fd[n_fd].pos == p->sent)
		n_fd++;
	if (n_fd < p->n_out_fd)
		io.iov_len = (size_t)(p->out_fd[n_fd].pos - p->sent);
	if (n_fd > 0) {
		struct cmsghdr *c;

		m.msg_control = &control;
		m.msg_controllen = CMSG_SPACE(sizeof(int) * n_fd);
		c = CMSG_FIRSTHDR(&m);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof(int) * n_fd);
		for (size_t i = 0; i < n_fd; i++)
			memcpy(CMSG_DATA(c) + i * sizeof(int), &p->out_fd[i].fd, sizeof(int));
	}
	n = sendmsg(p->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);
	if (n <= 0)
		return n;
	for (size_t i = 0; i < n_fd; i++)
		close(p->out_fd[i].fd);
	p->n_out_fd -= n_fd;
	if (n_fd > 0)
		memmove(p->out_fd, p->out_fd + n_fd, p->n_out_fd * sizeof *p->out_fd);
	return n;
}

int sl_ipc_flush(struct sl_ipc *p)
{
	while (p->out.len > 0) {
		ssize_t n = ipc_send_some(p);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return errno == EAGAIN || errno == EWOULDBLOCK ? 0 : SLUICE_ELOST;
		p->sent += (uint64_t)n;
		sl_buf_drain(&p->out, (size_t)n);
	}
	ipc_rest(&p->out);
	return 0;
}
