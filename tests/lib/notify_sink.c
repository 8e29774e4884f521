/*
 * notify_sink.c - the receiving end of NOTIFY_SOCKET for a test: prints each datagram as one line, "PID FIELD|FIELD|...", pid of the sender
 * as the kernel tells it. "@name" is an abstract address. Compiled by the test that uses it.
 */
#define _GNU_SOURCE
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

int main(int argc, char **argv)
{
	struct sockaddr_un at = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1;

	if (argc != 2 || strlen(argv[1]) >= sizeof at.sun_path)
		return 2;
	memcpy(at.sun_path, argv[1], strlen(argv[1]));
	if (at.sun_path[0] == '@')
		at.sun_path[0] = '\0';
	if (fd < 0 || bind(fd, (struct sockaddr *)&at, (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(argv[1]))) ||
	    setsockopt(fd, SOL_SOCKET, SO_PASSCRED, &on, sizeof on))
		return 1;
	setvbuf(stdout, NULL, _IOLBF, 0);
	puts("listening");
	for (;;) {
		char text[4096], control[CMSG_SPACE(sizeof(struct ucred))];
		struct iovec v = {.iov_base = text, .iov_len = sizeof text - 1};
		struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
		ssize_t n = recvmsg(fd, &m, 0);
		struct cmsghdr *c = n < 0 ? NULL : CMSG_FIRSTHDR(&m);
		struct ucred from;

		if (!c || c->cmsg_type != SCM_CREDENTIALS)
			return 1;
		memcpy(&from, CMSG_DATA(c), sizeof from);
		text[n] = '\0';
		for (char *p = text; (p = strchr(p, '\n'));)
			*p = '|';
		printf("%ld %s\n", (long)from.pid, text);
	}
}
