// The Codex CLI, unmodified and offline: its requests go through Stead to a scripted upstream that speaks
// the Responses API, tools of types that nobody lists included.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Node } from '../node.mjs';
import { provider, upstream } from '../upstream.mjs';

const codex = fileURLToPath(new URL('../node_modules/.bin/codex', import.meta.url));

/** The events of a response with one item of output, as an upstream sends them. */
function response(item) {
  const whole = { id: 'resp_1', object: 'response', created_at: 1, model: 'real', status: 'completed', output: [item],
    usage: { input_tokens: 10, input_tokens_details: { cached_tokens: 0 }, output_tokens: 5, output_tokens_details: { reasoning_tokens: 0 }, total_tokens: 15 } };
  return [
    { type: 'response.created', sequence_number: 0, response: { ...whole, status: 'in_progress', output: [], usage: null } },
    { type: 'response.output_item.added', sequence_number: 1, output_index: 0, item },
    { type: 'response.output_item.done', sequence_number: 2, output_index: 0, item },
    { type: 'response.completed', sequence_number: 3, response: whole },
  ];
}

/** Calls whichever tool for commands this version of Codex offers. */
function shell(body, command) {
  const names = body.tools.map((tool) => tool.name);
  const args = names.includes('exec_command') ? { cmd: command } : names.includes('shell_command') ? { command } : { command: ['sh', '-c', command] };
  const name = ['exec_command', 'shell_command', 'shell'].find((n) => names.includes(n));
  return response({ type: 'function_call', id: 'fc_1', call_id: 'call_1', name, arguments: JSON.stringify(args), status: 'completed' });
}

test('codex exec completes a task', async (t) => {
  const home = mkdtempSync(path.join(tmpdir(), 'stead-codex-'));
  t.after(() => rmSync(home, { recursive: true, force: true }));
  const up = await upstream(t,
    (body) => shell(body, 'echo made by codex > made.txt'),
    () => response({ type: 'message', id: 'msg_1', role: 'assistant', status: 'completed', content: [{ type: 'output_text', text: 'The file is made.', annotations: [] }] }));
  const node = await new Node(provider('responses', up.base)).start();
  t.after(() => node.kill());
  const settings = { model: '"m"', model_provider: '"stead"', 'model_providers.stead.name': '"stead"', 'model_providers.stead.base_url': `"${node.base}/v1"`, 'model_providers.stead.wire_api': '"responses"' };
  const args = ['exec', '--skip-git-repo-check', '--dangerously-bypass-approvals-and-sandbox', ...Object.entries(settings).flatMap(([k, v]) => ['-c', `${k}=${v}`]), 'Make the file made.txt.'];
  const child = spawn(codex, args, { cwd: home, env: { PATH: process.env.PATH, HOME: home, CODEX_HOME: home }, stdio: ['ignore', 'pipe', 'pipe'] });
  let out = '';
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', (s) => { out += s; });
  const code = await new Promise((resolve) => child.once('exit', resolve));
  assert.equal(code, 0, out);
  assert.match(out, /The file is made\./);
  assert.equal(readFileSync(path.join(home, 'made.txt'), 'utf8'), 'made by codex\n');
  const [first, second] = up.asked;
  assert.equal(first.body.model, 'real');
  assert.equal(first.body.store, false);
  assert.ok(second.body.input.some((i) => i.type === 'function_call_output' && i.call_id === 'call_1'));
});
