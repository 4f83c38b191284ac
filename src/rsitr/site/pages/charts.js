"use strict";
// Vega-Lite, loaded when a chart comes into view.
RSITR.charts = (() => {
  const { h, site } = RSITR;
  const { select, section } = RSITR.parts;
  const SCRIPTS = ["vendor/vega.min.js", "vendor/vega-lite.min.js", "vendor/vega-embed.min.js"];
  const drawn = new Set();

  // As the theme resolves it: a file that is saved from a chart knows no themes.
  const colour = (name) => {
    const probe = h("span", { style: `color: var(${name})` });
    document.body.append(probe);
    const found = getComputedStyle(probe).color;
    probe.remove();
    return found;
  };
  const palette = () => ["--c1", "--c2", "--c3", "--c4", "--c5", "--c6", "--c7", "--c8"].map(colour);
  const config = () => {
    const ink = colour("--soft"), line = colour("--line");
    return {
      background: "transparent", font: "system-ui, sans-serif",
      axis: { labelColor: ink, titleColor: ink, gridColor: line, domainColor: line, tickColor: line, titleFontWeight: 400 },
      legend: { labelColor: ink, titleColor: ink, labelLimit: 320 }, title: { color: colour("--ink"), fontWeight: 500, anchor: "start" },
      view: { stroke: null }, range: { category: palette() },
    };
  };

  const draw = async (box, spec) => {
    await RSITR.scripts(...SCRIPTS);
    if (!box.isConnected) return;
    const options = {
      mode: "vega-lite", renderer: "svg", config: config(), ast: true,
      actions: { export: true, source: false, compiled: false, editor: false },
    };
    const { view } = await vegaEmbed(box, typeof spec === "function" ? spec() : spec, options);
    box.querySelector("summary")?.setAttribute("aria-label", "Save this chart");
    box.dataset.drawn = "yes";
    drawn.add({ box, spec });
    // A point that stands for a row leads to it.
    view.addEventListener("click", (_event, item) => { if (item?.datum?.place) RSITR.go("cell", item.datum.place); });
  };
  document.addEventListener("rsitr-theme", () => {
    for (const each of [...drawn]) {
      drawn.delete(each);
      if (each.box.isConnected) draw(each.box, each.spec);
    }
  });
  // A box whose chart is drawn when it can be seen.
  const later = (label, spec) => {
    const box = h("div", { class: "chart", role: "group", "aria-label": label });
    new IntersectionObserver((entries, observer) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      observer.disconnect();
      draw(box, spec);
    }, { rootMargin: "200px" }).observe(box);
    return box;
  };

  // mR against what it costs; the line is the best for a cost or less.
  const front = (points) => {
    let best = -Infinity;
    return points.toSorted((a, b) => a.x - b.x || b.y - a.y).filter(({ y }) => y > best && (best = y) !== undefined);
  };
  const paretoSpec = (points, title) => ({
    width: "container", height: 320, autosize: { type: "fit", contains: "padding" },
    layer: [
      { data: { values: front(points) }, mark: { type: "line", interpolate: "step-after", color: colour("--line2"), strokeDash: [4, 3] }, encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" } } },
      {
        data: { values: points },
        mark: { type: "point", filled: true, size: 70, cursor: "pointer", opacity: 0.85 },
        encoding: {
          x: { field: "x", type: "quantitative", title, scale: { type: "log", nice: false, padding: 20 } },
          y: { field: "y", type: "quantitative", title: "mR, %", scale: { zero: false } },
          color: { field: "dataset", type: "nominal", title: null, legend: new Set(points.map(({ dataset }) => dataset)).size > 1 ? {} : null },
          shape: { field: "role", type: "nominal", title: null, legend: new Set(points.map(({ role }) => role)).size > 1 ? {} : null },
          tooltip: [{ field: "method" }, { field: "dataset" }, { field: "text", title: "mR" }, { field: "x", title, format: ".4~g" }],
        },
      },
      { data: { values: front(points) }, mark: { type: "text", align: "left", dx: 7, dy: -5, fontSize: 11, color: colour("--soft") }, encoding: { x: { field: "x", type: "quantitative" }, y: { field: "y", type: "quantitative" }, text: { field: "method" } } },
    ],
  });
  const pareto = async (root, chosen, changed) => {
    const options = Object.entries(site().costs);
    const box = h("div");
    root.append(section("mR against its cost", select("Cost", options, chosen, changed), box));
    return (rows, prefix, x) => {
      const points = rows.flatMap((row) => {
        const [mr, cost] = [row.numbers[`${prefix}mr`], row.numbers[x]];
        return mr && cost && cost.mean > 0 ? [{ x: cost.mean, y: mr.mean, text: mr.text, method: row.method, dataset: RSITR.heading(row.dataset), role: row.role, place: [row.dataset, row.method] }] : [];
      });
      const left = rows.length - points.length;
      const chart = later("mR against its cost", () => paretoSpec(points, site().costs[x]));
      box.replaceChildren(points.length ? chart : "", h("p", { class: "note" }, [
        points.length ? "The dashed line joins the rows that no other beats for the same cost or less." : "No row shown here states both numbers.",
        left && points.length ? ` ${left} rows without both numbers are left out.` : "", " Times are those of each record's machine.",
      ].join("")));
    };
  };

  // Curves of series in panels, as a paper draws them.
  const curves = (panel) => later(`${panel.y} against ${panel.x}`, () => ({
    width: "container", height: 280, autosize: { type: "fit", contains: "padding" }, title: panel.title || undefined,
    data: { values: panel.rows },
    mark: { type: "line", point: Boolean(panel.points) },
    encoding: {
      x: { field: "x", type: "quantitative", title: panel.x, axis: panel.whole ? { tickMinStep: 1, format: "d" } : {}, scale: panel.log ? { type: "log", base: 2, padding: 10 } : { nice: false, zero: false, padding: panel.points ? 10 : 0 } },
      y: { field: "y", type: "quantitative", title: panel.y, scale: { zero: false } },
      color: { field: "series", type: "nominal", title: null, sort: null, scale: { range: palette() }, legend: { orient: "bottom", columns: window.innerWidth > 700 ? 3 : 1 } },
      ...(panel.rows.some((row) => row.published) ? { strokeDash: { field: "published", type: "nominal", legend: null, scale: { domain: [false, true], range: [[1, 0], [4, 3]] } } } : {}),
      tooltip: [{ field: "series" }, { field: "x", title: panel.x }, { field: "y", title: panel.y, format: ".2f" }],
    },
  }));

  return { pareto, curves };
})();
