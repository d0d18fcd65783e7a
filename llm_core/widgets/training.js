// The training dashboard: Python tells, a few times a second, where the trainer is; the page draws it
// and sends back what the buttons ask for.
const STATUS_WORDS = {
  "ready": "not started", "stopped early": "stopped early, as the validation loss no longer fell",
};
const ASKED_WORDS = { pause: "pausing after this step …", go_on: "going on …", stop: "stopping after this step …" };
const statusWords = (status) => STATUS_WORDS[status] ?? status;

const COMMAND_LINE = "llm_core.training";
const PATIENCE = 3000; // milliseconds that a kernel has to open a thread for messages

/**
 * Open a line to the kernel that is heard while a cell runs: one that the page itself opens, once
 * the kernel has a thread for it. Returns { send, close }; without such a thread, the widget's own.
 */
async function openLine(model) {
  const kernel = model.widget_manager?.kernel;
  const own = { send: (data) => model.send(data), close: () => {} };
  if (!kernel?.createComm) return own;
  const line = kernel.createComm(COMMAND_LINE);
  const late = new Promise((resolve) => { setTimeout(() => resolve("late"), PATIENCE); });
  if (await Promise.race([line.subshellStarted, late]) === "late") return own;
  line.open({ key: model.get("key") });
  return { send: (data) => line.send(data), close: () => line.isDisposed || line.close() };
}

/** Where the run is, in words; `TrainingDashboard.describe` in Python says the same. */
function describe({ step, steps, status, loss, floor }) {
  const said = `Step ${step} of ${steps}, ${statusWords(status)}.`;
  if (loss == null) return said;
  const above = loss - floor;
  const where = floor == null ? "" : `, ${kit.format(Math.abs(above), 3)} ${above >= 0 ? "above" : "below"} the floor`;
  return `${said} Validation loss ${kit.format(loss, 3)}${where}.`;
}

/** Seconds as people say them: 7 s, 2 min 05 s, 1 h 12 min. */
function duration(seconds) {
  const whole = Math.max(0, Math.round(seconds));
  const two = (n) => String(n).padStart(2, "0");
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${two(whole % 60)} s`;
  return `${Math.floor(whole / 3600)} h ${two(Math.floor((whole % 3600) / 60))} min`;
}

const SHOWN = [
  ["loss", "training loss", (x) => kit.format(x, 3)],
  ["val_loss", "validation loss", (x) => kit.format(x, 3)],
  ["best_loss", "best so far", (x) => kit.format(x, 3)],
  ["above", "above the floor", (x) => kit.format(x, 3)],
  ["lr", "learning rate", (x) => x.toPrecision(2)],
  ["grad_norm", "length of the gradient", (x) => kit.format(x, 2)],
  ["tokens_per_second", "tokens per second", (x) => Math.round(x).toLocaleString("en")],
  ["seconds_per_step", "milliseconds per step", (x) => kit.format(1000 * x, 0)],
  ["memory", "memory in use", (x) => `${Math.round(x / 1e6).toLocaleString("en")} MB`],
  ["elapsed", "time", duration],
  ["left", "time left, about", duration],
];

function render({ model, el }) {
  let asked = null; // what a button asked for and the trainer has not done yet
  let chosen = null; // which sample is looked at; null follows the newest
  let said = "";

  const view = kit.view({ model, el, title: "Training", label: "Training dashboard", draw });
  const line = openLine(model).catch(() => ({ send: (data) => model.send(data), close: () => {} }));
  const ask = async (kind) => {
    asked = kind;
    view.redraw();
    (await line).send({ kind });
  };
  const pause = kit.button("Pause", () => ask(model.get("status") === "paused" ? "go_on" : "pause"));
  const stop = kit.button("Stop", () => ask("stop"));
  const state = kit.element("span", { class: "llm-status", role: "status" });
  const bar = kit.element("progress", { class: "llm-bar", "aria-label": "Steps done" });
  const cells = Object.fromEntries(SHOWN.map(([name]) => [name, kit.element("td")]));
  const rows = Object.fromEntries(SHOWN.map(([name, label]) => [
    name, kit.element("tr", {}, kit.element("th", { scope: "row" }, label), cells[name]),
  ]));
  const table = kit.element("table", { class: "llm-table llm-figures" }, kit.element("tbody", {}, Object.values(rows)));
  const [loss, rate, norm] = [kit.curves(), kit.curves(), kit.curves()];
  const sampleName = kit.element("label", { class: "llm-label", for: kit.newId() });
  const sampleInput = kit.element("input", {
    type: "range", id: sampleName.getAttribute("for"), min: 0, max: 0, step: 1,
    oninput: () => {
      const last = model.get("samples").length - 1;
      chosen = Number(sampleInput.value) === last ? null : Number(sampleInput.value);
      view.redraw();
    },
  });
  const sampleText = kit.element("p", { class: "llm-sample", "data-picture": "" });
  const samplePanel = kit.element(
    "div", { class: "llm-panel" },
    kit.element("p", { class: "llm-heading" }, "What the model writes"),
    kit.element("div", { class: "llm-control" }, sampleName, sampleInput), sampleText,
  );

  view.add(
    kit.row(pause, stop, state),
    bar,
    kit.columns(
      kit.element("div", { class: "llm-panel llm-wide" }, kit.element("p", { class: "llm-heading" }, "Loss (nats per token)"), loss.root),
      kit.element("div", { class: "llm-panel" }, kit.element("p", { class: "llm-heading" }, "Now"), table),
    ),
    kit.columns(kit.panel("Learning rate", null, rate), kit.panel("Length of the gradient before clipping", null, norm)),
    samplePanel,
  );
  view.on("status", () => { asked = null; });
  view.on(["status", "step", "n_steps", "numbers", "arrays", "samples", "floor"], view.redraw);
  view.redraw();

  function draw(colours) {
    const status = model.get("status");
    const busy = status === "running" || status === "paused";
    if (!busy) asked = null;
    const focused = document.activeElement;
    pause.textContent = status === "paused" ? "Resume" : "Pause";
    pause.toggleAttribute("disabled", !busy || asked === "stop");
    stop.toggleAttribute("disabled", !busy || asked === "stop");
    if (focused === pause || focused === stop) focused.focus();
    state.textContent = asked ? ASKED_WORDS[asked] : statusWords(status);
    bar.max = model.get("n_steps");
    bar.value = model.get("step");
    writeNumbers(status);
    writeSample();
    drawCurves(colours);
    speak(status);
  }

  function writeNumbers(status) {
    const floor = model.get("floor");
    const numbers = { ...model.get("numbers") };
    if (floor != null && numbers.val_loss != null) numbers.above = numbers.val_loss - floor;
    if (status !== "running" && status !== "paused") numbers.left = null;
    for (const [name, , show] of SHOWN) {
      const there = numbers[name] != null;
      rows[name].hidden = !there;
      if (there) cells[name].textContent = show(numbers[name]);
    }
    view.root.dataset.numbers = JSON.stringify({ status, step: model.get("step"), ...numbers });
  }

  function writeSample() {
    const samples = model.get("samples");
    samplePanel.hidden = !samples.length;
    if (!samples.length) return;
    const place = Math.min(chosen ?? Infinity, samples.length - 1);
    sampleInput.max = samples.length - 1;
    sampleInput.value = place;
    sampleInput.setAttribute("aria-valuetext", `after step ${samples[place].step}`);
    sampleName.textContent = `Sample after step ${samples[place].step} (${place + 1} of ${samples.length})`;
    if (sampleText.textContent !== samples[place].text) sampleText.textContent = samples[place].text;
  }

  function drawCurves(colours) {
    const arrays = model.get("arrays");
    const steps = arrays.steps ? Array.from(kit.array(arrays.steps).data) : [];
    if (!steps.length) return;
    const values = (name) => Array.from(kit.array(arrays[name]).data);
    const floor = model.get("floor");
    const x = [0, ...steps, Math.max(model.get("n_steps"), steps.at(-1))]; // the whole run, to its end
    const over = (name) => [null, ...values(name), null];
    const series = [{ name: "training", values: over("loss") }];
    const valSteps = values("val_steps");
    if (valSteps.length) series.push({ name: "validation", values: values("val_loss"), x: valSteps, marked: true });
    if (floor != null) series.push({ name: "floor", values: x.map(() => floor), dashed: true, muted: true });
    loss.draw(colours, { x, series, xTitle: "step", low: 0, height: 260 });
    const small = { x, xTitle: "step", low: 0, height: 140 };
    const most = Math.max(...values("lr"));
    const digits = Math.max(1, Math.min(6, 1 - Math.floor(Math.log10(most || 1))));
    rate.draw(colours, { ...small, digits, high: 1.1 * most, series: [{ name: "learning rate", values: over("lr") }] });
    norm.draw(colours, { ...small, series: [{ name: "length", values: over("grad_norm") }] });
  }

  /** Say where the run is, when its state changes or it was evaluated: not at every step. */
  function speak(status) {
    const numbers = model.get("numbers");
    const words = describe({
      step: model.get("step"), steps: model.get("n_steps"), status, loss: numbers.val_loss, floor: model.get("floor"),
    });
    loss.describe(`Curves of the loss. ${words}`);
    rate.describe("Curve of the learning rate over the steps.");
    norm.describe("Curve of the length of the gradient over the steps.");
    const news = `${status} ${numbers.val_loss}`;
    if (news === said) return;
    said = news;
    view.say(words);
  }

  return () => {
    line.then(({ close }) => close());
    view.dispose();
  };
}

export default { render };
