/*
 * test_map.c - the state of an ephemeral channel beyond the vectors: limits, refusals that leave no trace, JSON. Tests
 * only.
 */
#include "frontend/ephemeral/ephemeral.h"
#include "tests/unit/tap.h"

enum { NOW = 1000000 };

static void put_value(struct sl_buf *b, sl_slice key, sl_slice value, int64_t timestamp)
{
	struct eph_entry e = {.key = key, .value = value, .timestamp = timestamp};

	if (eph_put_entry(b, &e))
		abort();
}

static int apply_one(struct eph_map *m, const char *key, size_t bytes, int64_t timestamp)
{
	uint8_t value[300] = {EPH_BINARY, (uint8_t)(bytes & 0x7f) | 0x80, (uint8_t)(bytes >> 7)};
	struct sl_buf b;
	int rc;

	sl_buf_init(&b);
	eph_put_count(&b, 1);
	put_value(&b, sl_slice_str(key), SL_SLICE(value, bytes + 3), timestamp);
	rc = eph_map_apply(m, sl_buf_slice(&b), NOW);
	sl_buf_fini(&b);
	return rc;
}

static void test_limits(void)
{
	struct eph_limits limits = {.timeout_ms = 1000, .max_bytes = 500, .max_keys = 3};
	struct eph_map *m = eph_map_new(&limits);

	is_int(apply_one(m, "a", 200, NOW), 0, "fits");
	is_int(apply_one(m, "b", 200, NOW), 0, "fits, too");
	is_int(apply_one(m, "c", 200, NOW), SLUICE_ETOOBIG, "too many bytes");
	is_int(eph_map_count(m), 2, "a refused update leaves no key");
	is_int(eph_map_bytes(m), 408 - 2 + 2, "and no bytes");
	is_int(apply_one(m, "a", 250, NOW + 1), 0, "what it replaces makes room");
	is_int(apply_one(m, "c", 10, NOW), 0, "a third key");
	is_int(apply_one(m, "d", 1, NOW), SLUICE_ETOOBIG, "a fourth is one too many");
	is_int(eph_map_purge(m, NOW + 1002), 3, "everything expires");
	is_int(eph_map_bytes(m), 0, "and weighs nothing");
	is_int(apply_one(m, "d", 1, NOW), 0, "there is room again");
	eph_map_free(m);
}

static void test_json(void)
{
	struct eph_limits limits = {.timeout_ms = 1000, .max_bytes = 5000, .max_keys = 30};
	struct eph_map *m = eph_map_new(&limits);
	struct sl_buf b, out;

	sl_buf_init(&b);
	sl_buf_init(&out);
	eph_put_json(&out, sl_buf_slice(&out));
	is_int(sl_slice_is(sl_buf_slice(&out), "{}"), 1, "nothing");
	eph_put_count(&b, 7);
	put_value(&b, SL_STR("n\"ull"), SL_STR("\x00"), NOW);
	put_value(&b, SL_STR("map"),
	          SL_STR("\x06\x02\x01"
	                 "a\x03\x54\x01"
	                 "a\x05\x02\x01\x01\x05\x00"),
	          NOW);
	put_value(&b, SL_STR("bin"), SL_STR("\x08\x02\x00\xff"), NOW);
	put_value(&b, SL_STR("gone"), SL_SLICE(NULL, 0), NOW);
	put_value(&b, SL_STR("nan"), SL_STR("\x02\x00\x00\x00\x00\x00\x00\xf8\x7f"), NOW);
	put_value(&b, SL_STR("old"), SL_STR("\x00"), NOW - 1000);
	put_value(&b, SL_STR("cid"), SL_STR("\x07\x01\x05\x02\x00"), NOW);
	is_int(eph_map_apply(m, sl_buf_slice(&b), NOW), 0, "applied");
	sl_buf_drain(&out, SIZE_MAX);
	sl_buf_drain(&b, SIZE_MAX);
	eph_map_encode_all(m, NOW + 1, &b);
	is_int(eph_put_json(&out, sl_buf_slice(&b)), 0, "encoded");
	sl_put_u8(&out, 0);
	is_str((const char *)sl_buf_slice(&out).data,
	       "{\"n\\\"ull\":null,\"map\":{\"a\":[true,[]]},\"bin\":{\"$b64\":\"AP8=\"},\"nan\":null,\"cid\":\"cid:1@5:Text\"}",
	       "every kind, neither deleted nor expired ones");
	sl_buf_fini(&b);
	sl_buf_fini(&out);
	eph_map_free(m);
}

static void test_many(void)
{
	struct eph_limits limits = {.timeout_ms = 1000, .max_bytes = 1 << 20, .max_keys = 5000};
	struct eph_map *m = eph_map_new(&limits);
	char key[16];
	bool all = true;

	for (int i = 0; i < 5000; i++) {
		snprintf(key, sizeof key, "k%d", i);
		all &= apply_one(m, key, 3, NOW + i % 2) == 0;
	}
	ok(all, "the table grows");
	is_int(eph_map_count(m), 5000, "every key is there");
	is_int(eph_map_purge(m, NOW + 1001), 2500, "only the older half expires");
	is_int(eph_map_count(m), 2500, "and goes");
	eph_map_free(m);
}

int main(void)
{
	test_limits();
	test_json();
	test_many();
	return tap_done();
}
