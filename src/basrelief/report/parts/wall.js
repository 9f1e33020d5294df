// The wall of pictures. Its state lives in the address, as far as it differs from how the page was written.
const wall = document.getElementById("wall");
const form = document.getElementById("controls");
const STATE = ["sort", "show", "size", "target", "view", "outline", "image", "left", "right"];

function read(control) {
  return control.type === "checkbox" ? (control.checked ? "1" : "0") : control.value;
}

function write(control, value) {
  if (control instanceof RadioNodeList || control.tagName !== "SELECT") {
    if (control.type === "checkbox") control.checked = value !== "0";
    else control.value = value;
  } else if ([...control.options].some((option) => option.value === value)) {
    control.value = value;
  }
}

function setUpWall() {
  // On a phone, smaller pictures let a prediction stand beside its truth.
  if (innerWidth <= 720) form.elements.size.value = "80";
  const compare = setUpCompare(wall, form);
  const names = STATE.filter((name) => form.elements[name]);
  const defaults = Object.fromEntries(names.map((name) => [name, read(form.elements[name])]));
  const columns = all("thead th[data-loss]", wall);
  const rows = all("tbody tr", wall);
  const scores = new Map(rows.map((row) => [row, JSON.parse(row.dataset.scores)]));
  const higher = wall.dataset.higher === "1";

  // Greater keys come first; rows without a score come last, and equal ones stay as given.
  function sortKey(row, sort) {
    const own = scores.get(row);
    if (sort === "disagree") {
      const known = own.filter((score, place) => score !== null && !hidden.has(Number(columns[place].dataset.loss)));
      return known.length > 1 ? Math.max(...known) - Math.min(...known) : -Infinity;
    }
    if (sort.startsWith("ahead:")) {
      const place = columns.findIndex((cell) => cell.dataset.name === sort.slice("ahead:".length));
      const lead = own.length === 2 && !own.includes(null) ? own[place] - own[1 - place] : NaN;
      return Number.isNaN(lead) ? -Infinity : higher ? lead : -lead;
    }
    const score = own[columns.findIndex((cell) => cell.dataset.name === sort.slice("worst:".length))];
    if (score === null || score === undefined) return -Infinity;
    return higher ? -score : score;
  }

  function apply() {
    const state = Object.fromEntries(names.map((name) => [name, read(form.elements[name])]));
    const keys = new Map(rows.map((row) => [row, state.sort === "given" ? 0 : sortKey(row, state.sort)]));
    const sorted = [...rows].sort((a, b) => (keys.get(a) === keys.get(b) ? 0 : keys.get(b) - keys.get(a)));
    const count = state.show === "all" ? rows.length : Number(state.show);
    sorted.forEach((row, place) => { row.hidden = place >= count; });
    wall.tBodies[0].append(...sorted);
    wall.style.setProperty("--size", `${state.size}px`);
    if (state.target) wall.dataset.target = state.target;
    if (state.view) wall.dataset.view = state.view;
    wall.classList.toggle("outlined", state.outline === "1");
    for (const cell of columns) {
      const off = hidden.has(Number(cell.dataset.loss));
      for (const row of all("tr", wall)) row.cells[cell.cellIndex].hidden = off;
    }
    const section = wall.closest("section");
    section.dataset.target = wall.dataset.target;
    section.dataset.view = wall.dataset.view;
    compare.show();
    return state;
  }

  function load() {
    const given = new URLSearchParams(location.hash.slice(1));
    const known = [...given.keys()].some((name) => (names.includes(name) || name === "hide") && given.get(name));
    if (!known) return false;
    for (const name of names) write(form.elements[name], given.get(name) || defaults[name]);
    hidden.clear();
    const legend = all(".legend")[0];
    const count = legend ? legend.children.length : columns.length;
    for (const part of (given.get("hide") || "").split(",")) {
      if (/^\d+$/.test(part) && Number(part) < count) hidden.add(Number(part));
    }
    return true;
  }

  function remember() {
    const state = apply();
    const changed = names.filter((name) => state[name] !== defaults[name]).map((name) => [name, state[name]]);
    if (hidden.size) changed.push(["hide", [...hidden].sort((a, b) => a - b).join(",")]);
    const hash = changed.length ? `#${new URLSearchParams(changed)}` : location.pathname + location.search;
    try { history.replaceState(null, "", hash); } catch { /* some viewers forbid it; the wall works without */ }
  }

  const linked = load();
  apply();
  if (linked) document.getElementById("pictures").scrollIntoView();
  form.addEventListener("input", remember);
  form.addEventListener("submit", (event) => event.preventDefault());
  for (const control of all("[form=controls]")) control.addEventListener("input", remember);
  for (const button of all("button.pick", wall)) {
    button.addEventListener("click", () => { compare.pick(button.closest("tr")); remember(); });
  }
  filtered.push(remember);
  addEventListener("hashchange", () => { if (load()) applyFilter(); });
}
