/*
 * address.c - paths below the mount: bucket, stream, sub-resource (riverrun 2). Plugin riverrun, worker process.
 *
 * The path as it was sent is split first, and each part decoded once, so that an escaped slash never divides anything.
 */
#include "riverrun.h"

enum { PARTS_MAX = 5 };

static int address_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Decodes one part behind `at` in key. False: a malformed escape, or it does not fit. */
static bool address_decode(slice part, char *key, size_t *at)
{
	const char *p = part.data;

	for (size_t i = 0; i < part.len; i++) {
		int high, low;

		if (*at == KEY_MAX)
			return false;
		if (p[i] != '%') {
			key[(*at)++] = p[i];
			continue;
		}
		high = part.len - i > 2 ? address_hex(p[i + 1]) : -1;
		low = part.len - i > 2 ? address_hex(p[i + 2]) : -1;
		if (high < 0 || low < 0)
			return false;
		key[(*at)++] = (char)(high << 4 | low);
		i += 2;
	}
	return true;
}

static bool bucket_valid(slice s)
{
	const char *p = s.data;

	if (s.len < BUCKET_MIN || s.len > BUCKET_MAX)
		return false;
	for (size_t i = 0; i < s.len; i++)
		if (!((p[i] >= 'a' && p[i] <= 'z') || (p[i] >= '0' && p[i] <= '9') || p[i] == '_' || p[i] == '-'))
			return false;
	return true;
}

static bool id_valid(slice s)
{
	return s.len >= 1 && s.len <= ID_MAX && utf8_valid(s) && !memchr(s.data, '/', s.len) &&
	       !memchr(s.data, '\0', s.len) && !memmem(s.data, s.len, "..", 2) && !slice_is(s, ".");
}

/* The parts of a path; more than PARTS_MAX count as PARTS_MAX. */
static size_t address_split(slice raw, slice part[PARTS_MAX])
{
	const char *p = raw.data;
	size_t n = 0, begin = 0;

	for (size_t i = 0; i <= raw.len; i++)
		if (i == raw.len || p[i] == '/') {
			if (n < PARTS_MAX)
				part[n++] = SLICE(p + begin, i - begin);
			begin = i + 1;
		}
	return n;
}

static const struct {
	size_t parts;
	const char *name;
	enum address_kind kind;
} resources[] = {{3, "append-cas", ADDRESS_CAS},
                 {3, "snapshot", ADDRESS_SNAPSHOT},
                 {4, "snapshot", ADDRESS_SNAPSHOT_AT},
                 {3, "bootstrap", ADDRESS_BOOTSTRAP}};

static enum address_kind address_kind(const slice *part, size_t n)
{
	if (n == 1)
		return ADDRESS_BUCKET;
	if (n == 2)
		return slice_is(part[1], "streams") ? ADDRESS_LIST : ADDRESS_STREAM;
	for (size_t i = 0; i < sizeof resources / sizeof *resources; i++)
		if (n == resources[i].parts && slice_is(part[2], resources[i].name))
			return resources[i].kind;
	return ADDRESS_NONE;
}

/* False: a malformed escape. What is no offset is the resource's to refuse. */
static bool address_offset(slice part, struct address *a)
{
	char text[KEY_MAX];
	size_t n = 0;
	slice offset;

	if (!address_decode(part, text, &n))
		return n == KEY_MAX;
	offset = SLICE(text, n);
	a->at_kind = AT_OFFSET;
	if (!position_parse(offset, &a->at))
		a->at_kind = slice_is(offset, "-1") || slice_is(offset, "now") ? AT_SENTINEL : AT_BAD;
	return true;
}

const char *address_parse(slice raw, struct address *a, const char **code)
{
	slice part[PARTS_MAX] = {{0}};
	size_t n = address_split(raw, part), at = 0, id;

	memset(a, 0, sizeof *a);
	*code = "invalid_bucket_id";
	a->kind = address_kind(part, n);
	if (!address_decode(part[0], a->key, &at) || !bucket_valid(SLICE(a->key, at)))
		return "a bucket id has 4 to 64 of a-z, 0-9, _ and -";
	a->bucket = SLICE(a->key, at);
	if (a->kind == ADDRESS_BUCKET || a->kind == ADDRESS_LIST)
		return NULL;
	*code = "invalid_stream_id";
	a->key[at++] = '/';
	id = at;
	if (!address_decode(part[1], a->key, &at) || at > ID_MAX || !id_valid(SLICE(a->key + id, at - id)))
		return "a stream id is UTF-8 without '/', NUL and '..', at most 122 bytes together with its bucket";
	if (slice_is(SLICE(a->key + id, at - id), "streams"))
		return "the stream id 'streams' is reserved";
	a->name = SLICE(a->key, at);
	*code = "invalid_offset";
	a->at_kind = AT_BAD;
	return a->kind == ADDRESS_SNAPSHOT_AT && !address_offset(part[3], a) ? "an escape of the path is malformed" : NULL;
}
