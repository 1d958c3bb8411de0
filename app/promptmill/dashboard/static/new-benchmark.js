// The form for a new benchmark: what it amounts to, and sending it to the API.
import { byId, newKey, problemOf, tellAway, tellProblem } from "./sending.js";

const form = byId("new-benchmark");
const lines = (text) => text.split("\n").map((line) => line.trim()).filter(Boolean);
const listed = (text) => text.split(",").map((part) => part.trim()).filter(Boolean);
let key = newKey();

function request() {
  const ticked = [...form.querySelectorAll("[name=models]:checked")].map((each) => each.value);
  const body = {
    models: byId("models-text") ? listed(byId("models-text").value) : ticked,
    num_runs: Number(byId("num_runs").value),
    warmup_runs: Number(byId("warmup_runs").value),
    concurrency: listed(byId("concurrency").value).map(Number),
    measure_cold_load: byId("measure_cold_load").checked,
  };
  const prompts = lines(byId("prompts").value);
  if (prompts.length) body.prompts = prompts;
  if (byId("num_predict").value) body.options = { num_predict: Number(byId("num_predict").value) };
  if (byId("label").value) body.label = byId("label").value;
  if (byId("baseline_id").value) body.baseline_id = byId("baseline_id").value;
  return body;
}

function tellAmount() {
  const { models, prompts, num_runs: runs, warmup_runs: warm, concurrency } = request();
  const each = concurrency.reduce((sum, level) => sum + level * runs, 0) + warm;
  const all = models.length * (prompts?.length ?? 1) * each;
  byId("amount").textContent = Number.isFinite(all) && all > 0 ? `About ${all.toLocaleString("en")} requests in all.` : "Choose a model.";
}

form.addEventListener("input", tellAmount);
form.addEventListener("submit", async (event) => {
  event.preventDefault();
  byId("submit").disabled = true;
  try {
    const headers = { "Content-Type": "application/json", "Idempotency-Key": key };
    const answer = await fetch(form.dataset.api, { method: "POST", headers, body: JSON.stringify(request()) });
    if (answer.ok) {
      location.href = form.dataset.benchmark + (await answer.json()).id;
      return;
    }
    key = newKey();
    tellProblem(await problemOf(answer));
  } catch {
    tellAway();
  }
  byId("submit").disabled = false;
});
tellAmount();
