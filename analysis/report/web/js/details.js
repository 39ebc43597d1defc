// Details of the chosen point.
import { command } from "./command.js";
import { charts } from "./curves.js";
import { $, make } from "./elements.js";
import { STATES, byKey, isPlanned, resultName, studies } from "./points.js";
import { digits, interval, title } from "./texts.js";
import { figure } from "./view.js";

const facts = (pairs) => make("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
  .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));

const heading = (point, ...badges) => make("h3", {}, title(point), badges);
const badge = (text, css = "badge") => make("span", { class: css }, text);
// Values of further searched fields, by dotted name, and a configuration in which they stand at their places.
const shown = (value) => typeof value === "number" ? Number(value.toPrecision(3)) : value;
const searched = (fields) => Object.entries(fields).map(([name, value]) => [name, shown(value)]);
function placed(configuration, fields) {
  const whole = structuredClone(configuration);
  for (const [name, value] of Object.entries(fields)) {
    const parts = name.split(".");
    const key = parts.pop();
    parts.reduce((section, part) => section[part] ??= {}, whole)[key] = value;
  }
  return whole;
}
const linkTo = (key, text) => byKey.has(key) ? make("button", { type: "button", "data-reveal": key }, text) : null;

export function details(point) {
  const panel = $("details");
  if (!point) return panel.replaceChildren(make("p", {}, "No point is chosen."));
  const study = studies[point.study];
  panel.replaceChildren(...(point.kind === "confirmed" ? confirmedDetails(point, study) : trialDetails(point, study)).filter((node) => node !== null));
}

function trialDetails(point, study) {
  const { field } = point;
  const epochs = study.budget[0] + study.budget[1];
  const badges = [badge(STATES[point.state])];
  if (figure.onFront.has(point)) badges.push(badge("on the front"));
  const before = field("val_accuracy_pre_tuning");
  const fields = Object.fromEntries(Object.entries(study.search.fields).map(([name, values]) => [name, values[point.place]]));
  const configuration = placed({ ...study.common, family: point.family, num_levels: point.levels, lam: field("lam"), placement: field("placement"), seed: field("seed") }, fields);
  return [
    heading(point, ...badges),
    make("p", { class: "big" }, digits(field("val_accuracy")), " ", make("small", {}, `validation accuracy at ${point.bits.toFixed(2)} bits per weight${isPlanned(point) ? "" : ", as searched"}`)),
    facts([
      ["Study", studies.length > 1 ? study.name : null],
      ["Trial", `${point.number} (${field("trial_id")})`],
      ["λ", field("lam") === null ? "–" : Number(field("lam").toPrecision(2))], ["Placement", field("placement")], ...searched(fields), ["Seed", field("seed")],
      ["Before tuning", digits(before)], ["Float network", digits(field("float_val_accuracy"))],
      ["Index bits", field("index_bits_per_weight")], ["Entropy bits", field("entropy_bits_per_weight")],
      ["File", field("artifact_bytes") === null ? null : `${field("artifact_bytes").toLocaleString("en")} bytes`],
      ["Epochs", point.state === "PRUNED" ? `stopped early after ${field("epochs")} of ${epochs}` : `${field("epochs")} of ${epochs}`],
      ["Training", field("train_seconds") === null ? null : `${field("train_seconds")} s on ${field("device") || "?"}, ${field("hostname") || "?"}`],
    ]),
    linkTo(`c${point.study}:${field("config_hash")}`, isPlanned(point) ? "Show the mean over its seeds" : "Show its confirmed result"),
    ...charts(point, [study.curves[point.number] || {}]),
    make("h4", {}, "Train it again and compare"),
    command(study.commands.reproduce + point.number, "the command that reproduces this trial"),
    make("details", {}, make("summary", {}, "Full configuration"), make("pre", { class: "configuration code", tabindex: "0" }, JSON.stringify(configuration, null, 2))),
  ];
}

function confirmedDetails(point, study) {
  const { result } = point;
  const configuration = placed({ ...study.common, family: point.family, num_levels: point.levels, lam: result.lam, placement: result.placement }, result.fields);
  const seeds = result.trials.map((trial) => make("tr", {}, make("td", {}, String(trial.seed)), make("td", {}, digits(trial.test_accuracy)), make("td", {}, digits(trial.val_accuracy))));
  const [first] = result.searched.numbers;
  const planned = isPlanned(point);
  const split = point.test.finetune ? "test" : "validation";
  return [
    heading(point, badge(resultName(point), "badge result")),
    make("p", { class: "big" }, interval(point[split].finetune), " ", make("small", {}, `${split} accuracy at ${point.bits.toFixed(2)} bits per weight, mean and 95% interval over ${result.trials.length} ${planned ? "" : "fresh "}seeds`)),
    facts([
      ["Study", studies.length > 1 ? study.name : null],
      ["λ", result.lam === null ? "–" : Number(result.lam.toPrecision(2))], ["Placement", result.placement], ...searched(result.fields),
      ["Test, before tuning", point.test.regularize ? interval(point.test.regularize) : null],
      ["Validation", interval(point.validation.finetune)],
      ["Validation, before tuning", interval(point.validation.regularize)],
      ["As searched", planned ? null : digits(result.searched.finetune)],
      ["Optimism", result.searched.finetune === null || !point.test.finetune ? null : (result.searched.finetune - point.test.finetune[0]).toFixed(4)],
    ]),
    first === undefined ? null : linkTo(`s${point.study}:${first}`, `Show trial ${first} of the search`),
    ...charts(point, result.trials.map((trial) => trial.curves)),
    make("h4", {}, "By seed"),
    make("table", {}, make("thead", {}, make("tr", {}, ["Seed", "Test", "Validation"].map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, seeds)),
    make("h4", {}, `Train seed ${result.trials[0].seed} again and compare`),
    command(result.trials[0].command, "the command that reproduces the first seed"),
    make("details", {}, make("summary", {}, "All seeds' commands"), result.trials.map((trial) => command(trial.command, `the command that reproduces seed ${trial.seed}`))),
    make("details", {}, make("summary", {}, "Full configuration"), make("pre", { class: "configuration code", tabindex: "0" }, JSON.stringify(configuration, null, 2))),
  ];
}
