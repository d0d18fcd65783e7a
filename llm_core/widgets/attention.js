// The attention explorer: Python sends the scores, weights and values of every layer and head; all
// that a control changes is done here.
const STEPS = [
  { name: "1 Scores", map: "Scores q · k", shows: "the raw scores" },
  { name: "2 Scale", map: "Scores ÷ √D", shows: "the scaled scores" },
  { name: "3 Mask", map: "Scores, the future masked", shows: "the masked scores" },
  { name: "4 Softmax", map: "Attention weights", shows: "the weights" },
  { name: "5 Weighted values", map: "Output: weighted values", shows: "the weighted values" },
];
const CHANNELS_SHOWN = 3;

/** The numbers of one head, each step made from the one before. */
function headOf(arrays, layer, head) {
  const { shape: [, H, T], data: scores } = arrays.scores;
  const D = arrays.values.shape[3];
  const place = layer * H + head;
  const raw = scores.subarray(place * T * T, (place + 1) * T * T);
  const weights = arrays.weights.data.subarray(place * T * T, (place + 1) * T * T);
  const values = arrays.values.data.subarray(place * T * D, (place + 1) * T * D);
  const scaled = raw.map((score) => score / Math.sqrt(D));
  return { T, D, raw, scaled, weights, values };
}

/** Scaled scores of one query with the future at -Infinity, and their softmax. */
function rowOf({ T, scaled }, query) {
  const masked = Array.from({ length: T }, (_, key) => (key <= query ? scaled[query * T + key] : -Infinity));
  return { masked, weights: kit.softmax(masked) };
}

/** Outputs of all queries, (T, D): each the sum of the values in the query's own proportions. */
function mix({ T, D, weights, values }) {
  const output = new Float32Array(T * D);
  for (let i = 0; i < T; i += 1) {
    for (let j = 0; j <= i; j += 1) {
      const weight = weights[i * T + j];
      for (let d = 0; d < D; d += 1) output[i * D + d] += weight * values[j * D + d];
    }
  }
  return output;
}

/** A token's name in a sentence; with its position where the text holds it more than once. */
function nameOf(tokens, i) {
  const twice = tokens.indexOf(tokens[i]) !== tokens.lastIndexOf(tokens[i]);
  return `"${tokens[i]}"${twice ? ` at ${i}` : ""}`;
}

/** The picture in words; `AttentionExplorer.describe` in Python says the same. */
function describe({ tokens, layer, head, query, step, weights }) {
  const order = tokens.map((_, i) => i).slice(0, query + 1);
  order.sort((a, b) => weights[b] - weights[a] || a - b);
  const looks = order.slice(0, 3).map((i) => `${nameOf(tokens, i)} (${kit.format(weights[i])})`);
  const where = query === 0 ? "can only look at itself" : `looks most at ${looks.join(", ")}`;
  return `Layer ${layer}, head ${head}: ${nameOf(tokens, query)} ${where}. The map shows ${STEPS[step].shows}.`;
}

/** Smallest and largest of the numbers. */
function ends(values) {
  let [low, high] = [Infinity, -Infinity];
  for (const value of values) {
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return [low, high];
}

function render({ model, el }) {
  let arrays = null;
  let hovered = [null, null];
  let revealed = ""; // for which numbers the table has been scrolled to the heaviest key

  const view = kit.view({ model, el, title: "Where does each token look?", label: "Attention explorer", draw });
  const count = (n) => Array.from({ length: n }, (_, i) => [i + 1, String(i + 1)]);
  const pickOf = (trait, label, n) => (n > 8 ? kit.select : kit.choice)(view, { trait, label, options: count(n) });

  const text = kit.textInput(view, { trait: "text", label: "Text", button: "Apply", maxlength: 1000 });
  const step = kit.choice(view, { trait: "step", label: "Step", options: STEPS.map(({ name }, i) => [i, name]) });
  const chips = kit.tokenRow({
    label: "Query token",
    onpick: (i) => view.set("query", i),
    onhover: (i) => hover(i, null),
  });
  const map = kit.heatmap({ onhover: hover, onpick: (row) => view.set("query", row) });
  const lines = kit.links({ onhover: (row) => hover(row, null), onpick: (row) => view.set("query", row) });
  const numbers = kit.table("Numbers of the chosen query");
  const mapHeading = kit.element("p", { class: "llm-heading" });
  const reading = kit.element("p", { class: "llm-reading" });
  const numbersHeading = kit.element("p", { class: "llm-heading" });
  const mapPanel = kit.element("div", { class: "llm-panel llm-wide" }, mapHeading, map.root, reading);

  view.add(
    kit.row(text),
    kit.row(
      pickOf("layer", "Layer", model.get("n_layers")), pickOf("head", "Head", model.get("n_heads")), step,
    ),
    kit.element("p", { class: "llm-hint" }, "Query token: click one, or move with the arrow keys. The number under a token is how much the query looks at it."),
    chips,
    view.summary,
    numbersHeading,
    numbers,
    kit.columns(mapPanel, kit.panel("Who looks at whom", null, lines)),
  );

  function unpack() {
    const packed = model.get("arrays");
    arrays = packed.scores
      ? Object.fromEntries(Object.keys(packed).map((name) => [name, kit.array(packed[name])]))
      : null;
    hovered = [null, null];
    revealed = "";
  }
  function hover(row, column) {
    if (hovered[0] === row && hovered[1] === column) return;
    hovered = [row, column];
    view.redraw();
  }
  view.on("arrays", unpack);
  view.on(["arrays", "tokens", "layer", "head", "query", "step"], view.redraw);
  unpack();
  view.redraw();

  function draw(colours) {
    const tokens = model.get("tokens");
    if (!arrays || arrays.scores.shape[2] !== tokens.length) return;
    const [layer, headNumber, stepNow] = [model.get("layer"), model.get("head"), model.get("step")];
    const head = headOf(arrays, layer - 1, headNumber - 1);
    const pinned = Math.min(model.get("query"), head.T - 1);
    const query = Math.min(hovered[0] ?? pinned, head.T - 1);
    const row = rowOf(head, query);

    chips.update(tokens, pinned, row.weights, query);
    drawMap(colours, tokens, head, stepNow, query);
    lines.draw(colours, {
      labels: tokens, weights: head.weights, selected: query, leftTitle: "query", rightTitle: "looks at",
    });
    writeNumbers(tokens, head, stepNow, query, row);

    const words = describe({ tokens, layer, head: headNumber, query, step: stepNow, weights: row.weights });
    map.describe(`Heat map. ${words}`);
    lines.describe(`Lines between tokens. ${words}`);
    view.say(words);
    view.root.dataset.row = JSON.stringify(row.weights);
  }

  function drawMap(colours, tokens, head, stepNow, query) {
    const future = (i, j) => j > i;
    const options = [
      { values: head.raw },
      { values: head.scaled },
      { values: head.scaled, hidden: future, range: head.scaled.filter((_, n) => n % head.T <= n / head.T) },
      { values: head.weights, hidden: future, low: 0, high: 1 },
      { values: stepNow === 4 ? mix(head) : null },
    ][stepNow];
    const [low, high] = ends(options.range ?? options.values);
    const columns = stepNow === 4 ? Array.from({ length: head.D }, (_, d) => String(d)) : tokens;
    mapHeading.textContent = STEPS[stepNow].map;
    map.draw(colours, {
      low, high, ...options, rows: tokens, columns, selected: query, hovered,
      rowTitle: "query", columnTitle: stepNow === 4 ? "channel of the output" : "key",
    });
    reading.textContent = readingOf(tokens, head, options, columns, stepNow);
  }

  function readingOf(tokens, head, options, columns, stepNow) {
    const [i, j] = hovered;
    if (i === null || j === null || j >= columns.length) return "Point at a cell to read its number.";
    const value = options.hidden && options.hidden(i, j)
      ? (stepNow === 3 ? "0, masked: it lies in the future" : "−∞, masked: it lies in the future")
      : kit.format(options.values[i * columns.length + j], 3);
    const key = stepNow === 4 ? `channel ${j}` : nameOf(tokens, j);
    return `${nameOf(tokens, i)} → ${key}: ${value}`;
  }

  function writeNumbers(tokens, head, stepNow, query, row) {
    const { T, D, raw, scaled, values } = head;
    const at = (numbers_) => Array.from(numbers_.subarray(query * T, (query + 1) * T));
    const line = (name, entries, sum = "") => [name, ...entries.map((x) => kit.format(x)), sum];
    const rows = [
      line("q · k", at(raw)),
      line(`÷ √${D} = ÷ ${kit.format(Math.sqrt(D))}`, at(scaled)),
      line("mask", row.masked),
      line("softmax", row.weights, "1.00"),
    ];
    for (let d = 0; d < Math.min(CHANNELS_SHOWN, D); d += 1) {
      const parts = row.weights.map((weight, key) => weight * values[key * D + d]);
      rows.push(line(`weight × value[${d}]`, parts, kit.format(parts.reduce((a, b) => a + b, 0))));
    }
    const heaviest = row.weights.indexOf(Math.max(...row.weights));
    const most = heaviest === query ? "itself" : nameOf(tokens, heaviest);
    numbersHeading.textContent = `The numbers of ${nameOf(tokens, query)}, step by step (it looks most at ${most})`;
    numbers.update(["key", ...tokens, "sum"], rows);
    numbers.phase((r) => Math.sign(Math.min(r, 4) - stepNow));
    numbers.mark({ "llm-marked": query + 1, "llm-heaviest": heaviest + 1 });
    const wanted = `${model.get("layer")} ${model.get("head")} ${query}`;
    if (wanted !== revealed && numbers.reveal(heaviest + 1)) revealed = wanted;
  }

  return view.dispose;
}

export default { render };
