"use strict";
(() => {
  const SMALLEST_STEP = 500; // milliseconds
  const FULL = 240; // pixels: the height of charts over time, beside which others stand
  const blocks = new Map();

  function records(data) {
    return data.rows.map((row) =>
      Object.fromEntries(data.columns.map((name, index) => [name, row[index]])));
  }

  function cell(value, column) {
    if (value === null || value === undefined) return "–";
    if (typeof value === "boolean") return value ? "yes" : "no";
    if (typeof value === "number") {
      const digits = ["share", "number"].includes(column.kind) ? column.digits : 0;
      const shown = column.kind === "share" ? 100 * value : value;
      return shown.toLocaleString("en", {
        minimumFractionDigits: digits, maximumFractionDigits: digits,
      });
    }
    return column.kind === "time" ? value.slice(0, 16).replace("T", " ") : String(value);
  }

  // Text is set as text, never as HTML.
  function fill(block) {
    const body = block.section.querySelector("tbody");
    if (!body) return;
    const chosen = block.select ? block.select.value : null;
    let rows = block.rows;
    if (block.data.choice) rows = rows.filter((row) => row[block.data.choice] === chosen);
    else rows = rows.slice(0, block.data.shown);
    body.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      block.data.cells.forEach((name, index) => {
        const column = block.data.kinds[name];
        const item = document.createElement(index === 0 ? "th" : "td");
        if (index === 0) item.scope = "row";
        const isFigure = ["count", "share", "number"].includes(column.kind);
        item.className = isFigure ? "figure" : column.kind === "time" ? "time" : "word";
        item.textContent = cell(row[name], column);
        line.append(item);
      });
      return line;
    }));
    const shown = block.section.querySelector("[data-shown]");
    if (shown) shown.textContent = rows.length.toLocaleString("en");
  }

  function choose(block) {
    for (const view of block.views) view.signal("chosen", block.select.value).runAsync();
    fill(block);
  }

  // Letters that are read from the other side of a room.
  function enlarge(spec) {
    if (!matchMedia("(min-width: 110rem)").matches) return;
    for (const part of ["axis", "legend", "text"]) {
      for (const size of ["labelFontSize", "titleFontSize", "labelLimit", "fontSize"]) {
        if (spec.config[part][size]) spec.config[part][size] *= 1.4;
      }
    }
    if (spec.height.step) spec.height.step *= 1.4;
  }

  // A row's height times the rows: a few of them are up to twice as high.
  function height(step, rows) {
    const many = Math.max(rows.length, 1);
    return many * Math.max(step, Math.min(2 * step, FULL / many));
  }

  async function draw(section) {
    const source = section.querySelector("script[type='application/json']");
    if (!source) return;
    const data = JSON.parse(source.textContent);
    const block = { section, data, rows: records(data), views: [] };
    block.select = section.querySelector("select");
    blocks.set(section.id, block);
    for (const place of section.querySelectorAll("[data-chart]")) {
      const spec = data.specs[Number(place.dataset.chart)];
      enlarge(spec);
      // The layout of steps complains about widths of containers.
      const step = spec.height.step;
      if (step) spec.height = height(step, block.rows);
      spec.datasets = { rows: block.rows };
      spec.description = place.closest("figure").querySelector("figcaption").textContent;
      const result = await window.vegaEmbed(place, spec, {
        actions: false, ast: true, renderer: "svg", defaultStyle: true,
        loader: { load: () => Promise.reject(new Error("A page loads nothing.")) },
      });
      block.views.push(result.view);
      result.view.step = step;
      place.view = result.view;
    }
    if (block.select) {
      block.select.addEventListener("change", () => choose(block));
    }
    section.dataset.drawn = "yes";
  }

  function refresh(answer) {
    const shown = [...blocks.keys()];
    if (shown.join() !== Object.keys(answer.blocks).join()) {
      location.reload();
      return;
    }
    for (const [key, data] of Object.entries(answer.blocks)) {
      const block = blocks.get(key);
      if (!block) continue;
      Object.assign(block.data, { columns: data.columns, rows: data.rows });
      block.rows = records(data);
      // A table comes with its first row, and goes with its last.
      if (!block.section.querySelector("table") !== !data.rows.length) {
        location.reload();
        return;
      }
      for (const [name, text] of Object.entries(data.said)) {
        for (const place of block.section.querySelectorAll(`[data-${name}]`)) {
          place.textContent = text;
          place.hidden = !text;
        }
      }
      for (const view of block.views) {
        if (view.step) view.height(height(view.step, block.rows));
        view.data("rows", block.rows).runAsync();
      }
      fill(block);
    }
    const box = document.querySelector(".answer");
    box.classList.toggle("urgent", answer.is_urgent);
    const texts = answer.answer;
    if ([...box.children].map((line) => line.textContent).join("\n") === texts.join("\n")) return;
    document.querySelector("section.hint")?.remove();
    box.replaceChildren(...texts.map((text) => {
      const line = document.createElement("p");
      line.textContent = text;
      return line;
    }));
  }

  async function follow(state, every = 3) {
    let wait = 2000;
    const last = state.dataset.last || "when this page was opened";
    const busy = setTimeout(() => {
      state.textContent = `The lakehouse is busy: what is shown is from ${last}.`;
    }, 3000 * every);
    try {
      const response = await fetch("live.json", { cache: "no-store" });
      const answer = await response.json();
      if (!response.ok) throw new Error(answer.error);
      refresh(answer);
      every = answer.every_seconds;
      wait = Math.max(SMALLEST_STEP, 1000 * answer.every_seconds);
      const hint = document.querySelector(".hint-live");
      if (hint) hint.remove();
      state.textContent = `${answer.freshness} Refreshed every ${answer.every_seconds} seconds.`;
      state.classList.remove("broken");
    } catch (error) {
      state.textContent = `Not refreshed, what is shown is from ${last}: ${error.message}`;
      state.classList.add("broken");
      setTimeout(() => follow(state, every), wait);
      return;
    } finally {
      clearTimeout(busy);
    }
    state.dataset.last = new Date().toISOString().slice(11, 19) + " UTC";
    setTimeout(() => follow(state, every), wait);
  }

  async function start() {
    for (const section of document.querySelectorAll("section.block[id]")) await draw(section);
    document.documentElement.dataset.ready = "yes";
    const page = document.querySelector("main").dataset.page;
    const state = document.querySelector("[data-freshness]");
    if (page === "live" && location.protocol === "http:") follow(state);
  }

  start();
})();
