"use strict";
// Parts that several pages are made of.
RSITR.parts = (() => {
  const { h, svg } = RSITR;

  const select = (label, options, chosen, changed) => {
    const choice = h("select", { onchange: (event) => changed(event.target.value) });
    for (const [value, text] of options) choice.append(h("option", { value, selected: value === chosen }, text));
    return h("label", { class: "field" }, h("span", {}, label), choice);
  };
  const segments = (label, options, chosen, changed) => h(
    "fieldset", { class: "segments" }, h("legend", {}, label),
    options.map(([value, text]) => h(
      "label", {},
      h("input", { type: "radio", name: label, value, checked: value === chosen, onchange: () => changed(value) }),
      h("span", {}, text),
    )),
  );
  const checks = (label, options, chosen, changed) => {
    const group = h("fieldset", { class: "checks" }, h("legend", {}, label));
    const all = () => [...group.querySelectorAll("input:checked")].map((box) => box.value);
    for (const [value, text] of options) {
      const box = h("input", { type: "checkbox", value, checked: chosen.includes(value), onchange: () => changed(all()) });
      group.append(h("label", {}, box, h("span", {}, text)));
    }
    return group;
  };
  const button = (text, clicked, kind = "quiet") => h("button", { type: "button", class: kind, onclick: clicked }, text);
  const link = (text, ...place) => h("a", { href: RSITR.address(...place) }, h("bdi", {}, text));
  const note = (text, kind = "") => h("p", { class: `note ${kind}`.trim() }, text);
  const mark = (symbol, text) => text ? h("abbr", { class: "mark", title: text, tabindex: "0" }, symbol) : "";

  // What an external row was trained on, as far as its record says.
  const training = ({ role, trained_on: sources }) => {
    if (role !== "external") return "";
    const names = Object.keys(sources), uncounted = names.filter((name) => !sources[name]);
    const rest = uncounted.length ? ` (near duplicates of test images not counted in ${uncounted.join(", ")})` : "";
    return names.length ? `trained on ${names.join(", ")}${rest}` : "what it was trained on is not stated";
  };

  // A small table; a cell is text or an element. A wide one scrolls inside its box. Places of columns of numbers are
  // given as an array, or all but the first are with "numbers".
  const table = (caption, columns, rows, kind = "", numeric = undefined) => {
    const side = (place) => (numeric ? numeric.includes(place) : kind === "numbers" && place > 0) ? "number" : undefined;
    return h(
      "div", { class: "wide", tabindex: "0", role: "region", "aria-label": caption || "table" },
      h("table", { class: kind },
        h("thead", {}, h("tr", {}, columns.map((column, place) => h("th", { scope: "col", class: side(place) }, column)))),
        h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, place) =>
          h(place ? "td" : "th", { scope: place ? undefined : "row", class: side(place) }, cell)))))),
    );
  };
  const facts = (pairs) => h("dl", { class: "facts" }, pairs.filter(([, value]) => value !== "" && value !== undefined)
    .map(([name, value]) => [h("dt", {}, name), h("dd", {}, value)]));
  const section = (title, ...children) => h("section", {}, h("h2", {}, title), ...children);
  const copied = (text) => {
    const say = button("Copy", async () => {
      await navigator.clipboard?.writeText(text).catch(() => undefined);
      say.textContent = "Copied";
    });
    return h("div", { class: "command" }, h("code", { tabindex: "0" }, text), say);
  };

  // A point with its interval, on a scale that all rows share.
  const interval = (value, low, high, from, to, width = 110) => {
    const x = (number) => 4 + (width - 8) * (number - from) / (to - from || 1);
    const text = `${low.toFixed(2)} to ${high.toFixed(2)}`;
    const picture = svg("svg", { width, height: 16, role: "img", "aria-label": text, class: "interval" });
    const zero = from < 0 && to > 0 ? [svg("line", { x1: x(0), x2: x(0), y1: 1, y2: 15, class: "zero" })] : [];
    picture.append(
      svg("title", {}, text), ...zero,
      svg("line", { x1: x(low), x2: x(high), y1: 8, y2: 8, class: "range" }),
      svg("circle", { cx: x(value), cy: 8, r: 3.5 }),
    );
    return picture;
  };

  // Long lists, a page at a time.
  const pager = (rows, size, render) => {
    const body = h("div"), place = h("span", { class: "place", role: "status" });
    let start = 0;
    const show = (next) => {
      start = Math.max(0, Math.min(next, Math.max(0, Math.ceil(rows.length / size) - 1) * size));
      const shown = rows.slice(start, start + size);
      place.textContent = rows.length
        ? `${(start + 1).toLocaleString("en")}–${(start + shown.length).toLocaleString("en")} of ${rows.length.toLocaleString("en")}`
        : "none";
      back.disabled = start === 0;
      on.disabled = start + size >= rows.length;
      body.replaceChildren(render(shown, start));
    };
    const back = button("Back", () => show(start - size));
    const on = button("Next", () => show(start + size));
    show(0);
    return h("div", { class: "pager" }, body, h("div", { class: "turn" }, back, place, on));
  };

  // Pictures that the owner of this site has made; nothing otherwise.
  let numbers;
  const pictures = async () => { numbers ??= await RSITR.load("data/pictures.js").catch(() => ({})); };
  const picture = (dataset, image) => {
    const number = numbers?.[dataset]?.[image];
    if (number === undefined) return "";
    const source = `pictures/${encodeURIComponent(dataset)}/${number}.jpg`;
    const shown = h("img", { src: source, alt: image, loading: "lazy", width: "96", height: "96" });
    shown.addEventListener("error", () => shown.replaceWith(h("span", { class: "gone" }, "no picture")));
    return shown;
  };

  return {
    select, segments, checks, button, link, note, mark, table, facts, section, copied, interval, pager, pictures, picture, training,
  };
})();
