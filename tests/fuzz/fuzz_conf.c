/*
 * fuzz_conf.c - fuzz target: a configuration file, parsed, checked with all its tables, and printed when it is good.
 * Tests only.
 */
#include <stdlib.h>

#include "lib/options.h"

int LLVMFuzzerTestOneInput(const uint8_t *, size_t);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t n)
{
	struct sl_conf_errors errors = {0};
	struct sluice_conf *root = sl_options_load(SL_SLICE(data, n), &errors);
	struct sl_buf out;

	if (!root && errors.n == 0)
		abort(); /* refused without a word */
	for (size_t i = 0; i < errors.n; i++)
		if (errors.v[i].line == 0 || errors.v[i].column == 0 || !errors.v[i].text)
			abort();
	sl_buf_init(&out);
	if (root && errors.n == 0)
		sl_conf_print(root, sl_options, NULL, 0, &out);
	sl_buf_fini(&out);
	sl_conf_errors_sort(&errors);
	sl_conf_errors_fini(&errors);
	sl_conf_free(root);
	return 0;
}
