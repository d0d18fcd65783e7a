// The beam explorer: Python sends the whole tree of a search; the page grows it step by step, and
// works out the scores for any length penalty.
const COLUMN = 144; // pixels from one step to the next
const LINE = 30; // pixels from one candidate to the next
const BOX = { width: 124, height: 22 };
const SIGN = { live: "", finished: "■ ", pruned: "× " };

/** ln p divided by length^alpha; `BeamExplorer.score` in Python is the same. */
const scoreOf = (node, alpha) => node.log_prob / Math.max(1, node.step) ** alpha;

/** Indices of the finished beams up to a step and of those alive at it, the best first. */
function ranking(nodes, step, alpha, nBeams) {
  const found = nodes.map((node, i) => i).filter((i) => (
    (nodes[i].fate === "finished" && nodes[i].step <= step)
    || (nodes[i].fate === "live" && nodes[i].step === step && step > 0)
  ));
  found.sort((a, b) => scoreOf(nodes[b], alpha) - scoreOf(nodes[a], alpha) || a - b);
  return found.slice(0, nBeams);
}

/** The picture in words; `BeamExplorer.describe` in Python says the same. */
function describe({ nodes, step, nSteps, alpha, best }) {
  if (step === 0) return `Step 0 of ${nSteps}: the search begins with one beam, the prompt.`;
  const count = (fate) => nodes.filter((node) => node.step === step && node.fate === fate).length;
  const counts = ["live", "finished", "pruned"].map((fate) => `${count(fate)} ${fate}`).join(", ");
  const node = nodes[best];
  return `Step ${step} of ${nSteps}: ${counts}. Best so far: "${node.text}" with score `
    + `${kit.format(scoreOf(node, alpha))} (ln p ${kit.format(node.log_prob)}, `
    + `${node.step} token${node.step === 1 ? "" : "s"}, α = ${kit.format(alpha, 1)}).`;
}

/** The numbers of one node, in words. */
function readingOf(nodes, i, alpha) {
  const node = nodes[i];
  if (node.step === 0) return "The prompt: every beam begins here, with ln p = 0.";
  const own = node.log_prob - nodes[node.parent].log_prob;
  const fate = { live: "lives on", finished: "is finished and kept", pruned: "was pruned" }[node.fate];
  return `"${node.text}" ${fate}. ln p of "${node.token}" ${kit.format(own)}, of the text ${kit.format(node.log_prob)}; `
    + `score ${kit.format(node.log_prob)} ÷ ${node.step}^${kit.format(alpha, 1)} = ${kit.format(scoreOf(node, alpha))}.`;
}

function render({ model, el }) {
  const view = kit.view({ model, el, title: "Follow several beginnings at once", label: "Beam explorer", draw });
  const nodesNow = () => model.get("nodes");
  const visible = (i) => nodesNow()[i].step <= model.get("step");
  const inColumn = (step) => nodesNow().map((_, i) => i).filter((i) => nodesNow()[i].step === step);

  const text = kit.textInput(view, { trait: "prompt", label: "Beginning", button: "Search", maxlength: 500 });
  const beams = kit.choice(view, { trait: "n_beams", label: "Beams", options: [1, 2, 3, 4, 5].map((n) => [n, String(n)]) });
  const alpha = kit.slider(view, {
    trait: "alpha", label: "Length penalty α", min: 0, max: 2, step: 0.1, show: (x) => kit.format(x, 1),
  });
  const steps = kit.slider(view, { trait: "step", label: "Step", min: 0, max: 1 });
  const move = (by) => setStep(model.get("step") + by);
  const back = kit.button("Back", () => move(-1));
  const forward = kit.button("Step", () => move(1), { main: true });
  const picture = kit.canvas();
  const tree = kit.element("div", {
    class: "llm-tree", tabindex: "0", role: "group", "aria-label": "Beam tree", onkeydown: onKey,
  }, picture.root);
  const reading = kit.element("p", { class: "llm-reading", "aria-live": "polite", "data-picture": "" });
  const ranks = kit.table("Best so far");
  ranks.root.setAttribute("data-picture", "");
  let places = new Map(); // where each node was drawn: index to [x, y] of its middle
  let scrolledFor = -1; // for which step, and which candidate, the tree has been scrolled
  let scrolledTo = model.get("picked");

  view.add(
    kit.row(text),
    kit.row(beams, alpha, steps, back, forward),
    view.summary,
    kit.element("p", { class: "llm-hint" }, "Click a candidate, or move with the arrow keys, to read its numbers. Solid: lives on. Dashed, ×: pruned. Double, ■: finished. The number is ln p of the text so far."),
    tree,
    reading,
    kit.element("p", { class: "llm-heading" }, "Best so far"),
    ranks,
  );
  picture.root.addEventListener("click", (event) => {
    for (const [i, [x, y]] of places) {
      const near = Math.abs(event.offsetX - x) <= BOX.width / 2 && Math.abs(event.offsetY - y) <= LINE / 2;
      if (near) view.set("picked", i);
    }
  });
  view.on("nodes", () => { scrolledFor = -1; });
  view.on(["nodes", "n_steps", "n_beams", "alpha", "step", "picked"], view.redraw);
  view.redraw();

  function setStep(step) {
    const wanted = Math.min(model.get("n_steps"), Math.max(0, step));
    view.set("step", wanted);
  }

  function onKey(event) {
    const nodes = nodesNow();
    const picked = visible(model.get("picked")) ? model.get("picked") : 0;
    const column = inColumn(nodes[picked].step);
    const at = column.indexOf(picked);
    const child = nodes.findIndex((node, i) => node.parent === picked && visible(i));
    const next = {
      ArrowUp: column[at - 1], ArrowDown: column[at + 1], ArrowLeft: nodes[picked].parent, ArrowRight: child,
      Home: 0,
    }[event.key];
    if (!(event.key.startsWith("Arrow") || event.key === "Home")) return;
    event.preventDefault();
    if (next !== undefined && next >= 0) view.set("picked", next);
  }

  function draw(colours) {
    const nodes = nodesNow();
    if (!nodes.length) return;
    const nSteps = model.get("n_steps");
    const step = Math.min(model.get("step"), nSteps);
    const alphaNow = model.get("alpha");
    const ranked = ranking(nodes, step, alphaNow, model.get("n_beams"));
    const best = ranked.length ? ranked[0] : 0;
    const picked = nodes[model.get("picked")] && nodes[model.get("picked")].step <= step ? model.get("picked") : best;
    steps.input.max = nSteps;
    steps.input.value = step;
    back.disabled = step === 0;
    forward.disabled = step === nSteps;

    drawTree(colours, nodes, step, lineOf(nodes, best), picked);
    reading.textContent = readingOf(nodes, picked, alphaNow);
    const rows = ranked.map((i, rank) => [
      String(rank + 1), nodes[i].text, nodes[i].fate, String(nodes[i].step),
      kit.format(nodes[i].log_prob), kit.format(scoreOf(nodes[i], alphaNow)),
    ]);
    ranks.update(["", "text", "state", "tokens", "ln p", "score"], rows);
    const words = describe({ nodes, step, nSteps, alpha: alphaNow, best });
    picture.describe(`Tree of the search. ${words}`);
    view.say(words);
    view.root.dataset.row = JSON.stringify(ranked.map((i) => scoreOf(nodes[i], alphaNow)));
    const [middle] = places.get(picked);
    const inSight = middle - COLUMN / 2 >= tree.scrollLeft && middle + COLUMN / 2 <= tree.scrollLeft + tree.clientWidth;
    if (scrolledFor !== step) tree.scrollLeft = (step + 1) * COLUMN - tree.clientWidth + 20;
    else if (scrolledTo !== picked && !inSight) tree.scrollLeft = middle - tree.clientWidth / 2;
    [scrolledFor, scrolledTo] = [step, picked];
  }

  function drawTree(colours, nodes, step, line, picked) {
    const rowsUsed = new Map();
    places = new Map();
    nodes.forEach((node, i) => {
      if (node.step > step) return;
      const row = rowsUsed.get(node.step) || 0;
      rowsUsed.set(node.step, row + 1);
      places.set(i, [node.step * COLUMN + COLUMN / 2, row * LINE + LINE / 2 + 4]);
    });
    const heights = nodes.reduce((counts, node) => counts.set(node.step, (counts.get(node.step) || 0) + 1), new Map());
    const tallest = Math.max(...heights.values()); // of all steps, so that the tree does not jump
    const context = picture.context;
    picture.paint((step + 1) * COLUMN + 8, tallest * LINE + 8, () => {
      context.textBaseline = "middle";
      for (const [i, [x, y]] of places) {
        const node = nodes[i];
        if (node.parent < 0) continue;
        const [fromX, fromY] = places.get(node.parent);
        const [start, end] = [fromX + BOX.width / 2, x - BOX.width / 2];
        context.beginPath();
        context.moveTo(start, fromY);
        context.bezierCurveTo((start + end) / 2, fromY, (start + end) / 2, y, end, y);
        const onLine = line.has(i);
        context.setLineDash(node.fate === "pruned" ? [2, 3] : []);
        context.strokeStyle = onLine ? colours.accent : node.fate === "pruned" ? colours.border : colours.muted;
        context.lineWidth = onLine ? 3.5 : 1.2;
        context.stroke();
      }
      for (const [i, [x, y]] of places) drawBox(context, colours, nodes[i], x, y, line.has(i), i === picked);
      context.setLineDash([]);
    });
  }

  function drawBox(context, colours, node, x, y, onLine, isPicked) {
    const [left, top] = [x - BOX.width / 2, y - BOX.height / 2];
    const pruned = node.fate === "pruned";
    const frame = (grow, dash, ink, width) => {
      context.setLineDash(dash);
      context.strokeStyle = ink;
      context.lineWidth = width;
      context.strokeRect(left - grow, top - grow, BOX.width + 2 * grow, BOX.height + 2 * grow);
    };
    context.fillStyle = isPicked ? colours.soft : colours.paper;
    context.fillRect(left, top, BOX.width, BOX.height);
    const ink = onLine ? colours.accent : pruned ? colours.muted : colours.ink;
    frame(0, pruned ? [4, 3] : [], ink, onLine ? 2 : 1);
    if (node.fate === "finished") frame(-3, [], ink, 1);
    if (isPicked) frame(3, [], colours.mark, 2);
    context.setLineDash([]);
    context.font = `${onLine ? "bold " : ""}12px ${colours.mono}`;
    context.fillStyle = pruned ? colours.muted : colours.ink;
    const number = node.step ? kit.format(node.log_prob, 1) : "";
    context.textAlign = "right";
    context.fillText(number, left + BOX.width - 6, y + 1);
    const room = BOX.width - 14 - context.measureText(number).width;
    context.textAlign = "left";
    context.fillText(kit.fitted(context, SIGN[node.fate] + node.token, room), left + 6, y + 1);
  }

  return view.dispose;
}

/** A node and all before it, back to the prompt. */
function lineOf(nodes, i) {
  const line = new Set();
  for (let at = i; at >= 0; at = nodes[at].parent) line.add(at);
  return line;
}

export default { render };
