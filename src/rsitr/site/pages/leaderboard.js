"use strict";
// All rows: facets, the table, files of what is shown, and what a recall costs.
(() => {
  const { h, site } = RSITR;
  const { select, segments, checks, button, note } = RSITR.parts;
  const ALL = "all";
  const SEARCHED = ["method", "family", "backbone", "role", "status"];
  const EXPLAINED = [
    "Recall at K and mR, the mean of six recalls, on the test split in percent: mean ± sample standard deviation over seeds.",
    "Counted: a caption identical to one of the image's own, or to one of an identical picture, is its own as well.",
    "Interval: 95 %, by bootstrap over test images.",
  ];

  const given = (query) => ({
    dataset: query.get("dataset") ?? site().datasets[0].name,
    measure: query.get("measure") ?? "plain",
    roles: (query.get("roles") ?? "main").split(",").filter(Boolean),
    paper: query.get("paper") ?? ALL,
    family: query.get("family") ?? ALL,
    backbone: query.get("backbone") ?? ALL,
    seeds: query.get("seeds") ?? ALL,
    ended: query.get("ended") ?? ALL,
    leaks: query.get("leaks") ?? ALL,
    search: query.get("search") ?? "",
    sort: query.get("sort") ?? "mr",
    dir: query.get("dir") ?? "desc",
    x: query.get("x") ?? "train_s",
  });
  const DEFAULTS = given(new URLSearchParams());
  // The address holds what differs from the first view.
  const remember = (state) => RSITR.choose(Object.fromEntries(Object.entries(state).map(([name, value]) => {
    const text = String(value);
    return [name, text === String(DEFAULTS[name]) ? undefined : text || "none"];
  })));

  const converged = (row) => /^\d+ converged$/.test(row.ended) || row.ended === "no training";
  const fits = (state) => (row) => (state.dataset === ALL || row.dataset === state.dataset)
    && state.roles.includes(row.role)
    && (state.paper === ALL || (row.published?.paper ?? "none") === state.paper)
    && (state.family === ALL || row.family === state.family)
    && (state.backbone === ALL || row.backbone === state.backbone)
    && (state.seeds === ALL || (state.seeds === "complete") === (row.seeds === row.expected))
    && (state.ended === ALL || (state.ended === "converged") === converged(row))
    && (state.leaks === ALL || (state.leaks === "marked") === Boolean(row.leaks))
    && SEARCHED.some((field) => row[field].toLowerCase().includes(state.search.toLowerCase()));

  const values = (field) => [...new Set(site().rows.map(field))].filter(Boolean).sort();
  const options = (all, found) => [[ALL, all], ...found.map((value) => [value, value])];

  const controls = (state, changed) => {
    const set = (name) => (value) => changed({ [name]: value });
    const roles = site().roles.filter((role) => site().rows.some((row) => row.role === role));
    const papers = values((row) => row.published?.paper ?? "");
    const search = h("input", { type: "search", value: state.search, placeholder: "method", oninput: (event) => changed({ search: event.target.value }) });
    const datasets = [...site().datasets.map(({ name }) => [name, RSITR.heading(name)]), ...(site().datasets.length > 1 ? [[ALL, "all"]] : [])];
    return h("div", { class: "controls" },
      h("div", { class: "first" },
        segments("Dataset", datasets, state.dataset, set("dataset")),
        segments("Recalls", [["plain", "plain"], ["counted", "counted"]], state.measure, set("measure"))),
      h("details", { class: "facets", open: window.innerWidth > 700 },
        h("summary", {}, "Filter"),
        h("div", { class: "fields" },
          checks("Role", roles.map((role) => [role, role]), state.roles, set("roles")),
          h("label", { class: "field" }, h("span", {}, "Find"), search),
          select("Family", options("all", values((row) => row.family)), state.family, set("family")),
          select("Backbone", options("all", values((row) => row.backbone)), state.backbone, set("backbone")),
          papers.length ? select("Paper", [...options("all", papers), ["none", "no published row"]], state.paper, set("paper")) : "",
          select("Seeds", [[ALL, "all"], ["complete", "complete"], ["partial", "not complete"]], state.seeds, set("seeds")),
          select("Training", [[ALL, "all"], ["converged", "converged"], ["other", "not converged"]], state.ended, set("ended")),
          select("Leak mark ‡", [[ALL, "all"], ["marked", "with"], ["clean", "without"]], state.leaks, set("leaks")))));
  };

  const tabulated = (columns) => columns.map((column) => ({
    field: column.field, title: column.title, width: column.width, frozen: column.frozen ?? false,
    hozAlign: column.left ? "left" : "right", headerHozAlign: column.left ? "left" : "right",
    cssClass: column.strong ? "strong" : "", print: column.field !== "note",
    titleFormatter: () => h("button", { type: "button", class: "sort", title: column.help }, column.title),
    mutator: (_value, data) => column.value(data.row),
    formatter: (cell) => column.show(cell.getData().row),
    sorter: sorted, headerSortStartingDir: column.left ? "asc" : "desc",
  }));
  // Names in the order of the alphabet, numbers by size, and what there is not at the end either way.
  const sorted = (a, b, _first, _second, _column, direction) => {
    const noA = a === undefined || a === "", noB = b === undefined || b === "";
    if (noA || noB) return noA === noB ? 0 : (noA ? 1 : -1) * (direction === "asc" ? 1 : -1);
    return typeof a === "number" ? a - b : String(a).localeCompare(String(b));
  };

  const render = (root, { query }) => {
    const state = given(query);
    state.roles = state.roles.filter((role) => role !== "none");
    let rows = [], columns = [], built, table, pareto;
    const prefix = () => state.measure === "counted" ? "dup_" : "";
    const scale = () => {
      const ends = rows.flatMap(({ numbers: { [`${prefix()}mr`]: mr } }) => mr?.low == null ? [] : [mr.low, mr.high]);
      return [Math.min(...ends), Math.max(...ends)];
    };
    const count = h("p", { class: "count", role: "status" });
    const box = h("div", { id: "rows" });
    const sortField = () => state.sort === "mr" ? `${prefix()}mr` : state.sort;
    const shown = () => table.getData("active").map(({ row }) => row);

    const draw = () => {
      columns = RSITR.columns.all(prefix(), state.dataset === ALL, scale);
      table?.destroy();
      built = false;
      table = new Tabulator(box, {
        data: rows.map((row) => ({ row })), columns: tabulated(columns), layout: "fitData", maxHeight: "78vh",
        // By default it draws as many rows again above and below those that one sees.
        rowHeight: state.dataset === ALL ? 46 : 34, renderVerticalBuffer: 100,
        columnHeaderSortMulti: false, columnDefaults: { resizable: true }, headerSortElement: "<span></span>",
        placeholder: "No row fits the filter", initialSort: [{ column: sortField(), dir: state.dir }], printAsHtml: true,
      });
      table.on("tableBuilt", () => {
        built = true;
        box.dataset.rows = rows.length;
        // What scrolls can be reached by its links; a grid may hold nothing else that takes the focus.
        box.querySelector(".tabulator-tableholder").removeAttribute("tabindex");
      });
      table.on("dataSorted", ([first]) => {
        if (!built || !first) return;
        state.sort = first.field === `${prefix()}mr` ? "mr" : first.field;
        state.dir = first.dir;
        remember(state);
      });
    };
    const update = (changes = {}) => {
      const kept = ["measure", "dataset"].every((name) => !(name in changes));
      Object.assign(state, changes);
      rows = site().rows.filter(fits(state));
      const whole = site().rows.filter((row) => state.dataset === ALL || row.dataset === state.dataset).length;
      count.textContent = `${rows.length} of ${whole} rows`;
      if (table && built && kept) {
        table.replaceData(rows.map((row) => ({ row })));
        box.dataset.rows = rows.length;
      } else draw();
      if (Object.keys(changes).length) remember(state);
      pareto?.(rows, prefix(), state.x);
    };

    const caption = () => [site().title, state.measure === "counted" ? EXPLAINED.join(" ") : `${EXPLAINED[0]} ${EXPLAINED[2]}`].join(". ");
    const files = h("div", { class: "files" }, count,
      button("CSV", () => RSITR.exports.save(`${site().experiment}.csv`, RSITR.exports.csv(columns, shown()))),
      button("LaTeX", () => RSITR.exports.save(`${site().experiment}.tex`, RSITR.exports.latex(columns, shown(), caption()))));
    const synthetic = site().datasets.filter((each) => each.synthetic).map((each) => each.name);
    root.append(
      h("h1", {}, site().title),
      synthetic.length ? note(`Synthetic data (${synthetic.join(", ")}): not comparable with any published number.`, "synthetic") : "",
      controls(state, update), files, box,
      h("details", { class: "explained" }, h("summary", {}, "How to read this table"),
        h("ul", {}, [...EXPLAINED, site().method, site().bold,
          "† made by other code, parameters or data than the present. ‡ test images have a near duplicate in what was learned from.",
          "Δ mR: our mean minus the published value; n/c: the configurations are not comparable. NA: a seed failed, was skipped or has not run.",
        ].map((text) => h("li", {}, text)))));
    update();
    RSITR.charts.pareto(root, state.x, (x) => { state.x = x; remember(state); pareto?.(rows, prefix(), x); })
      .then((redraw) => { pareto = redraw; pareto(rows, prefix(), state.x); });
  };

  RSITR.page("leaderboard", "Leaderboard", render);
})();
