import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { LIMITS, type Limits } from '../../src/config/limits.ts';
import { repo } from '../support/files.ts';

const SECOND = 1_000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const KIB = 1_024;
const MIB = 1_024 * KIB;

test('the bounds are those that are documented', () => {
  const documented: Partial<Limits> = {
    idleTimeoutMs: 5 * MINUTE,
    requestTimeoutMs: 5 * MINUTE,
    requestHardCapMs: HOUR,
    startTimeoutMs: 3 * MINUTE,
    startConcurrency: 4,
    probeMs: 5 * SECOND,
    turnMs: 10 * SECOND,
    maxBodyBytes: 10 * MIB,
    maxLineBytes: 64 * MIB,
    maxLineParts: 65_536,
    maxPending: 1_000,
    maxBatch: 100,
    maxStdinQueueBytes: 16 * MIB,
    stderrTailBytes: 64 * KIB,
    stderrShownLines: 20,
    stderrShownBytes: 2 * KIB,
    stopStdinMs: 2 * SECOND,
    stopTermMs: 2 * SECOND,
    goneAfterKillMs: 500,
    goneCheckMs: 25,
    backoffFirstMs: SECOND,
    backoffMaxMs: 30 * SECOND,
    backoffJitter: 0.2,
    healthyMs: MINUTE,
    halfOpenMs: MINUTE,
    drainReloadMs: 10 * SECOND,
    drainShutdownMs: 5 * SECOND,
    keepAliveMs: 15 * SECOND,
    sseQueueBytes: 8 * MIB,
    sseStallMs: MINUTE,
    statusCollectMs: 250,
    maxStatusReaders: 100,
    headersTimeoutMs: 30 * SECOND,
    bodyTimeoutMs: MINUTE,
    timeoutCheckMs: 5 * SECOND,
    keepAliveTimeoutMs: 65 * SECOND,
    maxHeaderBytes: 16 * KIB,
    maxHeaders: 200,
    maxConnections: 10_000,
    maxUnansweredPerConnection: 100,
    configDebounceMs: 100,
    configDebounceMaxMs: SECOND,
    configPollMs: 2 * SECOND,
    maxConfigBytes: MIB,
    maxServers: 1_000,
    sessionTimeoutMs: 30 * MINUTE,
    maxSessions: 1_000,
    maxIsolated: 16,
    sseAfterMs: 2 * SECOND,
    askWaitMs: 30 * SECOND,
    finishedStreamMs: 5 * MINUTE,
    tombstoneMs: MINUTE,
    startWaitMs: 50 * SECOND,
  };
  for (const [name, value] of Object.entries(documented)) assert.equal(LIMITS[name as keyof Limits], value, name);
});

test('every bound is a positive number, and a time is one that a timer can count', () => {
  for (const [name, value] of Object.entries(LIMITS)) {
    assert.ok(value > 0 && Number.isFinite(value), name);
    if (name !== 'backoffJitter') assert.ok(Number.isSafeInteger(value), name);
    if (name.endsWith('Ms')) assert.ok(value < 2 ** 31, name);
  }
});

test('a shutdown with its drain and its stop ladder fits into ten seconds', () => {
  assert.ok(LIMITS.drainShutdownMs + LIMITS.stopStdinMs + LIMITS.stopTermMs + LIMITS.goneAfterKillMs <= 10 * SECOND);
});

test('every bound is used somewhere', () => {
  const src = join(repo, 'src');
  const files = readdirSync(src, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts') && file !== join('config', 'limits.ts'));
  const text = files.map((file) => readFileSync(join(src, file), 'utf8')).join('\n');
  for (const name of Object.keys(LIMITS)) assert.match(text, new RegExp(`\\b${name}\\b`), `${name} bounds nothing`);
});
