/*
 * test_memory.c - the beginning of the WebSocket engine, each allocation failing once: there is no engine, or the process ends with a
 * sentence, which the supervisor takes for a start that did not work. Nothing ends by a signal.
 *
 * Linked with --wrap for malloc, calloc and realloc, by which libwebsockets allocates as well.
 */
#include <fcntl.h>
#include <sys/wait.h>

#include "frontend/ws/engine.h"
#include "lib/log.h"
#include "tests/unit/tap.h"
#include "tests/unit/wrap_memory.h"

enum { WORKED, NO_ENGINE = 3 };
static long until = -1;

static bool allocation_fails(void)
{
	return until >= 0 && until-- == 0;
}

/* The wait status of a process in which the n-th allocation fails; exit code 0 when there were fewer. */
static int begin(long n)
{
	int status = -1;
	pid_t pid;

	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		struct event_base *base = event_base_new();
		struct ws_engine *engine;
		int null = open("/dev/null", O_WRONLY | O_CLOEXEC);

		dup2(null, STDERR_FILENO);
		until = n;
		engine = ws_engine_new(base, NULL, NULL);
		_exit(engine && until >= 0 ? WORKED : NO_ENGINE);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid)
		abort();
	return status;
}

int main(void)
{
	long n = 0, sentences = 0;
	int status;

	sl_log_init("test_memory", SLUICE_LOG_ERR);
	for (; (status = begin(n)) != 0 && n < 10000; n++) {
		sentences += WIFEXITED(status) && WEXITSTATUS(status) == EXIT_FAILURE;
		if (!WIFEXITED(status)) {
			ok(0, "nothing ends by a signal");
			printf("# allocation %ld: signal %d\n", n, WTERMSIG(status));
		}
	}
	ok(status == 0 && n > 10, "every allocation has failed once");
	ok(sentences > 0, "those of libwebsockets end the process with a sentence");
	printf("# %ld allocations, %ld sentences\n", n, sentences);
	return tap_done();
}
