/*
 * headers.c - request headers: grammar and combinations (protocol section 3). Plugin streams, worker process.
 *
 * What can be refused without the store is refused here; the order of the checks is that of section 18.
 */
#include "streams.h"

#include <stdlib.h>

#define NUMBER_MAX UINT64_C(9007199254740991) /* 2^53 - 1 */
#define TTL_MAX (NUMBER_MAX / 1000)           /* milliseconds of it are still exact everywhere */

static slice header_trim(slice s)
{
	const char *p = s.data;

	while (s.len > 0 && (p[s.len - 1] == ' ' || p[s.len - 1] == '\t'))
		s.len--;
	while (s.len > 0 && (*p == ' ' || *p == '\t')) {
		p++;
		s.len--;
	}
	s.data = p;
	return s;
}

bool header_one(const struct call *c, const char *name, slice *value)
{
	const struct sluice_http *http = c->p->http;
	slice other;

	*value = http->header(c->http, name, 0);
	if (!value->data)
		return true;
	*value = header_trim(*value);
	for (size_t i = 1; (other = http->header(c->http, name, i)).data; i++) {
		other = header_trim(other);
		if (other.len != value->len || memcmp(other.data, value->data, other.len) != 0)
			return false;
	}
	return true;
}

const char *headers_producer(struct call *c, struct sluice_op *op)
{
	slice id, epoch, seq;

	if (!header_one(c, "producer-id", &id) || !header_one(c, "producer-epoch", &epoch) ||
	    !header_one(c, "producer-seq", &seq))
		return "a producer header is given more than once";
	if (!id.data && !epoch.data && !seq.data)
		return NULL;
	if (!id.data || !epoch.data || !seq.data)
		return "Producer-Id, Producer-Epoch and Producer-Seq belong together";
	if (id.len == 0)
		return "Producer-Id is empty";
	if (!u64_parse(epoch, NUMBER_MAX, &op->producer_epoch))
		return "Producer-Epoch is not a number from 0 to 9007199254740991";
	if (!u64_parse(seq, NUMBER_MAX, &op->producer_seq))
		return "Producer-Seq is not a number from 0 to 9007199254740991";
	op->producer = id;
	op->flags |= SLUICE_A_PRODUCER;
	return NULL;
}

const char *headers_closed(const struct call *c, bool *closed)
{
	slice value;

	if (!header_one(c, "stream-closed", &value))
		return "Stream-Closed is given more than once";
	*closed = value.data && slice_is_nocase(value, "true");
	return NULL;
}

const char *headers_type(const struct call *c, slice *type)
{
	if (!header_one(c, "content-type", type))
		return "Content-Type is given more than once";
	if (type->len == 0)
		type->data = NULL;
	return NULL;
}

bool headers_identity(const struct call *c)
{
	slice value;

	return header_one(c, "content-encoding", &value) &&
	       (!value.data || value.len == 0 || slice_is_nocase(value, "identity"));
}

/* "0" or digits without a leading zero. */
static bool headers_plain_number(slice s, uint64_t max, uint64_t *value)
{
	return u64_parse(s, max, value) && (s.len == 1 || *(const char *)s.data != '0');
}

static const char *headers_expiry(struct call *c)
{
	struct sluice_op *op = &c->w.op;
	slice ttl, expires;

	if (!header_one(c, "stream-ttl", &ttl) || !header_one(c, "stream-expires-at", &expires))
		return "Stream-TTL or Stream-Expires-At is given more than once";
	if (ttl.data && expires.data)
		return "Stream-TTL and Stream-Expires-At exclude each other";
	if (ttl.data) {
		if (!headers_plain_number(ttl, TTL_MAX, &op->ttl_s))
			return "Stream-TTL is not a number of seconds";
		op->flags |= SLUICE_A_TTL;
	}
	if (expires.data) {
		if (!time_parse(expires, &op->expires_ms))
			return "Stream-Expires-At is not an RFC 3339 timestamp";
		op->flags |= SLUICE_A_EXPIRES;
	}
	return NULL;
}

/* How long the mount is in the request's target, as sent, with the '/' behind it. Walks back over what makes up the decoded
 * path: a '%' in a valid target always begins an escape of three bytes. */
size_t target_mount(slice target, size_t path_len)
{
	const char *p = target.data;
	size_t i = target.len;

	for (; path_len > 0 && i > 0; path_len--)
		i -= i >= 3 && p[i - 3] == '%' ? 3 : 1;
	return i;
}

static int headers_hex(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c = (char)(c | 0x20);
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* A name must be what the engine would have made of the same path. */
static bool headers_name_valid(slice name)
{
	const char *p = name.data;
	size_t begin = 0;

	if (name.len == 0 || memchr(p, '\0', name.len) || !utf8_valid(name))
		return false;
	for (size_t i = 0; i <= name.len; i++) {
		if (i < name.len && p[i] != '/')
			continue;
		if ((i - begin == 1 && p[begin] == '.') || (i - begin == 2 && p[begin] == '.' && p[begin + 1] == '.'))
			return false;
		begin = i + 1;
	}
	return true;
}

/* One byte of a path at *i, which moves on; negative: it is malformed. */
static int headers_byte(slice raw, size_t *i)
{
	const char *p = (const char *)raw.data + *i;
	int high, low;

	if (*p == '?' || *p == '#')
		return -1;
	if (*p != '%') {
		++*i;
		return (unsigned char)*p;
	}
	high = raw.len - *i > 2 ? headers_hex(p[1]) : -1;
	low = raw.len - *i > 2 ? headers_hex(p[2]) : -1;
	*i += 3;
	return high < 0 || low < 0 ? -1 : high << 4 | low;
}

/* How much of `from` spells the mount, however either is escaped; 0: it begins otherwise. */
static size_t headers_below(slice from, slice mount)
{
	size_t i = 0;

	for (size_t k = 0; k < mount.len;)
		if (i >= from.len || headers_byte(from, &i) != headers_byte(mount, &k))
			return 0;
	return i;
}

const char headers_no_memory[] = "out of memory";

static const char *headers_decode(struct call *c, slice raw, slice *name)
{
	static const char bad[] = "Stream-Forked-From is not a valid path";
	size_t n = 0;

	c->w.fork_name = malloc(raw.len + 1);
	if (!c->w.fork_name)
		return headers_no_memory;
	for (size_t i = 0; i < raw.len;) {
		int byte = headers_byte(raw, &i);

		if (byte < 0)
			return bad;
		c->w.fork_name[n++] = (char)byte;
	}
	*name = SLICE(c->w.fork_name, n);
	return headers_name_valid(*name) ? NULL : bad;
}

static const char *headers_fork_source(struct call *c, slice from)
{
	const struct sluice_http *http = c->p->http;
	slice target = http->target(c->http), path = http->path(c->http);
	size_t mount = headers_below(from, SLICE(target.data, target_mount(target, path.len)));

	c->w.op.flags |= SLUICE_A_FORK;
	/* A path that is not below this mount names no stream. The writer is asked for one that never exists: it says so in its turn. */
	if (mount == 0) {
		c->w.op.fork_of = STR("__ds/");
		return from.len > 0 && *(const char *)from.data == '/' ? NULL : "Stream-Forked-From is not a path";
	}
	return headers_decode(c, SLICE((const char *)from.data + mount, from.len - mount), &c->w.op.fork_of);
}

static const char *headers_fork(struct call *c)
{
	struct sluice_op *op = &c->w.op;
	slice from, at, sub;

	if (!header_one(c, "stream-forked-from", &from) || !header_one(c, "stream-fork-offset", &at) ||
	    !header_one(c, "stream-fork-sub-offset", &sub))
		return "a fork header is given more than once";
	if (at.data && !offset_parse(at, &op->fork_at))
		return "Stream-Fork-Offset is malformed";
	if (!from.data && (at.data || sub.data))
		return "Stream-Fork-Offset and Stream-Fork-Sub-Offset need Stream-Forked-From";
	if (!from.data)
		return NULL;
	if (sub.data && !headers_plain_number(sub, NUMBER_MAX, &op->fork_sub))
		return "Stream-Fork-Sub-Offset is malformed";
	if (at.data)
		op->flags |= SLUICE_A_FORK_AT;
	return headers_fork_source(c, from);
}

const char *headers_create(struct call *c)
{
	const char *why = headers_expiry(c);

	return why || !c->p->dialect->forks ? why : headers_fork(c);
}
