// A figure with its controls: what the reader has chosen, and which records that is.

const MAIN_CHOICES = ["phase", "model", "wbits", "batch", "context", "prompt", "threads", "system"];
const NOT_POINTS = ["seed", "activations"];

/** A figure of the page: `spec` says which columns go where, `page` holds what all figures share. */
class Chart {
  constructor(spec, page, place) {
    this.spec = spec;
    this.page = page;
    this.place = place;
    this.records = page.tables[spec.data];
    this.measure = spec.measures[0];
    this.log = this.measure.log;
    this.x = spec.x.find((name) => this.varies(name)) ?? spec.x[0];
    const lines = spec.line ? this.records.distinct(spec.line) : [];
    const first = spec.line === "runner" ? page.shown : [];
    const known = lines.filter((value) => first.includes(value) && (!spec.unshown.includes(value) || page.own.includes(value)));
    this.shown = new Set(known.length ? known : lines);
    const start = { ...page.start, ...spec.start };
    this.choice = Object.fromEntries(this.points().map((name) => [name, start[name]]));
    this.settle(start);
  }

  /** The columns that say which point a record is of. */
  points() {
    const names = this.spec.choose.length ? this.spec.choose : Object.keys(this.page.start);
    return names.filter((name) => this.records.has(name));
  }

  varies(name) {
    return this.records.has(name) && this.records.distinct(name).length > 1;
  }

  /** Columns that the figure shows all values of; of a prompt its tokens are the context too. */
  free() {
    const along = ["prompt", "context"].includes(this.x) ? ["prompt", "context"] : [this.x];
    return [this.spec.line, this.spec.facet, ...(this.spec.kind === "ranks" ? [] : along)];
  }

  /** Columns that the reader may choose a value of. */
  choices() {
    const taken = this.free();
    return this.points().filter((name) => !taken.includes(name) && !NOT_POINTS.includes(name) && this.varies(name));
  }

  /** What a value is called. */
  words(name, value) {
    const title = this.page.titles[name]?.[String(value)];
    if (title !== undefined) return title;
    return value === "" ? "none" : String(value);
  }

  /** What a line, or a row, is called. */
  lineWords(value) {
    const { line } = this.spec;
    const titled = this.page.titles[line]?.[String(value)] !== undefined;
    return titled || typeof value !== "number" ? this.words(line, value) : `${this.page.words[line] ?? line} ${value}`;
  }

  /** Takes some values, and of all others those of the record that is nearest to what was chosen before. */
  settle(wanted) {
    const free = this.free();
    const names = this.points().filter((name) => !free.includes(name));
    const before = { ...this.choice };
    const aim = { ...this.choice, ...wanted };
    const must = Object.keys(wanted).length === 1 ? Object.keys(wanted).filter((name) => names.includes(name)) : [];
    let best = null;
    let score = -1;
    for (const row of this.usable()) {
      if (must.some((name) => this.records.get(name, row) !== aim[name])) continue;
      const same = names.filter((name) => this.records.get(name, row) === aim[name]).length;
      if (same > score) [best, score] = [row, same];
    }
    if (best === null) return [];
    for (const name of names) this.choice[name] = this.records.get(name, best);
    return names.filter((name) => !(name in wanted) && before[name] !== this.choice[name]);
  }

  /** Rows that may be shown at all: with a value, of a line and a panel that is shown. */
  usable() {
    const { line, facet, facets } = this.spec;
    return this.records.rows.filter(
      (row) =>
        this.records.get(this.measure.column, row) !== null &&
        !(this.measure.most && this.records.get(this.measure.column, row) > this.measure.most) &&
        !(this.measure.against && this.records.get(line, row) === this.measure.against) &&
        (!line || this.shown.has(this.records.get(line, row))) &&
        (!facet || !facets.length || facets.includes(this.records.get(facet, row))),
    );
  }

  /** The rows that the figure draws now. */
  rows() {
    const free = this.free();
    const fixed = Object.fromEntries(Object.entries(this.choice).filter(([name]) => !free.includes(name)));
    return this.records.where(fixed, this.usable());
  }

  /** The columns of a CSV of the figure. */
  columns() {
    const { line, facet, parts, labels } = this.spec;
    const { column, low, high } = this.measure;
    const names = [...this.points(), line, facet, labels, this.x, column, low, high, ...parts.flatMap((part) => part.columns)];
    return [...new Set(names)].filter((name) => name && this.records.has(name));
  }

  /** A number of the measure as it is drawn. */
  drawn(name, row) {
    const value = this.records.get(name, row);
    if (value === null || value === undefined) return null;
    const over = this.measure.over ? this.records.get(this.measure.over, row) : 1;
    return (value * this.measure.times) / over;
  }

  /** Whether everything that these rows draw, lines across included, lies above 0. */
  positive(rows) {
    const { measure, spec } = this;
    const names = [measure.column, measure.low, measure.high].filter(Boolean);
    const values = rows.flatMap((row) => names.map((name) => this.drawn(name, row)));
    const across = [measure.line, spec.marks[measure.mark]?.[0] ?? null];
    return [...values, ...across].every((value) => value === null || value > 0);
  }

  /** Whether the axis of values is logarithmic: where the reader wants it and it has a place for all of them. */
  logarithmic(rows) {
    return this.log && this.positive(rows);
  }

  build() {
    const { spec } = this;
    this.told = make("p", { class: "told", role: "status" });
    this.controls = make("div", { class: "controls" });
    this.legend = make("ul", { class: "legend" });
    this.plot = make("div", { class: "plot", role: "img", "aria-label": `${spec.title}. ${spec.says}` });
    this.values = make("div", { class: "scroll" });
    this.details = make("details", { ontoggle: () => this.fillValues() }, make("summary", {}, "Values"), this.values);
    if (!spec.small) this.place.append(this.controls, this.told);
    this.place.append(this.legend, this.plot);
    if (!spec.small) this.place.append(this.details);
    this.draw();
  }

  draw() {
    const rows = this.rows();
    if (!this.spec.small) this.fillControls(rows);
    this.plot.classList.toggle("none", rows.length === 0);
    if (!rows.length) {
      this.page.library.purge(this.plot);
      const ticked = this.spec.line !== "runner" || this.usable().length > 0;
      this.plot.textContent = ticked ? "This sweep has no such point." : "No machine that is shown has a value of this.";
      this.legend.replaceChildren();
      return;
    }
    if (!this.plot.data) this.plot.textContent = "";
    const { traces, layout, legend } = drawingOf(this, rows, this.plot.clientWidth || 320);
    this.legend.replaceChildren(...legend.map(legendItem));
    this.page.library.react(this.plot, traces, layout, { displayModeBar: false, responsive: true, typesetMath: false });
    this.fillValues();
  }

  fillControls(rows) {
    const active = document.activeElement?.dataset?.control;
    const open = [...this.controls.querySelectorAll("details[open]")].map((each) => each.dataset.name);
    const { spec } = this;
    const parts = [];
    if (spec.measures.length > 1) {
      const options = spec.measures.map((each) => [each.column, each.title]);
      parts.push(this.select("measure", "show", options, this.measure.column, (value) => {
        this.measure = spec.measures.find((each) => each.column === value);
        this.log = this.measure.log;
        this.change({});
      }));
    }
    const along = [...new Set(spec.x)].filter((name) => this.varies(name));
    if (along.length > 1) {
      const options = along.map((name) => [name, this.page.words[name] ?? name]);
      parts.push(this.select("x", "along", options, this.x, (value) => {
        this.x = value;
        this.change({});
      }));
    }
    const choices = this.choices();
    parts.push(...choices.filter((name) => MAIN_CHOICES.includes(name)).map((name) => this.chooser(name)));
    const box = make("input", { type: "checkbox", "data-control": "log", checked: this.log });
    box.addEventListener("change", () => {
      this.log = box.checked;
      this.draw();
    });
    if (spec.kind !== "stack" && this.positive(rows)) parts.push(make("label", { class: "tick" }, box, "logarithmic"));
    parts.push(this.button("svg", "Save SVG", () => this.saveSvg()), this.button("csv", "Save CSV", () => this.saveCsv()));
    const more = choices.filter((name) => !MAIN_CHOICES.includes(name)).map((name) => this.chooser(name));
    if (more.length) parts.push(this.folded("more", "More choices", make("div", {}, ...more)));
    if (spec.line === "runner") parts.push(this.machines());
    this.controls.replaceChildren(...parts);
    for (const name of open) this.controls.querySelector(`details[data-name="${name}"]`)?.setAttribute("open", "");
    if (active) this.controls.querySelector(`[data-control="${CSS.escape(active)}"]`)?.focus();
  }

  folded(name, title, content) {
    return make("details", { "data-name": name }, make("summary", {}, title), content);
  }

  button(name, title, act) {
    return make("button", { type: "button", "data-control": name, onclick: act }, title);
  }

  select(name, title, options, chosen, act) {
    const items = options.map(([value, words], i) => make("option", { value: String(i), selected: value === chosen }, words));
    const field = make("select", { "data-control": name }, ...items);
    field.addEventListener("change", () => act(options[Number(field.value)][0]));
    return make("label", {}, title, field);
  }

  chooser(name) {
    const options = this.records.distinct(name, this.usable()).map((value) => [value, this.words(name, value)]);
    return this.select(name, this.page.words[name] ?? name, options, this.choice[name], (value) => this.change({ [name]: value }));
  }

  machines() {
    const all = this.records.distinct("runner").filter((name) => name !== this.measure.against);
    const ticked = all.filter((name) => this.shown.has(name)).length;
    const boxes = all.map((name) => {
      const box = make("input", { type: "checkbox", "data-control": `runner ${name}`, checked: this.shown.has(name) });
      box.addEventListener("change", () => {
        if (box.checked) this.shown.add(name);
        else if (ticked > 1) this.shown.delete(name);
        this.draw();
      });
      return make("label", { class: "tick" }, box, this.words("runner", name));
    });
    return this.folded("machines", `Machines (${ticked} of ${all.length})`, make("div", { class: "machines" }, ...boxes));
  }

  /** Takes a choice; where the sweep has no such point, others change with it, and the reader is told. */
  change(wanted) {
    const also = this.settle(wanted);
    const said = also.map((name) => `${this.page.words[name] ?? name} ${this.words(name, this.choice[name])}`);
    this.told.textContent = said.length ? `Also changed, as the sweep has no such point: ${said.join(", ")}.` : "";
    this.draw();
  }

  fillValues() {
    if (!this.details.open) return;
    const names = this.columns().filter((name) => !this.points().includes(name) || this.varies(name));
    const head = names.map((name) => make("th", { scope: "col" }, this.page.words[name] ?? name));
    const lines = this.rows().map((row) =>
      make("tr", {}, ...names.map((name) => make("td", {}, typeof this.records.get(name, row) === "number" ? shortNumber(this.records.get(name, row)) : this.words(name, this.records.get(name, row) ?? "")))),
    );
    this.values.replaceChildren(make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...lines)));
  }

  saveCsv() {
    download(`${this.spec.name}.csv`, asCsv(this.records, this.rows(), this.columns()), "text/csv");
  }

  async saveSvg() {
    const { traces, layout } = drawingOf(this, this.rows(), 900);
    const figure = { data: traces, layout: { ...layout, title: { text: plain(this.spec.title) }, showlegend: this.spec.kind !== "ranks", margin: { ...layout.margin, t: 60 } } };
    const image = await this.page.library.toImage(figure, { format: "svg", width: 900, height: layout.height + 60 });
    download(`${this.spec.name}.svg`, decodeURIComponent(image.slice(image.indexOf(",") + 1)), "image/svg+xml");
  }
}

/** A line of the legend: colour and mark as they are drawn. */
function legendItem({ name, colour, mark }) {
  const sign = make("b", { "aria-hidden": "true" }, mark);
  sign.style.color = colour;
  return make("li", {}, sign, name);
}
