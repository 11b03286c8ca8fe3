"use strict";
(() => {
  const read = (id) => JSON.parse(document.getElementById(id).textContent);
  const configs = read("configs");
  const root = document.documentElement;
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  const printing = matchMedia("print");
  let chosen = null;

  const scheme = () => chosen ?? (prefersDark.matches ? "dark" : "light");

  // A chart is drawn at a guessed width, then stretched by what axes and labels left over.
  async function draw(box) {
    const room = Math.floor(box.getBoundingClientRect().width);
    const source = shown(read(box.dataset.spec));
    if (!source) {
      box.view?.finalize();
      box.view = null;
      box.textContent = "Every series of this chart is switched off.";
      return;
    }
    const facet = "facet" in source;
    const columns = facet ? Math.max(1, Math.min(source.columns, Math.floor(room / 290))) : 1;
    const shared = configs[scheme()];
    const config = { ...shared, legend: { ...shared.legend, columns: room < 520 ? 1 : 0 } };
    const spec = { ...source };
    let width = Math.max(80, Math.floor(room / columns) - 140);
    if (facet) {
      spec.columns = columns;
      spec.spec = { ...source.spec, width };
    } else spec.width = width;
    const { view } = await vegaEmbed(box, spec, { actions: false, renderer: "svg", config, tooltip: { theme: scheme() } });
    box.view?.finalize();
    box.view = view;
    nameRuns(view, box.dataset.runs);
    for (let pass = 0; pass < 3; pass += 1) {
      const spare = room - box.querySelector("svg").getBoundingClientRect().width;
      const next = Math.max(80, width + Math.floor(spare / columns));
      if ((spare >= 0 && spare < 3) || next === width) break;
      width = next;
      await view.signal(facet ? "child_width" : "width", width).resize().runAsync();
    }
    // A resize that leaves all places as they were clears the picture and draws none of it.
    if (!box.querySelector("svg > g > *")) await view.signal(facet ? "child_width" : "width", width - 1).runAsync();
    const svg = box.querySelector("svg");
    // The chart as a whole has a text; its parts are no pictures of their own, and empty ones would have no name.
    const words = ["role", "aria-label", "aria-roledescription"];
    for (const part of svg.querySelectorAll(words.map((word) => `[${word}]`).join())) {
      for (const word of words) part.removeAttribute(word);
    }
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", box.dataset.alt);
    box.dataset.drawn = scheme();
    box.style.minHeight = "";
  }

  // Series that are switched off leave the data of every chart; the places of axes and names stay as they are.
  const off = new Set();
  function shown(source) {
    if (!off.size) return source;
    let left = 0;
    const datasets = {};
    for (const [name, rows] of Object.entries(source.datasets)) {
      datasets[name] = rows.filter((row) => !off.has(row.method_id));
      left += datasets[name].length;
    }
    return left ? { ...source, datasets } : null;
  }

  function switchSeries() {
    const boxes = [...document.querySelectorAll("#series input")];
    off.clear();
    for (const one of boxes) if (!one.checked) off.add(one.value);
    const n = boxes.length;
    document.getElementById("series-said").textContent = off.size ? `Series: ${n - off.size} of ${n} shown` : `Series: all ${n} shown`;
    document.getElementById("series").classList.toggle("some-off", off.size > 0);
    for (const update of updates) update();
    delete root.dataset.ready;
    return drawAll();
  }

  // A point that is a mean over runs names them, where the page knows exactly as many as the point was made of.
  const known = new Map();
  function runsOf(datum, id) {
    if (!id || !datum?.n_seeds || datum.method_id === undefined) return [];
    if (!known.has(id)) {
      const { columns, rows } = read(id);
      known.set(id, rows.map((row) => Object.fromEntries(columns.map((name, i) => [name, row[i]]))));
    }
    const same = (run) => ["method_id", "n_params", "n_tokens"].every((key) => datum[key] === undefined || datum[key] === null || run[key] === datum[key]);
    const found = known.get(id).filter(same).map((run) => run.run_id);
    return found.length === datum.n_seeds ? found : [];
  }

  function nameRuns(view, id) {
    const show = view.tooltip();
    view.tooltip((handler, event, item, value) => {
      const found = value && typeof value === "object" ? runsOf(item?.datum, id) : [];
      const more = found.length > 4 ? `, and ${found.length - 4} more` : "";
      const text = found.slice(0, 4).join(", ") + more;
      show.call(handler, handler, event, item, found.length ? { ...value, [found.length > 1 ? "runs" : "run"]: text } : value);
    });
    view.addEventListener("click", (event, item) => {
      const found = runsOf(item?.datum, id);
      if (found.length) goTo(found, id);
    });
  }

  function goTo(found, id) {
    const holder = document.querySelector(`.rows[data-rows="${id}"]`);
    const details = holder.closest("details");
    details.open = true;
    fill(details);
    for (const row of holder.querySelectorAll("tr.found")) row.classList.remove("found");
    const rows = found.map((run) => document.getElementById(`run-${run}`)).filter(Boolean);
    for (const row of rows) row.classList.add("found");
    rows[0]?.scrollIntoView({ block: "center" });
  }

  function goToHash() {
    const run = decodeURIComponent(location.hash).replace(/^#run-/, "");
    if (!location.hash.startsWith("#run-")) return;
    for (const holder of document.querySelectorAll('.rows[data-rows$="-runs-rows"]')) {
      const { columns, rows } = read(holder.dataset.rows);
      if (rows.some((row) => row[columns.indexOf("run_id")] === run)) goTo([run], holder.dataset.rows);
    }
  }

  // What is wider than its room gets a narrow first column (.is-wide); what still goes on then says so (.goes-on). Each
  // is measured as it is without them, so that asking twice changes nothing.
  function hint() {
    const boxes = [...document.querySelectorAll(".scroll")];
    const mark = (name) => {
      const over = boxes.map((box) => box.scrollWidth > box.clientWidth + 1);
      boxes.forEach((box, i) => box.classList.toggle(name, over[i]));
    };
    for (const box of boxes) box.classList.remove("is-wide", "goes-on");
    mark("is-wide");
    mark("goes-on");
  }

  let turn = 0;
  async function drawAll() {
    const mine = (turn += 1);
    const top = scrollY;
    const near = (box) => Math.abs(box.getBoundingClientRect().top + scrollY - top);
    const boxes = [...document.querySelectorAll(".chart")].sort((a, b) => near(a) - near(b));
    for (const box of boxes) {
      if (mine !== turn) return;
      try {
        await draw(box);
      } catch (error) {
        box.textContent = "This chart could not be drawn; its data are below.";
        console.error(error);
      }
      await new Promise((next) => setTimeout(next, 0));
    }
    root.dataset.ready = "yes";
  }

  function paint() {
    delete root.dataset.ready;
    root.dataset.scheme = scheme();
    const button = document.getElementById("scheme");
    button.textContent = scheme() === "dark" ? "Light" : "Dark";
    button.setAttribute("aria-label", `Switch to the ${scheme() === "dark" ? "light" : "dark"} scheme`);
    return drawAll();
  }

  const quote = (value) => {
    if (value === null) return "";
    const text = String(value);
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  function download(button) {
    const { columns, rows } = read(button.dataset.rows);
    const lines = [columns, ...rows].map((row) => row.map(quote).join(","));
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([lines.join("\r\n") + "\r\n"], { type: "text/csv" }));
    link.download = button.dataset.file;
    document.body.append(link);
    link.click();
    link.remove();
    setTimeout(() => URL.revokeObjectURL(link.href), 1000);
  }

  // The data as a table is filled when it is first opened: most readers never ask for it.
  function fill(details) {
    const holder = details.querySelector(".rows");
    if (!details.open || holder.childElementCount) return;
    const { columns, rows } = read(holder.dataset.rows);
    const table = holder.appendChild(document.createElement("table"));
    const head = table.createTHead().insertRow();
    const run = holder.dataset.rows.endsWith("-runs-rows") ? columns.indexOf("run_id") : -1;
    for (const name of columns) head.appendChild(Object.assign(document.createElement("th"), { textContent: name, scope: "col" }));
    const body = table.createTBody();
    for (const row of rows) {
      const line = body.insertRow();
      if (run >= 0) line.id = `run-${row[run]}`;
      for (const value of row) {
        const cell = line.insertCell();
        cell.textContent = typeof value === "number" ? Number(value.toPrecision(6)) : value ?? "";
        if (typeof value === "string") cell.className = "text";
      }
    }
    hint();
  }

  document.getElementById("scheme").addEventListener("click", () => {
    chosen = scheme() === "dark" ? "light" : "dark";
    paint();
  });
  prefersDark.addEventListener("change", () => chosen ?? paint());
  // What stands in a figure; a figure that is put in another's place is wired when it first appears.
  function wire(part) {
    for (const button of part.querySelectorAll("button[data-rows]")) button.addEventListener("click", () => download(button));
    for (const details of part.querySelectorAll("details.data")) details.addEventListener("toggle", () => fill(details));
    for (const button of part.querySelectorAll("button[data-instead]")) button.addEventListener("click", () => showInstead(button));
  }
  wire(document);

  // The same chart on another axis waits in a template, and changes places with the one that is shown.
  function showInstead(button) {
    const shown = button.closest("figure");
    const other = document.getElementById(button.dataset.instead).content.firstElementChild.cloneNode(true);
    shown.replaceWith(other);
    wire(other);
    const back = other.querySelector("button[data-back]");
    back.addEventListener("click", () => {
      other.querySelector(".chart").view?.finalize();
      other.replaceWith(shown);
      button.focus();
      redraw(shown);
    });
    back.focus();
    redraw(other);
  }

  function redraw(figure) {
    delete root.dataset.ready;
    hint();
    return draw(figure.querySelector(".chart")).finally(() => { root.dataset.ready = "yes"; });
  }

  for (const one of document.querySelectorAll("#series input")) one.addEventListener("change", switchSeries);
  document.getElementById("series-all")?.addEventListener("click", () => {
    for (const one of document.querySelectorAll("#series input")) one.checked = true;
    switchSeries();
  });
  addEventListener("hashchange", goToHash);

  let width = innerWidth;
  let timer;
  addEventListener("resize", () => {
    clearTimeout(timer);
    if (innerWidth !== width && !printing.matches) timer = setTimeout(() => { width = innerWidth; hint(); drawAll(); }, 150);
  });
  hint();
  paint();
  goToHash();

  // Controls read stored answers, along straight lines in logarithms between those that were worked out.
  const SUFFIX = [["T", 1e12], ["B", 1e9], ["M", 1e6], ["k", 1e3]];
  const count = (value) => {
    const [unit, scale] = SUFFIX.find(([, size]) => value >= 0.995 * size) ?? ["", 1];
    return `${Number((value / scale).toPrecision(3))}${unit}`;
  };
  const science = (value) => value.toExponential(2).replace("e+", "e");
  const chance = (p) => (p > 0.99 ? ">99%" : p < 0.01 ? "<1%" : `${Math.round(100 * p)}%`);
  const made = (name, textContent, options) => Object.assign(document.createElement(name), { textContent, ...options });

  // Where `at` (a logarithm) lies among rows by the logarithm of their `key`: the row before, the share to the next.
  function place(rows, at, key) {
    const next = rows.findIndex((row) => Math.log(row[key]) >= at - 1e-12);
    const k = Math.max(1, next < 0 ? rows.length - 1 : next);
    const [low, high] = [Math.log(rows[k - 1][key]), Math.log(rows[k][key])];
    return [rows[k - 1], rows[k], Math.min(1, (at - low) / (high - low))];
  }
  const between = ([a, b, share], name) => Math.exp(Math.log(a[name]) + share * (Math.log(b[name]) - Math.log(a[name])));

  // A control's parts, and a slider that goes from `low` to `high` (logarithms).
  function control(box, show) {
    const [slider, choice] = [box.querySelector("input"), box.querySelector("select")];
    const content = read(box.dataset.content);
    const update = () => show(content[choice?.value ?? 0], (low, high) => low + ((high - low) * slider.value) / 1000, slider);
    choice?.addEventListener("change", update);
    slider.addEventListener("input", update);
    update();
    return update;
  }

  for (const box of document.querySelectorAll(".planner")) {
    control(box, ({ rows, sharing }, along, slider) => {
      const at = along(Math.log(rows[0].flops), Math.log(rows[rows.length - 1].flops));
      const here = place(rows, at, "flops");
      const value = (name) => between(here, name);
      const range = (name) => {
        const [from, to] = [value(`${name}_low`), value(`${name}_high`)];
        return to > from * 1.001 ? ` (${count(from)} to ${count(to)})` : "";
      };
      const said = [
        ["Training compute", `${science(Math.exp(at))} FLOPs`],
        ["Parameters", count(value("n_params")) + range("n_params")],
        ["Tokens", count(value("n_tokens"))],
        ["Loss", `${value("loss").toFixed(4)} nats (${value("new_low").toFixed(4)} to ${value("new_high").toFixed(4)})`],
        ["Shared by", sharing],
      ];
      if (rows.every((row) => row.device_hours)) {
        said.splice(1, 0, ["Device-hours", String(Number(value("device_hours").toPrecision(3)))]);
      }
      box.querySelector("dl").replaceChildren(...said.flatMap(([term, text]) => [made("dt", term), made("dd", text)]));
      slider.setAttribute("aria-valuetext", said[0][1]);
    });
  }

  // The projections at one size, the lowest loss first; a series says nothing below its own smallest size.
  const [SIZE, MEAN, LOW, HIGH, NEW_LOW, NEW_HIGH, P_BEST] = [0, 1, 2, 3, 4, 5, 6];
  function projected({ series }, at) {
    const found = series.filter(({ rows }) => rows.length > 1 && Math.log(rows[0][SIZE]) <= at + 1e-9).map(({ id, title, rows }) => {
      const here = place(rows, at, SIZE);
      const [a, b, share] = here;
      const p = a[P_BEST] === null ? null : a[P_BEST] + share * (b[P_BEST] - a[P_BEST]);
      return { id, title, p, values: [MEAN, LOW, HIGH, NEW_LOW, NEW_HIGH].map((name) => between(here, name)) };
    });
    return found.sort((one, other) => one.values[0] - other.values[0]);
  }

  // The smallest set that holds the best with a level: the likeliest first, until they are enough.
  function mayBeBest(rows, level) {
    let before = 0;
    const found = new Set();
    for (const row of [...rows].sort((one, other) => other.p - one.p)) {
      if (row.p !== null && before < level) found.add(row.id);
      before += row.p;
    }
    return found;
  }

  const updates = [...document.querySelectorAll(".targets")].map((box) =>
    control(box, (one, along, slider) => {
      const sizes = one.series.flatMap(({ rows }) => rows.map((row) => Math.log(row[SIZE])));
      const at = along(Math.min(...sizes), Math.max(...sizes));
      const rows = projected(one, at);
      const best = rows.length > 1 ? mayBeBest(rows, one.level) : new Set();
      const columns = box.querySelectorAll("thead th").length;
      const lines = rows.filter(({ id }) => !off.has(id)).map(({ id, title, p, values }) => {
        const [mean, low, high, newLow, newHigh] = values.map((value) => value.toFixed(4));
        const line = made("tr", "", { className: best.has(id) ? "may-be-best" : "" });
        const cells = [mean, `${low} to ${high}`, `${newLow} to ${newHigh}`, p === null ? "not ranked" : chance(p)];
        line.append(made("th", title, { scope: "row" }), ...cells.slice(0, columns - 1).map((text) => made("td", text)));
        return line;
      });
      box.querySelector("tbody").replaceChildren(...lines);
      const said = `${count(Math.exp(at))} parameters${one.tokens ? `, ${one.tokens} tokens` : ""}`;
      box.querySelector("output").textContent = said;
      slider.setAttribute("aria-valuetext", said);
      hint();
    }),
  );
})();
