/*
 * replay.c - runs a fuzz target over its seeds under plain `make check`, without a fuzzer. Tests only.
 *
 * Each seed as it is, cut off at every length, and with every byte changed in a few ways: small, the same every time,
 * and a good part of what a fuzzer tries first. A finding is a crash or a sanitizer's report. Usage: replay
 * [FILE...]; default: all seeds.
 */
#include <dirent.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

enum { MUTATE_MAX = 1024, FILE_MAX = 1 << 20 };

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

static void mutate(uint8_t *data, size_t n)
{
	static const uint8_t change[] = {0x01, 0x20, 0x80, 0xff};

	for (size_t i = 0; i < n; i++) {
		run(data, i);
		for (size_t k = 0; k < sizeof change; k++) {
			data[i] ^= change[k];
			run(data, n);
			data[i] ^= change[k];
		}
	}
}

static void replay(const char *path)
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
	if (n <= MUTATE_MAX)
		mutate(data, n);
	free(data);
	printf("ok %u - %s\n", ++replayed, strrchr(path, '/') ? strrchr(path, '/') + 1 : path);
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

	if (n <= 0) {
		printf("Bail out! no seeds in %s\n", dir);
		exit(1);
	}
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof path, "%s/%s", dir, entry[i]->d_name);
		replay(path);
		free(entry[i]);
	}
	free(entry);
}

int main(int argc, char **argv)
{
	const char *top = getenv("top_srcdir");
	char dir[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	for (int i = 1; i < argc; i++)
		replay(argv[i]);
	if (argc == 1) {
		snprintf(dir, sizeof dir, "%s/tests/fuzz/seeds/%s", top ? top : ".", FUZZ_SEEDS);
		replay_seeds(dir);
	}
	printf("1..%u\n", replayed);
	return 0;
}
