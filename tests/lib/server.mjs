// The server under test: sluice, or the reference when SLUICE_TEST_SERVER=reference.

import { startSluice } from './sluice.mjs';

export const onReference = process.env.SLUICE_TEST_SERVER === 'reference';

export async function startServer(options) {
	return onReference ? (await import('./reference.mjs')).startReference() : startSluice(options);
}
