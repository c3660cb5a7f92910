// The page's one script: tables that sort and filter, every run, and its file to save.

const about = JSON.parse(document.getElementById("page").textContent);

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

/** Rows of values as comma-separated ones; a text that a spreadsheet would take for a formula begins with an
 * apostrophe. */
function asCsv(rows) {
  const cell = (value) => {
    const words = value === null || value === undefined ? "" : String(value);
    const text = /^[=+@\t\r-]/.test(words) && Number.isNaN(Number(words)) ? `'${words}` : words;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  return rows.map((row) => row.map(cell).join(",")).join("\r\n") + "\r\n";
}

/** A number in four digits. */
function shortNumber(value) {
  if (Math.abs(value) >= 1e5) return Math.round(value).toLocaleString("en");
  if (value !== 0 && Math.abs(value) < 1e-3) return value.toExponential(2);
  return value.toLocaleString("en", { maximumSignificantDigits: 4 });
}

// Tables

/** What a cell is sorted by: its number, or its text, which may be one. */
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.number ?? cell.textContent.trim();
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/** Orders the rows of a table by a column: numbers, then words; cells without anything come last. */
function sortTable(table, column, sign) {
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const keyed = [...table.tBodies[0].rows].map((row) => [sortKey(row, column), row]);
  keyed.sort(([a], [b]) => compare(a, b));
  table.tBodies[0].append(...keyed.map(([, row]) => row));
}

/** Puts a button in every head of a column. */
function sortable(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent || "verdict");
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      sortTable(table, column, direction === "ascending" ? 1 : -1);
    });
    head.replaceChildren(button);
  });
}

/** Puts a field above a long table that shows the rows which hold every word. */
function filtered(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < 8) return;
  const status = make("span", { role: "status" }, `${rows.length} rows`);
  const field = make("input", { type: "search", "aria-label": "Filter the table", placeholder: "Filter" });
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    for (const row of rows) row.hidden = !wanted.every((word) => row.textContent.toLowerCase().includes(word));
    status.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  });
  table.parentElement.before(make("div", { class: "tools" }, field, status));
}

document.querySelectorAll("table.sortable").forEach((table) => {
  sortable(table);
  filtered(table);
});

// Every run: a table of those at a chosen point

const MOST_ROWS = 300;

/** The records, which the page holds as gzip in base64. */
const packed = Uint8Array.from(atob(document.getElementById("records").textContent), (letter) => letter.charCodeAt(0));
const unpacked = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
const records = await new Response(unpacked).json();
const every = [...records.runner.keys()];
const words = (name, value) => about.titles[name]?.[String(value)] ?? (value === "" ? "none" : String(value));

const choice = { ...about.start };
const status = make("p", { class: "quiet", role: "status" });
const shown = make("div", { class: "scroll" });
const heads = { ...about.words, ...Object.fromEntries(about.show) };
const columns = [...about.show.map(([name]) => name), ...about.choose];

/** Shows the runs that are as chosen. */
function draw() {
  const found = every.filter((row) => Object.entries(choice).every(([name, value]) => records[name][row] === value));
  status.textContent = `${found.length} of ${every.length} runs` + (found.length > MOST_ROWS ? `; the first ${MOST_ROWS} are shown` : "");
  const varied = columns.filter((name) => !(name in choice));
  const head = varied.map((name) => make("th", { scope: "col" }, heads[name] ?? name));
  const lines = found.slice(0, MOST_ROWS).map((row) => make("tr", {}, ...varied.map((name) => {
    const value = records[name][row];
    return typeof value === "number"
      ? make("td", { class: "number", "data-number": value }, shortNumber(value))
      : make("td", {}, value === null ? "" : words(name, value));
  })));
  const table = make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines));
  sortable(table);
  shown.replaceChildren(table);
}

const selects = about.choose.map((name) => {
  const known = [...new Set(records[name])].sort((a, b) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
  const options = known.map((value, i) => make("option", { value: i, selected: choice[name] === value }, words(name, value)));
  const field = make("select", { "data-column": name }, make("option", { value: "" }, "any"), ...options);
  field.addEventListener("change", () => {
    if (field.value === "") delete choice[name];
    else choice[name] = known[Number(field.value)];
    draw();
  });
  return make("label", {}, about.words[name] ?? name, field);
});
const button = make("button", { type: "button", id: "all-records" }, "Save every record as CSV");
button.addEventListener("click", () => {
  const text = asCsv([Object.keys(records), ...every.map((row) => Object.keys(records).map((name) => records[name][row]))]);
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: "records.csv" });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
});
const place = document.getElementById("every-run");
place.append(make("div", { class: "controls" }, ...selects), status, shown, make("p", { class: "tools" }, button));
draw();

// The table above has grown since the browser went to the section of the address.
if (location.hash) document.getElementById(location.hash.slice(1))?.scrollIntoView();

document.documentElement.dataset.ready = "";
