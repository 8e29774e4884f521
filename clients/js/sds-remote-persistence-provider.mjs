// SDS_RemotePersistenceProvider: the persistence provider of SDS, kept by a sluice server (plugin sds) instead of a local file. Needs
// nothing but fetch(); runs in Node 18 and later and in browsers whose origin the server allows.
//
//   const Provider = new SDS_RemotePersistenceProvider('https://host', 'my-store', { Token, Replica: 'desk' })
//
// A replica is one engine that persists: it has a snapshot and patches of its own, while values are shared by all replicas of the store.
// Requests that fail for want of a connection, and those that the server asks to repeat, are repeated; a value is counted once all the
// same, because each request about one has an id.

const RETRIES = 8;
const FIRST_DELAY = 100;
const LONGEST_DELAY = 5000;

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

export class SDS_RemotePersistenceProvider {
	#base;
	#query;
	#token;
	#fetch;
	#appends = Promise.resolve();
	#closed = false;

	// baseURL: ws://, wss://, http:// or https://. Token: a JWT for this store, or a function that returns one, perhaps later.
	constructor(baseURL, storeId, { Token, Replica = '', fetch: request = globalThis.fetch } = {}) {
		const base = String(baseURL).replace(/\/+$/, '').replace(/^ws(s?):/, 'http$1:');
		if (!/^https?:/.test(base)) throw new TypeError('the base is a ws, wss, http or https URL');
		if (!storeId) throw new TypeError('the store has an id');
		this.#base = `${base}/api/persistence/${encodeURIComponent(storeId)}`;
		this.#query = Replica ? `replica=${encodeURIComponent(Replica)}` : '';
		this.#token = Token;
		this.#fetch = request;
	}

	#url(path, query = '') {
		const all = [query, this.#query].filter(Boolean).join('&');
		return `${this.#base}/${path}${all ? `?${all}` : ''}`;
	}

	async #ask(method, url, { body, once = false } = {}) {
		if (this.#closed) throw new Error('the provider is closed');
		const headers = once ? { 'sds-request-id': crypto.randomUUID() } : {};
		const token = typeof this.#token === 'function' ? await this.#token() : this.#token;
		if (token) headers.authorization = `Bearer ${token}`;
		let delay = FIRST_DELAY;
		for (let tries = 0; ; tries++) {
			let answer, failure;
			try {
				answer = await this.#fetch(url, { method, headers, body });
				// The body belongs to the attempt: a connection may be lost in the middle of it.
				const bytes = new Uint8Array(await answer.arrayBuffer());
				if (answer.status !== 503) return { status: answer.status, headers: answer.headers, bytes };
				failure = new Error('the server is not available');
			} catch (error) {
				failure = error;
			}
			if (tries === RETRIES || this.#closed) throw failure;
			await pause(delay);
			delay = Math.min(2 * delay, LONGEST_DELAY);
		}
	}

	async #done(method, url, options) {
		const answer = await this.#ask(method, url, options);
		if (answer.status >= 300) throw refusal(answer);
		return answer;
	}

	// The bytes, or undefined where there is nothing.
	async #load(url) {
		const answer = await this.#ask('GET', url);
		if (answer.status === 404) return undefined;
		if (answer.status !== 200) throw refusal(answer);
		return answer.bytes;
	}

	loadSnapshot() {
		return this.#load(this.#url('snapshot'));
	}

	async saveSnapshot(data, clock = 0) {
		await this.#done('PUT', this.#url('snapshot', `clock=${clock}`), { body: data });
	}

	async loadPatchesSince(clock) {
		const bytes = await this.#load(this.#url('patches', `since=${clock}`));
		const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
		const patches = [];
		for (let at = 0; at < bytes.length;) {
			const length = view.getUint32(at + 8);
			patches.push(bytes.slice(at + 12, at + 12 + length));
			at += 12 + length;
		}
		return patches;
	}

	// In the order of the calls, whatever the connection does.
	appendPatch(data, clock) {
		const body = Uint8Array.from(data);
		const turn = this.#appends.then(() => this.#done('PUT', this.#url(`patches/${clock}`), { body }));
		this.#appends = turn.catch(() => {});
		return turn.then(() => {});
	}

	async prunePatches(clock) {
		await this.#done('DELETE', this.#url('patches', `before=${clock}`));
	}

	loadValue(id) {
		return this.#load(this.#url(`values/${encodeURIComponent(id)}`));
	}

	async saveValue(id, data) {
		await this.#done('PUT', this.#url(`values/${encodeURIComponent(id)}`), { body: data, once: true });
	}

	async releaseValue(id) {
		await this.#done('DELETE', this.#url(`values/${encodeURIComponent(id)}`), { once: true });
	}

	// What was asked for before is finished; what is stored stays.
	async close() {
		await this.#appends;
		this.#closed = true;
	}
}

function refusal(answer) {
	let text = `HTTP ${answer.status}`;
	try {
		text = JSON.parse(new TextDecoder().decode(answer.bytes)).error ?? text;
	} catch {
		// not one of ours
	}
	return Object.assign(new Error(text), { status: answer.status });
}
