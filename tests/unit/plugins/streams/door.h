/*
 * door.h - shorthand for tests of the streams plugin: a fake host with the plugin in it, requests in one line. Tests only.
 */
#ifndef DOOR_H
#define DOOR_H

#include <stdarg.h>

#include "tests/unit/plugins/fake_host.h"
#include "tests/unit/tap.h"

extern const struct sluice_plugin sluice_plugin_v1;

#define H(...) ((const char *const[]){__VA_ARGS__, NULL})
#define ZERO "0000000000000000_0000000000000000"
#define BEYOND "9999999999999999_9999999999999999"
#define TYPE_TEXT "content-type: text/plain"
#define TYPE_JSON "content-type: application/json"

static fake *door;

static inline void door_open(const char *const *settings)
{
	door = fake_new(&sluice_plugin_v1, settings);
	if (!door)
		abort();
}

static inline void door_close(const char *name)
{
	is_int(fake_free(door), 0, name);
	door = NULL;
}

/* Begins a request and runs what it causes; the caller frees it. */
static inline struct sluice_http_req *begin(const char *method, const char *target, const char *const *headers,
                                            const char *body)
{
	struct sluice_http_req *r = fake_http(door, method, target, headers, body, body ? strlen(body) : 0);

	fake_turn(door);
	return r;
}

/* What the last do_() was answered with. */
static struct sluice_http_req *last;

/* A whole request: its status; 0 when it is not answered. */
static inline int do_(const char *method, const char *target, const char *const *headers, const char *body)
{
	if (last)
		fake_http_free(last);
	last = begin(method, target, headers, body);
	if (last->wrong)
		printf("# wrong length in %s %s\n", method, target);
	return fake_open(last) || last->wrong ? 0 : last->status;
}

static inline void undo(void)
{
	if (last)
		fake_http_free(last);
	last = NULL;
}

static inline const char *head(const char *name)
{
	const char *value = fake_header(last, name);

	return value ? value : "(absent)";
}

static inline const char *body(const struct sluice_http_req *r)
{
	return r->body.data ? (const char *)r->body.data : "";
}

#endif
