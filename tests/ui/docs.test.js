// The path of a newcomer through Swagger UI: every example as it is prefilled, in the order that the page suggests.

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { eventually, gateway, launch, open } from './browser.js'

let browser, page, wrong

before(async () => {
  browser = await launch()
  await eventually('the echo server consumes', async () => {
    const answer = await fetch(`${gateway}/queues/echo`)
    return answer.ok && (await answer.json()).consumer_count > 0
  })
})

beforeEach(async () => {
  ({ page, wrong } = await open(browser, '/'))
  await page.locator('.opblock').first().waitFor()
})

afterEach(async () => {
  await page.close()
  assert.deepEqual(wrong, [])
})

after(() => browser?.close())

// Opens one operation.
async function operation (id) {
  const block = page.locator(`.opblock[id$="-${id}"]`)
  await block.locator('.opblock-summary-control').click()
  await block.locator('button.execute').waitFor()
  return block
}

const parameter = (block, name) =>
  block.locator(`tr[data-param-name="${name}"]`).locator('input, select, textarea').first()

// The gateway's answer, after a check that the page shows the same.
async function execute (block) {
  await block.locator('button.execute').click()
  const live = block.locator('.live-responses-table')
  const status = Number((await live.locator('.response-col_status').last().innerText()).match(/\d+/)[0])
  const text = await live.locator('.response-col_description pre').first().innerText()
  // Swagger UI shows no duration for answers that it treats as errors.
  if (status < 400) await live.getByText('Request duration').waitFor()
  return { status, text, url: await block.locator('.request-url pre').innerText() }
}

async function run (id) {
  return execute(await operation(id))
}

test('the root leads to the page, which shows our document', async () => {
  assert.equal(new URL(page.url()).pathname, '/docs/')
  assert.equal(await page.title(), 'RabbitMQ gateway')
  assert.match(await page.locator('.info .title').innerText(), /RabbitMQ gateway/)
})

test('the operations stand in the order in which a newcomer needs them', async () => {
  const ids = await page.locator('.opblock').evaluateAll(blocks => blocks.map(block => block.id.split('-').pop()))
  const first = [
    'publish_message', 'publish_batch', 'publish_stream',
    'declare_queue', 'inspect_queue', 'delete_queue', 'purge_queue',
    'pull_messages', 'take_next_message', 'settle_messages',
    'ack_lease', 'ack_lease_by_post', 'release_lease', 'reject_lease', 'extend_lease',
    'retry_lease', 'dead_letter_lease', 'reply_to_lease', 'call_queue'
  ]
  assert.deepEqual(ids.slice(0, first.length), first)
})

test('an operation that is opened fits into two screens', async () => {
  const screen = page.viewportSize().height
  for (const id of ['publish_message', 'publish_batch', 'publish_stream', 'declare_queue', 'pull_messages', 'settle_messages', 'call_queue', 'check_rabbitmq']) {
    const block = await operation(id)
    await block.locator('.responses-table .model-example').last().waitFor()
    const { height } = await block.boundingBox()
    assert.ok(height <= 2 * screen, `${id} takes ${height} px`)
    await block.locator('.opblock-summary-control').click()
  }
})

test('a queue is declared as the example says', async () => {
  const { status, text, url } = await run('declare_queue')
  assert.equal(status, 201, text)
  assert.equal(url, `${gateway}/queues/hello`)
})

async function choose (block, kind) {
  await block.locator('.body-param-content-type select, .content-type').first().selectOption(kind)
}

for (const kind of [undefined, 'application/vnd.amqp.message+json', 'application/octet-stream']) {
  test(`${kind ?? 'the text that stands there'} is published and confirmed`, async () => {
    const block = await operation('publish_message')
    if (kind) await choose(block, kind)
    if (kind === 'application/octet-stream') {
      await block.locator('input[type=file]').setInputFiles({ name: 'x', mimeType: kind, buffer: Buffer.from([0, 255]) })
    }
    const { status, text } = await execute(block)
    assert.equal(status, 200, text)
    assert.equal(JSON.parse(text).outcome, 'confirmed')
  })
}

test('a message that no queue takes is 422', async () => {
  const block = await operation('publish_message')
  await parameter(block, 'routing_key').fill('nowhere')
  const { status, text } = await execute(block)
  assert.equal(status, 422, text)
  const problem = JSON.parse(text)
  assert.equal(problem.outcome, 'unroutable')
  assert.equal((await fetch(gateway + problem.type)).status, 200)
})

test('the queue is inspected, purged and deleted', async () => {
  const inspected = await run('inspect_queue')
  assert.equal(inspected.status, 200, inspected.text)
  assert.equal(JSON.parse(inspected.text).message_count, 3)
  const purged = await run('purge_queue')
  assert.equal(purged.status, 200, purged.text)
  assert.equal(JSON.parse(purged.text).messages_removed, 3)
  const deleted = await run('delete_queue')
  assert.equal(deleted.status, 200, deleted.text)
})

for (const kind of ['text/plain', 'application/vnd.amqp.message+json']) {
  test(`an example of ${kind} is called and answered`, async () => {
    const block = await operation('call_queue')
    await choose(block, kind)
    const { status, text } = await execute(block)
    assert.equal(status, 200, text)
    assert.match(text, /hello/)
  })
}

test('a call to a missing queue is 404 and says what is missing', async () => {
  const block = await operation('call_queue')
  await parameter(block, 'queue').fill('nobody')
  const { status, text } = await execute(block)
  assert.equal(status, 404, text)
  assert.match(JSON.parse(text).detail, /there is no queue "nobody"/)
})

for (const id of ['check_liveness', 'check_readiness', 'check_rabbitmq']) {
  test(`${id} passes`, async () => {
    const { status, text } = await run(id)
    assert.equal(status, 200, text)
    assert.equal(JSON.parse(text).status, 'pass')
  })
}

test('the metrics are shown', async () => {
  const { status, text } = await run('read_metrics')
  assert.equal(status, 200, text)
  assert.match(text, /# HELP/)
})

test('a deep link opens its operation', async () => {
  const linked = await open(browser, '/docs/#/queues/inspect_queue')
  await linked.page.locator('#operations-queues-inspect_queue button.execute').waitFor()
  await linked.page.close()
  assert.deepEqual(linked.wrong, [])
})

test('every link of the page leads to a page of the gateway', async () => {
  await operation('publish_message')
  const links = await page.locator('#swagger-ui a[href]').evaluateAll(links => links.map(link => link.href))
  assert.ok(links.length > 10, links.join(' '))
  for (const link of new Set(links)) {
    assert.equal(new URL(link).origin, gateway, link)
    assert.equal((await fetch(link)).status, 200, link)
  }
})

test('a kind of problem in the description of a response leads to its page', async () => {
  const block = await operation('publish_message')
  const link = block.locator('.response[data-code="422"] a', { hasText: 'unroutable' })
  assert.equal((await fetch(new URL(await link.getAttribute('href'), page.url()))).status, 200)
})

test('a problem has a page', async () => {
  const { page: explained, wrong: wrongThere } = await open(browser, '/problems')
  await explained.getByRole('link', { name: 'unroutable' }).click()
  await explained.getByRole('heading', { name: 'No queue took the message' }).waitFor()
  await explained.close()
  assert.deepEqual(wrongThere, [])
})

// Without this test, a page that sends requests to another host could pass if the check of requests did not work.
test('a request to another host is noticed, and forbidden by the policy', async () => {
  await page.evaluate(() => fetch('http://elsewhere.invalid/').catch(() => {}))
  await eventually('the violation is told', () => wrong.some(what => what.includes('violation of the policy')))
  wrong.length = 0
})

test('the screenshot is taken when asked for', { skip: !process.env.SCREENSHOT_FILE }, async () => {
  for (const method of ['PUT', 'POST']) {
    const path = method === 'PUT' ? '/queues/hello' : '/publish/amq.default?routing_key=hello'
    const headers = { 'content-type': 'application/json' }
    assert.ok((await fetch(gateway + path, { method, headers, body: '{}' })).ok)
  }
  const block = await operation('inspect_queue')
  assert.match((await execute(block)).text, /"message_count": 1/)
  await page.mouse.move(0, 0)
  const end = await block.locator('.live-responses-table').boundingBox()
  const height = Math.ceil(end.y + end.height + await page.evaluate(() => window.scrollY))
  const clip = { x: 0, y: 0, width: 1280, height }
  await page.screenshot({ path: process.env.SCREENSHOT_FILE, fullPage: true, clip })
})
