// Vectors while they are trained: Python sends where every word was at each moment so far, all seen
// from one side; the slider goes back and forth in time.
function render({ model, el }) {
  let moments = { shape: [0, 0, 2], data: new Float32Array(0) };
  let extent = null;
  let hovered = null;

  const view = kit.view({ model, el, title: "Vectors on the move", label: "Training map", draw });
  const moment = kit.slider(view, {
    trait: "moment", label: "Training done", min: 0, max: 100, step: 1, unit: "%",
  });
  const map = kit.scatter({
    onhover: (i) => {
      if (i === hovered) return;
      hovered = i;
      view.redraw();
    },
  });
  view.add(
    kit.row(moment),
    kit.element("p", { class: "llm-hint" }, "Move the slider to see the training again. The grey lines are the ways that the words came; point at a word to see its way alone."),
    map.root,
  );

  function unpack() {
    moments = kit.array(model.get("arrays").moments);
    extent = moments.data.length ? boxOf(moments.data) : null;
  }
  view.on("arrays", unpack);
  view.on(["arrays", "times", "moment"], view.redraw);
  unpack();
  view.redraw();

  /** The box that holds every place of every moment, so that the map does not jump. */
  function boxOf(data) {
    const box = [Infinity, Infinity, -Infinity, -Infinity];
    data.forEach((value, n) => {
      box[n % 2] = Math.min(box[n % 2], value);
      box[2 + (n % 2)] = Math.max(box[2 + (n % 2)], value);
    });
    return box;
  }

  function draw(colours) {
    const [F, V] = moments.shape;
    const times = model.get("times");
    const names = model.get("words");
    if (!F || V !== names.length || times.length !== F) {
      view.say("No vectors yet: the training has not begun.");
      return;
    }
    const now = times.filter((time) => time <= model.get("moment")).length - 1;
    const shown = Math.max(0, now);
    const at = (f, i) => [moments.data[2 * (f * V + i)], moments.data[2 * (f * V + i) + 1]];
    const wayOf = (i) => Array.from({ length: shown + 1 }, (_, f) => at(f, i));
    map.draw(colours, {
      names,
      points: moments.data.subarray(2 * shown * V, 2 * (shown + 1) * V),
      groups: model.get("groups"),
      legend: model.get("legend"),
      strong: hovered === null ? [] : [hovered],
      paths: hovered === null ? names.map((_, i) => wayOf(i)) : [wayOf(hovered)],
      extent,
    });
    const told = `${names.length} words after ${times[shown]} % of the training.`;
    map.describe(`Map. ${told}`);
    view.say(told);
  }

  return view.dispose;
}

export default { render };
