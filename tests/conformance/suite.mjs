// The official suite against CONFORMANCE_TEST_URL, without the optional subscriptions.
import { runConformanceTests } from '@durable-streams/server-conformance-tests';

runConformanceTests({ baseUrl: process.env.CONFORMANCE_TEST_URL, subscriptions: false });
