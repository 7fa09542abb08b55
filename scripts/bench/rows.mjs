// A row of the table: what was measured of the program and of what it stands beside, and what is held against it. A
// ratio is the median of the ratios of single rounds: what is measured in one round shares what the machine was doing.
// @ts-check

/**
 * @typedef {object} Row
 * @property {string} name
 * @property {string} unit
 * @property {number} ours
 * @property {number | undefined} reference
 * @property {string} beside what the reference is
 * @property {'ratio' | 'difference' | 'value'} judged
 * @property {number} value what is judged
 * @property {'most' | 'least'} bound whether goal and accepted are the most or the least
 * @property {number} goal
 * @property {number} accepted
 * @property {boolean} over worse than accepted
 * @property {Record<string, number>} also what was measured beside it
 * @property {{ ours: number[], reference: number[] }} rounds
 */

/**
 * @typedef {object} Measured
 * @property {string} name
 * @property {string} unit
 * @property {number[]} ours one a round
 * @property {number[]} [reference] of the same rounds
 * @property {string} [beside]
 * @property {Record<string, number>} [also]
 */

/** As many, as fast: the ratio is at least so much. @returns {Row} */
export const atLeast = (/** @type {Measured} */ measured, /** @type {number} */ goal, accepted = goal) => row(measured, 'ratio', 'least', goal, accepted);

/** As little: the ratio is at most so much. @returns {Row} */
export const atMost = (/** @type {Measured} */ measured, /** @type {number} */ goal, accepted = goal) => row(measured, 'ratio', 'most', goal, accepted);

/** At most so much more than the reference. @returns {Row} */
export const atMostMore = (/** @type {Measured} */ measured, /** @type {number} */ goal) => row(measured, 'difference', 'most', goal, goal);

/** At most so much, whatever the reference is. @returns {Row} */
export const atMostInAll = (/** @type {Measured} */ measured, /** @type {number} */ goal) => row(measured, 'value', 'most', goal, goal);

/** Memory after something has come and gone: within 5 % and 5 MB of the reference. @returns {Row} */
export function growth(/** @type {Measured & { reference: number[] }} */ measured) {
  const bound = 1.05 + 5e6 / 1_048_576 / median(measured.reference);
  return row(measured, 'ratio', 'most', bound, bound);
}

/** @param {Measured} measured @param {Row['judged']} judged @param {Row['bound']} bound @param {number} goal @param {number} accepted @returns {Row} */
function row({ name, unit, ours, reference = [], beside = '', also = {} }, judged, bound, goal, accepted) {
  const values = ours.map((value, k) => {
    const other = reference[k] ?? NaN;
    return judged === 'ratio' ? value / other : judged === 'difference' ? value - other : value;
  });
  const value = median(values);
  return {
    name,
    unit,
    ours: median(ours),
    reference: reference.length === 0 ? undefined : median(reference),
    beside,
    judged,
    value,
    bound,
    goal,
    accepted,
    over: bound === 'most' ? value > accepted : value < accepted,
    also,
    rounds: { ours, reference },
  };
}

export function median(/** @type {readonly number[]} */ values) {
  return [...values].sort((a, b) => a - b)[values.length >> 1] ?? NaN;
}

const WIDTHS = [57, 11, 21, 11, 11, 11];

/** The rows as a table of fixed width. */
export function table(/** @type {readonly Row[]} */ rows) {
  const line = (/** @type {string[]} */ cells) => cells.map((cell, k) => (k === 0 ? cell.padEnd(WIDTHS[k] ?? 0) : cell.padStart(WIDTHS[k] ?? 0))).join('').trimEnd();
  return [
    line(['', 'mcp-proxy', 'beside', 'judged by', 'goal', 'accepted']),
    ...rows.map((row) => {
      const beside = row.reference === undefined ? '' : `${row.beside} ${figure(row.reference)}`;
      const text = line([`${row.name}, ${row.unit}`, figure(row.ours), beside, judged(row, row.value), limit(row, row.goal), limit(row, row.accepted)]);
      const also = Object.entries(row.also).map(([name, value]) => `${name} ${figure(value)}`);
      return `${text}${row.over ? '  OVER' : ''}${also.length === 0 ? '' : `  (${also.join(', ')})`}`;
    }),
  ].join('\n');
}

/** The rows as a table of Markdown. */
export function markdown(/** @type {readonly Row[]} */ rows) {
  const line = (/** @type {string[]} */ cells) => `| ${cells.join(' | ')} |`;
  return [
    line(['', 'mcp-proxy', 'beside', 'judged by', 'goal', 'accepted']).replace('|  |', '| |'),
    '|---|---|---|---|---|---|',
    ...rows.map((row) => {
      const reference = row.reference === undefined ? '' : `${row.beside} ${figure(row.reference)}`;
      const value = row.over ? `**${judged(row, row.value)}**` : judged(row, row.value);
      return line([`${row.name}, ${row.unit}`, figure(row.ours), reference, value, limit(row, row.goal), limit(row, row.accepted)]);
    }),
  ].join('\n');
}

function limit(/** @type {Row} */ row, /** @type {number} */ value) {
  return `${row.bound === 'most' ? '≤' : '≥'} ${judged(row, value)}`;
}

function judged(/** @type {Row} */ row, /** @type {number} */ value) {
  if (row.judged === 'ratio') return `x ${value.toFixed(2)}`;
  return row.judged === 'difference' ? `${value < 0 ? '-' : '+'} ${figure(Math.abs(value))}` : figure(value);
}

/** A number with as many digits as mean something. */
function figure(/** @type {number} */ value) {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return value.toFixed(Math.abs(value) >= 10 ? 1 : 2);
}
