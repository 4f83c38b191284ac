"use strict";
// The data behind the numbers: splits, ceilings, faults, and images that are nearly the same.
RSITR.lists = (() => {
  const { h, site } = RSITR;
  const { note, pager, picture, pictures, section, table } = RSITR.parts;
  const SIDES = {
    "dedup.pairs": [["first_dataset", "first", "first_split"], ["second_dataset", "second", "second_split"]],
    "leakage.images": [["test", "test_image", undefined], ["source", "source_image", "source_split"]],
  };
  const SHEETS = ["datasets", "splits", "ceiling", "audit", "leakage", "statistics", "counts", "dedup", "sources"];
  const CLOSED = new Set(["statistics", "counts", "dedup", "sources"]);

  const pair = (columns, sides) => {
    const place = (name) => columns.indexOf(name);
    const used = new Set(sides.flat().filter(Boolean));
    const rest = columns.filter((name) => !used.has(name));
    return (row) => h("div", { class: "pair" },
      sides.map(([dataset, image, split]) => h("div", {}, picture(row[place(dataset)], row[place(image)]), " ",
        h("bdi", {}, row[place(image)]), h("small", {}, ` ${row[place(dataset)]} ${split ? row[place(split)] : "test"}`))),
      h("small", {}, rest.filter((name) => row[place(name)]).map((name) => `${name} ${row[place(name)]}`).join(" · ")));
  };
  const list = async (about) => {
    const [{ columns, rows }] = await Promise.all([RSITR.load(about.file), pictures()]);
    const sides = SIDES[about.name];
    const render = sides ? (shown) => h("div", { class: "pairs" }, shown.map(pair(columns, sides))) : (shown) => table(about.title, columns, shown, "texts");
    return section(about.title, note(`${about.count.toLocaleString("en")} lines of ${about.source}.`), pager(rows, 24, render));
  };

  // A long table, which is loaded when it is opened.
  const closed = (about) => {
    const box = h("details", { class: "closed", ontoggle: async () => {
      if (box.open && box.children.length === 1) box.append(await RSITR.sheets.sheet(about));
    } }, h("summary", {}, `${RSITR.sheets.title(about.name)}: `, h("small", {}, about.caption)));
    return box;
  };
  const render = async (root) => {
    root.append(h("h1", {}, "Data"), ...site().datasets.map((each) => h("p", {}, h("b", {}, RSITR.heading(each.name)), ` ${each.title}`, each.here ? "" : h("small", {}, " · captions and pictures are not shown"))));
    for (const name of SHEETS) {
      const about = site().sheets.find((each) => each.name === name);
      if (about) root.append(CLOSED.has(name) ? closed(about) : await RSITR.sheets.sheet(about));
    }
    for (const about of site().paged.filter((each) => SIDES[each.name])) root.append(await list(about));
  };
  RSITR.page("data", "Data", render);
  return { list, SHEETS };
})();
