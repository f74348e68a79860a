// What the flows of Node clients share: their settings, and the one document each prints.
// The environment and the document are those of ../python/flow.py.

import { execFileSync } from "node:child_process";

export const owner = "acme";
export const repo = "widgets";
const APPROVAL_HEADER = "x-merge-approval";

export class Flow {
  #describe;
  #results = {};
  #refusals = {};

  /** `describe` tells what tollgate or GitHub said from the client's error. */
  constructor(describe) {
    const approval = process.env.CLIENT_APPROVAL;
    this.baseUrl = process.env.CLIENT_BASE_URL;
    this.key = process.env.CLIENT_KEY;
    this.carefulKey = process.env.CLIENT_CAREFUL_KEY;
    this.strangerKey = process.env.CLIENT_STRANGER_KEY;
    this.closedKey = process.env.CLIENT_CLOSED_KEY;
    this.approved = approval === undefined ? {} : { [APPROVAL_HEADER]: approval };
    this.isGated = approval !== undefined;
    this.#describe = describe;
  }

  /** Runs a step; what it returns is the result of that name. */
  async step(name, run) {
    try {
      this.#results[name] = (await run()) ?? null;
    } catch (error) {
      // A step that fails is a result, and the flow goes on.
      console.error(name, error);
      this.#results[name] = { failed: String(error) };
    }
  }

  /** Runs a call that tollgate must refuse, if tollgate is there. */
  async refusal(name, run) {
    if (this.isGated) {
      this.#refusals[name] = await this.#told(run);
    }
  }

  /** The header by which somebody agrees to what the call is refused for; without tollgate nothing. */
  async approval(run) {
    if (!this.isGated) {
      return {};
    }
    try {
      await run();
    } catch (error) {
      const input = JSON.stringify(this.#describe(error).tollgate);
      const [command, ...options] = JSON.parse(process.env.CLIENT_APPROVAL);
      return { [APPROVAL_HEADER]: execFileSync(command, options, { input, timeout: 30_000 }).toString().trim() };
    }
    throw new Error("it was let through without an approval");
  }

  /** What a call that must fail is told, the same with and without tollgate. */
  async errorOf(run) {
    const { code, tollgate, ...told } = await this.#told(run);
    return told;
  }

  async #told(run) {
    try {
      await run();
    } catch (error) {
      try {
        return { exception: error.name, ...this.#describe(error) };
      } catch {
        // Another error than the client's own for an error answer.
        console.error(error);
        return { failed: String(error) };
      }
    }
    return { failed: "it was let through" };
  }

  finish() {
    process.stdout.write(`${JSON.stringify({ results: this.#results, refusals: this.#refusals })}\n`);
  }
}
