// Swagger UI of a gateway with API keys: "Authorize" sends the key of the user, and the page forgets it at its end.

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { launch, open } from './browser.js'

const closed = process.env.CLOSED_GATEWAY_URL
// It may declare, publish to and delete the queue of the examples.
const key = process.env.GATEWAY_KEY
const QUEUE = `${closed}/queues/hello`

let browser, page, wrong

before(async () => {
  browser = await launch()
  const declared = await fetch(QUEUE, { method: 'PUT', headers: { authorization: `Bearer ${key}` } })
  assert.equal(declared.status, 201)
})

beforeEach(async () => {
  ({ page, wrong } = await open(browser, '/docs/#/publish/publish_message', closed))
})

afterEach(async () => {
  await page.close()
  assert.deepEqual(wrong, [])
})

after(async () => {
  await fetch(QUEUE, { method: 'DELETE', headers: { authorization: `Bearer ${key}` } })
  await browser?.close()
})

// Publishes the example of the page.
async function publish () {
  const execute = page.locator('[id$="-publish_message"] button.execute')
  await execute.waitFor()
  const isPublish = response => new URL(response.url()).pathname.startsWith('/publish/')
  const [response] = await Promise.all([page.waitForResponse(isPublish), execute.click()])
  const { authorization } = await response.request().allHeaders()
  return { authorization, status: response.status(), challenge: response.headers()['www-authenticate'], json: await response.json() }
}

async function authorize (text) {
  await page.locator('.scheme-container .btn.authorize').click()
  const dialog = page.locator('.dialog-ux')
  await dialog.locator('input').fill(text)
  await dialog.locator('button[type=submit].authorize').click()
  await dialog.locator('.btn-done').click()
  await dialog.waitFor({ state: 'detached' })
}

test('without a key the publish is 401, and after Authorize it is confirmed', async () => {
  const refused = await publish()
  assert.deepEqual([refused.authorization, refused.status], [undefined, 401])
  assert.equal(refused.json.type, '/problems/unauthorized')
  await authorize(key)
  const published = await publish()
  assert.equal(published.status, 200, JSON.stringify(published))
  assert.equal(published.json.outcome, 'confirmed')
})

test('a wrong key is 401', async () => {
  await authorize(key.slice(0, -1))
  const refused = await publish()
  assert.equal(refused.status, 401, JSON.stringify(refused))
  assert.equal(refused.challenge, 'Bearer realm="rabbitmq-gateway", error="invalid_token"')
})

test('the page keeps no key: after it is loaded again the publish is 401', async () => {
  await authorize(key)
  assert.equal((await publish()).status, 200)
  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]))
  assert.ok(!kept.includes('rgw_'), 'the browser keeps the key')
  await page.reload()
  assert.equal((await publish()).status, 401)
})
