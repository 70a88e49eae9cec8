"use strict";
// Only what makes the page handier: without any of it, everything can be read.
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const root = document.documentElement;
for (const control of all("[data-script]")) control.hidden = false;

// --- theme: as the system has it, until it is chosen
const themes = ["auto", "light", "dark"];
const themeButton = document.getElementById("theme");
const remembered = () => { try { return localStorage.getItem("theme"); } catch { return null; } };
const setTheme = (theme) => {
  if (theme === "auto") delete root.dataset.theme; else root.dataset.theme = theme;
  themeButton.textContent = "Theme: " + theme;
  try { localStorage.setItem("theme", theme); } catch { /* a page from disk may not remember */ }
};
let theme = themes.includes(remembered()) ? remembered() : "auto";
setTheme(theme);
themeButton.addEventListener("click", () => {
  theme = themes[(themes.indexOf(theme) + 1) % themes.length];
  setTheme(theme);
});

// --- sorting: missing values stay last, reference rows where they are
const compare = (a, b) => (typeof a === "number" ? a - b : a.localeCompare(b, "en", { numeric: true }));
const valueOf = (row, column, numeric) => {
  const cell = row.cells[column];
  if (!numeric) return cell.textContent.trim();
  const text = cell.dataset.value ?? "";
  return text === "" ? null : Number(text);
};
const sortBy = (head, column) => {
  const body = head.closest("table").tBodies[0];
  const numeric = head.dataset.sort === "number";
  const falling = head.getAttribute("aria-sort") === "ascending";
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", falling ? "descending" : "ascending");
  const rows = [...body.rows].map((row) => [valueOf(row, column, numeric), row]);
  const known = rows.filter(([value]) => value !== null).sort(([a], [b]) => (falling ? compare(b, a) : compare(a, b)));
  body.append(...[...known, ...rows.filter(([value]) => value === null)].map(([, row]) => row));
};
for (const head of all("table th[data-sort]")) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(...head.childNodes);
  head.append(button);
  button.addEventListener("click", () => sortBy(head, head.cellIndex));
}

// --- recipes: chips and the search hide them in tables, figures and pictures alike
const data = JSON.parse(document.getElementById("data")?.textContent ?? "null"); // a page of theory has no recipes
if (data) {
  const places = new Map(data.recipes.map((recipe, place) => [recipe, place]));
  const chips = all(".chip input");
  const search = document.getElementById("search");
  const found = document.getElementById("found");
  const hiding = document.head.appendChild(document.createElement("style"));
  const show = () => {
    const off = new Set(chips.filter((chip) => !chip.checked).map((chip) => chip.value));
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const visible = data.recipes.filter((recipe) => !off.has(recipe) && words.every((word) => recipe.toLowerCase().includes(word)));
    const set = new Set(visible);
    for (const item of all("[data-recipe]")) item.hidden = places.has(item.dataset.recipe) && !set.has(item.dataset.recipe);
    const gone = data.recipes.filter((recipe) => !set.has(recipe)).map((recipe) => ".recipe-" + places.get(recipe));
    hiding.textContent = gone.length ? gone.join() + " { display: none; }" : "";
    found.textContent = gone.length ? `${visible.length} of ${data.recipes.length} recipes` : "";
  };
  for (const chip of chips) chip.addEventListener("change", show);
  search.addEventListener("input", show);
  document.getElementById("everything").addEventListener("click", () => {
    for (const chip of chips) chip.checked = true;
    search.value = "";
    show();
  });
}

// --- samples over time
const slider = document.getElementById("time");
if (slider) {
  const shownAt = document.getElementById("shown-at");
  const pictures = all("img[data-frames]");
  const frames = pictures.map((image) => [...data.frames[image.dataset.frames], [Number(image.dataset.images), image.src]]);
  const seek = () => {
    const time = data.times[Number(slider.value)];
    const words = `after ${time.toLocaleString("en")} images`;
    shownAt.textContent = words;
    slider.setAttribute("aria-valuetext", words);
    pictures.forEach((image, i) => {
      const [images, source] = frames[i].findLast(([at]) => at <= time) ?? frames[i][0];
      if (image.src !== source) image.src = source;
      image.nextElementSibling.textContent = `after ${images.toLocaleString("en")} images`;
    });
  };
  slider.addEventListener("input", seek);
  const play = document.getElementById("play");
  let timer = 0;
  const stop = () => { clearInterval(timer); timer = 0; play.textContent = "Play"; };
  play.addEventListener("click", () => {
    if (timer) return stop();
    play.textContent = "Stop";
    if (slider.value === slider.max) slider.value = 0;
    seek();
    timer = setInterval(() => {
      slider.value = Number(slider.value) + 1;
      seek();
      if (slider.value === slider.max) stop();
    }, 700);
  });
}

// --- where one is, and paper
const links = new Map(all(".bar nav a").map((link) => [link.hash.slice(1), link]));
const watch = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting) {
    for (const link of links.values()) link.classList.remove("here");
    links.get(entry.target.id)?.classList.add("here");
  }
}, { rootMargin: "-25% 0px -70% 0px" });
for (const section of all("main section[id]")) watch.observe(section);
addEventListener("beforeprint", () => { for (const box of all("details")) box.open = true; });
