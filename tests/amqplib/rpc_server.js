// An RPC server with the calls of RabbitMQ's tutorial six, in their order, on the RabbitMQ of AMQP_URL.
const amqp = require('amqplib/callback_api');

const queue = 'rpc_queue';

function fibonacci(n) {
  return n < 2 ? n : fibonacci(n - 1) + fibonacci(n - 2);
}

amqp.connect(process.env.AMQP_URL, (failure, connection) => {
  if (failure) throw failure;
  connection.createChannel((failure, channel) => {
    if (failure) throw failure;
    channel.assertQueue(queue, { durable: true, arguments: { 'x-queue-type': 'quorum' } });
    channel.prefetch(1);
    channel.consume(queue, (request) => {
      const reply = fibonacci(parseInt(request.content.toString())).toString();
      const { replyTo, correlationId } = request.properties;
      channel.sendToQueue(replyTo, Buffer.from(reply), { correlationId });
      channel.ack(request);
    });
  });
});
