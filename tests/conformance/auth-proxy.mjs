// Adds an API key to every request: the conformance suite has no option for headers.
// usage: AUTH_KEY=… node auth-proxy.mjs http://127.0.0.1:3911
// Prints the address it listens on.
import http from 'node:http';

const upstream = new URL(process.argv[2]);
const key = process.env.AUTH_KEY;

const server = http.createServer((request, response) => {
  const forward = http.request(
    {
      host: upstream.hostname,
      port: upstream.port || 80,
      method: request.method,
      path: request.url,
      // Host stays as received: the suite sends foreign ones to see them refused.
      headers: { ...request.headers, authorization: `Bearer ${key}` },
    },
    (answer) => {
      response.writeHead(answer.statusCode, answer.headers);
      answer.pipe(response);
    },
  );
  forward.on('error', () => response.destroy());
  // A client that hangs up hangs up on the server too.
  response.on('close', () => forward.destroy());
  request.pipe(forward);
});

server.listen(0, '127.0.0.1', () => {
  console.log(`http://127.0.0.1:${server.address().port}`);
});
