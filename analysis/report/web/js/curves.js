// Learning curves of a point.
import { draw, make } from "./elements.js";
import { round, tint } from "./marks.js";
import { studies } from "./points.js";
import { digits } from "./texts.js";

function chart(lines, study, label, cut) {
  const [regularize, finetune] = studies[study].budget;
  const values = lines.flatMap((line) => line.values.filter((value) => value !== null));
  if (!values.length) return null;
  const epochs = Math.max(2, regularize + finetune, ...lines.map((line) => line.values.length));
  const [width, height, left, top, bottom] = [320, 132, 36, 16, 114];
  let [low, high] = [Math.min(...values), Math.max(...values)];
  if (high - low < 0.01) [low, high] = [low - 0.005, high + 0.005];
  const x = (epoch) => left + (width - left - 6) * (epoch - 1) / (epochs - 1);
  const y = (value) => bottom - (bottom - top - 4) * (value - low) / (high - low);
  const svg = draw("svg", { class: "chart", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${label}, by epoch, from ${digits(lines[0].values[0])} to ${digits(lines[0].values.slice(-1)[0])}` });
  if (finetune > 0) {
    const border = (x(regularize) + x(regularize + 1)) / 2;
    svg.append(draw("rect", { class: "region", x: border, y: top, width: width - 6 - border, height: bottom - top }),
      draw("text", { x: left, y: 11 }, "regularize"), draw("text", { x: width - 6, y: 11, "text-anchor": "end" }, "finetune"));
  }
  svg.append(draw("path", { class: "axis", d: `M${left},${top}V${bottom}H${width - 6}` }));
  for (const value of [low, high]) svg.append(draw("text", { x: left - 4, y: y(value) + 4, "text-anchor": "end" }, value.toFixed(high - low < 0.1 ? 3 : 2)));
  for (const epoch of [1, regularize, epochs].filter((value, i, all) => all.indexOf(value) === i)) {
    svg.append(draw("text", { x: x(epoch), y: height - 4, "text-anchor": "middle" }, String(epoch)));
  }
  for (const line of lines) {
    const parts = line.values.map((value, i) => value === null ? "" : `${i && line.values[i - 1] !== null ? "L" : "M"}${round(x(i + 1))},${round(y(value))}`);
    svg.append(draw("path", { class: line.class, d: parts.join("") }));
  }
  if (cut) {
    const at = x(lines[0].values.length);
    const right = at < width * 0.55;
    svg.append(draw("path", { class: "cut", d: `M${at},${top}V${bottom}` }),
      draw("text", { x: at + (right ? 4 : -4), y: top + 12, "text-anchor": right ? "start" : "end" }, "stopped here"));
  }
  return svg;
}

export function charts(point, runs) {
  const curve = `curve stroke ${tint(point.family)}`;
  const cut = point.state === "PRUNED";
  const lines = (name, css) => runs.filter((run) => run[name]).map((run) => ({ values: run[name], class: css }));
  const quantized = lines("val_accuracy", curve);
  if (!quantized.length) return [make("p", {}, "Its learning curve is not on this page; epochs.parquet has it.")];
  const float = lines("float_val_accuracy", "float");
  return [
    make("h4", {}, "Validation accuracy by epoch: quantized (solid), float (dotted)"),
    chart([...quantized, ...float], point.study, "Validation accuracy", cut),
    make("h4", {}, "Training loss by epoch"),
    chart(lines("train_loss", curve), point.study, "Training loss", cut),
  ];
}
