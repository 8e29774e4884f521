/*
 * token.c - sluiced --new-token: a bearer token and the line that lets it in. Supervisor, before anything else runs.
 *
 * 32 random bytes: nobody guesses them, so their plain hash may stand in the configuration.
 */
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>

#include "supervisor/supervisor.h"

enum { TOKEN_BYTES = 32, HASH_BYTES = 32 };

static void token_hex(const uint8_t *p, size_t n, char *out)
{
	for (size_t i = 0; i < n; i++)
		snprintf(out + 2 * i, 3, "%02x", p[i]);
}

int token_print(const char *name)
{
	uint8_t random[TOKEN_BYTES], hash[HASH_BYTES];
	char token[2 * TOKEN_BYTES + 1], hex[2 * HASH_BYTES + 1];
	unsigned n = sizeof hash;

	if (!*name || strpbrk(name, " \t\r\n#\"\\'{}[],:") || strcmp(name, "anonymous") == 0 || strcmp(name, "*") == 0) {
		fprintf(stderr, "sluiced: \"%s\" cannot be the name of a token: one word, neither \"anonymous\" nor \"*\"\n", name);
		return 2;
	}
	if (getrandom(random, sizeof random, 0) != (ssize_t)sizeof random) {
		perror("sluiced: random bytes");
		return EXIT_FAILURE;
	}
	token_hex(random, sizeof random, token);
	if (EVP_Digest(token, sizeof token - 1, hash, &n, EVP_sha256(), NULL) != 1 || n != sizeof hash) {
		fputs("sluiced: the token could not be hashed\n", stderr);
		return EXIT_FAILURE;
	}
	token_hex(hash, sizeof hash, hex);
	printf("token, for %s only:\n  %s\n", name, token);
	printf("in auth.tokens:\n  - { name: %s, hash: \"sha256:%s\" }\n", name, hex);
	printf("or a line of auth.tokens_file:\n%s sha256:%s\n", name, hex);
	return fflush(stdout) ? EXIT_FAILURE : EXIT_SUCCESS;
}
