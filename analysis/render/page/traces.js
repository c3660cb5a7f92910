// What the library draws: traces and layout of each kind of figure.

const SYMBOLS = ["circle", "square", "triangle-up", "diamond", "triangle-down", "cross", "x"];
const MARKS = ["●", "■", "▲", "◆", "▼", "✚", "✖"];
const DASHES = ["solid", "dash", "dashdot", "dot", "longdash", "longdashdot", "5px,2px"];
const HATCHES = { "": "", "//": "/", "\\\\": "\\", "..": ".", xx: "x" };

/** Colours come again after seven lines, each then with another mark. */
function symbolOf(i) {
  return (i + Math.floor(i / 7)) % 7;
}

/** Text as the library shows it letter by letter. */
function plain(text) {
  return String(text).replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
}

/** A text in lines of some letters. */
function wrapped(text, letters) {
  const lines = [""];
  for (const word of String(text).split(" ")) {
    const last = lines[lines.length - 1];
    if (last && last.length + word.length + 1 > letters) lines.push(word);
    else lines[lines.length - 1] = last ? `${last} ${word}` : word;
  }
  return lines.map(plain).join("<br>");
}

/** The page's colours as they are now. */
function theme() {
  const style = getComputedStyle(document.documentElement);
  return Object.fromEntries(["paper", "ink", "quiet", "rule", "accent"].map((name) => [name, style.getPropertyValue(`--${name}`).trim()]));
}

/** A colour of the palette; black is the ink of the page, which may be light. */
function shade(colour, look) {
  return colour === "#000000" ? look.ink : colour;
}

function faint(colour) {
  const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
  return `rgba(${r},${g},${b},0.13)`;
}

/** Traces, layout and legend of a figure whose place is so wide. */
function drawingOf(chart, rows, width) {
  const look = theme();
  const narrow = width < 560;
  const layout = {
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { family: "system-ui, 'DejaVu Sans', sans-serif", size: narrow ? 11 : 13, color: look.ink },
    margin: { l: 10, r: 12, t: 18, b: 10 },
    hovermode: "closest",
    hoverlabel: { bgcolor: look.paper, bordercolor: look.quiet, font: { color: look.ink } },
    dragmode: false,
    showlegend: false,
    annotations: [],
    shapes: [],
    height: chart.spec.small ? 250 : 400,
  };
  const drawing = { traces: [], layout, legend: [], look, narrow, width, log: chart.logarithmic(rows) };
  ({ lines: linesOf, marks: linesOf, stack: stackOf, ranks: ranksOf })[chart.spec.kind](chart, rows, drawing);
  return drawing;
}

function axisLook(drawing, title) {
  const { look } = drawing;
  return { title: { text: wrapped(title, drawing.width < 400 ? 28 : 60), standoff: 8 }, automargin: true, gridcolor: look.rule, zerolinecolor: look.rule, linecolor: look.quiet, fixedrange: true };
}

/** A number in three digits, large ones in thousands and millions. */
function inThousands(value) {
  const three = (number) => String(Number(number.toPrecision(3)));
  if (value >= 1e6) return `${three(value / 1e6)}M`;
  return value >= 1e4 ? `${three(value / 1e3)}k` : three(value);
}

/** Ticks at 1, 2 and 5 of every power of ten between the ends, in plain numbers. */
function plainTicks(values, few) {
  const positive = values.filter((value) => value > 0);
  if (!positive.length) return {};
  const [low, high] = [Math.min(...positive), Math.max(...positive)];
  const decades = Math.log10(high / low);
  const wanted = (few ? 3 : 8) / Math.max(decades, 0.3);
  const steps = wanted < 2 ? [1] : wanted < 3.5 ? [1, 3] : wanted < 12 ? [1, 2, 5] : [1, 1.5, 2, 3, 4, 5, 7];
  const ticks = [];
  for (let power = Math.floor(Math.log10(low)) - 1; power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const step of steps) ticks.push(step * 10 ** power);
  }
  return { tickvals: ticks, ticktext: ticks.map(inThousands) };
}

/** The panels of a figure: beside each other, below each other where it is narrow; their scales are equal. */
function panels(chart, rows, drawing, yTitle) {
  const { facet, facets } = chart.spec;
  const found = facet ? chart.records.distinct(facet, rows) : [null];
  const ordered = facets.length ? facets.filter((value) => found.includes(value)) : found;
  const { layout, narrow } = drawing;
  const count = ordered.length;
  if (narrow && count > 1) layout.height = 280 * count;
  const xValues = chart.records.distinct(chart.x, rows);
  const xTitle = chart.page.words[chart.x] ?? chart.x.replaceAll("_", " ");
  const gap = 0.06;
  const size = (1 - gap * (count - 1)) / count;
  return ordered.map((value, i) => {
    const end = i === 0 ? "" : String(i + 1);
    const [from, to] = [i * (size + gap), i * (size + gap) + size];
    const x = axisLook(drawing, xTitle);
    const y = axisLook(drawing, i === 0 || narrow ? yTitle : "");
    if (count > 1) {
      const wide = 0.16 / Math.max(count - 1, 1);
      if (narrow) y.domain = [1 - ((i + 1) * (1 + wide)) / (count * (1 + wide)) + (i < count - 1 ? wide / 2 : 0.0), 1 - i / count - (i > 0 ? wide / 2 : 0)];
      else x.domain = [from, to];
      x.anchor = `y${end}`;
      y.anchor = `x${end}`;
      if (i > 0) y.matches = "y";
      if (!narrow && i > 0) y.showticklabels = false;
    }
    if (chart.spec.kind === "stack" || chart.x === "group_size") {
      x.type = "category";
      x.categoryarray = order(chart.x, xValues).map((each) => chart.words(chart.x, each));
    } else if (chart.page.doubling.includes(chart.x) && xValues.every((value) => value > 0)) {
      Object.assign(x, { type: "log", tickvals: xValues, ticktext: xValues.map(String) });
    } else if (xValues.every(Number.isInteger) && xValues.length <= 12) {
      Object.assign(x, { tickvals: xValues, ticktext: xValues.map((each) => shortNumber(each)) });
    }
    layout[`xaxis${end}`] = x;
    layout[`yaxis${end}`] = y;
    if (facet && count > 1) {
      layout.annotations.push({
        text: wrapped(chart.words(facet, value), narrow ? 44 : 48 / Math.sqrt(count)), xref: `x${end} domain`, yref: `y${end} domain`, x: 0, y: 1, xanchor: "left", yanchor: "bottom", align: "left", showarrow: false, font: { size: 12 },
      });
      layout.margin.t = 44;
    }
    return { value, end, rows: facet ? rows.filter((row) => chart.records.get(facet, row) === value) : rows };
  });
}

/** The group of all weights of a column is the largest. */
function order(name, values) {
  return name === "group_size" ? [...values.filter((v) => v !== 0), ...values.filter((v) => v === 0)] : values;
}

function place(chart, row) {
  const value = chart.records.get(chart.x, row);
  return chart.x === "group_size" || chart.spec.kind === "stack" ? chart.words(chart.x, value) : value;
}

/** A value with its range, for the reader's pointer. */
function hoverText(chart, row, name) {
  const { low, high, title } = chart.measure;
  const said = [`<b>${plain(name)}</b>`];
  if (chart.x && chart.records.has(chart.x)) said.push(`${plain(chart.page.words[chart.x] ?? chart.x.replaceAll("_", " "))}: ${plain(chart.words(chart.x, chart.records.get(chart.x, row)))}`);
  if (chart.spec.labels) said.push(wrapped(chart.records.get(chart.spec.labels, row), 40));
  let value = `${plain(title)}: ${shortNumber(chart.drawn(chart.measure.column, row))}`;
  const ends = low && [chart.drawn(low, row), chart.drawn(high, row)];
  if (ends && ends.every((end) => end !== null)) value += ` (${shortNumber(ends[0])} .. ${shortNumber(ends[1])})`;
  return [...said, value].join("<br>");
}

function valueAxis(drawing, axis, values) {
  if (drawing.log) Object.assign(axis, { type: "log", tickangle: 0 }, plainTicks(values, drawing.width < 400));
  else axis.rangemode = "tozero";
}

/** The value that a paper claims, and the measure's own, as lines across the panels. */
function markLines(chart, drawing, found, across) {
  const { measure, spec } = chart;
  const claimed = spec.marks[measure.mark];
  const { look, layout, log } = drawing;
  for (const { end } of found) {
    const one = (at, dash) => across === "y"
      ? { type: "line", xref: `x${end} domain`, x0: 0, x1: 1, yref: `y${end}`, y0: at, y1: at, line: { color: look.quiet, width: 1, dash } }
      : { type: "line", yref: "paper", y0: 0, y1: 1, xref: "x", x0: at, x1: at, line: { color: look.quiet, width: 1, dash } };
    if (measure.line !== null) layout.shapes.push(one(measure.line, "solid"));
    if (claimed) layout.shapes.push(one(claimed[0], "dot"));
  }
  if (!claimed) return;
  const at = log ? Math.log10(claimed[0]) : claimed[0];
  layout.annotations.push(across === "y"
    ? { text: plain(claimed[1]), xref: "x domain", x: 1, xanchor: "right", yref: "y", y: at, yanchor: "bottom", showarrow: false, font: { size: 11, color: look.quiet } }
    : { text: plain(claimed[1]), xref: "x", x: at, xanchor: "left", yref: "paper", y: 1, yanchor: "bottom", showarrow: false, font: { size: 11, color: look.quiet } });
}

function linesOf(chart, rows, drawing) {
  const { records, spec, measure } = chart;
  const { look, traces, legend } = drawing;
  const found = panels(chart, rows, drawing, measure.title);
  const present = new Set(rows.map((row) => records.get(spec.line, row)));
  const names = records.distinct(spec.line).filter((value) => present.has(value));
  const values = [];
  for (const { end, rows: own } of found) {
    names.forEach((name, i) => {
      const line = own.filter((row) => records.get(spec.line, row) === name).sort((a, b) => records.get(chart.x, a) - records.get(chart.x, b));
      if (chart.x === "group_size") line.sort((a, b) => (records.get(chart.x, a) === 0) - (records.get(chart.x, b) === 0));
      if (!line.length) return;
      const colour = shade(chart.page.colours[i % 7], look);
      const title = chart.lineWords(name);
      const axes = { xaxis: `x${end}`, yaxis: `y${end}`, legendgroup: String(name) };
      const banded = measure.low ? line.filter((row) => chart.drawn(measure.low, row) !== null) : [];
      if (banded.length > 1 && spec.kind === "lines") {
        const back = [...banded].reverse();
        traces.push({ ...axes, x: [...banded, ...back].map((row) => place(chart, row)), y: [...banded.map((row) => chart.drawn(measure.high, row)), ...back.map((row) => chart.drawn(measure.low, row))], fill: "toself", fillcolor: faint(chart.page.colours[i % 7]), line: { width: 0 }, mode: "lines", hoverinfo: "skip", showlegend: false });
      }
      const y = line.map((row) => chart.drawn(measure.column, row));
      values.push(...y);
      traces.push({ ...axes, x: line.map((row) => place(chart, row)), y, name: plain(title), mode: spec.kind === "marks" ? "markers" : "lines+markers", line: { color: colour, dash: DASHES[i % 7], width: 2 }, marker: { color: colour, symbol: SYMBOLS[symbolOf(i)], size: 9 }, text: line.map((row) => hoverText(chart, row, title)), hovertemplate: "%{text}<extra></extra>", showlegend: end === "" });
    });
  }
  names.forEach((name, i) => {
    legend.push({ name: chart.lineWords(name), colour: shade(chart.page.colours[i % 7], look), mark: MARKS[symbolOf(i)] });
  });
  for (const { end } of found) valueAxis(drawing, drawing.layout[`yaxis${end}`], values);
  markLines(chart, drawing, found, "y");
}

function stackOf(chart, rows, drawing) {
  const { records, spec, measure } = chart;
  const { look, traces, layout, legend } = drawing;
  layout.barmode = "stack";
  layout.bargap = 0.28;
  const found = panels(chart, rows, drawing, measure.title);
  for (const { end, rows: own } of found) {
    const line = [...own].sort((a, b) => records.get(chart.x, a) - records.get(chart.x, b));
    const axes = { xaxis: `x${end}`, yaxis: `y${end}` };
    const x = line.map((row) => place(chart, row));
    for (const part of spec.parts) {
      const y = line.map((row) => part.columns.reduce((sum, name) => sum + (records.has(name) ? chart.drawn(name, row) ?? 0 : 0), 0));
      const text = y.map((value, i) => `<b>${plain(part.label)}</b><br>${plain(x[i])}: ${shortNumber(value)} of ${shortNumber(chart.drawn(measure.column, line[i]))}<br>${plain(measure.title)}`);
      traces.push({ ...axes, type: "bar", x, y, name: plain(part.label), legendgroup: part.label, marker: { color: shade(part.colour, look), pattern: { shape: HATCHES[part.hatch] ?? "", bgcolor: shade(part.colour, look), fgcolor: look.paper, fgopacity: 0.7, size: 7 }, line: { color: look.paper, width: 0.5 } }, textposition: "none", text, hovertemplate: "%{text}<extra></extra>", showlegend: end === "" });
    }
    const tops = line.map((row) => chart.drawn(measure.column, row));
    const range = measure.low && { type: "data", symmetric: false, array: line.map((row, i) => (chart.drawn(measure.high, row) ?? tops[i]) - tops[i]), arrayminus: line.map((row, i) => tops[i] - (chart.drawn(measure.low, row) ?? tops[i])), color: look.quiet, thickness: 1, width: 3 };
    traces.push({ ...axes, type: "scatter", mode: "text", x, y: tops, text: range ? tops.map(() => "") : tops.map(shortNumber), textposition: "top center", textfont: { size: 11 }, error_y: range || undefined, hoverinfo: "skip", showlegend: false, cliponaxis: false });
    layout[`yaxis${end}`].rangemode = "tozero";
  }
  for (const part of [...spec.parts].reverse()) legend.push({ name: part.label, colour: shade(part.colour, look), mark: "■" });
}

function ranksOf(chart, rows, drawing) {
  const { records, spec, measure, page } = chart;
  const { look, traces, layout, narrow } = drawing;
  const ordered = [...rows].sort((a, b) => chart.drawn(measure.column, a) - chart.drawn(measure.column, b));
  const small = narrow || spec.small;
  const names = ordered.map((row) => wrapped(chart.words(spec.line, records.get(spec.line, row)), small ? 22 : 44));
  const x = ordered.map((row) => chart.drawn(measure.column, row));
  const ends = [measure.low, measure.high].map((name) => (name ? ordered.map((row) => chart.drawn(name, row)) : []));
  const range = measure.low ? { type: "data", symmetric: false, array: x.map((v, i) => Math.max((ends[1][i] ?? v) - v, 0)), arrayminus: x.map((v, i) => Math.max(v - (ends[0][i] ?? v), 0)), color: look.quiet, thickness: 1.5, width: 4 } : undefined;
  const ours = ordered.map((row) => records.get(spec.line, row) === page.sail.runner);
  traces.push({ type: "scatter", mode: "markers", x, y: names, error_x: range, marker: { size: ours.map((own) => (own ? 13 : 9)), color: ours.map((own) => (own ? page.sail.colour : look.accent)), symbol: ours.map((own) => (own ? "diamond" : "circle")) }, text: ordered.map((row) => hoverText(chart, row, chart.words(spec.line, records.get(spec.line, row)))), hovertemplate: "%{text}<extra></extra>", cliponaxis: false });
  layout.height = Math.max(160, 70 + names.reduce((sum, name) => sum + (name.includes("<br>") ? 36 : 26), 0));
  layout.xaxis = axisLook(drawing, measure.title);
  layout.yaxis = { ...axisLook(drawing, ""), type: "category", categoryarray: names, gridcolor: "rgba(0,0,0,0)" };
  valueAxis(drawing, layout.xaxis, [...x, ...ends.flat().filter((v) => v !== null)]);
  layout.margin.r = 58;
  x.forEach((value, i) => layout.annotations.push({ text: inThousands(value), xref: "paper", x: 1.01, xanchor: "left", yref: "y", y: names[i], showarrow: false, font: { size: narrow ? 11 : 12 } }));
  if (spec.marks[measure.mark] || measure.line !== null) markLines(chart, drawing, [{ end: "" }], "x");
}
