"use strict";
// The figure of a report: what is drawn follows from `view`, the one state, and every text goes in as a text node.
(() => {
  const $ = (id) => document.getElementById(id);
  const studies = JSON.parse($("data").textContent).studies;
  const KNOWN = ["none", "RS", "RC", "RM", "RE"];
  const STATES = { COMPLETE: "complete", PRUNED: "stopped early", RUNNING: "running", FAIL: "failed" };
  const PHASES = { finetune: "after tuning", regularize: "before tuning" };
  const DASHES = ["", "dash-1", "dash-2", "dash-3"];
  const TICKS = [1, 1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32];

  // ---- elements

  const SVG = "http://www.w3.org/2000/svg";
  const CHILDREN = (node, children) => {
    node.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return node;
  };
  const make = (name, attributes = {}, ...children) => {
    const node = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) {
      if (key === "onclick") node.addEventListener("click", value);
      else if (value !== null) node.setAttribute(key, value);
    }
    return CHILDREN(node, children);
  };
  const draw = (name, attributes = {}, ...children) => {
    const node = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) node.setAttribute(key, value);
    return CHILDREN(node, children);
  };

  // ---- points

  const searched = (study, index) => study.search.number.map((number, i) => {
    const of = (name) => study.search[name][i];
    // What was stopped in the first phase was never tuned: its accuracy is one before tuning.
    const untuned = of("state") !== "COMPLETE" && of("val_accuracy_pre_tuning") === null;
    const [before, after] = untuned ? [of("val_accuracy"), null] : [of("val_accuracy_pre_tuning"), of("val_accuracy")];
    return {
      key: `s${index}:${number}`, kind: "search", study: index, number, of,
      family: of("family"), levels: of("num_levels"), state: of("state"), bits: of("bits_per_weight"),
      validation: { finetune: [after], regularize: [before] }, test: {},
    };
  });
  const confirmedOf = (study, index) => study.confirmed.map((result) => ({
    key: `c${index}:${result.config_hash}`, kind: "confirmed", study: index, result, state: "confirmed",
    family: result.family, levels: result.num_levels, bits: result.bits_per_weight,
    validation: result.accuracy.validation, test: result.accuracy.test,
  }));
  const points = studies.flatMap((study, index) => [...searched(study, index), ...confirmedOf(study, index)]);
  const byKey = new Map(points.map((point) => [point.key, point]));
  const quantized = points.filter((point) => point.levels !== null);
  const distinct = (name) => [...new Set(quantized.map((point) => point[name]))];
  const families = distinct("family").sort((a, b) => rank(a) - rank(b) || (a < b ? -1 : 1));
  const levels = distinct("levels").sort((a, b) => a - b);
  const kinds = ["confirmed", ...Object.keys(STATES)].filter((kind) => distinct("state").includes(kind));
  const anyConfirmed = kinds.includes("confirmed");
  const testedBefore = points.some((point) => point.test.regularize);

  function rank(family) {
    const place = KNOWN.indexOf(family);
    return place < 0 ? KNOWN.length : place;
  }
  const style = (family) => {
    const place = KNOWN.indexOf(family);
    return place >= 0 ? place : KNOWN.length + (families.filter((name) => !KNOWN.includes(name)).indexOf(family) % 2);
  };
  const tint = (family) => `family-${style(family)}`;

  const MARKERS = [
    (x, y, r) => `M${x - r},${y}a${r},${r} 0 1,0 ${2 * r},0a${r},${r} 0 1,0 ${-2 * r},0Z`,
    (x, y, r) => `M${x},${y - 1.15 * r}l${1.15 * r},${2 * r}h${-2.3 * r}Z`,
    (x, y, r) => `M${x},${y + 1.15 * r}l${1.15 * r},${-2 * r}h${-2.3 * r}Z`,
    (x, y, r) => `M${x - 0.9 * r},${y - 0.9 * r}h${1.8 * r}v${1.8 * r}h${-1.8 * r}Z`,
    (x, y, r) => `M${x},${y - 1.25 * r}l${1.25 * r},${1.25 * r}l${-1.25 * r},${1.25 * r}l${-1.25 * r},${-1.25 * r}Z`,
    (x, y, r) => `M${x - r},${y - 0.35 * r}h${0.65 * r}v${-0.65 * r}h${0.7 * r}v${0.65 * r}h${0.65 * r}v${0.7 * r}h${-0.65 * r}v${0.65 * r}h${-0.7 * r}v${-0.65 * r}h${-0.65 * r}Z`,
    (x, y, r) => `M${x - r},${y}l${0.5 * r},${-0.9 * r}h${r}l${0.5 * r},${0.9 * r}l${-0.5 * r},${0.9 * r}h${-r}Z`,
  ];
  const round = (value) => Math.round(value * 10) / 10;
  const marker = (family, x, y, r) => MARKERS[style(family)](round(x), round(y), r);

  // ---- what is shown

  const view = {
    split: anyConfirmed ? "test" : "validation", phase: "finetune", scale: "front",
    families: new Set(families), lowest: levels[0], highest: levels[levels.length - 1],
    kinds: new Set(kinds), studies: new Set(studies.map((_, index) => index)),
    chosen: null, pinned: false,
  };
  const accuracy = (point) => {
    const found = point[view.split][view.phase];
    return found && found[0] !== null ? found : null;
  };
  const filtered = () => quantized.filter((point) =>
    view.studies.has(point.study) && view.families.has(point.family) &&
    point.levels >= view.lowest && point.levels <= view.highest && view.kinds.has(point.state) && accuracy(point));
  // The line of the figure: of confirmed results on the test split, of full-budget trials of the search elsewhere.
  const onLine = (point) => view.split === "test" ? point.kind === "confirmed" : point.state === "COMPLETE";
  const frontOf = (some) => {
    const ordered = [...some].sort((a, b) => a.bits - b.bits || accuracy(b)[0] - accuracy(a)[0]);
    const front = [];
    for (const point of ordered) {
      const last = front[front.length - 1];
      const value = accuracy(point)[0];
      if (!last || value > accuracy(last)[0] || (value === accuracy(last)[0] && point.bits === last.bits)) front.push(point);
    }
    return front;
  };

  let shown = [];  // points in the figure
  let main = [];  // those that ← and → step along
  let onMain = new Set();
  let place = () => [0, 0];  // of a point, in the figure's units

  // ---- the figure

  const plot = $("plot");

  function render() {
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
    shown = candidates.filter((point) => accuracy(point)[0] >= low && accuracy(point)[0] <= high);
    const aside = movedApart(shown.filter((point) => point.kind === "confirmed"), x, box.right - 6);
    const across = (point) => aside.get(point) ?? x(point.bits);
    place = (point) => [across(point), y(accuracy(point)[0])];
    const below = candidates.length - shown.length;

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
    for (const point of shown) {
      if (point.kind !== "search" || best.has(point)) continue;
      const group = `crowd fill ${tint(point.family)} ${point.state}`;
      const r = point.state === "COMPLETE" ? 4 : 2.8;
      crowd.set(group, (crowd.get(group) || "") + marker(point.family, ...place(point), r));
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
    for (const point of shown) if (point.kind === "search" && best.has(point)) {
      svg.append(draw("path", { class: `best fill ${tint(point.family)}`, "data-point": point.key, d: marker(point.family, ...place(point), 6) }));
    }
    for (const point of shown) if (point.kind === "confirmed") svg.append(confirmedMark(point, across(point), y, low, high));
    svg.append(draw("g", { id: "choice" }));
    if (!shown.length) {
      svg.append(draw("text", { class: "title", x: width / 2, y: height / 2, "text-anchor": "middle" }, "nothing to show: widen the filters"));
    }
    plot.replaceChildren(svg);

    main = [...best].filter((point) => shown.includes(point)).sort((a, b) => a.bits - b.bits || accuracy(a)[0] - accuracy(b)[0]);
    onMain = new Set(main);
    describe(candidates, below, aside.size);
    if (view.chosen && !shown.includes(view.chosen)) view.chosen = null;
    choose(view.chosen || main[Math.floor(main.length / 2)] || shown[0] || null, false);
  }

  // Where confirmed results would hide each other's bars: where to draw them instead, side by side.
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

  function baselinesShown() {
    const found = [];
    for (const index of view.studies) {
      const float = points.find((point) => point.study === index && point.kind === "confirmed" && point.levels === null);
      const value = view.split === "test" ? float && float.test.finetune && float.test.finetune[0] : studies[index].baseline;
      if (value !== null && value !== undefined) found.push([index, value]);
    }
    return found;
  }

  function extent(candidates, best, baselines) {
    const considered = view.scale === "all" ? candidates : candidates.filter((point) => best.has(point) || point.kind === "confirmed");
    const values = considered.flatMap((point) => accuracy(point).filter((value) => value !== null));
    if (view.split === "test") values.push(...considered.map((point) => point.result && point.result.searched[view.phase]).filter(Number.isFinite));
    if (!values.length) return [0, 1];
    values.push(...baselines.map(([, value]) => value));
    const [least, most] = [Math.min(...values), Math.max(...values)];
    const margin = Math.max(0.01, 0.08 * (most - least));
    return [Math.max(0, least - margin), Math.min(1.005, most + margin)];
  }

  function accuracyTicks(low, high) {
    const rough = (high - low) / 5;
    const power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((factor) => factor * power).find((candidate) => candidate >= rough);
    const ticks = [];
    for (let tick = Math.ceil(low / step - 1e-9); tick * step <= Math.min(1, high) + 1e-9; tick++) ticks.push(tick * step);
    return ticks;
  }
  const tickText = (value, range) => value.toFixed(range < 0.12 ? 3 : 2);

  function describe(candidates, below, moved) {
    const possible = quantized.filter(accuracy).length;
    const texts = [`Showing ${candidates.length.toLocaleString("en")} of ${possible.toLocaleString("en")} points.`];
    if (below) texts.push(`${below.toLocaleString("en")} lie outside of the scale.`);
    texts.push(view.split === "test"
      ? "Open markers with bars: confirmed results, means with 95% intervals over fresh seeds; the faint mark is what the search saw on the validation split."
      : "Filled markers: single trials of the search, faint where another beats them. The line is their front." +
        (anyConfirmed ? " Open markers with bars: confirmed results under fresh seeds." : ""));
    if (moved) texts.push("Where bars would hide each other they stand side by side.");
    $("shown").textContent = texts.join(" ");
  }

  // ---- choosing a point

  const title = (point) => `${point.family}, K = ${point.levels}`;
  const digits = (value) => value === null || value === undefined ? "–" : value.toFixed(4);
  const interval = (found) => found ? digits(found[0]) + (found[1] === null || found[1] === undefined ? "" : ` [${digits(found[1])}, ${digits(found[2])}]`) : "–";

  function choose(point, aloud) {
    view.chosen = point;
    const group = $("choice");
    if (group && point) {
      const [x, y] = place(point);
      const width = plot.firstChild.viewBox.baseVal.width;
      const right = x > width * 0.62;
      group.replaceChildren(draw("circle", { class: "halo", cx: x, cy: y, r: 11 }),
        draw("text", { class: "name", x: x + (right ? -16 : 16), y: y + 22, "text-anchor": right ? "end" : "start" }, title(point)));
    } else if (group) group.replaceChildren();
    for (const row of document.querySelectorAll("tr[data-point]")) row.classList.toggle("chosen", Boolean(point) && row.dataset.point === point.key);
    details(point);
    if (aloud && point) {
      const found = accuracy(point);
      $("spoken").textContent = `${studies.length > 1 ? `${studies[point.study].name}, ` : ""}${title(point)}, ` +
        `${point.kind === "confirmed" ? "confirmed" : `trial ${point.number}, ${STATES[point.state]}`}, ` +
        `${view.split} accuracy ${interval(found)}, ${point.bits.toFixed(2)} bits per weight`;
    }
  }

  function nearest(event, reach) {
    const box = plot.getBoundingClientRect();
    const scale = plot.firstChild.viewBox.baseVal.width / box.width;
    const [x, y] = [(event.clientX - box.left) * scale, (event.clientY - box.top) * scale];
    let found = null;
    let closest = reach * reach;
    for (const point of shown) {
      const [px, py] = place(point);
      const distance = (px - x) ** 2 + (py - y) ** 2 - (onMain.has(point) ? 20 : 0);
      if (distance < closest) [found, closest] = [point, distance];
    }
    return found;
  }

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
  const step = (list, by, from) => list[Math.min(list.length - 1, Math.max(0, from + by))];
  plot.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey) return;
    const byAccuracy = () => [...shown].sort((a, b) => accuracy(a)[0] - accuracy(b)[0] || b.bits - a.bits);
    const along = (by) => {
      const at = main.indexOf(view.chosen);
      if (at >= 0 || !view.chosen) return step(main, by, at);
      const next = main.filter((point) => (point.bits - view.chosen.bits) * by > 0);
      return by > 0 ? next[0] : next[next.length - 1];
    };
    const moves = {
      ArrowRight: () => along(1), ArrowLeft: () => along(-1), Home: () => main[0], End: () => main[main.length - 1],
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

  // ---- details

  const facts = (pairs) => make("dl", {}, pairs.filter(([, value]) => value !== null && value !== undefined && value !== "")
    .flatMap(([name, value]) => [make("dt", {}, name), make("dd", {}, String(value))]));

  function command(text, label) {
    const button = make("button", { type: "button", "aria-label": `Copy: ${label}` }, "Copy");
    button.addEventListener("click", async () => {
      button.textContent = (await copied(text)) ? "Copied" : "Press Ctrl+C";
      $("spoken").textContent = button.textContent;
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    return make("div", { class: "command" }, make("code", {}, text), button);
  }

  async function copied(text) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      const area = make("textarea", { class: "unseen" });
      const focused = document.activeElement;
      area.value = text;
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      focused.focus();
      return done;
    }
  }

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

  function charts(point, runs) {
    const curve = `curve stroke ${tint(point.family)}`;
    const cut = point.state === "PRUNED";
    const of = (name, css) => runs.filter((run) => run[name]).map((run) => ({ values: run[name], class: css }));
    const found = of("val_accuracy", curve);
    if (!found.length) return [make("p", {}, "Its learning curve is not on this page; epochs.parquet has it.")];
    const float = of("float_val_accuracy", "float");
    return [
      make("h4", {}, "Validation accuracy by epoch: quantized (solid), float (dotted)"),
      chart([...found, ...float], point.study, "Validation accuracy", cut),
      make("h4", {}, "Training loss by epoch"),
      chart(of("train_loss", curve), point.study, "Training loss", cut),
    ];
  }

  const named = (point, ...badges) => make("h3", {}, title(point), badges);
  const badge = (text, css = "badge") => make("span", { class: css }, text);
  const go = (key, text) => byKey.has(key) ? make("button", { type: "button", onclick: () => show(key) }, text) : null;

  function details(point) {
    const panel = $("details");
    if (!point) return panel.replaceChildren(make("p", {}, "No point is chosen."));
    const study = studies[point.study];
    panel.replaceChildren(...(point.kind === "confirmed" ? ofConfirmed(point, study) : ofTrial(point, study)).filter((node) => node !== null));
  }

  function ofTrial(point, study) {
    const { of } = point;
    const epochs = study.budget[0] + study.budget[1];
    const badges = [badge(STATES[point.state])];
    if (onMain.has(point)) badges.push(badge("on the front"));
    const before = of("val_accuracy_pre_tuning");
    const configuration = { ...study.common, family: point.family, num_levels: point.levels, lam: of("lam"), placement: of("placement"), seed: of("seed") };
    return [
      named(point, ...badges),
      make("p", { class: "big" }, digits(of("val_accuracy")), " ", make("small", {}, `validation accuracy at ${point.bits.toFixed(2)} bits per weight, as searched`)),
      facts([
        ["Study", studies.length > 1 ? study.name : null],
        ["Trial", `${point.number} (${of("trial_id")})`],
        ["λ", of("lam") === null ? "–" : of("lam").toExponential(1)], ["Placement", of("placement")], ["Seed", of("seed")],
        ["Before tuning", digits(before)], ["Float network", digits(of("float_val_accuracy"))],
        ["Index bits", of("index_bits_per_weight")], ["Entropy bits", of("entropy_bits_per_weight")],
        ["File", of("artifact_bytes") === null ? null : `${of("artifact_bytes").toLocaleString("en")} bytes`],
        ["Epochs", point.state === "PRUNED" ? `stopped early after ${of("epochs")} of ${epochs}` : `${of("epochs")} of ${epochs}`],
        ["Training", of("train_seconds") === null ? null : `${of("train_seconds")} s on ${of("device") || "?"}, ${of("hostname") || "?"}`],
      ]),
      go(`c${point.study}:${of("config_hash")}`, "Show its confirmed result"),
      ...charts(point, [study.curves[point.number] || {}]),
      make("h4", {}, "Train it again and compare"),
      command(study.commands.reproduce + point.number, "the command that reproduces this trial"),
      make("details", {}, make("summary", {}, "Full configuration"), make("pre", { class: "configuration code", tabindex: "0" }, JSON.stringify(configuration, null, 2))),
    ];
  }

  function ofConfirmed(point, study) {
    const { result } = point;
    const configuration = { ...study.common, family: point.family, num_levels: point.levels, lam: result.lam, placement: result.placement };
    const seeds = result.trials.map((trial) => make("tr", {}, make("td", {}, String(trial.seed)), make("td", {}, digits(trial.test_accuracy)), make("td", {}, digits(trial.val_accuracy))));
    const [first] = result.searched.numbers;
    return [
      named(point, badge("confirmed", "badge result")),
      make("p", { class: "big" }, interval(point.test.finetune), " ", make("small", {}, `test accuracy at ${point.bits.toFixed(2)} bits per weight, mean and 95% interval over ${result.trials.length} fresh seeds`)),
      facts([
        ["Study", studies.length > 1 ? study.name : null],
        ["λ", result.lam === null ? "–" : result.lam.toExponential(1)], ["Placement", result.placement],
        ["Test, before tuning", point.test.regularize ? interval(point.test.regularize) : null],
        ["Validation", interval(point.validation.finetune)],
        ["Validation, before tuning", interval(point.validation.regularize)],
        ["As searched", digits(result.searched.finetune)],
        ["Optimism", result.searched.finetune === null || !point.test.finetune ? null : (result.searched.finetune - point.test.finetune[0]).toFixed(4)],
      ]),
      first === undefined ? null : go(`s${point.study}:${first}`, `Show trial ${first} of the search`),
      ...charts(point, result.trials.map((trial) => trial.curves)),
      make("h4", {}, "By seed"),
      make("table", {}, make("thead", {}, make("tr", {}, ["Seed", "Test", "Validation"].map((text) => make("th", { scope: "col" }, text)))), make("tbody", {}, seeds)),
      make("h4", {}, `Train seed ${result.trials[0].seed} again and compare`),
      command(result.trials[0].command, "the command that reproduces the first seed"),
      make("details", {}, make("summary", {}, "All seeds' commands"), result.trials.map((trial) => command(trial.command, `the command that reproduces seed ${trial.seed}`))),
      make("details", {}, make("summary", {}, "Full configuration"), make("pre", { class: "configuration code", tabindex: "0" }, JSON.stringify(configuration, null, 2))),
    ];
  }

  // Shows a point wherever it is, and turns the switches that hide it.
  function show(key) {
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
    if (!shown.includes(point)) { view.scale = "all"; view.chosen = point; syncControls(); render(); }
    choose(point, true);
    $("details").focus();
  }

  // ---- controls

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

  function buildControls() {
    const add = (fieldset, text, set, value, family = null) => {
      const label = checkbox(text, set.has(value), family, toggle(set, value));
      boxes.push([label.querySelector("input"), set, value]);
      $(fieldset).append(label);
    };
    for (const family of families) add("families", family, view.families, family, family);
    for (const kind of kinds) add("kinds", STATES[kind] || kind, view.kinds, kind);
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
    $("split").hidden = !anyConfirmed;
    syncControls();
  }

  function syncControls() {
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

  // ---- tables

  function sortable(table) {
    [...table.tHead.rows[0].cells].forEach((cell, column) => {
      const button = make("button", { type: "button" }, cell.textContent);
      button.addEventListener("click", () => {
        const descending = cell.getAttribute("aria-sort") === "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const value = (row) => row.cells[column].dataset.value;
        const compare = (a, b) => {
          if (a === "" || b === "") return (a === "") - (b === "");  // what is missing comes last
          const [x, y] = [Number(a), Number(b)];
          return (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y) * (descending ? -1 : 1);
        };
        table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b))));
      });
      cell.replaceChildren(button);
    });
    for (const row of table.tBodies[0].rows) {
      if (!row.dataset.point || !byKey.has(row.dataset.point) || byKey.get(row.dataset.point).levels === null) continue;
      const [cell] = row.cells;
      cell.replaceChildren(make("button", { type: "button", "aria-label": `${cell.textContent}: show in the figure`, onclick: () => show(row.dataset.point) }, cell.textContent));
    }
  }

  // ---- theme

  const root = document.documentElement;
  const remembered = (value) => {
    try { return value === undefined ? localStorage.getItem("qar-theme") : localStorage.setItem("qar-theme", value); } catch { return null; }
  };
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme || (prefersDark.matches ? "dark" : "light")) === "dark";
  const labelTheme = () => { $("theme").textContent = isDark() ? "Light" : "Dark"; $("theme").setAttribute("aria-label", `Switch to ${isDark() ? "light" : "dark"} colours`); };
  if (remembered()) root.dataset.theme = remembered();
  prefersDark.addEventListener("change", labelTheme);
  $("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    remembered(root.dataset.theme);
    labelTheme();
  });
  $("theme").hidden = false;
  labelTheme();

  document.querySelectorAll("main > section table").forEach(sortable);
  if (quantized.length) {
    $("explorer").hidden = false;
    buildControls();
    render();
    let width = plot.clientWidth;
    new ResizeObserver(() => { if (plot.clientWidth !== width) { width = plot.clientWidth; render(); } }).observe(plot);
  }
})();
