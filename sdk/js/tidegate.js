/**
 * What a Tidegate plugin in JavaScript is written against: one function for a record over the columns of a batch.
 *
 *     import * as tidegate from './tidegate.js';
 *
 *     export const { describe, configure, filter } = tidegate.filter({
 *       name: 'only-errors',
 *       version: '0.1.0',
 *       summary: 'Keeps what is an error.',
 *       columns: ['value'],
 *       configure: () => (record) => record.valueText?.startsWith('ERROR') ?? false,
 *     });
 *
 * All there is outside the plugin's own memory is `log`, `counter` and `config`: no clock, no files, no network.
 */

import { counter as hostCounter, log as hostLog, narrow as hostNarrow } from 'tidegate:plugin/host@0.1.0';

/** Nothing becomes of the record; the broker stores or delivers it. */
export const KEEP = true;
/** Acknowledged, and not stored (or not delivered). */
export const DROP = false;

/** The verdict that fails the produce request, with a sentence for whoever sent the record. */
export function reject(reason) {
  return new Rejection(reason);
}

class Rejection {
  constructor(reason) {
    this.reason = String(reason);
  }
}

export const log = {
  trace: (message) => hostLog('trace', String(message)),
  debug: (message) => hostLog('debug', String(message)),
  info: (message) => hostLog('info', String(message)),
  warn: (message) => hostLog('warn', String(message)),
  error: (message) => hostLog('error', String(message)),
};

/** Adds to a counter of this plugin, shown in the broker's metrics. */
export function count(name, delta = 1) {
  hostCounter(name, BigInt(delta));
}

/** Within `configure`: with this configuration no more than these columns are needed. */
export function narrow(columns) {
  hostNarrow(flags(columns));
}

/** Kinds of configuration keys: `text({ default: 'x', doc: 'One sentence.' })`, `integer({ required: true })`. */
export const text = (key = {}) => ({ kind: 'text', ...key });
export const integer = (key = {}) => ({ kind: 'integer', ...key });
export const float = (key = {}) => ({ kind: 'float', ...key });
export const boolean = (key = {}) => ({ kind: 'boolean', ...key });

const decoder = new TextDecoder();
const encoder = new TextEncoder();

/** Optional byte strings that lie one behind the other. */
export class Column {
  constructor(raw) {
    this.decoded = undefined;
    this.offsets = raw.offsets;
    this.data = raw.data;
    this.nulls = raw.nulls;
  }

  isNull(index) {
    return this.nulls.length !== 0 && ((this.nulls[index >> 3] >> (index & 7)) & 1) === 1;
  }

  /** A view of the bytes, which is good for this call only; null is not the same as empty. */
  bytes(index) {
    return this.isNull(index) ? null : this.data.subarray(this.offsets[index], this.offsets[index + 1]);
  }

  /** As text; what is not UTF-8 comes out as U+FFFD. */
  text(index) {
    this.decoded ??= this.texts();
    return this.decoded[index];
  }

  /** All entries as text, null where one is null. */
  texts() {
    const { offsets, data } = this;
    const texts = new Array(offsets.length - 1);
    // One decoding of the column costs less than one for each entry. Where it has as many characters as bytes, each
    // byte is a character of its own, and entries begin and end where their bytes do.
    const whole = decoder.decode(data);
    const plain = whole.length === data.length;
    let start = offsets[0];
    for (let index = 0; index < texts.length; index++) {
      const end = offsets[index + 1];
      texts[index] = plain ? whole.slice(start, end) : decoder.decode(data.subarray(start, end));
      start = end;
    }
    if (this.nulls.length !== 0) {
      for (let index = 0; index < texts.length; index++) if (this.isNull(index)) texts[index] = null;
    }
    return texts;
  }
}

/** Records of one partition, in order. Holds the columns that the plugin asked for; the others are null. */
export class Batch {
  constructor(raw) {
    this.count = raw.count;
    this.context = raw.context;
    this.offsetDeltas = raw.offsetDeltas;
    this.keys = raw.keys ? new Column(raw.keys) : null;
    this.values = raw.values ? new Column(raw.values) : null;
    this.timestamps = raw.timestamps;
    this.rawHeaders = raw.headers ?? null;
    this.headerKeys = raw.headers ? new Column(raw.headers.keys) : null;
    this.headerValues = raw.headers ? new Column(raw.headers.values) : null;
  }

  record(index) {
    return new Record(this, index);
  }

  *[Symbol.iterator]() {
    for (let index = 0; index < this.count; index++) yield new Record(this, index);
  }
}

/** One record. What the plugin's columns do not name reads as null. */
export class Record {
  constructor(batch, index) {
    this.batch = batch;
    this.index = index;
  }

  get key() {
    return this.batch.keys ? this.batch.keys.bytes(this.index) : null;
  }

  /** The value's bytes; null is a tombstone. */
  get value() {
    return this.batch.values ? this.batch.values.bytes(this.index) : null;
  }

  get keyText() {
    return this.batch.keys ? this.batch.keys.text(this.index) : null;
  }

  get valueText() {
    return this.batch.values ? this.batch.values.text(this.index) : null;
  }

  /** The value as JSON; undefined if it is none. */
  get json() {
    const value = this.valueText;
    if (value === null) return undefined;
    try {
      return JSON.parse(value);
    } catch {
      return undefined;
    }
  }

  /** Milliseconds since the Unix epoch, as a BigInt. */
  get timestamp() {
    return this.batch.timestamps[this.index] ?? null;
  }

  /** [name, value] in the order in which they were produced: names as text, values as bytes or null. */
  get headers() {
    const { rawHeaders, headerKeys, headerValues } = this.batch;
    const all = [];
    if (!rawHeaders) return all;
    for (let at = rawHeaders.offsets[this.index]; at < rawHeaders.offsets[this.index + 1]; at++) {
      all.push([headerKeys.text(at), headerValues.bytes(at)]);
    }
    return all;
  }

  /** The bytes of the last header of this name, as Kafka's lastHeader has it. */
  header(name) {
    const found = this.headers.findLast(([key]) => key === name);
    return found ? found[1] : null;
  }
}

/**
 * The exports of a filter: `const plugin = filter({...}); export const { describe, configure, filter } = plugin;`
 *
 * `configure(config)` gets the binding's configuration, each key of its kind, and gives the function that judges a
 * record: KEEP, DROP or reject(reason). Or it gives `{ batch(batch, verdicts) }`, which judges a batch at once.
 * What either throws is told to whoever binds the plugin, or becomes the error of the batch.
 */
export function filter(plugin) {
  let judge;
  return {
    ...common(plugin, (made) => (judge = made)),
    filter(raw) {
      return asked(() => {
        const batch = new Batch(raw);
        const verdicts = new Verdicts(batch.count);
        if (judge.batch) judge.batch(batch, verdicts);
        else for (let index = 0; index < batch.count; index++) verdicts.set(index, judge(new Record(batch, index)));
        return { codes: verdicts.codes, reasons: verdicts.reasons };
      });
    },
  };
}

/**
 * The exports of a router. `configure` gives `{ targets: [...], route(record, send) }`: `send(topic, partition)` sends
 * the record there too, with a partition's index, 'by-key' (the default) or 'same'. What `route` gives back says whether
 * it stays here: KEEP (or nothing), DROP or reject(reason).
 */
export function router(plugin) {
  let made;
  return {
    ...common(plugin, (router) => (made = router)),
    targets: () => made.targets,
    route(raw) {
      return asked(() => {
        const batch = new Batch(raw);
        const verdicts = new Verdicts(batch.count);
        const topics = [];
        const [records, targets, partitions] = [[], [], []];
        for (let index = 0; index < batch.count; index++) {
          const send = (topic, partition = 'by-key') => {
            let target = topics.indexOf(topic);
            if (target < 0) target = topics.push(topic) - 1;
            records.push(index);
            targets.push(target);
            partitions.push(partition === 'by-key' ? -1 : partition === 'same' ? -2 : partition);
          };
          verdicts.set(index, made.route(new Record(batch, index), send) ?? KEEP);
        }
        return {
          codes: verdicts.codes,
          reasons: verdicts.reasons,
          topics,
          records: Uint32Array.from(records),
          targets: Uint32Array.from(targets),
          partitions: Int32Array.from(partitions),
        };
      });
    },
  };
}

/**
 * The exports of a transform, whose columns to be changed are named in `writes`. `configure` gives the function that
 * changes a record: it gives back KEEP (or nothing), DROP, reject(reason), or what to replace, as
 * `{ key, value, headers, timestamp }`: bytes, text or null; headers as [[name, value], ...]; milliseconds.
 */
export function transform(plugin) {
  let change;
  return {
    ...common(plugin, (made) => (change = made)),
    apply(raw) {
      return asked(() => {
        const batch = new Batch(raw);
        const verdicts = new Verdicts(batch.count);
        const [keys, values] = [new BytesEdit(), new BytesEdit()];
        const headers = { rows: [], offsets: [0], keys: new ColumnBuilder(), values: new ColumnBuilder() };
        const timestamps = { rows: [], values: [] };
        for (let index = 0; index < batch.count; index++) {
          const said = change(new Record(batch, index)) ?? KEEP;
          if (typeof said === 'boolean' || said instanceof Rejection) {
            verdicts.set(index, said);
            continue;
          }
          if (said.key !== undefined) keys.set(index, said.key);
          if (said.value !== undefined) values.set(index, said.value);
          if (said.headers !== undefined) {
            for (const [name, value] of said.headers) {
              headers.keys.push(name);
              headers.values.push(value);
            }
            headers.rows.push(index);
            headers.offsets.push(headers.keys.count);
          }
          if (said.timestamp !== undefined) {
            timestamps.rows.push(index);
            timestamps.values.push(BigInt(said.timestamp));
          }
        }
        return {
          codes: verdicts.codes,
          reasons: verdicts.reasons,
          keys: keys.raw(),
          values: values.raw(),
          headers: headers.rows.length
            ? {
                rows: Uint32Array.from(headers.rows),
                column: {
                  offsets: Uint32Array.from(headers.offsets),
                  keys: headers.keys.raw(),
                  values: headers.values.raw(),
                },
              }
            : undefined,
          timestamps: timestamps.rows.length
            ? { rows: Uint32Array.from(timestamps.rows), values: BigInt64Array.from(timestamps.values) }
            : undefined,
        };
      });
    },
  };
}

/** The verdicts of one batch. All are kept to begin with. */
export class Verdicts {
  constructor(count) {
    this.count = count;
    this.codes = new Uint8Array(0);
    this.reasons = [];
  }

  set(index, verdict) {
    const { codes } = this;
    if (codes.length === 0) {
      // Stays empty, which means that all are kept, for as long as that is so.
      if (verdict === true) return;
      this.codes = new Uint8Array(this.count);
      this.set(index, verdict);
    } else if (verdict === true) {
      codes[index] = 0;
    } else if (verdict === false) {
      codes[index] = 1;
    } else if (verdict instanceof Rejection) {
      codes[index] = 2;
      this.reasons.push([index, verdict.reason]);
    } else {
      throw new Error(`a verdict is KEEP, DROP or reject(...), not ${verdict}`);
    }
  }
}

/** Entries of a column, one by one. */
class ColumnBuilder {
  constructor() {
    this.parts = [];
    this.offsets = [0];
    this.nullRows = [];
    this.count = 0;
  }

  push(value) {
    if (value === null) this.nullRows.push(this.count);
    const bytes = value === null ? new Uint8Array(0) : typeof value === 'string' ? encoder.encode(value) : value;
    this.parts.push(bytes);
    this.offsets.push(this.offsets[this.count] + bytes.length);
    this.count++;
  }

  raw() {
    const data = new Uint8Array(this.offsets[this.count]);
    this.parts.forEach((part, index) => data.set(part, this.offsets[index]));
    const nulls = new Uint8Array(this.nullRows.length ? (this.count + 7) >> 3 : 0);
    for (const row of this.nullRows) nulls[row >> 3] |= 1 << (row & 7);
    return { offsets: Uint32Array.from(this.offsets), data, nulls };
  }
}

class BytesEdit {
  rows = [];
  column = new ColumnBuilder();

  set(index, value) {
    this.rows.push(index);
    this.column.push(value);
  }

  raw() {
    return this.rows.length ? { rows: Uint32Array.from(this.rows), column: this.column.raw() } : undefined;
  }
}

function common(plugin, take) {
  const keys = Object.entries(plugin.config ?? {});
  return {
    describe: () => ({
      name: plugin.name,
      version: plugin.version,
      summary: plugin.summary ?? '',
      columns: flags(plugin.columns ?? []),
      state: plugin.state ?? 'none',
      config: keys.map(([name, key]) => ({
        name,
        kind: key.kind,
        required: key.required ?? false,
        default: key.default === undefined ? undefined : String(key.default),
        doc: key.doc ?? '',
        secret: key.secret ?? false,
      })),
      writes: flags(plugin.writes ?? []),
    }),
    configure(pairs) {
      asked(() => take(plugin.configure(Object.fromEntries(pairs.map(([name, value]) => [name, typed(plugin, name, value)])))));
    },
  };
}

function typed(plugin, name, value) {
  switch (plugin.config?.[name]?.kind) {
    case 'integer':
    case 'float':
      return Number(value);
    case 'boolean':
      return value === 'true';
    default:
      return value;
  }
}

function flags(columns) {
  return Object.fromEntries(columns.map((column) => [column, true]));
}

/** An error of the plugin's is the `err` of the call's result: a sentence, which is what has to be thrown here. */
function asked(work) {
  try {
    return work();
  } catch (error) {
    throw error instanceof Error ? error.message : String(error);
  }
}
