// Every table can be taken along, as Markdown for an issue or as CSV for a spreadsheet: what is shown.
(() => {
  const said = document.getElementById("said");
  if (!said) return;
  const FORMULA = /^[=+\-@\t]/;

  const words = (node) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches("svg, .copy, .if, [hidden]")) return "";
    const text = [...node.childNodes].map(words).join("");
    return node.matches("div, p, li, .note:not(.inline), .value, .figure") ? ` ${text} ` : text;
  };
  const plain = (node) => words(node).replace(/\s+/g, " ").trim();

  // Rows of equal length, spans filled in; a row that names a group becomes a column of its own.
  const grid = (table, figures) => {
    const found = [];
    const spans = [];
    let group = "";
    let grouped = false;
    for (const row of table.rows) {
      if (row.hidden || row.parentElement.hidden) continue;
      if (row.classList.contains("group")) { group = plain(row.querySelector(".group-title") || row); grouped = true; continue; }
      const line = [];
      const header = row.parentElement.tagName === "THEAD";
      for (const cell of row.cells) {
        while (spans[line.length]?.left > 0) { spans[line.length].left -= 1; line.push(spans[line.length].text); }
        const value = figures && cell.dataset.value;
        const text = header && figures && cell.dataset.unit ? `${plain(cell)} [${cell.dataset.unit}]` : value ? String(Number(value)) : plain(cell);
        for (let each = 0; each < cell.colSpan; each += 1) {
          spans[line.length] = { left: cell.rowSpan - 1, text };
          line.push(each ? "" : text);
        }
      }
      found.push({ header, group, line });
    }
    return found.map(({ header, group: name, line }) => (grouped ? [header ? "Pass" : name, ...line] : line));
  };

  const csv = (table) => {
    const guard = (text) => (FORMULA.test(text) && !/^[+-]?[\d.]+(e[+-]?\d+)?$/i.test(text) ? `'${text}` : text);
    const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
    return grid(table, true).map((line) => line.map((text) => quote(guard(text))).join(",")).join("\r\n") + "\r\n";
  };
  const markdown = (table) => {
    const [first, ...rest] = grid(table, false).map((line) => line.map((text) => text.replace(/[\\|<`*_]/g, "\\$&")));
    const row = (line) => `| ${line.join(" | ")} |`;
    return [row(first), row(first.map(() => "---")), ...rest.map(row)].join("\n") + "\n";
  };

  const put = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      // Not allowed, or no such thing on a page from a file: the old way.
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (!done) throw new Error("the browser does not let this page copy");
    }
  };

  for (const table of document.querySelectorAll("table")) {
    if (!table.tHead || !table.caption) continue;
    const bar = Object.assign(document.createElement("span"), { className: "copy", textContent: "Copy" });
    for (const [name, form] of [["Markdown", markdown], ["CSV", csv]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, title: `Copy this table as ${name}` });
      button.setAttribute("aria-label", `Copy as ${name}: ${plain(table.caption).slice(0, 80)}`);
      button.addEventListener("click", () => {
        put(form(table)).then(
          () => { said.textContent = `Copied as ${name}.`; },
          (error) => { said.textContent = `Not copied: ${error.message}.`; },
        );
      });
      bar.append(button);
    }
    (table.caption.firstElementChild || table.caption).append(bar);
  }
})();
