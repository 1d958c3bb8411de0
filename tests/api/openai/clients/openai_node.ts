// OpenAI's library for Node: files, batches, models, chats and embeddings.
import assert from "node:assert/strict";
import fs from "node:fs";
import OpenAI, { toFile } from "openai";

const client = new OpenAI();
const said: OpenAI.Chat.ChatCompletionMessageParam[] = [{ role: "user", content: "Say one two three." }];
const url = "/v1/chat/completions";

function request(custom_id: string, more: object = {}): string {
  const body = { model: "tiny", messages: said, ...more };
  return JSON.stringify({ custom_id, method: "POST", url, body }) + "\n";
}

async function untilEnded(batch: OpenAI.Batch): Promise<OpenAI.Batch> {
  const deadline = Date.now() + 60_000;
  while (!["completed", "failed", "expired", "cancelled"].includes(batch.status)) {
    assert(Date.now() < deadline, batch.status);
    await new Promise((resolve) => setTimeout(resolve, 100));
    batch = await client.batches.retrieve(batch.id);
  }
  return batch;
}

async function idsIn(fileId: string | null | undefined): Promise<string[]> {
  assert(fileId);
  const text = await (await client.files.content(fileId)).text();
  return text.trimEnd().split("\n").map((line) => JSON.parse(line).custom_id);
}

const names = Array.from({ length: 50 }, (_, number) => `request-${number}`);
const wrong = ["wrong-1", "wrong-2", "wrong-3"];
const path = `${process.argv[2]}/requests.jsonl`;
fs.writeFileSync(path, [...names.map((name) => request(name)), ...wrong.map((name) => request(name, { n: 2 }))].join(""));

const uploaded = await client.files.create({ file: fs.createReadStream(path), purpose: "batch" });
assert.equal((await client.files.waitForProcessing(uploaded.id, { pollInterval: 60_000 })).status, "processed");
const batch = await untilEnded(
  await client.batches.create({ input_file_id: uploaded.id, endpoint: url, completion_window: "24h" }),
);
assert.deepEqual(batch.request_counts, { total: 53, completed: 50, failed: 3 });
assert.deepEqual(await idsIn(batch.output_file_id), names);
assert.deepEqual(await idsIn(batch.error_file_id), wrong);

const slow = names.map((name) => request(name, { model: "slow" })).join("");
const inMemory = await client.files.create({ file: await toFile(Buffer.from(slow)), purpose: "batch" });
assert.equal(inMemory.filename, "unknown_file");
const second = await client.batches.create({ input_file_id: inMemory.id, endpoint: url, completion_window: "24h" });
assert.equal((await client.batches.cancel(second.id)).status, "cancelling");
assert.equal((await untilEnded(second)).status, "cancelled");
await assert.rejects(client.batches.cancel(batch.id), OpenAI.ConflictError);

const listed: string[] = [];
for await (const one of client.batches.list({ limit: 1 })) listed.push(one.id);
assert.deepEqual(listed.slice(0, 2), [second.id, batch.id]);
assert((await client.files.delete(inMemory.id)).deleted);
for await (const file of client.files.list({ limit: 1 })) assert.notEqual(file.id, inMemory.id);

const models: string[] = [];
for await (const model of client.models.list()) models.push(model.id);
assert(models.includes("tiny:latest"));
const answer = await client.chat.completions.create({ model: "tiny", messages: said });
assert(answer.choices[0]?.message.content);
let heard = "";
for await (const chunk of await client.chat.completions.create({ model: "tiny", messages: said, stream: true })) {
  heard += chunk.choices[0]?.delta.content ?? "";
}
assert(heard);
const found = await client.embeddings.create({ model: "nomic-embed-text", input: ["a", "b"] });
assert.deepEqual(found.data.map((one) => one.embedding.length), [16, 16]);
