"use strict";

// Files that are dropped are sent, two at a time, and what comes back is shown, as text and pictures.
const maxBytes = Number(document.querySelector("main").dataset.maxBytes);
const waiting = [];
let busy = 0;

function work() {
  while (busy < 2 && waiting.length) {
    busy += 1;
    waiting.shift()().finally(() => {
      busy -= 1;
      work();
    });
  }
}

function link(name, address) {
  const anchor = document.createElement("a");
  [anchor.href, anchor.download, anchor.textContent] = [address, name, `Download ${name}`];
  return anchor;
}

// ---- What is dropped: files, and folders with all that is in them.

async function filesOf(entry, folder = "") {
  if (entry.isFile) {
    const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
    return [{ file, folder }];
  }
  const reader = entry.createReader();
  const files = [];
  for (;;) {
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const inner of entries) files.push(...(await filesOf(inner, entry.fullPath)));
  }
}

async function dropped(transfer) {
  const items = Array.from(transfer.items).filter((item) => item.kind === "file");
  // Asked of all at once: after the first wait they are gone.
  const found = items.map((item) => item.webkitGetAsEntry?.() || item.getAsFile());
  const parts = found.map((of) => (of instanceof File ? [{ file: of, folder: "" }] : filesOf(of)));
  return (await Promise.all(parts)).flat();
}

// A film, or a volume in one file, is sent by itself; of volumes all other files of a folder are the
// slices of one series.
function inGroups(files, volumes) {
  const groups = [];
  const series = new Map();
  for (const { file, folder } of files) {
    if (file.name.startsWith(".")) continue;
    if (!volumes || /\.nii(\.gz)?$/i.test(file.name)) {
      groups.push({ name: file.name, files: [file] });
    } else if (series.has(folder)) {
      series.get(folder).files.push(file);
    } else {
      series.set(folder, { name: folder.slice(1) || file.name, files: [file] });
      groups.push(series.get(folder));
    }
  }
  return groups;
}

// ---- What is shown.

async function ask(number, group) {
  const size = group.files.reduce((sum, file) => sum + file.size, 0);
  if (size > maxBytes) return { error: `over ${maxBytes / 2 ** 20} MiB, which is too much here` };
  const form = new FormData();
  for (const file of group.files) form.append("file", file, file.name);
  try {
    const response = await fetch(`/predict/${number}`, { method: "POST", body: form });
    if (response.ok) return await response.json();
    return { error: `the program answers ${response.status}: ${await response.text()}` };
  } catch {
    return { error: "the program does not answer; does it run, and can the file be read?" };
  }
}

function show(card, said) {
  const part = (selector) => card.querySelector(selector);
  card.classList.toggle("refused", Boolean(said.error));
  part(".answer").textContent = said.error ? `Not predicted: ${said.error}` : said.words;
  if (said.error) return;
  const doubts = said.doubt ? [`DOUBTED: ${said.doubt}.`] : [];
  doubts.push(...said.warnings.map((kind) => `A library warned: ${kind}.`));
  part(".caution").textContent = doubts.join(" ");
  part(".caution").hidden = !doubts.length;
  const picture = part("figure img");
  [picture.src, picture.alt, picture.hidden] = [said.picture, `${said.name}: ${said.words}`, false];
  for (const [name, value] of said.cells) {
    const row = part("tbody").insertRow();
    row.insertCell().textContent = name;
    row.insertCell().textContent = value;
  }
  part("table").hidden = false;
  part(".links").append(link(`${said.name}.png`, said.picture));
  if (said.mask) {
    const mask = `data:application/gzip;base64,${said.mask}`;
    part(".links").append(link(`${said.name}.nii.gz`, mask));
  }
  if (!said.slices.length) return;
  const [slices, slice, range] = [".slices", ".slices img", ".slices input"].map(part);
  const turn = () => {
    slice.src = said.slices[range.value - 1];
    slice.alt = `Slice ${range.value} of ${said.slices.length}, the mask in red`;
  };
  range.max = said.slices.length;
  range.value = Math.ceil(said.slices.length / 2);
  range.addEventListener("input", turn);
  slice.addEventListener("wheel", (event) => {
    event.preventDefault();
    range.value = Number(range.value) - Math.sign(event.deltaY);
    turn();
  });
  turn();
  slices.hidden = false;
}

for (const section of document.querySelectorAll("main section")) {
  const part = (selector) => section.querySelector(selector);
  const [drop, field, results] = [".drop", ".drop input", ".results"].map(part);
  let [lines, head, sent] = [[], "", 0];

  const count = () => {
    part("[role=status]").textContent = `${lines.length} of ${sent} answered`;
    part(".tools").hidden = !sent;
    part(".save").disabled = !head;
  };

  const send = (files) => {
    for (const group of inGroups(files, "volumes" in section.dataset)) {
      const card = document.querySelector("#result").content.cloneNode(true).firstElementChild;
      const more = group.files.length > 1 ? ` (${group.files.length} files)` : "";
      card.querySelector("h3").textContent = group.name + more;
      results.prepend(card);
      const [mine, place] = [lines, sent];
      sent += 1;
      waiting.push(async () => {
        const said = await ask(section.dataset.number, group);
        show(card, said);
        if (said.file && said.file !== group.name) {
          card.querySelector("h3").textContent += `, called ${said.file} in what is downloaded`;
        }
        if (mine !== lines) return; // cleared meanwhile
        head = said.head || head;
        lines.push({ place, line: said.line || "" });
        count();
      });
    }
    count();
    work();
  };

  field.addEventListener("change", () => {
    send(Array.from(field.files, (file) => ({ file, folder: "" })));
    field.value = "";
  });
  drop.addEventListener("dragover", (event) => event.preventDefault());
  drop.addEventListener("drop", async (event) => {
    event.preventDefault();
    send(await dropped(event.dataTransfer));
  });
  part(".clear").addEventListener("click", () => {
    [lines, head, sent] = [[], "", 0];
    results.replaceChildren();
    count();
  });
  part(".save").addEventListener("click", () => {
    const rows = lines.toSorted((a, b) => a.place - b.place).map((row) => row.line);
    const address = URL.createObjectURL(new Blob([head, ...rows], { type: "text/csv" }));
    link("predictions.csv", address).click();
    setTimeout(() => URL.revokeObjectURL(address), 60_000);
  });
}

// A file that misses its place must not replace the page.
for (const kind of ["dragover", "drop"]) addEventListener(kind, (event) => event.preventDefault());
