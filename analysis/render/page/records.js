// What the page holds: tables of records, the library that draws, and how both leave the page again.

/** The text of an element that holds it as gzip in base64. */
async function unpacked(id) {
  const packed = document.getElementById(id).textContent.trim();
  const bytes = Uint8Array.from(atob(packed), (letter) => letter.charCodeAt(0));
  const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Response(plain).text();
}

/** A table: columns of numbers as they are, or of values that repeat, each once with where it stands. */
class Records {
  constructor(columns) {
    this.columns = columns;
    this.names = Object.keys(columns);
    const first = columns[this.names[0]];
    this.length = first ? (first.at ?? first.numbers).length : 0;
    this.rows = [...Array(this.length).keys()];
  }

  has(name) {
    return name in this.columns;
  }

  /** One cell; null where nothing is known. */
  get(name, row) {
    const column = this.columns[name];
    return column.values ? column.values[column.at[row]] : column.numbers[row];
  }

  /** The different values of a column among some rows: numbers by size, words as they first come. */
  distinct(name, rows = this.rows) {
    const found = [...new Set(rows.map((row) => this.get(name, row)))].filter((value) => value !== null);
    return found.every((value) => typeof value === "number") ? found.sort((a, b) => a - b) : found;
  }

  /** Rows whose columns have the values of an object. */
  where(wanted, rows = this.rows) {
    const pairs = Object.entries(wanted).filter(([name]) => this.has(name));
    return rows.filter((row) => pairs.every(([name, value]) => this.get(name, row) === value));
  }
}

/** Rows of a table as comma-separated values, numbers with every digit that they have; a text that a spreadsheet
 * would take for a formula begins with an apostrophe. */
function asCsv(records, rows, names) {
  const cell = (value) => {
    const said = value === null || value === undefined ? "" : String(value);
    const text = /^[=+@\t\r-]/.test(said) && Number.isNaN(Number(said)) ? `'${said}` : said;
    return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const lines = rows.map((row) => names.map((name) => cell(records.get(name, row))).join(","));
  return [names.map(cell).join(","), ...lines].join("\r\n") + "\r\n";
}

/** Gives the reader a text as a file. */
function download(name, text, type) {
  const link = make("a", { href: URL.createObjectURL(new Blob([text], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 1000);
}

/** An element with attributes and children; text is never read as HTML. */
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  element.append(...children);
  return element;
}

/** A number in four digits. */
function shortNumber(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (value !== 0 && (Math.abs(value) >= 1e5 || Math.abs(value) < 1e-3)) {
    return Math.abs(value) >= 1e5 ? Math.round(value).toLocaleString("en") : value.toExponential(2);
  }
  return Number(value.toPrecision(4)).toLocaleString("en", { maximumSignificantDigits: 4 });
}
