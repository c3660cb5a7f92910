// Tables that the reader sorts by a column and filters by words.

/** What a cell is sorted by: its number, or its text, which may be one. */
function sortKey(row, column) {
  const cell = row.cells[column];
  const text = cell.dataset.number ?? cell.textContent.trim();
  return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

/** Orders the rows of a table by a column: numbers, then words; cells without anything come last. */
function sortTable(table, column, direction) {
  const sign = direction === "ascending" ? 1 : -1;
  const body = table.tBodies[0];
  const compare = (a, b) => {
    if (a === "" || b === "") return (a === "") - (b === "");
    if (typeof a === "number" && typeof b === "number") return sign * (a - b);
    if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
    return sign * String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const keyed = [...body.rows].map((row) => [sortKey(row, column), row]);
  keyed.sort(([a], [b]) => compare(a, b));
  body.append(...keyed.map(([, row]) => row));
}

/** Shows the rows that hold every word; returns how many. */
function filterTable(table, words) {
  const wanted = words.toLowerCase().split(/\s+/).filter(Boolean);
  let shown = 0;
  for (const row of table.tBodies[0].rows) {
    const text = row.textContent.toLowerCase();
    row.hidden = !wanted.every((word) => text.includes(word));
    shown += row.hidden ? 0 : 1;
  }
  return shown;
}

/** Puts a button in every head of a column, and a field to filter by above a long table. */
function interactive(table) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = make("button", { type: "button" }, head.textContent || "verdict");
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction);
      sortTable(table, column, direction);
    });
    head.replaceChildren(button);
  });
  const rows = table.tBodies[0].rows.length;
  if (rows < 8) return;
  const told = make("span", { role: "status" }, `${rows} rows`);
  const field = make("input", { type: "search", "aria-label": "Filter the table", placeholder: "Filter" });
  field.addEventListener("input", () => {
    told.textContent = `${filterTable(table, field.value)} of ${rows} rows`;
  });
  table.parentElement.before(make("div", { class: "tools" }, field, told));
}
