// What is shown: the choices of the reader, and the points that they leave.
import { anyTested, families, isPlanned, kinds, levels, points, quantized, studies } from "./points.js";

export const view = {
  split: anyTested ? "test" : "validation", phase: "finetune", scale: "front",
  families: new Set(families), lowest: levels[0], highest: levels[levels.length - 1],
  kinds: new Set(kinds), studies: new Set(studies.map((_, index) => index)),
  chosen: null, pinned: false,
};
export const accuracy = (point) => {
  const values = point[view.split][view.phase];
  return values && values[0] !== null ? values : null;
};
export const filtered = () => quantized.filter((point) =>
  view.studies.has(point.study) && view.families.has(point.family) &&
  point.levels >= view.lowest && point.levels <= view.highest && view.kinds.has(point.state) && accuracy(point));
// The line of the figure joins confirmed results on the test split, and trials with the full budget elsewhere.
export const onLine = (point) => view.split === "test" || isPlanned(point) ? point.kind === "confirmed" : point.state === "COMPLETE";
export const frontOf = (some) => {
  const ordered = [...some].sort((a, b) => a.bits - b.bits || accuracy(b)[0] - accuracy(a)[0]);
  const front = [];
  for (const point of ordered) {
    const last = front[front.length - 1];
    const value = accuracy(point)[0];
    if (!last || value > accuracy(last)[0] || (value === accuracy(last)[0] && point.bits === last.bits)) front.push(point);
  }
  return front;
};

// The figure as drawn: its points, those that ← and → step along, and where a point lies in the figure's units.
export const figure = { points: [], front: [], onFront: new Set(), place: () => [0, 0] };
