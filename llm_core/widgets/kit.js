// The kit that every widget draws with. A widget's own file follows this one in the same module and
// finds it under the name `kit`. No imports: all of it is here.
const kit = (() => {
  const MAP_SIZE = 460; // pixels: a heat map no larger than this is seen whole, beside its controls

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
    const names = ["ink", "muted", "paper", "soft", "track", "border", "accent", "mark", "font", "mono"];
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
   * Returns { root, model, add, set, on, redraw, summary, say, dispose }. `draw` runs at most once a
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
    let draws = 0;
    let blank = 0; // draws in a row that found no layout
    let again = 0;
    const cleanups = [];

    function run() {
      frame = 0;
      const start = performance.now();
      draw(theme(root));
      const end = performance.now();
      performance.measure("llm:draw", { start, end });
      if (moved) performance.measure("llm:redraw", { start: moved, end });
      moved = 0;
      draws += 1;
      // For a moment, as while the theme changes, a page has no layout: then draw again with one.
      blank = root.clientWidth ? 0 : blank + 1;
      if (blank > 0 && blank <= 5) again = setTimeout(redraw, 100);
      if (draws % 500 === 0) ["llm:draw", "llm:redraw"].forEach((name) => performance.clearMeasures(name));
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
    cleanups.push(() => sizes.disconnect(), () => themes.disconnect(), () => cancelAnimationFrame(frame), () => clearTimeout(again));

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
      /** Where the summary line stands; a widget may move it nearer to what it tells of. */
      summary,
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

  /**
   * A labelled slider from `min` to `max`, or over the `values` of a list. `show` turns the value into
   * words; `onrelease` runs when the hand lets go; `update()` shows the value anew.
   */
  function slider(view, { trait, label, unit = "", min, max, step = 1, values, show = String, onrelease }) {
    const value = element("span", { class: "llm-value", "aria-hidden": "true" });
    const [low, high] = values ? [0, values.length - 1] : [min, max];
    const read = () => (values ? values[Number(input.value)] : Number(input.value));
    const input = element("input", {
      type: "range", id: newId(), min: low, max: high, step, name: trait,
      oninput: () => view.set(trait, read()),
      onchange: () => onrelease && onrelease(read()),
    });
    const update = () => {
      const present = view.model.get(trait);
      input.value = values ? nearest(values, present) : present;
      const words = `${show(present)}${unit ? ` ${unit}` : ""}`;
      if (value.textContent === words) return;
      value.textContent = words;
      input.setAttribute("aria-valuetext", words);
    };
    view.on(trait, update);
    update();
    const name = element("label", { class: "llm-label", for: input.id }, label);
    const line = element("div", { class: "llm-line" }, name, value);
    return { root: element("div", { class: "llm-control" }, line, input), input, update };
  }

  /** Index of a value in a list; where it is not in the list, of the number nearest to it. */
  function nearest(values, wanted) {
    if (values.includes(wanted)) return values.indexOf(wanted);
    const distance = (i) => Math.abs(values[i] - wanted);
    return values.reduce((best, _, i) => (distance(i) < distance(best) ? i : best), 0);
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

  /** A line of text that takes effect on Enter or by the button beside it; `live`, at every key. */
  function textInput(view, { trait, label, button: caption, maxlength = 400, live = false, onapply }) {
    const input = element("input", {
      type: "text", id: newId(), name: trait, maxlength, autocomplete: "off", spellcheck: "false",
      oninput: (event) => live && !event.isComposing && apply(),
      oncompositionend: () => live && apply(),
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

  /** A whole number that can be typed, or stepped with the arrow keys. */
  function numberInput(view, { trait, label, min, max, onapply }) {
    const apply = () => {
      const typed = Math.round(Number(input.value));
      const value = Math.min(max, Math.max(min, Number.isFinite(typed) ? typed : min));
      input.value = value;
      if (value === view.model.get(trait)) return;
      view.set(trait, value);
      if (onapply) onapply(value);
    };
    const input = element("input", {
      type: "number", id: newId(), name: trait, min, max, step: 1,
      onchange: apply,
      onkeydown: (event) => event.key === "Enter" && apply(), // JupyterLab stops Enter's own doing
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

  /** Width that a picture may take: that of the panel around it, rounded down, so that it need not scroll. */
  const roomFor = (node) => Math.max(160, Math.floor(node.parentElement.getBoundingClientRect().width) || 300);

  /** Where the pointer is over a canvas, in its own pixels. */
  const pointAt = (event) => [event.offsetX, event.offsetY];

  /** Diagonal stripes: what is masked looks different in more than its colour. */
  function stripes(context, x, y, width, height, ink) {
    context.save();
    context.beginPath();
    context.rect(x, y, width, height);
    context.clip();
    context.strokeStyle = ink;
    context.lineWidth = 1;
    context.globalAlpha = 0.4;
    context.beginPath();
    for (let start = -height; start < width; start += 6) {
      context.moveTo(x + start, y + height);
      context.lineTo(x + start + height, y);
    }
    context.stroke();
    context.restore();
  }

  /**
   * A heat map with labelled rows and columns, and a bar that says what the colours stand for.
   *
   * `onhover(row, column)` gets null, null when the pointer leaves; `onpick(row)` follows a click.
   */
  function heatmap({ onhover = () => {}, onpick = () => {} } = {}) {
    const picture = canvas();
    let frame = null; // where the cells lie: { left, top, width, height, rows, columns }

    const cellAt = (event) => {
      if (!frame) return [null, null];
      const [x, y] = pointAt(event);
      const row = Math.floor((y - frame.top) / frame.height);
      const column = Math.floor((x - frame.left) / frame.width);
      if (row < 0 || row >= frame.rows || column >= frame.columns) return [null, null];
      return [row, column < 0 ? null : column];
    };
    picture.root.addEventListener("pointermove", (event) => onhover(...cellAt(event)));
    picture.root.addEventListener("pointerleave", () => onhover(null, null));
    picture.root.addEventListener("click", (event) => {
      const [row] = cellAt(event);
      if (row !== null) onpick(row);
    });

    /**
     * Draw `values` (a Float32Array, row by row). `hidden(row, column)` marks masked cells; `low`
     * and `high` are the ends of the colours; `selected` is a row, `hovered` a [row, column].
     */
    function draw(colours, options) {
      const { rows, columns, values, low, high, hidden = () => false } = options;
      const { selected = -1, hovered = [null, null], rowTitle, columnTitle, digits = 2 } = options;
      const context = picture.context;
      const room = roomFor(picture.root);
      const small = `11px ${colours.font}`;
      const fontSize = Math.max(rows.length, columns.length) > 24 ? 10 : 12;
      const font = `${fontSize}px ${colours.mono}`;
      context.font = font;
      const widest = (texts) => Math.max(...texts.map((text) => context.measureText(text).width));
      const rowNames = rows.map((text) => fitted(context, text, 92));
      const columnNames = columns.map((text) => fitted(context, text, 92));
      const left = Math.ceil(widest(rowNames)) + 10 + 18;
      const space = Math.min(MAP_SIZE, room - left - 4);
      const cell = Math.min(46, Math.max(9, Math.floor(space / Math.max(rows.length, columns.length))));
      const width = columns.length === rows.length ? cell : (cell * rows.length) / columns.length;
      const upright = widest(columnNames) > width - 3; // too wide to stand level: turn the names
      const every = upright ? Math.ceil((fontSize + 1) / width) : 1;
      const top = (upright ? Math.ceil(widest(columnNames)) : fontSize) + 8 + 18;
      const [mapWidth, mapHeight] = [width * columns.length, cell * rows.length];
      frame = { left, top, width, height: cell, rows: rows.length, columns: columns.length };
      const height = top + mapHeight + 44;

      picture.paint(left + mapWidth + 4, height, () => {
        context.textBaseline = "middle";
        context.fillStyle = colours.muted;
        context.font = small;
        context.textAlign = "center";
        context.fillText(columnTitle, left + mapWidth / 2, 8);
        context.save();
        context.translate(8, top + mapHeight / 2);
        context.rotate(-Math.PI / 2);
        context.fillText(rowTitle, 0, 0);
        context.restore();

        columnNames.forEach((text, j) => {
          if (j % every) return;
          context.save();
          context.font = font;
          context.fillStyle = j === hovered[1] ? colours.mark : colours.ink;
          context.translate(left + (j + 0.5) * width, top - 6);
          if (upright) context.rotate(-Math.PI / 2);
          context.textAlign = upright ? "left" : "center";
          context.fillText(text, 0, upright ? 0 : -fontSize / 2 + 1);
          context.restore();
        });
        context.textAlign = "right";
        rowNames.forEach((text, i) => {
          context.font = i === selected ? `bold ${font}` : font;
          context.fillStyle = i === selected ? colours.mark : colours.ink;
          context.fillText(text, left - 7, top + (i + 0.5) * cell + 1);
        });

        const spread = high - low || 1;
        const gap = cell > 14 ? 1 : 0;
        const numbers = width >= 34 && cell >= 20;
        context.textAlign = "center";
        context.font = `11px ${colours.font}`;
        for (let i = 0; i < rows.length; i += 1) {
          for (let j = 0; j < columns.length; j += 1) {
            const [x, y] = [left + j * width, top + i * cell];
            if (hidden(i, j)) {
              context.fillStyle = colours.track;
              context.fillRect(x, y, width - gap, cell - gap);
              continue;
            }
            const value = values[i * columns.length + j];
            const shade = colour((value - low) / spread);
            context.fillStyle = css(shade);
            context.fillRect(x, y, width - gap, cell - gap);
            if (!numbers) continue;
            context.fillStyle = inkOn(shade);
            context.fillText(format(value, digits), x + (width - gap) / 2, y + cell / 2 + 1);
          }
        }
        for (let i = 0; i < rows.length; i += 1) {
          let first = 0; // masked cells are the last ones of a row
          while (first < columns.length && !hidden(i, first)) first += 1;
          if (first < columns.length) {
            stripes(context, left + first * width, top + i * cell, (columns.length - first) * width - gap, cell - gap, colours.muted);
          }
        }
        if (selected >= 0) outline(left, top + selected * cell, mapWidth, cell, gap, colours.mark);
        if (hovered[0] !== null && hovered[1] !== null) {
          outline(left + hovered[1] * width, top + hovered[0] * cell, width, cell, gap, colours.ink);
        }
        legend(left, top + mapHeight + 14, Math.min(mapWidth, 220));
      });

      function outline(x, y, w, h, gap, ink) {
        context.lineWidth = 2;
        context.strokeStyle = ink;
        context.strokeRect(x - 1, y - 1, w - gap + 2, h - gap + 2);
      }
      function legend(x, y, w) {
        const steps = Math.max(1, Math.round(w));
        for (let i = 0; i < steps; i += 1) {
          context.fillStyle = css(colour(i / (steps - 1 || 1)));
          context.fillRect(x + i, y, 1.5, 9);
        }
        context.font = small;
        context.fillStyle = colours.muted;
        context.textAlign = "left";
        context.fillText(format(low, digits), x, y + 20);
        context.textAlign = "right";
        context.fillText(format(high, digits), x + w, y + 20);
      }
    }
    return { root: picture.root, describe: picture.describe, draw };
  }

  /**
   * Lines from each query, on the left, to the keys it looks at, on the right; the heavier the
   * weight, the wider and stronger the line. The weights of the `selected` query stand as numbers.
   */
  function links({ onhover = () => {}, onpick = () => {} } = {}) {
    const picture = canvas();
    let frame = null;
    const rowAt = (event) => {
      if (!frame) return null;
      const row = Math.floor((pointAt(event)[1] - frame.top) / frame.height);
      return row < 0 || row >= frame.rows ? null : row;
    };
    picture.root.addEventListener("pointermove", (event) => onhover(rowAt(event)));
    picture.root.addEventListener("pointerleave", () => onhover(null));
    picture.root.addEventListener("click", (event) => {
      const row = rowAt(event);
      if (row !== null) onpick(row);
    });

    function draw(colours, { labels, weights, selected, leftTitle, rightTitle }) {
      const context = picture.context;
      const total = labels.length;
      const room = Math.min(520, roomFor(picture.root));
      const height = Math.min(30, Math.max(13, Math.floor(460 / total)));
      const font = `${height < 16 ? 10 : 12}px ${colours.mono}`;
      context.font = `bold ${font}`;
      const names = labels.map((text) => fitted(context, text, Math.min(104, room / 4)));
      const side = Math.ceil(Math.max(...names.map((text) => context.measureText(text).width))) + 16;
      const top = 24;
      const barRoom = Math.min(130, room / 4);
      const [from, to] = [side - 8, room - side - barRoom];
      const middle = (i) => top + (i + 0.5) * height;
      frame = { top, height, rows: total };

      picture.paint(room, top + total * height + 6, () => {
        context.textBaseline = "middle";
        context.font = `11px ${colours.font}`;
        context.fillStyle = colours.muted;
        context.textAlign = "left";
        context.fillText(leftTitle, 0, 8);
        context.fillText(rightTitle, to + 4, 8);

        const line = (i, j) => {
          const bend = (to - from) / 2;
          context.beginPath();
          context.moveTo(from, middle(i));
          context.bezierCurveTo(from + bend, middle(i), to - bend, middle(j), to, middle(j));
          context.stroke();
        };
        context.strokeStyle = colours.muted;
        for (let i = 0; i < total; i += 1) {
          for (let j = 0; j <= i && i !== selected; j += 1) {
            const weight = weights[i * total + j];
            if (weight < 0.04) continue;
            context.globalAlpha = 0.05 + 0.3 * weight;
            context.lineWidth = 0.5 + 2.5 * weight;
            line(i, j);
          }
        }
        context.strokeStyle = colours.accent;
        for (let j = 0; j < total; j += 1) {
          const weight = weights[selected * total + j];
          if (weight < 0.005) continue;
          context.globalAlpha = 0.25 + 0.75 * weight;
          context.lineWidth = 1 + 7 * weight;
          line(selected, j);
        }
        context.globalAlpha = 1;

        names.forEach((text, i) => {
          const weight = weights[selected * total + i];
          context.font = i === selected ? `bold ${font}` : font;
          context.fillStyle = i === selected ? colours.mark : colours.ink;
          context.textAlign = "right";
          context.fillText(text, from - 5, middle(i) + 1);
          context.textAlign = "left";
          context.font = weight >= 0.1 ? `bold ${font}` : font;
          context.fillStyle = i > selected ? colours.muted : colours.ink;
          context.fillText(text, to + 5, middle(i) + 1);
          if (i > selected) return;
          const start = room - barRoom;
          context.fillStyle = colours.accent;
          context.fillRect(start, middle(i) - height / 2 + 3, Math.max(1, (barRoom - 32) * weight), height - 6);
          context.font = `11px ${colours.font}`;
          context.fillStyle = colours.ink;
          context.fillText(format(weight), start + (barRoom - 32) * weight + 5, middle(i) + 1);
        });
      });
    }
    return { root: picture.root, describe: picture.describe, draw };
  }

  /**
   * Level bars with a name on the left and a number on the right; a full bar stands for `most`.
   * `texts` stand in place of the numbers.
   */
  function bars() {
    const picture = canvas();
    function draw(colours, { labels, values, selected = -1, digits = 2, most = 1, texts = null }) {
      const context = picture.context;
      const room = Math.min(520, roomFor(picture.root));
      const height = 24;
      const font = `13px ${colours.mono}`;
      context.font = `bold ${font}`;
      const names = labels.map((text) => fitted(context, text, 0.36 * room));
      const left = Math.ceil(Math.max(30, ...names.map((text) => context.measureText(text).width))) + 10;
      const numbers = texts || values.map((value) => format(value, digits));
      context.font = `12px ${colours.font}`;
      const right = texts ? Math.ceil(Math.max(...numbers.map((text) => context.measureText(text).width))) + 12 : 48;
      const length = room - left - right;
      picture.paint(room, labels.length * height + 2, () => {
        context.textBaseline = "middle";
        names.forEach((text, i) => {
          const y = i * height;
          context.font = i === selected ? `bold ${font}` : font;
          context.fillStyle = i === selected ? colours.mark : colours.ink;
          context.textAlign = "right";
          context.fillText(text, left - 8, y + height / 2 + 1);
          context.fillStyle = colours.track;
          context.fillRect(left, y + 3, length, height - 6);
          context.fillStyle = i === selected ? colours.mark : colours.accent;
          context.fillRect(left, y + 3, Math.max(1, (length * values[i]) / most), height - 6);
          context.font = `12px ${colours.font}`;
          context.textAlign = "left";
          context.fillStyle = colours.ink;
          context.fillText(numbers[i], left + length + 7, y + height / 2 + 1);
        });
      });
    }
    return { root: picture.root, describe: picture.describe, draw };
  }

  // Colours and marks of groups of points; the marks tell groups apart without colour.
  const GROUP_INKS = ["#3b8fd6", "#d98b00", "#1fa37a", "#c86fa4", "#8a7bdc", "#d9603b", "#7d9b26", "#3f97a5"];
  const MARKS = [
    (c, x, y, r) => c.arc(x, y, r, 0, 2 * Math.PI),
    (c, x, y, r) => c.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r),
    (c, x, y, r) => polygon(c, [[x, y - 1.2 * r], [x + 1.1 * r, y + 0.9 * r], [x - 1.1 * r, y + 0.9 * r]]),
    (c, x, y, r) => polygon(c, [[x, y - 1.3 * r], [x + 1.3 * r, y], [x, y + 1.3 * r], [x - 1.3 * r, y]]),
    (c, x, y, r) => polygon(c, [[x, y + 1.2 * r], [x + 1.1 * r, y - 0.9 * r], [x - 1.1 * r, y - 0.9 * r]]),
    (c, x, y, r) => c.rect(x - 1.5 * r, y - 0.5 * r, 3 * r, r),
    (c, x, y, r) => c.rect(x - 0.5 * r, y - 1.5 * r, r, 3 * r),
    (c, x, y, r) => polygon(c, [0, 1, 2, 3, 4, 5].map((k) => [x + 1.2 * r * Math.cos(k * Math.PI / 3), y + 1.2 * r * Math.sin(k * Math.PI / 3)])),
  ];
  function polygon(context, corners) {
    corners.forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
    context.closePath();
  }

  /**
   * A map of named points, one unit equally long across and up. `onhover(i)` gets the point under
   * the pointer, or null; `onpick(i)` follows a click.
   */
  function scatter({ onhover = () => {}, onpick = () => {} } = {}) {
    const picture = canvas();
    const widths = new Map();
    let places = []; // [x, y] of every point, in pixels

    const pointNear = (event) => {
      const [x, y] = pointAt(event);
      let [best, nearest] = [16 * 16, null];
      places.forEach(([px, py], i) => {
        const apart = (px - x) ** 2 + (py - y) ** 2;
        if (apart < best) [best, nearest] = [apart, i];
      });
      return nearest;
    };
    picture.root.addEventListener("pointermove", (event) => onhover(pointNear(event)));
    picture.root.addEventListener("pointerleave", () => onhover(null));
    picture.root.addEventListener("click", (event) => {
      const i = pointNear(event);
      if (i !== null) onpick(i);
    });

    /**
     * Draw `points` (x and y in turn) with their `names`. `groups` gives each point the number of its
     * group, or -1, and `legend` the groups' names. The points of `strong` are named in bold, the
     * first of them in the marking colour; others are named where there is room. `lines` are
     * { from, to, arrow, dashed }, `paths` lists of points, `extent` the box [low x, low y, high x,
     * high y] to show (by default that of the points and lines), `cross` a place to mark.
     */
    function draw(colours, options) {
      const { names, points, groups, legend = [], strong = [], lines = [], paths = [], cross = null } = options;
      const context = picture.context;
      const room = Math.min(700, roomFor(picture.root));
      const key = legendLines(context, colours, legend, room);
      const [width, height] = [room, Math.round(0.7 * room)];
      const [low, high] = extentOf(options);
      const margin = 26;
      const scale = Math.min(
        (width - 2 * margin - 50) / (high[0] - low[0] || 1), (height - 2 * margin) / (high[1] - low[1] || 1),
      );
      const middle = [(low[0] + high[0]) / 2, (low[1] + high[1]) / 2];
      const at = ([x, y]) => [width / 2 - 20 + (x - middle[0]) * scale, height / 2 - (y - middle[1]) * scale];
      places = names.map((_, i) => at([points[2 * i], points[2 * i + 1]]));
      const isStrong = new Set(strong);

      picture.paint(width, height + key.height, () => {
        context.strokeStyle = colours.border;
        context.lineWidth = 1;
        context.strokeRect(0.5, 0.5, width - 1, height - 1);
        context.globalAlpha = paths.length > 1 ? 0.16 : 0.7;
        context.strokeStyle = colours.muted;
        paths.forEach((path) => {
          context.beginPath();
          path.map(at).forEach(([x, y], i) => (i ? context.lineTo(x, y) : context.moveTo(x, y)));
          context.stroke();
        });
        context.globalAlpha = 1;
        places.forEach(([x, y], i) => {
          context.globalAlpha = strong.length && !isStrong.has(i) ? 0.55 : 1;
          mark(context, colours, groups[i], x, y, isStrong.has(i) ? 5 : 3.4);
        });
        context.globalAlpha = 1;
        lines.forEach(({ from, to, arrow, dashed }) => line(context, colours, at(from), at(to), arrow, dashed));
        if (cross) drawCross(context, colours, ...at(cross));
        label(context, colours, names, strong, width, height);
        key.draw(height);
      });
    }

    function extentOf({ points, lines = [], extent = null, cross = null }) {
      if (extent) return [extent.slice(0, 2), extent.slice(2)];
      const [low, high] = [[Infinity, Infinity], [-Infinity, -Infinity]];
      const take = ([x, y]) => {
        [x, y].forEach((value, axis) => {
          if (value < low[axis]) low[axis] = value;
          if (value > high[axis]) high[axis] = value;
        });
      };
      for (let i = 0; i < points.length; i += 2) take([points[i], points[i + 1]]);
      lines.forEach(({ from, to }) => { take(from); take(to); });
      if (cross) take(cross);
      return [low, high];
    }

    function mark(context, colours, group, x, y, radius) {
      context.beginPath();
      context.fillStyle = group < 0 ? colours.muted : GROUP_INKS[group % GROUP_INKS.length];
      if (group < 0) context.arc(x, y, 0.6 * radius, 0, 2 * Math.PI);
      else MARKS[group % MARKS.length](context, x, y, radius);
      context.fill();
    }

    function line(context, colours, [x, y], [toX, toY], arrow, dashed) {
      context.strokeStyle = colours.accent;
      context.fillStyle = colours.accent;
      context.lineWidth = 2;
      context.setLineDash(dashed ? [6, 4] : []);
      context.beginPath();
      context.moveTo(x, y);
      context.lineTo(toX, toY);
      context.stroke();
      context.setLineDash([]);
      if (!arrow || Math.hypot(toX - x, toY - y) < 6) return;
      const angle = Math.atan2(toY - y, toX - x);
      const side = (turn) => [toX - 11 * Math.cos(angle + turn), toY - 11 * Math.sin(angle + turn)];
      context.beginPath();
      polygon(context, [[toX, toY], side(0.4), side(-0.4)]);
      context.fill();
    }

    function drawCross(context, colours, x, y) {
      context.strokeStyle = colours.mark;
      context.lineWidth = 2.5;
      context.beginPath();
      [[-1, -1, 1, 1], [-1, 1, 1, -1]].forEach(([a, b, c, d]) => {
        context.moveTo(x + 6 * a, y + 6 * b);
        context.lineTo(x + 6 * c, y + 6 * d);
      });
      context.stroke();
    }

    /** Write names beside the points, those of `strong` first; a name that finds no room is left out. */
    function label(context, colours, names, strong, width, height) {
      const taken = [];
      context.textBaseline = "middle";
      context.textAlign = "left";
      const free = (left, top, w, h) => {
        if (left < 2 || top < 2 || left + w > width - 2 || top + h > height - 2) return false;
        for (const [l, t, r, b] of taken) if (left < r && left + w > l && top < b && top + h > t) return false;
        return true;
      };
      const write = (i, bold, ink) => {
        const key = bold ? `*${names[i]}` : names[i];
        if (!widths.has(key)) widths.set(key, context.measureText(names[i]).width);
        const [w, h] = [widths.get(key), bold ? 16 : 13];
        const [x, y] = places[i];
        const tries = [[x + 7, y - h / 2], [x - 7 - w, y - h / 2], [x - w / 2, y - h - 5], [x - w / 2, y + 5]];
        const place = tries.find(([left, top]) => free(left, top, w, h)) || (bold ? tries[0] : null);
        if (!place) return;
        const [left, top] = place;
        taken.push([left - 1, top, left + w + 3, top + h]);
        if (bold) context.strokeText(names[i], left, top + h / 2);
        context.fillStyle = ink;
        context.fillText(names[i], left, top + h / 2);
      };
      context.font = `bold 13px ${colours.font}`;
      context.lineWidth = 3;
      context.strokeStyle = colours.paper;
      strong.forEach((i, n) => write(i, true, n ? colours.ink : colours.mark));
      context.font = `11px ${colours.font}`;
      const isStrong = new Set(strong);
      for (let i = 0; i < Math.min(names.length, 400); i += 1) if (!isStrong.has(i)) write(i, false, colours.muted);
    }

    function legendLines(context, colours, legend, room) {
      context.font = `11px ${colours.font}`;
      let [x, row] = [8, 0];
      const spots = legend.map((name) => {
        const width = context.measureText(name).width + 26;
        if (x + width > room && x > 8) [x, row] = [8, row + 1];
        const spot = [x, row];
        x += width;
        return spot;
      });
      const draw = (top) => spots.forEach(([left, row_], group) => {
        const y = top + 14 + 17 * row_;
        mark(context, colours, group, left + 4, y, 4);
        context.font = `11px ${colours.font}`;
        context.textAlign = "left";
        context.textBaseline = "middle";
        context.fillStyle = colours.ink;
        context.fillText(legend[group], left + 12, y + 1);
      });
      return { height: legend.length ? 24 + 17 * row : 2, draw };
    }
    return { root: picture.root, describe: picture.describe, draw };
  }

  // Where the ticks of an axis stand: even steps of 1, 2 or 5 times a power of ten, at most `most`.
  function ticksBetween(low, high, most, whole = false) {
    const rough = (high - low) / Math.max(1, most - 1) || 1;
    const power = 10 ** Math.floor(Math.log10(rough));
    const fits = [1, 2, 5, 10].map((n) => n * power).find((step) => step >= rough * (1 - 1e-9));
    const step = whole ? Math.max(1, Math.ceil(fits - 1e-9)) : fits;
    const ticks = [];
    for (let n = Math.ceil(low / step - 1e-9); n * step <= high + 1e-9 * step; n += 1) ticks.push(n * step);
    return ticks;
  }

  /** A whole number, written small and high as an exponent: -12 becomes ⁻¹². */
  function superscript(number) {
    return [...String(number)].map((c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]).join("");
  }

  /** Ten to a whole power for an axis: 0.1, 1, 10, 100, and beyond that 10⁻³. */
  function powerOfTen(exponent) {
    return exponent >= -2 && exponent <= 3 ? String(10 ** exponent) : `10${superscript(exponent)}`;
  }

  /**
   * Curves over a common row of numbers, with axes and a legend.
   *
   * `draw` takes `x` (numbers in rising order) and `series`, each { name, values, dashed, muted,
   * marked, x }; a value of null leaves a gap, a `marked` series has the marking colour and dots, and
   * one with an `x` of its own stands over that. With `log` the values are powers of ten and the axis
   * says so. `low` and `high` are ends that the axis at least reaches. `onhover(i)` gets the index of
   * the nearest x, or null when the pointer leaves; `hovered` marks one.
   */
  function curves({ onhover = () => {} } = {}) {
    const picture = canvas();
    let frame = null; // where the plot lies: { left, width, x }
    picture.root.addEventListener("pointermove", (event) => {
      if (!frame) return;
      const { left, width, x } = frame;
      const at = x[0] + ((pointAt(event)[0] - left) / width) * (x.at(-1) - x[0]);
      onhover(x.reduce((best, value, i) => (Math.abs(value - at) < Math.abs(x[best] - at) ? i : best), 0));
    });
    picture.root.addEventListener("pointerleave", () => onhover(null));

    function draw(colours, { x, series, xTitle, height = 170, log = false, low, high, hovered = null, digits = 1 }) {
      const context = picture.context;
      const room = Math.min(620, roomFor(picture.root));
      const known = series.flatMap(({ values }) => Array.from(values)).filter((value) => value !== null);
      const [bottom, top] = [Math.min(low ?? Infinity, ...known), Math.max(high ?? -Infinity, ...known)];
      const ticks = ticksBetween(bottom, top, 5, log);
      const tickTexts = ticks.map((tick) => (log ? powerOfTen(tick) : format(tick, digits)));
      const font = `11px ${colours.font}`;
      context.font = font;
      const left = Math.ceil(Math.max(...tickTexts.map((text) => context.measureText(text).width))) + 10;
      const xTicks = ticksBetween(x[0], x.at(-1), 9, true);
      const right = Math.max(18, Math.ceil(context.measureText(String(xTicks.at(-1))).width / 2) + 2);
      const box = { left, top: 24, width: room - left - right, height: height - 24 - 34 };
      const span = x.at(-1) - x[0] || 1;
      const across = (value) => box.left + ((value - x[0]) / span) * box.width;
      const down = (value) => box.top + box.height * (1 - (value - bottom) / (top - bottom || 1));
      frame = { left: box.left, width: box.width, x };

      picture.paint(room, height, () => {
        context.font = font;
        context.textBaseline = "middle";
        context.lineWidth = 1;
        ticks.forEach((tick, i) => {
          context.strokeStyle = colours.track;
          stroke([[box.left, down(tick)], [box.left + box.width, down(tick)]]);
          context.fillStyle = colours.muted;
          context.textAlign = "right";
          context.fillText(tickTexts[i], box.left - 6, down(tick) + 1);
        });
        context.textAlign = "center";
        for (const tick of xTicks) {
          context.fillText(String(tick), across(tick), box.top + box.height + 11);
        }
        context.fillText(xTitle, box.left + box.width / 2, box.top + box.height + 26);
        context.strokeStyle = colours.border;
        stroke([[box.left, box.top], [box.left, box.top + box.height], [box.left + box.width, box.top + box.height]]);
        if (hovered !== null) {
          context.strokeStyle = colours.muted;
          stroke([[across(x[hovered]), box.top], [across(x[hovered]), box.top + box.height]]);
        }
        let legend = box.left + 2;
        for (const { name, values, dashed = false, muted = false, marked = false, x: own = x } of series) {
          context.strokeStyle = muted ? colours.muted : marked ? colours.mark : colours.accent;
          context.lineWidth = muted || marked ? 1.5 : 2.5;
          context.setLineDash(dashed ? [5, 4] : []);
          const points = Array.from(values, (value, i) => (value === null ? null : [across(own[i]), down(value)]));
          stroke(points);
          if (marked) points.forEach((point) => point && dot(point, 3));
          stroke([[legend, 9], [legend + 22, 9]]);
          context.setLineDash([]);
          context.fillStyle = colours.ink;
          context.textAlign = "left";
          context.fillText(name, legend + 27, 10);
          legend += 27 + context.measureText(name).width + 18;
          if (hovered !== null && own === x && points[hovered] !== null) dot(points[hovered], 4);
        }
      });

      function dot(point, radius) {
        context.fillStyle = context.strokeStyle;
        context.beginPath();
        context.arc(...point, radius, 0, 2 * Math.PI);
        context.fill();
      }

      function stroke(points) {
        context.beginPath();
        points.forEach((point, i) => {
          if (point === null) return;
          if (i && points[i - 1] !== null) context.lineTo(...point);
          else context.moveTo(...point);
        });
        context.stroke();
      }
    }
    return { root: picture.root, describe: picture.describe, draw };
  }

  /**
   * The tokens of a text in a row, of which one is chosen: by click, or by arrow keys, Home and End.
   * `update(labels, chosen, shares, current)` shades each token up to the `current` one, usually the
   * chosen one, by its share and writes the share under it; without `shares` it only marks `current`.
   */
  function tokenRow({ label, onpick, onhover = () => {} }) {
    const root = element("div", {
      class: "llm-tokens", role: "radiogroup", "aria-label": label,
      onpointerleave: () => onhover(null),
      onkeydown: (event) => {
        const last = chips.length - 1;
        const at = chips.findIndex((chip) => chip.root === document.activeElement);
        const moves = {
          ArrowRight: at + 1, ArrowDown: at + 1, ArrowLeft: at - 1, ArrowUp: at - 1, Home: 0, End: last,
        };
        if (!(event.key in moves) || last < 0) return;
        event.preventDefault();
        const next = Math.min(last, Math.max(0, moves[event.key]));
        onpick(next);
        chips[next].root.focus();
      },
    });
    let chips = [];
    let shown = "";

    function build(labels) {
      chips = labels.map((text, i) => {
        const share = element("small");
        const chip = element(
          "button",
          { type: "button", class: "llm-token", role: "radio", onclick: () => onpick(i), onpointerenter: () => onhover(i) },
          element("span", {}, text), share,
        );
        return { root: chip, share };
      });
      root.replaceChildren(...chips.map((chip) => chip.root));
    }
    function update(labels, pick, shares, current = pick) {
      if (shown !== labels.join("\n")) {
        shown = labels.join("\n");
        build(labels);
      }
      chips.forEach((chip, i) => {
        const visible = !shares || i <= current;
        chip.root.setAttribute("aria-checked", String(i === current));
        chip.root.tabIndex = i === pick ? 0 : -1;
        chip.root.style.setProperty("--share", shares && visible ? (0.55 * shares[i]).toFixed(3) : "0");
        chip.root.classList.toggle("llm-later", !visible);
        chip.share.textContent = shares && visible ? format(shares[i]) : "";
      });
    }
    return { root, update };
  }

  /** A table of numbers; `update(head, rows)` takes texts, the first of each row being its name. */
  function table(label) {
    const inner = element("table", { class: "llm-table" });
    const root = element("div", { class: "llm-table-box", role: "region", "aria-label": label, tabindex: "0" }, inner);
    let cells = [];
    let shape = "";
    function update(head, rows) {
      const wanted = `${head.length} ${rows.map((r) => r.length).join(" ")}`;
      if (wanted !== shape) {
        shape = wanted;
        const line = (texts, tag) => texts.map((_, i) => element(
          i && tag === "td" ? "td" : "th", { scope: tag === "th" ? "col" : i ? null : "row" },
        ));
        cells = [line(head, "th"), ...rows.map((texts) => line(texts, "td"))];
        const lines = cells.map((line_) => element("tr", {}, line_));
        inner.replaceChildren(element("thead", {}, lines[0]), element("tbody", {}, lines.slice(1)));
      }
      [head, ...rows].forEach((texts, r) => texts.forEach((text, c) => {
        if (cells[r][c].textContent !== text) cells[r][c].textContent = text;
      }));
    }
    /** Mark columns, so that a long table shows where the hand is: `{ class: column }`. */
    const mark = (columns) => Object.entries(columns).forEach(([name, column]) => {
      cells.forEach((line) => line.forEach((cell, c) => cell.classList.toggle(name, c === column)));
    });
    /**
     * Show how far a calculation has come. `when(row)` is below 0 for a row that is done, 0 for the
     * present one, above 0 for one to come, which keeps its place but hides its numbers.
     */
    const phase = (when) => [...inner.tBodies[0].rows].forEach((line, r) => {
      line.classList.toggle("llm-now", when(r) === 0);
      line.classList.toggle("llm-to-come", when(r) > 0);
    });
    /** Scroll sideways, if need be, until a column is in sight; false while nothing is laid out. */
    function reveal(column) {
      if (!root.clientWidth) return false;
      const [name, cell] = [cells[0][0], cells[0][column]];
      const [start, end] = [cell.offsetLeft - name.offsetWidth, cell.offsetLeft + cell.offsetWidth];
      if (start < root.scrollLeft || end > root.scrollLeft + root.clientWidth) {
        root.scrollLeft = (start + end - root.clientWidth) / 2;
      }
      return true;
    }
    return { root, update, mark, phase, reveal };
  }

  return {
    array, softmax, format, colour, css, inkOn, element, newId, view, slider, choice, select, textInput,
    numberInput, button, row, columns, panel, canvas, fitted, roomFor, stripes, superscript, heatmap,
    links, bars, scatter, curves, tokenRow, table,
  };
})();
