"use strict";
// The papers: what became of their numbers, their curves, and every other table of the experiment.
(() => {
  const { h, site } = RSITR;
  const { link, note, section } = RSITR.parts;

  const chart = async (about) => {
    const panels = await RSITR.load(about.file);
    return section(about.title, h("div", { class: "charts" }, panels.map(RSITR.charts.curves)));
  };
  const one = async (root, name) => {
    const about = site().sheets.find((each) => each.name === name);
    if (!about) throw new Error(`There is no table ${name}.`);
    root.append(h("h1", {}, RSITR.sheets.title(name)), h("p", {}, link("All tables", "papers")), await RSITR.sheets.sheet(about));
  };
  const render = async (root, { parts: [name] }) => {
    if (name) return one(root, name);
    root.append(h("h1", {}, "Papers and tables"));
    const others = site().sheets.filter((each) => !RSITR.lists.SHEETS.includes(each.name) && each.name !== "coverage");
    root.append(section("Tables", h("dl", { class: "facts" }, others.map((each) => [
      h("dt", {}, each.file ? link(each.name, "papers", [each.name]) : each.name),
      h("dd", {}, each.caption, each.file ? "" : h("small", {}, " Not built."))]))));
    for (const each of site().charts) root.append(await chart(each));
    const coverage = site().sheets.find((each) => each.name === "coverage");
    if (coverage) root.append(await RSITR.sheets.sheet(coverage));
    else root.append(note("All data is synthetic: nothing is compared with published numbers."));
    for (const about of site().paged.filter((each) => each.name.startsWith("coverage"))) root.append(await RSITR.lists.list(about));
    return undefined;
  };
  RSITR.page("papers", "Papers", render);
})();
