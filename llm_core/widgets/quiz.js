// A quiz: each question is a fieldset of native radio buttons and a button that checks the choice.
// The check is a step of its own, since arrow keys choose as they move. Why the choice is right or
// wrong is shown and spoken at once; Python hears of it through the trait `choices`.

/** Text with `code` between backticks, as nodes; nothing is ever parsed as HTML. */
function quizText(text) {
  const pieces = text.split("`");
  if (pieces.length % 2 === 0) return [text];
  return pieces.map((piece, i) => (i % 2 ? kit.element("code", {}, piece) : piece));
}

/** One question with its options; `oncheck` hears the number of the option that is checked. */
function quizQuestion(question, number, total, oncheck) {
  const name = kit.newId();
  const verdict = kit.element("p", { class: "llm-quiz-verdict", "aria-live": "polite" });
  const inputs = question.options.map((_, j) => kit.element("input", {
    type: "radio", name, value: j,
    onchange: () => say("Chosen, but not checked yet: press Enter or Check."),
    onkeydown: (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.ctrlKey || event.altKey) return;
      event.preventDefault();
      check();
    },
  }));
  const rows = question.options.map((option, j) => kit.element(
    "label", { class: "llm-quiz-option" }, inputs[j], kit.element("span", {}, quizText(option.text)),
  ));
  const button = kit.element(
    "button",
    { type: "button", class: "llm-button", "aria-label": `Check question ${number}`, onclick: () => check() },
    "Check",
  );
  const heading = kit.element("span", { class: "llm-quiz-number" }, `Question ${number} of ${total}. `);
  const root = kit.element(
    "fieldset", { class: "llm-quiz-question" },
    kit.element("legend", {}, heading, quizText(question.text)), rows, button, verdict,
  );

  function say(text) {
    root.classList.remove("llm-quiz-right", "llm-quiz-wrong");
    verdict.textContent = text;
  }
  function check() {
    const choice = inputs.findIndex((input) => input.checked);
    if (choice < 0) say("Choose an option first.");
    else {
      show(choice);
      oncheck(choice);
    }
  }
  function show(choice) {
    const { right, explanation } = question.options[choice];
    inputs[choice].checked = true;
    root.classList.toggle("llm-quiz-right", right);
    root.classList.toggle("llm-quiz-wrong", !right);
    verdict.replaceChildren(
      kit.element("span", { "aria-hidden": "true" }, right ? "✓ " : "✗ "),
      kit.element("b", {}, right ? "Right. " : "Not this one. "),
      ...quizText(explanation),
    );
  }
  return { root, show };
}

function render({ model, el }) {
  const questions = model.get("questions");
  const view = kit.view({ model, el, title: "Quiz", label: `Quiz ${model.get("quiz_id")}` });
  const parts = questions.map((question, i) => quizQuestion(question, i + 1, questions.length, (choice) => {
    view.set("choices", { ...model.get("choices"), [String(i)]: choice });
  }));
  view.add(...parts);

  const shown = {};
  function update() {
    const choices = model.get("choices");
    parts.forEach((part, i) => {
      if (choices[i] !== undefined && choices[i] !== shown[i]) part.show(choices[i]);
      shown[i] = choices[i];
    });
    const answered = Object.keys(choices).length;
    const right = Object.entries(choices).filter(([i, choice]) => questions[i].options[choice].right).length;
    if (answered) view.say(`${answered} of ${questions.length} questions answered, ${right} right.`);
  }
  view.on("choices", update);
  update();
  return () => view.dispose();
}

export default { render };
