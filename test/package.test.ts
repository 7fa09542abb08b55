// What is published: built, packed and installed as npm does it, without a registry, and then used from outside.

import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, readFileSync, readdirSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { before, test } from 'node:test';
import { IMPLEMENTATION } from '../src/proxy.ts';
import { fixture, repo, tempDir } from './support/files.ts';
import { request } from './support/http.ts';
import { needed, start } from './support/program.ts';

const manifest = JSON.parse(readFileSync(join(repo, 'package.json'), 'utf8')) as Record<string, any>;
const config = { mcpServers: { fs: { command: process.execPath, args: [fixture('server.mjs')] } } };

test('there are no dependencies of any kind, and three packages to develop with', () => {
  for (const kind of ['dependencies', 'peerDependencies', 'optionalDependencies', 'bundleDependencies', 'bundledDependencies']) {
    assert.equal(kind in manifest, false, kind);
  }
  assert.deepEqual(Object.keys(manifest['devDependencies']).sort(), ['@types/node', 'c8', 'typescript']);
});

test('its name and version are what the proxy says to the servers behind it', () => {
  assert.deepEqual({ name: manifest['name'], version: manifest['version'] }, IMPLEMENTATION);
  const lock = JSON.parse(readFileSync(join(repo, 'package-lock.json'), 'utf8')) as Record<string, any>;
  assert.equal(lock['version'], manifest['version']);
  assert.deepEqual(lock['packages'][''].devDependencies, manifest['devDependencies']);
});

test('it is compiled against the oldest Node that it allows', () => {
  const [, oldest] = /^>=(\d+)\./.exec(manifest['engines'].node)!;
  const { version } = JSON.parse(readFileSync(join(repo, 'node_modules', '@types', 'node', 'package.json'), 'utf8')) as { version: string };
  assert.equal(version.split('.')[0], oldest);
});

// ---- one package for all that follows

const npm = spawnSync('npm', ['--version'], { shell: process.platform === 'win32' }).status === 0;
const skip = npm ? false : 'there is no npm';
let packed: { readonly dir: string; readonly tarball: string; readonly files: readonly { path: string; size: number }[] };

before(
  () => {
    if (!npm) return;
    const dir = tempDir({ after: () => {} }); // goes with this process
    for (const name of readdirSync(repo)) {
      if (['node_modules', 'build', 'dist', 'coverage', '.git'].includes(name)) continue;
      cpSync(join(repo, name), join(dir, name), { recursive: true, filter: (path) => !path.endsWith('node_modules') });
    }
    symlinkSync(join(repo, 'node_modules'), join(dir, 'node_modules'), 'junction');
    const said = run(dir, 'npm', 'pack', '--json'); // its `prepare` builds
    const [about] = JSON.parse(said.slice(said.search(/^[[{]/m))) as { filename: string; files: { path: string; size: number }[] }[];
    packed = { dir, tarball: join(dir, about!.filename), files: about!.files };
  },
  { timeout: 60_000 },
);

test('npm pack ships every source, built and as it is, and nothing else but the papers', { skip }, () => {
  const sources = readdirSync(join(repo, 'src'), { recursive: true, encoding: 'utf8' }).map((path) => path.replaceAll('\\', '/')).filter((path) => path.endsWith('.ts'));
  const built = sources.flatMap((path) => ['.js', '.js.map', '.d.ts'].map((end) => `dist/${path.replace(/\.ts$/, end)}`));
  assert.deepEqual(
    packed.files.map(({ path }) => path).sort(),
    ['LICENSE', 'README.md', 'package.json', ...sources.map((path) => `src/${path}`), ...built].sort(),
  );
});

test('the source maps lead to the sources that are shipped', { skip }, () => {
  for (const { path } of packed.files.filter(({ path }) => path.endsWith('.map'))) {
    type Map = { sources: string[] };
    const { sources, sections } = JSON.parse(readFileSync(join(packed.dir, path), 'utf8')) as Partial<Map> & { sections?: { map: Map }[] };
    const all = sources ?? sections?.flatMap(({ map }) => map.sources) ?? []; // the program's are in sections
    assert.ok(all.length > 0, path);
    for (const source of all) assert.ok(existsSync(join(packed.dir, path, '..', source)), `${path}: ${source}`);
  }
});

test('the built program starts', { skip }, async (t) => {
  const program = start(t, { config, argv: [process.execPath, join(packed.dir, 'dist', 'index.js')] });
  assert.equal((await request(`${await program.origin()}/health`)).text, '{"status":"ok"}');
});

test('installed, it is one package; its root exports createProxy with types, its command starts the program', { skip }, async (t) => {
  const dir = tempDir(t);
  writeFileSync(join(dir, 'package.json'), '{"name":"user","private":true,"type":"module"}');
  run(dir, 'npm', 'install', '--offline', '--no-audit', '--no-fund', packed.tarball);
  const installed = readdirSync(join(dir, 'node_modules')).filter((name) => !name.startsWith('.'));
  assert.deepEqual(installed, ['@prompty-app']);

  // The types, as a strict project sees them that has none of Node but those of this one.
  symlinkSync(join(repo, 'node_modules', '@types'), join(dir, 'node_modules', '@types'), 'junction');
  writeFileSync(
    join(dir, 'use.ts'),
    `import { createServer } from 'node:http';
     import { createProxy, formatEntry, IMPLEMENTATION, ProxyError, type ConfigInput, type Diff, type Limits, type LogSink, type McpProxy, type ProxyOptions } from '${manifest['name']}';
     const config: ConfigInput = { mcpServers: {} };
     const limits: Partial<Limits> = { maxPending: 10 };
     const log: LogSink = { level: 'warn', write: (entry) => { const line: string = formatEntry(entry, 'text'); line.trim(); } };
     const options: ProxyOptions = { config, env: process.env, limits, log };
     const proxy: McpProxy = createProxy(options);
     const server = createServer((req, res) => { if (!proxy.handle(req, res)) res.writeHead(404).end(); });
     const diff: Diff = await proxy.reload(config);
     const started: readonly string[] = diff.started;
     try { createProxy({ env: {}, config: { mcpServers: { 'a/b': {} } } }); } catch (error) { if (error instanceof ProxyError) console.log(error.reason satisfies string, started, server.listening); }
     // @ts-expect-error: what children inherit is never guessed
     const forgotten = () => createProxy({ config });
     await proxy.close();
     console.log(IMPLEMENTATION.version, typeof forgotten);
    `,
  );
  const options = ['--strict', '--exactOptionalPropertyTypes', '--module', 'nodenext', '--target', 'es2023', '--types', 'node', '--outDir', 'out'];
  run(dir, process.execPath, join(repo, 'node_modules', 'typescript', 'bin', 'tsc'), ...options, 'use.ts');
  assert.equal(run(dir, process.execPath, join('out', 'use.js')), `invalid_config [] false\n${IMPLEMENTATION.version} function\n`);

  if (process.platform === 'win32') return;
  const program = start(t, { config, argv: [join(dir, 'node_modules', '.bin', 'mcp-proxy')] });
  assert.equal((await request(`${await program.origin()}/health`)).text, '{"status":"ok"}');
});

test('there is no way in but the root', { skip }, (t) => {
  const dir = tempDir(t);
  mkdirSync(join(dir, 'node_modules', '@prompty-app'), { recursive: true });
  symlinkSync(packed.dir, join(dir, 'node_modules', ...manifest['name'].split('/')), 'junction');
  const script = `for (const path of ['', '/package.json', '/dist/index.js', '/dist/proxy.js', '/src/proxy.ts'])
    console.log(path, (() => { try { return typeof import.meta.resolve('${manifest['name']}' + path); } catch (error) { return error.code; } })());`;
  writeFileSync(join(dir, 'user.mjs'), script);
  const closed = 'ERR_PACKAGE_PATH_NOT_EXPORTED';
  assert.equal(
    run(dir, process.execPath, 'user.mjs'),
    [' string', '/package.json string', `/dist/index.js ${closed}`, `/dist/proxy.js ${closed}`, `/src/proxy.ts ${closed}`, ''].join('\n'),
  );
});

test('vendored, the files of dist work wherever they are put', { skip }, (t) => {
  const dir = tempDir(t);
  cpSync(join(packed.dir, 'dist'), join(dir, 'vendor', 'mcp-proxy'), { recursive: true });
  writeFileSync(join(dir, 'vendor', 'mcp-proxy', 'package.json'), '{"type":"module"}');
  writeFileSync(
    join(dir, 'app.mjs'),
    `import { createProxy } from './vendor/mcp-proxy/proxy.js';
     const proxy = createProxy({ env: {}, config: { mcpServers: { fs: { command: process.execPath, args: ['-e', ''], disabled: true }, b: { command: process.execPath } } } });
     console.log(proxy.servers());
     await proxy.close();`,
  );
  assert.equal(run(dir, process.execPath, 'app.mjs'), "[ 'b' ]\n");
  assert.ok(statSync(join(dir, 'vendor', 'mcp-proxy', 'proxy.d.ts')).isFile());
});

test('the one file dist/index.js is the whole program, wherever it is put', { skip }, async (t) => {
  const dir = tempDir(t);
  cpSync(join(packed.dir, 'dist', 'index.js'), join(dir, 'index.mjs'));
  const program = start(t, { config, argv: [process.execPath, join(dir, 'index.mjs')] });
  assert.equal((await request(`${await program.origin()}/health`)).text, '{"status":"ok"}');
});

/** Runs a command to its end and returns its stdout. */
function run(cwd: string, command: string, ...args: string[]): string {
  const { NODE_V8_COVERAGE: _, ...env } = needed(); // what runs here is not what is measured
  return execFileSync(command, args, {
    cwd,
    env: { ...env, npm_config_cache: join(cwd, '.npm-cache'), npm_config_update_notifier: 'false' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: process.platform === 'win32',
  });
}
