// Limits and ticks of the figure's axes, and the float baselines.
import { points, studies } from "./points.js";
import { accuracy, view } from "./view.js";

export const TICKS = [1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];

export function baselinesShown() {
  const baselines = [];
  for (const index of view.studies) {
    const float = points.find((point) => point.study === index && point.kind === "confirmed" && point.levels === null);
    const value = view.split === "test" ? float && float.test.finetune && float.test.finetune[0] : studies[index].baseline;
    if (value !== null && value !== undefined) baselines.push([index, value]);
  }
  return baselines;
}

export function extent(candidates, best, baselines) {
  const considered = view.scale === "all" ? candidates : candidates.filter((point) => best.has(point) || point.kind === "confirmed");
  const values = considered.flatMap((point) => accuracy(point).filter((value) => value !== null));
  if (view.split === "test") values.push(...considered.map((point) => point.result && point.result.searched[view.phase]).filter(Number.isFinite));
  if (!values.length) return [0, 1];
  values.push(...baselines.map(([, value]) => value));
  const [least, most] = [Math.min(...values), Math.max(...values)];
  const margin = Math.max(0.01, 0.08 * (most - least));
  return [Math.max(0, least - margin), Math.min(1.005, most + margin)];
}

export function accuracyTicks(low, high) {
  const rough = (high - low) / 5;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
  const ticks = [];
  for (let tick = Math.ceil(low / step - 1e-9); tick * step <= Math.min(1, high) + 1e-9; tick++) ticks.push(tick * step);
  return ticks;
}
export const tickText = (value, range) => value.toFixed(range < 0.12 ? 3 : 2);
