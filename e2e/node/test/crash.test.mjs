import assert from 'node:assert/strict';
import { test } from 'node:test';
import { none, start } from '../node.mjs';

/** Reads the SDK's stream until enough; returns the events. Leaving the loop closes the request. */
async function read(stream, enough) {
  const seen = [];
  for await (const event of stream) {
    seen.push(event);
    if (enough(event, seen)) return seen;
  }
  throw new Error(`the stream ended after ${seen.length} events`);
}

const idle = (event) => event.type === 'agent.session.idle';
const shape = (events) => events.filter((e) => !e.type.endsWith('.delta')).map((e) => e.event_id);

for (const how of ['Last-Event-ID', 'after']) {
  test(`a stream goes on after a SIGKILL by ${how}`, async (t) => {
    const node = await start(t);
    const session = await node.client.beta.agents.sessions.create({ environment: none, agent: { model: 'sim' }, input: 'Write 25 words every 40ms' });
    const follow = (after) => {
      const options = how === 'after' ? { query: { after } } : { headers: { 'Last-Event-ID': after } };
      return node.client.beta.agents.sessions.events.stream(session.id, options);
    };
    // The SDK shows no SSE ids, so the cursor of the last event is read beside it.
    const cursors = new Map();
    const readEvents = node.readEvents.bind(node);
    node.readEvents = (body) => {
      const [a, b] = body.tee();
      collect(a, cursors).catch(() => {});
      return readEvents(b);
    };
    const seen = await read(await follow('0'), (_, all) => all.filter((e) => e.type.endsWith('output_text.delta')).length >= 5);
    const last = cursors.get(seen.at(-1).event_id);
    assert.ok(last, 'the last event has a cursor');
    await node.kill();
    await node.start();
    seen.push(...(await read(await follow(last), idle)));
    assert.equal(new Set(seen.map((e) => e.event_id)).size, seen.length, 'an event came twice');
    const whole = await read(await follow('0'), idle);
    assert.deepEqual(shape(seen), shape(whole));
    const items = await node.client.beta.agents.sessions.items.list(session.id);
    assert.equal(items.data[0].status, 'completed');
    assert.equal(items.data[0].content[0].text.split(' ').length, 25);
  });
}

async function collect(body, cursors) {
  let rest = '';
  for await (const chunk of body.pipeThrough(new TextDecoderStream())) {
    const frames = (rest + chunk).split('\n\n');
    rest = frames.pop();
    for (const frame of frames) {
      const id = /^id: (.*)$/m.exec(frame)?.[1];
      const data = /^data: (.*)$/m.exec(frame)?.[1];
      if (id && data) cursors.set(JSON.parse(data).event_id, id);
    }
  }
}

test('a response that is streamed goes on after a SIGKILL, by starting_after', async (t) => {
  const node = await start(t);
  const ended = (event) => event.type === 'response.completed';
  const created = await node.client.responses.create({ model: 'sim', input: 'Write 25 words every 40ms', background: true, stream: true });
  const seen = await read(created, (_, all) => all.filter((e) => e.type === 'response.output_text.delta').length >= 5);
  const id = seen[0].response.id;
  await node.kill();
  await node.start();
  const follow = (after) => node.client.responses.retrieve(id, { stream: true, starting_after: after });
  seen.push(...(await read(await follow(seen.at(-1).sequence_number), ended)));
  const numbers = seen.map((e) => e.sequence_number);
  assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
  assert.equal(new Set(numbers).size, numbers.length, 'a number came twice');
  // What the crash cut off is closed as incomplete; the response's output holds the whole answer once.
  const final = await node.client.responses.retrieve(id);
  assert.equal(final.output_text.split(' ').length, 25);
  const whole = await read(await follow(undefined), ended);
  const tail = whole.filter((e) => e.sequence_number > seen[seen.length - 5].sequence_number);
  assert.deepEqual(seen.slice(-4), tail);
});
