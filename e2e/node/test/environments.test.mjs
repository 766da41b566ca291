import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { all, execute, hosted, needsComputer, settled, shell, start, until } from '../node.mjs';

const sim = { model: 'sim' };
const base64 = (text) => Buffer.from(text).toString('base64');
const commands = async (client, id) => (await all(client.beta.agents.sessions.items.list(id, { order: 'asc' }))).filter((i) => i.type === 'command_execution');

/** Runs a command in a session and returns its item. */
async function run(client, id, command) {
  await client.beta.agents.sessions.stream(id, { input: shell(command) }).finalResult();
  return (await commands(client, id)).at(-1);
}

test('a hosted environment: its events, a command, and what it prints as it comes', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const stream = await client.beta.agents.sessions.create({ environment: hosted, agent: sim, input: shell('echo one; sleep 0.3; echo two; exit 3'), stream: true });
  const events = [];
  for await (const event of stream) events.push(event);
  const environments = events.filter((e) => e.type.startsWith('agent.session.environment.'));
  assert.deepEqual(environments.map((e) => e.type.split('.').at(-1)), ['pending', 'ready', 'connected']);
  assert.equal(environments[0].environment.id, events[0].session.environment.id);
  const items = events.filter((e) => e.item?.type === 'command_execution');
  assert.deepEqual(items.map((e) => [e.type.split('.').at(-1), e.item.status, e.item.exit_code]), [['added', 'in_progress', null], ['done', 'completed', 3]]);
  const deltas = events.filter((e) => e.type === 'agent.output.command_execution_output.delta');
  assert.ok(deltas.length >= 2, `${deltas.length} pieces of output`);
  assert.equal(deltas.map((e) => e.delta).join(''), 'one\ntwo\n');
  assert.ok(deltas.every((e) => e.item_id === items[0].item.id));
  assert.equal(items[1].item.output, 'one\ntwo\n');
  assert.ok(items[1].item.duration_ms >= 300);
  const at = (type) => events.findIndex((e) => e.type === type);
  assert.ok(at('agent.session.environment.connected') < at('agent.output.command_execution_output.delta'));
});

test('environments: prepared, listed, attached once', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const { environments, sessions } = client.beta.agents;
  const made = [];
  for (const name of ['a', 'b', 'c'])
    made.push(await environments.create({ environment: { ...hosted, files: [{ type: 'inline', path: '/workspace/name.txt', data: base64(name) }], env: { NAME: name } } }));
  for (const e of made) await until(() => environments.retrieve(e.id), (now) => now.status === 'ready');
  assert.deepEqual((await all(environments.list({ limit: 2 }))).map((e) => e.id), made.map((e) => e.id).toReversed());
  const environment = { ...hosted, environment_id: made[1].id };
  const session = await sessions.create({ environment, agent: sim, input: shell('cat name.txt; echo $NAME') });
  assert.equal(session.environment.id, made[1].id);
  await settled(client, session.id, 'idle');
  assert.equal((await commands(client, session.id))[0].output, 'bb\n');
  await assert.rejects(sessions.create({ environment, agent: sim }), OpenAI.ConflictError);
  await assert.rejects(environments.retrieve('env_0123456789abcdef0123456789abcdef'), OpenAI.NotFoundError);
});

test('files of an environment: in, by both ways, and listed by pages', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const { sessions, environments } = client.beta.agents;
  const session = await sessions.create({ environment: hosted, agent: sim, input: shell('mkdir -p d; echo d > d/1; echo d > d/2') });
  await settled(client, session.id, 'idle');
  const id = session.environment.id;
  const inline = await environments.files.create(id, { type: 'inline', path: '/workspace/in.txt', data: base64('inline') });
  assert.deepEqual([inline.path, inline.size_bytes, inline.environment_id], ['/workspace/in.txt', 6, id]);
  const { uploadedFile, environmentFile } = await environments.files.upload(id, { file: await toFile(Buffer.from('uploaded'), 'up.txt'), path: '/workspace/up.txt' });
  assert.deepEqual([uploadedFile.bytes, environmentFile.path], [8, '/workspace/up.txt']);
  assert.equal((await run(client, session.id, 'cat in.txt up.txt')).output, 'inlineuploaded');
  const listed = await all(environments.files.list(id, { limit: 1, order: 'asc' }));
  assert.deepEqual(listed.map((f) => f.path), ['/workspace/d/1', '/workspace/d/2', '/workspace/in.txt', '/workspace/up.txt']);
  assert.deepEqual((await all(environments.files.list(id, { limit: 3 }))).map((f) => f.path), listed.map((f) => f.path).toReversed());
  assert.equal((await all(environments.files.list(id, { path: '/workspace/d' }))).length, 2);
  await assert.rejects(environments.files.create(id, { type: 'inline', path: '/etc/passwd', data: '' }), OpenAI.BadRequestError);
  await assert.rejects(environments.files.create(id, { type: 'file_id', path: '/workspace/x', file_id: 'file_none' }), (e) => e.param === 'file_id');
});

test('artifacts: published by a turn, found by its result, deleted', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const first = await (await sessions.create({ environment: hosted, agent: sim, input: shell('echo 1 > outputs/r.txt; echo other > outputs/o.txt'), stream: true })).finalResult();
  const id = first.session_id;
  const second = await sessions.stream(id, { input: shell('echo 22 > outputs/r.txt') }).finalResult();
  for (const [result, content] of [[first, '1\n'], [second, '22\n']]) {
    const artifacts = sessions.artifacts.forResult(result);
    const found = await artifacts.retrieve('/workspace/outputs/r.txt');
    assert.deepEqual([found.size_bytes, found.turn_id, found.session_id], [content.length, result.turn_id, id]);
    assert.equal(await (await artifacts.content('/workspace/outputs/r.txt')).text(), content);
  }
  let written = '';
  const to = new WritableStream({ write: (chunk) => void (written += Buffer.from(chunk)) });
  await sessions.artifacts.forResult(first).download({ path: '/workspace/outputs/o.txt', to });
  assert.equal(written, 'other\n');
  await assert.rejects(sessions.artifacts.forResult(second).retrieve('/workspace/outputs/o.txt'), /No artifact matches/);
  const listed = await all(sessions.artifacts.list(id, { limit: 1 }));
  assert.equal(listed.length, 3);
  assert.equal((await sessions.artifacts.retrieve(listed[0].id, { session_id: id })).path, listed[0].path);
  assert.equal((await sessions.artifacts.delete(listed[0].id, { session_id: id })).deleted, true);
  await assert.rejects(sessions.artifacts.content(listed[0].id, { session_id: id }), OpenAI.NotFoundError);
  assert.equal((await all(sessions.artifacts.list(id))).length, 2);
});

test('templates: a session inherits, and its network gets no broader', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const { environments, sessions } = client.beta.agents;
  const template = await environments.templates.create({
    env: { TOKEN: 'of-the-template' },
    files: [{ type: 'inline', path: '/workspace/base.txt', data: base64('base\n') }],
    network: { access: 'restricted', allowed_domains: ['pypi.org'] },
  });
  const environment = { ...hosted, environment_template_id: template.id };
  const session = await sessions.create({ environment, agent: sim, input: shell('cat base.txt; echo $TOKEN') });
  assert.deepEqual(session.environment.network, { access: 'restricted', allowed_domains: ['pypi.org'] });
  assert.doesNotMatch(JSON.stringify(session), /of-the-template/);
  await settled(client, session.id, 'idle');
  assert.equal((await commands(client, session.id))[0].output, 'base\nof-the-template\n');
  for (const network of [{ access: 'enabled' }, { access: 'restricted', allowed_domains: ['pypi.org', 'example.com'] }])
    await assert.rejects(
      sessions.create({ environment: { ...environment, network }, agent: sim }),
      (e) => e instanceof OpenAI.BadRequestError && e.param.startsWith('environment.network'),
    );
  const narrower = await sessions.create({ environment: { ...environment, network: { access: 'disabled' } }, agent: sim });
  assert.equal(narrower.environment.network.access, 'disabled');
});

test('files outlive a SIGKILL of the server; a copy of a session has its own', async (t) => {
  if (needsComputer(t)) return;
  const node = await start(t);
  const session = await node.client.beta.agents.sessions.create({ environment: hosted, agent: sim, input: shell('seq 1000 > numbers; sha256sum numbers') });
  await settled(node.client, session.id, 'idle');
  const [{ output }] = await commands(node.client, session.id);
  await node.kill();
  await node.start();
  const { client } = node;
  const again = await run(client, session.id, 'sha256sum numbers');
  assert.deepEqual([again.exit_code, again.output], [0, output]);
  const copy = await client.post(`/agents/sessions/${session.id}/fork`, { body: {} }); // ours: the SDK has no method
  assert.notEqual(copy.environment.id, session.environment.id);
  assert.equal((await run(client, copy.id, 'sha256sum numbers; rm numbers')).output, output);
  assert.equal((await run(client, session.id, 'sha256sum numbers')).output, output);
});

test('a self-hosted environment waits for its executor, and its commands run there', async (t) => {
  if (needsComputer(t)) return;
  const { client } = await start(t);
  const workspace = mkdtempSync(path.join(tmpdir(), 'stead-own-'));
  t.after(() => rmSync(workspace, { recursive: true, force: true }));
  const { sessions } = client.beta.agents;
  const made = await sessions.create({ environment: { type: 'self_hosted', workspace_directory: workspace }, agent: sim, input: shell('echo here > made.txt; cat made.txt') });
  const waiting = await settled(client, made.id, 'requires_action');
  assert.deepEqual(waiting.required_actions, [{ type: 'environment_connection', environment_id: made.environment.id }]);
  execute(t, waiting.environment.remote_url, workspace);
  await settled(client, made.id, 'idle');
  assert.equal((await commands(client, made.id))[0].output, 'here\n');
  assert.equal(readFileSync(path.join(workspace, 'made.txt'), 'utf8'), 'here\n');
  await assert.rejects(client.beta.agents.environments.files.create(made.environment.id, { type: 'inline', path: '/workspace/x', data: '' }), OpenAI.BadRequestError);
});
