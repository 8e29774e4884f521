/* The board of connections: who counts, who is fuller, two mappings, nonsense. */
#include <sys/mman.h>
#include <unistd.h>

#include "lib/board.h"
#include "tests/unit/tap.h"

int main(void)
{
	int fd = sl_board_new(), small = memfd_create("small", MFD_CLOEXEC);
	struct sl_board *a = sl_board_map(fd), *b = sl_board_map(fd);

	ok(fd >= 0 && a && b && a != b, "two mappings");
	ok(!sl_board_map(small), "too small a memory is refused");
	ok(ftruncate(fd, 1) != 0, "nobody can make it smaller under the others");
	ok(!sl_board_fuller(a, 0, 0) && !sl_board_fuller(a, 0, 1000), "nobody else is there");
	sl_board_set(b, 1, 0);
	ok(!sl_board_fuller(a, 0, 0), "as many as the other");
	ok(sl_board_fuller(a, 0, 1), "one more than the other");
	sl_board_set(a, 0, 1);
	ok(!sl_board_fuller(b, 1, 0), "the other is not fuller");
	sl_board_set(b, 1, 990);
	ok(!sl_board_fuller(a, 0, 1000), "of many a few more do not count");
	ok(sl_board_fuller(a, 0, 1200), "many more do");
	sl_board_leave(b, 1);
	ok(!sl_board_fuller(a, 0, 1000), "who leaves does not count");
	sl_board_set(b, SL_BOARD_SLOTS, 0);
	sl_board_leave(b, SL_BOARD_SLOTS);
	ok(!sl_board_fuller(a, 0, 1000), "a place that is not there");
	sl_board_set(b, 63, UINT32_MAX);
	ok(!sl_board_fuller(a, 0, UINT32_MAX), "the largest number");
	sl_board_unmap(a);
	sl_board_unmap(b);
	close(fd);
	close(small);
	return tap_done();
}
