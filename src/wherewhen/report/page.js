"use strict";
// Draws the page's charts in its own colours, moves the maps, and shows a patch under the pointer.
(() => {
  const { tables, charts } = JSON.parse(document.getElementById("page-data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const views = (window.reportViews = {}); // by name of the chart
  const rows = Object.fromEntries(Object.entries(tables).map(([name, table]) => [name, unpack(table.columns)]));
  const patches = tables.patches;
  const sheets = patches ? patches.sheets.map(picture) : [];
  const tip = document.getElementById("tip");

  function picture(address) {
    const image = new Image();
    image.src = address;
    return image;
  }

  // columns -> rows; words are kept as indices
  function unpack(columns) {
    const names = Object.keys(columns);
    const count = names.length ? columns[names[0]].values.length : 0;
    const read = (column, row) => (column.words ? column.words[column.values[row]] : column.values[row]);
    return Array.from({ length: count }, (_, row) =>
      Object.fromEntries(names.map((name) => [name, read(columns[name], row)]))
    );
  }

  function colours(paper) {
    return paper || !dark.matches
      ? { ink: "#1d2329", soft: "#59626c", line: "#dde2e7", paper: "#ffffff", heat: ["#f1f5f9", "#0b4f8a"] }
      : { ink: "#e8ebee", soft: "#a6b0ba", line: "#323a43", paper: "#14181d", heat: ["#1c232b", "#7cc0f5"] };
  }

  function theme({ ink, soft, line, heat }) {
    const words = { labelColor: soft, titleColor: soft, labelFontSize: 11, titleFontSize: 11, titleFontWeight: 400 };
    return {
      background: "transparent",
      font: "system-ui, sans-serif",
      view: { stroke: null },
      axis: { ...words, gridColor: line, domainColor: line, tickColor: line },
      legend: { ...words, symbolSize: 60 },
      text: { color: ink },
      axisXQuantitative: { tickCount: { expr: "max(3, ceil(width / 80))" } },
      axisYQuantitative: { tickCount: 5 },
      range: { heatmap: heat, ramp: heat },
    };
  }

  async function draw(name, paper) {
    const place = document.getElementById(`chart-${name}`);
    const { spec, aspect } = charts[name];
    const palette = colours(paper);
    const own = structuredClone(spec);
    own.description = place.getAttribute("aria-label"); // which drawing would take away
    own.datasets = { ...own.datasets, ...rows };
    for (const part of own.params || []) if (part.name in palette) part.value = palette[part.name];
    if (aspect) own.height = Math.max(200, Math.min(560, Math.round(place.clientWidth * aspect)));
    views[name]?.finalize();
    const made = await vegaEmbed(place, own, {
      actions: false, ast: true, renderer: aspect ? "canvas" : "svg", config: theme(palette), tooltip: show,
    });
    views[name] = made.view;
    place.dataset.drawn = "true";
  }

  async function drawAll(paper) {
    for (const name of Object.keys(charts)) await draw(name, paper);
    document.body.dataset.drawn = paper ? "paper" : dark.matches ? "dark" : "light";
  }

  // text only: nothing that comes from a file is ever read as HTML
  function line(name, text) {
    const row = document.createElement("div");
    const head = document.createElement("b");
    head.textContent = name;
    row.append(head, " ", text);
    return row;
  }

  function show(_, event, item, value) {
    if (value === null || value === undefined || value === "") return hide();
    const datum = item && item.datum;
    const isPatch = patches && datum && datum.i !== undefined && datum.role !== undefined;
    tip.replaceChildren(...(isPatch ? patch(datum) : Object.entries(value).map(([name, text]) => line(name, String(text)))));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    const left = Math.min(event.clientX + 14, innerWidth - box.width - 8);
    const below = event.clientY + 14 + box.height < innerHeight;
    tip.style.left = `${Math.max(8, left)}px`;
    tip.style.top = `${below ? event.clientY + 14 : Math.max(8, event.clientY - box.height - 14)}px`;
  }

  function hide() {
    tip.hidden = true;
  }

  function patch(datum) {
    const found = [line("patch", datum.id)];
    for (const [name, column] of patches.lines) if (datum[column]) found.push(line(name, datum[column]));
    const sheet = sheets[Math.floor(datum.i / patches.sheet)];
    if (datum.role === "other" || !sheet) return found;
    const canvas = document.createElement("canvas");
    const across = sheet.naturalWidth / patches.side;
    const place = datum.i % patches.sheet;
    canvas.width = canvas.height = 128;
    const pen = canvas.getContext("2d");
    const [x, y] = [place % across, Math.floor(place / across)].map((n) => n * patches.side);
    pen.drawImage(sheet, x, y, patches.side, patches.side, 0, 0, 128, 128);
    return [canvas, ...found];
  }

  // one step of a map: `factor` scales around the middle, `right` and `up` move by a share of what is shown
  function move(name, factor, right = 0, up = 0) {
    const view = views[name];
    for (const [axis, field, part] of [["x", 0, right], ["y", 1, up]]) {
      const [low, high] = view.scale(axis).domain();
      const [middle, half] = [(low + high) / 2 + part * (high - low), ((high - low) / 2) * factor];
      view.signal(signals(view)[field], [middle - half, middle + half]);
    }
    return view.runAsync();
  }

  function all(name) {
    const view = views[name];
    for (const signal of signals(view)) view.signal(signal, null);
    return view.runAsync();
  }

  // the signals of the interval that is bound to both scales
  function signals(view) {
    const names = Object.keys(view.getState({ signals: (n) => /^zoom_(longitude|latitude|west|south)$/.test(n) }).signals);
    return ["longitude|west", "latitude|south"].map((axis) => names.find((n) => new RegExp(`_(${axis})$`).test(n)));
  }

  const STEPS = {
    "+": [0.7], "=": [0.7], "-": [1 / 0.7], ArrowLeft: [1, -0.15], ArrowRight: [1, 0.15], ArrowUp: [1, 0, 0.15], ArrowDown: [1, 0, -0.15],
  };
  for (const name of Object.keys(charts).filter((key) => charts[key].aspect)) {
    const place = document.getElementById(`chart-${name}`);
    place.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.target !== place) return;
      if (event.key in STEPS) move(name, ...STEPS[event.key]);
      else if (event.key === "0") all(name);
      else return;
      event.preventDefault();
    });
    // the wheel scrolls the page until the map is chosen
    const chosen = () => place.contains(document.activeElement);
    place.addEventListener("wheel", (event) => chosen() || event.stopPropagation(), { capture: true });
    place.addEventListener("mousedown", (event) => event.target.closest("select, input") || place.focus({ preventScroll: true }), { capture: true });
  }
  for (const button of document.querySelectorAll(".tools button")) {
    const name = button.parentElement.dataset.of;
    const steps = { in: () => move(name, 0.7), out: () => move(name, 1 / 0.7), all: () => all(name) };
    button.addEventListener("click", steps[button.dataset.do]);
  }
  let waiting;
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === width) return;
    width = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(drawAll, 200);
  });
  addEventListener("scroll", hide, { passive: true });
  addEventListener("keydown", (event) => event.key === "Escape" && hide());
  addEventListener("beforeprint", () => drawAll(true));
  addEventListener("afterprint", () => drawAll());
  dark.addEventListener("change", () => drawAll());
  drawAll();
})();
