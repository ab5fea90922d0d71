// A TLS proxy in front of the gateway, as operators configure it: it takes `https://<host>:<port>/mq/…`, removes the prefix and
// asks the gateway without TLS. It makes its certificate at each start, and keeps the statuses that it answered.

import { execFileSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { request } from 'node:http'
import { createServer } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export const PREFIX = '/mq'

function certificate () {
  const folder = mkdtempSync(join(tmpdir(), 'proxy-'))
  const [key, cert] = ['key.pem', 'cert.pem'].map(name => join(folder, name))
  try {
    execFileSync('openssl', [
      'req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1',
      '-subj', '/CN=localhost', '-addext', 'subjectAltName=DNS:localhost', '-keyout', key, '-out', cert,
    ], { stdio: 'pipe' })
    return { key: readFileSync(key), cert: readFileSync(cert) }
  } finally {
    rmSync(folder, { recursive: true })
  }
}

// Starts a proxy in front of `gateway`, a URL; `change` changes the headers that it passes on.
export async function startProxy (gateway, change) {
  const statuses = []
  const server = createServer(certificate(), (incoming, answer) => {
    answer.on('finish', () => statuses.push(answer.statusCode))
    forward(new URL(gateway), change, incoming, answer)
  })
  await new Promise((resolve, reject) => server.once('error', reject).listen(0, '127.0.0.1', resolve))
  return {
    port: server.address().port,
    statuses,
    stop () {
      server.close()
      server.closeAllConnections()
    },
  }
}

function forward (gateway, change, incoming, answer) {
  if (!incoming.url.startsWith(`${PREFIX}/`)) return answer.end('outside of the prefix')
  const headers = { ...incoming.headers }
  change(headers, gateway)
  const { hostname, port } = gateway
  const path = incoming.url.slice(PREFIX.length)
  const outgoing = request({ hostname, port, path, method: incoming.method, headers }, response => {
    answer.writeHead(response.statusCode, response.rawHeaders)
    response.pipe(answer)
  })
  outgoing.on('error', error => answer.destroy(error))
  incoming.pipe(outgoing)
}
