// Swagger UI through a TLS proxy below a path prefix, for each way in which proxies forward the headers of browsers.

import assert from 'node:assert/strict'
import { after, afterEach, before, beforeEach, test } from 'node:test'
import { eventually, gateway, launch, open } from './browser.js'
import { PREFIX, startProxy } from './proxy.js'

const prefixed = process.env.PREFIXED_GATEWAY_URL
const HOST = process.env.PREFIXED_GATEWAY_HOST

// For each proxy: the gateway behind it, the host name that browsers use, and how it changes the headers.
const PROXIES = {
  'names its prefix': { behind: gateway, host: 'localhost', change: headers => { headers['x-forwarded-prefix'] = PREFIX } },
  // nginx without proxy_set_header: the Host header has the gateway's own address.
  'replaces Host': { behind: prefixed, host: HOST, change: (headers, { host }) => { headers.host = host } },
  'keeps Host': { behind: prefixed, host: HOST, change: () => {} },
  // A browser before 2023: the gateway compares Origin with Host.
  'keeps Host, for a browser without Sec-Fetch-Site': {
    behind: prefixed, host: HOST, change: headers => { delete headers['sec-fetch-site'] },
  },
}

let browser, proxy

before(async () => { browser = await launch([`--host-resolver-rules=MAP *.example 127.0.0.1`]) })

beforeEach(() => { proxy = undefined })

afterEach(() => proxy?.stop())

after(() => browser?.close())

async function start ({ behind, host, change }) {
  proxy = await startProxy(behind, change)
  return `https://${host}:${proxy.port}`
}

// Runs an operation with its prefilled example.
async function run (page, base, id) {
  await page.goto('about:blank')
  await page.goto(`${base}/docs/#/${id}`)
  const execute = page.locator('button.execute')
  await execute.waitFor()
  const isCall = response => ['PUT', 'POST'].includes(response.request().method())
  const [response] = await Promise.all([page.waitForResponse(isCall), execute.click()])
  return { url: response.url(), status: response.status(), json: await response.json() }
}

for (const [what, described] of Object.entries(PROXIES)) {
  test(`Swagger UI behind a TLS proxy that ${what} may declare and publish`, async () => {
    const origin = await start(described)
    const base = origin + PREFIX
    const { page, wrong } = await open(browser, `${PREFIX}/`, origin)
    await page.locator('.opblock').first().waitFor()
    assert.equal(page.url(), `${base}/docs/`)
    const declared = await run(page, base, 'queues/declare_queue')
    assert.ok([200, 201].includes(declared.status), JSON.stringify(declared))
    const published = await run(page, base, 'publish/publish_message')
    assert.equal(published.json.outcome, 'confirmed', JSON.stringify(published))
    assert.ok(published.url.startsWith(`${base}/publish/`), published.url)
    await page.close()
    assert.deepEqual(wrong, [])
  })

  test(`problems and pages behind a TLS proxy that ${what} lead to pages`, async () => {
    const origin = await start(described)
    const { page, wrong } = await open(browser, `${PREFIX}/problems`, origin)
    await page.getByRole('link', { name: 'unroutable' }).click()
    await page.getByRole('link', { name: 'All problems' }).click()
    await page.getByRole('link', { name: 'Try the API' }).click()
    await page.locator('.opblock').first().waitFor()
    const type = await page.evaluate(async () => (await (await fetch('../nowhere')).json()).type)
    assert.equal(type, `${PREFIX}/problems/not-found`)
    assert.equal((await page.goto(origin + type)).status(), 200)
    await page.close()
    assert.deepEqual(wrong, [])
  })
}

test('a page of another origin may not publish, and its links lead to Swagger UI', async () => {
  const origin = await start(PROXIES['keeps Host'])
  const { page } = await open(browser, '/', `https://elsewhere.example:${proxy.port}`)
  const url = `${origin}${PREFIX}/publish/amq.default?routing_key=hello`
  await page.evaluate(url => fetch(url, { method: 'POST', mode: 'no-cors', body: 'x' }), url)
  await eventually('the publish is refused', () => proxy.statuses.includes(403))
  await page.setContent(`<a href="${origin}${PREFIX}/docs/">the gateway</a>`)
  await page.getByRole('link').click()
  await page.locator('.opblock').first().waitFor()
  await page.close()
})
