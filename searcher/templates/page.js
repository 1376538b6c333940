"use strict";

const RING = {
  x: [], y: [], mode: "markers", showlegend: false, hoverinfo: "skip", name: "chosen",
  marker: { symbol: "circle-open", size: 19, color: "#1c2733", line: { width: 2.5 } },
};
const PRINTED = 660;

function draw(plot) {
  const spec = JSON.parse(plot.parentElement.querySelector("script").textContent);
  const chooses = spec.data.some((trace) => trace.customdata);
  const touch = matchMedia("(pointer: coarse), (max-width: 760px)").matches;
  const layout = { ...spec.layout, autosize: true };
  // A drag on a phone is meant for the page.
  if (touch) layout.dragmode = false;
  const config = { responsive: true, displayModeBar: false };
  Plotly.newPlot(plot, chooses ? [...spec.data, RING] : spec.data, layout, config);
  if (!chooses) return;
  plot.on("plotly_click", (event) => {
    const point = event.points.find((p) => p.customdata !== undefined);
    if (point) choose(String(point.customdata));
  });
}

function choose(trial) {
  for (const row of document.querySelectorAll("tr[data-trial]")) {
    row.classList.toggle("chosen", row.dataset.trial === trial);
  }
  for (const card of document.querySelectorAll("article[data-trial]")) {
    card.hidden = card.dataset.trial !== trial;
  }
  for (const hint of document.querySelectorAll(".chooser .hint")) hint.hidden = true;
  for (const plot of document.querySelectorAll(".plot")) ring(plot, trial);
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

for (const plot of document.querySelectorAll(".plot")) draw(plot);
for (const header of document.querySelectorAll(".sortable th")) {
  header.querySelector("button").addEventListener("click", () => sort(header));
}
for (const row of document.querySelectorAll("tr[data-trial]")) {
  row.addEventListener("click", () => choose(row.dataset.trial));
  row.addEventListener("keydown", (event) => {
    if (event.key === "Enter") choose(row.dataset.trial);
  });
}
addEventListener("beforeprint", () => {
  for (const plot of document.querySelectorAll(".plot")) Plotly.relayout(plot, { width: PRINTED });
});
addEventListener("afterprint", () => {
  for (const plot of document.querySelectorAll(".plot")) Plotly.relayout(plot, { width: null, autosize: true });
});
