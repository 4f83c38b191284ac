"use strict";
// A scene in tiles, under the map of a text: the mean cosine of the windows that contain a pixel.
RSITR.scene = (() => {
  const { h } = RSITR;
  const { button, note } = RSITR.parts;
  const LONGEST = 1024;
  // Of matplotlib's inferno, which `rsitr locate` draws too.
  const COLOURS = [[0, 0, 4], [66, 10, 104], [147, 38, 103], [221, 81, 58], [252, 165, 10], [252, 255, 164]];

  const colour = (level) => {
    const place = level * (COLOURS.length - 1), low = Math.min(Math.floor(place), COLOURS.length - 2);
    return `rgb(${COLOURS[low].map((value, part) => Math.round(value + (place - low) * (COLOURS[low + 1][part] - value))).join(",")})`;
  };
  const edges = (starts, sizes, end) => [...new Set([0, end, ...starts, ...starts.map((start, place) => start + sizes[place])])].sort((a, b) => a - b);

  // Cells between the edges of windows, each with the mean score of the windows around it; NaN in no window.
  const grid = (boxes, scores, { height, width }) => {
    const [tops, lefts, heights, widths] = [0, 1, 2, 3].map((part) => boxes.map((box) => box[part]));
    const rows = edges(tops, heights, height), columns = edges(lefts, widths, width);
    const down = new Map(rows.map((edge, place) => [edge, place])), across = new Map(columns.map((edge, place) => [edge, place]));
    const many = columns.length - 1, sums = new Float64Array((rows.length - 1) * many), counts = new Float64Array(sums.length);
    boxes.forEach(([top, left, high, wide], place) => {
      for (let row = down.get(top); row < down.get(top + high); row++) {
        for (let column = across.get(left); column < across.get(left + wide); column++) {
          sums[row * many + column] += scores[place];
          counts[row * many + column] += 1;
        }
      }
    });
    return { rows, columns, means: sums.map((sum, cell) => sum / counts[cell]) };
  };
  const paint = (canvas, { rows, columns, means }, { height, width }) => {
    const scale = Math.min(1, LONGEST / Math.max(height, width)), known = [...means].filter(Number.isFinite);
    const low = known.reduce((a, b) => Math.min(a, b)), high = known.reduce((a, b) => Math.max(a, b)), at = (edge) => Math.round(edge * scale);
    [canvas.width, canvas.height] = [at(width), at(height)];
    const pen = canvas.getContext("2d");
    means.forEach((mean, cell) => {
      if (!Number.isFinite(mean)) return;
      const row = Math.floor(cell / (columns.length - 1)), column = cell % (columns.length - 1), [x, y] = [at(columns[column]), at(rows[row])];
      pen.fillStyle = colour(high > low ? (mean - low) / (high - low) : 0);
      pen.fillRect(x, y, at(columns[column + 1]) - x, at(rows[row + 1]) - y);
    });
    return [low, high];
  };

  // Windows that score highest, of which no two overlap.
  const places = (boxes, scores, count) => {
    const found = [];
    for (const place of RSITR.tower.best(scores, scores.length)) {
      const [top, left, high, wide] = boxes[place];
      if (found.length < count && !found.some((other) => {
        const [up, start, tall, broad] = boxes[other];
        return left < start + broad && start < left + wide && top < up + tall && up < top + high;
      })) found.push(place);
    }
    return found;
  };

  let viewer;
  const view = async (about, data) => {
    await RSITR.scripts("vendor/openseadragon.min.js");
    const { height, width, size, levels } = about.tiles, { boxes } = data, still = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const stage = h("div", { class: "stage" }), map = h("canvas", { class: "map", "aria-hidden": "true" }), outline = h("div", { class: "outline" }), ends = h("span", { class: "place" });
    stage.style.aspectRatio = `${width} / ${height}`;
    const zoom = (factor) => () => { viewer.viewport.zoomBy(factor, undefined, still); viewer.viewport.applyConstraints(still); };
    const strength = h("input", { type: "range", min: "0", max: "100", value: "55", oninput: () => { map.style.opacity = strength.value / 100; } });
    const element = h("div", { class: "scene" },
      h("div", { class: "viewing" }, button("Zoom in", zoom(1.5)), button("Zoom out", zoom(1 / 1.5)), button("Whole scene", () => viewer.viewport.goHome(still)), h("label", {}, "Map over scene ", strength), ends),
      stage, note("Drag or use the arrow keys to move, + and − to zoom, 0 for the whole scene."));
    const rectangle = ([top, left, high, wide]) => viewer.viewport.imageToViewportRectangle(left, top, wide, high);

    // It measures its place, so the page has to have it first.
    const open = () => new Promise((done) => {
      viewer?.destroy();
      viewer = window.OpenSeadragon({
        element: stage, drawer: "canvas", crossOriginPolicy: false, showNavigationControl: false, animationTime: still ? 0 : 0.5, maxZoomPixelRatio: 4,
        gestureSettingsMouse: { clickToZoom: false },
        tileSources: { height, width, tileSize: size, minLevel: 0, maxLevel: levels - 1, getTileUrl: (level, x, y) => `tiles/${encodeURIComponent(about.name)}/${level}/${x}_${y}.jpg` },
      });
      viewer.canvas.setAttribute("role", "application");
      viewer.canvas.setAttribute("aria-label", `The scene ${about.name}`);
      viewer.addOnceHandler("open", done);
    });
    const clear = () => { viewer.clearOverlays(); ends.textContent = ""; };
    const show = (scores, count) => {
      const found = grid(boxes, scores, about.tiles), [low, high] = paint(map, found, about.tiles);
      clear();
      map.style.opacity = strength.value / 100;
      viewer.addOverlay({ element: map, location: rectangle([0, 0, height, width]) });
      ends.textContent = `mean cosine ${low.toFixed(3)} (dark) to ${high.toFixed(3)} (bright)`;
      const to = (place) => {
        viewer.removeOverlay(outline);
        viewer.addOverlay({ element: outline, location: rectangle(boxes[place]) });
        const [top, left, high, wide] = boxes[place];
        viewer.viewport.fitBounds(rectangle([top - high, left - wide, 3 * high, 3 * wide]), still);
        stage.scrollIntoView({ block: "nearest", behavior: still ? "auto" : "smooth" });
      };
      return h("ol", { class: "places" }, places(boxes, scores, count).map((place, number) => {
        const [top, left, high, wide] = boxes[place];
        return h("li", {}, button(`${number + 1}. row ${top}, column ${left} · ${scores[place].toFixed(3)}`, () => to(place)));
      }));
    };
    return { element, open, show, clear };
  };
  return { view, grid, places };
})();
