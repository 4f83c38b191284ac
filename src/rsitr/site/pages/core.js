"use strict";
// The one global: data that scripts put in, the address, pages, and the building of elements.
const RSITR = (() => {
  const values = new Map();
  const waiting = new Map();
  const pages = new Map();

  // Text becomes a text node, whatever is in it; nothing here reads HTML.
  const h = (tag, properties, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(properties ?? {})) {
      if (value === undefined || value === null || value === false) continue;
      if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
      else if (name === "class") element.className = value;
      else if (name in element && typeof value === "boolean") element[name] = value;
      else element.setAttribute(name, value);
    }
    element.append(...children.flat(Infinity).filter((child) => child !== undefined && child !== null && child !== ""));
    return element;
  };
  const svg = (tag, properties, ...children) => {
    const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(properties)) element.setAttribute(name, value);
    element.append(...children);
    return element;
  };

  // Data. A script calls put; text is JSON packed by gzip.
  const put = (key, value) => values.set(key, value);
  const unpacked = async (text) => {
    const bytes = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return JSON.parse(await new Response(stream).text());
  };
  const script = (file) => {
    if (!waiting.has(file)) {
      waiting.set(file, new Promise((resolve, reject) => {
        const source = file.split("/").map(encodeURIComponent).join("/");
        const failed = () => {
          waiting.delete(file);
          reject(new Error(`${file} is missing: build the site again`));
        };
        document.head.append(h("script", { src: source, onload: resolve, onerror: failed }));
      }));
    }
    return waiting.get(file);
  };
  const load = async (file) => {
    const key = file.replace(/^data\//, "").replace(/\.js$/, "");
    await script(file);
    const value = values.get(key);
    if (typeof value === "string") values.set(key, await unpacked(value));
    return values.get(key);
  };
  const scripts = async (...files) => {
    for (const file of files) await script(file);
  };

  // The address: #/page/part/part?name=value
  const parse = () => {
    const [path, query] = location.hash.replace(/^#\/?/, "").split("?");
    const [page, ...parts] = path.split("/").map(decodeURIComponent);
    return { page: page || (pages.has("leaderboard") ? "leaderboard" : "search"), parts, query: new URLSearchParams(query ?? "") };
  };
  const address = (page, parts = [], query = {}) => {
    const given = new URLSearchParams(Object.entries(query).filter(([, value]) => value !== undefined && value !== ""));
    const path = [page, ...parts].map(encodeURIComponent).join("/");
    return `#/${path}${given.size ? `?${given}` : ""}`;
  };
  // What the reader chose on a page; the history keeps pages, not choices.
  const choose = (changes) => {
    const { page, parts, query } = parse();
    const all = { ...Object.fromEntries(query), ...changes };
    history.replaceState(null, "", address(page, parts, all));
  };
  const go = (...place) => { location.hash = address(...place); };

  const site = () => values.get("site");
  const dataset = (name) => site().datasets.find((each) => each.name === name);
  const row = (name, method) => site().rows.find((each) => each.dataset === name && each.method === method);
  const heading = (name) => dataset(name)?.synthetic ? `${name} (synthetic)` : name;
  const page = (name, title, render) => pages.set(name, { name, title, render });

  return { h, svg, put, load, scripts, parse, address, choose, go, site, dataset, row, heading, page, pages };
})();
