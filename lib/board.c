/*
 * board.c - connections of the workers of one frontend, in shared memory. Supervisor, workers.
 */
#include "lib/board.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

/* Connections and one; 0: this worker accepts nothing. A line of the cache each, because each is written by another process. */
struct slot {
	_Alignas(64) _Atomic uint32_t value;
};

struct sl_board {
	struct slot slot[SL_BOARD_SLOTS];
};

int sl_board_new(void)
{
	int fd = memfd_create("sluice-board", MFD_CLOEXEC | MFD_ALLOW_SEALING);

	if (fd >= 0 && ftruncate(fd, sizeof(struct sl_board)) == 0 &&
	    fcntl(fd, F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) == 0)
		return fd;
	if (fd >= 0)
		close(fd);
	return -1;
}

struct sl_board *sl_board_map(int fd)
{
	struct stat st;
	void *map;

	if (fstat(fd, &st) || st.st_size != (off_t)sizeof(struct sl_board))
		return NULL;
	map = mmap(NULL, sizeof(struct sl_board), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	return map == MAP_FAILED ? NULL : map;
}

void sl_board_unmap(struct sl_board *b)
{
	if (b)
		munmap(b, sizeof *b);
}

void sl_board_set(struct sl_board *b, uint32_t slot, uint32_t connections)
{
	if (slot < SL_BOARD_SLOTS)
		atomic_store_explicit(&b->slot[slot].value, connections < UINT32_MAX ? connections + 1 : connections,
		                      memory_order_relaxed);
}

void sl_board_leave(struct sl_board *b, uint32_t slot)
{
	if (slot < SL_BOARD_SLOTS)
		atomic_store_explicit(&b->slot[slot].value, 0, memory_order_relaxed);
}

bool sl_board_fuller(const struct sl_board *b, uint32_t slot, uint32_t connections)
{
	/* Few are shared out one by one; of many it is not worth waiting for the last percents. */
	uint32_t close_to = connections - connections / 16;

	for (uint32_t i = 0; i < SL_BOARD_SLOTS; i++) {
		uint32_t value = i == slot ? 0 : atomic_load_explicit(&b->slot[i].value, memory_order_relaxed);

		if (value > 0 && value - 1 < close_to)
			return true;
	}
	return false;
}
