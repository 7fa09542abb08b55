// Preloaded into a server whose memory is measured (`node --expose-gc --import`): SIGUSR2 collects its garbage and says
// on stderr what is left.
// @ts-check
process.on('SIGUSR2', () => {
  // The first one finds what only finalizers hold; what they let go is found by the second.
  globalThis.gc?.();
  setImmediate(() => {
    globalThis.gc?.();
    process.stderr.write(`collected ${JSON.stringify(process.memoryUsage())}\n`);
  });
});
