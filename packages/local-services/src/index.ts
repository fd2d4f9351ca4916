export { type LocalServicesOptions, startLocalServices } from './local-services.js';
export { findFreePorts } from './ports.js';
export { findPromtool, type Promtool } from './promtool.js';
export type { LocalServer, LocalServices, Report, ReportLine, ServerName, ServerSource } from './server.js';
export { createTestDatabase, type TestDatabase } from './test-database.js';
export { testServices, type TestServices, uniqueKeyPrefix } from './test-services.js';
export { startTraceReceiver, type ReceivedSpan, type TraceReceiver } from './trace-receiver.js';
export { createVirtualHost, type VirtualHost, type VirtualHostOptions } from './virtual-host.js';
