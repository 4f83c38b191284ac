"use strict";
// Two rows of a dataset: the difference, its significance, and the queries that one finds and the other does not.
(() => {
  const { h, site } = RSITR;
  const { interval, link, note, pager, section, segments, select } = RSITR.parts;
  const METRICS = { plain: "", counted: "dup_" };
  const RANKS = { plain: "rank", counted: "dup_rank" };
  const CUTOFFS = ["1", "5", "10"];

  // The rows of a dataset, the best main ones first.
  const ordered = (dataset) => site().rows.filter((row) => row.dataset === dataset)
    .toSorted((a, b) => (b.role === "main") - (a.role === "main") || (b.numbers.mr?.mean ?? -1) - (a.numbers.mr?.mean ?? -1));
  const given = (query) => {
    const dataset = query.get("dataset") ?? site().datasets[0].name;
    const best = ordered(dataset);
    const a = query.get("a") ?? best[0]?.method ?? "";
    return {
      dataset, a, b: query.get("b") ?? best.find((row) => row.method !== a)?.method ?? "",
      measure: query.get("measure") ?? "plain", k: query.get("k") ?? "1", seed: query.get("seed") ?? "",
      side: query.get("side") ?? "won",
    };
  };

  const pairOf = ({ methods, pairs }, a, b) => {
    const [first, second] = [methods.indexOf(a), methods.indexOf(b)];
    for (const [one, two, difference, low, high, p, family] of pairs) {
      if (one === first && two === second) return { difference, low, high, p, family };
      if (one === second && two === first) return { difference: -difference, low: -high, high: -low, p, family };
    }
    return undefined;
  };
  const signed = (value) => `${value > 0 ? "+" : value < 0 ? "−" : ""}${Math.abs(value).toFixed(2)}`;
  const probability = (p) => p < 0.001 ? "p < 0.001" : `p = ${p.toFixed(3)}`;

  const verdict = (state, found, compared) => {
    const reasons = [state.a, state.b].filter((each) => compared.left_out[each]).map((each) => `${each}: ${compared.left_out[each]}`);
    if (state.a === state.b) return note("Choose two different rows.");
    if (!found) return note(reasons.length ? `Not compared. ${reasons.join("; ")}` : "Not compared: a row has no number.", "bad");
    const limit = Math.max(Math.abs(found.low), Math.abs(found.high));
    const clear = found.p < 0.05;
    return h("div", {},
      h("p", { class: "verdict" }, h("b", {}, signed(found.difference)), ` mR (${state.measure}), 95 % interval ${signed(found.low)} to ${signed(found.high)}, ${probability(found.p)} after Holm's correction. `,
        h("span", { class: clear ? "good" : "" }, clear ? `${found.difference > 0 ? state.a : state.b} scores higher.` : "Significance cannot tell them apart.")),
      interval(found.difference, found.low, found.high, -limit, limit, 320),
      note(`One of ${found.family.toLocaleString("en")} comparisons. ${site().method}`));
  };

  const stored = (dataset, method) => RSITR.dataset(dataset).queries.filter((each) => each.method === method);
  const queries = async (root, state, changed) => {
    const [first, second] = [state.a, state.b].map((method) => stored(state.dataset, method));
    const common = first.filter((one) => second.some((two) => two.seed === one.seed)).map((one) => String(one.seed));
    if (!common.length || state.a === state.b) return;
    const seed = common.includes(state.seed) ? state.seed : common[0];
    const file = (list) => list.find((each) => String(each.seed) === seed).file;
    const [names, a, b] = await Promise.all([RSITR.queries.names(state.dataset), RSITR.load(file(first)), RSITR.load(file(second))]);
    const column = RANKS[state.measure], k = Number(state.k);
    if (!a.ranks[column] || !b.ranks[column]) return void root.append(note(`A record has no ${state.measure} ranks.`, "bad"));
    const found = { won: [], lost: [] };
    for (const direction of ["i2t", "t2i"]) {
      const [one, two] = [a.ranks[column][direction], b.ranks[column][direction]];
      one.forEach((rank, place) => {
        if ((rank <= k) !== (two[place] <= k)) found[rank <= k ? "won" : "lost"].push({ direction, place, ours: rank, theirs: two[place] });
      });
    }
    const total = a.ranks[column].i2t.length + a.ranks[column].t2i.length;
    const sides = [["won", `${state.a} alone: ${found.won.length.toLocaleString("en")}`], ["lost", `${state.b} alone: ${found.lost.length.toLocaleString("en")}`]];
    const line = (each) => h("li", {}, h("a", { href: RSITR.address("queries", [state.dataset, each.ours <= k ? state.a : state.b, seed, each.direction], { q: String(each.place) }) },
      h("bdi", {}, RSITR.queries.title(names, each.direction, each.place)), h("span", { class: "place" }, `${each.direction} · ${each.ours} against ${each.theirs}`)));
    root.append(section("Queries that one of them finds",
      h("div", { class: "fields" },
        segments("Among the first", CUTOFFS.map((cut) => [cut, cut]), state.k, (value) => changed({ k: value })),
        segments("Seed", common.map((each) => [each, each]), seed, (value) => changed({ seed: value })),
        segments("Found by", sides, state.side, (value) => changed({ side: value }))),
      note(`Of ${total.toLocaleString("en")} queries in both directions. The numbers are the ranks of the first fitting item.`),
      pager(found[state.side], 40, (shown) => h("ul", { class: "choices" }, shown.map(line)))));
  };

  const render = async (root, { query }) => {
    const state = given(query);
    const changed = (changes) => {
      if ("dataset" in changes) Object.assign(changes, { a: undefined, b: undefined, seed: undefined });
      RSITR.choose(changes);
      root.replaceChildren();
      return render(root, RSITR.parse());
    };
    const methods = site().rows.filter((row) => row.dataset === state.dataset).map((row) => [row.method, row.numbers.mr ? row.method : `${row.method} (NA)`]);
    const compared = (await RSITR.load(RSITR.dataset(state.dataset).pairs_file))[METRICS[state.measure]];
    root.append(
      h("h1", {}, "Compare two rows"),
      h("div", { class: "controls" },
        h("div", { class: "first" },
          segments("Dataset", site().datasets.map(({ name }) => [name, RSITR.heading(name)]), state.dataset, (dataset) => changed({ dataset })),
          segments("Recalls", Object.keys(METRICS).map((name) => [name, name]), state.measure, (measure) => changed({ measure }))),
        h("div", { class: "fields" }, select("A", methods, state.a, (a) => changed({ a })), select("B", methods, state.b, (b) => changed({ b })))),
      verdict(state, pairOf(compared, state.a, state.b), compared),
      h("p", {}, link(state.a, "cell", [state.dataset, state.a]), " · ", link(state.b, "cell", [state.dataset, state.b])));
    await queries(root, state, changed);
  };
  RSITR.page("compare", "Compare", render);
})();
