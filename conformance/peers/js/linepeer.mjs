// One session of @chainsafe/libp2p-yamux, driven by the first line of every stream. conformance/go/cmd/linepeer has
// the lines.
import net from 'node:net'
import { yamux } from '@chainsafe/libp2p-yamux'
import { defaultLogger } from '@libp2p/logger'
import { pipe } from 'it-pipe'
import { duplex } from 'stream-to-it'

const PATTERN_PERIOD = 251
const NEWLINE = 10
const role = process.argv.includes('-role=client') ? 'client' : 'server'
let muxer

function pattern (offset, size) {
  const piece = new Uint8Array(size)
  for (let i = 0; i < size; i++) piece[i] = (offset + i) % PATTERN_PERIOD
  return piece
}

// Reads to the end: the length, and the first offset off the pattern or -1.
async function count (source) {
  let length = 0
  let bad = -1
  for await (const piece of source) {
    for (const byte of piece.subarray()) {
      if (bad < 0 && byte !== length % PATTERN_PERIOD) bad = length
      length++
    }
  }
  return [length, bad]
}

async function roundTrip (size) {
  const stream = await muxer.newStream()
  const [, [length, bad]] = await Promise.all([stream.sink([pattern(0, size)]), count(stream.source)])
  if (length !== size || bad >= 0) throw new Error(`${length} of ${size} bytes came back, first wrong one at ${bad}`)
}

async function burst (streams, size) {
  try {
    await Promise.all(Array.from({ length: streams }, () => roundTrip(size)))
    return `ok ${streams}`
  } catch (error) {
    return error.message
  }
}

async function * drip (size) {
  for (let offset = 0; offset < size; offset++) yield pattern(offset, 1)
}

async function * rest (first, pieces) {
  yield first
  while (true) {
    const { value, done } = await pieces.next()
    if (done) return
    yield value.subarray()
  }
}

async function serve (stream) {
  const pieces = stream.source[Symbol.asyncIterator]()
  let head = Buffer.alloc(0)
  while (!head.includes(NEWLINE)) {
    const { value, done } = await pieces.next()
    if (done) return await stream.sink([])
    head = Buffer.concat([head, value.subarray()])
  }
  const at = head.indexOf(NEWLINE)
  const [word, ...numbers] = head.subarray(0, at).toString().split(' ')
  const [first, second] = numbers.map(Number)
  const body = rest(head.subarray(at + 1), pieces)
  switch (word) {
    case 'echo': return await stream.sink(body)
    case 'count': return await stream.sink([Buffer.from((await count(body)).join(' ') + '\n')])
    case 'send': return await stream.sink([pattern(0, first)])
    case 'drip': return await stream.sink(drip(first))
    case 'open': return await stream.sink([Buffer.from(await burst(first, second) + '\n')])
    case 'ping': await muxer.ping(); return await stream.sink([Buffer.from('ok\n')])
    case 'hold': return
    case 'leave': return await muxer.close()
    default: stream.abort(new Error('reset'))
  }
}

function onIncomingStream (stream) {
  serve(stream).catch(error => {
    console.log('stream-failed', error.message)
    stream.abort(error)
  })
}

async function * bytes (source) {
  for await (const piece of source) yield piece.subarray()
}

const server = net.createServer(async socket => {
  server.close()
  socket.setNoDelay(true)
  socket.on('error', error => { console.log('socket-failed', error.message) })
  muxer = yamux({ enableKeepAlive: false })({ logger: defaultLogger() }).createStreamMuxer({
    direction: role === 'server' ? 'inbound' : 'outbound', onIncomingStream
  })
  const carrier = duplex(socket)
  try {
    await pipe(carrier, muxer, bytes, carrier)
    console.log('session-closed')
  } catch (error) {
    console.log('session-closed', error.message)
  }
  process.exit()
})
server.listen(0, '127.0.0.1', () => { console.log(`listening 127.0.0.1:${server.address().port}`) })
