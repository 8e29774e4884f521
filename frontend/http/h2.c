/* h2.c - HTTP/2, to come with the next commit: a connection that begins with its preface is closed. Worker process. */
#include "frontend/http/engine.h"

static void h2_input(struct http_conn *c, const uint8_t *p, size_t n)
{
	(void)p;
	(void)n;
	conn_kill(c);
}

const struct http_proto h2_proto = {.h2 = true, .input = h2_input};
