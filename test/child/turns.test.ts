import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Turns, type Turn } from '../../src/child/turns.ts';

/** A line of servers: `went` names those whose turn came, in order. */
function line(concurrency: number) {
  const turns = new Turns(concurrency);
  const went: string[] = [];
  return { went, take: (name: string): Turn => turns.take(() => went.push(name)) };
}

/** Lets what was put off to a microtask happen. */
const settled = (): Promise<void> => new Promise(setImmediate);

test('nobody goes before whoever asked has its turn in its hands', async () => {
  const { went, take } = line(2);
  take('a');
  assert.deepEqual(went, []);
  await settled();
  assert.deepEqual(went, ['a']);
});

test('as many go at once as there are turns, the rest in order of arrival, one for each turn that is given back', async () => {
  const { went, take } = line(2);
  const [a, b, c] = ['a', 'b', 'c', 'd', 'e'].map(take);
  await settled();
  assert.deepEqual(went, ['a', 'b']);
  b!.release();
  assert.deepEqual(went, ['a', 'b', 'c']);
  a!.release();
  c!.release();
  assert.deepEqual(went, ['a', 'b', 'c', 'd', 'e']);
});

test('whoever is in a hurry goes before those who are not, the first of several first', async () => {
  const { went, take } = line(1);
  const [a, , c, d] = ['a', 'b', 'c', 'd'].map(take);
  await settled();
  d!.hurry();
  c!.hurry();
  c!.hurry();
  a!.release();
  assert.deepEqual(went, ['a', 'c']);
  c!.release();
  assert.deepEqual(went, ['a', 'c', 'd']);
  d!.release();
  assert.deepEqual(went, ['a', 'c', 'd', 'b']);
});

test('whoever hurries in the turn of the event loop in which it came is ahead of all that came in it', async () => {
  const { went, take } = line(1);
  take('a');
  take('b').hurry();
  await settled();
  assert.deepEqual(went, ['b']);
});

test('a turn that is given back twice counts once', async () => {
  const { went, take } = line(1);
  const [a] = ['a', 'b', 'c'].map(take);
  await settled();
  a!.release();
  a!.release();
  assert.deepEqual(went, ['a', 'b']);
});

test('whoever leaves the line never goes, frees no turn, and cannot hurry back', async () => {
  const { went, take } = line(1);
  const early = take('never');
  early.release();
  const [a, b] = ['a', 'b', 'c'].map(take);
  await settled();
  b!.release();
  b!.hurry();
  assert.deepEqual(went, ['a']);
  a!.release();
  await settled();
  assert.deepEqual(went, ['a', 'c']);
});

test('a turn may be given back, and another asked for, while it is being given', async () => {
  const turns = new Turns(1);
  const went: string[] = [];
  const a: Turn = turns.take(() => {
    went.push('a');
    turns.take(() => went.push('a again'));
    a.release();
  });
  const b: Turn = turns.take(() => {
    went.push('b');
    b.release();
  });
  await settled();
  assert.deepEqual(went, ['a', 'b', 'a again']);
});

test('after every sequence of joining, hurrying and leaving those go who should, and never more at a time than there are turns', async () => {
  // What can be done with three servers: each joins, hurries and leaves at most once, in this order.
  const scripts: string[][] = [];
  const extend = (script: string[]): void => {
    scripts.push(script);
    for (const name of ['a', 'b', 'c']) {
      for (const what of ['join', 'hurry', 'leave']) {
        const done = (verb: string): boolean => script.includes(`${name} ${verb}`);
        if (!done(what) && (what === 'join' || done('join')) && !done('leave')) extend([...script, `${name} ${what}`]);
      }
    }
  };
  extend([]);
  assert.ok(scripts.length > 10_000);

  for (const concurrency of [1, 2]) {
    for (const script of scripts) {
      const { went, take } = line(concurrency);
      const turns = new Map<string, Turn>();
      // The model: those in the line in order of arrival, those who have a turn, and who went.
      let inLine: { readonly name: string; hurried: boolean }[] = [];
      const going = new Set<string>();
      const expected: string[] = [];
      for (const step of script) {
        const [name, what] = step.split(' ') as [string, string];
        if (what === 'join') {
          turns.set(name, take(name));
          inLine.push({ name, hurried: false });
        } else if (what === 'hurry') {
          turns.get(name)!.hurry();
          for (const each of inLine) if (each.name === name) each.hurried = true;
        } else {
          turns.get(name)!.release();
          inLine = inLine.filter((each) => each.name !== name);
          going.delete(name);
        }
        await Promise.resolve();
        while (going.size < concurrency && inLine.length > 0) {
          const next = inLine.find(({ hurried }) => hurried) ?? inLine[0]!;
          inLine = inLine.filter((each) => each !== next);
          going.add(next.name);
          expected.push(next.name);
        }
        assert.deepEqual(went, expected, `${concurrency} at a time: ${script.join(', ')}`);
      }
    }
  }
});
