// The next-token explorer: Python sends the logits after the text, sorted from the largest down; what
// the sliders make of them is worked out here. A chosen token goes to Python, which sends new logits.

/**
 * Apply temperature, top-k, top-p and min-p to sorted logits, in this order, as `Choice` in Python.
 *
 * Returns { changed, reasons }: the logits, dropped ones at -Infinity, and which cut dropped each.
 */
function applySettings(logits, { temperature, top_k: k, top_p: p, min_p: minP }) {
  const changed = Array.from(logits, (logit) => logit / temperature);
  const reasons = changed.map(() => "");
  const drop = (i, reason) => {
    if (changed[i] === -Infinity) return;
    changed[i] = -Infinity;
    reasons[i] = reason;
  };
  if (k > 0) {
    const limit = changed[Math.min(k, changed.length) - 1];
    changed.forEach((logit, i) => { if (logit < limit) drop(i, "top-k"); });
  }
  if (p < 1) {
    let before = 0;
    kit.softmax(changed).forEach((share, i) => {
      if (before >= p) drop(i, "top-p");
      before += share;
    });
  }
  if (minP > 0) {
    const shares = kit.softmax(changed);
    shares.forEach((share, i) => { if (share < minP * shares[0]) drop(i, "min-p"); });
  }
  return { changed, reasons };
}

/** Mean surprise of a row of probabilities, in nats. */
const entropyOf = (shares) => shares.reduce((sum, p) => (p > 0 ? sum - p * Math.log(p) : sum), 0);

/** The picture in words; `NextTokenExplorer.describe` in Python says the same. */
function describe({ last, names, shares, changed, path, surprise }) {
  const left = changed.filter((logit) => logit > -Infinity).length;
  const likeliest = names.slice(0, 3)
    .map((name, i) => [name, shares[i]]).filter(([, share]) => share > 0)
    .map(([name, share]) => `"${name}" (${kit.format(share)})`).join(", ");
  const steps = `${path.length} token${path.length === 1 ? "" : "s"}`;
  return `After "${last}": ${left} of ${shares.length} tokens left, `
    + `entropy ${kit.format(entropyOf(shares))} nats. Likeliest: ${likeliest}. `
    + `Path: ${steps}, surprise ${kit.format(surprise)} nats.`;
}

/** Bars that can be chosen: by click, or by arrow keys, Home, End and Enter. */
function candidates({ onmove, onpick }) {
  const root = kit.element("div", {
    class: "llm-candidates", role: "radiogroup", "aria-label": "Candidates", "data-picture": "",
    onkeydown: (event) => {
      const at = rows.findIndex((row) => row.root === document.activeElement);
      const last = rows.length - 1;
      const moves = { ArrowDown: at + 1, ArrowRight: at + 1, ArrowUp: at - 1, ArrowLeft: at - 1, Home: 0, End: last };
      if (event.key === "Enter" && at >= 0) onpick(at);
      else if (event.key in moves && last >= 0) {
        const next = Math.min(last, Math.max(0, moves[event.key]));
        onmove(next);
        rows[next].root.focus();
      } else return;
      event.preventDefault();
    },
  });
  let rows = [];

  function build(count) {
    rows = Array.from({ length: count }, (_, i) => {
      const [name, number] = [kit.element("span", { class: "llm-name" }), kit.element("span", { class: "llm-number" })];
      const [outline, fill] = [kit.element("i", { class: "llm-outline" }), kit.element("i", { class: "llm-fill" })];
      const track = kit.element("span", { class: "llm-bar" }, fill, outline);
      const row = kit.element(
        "button", { type: "button", role: "radio", class: "llm-candidate", onclick: () => onpick(i) }, name, track, number,
      );
      return { root: row, name, number, outline, fill };
    });
    root.replaceChildren(...rows.map((row) => row.root));
  }
  function update({ names, before, shares, reasons, chosen }) {
    if (rows.length !== names.length) build(names.length);
    const hadFocus = root.contains(document.activeElement);
    rows.forEach((row, i) => {
      row.name.textContent = names[i];
      row.number.textContent = reasons[i] ? `out: ${reasons[i]}` : kit.format(shares[i]);
      row.outline.style.width = `${(100 * before[i]).toFixed(2)}%`;
      row.fill.style.width = `${(100 * shares[i]).toFixed(2)}%`;
      row.root.classList.toggle("llm-out", Boolean(reasons[i]));
      row.root.setAttribute("aria-checked", String(i === chosen));
      row.root.setAttribute("aria-label", `${names[i]}, ${reasons[i] ? `dropped by ${reasons[i]}` : kit.format(shares[i])}`);
      row.root.tabIndex = i === chosen ? 0 : -1;
    });
    if (hadFocus && rows[chosen] && rows[chosen].root !== document.activeElement) rows[chosen].root.focus();
  }
  return { root, update };
}

function render({ model, el }) {
  const view = kit.view({ model, el, title: "What comes next?", label: "Next-token explorer", draw });
  const SETTINGS = ["temperature", "top_k", "top_p", "min_p"];
  const ask = (kind, more = {}) => model.send({ kind, ...more });
  const valuesNow = () => Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
  const drawOne = () => ask("draw", valuesNow()); // the settings travel with the question

  const text = kit.textInput(view, { trait: "prompt", label: "Beginning", button: "Begin", maxlength: 1000 });
  const sliders = [
    { trait: "temperature", label: "Temperature", min: 0.1, max: 3, step: 0.1, show: (x) => kit.format(x, 1) },
    { trait: "top_k", label: "Top-k", min: 0, max: 20, step: 1, show: (x) => (x ? String(x) : "off") },
    { trait: "top_p", label: "Top-p", min: 0.05, max: 1, step: 0.05, show: (x) => (x < 1 ? kit.format(x) : "off") },
    { trait: "min_p", label: "Min-p", min: 0, max: 0.5, step: 0.01, show: (x) => (x > 0 ? kit.format(x) : "off") },
  ].map((options) => kit.slider(view, options));
  const settings = kit.element("div", { class: "llm-row llm-settings" }, sliders.map((slider) => slider.root));
  const draw1 = kit.button("Draw one", drawOne, { main: true });
  const undo = kit.button("Undo", () => ask("undo"));
  const beginning = kit.element("span", { class: "llm-given" });
  const path = kit.element("span", {});
  const page = kit.element("p", { class: "llm-path", "data-picture": "" }, beginning, " ", path, kit.element("span", { class: "llm-caret" }, "▏"));
  const bars = candidates({ onmove: (i) => view.set("chosen", i), onpick: (i) => ask("choose", { place: i }) });
  const rest = kit.element("p", { class: "llm-reading" });

  view.add(
    kit.row(text),
    page,
    kit.row(draw1, undo),
    settings,
    view.summary,
    kit.element("p", { class: "llm-hint" }, "Click a bar, or move with the arrow keys and press Enter, to go on with it. Outline: the model's own probability. Filled: with your settings. Striped: dropped."),
    bars,
    rest,
  );
  view.on(["arrays", "names", "path", "beginning", "last", "surprise", "chosen", ...SETTINGS], view.redraw);
  view.redraw();

  function draw() {
    const packed = model.get("arrays").logits;
    const names = model.get("names");
    if (!packed || !names.length) return;
    const logits = kit.array(packed).data;
    const { changed, reasons } = applySettings(logits, valuesNow());
    const [before, shares] = [kit.softmax(logits), kit.softmax(changed)];

    beginning.textContent = model.get("beginning");
    path.replaceChildren(...model.get("path").flatMap((name) => [kit.element("b", {}, name), " "]));
    undo.disabled = model.get("path").length === 0;
    bars.update({ names, before, shares, reasons, chosen: model.get("chosen") });
    const others = shares.slice(names.length);
    const kept = others.filter((share) => share > 0).length;
    rest.textContent = `${others.length} further tokens: ${kept} left, with ${kit.format(others.reduce((a, b) => a + b, 0))} together.`;
    view.say(describe({
      last: model.get("last"), names, shares, changed, path: model.get("path"), surprise: model.get("surprise"),
    }));
    view.root.dataset.row = JSON.stringify(shares.slice(0, names.length));
  }

  return view.dispose;
}

export default { render };
