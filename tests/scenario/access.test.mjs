// Who may: tokens, JWTs and rules decide before a plugin is asked, over every door, and what they know changes by a reload only.

import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, chownSync, writeFileSync } from 'node:fs';
import { connect as dial } from 'node:net';
import { join } from 'node:path';
import { before, describe, it } from 'node:test';
import * as jose from 'jose';
import WebSocket from 'ws';
import { connect } from '../lib/http.mjs';
import { baseConfig, runSluiced, startSluice, temporary } from '../lib/sluice.mjs';
import { Stream, overBothVersions } from '../lib/streams.mjs';
import { until, within } from '../lib/wait.mjs';
import { toYaml } from '../lib/yaml.mjs';

const TOP = join(import.meta.dirname, '..', '..');
const hash = (token) => `sha256:${createHash('sha256').update(token).digest('hex')}`;
const bearer = (token) => ({ authorization: `Bearer ${token}` });
const SECRET = 'a-secret-of-at-least-thirty-two-bytes';
const seconds = () => Math.floor(Date.now() / 1000);
const hs256 = (claims, secret = SECRET) => new jose.SignJWT(claims).setProtectedHeader({ alg: 'HS256' }).sign(Buffer.from(secret));

const TOKENS = {
	mode: 'tokens',
	tokens: ['ann', 'bob', 'reader', 'root'].map((name) => ({ name, hash: hash(`token-of-${name}`) })),
	policy: [
		{ who: ['root'], paths: ['**'], actions: ['all'] },
		{ who: ['*'], paths: ['locked/**'], actions: [] },
		{ who: ['ann'], paths: ['ann/**', 'shared/*'], actions: ['all'] },
		{ who: ['bob'], paths: ['shared/*'], actions: ['read', 'append'] },
		{ who: ['anonymous'], paths: ['public/*'], actions: ['read'] },
		{ who: ['reader'], paths: ['**'], actions: ['read'] },
	],
};
const ANN = bearer('token-of-ann'),
	BOB = bearer('token-of-bob'),
	READER = bearer('token-of-reader'),
	ROOT = bearer('token-of-root');

overBothVersions('tokens and rules', { config: (config) => (config.auth = TOKENS) }, (door, it) => {
	const named = (prefix) => {
		const stream = door.stream('s');
		return new Stream(stream.client, prefix + stream.name);
	};

	it('without a token: 401 with a challenge and no error code, before the body is sent, with the CORS headers of the door', async () => {
		const answer = await named('ann/').put();
		assert.equal(answer.status, 401);
		assert.equal(answer.headers['www-authenticate'], 'Bearer realm="sluice"');
		assert.equal(answer.headers['access-control-allow-origin'], '*');
		assert.match(answer.headers['content-type'], /^text\/plain/);
		assert.equal(answer.headers['cache-control'], 'no-store');
	});

	it('a token that is not known: 401 invalid_token, also where none is needed; one that may not: 403 insufficient_scope', async () => {
		for (const name of ['ann/', 'public/']) {
			const answer = await named(name).get(undefined, bearer('token-of-nobody'));
			assert.equal(answer.status, 401);
			assert.match(answer.headers['www-authenticate'], /^Bearer error="invalid_token"/);
		}
		const answer = await named('ann/').put({ headers: BOB });
		assert.equal(answer.status, 403);
		assert.match(answer.headers['www-authenticate'], /insufficient_scope/);
	});

	it('each action is asked for: create, append, read, delete', async () => {
		const stream = named('shared/');
		assert.equal((await stream.put({ headers: BOB })).status, 403);
		assert.equal((await stream.put({ headers: READER })).status, 403);
		assert.equal((await stream.put({ headers: ANN })).status, 201);
		assert.equal((await stream.post('x', { headers: BOB })).status, 204);
		assert.equal((await stream.post('x', { headers: READER })).status, 403);
		assert.equal((await stream.get({ offset: '-1' }, READER)).text, 'x');
		assert.equal((await stream.send('HEAD', { headers: BOB })).status, 200);
		assert.equal((await stream.send('DELETE', { headers: BOB })).status, 403);
		assert.equal((await stream.send('DELETE', { headers: ANN })).status, 204);
	});

	it('caches keep what needed a token for its client only', async () => {
		const stream = await named('public/').create({ headers: ROOT, body: 'x' });
		const known = await stream.get({ offset: '-1' }, READER);
		const anybody = await stream.get({ offset: '-1' });
		assert.deepEqual([known.status, anybody.status], [200, 200]);
		assert.match(known.headers['cache-control'], /^private, max-age=60/);
		assert.match(anybody.headers['cache-control'], /^public, max-age=60/);
	});

	it('rules see decoded names: an escape is no way around them', async () => {
		const name = door.stream('x').name;
		for (const path of [`locked/${name}`, `%6cocked/${name}`, `locked%2F${name}`, `ann/..%2Flocked/${name}`]) {
			const answer = await new Stream(door.client, path).put({ headers: READER });
			assert.ok([400, 403].includes(answer.status), `${path}: ${answer.status}`);
		}
	});

	it('whoever may not read the source of a fork may not fork it', async () => {
		const source = await named('locked/').create({ headers: ROOT });
		const answer = await named('ann/').put({ headers: { ...ANN, 'stream-forked-from': source.path } });
		assert.equal(answer.status, 403);
	});

	it('a preflight carries no token and is answered', async () => {
		const answer = await named('ann/').send('OPTIONS', { headers: { origin: 'http://x', 'access-control-request-method': 'PUT' } });
		assert.equal(answer.status, 204);
		assert.match(answer.headers['access-control-allow-headers'], /authorization/);
	});

	it('the listing shows what may be read, and needs a token that is good, or none at all', async () => {
		const [open, locked] = [named('public/'), named('locked/')];
		await open.create({ headers: ROOT });
		await locked.create({ headers: ROOT });
		const list = async (prefix, headers) => {
			const answer = await door.client.request('GET', `/v1/stream/__ds/streams?prefix=${prefix}`, { headers });
			return answer.status === 200 ? answer.json().streams.map(({ name }) => name) : answer.status;
		};
		assert.deepEqual(await list(open.name, READER), [open.name]);
		assert.deepEqual(await list(open.name), [open.name]);
		assert.deepEqual(await list(locked.name, READER), []);
		assert.deepEqual(await list(locked.name, ROOT), [locked.name]);
		assert.deepEqual(await list(locked.name), []);
		assert.equal(await list(locked.name, bearer('x')), 401);
	});

	it('of two Authorization headers neither is believed; other schemes are nobody', async () => {
		const stream = named('ann/');
		assert.equal((await stream.put({ headers: { authorization: 'Basic YW5uOmFubg==' } })).status, 401);
		assert.equal((await stream.put({ headers: { authorization: 'Bearer' } })).status, 401);
		assert.equal((await stream.put({ headers: { authorization: `Bearer ${'x'.repeat(20000)}` } })).status, 401);
	});
});

describe('JWT', { concurrency: 2 }, () => {
	let folder;
	before(() => (folder = temporary()));

	// [algorithm, how its key gets into the configuration]
	const pem = async (pair, name) => {
		const file = join(folder, `${name}.pem`);
		writeFileSync(file, await jose.exportSPKI(pair.publicKey));
		return { jwt: { keys: [{ file }] } };
	};
	const jwks = async (pair, name) => {
		const file = join(folder, `${name}.json`);
		const other = await jose.generateKeyPair('ES384', { extractable: true });
		const keys = [await jose.exportJWK(other.publicKey), { ...(await jose.exportJWK(pair.publicKey)), kid: 'k1', use: 'sig' }];
		writeFileSync(file, JSON.stringify({ keys }));
		return { jwt: { jwks: file } };
	};
	const cases = ['RS256', 'ES256', 'EdDSA'].flatMap((alg) => [
		[alg, 'a PEM file', pem],
		[alg, 'a JWKS file', jwks],
	]);
	for (const [alg, where, configure] of cases)
		it(`${alg} with a key from ${where}: its tokens are good, those of other keys and altered ones are not`, async () => {
			const [pair, stranger] = await Promise.all([1, 2].map(() => jose.generateKeyPair(alg, { extractable: true })));
			const auth = { mode: 'jwt', ...(await configure(pair, `${alg}-${where.replaceAll(' ', '-')}`)) };
			auth.jwt = { ...auth.jwt, issuer: 'me', audience: ['sluice'] };
			const daemon = await startSluice({ config: (config) => (config.auth = auth) });
			const client = connect('HTTP/1.1', daemon.url);
			const sign = (key, claims = {}) =>
				new jose.SignJWT({ sub: 'ann', iss: 'me', aud: 'sluice', exp: seconds() + 60, ...claims })
					.setProtectedHeader({ alg, kid: 'k1' })
					.sign(key);
			const ask = async (token) => {
				const answer = await client.request('GET', '/v1/stream/x', { headers: bearer(token) });
				return answer.status === 401 ? /error_description="([^"]*)"/.exec(answer.headers['www-authenticate'])[1] : answer.status;
			};
			const good = await sign(pair.privateKey);
			assert.equal(await ask(good), 404, 'it is let in: there is no such stream');
			assert.equal(await ask(await sign(stranger.privateKey)), 'its signature is wrong');
			const [head, , signature] = good.split('.');
			const forged = Buffer.from(JSON.stringify({ ...jose.decodeJwt(good), sub: 'root' })).toString('base64url');
			assert.equal(await ask(`${head}.${forged}.${signature}`), 'its signature is wrong');
			assert.match(await ask(good.slice(0, -8)), /signature is wrong|malformed/);
			assert.equal(await ask(await sign(pair.privateKey, { exp: seconds() - 60 })), 'it has expired');
			assert.equal(await ask(await sign(pair.privateKey, { exp: undefined })), 'a claim is missing or malformed');
			assert.equal(await ask(await sign(pair.privateKey, { nbf: seconds() + 60 })), 'it is not valid yet');
			assert.equal(await ask(await sign(pair.privateKey, { iss: 'you' })), 'it is of another issuer');
			assert.equal(await ask(await sign(pair.privateKey, { aud: ['x'] })), 'it is for another audience');
			assert.equal(await ask(new jose.UnsecuredJWT({ sub: 'ann', iss: 'me', aud: 'sluice' }).encode()), 'its algorithm or key is not known');
			const text = await jose.exportSPKI(pair.publicKey);
			assert.equal(
				await ask(await hs256({ sub: 'ann', iss: 'me', aud: 'sluice', exp: seconds() + 60 }, text)),
				'its algorithm or key is not known',
				'a public key is no secret',
			);
			client.close();
			await daemon.stop();
			assert.doesNotMatch(daemon.text(), new RegExp(good.slice(0, 40)), 'a token is in the log');
		});

	it('rules out of a claim decide for whoever has them; the name of the client is a claim of choice', async () => {
		const auth = {
			mode: 'jwt',
			jwt: { keys: [{ secret: SECRET }], name_claim: 'client', policy_claim: 'sluice', require_exp: false },
			policy: [{ who: ['ann'], paths: ['ann/**'], actions: ['all'] }],
			tokens: [{ name: 'ann', hash: hash('token-of-ann') }],
		};
		const daemon = await startSluice({ config: (config) => (config.auth = auth) });
		const client = connect('h2c', daemon.url);
		const put = async (name, token) => (await client.request('PUT', `/v1/stream/${name}`, { headers: bearer(token) })).status;
		const own = [{ paths: ['own/*'], actions: ['create', 'read'] }];
		assert.equal(await put('ann/1', await hs256({ client: 'ann' })), 201);
		assert.equal(await put('ann/2', 'token-of-ann'), 201, 'static tokens are good beside JWTs');
		assert.equal(await put('ann/3', await hs256({ client: 'bob', sub: 'ann' })), 403);
		assert.equal(await put('own/1', await hs256({ client: 'x', sluice: own })), 201);
		assert.equal(await put('ann/4', await hs256({ client: 'ann', sluice: own })), 403);
		assert.equal(await put('ann/5', await hs256({ client: 'ann', sluice: 'everything' })), 401);
		client.close();
		await daemon.stop();
	});
});

describe('live readers', { concurrency: 4 }, () => {
	const start = () =>
		startSluice({
			config: (config) => {
				config.auth = { mode: 'jwt', jwt: { keys: [{ secret: SECRET }], leeway: '0s' }, tokens: [{ name: 'a', hash: hash('a') }] };
				config.frontends[0].plugins[0].long_poll_timeout = '1h';
			},
		});
	for (const via of ['HTTP/1.1', 'h2c'])
		it(`${via}: when their token expires they end as their protocol ends, and the token is refused from then on`, async () => {
			const daemon = await start();
			const client = connect(via, daemon.url);
			const stream = await new Stream(client, 'x').create({ headers: bearer('a') });
			const token = await hs256({ sub: 'ann', exp: seconds() + 3 });
			const [sse, poll, lasting] = await Promise.all([
				stream.sse('now', undefined, bearer(token)),
				stream.get({ offset: 'now', live: 'long-poll' }, bearer(token)),
				stream.sse('now', undefined, bearer('a')),
			]);
			assert.equal(poll.status, 204, 'a long-poll ends without news');
			const events = await sse.rest();
			assert.ok(events.at(-1).control, 'an event stream ends behind a control event');
			const again = await stream.get({ offset: 'now' }, bearer(token));
			assert.equal(again.status, 401);
			assert.match(again.headers['www-authenticate'], /it has expired/);
			await lasting.upTo();
			await stream.append('later', { headers: bearer('a') });
			assert.match((await lasting.next()).data, /later/, 'others go on');
			lasting.close();
			client.close();
			await daemon.stop();
		});

	it('a reload without their token ends them, and lets them in no more; a broken file of keys changes nothing and is named', async () => {
		const file = join(temporary(), 'tokens');
		writeFileSync(file, `a ${hash('a')}\nb ${hash('b')}\n`);
		const daemon = await startSluice({
			config: (config) => (config.auth = { mode: 'tokens', tokens_file: file }),
			allow: [/config_error/, /reload_failed/],
		});
		const client = connect('HTTP/1.1', daemon.url);
		const stream = await new Stream(client, 'x').create({ headers: bearer('a') });
		const reader = await stream.sse('now', undefined, bearer('b'));
		await reader.upTo();
		writeFileSync(file, `a ${hash('a')}\nb not-a-hash\n`);
		assert.match(await daemon.reload(), /reload_failed/);
		assert.ok(daemon.lines.some((line) => line.includes(`${file}:2: expected "sha256:"`)), daemon.text());
		assert.equal((await stream.get({ offset: 'now' }, bearer('b'))).status, 200, 'the old tokens are good still');
		const check = await runSluiced(['-t', '-c', daemon.file]);
		assert.equal(check.code, 1);
		assert.match(check.err + check.out, new RegExp(`sluice.yaml:\\d+:\\d+: auth.tokens_file: ${file}:2: `));
		assert.equal((check.err + check.out).match(/:2: expected/g).length, 1, 'once, however many frontends there are');
		writeFileSync(file, `a ${hash('a')}\nc ${hash('c')}\n`);
		assert.match(await daemon.reload(), /reloaded/);
		await reader.rest();
		await until('the old workers to leave', () => daemon.workers().length === 2);
		client.close(); // its connection went with the old workers, which it may not have noticed yet
		const again = connect('HTTP/1.1', daemon.url);
		const same = new Stream(again, 'x');
		assert.equal((await same.get({ offset: 'now' }, bearer('b'))).status, 401);
		assert.equal((await same.get({ offset: 'now' }, bearer('c'))).status, 200);
		again.close();
		await daemon.stop();
	});
});

describe('plugins', { concurrency: 2 }, () => {
	let plugin;
	before(() => {
		plugin = join(temporary(), 'access.so');
		execFileSync('cc', ['-std=c11', '-Wall', '-Wextra', '-Werror', '-Wno-missing-field-initializers', `-I${join(TOP, 'include')}`,
			'-fPIC', '-fvisibility=hidden', '-shared', '-Wl,-z,defs', '-o', plugin, join(TOP, 'tests', 'scenario', 'access-plugin.c')]);
	});
	const start = (auth) =>
		startSluice({
			config: (config) => {
				config.auth = auth;
				config.frontends = [{ name: 'a', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin, mount: '/access', prefix: 'p' }] }];
			},
		});
	const JWT = {
		mode: 'jwt',
		jwt: { keys: [{ secret: SECRET }], leeway: '0s' },
		policy: [{ who: ['ann'], paths: ['p/mine/**', 'p/echo/*'], actions: ['all'] }],
	};
	const [KNOWN, ANYBODY, NOBODY, INVALID, EXPIRED] = [0, 1, 2, 3, 4];

	it('a route that decides itself is told who asks and why nobody does; tokens may come by the query where a route says so', async () => {
		const daemon = await start(JWT);
		const client = connect('h2c', daemon.url);
		const get = (path, headers) => client.request('GET', `/access${path}`, { headers });
		const ann = await hs256({ sub: 'ann', exp: seconds() + 60 });
		const expired = await hs256({ sub: 'ann', exp: seconds() - 1 });
		const who = async (query, headers) => (await get(`/who${query}`, headers)).json();
		assert.deepEqual(await who(`?token=${ann}`), {
			who: KNOWN, name: 'ann', sub: 'ann', expires: jose.decodeJwt(ann).exp * 1000, status: 0, may: 1,
		});
		assert.equal((await who('', bearer(ann))).who, KNOWN);
		assert.equal((await who('')).who, NOBODY);
		assert.equal((await who('?token=x')).who, INVALID);
		assert.equal((await who(`?token=${expired}`)).who, EXPIRED);
		assert.equal((await who(`?token=${ann}`, bearer('x'))).who, INVALID, 'the header comes first');
		assert.equal((await get(`/mine/x?token=${encodeURIComponent(ann)}`)).text, 'mine/x');
		assert.equal((await get('/mine/x?token=')).status, 401);
		assert.equal((await get(`/header/x?token=${ann}`)).status, 401, 'this route names no parameter');
		assert.equal((await get('/header/x', bearer(ann))).status, 403);
		const refused = await get('/refuse');
		assert.deepEqual([refused.status, refused.headers['www-authenticate']], [401, 'Bearer realm="sluice"']);
		assert.equal((await get('/refuse', bearer(ann))).status, 403);
		client.close();
		await daemon.stop();
		assert.doesNotMatch(daemon.text(), /token=|eyJ/, 'a token is in the log');
	});

	it('verifies what it likes: with the keys of the configuration, and with its own, which the rules do not know', async () => {
		const daemon = await start(JWT);
		const client = connect('HTTP/1.1', daemon.url);
		const verify = async (query) => (await client.request('GET', `/access/verify?${query}`)).json();
		const ann = await hs256({ sub: 'ann', exp: seconds() + 60 });
		const own = await hs256({ sub: 'ann' }, 'and-one-of-before-the-last-rotation');
		const pick = ({ who, name, status, may }) => ({ who, name, status, may });
		assert.deepEqual(pick(await verify(`jwt=${ann}`)), { who: KNOWN, name: 'ann', status: 0, may: 1 });
		assert.deepEqual(pick(await verify(`own=1&jwt=${own}`)), { who: KNOWN, name: 'ann', status: 0, may: 0 });
		assert.deepEqual(pick(await verify(`own=1&jwt=${ann}`)), { who: INVALID, name: 'anonymous', status: -4, may: 0 });
		assert.deepEqual(pick(await verify(`jwt=${own}`)), { who: INVALID, name: 'anonymous', status: -4, may: 0 });
		client.close();
		await daemon.stop();
	});

	it('mode none: everybody is anybody, with or without a token', async () => {
		const daemon = await start({ mode: 'none' });
		const client = connect('HTTP/1.1', daemon.url);
		for (const headers of [{}, bearer('x')]) {
			const answer = (await client.request('GET', '/access/who', { headers })).json();
			assert.deepEqual([answer.who, answer.name, answer.may], [ANYBODY, 'anonymous', 1]);
		}
		client.close();
		await daemon.stop();
	});

	it('WebSockets: refused with 401 and 403, let in by header or query, closed with 1008 when the token expires', async () => {
		const daemon = await start(JWT);
		const url = daemon.url.replace('http', 'ws');
		const open = (path, headers) => {
			const ws = new WebSocket(`${url}/access${path}`, { headers });
			ws.inbox = [];
			ws.on('message', (data) => ws.inbox.push(String(data)));
			ws.closed = new Promise((done) => ws.once('close', (code, reason) => done(`${code} ${reason}`)));
			ws.refused = new Promise((done) => ws.once('unexpected-response', (_, answer) => {
				done(`${answer.statusCode} ${answer.headers['www-authenticate']}`);
				ws.terminate();
			}));
			ws.on('error', () => {});
			return ws;
		};
		const ann = await hs256({ sub: 'ann', exp: seconds() + 60 });
		assert.match(await within('401', open('/echo/x').refused), /^401 Bearer realm=/);
		assert.match(await within('401', open('/echo/x?token=bad').refused), /^401 Bearer error="invalid_token"/);
		assert.match(await within('403', open('/echo/x', bearer(await hs256({ sub: 'bob', exp: seconds() + 60 }))).refused), /^403 Bearer error="insufficient_scope"/);
		const lasting = open(`/echo/x?token=${ann}`);
		await within('a greeting', once(lasting, 'message'));
		assert.deepEqual(lasting.inbox, ['ann']);
		const short = await hs256({ sub: 'ann', exp: seconds() + 3 });
		const [brief, own] = [open(`/echo/y?token=${short}`), open(`/own/y?token=${short}`)];
		await within('two handshakes', Promise.all([once(brief, 'open'), once(own, 'open')]));
		assert.equal(await within('the end of the token', brief.closed), '1008 the token has expired');
		own.send('still here');
		await within('an echo', once(own, 'message'));
		assert.equal(await within('4001', open('/own/x').closed), '4001 Unauthorized');
		lasting.send('so am I');
		await within('an echo', once(lasting, 'message'));
		lasting.close();
		own.close();
		await daemon.stop();
		assert.doesNotMatch(daemon.text(), /token=|eyJ/, 'a token is in the log');
	});
});

describe('limits of a client, WebSockets', () => {
	it('a WebSocket counts as long as it is there, and once', async () => {
		const plugin = join(temporary(), 'access.so');
		execFileSync('cc', ['-std=c11', `-I${join(TOP, 'include')}`, '-fPIC', '-fvisibility=hidden', '-shared', '-o', plugin,
			join(TOP, 'tests', 'scenario', 'access-plugin.c')]);
		const daemon = await startSluice({
			config: (config) => {
				config.limits = { client_connections: 1 };
				config.frontends = [{ name: 'a', listen: ['127.0.0.1:0'], workers: 1, plugins: [{ plugin, mount: '/access' }] }];
			},
		});
		const status = async () => {
			const client = connect('HTTP/1.1', daemon.url, { keepAlive: false });
			const answer = await client.request('GET', '/access/who');
			client.close();
			return answer.status;
		};
		const open = async () => {
			const ws = new WebSocket(`${daemon.url.replace('http', 'ws')}/access/echo/x`);
			await within('a greeting', once(ws, 'message'));
			return ws;
		};
		for (let round = 0; round < 3; round++) {
			const ws = await open();
			assert.equal(await status(), 429);
			ws.close();
			await within('the close', once(ws, 'close'));
			await until('room', async () => (await status()) === 200);
		}
		await daemon.stop();
	});
});

describe('limits of a client', { concurrency: 2 }, () => {
	const start = (limits, auth) =>
		startSluice({
			config: (config) => {
				config.limits = limits;
				config.frontends[0].workers = 1;
				if (auth) config.auth = auth;
			},
		});
	const tokens = { mode: 'tokens', tokens: ['a', 'b'].map((name) => ({ name, hash: hash(name) })) };

	for (const via of ['HTTP/1.1', 'h2c'])
		it(`${via}: a flood is answered 429 with Retry-After, and those who wait as told get on; others are not held up`, async () => {
			const daemon = await start({ client_requests: 1, client_burst: 20 }, tokens);
			const client = connect(via, daemon.url);
			const ask = (token) => client.request('GET', '/v1/stream/x', { headers: bearer(token) });
			const answers = await Promise.all(Array.from({ length: 200 }, () => ask('a')));
			const limited = answers.filter(({ status }) => status === 429);
			assert.ok(answers.every(({ status }) => [404, 429].includes(status)));
			assert.ok(answers.length - limited.length >= 20, 'a burst is let through');
			assert.ok(limited.length > 0, 'the flood is not');
			assert.ok(limited.every(({ headers }) => Number(headers['retry-after']) >= 1));
			assert.equal(limited[0].text, 'There are too many requests of yours.\n');
			assert.equal((await ask('b')).status, 404, 'another client on the same address');
			await until('room', async () => (await ask('a')).status === 404, { step: 300 });
			client.close();
			await daemon.stop();
		});

	it('whoever has no good token is limited by address', async () => {
		const daemon = await start({ client_requests: 1, client_burst: 10 }, tokens);
		const client = connect('HTTP/1.1', daemon.url);
		const answers = await Promise.all(Array.from({ length: 50 }, (_, i) =>
			client.request('GET', '/v1/stream/x', { headers: bearer(`guess-${i}`) })));
		const count = (status) => answers.filter((answer) => answer.status === status).length;
		assert.ok(count(401) >= 10 && count(429) > 0 && count(401) + count(429) === 50, `${count(401)} and ${count(429)}`);
		assert.equal((await client.request('GET', '/v1/stream/x', { headers: bearer('a') })).status, 404, 'a known one is not held up');
		client.close();
		await daemon.stop();
	});

	it('connections beyond the limit of an address are told so and closed, and room comes back', async () => {
		const daemon = await start({ client_connections: 3 });
		const { hostname, port } = new URL(daemon.url);
		const open = async () => {
			const socket = dial(Number(port), hostname);
			socket.text = '';
			socket.setEncoding('latin1').on('data', (data) => (socket.text += data));
			socket.on('error', () => {});
			socket.ended = new Promise((done) => socket.once('close', done));
			await once(socket, 'connect');
			socket.write('GET /v1/stream/x HTTP/1.1\r\nHost: x\r\n\r\n');
			return socket;
		};
		const kept = [];
		for (let i = 0; i < 3; i++) {
			kept.push(await open());
			await until('an answer', () => kept[i].text.includes('404'));
		}
		const told = await open();
		await within('the end', told.ended);
		assert.match(told.text, /^HTTP\/1.1 429 .*[^]*retry-after: 1[^]*There are too many connections of yours/i);
		kept.shift().destroy();
		await until('room', async () => {
			const socket = await open();
			await until('an answer or the end', () => socket.text.includes('\r\n\r\n') || socket.destroyed);
			const good = socket.text.includes('404');
			if (good) kept.push(socket);
			else socket.destroy();
			return good;
		});
		kept.forEach((socket) => socket.destroy());
		await daemon.stop();
	});
});

describe('the configuration', { concurrency: 2 }, () => {
	it('--print-config masks secrets', async () => {
		const file = join(temporary(), 'sluice.yaml');
		writeFileSync(file, toYaml({ ...baseConfig(), auth: { mode: 'jwt', jwt: { keys: [{ secret: SECRET }] } } }));
		const result = await runSluiced(['--print-config', '-c', file]);
		assert.equal(result.code, 0, result.err);
		assert.match(result.out, /secret: "\*+"/);
		assert.doesNotMatch(result.out + result.err, new RegExp(SECRET));
	});

	it('files that decide who may do what: one that everybody may write is refused, a secret that everybody can read is warned of', async () => {
		const folder = temporary();
		const write = (name, text, mode) => {
			writeFileSync(join(folder, name), text);
			chmodSync(join(folder, name), mode);
			return join(folder, name);
		};
		const check = async (auth) => {
			const result = await runSluiced(['-t', '-c', write('sluice.yaml', toYaml({ ...baseConfig(), auth }), 0o600)]);
			return `${result.code} ${result.err}${result.out}`;
		};
		const oct = JSON.stringify({ keys: [{ kty: 'oct', k: Buffer.from(SECRET).toString('base64url') }] });
		const pair = await jose.generateKeyPair('ES256', { extractable: true });
		const files = [
			['tokens_file', 'tokens', `a ${hash('a')}\n`, (file) => ({ mode: 'tokens', tokens_file: file }), false],
			['jwt\\.keys\\[0\\]\\.file', 'public.pem', await jose.exportSPKI(pair.publicKey), (file) => ({ mode: 'jwt', jwt: { keys: [{ file }] } }), false],
			['jwt\\.keys\\[0\\]\\.file', 'secret', SECRET, (file) => ({ mode: 'jwt', jwt: { keys: [{ file, alg: 'HS256' }] } }), true],
			['jwt\\.jwks', 'jwks.json', oct, (file) => ({ mode: 'jwt', jwt: { jwks: file } }), true],
		];
		for (const [key, name, text, auth, secret] of files) {
			assert.match(await check(auth(write(name, text, 0o602))), new RegExp(`^1 \\S+:\\d+:\\d+: auth\\.${key}: \\S+${name} may be written by everybody`));
			assert.match(await check(auth(write(name, text, 0o660))), /^0 \S+: ok\n$/, name);
			const readable = await check(auth(write(name, text, 0o644)));
			assert.match(readable, secret ? new RegExp(`^0 .*key_readable file=\\S+${name} mode=0644 action=`) : /^0 \S+: ok\n$/, name);
		}
	});

	it('secrets in a configuration that everybody can read are warned of, and a configuration that everybody may write', async () => {
		const file = join(temporary(), 'sluice.yaml');
		const check = async (config, mode) => {
			writeFileSync(file, toYaml({ ...baseConfig(), ...config }));
			chmodSync(file, mode);
			const result = await runSluiced(['-t', '-c', file]);
			return `${result.code} ${result.err}${result.out}`;
		};
		const sync = { name: 'sync', listen: ['127.0.0.1:0'], plugins: [{ plugin: 'sds', mount: '/', secrets: [SECRET] }] };
		for (const config of [{ auth: { mode: 'jwt', jwt: { keys: [{ secret: SECRET }] } } }, { frontends: [...baseConfig().frontends, sync] }]) {
			assert.match(await check(config, 0o644), /^0 .*config_readable file=\S+ mode=0644 action="every user can read the secrets in it: chmod o-rwx [^]*ok\n$/);
			assert.match(await check(config, 0o660), /^0 \S+: ok\n$/);
		}
		assert.match(await check({}, 0o664), /^0 \S+: ok\n$/, 'without secrets');
		assert.match(await check({}, 0o666), /^0 .*config_writable file=\S+ mode=0666 action="every user can change what is run: chmod o-w [^]*ok\n$/);
		if (process.getuid() === 0) {
			chmodSync(file, 0o600);
			chownSync(file, 12345, 0);
			const daemon = await startSluice({ args: ['-c', file] });
			await daemon.waitLine(/config_owner file=\S+ owner=12345 action="that user can change what is run; /);
			await daemon.stop();
		}
	});

	it('--new-token makes a token and its line', async () => {
		const result = await runSluiced(['--new-token', 'ci']);
		assert.equal(result.code, 0, result.err);
		const token = /^ {2}([0-9a-f]{64})$/m.exec(result.out)[1];
		assert.ok(result.out.includes(`{ name: ci, hash: "${hash(token)}" }`), result.out);
		assert.equal((await runSluiced(['--new-token', 'anonymous'])).code, 2);
	});
});
