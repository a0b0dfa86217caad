// What the JavaScript drivers have in common: lines of JSON, as driven.py says them, and how bytes travel in them.

const readline = require('readline')

const say = message => process.stdout.write(JSON.stringify(message, (_, value) => (typeof value === 'bigint' ? Number(value) : value)) + '\n')
const pack = buffer => (buffer === null || buffer === undefined ? null : Buffer.from(buffer).toString('base64'))
const unpack = text => (text === null ? null : Buffer.from(text, 'base64'))

const assigned = (member, partitions) => say({ event: 'assigned', member, partitions })
const crashed = (member, error) => say({ event: 'crash', member, error: error instanceof Error ? said(error) : String(error) })

// A record as kafkajs gives it, and those that took its shape.
function heard(member, { topic, partition, message }) {
  say({
    event: 'record', member, topic, partition, offset: message.offset, timestamp: message.timestamp,
    key: pack(message.key), value: pack(message.value), headers: flatten(message.headers),
  })
}

const messagesOf = sends => sends.map(send => ({
  key: unpack(send.key),
  value: unpack(send.value),
  ...(send.partition === null ? {} : { partition: send.partition }),
  ...(send.timestamp === null ? {} : { timestamp: send.timestamp }),
  headers: headersOf(send.headers),
}))

// A name that comes twice is a list in kafkajs.
function headersOf(pairs) {
  const headers = {}
  for (const [name, value] of pairs) (headers[name] = headers[name] || []).push(unpack(value))
  return headers
}

function flatten(headers) {
  const pairs = []
  for (const [name, value] of Object.entries(headers || {})) {
    for (const one of [].concat(value)) pairs.push([name, pack(one)])
  }
  return pairs
}

// kafkajs tells only the base offset of each partition's batch.
function offsetsOf(sends, answers) {
  if (!answers.length || sends.some(({ partition }) => partition === null) || answers.some(answer => answer.baseOffset === undefined)) return null
  const next = new Map(answers.map(answer => [answer.partition, BigInt(answer.baseOffset)]))
  return sends.map(({ partition }) => {
    const offset = next.get(partition)
    next.set(partition, offset + 1n)
    return Number(offset)
  })
}

// All at once, or each when the one before is answered; `send` gives answers in the shape of kafkajs.
async function sendAll(send, sends, oneByOne) {
  if (!oneByOne) return offsetsOf(sends, (await send(messagesOf(sends))) || [])
  for (const one of sends) await send(messagesOf([one]))
  return null
}

// Serves verbs until standard input ends.
async function serve(verbs) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    const { id, verb, ...what } = JSON.parse(line)
    const run = verbs[verb] ? verbs[verb](what) : Promise.reject(new Error(`there is no verb ${verb}`))
    run.then(
      value => say({ id, value: value === undefined ? null : value }),
      error => say({ id, error: said(error) }),
    ).then(() => verb === 'exit' && setImmediate(() => process.exit(0)))
  }
  // Whoever asked has ended; what a library still has open must not keep this process.
  process.exit(0)
}

// Libraries put what the broker said into errors of errors.
function said(error) {
  const parts = [error.message || String(error), error.type, error.code, error.apiId]
  const inside = [error.errors, error.cause, error.originalError, ...[].concat(error.groups || [], error.partitions || []).map(one => one?.error)]
  for (const inner of inside.flat().filter(Boolean)) parts.push(said(inner))
  return parts.filter(part => part !== undefined && part !== null && part !== '').join('; ')
}

module.exports = { assigned, crashed, flatten, headersOf, heard, messagesOf, pack, say, sendAll, serve, unpack }
