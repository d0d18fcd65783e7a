// The token explorer: Python cuts the text into characters, words and bytes and sends the merges,
// once; the browser applies as many of them as the slider says.
const TINTS = 6;

/** From a pair of ids to the merge that joins it: { rank, id }. Keys are left * V + right. */
function mergesByPair({ shape: [n], data }, vocabSize) {
  const found = new Map();
  for (let rank = 0; rank < n; rank += 1) {
    found.set(data[3 * rank] * vocabSize + data[3 * rank + 1], { rank, id: data[3 * rank + 2] });
  }
  return found;
}

/**
 * Apply the first `limit` merges to the ids of one word: of all pairs that have a merge, the one
 * learned first, at all its places from the left, again and again. `onmerge(rank)` hears of each.
 */
function applyMerges(piece, byPair, vocabSize, limit, onmerge = () => {}) {
  let ids = piece;
  for (;;) {
    let best = null;
    for (let i = 0; i + 1 < ids.length; i += 1) {
      const merge = byPair.get(ids[i] * vocabSize + ids[i + 1]);
      if (merge && merge.rank < limit && (!best || merge.rank < best.rank)) {
        best = { ...merge, left: ids[i], right: ids[i + 1] };
      }
    }
    if (!best) return ids;
    const merged = [];
    for (let i = 0; i < ids.length; i += 1) {
      const here = ids[i] === best.left && i + 1 < ids.length && ids[i + 1] === best.right;
      merged.push(here ? best.id : ids[i]);
      if (here) i += 1;
    }
    onmerge(best.rank);
    ids = merged;
  }
}

/** How the number of tokens falls: [[merges, tokens], ...], one entry where it changes. */
function curveOf(pieces, byPair, vocabSize, total) {
  const ranks = new Set();
  pieces.forEach((piece) => applyMerges(piece, byPair, vocabSize, total, (rank) => ranks.add(rank)));
  const steps = [0, ...[...ranks].sort((a, b) => a - b).map((rank) => rank + 1)];
  const count = (limit) => pieces.reduce((sum, piece) => sum + applyMerges(piece, byPair, vocabSize, limit).length, 0);
  return steps.map((limit) => [limit, count(limit)]);
}

/** One tokenizer's result in words; `TokenExplorer._count` in Python says the same. */
function countOf(name, tokens, bytes, unknown = 0) {
  const each = kit.format(tokens ? bytes / tokens : 0);
  return `${name}: ${tokens} tokens, ${each} bytes per token${unknown ? `, ${unknown} unknown` : ""}.`;
}

/**
 * A row of tokens as boxes: name above, id below. `update` takes { name, id, note, ... } for each,
 * and touches only the boxes that have changed.
 */
function boxes(label) {
  const root = kit.element("div", { class: "llm-pieces", role: "img", "aria-label": label, "data-picture": "" });
  let shown = [];
  function update(tokens) {
    const wanted = tokens.map(({ name, id, note = String(id), unknown, fresh, opens }) => {
      const looks = [
        "llm-piece", `llm-tint-${id >= 0 ? id % TINTS : 0}`, unknown ? "llm-piece-unknown" : "",
        fresh ? "llm-piece-new" : "", opens ? "llm-piece-word" : "",
      ];
      return [looks.filter(Boolean).join(" "), name, note];
    });
    wanted.forEach(([looks, name, note], i) => {
      if (shown[i] && shown[i].every((part, j) => part === wanted[i][j])) return;
      const node = kit.element("span", { class: looks }, name, kit.element("small", {}, note));
      if (root.children[i]) root.children[i].replaceWith(node);
      else root.append(node);
    });
    while (root.children.length > wanted.length) root.lastChild.remove();
    shown = wanted;
  }
  return { root, update, describe: (text) => root.setAttribute("aria-label", text) };
}

/** The number of tokens against the number of merges, with the other two tokenizers as levels. */
function curvePlot() {
  const picture = kit.canvas();
  function draw(colours, { curve, total, now, levels }) {
    const context = picture.context;
    const [room, height] = [Math.min(900, kit.roomFor(picture.root)), 150];
    const [left, right, top, bottom] = [42, 92, 10, 34];
    const highest = Math.max(...curve.map(([, n]) => n), ...levels.map(([, n]) => n), 1) * 1.05;
    const x = (merges) => left + ((room - left - right) * merges) / Math.max(1, total);
    const y = (tokens) => top + (height - top - bottom) * (1 - tokens / highest);
    picture.paint(room, height, () => {
      context.font = `11px ${colours.font}`;
      context.textBaseline = "middle";
      context.fillStyle = context.strokeStyle = colours.muted;
      context.lineWidth = 1;
      context.strokeRect(left, top, room - left - right, height - top - bottom);
      context.textAlign = "right";
      [0, Math.round(highest / 2), Math.floor(highest)].forEach((n) => context.fillText(String(n), left - 6, y(n)));
      context.textAlign = "center";
      [0, Math.round(total / 2), total].forEach((n) => context.fillText(String(n), x(n), height - bottom + 11));
      context.fillText("merges applied", x(total / 2), height - 7);
      context.save();
      context.translate(8, (height - bottom + top) / 2);
      context.rotate(-Math.PI / 2);
      context.fillText("tokens", 0, 0);
      context.restore();
      drawLevels(context, colours, levels, x(0), x(total), y);
      drawSteps(context, colours, curve, total, x, y);
      const tokens = curve.filter(([merges]) => merges <= now).at(-1)[1];
      context.beginPath();
      context.fillStyle = colours.mark;
      context.arc(x(now), y(tokens), 5, 0, 2 * Math.PI);
      context.fill();
    });
  }
  return { root: picture.root, describe: picture.describe, draw };
}

function drawLevels(context, colours, levels, from, to, y) {
  context.textAlign = "left";
  levels.forEach(([name, tokens], i) => {
    context.setLineDash(i ? [2, 3] : [7, 4]);
    context.strokeStyle = colours.muted;
    context.beginPath();
    context.moveTo(from, y(tokens));
    context.lineTo(to, y(tokens));
    context.stroke();
    context.fillStyle = colours.ink;
    context.fillText(name, to + 6, y(tokens));
  });
  context.setLineDash([]);
}

function drawSteps(context, colours, curve, total, x, y) {
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.beginPath();
  curve.forEach(([merges, tokens], i) => {
    if (i) context.lineTo(x(merges), y(curve[i - 1][1]));
    context[i ? "lineTo" : "moveTo"](x(merges), y(tokens));
  });
  context.lineTo(x(total), y(curve.at(-1)[1]));
  context.stroke();
}

function render({ model, el }) {
  const names = model.get("names");
  const total = model.get("n_merges");
  const table = kit.array(model.get("arrays").merges);
  const byPair = mergesByPair(table, names.length);
  let curve = [[0, 0]];

  const view = kit.view({ model, el, title: "How is a text cut?", label: "Token explorer", draw });
  const text = kit.textInput(view, { trait: "text", label: "Text", maxlength: 200, live: true });
  const merges = kit.slider(view, {
    trait: "merges", label: "Merges applied", min: 0, max: total, show: (n) => `${n} of ${total}`,
  });
  merges.input.classList.add("llm-long");
  const previous = kit.button("Previous change", () => view.set("merges", changeBefore(model.get("merges"))));
  const next = kit.button("Next change", () => view.set("merges", changeAfter(model.get("merges"))));
  const reading = kit.element("p", { class: "llm-reading" });
  const [characters, words, pairs] = ["Characters", "Words", "Byte pairs"].map(boxes);
  const figures = [0, 1, 2].map(() => kit.element("p", { class: "llm-figures" }));
  const plot = curvePlot();
  const three = kit.columns(
    kit.panel("Characters", null, figures[0], characters),
    kit.panel("Words", null, figures[1], words),
    kit.panel("Byte pairs", null, figures[2], pairs),
  );
  three.classList.add("llm-three");

  view.add(
    kit.row(text),
    kit.row(merges, previous, next),
    reading,
    three,
    view.summary,
    kit.panel("Tokens of this text", "The step line: byte pairs. The broken lines: characters and words.", plot),
  );

  const changeAfter = (now) => curve.map(([n]) => n).find((n) => n > now) ?? now;
  const changeBefore = (now) => curve.map(([n]) => n).findLast((n) => n < now) ?? now;

  function cut() {
    curve = curveOf(model.get("pieces"), byPair, names.length, total);
  }
  view.on("pieces", cut);
  view.on(["pieces", "char_ids", "word_ids", "merges"], view.redraw);
  cut();
  view.redraw();

  /** What the last applied merge makes; `TokenExplorer._last_merge` in Python says the same. */
  function lastMerge(now) {
    if (now === 0) return "every byte is a token";
    const [left, right, made] = [0, 1, 2].map((i) => names[table.data[3 * (now - 1) + i]]);
    return `merge ${now} makes "${made}" of "${left}" and "${right}"`;
  }

  function draw(colours) {
    const [now, bytes] = [model.get("merges"), model.get("n_bytes")];
    const [charIds, wordIds] = [model.get("char_ids"), model.get("word_ids")];
    const cutPieces = model.get("pieces").map((piece) => applyMerges(piece, byPair, names.length, now));
    const ids = cutPieces.flat();
    const newest = now ? table.data[3 * (now - 1) + 2] : -1;
    const unknown = [charIds.filter((id) => id < 0).length, wordIds.filter((id) => id === 0).length];

    characters.update(charIds.map((id, i) => ({
      name: model.get("char_names")[i], id, unknown: id < 0, note: id < 0 ? "unknown" : undefined,
    })));
    words.update(wordIds.map((id, i) => ({
      name: model.get("word_names")[i], id, unknown: id === 0, note: id === 0 ? "unknown, 0" : undefined,
    })));
    pairs.update(cutPieces.flatMap((piece, p) => piece.map((id, i) => ({
      name: names[id], id, fresh: id === newest, note: id === newest ? `${id} new` : undefined, opens: p > 0 && i === 0,
    }))));

    const counts = [
      countOf("Characters", charIds.length, bytes, unknown[0]), countOf("Words", wordIds.length, bytes, unknown[1]),
      countOf("Byte pairs", ids.length, bytes),
    ];
    const [charSize, wordSize] = model.get("sizes");
    [charSize, wordSize, names.length - total + now].forEach((size, i) => {
      figures[i].textContent = `V = ${size}. ${counts[i].slice(counts[i].indexOf(":") + 2)}`;
    });
    [characters, words, pairs].forEach((row, i) => row.describe(counts[i]));
    reading.textContent = `${lastMerge(now)[0].toUpperCase()}${lastMerge(now).slice(1)}.`;
    previous.setAttribute("aria-disabled", String(changeBefore(now) === now)); // keeps the focus
    next.setAttribute("aria-disabled", String(changeAfter(now) === now));
    plot.draw(colours, {
      curve, total, now, levels: [["characters", charIds.length], ["words", wordIds.length]],
    });
    const summary = `${bytes} bytes. ${counts.join(" ")} ${now} of ${total} merges applied; ${lastMerge(now)}.`;
    plot.describe(`Tokens against merges. ${summary}`);
    view.say(summary);
    view.root.dataset.row = JSON.stringify(ids);
  }

  return view.dispose;
}

export default { render };
