import assert from 'node:assert/strict';
import { test } from 'node:test';
import { resolveCommand, type Host } from '../../src/child/command.ts';

const posix: Host = { platform: 'linux', execPath: '/opt/node/bin/node', isThere: () => assert.fail('nothing is looked for') };

const NODE = String.raw`C:\Program Files\nodejs`;
const ENV = { Path: String.raw`C:\Windows;C:\tools`, ComSpec: String.raw`C:\Windows\system32\cmd.exe`, PATHEXT: '.COM;.EXE;.BAT;.CMD;.JS' };

/** A Windows machine with these files; case does not count there. */
function windows(...files: string[]): Host {
  const there = new Set(files.map((file) => file.toLowerCase()));
  return { platform: 'win32', execPath: String.raw`${NODE}\node.exe`, isThere: (path) => there.has(path.toLowerCase()) };
}

// ---- PATH

for (const [what, host, env, path, searched] of [
  ['added to the end', posix, { PATH: '/usr/bin:/bin' }, { PATH: '/usr/bin:/bin:/opt/node/bin' }, '/usr/bin:/bin:/opt/node/bin'],
  ['not added twice', posix, { PATH: '/opt/node/bin:/bin' }, { PATH: '/opt/node/bin:/bin' }, '/opt/node/bin:/bin'],
  ['told from what only begins like it', posix, { PATH: '/opt/node/bin2' }, { PATH: '/opt/node/bin2:/opt/node/bin' }, '/opt/node/bin2:/opt/node/bin'],
  ['not all there is where there was nothing', posix, { HOME: '/' }, { HOME: '/' }, undefined],
  ['added under the name that the variable has', windows(), { Path: 'C:\\a' }, { Path: `C:\\a;${NODE}` }, `C:\\a;${NODE}`],
  ['added to the one that counts', windows(), { Path: 'C:\\a', PATH: 'C:\\b' }, { Path: 'C:\\a', PATH: `C:\\b;${NODE}` }, `C:\\b;${NODE}`],
] as const) {
  test(`the directory of the running node is ${what}`, () => {
    const found = resolveCommand('npx', ['-y'], env, host);
    assert.deepEqual(found, { file: 'npx', args: ['-y'], env: path, verbatim: false, searched });
  });
}

test('a command with a directory is searched nowhere, and the servers that it starts have the PATH all the same', () => {
  for (const command of ['/usr/bin/x', './x', 'bin/x']) {
    assert.deepEqual(resolveCommand(command, [], { PATH: '/bin' }, posix), { file: command, args: [], env: { PATH: '/bin:/opt/node/bin' }, verbatim: false, searched: undefined });
  }
  for (const command of ['C:\\x', 'C:x', '.\\x', 'bin/x']) assert.equal(resolveCommand(command, [], ENV, windows()).searched, undefined);
});

test('what stands in arguments means nothing where there is no batch file', () => {
  const args = ['$HOME', '%PATH%', '"', "'", '&', '\\', '', '\n'];
  assert.deepEqual(resolveCommand('/bin/x', args, {}, posix).args, args);
  const found = resolveCommand('uvx', args, ENV, windows('C:\\tools\\uvx.exe'));
  assert.deepEqual([found.file, found.args, found.verbatim], ['C:\\tools\\uvx.exe', args, false]);
});

// ---- which file, on Windows

for (const [command, files, file] of [
  ['docker', ['C:\\tools\\docker.exe'], 'C:\\tools\\docker.exe'],
  ['docker', ['C:\\tools\\docker.exe', 'C:\\Windows\\docker.com'], 'C:\\Windows\\docker.com'], // the order of PATH
  ['docker', ['C:\\tools\\docker.exe', 'C:\\tools\\docker.com'], 'C:\\tools\\docker.com'], // the order of PATHEXT
  ['docker.exe', ['C:\\tools\\docker.exe'], 'C:\\tools\\docker.exe'],
  ['DOCKER.EXE', ['C:\\tools\\docker.exe'], 'C:\\tools\\DOCKER.EXE'],
  ['python3.11', ['C:\\tools\\python3.11.exe', 'C:\\tools\\python3.11'], 'C:\\tools\\python3.11.exe'],
  ['node', [`${NODE}\\node.exe`], `${NODE}\\node.exe`], // last of all, where the running one is
  ['C:/own dir/x', ['C:\\own dir\\x.exe'], 'C:\\own dir\\x.exe'],
  ['.\\x.exe', ['x.exe'], 'x.exe'],
  ['npx', ['C:\\tools\\npx', 'C:\\tools\\npx.ps1'], 'npx'], // for another shell
  ['nothing', [], 'nothing'],
  ['C:\\nothing', [], 'C:\\nothing'],
] as const) {
  test(`${command} among ${files.join(', ') || 'no files'} is ${file}`, () => {
    const found = resolveCommand(command, ['a b'], ENV, windows(...files));
    assert.deepEqual([found.file, found.args, found.verbatim], [file, ['a b'], false]);
  });
}

test('without PATHEXT and ComSpec there are the usual endings and cmd.exe; quotes around a directory are no part of it', () => {
  const found = resolveCommand('x', [], { PATH: '"C:\\a b";;C:\\c' }, windows('C:\\a b\\x.cmd'));
  assert.deepEqual([found.file, found.args.at(-1)], ['cmd.exe', '""C:\\a b\\x.cmd""']);
});

// ---- batch files: by cmd.exe, in a line that says the same to it, to the batch file and to the program behind it

for (const file of [`${NODE}\\npx.cmd`, 'C:\\tools\\x.bat', 'C:\\tools\\x.js']) {
  test(`${file} is started by cmd.exe, without AutoRun, with its own quotes around everything`, () => {
    const command = file.replace(/^.*\\(\w+)\.\w+$/, '$1');
    const found = resolveCommand(command, ['-y', '@scope/server'], ENV, windows(file));
    assert.deepEqual(found, {
      file: ENV.ComSpec,
      args: ['/e:on', '/v:off', '/d', '/s', '/c', `""${file}" "-y" "@scope/server""`],
      env: { ...ENV, Path: `${ENV.Path};${NODE}` },
      verbatim: true,
      searched: `${ENV.Path};${NODE}`,
    });
  });
}

for (const [arg, quoted] of [
  ['', '""'],
  ['plain', '"plain"'],
  ['a b', '"a b"'],
  ['a&b|c<d>e^f(g)h;i,j!k', '"a&b|c<d>e^f(g)h;i,j!k"'],
  ['"', '""""'],
  ['{"a":"b & c"}', '"{""a"":""b & c""}"'],
  ['%PATH%', '"%%cd:~,%PATH%%cd:~,%"'],
  ['C:\\dir', '"C:\\dir"'],
  ['C:\\dir\\', '"C:\\dir\\\\"'],
  ['\\\\host\\share\\\\', '"\\\\host\\share\\\\\\\\"'],
  ['a\\"b', '"a\\\\""b"'],
  ['a\\\\"', '"a\\\\\\\\"""'],
  ['żółć 🦊', '"żółć 🦊"'],
] as const) {
  test(`the argument ${JSON.stringify(arg)} of a batch file is written as ${quoted}`, () => {
    const found = resolveCommand('x', [arg], ENV, windows('C:\\tools\\x.cmd'));
    assert.equal(found.args.at(-1), `""C:\\tools\\x.cmd" ${quoted}"`);
    assert.equal(asProgram(quoted), arg);
  });
}

/** What a program makes of its part of a command line after cmd.exe has read it: the rules of the C runtime. */
function asProgram(text: string): string {
  const line = text.replaceAll('%cd:~,%', '');
  let arg = '';
  for (let at = 1; at < line.length - 1; ) {
    const slashes = /^\\*/.exec(line.slice(at))![0].length;
    const quote = line[at + slashes] === '"';
    arg += '\\'.repeat(quote ? slashes / 2 : slashes);
    at += slashes;
    if (quote && line[at + 1] === '"' && at + 1 < line.length) {
      if (at + 2 > line.length - 1) break; // the closing one
      arg += '"';
      at += 2;
    } else if (!quote && at < line.length - 1) arg += line[at++];
    else break;
  }
  return arg;
}

test('an argument that a batch file cannot be given is refused, not changed', () => {
  for (const arg of ['a\nb', 'a\rb', 'a\0b']) {
    assert.throws(() => resolveCommand('x', [arg], ENV, windows('C:\\tools\\x.cmd')), { code: 'EINVAL' });
  }
});
