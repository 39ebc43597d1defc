// Leads from a table, and from the details of a point, to another point: their buttons name it in `data-reveal`.
import { choose } from "./choice.js";
import { syncControls } from "./controls.js";
import { $ } from "./elements.js";
import { render } from "./figure.js";
import { byKey } from "./points.js";
import { accuracy, figure, view } from "./view.js";

export function followLinks() {
  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-reveal]");
    if (button) reveal(button.dataset.reveal);
  });
}

// Shows a point wherever it is, and turns the switches that hide it.
function reveal(key) {
  const point = byKey.get(key);
  view.split = point.kind === "confirmed" && point.test.finetune ? "test" : "validation";
  if (!accuracy(point)) view.phase = "finetune";
  view.families.add(point.family);
  view.kinds.add(point.state);
  view.studies.add(point.study);
  [view.lowest, view.highest] = [Math.min(view.lowest, point.levels), Math.max(view.highest, point.levels)];
  view.pinned = true;
  view.chosen = point;
  syncControls();
  render();
  if (!figure.points.includes(point)) { view.scale = "all"; view.chosen = point; syncControls(); render(); }
  choose(point, true);
  $("details").focus();
}
