// Many agents, each with an Octokit of its own as `octokit` makes it: throttling and retry are on by default.
// Reads its orders from a file, writes one line of JSON for each request that has ended.
import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { Octokit } from "octokit";

const OPEN = 6;
const orders = JSON.parse(readFileSync(process.argv[2]));
const quiet = { debug() {}, info() {}, warn() {}, error() {} };
// The rule of `octokit` itself, which is gone when anything about throttling is said.
const isFirst = (retryAfter, options, octokit, retryCount) => retryCount === 0;
const elapsed = () => Date.now() - orders.begin_at_epoch_ms;

function tell(request, isServed, status) {
  const line = { id: request.id, done_ms: Math.max(0, elapsed()), is_served: isServed, status };
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

class Agent {
  // The id keeps its queues apart from other agents', as they are in a process of its own.
  constructor({ name, class: kind }) {
    const throttle = { id: name, onRateLimit: isFirst, onSecondaryRateLimit: isFirst };
    this.octokit = new Octokit({ auth: orders.token, baseUrl: orders.base_url, log: quiet, throttle });
    this.startByMs = kind === "human" ? orders.patience_ms : orders.start_by_ms;
    this.waiting = [];
    this.open = 0;
    this.etags = new Map();
  }

  take(request) {
    this.waiting.push(request);
    while (this.open < OPEN && this.waiting.length > 0) {
      this.open += 1;
      this.work(this.waiting.shift());
    }
  }

  async work(request) {
    while (request) {
      if (elapsed() > request.due_ms + this.startByMs) tell(request, false, 0);
      else await this.ask(request);
      request = this.waiting.shift();
    }
    this.open -= 1;
  }

  async ask({ id, due_ms, method, target, body, is_conditional }) {
    const request = { id, due_ms };
    const etag = is_conditional && this.etags.get(target);
    try {
      if (target === "/graphql") await this.octokit.graphql(body.query, body.variables);
      else {
        const headers = etag ? { "if-none-match": etag } : {};
        const answer = await this.octokit.request(`${method} ${target}`, { headers, ...body });
        if (is_conditional) this.etags.set(target, answer.headers.etag);
      }
      tell(request, true, 200);
    } catch (error) {
      tell(request, error.status === 304, error.status ?? 0);
    }
  }
}

const agents = orders.agents.map((agent) => new Agent(agent));
for (const request of orders.requests) {
  const left = request.due_ms - elapsed();
  if (left > 0) await sleep(left);
  agents[request.agent].take(request);
}
await sleep(Math.max(0, orders.end_ms - elapsed()));
process.exit(0);
