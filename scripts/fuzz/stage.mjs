// What all runs of whole servers have in common: a clock, processes that are played, servers that do what chance wants, and an
// operator who changes his mind. Who the clients are is left to others.
// @ts-check

import { FakeServer } from './server.mjs';
import { FakeClock, FakeSystem, settled } from './system.mjs';

/** @typedef {any} Source the modules of a build, see source.mjs */
/** What a stage knows of a call. @typedef {{ mark: string, at: 'open' | 'over' | 'parked', overAt: number, retried: boolean, reached: boolean, said: Set<string> }} Played */

export const NAMES = ['a', 'b', 'c'];
export const TOMBSTONE_MS = 20_000;
/** Small bounds are reached soon. */
export const LIMITS = {
  maxPending: 8,
  requestTimeoutMs: 10_000,
  requestHardCapMs: 60_000,
  startWaitMs: 20_000,
  startTimeoutMs: 15_000,
  tombstoneMs: TOMBSTONE_MS,
  maxQuestions: 4,
  askWaitMs: 5_000,
  maxParked: 3,
  parkMs: 30_000,
  maxRounds: 3,
  roundMs: 30_000,
  maxListens: 3,
  maxSubscriptions: 3,
  ackWaitMs: 5_000,
  maxIsolated: 2,
  startConcurrency: 2,
  idleTimeoutMs: 40_000,
  maxStdinQueueBytes: 50_000,
};

const STEPS = 300;
/** A method of a stage, and how often it is called. @typedef {[name: string, weight: number]} Op */

/** Plays until something is wrong, or to the end; the number of steps. @throws Error with what went wrong, and all that went before */
export async function play(/** @type {Stage} */ stage) {
  /** @type {unknown} */
  let broken;
  const onRejection = (/** @type {unknown} */ reason) => void (broken ??= reason);
  process.on('unhandledRejection', onRejection);
  try {
    await stage.take(STEPS);
    await stage.end();
    await settled();
    if (broken !== undefined) throw broken;
    return STEPS;
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}, after\n${stage.trace.join('\n')}\n`, { cause: error });
  } finally {
    process.off('unhandledRejection', onRejection);
    stage.system.leave();
  }
}

export class Stage {
  /** What its clients do. @type {Op[]} */
  ops = [];
  /** What happened. @type {string[]} */
  trace = [];
  wrong = '';
  clock = new FakeClock();
  /** @type {FakeServer[]} */
  servers = [];
  /** By mark. @type {Map<string, Played>} */
  calls = new Map();
  /** @type {Record<string, any>} */
  config = {};

  /** @param {Source} source @param {import('./dice.mjs').Dice} dice */
  constructor(source, dice) {
    this.source = source;
    this.dice = dice;
    this.system = new FakeSystem(this.clock, (process) => {
      const server = new FakeServer(process, dice, this.fail);
      server.onAnswer = (mark, nonce) => void this.call(mark).said.add(nonce);
      server.onReceived = (mark) => void (this.call(mark).reached = true);
      this.servers.push(server);
    });
  }

  fail = (/** @type {string} */ what) => void (this.wrong ||= what);

  /** Makes `config` the running one. @returns {void | Promise<unknown>} */
  apply() {}

  /** The same, for the first time. @returns {void | Promise<unknown>} */
  begin() {}

  /** Nobody does anything any more: what must be so then. */
  async end() {}

  async take(/** @type {number} */ steps) {
    for (const name of NAMES) this.config[name] = this.entry(name);
    await this.begin();
    await this.clock.turn();
    const weighted = [...this.ops, ...OPS].flatMap(([name, weight]) => Array.from({ length: weight }, () => name));
    // Of a run, some things happen more than others: else all runs would be alike.
    const favourite = this.dice.of([...this.ops, ...OPS])[0];
    for (let step = 0; step < steps; step++) {
      const name = this.dice.once(5) ? favourite : this.dice.of(weighted);
      this.trace.push(`${step} ${name}`);
      await /** @type {any} */ (this)[name]();
      await (this.dice.once(3) ? settled() : this.clock.turn());
      this.check();
    }
  }

  call(/** @type {string} */ mark) {
    const call = this.calls.get(mark);
    if (call === undefined) throw new Error(`a server was sent the mark ${mark}, which is nobody's`);
    return call;
  }

  /** What must be so after every step. */
  check() {
    if (this.wrong !== '') throw new Error(this.wrong);
    for (const name of NAMES) {
      const alive = this.system.alive.filter(({ args }) => args[0] === name).length;
      if (name !== 'c' && alive > 1) throw new Error(`the server ${name} has ${alive} processes`);
    }
  }

  // ---- what servers do

  speaking() {
    return this.dice.of(this.servers.filter(({ alive }) => alive));
  }

  async answer() {
    const server = this.speaking();
    if (server === undefined) return;
    const { open } = server;
    const request = this.dice.of(this.dice.once(10) ? [...server.received.values()].filter(({ method }) => method !== 'subscriptions/listen') : open);
    if (request === undefined) return;
    const how = this.dice.of(/** @type {const} */ (['result', 'result', 'result', 'error', 'input', 'input', 'url']));
    const call = this.calls.get(request.mark ?? '');
    this.trace.push(`  ${server.name} answers ${request.method} ${request.mark ?? ''} with ${request.answered ? 'another ' : ''}${how}`);
    const asksInput = how === 'input' && server.era === 'modern' && request.method === 'tools/call';
    const due = call?.at === 'open' && !call.retried && !asksInput && !request.answered && !request.cancelled;
    server.answer(request, how);
    if (due && call.at === 'open' && this.wrong === '') this.fail(`${call.mark} was answered, and its client has not got it`);
  }

  /** Calls that a server may still be at work on, as far as the proxy remembers. */
  about(/** @type {FakeServer} */ server) {
    return this.dice.of(
      server.open.filter(({ mark, cancelled }) => {
        const call = this.calls.get(mark ?? '');
        if (call?.at === 'parked' || call?.retried) return !cancelled && !server.process.stdin.clogged && this.clock.now() < call.overAt;
        return call !== undefined && this.clock.now() < call.overAt + TOMBSTONE_MS;
      }),
    );
  }

  ask() {
    const server = this.speaking();
    const mark = server && this.about(server)?.mark;
    if (mark === undefined || server?.era !== 'legacy') return;
    this.trace.push(`  about ${mark}`);
    server.ask(mark);
  }

  async withdraw() {
    const server = this.speaking();
    await this.clock.turn();
    if (server?.alive && !server.process.stdin.clogged) server.withdraw();
  }

  progress() {
    const server = this.speaking();
    const request = this.dice.of([...(server?.received.values() ?? [])]);
    if (request?.mark !== undefined) server?.progress(request);
  }

  log() {
    const server = this.speaking();
    if (server !== undefined) server.log(this.about(server));
  }

  announce() {
    this.speaking()?.announce();
  }

  attend() {
    this.speaking()?.attend();
  }

  nonsense() {
    this.speaking()?.nonsense();
  }

  die() {
    const server = this.speaking();
    if (server === undefined || !this.dice.once(3)) return;
    const dice = this.dice;
    this.trace.push(`  ${server.name}`);
    server.dying = true;
    switch (dice.roll(4)) {
      case 0: // its last words come after its end
        server.process.exit(1, null, 50);
        for (const request of server.open.filter(() => dice.once(2))) server.answer(request, 'result');
        return;
      case 1:
        return void server.process.stdout.emit('close');
      case 2:
        return void server.process.stdin.emit('error', new Error('EPIPE'));
      default:
        if (dice.once(2)) server.process.stdout.emit('data', Buffer.from('{"jsonrpc":"2.0","id":1,"res'));
        server.process.exit(1, null);
    }
  }

  /** A server stops to read, or begins again. */
  clog() {
    const server = this.speaking();
    if (server === undefined) return;
    if (server.process.stdin.clogged) server.process.stdin.unclog();
    else server.process.stdin.clogged = this.dice.once(3);
  }

  // ---- what the operator and the time do

  entry(/** @type {string} */ name) {
    const era = { a: 'legacy', b: 'modern', c: 'legacy' }[name] ?? 'legacy';
    const other = this.dice.once(4) ? (era === 'legacy' ? 'modern' : 'legacy') : era;
    return {
      command: '/fake',
      args: [name, other],
      env: { N: this.dice.roll(3) },
      maxRestarts: this.dice.of([0, 1, 3]),
      autoRestart: !this.dice.once(5),
      disabled: this.dice.once(10),
      protocol: this.dice.of(['auto', other]),
      isolation: name === 'c' ? this.dice.of(['session', 'session', 'shared']) : 'shared',
    };
  }

  async reload() {
    if (!this.dice.once(3)) return;
    const name = this.dice.of(NAMES);
    if (this.dice.once(4)) delete this.config[name];
    else this.config[name] = this.entry(name);
    this.trace.push(`  ${name} ${JSON.stringify(this.config[name] ?? 'removed')}`);
    await this.apply();
  }

  async wait() {
    const ms = this.dice.of([1, 20, 25, 100, 250, 1_000, 2_000, 5_000, 12_000, 25_000]);
    this.trace.push(`  ${ms} ms`);
    await this.clock.advance(ms);
  }
}

/** How often servers, the operator and the time do what. @type {Op[]} */
const OPS = [
  ['answer', 20],
  ['ask', 8],
  ['withdraw', 1],
  ['progress', 4],
  ['log', 3],
  ['announce', 2],
  ['attend', 4],
  ['nonsense', 2],
  ['die', 1],
  ['clog', 2],
  ['reload', 1],
  ['restart', 1],
  ['wait', 14],
];
