"use strict";
// Shows the values at the pointer below each chart, or at the place that the arrow keys choose. Without it, the page
// lacks nothing else.
const along = (ends, value) => {
  const { log, low, high, from, to } = ends;
  return from + (log ? Math.log(value / low) / Math.log(high / low) : (value - low) / (high - low)) * (to - from);
};
const nearest = (places, at) => {
  const distance = (index) => (Number.isFinite(places[index]) ? Math.abs(places[index] - at) : Infinity);
  return places.reduce((best, _, index) => (distance(index) < distance(best) ? index : best), 0);
};
for (const figure of document.querySelectorAll(".chart")) {
  const drawing = figure.querySelector(".drawing");
  const guide = figure.querySelector(".guide");
  const output = figure.querySelector(".values");
  let hover, places;
  let at = -1; // the place shown
  let line = 0; // the line picked, where there are too many to show all
  const show = () => {
    guide.setAttribute("transform", `translate(${places[at] * drawing.viewBox.baseVal.width} 0)`);
    guide.style.visibility = "visible";
    const text = ({ name, values }) => `${name} ${values[at] == null ? "none" : values[at] + hover.unit}`;
    const shown = hover.y ? [hover.lines[line]] : hover.lines;
    output.textContent = `${hover.names ? hover.names[at] : "step " + hover.at[at]}: ${shown.map(text).join(", ")}`;
    if (!hover.y) return;
    figure.classList.add("picked");
    for (const mark of figure.querySelectorAll("[data-line]")) {
      mark.classList.toggle("shown", mark.dataset.line === String(line));
    }
  };
  const ready = () => {
    hover ??= JSON.parse(figure.dataset.hover);
    places ??= hover.at.map((value) => along(hover.x, value));
    return places.length > 0;
  };
  const hide = () => {
    at = -1;
    guide.style.visibility = "hidden";
    output.textContent = "";
    figure.classList.remove("picked");
  };
  const point = (event) => {
    if (!ready()) return;
    const box = drawing.getBoundingClientRect();
    at = nearest(places, (event.clientX - box.left) / box.width);
    if (hover.y) {
      const heights = hover.lines.map(({ values }) => (values[at] == null ? null : along(hover.y, values[at])));
      line = nearest(heights, (event.clientY - box.top) / box.height);
    }
    show();
  };
  const keys = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  drawing.addEventListener("pointermove", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", hide);
  drawing.addEventListener("blur", hide);
  drawing.addEventListener("keydown", (event) => {
    const move = keys[event.key];
    if (!move || !ready() || (move[1] && !hover.y)) return;
    event.preventDefault();
    output.setAttribute("aria-live", "polite");
    const within = (index, length) => Math.min(Math.max(index, 0), length - 1);
    at = at < 0 ? (move[0] < 0 ? places.length - 1 : 0) : within(at + move[0], places.length);
    line = within(line + move[1], hover.lines.length);
    show();
  });
}
