// sluicectl import sds: a local file of SDS engines is what the persistence provider gives afterwards, however often it is imported.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, it } from 'node:test';
import { SDS_RemotePersistenceProvider } from '../../clients/js/sds-remote-persistence-provider.mjs';
import { ctlFor } from '../lib/ctl.mjs';
import { FRAME, Peer, ask, bytes, sha256, startSds, token } from '../lib/sds.mjs';
import { temporary } from '../lib/sluice.mjs';

const SCHEMA = `CREATE TABLE snapshots (store_id TEXT PRIMARY KEY, data BLOB NOT NULL, clock INTEGER NOT NULL);
CREATE TABLE patches (store_id TEXT NOT NULL, clock INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (store_id, clock));
CREATE TABLE blobs (hash TEXT PRIMARY KEY, data BLOB NOT NULL, ref_count INTEGER NOT NULL DEFAULT 0);`;
const x = (data) => `x'${Buffer.from(data).toString('hex')}'`;
const t = (text) => `'${text.replaceAll("'", "''")}'`;

function provider(daemon, id) {
	return new SDS_RemotePersistenceProvider(daemon.url, id, { Token: token(id), fetch: ask });
}

describe('sluicectl import sds', () => {
	it('what the file has is there afterwards; a second time changes nothing; what the server had stays', async () => {
		const daemon = await startSds();
		const file = join(temporary(), 'engine.db');
		const large = bytes(300_000, 4), blob = bytes(5000, 2), named = bytes(70, 3);
		const hex = sha256(named).toString('hex'), fnv = 'fnv1a-00c0ffee-5000';
		execFileSync('sqlite3', [file], { input: `${SCHEMA}
			INSERT INTO snapshots VALUES (${t('a/b')}, ${x(large)}, 15), (${t('other')}, ${x('')}, -3);
			INSERT INTO patches VALUES (${t('a/b')}, 15, ${x('p15')}), (${t('a/b')}, -1, ${x('p-1')}), (${t('a/b')}, 16, ${x('')}), (${t('patches')}, 1, ${x('only')});
			INSERT INTO blobs VALUES (${t(fnv)}, ${x(blob)}, 2), (${t(hex)}, ${x(named)}, 1), (${t('.')}, ${x(large)}, 0);` });
		await provider(daemon, 'other').saveSnapshot(Buffer.from('newer'), 99);
		await provider(daemon, 'a/b').appendPatch(Buffer.from('mine'), 16);
		const ctl = ctlFor(daemon);
		assert.deepEqual(await ctl.json('import', 'sds', file), [{ snapshots: 1, patches: 3, values: 9, there: 2 }]);
		const look = async () => {
			const a = provider(daemon, 'a/b');
			assert.ok(Buffer.from(await a.loadSnapshot()).equals(large));
			assert.deepEqual((await a.loadPatchesSince(-9)).map((patch) => Buffer.from(patch).toString()), ['p-1', 'p15', 'mine']);
			assert.equal(Buffer.from(await provider(daemon, 'other').loadSnapshot()).toString(), 'newer');
			for (const id of ['a/b', 'other', 'patches']) {
				assert.ok(Buffer.from(await provider(daemon, id).loadValue(fnv)).equals(blob));
				const dot = await ask(`${daemon.url}/api/persistence/${encodeURIComponent(id)}/values/%252E`, { headers: { authorization: `Bearer ${token(id)}` } });
				assert.equal(dot.status, 404, 'the name that is a dot is no other name');
			}
		};
		await look();
		assert.equal(await ctl('import', 'sds', file), '0 snapshots, 0 patches, 0 values; 15 were there already\n');
		await look();
		const peer = await Peer.open(daemon, 'other', { scope: 'read' });
		peer.send(FRAME.REQ_VALUE, sha256(named));
		await peer.expect(FRAME.VALUE, Buffer.concat([sha256(named), named]), 'a name that is true is offered by socket');
		await peer.close();
		const b = provider(daemon, 'other');
		await b.releaseValue(fnv);
		assert.ok(await b.loadValue(fnv), 'two references were taken over');
		await b.releaseValue(fnv);
		assert.equal(await b.loadValue(fnv), undefined);
		assert.ok(await provider(daemon, 'a/b').loadValue(fnv), 'each store has its own');
		const clock = await ask(`${daemon.url}/api/persistence/a%2Fb/snapshot`, { headers: { authorization: `Bearer ${token('a/b')}` } });
		assert.equal(clock.headers.get('sds-clock'), '15');
		await daemon.stop();
	});

	it('a file that is none is refused with its name, and nothing is taken from it', async () => {
		const daemon = await startSds();
		const ctl = ctlFor(daemon);
		const folder = temporary();
		const text = join(folder, 'text'), empty = join(folder, 'empty.db'), odd = join(folder, 'odd.db');
		writeFileSync(text, 'this is no database, but long enough to be taken for one '.repeat(20));
		execFileSync('sqlite3', [empty], { input: 'CREATE TABLE t (a);' });
		execFileSync('sqlite3', [odd], { input: `${SCHEMA} INSERT INTO snapshots VALUES (${t('x'.repeat(257))}, ${x('s')}, 1);` });
		await ctl.fails(1, /not a file of an SDS persistence provider: file is not a database/, 'import', 'sds', text);
		await ctl.fails(1, /empty\.db: not a file of an SDS persistence provider: no such table/, 'import', 'sds', empty);
		await ctl.fails(1, /the store "x+" has 257 bytes; 1 to 256 are possible/, 'import', 'sds', odd);
		await ctl.fails(1, /unable to open database file/, 'import', 'sds', join(folder, 'nothing'));
		await ctl.fails(2, /only files of sds can be imported/, 'import', 'csv', text);
		await daemon.stop();
	});
});
