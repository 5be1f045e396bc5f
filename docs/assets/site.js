// What the theme leaves undone for keyboards and screen readers, and copy buttons.
(() => {
  const SCROLLING = [
    ".ae-picture", ".ae-table", ".ae-trace", ".ae-trace pre", ".md-typeset__scrollwrap",
    ".nb-html", ".nb-output pre", ".nb-svg",
  ].join();

  // The theme names the toolbar of each code block alike; axe wants them told apart.
  const nameToolbars = (root) =>
    root.querySelectorAll("nav.md-code__nav:not([aria-label])").forEach((nav) => {
      const target = nav.querySelector("[data-clipboard-target]");
      const id = target?.dataset.clipboardTarget ?? "";
      nav.setAttribute("aria-label", `Code block ${id.replace(/[#>]|code$|__code_/g, "").trim()}`);
    });

  // A box that scrolls must be reachable by keyboard and have a name. All are measured
  // before any is changed: after each change a browser would lay out the page anew.
  const reachScrolling = (root) => {
    const boxes = [...root.querySelectorAll(SCROLLING)];
    const scroll = boxes.map((box) => !box.closest("details:not([open])")
      && (box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight));
    boxes.forEach((box, number) => {
      if (!scroll[number]) return;
      box.tabIndex = 0;
      if (box.hasAttribute("aria-label")) return;
      box.setAttribute("role", "region");
      box.setAttribute("aria-label", `Scrolling box ${number + 1}`);
    });
  };

  const write = async (text) => {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Without a secure context there is no clipboard, only the selection.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    document.execCommand("copy");
    area.remove();
  };

  // What was copied, beside the button and read aloud: its first line, and how long it is.
  const tell = (button, text) => {
    const [first, ...more] = text.split("\n");
    let told = button.parentElement.querySelector(".ae-told");
    if (!told) {
      told = document.createElement("span");
      told.className = "ae-told";
      told.setAttribute("role", "status");
      button.after(told);
    }
    told.textContent = `Copied: ${first}${more.length ? ` … (${more.length + 1} lines)` : ""}`;
  };

  // <button class="ae-copy" data-copy="#id"> copies the text of the element #id.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button.ae-copy");
    const source = button && document.querySelector(button.dataset.copy);
    if (!source) return;
    button.dataset.label ??= button.textContent;
    const text = source.textContent.trim();
    await write(text);
    button.textContent = "Copied";
    tell(button, text);
    clearTimeout(button.timer);
    button.timer = setTimeout(() => { button.textContent = button.dataset.label; }, 2000);
  });

  const prepare = () => {
    const article = document.querySelector("article");
    if (!article) return;
    // A change of a button's text is announced where it happens. From now on it can be seen.
    const offerCopies = () => article.querySelectorAll("button.ae-copy:not([aria-live])")
      .forEach((button) => button.setAttribute("aria-live", "polite"));
    let due = 0;
    const tend = () => { due = 0; offerCopies(); nameToolbars(article); reachScrolling(article); };
    const tendSoon = () => { due ||= requestAnimationFrame(tend); };
    tendSoon();
    // The theme adds toolbars and boxes around tables when it gets to them.
    new MutationObserver(tendSoon).observe(article, { childList: true, subtree: true });
    article.addEventListener("toggle", tendSoon, true);
    addEventListener("resize", tendSoon);
  };

  // The search splits ids at hyphens and completes each part: AE-INV-1 would find
  // AE-INV-10 first. All parts are asked for as they are. Where nothing begins with a
  // name as present_pte, it is looked for within names. The theme has no hook for either.
  const { postMessage } = Worker.prototype;
  const NAME = /(?<![\w*])[a-z0-9]+(?:_[a-z0-9]+)+(?![\w*])/gi;
  const asked = new WeakMap(); // by worker, the last query
  const lookWithin = ({ currentTarget: worker, data }) => {
    const query = asked.get(worker);
    if (!Array.isArray(data?.data?.items) || data.data.items.length || !query) return;
    asked.delete(worker);
    const within = query.data.replace(NAME, "$& *$&*^0.5");
    if (within !== query.data) postMessage.call(worker, { ...query, data: within });
  };
  Worker.prototype.postMessage = function (message, ...rest) {
    if (typeof message?.data !== "string") return postMessage.call(this, message, ...rest);
    if (!asked.has(this)) this.addEventListener("message", lookWithin);
    const data = message.data.replace(/\bAE-([A-Z]+)-(\d+)\b/gi, "+ae +$1 +$2");
    asked.set(this, { ...message, data });
    return postMessage.call(this, { ...message, data }, ...rest);
  };
  document$.subscribe(prepare);
})();
