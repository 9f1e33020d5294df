// The page's behaviour: drawing the curves, sorting the wall of pictures, copying the command.
(() => {
  "use strict";
  const root = document.documentElement;
  const all = (selector, within = document) => [...within.querySelectorAll(selector)];

  // Curves. Figures name colours as CSS variables; they are looked up at each drawing, so light and dark share them.
  const source = document.getElementById("figures-data");
  const figures = source ? JSON.parse(source.textContent) : [];
  const places = all(".curve");
  const hidden = new Set();

  function withOpacity(colour, opacity) {
    const parts = /^#(..)(..)(..)$/.exec(colour);
    return parts ? `rgba(${parts.slice(1).map((part) => parseInt(part, 16)).join(",")},${opacity})` : colour;
  }

  function resolve(value, styles) {
    if (typeof value === "string") {
      const name = /^var\((--[\w-]+)\)(?:\/([\d.]+))?$/.exec(value);
      if (!name) return value;
      const colour = styles.getPropertyValue(name[1]).trim();
      return name[2] ? withOpacity(colour, name[2]) : colour;
    }
    if (Array.isArray(value)) return value.map((item) => resolve(item, styles));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolve(item, styles)]));
    }
    return value;
  }

  function drawCurves() {
    const styles = getComputedStyle(root);
    // A drag must scroll the page on a touch screen; a mouse may zoom.
    const dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    return Promise.all(figures.map((figure, index) => {
      const { data, layout } = resolve(figure, styles);
      for (const trace of data) trace.visible = !hidden.has(trace.meta.loss);
      return Plotly.react(places[index], data, { ...layout, dragmode }, { displayModeBar: false, responsive: true });
    }));
  }

  for (const button of all(".legend button")) {
    button.addEventListener("click", () => {
      const loss = Number(button.dataset.loss);
      const shown = hidden.delete(loss);
      if (!shown) hidden.add(loss);
      button.setAttribute("aria-pressed", String(shown));
      drawCurves();
    });
  }

  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
  const redraw = (printing) => {
    root.classList.toggle("printing", printing);
    drawCurves();
    places.forEach((place) => Plotly.Plots.resize(place));
  };
  if (figures.length) {
    addEventListener("beforeprint", () => redraw(true));
    addEventListener("afterprint", () => redraw(false));
  }

  // The wall of pictures. Its state lives in the address, as far as it differs from how the page was written.
  const wall = document.getElementById("wall");
  const form = document.getElementById("controls");

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
    const names = ["sort", "show", "size", "target", "outline"].filter((name) => form.elements[name]);
    const defaults = Object.fromEntries(names.map((name) => [name, read(form.elements[name])]));
    const losses = all("thead th[data-loss]", wall).map((cell) => cell.dataset.loss);
    const rows = all("tbody tr", wall);
    const scores = new Map(rows.map((row) => [row, JSON.parse(row.dataset.scores)]));
    const higher = wall.dataset.higher === "1";

    // Greater keys come first; rows without a score come last, and equal ones stay as given.
    function sortKey(row, sort) {
      const own = scores.get(row);
      if (sort === "disagree") {
        const known = own.filter((score) => score !== null);
        return known.length > 1 ? Math.max(...known) - Math.min(...known) : -Infinity;
      }
      const score = own[losses.indexOf(sort.slice("worst:".length))];
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
      wall.classList.toggle("outlined", state.outline === "1");
      const section = wall.closest("section");
      section.dataset.target = wall.dataset.target;
      return state;
    }

    function load() {
      const given = new URLSearchParams(location.hash.slice(1));
      if (![...given.keys()].some((name) => names.includes(name) && given.get(name))) return false;
      for (const name of names) write(form.elements[name], given.get(name) || defaults[name]);
      return true;
    }

    function remember() {
      const state = apply();
      const changed = names.filter((name) => state[name] !== defaults[name]).map((name) => [name, state[name]]);
      const hash = changed.length ? `#${new URLSearchParams(changed)}` : location.pathname + location.search;
      try { history.replaceState(null, "", hash); } catch { /* some viewers forbid it; the wall works without */ }
    }

    const linked = load();
    apply();
    if (linked) document.getElementById("pictures").scrollIntoView();
    form.addEventListener("input", remember);
    form.addEventListener("submit", (event) => event.preventDefault());
    addEventListener("hashchange", () => { if (load()) apply(); });
  }

  // The command.
  const copy = document.getElementById("copy");
  if (copy) {
    copy.addEventListener("click", async () => {
      const code = document.getElementById("repeat");
      try {
        await navigator.clipboard.writeText(code.textContent);
        copy.textContent = "Copied";
      } catch {
        getSelection().selectAllChildren(code);
        copy.textContent = "Selected";
      }
      setTimeout(() => { copy.textContent = "Copy"; }, 2000);
    });
  }

  if (wall) setUpWall();
  drawCurves().then(() => { root.dataset.ready = "1"; });
})();
