// Every bound: its default and its reason. `createProxy({ limits })` changes them all, an operator the first ones, which
// are settings (`config/env.ts`). Times are milliseconds.

export const LIMITS = {
  // Settings (README, "Settings")
  idleTimeoutMs: 300_000, // 0 = never
  requestTimeoutMs: 300_000, // since the call or its last progress; 0 = only the hard cap
  startTimeoutMs: 180_000, // a cold `npx` or `docker` download is slow
  startConcurrency: 4, // twenty `npx` at once starve each other
  maxBodyBytes: 10_485_760,
  maxLineBytes: 67_108_864,
  maxPending: 1_000, // calls in flight per server, waiting ones included
  sessionTimeoutMs: 1_800_000, // without a request in flight and without an open stream
  maxSessions: 1_000, // per server
  maxIsolated: 16, // processes of their own per server
  sseAfterMs: 2_000, // until a pending answer becomes a stream that can be resumed

  // One call
  requestHardCapMs: 3_600_000, // progress cannot keep a call for ever, nor a client a question
  startWaitMs: 50_000, // below the 60 s after which client SDKs give up
  maxKeptBytes: 67_108_864, // per server, of requests that wait or may have to be sent again; and of answers to calls whose clients have to return
  tombstoneMs: 60_000, // a cancelled call may still make its server ask something
  maxMembers: 10_000, // members of a message, of its params, of its _meta: bounds what bookkeeping costs
  maxIdBytes: 16_384, // of a request, and of its progress token, which are kept until it has its answer
  maxBatch: 100,
  maxInitializeBytes: 262_144, // of a client with a session: what it says of itself is kept as long as that lasts
  maxSubscriptions: 1_000, // resource URIs per server
  maxUriBytes: 65_536, // of one of them, which is kept as long as it is watched
  maxQuestions: 100, // requests of one server that clients have not answered
  maxQuestionBytes: 67_108_864, // of all of them
  askWaitMs: 30_000, // for a client to open a stream on which it can be asked

  // Calls that need input, between clients and servers of different eras
  maxParked: 100, // per server
  parkMs: 300_000, // for a client to return with what was asked
  collectMs: 20, // for a server to ask more than one thing at once
  maxRounds: 10, // of one call
  roundMs: 600_000, // for the client to answer all of one
  roundAgainMs: 250, // when a server asks to be called again and for nothing else; doubled each time

  // Clients of 2026-07-28
  maxListens: 100, // streams of subscriptions/listen per server
  maxListenBytes: 262_144, // of the request of one, which is kept as long as it is open
  ackWaitMs: 10_000, // for a server to take the subscriptions of one
  listenAgainMs: 1_000, // when a server has ended what the proxy listens to
  toolsWaitMs: 5_000, // for the list of tools that says which arguments are repeated in headers
  maxToolPages: 50,
  levelWaitMs: 2_000, // for a server to take a log level before a call

  // One child
  maxLineParts: 65_536, // tiny chunks cost more than their bytes
  maxStdinQueueBytes: 16_777_216,
  stdinReserveBytes: 4_194_304, // beyond it, for answers that the process waits for and cancellations
  stderrTailBytes: 65_536,
  stderrShownLines: 20,
  stderrShownBytes: 2_048,
  probeMs: 5_000, // for an answer to server/discover
  stopStdinMs: 2_000, // from end of stdin to SIGTERM
  stopTermMs: 2_000, // from SIGTERM to SIGKILL
  goneAfterKillMs: 500, // what is left then are zombies that only init can reap
  goneCheckMs: 25,
  deathGraceMs: 100, // after the first sign of death, for the last answer, exit code and stderr to arrive

  // Supervision
  turnMs: 10_000, // of a start, after which others may start beside it: it is slow, or hangs
  backoffFirstMs: 1_000,
  backoffMaxMs: 30_000,
  backoffJitter: 0.2, // share of the delay
  healthyMs: 60_000, // of running, after which the restarts are forgotten
  halfOpenMs: 60_000, // after giving up, until a request may try again
  drainReloadMs: 10_000,
  drainShutdownMs: 5_000,

  // Streams
  keepAliveMs: 15_000, // below the idle timeout of every common reverse proxy
  sseQueueBytes: 8_388_608, // unread of a stream, or in line on a connection, when the next event or answer is due
  sseStallMs: 60_000, // without taking a byte of what is there, also of a whole answer
  logEvents: 1_000, // kept per session for those who come back
  logBytes: 4_194_304,
  finishedStreamMs: 300_000, // a complete stream can be resumed so long
  retryMs: 3_000, // hint to clients
  statusCollectMs: 250,
  maxStatusReaders: 100,

  // HTTP
  bodyTimeoutMs: 60_000,
  headersTimeoutMs: 30_000,
  timeoutCheckMs: 5_000,
  keepAliveTimeoutMs: 65_000, // longer than a load balancer's 60 s, so that it closes first
  maxHeaderBytes: 16_384,
  maxHeaders: 200,
  maxConnections: 10_000,
  maxUnansweredPerConnection: 100,
  discardBytes: 16_777_216, // read and dropped after a 413, so that an uploader a little over the limit sees the answer
  discardMs: 5_000,

  // Configuration
  configDebounceMs: 100,
  configDebounceMaxMs: 1_000,
  configPollMs: 2_000,
  maxConfigBytes: 1_048_576,
  maxServers: 1_000,
  maxProblems: 100, // shown of an invalid configuration
} as const;

export type Limits = { readonly [K in keyof typeof LIMITS]: number };
