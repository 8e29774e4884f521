/*
 * payload.c - a collected body: in memory up to SL_PAYLOAD_INLINE, then in a memfd (or an unlinked temporary file) whose
 * descriptor can go on to the writer. Worker process.
 *
 * Every byte counts against the worker's budget from the moment it is added until payload_free(), wherever it lies:
 * pages of a memfd are memory too. Memory grows by doubling, so at most twice what was counted is allocated.
 */
#include "frontend/frontend.h"

#include "lib/store_client.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define PAYLOAD_MAGIC 0x5061796cu

struct sluice_payload {
	uint32_t magic;
	int fd; /* -1: in memory */
	struct payload_budget *budget;
	struct sl_buf mem;
	uint64_t len;     /* what the owner sees */
	uint64_t counted; /* what the budget was charged */
	void *map;        /* of a file-backed payload, map_len bytes */
	size_t map_len;
};

struct sluice_payload *payload_new(struct payload_budget *budget)
{
	struct sluice_payload *p = calloc(1, sizeof *p);

	if (!p)
		return NULL;
	p->magic = PAYLOAD_MAGIC;
	p->fd = -1;
	p->budget = budget;
	sl_buf_init(&p->mem);
	return p;
}

static int payload_open(void)
{
	char name[] = "/tmp/sluice-body-XXXXXX";
	int fd = memfd_create("sluice-body", MFD_CLOEXEC);

	if (fd >= 0)
		return fd;
	fd = mkostemp(name, O_CLOEXEC);
	if (fd >= 0)
		unlink(name);
	return fd;
}

static int payload_errno(void)
{
	return errno == ENOSPC || errno == EDQUOT || errno == EFBIG ? SLUICE_EFULL : SLUICE_ENOMEM;
}

static int payload_write(int fd, const uint8_t *data, size_t n, uint64_t at)
{
	while (n > 0) {
		ssize_t k = pwrite(fd, data, n, (off_t)at);

		if (k < 0 && errno == EINTR)
			continue;
		if (k <= 0)
			return payload_errno();
		data += k;
		n -= (size_t)k;
		at += (uint64_t)k;
	}
	return 0;
}

/* Moves what is in memory to a descriptor. */
static int payload_spill(struct sluice_payload *p)
{
	sl_slice s = sl_buf_slice(&p->mem);
	int fd = payload_open();
	int e;

	if (fd < 0)
		return payload_errno();
	e = payload_write(fd, s.data, s.len, 0);
	if (e) {
		close(fd);
		return e;
	}
	sl_buf_fini(&p->mem);
	p->fd = fd;
	return 0;
}

static void payload_unmap(struct sluice_payload *p)
{
	if (p->map)
		munmap(p->map, p->map_len);
	p->map = NULL;
	p->map_len = 0;
}

int payload_add(struct sluice_payload *p, sl_slice s)
{
	int e = 0;

	assert(p->magic == PAYLOAD_MAGIC);
	if (s.len == 0)
		return 0;
	if (p->budget && s.len > p->budget->max - (p->budget->used < p->budget->max ? p->budget->used : p->budget->max))
		return SLUICE_EBUSY;
	payload_unmap(p);
	if (p->fd < 0 && p->len + s.len > SL_PAYLOAD_INLINE)
		e = payload_spill(p);
	if (!e && p->fd >= 0)
		e = payload_write(p->fd, s.data, s.len, p->len);
	else if (!e)
		e = sl_buf_add(&p->mem, s.data, s.len);
	if (e)
		return e;
	p->len += s.len;
	p->counted += s.len;
	if (p->budget)
		p->budget->used += s.len;
	return 0;
}

uint64_t payload_len(const struct sluice_payload *p)
{
	return p->len;
}

int payload_fd(const struct sluice_payload *p)
{
	return p->fd;
}

int payload_map(struct sluice_payload *p, void **data, size_t *len)
{
	assert(p->magic == PAYLOAD_MAGIC);
	if (p->fd < 0) {
		*data = p->mem.data ? p->mem.data + p->mem.off : NULL;
	} else {
		if (!p->map && p->len > 0) {
			void *map = mmap(NULL, p->len, PROT_READ | PROT_WRITE, MAP_SHARED, p->fd, 0);

			if (map == MAP_FAILED)
				return SLUICE_ENOMEM;
			p->map = map;
			p->map_len = p->len;
		}
		*data = p->map;
	}
	*len = p->len;
	return 0;
}

void payload_truncate(struct sluice_payload *p, size_t len)
{
	assert(p->magic == PAYLOAD_MAGIC);
	if (len >= p->len)
		return;
	payload_unmap(p);
	p->len = len;
	if (p->fd < 0)
		p->mem.len = len;
	else if (ftruncate(p->fd, (off_t)len) != 0)
		return; /* len decides what is read; a longer file only keeps its pages a little longer */
}

void payload_free(struct sluice_payload *p)
{
	if (!p)
		return;
	assert(p->magic == PAYLOAD_MAGIC);
	payload_unmap(p);
	sl_buf_fini(&p->mem);
	if (p->fd >= 0)
		close(p->fd);
	if (p->budget) {
		assert(p->budget->used >= p->counted);
		p->budget->used -= p->counted;
	}
	p->magic = 0;
	free(p);
}
