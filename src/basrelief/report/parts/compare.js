// Two pictures of one image over each other, with a divider. The divider is a slider of the browser's own, laid over
// the pictures, so that arrow keys, Home, End and a finger move it as they move any other.
function setUpCompare(wall, form) {
  const panel = document.getElementById("compare");
  const stage = panel.querySelector(".stage");
  const slider = panel.querySelector("input[type=range]");
  const heads = all("thead th", wall);
  const rows = all("tbody tr", wall);
  const { image, left, right } = form.elements;

  function picture(row, part) {
    const cell = row.cells[heads.findIndex((head) => head.dataset.part === part)];
    if (!cell) return null;
    if (part === "image" || part === "background") return cell.querySelector("img");
    const within = cell.querySelector(`.show-${wall.dataset.target}`);
    if (!within) return null;
    return (wall.dataset.view === "error" && within.querySelector("img.err")) || within.querySelector("img");
  }

  function move() {
    stage.style.setProperty("--at", `${slider.value}%`);
    slider.setAttribute("aria-valuetext", `${slider.value} % ${name(left)}, the rest ${name(right)}`);
  }

  function name(select) {
    return select.selectedOptions[0] ? select.selectedOptions[0].textContent : "";
  }

  function show() {
    const row = rows.find((one) => one.dataset.place === image.value) || rows[0];
    for (const [side, select] of [["under", right], ["over", left]]) {
      const shown = picture(row, select.value);
      const target = stage.querySelector(`.${side}`);
      target.hidden = !shown;
      if (shown) { target.src = shown.src; target.alt = shown.alt; }
    }
    stage.querySelector("use").setAttribute("href", `#outline-${row.dataset.place}`);
    const outlined = wall.classList.contains("outlined") && wall.dataset.target === "mask";
    stage.classList.toggle("outlined", outlined && Boolean(row.querySelector("symbol")));
    panel.querySelector(".left").textContent = name(left);
    panel.querySelector(".right").textContent = name(right);
    for (const one of rows) one.classList.toggle("picked", one === row);
    move();
  }

  slider.addEventListener("input", (event) => { event.stopPropagation(); move(); });
  panel.hidden = false;
  // To begin with, the image on which the losses disagree most.
  const apart = (row) => {
    const known = JSON.parse(row.dataset.scores).filter((score) => score !== null);
    return known.length ? Math.max(...known) - Math.min(...known) : -1;
  };
  image.value = rows.reduce((most, row) => (apart(row) > apart(most) ? row : most)).dataset.place;
  return {
    show,
    pick(row) {
      image.value = row.dataset.place;
      panel.scrollIntoView({ block: "nearest" });
    },
  };
}
