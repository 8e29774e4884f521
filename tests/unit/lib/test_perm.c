/* Who may write or read a file beside its owner, and the command that keeps others out without keeping us out. */
#include <stdio.h>
#include <unistd.h>

#include "lib/perm.h"
#include "tests/unit/tap.h"

static void test_writers(void)
{
	static const mode_t nobody[] = {0, 0700, 0755, 0644, 0444, 01755};

	for (size_t i = 0; i < sizeof nobody / sizeof *nobody; i++)
		ok(!sl_perm_writers(nobody[i], SL_PERM_DATA), "nobody");
	is_str(sl_perm_writers(0770, SL_PERM_DATA), "its group", "the group of a data directory");
	ok(!sl_perm_writers(0660, S_IWOTH), "of a file it is not asked for");
	is_str(sl_perm_writers(0772, SL_PERM_DATA), "everybody", "everybody");
	is_str(sl_perm_writers(01777, S_IWOTH), "everybody", "also where the sticky bit is");
}

static void test_owner(void)
{
	struct stat st = {.st_uid = 0};

	ok(!sl_perm_foreign(&st), "root's");
	st.st_uid = geteuid();
	ok(!sl_perm_foreign(&st), "our own");
	st.st_uid = geteuid() + 1;
	ok(sl_perm_foreign(&st), "somebody else's");
}

static void test_hide(void)
{
	struct stat st = {.st_uid = geteuid(), .st_gid = getegid(), .st_mode = S_IFREG | 0644};
	char out[128], want[128];

	sl_perm_hide(&st, "/k", out, sizeof out);
	is_str(out, geteuid() ? "chmod o-rwx /k" : "chmod o-rwx /k, and chgrp it where the service has a user of its own", "of ours");
	st.st_uid = geteuid() + 1;
	if (geteuid() == 0)
		return;
	sl_perm_hide(&st, "/k", out, sizeof out);
	is_str(out, "chmod o-rwx /k", "of another's, with our group");
	st.st_mode = S_IFREG | 0604;
	sl_perm_hide(&st, "/k", out, sizeof out);
	snprintf(want, sizeof want, "chgrp %ld /k && chmod u=rw,g=r,o= /k", (long)getegid());
	is_str(out, want, "which may not read it yet");
}

int main(void)
{
	test_writers();
	test_owner();
	test_hide();
	return tap_done();
}
