// The form for a new batch. A file is read by pieces, shown, and sent as lines of JSON to the API,
// which alone decides what is right; each wrong line comes back with its number and its text.
import { byId, newKey, problemOf, tell, tellAway, tellProblem } from "./sending.js";

const form = byId("new-batch");
const SHOWN = 3;
const HEAD_BYTES = 262144;
const COLUMNS = /\{\{\s*([^{}]+?)\s*\}\}/g;
let file = null;
let copied = null; // The prompts of another batch, as lines.
let columns = [];
let key = newKey();
let isSent = false;

// --- reading ---------------------------------------------------------------------------------------

const formOf = () => (file?.name.match(/\.(csv|tsv|jsonl|ndjson)$/i)?.[1] ?? "txt").toLowerCase();
const isTable = () => ["csv", "tsv"].includes(formOf()) && file;

function separatorOf(head) {
  if (formOf() === "tsv") return "\t";
  const first = head.split("\n", 1)[0];
  return [",", ";", "\t", "|"].reduce((best, each) => (first.split(each).length > first.split(best).length ? each : best));
}

// Rows of RFC 4180: quoted cells hold separators, line ends and doubled quotes.
function* cells(separator) {
  let row = [], cell = "", quoted = false, ended = false, line = 1, first = 1;
  let text = yield null;
  while (text !== null) {
    const rows = [];
    for (const sign of text) {
      if (quoted) {
        if (sign === '"') { quoted = false; ended = true; } else cell += sign;
      } else if (sign === '"' && (cell === "" || ended)) {
        if (ended) cell += '"';
        quoted = true;
      } else if (sign === separator) { row.push(cell); cell = ""; ended = false; }
      else if (sign === "\n") {
        row.push(cell.replace(/\r$/, ""));
        if (row.length > 1 || row[0] !== "") rows.push({ row, line: first });
        row = []; cell = ""; ended = false; first = line + 1;
      } else cell += sign;
      if (sign === "\n") line += 1;
    }
    text = yield rows;
  }
  row.push(cell);
  yield row.length > 1 || row[0] !== "" ? [{ row, line: first }] : [];
}

function promptOfRow(row) {
  const template = byId("template").value;
  const value = (name) => row[columns.indexOf(name)] ?? "";
  const prompt = template.trim() ? template.replace(COLUMNS, (_, name) => value(name)) : value(byId("column-prompt").value);
  const taken = Object.fromEntries(["id", "system", "model"].map((field) => [field, byId(`column-${field}`).value]).filter(([, column]) => column));
  const own = Object.fromEntries(Object.entries(taken).map(([field, column]) => [field, value(column)]).filter(([, text]) => text !== ""));
  const used = [byId("column-prompt").value, ...Object.values(taken)];
  const rest = byId("keep-columns").checked ? columns.filter((name) => name && !used.includes(name)) : [];
  if (rest.length) own.data = Object.fromEntries(rest.map((name) => [name, value(name)]));
  return Object.keys(own).length ? { ...own, prompt } : prompt;
}

async function* piecesOfFile(size) {
  const reader = file.slice(0, size).stream().pipeThrough(new TextDecoderStream()).getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) yield part.value;
}

// Prompts with the line in which each begins.
async function* prompts(size = Infinity) {
  if (isTable()) {
    const parser = cells(separatorOf(await file.slice(0, 4096).text()));
    parser.next();
    let isHead = true;
    const make = ({ row, line }) => ({ prompt: promptOfRow(row), line });
    for await (const text of piecesOfFile(Math.min(size, file.size))) {
      for (const found of parser.next(text.replace(/^\uFEFF/, "")).value) {
        if (isHead) isHead = false;
        else yield make(found);
      }
    }
    if (size >= file.size && !isHead) yield* parser.next(null).value.map(make);
  } else {
    let rest = "", line = 0;
    const jsonl = file && formOf() !== "txt";
    const source = file ? piecesOfFile(Math.min(size, file.size)) : [byId("pasted").value];
    const split = byId("paragraphs").checked && !jsonl ? /\n\s*\n+/ : /\n/;
    const made = (text) => {
      const begins = line + 1;
      line += (text.match(/\n/g)?.length ?? 0) + 1;
      return text.trim() ? [{ prompt: jsonl ? { raw: text } : text.replace(/\r$/, ""), line: begins }] : [];
    };
    for await (const text of source) {
      const parts = (rest + text).split(split);
      rest = parts.pop();
      for (const part of parts) yield* made(part);
    }
    if (!file || size >= file.size) yield* made(rest);
  }
}

const asLine = (prompt) => prompt.raw ?? JSON.stringify(prompt);

// --- showing ---------------------------------------------------------------------------------------

async function readHead() {
  byId("mapping").hidden = !isTable();
  if (!isTable()) return;
  const head = await file.slice(0, 65536).text();
  const parser = cells(separatorOf(head));
  parser.next();
  columns = (parser.next(`${head.replace(/^\uFEFF/, "")}\n`).value[0]?.row ?? []).map((name) => name.trim());
  const guess = (names) => columns.find((name) => names.includes(name.toLowerCase()));
  fill("column-prompt", columns, guess(["prompt", "text", "question", "input"]) ?? columns[0]);
  fill("column-id", ["", ...columns], guess(["id", "custom_id", "key"]) ?? "");
  fill("column-system", ["", ...columns], guess(["system"]) ?? "");
  fill("column-model", ["", ...columns], guess(["model"]) ?? "");
}

function fill(id, names, chosen) {
  byId(id).replaceChildren(...names.map((name) => new Option(name || "none", name, false, name === chosen)));
}

async function preview() {
  const shown = [];
  for await (const found of prompts(HEAD_BYTES)) {
    shown.push(found);
    if (shown.length === SHOWN) break;
  }
  byId("preview-part").hidden = shown.length === 0;
  byId("preview").replaceChildren(...shown.map(({ prompt }) => {
    const text = prompt.raw ?? (typeof prompt === "string" ? prompt : `${prompt.id ? `${prompt.id}: ` : ""}${prompt.prompt}`);
    return Object.assign(document.createElement("pre"), { textContent: text.slice(0, 2000) });
  }));
  const size = file ? `${file.name}, ${(file.size / 1e6).toFixed(1)} MB` : "pasted";
  byId("preview-says").textContent = size;
}

let waiting = null;
function previewSoon() {
  clearTimeout(waiting);
  waiting = setTimeout(preview, 150);
  key = newKey();
}

async function take(chosen) {
  file = chosen ?? null;
  copied = null;
  byId("pasted").disabled = Boolean(file);
  await readHead();
  previewSoon();
}

// --- sending ---------------------------------------------------------------------------------------

function query(extra) {
  const fields = new URLSearchParams(extra);
  for (const name of ["model", "max_concurrent", "rate_limit_delay", "priority", "system"]) {
    const value = byId(name).value.trim();
    if (value) fields.set(name, value);
  }
  if (byId("num_predict").value) fields.set("options", JSON.stringify({ num_predict: Number(byId("num_predict").value) }));
  if (byId("auto_pull").checked && !byId("pull-part").hidden) fields.set("auto_pull", "true");
  if (byId("label").value.trim()) fields.set("label", byId("label").value.trim());
  return fields;
}

async function lines() {
  if (copied) return { body: new Blob(copied), places: null, texts: null };
  const parts = [], places = [], texts = [];
  let some = [], began = performance.now();
  for await (const { prompt, line } of prompts()) {
    const text = asLine(prompt);
    some.push(text);
    places.push(line);
    if (texts.length < 200000) texts.push(text.slice(0, 160));
    if (some.length === 5000) {
      parts.push(`${some.join("\n")}\n`);
      some = [];
    }
    if (performance.now() - began > 30) {
      await new Promise((resolve) => { setTimeout(resolve); }); // A long file leaves the page usable.
      began = performance.now();
    }
  }
  parts.push(`${some.join("\n")}\n`);
  return { body: new Blob(parts), places, texts };
}

function send(address, body, onProgress) {
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest(); // `fetch` does not tell how much has been sent.
    request.open("POST", address);
    request.setRequestHeader("Content-Type", "application/x-ndjson");
    request.setRequestHeader("Idempotency-Key", key);
    request.upload.onprogress = (event) => onProgress(event.loaded / event.total);
    request.onload = () => resolve(request);
    request.onerror = reject;
    request.send(body);
  });
}

function describe(error, { places, texts }) {
  const found = error.pointer.match(/^\/prompts\/(\d+)(.*)$/);
  if (!found) return { where: error.pointer.replace(/^\/(query\/)?/, ""), detail: error.detail };
  const index = Number(found[1]);
  const detail = error.detail.replace(/^line \d+: /, "");
  return { where: places ? `Line ${places[index] ?? index + 1}` : `Prompt ${index}`, detail: `${found[2].slice(1)} ${detail}`.trim(), text: texts?.[index] };
}

// The first wrong line of what was pasted is selected, so that it can be seen and mended.
function markLine(errors, places) {
  const found = errors.map((error) => error.pointer.match(/^\/prompts\/(\d+)/)).find(Boolean);
  if (file || !places || !found || byId("paragraphs").checked) return;
  const all = byId("pasted").value.split("\n"), line = places[Number(found[1])] - 1;
  const begin = all.slice(0, line).join("\n").length + (line ? 1 : 0);
  byId("pasted").focus();
  byId("pasted").setSelectionRange(begin, begin + (all[line]?.length ?? 0));
}

function offerPull() {
  const known = [...byId("models").options].map((each) => each.value);
  const name = byId("model").value.trim();
  byId("pull-part").hidden = !known.length || !name || known.includes(name) || known.includes(`${name}:latest`);
}

const duration = (seconds) => (seconds < 60 ? `${Math.round(seconds)} s` : seconds < 3600 ? `${Math.round(seconds / 60)} min` : `${(seconds / 3600).toFixed(1)} h`);

async function go(dryRun) {
  const bar = byId("sent");
  form.querySelectorAll("button").forEach((each) => { each.disabled = true; });
  try {
    const made = await lines();
    if (made.places && !made.places.length) {
      tell("bad", "There is no prompt yet: paste some, or choose a file.");
      return;
    }
    bar.hidden = made.body.size < 1e6;
    const answer = await send(`${form.dataset.api}?${query(dryRun ? { dry_run: "true" } : {})}`, made.body, (share) => { bar.value = share * 100; });
    const document = JSON.parse(answer.responseText || "{}");
    if (answer.status >= 300) {
      tellProblem(document, (error) => describe(error, made));
      markLine(document.errors ?? [], made.places);
      key = newKey();
    } else if (dryRun) {
      const least = document.at_least_s > 1 ? ` The starts alone take ${duration(document.at_least_s)}, at one each ${document.rate_limit_delay} s.` : "";
      tell("good", `${document.prompts.toLocaleString("en")} prompts would be accepted, for ${document.models.join(", ")}.${least}`);
    } else {
      isSent = true;
      location.href = form.dataset.batch + document.id;
    }
  } catch {
    tellAway();
  } finally {
    bar.hidden = true;
    form.querySelectorAll("button").forEach((each) => { each.disabled = false; });
  }
}

// --- what a person does ----------------------------------------------------------------------------

form.addEventListener("submit", (event) => { event.preventDefault(); go(false); });
form.addEventListener("input", (event) => { offerPull(); if (event.target.id !== "file") previewSoon(); });
byId("check").addEventListener("click", () => go(true));
byId("file").addEventListener("change", (event) => take(event.target.files[0]));
byId("drop").addEventListener("dragover", (event) => { event.preventDefault(); byId("drop").classList.add("over"); });
byId("drop").addEventListener("dragleave", () => byId("drop").classList.remove("over"));
byId("drop").addEventListener("drop", (event) => {
  event.preventDefault();
  byId("drop").classList.remove("over");
  take(event.dataTransfer.files[0]);
});
byId("take-prompts")?.addEventListener("click", async () => {
  const answer = await fetch(`${form.dataset.api}/${byId("original").value}/results?format=ndjson`);
  if (!answer.ok) { tellProblem(await problemOf(answer)); return; }
  copied = (await answer.text()).split("\n").filter(Boolean).map((line) => `${JSON.stringify(JSON.parse(line).prompt)}\n`);
  byId("pasted").disabled = true;
  tell("good", `${copied.length.toLocaleString("en")} finished prompts of the other batch will be sent.`);
});
window.addEventListener("beforeunload", (event) => {
  if (!isSent && (byId("pasted").value.trim() || file)) event.preventDefault();
});
offerPull();
if (byId("pasted").value) previewSoon(); // The browser may have kept it over a reload.
