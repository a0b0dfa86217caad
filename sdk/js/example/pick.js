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
    'max-bytes': integer({ default: 65536, doc: 'The longest value that is not rejected.' }),
  },

  configure({ text, field, 'max-bytes': maxBytes }) {
    if (text === '') throw new Error('`text` is empty, which would keep everything');
    if (maxBytes < 1) throw new Error(`\`max-bytes\` must be above 0, and is ${maxBytes}`);

    function judge(record) {
      const { value } = record;
      if (value === null) return DROP;
      if (value.length > maxBytes) {
        return reject(`the value has ${value.length} bytes, and at most ${maxBytes} are allowed`);
      }
      if (field === '') return record.valueText.includes(text);
      const json = record.json;
      return isObject(json) && Object.hasOwn(json, field) && json[field] === text;
    }

    return {
      batch(batch, verdicts) {
        let [kept, rejected] = [0, 0];
        for (const record of batch) {
          const verdict = judge(record);
          if (verdict === true) kept++;
          else if (verdict !== false) rejected++;
          verdicts.set(record.index, verdict);
        }
        if (kept) tidegate.count('kept', kept);
        if (rejected) log.warn(`${rejected} of ${batch.count} values are too long`);
      },
    };
  },
});

function isObject(json) {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}
