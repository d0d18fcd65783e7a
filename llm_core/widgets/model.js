// The model explorer: all counting is done here, with the formulas of llm_core/costs.py; a test in
// the browser holds both equal.
const SLIDERS = [
  { trait: "vocab_size", label: "Vocabulary", values: [96, 168, 256, 512, 1024, 2048, 4096, 8192, 16384, 32000, 50257, 65536, 100000, 128000, 200000, 256000] },
  { trait: "d_model", label: "Width (d_model)", values: [32, 48, 64, 96, 128, 192, 256, 384, 512, 640, 768, 1024, 1280, 1536, 1600, 2048, 2560, 3072, 4096, 5120, 6144, 8192, 10240, 12288, 16384] },
  { trait: "n_layers", label: "Layers", values: [1, 2, 3, 4, 6, 8, 10, 12, 16, 20, 22, 24, 28, 32, 36, 40, 48, 64, 80, 96, 128] },
  { trait: "n_heads", label: "Heads", values: [1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 25, 32, 40, 48, 64, 80, 96, 128] },
  { trait: "n_kv_heads", label: "Key/value heads", values: [1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 24, 32, 48, 64, 0] },
  { trait: "ff_ratio", label: "Feed-forward", values: [0.5, 1, 1.5, 2, 2.5, 2.75, 3, 3.5, 4, 5, 6, 8] },
  { trait: "context_length", label: "Context", values: [32, 64, 100, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072] },
  { trait: "batch_size", label: "Batch", values: [1, 2, 4, 8, 16, 32, 64, 128] },
];
const MACHINES = [["16 GB laptop", 16e9], ["24 GB card", 24e9], ["80 GB card", 80e9]];
const PREFIXES = ["T", "G", "M", "k"];
const WORDS = ["trillion", "billion", "million", "thousand"];
const PARTS = ["token embedding", "positions", "attention", "feed-forward", "norms", "output head"];
const WORK = ["projections", "scores and mixing", "feed-forward", "output head"];
const KEPT = ["weights", "gradients", "optimizer state", "activations"];

const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** A number with three digits or so and its unit; `short` in Python does the same. */
function short(value, units = PREFIXES) {
  const sizes = [1e12, 1e9, 1e6, 1e3];
  const at = sizes.findIndex((least) => value >= least);
  const [size, unit] = at < 0 ? [1, ""] : [sizes[at], units[at]];
  const scaled = value / size;
  const digits = scaled >= 100 || size === 1 ? 0 : scaled >= 10 ? 1 : 2;
  return `${(Math.floor(scaled * 10 ** digits + 0.5) / 10 ** digits).toFixed(digits)} ${unit}`;
}

const grouped = (value) => value.toLocaleString("en-US");

/** The largest number of heads up to the wished one that divides the width (rotary: evenly in two). */
function headsInUse(width, wished, positions) {
  const step = positions === "rotary" ? 2 : 1;
  let heads = Math.min(wished, Math.floor(width / step));
  while (width % (heads * step)) heads -= 1;
  return heads;
}

/** The largest number of key/value heads up to the wished one that divides the heads; 0 is all. */
function kvHeadsInUse(heads, wished) {
  let kvHeads = Math.min(wished || heads, heads);
  while (heads % kvHeads) kvHeads -= 1;
  return kvHeads;
}

/** Which wishes are impossible, and what is used in their place; `mended` in Python says the same. */
function mended(wish, use) {
  const said = [];
  if (use.H !== wish.n_heads) {
    const even = wish.positions === "rotary" ? " of an even width" : "";
    said.push(`A width of ${use.C} cannot be cut into ${wish.n_heads} equal heads${even}: ${use.H} are used.`);
  }
  if (wish.n_kv_heads && use.kv !== wish.n_kv_heads) {
    said.push(`${wish.n_kv_heads} key/value heads cannot be shared evenly by ${use.H} heads: ${use.kv} are used.`);
  }
  return said.join(" ");
}

/** The sizes that are counted: what was wished for, impossible choices mended. */
function sizesInUse(wish) {
  const H = headsInUse(wish.d_model, wish.n_heads, wish.positions);
  const kv = kvHeadsInUse(H, wish.n_kv_heads);
  const C = wish.d_model;
  return {
    V: wish.vocab_size, T: wish.context_length, C, L: wish.n_layers, H, kv, F: Math.floor(wish.ff_ratio * C),
    K: kv * (C / H), llama: wish.blocks === "llama", rotary: wish.positions === "rotary", tied: wish.tied,
    B: wish.batch_size,
  };
}

/** Parameters by part, as `parameters_by_part`. */
function parametersByPart({ V, T, C, L, F, K, llama, rotary, tied }) {
  const matrices = llama ? 3 : 2;
  const biases = !llama;
  const attention = 2 * C * C + 2 * C * K + (biases ? 2 * C + 2 * K : 0);
  const feedForward = matrices * C * F + (biases ? F + C : 0);
  const norm = biases ? 2 * C : C;
  return [V * C, rotary ? 0 : T * C, L * attention, L * feedForward, (2 * L + 1) * norm, tied ? 0 : V * C];
}

/** Operations of a forward pass for one token, as `flops_by_part`. */
function flopsByPart({ V, T, C, L, F, K, llama }) {
  return [L * 2 * (2 * C * C + 2 * C * K), L * 4 * T * C, L * 2 * (llama ? 3 : 2) * C * F, 2 * C * V];
}

/** Numbers kept for the backward pass, for one token, as `activations_per_token`. */
function activationsPerToken({ V, C, L, F, H, K, llama, rotary }) {
  const norm = llama ? 2 * C + 1 : C + 2;
  const attention = 3 * C + 2 * K + H + (rotary ? C : 0);
  return L * (2 * norm + attention + C + (llama ? 4 : 2) * F) + norm + C + V;
}

/** Bytes in training with 32-bit floats, as `training_memory`. */
function trainingMemory(sizes, parameters) {
  const weights = 4 * parameters;
  return [weights, weights, 2 * weights, 4 * sizes.B * sizes.T * activationsPerToken(sizes)];
}

/** The machines that hold so many bytes, in words. */
function listed(bytes) {
  const fits = MACHINES.filter(([, memory]) => bytes <= memory).map(([name]) => name);
  if (!fits.length) return "none of the three machines";
  return fits.length === MACHINES.length ? "all three machines" : `the ${fits.join(" and the ")}`;
}

const several = (n, word) => `${n} ${word}${n > 1 ? "s" : ""}`;

/** The picture in words; `ModelExplorer.describe` in Python says the same. */
function describe({ name, use, parameters, work, run, train }) {
  const shared = use.kv < use.H ? ` (${use.kv} for keys and values)` : "";
  return `${name}: ${several(use.L, "layer")}, ${use.C} wide, ${several(use.H, "head")}${shared}: `
    + `${short(parameters, WORDS)} parameters, ${short(work)}FLOPs for a token forward. `
    + `Running it takes ${short(run)}B and fits on ${listed(run)}; `
    + `training on ${several(use.B, "text")} takes ${short(train)}B and fits on ${listed(train)}.`;
}

/** How full a machine gets, in words. */
function fullness(bytes, memory) {
  if (bytes > memory) return `${kit.format(bytes / memory, bytes < 10 * memory ? 1 : 0)} times too large`;
  const percent = (100 * bytes) / memory;
  return percent < 1 ? "fits, under 1 %" : `fits, ${Math.floor(percent)} %`;
}

/** Two bars on a logarithmic scale, and a line for each machine. */
function gauge() {
  const picture = kit.canvas();
  const [LOW, HIGH] = [5, 15]; // powers of ten, in bytes
  function draw(colours, needs) {
    const context = picture.context;
    const room = Math.min(520, kit.roomFor(picture.root));
    const [left, top, height] = [54, 52, 24];
    const length = room - left - 8;
    const at = (bytes) => left + (length * Math.min(1, Math.max(0, (Math.log10(bytes) - LOW) / (HIGH - LOW))));
    const bottom = top + needs.length * height;
    picture.paint(room, bottom + 22, () => {
      context.textBaseline = "middle";
      context.textAlign = "right";
      context.font = `13px ${colours.mono}`;
      context.fillStyle = colours.ink;
      needs.forEach(([name], i) => context.fillText(name, left - 8, top + (i + 0.5) * height + 1));
      needs.forEach(([, bytes], i) => {
        context.fillStyle = colours.track;
        context.fillRect(left, top + i * height + 3, length, height - 6);
        context.fillStyle = colours.accent;
        context.fillRect(left, top + i * height + 3, Math.max(1, at(bytes) - left), height - 6);
      });
      MACHINES.forEach(([name, memory], i) => {
        context.strokeStyle = colours.mark;
        context.lineWidth = 1.5;
        context.setLineDash([[], [5, 3], [1, 3]][i]);
        context.beginPath();
        context.moveTo(at(memory), 8 + i * 15);
        context.lineTo(at(memory), bottom);
        context.stroke();
        context.setLineDash([]);
        context.font = `11px ${colours.font}`;
        context.textAlign = "left";
        context.fillStyle = colours.mark;
        context.fillText(name, at(memory) + 5, 8 + i * 15);
      });
      context.font = `11px ${colours.font}`;
      context.fillStyle = colours.muted;
      context.textAlign = "center";
      for (const [power, text] of [[6, "1 MB"], [9, "1 GB"], [12, "1 TB"]]) {
        context.fillRect(at(10 ** power), bottom, 1, 4);
        context.fillText(text, at(10 ** power), bottom + 13);
      }
    });
  }
  return { root: picture.root, describe: picture.describe, draw };
}

function render({ model, el }) {
  const view = kit.view({ model, el, title: "What does a model cost?", label: "Model explorer", draw });
  const presets = model.get("presets");
  const settings = Object.keys(Object.values(presets)[0].settings);
  const wishNow = () => Object.fromEntries([...settings, "batch_size"].map((name) => [name, model.get(name)]));
  let use = sizesInUse(wishNow());

  const shows = {
    vocab_size: (n) => `${grouped(n)} tokens`,
    d_model: grouped,
    n_layers: String,
    n_heads: (n) => (n === use.H ? String(n) : `${n} → ${use.H}`),
    n_kv_heads: (n) => (n === 0 ? `all ${use.H}` : n === use.kv ? String(n) : `${n} → ${use.kv}`),
    ff_ratio: (x) => `${grouped(use.F)} (${x} ×)`,
    context_length: (n) => `${grouped(n)} tokens`,
    batch_size: (n) => several(n, "text"),
  };
  const sliders = SLIDERS.map((options) => kit.slider(view, { ...options, show: shows[options.trait] }));
  const preset = kit.select(view, {
    trait: "preset", label: "Start from",
    options: [...Object.entries(presets).map(([key, { name }]) => [key, name]), ["", "your own sizes"]],
  });
  const blocks = kit.choice(view, { trait: "blocks", label: "Blocks as in", options: [["gpt2", "GPT-2"], ["llama", "Llama"]] });
  const positions = kit.choice(view, { trait: "positions", label: "Positions", options: [["learned", "learned"], ["rotary", "rotary"]] });
  const tied = kit.choice(view, { trait: "tied", label: "Output head", options: [[true, "tied"], [false, "its own"]] });

  const [parameterBars, workBars, memoryBars, fit] = [kit.bars(), kit.bars(), kit.bars(), gauge()];
  const headings = Object.fromEntries(["parameters", "work", "memory"].map((n) => [n, kit.element("p", { class: "llm-heading" })]));
  const hints = Object.fromEntries(["parameters", "work", "memory"].map((n) => [n, kit.element("p", { class: "llm-hint" })]));
  const panel = (name, bars) => kit.element("div", { class: "llm-panel" }, headings[name], hints[name], bars.root);
  const fits = kit.table("What fits");
  const impossible = kit.element("p", { class: "llm-reading", role: "status", style: "color: var(--llm-mark); font-weight: 600" });

  view.add(
    kit.row(preset, blocks, positions, tied),
    kit.row(...sliders),
    impossible,
    view.summary,
    kit.columns(
      panel("parameters", parameterBars),
      panel("work", workBars),
      panel("memory", memoryBars),
      kit.panel("What fits", "Run: the weights alone, 16-bit floats. Train: AdamW, 32-bit floats. The system and short-lived results need room on top.", fit, fits),
    ),
  );

  /** Take over the sizes of the preset that was chosen. */
  function onPreset() {
    const chosen = presets[model.get("preset")];
    if (chosen) Object.entries(chosen.settings).forEach(([name, value]) => model.set(name, value));
  }
  // What follows from a change is set before the kit saves the change: Python gets all at once.
  /** Say whose sizes these are. */
  function onSetting() {
    const now = wishNow();
    const same = ([, { settings: theirs }]) => settings.every((name) => theirs[name] === now[name]);
    use = sizesInUse(now);
    model.set("preset", (Object.entries(presets).find(same) || [""])[0]);
    view.redraw();
  }
  view.on("preset", onPreset);
  view.on(settings, onSetting);
  view.on("batch_size", onSetting);
  view.redraw();

  function draw(colours) {
    const wish = wishNow();
    use = sizesInUse(wish);
    sliders.forEach((slider) => slider.update());
    const trouble = mended(wish, use);
    if (impossible.textContent !== trouble) impossible.textContent = trouble;
    const parameters = parametersByPart(use);
    const work = flopsByPart(use);
    const memory = trainingMemory(use, sum(parameters));
    const [run, train] = [2 * sum(parameters), sum(memory)];

    headings.parameters.textContent = `Parameters: ${short(sum(parameters), WORDS)}`;
    headings.work.textContent = `Operations for a token, forward: ${short(sum(work))}FLOPs`;
    headings.memory.textContent = `Memory in training: ${short(train)}B`;
    hints.parameters.textContent = "By part, all layers together.";
    hints.work.textContent = `With the backward pass three times as many: ${short(3 * sum(work))}FLOPs.`;
    hints.memory.textContent = `${several(use.B, "text")} of ${grouped(use.T)} tokens, AdamW, 32-bit floats.`;
    drawBars(colours, parameterBars, PARTS, parameters);
    drawBars(colours, workBars, WORK, work, "FLOPs");
    drawBars(colours, memoryBars, KEPT, memory, "B");
    fit.draw(colours, [["run", run], ["train", train]]);
    fits.update(
      ["", ...MACHINES.map(([name]) => name)],
      [["run", run], ["train", train]].map(([name, bytes]) => [name, ...MACHINES.map(([, most]) => fullness(bytes, most))]),
    );

    const name = (presets[model.get("preset")] || { name: "Your model" }).name;
    const words = describe({ name, use, parameters: sum(parameters), work: sum(work), run, train });
    for (const [what, picture] of [["Parameters", parameterBars], ["Operations", workBars], ["Memory", memoryBars], ["What fits", fit]]) {
      picture.describe(`${what}. ${words}`);
    }
    view.say(words);
    view.root.dataset.row = JSON.stringify([...parameters, ...work, ...memory]);
  }

  /** Bars whose lengths are shares of the whole; without a `unit` the counts stand in words. */
  function drawBars(colours, picture, labels, counts, unit = "") {
    const total = sum(counts);
    picture.draw(colours, {
      labels, values: counts.map((n) => n / total), texts: counts.map((n) => short(n, unit ? PREFIXES : WORDS) + unit),
    });
  }

  return view.dispose;
}

export default { render };
