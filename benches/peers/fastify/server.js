// An HTTP service that publishes with fastify and amqplib, written with care.
//
// One confirm channel with many publishes in flight; mandatory. RabbitMQ sends a return before the ack of the same message, so
// the service remembers the ids of returned messages until their acks. The requests and answers are those of the gateway: 200
// when confirmed, 422 when returned, 503 when nacked.

import { randomUUID } from "node:crypto";
import amqp from "amqplib";
import fastify from "fastify";

const connection = await amqp.connect(process.env.AMQP_URL, { noDelay: true });
const channel = await connection.createConfirmChannel();
const returned = new Set();
channel.on("return", (message) => returned.add(message.properties.messageId));
for (const source of [connection, channel]) {
  source.on("error", (error) => {
    console.error(error);
    process.exit(1);
  });
}

const publish = (exchange, routingKey, body, options) =>
  new Promise((resolve) => {
    channel.publish(exchange, routingKey, body, options, (error) => {
      const unroutable = returned.delete(options.messageId);
      resolve(error ? "rejected" : unroutable ? "unroutable" : "confirmed");
    });
  });

const STATUS = { confirmed: 200, unroutable: 422, rejected: 503 };

const app = fastify({ logger: false, bodyLimit: 8 * 1024 * 1024 });
app.removeAllContentTypeParsers();
app.addContentTypeParser("*", { parseAs: "buffer" }, (request, body, done) => done(null, body));

app.post("/publish/:exchange", async (request, reply) => {
  const { exchange } = request.params;
  const messageId = randomUUID();
  const outcome = await publish(
    exchange === "amq.default" ? "" : exchange,
    request.query.routing_key ?? "",
    request.body,
    {
      mandatory: true,
      persistent: request.headers["x-amqp-delivery-mode"] !== "transient",
      messageId,
      contentType: request.headers["content-type"],
    },
  );
  reply.code(STATUS[outcome]).header("content-type", "application/json");
  return `{"outcome":"${outcome}","message_id":"${messageId}"}`;
});

app.get("/health/ready", async () => "");

for (const name of ["SIGINT", "SIGTERM"]) process.once(name, () => process.exit(0));
await app.listen({ host: "127.0.0.1", port: Number(process.env.PORT) });
