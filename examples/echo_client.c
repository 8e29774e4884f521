/*
 * echo_client.c - says something to a WebSocket and checks that the same comes back. For installcheck.sh: echo_client
 * PORT PATH.
 */
#include <arpa/inet.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static void die(const char *what)
{
	fprintf(stderr, "echo_client: %s\n", what);
	exit(1);
}

static int dial(const char *port)
{
	struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
	struct timeval patience = {.tv_sec = 10};
	int fd = socket(AF_INET, SOCK_STREAM, 0);

	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) ||
	    connect(fd, (struct sockaddr *)&to, sizeof to))
		die("cannot connect");
	return fd;
}

static void receive(int fd, void *to, size_t n)
{
	if (recv(fd, to, n, MSG_WAITALL) != (ssize_t)n)
		die("the connection ended early");
}

static void handshake(int fd, const char *path)
{
	char text[1024];
	size_t n = 0;

	snprintf(text, sizeof text,
	         "GET %s HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
	         "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
	         path);
	if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
		die("cannot write");
	/* Byte by byte, so that nothing behind the head is swallowed. */
	while (n < 4 || memcmp(text + n - 4, "\r\n\r\n", 4) != 0) {
		if (n == sizeof text - 1)
			die("an endless answer");
		receive(fd, text + n++, 1);
	}
	text[n] = 0;
	if (strncmp(text, "HTTP/1.1 101 ", 13) != 0 || !strstr(text, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="))
		die(text);
}

int main(int argc, char **argv)
{
	static const char message[] = "Is anybody there?";
	uint8_t out[64] = {0x81, 0x80 | (sizeof message - 1), 1, 2, 3, 4}, in[64];
	size_t n = sizeof message - 1;
	int fd;

	if (argc != 3)
		die("usage: echo_client PORT PATH");
	fd = dial(argv[1]);
	handshake(fd, argv[2]);
	for (size_t i = 0; i < n; i++)
		out[6 + i] = (uint8_t)message[i] ^ out[2 + (i & 3)];
	if (write(fd, out, 6 + n) != (ssize_t)(6 + n))
		die("cannot write");
	receive(fd, in, 2 + n);
	if (in[0] != 0x81 || in[1] != n || memcmp(in + 2, message, n) != 0)
		die("something else came back");
	close(fd);
	return 0;
}
