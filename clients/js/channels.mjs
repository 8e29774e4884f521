// The ephemeral channels of a sluice, under keys of one's own choice. Every call is a request to the presence plugin.

const trim = (url) => String(url).replace(/\/+$/, '');

// Events as they come, {type, data}; comments are skipped.
async function* eventsOf(stream) {
	const decoder = new TextDecoder();
	let rest = '';
	let event = { type: 'message', data: [] };
	for await (const chunk of stream) {
		const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n');
		rest = lines.pop();
		for (const line of lines) {
			const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
			if (line === '') {
				yield { type: event.type, data: event.data.join('\n') };
				event = { type: 'message', data: [] };
			} else if (field === 'event') event.type = value;
			else if (field === 'data') event.data.push(value);
		}
	}
}

const bytesOf = (base64) => new Uint8Array(Buffer.from(base64, 'base64'));

export class EphemeralChannelStore {
	#url;
	#headers;
	#open = new Set();

	constructor(target, { token } = {}) {
		this.#url = trim(target?.presenceUrl ?? target);
		this.#headers = token ? { authorization: `Bearer ${token}` } : {};
	}

	#channel(key) {
		if (typeof key !== 'string' || key === '') throw new TypeError('a key is a text that is not empty');
		return `${this.#url}/${key.split('/').map(encodeURIComponent).join('/')}`;
	}

	// The answer; rejects with its error text, its code and its status when it is none of success.
	async #fetch(url, init = {}) {
		const answer = await fetch(url, { ...init, headers: { ...this.#headers, ...init.headers } });
		if (answer.ok) return answer;
		const text = await answer.text();
		let error;
		try {
			error = JSON.parse(text).error;
		} catch {
			error = text.trim();
		}
		throw Object.assign(new Error(error?.message ?? error ?? `${answer.status}`), {
			status: answer.status,
			code: error?.code,
		});
	}

	async apply(key, update) {
		await this.#fetch(this.#channel(key), { method: 'POST', body: update });
	}

	async bootstrap(key) {
		return new Uint8Array(await (await this.#fetch(this.#channel(key))).arrayBuffer());
	}

	subscribe(key, listener) {
		const control = new AbortController();
		const leave = () => {
			this.#open.delete(leave);
			control.abort();
		};
		let began, failed;
		leave.ready = new Promise((done, fail) => ([began, failed] = [done, fail]));
		leave.ready.catch(() => {}); // the listener hears of it as well
		this.#open.add(leave);
		this.#follow(this.#channel(key), control.signal, listener, began).then(
			(error) => {
				failed(error ?? new Error('the channel was ended'));
				if (control.signal.aborted) return;
				leave();
				listener(error ? { type: 'terminate', error } : { type: 'terminate' });
			},
		);
		return leave;
	}

	// Ends with an error, or with nothing when the server ended it.
	async #follow(url, signal, listener, began) {
		try {
			const answer = await this.#fetch(`${url}?live=sse`, { signal });
			for await (const event of eventsOf(answer.body)) {
				if (signal.aborted) return undefined;
				if (event.type === 'bootstrap') began(bytesOf(event.data));
				else if (event.type === 'data') listener({ type: 'data', data: bytesOf(event.data) });
			}
			return undefined;
		} catch (error) {
			return error;
		}
	}

	async deleteByPrefix(prefix) {
		await this.#fetch(`${this.#url}?prefix=${encodeURIComponent(prefix)}`, { method: 'DELETE' });
	}

	async terminateByPrefix(prefix) {
		await this.#fetch(`${this.#url}?prefix=${encodeURIComponent(prefix)}&terminate=true`, { method: 'DELETE' });
	}

	close() {
		for (const leave of [...this.#open]) leave();
	}
}
