"use strict";
// What paper cannot do: fold, sort, filter, try other gates, link to a view, walk, copy. The page is
// whole without it. Nothing here makes markup of text, and nothing leaves the page.
(() => {
  const matrix = document.querySelector("table.matrix");
  const place = document.getElementById("controls");
  if (!matrix || !place) return;

  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const collator = new Intl.Collator("en", { numeric: true });

  const rows = all("tbody tr[data-environment]", matrix);
  const places = new Map(rows.map((row, index) => [row, index]));
  const MOST_FLAT = 500; // rows that a browser lays out at once
  const others = all("main section:not(#matrix) tbody th[data-cell]").map((th) => th.parentElement);
  const heads = all("thead th[data-head]", matrix);
  // Each head's own gate in dB; undefined where it has none.
  const own = heads.map((th) => matrix.querySelector(`td[data-gate]:nth-child(${th.cellIndex + 1})`)).map((td) => td && Number(td.dataset.gate));

  // The view: everything that a link must carry.

  const START = Object.freeze({ q: "", pass: "", status: "", verdict: "", sort: "", gates: {} });
  let view = { ...START };
  const SEEN = 1; // the state of an entry of the history that was shown

  const link = (part = "") => {
    const fields = new URLSearchParams();
    for (const key of ["q", "pass", "status", "verdict", "sort"]) if (view[key]) fields.set(key, view[key]);
    for (const [head, gate] of Object.entries(view.gates)) fields.append("gate", `${head}:${gate}`);
    if (!String(fields)) return `#${part || "matrix"}`;
    if (part && part !== "matrix") fields.set("at", part);
    return `#~${fields}`;
  };

  const read = (hash) => {
    const found = { ...START, gates: {} };
    if (!hash.startsWith("#~")) return found;
    const fields = new URLSearchParams(hash.slice(2));
    for (const key of ["q", "pass", "status", "verdict", "sort"]) found[key] = (fields.get(key) || "").slice(0, 400);
    if (!/^\d{1,4}[ud]$/.test(found.sort) || !columns[parseInt(found.sort, 10)]) found.sort = "";
    for (const one of fields.getAll("gate")) {
      const [, head, gate] = /^(\d{1,4}):(-?\d{1,3}(?:\.\d{1,20})?)$/.exec(one) || [];
      if (own[head] !== undefined && own[head] !== Number(gate)) found.gates[head] = Number(gate);
    }
    return found;
  };

  const go = (change, replace = false) => {
    view = { ...view, ...change };
    history[replace ? "replaceState" : "pushState"](SEEN, "", link());
    show();
  };

  // Sorting: within a pass; a third time gives the order of matrix.yaml back.

  const columns = all("thead th", matrix);
  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (!cell || cell.colSpan > 1) return null;
    if (column === 0) return row.dataset.environment;
    return cell.dataset.value === undefined ? null : cell.dataset.value === "inf" ? Infinity : Number(cell.dataset.value);
  };
  const byValue = (column, down) => (one, other) => {
    const [a, b] = [valueOf(one, column), valueOf(other, column)];
    if (a === null || b === null) return (a === null) - (b === null) || places.get(one) - places.get(other);
    const order = column === 0 ? collator.compare(a, b) : a === b ? 0 : a - b;
    return (down ? -order : order) || places.get(one) - places.get(other);
  };
  let sorted = "";
  const order = new Map([...matrix.tBodies].map((body) => [body, [...body.rows]]));
  const sort = () => {
    if (view.sort === sorted) return;
    sorted = view.sort;
    const column = parseInt(sorted, 10); // NaN where it is the order of matrix.yaml
    const down = sorted.endsWith("d");
    for (const [body, all_] of order) {
      const its = all_.filter((row) => row.dataset.environment !== undefined);
      body.append(...(sorted ? its.sort(byValue(column, down)) : all_));
    }
    columns.forEach((th, index) => {
      if (index === column) th.setAttribute("aria-sort", down ? "descending" : "ascending");
      else th.removeAttribute("aria-sort");
    });
  };
  const NEXT = { "": "d", d: "u", u: "" };
  columns.forEach((th, index) => {
    if (th.dataset.other !== undefined) return;
    const label = make("span", { className: "label" });
    label.append(...[...th.childNodes].filter((node) => !(node.classList && node.classList.contains("note"))));
    const button = make("button", { type: "button", className: "sort", title: "Sort within each pass" }, label);
    button.addEventListener("click", () => {
      const now = parseInt(view.sort, 10) === index ? view.sort.slice(-1) : "";
      go({ sort: NEXT[now] && `${index}${NEXT[now]}` });
    });
    th.prepend(button);
  });

  // Filtering: the matrix, and what other sections say of the same cells.

  const bodies = new Map();
  for (const row of [...rows, ...others]) {
    if (!bodies.has(row.parentElement)) bodies.set(row.parentElement, []);
    bodies.get(row.parentElement).push(row);
  }
  const verdictsIn = (part) => all("td[data-verdicts]", part).flatMap((td) => td.dataset.verdicts.split(" ")).filter(Boolean);
  // A row of what never ran stands for several passes, any other for that of its group.
  const passesOf = (row) => (row.dataset.pass ?? row.parentElement.dataset.pass).split(" ");
  const statusOf = (row) => row.dataset.status ?? "ok";
  const distinct = (values) => [...new Set(values)].sort(collator.compare);
  const { device = "" } = matrix.dataset; // where all cells ran on one
  const says = (row) => {
    const text = `${row.dataset.environment} ${row.dataset.device ?? device} ${passesOf(row)} ${row.cells[0].textContent}`.toLowerCase();
    return view.q.toLowerCase().split(/\s+/).every((word) => text.includes(word));
  };
  const matches = (row) => (!view.q || says(row))
    && (!view.pass || passesOf(row).includes(view.pass))
    && (!view.status || statusOf(row) === view.status)
    && (!view.verdict || verdictsIn(row).includes(view.verdict));
  const filter = () => {
    const hide = (row, hidden) => { if (row.hidden !== hidden) row.hidden = hidden; return !hidden; };
    const shown = rows.filter((row) => hide(row, !matches(row)));
    const kept = new Set(shown.map((row) => row.dataset.cell));
    const told = new Set(rows.map((row) => row.dataset.cell));
    for (const row of others) {
      const cell = row.querySelector("th[data-cell]").dataset.cell;
      hide(row, told.has(cell) && !kept.has(cell));
    }
    for (const [body, its] of bodies) hide(body, its.every((row) => row.hidden));
    // Whoever looks for cells sees cells: what does the same is one row only where nothing is asked.
    const every = shown.length === rows.length;
    matrix.classList.toggle("flat", !every || view.sort !== "");
    const left = every && !view.sort ? 0 : shown.length - MOST_FLAT;
    shown.forEach((row, index) => row.classList.toggle("beyond", left > 0 && index >= MOST_FLAT));
    count.textContent = (every ? `${rows.length} rows` : shown.length
      ? `${shown.length} of ${rows.length} rows, here and in Details`
      : `None of ${rows.length} rows: nothing matches`) + (left > 0 ? `; the first ${MOST_FLAT} are shown` : "");
    clear.hidden = every && !view.sort && !Object.keys(view.gates).length;
  };

  // What if the gate were another: marks alone, the verdicts are for those of matrix.yaml.

  const decibels = (td) => (td.dataset.value === "inf" ? Infinity : Number(td.dataset.value ?? NaN));
  let tried = false;
  const tryGates = () => {
    const changed = Object.keys(view.gates).length > 0;
    if (!changed && !tried) return; // a large page opens a little sooner
    tried = changed;
    const gated = all("td[data-gate]", matrix);
    let fails = 0;
    let failed = 0;
    for (const td of gated) {
      const gate = view.gates[td.cellIndex - heads[0].cellIndex];
      const holds = decibels(td) >= (gate ?? Number(td.dataset.gate));
      fails += !holds;
      failed += !(decibels(td) >= Number(td.dataset.gate));
      td.classList.toggle("if-failed", gate !== undefined && !holds);
      td.classList.toggle("if-held", gate !== undefined && holds);
      td.querySelector(".if")?.remove();
      if (gate !== undefined) td.append(make("span", { className: "note if", textContent: holds ? `✓ holds ${gate} dB` : `✗ fails ${gate} dB` }));
    }
    // A row that stands for several fails where one of them does.
    for (const [row, its] of groups) {
      heads.forEach((th) => {
        const fails_ = its.some((one) => one.cells[th.cellIndex]?.classList.contains("if-failed"));
        row.cells[th.cellIndex]?.classList.toggle("if-failed", fails_);
      });
    }
    outcome.textContent = changed
      ? `With these gates ${fails} of ${gated.length} int8 results would fail, ${failed} do with those of matrix.yaml. The verdicts above and the exit code are for the latter.`
      : "";
  };

  // Folding: a row that stands for several opens.

  const groups = new Map();
  for (const row of all("tr.alike[data-rows]", matrix)) {
    const its = [];
    for (let next = row.nextElementSibling; next && next.classList.contains("member"); next = next.nextElementSibling) its.push(next);
    groups.set(row, its);
  }
  const toggle = (row, its, closed, opened) => {
    const button = make("button", { type: "button", className: "toggle", textContent: closed });
    button.setAttribute("aria-expanded", "false");
    button.addEventListener("click", () => {
      const open = button.getAttribute("aria-expanded") !== "true";
      for (const one of its()) one.classList.toggle("shut", !open);
      button.setAttribute("aria-expanded", String(open));
      button.textContent = open ? opened : closed;
    });
    row.querySelector(".open-here").append(make("span", { className: "toggle-dot", textContent: " · " }), button);
  };
  for (const [row, its] of groups) toggle(row, () => its, `Open ${its.length}`, `Close ${its.length}`);
  for (const row of all("tr.alike.more", matrix)) {
    const rest = order.get(row.parentElement).filter((one) => one.classList.contains("shut") && !one.classList.contains("member"));
    toggle(row, () => rest, `Open ${row.dataset.more}`, `Close ${row.dataset.more}`);
  }

  // One field in words; arrow keys walk, with one stop of the tab key.

  const peek = document.getElementById("peek");
  const fieldAt = (row, index) => row && row.cells[index] && row.cells[index].querySelector("a");
  const visible = (row) => row.getClientRects().length > 0;
  let here = matrix.querySelector("tbody td.c > a");
  matrix.querySelectorAll("tbody td.c > a").forEach((one) => { if (one !== here) one.tabIndex = -1; });
  const stand = (to) => {
    if (here) { here.removeAttribute("aria-current"); here.tabIndex = -1; }
    here = to;
    here.tabIndex = 0;
    here.setAttribute("aria-current", "true");
    peek.textContent = here.title;
  };
  matrix.addEventListener("click", (event) => {
    const link_ = event.target.closest("td.c > a");
    if (!link_ || event.metaKey || event.ctrlKey || event.shiftKey) return;
    event.preventDefault();
    stand(link_);
    peek.append(" ", make("a", { href: link_.getAttribute("href"), textContent: "Its cell" }));
  });
  const MOVES = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  matrix.addEventListener("keydown", (event) => {
    const move = MOVES[event.key];
    const from = event.target.closest && event.target.closest("td.c > a");
    if (!move || !from) return;
    event.preventDefault();
    const index = from.parentElement.cellIndex + move[1];
    let row = from.closest("tr");
    if (move[0]) {
      const shown = all("tbody tr", matrix).filter((one) => visible(one) && fieldAt(one, index));
      row = shown[shown.indexOf(row) + move[0]];
    }
    const to = fieldAt(row, index);
    if (to) { stand(to); to.focus(); }
  });

  // Controls

  const select = (key, title, values) => {
    const field = make("select", { name: key }, make("option", { value: "", textContent: "any" }));
    for (const value of values) field.append(make("option", { value, textContent: value.replace(/_/g, " ") }));
    field.addEventListener("change", () => go({ [key]: field.value }));
    return { field, label: make("label", { hidden: !values.length }, make("span", { textContent: title }), field) };
  };
  // What is typed at one go is one step back.
  const typed = (field, change) => {
    let going = false;
    field.addEventListener("input", () => { go(change(), going); going = true; });
    field.addEventListener("blur", () => { going = false; });
  };
  const search = make("input", { type: "search", name: "q", placeholder: "ort-1.2 minmax", autocomplete: "off", spellcheck: false });
  typed(search, () => ({ q: search.value }));
  search.addEventListener("keydown", (event) => { if (event.key === "Escape") go({ q: "" }); });
  const selects = {
    pass: select("pass", "Pass", [...new Set(all("[data-pass]", matrix).flatMap((one) => one.dataset.pass.split(" ")))]),
    status: select("status", "Status", distinct(rows.map(statusOf))),
    verdict: select("verdict", "Verdict", distinct(verdictsIn(matrix))),
  };
  const gates = heads.map((head, index) => {
    if (own[index] === undefined) return null;
    const field = make("input", { type: "number", step: "any", min: -999, max: 999, name: `gate-${index}` });
    typed(field, () => {
      const { [index]: _, ...rest } = view.gates;
      const value = field.valueAsNumber;
      return { gates: field.validity.valid && Number.isFinite(value) && value !== own[index] ? { ...rest, [index]: value } : rest };
    });
    field.addEventListener("blur", () => { field.value = view.gates[index] ?? own[index]; });
    const name = head.querySelector(".label").textContent.trim();
    return { index, field, label: make("label", {}, make("span", { textContent: `${name}, dB` }), field) };
  }).filter(Boolean);
  const count = make("output", { className: "count" });
  const outcome = make("p", { className: "what-if" });
  outcome.setAttribute("role", "status");
  const clear = make("button", { type: "button", textContent: "Show all again" });
  clear.addEventListener("click", () => go({ ...START, gates: {} }));
  const fields = make("div", { className: "fields" },
    make("label", { className: "wide" }, make("span", { textContent: "Filter" }), search),
    ...Object.values(selects).map((one) => one.label));
  place.append(fields);
  if (gates.length) {
    place.append(make("fieldset", { className: "fields" }, make("legend", { textContent: "What if the SQNR gate were" }), ...gates.map((one) => one.label)));
  }
  place.append(make("div", { className: "fields state" }, count, clear), outcome);
  place.hidden = false;

  const show = () => {
    if (search.value !== view.q) search.value = view.q;
    for (const [key, { field }] of Object.entries(selects)) {
      field.value = view[key];
      if (field.selectedIndex < 0) { field.value = ""; view[key] = ""; }
    }
    for (const { index, field } of gates) {
      const gate = view.gates[index] ?? own[index];
      const unfinished = field === document.activeElement && !(field.validity.valid && Number.isFinite(field.valueAsNumber));
      if (!unfinished && field.valueAsNumber !== gate) field.value = gate;
    }
    sort();
    filter();
    tryGates();
  };

  // Links: to a view, or to a part of the page, which may be folded.

  const reveal = (part) => {
    const target = part && document.getElementById(part);
    if (!target) return;
    for (let one = target; one; one = one.parentElement) if (one.tagName === "DETAILS") one.open = true;
    target.scrollIntoView();
  };
  const follow = () => {
    const { hash } = location;
    const fresh = history.state !== SEEN; // a link was followed, not the way back
    let part = "";
    if (hash.startsWith("#~")) {
      view = read(hash);
      part = new URLSearchParams(hash.slice(2)).get("at") || "matrix";
    } else {
      try { part = decodeURIComponent(hash.slice(1)); } catch (error) { if (!(error instanceof URIError)) throw error; }
      // A link within the page keeps the view, and from here on carries it.
      if (!fresh) view = { ...START, gates: {} };
    }
    show();
    if (!fresh) return;
    const filtered = link() !== "#matrix";
    history.replaceState(SEEN, "", filtered ? link(part) : location.href);
    reveal(part);
  };
  window.addEventListener("hashchange", follow);

  // Heads behind a button, and where in the page one is.

  const rest = all("#strips tr.rest");
  if (rest.length) {
    const more = make("button", { type: "button", textContent: `Show ${rest.length} more heads` });
    more.addEventListener("click", () => { for (const one of rest) one.classList.remove("shut"); more.remove(); });
    document.getElementById("strips").after(more);
  }
  const links = new Map(all(".bar-nav a").map((one) => [one.hash.slice(1), one]));
  const seen = new IntersectionObserver((entries) => {
    for (const one of entries.filter((entry) => entry.isIntersecting)) {
      for (const other of links.values()) other.removeAttribute("aria-current");
      if (links.has(one.target.id)) links.get(one.target.id).setAttribute("aria-current", "true");
    }
  }, { rootMargin: "-15% 0px -75% 0px" });
  for (const one of all("main > section")) seen.observe(one);
  if (history.state === SEEN) history.replaceState(null, ""); // loaded again: what is folded must open again
  follow();
})();
