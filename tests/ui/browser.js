// Headless Chromium on one page, and a list of the errors of the page: requests that leave the gateway's origin, errors on the
// console, violations of the page's policy. Every wait has a deadline.

import { chromium } from 'playwright-core'

export const gateway = process.env.GATEWAY_URL ?? fail('GATEWAY_URL is not set: run scripts/test-ui')

const DEADLINE_MS = 20_000
const FLAGS = [
  '--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run',
  '--disable-background-networking', '--disable-component-update', '--disable-sync',
]

function fail (why) {
  throw new Error(why)
}

export async function launch (flags = []) {
  const executablePath = process.env.CHROMIUM ?? '/usr/bin/chromium'
  return chromium.launch({ executablePath, args: [...FLAGS, ...flags], timeout: 3 * DEADLINE_MS })
}

// A fresh page of this origin, and the list of its errors so far.
export async function open (browser, path, origin = gateway) {
  const page = await browser.newPage({ viewport: { width: 1280, height: 1000 }, ignoreHTTPSErrors: true })
  page.setDefaultTimeout(DEADLINE_MS)
  const wrong = []
  page.on('request', request => isOf(origin, request.url()) || wrong.push(`request to ${request.url()}`))
  page.on('requestfailed', request => wrong.push(`${request.url()} failed: ${request.failure()?.errorText}`))
  page.on('pageerror', error => wrong.push(`uncaught: ${error}`))
  page.on('console', message => isTrouble(message) && wrong.push(`console: ${message.text()}`))
  await page.exposeFunction('tellViolation', what => wrong.push(`violation of the policy: ${what}`))
  await page.addInitScript(() => {
    document.addEventListener('securitypolicyviolation', event => {
      window.tellViolation(`${event.violatedDirective} by ${event.blockedURI}`)
    })
  })
  await page.goto(origin + path)
  return { page, wrong }
}

function isOf (origin, url) {
  return ['data:', 'blob:', 'about:'].includes(new URL(url).protocol) || new URL(url).origin === origin
}

// Chromium itself writes a line for every answer of 400 and more; lines that a test causes are no errors.
function isTrouble (message) {
  return message.type() === 'error' &&
    !message.text().startsWith('Failed to load resource: the server responded with a status of')
}

// Polls until `look` gives a value.
export async function eventually (what, look) {
  const deadline = Date.now() + DEADLINE_MS
  for (;;) {
    const seen = await look()
    if (seen) return seen
    if (Date.now() > deadline) fail(`not within ${DEADLINE_MS} ms: ${what}`)
    await new Promise(resolve => setTimeout(resolve, 100))
  }
}
