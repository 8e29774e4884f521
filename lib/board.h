/*
 * board.h - how many connections each worker of a frontend has, in memory that these workers share. The supervisor makes it.
 *
 * Several processes wait at one listening socket, and the kernel wakes whom it likes: without this, all connections of a client
 * may end up at one worker while the others idle. It is advice only: whoever finds nonsense in it accepts a little later.
 */
#ifndef SL_BOARD_H
#define SL_BOARD_H

#include <stdbool.h>
#include <stdint.h>

enum { SL_BOARD_SLOTS = 64 }; /* workers of one frontend */

struct sl_board;

int sl_board_new(void); /* its descriptor, or -1 with errno */
/* Maps fd, which stays the caller's. NULL: it is no board, or there is no memory. */
struct sl_board *sl_board_map(int fd);
void sl_board_unmap(struct sl_board *);
/* What others see of this worker; it does not count until it is set, nor after sl_board_leave(). */
void sl_board_set(struct sl_board *, uint32_t slot, uint32_t connections);
void sl_board_leave(struct sl_board *, uint32_t slot);
/* Whether somebody else has clearly fewer than the connections of this one. */
bool sl_board_fuller(const struct sl_board *, uint32_t slot, uint32_t connections);

#endif
