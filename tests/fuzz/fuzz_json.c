/*
 * fuzz_json.c - fuzz target: JSON bodies and where their messages are, against libjansson. Tests only.
 *
 * What either takes the other takes too, but for what jansson alone refuses: numbers that fit no machine type, lone surrogates,
 * NUL in strings; and for how deep either goes. Each message is one JSON value, and scanning it again finds itself.
 */
#include <jansson.h>
#include <stdlib.h>

#include "plugins/streams/streams.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static struct json_lens lens, lens_again;

/* An array of one message splits into that message, byte by byte. */
static void check_message(const uint8_t *p, size_t n)
{
	uint8_t *copy = malloc(n + 2);
	const char *why;
	size_t used;

	if (!copy)
		abort();
	copy[0] = '[';
	memcpy(copy + 1, p, n);
	copy[n + 1] = ']';
	/* It may be as deep as is allowed already. */
	if (json_scan(copy, n + 2, &lens_again, &used, &why) == JSON_OK &&
	    (lens_again.n != 1 || used != n || memcmp(copy, p, n) != 0))
		abort();
	free(copy);
}

static void check_messages(const uint8_t *p, size_t used)
{
	size_t at = 0;

	for (size_t i = 0; i < lens.n; i++) {
		if (lens.len[i] == 0 || lens.len[i] > used - at)
			abort();
		if (lens.n <= 64)
			check_message(p + at, lens.len[i]);
		at += lens.len[i];
	}
	if (at != used)
		abort();
}

/* The values that jansson found are those of the messages. */
static void check_values(const json_t *theirs, const uint8_t *p)
{
	size_t n = json_is_array(theirs) ? json_array_size(theirs) : 1, at = 0;

	if (n != lens.n)
		abort();
	for (size_t i = 0; i < n && n <= 64; at += lens.len[i++]) {
		json_t *ours = json_loadb((const char *)p + at, lens.len[i], JSON_DECODE_ANY, NULL);

		if (!ours || !json_equal(ours, json_is_array(theirs) ? json_array_get(theirs, i) : theirs))
			abort();
		json_decref(ours);
	}
}

static void check_refused(const json_error_t *e)
{
	switch (json_error_code(e)) {
	case json_error_numeric_overflow:
	case json_error_null_character:
	case json_error_null_byte_in_key:
	case json_error_stack_overflow:
		return;
	default:
		if (strstr(e->text, "invalid Unicode") == NULL) /* a surrogate without its other half */
			abort();
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);
	json_error_t error;
	json_t *theirs;
	enum json_status status;
	const char *why = NULL;
	size_t used = 0;

	if (!copy)
		abort();
	memcpy(copy, data, n);
	theirs = json_loadb((const char *)data, n, JSON_DECODE_ANY, &error);
	status = json_scan(copy, n, &lens, &used, &why);
	if (status == JSON_OK) {
		check_messages(copy, used);
		if (theirs)
			check_values(theirs, copy);
		else
			check_refused(&error);
	} else if (status != JSON_BAD || !why || !*why) {
		abort();
	} else if (theirs && strstr(why, "deep") == NULL &&
	           !memchr(data, 0, n)) { /* a NUL at the end is none to jansson */
		abort();
	}
	json_decref(theirs);
	free(copy);
	return 0;
}
