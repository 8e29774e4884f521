// Plugins that are not what they say: each is refused with its own sentence at the place of the YAML file that asked
// for it.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import { runSluiced, temporary } from '../lib/sluice.mjs';
import { toYaml } from '../lib/yaml.mjs';

const INCLUDE = join(import.meta.dirname, '..', '..', 'include');
const HEAD = 'SLUICE_MAGIC, sizeof(struct sluice_plugin), SLUICE_ABI_MAJOR, SLUICE_ABI_MINOR, 0, 0';
const CALLS = `
static int configure(struct sluice_ctx *c, const struct sluice_host *h, const struct sluice_conf *o, void **self)
{ (void)c; (void)h; (void)o; *self = &sluice_plugin_v1_; return 0; }
static int start(void *self) { (void)self; return 0; }
static void drain(void *self, uint64_t deadline) { (void)self; (void)deadline; }
static void stop(void *self) { (void)self; }
`;
const plugin = (head, name) => `#include "sluice/plugin.h"
static char sluice_plugin_v1_;${CALLS}
SLUICE_PLUGIN = {${head}, "${name}", "1", "/x", NULL, configure, start, drain, stop};
`;

const CASES = {
	'no-symbol': ['int unrelated = 1;', /sluice_plugin_v1|symbol|descriptor/i],
	'bad-magic': [
		plugin(HEAD.replace('SLUICE_MAGIC', '0x12345678'), 'bad-magic'),
		/magic|not a sluice plugin|descriptor/i,
	],
	'wrong-abi': [plugin(HEAD.replace('SLUICE_ABI_MAJOR', 'SLUICE_ABI_MAJOR + 1'), 'wrong-abi'), /ABI|version/],
	'other-name': [plugin(HEAD, 'somebody-else'), /somebody-else/],
	'too-needy': [plugin(HEAD.replace(/0$/, '1ull << 63'), 'too-needy'), /capabilit|needs/i],
};

describe('plugins that must not be loaded', { concurrency: 2 }, () => {
	let folder;
	before(() => (folder = temporary()));

	for (const [name, [source, says]] of Object.entries(CASES))
		it(name, async () => {
			const [code, object, config] = [`${name}.c`, `${name}.so`, `${name}.yaml`].map((file) =>
				join(folder, file),
			);
			writeFileSync(code, source);
			execFileSync('cc', [
				'-std=gnu11',
				'-shared',
				'-fPIC',
				'-w',
				`-I${INCLUDE}`,
				'-o',
				object,
				code,
			]);
			writeFileSync(
				config,
				toYaml({
					data_dir: 'temporary',
					frontends: [
						{ name: 'a', listen: ['127.0.0.1:0'], plugins: [{ plugin: object }] },
					],
				}),
			);
			const result = await runSluiced(['-t', '-c', config]);
			const text = result.err + result.out;
			assert.equal(result.code, 1, text);
			assert.match(text, new RegExp(`${name}\\.yaml:7:17: `), text);
			assert.match(text, says);
		});
});
