// The rules of the house (architecture of `src/`, see the header of `src/proxy.ts`), read from the text of the sources.

import assert from 'node:assert/strict';
import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, posix } from 'node:path';
import { test } from 'node:test';
import { repo } from './support/files.ts';

/** From the bottom up. A room imports from lower ranks and from itself; rooms of one rank do not know each other. */
const RANKS = [['base'], ['wire'], ['protocol', 'config', 'http'], ['child'], ['relay'], ['transports', 'admin'], ['proxy.ts'], ['index.ts']];

interface Home {
  readonly what: string;
  /** Names of the language or of node, as they stand in code: `name` and `...name`, not `.name`. */
  readonly names?: readonly string[];
  /** What else it is known by, in code, with strings but without comments. */
  readonly pattern?: RegExp;
  readonly modules?: readonly string[];
  /** Where it may stand; everywhere else it would be a second home. */
  readonly homes: readonly string[];
}

const HOMES: readonly Home[] = [
  { what: 'a version of MCP', pattern: /20\d\d-\d\d-\d\d/, homes: ['protocol/revisions.ts'] },
  {
    what: 'a timer',
    names: ['setTimeout', 'clearTimeout', 'setInterval', 'clearInterval', 'setImmediate', 'clearImmediate'],
    modules: ['node:timers', 'node:timers/promises'],
    homes: ['base/clock.ts'],
  },
  { what: 'the time', names: ['Date', 'performance'], modules: ['node:perf_hooks'], homes: ['base/clock.ts'] },
  { what: 'the console', names: ['console'], modules: ['node:console'], homes: ['index.ts'] },
  { what: 'the process that it runs in', names: ['process'], modules: ['node:process'], homes: ['index.ts', 'base/clock.ts', 'child/process.ts', 'child/reaper.ts'] },
  {
    what: 'more of that process than hrtime, kill, platform, execPath and pid',
    names: ['process(?<!import process)(?!\\.(hrtime|kill|platform|execPath|pid)\\b)'],
    homes: ['index.ts'],
  },
  { what: 'the global object', names: ['global', 'globalThis'], homes: [] },
  { what: 'spawning', modules: ['node:child_process', 'node:cluster', 'node:worker_threads'], homes: ['child/process.ts', 'child/reaper.ts'] },
  { what: 'a way to spawn other than spawn', names: ['exec', 'execFile', 'execSync', 'execFileSync', 'spawnSync', 'fork'], homes: [] },
  { what: 'a shell', names: ['shell'], homes: [] },
];

interface Source {
  /** Relative to `src/`, with forward slashes. */
  readonly path: string;
  /** Without comments. */
  readonly code: string;
  /** Without the contents of strings either. */
  readonly bare: string;
  readonly imports: readonly string[];
}

const src = join(repo, 'src');
const sources = readdirSync(src, { recursive: true, encoding: 'utf8' })
  .map((path) => path.replaceAll('\\', '/'))
  .filter((path) => path.endsWith('.ts'))
  .sort()
  .map((path): Source => {
    const text = readFileSync(join(src, path), 'utf8');
    const code = blanked(text, ['comment']);
    return { path, code, bare: blanked(text, ['comment', 'text']), imports: importsOf(code) };
  });

test('every source belongs to a room', () => {
  assert.ok(sources.length > 30, 'the sources were found');
  assert.deepEqual(sources.map(({ path }) => path).filter((path) => rankOf(path) === undefined), []);
});

test('imports are relative or of node, and name files that are there', () => {
  const wrong = sources.flatMap(({ path, imports }) =>
    imports.filter((name) => !name.startsWith('node:') && !sources.some((other) => other.path === target(path, name))).map((name) => `${path} imports ${name}`),
  );
  assert.deepEqual(wrong, []);
});

test('a room imports only from rooms below it', () => {
  const wrong = edges().filter(([from, to]) => roomOf(from) !== roomOf(to) && !(rankOf(to)! < rankOf(from)!));
  assert.deepEqual(wrong.map((edge) => edge.join(' imports ')), []);
});

test('no file imports itself by a detour', () => {
  const next = new Map(sources.map(({ path }) => [path, edges().filter(([from]) => from === path).map(([, to]) => to)]));
  const done = new Set<string>();
  const cycles: string[] = [];
  const visit = (path: string, way: readonly string[]): void => {
    if (way.includes(path)) cycles.push([...way.slice(way.indexOf(path)), path].join(' -> '));
    if (way.includes(path) || done.has(path)) return;
    for (const to of next.get(path) ?? []) visit(to, [...way, path]);
    done.add(path);
  };
  for (const { path } of sources) visit(path, []);
  assert.deepEqual(cycles, []);
});

for (const { what, names = [], pattern, modules = [], homes } of HOMES) {
  test(`${what} stands ${homes.length === 0 ? 'nowhere' : `only in ${homes.join(', ')}`}`, () => {
    const name = names.length === 0 ? undefined : new RegExp(`(?<![#\\w$]|(?<!\\.\\.)\\.)(${names.join('|')})\\b`);
    const wrong = sources
      .filter(({ path }) => !homes.includes(path))
      .flatMap(({ path, code, bare, imports }) => {
        const inCode = bare.split('\n');
        const lines = code.split('\n').flatMap((line, k) => (pattern?.test(line) || name?.test(inCode[k]!) ? [`${path}:${k + 1}: ${line.trim()}`] : []));
        return [...lines, ...imports.filter((module) => modules.includes(module)).map((module) => `${path} imports ${module}`)];
      });
    assert.deepEqual(wrong, []);
  });
}

test('what is spawned is always given its environment', () => {
  for (const { path, code, imports } of sources) {
    const calls = [...code.matchAll(/(?<![.#\w])spawn\(([^;]*)\);/g)];
    assert.equal(calls.length > 0, imports.includes('node:child_process'), path);
    for (const [call, args] of calls) assert.match(args!, /\benv\b\s*[:,}]/, call);
  }
});

test('the picture in the header of src/proxy.ts names the rooms that there are', () => {
  const header = /^(\/\/.*\n)+/.exec(readFileSync(join(src, 'proxy.ts'), 'utf8'))![0];
  const drawn = [...header.matchAll(/^\/\/ {3,}([a-z]+\/|index\.ts) /gm)].map(([, name]) => name!.replace('/', ''));
  const rooms = new Set(sources.map(({ path }) => roomOf(path)).filter((room) => room !== 'proxy.ts'));
  assert.deepEqual(drawn.toSorted(), [...rooms].sort());
  assert.deepEqual(drawn.map((room) => rankOf(room)), drawn.map((room) => rankOf(room)).toSorted(), 'from the bottom up');
});

// The reader of sources is code, too: what it must see and what it must not.
test('comments and strings are told apart from code', () => {
  const cases: [text: string, code: string, bare: string][] = [
    ['a // b\nc', 'a \nc', 'a \nc'],
    ['a /* b\n */ c', 'a \n c', 'a \n c'],
    ['"// b" + c', '"// b" + c', '"" + c'],
    ["'it\\'s // b'; c // d", "'it\\'s // b'; c ", "''; c "],
    ['`a ${b /* c */ + `d ${e}`} // f`', '`a ${b  + `d ${e}`} // f`', '`${b  + `${e}`}`'],
    ['/"[/]\\/\'/.test(a) // b', '/"[/]\\/\'/.test(a) ', '//.test(a) '],
    ['a / b // c', 'a / b ', 'a / b '],
    ['(a) / b; "/* c"', '(a) / b; "/* c"', '(a) / b; ""'],
    ['return /[`\'"]/g; // c', 'return /[`\'"]/g; ', 'return //g; '],
  ];
  for (const [text, code, bare] of cases) {
    assert.equal(blanked(text, ['comment']), code);
    assert.equal(blanked(text, ['comment', 'text']), bare);
  }
});

test('imports are found in all their forms', () => {
  const code = [
    "import a from './a.ts';",
    "import { b,\n  type C } from '../c.ts';",
    "import './d.ts';",
    "export type { E } from './e.ts';",
    "export * from './f.ts';",
    "const g = await import('./g.ts');",
    "type H = import('./h.ts').H;",
    "const i = require('./i.ts');",
    "text('from here');",
  ].join('\n');
  assert.deepEqual(importsOf(code), ['./a.ts', '../c.ts', './d.ts', './e.ts', './f.ts', './g.ts', './h.ts', './i.ts']);
});

function roomOf(path: string): string {
  return path.split('/')[0]!;
}

function rankOf(path: string): number | undefined {
  const rank = RANKS.findIndex((rooms) => rooms.includes(roomOf(path)));
  return rank === -1 ? undefined : rank;
}

function edges(): [from: string, to: string][] {
  return sources.flatMap(({ path, imports }) => imports.filter((name) => name.startsWith('.')).map((name): [string, string] => [path, target(path, name)]));
}

function target(path: string, name: string): string {
  return name.startsWith('.') ? posix.normalize(posix.join(dirname(path), name)) : name;
}

function importsOf(code: string): string[] {
  return [...code.matchAll(/(?:\bfrom\s*|\bimport\s*\(?\s*|\brequire\s*\(\s*)(['"`])([^'"`\n]*)\1/g)].map(([, , name]) => name!);
}

/** The text without its comments; with `text`, also without what stands in strings, templates and regular expressions. Lines stay. */
function blanked(text: string, what: readonly ('comment' | 'text')[]): string {
  const keepText = !what.includes('text');
  let out = '';
  let at = 0;
  const lines = (part: string): string => part.replace(/[^\n]/g, '');

  /** Copies code up to the bracket that ends it, or to the end. */
  function code(end?: '}'): void {
    for (let depth = 0; at < text.length; ) {
      const rest = text.slice(at);
      const comment = /^(?:\/\/[^\n]*|\/\*[^]*?\*\/)/.exec(rest)?.[0];
      // A slash begins a regular expression where a value may stand: not behind a name, a number or a closing bracket.
      const regex = /(^|[^\w$)\]}\s]|\b(return|typeof|case|of|in))\s*$/.test(out) ? /^\/(?:\\.|\[(?:\\.|[^\]\n\\])*\]|[^/\n\\[])+\//.exec(rest)?.[0] : undefined;
      const string = /^(?:'(?:\\.|[^'\n\\])*'|"(?:\\.|[^"\n\\])*")/.exec(rest)?.[0] ?? regex;
      if (comment !== undefined) {
        out += lines(comment);
        at += comment.length;
      } else if (string !== undefined) {
        out += keepText ? string : string[0]! + string[0]!;
        at += string.length;
      } else if (rest.startsWith('`')) {
        template();
      } else {
        if (rest.startsWith('{')) depth++;
        if (rest.startsWith('}') && depth-- === 0 && end !== undefined) return;
        out += text[at++];
      }
    }
  }

  function template(): void {
    out += text[at++];
    while (at < text.length && text[at] !== '`') {
      if (text.startsWith('${', at)) {
        out += '${';
        at += 2;
        code('}');
        out += text[at++];
        continue;
      }
      const part = text.slice(at, at + (text[at] === '\\' ? 2 : 1));
      out += keepText ? part : lines(part);
      at += part.length;
    }
    out += text[at++] ?? '';
  }

  code();
  return out;
}
