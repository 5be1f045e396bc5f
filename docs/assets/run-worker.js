// Python for one page. It works here, beside the page, so that the page can be read, and
// the run be ended, while a cell works. See run.js for the messages.
const send = (message) => self.postMessage(message);

// Everything comes from where this file comes from; no other host is asked.
const lite = new URL("../lite/", self.location.href);
const runtime = new URL("static/pyodide/", lite);

const fetched = fetch;
let total = 0;
let loaded = 0;

// Tells how much has come of what is known to come.
const counting = () => new TransformStream({
  transform(chunk, controller) {
    loaded += chunk.byteLength;
    send({ kind: "loading", loaded: Math.min(loaded, total), total });
    controller.enqueue(chunk);
  },
});
self.fetch = async (...request) => {
  const response = await fetched(...request);
  if (!response.ok || !response.body) return response;
  const { status, statusText, headers } = response;
  return new Response(response.body.pipeThrough(counting()), { status, statusText, headers });
};

let pyodide;
let session;

const load = async () => {
  const [told, { loadPyodide }] = await Promise.all([
    fetched(new URL("run.json", lite), { cache: "no-cache" }).then((answer) => answer.json()),
    import(new URL("pyodide.mjs", runtime)),
  ]);
  total = told.bytes;
  const wheel = fetch(new URL(told.wheel, runtime)).then((answer) => answer.arrayBuffer());
  pyodide = await loadPyodide({
    indexURL: runtime.href,
    env: { COLUMNS: "80", NO_COLOR: "1", PYTHONHASHSEED: "0" }, // as when the site is built
  });
  pyodide.unpackArchive(await wheel, "wheel");
  send({ kind: "loaded" });
};

const start = async ({ module }) => {
  if (!pyodide) await load();
  const live = pyodide.pyimport("spec.publish.live");
  session = live.Session(module ?? undefined, (kind, cell, text) => send({ kind, cell, text }));
};

// What a cell imports that is not there yet, such as z3, is loaded when it is asked for.
const packageOf = (module) =>
  Object.values(pyodide.lockfile.packages).find(({ imports }) => imports.includes(module))?.name;

const run = async ({ cells }) => {
  const asked = new Set();
  for (;;) {
    const outcome = session.run(pyodide.toPy(cells));
    const missing = outcome.missing && packageOf(outcome.missing);
    if (!missing || asked.has(missing)) return send({ kind: "done", good: outcome.good });
    asked.add(missing);
    send({ kind: "fetching", text: missing });
    await pyodide.loadPackage(missing, { messageCallback: () => {} });
  }
};

const commands = { start, run };
// One after the other: a run waits until Python is there.
let last = Promise.resolve();
self.onmessage = ({ data }) => {
  last = last.then(() => commands[data.command](data)).catch((error) => {
    send({ kind: "failed", text: String(error?.message ?? error) });
  });
};
