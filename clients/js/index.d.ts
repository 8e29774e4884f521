export interface DevServerOptions {
	/** Address to listen on; 127.0.0.1 by default. */
	host?: string;
	/** 8787 by default; 0 takes a free one. */
	port?: number;
	/** Data directory, made when it is missing and kept; left out, a temporary one is used and removed. */
	dbPath?: string;
	/** What is spoken. h2c (default): HTTP/2 and HTTP/1.1 on one port; http1: HTTP/1.1 only. */
	protocol?: 'h2c' | 'http1';
	/** The program; by default SLUICED of the environment, PATH, the usual places, a build tree around this module. */
	sluiced?: string;
	/** Serve other machines without access control. */
	insecure?: boolean;
}

export interface DevServer {
	/** http://host:port, without a path; buckets are below /ds. */
	baseUrl: string;
	/** Where ephemeral channels that belong to no stream are, for EphemeralChannelStore. */
	presenceUrl: string;
	pid: number;
	/** How the server ended; its last words when that was not asked for. */
	exited: Promise<{ code: number | null; signal: string | null; log: string }>;
	/** Drains and waits for the end. */
	close(): Promise<void>;
}

export function startDevServer(options?: DevServerOptions): Promise<DevServer>;

export type ChannelEvent = { type: 'data'; data: Uint8Array } | { type: 'terminate'; error?: Error };

export interface ChannelSubscription {
	/** Leaves; no event follows. */
	(): void;
	/** The state when the subscription began; every update is in it or comes as an event. */
	ready: Promise<Uint8Array>;
}

export class EphemeralChannelStore {
	/** A server of startDevServer(), or the URL of presence (http://127.0.0.1:4439/presence). */
	constructor(target: DevServer | string | URL, options?: { token?: string });
	/** Merges an update; rejects, and nothing has changed, when it is malformed. */
	apply(key: string, update: Uint8Array): Promise<void>;
	/** The merged state as one update; empty when nobody has written. */
	bootstrap(key: string): Promise<Uint8Array>;
	subscribe(key: string, listener: (event: ChannelEvent) => void): ChannelSubscription;
	/** Drops the state of every channel whose key begins with it; subscribers stay. */
	deleteByPrefix(prefix: string): Promise<void>;
	/** The same, and ends the subscriptions. */
	terminateByPrefix(prefix: string): Promise<void>;
	/** Ends this object's own subscriptions. */
	close(): void;
}
