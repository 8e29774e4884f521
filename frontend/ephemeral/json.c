/*
 * json.c - values of ephemeral channels as JSON, for people, tests and the console. Process: sluice-frontend.
 *
 * loro-ephemeral-store 11. Values have passed eph_check(), so they end where they should; the tree is built by jansson
 * one value at a time, from a stack instead of by recursion.
 */
#include <jansson.h>
#include <math.h>
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>

#include "frontend/ephemeral/ephemeral.h"

static json_t *json_binary(sl_slice bytes)
{
	char *text = bytes.len > INT32_MAX / 2 ? NULL : malloc((bytes.len + 2) / 3 * 4 + 1);
	json_t *v;

	if (!text)
		return NULL;
	text[0] = '\0';
	if (bytes.len)
		EVP_EncodeBlock((unsigned char *)text, bytes.data, (int)bytes.len);
	v = json_pack("{s:s}", "$b64", text);
	free(text);
	return v;
}

/* "cid:root-NAME:Type", "cid:COUNTER@PEER:Type" */
static json_t *json_container(const struct eph_piece *p)
{
	static const char *const type[] = {"Text", "Map", "List", "MovableList", "Tree", "Counter"};
	char unknown[16];
	const char *kind = unknown;

	if (p->type < sizeof type / sizeof *type)
		kind = type[p->type];
	else
		snprintf(unknown, sizeof unknown, "Unknown(%u)", p->type);
	if (p->bytes.data)
		return json_sprintf("cid:root-%.*s:%s", (int)p->bytes.len, (const char *)p->bytes.data, kind);
	return json_sprintf("cid:%lld@%llu:%s", (long long)p->integer, (unsigned long long)p->peer, kind);
}

static json_t *json_piece(const struct eph_piece *p)
{
	switch (p->tag) {
	case EPH_BOOL:
		return json_boolean(p->integer);
	case EPH_DOUBLE:
		return isfinite(p->number) ? json_real(p->number) : json_null();
	case EPH_INTEGER:
		return json_integer(p->integer);
	case EPH_STRING:
		return json_stringn(p->bytes.len ? p->bytes.data : "", p->bytes.len);
	case EPH_LIST:
		return json_array();
	case EPH_MAP:
		return json_object();
	case EPH_CONTAINER:
		return json_container(p);
	case EPH_BINARY:
		return json_binary(p->bytes);
	default:
		return json_null();
	}
}

/* The root owns everything below it. NULL: no memory. */
static json_t *json_tree(sl_slice value)
{
	struct {
		json_t *v; /* borrowed */
		uint32_t left;
	} open[EPH_DEPTH_MAX + 1];
	struct sl_cur c = sl_cur_of(value);
	json_t *root = NULL;
	size_t depth = 0;

	do {
		sl_slice key = SL_STR("");
		struct eph_piece p;
		json_t *v;
		int rc = 0;

		if (depth > 0 && json_is_object(open[depth - 1].v))
			key = eph_take_text(&c);
		eph_take_piece(&c, &p);
		v = c.bad ? NULL : json_piece(&p);
		if (depth == 0)
			root = v;
		else if (json_is_object(open[depth - 1].v))
			rc = json_object_setn_new(open[depth - 1].v, key.len ? key.data : "", key.len, v);
		else
			rc = json_array_append_new(open[depth - 1].v, v);
		if (!v || rc) {
			if (depth > 0)
				json_decref(root);
			return NULL;
		}
		if (depth > 0)
			open[depth - 1].left--;
		if (p.elements > 0) {
			open[depth].v = v;
			open[depth++].left = p.elements;
		}
		while (depth > 0 && open[depth - 1].left == 0)
			depth--;
	} while (depth > 0);
	return root;
}

static int json_put(const char *text, size_t len, void *out)
{
	return sl_buf_add(out, text, len);
}

static int json_dump(struct sl_buf *out, json_t *v)
{
	int rc = v ? json_dump_callback(v, json_put, out, JSON_COMPACT | JSON_ENCODE_ANY) : -1;

	json_decref(v);
	return rc ? SLUICE_ENOMEM : 0;
}

static int json_put_entry(struct sl_buf *out, const struct eph_entry *e, const char *before)
{
	json_t *key = json_stringn(e->key.len ? e->key.data : "", e->key.len);

	return sl_buf_add(out, before, 1) || json_dump(out, key) || sl_buf_add(out, ":", 1) ||
	                       json_dump(out, json_tree(e->value))
	               ? SLUICE_ENOMEM
	               : 0;
}

int eph_put_json(struct sl_buf *out, sl_slice update)
{
	const char *before = "{";
	struct eph_walk w;
	struct eph_entry e;
	int rc = 0;

	if (update.len && eph_walk_begin(&w, update) == 0)
		while (rc == 0 && eph_walk_next(&w, &e) == 1) {
			if (!e.value.data)
				continue;
			rc = json_put_entry(out, &e, before);
			before = ",";
		}
	if (rc == 0 && *before == '{')
		rc = sl_buf_add(out, before, 1);
	return rc ? rc : sl_buf_add(out, "}", 1);
}
