"use strict";
// Shows what the mark at the pointer says below each drawing, or the mark that the arrow keys choose. Without it, the
// browser shows the same beside the pointer.
for (const figure of document.querySelectorAll(".marked")) {
  const drawing = figure.querySelector(".drawing");
  const output = figure.querySelector(".values");
  const marks = [...drawing.querySelectorAll(".mark")];
  const across = Number(drawing.dataset.across) || 1;
  let at = -1;
  const show = (index) => {
    marks[at]?.classList.remove("asked");
    at = index;
    marks[at]?.classList.add("asked");
    output.textContent = marks[at]?.querySelector("title")?.textContent ?? "";
  };
  const point = (event) => {
    const index = marks.indexOf(event.target.closest(".mark"));
    if (index >= 0) show(index);
  };
  const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -across, ArrowDown: across };
  drawing.addEventListener("pointerover", point);
  drawing.addEventListener("pointerdown", point);
  drawing.addEventListener("pointerleave", () => show(-1));
  drawing.addEventListener("blur", () => show(-1));
  drawing.addEventListener("keydown", (event) => {
    const move = moves[event.key];
    if (!move || marks.length === 0) return;
    event.preventDefault();
    output.setAttribute("aria-live", "polite");
    const next = at < 0 ? (move < 0 ? marks.length - 1 : 0) : at + move;
    if (next >= 0 && next < marks.length) show(next);
  });
}
