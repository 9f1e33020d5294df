// The command to copy, what is folded away when printing, and the first drawing.
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

const folded = [];
addEventListener("beforeprint", () => {
  folded.push(...all("details:not([open])"));
  for (const one of folded) one.open = true;
});
addEventListener("afterprint", () => { for (const one of folded.splice(0)) one.open = false; });

if (typeof setUpWall === "function" && document.getElementById("wall")) setUpWall();
applyFilter().then(() => { root.dataset.ready = "1"; });
