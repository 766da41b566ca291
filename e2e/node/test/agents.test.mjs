import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI from 'openai';
import { agentOutputFormat } from 'openai/lib/beta/agents/output-format';
import { all, none, settled, start, weather } from '../node.mjs';

test('agents: create, update, list, delete', async (t) => {
  const { client } = await start(t);
  const { agents } = client.beta;
  const made = await agents.create({ model: 'sim', name: 'Ada', instructions: 'Be brief.', tools: [weather], metadata: { team: 'a' } });
  assert.equal(made.object, 'agent');
  assert.equal(made.tools[0].defer_loading, false);
  const changed = await agents.update(made.id, { name: null });
  assert.deepEqual([changed.name, changed.instructions, changed.version], [null, 'Be brief.', 2]);
  const ids = [made.id];
  for (let i = 0; i < 4; i++) ids.push((await agents.create({ model: 'sim' })).id);
  assert.deepEqual((await all(agents.list({ limit: 2 }))).map((a) => a.id), ids.toReversed());
  assert.equal((await agents.delete(made.id)).deleted, true);
  await assert.rejects(agents.retrieve(made.id), (e) => e instanceof OpenAI.NotFoundError && e.code === 'not_found');
  await assert.rejects(
    agents.create({ model: 'sim', tools: [{ type: 'web_search' }] }),
    (e) => e instanceof OpenAI.BadRequestError && e.param === 'tools[0].type' && /web search/.test(e.message),
  );
});

test('sessions: create without and with a stream, tools while creating', async (t) => {
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const plain = await sessions.create({ environment: none, agent: { model: 'sim' }, input: 'Say hello' });
  assert.equal((await settled(client, plain.id, 'idle')).object, 'agent.session');
  assert.deepEqual((await all(sessions.items.list(plain.id, { order: 'asc' }))).map((i) => i.role), ['user', 'assistant']);

  const stream = await sessions.create({
    environment: none,
    agent: { model: 'sim', tools: [weather] },
    input: 'Call get_weather with {"city":"Paris"}',
    stream: true,
    toolHandlers: { get_weather: ({ city }) => `21 degrees in ${city}` },
  });
  const types = [];
  stream.withResultCollection();
  for await (const event of stream) types.push(event.type);
  const result = await stream.finalResult();
  assert.match(result.output_text, /21 degrees in Paris/);
  assert.equal(types[0], 'agent.session.created');
  assert.equal(types.at(-1), 'agent.session.idle');
  for (const type of ['agent.session.requires_action', 'agent.session.turn.item.added', 'agent.session.turn.output_text.delta'])
    assert.ok(types.includes(type), `no ${type}`);
});

test('sessions: the stream helper with tool handlers, items and turns by pages', async (t) => {
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const agent = await client.beta.agents.create({ model: 'sim', tools: [weather] });
  const first = await sessions.create({ environment: none, agent_id: agent.id, input: 'Say hi', stream: true });
  const { session_id: id, turn_id: turn } = await first.finalResult();
  const asked = [];
  const helper = sessions.stream(id, {
    input: 'Call get_weather with {"city":"Rome"}\nCall get_weather with {"city":"Oslo"}',
    toolHandlers: { get_weather: ({ city }) => (asked.push(city), { degrees: city.length }) },
  });
  const result = await helper.finalResult();
  assert.deepEqual(asked, ['Rome', 'Oslo']);
  assert.match(result.output_text, /"degrees":4/);
  const items = await all(sessions.items.list(id, { limit: 3, order: 'asc' }));
  assert.deepEqual(
    items.map((i) => i.type),
    ['message', 'message', 'message', 'function_call', 'function_call', 'function_call_output', 'function_call_output', 'message'],
  );
  assert.deepEqual((await all(sessions.turns.list(id, { limit: 1 }))).map((x) => x.id), [result.turn_id, turn]);
  assert.equal((await sessions.turns.retrieve(turn, { session_id: id })).status, 'completed');
  assert.equal((await all(sessions.turns.items.list(turn, { session_id: id }))).length, 2);

  const failing = sessions.stream(id, {
    input: 'Call get_weather with {"city":"Bonn"}',
    toolHandlers: { get_weather: () => { throw new Error('secret reason'); } },
  });
  assert.match((await failing.finalResult()).output_text, /Tool handler failed/);
});

test('sessions: structured output', async (t) => {
  const { client } = await start(t);
  const schema = {
    type: 'object', additionalProperties: false, required: ['city', 'degrees'],
    properties: { city: { type: 'string' }, degrees: { type: 'integer' } },
  };
  const stream = await client.beta.agents.sessions.create({
    environment: none, stream: true, input: 'Say {"city":"Paris","degrees":21}',
    agent: { model: 'sim', text: { format: agentOutputFormat(schema, JSON.parse) } },
  });
  assert.deepEqual((await stream.finalResult()).output_parsed, { city: 'Paris', degrees: 21 });
});

test('sessions: update, filter, cancel, delete', async (t) => {
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const session = await sessions.create({ environment: none, agent: { model: 'sim' }, input: 'Wait 10m\nSay never' });
  const updated = await sessions.update(session.id, { metadata: { k: 'v' }, agent: { reasoning: { effort: 'low' }, service_tier: null } });
  assert.deepEqual([updated.metadata, updated.agent.reasoning.effort, updated.agent.service_tier], [{ k: 'v' }, 'low', 'auto']);
  assert.deepEqual((await all(sessions.list({ metadata: { k: 'v' } }))).map((s) => s.id), [session.id]);
  assert.deepEqual(await all(sessions.list({ metadata: { k: 'w' } })), []);
  await settled(client, session.id, 'in_progress');
  await assert.rejects(sessions.delete(session.id), (e) => e instanceof OpenAI.ConflictError);
  await sessions.events.create(session.id, { events: [{ type: 'agent.session.input.cancel' }] });
  await settled(client, session.id, 'idle');
  assert.equal((await all(sessions.turns.list(session.id)))[0].status, 'cancelled');
  assert.equal((await sessions.delete(session.id)).deleted, true);
});

test('approvals: a person decides about a call of a tool server', async (t) => {
  const { client } = await start(t);
  const { sessions } = client.beta.agents;
  const shop = { type: 'mcp', server_label: 'shop', transport: { type: 'stdio', command: 'shop', cwd: '' }, require_approval: 'always' };
  for (const [decision, status] of [['approve', 'completed'], ['deny', 'failed']]) {
    const session = await sessions.create({ environment: none, agent: { model: 'sim', tools: [shop] }, input: 'Call refund_order with {"order":"1042","cents":1999}' });
    const [action] = (await settled(client, session.id, 'requires_action')).required_actions;
    assert.equal(action.type, 'mcp_approval_request');
    assert.equal(action.request.name, 'refund_order');
    await sessions.events.create(session.id, {
      events: [{ type: 'agent.session.input.mcp_approval_request_result', request_id: action.request_id, response: { type: 'mcp_tool_call', decision } }],
    });
    await settled(client, session.id, 'idle');
    const call = (await all(sessions.items.list(session.id))).find((i) => i.type === 'mcp_call');
    assert.equal(call.status, status);
  }
});

test('idempotency: the same key makes one session', async (t) => {
  const { client } = await start(t);
  const body = { environment: none, agent: { model: 'sim' }, input: 'Say hi' };
  const headers = { 'Idempotency-Key': 'once' };
  const [a, b] = await Promise.all([client.beta.agents.sessions.create(body, { headers }), client.beta.agents.sessions.create(body, { headers })]);
  assert.equal(a.id, b.id);
  await assert.rejects(client.beta.agents.sessions.create({ ...body, input: 'Say bye' }, { headers }), (e) => e instanceof OpenAI.ConflictError);
});
