// The storyteller: Python draws one token whenever the page asks for more; the page shows the
// story and works out the candidates' probabilities from the logits while the slider moves.

/** Probabilities from logits, sorted from the largest down; at temperature 0 the first takes all. */
function probabilitiesAt(logits, temperature) {
  if (temperature === 0) return Array.from(logits, (_, i) => (i === 0 ? 1 : 0));
  return kit.softmax(Array.from(logits, (logit) => logit / temperature));
}

/** The picture in words; `StoryTeller.describe` in Python says the same. */
function describe({ seed, temperature, tokens, place, names, shares }) {
  const likeliest = names.slice(0, 3).map((name, i) => `"${name}" (${kit.format(shares[i])})`).join(", ");
  return `Seed ${seed}, temperature ${kit.format(temperature, 1)}, ${tokens.length} tokens written. `
    + `Likeliest candidates for token ${place + 1}, "${tokens[place]}": ${likeliest}.`;
}

function render({ model, el }) {
  const view = kit.view({ model, el, title: "Let the model tell a story", label: "Storyteller", draw });

  /** Ask for a new story. The settings travel with the question, so that they cannot come late. */
  const generate = () => {
    const names = ["prompt", "temperature", "length", "seed"];
    model.send({ kind: "generate", ...Object.fromEntries(names.map((name) => [name, model.get(name)])) });
  };
  const another = () => {
    view.set("prompt", prompt.input.value);
    view.set("seed", (model.get("seed") + 1) % 10000);
    generate();
  };

  const prompt = kit.textInput(view, { trait: "prompt", label: "Beginning", maxlength: 500, onapply: generate });
  const temperature = kit.slider(view, {
    trait: "temperature", label: "Temperature", min: 0, max: 2, step: 0.1,
    show: (x) => kit.format(x, 1), onrelease: generate,
  });
  const length = kit.slider(view, {
    trait: "length", label: "Length", unit: "tokens", min: 5, max: 120, step: 5, onrelease: generate,
  });
  const seed = kit.numberInput(view, { trait: "seed", label: "Seed", min: 0, max: 9999, onapply: generate });
  const button = kit.button("Generate", another, { main: true });
  const progress = kit.element("span", { class: "llm-progress" });
  const beginning = kit.element("b");
  const story = kit.tokenRow({ label: "Tokens of the story", onpick: (place) => model.send({ kind: "look", place }) });
  const page = kit.element("div", { class: "llm-story", "data-picture": "" }, beginning, story.root);
  const heading = kit.element("p", { class: "llm-heading" });
  const bars = kit.bars();

  view.add(
    kit.row(prompt),
    kit.row(temperature, length, seed, button, progress),
    kit.columns(
      kit.panel("The story", "Generate takes the next seed; a slider draws again with the same seed. Choose a token to see what else could have stood there.", page),
      kit.element(
        "div", { class: "llm-panel" }, heading,
        kit.element("p", { class: "llm-hint" }, "Bold: the one that was drawn. Move the temperature and watch the bars."),
        bars.root,
      ),
    ),
  );

  // Each answer to this question is one token, so the page and the kernel stay free in between.
  view.on("tokens", () => {
    if (model.get("running") && model.get("tokens").length > 0) model.send({ kind: "more" });
  });
  view.on(["beginning", "tokens", "place", "running", "arrays", "names", "drawn", "temperature"], view.redraw);
  view.redraw();

  function draw(colours) {
    const running = model.get("running");
    beginning.textContent = model.get("beginning");
    const [tokens, place] = [model.get("tokens"), model.get("place")];
    story.update(tokens, place);
    page.setAttribute("aria-busy", String(running));
    progress.textContent = running ? `writing … ${tokens.length} of ${model.get("length")}` : "";
    if (running) view.say("Writing a new story …");

    const names = model.get("names");
    const packed = model.get("arrays").logits;
    if (!packed || !names.length || place >= tokens.length) return;
    heading.textContent = `Candidates for token ${place + 1}, "${tokens[place]}"`;
    const all = probabilitiesAt(kit.array(packed).data, model.get("temperature"));
    const shares = model.get("ranks").map((rank) => all[rank]);
    bars.draw(colours, { labels: names, values: shares, selected: model.get("drawn") });
    const words = describe({
      seed: model.get("seed"), temperature: model.get("temperature"), tokens, place, names, shares,
    });
    bars.describe(`Bars. ${words}`);
    view.root.dataset.row = JSON.stringify(shares);
    if (!running) view.say(words);
  }

  return view.dispose;
}

export default { render };
