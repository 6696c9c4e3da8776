// The page of the search: filters that work together, kept in the address after "#".
(function () {
  "use strict";
  var tools = window.featdslCatalogue;
  var input = document.querySelector("[data-search]");
  var list = document.querySelector("[data-results]");
  var count = document.querySelector("[data-count]");
  var more = document.querySelector("[data-more]");
  var reset = document.querySelector("[data-reset]");
  var selects = {};
  var STEP = 50;
  var found = [];
  var shown = 0;

  tools.filters.forEach(function (name) { selects[name] = document.querySelector('[data-filter="' + name + '"]'); });

  function read() {
    var given = new URLSearchParams(location.hash.slice(1));
    input.value = given.get("q") || "";
    tools.filters.forEach(function (name) { choose(selects[name], given.get(name) || ""); });
  }

  // A value of the address that no entry has is an option too: the filter tells why nothing is found.
  function choose(select, value) {
    var known = Array.from(select.options).some(function (option) { return option.value === value; });
    if (!known) select.append(new Option(value, value));
    select.value = value;
  }

  function filters() {
    var chosen = {};
    tools.filters.forEach(function (name) { if (selects[name].value) chosen[name] = selects[name].value; });
    return chosen;
  }

  function write() {
    var words = input.value.trim();
    var state = new URLSearchParams(words ? Object.assign({ q: words }, filters()) : filters()).toString();
    if (state !== location.hash.slice(1)) history.replaceState(null, "", state ? "#" + state : location.pathname + location.search);
  }

  function options(select, counts) {
    var value = select.value;
    var entries = Array.from(counts).sort(function (a, b) { return a[0] < b[0] ? -1 : 1; });
    var made = [new Option("any", "")];
    entries.slice(0, 500).forEach(function (each) { made.push(new Option(each[0] + " (" + each[1].toLocaleString("en") + ")", each[0])); });
    select.replaceChildren.apply(select, made);
    choose(select, value);
    select.classList.toggle("chosen", Boolean(value));
    select.disabled = !value && !counts.size;
  }

  function page() {
    var rows = found.slice(shown, shown + STEP).map(tools.row);
    list.append.apply(list, rows);
    shown += rows.length;
    more.hidden = shown >= found.length;
  }

  function told(size) {
    var number = found.length.toLocaleString("en");
    if (!size) return "The catalogue is empty. Run featdsl apply, then featdsl docs build.";
    if (!found.length) return "No match. Fewer words or filters find more.";
    return found.length === 1 ? "1 match" : number + " matches" + (found.length > STEP ? ", the best first" : "");
  }

  var facets = 0;

  function show(catalogue) {
    var result = catalogue.find(input.value, filters());
    found = result.entries;
    shown = 0;
    list.replaceChildren();
    page();
    count.textContent = told(catalogue.size);
    reset.hidden = !input.value.trim() && !Object.keys(filters()).length;
    marked();
    // The counts of the filters may follow a moment later: a key press shows its matches first.
    cancelAnimationFrame(facets);
    facets = requestAnimationFrame(function () {
      var counts = result.counts();
      tools.filters.forEach(function (name) { options(selects[name], counts[name]); });
    });
  }

  function marked() {
    document.querySelectorAll("nav [data-kind]").forEach(function (link) {
      if (link.dataset.kind === selects.kind.value) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    });
  }

  read();
  tools.load().then(function (catalogue) {
    function update() { write(); show(catalogue); }
    show(catalogue);
    input.addEventListener("input", update);
    tools.filters.forEach(function (name) { selects[name].addEventListener("change", update); });
    window.addEventListener("hashchange", function () { read(); show(catalogue); });
    reset.addEventListener("click", function () {
      input.value = "";
      tools.filters.forEach(function (name) { selects[name].value = ""; });
      update();
      input.focus();
    });
    more.addEventListener("click", function () {
      var last = list.lastElementChild;
      page();
      if (last && last.nextElementSibling) last.nextElementSibling.querySelector("a").focus({ preventScroll: true });
    });
    new IntersectionObserver(function (seen) { if (seen[0].isIntersecting && !more.hidden) page(); }, { rootMargin: "600px" }).observe(more);
    tools.arrows(input, list, function () {
      if (input.value) { input.value = ""; update(); } else { input.blur(); }
    });
  }, function () {
    count.textContent = "The search index cannot be loaded: data/search.js is missing beside this page.";
  });
})();
