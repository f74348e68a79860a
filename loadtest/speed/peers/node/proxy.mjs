// A proxy with a limit for each key, as it is often written: http-proxy, and rate-limiter-flexible over Redis.
// node proxy.mjs PORT ORIGIN-PORT REDIS-PORT
import http from "node:http";
import httpProxy from "http-proxy";
import { Redis } from "ioredis";
import { RateLimiterRedis } from "rate-limiter-flexible";

const [port, origin, redis] = process.argv.slice(2).map(Number);
const limiter = new RateLimiterRedis({
  storeClient: new Redis(redis, "127.0.0.1"),
  points: 1_000_000_000,
  duration: 3600,
});
const proxy = httpProxy.createProxyServer({
  target: `http://127.0.0.1:${origin}`,
  agent: new http.Agent({ keepAlive: true, maxSockets: 64 }),
});
proxy.on("error", (_error, _request, response) => response.writeHead(502).end());

const server = http.createServer(async (request, response) => {
  try {
    await limiter.consume(request.headers.authorization ?? "");
  } catch {
    response.writeHead(429).end();
    return;
  }
  proxy.web(request, response);
});
server.keepAliveTimeout = 3_600_000;
server.listen(port, "127.0.0.1");
