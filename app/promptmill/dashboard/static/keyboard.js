// Shortcuts. None while typing or with a modifier; the list of keys can switch them off.
const { remembered, remember } = window.promptmill;
const byId = (id) => document.getElementById(id);
const goals = { o: "overview", b: "batches", h: "hosts", m: "benchmarks", s: "settings" };
let going = false;

const rows = () => [...document.querySelectorAll("tr[data-row]")];

function choose(step) {
  const all = rows();
  if (!all.length) {
    document.querySelector(step > 0 ? "a[rel=next]" : "a[rel=prev]")?.click();
    return;
  }
  const at = all.findIndex((row) => row.contains(document.activeElement));
  const row = all[Math.min(Math.max(at + step, 0), all.length - 1)];
  row.querySelector("a")?.focus();
}

const keys = {
  "?": () => byId("keys").showModal(),
  "/": () => document.querySelector("[data-filter]")?.focus(),
  g: () => { going = true; setTimeout(() => { going = false; }, 1500); },
  j: () => choose(1),
  k: () => choose(-1),
  r: () => {
    const menu = byId("refresh");
    menu.value = menu.value === "0" ? "5" : "0";
    menu.dispatchEvent(new Event("change", { bubbles: true }));
  },
  t: () => byId("theme")?.click(),
  n: () => byId("new")?.click(),
};

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest?.("input:not([type=checkbox]), select, textarea, dialog");
  if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
  if (remembered("keys", "on") === "off" && event.key !== "?") return;
  const goal = going && goals[event.key];
  going = false;
  if (goal) byId(`go-${goal}`)?.click();
  else if (Object.hasOwn(keys, event.key)) keys[event.key]();
  else return;
  event.preventDefault();
});

const choice = byId("keys-on");
if (choice) {
  choice.checked = remembered("keys", "on") === "on";
  choice.addEventListener("change", () => remember("keys", choice.checked ? "on" : "off"));
}
