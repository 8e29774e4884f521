/*
 * address.h - where to listen, as written in the configuration. Supervisor, and whoever checks a configuration.
 */
#ifndef SL_ADDRESS_H
#define SL_ADDRESS_H

#include <stdbool.h>
#include <stdint.h>

enum sl_address_kind { SL_ADDRESS_TCP, SL_ADDRESS_UNIX, SL_ADDRESS_SYSTEMD };

struct sl_address {
	enum sl_address_kind kind;
	char host[256];     /* TCP: without brackets; "" for all addresses ("*:80") */
	uint16_t port;      /* TCP; 0: one that is free */
	const char *name;   /* unix: the path; systemd: the name; points into the text */
};

/* "127.0.0.1:4437", "[::1]:4437", "localhost:4437", "*:4437", "unix:/path", "systemd:NAME".
 * 0 or SLUICE_EINVAL with a sentence in *why. */
int sl_address_parse(const char *text, struct sl_address *, const char **why);
bool sl_address_loopback(const struct sl_address *); /* nobody on another machine can reach it; systemd: not known, true */

#endif
