"use strict";
// A table as its csv file has it, with its footnotes.
RSITR.sheets = (() => {
  const { h } = RSITR;
  const { note, section, table } = RSITR.parts;
  const NUMBER = /^[+−-]?[\d,.]+( ?[%×]| ± [\d.]+| \([\d.]+ %\))?$|^$|^NA$|^–$|^n\/c$/;

  const shown = (notes) => ([text, ...marks]) => h("span", { dir: "auto" }, text,
    marks.length ? h("sup", {}, marks.map((mark, place) => [place ? "," : "", h("abbr", { title: notes[mark] ?? "", tabindex: "0" }, mark)])) : "");
  const one = (found, notes) => {
    const numeric = [...found.columns.keys()].filter((place) => place && found.rows.every((row) => NUMBER.test(row[place][0])));
    return table(found.name, found.columns, found.rows.map((row) => row.map(shown(notes))), "texts", numeric);
  };
  const title = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("-", " ");
  const sheet = async (about) => {
    if (!about.file) return section(title(about.name), note(`${about.source} was not built: rsitr tables makes it.`));
    const { tables, notes } = await RSITR.load(about.file);
    const list = Object.entries(notes);
    return section(tables.length === 1 && tables[0].name ? tables[0].name : title(about.name), note(about.caption), h("div", { class: "sheet" }, tables.map((found) => [tables.length > 1 ? h("h3", {}, found.name) : "", one(found, notes)]),
      list.length ? h("details", { open: list.length < 12 }, h("summary", { class: "note" }, `${list.length} notes`),
        h("ul", { class: "notes" }, list.map(([mark, text]) => h("li", { dir: "auto" }, h("sup", {}, mark), " ", text)))) : "",
      note(`From ${about.source}.`)));
  };
  return { sheet, title };
})();
