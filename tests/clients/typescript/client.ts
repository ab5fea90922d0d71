// Calls the gateway at the given address, with the types that openapi-typescript made from the contract, and the key in GATEWAY_KEY.
// Leaves three messages in the queue `orders`, and those that settling.ts settles, for the test to check.

import createClient from 'openapi-fetch'
import type { components, paths } from './gateway.js'
import { Worker } from './settling.js'

type BatchItem = components['schemas']['BatchItem']
type Envelope = components['schemas']['Envelope']
type Problem = components['schemas']['Problem']
type PublishReceipt = components['schemas']['PublishReceipt']

declare const process: { argv: string[], env: Record<string, string | undefined> }

function clientWith (key: string) {
  return createClient<paths>({ baseUrl: process.argv[2] ?? '', headers: { authorization: `Bearer ${key}` } })
}

const gateway = clientWith(process.env['GATEWAY_KEY'] ?? '')
const withoutKey = createClient<paths>({ baseUrl: process.argv[2] ?? '' })

function expect (holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what))
}

function destination (routing_key: string) {
  return { path: { exchange: 'amq.default' }, query: { routing_key } }
}

// A problem with each member of the contract, so that a member with a type without values does not compile.
const example: Problem = {
  type: '/problems/unroutable',
  title: 'No queue took the message',
  status: 422,
  detail: '',
  instance: 'urn:request:1',
  outcome: 'unroutable',
  retryable: false,
  message_id: 'm',
  attempts: 1,
  field: 'timeout',
  limit: '1m',
}

function publish (body: Envelope, routing_key = 'orders') {
  const headers = { 'content-type': 'application/vnd.amqp.message+json' }
  return gateway.POST('/publish/{exchange}', { params: destination(routing_key), body, headers })
}

// fetch takes bytes; the generated type of a binary body is a string.
function publishBytes (bytes: Uint8Array, routing_key = 'orders') {
  return gateway.POST('/publish/{exchange}', {
    params: destination(routing_key),
    body: '',
    bodySerializer: () => bytes,
    headers: { 'content-type': 'application/octet-stream' },
  })
}

function expectConfirmed ({ data, error }: { data?: PublishReceipt | undefined, error?: Problem }) {
  expect(data?.outcome === 'confirmed' && !data.duplicate_possible, { data, error })
}

const live = await withoutKey.GET('/health/live')
expect(live.data?.status === 'pass', live)
for (const stranger of [withoutKey, clientWith('rgw_wrong')]) {
  const { error: refused } = await stranger.POST('/publish/{exchange}', {
    params: destination('orders'),
    body: { body: 1 },
    headers: { 'content-type': 'application/vnd.amqp.message+json' },
  })
  expect(refused?.status === 401 && refused.type === '/problems/unauthorized' && refused.outcome === 'not_sent', refused)
}
const health = await gateway.GET('/health/rabbitmq')
expect(health.data?.status === 'pass', health)
expect(health.data.checks?.['publishing:blocked']?.[0]?.observedValue === false, health)

const declared = await gateway.PUT('/queues/{name}', {
  params: { path: { name: 'orders' } },
  body: { type: 'classic', overflow: 'reject-publish', dead_letter: true, arguments: { 'x-max-length-bytes': 100_000 } },
})
expect(declared.response.status === 201 && declared.data?.name === 'orders', declared)

function publishOrder (order: number) {
  return gateway.POST('/publish/{exchange}', {
    params: { ...destination('orders'), header: { 'Idempotency-Key': 'order-7' } },
    body: { body: { order } },
    headers: { 'content-type': 'application/vnd.amqp.message+json' },
  })
}

const [first, retry] = [await publishOrder(7), await publishOrder(7)]
expectConfirmed(first)
expect(first.data?.message_id === 'order-7' && !first.response.headers.has('idempotency-replayed'), first)
expect(JSON.stringify(retry.data) === JSON.stringify(first.data), retry)
expect(retry.response.headers.get('idempotency-replayed') === 'true', retry)
const reused = await publishOrder(8)
expect(reused.error?.type === '/problems/idempotency-key-reused' && reused.error.status === 422, reused)
const properties = { type: 'order.created', priority: 5, delivery_mode: 'transient' } as const
const headers = { tenant: 'acme', shard: { $amqp: 'int32', value: 7 } }
expectConfirmed(await publish({ body_text: 'größer', properties, headers }))
expectConfirmed(await publishBytes(new Uint8Array([0, 255, 10])))
const queue = await gateway.GET('/queues/{name}', { params: { path: { name: 'orders' } } })
expect(queue.data?.message_count === 3, queue)

expect((await gateway.PUT('/queues/{name}', { params: { path: { name: 'batch' } }, body: {} })).response.ok, 'batch')
function publishBatch (body: BatchItem[], prefer?: string) {
  const header = prefer === undefined ? {} : { Prefer: prefer }
  return gateway.POST('/publish/{exchange}/batch', { params: { path: { exchange: 'amq.default' }, header }, body })
}

const items: BatchItem[] = [
  { id: 'kept', routing_key: 'batch', body: { order: 9 }, properties: { message_id: 'order-9' } },
  { id: 'lost', routing_key: 'nowhere', body_text: 'x' },
  { routing_key: 'batch', body_text: 'also kept' },
]
const mixed = await publishBatch(items)
expect(mixed.response.status === 207 && mixed.data?.counts.confirmed === 2 && mixed.data.counts.unroutable === 1, mixed)
const [kept, lost, unnamed] = mixed.data.results
expect(kept?.index === 0 && kept.id === 'kept' && kept.message_id === 'order-9' && kept.outcome === 'confirmed', kept)
expect(lost?.id === 'lost' && lost.outcome === 'unroutable' && lost.problem?.type === example.type, lost)
expect(lost.problem.status === 422, lost)
expect(unnamed?.index === 2 && unnamed.id === undefined && unnamed.message_id !== undefined, unnamed)
const minimal = await publishBatch(items, 'return=minimal')
expect(minimal.data?.results.map(result => result.id).join() === 'lost', minimal)
expect((await publishBatch([])).response.status === 200, 'an empty batch')

const { error: problem } = await publish({ body: null }, 'nowhere')
expect(problem?.type === example.type && problem.outcome === example.outcome, problem)
expect(problem.retryable === false && problem.message_id !== undefined && problem.attempts === 1, problem)

const call = { params: { path: { queue: 'echo' } }, body: 'ping', bodySerializer: (body: unknown) => body as string }
const raw = await gateway.POST('/rpc/{queue}', {
  ...call,
  headers: { 'content-type': 'text/plain' },
  parseAs: 'arrayBuffer',
})
expect(raw.data !== undefined && new TextDecoder().decode(raw.data) === 'ping', raw)
const whole = await gateway.POST('/rpc/{queue}', {
  params: { path: { queue: 'echo' }, query: { reply: 'envelope' } },
  body: { body_text: 'ping' },
  headers: { 'content-type': 'application/vnd.amqp.message+json' },
})
const reply = whole.data
expect(typeof reply === 'object' && reply.body_text === 'ping', whole)
expect(reply.properties.content_type === 'text/plain', reply)

const spare = { params: { path: { name: 'spare' } } }
expect((await gateway.PUT('/queues/{name}', { ...spare, body: {} })).response.status === 201, spare)
expectConfirmed(await publishBytes(new Uint8Array(), 'spare'))
expect((await gateway.DELETE('/queues/{name}/messages', spare)).response.status === 200, spare)
expect((await gateway.DELETE('/queues/{name}', spare)).response.status === 200, spare)
const gone = await gateway.GET('/queues/{name}', spare)
expect(gone.error?.type === '/problems/queue-not-found', gone)

const bound = { params: { path: { name: 'bound' } } }
const events = { params: { path: { name: 'events' } } }
const toBound = { path: { name: 'bound', exchange: 'events' } }
const toEvents = { path: { name: 'events', source: 'amq.topic' } }
expect((await gateway.PUT('/queues/{name}', { ...bound, body: {} })).response.status === 201, bound)
expect((await gateway.PUT('/exchanges/{name}', { ...events, body: { type: 'topic' } })).response.status === 201, events)
expect((await gateway.GET('/exchanges/{name}', events)).data?.name === 'events', events)
const binding = await gateway.PUT('/queues/{name}/bindings/{exchange}', { params: toBound, body: { routing_key: 'order.*' } })
expect(binding.data?.source === 'events' && binding.data.destination_type === 'queue', binding)
const through = await gateway.PUT('/exchanges/{name}/bindings/{source}', { params: toEvents, body: { routing_key: 'order.*' } })
expect(through.data?.destination === 'events', through)
const key = { query: { routing_key: 'order.*' } }
const unbound = await gateway.DELETE('/exchanges/{name}/bindings/{source}', { params: { ...toEvents, ...key } })
expect(unbound.response.status === 204, unbound)
const removed = await gateway.DELETE('/queues/{name}/bindings/{exchange}', { params: { ...toBound, ...key } })
expect(removed.response.status === 204, removed)
expect((await gateway.DELETE('/exchanges/{name}', events)).response.status === 204, events)
expect((await gateway.DELETE('/queues/{name}', bound)).response.status === 200, bound)

const document = {
  queues: [{ name: 'whole' }],
  bindings: [{ source: 'amq.topic', queue: 'whole', routing_key: '#' }],
}
const applied = await gateway.PUT('/topology', { body: document })
expect(applied.data?.results.map(item => item.result).join() === 'created,bound', applied)
expect((await gateway.DELETE('/queues/{name}', { params: { path: { name: 'whole' } } })).response.status === 200, document)

await new Worker(gateway).pullsAndSettles()
