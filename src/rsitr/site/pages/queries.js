"use strict";
// The stored queries of a cell in both directions: ranks, and the first ten items where they are kept.
RSITR.queries = (() => {
  const { h, site } = RSITR;
  const { link, note, pager, picture, pictures, segments, select } = RSITR.parts;
  const SHOWS = [["all", "all"], ["first", "found first"], ["missed", "not among the first ten"]];

  // Names and words of a test set. Captions are numbered image by image.
  const names = async (dataset) => {
    const found = await RSITR.load(RSITR.dataset(dataset).file);
    if (!found.image_of) {
      found.image_of = found.captions_of.flatMap((count, image) => Array(count).fill(image));
      found.first = [];
      found.captions_of.reduce((start, count) => { found.first.push(start); return start + count; }, 0);
    }
    return found;
  };
  const captionName = (found, caption) => {
    const image = found.image_of[caption];
    return `${found.images[image]}#${caption - found.first[image] + 1}`;
  };
  const caption = (found, place) => found.captions ? found.captions[place] : captionName(found, place);
  const title = (found, direction, place) => direction === "i2t" ? found.images[place] : caption(found, place);

  // Whether an item belongs to the query itself, or is identical to what does; undefined where that is not known.
  const kind = (found, direction, query, item) => {
    const [image, text] = direction === "i2t" ? [query, item] : [item, query];
    if (found.image_of[text] === image) return "own";
    if (!found.texts) return undefined;
    found.fitting ??= found.images.map(() => undefined);
    const group = found.pictures[image];
    found.byPicture ??= Map.groupBy(found.images.keys(), (each) => found.pictures[each]);
    found.fitting[group] ??= new Set(found.byPicture.get(group).flatMap((each) => found.texts.slice(found.first[each], found.first[each] + found.captions_of[each])));
    return found.fitting[group].has(found.texts[text]) ? "same" : "";
  };

  const item = (dataset, found, direction, query, each, place, score) => {
    const what = kind(found, direction, query, each);
    const text = direction === "i2t" ? caption(found, each) : found.images[each];
    const shown = direction === "t2i" ? picture(dataset, found.images[each]) : "";
    const label = what === "own" ? " · its own" : what === "same" ? " · identical" : "";
    return h("li", { class: what ?? "" }, shown, h("span", { class: "place" }, `${place + 1}${score == null ? "" : ` · ${score.toFixed(3)}`}${label}`),
      h("bdi", { dir: "auto" }, text), found.captions && direction === "i2t" ? h("small", {}, " ", h("bdi", {}, captionName(found, each))) : "");
  };
  const asked = (dataset, found, direction, place) => {
    const image = direction === "i2t" ? place : found.image_of[place];
    return h("div", { class: "asked" }, direction === "i2t" ? picture(dataset, found.images[image]) : "",
      h("div", {}, h("h2", { dir: "auto" }, h("bdi", {}, title(found, direction, place))),
        h("p", { class: "note" }, direction === "i2t" ? `An image query${found.classes?.[image] ? `, class ${found.classes[image]}` : ""}` : `A caption query, ${captionName(found, place)}`)));
  };

  const answer = (state, found, stored, place) => {
    const { dataset, direction } = state;
    const ranks = Object.entries({ plain: "rank", counted: "dup_rank", "re-ranked": "rr_rank" })
      .filter(([, column]) => stored.ranks[column]).map(([name, column]) => `${name} ${stored.ranks[column][direction][place]}`);
    const top = stored.top?.[direction][place];
    const list = top
      ? h("ol", { class: "found" }, top.map((each, number) => item(dataset, found, direction, place, each, number, stored.scores?.[direction][place][number])))
      : note("The first ten items of this cell are not kept: git has those of seed 0, and training it makes them.");
    return h("div", { class: "answer", "data-query": String(place) }, asked(dataset, found, direction, place),
      note(`Rank of the first fitting ${direction === "i2t" ? "caption" : "image"}: ${ranks.join(", ")}.`), list,
      found.texts || !top ? "" : note("Identical captions and pictures are marked where the dataset is on the machine that built this site."));
  };

  const given = ({ parts, query }) => {
    const dataset = parts[0] ?? site().datasets.find((each) => each.queries.length)?.name ?? site().datasets[0].name;
    const stored = RSITR.dataset(dataset)?.queries ?? [];
    const method = parts[1] ?? (stored.find((each) => each.top) ?? stored[0])?.method ?? "";
    const seeds = stored.filter((each) => each.method === method);
    const seed = parts[2] ?? String(seeds[0]?.seed ?? "");
    return { dataset, stored, method, seeds, seed, direction: parts[3] ?? "t2i", show: query.get("show") ?? "all", q: query.get("q") };
  };

  const render = async (root, address) => {
    const state = given(address);
    const to = (changes) => {
      const next = { ...state, ...changes };
      RSITR.go("queries", [next.dataset, next.method, next.seed, next.direction].filter((part) => part !== ""), { show: next.show === "all" ? undefined : next.show });
    };
    const { dataset, direction } = state;
    const methods = [...new Map(state.stored.map((each) => [each.method, each.top])).entries()].map(([method, top]) => [method, top ? `${method} (first ten)` : method]);
    root.append(h("h1", {}, "Queries"), h("div", { class: "controls" },
      h("div", { class: "first" },
        segments("Dataset", site().datasets.map(({ name }) => [name, RSITR.heading(name)]), dataset, (name) => RSITR.go("queries", [name])),
        segments("Query", [["t2i", "a caption"], ["i2t", "an image"]], direction, (value) => to({ direction: value }))),
      h("div", { class: "fields" },
        select("Row", methods, state.method, (method) => RSITR.go("queries", [dataset, method])),
        segments("Seed", state.seeds.map((each) => [String(each.seed), String(each.seed)]), state.seed, (seed) => to({ seed })),
        select("Show", SHOWS, state.show, (show) => to({ show })))));
    const file = state.seeds.find((each) => String(each.seed) === state.seed)?.file;
    if (!file) return void root.append(note("No query of this is stored: the cell has not run, it failed, or it was tested on other images or captions than the first row of the dataset.", "bad"));
    const [found, stored] = await Promise.all([names(dataset), RSITR.load(file), pictures()]);
    const ranks = stored.ranks.rank[direction];
    const fits = { all: () => true, first: (rank) => rank === 1, missed: (rank) => rank > 10 }[state.show] ?? (() => true);
    const places = [...ranks.keys()].filter((place) => fits(ranks[place]));
    const box = h("div", { class: "chosen" });
    const choose = (place) => {
      box.replaceChildren(place === undefined ? note("No query fits.") : answer(state, found, stored, place));
      for (const each of root.querySelectorAll(".choices a")) {
        if (each.dataset.place === String(place)) each.setAttribute("aria-current", "true");
        else each.removeAttribute("aria-current");
      }
    };
    const line = (place) => h("li", {}, h("a", {
      href: RSITR.address("queries", address.parts, { ...Object.fromEntries(address.query), q: String(place) }), "data-place": String(place),
      onclick: (event) => { event.preventDefault(); RSITR.choose({ q: String(place) });
        choose(place);
        if (window.innerWidth <= 700) box.scrollIntoView();
      },
    }, h("bdi", { dir: "auto" }, title(found, direction, place)), h("span", { class: "place" }, `rank ${ranks[place]}`)));
    root.append(h("p", {}, link(`${state.method} on ${dataset}`, "cell", [dataset, state.method], { seed: state.seed })),
      h("div", { class: "split" }, pager(places, 25, (shown) => h("ul", { class: "choices" }, shown.map(line))), box));
    choose(state.q !== null && Number(state.q) < ranks.length ? Number(state.q) : places[0]);
  };
  RSITR.page("queries", "Queries", render);
  return { names, title };
})();
