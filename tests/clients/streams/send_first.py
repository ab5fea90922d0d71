"""Sends 100,000 lines to the stream at the address given before it reads any byte of the answer, with http.client.

Checks the summary. `Prefer: return=minimal` keeps the answer so short that it fits the buffers between both sides.
"""

import http.client
import json
import sys
import urllib.parse

LINES = 100_000
url = urllib.parse.urlsplit(sys.argv[1])


def chunks():
    for first in range(0, LINES, 1000):
        lines = [json.dumps({"body": number}) + "\n" for number in range(first, first + 1000)]
        yield "".join(lines).encode()


connection = http.client.HTTPConnection(url.netloc, timeout=50)
headers = {"content-type": "application/x-ndjson", "prefer": "return=minimal"}
connection.request("POST", f"{url.path}?{url.query}", chunks(), headers, encode_chunked=True)
answer = connection.getresponse()
assert (answer.status, answer.getheader("preference-applied")) == (200, "return=minimal"), answer.headers
*marks, last = [json.loads(line) for line in answer]
assert [mark["settled"] for mark in marks] == list(range(10_000, LINES + 1, 10_000)), marks
assert (last["summary"]["read"], last["summary"]["end"]) == (LINES, "complete"), last
assert last["summary"]["counts"]["confirmed"] == LINES, last
