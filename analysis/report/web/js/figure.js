// The figure of accuracy against bits: everything that is drawn follows from the view.
import { choose } from "./choice.js";
import { $, draw, plot } from "./elements.js";
import { marker, round, tint } from "./marks.js";
import { allPlanned, anyConfirmed, quantized, rank, studies } from "./points.js";
import { TICKS, accuracyTicks, baselinesShown, extent, tickText } from "./scale.js";
import { accuracy, figure, filtered, frontOf, onLine, view } from "./view.js";

const PHASES = { finetune: "after tuning", regularize: "before tuning" };
const DASHES = ["", "dash-1", "dash-2", "dash-3"];

export function render() {
  const width = Math.max(280, plot.clientWidth || 700);
  const height = Math.round(Math.min(580, Math.max(320, width * 0.7)));
  const box = { left: 46, right: width - 14, top: 34, bottom: height - 46 };
  const candidates = filtered();
  const fronts = [...view.studies].map((index) =>
    [index, frontOf(candidates.filter((point) => point.study === index && onLine(point)))]);
  const best = new Set(fronts.flatMap(([, front]) => front));
  const baselines = baselinesShown();
  const [low, high] = extent(candidates, best, baselines);
  const bits = candidates.map((point) => point.bits);
  const [least, most] = bits.length ? [Math.min(...bits) * 0.92, Math.max(...bits) * 1.08] : [1, 8];
  const x = (value) => box.left + (box.right - box.left) * Math.log(value / least) / Math.log(most / least);
  const y = (value) => box.bottom - (box.bottom - box.top) * (value - low) / (high - low);
  figure.points = candidates.filter((point) => accuracy(point)[0] >= low && accuracy(point)[0] <= high);
  const aside = movedApart(figure.points.filter((point) => point.kind === "confirmed"), x, box.right - 6);
  const across = (point) => aside.get(point) ?? x(point.bits);
  figure.place = (point) => [across(point), y(accuracy(point)[0])];
  const below = candidates.length - figure.points.length;

  const svg = draw("svg", { viewBox: `0 0 ${width} ${height}`, "aria-hidden": "true" });
  for (const value of accuracyTicks(low, high)) {
    svg.append(draw("path", { class: "grid", d: `M${box.left},${y(value)}H${box.right}` }),
      draw("text", { x: box.left - 8, y: y(value) + 4, "text-anchor": "end" }, tickText(value, high - low)));
  }
  let free = -Infinity;
  for (const value of TICKS.filter((tick) => tick >= least && tick <= most)) {
    svg.append(draw("path", { class: "tick", d: `M${x(value)},${box.bottom}v5` }));
    if (x(value) - free < 34) continue;
    free = x(value);
    svg.append(draw("text", { x: x(value), y: box.bottom + 19, "text-anchor": "middle" }, String(value)));
  }
  svg.append(draw("path", { class: "axis", d: `M${box.left},${box.top}V${box.bottom}H${box.right}` }),
    draw("text", { class: "title", x: (box.left + box.right) / 2, y: height - 8, "text-anchor": "middle" }, "bits per weight"),
    draw("text", { class: "title", x: 0, y: 14 }, `${view.split} accuracy, ${PHASES[view.phase]}`));

  baselines.forEach(([index, value], place) => {
    if (value < low || value > high) return;
    const name = studies.length > 1 ? `${studies[index].name} float ` : "float ";
    svg.append(draw("path", { class: "baseline", d: `M${box.left},${y(value)}H${box.right}` }),
      draw("text", { x: box.left + 6, y: y(value) + (place % 2 ? 14 : -5) }, name + value.toFixed(3)));
  });
  const crowd = new Map();
  for (const point of figure.points) {
    if (point.kind !== "search" || best.has(point)) continue;
    const group = `crowd fill ${tint(point.family)} ${point.state}`;
    const r = point.state === "COMPLETE" ? 4 : 2.8;
    crowd.set(group, (crowd.get(group) || "") + marker(point.family, ...figure.place(point), r));
  }
  for (const [group, d] of crowd) svg.append(draw("path", { class: group, d }));
  fronts.forEach(([index, front]) => {
    if (!front.length) return;
    const steps = front.map((point, i) => i
      ? `H${round(x(point.bits))}V${round(y(accuracy(point)[0]))}` : `M${round(x(point.bits))},${round(y(accuracy(point)[0]))}`);
    svg.append(draw("path", { class: `front ${DASHES[index % DASHES.length]}`, d: `${steps.join("")}H${box.right}` }));
    if (studies.length > 1) {
      const [last] = front.slice(-1);
      svg.append(draw("text", { class: "name", x: box.right, y: y(accuracy(last)[0]) + (index % 2 ? 17 : -6), "text-anchor": "end" }, studies[index].name));
    }
  });
  for (const point of figure.points) if (point.kind === "search" && best.has(point)) {
    svg.append(draw("path", { class: `best fill ${tint(point.family)}`, "data-point": point.key, d: marker(point.family, ...figure.place(point), 6) }));
  }
  for (const point of figure.points) if (point.kind === "confirmed") svg.append(confirmedMark(point, across(point), y, low, high));
  svg.append(draw("g", { id: "choice" }));
  if (!figure.points.length) {
    svg.append(draw("text", { class: "title", x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show: widen the filters"));
  }
  plot.replaceChildren(svg);

  figure.front = [...best].filter((point) => figure.points.includes(point)).sort((a, b) => a.bits - b.bits || accuracy(a)[0] - accuracy(b)[0]);
  figure.onFront = new Set(figure.front);
  describe(candidates, below, aside.size);
  if (view.chosen && !figure.points.includes(view.chosen)) view.chosen = null;
  choose(view.chosen || figure.front[Math.floor(figure.front.length / 2)] || figure.points[0] || null, false);
}

// Return the horizontal positions of confirmed results whose bars would hide each other, side by side.
function movedApart(confirmed, x, right) {
  const inOrder = [...confirmed].sort((a, b) => a.bits - b.bits || rank(a.family) - rank(b.family));
  const places = [];
  inOrder.forEach((point, i) => places.push(i ? Math.max(x(point.bits), places[i - 1] + 10) : x(point.bits)));
  for (let i = places.length - 1, most = right; i >= 0; i--, most = places[i + 1] - 10) places[i] = Math.min(places[i], most);
  return new Map(inOrder.map((point, i) => [point, places[i]]).filter(([point, at]) => at !== x(point.bits)));
}

function confirmedMark(point, at, y, low, high) {
  const [mean, lower, upper] = accuracy(point);
  const group = draw("g", { class: `stroke ${tint(point.family)}`, "data-point": point.key });
  const inside = (value) => y(Math.min(high, Math.max(low, value)));
  const before = view.split === "test" ? point.result.searched[view.phase] : null;
  if (before !== null && before !== undefined && before >= low && before <= high) {
    group.append(draw("path", { class: "fall stroke", d: `M${at},${y(before)}V${y(mean)}` }),
      draw("path", { class: "ghost stroke", d: marker(point.family, at, y(before), 3.5) }));
  }
  if (lower !== null) {
    group.append(draw("path", { class: "bar stroke", d: `M${at},${inside(lower)}V${inside(upper)}M${at - 4},${inside(lower)}h8M${at - 4},${inside(upper)}h8` }));
  }
  group.append(draw("path", { class: "confirmed stroke", d: marker(point.family, at, y(mean), 6) }));
  return group;
}

function describe(candidates, below, moved) {
  const possible = quantized.filter(accuracy).length;
  const texts = [`Showing ${candidates.length.toLocaleString("en")} of ${possible.toLocaleString("en")} points.`];
  if (below) texts.push(`${below.toLocaleString("en")} lie outside of the scale.`);
  if (allPlanned) texts.push("Open markers with bars: means over the seeds of a configuration, with 95% intervals. The line is their front." +
    (view.split === "test" ? "" : " Filled markers: single trials."));
  else texts.push(view.split === "test"
    ? "Open markers with bars: confirmed results, means with 95% intervals over fresh seeds; the faint mark is what the search saw on the validation split."
    : "Filled markers: single trials of the search, faint where another beats them. The line is their front." +
      (anyConfirmed ? " Open markers with bars: confirmed results under fresh seeds." : ""));
  if (moved) texts.push("Where bars would hide each other they stand side by side.");
  $("shown").textContent = texts.join(" ");
}
