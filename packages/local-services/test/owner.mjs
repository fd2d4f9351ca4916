// Starts servers in the directory given, tells its parent their process ids, and waits to be ended.
import { startLocalServices } from '@sluice/local-services';

const services = await startLocalServices({ directory: process.argv[2] });
const pids = Object.values(services.servers).map(({ pid }) => pid);
process.on('message', () => process.exit(3));
process.send(pids.filter((pid) => pid !== undefined));
