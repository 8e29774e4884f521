// The Node reference server as a program, for `./dev bench`: file-backed when given a directory, else in memory.

import { DurableStreamTestServer } from '@durable-streams/server';

const dataDir = process.argv[2];
const server = new DurableStreamTestServer({ port: 0, ...(dataDir ? { dataDir } : {}) });
console.log(`listen=${await server.start()}`);
process.on('SIGTERM', () => process.exit(0));
