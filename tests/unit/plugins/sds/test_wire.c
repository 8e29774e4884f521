/*
 * test_wire.c - names of values, as documented and as clients of today mangle them; chunks until they are whole, their bounds, and what
 * remains when there is no memory. Tests only.
 */
#include "plugins/sds/sds.h"
#include "tests/unit/tap.h"

void *__real_malloc(size_t);
void *__real_calloc(size_t, size_t);
void *__wrap_malloc(size_t);
void *__wrap_calloc(size_t, size_t);

static unsigned allocations, allocation_fails; /* the so many-th one; 0: none */

void *__wrap_malloc(size_t n)
{
	return ++allocations == allocation_fails ? NULL : __real_malloc(n);
}

void *__wrap_calloc(size_t n, size_t size)
{
	return ++allocations == allocation_fails ? NULL : __real_calloc(n, size);
}

/* ---- names ---- */

static void test_fnv(void)
{
	is_int(fnv1a(STR("")), 0x811c9dc5u, "of nothing");
	is_int(fnv1a(STR("a")), 0xe40c292cu, "of a letter");
	is_int(fnv1a(STR("foobar")), 0xbf9cf968u, "of a word");
}

static void test_mangle(void)
{
	static const struct {
		uint32_t hash;
		uint64_t len;
		const char *name, *mangled;
	} cases[] = {
		{0x4b7da765, 5000, "fnv1a-4b7da765-5000", "0f000a4b7da765fb00"},
		{0xd14a292c, 131073, "fnv1a-d14a292c-131073", "0f000ad14a292cff3107"},
		{0x2e0c9dc5, 3145728, "fnv1a-2e0c9dc5-3145728", "0f000a2e0c9dc5fd145728"},
		{0x0a0b0c0d, 12, "fnv1a-0a0b0c0d-12", "0f000a0a0b0c0dff"},
		{0, 0, "fnv1a-00000000-0", "0f000a0000000000"},
	};
	char name[FNV_NAME], hex[FNV_NAME + 1];
	uint8_t out[FNV_NAME / 2];

	for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
		size_t n = fnv_name(cases[i].hash, cases[i].len, name), m = fnv_mangle(name, n, out);

		ok(slice_is(SLICE(name, n), cases[i].name), "the name");
		hex_put(out, m, hex);
		hex[2 * m] = '\0';
		is_str(hex, cases[i].mangled, "what becomes of it");
	}
}

/* A VALUE payload with a head and so many bytes; to be freed. */
static uint8_t *payload_of(const uint8_t *head, size_t n_head, size_t len, uint8_t **content)
{
	uint8_t *p = __real_malloc(n_head + len + 1);

	memcpy(p, head, n_head);
	*content = p + n_head;
	for (size_t i = 0; i < len; i++)
		(*content)[i] = (uint8_t)(i * 31 + len);
	return p;
}

static void test_name_value(size_t len)
{
	uint8_t head[FNV_NAME] = {0}, *content, *p = payload_of(head, HASH_LEN, len, &content);
	char name[VALUE_NAME], fnv[FNV_NAME], hex[VALUE_NAME];
	size_t n, n_fnv = fnv_name(fnv1a(SLICE(content, len)), len, fnv), m;
	slice found;

	ok(sha256(SLICE(content, len), p), "hashed");
	ok(name_value(SLICE(p, HASH_LEN + len), &found, name, &n) == NAME_SHA && found.len == len && n == VALUE_NAME, "the documented name");
	hex_put(p, HASH_LEN, hex);
	ok(memcmp(hex, name, VALUE_NAME) == 0, "in hexadecimal");
	p[3] ^= 1;
	ok(name_value(SLICE(p, HASH_LEN + len), &found, name, &n) == NAME_NONE, "another content");
	free(p);
	m = fnv_mangle(fnv, n_fnv, head);
	p = payload_of(head, m, len, &content);
	ok(name_value(SLICE(p, m + len), &found, name, &n) == NAME_FNV && found.len == len, "the mangled one");
	ok(slice_eq(SLICE(name, n), SLICE(fnv, n_fnv)), "is turned back");
	if (len) {
		content[len - 1] ^= 1;
		ok(name_value(SLICE(p, m + len), &found, name, &n) == NAME_NONE, "another content under it");
	}
	free(p);
}

static void test_name_set(void)
{
	uint8_t hash[HASH_LEN], content[3000];
	char name[VALUE_NAME], fnv[FNV_NAME];
	size_t n, n_fnv, m;
	uint8_t mangled[FNV_NAME / 2];

	memset(content, 7, sizeof content);
	ok(sha256(SLICE(content, sizeof content), hash), "hashed");
	ok(name_set(hash, SLICE(content, sizeof content), name, &n) == NAME_SHA, "the documented name");
	n_fnv = fnv_name(fnv1a(SLICE(content, sizeof content)), sizeof content, fnv);
	m = fnv_mangle(fnv, n_fnv, mangled);
	memset(hash, 0, sizeof hash);
	memcpy(hash, mangled, m);
	ok(name_set(hash, SLICE(content, sizeof content), name, &n) == NAME_FNV && slice_eq(SLICE(name, n), SLICE(fnv, n_fnv)), "the mangled one with zeros");
	hash[31] = 1;
	ok(name_set(hash, SLICE(content, sizeof content), name, &n) == NAME_NONE, "with something else");
	ok(name_value(STR(""), &(slice){0}, name, &n) == NAME_NONE, "nothing");
	ok(name_value(STR("\x0f\x00\x0a"), &(slice){0}, name, &n) == NAME_NONE, "the beginning of a mangled one");
}

/* ---- chunks ---- */

static struct chunk chunk_of(uint8_t hash, uint32_t index, uint32_t total, const char *text)
{
	struct chunk c = {.index = index, .total = total, .data = SLICE(text, strlen(text))};

	memset(c.hash, hash, HASH_LEN);
	return c;
}

static enum added add(struct sets *all, const struct set_limits *l, uint64_t now, struct chunk c, const char *want)
{
	uint8_t *whole;
	size_t len;
	enum added added = sets_add(all, &c, l, now, &whole, &len);

	if (added == SET_WHOLE && want)
		ok(slice_is(SLICE(whole, len), want), "the content is whole");
	if (added == SET_WHOLE)
		free(whole);
	return added;
}

static void test_parse(void)
{
	uint8_t p[CHUNK_HEAD + 4] = {0};
	struct chunk c;

	put_u32(p + HASH_LEN, 1);
	put_u32(p + HASH_LEN + 4, 2);
	ok(chunk_parse(SLICE(p, sizeof p), &c) && c.index == 1 && c.total == 2 && c.data.len == 4, "a chunk");
	ok(chunk_parse(SLICE(p, CHUNK_HEAD), &c) && c.data.len == 0, "an empty one");
	ok(!chunk_parse(SLICE(p, CHUNK_HEAD - 1), &c), "too short");
	put_u32(p + HASH_LEN, 2);
	ok(!chunk_parse(SLICE(p, sizeof p), &c), "an index that is too large");
	put_u32(p + HASH_LEN, 0);
	put_u32(p + HASH_LEN + 4, 0);
	ok(!chunk_parse(SLICE(p, sizeof p), &c), "a total of nothing");
}

static void test_sets(void)
{
	const struct set_limits l = {.value = 8 * CHUNK_UNIT, .bytes = 64, .total = 100};
	uint64_t total = 0;
	struct sets a, b;

	sets_init(&a, &total);
	sets_init(&b, &total);
	ok(add(&a, &l, 0, chunk_of(1, 0, 1, "one"), "one") == SET_WHOLE, "one chunk is enough");
	ok(add(&a, &l, 0, chunk_of(1, 2, 3, "c"), NULL) == SET_GROWS && add(&a, &l, 0, chunk_of(1, 0, 3, "x"), NULL) == SET_GROWS &&
	           add(&a, &l, 0, chunk_of(1, 0, 3, "a"), NULL) == SET_GROWS,
	   "any order, and again");
	ok(a.bytes == 2 && total == 2, "what is held is counted");
	ok(add(&b, &l, 0, chunk_of(1, 1, 3, "b"), NULL) == SET_GROWS, "another connection's is another set");
	ok(add(&a, &l, 0, chunk_of(1, 1, 3, "b"), "abc") == SET_WHOLE && a.n == 0, "whole");
	ok(add(&a, &l, 0, chunk_of(2, 0, 2, "a"), NULL) == SET_GROWS && add(&a, &l, 0, chunk_of(2, 0, 3, "a"), NULL) == SET_GROWS && a.n == 1, "another total begins anew");
	ok(add(&a, &l, 0, chunk_of(2, 1, 9, "x"), NULL) == SET_REFUSED, "more than a value may have");
	ok(add(&a, &l, 0, chunk_of(3, 0, 2, "0123456789012345678901234567890123456789012345678901234567890123456789"), NULL) == SET_REFUSED, "more than a connection may have");
	ok(add(&b, &l, 0, chunk_of(4, 0, 2, "0123456789012345678901234567890123456789012345678901234567"), NULL) == SET_GROWS &&
	           add(&a, &l, 0, chunk_of(5, 0, 2, "0123456789012345678901234567890123456789012345678901234567"), NULL) == SET_REFUSED,
	   "more than a worker may have");
	for (int i = 0; i < SETS_MAX + 3; i++)
		add(&a, &l, (uint64_t)i, chunk_of((uint8_t)(10 + i), 0, 2, "y"), NULL);
	ok(a.n == SETS_MAX, "so many at once");
	ok(add(&a, &l, 20, chunk_of(20, 1, 2, "z"), "yz") == SET_WHOLE && add(&a, &l, 20, chunk_of(10, 1, 2, "z"), NULL) == SET_GROWS, "the one that waited longest has gone");
	sets_expire(&a, SET_MS + 5);
	ok(a.n > 0 && a.n < SETS_MAX, "those that got nothing for long are dropped");
	sets_expire(&a, 2 * SET_MS);
	ok(a.n == 0 && a.bytes == 0, "all of them in the end");
	sets_clear(&b);
	ok(total == 0, "nothing is left");
}

static bool memory_round(unsigned fails)
{
	const struct set_limits l = {.value = 8 * CHUNK_UNIT, .bytes = 64, .total = 100};
	uint64_t total = 0;
	struct sets a;
	bool whole;

	sets_init(&a, &total);
	allocations = 0;
	allocation_fails = fails;
	add(&a, &l, 0, chunk_of(1, 0, 3, "a"), NULL);
	add(&a, &l, 0, chunk_of(1, 1, 3, "b"), NULL);
	whole = add(&a, &l, 0, chunk_of(1, 2, 3, "c"), NULL) == SET_WHOLE;
	allocation_fails = 0;
	sets_clear(&a);
	return whole == (allocations < fails) && total == 0;
}

static void test_memory(void)
{
	bool good = true;
	unsigned n = 1;

	for (; n < 20; n++)
		good = good && memory_round(n);
	ok(good, "without memory a set is given up, and nothing is left of it");
}

int main(void)
{
	test_fnv();
	test_mangle();
	for (size_t len = 0; len < 3; len++)
		test_name_value(len);
	test_name_value(999);
	test_name_value(1000);
	test_name_value(100000);
	test_name_set();
	test_parse();
	test_sets();
	test_memory();
	return tap_done();
}
