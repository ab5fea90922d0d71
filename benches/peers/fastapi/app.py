"""An HTTP service that publishes with FastAPI and aio-pika, written with care.

One confirm channel for each worker with many publishes in flight; mandatory; a return is an error (`on_return_raises`). The
requests and answers are those of the gateway: 200 when confirmed, 422 when returned, 503 when nacked.
"""

import os
import uuid
from contextlib import asynccontextmanager

import aio_pika
from aio_pika.exceptions import DeliveryError
from aiormq.exceptions import PublishError
from fastapi import FastAPI, Request, Response

UNROUTABLE = b'{"outcome":"unroutable"}'
REJECTED = b'{"outcome":"rejected"}'


@asynccontextmanager
async def lifespan(app: FastAPI):
    connection = await aio_pika.connect_robust(os.environ["AMQP_URL"])
    async with connection:
        app.state.channel = await connection.channel(publisher_confirms=True, on_return_raises=True)
        app.state.exchanges = {"amq.default": app.state.channel.default_exchange}
        yield


app = FastAPI(lifespan=lifespan, openapi_url=None)


async def exchange(name: str):
    known = app.state.exchanges.get(name)
    if known is None:
        known = app.state.exchanges[name] = await app.state.channel.get_exchange(name)
    return known


@app.post("/publish/{name}")
async def publish(name: str, request: Request) -> Response:
    headers = request.headers
    transient = headers.get("x-amqp-delivery-mode") == "transient"
    message_id = str(uuid.uuid4())
    message = aio_pika.Message(
        await request.body(),
        content_type=headers.get("content-type"),
        delivery_mode=aio_pika.DeliveryMode.NOT_PERSISTENT if transient else aio_pika.DeliveryMode.PERSISTENT,
        message_id=message_id,
    )
    try:
        to = await exchange(name)
        await to.publish(message, request.query_params.get("routing_key", ""), mandatory=True)
    except PublishError:
        return Response(UNROUTABLE, 422, media_type="application/json")
    except DeliveryError:
        return Response(REJECTED, 503, media_type="application/json")
    receipt = f'{{"outcome":"confirmed","message_id":"{message_id}"}}'
    return Response(receipt, media_type="application/json")


@app.get("/health/ready")
async def ready() -> Response:
    return Response()
