/*
 * test_vectors.c - ephemeral channels against the 133 vectors made with the Loro library: the same verdict for each
 * update, the same entries afterwards, the same bytes where they are fixed. Tests only.
 */
#include <jansson.h>

#include "frontend/ephemeral/ephemeral.h"
#include "tests/unit/tap.h"

static struct sl_buf unhex(const char *hex)
{
	struct sl_buf b;
	unsigned byte;

	sl_buf_init(&b);
	for (; *hex && sscanf(hex, "%2x", &byte) == 1; hex += 2)
		if (sl_put_u8(&b, (uint8_t)byte))
			abort();
	return b;
}

static char *hex_of(sl_slice s)
{
	char *text = malloc(2 * s.len + 1);

	if (!text)
		abort();
	text[0] = '\0';
	for (size_t i = 0; i < s.len; i++)
		sprintf(text + 2 * i, "%02x", ((const uint8_t *)s.data)[i]);
	return text;
}

static const char *text_of(const json_t *v, const char *name)
{
	const char *s = json_string_value(json_object_get(v, name));

	return s ? s : "";
}

static int64_t number_of(const json_t *v, const char *name)
{
	return (int64_t)json_number_value(json_object_get(v, name));
}

/* A value as the vectors write it: {"i64": ".."}, {"str": ".."} ... Consumes it from the cursor. */
static json_t *typed(struct sl_cur *c)
{
	static const char *const type[] = {"Text", "Map", "List", "MovableList", "Tree", "Counter"};
	struct eph_piece p;
	json_t *inner;
	char *hex;

	eph_take_piece(c, &p);
	switch (p.tag) {
	case EPH_NULL:
		return json_pack("{s:b}", "null", 1);
	case EPH_BOOL:
		return json_pack("{s:b}", "bool", (int)p.integer);
	case EPH_DOUBLE: {
		uint64_t bits;

		memcpy(&bits, &p.number, sizeof bits);
		return json_pack("{s:o}", "f64_bits", json_sprintf("%016llx", (unsigned long long)bits));
	}
	case EPH_INTEGER:
		return json_pack("{s:o}", "i64", json_sprintf("%lld", (long long)p.integer));
	case EPH_STRING:
		return json_pack("{s:o}", "str", json_stringn(p.bytes.len ? p.bytes.data : "", p.bytes.len));
	case EPH_BINARY:
		hex = hex_of(p.bytes);
		inner = json_pack("{s:s}", "bin", hex);
		free(hex);
		return inner;
	case EPH_LIST:
		inner = json_array();
		for (uint32_t i = 0; i < p.elements; i++)
			json_array_append_new(inner, typed(c));
		return json_pack("{s:o}", "list", inner);
	case EPH_MAP:
		inner = json_object();
		for (uint32_t i = 0; i < p.elements; i++) {
			sl_slice key = eph_take_text(c);

			json_object_setn_new(inner, key.len ? key.data : "", key.len, typed(c));
		}
		return json_pack("{s:o}", "map", inner);
	default: {
		json_t *kind = p.type < 6 ? json_string(type[p.type]) : json_sprintf("Unknown(%u)", p.type);
		json_t *text = p.bytes.data ? json_sprintf("cid:root-%.*s:%s", (int)p.bytes.len,
		                                           (const char *)p.bytes.data, json_string_value(kind))
		                            : json_sprintf("cid:%lld@%llu:%s", (long long)p.integer,
		                                           (unsigned long long)p.peer, json_string_value(kind));

		json_decref(kind);
		return json_pack("{s:o}", "cid", text);
	}
	}
}

static json_t *entry_json(const struct eph_entry *e)
{
	struct sl_cur c = sl_cur_of(e->value);
	json_t *value = e->value.data ? typed(&c) : json_null();

	return json_pack("{s:o, s:o, s:o}", "key", json_stringn(e->key.len ? e->key.data : "", e->key.len), "timestamp",
	                 json_sprintf("%lld", (long long)e->timestamp), "value", value);
}

static void entry_collect(void *arg, const struct eph_entry *e)
{
	json_array_append_new(arg, entry_json(e));
}

/* Arrays of entries as sets. */
static bool same_entries(const json_t *a, const json_t *b)
{
	size_t i, k;
	json_t *x, *y;

	if (json_array_size(a) != json_array_size(b))
		return false;
	json_array_foreach(a, i, x)
	{
		bool found = false;

		json_array_foreach(b, k, y) found |= json_equal(x, y);
		if (!found)
			return false;
	}
	return true;
}

static json_t *decode(sl_slice update)
{
	json_t *all = json_array();
	struct eph_walk w;
	struct eph_entry e;

	if (eph_walk_begin(&w, update))
		return all;
	while (eph_walk_next(&w, &e) == 1)
		json_array_append_new(all, entry_json(&e));
	return all;
}

/* The vectors write n lists inside each other around a null as {"nested_lists": n}. */
static void expand(json_t *entries)
{
	size_t i;
	json_t *e;

	json_array_foreach(entries, i, e)
	{
		int64_t depth = number_of(json_object_get(e, "value"), "nested_lists");
		json_t *v = json_pack("{s:b}", "null", 1);

		for (int64_t k = 0; k < depth; k++)
			v = json_pack("{s:[o]}", "list", v);
		if (depth)
			json_object_set(e, "value", v);
		json_decref(v);
	}
}

static void run_steps(struct eph_map *m, const json_t *steps, const char *id)
{
	size_t i;
	json_t *step;

	json_array_foreach(steps, i, step)
	{
		int64_t now = number_of(step, "now");

		if (strcmp(text_of(step, "op"), "purge") == 0) {
			eph_map_purge(m, now);
		} else {
			struct sl_buf b = unhex(text_of(step, "hex"));
			bool accepted = eph_map_apply(m, sl_buf_slice(&b), now) == 0;

			is_str(accepted ? "accept" : "reject", text_of(step, "result"), id);
			sl_buf_fini(&b);
		}
	}
}

static void check_all(const struct eph_map *m, const json_t *expect, const char *id)
{
	int64_t now = number_of(expect, "encode_all_at");
	const json_t *fixed = json_object_get(expect, "encode_all");
	json_t *entries, *other;
	struct sl_buf out;
	size_t i;
	char *hex;
	bool good;

	sl_buf_init(&out);
	is_int(eph_map_encode_all(m, now, &out), 0, id);
	entries = decode(sl_buf_slice(&out));
	is_int(json_array_size(entries), number_of(expect, "encode_all_entries"), id);
	hex = hex_of(sl_buf_slice(&out));
	good = !json_is_string(fixed) || strcmp(hex, json_string_value(fixed)) == 0;
	json_array_foreach(json_object_get(expect, "encode_all_also"), i, other) good |=
		strcmp(hex, json_string_value(other)) == 0;
	ok(good, "encode_all");
	if (!good)
		printf("# %s: got %s\n", id, hex);
	free(hex);
	json_decref(entries);
	sl_buf_fini(&out);
}

static void check_keys(const struct eph_map *m, const json_t *expect, const char *id)
{
	const char *key;
	json_t *want;

	json_object_foreach(json_object_get(expect, "encode_key"), key, want)
	{
		struct sl_buf out;
		char *hex;
		bool good;

		if (!json_is_string(want))
			continue;
		sl_buf_init(&out);
		eph_map_encode(m, sl_slice_str(key), number_of(expect, "encode_all_at"), &out);
		hex = hex_of(sl_buf_slice(&out));
		good = strcmp(hex, json_string_value(want)) == 0;
		for (size_t i = 0; i < json_array_size(json_object_get(expect, "encode_all_also")); i++)
			good |= strcmp(hex, json_string_value(json_array_get(json_object_get(expect, "encode_all_also"),
			                                                     i))) == 0;
		ok(good, "encode(key)");
		if (!good)
			printf("# %s: key %s: got %s\n", id, key, hex);
		free(hex);
		sl_buf_fini(&out);
	}
}

static void run_vector(const json_t *v)
{
	const char *id = text_of(v, "id");
	const json_t *expect = json_object_get(v, "expect");
	struct eph_limits limits = {.timeout_ms = number_of(v, "timeout_ms"), .max_bytes = 16 << 20, .max_keys = 65536};
	struct eph_map *m = eph_map_new(&limits);
	json_t *held = json_array();

	if (!m)
		abort();
	run_steps(m, json_object_get(v, "steps"), id);
	eph_map_each(m, entry_collect, held);
	expand(json_object_get(expect, "entries"));
	ok(same_entries(held, json_object_get(expect, "entries")), "entries");
	if (!same_entries(held, json_object_get(expect, "entries")))
		printf("# %s: got %s\n", id, json_dumps(held, JSON_COMPACT));
	check_all(m, expect, id);
	check_keys(m, expect, id);
	json_decref(held);
	eph_map_free(m);
}

int main(void)
{
	const char *top = getenv("top_srcdir");
	char path[4096];
	json_error_t e;
	json_t *file, *v;
	size_t i;

	snprintf(path, sizeof path, "%s/tests/vectors/ephemeral-store.json", top ? top : ".");
	/* "live" has numbers beyond 64 bits. */
	file = json_load_file(path, JSON_ALLOW_NUL | JSON_DECODE_INT_AS_REAL, &e);
	ok(file != NULL, "the vectors can be read");
	if (!file)
		printf("# %s: %s\n", path, e.text);
	is_int(json_array_size(json_object_get(file, "vectors")), 133, "all of them are there");
	json_array_foreach(json_object_get(file, "vectors"), i, v) run_vector(v);
	json_decref(file);
	return tap_done();
}
