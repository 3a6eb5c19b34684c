"use strict";
// One batch on its way through batch normalization. Without it, the page has the formulas and a drawing of each stage.
const section = document.querySelector(".moving");
const given = JSON.parse(section.dataset.given);
const input = (id) => document.getElementById(id);
const names = ["What comes in: x", "Subtract the mean: x − μ", "Divide by the standard deviation: x̂", "Scale and shift: y = γ x̂ + β"];
const units = [...section.querySelectorAll(".unit")].map((group) => ({
  dots: [...group.querySelectorAll(".example")],
  spread: group.querySelector(".spread"),
  average: group.querySelector(".average"),
  says: group.querySelector(".says"),
}));
const settings = () => ({
  stage: Number(input("stage").value),
  inference: section.querySelector("[name=mode]:checked").value === "inference",
  gamma: Number(input("gamma").value),
  beta: Number(input("beta").value),
  eps: 10 ** Number(input("tiny").value),
  size: Number(input("size").value),
  example: Number(input("example").value) - 1,
  unit: Number(input("unit").value) - 1,
});
const statistics = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const variance = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  return { mean, variance };
};
// What a unit is normalized by.
const by = (unit, { inference, size }) => {
  if (!inference) return statistics(given.batch[unit].slice(0, size));
  const [mean, variance] = given.running[unit];
  return { mean, variance };
};
// A number after each stage.
const stages = (x, { mean, variance }, { gamma, beta, eps }) => {
  const centred = x - mean;
  const normalized = centred / Math.sqrt(variance + eps);
  return [x, centred, normalized, gamma * normalized + beta];
};
const place = (value) => {
  const { low, high, left, right } = given.axis;
  return left + ((Math.min(Math.max(value, low), high) - low) / (high - low)) * (right - left);
};
// As few digits as tell numbers apart, with a true minus.
const text = (value, digits = 2) => {
  const rounded = value.toFixed(digits);
  return (Number(rounded) === 0 ? (0).toFixed(digits) : rounded).replace("-", "−");
};
const power = (value) => (value >= 0.01 ? String(value) : "10" + [...String(Math.round(Math.log10(value)))].map((c) => ({ "-": "⁻" })[c] ?? "⁰¹²³⁴⁵⁶⁷⁸⁹"[c]).join(""));
const summand = (value, digits = 2) => (value < 0 ? `(${text(value, digits)})` : text(value, digits));

// The numbers that are drawn, which follow those that there are.
let drawn;
let frame;
const wanted = (chosen) =>
  given.batch.map((values, unit) => values.map((x) => stages(x, by(unit, chosen), chosen)[chosen.stage]));
const draw = (chosen) => {
  drawn.forEach((values, unit) => {
    const { dots, spread, average, says } = units[unit];
    dots.forEach((dot, example) => {
      dot.setAttribute("cx", place(values[example]));
      dot.classList.toggle("out", example >= chosen.size);
      dot.classList.toggle("chosen", example === chosen.example);
      dot.setAttribute("r", example === chosen.example ? 6.5 : 5);
    });
    const { mean, variance } = statistics(values.slice(0, chosen.size));
    const deviation = Math.sqrt(variance);
    spread.setAttribute("x", place(mean - deviation));
    spread.setAttribute("width", place(mean + deviation) - place(mean - deviation));
    average.setAttribute("transform", `translate(${place(mean)} 0)`);
    says.textContent = `mean ${text(mean)}, sd ${text(deviation)}`;
  });
};
const still = matchMedia("(prefers-reduced-motion: reduce)");
const move = (chosen, time) => {
  const from = drawn;
  const to = wanted(chosen);
  cancelAnimationFrame(frame);
  if (!from || still.matches || time === 0) {
    drawn = to;
    return draw(chosen);
  }
  const began = performance.now();
  const next = (now) => {
    const share = Math.min(Math.max((now - began) / time, 0), 1);
    const eased = share * share * (3 - 2 * share);
    drawn = to.map((values, unit) => values.map((value, example) => from[unit][example] + eased * (value - from[unit][example])));
    draw(chosen);
    if (share < 1) frame = requestAnimationFrame(next);
  };
  frame = requestAnimationFrame(next);
};

const remark = (chosen) => {
  const { stage, inference, size, gamma, eps, example } = chosen;
  if (inference && stage > 0) return "Inference: the running mean and variance stand in for the batch's, so that what comes out for one example does not depend on the others. This batch is not the average one: its mean is not quite 0, its standard deviation not quite 1.";
  if (stage === 3 && gamma === 0) return "With a scale of 0 every unit says β, whatever comes in.";
  if (stage === 0) return size === 16 ? "Move the stage, with the mouse or the arrow keys. A dot is one example, at the same height in all stages; choose one by clicking it." : `The statistics are those of the first ${size}; the hollow dots are not in the batch.`;
  if (size === 1) return "A batch of one is its own mean: x − μ is 0, and nothing of the example is left. Frameworks refuse it in training, and so does this project's engine unless told otherwise.";
  if (size === 2 && stage >= 2) return "Of two examples, one is at −1 and the other at 1, however far they were apart.";
  if (stage >= 2 && eps >= 0.1) return "An ε that is not small beside the variance: narrow units stay narrower than 1.";
  if (size < 8) return `The mean and the variance of only ${size} examples: change the batch size by one, and every dot moves.`;
  if (example >= size) return "The chosen example is not in the batch: it is normalized by the others' mean and variance.";
  return stage === 1 ? "All three units lie around 0; they are as wide as they were." : stage === 2 ? "All three units have mean 0 and standard deviation 1, whatever came in. Their shapes are as before." : "γ and β are learned, one pair for each unit; here one pair moves all three.";
};
const sums = (chosen) => {
  const { stage, inference, gamma, beta, eps, size, example, unit } = chosen;
  const found = by(unit, chosen);
  const { mean, variance } = found;
  const [x, centred, normalized, y] = stages(given.batch[unit][example], found, chosen);
  const values = given.batch[unit].slice(0, size);
  // All of few, the ends of many.
  const some = (of) => (values.length <= 4 ? values.map(of).join(" + ") : [of(values[0]), of(values[1]), "…", of(values.at(-1))].join(" + "));
  const lines = [
    [[0], `x = <b>${text(x)}</b>`],
    [[1], inference ? `μ = <b>${text(mean)}</b>, the running mean` : `μ = (${some((value) => summand(value, 1))}) / ${size} = <b>${text(mean)}</b>`],
    [[1], `x − μ = ${text(x)} − ${summand(mean)} = <b>${text(centred)}</b>`],
    [[2], inference ? `σ² = <b>${text(variance)}</b>, the running variance` : `σ² = (${some((value) => summand(value - mean) + "²")}) / ${size} = <b>${text(variance)}</b>`],
    [[2], `x̂ = ${text(centred)} / √(${text(variance)} + ${power(eps)}) = ${text(centred)} / ${text(Math.sqrt(variance + eps))} = <b>${text(normalized)}</b>`],
    [[3], `y = γ x̂ + β = ${text(gamma)} · ${summand(normalized)} + ${summand(beta)} = <b>${text(y)}</b>`],
  ];
  input("which-example").textContent = example + 1;
  input("which-unit").textContent = unit + 1;
  // Numbers and signs of our own making.
  input("sums").innerHTML = lines.map(([of, line]) => `<li class="${of.includes(stage) ? "now" : ""}">${line}</li>`).join("");
};
const show = (time) => {
  const chosen = settings();
  input("stage-name").textContent = `${chosen.stage + 1}. ${names[chosen.stage]}`;
  input("stage").setAttribute("aria-valuetext", names[chosen.stage]);
  for (const slider of section.querySelectorAll(".slider input")) {
    const value = slider.id === "tiny" ? power(chosen.eps) : text(Number(slider.value), Number(slider.step) < 1 ? 2 : 0);
    slider.previousElementSibling.textContent = value;
    slider.setAttribute("aria-valuetext", value);
  }
  for (const card of document.querySelectorAll(".stage")) card.classList.toggle("now", Number(card.dataset.stage) === chosen.stage);
  const beyond = wanted(chosen).flat().some((value) => value < given.axis.low || value > given.axis.high);
  input("remark").textContent = remark(chosen) + (beyond ? " What is beyond the axis is drawn at its edge." : "");
  sums(chosen);
  move(chosen, time);
};
units.forEach(({ dots }, unit) =>
  dots.forEach((dot, example) =>
    dot.addEventListener("click", () => {
      input("example").value = example + 1;
      input("unit").value = unit + 1;
      show(0);
    }),
  ),
);
section.addEventListener("input", (event) => show(event.target.id === "stage" || event.target.name === "mode" ? 700 : 0));
section.hidden = false;
document.querySelector(".to-try").hidden = false;
show(0);
