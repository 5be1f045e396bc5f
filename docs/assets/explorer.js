// The explorer: a reader chooses the next step of any CPU in a graph of states that was
// computed when the site was built (spec/publish/explorer.py). Nothing is computed here
// but which cells differ between two states. Graphs are scripts, not fetched data, so
// that a copy of the site on a disk works, too.
(() => {
  const root = document.getElementById("ae-explorer");
  if (!root) return;
  const DATA = new URL("data/", location.href.replace(/[?#].*/, ""));
  const SVG = "http://www.w3.org/2000/svg";

  // -- small helpers -------------------------------------------------------------------

  const make = (tag, attributes = {}, ...children) => {
    const element = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) {
      if (name === "onclick") element.addEventListener("click", value);
      else if (value !== false) element.setAttribute(name, value === true ? "" : value);
    }
    element.append(...children.filter((child) => child !== null));
    return element;
  };

  const load = (name) => new Promise((resolve, reject) => {
    const script = make("script", { src: new URL(`${encodeURIComponent(name)}.js`, DATA).href });
    script.onload = resolve;
    script.onerror = () => reject(new Error(`there is no graph named ${name}`));
    document.head.append(script);
  });

  // -- what the data scripts hand over -------------------------------------------------

  const graphs = new Map();
  let index = [];
  let rules = {};
  window.aeGraph = (name, graph) => graphs.set(name, graph);
  window.aeIndex = (found, sentences) => { index = found; rules = sentences; };

  const stepsFrom = (graph, state) => {
    const flat = graph.edges[state];
    if (flat === 0) return null; // not computed
    const found = [];
    for (let i = 0; i < flat.length; i += 3) {
      const [cpu, title, phrases, kept, removed, broken] = graph.says[flat[i + 1]];
      found.push({
        name: graph.names[flat[i]], target: flat[i + 2],
        cpu, title, phrases, kept, removed, broken,
      });
    }
    return found;
  };

  // -- where the reader is -------------------------------------------------------------

  let name = "";
  let graph = null;
  let start = "";
  let path = []; // steps taken
  let problem = "";

  const here = () => (path.length ? path.at(-1).target : graph.starts[start]);
  const before = () => (path.length > 1 ? path.at(-2).target : graph.starts[start]);

  const follow = (names) => {
    path = [];
    for (const wanted of names) {
      const step = (stepsFrom(graph, here()) ?? []).find((each) => each.name === wanted);
      if (!step) {
        problem = `Step ${path.length + 1} of the link, ${wanted}, can't be taken here: `
          + "the specification has changed, or the link is damaged. "
          + `Shown are the ${path.length} steps before it.`;
        return;
      }
      path.push(step);
    }
  };

  const address = () => {
    const steps = path.map((step) => step.name).join(",");
    return `?g=${encodeURIComponent(name)}&s=${encodeURIComponent(start)}`
      + (steps ? `&t=${encodeURIComponent(steps).replaceAll("%2C", ",")}` : "");
  };

  const remember = () => {
    try {
      history.replaceState(history.state, "", address());
    } catch {
      // some browsers do not allow it for local files; the link below can be copied
    }
  };

  const open = async (wanted, from, steps, titled = "") => {
    problem = "";
    try {
      if (!graphs.has(wanted)) await load(wanted);
    } catch (error) {
      problem = `${error.message}; choose one from the list.`;
      if (!graph) { name = ""; render(); return; }
      render();
      return;
    }
    name = wanted;
    graph = graphs.get(wanted);
    const way = graph.ways[titled];
    start = from in graph.starts ? from : Object.keys(graph.starts)[0];
    if (way) { start = way.start; follow(way.steps); } else follow(steps);
    remember();
    render();
  };

  // -- the picture: the same boxes and arrows as in all drawings of the site -----------

  const WIDTH = 720, ROW = 54, BOX = 42;
  const COLUMNS = { pte: [8, 192], page: [270, 190], ref: [570, 142] };

  const shape = (tag, attributes, text) => {
    const element = document.createElementNS(SVG, tag);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };

  const picture = (things) => {
    const columns = { pte: [], page: [], ref: [] };
    for (const thing of things) if (columns[thing.kind] && thing.lines.length) columns[thing.kind].push(thing);
    if (things.some((t) => t.target === "zero")) {
      columns.page.push({ kind: "page", name: "zero", lines: ["zeropage"], target: "" });
    }
    const rows = Math.max(...Object.values(columns).map((c) => c.length));
    if (!rows) return null;
    const height = 8 + ROW * rows;
    const svg = shape("svg", {
      class: "ae-drawing", role: "img", viewBox: `0 0 ${WIDTH} ${height}`, width: WIDTH,
      "font-family": "monospace", "font-size": 13, "aria-labelledby": "ae-picture-title",
    });
    svg.append(shape("title", { id: "ae-picture-title" },
      "Processes, pages and references; the list below says the same"));
    const middle = {};
    for (const [kind, [left, width]] of Object.entries(COLUMNS)) {
      columns[kind].forEach((thing, i) => {
        const y = 8 + i * ROW;
        if (kind === "page") middle[thing.name] = y + BOX / 2;
        const look = { x: left, y, width, height: BOX, rx: 3 };
        if (thing.changed) Object.assign(look, { class: "ae-changed", "stroke-dasharray": "6 3" });
        svg.append(shape("rect", look));
        thing.lines.forEach((line, k) => {
          const star = thing.changed && k === 0;
          svg.append(shape("text",
            { x: left + 8, y: y + 17 + 17 * k, ...(star ? { class: "ae-changed" } : {}) },
            star ? `${line} *` : line));
        });
      });
    }
    const [pageLeft, pageWidth] = COLUMNS.page;
    const arrow = (thing, i, from, to) => {
      if (!(thing.target in middle)) return;
      const [y1, y2] = [8 + i * ROW + BOX / 2, middle[thing.target]];
      const back = from < to ? 8 : -8;
      svg.append(shape("line", {
        x1: from, y1, x2: to - back, y2, ...(thing.changed ? { class: "ae-changed" } : {}),
      }));
      svg.append(shape("path", { class: "ae-filled", d: `M${to} ${y2} l${-back} -4 v8 z` }));
    };
    columns.pte.forEach((t, i) => arrow(t, i, COLUMNS.pte[0] + COLUMNS.pte[1], pageLeft));
    columns.ref.forEach((t, i) => arrow(t, i, COLUMNS.ref[0], pageLeft + pageWidth));
    return make("div", { class: "ae-picture" }, svg);
  };

  // -- the state as text ---------------------------------------------------------------

  const things = (state, last) => {
    const read = (number) => new Map(graph.states[number].map((item) => {
      const [kind, label, target, lines, parts] = graph.items[item];
      return [`${kind} ${label}`, { kind, name: label, target, lines, parts, changed: false }];
    }));
    const [now, was] = [read(state), read(last)];
    for (const [key, thing] of now) {
      const old = was.get(key);
      thing.old = old?.parts ?? [];
      thing.isNew = !old && state !== last;
      thing.changed = thing.isNew
        || (Boolean(old) && JSON.stringify(old.parts) !== JSON.stringify(thing.parts));
    }
    const gone = [...was].filter(([key]) => !now.has(key)).map(([, thing]) => thing);
    return { now: [...now.values()], gone };
  };

  // "refcount 2" that was "refcount 1" is told as "refcount 1 -> 2".
  const part = (text, old) => {
    if (!old || old.includes(text)) return text;
    const word = text.replace(/\S+$/, "");
    const same = word && old.find((each) => each.startsWith(word) && each.length > word.length);
    const told = same ? `${word}${same.slice(word.length)} → ${text.slice(word.length)}` : text;
    return make("strong", { class: "ae-cell-changed" }, `* ${told}`);
  };

  const NAMES = { pte: "process ", page: "page ", ref: "reference ", lock: "", cell: "" };

  const list = ({ now, gone }) => {
    const rows = now.map((thing) => {
      const label = /^s\d/.test(thing.name) && thing.kind === "page" ? "slot " : NAMES[thing.kind];
      const parts = thing.parts.flatMap((text, i) => [
        i ? ", " : "", part(text, thing.isNew ? [] : thing.old),
      ]);
      return make("li", {}, make("span", { class: "ae-thing" }, `${label}${thing.name}`), " ", ...parts);
    });
    const lost = gone.map((thing) => make("li", {},
      make("span", { class: "ae-thing" }, `${NAMES[thing.kind]}${thing.name}`), " ",
      make("strong", { class: "ae-cell-changed" }, "* gone")));
    return make("ul", { class: "ae-things" }, ...rows, ...lost);
  };

  // -- rules ---------------------------------------------------------------------------

  const ruleLink = (id) => {
    const known = rules[id];
    return known ? make("a", { href: `../${known[1]}` }, id) : id;
  };

  const said = (mark, word, ids, full) => ids.map((id) => make("li", {},
    make("span", { "aria-hidden": "true" }, `${mark} `), `${word} `, ruleLink(id),
    full && rules[id] ? `: ${rules[id][0]}` : ""));

  const judgement = () => {
    const step = path.at(-1);
    const state = graph.broken[here()] ?? [];
    const rows = [
      ...(step ? said("✗", "breaks", step.broken, true) : []),
      ...said("✗", "broken in this state:", state, true),
      ...(step ? said("✓", "asks for and obeys", step.kept, false) : []),
      ...(step ? said("–", "asks for, and it is removed:", step.removed, false) : []),
    ];
    if (!rows.length) rows.push(make("li", {}, "No rule is asked for in this step, and none is broken."));
    if (graph.ends[here()]) rows.push(make("li", {}, `${graph.ends[here()]}.`));
    return make("ul", { class: "ae-judged" }, ...rows);
  };

  // -- the page ------------------------------------------------------------------------

  const describe = (step, number) =>
    `${number}. ${step.cpu}: ${[step.title, ...step.phrases].join("; ")}`;

  const take = (step) => {
    path.push(step);
    problem = "";
    remember();
    render(step.cpu);
  };

  const back = (count) => {
    path = path.slice(0, count);
    problem = "";
    remember();
    render("back");
  };

  const NOTHING = {
    done: "has come to its end", rests: "has nothing to do", runs: "has to wait",
  };

  const choices = (steps) => {
    if (steps === null) {
      return make("p", { class: "ae-edge" },
        "What comes next here was not computed: this graph has the states around the "
        + "traces that it is for. Go back, or run the command line.");
    }
    const standing = graph.stands[graph.standing[here()]];
    let number = 0;
    const columns = graph.cpus.map((cpu, i) => {
      const own = steps.filter((step) => step.cpu === cpu);
      const buttons = own.map((step) => {
        number += 1;
        const key = number <= 9 ? make("kbd", {}, String(number)) : null;
        const wrong = step.broken.length
          ? make("strong", { class: "ae-breaks" }, ` ✗ breaks ${step.broken.join(", ")}`) : null;
        return make("li", {}, make("button", {
          type: "button", class: "ae-step", "data-cpu": cpu, "data-step": step.name,
          onclick: () => take(step),
        }, ...(key ? [key, " "] : []), make("code", {}, step.title),
        step.phrases.length ? ` ${step.phrases.join("; ")}` : "", wrong));
      });
      const body = buttons.length
        ? make("ul", {}, ...buttons)
        : make("p", {}, NOTHING[standing[i]]);
      return make("div", { class: "ae-cpu", role: "group", "aria-label": cpu },
        make("h3", {}, cpu), body);
    });
    return make("div", { class: "ae-cpus" }, ...columns);
  };

  const trace = () => make("ol", { class: "ae-path" }, ...path.map((step, i) => make("li", {},
    make("button", {
      type: "button", class: "ae-taken", onclick: () => back(i + 1),
      "aria-current": i === path.length - 1 ? "step" : false,
    }, `${step.cpu}: `, make("code", {}, step.title)),
    step.phrases.length ? ` ${step.phrases.join("; ")}` : "",
    step.broken.length ? make("strong", { class: "ae-breaks" }, ` ✗ breaks ${step.broken.join(", ")}`) : "")));

  const pickers = () => {
    const select = make("select", { id: "ae-graph" });
    if (!name) select.append(make("option", { value: "" }, "choose"));
    const groups = new Map();
    for (const [group, key, title] of index) {
      if (!groups.has(group)) groups.set(group, make("optgroup", { label: group }));
      groups.get(group).append(make("option", { value: key, selected: key === name }, title));
    }
    select.append(...groups.values());
    select.addEventListener("change", () => open(select.value, "", []));
    const row = make("p", { class: "ae-pick" }, make("label", { for: "ae-graph" }, "What to explore"), select);
    if (!graph) return row;
    const ways = make("select", { id: "ae-way" }, make("option", { value: "" }, "choose"));
    for (const from of Object.keys(graph.starts)) {
      ways.append(make("option", { value: `s ${from}` }, `the beginning, after: ${from}`));
    }
    for (const [key, way] of Object.entries(graph.ways)) {
      const length = `${way.steps.length} steps`;
      ways.append(make("option", { value: `w ${key}` }, `the trace to ${key}, ${length}`));
    }
    ways.addEventListener("change", () => {
      const [kind, key] = [ways.value[0], ways.value.slice(2)];
      if (kind === "s") open(name, key, []);
      if (kind === "w") open(name, "", [], key);
    });
    row.append(make("label", { for: "ae-way" }, "Go to"), ways);
    return row;
  };

  const bar = () => make("p", { class: "ae-tools" },
    make("button", { type: "button", id: "ae-back", class: "ae-button", disabled: !path.length, onclick: () => back(path.length - 1) },
      make("kbd", {}, "b"), " Back one step"),
    make("button", { type: "button", class: "ae-button", disabled: !path.length, onclick: () => back(0) },
      "Start over"),
    make("button", { type: "button", class: "ae-copy", "data-copy": "#ae-link" }, "Copy the link"),
    make("button", { type: "button", class: "ae-copy", "data-copy": "#ae-text" }, "Copy the trace as text"));

  const asText = () => [
    graph.title, ...path.map((step, i) => describe(step, i + 1)),
    ...(graph.broken[here()] ?? []).map((id) => `${id} is broken${rules[id] ? `: ${rules[id][0]}` : ""}`),
  ].join("\n");

  const status = make("p", { role: "status", class: "ae-said" });
  const body = make("div", {});

  const render = (focus = "") => {
    if (!graph) {
      status.textContent = problem;
      body.replaceChildren(pickers());
      return;
    }
    const steps = stepsFrom(graph, here());
    const link = new URL(address(), location.href.replace(/[?#].*/, "")).href;
    const phase = graph.phase.length ? graph.phases[graph.phase[here()]] : "";
    const last = path.at(-1);
    const wrong = [...(last?.broken ?? []), ...(graph.broken[here()] ?? [])];
    status.textContent = problem || (last
      ? `${describe(last, path.length)}.${wrong.length ? ` Breaks ${wrong.join(", ")}.` : ""}`
      : "At the beginning. Choose the next step of any CPU.");
    const found = things(here(), before());
    body.replaceChildren(
      pickers(),
      make("h2", { id: "ae-title" }, graph.title),
      make("details", {}, make("summary", {}, "What runs here"),
        make("pre", { class: "ae-trace" }, graph.about.join("\n"))),
      bar(),
      ...(phase ? [make("p", { class: "ae-phase" }, "Line ", make("code", {}, phase))] : []),
      make("h2", {}, "State"),
      ...[picture(found.now)].filter(Boolean),
      make("p", { class: "ae-legend" }, "* and a dashed frame: changed by the last step."),
      list(found),
      make("h2", {}, "Next step"),
      choices(steps),
      make("h2", {}, "Rules"),
      judgement(),
      make("h2", {}, path.length ? `The ${path.length} steps so far` : "No step so far"),
      trace(),
      make("p", { class: "ae-share" }, "Link: ", make("a", { id: "ae-link", href: link }, link)),
      make("pre", { id: "ae-text", hidden: true }, asText()),
    );
    if (focus) {
      const own = [...body.querySelectorAll("button.ae-step")].find((b) => b.dataset.cpu === focus);
      const target = (focus !== "back" && own) || body.querySelector("button.ae-step")
        || body.querySelector("#ae-back");
      target?.focus();
    }
  };

  root.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("select, input")) return;
    if (/^[1-9]$/.test(event.key)) {
      body.querySelectorAll("button.ae-step")[Number(event.key) - 1]?.click();
    } else if (event.key === "b" && path.length) back(path.length - 1);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  root.replaceChildren(status, body);
  load("index").then(() => {
    const query = new URLSearchParams(location.search);
    const steps = (query.get("t") ?? "").split(",").filter(Boolean);
    return open(query.get("g") ?? index[0][1], query.get("s") ?? "", steps);
  });
})();
