"use strict";

// Tables: a button in every heading sorts, a field filters. Without this script they are plain.
for (const table of document.querySelectorAll("table.cases")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const rows = Array.from(body.rows);
  const tools = table.closest("section").querySelector(".tools");
  const field = tools.querySelector("input");
  const [low, high] = tools.querySelectorAll(".limits input");
  const choice = tools.querySelector("select");
  const count = tools.querySelector("output");

  const number = (row, column) =>
    parseFloat(row.cells[column].textContent.trim().replaceAll(",", ""));

  const compare = (column, numbers) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].textContent.trim());
    if (!numbers) return x.localeCompare(y, undefined, { numeric: true });
    return number(a, column) - number(b, column);
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    if (head.classList.contains("number")) choice.add(new Option(head.textContent, column));
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const order = compare(column, head.classList.contains("number"));
      const missing = (row) => row.cells[column].textContent.trim() === "-";
      rows.sort((a, b) => missing(a) - missing(b) || (down ? order(b, a) : order(a, b)));
      body.append(...rows);
    });
  });

  const filter = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    const within = (row) => {
      const value = number(row, Number(choice.value));
      return !(low.value && !(value >= low.valueAsNumber)) &&
        !(high.value && !(value <= high.valueAsNumber));
    };
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word)) || !within(row);
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  for (const input of [field, choice, low, high]) input.addEventListener("input", filter);
  tools.querySelector(".limits").hidden = !choice.length;
  filter();
  tools.hidden = false;
}

// Moving pictures: a button stops them, and they begin stopped where less motion is asked for.
for (const image of document.querySelectorAll("img.moving")) {
  const still = document.createElement("canvas");
  const button = document.createElement("button");
  [still.width, still.height] = [image.width, image.height].map((side) => side || 1);
  still.setAttribute("role", "img");
  still.setAttribute("aria-label", image.alt);
  button.type = "button";
  button.className = "pause";
  image.after(still, button);
  const stop = (stopped) => {
    if (stopped) {
      [still.width, still.height] = [image.naturalWidth, image.naturalHeight];
      still.getContext("2d").drawImage(image, 0, 0);
    }
    image.hidden = stopped;
    still.hidden = !stopped;
    button.textContent = stopped ? "Play" : "Stop";
  };
  button.addEventListener("click", () => stop(!image.hidden));
  stop(false);
  if (matchMedia("(prefers-reduced-motion: reduce)").matches) image.decode().then(() => stop(true));
}

// Two pictures of one size: what lies over the other is seen from the slider on to the right.
for (const pair of document.querySelectorAll(".pair")) {
  const over = pair.querySelectorAll("img")[1];
  const [label, slider] = ["label", "input"].map((tag) => pair.querySelector(tag));
  const slide = () => {
    over.style.clipPath = `inset(0 0 0 ${slider.value}%)`;
  };
  slider.addEventListener("input", slide);
  pair.classList.add("laid");
  label.hidden = false;
  slide();
}

// Pictures: a click or a button enlarges one, and the arrow keys go on from there.
const dialog = document.querySelector("dialog");
if (dialog) {
  const pictures = Array.from(document.querySelectorAll("figure.picture img"));
  const large = document.createElement("img");
  let place = 0;
  const show = (to) => {
    place = (to + pictures.length) % pictures.length;
    [large.src, large.alt] = [pictures[place].src, pictures[place].alt];
    const caption = pictures[place].closest("figure").querySelector("figcaption");
    dialog.querySelector(".caption").textContent =
      `${place + 1} of ${pictures.length}: ${caption.textContent}`;
    if (!dialog.open) dialog.showModal();
  };
  dialog.prepend(large);
  pictures.forEach((image, number) => {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "enlarge";
    button.textContent = "Enlarge";
    for (const part of [image, button]) part.addEventListener("click", () => show(number));
    const figure = image.closest("figure");
    if (!figure.querySelector(".enlarge")) figure.append(button);
  });
  const moves = { previous: () => show(place - 1), next: () => show(place + 1), close: () => dialog.close() };
  for (const [name, move] of Object.entries(moves)) {
    dialog.querySelector(`.${name}`).addEventListener("click", move);
  }
  const keys = { ArrowLeft: moves.previous, ArrowRight: moves.next };
  dialog.addEventListener("keydown", (event) => keys[event.key]?.());
}

// On paper everything is open.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
