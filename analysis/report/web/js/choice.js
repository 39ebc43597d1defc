// The chosen point: by mouse and by keys.
import { details } from "./details.js";
import { $, draw, plot } from "./elements.js";
import { STATES, resultName, studies } from "./points.js";
import { interval, title } from "./texts.js";
import { accuracy, figure, view } from "./view.js";

export function choose(point, aloud) {
  view.chosen = point;
  const group = $("choice");
  if (group && point) {
    const [x, y] = figure.place(point);
    const width = plot.firstChild.viewBox.baseVal.width;
    const right = x > width * 0.62;
    group.replaceChildren(draw("circle", { class: "halo", cx: x, cy: y, r: 11 }),
      draw("text", { class: "name", x: x + (right ? -16 : 16), y: y + 22, "text-anchor": right ? "end" : "start" }, title(point)));
  } else if (group) group.replaceChildren();
  for (const row of document.querySelectorAll("tr[data-point]")) row.classList.toggle("chosen", Boolean(point) && row.dataset.point === point.key);
  details(point);
  if (aloud && point) {
    $("spoken").textContent = `${studies.length > 1 ? `${studies[point.study].name}, ` : ""}${title(point)}, ` +
      `${point.kind === "confirmed" ? resultName(point) : `trial ${point.number}, ${STATES[point.state]}`}, ` +
      `${view.split} accuracy ${interval(accuracy(point))}, ${point.bits.toFixed(2)} bits per weight`;
  }
}

function nearest(event, reach) {
  const box = plot.getBoundingClientRect();
  const scale = plot.firstChild.viewBox.baseVal.width / box.width;
  const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
  let best = null;
  let closest = reach * reach;
  for (const point of figure.points) {
    const [px, py] = figure.place(point);
    const distance = (px - x) ** 2 + (py - y) ** 2 - (figure.onFront.has(point) ? 20 : 0);
    if (distance < closest) [best, closest] = [point, distance];
  }
  return best;
}

export function followPointer() {
  plot.addEventListener("pointermove", (event) => {
    if (view.pinned || event.pointerType === "touch") return;
    const point = nearest(event, 24);
    if (point && point !== view.chosen) choose(point, false);
  });
  plot.addEventListener("click", (event) => {
    const point = nearest(event, 36);
    view.pinned = Boolean(point) && !(view.pinned && point === view.chosen);
    choose(point || view.chosen, true);
  });
}

const step = (list, by, from) => list[Math.min(list.length - 1, Math.max(0, from + by))];

export function followKeys() {
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const byAccuracy = () => [...figure.points].sort((a, b) => accuracy(a)[0] - accuracy(b)[0] || b.bits - a.bits);
    const along = (by) => {
      const at = figure.front.indexOf(view.chosen);
      if (at >= 0 || !view.chosen) return step(figure.front, by, at);
      const next = figure.front.filter((point) => (point.bits - view.chosen.bits) * by > 0);
      return by > 0 ? next[0] : next[next.length - 1];
    };
    const moves = {
      ArrowRight: () => along(1), ArrowLeft: () => along(-1), Home: () => figure.front[0], End: () => figure.front[figure.front.length - 1],
      ArrowUp: () => { const all = byAccuracy(); return step(all, 1, all.indexOf(view.chosen)); },
      ArrowDown: () => { const all = byAccuracy(); return step(all, -1, all.indexOf(view.chosen)); },
    };
    if (event.key === "Enter") { event.preventDefault(); $("details").focus(); }
    if (event.key === "Escape") view.pinned = false;
    if (!(event.key in moves)) return;
    event.preventDefault();
    view.pinned = true;
    choose(moves[event.key]() || view.chosen, true);
  });
  plot.addEventListener("focus", () => choose(view.chosen, true));
  $("details").addEventListener("keydown", (event) => { if (event.key === "Escape") plot.focus(); });
}
