/*
 * fuzz_sds.c - fuzz target: what clients of SDS send: values, chunks, ids in paths. Tests only.
 *
 * The first byte says which. Chunks come several from one input, and are put together within their bounds; what has a name has the one
 * that its content makes.
 */
#include <stdlib.h>

#include "plugins/sds/sds.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

static void must(bool good)
{
	if (!good)
		abort();
}

static void fuzz_value(slice s)
{
	char name[VALUE_NAME], own[VALUE_NAME];
	uint8_t digest[HASH_LEN];
	slice content;
	size_t n;

	switch (name_value(s, &content, name, &n)) {
	case NAME_NONE:
		must(n == 0);
		return;
	case NAME_SHA:
		must(n == VALUE_NAME && content.len == s.len - HASH_LEN && sha256(content, digest));
		hex_put(digest, HASH_LEN, own);
		must(memcmp(own, name, n) == 0);
		return;
	case NAME_FNV:
		must(n == fnv_name(fnv1a(content), content.len, own) && memcmp(own, name, n) == 0);
	}
}

/* A byte of length before each. */
static void fuzz_chunks(slice s)
{
	const struct set_limits limits = {.value = 64 * CHUNK_UNIT, .bytes = 256, .total = 512};
	const uint8_t *p = s.data, *end = p + s.len;
	uint64_t total = 0, now = 0;
	struct sets all;
	struct chunk c;
	uint8_t *whole;
	size_t len;

	sets_init(&all, &total);
	while (p < end) {
		size_t n = *p++;

		n = n < (size_t)(end - p) ? n : (size_t)(end - p);
		if (chunk_parse(SLICE(p, n), &c)) {
			must(c.index < c.total && c.data.len == n - CHUNK_HEAD);
			if (sets_add(&all, &c, &limits, now, &whole, &len) == SET_WHOLE)
				must(len <= limits.bytes);
			free(whole);
		}
		must(all.n <= SETS_MAX && all.bytes <= limits.bytes && total == all.bytes);
		now += n * 1000;
		sets_expire(&all, now);
		p += n;
	}
	sets_clear(&all);
	must(total == 0);
}

static void fuzz_id(slice s)
{
	char id[ID_MAX], name[STREAM_MAX], again[ID_MAX];
	slice part[3];
	size_t n, len, n_again;

	path_split(s, "/api/log/", part, 3, &n);
	must(n <= 3);
	if (!id_decode(s, id, &n))
		return;
	must(n > 0 && n <= ID_MAX && !memchr(id, 0, n));
	len = id_stream(SLICE(id, n), name);
	must(len <= STREAM_MAX && len > 6 && !memchr(name + 6, '/', len - 6));
	must(!slice_is(SLICE(name + 6, len - 6), ".") && !slice_is(SLICE(name + 6, len - 6), ".."));
	/* The name of a log says which store it is of. */
	must(id_decode(SLICE(name + 6, len - 6), again, &n_again) && slice_eq(SLICE(again, n_again), SLICE(id, n)));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static void (*const parts[])(slice) = {fuzz_value, fuzz_chunks, fuzz_id};

	if (size > 0)
		parts[data[0] % (sizeof parts / sizeof *parts)](SLICE(data + 1, size - 1));
	return 0;
}
