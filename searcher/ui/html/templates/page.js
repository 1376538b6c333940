"use strict";

const RING = {
  x: [], y: [], mode: "markers", showlegend: false, hoverinfo: "skip", name: "chosen",
  marker: { symbol: "circle-open", size: 19, color: "#1c2733", line: { width: 2.5 } },
};
const PRINTED = 660;
const NARROW = matchMedia("(max-width: 760px)");
const WANTS_DARK = matchMedia("(prefers-color-scheme: dark)");
// Of every colour in a figure the one that it has on a dark page.
const DARK = {
  "#ffffff": "#14181d", "#1c2733": "#e3e8ee", "#e4e8ed": "#2f3841", "#8a94a3": "#8a94a3",
  "#0b63ce": "#7db8ff", "#c2571a": "#ff9c6b", "#1a7f4b": "#63cf95", "#a13d9b": "#e28ddd",
  "#8a6a00": "#e0bd4a", "#00798c": "#4fc6d8", "#c4304f": "#ff8298", "#5b6776": "#a3afbc",
};
let chosen = null;

function draw(plot, dark = WANTS_DARK.matches, width = null) {
  const plain = JSON.parse(plot.parentElement.querySelector("script").textContent);
  const chooses = plain.data.some((trace) => trace.customdata);
  if (chooses) plain.data.push(RING);
  const coloured = (key, value) => (dark && typeof value === "string" && DARK[value]) || value;
  const spec = JSON.parse(JSON.stringify(plain), coloured);
  const touch = NARROW.matches || matchMedia("(pointer: coarse)").matches;
  const layout = { ...spec.layout, ...(width ? { width } : { autosize: true }) };
  // A drag on a phone is meant for the page.
  if (touch) layout.dragmode = false;
  Plotly.react(plot, spec.data, layout, { responsive: true, displayModeBar: false });
  if (chosen !== null) ring(plot, chosen);
  return chooses;
}

function drawAll(dark, width) {
  for (const plot of document.querySelectorAll(".plot")) draw(plot, dark, width);
}

function choose(trial) {
  chosen = trial;
  for (const row of document.querySelectorAll("tr[data-trial]")) {
    row.classList.toggle("chosen", row.dataset.trial === trial);
  }
  for (const card of document.querySelectorAll("article[data-trial]")) {
    card.hidden = card.dataset.trial !== trial;
  }
  for (const hint of document.querySelectorAll(".chooser .hint")) hint.hidden = true;
  for (const plot of document.querySelectorAll(".plot")) ring(plot, trial);
}

function chooseRow(row) {
  choose(row.dataset.trial);
  // Where the card stands above the table and not beside it, it is out of sight.
  if (NARROW.matches) document.querySelector("aside").scrollIntoView({ block: "nearest" });
}

function ring(plot, trial) {
  const last = plot.data.length - 1;
  if (plot.data[last].name !== RING.name) return;
  for (const trace of plot.data) {
    const at = (trace.customdata || []).findIndex((number) => String(number) === trial);
    if (at >= 0) {
      Plotly.restyle(plot, { x: [[trace.x[at]]], y: [[trace.y[at]]] }, [last]);
      return;
    }
  }
  Plotly.restyle(plot, { x: [[]], y: [[]] }, [last]);
}

function sort(header) {
  const body = header.closest("table").tBodies[0];
  const up = header.getAttribute("aria-sort") !== "ascending";
  for (const other of header.parentElement.children) other.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", up ? "ascending" : "descending");
  const key = (row) => row.cells[header.cellIndex].dataset.value;
  // What is missing goes last in either direction.
  const compare = (a, b) => {
    const [x, y] = [key(a), key(b)];
    if (x === "" || y === "") return (x === "") - (y === "");
    const numbers = !isNaN(x) && !isNaN(y);
    return (up ? 1 : -1) * (numbers ? x - y : x.localeCompare(y));
  };
  body.append(...[...body.rows].sort(compare));
}

// --- two recipes side by side ---

// The parts of two recipes in pairs: the longest run of parts that both have in the same order.
function paired(a, b) {
  const common = (i, j) => (i < a.length && j < b.length ? best[i][j] : 0);
  const best = a.map(() => new Array(b.length).fill(0));
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      const same = a[i][0] === b[j][0] ? 1 + common(i + 1, j + 1) : 0;
      best[i][j] = Math.max(same, common(i + 1, j), common(i, j + 1));
    }
  }
  const pairs = [];
  let [i, j] = [0, 0];
  while (i < a.length || j < b.length) {
    const same = i < a.length && j < b.length && a[i][0] === b[j][0];
    if (same && best[i][j] === 1 + common(i + 1, j + 1)) pairs.push([a[i++], b[j++]]);
    else if (j >= b.length || (i < a.length && common(i + 1, j) >= common(i, j + 1))) pairs.push([a[i++], null]);
    else pairs.push([null, b[j++]]);
  }
  return pairs;
}

function line(table, cells, kind, mark) {
  const row = table.insertRow();
  if (kind) row.className = kind;
  const head = document.createElement("th");
  head.scope = kind === "stage" ? "rowgroup" : "row";
  // A name goes on in a second line after a colon or an underscore.
  const named = cells[0].split(/(?<=[:_])/).flatMap((part) => [part, document.createElement("wbr")]);
  head.append(...named);
  row.append(head);
  for (const text of cells.slice(1)) row.insertCell().textContent = text;
  if (kind === "stage") head.colSpan = 4;
  if (mark) row.cells[3].className = mark;
}

function change(metric, a, b) {
  if (a === b) return ["unchanged", ""];
  const points = `${b > a ? "+" : "−"}${Math.abs(100 * (b - a)).toFixed(2)} points`;
  const factor = `${Math.abs(a) > Math.abs(b) ? "÷" : "×"}\u00a0${Math.max(a / b, b / a).toFixed(2)}`;
  const stated = metric.share ? points : a * b > 0 ? factor : "";
  if (!metric.goal) return [stated, ""];
  const better = (b > a) === (metric.goal === "maximize");
  return [[stated, better ? "+\u00a0better" : "−\u00a0worse"].filter(Boolean).join(", "), better ? "good" : "bad"];
}

function recipeLines(table, a, b, all) {
  let differ = 0;
  for (const [one, other] of paired(a, b)) {
    const [x, y] = [one?.[1] ?? {}, other?.[1] ?? {}];
    const keys = [...new Set([...Object.keys(x), ...Object.keys(y)])];
    const found = keys.filter((key) => x[key] !== y[key]);
    const lacks = one && other ? "" : one ? ": A alone" : ": B alone";
    if (!all && !found.length && !lacks) continue;
    line(table, [(one ?? other)[0] + lacks], "stage");
    for (const key of all ? keys : found) {
      const same = x[key] === y[key];
      line(table, [key, x[key] ?? "–", y[key] ?? "–", same ? "" : "≠\u00a0differs"], same ? "" : "differs");
    }
    differ += found.length || (lacks ? 1 : 0);
  }
  return differ;
}

function compare(place) {
  const { metrics, trials } = place.content;
  const [a, b] = [...place.querySelectorAll("select")].map((choice) => choice.value);
  const all = !place.querySelector("input").checked;
  const table = place.querySelector("table");
  const heads = table.tHead.rows[0].cells;
  [heads[1].textContent, heads[2].textContent] = [`A: trial ${a}`, `B: trial ${b}`];
  const body = table.tBodies[0];
  body.replaceChildren();
  line(body, ["figures"], "stage");
  for (const [key, metric] of Object.entries(metrics)) {
    const [x, y] = [trials[a].figures[key], trials[b].figures[key]];
    const [stated, mark] = x && y ? change(metric, x[0], y[0]) : ["", ""];
    const differs = x?.[0] !== y?.[0];
    if (all || differs) line(body, [key, x?.[1] ?? "–", y?.[1] ?? "–", stated], differs ? "differs" : "", mark);
  }
  const differ = recipeLines(body, trials[a].parts, trials[b].parts, all);
  place.querySelector("[role=status]").textContent = differ
    ? `The recipes differ in ${differ} ${differ === 1 ? "setting" : "settings"}.`
    : "The recipes are the same.";
}

for (const plot of document.querySelectorAll(".plot")) {
  if (!draw(plot)) continue;
  plot.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.customdata !== undefined);
    if (point) choose(String(point.customdata));
  });
}
for (const header of document.querySelectorAll(".sortable th")) {
  header.querySelector("button").addEventListener("click", () => sort(header));
}
for (const row of document.querySelectorAll("tr[data-trial]")) {
  row.addEventListener("click", () => chooseRow(row));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter") chooseRow(row);
  });
}
for (const place of document.querySelectorAll(".comparison")) {
  place.content = JSON.parse(place.querySelector("script").textContent);
  place.addEventListener("change", () => compare(place));
  compare(place);
}
for (const button of document.querySelectorAll("[data-compare]")) {
  button.addEventListener("click", () => {
    const place = document.querySelector(".comparison");
    const [first, second] = place.querySelectorAll("select");
    first.value = button.dataset.compare;
    compare(place);
    place.scrollIntoView();
    second.focus({ preventScroll: true });
  });
}
WANTS_DARK.addEventListener("change", () => drawAll());
// Paper is white.
addEventListener("beforeprint", () => drawAll(false, PRINTED));
addEventListener("afterprint", () => drawAll());
