// The block explorer: Python sends what every combination of parts does at every depth; switching and
// drawing are done here.
const CHOICES = {
  norm: [["layernorm", "LayerNorm"], ["rmsnorm", "RMSNorm"], ["none", "none"]],
  placement: [["pre", "before (pre-norm)"], ["post", "after (post-norm)"]],
  activation: [["relu", "ReLU"], ["gelu", "GELU"], ["swiglu", "SwiGLU"], ["none", "none"]],
  residual: [[true, "on"], [false, "off"]],
};
const STANDARD = { norm: "layernorm", placement: "pre", activation: "gelu", residual: true };
const NAMES = {
  norm: { layernorm: "LayerNorm", rmsnorm: "RMSNorm", none: "no norm" },
  activation: { relu: "ReLU", gelu: "GELU", swiglu: "SwiGLU", none: "no activation" },
};

/** Which row of the arrays belongs to a combination: the last choice varies fastest. */
function rowOf(state) {
  return Object.entries(CHOICES).reduce(
    (row, [trait, options]) => row * options.length + options.findIndex(([value]) => value === state[trait]), 0,
  );
}

/** The curves of one combination at a depth; gradient and size are powers of ten. */
function curvesOf(arrays, state, depth) {
  const [row, levels] = [rowOf(state), arrays.size.shape[1]];
  const [, depths] = arrays.gradient.shape;
  const cut = (array, start) => array.data.subarray(start, start + depth + 1);
  return {
    gradient: cut(arrays.gradient, (row * depths + depth - 1) * levels),
    size: cut(arrays.size, row * levels),
    alike: cut(arrays.alike, row * levels),
  };
}

/** A number that is given as a power of ten, in words; `quantity` in Python says the same. */
function quantity(exponent) {
  if (exponent >= -2 && exponent < 3) return kit.format(10 ** exponent);
  return `10${kit.superscript(Math.round(exponent))}`;
}

/** The name of a combination, as it stands at the start of a sentence. */
function nameOf({ norm, placement, activation, residual }) {
  const first = norm === "none" ? "No norm" : `${placement === "pre" ? "Pre" : "Post"}-norm ${NAMES.norm[norm]}`;
  return `${first}, ${NAMES.activation[activation]}, ${residual ? "with" : "without"} residual connections`;
}

/** The picture in words; `BlockExplorer.describe` in Python says the same. */
function describe(state, depth, { gradient, size, alike }) {
  const end = depth;
  return `${nameOf(state)}, ${depth} ${depth === 1 ? "block" : "blocks"}. `
    + `The gradient that reaches the first block is ${quantity(gradient[0])} times that at the end. `
    + `The size of the numbers goes from ${quantity(size[0])} to ${quantity(size[end])}, `
    + `and the likeness of the tokens from ${kit.format(alike[0])} to ${kit.format(alike[end])}.`;
}

/** What stands in the diagram from top to bottom: the parts of a block with their shapes. */
function partsOf(state, sizes, parameters) {
  const { T, C, H, F } = sizes;
  const vectors = `(${T}, ${C})`;
  const count = (n) => `${n.toLocaleString("en")} parameters`;
  const hidden = `${state.activation === "swiglu" ? "2 × " : ""}(${T}, ${F[state.activation]})`;
  const norm = { kind: "norm", title: NAMES.norm[state.norm], off: state.norm === "none",
    lines: [state.norm === "none" ? vectors : `${vectors} · ${count(parameters.norm[state.norm])}`] };
  const attention = { kind: "attention", title: `Attention, ${H} heads`,
    lines: [`${vectors} → ${H} × (${T}, ${C / H}) → ${vectors}`, count(parameters.attention)] };
  const feed = { kind: "feed", title: `Feed-forward, ${NAMES.activation[state.activation]}`,
    lines: [`${vectors} → ${hidden} → ${vectors}`, count(parameters.feed_forward[state.activation])] };
  return [{ norm, sublayer: attention }, { norm, sublayer: feed }];
}

/** All parameters of one block. */
function totalOf(state, parameters) {
  return 2 * parameters.norm[state.norm] + parameters.attention + parameters.feed_forward[state.activation];
}

/** The diagram in words, for those who do not see it. */
function diagramWords(state, halves) {
  const half = ({ norm, sublayer }) => {
    const branch = [sublayer.title, ...sublayer.lines].join(", ");
    const sum = state.residual ? "its output is added to the stream" : "its output replaces the stream, no residual";
    const normed = norm.off ? "no norm" : `${norm.title} ${norm.lines[0]}`;
    return state.placement === "pre" ? `${normed}, then ${branch}; ${sum}` : `${branch}; ${sum}; then ${normed}`;
  };
  return `Diagram of one block, from top to bottom. First half: ${half(halves[0])}. Second half: ${half(halves[1])}.`;
}

/** Draws the block on a canvas; `onpick(trait)` follows a click on a part that can be swapped. */
function diagram({ onpick }) {
  const picture = kit.canvas();
  let regions = [];
  const traitAt = (event) => regions.find(
    ({ x, y, w, h }) => event.offsetX >= x && event.offsetX <= x + w && event.offsetY >= y && event.offsetY <= y + h,
  )?.trait;
  picture.root.addEventListener("pointermove", (event) => {
    picture.root.style.cursor = traitAt(event) ? "pointer" : "default";
  });
  picture.root.addEventListener("click", (event) => traitAt(event) && onpick(traitAt(event)));

  const STREAM = 30; // where the stream runs, in pixels from the left
  const [NORM, SUBLAYER, GAP] = [44, 62, 24];

  function draw(colours, { state, halves, sizes }) {
    const context = picture.context;
    const width = Math.min(380, kit.roomFor(picture.root));
    const column = { x: STREAM + 36, w: width - STREAM - 38 };
    const height = 2 * (NORM + SUBLAYER + 2 * GAP + 22) + 74;
    regions = [];
    picture.paint(width, height, () => {
      context.textBaseline = "middle";
      let y = label(8, `x, one vector for each token: (${sizes.T}, ${sizes.C})`);
      for (const half of halves) y = state.placement === "pre" ? preNorm(half, y) : postNorm(half, y);
      stream(y, y + GAP, true);
      arrowHead(STREAM, y + GAP);
      label(y + GAP + 11, `to the next block: (${sizes.T}, ${sizes.C})`);
    });

    function preNorm({ norm, sublayer }, top) {
      const out = top + 10;
      stream(top, out);
      const below = branch(out, [norm, sublayer]);
      return join(out, below);
    }
    function postNorm({ norm, sublayer }, top) {
      const out = top + 10;
      stream(top, out);
      const end = join(out, branch(out, [sublayer]));
      stream(end, end + GAP - 8, true);
      box(norm, { x: 2, w: column.x + column.w - 2 }, end + GAP - 8, NORM);
      return end + GAP - 8 + NORM;
    }
    /** Boxes on the branch that leaves the stream at `out`; returns where the last one ends. */
    function branch(out, parts) {
      const middle = column.x + 24;
      line([[STREAM, out], [middle, out], [middle, out + 14]]);
      let y = out + 14;
      parts.forEach((part, i) => {
        if (i) line([[middle, y], [middle, y + 16]]);
        y += i ? 16 : 0;
        arrowHead(middle, y);
        const tall = part.kind === "norm" ? NORM : SUBLAYER;
        box(part, column, y, tall);
        y += tall;
      });
      return y;
    }
    /** Where the branch comes back to the stream: a sum, or without a residual just a bend. */
    function join(out, below) {
      const [at, middle] = [below + 20, column.x + 24];
      line([[middle, below], [middle, at], [STREAM, at]]);
      stream(out, at, state.residual);
      regions.push({ x: 0, y: out, w: column.x - 8, h: at - out, trait: "residual" });
      if (state.residual) {
        context.beginPath();
        context.arc(STREAM, at, 9, 0, 2 * Math.PI);
        context.fillStyle = colours.paper;
        context.fill();
        context.strokeStyle = colours.accent;
        context.lineWidth = 2.5;
        context.stroke();
        line([[STREAM - 4, at], [STREAM + 4, at]], 2);
        line([[STREAM, at - 4], [STREAM, at + 4]], 2);
      } else {
        arrowHead(STREAM + 3, at, "left");
      }
      return at + (state.residual ? 9 : 0);
    }
    function stream(from, to, alive = true) {
      context.save();
      context.strokeStyle = alive ? colours.accent : colours.muted;
      context.lineWidth = alive ? 4 : 1.5;
      if (!alive) context.setLineDash([3, 5]);
      path([[STREAM, from], [STREAM, to]]);
      context.stroke();
      context.restore();
      if (alive) return;
      context.save(); // the words stand upright beside the gap
      context.translate(STREAM - 14, (from + to) / 2);
      context.rotate(-Math.PI / 2);
      context.font = `11px ${colours.font}`;
      context.fillStyle = colours.muted;
      context.textAlign = "center";
      context.fillText("no residual", 0, 0);
      context.restore();
    }
    function box({ kind, title, lines, off }, { x, w }, y, h) {
      const trait = { norm: "norm", feed: "activation" }[kind];
      if (trait) regions.push({ x, y, w, h, trait });
      context.fillStyle = off ? colours.paper : colours.soft;
      context.strokeStyle = off ? colours.muted : colours.ink;
      context.lineWidth = off ? 1 : 1.5;
      context.setLineDash(off ? [4, 4] : []);
      context.beginPath();
      context.roundRect(x, y, w, h, 7);
      context.fill();
      context.stroke();
      context.setLineDash([]);
      context.textAlign = "left";
      const rows = [[`bold 13px ${colours.font}`, title], ...lines.map((text) => [`12px ${colours.font}`, text])];
      rows.forEach(([font, text], i) => {
        context.font = font;
        context.fillStyle = off || i ? colours.muted : colours.ink;
        context.fillText(kit.fitted(context, text, w - 20), x + 11, y + (h * (i + 1)) / (rows.length + 1) + (i ? 2 : -1));
      });
    }
    function label(y, text) {
      context.font = `12px ${colours.font}`;
      context.fillStyle = colours.muted;
      context.textAlign = "left";
      context.fillText(text, 2, y);
      return y + 10;
    }
    function line(points, thick = 1.5) {
      context.strokeStyle = colours.ink;
      context.lineWidth = thick;
      path(points);
      context.stroke();
    }
    function path(points) {
      context.beginPath();
      points.forEach(([px, py], i) => (i ? context.lineTo(px, py) : context.moveTo(px, py)));
    }
    function arrowHead(x, y, way = "down") {
      context.fillStyle = colours.ink;
      path(way === "down" ? [[x - 5, y - 7], [x + 5, y - 7], [x, y]] : [[x + 7, y - 5], [x + 7, y + 5], [x, y]]);
      context.fill();
    }
  }
  return { root: picture.root, describe: picture.describe, draw };
}

function render({ model, el }) {
  let arrays = null;
  let hovered = null;
  const view = kit.view({ model, el, title: "What is each part of a block worth?", label: "Block explorer", draw });

  const choice = (trait, label) => kit.choice(view, { trait, label, options: CHOICES[trait] });
  const depth = kit.slider(view, {
    trait: "depth", label: "Depth", min: 1, max: 24, show: (n) => (n === 1 ? "1 block" : `${n} blocks`),
  });
  const swap = (trait) => {
    const options = CHOICES[trait];
    const at = options.findIndex(([value]) => value === model.get(trait));
    view.set(trait, options[(at + 1) % options.length][0]);
  };
  const block = diagram({ onpick: swap });
  const total = kit.element("p", { class: "llm-reading" });
  const charts = ["gradient", "size", "alike"].map((name) => ({ name, ...kit.curves({ onhover: hover }) }));
  const reading = kit.element("p", { class: "llm-reading" });

  view.add(
    kit.row(choice("norm", "Norm"), choice("placement", "Where the norm stands"), choice("activation", "Activation"), choice("residual", "Residual"), depth),
    view.summary,
    kit.columns(
      kit.panel("The block", "Click a norm, the feed-forward or the stream to swap it.", block, total),
      kit.element(
        "div", { class: "llm-panel llm-wide llm-charts" },
        heading("Gradient at each block, as a multiple of that at the end"), charts[0].root,
        heading("Size of the numbers (root mean square)"), charts[1].root,
        heading("Likeness of different tokens (1: all the same)"), charts[2].root,
        reading,
      ),
    ),
  );

  function heading(text) {
    return kit.element("p", { class: "llm-heading" }, text);
  }
  function unpack() {
    const packed = model.get("arrays");
    arrays = packed.gradient
      ? Object.fromEntries(Object.keys(packed).map((name) => [name, kit.array(packed[name])]))
      : null;
  }
  function hover(place) {
    if (hovered === place) return;
    hovered = place;
    view.redraw();
  }
  view.on("arrays", unpack);
  view.on(["arrays", ...Object.keys(CHOICES), "depth", "sizes", "parameters"], view.redraw);
  unpack();
  view.redraw();

  function draw(colours) {
    if (!arrays) return;
    const state = Object.fromEntries(Object.keys(CHOICES).map((trait) => [trait, model.get(trait)]));
    const [blocks, sizes, parameters] = [model.get("depth"), model.get("sizes"), model.get("parameters")];
    const halves = partsOf(state, sizes, parameters);
    block.draw(colours, { state, halves, sizes });
    block.describe(diagramWords(state, halves));
    const one = totalOf(state, parameters);
    total.textContent = `${one.toLocaleString("en")} parameters in a block, ${(one * blocks).toLocaleString("en")} in ${blocks}.`;

    const mine = curvesOf(arrays, state, blocks);
    drawCharts(colours, state, blocks, mine, curvesOf(arrays, STANDARD, blocks));
    const words = describe(state, blocks, mine);
    charts.forEach((chart, i) => chart.describe(`Curve ${i + 1} of 3. ${words}`));
    view.say(words);
    view.root.dataset.row = JSON.stringify(Array.from(mine.gradient));
  }

  function drawCharts(colours, state, blocks, mine, standard) {
    const x = Array.from({ length: blocks + 1 }, (_, level) => level);
    const at = hovered === null || hovered > blocks ? null : hovered;
    const same = rowOf(state) === rowOf(STANDARD);
    const limits = { gradient: [-1, 1], size: [-1, 1], alike: [0, 1] };
    for (const { name, draw: drawCurves } of charts) {
      const series = [{ name: "this block", values: mine[name] }];
      if (!same) series.unshift({ name: "pre-norm, LayerNorm, GELU, residual", values: standard[name], dashed: true, muted: true });
      const [low, high] = limits[name];
      const log = name !== "alike";
      drawCurves(colours, { x, series, low, high, log, hovered: at, height: 158, xTitle: "after block (0: before the first)" });
    }
    reading.textContent = at === null
      ? "Point at a curve to read its numbers."
      : `${at === 0 ? "Before the first block" : `After block ${at}`}: gradient ${quantity(mine.gradient[at])}, `
        + `size ${quantity(mine.size[at])}, likeness ${kit.format(mine.alike[at])}`;
  }

  return view.dispose;
}

export default { render };
