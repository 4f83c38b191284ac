"use strict";
// The frame around all pages: navigation, theme, what could not be read, and which page the address means.
(() => {
  const { h, pages, site } = RSITR;
  const main = document.getElementById("main");
  const NAV = ["leaderboard", "compare", "queries", "search", "data", "papers"].filter((name) => pages.has(name));
  const THEMES = ["auto", "light", "dark"];
  const kept = () => {
    try { return localStorage.getItem("rsitr-theme") ?? "auto"; } catch { return "auto"; }
  };

  const theme = (name) => {
    document.documentElement.dataset.theme = name;
    const button = document.getElementById("theme");
    button.textContent = { auto: "Auto", light: "Light", dark: "Dark" }[name];
    button.title = "Colours: as the system has them, light, dark";
    button.setAttribute("aria-label", `Colours: ${name}`);
    try { localStorage.setItem("rsitr-theme", name); } catch { /* the choice lasts as long as the page */ }
    document.dispatchEvent(new Event("rsitr-theme"));
  };

  const navigation = (current) => document.getElementById("nav").replaceChildren(...NAV.map((name) => h(
    "a", { href: RSITR.address(name), "aria-current": name === current ? "page" : undefined }, pages.get(name).title)));

  const problems = () => site().problems.length === 0 ? "" : h(
    "details", { class: "problems" },
    h("summary", {}, `${site().problems.length} ${site().problems.length === 1 ? "thing" : "things"} could not be read; the rest is shown`),
    h("ul", {}, site().problems.map((text) => h("li", { dir: "auto" }, text))));

  let turn = 0;
  const show = async () => {
    const mine = ++turn;
    const state = RSITR.parse();
    const page = pages.get(state.page);
    navigation(page ? state.page : "");
    const body = h("div", { class: "page", "data-page": state.page });
    main.replaceChildren(problems(), body);
    document.title = `${page?.title ?? "Not found"} – ${site().experiment}`;
    try {
      if (!page) throw new Error(`There is no page ${state.page}.`);
      await page.render(body, state);
    } catch (error) {
      body.replaceChildren(h("h1", {}, page?.title ?? "Not found"), h("p", { class: "note bad", role: "alert" }, error.message));
    }
    if (mine === turn) main.dataset.ready = state.page;
  };

  document.getElementById("experiment").textContent = site().experiment;
  document.getElementById("theme").addEventListener("click", () => theme(THEMES[(THEMES.indexOf(document.documentElement.dataset.theme) + 1) % 3]));
  document.getElementById("foot").append(h("span", {}, `${site().made_by}. Made by `, h("code", {}, site().reproduce),
    site().command ? ["; all results by ", h("code", {}, site().command)] : "", "."));
  document.querySelector(".skip").addEventListener("click", (event) => { event.preventDefault(); main.focus(); });
  theme(kept());
  window.addEventListener("hashchange", () => { delete main.dataset.ready; show(); main.focus({ preventScroll: true }); window.scrollTo(0, 0); });
  show();
})();
