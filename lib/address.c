/*
 * address.c - where to listen, as written in the configuration. Supervisor, and whoever checks a configuration.
 *
 * Nothing is looked up here: a check must not depend on a name server.
 */
#include "lib/address.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>
#include <sys/un.h>

#include "sluice/plugin.h"

static int address_fail(const char **why, const char *text)
{
	*why = text;
	return SLUICE_EINVAL;
}

static int address_port(const char *text, uint16_t *port, const char **why)
{
	unsigned long v = 0;

	if (!*text || strlen(text) > 5)
		return address_fail(why, "expected a port from 0 to 65535 after the last colon");
	for (; *text; text++) {
		if (*text < '0' || *text > '9')
			return address_fail(why, "expected a port from 0 to 65535 after the last colon");
		v = v * 10 + (unsigned long)(*text - '0');
	}
	if (v > UINT16_MAX)
		return address_fail(why, "expected a port from 0 to 65535 after the last colon");
	*port = (uint16_t)v;
	return 0;
}

static int address_host(const char *from, size_t n, bool v6, struct sl_address *a, const char **why)
{
	struct in6_addr six;

	if (n >= sizeof a->host)
		return address_fail(why, "the host name is too long");
	memcpy(a->host, from, n);
	a->host[n] = '\0';
	if (v6)
		return inet_pton(AF_INET6, a->host, &six) == 1 ? 0 : address_fail(why, "no IPv6 address between the brackets");
	if (strcmp(a->host, "*") == 0) {
		a->host[0] = '\0';
		return 0;
	}
	if (n == 0 || strspn(a->host, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.-") != n)
		return address_fail(why, "expected host:port, [v6 address]:port, unix:/path or systemd:name");
	return 0;
}

int sl_address_parse(const char *text, struct sl_address *a, const char **why)
{
	const char *colon = strrchr(text, ':'), *close = strchr(text, ']');
	struct sockaddr_un un;

	memset(a, 0, sizeof *a);
	if (strncmp(text, "unix:", 5) == 0) {
		a->kind = SL_ADDRESS_UNIX;
		a->name = text + 5;
		if (a->name[0] != '/')
			return address_fail(why, "expected an absolute path after unix:");
		return strlen(a->name) < sizeof un.sun_path ? 0 : address_fail(why, "the path is too long for a socket");
	}
	if (strncmp(text, "systemd:", 8) == 0) {
		a->kind = SL_ADDRESS_SYSTEMD;
		a->name = text + 8;
		return *a->name ? 0 : address_fail(why, "expected the name of a socket after systemd:");
	}
	a->kind = SL_ADDRESS_TCP;
	if (!colon)
		return address_fail(why, "expected host:port, [v6 address]:port, unix:/path or systemd:name");
	if (*text == '[') {
		if (!close || close[1] != ':')
			return address_fail(why, "expected [v6 address]:port");
		if (address_host(text + 1, (size_t)(close - text - 1), true, a, why))
			return SLUICE_EINVAL;
		return address_port(close + 2, &a->port, why);
	}
	if (address_host(text, (size_t)(colon - text), false, a, why))
		return SLUICE_EINVAL;
	return address_port(colon + 1, &a->port, why);
}

bool sl_address_loopback(const struct sl_address *a)
{
	struct in_addr four;
	struct in6_addr six;

	if (a->kind != SL_ADDRESS_TCP || strcmp(a->host, "localhost") == 0)
		return true;
	if (inet_pton(AF_INET, a->host, &four) == 1)
		return ntohl(four.s_addr) >> 24 == 127;
	return inet_pton(AF_INET6, a->host, &six) == 1 && IN6_IS_ADDR_LOOPBACK(&six);
}
