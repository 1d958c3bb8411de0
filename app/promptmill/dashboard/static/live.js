// Keeps the parts of a page that are marked `data-live` as the server has them now: the page is
// asked for again, and only an element that differs is put in. Also: times, dialogs, copying.
const { remembered, remember, nextTheme } = window.promptmill;
const byId = (id) => document.getElementById(id);
let etag = null;
let timer = null;
let stream = null;
let lastAsked = 0;
let asking = false;

// --- times ---------------------------------------------------------------------------------------

const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "short" });
const exact = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "medium" });
const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

function tellTimes() {
  for (const time of document.querySelectorAll("time[datetime]")) {
    const at = new Date(time.dateTime);
    const seconds = (at - Date.now()) / 1000;
    const [unit, size] = units.find(([, size]) => Math.abs(seconds) >= size) ?? units.at(-1);
    const text = Math.abs(seconds) < 2 ? "just now" : relative.format(Math.trunc(seconds / size), unit);
    if (time.textContent !== text) time.textContent = text;
    if (!time.title) {
      time.title = exact.format(at);
      time.tabIndex = time.closest("a, button") ? -1 : 0;
    }
  }
}

// --- refreshing ----------------------------------------------------------------------------------

function isBusy() {
  const selected = !window.getSelection()?.isCollapsed;
  const open = document.querySelector("dialog[open]");
  return asking || document.hidden || selected || open || document.activeElement?.matches("main input, main select, main textarea");
}

function replace(fresh) {
  const old = byId(fresh.id);
  if (!old || old.dataset.html === fresh.outerHTML) return;
  const focused = old.contains(document.activeElement) ? document.activeElement : null;
  const opened = [...old.querySelectorAll("details")].map((each) => each.open);
  const ticked = new Set([...old.querySelectorAll("input:checked")].map((each) => each.value));
  const scrolled = [...old.querySelectorAll("pre, .wide")].map((each) => each.scrollTop);
  const html = fresh.outerHTML;
  const node = document.importNode(fresh, true);
  node.dataset.html = html;
  old.replaceWith(node);
  node.querySelectorAll("details").forEach((each, place) => { each.open = opened[place] ?? each.open; });
  node.querySelectorAll("input[type=checkbox]").forEach((each) => { each.checked ||= ticked.has(each.value); });
  node.querySelectorAll("pre, .wide").forEach((each, place) => { each.scrollTop = scrolled[place] ?? 0; });
  if (focused) {
    const again = focused.id ? byId(focused.id) : node.querySelector(`[href="${CSS.escape(focused.getAttribute("href") ?? "")}"]`);
    again?.focus({ preventScroll: true });
  }
}

async function refresh() {
  if (isBusy()) return;
  asking = true;
  lastAsked = Date.now();
  try {
    const headers = { Accept: "text/html", "X-Promptmill-Refresh": "1" };
    if (etag) headers["If-None-Match"] = etag;
    const answer = await fetch(location.href, { headers, cache: "no-store", signal: AbortSignal.timeout(15000) });
    here();
    if (answer.status === 304) return;
    if (answer.redirected || answer.status === 401) location.reload(); // The session is over: to the login.
    if (answer.redirected || !answer.ok) return;
    etag = answer.headers.get("ETag");
    const page = new DOMParser().parseFromString(await answer.text(), "text/html");
    document.documentElement.classList.toggle("outdated", page.documentElement.dataset.version !== document.documentElement.dataset.version);
    page.querySelectorAll("[data-live]").forEach(replace);
    document.title = page.title;
    tellTimes();
    follow();
  } catch {
    away();
  } finally {
    asking = false;
  }
}

function away() {
  const root = document.documentElement;
  if (root.classList.contains("away")) return;
  root.classList.add("away");
  byId("away").textContent = `No answer from the service since ${new Date().toLocaleTimeString("en-GB")}. This page comes back by itself.`;
}

function here() {
  document.documentElement.classList.remove("away");
}

function period() {
  if (document.documentElement.classList.contains("away")) return 2;
  return Number(byId("refresh")?.value ?? 5);
}

function tick() {
  tellTimes();
  const every = period();
  const wanted = document.querySelector("[data-live]") && !stream;
  if (every && (wanted || document.documentElement.classList.contains("away")) && Date.now() - lastAsked >= every * 1000) refresh();
}

// A batch tells of itself; each event is only the sign that there is something new to ask for.
function follow() {
  const source = document.querySelector("[data-events]")?.dataset.events;
  if (stream && (!source || document.hidden || !period())) {
    stream.close();
    stream = null;
  }
  if (!source || stream || document.hidden || !period()) return;
  stream = new EventSource(source);
  const soon = () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, Math.max(0, 1000 - (Date.now() - lastAsked)));
  };
  stream.addEventListener("progress", soon);
  stream.addEventListener("end", () => {
    stream?.close();
    stream = null;
    soon();
  });
  stream.onerror = () => {
    stream?.close();
    stream = null; // From here on the page is asked for as others are, until it can be followed.
  };
}

// --- what a person does --------------------------------------------------------------------------

function confirmFirst(form, submitter) {
  const dialog = byId("confirm");
  byId("confirm-title").textContent = form.dataset.confirm;
  byId("confirm-text").textContent = form.dataset.detail ?? "";
  byId("confirm-yes").textContent = submitter?.textContent.trim() ?? "Yes";
  dialog.returnValue = "";
  dialog.onclose = () => {
    if (dialog.returnValue !== "yes") return;
    form.dataset.confirmed = "yes";
    form.requestSubmit(submitter);
  };
  dialog.showModal();
}

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.confirm && form.dataset.confirmed !== "yes") {
    event.preventDefault();
    confirmFirst(form, event.submitter);
  } else if (form.method === "get") {
    for (const field of form.elements) if (field.name && field.value === "") field.disabled = true;
  }
});

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
    document.body.append(area); // Plain http on another machine has no clipboard.
    area.select();
    document.execCommand("copy");
    area.remove();
  }
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy]");
  if (button) {
    await copy(byId(button.dataset.copy).textContent);
    const was = button.textContent;
    button.textContent = "Copied";
    setTimeout(() => { button.textContent = was; }, 1500);
  }
  if (event.target.closest("#theme")) tellTheme(nextTheme());
  if (event.target.closest("#confirm-no")) byId("confirm").close("no");
});

function tellTheme(theme) {
  const button = byId("theme");
  if (button) button.setAttribute("aria-label", `Theme: ${theme}. Change it`);
}

document.addEventListener("change", (event) => {
  if (event.target.id === "refresh") {
    remember("refresh", event.target.value);
    follow();
  }
});

document.querySelector(".tabs [aria-current]")?.scrollIntoView({ block: "nearest", inline: "center" });
document.querySelectorAll("[data-script]").forEach((each) => { each.hidden = false; });
const menu = byId("refresh");
if (menu) menu.value = remembered("refresh", "5");
if (menu && menu.selectedIndex < 0) menu.value = "5";
tellTheme(document.documentElement.dataset.theme);
document.querySelectorAll("[data-live]").forEach((each) => { each.dataset.html = each.outerHTML; });
tellTimes();
follow();
lastAsked = Date.now();
setInterval(tick, 1000);
document.addEventListener("visibilitychange", () => {
  follow();
  if (!document.hidden && period()) refresh();
});
