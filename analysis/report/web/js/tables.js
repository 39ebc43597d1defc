// Tables that are sorted by a click on their head, and whose rows lead to points.
import { make } from "./elements.js";
import { byKey } from "./points.js";

export function sortable(table) {
  [...table.tHead.rows[0].cells].forEach((cell, column) => {
    const button = make("button", { type: "button" }, cell.textContent);
    button.addEventListener("click", () => {
      const descending = cell.getAttribute("aria-sort") === "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", descending ? "descending" : "ascending");
      const value = (row) => row.cells[column].dataset.value;
      const compare = (a, b) => {
        if (a === "" || b === "") return (a === "") - (b === "");  // what is missing comes last
        const [x, y] = [Number(a), Number(b)];
        return (Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b) : x - y) * (descending ? -1 : 1);
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort((a, b) => compare(value(a), value(b))));
    });
    cell.replaceChildren(button);
  });
  for (const row of table.tBodies[0].rows) {
    if (!row.dataset.point || !byKey.has(row.dataset.point) || byKey.get(row.dataset.point).levels === null) continue;
    const [cell] = row.cells;
    cell.replaceChildren(make("button", { type: "button", "aria-label": `${cell.textContent}: show in the figure`, "data-reveal": row.dataset.point }, cell.textContent));
  }
}
