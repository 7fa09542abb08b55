// `npm run dev`, with a stub of the program: the script is copied into a project of its own.

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdirSync, readFileSync, readdirSync, symlinkSync, writeFileSync } from 'node:fs';
import net, { type AddressInfo } from 'node:net';
import { join } from 'node:path';
import { test, type TestContext } from 'node:test';
import { alive, group, repo, tempDir, until } from './support/files.ts';

const posix = { skip: process.platform === 'win32' };

/** Listens on PORT, has a child in a process group of its own, and takes its time to end. */
const stub = (version: string, { onSigterm = 'end()', extra = '' } = {}): string => `
import { spawn } from 'node:child_process';
import { appendFileSync } from 'node:fs';
import { createServer } from 'node:net';
const child = spawn(process.execPath, ['-e', 'setInterval(() => {}, 1000)'], { detached: true, stdio: 'ignore' });
const log = (what: string): void => appendFileSync('log', what + ' ${version} ' + process.pid + ' ' + child.pid + '\\n');
const server = createServer().listen(Number(process.env['PORT']), '127.0.0.1', () => log('listening'));
const end = (): void => {
  log('ending');
  setTimeout(() => {
    child.once('exit', () => server.close(() => log('ended')));
    child.kill();
  }, 300);
};
process.on('SIGTERM', () => { ${onSigterm} });
${extra}
`;

test('a change of the sources restarts the program, once the old one has ended and left its port', posix, async (t) => {
  const dev = await project(t, stub('one'));
  const [first] = await dev.logged('listening', 1);

  dev.write(stub('two'));
  await dev.logged('listening', 2);
  const steps = dev.log().map(({ what, version }) => `${what} ${version}`);
  assert.deepEqual(steps, ['listening one', 'ending one', 'ended one', 'listening two']);
  assert.equal(alive(first!.pid), false);
  assert.equal(alive(first!.child), false);
});

test('a change that does not compile is shown and leaves the program alone; one that changes nothing does, too', posix, async (t) => {
  const dev = await project(t, stub('one'));
  await dev.logged('listening', 1);

  dev.write(stub('two') + '\nexport const wrong: number = "text";\n');
  await until(() => dev.output().includes('TS2322') && dev.output().includes('not compiled; the running program stays'), () => `the compiler's error in ${dev.output()}`);
  assert.match(readFileSync(join(dev.dir, 'dist', 'index.js'), 'utf8'), / one /);
  dev.write(stub('one') + '\nexport type Text = string;\n'); // types leave no trace in what runs
  await until(() => dev.output().includes('the build is the same'), () => `the news of a build without a difference in ${dev.output()}`);
  assert.equal(dev.log().length, 1);
  dev.write(stub('three'));
  await dev.logged('listening', 2);
  assert.deepEqual(dev.log().map(({ what, version }) => `${what} ${version}`), ['listening one', 'ending one', 'ended one', 'listening three']);
});

test('a program that ended by itself is started again by the next change, even by one without a difference', posix, async (t) => {
  const source = stub('one', { extra: 'child.kill(); process.exit(7);' });
  const dev = await project(t, source);
  const ended = (times: number) =>
    until(() => dev.output().split('the program ended by itself (code 7)').length === times + 1, () => `${times} ends of the program in ${dev.output()}`);
  await ended(1);
  dev.write(source);
  await ended(2);
  dev.write(stub('two'));
  await dev.logged('listening', 1);
});

for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) {
  test(`one ${signal} ends the program and its children, and the exit code is 0`, posix, async (t) => {
    const dev = await project(t, stub('one'));
    const [it] = await dev.logged('listening', 1);
    dev.signal(signal);
    assert.deepEqual(await dev.exited, [0, null]);
    assert.deepEqual(dev.log().map(({ what }) => what), ['listening', 'ending', 'ended']);
    assert.deepEqual([it!.pid, it!.child, dev.pid].filter(alive), []);
  });
}

test('the same signal twice within a second, as npm and a terminal deliver one Ctrl-C, is one', posix, async (t) => {
  const dev = await project(t, stub('one'));
  await dev.logged('listening', 1);
  const since = performance.now();
  dev.signal('SIGINT');
  await dev.logged('ending', 1);
  dev.signal('SIGINT');
  assert.deepEqual(await dev.exited, [0, null]);
  // On a machine that took longer they were two.
  if (performance.now() - since < 1_000) assert.deepEqual(dev.log().map(({ what }) => what), ['listening', 'ending', 'ended']);
});

test('a signal during a restart is not passed on a second time, and nothing new is started', posix, async (t) => {
  const dev = await project(t, stub('one'));
  await dev.logged('listening', 1);
  dev.write(stub('two'));
  await dev.logged('ending', 1);
  dev.signal('SIGTERM');
  assert.deepEqual(await dev.exited, [0, null]);
  assert.deepEqual(dev.log().map(({ what }) => what), ['listening', 'ending', 'ended']);
  assert.equal(dev.output().split('dev: started').length, 2);
});

test('one signal ends a compiler that is at work, with the processes behind it', posix, async (t) => {
  // The real one is a launcher with the compiler behind it; this one never gets done, and it does not listen to SIGTERM.
  const compiler = `
    import { spawn } from 'node:child_process';
    import { writeFileSync } from 'node:fs';
    process.on('SIGTERM', () => {});
    const inner = spawn(process.execPath, ['-e', 'process.on("SIGTERM", () => {}); setInterval(() => {}, 1000)'], { stdio: 'ignore' });
    writeFileSync('compiler', process.pid + ' ' + inner.pid + ' .');
  `;
  const dev = await project(t, stub('one'), compiler);
  const pids = await until(() => {
    const [launcher, inner, end] = readFileSync(join(dev.dir, 'compiler'), 'utf8').split(' ');
    return end === '.' && [Number(launcher), Number(inner)];
  }, () => `the compiler's processes, ${dev.output()}`);
  t.after(() => pids.filter(alive).forEach((pid) => process.kill(pid, 'SIGKILL')));
  assert.deepEqual(pids.filter(alive), pids);
  dev.signal('SIGTERM');
  assert.deepEqual(await dev.exited, [0, null]);
  await until(() => pids.filter(alive).length === 0, 'the compiler is gone');
});

test('a second signal, a second after the first, reaches the program; one that ignores it is killed', posix, async (t) => {
  const dev = await project(t, stub('one', { onSigterm: 'log("ignored"); void end;' }));
  const [it] = await dev.logged('listening', 1);
  t.after(() => alive(it!.child) && process.kill(it!.child, 'SIGKILL'));
  dev.signal('SIGINT');
  await dev.logged('ignored', 1);
  const since = performance.now();
  await until(() => performance.now() - since > 1_000, 'a second passed');
  assert.equal(alive(it!.pid), true);
  dev.signal('SIGINT');
  assert.deepEqual(await dev.exited, [1, null]);
  assert.equal(dev.log().filter(({ what }) => what === 'ignored').length, 2);
  await until(() => !alive(it!.pid), 'the program is gone');
});

interface Line {
  readonly what: string;
  readonly version: string;
  readonly pid: number;
  readonly child: number;
}

async function project(t: TestContext, source: string, compiler?: string) {
  const dir = tempDir(t);
  for (const file of ['scripts/dev.mjs', 'package.json', 'tsconfig.json']) cpSync(join(repo, file), join(dir, file));
  if (compiler === undefined) symlinkSync(join(repo, 'node_modules'), join(dir, 'node_modules'));
  else {
    const bin = join(dir, 'node_modules', 'typescript', 'bin');
    mkdirSync(bin, { recursive: true });
    writeFileSync(join(bin, '..', 'package.json'), '{"type":"module"}');
    writeFileSync(join(bin, 'tsc'), compiler);
  }
  mkdirSync(join(dir, 'src'));
  const write = (text: string): void => writeFileSync(join(dir, 'src', 'index.ts'), text);
  write(source);

  const { NODE_V8_COVERAGE: _, ...env } = process.env; // what runs in here is a stub
  const child = spawn(process.execPath, ['scripts/dev.mjs'], {
    cwd: dir,
    env: { ...env, PORT: String(await freePort()) },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => (output += chunk));
  const exited = once(child, 'exit');
  const log = (): Line[] => {
    if (!readdirSync(dir).includes('log')) return [];
    return readFileSync(join(dir, 'log'), 'utf8').split('\n').slice(0, -1).map((line) => {
      const [what = '', version = '', pid, child] = line.split(' ');
      return { what, version, pid: Number(pid), child: Number(child) };
    });
  };
  t.after(async () => {
    child.kill();
    const late = setTimeout(() => child.kill('SIGKILL'), 5_000);
    await exited;
    clearTimeout(late);
    // Whatever a failure left: the programs are in groups of their own, and so are their children.
    for (const line of log()) for (const pid of [line.pid, line.child]) for (const one of group(pid)) process.kill(one, 'SIGKILL');
  });

  return {
    dir,
    pid: child.pid!,
    exited,
    write,
    log,
    output: () => output,
    signal: (signal: NodeJS.Signals) => void child.kill(signal),
    /** Waits until the program has said `what` so many times, and returns these lines. */
    logged: (what: string, times: number) =>
      until(
        () => {
          const lines = log().filter((line) => line.what === what);
          return lines.length >= times && lines;
        },
        () => `"${what}" ${times} times in ${JSON.stringify(log())}\n${output}`,
      ),
  };
}

async function freePort(): Promise<number> {
  const server = net.createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}
