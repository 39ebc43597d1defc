// Light and dark.
import { $ } from "./elements.js";

const root = document.documentElement;
const remembered = (value) => {
  try { return value === undefined ? localStorage.getItem("qar-theme") : localStorage.setItem("qar-theme", value); } catch { return null; }
};
const prefersDark = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
const labelTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; $("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };

export function startTheme() {
  if (remembered()) root.dataset.theme = remembered();
  prefersDark.addEventListener("change", labelTheme);
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    labelTheme();
  });
  $("theme").hidden = false;
  labelTheme();
}
