import assert from 'node:assert/strict';
import { test } from 'node:test';
import OpenAI, { toFile } from 'openai';
import { all, start } from '../node.mjs';

const shop = '# Shop\n\n## Refunds\n\nMoney comes back within thirty days.\n\n## Shipping\n\nParcels travel by train.\n';

test('vector stores: upload, poll, search, and what is deleted is not found', async (t) => {
  const { client } = await start(t);
  const store = await client.vectorStores.create({ name: 'manuals', metadata: { team: 'red' }, expires_after: { anchor: 'last_active_at', days: 7 } });
  assert.equal(store.status, 'completed');
  const file = await client.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(shop), 'shop.md'));
  assert.deepEqual([file.status, file.last_error, file.chunking_strategy.static.max_chunk_size_tokens], ['completed', null, 800]);
  await client.vectorStores.files.update(file.id, { vector_store_id: store.id, attributes: { year: 2026, lang: 'en' } });

  const page = await client.vectorStores.search(store.id, { query: 'when does my money come back?', filters: { type: 'eq', key: 'lang', value: 'en' }, max_num_results: 3 });
  assert.equal(page.data[0].filename, 'shop.md');
  assert.match(page.data[0].content[0].text, /within thirty days/);
  assert.deepEqual(page.data[0].attributes, { year: 2026, lang: 'en' });
  assert.ok(page.data[0].score > 0 && page.data[0].score <= 1);
  assert.equal((await client.vectorStores.search(store.id, { query: 'money', filters: { type: 'gt', key: 'year', value: 2026 } })).data.length, 0);
  assert.deepEqual((await all(client.vectorStores.files.content(file.id, { vector_store_id: store.id }))).map((c) => c.text), [shop]);
  await assert.rejects(client.vectorStores.search(store.id, { query: 'money', rewrite_query: true }), (e) => e instanceof OpenAI.BadRequestError && e.param === 'rewrite_query');

  const batch = await client.vectorStores.fileBatches.uploadAndPoll(store.id, { files: [await toFile(Buffer.from('The train leaves at noon.'), 'trains.txt'), await toFile(Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), 'a.png')] });
  assert.deepEqual([batch.status, batch.file_counts.completed, batch.file_counts.failed], ['completed', 1, 1]);
  const failed = await all(client.vectorStores.fileBatches.listFiles(batch.id, { vector_store_id: store.id, filter: 'failed' }));
  assert.equal(failed[0].last_error.code, 'unsupported_file');

  const files = await all(client.vectorStores.files.list(store.id, { limit: 2, order: 'asc' }));
  assert.equal(files.length, 3);
  assert.deepEqual((await client.vectorStores.retrieve(store.id)).file_counts, { in_progress: 0, completed: 2, failed: 1, cancelled: 0, total: 3 });
  await client.files.delete(file.id); // takes it out of the store
  assert.equal((await client.vectorStores.search(store.id, { query: 'money' })).data.length, 0);
  const gone = await client.vectorStores.files.delete(files[1].id, { vector_store_id: store.id });
  assert.deepEqual([gone.deleted, gone.object], [true, 'vector_store.file.deleted']);
  assert.deepEqual((await all(client.vectorStores.list())).map((s) => s.id), [store.id]);
  assert.equal((await client.vectorStores.update(store.id, { name: 'books', expires_after: null })).name, 'books');
  assert.equal((await client.vectorStores.delete(store.id)).deleted, true);
  await assert.rejects(client.vectorStores.retrieve(store.id), OpenAI.NotFoundError);
});

test('vector stores: they are there after a SIGKILL', async (t) => {
  const node = await start(t);
  const { client } = node;
  const store = await client.vectorStores.create({ name: 'manuals' });
  await client.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(shop), 'shop.md'));
  const late = await client.files.create({ file: await toFile(Buffer.from('Late news about badgers. '.repeat(20000)), 'late.txt'), purpose: 'assistants' });
  await client.vectorStores.files.create(store.id, { file_id: late.id });
  await node.kill();
  await node.start();
  const again = node.client;
  assert.equal((await again.vectorStores.search(store.id, { query: 'parcels' })).data[0].filename, 'shop.md');
  assert.equal((await again.vectorStores.files.poll(store.id, late.id, { pollIntervalMs: 50 })).status, 'completed');
  assert.equal((await again.vectorStores.search(store.id, { query: 'badgers' })).data[0].filename, 'late.txt');
});

test('vector stores: a response searches them', async (t) => {
  const { client } = await start(t);
  const store = await client.vectorStores.create({ name: 'manuals' });
  const file = await client.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(shop), 'shop.md'));
  const tools = [{ type: 'file_search', vector_store_ids: [store.id], max_num_results: 1, ranking_options: { score_threshold: 0.1 } }];
  const input = 'Call file_search with {"queries":["parcels"]}';
  const stream = client.responses.stream({ model: 'sim', tools, tool_choice: { type: 'file_search' }, input, include: ['file_search_call.results'] });
  const types = [];
  for await (const event of stream) if (/file_search/.test(event.type)) types.push(event.type);
  assert.deepEqual(types, ['in_progress', 'searching', 'completed'].map((x) => `response.file_search_call.${x}`));
  const final = await stream.finalResponse();
  const search = final.output.find((i) => i.type === 'file_search_call');
  assert.deepEqual([search.status, search.queries, search.results.map((r) => [r.file_id, r.filename])], ['completed', ['parcels'], [[file.id, 'shop.md']]]);
  assert.match(search.results[0].text, /travel by train/);
  assert.equal((await client.responses.create({ model: 'sim', tools, input })).output[0].results, null);
  const again = await client.responses.retrieve(final.id, { include: ['file_search_call.results'] });
  assert.deepEqual(again.output[0].results, search.results);
  // Kept by the client instead: its items are input like any others.
  const next = await client.responses.create({ model: 'sim', input: [{ role: 'user', content: input }, ...again.output, { role: 'user', content: 'Say thanks' }] });
  assert.equal(next.output_text, 'thanks');
  await assert.rejects(client.responses.create({ model: 'sim', tools: [{ type: 'file_search', vector_store_ids: ['vs_missing'] }], input }), OpenAI.NotFoundError);
});

test('vector stores: an answer cites the files that it speaks from', async (t) => {
  const node = await start(t);
  const { client } = node;
  const store = await client.vectorStores.create({ name: 'manuals' });
  const file = await client.vectorStores.files.uploadAndPoll(store.id, await toFile(Buffer.from(shop), 'shop.md'));
  const tools = [{ type: 'file_search', vector_store_ids: [store.id] }];
  const said = 'Money comes back – within thirty days.';
  const input = 'Call file_search with {"queries":["refunds"]}\nStream slowly every 1ms\nSay Money comes back – within thirty days {cite 1}.';
  const cited = { type: 'file_citation', index: [...said].length - 1, file_id: file.id, filename: 'shop.md' };
  const seen = [];
  const stream = client.responses.stream({ model: 'sim', tools, input });
  let text = '';
  for await (const event of stream) {
    if (event.type === 'response.output_text.delta') text += event.delta;
    if (event.type === 'response.output_text.annotation.added') seen.push(event);
  }
  assert.equal(text, said);
  assert.deepEqual(seen.map((e) => [e.output_index, e.content_index, e.annotation_index]), [[1, 0, 0]]);
  const { passage, ...annotation } = seen[0].annotation;
  assert.deepEqual(annotation, cited);
  assert.ok(passage.lines);
  const final = await stream.finalResponse();
  assert.equal(final.output_text, said);
  assert.deepEqual(final.output[1].content[0].annotations, [seen[0].annotation]);
  assert.equal(final.output[1].id, seen[0].item_id);

  // Told again from any place, also after a SIGKILL, it is the same.
  await node.kill();
  await node.start();
  const again = [];
  for await (const event of await node.client.responses.retrieve(final.id, { stream: true, starting_after: seen[0].sequence_number - 1 })) again.push(event);
  assert.deepEqual(again[0], seen[0]);
  assert.deepEqual((await node.client.responses.retrieve(final.id)).output[1].content[0].annotations, [seen[0].annotation]);
  const next = await node.client.responses.create({ model: 'sim', previous_response_id: final.id, input: 'Say thanks' });
  assert.deepEqual(next.output[0].content[0].annotations, []);
});
