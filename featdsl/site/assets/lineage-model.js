/* The lineage graph without its drawing: neighbours, reach, search, and the place of each node. */
(function () {
  "use strict";

  const WIDTH = 180, HEIGHT = 38, ROW = 18, GAP = 10, BETWEEN = 16, BETWEEN_LAYERS = 64, FEWEST_ROWS = 12;

  /** Return the graph of the data that featdsl/site/lineage.py writes; nodes are numbers. */
  function model(data) {
    const down = data.edges;
    const up = down.map(() => []);
    down.forEach((targets, n) => targets.forEach((target) => up[target].push(n)));
    const ids = data.names.map((name, n) => data.kinds[data.kind[n]] + " " + name);
    const numbers = new Map(ids.map((id, n) => [id, n]));

    const kind = (n) => data.kinds[data.kind[n]];
    const team = (n) => data.teams[data.team[n]];
    const beside = (n, side) => (side === "up" ? up : down)[n];
    const columns = (n) => data.columns[n] || [];

    /** Return the nodes on one side of some nodes, as a list for each step away. */
    function steps(starts, side, most) {
      const seen = new Set(starts), found = [];
      let edge = [...starts];
      while (edge.length && found.length < most) {
        const next = new Set();
        edge.forEach((n) => beside(n, side).forEach((other) => seen.has(other) || next.add(other)));
        edge = [...next].sort((a, b) => a - b);
        edge.forEach((n) => seen.add(n));
        if (edge.length) found.push(edge);
      }
      return found;
    }

    /** Return a node and all that is at most so many steps upstream and downstream. */
    function around(n, mostUp, mostDown) {
      return new Set([n, ...steps([n], "up", mostUp).flat(), ...steps([n], "down", mostDown).flat()]);
    }

    /** Return the features that read a column of a source, directly or through other features. */
    function readers(source, column) {
      const read = ([from, place]) => from === source && place === column;
      return Object.keys(data.reads).filter((n) => data.reads[n].some(read)).map(Number);
    }

    /** Return all that a selection reaches: for a column its source, its readers and what is downstream of them. */
    function reach({ node, column }) {
      if (column === undefined) return around(node, Infinity, Infinity);
      const starts = readers(node, column);
      const below = new Set([...starts, ...steps(starts, "down", Infinity).flat()]);
      const between = steps([node], "down", Infinity).flat().filter((n) => kind(n) === "source" &&
        steps([n], "down", Infinity).flat().some((each) => below.has(each)));
      return new Set([node, ...between, ...below]);
    }

    /** Return the pairs [source, column] that a feature reads. */
    const reads = (n) => data.reads[n] || [];

    /** Return the nodes whose names have all words of a text, those that begin with it first; else those with its letters in order. */
    function search(text, most) {
      const words = text.toLowerCase().split(/\s+/).filter(Boolean);
      if (!words.length) return [];
      const rank = (n) => {
        const id = ids[n].toLowerCase(), name = data.names[n].toLowerCase();
        if (words.every((word) => id.includes(word))) return name.startsWith(words[0]) ? 0 : name.includes("." + words[0]) ? 1 : 2;
        return hasInOrder(name, words.join("")) ? 3 : 9;
      };
      const ranked = ids.map((_, n) => [rank(n), data.names[n].length, n]).filter(([place]) => place < 9);
      return ranked.sort((a, b) => a[0] - b[0] || a[1] - b[1] || a[2] - b[2]).slice(0, most).map(([, , n]) => n);
    }

    return {
      ids, up, down, kind, team, beside, columns, steps, around, readers, reach, reads, search,
      size: ids.length, teams: data.teams, number: (id) => numbers.get(id), numbers: (wanted) => [...ids.keys()].filter(wanted), name: (n) => data.names[n],
      teamNumber: (n) => data.team[n], layer: (n) => data.layer[n], page: (n) => data.pages[n],
      pack: (shown, open, aspect) => pack(data, shown, aspect, (n) => HEIGHT + (open.has(n) ? ROW * columns(n).length + 6 : 0)),
    };
  }

  function hasInOrder(name, letters) {
    let at = -1;
    return [...letters].every((letter) => (at = name.indexOf(letter, at + 1)) >= 0);
  }

  /** Return the box of each shown node, and the size of all: layers side by side, a long layer in several columns. */
  function pack(data, shown, aspect, height) {
    const layers = [...layersOf(data, shown).entries()].sort((a, b) => a[0] - b[0]).map(([, nodes]) => nodes);
    const tall = (rows) => rows * (HEIGHT + GAP);
    const wide = (rows) => layers.reduce((sum, nodes) => sum + Math.ceil(nodes.length / rows) * (WIDTH + BETWEEN) + BETWEEN_LAYERS, 0);
    let rows = FEWEST_ROWS;
    while (wide(rows) > aspect * tall(rows) && layers.some((nodes) => nodes.length > rows)) rows += 1;
    const columns = layers.map((nodes) => split(nodes, Math.ceil(nodes.length / rows)));
    const filled = (nodes) => nodes.reduce((sum, n) => sum + height(n) + GAP, 0);
    const total = Math.max(HEIGHT, ...columns.flat().map(filled));
    const boxes = new Map();
    let x = 0;
    for (const layer of columns) {
      for (const nodes of layer) {
        const space = (total - filled(nodes)) / nodes.length;
        let y = space / 2;
        for (const n of nodes) {
          boxes.set(n, { x, y, width: WIDTH, height: height(n) });
          y += height(n) + GAP + space;
        }
        x += WIDTH + BETWEEN;
      }
      x += BETWEEN_LAYERS - BETWEEN;
    }
    return { boxes, width: Math.max(WIDTH, x - BETWEEN_LAYERS), height: total };
  }

  function layersOf(data, shown) {
    const layers = new Map();
    for (const n of [...shown].sort((a, b) => a - b)) {
      if (!layers.has(data.layer[n])) layers.set(data.layer[n], []);
      layers.get(data.layer[n]).push(n);
    }
    return layers;
  }

  /** Return the nodes row by row in so many columns, so that a node keeps its height in the layer. */
  function split(nodes, count) {
    const columns = Array.from({ length: count }, () => []);
    nodes.forEach((n, place) => columns[place % count].push(n));
    return columns;
  }

  window.featdslGraph = { model, size: { WIDTH, HEIGHT, ROW } };
})();
