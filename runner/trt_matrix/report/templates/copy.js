// Every table can be taken along: as Markdown for an issue, all that is shown; as CSV for a
// spreadsheet, the main figure of each cell, as a plain number where it is one.
(() => {
  const said = document.getElementById("said");
  if (!said) return;
  const SHOWN_MS = 5000;
  const ASIDE = "svg, .copy, .if, [hidden]";
  const FORMULA = /^[=+\-@\t\r＝＋－＠]/;
  const NUMBER = /^[+-]?(\d{1,3}(,\d{3})+|\d+)(\.\d+)?(e-?\d+)?$/;
  const SUPERSCRIPT = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const SECONDS = { ns: 1e-9, "µs": 1e-6, ms: 1e-3, s: 1 };

  const words = (node, aside) => {
    if (node.nodeType === Node.TEXT_NODE) return node.data;
    if (node.nodeType !== Node.ELEMENT_NODE || node.matches(aside)) return "";
    if (node.matches("bdi[title]")) return node.title; // a name that is cut where it is shown
    const text = [...node.childNodes].map((child) => words(child, aside)).join("");
    return node.matches("div, p, li, .note:not(.inline), .value, .figure") ? ` ${text} ` : text;
  };
  const plain = (node, aside = ASIDE) => words(node, aside).replace(/\s+/g, " ").trim();

  // "−0.10", "1,536,000", "3.1×10⁻⁷", "0.98×", and "12.3 ms" under a header in seconds, as numbers
  // that a spreadsheet reads; any other text as it is.
  const number = (text, unit) => {
    if (text === "–") return "";
    const [, figure, after] = /^(.*?)(?:×| ([nµm]?s))?$/.exec(text);
    if (after && unit !== "s") return text;
    const ascii = figure.replace("−", "-").replace(/×10(⁻?)([⁰¹²³⁴⁵⁶⁷⁸⁹]+)$/,
      (_, minus, digits) => `e${minus && "-"}${[...digits].map((digit) => SUPERSCRIPT.indexOf(digit)).join("")}`);
    if (!NUMBER.test(ascii)) return text;
    const bare = ascii.replace(/,/g, "");
    return after ? String(Number((bare * SECONDS[after]).toPrecision(12))) : bare;
  };

  const shown = (cell) => plain(cell);
  const figure = (cell, unit) => {
    if (cell.parentElement.parentElement.tagName === "THEAD") return plain(cell, `${ASIDE}, .note, .key`) + (unit ? ` [${unit}]` : "");
    if (Number.isFinite(Number(cell.dataset.value))) return cell.dataset.value;
    if (cell.tagName === "TH") return plain(cell);
    const main = plain(cell, `${ASIDE}, .note, .d, small`) || plain(cell);
    return cell.querySelector("bdi") ? main : number(main, unit); // names are no numbers
  };

  // Rows of equal length, spans filled in, without charts. A row that names a group becomes a column.
  const grid = (table, textOf) => {
    const headers = [...table.tHead.rows].pop().cells;
    const lines = [];
    const below = []; // column → what a cell of an earlier row still says there
    let group = null;
    for (const row of table.rows) {
      if (row.hidden || row.parentElement.hidden || row.matches(".alike, .step")) continue;
      if (row.classList.contains("group")) { group = plain(row.querySelector(".group-title") || row); continue; }
      const line = [];
      const continued = () => {
        for (let above = below[line.length]; above && above.rows > 0; above = below[line.length]) { above.rows -= 1; line.push(above.text); }
      };
      for (const cell of row.cells) {
        continued();
        const header = headers[line.length];
        const text = textOf(cell, header && header.dataset.unit);
        for (let each = 0; each < cell.colSpan; each += 1) {
          below[line.length] = { rows: cell.rowSpan - 1, text };
          line.push(each ? "" : text);
        }
      }
      continued();
      lines.push({ group, line });
    }
    const grouped = group !== null;
    return lines.map(({ group: name, line }) => [
      ...(grouped ? [name === null ? table.dataset.groups || "Pass" : name] : []),
      ...line.filter((_, column) => !(headers[column] && headers[column].classList.contains("chart"))),
    ]);
  };

  const csv = (table) => {
    const guard = (text) => (FORMULA.test(text) && !NUMBER.test(text) ? `'${text}` : text);
    const quote = (text) => (/[",\r\n]/.test(text) ? `"${text.replace(/"/g, '""')}"` : text);
    return grid(table, figure).map((line) => `${line.map((text) => quote(guard(text))).join(",")}\r\n`).join("");
  };
  const markdown = (table) => {
    const [first, ...rest] = grid(table, shown).map((line) => line.map((text) => text.replace(/[\\|<>`*_~[\]&$]/g, "\\$&")));
    const row = (line) => `| ${line.join(" | ")} |\n`;
    return [first, first.map(() => "---"), ...rest].map(row).join("");
  };

  const put = async (text) => {
    try {
      await navigator.clipboard.writeText(text);
    } catch (error) {
      // Not allowed, or no such thing on a page from a file: the old way.
      if (!(error instanceof DOMException) && !(error instanceof TypeError)) throw error;
      const { activeElement } = document;
      const area = Object.assign(document.createElement("textarea"), { value: text, className: "visually-hidden" });
      document.body.append(area);
      area.select();
      const done = document.execCommand("copy");
      area.remove();
      if (activeElement) activeElement.focus();
      if (!done) throw new Error("the browser does not let this page copy; select the table instead");
    }
  };

  let going;
  const say = (text) => {
    said.textContent = text;
    clearTimeout(going);
    going = setTimeout(() => { said.textContent = ""; }, SHOWN_MS);
  };

  // The first screen as text, for a mail, and the lines that do what is to be done.
  const acts = document.getElementById("acts");
  for (const [id, title] of [["as-text", "Copy as text"], ["as-fix", "Copy the fix"]]) {
    const text = document.getElementById(id);
    if (!text) continue;
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: title });
    button.addEventListener("click", () => {
      put(text.textContent.trim()).then(() => say("Copied."), (error) => say(`Not copied: ${error.message}.`));
    });
    acts.append(button);
  }

  for (const table of document.querySelectorAll("table")) {
    const { caption } = table;
    if (!table.tHead || !caption) continue;
    const bar = Object.assign(document.createElement("span"), { className: "copy", textContent: "Copy" });
    for (const [name, form] of [["Markdown", markdown], ["CSV", csv]]) {
      const button = Object.assign(document.createElement("button"), { type: "button", textContent: name, title: `Copy this table as ${name}` });
      button.setAttribute("aria-label", `Copy as ${name}`);
      button.addEventListener("click", () => {
        put(form(table)).then(() => say(`Copied as ${name}.`), (error) => say(`Not copied: ${error.message}.`));
      });
      bar.append(button);
    }
    // A caption for those who hear the page shows nothing of what is in it.
    if (!caption.classList.contains("visually-hidden")) (caption.firstElementChild || caption).append(bar);
    else if (table.id === "strips") acts.append(bar);
    else if (table.closest(".fold")) (table.closest(".scroll") || table).before(bar);
    else table.closest("section").querySelector("header").append(bar);
  }
})();
