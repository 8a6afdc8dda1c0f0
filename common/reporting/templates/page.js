"use strict";

// Tables: a button in every heading sorts, a field filters. Without this script they are plain.
for (const table of document.querySelectorAll("table.cases")) {
  const body = table.tBodies[0];
  const heads = Array.from(table.tHead.rows[0].cells);
  const rows = Array.from(body.rows);
  const tools = table.closest("section").querySelector(".tools");
  const field = tools.querySelector("input");
  const count = tools.querySelector("output");

  const compare = (column, numbers) => (a, b) => {
    const [x, y] = [a, b].map((row) => row.cells[column].textContent.trim());
    if (!numbers) return x.localeCompare(y, undefined, { numeric: true });
    const [p, q] = [x, y].map((text) => parseFloat(text.replaceAll(",", "")));
    return p - q;
  };

  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
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
    let shown = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} shown`;
  };
  field.addEventListener("input", filter);
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

// On paper everything is open.
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
