"use strict";
// Shows the values under the pointer below each chart. Without it, the page lacks nothing else.
for (const figure of document.querySelectorAll(".chart")) {
  const chart = JSON.parse(figure.dataset.hover);
  const drawing = figure.querySelector(".drawing");
  const guide = figure.querySelector(".guide");
  const values = figure.querySelector(".values");
  const steps = [...new Set(chart.lines.flatMap((line) => line.points.map((point) => point[0])))].sort((a, b) => a - b);
  const lines = chart.lines.map((line) => ({ name: line.name, at: new Map(line.points) }));
  const place = (step) => {
    const share = chart.log
      ? Math.log(step / chart.low) / Math.log(chart.high / chart.low)
      : (step - chart.low) / (chart.high - chart.low);
    return chart.left + share * (chart.right - chart.left);
  };
  const show = (event) => {
    if (steps.length === 0) return;
    const box = drawing.getBoundingClientRect();
    const at = (event.clientX - box.left) / box.width;
    const step = steps.reduce((best, next) => (Math.abs(place(next) - at) < Math.abs(place(best) - at) ? next : best));
    guide.setAttribute("transform", `translate(${place(step) * drawing.viewBox.baseVal.width} 0)`);
    guide.style.visibility = "visible";
    const texts = lines.map((line) => {
      const value = line.at.get(step);
      return `${line.name} ${value == null ? "none" : value.toFixed(chart.decimals) + chart.unit}`;
    });
    values.textContent = `step ${step}: ${texts.join(", ")}`;
  };
  drawing.addEventListener("pointermove", show);
  drawing.addEventListener("pointerdown", show);
  drawing.addEventListener("pointerleave", () => {
    guide.style.visibility = "hidden";
    values.textContent = "";
  });
}
