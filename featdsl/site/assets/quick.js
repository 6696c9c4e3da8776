// The search field at the top of a page, with the best results below it.
(function () {
  "use strict";
  var place = document.querySelector("[data-quick]");
  if (!place) return;
  var root = document.documentElement.dataset.root;
  var input = place.querySelector("[data-search]");
  var panel = place.querySelector("[data-panel]");
  var list = place.querySelector("[data-results]");
  var count = place.querySelector("[data-count]");
  var all = place.querySelector("[data-all]");
  var MOST = 8;

  function close() { panel.hidden = true; }

  function show() {
    var query = input.value.trim();
    all.href = root + "search.html#" + new URLSearchParams({ q: query });
    if (!query) { list.replaceChildren(); close(); return; }
    window.featdslCatalogue.load().then(function (catalogue) {
      if (input.value.trim() !== query) return;
      var found = catalogue.find(query, {}).entries;
      list.replaceChildren.apply(list, found.slice(0, MOST).map(window.featdslCatalogue.row));
      count.textContent = found.length === 1 ? "1 result." : found.length.toLocaleString("en") + " results.";
      panel.hidden = false;
    }, function () {
      count.textContent = "The search index cannot be loaded.";
      panel.hidden = false;
    });
  }

  input.addEventListener("focus", function () {
    window.featdslCatalogue.load().catch(function () { /* told when one types */ });
    if (input.value.trim()) show();
  });
  input.addEventListener("input", show);
  document.addEventListener("focusin", function (event) { if (!place.contains(event.target)) close(); });
  document.addEventListener("pointerdown", function (event) { if (!place.contains(event.target)) close(); });
  window.featdslCatalogue.arrows(input, list, function () {
    if (input.value) { input.value = ""; show(); } else { input.blur(); }
    close();
  });
})();
