"use strict";
// Embeddings: numbers in half precision, the text tower of the page, that of `rsitr serve`, and the best of a list.
RSITR.tower = (() => {
  // Value of every number in half precision, by its bits.
  const HALVES = Float32Array.from({ length: 65536 }, (_, bits) => {
    const sign = bits & 0x8000 ? -1 : 1, exponent = (bits >> 10) & 31, rest = bits & 1023;
    if (exponent === 31) return rest ? NaN : sign * Infinity;
    return sign * (exponent ? 2 ** (exponent - 15) * (1 + rest / 1024) : 2 ** -14 * (rest / 1024));
  });
  const numbers = (text) => {
    const bytes = atob(text), found = new Float32Array(bytes.length / 2);
    for (let place = 0; place < found.length; place++) found[place] = HALVES[bytes.charCodeAt(2 * place) | bytes.charCodeAt(2 * place + 1) << 8];
    return found;
  };

  // As rsitr.captions.words reads a text.
  const words = (text) => text.toLowerCase().match(/[a-z0-9]+(?:['-][a-z0-9]+)*/g) ?? [];
  const linear = (input, weight, bias) => Float64Array.from(bias, (start, row) => {
    let sum = start;
    for (let place = 0; place < input.length; place++) sum += weight[row * input.length + place] * input[place];
    return sum;
  });
  const unit = (vector) => {
    const length = Math.hypot(...vector);
    return vector.map((value) => value / length);
  };

  let tower;
  const load = async () => {
    const { words: known, arrays } = await RSITR.load("data/search/tower.js");
    // Rows 0 and 1 stand for padding and for an unknown word.
    return { index: new Map(known.map((word, place) => [word, place + 2])), ...Object.fromEntries(Object.entries(arrays).map(([name, text]) => [name, numbers(text)])) };
  };
  // An embedding of unit length, and the words that were passed over; no embedding where none is known.
  const encode = async (text) => {
    tower ??= await load();
    const found = words(text), known = found.filter((word) => tower.index.has(word)), size = tower["hidden.weight"].length / tower["hidden.bias"].length;
    const unknown = found.filter((word) => !tower.index.has(word));
    if (!known.length) return { unknown };
    const mean = new Float64Array(size);
    for (const word of known) {
      const start = tower.index.get(word) * size;
      for (let place = 0; place < size; place++) mean[place] += tower["words.weight"][start + place] / known.length;
    }
    const hidden = linear(mean, tower["hidden.weight"], tower["hidden.bias"]).map((value) => Math.max(0, value));
    return { unknown, embedding: unit(linear(hidden, tower["out.weight"], tower["out.bias"])) };
  };

  // `rsitr serve` says in the page which model it has; from a file or another server there is none.
  const served = document.querySelector('meta[name="rsitr-serve"]')?.dataset.model;
  const ask = async (text) => {
    const answer = await fetch("embed", { method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ text }) });
    if (!answer.ok) throw new Error(await answer.text());
    return { unknown: [], embedding: Float64Array.from((await answer.json()).embedding) };
  };

  // Cosines of a query with rows of unit length.
  const cosines = (rows, query) => Float64Array.from({ length: rows.length / query.length }, (_, row) => {
    let sum = 0;
    for (let place = 0; place < query.length; place++) sum += rows[row * query.length + place] * query[place];
    return sum;
  });
  // Places of the largest scores, of equal ones the first.
  const best = (scores, count) => [...scores.keys()].sort((a, b) => scores[b] - scores[a] || a - b).slice(0, count);
  const row = (rows, place, width) => Float64Array.from(rows.subarray(place * width, (place + 1) * width));

  return { numbers, words, encode, ask, served, cosines, best, row };
})();
