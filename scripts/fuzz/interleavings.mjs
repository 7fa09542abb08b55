// Servers and clients of every kind around a whole fleet, and what can happen between them in an order that chance decides:
// calls, answers, progress, questions, cancellations, silence, deaths, reloads. Time and processes are fakes, everything
// between them is the real thing. The model is what each side may rely on, not how it is brought about.
// @ts-check

import { Client } from './clients.mjs';
import { Dice } from './dice.mjs';
import { ANY } from './marks.mjs';
import { URI } from './server.mjs';
import { LIMITS, NAMES, play, Stage } from './stage.mjs';

/** @typedef {any} Source the modules of a build, see source.mjs */
/** @typedef {import('./stage.mjs').Op} Op */
/** @typedef {import('./clients.mjs').Call} Call */

/** In which nothing can be left that a silent server or a silent client keeps. */
const LONG_MS = 2 * (LIMITS.startWaitMs + LIMITS.requestHardCapMs + LIMITS.parkMs + (LIMITS.maxRounds + 1) * LIMITS.roundMs);
/** What else a call may have to wait for before it is written: the list of tools, the log level, and a list that changed meanwhile. */
const WRITE_MS = 5_000 + 2_000 + 5_000;
/** What the last words of a process may take. */
const DEATH_MS = 100;

/** One run; the number of its steps. */
export const interleave = (/** @type {Source} */ source, /** @type {number} */ seed) => play(new Run(source, new Dice(seed)));

class Run extends Stage {
  /** @override */
  ops = OPS;
  #world;
  #fleet;
  /** @type {Client[]} sessions that are open */
  #sessions = [];
  /** Calls that are not over. @type {Set<Call>} */
  #live = new Set();
  /** Until when a parked call may count. @type {{ server: unknown, until: number }[]} */
  #parks = [];
  #lastClient = 0;
  /** @type {any[]} streams of simple clients */
  #readers = [];
  /** @type {Set<number>} */
  #simple = new Set();

  constructor(/** @type {Source} */ source, /** @type {Dice} */ dice) {
    super(source, dice);
    const { clock } = this;
    const limits = { ...source.LIMITS, ...LIMITS };
    const log = new source.Log({ level: 'info', write: (/** @type {any} */ { server, message }) => void this.trace.push(`  ${server}: ${message}`) }, clock);
    this.#world = { clock, deadlines: new source.Deadlines(clock), log, limits, random: () => dice.next() };
    this.#fleet = new source.Fleet({ world: this.#world, env: {}, secrets: [], clientInfo: { name: 'proxy', version: '1' }, onStatus: (/** @type {string} */ name) => this.#onStatus(name) });
  }

  /** Since when each server runs without a break. @type {Map<string, number>} */
  #runningSince = new Map();

  #onStatus(/** @type {string} */ name) {
    if (this.#fleet.statusOf(name)?.status !== 'running') this.#runningSince.delete(name);
    else if (!this.#runningSince.has(name)) this.#runningSince.set(name, this.clock.now());
  }

  /** @override */
  begin() {
    this.apply();
    this.#fleet.start();
  }

  /** Nobody does anything any more, then everything is stopped: nothing is left. */
  /** @override */
  async end() {
    const dice = this.dice;
    for (const { process } of this.servers) process.stdin.unclog();
    if (dice.once(2)) {
      this.trace.push('silence');
      await this.clock.advance(LONG_MS);
      this.check();
      const left = [...this.#live].filter(({ isListen, at }) => !isListen && at === 'open');
      if (left.length > 0) throw new Error(`${left.map(({ mark, method }) => `${method} ${mark}`)} hangs for ever`);
      for (const server of this.#all()) if (server.status.pendingRequests !== 0) throw new Error(`${server.status.pendingRequests} requests pend of which nobody knows`);
      for (const client of [...this.#sessions]) this.#close(client); // who may think for ever, and so may its server
      await this.clock.turn();
      this.check();
      for (const server of this.servers) {
        for (const [id, { asked, answers }] of server.questions) {
          if (server.alive && server.process.stdin.writable && asked > answers) throw new Error(`the server ${server.name} never gets an answer to ${id}`);
        }
      }
    }
    this.trace.push('the end');
    let closed = false;
    void this.#fleet.close().then(() => (closed = true));
    await this.clock.advance(30_000);
    this.check();
    const left = [...this.#live].filter(({ at }) => at === 'open');
    if (!closed) throw new Error('the fleet does not end');
    if (left.length > 0) throw new Error(`${left.map(({ mark, method }) => `${method} ${mark}`)} has no answer at the end`);
    if (this.#sessions.length > 0) throw new Error('a session outlives its server');
    for (const reader of this.#readers) if (reader.open && reader.ended !== 1) throw new Error(`the stream of a simple client has ended ${reader.ended} times`);
    if (this.system.alive.length > 0) throw new Error(`${this.system.alive.length} processes are left`);
    this.#world.deadlines.close();
    if (this.clock.armed > 0) throw new Error(`${this.clock.armed} timers are left`);
  }

  // ---- what must be so after every step

  /** @override */
  check() {
    super.check();
    const now = this.clock.now();
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
    const reading = new Set(this.servers.filter(({ name, alive, process }) => alive && !process.stdin.clogged && name !== 'c').map(({ name }) => name));
    for (const call of open) {
      if (!reading.has(call.client.name)) continue;
      const since = this.#runningSince.get(call.client.name) ?? Infinity;
      if (now > Math.max(since, call.sentAt) + WRITE_MS && !call.reached && call.server === this.#server(call.client.name) && !call.client.isHouse(call.method)) {
        throw new Error(`${call.mark} has not reached its server, which runs`);
      }
    }
    for (const { questions } of this.#sessions) {
      for (const { mark } of questions.values()) {
        const asks = this.servers.some((server) => now <= server.process.diedAt + DEATH_MS && [...server.questions.values()].some(({ marks }) => marks.includes(mark)));
        if (!asks && this.calls.get(mark)?.at !== 'open') throw new Error(`${mark} is over, and its client is not told that nobody waits for its answer`);
      }
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
      call.overAt = this.clock.now() + LIMITS.parkMs; // unless its client comes back
      this.#parks.push({ server: call.server, until: call.overAt });
    };
    return { dice: this.dice, source: this.source, world: this.#world, fail: this.fail, now: this.clock.now, onPark };
  }

  #send(/** @type {Call} */ call, /** @type {any} */ server) {
    this.trace.push(`  ${call.mark} ${call.method} ${JSON.stringify(call.id)} to ${call.client.name}`);
    call.server = server;
    call.sentAt = this.clock.now();
    this.#seen.add(server);
    this.calls.set(call.mark, call);
    this.#live.add(call);
    if (call.client.session !== undefined) call.client.session.dispatch(call.exchange, call.request);
    else server.dispatch(call.exchange, call.request);
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
      if (!(error instanceof this.source.ProxyError)) throw error;
      return undefined;
    }
  }

  callSimple() {
    const name = this.dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const client = new Client(this.#place(), ++this.#lastClient, 'simple', name);
    this.#simple.add(client.c);
    this.#send(this.dice.once(12) ? client.call('ping') : client.call(), server);
  }

  callModern() {
    const name = this.dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const client = new Client(this.#place(), ++this.#lastClient, 'modern', name);
    this.#send(this.dice.once(12) ? client.call('server/discover') : client.call(), server);
  }

  listen() {
    const name = this.dice.of(NAMES);
    const server = this.#server(name);
    if (server === undefined) return;
    const resourceSubscriptions = [`${URI}${this.dice.roll(4)}`, `${URI}${this.dice.roll(4)}`].slice(this.dice.roll(3));
    const client = new Client(this.#place(), ++this.#lastClient, 'modern', name);
    this.#send(client.call('subscriptions/listen', { notifications: { toolsListChanged: true, resourceSubscriptions } }, true), server);
  }

  /** A modern client whose call is parked comes back. */
  retry() {
    const call = this.dice.of([...this.#live].filter(({ at }) => at === 'parked'));
    const server = call && this.#server(call.client.name);
    if (call === undefined || server === undefined) return;
    call.retry();
    this.#send(call, server);
  }

  openSession() {
    if (this.#sessions.length >= 6) return;
    const name = this.dice.of(NAMES);
    const client = new Client(this.#place(), ++this.#lastClient, 'session', name);
    const params = { protocolVersion: '2025-11-25', capabilities: client.capabilities, clientInfo: { name: 'c', version: '1' } };
    const request = this.source.readMessage(this.source.encodeCall('initialize', params, 0), this.#world.limits);
    const server = this.#politely(() => this.#fleet.forSession(name, request));
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
    const session = new this.source.Client(server, this.#world, {
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
    client.session.close(new this.source.ProxyError('session_closed', 'Session closed'));
    this.#fleet.release(client.name, client.server);
    for (const call of client.calls) this.fail(`${call.mark} has no answer at the end of its session`);
  }

  callSession() {
    const client = this.dice.of(this.#sessions);
    if (client === undefined) return;
    const uri = `${URI}${this.dice.roll(4)}`;
    const [method, params] = this.dice.of(
      /** @type {const} */ ([
        [undefined, {}],
        [undefined, {}],
        [undefined, {}],
        [undefined, {}],
        ['resources/subscribe', { uri }],
        ['resources/unsubscribe', { uri }],
        ['logging/setLevel', { level: this.dice.of(['debug', 'info', 'error', 'loud']) }],
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
    this.dice.of(this.#sessions.filter(({ questions }) => questions.size > 0))?.answer();
  }

  closeSession() {
    const client = this.dice.of(this.#sessions);
    if (client !== undefined && this.dice.once(3)) this.#close(client);
  }

  /** The stream of a session that belongs to no request comes and goes. */
  standalone() {
    const client = this.dice.of(this.#sessions);
    if (client === undefined) return;
    client.standalone = !client.standalone;
    if (!client.standalone) return;
    client.server.wake();
    client.session.retry();
  }

  readSimple() {
    const open = this.#readers.filter((reader) => reader.open);
    if (open.length >= 3) {
      const reader = this.dice.of(open);
      reader.open = false;
      return reader.server.leave(reader);
    }
    const server = this.#server(this.dice.of(NAMES));
    if (server === undefined) return;
    const fail = this.fail;
    const simple = this.#simple;
    const reader = {
      server,
      holder: this.source.SIMPLE,
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
    const call = this.dice.of([...this.#live].filter(({ at, cancelled }) => at === 'open' && !cancelled));
    if (call === undefined || call.method === 'initialize') return;
    this.trace.push(`  ${call.mark}`);
    const { session } = call.client;
    if (session === undefined) {
      call.over('left', true);
      call.server.cancel(call.exchange, 'the client disconnected');
    } else {
      const text = JSON.stringify({ jsonrpc: '2.0', method: 'notifications/cancelled', params: { requestId: call.id } });
      session.take(this.source.readMessage(Buffer.from(text), this.#world.limits));
      if (call.at === 'open') this.fail(`${call.mark} was cancelled and is not over`);
    }
  }

  // ---- what the operator does

  /** @override */
  apply() {
    const { config, problems } = this.source.parseConfig({ mcpServers: this.config }, 10);
    if (config === undefined) throw new Error(String(problems));
    this.#fleet.apply(config);
  }

  restart() {
    const name = this.dice.of(NAMES);
    if (this.dice.once(4)) this.#politely(() => this.#fleet.restart(name));
  }
}

/** How often clients do what. @type {Op[]} */
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
];
