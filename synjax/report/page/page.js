"use strict";
// Tables sort by a click on a header, figures show the nearest value, long tables have filters and lines.
const all = (selector, of = document) => [...of.querySelectorAll(selector)];
const number = (text) => {
  const found = text.replace(/−/g, "-").match(/^[^\d\w+-]*([-+]?\d[\d,]*(?:\.\d+)?(?:e[-+]?\d+)?)(?![\w.:]*[a-z_])/i);
  return found ? parseFloat(found[1].replace(/,/g, "")) : NaN;
};

function sortable(table) {
  const body = table.tBodies[0], heads = all("th", table);
  for (const cell of all("td", table)) if (!isNaN(number(cell.textContent))) cell.classList.add("number");
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
    const key = (row) => row.cells[column].textContent.trim();
    const rows = [...body.rows];
    const compare = (a, b) => {
      const [x, y] = [key(a), key(b)], [n, m] = [number(x), number(y)];
      if (!isNaN(n) && !isNaN(m)) return sign * (n - m);
      if (isNaN(n) !== isNaN(m)) return isNaN(n) ? 1 : -1; // what is not known comes last
      return sign * x.localeCompare(y);
    };
    body.append(...rows.sort(compare));
  }));
}

function hoverable(svg, tip) {
  const points = JSON.parse(svg.dataset.points);
  const box = svg.viewBox.baseVal;
  const hide = () => { tip.hidden = true; };
  const show = (event) => {
    const place = svg.getBoundingClientRect(), scale = box.width / place.width;
    const x = (event.clientX - place.left) * scale, y = (event.clientY - place.top) * scale;
    let best = null, least = (24 * Math.max(scale, 1)) ** 2;
    for (const point of points) {
      const far = (point[0] - x) ** 2 + (point[1] - y) ** 2;
      if (far < least) [best, least] = [point, far];
    }
    if (!best) return hide();
    tip.textContent = best[2];
    tip.hidden = false;
    const left = place.left + best[0] / scale + window.scrollX + 12;
    tip.style.left = `${Math.max(4, Math.min(left, window.scrollX + innerWidth - tip.offsetWidth - 8))}px`;
    tip.style.top = `${place.top + best[1] / scale + window.scrollY + 12}px`;
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}

const SPACE = "http://www.w3.org/2000/svg";
const make = (name, attributes, text) => {
  const element = document.createElementNS(SPACE, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  if (text !== undefined) element.textContent = text;
  return element;
};

// One vertical axis a column: numbers by size, texts in their order.
function scaleOf(values) {
  const numbers = values.map(number), known = numbers.filter((n) => !isNaN(n));
  const distinct = [...new Set(values)];
  if (known.length && distinct.every((v) => !isNaN(number(v)) || ["", "-", "n/a"].includes(v))) {
    const low = Math.min(...known), high = Math.max(...known);
    const share = (text) => isNaN(number(text)) ? null : high > low ? (number(text) - low) / (high - low) : 0.5;
    return { share, ends: high > low ? [[0, low], [1, high]] : [[0.5, low]] };
  }
  const share = (text) => distinct.length > 1 ? distinct.indexOf(text) / (distinct.length - 1) : 0.5;
  const ends = distinct.length <= 12 ? distinct.map((v) => [share(v), v]) : [];
  return { share, ends };
}

const color = (share) => `hsl(${230 - 190 * share} 75% ${38 + 12 * share}%)`;

function lines(place, heads, columns, rows) {
  const width = Math.max(640, columns.length * 120, place.clientWidth), height = 320, top = 34, bottom = 290;
  const svg = make("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": "parallel coordinates" });
  const at = (i) => 140 + i * (width - 210) / Math.max(columns.length - 1, 1);
  const up = (share) => bottom - share * (bottom - top);
  const scales = columns.map((c) => scaleOf(rows.map((row) => row.cells[c].textContent.trim())));
  const last = scales.length - 1;
  rows.forEach((row) => {
    const shares = columns.map((c, i) => scales[i].share(row.cells[c].textContent.trim()));
    const points = shares.flatMap((share, i) => share === null ? [] : [[at(i), up(share)]]);
    if (points.length < 2) return;
    const path = make("path", { d: "M" + points.map((p) => p.map((n) => n.toFixed(1)).join(",")).join("L"), stroke: shares[last] === null ? "#bbb" : color(shares[last]) });
    path.append(make("title", {}, columns.map((c) => `${heads[c]}: ${row.cells[c].textContent.trim()}`).join("\n")));
    const mark = (on) => { path.classList.toggle("marked", on); row.classList.toggle("marked", on); };
    for (const element of [path, row]) {
      element.onpointerenter = () => mark(true);
      element.onpointerleave = () => mark(false);
    }
    svg.append(path);
  });
  columns.forEach((c, i) => {
    svg.append(make("line", { x1: at(i), x2: at(i), y1: top, y2: bottom, stroke: "#888" }));
    svg.append(make("text", { x: at(i), y: i % 2 ? 12 : 24, "text-anchor": "middle", "font-weight": 600 }, heads[c].slice(0, 26)));
    for (const [share, text] of scales[i].ends) {
      const shown = typeof text === "number" ? +text.toPrecision(4) : text.slice(0, 22);
      const left = i === 0;
      svg.append(make("text", { x: at(i) + (left ? -5 : 5), y: up(share) + 4, "text-anchor": left ? "end" : "start" }, shown));
    }
  });
  place.replaceChildren(svg);
}

function explore(section) {
  const table = section.querySelector("table"), rows = [...table.tBodies[0].rows];
  const heads = all("th", table).map((head) => head.textContent.trim());
  const axes = JSON.parse(section.dataset.axes), filters = JSON.parse(section.dataset.filters);
  const form = section.querySelector("form");
  const tests = [];
  const add = (name, element) => {
    const label = document.createElement("label");
    label.append(name, element);
    form.append(label);
    element.addEventListener("input", update);
  };
  filters.forEach((c) => {
    const head = heads[c];
    const values = [...new Set(rows.map((row) => row.cells[c].textContent.trim()))];
    if (values.length < 2 || values.length > 24) return;
    const select = document.createElement("select");
    const numeric = values.every((v) => !isNaN(number(v)));
    values.sort((a, b) => numeric ? number(a) - number(b) : a.localeCompare(b));
    select.append(new Option("all", ""), ...values.map((v) => new Option(v || "(none)", "=" + v)));
    add(head, select);
    tests.push((row) => !select.value || "=" + row.cells[c].textContent.trim() === select.value);
  });
  const words = document.createElement("input");
  words.type = "search";
  add("contains", words);
  tests.push((row) => row.textContent.toLowerCase().includes(words.value.toLowerCase()));
  function update() {
    const shown = rows.filter((row) => tests.every((test) => test(row)));
    rows.forEach((row) => { row.hidden = !shown.includes(row); });
    section.querySelector(".count").textContent = `${shown.length} of ${rows.length} rows`;
    const drawn = axes.filter((c) => new Set(rows.map((row) => row.cells[c].textContent)).size > 1);
    if (drawn.length > 1) lines(section.querySelector(".lines"), heads, drawn, shown);
  }
  update();
}

all("table").forEach(sortable);
all("svg[data-points]").forEach((svg) => hoverable(svg, document.getElementById("value")));
all(".explorer").forEach(explore);
