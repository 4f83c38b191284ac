"use strict";
// The columns of the leaderboard: what a row shows, how it is sorted, and what it is called in a file.
RSITR.columns = (() => {
  const { h, site } = RSITR;
  const { mark, link, interval, training } = RSITR.parts;
  const ABSENT = "–";

  const number = (row, metric) => row.numbers[metric];
  const value = (metric) => (row) => number(row, metric)?.mean;
  const marks = (row) => [mark("†", row.stale), mark("‡", row.leaks), mark("external", training(row))];

  const shownNumber = (metric) => (row) => {
    const found = number(row, metric);
    if (!found) return h("span", { class: "na", title: row.reason || "not stated in the records" }, "NA");
    const [mean, spread] = found.text.split(" ± ");
    return h(found.best ? "b" : "span", {}, mean, spread ? h("span", { class: "spread" }, ` ± ${spread}`) : "");
  };
  const textNumber = (metric) => (row) => number(row, metric)?.text ?? "NA";

  const name = (row, several) => h("span", { class: "name" },
    link(row.method, "cell", [row.dataset, row.method]), " ", marks(row),
    several ? h("small", {}, RSITR.heading(row.dataset)) : "");

  const published = (row) => {
    const mr = row.published?.values.mr;
    if (mr === undefined) return h("span", { class: "na" }, "");
    const about = [row.published.text, row.published.wrong].filter(Boolean).join("; ");
    return h("span", { title: about }, mr.toFixed(2), mark("*", row.published.wrong));
  };
  const delta = (row, metric) => {
    if (!row.published) return "";
    if (row.incomparable) return h("abbr", { class: "na", title: row.incomparable, tabindex: "0" }, "n/c");
    const found = row.published.deltas[metric];
    return found === undefined ? "" : `${found > 0 ? "+" : ""}${found.toFixed(2)}`;
  };
  const deltaText = (row) => !row.published ? "" : row.incomparable ? "n/c" : row.published.deltas.mr?.toFixed(2) ?? "";

  // prefix: "" or "dup_" for counted recalls; scale: ends of the intervals of the rows shown.
  const all = (prefix, several, scale) => {
    const mr = `${prefix}mr`;
    const column = (field, title, extra) => ({ field, title, ...extra });
    const recall = (metric) => column(prefix + metric, site().metrics[metric], {
      value: value(prefix + metric), show: shownNumber(prefix + metric), text: textNumber(prefix + metric), width: 106,
    });
    return [
      column("method", "method", { value: (row) => row.method, show: (row) => name(row, several), text: (row) => row.method, frozen: true, width: window.innerWidth > 700 ? 200 : 132, left: true }),
      column(mr, "mR", { value: value(mr), show: shownNumber(mr), text: textNumber(mr), width: 118, strong: true }),
      column("interval", "95 % interval", {
        value: (row) => number(row, mr)?.low ?? undefined, width: 132, left: true,
        show: (row) => {
          const found = number(row, mr);
          return found?.low == null ? "" : interval(found.mean, found.low, found.high, ...scale());
        },
        text: (row) => number(row, mr)?.low == null ? "" : `${number(row, mr).low.toFixed(2)} to ${number(row, mr).high.toFixed(2)}`,
      }),
      column("group", "group", { value: (row) => number(row, mr)?.group || undefined, show: (row) => number(row, mr)?.group ?? "", text: (row) => number(row, mr)?.group ?? "", width: 104, left: true, help: site().method }),
      column("seeds", "seeds", { value: (row) => row.seeds, show: (row) => seeds(row), text: seeds, width: 72 }),
      ...Object.keys(site().metrics).filter((metric) => metric !== "mr").map(recall),
      ...(prefix || !site().rows.some((row) => row.published) ? [] : [
        column("published", "published mR", { value: (row) => row.published?.values.mr, show: published, text: (row) => row.published?.values.mr?.toFixed(2) ?? "", width: 118 }),
        column("delta", "Δ mR", { value: (row) => row.published?.deltas.mr, show: (row) => delta(row, "mr"), text: deltaText, width: 76 }),
      ]),
      column("train_s", "training s", { value: value("train_s"), show: shownNumber("train_s"), text: textNumber("train_s"), width: 150 }),
      column("role", "role", { value: (row) => row.role, show: (row) => row.role, text: (row) => row.role, width: 88, left: true }),
      column("ended", "ended", { value: (row) => row.ended, show: (row) => row.ended || ABSENT, text: (row) => row.ended, width: 140, left: true }),
      column("note", "note", { value: (row) => row.reason || row.stale, show: remarks, text: remarksText, width: 320, left: true }),
    ];
  };
  const seeds = (row) => row.seeds === row.expected ? String(row.seeds) : `${row.seeds}/${row.expected}`;
  const remarksText = (row) => [row.reason, row.stale && `† ${row.stale}`, row.leaks && `‡ ${row.leaks}`, training(row)].filter(Boolean).join("; ");
  const remarks = (row) => h("span", { class: "remark", title: remarksText(row) }, h("bdi", {}, remarksText(row)));

  return { all };
})();
