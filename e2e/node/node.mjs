// One process of the real binary, the official SDK as its client, and between the two a fetch that
// holds every answer and every server-sent event against the server's own OpenAPI document.
import { spawn, execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import Ajv from 'ajv/dist/2020.js';
import OpenAI from 'openai';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const START_TIMEOUT_MS = 60_000; // the build included, on a busy machine
const WAIT_TIMEOUT_MS = 60_000; // less than the runner's own limit: what failed is said, and everything ends

let built;
function binary() {
  if (!built) {
    built = path.join(mkdtempSync(path.join(tmpdir(), 'stead-e2e-')), 'stead');
    execFileSync('go', ['build', '-o', built, './cmd/stead'], { cwd: root, stdio: 'inherit' });
    process.on('exit', () => rmSync(path.dirname(built), { recursive: true, force: true }));
  }
  return built;
}

export class Node {
  /** config: the text of a stead.yaml; without one the model is sim. */
  constructor(config) {
    this.config = config;
    this.dir = mkdtempSync(path.join(tmpdir(), 'stead-data-'));
    this.faults = []; // departures from the document
  }

  async start() {
    const ready = path.join(this.dir, 'ready');
    rmSync(ready, { force: true });
    const args = ['dev', '--no-demo', '--listen', '127.0.0.1:0', '--data', path.join(this.dir, 'stead'), '--ready-file', ready];
    if (this.config) {
      writeFileSync(path.join(this.dir, 'stead.yaml'), this.config);
      args.push('--config', path.join(this.dir, 'stead.yaml'));
    }
    // No key of a provider in the environment: the model is sim, unless the configuration says otherwise.
    this.process = spawn(binary(), args, { env: { PATH: process.env.PATH, HOME: this.dir }, stdio: ['ignore', 'ignore', 'inherit'] });
    this.exited = new Promise((resolve) => this.process.once('exit', resolve));
    for (const end = Date.now() + START_TIMEOUT_MS; ; await sleep(10)) {
      try {
        this.base = readFileSync(ready, 'utf8').trim();
        if (this.base) break;
      } catch {
        // not there yet
      }
      if (Date.now() > end) throw new Error('stead dev is not ready');
    }
    this.document ??= await (await fetch(`${this.base}/openapi.json`)).json();
    this.ajv ??= compile(this.document);
    this.client = new OpenAI({ baseURL: `${this.base}/v1`, apiKey: 'none', fetch: (url, init) => this.checked(url, init) });
    return this;
  }

  /** Ends the process at once, as a crash does. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.exited;
  }

  async stop() {
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
    if (this.faults.length) throw new Error(`off the document:\n${this.faults.join('\n')}`);
  }

  async checked(url, init) {
    const res = await fetch(url, init);
    if (String(url).startsWith('data:')) return res; // the SDK finds out what fetch does with forms
    const type = res.headers.get('content-type') ?? '';
    if (!res.headers.get('x-request-id')) this.faults.push(`${url}: no X-Request-Id`);
    if (type.startsWith('text/event-stream')) {
      const [mine, theirs] = res.body.tee();
      this.readEvents(mine).catch(() => {}); // the client hung up
      return new Response(theirs, res);
    }
    const text = await res.clone().text();
    if (type.startsWith('application/json')) this.check(this.answerSchema(init?.method ?? 'GET', new URL(url).pathname, res.status), text);
    return res;
  }

  async readEvents(body) {
    let rest = '';
    for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
      const frames = (rest + chunk).split('\n\n');
      rest = frames.pop();
      for (const frame of frames) {
        const data = frame.split('\n').find((line) => line.startsWith('data: '))?.slice(6);
        if (!data || data === '[DONE]') continue;
        const { type, object, error } = JSON.parse(data);
        this.check(type ?? (error ? 'Error' : object), data); // a chunk of a chat has no type
      }
    }
  }

  answerSchema(method, pathname, status) {
    if (status >= 400) return 'Error';
    const have = pathname.split('/');
    const fits = (pattern) => {
      const want = pattern.split('/');
      return want.length === have.length && want.every((w, i) => w === have[i] || w.startsWith('{'));
    };
    const found = Object.keys(this.document.paths)
      .filter((p) => fits(p) && this.document.paths[p][method.toLowerCase()])
      .sort((a, b) => a.split('{').length - b.split('{').length)[0];
    const ref = this.document.paths[found]?.[method.toLowerCase()].responses[status]?.content?.['application/json']?.schema.$ref;
    return ref?.split('/').at(-1);
  }

  check(name, text) {
    const validate = name && this.ajv.getSchema(`stead#/components/schemas/${name}`);
    if (!validate) this.faults.push(`no schema for ${name}: ${text.slice(0, 300)}`);
    else if (!validate(JSON.parse(text))) this.faults.push(`${name}: ${this.ajv.errorsText(validate.errors)}: ${text.slice(0, 500)}`);
  }
}

function compile(document) {
  const ajv = new Ajv({ strict: false, allErrors: false });
  ajv.addSchema({ $id: 'stead', components: document.components }, 'stead');
  return ajv;
}

/** Starts a node for a test and stops it, with the document's verdict, at its end. */
export async function start(t, config) {
  const node = await new Node(config).start();
  t.after(() => node.stop());
  return node;
}

export const none = { type: 'none' };
export const hosted = { type: 'openai_hosted' };

let driver;
/** Skips a test, in words, on a machine that can give agents no computer; in CI that is a failure. */
export function needsComputer(t) {
  driver ??= JSON.parse(execFileSync(binary(), ['doctor', '-o', 'json'], { encoding: 'utf8' })).environments.driver;
  if (driver) return false;
  if (process.env.CI === 'true') throw new Error('CI needs environments: see stead doctor');
  t.skip('this machine has no driver for environments: stead doctor says why');
  return true;
}

/** Runs `stead executor` for a remote URL until the end of the test. */
export function execute(t, remote, workspace) {
  const args = ['executor', '--remote', remote, '--workspace', workspace];
  const child = spawn(binary(), args, { env: { PATH: process.env.PATH, HOME: workspace }, stdio: ['ignore', 'ignore', 'inherit'] });
  const exited = new Promise((resolve) => child.once('exit', resolve));
  t.after(async () => {
    child.kill('SIGINT');
    await exited;
  });
}

/** Input that makes the model sim run a command. */
export const shell = (command) => `Call shell with ${JSON.stringify({ command })}`;

export const weather = {
  type: 'function',
  name: 'get_weather',
  description: 'The weather of a city',
  parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] },
};

/** Polls until the session has the status. */
export const settled = (client, id, status) => until(() => client.beta.agents.sessions.retrieve(id), (session) => session.status === status);

/** Asks until the answer will do. */
export async function until(ask, enough) {
  for (const end = Date.now() + WAIT_TIMEOUT_MS; ; await sleep(10)) {
    const answer = await ask();
    if (enough(answer)) return answer;
    if (Date.now() > end) throw new Error(`waited ${WAIT_TIMEOUT_MS} ms, and still: ${JSON.stringify(answer).slice(0, 1000)}`);
  }
}

export async function all(pages) {
  const out = [];
  for await (const x of pages) out.push(x);
  return out;
}
