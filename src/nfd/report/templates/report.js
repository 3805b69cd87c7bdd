"use strict";

// Sorting: the headings of a sortable table become buttons; cells sort by data-value, or by their text.
function sortValue(row, column) {
  const cell = row.cells[column];
  const value = cell.dataset.value ?? cell.textContent.trim();
  return value !== "" && Number.isFinite(Number(value)) ? Number(value) : value;
}

function compare(a, b) {
  return typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
}

function sortBy(table, heading) {
  const column = heading.cellIndex;
  const up = heading.getAttribute("aria-sort") !== "ascending";
  for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
  heading.setAttribute("aria-sort", up ? "ascending" : "descending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => (up ? 1 : -1) * compare(sortValue(a, column), sortValue(b, column)));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table[data-sortable]")) {
  for (const heading of table.tHead.rows[0].cells) {
    if ("fixed" in heading.dataset) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    button.addEventListener("click", () => sortBy(table, heading));
    heading.append(button);
  }
}

// Zoom: a figure fills the window; + and - change its size, Escape closes it.
const dialog = document.getElementById("zoom");
const sheet = dialog.querySelector(".sheet");
const enlarged = sheet.querySelector("img");
const SCALES = [1, 1.5, 2, 3, 4];
let scale = 0;

function show(step) {
  scale = Math.min(SCALES.length - 1, Math.max(0, scale + step));
  const ratio = enlarged.naturalWidth / enlarged.naturalHeight || 1;
  const fitting = Math.min(sheet.clientWidth, sheet.clientHeight * ratio);
  const middle = [
    (sheet.scrollLeft + sheet.clientWidth / 2) / sheet.scrollWidth,
    (sheet.scrollTop + sheet.clientHeight / 2) / sheet.scrollHeight,
  ];
  enlarged.style.width = `${Math.floor(fitting * SCALES[scale])}px`;
  sheet.scrollLeft = middle[0] * sheet.scrollWidth - sheet.clientWidth / 2;
  sheet.scrollTop = middle[1] * sheet.scrollHeight - sheet.clientHeight / 2;
}

function enlarge(picture) {
  enlarged.src = picture.src;
  enlarged.alt = picture.alt;
  document.getElementById("zoom-title").textContent =
    picture.closest("figure").querySelector("figcaption b").textContent;
  dialog.showModal();
  scale = window.innerWidth < 600 ? 2 : 0; // a phone starts where the labels can be read
  const start = () => {
    show(0);
    sheet.scrollTo(0, 0);
  };
  enlarged.decode().then(start, start);
}

for (const frame of document.querySelectorAll("[data-zoom]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.setAttribute("aria-label", frame.dataset.zoom);
  const picture = frame.querySelector("img");
  button.addEventListener("click", () => enlarge(picture));
  button.append(picture);
  frame.append(button);
}
for (const button of dialog.querySelectorAll("[data-scale]")) {
  button.addEventListener("click", () => show(Number(button.dataset.scale)));
}
dialog.querySelector("[data-close]").addEventListener("click", () => dialog.close());
dialog.addEventListener("keydown", (event) => {
  if (event.key === "+" || event.key === "=") show(1);
  if (event.key === "-") show(-1);
});

// On paper the other readings are shown too; numbers behind figures and the configuration are not.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details[data-print]")) details.open = true;
});
