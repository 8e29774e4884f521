/*
 * cmd_append.c - sluicectl append: a file or standard input as one record, or each of its lines. sluicectl.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "sluicectl/ctl.h"

enum { LINE_BYTES_MAX = 512 * 1024, LINES_OPS = 1000, PIECE = 64 * 1024 };
#define INPUT_MAX (UINT64_C(4) << 30) /* no server takes more: store.max_payload */

struct append {
	struct ctl *ctl;
	struct session session;
	const char *stream, *input;
	char *type; /* of the stream; owned */
	bool json, create;
	int in;
	uint64_t records, start, tail;
};

/* ---- the stream ---- */

/* The type that the stream has or is to have, and whether it is to be made. */
static int append_look(struct append *a)
{
	struct sl_facts f;
	const char *type = a->ctl->option['t'];
	int rc = session_begin(&a->session);

	if (rc)
		return rc;
	if (sl_reader_facts(a->session.reader, sl_slice_str(a->stream), session_wall(), &f)) {
		ctl_error("%s: the data directory cannot be read", a->stream);
		rc = CTL_FAILED;
	} else if (f.status == SLUICE_ENOENT && !a->ctl->option['C']) {
		ctl_error("%s: there is no such stream; --create makes it", a->stream);
		rc = CTL_ABSENT;
	} else {
		a->create = f.status == SLUICE_ENOENT;
		free(a->type);
		a->type = type        ? strdup(type)
		          : a->create ? strdup("application/octet-stream")
		                      : sl_slice_dup(f.content_type);
		a->json = a->type && print_is_json(sl_slice_str(a->type));
		rc = a->type ? CTL_OK : CTL_FAILED;
	}
	sl_reader_end(a->session.reader);
	return rc;
}

static struct sl_store_op append_op(const struct append *a, enum sluice_op_kind kind, sl_slice data)
{
	return (struct sl_store_op){.kind = (uint8_t)kind,
	                            .stream = sl_slice_str(a->stream),
	                            .content_type = sl_slice_str(a->type),
	                            .data = data};
}

static int append_create(struct append *a)
{
	struct sl_store_op op = append_op(a, SLUICE_OP_CREATE, SL_STR(""));
	struct sluice_result r = {0};
	int rc = session_submit(&a->session, &op, 1, -1, &r);

	a->create = false;
	a->start = a->tail = r.tail;
	/* Somebody else was quicker; what the stream is then counts at the append. */
	return rc || r.status == SLUICE_EEXIST ? rc : result_tell(&r, "", a->stream);
}

static int append_submit(struct append *a, const struct sl_store_op *ops, uint32_t n, int fd)
{
	struct sluice_result *r = calloc(n, sizeof *r);
	int rc = r ? session_submit(&a->session, ops, n, fd, r) : CTL_FAILED;

	/* All or nothing: the first one that failed says why. */
	for (uint32_t i = 0; rc == CTL_OK && i < n; i++) {
		if (r[i].status != SLUICE_ECANCELED)
			rc = result_tell(&r[i], "", a->stream);
	}
	if (rc == CTL_OK) {
		if (a->records == 0)
			a->start = r[0].start;
		a->tail = r[n - 1].tail;
		a->records += n;
	}
	free(r);
	return rc;
}

/* ---- JSON ---- */

static sl_slice append_trim(sl_slice s)
{
	static const char space[] = " \t\r\n";
	const char *p = s.data;
	size_t n = s.len;

	while (n > 0 && memchr(space, p[n - 1], 4))
		n--;
	while (n > 0 && memchr(space, *p, 4)) {
		p++;
		n--;
	}
	return SL_SLICE(p, n);
}

/* Looked at, not changed: the bytes go into the stream as they are. */
static int append_check_json(const struct append *a, sl_slice value, uint64_t line)
{
	json_error_t e;
	json_t *j = json_loadb(value.data, value.len, JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e);

	if (j) {
		json_decref(j);
		return CTL_OK;
	}
	if (line)
		ctl_error("%s:%llu:%d: not JSON, which %s takes: %s", a->input, (unsigned long long)line, e.column,
		          a->stream, e.text);
	else
		ctl_error("%s:%d:%d: not one JSON value, which %s takes: %s", a->input, e.line, e.column, a->stream,
		          e.text);
	return CTL_FAILED;
}

/* ---- everything as one record ---- */

/* A copy that cannot change any more: an unlinked file, whatever the input is. */
static int append_collect(const struct append *a, FILE *to, uint64_t *size)
{
	char piece[PIECE];
	ssize_t n;

	for (*size = 0; (n = read(a->in, piece, sizeof piece)) != 0; *size += (uint64_t)n) {
		if (n < 0 && errno == EINTR) {
			n = 0;
		} else if (n < 0) {
			ctl_error("%s: %s", a->input, strerror(errno));
			return CTL_FAILED;
		} else if (*size + (uint64_t)n > INPUT_MAX || fwrite(piece, 1, (size_t)n, to) != (size_t)n) {
			ctl_error("%s: %s", a->input,
			          *size + (uint64_t)n > INPUT_MAX ? "too large for one record" : strerror(errno));
			return CTL_FAILED;
		}
	}
	if (fflush(to) == 0)
		return CTL_OK;
	ctl_error("%s: no room for a copy: %s", a->input, strerror(errno));
	return CTL_FAILED;
}

static int append_mapped(struct append *a, int fd, sl_slice data)
{
	sl_slice value = a->json ? append_trim(data) : data;
	struct sl_store_op op = append_op(a, SLUICE_OP_APPEND, value);
	int rc = a->json ? append_check_json(a, value, 0) : CTL_OK;

	if (rc)
		return rc;
	if (value.len <= SL_PAYLOAD_INLINE)
		return append_submit(a, &op, 1, -1);
	/* The descriptor has the payload from its beginning. */
	if (value.len != data.len && (pwrite(fd, value.data, value.len, 0) != (ssize_t)value.len)) {
		ctl_error("%s: %s", a->input, strerror(errno));
		return CTL_FAILED;
	}
	op.data = SL_SLICE(NULL, 0);
	op.n_fd = 1;
	op.data_len = value.len;
	return append_submit(a, &op, 1, fd);
}

static int append_whole(struct append *a)
{
	FILE *copy = tmpfile();
	void *map = MAP_FAILED;
	uint64_t size = 0;
	int rc = CTL_FAILED;

	if (copy)
		rc = append_collect(a, copy, &size);
	else
		ctl_error("no room for a copy: %s", strerror(errno));
	if (rc == CTL_OK && size > 0)
		map = mmap(NULL, size, PROT_READ, MAP_PRIVATE, fileno(copy), 0);
	if (rc == CTL_OK && map != MAP_FAILED) {
		rc = append_mapped(a, fileno(copy), SL_SLICE(map, size));
		munmap(map, size);
	} else if (rc == CTL_OK && !a->ctl->option['C']) {
		ctl_error("%s: %s", a->input, size ? strerror(errno) : "empty, so there is nothing to append");
		rc = CTL_FAILED;
	}
	if (copy)
		fclose(copy);
	return rc;
}

/* ---- each line ---- */

struct lines {
	struct sl_buf buf;
	uint64_t line; /* number of the first one in buf */
	bool end;
	struct sl_store_op ops[LINES_OPS];
};

/* The next line of what is there; false: none that is complete. */
static bool lines_next(const struct lines *l, size_t *at, sl_slice *line)
{
	const char *p = sl_buf_slice(&l->buf).data;
	const char *eol = *at < l->buf.len ? memchr(p + *at, '\n', l->buf.len - *at) : NULL;
	size_t end = eol ? (size_t)(eol - p) + 1 : l->buf.len;

	if (*at == l->buf.len || (!eol && !l->end))
		return false;
	*line = SL_SLICE(p + *at, end - *at);
	*at = end;
	return true;
}

/* Appends the complete lines that are there, as many as one request takes. *used: their bytes. */
static int lines_append(struct append *a, struct lines *l, size_t *used)
{
	uint32_t n = 0;
	size_t at = 0, bytes = 0;
	sl_slice line;
	int rc = CTL_OK;

	*used = 0;
	while (rc == CTL_OK && n < LINES_OPS && lines_next(l, &at, &line) && bytes + line.len <= LINE_BYTES_MAX) {
		uint64_t number = l->line++;

		*used = at;
		bytes += line.len;
		if (a->json)
			line = append_trim(line);
		if (line.len == 0)
			continue; /* of JSON only: others have their line end */
		l->ops[n++] = append_op(a, SLUICE_OP_APPEND, line);
		if (a->json)
			rc = append_check_json(a, line, number);
	}
	/* Nothing of this request when one of its lines is bad. */
	return rc || n == 0 ? rc : append_submit(a, l->ops, n, -1);
}

static int lines_read(const struct append *a, struct lines *l)
{
	void *room = sl_buf_room(&l->buf, PIECE);
	ssize_t n = room ? read(a->in, room, PIECE) : -1;

	if (n < 0 && room && errno == EINTR)
		return CTL_OK;
	if (n < 0) {
		ctl_error("%s: %s", a->input, room ? strerror(errno) : "out of memory");
		return CTL_FAILED;
	}
	l->end = n == 0;
	sl_buf_added(&l->buf, (size_t)n);
	return CTL_OK;
}

static int append_lines(struct append *a)
{
	struct lines *l = calloc(1, sizeof *l);
	int rc = l ? CTL_OK : CTL_FAILED;
	char records[64];

	if (l)
		l->line = 1;
	while (rc == CTL_OK && !l->end) {
		size_t used = 1;

		rc = lines_read(a, l);
		while (rc == CTL_OK && used > 0) {
			rc = lines_append(a, l, &used);
			sl_buf_drain(&l->buf, used);
		}
		if (rc == CTL_OK && l->buf.len > LINE_BYTES_MAX) {
			ctl_error("%s:%llu: the line is too long for --lines", a->input, (unsigned long long)l->line);
			rc = CTL_FAILED;
		}
	}
	if (rc && a->records)
		ctl_error("%s before it %s appended", out_count(a->records, "record", records),
		          a->records == 1 ? "was" : "were");
	if (l)
		sl_buf_fini(&l->buf);
	free(l);
	return rc;
}

/* ---- the command ---- */

static int append_open(struct append *a)
{
	if (strcmp(a->input, "-") == 0) {
		a->input = "standard input";
		a->in = STDIN_FILENO;
		return CTL_OK;
	}
	a->in = open(a->input, O_RDONLY | O_CLOEXEC);
	if (a->in >= 0)
		return CTL_OK;
	ctl_error("%s: %s", a->input, strerror(errno));
	return CTL_FAILED;
}

static int append_run(struct ctl *ctl)
{
	struct append a = {.ctl = ctl, .stream = ctl->arg[0], .input = ctl->n_arg > 1 ? ctl->arg[1] : "-"};
	int rc = append_open(&a);

	if (rc)
		return rc;
	rc = session_open(ctl, &a.session);
	if (rc == CTL_OK) {
		rc = append_look(&a);
		if (rc == CTL_OK && a.create)
			rc = append_create(&a);
		if (rc == CTL_OK)
			rc = ctl->option['l'] ? append_lines(&a) : append_whole(&a);
		if (rc == CTL_OK && ctl->json)
			rc = out_json(json_pack("{s:o, s:I, s:I, s:I}", "stream", out_text(sl_slice_str(a.stream)),
			                        "records", (json_int_t)a.records, "start", (json_int_t)a.start, "tail",
			                        (json_int_t)a.tail));
		session_close(&a.session);
	}
	free(a.type);
	if (a.in > STDIN_FILENO)
		close(a.in);
	return rc;
}

static const struct ctl_option append_options[] = {
	{'t', "type", "TYPE", "content type; otherwise the stream's own"},
	{'C', "create", NULL, "make the stream if there is none (application/octet-stream without --type)"},
	{'l', "lines", NULL, "each line is a record of its own"},
	{0, NULL, NULL, NULL},
};

const struct ctl_command cmd_append = {
	.name = "append",
	.args = "STREAM [FILE|-]",
	.summary = "Append a file, or what comes on standard input",
	.help = "As one record, which is on disk when this ends with status 0. With --lines each line, its line end included, is a record\n"
		"as soon as it is there. A JSON stream takes one JSON value, an array also being one message, or with --lines one a line.",
	.options = append_options,
	.min = 1,
	.max = 2,
	.words = CTL_WORD_STREAM,
	.run = append_run,
};
