/*
 * verify.c - a data directory is checked and what is wrong with it told: for check, backup and restore. sluicectl.
 */
#include <stdlib.h>

#include "sluicectl/ctl.h"

enum { VERIFY_SHOWN = 1000 }; /* findings; the others are counted */

struct verify {
	const struct ctl *ctl;
	struct progress progress;
	bool (*stopped)(void);
	uint64_t found;
	int rc;
};

static void verify_json(struct verify *v, const struct sl_finding *f)
{
	json_t *j = json_pack("{s:s, s:b}", "finding", sl_finding_name(f->kind), "damage", f->damage);

	if (j && f->stream.data) {
		json_object_set_new(j, "stream", out_text(f->stream));
		json_object_set_new(j, "incarnation", json_integer((json_int_t)f->incarnation));
	}
	if (j && f->has_offset)
		json_object_set_new(j, "offset", json_integer((json_int_t)f->offset));
	if (j && f->file)
		json_object_set_new(j, "file", out_text(sl_slice_str(f->file)));
	if (j)
		json_object_set_new(j, "text", out_text(sl_slice_str(f->text)));
	if (out_json(j))
		v->rc = CTL_FAILED;
}

static void verify_text(const struct sl_finding *f)
{
	char *stream = f->stream.data ? out_name(f->stream) : NULL,
	     *file = out_name(sl_slice_str(f->file ? f->file : ""));
	char *text = out_name(sl_slice_str(f->text));

	printf("%s:", f->damage ? sl_finding_name(f->kind) : "note");
	if (file && *file)
		printf(" %s%s", file, stream || f->has_offset ? "," : "");
	if (stream)
		printf(" stream %s", stream);
	if (f->has_offset)
		printf(" at offset %llu", (unsigned long long)f->offset);
	printf(": %s\n", text ? text : "");
	free(stream);
	free(file);
	free(text);
}

static void verify_found(void *arg, const struct sl_finding *f)
{
	struct verify *v = arg;

	if (v->found++ >= VERIFY_SHOWN)
		return;
	progress_clear(&v->progress);
	if (v->ctl->json)
		verify_json(v, f);
	else
		verify_text(f);
}

static int verify_progress(void *arg, const char *what, uint64_t done, uint64_t total)
{
	struct verify *v = arg;
	char text[64];

	snprintf(text, sizeof text, "checking %s", what);
	progress_show(&v->progress, text, done, total);
	return v->stopped && v->stopped();
}

int verify_run(const struct ctl *ctl, const char *dir, bool (*stopped)(void), struct sl_check *result,
               char why[SL_CHECK_WHY])
{
	static const struct sl_check_hooks hooks = {.found = verify_found, .progress = verify_progress};
	struct verify v = {.ctl = ctl, .stopped = stopped, .rc = CTL_OK};
	int rc;

	progress_init(&v.progress, ctl);
	rc = sl_check_run(dir, &hooks, &v, result, why);
	progress_clear(&v.progress);
	if (v.found > VERIFY_SHOWN && !ctl->json)
		printf("... and %llu more\n", (unsigned long long)(v.found - VERIFY_SHOWN));
	return rc;
}

json_t *verify_counts(const struct sl_check *r)
{
	return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}", "clean", r->damaged == 0, "damaged",
	                 (json_int_t)r->damaged, "notes", (json_int_t)r->notes, "position", (json_int_t)r->position,
	                 "streams", (json_int_t)r->streams, "records", (json_int_t)r->records, "bytes",
	                 (json_int_t)r->bytes, "producers", (json_int_t)r->producers, "segments",
	                 (json_int_t)r->segments, "payloads", (json_int_t)r->payloads);
}

const char *verify_sum(const struct sl_check *r, char buf[VERIFY_SUM])
{
	char streams[64], records[64], bytes[32];

	snprintf(buf, VERIFY_SUM, "%s, %s, %s, as of position %llu", out_count(r->streams, "stream", streams),
	         out_count(r->records, "record", records), out_size(r->bytes, bytes), (unsigned long long)r->position);
	return buf;
}

void verify_table(const struct sl_check *r)
{
	static const char *const head[] = {"STREAMS",  "RECORDS",  "BYTES",   "PRODUCERS", "SEGMENTS",
	                                   "PAYLOADS", "POSITION", "DAMAGED", NULL};
	struct table t;
	char bytes[32];

	table_init(&t, ~0u, head);
	table_add(&t, "%llu", (unsigned long long)r->streams);
	table_add(&t, "%llu", (unsigned long long)r->records);
	table_add(&t, "%s", out_bytes(r->bytes, bytes));
	table_add(&t, "%llu", (unsigned long long)r->producers);
	table_add(&t, "%llu", (unsigned long long)r->segments);
	table_add(&t, "%llu", (unsigned long long)r->payloads);
	table_add(&t, "%llu", (unsigned long long)r->position);
	table_add(&t, "%llu", (unsigned long long)r->damaged);
	table_print(&t, stdout);
	table_fini(&t);
}
