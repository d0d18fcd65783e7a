// The kit that every widget draws with. A widget's own file follows this one in the same module and
// finds it under the name `kit`. No imports: all of it is here.
const kit = (() => {
  // ---- numbers ---------------------------------------------------------------------------------

  /** Unpack what Python's `pack` sent: { shape, data } with data a Float32Array, row by row. */
  function array(packed) {
    if (!packed) return { shape: [0], data: new Float32Array(0) };
    const view = packed.data;
    const bytes = view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength);
    return { shape: packed.shape, data: new Float32Array(bytes) };
  }

  /** Softmax of a row, made stable by taking off its largest entry; -Infinity gets weight 0. */
  function softmax(row) {
    const largest = Math.max(...row);
    const exponentials = Array.from(row, (x) => Math.exp(x - largest));
    const total = exponentials.reduce((sum, e) => sum + e, 0);
    return exponentials.map((e) => e / total);
  }

  /** A number for the screen: fixed digits, a true minus sign, no "-0.00". */
  function format(x, digits = 2) {
    if (x === -Infinity) return "−∞";
    if (x === Infinity) return "∞";
    const text = x.toFixed(digits);
    return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
  }

  // ---- colours ---------------------------------------------------------------------------------

  // Viridis at nine even steps: perceptually uniform, and safe for colour-blind eyes.
  const VIRIDIS = [
    [68, 1, 84], [71, 45, 123], [59, 82, 139], [44, 114, 142], [33, 145, 140],
    [40, 174, 128], [94, 201, 98], [173, 220, 48], [253, 231, 37],
  ];

  /** Colour of a share in [0, 1], as [red, green, blue]. */
  function colour(share) {
    const place = Math.min(1, Math.max(0, share || 0)) * (VIRIDIS.length - 1);
    const low = Math.min(VIRIDIS.length - 2, Math.floor(place));
    return VIRIDIS[low].map((c, i) => Math.round(c + (place - low) * (VIRIDIS[low + 1][i] - c)));
  }

  const css = (rgb) => `rgb(${rgb.join(",")})`;

  /** Black or white, whichever reads better on the colour. */
  function inkOn([red, green, blue]) {
    return 0.299 * red + 0.587 * green + 0.114 * blue > 130 ? "#000000" : "#ffffff";
  }

  /** The theme's colours and fonts, read anew at each drawing so that a change of theme shows. */
  function theme(el) {
    const style = getComputedStyle(el);
    const names = ["ink", "muted", "paper", "soft", "border", "accent", "mark", "font", "mono"];
    return Object.fromEntries(names.map((n) => [n, style.getPropertyValue(`--llm-${n}`).trim()]));
  }

  // ---- elements --------------------------------------------------------------------------------

  const FOCUSABLE = new Set(["INPUT", "SELECT", "BUTTON", "TEXTAREA", "A", "SUMMARY"]);
  let count = 0;

  /** A new id, unique in the page. */
  const newId = () => `llm-${Date.now().toString(36)}-${(count += 1)}`;

  /**
   * Make an element. Attributes named on* are listeners; text goes in as text, never as HTML.
   * What can take the focus keeps its keys from JupyterLab, which would move between cells.
   */
  function element(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
      else if (value === true) node.setAttribute(name, "");
      else if (value !== false && value != null) node.setAttribute(name, value);
    }
    if (FOCUSABLE.has(node.tagName) || "tabindex" in attributes) {
      node.setAttribute("data-lm-suppress-shortcuts", "true");
    }
    node.append(...children.flat().filter((child) => child != null));
    return node;
  }

  // ---- a view ----------------------------------------------------------------------------------

  /**
   * Lay out a widget and redraw it when its state, its size or the theme changes.
   *
   * Returns { root, model, add, set, on, redraw, say, dispose }. `draw` runs at most once a
   * frame. Each redraw leaves two entries in the browser's performance timeline: "llm:draw", the
   * drawing alone, and "llm:redraw", from the learner's key or mouse to the end of the drawing.
   */
  function view({ model, el, title, label, draw }) {
    const notice = element("p", { class: "llm-notice", role: "status" });
    const summary = element("p", { class: "llm-summary", "aria-live": "polite" });
    const body = element("div");
    const root = element(
      "section",
      { class: "llm", "aria-label": label || title, "data-lm-suppress-shortcuts": "true" },
      title ? element("p", { class: "llm-title" }, title) : null,
      notice, body, summary,
    );
    el.append(root);

    let frame = 0;
    let moved = 0;
    const cleanups = [];

    function run() {
      frame = 0;
      const start = performance.now();
      draw(theme(root));
      const end = performance.now();
      performance.measure("llm:draw", { start, end });
      if (moved) performance.measure("llm:redraw", { start: moved, end });
      moved = 0;
      root.dataset.draws = Number(root.dataset.draws || 0) + 1;
    }
    const redraw = () => {
      if (!frame && draw) frame = requestAnimationFrame(run);
    };
    const listen = (target, name, handler, options) => {
      target.addEventListener(name, handler, options);
      cleanups.push(() => target.removeEventListener(name, handler, options));
    };
    for (const name of ["keydown", "pointerdown", "pointermove"]) {
      listen(root, name, (event) => { moved = event.timeStamp; }, { capture: true });
    }
    const on = (names, handler) => {
      for (const name of [names].flat()) {
        model.on(`change:${name}`, handler);
        cleanups.push(() => model.off(`change:${name}`, handler));
      }
    };
    const showNotice = () => { notice.textContent = model.get("notice") || ""; };
    on("notice", showNotice);
    showNotice();

    const sizes = new ResizeObserver(redraw);
    sizes.observe(root);
    const themes = new MutationObserver(redraw);
    themes.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-name", "class"] });
    listen(window.matchMedia("(prefers-color-scheme: dark)"), "change", redraw);
    cleanups.push(() => sizes.disconnect(), () => themes.disconnect(), () => cancelAnimationFrame(frame));

    return {
      root,
      model,
      redraw,
      on,
      /** Put elements under one another; what kit functions return counts as its root element. */
      add: (...parts) => body.append(...parts.filter(Boolean).map((part) => part.root || part)),
      /** Change the state, here and in Python. */
      set(name, value) {
        if (model.get(name) === value) return;
        model.set(name, value);
        model.save_changes();
      },
      /** Write the summary line, which screen readers speak when it changes. */
      say(text) {
        if (summary.textContent !== text) summary.textContent = text;
      },
      dispose() {
        cleanups.forEach((clean) => clean());
      },
    };
  }

  // ---- controls --------------------------------------------------------------------------------
  // Each is bound to one trait of the Python object: it shows the trait's value and changes it.

  /** A labelled slider. `show` turns the value into words; `onrelease` runs when the hand lets go. */
  function slider(view, { trait, label, unit = "", min, max, step = 1, show = String, onrelease }) {
    const value = element("span", { class: "llm-value" });
    const input = element("input", {
      type: "range", id: newId(), min, max, step, name: trait,
      oninput: () => view.set(trait, Number(input.value)),
      onchange: () => onrelease && onrelease(Number(input.value)),
    });
    const update = () => {
      input.value = view.model.get(trait);
      const words = `${show(view.model.get(trait))}${unit ? ` ${unit}` : ""}`;
      value.textContent = words;
      input.setAttribute("aria-valuetext", words);
    };
    view.on(trait, update);
    update();
    const name = element("label", { class: "llm-label", for: input.id }, `${label}: `, value);
    return { root: element("div", { class: "llm-control" }, name, input), input };
  }

  /** A row of options of which one is chosen; arrow keys move. `options` are [value, text] pairs. */
  function choice(view, { trait, label, options }) {
    const name = newId();
    const inputs = options.map(([value]) => element("input", {
      type: "radio", name, value: String(value), onchange: () => view.set(trait, value),
    }));
    const update = () => inputs.forEach((input, i) => {
      input.checked = options[i][0] === view.model.get(trait);
    });
    view.on(trait, update);
    update();
    const labels = options.map(([, text], i) => element("label", {}, inputs[i], element("span", {}, text)));
    const root = element(
      "fieldset", { class: "llm-control", "data-trait": trait },
      element("legend", { class: "llm-label" }, label), element("div", { class: "llm-choice" }, labels),
    );
    return { root, inputs };
  }

  /** A drop-down list; for more options than fit in a `choice`. */
  function select(view, { trait, label, options }) {
    const input = element(
      "select",
      { id: newId(), name: trait, onchange: () => view.set(trait, options[input.selectedIndex][0]) },
      options.map(([, text]) => element("option", {}, text)),
    );
    const update = () => {
      input.selectedIndex = options.findIndex(([value]) => value === view.model.get(trait));
    };
    view.on(trait, update);
    update();
    const name = element("label", { class: "llm-label", for: input.id }, label);
    return { root: element("div", { class: "llm-control" }, name, input), input };
  }

  /** A line of text that takes effect on Enter or by the button beside it. */
  function textInput(view, { trait, label, button: caption, maxlength = 400, onapply }) {
    const input = element("input", {
      type: "text", id: newId(), name: trait, maxlength, autocomplete: "off", spellcheck: "false",
      onkeydown: (event) => {
        if (event.key !== "Enter" || event.isComposing) return;
        event.preventDefault();
        apply();
      },
    });
    const apply = () => {
      view.set(trait, input.value);
      if (onapply) onapply(input.value);
    };
    const update = () => {
      if (input.value !== view.model.get(trait)) input.value = view.model.get(trait);
    };
    view.on(trait, update);
    update();
    const name = element("label", { class: "llm-label", for: input.id }, label);
    const go = caption ? button(caption, apply) : null;
    return {
      root: element(
        "div", { class: "llm-row llm-grow", style: "margin: 0; gap: 8px; flex-wrap: nowrap" },
        element("div", { class: "llm-control llm-grow" }, name, input), go,
      ),
      input,
      button: go,
    };
  }

  /** A whole number that can be typed or stepped with the arrow keys. */
  function numberInput(view, { trait, label, min, max, onapply }) {
    const input = element("input", {
      type: "number", id: newId(), name: trait, min, max, step: 1,
      onchange: () => {
        const typed = Math.round(Number(input.value));
        const value = Math.min(max, Math.max(min, Number.isFinite(typed) ? typed : min));
        input.value = value;
        view.set(trait, value);
        if (onapply) onapply(value);
      },
    });
    const update = () => { input.value = view.model.get(trait); };
    view.on(trait, update);
    update();
    const name = element("label", { class: "llm-label", for: input.id }, label);
    return { root: element("div", { class: "llm-control" }, name, input), input };
  }

  /** A button; `main` makes it stand out. */
  function button(text, onclick, { main = false } = {}) {
    return element(
      "button", { type: "button", class: main ? "llm-button llm-button-main" : "llm-button", onclick }, text,
    );
  }

  /** Elements side by side, over several lines where the page is narrow. */
  const row = (...parts) => element("div", { class: "llm-row" }, parts.filter(Boolean).map((p) => p.root || p));

  /** Panels side by side, or under one another where the page is narrow. */
  const columns = (...parts) => element("div", { class: "llm-columns" }, parts.map((p) => p.root || p));

  /** A panel with a heading and, if given, a line that says what to look at. */
  function panel(heading, hint, ...parts) {
    return element(
      "div", { class: "llm-panel" },
      element("p", { class: "llm-heading" }, heading), hint ? element("p", { class: "llm-hint" }, hint) : null,
      parts.map((p) => p.root || p),
    );
  }

  // ---- pictures --------------------------------------------------------------------------------

  /** A canvas that is sharp on any screen. `paint(width, height, draw)` sizes it, then draws. */
  function canvas() {
    const root = element("canvas", { role: "img" });
    const context = root.getContext("2d");
    return {
      root,
      context,
      describe: (text) => root.setAttribute("aria-label", text),
      paint(width, height, draw) {
        const scale = window.devicePixelRatio || 1;
        const [w, h] = [Math.round(width * scale), Math.round(height * scale)];
        if (root.width !== w || root.height !== h) {
          root.width = w;
          root.height = h;
          root.style.width = `${width}px`;
          root.style.height = `${height}px`;
        }
        context.setTransform(scale, 0, 0, scale, 0, 0);
        context.clearRect(0, 0, width, height);
        draw(context);
      },
    };
  }

  /** The text, cut with an ellipsis to fit `width` pixels in the context's present font. */
  function fitted(context, text, width) {
    if (context.measureText(text).width <= width) return text;
    let end = text.length - 1;
    while (end > 1 && context.measureText(`${text.slice(0, end)}…`).width > width) end -= 1;
    return `${text.slice(0, end)}…`;
  }

  /** Width that a picture may take: that of the panel around it. */
  const roomFor = (node) => Math.max(160, Math.floor(node.parentElement.clientWidth) || 300);

  return {
    array, softmax, format, colour, css, inkOn, element, newId, view, slider, choice, select, textInput,
    numberInput, button, row, columns, panel, canvas, fitted, roomFor,
  };
})();
