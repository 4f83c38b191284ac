"use strict";
// A row: its numbers, seeds, curves, settings against the published ones, tuning, and its records as they are.
(() => {
  const { h, site } = RSITR;
  const { copied, facts, link, note, section, segments, table, training } = RSITR.parts;
  const text = (value) => typeof value === "string" ? value : JSON.stringify(value);

  const status = (row) => {
    const chips = [h("span", { class: "chip" }, row.role), h("span", { class: row.status === "ok" ? "chip" : "chip bad" }, row.status)];
    for (const [name, value] of [["backbone", row.backbone], ["family", row.family], ["seeds", `${row.seeds} of ${row.expected}`], ["ended", row.ended]]) {
      if (value) chips.push(h("span", { class: "chip" }, `${name}: `, h("bdi", {}, value)));
    }
    return h("div", { class: "lead" }, chips);
  };
  const states = (row) => [
    row.reason && note(`NA: ${row.reason}`, "bad"),
    row.stale && note(`† ${row.stale}`),
    row.leaks && note(`‡ ${row.leaks}`),
    row.role === "external" && note(`External: ${training(row)}.`),
  ];

  const numbers = (row) => {
    const { ceilings, synthetic } = RSITR.dataset(row.dataset);
    const shown = (metric) => {
      const found = row.numbers[metric];
      return found ? h(found.best ? "b" : "span", {}, found.text) : h("span", { class: "na" }, "NA");
    };
    const metrics = Object.entries(site().metrics);
    const lines = [["plain", ...metrics.map(([metric]) => shown(metric))], ["counted", ...metrics.map(([metric]) => shown(`dup_${metric}`))]];
    if (Object.keys(ceilings).length) lines.push(["ceiling of plain", ...metrics.map(([metric]) => ceilings[metric]?.toFixed(2) ?? "")]);
    if (row.published && !synthetic) {
      lines.push([h("span", { title: row.published.text }, "published"), ...metrics.map(([metric]) => row.published.values[metric]?.toFixed(2) ?? "")]);
      if (!row.incomparable) lines.push(["Δ", ...metrics.map(([metric]) => row.published.deltas[metric]?.toFixed(2) ?? "")]);
    }
    const groups = ["", "dup_"].map((prefix) => row.numbers[`${prefix}mr`]).map((mr, place) => mr?.low == null ? "" :
      `${["plain", "counted"][place]} mR: 95 % interval ${mr.low.toFixed(2)} to ${mr.high.toFixed(2)}${mr.group ? `, groups ${mr.group}` : ""}. `).join("");
    return section("Recalls on test, %", table("Recalls", ["recalls", ...metrics.map(([, head]) => head)], lines, "numbers"),
      groups ? note(groups) : "",
      row.published ? note(`Published: ${row.published.text}${row.published.wrong ? `; ${row.published.wrong}` : ""}.${row.incomparable ? " No difference is shown, since this row departs from the published method as listed below." : ""}`) : "");
  };

  const curves = (detail) => {
    const rows = detail.seeds.flatMap(({ seed, history }) => history.flatMap((epoch) => [["plain", epoch.val_mr], ["counted", epoch.val_dup_mr]]
      .filter(([, value]) => value).map(([kind, value]) => ({ series: `seed ${seed}, ${kind}`, x: Number(epoch.epoch), y: Number(value) }))));
    const losses = detail.seeds.flatMap(({ seed, history }) => history.filter(({ loss }) => loss)
      .map((epoch) => ({ series: `seed ${seed}`, x: Number(epoch.epoch), y: Number(epoch.loss) })));
    if (!rows.length) return "";
    return section("Training", h("div", { class: "charts" },
      RSITR.charts.curves({ x: "epoch", y: "mR on val, %", rows, points: true, whole: true }),
      losses.length ? RSITR.charts.curves({ x: "epoch", y: "loss", rows: losses, points: true, whole: true }) : ""));
  };

  const departures = ({ deviations }) => {
    const changed = deviations.filter((each) => each.setting), other = deviations.filter((each) => !each.setting);
    if (!deviations.length) return "";
    return section("Departures from the published method",
      other.length ? h("ul", {}, other.map((each) => h("li", { dir: "auto" }, each.text))) : "",
      changed.length ? table("Settings against the published ones", ["setting", "here", "published"], changed.map((each) => [h("code", {}, each.setting), each.ours, each.published]), "settings texts") : "");
  };
  const settings = (detail) => Object.keys(detail.settings).length === 0 ? "" : section("All settings", h("details", {},
    h("summary", {}, `${Object.keys(detail.settings).length} settings`),
    table("All settings", ["setting", "value"], Object.entries(detail.settings).map(([name, value]) => [h("code", {}, name), h("code", {}, text(value))]), "settings")));

  const tuning = ({ tuning: found }) => {
    if (!found) return "";
    if (!found.trials) return section("Tuning", note(`${found.place}: ${found.reason}`));
    const names = [...new Set(found.trials.flatMap((trial) => Object.keys(trial.settings)))];
    const best = (trial) => found.best && JSON.stringify(trial.settings) === JSON.stringify(found.best);
    const percent = (value) => value == null ? "" : value.toFixed(2);
    const lines = found.trials.map((trial) => [String(trial.number), h(best(trial) ? "b" : "span", {}, percent(trial.merit)), percent(trial.val_mr), String(trial.steps), trial.seconds.toFixed(0), ...names.map((name) => text(trial.settings[name] ?? "")), trial.status + (trial.reason ? `: ${trial.reason}` : "")]);
    return section("Tuning", note(`${found.place}: trials judged on val by duplicate-aware mR; test takes no part.${found.edges.length ? ` At the edge of what was searched: ${found.edges.join(", ")}.` : ""}${found.stale.length ? ` † made by other ${found.stale.join(" and ")} than the present.` : ""}`),
      table("Trials", ["trial", "counted mR on val", "plain", "steps", "s", ...names, "ended"], lines, "", [...Array(5 + names.length).keys()].slice(1)));
  };

  const provenance = ({ identities }) => {
    const lines = identities.map((each) => [each.part, each.state + (each.certificates.length ? ` by ${each.certificates.length}` : ""), h("code", { title: each.recorded }, each.recorded.slice(0, 16)), h("code", { title: each.present }, each.present.slice(0, 16))]);
    const certificates = identities.flatMap((each) => each.certificates.map((one) => [one.part, one.kind, h("code", {}, one.old.slice(0, 12)), h("code", {}, one.new.slice(0, 12)), h("code", {}, `${one.base.slice(0, 9)} → ${one.head.slice(0, 9)}`), one.evidence.slice(0, 40)]));
    return [h("h3", {}, "Identities"), table("Identities", ["part", "record and present", "recorded", "present"], lines),
      certificates.length ? [h("h3", {}, "Certificates"), table("Certificates", ["part", "kind", "old", "new", "commits", "evidence"], certificates)] : ""];
  };
  const lists = (record) => {
    const found = (() => { try { return JSON.parse(record); } catch { return null; } })();
    if (!found) return note("This record cannot be read; its text is below.", "bad");
    const each = (value, unit = "") => Object.entries(value ?? {}).map(([name, one]) => `${name} ${text(one)}${unit}`).join(", ");
    return facts([
      ["chosen epoch", each(found.selection)], ["time", each(found.seconds, " s")], ["peak memory", each(found.peak_memory_mib, " MiB")],
      ["parameters", Object.entries(found.parameters ?? {}).map(([name, count]) => `${name} ${count.toLocaleString("en")}`).join(", ")],
      ["machine", each(found.machine)], ["versions", each(found.versions)],
      ["data", each(found.data)], ["data SHA-256", found.data_sha], ["weights SHA-256", found.weights_sha], ["rests on", each(found.used)],
    ]);
  };

  const seedPart = (row, each) => {
    const stored = RSITR.dataset(row.dataset).queries.find((one) => one.method === row.method && one.seed === each.seed);
    return h("div", { class: "seed" },
      each.reason ? note(each.reason, "bad") : "", each.stale ? note(`† ${each.stale}`) : "",
      stored ? h("p", {}, link("Its queries", "queries", [row.dataset, row.method, String(each.seed)])) : "",
      each.command ? copied(each.command) : "",
      each.record ? lists(each.record) : note("No record yet."),
      each.identities.length ? provenance(each) : "",
      each.record ? [h("h3", {}, h("bdi", {}, each.source)), h("pre", { class: "record", tabindex: "0" }, each.record)] : "");
  };

  const render = async (root, { parts: [dataset, method], query }) => {
    const row = RSITR.row(dataset, method);
    if (!row) throw new Error(`${method} on ${dataset} is not part of ${site().experiment}.`);
    const detail = await RSITR.load(row.file);
    const box = h("div"), seeds = detail.seeds.map((each) => [String(each.seed), String(each.seed)]);
    const show = (seed) => {
      const found = detail.seeds.find((each) => String(each.seed) === seed) ?? detail.seeds[0];
      box.replaceChildren(found ? seedPart(row, found) : "");
    };
    const chosen = query.get("seed") ?? seeds[0]?.[0];
    root.append(
      h("h1", {}, h("bdi", {}, method), " on ", RSITR.heading(dataset)), status(row), ...states(row).filter(Boolean),
      h("p", {}, link("Compare with another row", "compare", [], { dataset, a: method })),
      numbers(row), curves(detail), departures(detail), tuning(detail), settings(detail),
      seeds.length ? section("Records", segments("Seed", seeds, chosen, (seed) => { RSITR.choose({ seed }); show(seed); }), box) : "");
    show(chosen);
  };
  RSITR.page("cell", "Row", render);
})();
