// The optimizer explorer: everything is worked out here, as `walk` in optimizers.py does it; Python
// sends the table of noise alone.
const LANDSCAPES = [["valley", "valley"], ["turned", "turned valley"], ["bend", "bent valley"]];
const METHODS = [
  ["sgd", "SGD"], ["momentum", "Momentum"], ["rmsprop", "RMSProp"], ["adam", "Adam"], ["adamw", "AdamW"],
];
const STEEPNESS = 25;
const EDGE = 1e3;
const EPS = 1e-8;
const [HALF_WIDTH, HALF_HEIGHT] = [4, 2.5];
const LOWEST_SHOWN = 1e-8;
const ROOT = Math.sqrt(0.5);
const SETTINGS = ["landscape", "method", "log_lr", "beta1", "beta2", "correct", "decay", "noise", "steps", "x", "y"];

/** How far a point is from the lowest one, along the valley's floor and across it. */
function alongAndAcross(landscape, x, y) {
  const [dx, dy] = [x - 1, y - 0.5];
  return landscape === "valley" ? [dx, dy] : [ROOT * (dx + dy), ROOT * (dy - dx)];
}

function heightAt(landscape, x, y) {
  if (landscape === "bend") return 0.5 * (x - 2) ** 2 + 8 * (y - (x * x) / 8) ** 2;
  const [along, across] = alongAndAcross(landscape, x, y);
  return 0.5 * (along ** 2 + STEEPNESS * across ** 2);
}

function slopeAt(landscape, x, y) {
  if (landscape === "bend") {
    const off = y - (x * x) / 8;
    return [x - 2 - 4 * x * off, 16 * off];
  }
  const [along, across] = alongAndAcross(landscape, x, y);
  if (landscape === "valley") return [along, STEEPNESS * across];
  return [ROOT * (along - STEEPNESS * across), ROOT * (along + STEEPNESS * across)];
}

const lowest = (landscape) => (landscape === "bend" ? [2, 0.5] : [1, 0.5]);
const outside = ([x, y]) => !(Math.abs(x) <= EDGE && Math.abs(y) <= EDGE);

/** The points of the path, the start first. */
function walk(s, noise) {
  let w = [s.x, s.y];
  const [m, v] = [[0, 0], [0, 0]];
  const points = [w];
  const averages = ["momentum", "adam", "adamw"].includes(s.method);
  const scales = ["rmsprop", "adam", "adamw"].includes(s.method);
  const lr = 10 ** s.log_lr;
  for (let t = 1; t <= s.steps; t += 1) {
    const gradient = slopeAt(s.landscape, ...w);
    w = w.map((old, i) => {
      let [g, from] = [gradient[i] + s.noise * noise[2 * (t - 1) + i], old];
      if (s.method === "adamw") from = old - lr * s.decay * old;
      else g += s.decay * old;
      m[i] = s.beta1 * m[i] + (1 - s.beta1) * g;
      v[i] = s.beta2 * v[i] + (1 - s.beta2) * g * g;
      const mean = s.correct ? m[i] / (1 - s.beta1 ** t) : m[i];
      const square = s.correct ? v[i] / (1 - s.beta2 ** t) : v[i];
      const step = averages ? mean : g;
      return from - lr * (scales ? step / (Math.sqrt(square) + EPS) : step);
    });
    points.push(w);
    if (outside(w)) break;
  }
  return points;
}

const rateText = (logLr) => String(Number((10 ** logLr).toPrecision(2)));
const nameIn = (pairs, key) => pairs.find(([value]) => value === key)[1];

/** The picture in words; `OptimizerExplorer.describe` in Python says the same. */
function describe(s, path) {
  const said = `${nameIn(METHODS, s.method)} in the ${nameIn(LANDSCAPES, s.landscape)}, `
    + `learning rate ${rateText(s.log_lr)}: `;
  const end = path.at(-1);
  if (outside(end)) return `${said}it leaves the map for good, by step ${path.length - 1}.`;
  const above = heightAt(s.landscape, ...end);
  const howFar = above >= 0.001 ? kit.format(above, 3) : "less than 0.001";
  return `${said}after ${s.steps} steps at (${kit.format(end[0])}, ${kit.format(end[1])}), `
    + `${howFar} above the lowest point.`;
}

/** The ground of the map: bands of equal height, painted once for each landscape, size and theme. */
function groundPainter() {
  let [kept, painted] = ["", null];
  return (landscape, width, height, accent) => {
    const wanted = `${landscape} ${width} ${height} ${accent}`;
    if (wanted === kept) return painted;
    const [red, green, blue] = [1, 3, 5].map((i) => parseInt(accent.slice(i, i + 2), 16));
    painted = document.createElement("canvas");
    [painted.width, painted.height] = [width, height];
    const context = painted.getContext("2d");
    const image = context.createImageData(width, height);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const x = ((column + 0.5) / width - 0.5) * 2 * HALF_WIDTH;
        const y = (0.5 - (row + 0.5) / height) * 2 * HALF_HEIGHT;
        const band = Math.floor(1.6 * Math.log2(1 + 4 * heightAt(landscape, x, y)));
        image.data.set([red, green, blue, Math.min(190, 8 + 12 * band)], 4 * (row * width + column));
      }
    }
    context.putImageData(image, 0, 0);
    kept = wanted;
    return painted;
  };
}

function render({ model, el }) {
  const view = kit.view({ model, el, title: "Walk down the valley", label: "Optimizer explorer", draw });
  const ground = groundPainter();
  const slider = (trait, label, min, max, step, show = (x) => kit.format(x)) =>
    kit.slider(view, { trait, label, min, max, step, show });
  const map = kit.canvas();
  const curve = kit.curves();
  const pick = (event) => {
    const box = map.root.getBoundingClientRect();
    const round = (value) => Math.round(value * 10) / 10;
    view.set("x", round(((event.clientX - box.left) / box.width - 0.5) * 2 * HALF_WIDTH));
    view.set("y", round((0.5 - (event.clientY - box.top) / box.height) * 2 * HALF_HEIGHT));
  };
  map.root.addEventListener("click", pick);

  view.add(
    kit.row(
      kit.choice(view, { trait: "method", label: "Optimizer", options: METHODS }),
      kit.choice(view, { trait: "landscape", label: "Landscape", options: LANDSCAPES }),
      kit.choice(view, { trait: "correct", label: "Bias correction", options: [[true, "on"], [false, "off"]] }),
    ),
    kit.row(
      slider("log_lr", "Learning rate", -3, 0.6, 0.1, rateText),
      slider("beta1", "Momentum, β1", 0, 0.99, 0.01),
      slider("beta2", "β2", 0.5, 0.999, 0.001, (x) => kit.format(x, 3)),
      slider("decay", "Weight decay", 0, 1, 0.05),
      slider("noise", "Noise of the gradient", 0, 5, 0.5, (x) => kit.format(x, 1)),
      slider("steps", "Steps", 1, 200, 1, String),
    ),
    kit.row(
      slider("x", "Start, first parameter", -4, 4, 0.1, (x) => kit.format(x, 1)),
      slider("y", "Start, second parameter", -2.5, 2.5, 0.1, (x) => kit.format(x, 1)),
    ),
    view.summary,
    kit.columns(
      kit.element(
        "div", { class: "llm-panel llm-wide" },
        kit.element("p", { class: "llm-heading" }, "The path"),
        kit.element("p", { class: "llm-hint" }, "Stronger blue is higher; + is the lowest point. Click to start from another place."),
        map.root,
      ),
      kit.panel("Height (loss) at every step", "One division down is ten times lower.", curve),
    ),
  );
  view.on(["arrays", ...SETTINGS], view.redraw);
  view.redraw();

  function draw(colours) {
    const packed = model.get("arrays").noise;
    if (!packed) return;
    const s = Object.fromEntries(SETTINGS.map((name) => [name, model.get(name)]));
    const path = walk(s, kit.array(packed).data);
    const heights = path.map((point) => heightAt(s.landscape, ...point));
    drawMap(colours, s.landscape, path);
    curve.draw(colours, {
      x: path.map((_, i) => i), xTitle: "step", log: true, height: 250,
      series: [{ name: nameIn(METHODS, s.method), values: heights.map((h) => Math.log10(Math.max(h, LOWEST_SHOWN))) }],
    });
    const words = describe(s, path);
    map.describe(`Map with a path. ${words}`);
    curve.describe(`Height at every step. ${words}`);
    view.say(words);
    view.root.dataset.row = JSON.stringify(path.flat());
  }

  function drawMap(colours, landscape, path) {
    const width = Math.min(560, kit.roomFor(map.root));
    const height = Math.round((width * HALF_HEIGHT) / HALF_WIDTH);
    const across = (x) => (x / (2 * HALF_WIDTH) + 0.5) * width;
    const down = (y) => (0.5 - y / (2 * HALF_HEIGHT)) * height;
    map.paint(width, height, (context) => {
      context.drawImage(ground(landscape, width, height, colours.accent), 0, 0);
      context.strokeStyle = colours.border;
      context.strokeRect(0.5, 0.5, width - 1, height - 1);
      const [lowX, lowY] = lowest(landscape).map((value, i) => (i ? down(value) : across(value)));
      context.strokeStyle = colours.ink;
      context.lineWidth = 2;
      context.beginPath();
      for (const [a, b] of [[8, 0], [0, 8]]) {
        context.moveTo(lowX - a, lowY - b);
        context.lineTo(lowX + a, lowY + b);
      }
      context.stroke();
      const far = 4 * width; // beyond this a canvas gains nothing
      const places = path.map(([x, y]) => [across(x), down(y)].map((p) => Math.max(-far, Math.min(far, p || 0))));
      context.strokeStyle = colours.mark;
      context.lineWidth = 1.8;
      context.beginPath();
      places.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
      context.stroke();
      const dot = ([x, y], radius, ink) => {
        context.fillStyle = ink;
        context.beginPath();
        context.arc(x, y, radius, 0, 2 * Math.PI);
        context.fill();
      };
      places.slice(1, -1).forEach((place) => dot(place, 2, colours.mark));
      dot(places[0], 6, colours.ink);
      dot(places.at(-1), 5, colours.mark);
    });
  }

  return view.dispose;
}

export default { render };
