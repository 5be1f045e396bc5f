// Hover cards on rule ids and on terms of the glossary: shown on hover and on focus,
// dismissed by Escape, and they stay while the pointer is on them (WCAG 1.4.13).
(() => {
  const RULE = /^AE-[A-Z]+-\d+$/;
  const SCRIPT = document.currentScript.src;
  const WAIT = 150;
  let rules = null;
  let terms = null;
  let loading = null;
  let owner = null;
  let timer = 0;

  const card = document.createElement("div");
  card.id = "ae-hover";
  card.className = "ae-hover";
  card.setAttribute("role", "tooltip");
  card.hidden = true;

  window.aeCards = (...found) => { [rules, terms] = found; };

  const load = () => {
    loading ??= new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL("rules.js", SCRIPT).href;
      script.onload = resolve;
      script.onerror = reject;
      document.head.append(script);
    });
    return loading;
  };

  const isOwner = (element) => element?.closest?.("article a, #ae-explorer a") ?? null;

  const said = (link) => {
    const id = link.textContent.trim();
    if (RULE.test(id)) return rules[id] && [id, ...rules[id]];
    if (!link.classList.contains("ae-term")) return null;
    return terms[link.hash.replace("#term-", "")] ?? null;
  };

  const concerns = (link) => link
    && (RULE.test(link.textContent.trim()) || link.classList.contains("ae-term"));

  const hide = () => {
    clearTimeout(timer);
    owner?.removeAttribute("aria-describedby");
    owner = null;
    card.hidden = true;
  };

  const show = async (link) => {
    await load();
    const lines = said(link);
    if (!lines || !link.isConnected) return;
    hide();
    owner = link;
    const [title, ...rest] = lines;
    const head = document.createElement("strong");
    head.textContent = title;
    card.replaceChildren(head, ...rest.map((text) => {
      const line = document.createElement("span");
      line.textContent = text;
      return line;
    }));
    document.body.append(card);
    card.hidden = false;
    link.setAttribute("aria-describedby", card.id);
    const box = link.getBoundingClientRect();
    const room = document.documentElement.clientWidth;
    const left = Math.max(8, Math.min(box.left, room - card.offsetWidth - 8));
    const above = box.bottom + card.offsetHeight > innerHeight && box.top > card.offsetHeight;
    card.style.left = `${left + scrollX}px`;
    card.style.top = `${(above ? box.top - card.offsetHeight : box.bottom) + scrollY}px`;
  };

  const soon = (action) => { clearTimeout(timer); timer = setTimeout(action, WAIT); };

  document.addEventListener("pointerover", (event) => {
    if (card.contains(event.target)) { clearTimeout(timer); return; }
    const link = isOwner(event.target);
    if (concerns(link)) soon(() => { if (link !== owner) show(link); });
    else if (owner && owner !== document.activeElement) soon(hide);
  });
  document.addEventListener("focusin", (event) => {
    const link = isOwner(event.target);
    if (concerns(link) && link.matches(":focus-visible")) show(link);
    else if (owner) hide();
  });
  document.addEventListener("focusout", (event) => { if (event.target === owner) hide(); });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && owner) { hide(); event.stopPropagation(); }
  }, true);
})();
