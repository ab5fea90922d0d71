// Sends a ReadableStream to the stream at the address given, with Node's fetch, and checks results and summary.
// `duplex: 'half'` is the only value that fetch knows: the answer may be read after the request was sent.

const LINES = 2000

function check (holds, what) {
  if (!holds) throw new Error(JSON.stringify(what))
}

let next = 0
const body = new ReadableStream({
  pull (controller) {
    if (next === LINES) return controller.close()
    const line = JSON.stringify({ id: `line-${next}`, body_text: String(next) })
    controller.enqueue(new TextEncoder().encode(line + '\n'))
    next += 1
  },
})

const headers = { 'content-type': 'application/x-ndjson' }
const answer = await fetch(process.argv[2], { method: 'POST', duplex: 'half', headers, body })
check(answer.status === 200, answer.status)
const lines = (await answer.text()).trimEnd().split('\n').map(line => JSON.parse(line))
const { summary } = lines.pop()
check(summary.read === LINES && summary.end === 'complete', summary)
check(summary.counts.confirmed === LINES && lines.length === LINES, summary)
for (const result of lines) {
  check(result.outcome === 'confirmed' && result.id === `line-${result.index}`, result)
}
