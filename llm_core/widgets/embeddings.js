// The map of word vectors: Python sends the vectors and their flat map; rankings, the analogy and the
// look from its side are worked out here.
const SHOWN = 8; // rows of a ranking

const dot = (a, b) => {
  let sum = 0;
  for (let i = 0; i < a.length; i += 1) sum += a[i] * b[i];
  return sum;
};
const combine = (...terms) => terms[0][1].map((_, i) => terms.reduce((sum, [factor, v]) => sum + factor * v[i], 0));
const unitOf = (v) => {
  const length = Math.sqrt(dot(v, v));
  return length > 0 ? v.map((x) => x / length) : v;
};

/** The rows of a packed table as arrays of doubles. */
function rowsOf({ shape: [V, C], data }) {
  return Array.from({ length: V }, (_, i) => Float64Array.from(data.subarray(i * C, (i + 1) * C)));
}

/** The places of the `SHOWN` highest scores, [place, score], of equals the earlier first. */
function best(scores, excluded) {
  const order = scores.map((_, i) => i).filter((i) => !excluded.has(i));
  order.sort((i, j) => scores[j] - scores[i] || i - j);
  return order.slice(0, SHOWN).map((i) => [i, scores[i]]);
}

/** Nearest neighbours of row `chosen` by cosine; `embeddings.nearest` in Python says the same. */
function neighboursOf(units, chosen) {
  return best(units.map((u) => dot(u, units[chosen])), new Set([chosen]));
}

/** Rows nearest to b - a + c; `embeddings.analogy` in Python says the same. */
function answersTo(rows, units, [a, b, c], normalise, excludeInputs) {
  const used = normalise ? units : rows;
  const sum = combine([1, used[b]], [-1, used[a]], [1, used[c]]);
  const query = normalise ? unitOf(sum) : sum;
  return best(used.map((row) => dot(row, query)), new Set(excludeInputs ? [a, b, c] : []));
}

/** All rows seen from the plane in which a, b and c lie, with a at the origin: x and y in turn. */
function planeOf(units, [a, b, c]) {
  const across = unitOf(combine([1, units[b]], [-1, units[a]]));
  const step = combine([1, units[c]], [-1, units[a]]);
  const up = unitOf(combine([1, step], [-dot(step, across), across]));
  const [x, y] = [dot(units[a], across), dot(units[a], up)];
  const places = new Float64Array(2 * units.length);
  units.forEach((u, i) => {
    places[2 * i] = dot(u, across) - x;
    places[2 * i + 1] = dot(u, up) - y;
  });
  return places;
}

/** The picture in words; `EmbeddingExplorer.describe` in Python says the same. */
function describe({ words, chosen, neighbours, inputs: [a, b, c], answers }) {
  const told = (ranked) => ranked.slice(0, 3).map(([i, score]) => `${words[i]} (${kit.format(score)})`).join(", ");
  return `Nearest to ${words[chosen]}: ${told(neighbours)}. `
    + `${words[b]} − ${words[a]} + ${words[c]}: ${told(answers)}.`;
}

function render({ model, el }) {
  let rows = [];
  let units = [];
  let points = [];
  let hovered = null;

  const view = kit.view({ model, el, title: "A map of the vectors", label: "Embedding explorer", draw });
  const names = [...model.get("words")].sort((a, b) => a.localeCompare(b)).map((word) => [word, word]);
  const picker = (trait, label) => kit.select(view, { trait, label, options: names });
  const pick = (i) => view.set("word", model.get("words")[i]);

  const map = kit.scatter({
    onpick: pick,
    onhover: (i) => {
      if (i === hovered) return;
      hovered = i;
      view.redraw();
    },
  });
  const near = kit.bars();
  const answers = kit.bars();
  const nearHeading = kit.element("p", { class: "llm-heading" });
  const answerHeading = kit.element("p", { class: "llm-heading" });
  const note = kit.element("p", { class: "llm-reading" });

  view.add(
    kit.row(picker("word", "Word"), picker("b", "Start with"), picker("a", "Take away"), picker("c", "Add")),
    kit.row(
      kit.choice(view, { trait: "plane", label: "Look at", options: [["all", "all words"], ["analogy", "the analogy's plane"]] }),
      kit.choice(view, { trait: "normalise", label: "Lengths", options: [[true, "made equal"], [false, "as they are"]] }),
      kit.choice(view, { trait: "exclude_inputs", label: "The three inputs", options: [[true, "left out"], [false, "may win"]] }),
    ),
    view.summary,
    kit.columns(
      kit.element(
        "div", { class: "llm-panel llm-wide" },
        kit.element("p", { class: "llm-hint" }, "Point at a word, or click it, to see its neighbours. Solid arrow: from what is taken away to the start. Dashed: the same step from what is added; it ends at the cross."),
        map.root, note,
      ),
      kit.element("div", { class: "llm-panel" }, nearHeading, near.root, kit.element("p", { class: "llm-hint" }), answerHeading, answers.root),
    ),
  );

  function unpack() {
    const arrays = model.get("arrays");
    rows = rowsOf(kit.array(arrays.vectors));
    units = rows.map(unitOf);
    points = kit.array(arrays.points).data;
  }
  view.on("arrays", unpack);
  view.on(["arrays", "word", "a", "b", "c", "plane", "normalise", "exclude_inputs"], view.redraw);
  unpack();
  view.redraw();

  function draw(colours) {
    const words = model.get("words");
    const place = new Map(words.map((word, i) => [word, i]));
    const chosen = hovered ?? place.get(model.get("word"));
    const inputs = ["a", "b", "c"].map((trait) => place.get(model.get(trait)));
    const [normalise, excludeInputs] = [model.get("normalise"), model.get("exclude_inputs")];
    const neighbours = neighboursOf(units, chosen);
    const ranked = answersTo(rows, units, inputs, normalise, excludeInputs);

    drawMap(colours, words, chosen, inputs, neighbours, ranked);
    const [a, b, c] = inputs.map((i) => words[i]);
    nearHeading.textContent = `Nearest to ${words[chosen]}, by cosine`;
    drawRanking(near, colours, words, neighbours, 1);
    answerHeading.textContent = `${b} − ${a} + ${c} =`;
    drawRanking(answers, colours, words, ranked, normalise ? 1 : Math.max(...ranked.map(([, s]) => s), 1e-9));

    const told = describe({ words, chosen, neighbours, inputs, answers: ranked });
    map.describe(`Map of ${words.length} words. ${told}`);
    near.describe(`Bars. ${told.split(". ")[0]}.`);
    answers.describe(`Bars. ${told.slice(told.indexOf(". ") + 2)}`);
    view.say(told);
    view.root.dataset.neighbours = JSON.stringify(neighbours.map(([i, score]) => [words[i], score]));
    view.root.dataset.answers = JSON.stringify(ranked.map(([i, score]) => [words[i], score]));
  }

  function drawMap(colours, words, chosen, inputs, neighbours, ranked) {
    const ofAnalogy = model.get("plane") === "analogy";
    const shown = ofAnalogy ? planeOf(units, inputs) : points;
    const at = (i) => [shown[2 * i], shown[2 * i + 1]];
    const [a, b, c] = inputs.map(at);
    const sum = combine([1, b], [-1, a], [1, c]);
    const near_ = neighbours.slice(0, 5).map(([i]) => i);
    map.draw(colours, {
      names: words,
      points: shown,
      groups: model.get("groups"),
      legend: model.get("legend"),
      strong: [...new Set([chosen, ...inputs, ranked.length ? ranked[0][0] : chosen, ...near_])],
      lines: [
        { from: a, to: b, arrow: true },
        { from: c, to: sum, arrow: true, dashed: true },
      ],
      cross: sum,
    });
    note.textContent = ofAnalogy
      ? "Seen from the side on which the three words lie, the two arrows are equal and parallel."
      : `These two directions hold ${Math.round(100 * model.get("share"))} % of the spread: words that look close here may be apart.`;
  }

  function drawRanking(bars, colours, words, ranked, most) {
    bars.draw(colours, {
      labels: ranked.map(([i]) => words[i]), values: ranked.map(([, score]) => score), selected: 0, most,
    });
  }

  return view.dispose;
}

export default { render };
