/*
 * ipc.h - length-prefixed frames with descriptors on a non-blocking Unix stream socket. Every process.
 *
 * No loop inside: the owner watches fd, calls sl_ipc_fill() when it is readable, takes frames with sl_ipc_next() until
 * there is none, and calls sl_ipc_flush() once per loop turn and whenever the socket is writable and sl_ipc_queued() > 0.
 * A frame is u32 length of the rest, u16 id, body; at most SL_IPC_FRAME_MAX in all.
 */
#ifndef SL_IPC_H
#define SL_IPC_H

#include "lib/buf.h"

#define SL_IPC_FRAME_MAX (1u << 20)
#define SL_IPC_FD_MAX 16 /* descriptors of one frame */

struct sl_ipc_fd {
	uint64_t pos; /* byte position in the stream of the frame it belongs to */
	int fd;
};

struct sl_ipc {
	int fd;
	struct sl_buf in, out;
	size_t frame;    /* live bytes of `in` that the frame handed out last occupies */
	size_t begun;    /* offset of the frame being written inside out's live bytes */
	uint64_t sent;   /* bytes that left so far: position of out's first live byte */
	struct sl_ipc_fd *out_fd;
	size_t n_out_fd, cap_out_fd;
	int in_fd[4 * SL_IPC_FD_MAX];
	size_t n_in_fd;
};

void sl_ipc_init(struct sl_ipc *, int fd); /* takes the descriptor over */
void sl_ipc_fini(struct sl_ipc *);         /* closes it and every descriptor in its queues */

/* Reads what is there, at most about 256 KiB. 0, or SLUICE_ELOST at end or error of the connection (frames read before
 * are still to be had), SLUICE_EINVAL on too many descriptors, SLUICE_ENOMEM. */
int sl_ipc_fill(struct sl_ipc *);
/* 1: a frame, body valid until the next call with this ipc; 0: none complete; SLUICE_EINVAL: malformed, end the peer.
 * Without a frame *id is 0, which no message has. */
int sl_ipc_next(struct sl_ipc *, uint16_t *id, sl_slice *body);
int sl_ipc_take_fd(struct sl_ipc *); /* the oldest descriptor received, now the caller's; -1: none */

/* A frame is written into the buffer between begin and end; end checks the size. On failure nothing is queued. */
struct sl_buf *sl_ipc_begin(struct sl_ipc *, uint16_t id); /* NULL: no memory */
int sl_ipc_end(struct sl_ipc *, int rc);                   /* rc < 0: take the frame back and return rc */
int sl_ipc_attach(struct sl_ipc *, int fd);                /* between begin and end; duplicates the descriptor */
size_t sl_ipc_queued(const struct sl_ipc *);
int sl_ipc_flush(struct sl_ipc *);                         /* 0 (perhaps with bytes left) or SLUICE_ELOST */

#endif
