/* What children print is passed on with name, pid and level, and cannot forge lines. */
#include "supervisor/supervisor.h"
#include "tests/unit/tap.h"

static const char *format(bool terminal, const char *line)
{
	static char out[8192];

	out[output_format(out, sizeof out - 1, terminal, 4, "web#1", 42, line, strlen(line))] = '\0';
	return out;
}

int main(void)
{
	char out[64], line[256];
	size_t n;

	is_str(format(false, "<6>web#1 started x=1"), "<6>web#1[42] started x=1", "the child's own name gets the pid");
	is_str(format(true, "<6>web#1 started"), "web#1[42] started", "no priority on a terminal");
	is_str(format(false, "==1==ERROR: AddressSanitizer"), "<4>web#1[42] ==1==ERROR: AddressSanitizer", "stray lines get one");
	is_str(format(false, "<9>odd"), "<4>web#1[42] <9>odd", "what is no priority is text");
	is_str(format(false, "<3>web#10 x"), "<3>web#1[42] web#10 x", "another name is text");
	is_str(format(false, "a\x1b[2Jb\tc"), "<4>web#1[42] a\\x1b[2Jb\tc", "control characters are shown");
	memset(line, '\x01', sizeof line);
	n = output_format(out, sizeof out, false, 4, "web#1", 42, line, sizeof line);
	ok(n < sizeof out, "a long line is cut at the buffer's end");
	return tap_done();
}
