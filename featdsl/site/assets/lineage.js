/* The page of the lineage graph: toolbar, keys, search, legend, and the selected node's upstream and downstream as text. */
(function () {
  "use strict";

  const { model, view: drawing, picked, walker, teamClass, escaped } = window.featdslGraph;
  const MOST_FOUND = 12, MOST_LISTED = 200;
  const byId = (id) => document.getElementById(id);
  const graph = model(window.featdslLineage), root = document.documentElement.dataset.root || "";
  const stage = byId("lineage-stage"), panel = byId("lineage-panel"), status = byId("lineage-status");
  const find = byId("lineage-find"), found = byId("lineage-found"), up = byId("lineage-up"), down = byId("lineage-down");
  const view = drawing(graph, stage), walk = walker(graph, view);
  const state = { around: undefined, selection: undefined, open: new Set(), team: undefined, option: -1 };
  const everything = new Set(graph.ids.keys());
  const most = (field) => (field.value === "all" ? Infinity : Number(field.value));

  /** Draw the whole graph, or what is around one node. */
  function draw() {
    const shown = state.around === undefined ? everything : graph.around(state.around, most(up), most(down));
    view.draw(shown, state.open);
    if (state.selection && !view.shows(state.selection.node)) state.selection = undefined;
    show();
  }

  function show() {
    view.trace(state.selection, state.team);
    describe();
    byId("lineage-all").disabled = state.around === undefined;
    byId("lineage-around").disabled = !state.selection;
    byId("lineage-columns").disabled = !state.selection || !graph.columns(state.selection.node).length;
    byId("lineage-columns").setAttribute("aria-pressed", String(Boolean(state.selection && state.open.has(state.selection.node))));
  }

  function select(selection) {
    state.selection = selection;
    show();
    if (selection) view.reveal(selection.node);
  }

  function around(n) {
    state.around = n;
    state.selection = n === undefined ? state.selection : { node: n, column: undefined };
    draw();
    view.fit();
    const wanted = address(n);
    if (location.hash !== wanted) history.pushState(null, "", wanted || location.pathname + location.search);
  }

  /** Return the part of the address after its path: what the graph is drawn around, and how many steps. */
  function address(n) {
    if (n === undefined) return "";
    const limits = Object.entries({ up: up.value, down: down.value }).filter(([, value]) => value !== "all");
    return `#${new URLSearchParams([["at", graph.ids[n]], ...limits])}`;
  }

  function toggleColumns(n) {
    if (!graph.columns(n).length) return;
    if (!state.open.delete(n)) state.open.add(n);
    if (state.selection && state.selection.node === n) state.selection = { node: n, column: undefined };
    draw();
    view.reveal(n);
  }

  // The text beside the drawing

  const count = (number, word) => `${number.toLocaleString("en")} ${word}`;
  const label = (n) => `${graph.kind(n)} ${graph.name(n)}`;

  function describe() {
    const { selection } = state;
    if (!selection) {
      const where = state.around === undefined ? "The whole graph" : `Around ${label(state.around)}`;
      panel.innerHTML = `<h2>${escaped(where)}</h2><p>${count(view.shown().length, "definitions")}. Select one to see what it is made of and who uses it.</p>`;
      status.textContent = `${where}: ${count(view.shown().length, "definitions")}.`;
      return;
    }
    const { node, column } = selection;
    const name = column === undefined ? label(node) : `column ${graph.name(node)}.${graph.columns(node)[column]}`;
    const sides = column === undefined
      ? [["Upstream", graph.steps([node], "up", Infinity)], ["Downstream", graph.steps([node], "down", Infinity)]]
      : [["Read by", columnSteps(node, column)]];
    const page = graph.page(node);
    const link = page ? `<a href="${escaped(root + page)}">${escaped(name)}</a>` : escaped(name);
    const read = graph.reads(node).map(([source, place]) => `${graph.name(source)}.${graph.columns(source)[place]}`);
    panel.innerHTML = `<h2>${link}</h2><p><span class="lineage-key ${teamClass(graph.teamNumber(node))}"></span>${escaped(graph.team(node))}</p>` +
      (read.length ? `<p>Reads ${read.map((each) => `<code>${escaped(each)}</code>`).join(", ")}</p>` : "") + sides.map(listed).join("");
    const told = { Upstream: (some) => count(some, "upstream"), Downstream: (some) => count(some, "downstream"), "Read by": (some) => `read by ${count(some, "definitions")}` };
    const counts = sides.map(([title, some]) => told[title](some.flat().length));
    const mark = state.open.has(node) && column === undefined ? ", columns shown" : "";
    status.textContent = `${name}, ${graph.team(node)}${mark}: ${counts.join(", ")}.`;
  }

  const columnSteps = (node, column) => {
    const readers = graph.readers(node, column);
    return readers.length ? [readers, ...graph.steps(readers, "down", Infinity)] : [];
  };

  function listed([title, steps]) {
    const items = steps.flatMap((some, place) => some.map((n) => [n, place + 1]));
    const rows = items.slice(0, MOST_LISTED).map(([n, step]) =>
      `<li><a href="${escaped(address(n))}" data-select="${n}">${escaped(label(n))}</a> <span>${escaped(graph.team(n))}${step > 1 ? `, ${step} steps` : ""}</span></li>`);
    const more = items.length > MOST_LISTED ? `<p>and ${count(items.length - MOST_LISTED, "more")}</p>` : "";
    return `<h3>${title} (${items.length.toLocaleString("en")})</h3>${rows.length ? `<ul>${rows.join("")}</ul>` : "<p>none</p>"}${more}`;
  }

  // The legend

  function legend() {
    const teams = graph.teams.map((name, number) => ({ name, number }));
    byId("lineage-legend").innerHTML = teams.map(({ name, number }) =>
      `<button type="button" aria-pressed="false" data-team="${number}"><span class="lineage-key ${teamClass(number)}"></span>${escaped(name)}</button>`).join("");
    byId("lineage-legend").addEventListener("click", (event) => {
      const button = event.target.closest("[data-team]");
      if (!button) return;
      const team = Number(button.dataset.team);
      state.team = state.team === team ? undefined : team;
      for (const each of byId("lineage-legend").children) each.setAttribute("aria-pressed", String(Number(each.dataset.team) === state.team));
      show();
    });
  }

  // Search within the graph

  function offer() {
    const matches = graph.search(find.value, MOST_FOUND);
    state.option = matches.length ? 0 : -1;
    found.innerHTML = matches.map((n, place) =>
      `<li role="option" id="lineage-option-${place}" data-select="${n}" aria-selected="${place === 0}">${escaped(label(n))}</li>`).join("");
    found.hidden = !matches.length;
    find.setAttribute("aria-expanded", String(matches.length > 0));
    mark();
    if (find.value.trim()) status.textContent = matches.length ? `${count(matches.length, "matches")}: ${label(matches[0])}` : "No match.";
  }

  function mark() {
    [...found.children].forEach((each, place) => each.setAttribute("aria-selected", String(place === state.option)));
    if (state.option < 0) find.removeAttribute("aria-activedescendant");
    else find.setAttribute("aria-activedescendant", `lineage-option-${state.option}`);
  }

  function choose(n) {
    find.value = "";
    offer();
    if (view.shows(n)) select({ node: n, column: undefined });
    else around(n);
    stage.focus();
  }

  function findKey(event) {
    const size = found.children.length;
    if (event.key === "Escape") {
      find.value = "";
      offer();
      stage.focus();
    } else if (event.key === "Enter" && state.option >= 0) choose(Number(found.children[state.option].dataset.select));
    else if ((event.key === "ArrowDown" || event.key === "ArrowUp") && size) {
      state.option = (state.option + (event.key === "ArrowDown" ? 1 : size - 1)) % size;
      mark();
    } else return;
    event.preventDefault();
  }

  // Keys and pointer

  function open(n) {
    if (graph.page(n)) location.href = root + graph.page(n);
  }

  function back() {
    if (state.selection && state.around === undefined) select(undefined);
    else if (state.around !== undefined) around(undefined);
  }

  const KEYS = {
    "+": () => view.scale(1.4), "=": () => view.scale(1.4), "-": () => view.scale(1 / 1.4), 0: () => view.fit(),
    Enter: () => state.selection && open(state.selection.node),
    " ": () => state.selection && toggleColumns(state.selection.node),
    c: () => state.selection && toggleColumns(state.selection.node),
    f: () => state.selection && around(state.selection.node),
    Escape: back,
  };

  function stageKey(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key.startsWith("Arrow")) select(walk(state.selection, event.key));
    else if (Object.hasOwn(KEYS, event.key)) KEYS[event.key]();
    else return;
    event.preventDefault();
  }

  function pick(event) {
    const selection = picked(event.target);
    if (event.target.closest(".mark")) toggleColumns(selection.node);
    else select(selection);
  }

  function listen() {
    const buttons = { all: () => around(undefined), around: () => around(state.selection.node), columns: () => toggleColumns(state.selection.node),
      in: KEYS["+"], out: KEYS["-"], fit: KEYS[0] };
    for (const [name, act] of Object.entries(buttons)) byId(`lineage-${name}`).addEventListener("click", act);
    for (const field of [up, down]) field.addEventListener("change", () => {
      if (state.around === undefined && state.selection) around(state.selection.node);
      else if (state.around !== undefined) around(state.around);
    });
    stage.addEventListener("keydown", stageKey);
    stage.addEventListener("click", pick);
    stage.addEventListener("dblclick", (event) => picked(event.target) && open(picked(event.target).node));
    find.addEventListener("input", offer);
    find.addEventListener("keydown", findKey);
    for (const list of [found, panel]) list.addEventListener("click", (event) => {
      const item = event.target.closest("[data-select]");
      if (!item) return;
      event.preventDefault();
      choose(Number(item.dataset.select));
    });
    window.addEventListener("popstate", follow);
    window.addEventListener("resize", view.fit);
  }

  /** Show what the address names: `lineage.html#at=feature+user_profile.age&down=1`. */
  function follow() {
    const given = new URLSearchParams(location.hash.slice(1)), n = graph.number(given.get("at"));
    for (const [field, name] of [[up, "up"], [down, "down"]]) {
      const known = [...field.options].some((option) => option.value === given.get(name));
      field.value = known ? given.get(name) : "all";
    }
    state.around = n;
    state.selection = n === undefined ? undefined : { node: n, column: undefined };
    draw();
    view.fit();
  }

  legend();
  listen();
  follow();
  performance.mark("featdsl-lineage-ready");
  document.documentElement.dataset.lineage = "ready";
})();
