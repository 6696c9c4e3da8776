/* Draw a part of the lineage graph as SVG, which pans and zooms. */
(function () {
  "use strict";

  const { WIDTH, HEIGHT, ROW } = window.featdslGraph.size;
  const FAR = 0.4, LEAST = 0.45, READABLE = 0.65, LETTERS = 23, COLOURS = 12;
  const SHAPES = {
    source: (h) => `M0 0H${WIDTH}V${h}H0Z`,
    feature: (h) => `M6 0H${WIDTH - 6}Q${WIDTH} 0 ${WIDTH} 6V${h - 6}Q${WIDTH} ${h} ${WIDTH - 6} ${h}H6Q0 ${h} 0 ${h - 6}V6Q0 0 6 0Z`,
    set: (h) => `M0 0H${WIDTH - 12}L${WIDTH} ${h / 2}L${WIDTH - 12} ${h}H0Z`,
    model: (h) => `M6 0H${WIDTH - h / 2}A${h / 2} ${h / 2} 0 0 1 ${WIDTH - h / 2} ${h}H6Q0 ${h} 0 ${h - 6}V6Q0 0 6 0Z`,
  };

  const escaped = (text) => String(text).replace(/[&<>"]/g, (letter) => `&#${letter.charCodeAt(0)};`);
  const short = (text) => (text.length > LETTERS ? text.slice(0, LETTERS - 1) + "…" : text);

  /** Return the class that colours a team: twelve colours, then the same again with a dashed line. */
  const teamClass = (number) => `team-${number % COLOURS}${Math.floor(number / COLOURS) % 2 ? " again" : ""}`;

  /** Return the name of a node in two lines: the feature and its group, or the name and its kind. */
  function labels(graph, n) {
    const name = graph.name(n), dot = name.lastIndexOf(".");
    return graph.kind(n) === "feature" && dot > 0 ? [name.slice(dot + 1), name.slice(0, dot)] : [name, graph.kind(n)];
  }

  /** Return the box of a node; its texts follow once they can be read. */
  function boxMarkup(graph, n, box) {
    return `<g class="node ${graph.kind(n)} ${teamClass(graph.teamNumber(n))}" data-node="${n}" transform="translate(${box.x.toFixed(1)} ${box.y.toFixed(1)})">` +
      `<path class="shape" d="${SHAPES[graph.kind(n)](box.height)}"/><path class="stripe" d="M3 3V${box.height - 3}"/></g>`;
  }

  function textMarkup(graph, n, open, opens) {
    const [name, under] = labels(graph, n);
    const rows = open ? graph.columns(n).map((column, place) => {
      const y = HEIGHT + place * ROW;
      return `<g class="column" data-node="${n}" data-column="${place}"><rect x="8" y="${y}" width="${WIDTH - 16}" height="${ROW}"/>` +
        `<text x="16" y="${y + 13}">${escaped(short(column))}</text><title>${escaped(column)}</title></g>`;
    }).join("") : "";
    const mark = opens && graph.columns(n).length ? `<text class="mark" x="${WIDTH - 20}" y="18">${open ? "−" : "+"}</text>` : "";
    return `<title>${escaped(graph.ids[n])} (${escaped(graph.team(n))})</title>` +
      `<text class="name" x="12" y="16">${escaped(short(name))}</text><text class="under" x="12" y="31">${escaped(short(under))}</text>${mark}${rows}`;
  }

  function curve(x1, y1, x2, y2) {
    const middle = (x1 + x2) / 2;
    return `M${x1.toFixed(1)} ${y1.toFixed(1)}C${middle.toFixed(1)} ${y1.toFixed(1)} ${middle.toFixed(1)} ${y2.toFixed(1)} ${x2.toFixed(1)} ${y2.toFixed(1)}`;
  }

  /** On a page that scrolls, the wheel zooms with Ctrl alone, and a finger alone scrolls the page. */
  const scrolls = (event) => (event.type === "wheel" ? event.ctrlKey : event.touches ? event.touches.length > 1 : !event.button);

  /** Return the drawing of a graph in an element; `small` is one on a page that scrolls, without columns. */
  function view(graph, element, { small = false } = {}) {
    const svg = d3.select(element).append("svg").attr("aria-hidden", "true").attr("focusable", "false");
    const world = svg.append("g");
    const edges = world.append("path").attr("class", "edges");
    const lit = world.append("path").attr("class", "edges lit");
    const nodes = world.append("g");
    let packed = { boxes: new Map(), width: 1, height: 1 }, open = new Set(), named = new Set(), byNumber = new Map(), chosen;

    const zoom = d3.zoom().scaleExtent([0.02, 4]).on("zoom", ({ transform }) => {
      world.attr("transform", transform);
      element.classList.toggle("far", transform.k < FAR);
      name(transform);
    });
    if (small) zoom.filter(scrolls);
    svg.call(zoom).on("dblclick.zoom", null);

    /** Yield the start and end of each edge between shown nodes, as [from, column or undefined, to]. */
    function* links() {
      for (const n of packed.boxes.keys()) {
        const whole = new Set(graph.down[n].filter((each) => packed.boxes.has(each)));
        if (open.has(n)) {
          for (const target of packed.boxes.keys()) {
            const read = graph.reads(target).filter(([source]) => source === n);
            const direct = whole.has(target), through = !graph.up[target].some((each) => graph.kind(each) === "feature");
            if (!read.length || !(direct || through)) continue;
            whole.delete(target);
            for (const [, column] of read) yield [n, column, target];
          }
        }
        for (const target of whole) yield [n, undefined, target];
      }
    }

    const path = (wanted) => {
      let drawn = "";
      for (const [from, column, to] of links()) {
        if (!wanted(from, column, to)) continue;
        const a = packed.boxes.get(from), b = packed.boxes.get(to);
        const y = column === undefined ? HEIGHT / 2 : HEIGHT + (column + 0.5) * ROW;
        drawn += curve(a.x + a.width, a.y + y, b.x, b.y + HEIGHT / 2);
      }
      return drawn;
    };

    /** Write the texts of the nodes that are in sight and lack them: most of a large graph is never read. */
    function name(transform) {
      if (transform.k < FAR) return;
      const [width, height] = extent();
      const [left, top] = transform.invert([0, 0]), [right, bottom] = transform.invert([width, height]);
      for (const [n, box] of packed.boxes) {
        if (named.has(n) || box.x > right || box.x + box.width < left || box.y > bottom || box.y + box.height < top) continue;
        byNumber.get(n).insertAdjacentHTML("beforeend", textMarkup(graph, n, open.has(n), !small));
        named.add(n);
        if (open.has(n)) markColumns(n);
      }
    }

    /** Draw some nodes, with the columns of the sources that are open. */
    function draw(shown, opened) {
      open = new Set([...opened].filter((n) => shown.has(n)));
      packed = graph.pack(shown, open, extent()[0] / extent()[1]);
      nodes.node().innerHTML = [...packed.boxes].map(([n, box]) => boxMarkup(graph, n, box)).join("");
      named = new Set();
      byNumber = new Map([...nodes.node().children].map((each) => [Number(each.dataset.node), each]));
      edges.attr("d", path(() => true));
      lit.attr("d", "");
      name(d3.zoomTransform(svg.node()));
    }

    /** Light what a selection reaches and what a team owns, and dim the rest; without both light all. */
    function trace(selection, team) {
      const reached = selection && graph.reach(selection);
      chosen = selection;
      element.classList.toggle("tracing", Boolean(selection) || team !== undefined);
      for (const [n, node] of byNumber) {
        const owned = team === undefined || graph.teamNumber(n) === team;
        node.classList.toggle("lit", owned && (!reached || reached.has(n)));
        node.classList.toggle("selected", Boolean(selection && selection.node === n && selection.column === undefined));
      }
      open.forEach(markColumns);
      const start = selection || {};
      lit.attr("d", reached ? path((from, column, to) => reached.has(from) && reached.has(to) &&
        (from !== start.node || start.column === undefined || column === undefined || column === start.column)) : "");
    }

    function markColumns(n) {
      for (const row of byNumber.get(n).querySelectorAll(".column")) {
        row.classList.toggle("selected", Boolean(chosen) && chosen.node === n && chosen.column === Number(row.dataset.column));
      }
    }

    /** Return the size of the element in pixels. */
    const extent = () => [element.clientWidth || 1, element.clientHeight || 1];

    function fit() {
      const [width, height] = extent();
      centre(packed.width / 2, packed.height / 2, Math.min(1, (width - 32) / packed.width, (height - 32) / packed.height));
    }

    /** Move a point of the drawing to the middle, at a scale. */
    function centre(x, y, k) {
      const [width, height] = extent();
      svg.call(zoom.transform, d3.zoomIdentity.translate(width / 2 - x * k, height / 2 - y * k).scale(k));
    }

    /** Fit the drawing, or where its names could not be read then, the part around a node. */
    function fitAround(n) {
      fit();
      if (d3.zoomTransform(svg.node()).k >= LEAST) return;
      const box = packed.boxes.get(n), [width, height] = extent();
      const x = within(box.x + box.width / 2, (width - 32) / 2 / READABLE, packed.width);
      centre(x, within(box.y + HEIGHT / 2, (height - 32) / 2 / READABLE, packed.height), READABLE);
    }

    /** Move the drawing so that a node is in sight, at a scale at which its name can be read. */
    function reveal(n) {
      const box = packed.boxes.get(n), now = d3.zoomTransform(svg.node()), [width, height] = extent();
      if (!box) return;
      const x = now.applyX(box.x), y = now.applyY(box.y);
      const inside = x > 8 && y > 8 && x + box.width * now.k < width - 8 && y + HEIGHT * now.k < height - 8;
      if (inside && now.k >= FAR) return;
      centre(box.x + box.width / 2, box.y + HEIGHT / 2, Math.max(now.k, 0.8));
    }

    return {
      draw, trace, fit, fitAround, reveal,
      mark: (n) => byNumber.get(n).classList.add("selected"),
      scale: (by) => svg.call(zoom.scaleBy, by),
      shows: (n) => packed.boxes.has(n),
      isOpen: (n) => open.has(n),
      box: (n) => packed.boxes.get(n),
      shown: () => [...packed.boxes.keys()],
      size: () => packed,
    };
  }

  /** Return the middle nearest to a wanted one at which no room is left beside a drawing of this size. */
  const within = (wanted, half, size) => (2 * half >= size ? size / 2 : Math.min(Math.max(wanted, half), size - half));

  /** Return the scale of a small graph that would fit at another one: at least that at which names can be read. */
  const scaleFor = (fitted) => (fitted < LEAST ? READABLE : Math.min(1, fitted));

  /** Return the node, and the column if any, of an element of the drawing. */
  function picked(target) {
    const found = target.closest("[data-node]");
    if (!found) return undefined;
    const { node, column } = found.dataset;
    return { node: Number(node), column: column === undefined ? undefined : Number(column) };
  }

  Object.assign(window.featdslGraph, { view, picked, teamClass, escaped, scaleFor });
})();
