// The search index is larger than all else on a page, and the theme loads it at once.
// This script stands before the theme's and lets the request wait until somebody
// searches, or follows a link that holds a query (q) or words to highlight (h).
(() => {
  const INDEX = "search/search_index.json";
  const QUERY = '[data-md-component="search-query"]';
  const { open, send } = XMLHttpRequest.prototype;
  const ofIndex = new WeakSet();

  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    if (String(url).endsWith(INDEX)) ofIndex.add(this);
    return open.call(this, method, url, ...rest);
  };

  XMLHttpRequest.prototype.send = function (...body) {
    if (!ofIndex.has(this) || /[?&][qh]=/.test(location.search)) return send.call(this, ...body);
    const search = ({ target }) => {
      if (!target.matches(QUERY)) return;
      document.removeEventListener("focusin", search);
      send.call(this, ...body);
    };
    document.addEventListener("focusin", search);
    return undefined;
  };
})();
