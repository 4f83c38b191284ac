"use strict";
// Pictures by a text, captions and similar pictures by a picture, and places of a scene by a text.
(() => {
  const { h, site } = RSITR;
  const { numbers, encode, ask, served, cosines, best, row } = RSITR.tower;
  const { link, note, pager, picture, pictures, section, segments } = RSITR.parts;
  const TOP = 10, GALLERY = 48, WAIT = 150;

  // What is searched, with its numbers unpacked once.
  const kept = new Map();
  const unpacked = async (file) => {
    if (!kept.has(file)) {
      const found = await RSITR.load(file);
      kept.set(file, { ...found, rows: numbers(found.embeddings) });
    }
    return kept.get(file);
  };

  const tower = (about) => served === about.model ? "served" : about.tower ? "page" : "";
  const TOWERS = {
    served: "The model itself answers, through rsitr serve.",
    page: "The small text tower of this page answers. Its words are those of the training captions and common English ones.",
    "": "These pictures were encoded by another model than the one whose text tower is in this page. Open this folder by rsitr serve with that model to search in words.",
  };

  const cosine = (score, place) => h("span", { class: "place" }, `${place + 1} · ${score.toFixed(3)}`);
  const address = (about, image) => RSITR.address("search", [about.name], { image });
  const tile = (about, name, above = "") => {
    const shown = picture(about.name, name) || h("span", { class: "gone" }, "no picture");
    // The name is in the same link.
    if (shown.alt) shown.alt = "";
    return h("li", {}, h("a", { href: address(about, name) }, shown, above, h("bdi", { dir: "auto" }, name)));
  };
  const tiles = (about, data, scores, places) => h("ol", { class: "tiles" }, places.map((place, number) => tile(about, data.names[place], cosine(scores[place], number))));

  const byPicture = async (about, data, name) => {
    const place = data.names.indexOf(name);
    if (place < 0) return [note(`There is no picture ${name} here.`, "bad")];
    const query = row(data.rows, place, data.rows.length / data.names.length), near = cosines(data.rows, query);
    const parts = [h("div", { class: "asked" }, picture(about.name, name), h("div", {}, h("h2", {}, h("bdi", { dir: "auto" }, name)), h("p", {}, link("All pictures", "search", [about.name]))))];
    if (about.captions_file) {
      const captions = await unpacked(about.captions_file), scores = cosines(captions.rows, query);
      parts.push(section("Captions that fit best", note("By the text tower of the model itself, which encoded all captions when this page was made."),
        h("ol", { class: "found" }, best(scores, TOP).map((each, number) => h("li", {}, cosine(scores[each], number), h("bdi", { dir: "auto" }, captions.texts[each]), h("small", {}, " ", h("bdi", {}, captions.names[each])))))));
    }
    parts.push(section("Similar pictures", tiles(about, data, near, best(near, TOP + 1).filter((each) => each !== place).slice(0, TOP))));
    return parts;
  };
  const gallery = (about, data) => [note(`${about.count.toLocaleString("en")} pictures. Type what to look for, or choose one${about.captions_file ? " to see which captions fit it" : " to see which are similar"}.`),
    pager(data.names, GALLERY, (shown) => h("ul", { class: "tiles" }, shown.map((name) => tile(about, name))))];

  const said = (unknown, milliseconds) => [`${milliseconds < 10 ? milliseconds.toFixed(1) : Math.round(milliseconds)} ms.`,
    unknown.length ? [" Passed over, since the tower does not know them: ", h("bdi", {}, unknown.join(", ")), "."] : ""];

  const render = async (root, { parts: [name], query }) => {
    const all = site().searched, about = all.find((each) => each.name === (name ?? all[0]?.name));
    root.append(h("h1", {}, "Search"));
    if (!about) throw new Error(`Nothing called ${name} is searched here.`);
    if (all.length > 1) root.append(segments("In", all.map((each) => [each.name, RSITR.heading(each.name)]), about.name, (chosen) => RSITR.go("search", [chosen])));
    const [data] = await Promise.all([unpacked(about.file), pictures()]);
    const field = h("input", { type: "search", id: "look-for", value: query.get("text"), disabled: !tower(about), autocomplete: "off", maxlength: "1000", dir: "auto", oninput: () => later() });
    const status = h("p", { class: "note", role: "status" }), box = h("div", { class: about.tiles ? "results above" : "results" });
    const scene = about.tiles ? await RSITR.scene.view(about, data) : undefined;
    const asked = h("form", { class: "asking", role: "search", onsubmit: (event) => { event.preventDefault(); now(); } },
      h("label", { for: "look-for" }, `Look for, in ${about.name}`), h("div", {}, field, h("button", { type: "submit", disabled: !tower(about) }, "Search")));
    root.append(asked, note(TOWERS[tower(about)]), status, box, scene?.element ?? "");
    await scene?.open();

    // Only the last of several answers is shown.
    let turn = 0, waiting;
    const nothing = () => { status.replaceChildren(); box.replaceChildren(...scene ? [note("Type what to look for.")] : gallery(about, data)); scene?.clear(); };
    const byText = async (text) => {
      const mine = ++turn;
      if (!text.trim()) return nothing();
      const begun = performance.now();
      const { embedding, unknown } = await (tower(about) === "served" ? ask : encode)(text);
      if (mine !== turn) return undefined;
      if (!embedding) {
        status.replaceChildren("The tower knows none of these words: ", h("bdi", {}, text), ".");
        box.replaceChildren();
        return scene?.clear();
      }
      const scores = cosines(data.rows, embedding), took = performance.now() - begun;
      status.replaceChildren(...said(unknown, took).flat());
      if (scene) box.replaceChildren(scene.show(scores, TOP));
      else box.replaceChildren(tiles(about, data, scores, best(scores, TOP)));
      box.dataset.for = text;
      return undefined;
    };
    const now = async () => {
      clearTimeout(waiting);
      RSITR.choose({ text: field.value, image: "" });
      try { await byText(field.value); } catch (error) { status.replaceChildren(`No answer: ${error.message}`); box.replaceChildren(); }
    };
    const later = () => { clearTimeout(waiting); waiting = setTimeout(now, WAIT); };
    // It takes a second to unpack, during which the first text is typed.
    if (tower(about) === "page") encode("").catch(() => undefined);
    if (query.get("image") && !scene) box.replaceChildren(...await byPicture(about, data, query.get("image")));
    else if (query.get("text") && tower(about)) await byText(query.get("text"));
    else nothing();
  };
  if (site().searched?.length) RSITR.page("search", "Search", render);
})();
