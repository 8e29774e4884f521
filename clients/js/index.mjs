export { startDevServer } from './server.mjs';
export { EphemeralChannelStore } from './channels.mjs';
