import assert from 'node:assert/strict';
import { test } from 'node:test';
import { diffConfig, type Diff } from '../../src/config/diff.ts';
import { parseConfig, type Config, type ServerConfigInput } from '../../src/config/schema.ts';

function servers(entries: readonly (readonly [string, ServerConfigInput | undefined])[]): Config['servers'] {
  const parsed = parseConfig({ mcpServers: Object.fromEntries(entries.filter(([, entry]) => entry !== undefined)) }, 1_000);
  if ('problems' in parsed) assert.fail(parsed.problems.join('\n'));
  return parsed.config.servers;
}

/** Every state that an entry can be in, seen from `on`: which process it wants, and whether it runs. */
const base: ServerConfigInput = { command: 'node', args: ['a', 'b'], env: { A: '1', B: '2' } };
const STATES: Readonly<Record<string, { readonly entry: ServerConfigInput | undefined; readonly runs: boolean; readonly process: string }>> = {
  absent: { entry: undefined, runs: false, process: '' },
  on: { entry: base, runs: true, process: 'base' },
  'on, explicit defaults': { entry: { ...base, disabled: false, autoRestart: true, maxRestarts: 3, isolation: 'shared', protocol: 'auto' }, runs: true, process: 'base' },
  'on, env in another order': { entry: { ...base, env: { B: '2', A: '1' } }, runs: true, process: 'base' },
  'on, env as a number': { entry: { ...base, env: { A: 1, B: '2' } }, runs: true, process: 'base' },
  'on, autoRestart': { entry: { ...base, autoRestart: false }, runs: true, process: 'base' },
  'on, maxRestarts': { entry: { ...base, maxRestarts: 9 }, runs: true, process: 'base' },
  'on, an ignored key': { entry: { ...base, timeout: 5, url: 'x' }, runs: true, process: 'base' },
  'on, command': { entry: { ...base, command: 'python' }, runs: true, process: 'command' },
  'on, an argument': { entry: { ...base, args: ['a', 'c'] }, runs: true, process: 'argument' },
  'on, arguments in another order': { entry: { ...base, args: ['b', 'a'] }, runs: true, process: 'argument order' },
  'on, arguments joined': { entry: { ...base, args: ['a,b'] }, runs: true, process: 'arguments joined' },
  'on, no arguments': { entry: { ...base, args: [] }, runs: true, process: 'no arguments' },
  'on, a value of env': { entry: { ...base, env: { A: '1', B: '3' } }, runs: true, process: 'env value' },
  'on, a name of env': { entry: { ...base, env: { A: '1', C: '2' } }, runs: true, process: 'env name' },
  'on, less env': { entry: { ...base, env: { A: '1' } }, runs: true, process: 'env less' },
  'on, an empty value of env': { entry: { ...base, env: { A: '1', B: '' } }, runs: true, process: 'env empty' },
  'on, env with the name of something every object has': { entry: JSON.parse('{"command":"node","args":["a","b"],"env":{"A":"1","B":"2","__proto__":"x"}}'), runs: true, process: 'env proto' },
  'on, isolation': { entry: { ...base, isolation: 'session' }, runs: true, process: 'isolation' },
  'on, protocol': { entry: { ...base, protocol: 'legacy' }, runs: true, process: 'protocol' },
  'on, another protocol': { entry: { ...base, protocol: 'modern' }, runs: true, process: 'another protocol' },
  'on, no client capabilities': { entry: { ...base, clientCapabilities: {} }, runs: true, process: 'no capabilities' },
  'on, client capabilities': { entry: { ...base, clientCapabilities: { sampling: {} } }, runs: true, process: 'capabilities' },
  'on, client capabilities, and deeper': { entry: { ...base, clientCapabilities: { sampling: { tools: {} } } }, runs: true, process: 'deeper capabilities' },
  'on, url only': { entry: { url: 'x' }, runs: true, process: 'none' },
  off: { entry: { ...base, disabled: true }, runs: false, process: 'base' },
  'off, command': { entry: { ...base, command: 'python', disabled: true }, runs: false, process: 'command' },
};

const cases = Object.keys(STATES).flatMap((before) => Object.keys(STATES).map((after) => [before, after] as const));

/** What product.md says, for one entry. */
function expected(before: string, after: string): keyof Diff | undefined {
  const [old, next] = [STATES[before], STATES[after]];
  if (old.entry === undefined && next.entry === undefined) return undefined;
  if (next.runs) return !old.runs ? 'started' : old.process === next.process ? 'kept' : 'restarted';
  return old.runs || next.entry === undefined ? 'stopped' : 'kept';
}

test('one entry, from every state to every other', () => {
  for (const [before, after] of cases) {
    const diff = diffConfig(servers([['x', STATES[before].entry]]), servers([['x', STATES[after].entry]]));
    const wanted: Record<keyof Diff, string[]> = { started: [], stopped: [], restarted: [], kept: [] };
    const list = expected(before, after);
    if (list !== undefined) wanted[list].push('x');
    assert.deepEqual(diff, wanted, `${before} -> ${after}`);
  }
});

test('all of these entries at once: each is judged by itself, and stands in exactly one list, in config order', () => {
  const names = cases.map((_, k) => `s${k}`);
  const before = servers(cases.map(([state], k) => [names[k], STATES[state].entry]));
  const after = servers(cases.map(([, state], k) => [names[k], STATES[state].entry]));
  const diff = diffConfig(before, after);
  for (const list of ['started', 'stopped', 'restarted', 'kept'] as const) {
    const wanted = names.filter((_, k) => expected(...cases[k]) === list);
    assert.deepEqual(new Set(diff[list]), new Set(wanted), list);
    assert.equal(diff[list].length, wanted.length);
    // Those that are in the new configuration, in its order; then those that are gone, in theirs.
    const order = [...after.keys(), ...[...before.keys()].filter((name) => !after.has(name))];
    assert.deepEqual(diff[list], order.filter((name) => wanted.includes(name)), list);
  }
});

test('an entry that only moved is kept', () => {
  const [a, b] = [{ command: 'a' }, { command: 'b' }];
  assert.deepEqual(diffConfig(servers([['a', a], ['b', b]]), servers([['b', b], ['a', a]])), { started: [], stopped: [], restarted: [], kept: ['b', 'a'] });
});

test('from nothing to nothing is nothing', () => {
  assert.deepEqual(diffConfig(new Map(), new Map()), { started: [], stopped: [], restarted: [], kept: [] });
});
