// Preloaded into a server whose memory is measured (`node --import`): SIGUSR2 collects its garbage as a debugger does,
// which also gives back the room for what is young (`gc()` keeps up to 48 MB of it), and says so on stderr.
// @ts-check
import { Session } from 'node:inspector';

const session = new Session();
session.connect();
process.on('SIGUSR2', () => {
  // The first one finds what only finalizers hold; what they let go is found by the second.
  session.post('HeapProfiler.collectGarbage', () => {
    setImmediate(() => session.post('HeapProfiler.collectGarbage', () => process.stderr.write(`collected ${JSON.stringify(process.memoryUsage())}\n`)));
  });
});
