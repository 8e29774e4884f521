/*
 * replay.c - runs a fuzz target over its seeds under plain `make check`, without a fuzzer. Tests only.
 *
 * Each seed as it is, and, as far as RUNS_MAX goes for all of them together, cut off at every length and with every byte changed in a
 * few ways: the same every time, and a good part of what a fuzzer tries first. A finding is a crash or a sanitizer's
 * report. Usage: fuzz_TARGET [FILE...]; default: all of tests/fuzz/seeds/TARGET. A file named is not changed.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { RUNS_MAX = 20000, FILE_MAX = 1 << 20 };

static const uint8_t change[] = {0x01, 0x20, 0x80, 0xff};
static unsigned replayed;

/* A copy of exactly this size, so that reading past the end is noticed. */
static void run(const uint8_t *data, size_t n)
{
	uint8_t *copy = malloc(n ? n : 1);

	if (!copy)
		exit(1);
	memcpy(copy, data, n);
	LLVMFuzzerTestOneInput(copy, n);
	free(copy);
}

static void mutate(uint8_t *data, size_t n, size_t stride)
{
	for (size_t i = 0; i < n; i += stride) {
		run(data, i);
		for (size_t k = 0; k < sizeof change; k++) {
			data[i] ^= change[k];
			run(data, n);
			data[i] ^= change[k];
		}
	}
}

/* stride 0: nothing is changed. Returns the size. */
static size_t replay(const char *path, size_t stride)
{
	uint8_t *data = malloc(FILE_MAX);
	FILE *f = fopen(path, "rbe");
	size_t n;

	if (!f || !data) {
		printf("Bail out! cannot read %s\n", path);
		exit(1);
	}
	n = fread(data, 1, FILE_MAX, f);
	fclose(f);
	run(data, n);
	if (stride)
		mutate(data, n, stride);
	free(data);
	printf("ok %u - %s\n", ++replayed, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
	return n;
}

static int seed_is_file(const struct dirent *d)
{
	return d->d_name[0] != '.';
}

static void replay_seeds(const char *dir)
{
	struct dirent **entry;
	int n = scandir(dir, &entry, seed_is_file, alphasort);
	char path[4096 + 260];
	size_t bytes = 0;

	if (n <= 0) {
		printf("Bail out! no seeds in %s\n", dir);
		exit(1);
	}
	for (int pass = 0; pass < 2; pass++) {
		size_t stride = pass ? bytes * (1 + sizeof change) / RUNS_MAX + 1 : 0;

		for (int i = 0; i < n; i++) {
			snprintf(path, sizeof path, "%s/%s", dir, entry[i]->d_name);
			bytes += replay(path, stride);
		}
	}
	for (int i = 0; i < n; i++)
		free(entry[i]);
	free(entry);
}

int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir"), *name = strstr(argv[0], "fuzz_");
	char dir[4096];

	for (const char *next = name; next; next = strstr(next + 1, "fuzz_"))
		name = next;
	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i], 0);
	if (argc == 1) {
		snprintf(dir, sizeof dir, "%s/tests/fuzz/seeds/%s", top ? top : ".", name ? name + 5 : "");
		replay_seeds(dir);
	}
	printf("1..%u\n", replayed);
	return 0;
}
