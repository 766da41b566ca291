import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import path from 'node:path';
import { test } from 'node:test';
import OpenAI from 'openai';
import { start } from '../node.mjs';
import { provider, upstream } from '../upstream.mjs';

const weather = {
  type: 'function',
  function: { name: 'get_weather', parameters: { type: 'object', properties: { city: { type: 'string' } }, required: ['city'] } },
};
const city = { type: 'object', properties: { city: { type: 'string' } }, required: ['city'], additionalProperties: false };
const call = 'Call get_weather with {"city":"Paris"}';

test('chat: whole, streamed, tools, structured output', async (t) => {
  const { client } = await start(t);
  const ask = { model: 'sim', messages: [{ role: 'developer', content: 'Be brief.' }, { role: 'user', content: 'Say hello you' }] };
  const whole = await client.chat.completions.create(ask);
  assert.equal(whole.choices[0].message.content, 'hello you');
  assert.ok(whole.usage.total_tokens > 0);

  let text = '';
  let usage;
  for await (const chunk of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
    text += chunk.choices[0]?.delta.content ?? '';
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, 'hello you');
  assert.equal(usage.total_tokens, whole.usage.total_tokens);

  const runner = client.chat.completions.runTools({
    model: 'sim', stream: true, messages: [{ role: 'user', content: call }],
    tools: [{ type: 'function', function: { ...weather.function, parse: JSON.parse, function: ({ city }) => `sun in ${city}` } }],
  });
  assert.match(await runner.finalContent(), /sun in Paris/);

  const parsed = await client.chat.completions.parse({
    model: 'sim', messages: [{ role: 'user', content: 'Where?' }],
    response_format: { type: 'json_schema', json_schema: { name: 'place', strict: true, schema: city } },
  });
  assert.equal(typeof JSON.parse(parsed.choices[0].message.content).city, 'string');
});

test('responses that are not kept: whole, streamed, tools by hand, and nothing on the disk', async (t) => {
  const node = await start(t);
  const { client } = node;
  const size = () => readdirSync(path.join(node.dir, 'stead'), { recursive: true, withFileTypes: true })
    .filter((f) => f.isFile()).reduce((n, f) => n + statSync(path.join(f.parentPath ?? f.path, f.name)).size, 0);
  const before = size();
  const whole = await client.responses.create({ model: 'sim', store: false, input: 'Say hello' });
  assert.deepEqual([whole.output_text, whole.status, whole.store], ['hello', 'completed', false]);
  const stream = client.responses.stream({ model: 'sim', store: false, input: 'Think Well.\nSay one two', reasoning: { summary: 'auto' } });
  assert.equal((await stream.finalResponse()).output_text, 'one two');

  const tools = [{ type: 'function', name: 'get_weather', strict: false, parameters: city }];
  const input = [{ role: 'user', content: call }];
  const first = await client.responses.create({ model: 'sim', store: false, tools, input, include: ['reasoning.encrypted_content'] });
  const asked = first.output.find((i) => i.type === 'function_call');
  const second = await client.responses.create({
    model: 'sim', store: false, tools, input: [...input, ...first.output, { type: 'function_call_output', call_id: asked.call_id, output: 'sun' }],
  });
  assert.match(second.output_text, /sun/);

  const { input_tokens } = await client.responses.inputTokens.count({ model: 'sim', input: 'x'.repeat(400) });
  assert.equal(input_tokens, 100);
  const compacted = await client.responses.compact({ model: 'sim', input: [{ role: 'user', content: 'My cat is Mia.' }] });
  const after = await client.responses.create({ model: 'sim', store: false, input: [...compacted.output, { role: 'user', content: 'Say yes' }] });
  assert.equal(after.output_text, 'yes');
  await assert.rejects(client.responses.retrieve(whole.id), OpenAI.NotFoundError);
  assert.equal(size(), before);
});

test('embeddings and models', async (t) => {
  const { client } = await start(t);
  const made = await client.embeddings.create({ model: 'sim', input: ['a red cat', 'a red cat', 'quantum'], dimensions: 64 });
  const [a, b, c] = made.data.map((d) => d.embedding);
  const dot = (x, y) => x.reduce((n, v, i) => n + v * y[i], 0);
  assert.equal(a.length, 64);
  assert.ok(dot(a, b) > 0.99 && dot(a, c) < 0.9);
  const ids = [];
  for await (const m of client.models.list()) ids.push(m.id);
  assert.ok(ids.includes('sim'));
});

test('errors have the classes that the SDK knows', async (t) => {
  const { client } = await start(t);
  const once = client.withOptions({ maxRetries: 0 });
  const fail = (code) => once.chat.completions.create({ model: 'sim', messages: [{ role: 'user', content: `Fail with ${code}` }] });
  await assert.rejects(fail('rate_limit_exceeded'), OpenAI.RateLimitError);
  await assert.rejects(fail('context_length_exceeded'), (e) => e instanceof OpenAI.BadRequestError && e.code === 'context_length_exceeded');
  await assert.rejects(fail('authentication_error'), (e) => e.status === 502);
  await assert.rejects(once.chat.completions.create({ model: 'nope', messages: [] }), OpenAI.NotFoundError);
  await assert.rejects(once.chat.completions.create({ model: 'sim', n: 2, messages: [{ role: 'user', content: 'x' }] }), (e) => e.param === 'n');
  await assert.rejects(async () => {
    for await (const _ of await once.chat.completions.create({ model: 'sim', stream: true, messages: [{ role: 'user', content: 'Say a\nFail with server_error' }] }));
  }, OpenAI.APIError);
});

test('an upstream of the dialect gets every field, and its answer is the client\'s', async (t) => {
  const chunk = (choices, more) => ({ id: 'x', object: 'chat.completion.chunk', created: 1, model: 'real', choices, ...more });
  const up = await upstream(t,
    () => [chunk([{ index: 0, delta: { role: 'assistant', content: 'a' }, logprobs: null, finish_reason: null }]), chunk([{ index: 1, delta: { content: 'b' }, logprobs: null, finish_reason: 'stop' }], { odd: true }), '[DONE]'],
    () => ({ status: 401, body: { error: { message: 'Incorrect API key provided: key-of-the-upstream', code: 'invalid_api_key' } } }),
    () => ({ status: 429, headers: { 'retry-after': '7' }, body: { error: { message: 'slow', code: 'rate_limit_exceeded' } } }));
  const { client } = await start(t, provider('chat', up.base));
  const once = client.withOptions({ maxRetries: 0 });
  const ask = { model: 'm', n: 2, logprobs: true, stream: true, messages: [{ role: 'user', content: 'x' }], odd_field: { deep: [1] } };
  const seen = [];
  for await (const c of await once.chat.completions.create(ask)) seen.push([c.choices[0].index, c.odd]);
  assert.deepEqual(seen, [[0, undefined], [1, true]]);
  assert.deepEqual(up.asked[0], { path: '/v1/chat/completions', body: { ...ask, model: 'real', stream_options: { include_usage: true } }, auth: 'Bearer key-of-the-upstream' });
  await assert.rejects(once.chat.completions.create(ask), (e) => e.status === 502 && !e.message.includes('key-of-the-upstream'));
  await assert.rejects(once.chat.completions.create(ask), (e) => e.status === 429 && e.headers.get('retry-after') === '7');
});
