/*
 * confine.c - runs a program as sluiced.service would have it: no privileges, the unit's system calls only, no memory that is writable and
 * executable. Compiled by the test that uses it, which puts the allowed calls into allowed.h, one `CALL(name)` a line.
 *
 *   confine PROGRAM ARGUMENT...
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

static const int allowed[] = {
#include "allowed.h"
};
enum { CALLS = sizeof allowed / sizeof *allowed, ROOM = 2 * CALLS + 32 };
static struct sock_filter code[ROOM];
static unsigned short len;

static void add(unsigned short op, unsigned k, unsigned char yes, unsigned char no)
{
	code[len++] = (struct sock_filter){.code = op, .jt = yes, .jf = no, .k = k};
}

#define LOAD BPF_LD | BPF_W | BPF_ABS
#define EQUAL BPF_JMP | BPF_JEQ | BPF_K
#define RETURN BPF_RET | BPF_K
#define REFUSE (SECCOMP_RET_ERRNO | EPERM)

/* The third argument of `call` must not have all of `bits`. */
static void refuse_bits(unsigned call, unsigned bits)
{
	add(LOAD, offsetof(struct seccomp_data, nr), 0, 0);
	add(EQUAL, call, 0, 4);
	add(LOAD, offsetof(struct seccomp_data, args[2]), 0, 0);
	add(BPF_ALU | BPF_AND | BPF_K, bits, 0, 0);
	add(EQUAL, bits, 0, 1);
	add(RETURN, REFUSE, 0, 0);
}

static int confine(void)
{
	struct __user_cap_header_struct head = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct none[2] = {{0}};
	struct sock_fprog program;

	refuse_bits(SYS_mmap, PROT_WRITE | PROT_EXEC);
	refuse_bits(SYS_mprotect, PROT_EXEC);
	add(LOAD, offsetof(struct seccomp_data, nr), 0, 0);
	for (int i = 0; i < CALLS; i++) {
		add(EQUAL, (unsigned)allowed[i], 0, 1);
		add(RETURN, SECCOMP_RET_ALLOW, 0, 0);
	}
	add(RETURN, REFUSE, 0, 0);
	program = (struct sock_fprog){.len = len, .filter = code};
	for (int cap = 0; prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) == 0; cap++)
		;
	return syscall(SYS_capset, &head, none) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	       prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

int main(int argc, char **argv)
{
	if (argc < 2 || confine()) {
		perror("confine");
		return 125;
	}
	execv(argv[1], argv + 1);
	perror(argv[1]);
	return 126;
}
