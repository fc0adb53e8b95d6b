"use strict";
// The pipelines: what a cell issues, under the pointer or by arrow keys. All texts come from the table below a picture.
const hover = document.getElementById("hover");

for (const figure of document.querySelectorAll("figure.pipeline")) {
  const place = JSON.parse(figure.dataset.geometry);
  const svg = figure.querySelector("svg");
  const rows = document.getElementById(figure.dataset.table).tBodies[0].rows;
  const mark = document.createElementNS(svg.namespaceURI, "rect");
  mark.setAttribute("class", "cell-mark");
  mark.setAttribute("width", place.width);
  mark.setAttribute("height", place.height);
  let column = 0, slot = 0;

  function hide() {
    hover.textContent = "";
    mark.remove();
  }

  function show() {
    const cells = rows[column].cells, cell = cells[slot + 1];
    const head = `cycle ${cells[0].textContent}, ${place.slots[slot]}`;
    const source = cell.dataset.source;
    hover.textContent = cell.textContent === "" ? `${head}: nothing` :
      `${head}: ${cell.textContent}\n${cell.dataset.stage || "no stage"}` + (source ? `\n${source}  ${line(source)}` : "");
    const band = Math.floor(column / place.columns);
    const x = place.left + (column % place.columns) * place.width;
    const y = place.top + band * place.pitch + slot * place.height;
    mark.setAttribute("x", x);
    mark.setAttribute("y", y);
    svg.append(mark);
    const box = mark.getBoundingClientRect();
    const width = hover.offsetWidth;
    const right = document.documentElement.clientWidth - width - 8;
    hover.style.left = `${Math.max(8, Math.min(box.left, right)) + window.scrollX}px`;
    hover.style.top = `${box.bottom + 6 + window.scrollY}px`;
  }

  function line(source) {
    const known = figure.parentElement.querySelector(`[data-line="${source}"]`);
    return known ? known.textContent : "";
  }

  svg.addEventListener("pointermove", event => {
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
    const across = Math.floor((at.x - place.left) / place.width);
    const band = Math.floor((at.y - place.top) / place.pitch);
    const down = Math.floor((at.y - place.top - band * place.pitch) / place.height);
    const cycle = band * place.columns + across;
    if (across < 0 || across >= place.columns || down < 0 || down >= place.slots.length || !rows[cycle]) return hide();
    [column, slot] = [cycle, down];
    show();
  });
  svg.addEventListener("pointerleave", hide);
  figure.addEventListener("focus", show);
  figure.addEventListener("blur", hide);
  figure.addEventListener("keydown", event => {
    const step = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
    if (event.key === "Escape") hide();
    if (!step) return;
    event.preventDefault();
    column = Math.max(0, Math.min(rows.length - 1, column + step[0]));
    slot = Math.max(0, Math.min(place.slots.length - 1, slot + step[1]));
    show();
  });
}

// On paper the tables of the charts are open.
let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details.figures:not([open])")];
  for (const one of opened) one.open = true;
});
addEventListener("afterprint", () => { for (const one of opened) one.open = false; });
