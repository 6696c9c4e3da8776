/* Draw what is around a definition above the lists of its page, once they come into sight. */
(function () {
  "use strict";

  const MOST = 60, TALLEST = 480, SHORTEST = 90;

  /** Return the nodes that a place names: `feature a.b` is one, `group a` are all features of the group. */
  function named(graph, name) {
    const [kind, address] = [name.slice(0, name.indexOf(" ")), name.slice(name.indexOf(" ") + 1)];
    if (kind === "group") return graph.numbers((n) => graph.kind(n) === "feature" && graph.name(n).startsWith(`${address}.`));
    const n = graph.number(name);
    return n === undefined ? [] : [n];
  }

  /** Return the nodes around some: all of them, or those within fewer steps if they are too many. */
  function near(graph, starts) {
    const within = (most) => new Set(starts.flatMap((n) => [...graph.around(n, most, most)]));
    const found = [Infinity, 3, 2, 1].map(within).find((some) => some.size <= MOST);
    return found || new Set([...starts, ...within(1)].slice(0, MOST));
  }

  function draw(place) {
    const { model, view: drawing, picked, scaleFor } = window.featdslGraph;
    const graph = model(window.featdslLineage), starts = named(graph, place.dataset.lineageAround);
    if (!starts.length) return;
    const shown = near(graph, starts), stage = document.createElement("div");
    stage.className = "lineage-stage lineage-small";
    stage.setAttribute("role", "img");
    stage.setAttribute("aria-label", `Graph of ${place.dataset.lineageAround} with ${shown.size} definitions; the lists below name those beside it`);
    place.prepend(stage);
    const view = drawing(graph, stage, { small: true });
    view.draw(shown, new Set());
    const { width, height } = view.size();
    const wanted = height * scaleFor((stage.clientWidth - 32) / width) + 32;
    stage.style.height = `${Math.min(TALLEST, Math.max(SHORTEST, wanted))}px`;
    view.fitAround(starts[0]);
    starts.forEach(view.mark);
    stage.addEventListener("click", (event) => {
      const found = picked(event.target), page = found && graph.page(found.node);
      if (page && !starts.includes(found.node)) location.href = document.documentElement.dataset.root + page;
    });
  }

  function style(place) {
    const link = document.createElement("link");
    link.rel = "stylesheet";
    link.href = place.dataset.style;
    return new Promise((resolve) => {
      link.addEventListener("load", resolve);
      document.head.append(link);
    });
  }

  /** Load scripts one after another: pages whose graph nobody looks at do without them. */
  async function load(sources) {
    for (const source of sources) {
      await new Promise((resolve, reject) => {
        const script = document.createElement("script");
        script.src = source;
        script.addEventListener("load", resolve);
        script.addEventListener("error", reject);
        document.head.append(script);
      });
    }
  }

  for (const place of document.querySelectorAll("[data-lineage-around]")) {
    const watch = new IntersectionObserver((entries) => {
      if (!entries.some((entry) => entry.isIntersecting)) return;
      watch.disconnect();
      Promise.all([style(place), load(place.dataset.scripts.split(" "))]).then(() => draw(place));
    }, { rootMargin: "300px" });
    watch.observe(place);
  }
})();
