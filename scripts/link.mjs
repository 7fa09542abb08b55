// @ts-check
// Links the compiled program: dist/index.js takes in every module that it imports. Node needs 0.7 ms and 100 KiB to load
// one more small ES module, and there are sixty; the program, of which every start counts, is one file instead. The
// library (dist/proxy.js) stays as it was compiled, for whoever embeds it links it in their own way. An argument names
// another directory than dist/.
//
// It is no bundler. It knows the imports and exports that the compiler writes for our sources and refuses every other:
// a module becomes a function that is called once, in the order of the imports, and returns what the module exports.
// Each line stays a line, so that a module's source map is a section of the program's.

import { readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { fileURLToPath } from 'node:url';

const dist = resolve(process.argv[2] ?? join(dirname(dirname(fileURLToPath(import.meta.url))), 'dist'));
const entry = join(dist, 'index.js');

const IMPORT = /^import \{([^}]*)\} from '([^']+)';/gm;
const RE_EXPORT = /^export \{([^}]*)\} from '([^']+)';/gm;
const EXPORTED = /^export ((?:async )?(?:function\*?|class|const) )(\w+)/gm;
const NOTHING = /^export \{\};/gm;
const LEFT_OVER = /^(?:import|export)\b.*/m;

/** The linked modules: text, and the file that it was. @type {Map<string, { name: string, text: string }>} */
const modules = new Map();
const builtins = new Set();
/** Those whose imports are being linked. @type {string[]} */
const open = [];

link(entry);
write();

/** Links a module after those that it imports. @param {string} file @returns {string} the name of what it exports */
function link(file) {
  const known = modules.get(file);
  if (known !== undefined) return known.name;
  if (open.includes(file)) fail(`modules import each other: ${[...open, file].map((path) => relative(dist, path)).join(' -> ')}`);
  open.push(file);
  const name = nameOf(relative(dist, file).replace(/\.js$/, ''));
  /** @type {string[]} */
  const exported = [];
  const reexported = (/** @type {string} */ names, /** @type {string} */ source) => {
    for (const what of names.match(/\w+/g) ?? []) exported.push(`${what}: ${source}.${what}`);
    return '';
  };
  const from = (/** @type {string} */ specifier) => (specifier.startsWith('.') ? link(join(dirname(file), specifier)) : builtin(specifier));
  const text = readFileSync(file, 'utf8')
    .replace(/^#!.*/, '')
    .replace(/^\/\/# sourceMappingURL=.*\n?/m, '')
    .replace(IMPORT, (_, names, specifier) => `const {${names.replaceAll(' as ', ': ')}} = ${from(specifier)};`)
    .replace(RE_EXPORT, (_, names, specifier) => reexported(names, from(specifier)))
    .replace(EXPORTED, (_, kind, what) => (exported.push(what), `${kind}${what}`))
    .replace(NOTHING, '');
  const strange = LEFT_OVER.exec(text);
  if (strange !== null) fail(`${relative(dist, file)}: cannot link "${strange[0]}"`);
  modules.set(file, { name, text: file === entry ? text : `const ${name} = (() => {${text}return {${exported.join(', ')}};\n})();\n` });
  open.pop();
  return name;
}

/** @param {string} specifier @returns {string} */
function builtin(specifier) {
  if (!specifier.startsWith('node:')) fail(`${relative(dist, String(open.at(-1)))}: imports "${specifier}", which is neither ours nor Node's`);
  builtins.add(specifier);
  return nameOf(specifier);
}

/** @param {string} path @returns {string} */
function nameOf(path) {
  return `$${path.replaceAll(/\W/g, '_')}`;
}

/** Writes the program over what was compiled of its entry, and its map: one section for each module. */
function write() {
  let linked = ['#!/usr/bin/env node\n', ...[...builtins].map((specifier) => `import * as ${nameOf(specifier)} from '${specifier}';\n`)].join('');
  const sections = [...modules].map(([file, { text }]) => {
    const section = { offset: { line: linked.split('\n').length - 1, column: 0 }, map: mapOf(file) };
    linked += text;
    return section;
  });
  writeFileSync(`${entry}.map`, JSON.stringify({ version: 3, file: 'index.js', sections }));
  writeFileSync(entry, `${linked}//# sourceMappingURL=index.js.map\n`);
}

/** The map of a module, as seen from the program. @param {string} file @returns {Record<string, unknown>} */
function mapOf(file) {
  const map = JSON.parse(readFileSync(`${file}.map`, 'utf8'));
  return { ...map, sources: map.sources.map((/** @type {string} */ source) => relative(dist, join(dirname(file), source)).replaceAll(sep, '/')) };
}

/** @param {string} why @returns {never} */
function fail(why) {
  console.error(`link: ${why}`);
  process.exit(1);
}
