// Curves. Figures name colours as CSS variables; they are looked up at each drawing, so light and dark share them.
const source = document.getElementById("figures-data");
const figures = source ? JSON.parse(source.textContent) : [];
const places = all(".curve");

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

const redraw = (printing) => {
  root.classList.toggle("printing", printing);
  drawCurves();
  places.forEach((place) => Plotly.Plots.resize(place));
};
filtered.push(drawCurves);
if (figures.length) {
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawCurves);
  addEventListener("beforeprint", () => redraw(true));
  addEventListener("afterprint", () => redraw(false));
}
