const http = require('http');

const visits = new Map();

const server = http.createServer((request, response) => {
  const count = (visits.get(request.url) || 0) + 1;
  visits.set(request.url, count);
  response.writeHead(200, { 'Content-Type': 'text/plain' });
  response.end(`You have opened ${request.url} ${count} times\n`);
});

server.listen(3000, () => {
  console.log('listening on port 3000');
});
