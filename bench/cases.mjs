// What `./dev bench` measures: one row a case. `load` are the arguments of bench/load; `rate`, `p50` and `p99` say what is compared with the
// file-backed reference and by which factor sluice has to be better; `memory` the same with the reference's memory mode.
// small: arguments for the reference where the full case would take it minutes.

export const cases = [
	{ name: 'append, 1 connection', load: 'append', p50: 3.5 },
	{ name: 'append, 64 connections, one stream', load: 'append connections=64', rate: 40, memory: 1, p99: 20 },
	{ name: 'append, 64 connections, 64 streams', load: 'append connections=64 streams=64', rate: 15 },
	{ name: 'append, 256 connections, one stream', load: 'append connections=256' },
	{ name: 'append, 256 connections, 64 streams', load: 'append connections=256 streams=64' },
	{ name: 'append, 16 x 16 pipelined, one stream', load: 'append connections=16 pipeline=16', rate: 50 },
	{ name: 'JSON batches of 100, 16 connections', load: 'append connections=16 batch=100', rate: 4 },
	{ name: 'append 64 KiB, 16 connections', load: 'append connections=16 streams=16 bytes=65536', rate: 2 },
	{ name: 'append 1 MiB, 4 connections', load: 'append connections=4 streams=4 bytes=1048576', rate: 1 },
	{ name: 'catch-up, 2 MB of small JSON', load: 'read connections=4 streams=4 batch=1 bytes=100 total=500000', rate: 5 },
	{ name: 'catch-up, 32 MiB of 1 MiB messages', load: 'read connections=4 streams=4 bytes=1048576 total=8388608', rate: 2.5 },
	{ name: 'read 10 KB streams, 64 connections', load: 'read connections=64 streams=64 bytes=1000 total=10000', rate: 10 },
	{ name: 'SSE, 100 subscribers, sustained', load: 'fanout subscribers=100 connections=4', rate: 150, memory: 5 },
	{ name: 'SSE, 1,000 subscribers, sustained', load: 'fanout subscribers=1000 connections=4' },
	{ name: 'SSE, 100 subscribers, 50 appends/s', load: 'fanout subscribers=100 rate=50' },
	{ name: 'SSE, 1,000 subscribers, 10 appends/s', load: 'fanout subscribers=1000 rate=10' },
	{ name: 'SSE, 1,000 streams with one each', load: 'fanout subscribers=1000 streams=1000 connections=16' },
	{ name: 'long-poll, 1 pair', load: 'poll' },
	{ name: 'long-poll, 64 pairs', load: 'poll connections=64', rate: 15 },
	{ name: 'readers of 10 KB while 32 write', load: 'mixed connections=32 subscribers=8 streams=8 bytes=1000 total=10000', p99: 8 },
	{ name: '10,000 idle SSE connections', kind: 'idle', load: 'idle sse=1 connections=10000', wake: 25, idle: 4096 },
	{ name: '10,000 idle long-polls', kind: 'idle', load: 'idle connections=10000', wake: 25, idle: 4096 },
	{ name: '100,000 streams', kind: 'many', load: 'many streams=100000', small: 'many streams=4000', cold: 400, ready: 100 },
	{ name: 'presence, 1,000 subscribers, 200 updates/s', kind: 'presence', only: ['sluice'], load: 'presence subscribers=1000 rate=200 connections=4' },
	{ name: 'SDS, 200 clients on one store, 4 write', kind: 'sds', server: 'sds', load: 'sds clients=200 writers=4', only: ['sluice'] },
	{ name: 'SDS, 2,000 idle clients', kind: 'sds', server: 'sds', load: 'sds idle=2000', only: ['sluice'], idle: 16384 },
	{ name: 'HTTP/2 appends by h2load', kind: 'h2', only: ['sluice'], h2: 2 },
];
