// A quiz: each question is a fieldset of native radio buttons; choosing one shows, and speaks, why
// it is right or wrong. Python hears of the choice through the trait `choices`.

/** Text with `code` between backticks, as nodes; nothing is ever parsed as HTML. */
function quizText(text) {
  const pieces = text.split("`");
  if (pieces.length % 2 === 0) return [text];
  return pieces.map((piece, i) => (i % 2 ? kit.element("code", {}, piece) : piece));
}

/** One question with its options; `onchoice` hears the number of the option chosen. */
function quizQuestion(question, number, total, onchoice) {
  const name = kit.newId();
  const verdict = kit.element("p", { class: "llm-quiz-verdict", "aria-live": "polite" });
  const options = question.options.map((option, j) => {
    const input = kit.element("input", { type: "radio", name, value: j, onchange: () => onchoice(j) });
    return { input, row: kit.element("label", { class: "llm-quiz-option" }, input, kit.element("span", {}, quizText(option.text))) };
  });
  const root = kit.element(
    "fieldset",
    { class: "llm-quiz-question" },
    kit.element("legend", {}, kit.element("span", { class: "llm-quiz-number" }, `Question ${number} of ${total}. `), quizText(question.text)),
    options.map((option) => option.row),
    verdict,
  );
  let shown = null;
  function show(choice) {
    if (choice === shown || choice === undefined) return;
    shown = choice;
    const { right, explanation } = question.options[choice];
    options[choice].input.checked = true;
    verdict.classList.toggle("llm-quiz-right", right);
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

  function update() {
    const choices = model.get("choices");
    parts.forEach((part, i) => part.show(choices[String(i)]));
    const answered = Object.keys(choices).length;
    const right = Object.entries(choices).filter(([i, choice]) => questions[i].options[choice].right).length;
    if (answered === questions.length) view.say(`All ${answered} questions answered; ${right} stand right now.`);
    else if (answered) view.say(`${answered} of ${questions.length} questions answered.`);
  }
  view.on("choices", update);
  update();
  return () => view.dispose();
}

export default { render };
