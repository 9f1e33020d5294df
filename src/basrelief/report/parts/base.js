// What the page's scripts share: finding elements, and which losses are switched off everywhere.
const root = document.documentElement;
const all = (selector, within = document) => [...within.querySelectorAll(selector)];
const hidden = new Set();
const filtered = []; // what is to be done when a loss is switched off or on

function applyFilter() {
  for (const button of all(".legend button")) {
    button.setAttribute("aria-pressed", String(!hidden.has(Number(button.dataset.loss))));
  }
  for (const card of all(".card[data-loss]")) card.hidden = hidden.has(Number(card.dataset.loss));
  return Promise.all(filtered.map((follow) => follow()));
}

for (const button of all(".legend button")) {
  button.addEventListener("click", () => {
    const loss = Number(button.dataset.loss);
    if (!hidden.delete(loss)) hidden.add(loss);
    applyFilter();
  });
}
