// Run and Edit buttons on the cells of a chapter. Python is loaded when a reader first
// asks for it, into a worker (run-worker.js), so the page stays usable meanwhile.
(() => {
  const assets = new URL(".", document.currentScript.src);
  const KEYS = "Ctrl-Enter runs it, Escape ends editing";

  const make = (tag, properties = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), properties);
    made.append(...children);
    return made;
  };
  // What is read aloud begins with what is shown.
  const name = (button, text, of) => {
    button.textContent = text;
    button.setAttribute("aria-label", `${text} ${of}`);
  };
  const button = (text, of, onclick) => {
    const made = make("button", { type: "button", className: "ae-run", onclick });
    name(made, text, of);
    return made;
  };
  const megabytes = (bytes) => (bytes / 1e6).toFixed(1);
  const seconds = (since) => `${((performance.now() - since) / 1000).toFixed(1)} s`;

  // A cell as it stands on the page: its code, its buttons, what it has put out.
  class Cell {
    constructor(box, number, published, chapter) {
      Object.assign(this, { box, number, published, chapter });
      this.source = published;
      this.checks = box.matches(".ae-check");
      this.code = box.querySelector("pre");
      this.markup = [...this.code.childNodes];
      this.named = `cell ${number}`;
      this.runs = button("Run", this.named, () => chapter.toggle(this));
      this.edits = button("Edit", this.named, () => (this.area ? this.leave() : this.edit()));
      this.resets = button("Reset", `${this.named} to what is published`, () => this.reset());
      this.resets.hidden = true;
      this.mark = make("strong", { className: "ae-changed", textContent: "changed", hidden: true });
      this.status = make("span", { className: "ae-status" });
      this.status.setAttribute("role", "status");
      this.row = make("div", { className: "ae-row" },
        this.runs, this.edits, this.resets, this.mark, this.status);
      this.output = box.nextElementSibling?.matches(".nb-output") ? box.nextElementSibling : null;
      box.after(this.row);
    }

    get changed() { return this.source !== this.published; }

    edit() {
      this.area = make("textarea", {
        value: this.source, spellcheck: false, autocapitalize: "off",
        rows: this.source.split("\n").length + 1,
      });
      this.area.setAttribute("aria-label", `Code of cell ${this.number}. ${KEYS}`);
      this.area.addEventListener("input", () => this.take(this.area.value));
      this.area.addEventListener("keydown", (event) => this.press(event));
      this.code.hidden = true;
      this.box.append(this.area);
      name(this.edits, "Done", `with ${this.named}`);
      this.status.textContent = KEYS;
      this.area.focus();
      this.area.setSelectionRange(0, 0);
    }

    press(event) {
      if (event.key === "Escape") this.leave();
      else if (event.key !== "Enter") return;
      else if (event.ctrlKey || event.metaKey) this.chapter.run(this);
      else {
        // The new line begins where this one does; insertText can be undone.
        const { value, selectionStart } = this.area;
        const line = value.slice(value.lastIndexOf("\n", selectionStart - 1) + 1, selectionStart);
        document.execCommand("insertText", false, `\n${line.match(/^ */)[0]}`);
      }
      event.preventDefault();
    }

    leave() {
      this.area.remove();
      this.area = null;
      this.code.hidden = false;
      name(this.edits, "Edit", this.named);
      this.status.textContent = "";
      this.show();
      this.edits.focus();
    }

    reset() {
      this.take(this.published);
      if (this.area) this.area.value = this.published;
      this.show();
      this.edits.focus();
    }

    take(source) {
      this.source = source;
      this.mark.hidden = this.resets.hidden = !this.changed;
      this.box.classList.toggle("ae-edited", this.changed);
    }

    // What is published has its colours; changed code is plain.
    show() {
      const code = make("code", { textContent: this.source });
      this.code.replaceChildren(...(this.changed ? [code] : this.markup));
    }

    // What the cell puts out now takes the place of what it put out before.
    clear() {
      if (!this.output) this.row.after(this.output = make("div", { className: "nb-output" }));
      this.output.replaceChildren();
      this.output.dataset.live = "";
    }

    put(kind, text) {
      if (kind === "html" || kind === "svg") {
        this.output.append(make("div", { className: `nb-${kind}`, innerHTML: text }));
        return;
      }
      const name = { text: "result", traceback: "error" }[kind] ?? kind;
      let last = this.output.lastElementChild;
      if (last?.className !== `nb-${name}` || kind === "traceback") {
        last = make("pre", { className: `nb-${name}` }, make("code"));
        const summary = make("summary", { textContent: "Traceback" });
        this.output.append(kind === "traceback"
          ? make("details", { className: "nb-traceback", open: true }, summary, last) : last);
      }
      last.firstChild.append(text);
    }

    end(text) {
      const code = this.output.querySelectorAll("pre > code");
      code.forEach((each) => { each.textContent = each.textContent.replace(/\n$/, ""); });
      const said = /^assert\b/m.test(this.source) ? "assertions hold" : "ran";
      this.status.textContent = this.output.querySelector(".nb-error")
        ? "raised" : `${said} (${Number(text).toFixed(2)} s)`;
      if (!this.output.hasChildNodes()) { this.output.remove(); this.output = null; }
    }
  }

  class Chapter {
    constructor(bar, cells, notebook) {
      this.notebook = notebook;
      // A chapter's cells run in the module that it is; other notebooks are none.
      const chapter = notebook.match(/\/spec\/(\w+)\.ipynb$/)?.[1];
      this.module = chapter && `spec.${chapter}`;
      this.all = button("Run all", "cells of this page", () => this.toggle(null));
      this.status = make("span", { className: "ae-status" });
      this.status.setAttribute("role", "status");
      bar.prepend(this.all);
      bar.append(this.status);
      this.cells = cells.map((box) => {
        const text = box.querySelector("code").textContent.replace(/\n$/, "");
        return new Cell(box, Number(box.id.slice("cell-".length)), text, this);
      });
    }

    // Cells that are not shown run, too: the notebook has them all. It lacks the one that
    // checks a change.
    async sources() {
      const { cells } = await (await fetch(this.notebook)).json();
      const found = cells
        .map(({ cell_type, source, metadata }, number) => ({
          number,
          source: [].concat(source).join(""),
          raises: metadata.tags?.includes("raises-exception") ?? false,
          code: cell_type === "code",
        }))
        .filter(({ code }) => code)
        .map(({ number, source, raises }) => ({ number, source, raises }));
      const further = this.cells
        .filter(({ checks }) => checks)
        .map(({ number, published }) => ({ number, source: published, raises: false }));
      return [...found, ...further];
    }

    toggle(cell) { return this.busy ? this.stop() : this.run(cell); }

    // Run all cells up to one, or all.
    async run(cell) {
      if (this.busy) return;
      this.began = performance.now();
      this.busy = cell ?? this;
      this.say("Loading Python");
      this.buttons();
      try {
        this.published ??= this.sources();
        const changed = new Map(this.cells.map(({ number, source }) => [number, source]));
        const cells = (await this.published)
          .filter(({ number }) => !cell || number <= cell.number)
          .map((each) => ({
            ...each,
            source: changed.get(each.number) ?? each.source,
            // A change is checked although examples fail with it.
            may_fail: Boolean(cell?.checks) && each.number !== cell.number,
          }));
        this.worker ??= this.start();
        this.worker.postMessage({ command: "run", cells });
      } catch (error) {
        this.hear({ kind: "failed", text: String(error.message) });
      }
    }

    start() {
      const worker = new Worker(new URL("run-worker.js", assets), { type: "module" });
      worker.onmessage = ({ data }) => this.hear(data);
      worker.onerror = (event) => this.hear({ kind: "failed", text: event.message ?? "" });
      worker.postMessage({ command: "start", module: this.module });
      return worker;
    }

    stop() {
      this.worker?.terminate();
      this.worker = null;
      this.finish("Stopped. The next run begins with the first cell.");
    }

    hear({ kind, cell, text, loaded, total, good }) {
      const shown = this.cells.find(({ number }) => number === cell);
      if (kind === "loading") {
        const far = `${megabytes(loaded)} of ${megabytes(total)} MB`;
        this.say(loaded < total ? `Loading Python: ${far}` : "Starting Python");
      } else if (kind === "loaded") this.say("Python is loaded");
      else if (kind === "fetching") this.say(`Loading ${text}`);
      else if (kind === "done") {
        // A cell has said itself how it went.
        const every = good && this.busy === this;
        this.finish(every ? `Ran in ${seconds(this.began)}` : "", good);
      }
      else if (kind === "failed") {
        this.worker?.terminate();
        this.worker = null;
        this.finish(`Python could not be loaded or broke off: ${text}`);
      } else if (kind === "begin") {
        this.running = cell;
        this.say(`Cell ${cell} is running`);
        shown?.clear();
      } else if (kind === "end") shown?.end(text);
      else shown?.put(kind, text);
    }

    say(text) { this.busy.status.textContent = text; }

    finish(text, good = true) {
      const asked = this.busy;
      if (!asked) return;
      this.busy = null;
      this.buttons();
      if (text) asked.status.textContent = text;
      if (good) return;
      const where = make("a", { href: `#cell-${this.running}`, textContent: `Cell ${this.running}` });
      asked.status.replaceChildren(where, " failed; what follows it did not run.");
    }

    // The button that has begun a run ends it; it stays where the keyboard is.
    buttons() {
      for (const one of [this, ...this.cells]) {
        const runs = one.runs ?? this.all;
        const idle = one === this ? "Run all" : "Run";
        name(runs, this.busy === one ? "Stop" : idle, one.named ?? "cells of this page");
        runs.disabled = Boolean(this.busy) && this.busy !== one;
      }
    }
  }

  const prepare = () => {
    const cells = [...document.querySelectorAll("article .nb-code[id^=cell-]")];
    const bar = document.querySelector("article .ae-bar");
    const notebook = bar?.querySelector("a[href$='.ipynb'][download]");
    if (cells.length && notebook) new Chapter(bar, cells, notebook.href);
  };
  document$.subscribe(prepare);
})();
