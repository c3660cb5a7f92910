// Puts the page together: tables first, then the menu, then figures as they come into view.

const about = JSON.parse(document.getElementById("page").textContent);
document.documentElement.classList.add("scripted");
document.querySelectorAll("table.sortable").forEach(interactive);

/** The menu: a button on narrow windows, and a mark at the section that is read. */
function startMenu() {
  const menu = document.querySelector(".menu");
  const button = menu.querySelector("button");
  const toggle = (open) => {
    menu.classList.toggle("open", open);
    button.setAttribute("aria-expanded", String(open));
  };
  button.addEventListener("click", () => toggle(!menu.classList.contains("open")));
  menu.addEventListener("keydown", (event) => {
    if (event.key !== "Escape") return;
    toggle(false);
    button.focus();
  });
  const links = [...menu.querySelectorAll("a")];
  links.forEach((link) => link.addEventListener("click", () => toggle(false)));
  const sections = links.map((link) => document.querySelector(link.getAttribute("href")));
  const mark = () => {
    const read = sections.findLastIndex((section) => section.getBoundingClientRect().top < window.innerHeight / 3);
    const ended = window.innerHeight + window.scrollY >= document.documentElement.scrollHeight - 2;
    links.forEach((link, i) => {
      if (i === (ended ? links.length - 1 : Math.max(read, 0))) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  };
  window.addEventListener("scroll", mark, { passive: true });
  mark();
}

/** The library's own script, which adds the name Plotly to the window. */
async function startLibrary() {
  document.head.append(make("script", {}, await unpacked("library")));
  return window.Plotly;
}

startMenu();
const [library, held] = await Promise.all([startLibrary(), unpacked("records")]);
const tables = Object.fromEntries(Object.entries(JSON.parse(held)).map(([name, columns]) => [name, new Records(columns)]));
const page = { ...about, library, tables };
const charts = new Map();

/** Builds a figure once. */
function built(place) {
  if (charts.has(place)) return;
  const chart = new Chart(page.charts.find((spec) => spec.name === place.dataset.chart), page, place);
  charts.set(place, chart);
  chart.build();
}

const places = [...document.querySelectorAll("figure[data-chart]")];
const watcher = new IntersectionObserver(
  (seen) => seen.filter((entry) => entry.isIntersecting).forEach((entry) => built(entry.target)),
  { rootMargin: "600px" },
);
places.forEach((place) => watcher.observe(place));

/** Builds the figures above a section, so that a jump to it is not followed by their growing; gives the section. */
function builtAbove(hash) {
  const section = document.getElementById(hash.slice(1));
  const above = (place) => place.compareDocumentPosition(section) & Node.DOCUMENT_POSITION_FOLLOWING;
  if (section) places.filter(above).forEach(built);
  return section;
}
document.querySelectorAll(".menu a").forEach((link) => link.addEventListener("click", () => builtAbove(link.hash)));
builtAbove(window.location.hash)?.scrollIntoView();

// Colours follow the reader's system, and panels the window: both are drawn anew.
const redraw = () => charts.forEach((chart) => chart.draw());
window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
let width = window.innerWidth;
window.addEventListener("resize", () => {
  if (window.innerWidth === width) return;
  width = window.innerWidth;
  redraw();
});

// On paper every figure is there, as wide as the sheet, and what is folded away and short is open.
const folded = [...document.querySelectorAll("details.printed")];
window.addEventListener("beforeprint", () => {
  places.forEach(built);
  folded.filter((each) => !each.open).forEach((each) => {
    each.open = true;
    each.dataset.opened = "";
  });
  charts.forEach((chart) => chart.plot.data && library.relayout(chart.plot, { width: 680, font: { color: "#000", size: 11 } }));
});
window.addEventListener("afterprint", () => {
  document.querySelectorAll("details[data-opened]").forEach((each) => {
    each.open = false;
    delete each.dataset.opened;
  });
  redraw();
});

const all = document.getElementById("all-records");
all.addEventListener("click", () => download("records.csv", asCsv(tables.runs, tables.runs.rows, tables.runs.names), "text/csv"));
document.documentElement.dataset.ready = "";
