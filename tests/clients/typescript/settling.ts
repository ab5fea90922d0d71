// Pulls and settles messages by every action, with the types that openapi-typescript made from the contract.
//
// Settles one message by each action: in `pulled` by one settle, in `taken` by the paths of the leases, one after the other. Replies to the
// call in the queue `q`, whose caller waits by direct reply-to.

import type { Client } from 'openapi-fetch'
import type { components, paths } from './gateway.js'

type Envelope = components['schemas']['Envelope']
type PulledMessage = components['schemas']['PulledMessage']
type SettleRequest = components['schemas']['SettleRequest']
type SettleResult = components['schemas']['SettleResult']

const UNKNOWN_LEASE = '1.JzTY20BRgKO-HjmUJj0wLg.1.0000000000000000'

// A result with each member of the contract, so that a member with a type without values does not compile.
const example: Required<SettleResult> = {
  lease_id: UNKNOWN_LEASE,
  action: 'dead_letter',
  outcome: 'dead_lettered',
  lease_expires_at: '2026-11-28T06:01:00.000Z',
  retry_at: '2026-11-28T06:01:00.000Z',
  message_id: 'm',
  duplicate_possible: false,
  reply_delivered: null,
  problem: {
    type: '/problems/lease-settled',
    title: 'Lease settled already',
    status: 409,
    detail: '',
    retryable: false,
    settled_as: 'acked',
  },
}

function expect (holds: boolean, what: unknown): asserts holds {
  if (!holds) throw new Error(JSON.stringify(what))
}

export class Worker {
  constructor (private readonly gateway: Client<paths>) {}

  async pullsAndSettles (): Promise<void> {
    await this.settlesByEveryAction()
    await this.repliesByDirectReplyTo()
    await this.settlesByThePathOfALease()
  }

  // A queue with dead letters, and messages 0, 1, … whose replies go to the queue `replies`.
  private async prepare (name: string, count: number) {
    await this.gateway.PUT('/queues/{name}', { params: { path: { name } }, body: { dead_letter: true } })
    await this.gateway.PUT('/queues/{name}', { params: { path: { name: 'replies' } }, body: {} })
    for (let number = 0; number < count; number++) {
      const id = `${name}-${number}`
      const body: Envelope = {
        body: { number },
        properties: { message_id: id, reply_to: 'replies', correlation_id: id },
      }
      const published = await this.gateway.POST('/publish/{exchange}', {
        params: { path: { exchange: 'amq.default' }, query: { routing_key: name } },
        body,
        headers: { 'content-type': 'application/vnd.amqp.message+json' },
      })
      expect(published.data?.outcome === 'confirmed', published)
    }
  }

  private async pull (name: string, count: number): Promise<PulledMessage[]> {
    const messages: PulledMessage[] = []
    while (messages.length < count) {
      const body = { max: count - messages.length, wait: '1s', lease: '1m' }
      const pulled = await this.gateway.POST('/queues/{name}/messages/pull', { params: { path: { name } }, body })
      expect(pulled.data !== undefined && pulled.data.messages.length > 0, pulled)
      messages.push(...pulled.data.messages)
    }
    return messages
  }

  private async settle (name: string, body: SettleRequest) {
    const answer = await this.gateway.POST('/queues/{name}/messages/settle', { params: { path: { name } }, body })
    expect(answer.data !== undefined, answer)
    return { status: answer.response.status, ...answer.data }
  }

  private async settlesByEveryAction () {
    await this.prepare('pulled', 7)
    const messages = await this.pull('pulled', 7)
    const [first] = messages
    expect(first?.delivery_attempt === 1 && !first.redelivered && first.exchange === 'amq.default', first)
    expect(first.properties.message_id === 'pulled-0' && first.broker === undefined, first)
    const leases = messages.map(message => message.lease_id)
    const [acked, released, rejected, extended, retried, dead, called] = leases as [
      string, string, string, string, string, string, string,
    ]
    const settled = await this.settle('pulled', {
      ack: [acked],
      release: [released],
      reject: [rejected],
      extend: [{ lease_id: extended, lease: '2m' }],
      retry: [{ lease_id: retried, delay: '1m', reason: 'the database is down' }],
      dead_letter: [{ lease_id: dead, reason: 'no number' }],
      reply: [{ lease_id: called, body: { sum: 30 }, properties: { type: 'sum' } }],
    })
    expect(settled.status === 200 && settled.counts.failed === 0 && settled.counts.replied === 1, settled)
    const { results } = settled
    const outcomes = 'acked,released,rejected,extended,retried,dead_lettered,replied'
    expect(results.map(result => result.lease_id).join() === leases.join(), results)
    expect(results.map(result => result.outcome).join() === outcomes, results)
    expect(results[3]?.lease_expires_at !== undefined && results[4]?.retry_at !== undefined, results)
    expect(results[4].message_id === 'pulled-4' && results[4].duplicate_possible === false, results)
    expect(results[5]?.action === example.action && results[5].outcome === example.outcome, results)
    expect(results[6]?.reply_delivered === true && results[0]?.reply_delivered === undefined, results)
    await this.readsProblemsOfItems(extended, acked)
  }

  private async readsProblemsOfItems (extended: string, acked: string) {
    const { status, results, counts } = await this.settle('pulled', { ack: [extended, UNKNOWN_LEASE], reject: [acked] })
    expect(status === 207 && counts.acked === 1 && counts.failed === 2, results)
    const [done, unknown, contradicting] = results
    expect(done?.outcome === 'acked' && done.problem === undefined, results)
    expect(unknown?.outcome === undefined && unknown?.problem?.type === '/problems/lease-expired', results)
    expect(contradicting?.problem?.type === example.problem.type && !contradicting.problem.retryable, results)
    expect(contradicting.problem.settled_as === example.problem.settled_as, results)
  }

  private async repliesByDirectReplyTo () {
    const [call] = await this.pull('q', 1)
    expect(call?.broker?.reply_to?.startsWith('amq.rabbitmq.reply-to.') === true, call)
    const { results: [result] } = await this.settle('q', { reply: [{ lease_id: call.lease_id, body_text: '30' }] })
    expect(result?.outcome === 'replied' && result.reply_delivered === example.reply_delivered, result)
  }

  // The lease of the next message, as the parameters of its operations.
  private async take () {
    const params = { path: { name: 'taken' }, query: { wait: '1s', lease: '1m' } }
    const taken = await this.gateway.POST('/queues/{name}/messages/next', { params, parseAs: 'text' })
    expect(taken.response.status === 200 && taken.data?.includes('"number":') === true, taken)
    const lease_id = taken.response.headers.get('location')?.split('/').pop() ?? ''
    return { path: { name: 'taken', lease_id } }
  }

  private async settlesByThePathOfALease () {
    await this.prepare('taken', 8)
    const done = ({ response, error }: { response: Response, error?: unknown }, header = 'content-type') => {
      expect(response.status === 204, error)
      return response.headers.get(header)
    }
    const { gateway } = this
    const acked = await this.take()
    done(await gateway.DELETE('/queues/{name}/leases/{lease_id}', { params: acked }))
    done(await gateway.POST('/queues/{name}/leases/{lease_id}/ack', { params: await this.take() }))
    done(await gateway.POST('/queues/{name}/leases/{lease_id}/reject', { params: await this.take() }))
    const extended = await this.take()
    const longer = { params: { ...extended, query: { lease: '2m' } } }
    const expiry = done(await gateway.POST('/queues/{name}/leases/{lease_id}/extend', longer), 'x-lease-expires-at')
    expect(expiry !== null, extended)
    const later = { params: { ...extended, query: { delay: '1m', reason: 'the database is down' } } }
    const time = done(await gateway.POST('/queues/{name}/leases/{lease_id}/retry', later), 'x-retry-at')
    expect(time !== null, extended)
    const dead = { params: { ...await this.take(), query: { reason: 'no number' } } }
    done(await gateway.POST('/queues/{name}/leases/{lease_id}/dead-letter', dead))
    await this.repliesToLeases(done)
    done(await gateway.POST('/queues/{name}/leases/{lease_id}/release', { params: await this.take() }))
    const contradicting = await gateway.POST('/queues/{name}/leases/{lease_id}/release', { params: acked })
    expect(contradicting.error?.type === example.problem.type && contradicting.error.status === 409, contradicting)
    const none = { path: { name: 'replies.none' }, query: { wait: '0s' } }
    const missing = await gateway.POST('/queues/{name}/messages/next', { params: none })
    expect(missing.error?.type === '/problems/queue-not-found', missing)
  }

  private async repliesToLeases (done: (answer: { response: Response, error?: unknown }, header: string) => unknown) {
    const envelope = await this.gateway.POST('/queues/{name}/leases/{lease_id}/reply', {
      params: await this.take(),
      body: { body: { sum: 30 }, properties: { type: 'sum' } },
      headers: { 'content-type': 'application/vnd.amqp.message+json' },
    })
    expect(done(envelope, 'x-reply-delivered') === 'true', envelope)
    const bytes = await this.gateway.POST('/queues/{name}/leases/{lease_id}/reply', {
      params: await this.take(),
      body: '',
      bodySerializer: () => new Uint8Array([0, 255]),
      headers: { 'content-type': 'application/octet-stream' },
    })
    expect(done(bytes, 'x-reply-delivered') === 'true', bytes)
  }
}
