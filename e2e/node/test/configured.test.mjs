import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { all, start } from '../node.mjs';

test('environment templates: create, update, list, delete', async (t) => {
  const { client } = await start(t);
  const { templates } = client.beta.agents.environments;
  const made = await templates.create({
    name: 'data',
    env: { TOKEN: 's3cret' },
    setup_commands: [{ command: 'echo s3cret', cwd: '/workspace' }],
    files: [{ type: 'inline', path: '/workspace/hello.txt', data: Buffer.from('hello').toString('base64') }],
    network: { access: 'restricted', allowed_domains: ['pypi.org'] },
    packages: { python: ['requests==2.32.3'], npm: ['left-pad@1.3.0'] },
    desktop: { enabled: false },
  });
  assert.equal(made.object, 'agent.environment.template');
  assert.deepEqual(made.files, [{ type: 'inline', path: '/workspace/hello.txt', size_bytes: 5 }]);
  assert.doesNotMatch(JSON.stringify(made), /s3cret|TOKEN/);
  const changed = await templates.update(made.id, { network: null, files: null, name: 'other' });
  assert.deepEqual([changed.name, changed.network.access, changed.files, changed.packages.npm], ['other', 'disabled', [], ['left-pad@1.3.0']]);
  const ids = [made.id];
  for (let i = 0; i < 2; i++) ids.push((await templates.create({})).id);
  assert.deepEqual((await all(templates.list({ limit: 1 }))).map((x) => x.id), ids.toReversed());
  assert.equal((await templates.delete(made.id)).object, 'agent.environment.template.deleted');
  await assert.rejects(templates.retrieve(made.id), OpenAI.NotFoundError);
  await assert.rejects(templates.create({ env: { LD_PRELOAD: 'x' } }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'env.LD_PRELOAD');
});

test('files: upload, list, content, delete', async (t) => {
  const { client } = await start(t);
  const made = await client.files.create({ file: await toFile(Buffer.from('col\n1\n'), 'a.csv'), purpose: 'user_data', expires_after: { anchor: 'created_at', seconds: 3600 } });
  assert.deepEqual([made.bytes, made.filename, made.purpose, made.expires_at], [6, 'a.csv', 'user_data', made.created_at + 3600]);
  assert.equal(await (await client.files.content(made.id)).text(), 'col\n1\n');
  const { uploadedFiles, files } = await client.beta.agents.environments.files.prepare({ '/workspace/b.txt': await toFile(Buffer.from('b'), 'b.txt') });
  assert.deepEqual(files, [{ type: 'file_id', file_id: uploadedFiles[0].id, path: '/workspace/b.txt' }]);
  assert.deepEqual((await all(client.files.list({ limit: 1, order: 'asc' }))).map((x) => x.id), [made.id, uploadedFiles[0].id]);
  assert.equal((await client.files.waitForProcessing(made.id)).status, 'processed');
  assert.equal((await client.files.delete(made.id)).deleted, true);
  await assert.rejects(client.files.content(made.id), OpenAI.NotFoundError);
});

test('skills: create, versions, content, delete', async (t) => {
  const { client } = await start(t);
  const file = (name, text) => toFile(Buffer.from(text), name);
  const md = (description) => `---\nname: greet\ndescription: ${description}\n---\nSay hello.\n`;
  const made = await client.skills.create({ files: [await file('greet/SKILL.md', md('Greets.')), await file('greet/hello.py', 'print(1)')] });
  assert.deepEqual([made.name, made.description, made.default_version], ['greet', 'Greets.', '1']);
  const archive = Buffer.from(await (await client.skills.content.retrieve(made.id)).arrayBuffer());
  const second = await client.skills.versions.create(made.id, { files: await toFile(archive, 'greet.zip'), default: true });
  assert.equal(second.version, '2');
  assert.equal((await client.skills.retrieve(made.id)).default_version, '2');
  assert.equal((await client.skills.update(made.id, { default_version: '1' })).default_version, '1');
  assert.deepEqual((await all(client.skills.versions.list(made.id, { limit: 1 }))).map((v) => v.version), ['2', '1']);
  assert.equal((await client.skills.versions.retrieve('2', { skill_id: made.id })).description, 'Greets.');
  assert.equal((await client.skills.versions.content.retrieve('2', { skill_id: made.id })).headers.get('content-type'), 'application/zip');
  assert.equal((await client.skills.versions.delete('2', { skill_id: made.id })).object, 'skill.version.deleted');
  await assert.rejects(client.skills.versions.delete('1', { skill_id: made.id }), OpenAI.ConflictError);
  assert.deepEqual((await all(client.skills.list())).map((k) => k.id), [made.id]);
  assert.equal((await client.skills.delete(made.id)).deleted, true);
});
