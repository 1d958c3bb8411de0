// The chosen theme, set before the page is drawn; it is loaded without `defer` for that reason.
const themes = ["system", "light", "dark"];
const root = document.documentElement;

function remembered(name, fallback) {
  try {
    return localStorage.getItem(`promptmill.${name}`) ?? fallback;
  } catch {
    return fallback; // A browser may keep nothing.
  }
}

function remember(name, value) {
  try {
    localStorage.setItem(`promptmill.${name}`, value);
  } catch {
    // Then it holds for this page only.
  }
}

function setTheme(theme) {
  root.dataset.theme = themes.includes(theme) ? theme : "system";
}

function nextTheme() {
  setTheme(themes[(themes.indexOf(root.dataset.theme) + 1) % themes.length]);
  remember("theme", root.dataset.theme);
  return root.dataset.theme;
}

setTheme(remembered("theme", "system"));
window.promptmill = { remembered, remember, nextTheme };
