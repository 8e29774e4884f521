/*
 * cmd_import.c - sluicectl import: takes a local file of SDS engines over, for the persistence provider of the sds plugin. sluicectl.
 *
 * Snapshots and patches become those of the replica without a name, blobs those of every store in the file, because the file does not
 * say whose they are. What is there already stays as it is, so an import that was interrupted, or is repeated, doubles nothing. Where
 * things lie is known to plugins/sds/provider.c and values.c; a test imports with this and reads with those.
 */
#include <inttypes.h>
#include <openssl/evp.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { ID_MAX = 256, VALUE_ID_MAX = 512 };
#define CLOCK_MAX ((INT64_C(1) << 53) - 1)

struct import {
	struct ctl *ctl;
	struct session session;
	sqlite3 *db;
	const char *file;
	uint64_t snapshots, patches, values, there; /* made; what was there already */
};

/* ---- names ---- */

static int name_part(struct sl_buf *name, sl_slice part)
{
	static const char hex[] = "0123456789ABCDEF";
	const uint8_t *p = part.data;
	bool dots = sl_slice_is(part, ".") || sl_slice_is(part, "..");

	for (size_t i = 0; i < part.len; i++) {
		const char escaped[] = {'%', hex[p[i] >> 4], hex[p[i] & 15]};
		bool plain = p[i] != '%' && p[i] != '/' && !dots;

		if (sl_buf_add(name, plain ? (const void *)&p[i] : escaped, plain ? 1 : 3))
			return SLUICE_ENOMEM;
	}
	return 0;
}

/* prefix + `__sds/` + store + kind + part; the buffer is emptied first. */
static int name_make(const struct import *im, struct sl_buf *name, sl_slice store, const char *kind, sl_slice part)
{
	const char *prefix = im->ctl->option['p'] ? im->ctl->option['p'] : "";

	name->len = name->off = 0;
	return sl_buf_add(name, prefix, strlen(prefix)) || sl_buf_add(name, "__sds/", 6) || name_part(name, store) ||
	                       sl_buf_add(name, kind, strlen(kind)) || name_part(name, part)
	               ? SLUICE_ENOMEM
	               : 0;
}

static sl_slice column(sqlite3_stmt *q, int i)
{
	const void *p = sqlite3_column_blob(q, i);

	return SL_SLICE(p ? p : "", (size_t)sqlite3_column_bytes(q, i));
}

static bool id_good(const struct import *im, sl_slice id, const char *what, size_t max)
{
	if (id.len > 0 && id.len <= max && !memchr(id.data, 0, id.len))
		return true;
	ctl_error("%s: %s \"%.*s\" has %zu bytes; 1 to %zu are possible, without NUL", im->file, what,
	          (int)(id.len < 40 ? id.len : 40), (const char *)id.data, id.len, max);
	return false;
}

/* ---- writing ---- */

/* One list; the payload of `large` is too much for the message and goes beside it. True in *there: it was there already. */
static int import_submit(struct import *im, struct sl_store_op *ops, uint32_t n, struct sl_store_op *large, bool *there)
{
	FILE *copy = large->data.len > SL_PAYLOAD_INLINE ? tmpfile() : NULL;
	struct sluice_result r[2] = {{0}};
	int rc = CTL_OK;

	*there = false;
	if (large->data.len > SL_PAYLOAD_INLINE) {
		if (!copy || fwrite(large->data.data, 1, large->data.len, copy) != large->data.len || fflush(copy)) {
			ctl_error("no room for a copy");
			rc = CTL_FAILED;
		}
		large->data_len = large->data.len;
		large->data = SL_SLICE(NULL, 0);
		large->n_fd = 1;
	}
	if (rc == CTL_OK)
		rc = session_submit(&im->session, ops, n, copy ? fileno(copy) : -1, r);
	for (uint32_t i = 0; rc == CTL_OK && i < n; i++) {
		*there = *there || r[i].status == SLUICE_ECONFLICT;
		if (r[i].status != SLUICE_ECANCELED && r[i].status != SLUICE_ECONFLICT)
			rc = result_tell(&r[i], "", im->file);
	}
	if (rc == CTL_OK && n == 1 && !(r[0].flags & SLUICE_R_CREATED))
		*there = true;
	if (copy)
		fclose(copy);
	return rc;
}

static struct sl_store_op op_create(struct sl_buf *name, sl_slice data)
{
	return (struct sl_store_op){.kind = SLUICE_OP_CREATE,
	                            .stream = sl_buf_slice(name),
	                            .content_type = SL_STR("application/octet-stream"),
	                            .data = data};
}

/* Only where there is none. */
static struct sl_store_op op_snapshot(struct sl_buf *name, sl_slice type, sl_slice data)
{
	return (struct sl_store_op){.kind = SLUICE_OP_SNAPSHOT,
	                            .flags = SLUICE_A_EXPECT_SNAPSHOT,
	                            .stream = sl_buf_slice(name),
	                            .content_type = type,
	                            .data = data,
	                            .expect_snapshot = SL_STR("")};
}

static void import_count(struct import *im, uint64_t *made, bool there)
{
	++*(there ? &im->there : made);
}

/* ---- the three tables ---- */

/* store_id, data, clock */
static int import_snapshot(struct import *im, sqlite3_stmt *q)
{
	sl_slice store = column(q, 0);
	struct sl_store_op ops[2];
	struct sl_buf name;
	char type[64];
	bool there;
	int n = snprintf(type, sizeof type, "application/x-sds-snapshot; clock=%" PRId64, (int64_t)sqlite3_column_int64(q, 2));
	int rc = CTL_FAILED;

	sl_buf_init(&name);
	if (id_good(im, store, "the store", ID_MAX) && name_make(im, &name, store, "/s/r", SL_STR("")) == 0) {
		ops[0] = op_create(&name, SL_STR(""));
		ops[1] = op_snapshot(&name, SL_SLICE(type, (size_t)n), column(q, 1));
		rc = import_submit(im, ops, 2, &ops[1], &there);
		if (rc == CTL_OK)
			import_count(im, &im->snapshots, there);
	}
	sl_buf_fini(&name);
	return rc;
}

/* store_id, clock, data */
static int import_patch(struct import *im, sqlite3_stmt *q)
{
	sl_slice store = column(q, 0);
	int64_t clock = sqlite3_column_int64(q, 1);
	struct sl_store_op op;
	struct sl_buf name;
	char text[20];
	bool there;
	int n = snprintf(text, sizeof text, "/%016" PRIx64, (uint64_t)clock ^ UINT64_C(1) << 63);
	int rc = CTL_FAILED;

	sl_buf_init(&name);
	if (clock > CLOCK_MAX || clock < -CLOCK_MAX)
		ctl_error("%s: the clock %" PRId64 " is beyond 2^53-1", im->file, clock);
	else if (id_good(im, store, "the store", ID_MAX) && name_make(im, &name, store, "/p/r", SL_STR("")) == 0 &&
	         sl_buf_add(&name, text, (size_t)n) == 0) {
		op = op_create(&name, column(q, 2));
		rc = import_submit(im, &op, 1, &op, &there);
		if (rc == CTL_OK)
			import_count(im, &im->patches, there);
	}
	sl_buf_fini(&name);
	return rc;
}

/* Its name is the SHA-256 of its content: then it may be asked for by socket. */
static bool value_good(sl_slice hash, sl_slice data)
{
	uint8_t digest[EVP_MAX_MD_SIZE];
	char hex[2 * EVP_MAX_MD_SIZE + 1];
	unsigned n = 0;

	if (EVP_Digest(data.data, data.len, digest, &n, EVP_sha256(), NULL) != 1)
		return false;
	for (unsigned i = 0; i < n; i++)
		snprintf(hex + (size_t)2 * i, 3, "%02x", digest[i]);
	return sl_slice_is(hash, hex);
}

/* store_id, hash, data, ref_count */
static int import_value(struct import *im, sqlite3_stmt *q)
{
	sl_slice store = column(q, 0), hash = column(q, 1), data = column(q, 2);
	int64_t refs = sqlite3_column_int64(q, 3);
	struct sl_store_op ops[2];
	struct sl_buf name;
	char type[96];
	bool there;
	int rc = CTL_FAILED;
	int n = snprintf(type, sizeof type, "application/x-sds-value; refs=%" PRId64 "; wire=0; good=%d", refs > 0 ? refs : 1,
	                 value_good(hash, data));

	sl_buf_init(&name);
	if (id_good(im, store, "the store", ID_MAX) && id_good(im, hash, "the blob", VALUE_ID_MAX) &&
	    name_make(im, &name, store, "/v/", hash) == 0) {
		ops[0] = op_create(&name, data);
		ops[1] = op_snapshot(&name, SL_SLICE(type, (size_t)n), SL_STR("-"));
		rc = import_submit(im, ops, 2, &ops[0], &there);
		if (rc == CTL_OK)
			import_count(im, &im->values, there);
	}
	sl_buf_fini(&name);
	return rc;
}

static const struct source {
	const char *sql;
	int (*row)(struct import *, sqlite3_stmt *);
} sources[] = {
	{"SELECT store_id, data, clock FROM snapshots ORDER BY store_id", import_snapshot},
	{"SELECT store_id, clock, data FROM patches ORDER BY store_id, clock", import_patch},
	{"SELECT s.store_id, b.hash, b.data, b.ref_count FROM blobs AS b,"
         " (SELECT store_id FROM snapshots UNION SELECT store_id FROM patches) AS s ORDER BY 1, 2",
         import_value},
};

static int import_table(struct import *im, const struct source *t)
{
	sqlite3_stmt *q = NULL;
	int rc = CTL_OK, step = sqlite3_prepare_v2(im->db, t->sql, -1, &q, NULL);

	if (step == SQLITE_OK)
		while (rc == CTL_OK && (step = sqlite3_step(q)) == SQLITE_ROW)
			rc = t->row(im, q);
	if (rc == CTL_OK && step != SQLITE_DONE) {
		ctl_error("%s: not a file of an SDS persistence provider: %s", im->file, sqlite3_errmsg(im->db));
		rc = CTL_FAILED;
	}
	sqlite3_finalize(q);
	return rc;
}

/* ---- the command ---- */

static int import_report(const struct import *im)
{
	char snapshots[64], values[64];

	if (im->ctl->json)
		return out_json(json_pack("{s:I, s:I, s:I, s:I}", "snapshots", (json_int_t)im->snapshots, "patches",
		                          (json_int_t)im->patches, "values", (json_int_t)im->values, "there",
		                          (json_int_t)im->there));
	printf("%s, %" PRIu64 " patch%s, %s; %" PRIu64 " %s there already\n", out_count(im->snapshots, "snapshot", snapshots),
	       im->patches, im->patches == 1 ? "" : "es", out_count(im->values, "value", values), im->there,
	       im->there == 1 ? "was" : "were");
	return CTL_OK;
}

static int import_run(struct ctl *ctl)
{
	struct import im = {.ctl = ctl, .file = ctl->arg[1]};
	int rc;

	if (strcmp(ctl->arg[0], "sds") != 0) {
		ctl_error("%s: only files of sds can be imported", ctl->arg[0]);
		return CTL_USAGE;
	}
	/* Its owner may have it open: reading changes nothing. */
	if (sqlite3_open_v2(im.file, &im.db, SQLITE_OPEN_READONLY, NULL)) {
		ctl_error("%s: %s", im.file, im.db ? sqlite3_errmsg(im.db) : "out of memory");
		sqlite3_close(im.db);
		return CTL_FAILED;
	}
	rc = session_open(ctl, &im.session);
	if (rc == CTL_OK) {
		for (size_t i = 0; rc == CTL_OK && i < sizeof sources / sizeof *sources; i++)
			rc = import_table(&im, &sources[i]);
		if (rc == CTL_OK)
			rc = import_report(&im);
		session_close(&im.session);
	}
	sqlite3_close(im.db);
	return rc;
}

static const struct ctl_option import_options[] = {
	{'p', "prefix", "PREFIX", "the prefix of the sds plugin that is to have it, where it has one"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_import = {
	.name = "import",
	.args = "sds FILE",
	.summary = "Take over a local SQLite file of SDS engines",
	.help = "Snapshots, patches and blobs of every store in it become those of the persistence provider (replica without a name). What the\n"
		"server has already stays, so it can be repeated. The file is only read.",
	.options = import_options,
	.min = 2,
	.max = 2,
	.words = CTL_WORD_FILE,
	.run = import_run,
};
