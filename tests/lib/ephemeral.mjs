// The real EphemeralStore for tests. Its timer keeps a program alive for as long as the store has entries, so every store is
// destroyed when the tests of its file are over.

import { after } from 'node:test';
import { EphemeralStore } from 'loro-crdt';

const stores = [];

after(() => {
	for (const store of stores) store.destroy();
});

export function ephemeralStore(timeout) {
	const store = new EphemeralStore(timeout);
	stores.push(store);
	return store;
}
