// The position explorer: all but a learned table is worked out here, from the sliders. Position runs
// from left to right in every picture, so that one line marks the chosen one in all of them.
const BASES = [10, 30, 100, 300, 1000, 3000, 10000, 30000, 100000];
const DISTANCES = [1, 4, 16];
const LOWEST_BIAS = -8;
const MARGIN = { left: 52, right: 10 };
const KINDS = {
  sinusoidal: {
    name: "Sinusoidal", row: "dimension", axis: "position", map: "The vector of every position",
    like: "Similarity with the chosen position (cosine)",
    clocks: "The hand of every pair, at the chosen position",
  },
  learned: {
    name: "Learned", row: "dimension", axis: "position", map: "The vector of every position, as trained",
    like: "Similarity with the chosen position (cosine)",
    clocks: "Dimensions 2i and 2i + 1 as a hand",
  },
  rotary: {
    name: "Rotary", row: "pair", axis: "position", map: "Cosine of the angle of every pair",
    like: "Mean cosine of the angle to the chosen position",
    clocks: "By which angle every pair is turned",
  },
  alibi: {
    name: "ALiBi", row: "head", axis: "key", map: "Bias of the chosen query, in every head",
    like: "Weights of the two heads, when all scores are equal",
    clocks: "The slope of every head",
  },
};

// ---- the numbers -------------------------------------------------------------------------------

/** The frequencies w_i = base^(-2i/C) of C/2 pairs. */
const frequencies = (C, base) => Array.from({ length: C / 2 }, (_, i) => base ** ((-2 * i) / C));

/** The slopes 2^(-8(h+1)/H) of H heads, a power of two. */
const slopesOf = (H) => Array.from({ length: H }, (_, h) => 2 ** ((-8 * (h + 1)) / H));

/** The rows of the heat map, each with a number for every position; NaN where there is none. */
function rowsOf({ kind, C, base, H, T, t, learned }) {
  const row = (value) => Float64Array.from({ length: T }, (_, s) => value(s));
  if (kind === "rotary") return frequencies(C, base).map((w) => row((s) => Math.cos(s * w)));
  if (kind === "alibi") return slopesOf(H).map((m) => row((s) => (s <= t ? -m * (t - s) : NaN)));
  if (kind === "sinusoidal") {
    return frequencies(C, base).flatMap((w) => [row((s) => Math.sin(s * w)), row((s) => Math.cos(s * w))]);
  }
  const [N, width] = learned.shape;
  return Array.from({ length: width }, (_, c) => row((s) => (s < N ? learned.data[s * width + c] : NaN)));
}

/** Lines of the third picture: likeness to the chosen position, or the weights of two heads. */
function likenessOf({ kind, C, base, T, t }, rows, chosen) {
  if (kind === "alibi") {
    return chosen.map((h) => kit.softmax(Array.from(rows[h], (bias) => (Number.isNaN(bias) ? -Infinity : bias))));
  }
  if (kind === "rotary") {
    const w = frequencies(C, base);
    const mean = (s) => w.reduce((sum, x) => sum + Math.cos((s - t) * x), 0) / w.length;
    return [Array.from({ length: T }, (_, s) => mean(s))];
  }
  const dot = (a, b) => rows.reduce((sum, row) => sum + row[a] * row[b], 0);
  const length = dot(t, t);
  return [Array.from({ length: T }, (_, s) => dot(s, t) / (Math.sqrt(dot(s, s) * length) || 1))];
}

/** The tip of each pair's hand, [right, up], at the chosen position; none for ALiBi. */
function handsOf({ kind, C, base, t, learned }, rows) {
  if (kind === "alibi") return [];
  if (kind === "rotary") return frequencies(C, base).map((w) => [Math.sin(t * w), Math.cos(t * w)]);
  let longest = 1;
  if (kind === "learned") {
    longest = 0;
    for (let n = 0; n < learned.data.length; n += 2) {
      longest = Math.max(longest, Math.hypot(learned.data[n], learned.data[n + 1]));
    }
  }
  const tip = (i) => [rows[2 * i][t] / (longest || 1), rows[2 * i + 1][t] / (longest || 1)];
  return Array.from({ length: rows.length / 2 }, (_, i) => tip(i));
}

/** A number for the end of an axis or a scale. */
const number = (x) => kit.format(x, Number.isInteger(x) ? 0 : 2);

/** The ends of the heat map's colours. */
function limitsOf({ kind, learned }) {
  if (kind === "alibi") return [LOWEST_BIAS, 0];
  if (kind !== "learned") return [-1, 1];
  const largest = learned.data.reduce((most, x) => Math.max(most, Math.abs(x)), 0);
  return [-largest, largest];
}

// ---- the words; `PositionExplorer.describe` in Python says the same ----------------------------

function whatIs({ kind, C, base, H, learned, trained }) {
  const { name } = KINDS[kind];
  if (kind === "alibi") return `${name}, ${H} heads`;
  if (kind === "learned") return `${name}, width ${learned.shape[1]}, ${trained} of ${learned.shape[0]} rows trained`;
  return `${name}, width ${C}, base ${base.toLocaleString("en-US")}`;
}

function likenessInWords({ kind, H, t }, lines, chosen) {
  if (kind === "alibi") {
    const told = chosen.map((h, n) => `${kit.format(lines[n][t])} in head ${h + 1} (slope 2^-${(8 * (h + 1)) / H})`);
    return `With equal scores a token keeps for itself the weight ${told.join(" and ")}.`;
  }
  if (Number.isNaN(lines[0][t])) return `The table has no row for position ${t}.`;
  const told = DISTANCES.filter((d) => d <= t).map((d) => `${d} before ${kit.format(lines[0][t - d])}`);
  return told.length ? `Similarity with the position ${told.join(", ")}.` : "It is the first position.";
}

function describe(state, lines, chosen) {
  const { kind, T, t } = state;
  const shift = kind === "alibi" ? 1 : 0;
  const where = kind === "alibi" ? "query at position" : "position";
  return `${whatIs(state)}: ${where} ${t} of ${T}. ${likenessInWords(state, lines, chosen)} `
    + `Curves: ${KINDS[kind].row}s ${chosen[0] + shift} and ${chosen[1] + shift}.`;
}

/** What the striped part of the heat map is, if there is one, and the dashed line. */
function gapsIn({ kind, T, learned, trained }) {
  if (kind === "alibi") return " Striped: keys that come later.";
  if (kind !== "learned") return "";
  return (trained < T ? " Dashed line: trained up to here." : "") + (learned.shape[0] < T ? " Striped: no row." : "");
}

// ---- the pictures ------------------------------------------------------------------------------

/** What the three pictures over positions share: their place, the marked line, the axis. */
function strip(onpick) {
  const picture = kit.canvas();
  let [T, width] = [1, 1];
  const pick = (event) => {
    const t = Math.floor(((event.offsetX - MARGIN.left) / width) * T);
    onpick(Math.min(T - 1, Math.max(0, t)));
  };
  picture.root.addEventListener("pointerdown", pick);
  picture.root.addEventListener("pointermove", (event) => event.buttons === 1 && pick(event));

  /** Paint with `inside(context, area)`, then the chosen position's line and the positions' axis. */
  function draw(colours, { length, t, height, axis, low, high, ends }, inside) {
    const room = Math.max(260, kit.roomFor(picture.root));
    [T, width] = [length, room - MARGIN.left - MARGIN.right];
    const area = { left: MARGIN.left, top: 6, width, height, at: (s) => MARGIN.left + ((s + 0.5) / T) * width };
    picture.paint(room, height + 36, (context) => {
      inside(context, area);
      context.fillStyle = colours.paper; // on both sides of the line, so that it shows on any colour
      context.fillRect(area.at(t) - 2, area.top, 4, height);
      context.fillStyle = colours.mark;
      context.fillRect(area.at(t) - 1, area.top, 2, height);
      context.strokeStyle = colours.border;
      context.lineWidth = 1;
      context.strokeRect(area.left - 0.5, area.top - 0.5, width + 1, height + 1);
      context.font = `11px ${colours.font}`;
      context.fillStyle = colours.muted;
      context.textBaseline = "middle";
      context.textAlign = "right";
      context.fillText(ends[1], area.left - 13, area.top + 6);
      context.fillText(ends[0], area.left - 13, area.top + height - 6);
      context.textAlign = "center";
      const every = T <= 16 ? 2 : T <= 40 ? 5 : T <= 80 ? 10 : 20;
      for (let s = 0; s < T; s += every) context.fillText(String(s), area.at(s), area.top + height + 11);
      context.textAlign = "right";
      context.fillText(axis, area.left + width, area.top + height + 23);
    });
  }
  return { root: picture.root, describe: picture.describe, draw };
}

/** The rows as a small picture, one pixel for each number; what is NaN stays transparent. */
function pixelsOf(rows, [low, high]) {
  const [R, T] = [rows.length, rows[0].length];
  const small = document.createElement("canvas");
  [small.width, small.height] = [T, R];
  const pixels = new ImageData(T, R);
  const shades = Array.from({ length: 256 }, (_, i) => kit.colour(i / 255));
  rows.forEach((row, r) => row.forEach((value, s) => {
    if (Number.isNaN(value)) return;
    const share = (value - low) / (high - low || 1);
    const shade = shades[Math.round(255 * Math.min(1, Math.max(0, share)))];
    const place = 4 * (r * T + s);
    for (let c = 0; c < 3; c += 1) pixels.data[place + c] = shade[c];
    pixels.data[place + 3] = 255;
  }));
  small.getContext("2d").putImageData(pixels, 0, 0);
  return small;
}

/** Paint the small picture as large as the area, with stripes where there is nothing. */
function paintMap(context, area, colours, rows, pixels) {
  const first = rows[0].findIndex(Number.isNaN);
  if (first >= 0) {
    const x = area.left + (first / rows[0].length) * area.width;
    kit.stripes(context, x, area.top, area.left + area.width - x, area.height, colours.muted);
  }
  context.imageSmoothingEnabled = false;
  context.drawImage(pixels, area.left, area.top, area.width, area.height);
}

/** Mark the chosen rows at the left edge of the heat map: a solid and an open triangle. */
function markRows(context, area, colours, R, chosen) {
  chosen.forEach((row, n) => {
    const y = area.top + ((row + 0.5) / R) * area.height;
    context.beginPath();
    context.moveTo(area.left - 1, y);
    context.lineTo(area.left - 9, y - 5);
    context.lineTo(area.left - 9, y + 5);
    context.closePath();
    context.lineWidth = 1.5;
    context.strokeStyle = n ? colours.ink : colours.accent;
    context.fillStyle = n ? colours.paper : colours.accent;
    context.fill();
    context.stroke();
  });
}

/** Paint lines over the positions: the first solid, the second dashed. */
function paintLines(context, area, colours, lines, [low, high]) {
  const down = (value) => area.top + 3 + ((high - value) / (high - low || 1)) * (area.height - 6);
  if (low < 0 && high > 0) {
    context.fillStyle = colours.border;
    context.fillRect(area.left, down(0), area.width, 1);
  }
  lines.forEach((line, n) => {
    context.beginPath();
    line.forEach((value, s) => !Number.isNaN(value) && context.lineTo(area.at(s), down(value)));
    context.strokeStyle = n ? colours.ink : colours.accent;
    context.lineWidth = 2;
    context.setLineDash(n ? [6, 4] : []);
    context.stroke();
    context.setLineDash([]);
  });
}

/** Paint a dashed line where the trained rows end. */
function markTrained(context, area, colours, { kind, trained, T }) {
  if (kind !== "learned" || trained >= T) return;
  const x = area.left + (trained / T) * area.width;
  context.save();
  context.strokeStyle = colours.ink;
  context.setLineDash([3, 3]);
  context.beginPath();
  context.moveTo(x, area.top);
  context.lineTo(x, area.top + area.height);
  context.stroke();
  context.restore();
}

/** One clock for each pair, numbered; the two of the chosen rows are marked. */
function clocks() {
  const picture = kit.canvas();
  function draw(colours, hands, marked) {
    const room = Math.min(360, kit.roomFor(picture.root));
    const columns = Math.ceil(Math.sqrt(hands.length));
    const cell = Math.min(96, Math.floor(room / columns));
    const radius = cell / 2 - 9;
    picture.paint(room, cell * Math.ceil(hands.length / columns) + 4, (context) => {
      context.textAlign = "center";
      context.textBaseline = "middle";
      context.font = `${cell < 56 ? 9 : 11}px ${colours.font}`;
      hands.forEach(([right, up], i) => {
        const [x, y] = [(i % columns) * cell + cell / 2, Math.floor(i / columns) * cell + cell / 2 + 4];
        const here = marked.includes(i);
        context.strokeStyle = here ? colours.accent : colours.border;
        context.lineWidth = here ? 2.5 : 1.5;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.stroke();
        context.fillStyle = here ? colours.accent : colours.muted;
        context.fillText(String(i), x - radius - 1, y - radius + 2);
        if (Number.isNaN(right)) return;
        context.strokeStyle = colours.mark;
        context.lineWidth = 2.5;
        context.beginPath();
        context.moveTo(x, y);
        context.lineTo(x + right * radius, y - up * radius);
        context.stroke();
        context.fillStyle = colours.mark;
        context.beginPath();
        context.arc(x + right * radius, y - up * radius, 3, 0, 2 * Math.PI);
        context.fill();
      });
    });
  }
  return { root: picture.root, describe: picture.describe, draw };
}

// ---- the widget --------------------------------------------------------------------------------

function render({ model, el }) {
  const view = kit.view({ model, el, title: "Where does a token stand?", label: "Position explorer", draw });
  view.root.classList.add("llm-positions");
  const learned = kit.array(model.get("arrays").learned);
  let made = { key: "" };
  const slider = (trait, label, options) => kit.slider(view, { trait, label, ...options });
  const nameOfRow = (n) => {
    const state = read();
    return `${KINDS[state.kind].row} ${Math.min(n, lastRow(state)) + (state.kind === "alibi" ? 1 : 0)}`;
  };

  const kind = kit.choice(view, {
    trait: "kind", label: "Kind", options: model.get("kinds").map((name) => [name, KINDS[name].name]),
  });
  const width = slider("d_model", "Width (d_model)", { min: 2, max: 64, step: 2 });
  const heads = slider("n_heads", "Heads", { values: [2, 4, 8, 16] });
  const base = slider("base", "Base", { values: BASES, show: (x) => x.toLocaleString("en-US") });
  const length = slider("length", "Length", { min: 8, max: 128, unit: "positions" });
  const position = slider("position", "Position", { min: 0, max: model.get("length") - 1 });
  const first = slider("first", "Solid curve", { min: 0, max: 63, show: nameOfRow });
  const second = slider("second", "Dashed curve", { min: 0, max: 63, show: nameOfRow });

  const pick = (t) => view.set("position", t);
  const [map, curves, likeness] = [strip(pick), strip(pick), strip(pick)];
  const dials = clocks();
  const slopes = kit.bars();
  const headings = ["map", "curves", "like", "clocks"].map(() => kit.element("p", { class: "llm-heading" }));
  const scale = kit.element("p", { class: "llm-hint" });
  const left = kit.element(
    "div", { class: "llm-panel llm-wide" },
    headings[0], scale, map.root, headings[1], curves.root, headings[2], likeness.root,
  );
  const right = kit.element("div", { class: "llm-panel llm-clocks" }, headings[3], dials.root, slopes.root);
  view.add(
    kit.row(kind, width, heads, base),
    kit.row(length, position, first, second),
    kit.element("p", { class: "llm-hint" }, "Hold an arrow key on Position to let it run, or drag over a picture. The line marks the chosen position."),
    view.summary,
    kit.columns(left, right),
  );

  view.on("length", () => view.set("position", Math.min(model.get("position"), model.get("length") - 1)));
  view.on(
    ["kind", "d_model", "n_heads", "base", "length", "position", "first", "second"], view.redraw,
  );
  view.redraw();

  /** The state in short letters: width C, heads H, length T, chosen position t. */
  function read() {
    const T = model.get("length");
    return {
      kind: model.get("kind"), C: model.get("d_model"), base: model.get("base"), H: model.get("n_heads"),
      T, t: Math.min(model.get("position"), T - 1), learned, trained: model.get("trained"),
    };
  }
  function lastRow({ kind: name, C, H }) {
    return { sinusoidal: C, learned: learned.shape[1], rotary: C / 2, alibi: H }[name] - 1;
  }

  /** Show the controls that the kind has, with the ends that the others leave them. */
  function fitControls({ kind: name, T }, last) {
    for (const control of [width, base]) control.root.hidden = name === "learned" || name === "alibi";
    heads.root.hidden = name !== "alibi";
    position.input.max = T - 1;
    first.input.max = last;
    second.input.max = last;
    for (const control of [position, first, second]) control.update();
  }

  /** The heat map's rows and pixels, made anew only when something else than the position moved. */
  function table(state) {
    const { kind: name, C, base: b, H, T, t } = state;
    const key = [name, C, b, H, T, name === "alibi" ? t : 0].join();
    if (key !== made.key) {
      const rows = rowsOf(state);
      made = { key, rows, pixels: pixelsOf(rows, limitsOf(state)) };
    }
    return made;
  }

  function draw(colours) {
    const state = read();
    const last = lastRow(state);
    fitControls(state, last);
    const { rows, pixels } = table(state);
    const chosen = [Math.min(model.get("first"), last), Math.min(model.get("second"), last)];
    const lines = likenessOf(state, rows, chosen);
    const hands = handsOf(state, rows);
    const words = describe(state, lines, chosen);
    drawStrips(colours, state, rows, pixels, chosen, lines);
    drawRight(colours, state, hands, chosen);

    const texts = KINDS[state.kind];
    const names = chosen.map((row) => row + (state.kind === "alibi" ? 1 : 0));
    const [low, high] = limitsOf(state).map(number);
    headings[0].textContent = texts.map;
    scale.textContent = `Dark: ${low}${state.kind === "alibi" ? " and below" : ""}; bright: ${high}.${gapsIn(state)}`;
    headings[1].textContent = `${texts.row[0].toUpperCase()}${texts.row.slice(1)}s ${names.join(" and ")} as curves`;
    headings[2].textContent = texts.like;
    headings[3].textContent = texts.clocks;
    map.describe(`Heat map. ${words}`);
    curves.describe(`Curves. ${words}`);
    likeness.describe(`${texts.like}. ${words}`);
    dials.describe(`Clocks. ${words}`);
    slopes.describe(`Slopes. ${words}`);
    view.say(words);
    view.root.dataset.row = JSON.stringify(lines.flat());
    view.root.dataset.column = JSON.stringify(rows.map((row) => row[state.t]));
    view.root.dataset.hands = JSON.stringify(hands);
  }

  function drawStrips(colours, state, rows, pixels, chosen, lines) {
    const { kind: name, T, t } = state;
    const common = { length: T, t, axis: KINDS[name].axis };
    const limits = limitsOf(state);
    const rowEnds = [rows.length - 1, 0].map((row) => String(row + (name === "alibi" ? 1 : 0)));
    map.draw(colours, { ...common, height: 150, ends: rowEnds }, (context, area) => {
      paintMap(context, area, colours, rows, pixels);
      markTrained(context, area, colours, state);
      markRows(context, area, colours, rows.length, chosen);
    });
    const shown = chosen.map((row) => Array.from(rows[row]));
    const reach = name === "alibi" ? [Math.min(...shown.map((line) => line[0])), 0] : limits;
    curves.draw(colours, { ...common, height: 96, ends: reach.map(number) }, (context, area) => {
      paintLines(context, area, colours, shown, reach);
      markTrained(context, area, colours, state);
    });
    const ends = name === "alibi" ? [0, Math.max(...lines.flat())] : [-1, 1];
    likeness.draw(colours, { ...common, height: 96, ends: ends.map(number) }, (context, area) => {
      paintLines(context, area, colours, lines.map((line) => (name === "alibi" ? line.slice(0, t + 1) : line)), ends);
      markTrained(context, area, colours, state);
    });
  }

  function drawRight(colours, { kind: name, H }, hands, chosen) {
    dials.root.hidden = name === "alibi";
    slopes.root.hidden = name !== "alibi";
    if (name === "alibi") {
      const labels = Array.from({ length: H }, (_, h) => `head ${h + 1}`);
      slopes.draw(colours, { labels, values: slopesOf(H), selected: chosen[0], digits: 3 });
    } else {
      dials.draw(colours, hands, chosen.map((row) => (name === "rotary" ? row : Math.floor(row / 2))));
    }
  }

  return view.dispose;
}

export default { render };
