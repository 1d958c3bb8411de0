// What the two forms share: how an answer of the API is told, fault by fault.
export const byId = (id) => document.getElementById(id);

const element = (name, text, className) => Object.assign(document.createElement(name), { textContent: text, className: className ?? "" });

export function tell(kind, title, faults = [], more = "") {
  const box = element("div", "", `note ${kind}`);
  box.append(element("b", title));
  if (faults.length) {
    const list = document.createElement("ul");
    for (const fault of faults) {
      const item = document.createElement("li");
      item.append(element("b", `${fault.where} `), fault.detail);
      if (fault.text) item.append(element("pre", fault.text));
      list.append(item);
    }
    box.append(list);
  }
  if (more) box.append(element("p", more));
  byId("answer").replaceChildren(box);
  byId("answer").scrollIntoView({ block: "nearest" });
}

export async function problemOf(answer) {
  try {
    return await answer.json();
  } catch {
    return { title: "The service did not understand this, or is away", detail: `HTTP ${answer.status}`, errors: [] };
  }
}

export function tellProblem(problem, describe) {
  const errors = problem.errors ?? [];
  const faults = errors.map(describe ?? ((error) => ({ where: error.pointer.replace(/^\/(query\/)?/, ""), detail: error.detail })));
  const id = problem.request_id ? `Request ${problem.request_id}` : "";
  tell("bad", errors.length ? problem.title : problem.detail, faults, errors.length ? `${problem.detail} ${id}` : id);
}

export function tellAway() {
  tell("bad", "The service does not answer. Nothing was stored; try it again.");
}

export const newKey = () => [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
