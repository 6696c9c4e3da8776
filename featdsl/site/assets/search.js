// The search that pages share: load the index once, match with typos, filter, and write rows.
window.featdslCatalogue = (function () {
  "use strict";
  var root = document.documentElement.dataset.root;
  var library = document.currentScript.dataset.library;
  var FILTERS = ["kind", "team", "entity", "type", "tag", "freshness", "status", "set"];
  var SEARCHED = ["name", "parts", "description", "owner", "entity", "tags", "words"];
  var BOOST = { name: 6, parts: 5, tags: 3, owner: 2, entity: 2, words: 2, description: 1.5 };
  var loading = null;

  function script(source) {
    return new Promise(function (resolve, reject) {
      var element = document.createElement("script");
      element.src = source;
      element.onload = resolve;
      element.onerror = function () { reject(new Error("cannot load " + source)); };
      document.head.append(element);
    });
  }

  // Words of a name count by themselves: "late_share_24h" is found by "share".
  function tokens(text) {
    return text.toLowerCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  }

  function entriesOf(data) {
    return data.rows.map(function (row, id) {
      var entry = { id: id };
      data.fields.forEach(function (field, at) { entry[field] = row[at]; });
      entry.parts = entry.name.split(/[._@]/).join(" ");
      entry.facets = {
        kind: [entry.kind], team: [entry.owner], entity: [entry.entity], type: [entry.type], tag: entry.tags,
        freshness: [entry.freshness], status: entry.status, set: entry.sets
      };
      return entry;
    });
  }

  // Load the index; the promise has the catalogue.
  function load() {
    if (!loading) {
      loading = Promise.all([script(library), script(root + "data/search.js")]).then(function () {
        var entries = entriesOf(window.featdslSearch);
        var index = new window.MiniSearch({
          fields: SEARCHED,
          tokenize: tokens,
          extractField: function (entry, field) {
            var value = entry[field];
            return Array.isArray(value) ? value.join(" ") : value;
          }
        });
        // In parts, so that the page answers meanwhile.
        return index.addAllAsync(entries, { chunkSize: 200 }).then(function () { return catalogue(entries, index); });
      });
      loading.catch(function () { loading = null; });
    }
    return loading;
  }

  // How many letters of a word may differ: one at first, and two (letters that changed places) where that finds nothing.
  function typos(most) {
    return function (term) { return term.length < 4 ? 0 : term.length < 5 ? 1 : most; };
  }

  function catalogue(entries, index) {
    function matches(query) {
      var words = tokens(query);
      if (!words.length) return entries;
      var found = [];
      [["AND", 1], ["AND", 2], ["OR", 1], ["OR", 2]].some(function (attempt) {
        found = index.search(words.join(" "), {
          combineWith: attempt[0], fuzzy: typos(attempt[1]), prefix: true, boost: BOOST,
          weights: { fuzzy: 0.3, prefix: 0.7 }, boostDocument: rank
        });
        return found.length;
      });
      return found.map(function (each) { return entries[each.id]; });
    }

    // What is used, is a feature and is not on its way out comes first.
    function rank(id) {
      var entry = entries[id];
      return (1 + Math.log2(1 + entry.uses) / 8) * (entry.kind === "feature" ? 1.15 : 1) *
        (entry.status.includes("deprecated") ? 0.6 : 1);
    }

    function keeps(entry, filters, except) {
      return FILTERS.every(function (name) {
        return name === except || !filters[name] || entry.facets[name].includes(filters[name]);
      });
    }

    // Count the values of each filter among the matches that the other filters keep.
    function counts(found, filters) {
      var result = {};
      FILTERS.forEach(function (name) {
        var count = new Map();
        found.forEach(function (entry) {
          if (!keeps(entry, filters, name)) return;
          entry.facets[name].forEach(function (value) { if (value) count.set(value, (count.get(value) || 0) + 1); });
        });
        result[name] = count;
      });
      return result;
    }

    return {
      size: entries.length,
      find: function (query, filters) {
        var found = matches(query);
        return {
          entries: found.filter(function (entry) { return keeps(entry, filters); }),
          counts: function () { return counts(found, filters); }
        };
      }
    };
  }

  function element(tag, name, text) {
    var made = document.createElement(tag);
    if (name) made.className = name;
    if (text !== undefined) made.textContent = text;
    return made;
  }

  // Return the list item of an entry; texts are set as text, never as HTML.
  function row(entry) {
    var item = element("li");
    var link = element("a");
    link.href = root + entry.path.split("/").map(encodeURIComponent).join("/");
    var line = element("span", "line");
    line.append(element("span", "name", entry.name));
    if (entry.kind !== "feature") line.append(element("span", "badge", entry.kind));
    if (entry.type) line.append(element("code", "", entry.type));
    entry.status.forEach(function (each) {
      if (["deprecated", "rule broken", "outdated"].includes(each)) line.append(element("span", "badge warn", each));
      else if (["private", "ad hoc"].includes(each)) line.append(element("span", "badge", each));
    });
    if (["stale", "lost"].includes(entry.freshness)) line.append(element("span", "badge warn", entry.freshness));
    link.append(line, element("span", "about", entry.description));
    var aside = element("span", "aside", entry.kind === "team" ? "" : entry.owner);
    if (entry.uses) aside.append(element("span", "uses", entry.uses + (entry.uses === 1 ? " use" : " uses")));
    link.append(aside);
    item.append(link);
    return item;
  }

  // Move the focus between the field and the results: arrows, Home and End; Escape goes back to the field.
  function arrows(input, list, leave) {
    function links() { return Array.from(list.querySelectorAll("a")); }
    input.addEventListener("keydown", function (event) {
      var first = list.querySelector("a");
      if (event.key === "ArrowDown" && first) { event.preventDefault(); first.focus(); }
      else if (event.key === "Enter" && first && input.value.trim()) { event.preventDefault(); first.click(); }
      else if (event.key === "Escape") { event.preventDefault(); leave(); }
    });
    list.addEventListener("keydown", function (event) {
      var all = links();
      var at = all.indexOf(document.activeElement);
      if (at < 0) return;
      var to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: all.length - 1 }[event.key];
      if (event.key === "Escape" || to < 0) { event.preventDefault(); input.focus(); }
      else if (to !== undefined && all[to]) { event.preventDefault(); all[to].focus(); }
    });
  }

  document.addEventListener("keydown", function (event) {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    var input = document.querySelector("[data-search]");
    if (!input) return;
    event.preventDefault();
    input.focus();
    input.select();
  });

  return { load: load, row: row, arrows: arrows, filters: FILTERS };
})();
