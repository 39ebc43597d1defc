// Starts the page.
import { followKeys, followPointer } from "./choice.js";
import { buildControls } from "./controls.js";
import { $, plot } from "./elements.js";
import { render } from "./figure.js";
import { quantized } from "./points.js";
import { followLinks } from "./reveal.js";
import { sortable } from "./tables.js";
import { startTheme } from "./theme.js";

startTheme();
document.querySelectorAll("main > section table").forEach(sortable);
if (quantized.length) {
  $("explorer").hidden = false;
  buildControls();
  followPointer();
  followKeys();
  followLinks();
  render();
  let width = plot.clientWidth;
  new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; render(); } }).observe(plot);
}
