import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { SourceMap } from 'node:module';
import { join } from 'node:path';
import { test } from 'node:test';
import { repo, tempDir } from './support/files.ts';
import { request } from './support/http.ts';
import { needed, start } from './support/program.ts';

const BUILT = join(repo, 'build', 'src');

test('the linked program is one file that runs, and each of its functions is found where it was written', async (t) => {
  const dir = tempDir(t);
  cpSync(BUILT, dir, { recursive: true });
  writeFileSync(join(dir, 'package.json'), '{"type":"module"}');
  assert.deepEqual(link(dir), { status: 0, stderr: '' });

  const text = readFileSync(join(dir, 'index.js'), 'utf8');
  assert.equal(/^\s*(import|export)\b(?! \* as \$\w+ from 'node:)/m.test(text), false);
  const map = new SourceMap(JSON.parse(readFileSync(join(dir, 'index.js.map'), 'utf8')));
  const sources = new Map<string, string[]>();
  let found = 0;
  for (const [n, line] of text.split('\n').entries()) {
    const name = /^(?:async )?(?:function\*?|class) (\w+)/.exec(line)?.[1];
    if (name === undefined) continue;
    const entry = map.findEntry(n, line.indexOf(name));
    assert.ok('originalSource' in entry, line);
    const path = join(BUILT, entry.originalSource);
    if (!sources.has(path)) sources.set(path, readFileSync(path, 'utf8').split('\n'));
    assert.match(sources.get(path)?.[entry.originalLine] ?? '', new RegExp(`\\b${name}\\b`), line);
    found++;
  }
  assert.ok(found > 200 && sources.size > 50, `${found} functions of ${sources.size} files`);

  const program = start(t, { config: { mcpServers: {} }, argv: [process.execPath, join(dir, 'index.js')] });
  assert.equal((await request(`${await program.origin()}/health`)).text, '{"status":"ok"}');
});

test('what cannot be linked is named, and the program stays as it was', (t) => {
  const cases = [
    ['export default 1;', '', 'index.js: cannot link "export default 1;"'],
    ["import * as all from './other.js';", '', `index.js: cannot link "import * as all from './other.js';"`],
    ["import { a } from 'elsewhere';", '', `index.js: imports "elsewhere", which is neither ours nor Node's`],
    ["import { a } from './other.js';", "import { b } from './index.js';\nexport const a = b;", 'modules import each other: index.js -> other.js -> index.js'],
    ["import { a } from './other.js';", 'export let a = 1;', 'other.js: cannot link "export let a = 1;"'],
  ] as const;
  for (const [index, other, why] of cases) {
    const dir = tempDir(t);
    writeFileSync(join(dir, 'index.js'), index);
    writeFileSync(join(dir, 'other.js'), other);
    assert.deepEqual(link(dir), { status: 1, stderr: `link: ${why}\n` });
    assert.equal(readFileSync(join(dir, 'index.js'), 'utf8'), index);
  }
});

test('linked twice it is refused the second time, because the program is not what the compiler wrote', (t) => {
  const dir = tempDir(t);
  cpSync(BUILT, dir, { recursive: true });
  link(dir);
  const { size } = statSync(join(dir, 'index.js'));
  assert.match(link(dir).stderr, /^link: index\.js: cannot link "import \* as /);
  assert.equal(statSync(join(dir, 'index.js')).size, size);
});

function link(dir: string): { status: number | null; stderr: string } {
  const { NODE_V8_COVERAGE: _, ...env } = needed();
  const { status, stderr } = spawnSync(process.execPath, [join(repo, 'scripts', 'link.mjs'), dir], { encoding: 'utf8', env });
  return { status, stderr };
}
