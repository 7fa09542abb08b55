// Servers and clients of every kind around a whole fleet, and what can happen between them in an order that chance decides:
// calls, answers, progress, questions, cancellations, silence, deaths, reloads. Time and processes are fakes, everything
// between them is the real thing. The model is what each side may rely on, not how it is brought about.
// @ts-check

import { Client } from './clients.mjs';
import { Dice } from './dice.mjs';
import { ANY } from './marks.mjs';
import { FakeServer, URI } from './server.mjs';
import { FakeClock, FakeSystem, settled } from './system.mjs';

/** @typedef {any} Source the modules of a build, see source.mjs */
/** @typedef {import('./clients.mjs').Call} Call */

const STEPS = 300;
/** Small bounds are reached soon. */
const LIMITS = {
  maxPending: 8,
  requestTimeoutMs: 10_000,
  requestHardCapMs: 60_000,
  startWaitMs: 20_000,
  startTimeoutMs: 15_000,
  tombstoneMs: 20_000,
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
/** In which nothing can be left that a silent server or a silent client keeps. */
const LONG_MS = 2 * (LIMITS.startWaitMs + LIMITS.requestHardCapMs + LIMITS.parkMs + (LIMITS.maxRounds + 1) * LIMITS.roundMs);
/** What else a call may have to wait for before it is written: the list of tools, the log level, and a list that changed meanwhile. */
const WRITE_MS = 5_000 + 2_000 + 5_000;
/** What the last words of a process may take. */
const DEATH_MS = 100;
const NAMES = ['a', 'b', 'c'];

/** One run; the number of its steps. @throws Error with what went wrong, and the steps before it */
export async function interleave(/** @type {Source} */ source, /** @type {number} */ seed) {
  const run = new Run(source, new Dice(seed));
  /** @type {unknown} */
  let broken;
  const onRejection = (/** @type {unknown} */ reason) => void (broken ??= reason);
  process.on('unhandledRejection', onRejection);
  try {
    await run.take(STEPS);
    await run.end();
    await settled();
    if (broken !== undefined) throw broken;
    return STEPS;
  } catch (error) {
    throw new Error(`${error instanceof Error ? error.message : error}, after\n${run.trace.join('\n')}\n`, { cause: error });
  } finally {
    process.off('unhandledRejection', onRejection);
    run.leave();
  }
}

class Run {
  /** What happened. @type {string[]} */
  trace = [];
  #wrong = '';
  #dice;
  #source;
  #clock = new FakeClock();
  #system;
  #world;
  #fleet;
  /** @type {FakeServer[]} */
  #servers = [];
  /** @type {Client[]} sessions that are open */
  #sessions = [];
  /** @type {Map<string, Call>} by mark */
  #calls = new Map();
  /** Calls that are not over. @type {Set<Call>} */
  #live = new Set();
  /** Until when a parked call may count. @type {{ server: unknown, until: number }[]} */
  #parks = [];
  #lastClient = 0;
  /** @type {Record<string, any>} */
  #config = {};
  /** @type {any[]} streams of simple clients */
  #readers = [];
  /** @type {Set<number>} */
  #simple = new Set();

  constructor(/** @type {Source} */ source, /** @type {Dice} */ dice) {
    this.#source = source;
    this.#dice = dice;
    const clock = this.#clock;
    this.#system = new FakeSystem(clock, (process) => {
      const server = new FakeServer(process, dice, this.#fail);
      server.onAnswer = (mark, nonce) => void this.#call(mark).said.add(nonce);
      server.onReceived = (mark) => void (this.#call(mark).reached = true);
      this.#servers.push(server);
    });
    const limits = { ...source.LIMITS, ...LIMITS };
    const log = new source.Log({ level: 'info', write: (/** @type {any} */ { server, message }) => void this.trace.push(`  ${server}: ${message}`) }, clock);
    this.#world = { clock, deadlines: new source.Deadlines(clock), log, limits, random: () => dice.next() };
    this.#fleet = new source.Fleet({ world: this.#world, env: {}, secrets: [], clientInfo: { name: 'proxy', version: '1' }, onStatus: (/** @type {string} */ name) => this.#onStatus(name) });
  }

  /** Since when each server runs without a break. @type {Map<string, number>} */
  #runningSince = new Map();

  #onStatus(/** @type {string} */ name) {
    if (this.#fleet.statusOf(name)?.status !== 'running') this.#runningSince.delete(name);
    else if (!this.#runningSince.has(name)) this.#runningSince.set(name, this.#clock.now());
  }

  #fail = (/** @type {string} */ what) => void (this.#wrong ||= what);

  async take(/** @type {number} */ steps) {
    for (const name of NAMES) this.#config[name] = this.#entry(name);
    this.#apply();
    this.#fleet.start();
    await this.#clock.turn();
    // Of a run, some things happen more than others: else all runs would be alike.
    const favourite = this.#dice.of(OPS);
    for (let step = 0; step < steps; step++) {
      const [name] = this.#dice.once(5) ? favourite : this.#dice.of(WEIGHTED);
      this.trace.push(`${step} ${name}`);
      await this[name]();
      await (this.#dice.once(3) ? settled() : this.#clock.turn());
      this.#check();
    }
  }

  /** Nobody does anything any more, then everything is stopped: nothing is left. */
  async end() {
    const dice = this.#dice;
    for (const { process } of this.#servers) process.stdin.unclog();
    if (dice.once(2)) {
      this.trace.push('silence');
      await this.#clock.advance(LONG_MS);
      this.#check();
      const left = [...this.#live].filter(({ isListen, at }) => !isListen && at === 'open');
      if (left.length > 0) throw new Error(`${left.map(({ mark, method }) => `${method} ${mark}`)} hangs for ever`);
      for (const server of this.#all()) if (server.status.pendingRequests !== 0) throw new Error(`${server.status.pendingRequests} requests pend of which nobody knows`);
      for (const client of [...this.#sessions]) this.#close(client); // who may think for ever, and so may its server
      await this.#clock.turn();
      this.#check();
      for (const server of this.#servers) {
        for (const [id, { asked, answers }] of server.questions) {
          if (server.alive && server.process.stdin.writable && asked > answers) throw new Error(`the server ${server.name} never gets an answer to ${id}`);
        }
      }
    }
    this.trace.push('the end');
    let closed = false;
    void this.#fleet.close().then(() => (closed = true));
    await this.#clock.advance(30_000);
    this.#check();
    const left = [...this.#live].filter(({ at }) => at === 'open');
    if (!closed) throw new Error('the fleet does not end');
    if (left.length > 0) throw new Error(`${left.map(({ mark, method }) => `${method} ${mark}`)} has no answer at the end`);
    if (this.#sessions.length > 0) throw new Error('a session outlives its server');
    for (const reader of this.#readers) if (reader.open && reader.ended !== 1) throw new Error(`the stream of a simple client has ended ${reader.ended} times`);
    if (this.#system.alive.length > 0) throw new Error(`${this.#system.alive.length} processes are left`);
    this.#world.deadlines.close();
    if (this.#clock.armed > 0) throw new Error(`${this.#clock.armed} timers are left`);
  }

  leave() {
    this.#system.leave();
  }

  // ---- what must be so after every step

  #check() {
    if (this.#wrong !== '') throw new Error(this.#wrong);
    const now = this.#clock.now();
    for (const call of this.#live) {
      if (call.at === 'over') this.#live.delete(call);
    }
    this.#parks = this.#parks.filter(({ until }) => until >= now);
    const open = [...this.#live].filter(({ at }) => at === 'open');
    for (const server of this.#all()) {
      const here = open.filter((call) => call.server === server);
      const waiting = here.filter(({ isListen }) => !isListen).length;
      // A call that is parked pends until its server has answered; a listen only until it is opened.
      const more = this.#parks.filter((park) => park.server === server).length + here.filter(({ isListen, heard }) => isListen && !heard).length;
      const { pendingRequests } = server.status;
      if (pendingRequests < waiting || pendingRequests > waiting + more) throw new Error(`${pendingRequests} requests pend, and ${waiting} to ${waiting + more} clients wait`);
    }
    const reading = new Set(this.#servers.filter(({ name, alive, process }) => alive && !process.stdin.clogged && name !== 'c').map(({ name }) => name));
    for (const call of open) {
      if (!reading.has(call.client.name)) continue;
      const since = this.#runningSince.get(call.client.name) ?? Infinity;
      if (now > Math.max(since, call.sentAt) + WRITE_MS && !call.reached && call.server === this.#server(call.client.name) && !call.client.isHouse(call.method)) {
        throw new Error(`${call.mark} has not reached its server, which runs`);
      }
    }
    for (const { questions } of this.#sessions) {
      for (const { mark } of questions.values()) {
        const asks = this.#servers.some((server) => now <= server.process.diedAt + DEATH_MS && [...server.questions.values()].some(({ marks }) => marks.includes(mark)));
        if (!asks && this.#calls.get(mark)?.at !== 'open') throw new Error(`${mark} is over, and its client is not told that nobody waits for its answer`);
      }
    }
    for (const name of NAMES) {
      const alive = this.#system.alive.filter(({ args }) => args[0] === name).length;
      if (name !== 'c' && alive > 1) throw new Error(`the server ${name} has ${alive} processes`);
    }
  }

  /** Every server that somebody has or had to do with. @type {Set<any>} */
  #seen = new Set();
  #all() {
    return this.#seen;
  }

  // ---- what clients do

  #place() {
    const onPark = (/** @type {Call} */ call) => {
      call.overAt = this.#clock.now() + LIMITS.parkMs; // unless its client comes back
      this.#parks.push({ server: call.server, until: call.overAt });
    };
    return { dice: this.#dice, source: this.#source, world: this.#world, fail: this.#fail, now: this.#clock.now, onPark };
  }

  #send(/** @type {Call} */ call, /** @type {any} */ server) {
    this.trace.push(`  ${call.mark} ${call.method} ${JSON.stringify(call.id)} to ${call.client.name}`);
    call.server = server;
    call.sentAt = this.#clock.now();
    this.#seen.add(server);
    this.#calls.set(call.mark, call);
    this.#live.add(call);
    if (call.client.session !== undefined) call.client.session.dispatch(call.exchange, call.request);
    else server.dispatch(call.exchange, call.request);
  }

  #call(/** @type {string} */ mark) {
    const call = this.#calls.get(mark);
    if (call === undefined) throw new Error(`a server was sent the mark ${mark}, which is nobody's`);
    return call;
  }

  /** The server of this name, unless there is none. */
  #server(/** @type {string} */ name) {
    return this.#politely(() => this.#fleet.get(name));
  }

  /** @template T @param {() => T} act @returns {T | undefined} */
  #politely(act) {
    try {
      return act();
    } catch (error) {
      if (!(error instanceof this.#source.ProxyError)) throw error;
      return undefined;
    }
  }

  callSimple() {
    const name = this.#dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const client = new Client(this.#place(), ++this.#lastClient, 'simple', name);
    this.#simple.add(client.c);
    this.#send(this.#dice.once(12) ? client.call('ping') : client.call(), server);
  }

  callModern() {
    const name = this.#dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const client = new Client(this.#place(), ++this.#lastClient, 'modern', name);
    this.#send(this.#dice.once(12) ? client.call('server/discover') : client.call(), server);
  }

  listen() {
    const name = this.#dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const resourceSubscriptions = [`${URI}${this.#dice.roll(4)}`, `${URI}${this.#dice.roll(4)}`].slice(this.#dice.roll(3));
    const client = new Client(this.#place(), ++this.#lastClient, 'modern', name);
    this.#send(client.call('subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions } }, true), server);
  }

  /** A modern client whose call is parked comes back. */
  retry() {
    const call = this.#dice.of([...this.#live].filter(({ at }) => at === 'parked'));
    const server = call && this.#server(call.client.name);
    if (call === undefined || server === undefined) return;
    call.retry();
    this.#send(call, server);
  }

  openSession() {
    if (this.#sessions.length >= 6) return;
    const name = this.#dice.of(NAMES);
    const client = new Client(this.#place(), ++this.#lastClient, 'session', name);
    const params = { protocolVersion: '2025-11-25', capabilities: client.capabilities, clientInfo: { name: 'c', version: '1' } };
    const server = this.#politely(() => this.#fleet.forSession(name, params));
    if (server === undefined) return;
    const call = client.call('initialize', params, false);
    const over = call.over.bind(call);
    call.over = (outcome, cancelled) => {
      over(outcome, cancelled);
      if (outcome?.result === undefined) return this.#fleet.release(name, server);
      this.#opened(client, server, call);
    };
    this.#send(call, server);
  }

  /** The session of a client is there, as the transports make it. */
  #opened(/** @type {Client} */ client, /** @type {any} */ server, /** @type {Call} */ call) {
    const session = new this.#source.Client(server, this.#world, {
      carrier: () => {
        const newest = session.exchanges.findLast((/** @type {any} */ each) => each.streams);
        if (newest !== undefined) return (/** @type {Buffer} */ message) => newest.notify(message);
        return client.standalone ? (/** @type {Buffer} */ message) => client.hears(message.toString()) : undefined;
      },
      hear: (/** @type {Buffer} */ message) => client.hears(message.toString()),
      open: () => client.standalone,
      onServerEnd: () => this.#close(client),
    });
    session.declare(call.request);
    client.session = session;
    client.server = server;
    this.#sessions.push(client);
  }

  #close(/** @type {Client} */ client) {
    if (client.closed) return;
    client.closed = true;
    this.#sessions = this.#sessions.filter((each) => each !== client);
    client.session.close(new this.#source.ProxyError('session_closed', 'Session closed'));
    this.#fleet.release(client.name, client.server);
    for (const call of client.calls) this.#fail(`${call.mark} has no answer at the end of its session`);
  }

  callSession() {
    const client = this.#dice.of(this.#sessions);
    if (client === undefined) return;
    const uri = `${URI}${this.#dice.roll(4)}`;
    const [method, params] = this.#dice.of(
      /** @type {const} */ ([
        [undefined, {}],
        [undefined, {}],
        [undefined, {}],
        [undefined, {}],
        ['resources/subscribe', { uri }],
        ['resources/unsubscribe', { uri }],
        ['logging/setLevel', { level: this.#dice.of(['debug', 'info', 'error', 'loud']) }],
      ]),
    );
    const call = client.call(method, params);
    if (method === 'resources/subscribe') client.uris.add(uri);
    this.#send(call, client.server);
    if (method === 'resources/unsubscribe' && call.outcome?.result !== undefined) {
      const again = [...client.calls].some((each) => each.method === 'resources/subscribe' && /** @type {any} */ (each.params).uri === uri);
      if (!again) client.uris.delete(uri);
    }
  }

  answerAsSession() {
    this.#dice.of(this.#sessions.filter(({ questions }) => questions.size > 0))?.answer();
  }

  closeSession() {
    const client = this.#dice.of(this.#sessions);
    if (client !== undefined && this.#dice.once(3)) this.#close(client);
  }

  /** The stream of a session that belongs to no request comes and goes. */
  standalone() {
    const client = this.#dice.of(this.#sessions);
    if (client === undefined) return;
    client.standalone = !client.standalone;
    if (!client.standalone) return;
    client.server.wake();
    client.session.asking.retry();
  }

  readSimple() {
    const open = this.#readers.filter((reader) => reader.open);
    if (open.length >= 3) {
      const reader = this.#dice.of(open);
      reader.open = false;
      return reader.server.leave(reader);
    }
    const server = this.#server(this.#dice.of(NAMES));
    if (server === undefined) return;
    const fail = this.#fail;
    const simple = this.#simple;
    const reader = {
      server,
      holder: this.#source.SIMPLE,
      open: true,
      ended: 0,
      hear(/** @type {Buffer} */ message) {
        if (!reader.open || reader.ended > 0) fail(`a stream that is over hears ${message}`);
        for (const [each, client] of message.toString().matchAll(ANY)) if (!simple.has(Number(client))) fail(`a simple stream hears of ${each}: ${message}`);
      },
      failed() {
        if (!reader.open || reader.ended > 0) fail('a stream that is over hears of a failure');
      },
      onServerEnd() {
        reader.ended++;
      },
    };
    this.#readers.push(reader);
    server.join(reader);
    server.wake();
  }

  /** A client does not want its answer any more. */
  cancel() {
    const call = this.#dice.of([...this.#live].filter(({ at, cancelled }) => at === 'open' && !cancelled));
    if (call === undefined || call.method === 'initialize') return;
    this.trace.push(`  ${call.mark}`);
    const { session } = call.client;
    if (session === undefined) {
      call.over('left', true);
      call.server.cancel(call.exchange, 'the client disconnected');
    } else {
      const text = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: call.id } });
      session.take(this.#source.readMessage(Buffer.from(text), this.#world.limits));
      if (call.at === 'open') this.#fail(`${call.mark} was cancelled and is not over`);
    }
  }

  // ---- what servers do

  #speaking() {
    return this.#dice.of(this.#servers.filter(({ alive }) => alive));
  }

  async answer() {
    const server = this.#speaking();
    if (server === undefined) return;
    const { open } = server;
    const request = this.#dice.of(this.#dice.once(10) ? [...server.received.values()].filter(({ method }) => method !== 'subscriptions/listen') : open);
    if (request === undefined) return;
    const how = this.#dice.of(/** @type {const} */ (['result', 'result', 'result', 'error', 'input', 'input', 'url']));
    const call = this.#calls.get(request.mark ?? '');
    this.trace.push(`  ${server.name} answers ${request.method} ${request.mark ?? ''} with ${request.answered ? 'another ' : ''}${how}`);
    const asksInput = how === 'input' && server.era === 'modern' && request.method === 'tools/call';
    const due = call?.at === 'open' && !call.retried && !asksInput && !request.answered && !request.cancelled;
    server.answer(request, how);
    if (due && call.at === 'open' && this.#wrong === '') this.#fail(`${call.mark} was answered, and its client has not got it`);
  }

  /** Calls that a server may still be at work on, as far as the proxy remembers. */
  #about(/** @type {FakeServer} */ server) {
    return this.#dice.of(
      server.open.filter(({ mark, cancelled }) => {
        const call = this.#calls.get(mark ?? '');
        if (call?.at === 'parked' || call?.retried) return !cancelled && !server.process.stdin.clogged && this.#clock.now() < call.overAt;
        return call !== undefined && this.#clock.now() < call.overAt + LIMITS.tombstoneMs;
      }),
    );
  }

  ask() {
    const server = this.#speaking();
    const mark = server && this.#about(server)?.mark;
    if (mark === undefined || server?.era !== 'legacy') return;
    this.trace.push(`  about ${mark}`);
    server.ask(mark);
  }

  async withdraw() {
    const server = this.#speaking();
    await this.#clock.turn();
    if (server?.alive && !server.process.stdin.clogged) server.withdraw();
  }

  progress() {
    const server = this.#speaking();
    const request = this.#dice.of([...(server?.received.values() ?? [])]);
    if (request?.mark !== undefined) server?.progress(request);
  }

  log() {
    const server = this.#speaking();
    if (server !== undefined) server.log(this.#about(server));
  }

  announce() {
    this.#speaking()?.announce();
  }

  attend() {
    this.#speaking()?.attend();
  }

  nonsense() {
    this.#speaking()?.nonsense();
  }

  die() {
    const server = this.#speaking();
    if (server === undefined || !this.#dice.once(3)) return;
    const dice = this.#dice;
    this.trace.push(`  ${server.name}`);
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
    const server = this.#speaking();
    if (server === undefined) return;
    if (server.process.stdin.clogged) server.process.stdin.unclog();
    else server.process.stdin.clogged = this.#dice.once(3);
  }

  // ---- what the operator and the time do

  #entry(/** @type {string} */ name) {
    const era = { a: 'legacy', b: 'modern', c: 'legacy' }[name] ?? 'legacy';
    const other = this.#dice.once(4) ? (era === 'legacy' ? 'modern' : 'legacy') : era;
    return {
      command: '/fake',
      args: [name, other],
      env: { N: this.#dice.roll(3) },
      maxRestarts: this.#dice.of([0, 1, 3]),
      autoRestart: !this.#dice.once(5),
      disabled: this.#dice.once(10),
      protocol: this.#dice.of(['auto', other]),
      isolation: name === 'c' ? this.#dice.of(['session', 'session', 'shared']) : 'shared',
    };
  }

  #apply() {
    const { config, problems } = this.#source.parseConfig({ mcpServers: this.#config }, 10);
    if (config === undefined) throw new Error(String(problems));
    this.#fleet.apply(config);
  }

  reload() {
    if (!this.#dice.once(3)) return;
    const name = this.#dice.of(NAMES);
    if (this.#dice.once(4)) delete this.#config[name];
    else this.#config[name] = this.#entry(name);
    this.trace.push(`  ${name} ${JSON.stringify(this.#config[name] ?? 'removed')}`);
    this.#apply();
  }

  restart() {
    const name = this.#dice.of(NAMES);
    if (this.#dice.once(4)) this.#politely(() => this.#fleet.restart(name));
  }

  async wait() {
    const ms = this.#dice.of([1, 20, 25, 100, 250, 1_000, 2_000, 5_000, 12_000, 25_000]);
    this.trace.push(`  ${ms} ms`);
    await this.#clock.advance(ms);
  }
}

/** @type {readonly (readonly ['callSimple' | 'callModern' | 'callSession' | 'listen' | 'retry' | 'openSession' | 'answerAsSession' | 'closeSession' | 'standalone' | 'readSimple' | 'cancel' | 'answer' | 'ask' | 'withdraw' | 'progress' | 'log' | 'announce' | 'attend' | 'nonsense' | 'die' | 'clog' | 'reload' | 'restart' | 'wait', number])[]} */
const OPS = [
  ['callSimple', 4],
  ['callModern', 6],
  ['callSession', 10],
  ['listen', 2],
  ['retry', 6],
  ['openSession', 4],
  ['answerAsSession', 6],
  ['closeSession', 1],
  ['standalone', 2],
  ['readSimple', 1],
  ['cancel', 4],
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
const WEIGHTED = OPS.flatMap((op) => Array.from({ length: op[1] }, () => op));
