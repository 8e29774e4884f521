/*
 * mask.c - a client's frames have to be masked, or the connection fails (RFC 6455 5.1). Worker process.
 *
 * libwebsockets 4.1.6 takes unmasked frames, shows payloads only, and reads its sockets by itself. So this program has a
 * recv() of its own, which the dynamic linker prefers to libc's for libwebsockets too: what comes over the descriptor of
 * a WebSocket is followed from one frame header to the next, and an unmasked frame never gets there, nor what is behind
 * it. For all other descriptors it is recv().
 */
#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "frontend/ws/engine.h"

enum { MASK_FIRST, MASK_LENGTH, MASK_LONG, MASK_KEY, MASK_PAYLOAD };
enum { MASK_BIT = 0x80, MASK_KEY_BYTES = 4 };

static struct sluice_ws **mask_watched; /* by descriptor */
static size_t mask_room;

/* How many of the bytes libwebsockets may see: up to the first frame that is not masked. */
static size_t mask_follow(struct ws_mask *m, const uint8_t *p, size_t n)
{
	for (size_t i = 0; i < n; i++) {
		uint64_t rest = n - i;

		switch (m->state) {
		case MASK_FIRST:
			m->state = MASK_LENGTH;
			break;
		case MASK_LENGTH:
			if (!(p[i] & MASK_BIT)) {
				m->broken = true;
				return i;
			}
			m->left = p[i] & ~MASK_BIT;
			m->need = m->left == 126 ? 2 : m->left == 127 ? 8 : MASK_KEY_BYTES;
			m->state = m->left < 126 ? MASK_KEY : MASK_LONG;
			m->left = m->left < 126 ? m->left : 0;
			break;
		case MASK_LONG:
			m->left = m->left << 8 | p[i];
			if (--m->need > 0)
				break;
			m->need = MASK_KEY_BYTES;
			m->state = MASK_KEY;
			break;
		case MASK_KEY:
			if (--m->need == 0)
				m->state = m->left ? MASK_PAYLOAD : MASK_FIRST;
			break;
		default:
			rest = m->left < rest ? m->left : rest;
			m->left -= rest;
			i += (size_t)rest - 1;
			if (m->left == 0)
				m->state = MASK_FIRST;
			break;
		}
	}
	return n;
}

size_t ws_mask_pass(struct sluice_ws *ws, const void *data, size_t n)
{
	size_t good = ws->mask.broken ? 0 : mask_follow(&ws->mask, data, n);

	if (ws->mask.broken)
		ws_conn_close(ws, 1002, "a client's frames have to be masked");
	return good;
}

int ws_mask_watch(struct sluice_ws *ws, int fd)
{
	if ((size_t)fd >= mask_room) {
		size_t room = 2 * (size_t)fd + 64;
		struct sluice_ws **more = realloc(mask_watched, room * sizeof(*more));

		if (!more)
			return SLUICE_ENOMEM;
		memset(more + mask_room, 0, (room - mask_room) * sizeof(*more));
		mask_watched = more;
		mask_room = room;
	}
	mask_watched[fd] = ws;
	ws->fd = fd;
	return 0;
}

void ws_mask_unwatch(struct sluice_ws *ws)
{
	if (ws->fd >= 0 && mask_watched[ws->fd] == ws)
		mask_watched[ws->fd] = NULL;
	ws->fd = -1;
}

ssize_t mask_recv(int fd, void *data, size_t n, int flags) __asm__("recv");

ssize_t mask_recv(int fd, void *data, size_t n, int flags)
{
	ssize_t got = recvfrom(fd, data, n, flags, NULL, NULL);
	struct sluice_ws *ws = fd >= 0 && (size_t)fd < mask_room ? mask_watched[fd] : NULL;

	if (!ws || got <= 0)
		return got;
	got = (ssize_t)ws_mask_pass(ws, data, (size_t)got);
	/* What is swallowed must leave the socket, or the loop would be told of it again and again. */
	if (got == 0) {
		errno = EAGAIN;
		return -1;
	}
	return got;
}
