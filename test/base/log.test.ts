import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatEntry, Log, type Level, type LogEntry } from '../../src/base/log.ts';
import { fakeClock } from '../support/clock.ts';

const LEVELS: readonly Level[] = ['error', 'warn', 'info', 'debug'];
const TIME = '2026-07-28T10:00:00.000Z';

test('a log takes its own level and the graver ones', () => {
  for (const [most, level] of LEVELS.entries()) {
    const entries: LogEntry[] = [];
    const log = new Log({ level, write: (entry) => entries.push(entry) }, fakeClock(Date.parse(TIME)));
    for (const each of LEVELS) log[each]('fs', 'an_event', `a sentence for ${each}`);
    assert.deepEqual(LEVELS.map((each) => log.takes(each)), LEVELS.map((_, k) => k <= most));
    assert.deepEqual(entries, LEVELS.slice(0, most + 1).map((each) => ({ time: TIME, level: each, server: 'fs', event: 'an_event', message: `a sentence for ${each}` })));
  }
});

test('an entry has the fields that came with it', () => {
  const entries: LogEntry[] = [];
  const log = new Log({ level: 'debug', write: (entry) => entries.push(entry) }, fakeClock(Date.parse(TIME)));
  for (const level of LEVELS) log[level]('-', 'e', 'm', { pid: 7, level: level });
  assert.deepEqual(entries, LEVELS.map((level) => ({ time: TIME, level, server: '-', event: 'e', message: 'm', pid: 7 })));
});

test('a log without a sink takes nothing and writes nowhere', () => {
  const log = new Log(undefined, fakeClock());
  for (const level of LEVELS) {
    assert.equal(log.takes(level), false);
    log[level]('fs', 'e', 'm', { pid: 1 });
  }
});

test('as text an entry is time, level, server and sentence; as JSON it is all of it', () => {
  const entry = { time: TIME, level: 'warn', server: 'fs', event: 'failed', message: 'exited with code 1, restart 1 of 3 in 1.0 s', pid: 7 } as const;
  assert.equal(formatEntry(entry, 'text'), '2026-07-28T10:00:00.000Z warn  fs  exited with code 1, restart 1 of 3 in 1.0 s');
  assert.equal(formatEntry({ ...entry, level: 'error', server: '-', message: 'm' }, 'text'), '2026-07-28T10:00:00.000Z error -  m');
  assert.equal(formatEntry(entry, 'json'), JSON.stringify(entry));
});

test('no character ends a line or steers a terminal, in a sentence, a name or a field, and as JSON none is lost', () => {
  for (let code = 0; code <= 0xffff; code++) {
    const text = String.fromCharCode(code);
    const steers = code < 0x20 || (code >= 0x7f && code <= 0x9f) || code === 0x2028 || code === 0x2029;
    const entry = { time: TIME, level: 'info', server: `s${text}`, event: 'e', message: `m${text}`, field: `f${text}` } as const;
    const shown = steers ? `\\u${code.toString(16).padStart(4, '0')}` : text;
    assert.equal(formatEntry(entry, 'text'), `${TIME} info  s${shown}  m${shown}`);
    const json = formatEntry(entry, 'json');
    assert.doesNotMatch(json, /[\u0000-\u001f\u007f-\u009f\u2028\u2029]/);
    assert.deepEqual(JSON.parse(json), entry);
  }
});
