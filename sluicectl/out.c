/*
 * out.c - output: JSON, tables, names, numbers for people. sluicectl.
 */
#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>

#include "sluicectl/ctl.h"

int out_flush(void)
{
	if (fflush(stdout) == 0 && !ferror(stdout))
		return CTL_OK;
	if (errno != EPIPE) /* whoever read has seen enough */
		ctl_error("standard output: %s", strerror(errno));
	return CTL_FAILED;
}

int out_json(json_t *j)
{
	int rc = j ? json_dumpf(j, stdout, JSON_COMPACT | JSON_ENCODE_ANY | JSON_REAL_PRECISION(9)) : -1;

	if (!j)
		ctl_error("out of memory");
	json_decref(j);
	fputc('\n', stdout);
	return rc ? CTL_FAILED : CTL_OK;
}

static char *base64(sl_slice s)
{
	static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const uint8_t *p = s.data;
	char *out = malloc((s.len + 2) / 3 * 4 + 1), *o = out;

	for (size_t i = 0; out && i < s.len; i += 3) {
		size_t n = s.len - i < 3 ? s.len - i : 3;
		uint32_t v = (uint32_t)p[i] << 16 | (n > 1 ? (uint32_t)p[i + 1] << 8 : 0) | (n > 2 ? p[i + 2] : 0);

		*o++ = digits[v >> 18];
		*o++ = digits[v >> 12 & 63];
		*o++ = n > 1 ? digits[v >> 6 & 63] : '=';
		*o++ = n > 2 ? digits[v & 63] : '=';
	}
	if (out)
		*o = '\0';
	return out;
}

json_t *out_text(sl_slice s)
{
	json_t *j = json_stringn(s.len ? (const char *)s.data : "", s.len);
	char *text;

	if (j)
		return j;
	text = base64(s);
	j = text ? json_pack("{s:s}", "base64", text) : NULL;
	free(text);
	return j;
}

char *out_name(sl_slice s)
{
	const uint8_t *p = s.data;
	char *out = malloc(4 * s.len + 1), *o = out;

	for (size_t i = 0; out && i < s.len; i++) {
		if (p[i] < 0x20 || p[i] == 0x7f || p[i] == '\\')
			o += sprintf(o, "\\x%02x", p[i]);
		else
			*o++ = (char)p[i];
	}
	if (out)
		*o = '\0';
	return out;
}

const char *out_duration(uint64_t ms, char buf[32])
{
	unsigned long long s = ms / 1000;

	if (s < 60)
		snprintf(buf, 32, "%llus", s);
	else if (s < 3600)
		snprintf(buf, 32, "%llum%02llus", s / 60, s % 60);
	else if (s < 86400)
		snprintf(buf, 32, "%lluh%02llum", s / 3600, s / 60 % 60);
	else
		snprintf(buf, 32, "%llud%02lluh", s / 86400, s / 3600 % 24);
	return buf;
}

const char *out_bytes(uint64_t n, char buf[32])
{
	static const char units[] = "KMGTPE";
	double v = (double)n;
	int u = -1;

	if (n < 1024) {
		snprintf(buf, 32, "%llu", (unsigned long long)n);
		return buf;
	}
	/* What would be shown as 1024 of a unit is 1.0 of the next one. */
	while (v >= 1023.5 && units[u + 1]) {
		v /= 1024;
		u++;
	}
	snprintf(buf, 32, v < 9.95 ? "%.1f%c" : "%.0f%c", v, units[u < 0 ? 0 : u]);
	return buf;
}

const char *out_size(uint64_t n, char buf[32])
{
	if (n >= 1024)
		return out_bytes(n, buf);
	snprintf(buf, 32, "%llu byte%s", (unsigned long long)n, n == 1 ? "" : "s");
	return buf;
}

const char *out_count(uint64_t n, const char *noun, char buf[64])
{
	snprintf(buf, 64, "%llu %s%s", (unsigned long long)n, noun, n == 1 ? "" : "s");
	return buf;
}

/* ---- tables ---- */

void table_add(struct table *t, const char *fmt, ...)
{
	va_list ap;

	if (t->n_cell == t->cap) {
		size_t cap = t->cap ? 2 * t->cap : 64;
		char **more = realloc(t->cell, cap * sizeof *more);

		if (!more)
			return;
		t->cell = more;
		t->cap = cap;
	}
	va_start(ap, fmt);
	if (vasprintf(&t->cell[t->n_cell], fmt, ap) >= 0)
		t->n_cell++;
	va_end(ap);
}

void table_init(struct table *t, unsigned right, const char *const head[])
{
	*t = (struct table){.right = right};
	for (; head[t->n_col]; t->n_col++)
		table_add(t, "%s", head[t->n_col]);
}

/* Columns that a terminal shows; names are UTF-8, wide characters count as one. */
static int table_width(const char *s)
{
	int n = 0;

	for (; *s; s++)
		n += ((unsigned char)*s & 0xc0) != 0x80;
	return n;
}

void table_print(struct table *t, FILE *f)
{
	int width[TABLE_COLUMNS] = {0};

	for (size_t i = 0; i < t->n_cell; i++) {
		int w = table_width(t->cell[i]);

		if (w > width[i % t->n_col])
			width[i % t->n_col] = w;
	}
	for (size_t i = 0; i < t->n_cell; i++) {
		size_t col = i % t->n_col;
		bool last = col == t->n_col - 1, right = t->right >> col & 1;
		int pad = width[col] - table_width(t->cell[i]);

		fprintf(f, "%*s%s%*s%s", right ? pad : 0, "", t->cell[i], right || last ? 0 : pad, "",
		        last ? "\n" : "  ");
	}
}

void table_fini(struct table *t)
{
	for (size_t i = 0; i < t->n_cell; i++)
		free(t->cell[i]);
	free(t->cell);
	*t = (struct table){0};
}
