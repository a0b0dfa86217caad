// `pick`: keeps the records whose value contains a text or, with `field`, those whose JSON member equals it.

import * as tidegate from '../tidegate.js';
import { DROP, integer, log, reject, text } from '../tidegate.js';

export const { describe, configure, filter } = tidegate.filter({
  name: 'pick',
  version: '0.1.0',
  summary: 'Keeps the records whose value has a text in it.',
  columns: ['value'],
  config: {
    text: text({ required: true, doc: 'What to look for.' }),
    field: text({
      default: '',
      doc:
        'A member of the JSON object in the value, which must be a string equal to `text`. Empty: `text` stands ' +
        'anywhere in the value.',
    }),
    'max.bytes': integer({ default: 65536, doc: 'The longest value that is not rejected.' }),
  },

  configure({ text, field, 'max.bytes': maxBytes }) {
    if (text === '') throw new Error('`text` is empty, which would keep everything');
    if (maxBytes < 1) throw new Error(`\`max.bytes\` must be above 0, and is ${maxBytes}`);

    const judge = (value, bytes) => {
      if (value === null) return DROP;
      if (bytes > maxBytes) return reject(`the value has ${bytes} bytes, and at most ${maxBytes} are allowed`);
      return field === '' ? value.includes(text) : memberIs(value, field, text);
    };

    // By columns, which is faster than by records, and knows of the batch as a whole.
    return {
      batch({ values, count }, verdicts) {
        const { offsets } = values;
        const texts = values.texts();
        let kept = 0;
        for (let index = 0; index < count; index++) {
          const verdict = judge(texts[index], offsets[index + 1] - offsets[index]);
          if (verdict === true) kept++;
          verdicts.set(index, verdict);
        }
        const rejected = verdicts.reasons.length;
        if (kept) tidegate.count('kept', kept);
        if (rejected) log.warn(`${rejected} of ${count} values are too long`);
      },
    };
  },
});

/** Whether a document is an object with this string as its member. */
function memberIs(document, name, text) {
  try {
    const json = JSON.parse(document);
    const isObject = typeof json === 'object' && json !== null && !Array.isArray(json);
    return isObject && Object.hasOwn(json, name) && json[name] === text;
  } catch {
    return false;
  }
}
