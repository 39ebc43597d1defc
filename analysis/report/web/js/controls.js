// The switches of the figure.
import { $, draw, make } from "./elements.js";
import { render } from "./figure.js";
import { marker, tint } from "./marks.js";
import { STATES, allPlanned, anyTested, families, kinds, levels, studies, testedBefore } from "./points.js";
import { view } from "./view.js";

function checkbox(text, checked, family, change) {
  const input = make("input", { type: "checkbox", value: text });
  input.checked = checked;
  input.addEventListener("change", () => { change(input.checked); render(); });
  const swatch = family === null ? null : draw("svg", { class: "swatch", viewBox: "0 0 16 16", "aria-hidden": "true" },
    draw("path", { class: `fill ${tint(family)}`, d: marker(family, 8, 8, 5.5) }));
  return make("label", {}, input, swatch, text);
}
const toggle = (set, value) => (on) => { if (on) set.add(value); else set.delete(value); };
const boxes = [];

export function buildControls() {
  const add = (fieldset, text, set, value, family = null) => {
    const label = checkbox(text, set.has(value), family, toggle(set, value));
    boxes.push([label.querySelector("input"), set, value]);
    $(fieldset).append(label);
  };
  for (const family of families) add("families", family, view.families, family, family);
  for (const kind of kinds) add("kinds", STATES[kind] || (allPlanned ? "mean over seeds" : kind), view.kinds, kind);
  studies.forEach((study, index) => add("studies", study.name, view.studies, index));
  $("studies").hidden = studies.length < 2;
  for (const id of ["lowest", "highest"]) {
    $(id).append(...levels.map((value) => make("option", { value }, String(value))));
    $(id).addEventListener("change", () => {
      view[id] = Number($(id).value);
      const other = id === "lowest" ? "highest" : "lowest";
      if (view.lowest > view.highest) view[other] = view[id];
      syncControls();
      render();
    });
  }
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  for (const name of ["split", "phase", "scale"]) {
    for (const input of document.querySelectorAll(`input[name=${name}]`)) {
      input.addEventListener("change", () => { view[name] = input.value; syncControls(); render(); });
    }
  }
  $("split").hidden = !anyTested;
  syncControls();
}

export function syncControls() {
  // On the test split, accuracy before tuning is there only if confirmation has measured it.
  const before = document.querySelector("input[name=phase][value=regularize]");
  before.disabled = view.split === "test" && !testedBefore;
  if (before.disabled) view.phase = "finetune";
  for (const name of ["split", "phase", "scale"]) {
    for (const input of document.querySelectorAll(`input[name=${name}]`)) input.checked = input.value === view[name];
  }
  for (const [input, set, value] of boxes) {
    input.checked = set.has(value);
    if (set === view.kinds) input.disabled = view.split === "test" && value !== "confirmed";
  }
  $("lowest").value = view.lowest;
  $("highest").value = view.highest;
}
