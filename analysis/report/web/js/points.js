// The points of the studies on the page, from the data that the page holds.
import { $ } from "./elements.js";

const data = JSON.parse($("data").textContent);
export const studies = data.studies;
// Order of the families in figures and tables.
export const FAMILIES = data.families;
// States of trials, as names by value, in the order of the switches.
export const STATES = data.states;

const searchedPoints = (study, index) => study.search.number.map((number, i) => {
  const field = (name) => study.search[name][i];
  // A trial that was stopped in the first phase was never tuned: its accuracy is that before tuning.
  const untuned = field("state") !== "COMPLETE" && field("val_accuracy_pre_tuning") === null;
  const [before, after] = untuned ? [field("val_accuracy"), null] : [field("val_accuracy_pre_tuning"), field("val_accuracy")];
  return {
    key: `s${index}:${number}`, kind: "search", study: index, number, place: i, field,
    family: field("family"), levels: field("num_levels"), state: field("state"), bits: field("bits_per_weight"),
    validation: { finetune: [after], regularize: [before] }, test: {},
  };
});
const confirmedPoints = (study, index) => study.confirmed.map((result) => ({
  key: `c${index}:${result.config_hash}`, kind: "confirmed", study: index, result, state: "confirmed",
  family: result.family, levels: result.num_levels, bits: result.bits_per_weight,
  validation: result.accuracy.validation, test: result.accuracy.test,
}));
export const points = studies.flatMap((study, index) => [...searchedPoints(study, index), ...confirmedPoints(study, index)]);
export const byKey = new Map(points.map((point) => [point.key, point]));
export const quantized = points.filter((point) => point.levels !== null);
const distinct = (name) => [...new Set(quantized.map((point) => point[name]))];
export const families = distinct("family").sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
export const levels = distinct("levels").sort((a, b) => a - b);
export const kinds = ["confirmed", ...Object.keys(STATES)].filter((kind) => distinct("state").includes(kind));
export const anyConfirmed = kinds.includes("confirmed");
export const anyTested = points.some((point) => point.test.finetune);
// The results of a plan are means over its own seeds; those of a search are of its confirmation.
export const allPlanned = studies.every((study) => study.planned);
export const isPlanned = (point) => studies[point.study].planned;
export const resultName = (point) => isPlanned(point) ? "mean over seeds" : "confirmed";
export const testedBefore = points.some((point) => point.test.regularize);

export function rank(family) {
  const place = FAMILIES.indexOf(family);
  return place < 0 ? FAMILIES.length : place;
}
