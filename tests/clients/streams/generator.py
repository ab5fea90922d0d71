"""Sends the lines of a generator to the stream at the address given, with httpx, and checks the result of each."""

import json
import sys

import httpx

LINES = 2000


def lines():
    for number in range(LINES):
        yield json.dumps({"id": f"line-{number}", "body_text": str(number)}).encode() + b"\n"


headers = {"content-type": "application/x-ndjson"}
with httpx.stream("POST", sys.argv[1], content=lines(), headers=headers, timeout=50) as answer:
    assert answer.status_code == 200, answer.read()
    *results, last = [json.loads(line) for line in answer.iter_lines()]
assert sorted(result["index"] for result in results) == list(range(LINES)), results[:5]
for result in results:
    assert (result["id"], result["outcome"]) == (f"line-{result['index']}", "confirmed"), result
assert (last["summary"]["read"], last["summary"]["end"]) == (LINES, "complete"), last
