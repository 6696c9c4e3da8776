/* Walk through the drawn graph with the arrow keys: left and right along edges, up and down between alternatives. */
(function () {
  "use strict";

  /** Return a function that returns the selection after an arrow key, or the same one where nothing follows. */
  function walker(graph, view) {
    let alternatives = [];

    const height = (n) => view.box(n).y;
    const isOpen = (n) => view.isOpen(n);

    /** Return the node in the nearest layer that is nearest in height, and keep the others as alternatives. */
    function nearest(from, nodes) {
      const shown = nodes.filter((n) => view.shows(n));
      if (!shown.length) return undefined;
      alternatives = shown.sort((a, b) => height(a) - height(b) || a - b);
      const layers = (n) => Math.abs(graph.layer(n) - graph.layer(from));
      const away = (n) => Math.abs(height(n) - height(from));
      const closer = (a, b) => layers(a) - layers(b) || away(a) - away(b);
      return { node: shown.reduce((best, n) => (closer(n, best) < 0 ? n : best)), column: undefined };
    }

    function along(selection, side) {
      const { node, column } = selection;
      if (column === undefined) return nearest(node, [...graph.beside(node, side)]);
      return side === "down" ? nearest(node, graph.readers(node, column)) : { node, column: undefined };
    }

    function between(selection, by) {
      const { node, column } = selection;
      if (isOpen(node)) {
        const next = (column === undefined ? -1 : column) + by;
        if (next >= 0 && next < graph.columns(node).length) return { node, column: next };
        if (column !== undefined && next < 0) return { node, column: undefined };
      }
      const others = alternatives.includes(node) ? alternatives : view.shown().filter((n) => graph.layer(n) === graph.layer(node));
      const place = others.indexOf(node) + by;
      return place >= 0 && place < others.length ? { node: others[place], column: undefined } : undefined;
    }

    return function (selection, key) {
      if (!selection || !view.shows(selection.node)) {
        alternatives = [];
        const first = view.shown()[0];
        return first === undefined ? selection : { node: first, column: undefined };
      }
      const moved = key === "ArrowLeft" ? along(selection, "up") : key === "ArrowRight" ? along(selection, "down")
        : between(selection, key === "ArrowUp" ? -1 : 1);
      return moved || selection;
    };
  }

  window.featdslGraph.walker = walker;
})();
